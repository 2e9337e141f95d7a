//! The sample `kuma-elastic`: changing one of its leaves changes exactly that in what Kuma is given, in each version.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sightline::yaml::read_documents;

use super::Outcome;

/// Versions of which each reads other fields, and all of which the sample is for.
const VERSIONS: [&str; 3] = ["2.13", "2.14", "3.0"];

/// A leaf of the sample, another value for it, and all that changes: parts of objects, or `refused` or `told` with words of
/// the message. `logs` are the MeshAccessLogs of both sides; `**` is everything below. Lists of backends are named by their
/// types, fields by their keys. (The system namespace is of the mesh whether it is selected or not.)
const TABLE: &str = "
mesh spec.mesh.type | None | refused mesh.kuma is for type: Kuma
mesh spec.mesh.kuma.name | other | logs metadata.labels.kuma.io/mesh; traces metadata.labels.kuma.io/mesh
mesh spec.mesh.kuma.systemNamespace | elsewhere | logs metadata.namespace; logs spec.targetRef.**; traces metadata.namespace; traces metadata.labels.sightline.dev/namespace
mesh spec.mesh.kuma.version | 2.12 | nothing
mesh spec.namespaces.matchExpressions[0].key | team | logs **; traces **
mesh spec.namespaces.matchExpressions[0].operator | NotIn | logs **; traces **
mesh spec.namespaces.matchExpressions[0].values[0] | elastic | nothing
mesh spec.namespaces.matchExpressions[0].values[1] | elastic | logs metadata.labels.sightline.dev/namespace; logs spec.targetRef.**; traces metadata.labels.sightline.dev/namespace; traces spec.targetRef.**
mesh spec.logging.backends[0].name | other | refused logging.defaultBackends names a backend
mesh spec.logging.backends[0].type | OTLP | refused file
mesh spec.logging.backends[0].file.path | /dev/stdout | logs backends[File].file.path
mesh spec.logging.backends[1].name | other | logs backends[Tcp].**; told has no backend logstash
mesh spec.logging.backends[1].type | OTLP | refused tcp
mesh spec.logging.backends[1].tcp.endpoint.host | other.elastic.svc | logs backends[Tcp].tcp.address
mesh spec.logging.backends[1].tcp.endpoint.port | 5001 | logs backends[Tcp].tcp.address
mesh spec.logging.defaultBackends[0] | logstash | logs backends[File].**; logs backends[Tcp].tcp.format.**; told is won by TrafficLog kuma-system/all
mesh spec.logging.format.preset | Envoy | logs backends[File].file.format.**
mesh spec.logging.backends[2].name | other | logs backends[OpenTelemetry].**; told has no backend elastic
mesh spec.logging.backends[2].type | OTLP | refused otlp
mesh spec.tracing.backends[0].name | other | refused tracing.default.backend names a backend
mesh spec.tracing.backends[0].type | OTLP | refused otlp
mesh spec.tracing.default.backend | other | refused tracing.default.backend names a backend
mesh spec.tracing.default.sampling.percentage | 12.5 | traces sampling.random
mesh spec.collector.namespace | other | collector metadata.namespace; logs backends[OpenTelemetry].openTelemetry.endpoint; traces backends[OpenTelemetry].openTelemetry.endpoint
mesh spec.collector.receivers[0] | None | refused Unsupported value
mesh spec.collector.receivers[1] | None | refused Unsupported value
mesh spec.collector.receivers[2] | None | refused Unsupported value
mesh spec.collector.sampling.percentage | 50 | collector spec.config.processors.probabilistic_sampler.sampling_percentage
mesh spec.collector.volume.sizeGiB | 20 | collector spec.volumeClaimTemplates[].spec.resources.requests.storage
mesh spec.collector.exporters[0].name | other | collector spec.config.**; collector spec.env**
mesh spec.collector.exporters[0].type | OTLP | refused goes with type: OTLP
mesh spec.collector.exporters[0].signals[0] | Traces | collector spec.config.**
mesh spec.collector.exporters[0].elasticsearch.urls[0] | https://other:9200 | collector spec.config.exporters.elasticsearch/logs.endpoints[0]
mesh spec.collector.exporters[0].elasticsearch.dataset | other | collector spec.config.processors.transform/logs.**
mesh spec.collector.exporters[0].elasticsearch.apiKey.secretKeyRef.name | other | collector spec.env[SIGHTLINE_LOGS_API_KEY].valueFrom.secretKeyRef.name
mesh spec.collector.exporters[0].elasticsearch.apiKey.secretKeyRef.key | other | collector spec.env[SIGHTLINE_LOGS_API_KEY].valueFrom.secretKeyRef.key
mesh spec.collector.exporters[0].queue.consumers | 3 | collector spec.config.exporters.otlp_grpc/logs.sending_queue.num_consumers
mesh spec.collector.exporters[1].name | other | collector spec.config.**; collector spec.env**
mesh spec.collector.exporters[1].type | OTLP | refused goes with type: OTLP
mesh spec.collector.exporters[1].signals[0] | Logs | refused collector.sampling is for spans
mesh spec.collector.exporters[1].elasticsearch.mapping | ECS | collector spec.config.**
mesh spec.collector.exporters[1].elasticsearch.urls[0] | https://other:9200 | collector spec.config.exporters.elasticsearch/traces.endpoints[0]
mesh spec.collector.exporters[1].elasticsearch.dataset | other | collector spec.config.processors.transform/traces.**
mesh spec.collector.exporters[1].elasticsearch.apiKey.secretKeyRef.name | other | collector spec.env[SIGHTLINE_TRACES_API_KEY].valueFrom.secretKeyRef.name
mesh spec.collector.exporters[1].elasticsearch.apiKey.secretKeyRef.key | other | collector spec.env[SIGHTLINE_TRACES_API_KEY].valueFrom.secretKeyRef.key
mesh spec.collector.exporters[1].queue.consumers | 3 | collector spec.config.exporters.otlp_grpc/traces.sending_queue.num_consumers
mesh spec.rollout.minInterval | 2s | nothing
mesh spec.rollout.quietPeriod | 2s | nothing
all spec.direction | Inbound | outbound backends[File].**
logstash spec.backends[0] | file | logs backends[Tcp].**; told is won by TrafficLog kuma-system/all
logstash spec.direction | Outbound | inbound backends[Tcp].**
logstash spec.format.encoding | Text | refused a format needs a preset
logstash spec.format.fields[0].name | other | logs backends[Tcp].tcp.format.json[start_time].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[0].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[start_time].value
logstash spec.format.fields[1].name | other | logs backends[Tcp].tcp.format.json[source].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[1].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[source].value
logstash spec.format.fields[2].name | other | logs backends[Tcp].tcp.format.json[destination].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[2].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[destination].value
logstash spec.format.fields[3].name | other | logs backends[Tcp].tcp.format.json[source_address].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[3].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[source_address].value
logstash spec.format.fields[4].name | other | logs backends[Tcp].tcp.format.json[destination_address].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[4].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[destination_address].value
logstash spec.format.fields[5].name | other | logs backends[Tcp].tcp.format.json[duration_millis].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[5].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[duration_millis].value
logstash spec.format.fields[6].name | other | logs backends[Tcp].tcp.format.json[bytes_received].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[6].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[bytes_received].value
logstash spec.format.fields[7].name | other | logs backends[Tcp].tcp.format.json[bytes_sent].**; logs backends[Tcp].tcp.format.json[other].**
logstash spec.format.fields[7].value | %PROTOCOL% | logs backends[Tcp].tcp.format.json[bytes_sent].value
elastic spec.backends[0] | file | logs backends[OpenTelemetry].**; told is won by TrafficLog kuma-system/all
elastic spec.direction | Outbound | inbound backends[OpenTelemetry].**
elastic spec.format.preset | OpenTelemetry | logs backends[OpenTelemetry].openTelemetry.attributes**
elastic spec.format.encoding | Text | refused the presets ECS and OpenTelemetry are names for values
";

