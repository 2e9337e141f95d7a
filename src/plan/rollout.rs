//! Restarts the agents of a mesh, and writes environment: what the governor decides, as patches.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Event, Memory, ObjectPatch, Plan, Target, refusal};
use super::{exports, interface_traffic};
use crate::conditions::Reason;
use crate::crds::{
    Agent, AgentReads, AgentReadsType, ExportRead, Inject, ObservabilityMesh, TracingBackend, WorkloadKind, WorkloadRef,
};
use crate::policy::claims::is_subset;
use crate::policy::environment;
use crate::policy::exports::outputs_of;
use crate::policy::membership::{is_live, name_of, selects};
use crate::policy::tracing_backend::check;
use crate::render::environment::{Subject, blocks};
use crate::render::metadata::INJECT;
use crate::rollout::template::SKIP_FAILED;
use crate::rollout::{
    AgentState, BlockReason, ContainerEnv, Decision, Limits, NOTHING_WANTED, Note, Observed, Parts, QuietMemory,
    TemplatePlan, Wanted, carries_hash, choose_containers, decide, injected_record, observed, plan_template,
    reverted_until, rolled_out,
};
use crate::snapshot::{Contest, Fact, Key, Kind, View, data_written, key_of, labels_of};

/// What is in the way of a workload: reason and message.
pub type Problem = (Reason, String);

/// A workload that a mesh restarts or gives environment to.
pub struct Workload<'a> {
    /// Which.
    pub id: WorkloadRef,
    /// The live object.
    pub live: Option<&'a Value>,
    /// What it should have; `None` while that cannot be told.
    pub wanted: Option<Wanted>,
    /// Entries of `spec.agents` that name it.
    pub agents: Vec<String>,
    /// TracingBackends that give it environment.
    pub injected_by: Vec<Key>,
    /// The TracingBackend that gives each container its environment, whole: of several the first by name.
    pub env_from: BTreeMap<String, Key>,
    /// TracingBackends that would give a container environment that has it from another one already: the one that wins.
    pub overridden: BTreeMap<Key, Key>,
    /// What is in the way.
    pub problems: Vec<Problem>,
    /// When each thing that it reads was last changed, where that is known.
    changes: Vec<Option<Timestamp>>,
    /// Why the API server refused our last patch of it, while it still has to be patched.
    pub refused: Option<String>,
    /// Until when it is left as somebody else made it, who takes back what we write.
    pub contested: Option<Timestamp>,
}

impl<'a> Workload<'a> {
    /// One that nothing is wanted of yet.
    pub(super) fn new(id: WorkloadRef, live: Option<&'a Value>) -> Self {
        Self {
            id,
            live,
            wanted: Some(Wanted::default()),
            agents: Vec::new(),
            injected_by: Vec::new(),
            env_from: BTreeMap::new(),
            overridden: BTreeMap::new(),
            problems: Vec::new(),
            changes: Vec::new(),
            refused: None,
            contested: None,
        }
    }

    /// The name that messages have for it.
    fn name(&self) -> String {
        self.id.to_string()
    }

    fn problem(&mut self, reason: Reason, message: String) {
        self.problems.push((reason, message));
    }
}

fn key_of_workload(id: &WorkloadRef) -> Key {
    Key::new(&id.namespace, &id.name)
}

/// Workloads of a mesh with the governor's decision.
pub struct Rollouts<'a> {
    /// All workloads.
    pub workloads: Vec<Workload<'a>>,
    /// Workloads whose rollout has failed and that the others wait for, with what is said of them.
    pub failed: Vec<String>,
    /// What is decided for them.
    pub decision: Decision,
}

/// Plans the restarts that may begin now.
pub fn plan(view: &View<'_>, mesh: &str, memory: &mut Memory<'_>) -> Plan {
    let Some(mesh) = view.mesh(mesh).filter(|mesh| is_live(mesh) || view.ejects()) else {
        return Plan::default();
    };
    let rollouts = rollouts(view, mesh, memory);
    rollouts.restart(view, |workload| told(mesh, workload))
}

