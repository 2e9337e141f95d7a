//! Condition types and reasons: the one table that status, events and `docs/reasons.md` are made of.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Types of condition. `PartiallyOverridden`, `PartiallyExpressed` and `Contested` are abnormal when True; the others when
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec makes sense here.
    Accepted,
    /// What the spec names exists and may be used.
    ResolvedRefs,
    /// The rendered objects stand as rendered, and the mesh can resolve them.
    Programmed,
    /// Everything that must restart has.
    AgentsInSync,
    /// All of the above.
    Ready,
    /// Some of what the policy says was lost to another policy or to the mesh's limits.
    PartiallyOverridden,
    /// Some of what the policy says cannot be expressed by its target.
    PartiallyExpressed,
    /// Somebody else's object takes part in what the policy says.
    Contested,
}

impl ConditionType {
    /// The name in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
            Self::AgentsInSync => "AgentsInSync",
            Self::Ready => "Ready",
            Self::PartiallyOverridden => "PartiallyOverridden",
            Self::PartiallyExpressed => "PartiallyExpressed",
            Self::Contested => "Contested",
        }
    }
}

/// What the docs say of a reason.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The reason.
    pub reason: Reason,
    /// Conditions that have it. `Ready` has the reason of the first condition that does not hold, whatever it is.
    pub of: &'static [ConditionType],
    /// What it means.
    pub meaning: &'static str,
    /// What to do next.
    pub next: &'static str,
}

/// `docs/reasons.md`.
pub fn reasons_page() -> String {
    let mut page = String::from(REASONS_INTRO);
    for entry in Reason::TABLE {
        let of: Vec<String> = entry.of.iter().map(|type_| format!("`{}`", type_.as_str())).collect();
        let text = format!(
            "\n## {}\n\n{}\n\n- Next: {}\n- Of: {}\n",
            entry.reason.as_str(),
            entry.meaning,
            entry.next,
            of.join(", ")
        );
        page.push_str(&text);
    }
    page
}

const REASONS_INTRO: &str = "<!-- Generated from src/conditions.rs by `make generate`; do not edit. -->

# Conditions and reasons

Every resource says in `status.conditions` whether it took effect and, where it did not, why and what to do. Each
condition has a reason of this page and a message that names the object at fault. What is wrong with a format or a filter
has a code besides, such as `SL007`: [the codes](lint/README.md). `kubectl get sightline -A` shows
`Ready` with its reason; `-o wide` adds the message.

| condition | True means |
| --- | --- |
| `Accepted` | the spec makes sense here |
| `ResolvedRefs` | what the spec names exists and may be used |
| `Programmed` | the rendered objects stand as rendered, and the mesh can resolve them |
| `AgentsInSync` | every workload that has to restart has |
| `Ready` | all of the above; else it has the reason and message of the first that does not hold |
| `PartiallyOverridden` | some of what the policy says was lost to another policy or to the mesh's limits; it is Ready all the same |
| `PartiallyExpressed` | some of what the policy says cannot be said by its target; it is Ready all the same |
| `Contested` | somebody else's object takes part in what the policy says; it is Ready all the same |

While a policy is not accepted, or not resolved, what it had live before stays, unless its entry says otherwise.
";

