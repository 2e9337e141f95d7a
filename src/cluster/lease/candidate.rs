//! What a candidate knows of the lease, and what follows from it. Pure: times are arguments.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{Timestamp, Unit};
use tokio::time::Instant;

use super::{LEASE_NAME, LONGEST, Times};

/// Says that the last holder gave the lease back, and has finished its writes before. A lease without a holder and without
/// this was edited by somebody.
pub const RELEASED_BY: &str = "sightline.dev/released-by";

/// Own writes that are remembered in case their answer is lost.
const REMEMBERED: usize = 8;

/// A lease to be written: created where it has no resourceVersion, replaced where it has one.
#[derive(Debug)]
pub struct Claim {
    /// The lease.
    pub lease: Lease,
    grounds: Grounds,
}

/// What is known of other writers when a lease is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grounds {
    /// There is none: it ran out before our eyes, was given back, or is ours.
    Nobody,
    /// There may be one, who has not seen yet that it lost the lease.
    Somebody,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// Writes are allowed from here,
    opens: Instant,
    /// to here.
    until: Instant,
}

#[derive(Debug)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// One replica, as far as the lease is concerned.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    times: Times,
    /// The longest lease time that any candidate was seen to have.
    patience: Duration,
    seen: Option<Seen>,
    held: Option<Held>,
    /// Something was heard that does not fit what is held: look before the next renewal.
    doubtful: bool,
    sent: VecDeque<(LeaseSpec, Grounds)>,
}

impl Candidate {
    /// One that knows nothing yet. The identity is nobody else's, not that of an earlier process in the same pod either.
    pub fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            patience: times.duration,
            seen: None,
            held: None,
            doubtful: false,
            sent: VecDeque::new(),
        }
    }

    /// Until when this replica may write, if it may now.
    pub fn leads(&self, now: Instant) -> Option<Instant> {
        let held = self.held.as_ref();
        held.filter(|held| held.opens <= now && now < held.until)
            .map(|held| held.until)
    }

    /// The next time at which something changes without anybody's doing: the lease runs out, or writing may begin.
    pub fn turn(&self, now: Instant) -> Option<Instant> {
        let turn = match (&self.held, &self.seen) {
            (Some(held), _) => held.opens,
            (None, Some(seen)) => seen.since + self.patience,
            (None, None) => return None,
        };
        Some(turn).filter(|turn| *turn > now)
    }

    /// The renewal of a lease that is ours as far as we know; nothing where we have to look first.
    pub fn renewal(&self, clock: Timestamp) -> Option<Claim> {
        let held = self.held.as_ref().filter(|_| !self.doubtful)?;
        Some(self.claim(Some(&held.lease), clock, Grounds::Nobody))
    }

    /// What to write after the lease was read; nothing while somebody else holds it. `now` is when the answer was there.
    pub fn consider(&mut self, live: Option<&Lease>, now: Instant, clock: Timestamp) -> Option<Claim> {
        let Some(live) = live else {
            self.held = None;
            self.seen = None;
            return Some(self.claim(None, clock, Grounds::Somebody));
        };
        let spec = live.spec.clone().unwrap_or_default();
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        self.patience = self.patience.max(Duration::from_secs(seconds).min(LONGEST));
        // Somebody's label or annotation is no renewal: only the spec counts.
        if self.seen.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.seen = Some(Seen {
                spec: spec.clone(),
                since: now,
            });
        }
        if let Some(grounds) = self.grounds_of_own(&spec) {
            return Some(self.claim(Some(live), clock, grounds));
        }
        // What is ours no more is not trusted when somebody restores it.
        self.held = None;
        self.sent.clear();
        let unchanged_since = self.seen.as_ref().map_or(now, |seen| seen.since);
        let grounds = match spec.holder_identity.as_deref().unwrap_or_default() {
            "" if is_released(live) => Grounds::Nobody,
            "" => Grounds::Somebody,
            // Our name, and not our writing.
            holder if holder == self.identity => Grounds::Somebody,
            _ if now.duration_since(unchanged_since) >= self.patience => Grounds::Nobody,
            _ => return None,
        };
        Some(self.claim(Some(live), clock, grounds))
    }

    /// Notes what is about to be written: its answer may get lost.
    pub fn sent(&mut self, claim: &Claim) {
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent
            .push_back((claim.lease.spec.clone().unwrap_or_default(), claim.grounds));
        self.doubtful = true;
    }

    /// Notes that the claim that was sent last stands, as `stored`. `asked` is from before it was sent, `now` when the
    /// answer was there.
    pub fn stands(&mut self, stored: Lease, asked: Instant, now: Instant) {
        let grounds = self.sent.back().map_or(Grounds::Somebody, |(_, grounds)| *grounds);
        let opens = match (&self.held, grounds) {
            (Some(held), _) => held.opens,
            (None, Grounds::Nobody) => now,
            (None, Grounds::Somebody) => now + self.patience,
        };
        self.seen = Some(Seen {
            spec: stored.spec.clone().unwrap_or_default(),
            since: now,
        });
        self.held = Some(Held {
            lease: stored,
            opens,
            until: asked + self.times.renew_deadline,
        });
        self.doubtful = false;
    }

    /// The lease as it is given back; nothing where it is not surely ours. Writes have to have ended before.
    pub fn release(&mut self, now: Instant, clock: Timestamp) -> Option<Lease> {
        self.leads(now)?;
        let held = self.held.take().filter(|_| !self.doubtful)?;
        let mut lease = held.lease;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(micro_time(clock));
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(RELEASED_BY.into(), self.identity.clone());
        Some(lease)
    }

    fn grounds_of_own(&self, spec: &LeaseSpec) -> Option<Grounds> {
        let held = self.held.as_ref();
        if held.is_some_and(|held| held.lease.spec.as_ref() == Some(spec)) {
            return Some(Grounds::Nobody);
        }
        let sent = self.sent.iter().find(|(sent, _)| sent == spec);
        sent.map(|(_, grounds)| *grounds)
    }

    fn claim(&self, live: Option<&Lease>, clock: Timestamp, grounds: Grounds) -> Claim {
        let mut lease = live.cloned().unwrap_or_default();
        lease.metadata.name = Some(LEASE_NAME.into());
        lease.metadata.managed_fields = None;
        if let Some(annotations) = &mut lease.metadata.annotations {
            annotations.remove(RELEASED_BY);
        }
        let spec = lease.spec.get_or_insert_default();
        let now = micro_time(clock);
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = live
                .map(|_| spec.lease_transitions.unwrap_or(0).saturating_add(1))
                .or(Some(0));
        }
        spec.renew_time = Some(now);
        let seconds = self.times.duration.as_secs() + u64::from(self.times.duration.subsec_nanos() > 0);
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        Claim { lease, grounds }
    }
}

