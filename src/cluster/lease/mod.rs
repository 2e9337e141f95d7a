//! Leader election: of several replicas one writes, by a Lease as client-go keeps it.
//!
//! - [`candidate`]: who may write, and from when to when. Pure: times are arguments.
//! - [`elector`]: the calls and the loop.
//! - [`fence`]: what lets a write through, or not.
//!
//! Clocks of replicas are never compared. A lease runs out when a candidate has seen it unchanged for the lease time by
//! its own monotonic clock; a leader's leave to write counts from before it asked, and ends earlier than the lease. Every
//! write of the lease is a `replace` of the very version that was looked at, so of two candidates one gets a 409.
//!
//! Whatever is done to the lease by hand, at most one replica writes: a holder who vanished without saying so (the lease
//! is gone, or its holder was edited) may not have seen it yet, so whoever takes such a lease waits for one lease time
//! before its first write.

pub mod candidate;
pub mod elector;
pub mod fence;

use std::time::Duration;

/// Name of the Lease, in the operator's namespace.
pub const LEASE_NAME: &str = "sightline";

/// Longest lease time that can be chosen, and that a lease which somebody edited can claim.
pub const LONGEST: Duration = Duration::from_mins(5);

/// A timer may fire a moment before its time, and the clock is looked at then: timers are set so much later.
const TICK: Duration = Duration::from_millis(1);

/// Times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

/// Times that make no election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimesError {
    /// Too short or too long.
    #[error("a lease time of {0:?} is not between 1s and {LONGEST:?}; choose another --lease-duration")]
    Duration(Duration),
    /// A leader would write on after its lease has run out.
    #[error("--lease-renew-deadline ({0:?}) has to be shorter than --lease-duration ({1:?})")]
    Deadline(Duration, Duration),
    /// A leader would lose its lease by one renewal that fails.
    #[error("--lease-retry-period ({0:?}) has to be more than zero and at most half of --lease-renew-deadline ({1:?})")]
    Retry(Duration, Duration),
}

impl Times {
    /// - `duration`: a lease that is seen unchanged for so long has run out. 1 s to [`LONGEST`].
    /// - `renew_deadline`: a leader writes for so long after its last renewal. What is between the two is for requests that
    ///   are cut off on our side and still being worked on by the API server.
    /// - `retry`: time between two renewals, or looks.
    pub fn new(duration: Duration, renew_deadline: Duration, retry: Duration) -> Result<Self, TimesError> {
        if !(Duration::from_secs(1)..=LONGEST).contains(&duration) {
            return Err(TimesError::Duration(duration));
        }
        if renew_deadline >= duration {
            return Err(TimesError::Deadline(renew_deadline, duration));
        }
        if retry.is_zero() || retry > renew_deadline / 2 {
            return Err(TimesError::Retry(retry, renew_deadline));
        }
        Ok(Self {
            duration,
            renew_deadline,
            retry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_could_make_two_leaders_or_none_are_refused() {
        let s = Duration::from_secs;
        assert!(Times::new(s(15), s(10), s(2)).is_ok());
        assert_eq!(
            Times::new(Duration::ZERO, s(10), s(2)),
            Err(TimesError::Duration(Duration::ZERO))
        );
        assert_eq!(Times::new(s(301), s(10), s(2)), Err(TimesError::Duration(s(301))));
        assert_eq!(Times::new(s(15), s(15), s(2)), Err(TimesError::Deadline(s(15), s(15))));
        assert_eq!(Times::new(s(15), s(10), s(6)), Err(TimesError::Retry(s(6), s(10))));
        assert_eq!(
            Times::new(s(15), s(10), s(0)),
            Err(TimesError::Retry(Duration::ZERO, s(10)))
        );
    }
}
