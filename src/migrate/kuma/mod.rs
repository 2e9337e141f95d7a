//! Kuma's telemetry as another version reads it, or as Sightline's resources.
//!
//! The old ways of 2.x are turned into policies first ([`legacy`]); policies then get the shape of a version
//! ([`policies`]), or become resources of Sightline ([`resources`]). What changes in meaning, and what cannot be carried
//! over, is noted by name: nothing is left out in silence. Facts are from the sources of Kuma v2.9.13 and, for 3.0,
//! 348b6528, and from what its control planes were seen to do.

mod legacy;
mod policies;
mod resources;

use std::fmt;

use serde_json::{Map, Value, json};

use crate::format::KumaVersion;
use crate::snapshot::key_of;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Policies of this version, 2.14 or later.
    Kuma(KumaVersion),
    /// Resources of Sightline.
    Sightline,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Migration {
    /// Objects to apply.
    pub objects: Vec<Value>,
    /// What a person has to know before.
    pub notes: Vec<Note>,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It means another thing now.
    Changed,
    /// It could not be carried over.
    Lost,
    /// It is to be removed once what replaces it stands.
    Remove,
    /// It is no telemetry of Kuma's, and stays as it is.
    LeftAlone,
}

impl Effect {
    const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Lost => "lost",
            Self::Remove => "remove",
            Self::LeftAlone => "left alone",
        }
    }
}

/// Something that a person has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What becomes of it.
    pub effect: Effect,
    /// The object that was read: kind and name.
    pub of: String,
    /// Why, and what to do; begins with the path in the object, if it is about a part.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.effect.word(), self.of)?;
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.message)
    }
}

/// Collects notes, each once.
#[derive(Default)]
struct Notes(Vec<Note>);

impl Notes {
    fn add(&mut self, effect: Effect, object: &Value, message: impl Into<String>) {
        let note = Note {
            effect,
            of: title(object),
            message: message.into(),
        };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    fn changed(&mut self, object: &Value, message: impl Into<String>) {
        self.add(Effect::Changed, object, message);
    }

    fn lost(&mut self, object: &Value, message: impl Into<String>) {
        self.add(Effect::Lost, object, message);
    }
}

/// Migrates objects. Policies without a namespace, and what is for a whole mesh, are of `system_namespace`.
pub fn migrate(objects: &[Value], to: To, system_namespace: &str) -> Migration {
    let mut notes = Notes::default();
    let of_kind = |kinds: &[&str]| -> Vec<Value> {
        let ours = objects.iter().filter(|object| kinds.contains(&kind_of(object)));
        ours.cloned().collect()
    };
    let old = legacy::Legacy {
        meshes: of_kind(&["Mesh"]),
        logs: of_kind(&["TrafficLog"]),
        traces: of_kind(&["TrafficTrace"]),
        routes: of_kind(&["TrafficRoute"]),
    };
    let mut all = old.policies(system_namespace, &mut notes);
    all.extend(of_kind(&["MeshAccessLog", "MeshTrace", "MeshMetric"]));
    let receivers = of_kind(&["MeshOpenTelemetryBackend"]);
    let mut made = match to {
        To::Kuma(version) => policies::of_version(&all, &receivers, version, system_namespace, &mut notes),
        To::Sightline => resources::of(&all, &receivers, &old.names(), system_namespace, &mut notes),
    };
    made.extend(old.bare_meshes(&mut notes));
    for object in objects {
        match kind_of(object) {
            "MeshAccessLog" | "MeshTrace" | "MeshMetric" | "MeshOpenTelemetryBackend" if to == To::Sightline => {
                notes.add(Effect::Remove, object, "once what replaces it stands");
            }
            "TrafficLog" | "TrafficTrace" => {
                notes.add(Effect::Remove, object, "once what replaces it stands");
            }
            "Mesh" | "MeshAccessLog" | "MeshTrace" | "MeshMetric" | "MeshOpenTelemetryBackend" => {}
            _ => notes.add(Effect::LeftAlone, object, ""),
        }
    }
    Migration {
        objects: made,
        notes: notes.0,
    }
}

/// The kind of an object of Kuma's; empty for one of somebody else.
fn kind_of(object: &Value) -> &str {
    let is_kumas = text(object, "/apiVersion").starts_with("kuma.io/");
    if is_kumas { text(object, "/kind") } else { "" }
}

fn title(object: &Value) -> String {
    let key = key_of(object);
    let kind = text(object, "/kind");
    if key.namespace.is_empty() {
        format!("{kind} {}", key.name)
    } else {
        format!("{kind} {key}")
    }
}

/// A text in a value; empty where there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Sets a member of an object.
fn set(object: &mut Value, member: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
}

/// The items of a list in a value.
fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The mesh of Kuma's that an object belongs to.
fn mesh_of(object: &Value) -> &str {
    let label = text(object, "/metadata/labels/kuma.io~1mesh");
    let old = text(object, "/mesh");
    match (label, old) {
        ("", "") => "default",
        ("", old) => old,
        (label, _) => label,
    }
}

/// An object of Kuma's in the shape of a policy.
fn policy(kind: &str, namespace: &str, name: &str, mesh: &str, spec: &Map<String, Value>) -> Value {
    json!({
        "apiVersion": "kuma.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"kuma.io/mesh": mesh}},
        "spec": spec,
    })
}

/// A share of requests as Kuma takes it: a whole number, or a decimal as text.
fn share(value: &Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let trimmed = text.strip_suffix(".0").unwrap_or(&text);
    trimmed
        .parse::<i64>()
        .map_or_else(|_| Value::from(trimmed), Value::from)
}

/// `HOST:PORT` of a receiver of OTLP: without scheme and path, with the port that Kuma means where there is none.
fn otlp_address(endpoint: &str) -> (String, u16) {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let parts = authority.rsplit_once(':');
    let with_port = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    with_port.unwrap_or_else(|| (authority.trim_end_matches(':').to_owned(), 4317))
}
