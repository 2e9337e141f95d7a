//! Types that several of the three resources share.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Names the ObservabilityMesh that a policy belongs to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshRef {
    /// Name of an ObservabilityMesh (cluster-scoped).
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Selects workloads of the policy's own namespace by the labels of their pods.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.matchLabels.size() >= 1", "selector.matchLabels needs at least one label; leave selector out to select the whole namespace"),
    validation = ("self.matchLabels.all(k, k.size() > 0 && k.size() <= 317 && !k.contains('*'))", "selector.matchLabels: a key is a label name without '*'; write the whole label name"),
    validation = ("self.matchLabels.all(k, self.matchLabels[k].size() <= 63 && !self.matchLabels[k].contains('*'))", "selector.matchLabels: a value has at most 63 characters and no '*'; write the whole label value")
)]
pub struct MatchLabels {
    /// Labels that must be carried, all of them. 1 to 8, no wildcards.
    #[schemars(extend("maxProperties" = 8), schema_with = "label_map")]
    pub match_labels: BTreeMap<String, String>,
}

fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// Names a gateway or what a waypoint serves, in the policy's own namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.group) || self.group == {'Gateway': 'gateway.networking.k8s.io', 'Service': '', 'ServiceEntry': 'networking.istio.io'}[self.kind]", "targetRefs: group goes with kind: gateway.networking.k8s.io with Gateway, '' with Service, networking.istio.io with ServiceEntry; leave it out to have the right one"))]
pub struct TargetRef {
    /// API group of the kind: `gateway.networking.k8s.io` for Gateway, empty for Service, `networking.istio.io` for
    /// ServiceEntry. Default: that of `kind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub group: Option<String>,
    /// Kind of object. `Gateway`: the proxies of a Gateway (Gateway API), waypoints included. `Service`,
    /// `ServiceEntry`: traffic to it through its waypoint.
    pub kind: TargetKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Kinds of object that a policy can be attached to.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum TargetKind {
    /// `gateway.networking.k8s.io` Gateway.
    Gateway,
    /// `v1` Service.
    Service,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
}

impl TargetKind {
    /// API group of the kind.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Gateway => "gateway.networking.k8s.io",
            Self::Service => "",
            Self::ServiceEntry => "networking.istio.io",
        }
    }
}

/// A network address: a host name and a port. The operator itself never dials it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Host name. A Service is written `NAME.NAMESPACE.svc` or `NAME.NAMESPACE.svc.cluster.local`: a mesh backend has
    /// to be one, because a mesh only sends to what is in its registry.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Endpoint {
    /// `(namespace, service)` when the host is a Kubernetes Service name that carries its namespace.
    pub fn service(&self) -> Option<(&str, &str)> {
        let mut parts = self.host.splitn(4, '.');
        let (name, namespace, svc) = (parts.next()?, parts.next()?, parts.next()?);
        let domain = parts.next();
        (svc == "svc" && domain.is_none_or(|d| d == "cluster.local")).then_some((namespace, name))
    }
}

/// A span of time as Kubernetes users write it: `500ms`, `10s`, `1m30s`, `2h`.
///
/// Kept as written: the schema's pattern guards it, [`TimeSpan::get`] reads it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct TimeSpan(pub String);

/// Milliseconds of a [`TimeSpan`] that could be read.
pub type Millis = Duration;

impl TimeSpan {
    /// The span, or `None` where the text is no span (an object that was stored before the schema's pattern).
    pub fn get(&self) -> Option<Millis> {
        let mut total = Duration::ZERO;
        let mut rest = self.0.as_str();
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&n| n > 0)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(letters);
            let number: u64 = number.parse().ok()?;
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return None,
            };
            total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
            rest = next;
        }
        Some(total)
    }
}

impl From<&str> for TimeSpan {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for TimeSpan {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 20, "pattern": "^([0-9]{1,6}(ms|s|m|h)){1,4}$"})
    }
}

/// How a log line is written.
///
/// Either a `preset` (which `fields` add to and `omit` takes away from), or, for `encoding: Text`, a whole `text`, or,
/// for `encoding: JSON`, `fields` alone. The language of the values is Envoy's access-log format:
/// `%REQ(X-TENANT)%` is a request header, `%RESPONSE_CODE%` the status, `%%` a percent sign. Every operator is checked
/// before it reaches a proxy: one that the oldest proxy does not know would make that proxy refuse its whole listener.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = format_rules()))]
pub struct LogFormat {
    /// How requests are written, and TCP connections too unless `tcp` says otherwise.
    #[serde(flatten)]
    pub line: LineFormat,
    /// A format of its own for TCP connections, with the fields of the outer one. Where the two differ, each backend
    /// costs two extension providers. Default: the outer format, in the form that its preset has for TCP (Kuma, ECS and
    /// OpenTelemetry have one); else in the same form, in which HTTP operators print `-` for TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = format_rules()))]
    pub tcp: Option<LineFormat>,
}

