//! What the formats of files cost. Each is told for itself, and what is refused has no cost.

use std::fmt::Write;

use serde::Serialize;

use super::findings::{Judge, Options, Resource};
use super::located::Located;
use super::sources;
use super::text::Position;
use crate::format::cost::{Cost, CostError, cost};
use crate::format::preview::Sample;
use crate::format::{CompiledFormat, EnvoyVersion, Traffic};
use crate::yaml::YamlError;

/// How many operators are named to people.
const NAMED: usize = 3;
/// At 1,000 in a second.
const LINES_PER_DAY: f64 = 86_400_000.0;
const GB: f64 = 1e9;

/// A whole format, as a source found it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The value that holds it.
    pub path: String,
    /// Its first byte in the file.
    pub at: usize,
    /// What it is printed for.
    pub traffic: Traffic,
    /// As Envoy reads it.
    pub format: CompiledFormat,
    /// Whether it leaves out what is empty.
    pub omit_empty_values: bool,
}

/// A format and its cost.
#[derive(Clone, Debug)]
pub struct Priced {
    /// The object that it is in.
    pub resource: Option<Resource>,
    /// The format.
    pub written: Written,
    /// What it costs, or why it does not.
    pub cost: Result<Cost, CostError>,
}

/// What the formats of a file cost, in their order.
///
/// # Errors
/// Where the file is no YAML.
pub fn costs(text: &str, options: Options) -> Result<Vec<Priced>, YamlError> {
    let mut priced = Vec::new();
    for object in Located::of_file(text)?.into_iter().flat_map(sources::objects) {
        let mut judge = Judge::keeping_formats(options);
        sources::judge(&object, &mut judge);
        let written = judge.into_formats();
        if written.is_empty() {
            continue;
        }
        let resource = object.resource();
        priced.extend(written.into_iter().map(|written| Priced {
            resource: resource.clone(),
            ..price(written, options.oldest)
        }));
    }
    Ok(priced)
}

/// What one format costs: a whole line of text.
pub fn cost_of_format(text: &str, options: Options) -> Priced {
    let written = Written {
        path: "text".to_owned(),
        at: 0,
        traffic: Traffic::Both,
        format: CompiledFormat::Text(text.to_owned()),
        omit_empty_values: false,
    };
    price(written, options.oldest)
}

fn price(written: Written, version: EnvoyVersion) -> Priced {
    let sample = match written.traffic {
        Traffic::Tcp => Sample::tcp(),
        Traffic::Http | Traffic::Both => Sample::default(),
    };
    let cost = cost(&written.format, written.omit_empty_values, &sample, version);
    Priced {
        resource: None,
        written,
        cost,
    }
}

/// A cost in a file with this text, for people.
pub fn report(file: &str, text: &str, priced: &Priced) -> String {
    let Written { path, at, traffic, .. } = &priced.written;
    let Position { line, .. } = Position::of(text, *at);
    let mut report = match &priced.resource {
        Some(Resource { kind, namespace, name }) if namespace.is_empty() => {
            format!("{file}:{line} ({kind} {name}, {path})\n")
        }
        Some(Resource { kind, namespace, name }) => format!("{file}:{line} ({kind} {namespace}/{name}, {path})\n"),
        None if path == "text" => format!("{file}\n"),
        None => format!("{file}:{line} ({path})\n"),
    };
    let events = match traffic {
        Traffic::Tcp => "TCP connections",
        Traffic::Http | Traffic::Both => "requests",
    };
    // Writing into a String does not fail.
    let _ = match &priced.cost {
        Err(error) => writeln!(report, "  no cost: Envoy refuses it: {error}"),
        Ok(cost) => writeln!(
            report,
            "  a line: about {} bytes; {} a day at 1,000 {events}/s\n  weight: {} (%PROTOCOL% is 1){}",
            cost.bytes,
            per_day(cost.bytes),
            short(cost.weight),
            heaviest(cost)
        ),
    };
    report
}

