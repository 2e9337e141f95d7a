//! `TrafficLog`: what is logged in a namespace.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use schemars::JsonSchema;

use super::common::{Direction, LogFormat, MatchLabels, MeshRef, TargetRef, TimeSpan};
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
#[x_kube(
    validation = ("!self.disabled || !(has(self.backends) || has(self.format) || has(self.filter))", "disabled: true switches logging off and stands alone with direction and selector: remove backends, format and filter"),
    validation = ("!(has(self.selector) && has(self.targetRefs))", "selector and targetRefs exclude each other: make two TrafficLogs"),
    validation = ("!has(self.targetRefs) || self.direction == 'Both'", "direction does not go with targetRefs: a gateway is a client, a waypoint a server; remove direction")
)]
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
    /// Gateways and waypoints of this namespace that it holds for, at most 16, instead of `selector`: a waypoint's proxies
    /// can be reached in no other way. Not with `direction` (a gateway is a client, a waypoint a server), and not in the
    /// mesh's root namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// Which requests and connections are logged. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<LogFilter>,
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

/// Which requests and connections are logged.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.match) == (self.type == 'Match')", "filter: match: {…} goes with type: Match, and only with it"),
    validation = ("has(self.expression) == (self.type == 'Expression')", "filter: expression: '…' goes with type: Expression, and only with it")
)]
pub struct LogFilter {
    /// Kind of filter. `Match`: properties that must hold. `Expression`: a CEL expression over Envoy's attributes.
    #[serde(rename = "type")]
    pub type_: LogFilterType,
    /// For `type: Match`: the properties, all of which must hold.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<LogMatch>,
    /// For `type: Expression`: CEL over Envoy's attributes that gives true for what is logged, for example
    /// `response.code >= 500 || request.duration > duration('1s')`. It is checked before it reaches a proxy: functions
    /// and attributes that Envoy does not have are refused (`InvalidFilter`). On TCP connections HTTP attributes do not
    /// exist: guard them with `has(request.method)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// Kinds of filter.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum LogFilterType {
    /// Properties that must hold.
    Match,
    /// A CEL expression.
    Expression,
}

/// Properties of what is logged: all that are given must hold. A property of HTTP never holds for a TCP connection.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.minStatus) || has(self.minDuration) || has(self.methods) || has(self.hosts) || has(self.pathPrefixes) || has(self.responseFlags)", "filter.match needs at least one property; leave filter out to log everything"))]
pub struct LogMatch {
    /// Lowest HTTP status that is logged, 100 to 599, for example 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub min_status: Option<i32>,
    /// Shortest duration that is logged, for example `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<TimeSpan>,
    /// HTTP methods, one of which it must be, at most 16, for example `[POST, PUT]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 32), regex(pattern = r"^[-!#$%&'*+.^_`|~A-Za-z0-9]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<String>,
    /// Hosts (the authority without its port), one of which it must be, at most 16: `shop.example.com`, or
    /// `*.example.com` for every host below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = r"^(\*\.)?[-_.A-Za-z0-9]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<String>,
    /// Path prefixes, one of which it must have, at most 16: `/api` holds for `/api`, `/api/x` and `/api?x`, not for
    /// `/apix`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 255), regex(pattern = r"^/")), extend("x-kubernetes-list-type" = "set"))]
    pub path_prefixes: Vec<String>,
    /// Envoy's response flags, one of which it must carry, at most 32, by their short names, for example `[UF, UH]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 8), regex(pattern = r"^[A-Z]+$")), extend("x-kubernetes-list-type" = "set"))]
    pub response_flags: Vec<String>,
    /// Whether TCP connections are logged too, those for which `minDuration` and `responseFlags` hold. Default: false,
    /// only HTTP requests are.
    #[serde(default, rename = "includeTCP")]
    pub include_tcp: bool,
}
