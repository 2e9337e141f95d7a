//! Whether istiod sees what we write.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{IstioMesh, MeshConfigMode, ObservabilityMesh};
use crate::policy::membership::{istio_of, maps_of, name_of};
use crate::policy::versions::is_istiod;
use crate::render::istio::mesh_config::primary_map;
use crate::render::istio::provider::Provider;
use crate::render::istio::telemetry::BUILT_IN_LOG;
use crate::snapshot::{Fact, Key, Kind, SeenProvider, View};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The ConfigMaps that istiods of one revision read their MeshConfig from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    revision: String,
    /// istiod's own. Of a provider that both have, its entry counts.
    primary: Key,
    /// The one that the environment names as `SHARED_MESH_CONFIG`.
    shared: Option<Key>,
}

impl Reading {
    fn maps(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.primary).chain(&self.shared)
    }

    /// For a person: `ConfigMap a/b`, or two of them.
    fn maps_text(&self) -> String {
        match &self.shared {
            None => format!("ConfigMap {}", self.primary),
            Some(shared) => format!("ConfigMaps {} and {shared}", self.primary),
        }
    }
}

/// What the Ready istiod pods of every revision read: one entry per revision, more where its pods differ.
///
/// # Errors
/// The finding of `Programmed` where that cannot be seen.
fn readings(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<Vec<Reading>, Finding> {
    let namespace = &istio.namespace;
    let pods = match view.objects_in(Kind::Pod, namespace) {
        Fact::Present(pods) => pods,
        Fact::Forbidden => {
            let message =
                format!("Sightline may not read Pods in namespace {namespace}; install the Role of config/rbac there.");
            return Err(Finding::unknown(ConditionType::Programmed, Reason::Forbidden, message));
        }
        _ => {
            let message = format!("istiod in namespace {namespace} has not been read yet.");
            return Err(Finding::unknown(
                ConditionType::Programmed,
                Reason::FactsPending,
                message,
            ));
        }
    };
    let mut readings = Vec::new();
    for revision in &istio.revisions {
        let of_revision = pods.iter().filter(|pod| is_ready_istiod(pod, revision));
        let shared: BTreeSet<Option<&str>> = of_revision.map(|pod| shared_mesh_config(pod)).collect();
        if shared.is_empty() {
            let message = format!(
                "No Ready istiod of revision {revision} in namespace {namespace}; correct spec.mesh.istio of ObservabilityMesh {}, or start it.",
                name_of(mesh)
            );
            return Err(Finding::unknown(
                ConditionType::Programmed,
                Reason::ControlPlaneNotVisible,
                message,
            ));
        }
        readings.extend(shared.into_iter().map(|shared| Reading {
            revision: revision.clone(),
            primary: primary_map(namespace, revision),
            shared: shared.map(|name| Key::new(namespace, name)),
        }));
    }
    Ok(readings)
}

/// Whether every Ready istiod pod of every revision reads a ConfigMap that we write (in mode `Verify` there is none);
/// else the finding of `Programmed`.
pub fn wired(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<Vec<Reading>, Finding> {
    let readings = readings(view, mesh, istio)?;
    let maps = maps_of(istio);
    let finding = match istio.mesh_config.mode {
        MeshConfigMode::Verify => None,
        MeshConfigMode::Patch => readings
            .iter()
            .find(|reading| !reading.maps().any(|map| maps.contains(map)))
            .map(|reading| patched_in_vain(mesh, &maps, reading)),
        MeshConfigMode::Shared => {
            let is_unread = |reading: &&Reading| reading.shared.as_ref().is_none_or(|map| !maps.contains(map));
            let first = readings.iter().find(is_unread).map(|reading| &reading.revision);
            // Of one revision, a map of somebody else is what to speak of: it comes behind none.
            let mut of_first = readings.iter().filter(|reading| Some(&reading.revision) == first);
            of_first
                .rfind(is_unread)
                .zip(maps.first())
                .map(|(reading, map)| not_shared(mesh, map, reading))
        }
    };
    finding.map_or(Ok(readings), Err)
}

fn patched_in_vain(mesh: &ObservabilityMesh, maps: &BTreeSet<Key>, reading: &Reading) -> Finding {
    let message = format!(
        "istiod of revision {} does not read ConfigMap {}, which spec.mesh.istio.meshConfig of ObservabilityMesh {} names: it reads {}; name one of those, or leave configMapName out.",
        reading.revision,
        some_names(maps.iter().map(ToString::to_string)),
        name_of(mesh),
        reading.maps_text(),
    );
    Finding::fails(ConditionType::Programmed, Reason::SharedConfigNotWired, message)
}

fn not_shared(mesh: &ObservabilityMesh, map: &Key, reading: &Reading) -> Finding {
    let revision = &reading.revision;
    if let Some(other) = &reading.shared {
        let message = format!(
            "istiod of revision {revision} has SHARED_MESH_CONFIG={}, not {}; set spec.mesh.istio.meshConfig of ObservabilityMesh {} to {{mode: Patch, configMapName: {}}}, or point istiod at {}.",
            other.name,
            map.name,
            name_of(mesh),
            other.name,
            map.name,
        );
        return Finding::fails(ConditionType::Programmed, Reason::SharedConfigTaken, message);
    }
    let deployment = if revision == "default" {
        "istiod".to_owned()
    } else {
        format!("istiod-{revision}")
    };
    let message = format!(
        "istiod of revision {revision} does not read ConfigMap {map}; run: kubectl -n {} set env deployment/{deployment} SHARED_MESH_CONFIG={} (Helm: pilot.env.SHARED_MESH_CONFIG).",
        map.namespace, map.name
    );
    Finding::fails(ConditionType::Programmed, Reason::SharedConfigNotWired, message)
}

fn is_ready_istiod(pod: &Value, revision: &str) -> bool {
    let ready = pod
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| {
            condition.get("type") == Some(&"Ready".into()) && condition.get("status") == Some(&"True".into())
        });
    ready && is_istiod(pod, revision)
}

fn shared_mesh_config(pod: &Value) -> Option<&str> {
    pod.pointer("/spec/containers")?
        .as_array()?
        .iter()
        .filter_map(|container| container.get("env")?.as_array())
        .flatten()
        .find(|env| env.get("name") == Some(&"SHARED_MESH_CONFIG".into()))
        .and_then(|env| env.get("value")?.as_str())
        .filter(|value| !value.is_empty())
}

/// The finding of `Programmed` while a map of ours has not been read.
pub fn not_read_yet(map: &Key) -> Finding {
    let message = format!("ConfigMap {map} has not been read yet.");
    Finding::unknown(ConditionType::Programmed, Reason::FactsPending, message)
}

/// A provider that a Telemetry may not name yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NotUsable {
    /// The finding of `Programmed`.
    pub finding: Finding,
    /// When to look again, where that is known.
    pub look_again: Option<Timestamp>,
}

