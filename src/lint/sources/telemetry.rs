//! Istio's Telemetry: the filters of its access logs, and the texts of its spans' tags. istiod parses filters and checks no
//! attribute; of texts it checks nothing.

use super::super::findings::Judge;
use super::super::located::Located;
use crate::format::Traffic;

/// Judges `spec.accessLogging[].filter.expression` and `spec.tracing[].customTags.*.formatter.value`.
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
}
