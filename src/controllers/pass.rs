//! One pass over one target: plan, then do what the plan says.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::runtime::RuntimeFlavor;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::Operator;
use super::metrics::{PassLabels, WriteLabels};
use super::queue::Outcome;
use crate::cluster::api::{CallError, ErrorClass};
use crate::cluster::kmesh;
use crate::cluster::lease::fence::{NotLeading, Term};
use crate::conditions::{ConditionType, Finding, Reason, to_conditions, with_ready};
use crate::crds::WorkloadRef;
use crate::plan::kmesh::Ask;
use crate::plan::{Apply, Delete, Finalizer, Memory, ObjectPatch, Plan, Status, Target, judge, plan};
use crate::snapshot::{Contest, Key, Kind, key_of};

/// Longest that one pass may take.
const PASS_DEADLINE: Duration = Duration::from_mins(1);
/// An object whose patch was refused is tried again after this long.
const REFUSED_RETRY: Duration = Duration::from_secs(30);
/// Daemons of Kmesh's that are asked at once.
const DAEMONS_AT_ONCE: usize = 8;
/// How long a status waits for facts that are still being read.
const READING: Duration = Duration::from_secs(8);

impl Operator {
    /// Runs a pass: as the leader, or as a standby.
    pub(super) async fn pass(&self, target: &Target) -> Outcome {
        let outcome = match self.fence.term() {
            Some(term) => self.lead(target, term).await,
            None => self.stand_by(target),
        };
        if !self.exists(target) {
            self.forget(target);
            self.reads_changed.notify_one();
            return Outcome::Done(None);
        }
        outcome
    }

    /// Plans, so that what a leader reads is read and watched here as well, and leaves it at that.
    fn stand_by(&self, target: &Target) -> Outcome {
        match self.make_plan(target, None) {
            Ok(_) => Outcome::Done(None),
            Err(panic) => {
                error!(%target, panic, "a bug: planning failed; other targets go on");
                Outcome::Failed
            }
        }
    }

    /// Plans and executes.
    async fn lead(&self, target: &Target, term: Term) -> Outcome {
        let started = Instant::now();
        let (outcome, label) = match self.make_plan(target, Some(term)) {
            Err(panic) => {
                error!(%target, panic, "a bug: planning failed; other targets go on");
                self.tell_bug(target).await;
                (Outcome::Failed, "panicked")
            }
            Ok(plan) => self.carry_out(target, plan, term).await,
        };
        self.metrics
            .passes
            .get_or_create(&PassLabels {
                target: target.kind(),
                outcome: label,
            })
            .inc();
        self.metrics.pass_seconds.observe(started.elapsed().as_secs_f64());
        outcome
    }

    /// Executes a plan within the term that it was made in, and within the deadline.
    async fn carry_out(&self, target: &Target, plan: Plan, term: Term) -> (Outcome, &'static str) {
        let work = tokio::time::timeout(PASS_DEADLINE, Box::pin(self.execute(target, plan, term)));
        match self.fence.within(term, work).await {
            Ok(Ok(Ok(next))) => (Outcome::Done(Some(next)), "done"),
            // What had to be written is up to the next leader, or to our next term, which begins with a look at everything.
            Err(NotLeading) => (Outcome::Done(None), "deposed"),
            Ok(Ok(Err(_))) if self.fence.term() != Some(term) => (Outcome::Done(None), "deposed"),
            Ok(Ok(Err(error))) if error.class() == ErrorClass::Conflict => {
                debug!(%target, %error, "somebody was faster; looking again");
                (Outcome::Conflict, "conflict")
            }
            Ok(Ok(Err(error))) => {
                warn!(%target, %error, class = ?error.class(), "pass failed; trying again");
                (Outcome::Failed, "failed")
            }
            Ok(Err(_)) => {
                warn!(%target, "pass took too long; trying again");
                (Outcome::Failed, "failed")
            }
        }
    }

