//! `TrafficLog`: what is logged in a namespace.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::common::{Direction, LogFormat, MatchLabels, MeshRef};
use super::status::TrafficLogStatus;

/// Says what is logged in this namespace: which direction, in which format, to which backends of the mesh.
///
/// `spec: {}` is complete: all traffic of the namespace, in the mesh's format, to the mesh's default backends. In the
/// mesh's root namespace (Istio: usually `istio-system`) a TrafficLog without `selector` holds for the whole mesh.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[kube(
    group = "sightline.dev",
    version = "v1alpha1",
    kind = "TrafficLog",
    plural = "trafficlogs",
    namespaced,
    status = "TrafficLogStatus",
    shortname = "tlog",
    category = "sightline",
    derive = "PartialEq",
    derive = "Default",
    doc = "Says what is logged in this namespace: which direction, in which format, to which backends of the mesh. `spec: {}` is complete. In the mesh's root namespace a TrafficLog without `selector` holds for the whole mesh.",
    printcolumn(
        name = "Direction",
        type_ = "string",
        description = "Which traffic",
        json_path = ".spec.direction"
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
#[x_kube(validation = ("!self.disabled || !(has(self.backends) || has(self.format))", "disabled: true switches logging off and stands alone with direction and selector: remove backends and format"))]
pub struct TrafficLogSpec {
    /// The ObservabilityMesh that this belongs to. Needed only where two meshes select this namespace (else the reason is
    /// `AmbiguousMesh`). Default: the one that selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
    /// Workloads of this namespace that it holds for, by the labels of their pods. Default: all of them; in the mesh's
    /// root namespace (Istio: usually `istio-system`) all of the mesh. A policy with more labels wins over one with fewer
    /// where a pod matches both. At most 16 sets of labels may overlap in a namespace (else the reason is `Overlaps`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<MatchLabels>,
    /// Which traffic of a workload. `Inbound`: requests that it receives. `Outbound`: requests that it makes. `Both`:
    /// each of them. A direction that no policy of this scope names falls through to the wider scope: workloads by
    /// label, then the namespace, then the mesh. Default: `Both`.
    #[serde(default)]
    pub direction: Direction,
    /// Names of the mesh's backends (`spec.logging.backends` of the ObservabilityMesh), at most 8. Default: the mesh's
    /// `defaultBackends`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub backends: Vec<String>,
    /// How a line is written. Default: the mesh's format (`spec.logging.format` of the ObservabilityMesh). The mesh may
    /// limit it: `tenancy.overrideFormat` (no format but the mesh's), `tenancy.customFormats` (presets only); then the
    /// mesh's format is used, and the condition `PartiallyOverridden` says so.
    ///
    /// A format is one of three things:
    ///
    /// - `preset: Istio` or `preset: Envoy`, a known format of this `encoding`, which `fields` add to and `omit` takes
    ///   away from;
    ///
    /// - with `encoding: Text`, a whole line as `text`, alone;
    ///
    /// - with `encoding: JSON`, `fields` alone: the members of one object a line.
    ///
    /// The language of `text` and of the values of `fields` is Envoy's access-log format: literal text with operators in
    /// percent signs. `%REQ(X-TENANT)%` is a request header, `%REQ(A?B)%` the header A or else B, `%RESP(X)%` a response
    /// header, `%RESPONSE_CODE%` the status, `%DURATION%` the time it took in milliseconds, `%START_TIME%` when it began,
    /// `%REQ(X):20%` the first 20 characters, `%%` a percent sign. What is absent is `-` (in JSON: null). Every operator
    /// is checked before it reaches a proxy, and the message points at the character: one that the oldest proxy does not
    /// know would make that proxy refuse its whole listener (`InvalidFormat`; what was live before stays).
    ///
    /// Example, Istio's JSON with a tenant and without user agent: `{encoding: JSON, preset: Istio, fields: [{name: tenant,
    /// value: "%REQ(X-TENANT)%"}], omit: [user_agent]}`. Example, a line of your own: `{encoding: Text, text:
    /// "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %DURATION%"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// Switches logging off for this direction and selector. The mesh has to allow it (`tenancy.disableLogging`), but
    /// in its root namespace. Default: false.
    #[serde(default)]
    pub disabled: bool,
    /// Which of two policies with equally many labels wins a backend and direction that both claim: the higher one,
    /// then the name that sorts first. -1000 to 1000. Default: 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
}
