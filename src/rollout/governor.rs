//! The governor: which stale workloads may be restarted now (pure).
//!
//! A write of a pod template is a restart, so every one, of environment and its removal too, goes through one governor
//! per mesh. Each time that something changes, and at [`Decision::look_again`]:
//!
//! 1. [`observed`] (or by hand: [`Observed`]) says what each workload looks like,
//! 2. [`QuietMemory::observe`] notes what has changed,
//! 3. [`decide`] says what may start; for each start the caller writes the patch and, when it was accepted, calls
//!    [`QuietMemory::started`].
//!
//! A workload is *stale* when what stands on its pod template is not what is wanted, *in sync* when it is and the rollout
//! is complete, and *in flight* when its rollout is not complete and is ours. One that is being rolled by somebody else,
//! paused or deleted is not touched and costs no budget.
//!
//! A rollout of ours that is not complete after [`Limits::progress_deadline`] has *failed*. It holds its slot, and all
//! others wait, until it completes, its workload goes, what is wanted of it changes, or a person lets the others go on
//! without it ([`SKIP_FAILED`](super::template::SKIP_FAILED)).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::template::{
    Wanted, carried_hash, is_noted_rolled_out, plan_template, restarted_at, rolled_by_us, skip_failed, stamp,
};
use crate::crds::{OnFailure, Rollout, WorkloadKind, WorkloadRef};

/// The desired hash of a workload that nothing is wanted of any more. It is never written: the workload has it as soon
/// as nothing of ours is left to be removed.
pub const NOTHING_WANTED: &str = "none";

/// How long a restart that we wrote may be missing in what is observed before it no longer counts as in flight. Far
/// longer than a watch lags; it only ends what would otherwise wait for ever (our write was overwritten unseen).
const UNSEEN_START: Duration = Duration::from_mins(1);

/// How fast workloads may be restarted, see [`Rollout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Workloads in flight at once, at least 1.
    pub max_concurrent: usize,
    /// Shortest time between the starts of two restarts, over all workloads.
    pub min_interval: Duration,
    /// A restart waits until what is wanted of the workload has not changed for this long.
    pub quiet_period: Duration,
    /// Longest time that ever new changes hold a restart back, counted from when the workload became stale.
    pub max_delay: Duration,
    /// How long a rollout of ours may take until it has failed.
    pub progress_deadline: Duration,
    /// What becomes of the others then.
    pub on_failure: OnFailure,
    /// Restart nothing.
    pub paused: bool,
}

impl From<&Rollout> for Limits {
    /// The limits as written; the documented default for each span that cannot be read (an object that was stored before
    /// the schema had its pattern).
    fn from(rollout: &Rollout) -> Self {
        let default = Rollout::default();
        let span = |of: fn(&Rollout) -> &crate::crds::TimeSpan| {
            of(rollout).get().or_else(|| of(&default).get()).unwrap_or_default()
        };
        Self {
            max_concurrent: usize::try_from(rollout.max_concurrent).unwrap_or(1).max(1),
            min_interval: span(|r| &r.min_interval),
            quiet_period: span(|r| &r.quiet_period),
            max_delay: span(|r| &r.max_delay),
            progress_deadline: span(|r| &r.progress_deadline),
            on_failure: rollout.on_failure,
            paused: rollout.paused,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&Rollout::default())
    }
}

/// Why a workload is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockReason {
    /// It is being deleted.
    Deleting,
    /// A controller made it and would take back what is written to it.
    ManagedByController,
    /// Its `spec.paused` is set: a change would not roll.
    Paused,
    /// Its update strategy is `OnDelete`: a change would not roll.
    OnDelete,
    /// Its owner holds some of its pods back (`spec.updateStrategy.rollingUpdate.partition`): a change would not reach them.
    Partitioned,
    /// A rollout that is not ours is under way.
    BeingRolledByOther,
    /// Its rollout is through and pods of it are not available (crash loop, lost node). To restart what is down would hide
    /// its cause.
    NotAvailable,
}

impl BlockReason {
    /// What it means, and what to do.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Deleting => "it is being deleted",
            Self::ManagedByController => {
                "another controller made it and would take the restart back; restart it by its owner"
            }
            Self::Paused => "its spec.paused is set; unset it",
            Self::OnDelete => "its spec.updateStrategy is OnDelete; set RollingUpdate, or delete its pods yourself",
            Self::Partitioned => "spec.updateStrategy.rollingUpdate.partition holds some of its pods back; set it to 0",
            Self::BeingRolledByOther => {
                "somebody else's rollout of it is under way; its turn comes when that is through"
            }
            Self::NotAvailable => "pods of it are not available; its turn comes when they are",
        }
    }
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are words of status.
        write!(f, "{self:?}")
    }
}

/// How far the rollout of a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutState {
    /// All pods are of the current template and available.
    Complete,
    /// Our restart is under way.
    InProgress,
    /// Not to be touched.
    Blocked {
        /// Why.
        reason: BlockReason,
        /// Whether all pods are of the current template and available nevertheless.
        complete: bool,
    },
}

/// One workload as the cluster shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which workload. Each one at most once in what is given to [`decide`].
    pub id: WorkloadRef,
    /// What is wanted of it: a hash, or [`NOTHING_WANTED`]. `None`: not known (yet), so it is not restarted.
    pub desired: Option<String>,
    /// What stands on its pod template.
    pub template_hash: Option<String>,
    /// How far its rollout is.
    pub rollout: RolloutState,
    /// When we last restarted it.
    pub restarted_at: Option<Timestamp>,
    /// Whether the workload's controller has seen its present generation. Until then its status speaks of another one,
    /// and a rollout cannot be said to have failed.
    pub is_seen: bool,
    /// The hash whose failed rollout the others need not wait for.
    pub skip_failed: Option<String>,
}

impl Observed {
    fn is_stale(&self) -> bool {
        self.desired.is_some() && self.desired != self.template_hash
    }

    /// Whether the others need not wait for its failed rollout.
    fn is_released(&self, on_failure: OnFailure) -> bool {
        on_failure == OnFailure::Continue || (self.skip_failed.is_some() && self.skip_failed == self.template_hash)
    }

