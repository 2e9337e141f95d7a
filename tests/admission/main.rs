//! `admit` says what a real API server says.
//!
//! `cases/` holds one object a file; `verdicts.yaml` is what kubectl printed for each (`kubectl apply
//! --dry-run=server`) in front of a real API server. The tests replay the record. `SIGHTLINE_RECORD=1 cargo test
//! --test admission` makes it anew, in front of the control plane of `tools/control-plane`; review is the diff.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/control_plane.rs"]
mod control_plane;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sightline::admission::{self, Reason, admit, is_ours};
use sightline::crds::{custom_resource_definitions, definition_yaml};
use sightline::yaml::{read_documents, to_yaml};

/// What kubectl prints before the headline of unknown fields.
const BAD_REQUEST: &str = "Error from server (BadRequest): error when creating \"STDIN\": ";

/// Cases where `admit` differs on purpose, and why. (That unknown kinds end otherwise is in `same_words`.)
const DEVIATIONS: [(&str, &str); 6] = [
    (
        "client-exported",
        "uid, resourceVersion and generation of a live object are kept: they are the server's to judge",
    ),
    (
        "client-generate-name",
        "kubectl's own refusal, in the words of its command",
    ),
    ("client-namespace-absent", "a file does not know which namespaces exist"),
    (
        "client-namespace-bad",
        "the server only says that there is no such namespace; we say why there cannot be one",
    ),
    ("client-no-kind", "kubectl adds how to skip its validation"),
    ("client-no-name", "kubectl's own refusal, in the words of its command"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admission")
}

/// Objects by the name of their file.
fn cases() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder().join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .map(|file| {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let documents = read_documents(&std::fs::read_to_string(&file).unwrap()).unwrap();
            assert_eq!(documents.len(), 1, "{name} is one object");
            (name, documents[0].clone())
        })
        .collect()
}

/// The server's answers by case: `{object}` or `{message}`.
fn verdicts() -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder().join("verdicts.yaml")).unwrap();
    serde_json::from_value(read_documents(&text).unwrap().remove(0)).unwrap()
}

/// The server walks maps in random order, so the lines of a list of findings are compared as a set.
fn in_order(message: &str) -> String {
    let (mut list, mut rest): (Vec<&str>, Vec<&str>) = message.trim_end().lines().partition(|l| l.starts_with("* "));
    list.sort_unstable();
    rest.extend(list);
    rest.join("\n")
}

/// What kubectl would print.
fn printed(rejection: &admission::Rejection) -> String {
    let headline = rejection.headline();
    match rejection.reason {
        Reason::NoMatch => rejection.to_string(),
        Reason::Undecodable => format!("error: unable to decode \"STDIN\": {rejection}"),
        Reason::Strict => format!("{BAD_REQUEST}{headline}: {rejection}"),
        Reason::Invalid => format!("{headline}: {rejection}"),
    }
}

