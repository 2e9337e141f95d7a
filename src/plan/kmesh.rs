//! Keeps the switches of Kmesh's daemons as wanted: which daemons have to be asked now, and what is to be told of them.
//!
//! A switch cannot be read and does not survive its daemon. So a daemon is asked once in each life of its container, again
//! when something else is wanted, and from time to time, in case that somebody else has set a switch.

use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Plan;
use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{KmeshMesh, KmeshNode, KmeshStatus, ObservabilityMesh};
use crate::policy::kmesh as policy;
use crate::policy::membership::{is_live, name_of};
use crate::policy::proxies::kmesh_of;
use crate::render::kmesh::scrape::Evidence;
use crate::render::kmesh::{APP, Conversation, Switches, Taken, Trouble};
use crate::snapshot::daemons::{Asked, Life};
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

/// A daemon that has not been asked for so long is asked again, when somebody looks: the operator does every ten minutes.
const ASSERTED_FOR: SignedDuration = SignedDuration::from_mins(5);
/// Its metrics are looked at so long after it was asked: they are brought up to date every five seconds.
const EVIDENCE_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// First and longest wait after a failure; it doubles.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_RETRY: SignedDuration = SignedDuration::from_mins(5);
/// A mesh that is being deleted does not wait for a daemon that did not do its bidding so often.
const GIVES_UP_AFTER: u32 = 4;
/// Most daemons that one plan asks, so that it ends in time even if all are sick: the rest have their turn at once after.
const MOST_AT_ONCE: usize = 40;
/// Most nodes in a status.
const MOST_NODES: usize = 32;

/// A daemon to ask.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its pod.
    pub daemon: Key,
    /// Its present life.
    pub life: Life,
    /// What to ask for.
    pub switches: Switches,
    /// What to say to it; `None`: only its metrics are looked at.
    pub conversation: Option<Conversation>,
    /// Whether to look at its metrics as well.
    pub looks: bool,
    /// How it went before, in this life.
    before: Option<Asked>,
}

impl Ask {
    /// What to remember of how it went. An outcome is that of the conversation, evidence what its metrics prove.
    pub fn done(&self, outcome: Option<Result<Taken, Trouble>>, evidence: Option<Evidence>, now: Timestamp) -> Asked {
        let before = self.before.as_ref();
        let same = before.filter(|before| before.switches == self.switches);
        let is_asked = outcome.is_some();
        let outcome = outcome
            .or_else(|| before.map(|before| before.outcome.clone()))
            .unwrap_or_else(|| Ok(Taken::default()));
        let failures = if outcome.is_ok() {
            0
        } else {
            same.map_or(0, |before| before.failures).saturating_add(1)
        };
        Asked {
            life: self.life.clone(),
            switches: self.switches,
            since: outcome
                .is_ok()
                .then(|| same.and_then(|before| before.since).unwrap_or(now)),
            failures,
            at: before.filter(|_| !is_asked).map_or(now, |before| before.at),
            evidence: evidence
                .or_else(|| self.looks.then(Evidence::default))
                .or_else(|| same.and_then(|before| before.evidence)),
            outcome,
        }
    }
}

/// A daemon.
struct Daemon<'a> {
    key: Key,
    node: String,
    /// `None` while its container does not run.
    life: Option<Life>,
    asked: Option<&'a Asked>,
}

impl Daemon<'_> {
    /// How it went in its present life.
    fn of_this_life(&self) -> Option<&Asked> {
        self.asked.filter(|asked| Some(&asked.life) == self.life.as_ref())
    }
}

/// The daemons of a mesh.
///
/// # Errors
/// The finding of why they cannot be seen.
fn daemons<'a>(view: &View<'a>, of: &KmeshMesh) -> Result<Vec<Daemon<'a>>, Finding> {
    let type_ = ConditionType::Programmed;
    let namespace = &of.namespace;
    let pods = match view.objects_in(Kind::Pod, namespace) {
        Fact::Present(pods) => pods,
        Fact::Absent | Fact::KindMissing => Vec::new(),
        Fact::Unknown => {
            let message = format!("Pods in namespace {namespace} have not been read yet.");
            return Err(Finding::unknown(type_, Reason::FactsPending, message));
        }
        Fact::Forbidden => return Err(forbidden(namespace)),
    };
    let mut daemons: Vec<Daemon<'a>> = pods
        .into_iter()
        .filter(|pod| is_daemon(pod, of))
        .map(|pod| {
            let key = key_of(pod);
            let node = pod.pointer("/spec/nodeName").and_then(Value::as_str);
            Daemon {
                node: node.map_or_else(|| key.name.clone(), str::to_owned),
                life: Life::of(pod),
                asked: view.asked(&key),
                key,
            }
        })
        .collect();
    daemons.sort_by(|a, b| (&a.node, &a.key).cmp(&(&b.node, &b.key)));
    Ok(daemons)
}

