//! Telemetry objects: one per scope, complete, every entry with an explicit mode and exactly one provider.
//!
//! A filter without providers is dropped by Istio, a mode that is not named falls back to `accessLogFile`, and of two
//! selector-less objects in a namespace the younger is ignored whole: hence one object per scope and nothing implicit.

use serde_json::{Map, Value, json};

use crate::digest;
use crate::policy::claims::{Labels, PolicyKind, Side, Source, TraceClaim};
use crate::policy::resolve::{ObjectPolicy, SideLogging};
use crate::render::metadata::{MANAGED_BY, MANAGED_BY_US, MESH_LABEL, SOURCES};

/// Name of the object of a scope. Within one second of creation Istio orders objects by name, so names sort fewer
/// labels before more.
pub fn object_name(labels: &Labels) -> String {
    if labels.is_empty() {
        return "sightline".into();
    }
    let mut text = String::new();
    for (key, value) in labels {
        text.extend([key.as_str(), "=", value.as_str(), "\n"]);
    }
    let hex = digest::short(&text, 10);
    format!("sightline-{:02}-{hex}", labels.len())
}

/// Renders the object of one scope.
///
/// `revision` is the value of the label `istio.io/rev`, which only istiods of that revision read.
pub fn render(namespace: &str, labels: &Labels, policy: &ObjectPolicy, revision: Option<&str>) -> Value {
    let mut object_labels = Map::from_iter([(MANAGED_BY.to_owned(), Value::from(MANAGED_BY_US))]);
    if let Some(mesh) = mesh_of(policy) {
        object_labels.insert(MESH_LABEL.to_owned(), Value::from(mesh));
    }
    if let Some(revision) = revision {
        object_labels.insert("istio.io/rev".to_owned(), Value::from(revision));
    }
    let sources = serde_json::to_string(&policy.sources).unwrap_or_default();
    let mut metadata = Map::from_iter([
        ("name".to_owned(), Value::from(object_name(labels))),
        ("namespace".to_owned(), Value::from(namespace)),
        ("labels".to_owned(), Value::Object(object_labels)),
        ("annotations".to_owned(), json!({SOURCES: sources})),
    ]);
    let owners = owner_references(namespace, policy);
    if !owners.is_empty() {
        metadata.insert("ownerReferences".to_owned(), Value::Array(owners));
    }
    let mut spec = Map::new();
    if !labels.is_empty() {
        spec.insert("selector".to_owned(), json!({"matchLabels": labels}));
    }
    let logging: Vec<Value> = policy
        .logging
        .iter()
        .flat_map(|(side, logging)| entries(*side, logging))
        .collect();
    if !logging.is_empty() {
        spec.insert("accessLogging".to_owned(), Value::Array(logging));
    }
    if let Some(tracing) = &policy.tracing {
        spec.insert("tracing".to_owned(), json!([tracing_entry(tracing)]));
    }
    json!({
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": metadata,
        "spec": spec,
    })
}

/// The mesh whose label the object carries: the first by name of those that contribute.
pub fn mesh_of(policy: &ObjectPolicy) -> Option<&str> {
    let logs = policy.sources.logs.iter().map(|claim| claim.mesh.as_str());
    logs.chain(policy.sources.traces.iter().map(|claim| claim.mesh.as_str()))
        .min()
}

fn entries(side: Side, logging: &SideLogging) -> Vec<Value> {
    let mode = match side {
        Side::Inbound => "SERVER",
        Side::Outbound => "CLIENT",
    };
    match logging {
        // Naming the built-in provider is what also stops the fall-back to MeshConfig's accessLogFile.
        SideLogging::Off => {
            vec![json!({"match": {"mode": mode}, "disabled": true, "providers": [{"name": "envoy"}]})]
        }
        SideLogging::To(providers) => providers
            .iter()
            .map(|name| json!({"match": {"mode": mode}, "providers": [{"name": name}]}))
            .collect(),
    }
}

/// Every field that Istio would otherwise take from a wider scope, one by one, is written.
fn tracing_entry(claim: &TraceClaim) -> Value {
    json!({
        "providers": [{"name": claim.provider}],
        "randomSamplingPercentage": percentage(&claim.sampling),
        "disableSpanReporting": false,
        "customTags": {},
    })
}

/// The decimal as a JSON number, whole ones without a point: so the API server gives them back.
fn percentage(text: &str) -> Value {
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().any(|b| b != b'0') => format!("{whole}.{fraction}")
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        Some((whole, _)) => whole.parse::<i64>().map_or(Value::Null, Value::from),
        None => text.parse::<i64>().map_or(Value::Null, Value::from),
    }
}

/// The contributing resources, so that the object goes when the last of them goes even if the operator is not there.
/// None where one of them is in another namespace: it needs the object too, and cannot own it from there.
fn owner_references(namespace: &str, policy: &ObjectPolicy) -> Vec<Value> {
    let logs = policy.sources.logs.iter().map(|claim| &claim.source);
    let mut owners: Vec<&Source> = logs
        .chain(policy.sources.traces.iter().map(|claim| &claim.source))
        .collect();
    if owners.iter().any(|source| source.namespace != namespace) {
        return Vec::new();
    }
    owners.retain(|source| source.uid.is_some());
    owners.sort();
    owners.dedup();
    owners
        .into_iter()
        .map(|source| {
            let kind = match source.kind {
                PolicyKind::TrafficLog => "TrafficLog",
                PolicyKind::TracingBackend => "TracingBackend",
            };
            json!({"apiVersion": "sightline.dev/v1alpha1", "kind": kind, "name": source.name, "uid": source.uid})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_fewer_labels_before_more() {
        let labels = |n: usize| (0..n).map(|i| (format!("k{i}"), "v".to_owned())).collect::<Labels>();
        let names: Vec<String> = (0..=8).map(|n| object_name(&labels(n))).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_share_is_a_number_as_the_api_server_gives_it_back() {
        assert_eq!(percentage("1.0"), json!(1));
        assert_eq!(percentage("0.25"), json!(0.25));
        assert_eq!(percentage("100.00"), json!(100));
        assert_eq!(percentage("0"), json!(0));
    }

    #[test]
    fn off_names_the_built_in_provider_for_its_side_only() {
        assert_eq!(
            entries(Side::Inbound, &SideLogging::Off),
            [json!({"match": {"mode": "SERVER"}, "disabled": true, "providers": [{"name": "envoy"}]})]
        );
    }
}
