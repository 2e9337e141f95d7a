//! `spec.metrics.exports`: who reads the metrics of a mesh, and what that reader is given.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::common::{Endpoint, TimeSpan};

/// One reader of the mesh's metrics, and the object that tells it what to read.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.podMonitor) == (self.type == 'PodMonitor')", "metrics.exports: podMonitor: {} goes with type: PodMonitor, and only with it"),
    validation = ("has(self.serviceMonitor) == (self.type == 'ServiceMonitor')", "metrics.exports: serviceMonitor: {} goes with type: ServiceMonitor, and only with it"),
    validation = ("has(self.scrapeConfig) == (self.type == 'ScrapeConfig')", "metrics.exports: scrapeConfig: {} goes with type: ScrapeConfig, and only with it"),
    validation = ("has(self.federation) == (self.type == 'Federation')", "metrics.exports: federation: {source: {host, port}} goes with type: Federation, and only with it"),
    validation = ("has(self.remoteWrite) == (self.type == 'RemoteWrite')", "metrics.exports: remoteWrite: {url} goes with type: RemoteWrite, and only with it"),
    validation = ("has(self.metricbeat) == (self.type == 'Metricbeat')", "metrics.exports: metricbeat: {metricset} goes with type: Metricbeat, and only with it"),
    validation = ("has(self.wavefront) == (self.type == 'Wavefront')", "metrics.exports: wavefront: {from} goes with type: Wavefront, and only with it"),
    validation = ("self.object.form == 'ConfigMap' || self.type in ['ScrapeConfig', 'Federation']", "metrics.exports: object.form: PrometheusOperator goes with type: ScrapeConfig or Federation; leave it out")
)]
pub struct MetricsExport {
    /// Name of this entry: a lower-case DNS label of at most 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of reader, and of what it is given. `PodMonitor`: an object of prometheus-operator, by which each proxy, or
    /// for Kmesh each daemon, is scraped. `ServiceMonitor`: one by which the control plane is scraped. The others are
    /// ConfigMaps, unless `object.form` says otherwise. `ScrapeConfig`: a scrape job for the proxies. `Federation`: a job by
    /// which one Prometheus reads another, and recording rules for that other one. `RemoteWrite`: where Prometheus sends series to. `Metricbeat`: a
    /// module of Metricbeat. `Wavefront`: a source of Wavefront's collector, found by its annotation.
    #[serde(rename = "type")]
    pub type_: MetricsExportType,
    /// The object that is written.
    pub object: ExportObject,
    /// Which series it is about. Default: for Istio the standard ones of its proxies (`presets: [Istio]`), for Kuma all
    /// that its proxies export, for Kmesh all that its daemons do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<ExportSeries>,
    /// For `type: PodMonitor`: how proxies are scraped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_monitor: Option<ProxyScrape>,
    /// For `type: ServiceMonitor`: how the control plane is scraped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_monitor: Option<ControlPlaneScrape>,
    /// For `type: ScrapeConfig`: how proxies are scraped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_config: Option<ProxyScrape>,
    /// For `type: Federation`: which Prometheus is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation: Option<Federation>,
    /// For `type: RemoteWrite`: where series are sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_write: Option<RemoteWrite>,
    /// For `type: Metricbeat`: who scrapes whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metricbeat: Option<Metricbeat>,
    /// For `type: Wavefront`: what the collector reads, and what it passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wavefront: Option<Wavefront>,
}

/// Kinds of reader.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum MetricsExportType {
    /// prometheus-operator's PodMonitor.
    PodMonitor,
    /// prometheus-operator's ServiceMonitor.
    ServiceMonitor,
    /// A scrape job of Prometheus.
    ScrapeConfig,
    /// A federation job of Prometheus.
    Federation,
    /// Prometheus' remote write.
    RemoteWrite,
    /// Metricbeat's prometheus module.
    Metricbeat,
    /// Wavefront's collector.
    Wavefront,
}

/// The object that an export becomes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportObject {
    /// What a ScrapeConfig or a Federation becomes. `ConfigMap`: files for a Prometheus to include. `PrometheusOperator`: a
    /// ScrapeConfig of monitoring.coreos.com, with a PrometheusRule for recording rules. Default: `ConfigMap`.
    #[serde(default)]
    pub form: ExportForm,
    /// Its namespace: where the reader looks. A ConfigMap needs the Role of `config/rbac` there (`sightline rbac
    /// --agent-namespace`), an object of prometheus-operator the feature `monitors` of the chart.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Its name. Default: `sightline-MESH-EXPORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Labels that it carries besides ours, at most 16: prometheus-operator's Prometheus selects its objects by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
}

