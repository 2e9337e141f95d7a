//! The parts of the chart that are made from code, or that repeat what stands in `values.yaml`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sightline::cluster::rbac::{Feature, Place, rules_yaml};
use sightline::crds::{custom_resource_definitions, definition_yaml};
use sightline::yaml::{read_documents, to_yaml};

use crate::flags;
use crate::{check, files_of, root};

const VALUES: &str = "charts/operator/values.yaml";
const SCHEMA: &str = "charts/operator/values.schema.json";

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// Checks or writes the lines of a file between the lines that contain `BEGIN name` and `END name`.
fn check_region(file: &str, name: &str, made: &str) {
    let text = read(file);
    let line_with = |mark: String| {
        let at = text
            .find(&mark)
            .unwrap_or_else(|| panic!("{file} has no line with `{mark}`"));
        text[..at].rfind('\n').map_or(0, |end| end + 1)
    };
    let begin = line_with(format!("BEGIN {name}"));
    let first = begin + text[begin..].find('\n').unwrap() + 1;
    let end = line_with(format!("END {name}"));
    check(file, &format!("{}{made}{}", &text[..first], &text[end..]));
}

#[test]
fn the_charts_definitions_are_config_crd_and_stay_at_uninstall() {
    let folder = "charts/operator/files/crds";
    let mut names = BTreeSet::new();
    for (plural, mut definition) in custom_resource_definitions() {
        definition["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
        check(
            &format!("{folder}/{plural}.yaml"),
            &definition_yaml(&definition).unwrap(),
        );
        names.insert(format!("{plural}.yaml"));
    }
    assert_eq!(files_of(folder), names);
}

#[test]
fn the_charts_rules_are_those_of_the_table() {
    let folder = "charts/operator/files/rules";
    let mut places = vec![
        ("cluster".to_owned(), Place::Cluster),
        ("own".to_owned(), Place::Own),
        ("istio".to_owned(), Place::Istio),
        ("kuma".to_owned(), Place::Kuma),
        ("kmesh".to_owned(), Place::Kmesh),
        ("collectors".to_owned(), Place::Collector),
        ("agents".to_owned(), Place::Agents),
        ("inject".to_owned(), Place::Inject),
        ("inject-secrets".to_owned(), Place::InjectSecrets),
    ];
    places.extend(Feature::ALL.map(|feature| (format!("feature-{}", feature.name()), Place::ClusterFor(feature))));
    let mut names = BTreeSet::new();
    for (name, place) in places {
        check(&format!("{folder}/{name}.yaml"), &rules_yaml(place).unwrap());
        names.insert(format!("{name}.yaml"));
    }
    assert_eq!(files_of(folder), names);
}

/// One test, as each part is made from the one before: values, schema, docs.
#[test]
fn the_charts_values_schema_and_docs_say_the_same_as_the_code() {
    check_region(VALUES, "features", &features_block());
    check_region(VALUES, "flags", &flags_block());
    let text = read(VALUES);
    let values = read_documents(&text).unwrap().remove(0);
    let documented = documentation(&text);
    let mut bare = Vec::new();
    find_bare(&values, "", &documented, &mut bare);
    assert_eq!(bare, Vec::<String>::new(), "values without a comment above them");
    check(SCHEMA, &schema(&values, &documented));
    check_region("docs/install.md", "values", &table(&values, &documented));
}

#[test]
fn the_chart_has_the_version_of_the_operator() {
    let chart = read_documents(&read("charts/operator/Chart.yaml")).unwrap().remove(0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (&chart["version"], &chart["appVersion"]),
        (&json!(version), &json!(version))
    );
}

fn features_block() -> String {
    let entries = Feature::ALL.map(|feature| entry(feature.meaning(), feature.name(), &json!(false)));
    format!("features:\n{}", entries.concat())
}

fn flags_block() -> String {
    let entries = flags::of_run().into_iter().map(|flag| {
        let help = format!("{} (`--{}`)", sentence(&flag.help), flag.long);
        entry(&help, &flag.name, &flag.default)
    });
    format!("flags:\n{}", entries.collect::<String>())
}

fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

fn entry(doc: &str, name: &str, value: &Value) -> String {
    let mut out = String::new();
    let mut line = String::from("  #");
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > 118 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("  #");
        }
        line.push(' ');
        line.push_str(word);
    }
    let value = to_yaml(&json!({name: value})).unwrap();
    format!("{out}{line}\n  {value}")
}