fn told(mesh: &ObservabilityMesh, workload: &Workload<'_>) -> Vec<Target> {
    let injected = workload.injected_by.iter().cloned().map(Target::TracingBackend);
    let agent = (!workload.agents.is_empty()).then(|| Target::Mesh(name_of(mesh).to_owned()));
    let told: Vec<Target> = injected.chain(agent).collect();
    if told.is_empty() {
        // Environment is taken away after its policy is gone.
        vec![Target::Mesh(name_of(mesh).to_owned())]
    } else {
        told
    }
}

/// The workloads of a mesh, and what the governor says of them now.
pub fn rollouts<'a>(view: &View<'a>, mesh: &Arc<ObservabilityMesh>, memory: &mut Memory<'_>) -> Rollouts<'a> {
    let mut workloads: BTreeMap<WorkloadRef, Workload<'a>> = BTreeMap::new();
    for agent in &mesh.spec.agents {
        if view.ejects() {
            keep_in_sight(view, agent, &mut workloads);
        } else {
            add_agent(view, mesh, agent, memory.hash_key, &mut workloads);
        }
    }
    let namespaces = if view.ejects() {
        ever_injected_namespaces(view, mesh)
    } else {
        inject_namespaces(view, mesh)
    };
    for namespace in namespaces {
        add_injected(view, mesh, &namespace, memory.hash_key, &mut workloads);
    }
    let quiet = memory.quiet.entry(name_of(mesh).to_owned()).or_default();
    governed(view, workloads, &Limits::from(&mesh.spec.rollout), quiet)
}

/// What the governor says of workloads now.
pub(super) fn governed<'a>(
    view: &View<'a>,
    workloads: BTreeMap<WorkloadRef, Workload<'a>>,
    limits: &Limits,
    quiet: &mut QuietMemory,
) -> Rollouts<'a> {
    let mut workloads: Vec<Workload<'a>> = workloads.into_values().collect();
    for workload in &mut workloads {
        judge_by_age(view, workload);
        if let Some(wanted) = &mut workload.wanted {
            wanted.was_given = contest(view, &workload.id).and_then(Contest::last).map(str::to_owned);
        }
        workload.refused = refused_patch(view, workload);
        workload.contested = contested_until(view, workload);
    }
    let seen: Vec<Observed> = workloads
        .iter()
        .filter_map(|w| Some(observed(w.id.clone(), w.live?, w.wanted.as_ref())))
        .collect();
    quiet.observe(view.now, &seen);
    let is_contested = |id: &WorkloadRef| workloads.iter().any(|w| w.id == *id && w.contested.is_some());
    let seen: Vec<Observed> = seen.into_iter().filter(|o| !is_contested(&o.id)).collect();
    let mut decision = decide(view.now, limits, quiet, &seen);
    let calm = workloads.iter().filter_map(|w| w.contested);
    decision.look_again = calm.chain(decision.look_again).min();
    let refused = |id: &WorkloadRef| workloads.iter().any(|w| w.id == *id && w.refused.is_some());
    if decision.restart.iter().any(refused) {
        // One that may not be patched is tried again, but not in the place of one that may.
        let others: Vec<Observed> = seen.iter().filter(|o| !refused(&o.id)).cloned().collect();
        let of_others = decide(view.now, limits, quiet, &others);
        if !of_others.restart.is_empty() {
            decision = of_others;
        }
    }
    let halts = |o: &&Observed| decision.states.get(&o.id) == Some(&AgentState::Failed { halts: true });
    let failed = seen.iter().filter(halts).map(failure).collect();
    Rollouts {
        workloads,
        failed,
        decision,
    }
}

/// What is said of a rollout that has failed and that the others wait for.
fn failure(failed: &Observed) -> String {
    let WorkloadRef { kind, namespace, name } = &failed.id;
    let hash = failed.template_hash.as_deref().unwrap_or(NOTHING_WANTED);
    format!(
        "The rollout of {} is not complete after rollout.progressDeadline, and nothing else is restarted. Correct it, or \
         let the others go on: `kubectl annotate {} {name} -n {namespace} --overwrite {SKIP_FAILED}=\"{hash}\"`.",
        failed.id,
        kind.as_str().to_lowercase(),
    )
}