    /// A rollout without our time cannot be ours, whatever the caller says of it.
    fn is_in_flight(&self) -> bool {
        self.rollout == RolloutState::InProgress && self.restarted_at.is_some()
    }
}

/// What a workload looks like to the governor.
///
/// `wanted`: `None` while it is not known (a read that failed). The workload counts as stale exactly when
/// [`plan_template`] has a restart to plan: also where the hash is right and the environment is gone (a container was
/// renamed, somebody took a variable out).
pub fn observed(id: WorkloadRef, workload: &Value, wanted: Option<&Wanted>) -> Observed {
    let written = carried_hash(workload).map(str::to_owned);
    let (desired, template_hash) = match wanted {
        None => (None, written),
        Some(wanted) => {
            let plan = plan_template(workload, wanted, None);
            let desired = plan.desired.unwrap_or_else(|| NOTHING_WANTED.to_owned());
            let shown = if plan.restarts {
                written.filter(|hash| *hash != desired)
            } else {
                Some(desired.clone())
            };
            (Some(desired), shown)
        }
    };
    Observed {
        rollout: rollout_state(id.kind, workload),
        restarted_at: restarted_at(workload),
        is_seen: is_seen(workload),
        skip_failed: skip_failed(workload).map(str::to_owned),
        id,
        desired,
        template_hash,
    }
}

/// How far the rollout of a workload is, by the rule of `kubectl rollout status` for its kind: its controller has seen the
/// current generation, all pods are of the current template, none of an older one is left, and all are available.
///
/// One that is not complete is ours while the pod template is as our last restart left it ([`rolled_by_us`]), unless it
/// was complete once, which we note ([`rolled_out`]): pods that were lost or added later are not of our doing. (No status
/// says so: a Deployment that is recreated has the condition of its last rollout while it has no pod at all.)
pub fn rollout_state(kind: WorkloadKind, workload: &Value) -> RolloutState {
    let progress = progress(kind, workload);
    let blocked = |reason| RolloutState::Blocked {
        reason,
        complete: progress.complete && reason != BlockReason::Deleting,
    };
    if let Some(reason) = untouchable(workload) {
        return blocked(reason);
    }
    if progress.complete {
        RolloutState::Complete
    } else if progress.was_complete {
        blocked(BlockReason::NotAvailable)
    } else if rolled_by_us(workload) {
        RolloutState::InProgress
    } else if progress.all_updated {
        blocked(BlockReason::NotAvailable)
    } else {
        blocked(BlockReason::BeingRolledByOther)
    }
}

/// Why a workload is not to be touched, however far its rollout is.
fn untouchable(workload: &Value) -> Option<BlockReason> {
    let at = |path: &str| workload.pointer(path).filter(|value| !value.is_null());
    let owners = at("/metadata/ownerReferences").and_then(Value::as_array);
    let is_controller = |owner: &Value| owner.get("controller") == Some(&Value::Bool(true));
    if at("/metadata/deletionTimestamp").is_some() {
        Some(BlockReason::Deleting)
    } else if owners.is_some_and(|owners| owners.iter().any(is_controller)) {
        Some(BlockReason::ManagedByController)
    } else if at("/spec/paused") == Some(&Value::Bool(true)) {
        Some(BlockReason::Paused)
    } else if at("/spec/updateStrategy/type").is_some_and(|type_| type_ == "OnDelete") {
        Some(BlockReason::OnDelete)
    } else if at("/spec/updateStrategy/rollingUpdate/partition").is_some_and(|partition| partition != 0) {
        Some(BlockReason::Partitioned)
    } else {
        None
    }
}

#[derive(Clone, Copy)]
struct Progress {
    /// All pods are of the current template, and none of an older one is left.
    all_updated: bool,
    /// And all are available.
    complete: bool,
    /// The current template was rolled out completely at some time.
    was_complete: bool,
}

fn progress(kind: WorkloadKind, workload: &Value) -> Progress {
    let number = |path: &str| workload.pointer(path).and_then(Value::as_i64);
    let status = |name: &str| number(&format!("/status/{name}")).unwrap_or(0);
    let replicas = || number("/spec/replicas").unwrap_or(1);
    let (all_updated, available) = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
            let updated = status("updatedReplicas");
            let all = updated >= replicas() && status("replicas") <= updated;
            // A StatefulSet's controller makes them equal as the last step of a rollout.
            let revision = |name: &str| workload.pointer(&format!("/status/{name}"));
            let through = kind == WorkloadKind::Deployment || revision("currentRevision") == revision("updateRevision");
            (all, through && status("availableReplicas") >= updated)
        }
        WorkloadKind::DaemonSet => {
            let wanted = status("desiredNumberScheduled");
            (
                status("updatedNumberScheduled") >= wanted,
                status("numberAvailable") >= wanted,
            )
        }
    };
    let was_complete = is_noted_rolled_out(workload);
    // A template that was rolled out once is the one that the status speaks of, whatever else has changed since.
    let all_updated = (is_seen(workload) || was_complete) && all_updated;
    Progress {
        all_updated,
        complete: all_updated && available,
        was_complete,
    }
}

fn is_seen(workload: &Value) -> bool {
    let number = |path: &str| workload.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    number("/status/observedGeneration") >= number("/metadata/generation")
}

/// Whether the present pod template is rolled out completely, see [`Wanted::rolled_out`].
pub fn rolled_out(kind: WorkloadKind, workload: &Value) -> bool {
    progress(kind, workload).complete
}