    /// Forgets a target that is gone.
    fn forget(&self, target: &Target) {
        self.store.forget(target);
        self.queue.forget(target);
        self.status_written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(target);
        self.status_held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(target);
        if let Target::Rollout(mesh) = target {
            let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
            quiet.meshes.remove(mesh);
        }
    }

    /// Plans. A panic is caught: it must not stop the others.
    fn make_plan(&self, target: &Target, term: Option<Term>) -> Result<Plan, String> {
        let key = self.hash_key.read().unwrap_or_else(PoisonError::into_inner).clone();
        let attempt = beside_the_others(|| {
            isolated(|| {
                // Only those who ask the governor share its memory: the others need not wait for each other.
                let mut unshared = BTreeMap::new();
                let mut shared = term
                    .filter(|_| target.asks_the_governor())
                    .map(|term| (self.quiet.lock().unwrap_or_else(PoisonError::into_inner), term));
                self.store
                    .read(target, Timestamp::now(), self.settings.timings, |view| {
                        let quiet = match &mut shared {
                            Some((quiet, term)) => quiet.of(*term),
                            None => &mut unshared,
                        };
                        let mut memory = Memory {
                            quiet,
                            hash_key: key.as_deref(),
                        };
                        plan(view, target, &mut memory)
                    })
            })
        });
        self.reads_changed.notify_one();
        attempt
    }

    /// Does what a plan says; returns when to look again.
    async fn execute(&self, target: &Target, plan: Plan, term: Term) -> Result<Instant, CallError> {
        let Plan {
            apply,
            delete,
            patch,
            daemons,
            statuses,
            events,
            finalizer,
            desired: _,
            blocked: _,
            map_findings,
            look_again,
        } = plan;
        if let Some((map, findings)) = map_findings {
            self.queue
                .add_all(self.store.change(|snapshot| snapshot.note_map_findings(&map, findings)));
        }
        let mut refused = None;
        for apply in apply {
            let key = key_of(&apply.object);
            let result = match &apply.replaces {
                Some(old) => self.replace(target, old, &apply).await,
                None => self.cluster.apply(&apply).await,
            };
            self.note_refusal(apply.kind, &key, &result);
            let live = match result {
                // One object that is refused does not hold up the others.
                Err(error) if error.class() == ErrorClass::Refused => {
                    refused.get_or_insert(error);
                    continue;
                }
                result => result?,
            };
            info!(%target, kind = apply.kind.names().1, %key, "applied");
            self.wrote(apply.kind, "apply");
            self.note_map_write(target);
            self.note_contest(apply.kind, &key, &apply.digest, &apply.edited);
            self.put(apply.kind, live, apply.live.is_none());
        }
        let mut next = Instant::now() + self.settings.resync.mul_f64(rand::random_range(0.8..1.2));
        for patch in patch {
            // Noted before the call: one that the API server took and whose answer was lost counts as begun.
            if let Some(at) = patch.starts {
                self.note_restart(target, &patch, Some(at), term);
            }
            let result = self.cluster.patch(&patch).await;
            self.note_refusal(patch.kind, &patch.key, &result);
            let live = match result {
                Ok(live) => live,
                Err(error) => {
                    if error.class() != ErrorClass::Transient {
                        self.note_restart(target, &patch, None, term);
                    }
                    if error.class() != ErrorClass::Refused {
                        return Err(error);
                    }
                    // One that may not be patched does not hold up the others of its mesh.
                    warn!(%target, kind = patch.kind.names().1, key = %patch.key, %error, "patch refused; trying again");
                    next = next.min(Instant::now() + REFUSED_RETRY);
                    continue;
                }
            };
            info!(%target, kind = patch.kind.names().1, key = %patch.key, restarts = patch.starts.is_some(), "patched");
            self.note_map_write(target);
            if let Some(wanted) = &patch.wanted {
                self.note_contest(patch.kind, &patch.key, wanted, &patch.edited);
            }
            self.wrote(patch.kind, "patch");
            self.put(patch.kind, live, false);
        }
        for delete in delete {
            self.delete(target, &delete).await?;
        }
        self.ask(target, daemons).await;
        for status in statuses {
            if let Some(later) = self.write_status(&status).await? {
                next = next.min(later);
            }
        }
        if let (Some(change), Target::Mesh(name)) = (finalizer, target) {
            let mesh = self.store.peek(|snapshot| snapshot.meshes.get(name).cloned());
            if let Some(mesh) = mesh {
                let present = mesh.metadata.finalizers.clone().unwrap_or_default();
                let version = mesh.metadata.resource_version.as_deref();
                let written = self.cluster.write_finalizer(name, &present, version, change).await?;
                if let Some(object) = written.filter(|_| change == Finalizer::Set) {
                    self.put_own(target, &object);
                }
            }
        }
        for event in events {
            let uid = self.uid_of(&event.about);
            self.events.tell(&event, uid).await;
        }
        if let Some(at) = look_again {
            let wait = at.duration_since(Timestamp::now());
            // A moment more, so that the time has come for sure.
            let wait = Duration::try_from(wait).unwrap_or_default() + Duration::from_millis(10);
            next = next.min(Instant::now() + wait);
        }
        refused.map_or(Ok(next), Err)
    }

