//! What an explanation says: plain values, printed as they are by `--output json`. Members that say nothing are absent.
//!
//! This is a format that programs read: members are added and never change their meaning. `docs/explain.md` lists them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::crds::{CollectorStatus, MetricOverride};
use crate::policy::claims::Side;

/// The answer about one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace of what is explained; empty for a mesh or a namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What there is to say, by `kind`.
    #[serde(flatten)]
    pub answer: Answer,
    /// What the cluster did not let be read: what is said rests on less without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// What there is to say of each kind of thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind")]
pub enum Answer {
    /// One pod, or the pods that a workload makes.
    Pod(Box<PodAnswer>),
    /// A namespace, by sets of workloads.
    Namespace(NamespaceAnswer),
    /// A TrafficLog.
    TrafficLog(TrafficLogAnswer),
    /// A TracingBackend.
    TracingBackend(Box<TracingBackendAnswer>),
    /// An ObservabilityMesh.
    ObservabilityMesh(Box<MeshAnswer>),
}

/// The resource, and the member of it, that a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// `TrafficLog`, `TracingBackend`, `ObservabilityMesh`, `ConfigMap` (with MeshConfig), or `Default`: nobody says it.
    pub kind: String,
    /// Namespace of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path of the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What else there is to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A mesh that serves a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshChoice {
    /// Its name.
    pub name: String,
    /// `Istio` or `None`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Why it serves this.
    pub because: String,
}

/// What holds for one pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodAnswer {
    /// What the labels are those of: `Pod`, or the kind of a workload: the pods that its template makes.
    pub labels_of: String,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// The workload whose selector takes it: `KIND NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The meshes that serve its namespace.
    pub meshes: Vec<MeshChoice>,
    /// Why none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_mesh: Option<String>,
    /// Its proxy.
    pub proxy: ProxySeen,
    /// What proxies do here.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// What Kmesh's daemon of its node is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionsSeen>,
    /// The waypoint of its requests, in a mesh of Kmesh's, by its label or its namespace's (a Service may name another).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waypoint: Option<WaypointSeen>,
    /// Environment that it is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Environment>,
    /// Entries of `spec.agents` that restart it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentEntry>,
    /// Policies that select it and lose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
    /// What is wrong with the policies that select it, and with its meshes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Telemetries of somebody else that reach it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign_telemetries: Vec<ForeignTelemetry>,
}

/// What is seen of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxySeen {
    /// `Sidecar`, `Gateway`, `Waypoint`: it runs. `Expected`: there is none in a workload's template, and its namespace
    /// is labelled for injection. `None`: Telemetry changes nothing for it.
    pub state: String,
    /// Version of Istio that it is of, where its image tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What that means.
    pub message: String,
}

/// What proxies do with logs, spans and metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Our Telemetries that apply, in Istio's order: what comes later replaces what comes before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telemetries: Vec<TelemetryRef>,
    /// Logging by direction; empty where there is no mesh with proxies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logging: Vec<SideLog>,
    /// Tracing; absent where there is no mesh with proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Metrics; absent where there is no mesh with proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

/// What Kmesh's daemons are asked to do with connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionsSeen {
    /// The mesh that asks.
    pub mesh: String,
    /// The node of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How it went with the daemon there: `Requested`, or why not; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its switches.
    pub switches: Vec<SwitchSeen>,
}

/// A switch of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SwitchSeen {
    /// `AccessLog`, `ServiceMetrics`, `WorkloadMetrics` or `ConnectionMetrics`.
    pub name: String,
    /// Whether it is wanted on.
    pub on: bool,
    /// Who has it so.
    pub from: Vec<Origin>,
}

/// A waypoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaypointSeen {
    /// Its Gateway: `NAMESPACE/NAME`.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// A Telemetry of ours.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Mesh`, `Namespace` or `Workloads`.
    pub scope: String,
    /// Which workloads: labels, or a gateway, Service or ServiceEntry.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workloads: String,
    /// The resources that it is made of.
    pub from: Vec<Origin>,
}

/// Logging of one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SideLog {
    /// `Inbound` or `Outbound`.
    pub direction: Side,
    /// `Logged`, `Off`, or `FallsThrough`: no policy names this direction.
    pub outcome: String,
    /// The Telemetry that decides: `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<String>,
    /// Who switched it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_by: Option<Origin>,
    /// Where lines go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// What MeshConfig says, where no policy does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// Lines of a log that go to one place.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Backend of the mesh.
    pub backend: String,
    /// The mesh that has it.
    pub mesh: String,
    /// Extension provider that they go through.
    pub provider: String,
    /// File or `HOST:PORT`; empty where the provider cannot be seen.
    pub place: String,
    /// Format; absent where Envoy fixes what an entry holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Which of them; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Whether the mesh requires it, whatever policies say.
    pub required: bool,
    /// Who asked for it.
    pub from: Origin,
}

