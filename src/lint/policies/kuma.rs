//! Kuma's policies, and what 3.0 does not have any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::codes::Policy;
use super::super::document::Node;
use super::super::findings::Judge;
use super::super::located::{Located, Mark};
use super::{Fact, Facts, Found, Noted};

/// The label that names the mesh of a policy; without it, it is `default`.
const MESH: &str = "kuma.io/mesh";
const DEFAULT_MESH: &str = "default";
/// The label that Kuma gives each resource with its name.
const DISPLAY_NAME: &str = "kuma.io/display-name";

type Labels = BTreeMap<String, String>;

/// What is kept of a MeshAccessLog.
#[derive(Clone, Debug)]
pub struct MeshAccessLog {
    mesh: String,
    namespace: String,
    name: String,
    /// Whose traffic to or from whom, as JSON; and where each stands.
    traffic: BTreeMap<String, Mark>,
}

/// A `backendRef` to a MeshOpenTelemetryBackend.
#[derive(Clone, Debug)]
pub struct BackendRef {
    mark: Mark,
    mesh: String,
    labels: Labels,
}

/// What is kept of a MeshOpenTelemetryBackend.
#[derive(Clone, Debug)]
pub struct Backend {
    mesh: String,
    name: String,
    labels: Labels,
}

/// Judges an object of Kuma's by itself, and keeps what the others are judged by.
pub fn note(kind: &str, object: &Located, judge: &mut Judge) {
    let Some(spec) = object.get("spec") else { return };
    let mesh = match object.text_at(&["metadata", "labels", MESH]) {
        "" => DEFAULT_MESH.to_owned(),
        mesh => mesh.to_owned(),
    };
    match kind {
        "MeshAccessLog" => {
            judge_sections(&spec, judge);
            judge.note(Fact::MeshAccessLog(MeshAccessLog {
                traffic: traffic(&spec),
                namespace: object.text_at(&["metadata", "namespace"]).to_owned(),
                name: object.text_at(&["metadata", "name"]).to_owned(),
                mesh: mesh.clone(),
            }));
            note_backend_refs(&spec, &mesh, judge);
        }
        "MeshTrace" => {
            judge_sampling(&spec, judge);
            note_backend_refs(&spec, &mesh, judge);
        }
        "MeshMetric" => note_backend_refs(&spec, &mesh, judge),
        "MeshOpenTelemetryBackend" => judge.note(Fact::Backend(Backend {
            labels: labels(object.at(&["metadata", "labels"])),
            name: object.text_at(&["metadata", "name"]).to_owned(),
            mesh,
        })),
        "Mesh" => {
            for (key, instead) in [
                ("logging", "MeshAccessLog"),
                ("tracing", "MeshTrace"),
                ("metrics", "MeshMetric"),
            ] {
                if spec.get(key).is_some() {
                    let message = format!("Kuma 3.0 drops `{key}` of a Mesh without a word; use {instead}");
                    judge.policy(Policy::GoneInKuma3, spec.key_mark(&[key]), message);
                }
            }
        }
        "TrafficLog" | "TrafficTrace" => {
            let instead = if kind == "TrafficLog" {
                "MeshAccessLog"
            } else {
                "MeshTrace"
            };
            let message = format!("Kuma 3.0 has no {kind}; use {instead}");
            judge.policy(Policy::GoneInKuma3, object.key_mark(&["kind"]), message);
        }
        _ => {}
    }
}

fn has_entries(spec: &Located, key: &str) -> bool {
    spec.get(key).is_some_and(|list| !list.node().items().is_empty())
}

fn judge_sections(spec: &Located, judge: &mut Judge) {
    let beside = ["to", "from"].into_iter().find(|key| has_entries(spec, key));
    if let Some(key) = beside.filter(|_| has_entries(spec, "rules")) {
        let message = format!("Kuma refuses `{key}` beside `rules`");
        judge.policy(Policy::ToWithRules, spec.key_mark(&["rules"]), message);
    }
    if has_entries(spec, "from") {
        let message = "Kuma 3.0 has no `from`: beside `to` it is dropped without a word; use `rules`, from 2.10 on";
        judge.policy(Policy::GoneInKuma3, spec.key_mark(&["from"]), message.to_owned());
    }
}

fn judge_sampling(spec: &Located, judge: &mut Judge) {
    let Some(default) = spec.get("default") else { return };
    if has_entries(&default, "backends") && default.get("sampling").is_none() {
        let message = "no sampling is set, so Kuma traces every request".to_owned();
        judge.policy(Policy::SamplesAll, default.key_mark(&["backends"]), message);
    }
}

