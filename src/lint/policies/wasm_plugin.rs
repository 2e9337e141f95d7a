//! Istio's WasmPlugin.

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::Located;

/// Judges a WasmPlugin.
pub fn note(object: &Located, judge: &mut Judge) {
    let Some(spec) = object.get("spec") else { return };
    let names = ["verificationKey", "verification_key"];
    if spec.either(names).is_some_and(|key| key.as_string() != Some("")) {
        let message = "Istio verifies no signature; pin the module by `sha256`";
        judge.policy(Policy::FieldWithoutEffect, spec.key_mark(&names), message.to_owned());
    }
}
