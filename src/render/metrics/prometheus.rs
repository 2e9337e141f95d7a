//! Prometheus: a scrape job, a federation with its recording rules, remote write; as files, and as objects of
//! prometheus-operator.
//!
//! A ConfigMap holds one file. `scrape.yml` is what `scrape_config_files` includes and a whole configuration too, so that
//! `promtool check config` reads it as it is.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::series::{ExportedBy, Metric, Selection};
use super::{ENVOY_PORT_NAME, Exporters, ISTIOD_PORT_NAME, Relabel};
use crate::crds::{Federation, FederationRules, ProxyScrape, RemoteWrite};
use crate::render::kmesh;

/// Key of scrape jobs.
pub const SCRAPE_KEY: &str = "scrape.yml";
/// Key of recording rules.
pub const RULES_KEY: &str = "rules.yml";
/// Key of remote write.
pub const REMOTE_WRITE_KEY: &str = "remote-write.yml";

/// What names of recorded series begin with.
pub const RECORDED: &str = "federate:";

/// A scrape job.
#[derive(Serialize)]
pub struct Job<'a> {
    #[serde(rename = "job_name")]
    name: &'a str,
    scrape_interval: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    honor_labels: bool,
    metrics_path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<&'static str, Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubernetes_sd_configs: Vec<Discovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    static_configs: Vec<Static>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relabel_configs: Vec<Relabel>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metric_relabel_configs: Vec<Relabel>,
}

impl Job<'_> {
    /// The file that holds it alone.
    pub fn file(&self) -> Value {
        json!({"scrape_configs": [self]})
    }

    /// The `spec` of a ScrapeConfig of prometheus-operator, in whose Prometheus the label `job` of series is its name too.
    pub fn spec(&self) -> Value {
        let mut spec = Map::from_iter([
            ("jobName".to_owned(), json!(self.name)),
            ("scrapeInterval".to_owned(), json!(self.scrape_interval)),
            ("metricsPath".to_owned(), json!(self.metrics_path)),
        ]);
        let mut put = |field: &str, is_said: bool, value: Value| {
            if is_said {
                spec.insert(field.to_owned(), value);
            }
        };
        let steps = |steps: &[Relabel]| steps.iter().map(Relabel::in_monitor).collect::<Value>();
        put("honorLabels", self.honor_labels, json!(true));
        put("params", !self.params.is_empty(), json!(self.params));
        // The operator has names of roles in capitals.
        let pods = !self.kubernetes_sd_configs.is_empty();
        put("kubernetesSDConfigs", pods, json!([{"role": "Pod"}]));
        put(
            "staticConfigs",
            !self.static_configs.is_empty(),
            json!(self.static_configs),
        );
        let (targets, metrics) = (&self.relabel_configs, &self.metric_relabel_configs);
        put("relabelings", !targets.is_empty(), steps(targets));
        put("metricRelabelings", !metrics.is_empty(), steps(metrics));
        Value::Object(spec)
    }
}

#[derive(Serialize)]
struct Discovery {
    role: &'static str,
}

#[derive(Serialize)]
struct Static {
    targets: Vec<String>,
}

#[derive(Serialize)]
struct RuleGroup {
    name: String,
    interval: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
struct Rule {
    record: String,
    expr: String,
}

#[derive(Serialize)]
struct RemoteWriteConfig<'a> {
    name: String,
    url: &'a str,
    queue_config: QueueConfig,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    write_relabel_configs: Vec<Relabel>,
}