/// Whether a pod is one of the DaemonSet's: its name begins as Kubernetes has it.
pub fn is_daemon(pod: &Value, of: &KmeshMesh) -> bool {
    let key = key_of(pod);
    let is_named = key
        .name
        .strip_prefix(&of.daemon_set)
        .is_some_and(|rest| rest.starts_with('-'));
    let is_labelled = labels_of(pod).get("app").is_some_and(|app| app == APP);
    is_named && is_labelled && crate::snapshot::proxies::is_running(pod)
}

fn forbidden(namespace: &str) -> Finding {
    let message = format!(
        "Sightline may not reach Kmesh's daemons in namespace {namespace}; give it the Role that `sightline rbac --kmesh-namespace {namespace}` prints."
    );
    Finding::fails(ConditionType::Programmed, Reason::Forbidden, message)
}

/// The mesh that sets the switches in a namespace: of several the first by name.
fn writer<'a>(view: &View<'a>, namespace: &str) -> Option<&'a Arc<ObservabilityMesh>> {
    let is_of = |mesh: &&Arc<ObservabilityMesh>| kmesh_of(mesh).is_some_and(|of| of.namespace == namespace);
    view.meshes().filter(|mesh| is_live(mesh)).find(is_of)
}

/// What is wanted of the daemons of a mesh: nothing, once it is being deleted.
fn wanted(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, of: &KmeshMesh) -> Result<Switches, Finding> {
    if is_live(mesh) {
        policy::wanted(view, mesh, of)
    } else {
        Ok(Switches::default())
    }
}

/// Plans whom to ask.
pub fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some((mesh, of)) = view.mesh(name).and_then(|mesh| Some((mesh, kmesh_of(mesh)?))) else {
        return plan;
    };
    let writer = writer(view, &of.namespace).map(|writer| name_of(writer));
    if writer.is_some_and(|writer| writer != name) {
        return plan;
    }
    // Until both are known, switches stay as they are.
    let (Ok(daemons), Ok(switches)) = (daemons(view, &of), wanted(view, mesh, &of)) else {
        return plan;
    };
    for daemon in &daemons {
        match due(daemon, switches, view.now) {
            Due::Now(ask) if plan.daemons.len() < MOST_AT_ONCE => plan.daemons.push(*ask),
            Due::Now(_) => plan.look_again_at(view.now),
            Due::At(at) => plan.look_again_at(at),
            Due::Never => {}
        }
    }
    plan
}

enum Due {
    Now(Box<Ask>),
    At(Timestamp),
    Never,
}

/// When a daemon has to be asked next. What is asked again in case that somebody else has set a switch waits for the
/// operator's own next look.
fn due(daemon: &Daemon<'_>, switches: Switches, now: Timestamp) -> Due {
    let Some(life) = daemon.life.clone() else {
        return Due::Never;
    };
    let ask = |conversation: Option<Conversation>, looks: bool| {
        Due::Now(Box::new(Ask {
            daemon: daemon.key.clone(),
            life: life.clone(),
            switches,
            conversation,
            looks,
            before: daemon.of_this_life().cloned(),
        }))
    };
    let Some(asked) = daemon.of_this_life() else {
        return ask(Some(Conversation::begin(switches)), false);
    };
    let after = |span: SignedDuration| asked.at.checked_add(span).unwrap_or(now);
    let Some(known) = asked.known() else {
        if asked.switches != switches {
            return ask(Some(Conversation::begin(switches)), false);
        }
        let retry = after(retry_after(asked.failures));
        return if retry <= now {
            ask(Some(Conversation::begin(switches)), false)
        } else {
            Due::At(retry)
        };
    };
    if asked.switches != switches {
        return ask(Some(Conversation::go_on(switches, known, false)), false);
    }
    if after(ASSERTED_FOR) <= now {
        return ask(Some(Conversation::go_on(switches, known, true)), true);
    }
    match asked.evidence {
        Some(_) => Due::Never,
        None if after(EVIDENCE_AFTER) <= now => ask(None, true),
        None => Due::At(after(EVIDENCE_AFTER)),
    }
}