/// How one line is written.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LineFormat {
    /// How a line is encoded. `Text`: one line of text. `JSON`: one object a line; a value that is a single operator keeps its type (numbers
    /// stay numbers, what is absent is null). Default: `Text`.
    #[serde(default)]
    pub encoding: Encoding,
    /// A format to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<FormatPreset>,
    /// The whole format as one text, at most 8 KiB. A newline is added where there is none. Alone: not with `preset`,
    /// `fields` or `omit`.
    ///
    /// Example: `[%START_TIME%] %REQ(:METHOD)% %PATH(NQ):256% %RESPONSE_CODE%`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub text: Option<String>,
    /// Fields by name, at most 64. JSON: members of the object; one with the name of a preset's field replaces it.
    /// Text: ` name=value` is added before the newline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub fields: Vec<FormatField>,
    /// Names of the preset's fields to leave out, at most 64, by their JSON names (`user_agent`, `x_forwarded_for`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub omit: Vec<String>,
    /// Leaves out what is absent: in text it prints nothing instead of `-`, in JSON the member is missing instead of
    /// null. File backends only. Default: false.
    #[serde(default)]
    pub omit_empty_values: bool,
}

impl Default for LineFormat {
    fn default() -> Self {
        Self {
            encoding: Encoding::Text,
            preset: Some(FormatPreset::Istio),
            text: None,
            fields: Vec::new(),
            omit: Vec::new(),
            omit_empty_values: false,
        }
    }
}

impl LogFormat {
    /// The lines of the format, each with what to call it in a message.
    pub fn lines(&self) -> impl Iterator<Item = (&'static str, &LineFormat)> {
        std::iter::once(("", &self.line)).chain(self.tcp.iter().map(|tcp| (".tcp", tcp)))
    }
}

/// The rules of a line's format. They stand on both places that have one, as a flattened struct has no place of its own.
fn format_rules() -> serde_json::Value {
    serde_json::json!([
        {"rule": "has(self.text) || has(self.preset) || (self.encoding == 'JSON' && has(self.fields))",
         "message": "a format needs a preset, a text (encoding: Text) or fields (encoding: JSON); write preset: Istio for the mesh's own format"},
        {"rule": "!has(self.text) || self.encoding == 'Text'",
         "message": "text is for encoding: Text; with encoding: JSON write fields: [{name, value}]"},
        {"rule": "!has(self.text) || !(has(self.preset) || has(self.fields) || has(self.omit))",
         "message": "text is the whole format: remove preset, fields and omit, or remove text"},
        {"rule": "!has(self.omit) || has(self.preset)",
         "message": "omit takes fields away from a preset: set preset, or remove omit"},
        {"rule": "!has(self.fields) || self.encoding == 'JSON' || self.fields.all(f, !f.nest)",
         "message": "nest makes objects of a field's name: it is for encoding: JSON"},
        {"rule": "!has(self.preset) || self.encoding == 'JSON' || !(self.preset in ['ECS', 'OpenTelemetry'])",
         "message": "the presets ECS and OpenTelemetry are names for values: set encoding: JSON"},
    ])
}

/// How a line is encoded.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum Encoding {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object a line.
    #[serde(rename = "JSON")]
    Json,
}

// The schema of an optional enum has the doc of its type, not of the field: what a reader of `preset` wants stands here.
/// A format to start from. `Istio`: Istio's default access-log format of this encoding. `Envoy`: Envoy's own default of
/// this encoding. `Kuma`: Kuma's defaults; in another mesh what only Kuma knows is `-` in text and left out of JSON. `ECS`:
/// names of the Elastic Common Schema, JSON only. `OpenTelemetry`: names of its semantic conventions, JSON only. Kuma, ECS
/// and OpenTelemetry have a form of their own for TCP connections. `fields` add to it, `omit` takes fields away. Not with
/// `text`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum FormatPreset {
    /// Istio's default access-log format.
    Istio,
    /// Envoy's default access-log format.
    Envoy,
    /// Kuma's default access-log formats.
    Kuma,
    /// Names of the Elastic Common Schema.
    #[serde(rename = "ECS")]
    Ecs,
    /// Names of OpenTelemetry's semantic conventions.
    OpenTelemetry,
}

/// One named field of a format.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormatField {
    /// Name of the field in the line, for example `tenant`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Value: literal text and operators, at most 1 KiB, for example `%REQ(X-TENANT):64%`.
    #[schemars(length(min = 0, max = 1024))]
    pub value: String,
    /// Whether dots in the name make objects in objects: `http.method` becomes `{"http": {"method": …}}`. JSON only.
    /// Default: false, the dot is part of the name.
    #[serde(default)]
    pub nest: bool,
}

