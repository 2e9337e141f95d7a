//! What users write: the three resources of `sightline.dev/v1alpha1`, their docs, bounds, defaults and CEL rules.
//!
//! No logic lives here. A value of these types is what the API server stored: the schema holds, nothing more. What it
//! means in a cluster is decided by [`crate::policy`].

mod collector;
mod common;
mod exports;
mod inject;
mod observability_mesh;
mod schema;
mod status;
mod tracing_backend;
mod traffic_log;

pub use collector::{
    Authorization, AuthorizationScheme, BasicAuth, Collector, CollectorBatch, CollectorElasticsearch,
    CollectorExporter, CollectorExporterType, CollectorMemory, CollectorMode, CollectorOtlp, CollectorQueue,
    CollectorReceiver, CollectorRetry, CollectorTls, CollectorVolume, ElasticMapping, SecretKey, SecretValue, Signal,
};
pub use common::{
    AddressOnly, Direction, Encoding, Endpoint, FormatField, FormatPreset, LineFormat, LogFormat, MatchLabels, MeshRef,
    Millis, NamedValue, OtlpBackend, OtlpProtocol, Sampling, Tag, TagType, TargetKind, TargetRef, TimeSpan,
    WorkloadKind, ZipkinBackend,
};
pub use exports::{
    ControlPlaneScrape, ExportForm, ExportObject, ExportSeries, Federation, FederationRules, Metricbeat, MetricsExport,
    MetricsExportType, Metricset, ProxyPort, ProxyScrape, RemoteWrite, SeriesPreset, TagValues, Wavefront,
    WavefrontFrom, WavefrontPrometheus,
};
pub use inject::{
    CaCertificateRef, CertificateSource, ClientCertificateRef, Dialect, EnvEntry, HeaderSource, Inject,
    InjectWorkloads, OtlpDestination, OtlpHeader, OtlpTls, SETTABLE, TlsMode,
};
pub use observability_mesh::{
    Agent, AgentReads, AgentReadsType, AlsProtocol, ConfigMapRead, ConfigMapTarget, CustomBackends,
    DEFAULT_ISTIO_NAMESPACE, DEFAULT_KUMA_NAMESPACE, DefaultTracing, Elasticsearch, EnvoyAlsBackend, ExportRead,
    FileBackend, InterfaceTraffic, IstioMesh, IstioMetric, KmeshMesh, KmeshMetrics, KumaMesh, KumaMetrics,
    KumaMetricsReceiver, KumaProfile, Limits, LogBackend, LogBackendType, Logging, Mesh, MeshConfigMode,
    MeshConfigTarget, MeshType, MetricMode, MetricOverride, Metrics, ObservabilityMesh, ObservabilityMeshSpec,
    OnFailure, OtlpLogBackend, Permission, ProxyVersions, RequiredLog, Rollout, SecretKeysRef, SecretRead,
    TagOperation, TagOverride, Tenancy, TraceBackend, TraceBackendType, Tracing, WasmModule, WorkloadRef,
};
pub use schema::{custom_resource_definitions, definition_yaml};
pub use status::{
    AgentStatus, CollectorStatus, EffectiveLog, EffectiveTracing, InjectStatus, KmeshNode, KmeshStatus,
    ObservabilityMeshStatus, SeenVersions, TracingBackendStatus, TrafficLogStatus,
};
pub use tracing_backend::{Destination, DestinationType, MeshBackendRef, TracingBackend, TracingBackendSpec};
pub use traffic_log::{LogFilter, LogFilterType, LogMatch, TrafficLog, TrafficLogSpec};

/// The API group of all three kinds.
pub const GROUP: &str = "sightline.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";
