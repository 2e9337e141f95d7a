//! `TracingBackend`: where the spans of a namespace go.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{AddressOnly, MatchLabels, MeshRef, Sampling, Tag, TargetRef, ZipkinBackend};
use super::inject::{Inject, OtlpDestination};
use super::status::TracingBackendStatus;

/// Says where the spans of this namespace go, how many of them, and which workloads get that by environment.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "sightline.dev",
    version = "v1alpha1",
    kind = "TracingBackend",
    plural = "tracingbackends",
    namespaced,
    status = "TracingBackendStatus",
    shortname = "tback",
    category = "sightline",
    derive = "PartialEq",
    doc = "Says where the spans of this namespace go, how many of them, and which workloads get that by environment. In the mesh's root namespace a TracingBackend without `selector` holds for the whole mesh.",
    printcolumn(
        name = "Backend",
        type_ = "string",
        description = "Backend of the mesh",
        json_path = ".spec.destination.meshBackend.name"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether it took effect",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "Why it is not Ready",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Mesh",
        type_ = "string",
        description = "The ObservabilityMesh that it belongs to",
        json_path = ".status.mesh"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Time since creation",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        description = "What is wrong and what to do",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(has(self.selector) && has(self.targetRefs))", "selector and targetRefs exclude each other: make two TracingBackends"))]
pub struct TracingBackendSpec {
    /// The ObservabilityMesh that this belongs to. Needed only where two meshes select this namespace (else the reason is
    /// `AmbiguousMesh`). Default: the one that selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
    /// Where spans go: a backend that the mesh declares, for example `{type: MeshBackend, meshBackend: {name: tempo}}`.
    pub destination: Destination,
    /// How many requests the mesh's proxies sample, for example `{percentage: "0.5"}`. Default: 1 percent. The mesh may
    /// set a maximum (`tenancy.maxSamplingPercentage`); what asks for more gets that and is told. Workloads that export
    /// spans themselves get it by `inject` with `dialect: OpenTelemetry`, where it is written here; what other dialects
    /// cannot say is reported as not expressible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Workloads of this namespace whose proxies it holds for, by the labels of their pods. Default: all of them; in the
    /// mesh's root namespace (Istio: usually `istio-system`) all of the mesh. One TracingBackend holds for a pod, whole:
    /// the one with more labels, then the one whose name sorts first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<MatchLabels>,
    /// Gateways and waypoints of this namespace that it holds for, at most 16, instead of `selector`: a waypoint's proxies
    /// can be reached in no other way. Not in the mesh's root namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Tags that the proxies add to every span, at most 32. Tags of a wider scope (the namespace, the mesh) stay, but one
    /// of the same name. Workloads that export spans themselves (`inject`) get those of type `Literal` as attributes of
    /// their resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tags: Vec<Tag>,
    /// Environment for workloads of this namespace that export spans themselves, at most 8 entries. The namespace has
    /// to carry the label `sightline.dev/inject: enabled`. A change of environment restarts the workload, within the
    /// limits of the mesh's `rollout`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub inject: Vec<Inject>,
}

/// Where spans go.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.meshBackend) == (self.type == 'MeshBackend')", "destination: meshBackend: {name} goes with type: MeshBackend, and only with it"),
    validation = ("has(self.otlp) == (self.type == 'OTLP')", "destination: otlp: {endpoint: {host, port}} goes with type: OTLP, and only with it"),
    validation = ("has(self.zipkin) == (self.type == 'Zipkin')", "destination: zipkin: {endpoint: {host, port}} goes with type: Zipkin, and only with it"),
    validation = ("has(self.datadog) == (self.type == 'Datadog')", "destination: datadog: {endpoint: {host, port}} goes with type: Datadog, and only with it")
)]
pub struct Destination {
    /// Kind of destination. `MeshBackend`: one of `spec.tracing.backends` of the ObservabilityMesh. `OTLP`, `Zipkin`,
    /// `Datadog`: a Service of this namespace, where the mesh allows it (`tracing.customBackends: SameNamespace`).
    #[serde(rename = "type")]
    pub type_: DestinationType,
    /// For `type: MeshBackend`: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_backend: Option<MeshBackendRef>,
    /// For `type: OTLP`: address and transport of the receiver, and, for workloads that export spans themselves, the
    /// headers and certificates that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpDestination>,
    /// For `type: Zipkin`: address of the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinBackend>,
    /// For `type: Datadog`: address of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<AddressOnly>,
}

/// Kinds of destination.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum DestinationType {
    /// One of the mesh's tracing backends.
    MeshBackend,
    /// The OpenTelemetry protocol.
    #[serde(rename = "OTLP")]
    Otlp,
    /// Zipkin's format, over HTTP.
    Zipkin,
    /// Datadog's agent.
    Datadog,
}

/// Names a tracing backend of the mesh.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshBackendRef {
    /// Name of an entry of `spec.tracing.backends`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}