/// Completes what is wanted of a workload by what its rollout and the age of its pods tell.
fn judge_by_age(view: &View<'_>, workload: &mut Workload<'_>) {
    let (Some(live), Some(wanted)) = (workload.live, &mut workload.wanted) else {
        return;
    };
    wanted.rolled_out = rolled_out(workload.id.kind, live);
    if wanted.reads.is_none() || carries_hash(live) {
        return;
    }
    let Some(changed) = workload.changes.iter().copied().collect::<Option<Vec<_>>>() else {
        return;
    };
    match template_age(view, &workload.id, live) {
        Fact::Present(made) => wanted.pods_are_younger = changed.into_iter().all(|changed| changed <= made),
        Fact::Unknown => workload.wanted = None,
        // Then it cannot be told, and the workload is restarted once.
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => {}
    }
}

/// When the newest pod template of a workload was made: no pod of it is older.
fn template_age(view: &View<'_>, id: &WorkloadRef, live: &Value) -> Fact<Timestamp> {
    let kind = match id.kind {
        WorkloadKind::Deployment => Kind::ReplicaSet,
        WorkloadKind::DaemonSet | WorkloadKind::StatefulSet => Kind::ControllerRevision,
    };
    let revision = |object: &Value| match kind {
        Kind::ReplicaSet => object
            .pointer("/metadata/annotations/deployment.kubernetes.io~1revision")?
            .as_str()?
            .parse::<i64>()
            .ok(),
        _ => object.get("revision")?.as_i64(),
    };
    let uid = live.pointer("/metadata/uid");
    let is_its_own = |object: &&Value| {
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        uid.is_some() && owners.is_some_and(|owners| owners.iter().any(|owner| owner.get("uid") == uid))
    };
    let made = |object: &Value| object.pointer("/metadata/creationTimestamp")?.as_str()?.parse().ok();
    match view.objects_in(kind, &id.namespace) {
        Fact::Present(all) => {
            let newest = all.into_iter().filter(is_its_own).max_by_key(|object| revision(object));
            newest.and_then(made).map_or(Fact::Absent, Fact::Present)
        }
        Fact::Unknown => Fact::Unknown,
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Fact::Absent,
    }
}

/// A pod template is put back so often within an hour: each time is a restart.
const MOST_REVERTS: usize = 2;

/// The hash that a restart is for.
fn desired(template: &TemplatePlan) -> String {
    let hash = template.desired.as_ref();
    hash.map_or_else(|| NOTHING_WANTED.to_owned(), ToString::to_string)
}

fn contest<'a>(view: &View<'a>, id: &WorkloadRef) -> Option<&'a Contest> {
    view.contest(Kind::of_workload(id.kind), &key_of_workload(id))
}

/// Until when a workload is not restarted for what was taken back from it before.
fn contested_until(view: &View<'_>, workload: &Workload<'_>) -> Option<Timestamp> {
    let live = workload.live?;
    let template = plan_template(live, workload.wanted.as_ref()?, None);
    let hash = desired(&template);
    let remembered = contest(view, &workload.id).and_then(|c| c.waits_until(&hash, "", MOST_REVERTS, view.now));
    let noted = reverted_until(live, &hash, MOST_REVERTS, view.now);
    remembered.max(noted).filter(|_| template.restarts)
}

/// Why the API server refused our last patch of a workload that still has to be patched.
fn refused_patch(view: &View<'_>, workload: &Workload<'_>) -> Option<String> {
    let (live, wanted) = (workload.live?, workload.wanted.as_ref()?);
    let (kind, key) = (Kind::of_workload(workload.id.kind), key_of_workload(&workload.id));
    let why = view.refusal(kind, &key)?;
    plan_template(live, wanted, None).patch?;
    Some(refusal::message(kind, &key, why))
}

