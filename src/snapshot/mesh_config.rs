//! Reading the MeshConfig of a ConfigMap: istiod's own, and the one that we share with it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::yaml::{self, YamlError};

/// Key of MeshConfig in its ConfigMap.
pub const MESH_KEY: &str = "mesh";

/// What we read of a MeshConfig.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshConfig {
    /// `extensionProviders` by name.
    pub providers: BTreeMap<String, Value>,
    /// `rootNamespace`, where it is set.
    pub root_namespace: Option<String>,
    /// `defaultProviders.metrics`: who gets metrics where no Telemetry names anybody.
    pub default_metrics: Vec<String>,
}

/// A MeshConfig that istiod refuses, or reads in another way than we do; and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The text is no YAML.
    #[error("it is {0}")]
    Yaml(#[source] YamlError),
    /// istiod lets a late merge replace what stands before it; our reader does not.
    #[error("the merge key `<<` at line {line} stands behind other keys, which istiod lets it replace; put it first")]
    LateMerge {
        /// Where.
        line: usize,
    },
    /// The text is a list or a scalar.
    #[error("it is no mapping; write it as `key: value`")]
    NotAMapping,
    /// The list is something else, and istiod refuses it.
    #[error("{key} is no list of mappings, each with a text as name; make it one")]
    NotAList {
        /// The key as it is written.
        key: &'static str,
    },
}

/// Reads the MeshConfig of a ConfigMap, as istiod does. `None`: there is none.
///
/// # Errors
/// Where istiod would refuse it, or read something else than we.
pub fn read(config_map: &Value) -> Result<Option<MeshConfig>, Unreadable> {
    let text = config_map.get("data").and_then(|data| data.get(MESH_KEY));
    let Some(text) = text.and_then(Value::as_str) else {
        return Ok(None);
    };
    let documents = yaml::read_leniently(text).map_err(Unreadable::Yaml)?;
    let Some(mesh) = documents.into_iter().next() else {
        return Ok(Some(MeshConfig::default()));
    };
    if let Some(line) = yaml::late_merge(text) {
        return Err(Unreadable::LateMerge { line });
    }
    let mesh = mesh.as_object().ok_or(Unreadable::NotAMapping)?;
    let root = member(mesh, ["rootNamespace", "root_namespace"]).map(|(_, value)| value);
    let root = root.and_then(Value::as_str).filter(|name| !name.is_empty());
    Ok(Some(MeshConfig {
        providers: providers(mesh)?,
        root_namespace: root.map(str::to_owned),
        default_metrics: default_metrics(mesh),
    }))
}

/// A member by its two names, of which istiod prefers the first, even where it is `null`; and the name that is written.
fn member<'a>(object: &'a Map<String, Value>, names: [&'static str; 2]) -> Option<(&'static str, &'a Value)> {
    names.into_iter().find_map(|name| Some((name, object.get(name)?)))
}

fn providers(mesh: &Map<String, Value>) -> Result<BTreeMap<String, Value>, Unreadable> {
    let Some((key, list)) = member(mesh, ["extensionProviders", "extension_providers"]) else {
        return Ok(BTreeMap::new());
    };
    let named = |entry: &Value| {
        let entry = entry.as_object()?;
        let name = entry.get("name").map_or(Some(""), Value::as_str)?;
        Some((name.to_owned(), Value::Object(with_json_names(entry))))
    };
    match list {
        Value::Null => Ok(BTreeMap::new()),
        Value::Array(list) => list
            .iter()
            .map(|entry| named(entry).ok_or(Unreadable::NotAList { key }))
            .collect(),
        _ => Err(Unreadable::NotAList { key }),
    }
}