/// Format of lines, as the proxy gets it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Format {
    /// The text; for OTLP the body of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The members of the JSON object; for OTLP attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Value>,
    /// Whether what is absent is left out.
    pub omit_empty_values: bool,
    /// Where it comes from.
    pub from: Origin,
}

/// Filter of lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// CEL expression that is true for what is logged.
    pub expression: String,
    /// On TCP connections it comes to an error, which is: not logged, and nothing in it says so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub error_on_tcp: bool,
    /// Where it comes from.
    pub from: Origin,
}

/// What MeshConfig says where no policy does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Default providers that take over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// `accessLogFile`, where that takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `accessLogEncoding`: `TEXT` or `JSON`; absent: Istio's default, `TEXT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// `accessLogFormat`; absent: Istio's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What that means.
    pub message: String,
    /// Where it comes from.
    pub from: Origin,
}

/// Tracing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// `Traced` or `FallsThrough`.
    pub outcome: String,
    /// The Telemetry that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<String>,
    /// Where spans go, how many, with which tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<Spans>,
    /// What MeshConfig says, where no policy does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// Where spans go, how many, with which tags.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spans {
    /// Extension provider.
    pub provider: String,
    /// Address: `HOST:PORT`.
    pub destination: String,
    /// Where the address comes from.
    pub destination_from: Origin,
    /// Share of requests in percent.
    pub sampling_percentage: String,
    /// Where the share comes from.
    pub sampling_from: Origin,
    /// Tags, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<SpanTag>,
    /// Who asked for it.
    pub from: Origin,
}

/// A tag of spans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanTag {
    /// Its name.
    pub name: String,
    /// `Literal`, `Environment`, `Header` or `Formatter`, and its value.
    pub value: String,
    /// Where it comes from.
    pub from: Origin,
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The Telemetry that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<String>,
    /// Changes to Istio's standard metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<MetricOverride>,
    /// Who asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
    /// What MeshConfig says, where no mesh changes anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// Environment of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// The workload: `KIND NAMESPACE/NAME`.
    pub workload: String,
    /// The container.
    pub container: String,
    /// Its variables, in order.
    pub variables: Vec<Variable>,
    /// Who gives it.
    pub from: Origin,
    /// Where the address in it comes from.
    pub destination_from: Origin,
    /// `InSync`, or why it is not there yet.
    pub state: String,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; `<field PATH>` where it is a field of the pod, `<secret NAME/KEY>` where a Secret has it.
    pub value: String,
}

/// Entries of `spec.agents` that restart a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEntry {
    /// The workload: `KIND NAMESPACE/NAME`.
    pub workload: String,
    /// Name of the entry.
    pub entry: String,
    /// Whose entry.
    pub from: Origin,
    /// What it reads.
    pub reads: Vec<String>,
    /// `InSync`, or why it is not.
    pub state: String,
}

/// A policy that selects a workload and loses there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overridden {
    /// The policy.
    pub policy: Origin,
    /// What it claims: `backend NAME`, `the off switch`, `tracing`, `environment of container NAME`.
    pub claim: String,
    /// In which direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Side>,
    /// Who has it instead.
    pub by: Vec<Origin>,
    /// `DeeperScope`, `SameScope` (more labels, priority or name decide), or `Required` (the mesh).
    pub why: String,
}

/// A condition of a resource that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The resource.
    pub of: Origin,
    /// Its condition.
    #[serde(flatten)]
    pub condition: ConditionSeen,
}

/// A condition as the status has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionSeen {
    /// Type.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Reason.
    pub reason: String,
    /// Message.
    pub message: String,
    /// What a compiler said, with the place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

/// What a compiler said about a format or a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Path of the member.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// The line that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Blanks and carets: put below `line`, the carets stand below what is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carets: Option<String>,
}

/// A Telemetry of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignTelemetry {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it speaks of: `accessLogging`, `metrics`, `tracing`.
    pub sections: Vec<String>,
    /// What that means.
    pub message: String,
}

/// What holds in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceAnswer {
    /// The meshes that serve it.
    pub meshes: Vec<MeshChoice>,
    /// Why none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_mesh: Option<String>,
    /// Versions of Istio that its proxies are of, oldest first.
    pub proxies: Vec<String>,
    /// Its policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySeen>,
    /// What Kmesh's daemons are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionsSeen>,
    /// Each set of its workloads that gets something of its own; first all workloads that are in no other set. Empty
    /// where no mesh with proxies serves it; waypoints alone where all its meshes are Kmesh's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<SetAnswer>,
    /// Environment that its workloads are given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Environment>,
    /// Its workloads that are agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentEntry>,
    /// What is wrong with its policies and its meshes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Telemetries of somebody else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign_telemetries: Vec<ForeignTelemetry>,
}

/// A policy, and whether it took effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySeen {
    /// The policy.
    pub of: Origin,
    /// Status of its condition `Ready`.
    pub ready: String,
    /// Reason of its condition `Ready`.
    pub reason: String,
}

/// What holds for a set of workloads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAnswer {
    /// Labels, or a gateway, Service or ServiceEntry; `*` for every other workload.
    pub workloads: String,
    /// What proxies do there.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Policies that select it and lose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
}