impl Rollouts<'_> {
    /// The plan that begins the restarts which may begin now; `told` gives who is told of one.
    pub(super) fn restart(&self, view: &View<'_>, told: impl Fn(&Workload<'_>) -> Vec<Target>) -> Plan {
        let mut plan = Plan {
            look_again: self.decision.look_again,
            ..Plan::default()
        };
        for workload in &self.workloads {
            let (Some(live), Some(wanted)) = (workload.live, &workload.wanted) else {
                continue;
            };
            let state = self.decision.states.get(&workload.id);
            let is_somebody_elses = matches!(
                state,
                Some(AgentState::Blocked(
                    BlockReason::Deleting | BlockReason::ManagedByController
                ))
            );
            let may_restart = self.decision.restart.contains(&workload.id);
            let template = plan_template(live, wanted, Some(view.now));
            let allowed = may_restart || !(template.restarts || is_somebody_elses);
            let hash = template.restarts.then(|| desired(&template));
            let Some(patch) = template.patch.filter(|_| allowed) else {
                continue;
            };
            if template.restarts {
                plan.events.extend(told(workload).into_iter().map(|about| Event {
                    about,
                    warning: false,
                    reason: "Restarted",
                    note: format!("{} is restarted: its configuration changed.", workload.name()),
                }));
            }
            plan.patch.push(ObjectPatch {
                kind: Kind::of_workload(workload.id.kind),
                key: key_of_workload(&workload.id),
                patch,
                starts: template.restarts.then_some(view.now),
                wanted: hash,
                edited: String::new(),
            });
        }
        plan
    }

    /// Whether a workload has what it should have, or why not.
    pub fn state(&self, workload: &Workload<'_>) -> Result<(), Problem> {
        if let Some((reason, message)) = workload.problems.first() {
            return Err((*reason, message.clone()));
        }
        if let Some(refused) = &workload.refused {
            return Err((Reason::WriteRefused, refused.clone()));
        }
        let name = workload.name();
        if let Some(until) = workload.contested {
            let message = format!(
                "{name}: somebody takes our part of the pod template back again and again; it was put back {MOST_REVERTS} times within an hour and stays as it is until {until:.0}. Keep the annotation sightline.dev/config-hash and our variables out of what is replaced (kubectl replace, Argo CD's Replace=true)."
            );
            return Err((Reason::Contested, message));
        }
        let notes = match (workload.live, &workload.wanted) {
            (Some(live), Some(wanted)) => plan_template(live, wanted, None).notes,
            _ => Vec::new(),
        };
        if let Some(note) = notes.first() {
            let reason = match note {
                Note::EnvNotOurs { .. } | Note::FilesNotOurs { .. } => Reason::EnvNotOurs,
                Note::NoSuchContainer { .. } => Reason::NoContainerChosen,
                Note::OptedOut => Reason::Blocked,
                Note::InjectedElsewhere { .. } => Reason::InjectedElsewhere,
            };
            return Err((reason, format!("{name}: {note}.")));
        }
        let state = self
            .decision
            .states
            .get(&workload.id)
            .copied()
            .unwrap_or(AgentState::NotKnown);
        match state {
            AgentState::InSync => Ok(()),
            AgentState::RollingOut => Err((Reason::RollingOut, format!("{name} is being rolled out."))),
            AgentState::Failed { halts: true } | AgentState::Halted => {
                let reason = if state == AgentState::Halted {
                    Reason::Halted
                } else {
                    Reason::RolloutFailed
                };
                Err((reason, self.failed.join(" ")))
            }
            AgentState::Failed { halts: false } => Err((
                Reason::RolloutSkipped,
                format!(
                    "The rollout of {name} is not complete after rollout.progressDeadline; the others go on. Correct it."
                ),
            )),
            AgentState::WaitingForQuiet => Err((
                Reason::WaitingForQuiet,
                format!("{name} is restarted once nothing has changed for rollout.quietPeriod."),
            )),
            AgentState::WaitingForInterval | AgentState::WaitingForBudget => Err((
                Reason::WaitingForTurn,
                format!("{name} waits for other restarts (rollout.maxConcurrent, rollout.minInterval)."),
            )),
            AgentState::Paused => Err((Reason::Paused, format!("{name} is stale, and rollout.paused is set."))),
            AgentState::Blocked(reason) => {
                let of = match reason {
                    BlockReason::ManagedByController => Reason::ManagedByController,
                    _ => Reason::Blocked,
                };
                let meaning = reason.meaning();
                Err((of, format!("{name} cannot be restarted now ({reason}): {meaning}.")))
            }
            AgentState::NotKnown => Err((
                Reason::FactsPending,
                format!("What {name} should have cannot be told yet; see the other conditions."),
            )),
        }
    }
}