#[derive(Serialize)]
struct QueueConfig {
    max_shards: i32,
    max_samples_per_send: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The step that keeps the series of a selection, if it leaves any out.
fn kept(selection: &Selection) -> Vec<Relabel> {
    let regexes = selection.regexes().map(|regexes| regexes.join("|"));
    let step = |regex| Relabel::keep(vec!["__name__"], regex);
    regexes.map(step).into_iter().collect()
}

/// The job `name` that scrapes the proxies of a mesh, and istiod where a series of its is wanted; of Kmesh the daemons.
pub fn scrape<'a>(name: &'a str, scrape: &'a ProxyScrape, exporters: &Exporters, selection: &Selection) -> Job<'a> {
    let endpoint = exporters.endpoint(scrape);
    let replace = |from: &'static str, to: &'static str, regex: &str, replacement: &str| Relabel {
        action: "replace",
        source_labels: vec![from],
        regex: regex.to_owned(),
        replacement: Some(replacement.to_owned()),
        target_label: Some(to),
    };
    let container = "__meta_kubernetes_pod_container_name";
    let port = "__meta_kubernetes_pod_container_port_name";
    let with_istiod = matches!(exporters, Exporters::Istio { .. }) && selection.needs_istiod();
    let mut relabel = match exporters {
        Exporters::Istio { .. } if with_istiod => vec![Relabel::keep(
            vec![container, port],
            format!("{};{ENVOY_PORT_NAME}|discovery;{ISTIOD_PORT_NAME}", endpoint.container),
        )],
        Exporters::Istio { .. } => vec![Relabel::keep(
            vec![container, port],
            format!("{};{ENVOY_PORT_NAME}", endpoint.container),
        )],
        Exporters::Kuma { .. } => vec![Relabel::keep(vec![container], endpoint.container)],
        Exporters::Kmesh { namespace, .. } => vec![Relabel::keep(
            vec![
                "__meta_kubernetes_namespace",
                "__meta_kubernetes_pod_label_app",
                container,
            ],
            format!("{namespace};{};{}", kmesh::APP, endpoint.container),
        )],
    };
    let mut running = Relabel::keep(vec!["__meta_kubernetes_pod_phase"], "Pending|Succeeded|Failed");
    running.action = "drop";
    relabel.push(running);
    for mut step in endpoint.readdressed() {
        // istiod's own address is as it is declared.
        if with_istiod {
            step.source_labels.insert(0, container);
            step.regex = format!("{};{}", endpoint.container, step.regex);
        }
        relabel.push(step);
    }
    if with_istiod {
        relabel.push(replace(port, "__metrics_path__", ISTIOD_PORT_NAME, "/metrics"));
    }
    relabel.extend([
        replace("__meta_kubernetes_namespace", "namespace", "(.*)", "$1"),
        replace("__meta_kubernetes_pod_name", "pod", "(.*)", "$1"),
        replace("__meta_kubernetes_pod_label_app", "app", "(.*)", "$1"),
    ]);
    Job {
        name,
        scrape_interval: &scrape.interval.0,
        honor_labels: false,
        metrics_path: endpoint.path,
        params: BTreeMap::new(),
        kubernetes_sd_configs: vec![Discovery { role: "pod" }],
        static_configs: Vec::new(),
        relabel_configs: relabel,
        metric_relabel_configs: kept(selection),
    }
}

/// The job `name` by which another Prometheus is read. With recording rules it reads what they record, under the name of
/// what it was made of, and of the rest what no rule sums up.
pub fn federation<'a>(name: &'a str, federation: &'a Federation, selection: &Selection) -> Job<'a> {
    let is_summed_up = |metric: &Metric| federation.rules.is_some() && rule_of(metric).is_some();
    let mut selectors = Vec::new();
    let mut renamed = Vec::new();
    if federation.rules.is_some() {
        selectors.push(format!("{{__name__=~\"{RECORDED}.*\"}}"));
        renamed.push(Relabel {
            action: "replace",
            source_labels: vec!["__name__"],
            regex: format!("{RECORDED}(.*)"),
            replacement: Some("$1".into()),
            target_label: Some("__name__"),
        });
    }
    match selection.regexes_of(|metric| !is_summed_up(metric)) {
        Some(regexes) if regexes.is_empty() => {}
        Some(regexes) => selectors.push(format!("{{__name__=~\"{}\"}}", regexes.join("|"))),
        // At least one matcher has to match something.
        None => selectors.push("{__name__=~\".+\"}".to_owned()),
    }
    Job {
        name,
        scrape_interval: &federation.interval.0,
        honor_labels: true,
        metrics_path: "/federate".to_owned(),
        params: BTreeMap::from([("match[]", selectors)]),
        kubernetes_sd_configs: Vec::new(),
        static_configs: vec![Static {
            targets: vec![federation.source.to_string()],
        }],
        relabel_configs: Vec::new(),
        metric_relabel_configs: renamed,
    }
}

/// Labels that the recording rules sum by, besides `app`, which scraping adds.
pub const SUMMED_BY_HTTP: [&str; 7] = [
    "reporter",
    "response_code",
    "response_flags",
    "source_workload",
    "source_workload_namespace",
    "destination_workload",
    "destination_workload_namespace",
];

/// The same for TCP, where there is no `response_code`.
pub const SUMMED_BY_TCP: [&str; 6] = [
    "reporter",
    "response_flags",
    "source_workload",
    "source_workload_namespace",
    "destination_workload",
    "destination_workload_namespace",
];

/// Percentiles that are recorded of each histogram: the ending of the name, and the quantile.
const PERCENTILES: [(&str, &str); 6] = [
    ("p50", "0.5"),
    ("p75", "0.75"),
    ("p90", "0.9"),
    ("p95", "0.95"),
    ("p99", "0.99"),
    ("p999", "0.999"),
];

/// Labels that the rule of a metric sums by; `None`: there is no rule for it.
pub fn rule_of(metric: &Metric) -> Option<&'static [&'static str]> {
    match metric.by {
        ExportedBy::Proxies(_) if metric.name.starts_with("istio_tcp_") => Some(&SUMMED_BY_TCP),
        // Wavefront's integration has no rule for messages of gRPC.
        ExportedBy::Proxies(_) if metric.name.ends_with("_messages_total") => None,
        ExportedBy::Proxies(_) => Some(&SUMMED_BY_HTTP),
        _ => None,
    }
}