fn retry_after(failures: u32) -> SignedDuration {
    let doubled = FIRST_RETRY.checked_mul(2_i32.saturating_pow(failures.saturating_sub(1).min(16)));
    doubled.unwrap_or(LONGEST_RETRY).min(LONGEST_RETRY)
}

/// Whether every daemon took what is wanted.
///
/// # Errors
/// The finding of why that cannot be said.
pub fn stands(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, of: &KmeshMesh) -> Result<Finding, Finding> {
    let type_ = ConditionType::Programmed;
    if let Some(writer) = writer(view, &of.namespace).filter(|writer| name_of(writer) != name_of(mesh)) {
        let message = format!(
            "The switches of Kmesh's daemons in namespace {} are set by ObservabilityMesh {}, which comes first by name; keep one of the two.",
            of.namespace,
            name_of(writer)
        );
        return Err(Finding::fails(type_, Reason::Overridden, message));
    }
    let daemons = daemons(view, of)?;
    let switches = wanted(view, mesh, of).map_err(|finding| Finding { type_, ..finding })?;
    if daemons.is_empty() {
        let message = format!(
            "No pod of DaemonSet {} with the label app={APP} runs in namespace {}; install Kmesh, or correct spec.mesh.kmesh.",
            of.daemon_set, of.namespace
        );
        return Err(Finding::fails(type_, Reason::DaemonNotFound, message));
    }
    let mut troubles: Vec<(&Trouble, &str)> = Vec::new();
    let mut waiting = 0_usize;
    for daemon in &daemons {
        match daemon.of_this_life() {
            Some(asked) if asked.switches == switches => match &asked.outcome {
                Ok(_) => {}
                Err(trouble) => troubles.push((trouble, &daemon.node)),
            },
            _ => waiting += 1,
        }
    }
    if let Some((first, _)) = troubles.first() {
        if matches!(first, Trouble::Forbidden) {
            return Err(forbidden(&of.namespace));
        }
        let nodes = some_names(troubles.iter().map(|(_, node)| *node));
        let message = format!(
            "{} of {} daemons of Kmesh did not take what is wanted ({nodes}): {}.",
            troubles.len(),
            daemons.len(),
            words(first)
        );
        return Err(Finding::fails(type_, first.reason(), message));
    }
    if waiting > 0 {
        let message = format!(
            "{waiting} of {} daemons of Kmesh are still to be asked; wait.",
            daemons.len()
        );
        return Err(Finding::fails(type_, Reason::Pending, message));
    }
    let position = |wanted| if wanted { "on" } else { "off" };
    let message = format!(
        "Requested of every daemon of Kmesh: access log {}, workload metrics {}, connection metrics {}. Whether it still is so, no daemon tells.",
        position(switches.access_log),
        position(switches.workload_metrics),
        position(switches.connection_metrics)
    );
    Ok(Finding::holds(type_, Reason::Programmed, message))
}

fn words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::KernelNative => {
            "it runs in mode kernel-native, which has no telemetry; run Kmesh with --mode=dual-engine".to_owned()
        }
        Trouble::TooOld => "it has no such switch; upgrade Kmesh to 1.0 or later".to_owned(),
        Trouble::Refused(words) => format!("it answered {words}"),
        Trouble::Unreachable(why) => format!("{why}; see the daemon's log"),
        Trouble::Forbidden => "Sightline may not forward ports there".to_owned(),
    }
}

/// What daemons cannot do that the mesh wants: paths of its spec.
pub fn lacks(view: &View<'_>, of: &KmeshMesh) -> Vec<String> {
    let daemons = daemons(view, of).unwrap_or_default();
    let taken = daemons
        .iter()
        .filter_map(|daemon| daemon.of_this_life()?.outcome.as_ref().ok());
    let lacking = taken.filter(|taken| taken.lacks_connection_metrics).count();
    let path = || format!("spec.metrics.kmesh.connection (needs Kmesh 1.1, which {lacking} daemons are not)");
    (lacking > 0).then(path).into_iter().collect()
}

