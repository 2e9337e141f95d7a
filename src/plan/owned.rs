//! Comparing what we want with what is there, by the fields that are ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::render::metadata::{ADOPT, FIELD_MANAGER, MANAGED_BY, MANAGED_BY_US, MESH_LABEL};

/// How a live object differs from the wanted one.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// JSON pointers of wanted fields that are missing or have another value.
    pub changed: Vec<String>,
    /// JSON pointers of fields that the live object has and ours must not have.
    pub extra: Vec<String>,
    /// A changed or extra field, and the manager who last wrote it, where that is not us: somebody edited our object.
    pub edited_by: Option<(String, String)>,
}

/// Parts of an object that are wholly ours: nothing of anybody else may stand there.
pub type WhollyOurs<'a> = &'a [&'a str];

/// Compares. `None`: nothing to do.
///
/// Values are compared field by field, lists whole, numbers by value. Besides, a field that we once wrote and no longer
/// want has to go; the API server's record of managed fields tells. Where there is no such record (files) it is skipped.
pub fn difference(wanted: &Value, live: &Value, wholly_ours: WhollyOurs<'_>) -> Option<Difference> {
    let wanted_fields = fields(&without_identity(wanted));
    let mut changed: Vec<String> = Vec::new();
    for (pointer, value) in &wanted_fields {
        let stands = |have: &Value| {
            // Others may own our object too.
            if pointer == "/metadata/ownerReferences" {
                contains(have, value)
            } else {
                same(value, have)
            }
        };
        if !live.pointer(pointer).is_some_and(stands) {
            changed.push(pointer.clone());
        }
    }
    let mut extra = Vec::new();
    for part in wholly_ours {
        let live_part = live.pointer(part).cloned().unwrap_or_default();
        for pointer in fields(&live_part).into_keys() {
            let pointer = format!("{part}{pointer}");
            if !covered(&wanted_fields, &pointer) {
                extra.push(pointer);
            }
        }
    }
    let left_behind = our_fields(live).is_some_and(|ours| ours.iter().any(|p| !covered(&wanted_fields, p)));
    if changed.is_empty() && extra.is_empty() && !left_behind {
        return None;
    }
    let edited_by = changed.iter().chain(&extra).find_map(|pointer| {
        let manager = last_manager(live, pointer)?;
        (manager != FIELD_MANAGER).then(|| (dotted(pointer), manager))
    });
    Some(Difference {
        changed,
        extra,
        edited_by,
    })
}

fn covered(wanted: &BTreeMap<String, Value>, pointer: &str) -> bool {
    wanted.contains_key(pointer)
        || wanted
            .keys()
            .any(|w| w.starts_with(&format!("{pointer}/")) || pointer.starts_with(&format!("{w}/")))
}

fn without_identity(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    object
}

/// Leaves by JSON pointer; a list, and an empty object, is a leaf.
fn fields(value: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    collect(value, String::new(), &mut out);
    out
}

fn collect(value: &Value, at: String, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, member) in map {
                collect(member, format!("{at}/{}", escape(key)), out);
            }
        }
        Value::Null if at.is_empty() => {}
        leaf => drop(out.insert(at, leaf.clone())),
    }
}

/// Escapes a member's name for a JSON pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A pointer as people read it: `data.mesh`.
pub fn dotted(pointer: &str) -> String {
    pointer
        .trim_start_matches('/')
        .replace('/', ".")
        .replace("~1", "/")
        .replace("~0", "~")
}