fn heaviest(cost: &Cost) -> String {
    let parts = cost.parts.iter().take(NAMED).map(|part| {
        let times = if part.count > 1 {
            format!(" × {}", part.count)
        } else {
            String::new()
        };
        let share = 100.0 * part.weight / cost.weight;
        format!("{}{times} {} ({share:.0} %)", part.what, short(part.weight))
    });
    let parts: Vec<String> = parts.collect();
    match parts.as_slice() {
        [] => String::new(),
        _ => format!("; heaviest: {}", parts.join(", ")),
    }
}

/// More digits would be more than was measured.
fn short(weight: f64) -> String {
    let text = format!("{weight:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "a line is no petabyte")]
fn per_day(bytes: usize) -> String {
    let gigabytes = bytes as f64 * LINES_PER_DAY / GB;
    let digits = usize::from(gigabytes < 10.0);
    format!("{gigabytes:.digits$} GB")
}

/// A cost, as a member of the array that is printed for programs.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    file: &'a str,
    /// `null` for a file that holds no object.
    resource: Option<&'a Resource>,
    path: &'a str,
    line: usize,
    traffic: &'static str,
    encoding: &'static str,
    #[serde(flatten)]
    cost: EntryCost,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EntryCost {
    Priced {
        /// Of a typical line.
        bytes: usize,
        /// In `%PROTOCOL%`s.
        weight: f64,
        parts: Vec<EntryPart>,
    },
    Refused {
        error: String,
    },
}

#[derive(Debug, Serialize)]
struct EntryPart {
    what: &'static str,
    count: usize,
    weight: f64,
}

/// A cost in a file with this text.
pub fn entry<'a>(file: &'a str, text: &str, priced: &'a Priced) -> Entry<'a> {
    let written = &priced.written;
    Entry {
        file,
        resource: priced.resource.as_ref(),
        path: &written.path,
        line: Position::of(text, written.at).line,
        traffic: match written.traffic {
            Traffic::Both => "both",
            Traffic::Http => "http",
            Traffic::Tcp => "tcp",
        },
        encoding: match written.format {
            CompiledFormat::Text(_) => "text",
            CompiledFormat::Json(_) => "json",
        },
        cost: match &priced.cost {
            Err(error) => EntryCost::Refused {
                error: error.to_string(),
            },
            Ok(cost) => EntryCost::Priced {
                bytes: cost.bytes,
                weight: rounded(cost.weight),
                parts: (cost.parts.iter())
                    .map(|part| EntryPart {
                        what: part.what,
                        count: part.count,
                        weight: rounded(part.weight),
                    })
                    .collect(),
            },
        },
    }
}

/// Without the noise of binary fractions.
fn rounded(weight: f64) -> f64 {
    (weight * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OPTIONS: Options = Options {
        oldest: EnvoyVersion::OLDEST_SUPPORTED,
        mesh: None,
    };

    fn priced(text: &str) -> Vec<Priced> {
        costs(text, OPTIONS).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn formats(text: &str) -> Vec<(String, Traffic, CompiledFormat)> {
        let written = priced(text).into_iter().map(|priced| priced.written);
        written.map(|one| (one.path, one.traffic, one.format)).collect()
    }

    fn line(text: &str) -> CompiledFormat {
        CompiledFormat::Text(text.to_owned())
    }

    fn members(value: &serde_json::Value) -> CompiledFormat {
        CompiledFormat::Json(value.as_object().unwrap().clone())
    }

    #[test]
    fn formats_of_mesh_config_are_priced_whole_in_the_order_of_the_file() {
        let mesh = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    accessLogFormat: '%PROTOCOL%'
    extensionProviders:
    - {name: a, envoyFileAccessLog: {path: /dev/stdout, logFormat: {labels: {p: '%PROTOCOL%', q: {r: '%DURATION%'}}}}}
";
        let found = formats(mesh);
        let labels = "data.mesh.extensionProviders[0].envoyFileAccessLog.logFormat.labels".to_owned();
        let nested = json!({"p": "%PROTOCOL%", "q": {"r": "%DURATION%"}});
        assert_eq!(
            found,
            [
                (
                    "data.mesh.accessLogFormat".to_owned(),
                    Traffic::Both,
                    line("%PROTOCOL%")
                ),
                (labels, Traffic::Both, members(&nested)),
            ]
        );
    }

    #[test]
    fn formats_of_envoy_are_priced_for_their_traffic_and_attributes_of_otlp_as_members() {
        let log =
            |name: &str, rest: &str| format!("{{typed_config: {{'@type': type.googleapis.com/x.{name}, {rest}}}}}");
        let text = log(
            "FileAccessLog",
            "log_format: {text_format_source: {inline_string: '%PROTOCOL%'}}",
        );
        let json = log("StdoutAccessLog", "log_format: {json_format: {a: '%PROTOCOL%'}}");
        let otlp = log(
            "OpenTelemetryAccessLogConfig",
            "attributes: {values: [{key: a, value: {string_value: '%PROTOCOL%'}}, {key: n, value: {int_value: 1}}]}",
        );
        let bootstrap = format!(
            "static_resources:\n  http: {{'@type': x.HttpConnectionManager, access_log: [{text}]}}\n  tcp: {{'@type': x.TcpProxy, access_log: [{json}, {otlp}]}}\n"
        );
        let found: Vec<_> = formats(&bootstrap)
            .into_iter()
            .map(|(_, traffic, format)| (traffic, format))
            .collect();
        let one = || members(&json!({"a": "%PROTOCOL%"}));
        assert_eq!(
            found,
            [
                (Traffic::Http, line("%PROTOCOL%")),
                (Traffic::Tcp, one()),
                (Traffic::Tcp, one())
            ]
        );
    }

    #[test]
    fn a_format_of_ours_is_priced_as_it_is_compiled_and_that_of_tcp_for_itself() {
        let log = "apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {name: all, namespace: shop}
spec: {format: {text: '%PROTOCOL%', tcp: {encoding: JSON, fields: [{name: a, value: '%DURATION%'}]}}}
";
        assert_eq!(
            formats(log),
            [
                ("spec.format".to_owned(), Traffic::Http, line("%PROTOCOL%\n")),
                (
                    "spec.format.tcp".to_owned(),
                    Traffic::Tcp,
                    members(&json!({"a": "%DURATION%"}))
                ),
            ]
        );
        assert_eq!(priced(log)[0].resource.as_ref().unwrap().name, "all");
    }

    #[test]
    fn a_format_that_is_refused_has_no_cost_and_says_why() {
        let refused = cost_of_format("%NOPE%", OPTIONS);
        let text = report("--text", "%NOPE%", &refused);
        assert_eq!(
            text,
            "--text\n  no cost: Envoy refuses it: there is no operator `NOPE`\n"
        );
        let entry = serde_json::to_value(entry("--text", "%NOPE%", &refused)).unwrap();
        assert_eq!(entry["error"], "there is no operator `NOPE`");
        assert_eq!(entry.get("bytes"), None);
    }

    #[test]
    fn bytes_a_day_are_those_of_a_thousand_lines_a_second() {
        assert_eq!(per_day(500), "43 GB");
        assert_eq!(per_day(100), "8.6 GB");
    }

    #[test]
    fn people_are_told_the_three_heaviest_and_programs_all() {
        let text = "%START_TIME% %REQ(:PATH)% %DURATION% %PROTOCOL% %RESPONSE_FLAGS%\n";
        let priced = cost_of_format(text, OPTIONS);
        let heaviest = report("--text", text, &priced);
        assert_eq!(heaviest.matches('%').count(), 2 + 3, "{heaviest}");
        let entry = serde_json::to_value(entry("--text", text, &priced)).unwrap();
        assert_eq!(entry["parts"].as_array().unwrap().len(), 6);
    }
}
