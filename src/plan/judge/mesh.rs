//! Judges an ObservabilityMesh.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{agents_in_sync, refused};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names, with_ready};
use crate::crds::{Logging, ObservabilityMesh, Tenancy};
use crate::plan::{
    Finalizer, Memory, Plan, Status, Target, control_plane, interface_traffic, mesh_config, owned, rollout,
    wasm_plugins,
};
use crate::policy::backends::{SpanReceiver, Transport, log_endpoint, missing_service};
use crate::policy::formats::{self, oldest_envoy};
use crate::policy::membership::{is_live, istio_of, mesh_of, name_of, shared_map_of};
use crate::policy::mesh_wide::{check_default_tracing, check_metrics, check_required};
use crate::policy::traffic_log::bad_format;
use crate::policy::versions;
use crate::render::istio::wasm_plugin::object_name;
use crate::render::metadata::{FINALIZER, MESH_LABEL};
use crate::snapshot::{Fact, Key, Kind, View, labels_of};

/// Judges an ObservabilityMesh.
pub fn judge(view: &View<'_>, name: &str, memory: &mut Memory<'_>) -> Plan {
    let Some(mesh) = view.mesh(name) else {
        return Plan::default();
    };
    let mut plan = Plan {
        finalizer: finalizer(view, mesh),
        ..Plan::default()
    };
    let mut findings = vec![accepted(view, mesh), refs(view, mesh)];
    findings.push(programmed(view, mesh, &mut plan));
    let mut fields = Map::new();
    if !mesh.spec.agents.is_empty() {
        let rollouts = rollout::rollouts(view, mesh, memory);
        plan.look_again = [plan.look_again, rollouts.decision.look_again]
            .into_iter()
            .flatten()
            .min();
        let states: Vec<(String, Result<(), rollout::Problem>)> = rollouts
            .workloads
            .iter()
            .flat_map(|w| w.agents.iter().map(|agent| (agent.clone(), rollouts.state(w))))
            .collect();
        let in_sync = states.iter().filter(|(_, s)| s.is_ok()).count();
        fields.insert(
            "agentsInSync".into(),
            Value::from(format!("{in_sync}/{}", states.len())),
        );
        let agents: Vec<Value> = states
            .iter()
            .map(|(name, state)| {
                let state = state
                    .as_ref()
                    .map_or_else(|(reason, _)| reason.as_str(), |()| Reason::InSync.as_str());
                json!({"name": name, "state": state})
            })
            .collect();
        fields.insert("agents".into(), Value::from(agents));
        let mut unique: Vec<_> = states.into_iter().map(|(_, state)| state).collect();
        unique.dedup();
        findings.push(agents_in_sync(unique));
    }
    let unused = without_proxies(mesh);
    if !unused.is_empty() {
        let message = format!(
            "Not expressible and left out, as there are no proxies: {}.",
            unused.join(", ")
        );
        findings.push(Finding::holds(
            ConditionType::PartiallyExpressed,
            Reason::NotExpressible,
            message,
        ));
    }
    let mut pending = false;
    let mut belongs = |namespace: &str, mesh_ref| match mesh_of(view, namespace, mesh_ref) {
        Ok(mesh) => name_of(mesh) == name,
        Err(error) => {
            pending |= error.reason == Reason::FactsPending;
            false
        }
    };
    let logs = view
        .traffic_logs()
        .filter(|(key, log)| belongs(&key.namespace, log.spec.mesh_ref.as_ref()))
        .count();
    let traces = view
        .tracing_backends()
        .filter(|(key, t)| belongs(&key.namespace, t.spec.mesh_ref.as_ref()))
        .count();
    let (providers, complete) = mesh_config::provider_count(view, mesh);
    fields.insert("trafficLogs".into(), Value::from(logs));
    fields.insert("tracingBackends".into(), Value::from(traces));
    fields.insert("providers".into(), Value::from(providers));
    if let Some(istio) = istio_of(mesh)
        && let Ok(versions) = versions::status(view, mesh, &istio)
    {
        fields.insert("versions".into(), json!(versions));
    }
    let of = Target::Mesh(name.to_owned());
    let mut status = Status::new(of, mesh.metadata.generation, with_ready(findings), fields);
    status.provisional |= pending || !complete;
    plan.statuses.push(status);
    plan
}

