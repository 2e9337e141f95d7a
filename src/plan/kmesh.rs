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
use crate::render::kmesh::{APP, Conversation, Switch, Switches, Taken, Trouble};
use crate::snapshot::daemons::{Asked, Life};
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

/// Its metrics are looked at so long after it was asked: they are brought up to date every five seconds.
const EVIDENCE_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// First and longest wait after a failure; it doubles.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_RETRY: SignedDuration = SignedDuration::from_mins(5);
/// A mesh that is being deleted does not wait for a daemon that did not do its bidding so often.
const GIVES_UP_AFTER: u32 = 4;
/// Most daemons that one plan asks, so that it ends in time even if all are sick: the rest have their turn at once after.
const MOST_AT_ONCE: usize = 40;
/// Of them, most that failed before: as many as are asked side by side, so that a daemon that restarts meanwhile waits for one
/// that does not answer, and not for all of them.
const MOST_RETRIES: usize = 8;
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
    /// Whether the daemon did not take what it was asked for the last time.
    fn is_retry(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.outcome.is_err())
    }

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
                .or_else(|| (self.looks && outcome.is_ok()).then(Evidence::default))
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
///
/// # Errors
/// The finding of what is not known yet.
pub fn wanted(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, of: &KmeshMesh) -> Result<Switches, Finding> {
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
    let mut retries = 0;
    for daemon in &daemons {
        match due(daemon, switches, view) {
            Due::Now(ask) if plan.daemons.len() < MOST_AT_ONCE && (!ask.is_retry() || retries < MOST_RETRIES) => {
                retries += usize::from(ask.is_retry());
                plan.daemons.push(*ask);
            }
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
fn due(daemon: &Daemon<'_>, switches: Switches, view: &View<'_>) -> Due {
    let now = view.now;
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
    let said_for = SignedDuration::try_from(view.timings.switches_said).unwrap_or(SignedDuration::MAX);
    if after(said_for) <= now {
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

/// What the status said of the same wishes, for one who has asked no daemon yet: an operator that has just started to
/// lead, or somebody who explains. Until a daemon answers, that is what is known.
fn recalled<'a>(
    view: &View<'_>,
    mesh: &'a ObservabilityMesh,
    of: &KmeshMesh,
    switches: Switches,
) -> Option<(&'a KmeshStatus, Finding)> {
    if view.has_asked_in(&of.namespace) {
        return None;
    }
    let status = mesh.status.as_ref()?;
    let before = status
        .kmesh
        .as_ref()
        .filter(|before| before.wanted == names(switches))?;
    let type_ = ConditionType::Programmed;
    let condition = status.conditions.iter().find(|c| c.type_ == type_.as_str())?;
    let reason = Reason::TABLE
        .iter()
        .find(|entry| entry.reason.as_str() == condition.reason)?
        .reason;
    let message = condition.message.as_str();
    let finding = match condition.status.as_str() {
        "True" => Finding::holds(type_, reason, message),
        "False" => Finding::fails(type_, reason, message),
        _ => Finding::unknown(type_, reason, message),
    };
    Some((before, finding))
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
    if let Some((_, finding)) = recalled(view, mesh, of, switches) {
        return Ok(finding);
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
    if let Some((before, _)) = recalled(view, mesh, of, switches).filter(|_| !daemons.is_empty()) {
        return Some(before.clone());
    }
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
    Some(KmeshStatus {
        wanted: names(switches),
        daemons: super::judge::to_i32(daemons.len()),
        requested: super::judge::to_i32(requested),
        nodes: nodes.into_iter().map(|(_, node)| node).collect(),
    })
}

/// What is known of the daemon on a node.
pub fn daemon_on(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, of: &KmeshMesh, name: &str) -> Option<KmeshNode> {
    let switches = wanted(view, mesh, of).ok()?;
    if let Some((before, _)) = recalled(view, mesh, of, switches) {
        return before.nodes.iter().find(|node| node.node == name).cloned();
    }
    let daemons = daemons(view, of).ok()?;
    let daemon = daemons.iter().find(|daemon| daemon.node == name)?;
    Some(node(daemon, switches))
}

/// The switches that are on, as status names them.
fn names(switches: Switches) -> Vec<String> {
    let all = Switch::ALL.into_iter().filter(|switch| switches.of(*switch));
    all.map(|switch| switch.name().to_owned()).collect()
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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::admission::admit;
    use crate::crds::TrafficLog;
    use crate::render::kmesh::{Answer, KmeshVersion, Question};
    use crate::snapshot::{Resource, Snapshot, Timings};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn mesh(name: &str, metrics: &Value) -> Arc<ObservabilityMesh> {
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": name},
                          "spec": {"mesh": {"type": "Kmesh"}, "metrics": {"kmesh": metrics}}});
        Arc::new(serde_json::from_value(admit(&mesh).unwrap()).unwrap())
    }

    fn put_mesh(snapshot: &mut Snapshot, mesh: Arc<ObservabilityMesh>) {
        let key = Key::new("", name_of(&mesh));
        ObservabilityMesh::put(snapshot, &key, Some(mesh));
    }

    fn put_pod(snapshot: &mut Snapshot, name: &str, uid: &str, restarts: i64, state: &str) {
        let pod = json!({
            "metadata": {"namespace": "kmesh-system", "name": name, "uid": uid, "labels": {"app": "kmesh"}},
            "spec": {"nodeName": format!("node-of-{name}")},
            "status": {"containerStatuses": [{"name": "kmesh", "restartCount": restarts, "state": {state: {}}}]}});
        snapshot.put(Kind::Pod, Arc::new(pod), at(0));
    }

    fn daemon() -> Key {
        Key::new("kmesh-system", "kmesh-a")
    }

    /// A mesh that wants metrics by workload, and one daemon.
    fn world() -> Snapshot {
        let mut snapshot = Snapshot::default().loaded();
        put_mesh(&mut snapshot, mesh("m", &json!({"workload": true})));
        put_pod(&mut snapshot, "kmesh-a", "1", 0, "running");
        snapshot
    }

    fn view(snapshot: &Snapshot, seconds: i64) -> View<'_> {
        View::new(snapshot, at(seconds), Timings::default())
    }

    fn plan_at(snapshot: &Snapshot, seconds: i64) -> Plan {
        plan(&view(snapshot, seconds), "m")
    }

    /// Does what a plan says, as daemons that answer thus.
    fn play(snapshot: &mut Snapshot, seconds: i64, outcome: &Result<Taken, Trouble>) -> Plan {
        let plan = plan_at(snapshot, seconds);
        for ask in &plan.daemons {
            let outcome = ask.conversation.as_ref().map(|_| outcome.clone());
            snapshot.note_asked(&ask.daemon, ask.done(outcome, None, at(seconds)));
        }
        plan
    }

    /// What a daemon of 1.1 is sent.
    fn posts(ask: &Ask) -> Vec<String> {
        let mut conversation = ask.conversation.clone().unwrap();
        let mut posts = Vec::new();
        while let Some(question) = conversation.next() {
            let (status, body) = match question {
                Question::Version => (200, r#"{"gitVersion": "v1.1.0"}"#.to_owned()),
                Question::IsKernelNative => (400, String::new()),
                Question::Set(..) => {
                    posts.push(question.request().1);
                    (200, String::new())
                }
            };
            conversation.answered(&Answer { status, body }).unwrap();
        }
        posts
    }

    fn stands_in(snapshot: &Snapshot, name: &str) -> Finding {
        let mesh = &snapshot.meshes[name];
        let (Ok(finding) | Err(finding)) = stands(&view(snapshot, 0), mesh, &kmesh_of(mesh).unwrap());
        finding
    }

    const TOOK_IT: Result<Taken, Trouble> = Ok(Taken {
        version: Some(KmeshVersion::new(1, 1)),
        lacks_connection_metrics: false,
    });
    const FRESH: [&str; 4] = [
        "/monitoring?enable=true",
        "/accesslog?enable=false",
        "/connection_metrics?enable=false",
        "/workload_metrics?enable=true",
    ];

    #[test]
    fn a_daemon_is_asked_once_in_each_life_of_its_container_from_the_beginning() {
        let mut snapshot = world();
        for (uid, restarts) in [("1", 0), ("1", 1), ("2", 0)] {
            put_pod(&mut snapshot, "kmesh-a", uid, restarts, "running");
            let plan = play(&mut snapshot, 0, &TOOK_IT);
            let [ask] = &plan.daemons[..] else {
                panic!("{uid} {restarts}: {plan:?}")
            };
            assert_eq!(posts(ask), FRESH, "{uid} {restarts}");
            assert!(plan_at(&snapshot, 1).daemons.is_empty(), "{uid} {restarts}: once");
        }
        put_pod(&mut snapshot, "kmesh-a", "3", 0, "waiting");
        let plan = plan_at(&snapshot, 1);
        assert!(plan.daemons.is_empty() && plan.look_again.is_none(), "it does not run");
    }

    #[test]
    fn what_changes_is_said_and_nothing_else() {
        let mut snapshot = world();
        play(&mut snapshot, 0, &TOOK_IT);
        put_mesh(&mut snapshot, mesh("m", &json!({"connection": true})));
        let plan = plan_at(&snapshot, 1);
        assert_eq!(
            posts(&plan.daemons[0]),
            ["/workload_metrics?enable=false", "/connection_metrics?enable=true"]
        );
    }

    #[test]
    fn metrics_are_looked_at_after_a_while_and_all_is_said_again_at_a_look_after_five_minutes() {
        let mut snapshot = world();
        play(&mut snapshot, 0, &TOOK_IT);
        assert_eq!(
            plan_at(&snapshot, 1).look_again,
            Some(at(15)),
            "they have to be brought up to date"
        );
        let looks = play(&mut snapshot, 15, &TOOK_IT);
        assert!(looks.daemons[0].conversation.is_none() && looks.daemons[0].looks);
        let idle = plan_at(&snapshot, 299);
        assert!(
            idle.daemons.is_empty() && idle.look_again.is_none(),
            "nothing is due by itself"
        );
        let resync = play(&mut snapshot, 300, &TOOK_IT);
        assert_eq!(posts(&resync.daemons[0]), &FRESH[1..]);
        assert!(resync.daemons[0].looks);
        assert!(plan_at(&snapshot, 301).daemons.is_empty());
        let since = view(&snapshot, 300).asked(&daemon()).and_then(|asked| asked.since);
        assert_eq!(since, Some(at(0)), "since when it stands is not when it was said last");
    }

    #[test]
    fn after_a_failure_it_is_tried_again_ever_later_and_a_new_life_or_wish_at_once() {
        let trouble = Err(Trouble::Unreachable("no answer".into()));
        let mut snapshot = world();
        let mut now = 0;
        for wait in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(play(&mut snapshot, now, &trouble).daemons.len(), 1, "at {now}");
            let waits = plan_at(&snapshot, now + wait - 1);
            assert_eq!((waits.daemons.len(), waits.look_again), (0, Some(at(now + wait))));
            now += wait;
        }
        let mut reborn = snapshot.clone();
        put_pod(&mut reborn, "kmesh-a", "1", 1, "running");
        put_mesh(&mut snapshot, mesh("m", &json!({})));
        for snapshot in [reborn, snapshot] {
            assert_eq!(plan_at(&snapshot, now - 1).daemons.len(), 1);
        }
    }

    #[test]
    fn more_daemons_than_a_pass_has_time_for_have_their_turn_at_once_after() {
        let mut snapshot = world();
        for index in 0..MOST_AT_ONCE {
            put_pod(&mut snapshot, &format!("kmesh-{index}"), "1", 0, "running");
        }
        let first = play(&mut snapshot, 0, &TOOK_IT);
        assert_eq!((first.daemons.len(), first.look_again), (MOST_AT_ONCE, Some(at(0))));
        assert_eq!(play(&mut snapshot, 0, &TOOK_IT).daemons.len(), 1);
    }

    #[test]
    fn daemons_that_failed_are_tried_again_a_few_at_a_time_and_hold_up_no_other() {
        let mut snapshot = world();
        for index in 0..20 {
            put_pod(&mut snapshot, &format!("kmesh-{index}"), "1", 0, "running");
        }
        let silent = Err(Trouble::Unreachable("no answer".into()));
        assert_eq!(play(&mut snapshot, 0, &silent).daemons.len(), 21);
        put_pod(&mut snapshot, "kmesh-zzz", "1", 0, "running");
        let names = |plan: &Plan| {
            plan.daemons
                .iter()
                .map(|ask| ask.daemon.name.clone())
                .collect::<Vec<_>>()
        };
        let first = play(&mut snapshot, 5, &silent);
        assert_eq!((first.daemons.len(), first.look_again), (MOST_RETRIES + 1, Some(at(5))));
        assert_eq!(names(&first).last().map(String::as_str), Some("kmesh-zzz"));
        let second = play(&mut snapshot, 5, &silent);
        assert_eq!(second.daemons.len(), MOST_RETRIES);
        assert!(
            names(&second).iter().all(|name| !names(&first).contains(name)),
            "the others have their turn"
        );
    }

    #[test]
    fn each_trouble_has_its_reason_and_says_on_how_many_nodes_and_what_to_do() {
        let refused = Trouble::Refused("POST /monitoring?enable=true: 400 update bpf monitoring failed".into());
        let closed = Trouble::Unreachable("POST /accesslog: the connection was closed without an answer".into());
        let cases = [
            (Trouble::KernelNative, Reason::KernelNativeMode, "--mode=dual-engine"),
            (Trouble::TooOld, Reason::DaemonTooOld, "upgrade Kmesh"),
            (refused, Reason::DaemonRefused, "update bpf monitoring failed"),
            (closed, Reason::DaemonUnreachable, "closed without an answer"),
            (Trouble::Forbidden, Reason::Forbidden, "--kmesh-namespace kmesh-system"),
        ];
        for (trouble, reason, words) in cases {
            let mut snapshot = world();
            play(&mut snapshot, 0, &TOOK_IT);
            put_pod(&mut snapshot, "kmesh-b", "1", 0, "running");
            assert_eq!(
                stands_in(&snapshot, "m").reason,
                Reason::Pending,
                "one is still to be asked"
            );
            play(&mut snapshot, 0, &Err(trouble));
            let finding = stands_in(&snapshot, "m");
            assert_eq!(finding.reason, reason);
            assert!(finding.message.contains(words), "{}", finding.message);
            let counts = finding.message.starts_with("1 of 2 daemons") && finding.message.contains("node-of-kmesh-b");
            assert!(counts || reason == Reason::Forbidden, "{}", finding.message);
        }
    }

    #[test]
    fn a_version_without_metrics_by_connection_is_told_by_the_path_of_what_it_lacks() {
        let mut snapshot = world();
        let of = KmeshMesh::default();
        play(&mut snapshot, 0, &TOOK_IT);
        assert_eq!(lacks(&view(&snapshot, 0), &of), Vec::<String>::new());
        put_mesh(&mut snapshot, mesh("m", &json!({"connection": true})));
        let taken = Taken {
            version: Some(KmeshVersion::new(1, 0)),
            lacks_connection_metrics: true,
        };
        play(&mut snapshot, 0, &Ok(taken));
        let [path] = &lacks(&view(&snapshot, 0), &of)[..] else {
            panic!("nothing is said")
        };
        assert!(path.starts_with("spec.metrics.kmesh.connection "), "{path}");
        assert_eq!(
            stands_in(&snapshot, "m").reason,
            Reason::Programmed,
            "it took all that it has"
        );
    }

    #[test]
    fn of_two_meshes_of_the_same_daemons_the_first_by_name_asks_and_the_other_takes_over_when_it_goes() {
        let mut snapshot = world();
        put_mesh(&mut snapshot, mesh("a", &json!({})));
        assert!(plan_at(&snapshot, 0).daemons.is_empty());
        assert_eq!(plan(&view(&snapshot, 0), "a").daemons.len(), 1);
        let finding = stands_in(&snapshot, "m");
        assert_eq!(finding.reason, Reason::Overridden);
        assert!(finding.message.contains("ObservabilityMesh a,"), "{}", finding.message);
        let mut going = ObservabilityMesh::clone(&snapshot.meshes["a"]);
        going.metadata.deletion_timestamp = Some(Time(at(0)));
        assert_eq!(
            are_left(&view(&snapshot, 0), &snapshot.meshes["m"], &KmeshMesh::default()),
            Some(false),
            "what it never asked for it does not take back"
        );
        put_mesh(&mut snapshot, Arc::new(going));
        assert_eq!(posts(&plan_at(&snapshot, 0).daemons[0]), FRESH);
        assert!(plan(&view(&snapshot, 0), "a").daemons.is_empty());
    }

    #[test]
    fn a_mesh_that_goes_switches_off_what_is_finer_and_waits_for_no_daemon_for_ever() {
        let mut snapshot = world();
        let mut going = ObservabilityMesh::clone(&snapshot.meshes["m"]);
        going.metadata.deletion_timestamp = Some(Time(at(0)));
        let going = Arc::new(going);
        put_mesh(&mut snapshot, going.clone());
        let is_left = |snapshot: &Snapshot| are_left(&view(snapshot, 0), &going, &KmeshMesh::default());
        let off = [
            "/accesslog?enable=false",
            "/workload_metrics?enable=false",
            "/connection_metrics?enable=false",
        ];
        assert_eq!(
            posts(&plan_at(&snapshot, 0).daemons[0]),
            off,
            "monitoring is left as it is"
        );
        assert_eq!(is_left(&snapshot), Some(true));
        let mut done = snapshot.clone();
        play(&mut done, 0, &TOOK_IT);
        assert_eq!(is_left(&done), Some(false));
        for tries in 1..=GIVES_UP_AFTER {
            assert_eq!(is_left(&snapshot), Some(true), "after {tries} tries");
            play(&mut snapshot, i64::from(tries) * 300, &Err(Trouble::TooOld));
        }
        assert_eq!(is_left(&snapshot), Some(false));
        let unread = Snapshot::default();
        assert_eq!(is_left(&unread), None, "pods are not read yet");
    }

    #[test]
    fn status_has_at_most_32_nodes_and_those_with_trouble_first() {
        let mut snapshot = world();
        for index in 0..40 {
            put_pod(&mut snapshot, &format!("kmesh-{index:02}"), "1", 0, "running");
        }
        play(&mut snapshot, 0, &TOOK_IT);
        play(&mut snapshot, 0, &TOOK_IT);
        put_pod(&mut snapshot, "kmesh-zzz", "1", 0, "running");
        play(&mut snapshot, 0, &Err(Trouble::KernelNative));
        let status = status(&view(&snapshot, 0), &snapshot.meshes["m"], &KmeshMesh::default()).unwrap();
        assert_eq!(
            (status.daemons, status.requested, status.nodes.len()),
            (42, 41, MOST_NODES)
        );
        assert_eq!(status.wanted, ["ServiceMetrics", "WorkloadMetrics"]);
        let first = &status.nodes[0];
        assert_eq!((&*first.node, &*first.state), ("node-of-kmesh-zzz", "KernelNativeMode"));
        let second = &status.nodes[1];
        let told = (&*second.state, second.version.as_deref(), second.requested_at.clone());
        assert_eq!(told, ("Requested", Some("1.1"), Some(Time(at(0)))));
    }

    #[test]
    fn who_has_asked_nobody_yet_repeats_what_status_said_of_the_same_wishes_and_no_longer() {
        let mut snapshot = world();
        play(&mut snapshot, 0, &TOOK_IT);
        let mut told = ObservabilityMesh::clone(&snapshot.meshes["m"]);
        let status_of = told.status.get_or_insert_default();
        status_of.kmesh = status(&view(&snapshot, 0), &snapshot.meshes["m"], &KmeshMesh::default());
        let finding = stands_in(&snapshot, "m");
        status_of.conditions = crate::conditions::to_conditions(std::slice::from_ref(&finding), &[], None, at(0));
        let told = Arc::new(told);
        put_mesh(&mut snapshot, told.clone());
        snapshot.forget_asked();
        assert_eq!(stands_in(&snapshot, "m"), finding);
        let node = daemon_on(&view(&snapshot, 0), &told, &KmeshMesh::default(), "node-of-kmesh-a").unwrap();
        assert_eq!((&*node.state, node.version.as_deref()), ("Requested", Some("1.1")));

        let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
                         "metadata": {"namespace": "kmesh-system", "name": "all"}, "spec": {}});
        let log: TrafficLog = serde_json::from_value(admit(&log).unwrap()).unwrap();
        let mut wants_more = snapshot.clone();
        TrafficLog::put(&mut wants_more, &Key::new("kmesh-system", "all"), Some(Arc::new(log)));
        let namespace = json!({"metadata": {"name": "kmesh-system"}});
        wants_more.put(Kind::Namespace, Arc::new(namespace), at(0));
        assert_eq!(
            stands_in(&wants_more, "m").reason,
            Reason::Pending,
            "something else is wanted"
        );

        play(&mut snapshot, 0, &TOOK_IT);
        snapshot.remove(Kind::Pod, &daemon(), at(0));
        put_pod(&mut snapshot, "kmesh-b", "1", 0, "running");
        assert_eq!(
            stands_in(&snapshot, "m").reason,
            Reason::Pending,
            "it is known that nobody was asked"
        );
    }
}
