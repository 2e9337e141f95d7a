//! What Kmesh's daemons are asked for, and the waypoint that requests of a pod pass.

use std::sync::Arc;

use super::Eye;
use super::model::{ConnectionsSeen, Origin, SwitchSeen, WaypointSeen};
use super::scope::Scopes;
use super::traffic::traffic;
use crate::crds::{KmeshMesh, MeshType, ObservabilityMesh, TargetKind};
use crate::plan::kmesh::{self, wanted};
use crate::policy::claims::{Labels, PolicyKind, WorkloadSet};
use crate::policy::kmesh::{AccessLog, access_log};
use crate::policy::membership::{meshes_of_namespace, name_of};
use crate::policy::proxies::kmesh_of;
use crate::render::kmesh::Switch;
use crate::snapshot::{Key, View};

/// Label of a pod, or of its namespace, that names the waypoint of its requests.
const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Label that says in which namespace that waypoint is, where that is another one.
const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Value of [`USE_WAYPOINT`] for none.
const NO_WAYPOINT: &str = "none";

/// What daemons do with the connections of a namespace: of a pod, the daemon of its node.
pub(super) fn connections(view: &View<'_>, namespace: &str, node: Option<&str>) -> Vec<ConnectionsSeen> {
    let meshes = meshes_of_namespace(view, namespace).unwrap_or_default();
    let seen = |mesh: &Arc<ObservabilityMesh>| of_mesh(view, mesh, &kmesh_of(mesh)?, node);
    meshes.into_iter().filter_map(seen).collect()
}

/// Whether all meshes that serve a namespace are Kmesh's: none of its workloads has a proxy of its own then.
pub(super) fn has_daemons_only(view: &View<'_>, namespace: &str) -> bool {
    let meshes = meshes_of_namespace(view, namespace).unwrap_or_default();
    !meshes.is_empty() && meshes.iter().all(|mesh| mesh.spec.mesh.type_ == MeshType::Kmesh)
}

fn of_mesh(
    view: &View<'_>,
    mesh: &Arc<ObservabilityMesh>,
    of: &KmeshMesh,
    node: Option<&str>,
) -> Option<ConnectionsSeen> {
    let switches = wanted(view, mesh, of).ok()?;
    let log = access_log(view, mesh, of).ok()?;
    let switch = |switch: Switch| SwitchSeen {
        name: switch.name().into(),
        on: switches.of(switch),
        from: origins(mesh, switch, &log),
    };
    let daemon = node.and_then(|node| kmesh::daemon_on(view, mesh, of, node));
    Some(ConnectionsSeen {
        mesh: name_of(mesh).to_owned(),
        node: node.map(str::to_owned),
        state: daemon.map(|daemon| daemon.state),
        switches: Switch::ALL.map(switch).into(),
    })
}

/// Who has a switch so.
fn origins(mesh: &ObservabilityMesh, switch: Switch, log: &AccessLog) -> Vec<Origin> {
    let metrics = mesh.spec.metrics.as_ref().and_then(|metrics| metrics.kmesh.as_ref());
    let of_mesh = |field: &str| vec![Origin::mesh(mesh).at(field)];
    match (switch, metrics) {
        (Switch::AccessLog, _) => origins_of_log(log),
        (Switch::Monitoring, Some(_)) => of_mesh("spec.metrics.kmesh"),
        (Switch::Monitoring, None) if log.is_on => origins_of_log(log)
            .into_iter()
            .map(|origin| origin.noting("there is no access log without it"))
            .collect(),
        (Switch::Monitoring, None) => vec![Origin::default_of("the daemon's own flag --monitoring stands")],
        (Switch::WorkloadMetrics, Some(_)) => of_mesh("spec.metrics.kmesh.workload"),
        (Switch::ConnectionMetrics, Some(_)) => of_mesh("spec.metrics.kmesh.connection"),
        (_, None) => vec![Origin::default_of("off unless spec.metrics.kmesh asks for it")],
    }
}

fn origins_of_log(log: &AccessLog) -> Vec<Origin> {
    if log.from.is_empty() {
        return vec![Origin::default_of("off unless a TrafficLog asks for it")];
    }
    let origin = |source| {
        let origin = Origin::of(source);
        match source.kind {
            PolicyKind::ObservabilityMesh => origin.at("spec.logging.required"),
            _ if !log.is_on => origin.at("spec.disabled"),
            _ => origin,
        }
    };
    log.from.iter().map(origin).collect()
}

/// The waypoint that requests to a pod of Kmesh's pass by its labels or those of its namespace, and what it does.
pub(super) fn waypoint(eye: &Eye<'_, '_>, namespace: &str, pod: &Labels) -> Option<WaypointSeen> {
    let view = eye.view;
    if !has_daemons_only(view, namespace) {
        return None;
    }
    let of_namespace = view.namespace_labels(namespace).present().unwrap_or_default();
    let labels = [pod, &of_namespace]
        .into_iter()
        .find(|labels| labels.contains_key(USE_WAYPOINT))?;
    let name = labels.get(USE_WAYPOINT).filter(|name| *name != NO_WAYPOINT)?;
    let namespace = labels.get(USE_WAYPOINT_NAMESPACE).map_or(namespace, String::as_str);
    let scopes = Scopes::new(view, namespace).ok()?;
    let attached = WorkloadSet::Target(TargetKind::Gateway, name.clone());
    Some(WaypointSeen {
        name: Key::new(namespace, name).to_string(),
        traffic: traffic(eye, &scopes, &[attached]),
    })
}
