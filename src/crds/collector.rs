//! `spec.collector`: an OpenTelemetry Collector between a mesh and where its spans and logs are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Sampling, TimeSpan};

/// An OpenTelemetry Collector: it takes spans and access logs, holds them while their receiver is away, throttles them, and
/// passes them on with credentials that no proxy sees.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.__namespace__ == oldSelf.__namespace__ && (has(self.name) ? self.name : '') == (has(oldSelf.name) ? oldSelf.name : '')", "collector.namespace and collector.name cannot be changed: what was written there would stay; remove collector, wait, and set it anew"),
    validation = ("has(self.volume) == has(oldSelf.volume) && (!has(self.volume) || self.volume == oldSelf.volume)", "collector.volume cannot be changed: volumes of a StatefulSet cannot; remove collector, wait, and set it anew"),
    validation = ("self.memoryLimiter.spikeMiB < self.memoryLimiter.limitMiB", "collector.memoryLimiter: spikeMiB has to be below limitMiB"),
    validation = ("!has(self.sampling) || self.exporters.exists(e, e.signals.exists(s, s == 'Traces'))", "collector.sampling is for spans, and no exporter takes signals: [Traces]; remove it")
)]
pub struct Collector {
    /// Namespace that it runs in. Secrets that it names stand there. Sightline needs the Role of `config/rbac` there
    /// (`sightline rbac --collector-namespace`). Cannot be changed.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// What its objects are called: its Service is `NAME-collector`. A lower-case DNS label of at most 40 characters. Cannot
    /// be changed. Default: `sightline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// What it becomes. `OpenTelemetryCollector`: an object of OpenTelemetry's operator, which runs it (in the chart:
    /// `features.collector`). `Workload`: a ConfigMap, a Service and a Deployment of ours, with `volume` a StatefulSet.
    /// `Auto`: the first where the API server knows it, else the second. Default: `Auto`.
    #[serde(default)]
    pub mode: CollectorMode,
    /// Version of the collector, 0.120 or later: names and settings of its components differ. It is the tag of the image
    /// unless `image` is set. Default: `0.155.0`.
    #[serde(default = "collector_version")]
    #[schemars(length(max = 12), regex(pattern = r"^0\.(1[2-9][0-9]|[2-9][0-9]{2})\.[0-9]{1,3}$"))]
    pub version: String,
    /// Its image, which has to be of that version and to have all components that are asked for: those of the distribution
    /// `contrib`, or Elastic's. Default: `otel/opentelemetry-collector-contrib:VERSION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-z0-9][-._/:@A-Za-z0-9]*$"))]
    pub image: Option<String>,
    /// Pods, 1 to 32. With two, one takes what comes while the other restarts. Default: 2.
    #[serde(default = "replicas")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: i32,
    /// What it takes. `OTLP`: over gRPC on port 4317 and over HTTP on 4318. `Zipkin`: on 9411. `Jaeger`: spans over gRPC on
    /// 14250 and Thrift over HTTP on 14268. Default: `[OTLP, Zipkin]`.
    #[serde(default = "receivers")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub receivers: Vec<CollectorReceiver>,
    /// What is refused, for senders to try again, before memory runs out.
    #[serde(default)]
    pub memory_limiter: CollectorMemory,
    /// How records are put together before they are queued.
    #[serde(default)]
    pub batch: CollectorBatch,
    /// How many of the traces that the mesh sends are passed on; those of one trace stay together. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Keeps queues on a volume of each pod, so that a restart loses nothing; a process that is killed loses what it has not
    /// queued yet, the records of one `batch.timeout`. Default: queues are in memory, and a restart
    /// loses what waits for a receiver that is away. Volumes stay when the collector goes, for you to delete. Cannot be
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<CollectorVolume>,
    /// Where it sends to, 1 to 4.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub exporters: Vec<CollectorExporter>,
}

/// What a collector becomes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum CollectorMode {
    /// As the cluster has it.
    #[default]
    Auto,
    /// A workload of ours.
    Workload,
    /// An object of OpenTelemetry's operator.
    OpenTelemetryCollector,
}