/// What the governor remembers between decisions. To lose it (a crash, a new leader) costs one more quiet period, never a
/// restart too many nor a slot. (The interval can be cut short once: when the workload that was restarted last is deleted
/// or replaced, and the memory lost, within one interval.)
#[derive(Clone, Debug, Default)]
pub struct QuietMemory {
    stale: BTreeMap<WorkloadRef, Staleness>,
    /// Starts that we wrote and that are not observed yet: a watch lags behind a write.
    unseen: BTreeMap<WorkloadRef, Timestamp>,
    /// Times of restart that are ahead of our clock: (what stands there, when we first saw it).
    ahead: BTreeMap<WorkloadRef, (Timestamp, Timestamp)>,
    /// The latest start known, also of workloads that are gone.
    last_start: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Staleness {
    desired: String,
    /// The restart that it has become stale after: what came before does not count.
    restarted_at: Option<Timestamp>,
    since: Timestamp,
    changed: Timestamp,
}

impl QuietMemory {
    /// Notes what is observed: what is newly stale, what is wanted otherwise than before, which of our starts can be
    /// seen. Forgets workloads that are gone or have what is wanted. `observed` is ALL workloads of the mesh, always.
    pub fn observe(&mut self, now: Timestamp, observed: &[Observed]) {
        self.not_after(now);
        let by_id = by_id(observed);
        self.stale.retain(|id, memory| {
            let unknown = |o: &Observed| o.desired.is_none() && o.restarted_at == memory.restarted_at;
            by_id.get(id).is_some_and(|o| o.is_stale() || unknown(o))
        });
        self.unseen.retain(|id, at| {
            let seen = |o: &&Observed| o.restarted_at == Some(stamp(*at));
            by_id.get(id).is_some_and(|o| !seen(o)) && now < after(*at, UNSEEN_START)
        });
        self.ahead
            .retain(|id, (at, _)| by_id.get(id).is_some_and(|o| o.restarted_at == Some(*at)));
        for (id, workload) in by_id {
            if let Some(desired) = workload.desired.as_ref().filter(|_| workload.is_stale()) {
                let restarted_at = workload.restarted_at;
                let fresh = || Staleness {
                    desired: desired.clone(),
                    restarted_at,
                    since: now,
                    changed: now,
                };
                let memory = self.stale.entry(id.clone()).or_insert_with(fresh);
                if memory.restarted_at != restarted_at {
                    *memory = fresh();
                } else if memory.desired != *desired {
                    memory.desired.clone_from(desired);
                    memory.changed = now;
                }
            }
            if let Some(at) = workload.restarted_at {
                // A clock that ran ahead wrote this. By our clock it happened when we first saw it; to wait until our
                // clock is there could be for ever.
                if at > now {
                    self.ahead.entry(id.clone()).or_insert((at, now));
                }
                self.last_start = self.last_start.max(self.start_of(workload));
            }
        }
    }

    /// Notes that the restart of a workload was written, where `at` is the time that [`plan_template`] was given. Until
    /// exactly that time is observed (an older one can be ahead of our clock), the workload counts as in flight.
    pub fn started(&mut self, id: &WorkloadRef, at: Timestamp) {
        self.unseen.insert(id.clone(), at);
        self.last_start = self.last_start.max(Some(at));
    }

    /// Takes back what [`Self::started`] noted: the write was refused, and nothing began.
    pub fn not_started(&mut self, id: &WorkloadRef) {
        self.unseen.remove(id);
    }

    /// When the restart that can be seen on a workload began, by our clock.
    fn start_of(&self, workload: &Observed) -> Option<Timestamp> {
        let at = workload.restarted_at?;
        Some(self.ahead.get(&workload.id).map_or(at, |(_, seen)| *seen))
    }

    /// Our own clock was set back: nothing that we noted is later than now.
    fn not_after(&mut self, now: Timestamp) {
        let staleness = self.stale.values_mut().flat_map(|s| [&mut s.since, &mut s.changed]);
        let ahead = self.ahead.values_mut().map(|(_, seen)| seen);
        for time in staleness
            .chain(ahead)
            .chain(self.unseen.values_mut())
            .chain(&mut self.last_start)
        {
            *time = now.min(*time);
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Workloads to restart now, the one that is stale for longest first.
    pub restart: Vec<WorkloadRef>,
    /// State of each workload (with the restarts of this decision counted as begun).
    pub states: BTreeMap<WorkloadRef, AgentState>,
    /// When the passing of time alone can change the decision, always after now; `None`: only a change in the cluster
    /// can.
    pub look_again: Option<Timestamp>,
}

/// Where a workload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// It has what is wanted, and its rollout is complete.
    InSync,
    /// Our restart is under way.
    RollingOut,
    /// Our restart is under way for longer than [`Limits::progress_deadline`].
    Failed {
        /// Whether the others wait for it.
        halts: bool,
    },
    /// Stale; another rollout has failed.
    Halted,
    /// Stale; what is wanted changed a moment ago and may change again.
    WaitingForQuiet,
    /// Stale; the last restart of any workload began a moment ago.
    WaitingForInterval,
    /// Stale; as many workloads as may be are in flight.
    WaitingForBudget,
    /// Stale; restarts are paused (`rollout.paused`).
    Paused,
    /// Not to be touched now.
    Blocked(BlockReason),
    /// What is wanted is not known (yet).
    NotKnown,
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InSync => f.write_str("InSync"),
            Self::RollingOut => f.write_str("RollingOut"),
            Self::Failed { .. } => f.write_str("Failed"),
            Self::Halted => f.write_str("Halted"),
            Self::WaitingForQuiet => f.write_str("WaitingForQuiet"),
            Self::WaitingForInterval => f.write_str("WaitingForInterval"),
            Self::WaitingForBudget => f.write_str("WaitingForBudget"),
            Self::Paused => f.write_str("Paused"),
            Self::Blocked(reason) => write!(f, "Blocked{reason}"),
            Self::NotKnown => f.write_str("NotKnown"),
        }
    }
}

