//! What is said of a record before it becomes a document of Elasticsearch.
//!
//! Envoy sends each attribute of an access log as text, and `-` for what is absent. Left so, Elasticsearch would map a
//! number as a keyword, on which no job finds anomalies, and refuse a document with `-` for an address. Whose record it is
//! stands in labels of Envoy's own (`cluster_name` is the service in Kuma), which are no fields of the Common Schema.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Version;
use crate::crds::{CollectorElasticsearch, ElasticMapping, Signal};
use crate::format::Preset;

/// Operators that give numbers.
const NUMBERS: [&str; 7] = [
    "%BYTES_RECEIVED%",
    "%BYTES_SENT%",
    "%DOWNSTREAM_DIRECT_REMOTE_PORT%",
    "%DOWNSTREAM_LOCAL_PORT%",
    "%DOWNSTREAM_REMOTE_PORT%",
    "%DURATION%",
    "%RESPONSE_CODE%",
];
/// What a proxy writes for what is absent.
const ABSENT: &str = "-";
/// Holds where the labels of a resource are those of Envoy.
const IS_ENVOYS: &str = r#"resource.attributes["log_name"] != nil and resource.attributes["node_name"] != nil"#;

/// The processor that says of each record which data stream it belongs to, and how it is mapped, and that makes an access
/// log what the mapping has it as.
pub(super) fn marks(version: Version, elasticsearch: &CollectorElasticsearch) -> Value {
    let mapping = elasticsearch.mapping;
    let streams = vec![
        set(&of_resource("data_stream.dataset"), &text(&elasticsearch.dataset)),
        set(
            &of_resource("data_stream.namespace"),
            &text(&elasticsearch.data_stream_namespace),
        ),
    ];
    let group = |context: &str, statements: Vec<String>| json!({"context": context, "statements": statements});
    let mut of_logs = vec![group(
        "resource",
        streams.iter().cloned().chain(whose(mapping)).collect(),
    )];
    let mut of_traces = vec![group("resource", streams)];
    if !version.has_mapping_mode() {
        let mode = set(r#"scope.attributes["elastic.mapping.mode"]"#, &text(mode(mapping)));
        for statements in [&mut of_logs, &mut of_traces] {
            statements.push(group("scope", vec![mode.clone()]));
        }
    }
    of_logs.push(group("log", values(mapping)));
    // What cannot be marked is still sent.
    json!({"error_mode": "ignore", "log_statements": of_logs, "trace_statements": of_traces})
}

/// Attribute of a record that the exporter takes for the identity of its document.
const IDENTITY: &str = "elasticsearch.document_id";

/// The processor that gives each record an identity before it is queued. What is sent again since an answer was lost, or
/// was not for all of a batch, is then refused where it was kept, and not kept twice. `None` where the exporter knows none.
pub(super) fn identities(version: Version, signal: Signal) -> Option<Value> {
    let (statements, context) = match signal {
        Signal::Logs => ("log_statements", "log"),
        Signal::Traces if version.identifies_spans() => ("trace_statements", "span"),
        Signal::Traces => return None,
    };
    let own = format!("{context}.attributes[\"{IDENTITY}\"]");
    let statement = format!("{} where {own} == nil", set(&own, "UUID()"));
    Some(json!({"error_mode": "ignore", statements: [{"context": context, "statements": [statement]}]}))
}

/// A mapping as the exporter calls it.
pub(super) const fn mode(mapping: ElasticMapping) -> &'static str {
    match mapping {
        ElasticMapping::Ecs => "ecs",
        ElasticMapping::OTel => "otel",
    }
}

fn text(value: &str) -> String {
    format!("\"{value}\"")
}

fn of_resource(name: &str) -> String {
    format!("resource.attributes[\"{name}\"]")
}

fn set(path: &str, value: &str) -> String {
    format!("set({path}, {value})")
}

/// Whose record it is, unless it says so itself.
fn whose(mapping: ElasticMapping) -> Vec<String> {
    let from = |name: &str, label: &str| {
        let (own, label) = (of_resource(name), of_resource(label));
        format!(
            "{} where {own} == nil and {label} != \"\" and {IS_ENVOYS}",
            set(&own, &label)
        )
    };
    let mut statements = vec![
        from("service.name", "cluster_name"),
        from("service.instance.id", "node_name"),
        from("cloud.availability_zone", "zone_name"),
    ];
    if mapping == ElasticMapping::Ecs {
        let labels = "delete_matching_keys(resource.attributes, \"^(cluster|log|node|zone)_name$\")";
        statements.push(format!("{labels} where {IS_ENVOYS}"));
    }
    statements
}

/// Numbers as numbers, and nothing for what is absent, in the fields of the preset that belongs to a mapping.
fn values(mapping: ElasticMapping) -> Vec<String> {
    let preset = match mapping {
        ElasticMapping::Ecs => Preset::Ecs,
        ElasticMapping::OTel => Preset::OpenTelemetry,
    };
    let fields: BTreeMap<&str, &str> = preset.fields().filter(|(_, value)| value.contains('%')).collect();
    let statements = fields.into_iter().flat_map(|(name, value)| {
        let own = format!("log.attributes[\"{name}\"]");
        let delete = format!("delete_key(log.attributes, \"{name}\")");
        // A record has its time beside its attributes.
        if value == "%START_TIME%" {
            return vec![delete];
        }
        let operator = NUMBERS.into_iter().find(|operator| value.starts_with(operator));
        let absent = operator.map_or_else(|| ABSENT.to_owned(), |operator| value.replace(operator, ABSENT));
        let mut statements = vec![format!("{delete} where {own} == {}", text(&absent))];
        statements.extend(operator.map(|_| format!("{} where {own} != nil", set(&own, &format!("Int({own})")))));
        statements
    });
    statements.collect()
}
