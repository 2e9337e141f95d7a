//! Judges the three kinds: what their status says.

pub mod mesh;
pub mod tracing_backend;
pub mod traffic_log;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::foreign::{Beside, Effect, Section};
use super::owned::is_ours;
use super::telemetries::Telemetries;
use super::{Event, Plan, Status, Target, control_plane, kmesh, kuma, mesh_config, refusal, rollout, telemetries};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names, with_ready};
use crate::crds::{IstioMesh, ObservabilityMesh};
use crate::policy::claims::{Checked, Claim, Source};
use crate::policy::membership::{
    MeshScope, NotAMember, istio_of, maps_of, mesh_scope, mesh_wide_istio_of, name_of, other_mesh_rooted_in, selects,
};
use crate::policy::proxies::{Proxies, kmesh_of, kuma_of};
use crate::policy::resolve::{MAX_SETS, Overlap};
use crate::render::istio::provider::Provider;
use crate::snapshot::{Fact, Key, Kind, Undecoded, View, key_of, labels_of};

/// Says of a resource that it cannot be read. What was noted in its status stays: it tells what is live.
pub fn undecoded(target: &Target, undecoded: &Undecoded) -> Plan {
    let reason = Reason::InvalidSpec;
    let what = format!(
        "The stored resource cannot be read: {}. Apply it again; the API server says what is wrong.",
        undecoded.why
    );
    let findings = vec![
        Finding::fails(ConditionType::Accepted, reason, what),
        Finding::fails(
            ConditionType::Programmed,
            reason,
            "What was live before stays as it is.",
        ),
    ];
    let mut fields = undecoded.status.clone();
    fields.retain(|name, _| name != "conditions" && name != "observedGeneration");
    let generation = undecoded.metadata.generation;
    Plan {
        statuses: vec![Status::new(target.clone(), generation, with_ready(findings), fields)],
        ..Plan::default()
    }
}

fn insert_mesh(fields: &mut Map<String, Value>, mesh: Option<&Arc<ObservabilityMesh>>) {
    if let Some(mesh) = mesh {
        fields.insert("mesh".into(), Value::from(name_of(mesh)));
    }
}

/// The condition that the target cannot say some of a spec.
fn not_expressed<C>(checked: &Checked<'_, C>) -> Option<Finding> {
    (!checked.not_expressed.is_empty()).then(|| {
        let message = format!("Not expressible and left out: {}.", checked.not_expressed.join(", "));
        Finding::holds(ConditionType::PartiallyExpressed, Reason::NotExpressible, message)
    })
}

/// `Programmed` of a policy whose spec cannot be programmed.
fn not_programmed<C>(checked: &Checked<'_, C>) -> Finding {
    let bad = checked.findings.iter().find(|f| f.status != Truth::True);
    let reason = bad.map_or(Reason::Pending, |f| f.reason);
    let status = bad.map_or(Truth::False, |f| f.status);
    let message = if checked.keeps_last_good {
        "The present spec is not programmed; what was live before stays."
    } else {
        "The present spec is not programmed, and nothing of an earlier one is."
    };
    Finding {
        type_: ConditionType::Programmed,
        status,
        reason,
        message: message.into(),
    }
}

/// `Programmed` of a policy with a claim, and `Contested` where somebody else's Telemetry takes part in it.
fn programmed<C: Claim>(
    view: &View<'_>,
    plan: &mut Plan,
    checked: &Checked<'_, C>,
    claim: &C,
) -> (Finding, Option<Finding>) {
    if let Some((mesh, of)) = checked.mesh.and_then(|mesh| Some((mesh, kuma_of(mesh)?))) {
        let namespaces = rendered_in(view, checked, claim);
        let standing = kuma::usable(view, mesh, &of, &checked.providers)
            .and_then(|()| kuma::stands(view, mesh, &of, &namespaces, claim.source()));
        return match standing.map(Others::in_kuma) {
            Err(finding) => (finding, None),
            Ok(others) => {
                let in_force = others
                    .shadowed()
                    .map_or(Ok(()), Err)
                    .and_then(|()| kuma::proof::in_force(view, mesh, &of, &checked.providers, &namespaces, plan));
                in_force.map_or_else(|finding| (finding, None), |()| (as_rendered(), others.contested()))
            }
        };
    }
    let of_daemons = checked.mesh.filter(|_| claim.selection().targets.is_empty());
    if let Some((mesh, of)) = of_daemons.and_then(|mesh| Some((mesh, kmesh_of(mesh)?))) {
        let (Ok(finding) | Err(finding)) = kmesh::stands(view, mesh, &of);
        return (finding, None);
    }
    if let Err(finding) = providers_stand(view, plan, checked, &claim.source().into(), claim.switches_off()) {
        return (finding, None);
    }
    let namespaces = rendered_in(view, checked, claim);
    if let Some(finding) = leaving(view, &namespaces) {
        return (finding, None);
    }
    let mut pending = Vec::new();
    let mut others = Others::default();
    for namespace in &namespaces {
        let telemetries = telemetries::plan(view, namespace);
        let source = claim.source();
        if let Some((_, other)) = telemetries
            .overlapping
            .iter()
            .find(|(out, _)| out.is_same_object(source))
        {
            return (overlaps(namespace, other.as_ref()), None);
        }
        for set in claim.selection().sets() {
            let key = telemetries.key_of(namespace, &set);
            match stands(view, &telemetries, &key) {
                Ok(true) => {}
                Ok(false) => pending.push(key.to_string()),
                Err(finding) => return (finding, None),
            }
            if let Some(ours) = telemetries.ours.get(&set) {
                others.note(&ours.beside, &Section::of_source(&ours.sources, source));
            }
        }
    }
    if let Some(finding) = others.shadowed() {
        return (finding, None);
    }
    (not_written(pending).unwrap_or_else(as_rendered), others.contested())
}

