//! Envoy's own configuration in patches of objects: Istio's EnvoyFilter, Envoy Gateway's EnvoyPatchPolicy. Nobody reads it
//! before Envoy does: no newline and no formatter extension is added.

use super::super::findings::Judge;
use super::super::located::Located;
use super::envoy;

/// Judges `spec.configPatches[].patch.value` of an EnvoyFilter.
pub fn judge_envoy_filter(filter: &Located, judge: &mut Judge) {
    let patches = filter.at(&["spec", "configPatches"]);
    for patch in patches.iter().flat_map(Located::items) {
        if let Some(value) = patch.at(&["patch", "value"]) {
            envoy::judge_typed(&value, judge);
        }
    }
}

/// Judges `spec.jsonPatches[].operation.value` of an EnvoyPatchPolicy.
pub fn judge_patch_policy(policy: &Located, judge: &mut Judge) {
    let patches = policy.at(&["spec", "jsonPatches"]);
    for patch in patches.iter().flat_map(Located::items) {
        if let Some(value) = patch.at(&["operation", "value"]) {
            envoy::judge_typed(&value, judge);
        }
    }
}
