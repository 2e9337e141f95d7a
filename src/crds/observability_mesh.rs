//! `ObservabilityMesh`: what the platform team says once for a mesh.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::collector::Collector;
use super::common::{
    AddressOnly, Direction, Endpoint, LogFormat, OtlpBackend, Sampling, Tag, TimeSpan, WorkloadKind, ZipkinBackend,
};
use super::exports::MetricsExport;
use super::status::ObservabilityMeshStatus;

/// Where Kuma's control plane lives unless the spec says otherwise.
pub const DEFAULT_KUMA_NAMESPACE: &str = "kuma-system";
/// Where Kmesh's daemons live unless the spec says otherwise.
pub const DEFAULT_KMESH_NAMESPACE: &str = "kmesh-system";
/// Where istiod lives unless the spec says otherwise.
pub const DEFAULT_ISTIO_NAMESPACE: &str = "istio-system";

/// Says which mesh this is, which backends telemetry may go to, what is written by default, which agents follow the
/// configuration and how fast they may restart, and what tenants may do.
///
/// `spec: {mesh: {type: Istio}}` is complete: access logs go to `/dev/stdout` in Istio's text format wherever a
/// TrafficLog asks for them.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "sightline.dev",
    version = "v1alpha1",
    kind = "ObservabilityMesh",
    plural = "observabilitymeshes",
    status = "ObservabilityMeshStatus",
    shortname = "omesh",
    category = "sightline",
    derive = "PartialEq",
    doc = "Which mesh this is, which backends telemetry may go to, what is written by default, which agents follow the configuration and how fast they may restart, and what tenants may do. `spec: {mesh: {type: Istio}}` is complete.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name has at most 63 characters: it becomes a label value"),
    printcolumn(name = "Mesh", type_ = "string", description = "Kind of mesh", json_path = ".spec.mesh.type"),
    printcolumn(name = "Ready", type_ = "string", description = "Whether all of it took effect", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", description = "Why it is not Ready", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Agents", type_ = "string", description = "Agents in sync, of all", json_path = ".status.agentsInSync"),
    printcolumn(name = "Age", type_ = "date", description = "Time since creation", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", description = "What is wrong and what to do", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.mesh.type == 'Kuma' || !has(self.logging) || self.logging.backends.all(b, b.type != 'TCP')", "logging.backends: only proxies of Kuma write to a TCP server; use type: OTLP, or a mesh of type Kuma"),
    validation = ("self.mesh.type == 'Kuma' || !has(self.metrics) || !has(self.metrics.kuma)", "metrics.kuma is for mesh.type: Kuma; remove it"),
    validation = ("self.mesh.type == 'Kmesh' || !has(self.metrics) || !has(self.metrics.kmesh)", "metrics.kmesh is for mesh.type: Kmesh; remove it"),
    validation = ("!has(self.metrics) || !has(self.metrics.kuma) || !has(self.metrics.kuma.openTelemetry) || self.logging.backends.exists(b, b.name == self.metrics.kuma.openTelemetry.backend && b.type == 'OTLP')", "metrics.kuma.openTelemetry.backend names no backend of type OTLP in logging.backends; add it there or correct the name"),
    validation = ("!has(self.logging) || !self.logging.backends.exists(b, b.type == 'Collector') || (has(self.collector) && self.collector.receivers.exists(r, r == 'OTLP'))", "logging.backends: type: Collector needs spec.collector with receivers: [OTLP]"),
    validation = ("!has(self.tracing) || !has(self.tracing.backends) || !self.tracing.backends.exists(b, b.type == 'Collector') || (has(self.collector) && self.collector.receivers.exists(r, r != 'Jaeger'))", "tracing.backends: type: Collector needs spec.collector with receivers: [OTLP] or [Zipkin]"),
    validation = ("!has(self.agents) || self.agents.all(a, !a.reads.exists(r, r.type == 'InterfaceTraffic') || has(self.interfaceTraffic))", "an agent that reads InterfaceTraffic needs spec.interfaceTraffic; set it, or read a ConfigMap by name"),
    validation = ("!has(self.agents) || !has(self.interfaceTraffic) || self.agents.all(a, !a.reads.exists(r, r.type == 'InterfaceTraffic') || a.workload.__namespace__ == self.interfaceTraffic.configMap.__namespace__)", "an agent can only read InterfaceTraffic from its own namespace: make agents[].workload.namespace and interfaceTraffic.configMap.namespace the same")
)]
pub struct ObservabilityMeshSpec {
    /// Which mesh this is, and where its control plane lives.
    pub mesh: Mesh,
    /// Namespaces whose policies belong to this mesh, by their labels. Default: all but `kube-system`, `kube-public`
    /// and `kube-node-lease`. Where two meshes select one namespace, its policies need `meshRef`. A policy without
    /// selector in Istio's root namespace becomes one Telemetry there only if this takes every namespace with sidecars
    /// (labels `istio-injection: enabled`, `istio.io/rev`, `istio.io/dataplane-mode`) and no other ObservabilityMesh
    /// names this istiod; else one Telemetry in each namespace that this takes.
    #[serde(default = "all_but_system_namespaces")]
    #[schemars(schema_with = "namespace_selector")]
    pub namespaces: LabelSelector,
    /// What policies outside the mesh's root namespace may do. Who may write in the root namespace is not bound by it.
    #[serde(default)]
    pub tenancy: Tenancy,
    /// Access logs: where they may go and what they look like by default. Nothing is logged before a TrafficLog asks for
    /// it. Default: one backend, `stdout`, in Istio's text format.
    #[serde(default)]
    pub logging: Logging,
    /// Traces: where they may go. Nothing is traced before a TracingBackend asks for it. Absent: no TracingBackend can
    /// name a backend of this mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Metrics that the mesh's proxies report. Default: Istio's standard ones, untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// An OpenTelemetry Collector of this mesh's, which backends of type `Collector` send to. Absent: none of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<Collector>,
    /// SolarMesh's interface-level traffic: writes the ConfigMap that `networking-agent` reads (`grpc-logging`, key
    /// `application.yaml`) with address and credentials of Elasticsearch. The agent reads it at its start only: name it
    /// in `agents` with `reads: [{type: InterfaceTraffic}]`, and it is restarted when this changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_traffic: Option<InterfaceTraffic>,
    /// Workloads that read configuration and do not reload it by themselves: they are restarted when it changes. At
    /// most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub agents: Vec<Agent>,
    /// How fast agents may be restarted. A change of environment (`inject` of a TracingBackend) is a restart too and obeys
    /// the same limits.
    #[serde(default)]
    pub rollout: Rollout,
}

