//! What a mesh's collector is given, read by real collectors: each configuration of the golden cases is valid.
//!
//! No one build holds all components (see `tools/collector`), so a configuration is split where it is two already: what
//! stands behind the loopback goes to the collector with the exporter of Elasticsearch.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/collector.rs"]
mod collector;

use std::fs;
use std::path::Path;
use std::process::Command;

use collector::{ELASTICSEARCH, RECEIVERS, binaries, in_place_of_elasticsearch, step_to_elasticsearch};
use serde_json::{Value, json};
use sightline::admission::admit;
use sightline::crds::{Collector, ObservabilityMesh};
use sightline::render::collector::config;
use sightline::yaml::{read_documents, to_yaml};

/// Has a collector judge a configuration; the error is what it says.
fn validate(collector: &str, version: &str, config: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, to_yaml(config).unwrap()).unwrap();
    let output = Command::new(binaries().unwrap().join(collector))
        .args(["validate", "--config"])
        .arg(&file)
        .envs(VARIABLES.map(|name| (name, "value")))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{collector} {version}: {}\n{config:#}", String::from_utf8_lossy(&said)))
}

/// Variables of credentials in the golden cases. The authority has to be a certificate, see [`without_authority`].
const VARIABLES: [&str; 4] = [
    "SIGHTLINE_ELASTIC_API_KEY",
    "SIGHTLINE_ELASTIC_USERNAME",
    "SIGHTLINE_ELASTIC_PASSWORD",
    "SIGHTLINE_ELASTIC_APM_AUTHORIZATION",
];

/// Collectors of the golden cases, with the case.
fn recorded() -> Vec<(String, Collector)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render/cases");
    let mut found = Vec::new();
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("collector-") {
            continue;
        }
        let documents = read_documents(&fs::read_to_string(case.join("in.yaml")).unwrap()).unwrap();
        let meshes = documents.iter().filter(|object| object["kind"] == "ObservabilityMesh");
        let meshes = meshes.map(|mesh| serde_json::from_value::<ObservabilityMesh>(admit(mesh).unwrap()).unwrap());
        found.extend(meshes.filter_map(|mesh| Some((name.clone(), mesh.spec.collector?))));
    }
    assert!(found.len() >= 5, "only {} collectors", found.len());
    found
}

/// A configuration as a collector of this version reads it.
fn rendered(collector: &Collector, version: &str) -> Value {
    let mut collector = collector.clone();
    collector.version = version.into();
    let mut value = config(&collector).value().unwrap();
    without_authority(&mut value);
    without_volume(&mut value);
    value
}

/// A certificate is read while a configuration is judged: a variable of the test holds none.
fn without_authority(config: &mut Value) {
    for exporter in config["exporters"].as_object_mut().unwrap().values_mut() {
        if let Some(tls) = exporter.get_mut("tls").and_then(Value::as_object_mut) {
            tls.remove("ca_pem");
        }
    }
}

/// The folder of the volume has to be there while a configuration is judged.
fn without_volume(config: &mut Value) {
    if let Some(storage) = config["extensions"].get_mut("file_storage") {
        storage["directory"] = json!(std::env::temp_dir());
    }
}

#[test]
fn a_present_collector_takes_all_but_the_step_to_elasticsearch() {
    let (binary, version) = RECEIVERS;
    for (case, collector) in recorded() {
        // It has every component but this exporter.
        let config = in_place_of_elasticsearch(&rendered(&collector, version), "debug", |_| json!({}));
        validate(binary, version, &config).unwrap_or_else(|said| panic!("{case}: {said}"));
    }
}

#[test]
fn a_collector_with_the_exporter_of_elasticsearch_takes_the_step_to_it() {
    let (binary, version) = ELASTICSEARCH;
    let mut checked = 0;
    for (case, collector) in recorded() {
        let config = step_to_elasticsearch(&rendered(&collector, version));
        if config["exporters"].as_object().unwrap().is_empty() {
            continue;
        }
        validate(binary, version, &config).unwrap_or_else(|said| panic!("{case}: {said}"));
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} configurations");
}

#[test]
fn a_collector_refuses_what_is_wrong() {
    let (_, collector) = recorded().remove(0);
    for (binary, version) in [RECEIVERS, ELASTICSEARCH] {
        let config = in_place_of_elasticsearch(&rendered(&collector, version), "debug", |_| json!({}));
        let mut config = step_to_elasticsearch(&config);
        validate(binary, version, &config).unwrap();
        config["exporters"]["jaeger"] = json!({"endpoint": "a:1"});
        assert!(validate(binary, version, &config).is_err(), "{binary}");
    }
}
