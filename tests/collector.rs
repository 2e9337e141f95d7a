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
#[path = "support/elasticsearch.rs"]
mod elasticsearch;
#[path = "support/telemetry.rs"]
mod telemetry;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use collector::{
    Collectors, ELASTICSEARCH, RECEIVERS, binaries, in_place_of_elasticsearch, request, step_to_elasticsearch,
};
use elasticsearch::{Document, Elasticsearch, Refusal};
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

/// How long all that was sent may take to arrive.
const PATIENCE: Duration = Duration::from_mins(1);

/// Collectors with one exporter, to an Elasticsearch, and with what else the spec says.
async fn sending_to(elasticsearch: &Elasticsearch, mut spec: Value) -> Collectors {
    spec["namespace"] = json!("o");
    spec["version"] = json!(ELASTICSEARCH.1);
    spec["batch"] = json!({"timeout": "100ms"});
    spec["exporters"] = json!([{
        "name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": [elasticsearch.url()]},
        "retry": {"initialInterval": "100ms", "maxInterval": "200ms"},
    }]);
    let spec: Collector = serde_json::from_value(spec).unwrap();
    Collectors::start(&config(&spec).value().unwrap(), &[]).await.unwrap()
}

async fn post(collectors: &Collectors, port: u16, path: &str, body: &[u8]) {
    let receiver = collectors.receiver(port).unwrap();
    let (status, said) = request(receiver, "POST", path, "application/json", body).await.unwrap();
    assert!((200..300).contains(&status), "{status}: {said}");
}

/// Looks until it is so; else says what was seen.
async fn until(collectors: &Collectors, look: impl AsyncFn() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(seen) = look().await {
        assert!(Instant::now() < deadline, "{seen}\n{}", collectors.log_tails());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_sampler_passes_about_its_share_of_traces_and_each_of_them_whole() {
    let mut elasticsearch = Elasticsearch::away().unwrap();
    let collectors = sending_to(&elasticsearch, json!({"sampling": {"percentage": "25"}})).await;
    elasticsearch.come_back([]).unwrap();
    let traces = 2_000;
    // A span of each trace in each request, as two services of it would send them.
    for (service, offset) in [("orders", 0), ("stock", traces)] {
        let spans = (1..=traces).map(|trace| (trace, trace + offset));
        let body = telemetry::zipkin(service, spans).unwrap();
        post(&collectors, 9411, "/api/v2/spans", &body).await;
    }
    until(&collectors, async || {
        let count = async |name: &str| collectors.count(name, "").await.unwrap();
        // What is not passed on is counted as well.
        let judged = count("otelcol_processor_probabilistic_sampler_count_traces_sampled").await;
        let sent = count("otelcol_processor_batch_batch_send_size_sum").await;
        let arrived = elasticsearch.documents().len();
        let is_all = judged >= 2 * traces && sent > 0 && arrived as u64 >= sent;
        is_all
            .then_some(())
            .ok_or_else(|| format!("judged {judged}, sent {sent}, arrived {arrived}"))
    })
    .await;
    let mut spans: BTreeMap<String, usize> = BTreeMap::new();
    for document in elasticsearch.documents() {
        let trace = document.fields["TraceId"].as_str().unwrap();
        *spans.entry(trace.to_owned()).or_default() += 1;
    }
    assert!(spans.values().all(|count| *count == 2), "{spans:?}");
    // Within four standard deviations of 2000 draws.
    assert!((420..=580).contains(&spans.len()), "{} of {traces} traces", spans.len());
}

/// Sends so many logs to an Elasticsearch that is away and comes back with refusals. What it keeps in the end.
async fn kept_after(refusals: &[Refusal], logs: u64) -> Vec<Document> {
    let mut elasticsearch = Elasticsearch::away().unwrap();
    let collectors = sending_to(&elasticsearch, json!({})).await;
    let body = telemetry::otlp_logs("orders", (1..=logs).map(|number| format!("order {number}"))).unwrap();
    post(&collectors, 4318, "/v1/logs", &body).await;
    elasticsearch.come_back(refusals.iter().copied()).unwrap();
    until(&collectors, async || {
        let sent = collectors.count("otelcol_exporter_sent_log_records", "otlp/e").await;
        let seen = (elasticsearch.refusals(), sent.unwrap());
        let is_all = seen == ((refusals.len(), 0), logs);
        is_all.then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
    elasticsearch.documents()
}

#[tokio::test]
async fn a_log_whose_answer_was_lost_is_sent_again_and_kept_once() {
    let documents = kept_after(&[Refusal::Answer; 5], 50).await;
    assert_eq!(documents.len(), 50);
    assert!(documents.iter().all(|document| document.id.is_some()));
}

#[tokio::test]
async fn a_document_that_is_refused_beside_others_is_sent_until_it_is_kept() {
    // Half of those that are left, each time: the last one is refused six times.
    let documents = kept_after(&[Refusal::Halves(429); 6], 64).await;
    assert_eq!(documents.len(), 64);
}