/// Which mesh this is, and where its control plane lives.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.type == oldSelf.type", "mesh.type cannot be changed: delete this ObservabilityMesh and create one of the other type"),
    validation = ("self.type != 'Kuma' || (has(self.kuma) ? self.kuma.systemNamespace : 'kuma-system') == (has(oldSelf.kuma) ? oldSelf.kuma.systemNamespace : 'kuma-system')", "mesh.kuma.systemNamespace cannot be changed: what was written there would stay; delete this ObservabilityMesh and create it anew"),
    validation = ("self.type != 'Kmesh' || (has(self.kmesh) ? self.kmesh.__namespace__ : 'kmesh-system') == (has(oldSelf.kmesh) ? oldSelf.kmesh.__namespace__ : 'kmesh-system')", "mesh.kmesh.namespace cannot be changed: what was switched on there would stay on; delete this ObservabilityMesh and create it anew"),
    validation = ("self.type != 'Kmesh' || !has(oldSelf.istio) || has(self.istio)", "mesh.istio of a mesh of type Kmesh cannot be taken away: what waypoints were given would stay; delete this ObservabilityMesh and create it anew"),
    validation = ("self.type == 'Istio' || self.type == 'Kmesh' || !has(self.istio)", "mesh.istio is for type: Istio or Kmesh; remove it or set one of these"),
    validation = ("self.type == 'Kmesh' || !has(self.kmesh)", "mesh.kmesh is for type: Kmesh; remove it or set type: Kmesh"),
    validation = ("self.type == 'Kuma' || !has(self.kuma)", "mesh.kuma is for type: Kuma; remove it or set type: Kuma")
)]
pub struct Mesh {
    /// `Istio`: policies become Telemetry objects and extension providers. `Kuma`: they become MeshAccessLog and
    /// MeshTrace objects in Kuma's system namespace. `Kmesh`: a TrafficLog for the whole mesh and `metrics.kmesh` become
    /// switches of Kmesh's daemons, and policies with `targetRefs` become Telemetry objects for waypoints. `None`: no mesh; only agents, interface traffic and environment
    /// (`inject`) are served. Cannot be changed.
    #[serde(rename = "type")]
    pub type_: MeshType,
    /// For `type: Istio`: where istiod is and how its MeshConfig is reached. Default: one revision, `default`, in
    /// `istio-system`. For `type: Kmesh`, whose waypoints are Istio's: the same. Default: there are no waypoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioMesh>,
    /// For `type: Kuma`: where its control plane is, and which of its meshes this is. Default: mesh `default` of the
    /// control plane in `kuma-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kuma: Option<KumaMesh>,
    /// For `type: Kmesh`: where its daemons are. Default: DaemonSet `kmesh` in `kmesh-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kmesh: Option<KmeshMesh>,
}

/// Kinds of mesh.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum MeshType {
    /// Istio with sidecars.
    Istio,
    /// Kuma on Kubernetes.
    Kuma,
    /// Kmesh, with or without waypoints of Istio's.
    Kmesh,
    /// No mesh.
    None,
}

/// Istio's control plane.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IstioMesh {
    /// Namespace of istiod and of its ConfigMap `istio`. Default: `istio-system`.
    #[serde(default = "istio_namespace")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Revisions of istiod that serve this mesh, 1 to 4. The mesh is programmed when every one of them sees our
    /// providers. Where one is listed and it is not `default`, our Telemetries carry it as label `istio.io/rev`.
    /// Default: `[default]`.
    #[serde(default = "default_revisions")]
    #[schemars(length(min = 1, max = 4), inner(length(min = 1, max = 56), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub revisions: Vec<String>,
    /// How the extension providers that policies need get into MeshConfig. Default: a ConfigMap of Sightline's own,
    /// `sightline-mesh-config`, that istiod has to be pointed at (until then the reason is `SharedConfigNotWired`, and
    /// the message holds the command).
    #[serde(default)]
    pub mesh_config: MeshConfigTarget,
    /// Versions of the proxies (Envoy), where what is detected is not what counts: formats are checked for the oldest of
    /// them. Default: detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_versions: Option<ProxyVersions>,
}

