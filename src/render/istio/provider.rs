//! Extension providers: the places in MeshConfig that a Telemetry refers to by name.

use serde_json::{Map, Value, json};

use crate::crds::{Endpoint, OtlpBackend, OtlpProtocol, ZipkinBackend};
use crate::digest;
use crate::format::{self, CompiledFormat, OtlpFormat};

/// Names of our providers begin so, and nobody else's do.
pub const PREFIX: &str = "sightline-";

pub use crate::render::Provider;

impl Provider {
    fn new(kind: &str, member: &str, body: &Value) -> Self {
        let hex = digest::short(&format!("{member}\n{}", canonical(body)), 12);
        let name = format!("{PREFIX}{kind}-{hex}");
        let entry = json!({"name": name, member: body});
        Self { name, entry }
    }

    /// `envoyFileAccessLog`: lines to a file of the proxy's container.
    pub fn file_access_log(path: &str, format: &CompiledFormat, omit_empty_values: bool) -> Self {
        let format = match format {
            CompiledFormat::Text(text) => json!({"text": text}),
            CompiledFormat::Json(labels) => json!({"labels": labels}),
        };
        let mut body = json!({"path": path, "logFormat": format});
        if omit_empty_values && let Some(body) = body.as_object_mut() {
            body.insert("omitEmptyValues".into(), true.into());
        }
        Self::new("file", "envoyFileAccessLog", &body)
    }

    /// `envoyOtelAls`: log records by OTLP over gRPC to a Service. A text is the body; the members of a JSON object are
    /// attributes, strings all of them: of anything else Istio makes an empty string. `None` where the host is no Service
    /// with its namespace: a name that istiod's registry does not have passes its validation and yields nothing.
    pub fn otlp_access_log(endpoint: &Endpoint, format: &CompiledFormat) -> Option<Self> {
        let format = match format::otlp_attributes(format) {
            OtlpFormat::Body(text) => json!({"text": text}),
            // Without a text Istio sends its default line as the body, with what the format may leave out on purpose.
            OtlpFormat::Attributes(labels) => json!({"text": "access log", "labels": labels}),
        };
        let mut body = address(endpoint)?;
        body.insert("logFormat".into(), format);
        Some(Self::new("otlp-logs", "envoyOtelAls", &body.into()))
    }

    /// `envoyHttpAls`: entries of requests to a server of Envoy's gRPC access log service.
    pub fn http_als(endpoint: &Endpoint, log_name: &str) -> Option<Self> {
        Self::als("als-http", "envoyHttpAls", endpoint, log_name)
    }

    /// `envoyTcpAls`: entries of connections to a server of Envoy's gRPC access log service.
    pub fn tcp_als(endpoint: &Endpoint, log_name: &str) -> Option<Self> {
        Self::als("als-tcp", "envoyTcpAls", endpoint, log_name)
    }

    fn als(kind: &str, member: &str, endpoint: &Endpoint, log_name: &str) -> Option<Self> {
        let mut body = address(endpoint)?;
        body.insert("logName".into(), log_name.into());
        Some(Self::new(kind, member, &body.into()))
    }

    /// `opentelemetry`: spans by OTLP to a Service. Over HTTP always with a timeout: Envoy refuses its listener without
    /// one.
    pub fn otlp_tracing(otlp: &OtlpBackend) -> Option<Self> {
        let mut body = address(&otlp.endpoint)?;
        if otlp.protocol == OtlpProtocol::Grpc {
            return Some(Self::new("otlp", "opentelemetry", &body.into()));
        }
        let path = otlp.path.as_deref().unwrap_or(OTLP_TRACES_PATH);
        body.insert("http".into(), json!({"path": path, "timeout": OTLP_HTTP_TIMEOUT}));
        Some(Self::new("otlp-http", "opentelemetry", &body.into()))
    }

    /// `zipkin`: spans in Zipkin's format to a Service.
    pub fn zipkin(zipkin: &ZipkinBackend) -> Option<Self> {
        let mut body = address(&zipkin.endpoint)?;
        if let Some(path) = &zipkin.path {
            body.insert("path".into(), path.as_str().into());
        }
        Some(Self::new("zipkin", "zipkin", &body.into()))
    }