/// Form of an object of an export.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ExportForm {
    /// A ConfigMap with files.
    #[default]
    ConfigMap,
    /// Objects of prometheus-operator.
    PrometheusOperator,
}

/// Which series an export is about.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.presets) || has(self.names)", "series: say which, by presets or by names; leave series out for the default"))]
pub struct ExportSeries {
    /// Sets of series by name. `Istio`: the ten standard metrics of Istio's proxies. `Wavefront`: those of Wavefront's
    /// integration for Istio, of proxies and of istiod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub presets: Vec<SeriesPreset>,
    /// Names of series besides, at most 64; one that ends in `*` stands for all that begin so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*\*?$")), extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<String>,
}

/// A set of series by name: `Istio` or `Wavefront`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum SeriesPreset {
    /// Istio's standard metrics.
    Istio,
    /// Those of Wavefront's integration for Istio.
    Wavefront,
}

/// How proxies are scraped.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyScrape {
    /// For Istio: which port of a proxy. `Envoy`: 15090, what the proxy itself measures. `Merged`: 15020, that and what the
    /// application exports. One of the two: who scrapes both counts each request twice. Default: `Envoy`.
    pub port: ProxyPort,
    /// How often. Default: `15s`.
    pub interval: TimeSpan,
}

impl Default for ProxyScrape {
    fn default() -> Self {
        Self {
            port: ProxyPort::Envoy,
            interval: "15s".into(),
        }
    }
}

/// Ports of Istio's proxies with metrics.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ProxyPort {
    /// The proxy's own.
    #[default]
    Envoy,
    /// With the application's.
    Merged,
}

/// How the control plane is scraped.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneScrape {
    /// How often. Default: `15s`.
    pub interval: TimeSpan,
}

impl Default for ControlPlaneScrape {
    fn default() -> Self {
        Self { interval: "15s".into() }
    }
}

/// A Prometheus that reads another one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Federation {
    /// Address of the Prometheus that is read. Never the one that reads: its series would grow with each round.
    pub source: Endpoint,
    /// How often. Default: `15s`.
    #[serde(default = "scrape_interval")]
    pub interval: TimeSpan,
    /// Recording rules for the Prometheus that is read, in the key `rules.yml`: what they record is read instead of the
    /// series that they are made of. Default: none, and the series themselves are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<FederationRules>,
}

/// Recording rules of a federation: sums by workload, and percentiles.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FederationRules {
    /// Job by which the Prometheus that is read scrapes proxies. Default: `kubernetes-pods`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-_./A-Za-z0-9]+$"))]
    pub job: String,
}

impl Default for FederationRules {
    fn default() -> Self {
        Self {
            job: "kubernetes-pods".into(),
        }
    }
}

/// Where Prometheus sends series to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteWrite {
    /// Address, for example `http://metricbeat.elastic.svc:9201/write`. No credentials in it.
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r"^https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$")
    )]
    pub url: String,
    /// Most requests under way at once, 1 to 200. Default: 50, as Prometheus has it.
    #[serde(default = "max_shards")]
    #[schemars(range(min = 1, max = 200))]
    pub max_shards: i32,
    /// Most samples of a request, 1 to 10000. Metricbeat refuses a body of over 2 MiB, and Prometheus does not send it
    /// again. Default: 1000.
    #[serde(default = "max_samples")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_samples_per_send: i32,
}

/// A module of Metricbeat.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.hosts) == (self.metricset == 'Collector')", "metricbeat: hosts go with metricset: Collector, and only with it"),
    validation = ("has(self.port) == (self.metricset == 'RemoteWrite')", "metricbeat: port goes with metricset: RemoteWrite, and only with it")
)]
pub struct Metricbeat {
    /// `Collector`: Metricbeat scrapes `hosts`. `RemoteWrite`: Prometheus sends to Metricbeat, which listens on `port`.
    pub metricset: Metricset,
    /// For `metricset: Collector`: what is scraped, 1 to 16, each `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 3, max = 259),
            regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?:[0-9]{1,5}$")
        )
    )]
    pub hosts: Vec<String>,
    /// For `metricset: RemoteWrite`: the port, 1 to 65535, on all addresses. The path is `/write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// How often is scraped; for `RemoteWrite` how long types are remembered, at least a minute. Default: `60s`.
    #[serde(default = "metricbeat_period")]
    pub period: TimeSpan,
}