impl Default for IstioMesh {
    fn default() -> Self {
        Self {
            namespace: istio_namespace(),
            revisions: default_revisions(),
            mesh_config: MeshConfigTarget::default(),
            proxy_versions: None,
        }
    }
}

/// Kuma's control plane.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KumaMesh {
    /// Name of the mesh in Kuma. Default: `default`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Namespace of Kuma's control plane, where its policies for a mesh stand. A policy without selector there holds for
    /// the whole mesh. Cannot be changed. Default: `kuma-system`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub system_namespace: String,
    /// Version of Kuma that is written for, such as `"2.13"`, where it cannot be told by the image of the control plane:
    /// 2.9 to 3.0. Kuma's versions read different fields, and drop what they do not know. Default: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(2\.(9|1[0-9])|3\.[0-9]{1,2})$"), length(max = 8))]
    pub version: Option<String>,
    /// Writes what Kuma 2.x had before policies instead of them: backends in `logging`, `tracing` and `metrics` of the
    /// Mesh, which is patched and never made, with TrafficLogs and TrafficTraces of kuma.io that name them. They know less,
    /// which status says; Kuma 3.0 has dropped them. Default: `false`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
}

impl Default for KumaMesh {
    fn default() -> Self {
        Self {
            name: "default".into(),
            system_namespace: DEFAULT_KUMA_NAMESPACE.into(),
            version: None,
            legacy: false,
        }
    }
}

/// Kmesh's daemons.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KmeshMesh {
    /// Namespace of the daemons. A TrafficLog without selector there switches the access log of all daemons. Cannot be
    /// changed. Default: `kmesh-system`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of their DaemonSet. Its pods carry the label `app: kmesh`, as those of Kmesh's chart do. Default: `kmesh`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub daemon_set: String,
}

impl Default for KmeshMesh {
    fn default() -> Self {
        Self {
            namespace: DEFAULT_KMESH_NAMESPACE.into(),
            daemon_set: "kmesh".into(),
        }
    }
}

/// Where extension providers are written.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.mode != 'Verify' || !has(self.configMapName)", "meshConfig.configMapName is for the modes Shared and Patch: in mode Verify nothing is written"))]
pub struct MeshConfigTarget {
    /// `Shared`: Sightline owns a ConfigMap of its own, which istiod merges below its own MeshConfig when its
    /// environment says `SHARED_MESH_CONFIG=<configMapName>`. `Patch`: Sightline puts its entries, and only them, into
    /// the list `extensionProviders` of a ConfigMap that belongs to somebody else; every other byte stays. `Verify`:
    /// Sightline never writes MeshConfig and says which entries are missing. Default: `Shared`.
    #[serde(default)]
    pub mode: MeshConfigMode,
    /// Name of that ConfigMap, in istiod's namespace. Default: with `Shared` `sightline-mesh-config`; with `Patch`
    /// istiod's own of each revision, `istio` or `istio-REVISION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub config_map_name: Option<String>,
}

/// Ways into MeshConfig.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum MeshConfigMode {
    /// A ConfigMap of our own, named by istiod's `SHARED_MESH_CONFIG`.
    #[default]
    Shared,
    /// Our entries in somebody else's ConfigMap.
    Patch,
    /// Nothing is written.
    Verify,
}

/// What is known of the proxies.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyVersions {
    /// Oldest Envoy version among the proxies, such as `"1.38"`. A format that needs a newer one is refused, because
    /// such a proxy would refuse its whole listener. Default: the oldest that is seen, by the images of istiod (its proxies
    /// may be one minor version behind) and of the proxies in the mesh's namespaces; where nothing can be seen, the oldest
    /// version that Sightline supports, 1.36.
    #[schemars(regex(pattern = r"^1\.(3[6-9]|[4-9][0-9])$"), length(max = 8))]
    pub minimum: String,
}

/// What policies outside the mesh's root namespace may do.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tenancy {
    /// Whether a TrafficLog may switch logging off (`disabled: true`). `Allowed`: it may. `Denied`: it is not accepted
    /// (`LimitedByMesh`), but in the root namespace.
    /// Default: `Denied`.
    pub disable_logging: Permission,
    /// Whether a TrafficLog may have a format that is not the mesh's. `Denied`: the mesh's is used, and the TrafficLog is
    /// told (`PartiallyOverridden`, `LimitedByMesh`). Default: `Allowed`.
    pub override_format: Permission,
    /// Whether such a format may be written freely (`text`, `fields`). `Denied`: only presets may be named; for what is
    /// written freely the mesh's format is used, and the TrafficLog is told. Default: `Allowed`.
    pub custom_formats: Permission,
    /// Highest share of requests that a TracingBackend may sample, in percent; what asks for more gets this. A decimal
    /// with at most two digits after the point. Default: `"100"`.
    #[schemars(length(max = 6), regex(pattern = r"^(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)$"))]
    pub max_sampling_percentage: String,
}

impl Default for Tenancy {
    fn default() -> Self {
        Self {
            disable_logging: Permission::Denied,
            override_format: Permission::Allowed,
            custom_formats: Permission::Allowed,
            max_sampling_percentage: "100".into(),
        }
    }
}

