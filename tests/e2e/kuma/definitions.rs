//! Definitions of Kuma's kinds in the shapes of its versions: small schemas of our own, with the fields that we write and
//! those that a version lacks left out. What is not declared the API server refuses to apply.

use serde_json::{Map, Value, json};

/// A version of Kuma by what its definitions know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    V2_9,
    V2_13,
    V2_14,
    V3_0,
}

impl Shape {
    /// Whether receivers are objects, with a status on what names them.
    pub fn has_backends(self) -> bool {
        self >= Self::V2_14
    }

    fn top_kinds(self) -> &'static [&'static str] {
        match self {
            Self::V2_9 => &["Mesh", "MeshSubset", "MeshGateway", "MeshService", "MeshServiceSubset"],
            Self::V2_13 | Self::V2_14 => &[
                "Mesh",
                "MeshSubset",
                "MeshGateway",
                "MeshService",
                "MeshServiceSubset",
                "Dataplane",
            ],
            Self::V3_0 => &["Mesh", "Dataplane"],
        }
    }

    /// Every definition of the version.
    pub fn definitions(self) -> Vec<Value> {
        let mut all = vec![
            definition("MeshAccessLog", "meshaccesslogs", "Namespaced", &self.access_log()),
            definition("MeshTrace", "meshtraces", "Namespaced", &self.trace()),
            definition("MeshMetric", "meshmetrics", "Namespaced", &self.metric()),
            definition("Mesh", "meshes", "Cluster", &json!({"spec": anything()})),
            definition(
                "DataplaneInsight",
                "dataplaneinsights",
                "Namespaced",
                &json!({"mesh": {"type": "string"}, "status": anything()}),
            ),
        ];
        if self.has_backends() {
            all.push(definition(
                "MeshOpenTelemetryBackend",
                "meshopentelemetrybackends",
                "Namespaced",
                &with_status(receiver()),
            ));
        }
        if self < Self::V3_0 {
            for (kind, plural) in [("TrafficLog", "trafficlogs"), ("TrafficTrace", "traffictraces")] {
                let properties = json!({"mesh": {"type": "string"}, "spec": anything()});
                all.push(definition(kind, plural, "Cluster", &properties));
            }
        }
        all
    }

    /// Where records, spans or metrics go by OTLP.
    fn open_telemetry(self, more: &Value) -> Value {
        let mut properties = more.as_object().cloned().unwrap_or_default();
        if self < Self::V3_0 {
            let mut endpoint = json!({"type": "string"});
            if self == Self::V2_14 {
                endpoint["default"] = json!("");
            }
            properties.insert("endpoint".into(), endpoint);
        }
        if self.has_backends() {
            let reference =
                json!({"kind": {"type": "string", "enum": ["MeshOpenTelemetryBackend"]}, "labels": strings()});
            properties.insert("backendRef".into(), object(&reference, &["kind"]));
        }
        let required: &[&str] = match self {
            Self::V2_9 | Self::V2_13 => &["endpoint"],
            Self::V2_14 => &[],
            Self::V3_0 => &["backendRef"],
        };
        object(&Value::Object(properties), required)
    }

    fn access_log(self) -> Value {
        let format = object(
            &json!({
                "type": {"type": "string", "enum": ["Plain", "Json"]},
                "plain": {"type": "string"},
                "json": list(&object(&json!({"key": {"type": "string"}, "value": {"type": "string"}}), &[])),
                "omitEmptyValues": {"type": "boolean", "default": false},
            }),
            &["type"],
        );
        let attribute = object(
            &json!({"key": {"type": "string"}, "value": {"type": "string"}}),
            &["key", "value"],
        );
        let backend = object(
            &json!({
                "type": {"type": "string", "enum": ["Tcp", "File", "OpenTelemetry"]},
                "tcp": object(&json!({"address": {"type": "string", "minLength": 1}, "format": format}), &["address"]),
                "file": object(&json!({"path": {"type": "string", "minLength": 1}, "format": format}), &["path"]),
                "openTelemetry": self.open_telemetry(&json!({"attributes": list(&attribute), "body": anything()})),
            }),
            &["type"],
        );
        let default = object(&json!({"backends": list(&backend)}), &[]);
        let item = object(
            &json!({"targetRef": target(&["Mesh", "MeshService"]), "default": default}),
            &["default"],
        );
        let mut spec = json!({"targetRef": target(self.top_kinds()), "to": list(&item)});
        if self < Self::V3_0 {
            spec["from"] = list(&item);
        }
        if self > Self::V2_9 {
            let mut rule = json!({"default": default});
            if self.has_backends() {
                rule["matches"] = list(&anything());
            }
            spec["rules"] = list(&object(&rule, &["default"]));
        }
        self.policy(&spec)
    }

    fn trace(self) -> Value {
        let share = json!({"x-kubernetes-int-or-string": true});
        let backend = object(
            &json!({
                "type": {"type": "string", "enum": ["Zipkin", "Datadog", "OpenTelemetry"]},
                "zipkin": object(&json!({
                    "url": {"type": "string"},
                    "apiVersion": {"type": "string", "default": "httpJson"},
                    "sharedSpanContext": {"type": "boolean", "default": true},
                    "traceId128bit": {"type": "boolean", "default": false},
                }), &["url"]),
                "datadog": object(&json!({"url": {"type": "string"}, "splitService": {"type": "boolean", "default": false}}), &["url"]),
                "openTelemetry": self.open_telemetry(&json!({})),
            }),
            &["type"],
        );
        let header = object(
            &json!({"name": {"type": "string"}, "default": {"type": "string"}}),
            &["name"],
        );
        let tag = object(
            &json!({"name": {"type": "string"}, "literal": {"type": "string"}, "header": header}),
            &["name"],
        );
        let mut backends = list(&backend);
        backends["maxItems"] = json!(1);
        let default = object(
            &json!({
                "backends": backends,
                "sampling": object(&json!({"overall": share, "client": share, "random": share}), &[]),
                "tags": list(&tag),
            }),
            &[],
        );
        self.policy(&json!({"targetRef": target(self.top_kinds()), "default": default}))
    }

    fn metric(self) -> Value {
        let named = list(&object(&json!({"name": {"type": "string"}}), &[]));
        let selector = list(&object(
            &json!({"type": {"type": "string"}, "match": {"type": "string"}}),
            &[],
        ));
        let profiles = object(
            &json!({"appendProfiles": named, "include": selector, "exclude": selector}),
            &[],
        );
        let mut port = json!({"type": "integer", "format": "int32", "default": 5670});
        if self == Self::V2_9 {
            port.as_object_mut().unwrap().remove("default");
        }
        let backend = object(
            &json!({
                "type": {"type": "string", "enum": ["Prometheus", "OpenTelemetry"]},
                "prometheus": object(&json!({
                    "port": port,
                    "path": {"type": "string", "default": "/metrics"},
                    "clientId": {"type": "string"},
                    "tls": object(&json!({"mode": {"type": "string", "default": "Disabled"}}), &[]),
                }), &[]),
                "openTelemetry": self.open_telemetry(&json!({"refreshInterval": {"type": "string"}})),
            }),
            &["type"],
        );
        let sidecar = object(
            &json!({"includeUnused": {"type": "boolean"}, "profiles": profiles}),
            &[],
        );
        let default = object(&json!({"sidecar": sidecar, "backends": list(&backend)}), &[]);
        self.policy(&json!({"targetRef": target(self.top_kinds()), "default": default}))
    }

    fn policy(self, spec: &Value) -> Value {
        let spec = json!({"spec": object(spec, &[])});
        if self.has_backends() { with_status(spec) } else { spec }
    }
}