macro_rules! reasons {
    ($($name:ident [$($type:ident),+]: $meaning:literal, $next:literal;)*) => {
        /// Why a condition is as it is. The table with meaning and next step is [`Reason::TABLE`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $meaning] $name,)* }

        impl Reason {
            /// Each reason, in the order of the docs.
            pub const TABLE: &'static [Entry] = &[$(Entry {
                reason: Self::$name,
                of: &[$(ConditionType::$type),+],
                meaning: $meaning,
                next: $next,
            },)*];

            /// The reason's name in status.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    Accepted [Accepted]: "The spec makes sense here.", "Nothing to do.";
    AcceptedWithWarnings [Accepted]: "The spec makes sense here, but its log format, or an export of metrics, does something that nobody is likely to want.", "Nothing has to be done; for a format `sightline explain` points at the character.";
    Resolved [ResolvedRefs]: "All that the spec names exists and may be used.", "Nothing to do.";
    Programmed [Programmed]: "The rendered objects stand as rendered.", "Nothing to do.";
    InSync [AgentsInSync]: "Every agent runs with the wanted configuration.", "Nothing to do.";
    Ready [Ready]: "All conditions hold.", "Nothing to do.";
    InvalidSpec [Accepted, Programmed, AgentsInSync]: "The stored spec holds a value that the schema would refuse today.", "Apply the resource again; the API server says what is wrong.";
    InvalidFormat [Accepted, Programmed]: "A log format does not compile for the oldest proxy.", "Correct the format at the place that the message names; what was live before stays.";
    FormatUnsupported [Accepted, Programmed]: "The oldest proxy does not know an operator of the format and would refuse its listener.", "Upgrade the proxies, or use what the message proposes; until then the mesh's format is written.";
    InvalidFilter [Accepted, Programmed]: "A filter or an expression is one that a proxy would refuse, or that could never be true.", "Correct it at the place that the message names; what was live before stays.";
    NotExpressible [Accepted, Programmed, PartiallyExpressed]: "The target cannot say what the spec asks for.", "Remove the fields that the message names, or use another target.";
    LimitedByMesh [Accepted, Programmed, PartiallyOverridden]: "The mesh's tenancy does not allow it.", "Ask the platform team, or remove the field that the message names.";
    NoMesh [ResolvedRefs, Programmed]: "No ObservabilityMesh selects this namespace, or not the one that meshRef names.", "Create one, or widen its spec.namespaces.";
    AmbiguousMesh [ResolvedRefs, Programmed]: "Several ObservabilityMeshes select this namespace.", "Set spec.meshRef to the one that is meant; what is live stays until then.";
    UnknownBackend [ResolvedRefs, Programmed]: "The mesh has no backend of that name.", "Correct the name, or add the backend to the mesh.";
    SecretNotFound [ResolvedRefs, Programmed, AgentsInSync]: "A Secret that the spec names does not exist.", "Create it; what was live before stays.";
    SecretKeyMissing [ResolvedRefs, Programmed, AgentsInSync]: "A Secret lacks a key that the spec names.", "Add the key, or name another one; what was live before stays.";
    SecretNotShared [ResolvedRefs, Programmed, AgentsInSync]: "A Secret does not carry the label that lets Sightline read it.", "Label it sightline.dev/shared=true if it is meant to be used.";
    SecretUnusable [ResolvedRefs, Programmed, AgentsInSync]: "A Secret holds a value that cannot be said where it has to stand.", "Store it as the message says; what was live before stays.";
    ConfigMapNotFound [ResolvedRefs, Programmed, AgentsInSync]: "A ConfigMap that the spec names, or a key of it, does not exist.", "Create it, or remove it from the spec; what was live before stays.";
    ConfigMapNotShared [ResolvedRefs, Programmed, AgentsInSync]: "A ConfigMap of certificates does not carry the label that lets Sightline use it.", "Label it sightline.dev/shared=true if it is meant to be used.";
    ServiceNotFound [ResolvedRefs, Programmed]: "The Service of a backend does not exist: a mesh would drop the provider in silence.", "Create the Service, or correct the endpoint's host.";
    ServicePortNotFound [ResolvedRefs, Programmed]: "The Service of a backend does not have that port.", "Correct the endpoint's port, or add the port to the Service.";
    ServicePortProtocol [ResolvedRefs, Programmed]: "The port of a backend's Service does not speak what the backend needs, by its name or appProtocol.", "Name the port grpc or grpc-…, or set appProtocol: grpc.";
    TargetNotFound [ResolvedRefs, Programmed]: "An object that targetRefs names does not exist.", "Create it, or correct targetRefs.";
    InjectNotEnabled [ResolvedRefs, Programmed, AgentsInSync]: "The namespace does not allow environment to be injected.", "Label the namespace sightline.dev/inject=enabled.";
    WorkloadNotFound [AgentsInSync]: "A workload that the spec names does not exist.", "Create it, or correct the name.";
    Forbidden [ResolvedRefs, Programmed, AgentsInSync]: "Sightline may not read or write something that the spec names.", "Install the Role of config/rbac in that namespace.";
    FactsPending [Accepted, ResolvedRefs, Programmed, AgentsInSync]: "The cluster is still being read.", "Wait; it takes seconds.";
    NotOurs [Programmed, AgentsInSync]: "An object of that name exists and is not Sightline's.", "Remove it, or let Sightline take it over: adopt: true in the spec, or the annotation sightline.dev/adopt=true on it.";
    IstioNotInstalled [Programmed]: "The API server does not know Istio's kinds.", "Install Istio; the resource heals by itself.";
    KumaNotInstalled [Programmed]: "The API server does not know Kuma's kinds.", "Install Kuma; the resource heals by itself.";
    PrometheusOperatorNotInstalled [Programmed]: "The API server does not know prometheus-operator's kinds.", "Install prometheus-operator, or use an export of type ScrapeConfig; the resource heals by itself.";
    OpenTelemetryOperatorNotInstalled [Programmed]: "The API server does not know OpenTelemetry's kinds.", "Install OpenTelemetry's operator, or set spec.collector.mode: Workload; the resource heals by itself.";
    NotSelected [Programmed]: "No Prometheus selects a monitor, so nobody scrapes by it.", "Set object.namespace and object.labels of the export to what the Prometheus that the message names selects.";
    ControlPlaneNotVisible [Accepted, Programmed]: "No Ready istiod of a revision was found; or the version of Kuma cannot be told.", "Correct spec.mesh.istio.namespace or revisions, or start istiod; for Kuma, set spec.mesh.kuma.version or correct its systemNamespace.";
    SharedConfigNotWired [Programmed]: "istiod does not read the ConfigMap that extension providers are written to.", "Set SHARED_MESH_CONFIG on istiod as the message says; with mode Patch, name a ConfigMap that istiod reads.";
    SharedConfigTaken [Programmed]: "istiod's SHARED_MESH_CONFIG names another ConfigMap.", "Set spec.mesh.istio.meshConfig to mode: Patch with the name of that map, or point istiod at Sightline's.";
    ProviderMissing [Programmed]: "MeshConfig lacks an extension provider, and spec.mesh.istio.meshConfig.mode is Verify; or a ConfigMap that Sightline does not write has another one of its name.", "Add the entries that `sightline explain mesh NAME` prints, or use mode Shared or Patch; remove an entry that the message names.";
    MeshConfigUnreadable [Programmed]: "A ConfigMap with MeshConfig does not exist, or cannot be changed without harm to what stands there.", "Correct it as the message says; nothing was written.";
    BuiltinReplaced [Programmed]: "MeshConfig redefines the provider envoy as something that logs nothing, so logging cannot be switched off by it.", "Rename that provider in MeshConfig.";
    ShadowedBy [Programmed]: "An older Telemetry of somebody else makes Istio ignore ours; or a policy of somebody else replaces ours in Kuma.", "Delete it, or annotate a Telemetry with sightline.dev/adopt=true: Sightline takes it over in place; of a policy of Kuma's, see the message for what decides.";
    Contested [Programmed, AgentsInSync, Contested]: "Somebody else's object takes part in what this policy says, or somebody takes back what Sightline writes.", "See the message for the object and the effect; delete it, let Sightline adopt it, or take it out of what the manager that is named manages.";
    RejectedByPolicy [Programmed]: "An admission policy of the cluster refuses what Sightline writes.", "See the message for the policy and for what is still possible.";
    CapacityExceeded [Programmed]: "A limit of spec.logging.limits is reached: no further extension provider is written.", "Use a format that other policies have, or raise the limit; what is live stays.";
    ProviderPending [Programmed]: "The extension provider is not yet in istiod's MeshConfig.", "Wait; it takes seconds.";
    Pending [Programmed, AgentsInSync]: "The object is not yet written or not yet read back.", "Wait; it takes seconds.";
    WrongVersion [Programmed]: "The definition of a kind in the API server lacks a field that is written for the version of the mesh.", "Set spec.mesh.kuma.version to the version of the installed definitions, or upgrade them.";
    BackendUnresolved [Programmed]: "Kuma says that one of our policies names a receiver that it does not find, or that no policy names one that ours do: nothing is sent.", "Wait; it takes seconds. If it lasts, see the message for the object, and the log of Kuma's control plane.";
    RejectedByProxies [Programmed]: "Proxies refuse the listeners that Kuma makes of its policies: they keep those from before, and a new proxy has none.", "Look for `config rejected` in the log of Kuma's control plane, which has Envoy's reason; correct or remove what it names.";
    DaemonNotFound [Programmed]: "No daemon of Kmesh runs where spec.mesh.kmesh says.", "Install Kmesh, or correct spec.mesh.kmesh; the resource heals by itself.";
    DaemonUnreachable [Programmed]: "A daemon of Kmesh could not be asked through a port-forward, or did not answer.", "See the daemon's log; it is tried again.";
    DaemonRefused [Programmed]: "A daemon of Kmesh refused a switch.", "Read the message, which holds its words; it is tried again.";
    DaemonTooOld [Programmed]: "A daemon of Kmesh has no such switch: it is of before 1.0.", "Upgrade Kmesh.";
    KernelNativeMode [Programmed]: "A daemon of Kmesh runs in mode kernel-native, which has no telemetry.", "Run Kmesh with --mode=dual-engine, or remove the policies.";
    MeshNotFound [Programmed]: "Kuma has no mesh of the name that spec.mesh.kuma.name says.", "Create that Mesh, or correct the name.";
    WriteRefused [Programmed, AgentsInSync]: "The API server refused what Sightline wrote.", "Read the message: a missing Role, an admission policy or a quota; it is tried again.";
    InternalError [Accepted]: "Sightline itself failed on this resource; others are not affected.", "Please report it with the log of the operator.";
    Overridden [Programmed, AgentsInSync, PartiallyOverridden]: "Another policy of the same scope wins.", "Change labels, priority or name, or remove one of the two.";
    Overlaps [Programmed]: "Too many selectors of this namespace overlap.", "Give the policies a label that keeps them apart.";
    Deleting [Programmed]: "The mesh is being deleted and its outputs go first, or the namespace is being deleted.", "Wait; map entries go a minute after the last Telemetry that named them.";
    Ejected [Programmed]: "What was rendered is taken out of the cluster by `sightline eject`, or has been; the resource stays as it is written.", "Run the operator again, which programs it anew; or delete the resource.";
    RollingOut [AgentsInSync]: "An agent is being rolled out with the new configuration.", "Wait for the rollout.";
    WaitingForQuiet [AgentsInSync]: "A change is fresh; more may follow.", "Wait for rollout.quietPeriod.";
    WaitingForTurn [AgentsInSync]: "Other restarts go first.", "Wait; rollout.maxConcurrent and rollout.minInterval set the pace.";
    Paused [AgentsInSync]: "rollout.paused is set.", "Set rollout.paused to false.";
    RolloutFailed [AgentsInSync]: "The rollout of a restarted workload is not complete after rollout.progressDeadline, and the other restarts wait (rollout.onFailure: Halt).", "Correct the workload or what it reads, or go on without it by the command of the message.";
    RolloutSkipped [AgentsInSync]: "The rollout of a restarted workload is not complete after rollout.progressDeadline, and the others go on without it.", "Correct the workload or what it reads.";
    Halted [AgentsInSync]: "The rollout of another workload has failed, and rollout.onFailure is Halt.", "Correct that workload, or go on without it by the command of the message.";
    ManagedByController [AgentsInSync]: "A controller made the workload and would take back what is written to it.", "Name the workload's owner's settings for restarts, or remove the agent's entry.";
    AgentOfOtherMesh [AgentsInSync]: "Another ObservabilityMesh names the workload as its agent, and restarts it.", "Name it in one of the two.";
    Blocked [AgentsInSync]: "A workload cannot be restarted now, for a cause outside Sightline.", "See the message for the cause.";
    EnvNotOurs [AgentsInSync]: "A container has a variable of that name from somebody else.", "Remove it there; the container's own value wins.";
    NoContainerChosen [AgentsInSync]: "It is not clear which container gets the variables.", "Name it in inject[].containers.";
    InjectedElsewhere [AgentsInSync]: "The workload gets its tracing variables from the OpenTelemetry Operator.", "Remove its annotation, or leave the workload out of the selector.";
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without times: what the pure core says. Times are added where status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which condition.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: Truth,
    /// Why.
    pub reason: Reason,
    /// For a person: the object at fault and the next step.
    pub message: String,
}

