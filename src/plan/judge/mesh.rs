//! Judges an ObservabilityMesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    agents_in_sync, mesh_namespaces, not_written, others_of_mesh, providers_stand, selected_namespaces, stands,
};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names, with_ready};
use crate::crds::{Direction, IstioMesh, KumaMesh, KumaProfile, Limits, Logging, ObservabilityMesh, Tenancy};
use crate::plan::{
    Event, Finalizer, Memory, Plan, Status, Target, collector, control_plane, exports, interface_traffic, kmesh, kuma,
    mesh_config, owned, refusal, rollout, telemetries, wasm_plugins,
};
use crate::policy::backends::{NO_OTLP_SPANS, SpanReceiver, Transport, log_endpoint, log_target, missing_service};
use crate::policy::claims::WorkloadSet;
use crate::policy::exports::{not_expressed, warned as exports_warned};
use crate::policy::formats;
use crate::policy::kmesh::unsaid_of_mesh;
use crate::policy::membership::{
    MeshScope, former_maps_of, is_live, istio_of, maps_of, mesh_of, mesh_scope, mesh_wide_istio_of, name_of,
    primary_maps, root_namespace,
};
use crate::policy::mesh_wide::{check_default_tracing, check_metrics, check_proxy_metrics, check_required, source_of};
use crate::policy::proxies::{Proxies, kmesh_of, kuma_of, kuma_version};
use crate::policy::traffic_log::{bad_format, mesh_lines};
use crate::policy::versions;
use crate::render::istio::provider::Provider;
use crate::render::istio::{metrics, wasm_plugin};
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
    let mut others = others_of_mesh(view, mesh, &source_of(mesh));
    others.contests.extend(other_metrics_providers(view, mesh));
    let (providers, complete) = mesh_config::needed(view, mesh);
    let programmed = programmed(view, mesh, &providers, &mut plan);
    let shadowed = others.shadowed().filter(|_| programmed.status == Truth::True);
    findings.push(shadowed.unwrap_or(programmed));
    findings.extend(others.contested());
    let mut fields = Map::new();
    let mut restarted: Vec<_> = collector::runs(view, mesh).into_iter().collect();
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
        restarted.extend(states.into_iter().map(|(_, state)| state));
        restarted.dedup();
    }
    if !restarted.is_empty() {
        findings.push(agents_in_sync(restarted));
    }
    findings.extend(yields_to_another_mesh(view, mesh));
    findings.extend(partially_expressed(view, mesh));
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
    fields.insert("trafficLogs".into(), Value::from(logs));
    fields.insert("tracingBackends".into(), Value::from(traces));
    fields.insert("providers".into(), Value::from(providers.len()));
    if let Some(version) = version_of_kuma(view, mesh, &mut plan) {
        fields.insert("kumaVersion".into(), Value::from(version));
    }
    if let Some(status) = kmesh::field(view, mesh) {
        fields.insert("kmesh".into(), status);
    }
    let maps = listed_maps(view, mesh);
    if !maps.is_empty() {
        fields.insert("meshConfigMaps".into(), Value::from(maps));
    }
    let export_maps = exports::listed_maps(view, mesh);
    if !export_maps.is_empty() {
        fields.insert("exportConfigMaps".into(), Value::from(export_maps));
    }
    if let Some(collector) = collector::status(view, mesh) {
        fields.insert("collector".into(), json!(collector));
    }
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

/// What Kuma does not say of a TrafficLog (ran on 2.13).
const NEEDS_ROUTE: &str = "A TrafficLog of kuma.io logs nothing in a mesh without a TrafficRoute, and since 2.6 Kuma makes none: create one such as route-all, or remove spec.mesh.kuma.legacy.";

/// The version of Kuma that is written for, and an event where that is another one than before. While it cannot be told,
/// what stands is of the version before.
fn version_of_kuma(view: &View<'_>, mesh: &ObservabilityMesh, plan: &mut Plan) -> Option<String> {
    let of = kuma_of(mesh)?;
    let before = mesh.status.as_ref().and_then(|status| status.kuma_version.clone());
    let Ok(now) = kuma_version(view, &of).map(|version| version.to_string()) else {
        return before;
    };
    if let Some(before) = before.filter(|before| *before != now) {
        plan.events.push(Event {
            about: Target::Mesh(name_of(mesh).to_owned()),
            warning: false,
            reason: "KumaVersionChanged",
            note: format!(
                "Kuma in namespace {} is {now} and was {before}: its policies are written as {now} reads them.",
                of.system_namespace
            ),
        });
    }
    Some(now)
}

