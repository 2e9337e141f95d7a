//! Who takes back what we write, again and again: how often it is put back before that ends.
//!
//! Kept in memory: an operator that starts anew begins to count again, but for what workloads carry
//! ([`REVERTED`](crate::rollout::template::REVERTED)).

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The time over which edits that were put back are counted.
const SPAN: SignedDuration = SignedDuration::from_hours(1);

/// What we last wrote of an object, and when that put an edit back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contest {
    wanted: Option<String>,
    /// By the field that was edited: hand edits here and there are no fight.
    reverts: BTreeMap<String, Vec<Timestamp>>,
}

impl Contest {
    /// Notes that `wanted` was written to an object in which `field` was not as wanted; `field` is empty where that is the
    /// whole object. It was put back if it is what was written the last time.
    pub fn written(&mut self, wanted: &str, field: &str, now: Timestamp) {
        self.reverts
            .values_mut()
            .for_each(|all| all.retain(|at| is_recent(*at, now)));
        self.reverts.retain(|_, all| !all.is_empty());
        if self.stood(wanted) {
            self.reverts.entry(field.to_owned()).or_default().push(now);
        }
        self.wanted = Some(wanted.to_owned());
    }

    /// What we wrote the last time.
    pub fn last(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// Whether `wanted` is what we wrote the last time: where it does not stand any more, somebody took it back.
    pub fn stood(&self, wanted: &str) -> bool {
        self.wanted.as_deref() == Some(wanted)
    }

    /// When `field` of `wanted` may be put back, where that was done `most` times within an hour already; `None`: at once. What was
    /// never written before is a change of ours and does not wait.
    pub fn waits_until(&self, wanted: &str, field: &str, most: usize, now: Timestamp) -> Option<Timestamp> {
        let all = self.reverts.get(field)?;
        let recent: Vec<Timestamp> = all.iter().copied().filter(|at| is_recent(*at, now)).collect();
        let first = recent.len().checked_sub(most).and_then(|index| recent.get(index))?;
        first.checked_add(SPAN).ok().filter(|_| self.stood(wanted))
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < SPAN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// A contest in which `a` was made, and put back at these minutes.
    fn fought(minutes: &[i64]) -> Contest {
        let mut contest = Contest::default();
        contest.written("a", "", at(0));
        for minute in minutes {
            assert_eq!(contest.waits_until("a", "x", 3, at(*minute)), None, "{minute}");
            contest.written("a", "x", at(*minute));
        }
        contest
    }

    #[test]
    fn after_so_many_times_within_an_hour_it_waits_until_the_first_is_an_hour_old() {
        let contest = fought(&[0, 10, 20]);
        assert_eq!(contest.waits_until("a", "x", 3, at(21)), Some(at(60)));
        let contest = fought(&[0, 10, 20, 60]);
        assert_eq!(contest.waits_until("a", "x", 3, at(61)), Some(at(70)));
    }

    #[test]
    fn a_change_of_ours_is_written_once_in_the_middle_of_a_fight() {
        let mut contest = fought(&[0, 1, 2]);
        assert_eq!(contest.waits_until("b", "x", 3, at(4)), None);
        contest.written("b", "x", at(4));
        assert_eq!(contest.waits_until("b", "x", 3, at(5)), Some(at(60)));
    }

    #[test]
    fn edits_of_several_fields_are_no_fight() {
        assert_eq!(fought(&[0, 1, 2]).waits_until("a", "y", 3, at(4)), None);
    }

    #[test]
    fn changes_of_ours_put_nothing_back() {
        let mut contest = Contest::default();
        for (minute, wanted) in (0..).zip(["a", "b", "c", "d"]) {
            contest.written(wanted, "x", at(minute));
        }
        assert_eq!(contest.waits_until("d", "x", 1, at(5)), None);
        contest.written("d", "x", at(5));
        assert_eq!(contest.waits_until("d", "x", 1, at(6)), Some(at(65)));
    }
}
