//! Istio's Telemetry: the filters of its access logs, the texts of its spans' tags, and the expressions of its metrics'
//! tags. istiod parses filters and checks no attribute; of the others it checks nothing.

use super::super::findings::Judge;
use super::super::located::Located;
use crate::format::Traffic;

/// Judges `spec.accessLogging[].filter.expression`, `spec.tracing[].customTags.*.formatter.value` and
/// `spec.metrics[].overrides[].tagOverrides.*.value`.
pub fn judge(document: &Located, judge: &mut Judge) {
    let logs = document.at(&["spec", "accessLogging"]);
    for log in logs.iter().flat_map(Located::items) {
        if let Some(expression) = log.at(&["filter", "expression"]) {
            judge.filter(&expression, Traffic::Both);
        }
    }
    let traces = document.at(&["spec", "tracing"]);
    for tags in traces
        .iter()
        .flat_map(Located::items)
        .filter_map(|trace| trace.get("customTags"))
    {
        for (_, tag) in tags.members() {
            if let Some(text) = tag.at(&["formatter", "value"]) {
                judge.span_text(&text);
            }
        }
    }
    let metrics = document.at(&["spec", "metrics"]);
    let overrides = metrics
        .iter()
        .flat_map(Located::items)
        .filter_map(|metric| metric.get("overrides"));
    let tags = overrides
        .flat_map(|list| list.items())
        .filter_map(|one| one.get("tagOverrides"));
    for (_, tag) in tags.flat_map(|tags| tags.members()) {
        if let Some(expression) = tag.get("value") {
            judge.tag_expression(&expression);
        }
    }
}