/// The sentence that MeshConfig sends metrics to others too: what names a provider takes its proxies' metrics away from
/// them, as Istio replaces the list of receivers.
fn other_metrics_providers(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<String> {
    let istio = istio_of(mesh)?;
    let changes = check_metrics(view, mesh).map(metrics::overrides).unwrap_or_default();
    if changes.is_empty() {
        return None;
    }
    let others = |map: &Key| -> Vec<&String> {
        let Fact::Present(Some(config)) = view.mesh_config(map) else {
            return Vec::new();
        };
        let names = config.default_providers.metrics.iter();
        names.filter(|name| *name != metrics::PROVIDER).collect()
    };
    let (map, others) = primary_maps(&istio).find_map(|map| {
        let names = others(&map);
        (!names.is_empty()).then_some((map, names))
    })?;
    Some(format!(
        "MeshConfig in ConfigMap {map} sends metrics to {} too (defaultProviders.metrics). spec.metrics.overrides goes to {} alone, and these get none any more from where it holds; remove the overrides, or collect from {}.",
        some_names(others),
        metrics::PROVIDER,
        metrics::PROVIDER
    ))
}

/// The condition that another mesh comes first where both select a namespace: one object there speaks for both, and there
/// is one tracing and one list of changes to metrics in it.
fn yields_to_another_mesh(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<Finding> {
    let traces = |mesh: &ObservabilityMesh| {
        mesh.spec
            .tracing
            .as_ref()
            .is_some_and(|tracing| tracing.default.is_some())
    };
    let counts = |mesh: &ObservabilityMesh| check_metrics(view, mesh).is_ok_and(|m| !metrics::overrides(m).is_empty());
    let is_per_namespace = |mesh: &ObservabilityMesh| {
        mesh_wide_istio_of(mesh)
            .is_some_and(|istio| mesh_scope(view, mesh, &Proxies::Istio(istio)) == Ok(MeshScope::PerNamespace))
    };
    if !is_per_namespace(mesh) {
        return None;
    }
    let namespaces = |mesh: &ObservabilityMesh| {
        let root = istio_of(mesh).and_then(|istio| root_namespace(view, &istio).ok());
        selected_namespaces(view, mesh, &root.unwrap_or_default())
    };
    let own = namespaces(mesh);
    let before = view
        .meshes()
        .filter(|other| name_of(other) < name_of(mesh) && is_live(other) && is_per_namespace(other));
    let mut lost = before.filter_map(|other| {
        let shared = namespaces(other);
        let namespace = own.iter().find(|namespace| shared.contains(namespace))?;
        let what = [
            ("spec.tracing.default", traces(mesh) && traces(other)),
            ("spec.metrics.overrides", counts(mesh) && counts(other)),
        ];
        let what: Vec<&str> = what
            .into_iter()
            .filter(|(_, lost)| *lost)
            .map(|(path, _)| path)
            .collect();
        (!what.is_empty()).then(|| (other, namespace, what.join(" and ")))
    });
    let (other, namespace, what) = lost.next()?;
    let message = format!(
        "ObservabilityMesh {} comes first by name in namespaces that both select, such as {namespace}; there this one gives way in {what}. Let no two meshes select one namespace.",
        name_of(other)
    );
    let type_ = ConditionType::PartiallyOverridden;
    Some(Finding::holds(type_, Reason::Overridden, message))
}

/// The condition that the mesh, or a reader of its metrics, cannot be told some of the spec.
fn partially_expressed(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Option<Finding> {
    let kuma = kuma_of(mesh);
    let (mut unused, why) = if let Some(kuma) = &kuma {
        let who = if kuma.legacy { "Kuma's Mesh" } else { "Kuma" };
        (not_said_in_kuma(view, mesh), format!("as {who} has nothing for them"))
    } else if let Some(of) = kmesh_of(mesh) {
        let mut paths = unsaid_of_mesh(mesh);
        paths.extend(kmesh::lacks(view, &of));
        (paths, "as Kmesh has nothing for them".to_owned())
    } else {
        (without_proxies(mesh), "as there are no proxies".to_owned())
    };
    let why = if unused.is_empty() {
        "as their readers have nothing for them".to_owned()
    } else {
        why
    };
    unused.extend(not_expressed(mesh));
    let mut sentences = Vec::new();
    if !unused.is_empty() {
        sentences.push(format!("Not expressible and left out, {why}: {}.", unused.join(", ")));
    }
    if kuma.is_some_and(|kuma| kuma.legacy) {
        sentences.push(NEEDS_ROUTE.to_owned());
    }
    let type_ = ConditionType::PartiallyExpressed;
    (!sentences.is_empty()).then(|| Finding::holds(type_, Reason::NotExpressible, sentences.join(" ")))
}

/// What the spec of a mesh without proxies says about them. A value that is the default says nothing.
fn without_proxies(mesh: &ObservabilityMesh) -> Vec<String> {
    if Proxies::of(mesh).is_some() {
        return Vec::new();
    }
    let spec = &mesh.spec;
    let wasm = spec
        .interface_traffic
        .as_ref()
        .and_then(|traffic| traffic.wasm_plugin.as_ref());
    let default_tracing = spec.tracing.as_ref().and_then(|tracing| tracing.default.as_ref());
    // Its maximum of sampling holds for workloads that export spans themselves, too.
    let of_proxies = Tenancy {
        max_sampling_percentage: Tenancy::default().max_sampling_percentage,
        ..spec.tenancy.clone()
    };
    let said = [
        ("spec.logging", spec.logging != Logging::default()),
        ("spec.tenancy", of_proxies != Tenancy::default()),
        ("spec.tracing.default", default_tracing.is_some()),
        ("spec.metrics", spec.metrics.is_some()),
        ("spec.interfaceTraffic.wasmPlugin", wasm.is_some()),
    ];
    said.into_iter()
        .filter(|(_, said)| *said)
        .map(|(path, _)| path.to_owned())
        .collect()
}

/// What the spec of a mesh of Kuma's says that Kuma cannot. A value that is the default says nothing.
fn not_said_in_kuma(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Vec<String> {
    let spec = &mesh.spec;
    let wasm = spec
        .interface_traffic
        .as_ref()
        .and_then(|traffic| traffic.wasm_plugin.as_ref());
    let overrides = spec.metrics.as_ref().is_some_and(|m| !m.overrides.is_empty());
    let said = [
        ("spec.logging.limits", spec.logging.limits != Limits::default()),
        ("spec.metrics.overrides", overrides),
        ("spec.interfaceTraffic.wasmPlugin", wasm.is_some()),
    ];
    let said = said.into_iter().filter(|(_, said)| *said);
    let mut paths: Vec<String> = said.map(|(path, _)| path.to_owned()).collect();
    if kuma_of(mesh).is_some_and(|kuma| kuma.legacy) {
        paths.extend(not_said_in_legacy(mesh));
    }
    let lines = Proxies::of(mesh)
        .and_then(|proxies| proxies.setting(view, mesh).ok())
        .and_then(|setting| mesh_lines(mesh, setting).ok());
    for backend in &spec.logging.backends {
        let target = lines.as_ref().map(|lines| log_target(view, mesh, backend, lines, None));
        let Some(Ok(target)) = target else { continue };
        if let Some(why) = target.unsupported {
            paths.push(format!("spec.logging.backends {} ({why})", backend.name));
        }
        if target.ignores_omit_empty {
            paths.push(format!(
                "spec.logging.format.omitEmptyValues (backend {} is no file)",
                backend.name
            ));
        }
        let lost = target.lost.iter().map(|lost| format!("spec.logging.format{lost}"));
        paths.extend(lost);
    }
    let of_tracing = check_default_tracing(view, mesh).map(|checked| checked.not_expressed);
    paths.extend(of_tracing.into_iter().flatten());
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

/// What a Mesh and TrafficLogs of Kuma 2.x cannot say of the spec, beside what no Kuma can.
fn not_said_in_legacy(mesh: &ObservabilityMesh) -> Vec<String> {
    let mut paths = Vec::new();
    let logging = &mesh.spec.logging;
    let required = logging.required.iter();
    paths.extend(
        required
            .filter(|required| required.direction != Direction::Outbound)
            .map(|required| {
                format!(
                    "spec.logging.required {}.direction (a TrafficLog of kuma.io holds for what workloads send)",
                    required.backend
                )
            }),
    );
    let traces = mesh.spec.tracing.iter().flat_map(|tracing| &tracing.backends);
    let otlp = traces.filter(|backend| backend.otlp.is_some());
    paths.extend(otlp.map(|backend| format!("spec.tracing.backends {} ({NO_OTLP_SPANS})", backend.name)));
    let defaults = logging.effective_default_backends();
    let more = defaults.iter().skip(1);
    paths.extend(
        more.map(|name| format!("spec.logging.defaultBackends {name} (a TrafficLog of kuma.io names one backend)")),
    );
    if let Some(metrics) = mesh.spec.metrics.as_ref().and_then(|metrics| metrics.kuma.as_ref()) {
        if metrics.profile != KumaProfile::All {
            paths.push("spec.metrics.kuma.profile (metrics of a Mesh have no profiles: all are given)".into());
        }
        if metrics.open_telemetry.is_some() {
            paths.push("spec.metrics.kuma.openTelemetry (metrics of a Mesh know Prometheus only)".into());
        }
    }
    paths
}

fn accepted(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Finding {
    let type_ = ConditionType::Accepted;
    let mut warned = None;
    if let Some(proxies) = Proxies::of(mesh) {
        let setting = match proxies.setting(view, mesh) {
            Ok(setting) => setting,
            Err(finding) => return finding,
        };
        match formats::lines(&mesh.spec.logging.format, setting) {
            Ok(lines) => warned = lines.warned("spec.logging.format"),
            Err(bad) => return bad_format(&format!("spec.logging.format{}", bad.path), &bad),
        }
    }
    if kube::core::Selector::try_from(mesh.spec.namespaces.clone()).is_err() {
        let message = "spec.namespaces is no label selector: operators are In, NotIn, Exists and DoesNotExist; In and NotIn need values.";
        return Finding::fails(type_, Reason::InvalidSpec, message);
    }
    if let Err(finding) = check_metrics(view, mesh) {
        return finding;
    }
    if let Err(finding) = check_proxy_metrics(view, mesh)
        && finding.type_ == type_
    {
        return finding;
    }
    let of_defaults = check_default_tracing(view, mesh).map(|checked| checked.findings);
    let of_required = check_required(view, mesh)
        .into_iter()
        .flat_map(|checked| checked.findings);
    let mut all = of_required.chain(of_defaults.into_iter().flatten());
    let bad = all.find(|finding| finding.type_ == type_ && finding.status != Truth::True);
    let warned = [warned, exports_warned(mesh)]
        .into_iter()
        .flatten()
        .reduce(|mut first, then| {
            first.message = format!("{} {}", first.message, then.message);
            first
        });
    bad.or(warned)
        .unwrap_or_else(|| Finding::holds(type_, Reason::Accepted, "The spec makes sense here."))
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
    let mut missing = logs.filter_map(|endpoint| missing_service(view, endpoint, Transport::of_logs(mesh)));
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

fn programmed(
    view: &View<'_>,
    mesh: &Arc<ObservabilityMesh>,
    needed: &BTreeMap<String, Provider>,
    plan: &mut Plan,
) -> Finding {
    let type_ = ConditionType::Programmed;
    if let Some(istio) = istio_of(mesh)
        && let Err(finding) = extension_providers(view, mesh, &istio, needed, plan)
    {
        return finding;
    }
    if let Some(of) = kuma_of(mesh) {
        if let Some(finding) = kuma::is_leaving(mesh) {
            return finding;
        }
        if let Err(finding) = kuma::receivers_stand(view, mesh, &of) {
            return finding;
        }
    }
    if !is_live(mesh) {
        if wasm_plugins::hold_it_unseen(view, mesh) {
            let message = "The mesh is being deleted, and Sightline may not see whether its WasmPlugins are left; install the ClusterRole of config/rbac, or remove spec.interfaceTraffic.wasmPlugin to leave them.";
            return Finding::fails(type_, Reason::Forbidden, message);
        }
        let message = if kmesh_of(mesh).is_some() {
            "The mesh is being deleted: its daemons are switched off, and Telemetries of waypoints go first, then their extension providers."
        } else {
            "The mesh is being deleted: Telemetries go first, then its extension providers."
        };
        return Finding::fails(type_, Reason::Deleting, message);
    }
    if let Err(finding) = own_claims_stand(view, mesh, plan) {
        return finding;
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
            if let Some(finding) = refusal::finding(view, Kind::ConfigMap, &map, None) {
                return finding;
            }
            return Finding::fails(
                type_,
                Reason::Pending,
                format!("ConfigMap {map} is not written yet; wait."),
            );
        }
    }
    let failing = wasm_programmed(view, mesh)
        .or_else(|| exports::stand(view, mesh).err())
        .or_else(|| collector::stands(view, mesh).err());
    if let Some(finding) = failing {
        return finding;
    }
    match kmesh_of(mesh).map(|of| kmesh::stands(view, mesh, &of)) {
        Some(Ok(finding) | Err(finding)) => finding,
        None => Finding::holds(type_, Reason::Programmed, "The rendered objects stand as rendered."),
    }
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
            Ok(false) => pending.push(Key::new(&namespace, wasm_plugin::object_name(name_of(mesh)))),
            Err(finding) => return Some(finding),
        }
    }
    if let Some(finding) = pending
        .iter()
        .find_map(|key| refusal::finding(view, Kind::WasmPlugin, key, None))
    {
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

/// Whether what the mesh itself says of its workloads (required logs, default tracing, changes to metrics) stands in its
/// Telemetries.
///
/// # Errors
/// The finding of what does not, and why.
fn own_claims_stand(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, plan: &mut Plan) -> Result<(), Finding> {
    if let Some(of) = kuma_of(mesh) {
        return own_claims_stand_in_kuma(view, mesh, &of, plan);
    }
    let Some(istio) = mesh_wide_istio_of(mesh) else {
        return Ok(());
    };
    let required = check_required(view, mesh);
    let tracing = check_default_tracing(view, mesh);
    let changes = check_metrics(view, mesh).map(metrics::overrides).unwrap_or_default();
    if required.is_empty() && tracing.is_none() && changes.is_empty() {
        return Ok(());
    }
    let of = Target::Mesh(name_of(mesh).to_owned());
    for checked in &required {
        providers_stand(view, plan, checked, &of, false)?;
    }
    if let Some(checked) = &tracing {
        providers_stand(view, plan, checked, &of, false)?;
    }
    let namespaces = mesh_namespaces(view, mesh, &Proxies::Istio(istio))
        .map_err(|error| Finding::unknown(ConditionType::Programmed, error.reason, error.message))?;
    let mut pending = Vec::new();
    for namespace in namespaces {
        let telemetries = telemetries::plan(view, &namespace);
        let key = telemetries.key_of(&namespace, &WorkloadSet::namespace());
        if !stands(view, &telemetries, &key)? {
            pending.push(key.to_string());
        }
    }
    not_written(pending).map_or(Ok(()), Err)
}

/// The same for a mesh of Kuma's.
fn own_claims_stand_in_kuma(
    view: &View<'_>,
    mesh: &Arc<ObservabilityMesh>,
    of: &KumaMesh,
    plan: &mut Plan,
) -> Result<(), Finding> {
    let mut own: Vec<(Vec<Finding>, Vec<Provider>)> = check_required(view, mesh)
        .into_iter()
        .map(|checked| (checked.findings, checked.providers))
        .collect();
    own.extend(check_default_tracing(view, mesh).map(|checked| (checked.findings, checked.providers)));
    let type_ = ConditionType::Programmed;
    if let Some((_, provider)) = check_proxy_metrics(view, mesh).map_err(|finding| Finding { type_, ..finding })? {
        own.push((Vec::new(), provider.into_iter().collect()));
    }
    if own.is_empty() {
        return Ok(());
    }
    let mut receivers = Vec::new();
    for (findings, providers) in own {
        if let Some(bad) = findings.into_iter().find(|finding| finding.status != Truth::True) {
            return Err(Finding { type_, ..bad });
        }
        kuma::usable(view, mesh, of, &providers)?;
        receivers.extend(providers);
    }
    let proxies = Proxies::Kuma(of.clone());
    let namespaces =
        mesh_namespaces(view, mesh, &proxies).map_err(|error| Finding::unknown(type_, error.reason, error.message))?;
    kuma::stands(view, mesh, of, &namespaces, &source_of(mesh))?;
    kuma::proof::in_force(view, mesh, of, &receivers, &namespaces, plan)
}

/// Whether the extension providers of a mesh stand where its istiods read them.
fn extension_providers(
    view: &View<'_>,
    mesh: &Arc<ObservabilityMesh>,
    istio: &IstioMesh,
    needed: &BTreeMap<String, Provider>,
    plan: &mut Plan,
) -> Result<(), Finding> {
    let maps = maps_of(istio);
    let plans: Vec<(Key, Plan)> = maps
        .iter()
        .cloned()
        .chain(former_maps_of(mesh, istio))
        .map(|map| {
            let of_map = mesh_config::plan(view, &map);
            (map, of_map)
        })
        .collect();
    if let Some((_, finding)) = plans.iter().flat_map(|(_, of_map)| &of_map.blocked).next() {
        return Err(finding.clone());
    }
    if !is_live(mesh) {
        return Ok(());
    }
    control_plane::wired(view, mesh, istio)?;
    for (map, of_map) in plans.iter().filter(|(map, _)| maps.contains(map)) {
        map_stands(view, mesh, map, of_map, plan)?;
    }
    let needed: Vec<Provider> = needed.values().cloned().collect();
    match control_plane::usable(view, mesh, istio, &needed, false) {
        // New ones come and go with policies, who tell it themselves.
        Err(not_usable) if not_usable.finding.reason != Reason::ProviderPending => Err(not_usable.finding),
        _ => Ok(()),
    }
}

/// Whether a map that the mesh writes stands as planned.
fn map_stands(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    map: &Key,
    of_map: &Plan,
    plan: &mut Plan,
) -> Result<(), Finding> {
    let of = Target::Mesh(name_of(mesh).to_owned());
    let no_room = of_map
        .map_findings
        .iter()
        .find_map(|(_, findings)| findings.no_room.get(&of));
    if let Some(finding) = no_room {
        return Err(finding.clone());
    }
    match view.object(Kind::ConfigMap, map) {
        Fact::Present(_) if of_map.apply.is_empty() && of_map.patch.is_empty() => Ok(()),
        Fact::Unknown => Err(control_plane::not_read_yet(map)),
        _ => {
            if let Some(finding) = refusal::finding(view, Kind::ConfigMap, map, None) {
                return Err(finding);
            }
            let message = format!("ConfigMap {map} is not written yet; wait.");
            if let Some(at) = of_map.look_again {
                plan.look_again_at(at);
            }
            Err(Finding::fails(ConditionType::Programmed, Reason::Pending, message))
        }
    }
}

/// The maps that may hold entries of the mesh, as its status lists them: those that it writes, and those that it wrote,
/// while something of ours is, or may be, left there.
fn listed_maps(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<String> {
    let Some(istio) = istio_of(mesh) else {
        return Vec::new();
    };
    let former = former_maps_of(mesh, &istio).into_iter();
    let left = former.filter(|map| {
        let may_be_looked_at = view.object(Kind::ConfigMap, map) != Fact::Forbidden;
        !may_be_looked_at || mesh_config::is_left(view, map) != Some(false)
    });
    let all = maps_of(&istio).into_iter().chain(left);
    all.take(MAX_MAPS).map(|map| map.to_string()).collect()
}

/// Most maps that a status lists.
const MAX_MAPS: usize = 32;

/// A mesh that we wrote objects for leaves only when they are gone. What we may not look at (any more) does not hold it, but
/// for WasmPlugins: only we know that they were meant for it, and status says how it is let go.
fn finalizer(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Option<Finalizer> {
    let has = mesh.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
    let istio = istio_of(mesh);
    if is_live(mesh) {
        let spec = &mesh.spec;
        let needed = Proxies::of(mesh).is_some() || spec.interface_traffic.is_some() || spec.collector.is_some();
        return (needed && !has).then_some(Finalizer::Set);
    }
    if !has {
        return None;
    }
    let left = [
        istio.as_ref().map_or(Some(false), |_| leaves_telemetries(view, mesh)),
        istio
            .as_ref()
            .map_or(Some(false), |istio| leaves_entries(view, mesh, istio)),
        leaves_interface_traffic(view, mesh),
        wasm_plugins::are_left(view, mesh),
        kuma_of(mesh).map_or(Some(false), |of| kuma::are_left(view, mesh, &of)),
        kmesh_of(mesh).map_or(Some(false), |of| kmesh::are_left(view, mesh, &of)),
        exports::are_left(view, mesh),
        collector::are_left(view, mesh),
    ];
    (left == [Some(false); 8]).then_some(Finalizer::Remove)
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

/// Whether a map with something of ours is left that no living mesh writes; `None`: not known yet.
fn leaves_entries(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Option<bool> {
    let is_written = |map: &Key| {
        let mut others = view.meshes().filter(|other| is_live(other));
        others.any(|other| istio_of(other).is_some_and(|istio| maps_of(&istio).contains(map)))
    };
    for map in maps_of(istio).into_iter().chain(former_maps_of(mesh, istio)) {
        if !is_written(&map) && mesh_config::is_left(view, &map)? {
            return Some(true);
        }
    }
    Some(false)
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
