//! Objects of prometheus-operator.

use serde_json::{Value, json};

use super::series::Selection;
use super::{ENVOY_PORT_NAME, Exporters, ISTIOD_PORT_NAME, Relabel, object};
use crate::crds::{ControlPlaneScrape, MetricsExport, ProxyScrape};
use crate::render::kmesh;
use crate::snapshot::Kind;

/// An object of the operator's with its `spec`.
pub fn of_operator(kind: Kind, mesh: &str, export: &MetricsExport, spec: Value) -> Value {
    let (api_version, name, _) = kind.names();
    let mut object = object(api_version, name, mesh, export);
    object.insert("spec".into(), spec);
    Value::Object(object)
}

fn kept(selection: &Selection) -> Option<Value> {
    let regex = selection.regexes()?.join("|");
    Some(json!([Relabel::keep(vec!["__name__"], regex).in_monitor()]))
}

/// The PodMonitor by which each proxy is scraped, in whatever namespace it runs; of Kmesh each daemon, in its own.
pub fn pod_monitor(
    mesh: &str,
    export: &MetricsExport,
    scrape: &ProxyScrape,
    exporters: &Exporters,
    selection: &Selection,
) -> Value {
    let endpoint = exporters.endpoint(scrape);
    let container = "__meta_kubernetes_pod_container_name";
    let keeps = match exporters {
        // `port` would do for 15090 alone, and takes declared ports only: the step is the same for all.
        Exporters::Istio { .. } => Relabel::keep(
            vec![container, "__meta_kubernetes_pod_container_port_name"],
            format!("{};{ENVOY_PORT_NAME}", endpoint.container),
        ),
        Exporters::Kuma { .. } | Exporters::Kmesh { .. } => Relabel::keep(vec![container], endpoint.container),
    };
    let (namespaces, pods) = match exporters {
        Exporters::Istio { .. } | Exporters::Kuma { .. } => (json!({"any": true}), json!({})),
        Exporters::Kmesh { namespace, .. } => (
            json!({"matchNames": [namespace]}),
            json!({"matchLabels": {"app": kmesh::APP}}),
        ),
    };
    let steps: Vec<Value> = std::iter::once(keeps)
        .chain(endpoint.readdressed())
        .map(|step| step.in_monitor())
        .collect();
    let mut of_endpoint = json!({"path": endpoint.path, "interval": scrape.interval.0, "relabelings": steps});
    if let (Some(map), Some(kept)) = (of_endpoint.as_object_mut(), kept(selection)) {
        map.insert("metricRelabelings".into(), kept);
    }
    let spec = json!({"namespaceSelector": namespaces, "selector": pods, "podMetricsEndpoints": [of_endpoint]});
    of_operator(Kind::PodMonitor, mesh, export, spec)
}

/// The ServiceMonitor by which istiod is scraped. Proxies are not scraped by one: a Pod behind two Services would be
/// scraped twice.
pub fn service_monitor(
    mesh: &str,
    export: &MetricsExport,
    scrape: &ControlPlaneScrape,
    namespace: &str,
    selection: Option<&Selection>,
) -> Value {
    let mut endpoint = json!({"port": ISTIOD_PORT_NAME, "path": "/metrics", "interval": scrape.interval.0});
    if let (Some(map), Some(kept)) = (endpoint.as_object_mut(), selection.and_then(kept)) {
        map.insert("metricRelabelings".into(), kept);
    }
    let spec = json!({
        "namespaceSelector": {"matchNames": [namespace]},
        "selector": {"matchLabels": {"app": "istiod"}},
        "endpoints": [endpoint],
    });
    of_operator(Kind::ServiceMonitor, mesh, export, spec)
}
