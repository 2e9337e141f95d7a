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

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::template::{Wanted, plan_template, restarted_at, rolled_by_us, stamp, template_hash};
use crate::crds::{Rollout, WorkloadRef};

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
    /// Its `spec.paused` is set: a change would not roll.
    Paused,
    /// It is being deleted.
    Deleting,
    /// A rollout that is not ours is under way.
    BeingRolledByOther,
    /// Its rollout is through, but not by us, and pods of it are not available (crash loop, lost node). To restart what
    /// is down would hide its cause.
    NotAvailable,
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paused => "Paused",
            Self::Deleting => "Deleting",
            Self::BeingRolledByOther => "BeingRolledByOther",
            Self::NotAvailable => "NotAvailable",
        })
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
}

impl Observed {
    fn is_stale(&self) -> bool {
        self.desired.is_some() && self.desired != self.template_hash
    }

    /// A rollout without our time cannot be ours, whatever the caller says of it.
    fn is_in_flight(&self) -> bool {
        self.rollout == RolloutState::InProgress && self.restarted_at.is_some()
    }
}

/// What a Deployment looks like to the governor.
///
/// `wanted`: `None` while it is not known (a read that failed). The workload counts as stale exactly when
/// [`plan_template`] has a restart to plan: also where the hash is right and the environment is gone (a container was
/// renamed, somebody took a variable out).
pub fn observed(id: WorkloadRef, deployment: &Value, wanted: Option<&Wanted>) -> Observed {
    let written = template_hash(deployment).map(str::to_owned);
    let (desired, template_hash) = match wanted {
        None => (None, written),
        Some(wanted) => {
            let plan = plan_template(deployment, wanted, None);
            let desired = plan.desired.map_or(NOTHING_WANTED.to_owned(), |hash| hash.to_string());
            let shown = if plan.restarts {
                written.filter(|hash| *hash != desired)
            } else {
                Some(desired.clone())
            };
            (Some(desired), shown)
        }
    };
    Observed {
        id,
        desired,
        template_hash,
        rollout: rollout_state(deployment),
        restarted_at: restarted_at(deployment),
    }
}