/// Whether tenants may do a thing.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Permission {
    /// They may.
    Allowed,
    /// They may not; a policy that asks for it is told so.
    Denied,
}

/// Access logs of the mesh.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.defaultBackends) || self.defaultBackends.all(d, self.backends.exists(b, b.name == d))", "logging.defaultBackends names a backend that is not in logging.backends; add it there or correct the name"),
    validation = ("!has(self.required) || self.required.all(r, self.backends.exists(b, b.name == r.backend))", "logging.required names a backend that is not in logging.backends; add it there or correct the name"),
    validation = ("self.backends.all(a, self.backends.exists_one(b, b.type == a.type && (!has(a.file) || a.file.path == b.file.path) && (!has(a.otlp) || a.otlp == b.otlp) && (!has(a.tcp) || a.tcp == b.tcp) && (!has(a.envoyALS) || a.envoyALS == b.envoyALS)))", "logging.backends: two backends are the same place; keep one of them, policies share it")
)]
pub struct Logging {
    /// Where access logs may go; TrafficLogs name these. At most 16. Default: one, `stdout`, the file `/dev/stdout`.
    #[serde(default = "stdout_backend")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backends: Vec<LogBackend>,
    /// Backends of a TrafficLog that names none. Default: the first of `backends`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "set"))]
    pub default_backends: Vec<String>,
    /// What is always logged, whatever policies say, in the mesh's format and without a filter: no policy takes it away or
    /// narrows it, in no scope. At most 16 entries. A TrafficLog that claims such a unit in another way is told
    /// (`LimitedByMesh`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["backend", "direction"]))]
    pub required: Vec<RequiredLog>,
    /// Format of a TrafficLog that has none, or that may not have its own. Default: Istio's text format (`{encoding: Text,
    /// preset: Istio}`).
    ///
    /// A format is one of three things:
    ///
    /// - `preset`, a format with a name in this `encoding`, which `fields` add to and `omit` takes away from;
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
    /// know would make that proxy refuse its whole listener (`InvalidFormat`; what was live before stays). What a proxy takes
    /// and nobody wants, such as a header that carries a password, is logged, and the condition Accepted warns of it
    /// (`AcceptedWithWarnings`).
    ///
    /// Example, Istio's JSON with a tenant and without user agent: `{encoding: JSON, preset: Istio, fields: [{name: tenant,
    /// value: "%REQ(X-TENANT):64%"}], omit: [user_agent]}`. Example, a line of your own: `{encoding: Text, text:
    /// "%REQ(:METHOD)% %PATH(NQ):256% %RESPONSE_CODE% %DURATION%"}`.
    #[serde(default)]
    pub format: LogFormat,
    /// How much of MeshConfig access logs and traces may take: each provider is part of what istiod sends to every proxy
    /// that uses it. Past a limit the policies that are last by namespace and name are not programmed
    /// (`CapacityExceeded`); those that are live stay.
    #[serde(default)]
    pub limits: Limits,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            backends: stdout_backend(),
            default_backends: Vec::new(),
            required: Vec::new(),
            format: LogFormat::default(),
            limits: Limits::default(),
        }
    }
}

impl Logging {
    /// Names of the backends of a TrafficLog that names none.
    pub fn effective_default_backends(&self) -> Vec<String> {
        if self.default_backends.is_empty() {
            self.backends.first().map(|b| b.name.clone()).into_iter().collect()
        } else {
            self.default_backends.clone()
        }
    }
}

/// Something that is always logged.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequiredLog {
    /// Name of an entry of `backends`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub backend: String,
    /// Which traffic: `Inbound`, `Outbound` or `Both`. Default: `Both`.
    #[serde(default)]
    pub direction: Direction,
}

/// How much of MeshConfig policies may take.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Most extension providers of the mesh, 1 to 2000. Default: 400.
    #[schemars(range(min = 1, max = 2000))]
    pub providers: i32,
    /// Most extension providers that the policies of one namespace may need beside those of the mesh's own format, 1 to
    /// 400. Default: 8.
    #[schemars(range(min = 1, max = 400))]
    pub providers_per_namespace: i32,
    /// Most bytes of all extension providers together, as JSON, 10000 to 900000: a ConfigMap has at most 1 MiB. Default:
    /// 700000.
    #[schemars(range(min = 10_000, max = 900_000))]
    pub bytes: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            providers: 400,
            providers_per_namespace: 8,
            bytes: 700_000,
        }
    }
}

