//! What `docs/elastic` gives to import fits what is written: each field that it names is one of the documents that a real
//! collector wrote (`tests/e2e/collector/documents.json`, recorded by the end-to-end tests), and its files know each other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sightline::yaml::read_documents;

/// A field of the Common Schema for what has none of its own, so one that documents may have besides.
const OWN_LABELS: &str = "labels.";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A file of `docs/elastic`.
fn body(file: &str) -> Value {
    serde_json::from_str(&text(&format!("docs/elastic/{file}"))).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Names of the leaves of an object, with dots.
fn leaves(value: &Value, name: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() {
                    member.clone()
                } else {
                    format!("{name}.{member}")
                };
                leaves(value, &name, found);
            }
        }
        _ => {
            found.insert(name.to_owned());
        }
    }
}

/// Fields of the documents of access logs: those of requests.
fn fields_of_documents() -> BTreeSet<String> {
    let recorded: Value = serde_json::from_str(&text("tests/e2e/collector/documents.json")).unwrap();
    let mut found = BTreeSet::new();
    for entry in recorded.as_array().unwrap() {
        let is_of_logs = entry["index"].as_str().unwrap().starts_with("logs-");
        if is_of_logs && entry["document"].get("http").is_some() {
            leaves(&entry["document"], "", &mut found);
        }
    }
    assert!(found.len() >= 20, "only {found:?}");
    found
}

/// Members whose value names a field, or several.
const NAMING: [&str; 6] = [
    "field",
    "field_name",
    "partition_field_name",
    "by_field_name",
    "influencers",
    "time_field",
];
/// Clauses of a query whose member is a field.
const CLAUSES: [&str; 5] = ["term", "terms", "range", "prefix", "match"];

/// Fields that a body for Elasticsearch names, wherever it does.
fn named(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if NAMING.contains(&member.as_str()) {
                    let several = value.as_array().into_iter().flatten().chain(Some(value));
                    found.extend(several.filter_map(Value::as_str).map(str::to_owned));
                }
                // In an aggregation these have `field` as a member.
                let clause = value
                    .as_object()
                    .filter(|of| CLAUSES.contains(&member.as_str()) && !of.contains_key("field"));
                found.extend(clause.into_iter().flat_map(|of| of.keys().cloned()));
                named(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        _ => {}
    }
}

/// Fields of a template's mappings.
fn mapped(properties: &Value, name: &str, found: &mut BTreeSet<String>) {
    for (member, of) in properties.as_object().unwrap() {
        let name = if name.is_empty() {
            member.clone()
        } else {
            format!("{name}.{member}")
        };
        match of.get("properties") {
            Some(inner) => mapped(inner, &name, found),
            None => {
                found.insert(name);
            }
        }
    }
}

/// Fields of the documents that a file of `docs/elastic` names. The outliers' rows are those of the transform.
fn fields_of(file: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    match file {
        "index-template.json" => mapped(&body(file)["template"]["mappings"]["properties"], "", &mut found),
        "transform.json" => {
            let mut transform = body(file);
            // Names what the transform makes.
            transform.as_object_mut().unwrap().remove("retention_policy").unwrap();
            named(&transform, &mut found);
        }
        _ => named(&body(file), &mut found),
    }
    found
}

#[test]
fn each_field_that_a_file_for_elasticsearch_names_is_one_of_the_documents() {
    let known = fields_of_documents();
    for (file, least) in [
        ("index-template.json", 6),
        ("anomaly-detector.json", 5),
        ("datafeed.json", 3),
        ("transform.json", 6),
    ] {
        let fields = fields_of(file);
        assert!(fields.len() >= least, "{file}: only {fields:?}");
        let unknown: Vec<_> = fields.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: no document has {unknown:?}");
    }
}

/// A number that is a text in the documents would be a keyword where no template says otherwise.
#[test]
fn each_number_of_the_documents_is_one_in_the_template_and_the_other_way_round() {
    let recorded: Value = serde_json::from_str(&text("tests/e2e/collector/documents.json")).unwrap();
    let mut documents = recorded.as_array().unwrap().iter().map(|entry| &entry["document"]);
    let request = documents.find(|document| document.get("http").is_some()).unwrap();
    let numbers: BTreeSet<String> = fields_of_documents()
        .into_iter()
        .filter(|name| {
            request
                .pointer(&format!("/{}", name.replace('.', "/")))
                .is_some_and(Value::is_number)
        })
        .collect();
    assert_eq!(fields_of("index-template.json"), numbers);
}

/// What stands between `start` and `end`, each time.
fn between<'t>(text: &'t str, start: &str, end: &'t str) -> Vec<&'t str> {
    let pieces = text.split(start).skip(1);
    pieces.filter_map(|piece| piece.split(end).next()).collect()
}

/// A field as Logstash writes it, `[a][b]`, with dots.
fn dotted(reference: &str) -> String {
    reference.trim_matches(['[', ']']).replace("][", ".")
}