    /// `datadog`: spans to Datadog's agent behind a Service.
    pub fn datadog(endpoint: &Endpoint) -> Option<Self> {
        Some(Self::new("datadog", "datadog", &address(endpoint)?.into()))
    }
}

/// Where receivers of OTLP over HTTP take traces, by OTLP's specification.
const OTLP_TRACES_PATH: &str = "/v1/traces";

/// How long a proxy waits for such a receiver: Istio's documented default, which istiod does not write by itself.
const OTLP_HTTP_TIMEOUT: &str = "3s";

/// A Service as extension providers name it, always with namespace and full name.
fn address(endpoint: &Endpoint) -> Option<Map<String, Value>> {
    let (namespace, name) = endpoint.service()?;
    let service = format!("{namespace}/{name}.{namespace}.svc.cluster.local");
    Some(Map::from_iter([
        ("service".to_owned(), Value::from(service)),
        ("port".to_owned(), Value::from(endpoint.port)),
    ]))
}

/// JSON with sorted keys, so that equal content has equal bytes.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            members.sort_by_key(|(key, _)| key.as_str());
            let members: Vec<String> = members
                .into_iter()
                .map(|(k, v)| format!("{}:{}", Value::from(k.as_str()), canonical(v)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp(host: &str) -> OtlpBackend {
        let endpoint = Endpoint {
            host: host.into(),
            port: 4317,
        };
        OtlpBackend {
            endpoint,
            protocol: OtlpProtocol::Grpc,
            path: None,
        }
    }

    #[test]
    fn otlp_over_http_always_has_a_timeout() {
        let over_http = OtlpBackend {
            protocol: OtlpProtocol::Http,
            ..otlp("tempo.monitoring.svc")
        };
        let provider = Provider::otlp_tracing(&over_http).unwrap();
        let expected = json!({"path": "/v1/traces", "timeout": "3s"});
        assert_eq!(provider.entry["opentelemetry"]["http"], expected);
    }

    #[test]
    fn a_json_format_becomes_attributes_and_does_not_bring_istios_default_line_as_the_body() {
        let labels = Map::from_iter([("status".to_owned(), Value::from("%RESPONSE_CODE%"))]);
        let format = CompiledFormat::Json(labels);
        let provider = Provider::otlp_access_log(&otlp("c.obs.svc").endpoint, &format).unwrap();
        let expected = json!({"text": "access log", "labels": {"status": "%RESPONSE_CODE%"}});
        assert_eq!(provider.entry["envoyOtelAls"]["logFormat"], expected);
    }

    #[test]
    fn a_tracing_service_is_always_written_with_its_namespace_and_full_name() {
        let provider = Provider::otlp_tracing(&otlp("tempo.monitoring.svc")).unwrap();
        assert_eq!(
            provider.entry["opentelemetry"]["service"],
            "monitoring/tempo.monitoring.svc.cluster.local"
        );
        assert_eq!(
            provider,
            Provider::otlp_tracing(&otlp("tempo.monitoring.svc.cluster.local")).unwrap()
        );
        assert_eq!(Provider::otlp_tracing(&otlp("tempo")), None);
    }

    #[test]
    fn the_name_is_a_function_of_content_alone() {
        let text = |s: &str| CompiledFormat::Text(s.into());
        let one = Provider::file_access_log("/dev/stdout", &text("a\n"), false);
        assert_eq!(one, Provider::file_access_log("/dev/stdout", &text("a\n"), false));
        assert_ne!(
            one.name,
            Provider::file_access_log("/dev/stderr", &text("a\n"), false).name
        );
        assert_ne!(
            one.name,
            Provider::file_access_log("/dev/stdout", &text("b\n"), false).name
        );
        let labels = |order: &[&str]| {
            CompiledFormat::Json(
                order
                    .iter()
                    .map(|k| ((*k).to_owned(), Value::from("%DURATION%")))
                    .collect(),
            )
        };
        assert_eq!(
            Provider::file_access_log("/dev/stdout", &labels(&["a", "b"]), false).name,
            Provider::file_access_log("/dev/stdout", &labels(&["b", "a"]), false).name,
            "Istio's labels are a map: their order means nothing"
        );
    }
}
