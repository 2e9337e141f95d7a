//! Reading the MeshConfig of a ConfigMap: istiod's own, and the one that we share with it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::yaml;

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

/// Reads the MeshConfig of a ConfigMap. `None`: there is none, or it cannot be read.
pub fn read(config_map: &Value) -> Option<MeshConfig> {
    let text = config_map.get("data")?.get(MESH_KEY)?.as_str()?;
    let Some(mesh) = yaml::read_leniently(text).ok()?.into_iter().next() else {
        return Some(MeshConfig::default());
    };
    let mesh = mesh.as_object()?;
    let list = mesh.get("extensionProviders").and_then(Value::as_array);
    let named = |entry: &Value| Some((entry.get("name")?.as_str()?.to_owned(), entry.clone()));
    let text = |member: &str| {
        let text = mesh.get(member).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let defaults = |member: &str| {
        let listed = mesh.get("defaultProviders").and_then(|defaults| defaults.get(member));
        let listed = listed.and_then(Value::as_array).into_iter().flatten();
        listed.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    Some(MeshConfig {
        providers: list.into_iter().flatten().filter_map(named).collect(),
        root_namespace: text("rootNamespace"),
        access_log_file: text("accessLogFile"),
        access_log_format: text("accessLogFormat"),
        access_log_encoding: text("accessLogEncoding"),
        default_providers: DefaultProviders {
            access_logging: defaults("accessLogging"),
            tracing: defaults("tracing"),
            metrics: defaults("metrics"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_root_namespace_is_what_mesh_config_says_and_what_cannot_be_read_says_nothing() {
        let map = |mesh: &str| json!({"data": {"mesh": mesh}});
        assert_eq!(
            read(&map("rootNamespace: roots\n")).unwrap().root_namespace.as_deref(),
            Some("roots")
        );
        assert_eq!(read(&map("trustDomain: x\n")).unwrap().root_namespace, None);
        let twice = "rootNamespace: first\nrootNamespace: last\n";
        assert_eq!(
            read(&map(twice)).unwrap().root_namespace.as_deref(),
            Some("last"),
            "as istiod reads it"
        );
        assert_eq!(read(&map("")), Some(MeshConfig::default()));
        assert_eq!(read(&map("a: b: c")), None);
        assert_eq!(read(&json!({"data": {}})), None);
    }

    #[test]
    fn what_holds_where_no_telemetry_says_anything_is_read_too() {
        let text = "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\naccessLogFormat: ''\n\
                    defaultProviders: {accessLogging: [a, b], metrics: [prometheus]}\n";
        let config = read(&json!({"data": {"mesh": text}})).unwrap();
        assert_eq!(config.access_log_file.as_deref(), Some("/dev/stdout"));
        assert_eq!(config.access_log_encoding.as_deref(), Some("JSON"));
        assert_eq!(config.access_log_format, None);
        assert_eq!(config.default_providers.access_logging, ["a", "b"]);
        assert_eq!(config.default_providers.tracing, Vec::<String>::new());
        assert_eq!(config.default_providers.metrics, ["prometheus"]);
    }
}
