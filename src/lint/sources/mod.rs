//! Where formats and filters stand: a file for each kind of source. A new kind is a new file and a line in [`judge`].
//!
//! Each says of a string who reads it and for which traffic; what is wrong with it is said by the judge.

mod envoy;
mod gateway;
mod installers;
mod kuma;
mod mesh_config;
mod patches;
mod sightline;
mod telemetry;

#[cfg(test)]
mod tests;

use super::findings::Judge;
use super::located::Located;

/// A kind as an API server serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedKind {
    /// `telemetry.istio.io/v1`.
    pub api_version: &'static str,
    /// `Telemetry`.
    pub kind: &'static str,
    /// `telemetries`.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
}

/// The kinds with formats or filters that take effect in a cluster, but for ConfigMaps. What becomes one of these (an
/// IstioOperator, values of charts) is none.
pub const SERVED: [ServedKind; 9] = [
    served(
        "sightline.dev/v1alpha1",
        "ObservabilityMesh",
        "observabilitymeshes",
        false,
    ),
    served("sightline.dev/v1alpha1", "TrafficLog", "trafficlogs", true),
    served("telemetry.istio.io/v1", "Telemetry", "telemetries", true),
    served("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters", true),
    served(
        "gateway.envoyproxy.io/v1alpha1",
        "EnvoyPatchPolicy",
        "envoypatchpolicies",
        true,
    ),
    served("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy", "envoyproxies", true),
    served("kuma.io/v1alpha1", "Mesh", "meshes", false),
    served("kuma.io/v1alpha1", "MeshAccessLog", "meshaccesslogs", true),
    served("kuma.io/v1alpha1", "MeshTrace", "meshtraces", true),
];

const fn served(
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    is_namespaced: bool,
) -> ServedKind {
    ServedKind {
        api_version,
        kind,
        plural,
        is_namespaced,
    }
}

/// Judges what a document holds. A document of another kind holds nothing.
pub fn judge(document: &Located, judge: &mut Judge) {
    let (group, kind) = document.group_and_kind();
    match (group, kind) {
        ("sightline.dev", kind) => sightline::judge(kind, document, judge),
        ("telemetry.istio.io", "Telemetry") => telemetry::judge(document, judge),
        ("networking.istio.io", "EnvoyFilter") => patches::judge_envoy_filter(document, judge),
        ("gateway.envoyproxy.io", "EnvoyPatchPolicy") => patches::judge_patch_policy(document, judge),
        ("gateway.envoyproxy.io", "EnvoyProxy") => gateway::judge(document, judge),
        ("kuma.io", kind) => {
            if let Some(spec) = document.get("spec") {
                kuma::judge(kind, &spec, judge);
            }
        }
        ("install.istio.io", "IstioOperator")
        | ("sailoperator.io", "Istio" | "IstioRevision")
        | ("helm.toolkit.fluxcd.io", "HelmRelease") => installers::judge(document, judge),
        ("argoproj.io", "Application") => installers::judge_application(document, judge),
        ("helm.cattle.io", "HelmChart" | "HelmChartConfig") => installers::judge_helm_chart(document, judge),
        ("", "ConfigMap") => judge_config_map(document, judge),
        ("", "") => judge_bare(document, judge),
        _ => {}
    }
}

/// istiod's MeshConfig stands under one key; Envoy's own configuration under any.
fn judge_config_map(config_map: &Located, judge: &mut Judge) {
    for (key, text) in config_map.get("data").iter().flat_map(Located::members) {
        if key == "mesh" {
            mesh_config::judge_text(&text, judge);
        } else {
            envoy::judge_text(&text, judge);
        }
    }
}

/// Judges a document that is no object of Kubernetes.
fn judge_bare(document: &Located, judge: &mut Judge) {
    match document.text_at(&["type"]) {
        "Mesh" => kuma::judge("Mesh", document, judge),
        kind if kuma::is_known(kind) => {
            if let Some(spec) = document.get("spec") {
                kuma::judge(kind, &spec, judge);
            }
        }
        _ => {
            envoy::judge(document, judge);
            installers::judge_values(document, judge);
        }
    }
}

/// The objects of a document: those of a List, each for itself.
pub fn objects(document: Located) -> Vec<Located> {
    let is_list = document
        .get("kind")
        .is_some_and(|kind| kind.as_string().is_some_and(|kind| kind.ends_with("List")));
    match document.get("items").filter(|_| is_list) {
        Some(items) => items.items(),
        None => vec![document],
    }
}