/// What a collector takes: `OTLP`, `Zipkin` or `Jaeger`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum CollectorReceiver {
    /// The OpenTelemetry protocol.
    #[serde(rename = "OTLP")]
    Otlp,
    /// Zipkin's format.
    Zipkin,
    /// Jaeger's formats.
    Jaeger,
}

/// Bounds of memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorMemory {
    /// Memory, in MiB, from which on everything is refused, 64 to 65536. The container may use a quarter more. Default: 512.
    #[serde(rename = "limitMiB")]
    #[schemars(range(min = 64, max = 65536))]
    pub limit_mib: i32,
    /// By how much less, in MiB, records are refused already, as memory may grow so much between two looks. Default: 128.
    #[serde(rename = "spikeMiB")]
    #[schemars(range(min = 16, max = 32768))]
    pub spike_mib: i32,
}

impl Default for CollectorMemory {
    fn default() -> Self {
        Self {
            limit_mib: 512,
            spike_mib: 128,
        }
    }
}

/// How records are put together.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorBatch {
    /// Spans or log records of a batch, at most, 1 to 65536. Default: 2048.
    #[schemars(range(min = 1, max = 65536))]
    pub size: i32,
    /// How long one that is not full waits. Default: `1s`.
    pub timeout: TimeSpan,
}

impl Default for CollectorBatch {
    fn default() -> Self {
        Self {
            size: 2048,
            timeout: "1s".into(),
        }
    }
}

/// A volume of each pod.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorVolume {
    /// Its size in GiB, 1 to 4096. Default: 10.
    #[serde(rename = "sizeGiB")]
    #[schemars(range(min = 1, max = 4096))]
    pub size_gib: i32,
    /// Its storage class. Default: the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub storage_class_name: Option<String>,
}

impl Default for CollectorVolume {
    fn default() -> Self {
        Self {
            size_gib: 10,
            storage_class_name: None,
        }
    }
}

/// Where a collector sends to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.elasticsearch) == (self.type == 'Elasticsearch')", "collector.exporters: elasticsearch: {urls} goes with type: Elasticsearch, and only with it"),
    validation = ("has(self.otlp) == (self.type == 'OTLP')", "collector.exporters: otlp: {url} goes with type: OTLP, and only with it")
)]
pub struct CollectorExporter {
    /// Name of this entry: a lower-case DNS label of at most 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of place. `Elasticsearch`: documents, over its bulk API. `OTLP`: the OpenTelemetry protocol, as Elastic's APM
    /// Server, its managed intake, another collector, Tempo or Jaeger take it.
    #[serde(rename = "type")]
    pub type_: CollectorExporterType,
    /// What is sent there: `Logs`, `Traces`. Default: both.
    #[serde(default = "signals")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub signals: Vec<Signal>,
    /// For `type: Elasticsearch`: which one, and what documents look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<CollectorElasticsearch>,
    /// For `type: OTLP`: the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<CollectorOtlp>,
    /// How its certificate is judged, where the address is one of `https://`. Default: by the authorities of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<CollectorTls>,
    /// How what could not be sent is sent again.
    #[serde(default)]
    pub retry: CollectorRetry,
    /// What waits for being sent.
    #[serde(default)]
    pub queue: CollectorQueue,
}

/// Kinds of place that a collector sends to.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum CollectorExporterType {
    /// Elasticsearch's bulk API.
    Elasticsearch,
    /// The OpenTelemetry protocol.
    #[serde(rename = "OTLP")]
    Otlp,
}

/// What is sent: `Logs` or `Traces`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum Signal {
    /// Access logs.
    Logs,
    /// Spans.
    Traces,
}

/// An Elasticsearch that a collector writes documents to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(has(self.apiKey) && has(self.basic))", "collector.exporters.elasticsearch: apiKey or basic, not both"))]
pub struct CollectorElasticsearch {
    /// Addresses of its nodes, 1 to 8, each with scheme and port, for example `https://elasticsearch.elastic.svc:9200`. No
    /// credentials in them.
    #[schemars(
        length(min = 1, max = 8),
        inner(
            length(min = 8, max = 512),
            regex(pattern = r"^https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$")
        ),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub urls: Vec<String>,
    /// What documents look like. `ECS`: fields of the Elastic Common Schema. `OTel`: as OpenTelemetry has them, for
    /// Elasticsearch 8.12 or later. Default: `ECS`.
    #[serde(default)]
    pub mapping: ElasticMapping,
    /// Middle part of the data streams' names, `logs-DATASET-NAMESPACE` and `traces-DATASET-NAMESPACE` (with `OTel` it gets
    /// `.otel`). Default: `sightline.mesh`.
    #[serde(default = "dataset")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-z0-9][._a-z0-9]*$"))]
    pub dataset: String,
    /// Last part of the data streams' names. Default: `default`.
    #[serde(default = "data_stream_namespace")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-z0-9][._a-z0-9]*$"))]
    pub data_stream_namespace: String,
    /// An API key, in its encoded form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretValue>,
    /// A user and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
}