/// Metricsets of Metricbeat's prometheus module.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Metricset {
    /// Metricbeat scrapes.
    Collector,
    /// Prometheus sends.
    RemoteWrite,
}

/// A source of Wavefront's collector. The object has to stand in the collector's namespace, and its configuration to say
/// `discovery: {enable_runtime_plugins: true}`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.prometheus) == (self.from == 'Prometheus')", "wavefront: prometheus: {namespace, labels} goes with from: Prometheus, and only with it"))]
pub struct Wavefront {
    /// `Proxies`: each proxy is scraped. `Prometheus`: a Prometheus is read that has the series, by its federation. Names
    /// differ: `istio.requests.total.counter` from a proxy, `istio.requests.total.value` from a Prometheus, as Wavefront's
    /// dashboards want it.
    pub from: WavefrontFrom,
    /// For `from: Prometheus`: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<WavefrontPrometheus>,
    /// How often. Default: `60s`.
    #[serde(default = "wavefront_interval")]
    pub interval: TimeSpan,
    /// What names are preceded by, such as `mesh`; names in this entry are written without it. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[-_A-Za-z0-9]+(\.[-_A-Za-z0-9]+)*$"))]
    pub prefix: Option<String>,
    /// Names, as globs, that are left out of those that `series` allows, at most 64. Names have dots, as Wavefront has
    /// them; `*` stands for anything, dots too, `?` for one character. Sets and braces are refused: one glob that the
    /// collector cannot read would switch its whole list off, in silence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 200), regex(pattern = r"^[-_.~A-Za-z0-9*?]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub deny_metrics: Vec<String>,
    /// Tags by whose values, as globs, series are passed on: those that have one of them. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tag"]))]
    pub allow_tags: Vec<TagValues>,
    /// Tags by whose values, as globs, whole series are left out: those that have one of them. To leave out the tag and
    /// keep the series, use `excludeTags`. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tag"]))]
    pub deny_tags: Vec<TagValues>,
    /// Tags, as globs, that series lose, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 128), regex(pattern = r"^[-_.~A-Za-z0-9*?]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub exclude_tags: Vec<String>,
}

/// What Wavefront's collector reads.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum WavefrontFrom {
    /// Each proxy.
    Proxies,
    /// A Prometheus.
    Prometheus,
}

/// The Service of a Prometheus that Wavefront's collector reads.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WavefrontPrometheus {
    /// Namespace of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Labels of the Service, 1 to 8: they have to select it alone.
    #[schemars(schema_with = "some_labels")]
    pub labels: BTreeMap<String, String>,
    /// Port, 1 to 65535. Default: 9090.
    #[serde(default = "prometheus_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Jobs whose series are read, 1 to 8. Default: `[federate, kubernetes-pods]`.
    #[serde(default = "wavefront_jobs")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 128), regex(pattern = r"^[-_A-Za-z0-9]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub jobs: Vec<String>,
}

/// Values of a tag.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TagValues {
    /// Name of the tag.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z_][-.a-zA-Z0-9_]*$"))]
    pub tag: String,
    /// Values, as globs of `*` and `?`, 1 to 16.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 200), regex(pattern = r"^[-_.~:/A-Za-z0-9*?]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 63}})
}

fn some_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "minProperties": 1, "maxProperties": 8, "additionalProperties": {"type": "string", "maxLength": 63}})
}

fn scrape_interval() -> TimeSpan {
    "15s".into()
}

fn metricbeat_period() -> TimeSpan {
    "60s".into()
}

fn wavefront_interval() -> TimeSpan {
    "60s".into()
}

const fn max_shards() -> i32 {
    50
}

const fn max_samples() -> i32 {
    1000
}

const fn prometheus_port() -> i32 {
    9090
}

fn wavefront_jobs() -> Vec<String> {
    vec!["federate".into(), "kubernetes-pods".into()]
}