fn receiver() -> Value {
    let endpoint = json!({"address": {"type": "string"}, "port": {"type": "integer", "format": "int32", "default": 4317}, "path": {"type": "string"}});
    let env = json!({
        "mode": {"type": "string", "default": "Optional"},
        "precedence": {"type": "string", "default": "EnvFirst"},
        "allowSignalOverrides": {"type": "boolean", "default": true},
    });
    let spec = json!({
        "endpoint": object(&endpoint, &[]),
        "protocol": {"type": "string", "default": "grpc"},
        "env": object(&env, &[]),
    });
    json!({"spec": object(&spec, &[])})
}

fn with_status(mut schema: Value) -> Value {
    schema["status"] = anything();
    schema
}

fn object(properties: &Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

fn strings() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

fn target(kinds: &[&str]) -> Value {
    let properties = json!({
        "kind": {"type": "string", "enum": kinds},
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": strings(),
        "tags": strings(),
        "proxyTypes": list(&json!({"type": "string"})),
        "sectionName": {"type": "string"},
    });
    object(&properties, &["kind"])
}

fn definition(kind: &str, plural: &str, scope: &str, properties: &Value) -> Value {
    let schema = json!({"type": "object", "properties": properties});
    let mut version =
        json!({"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    // Insights keep all in `status` and have no subresource.
    if kind != "DataplaneInsight" && properties.get("status").is_some() {
        version["subresources"] = Value::from(Map::from_iter([("status".to_owned(), json!({}))]));
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.kuma.io")},
        "spec": {
            "group": "kuma.io", "scope": scope,
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(), "categories": ["kuma"]},
            "versions": [version],
        },
    })
}