/// What documents look like: `ECS` or `OTel`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ElasticMapping {
    /// The Elastic Common Schema.
    #[default]
    #[serde(rename = "ECS")]
    Ecs,
    /// OpenTelemetry's own.
    OTel,
}

/// A key of a Secret of the collector's namespace. The container reads it; Sightline does not.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretValue {
    /// Which key of which Secret.
    pub secret_key_ref: SecretKey,
}

/// A key of a Secret of the collector's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A user and a password, both from Secrets of the collector's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The user.
    pub username: SecretValue,
    /// The password.
    pub password: SecretValue,
}

/// A receiver of OTLP that a collector sends to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorOtlp {
    /// Its address with scheme and port, for example `https://apm.elastic.svc:8200`; `http://` is plaintext. No credentials
    /// in it.
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r"^https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$")
    )]
    pub url: String,
    /// Transport: `GRPC` or `HTTP`. Default: `GRPC`.
    #[serde(default)]
    pub protocol: super::common::OtlpProtocol,
    /// What it says in the header `Authorization`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
}

/// The header `Authorization`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Its first word: `ApiKey` or `Bearer`.
    pub scheme: AuthorizationScheme,
    /// What follows it.
    pub value: SecretValue,
}

/// The first word of a header `Authorization`: `ApiKey` or `Bearer`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum AuthorizationScheme {
    /// An API key of Elastic's, in its encoded form.
    ApiKey,
    /// A token.
    Bearer,
}

/// How a certificate is judged.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorTls {
    /// Certificates of authorities, as PEM.
    pub certificate_authority: SecretValue,
}

/// How what could not be sent is sent again.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorRetry {
    /// Wait before the first time; it grows by half each time. Default: `5s`.
    pub initial_interval: TimeSpan,
    /// Longest wait. Default: `30s`.
    pub max_interval: TimeSpan,
    /// When a batch is given up; `0s`: never. Default: `0s`, so that a receiver may be away for as long as the queue holds.
    pub max_elapsed_time: TimeSpan,
}

impl Default for CollectorRetry {
    fn default() -> Self {
        Self {
            initial_interval: "5s".into(),
            max_interval: "30s".into(),
            max_elapsed_time: "0s".into(),
        }
    }
}

/// What waits for being sent.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorQueue {
    /// Batches under way at once, 1 to 100: with the batch's size, what the receiver has to take. Default: 4.
    #[schemars(range(min = 1, max = 100))]
    pub consumers: i32,
    /// Batches that wait, 1 to 10000000; what comes then is dropped. Default: 1000, and with `volume` 1000000, so that the
    /// volume is the bound. In memory `memoryLimiter` may refuse before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub size: Option<i32>,
}

impl Default for CollectorQueue {
    fn default() -> Self {
        Self {
            consumers: 4,
            size: None,
        }
    }
}

impl Collector {
    /// Name of its Service, and of its workload.
    pub fn object_name(&self) -> String {
        format!("{}-collector", self.short_name())
    }

    /// What its objects are named after.
    pub fn short_name(&self) -> &str {
        self.name.as_deref().unwrap_or("sightline")
    }
}

fn collector_version() -> String {
    "0.155.0".into()
}

const fn replicas() -> i32 {
    2
}

fn receivers() -> Vec<CollectorReceiver> {
    vec![CollectorReceiver::Otlp, CollectorReceiver::Zipkin]
}

fn signals() -> Vec<Signal> {
    vec![Signal::Logs, Signal::Traces]
}

fn dataset() -> String {
    "sightline.mesh".into()
}

fn data_stream_namespace() -> String {
    "default".into()
}
