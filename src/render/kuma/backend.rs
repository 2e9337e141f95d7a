//! Where logs, spans and metrics go: plain values, to which a version gives its shape when they are written. So what was
//! good before an upgrade of Kuma can be written for the version after it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::versions::{Knows, Receivers};
use crate::crds::{Endpoint, OtlpBackend, OtlpProtocol};
use crate::digest;
use crate::format::{self, CompiledFormat, Dialect, Inexpressible, KumaFormat};
use crate::render::Provider;

/// Label of a MeshOpenTelemetryBackend of ours, by which policies name it: 2.14 and later take nothing else.
pub const RECEIVER: &str = "sightline.dev/receiver";

/// Where receivers of OTLP over HTTP take traces. Kuma adds it to the path that a backend has.
const TRACES: &str = "/v1/traces";

/// A receiver of OTLP, in plaintext.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct Receiver {
    /// Host.
    pub host: String,
    /// Port.
    pub port: i32,
    /// For OTLP over HTTP: the path before that of the signal, empty or with a slash in front. Absent: gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
}

impl Receiver {
    /// A receiver over gRPC.
    pub fn grpc(endpoint: &Endpoint) -> Self {
        Self {
            host: endpoint.host.clone(),
            port: endpoint.port,
            http: None,
        }
    }

    /// A receiver of spans.
    ///
    /// # Errors
    /// Why a version cannot send there, for a person: the rest of a sentence that begins with the receiver.
    pub fn of_spans(otlp: &OtlpBackend, knows: &Knows) -> Result<Self, String> {
        let grpc = Self::grpc(&otlp.endpoint);
        if otlp.protocol == OtlpProtocol::Grpc {
            return Ok(grpc);
        }
        if knows.receivers == Receivers::Endpoint {
            let version = knows.version;
            return Err(format!(
                "Kuma {version} sends OTLP over gRPC only; set otlp.protocol to GRPC and remove otlp.path"
            ));
        }
        let path = otlp.path.as_deref().unwrap_or(TRACES);
        let http = path.strip_suffix(TRACES).ok_or_else(|| {
            format!("Kuma sends spans to a path that ends in {TRACES}, which {path} does not; correct otlp.path")
        })?;
        let http = Some(http.to_owned());
        Ok(Self { http, ..grpc })
    }

    /// Its MeshOpenTelemetryBackend for a mesh: the name, made of the content, and the spec. What the spec says wins over
    /// `OTEL_EXPORTER_…` in the environment of a proxy, which by Kuma's default would win.
    pub fn backend(&self, mesh: &str) -> Provider {
        let mut endpoint = json!({"address": self.host, "port": self.port});
        if let (Some(path), Some(endpoint)) = (self.http.as_ref().filter(|p| !p.is_empty()), endpoint.as_object_mut()) {
            endpoint.insert("path".into(), path.as_str().into());
        }
        let protocol = if self.http.is_some() { "http" } else { "grpc" };
        let entry = json!({
            "endpoint": endpoint,
            "protocol": protocol,
            "env": {"mode": "Optional", "precedence": "ExplicitFirst"},
        });
        let name = name_of("otlp", &(mesh, self));
        Provider { name, entry }
    }

    /// The members of a backend that name it.
    fn members(&self, knows: &Knows, mesh: &str) -> Map<String, Value> {
        let (member, value) = match knows.receivers {
            Receivers::Endpoint => ("endpoint", Value::from(format!("{}:{}", self.host, self.port))),
            Receivers::Backend => {
                let labels = json!({RECEIVER: self.backend(mesh).name});
                (
                    "backendRef",
                    json!({"kind": "MeshOpenTelemetryBackend", "labels": labels}),
                )
            }
        };
        Map::from_iter([(member.to_owned(), value)])
    }
}

/// `sightline-<kind>-<12 hex of content>`.
pub fn name_of(kind: &str, content: &impl Serialize) -> String {
    let content = serde_json::to_string(content).unwrap_or_default();
    format!("sightline-{kind}-{}", digest::short(&content, 12))
}

/// How a line is written.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct Format {
    /// The line: one text, or fields by name, escaped as Kuma wants them.
    pub line: Line,
    /// Whether what is absent is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub omit_empty_values: bool,
}

/// One text, or fields by name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// `Plain`.
    Plain(String),
    /// `Json`.
    Json(Vec<(String, String)>),
}

impl Format {
    fn value(&self) -> Value {
        let mut value = match &self.line {
            Line::Plain(text) => json!({"type": "Plain", "plain": text}),
            Line::Json(fields) => json!({"type": "Json", "json": pairs(fields)}),
        };
        if let Some(value) = value.as_object_mut().filter(|_| self.omit_empty_values) {
            value.insert("omitEmptyValues".into(), true.into());
        }
        value
    }
}

