//! Metricbeat's module `prometheus`: a file of `modules.d`.

use serde::Serialize;
use serde_json::{Value, json};

use super::series::Selection;
use crate::crds::{Metricbeat, Metricset};

/// Key of the module.
pub const MODULE_KEY: &str = "prometheus.yml";

#[derive(Serialize)]
struct PrometheusModule<'a> {
    module: &'static str,
    metricsets: [&'static str; 1],
    period: &'a str,
    use_types: bool,
    rate_counters: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_filters: Option<Filters>,
}

#[derive(Serialize)]
struct Filters {
    include: Vec<String>,
}

/// The module. What Prometheus sends is not filtered here: the sender is told which series.
pub fn module(metricbeat: &Metricbeat, path: &str, selection: &Selection) -> Value {
    let collects = metricbeat.metricset == Metricset::Collector;
    let include = selection.regexes().filter(|_| collects);
    let anchored = |regex: String| format!("^{regex}$");
    json!([PrometheusModule {
        module: "prometheus",
        metricsets: [if collects { "collector" } else { "remote_write" }],
        period: &metricbeat.period.0,
        use_types: true,
        rate_counters: true,
        // The default is localhost, which no other Pod reaches.
        host: (!collects).then_some("0.0.0.0"),
        port: metricbeat.port.map(|port| port.to_string()),
        hosts: &metricbeat.hosts,
        metrics_path: collects.then_some(path),
        metrics_filters: include.map(|regexes| Filters {
            include: regexes.into_iter().map(anchored).collect()
        }),
    }])
}
