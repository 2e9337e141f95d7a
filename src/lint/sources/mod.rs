//! Where formats and filters stand: a file for each kind of source. A new kind is a new file and a line in [`judge`].
//!
//! Each says of a string who reads it and for which traffic; what is wrong with it is said by the judge.

mod envoy;
mod mesh_config;
mod sightline;
mod telemetry;

use super::findings::Judge;
use super::located::Located;

/// Judges what a document holds. A document of another kind holds nothing.
pub fn judge(document: &Located, judge: &mut Judge) {
    let (group, kind) = document.group_and_kind();
    match (group, kind) {
        ("sightline.dev", kind) => sightline::judge(kind, document, judge),
        ("telemetry.istio.io", "Telemetry") => telemetry::judge(document, judge),
        ("", "ConfigMap") => mesh_config::judge_config_map(document, judge),
        ("", "") => envoy::judge(document, judge),
        _ => {}
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