impl Finding {
    /// A condition that holds.
    pub fn holds(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Truth::True,
            reason,
            message: message.into(),
        }
    }

    /// A condition that does not hold.
    pub fn fails(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Truth::False,
            reason,
            message: message.into(),
        }
    }

    /// A condition of which nothing can be told.
    pub fn unknown(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Truth::Unknown,
            reason,
            message: message.into(),
        }
    }
}

/// Adds `Ready`: the first of the given conditions that does not hold decides its reason and message. An abnormal
/// condition (`Partially…`, `Contested`) does not make a resource unready.
pub fn with_ready(mut findings: Vec<Finding>) -> Vec<Finding> {
    let normal = |f: &&Finding| {
        !matches!(
            f.type_,
            ConditionType::PartiallyOverridden | ConditionType::PartiallyExpressed | ConditionType::Contested
        )
    };
    let first_bad = findings.iter().filter(normal).find(|f| f.status != Truth::True);
    let ready = match first_bad {
        Some(bad) => Finding {
            type_: ConditionType::Ready,
            ..bad.clone()
        },
        None => Finding::holds(ConditionType::Ready, Reason::Ready, "All conditions hold."),
    };
    findings.push(ready);
    findings
}

/// The conditions as status holds them: `lastTransitionTime` moves only where the status flips.
pub fn to_conditions(
    findings: &[Finding],
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let since = previous
                .iter()
                .find(|c| c.type_ == finding.type_.as_str() && c.status == finding.status.as_str())
                .map_or(Time(now), |c| c.last_transition_time.clone());
            Condition {
                type_: finding.type_.as_str().into(),
                status: finding.status.as_str().into(),
                reason: finding.reason.as_str().into(),
                message: truncate(&finding.message, 1024),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

/// Cuts a text to at most `max` bytes at a character's boundary.
pub fn truncate(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max.saturating_sub(3))
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// At most three sorted names and a total: `a, b, c and 4 more`.
pub fn some_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|n| n.as_ref().to_owned()).collect();
    names.sort();
    names.dedup();
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_takes_reason_and_message_of_the_first_condition_that_does_not_hold() {
        let findings = with_ready(vec![
            Finding::holds(ConditionType::Accepted, Reason::Accepted, ""),
            Finding::fails(ConditionType::Programmed, Reason::NotOurs, "ConfigMap a/b"),
            Finding::holds(ConditionType::PartiallyOverridden, Reason::Overridden, "x"),
        ]);
        let ready = findings.last().unwrap();
        assert_eq!(
            (ready.type_, ready.reason, ready.message.as_str()),
            (ConditionType::Ready, Reason::NotOurs, "ConfigMap a/b")
        );
    }

    #[test]
    fn an_abnormal_condition_that_is_true_leaves_the_resource_ready() {
        let findings = with_ready(vec![Finding::holds(
            ConditionType::PartiallyExpressed,
            Reason::NotExpressible,
            "x",
        )]);
        assert_eq!(findings.last().unwrap().status, Truth::True);
    }

    #[test]
    fn transition_time_moves_only_when_the_status_flips() {
        let early = Timestamp::from_second(1).unwrap();
        let late = Timestamp::from_second(100).unwrap();
        let first = to_conditions(
            &[Finding::fails(ConditionType::Ready, Reason::Pending, "a")],
            &[],
            Some(1),
            early,
        );
        let same = to_conditions(
            &[Finding::fails(ConditionType::Ready, Reason::NotOurs, "b")],
            &first,
            Some(2),
            late,
        );
        assert_eq!(same[0].last_transition_time.0, early);
        let flipped = to_conditions(
            &[Finding::holds(ConditionType::Ready, Reason::Ready, "")],
            &same,
            Some(2),
            late,
        );
        assert_eq!(flipped[0].last_transition_time.0, late);
    }

    #[test]
    fn names_are_bounded_and_sorted() {
        assert_eq!(some_names(["c", "a", "b", "e", "d"]), "a, b, c and 2 more");
        assert_eq!(some_names(["b", "a"]), "a, b");
    }
}