/// The recording rules of Wavefront's integration for Istio, for the metrics of a selection.
///
/// What a rule records of buckets is a rate, a gauge under a counter's name: the percentiles are made of it, and the
/// dashboards know it by that name.
pub fn rules(rules: &FederationRules, selection: &Selection) -> Value {
    let job = format!("job=\"{}\"", rules.job);
    let summed = |series: &str, by: &[&str], is_rate: bool| {
        let (record, by) = (format!("{RECORDED}{series}"), by.join(", "));
        let of = if is_rate {
            format!("irate({series}{{{job}}}[1m])")
        } else {
            format!("{series}{{{job}}}")
        };
        Rule {
            record,
            expr: format!("sum({of}) by (app, {by})"),
        }
    };
    let mut groups = Vec::new();
    let metrics = selection.metrics();
    let with_rules = metrics.iter().filter_map(|metric| Some((metric, rule_of(metric)?)));
    for (metric, by) in with_rules {
        let name = metric.name;
        let mut rules = Vec::new();
        if metric.is_histogram {
            let by_bucket: Vec<&str> = by.iter().copied().chain(["le"]).collect();
            let buckets = format!("{name}_bucket");
            rules.push(summed(&buckets, &by_bucket, true));
            rules.push(summed(&format!("{name}_sum"), by, false));
            rules.push(summed(&format!("{name}_count"), by, false));
            rules.extend(PERCENTILES.map(|(ending, quantile)| Rule {
                record: format!("{RECORDED}{buckets}_{ending}"),
                expr: format!("histogram_quantile({quantile}, {RECORDED}{buckets})"),
            }));
        } else {
            rules.push(summed(name, by, false));
        }
        groups.push(RuleGroup {
            name: format!("sightline.{name}"),
            interval: "10s",
            rules,
        });
    }
    json!({"groups": groups})
}

/// Remote write under the name `name`, which has to be the only one of it in a Prometheus.
pub fn remote_write(name: String, write: &RemoteWrite, selection: &Selection) -> Value {
    json!({"remote_write": [RemoteWriteConfig {
        name,
        url: &write.url,
        queue_config: QueueConfig {
            max_shards: write.max_shards,
            max_samples_per_send: write.max_samples_per_send,
        },
        write_relabel_configs: kept(selection),
    }]})
}