/// Whether Telemetries may name these providers: each stands in the MeshConfig that the istiods of every revision read,
/// long enough (istiod's watches are not ordered). To switch logging off, the built-in provider has to be one of logs.
pub fn usable(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
    providers: &[Provider],
    switches_off: bool,
) -> Result<(), NotUsable> {
    let failed = |finding| NotUsable {
        finding,
        look_again: None,
    };
    let readings = wired(view, mesh, istio).map_err(failed)?;
    if switches_off && let Some(finding) = readings.iter().find_map(|reading| built_in_replaced(view, reading)) {
        return Err(failed(finding));
    }
    readings
        .iter()
        .try_for_each(|reading| proven(view, mesh, istio, reading, providers))
}

/// Whether the providers stand in the MeshConfig that istiods of one revision read.
fn proven(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
    reading: &Reading,
    providers: &[Provider],
) -> Result<(), NotUsable> {
    if let Some(finding) = unreadable(view, istio, reading) {
        return Err(NotUsable {
            finding,
            look_again: None,
        });
    }
    let mut missing = Vec::new();
    let mut settling: Option<(&Provider, Timestamp)> = None;
    for provider in providers {
        match merged(view, reading.maps(), &provider.name) {
            None => missing.push(provider.name.as_str()),
            Some((map, seen)) if seen.entry != provider.entry => {
                if maps_of(istio).contains(map) {
                    // It is about to be put right.
                    missing.push(provider.name.as_str());
                    continue;
                }
                return Err(NotUsable {
                    finding: redefined(mesh, istio, reading, map, &provider.name),
                    look_again: None,
                });
            }
            Some((_, seen)) => {
                let settled = later(seen.since, view.timings.provider_settle);
                if settled > view.now && settling.is_none_or(|(_, at)| settled > at) {
                    settling = Some((provider, settled));
                }
            }
        }
    }
    if !missing.is_empty() {
        return Err(NotUsable {
            finding: lacking(view, mesh, istio, reading, missing),
            look_again: None,
        });
    }
    match settling {
        None => Ok(()),
        Some((provider, settled)) => Err(NotUsable {
            finding: not_yet(reading, &provider.name),
            look_again: Some(settled),
        }),
    }
}

/// The finding that istiods read a MeshConfig that they may read in another way than we, or not at all. One of our own
/// does not count: it is about to be put right.
fn unreadable(view: &View<'_>, istio: &IstioMesh, reading: &Reading) -> Option<Finding> {
    let own = match istio.mesh_config.mode {
        MeshConfigMode::Shared => maps_of(istio),
        MeshConfigMode::Patch | MeshConfigMode::Verify => BTreeSet::new(),
    };
    let mut others = reading.maps().filter(|map| !own.contains(map));
    let (map, why) = others.find_map(|map| Some((map, view.unreadable(map)?)))?;
    let message = format!(
        "The MeshConfig of ConfigMap {map}, which istiod of revision {} reads, cannot be read: {why}.",
        reading.revision
    );
    Some(Finding::fails(
        ConditionType::Programmed,
        Reason::MeshConfigUnreadable,
        message,
    ))
}

