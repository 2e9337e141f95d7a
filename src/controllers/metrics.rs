//! The operator's own metrics. Labels are bounded: kinds, outcomes and classes, never names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PassLabels {
    /// Kind of target.
    pub target: &'static str,
    /// `done`, `conflict`, `failed`, `deposed` (the lease was lost meanwhile) or `panicked`.
    pub outcome: &'static str,
}

/// Labels of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// Kind of object.
    pub kind: &'static str,
    /// `apply`, `delete`, `patch` or `status`.
    pub verb: &'static str,
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    /// Passes by kind of target and outcome.
    pub passes: Family<PassLabels, Counter>,
    /// How long passes take, in seconds.
    pub pass_seconds: Histogram,
    /// Writes that the API server took.
    pub writes: Family<WriteLabels, Counter>,
    /// Resources of ours that cannot be read.
    pub unreadable: Gauge,
    /// Targets that wait.
    pub queue_depth: Gauge,
    /// How long the oldest has waited, in seconds.
    pub queue_age_seconds: Gauge,
    /// 1 while this replica writes.
    pub leader: Gauge,
    /// How often it began or ceased to.
    pub leader_transitions: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sightline");
        let passes = Family::default();
        registry.register(
            "passes",
            "Passes by kind of target and outcome; alert on outcome=panicked",
            passes.clone(),
        );
        // A pass without writes takes well under a millisecond, one write some ten, a call's deadline is 10 s.
        let pass_seconds = Histogram::new([0.001, 0.01, 0.05, 0.25, 1.0, 5.0, 10.0]);
        registry.register("pass_duration_seconds", "Duration of passes", pass_seconds.clone());
        let writes = Family::default();
        registry.register(
            "writes",
            "Writes that the API server took; constant on a converged cluster",
            writes.clone(),
        );
        let unreadable = Gauge::default();
        registry.register(
            "unreadable_resources",
            "Resources of sightline.dev that were stored under another schema and cannot be read; their status says why",
            unreadable.clone(),
        );
        let queue_depth = Gauge::default();
        registry.register("queue_depth", "Targets that wait for a pass", queue_depth.clone());
        let queue_age_seconds = Gauge::default();
        registry.register(
            "queue_age_seconds",
            "How long the oldest target has waited",
            queue_age_seconds.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "leader",
            "1 while this replica holds the lease and writes; the sum over replicas is 1, or 0 for a moment",
            leader.clone(),
        );
        let leader_transitions = Counter::default();
        registry.register(
            "leader_transitions",
            "How often this replica became the leader, or ceased to be it",
            leader_transitions.clone(),
        );
        Self {
            registry,
            passes,
            pass_seconds,
            writes,
            unreadable,
            queue_depth,
            queue_age_seconds,
            leader,
            leader_transitions,
        }
    }
}

impl Metrics {
    /// The exposition text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
