//! The structural schema: unknown fields, nulls, defaults, values, and the uniqueness of list sets and maps.
//!
//! Each function follows the one of the API server that is named beside it, so that its messages and their order are
//! the same. Only the keywords that our schemas use are known (a test holds them to that).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value};

use super::{Finding, go, members};

const ROOT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn property<'s>(schema: Option<&'s Value>, key: &str) -> Option<&'s Value> {
    schema?.get("properties")?.get(key)
}

fn map_values(schema: Option<&Value>) -> Option<&Value> {
    schema?.get("additionalProperties").filter(|schema| schema.is_object())
}

fn keeps_unknown_fields(schema: Option<&Value>) -> bool {
    schema.and_then(|schema| schema.get("x-kubernetes-preserve-unknown-fields")) == Some(&Value::Bool(true))
}

fn items(schema: Option<&Value>) -> Option<&Value> {
    schema?.get("items")
}

fn limit(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn size(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// What kubectl does to an object on its way: members that are null are left out (entries of lists are not), and whole
/// numbers that were written as floats (`1.0`, `1e3`) become integers.
pub(super) fn as_sent(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0);
            if let Some(integer) = whole.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *value = integer.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(as_sent),
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(as_sent);
        }
        _ => {}
    }
}

/// Paths of the fields that the schema does not know, sorted. (`pruning.PruneWithOptions`)
pub(super) fn unknown_fields(schema: &Value, object: &Map<String, Value>) -> Vec<String> {
    let mut unknown = Vec::new();
    for (key, value) in object.iter().filter(|(key, _)| !ROOT_FIELDS.contains(&key.as_str())) {
        prune_member(Some(schema), key, value, "", &mut unknown);
    }
    unknown.sort();
    unknown
}

fn prune_member(schema: Option<&Value>, key: &str, value: &Value, path: &str, unknown: &mut Vec<String>) {
    let path = child(path, key);
    match property(schema, key).or_else(|| map_values(schema)) {
        Some(schema) => prune(Some(schema), value, &path, unknown),
        None if keeps_unknown_fields(schema) => {}
        None => unknown.push(path),
    }
}

