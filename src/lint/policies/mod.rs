//! Policies as a whole: what is wrong with an object that is well written, and what is wrong between objects of all files.
//!
//! Sources hand over what they find ([`note`], [`mesh_config::note`]): what one object shows is said at once, and the few
//! facts that the others matter for are kept. [`check`] judges these when all files are read. The files are taken for
//! those of one cluster; two objects of one name in them are two versions of one, and are not compared.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `mesh_config`, `shape` | Istio's MeshConfig; its keys |
//! | `telemetry` | one Telemetry |
//! | `telemetries` | Telemetries beside each other: age, selectors, root namespace, waypoints |
//! | `providers` | Telemetries and the providers of MeshConfig |
//! | `wasm_plugin` | Istio's WasmPlugin |
//! | `kuma` | Kuma's policies |
//! | `environment` | environment of workloads: OpenTelemetry's, InterLink's |
//! | `sightline` | our own kinds |
//! | `solarmesh` | SolarMesh's `grpc-logging` |

mod environment;
mod kuma;
pub mod mesh_config;
mod providers;
mod shape;
mod sightline;
mod solarmesh;
mod telemetries;
mod telemetry;
mod wasm_plugin;

#[cfg(test)]
mod tests;

use super::codes::Policy;
use super::findings::{Finding, Judge, Resource};
use super::located::{Located, Mark};
use crate::format::Dialect;

/// What is kept of an object until all files are read.
#[derive(Clone, Debug)]
pub enum Fact {
    /// An ObservabilityMesh.
    Mesh(sightline::Mesh),
    /// A TrafficLog or TracingBackend.
    Refers(sightline::Refers),
    /// A MeshConfig of Istio's.
    MeshConfig(mesh_config::MeshConfig),
    /// A Telemetry of Istio's.
    Telemetry(telemetry::Telemetry),
    /// A waypoint.
    Waypoint(telemetries::Waypoint),
    /// A MeshAccessLog of Kuma's.
    MeshAccessLog(kuma::MeshAccessLog),
    /// A reference to a MeshOpenTelemetryBackend.
    BackendRef(kuma::BackendRef),
    /// A MeshOpenTelemetryBackend.
    Backend(kuma::Backend),
}

/// A fact and where it is from.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Which file.
    pub file: usize,
    /// Which object.
    pub resource: Option<Resource>,
    /// What it says.
    pub fact: Fact,
}

/// A finding and the file that it is in.
pub type Found = (usize, Finding);

impl Noted {
    fn finding(&self, policy: Policy, mark: &Mark, message: String) -> Found {
        let finding = Finding::of_policy(policy, self.resource.clone(), mark.clone(), message);
        (self.file, finding)
    }
}

/// All facts, and what the files are called.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    noted: &'a [Noted],
    files: &'a [&'a str],
}

impl<'a> Facts<'a> {
    /// The facts of one kind, in the order of the files.
    fn of<T>(self, pick: fn(&'a Fact) -> Option<&'a T>) -> impl Iterator<Item = (&'a Noted, &'a T)> {
        self.noted
            .iter()
            .filter_map(move |noted| Some((noted, pick(&noted.fact)?)))
    }

    /// What to call an object where another one is spoken of: `Telemetry shop/a (a.yaml)`.
    fn called(self, object: &Noted, from: &Noted) -> String {
        let resource = object.resource.clone().unwrap_or_default();
        let Resource { kind, namespace, name } = resource;
        let name = if namespace.is_empty() {
            name
        } else {
            format!("{namespace}/{name}")
        };
        match self.files.get(object.file).filter(|_| object.file != from.file) {
            Some(file) => format!("{kind} {name} ({file})"),
            None => format!("{kind} {name}"),
        }
    }
}

/// Judges an object as a whole, and keeps what is needed of it.
pub fn note(object: &Located, judge: &mut Judge) {
    match object.group_and_kind() {
        ("sightline.dev", kind) => sightline::note(kind, object, judge),
        ("telemetry.istio.io", "Telemetry") => telemetry::note(object, judge),
        ("gateway.networking.k8s.io", "Gateway") => telemetries::note_gateway(object, judge),
        ("extensions.istio.io", "WasmPlugin") => wasm_plugin::note(object, judge),
        ("kuma.io", kind) => kuma::note(kind, object, judge),
        ("", "ConfigMap") => solarmesh::note(object, judge),
        ("apps" | "batch", _) | ("", "Pod") => environment::note(object, judge),
        _ => {}
    }
}

/// Who reads what is not for a reader by its kind: the mesh of the ObservabilityMeshes, where they agree.
pub fn mesh<'a>(facts: impl Iterator<Item = &'a Fact>) -> Option<Dialect> {
    let mut dialects = facts.filter_map(|fact| match fact {
        Fact::Mesh(mesh) => Some(mesh.dialect),
        _ => None,
    });
    let first = dialects.next()??;
    dialects.all(|other| other == Some(first)).then_some(first)
}

/// Judges all objects together.
pub fn check(noted: &[Noted], files: &[&str]) -> Vec<Found> {
    let facts = Facts { noted, files };
    let mut found = telemetries::check(facts);
    found.extend(providers::check(facts));
    found.extend(kuma::check(facts));
    found.extend(sightline::check(facts));
    found
}