/// Decides which workloads may be restarted now.
///
/// `observed` is all workloads of the mesh, and `memory` has observed them at `now`. The same arguments give the same
/// decision, in whatever order the workloads stand.
///
/// A workload that is in flight and stale again (what was wrong has been put right) is restarted without a slot of its
/// own, since it holds one, also while another failed rollout halts the rest; otherwise a bad configuration could never be
/// followed by a good one. A failed one that the others go on without holds no slot.
pub fn decide(now: Timestamp, limits: &Limits, memory: &QuietMemory, observed: &[Observed]) -> Decision {
    let workloads = by_id(observed);
    let mut decision = Decision::default();
    let mut look_again = EarliestAfter { now, time: None };
    let mut ready = Vec::new();
    let mut in_flight = 0;

    let mut halted = false;
    for (&id, workload) in &workloads {
        let unseen = memory.unseen.get(id);
        let in_flight_since = memory.start_of(workload).filter(|_| workload.is_in_flight());
        let deadline = in_flight_since.map(|start| after(start, limits.progress_deadline));
        let has_failed = unseen.is_none() && workload.is_seen && deadline.is_some_and(|deadline| deadline <= now);
        let released = has_failed && workload.is_released(limits.on_failure);
        let holds_a_slot = unseen.is_some() || (in_flight_since.is_some() && !released);
        in_flight += usize::from(holds_a_slot);
        let state = if let Some(start) = unseen {
            look_again.at(after(*start, UNSEEN_START));
            AgentState::RollingOut
        } else if let Some(state) = settled(workload) {
            if let Some(deadline) = deadline {
                look_again.at(deadline);
            }
            match state {
                AgentState::RollingOut | AgentState::NotKnown if has_failed => {
                    halted |= !released;
                    AgentState::Failed { halts: !released }
                }
                _ => state,
            }
        } else if limits.paused {
            AgentState::Paused
        } else {
            let (since, changed) = memory.stale.get(id).map_or((now, now), |s| (s.since, s.changed));
            let quiet_at = after(changed, limits.quiet_period).min(after(since, limits.max_delay));
            if quiet_at > now {
                look_again.at(quiet_at);
                AgentState::WaitingForQuiet
            } else {
                // While its controller has not looked, it may as well be somebody's change of a workload that is up.
                ready.push((since, id, holds_a_slot && workload.is_seen));
                continue;
            }
        };
        decision.states.insert(id.clone(), state);
    }

    ready.sort_unstable();
    let mut next_start = memory.last_start.map_or(now, |last| after(last, limits.min_interval));
    for (_, id, holds_a_slot) in ready {
        let state = if !holds_a_slot && halted {
            AgentState::Halted
        } else if !holds_a_slot && in_flight >= limits.max_concurrent {
            AgentState::WaitingForBudget
        } else if next_start > now {
            look_again.at(next_start);
            AgentState::WaitingForInterval
        } else {
            in_flight += usize::from(!holds_a_slot);
            next_start = after(now, limits.min_interval);
            decision.restart.push(id.clone());
            AgentState::RollingOut
        };
        decision.states.insert(id.clone(), state);
    }
    decision.look_again = look_again.time;
    decision
}

/// The state of a workload that is not to be restarted, whatever the limits; `None`: it is stale and may be touched.
fn settled(workload: &Observed) -> Option<AgentState> {
    let in_flight = workload.is_in_flight();
    match (workload.rollout, workload.is_stale()) {
        _ if workload.desired.is_none() => Some(AgentState::NotKnown),
        (RolloutState::Complete | RolloutState::Blocked { complete: true, .. }, false) => Some(AgentState::InSync),
        (RolloutState::InProgress, false) if in_flight => Some(AgentState::RollingOut),
        (RolloutState::InProgress, _) if !in_flight => Some(AgentState::Blocked(BlockReason::BeingRolledByOther)),
        (RolloutState::Blocked { reason, .. }, _) => Some(AgentState::Blocked(reason)),
        (RolloutState::Complete | RolloutState::InProgress, _) => None,
    }
}

/// The earliest of some times, of those that are still to come.
struct EarliestAfter {
    now: Timestamp,
    time: Option<Timestamp>,
}

impl EarliestAfter {
    fn at(&mut self, time: Timestamp) {
        if time > self.now {
            self.time = Some(self.time.map_or(time, |t| t.min(time)));
        }
    }
}

fn by_id(observed: &[Observed]) -> BTreeMap<&WorkloadRef, &Observed> {
    observed.iter().map(|workload| (&workload.id, workload)).collect()
}

fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crds::WorkloadKind;
    use crate::rollout::{ContainerEnv, Parts};
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn id(name: &str) -> WorkloadRef {
        WorkloadRef {
            kind: WorkloadKind::Deployment,
            namespace: "ns".into(),
            name: name.into(),
        }
    }

    fn limits() -> Limits {
        Limits {
            max_concurrent: 1,
            min_interval: secs(30),
            quiet_period: secs(10),
            max_delay: secs(60),
            progress_deadline: secs(10_000_000),
            on_failure: OnFailure::Halt,
            paused: false,
        }
    }

    /// A workload that is complete; stale where the two differ.
    fn agent(name: &str, desired: &str, template: &str) -> Observed {
        Observed {
            id: id(name),
            desired: Some(desired.into()),
            template_hash: Some(template.into()),
            rollout: RolloutState::Complete,
            restarted_at: None,
            is_seen: true,
            skip_failed: None,
        }
    }

    fn in_flight(name: &str, desired: &str, template: &str, started: i64) -> Observed {
        Observed {
            rollout: RolloutState::InProgress,
            restarted_at: Some(at(started)),
            ..agent(name, desired, template)
        }
    }

    fn step(second: i64, limits: &Limits, memory: &mut QuietMemory, observed: &[Observed]) -> Decision {
        memory.observe(at(second), observed);
        decide(at(second), limits, memory, observed)
    }

    /// The decision when the workloads have been as they are for long enough to be quiet.
    fn settled_decision(limits: &Limits, observed: &[Observed]) -> Decision {
        let mut memory = QuietMemory::default();
        step(0, limits, &mut memory, observed);
        step(1000, limits, &mut memory, observed)
    }

    fn restarted(decision: &Decision) -> Vec<&str> {
        decision.restart.iter().map(|id| id.name.as_str()).collect()
    }

    #[test]
    fn unreadable_spans_get_the_documented_defaults() {
        let rollout = Rollout {
            max_concurrent: 0,
            min_interval: "1s".into(),
            quiet_period: "soon".into(),
            max_delay: "".into(),
            progress_deadline: "never".into(),
            on_failure: OnFailure::Continue,
            paused: true,
        };
        let expected = Limits {
            max_concurrent: 1,
            min_interval: secs(1),
            quiet_period: secs(10),
            max_delay: secs(300),
            progress_deadline: secs(600),
            on_failure: OnFailure::Continue,
            paused: true,
        };
        assert_eq!(Limits::from(&rollout), expected);
        assert_eq!(Limits::default().min_interval, secs(30));
    }

    #[test]
    fn many_changes_inside_a_quiet_period_make_one_restart() {
        let mut memory = QuietMemory::default();
        for second in 0..5 {
            let decision = step(
                second * 5,
                &limits(),
                &mut memory,
                &[agent("a", &format!("h{second}"), "old")],
            );
            assert_eq!(decision.states[&id("a")], AgentState::WaitingForQuiet);
            assert_eq!(decision.look_again, Some(at(second * 5 + 10)));
        }
        assert_eq!(
            restarted(&step(29, &limits(), &mut memory, &[agent("a", "h4", "old")])),
            [""; 0]
        );
        assert_eq!(
            restarted(&step(30, &limits(), &mut memory, &[agent("a", "h4", "old")])),
            ["a"]
        );
    }

    #[test]
    fn changes_without_end_hold_a_restart_back_no_longer_than_max_delay() {
        let mut memory = QuietMemory::default();
        let first = (0..200).find(|s| {
            let changing = [agent("a", &format!("h{s}"), "old")];
            !step(*s, &limits(), &mut memory, &changing).restart.is_empty()
        });
        assert_eq!(first, Some(60));
    }

    #[test]
    fn a_change_that_is_taken_back_restarts_nobody() {
        let mut memory = QuietMemory::default();
        step(0, &limits(), &mut memory, &[agent("a", "new", "old")]);
        let decision = step(5, &limits(), &mut memory, &[agent("a", "old", "old")]);
        assert_eq!(decision.states[&id("a")], AgentState::InSync);
        assert_eq!(decision.look_again, None);
        // And the quiet period begins anew.
        let decision = step(12, &limits(), &mut memory, &[agent("a", "new", "old")]);
        assert_eq!(decision.look_again, Some(at(22)));
    }

    #[test]
    fn the_oldest_stale_goes_first_then_the_name() {
        let mut memory = QuietMemory::default();
        step(
            0,
            &limits(),
            &mut memory,
            &[agent("z", "new", "old"), agent("a", "x", "x")],
        );
        let all = [
            agent("b", "new", "old"),
            agent("a", "new", "old"),
            agent("z", "new", "old"),
        ];
        step(5, &limits(), &mut memory, &all);
        let fast = Limits {
            max_concurrent: 3,
            min_interval: secs(0),
            ..limits()
        };
        assert_eq!(restarted(&step(100, &fast, &mut memory, &all)), ["z", "a", "b"]);
        let decision = step(100, &limits(), &mut memory, &all);
        assert_eq!(restarted(&decision), ["z"]);
        assert_eq!(decision.states[&id("z")], AgentState::RollingOut);
        assert_eq!(decision.states[&id("a")], AgentState::WaitingForBudget);
        let two = Limits {
            max_concurrent: 2,
            ..limits()
        };
        let decision = step(100, &two, &mut memory, &all);
        assert_eq!(restarted(&decision), ["z"]);
        assert_eq!(decision.states[&id("a")], AgentState::WaitingForInterval);
        assert_eq!(decision.look_again, Some(at(130)));
    }

    #[test]
    fn paused_restarts_nothing_and_still_tells_the_truth() {
        let paused = Limits {
            paused: true,
            ..limits()
        };
        let observed = [
            agent("a", "new", "old"),
            in_flight("b", "x", "x", 0),
            agent("c", "x", "x"),
        ];
        let decision = settled_decision(&paused, &observed);
        assert_eq!(restarted(&decision), [""; 0]);
        let states: Vec<_> = decision.states.values().copied().collect();
        assert_eq!(states, [AgentState::Paused, AgentState::RollingOut, AgentState::InSync]);
        assert_eq!(
            decision.look_again,
            Some(at(10_000_000)),
            "the deadline of what is under way"
        );
    }

    #[test]
    fn what_is_blocked_is_not_touched_and_costs_no_budget() {
        let blocked = |name: &str, reason, complete| Observed {
            rollout: RolloutState::Blocked { reason, complete },
            restarted_at: Some(at(-1000)),
            ..agent(name, "new", "old")
        };
        let observed = [
            blocked("a", BlockReason::Paused, true),
            blocked("b", BlockReason::Deleting, false),
            blocked("c", BlockReason::BeingRolledByOther, false),
            blocked("d", BlockReason::NotAvailable, false),
            Observed {
                rollout: RolloutState::InProgress,
                ..agent("e", "new", "old")
            },
            agent("z", "new", "old"),
        ];
        let decision = settled_decision(&limits(), &observed);
        assert_eq!(restarted(&decision), ["z"]);
        assert_eq!(decision.states[&id("a")], AgentState::Blocked(BlockReason::Paused));
        assert_eq!(
            decision.states[&id("e")],
            AgentState::Blocked(BlockReason::BeingRolledByOther),
            "without our time it is not ours"
        );
        let paused_in_sync = Observed {
            desired: Some("old".into()),
            ..blocked("a", BlockReason::Paused, true)
        };
        let decision = settled_decision(&limits(), &[paused_in_sync]);
        assert_eq!(
            decision.states[&id("a")],
            AgentState::InSync,
            "paused, and all is as wanted"
        );
    }

    #[test]
    fn what_is_not_known_is_not_restarted_and_its_quiet_period_is_not_lost() {
        let unknown = Observed {
            desired: None,
            ..agent("a", "", "old")
        };
        let decision = settled_decision(&limits(), std::slice::from_ref(&unknown));
        assert_eq!(decision.states[&id("a")], AgentState::NotKnown);
        let mut memory = QuietMemory::default();
        step(0, &limits(), &mut memory, &[agent("a", "new", "old")]);
        step(5, &limits(), &mut memory, &[unknown]);
        assert_eq!(
            restarted(&step(10, &limits(), &mut memory, &[agent("a", "new", "old")])),
            ["a"]
        );
    }

    #[test]
    fn a_bad_configuration_can_be_followed_by_a_good_one() {
        let decision = settled_decision(&limits(), &[in_flight("a", "good", "bad", 0), agent("b", "new", "old")]);
        assert_eq!(restarted(&decision), ["a"]);
        assert_eq!(decision.states[&id("b")], AgentState::WaitingForBudget);
    }

    #[test]
    fn a_start_counts_before_the_watch_shows_it() {
        let two = Limits {
            max_concurrent: 2,
            ..limits()
        };
        let stale = [
            agent("a", "new", "old"),
            agent("b", "new", "old"),
            agent("c", "new", "old"),
        ];
        let mut memory = QuietMemory::default();
        step(0, &two, &mut memory, &stale);
        assert_eq!(restarted(&step(100, &two, &mut memory, &stale)), ["a"]);
        memory.started(&id("a"), at(100));
        let decision = step(101, &two, &mut memory, &stale);
        assert_eq!(restarted(&decision), [""; 0]);
        assert_eq!(decision.states[&id("a")], AgentState::RollingOut);
        assert_eq!(restarted(&step(130, &two, &mut memory, &stale)), ["b"]);
        memory.started(&id("b"), at(130));
        assert_eq!(
            step(159, &two, &mut memory, &stale).states[&id("c")],
            AgentState::WaitingForBudget
        );
        // Never seen: it was overwritten, and does not count for ever.
        assert_eq!(restarted(&step(160, &two, &mut memory, &stale)), ["a"]);
    }

    #[test]
    fn an_older_time_that_is_ahead_of_our_clock_is_not_our_start() {
        let fast = Limits {
            min_interval: secs(0),
            ..limits()
        };
        let ahead = Observed {
            restarted_at: Some(at(500)),
            ..agent("a", "new", "old")
        };
        let observed = [ahead, agent("b", "new", "old")];
        let mut memory = QuietMemory::default();
        step(0, &fast, &mut memory, &observed);
        assert_eq!(restarted(&step(10, &fast, &mut memory, &observed)), ["a"]);
        memory.started(&id("a"), at(10));
        let decision = step(11, &fast, &mut memory, &observed);
        assert_eq!(restarted(&decision), [""; 0]);
        assert_eq!(decision.states[&id("b")], AgentState::WaitingForBudget);
    }

    #[test]
    fn the_interval_outlives_the_workload_that_was_restarted() {
        let mut memory = QuietMemory::default();
        let stale = agent("b", "new", "old");
        step(
            0,
            &limits(),
            &mut memory,
            &[in_flight("a", "x", "x", -1), stale.clone()],
        );
        let decision = step(20, &limits(), &mut memory, std::slice::from_ref(&stale));
        assert_eq!(decision.states[&id("b")], AgentState::WaitingForInterval);
        assert_eq!(decision.look_again, Some(at(29)));
        assert_eq!(restarted(&step(29, &limits(), &mut memory, &[stale])), ["b"]);
    }

    #[test]
    fn a_restart_in_the_future_blocks_for_one_interval_only() {
        let ahead = Observed {
            restarted_at: Some(at(1_000_000)),
            ..agent("a", "x", "x")
        };
        let observed = [ahead, agent("b", "new", "old")];
        let mut memory = QuietMemory::default();
        step(0, &limits(), &mut memory, &observed);
        let decision = step(10, &limits(), &mut memory, &observed);
        assert_eq!(
            decision.look_again,
            Some(at(30)),
            "the interval counts from when it was first seen"
        );
        assert_eq!(restarted(&step(30, &limits(), &mut memory, &observed)), ["b"]);
        // When our clock gets there, it is not a new start.
        assert_eq!(restarted(&step(1_000_001, &limits(), &mut memory, &observed)), ["b"]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_restarts_back() {
        let observed = [agent("a", "new", "old")];
        let mut memory = QuietMemory::default();
        step(100_000, &limits(), &mut memory, &observed);
        memory.started(&id("gone"), at(100_000));
        assert_eq!(step(0, &limits(), &mut memory, &observed).look_again, Some(at(10)));
        assert_eq!(restarted(&step(30, &limits(), &mut memory, &observed)), ["a"]);
    }

    #[test]
    fn the_state_of_a_rollout_is_that_of_kubectl() {
        let deployment = |updated: i64, all: i64, available: i64| {
            json!({
                "metadata": {"generation": 2},
                "spec": {"replicas": 2, "template": {"metadata": {}}},
                "status": {"observedGeneration": 2, "updatedReplicas": updated, "replicas": all, "availableReplicas": available},
            })
        };
        let other = RolloutState::Blocked {
            reason: BlockReason::BeingRolledByOther,
            complete: false,
        };
        let down = RolloutState::Blocked {
            reason: BlockReason::NotAvailable,
            complete: false,
        };
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &deployment(2, 2, 2)),
            RolloutState::Complete
        );
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &deployment(1, 2, 2)),
            other,
            "not all updated"
        );
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &deployment(2, 3, 3)),
            other,
            "an old one is left"
        );
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &deployment(2, 2, 1)),
            down,
            "not available"
        );
        let mut unseen = deployment(2, 2, 2);
        unseen["metadata"]["generation"] = json!(3);
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &unseen),
            other,
            "the controller has not seen the change"
        );
        let mut none = deployment(0, 0, 0);
        none["spec"]["replicas"] = json!(0);
        none["status"] = json!({"observedGeneration": 2});
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &none),
            RolloutState::Complete,
            "nothing to run"
        );
        let mut paused = deployment(2, 2, 2);
        paused["spec"]["paused"] = json!(true);
        let reason = BlockReason::Paused;
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &paused),
            RolloutState::Blocked { reason, complete: true }
        );
        let mut deleting = deployment(2, 2, 2);
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let reason = BlockReason::Deleting;
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &deleting),
            RolloutState::Blocked {
                reason,
                complete: false
            }
        );
    }

    #[test]
    fn a_workload_is_observed_as_its_plan_sees_it() {
        let mut deployment = json!({
            "metadata": {"generation": 1, "name": "a"},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c"}]}}},
            "status": {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1},
        });
        let mut reads = Parts::new(b"key");
        reads.config_map("m", None);
        let wanted = Wanted {
            reads: Some(reads),
            env: vec![ContainerEnv {
                container: "c".into(),
                block: crate::render::environment::Block::of_each(vec![crate::render::EnvVar::new("A", "1")]),
                reads: None,
            }],
            ..Wanted::default()
        };
        let look = |deployment: &Value, wanted: Option<&Wanted>| observed(id("a"), deployment, wanted);
        assert!(!look(&deployment, None).is_stale(), "not known");
        assert!(
            !look(&deployment, Some(&Wanted::default())).is_stale(),
            "nothing wanted, nothing there"
        );
        assert!(look(&deployment, Some(&wanted)).is_stale());
        let patch = plan_template(&deployment, &wanted, Some(at(0))).patch.unwrap();
        json_patch::patch(&mut deployment, &patch).unwrap();
        deployment["metadata"]["generation"] = json!(2);
        let rolling = look(&deployment, Some(&wanted));
        assert!(
            !rolling.is_stale() && rolling.is_in_flight(),
            "our rollout is under way"
        );
        assert!(
            look(&deployment, Some(&Wanted::default())).is_stale(),
            "environment is left to be removed"
        );
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        let robbed = look(&deployment, Some(&wanted));
        assert!(robbed.is_stale(), "the hash is right and the environment is gone");
        assert_eq!(
            robbed.rollout,
            RolloutState::Blocked {
                reason: BlockReason::BeingRolledByOther,
                complete: false
            }
        );
    }

    const DEADLINE: i64 = 600;

    fn with_deadline(max_concurrent: usize) -> Limits {
        Limits {
            max_concurrent,
            progress_deadline: secs(DEADLINE.unsigned_abs()),
            ..limits()
        }
    }

    fn at_deadline(limits: &Limits, observed: &[Observed]) -> Decision {
        let mut memory = QuietMemory::default();
        step(0, limits, &mut memory, observed);
        step(DEADLINE, limits, &mut memory, observed)
    }

    #[test]
    fn a_rollout_past_its_deadline_halts_the_others_whatever_the_budget() {
        let observed = [in_flight("a", "x", "x", 0), agent("b", "new", "old")];
        let two = with_deadline(2);
        let mut memory = QuietMemory::default();
        step(0, &two, &mut memory, &observed);
        let before = step(25, &two, &mut memory, &observed);
        assert_eq!(before.look_again, Some(at(30)));
        let decision = at_deadline(&two, &observed);
        assert_eq!(restarted(&decision), [""; 0]);
        assert_eq!(decision.states[&id("a")], AgentState::Failed { halts: true });
        assert_eq!(decision.states[&id("b")], AgentState::Halted);
        assert_eq!(decision.look_again, None, "only a change in the cluster ends it");
    }

    #[test]
    fn a_change_that_its_controller_has_not_seen_gives_no_slot() {
        let scaled = Observed {
            is_seen: false,
            ..in_flight("b", "new", "old", 0)
        };
        let observed = [in_flight("a", "x", "x", 0), scaled];
        assert_eq!(restarted(&settled_decision(&limits(), &observed)), [""; 0]);
    }

    #[test]
    fn the_deadline_itself_is_a_time_to_look_again() {
        let mut memory = QuietMemory::default();
        let observed = [in_flight("a", "x", "x", 0)];
        let decision = step(1, &with_deadline(1), &mut memory, &observed);
        assert_eq!(decision.look_again, Some(at(DEADLINE)));
    }

    #[test]
    fn a_halt_ends_when_the_rollout_completes_its_workload_goes_or_another_hash_is_wanted_of_it() {
        let one = with_deadline(1);
        let waiting = agent("b", "new", "old");
        let completed = agent("a", "x", "x");
        assert_eq!(restarted(&at_deadline(&one, &[completed, waiting.clone()])), ["b"]);
        assert_eq!(restarted(&at_deadline(&one, std::slice::from_ref(&waiting))), ["b"]);
        let fixed = in_flight("a", "good", "bad", 0);
        assert_eq!(restarted(&at_deadline(&one, &[fixed.clone(), waiting.clone()])), ["a"]);
        let two = Limits {
            min_interval: secs(0),
            ..with_deadline(2)
        };
        assert_eq!(restarted(&at_deadline(&two, &[fixed, waiting])), ["a", "b"]);
    }

    #[test]
    fn a_failed_rollout_that_is_skipped_or_continued_holds_no_slot() {
        let observed = |skip: Option<&str>| {
            let failed = Observed {
                skip_failed: skip.map(str::to_owned),
                ..in_flight("a", "x", "x", 0)
            };
            [failed, agent("b", "new", "old")]
        };
        let one = with_deadline(1);
        assert_eq!(restarted(&at_deadline(&one, &observed(Some("other")))), [""; 0]);
        let skipped = at_deadline(&one, &observed(Some("x")));
        assert_eq!(restarted(&skipped), ["b"]);
        assert_eq!(skipped.states[&id("a")], AgentState::Failed { halts: false });
        let continuing = Limits {
            on_failure: OnFailure::Continue,
            ..with_deadline(1)
        };
        assert_eq!(restarted(&at_deadline(&continuing, &observed(None))), ["b"]);
        // And to be restarted again it needs one: b has it.
        let again = Observed {
            skip_failed: Some("x".into()),
            ..in_flight("a", "y", "x", 0)
        };
        let observed = [again, in_flight("b", "new", "new", 100)];
        let mut memory = QuietMemory::default();
        step(200, &one, &mut memory, &observed);
        let decision = step(DEADLINE, &one, &mut memory, &observed);
        assert_eq!(restarted(&decision), [""; 0]);
        assert_eq!(decision.states[&id("a")], AgentState::WaitingForBudget);
    }

    #[test]
    fn what_is_wanted_of_a_failed_one_may_be_unknown_and_a_status_of_another_generation_fails_nothing() {
        let unknown = Observed {
            desired: None,
            ..in_flight("a", "", "x", 0)
        };
        let decision = at_deadline(&with_deadline(2), &[unknown, agent("b", "new", "old")]);
        assert_eq!(decision.states[&id("a")], AgentState::Failed { halts: true });
        assert_eq!(restarted(&decision), [""; 0]);
        let unseen = Observed {
            is_seen: false,
            ..in_flight("a", "x", "x", 0)
        };
        let decision = at_deadline(&with_deadline(1), &[unseen]);
        assert_eq!(decision.states[&id("a")], AgentState::RollingOut);
    }

    /// A workload as its controller shows it; `restarted` as our restart leaves its template.
    fn live(spec: &Value, status: &Value, restarted: bool) -> Value {
        let mut workload = json!({
            "metadata": {"generation": 1, "name": "a"},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        });
        if restarted {
            let mut reads = Parts::new(b"key");
            reads.config_map("m", None);
            let wanted = Wanted {
                reads: Some(reads),
                ..Wanted::default()
            };
            let patch = plan_template(&workload, &wanted, Some(at(0))).patch.unwrap();
            json_patch::patch(&mut workload, &patch).unwrap();
        }
        for (name, value) in spec.as_object().unwrap() {
            workload["spec"][name] = value.clone();
        }
        workload["status"] = status.clone();
        workload["status"]["observedGeneration"] = json!(1);
        workload
    }

    fn not_available(complete: bool) -> RolloutState {
        let reason = BlockReason::NotAvailable;
        RolloutState::Blocked { reason, complete }
    }

    #[test]
    fn a_daemon_set_is_through_when_each_node_has_an_available_pod_of_the_template() {
        let state = |updated: i64, available: i64| {
            let status =
                json!({"desiredNumberScheduled": 3, "updatedNumberScheduled": updated, "numberAvailable": available});
            rollout_state(WorkloadKind::DaemonSet, &live(&json!({}), &status, true))
        };
        assert_eq!(state(3, 3), RolloutState::Complete);
        assert_eq!(state(2, 3), RolloutState::InProgress);
        assert_eq!(state(3, 2), RolloutState::InProgress);
    }

    #[test]
    fn a_stateful_set_is_through_when_its_revisions_are_one_and_a_partition_holds_pods_back() {
        let spec = json!({"replicas": 2});
        let status = |current: &str, updated: i64| json!({"replicas": 2, "updatedReplicas": updated, "availableReplicas": 2, "currentRevision": current, "updateRevision": "b"});
        let state = |spec: &Value, status: &Value| rollout_state(WorkloadKind::StatefulSet, &live(spec, status, true));
        assert_eq!(state(&spec, &status("b", 2)), RolloutState::Complete);
        assert_eq!(
            state(&spec, &status("a", 2)),
            RolloutState::InProgress,
            "not said to be over"
        );
        assert_eq!(state(&spec, &status("a", 1)), RolloutState::InProgress);
        let mut partitioned = spec.clone();
        partitioned["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        assert_eq!(
            state(&partitioned, &status("a", 1)),
            RolloutState::Blocked {
                reason: BlockReason::Partitioned,
                complete: false
            }
        );
        partitioned["updateStrategy"]["rollingUpdate"]["partition"] = json!(0);
        assert_eq!(state(&partitioned, &status("b", 2)), RolloutState::Complete);
    }

    #[test]
    fn our_note_on_an_agent_that_is_in_sync_as_it_is_makes_it_nobodys_rollout() {
        let through = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        let mut agent = live(&json!({"replicas": 1}), &through, false);
        let mut reads = Parts::new(b"key");
        reads.config_map("m", None);
        let wanted = Wanted {
            reads: Some(reads),
            pods_are_younger: true,
            rolled_out: rolled_out(WorkloadKind::Deployment, &agent),
            ..Wanted::default()
        };
        let noted = plan_template(&agent, &wanted, Some(at(9)));
        assert!(!noted.restarts);
        json_patch::patch(&mut agent, &noted.patch.unwrap()).unwrap();
        // The API server counts a change of annotations as a generation, and the controller has not looked yet.
        agent["metadata"]["generation"] = json!(2);
        assert_eq!(rollout_state(WorkloadKind::Deployment, &agent), RolloutState::Complete);
        assert_eq!(plan_template(&agent, &wanted, Some(at(9))).patch, None, "noted once");
        agent["spec"]["template"]["spec"]["containers"][0]["image"] = json!("theirs:2");
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &agent),
            RolloutState::Blocked {
                reason: BlockReason::BeingRolledByOther,
                complete: false
            },
            "what the controller has not looked at is a change of the template"
        );
    }

    #[test]
    fn pods_that_are_lost_after_a_rollout_was_through_are_not_our_rollout() {
        // A Deployment that is recreated keeps the condition of its last rollout.
        let recreated = json!({"replicas": 0, "updatedReplicas": 0, "availableReplicas": 0,
            "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}]});
        let recreated = live(&json!({"replicas": 2}), &recreated, true);
        assert_eq!(
            rollout_state(WorkloadKind::Deployment, &recreated),
            RolloutState::InProgress
        );

        let through = json!({"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2});
        let mut daemons = live(&json!({}), &through, true);
        assert!(rolled_out(WorkloadKind::DaemonSet, &daemons));
        let mut reads = Parts::new(b"key");
        reads.config_map("m", None);
        let wanted = Wanted {
            reads: Some(reads),
            rolled_out: true,
            ..Wanted::default()
        };
        let noted = plan_template(&daemons, &wanted, Some(at(9)));
        assert!(!noted.restarts);
        json_patch::patch(&mut daemons, &noted.patch.unwrap()).unwrap();
        assert_eq!(plan_template(&daemons, &wanted, Some(at(9))).patch, None, "noted once");
        daemons["status"]["desiredNumberScheduled"] = json!(3);
        assert_eq!(
            rollout_state(WorkloadKind::DaemonSet, &daemons),
            not_available(false),
            "a node came"
        );
    }

    #[test]
    fn who_has_another_master_or_strategy_is_not_touched() {
        let through = json!({"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1});
        let mut daemons = live(&json!({"updateStrategy": {"type": "OnDelete"}}), &through, false);
        let state = |workload: &Value| rollout_state(WorkloadKind::DaemonSet, workload);
        let blocked = |reason| RolloutState::Blocked { reason, complete: true };
        assert_eq!(state(&daemons), blocked(BlockReason::OnDelete));
        daemons["metadata"]["ownerReferences"] = json!([{"kind": "Kmesh", "name": "k", "uid": "1"}]);
        assert_eq!(
            state(&daemons),
            blocked(BlockReason::OnDelete),
            "an owner that is no controller"
        );
        daemons["metadata"]["ownerReferences"][0]["controller"] = json!(true);
        assert_eq!(state(&daemons), blocked(BlockReason::ManagedByController));
    }
}
