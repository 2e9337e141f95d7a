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
    /// `accessLogFile`: where proxies log that no Telemetry and no default provider tells otherwise.
    pub access_log_file: Option<String>,
    /// `accessLogFormat`, where it is set.
    pub access_log_format: Option<String>,
    /// `accessLogEncoding`, where it is set: `TEXT` or `JSON`.
    pub access_log_encoding: Option<String>,
    /// `defaultProviders`.
    pub default_providers: DefaultProviders,
}

/// Names of the extension providers of workloads that no Telemetry says anything of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultProviders {
    /// Of access logs.
    pub access_logging: Vec<String>,
    /// Of spans.
    pub tracing: Vec<String>,
    /// Of metrics.
    pub metrics: Vec<String>,
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
    let text = |names| {
        let text = member(mesh, names).and_then(|(_, value)| value.as_str());
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Ok(Some(MeshConfig {
        providers: providers(mesh)?,
        root_namespace: text(["rootNamespace", "root_namespace"]),
        access_log_file: text(["accessLogFile", "access_log_file"]),
        access_log_format: text(["accessLogFormat", "access_log_format"]),
        access_log_encoding: text(["accessLogEncoding", "access_log_encoding"]),
        default_providers: default_providers(mesh),
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

fn default_providers(mesh: &Map<String, Value>) -> DefaultProviders {
    let defaults = member(mesh, ["defaultProviders", "default_providers"]).and_then(|(_, value)| value.as_object());
    let of = |names| {
        let listed = member(defaults?, names)?.1.as_array()?;
        Some(
            listed
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
        )
    };
    DefaultProviders {
        access_logging: of(["accessLogging", "access_logging"]).unwrap_or_default(),
        tracing: of(["tracing", "tracing"]).unwrap_or_default(),
        metrics: of(["metrics", "metrics"]).unwrap_or_default(),
    }
}

/// An entry with the member that says what it is under its JSON name. What is deeper stays as it is written: keys there
/// may be a user's own.
fn with_json_names(entry: &Map<String, Value>) -> Map<String, Value> {
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

/// The JSON name of a proto field: `log_format` is `logFormat`; one without `_` is its own.
pub(crate) fn json_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |so_far, word| {
        let mut letters = word.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        so_far + &String::from_iter(capital) + letters.as_str()
    })
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

    #[test]
    fn what_holds_where_no_telemetry_says_anything_is_read_too() {
        let text = "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\naccessLogFormat: ''\n\
                    defaultProviders: {accessLogging: [a, b], metrics: [prometheus]}\n";
        let config = read(&json!({"data": {"mesh": text}})).unwrap().unwrap();
        assert_eq!(config.access_log_file.as_deref(), Some("/dev/stdout"));
        assert_eq!(config.access_log_encoding.as_deref(), Some("JSON"));
        assert_eq!(config.access_log_format, None);
        assert_eq!(config.default_providers.access_logging, ["a", "b"]);
        assert_eq!(config.default_providers.tracing, Vec::<String>::new());
        assert_eq!(config.default_providers.metrics, ["prometheus"]);
    }
}