fn pairs(fields: &[(String, String)]) -> Vec<Value> {
    let pair = |(key, value): &(String, String)| json!({"key": key, "value": value});
    fields.iter().map(pair).collect()
}

/// A place that access logs go to. Without a format it is Kuma's own, which is one for requests and one for connections.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum LogBackend {
    /// A file of the proxy's container.
    File {
        /// Its path.
        path: String,
        /// How a line is written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
    },
    /// Lines to a TCP server.
    Tcp {
        /// `HOST:PORT`.
        address: String,
        /// How a line is written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
    },
    /// Log records by OTLP.
    OpenTelemetry {
        /// Who takes them.
        receiver: Receiver,
        /// The body; absent: Kuma's own line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// The attributes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<(String, String)>,
    },
}

/// Body of a record whose content is in its attributes, as on Istio: else Kuma would send its own line.
const BODY_OF_ATTRIBUTES: &str = "access log";

impl LogBackend {
    /// Log records of a format, and what of it this version cannot say.
    ///
    /// # Errors
    /// What no version can say.
    pub fn otlp(
        receiver: Receiver,
        format: &CompiledFormat,
        knows: &Knows,
    ) -> Result<(Self, Vec<String>), Vec<Inexpressible>> {
        let expressed = format::to_kuma(format)?;
        let KumaFormat::Json(_) = &expressed.value else {
            let (line, lost) = line(format)?;
            let body = match line {
                Line::Plain(text) => Some(text),
                Line::Json(_) => None,
            };
            let attributes = Vec::new();
            return Ok((
                Self::OpenTelemetry {
                    receiver,
                    body,
                    attributes,
                },
                lost,
            ));
        };
        // Attributes stand as they are: only members of `json` are escaped.
        let spec = expressed.value.to_spec(Dialect::Kuma(knows.version))?;
        // Names with dots are what attributes have anyway.
        let is_loss = |lost: &&Inexpressible| !matches!(lost, Inexpressible::Nesting(_));
        let mut lost: Vec<String> = expressed.lost.iter().filter(is_loss).map(ToString::to_string).collect();
        let mut attributes = Vec::new();
        for field in spec.fields {
            if field.name == "@timestamp" && field.value == "%START_TIME%" {
                // Each record has this time beside its attributes, and no name of an attribute is like that here.
            } else if knows.restricts_attributes && !is_attribute(&field.name) {
                lost.push(format!(
                    "`{}` is no name of an attribute in Kuma {}: lower-case words with dots or underscores between them are",
                    field.name, knows.version
                ));
            } else if !knows.replaces_in_attributes && field.value.contains("%KUMA_") {
                lost.push(format!(
                    "`{}`: Kuma {} replaces its own operators in the body only",
                    field.name, knows.version
                ));
            } else {
                attributes.push((field.name, field.value));
            }
        }
        let body = Some(BODY_OF_ATTRIBUTES.to_owned());
        let backend = Self::OpenTelemetry {
            receiver,
            body,
            attributes,
        };
        Ok((backend, lost))
    }

    /// What tells it from others, made of its content.
    pub fn name(&self) -> String {
        let kind = match self {
            Self::File { .. } => "file",
            Self::Tcp { .. } => "tcp",
            Self::OpenTelemetry { .. } => "otlp-logs",
        };
        name_of(kind, self)
    }

    /// File or `HOST:PORT`, for a person.
    pub fn place(&self) -> String {
        match self {
            Self::File { path, .. } => path.clone(),
            Self::Tcp { address, .. } => address.clone(),
            Self::OpenTelemetry { receiver, .. } => format!("{}:{}", receiver.host, receiver.port),
        }
    }

    /// The entry of `backends`.
    pub fn value(&self, knows: &Knows, mesh: &str) -> Value {
        let with_format = |member: &str, value: &str, format: &Option<Format>| {
            let mut body = Map::from_iter([(member.to_owned(), Value::from(value))]);
            body.extend(format.as_ref().map(|format| ("format".to_owned(), format.value())));
            body
        };
        match self {
            Self::File { path, format } => json!({"type": "File", "file": with_format("path", path, format)}),
            Self::Tcp { address, format } => json!({"type": "Tcp", "tcp": with_format("address", address, format)}),
            Self::OpenTelemetry {
                receiver,
                body,
                attributes,
            } => {
                let mut members = receiver.members(knows, mesh);
                members.extend(
                    body.as_ref()
                        .map(|body| ("body".to_owned(), json!({"stringValue": body}))),
                );
                if !attributes.is_empty() {
                    members.insert("attributes".into(), pairs(attributes).into());
                }
                json!({"type": "OpenTelemetry", "openTelemetry": members})
            }
        }
    }
}

