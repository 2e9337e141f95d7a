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
    /// `defaultProviders.metrics`: who gets metrics where no Telemetry names anybody.
    pub default_metrics: Vec<String>,
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
    let root = mesh
        .get("rootNamespace")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty());
    let metrics = mesh
        .get("defaultProviders")
        .and_then(|defaults| defaults.get("metrics"));
    let receivers = metrics
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    Some(MeshConfig {
        providers: list.into_iter().flatten().filter_map(named).collect(),
        root_namespace: root.map(str::to_owned),
        default_metrics: receivers.map(str::to_owned).collect(),
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
}
