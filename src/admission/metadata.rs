//! `metadata`: what the API server asks of every object.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::{DEFAULT_NAMESPACE, Finding, go, members};

const STRINGS: [&str; 8] = [
    "creationTimestamp",
    "deletionTimestamp",
    "generateName",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];
const NUMBERS: [&str; 2] = ["deletionGracePeriodSeconds", "generation"];
const STRING_MAPS: [&str; 2] = ["annotations", "labels"];
/// Fields of an owner, with their types in Go.
const OWNER_FIELDS: [(&str, &str); 6] = [
    ("apiVersion", "string"),
    ("blockOwnerDeletion", "bool"),
    ("controller", "bool"),
    ("kind", "string"),
    ("name", "string"),
    ("uid", "types.UID"),
];

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Compiles a pattern of this file; `None` only where a constant is wrong, which the tests would show.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

static DNS_LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| whole(LABEL));
static DNS_SUBDOMAIN: LazyLock<Option<Regex>> = LazyLock::new(|| whole(&subdomain_pattern()));
static QUALIFIED_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| whole(QUALIFIED));

fn matches(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

fn subdomain_pattern() -> String {
    format!("{LABEL}(\\.{LABEL})*")
}

/// Reads `metadata` as the API server does: gives the paths of unknown fields, drops what is empty or twice, and
/// sets the namespace. The error is that of Go's JSON decoder.
pub(super) fn decode(object: &mut Map<String, Value>, namespaced: bool) -> Result<Vec<String>, String> {
    let mut metadata = match object.get("metadata") {
        None => Map::new(),
        Some(Value::Object(metadata)) => metadata.clone(),
        Some(other) => return Err(wrong_type(other, "", "v1.ObjectMeta")),
    };
    let mut unknown = Vec::new();
    let mut keys: Vec<&String> = metadata.keys().collect();
    keys.sort_unstable();
    for key in keys {
        let value = metadata.get(key).unwrap_or(&Value::Null);
        check_field(key, value, &mut unknown)?;
    }
    if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
        let mut seen: Vec<Value> = Vec::new();
        owners.retain(|owner| {
            !seen.contains(owner) && {
                seen.push(owner.clone());
                true
            }
        });
    }
    metadata.retain(|_, value| match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
    if !namespaced {
        metadata.remove("namespace");
    } else if !metadata.contains_key("namespace") {
        metadata.insert("namespace".to_owned(), DEFAULT_NAMESPACE.into());
    }
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Ok(unknown)
}

fn check_field(key: &str, value: &Value, unknown: &mut Vec<String>) -> Result<(), String> {
    let of = |found: &Value, wanted: &str| wrong_type(found, key, wanted);
    match value {
        _ if STRINGS.contains(&key) => {
            if !value.is_string() {
                return Err(of(value, "string"));
            }
        }
        _ if NUMBERS.contains(&key) => {
            if !value.is_i64() {
                return Err(of(value, "int64"));
            }
        }
        _ if STRING_MAPS.contains(&key) => {
            if !value.is_object() {
                return Err(of(value, "map[string]string"));
            }
            if let Some((_, bad)) = members(value).find(|(_, v)| !v.is_string()) {
                return Err(of(bad, "string"));
            }
        }
        _ if key == "finalizers" => {
            let items = value.as_array().ok_or_else(|| of(value, "[]string"))?;
            if let Some(bad) = items.iter().find(|v| !v.is_string() && !v.is_null()) {
                return Err(of(bad, "string"));
            }
        }
        _ if key == "ownerReferences" => {
            let items = value.as_array().ok_or_else(|| of(value, "[]v1.OwnerReference"))?;
            for (i, owner) in items.iter().enumerate() {
                if !owner.is_object() && !owner.is_null() {
                    return Err(of(owner, "v1.OwnerReference"));
                }
                let mut fields: Vec<(&String, &Value)> = members(owner).collect();
                fields.sort_unstable_by_key(|(field, _)| *field);
                for (field, value) in fields {
                    check_owner_field(field, value, &format!("metadata.ownerReferences[{i}]"), unknown)?;
                }
            }
        }
        _ if key == "managedFields" => {}
        _ => unknown.push(format!("metadata.{key}")),
    }
    Ok(())
}

fn check_owner_field(field: &str, value: &Value, path: &str, unknown: &mut Vec<String>) -> Result<(), String> {
    let Some((_, wanted)) = OWNER_FIELDS.iter().find(|(known, _)| *known == field) else {
        unknown.push(format!("{path}.{field}"));
        return Ok(());
    };
    let fits = if *wanted == "bool" {
        value.is_boolean()
    } else {
        value.is_string()
    };
    if fits {
        return Ok(());
    }
    let place = format!("OwnerReference.metadata.ownerReferences.{field}");
    Err(wrong_type_at(value, &place, wanted))
}

fn wrong_type(found: &Value, field: &str, wanted: &str) -> String {
    if field.is_empty() {
        wrong_type_at(found, "metadataOnlyObject.metadata", wanted)
    } else {
        wrong_type_at(found, &format!("ObjectMeta.metadata.{field}"), wanted)
    }
}

fn wrong_type_at(found: &Value, place: &str, wanted: &str) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go struct field {place} of type {wanted}")
}