/// A line, and what of it Kuma cannot say.
///
/// # Errors
/// What has to be changed.
pub fn line(format: &CompiledFormat) -> Result<(Line, Vec<String>), Vec<Inexpressible>> {
    let expressed = format::to_kuma(format)?;
    let line = match expressed.value {
        KumaFormat::Plain(text) => Line::Plain(text),
        KumaFormat::Json(fields) => Line::Json(fields),
    };
    Ok((line, expressed.lost.iter().map(ToString::to_string).collect()))
}

/// Whether 2.14 and later take it for the name of an attribute: `^[a-z]([a-z0-9]|[._][a-z0-9])*$`, not below `otel.`.
pub fn is_attribute(name: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let words = name.split(['.', '_']);
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.starts_with("otel.")
        && words.into_iter().all(|part| !part.is_empty() && part.chars().all(word))
}

/// A place that spans go to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum TraceBackend {
    /// A receiver of OTLP.
    OpenTelemetry(Receiver),
    /// A receiver of Zipkin's format, by its URL.
    Zipkin(String),
    /// Datadog's agent, by its URL.
    Datadog(String),
}

impl TraceBackend {
    /// A receiver of Zipkin's format.
    pub fn zipkin(endpoint: &Endpoint, path: Option<&str>) -> Self {
        Self::Zipkin(format!("http://{endpoint}{}", path.unwrap_or("/api/v2/spans")))
    }

    /// Datadog's agent. Kuma takes no path.
    pub fn datadog(endpoint: &Endpoint) -> Self {
        Self::Datadog(format!("http://{endpoint}"))
    }

    /// What tells it from others, made of its content.
    pub fn name(&self) -> String {
        let kind = match self {
            Self::OpenTelemetry(_) => "otlp",
            Self::Zipkin(_) => "zipkin",
            Self::Datadog(_) => "datadog",
        };
        name_of(kind, self)
    }

    /// The entry of `backends`. Spans of Zipkin are as Istio's: ids of 128 bits, and one span for each side of a request.
    pub fn value(&self, knows: &Knows, mesh: &str) -> Value {
        match self {
            Self::OpenTelemetry(receiver) => {
                json!({"type": "OpenTelemetry", "openTelemetry": receiver.members(knows, mesh)})
            }
            Self::Zipkin(url) => json!({"type": "Zipkin", "zipkin": {
                "url": url, "apiVersion": "httpJson", "traceId128bit": true, "sharedSpanContext": false,
            }}),
            Self::Datadog(url) => json!({"type": "Datadog", "datadog": {"url": url, "splitService": false}}),
        }
    }
}

/// What proxies measure, and who gets it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Port that Prometheus scrapes.
    pub port: i32,
    /// Path that Prometheus scrapes.
    pub path: String,
    /// Name of Kuma's set of metrics.
    pub profile: String,
    /// Who gets them by OTLP too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
}