fn prune(schema: Option<&Value>, value: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| prune_member(schema, key, value, path, unknown)),
        Value::Array(list) => {
            for (i, item) in list.iter().enumerate() {
                prune(items(schema), item, &format!("{path}[{i}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Sets defaults, in defaults too. (`defaulting.Default`; its nulls are gone but in lists)
pub(super) fn set_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, schema) in schema.get("properties").into_iter().flat_map(members) {
                if let Some(default) = schema.get("default").filter(|_| !map.contains_key(key)) {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in map.iter_mut() {
                if let Some(schema) = property(Some(schema), key).or_else(|| map_values(Some(schema))) {
                    set_defaults(schema, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(schema) = items(Some(schema)) {
                for item in list {
                    if let (Value::Null, Some(default)) = (&*item, schema.get("default")) {
                        *item = default.clone();
                    }
                    set_defaults(schema, item);
                }
            }
        }
        _ => {}
    }
}

/// Everything that the schema says against the object's values. (`validation.ValidateCustomResource`)
pub(super) fn validate(schema: &Value, object: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    check(schema, object, "", &mut findings);
    findings
}

/// (`validate.SchemaValidator`: type, string, number, list, enum, object, each of them even where another failed)
fn check(schema: &Value, value: &Value, path: &str, out: &mut Vec<Finding>) {
    out.extend(check_type(schema, value, path));
    match value {
        Value::String(text) => out.extend(check_string(schema, text, path)),
        Value::Number(_) => check_number(schema, value, path, out),
        Value::Array(list) => check_list(schema, list, path, out),
        _ => {}
    }
    out.extend(check_enum(schema, value, path));
    if let Value::Object(map) = value {
        check_object(schema, map, path, out);
    }
}

/// (`validate.typeValidator`)
fn check_type(schema: &Value, value: &Value, path: &str) -> Option<Finding> {
    let wanted = schema.get("type")?.as_str()?;
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    let (found, found_format) = match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Number(number) if number.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    };
    let fits = found == wanted || (found, wanted) == ("integer", "number");
    if fits {
        return None;
    }
    let wrong = |wanted: &str, found: &str| {
        let found = go::quote(found);
        Some(
            Finding::invalid(
                path,
                &found,
                &format!("{path} in body must be of type {wanted}: {found}"),
            )
            .blocking(),
        )
    };
    let by_format = !format.is_empty() && !value.is_string() && !value.is_array() && !value.is_null();
    if by_format && found_format != format {
        wrong(format, found_format)
    } else {
        wrong(wanted, found)
    }
}

/// (`validate.stringValidator`: the first that fails)
fn check_string(schema: &Value, text: &str, path: &str) -> Option<Finding> {
    let length = size(text.chars().count());
    let invalid = |detail: String| {
        Some(Finding::invalid(
            path,
            &go::quote(text),
            &format!("{path} in body {detail}"),
        ))
    };
    if let Some(max) = limit(schema, "maxLength").filter(|&max| length > max) {
        let bytes = if max == 1 { "byte" } else { "bytes" };
        let message = format!("Too long: may not be more than {max} {bytes}");
        return Some(Finding::new(path, message).blocking());
    }
    if let Some(min) = limit(schema, "minLength").filter(|&min| length < min) {
        return invalid(format!("should be at least {min} chars long"));
    }
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    match compiled(pattern) {
        Ok(regex) if regex.is_match(text) => None,
        Ok(_) => invalid(format!("should match '{pattern}'")),
        Err(error) => invalid(format!("should match '{pattern}, but pattern is invalid: {error}'")),
    }
}

/// Compiles each pattern of our schemas once.
fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = compiled.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = Regex::new(pattern)?;
    compiled.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

/// (`validate.numberValidator`)
fn check_number(schema: &Value, value: &Value, path: &str, out: &mut Vec<Finding>) {
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    if schema.get("type").and_then(Value::as_str) == Some("integer") {
        let fits = value
            .as_i64()
            .is_some_and(|integer| format != "int32" || i32::try_from(integer).is_ok());
        if !fits {
            let how = if format.is_empty() {
                "(default format)".to_owned()
            } else {
                format!("with format {format}")
            };
            out.push(Finding::invalid(
                "",
                "\"\"",
                &format!("Checked value must be of type integer {how} in {path}"),
            ));
        }
    }
    let Some(number) = value.as_f64() else { return };
    let mut bound = |key: &str, words: &str, breaks: fn(f64, f64) -> bool| {
        if let Some(bound) = schema
            .get(key)
            .and_then(Value::as_f64)
            .filter(|&bound| breaks(number, bound))
        {
            out.push(Finding::invalid(
                path,
                &go::value(value),
                &format!("{path} in body should be {words} {bound}"),
            ));
        }
    };
    bound("minimum", "greater than or equal to", |number, bound| number < bound);
    bound("maximum", "less than or equal to", |number, bound| number > bound);
}

/// (`validate.schemaSliceValidator`)
fn check_list(schema: &Value, list: &[Value], path: &str, out: &mut Vec<Finding>) {
    if let Some(schema) = items(Some(schema)) {
        for (i, item) in list.iter().enumerate() {
            check(schema, item, &format!("{path}[{i}]"), out);
        }
    }
    let count = size(list.len());
    if let Some(min) = limit(schema, "minItems").filter(|&min| count < min) {
        let detail = format!("{path} in body should have at least {min} items");
        out.push(Finding::invalid(path, &count.to_string(), &detail));
    }
    if let Some(max) = limit(schema, "maxItems").filter(|&max| count > max) {
        out.push(too_many(path, count, max));
    }
}

fn too_many(path: &str, count: u64, max: u64) -> Finding {
    let items = if max == 1 { "item" } else { "items" };
    Finding::new(path, format!("Too many: {count}: must have at most {max} {items}")).blocking()
}

/// (`validate.basicCommonValidator`)
fn check_enum(schema: &Value, value: &Value, path: &str) -> Option<Finding> {
    let allowed = schema.get("enum")?.as_array()?;
    if allowed.contains(value) {
        return None;
    }
    let allowed: Vec<String> = allowed
        .iter()
        .map(|allowed| go::quote(&allowed.as_str().map_or_else(|| go::json(allowed), str::to_owned)))
        .collect();
    let message = format!(
        "Unsupported value: {}: supported values: {}",
        go::value(value),
        allowed.join(", ")
    );
    Some(Finding::new(path, message).blocking())
}

/// (`validate.objectValidator`; the server's order of members is random, here it is the schema's)
fn check_object(schema: &Value, map: &Map<String, Value>, path: &str, out: &mut Vec<Finding>) {
    let count = size(map.len());
    if let Some(min) = limit(schema, "minProperties").filter(|&min| count < min) {
        let detail = format!("{path} in body should have at least {min} properties");
        out.push(Finding::invalid(path, &count.to_string(), &detail));
    }
    if let Some(max) = limit(schema, "maxProperties").filter(|&max| count > max) {
        out.push(too_many(path, count, max));
    }
    if let Some(values) = map_values(Some(schema)) {
        for (key, value) in map.iter().filter(|(key, _)| property(Some(schema), key).is_none()) {
            check(values, value, &child(path, key), out);
        }
    }
    for (key, schema) in schema.get("properties").into_iter().flat_map(members) {
        if let Some(value) = map.get(key) {
            check(schema, value, &child(path, key), out);
        }
    }
    for key in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !map.contains_key(key) {
            out.push(Finding::required(&child(path, key), ""));
        }
    }
}

/// Entries that a list set or map has twice. (`listtype.ValidateListSetsAndMaps`)
pub(super) fn validate_lists(schema: &Value, object: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk_lists(schema, object, "", &mut findings);
    findings
}

fn walk_lists(schema: &Value, value: &Value, path: &str, out: &mut Vec<Finding>) {
    match value {
        Value::Object(map) => {
            if let Some(values) = map_values(Some(schema)) {
                map.iter()
                    .for_each(|(key, value)| walk_lists(values, value, &format!("{path}[{key}]"), out));
            }
            for (key, schema) in schema.get("properties").into_iter().flat_map(members) {
                if let Some(value) = map.get(key) {
                    walk_lists(schema, value, &child(path, key), out);
                }
            }
        }
        Value::Array(list) => {
            match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => duplicates(list, path, out),
                Some("map") => check_list_map(schema, list, path, out),
                _ => {}
            }
            if let Some(schema) = items(Some(schema)) {
                for (i, item) in list.iter().enumerate() {
                    walk_lists(schema, item, &format!("{path}[{i}]"), out);
                }
            }
        }
        _ => {}
    }
}

fn check_list_map(schema: &Value, list: &[Value], path: &str, out: &mut Vec<Finding>) {
    if let Some((i, item)) = list
        .iter()
        .enumerate()
        .find(|(_, item)| !item.is_object() && !item.is_null())
    {
        let detail = "must be an object for an array of list-type map";
        out.push(Finding::invalid(&format!("{path}[{i}]"), &go::value(item), detail));
        return;
    }
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let identity = |item: &Value| {
        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
        Value::Object(
            keys.filter_map(|key| Some((key.to_owned(), item.get(key)?.clone())))
                .collect(),
        )
    };
    duplicates(&list.iter().map(identity).collect::<Vec<_>>(), path, out);
}

/// The second of equal entries is named; a third is not. (`listtype.validateListSet`)
fn duplicates(list: &[Value], path: &str, out: &mut Vec<Finding>) {
    for (i, item) in list.iter().enumerate() {
        if list.iter().take(i).filter(|earlier| *earlier == item).count() == 1 {
            out.push(Finding::new(
                &format!("{path}[{i}]"),
                format!("Duplicate value: {}", go::value(item)),
            ));
        }
    }
}