/// The documents of the sample, and the namespaces of the world that it needs.
fn sample(version: &str) -> Vec<Value> {
    let mut documents = read_documents(include_str!("../../config/samples/kuma/kuma-elastic.yaml")).unwrap();
    documents[0]["spec"]["mesh"]["kuma"]["version"] = version.into();
    documents.extend(read_documents(include_str!("../../config/demo/00-namespaces.yaml")).unwrap());
    documents
}

/// The scalars of a value, by their paths. An item of a list is named by what tells it from the others, if anything does.
fn scalars(value: &Value, path: &str, numbered: bool, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                scalars(value, &format!("{path}.{name}"), numbered, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let named = ["type", "key", "context", "name"]
                    .iter()
                    .find_map(|name| item[*name].as_str());
                let name = match named {
                    _ if numbered || item.is_string() => index.to_string(),
                    Some(name) => name.to_owned(),
                    None => String::new(),
                };
                scalars(item, &format!("{path}[{name}]"), numbered, found);
            }
            if items.is_empty() {
                found.insert(format!("{path}[]"), json!([]));
            }
        }
        scalar => {
            found.insert(path.to_owned(), scalar.clone());
        }
    }
}

/// Puts the address of a receiver where a policy refers to it, as it stands in versions that know no such reference.
fn resolve(value: &mut Value, receivers: &BTreeMap<String, String>) {
    if let Some(members) = value.as_object_mut()
        && let Some(reference) = members.remove("backendRef")
    {
        let name = reference["labels"]["sightline.dev/receiver"].as_str().unwrap();
        members.insert("endpoint".into(), json!(receivers[name]));
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| resolve(value, receivers)),
        Value::Array(items) => items.iter_mut().for_each(|value| resolve(value, receivers)),
        _ => {}
    }
}

