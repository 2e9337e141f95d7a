//! Telemetry objects: one per scope, complete, every entry with an explicit mode and exactly one provider.
//!
//! A filter without providers is dropped by Istio, a mode that is not named falls back to `accessLogFile`, and of two
//! selector-less objects in a namespace the younger is ignored whole: hence one object per scope and nothing implicit.

use serde_json::{Map, Value, json};

use super::metrics;
use crate::crds::{Tag, TargetKind};
use crate::digest;
use crate::policy::claims::{PolicyKind, Side, Source, WorkloadSet};
use crate::policy::resolve::{ObjectPolicy, SideLogging};
use crate::render::metadata::{ADOPTED, MANAGED_BY, MANAGED_BY_US, MESH_LABEL, REVISION, SERVICES, SOURCES};
use crate::snapshot::Key;

/// Name of the object of a set of workloads. Within one second of creation Istio orders objects by name, so names sort
/// fewer labels before more, and what is attached to a Service behind what is attached to its Gateway.
pub fn object_name(set: &WorkloadSet) -> String {
    match set {
        WorkloadSet::Labels(labels) if labels.is_empty() => "sightline".into(),
        WorkloadSet::Labels(labels) => {
            let mut text = String::new();
            for (key, value) in labels {
                text.extend([key.as_str(), "=", value.as_str(), "\n"]);
            }
            format!("sightline-{:02}-{}", labels.len(), digest::short(&text, 10))
        }
        WorkloadSet::Target(kind, name) => {
            let word = match kind {
                TargetKind::Gateway => "gateway",
                TargetKind::Service => "service",
                TargetKind::ServiceEntry => "serviceentry",
            };
            format!("sightline-{word}-{}", digest::short(name, 10))
        }
    }
}

/// What an object's metadata says that does not come from policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Namespace and name: usually [`object_name`]; an adopted object keeps its own.
    pub key: Key,
    /// Whether it was somebody else's: then it never gets owners.
    pub adopted: bool,
    /// Value of the label `istio.io/rev`: only istiods of that revision read the object.
    pub revision: Option<String>,
    /// Digest of the Services that its providers name.
    pub services: Option<String>,
}

/// Renders the object of one set of workloads.
pub fn render(identity: &Identity, set: &WorkloadSet, policy: &ObjectPolicy) -> Value {
    let Key { namespace, name } = &identity.key;
    let mut object_labels = Map::from_iter([(MANAGED_BY.to_owned(), Value::from(MANAGED_BY_US))]);
    if let Some(mesh) = mesh_of(policy) {
        object_labels.insert(MESH_LABEL.to_owned(), Value::from(mesh));
    }
    if let Some(revision) = &identity.revision {
        object_labels.insert(REVISION.to_owned(), Value::from(revision.as_str()));
    }
    let sources = serde_json::to_string(&policy.sources).unwrap_or_default();
    let mut annotations = Map::from_iter([(SOURCES.to_owned(), Value::from(sources))]);
    if identity.adopted {
        annotations.insert(ADOPTED.to_owned(), object_name(set).into());
    }
    if let Some(services) = &identity.services {
        annotations.insert(SERVICES.to_owned(), Value::from(services.as_str()));
    }
    let mut metadata = Map::from_iter([
        ("name".to_owned(), Value::from(name.as_str())),
        ("namespace".to_owned(), Value::from(namespace.as_str())),
        ("labels".to_owned(), Value::Object(object_labels)),
        ("annotations".to_owned(), Value::Object(annotations)),
    ]);
    let owners = owner_references(namespace, policy);
    if !owners.is_empty() && !identity.adopted {
        metadata.insert("ownerReferences".to_owned(), Value::Array(owners));
    }
    json!({
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": metadata,
        "spec": spec(set, policy),
    })
}

fn spec(set: &WorkloadSet, policy: &ObjectPolicy) -> Map<String, Value> {
    let mut spec = Map::new();
    match set {
        WorkloadSet::Labels(labels) if labels.is_empty() => {}
        WorkloadSet::Labels(labels) => drop(spec.insert("selector".into(), json!({"matchLabels": labels}))),
        WorkloadSet::Target(kind, name) => {
            let target = json!({"group": kind.group(), "kind": kind, "name": name});
            spec.insert("targetRefs".into(), json!([target]));
        }
    }
    let logging = match set {
        WorkloadSet::Labels(_) => entries_by_side(policy),
        WorkloadSet::Target(..) => entries_of_a_target(policy),
    };
    if !logging.is_empty() {
        spec.insert("accessLogging".to_owned(), Value::Array(logging));
    }
    if let Some(tracing) = &policy.tracing {
        let tags = policy.tags.values().map(|tag| (tag.name.clone(), custom_tag(tag)));
        // Every field that Istio would otherwise take from a wider scope, one by one, is written.
        let entry = json!({
            "providers": [{"name": tracing.provider}],
            "randomSamplingPercentage": percentage(&tracing.sampling),
            "disableSpanReporting": false,
            "customTags": tags.collect::<Map<_, _>>(),
        });
        spec.insert("tracing".to_owned(), json!([entry]));
    }
    let changes = policy.sources.metrics.as_ref();
    let overrides = changes
        .map(|claim| metrics::overrides(&claim.overrides))
        .unwrap_or_default();
    if !overrides.is_empty() {
        let entry = json!({"providers": [{"name": metrics::PROVIDER}], "overrides": overrides});
        spec.insert("metrics".to_owned(), json!([entry]));
    }
    spec
}

