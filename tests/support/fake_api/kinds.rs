//! What the fake knows of the kinds that the operator meets: where they are served, and how their lists are merged.
//!
//! It validates no schema and fills in no default: whoever writes to it writes what a real API server would have stored.

use std::collections::BTreeMap;

use serde_json::Value;
use sightline::crds::custom_resource_definitions;
use sightline::snapshot::Kind;

/// A kind of object.
#[derive(Clone, Debug)]
pub struct KindInfo {
    /// Group; empty for the core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Such as `ConfigMap`.
    pub kind: String,
    /// Such as `configmaps`.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether its status is written apart, and its spec has a generation.
    pub has_status: bool,
    /// Whether the API server decodes it into a type of its own, in which a part that is absent is an empty one.
    pub is_builtin: bool,
    /// Schema of a CustomResourceDefinition, for its kinds of lists.
    schema: Option<Value>,
}

/// How a list is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// It is one value.
    Atomic,
    /// Its items are values, each at most once.
    Set,
    /// Its items are told apart by these fields.
    Map(Vec<String>),
}

/// Lists of built-in types by the last names of their path, as `kubectl explain` and the OpenAPI document have them.
const BUILTIN_LISTS: &[(&[&str], &[&str])] = &[
    (&["spec", "containers"], &["name"]),
    (&["spec", "initContainers"], &["name"]),
    (&["containers", "env"], &["name"]),
    (&["initContainers", "env"], &["name"]),
    (&["containers", "volumeMounts"], &["mountPath"]),
    (&["containers", "ports"], &["containerPort", "protocol"]),
    (&["spec", "volumes"], &["name"]),
    (&["status", "conditions"], &["type"]),
    (&["spec", "ports"], &["port", "protocol"]),
];

/// Maps of built-in types that are one value.
const ATOMIC_MAPS: &[&[&str]] = &[&["spec", "selector"], &["spec", "nodeSelector"], &["regarding"]];

impl KindInfo {
    /// `group/version`, or the version alone.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// How error messages name the resource: `configmaps`, `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// How some error messages name the kind: `ConfigMap`, `Deployment.apps`.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// How the list at a path (names of fields, items left out) is merged.
    pub fn list_type(&self, path: &[&str]) -> ListType {
        match path {
            ["metadata", "finalizers"] => return ListType::Set,
            ["metadata", "ownerReferences"] => return ListType::Map(vec!["uid".into()]),
            _ => {}
        }
        let Some(schema) = &self.schema else {
            let known = BUILTIN_LISTS
                .iter()
                .find(|(end, _)| self.is_builtin && path.ends_with(end));
            return known.map_or(ListType::Atomic, |(_, keys)| {
                ListType::Map(keys.iter().map(|key| (*key).to_owned()).collect())
            });
        };
        let mut at = schema;
        for name in path {
            at = at.get("items").unwrap_or(at);
            at = &at["properties"][name];
        }
        match at["x-kubernetes-list-type"].as_str() {
            Some("set") => ListType::Set,
            Some("map") => {
                let keys = at["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                ListType::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => ListType::Atomic,
        }
    }

    /// Whether the map at a path is one value.
    pub fn is_atomic_map(&self, path: &[&str]) -> bool {
        self.is_builtin && ATOMIC_MAPS.iter().any(|end| path.ends_with(end))
    }
}

/// All kinds, by group and plural.
pub fn all() -> BTreeMap<(String, String), KindInfo> {
    let facts = Kind::ALL.into_iter().map(|kind| {
        let (api_version, name, plural) = kind.names();
        let with_status = matches!(kind, Kind::Deployment | Kind::DaemonSet | Kind::StatefulSet);
        let with_status = with_status || !is_builtin(api_version);
        of(api_version, name, plural, kind != Kind::Namespace, with_status, None)
    });
    let own = custom_resource_definitions().into_iter().map(|(plural, definition)| {
        let spec = &definition["spec"];
        let kind = spec["names"]["kind"].as_str().unwrap();
        let schema = spec["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let namespaced = spec["scope"] == "Namespaced";
        of("sightline.dev/v1alpha1", kind, plural, namespaced, true, Some(schema))
    });
    let events = of("events.k8s.io/v1", "Event", "events", true, false, None);
    let kinds = facts.chain(own).chain([events]);
    kinds
        .map(|kind| ((kind.group.clone(), kind.plural.clone()), kind))
        .collect()
}

fn of(
    api_version: &str,
    kind: &str,
    plural: &str,
    namespaced: bool,
    has_status: bool,
    schema: Option<Value>,
) -> KindInfo {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KindInfo {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
        has_status,
        is_builtin: is_builtin(api_version),
        schema,
    }
}

fn is_builtin(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io") && !group.starts_with("gateway.")
}