fn live_workload<'a>(view: &View<'a>, id: &WorkloadRef) -> Result<&'a Value, Problem> {
    let name = id.to_string();
    match view.object(Kind::of_workload(id.kind), &key_of_workload(id)) {
        Fact::Present(live) => Ok(live),
        Fact::Unknown => Err((Reason::FactsPending, format!("{name} has not been read yet."))),
        Fact::Forbidden => Err((
            Reason::Forbidden,
            format!(
                "Sightline may not read {name}; install the Role of config/rbac in namespace {}.",
                id.namespace
            ),
        )),
        Fact::Absent | Fact::KindMissing => Err((
            Reason::WorkloadNotFound,
            format!("{name} does not exist; create it, or correct spec.agents."),
        )),
    }
}

fn add_agent<'a>(
    view: &View<'a>,
    mesh: &Arc<ObservabilityMesh>,
    agent: &Agent,
    hash_key: Option<&[u8]>,
    workloads: &mut BTreeMap<WorkloadRef, Workload<'a>>,
) {
    let live = live_workload(view, &agent.workload);
    let entry = workloads
        .entry(agent.workload.clone())
        .or_insert_with(|| Workload::new(agent.workload.clone(), live.as_ref().ok().copied()));
    entry.agents.push(agent.name.clone());
    if let Err((reason, message)) = live {
        entry.problem(reason, message);
    }
    if let Some(other) = other_mesh_of(view, mesh, &agent.workload) {
        entry.wanted = None;
        let message = format!(
            "{} is an agent of ObservabilityMesh {other} too, which restarts it; name it in one of the two.",
            entry.name()
        );
        entry.problem(Reason::AgentOfOtherMesh, message);
        return;
    }
    let Some(hash_key) = hash_key else {
        entry.wanted = None;
        return;
    };
    let parts = entry
        .wanted
        .as_ref()
        .and_then(|w| w.reads.clone())
        .unwrap_or_else(|| Parts::new(hash_key));
    let read_all = agent.reads.iter().try_fold(parts, |mut parts, reads| {
        let changed = add_read(view, mesh, &agent.workload.namespace, reads, &mut parts)?;
        entry.changes.push(changed);
        Ok(parts)
    });
    match read_all {
        Ok(parts) => {
            if let Some(wanted) = &mut entry.wanted {
                wanted.reads = Some(parts);
            }
        }
        Err((reason, message)) => {
            entry.wanted = None;
            entry.problem(reason, message);
        }
    }
}

/// Adds an agent that nothing is wanted of: a restart of it that is still under way counts against the budget.
fn keep_in_sight<'a>(view: &View<'a>, agent: &Agent, workloads: &mut BTreeMap<WorkloadRef, Workload<'a>>) {
    if let Ok(live) = live_workload(view, &agent.workload) {
        let id = agent.workload.clone();
        workloads
            .entry(id.clone())
            .or_insert_with(|| Workload::new(id, Some(live)));
    }
}

/// Another live mesh that names the same workload and sorts before: it is the one that restarts it.
fn other_mesh_of(view: &View<'_>, mesh: &ObservabilityMesh, workload: &WorkloadRef) -> Option<String> {
    first_mesh_of(view, workload).filter(|first| first.as_str() < name_of(mesh))
}

/// Another mesh that restarts a workload which is no agent of this one.
fn agent_of_another_mesh(view: &View<'_>, mesh: &ObservabilityMesh, workload: &WorkloadRef) -> Option<String> {
    first_mesh_of(view, workload).filter(|first| first != name_of(mesh))
}