/// What the spec of a mesh without proxies says about them. A value that is the default says nothing.
fn without_proxies(mesh: &ObservabilityMesh) -> Vec<&'static str> {
    if istio_of(mesh).is_some() {
        return Vec::new();
    }
    let spec = &mesh.spec;
    let wasm = spec
        .interface_traffic
        .as_ref()
        .and_then(|traffic| traffic.wasm_plugin.as_ref());
    let default_tracing = spec.tracing.as_ref().and_then(|tracing| tracing.default.as_ref());
    let said = [
        ("spec.logging", spec.logging != Logging::default()),
        ("spec.tenancy", spec.tenancy != Tenancy::default()),
        ("spec.tracing.default", default_tracing.is_some()),
        ("spec.metrics", spec.metrics.is_some()),
        ("spec.interfaceTraffic.wasmPlugin", wasm.is_some()),
    ];
    said.into_iter()
        .filter(|(_, said)| *said)
        .map(|(path, _)| path)
        .collect()
}

fn accepted(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Finding {
    let type_ = ConditionType::Accepted;
    if let Some(istio) = istio_of(mesh) {
        let oldest = match oldest_envoy(view, mesh, &istio) {
            Ok(oldest) => oldest,
            Err(finding) => return finding,
        };
        if let Err(bad) = formats::lines(&mesh.spec.logging.format, oldest) {
            return bad_format(&format!("spec.logging.format{}", bad.path), &bad);
        }
    }
    if kube::core::Selector::try_from(mesh.spec.namespaces.clone()).is_err() {
        let message = "spec.namespaces is no label selector: operators are In, NotIn, Exists and DoesNotExist; In and NotIn need values.";
        return Finding::fails(type_, Reason::InvalidSpec, message);
    }
    if let Err(finding) = check_metrics(view, mesh) {
        return finding;
    }
    let of_defaults = check_default_tracing(view, mesh).map(|checked| checked.findings);
    let of_required = check_required(view, mesh)
        .into_iter()
        .flat_map(|checked| checked.findings);
    let mut all = of_required.chain(of_defaults.into_iter().flatten());
    let bad = all.find(|finding| finding.type_ == type_ && finding.status != Truth::True);
    bad.unwrap_or_else(|| Finding::holds(type_, Reason::Accepted, "The spec makes sense here."))
}

fn refs(view: &View<'_>, mesh: &ObservabilityMesh) -> Finding {
    if let Some(Err(finding)) = mesh
        .spec
        .interface_traffic
        .as_ref()
        .map(|t| interface_traffic::credentials(view, t))
    {
        return finding;
    }
    let logs = mesh.spec.logging.backends.iter().filter_map(log_endpoint);
    let mut missing = logs.filter_map(|endpoint| missing_service(view, endpoint, Transport::Grpc));
    let traces = mesh.spec.tracing.iter().flat_map(|tracing| &tracing.backends);
    let mut missing_receivers = traces
        .filter_map(|backend| SpanReceiver::of_backend(mesh, backend).ok())
        .filter_map(|receiver| receiver.missing(view, mesh));
    missing.next().or_else(|| missing_receivers.next()).unwrap_or_else(|| {
        Finding::holds(
            ConditionType::ResolvedRefs,
            Reason::Resolved,
            "All that the spec names exists and may be used.",
        )
    })
}

fn programmed(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, plan: &mut Plan) -> Finding {
    let type_ = ConditionType::Programmed;
    if !is_live(mesh) {
        let message = "The mesh is being deleted: Telemetries go first, then its extension providers.";
        return Finding::fails(type_, Reason::Deleting, message);
    }
    if let Some(istio) = istio_of(mesh) {
        let map = shared_map_of(&istio);
        let of_map = mesh_config::plan(view, &map);
        if let Some((_, finding)) = of_map.blocked.into_iter().next() {
            return finding;
        }
        if let Err(finding) = control_plane::wired(view, mesh, &istio) {
            return finding;
        }
        match view.object(Kind::ConfigMap, &map) {
            Fact::Present(_) if of_map.apply.is_empty() => {}
            Fact::Unknown => return control_plane::not_read_yet(&map),
            _ => {
                if let Some(finding) = refused(view, Kind::ConfigMap, &map) {
                    return finding;
                }
                let message = format!("ConfigMap {map} is not written yet; wait.");
                if let Some(at) = of_map.look_again {
                    plan.look_again_at(at);
                }
                return Finding::fails(type_, Reason::Pending, message);
            }
        }
    }
    if let Some(traffic) = &mesh.spec.interface_traffic {
        let map = Key::new(&traffic.config_map.namespace, &traffic.config_map.name);
        if let Some(writer) = interface_traffic::writer(view, &map).filter(|w| name_of(w) != name_of(mesh)) {
            let message = format!(
                "ConfigMap {map} is written by ObservabilityMesh {}; name another one.",
                name_of(writer)
            );
            return Finding::fails(type_, Reason::Overridden, message);
        }
        let of_map = interface_traffic::plan(view, &map);
        if let Some((_, finding)) = of_map.blocked.into_iter().next() {
            return finding;
        }
        let live = view.object(Kind::ConfigMap, &map);
        if live == Fact::Unknown {
            return control_plane::not_read_yet(&map);
        }
        let is_there = matches!(live, Fact::Present(_));
        if let Err(finding) = interface_traffic::credentials(view, traffic) {
            let message = "The present spec is not programmed; what was live before stays.";
            return Finding {
                type_,
                message: message.into(),
                ..finding
            };
        }
        if !of_map.apply.is_empty() || !is_there {
            if let Some(finding) = refused(view, Kind::ConfigMap, &map) {
                return finding;
            }
            return Finding::fails(
                type_,
                Reason::Pending,
                format!("ConfigMap {map} is not written yet; wait."),
            );
        }
    }
    wasm_programmed(view, mesh)
        .unwrap_or_else(|| Finding::holds(type_, Reason::Programmed, "The rendered objects stand as rendered."))
}

/// The finding that a WasmPlugin of the mesh does not stand as rendered.
fn wasm_programmed(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<Finding> {
    let type_ = ConditionType::Programmed;
    let namespaces = match wasm_plugins::namespaces_of(view, mesh) {
        Ok(namespaces) => namespaces,
        Err(error) => return Some(Finding::unknown(type_, error.reason, error.message)),
    };
    let mut pending = Vec::new();
    for namespace in namespaces {
        match wasm_plugins::stands(view, mesh, &namespace) {
            Ok(true) => {}
            Ok(false) => pending.push(Key::new(&namespace, object_name(name_of(mesh)))),
            Err(finding) => return Some(finding),
        }
    }
    if let Some(finding) = pending.iter().find_map(|key| refused(view, Kind::WasmPlugin, key)) {
        return Some(finding);
    }
    (!pending.is_empty()).then(|| {
        let names = some_names(pending.iter().map(ToString::to_string));
        Finding::fails(
            type_,
            Reason::Pending,
            format!("WasmPlugin {names} is not written yet; wait."),
        )
    })
}

/// A mesh that we wrote objects for leaves only when they are gone. What we may not look at (any more) does not hold it.
fn finalizer(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Option<Finalizer> {
    let has = mesh.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
    let istio = istio_of(mesh);
    if is_live(mesh) {
        let needed = istio.is_some() || mesh.spec.interface_traffic.is_some();
        return (needed && !has).then_some(Finalizer::Set);
    }
    if !has {
        return None;
    }
    let left = [
        istio.as_ref().map_or(Some(false), |_| leaves_telemetries(view, mesh)),
        istio
            .as_ref()
            .map_or(Some(false), |istio| leaves_map(view, &shared_map_of(istio))),
        leaves_interface_traffic(view, mesh),
        wasm_plugins::are_left(view, mesh),
    ];
    (left == [Some(false); 4]).then_some(Finalizer::Remove)
}

/// Whether Telemetries of the mesh are left; `None`: not known yet.
fn leaves_telemetries(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<bool> {
    match view.objects(Kind::Telemetry) {
        Fact::Present(all) => {
            let of_mesh = |t: &&Value| labels_of(t).get(MESH_LABEL).is_some_and(|m| m == name_of(mesh));
            Some(all.into_iter().any(|t| of_mesh(&t) && owned::is_ours(t)))
        }
        Fact::Unknown => None,
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Some(false),
    }
}

/// Whether a map of ours is left that no living mesh shares; `None`: not known yet.
fn leaves_map(view: &View<'_>, map: &Key) -> Option<bool> {
    let shared = view
        .meshes()
        .any(|other| is_live(other) && istio_of(other).is_some_and(|i| shared_map_of(&i) == *map));
    match view.object(Kind::ConfigMap, map) {
        _ if shared => Some(false),
        Fact::Present(live) => Some(owned::is_ours(live)),
        Fact::Unknown => None,
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Some(false),
    }
}

/// Whether a `grpc-logging` that we made for this mesh is left; `None`: not known yet.
fn leaves_interface_traffic(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<bool> {
    let Some(traffic) = &mesh.spec.interface_traffic else {
        return Some(false);
    };
    let map = Key::new(&traffic.config_map.namespace, &traffic.config_map.name);
    match view.object(Kind::ConfigMap, &map) {
        Fact::Present(live) => Some(
            labels_of(live).get(MESH_LABEL).is_some_and(|m| m == name_of(mesh))
                && interface_traffic::was_made_by_us(live)
                && interface_traffic::writer(view, &map).is_none(),
        ),
        Fact::Unknown => None,
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Some(false),
    }
}