/// A provider of the MeshConfig that istiod makes of these maps, of which the first wins; and where it stands.
fn merged<'v, 'm>(
    view: &View<'v>,
    mut maps: impl Iterator<Item = &'m Key>,
    name: &str,
) -> Option<(&'m Key, &'v SeenProvider)> {
    maps.find_map(|map| Some((map, view.provider(map, name)?)))
}

/// The revisions whose istiods do not see a provider as it is wanted. Where their pods cannot be seen, they are taken to
/// read their own MeshConfig and the maps that the mesh writes.
pub fn revisions_without(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
    name: &str,
    entry: &Value,
) -> BTreeSet<String> {
    let assumed = || {
        let of = |revision: &String| Reading {
            revision: revision.clone(),
            primary: primary_map(&istio.namespace, revision),
            shared: maps_of(istio).into_iter().next(),
        };
        istio.revisions.iter().map(of).collect()
    };
    let readings = readings(view, mesh, istio).unwrap_or_else(|_| assumed());
    let lacks = |reading: &Reading| merged(view, reading.maps(), name).is_none_or(|(_, seen)| seen.entry != *entry);
    let without = readings.into_iter().filter(lacks);
    without.map(|reading| reading.revision).collect()
}

fn lacking(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
    reading: &Reading,
    missing: Vec<&str>,
) -> Finding {
    for map in reading.maps() {
        match view.object(Kind::ConfigMap, map) {
            Fact::Unknown => return not_read_yet(map),
            Fact::Forbidden => {
                let message = format!("Sightline may not read ConfigMap {map}; install the Role of config/rbac there.");
                return Finding::fails(ConditionType::Programmed, Reason::Forbidden, message);
            }
            Fact::Present(_) | Fact::Absent | Fact::KindMissing => {}
        }
    }
    if istio.mesh_config.mode != MeshConfigMode::Verify {
        return not_yet(reading, &some_names(missing));
    }
    let message = format!(
        "MeshConfig of istiod's revision {} ({}) lacks extension provider {}; add what `sightline explain mesh {}` prints, or let Sightline write: spec.mesh.istio.meshConfig.mode Shared or Patch.",
        reading.revision,
        reading.maps_text(),
        some_names(missing),
        name_of(mesh),
    );
    Finding::fails(ConditionType::Programmed, Reason::ProviderMissing, message)
}

fn not_yet(reading: &Reading, names: &str) -> Finding {
    let message = format!(
        "Extension provider {names} is not yet in the MeshConfig of istiod's revision {}; wait.",
        reading.revision
    );
    Finding::fails(ConditionType::Programmed, Reason::ProviderPending, message)
}

fn redefined(mesh: &ObservabilityMesh, istio: &IstioMesh, reading: &Reading, map: &Key, name: &str) -> Finding {
    let next = match istio.mesh_config.mode {
        MeshConfigMode::Verify => format!(
            "make it what `sightline explain mesh {}` prints, or let Sightline write: spec.mesh.istio.meshConfig.mode Patch",
            name_of(mesh)
        ),
        MeshConfigMode::Shared | MeshConfigMode::Patch => "remove that entry".to_owned(),
    };
    let message = format!(
        "ConfigMap {map}, which istiod of revision {} reads, has extension provider {name} with another content; {next}.",
        reading.revision
    );
    Finding::fails(ConditionType::Programmed, Reason::ProviderMissing, message)
}

/// Since when every istiod of these meshes would see a provider as it is in `map` without that map; `None`: not all would.
pub fn stands_elsewhere(
    view: &View<'_>,
    meshes: &[&Arc<ObservabilityMesh>],
    map: &Key,
    name: &str,
    entry: &Value,
) -> Option<Timestamp> {
    let mut since = None;
    for mesh in meshes {
        let istio = istio_of(mesh)?;
        for reading in readings(view, mesh, &istio).ok()? {
            let others = reading.maps().filter(|other| *other != map);
            let (_, seen) = merged(view, others, name).filter(|(_, seen)| seen.entry == *entry)?;
            since = since.max(Some(seen.since));
        }
    }
    since
}

/// The finding that a MeshConfig redefines the provider that switching off needs.
fn built_in_replaced(view: &View<'_>, reading: &Reading) -> Option<Finding> {
    let (map, seen) = merged(view, reading.maps(), BUILT_IN_LOG)?;
    if LOG_MEMBERS.iter().any(|member| seen.entry.get(member).is_some()) {
        return None;
    }
    let message = format!(
        "ConfigMap {map} redefines extension provider {BUILT_IN_LOG} as something that logs nothing: logging cannot be switched off by it. Rename that provider."
    );
    Some(Finding::fails(
        ConditionType::Programmed,
        Reason::BuiltinReplaced,
        message,
    ))
}

/// Members of extension providers that take access logs.
const LOG_MEMBERS: [&str; 4] = ["envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls"];

/// A time and a span after it; the latest time there is where that is past the end of time.
pub fn later(time: Timestamp, span: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| time.checked_add(span).ok())
        .unwrap_or(Timestamp::MAX)
}
