//! Findings as SARIF 2.1.0, the OASIS format that code scanners read. What is not needed is left out; the names are the
//! format's.

use std::fmt::Write as _;

use serde::Serialize;

use super::codes::{Code, Severity, TABLE};
use super::docs;
use super::findings::{Finding, Resource};
use super::text::Position;
use crate::digest;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log of one run.
#[derive(Debug, Serialize)]
pub struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    invocations: [Invocation; 1],
    /// As columns are counted everywhere here: in characters.
    column_kind: &'static str,
    results: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    name: &'static str,
    short_description: Message,
    full_description: Message,
    help: Message,
    default_configuration: Configuration,
}

#[derive(Debug, Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Debug, Serialize)]
struct Message {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    markdown: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Debug, Serialize)]
struct Notification {
    level: &'static str,
    message: Message,
}

/// A result, as SARIF calls it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
    partial_fingerprints: Fingerprints,
}

/// What stays the same when lines above a finding come and go.
#[derive(Debug, Serialize)]
struct Fingerprints {
    #[serde(rename = "resourcePathText/v1")]
    resource_path_text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    logical_locations: Vec<LogicalLocation>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

/// From 1; the end is behind the last character.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    fully_qualified_name: String,
    kind: &'static str,
}

/// The log of findings, each with the name and the text of its file, and of what could not be read and why.
pub fn log<'a>(found: impl IntoIterator<Item = (&'a str, &'a str, &'a Finding)>, unread: &[String]) -> Log {
    let notification = |why: &String| Notification {
        level: "error",
        message: plain(why.clone()),
    };
    let invocation = Invocation {
        execution_successful: unread.is_empty(),
        tool_execution_notifications: unread.iter().map(notification).collect(),
    };
    let results = found
        .into_iter()
        .map(|(file, text, finding)| outcome(file, text, finding));
    let run = Run {
        tool: Tool {
            driver: Driver {
                name: "sightline",
                semantic_version: env!("CARGO_PKG_VERSION"),
                rules: TABLE.iter().map(rule).collect(),
            },
        },
        invocations: [invocation],
        column_kind: "unicodeCodePoints",
        results: results.collect(),
    };
    Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [run],
    }
}

const fn plain(text: String) -> Message {
    Message { text, markdown: None }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn rule(code: &Code) -> Rule {
    Rule {
        id: code.id,
        name: code.name,
        short_description: plain(code.meaning.to_owned()),
        full_description: plain(format!("{} {}", code.meaning, code.remedy)),
        help: Message {
            text: code.remedy.to_owned(),
            markdown: Some(format!("{}\n\n{}", code.remedy, docs::example(code))),
        },
        default_configuration: Configuration {
            level: level(code.severity),
        },
    }
}

fn outcome(file: &str, text: &str, finding: &Finding) -> Outcome {
    let Finding {
        code,
        resource,
        path,
        place,
        message,
        help,
        ..
    } = finding;
    let (start, end) = (Position::of(text, place.start), Position::of(text, place.end));
    let resource = resource.as_ref().map(|resource| LogicalLocation {
        name: Some(resource.name.clone()).filter(|name| !name.is_empty()),
        fully_qualified_name: qualified(resource),
        kind: "resource",
    });
    // Not even a digest of a secret.
    let meant = text
        .get(place.clone())
        .filter(|_| !finding.is_of_secret())
        .unwrap_or_default();
    let identity = [
        code.id,
        resource.as_ref().map_or("", |of| &of.fully_qualified_name),
        path,
        meant,
    ];
    let fingerprint = digest::short(&identity.join("\0"), 32);
    let property = LogicalLocation {
        name: None,
        fully_qualified_name: path.clone(),
        kind: "property",
    };
    Outcome {
        rule_id: code.id,
        rule_index: TABLE.iter().position(|line| line.id == code.id),
        level: level(code.severity),
        message: plain(format!("{} {}", sentence(message), sentence(help))),
        locations: [Location {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation { uri: uri(file) },
                region: Region {
                    start_line: start.line,
                    start_column: start.column,
                    end_line: end.line,
                    end_column: end.column,
                },
            },
            logical_locations: resource.into_iter().chain([property]).collect(),
        }],
        partial_fingerprints: Fingerprints {
            resource_path_text: fingerprint,
        },
    }
}

/// What is in lower case and without a full stop, as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// `Telemetry/shop/errors`.
fn qualified(resource: &Resource) -> String {
    let parts = [&resource.kind, &resource.namespace, &resource.name];
    let named: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    named.join("/")
}

/// A path as a URI: relative to where lint ran, as scanners expect it, unless it begins at the root.
fn uri(file: &str) -> String {
    let path = file.strip_prefix("./").unwrap_or(file);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing into a String does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri() {
        for (path, expected) in [
            ("deploy/a.yaml", "deploy/a.yaml"),
            ("./deploy/a.yaml", "deploy/a.yaml"),
            ("../a.yaml", "../a.yaml"),
            ("/srv/a.yaml", "file:///srv/a.yaml"),
            ("a b/é%#?:.yaml", "a%20b/%C3%A9%25%23%3F%3A.yaml"),
            ("-", "-"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
