//! MeshConfig in what installs Istio: IstioOperator, Sail's Istio, and values of the chart `istiod`, in a file of their own or
//! in the objects of Argo CD, Flux and k3s. It becomes the ConfigMap that istiod reads, as it stands.

use super::super::findings::Judge;
use super::super::located::Located;
use super::mesh_config;

/// Judges an object with a MeshConfig, or with values of charts, in its spec: IstioOperator, Sail's Istio, Flux's
/// HelmRelease.
pub fn judge(object: &Located, judge: &mut Judge) {
    if let Some(mesh) = object.at(&["spec", "meshConfig"]) {
        mesh_config::judge_mesh_config(&mesh, judge);
    }
    if let Some(values) = object.at(&["spec", "values"]) {
        judge_values(&values, judge);
    }
}

/// Judges an Application of Argo CD, of one source or of several.
pub fn judge_application(application: &Located, judge: &mut Judge) {
    let one = application.at(&["spec", "source"]);
    let several = application.at(&["spec", "sources"]);
    let several = several.iter().flat_map(Located::items);
    for helm in one.into_iter().chain(several).filter_map(|source| source.get("helm")) {
        if let Some(values) = helm.get("valuesObject") {
            judge_values(&values, judge);
        }
        if let Some(text) = helm.get("values") {
            judge_values_text(&text, judge);
        }
    }
}

/// Judges k3s's HelmChart or HelmChartConfig.
pub fn judge_helm_chart(chart: &Located, judge: &mut Judge) {
    if let Some(text) = chart.at(&["spec", "valuesContent"]) {
        judge_values_text(&text, judge);
    }
}

/// Judges values of the chart `istiod`, or of a chart that has it as a part, under a name that can be any.
pub fn judge_values(values: &Located, judge: &mut Judge) {
    let parts = values.members().into_iter().map(|(_, value)| value);
    for chart in parts.chain([values.clone()]) {
        if let Some(mesh) = chart.get("meshConfig") {
            mesh_config::judge_mesh_config(&mesh, judge);
        }
    }
}

/// Values of other charts are nobody's concern here, broken ones included.
fn judge_values_text(text: &Located, judge: &mut Judge) {
    let is_istios = text.as_string().is_some_and(|text| text.contains("meshConfig"));
    if let Some(values) = is_istios.then(|| mesh_config::embedded(text, judge)).flatten() {
        judge_values(&values, judge);
    }
}
