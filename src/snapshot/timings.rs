//! The times of the conversation with istiod, in one place.

use std::time::Duration;

/// Times of the conversation with istiod. Seen and chosen, not configurable by users: a hidden flag shortens them in
/// tests.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Shortest time between two writes of a MeshConfig map: each makes istiod push to every proxy. 10 s.
    pub map_interval: Duration,
    /// How long a provider has to stand in MeshConfig before a Telemetry may name it: istiod's watches are not ordered.
    /// 2 s.
    pub provider_settle: Duration,
    /// How long a provider stays in MeshConfig after the last Telemetry that named it went. 60 s.
    pub provider_linger: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            map_interval: Duration::from_secs(10),
            provider_settle: Duration::from_secs(2),
            provider_linger: Duration::from_mins(1),
        }
    }
}

impl Timings {
    /// The times divided by a factor, for tests and the demo.
    #[must_use]
    pub fn divided_by(self, factor: u32) -> Self {
        let factor = factor.max(1);
        Self {
            map_interval: self.map_interval / factor,
            provider_settle: self.provider_settle / factor,
            provider_linger: self.provider_linger / factor,
        }
    }
}