fn as_rendered() -> Finding {
    let message = "The rendered objects stand as rendered.";
    Finding::holds(ConditionType::Programmed, Reason::Programmed, message)
}

/// What objects of somebody else do to a resource: sentences.
#[derive(Default)]
struct Others {
    shadows: Vec<String>,
    contests: Vec<String>,
}

/// Most objects of somebody else that a condition tells of.
const MAX_OTHERS: usize = 3;

impl Others {
    /// Those beside one object to which the resource contributes these sections.
    fn note(&mut self, beside: &[Beside], sections: &BTreeSet<Section>) {
        for other in beside.iter().filter(|other| other.concerns(sections)) {
            let message = other.message(sections);
            match other.effect {
                Effect::IgnoresOurs => self.shadows.push(message),
                _ => self.contests.push(message),
            }
        }
    }

    /// Those beside policies of ours in Kuma.
    fn in_kuma(beside: BTreeSet<kuma::foreign::Beside>) -> Self {
        let (shadows, contests): (Vec<_>, Vec<_>) = beside
            .into_iter()
            .partition(|other| other.effect == kuma::foreign::Effect::Shadows);
        let messages = |all: Vec<kuma::foreign::Beside>| all.iter().map(kuma::foreign::Beside::message).collect();
        Self {
            shadows: messages(shadows),
            contests: messages(contests),
        }
    }

    fn shadowed(&self) -> Option<Finding> {
        let message = Self::text(&self.shadows)?;
        Some(Finding::fails(ConditionType::Programmed, Reason::ShadowedBy, message))
    }

    fn contested(&self) -> Option<Finding> {
        let message = Self::text(&self.contests)?;
        Some(Finding::holds(ConditionType::Contested, Reason::Contested, message))
    }

    fn text(messages: &[String]) -> Option<String> {
        let shown = messages.iter().take(MAX_OTHERS).cloned().collect::<Vec<_>>().join(" ");
        match messages.len() {
            0 => None,
            all if all <= MAX_OTHERS => Some(shown),
            all => Some(format!("{shown} And {} more.", all - MAX_OTHERS)),
        }
    }
}

/// What objects of somebody else do to what a mesh itself says.
fn others_of_mesh(view: &View<'_>, mesh: &ObservabilityMesh, source: &Source) -> Others {
    if let Some(of) = kuma_of(mesh) {
        let namespaces = mesh_namespaces(view, mesh, &Proxies::Kuma(of.clone())).unwrap_or_default();
        // What does not stand is told as such.
        let standing = kuma::stands(view, mesh, &of, &namespaces, source);
        return standing.map(Others::in_kuma).unwrap_or_default();
    }
    let mut others = Others::default();
    let namespaces = mesh_wide_istio_of(mesh)
        .and_then(|istio| mesh_namespaces(view, mesh, &Proxies::Istio(istio)).ok())
        .unwrap_or_default();
    let has_foreign = |namespace: &String| match view.objects_in(Kind::Telemetry, namespace) {
        Fact::Present(live) => live.into_iter().any(|object| !is_ours(object)),
        _ => false,
    };
    for namespace in namespaces.iter().filter(|namespace| has_foreign(namespace)) {
        for ours in telemetries::plan(view, namespace).ours.values() {
            others.note(&ours.beside, &Section::of_source(&ours.sources, source));
        }
    }
    others
}