/// How many requests are sampled.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sampling {
    /// Share of requests in percent, `"0"` to `"100"`, with at most two digits after the point (Envoy's resolution is
    /// 0.01 %), for example `"0.5"`.
    #[schemars(length(max = 6), regex(pattern = r"^(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)$"))]
    pub percentage: String,
}

/// A tag that the mesh's proxies add to every span.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.literal) == (self.type == 'Literal')", "tags: literal: VALUE goes with type: Literal, and only with it"),
    validation = ("has(self.environment) == (self.type == 'Environment')", "tags: environment: {name} goes with type: Environment, and only with it"),
    validation = ("has(self.header) == (self.type == 'Header')", "tags: header: {name} goes with type: Header, and only with it"),
    validation = ("has(self.formatter) == (self.type == 'Formatter')", "tags: formatter: VALUE goes with type: Formatter, and only with it")
)]
pub struct Tag {
    /// Name of the tag, for example `env`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Where the value comes from. `Literal`: it stands here. `Environment`: a variable of the proxy. `Header`: a request
    /// header. `Formatter`: text with the operators of access logs, for proxies of Istio 1.29 (Envoy 1.37) or later.
    #[serde(rename = "type")]
    pub type_: TagType,
    /// For `type: Literal`: the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub literal: Option<String>,
    /// For `type: Environment`: which variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<NamedValue>,
    /// For `type: Header`: which request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<NamedValue>,
    /// For `type: Formatter`: text with operators, for example `%REQUESTED_SERVER_NAME%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub formatter: Option<String>,
}

/// Where the value of a tag comes from.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TagType {
    /// It stands in the spec.
    Literal,
    /// A variable of the proxy's environment.
    Environment,
    /// A request header.
    Header,
    /// Text with operators of access logs.
    Formatter,
}

/// Names a variable or a header.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedValue {
    /// Name of the variable or header.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-_.A-Za-z0-9]+$"))]
    pub name: String,
    /// Value where there is no such variable or header. Default: the span gets no such tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub default_value: Option<String>,
}

/// A receiver of spans by the OpenTelemetry protocol.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.path) || self.protocol == 'HTTP'", "otlp.path is for protocol: HTTP; remove it or set protocol: HTTP"))]
pub struct OtlpBackend {
    /// Address of the receiver. For a mesh it has to be a Service of this cluster, with that port.
    pub endpoint: Endpoint,
    /// Transport. `GRPC`: OTLP over gRPC, usually port 4317. `HTTP`: OTLP over HTTP, usually port 4318. Default: `GRPC`.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// For `protocol: HTTP`: path of the receiver. Default: `/v1/traces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^/[-._~/A-Za-z0-9]*$"))]
    pub path: Option<String>,
}

/// Transports of OTLP.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    #[default]
    #[serde(rename = "GRPC")]
    Grpc,
    /// OTLP over HTTP.
    #[serde(rename = "HTTP")]
    Http,
}

/// A receiver of spans in Zipkin's format.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZipkinBackend {
    /// Address of the receiver, a Service of this cluster, with that port (usually 9411).
    pub endpoint: Endpoint,
    /// Path of the receiver. Default: `/api/v2/spans`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^/[-._~/A-Za-z0-9]*$"))]
    pub path: Option<String>,
}

/// A receiver that has nothing but an address.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressOnly {
    /// Address of the receiver, a Service of this cluster, with that port.
    pub endpoint: Endpoint,
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

/// Kind of workload, of `apps/v1`: `Deployment`, `DaemonSet` or `StatefulSet`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    #[default]
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

impl WorkloadKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::DaemonSet, Self::StatefulSet];

    /// The kind's name, as objects have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_reads_go_style_durations_and_refuses_the_rest() {
        let ms = |text: &str| TimeSpan::from(text).get().map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("2h"), Some(7_200_000));
        for bad in ["", "10", "s", "1d", "-1s", "1.5s"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_endpoint_names_a_service_only_with_its_namespace() {
        let service = |host: &str| {
            Endpoint {
                host: host.into(),
                port: 1,
            }
            .service()
            .map(|(ns, n)| format!("{ns}/{n}"))
        };
        assert_eq!(service("tempo.monitoring.svc"), Some("monitoring/tempo".into()));
        assert_eq!(
            service("tempo.monitoring.svc.cluster.local"),
            Some("monitoring/tempo".into())
        );
        assert_eq!(service("tempo.monitoring"), None);
        assert_eq!(service("tempo.example.com"), None);
        assert_eq!(service("tempo.monitoring.svc.example.com"), None);
    }
}