fn is_released(lease: &Lease) -> bool {
    let annotations = lease.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(RELEASED_BY))
}

/// As precise as it is stored, so that what comes back is equal to what was sent.
fn micro_time(clock: Timestamp) -> MicroTime {
    MicroTime(clock.round(Unit::Microsecond).unwrap_or(clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// An API server that keeps one lease and counts its versions.
    #[derive(Default)]
    struct Server {
        lease: Option<Lease>,
        versions: u32,
    }

    impl Server {
        fn put(&mut self, mut lease: Lease) -> Option<Lease> {
            let live = self
                .lease
                .as_ref()
                .and_then(|live| live.metadata.resource_version.as_ref());
            if lease.metadata.resource_version.as_ref() != live {
                return None;
            }
            self.versions += 1;
            lease.metadata.resource_version = Some(self.versions.to_string());
            self.lease = Some(lease.clone());
            Some(lease)
        }

        fn edit(&mut self, edit: impl FnOnce(&mut LeaseSpec)) {
            let mut lease = self.lease.clone().unwrap();
            edit(lease.spec.as_mut().unwrap());
            self.put(lease).unwrap();
        }

        fn holder(&self) -> Option<&str> {
            self.lease.as_ref()?.spec.as_ref()?.holder_identity.as_deref()
        }
    }

    /// A replica with a wall clock of its own, on an hour that all share.
    struct Replica {
        candidate: Candidate,
        start: Instant,
        skew: i64,
    }

    impl Replica {
        fn new(name: &str, start: Instant, skew: i64) -> Self {
            let times = Times::new(15 * S, 10 * S, 2 * S).unwrap();
            Self {
                candidate: Candidate::new(name.into(), times),
                start,
                skew,
            }
        }

        fn clock(&self, now: Instant) -> Timestamp {
            let passed = i64::try_from((now - self.start).as_millis()).unwrap();
            Timestamp::from_millisecond(1_800_000_000_000 + passed + self.skew * 1000).unwrap()
        }

        /// As the elector does it, at once.
        fn turn(&mut self, server: &mut Server, now: Instant) {
            for _ in 0..2 {
                let clock = self.clock(now);
                let known = self.candidate.renewal(clock);
                let claim = known.or_else(|| self.candidate.consider(server.lease.as_ref(), now, clock));
                let Some(claim) = claim else { return };
                self.candidate.sent(&claim);
                if let Some(stored) = server.put(claim.lease) {
                    self.candidate.stands(stored, now, now);
                    return;
                }
            }
        }

        fn leads(&self, now: Instant) -> bool {
            self.candidate.leads(now).is_some()
        }

        fn release(&mut self, server: &mut Server, now: Instant) {
            let lease = self.candidate.release(now, self.clock(now)).unwrap();
            server.put(lease).unwrap();
        }
    }

    /// Two replicas, of which the first leads, and the time by then.
    fn leader_and_standby(skew: i64) -> (Server, Replica, Replica, Instant) {
        let start = Instant::now();
        let (mut server, mut a, mut b) = (
            Server::default(),
            Replica::new("a", start, 0),
            Replica::new("b", start, skew),
        );
        let mut now = start;
        for _ in 0..10 {
            a.turn(&mut server, now);
            b.turn(&mut server, now);
            now += 2 * S;
        }
        assert!(a.leads(now) && !b.leads(now));
        (server, a, b, now)
    }

    /// Runs both until the time is over, with never two that may write; returns when each first might.
    fn run(server: &mut Server, replicas: [&mut Replica; 2], from: Instant, span: Duration) -> [Option<Duration>; 2] {
        let mut first = [None, None];
        let [a, b] = replicas;
        let mut now = from;
        while now < from + span {
            a.turn(server, now);
            b.turn(server, now);
            // Leave that was given lasts until the next turn.
            for tenths in 0..20 {
                let now = now + S * tenths / 10;
                assert!(!(a.leads(now) && b.leads(now)), "two writers after {:?}", now - from);
                for (replica, first) in [&*a, &*b].into_iter().zip(&mut first) {
                    if replica.leads(now) {
                        first.get_or_insert(now - from);
                    }
                }
            }
            now += 2 * S;
        }
        first
    }

    #[test]
    fn whoever_makes_the_lease_waits_for_one_that_somebody_may_have_deleted() {
        let start = Instant::now();
        let (mut server, mut a) = (Server::default(), Replica::new("a", start, 0));
        a.turn(&mut server, start);
        assert_eq!(server.holder(), Some("a"));
        assert!(!a.leads(start + 5 * S));
        assert_eq!(a.candidate.turn(start), Some(start + 15 * S));
        for second in (2..=14).step_by(2) {
            a.turn(&mut server, start + S * second);
        }
        assert!(!a.leads(start + 14 * S) && a.leads(start + 15 * S));
    }

    #[test]
    fn a_leader_may_write_for_the_renew_deadline_after_it_asked_and_no_longer() {
        let (mut server, mut a, _, now) = leader_and_standby(0);
        a.turn(&mut server, now);
        assert!(a.leads(now + 10 * S - S / 10));
        assert!(!a.leads(now + 10 * S));
    }

    #[test]
    fn a_standby_takes_over_when_it_has_seen_the_lease_unchanged_for_its_time_whatever_the_clocks_say() {
        for skew in [0, 600, -600] {
            let (mut server, _, mut b, now) = leader_and_standby(skew);
            // It saw the last renewal 2 s ago.
            let seen = now - 2 * S;
            for second in (0..13).step_by(2) {
                b.turn(&mut server, now + S * second);
                assert!(!b.leads(now + S * second), "skew {skew}");
            }
            assert_eq!(b.candidate.turn(now), Some(seen + 15 * S));
            b.turn(&mut server, seen + 15 * S);
            assert!(b.leads(seen + 15 * S), "skew {skew}");
            assert_eq!(server.lease.unwrap().spec.unwrap().lease_transitions, Some(1));
        }
    }

    #[test]
    fn clocks_that_are_far_apart_never_make_two_leaders_and_take_the_lease_from_nobody() {
        for skew in [600, -600] {
            let (mut server, mut a, mut b, now) = leader_and_standby(skew);
            let first = run(&mut server, [&mut a, &mut b], now, 60 * S);
            assert_eq!(first, [Some(Duration::ZERO), None]);
        }
    }

    #[test]
    fn a_leader_that_was_stopped_finds_the_other_one_and_may_not_write() {
        let (mut server, mut a, mut b, now) = leader_and_standby(0);
        for second in (0..20).step_by(2) {
            b.turn(&mut server, now + S * second);
        }
        let now = now + 20 * S;
        assert!(b.leads(now) && !a.leads(now), "before its first look already");
        a.turn(&mut server, now);
        assert_eq!(server.holder(), Some("b"));
        assert!(!a.leads(now));
    }

    #[test]
    fn of_two_that_take_an_expired_lease_one_gets_it() {
        let (mut server, _, mut b, now) = leader_and_standby(0);
        let mut c = Replica::new("c", now, 0);
        c.turn(&mut server, now - 2 * S);
        let now = now + 20 * S;
        let live = server.lease.clone();
        let claims = [&mut b, &mut c].map(|replica| {
            let clock = replica.clock(now);
            replica.candidate.consider(live.as_ref(), now, clock).unwrap()
        });
        let stored = claims.map(|claim| server.put(claim.lease));
        assert!(stored[0].is_some() && stored[1].is_none());
    }

    #[test]
    fn a_lease_that_is_given_back_is_taken_at_once() {
        let (mut server, mut a, mut b, now) = leader_and_standby(0);
        a.release(&mut server, now);
        assert!(!a.leads(now));
        assert_eq!(server.holder(), None);
        b.turn(&mut server, now);
        assert!(b.leads(now));
        let annotations = server.lease.unwrap().metadata.annotations.unwrap();
        assert!(
            !annotations.contains_key(RELEASED_BY),
            "the next one who vanishes has not said so"
        );
    }

    #[test]
    fn one_that_waits_for_an_unseen_writer_gives_nothing_back() {
        let start = Instant::now();
        let (mut server, mut a) = (Server::default(), Replica::new("a", start, 0));
        a.turn(&mut server, start);
        assert!(a.candidate.release(start + S, a.clock(start)).is_none());
    }

    #[test]
    fn a_deleted_lease_never_makes_two_writers_and_is_made_anew() {
        for b_is_faster in [false, true] {
            let (mut server, mut a, mut b, now) = leader_and_standby(0);
            server.lease = None;
            if b_is_faster {
                b.turn(&mut server, now);
            }
            let first = run(&mut server, [&mut a, &mut b], now, 60 * S);
            let again = first[usize::from(b_is_faster)].unwrap();
            assert!(again >= 14 * S && again < 18 * S, "{first:?}");
        }
    }

    #[test]
    fn an_edit_of_the_holder_never_makes_two_writers() {
        let edits: [fn(&mut LeaseSpec); 5] = [
            |spec| spec.holder_identity = None,
            |spec| spec.holder_identity = Some("b".into()),
            |spec| spec.holder_identity = Some("nobody".into()),
            |spec| spec.lease_duration_seconds = Some(1),
            |spec| *spec = LeaseSpec::default(),
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            for b_is_faster in [false, true] {
                let (mut server, mut a, mut b, now) = leader_and_standby(0);
                server.edit(edit);
                if b_is_faster {
                    b.turn(&mut server, now);
                    assert!(!b.leads(now), "edit {number}");
                    let later = now + 2 * S - S / 10;
                    b.turn(&mut server, later);
                    assert!(!b.leads(later), "edit {number}: a still writes");
                }
                let first = run(&mut server, [&mut a, &mut b], now + 2 * S, 60 * S);
                assert!(first.iter().any(Option::is_some), "edit {number}: nobody ever leads");
            }
        }
    }

    #[test]
    fn a_lease_time_that_somebody_wrote_is_believed_up_to_a_bound() {
        let (mut server, _, mut b, now) = leader_and_standby(0);
        server.edit(|spec| spec.lease_duration_seconds = Some(1_000_000));
        b.turn(&mut server, now);
        assert_eq!(b.candidate.turn(now), Some(now + LONGEST));
    }

    #[test]
    fn a_label_on_the_lease_is_neither_a_renewal_nor_a_break() {
        let (mut server, mut a, mut b, now) = leader_and_standby(0);
        let label = |server: &mut Server| {
            let mut lease = server.lease.clone().unwrap();
            lease.metadata.labels = Some([("a".to_owned(), server.versions.to_string())].into());
            server.put(lease).unwrap();
        };
        label(&mut server);
        a.turn(&mut server, now);
        assert!(a.leads(now), "goes on without a pause");
        b.turn(&mut server, now);
        label(&mut server);
        b.turn(&mut server, now + 10 * S);
        b.turn(&mut server, now + 15 * S);
        assert!(b.leads(now + 15 * S), "the label did not renew it");
        assert!(server.lease.unwrap().metadata.labels.is_some(), "and is still there");
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_is_known_again() {
        let (mut server, mut a, _, now) = leader_and_standby(0);
        let claim = a.candidate.renewal(a.clock(now)).unwrap();
        a.candidate.sent(&claim);
        server.put(claim.lease).unwrap();
        assert!(a.candidate.renewal(a.clock(now)).is_none(), "has to look first");
        a.turn(&mut server, now + 2 * S);
        assert!(a.leads(now + 11 * S));
    }

    #[test]
    fn an_identity_that_was_ours_by_name_only_is_not_trusted() {
        let (mut server, mut a, _, now) = leader_and_standby(0);
        server.edit(|spec| spec.holder_identity = Some("b".into()));
        a.turn(&mut server, now);
        assert!(!a.leads(now));
        server.edit(|spec| spec.holder_identity = Some("a".into()));
        a.turn(&mut server, now + S);
        assert_eq!(server.holder(), Some("a"));
        assert!(!a.leads(now + 10 * S), "b may have been told so as well");
    }
}
