//! Extension providers: the places in MeshConfig that a Telemetry refers to by name.

use serde_json::{Value, json};

use crate::crds::Endpoint;
use crate::digest;
use crate::format::CompiledFormat;

/// Names of our providers begin so, and nobody else's do.
pub const PREFIX: &str = "sightline-";

/// An extension provider: a name made of its content, and its entry in `extensionProviders`.
///
/// Equal content has one name, so that policies share it; a change of content is a new name, so that a Telemetry never
/// speaks of another format than the one it was written for.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// `sightline-<kind>-<12 hex of content>`.
    pub name: String,
    /// The entry, name included.
    pub entry: Value,
}

impl Provider {
    fn new(kind: &str, member: &str, body: &Value) -> Self {
        let hex = digest::short(&format!("{member}\n{}", canonical(body)), 12);
        let name = format!("{PREFIX}{kind}-{hex}");
        let entry = json!({"name": name, member: body});
        Self { name, entry }
    }

    /// `envoyFileAccessLog`: lines to a file of the proxy's container.
    pub fn file_access_log(path: &str, format: &CompiledFormat) -> Self {
        let format = match format {
            CompiledFormat::Text(text) => json!({"text": text}),
            CompiledFormat::Json(labels) => json!({"labels": labels}),
        };
        Self::new(
            "file",
            "envoyFileAccessLog",
            &json!({"path": path, "logFormat": format}),
        )
    }

    /// `opentelemetry`: spans by OTLP over gRPC to a Service. `None` where the host is no Service with its namespace:
    /// a name that istiod's registry does not have passes its validation and yields no spans.
    pub fn otlp_tracing(endpoint: &Endpoint) -> Option<Self> {
        let (namespace, name) = endpoint.service()?;
        let service = format!("{namespace}/{name}.{namespace}.svc.cluster.local");
        Some(Self::new(
            "otlp",
            "opentelemetry",
            &json!({"service": service, "port": endpoint.port}),
        ))
    }
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

    fn endpoint(host: &str) -> Endpoint {
        Endpoint {
            host: host.into(),
            port: 4317,
        }
    }

    #[test]
    fn a_tracing_service_is_always_written_with_its_namespace_and_full_name() {
        let provider = Provider::otlp_tracing(&endpoint("tempo.monitoring.svc")).unwrap();
        assert_eq!(
            provider.entry["opentelemetry"]["service"],
            "monitoring/tempo.monitoring.svc.cluster.local"
        );
        assert_eq!(
            provider,
            Provider::otlp_tracing(&endpoint("tempo.monitoring.svc.cluster.local")).unwrap()
        );
        assert_eq!(Provider::otlp_tracing(&endpoint("tempo")), None);
    }

    #[test]
    fn the_name_is_a_function_of_content_alone() {
        let text = |s: &str| CompiledFormat::Text(s.into());
        let one = Provider::file_access_log("/dev/stdout", &text("a\n"));
        assert_eq!(one, Provider::file_access_log("/dev/stdout", &text("a\n")));
        assert_ne!(one.name, Provider::file_access_log("/dev/stderr", &text("a\n")).name);
        assert_ne!(one.name, Provider::file_access_log("/dev/stdout", &text("b\n")).name);
        let labels = |order: &[&str]| {
            CompiledFormat::Json(
                order
                    .iter()
                    .map(|k| ((*k).to_owned(), Value::from("%DURATION%")))
                    .collect(),
            )
        };
        assert_eq!(
            Provider::file_access_log("/dev/stdout", &labels(&["a", "b"])).name,
            Provider::file_access_log("/dev/stdout", &labels(&["b", "a"])).name,
            "Istio's labels are a map: their order means nothing"
        );
    }
}