/// All that Kuma is given, and the collector, by paths. Names of objects are made of their content, and the annotation of
/// sources says what the rest says.
fn given(outcome: &Outcome) -> BTreeMap<String, Value> {
    let name_of = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let objects = || outcome.converged.objects.values();
    let receivers = objects().filter(|object| object["kind"] == "MeshOpenTelemetryBackend");
    let address = |object: &Value| {
        let endpoint = &object["spec"]["endpoint"];
        let (host, port) = (endpoint["address"].as_str().unwrap(), &endpoint["port"]);
        (name_of(object), format!("{host}:{port}"))
    };
    let receivers: BTreeMap<String, String> = receivers.map(address).collect();
    let mut all = BTreeMap::new();
    for object in objects().filter(|object| object["kind"] != "MeshOpenTelemetryBackend") {
        let name = name_of(object);
        let signal = name.split('-').nth(1).unwrap_or("collector");
        let mut object = object.clone();
        resolve(&mut object, &receivers);
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.remove("name");
        metadata.remove("annotations");
        let mut found = BTreeMap::new();
        scalars(&object, "", false, &mut found);
        for (path, value) in found {
            let path = path.trim_start_matches('.').replace("spec.rules[].default.", "");
            let path = path.replace("spec.to[].default.", "").replace("spec.default.", "");
            all.insert(format!("{signal} {path}"), value);
        }
    }
    all
}

/// What the resources are told that is wrong.
fn told(outcome: &Outcome) -> String {
    let findings = outcome.converged.statuses.iter().flat_map(|status| &status.findings);
    findings
        .map(|finding| finding.message.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

fn changed(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let paths = before.keys().chain(after.keys());
    paths
        .filter(|path| before.get(*path) != after.get(*path))
        .cloned()
        .collect()
}

struct Row {
    resource: usize,
    leaf: String,
    value: String,
    expected: Vec<String>,
}

fn rows() -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [leaf, value, expected] = cells[..] else {
            panic!("three cells: {line}");
        };
        let (resource, leaf) = leaf.split_once(' ').unwrap();
        let resource = ["mesh", "all", "logstash", "elastic"]
            .iter()
            .position(|name| *name == resource);
        Row {
            resource: resource.unwrap(),
            leaf: leaf.to_owned(),
            value: value.to_owned(),
            expected: expected.split(';').map(|part| part.trim().to_owned()).collect(),
        }
    };
    TABLE.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// Puts a value at a path such as `spec.logging.backends[0].name`.
fn put(document: &mut Value, path: &str, value: &str) {
    let pointer = path.replace("].", "/").replace(['.', '['], "/").replace(']', "");
    let at = document
        .pointer_mut(&format!("/{pointer}"))
        .unwrap_or_else(|| panic!("no {path}"));
    *at = match at {
        Value::Number(_) => json!(value.parse::<i64>().unwrap()),
        _ => json!(value),
    };
}

#[test]
fn each_leaf_of_the_sample_has_one_row() {
    let mut leaves = BTreeSet::new();
    for (index, document) in sample("2.14").iter().take(4).enumerate() {
        let mut found = BTreeMap::new();
        scalars(&document["spec"], "spec", true, &mut found);
        leaves.extend(found.into_keys().map(|leaf| (index, leaf)));
    }
    let rows: Vec<(usize, String)> = rows().into_iter().map(|row| (row.resource, row.leaf)).collect();
    let once: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), once.len(), "a leaf stands twice");
    assert_eq!(leaves, once);
}

#[test]
fn changing_one_leaf_of_the_sample_changes_exactly_that_in_every_version() {
    let mut wrong = Vec::new();
    for version in VERSIONS {
        let documents = sample(version);
        let before = Outcome::of(&documents, false).unwrap();
        for row in rows() {
            let mut documents = documents.clone();
            put(&mut documents[row.resource], &row.leaf, &row.value);
            let mut say = |what: &str| wrong.push(format!("{version} {} = {}: {what}", row.leaf, row.value));
            let after = match Outcome::of(&documents, false) {
                Ok(after) => after,
                Err(message) => {
                    let words = row.expected[0].strip_prefix("refused ");
                    if words.is_none_or(|words| !message.contains(words)) {
                        say(&message);
                    }
                    continue;
                }
            };
            let mut left = changed(&given(&before), &given(&after));
            for expected in &row.expected {
                if let Some(words) = expected.strip_prefix("told ") {
                    if !told(&after).contains(words) || told(&before).contains(words) {
                        say(&format!("nobody is told: {words}: {}", told(&after)));
                    }
                    continue;
                }
                if expected == "nothing" {
                    continue;
                }
                let (signal, path) = expected.split_once(' ').unwrap_or_else(|| panic!("{expected}"));
                let signals = if signal == "logs" {
                    vec!["inbound", "outbound"]
                } else {
                    vec![signal]
                };
                for signal in signals {
                    let wanted = format!("{signal} {path}");
                    let matches = |path: &String| match wanted.strip_suffix("**") {
                        Some(begin) => path.starts_with(begin),
                        None => *path == wanted,
                    };
                    let count = left.len();
                    left.retain(|path| !matches(path));
                    if count == left.len() {
                        say(&format!("does not change {wanted}"));
                    }
                }
            }
            if !left.is_empty() {
                say(&format!("also changes {left:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
