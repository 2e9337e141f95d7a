//! The times of the conversation with istiod, and with Kmesh's daemons, in one place.

use std::time::Duration;

/// Times of the conversation with istiod, and with Kmesh's daemons. Seen and chosen, not configurable by users: hidden
/// flags shorten them in tests.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Shortest time between two writes of a MeshConfig map: each makes istiod push to every proxy. 10 s.
    pub map_interval: Duration,
    /// How long a provider has to stand in MeshConfig before a Telemetry may name it: istiod's watches are not ordered.
    /// 2 s.
    pub provider_settle: Duration,
    /// How long a provider stays in MeshConfig after the last Telemetry that named it went. 60 s.
    pub provider_linger: Duration,
    /// How long what a daemon of Kmesh's took counts as said: it is said again at the first look after that. Half of the
    /// time between two looks, so that it is said at each: 5 min.
    pub switches_said: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            map_interval: Duration::from_secs(10),
            provider_settle: Duration::from_secs(2),
            provider_linger: Duration::from_mins(1),
            switches_said: Duration::from_mins(5),
        }
    }
}

impl Timings {
    /// The times of the conversation with istiod divided by a factor, for tests and the demo.
    #[must_use]
    pub fn divided_by(self, factor: u32) -> Self {
        let factor = factor.max(1);
        Self {
            map_interval: self.map_interval / factor,
            provider_settle: self.provider_settle / factor,
            provider_linger: self.provider_linger / factor,
            ..self
        }
    }

    /// The times where everything is looked at so often although nothing changes.
    #[must_use]
    pub fn with_resync(self, resync: Duration) -> Self {
        Self {
            switches_said: resync / 2,
            ..self
        }
    }
}