/// A value that has a comment: its path, and the comment.
type Documented = Vec<(String, String)>;

/// Values by path with the comment above each, of a YAML that is indented by two spaces.
fn documentation(text: &str) -> Documented {
    let mut out = Documented::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        let key = content
            .split_once(':')
            .filter(|(key, _)| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '-'));
        if content.starts_with("# BEGIN") || content.starts_with("# END") {
        } else if let Some(words) = content.strip_prefix("# ") {
            comment.push(words);
        } else if let Some((key, _)) = key {
            path.truncate((line.len() - content.len()) / 2);
            path.push(key);
            if !comment.is_empty() {
                out.push((path.join("."), comment.join(" ")));
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    out
}

fn is_group(path: &str, documented: &Documented) -> bool {
    let below = format!("{path}.");
    documented.iter().any(|(other, _)| other.starts_with(&below))
}

/// Values of which neither they nor what they are part of has a comment.
fn find_bare(value: &Value, path: &str, documented: &Documented, bare: &mut Vec<String>) {
    let is_documented = documented.iter().any(|(other, _)| other == path);
    match value.as_object() {
        Some(map) if path.is_empty() || is_group(path, documented) => {
            for (key, value) in map {
                find_bare(value, &join(path, key), documented, bare);
            }
        }
        _ if is_documented => {}
        _ => bare.push(path.to_owned()),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn at<'a>(values: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(values, |value, key| &value[key])
}

/// The schema as it lies there, with what is made from code, and the comments and defaults of the values.
fn schema(values: &Value, documented: &Documented) -> String {
    let mut schema: Value = serde_json::from_str(&read(SCHEMA)).unwrap();
    let object = |properties: Map<String, Value>| json!({"type": "object", "additionalProperties": false, "properties": properties});
    let features = Feature::ALL.map(|feature| (feature.name().to_owned(), json!({"type": "boolean"})));
    schema["properties"]["features"] = object(features.into_iter().collect());
    let flags = flags::of_run().into_iter().map(|flag| (flag.name, flag.schema));
    schema["properties"]["flags"] = object(flags.collect());
    for (path, text) in documented {
        let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
        let place = schema.pointer_mut(&pointer);
        let place = place.unwrap_or_else(|| panic!("{SCHEMA} does not know the value {path}"));
        let mut made = Map::new();
        made.insert("description".into(), json!(text));
        if !is_group(path, documented) {
            made.insert("default".into(), at(values, path).clone());
        }
        let rest = place.as_object().unwrap().iter();
        made.extend(
            rest.filter(|(key, _)| !["description", "default"].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        *place = Value::Object(made);
    }
    let mut unknown = Vec::new();
    find_unknown(&schema, values, "", &mut unknown);
    assert_eq!(
        unknown,
        Vec::<String>::new(),
        "{SCHEMA} knows values that {VALUES} does not have"
    );
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

/// Properties of a schema that are strict and have no value. Helm itself hands down `global`.
fn find_unknown(schema: &Value, values: &Value, path: &str, unknown: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = join(path, key);
        if values.get(key).is_none() && !["global", "resources.claims"].contains(&path.as_str()) {
            unknown.push(path);
        } else if property["properties"].is_object() {
            find_unknown(property, &values[key], &path, unknown);
        }
    }
}

fn table(values: &Value, documented: &Documented) -> String {
    let rows = documented.iter().map(|(path, text)| {
        let default = match at(values, path) {
            _ if is_group(path, documented) => String::new(),
            value => format!("`{value}`"),
        };
        format!("| `{path}` | {default} | {text} |\n")
    });
    let head = "| value | default | meaning |\n| --- | --- | --- |\n".to_owned();
    std::iter::once(head).chain(rows).collect()
}
