//! SolarMesh: the ConfigMap `grpc-logging` that `networking-agent` reads.
//!
//! SolarMesh is closed source; its documentation gives four keys, in this order and with this spelling.

use serde_json::{Map, Value, json};

use crate::crds::ConfigMapTarget;
use crate::render::metadata::{MANAGED_BY, MANAGED_BY_US, MESH_LABEL};
use crate::yaml::{self, YamlError};

/// Key of the YAML document in the ConfigMap.
pub const APPLICATION_KEY: &str = "application.yaml";

/// Username and password of Elasticsearch.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Username.
    pub username: String,
    /// Password.
    pub password: String,
}

/// The ConfigMap. Of an adopted one only the document and the mesh's label are ours; one that we make is labelled as
/// the chart labels it. Empty credentials are left out ("leave it blank").
pub fn config_map(
    target: &ConfigMapTarget,
    mesh: &str,
    url: &str,
    credentials: Option<&Credentials>,
    adopted: bool,
) -> Result<Value, YamlError> {
    let mut document = Map::from_iter([
        ("ds_driver".to_owned(), Value::from("Elastic")),
        ("url".to_owned(), Value::from(url)),
    ]);
    if let Some(credentials) = credentials {
        document.insert("username".to_owned(), Value::from(credentials.username.as_str()));
        // The agent reads this spelling, in every version of its documentation.
        document.insert("passworld".to_owned(), Value::from(credentials.password.as_str()));
    }
    let text = yaml::to_yaml(&Value::Object(document))?;
    let labels = if adopted {
        json!({MESH_LABEL: mesh})
    } else {
        json!({"app": "grpc-logging", MANAGED_BY: MANAGED_BY_US, MESH_LABEL: mesh})
    };
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": target.name, "namespace": target.namespace, "labels": labels},
        "data": {APPLICATION_KEY: text.trim_end_matches('\n')},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(credentials: Option<&Credentials>) -> String {
        let map = config_map(
            &ConfigMapTarget::default(),
            "m",
            "http://elasticsearch.service-mesh:9200",
            credentials,
            true,
        );
        map.unwrap()["data"][APPLICATION_KEY].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_document_is_the_one_of_the_seed() {
        let credentials = Credentials {
            username: "elasticsearch".into(),
            password: "elasticsearch".into(),
        };
        assert_eq!(
            text(Some(&credentials)),
            "ds_driver: Elastic\nurl: http://elasticsearch.service-mesh:9200\nusername: elasticsearch\npassworld: elasticsearch"
        );
    }

    #[test]
    fn a_password_keeps_its_characters_and_its_type() {
        for password in ["yes", "0755", "a: b # c", "'\"\\", "1e3", " x "] {
            let credentials = Credentials {
                username: "u".into(),
                password: password.into(),
            };
            let back = yaml::read_documents(&text(Some(&credentials))).unwrap();
            assert_eq!(back[0]["passworld"], password);
        }
    }

    #[test]
    fn without_credentials_both_keys_are_left_out() {
        assert_eq!(
            text(None),
            "ds_driver: Elastic\nurl: http://elasticsearch.service-mesh:9200"
        );
    }
}
