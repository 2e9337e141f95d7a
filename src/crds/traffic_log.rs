//! `TrafficLog`: what is logged in a namespace.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{LogFormat, MatchLabels, MeshRef};
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
    /// The ObservabilityMesh that this belongs to. Needed only where two meshes select this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
    /// Workloads of this namespace that it holds for. Unset: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<MatchLabels>,
    /// `Inbound`: requests that the workload receives. `Outbound`: requests that it makes. A direction that no policy
    /// of this scope names falls through to the wider scope. Default: `Both`.
    #[serde(default)]
    pub direction: Direction,
    /// Names of the mesh's backends (`spec.logging.backends` of the ObservabilityMesh), at most 8. Default: the mesh's
    /// `defaultBackends`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 40)), extend("x-kubernetes-list-type" = "set"))]
    pub backends: Vec<String>,
    /// How a line is written. Default: the mesh's format.
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

/// Which traffic of a workload.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum Direction {
    /// Requests that it receives.
    Inbound,
    /// Requests that it makes.
    Outbound,
    /// Both.
    #[default]
    Both,
}
