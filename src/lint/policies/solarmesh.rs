//! SolarMesh's `grpc-logging`. The agent is not public: only the keys that its documentation names are known, so only
//! what is near one of them is taken for a mistake.

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::Located;
use crate::format::nearest;
use crate::render::solarmesh::APPLICATION_KEY;

/// What the agent calls its ConfigMap.
const CONFIG_MAP: &str = "grpc-logging";

/// The keys, one of them misspelt by the agent itself.
const KEYS: [&str; 4] = ["ds_driver", "url", "username", "passworld"];

/// Judges a ConfigMap of that name.
pub fn note(object: &Located, judge: &mut Judge) {
    if object.text_at(&["metadata", "name"]) != CONFIG_MAP {
        return;
    }
    let Some(text) = object.at(&["data", APPLICATION_KEY]) else {
        return;
    };
    let settings = match text.embedded() {
        Ok(settings) => settings,
        Err(error) => return judge.unreadable(&text, &format!("the text is {error}")),
    };
    let keys = settings.iter().flat_map(Located::keys);
    for (key, _, mark) in keys.filter(|(key, ..)| !KEYS.contains(key)) {
        let Some(meant) = nearest(key, KEYS.into_iter()) else {
            continue;
        };
        let note = if meant == "passworld" { ", spelt so" } else { "" };
        let message = format!("SolarMesh's agent documents no key `{key}`, but `{meant}`{note}");
        judge.policy(Policy::SolarMeshKey, mark, message);
    }
}