/// A place where access logs go.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.file) == (self.type == 'File')", "logging.backends: file: {path} goes with type: File, and only with it"),
    validation = ("has(self.otlp) == (self.type == 'OTLP')", "logging.backends: otlp: {endpoint: {host, port}} goes with type: OTLP, and only with it"),
    validation = ("has(self.tcp) == (self.type == 'TCP')", "logging.backends: tcp: {endpoint: {host, port}} goes with type: TCP, and only with it"),
    validation = ("has(self.envoyALS) == (self.type == 'EnvoyALS')", "logging.backends: envoyALS: {endpoint: {host, port}} goes with type: EnvoyALS, and only with it")
)]
pub struct LogBackend {
    /// Name that TrafficLogs use: a lower-case DNS label of at most 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of place. `File`: a file of the proxy's container, for example its standard output. `OTLP`: a receiver of the
    /// OpenTelemetry protocol. `EnvoyALS`: a server of Envoy's gRPC access log service (not with Kuma). `TCP`: a server that
    /// takes lines, such as Logstash (Kuma only). `Collector`: the collector of `spec.collector`, by OTLP.
    #[serde(rename = "type")]
    pub type_: LogBackendType,
    /// For `type: File`: which file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileBackend>,
    /// For `type: OTLP`: address of the receiver, in plaintext over gRPC. A text format becomes the body of a log record,
    /// a JSON format its attributes (flat, strings).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpLogBackend>,
    /// For `type: EnvoyALS`: address of the server. What an entry holds is fixed by Envoy: a format says nothing here.
    #[serde(default, rename = "envoyALS", skip_serializing_if = "Option::is_none")]
    pub envoy_als: Option<EnvoyAlsBackend>,
    /// For `type: TCP`: address of the server, in plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<AddressOnly>,
}

/// Kinds of place for access logs.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum LogBackendType {
    /// The mesh's own collector.
    Collector,
    /// A file of the proxy's container.
    File,
    /// The OpenTelemetry protocol.
    #[serde(rename = "OTLP")]
    Otlp,
    /// Envoy's gRPC access log service.
    #[serde(rename = "EnvoyALS")]
    EnvoyAls,
    /// Lines to a TCP server.
    #[serde(rename = "TCP")]
    Tcp,
}

/// A receiver of log records by the OpenTelemetry protocol, over gRPC.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtlpLogBackend {
    /// Address of the receiver, a Service of this cluster, with that port (usually 4317).
    pub endpoint: Endpoint,
}

/// A server of Envoy's gRPC access log service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyAlsBackend {
    /// Address of the server, a Service of this cluster, with that port.
    pub endpoint: Endpoint,
    /// Name of the log that entries carry, at most 63 characters. Default: `sightline`.
    #[serde(default = "log_name")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[-_.A-Za-z0-9]+$"))]
    pub log_name: String,
    /// Which entries are sent. `HTTP`: of requests. `TCP`: of connections that are not HTTP. `Both`: each as what it is.
    /// Default: `HTTP`.
    #[serde(default)]
    pub protocol: AlsProtocol,
}

/// Entries of Envoy's access log service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum AlsProtocol {
    /// Of requests.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// Of connections that are not HTTP.
    #[serde(rename = "TCP")]
    Tcp,
    /// Both.
    Both,
}

/// A file that each proxy writes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.path.contains('..')", "file.path must not contain '..'; write the path that is meant"))]
pub struct FileBackend {
    /// Absolute path inside the proxy's container, without `..`. Default: `/dev/stdout`.
    #[serde(default = "dev_stdout")]
    #[schemars(length(min = 2, max = 255), regex(pattern = r"^/[-._/A-Za-z0-9]+$"))]
    pub path: String,
}

/// Traces of the mesh.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.default) || (has(self.backends) && self.backends.exists(b, b.name == self.default.backend))", "tracing.default.backend names a backend that is not in tracing.backends; add it there or correct the name"))]
pub struct Tracing {
    /// Where spans may go; TracingBackends name these. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backends: Vec<TraceBackend>,
    /// Where the spans of the whole mesh go while no TracingBackend says otherwise: one without selector in the root
    /// namespace replaces it. Absent: tracing is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultTracing>,
    /// Whether a TracingBackend may send to an address of its own. `SameNamespace`: to a Service of its own namespace,
    /// which then stands in MeshConfig, visible to every proxy. `Denied`: only to `backends`. Default: `Denied`.
    #[serde(default)]
    pub custom_backends: CustomBackends,
}

/// What the whole mesh traces by default.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefaultTracing {
    /// Name of an entry of `backends`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub backend: String,
    /// How many requests are sampled. Default: 1 percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Tags that every span gets, at most 32; a TracingBackend replaces one by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tags: Vec<Tag>,
}

/// Addresses that a TracingBackend may send to.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum CustomBackends {
    /// Only the mesh's backends.
    #[default]
    Denied,
    /// Services of its own namespace too.
    SameNamespace,
}

/// A place where spans go.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.otlp) == (self.type == 'OTLP')", "tracing.backends: otlp: {endpoint: {host, port}} goes with type: OTLP, and only with it"),
    validation = ("has(self.zipkin) == (self.type == 'Zipkin')", "tracing.backends: zipkin: {endpoint: {host, port}} goes with type: Zipkin, and only with it"),
    validation = ("has(self.datadog) == (self.type == 'Datadog')", "tracing.backends: datadog: {endpoint: {host, port}} goes with type: Datadog, and only with it")
)]
pub struct TraceBackend {
    /// Name that TracingBackends use: a lower-case DNS label of at most 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of place. `OTLP`: a receiver of the OpenTelemetry protocol, such as a collector, Tempo or Jaeger. `Zipkin`: a
    /// receiver of Zipkin's format. `Datadog`: Datadog's agent. `Collector`: the collector of `spec.collector`, by OTLP where
    /// it takes that and the mesh speaks it, else in Zipkin's format.
    #[serde(rename = "type")]
    pub type_: TraceBackendType,
    /// For `type: OTLP`: address and transport of the receiver, in plaintext. What needs TLS or a credential is reached
    /// through a collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpBackend>,
    /// For `type: Zipkin`: address of the receiver, in plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinBackend>,
    /// For `type: Datadog`: address of the agent (usually port 8126).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<AddressOnly>,
}