    /// Deletes an object and makes it again, unless it would be refused.
    async fn replace(&self, target: &Target, old: &Delete, apply: &Apply) -> Result<Value, CallError> {
        self.cluster.try_out(apply).await?;
        self.delete(target, old).await?;
        self.cluster.apply(apply).await
    }

    /// Asks daemons, some at once, and remembers how it went. One that is sick does not hold up the others.
    async fn ask(&self, target: &Target, daemons: Vec<Ask>) {
        let ask = |ask: Ask| async move {
            let client = self.cluster.client();
            let outcome = match ask.conversation.clone() {
                Some(conversation) => Some(kmesh::converse(client, &ask.daemon, conversation).await),
                None => None,
            };
            // Evidence is welcome and not needed: a daemon without metrics is as one without traffic. Who does not answer is
            // not waited for twice.
            let evidence = if ask.looks && !matches!(outcome, Some(Err(_))) {
                kmesh::look(client, &ask.daemon).await.ok()
            } else {
                None
            };
            (ask, outcome, evidence)
        };
        let mut answers = stream::iter(daemons).map(ask).buffer_unordered(DAEMONS_AT_ONCE);
        while let Some((ask, outcome, evidence)) = answers.next().await {
            match &outcome {
                Some(Ok(_)) => {
                    info!(%target, daemon = %ask.daemon, "switches set");
                    let label = WriteLabels {
                        kind: "Daemon",
                        verb: "set",
                    };
                    self.metrics.writes.get_or_create(&label).inc();
                }
                Some(Err(trouble)) => warn!(%target, daemon = %ask.daemon, ?trouble, "switches not set; trying again"),
                None => {}
            }
            let asked = ask.done(outcome, evidence, Timestamp::now());
            let told = self.store.change(|snapshot| snapshot.note_asked(&ask.daemon, asked));
            self.queue.add_all(told);
        }
    }

    async fn delete(&self, target: &Target, delete: &Delete) -> Result<(), CallError> {
        self.cluster.delete(delete).await?;
        info!(%target, kind = delete.kind.names().1, key = %delete.key, "deleted");
        self.wrote(delete.kind, "delete");
        let now = Timestamp::now();
        self.queue.add_all(self.store.change(|snapshot| {
            // That it is gone is nobody else's doing.
            *snapshot.contest_mut(delete.kind, &delete.key) = Contest::default();
            snapshot.remove(delete.kind, &delete.key, now)
        }));
        Ok(())
    }

