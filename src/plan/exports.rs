//! Writes the objects of exports of metrics, one target each.

use std::sync::Arc;

use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use super::interface_traffic::{self, is_mesh_config, is_of_an_undecoded_mesh};
use super::owned::is_ours;
use super::telemetries::uid_of;
use super::{Delete, Plan, Target, WriteRules, plan_object, refusal};
use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{MetricsExport, ObservabilityMesh};
use crate::policy::exports::{OPERATOR_KINDS, export_maps_of, former_export_maps_of, outputs_of, render};
use crate::policy::membership::{is_live, name_of};
use crate::render::metadata::MESH_LABEL;
use crate::render::metrics::EXPORT_LABEL;
use crate::snapshot::{Fact, Key, Kind, Snapshot, View, key_of, labels_of};

/// Plans the object: as the export says that becomes it, or away.
pub fn plan(view: &View<'_>, kind: Kind, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let blocked = |reason, message: String| Plan {
        blocked: vec![(key.clone(), Finding::fails(ConditionType::Programmed, reason, message))],
        ..Plan::default()
    };
    let name = kind.names().1;
    let live = view.object(kind, key);
    let Some((mesh, export)) = writer(view, kind, key) else {
        if let Fact::Present(live) = live
            && is_of_an_export(live)
            && !is_of_an_undecoded_mesh(view, live)
        {
            plan.delete.push(Delete {
                kind,
                key: key.clone(),
                uid: uid_of(live),
            });
        }
        return plan;
    };
    if kind == Kind::ConfigMap && (is_mesh_config(view, key) || interface_traffic::writer(view, key).is_some()) {
        let message = format!(
            "ConfigMap {key} holds something else of Sightline's; name another one in the object of export {}.",
            export.name
        );
        return blocked(Reason::InvalidSpec, message);
    }
    let live = match live {
        Fact::Present(live) => Some(live),
        Fact::Absent => None,
        Fact::Unknown => return plan,
        Fact::KindMissing => {
            let message = format!(
                "The API server does not know {name} of monitoring.coreos.com; install prometheus-operator, or use an export of type ScrapeConfig with object.form ConfigMap."
            );
            return blocked(Reason::PrometheusOperatorNotInstalled, message);
        }
        Fact::Forbidden if kind == Kind::ConfigMap => {
            let message = format!("Sightline may not read ConfigMap {key}; install the Role of config/rbac there.");
            return blocked(Reason::Forbidden, message);
        }
        Fact::Forbidden => {
            let message = format!(
                "Sightline may not read {name}s; install the ClusterRole of config/rbac (in the chart: features.monitors)."
            );
            return blocked(Reason::Forbidden, message);
        }
    };
    let object = match render(mesh, export, kind) {
        Ok(object) => object,
        Err(error) => return blocked(Reason::InvalidSpec, format!("Export {}: {error}.", export.name)),
    };
    let tell = [Target::Mesh(name_of(mesh).to_owned())];
    let rules = WriteRules {
        adopt: false,
        how_to_adopt: None,
        wholly_ours: if kind == Kind::ConfigMap {
            &["/data"]
        } else {
            &["/spec"]
        },
        tell: &tell,
        view,
    };
    plan_object(&mut plan, kind, object, live, &rules);
    plan
}

/// The export that an object is made of: of several, the first by name of the mesh and in the order of its spec.
fn writer<'a>(view: &View<'a>, kind: Kind, key: &Key) -> Option<(&'a Arc<ObservabilityMesh>, &'a MetricsExport)> {
    view.meshes().filter(|mesh| is_live(mesh)).find_map(|mesh| {
        let mut written = outputs_of(mesh).into_iter();
        let (export, ..) = written.find(|(_, of, at)| *of == kind && at == key)?;
        Some((mesh, export))
    })
}

/// Whether an object is one that we made of an export.
pub fn is_of_an_export(live: &Value) -> bool {
    is_ours(live) && labels_of(live).contains_key(EXPORT_LABEL)
}

/// Targets of the objects of prometheus-operator's kinds that we made, wanted or not.
pub fn operator_objects_of(snapshot: &Snapshot) -> impl Iterator<Item = Target> {
    OPERATOR_KINDS.into_iter().flat_map(|kind| {
        let ours = snapshot.objects(kind).filter(|(_, object)| is_of_an_export(object));
        ours.map(move |(key, _)| Target::Export(kind, key.clone()))
    })
}