/// Kinds of place for spans.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TraceBackendType {
    /// The mesh's own collector.
    Collector,
    /// The OpenTelemetry protocol.
    #[serde(rename = "OTLP")]
    Otlp,
    /// Zipkin's format, over HTTP.
    Zipkin,
    /// Datadog's agent.
    Datadog,
}

/// Metrics of the mesh.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Changes to Istio's standard metrics, for the whole mesh, at most 40: which are off, which tags they carry. They reach
    /// Istio's provider `prometheus`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["metric", "mode"]))]
    pub overrides: Vec<MetricOverride>,
    /// What Kuma's proxies measure and who gets it: a MeshMetric for the whole mesh. Absent: metrics are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kuma: Option<KumaMetrics>,
    /// What Kmesh's daemons measure beside metrics by service. Absent: metrics are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kmesh: Option<KmeshMetrics>,
    /// Who reads the metrics, at most 16: each entry becomes one object, which tells a reader what to scrape or where to send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub exports: Vec<MetricsExport>,
}

/// Metrics of Kmesh's daemons. That it is there asks for metrics by service (`monitoring`).
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KmeshMetrics {
    /// Metrics by workload. Default: false.
    pub workload: bool,
    /// Metrics by connection that lasts longer than 5 s, and lines in the access log every 5 s. Their labels (addresses,
    /// start time) have no bound: each connection is a series of its own. Needs Kmesh 1.1. Default: false.
    pub connection: bool,
}

/// Metrics of Kuma's proxies.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KumaMetrics {
    /// Port of each proxy that Prometheus scrapes, 1 to 65535. Default: 5670.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path that Prometheus scrapes. Default: `/metrics`.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^/[-._~/A-Za-z0-9]*$"))]
    pub path: String,
    /// Which of Envoy's metrics. `All`: each of them. `Basic`: those that Kuma's dashboards need. `None`: none of Envoy's.
    /// Default: `Basic`.
    pub profile: KumaProfile,
    /// Who gets them by OTLP too. Default: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<KumaMetricsReceiver>,
}

impl Default for KumaMetrics {
    fn default() -> Self {
        Self {
            port: 5670,
            path: "/metrics".into(),
            profile: KumaProfile::default(),
            open_telemetry: None,
        }
    }
}

/// Kuma's sets of metrics.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum KumaProfile {
    /// Each of Envoy's.
    All,
    /// What dashboards need.
    #[default]
    Basic,
    /// None of Envoy's.
    None,
}

/// Who gets metrics by OTLP.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KumaMetricsReceiver {
    /// Name of an entry of `spec.logging.backends`, of type OTLP.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub backend: String,
}

/// A change to one of Istio's standard metrics.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricOverride {
    /// Which metric, by Istio's name. `ALL_METRICS`: each of the ten, an entry for one of them says otherwise for that one.
    /// `REQUEST_COUNT`: `istio_requests_total`. `REQUEST_DURATION`: `istio_request_duration_milliseconds`.
    /// `REQUEST_SIZE`: `istio_request_bytes`. `RESPONSE_SIZE`: `istio_response_bytes`. `TCP_OPENED_CONNECTIONS`:
    /// `istio_tcp_connections_opened_total`. `TCP_CLOSED_CONNECTIONS`: `istio_tcp_connections_closed_total`.
    /// `TCP_SENT_BYTES`: `istio_tcp_sent_bytes_total`. `TCP_RECEIVED_BYTES`: `istio_tcp_received_bytes_total`.
    /// `GRPC_REQUEST_MESSAGES`: `istio_request_messages_total`. `GRPC_RESPONSE_MESSAGES`:
    /// `istio_response_messages_total`.
    pub metric: IstioMetric,
    /// Whose: `Client`, the proxy of who calls; `Server`, of who is called; `Both`. An entry for one of them says otherwise
    /// for that one. Default: `Both`.
    #[serde(default)]
    pub mode: MetricMode,
    /// Whether it is not reported. Default: false.
    #[serde(default)]
    pub disabled: bool,
    /// Tags (labels of the series) that are added, changed or left out, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tags: Vec<TagOverride>,
}

/// Istio's standard metrics.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IstioMetric {
    /// Each of them.
    AllMetrics,
    /// `istio_requests_total`.
    RequestCount,
    /// `istio_request_duration_milliseconds`.
    RequestDuration,
    /// `istio_request_bytes`.
    RequestSize,
    /// `istio_response_bytes`.
    ResponseSize,
    /// `istio_tcp_connections_opened_total`.
    TcpOpenedConnections,
    /// `istio_tcp_connections_closed_total`.
    TcpClosedConnections,
    /// `istio_tcp_sent_bytes_total`.
    TcpSentBytes,
    /// `istio_tcp_received_bytes_total`.
    TcpReceivedBytes,
    /// `istio_request_messages_total`.
    GrpcRequestMessages,
    /// `istio_response_messages_total`.
    GrpcResponseMessages,
}