    /// Notes that a MeshConfig map was written, if it is the target: the next write waits.
    fn note_map_write(&self, target: &Target) {
        let Target::MeshConfig(map) = target else { return };
        let now = Timestamp::now();
        self.store.change(|snapshot| {
            snapshot.note_map_write(map, now);
            std::collections::BTreeSet::new()
        });
    }

    fn wrote(&self, kind: Kind, verb: &'static str) {
        self.metrics
            .writes
            .get_or_create(&WriteLabels {
                kind: kind.names().1,
                verb,
            })
            .inc();
    }

    /// Puts the answer to a write into the store at once: the next plan sees it, whatever the watch's lag.
    fn put(&self, kind: Kind, live: Value, creates: bool) {
        let now = Timestamp::now();
        let told = self.store.change(|snapshot| {
            // What the watch has seen go meanwhile stays gone.
            if creates || snapshot.object(kind, &key_of(&live)).is_some() {
                snapshot.put(kind, Arc::new(live), now)
            } else {
                std::collections::BTreeSet::new()
            }
        });
        self.queue.add_all(told);
    }

    /// Notes a write that somebody may take back.
    fn note_contest(&self, kind: Kind, key: &Key, wanted: &str, edited: &str) {
        let now = Timestamp::now();
        self.store.change(|snapshot| {
            snapshot.contest_mut(kind, key).written(wanted, edited, now);
            std::collections::BTreeSet::new()
        });
    }

    fn note_refusal<T>(&self, kind: Kind, key: &Key, result: &Result<T, CallError>) {
        let why = result.as_ref().err().and_then(CallError::refusal);
        let told = self
            .store
            .change(|snapshot| snapshot.note_refusal(kind, key, why.as_deref()));
        self.queue.add_all(told);
    }

    /// Notes the start of a restart, or (`None`) that it did not begin after all.
    fn note_restart(&self, target: &Target, patch: &ObjectPatch, at: Option<Timestamp>, term: Term) {
        let (Some(governor), Some(kind)) = (target.governor(), patch.kind.workload()) else {
            return;
        };
        let id = WorkloadRef {
            kind,
            namespace: patch.key.namespace.clone(),
            name: patch.key.name.clone(),
        };
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = quiet.of(term).entry(governor.to_owned()).or_default();
        match at {
            Some(at) => memory.started(&id, at),
            None => memory.not_started(&id),
        }
    }

    fn uid_of(&self, target: &Target) -> Option<String> {
        self.store.peek(|snapshot| snapshot.metadata_of(target)?.uid.clone())
    }

