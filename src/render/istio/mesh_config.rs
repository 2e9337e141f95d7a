//! The ConfigMap that istiod merges below its own MeshConfig (`SHARED_MESH_CONFIG`).
//!
//! Lists of `extensionProviders` are merged by name, so the map can add providers and can take none away.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::render::metadata::{MANAGED_BY, MANAGED_BY_US};
use crate::snapshot::Key;
use crate::snapshot::mesh_config::MESH_KEY;
use crate::yaml::{self, YamlError};

/// The map that holds the given providers, sorted by name. An empty map is valid: it is what istiod is pointed at
/// before there is a policy.
pub fn shared_map(map: &Key, providers: &BTreeMap<String, Value>) -> Result<Value, YamlError> {
    let mesh = if providers.is_empty() {
        "extensionProviders: []\n".to_owned()
    } else {
        yaml::to_yaml(&json!({"extensionProviders": providers.values().collect::<Vec<_>>()}))?
    };
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": map.name,
            "namespace": map.namespace,
            "labels": {MANAGED_BY: MANAGED_BY_US},
        },
        "data": {MESH_KEY: mesh},
    }))
}

/// Name of the ConfigMap with the MeshConfig of a revision.
pub fn primary_map(namespace: &str, revision: &str) -> Key {
    let name = if revision == "default" {
        "istio".to_owned()
    } else {
        format!("istio-{revision}")
    };
    Key::new(namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_map_reads_back_as_the_providers_that_were_written() {
        let providers = BTreeMap::from([
            (
                "b".to_owned(),
                json!({"name": "b", "envoyFileAccessLog": {"path": "/dev/stdout", "logFormat": {"text": "%REQ(:METHOD)% \"y\"\n"}}}),
            ),
            (
                "a".to_owned(),
                json!({"name": "a", "opentelemetry": {"service": "n/s", "port": 4317}}),
            ),
        ]);
        let map = shared_map(&Key::new("istio-system", "m"), &providers).unwrap();
        assert_eq!(
            crate::snapshot::mesh_config::read(&map).unwrap().unwrap().providers,
            providers
        );
    }

    #[test]
    fn an_empty_map_is_valid_mesh_config() {
        let map = shared_map(&Key::new("istio-system", "m"), &BTreeMap::new()).unwrap();
        assert_eq!(map["data"]["mesh"], "extensionProviders: []\n");
    }

    #[test]
    fn names_that_yaml_1_1_reads_as_booleans_are_quoted() {
        let labels =
            json!({"name": "p", "envoyFileAccessLog": {"logFormat": {"labels": {"y": "%DURATION%", "no": "on"}}}});
        let map = shared_map(&Key::new("a", "b"), &BTreeMap::from([("p".into(), labels)])).unwrap();
        let text = map["data"]["mesh"].as_str().unwrap();
        assert!(text.contains("\"y\": ") && text.contains("\"no\": \"on\""), "{text}");
    }
}
