//! What users write: the three resources of `sightline.dev/v1alpha1`, their docs, bounds, defaults and CEL rules.
//!
//! No logic lives here. A value of these types is what the API server stored: the schema holds, nothing more. What it
//! means in a cluster is decided by [`crate::policy`].

mod common;
mod observability_mesh;
mod schema;
mod status;
mod tracing_backend;
mod traffic_log;

pub use common::{
    Direction, Encoding, Endpoint, FormatField, FormatPreset, LogFormat, MatchLabels, MeshRef, Millis, TimeSpan,
    WorkloadKind,
};
pub use observability_mesh::{
    Agent, AgentReads, AgentReadsType, ConfigMapRead, ConfigMapTarget, DEFAULT_ISTIO_NAMESPACE, Elasticsearch,
    FileBackend, InterfaceTraffic, IstioMesh, LogBackend, LogBackendType, Logging, Mesh, MeshConfigMode,
    MeshConfigTarget, MeshType, ObservabilityMesh, ObservabilityMeshSpec, OtlpBackend, OtlpProtocol, Permission,
    ProxyVersions, Rollout, SecretKeysRef, SecretRead, Tenancy, TraceBackend, TraceBackendType, Tracing, WorkloadRef,
};
pub use schema::{custom_resource_definitions, definition_yaml};
pub use status::{
    AgentStatus, EffectiveLog, EffectiveTracing, InjectStatus, ObservabilityMeshStatus, TracingBackendStatus,
    TrafficLogStatus,
};
pub use tracing_backend::{
    Destination, DestinationType, Dialect, Inject, InjectWorkloads, MeshBackendRef, Sampling, TracingBackend,
    TracingBackendSpec,
};
pub use traffic_log::{TrafficLog, TrafficLogSpec};

/// The API group of all three kinds.
pub const GROUP: &str = "sightline.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";