/// The finding that a namespace is being deleted in which a claim would be written.
fn leaving(view: &View<'_>, namespaces: &[String]) -> Option<Finding> {
    let is_leaving = |namespace: &&String| match view.object(Kind::Namespace, &Key::new("", *namespace)) {
        Fact::Present(object) => object.pointer("/metadata/deletionTimestamp").is_some(),
        _ => false,
    };
    let namespace = namespaces.iter().find(is_leaving)?;
    let message = format!("Namespace {namespace} is being deleted: nothing is written there any more.");
    Some(Finding::fails(ConditionType::Programmed, Reason::Deleting, message))
}

/// The finding that Telemetries are still to be written.
fn not_written(pending: Vec<String>) -> Option<Finding> {
    (!pending.is_empty()).then(|| {
        let message = format!("Telemetry {} is not written yet; wait.", some_names(pending));
        Finding::fails(ConditionType::Programmed, Reason::Pending, message)
    })
}

/// Whether there is a claim, of the target `of`, and istiod knows the extension providers that it names.
///
/// # Errors
/// The finding of why it does not.
fn providers_stand<C>(
    view: &View<'_>,
    plan: &mut Plan,
    checked: &Checked<'_, C>,
    of: &Target,
    switches_off: bool,
) -> Result<(), Finding> {
    let mesh = checked.claim.as_ref().and(checked.mesh);
    let Some((mesh, istio)) = mesh.and_then(|mesh| Some((mesh, istio_of(mesh)?))) else {
        return Err(not_programmed(checked));
    };
    if let Some(finding) = not_writable(view, &istio, of, &checked.providers) {
        return Err(finding);
    }
    control_plane::usable(view, mesh, &istio, &checked.providers, switches_off).map_err(|not_usable| {
        if let Some(at) = not_usable.look_again {
            plan.look_again_at(at);
        }
        not_usable.finding
    })
}

/// Why the providers of a resource, the target `of`, are not written to a map of its mesh.
fn not_writable(view: &View<'_>, istio: &IstioMesh, of: &Target, providers: &[Provider]) -> Option<Finding> {
    maps_of(istio).iter().find_map(|map| {
        let is_missing = |provider: &Provider| view.provider(map, &provider.name).is_none();
        mesh_config::not_writable(view, map).or_else(|| {
            let missing = providers.iter().any(is_missing).then_some(map)?;
            refusal::finding(view, Kind::ConfigMap, missing, None).or_else(|| view.map_finding(missing, of).cloned())
        })
    })
}

/// The namespaces whose objects a policy with a claim is part of.
pub(crate) fn rendered_in<C: Claim>(view: &View<'_>, checked: &Checked<'_, C>, claim: &C) -> Vec<String> {
    let namespace = &claim.source().namespace;
    match checked.mesh {
        Some(mesh) if is_per_namespace(view, mesh, claim) => selected_namespaces(view, mesh, namespace),
        _ => vec![namespace.clone()],
    }
}

/// Whether a Telemetry stands as wanted.
///
/// # Errors
/// The finding of why it cannot be written.
fn stands(view: &View<'_>, telemetries: &Telemetries, key: &Key) -> Result<bool, Finding> {
    let plan = &telemetries.plan;
    let every = telemetries::every_object(&key.namespace);
    if let Some((_, finding)) = plan.blocked.iter().find(|(at, _)| at == key || *at == every) {
        return Err(finding.clone());
    }
    let is_written = plan.apply.iter().all(|a| key_of(&a.object) != *key)
        && plan.delete.iter().all(|d| d.key != *key)
        && matches!(view.object(Kind::Telemetry, key), Fact::Present(_));
    let sources = || telemetries.ours.values().find(|ours| ours.key == *key);
    // Asked for in any case: who finds it standing has to hear of a write that is refused later.
    let refused = refusal::finding(view, Kind::Telemetry, key, sources().map(|ours| &ours.sources));
    match refused.filter(|_| !is_written) {
        Some(finding) => Err(finding),
        None => Ok(is_written),
    }
}

pub(super) fn overlaps(namespace: &str, other: Option<&Overlap>) -> Finding {
    let apart = other.map_or_else(
        || "give the policies a label that keeps them apart".to_owned(),
        |o| {
            format!(
                "this one overlaps {}: select by label {} with different values in both to keep them apart",
                o.with, o.label
            )
        },
    );
    let message = format!("The selectors of namespace {namespace} overlap in more than {MAX_SETS} sets; {apart}.");
    Finding::fails(ConditionType::Programmed, Reason::Overlaps, message)
}

/// Whether a policy holds for the whole mesh and is rendered in each of its namespaces, because a Telemetry in the root
/// namespace would reach others too.
fn is_per_namespace<C: Claim>(view: &View<'_>, mesh: &ObservabilityMesh, claim: &C) -> bool {
    Proxies::of(mesh).is_some_and(|proxies| {
        claim.selection().is_namespace()
            && proxies
                .root_namespace(view)
                .is_ok_and(|root| root == claim.source().namespace)
            && mesh_scope(view, mesh, &proxies).is_ok_and(|scope| scope == MeshScope::PerNamespace)
    })
}

