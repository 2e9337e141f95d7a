//! `sightline explain`: what it says of every sample, and its rules.
//!
//! `golden/SAMPLE.txt` holds the trees of everything that a sample is about: its resources, their namespaces, and the
//! Deployments there. `SIGHTLINE_UPDATE=1 cargo test --test explain` (or `make golden`) writes them anew; review is the
//! diff.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod rules;
#[path = "../support/samples.rs"]
mod samples;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use samples::every_sample;
use serde_json::Value;
use sightline::cli::files::{self, Document};
use sightline::cli::world::World;
use sightline::explain::model::Explanation;
use sightline::explain::{Eye, Subject, explain, tree};
use sightline::plan::simulate::Converged;
use sightline::snapshot::{Key, Kind, Timings, View};
use similar::TextDiff;

/// Where the operator has come to rest on documents.
pub struct AtRest {
    converged: Converged,
    hash_key: Vec<u8>,
}

impl AtRest {
    /// Plays the operator on documents.
    pub fn new(documents: Vec<Document>) -> Self {
        let mut world = World::from_documents(documents, false).unwrap_or_else(|problems| panic!("{problems:?}"));
        world.assume_missing_facts();
        let hash_key = world.hash_key().to_vec();
        let converged = world.converge(Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
        Self { converged, hash_key }
    }

    /// Explains.
    pub fn ask(&self, subject: &Subject) -> Option<Explanation> {
        let view = View::new(&self.converged.snapshot, self.converged.now, Timings::default());
        explain(&Eye::new(&view, Some(&self.hash_key)), subject)
    }
}

struct Sample {
    name: String,
    own: Vec<Document>,
    world: AtRest,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn samples() -> Vec<Sample> {
    let sample = |file: PathBuf| Sample {
        name: file.file_stem().unwrap().to_str().unwrap().to_owned(),
        own: files::read(std::slice::from_ref(&file)).unwrap(),
        world: AtRest::new(files::read(&[file, root().join("config/demo")]).unwrap()),
    };
    every_sample().into_iter().map(sample).collect()
}

impl Sample {
    /// What there is to ask about it: the command's arguments, and the subject.
    fn subjects(&self) -> Vec<(String, Subject)> {
        let mut subjects = Vec::new();
        let mut namespaces: BTreeSet<String> = BTreeSet::new();
        for Document { object, .. } in &self.own {
            let text = |path: &str| {
                object
                    .pointer(path)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
            let key = Key::new(&namespace, &name);
            subjects.push(match text("/kind").as_str() {
                "ObservabilityMesh" => (format!("mesh {name}"), Subject::Mesh(name)),
                "TrafficLog" => (format!("trafficlog {name} -n {namespace}"), Subject::TrafficLog(key)),
                "TracingBackend" => (
                    format!("tracingbackend {name} -n {namespace}"),
                    Subject::TracingBackend(key),
                ),
                _ => continue,
            });
            namespaces.extend(Some(namespace).filter(|namespace| !namespace.is_empty()));
            let agents = object
                .pointer("/spec/agents")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            namespaces.extend(agents.map(|agent| agent["workload"]["namespace"].as_str().unwrap().to_owned()));
        }
        for namespace in namespaces {
            subjects.push((format!("namespace {namespace}"), Subject::Namespace(namespace.clone())));
            for (key, _) in self.world.converged.snapshot.objects_in(Kind::Deployment, &namespace) {
                subjects.push((format!("pod {} -n {namespace}", key.name), Subject::Pod(key.clone())));
            }
        }
        subjects
    }

    fn answers(&self) -> Vec<(String, Explanation)> {
        let answer = |(asked, subject): (String, Subject)| {
            let answer = self
                .world
                .ask(&subject)
                .unwrap_or_else(|| panic!("{}: no {subject}", self.name));
            (asked, answer)
        };
        self.subjects().into_iter().map(answer).collect()
    }
}

#[test]
fn every_sample_is_explained_as_recorded() {
    let update = std::env::var_os("SIGHTLINE_UPDATE").is_some();
    let mut wrong = Vec::new();
    for sample in samples() {
        let file = root()
            .join("tests/explain/golden")
            .join(&sample.name)
            .with_extension("txt");
        let tree =
            |(asked, answer): &(String, Explanation)| format!("$ sightline explain {asked}\n{}", tree::text(answer));
        let trees: Vec<String> = sample.answers().iter().map(tree).collect();
        let text = trees.join("\n");
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if update {
            std::fs::write(&file, &text).unwrap();
        } else if text != expected {
            let diff = TextDiff::from_lines(&expected, &text);
            wrong.push(format!(
                "== {}\n{}",
                sample.name,
                diff.unified_diff().header("expected", "explained")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "where the new answer is right, run `make golden`\n{}",
        wrong.join("\n")
    );
}

/// Every `console` block of the docs is the beginning of a recorded answer, and every member of the JSON is listed.
#[test]
fn the_docs_show_what_is_printed_and_list_every_member() {
    let docs = std::fs::read_to_string(root().join("docs/explain.md")).unwrap();
    let golden = |sample: &Sample| {
        let file = root()
            .join("tests/explain/golden")
            .join(&sample.name)
            .with_extension("txt");
        std::fs::read_to_string(file).unwrap()
    };
    let samples = samples();
    let recorded: String = samples.iter().map(golden).collect();
    let blocks: Vec<&str> = docs
        .split("```console\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 2, "the docs show real output");
    for block in blocks {
        assert!(recorded.contains(block), "not what is printed:\n{block}");
    }
    let mut members = BTreeSet::new();
    for (_, answer) in samples.iter().flat_map(Sample::answers) {
        names(&serde_json::to_value(&answer).unwrap(), &mut members);
    }
    let missing: Vec<&String> = members
        .iter()
        .filter(|name| !docs.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/explain.md does not list {missing:?}");
}

/// Names of members that are ours.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                found.insert(name.clone());
                if name != "labels" && name != "entry" {
                    names(below, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// Members that hold an effective value: an object with one of them says where it comes from.
const VALUES: [&str; 12] = [
    "expression",
    "omitEmptyValues",
    "provider",
    "place",
    "samplingPercentage",
    "destination",
    "variables",
    "file",
    "providers",
    "overrides",
    "reads",
    "elasticsearch",
];

/// Collects what is wrong with an answer: values without source, sources without name, nulls, names in another case.
fn faults(value: &Value, path: &str, faults: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            // What users write is not ours to name: formats, and entries of MeshConfig.
            if path.ends_with("/labels") || path.ends_with("/entry") {
                return;
            }
            // The list of a mesh says of each of its members who uses it.
            let is_list = map.get("providers").is_some_and(|p| p.pointer("/0/usedBy").is_some());
            if VALUES.iter().any(|name| map.contains_key(*name)) && !is_list && !map.contains_key("from") {
                faults.push(format!("{path}: a value without `from`: {value}"));
            }
            for (name, below) in map {
                if !name.starts_with(char::is_lowercase) || name.contains(['_', '-']) {
                    faults.push(format!("{path}: {name} is not camelCase"));
                }
                if (name == "from" || name.ends_with("From")) && below.is_object() {
                    let says = |member: &str| below[member].as_str().is_some_and(|text| !text.is_empty());
                    if !says("kind") || !(says("name") || below["kind"] == "Default" && says("note")) {
                        faults.push(format!("{path}/{name}: names no resource: {below}"));
                    }
                }
                self::faults(below, &format!("{path}/{name}"), faults);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                self::faults(item, &format!("{path}/{index}"), faults);
            }
        }
        Value::Null => faults.push(format!("{path}: null")),
        _ => {}
    }
}

#[test]
fn in_json_every_value_has_a_source_and_what_says_nothing_is_absent() {
    let mut found = Vec::new();
    let mut sources = 0;
    for sample in samples() {
        for (asked, answer) in sample.answers() {
            let json = serde_json::to_value(&answer).unwrap();
            assert!(json["kind"].is_string() && json["name"].is_string(), "{asked}: {json}");
            sources += json.to_string().matches("\"from\":").count();
            faults(&json, &format!("{}: {asked}: ", sample.name), &mut found);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(sources > 50, "only {sources} sources: the samples say more");
}

#[test]
fn a_value_without_source_is_found() {
    let mut found = Vec::new();
    let json = serde_json::json!({"lines": [{"provider": "p", "from": {"kind": "TrafficLog"}}, {"place": null}]});
    faults(&json, "", &mut found);
    assert_eq!(found.len(), 3, "{found:?}");
}