/// `defaultProviders.metrics`.
fn default_metrics(mesh: &Map<String, Value>) -> Vec<String> {
    let defaults = member(mesh, ["defaultProviders", "default_providers"]).map(|(_, value)| value);
    let metrics = defaults.and_then(|defaults| defaults.get("metrics")?.as_array());
    let names = metrics.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// An entry with the member that says what it is under its JSON name. What is deeper stays as it is written: keys there
/// may be a user's own.
fn with_json_names(entry: &Map<String, Value>) -> Map<String, Value> {
    let json_name = |name: &str| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |so_far, word| {
            let mut letters = word.chars();
            let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
            so_far + &String::from_iter(capital) + letters.as_str()
        })
    };
    let snake = entry.iter().map(|(name, value)| (json_name(name), value.clone()));
    let mut named: Map<String, Value> = snake.collect();
    // Where both stand, the JSON name counts.
    named.extend(
        entry
            .iter()
            .filter(|(name, _)| !name.contains('_'))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(mesh: &str) -> Value {
        json!({"data": {"mesh": mesh}})
    }

    fn root(mesh: &str) -> Option<String> {
        read(&text(mesh)).unwrap().unwrap().root_namespace
    }

    /// Providers as JSON; or what is wrong.
    fn seen(mesh: &str) -> String {
        match read(&text(mesh)) {
            Ok(config) => {
                let entries = config.unwrap().providers.into_values();
                entries.map(|entry| entry.to_string()).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_root_namespace_is_what_mesh_config_says() {
        assert_eq!(root("rootNamespace: roots\n").as_deref(), Some("roots"));
        assert_eq!(root("root_namespace: roots\n").as_deref(), Some("roots"));
        assert_eq!(root("trustDomain: x\n"), None);
        let twice = "rootNamespace: first\nrootNamespace: last\n";
        assert_eq!(root(twice).as_deref(), Some("last"), "as istiod reads it");
        assert_eq!(root(""), None);
        assert_eq!(read(&json!({"data": {}})).unwrap(), None);
    }

    #[test]
    fn providers_have_two_names_and_the_json_name_counts_even_without_a_value() {
        let snake = "extension_providers: [{name: a, zipkin: {port: 1}}]\n";
        assert_eq!(seen(snake), r#"{"name":"a","zipkin":{"port":1}}"#);
        assert_eq!(
            seen(&format!("{snake}extensionProviders: [{{name: b}}]")),
            r#"{"name":"b"}"#
        );
        assert_eq!(seen(&format!("{snake}extensionProviders:")), "");
        assert_eq!(
            seen("extensionProviders: [{name: envoy, envoy_file_access_log: {log_format: {labels: {a_b: c}}}}]"),
            r#"{"name":"envoy","envoyFileAccessLog":{"log_format":{"labels":{"a_b":"c"}}}}"#
        );
    }

    #[test]
    fn a_merge_key_counts_as_istiod_lets_it_or_is_refused() {
        let base = "x: &x {extensionProviders: [{name: a}]}\n";
        let first = "<<: {extensionProviders: [{name: a}]}\n";
        assert_eq!(seen(first), r#"{"name":"a"}"#);
        assert_eq!(
            seen(&format!("{first}extensionProviders: [{{name: b}}]")),
            r#"{"name":"b"}"#
        );
        for late in [
            format!("{base}<<: *x\n"),
            "extensionProviders: []\n<<: {extensionProviders: [{name: a}]}\n".to_owned(),
            "extensionProviders:\n- {name: a, <<: {name: b}}\n".to_owned(),
        ] {
            assert!(
                seen(&late).contains("`<<` at line 2 stands behind"),
                "{late}: {}",
                seen(&late)
            );
        }
        assert_eq!(seen("a: b\n\"<<\": c\n"), "", "in quotes it is a key like others");
        assert_eq!(seen("a: <<\nb: [<<]\n"), "", "as a value it is a text");
    }

    #[test]
    fn what_istiod_refuses_is_not_read() {
        assert!(seen("a: b: c").contains("not valid YAML"));
        assert!(seen("- a").contains("no mapping"));
        for list in ["a", "{a: b}", "[a]", "[{name: 1}]", "[null]"] {
            let error = seen(&format!("extension_providers: {list}"));
            assert!(error.starts_with("extension_providers is no list"), "{list}: {error}");
        }
    }
}
