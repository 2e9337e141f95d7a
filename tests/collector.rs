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

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sightline::admission::admit;
use sightline::crds::{Collector, ObservabilityMesh};
use sightline::render::collector::config;
use sightline::yaml::{read_documents, to_yaml};

/// The folder with both collectors.
fn binaries() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/collector/build.sh");
    let output = Command::new(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Has a collector judge a configuration; the error is what it says.
fn validate(collector: &str, version: &str, config: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, to_yaml(config).unwrap()).unwrap();
    let output = Command::new(binaries().join(collector))
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

const RECEIVERS: (&str, &str) = ("otelcol-receivers", "0.155.0");
const ELASTICSEARCH: (&str, &str) = ("otelcol-elasticsearch", "0.120.0");

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

/// The half of a configuration whose pipelines stand in front of the loopback, or behind it.
fn half(config: &Value, is_behind: bool) -> Value {
    let mut half = config.clone();
    let pipelines = half["service"]["pipelines"].as_object_mut().unwrap();
    pipelines.retain(|name, _| name.contains('/') == is_behind);
    let used: Vec<Value> = pipelines.values().cloned().collect();
    for part in ["receivers", "processors", "exporters"] {
        let ids = |pipeline: &Value| pipeline[part].as_array().unwrap().clone();
        let used: Vec<Value> = used.iter().flat_map(ids).collect();
        half[part]
            .as_object_mut()
            .unwrap()
            .retain(|id, _| used.contains(&json!(id)));
    }
    half
}

#[test]
fn a_present_collector_takes_all_but_the_step_to_elasticsearch() {
    let (binary, version) = RECEIVERS;
    for (case, collector) in recorded() {
        let mut config = rendered(&collector, version);
        // It has every component but this exporter.
        let behind = half(&config, true);
        for id in behind["exporters"].as_object().unwrap().keys() {
            let debug = id.replace("elasticsearch/", "debug/");
            config["exporters"][&debug] = json!({});
            config["exporters"].as_object_mut().unwrap().remove(id);
            for pipeline in config["service"]["pipelines"].as_object_mut().unwrap().values_mut() {
                for exporter in pipeline["exporters"].as_array_mut().unwrap() {
                    if exporter == id.as_str() {
                        *exporter = json!(debug);
                    }
                }
            }
        }
        validate(binary, version, &config).unwrap_or_else(|said| panic!("{case}: {said}"));
    }
}

#[test]
fn a_collector_with_the_exporter_of_elasticsearch_takes_the_step_to_it() {
    let (binary, version) = ELASTICSEARCH;
    let mut checked = 0;
    for (case, collector) in recorded() {
        let mut config = half(&rendered(&collector, version), true);
        if config["exporters"].as_object().unwrap().is_empty() {
            continue;
        }
        // It has neither the processor that marks records nor the extension of queues.
        config["processors"] = json!({});
        for pipeline in config["service"]["pipelines"].as_object_mut().unwrap().values_mut() {
            pipeline["processors"] = json!([]);
        }
        config["extensions"].as_object_mut().unwrap().remove("file_storage");
        config["service"]["extensions"] = json!(["health_check"]);
        validate(binary, version, &config).unwrap_or_else(|said| panic!("{case}: {said}"));
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} configurations");
}

#[test]
fn a_collector_refuses_what_is_wrong() {
    let (_, collector) = recorded().remove(0);
    for (binary, version) in [RECEIVERS, ELASTICSEARCH] {
        let mut config = half(&rendered(&collector, version), false);
        config["exporters"]["jaeger"] = json!({"endpoint": "a:1"});
        assert!(validate(binary, version, &config).is_err(), "{binary}");
    }
}