/// `rules` are left out: two that fit both log.
fn traffic(spec: &Located) -> BTreeMap<String, Mark> {
    let target = |of: &Located| match of.node().get("targetRef").map(Node::to_value) {
        None | Some(Value::Null) => json!({"kind": "Mesh"}),
        Some(target) => target,
    };
    let top = target(spec);
    let mut traffic = BTreeMap::new();
    for section in ["to", "from"] {
        for entry in spec.get(section).map(|list| list.items()).unwrap_or_default() {
            let mut key = json!([&top, section, target(&entry)]);
            // The order of its members says nothing.
            key.sort_all_objects();
            traffic.insert(key.to_string(), entry.mark());
        }
    }
    traffic
}

fn labels(of: Option<Located>) -> Labels {
    let members = of.map(|labels| labels.members()).unwrap_or_default();
    let label = |(key, value): (String, Located)| Some((key, value.node().as_str()?.to_owned()));
    members.into_iter().filter_map(label).collect()
}

fn note_backend_refs(value: &Located, mesh: &str, judge: &mut Judge) {
    for (key, member) in value.members() {
        if key == "backendRef" && member.text_at(&["kind"]) == "MeshOpenTelemetryBackend" {
            judge.note(Fact::BackendRef(BackendRef {
                mark: value.key_mark(&["backendRef"]),
                mesh: mesh.to_owned(),
                labels: labels(member.get("labels")),
            }));
        } else {
            note_backend_refs(&member, mesh, judge);
        }
    }
    for item in value.items() {
        note_backend_refs(&item, mesh, judge);
    }
}

/// Judges them together.
pub fn check(facts: Facts<'_>) -> Vec<Found> {
    let mut found = check_replaced(facts);
    found.extend(check_backend_refs(facts));
    found
}

/// Kuma takes the first by name.
fn check_replaced(facts: Facts<'_>) -> Vec<Found> {
    let logs = facts.of(|fact| match fact {
        Fact::MeshAccessLog(log) => Some(log),
        _ => None,
    });
    let mut by_traffic: BTreeMap<_, Vec<(&str, &Noted, &Mark)>> = BTreeMap::new();
    for (noted, log) in logs {
        for (traffic, mark) in &log.traffic {
            let key = (log.mesh.as_str(), log.namespace.as_str(), traffic.as_str());
            by_traffic.entry(key).or_default().push((&log.name, noted, mark));
        }
    }
    let judged = by_traffic.into_values().flat_map(|logs| {
        let first = logs.iter().min_by_key(|(name, ..)| *name).copied();
        logs.into_iter().filter_map(move |(name, noted, mark)| {
            let (_, other, _) = first.filter(|(holding, ..)| *holding != name)?;
            let message = format!(
                "{} is for the same traffic, and its backends hold instead",
                facts.called(other, noted)
            );
            Some(noted.finding(Policy::ReplacedBackends, mark, message))
        })
    });
    judged.collect()
}

/// Only where the files hold such backends at all: they may be kept elsewhere.
fn check_backend_refs(facts: Facts<'_>) -> Vec<Found> {
    let backends: Vec<&Backend> = facts
        .of(|fact| match fact {
            Fact::Backend(backend) => Some(backend),
            _ => None,
        })
        .map(|(_, backend)| backend)
        .collect();
    if backends.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<&str> = backends.iter().map(|backend| backend.name.as_str()).collect();
    let refs = facts.of(|fact| match fact {
        Fact::BackendRef(reference) => Some(reference),
        _ => None,
    });
    let judged = refs.filter_map(|(noted, reference)| {
        if backends.iter().any(|backend| is_meant(reference, backend)) {
            return None;
        }
        let names: Vec<&str> = names.iter().copied().collect();
        let message = format!(
            "no MeshOpenTelemetryBackend of mesh {} among the files has these labels; there are {}",
            reference.mesh,
            names.join(", ")
        );
        Some(noted.finding(Policy::UnknownBackendRef, &reference.mark, message))
    });
    judged.collect()
}

/// Labels of the domain kuma.io are Kuma's own to give; of these a file shows the name only.
fn is_meant(reference: &BackendRef, backend: &Backend) -> bool {
    let has = |(key, value): (&String, &String)| {
        let is_kumas = key.split('/').next().is_some_and(|domain| domain.ends_with("kuma.io"));
        match key.as_str() {
            DISPLAY_NAME => *value == backend.name,
            _ => backend.labels.get(key) == Some(value) || is_kumas && !backend.labels.contains_key(key),
        }
    };
    reference.mesh == backend.mesh && reference.labels.iter().all(has)
}
