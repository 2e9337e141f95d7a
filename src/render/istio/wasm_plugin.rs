//! WasmPlugin: the module that reports SolarMesh's interface traffic.

use serde_json::{Map, Value, json};

use crate::crds::WasmModule;
use crate::render::metadata::{MANAGED_BY, MANAGED_BY_US, MESH_LABEL};

/// Name of the object of a mesh.
pub fn object_name(mesh: &str) -> String {
    format!("sightline-{mesh}")
}

/// Renders the object for one namespace.
///
/// Telemetry never cuts traffic: where the module cannot be fetched or fails, traffic passes (`FAIL_OPEN`; Istio's own
/// default is a deny-all filter). It runs for what a workload receives, behind the filters that decide about a request.
/// `revision` is the value of the label `istio.io/rev`, which only istiods of that revision read.
pub fn render(namespace: &str, mesh: &str, module: &WasmModule, revision: Option<&str>) -> Value {
    let mut labels = Map::from_iter([
        (MANAGED_BY.to_owned(), Value::from(MANAGED_BY_US)),
        (MESH_LABEL.to_owned(), Value::from(mesh)),
    ]);
    if let Some(revision) = revision {
        labels.insert("istio.io/rev".to_owned(), Value::from(revision));
    }
    let mut spec = Map::from_iter([
        ("url".to_owned(), Value::from(module.url.as_str())),
        ("sha256".to_owned(), Value::from(module.sha256.as_str())),
        ("imagePullPolicy".to_owned(), Value::from("IfNotPresent")),
        ("failStrategy".to_owned(), Value::from("FAIL_OPEN")),
        ("match".to_owned(), json!([{"mode": "SERVER"}])),
        ("type".to_owned(), Value::from("HTTP")),
        ("phase".to_owned(), Value::from("STATS")),
    ]);
    if let Some(config) = &module.plugin_config {
        spec.insert("pluginConfig".to_owned(), Value::Object(config.clone()));
    }
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": object_name(mesh), "namespace": namespace, "labels": labels},
        "spec": spec,
    })
}
