//! A source of Wavefront's collector, which finds it by its annotation and reads it again every `discovery_interval`.
//!
//! The collector reads strictly: a key that it does not know makes it drop the whole object. The types below have the keys
//! of its `PluginConfig`, and no other.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::series::Selection;
use super::{Exporters, config_map};
use crate::crds::{MetricsExport, ProxyScrape, TagValues, Wavefront, WavefrontPrometheus};
use crate::render::kmesh;
use crate::yaml::YamlError;

/// The annotation that the collector looks for; the value has to be the string `true`.
const DISCOVERY: &str = "wavefront.com/discovery-config";
/// Key of the document: each key is read as one.
pub const PLUGINS_KEY: &str = "plugins";

#[derive(Serialize)]
struct Plugin<'a> {
    name: String,
    #[serde(rename = "type")]
    type_: &'static str,
    selectors: Selectors<'a>,
    port: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    filters: Filters<'a>,
    collection: Collection<'a>,
}

#[derive(Serialize)]
struct Selectors<'a> {
    #[serde(rename = "resourceType")]
    resource_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, [&'a str; 1]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Filters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_allow_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metric_deny_list: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metric_tag_allow_list: BTreeMap<&'a str, &'a [String]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metric_tag_deny_list: BTreeMap<&'a str, &'a [String]>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tag_exclude: &'a [String],
}

#[derive(Serialize)]
struct Collection<'a> {
    interval: &'a str,
}

/// The ConfigMap.
///
/// # Errors
/// Where the document has no YAML form.
pub fn discovery(
    mesh: &str,
    export: &MetricsExport,
    wavefront: &Wavefront,
    exporters: &Exporters,
    selection: &Selection,
) -> Result<Value, YamlError> {
    let (selectors, port, path) = match &wavefront.prometheus {
        Some(prometheus) => (
            of_service(prometheus),
            prometheus.port.to_string(),
            federate(prometheus),
        ),
        None => of_proxies(exporters),
    };
    let plugin = Plugin {
        name: format!("sightline-{mesh}-{}", export.name),
        type_: "prometheus",
        selectors,
        port,
        path,
        prefix: wavefront.prefix.as_deref(),
        filters: Filters {
            metric_allow_list: selection
                .globs()
                .map(|globs| prefixed(wavefront.prefix.as_deref(), globs)),
            metric_deny_list: prefixed(wavefront.prefix.as_deref(), wavefront.deny_metrics.clone()),
            metric_tag_allow_list: by_tag(&wavefront.allow_tags),
            metric_tag_deny_list: by_tag(&wavefront.deny_tags),
            tag_exclude: &wavefront.exclude_tags,
        },
        collection: Collection {
            interval: &wavefront.interval.0,
        },
    };
    let mut map = config_map(mesh, export, &[(PLUGINS_KEY, json!({"plugins": [plugin]}))])?;
    if let Some(metadata) = map.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".into(), json!({DISCOVERY: "true"}));
    }
    Ok(map)
}

fn by_tag(tags: &[TagValues]) -> BTreeMap<&str, &[String]> {
    tags.iter()
        .map(|tag| (tag.tag.as_str(), tag.values.as_slice()))
        .collect()
}

/// Filters see names with their prefix.
fn prefixed(prefix: Option<&str>, globs: Vec<String>) -> Vec<String> {
    match prefix {
        Some(prefix) => globs.into_iter().map(|glob| format!("{prefix}.{glob}")).collect(),
        None => globs,
    }
}

fn of_proxies(exporters: &Exporters) -> (Selectors<'_>, String, String) {
    let endpoint = exporters.endpoint(&ProxyScrape::default());
    let of_image = |image| Selectors {
        resource_type: "pod",
        images: vec![image],
        labels: BTreeMap::new(),
        namespaces: Vec::new(),
    };
    let (selectors, declared) = match exporters {
        Exporters::Istio { .. } => (of_image("*proxyv2*"), 15090),
        Exporters::Kuma { .. } => (of_image("*kuma-dp*"), 5670),
        Exporters::Kmesh { namespace, .. } => {
            let daemons = Selectors {
                resource_type: "pod",
                images: Vec::new(),
                labels: BTreeMap::from([("app", [kmesh::APP])]),
                namespaces: vec![namespace],
            };
            (daemons, kmesh::scrape::PORT.into())
        }
    };
    (
        selectors,
        endpoint.undeclared_port.unwrap_or(declared).to_string(),
        endpoint.path,
    )
}

fn of_service(prometheus: &WavefrontPrometheus) -> Selectors<'_> {
    let labels = prometheus.labels.iter();
    Selectors {
        resource_type: "service",
        images: Vec::new(),
        labels: labels.map(|(key, value)| (key.as_str(), [value.as_str()])).collect(),
        namespaces: vec![&prometheus.namespace],
    }
}

/// The path with its query: the collector puts it behind host and port as it is.
fn federate(prometheus: &WavefrontPrometheus) -> String {
    format!("/federate?match[]={{job=~\"{}\"}}", prometheus.jobs.join("|"))
}