/// How far the rollout of a Deployment is, by the rule of `kubectl rollout status`: its controller has seen the current
/// generation, all replicas are of the current template, none of an older one is left, and all are available.
///
/// One that is not complete is ours while the pod template is as our last restart left it ([`rolled_by_us`]). Missing
/// pods of a template of ours (a lost node, a scale-up) look the same and count as in flight too: while an agent is down,
/// the next one is not taken down.
pub fn rollout_state(deployment: &Value) -> RolloutState {
    let blocked = |reason, complete| RolloutState::Blocked { reason, complete };
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_i64);
    if deployment
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
    {
        return blocked(BlockReason::Deleting, false);
    }
    let replicas = number("/spec/replicas").unwrap_or(1);
    let status = |name: &str| number(&format!("/status/{name}")).unwrap_or(0);
    let seen = status("observedGeneration") >= number("/metadata/generation").unwrap_or(0);
    let updated = status("updatedReplicas");
    let all_updated = seen && updated >= replicas && status("replicas") <= updated;
    let complete = all_updated && status("availableReplicas") >= updated;
    if deployment.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return blocked(BlockReason::Paused, complete);
    }
    if complete {
        RolloutState::Complete
    } else if rolled_by_us(deployment) {
        RolloutState::InProgress
    } else if all_updated {
        blocked(BlockReason::NotAvailable, false)
    } else {
        blocked(BlockReason::BeingRolledByOther, false)
    }
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
                let start = self.ahead.get(id).map_or(at, |(_, seen)| *seen);
                self.last_start = self.last_start.max(Some(start));
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
/// own, since it holds one; otherwise a bad configuration could never be followed by a good one.
pub fn decide(now: Timestamp, limits: &Limits, memory: &QuietMemory, observed: &[Observed]) -> Decision {
    let workloads = by_id(observed);
    let mut decision = Decision::default();
    let mut look_again = EarliestAfter { now, time: None };
    let mut ready = Vec::new();
    let mut in_flight = 0;

    for (&id, workload) in &workloads {
        let unseen = memory.unseen.get(id);
        in_flight += usize::from(unseen.is_some() || workload.is_in_flight());
        let state = if let Some(start) = unseen {
            look_again.at(after(*start, UNSEEN_START));
            AgentState::RollingOut
        } else if let Some(state) = settled(workload) {
            state
        } else if limits.paused {
            AgentState::Paused
        } else {
            let (since, changed) = memory.stale.get(id).map_or((now, now), |s| (s.since, s.changed));
            let quiet_at = after(changed, limits.quiet_period).min(after(since, limits.max_delay));
            if quiet_at > now {
                look_again.at(quiet_at);
                AgentState::WaitingForQuiet
            } else {
                ready.push((since, id, workload.is_in_flight()));
                continue;
            }
        };
        decision.states.insert(id.clone(), state);
    }

    ready.sort_unstable();
    let mut next_start = memory.last_start.map_or(now, |last| after(last, limits.min_interval));
    for (_, id, holds_a_slot) in ready {
        let state = if !holds_a_slot && in_flight >= limits.max_concurrent {
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
    use proptest::prelude::*;
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
            paused: true,
        };
        let expected = Limits {
            max_concurrent: 1,
            min_interval: secs(1),
            quiet_period: secs(10),
            max_delay: secs(300),
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
        assert_eq!(decision.look_again, None);
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
        assert_eq!(rollout_state(&deployment(2, 2, 2)), RolloutState::Complete);
        assert_eq!(rollout_state(&deployment(1, 2, 2)), other, "not all updated");
        assert_eq!(rollout_state(&deployment(2, 3, 3)), other, "an old one is left");
        assert_eq!(rollout_state(&deployment(2, 2, 1)), down, "not available");
        let mut unseen = deployment(2, 2, 2);
        unseen["metadata"]["generation"] = json!(3);
        assert_eq!(rollout_state(&unseen), other, "the controller has not seen the change");
        let mut none = deployment(0, 0, 0);
        none["spec"]["replicas"] = json!(0);
        none["status"] = json!({"observedGeneration": 2});
        assert_eq!(rollout_state(&none), RolloutState::Complete, "nothing to run");
        let mut paused = deployment(2, 2, 2);
        paused["spec"]["paused"] = json!(true);
        let reason = BlockReason::Paused;
        assert_eq!(rollout_state(&paused), RolloutState::Blocked { reason, complete: true });
        let mut deleting = deployment(2, 2, 2);
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let reason = BlockReason::Deleting;
        assert_eq!(
            rollout_state(&deleting),
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
                vars: vec![crate::render::EnvVar::new("A", "1")],
                together: vec![],
            }],
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

    // A simulated cluster: seconds, workloads that take a while to roll (or never get through), users that change
    // configuration, deploy, replace, pause and delete, a watch that lags, an operator that crashes.

    #[derive(Clone, Debug)]
    enum Event {
        Configure(usize, u8),
        Deploy(usize, i64, bool),
        PauseMesh(bool),
        PauseWorkload(usize, bool),
        Replace(usize),
        Unknown(usize, bool),
        Crash,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Rolling {
        No,
        Ours(i64),
        Other(i64),
    }

    #[derive(Clone, Debug)]
    struct Work {
        version: u64,
        desired: u8,
        known: bool,
        template: Option<u8>,
        restarted_at: Option<Timestamp>,
        rolling: Rolling,
        paused: bool,
        takes: Option<i64>,
        /// What was last seen to be wanted, since when, and since when the workload was seen stale.
        seen: Option<String>,
        changed: i64,
        stale_since: i64,
        causes: usize,
        restarts: usize,
    }

    impl Work {
        fn is_stale(&self) -> bool {
            self.template != Some(self.desired)
        }

        fn shown(&self, name: &str) -> Observed {
            let complete = self.rolling == Rolling::No;
            let blocked = |reason| RolloutState::Blocked { reason, complete };
            Observed {
                id: id(name),
                desired: self.known.then(|| self.desired.to_string()),
                template_hash: self.template.map(|t| t.to_string()),
                rollout: match self.rolling {
                    _ if self.paused => blocked(BlockReason::Paused),
                    Rolling::No => RolloutState::Complete,
                    Rolling::Ours(_) => RolloutState::InProgress,
                    Rolling::Other(_) => blocked(BlockReason::BeingRolledByOther),
                },
                restarted_at: self.restarted_at,
            }
        }
    }

    #[derive(Clone, Debug)]
    struct World {
        limits: Limits,
        lag: usize,
        works: Vec<Work>,
        events: Vec<(i64, Event)>,
    }

    const CALM: i64 = 300;
    const END: i64 = 1300;

    fn work() -> impl Strategy<Value = Work> {
        let stamp = prop_oneof![Just(None), (-100_i64..0).prop_map(Some), (1_i64..5000).prop_map(Some)];
        (
            0_u8..3,
            prop::option::of(0_u8..3),
            stamp,
            prop::option::weighted(0.8, 1_i64..40),
        )
            .prop_map(|(desired, template, stamp, takes)| Work {
                version: 0,
                desired,
                known: true,
                template,
                // Ahead of the clock or behind, but never the very millisecond of a start.
                restarted_at: stamp.map(|s| at(s) + Duration::from_millis(500)),
                rolling: Rolling::No,
                paused: false,
                takes,
                seen: None,
                changed: 0,
                stale_since: 0,
                causes: 1,
                restarts: 0,
            })
    }

    fn world() -> impl Strategy<Value = World> {
        let limits = (1_usize..4, 0_u64..30, 0_u64..20, 0_u64..60).prop_map(
            |(max_concurrent, min_interval, quiet_period, max_delay)| Limits {
                max_concurrent,
                min_interval: secs(min_interval),
                quiet_period: secs(quiet_period),
                max_delay: secs(max_delay),
                paused: false,
            },
        );
        let event = prop_oneof![
            8 => (0_usize..6, 0_u8..3).prop_map(|(i, d)| Event::Configure(i, d)),
            2 => (0_usize..6, 1_i64..40, any::<bool>()).prop_map(|(i, t, k)| Event::Deploy(i, t, k)),
            1 => any::<bool>().prop_map(Event::PauseMesh),
            2 => (0_usize..6, any::<bool>()).prop_map(|(i, p)| Event::PauseWorkload(i, p)),
            1 => (0_usize..6).prop_map(Event::Replace),
            1 => (0_usize..6, any::<bool>()).prop_map(|(i, k)| Event::Unknown(i, k)),
            1 => Just(Event::Crash),
        ];
        let works = prop::collection::vec(work(), 1..6);
        let events = prop::collection::vec((0..CALM, event), 0..40);
        (limits, 0_usize..4, works, events).prop_map(|(limits, lag, mut works, mut events)| {
            // Those that never get through hold their slots for ever (until there is a progressDeadline): leave one.
            let stuck = works
                .iter_mut()
                .filter(|w| w.takes.is_none())
                .skip(limits.max_concurrent - 1);
            stuck.for_each(|w| w.takes = Some(30));
            events.sort_by_key(|(at, _)| *at);
            World {
                limits,
                lag,
                works,
                events,
            }
        })
    }

    fn happen(now: i64, event: &Event, works: &mut [Work], limits: &mut Limits) {
        let count = works.len();
        match *event {
            Event::PauseMesh(paused) => limits.paused = paused,
            Event::Crash => {}
            Event::Configure(i, desired) => works[i % count].desired = desired,
            Event::Unknown(i, known) => works[i % count].known = known,
            // Pausing what we roll would free its slot, and going on would take it back without asking.
            Event::PauseWorkload(i, paused) => {
                let work = &mut works[i % count];
                if !matches!(work.rolling, Rolling::Ours(_)) {
                    work.paused = paused;
                    work.version += 1;
                }
            }
            Event::Deploy(i, takes, keeps) => {
                let work = &mut works[i % count];
                work.rolling = Rolling::Other(now + takes);
                work.version += 1;
                if !keeps {
                    work.template = None;
                    work.restarted_at = None;
                    work.causes += 1;
                }
            }
            Event::Replace(i) => {
                // Deleted and made anew.
                let work = &mut works[i % count];
                *work = Work {
                    version: work.version + 1,
                    template: None,
                    restarted_at: None,
                    rolling: Rolling::Other(now + 5),
                    paused: false,
                    causes: work.causes + 1,
                    ..work.clone()
                };
            }
        }
    }

    // One loop that reads from top to bottom like the time that it simulates.
    #[allow(clippy::too_many_lines)]
    fn simulate(world: World) -> Result<(), TestCaseError> {
        let World {
            mut limits,
            lag,
            mut works,
            events,
        } = world;
        let name = |i: usize| format!("w{i}");
        let show = |works: &[Work]| -> Vec<(u64, Observed)> {
            works
                .iter()
                .enumerate()
                .map(|(i, w)| (w.version, w.shown(&name(i))))
                .collect()
        };
        let mut memory = QuietMemory::default();
        let mut history = vec![show(&works)];
        let mut shown_before: Option<Vec<(u64, Observed)>> = None;
        let mut wake = Some(at(0));
        let mut last_start: Option<i64> = None;
        let mut decision = Decision::default();

        for now in 0..END {
            let was: Vec<u8> = works.iter().map(|w| w.desired).collect();
            for (_, event) in events.iter().filter(|(at, _)| *at == now) {
                happen(now, event, &mut works, &mut limits);
                if matches!(event, Event::Crash) {
                    // A new process lists first: it sees what is.
                    memory = QuietMemory::default();
                    history.clear();
                }
                wake = Some(at(now));
            }
            if events
                .iter()
                .any(|(at, event)| *at == now && matches!(event, Event::Crash))
            {
                // The one trace that can be lost: of a workload that is gone or was replaced since.
                last_start = last_start.filter(|last| works.iter().any(|w| w.restarted_at == Some(at(*last))));
            }
            if now == CALM {
                limits.paused = false;
                for work in &mut works {
                    (work.paused, work.known, work.version) = (false, true, work.version + 1);
                }
                wake = Some(at(now));
            }
            for (work, desired) in works.iter_mut().zip(was) {
                if let Rolling::Ours(end) | Rolling::Other(end) = work.rolling
                    && end <= now
                {
                    work.rolling = Rolling::No;
                    work.version += 1;
                }
                work.causes += usize::from(work.desired != desired);
            }
            history.push(show(&works));
            let shown = history[history.len().saturating_sub(1 + lag)].clone();
            for (work, (_, shown)) in works.iter_mut().zip(&shown) {
                // What is not known cannot be seen to change, nor to come in sync.
                let Some(desired) = &shown.desired else { continue };
                if work.seen.as_ref() != Some(desired) {
                    work.seen = Some(desired.clone());
                    work.changed = now;
                }
                if shown.desired == shown.template_hash {
                    work.stale_since = now;
                }
            }
            if shown_before.as_ref() == Some(&shown) && wake.is_none_or(|w| w > at(now)) {
                continue;
            }
            let observed: Vec<Observed> = shown.iter().map(|(_, o)| o.clone()).collect();
            memory.observe(at(now), &observed);
            decision = decide(at(now), &limits, &memory, &observed);
            let reversed: Vec<Observed> = observed.iter().rev().cloned().collect();
            prop_assert_eq!(
                &decision,
                &decide(at(now), &limits, &memory, &reversed),
                "order does not matter"
            );
            prop_assert_eq!(decision.states.len(), works.len());
            prop_assert!(decision.look_again.is_none_or(|t| t > at(now)));
            shown_before = Some(shown.clone());
            wake = decision.look_again;

            for start in &decision.restart {
                let i = (0..works.len()).find(|i| id(&name(*i)) == *start).unwrap();
                if works[i].version != shown[i].0 {
                    // The resourceVersion is another by now: nothing was written.
                    wake = Some(at(now + 1));
                    continue;
                }
                let others = works.iter().enumerate();
                let others = others
                    .filter(|(j, w)| *j != i && matches!(w.rolling, Rolling::Ours(_)))
                    .count();
                prop_assert!(others < limits.max_concurrent, "budget at {}", now);
                let apart = last_start.is_none_or(|last| secs((now - last).unsigned_abs()) >= limits.min_interval);
                prop_assert!(apart, "interval at {}: {:?}", now, last_start);
                prop_assert!(!limits.paused && !works[i].paused, "paused at {}", now);
                prop_assert!(
                    !matches!(works[i].rolling, Rolling::Other(_)),
                    "somebody else's rollout at {}",
                    now
                );
                let wanted: u8 = shown[i].1.desired.as_ref().unwrap().parse().unwrap();
                prop_assert_ne!(works[i].template, Some(wanted), "a cause at {}", now);
                let quiet = secs((now - works[i].changed).unsigned_abs()) >= limits.quiet_period;
                let late = secs((now - works[i].stale_since).unsigned_abs()) >= limits.max_delay;
                prop_assert!(quiet || late, "quiet at {}: {:?}", now, works[i]);

                last_start = Some(now);
                memory.started(start, at(now));
                let work = &mut works[i];
                work.template = Some(wanted);
                work.restarted_at = Some(at(now));
                work.rolling = Rolling::Ours(work.takes.map_or(i64::MAX, |takes| now + takes));
                work.version += 1;
                work.restarts += 1;
                work.stale_since = now;
            }
        }

        for (i, work) in works.iter().enumerate() {
            prop_assert!(!work.is_stale(), "w{} never got what is wanted: {:?}", i, decision);
            if work.takes.is_some() {
                prop_assert_eq!(decision.states[&id(&name(i))], AgentState::InSync);
            }
            prop_assert!(
                work.restarts <= work.causes,
                "{} restarts for {} causes",
                work.restarts,
                work.causes
            );
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn budget_interval_and_quiet_hold_and_all_come_in_sync(world in world()) {
            simulate(world)?;
        }
    }
}
