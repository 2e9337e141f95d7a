//! The CustomResourceDefinitions as Kubernetes wants them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{ObservabilityMesh, TracingBackend, TrafficLog};

/// The three definitions, in the order in which they are written to `config/crd`.
///
/// kube's derive marks each `Option` as `nullable`, which Gateway API's conventions forbid: it is stripped.
pub fn custom_resource_definitions() -> Vec<(&'static str, Value)> {
    [
        ("observabilitymeshes", ObservabilityMesh::crd()),
        ("trafficlogs", TrafficLog::crd()),
        ("tracingbackends", TracingBackend::crd()),
    ]
    .into_iter()
    .map(|(plural, crd)| (plural, to_value(&crd)))
    .collect()
}

fn to_value(crd: &CustomResourceDefinition) -> Value {
    // A definition of ours always serialises: it holds strings, numbers and maps with string keys.
    let mut value = serde_json::to_value(crd).unwrap_or_default();
    strip_nullable(&mut value);
    unwrap_descriptions(&mut value);
    value
}

/// `kubectl explain` wraps text itself: a line break of our source inside a paragraph would stand in mid-sentence.
fn unwrap_descriptions(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                let paragraphs = text
                    .split("\n\n")
                    .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
                *text = paragraphs.collect::<Vec<_>>().join("\n\n");
            }
            map.values_mut().for_each(unwrap_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_descriptions),
        _ => {}
    }
}

fn strip_nullable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            map.values_mut().for_each(strip_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nullable),
        _ => {}
    }
}

/// One definition as YAML, as it stands in `config/crd`.
pub fn definition_yaml(definition: &Value) -> Result<String, crate::yaml::YamlError> {
    crate::yaml::to_yaml(definition)
}