/// Whether a list holds every entry of another one.
fn contains(have: &Value, wanted: &Value) -> bool {
    let entries = |list: &Value| list.as_array().cloned().unwrap_or_default();
    entries(wanted)
        .iter()
        .all(|entry| entries(have).iter().any(|other| same(entry, other)))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// The fields that we applied, by the API server's record; `None` where there is none.
fn our_fields(live: &Value) -> Option<Vec<String>> {
    let ours =
        managers(live).find(|m| name(m) == FIELD_MANAGER && m.get("operation") == Some(&Value::from("Apply")))?;
    let mut out = Vec::new();
    managed_pointers(ours.get("fieldsV1")?.as_object()?, String::new(), &mut out);
    Some(out)
}

fn managed_pointers(node: &Map<String, Value>, at: String, out: &mut Vec<String>) {
    let mut leaf = true;
    for (key, child) in node {
        let Some(field) = key.strip_prefix("f:") else { continue };
        leaf = false;
        let pointer = format!("{at}/{}", escape(field));
        // Inside a list of objects the record goes by key; a list is one field of ours.
        let inner = child.as_object().filter(|c| c.keys().any(|k| k.starts_with("f:")));
        match inner {
            Some(inner) => managed_pointers(inner, pointer, out),
            None => out.push(pointer),
        }
    }
    if leaf && !at.is_empty() {
        out.push(at);
    }
}

/// Who wrote a field last, by the API server's record.
pub fn last_manager(live: &Value, pointer: &str) -> Option<String> {
    let owns = |manager: &&Value| {
        let Some(fields) = manager.get("fieldsV1").and_then(Value::as_object) else {
            return false;
        };
        let mut pointers = Vec::new();
        managed_pointers(fields, String::new(), &mut pointers);
        pointers
            .iter()
            .any(|p| p == pointer || pointer.starts_with(&format!("{p}/")))
    };
    managers(live)
        .filter(owns)
        .max_by_key(|m| m.get("time").and_then(Value::as_str).unwrap_or_default().to_owned())
        .map(|m| name(m).to_owned())
}

fn managers(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn name(manager: &Value) -> &str {
    manager.get("manager").and_then(Value::as_str).unwrap_or_default()
}

/// Whether an object was made or adopted by us: it carries our label, and (where the API server's record is there to
/// tell) we have applied it. A label alone is anybody's to set.
pub fn is_ours(live: &Value) -> bool {
    let recorded = managers(live).next().is_some();
    has_our_label(live) && (!recorded || managers(live).any(|m| name(m) == FIELD_MANAGER))
}

fn has_our_label(live: &Value) -> bool {
    let label = |name: &str| {
        live.pointer("/metadata/labels")
            .and_then(|labels| labels.get(name))
            .and_then(Value::as_str)
    };
    label(MANAGED_BY) == Some(MANAGED_BY_US) || label(MESH_LABEL).is_some()
}

/// Whether its owner lets us take an object over.
pub fn may_be_adopted(live: &Value) -> bool {
    live.pointer("/metadata/annotations")
        .and_then(|a| a.get(ADOPT))
        .and_then(Value::as_str)
        == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(spec: &Value) -> Value {
        json!({"metadata": {"name": "a", "labels": {"x": "1", "other": "2"}, "managedFields": [
            {"manager": "sightline", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {
                "f:metadata": {"f:labels": {"f:x": {}}},
                "f:spec": {"f:list": {}, "f:map": {"f:k": {}}}}},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {
                "f:spec": {"f:number": {}, "f:foreign": {}}}},
        ]}, "spec": spec})
    }

    fn wanted() -> Value {
        json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "namespace": "b", "labels": {"x": "1"}},
               "spec": {"list": [{"a": 1}], "map": {"k": "v"}, "number": 1}})
    }

    #[test]
    fn equal_owned_fields_are_no_difference_whatever_others_add() {
        let same = live(&json!({"list": [{"a": 1.0}], "map": {"k": "v"}, "number": 1.0, "foreign": true}));
        assert_eq!(difference(&wanted(), &same, &[]), None);
    }

    #[test]
    fn a_foreign_field_in_a_part_that_is_wholly_ours_is_extra_and_its_manager_is_named() {
        let edited = live(&json!({"list": [{"a": 1}], "map": {"k": "v"}, "number": 1, "foreign": true}));
        let difference = difference(&wanted(), &edited, &["/spec"]).unwrap();
        assert_eq!(difference.extra, ["/spec/foreign"]);
        assert_eq!(
            difference.edited_by,
            Some(("spec.foreign".into(), "kubectl-edit".into()))
        );
    }

    #[test]
    fn a_changed_field_names_the_manager_who_changed_it() {
        let edited = live(&json!({"list": [{"a": 1}], "map": {"k": "v"}, "number": 2}));
        let difference = difference(&wanted(), &edited, &[]).unwrap();
        assert_eq!(difference.changed, ["/spec/number"]);
        assert_eq!(
            difference.edited_by,
            Some(("spec.number".into(), "kubectl-edit".into()))
        );
    }

    #[test]
    fn a_field_that_we_wrote_and_no_longer_want_is_a_difference() {
        let mut smaller = wanted();
        smaller["spec"].as_object_mut().unwrap().remove("map");
        let unchanged = live(&json!({"list": [{"a": 1}], "map": {"k": "v"}, "number": 1}));
        assert!(difference(&smaller, &unchanged, &[]).is_some());
    }

    #[test]
    fn lists_are_compared_whole() {
        let longer = live(&json!({"list": [{"a": 1}, {"a": 2}], "map": {"k": "v"}, "number": 1}));
        assert_eq!(difference(&wanted(), &longer, &[]).unwrap().changed, ["/spec/list"]);
    }
}