impl Metrics {
    /// `default` of a MeshMetric. 2.9 refuses a Prometheus backend without port and path.
    pub fn value(&self, knows: &Knows, mesh: &str) -> Value {
        let prometheus = json!({"type": "Prometheus", "prometheus": {"port": self.port, "path": self.path}});
        let pushed = self
            .receiver
            .as_ref()
            .map(|receiver| json!({"type": "OpenTelemetry", "openTelemetry": receiver.members(knows, mesh)}));
        let backends: Vec<Value> = std::iter::once(prometheus).chain(pushed).collect();
        json!({
            "sidecar": {"profiles": {"appendProfiles": [{"name": self.profile}]}},
            "backends": backends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(version: &str) -> Knows {
        Knows::of(version.parse().unwrap())
    }

    fn endpoint() -> Endpoint {
        Endpoint {
            host: "otel.obs.svc".into(),
            port: 4317,
        }
    }

    fn attributes(version: &str, fields: Value) -> (Vec<(String, String)>, Vec<String>) {
        let Value::Object(fields) = fields else { unreachable!() };
        let made = LogBackend::otlp(
            Receiver::grpc(&endpoint()),
            &CompiledFormat::Json(fields),
            &knows(version),
        );
        match made.unwrap() {
            (LogBackend::OpenTelemetry { attributes, .. }, lost) => (attributes, lost),
            _ => unreachable!(),
        }
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    /// Ran: 2.13 refuses `backendRef` without `endpoint` and drops it beside one; 3.0 has no `endpoint`.
    #[test]
    fn a_receiver_is_an_endpoint_up_to_2_13_and_a_backend_by_its_label_from_2_14_on() {
        let spans = TraceBackend::OpenTelemetry(Receiver::grpc(&endpoint()));
        let of = |version| spans.value(&knows(version), "m");
        for version in ["2.9", "2.10", "2.13"] {
            let inline = json!({"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.obs.svc:4317"}});
            assert_eq!(of(version), inline, "{version}");
        }
        for version in ["2.14", "3.0"] {
            let name = Receiver::grpc(&endpoint()).backend("m").name;
            let reference = json!({"kind": "MeshOpenTelemetryBackend", "labels": {RECEIVER: name}});
            let by_label = json!({"type": "OpenTelemetry", "openTelemetry": {"backendRef": reference}});
            assert_eq!(of(version), by_label, "{version}");
        }
    }

    /// Kuma takes the oldest of several backends with the labels: those of two meshes must not share one.
    #[test]
    fn a_backend_is_of_one_mesh_and_its_spec_wins_over_the_environment() {
        let receiver = Receiver::grpc(&endpoint());
        let one = receiver.backend("one");
        assert_ne!(one.name, receiver.backend("two").name);
        assert_eq!(one.entry["env"]["precedence"], "ExplicitFirst");
    }

    #[test]
    fn otlp_over_http_has_the_path_before_that_of_the_signal() {
        let otlp = |path: Option<&str>| OtlpBackend {
            endpoint: endpoint(),
            protocol: OtlpProtocol::Http,
            path: path.map(str::to_owned),
        };
        let made = |path, version| Receiver::of_spans(&otlp(path), &knows(version));
        let entry = |path| made(path, "2.14").map(|receiver| receiver.backend("m").entry["endpoint"].clone());
        let plain = json!({"address": "otel.obs.svc", "port": 4317});
        assert_eq!(entry(None), Ok(plain.clone()));
        assert_eq!(entry(Some("/v1/traces")), Ok(plain));
        let below = json!({"address": "otel.obs.svc", "port": 4317, "path": "/intake"});
        assert_eq!(entry(Some("/intake/v1/traces")), Ok(below));
        assert!(entry(Some("/intake")).unwrap_err().contains("/v1/traces"));
        assert!(made(None, "2.13").unwrap_err().contains("gRPC only"));
    }

    /// Ran: up to 2.13 `%KUMA_MESH%` in an attribute reaches Envoy, which refuses the listener; Envoy 1.36.2 crashed.
    #[test]
    fn an_operator_of_kumas_is_in_an_attribute_only_where_it_is_replaced() {
        let fields = || json!({"mesh": "%KUMA_MESH%", "status": "%RESPONSE_CODE%"});
        let (said, lost) = attributes("2.13", fields());
        assert_eq!(said, [pair("status", "%RESPONSE_CODE%")]);
        assert_eq!(lost, ["`mesh`: Kuma 2.13 replaces its own operators in the body only"]);
        let (said, lost) = attributes("2.14", fields());
        assert_eq!(said.len(), 2);
        assert_eq!(lost, Vec::<String>::new());
    }

    #[test]
    fn a_name_that_kuma_refuses_as_an_attribute_is_left_out_and_said() {
        let fields = || json!({"Status": "a", "http.status_code": "b", "otel.x": "c", "a..b": "d"});
        let (said, lost) = attributes("2.14", fields());
        assert_eq!(said, [pair("http.status_code", "b")]);
        assert_eq!(lost.len(), 3);
        assert_eq!(attributes("2.13", fields()).0.len(), 4, "not restricted before");
    }

    #[test]
    fn attributes_are_not_escaped_and_members_of_json_are() {
        let quoted = json!({"a": r#"x "y""#});
        assert_eq!(attributes("2.14", quoted.clone()).0, [pair("a", r#"x "y""#)]);
        let Value::Object(fields) = quoted else { unreachable!() };
        let (line, _) = line(&CompiledFormat::Json(fields)).unwrap();
        assert_eq!(line, Line::Json(vec![pair("a", r#"x \"y\""#)]));
    }

    #[test]
    fn without_a_format_kuma_writes_its_own_line_for_requests_and_for_connections() {
        let file = LogBackend::File {
            path: "/dev/stdout".into(),
            format: None,
        };
        assert_eq!(
            file.value(&knows("2.14"), "m"),
            json!({"type": "File", "file": {"path": "/dev/stdout"}})
        );
    }

    /// Ran: 2.9 refuses `prometheus: {}`.
    #[test]
    fn a_prometheus_backend_has_port_and_path() {
        let metrics = Metrics {
            port: 5670,
            path: "/metrics".into(),
            profile: "Basic".into(),
            receiver: Some(Receiver::grpc(&endpoint())),
        };
        let value = metrics.value(&knows("2.9"), "m");
        assert_eq!(
            value["backends"],
            json!([
                {"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics"}},
                {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.obs.svc:4317"}},
            ])
        );
    }
}