/// The pairs of all `rename` of a configuration of Logstash.
fn renames(configuration: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for block in between(configuration, "rename => {", "}") {
        let quoted: Vec<&str> = block.split('"').skip(1).step_by(2).collect();
        found.extend(quoted.chunks_exact(2).map(|pair| (dotted(pair[0]), dotted(pair[1]))));
    }
    found
}

#[test]
fn logstash_gives_its_documents_the_fields_that_the_collectors_have() {
    let configuration = text("docs/elastic/logstash.conf");
    let mut fields: BTreeSet<String> = renames(&configuration).into_iter().map(|(_, to)| to).collect();
    let quoted = |starts: &str| -> Vec<String> {
        let found = between(&configuration, starts, "\"");
        found.into_iter().map(dotted).collect()
    };
    fields.extend(quoted("event.set(\""));
    fields.extend(quoted("add_field => { \""));
    // Names in patterns: %{PATTERN:field} and %{PATTERN:field:type}.
    let patterns = between(&configuration, "%{", "}");
    fields.extend(
        patterns
            .iter()
            .filter_map(|pattern| pattern.split(':').nth(1))
            .map(dotted),
    );
    assert!(fields.len() >= 9, "only {fields:?}");
    let known = fields_of_documents();
    let unknown: Vec<_> = fields
        .iter()
        .filter(|field| !known.contains(*field) && !field.starts_with(OWN_LABELS))
        .collect();
    assert!(unknown.is_empty(), "no document has {unknown:?}");
}

#[test]
fn logstash_reads_each_field_of_the_line_that_the_sample_sends() {
    let sample = read_documents(&text("config/samples/kuma/kuma-elastic.yaml")).unwrap();
    let policy = sample
        .iter()
        .find(|object| object["kind"] == "TrafficLog" && object["metadata"]["name"] == "logstash")
        .unwrap();
    let configuration = text("docs/elastic/logstash.conf");
    let fields = policy["spec"]["format"]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 8);
    for field in fields {
        let name = field["name"].as_str().unwrap();
        assert!(
            configuration.contains(&format!("\"{name}\"")),
            "nothing is made of {name}"
        );
    }
}

#[test]
fn outliers_are_looked_for_among_what_the_transform_makes() {
    let pivot = &body("transform.json")["pivot"];
    let mut made = BTreeSet::new();
    for (name, aggregation) in pivot["aggregations"].as_object().unwrap() {
        match aggregation["percentiles"]["percents"].as_array() {
            Some(percents) => made.extend(percents.iter().map(|percent| format!("{name}.{percent}"))),
            None => {
                made.insert(name.clone());
            }
        }
    }
    let outliers = body("outliers.json");
    let looked_at = outliers["analyzed_fields"]["includes"].as_array().unwrap();
    assert!(!looked_at.is_empty());
    for field in looked_at {
        assert!(made.contains(field.as_str().unwrap()), "the transform makes no {field}");
    }
    let mut chosen = BTreeSet::new();
    named(&outliers["source"]["query"], &mut chosen);
    assert!(chosen.is_subset(&made), "{chosen:?}");
    let retained = body("transform.json")["retention_policy"]["time"]["field"].clone();
    assert!(made.contains(retained.as_str().unwrap()), "{retained}");
}

#[test]
fn files_know_each_other_by_the_names_that_the_page_gives_them() {
    let page = text("docs/targets/elastic.md");
    let job = body("datafeed.json")["job_id"].clone();
    let job = job.as_str().unwrap();
    let transform = body("transform.json");
    assert_eq!(
        body("alert-rule.json")["params"]["jobSelection"]["jobIds"],
        serde_json::json!([job])
    );
    assert_eq!(
        body("outliers.json")["source"]["index"],
        serde_json::json!([transform["dest"]["index"]])
    );
    for call in [
        format!("PUT _ml/anomaly_detectors/{job}"),
        format!("PUT _ml/datafeeds/datafeed-{job}"),
        format!("PUT _transform/{}", transform["dest"]["index"].as_str().unwrap()),
    ] {
        assert!(page.contains(&format!("`{call}`")), "the page has no {call}");
    }
    let read = &body("index-template.json")["index_patterns"];
    assert_eq!(&transform["source"]["index"], read);
    assert_eq!(&body("datafeed.json")["indices"], read);
    for file in std::fs::read_dir(path("docs/elastic")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            page.contains(&format!("](../elastic/{name})")),
            "the page does not speak of {name}"
        );
    }
}

/// The files read data streams by a pattern, and these are what collectors write without more words, and the sample's.
#[test]
fn what_the_files_read_has_the_data_streams_of_the_run_in_it() {
    let read = body("index-template.json")["index_patterns"].clone();
    let pattern = glob::Pattern::new(read[0].as_str().unwrap()).unwrap();
    let recorded: Value = serde_json::from_str(&text("tests/e2e/collector/documents.json")).unwrap();
    let indices = recorded
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["index"].as_str());
    for index in indices
        .filter(|index| index.starts_with("logs-"))
        .chain(["logs-sightline.mesh-default"])
    {
        assert!(pattern.matches(index), "{index}");
    }
}