/// The rules for name, namespace, labels, annotations, owners and finalizers.
/// (`validation.ValidateObjectMetaAccessor`; not its rule that only one owner is the controller)
pub(super) fn validate(object: &Value, namespaced: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(metadata) = object.get("metadata") else {
        return findings;
    };
    let mut invalid = |path: &str, value: &str, details: Vec<String>| {
        findings.extend(
            details
                .into_iter()
                .map(|detail| Finding::invalid(path, &go::quote(value), &detail)),
        );
    };
    let name = text(metadata, "name");
    if !name.is_empty() {
        invalid("metadata.name", name, dns_subdomain(name, "characters"));
    }
    if namespaced {
        let namespace = text(metadata, "namespace");
        invalid("metadata.namespace", namespace, dns_label(namespace));
    }
    for (key, value) in metadata.get("labels").into_iter().flat_map(members) {
        let value = value.as_str().unwrap_or_default();
        invalid("metadata.labels", key, qualified_name(key));
        invalid("metadata.labels", value, label_value(value));
    }
    let mut size = 0;
    for (key, value) in metadata.get("annotations").into_iter().flat_map(members) {
        size += key.len() + value.as_str().unwrap_or_default().len();
        invalid("metadata.annotations", key, qualified_name(&key.to_lowercase()));
    }
    for owner in list(metadata, "ownerReferences") {
        let version = text(owner, "apiVersion").rsplit('/').next().unwrap_or_default();
        for (key, value, detail) in [
            ("apiVersion", version, "version must not be empty"),
            ("kind", text(owner, "kind"), "must not be empty"),
            ("name", text(owner, "name"), "must not be empty"),
            ("uid", text(owner, "uid"), "must not be empty"),
        ] {
            if value.is_empty() {
                invalid(
                    &format!("metadata.ownerReferences.{key}"),
                    text(owner, key),
                    vec![detail.to_owned()],
                );
            }
        }
    }
    for finalizer in list(metadata, "finalizers") {
        let finalizer = finalizer.as_str().unwrap_or_default();
        invalid("metadata.finalizers", finalizer, qualified_name(finalizer));
    }
    if name.is_empty() {
        findings.insert(
            0,
            Finding::required("metadata.name", "name or generateName is required"),
        );
    }
    if size > ANNOTATIONS_LIMIT {
        let message = format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes");
        findings.push(Finding::new("metadata.annotations", message).blocking());
    }
    findings
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The server counts bytes everywhere, but calls them characters in names and namespaces.
fn longer_than(limit: usize, text: &str, unit: &str) -> Option<String> {
    (text.len() > limit).then(|| format!("must be no more than {limit} {unit}"))
}

fn dns_label(text: &str) -> Vec<String> {
    let mut errors: Vec<String> = longer_than(63, text, "characters").into_iter().collect();
    if matches(&DNS_LABEL, text) {
        return errors;
    }
    errors.push(if matches(&DNS_SUBDOMAIN, text) {
        "must not contain dots".to_owned()
    } else {
        format!(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
        )
    });
    errors
}

fn dns_subdomain(text: &str, unit: &str) -> Vec<String> {
    let mut errors: Vec<String> = longer_than(253, text, unit).into_iter().collect();
    if !matches(&DNS_SUBDOMAIN, text) {
        errors.push(format!(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{}')",
            subdomain_pattern()
        ));
    }
    errors
}

fn qualified_name(text: &str) -> Vec<String> {
    let rule = format!(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
         character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{QUALIFIED}')"
    );
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        ["", name] => {
            errors.push("prefix part must be non-empty".to_owned());
            *name
        }
        [prefix, name] => {
            errors.extend(
                dns_subdomain(prefix, "bytes")
                    .into_iter()
                    .map(|error| format!("prefix part {error}")),
            );
            *name
        }
        _ => {
            let with = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {rule} {with}")];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    }
    errors.extend(longer_than(63, name, "bytes").map(|error| format!("name part {error}")));
    if !matches(&QUALIFIED_NAME, name) {
        errors.push(format!("name part {rule}"));
    }
    errors
}

fn label_value(text: &str) -> Vec<String> {
    let mut errors: Vec<String> = longer_than(63, text, "bytes").into_iter().collect();
    if !text.is_empty() && !matches(&QUALIFIED_NAME, text) {
        errors.push(format!(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '({QUALIFIED})?')"
        ));
    }
    errors
}