/// The live mesh that restarts a workload: of those that name it the first by name.
pub(super) fn first_mesh_of(view: &View<'_>, workload: &WorkloadRef) -> Option<String> {
    view.meshes()
        .filter(|other| is_live(other))
        .filter(|other| other.spec.agents.iter().any(|agent| agent.workload == *workload))
        .map(|other| name_of(other).to_owned())
        .min()
}

/// Adds one thing that an agent reads, as it stands in the cluster; gives the time of its last change, where that is known
/// (by the API server's record: a key that was taken out by somebody who had none in it leaves no trace). What is about to
/// be written is waited for, so that one change makes one restart.
fn add_read(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    namespace: &str,
    reads: &AgentReads,
    parts: &mut Parts,
) -> Result<Option<Timestamp>, Problem> {
    match (reads.type_, &reads.config_map, &reads.secret) {
        (AgentReadsType::InterfaceTraffic, ..) => add_interface_traffic(view, mesh, parts),
        (AgentReadsType::Export, ..) => add_export(view, mesh, namespace, reads.export.as_ref(), parts),
        (AgentReadsType::ConfigMap, Some(read), _) => {
            let (live, map) = read_config_map(view, &Key::new(namespace, &read.name))?;
            parts.config_map(&read.name, Some(&map));
            Ok(data_written(live))
        }
        (AgentReadsType::Secret, _, Some(read)) => {
            let key = Key::new(namespace, &read.name);
            let live = interface_traffic::shared_secret(view, &key).map_err(|f| (f.reason, f.message))?;
            let secret: Secret = parse(live, "Secret", &key)?;
            parts.secret(&read.name, Some(&secret), &read.keys);
            Ok(data_written(live))
        }
        _ => Err((
            Reason::InvalidSpec,
            "An entry of agents[].reads lacks the member that its type names.".into(),
        )),
    }
}

fn add_interface_traffic(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    parts: &mut Parts,
) -> Result<Option<Timestamp>, Problem> {
    let Some(traffic) = &mesh.spec.interface_traffic else {
        return Err((
            Reason::InvalidSpec,
            "An agent reads InterfaceTraffic and spec.interfaceTraffic is not set.".into(),
        ));
    };
    let map = Key::new(&traffic.config_map.namespace, &traffic.config_map.name);
    interface_traffic::credentials(view, traffic).map_err(|f| (f.reason, f.message))?;
    let pending = interface_traffic::plan(view, &map);
    if let Some((_, finding)) = pending.blocked.first() {
        return Err((finding.reason, finding.message.clone()));
    }
    let (object, live) = read_config_map(view, &map)?;
    if !pending.writes_nothing() {
        return Err((Reason::Pending, format!("ConfigMap {map} is about to be written.")));
    }
    if traffic.elasticsearch.credentials_secret_ref.is_some() {
        // It holds a password: it enters the hash as a Secret does.
        let data = live
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(k, v)| (k, ByteString(v.into_bytes())))
            .collect();
        parts.secret(
            &map.name,
            Some(&Secret {
                data: Some(data),
                ..Secret::default()
            }),
            &[],
        );
    } else {
        parts.config_map(&map.name, Some(&live));
    }
    Ok(data_written(object))
}

/// Adds the ConfigMap of an export of the mesh.
fn add_export(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    namespace: &str,
    read: Option<&ExportRead>,
    parts: &mut Parts,
) -> Result<Option<Timestamp>, Problem> {
    let invalid = |message: String| (Reason::InvalidSpec, message);
    let name = read.map(|read| read.name.as_str()).unwrap_or_default();
    let written = outputs_of(mesh).into_iter().find(|(export, ..)| export.name == name);
    let Some((_, kind, map)) = written else {
        return Err(invalid(format!(
            "An agent reads export {name}, which is not in spec.metrics.exports; add it there or correct the name."
        )));
    };
    if kind != Kind::ConfigMap || map.namespace != namespace {
        return Err(invalid(format!(
            "An agent of namespace {namespace} cannot read export {name}: it is {} {map}. An agent reads ConfigMaps of its own namespace.",
            kind.names().1
        )));
    }
    let pending = exports::plan(view, kind, &map);
    if let Some((_, finding)) = pending.blocked.first() {
        return Err((finding.reason, finding.message.clone()));
    }
    if !pending.writes_nothing() {
        return Err((Reason::Pending, format!("ConfigMap {map} is about to be written.")));
    }
    let (object, live) = read_config_map(view, &map)?;
    parts.config_map(&map.name, Some(&live));
    Ok(data_written(object))
}

