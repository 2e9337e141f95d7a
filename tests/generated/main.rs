//! What is generated from the code is what lies in the repository, and the schemas keep their conventions.
//!
//! `SIGHTLINE_GENERATE=1 cargo test --test generated` (or `make generate`) writes the files; review is the diff.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod chart;
#[path = "../support/flags.rs"]
mod flags;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sightline::admission::{admit, is_ours};
use sightline::cluster::rbac::{RbacArgs, manifests};
use sightline::conditions::{Reason, reasons_page};
use sightline::crds::{custom_resource_definitions, definition_yaml};
use sightline::yaml::read_documents;
use similar::TextDiff;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file with what the code makes, or writes it.
fn check(file: &str, made: &str) {
    let path = root().join(file);
    if std::env::var_os("SIGHTLINE_GENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let diff = TextDiff::from_lines(there.as_str(), made);
    assert!(
        there == made,
        "{file} is not what the code makes; run `SIGHTLINE_GENERATE=1 cargo test --test generated` (make generate)\n{}",
        diff.unified_diff().header("file", "code")
    );
}

#[test]
fn config_crd_is_what_the_code_makes() {
    let mut names = BTreeSet::new();
    for (plural, definition) in custom_resource_definitions() {
        check(
            &format!("config/crd/{plural}.yaml"),
            &definition_yaml(&definition).unwrap(),
        );
        names.insert(format!("{plural}.yaml"));
    }
    assert_eq!(
        files_of("config/crd"),
        names,
        "config/crd holds our definitions and nothing else"
    );
}

/// Names of the files of a folder.
fn files_of(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn config_rbac_is_what_the_code_makes() {
    let one = |name: &str| vec![name.to_owned()];
    let args = RbacArgs {
        namespace: "sightline-system".into(),
        istio_namespace: one("istio-system"),
        agent_namespace: one("service-mesh"),
        inject_namespace: one("interlink"),
    };
    check("config/rbac/sightline.yaml", &manifests(&args).unwrap());
}

#[test]
fn docs_reasons_is_what_the_code_makes() {
    check("docs/reasons.md", &reasons_page());
}

/// Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn every_reason_is_used_by_code_that_is_no_test() {
    let mut code = String::new();
    for file in sources(&root().join("src")) {
        let text = std::fs::read_to_string(file).unwrap();
        code.push_str(text.split("#[cfg(test)]").next().unwrap());
    }
    let uses = |reason: &Reason| {
        let name = format!("Reason::{}", reason.as_str());
        code.match_indices(&name)
            .any(|(at, _)| !code[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let unused: Vec<&str> = Reason::TABLE
        .iter()
        .map(|entry| entry.reason)
        .filter(|reason| !uses(reason))
        .map(Reason::as_str)
        .collect();
    assert_eq!(unused, Vec::<&str>::new(), "reasons that nothing gives");
}

#[test]
fn every_reason_says_what_it_means_and_what_to_do_in_sentences() {
    let mut names = BTreeSet::new();
    for entry in Reason::TABLE {
        let name = entry.reason.as_str();
        assert!(names.insert(name), "{name} stands twice");
        for text in [entry.meaning, entry.next] {
            let begins = text
                .starts_with(|c: char| c.is_uppercase() || text.starts_with("rollout.") || text.starts_with("istiod"));
            assert!(begins && text.ends_with('.'), "{name}: {text}");
        }
    }
}

#[test]
fn every_sample_and_the_demo_world_are_admitted() {
    let mut count = 0;
    for folder in ["config/samples", "config/demo"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let documents = read_documents(&std::fs::read_to_string(&path).unwrap()).unwrap();
            for object in documents.iter().filter(|object| is_ours(object)) {
                count += 1;
                admit(object).unwrap_or_else(|rejection| panic!("{}: {rejection}", path.display()));
            }
        }
    }
    assert!(count >= 14, "{count} objects of ours; the six samples have more");
}

/// Every schema below `schema`, with its path.
fn walk<'a>(path: &str, schema: &'a Value, out: &mut Vec<(String, &'a Value)>) {
    out.push((path.to_owned(), schema));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, out);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], out);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], out);
    }
}