/// The mesh whose policies alone compete with this one: those of two meshes stand together in a root namespace that both
/// share, and are rendered in different ones.
fn only_rivals_of<'m, C: Claim>(view: &View<'_>, checked: &Checked<'m, C>) -> Option<&'m str> {
    let (mesh, claim) = (checked.mesh?, checked.claim.as_ref()?);
    is_per_namespace(view, mesh, claim).then(|| name_of(mesh))
}

/// The namespaces in which stands what a mesh itself says.
///
/// # Errors
/// [`NotAMember`]: who else names its istiod, or what its namespaces are, is not known.
fn mesh_namespaces(view: &View<'_>, mesh: &ObservabilityMesh, proxies: &Proxies) -> Result<Vec<String>, NotAMember> {
    let root = proxies.root_namespace(view)?;
    Ok(match mesh_scope(view, mesh, proxies)? {
        MeshScope::RootTelemetry => vec![root],
        MeshScope::PerNamespace => selected_namespaces(view, mesh, &root),
    })
}

/// The namespaces that what a mesh says of all its workloads is written to, one by one: those that it selects, but for the
/// root namespaces of others, whose whole mesh it would reach.
fn selected_namespaces(view: &View<'_>, mesh: &ObservabilityMesh, but: &str) -> Vec<String> {
    let Fact::Present(namespaces) = view.objects(Kind::Namespace) else {
        return Vec::new();
    };
    namespaces
        .into_iter()
        .filter(|n| selects(mesh, &labels_of(n)).unwrap_or(false) && n.pointer("/metadata/deletionTimestamp").is_none())
        .map(|n| key_of(n).name)
        .filter(|name| name != but && matches!(other_mesh_rooted_in(view, name, mesh), Ok(None)))
        .collect()
}

pub(super) fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// `AgentsInSync` from the states of workloads: one whose rollout has failed speaks for all, else the first that is not in
/// sync.
fn agents_in_sync(states: Vec<Result<(), rollout::Problem>>) -> Finding {
    let type_ = ConditionType::AgentsInSync;
    let bad: Vec<rollout::Problem> = states.into_iter().filter_map(Result::err).collect();
    let failed = bad.iter().find(|(reason, _)| *reason == Reason::RolloutFailed);
    let Some((reason, message)) = failed.or(bad.first()).cloned() else {
        return Finding::holds(type_, Reason::InSync, "Every agent runs with the wanted configuration.");
    };
    let message = match bad.len() {
        1 => message,
        n => format!("{message} {} more are not in sync.", n - 1),
    };
    Finding::fails(type_, reason, message)
}

/// Reasons not to be ready that pass by themselves: nobody is told.
const WAITING: [Reason; 4] = [
    Reason::FactsPending,
    Reason::Pending,
    Reason::ProviderPending,
    Reason::Deleting,
];

/// The event that a resource became ready or ceased to be, from status and reason of its old `Ready`, and from its new one.
/// What comes of waiting is told too.
pub fn ready_event(of: &Target, before: Option<(&str, &str)>, findings: &[Finding]) -> Option<Event> {
    let ready = findings.iter().find(|f| f.type_ == ConditionType::Ready)?;
    let now = match ready.status {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    };
    let is_news =
        before.is_none_or(|(status, reason)| status != now || WAITING.iter().any(|waiting| waiting.as_str() == reason));
    (is_news && !WAITING.contains(&ready.reason)).then(|| Event {
        about: of.clone(),
        warning: ready.status == Truth::False,
        reason: if ready.status == Truth::True {
            "Ready"
        } else {
            ready.reason.as_str()
        },
        note: ready.message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_also_when_it_comes_after_waiting() {
        let of = Target::TrafficLog(Key::new("shop", "all"));
        let told = |before, status, reason| {
            let finding = Finding {
                status,
                ..Finding::fails(ConditionType::Ready, reason, "Why.")
            };
            ready_event(&of, before, &[finding]).map(|event| event.reason)
        };
        assert_eq!(told(Some(("True", "Ready")), Truth::False, Reason::Pending), None);
        let refused = |before| told(Some(before), Truth::False, Reason::RejectedByPolicy);
        assert_eq!(refused(("False", "Pending")), Some("RejectedByPolicy"));
        assert_eq!(refused(("False", "RejectedByPolicy")), None);
        assert_eq!(refused(("True", "Ready")), Some("RejectedByPolicy"));
        assert_eq!(told(None, Truth::True, Reason::Ready), Some("Ready"));
        assert_eq!(told(Some(("True", "Ready")), Truth::True, Reason::Ready), None);
    }
}
