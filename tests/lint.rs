//! `sightline lint` as its users meet it: transcripts of `tests/lint`, and SARIF by its schema.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/transcripts.rs"]
mod transcripts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use sightline::codes::TABLE;
use sightline::digest::hex;
use tempfile::TempDir;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

/// A line for `sh`, in the folder with the files: its exit code, and what stands on stdout and stderr.
fn run(line: &str) -> (i32, String) {
    transcripts::run(&folder(), line)
}

#[test]
fn every_command_answers_as_recorded() {
    transcripts::all_answer_as_recorded(&folder());
}

#[test]
fn every_flag_every_form_and_every_exit_code_stands_in_a_transcript() {
    let all: String = transcripts::transcripts(&folder())
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let commands: Vec<&str> = all.lines().filter(|line| line.starts_with("$ ")).collect();
    let (_, help) = run("sightline lint --help");
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let flags: BTreeSet<&str> = words
        .filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help")
        .collect();
    assert!(flags.len() > 5, "{flags:?}");
    for flag in flags.iter().chain(&["-o json", "-o sarif", "-o text", "lint - "]) {
        let is_there = commands.iter().any(|command| command.contains(flag));
        assert!(
            is_there,
            "no transcript of tests/lint has `{flag}`: add a line `$ sightline lint … {flag} …`"
        );
    }
    for code in ["? 0", "? 1", "? 2"] {
        assert!(all.lines().any(|line| line == code), "{code}");
    }
}

/// The schema, as tests/lint/README.md says where it is from.
fn schema() -> jsonschema::Validator {
    let text = std::fs::read_to_string(folder().join("sarif-schema-2.1.0.json")).unwrap();
    assert_eq!(
        hex(&Sha256::digest(text.as_bytes())),
        "af47e7b67f24efe74076621fd3a5fbe7398add9e84fe820c971219a385895cea",
        "the schema is not the one that was fetched"
    );
    // It has a bracket that the validator wants escaped.
    let text = text.replace("-[a-zA-Z]{2}]?$", r"-[a-zA-Z]{2}\\]?$");
    let schema: Value = serde_json::from_str(&text).unwrap();
    // `format` too: URIs are to be URIs.
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[track_caller]
fn assert_valid(log: &Value) {
    let wrong: Vec<String> = schema()
        .iter_errors(log)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sarif(arguments: &str) -> Value {
    let (_, said) = run(&format!("sightline lint -o sarif {arguments} 2>/dev/null"));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}\n{said}"))
}

#[test]
fn sarif_is_what_its_schema_asks_for() {
    let examples = folder().parent().unwrap().parent().unwrap().join("src/lint/examples");
    let all = sarif(&examples.display().to_string());
    assert_valid(&all);
    let run = &all["runs"][0];
    let found: BTreeSet<&str> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["ruleId"].as_str().unwrap())
        .collect();
    assert!(found.len() * 2 > TABLE.len(), "few codes are found: {found:?}");
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), TABLE.len());
    for arguments in ["folder", "mixed", "- < wrong.yaml", "--text '%NOPE%'"] {
        assert_valid(&sarif(arguments));
    }
    let mut wrong = all.clone();
    wrong["runs"][0]["results"][0]["level"] = "bad".into();
    assert!(!schema().is_valid(&wrong), "the validator finds nothing");
    let mut wrong = all;
    wrong["runs"][0]["tool"]["driver"]["rules"][0]["helpUri"] = "a b".into();
    assert!(!schema().is_valid(&wrong), "the validator does not look at URIs");
}

#[test]
fn sarif_names_the_rule_the_place_in_characters_and_the_object() {
    let temporary = TempDir::new().unwrap();
    let text = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: é, namespace: shop}\n\
                spec: {accessLogging: [{providers: [{name: envoy}], filter: {expression: \"has(request.method) && 'é😀' == request.methd\"}}]}\n";
    std::fs::write(temporary.path().join("a b.yaml"), text).unwrap();
    let log = sarif(&format!("'{}/a b.yaml'", temporary.path().display()));
    assert_valid(&log);
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&"SL102".into(), &"error".into())
    );
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], "SL102");
    let location = &result["locations"][0];
    let line: Vec<char> = text.lines().nth(3).unwrap().chars().collect();
    let region = &location["physicalLocation"]["region"];
    let column = |key: &str| usize::try_from(region[key].as_u64().unwrap()).unwrap() - 1;
    let meant: String = line[column("startColumn")..column("endColumn")].iter().collect();
    assert_eq!((meant.as_str(), &region["startLine"]), ("request.methd", &4.into()));
    let uri = location["physicalLocation"]["artifactLocation"]["uri"]
        .as_str()
        .unwrap();
    assert!(uri.starts_with("file:///") && uri.ends_with("/a%20b.yaml"), "{uri}");
    assert_eq!(
        location["logicalLocations"][0]["fullyQualifiedName"],
        "Telemetry/shop/é"
    );
    assert_eq!(
        location["logicalLocations"][1]["fullyQualifiedName"],
        "spec.accessLogging[0].filter.expression"
    );
}

#[test]
fn a_finding_keeps_its_fingerprint_when_lines_above_it_come_and_go() {
    let text = std::fs::read_to_string(folder().join("files/wrong.yaml")).unwrap();
    let temporary = TempDir::new().unwrap();
    let fingerprints = |text: String| {
        let file = temporary.path().join("file.yaml");
        std::fs::write(&file, text).unwrap();
        let log = sarif(&file.display().to_string());
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        results
            .iter()
            .map(|r| r["partialFingerprints"].clone())
            .collect::<Vec<_>>()
    };
    let before = fingerprints(text.clone());
    assert_eq!(before.len(), 1);
    assert_eq!(before, fingerprints(format!("# a comment\n\n{text}")));
    assert_ne!(before, fingerprints(text.replace("RESPONSE_COD", "RESPONSE_CODES")));
}
