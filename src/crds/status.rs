//! What we tell users: the status of the three resources.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Direction;

/// Status of an ObservabilityMesh.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservabilityMeshStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `AgentsInSync`, and `Ready`: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// TrafficLogs that belong to this mesh.
    #[serde(default)]
    pub traffic_logs: i32,
    /// TracingBackends that belong to this mesh.
    #[serde(default)]
    pub tracing_backends: i32,
    /// Extension providers that the policies of this mesh need.
    #[serde(default)]
    pub providers: i32,
    /// ConfigMaps with MeshConfig that may hold extension providers of this mesh, as `NAMESPACE/NAME`, at most 32: those
    /// that its spec names, and those that it named before, until nothing of ours is left there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub mesh_config_maps: Vec<String>,
    /// ConfigMaps of exports of this mesh, as `NAMESPACE/NAME`, at most 32: those that its spec names, and those that it named
    /// before, until they are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub export_config_maps: Vec<String>,
    /// The collector of this mesh, and one that was, until it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<CollectorStatus>,
    /// What was seen of istiod and of the proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<SeenVersions>,
    /// Version of Kuma that is written for, such as `2.13`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kuma_version: Option<String>,
    /// What Kmesh's daemons were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kmesh: Option<KmeshStatus>,
    /// Agents in sync, of all: `1/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_in_sync: Option<String>,
    /// State of each agent, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub agents: Vec<AgentStatus>,
}

/// The collector of a mesh.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectorStatus {
    /// What runs it, as `KIND NAMESPACE/NAME`.
    pub runner: String,
    /// What a restart of it can lose. Absent: nothing, as its queues are on volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_loses: Option<String>,
}

/// What Kmesh's daemons were asked for. Whether they still do it, nobody can read: switches have no read-back.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KmeshStatus {
    /// Switches that are wanted on: `AccessLog`, `ServiceMetrics`, `WorkloadMetrics`, `ConnectionMetrics`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub wanted: Vec<String>,
    /// Daemons that run.
    #[serde(default)]
    pub daemons: i32,
    /// Of them, those that took the request in the life of their present container.
    #[serde(default)]
    pub requested: i32,
    /// Node by node, at most 32: first those with trouble, then by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"]))]
    pub nodes: Vec<KmeshNode>,
}

/// The daemon of one node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KmeshNode {
    /// The node.
    pub node: String,
    /// `Requested`, or why not (the reasons of `Programmed`).
    pub state: String,
    /// Version of the daemon, such as `1.1`; absent where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the daemon took what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// What series on its metrics port prove: `ServiceMetrics`, `WorkloadMetrics`, `ConnectionMetrics`. That one is missing
    /// proves nothing, as there may have been no traffic. Of the access log there is no evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub evidence: Vec<String>,
}

/// What was seen of istiod and of the proxies.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenVersions {
    /// Versions of istiod, oldest first, at most 8, such as `1.30`; `unknown` stands for an image whose tag is no version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub istiod: Vec<String>,
    /// Versions of Istio that the proxies in the mesh's namespaces are of, oldest first, at most 8, such as `1.30`;
    /// `unknown` stands for images whose tag is no version. Absent where there is none, or where they may not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub proxies: Vec<String>,
    /// Version of the oldest Envoy that formats are checked for, such as `1.38`: the one inside the oldest proxy, but
    /// none before the oldest that is supported, 1.36, even where `proxies` has an Istio before 1.28.
    #[serde(default)]
    pub oldest_proxy: String,
    /// Where that comes from: `Spec`, `Proxies` (the oldest that was seen), `Istiod` (the oldest that was seen injects that
    /// version, or, where proxies cannot be seen, may have proxies one minor version behind it), `Unknown` (the oldest
    /// that is supported).
    #[serde(default)]
    pub oldest_proxy_from: String,
}

/// State of one agent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Name of the entry of `spec.agents`.
    pub name: String,
    /// `InSync`, or why it is not (the reasons of `AgentsInSync`).
    pub state: String,
}

/// Status of a TrafficLog.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficLogStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, and `Ready`: all of them. `PartiallyOverridden` where some of it lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The ObservabilityMesh that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// What it effectively says, by backend and direction, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub effective: Vec<EffectiveLog>,
}

/// One thing that a TrafficLog effectively says.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveLog {
    /// Backend of the mesh; absent where logging is switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Direction.
    pub direction: Direction,
    /// Extension provider of MeshConfig that the lines go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Where the format comes from: `TrafficLog`, or `ObservabilityMesh`. Absent where the backend has no format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_from: Option<String>,
    /// Kind of its filter: `Match` or `Expression`. Absent: everything is logged. `sightline explain` shows the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// Status of a TracingBackend.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingBackendStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `AgentsInSync`, and `Ready`: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The ObservabilityMesh that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// What the mesh's proxies effectively do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveTracing>,
    /// Workloads that get environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<InjectStatus>,
}

/// What the mesh's proxies effectively do with spans.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveTracing {
    /// Extension provider of MeshConfig that spans go through.
    pub provider: String,
    /// Address that spans go to: `HOST:PORT`.
    #[serde(default)]
    pub destination: String,
    /// Where the destination comes from: `TracingBackend`, or `ObservabilityMesh` (one of its backends).
    #[serde(default)]
    pub destination_from: String,
    /// Share of requests that is sampled, in percent.
    pub sampling_percentage: String,
    /// Where the sampling comes from: `TracingBackend`, `Default`, or `ObservabilityMesh` (its tenancy limit).
    pub sampling_from: String,
}

/// Workloads that get environment.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InjectStatus {
    /// Workloads that are selected.
    pub workloads: i32,
    /// Of them, those whose pods all run with the wanted environment.
    pub in_sync: i32,
}