/// What a TrafficLog comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficLogAnswer {
    /// The mesh that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// Its conditions.
    pub conditions: Vec<ConditionSeen>,
    /// Sets of workloads that it selects; `*`: all of its namespace.
    pub workloads: Vec<String>,
    /// What it claims, unit by unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
    /// Where its lines go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// Telemetries that it is part of: `NAMESPACE/NAME`.
    pub telemetries: Vec<String>,
}

/// A backend in a direction for a set of workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// The set of workloads.
    pub workloads: String,
    /// The direction.
    pub direction: Side,
    /// The backend; absent for an off switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `Won`, `Lost`, or `Required`: the mesh has it its own way.
    pub outcome: String,
    /// Who won it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Origin>,
}

/// What a TracingBackend comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingBackendAnswer {
    /// The mesh that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// Its conditions.
    pub conditions: Vec<ConditionSeen>,
    /// Sets of workloads that it selects; `*`: all of its namespace.
    pub workloads: Vec<String>,
    /// What it claims of proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<Spans>,
    /// The extension provider's entry in MeshConfig.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Value>,
    /// Who wins instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overridden_by: Option<Origin>,
    /// Telemetries that it is part of: `NAMESPACE/NAME`.
    pub telemetries: Vec<String>,
    /// Environment that it gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Environment>,
}

/// What an ObservabilityMesh comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshAnswer {
    /// `Istio` or `None`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its conditions.
    pub conditions: Vec<ConditionSeen>,
    /// Its Istio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioSeen>,
    /// Namespaces that it serves.
    pub namespaces: Vec<String>,
    /// Backends of logs, with their places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_backends: Vec<BackendSeen>,
    /// Backends of spans, with their addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace_backends: Vec<BackendSeen>,
    /// What it requires, in its own format.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<RequiredSeen>,
    /// Tracing where no TracingBackend says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_tracing: Option<Spans>,
    /// Changes to metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricOverride>,
    /// SolarMesh's interface traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_traffic: Option<InterfaceTrafficSeen>,
    /// Its collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collector: Option<CollectorSeen>,
    /// Policies that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySeen>,
    /// Extension providers that it and its policies need.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderSeen>,
    /// In mode Verify: the entries that a revision's MeshConfig lacks, as YAML with `extensionProviders`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_yaml: Option<String>,
    /// Its agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentEntry>,
}

/// What is seen of an Istio.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioSeen {
    /// Namespace of istiod.
    pub namespace: String,
    /// Revisions.
    pub revisions: Vec<String>,
    /// How providers get into MeshConfig: `Shared`, `Patch` or `Verify`.
    pub mode: String,
    /// Namespace whose policies without selector hold for the whole mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_namespace: Option<String>,
    /// `RootTelemetry`: what holds for the mesh is one Telemetry in the root namespace. `PerNamespace`: one in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_scope: Option<String>,
    /// Versions of istiod.
    pub istiod: Vec<String>,
    /// Versions of Istio that proxies are of.
    pub proxies: Vec<String>,
    /// Envoy that formats are checked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_proxy: Option<String>,
    /// Where that comes from: `Spec`, `Proxies`, `Istiod` or `Unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_proxy_from: Option<String>,
}

/// Interface traffic of SolarMesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceTrafficSeen {
    /// The ConfigMap that its agent reads: `NAMESPACE/NAME`.
    pub config_map: String,
    /// Address of the Elasticsearch.
    pub elasticsearch: String,
    /// The Secret with username and password: `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// Address of the Wasm module that proxies load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasm_plugin: Option<String>,
    /// Who says so.
    pub from: Origin,
}

/// The collector of a mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectorSeen {
    /// What runs it, and what a restart can lose.
    #[serde(flatten)]
    pub status: CollectorStatus,
    /// What it takes.
    pub receivers: Vec<String>,
    /// Where it sends to.
    pub exporters: Vec<ExporterSeen>,
    /// How many of the traces it passes on, in percent. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<String>,
    /// Who says so.
    pub from: Origin,
}

/// Where a collector sends to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExporterSeen {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its addresses.
    pub urls: Vec<String>,
    /// What is sent there.
    pub signals: Vec<String>,
    /// Who says so.
    pub from: Origin,
}

/// A backend, and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendSeen {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// File or address.
    pub place: String,
    /// Whether policies that name no backend use it.
    pub default: bool,
    /// Who says so.
    pub from: Origin,
    /// What is missing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a mesh requires.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredSeen {
    /// Directions.
    pub directions: Vec<Side>,
    /// Where lines go.
    pub lines: Vec<Line>,
}

/// An extension provider that is needed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSeen {
    /// Its name.
    pub name: String,
    /// Its entry in `extensionProviders`.
    pub entry: Value,
    /// Who needs it.
    pub used_by: Vec<Origin>,
    /// Revisions for which neither istiod's own ConfigMap nor the one that we write has it so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_in: Vec<String>,
}
