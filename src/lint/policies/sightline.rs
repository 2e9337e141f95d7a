//! Our own kinds: what the API server refuses, and references between them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::{Located, Mark};
use super::{Fact, Facts, Found};
use crate::admission::{self, Rejection};
use crate::format::{Dialect, KumaVersion, nearest};

/// What is kept of an ObservabilityMesh.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Who reads its formats; `None`: it is no mesh, or none that is known.
    pub dialect: Option<Dialect>,
    name: String,
    logs: BTreeSet<String>,
    traces: BTreeSet<String>,
}

/// What is kept of a TrafficLog or TracingBackend.
#[derive(Clone, Debug)]
pub struct Refers {
    mesh: Option<(String, Mark)>,
    logs: Vec<(String, Mark)>,
    traces: Option<(String, Mark)>,
}

/// What has judges of its own: they say more than the API server does.
const JUDGED_PARTS: [&str; 3] = ["spec.format", "spec.filter", "spec.logging.format"];

/// Judges an object of ours by itself, and keeps what it refers to.
pub fn note(kind: &str, object: &Located, judge: &mut Judge) {
    let admitted = admit(object, judge);
    match kind {
        "ObservabilityMesh" => judge.note(Fact::Mesh(mesh(object, admitted.as_ref()))),
        "TrafficLog" | "TracingBackend" => judge.note(Fact::Refers(refers(object))),
        _ => {}
    }
}

/// What the API server makes of it. A name may still come from kustomize or Helm, so none is asked for. What a format or
/// a filter was found wrong for already is not said again.
fn admit(object: &Located, judge: &mut Judge) -> Option<Value> {
    let mut value = object.node().to_value();
    if let Some(fields) = value.as_object_mut() {
        let metadata = fields
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.entry("name").or_insert_with(|| "unnamed".into());
        }
    }
    let rejection = match admission::admit(&value) {
        Ok(admitted) => return Some(admitted),
        Err(rejection) => rejection,
    };
    let refusals = refusals(&rejection);
    let is_new = |(field, _): &(&str, String)| {
        let part = JUDGED_PARTS.into_iter().find(|part| field.starts_with(part));
        let path = part.and_then(|part| Some(object.at(&part.split('.').collect::<Vec<_>>())?.path().to_owned()));
        path.is_none_or(|path| !judge.has_error_in(&path))
    };
    let new: Vec<(&str, String)> = refusals.filter(is_new).collect();
    for (field, message) in new {
        judge.policy(Policy::Refused, mark_at(object, field), message);
    }
    None
}

/// Fields, each empty where all of the object is meant, and messages.
fn refusals(rejection: &Rejection) -> impl Iterator<Item = (&str, String)> {
    let own = rejection.findings.iter().filter(|finding| !finding.is_note());
    own.map(|finding| {
        let quoted = finding.message.strip_prefix("unknown field \"");
        let field = match quoted.and_then(|rest| rest.strip_suffix('"')) {
            Some(unknown) => unknown,
            None => finding.field.trim_matches(['<', '>']),
        };
        let field = if field == "nil" { "" } else { field };
        (field, format!("the API server refuses this: {}", finding.message))
    })
}

/// Where a field stands, or what is there of the way to it.
fn mark_at(object: &Located, field: &str) -> Mark {
    let mut value = object.clone();
    let mut mark = object.mark();
    for step in field.split('.') {
        let (key, indices) = step.split_once('[').unwrap_or((step, ""));
        let Some((_, member, key_mark)) = value.keys().into_iter().find(|(name, ..)| *name == key) else {
            break;
        };
        (value, mark) = (member, key_mark);
        for index in indices
            .split('[')
            .filter_map(|index| index.strip_suffix(']')?.parse::<usize>().ok())
        {
            let Some(item) = value.items().into_iter().nth(index) else {
                return mark;
            };
            mark = item.mark();
            value = item;
        }
    }
    mark
}

fn mesh(object: &Located, admitted: Option<&Value>) -> Mesh {
    let dialect = match object.text_at(&["spec", "mesh", "type"]) {
        "Istio" => Some(Dialect::Istio),
        "Kuma" => Some(Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED)),
        _ => None,
    };
    let written = object.node().to_value();
    let names = |pointer: &str| {
        let backends = admitted.unwrap_or(&written).pointer(pointer).and_then(Value::as_array);
        let name = |backend: &Value| Some(backend.get("name")?.as_str()?.to_owned());
        backends.into_iter().flatten().filter_map(name).collect()
    };
    Mesh {
        dialect,
        name: object.text_at(&["metadata", "name"]).to_owned(),
        logs: names("/spec/logging/backends"),
        traces: names("/spec/tracing/backends"),
    }
}

fn refers(object: &Located) -> Refers {
    let named = |value: Located| Some((value.as_string()?.to_owned(), value.mark()));
    let backends = object.at(&["spec", "backends"]);
    Refers {
        mesh: object.at(&["spec", "meshRef", "name"]).and_then(named),
        logs: backends
            .map(|list| list.items())
            .unwrap_or_default()
            .into_iter()
            .filter_map(named)
            .collect(),
        traces: object
            .at(&["spec", "destination", "meshBackend", "name"])
            .and_then(named),
    }
}

/// Judges references, where an ObservabilityMesh is among the files.
pub fn check(facts: Facts<'_>) -> Vec<Found> {
    let meshes: Vec<&Mesh> = facts
        .of(|fact| match fact {
            Fact::Mesh(mesh) => Some(mesh),
            _ => None,
        })
        .map(|(_, mesh)| mesh)
        .collect();
    if meshes.is_empty() {
        return Vec::new();
    }
    let policies = facts.of(|fact| match fact {
        Fact::Refers(refers) => Some(refers),
        _ => None,
    });
    let mut found = Vec::new();
    for (noted, refers) in policies {
        let unknown = |what: &str, (name, mark): &(String, Mark), known: BTreeSet<&str>| {
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None => String::new(),
            };
            let message = format!("no ObservabilityMesh among the files {what} `{name}`{hint}");
            noted.finding(Policy::UnknownReference, mark, message)
        };
        let is_own = |mesh: &&&Mesh| refers.mesh.as_ref().is_none_or(|(name, _)| *name == mesh.name);
        let own: Vec<&&Mesh> = meshes.iter().filter(is_own).collect();
        if let Some(mesh) = refers.mesh.as_ref().filter(|_| own.is_empty()) {
            let names = meshes.iter().map(|mesh| mesh.name.as_str()).collect();
            found.push(unknown("is called", mesh, names));
            continue;
        }
        let logs: BTreeSet<&str> = own.iter().flat_map(|mesh| &mesh.logs).map(String::as_str).collect();
        let traces: BTreeSet<&str> = own.iter().flat_map(|mesh| &mesh.traces).map(String::as_str).collect();
        let missing_logs = refers.logs.iter().filter(|(name, _)| !logs.contains(name.as_str()));
        found.extend(missing_logs.map(|log| unknown("has a log backend", log, logs.clone())));
        let missing_traces = refers.traces.iter().filter(|(name, _)| !traces.contains(name.as_str()));
        found.extend(missing_traces.map(|trace| unknown("has a tracing backend", trace, traces.clone())));
    }
    found
}
