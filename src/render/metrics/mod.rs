//! Readers of a mesh's metrics: what each is given to read, as values that are serialized.
//!
//! Facts: the documentation of Prometheus 2.42 to 3, of prometheus-operator 0.93, of Metricbeat 9, and the source of
//! Wavefront's collector (`discovery/configs.go`, `filter/glob.go`).

pub mod dashboards;
pub mod metricbeat;
pub mod monitors;
pub mod prometheus;
pub mod series;
pub mod wavefront;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::crds::{KumaMetrics, MetricsExport, ProxyPort, ProxyScrape};
use crate::render::kmesh;
use crate::render::metadata::{MANAGED_BY, MANAGED_BY_US, MESH_LABEL};
use crate::yaml::{self, YamlError};

/// Label with the name of the export that an object is of.
pub const EXPORT_LABEL: &str = "sightline.dev/export";

/// Whose metrics they are, and where they are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exporters {
    /// Istio's proxies, and istiod in this namespace.
    Istio {
        /// Namespace of istiod.
        namespace: String,
    },
    /// Kuma's proxies.
    Kuma {
        /// Port that they are scraped on.
        port: i32,
        /// Path that they are scraped on.
        path: String,
    },
    /// Kmesh's daemons. What its waypoints measure is not theirs.
    Kmesh {
        /// Namespace of the daemons.
        namespace: String,
        /// Namespace of istiod, where the mesh says of it.
        istiod: Option<String>,
    },
}

impl Exporters {
    /// Those of a mesh of Kuma's: as its MeshMetric says, or as one without anything says.
    pub fn of_kuma(metrics: Option<&KumaMetrics>) -> Self {
        let KumaMetrics { port, path, .. } = metrics.cloned().unwrap_or_default();
        Self::Kuma { port, path }
    }

    /// The path of metrics, of a proxy or of a daemon.
    pub fn path(&self) -> &str {
        match self {
            Self::Istio { .. } => "/stats/prometheus",
            Self::Kuma { path, .. } => path,
            Self::Kmesh { .. } => kmesh::scrape::PATH,
        }
    }

    /// Namespace of istiod, where the mesh has one that can be scraped.
    pub fn istiod(&self) -> Option<&str> {
        match self {
            Self::Istio { namespace } => Some(namespace),
            Self::Kuma { .. } => None,
            Self::Kmesh { istiod, .. } => istiod.as_deref(),
        }
    }

    /// Where a proxy or a daemon is scraped.
    fn endpoint(&self, scrape: &ProxyScrape) -> ProxyEndpoint {
        match (self, scrape.port) {
            // Only 15090 is declared as a port of the container, so the others are reached by rewriting the address. That
            // port is kept all the same: there would be a target for each declared port else.
            (Self::Istio { .. }, ProxyPort::Envoy) => ProxyEndpoint::new("istio-proxy", self.path(), None),
            (Self::Istio { .. }, ProxyPort::Merged) => ProxyEndpoint::new("istio-proxy", self.path(), Some(15020)),
            (Self::Kuma { port, path }, _) => ProxyEndpoint::new("kuma-sidecar", path, Some(*port)),
            (Self::Kmesh { .. }, _) => {
                ProxyEndpoint::new(kmesh::CONTAINER, self.path(), Some(kmesh::scrape::PORT.into()))
            }
        }
    }
}

/// Where a proxy or a daemon is scraped.
struct ProxyEndpoint {
    /// Name of its container.
    container: &'static str,
    path: String,
    /// Port that the address is rewritten to, where the container does not declare it.
    undeclared_port: Option<i32>,
}

/// Name of the port of Istio's proxy container that is declared.
const ENVOY_PORT_NAME: &str = "http-envoy-prom";
/// Name of istiod's port with metrics, of the container and of the Service.
const ISTIOD_PORT_NAME: &str = "http-monitoring";

impl ProxyEndpoint {
    fn new(container: &'static str, path: &str, undeclared_port: Option<i32>) -> Self {
        Self {
            container,
            path: path.to_owned(),
            undeclared_port,
        }
    }

    /// The steps that bring a Pod's address to the port.
    fn readdressed(&self) -> Vec<Relabel> {
        let Some(port) = self.undeclared_port else {
            return Vec::new();
        };
        let step = |regex: &str, replacement: String| Relabel {
            action: "replace",
            source_labels: vec!["__meta_kubernetes_pod_ip"],
            regex: regex.to_owned(),
            replacement: Some(replacement),
            target_label: Some("__address__"),
        };
        vec![
            step("([^:]+)", format!("$1:{port}")),
            step("(.*:.*)", format!("[$1]:{port}")),
        ]
    }
}

/// One step of relabelling, as Prometheus has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Relabel {
    action: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<&'static str>,
    regex: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_label: Option<&'static str>,
}

impl Relabel {
    /// Keeps what has such values of labels, joined by semicolons.
    fn keep(source_labels: Vec<&'static str>, regex: impl Into<String>) -> Self {
        Self {
            action: "keep",
            source_labels,
            regex: regex.into(),
            replacement: None,
            target_label: None,
        }
    }

    /// The same step as prometheus-operator's objects have it.
    fn in_monitor(&self) -> Value {
        let mut step = Map::from_iter([
            ("action".to_owned(), json!(self.action)),
            ("sourceLabels".to_owned(), json!(self.source_labels)),
            ("regex".to_owned(), json!(self.regex)),
        ]);
        step.extend(
            self.replacement
                .iter()
                .map(|text| ("replacement".to_owned(), json!(text))),
        );
        step.extend(
            self.target_label
                .iter()
                .map(|label| ("targetLabel".to_owned(), json!(label))),
        );
        Value::Object(step)
    }
}

/// An object of an export without its content: labels of the spec, then ours.
pub(crate) fn object(api_version: &str, kind: &str, mesh: &str, export: &MetricsExport) -> Map<String, Value> {
    let labels = export
        .object
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)));
    let mut labels: Map<String, Value> = labels.collect();
    for (key, value) in [
        (MANAGED_BY, MANAGED_BY_US),
        (MESH_LABEL, mesh),
        (EXPORT_LABEL, &export.name),
    ] {
        labels.insert(key.to_owned(), json!(value));
    }
    let metadata = json!({"name": object_name(mesh, export), "namespace": export.object.namespace, "labels": labels});
    Map::from_iter([
        ("apiVersion".to_owned(), json!(api_version)),
        ("kind".to_owned(), json!(kind)),
        ("metadata".to_owned(), metadata),
    ])
}

/// Name of the object of an export.
pub fn object_name(mesh: &str, export: &MetricsExport) -> String {
    let name = || format!("sightline-{mesh}-{}", export.name);
    export.object.name.clone().unwrap_or_else(name)
}

/// A ConfigMap of an export with documents by key.
///
/// # Errors
/// Where a document has no YAML form.
pub(crate) fn config_map(mesh: &str, export: &MetricsExport, data: &[(&str, Value)]) -> Result<Value, YamlError> {
    let mut map = object("v1", "ConfigMap", mesh, export);
    let data: Result<Map<String, Value>, YamlError> = data
        .iter()
        .map(|(key, document)| Ok(((*key).to_owned(), json!(yaml::to_plain_lines(document)?))))
        .collect();
    map.insert("data".into(), Value::Object(data?));
    Ok(Value::Object(map))
}