/// Whose metric.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum MetricMode {
    /// Each side's.
    #[default]
    Both,
    /// The caller's.
    Client,
    /// The callee's.
    Server,
}

/// A change to one tag of a metric.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.value) == (self.operation == 'Upsert')", "tags: value goes with operation: Upsert, and only with it"))]
pub struct TagOverride {
    /// Name of the tag, for example `request_host`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// `Upsert`: the tag is set to `value`. `Remove`: the tag is left out.
    pub operation: TagOperation,
    /// For `operation: Upsert`: a CEL expression over Envoy's attributes, for example `request.host`. One that a proxy cannot
    /// read it would drop without a word, so it is checked (`InvalidFilter`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
}

/// What is done to a tag.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TagOperation {
    /// It is set.
    Upsert,
    /// It is left out.
    Remove,
}

/// SolarMesh's interface-level traffic monitoring: what its `networking-agent` reads.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.elasticsearch.credentialsSecretRef) || self.allowPlaintextCredentials", "networking-agent reads the password from a ConfigMap, where all who read ConfigMaps see it: set allowPlaintextCredentials: true to accept that, or use an Elasticsearch that needs no password"))]
pub struct InterfaceTraffic {
    /// The Elasticsearch that interface traffic is stored in. The operator itself never dials it.
    pub elasticsearch: Elasticsearch,
    /// The ConfigMap that `networking-agent` reads. Default: `grpc-logging` in `service-mesh`.
    #[serde(default)]
    pub config_map: ConfigMapTarget,
    /// Accepts that username and password stand in clear in that ConfigMap, which is all that the agent can read.
    /// Default: false, and then `credentialsSecretRef` is refused.
    #[serde(default)]
    pub allow_plaintext_credentials: bool,
    /// A Wasm module that the proxies of the mesh's namespaces load to report traffic by interface; needs `mesh.type:
    /// Istio`. Traffic passes where it cannot be loaded. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm_plugin: Option<WasmModule>,
}

/// A Wasm module for the mesh's proxies.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.url.contains('@sha256:') || self.url.endsWith('@sha256:' + self.sha256)", "wasmPlugin: the digest in url is not sha256; write the same digest in both, or none in url"))]
pub struct WasmModule {
    /// Where it is: `oci://REGISTRY/IMAGE:TAG` or `https://HOST/PATH`. Plain http is refused.
    #[schemars(
        length(min = 10, max = 512),
        regex(pattern = r"^(oci|https)://[A-Za-z0-9][-._~:/@%A-Za-z0-9]*$")
    )]
    pub url: String,
    /// SHA-256 of the image or module, 64 lower-case hexadecimal digits: nothing else is loaded.
    #[schemars(length(equal = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Configuration that is handed to the module as JSON. Every proxy and everybody who reads WasmPlugins sees it: no
    /// credentials. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub plugin_config: Option<serde_json::Map<String, serde_json::Value>>,
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// An Elasticsearch server.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Elasticsearch {
    /// Address with scheme and port, for example `http://elasticsearch.service-mesh:9200`. No credentials in it.
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r"^https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$")
    )]
    pub url: String,
    /// Secret with username and password. It must carry the label `sightline.dev/shared: "true"`. Unset: none needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretKeysRef>,
}

/// A Secret with a username and a password.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeysRef {
    /// Namespace of the Secret.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key of the username. Default: `username`.
    #[serde(default = "username_key")]
    #[schemars(length(min = 1, max = 253))]
    pub username_key: String,
    /// Key of the password. Default: `password`.
    #[serde(default = "password_key")]
    #[schemars(length(min = 1, max = 253))]
    pub password_key: String,
}

/// A ConfigMap that we write.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapTarget {
    /// Namespace of the ConfigMap. Default: `service-mesh`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the ConfigMap. Default: `grpc-logging`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Take over a ConfigMap of this name that somebody else made (SolarMesh's Helm chart leaves one): its other keys
    /// and labels stay. Default: false, and then it is left alone and the reason is `NotOurs`.
    pub adopt: bool,
}

impl Default for ConfigMapTarget {
    fn default() -> Self {
        Self {
            namespace: "service-mesh".into(),
            name: "grpc-logging".into(),
            adopt: false,
        }
    }
}

/// A workload that reads configuration and does not reload it by itself.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Name of this entry: a lower-case DNS label of at most 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The workload that is restarted. Its namespace is where everything that it `reads` is. Sightline needs the Role of
    /// `config/rbac` there (`sightline rbac --agent-namespace`).
    pub workload: WorkloadRef,
    /// What it reads, 1 to 16 entries, all in its own namespace. When any of it changes, the workload is restarted
    /// once.
    #[schemars(length(min = 1, max = 16))]
    pub reads: Vec<AgentReads>,
}

/// Names a workload.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// Kind of workload, of `apps/v1`: `Deployment`, `DaemonSet` or `StatefulSet`. Default: `Deployment`.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// Namespace of the workload.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

impl std::fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        write!(f, "{} {namespace}/{name}", kind.as_str())
    }
}