    /// Writes a status where it differs; returns when to try again what is held back.
    async fn write_status(&self, status: &Status) -> Result<Option<Instant>, CallError> {
        let before = self.store.peek(|snapshot| snapshot.status_of(&status.of));
        let Some(before) = before else { return Ok(None) };
        if let Some(later) = self.hold_back(status, &before) {
            return Ok(Some(later));
        }
        let old: Vec<Condition> = before
            .get("conditions")
            .and_then(|c| serde_json::from_value(c.clone()).ok())
            .unwrap_or_default();
        let conditions = to_conditions(&status.findings, &old, status.generation, Timestamp::now());
        let mut after = status.fields.clone();
        let same_conditions = conditions == old;
        after.insert(
            "conditions".into(),
            serde_json::to_value(&conditions).unwrap_or_default(),
        );
        if let Some(generation) = status.generation {
            after.insert("observedGeneration".into(), Value::from(generation));
        }
        if after == before {
            return Ok(None);
        }
        if same_conditions {
            let last = self
                .status_written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&status.of)
                .copied();
            if let Some(next) = last
                .map(|at| at + self.settings.status_interval)
                .filter(|next| *next > Instant::now())
            {
                return Ok(Some(next));
            }
        }
        let ready = old
            .iter()
            .find(|c| c.type_ == ConditionType::Ready.as_str())
            .map(|c| (c.status.clone(), c.reason.clone()));
        let written = self.cluster.write_status(&status.of, &Value::Object(after)).await?;
        self.status_written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(status.of.clone(), Instant::now());
        self.metrics
            .writes
            .get_or_create(&WriteLabels {
                kind: status.of.kind(),
                verb: "status",
            })
            .inc();
        if let Some(object) = written {
            self.put_own(&status.of, &object);
        }
        let before = ready
            .as_ref()
            .map(|(status, reason)| (status.as_str(), reason.as_str()));
        if let Some(event) = judge::ready_event(&status.of, before, &status.findings) {
            let uid = self.uid_of(&status.of);
            self.events.tell(&event, uid).await;
        }
        Ok(None)
    }

    /// A status of this very generation is not replaced by one that only says that we are still reading: after a start
    /// the old one is right as a rule. Not for long, though: reading that does not end has to be told.
    fn hold_back(&self, status: &Status, before: &Map<String, Value>) -> Option<Instant> {
        let mut held = self.status_held.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = before.get("observedGeneration").and_then(Value::as_i64);
        // After a start we know by the second only since when a provider stands in MeshConfig.
        let waits_again = is_ready(before) && status.findings.iter().any(|f| f.reason == Reason::ProviderPending);
        let provisional = status.provisional || waits_again;
        if !provisional || judged.is_none() || judged != status.generation {
            held.remove(&status.of);
            return None;
        }
        let since = *held.entry(status.of.clone()).or_insert_with(Instant::now);
        Some(since + READING).filter(|until| *until > Instant::now())
    }

    /// Puts a resource with its new status into the store, so that the next pass compares with it.
    fn put_own(&self, target: &Target, object: &Value) {
        let told = self.store.change(|snapshot| {
            // What the watch has seen go meanwhile stays gone.
            if snapshot.metadata_of(target).is_none() {
                return std::collections::BTreeSet::new();
            }
            // The watch tells what cannot be read.
            snapshot.put_own(target, object).0
        });
        self.queue.add_all(told);
    }

    /// Says on the resource that we failed on it.
    async fn tell_bug(&self, target: &Target) {
        let finding = Finding::unknown(
            ConditionType::Accepted,
            Reason::InternalError,
            "Sightline failed on this resource; its log says where. Please report it.",
        );
        let generation = self.store.peek(|snapshot| snapshot.metadata_of(target)?.generation);
        let status = Status::new(target.clone(), generation, with_ready(vec![finding]), Map::new());
        if let Err(error) = self.write_status(&status).await {
            warn!(%target, %error, "status not written");
        }
    }
}

/// Whether a status as written says Ready.
fn is_ready(status: &Map<String, Value>) -> bool {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let is = |condition: &Value, key: &str, text: &str| condition.get(key).and_then(Value::as_str) == Some(text);
    let mut all = conditions.into_iter().flatten();
    all.any(|condition| is(condition, "type", ConditionType::Ready.as_str()) && is(condition, "status", "True"))
}

/// Runs what computes for a while, and lets other tasks have the thread: a lease that is renewed too late is lost.
fn beside_the_others<T>(work: impl FnOnce() -> T) -> T {
    // A runtime of one thread (of a test) has none to spare.
    match tokio::runtime::Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs what may panic; the panic's message is the error.
fn isolated<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn while_a_plan_is_computed_other_tasks_have_the_thread() {
        let (other_ran, told) = std::sync::mpsc::channel();
        let plan = tokio::spawn(async move { beside_the_others(|| told.recv_timeout(Duration::from_secs(30))) });
        tokio::spawn(async move { other_ran.send(()) });
        assert_eq!(plan.await.unwrap(), Ok(()));
    }

    #[test]
    fn a_panic_of_one_target_is_an_error_of_that_target_and_leaves_its_locks_usable() {
        let lock = Mutex::new(1);
        let failed: Result<(), String> = isolated(|| {
            let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            panic!("number {}", 7);
        });
        assert_eq!(failed, Err("number 7".to_owned()));
        let next = isolated(|| *lock.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(next, Ok(1));
    }
}