/// Whether the objects of the exports of a mesh stand as rendered, and somebody reads them.
///
/// # Errors
/// The finding of the first that does not.
pub fn stand(view: &View<'_>, mesh: &ObservabilityMesh) -> Result<(), Finding> {
    let type_ = ConditionType::Programmed;
    let outputs = outputs_of(mesh);
    for (export, kind, key) in &outputs {
        let name = kind.names().1;
        let of_other =
            writer(view, *kind, key).filter(|(by, of)| name_of(by) != name_of(mesh) || of.name != export.name);
        if let Some((by, of)) = of_other {
            let message = format!(
                "{name} {key} of export {} is written for export {} of ObservabilityMesh {}; give it another object.name.",
                export.name,
                of.name,
                name_of(by)
            );
            return Err(Finding::fails(type_, Reason::Overridden, message));
        }
        let plan = plan(view, *kind, key);
        if let Some((_, finding)) = plan.blocked.into_iter().next() {
            return Err(finding);
        }
        match view.object(*kind, key) {
            Fact::Present(_) if plan.apply.is_empty() => {}
            Fact::Unknown => {
                let message = format!("{name} {key} has not been read yet.");
                return Err(Finding::unknown(type_, Reason::FactsPending, message));
            }
            _ => {
                let pending = || {
                    Finding::fails(
                        type_,
                        Reason::Pending,
                        format!("{name} {key} is not written yet; wait."),
                    )
                };
                return Err(refusal::finding(view, *kind, key, None).unwrap_or_else(pending));
            }
        }
    }
    let of_operator = outputs.into_iter().filter(|(_, kind, _)| OPERATOR_KINDS.contains(kind));
    for (export, kind, key) in of_operator {
        selected(view, export, kind, &key)?;
    }
    Ok(())
}

/// Whether some Prometheus of prometheus-operator selects an object of its kinds. Where none may be seen that is not known, and nothing
/// is said.
///
/// # Errors
/// The finding that none does.
fn selected(view: &View<'_>, export: &MetricsExport, kind: Kind, key: &Key) -> Result<(), Finding> {
    let (Fact::Present(servers), Fact::Present(live)) = (view.objects(Kind::Prometheus), view.object(kind, key)) else {
        return Ok(());
    };
    let (of_labels, of_namespaces) = match kind {
        Kind::ServiceMonitor => ("serviceMonitorSelector", "serviceMonitorNamespaceSelector"),
        Kind::ScrapeConfig => ("scrapeConfigSelector", "scrapeConfigNamespaceSelector"),
        Kind::PrometheusRule => ("ruleSelector", "ruleNamespaceSelector"),
        _ => ("podMonitorSelector", "podMonitorNamespaceSelector"),
    };
    // No selector selects nothing, an empty one all.
    let matches = |server: &Value, selector: &str, labels: &std::collections::BTreeMap<String, String>| {
        let selector = server
            .pointer(&format!("/spec/{selector}"))
            .filter(|selector| !selector.is_null());
        let selector = selector.and_then(|value| serde_json::from_value(value.clone()).ok());
        let selector = selector.and_then(
            |selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector| Selector::try_from(selector).ok(),
        );
        selector.is_some_and(|selector| selector.matches(labels))
    };
    let namespace = match view.object(Kind::Namespace, &Key::new("", &key.namespace)) {
        Fact::Present(namespace) => labels_of(namespace),
        _ => return Ok(()),
    };
    let labels = labels_of(live);
    let selects = |server: &&Value| {
        let named = server
            .pointer(&format!("/spec/{of_namespaces}"))
            .is_some_and(|selector| !selector.is_null());
        let reaches = if named {
            matches(server, of_namespaces, &namespace)
        } else {
            key_of(server).namespace == key.namespace
        };
        reaches && matches(server, of_labels, &labels)
    };
    if servers.iter().any(selects) {
        return Ok(());
    }
    let names = servers.iter().map(|server| {
        let selector = server
            .pointer(&format!("/spec/{of_labels}"))
            .map_or("nothing".to_owned(), ToString::to_string);
        format!("{} ({of_labels}: {selector})", key_of(server))
    });
    let there = if servers.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are: {}", some_names(names))
    };
    let message = format!(
        "No Prometheus selects {} {key}, so nobody reads it; {there}. Set object.labels and object.namespace of export {} to what one of them selects.",
        kind.names().1,
        export.name
    );
    Err(Finding::fails(ConditionType::Programmed, Reason::NotSelected, message))
}

/// Whether objects of exports of a mesh are left; `None`: not known yet. What may not be looked at does not hold a mesh.
pub fn are_left(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<bool> {
    let is_of_mesh =
        |live: &Value| is_of_an_export(live) && labels_of(live).get(MESH_LABEL).is_some_and(|of| of == name_of(mesh));
    for kind in OPERATOR_KINDS {
        match view.objects(kind) {
            Fact::Present(all) if all.iter().any(|live| is_of_mesh(live)) => return Some(true),
            Fact::Unknown => return None,
            _ => {}
        }
    }
    for map in export_maps_of(mesh) {
        match view.object(Kind::ConfigMap, &map) {
            Fact::Present(live) if is_of_mesh(live) && writer(view, Kind::ConfigMap, &map).is_none() => {
                return Some(true);
            }
            Fact::Unknown => return None,
            _ => {}
        }
    }
    Some(false)
}

/// The ConfigMaps of exports of a mesh, as its status lists them: those that it writes, and those that it wrote while they
/// are there.
pub fn listed_maps(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<String> {
    let former = former_export_maps_of(mesh);
    let is_gone = |map: &Key| match view.object(Kind::ConfigMap, map) {
        Fact::Present(live) => !is_of_an_export(live),
        Fact::Absent => true,
        _ => false,
    };
    let listed = export_maps_of(mesh)
        .into_iter()
        .filter(|map| !former.contains(map) || !is_gone(map));
    listed.take(MAX_MAPS).map(|map| map.to_string()).collect()
}

/// Most maps that a status lists.
const MAX_MAPS: usize = 32;