fn read_config_map<'a>(view: &View<'a>, key: &Key) -> Result<(&'a Value, ConfigMap), Problem> {
    match view.object(Kind::ConfigMap, key) {
        Fact::Present(live) => Ok((live, parse(live, "ConfigMap", key)?)),
        Fact::Unknown => Err((Reason::FactsPending, format!("ConfigMap {key} has not been read yet."))),
        Fact::Forbidden => Err((
            Reason::Forbidden,
            format!(
                "Sightline may not read ConfigMap {key}; install the Role of config/rbac in namespace {}.",
                key.namespace
            ),
        )),
        Fact::Absent | Fact::KindMissing => Err((
            Reason::ConfigMapNotFound,
            format!("ConfigMap {key} does not exist; create it."),
        )),
    }
}

/// The library's error could quote a value of a Secret, so it is not passed on.
fn parse<T: serde::de::DeserializeOwned>(live: &Value, kind: &str, key: &Key) -> Result<T, Problem> {
    serde_json::from_value(live.clone()).map_err(|_| {
        (
            Reason::InvalidSpec,
            format!("{kind} {key} is not what the API server makes of a {kind}."),
        )
    })
}

/// Namespaces of the mesh that opted in to environment.
fn inject_namespaces(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<String> {
    selected_namespaces(view, mesh, |_, labels| opted_in(labels))
}

/// Namespaces of the mesh that may have environment of ours: those that opted in, and those with a policy that asks for
/// it, which may have been opted in before.
pub fn ever_injected_namespaces(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<String> {
    let asks = |namespace: &str| {
        let policies = view.tracing_backends_in(namespace).into_iter();
        policies.into_iter().any(|(_, tracing)| !tracing.spec.inject.is_empty())
    };
    selected_namespaces(view, mesh, |namespace, labels| opted_in(labels) || asks(namespace))
}

/// Whether a namespace of these labels opted in to environment.
pub(super) fn opted_in(labels: &BTreeMap<String, String>) -> bool {
    labels.get(INJECT).is_some_and(|v| v == "enabled")
}

fn selected_namespaces(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    fits: impl Fn(&str, &BTreeMap<String, String>) -> bool,
) -> Vec<String> {
    let Fact::Present(namespaces) = view.objects(Kind::Namespace) else {
        return Vec::new();
    };
    namespaces
        .into_iter()
        .map(|namespace| (key_of(namespace).name, labels_of(namespace)))
        .filter(|(name, labels)| fits(name, labels) && selects(mesh, labels).unwrap_or(false))
        .map(|(name, _)| name)
        .collect()
}

/// The workloads of a namespace, as far as they can be read.
pub(super) fn workloads_in<'a>(view: &View<'a>, namespace: &str) -> impl Iterator<Item = (WorkloadRef, &'a Value)> {
    WorkloadKind::ALL.into_iter().flat_map(move |kind| {
        let all = view.objects_in(Kind::of_workload(kind), namespace).present();
        all.into_iter().flatten().map(move |live| {
            let Key { namespace, name } = key_of(live);
            (WorkloadRef { kind, namespace, name }, live)
        })
    })
}

/// The policies of a namespace that ask for environment and are not being deleted.
pub(super) fn injecting<'a>(view: &View<'a>, namespace: &str) -> Vec<(&'a Key, &'a Arc<TracingBackend>)> {
    let all = view.tracing_backends_in(namespace).into_iter();
    all.filter(|(_, t)| t.metadata.deletion_timestamp.is_none() && !t.spec.inject.is_empty())
        .collect()
}