/// One thing that an agent reads.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.configMap) == (self.type == 'ConfigMap')", "reads: configMap: {name} goes with type: ConfigMap, and only with it"),
    validation = ("has(self.secret) == (self.type == 'Secret')", "reads: secret: {name} goes with type: Secret, and only with it"),
    validation = ("has(self.export) == (self.type == 'Export')", "reads: export: {name} goes with type: Export, and only with it")
)]
pub struct AgentReads {
    /// Kind of thing. `InterfaceTraffic`: the ConfigMap that `spec.interfaceTraffic` writes. `ConfigMap`: a ConfigMap of
    /// the agent's namespace. `Secret`: a Secret of the agent's namespace. `Export`: the ConfigMap that an entry of
    /// `spec.metrics.exports` becomes.
    #[serde(rename = "type")]
    pub type_: AgentReadsType,
    /// For `type: ConfigMap`: which one, in the agent's namespace. All of its keys count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapRead>,
    /// For `type: Secret`: which one, in the agent's namespace. It must carry the label `sightline.dev/shared: "true"`.
    /// Its values enter the hash under a key of Sightline's own and stand nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRead>,
    /// For `type: Export`: which entry of `spec.metrics.exports`. Its object has to be a ConfigMap of the agent's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportRead>,
}

/// Kinds of thing that an agent reads.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum AgentReadsType {
    /// The ConfigMap of `interfaceTraffic`.
    InterfaceTraffic,
    /// A ConfigMap of the agent's namespace.
    ConfigMap,
    /// A Secret of the agent's namespace.
    Secret,
    /// The ConfigMap of an export.
    Export,
}

/// An export whose ConfigMap an agent reads.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportRead {
    /// Name of an entry of `spec.metrics.exports`.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// A ConfigMap that an agent reads.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRead {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// A Secret that an agent reads. It must carry the label `sightline.dev/shared: "true"`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRead {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Keys whose change restarts the agent, at most 16. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub keys: Vec<String>,
}

/// How fast agents may be restarted. A change of environment (`inject`) is a restart too and obeys the same limits.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Workloads whose rollout may be under way at once, over all namespaces. Default: 1.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: i32,
    /// Shortest time between the starts of two restarts. Default: `30s`.
    pub min_interval: TimeSpan,
    /// A restart waits until nothing that the agent reads has changed for this long, so that ten edits make one
    /// restart. Default: `10s`.
    pub quiet_period: TimeSpan,
    /// Longest time that ever new changes may hold a restart back. Default: `5m`.
    pub max_delay: TimeSpan,
    /// How long the rollout of a restarted workload may take. One that takes longer has failed, see `onFailure`.
    /// Default: `10m`.
    pub progress_deadline: TimeSpan,
    /// What becomes of the other restarts when a rollout has failed. `Halt`: they wait until it completes, its workload
    /// goes, what it reads changes, or somebody sets `sightline.dev/skip-failed` on it; status names the command.
    /// `Continue`: they go on, and the failed one counts no longer against `maxConcurrent`. Default: `Halt`.
    pub on_failure: OnFailure,
    /// Restart nothing for now. Default: false.
    pub paused: bool,
}

/// What becomes of the other restarts when a rollout has failed.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum OnFailure {
    /// They wait.
    #[default]
    Halt,
    /// They go on.
    Continue,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_concurrent: 1,
            min_interval: "30s".into(),
            quiet_period: "10s".into(),
            max_delay: "5m".into(),
            progress_deadline: "10m".into(),
            on_failure: OnFailure::Halt,
            paused: false,
        }
    }
}

fn all_but_system_namespaces() -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".into(),
            operator: "NotIn".into(),
            values: Some(
                ["kube-system", "kube-public", "kube-node-lease"]
                    .map(String::from)
                    .to_vec(),
            ),
        }]),
        match_labels: None,
    }
}

/// A label selector as Kubernetes has it, with bounds and with its rules: one that is no selector would take no
/// namespace, and everything that the mesh has written would go.
fn namespace_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that a namespace must carry, all of them, at most 16.",
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": {"type": "string", "maxLength": 63},
            },
            "matchExpressions": {
                "description": "Conditions on a namespace's labels that must hold, all of them, at most 16.",
                "type": "array",
                "maxItems": 16,
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "The label.", "type": "string", "minLength": 1, "maxLength": 317},
                        "operator": {
                            "description": "`In`, `NotIn`: its value is (not) one of `values`; a namespace without the label is not in any. `Exists`, `DoesNotExist`: the label is there, or is not.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "For `In` and `NotIn`, and only for them: 1 to 64 values.",
                            "type": "array",
                            "maxItems": 64,
                            "items": {"type": "string", "maxLength": 63},
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                        "message": "namespaces.matchExpressions: In and NotIn need values; with Exists and DoesNotExist leave values out",
                    }],
                },
            },
        },
    })
}

fn istio_namespace() -> String {
    DEFAULT_ISTIO_NAMESPACE.into()
}

fn default_revisions() -> Vec<String> {
    vec!["default".into()]
}

fn stdout_backend() -> Vec<LogBackend> {
    vec![LogBackend {
        name: "stdout".into(),
        type_: LogBackendType::File,
        file: Some(FileBackend { path: dev_stdout() }),
        otlp: None,
        envoy_als: None,
        tcp: None,
    }]
}

fn dev_stdout() -> String {
    "/dev/stdout".into()
}

fn log_name() -> String {
    "sightline".into()
}

fn username_key() -> String {
    "username".into()
}

fn password_key() -> String {
    "password".into()
}
