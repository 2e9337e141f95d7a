//! Istio's Telemetry: the filters of its access logs. istiod parses them and checks no attribute.

use super::super::findings::Judge;
use super::super::located::Located;
use crate::format::Traffic;

/// Judges `spec.accessLogging[].filter.expression`.
pub fn judge(document: &Located, judge: &mut Judge) {
    let logs = document.at(&["spec", "accessLogging"]);
    for log in logs.iter().flat_map(Located::items) {
        if let Some(expression) = log.at(&["filter", "expression"]) {
            judge.filter(&expression, Traffic::Both);
        }
    }
}