#[test]
fn every_object_is_judged_as_the_real_api_server_did() {
    let (cases, verdicts) = (cases(), verdicts());
    assert_eq!(
        cases.keys().collect::<Vec<_>>(),
        verdicts.keys().collect::<Vec<_>>(),
        "record anew"
    );
    let mut wrong = Vec::new();
    for (name, object) in &cases {
        let verdict = &verdicts[name];
        let same = match admit(object) {
            Ok(admitted) => verdict.get("object") == Some(&admitted),
            Err(rejection) => verdict["message"]
                .as_str()
                .is_some_and(|said| same_words(said, &rejection)),
        };
        let deviates = DEVIATIONS.iter().any(|(case, _)| case == name);
        if same == deviates {
            let ours = admit(object).map_or_else(|r| printed(&r), |object| to_yaml(&object).unwrap());
            wrong.push(format!(
                "== {name}\n-- server\n{}\n-- ours\n{ours}",
                to_yaml(verdict).unwrap()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

fn same_words(server: &str, rejection: &admission::Rejection) -> bool {
    if rejection.reason == Reason::NoMatch {
        // Ours ends with the kinds that exist.
        let text = rejection.to_string();
        let words = text.split("; ").next().unwrap();
        return server.contains(&format!(": {words}\n"));
    }
    in_order(server) == in_order(&printed(rejection))
}

#[test]
fn the_record_has_at_least_sixty_cases_of_both_verdicts() {
    let verdicts = verdicts();
    let good = verdicts
        .values()
        .filter(|verdict| verdict.get("object").is_some())
        .count();
    assert!(
        verdicts.len() >= 60 && good >= 15 && verdicts.len() - good >= 45,
        "{good} of {} good",
        verdicts.len()
    );
}

#[test]
fn every_good_case_reads_as_our_types() {
    for (name, object) in cases() {
        if let Ok(admitted) = admit(&object) {
            let kind = admitted["kind"].as_str().unwrap().to_owned();
            let read = match kind.as_str() {
                "ObservabilityMesh" => serde_json::from_value::<sightline::crds::ObservabilityMesh>(admitted).map(drop),
                "TrafficLog" => serde_json::from_value::<sightline::crds::TrafficLog>(admitted).map(drop),
                _ => serde_json::from_value::<sightline::crds::TracingBackend>(admitted).map(drop),
            };
            read.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn admitting_twice_changes_nothing() {
    for admitted in cases().values().filter_map(|object| admit(object).ok()) {
        assert_eq!(admit(&admitted).as_ref(), Ok(&admitted));
    }
}

#[test]
fn findings_come_in_the_order_of_the_servers_phases() {
    let text = |name: &str| {
        admit(&cases()[name])
            .unwrap_err()
            .findings
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let fields = |name: &str| -> Vec<String> {
        let findings: Vec<String> = text(name);
        findings
            .iter()
            .map(|finding| finding.split(": ").next().unwrap().to_owned())
            .collect()
    };
    // metadata, then the schema, then the note instead of rules
    assert_eq!(
        fields("meta-name-underscore"),
        ["metadata.name", "spec.direction", "<nil>"]
    );
    // duplicates, then rules
    assert_eq!(fields("schema-duplicate-lets-rules-run"), ["spec.backends[1]", "spec"]);
}

#[test]
fn other_groups_are_not_ours() {
    assert!(is_ours(&json!({"apiVersion": "sightline.dev/v1alpha1"})));
    assert!(is_ours(&json!({"apiVersion": "sightline.dev/v9", "kind": "Foo"})));
    for other in [
        json!({"apiVersion": "v1"}),
        json!({"apiVersion": "x.sightline.dev/v1"}),
        json!({}),
        json!(null),
    ] {
        assert!(!is_ours(&other), "{other}");
        assert_eq!(admit(&other).unwrap_err().reason, Reason::NoMatch);
    }
}

/// kubectl asks for a name before it asks the server, so the server's words are not on record.
#[test]
fn a_name_is_required() {
    for metadata in [json!({}), json!(null), json!({"generateName": "x-"})] {
        let object = json!({
            "apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog", "metadata": metadata, "spec": {},
        });
        let rejection = admit(&object).unwrap_err();
        let note = "<nil>: Invalid value: null: some validation rules were not checked because the object was \
                    invalid; correct the existing errors to complete validation";
        assert_eq!(
            rejection.to_string(),
            format!("\n* metadata.name: Required value: name or generateName is required\n* {note}")
        );
    }
}

/// The server would only say that there is no such namespace.
#[test]
fn a_namespace_is_a_dns_label() {
    let object = json!({
        "apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
        "metadata": {"name": "x", "namespace": "a.b"}, "spec": {},
    });
    let rejection = admit(&object).unwrap_err();
    assert_eq!(
        rejection.to_string(),
        r#"metadata.namespace: Invalid value: "a.b": must not contain dots"#
    );
}

/// `(where, rule)` of each CEL rule, and all keywords, formats and list types that the specs use.
struct Survey {
    rules: Vec<(String, Value, bool)>,
    keywords: BTreeSet<String>,
    formats: BTreeSet<String>,
}

fn survey() -> Survey {
    let mut survey = Survey {
        rules: Vec::new(),
        keywords: BTreeSet::new(),
        formats: BTreeSet::new(),
    };
    for (plural, definition) in custom_resource_definitions() {
        let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["properties"].as_object_mut().unwrap().remove("status");
        visit(&schema, plural, false, &mut survey);
    }
    survey
}

fn visit(schema: &Value, path: &str, in_map: bool, survey: &mut Survey) {
    let schema = schema.as_object().unwrap();
    survey.keywords.extend(schema.keys().cloned());
    survey
        .formats
        .extend(schema.get("format").map(|format| format.as_str().unwrap().to_owned()));
    for rule in schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        survey
            .rules
            .push((path.to_owned(), rule.clone(), !in_map && schema["type"] == "object"));
    }
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&Map::new())
    {
        visit(property, &format!("{path}.{name}"), in_map, survey);
    }
    if let Some(items) = schema.get("items") {
        visit(items, &format!("{path}[]"), in_map, survey);
    }
    if let Some(values) = schema.get("additionalProperties") {
        visit(values, &format!("{path}{{}}"), true, survey);
    }
}

#[test]
fn every_cel_rule_is_broken_by_a_case_that_the_server_refused() {
    let messages: Vec<String> = verdicts()
        .values()
        .filter_map(|verdict| verdict["message"].as_str())
        .map(str::to_owned)
        .collect();
    let rules = survey().rules;
    assert!(rules.len() >= 20, "{} rules", rules.len());
    let transition = |rule: &Value| rule["rule"].as_str().unwrap().contains("oldSelf");
    let missing: Vec<_> = rules
        .iter()
        .filter(|(_, rule, _)| {
            let message = format!(": Invalid value: {}", rule["message"].as_str().unwrap());
            !messages
                .iter()
                .any(|said| said.lines().any(|line| line.ends_with(&message)))
        })
        .map(|(path, rule, _)| (path.as_str(), rule["rule"].as_str().unwrap(), transition(rule)))
        .collect();
    // A creation has nothing to compare with.
    let only_transitions = missing.iter().all(|(_, _, transition)| *transition);
    assert!(only_transitions, "{missing:#?}");
    assert_eq!(
        missing.len(),
        6,
        "type, Kuma's and Kmesh's namespace, a collector's name and volume do not change, and Kmesh's istio does not go"
    );
}

/// The server compiles `a.namespace`, cannot estimate its cost and refuses the whole definition. Escaped it works.
#[test]
fn rules_escape_the_reserved_words_of_cel() {
    let reserved = regex::Regex::new(
        r"\.(as|break|const|continue|else|false|for|function|if|import|in|let|loop|namespace|null|package|return|true)\b|\.(var|void|while)\b",
    );
    for (path, rule, _) in survey().rules {
        let text = rule["rule"].as_str().unwrap();
        assert!(
            !reserved.as_ref().unwrap().is_match(text),
            "{path}: write .__namespace__ in {text}"
        );
    }
}

/// What `admission` does not know must not appear in a schema unnoticed.
#[test]
fn schemas_use_only_what_admission_knows() {
    let survey = survey();
    let known = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ];
    let unknown: Vec<_> = survey
        .keywords
        .iter()
        .filter(|keyword| !known.contains(&keyword.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(survey.formats.iter().map(String::as_str).collect::<Vec<_>>(), ["int32"]);
    for (path, rule, on_object) in survey.rules {
        assert!(
            on_object,
            "{path}: the server's message for a rule on a scalar or in a map is another"
        );
        let keys: Vec<&str> = rule.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "rule"], "{path}");
    }
}

/// Makes the record, in front of a real API server. Runs with `SIGHTLINE_RECORD=1` only: the other tests need none.
#[tokio::test]
async fn record() -> anyhow::Result<()> {
    if std::env::var_os("SIGHTLINE_RECORD").is_none() {
        return Ok(());
    }
    let cluster = control_plane::ControlPlane::start(control_plane::Options::default()).await?;
    let definitions = tempfile::tempdir()?;
    for (plural, definition) in custom_resource_definitions() {
        std::fs::write(
            definitions.path().join(format!("{plural}.yaml")),
            definition_yaml(&definition)?,
        )?;
    }
    let folder_of_definitions = definitions.path().display().to_string();
    cluster
        .run_kubectl(&["apply", "--server-side", "-f", &folder_of_definitions])
        .await?;
    cluster
        .run_kubectl(&["wait", "--for=condition=Established", "crd", "--all"])
        .await?;
    let mut verdicts = Map::new();
    for name in cases().keys() {
        let file = std::fs::File::open(folder().join("cases").join(format!("{name}.yaml")))?;
        let arguments = ["apply", "--dry-run=server", "-o", "json", "-f", "-"];
        let output = cluster.kubectl().args(arguments).stdin(file).output().await?;
        let verdict = if output.status.success() {
            json!({"object": without_server_fields(serde_json::from_slice(&output.stdout)?)})
        } else {
            let said = String::from_utf8(output.stderr)?;
            let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("Warning: ")).collect();
            json!({"message": in_order(&said.join("\n"))})
        };
        verdicts.insert(name.clone(), verdict);
    }
    let text = format!(
        "# Made by `SIGHTLINE_RECORD=1 cargo test --test admission`; kubectl's words, lists sorted.\n{}",
        to_yaml(&Value::Object(verdicts))?
    );
    std::fs::write(folder().join("verdicts.yaml"), text)?;
    Ok(())
}

/// Takes away what the server adds to metadata, and kubectl's annotation.
fn without_server_fields(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "creationTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "uid",
    ] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}