/// What status tells of the daemons; `None` while nothing is known.
pub fn status(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, of: &KmeshMesh) -> Option<KmeshStatus> {
    let daemons = daemons(view, of).ok()?;
    let switches = wanted(view, mesh, of).ok()?;
    let took = |daemon: &&Daemon<'_>| {
        let asked = daemon.of_this_life();
        asked.is_some_and(|asked| asked.switches == switches && asked.outcome.is_ok())
    };
    let requested = daemons.iter().filter(took).count();
    let mut nodes: Vec<(bool, KmeshNode)> = daemons
        .iter()
        .map(|daemon| (took(&daemon), node(daemon, switches)))
        .collect();
    nodes.sort_by(|a, b| (a.0, &a.1.node).cmp(&(b.0, &b.1.node)));
    nodes.dedup_by(|a, b| a.1.node == b.1.node);
    nodes.truncate(MOST_NODES);
    let wanted = [
        (switches.access_log, "AccessLog"),
        (switches.monitoring, "ServiceMetrics"),
        (switches.workload_metrics, "WorkloadMetrics"),
        (switches.connection_metrics, "ConnectionMetrics"),
    ];
    let wanted = wanted.into_iter().filter(|(on, _)| *on);
    Some(KmeshStatus {
        wanted: wanted.map(|(_, name)| name.to_owned()).collect(),
        daemons: super::judge::to_i32(daemons.len()),
        requested: super::judge::to_i32(requested),
        nodes: nodes.into_iter().map(|(_, node)| node).collect(),
    })
}

fn node(daemon: &Daemon<'_>, switches: Switches) -> KmeshNode {
    let asked = daemon.of_this_life().filter(|asked| asked.switches == switches);
    let state = match asked.map(|asked| &asked.outcome) {
        None => Reason::Pending.as_str(),
        Some(Ok(_)) => "Requested",
        Some(Err(trouble)) => trouble.reason().as_str(),
    };
    let version = asked.and_then(|asked| asked.outcome.as_ref().ok()?.version);
    let evidence = asked.and_then(|asked| asked.evidence).unwrap_or_default();
    KmeshNode {
        node: daemon.node.clone(),
        state: state.to_owned(),
        version: version.map(|version| version.to_string()),
        // To the second: a status goes through JSON and back unchanged.
        requested_at: asked.and_then(|asked| asked.since).and_then(to_second),
        evidence: evidence.names().into_iter().map(str::to_owned).collect(),
    }
}

fn to_second(at: Timestamp) -> Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> {
    let at = Timestamp::from_second(at.as_second()).ok()?;
    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at))
}

/// Whether daemons of a mesh that goes are still to be switched off; `None`: not known yet. Who cannot be asked is not
/// waited for, and where pods may not be read nobody can be.
pub fn are_left(view: &View<'_>, mesh: &ObservabilityMesh, of: &KmeshMesh) -> Option<bool> {
    if writer(view, &of.namespace).is_some_and(|writer| name_of(writer) != name_of(mesh)) {
        return Some(false);
    }
    let daemons = match daemons(view, of) {
        Ok(daemons) => daemons,
        Err(finding) if finding.reason == Reason::FactsPending => return None,
        Err(_) => return Some(false),
    };
    let is_left = |daemon: &Daemon<'_>| {
        let off = |asked: &Asked| {
            asked.switches == Switches::default() && (asked.outcome.is_ok() || asked.failures >= GIVES_UP_AFTER)
        };
        daemon.life.is_some() && !daemon.of_this_life().is_some_and(off)
    };
    Some(daemons.iter().any(is_left))
}

/// What a simulated daemon does: it takes everything.
pub(super) fn play(ask: &Ask, now: Timestamp) -> Asked {
    Asked {
        evidence: Some(Evidence::default()),
        // What is printed does not depend on the clock.
        since: None,
        ..ask.done(Some(Ok(Taken::default())), None, now)
    }
}

/// Whether an ask changes anything, and is not one of those that come again and again.
pub(super) fn is_news(ask: &Ask) -> bool {
    ask.before.as_ref().is_none_or(|before| before.switches != ask.switches)
}

/// The field of a mesh's status.
pub fn field(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Option<Value> {
    let of = kmesh_of(mesh)?;
    status(view, mesh, &of).map(|status| json!(status))
}