/// Whether an entry of `spec.inject` takes a workload.
pub(super) fn takes(inject: &Inject, kind: WorkloadKind, live: &Value) -> bool {
    inject.workloads.kinds.contains(&kind) && is_subset(&inject.workloads.selector.match_labels, &labels_of(live))
}

/// Adds the workloads of a namespace that get environment, and those that still have ours and no policy.
fn add_injected<'a>(
    view: &View<'a>,
    mesh: &Arc<ObservabilityMesh>,
    namespace: &str,
    hash_key: Option<&[u8]>,
    workloads: &mut BTreeMap<WorkloadRef, Workload<'a>>,
) {
    let policies = injecting(view, namespace);
    // One of them may ask for what would look left over.
    let some_cannot_be_read = view.undecoded_policies_in(namespace).next().is_some();
    for (id, live) in workloads_in(view, namespace) {
        let mut selected = false;
        for (policy, tracing) in &policies {
            for inject in tracing.spec.inject.iter().filter(|inject| takes(inject, id.kind, live)) {
                selected = true;
                let checked = check(view, policy, tracing);
                if checked.mesh.is_some_and(|m| name_of(m) != name_of(mesh)) {
                    continue;
                }
                let entry = workloads
                    .entry(id.clone())
                    .or_insert_with(|| Workload::new(id.clone(), Some(live)));
                entry.injected_by.push((*policy).clone());
                if let Some(other) = agent_of_another_mesh(view, mesh, &id) {
                    // Two governors would take each other's hash away.
                    entry.wanted = None;
                    let message = format!(
                        "{} is an agent of ObservabilityMesh {other}, which alone writes its pod template; set spec.meshRef \
                         to that mesh.",
                        entry.name()
                    );
                    entry.problem(Reason::AgentOfOtherMesh, message);
                    continue;
                }
                if !checked.is_good() {
                    // What it has stays until the policy can be followed.
                    entry.wanted = None;
                    continue;
                }
                add_env(view, mesh, (policy, tracing), inject, hash_key, entry);
            }
        }
        let is_left = !selected && !injected_record(live).is_empty() && !some_cannot_be_read;
        if is_left && agent_of_another_mesh(view, mesh, &id).is_none() {
            workloads
                .entry(id.clone())
                .or_insert_with(|| Workload::new(id, Some(live)));
        }
    }
}

fn add_env(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    (policy, tracing): (&Key, &TracingBackend),
    inject: &Inject,
    hash_key: Option<&[u8]>,
    entry: &mut Workload<'_>,
) {
    let Some(live) = entry.live else { return };
    let Ok(telling) = environment::telling(mesh, policy, tracing) else {
        return;
    };
    let needs_key = environment::reads_secrets(&tracing.spec.destination);
    let reads = match (hash_key, needs_key) {
        (_, false) => None,
        (Some(hash_key), true) => environment::credentials(view, policy, tracing, Parts::new(hash_key)).ok(),
        (None, true) => {
            entry.wanted = None;
            return;
        }
    };
    match choose_containers(live, &inject.containers) {
        Ok(containers) => {
            for container in containers {
                let winner = entry
                    .env_from
                    .entry(container.name.clone())
                    .or_insert_with(|| policy.clone());
                if winner != policy {
                    entry.overridden.insert(policy.clone(), winner.clone());
                } else if let Some(wanted) = &mut entry.wanted {
                    let subject = Subject {
                        kind: entry.id.kind,
                        workload: live,
                        container: &container.name,
                    };
                    let given = blocks(inject, telling, subject).into_iter();
                    wanted.env.extend(given.map(|block| ContainerEnv {
                        container: container.name.clone(),
                        reads: reads.clone().filter(|_| block.reads_secrets),
                        block,
                    }));
                }
            }
        }
        Err(error) => {
            let message = format!("{}: {error}.", entry.name());
            entry.problem(Reason::NoContainerChosen, message);
        }
    }
}
