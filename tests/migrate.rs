//! `sightline migrate kuma` as its users meet it, and what holds of every migration: nothing is left out in silence, and
//! what Sightline renders of its output is what the policies of a version say.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

#[path = "support/transcripts.rs"]
mod transcripts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sightline::admission;
use sightline::cli::files::Document;
use sightline::cli::world::World;
use sightline::migrate::kuma::{Effect, Migration, To, migrate};
use sightline::yaml::read_documents;

const SYSTEM: &str = "kuma-system";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate")
}

fn read(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("files").join(name)).unwrap();
    read_documents(&text).unwrap()
}

/// What can be asked for.
fn targets() -> [To; 3] {
    [
        To::Kuma("2.14".parse().unwrap()),
        To::Kuma("3.0".parse().unwrap()),
        To::Sightline,
    ]
}

fn shown(migration: &Migration) -> String {
    let notes: Vec<String> = migration.notes.iter().map(ToString::to_string).collect();
    format!("{}\n{}", json!(migration.objects), notes.join("\n"))
}

#[test]
fn every_command_answers_as_recorded() {
    transcripts::all_answer_as_recorded(&folder());
}

#[test]
fn every_exit_code_stands_in_a_transcript() {
    let all: String = transcripts::transcripts(&folder())
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    for code in ["? 0", "? 1", "? 2"] {
        assert!(all.lines().any(|line| line == code), "{code}");
    }
}

/// Pointers to all scalars.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{at}/{index}"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}

/// Parts that are not carried over whatever they say, by what they are in: what is left alone or lost is named as a whole.
const SAYS_NOTHING: &[&str] = &[
    "TrafficRoute route-all /spec/",
    "Service cart /spec/",
    "Service cart /metadata/namespace",
    "TrafficLog missing /spec/sources",
    "TrafficLog missing /spec/destinations",
    "MeshAccessLog cart /spec/to/0/default",
];

#[test]
fn no_leaf_is_left_out_in_silence() {
    let mut silent = Vec::new();
    for file in ["seed.yaml", "old.yaml", "policies.yaml"] {
        let objects = read(file);
        for to in targets() {
            let before = shown(&migrate(&objects, to, SYSTEM));
            for index in 0..objects.len() {
                let [kind, name] =
                    ["/kind", "/metadata/name"].map(|at| objects[index].pointer(at).unwrap().as_str().unwrap());
                let mut found = Vec::new();
                leaves(&objects[index], "", &mut found);
                for leaf in found {
                    let path = format!("{kind} {name} {leaf}");
                    if leaf == "/apiVersion" || SAYS_NOTHING.iter().any(|part| path.starts_with(part)) {
                        continue;
                    }
                    let mut changed = objects.clone();
                    let value = changed[index].pointer_mut(&leaf).unwrap();
                    *value = match &*value {
                        Value::Bool(flag) => json!(!*flag),
                        Value::Number(number) => json!(number.as_f64().unwrap() / 2.0),
                        other => json!(format!("{}x", other.as_str().unwrap_or_default())),
                    };
                    if shown(&migrate(&changed, to, SYSTEM)) == before {
                        silent.push(format!("{file} {to:?} {path}"));
                    }
                }
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn resources_of_sightline_are_admitted() {
    for file in ["seed.yaml", "old.yaml", "policies.yaml"] {
        let migration = migrate(&read(file), To::Sightline, SYSTEM);
        for object in migration.objects.iter().filter(|object| admission::is_ours(object)) {
            admission::admit(object).unwrap_or_else(|rejection| panic!("{file}: {rejection}\n{object:#}"));
        }
    }
}

/// Member, target and backends of each policy.
fn said<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for object in objects {
        let kind = object["kind"].as_str().unwrap();
        let target = &object["spec"]["targetRef"];
        for member in ["to", "rules"] {
            for item in object["spec"][member].as_array().into_iter().flatten() {
                for backend in item["default"]["backends"].as_array().unwrap() {
                    said.insert(format!("{kind} {member} {target} {backend}"));
                }
            }
        }
        if kind == "MeshTrace" {
            said.insert(format!("{kind} {target} {}", object["spec"]["default"]));
        }
    }
    said
}

#[test]
fn the_seeds_mesh_as_resources_is_rendered_as_the_policies_that_it_becomes() {
    for version in ["2.14", "3.0"] {
        let old = read("seed.yaml");
        let to = To::Kuma(version.parse().unwrap());
        let policies = migrate(&old, to, SYSTEM);
        let resources = migrate(&old, To::Sightline, SYSTEM);
        for migration in [&policies, &resources] {
            let lost = migration.notes.iter().filter(|note| note.effect == Effect::Lost);
            assert_eq!(lost.collect::<Vec<_>>(), Vec::<&sightline::migrate::kuma::Note>::new());
        }
        let mut objects = resources.objects;
        objects.retain(admission::is_ours);
        objects[0]["spec"]["mesh"]["kuma"]["version"] = version.into();
        let documents = objects.into_iter().map(|object| Document {
            file: "migrated".into(),
            object,
        });
        let mut world = World::from_documents(documents.collect(), true).unwrap();
        world.assume_missing_facts();
        let rendered = world.converge(Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
        let policies = said(policies.objects.iter());
        let rendered = said(rendered.objects.values());
        // The narrower policy of Sightline's adds to the wider one; Kuma's replaces it.
        let more: Vec<&String> = rendered.difference(&policies).collect();
        let missing: Vec<&String> = policies.difference(&rendered).collect();
        assert_eq!(missing, Vec::<&String>::new(), "{version}: {rendered:#?}");
        assert!(
            more.iter()
                .all(|said| said.contains("\"shop\"") && said.contains("access.log")),
            "{more:#?}"
        );
    }
}
