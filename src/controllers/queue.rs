//! The work queue: keyed, so that a target waits once however often it is told, and never runs twice at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::plan::Target;

/// First delay after a failure; it doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Longest delay after failures.
const LONGEST_DELAY: Duration = Duration::from_mins(1);

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; look again then, if at all.
    Done(Option<Instant>),
    /// Somebody was faster: look again soon, this is no failure.
    Conflict,
    /// It failed: wait, longer each time. Triggers in between wait too.
    Failed,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Target>,
    waiting: BTreeSet<Target>,
    running: BTreeSet<Target>,
    again: BTreeSet<Target>,
    due: BTreeMap<Target, Instant>,
    /// The same by time: the next one is found without a look at all.
    due_by_time: BTreeSet<(Instant, Target)>,
    failures: HashMap<Target, (u32, Instant)>,
    since: HashMap<Target, Instant>,
    closed: bool,
}

/// The queue.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a pass as soon as may be.
    pub fn add(&self, target: Target) {
        let now = Instant::now();
        {
            let mut state = self.state();
            match state
                .failures
                .get(&target)
                .map(|(_, until)| *until)
                .filter(|until| *until > now)
            {
                // A failing target is not hurried by what its own failures cause.
                Some(until) => state.schedule(target, until),
                None => state.make_ready(target, now),
            }
        }
        self.changed.notify_one();
    }

    /// Asks for a pass over each.
    pub fn add_all(&self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            self.add(target);
        }
    }

    /// Forgets a target that is gone: its failures and its next time.
    pub fn forget(&self, target: &Target) {
        let mut state = self.state();
        state.failures.remove(target);
        state.not_due(target);
    }

    /// The next target to run; `None` once the queue is closed.
    pub async fn next(&self) -> Option<Target> {
        loop {
            let changed = self.changed.notified();
            let wake = {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                state.take_due(Instant::now());
                if let Some(target) = state.pop() {
                    drop(state);
                    // Another worker may have slept on what this one leaves.
                    self.changed.notify_one();
                    return Some(target);
                }
                state.due_by_time.first().map(|(at, _)| *at)
            };
            match wake {
                Some(at) => {
                    tokio::select! { () = changed => {}, () = tokio::time::sleep_until(at) => {} }
                }
                None => changed.await,
            }
        }
    }

    /// Tells how a pass ended.
    pub fn done(&self, target: &Target, outcome: Outcome) {
        let now = Instant::now();
        {
            let mut state = self.state();
            state.running.remove(target);
            match outcome {
                Outcome::Done(next) => {
                    state.failures.remove(target);
                    if let Some(at) = next {
                        state.schedule(target.clone(), at);
                    }
                }
                Outcome::Conflict => state.schedule(target.clone(), now + FIRST_DELAY),
                Outcome::Failed => {
                    let failures = state.failures.get(target).map_or(0, |(n, _)| *n) + 1;
                    let until = now + jittered(delay(failures));
                    state.failures.insert(target.clone(), (failures, until));
                    state.again.remove(target);
                    state.schedule(target.clone(), until);
                }
            }
            if state.again.remove(target) {
                state.make_ready(target.clone(), now);
            }
        }
        self.changed.notify_one();
    }

    /// Takes no more work; workers end after what they run.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// How many targets wait, and for how long the oldest has.
    pub fn backlog(&self) -> (usize, Duration) {
        let state = self.state();
        let oldest = state.since.values().min().map_or(Duration::ZERO, Instant::elapsed);
        (state.ready.len(), oldest)
    }
}

impl State {
    fn make_ready(&mut self, target: Target, now: Instant) {
        if self.running.contains(&target) {
            self.again.insert(target);
        } else if self.waiting.insert(target.clone()) {
            self.not_due(&target);
            self.since.insert(target.clone(), now);
            self.ready.push_back(target);
        }
    }

    fn schedule(&mut self, target: Target, at: Instant) {
        if self.due.get(&target).is_none_or(|have| at < *have) {
            self.not_due(&target);
            self.due_by_time.insert((at, target.clone()));
            self.due.insert(target, at);
        }
    }

    fn not_due(&mut self, target: &Target) {
        if let Some(at) = self.due.remove(target) {
            self.due_by_time.remove(&(at, target.clone()));
        }
    }

    fn take_due(&mut self, now: Instant) {
        while let Some((at, target)) = self.due_by_time.first().cloned() {
            if at > now {
                return;
            }
            self.not_due(&target);
            self.make_ready(target, now);
        }
    }

    fn pop(&mut self) -> Option<Target> {
        let target = self.ready.pop_front()?;
        self.waiting.remove(&target);
        self.since.remove(&target);
        self.running.insert(target.clone());
        Some(target)
    }
}

fn delay(failures: u32) -> Duration {
    FIRST_DELAY
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)))
        .min(LONGEST_DELAY)
}

fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::Mesh(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_waits_once_however_often_it_is_told() {
        let queue = Queue::default();
        for _ in 0..3 {
            queue.add(target("a"));
        }
        assert_eq!(queue.next().await, Some(target("a")));
        assert_eq!(queue.backlog().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_target_that_is_told_runs_once_more_afterwards_and_not_meanwhile() {
        let queue = Queue::default();
        queue.add(target("a"));
        queue.next().await;
        queue.add(target("a"));
        queue.add(target("b"));
        assert_eq!(queue.next().await, Some(target("b")));
        assert_eq!(queue.backlog().0, 0, "a runs");
        queue.done(&target("a"), Outcome::Done(None));
        assert_eq!(queue.next().await, Some(target("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_target_waits_longer_each_time_and_no_trigger_hurries_it() {
        let queue = Queue::default();
        queue.add(target("a"));
        let mut waits = Vec::new();
        for _ in 0..4 {
            let from = Instant::now();
            queue.next().await;
            waits.push(from.elapsed());
            queue.done(&target("a"), Outcome::Failed);
            queue.add(target("a"));
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits[1] >= FIRST_DELAY / 2 && waits[3] >= FIRST_DELAY * 2, "{waits:?}");
        queue.next().await;
        queue.done(&target("a"), Outcome::Done(None));
        let from = Instant::now();
        queue.add(target("a"));
        queue.next().await;
        assert_eq!(from.elapsed(), Duration::ZERO, "a success forgets the failures");
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_comes_back_at_its_time_unless_a_trigger_is_earlier() {
        let queue = Queue::default();
        queue.add(target("a"));
        queue.next().await;
        let start = Instant::now();
        queue.done(&target("a"), Outcome::Done(Some(start + Duration::from_secs(3))));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 3);
        queue.done(&target("a"), Outcome::Done(Some(start + Duration::from_mins(1))));
        queue.add(target("a"));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_hands_out_nothing_more() {
        let queue = Queue::default();
        queue.add(target("a"));
        queue.close();
        assert_eq!(queue.next().await, None);
    }
}