fn schemas(section: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (_, definition) in custom_resource_definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut found = Vec::new();
        walk(&format!("{kind}.{section}"), &schema["properties"][section], &mut found);
        all.extend(found.into_iter().map(|(path, schema)| (path, schema.clone())));
    }
    all
}

#[test]
fn every_field_of_a_spec_or_status_has_a_description() {
    let mut bare = Vec::new();
    for (path, schema) in [schemas("spec"), schemas("status")].concat() {
        // An item of a list or map of plain values is described by the list.
        let described = schema["description"].as_str().is_some_and(|text| text.len() >= 5);
        if !described && !path.ends_with("[]") && !path.ends_with("{}") {
            bare.push(path);
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}

/// `kubectl explain` shows no list of values: the text has to.
#[test]
fn the_text_of_an_enum_names_each_of_its_values() {
    let mut missing = Vec::new();
    for (path, schema) in schemas("spec") {
        let text = schema["description"].as_str().unwrap_or_default();
        for value in schema["enum"].as_array().into_iter().flatten() {
            let value = value.as_str().unwrap();
            if !text.contains(&format!("`{value}`")) {
                missing.push(format!("{path}: {value}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_default_that_the_schema_sets_is_named_in_the_text() {
    let mut missing = Vec::new();
    for (path, schema) in schemas("spec") {
        let text = schema["description"].as_str().unwrap_or_default();
        let plain = schema.get("default").is_some_and(|default| !default.is_object());
        if plain && !text.contains("Default: ") {
            missing.push(path);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn schemas_have_no_nullable_and_no_float() {
    for (path, schema) in [schemas("spec"), schemas("status")].concat() {
        assert_eq!(schema.get("nullable"), None, "{path}");
        assert_ne!(schema["type"], "number", "{path}");
        let format = schema["format"].as_str().unwrap_or_default();
        assert!(!["float", "double"].contains(&format), "{path}");
        for union in ["anyOf", "oneOf", "allOf", "not"] {
            assert_eq!(
                schema.get(union),
                None,
                "{path}: a rule in CEL says what to write, {union} does not"
            );
        }
    }
}

/// The API server estimates what a CEL rule may cost from these bounds, and refuses a definition that may cost too much.
#[test]
fn every_string_list_and_map_of_a_spec_is_bounded() {
    let mut unbounded = Vec::new();
    for (path, schema) in schemas("spec") {
        let bound = match schema["type"].as_str() {
            Some("array") => "maxItems",
            Some("string") if schema.get("enum").is_none() => "maxLength",
            Some("object") if schema.get("additionalProperties").is_some() => "maxProperties",
            _ => continue,
        };
        if schema.get(bound).is_none() {
            unbounded.push(format!("{path}: {bound}"));
        }
    }
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn the_format_of_a_traffic_log_reads_like_a_manual() {
    let all = schemas("spec");
    for path in ["TrafficLog.spec.format", "ObservabilityMesh.spec.logging.format"] {
        let (_, schema) = all.iter().find(|(found, _)| found == path).unwrap();
        let text = schema["description"].as_str().unwrap();
        for part in [
            "preset",
            "text",
            "fields",
            "omit",
            "%REQ(X-TENANT)%",
            "%%",
            "Example",
            "Default",
        ] {
            assert!(text.contains(part), "{path} does not speak of {part}");
        }
    }
}

#[test]
fn every_local_link_of_the_docs_leads_somewhere() {
    let mut files: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"]
        .map(PathBuf::from)
        .into();
    for folder in ["docs", "docs/targets"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let entries = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        files.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    let mut count = 0;
    let mut dead = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            count += 1;
            if !root().join(file.parent().unwrap()).join(link).exists() {
                dead.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(count > 50, "{count} links were found");
}

#[test]
fn every_test_that_docs_reliability_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let tests: Vec<String> = [sources(&root().join("src")), sources(&root().join("tests"))]
        .concat()
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let named: Vec<&str> = rows.filter_map(|row| row.rsplit('`').nth(1)).collect();
    assert!(named.len() > 20, "the table of tests is not found: {named:?}");
    for name in named {
        let test = format!("fn {name}(");
        assert!(tests.iter().any(|text| text.contains(&test)), "no test {name}");
    }
}