/// The mesh whose label the object carries: the first by name of those that contribute.
pub fn mesh_of(policy: &ObjectPolicy) -> Option<&str> {
    policy.sources.meshes().first().copied()
}

fn entries_by_side(policy: &ObjectPolicy) -> Vec<Value> {
    let sides = policy.logging.iter();
    sides
        .flat_map(|(side, logging)| entries(Some(*side), logging))
        .collect()
}

/// A gateway is a client and a waypoint a server, whatever a policy knows of them: what holds for both sides has no mode.
fn entries_of_a_target(policy: &ObjectPolicy) -> Vec<Value> {
    let of = |side| policy.logging.get(&side);
    match (of(Side::Inbound), of(Side::Outbound)) {
        (Some(inbound), Some(outbound)) if inbound == outbound => entries(None, inbound),
        _ => entries_by_side(policy),
    }
}

fn entries(side: Option<Side>, logging: &SideLogging) -> Vec<Value> {
    let entry = |provider: &str| {
        let mut entry = Map::new();
        let mode = side.map(|side| match side {
            Side::Inbound => "SERVER",
            Side::Outbound => "CLIENT",
        });
        if let Some(mode) = mode {
            entry.insert("match".into(), json!({"mode": mode}));
        }
        entry.insert("providers".into(), json!([{"name": provider}]));
        entry
    };
    match logging {
        // Naming the built-in provider is what also stops the fall-back to MeshConfig's accessLogFile.
        SideLogging::Off => {
            let mut off = entry(BUILT_IN_LOG);
            off.insert("disabled".into(), true.into());
            vec![off.into()]
        }
        SideLogging::To(providers) => {
            let filtered = |(name, filter): (&String, &Option<String>)| {
                let mut entry = entry(name);
                if let Some(filter) = filter {
                    entry.insert("filter".into(), json!({"expression": filter}));
                }
                entry.into()
            };
            providers.iter().map(filtered).collect()
        }
    }
}

/// Istio's provider of access logs that always exists, unless MeshConfig redefines it.
pub const BUILT_IN_LOG: &str = "envoy";

fn custom_tag(tag: &Tag) -> Value {
    let named = |named: &crate::crds::NamedValue| match &named.default_value {
        Some(default) => json!({"name": named.name, "defaultValue": default}),
        None => json!({"name": named.name}),
    };
    let literal = tag.literal.as_ref().map(|value| json!({"literal": {"value": value}}));
    let environment = || Some(json!({"environment": named(tag.environment.as_ref()?)}));
    let header = || Some(json!({"header": named(tag.header.as_ref()?)}));
    let formatter = || Some(json!({"formatter": {"value": tag.formatter.as_ref()?}}));
    literal
        .or_else(environment)
        .or_else(header)
        .or_else(formatter)
        .unwrap_or_default()
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
/// None where one of them is in another namespace, or a mesh: it needs the object too, and cannot own it.
fn owner_references(namespace: &str, policy: &ObjectPolicy) -> Vec<Value> {
    let owners = policy.sources.resources();
    if owners.iter().any(|source| source.namespace != namespace) {
        return Vec::new();
    }
    let reference = |source: &Source| {
        let kind = match source.kind {
            PolicyKind::TrafficLog => "TrafficLog",
            PolicyKind::TracingBackend => "TracingBackend",
            PolicyKind::ObservabilityMesh => "ObservabilityMesh",
        };
        let uid = source.uid.as_ref()?;
        Some(json!({"apiVersion": "sightline.dev/v1alpha1", "kind": kind, "name": source.name, "uid": uid}))
    };
    owners.into_iter().filter_map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_fewer_labels_before_more() {
        let labels = |n: usize| WorkloadSet::Labels((0..n).map(|i| (format!("k{i}"), "v".to_owned())).collect());
        let gateway = WorkloadSet::Target(TargetKind::Gateway, "a".into());
        let service = WorkloadSet::Target(TargetKind::Service, "a".into());
        let sets = (0..=8).map(labels).chain([gateway, service]);
        let names: Vec<String> = sets.map(|set| object_name(&set)).collect();
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
            entries(Some(Side::Inbound), &SideLogging::Off),
            [json!({"match": {"mode": "SERVER"}, "providers": [{"name": "envoy"}], "disabled": true})]
        );
    }
}
