//! Judges the three kinds: what their status says.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Event, Finalizer, Memory, Plan, Status, Target, control_plane, interface_traffic, mesh_config, refusal_message,
    rollout, telemetries,
};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names, with_ready};
use crate::crds::{
    Direction, EffectiveLog, EffectiveTracing, InjectStatus, Logging, ObservabilityMesh, Tenancy, TracingBackend,
};
use crate::policy::claims::{
    Checked, Labels, LogClaim, Side, Source, TraceClaim, check_tracing_backend, check_traffic_log, compile,
    missing_service,
};
use crate::policy::membership::{
    MeshScope, is_live, istio_of, mesh_of, mesh_scope, name_of, root_namespace, selects, shared_map_of,
};
use crate::policy::resolve::{Lost, lost_units, tracing_winner, unit_count};
use crate::policy::versions;
use crate::render::istio::telemetry::object_name;
use crate::render::metadata::{FINALIZER, INJECT, MESH_LABEL};
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

/// Judges a TrafficLog.
pub fn traffic_log(view: &View<'_>, key: &Key) -> Plan {
    let logs = view.traffic_logs_in(&key.namespace);
    let Some((_, log)) = logs.iter().find(|(k, _)| *k == key) else {
        return Plan::default();
    };
    let checked = check_traffic_log(view, key, log);
    let apart = checked
        .claim
        .as_ref()
        .and_then(|claim| only_rivals_of(view, checked.mesh?, &claim.source, &claim.selector));
    let rivals: Vec<LogClaim> = logs
        .iter()
        .filter(|(_, l)| l.metadata.deletion_timestamp.is_none())
        .filter_map(|(k, l)| check_traffic_log(view, k, l).claim)
        .filter(|rival| apart.is_none_or(|mesh| rival.mesh == mesh))
        .collect();
    let mut plan = Plan::default();
    let mut findings = checked.findings.clone();
    let mut effective = Vec::new();
    let mut partly = checked.limited.clone().map(|message| (Reason::LimitedByMesh, message));
    match &checked.claim {
        None => findings.push(not_programmed(&checked)),
        Some(claim) => {
            let lost = lost_units(claim, &rivals);
            if lost.len() == unit_count(claim) {
                let winners = some_names(lost.iter().map(|l| l.winner.to_string()));
                let message = format!(
                    "Every backend and direction that this claims is won by {winners}; change labels, priority or name, or remove one of them."
                );
                findings.push(Finding::fails(ConditionType::Programmed, Reason::Overridden, message));
            } else {
                let programmed = programmed(view, &mut plan, &checked, &claim.source, &claim.selector);
                if programmed.status == Truth::True {
                    let own_format = log.spec.format.is_some() && checked.limited.is_none();
                    effective = effective_logs(claim, &lost, own_format);
                }
                findings.push(programmed);
            }
            if let Some(first) = lost.first().filter(|_| lost.len() < unit_count(claim)) {
                let message = format!(
                    "{} of {} units (a backend in a direction) are lost, such as {} to {}; change labels, priority or name to win them.",
                    lost.len(),
                    unit_count(claim),
                    unit_name(first),
                    first.winner
                );
                partly = Some((Reason::Overridden, message));
            }
        }
    }
    if let Some((reason, message)) = partly {
        findings.push(Finding::holds(ConditionType::PartiallyOverridden, reason, message));
    }
    let mut fields = Map::new();
    insert_mesh(&mut fields, checked.mesh);
    if !effective.is_empty() {
        fields.insert("effective".into(), json!(effective));
    }
    let of = Target::TrafficLog(key.clone());
    plan.statuses
        .push(Status::new(of, log.metadata.generation, with_ready(findings), fields));
    plan
}

fn unit_name(lost: &Lost) -> String {
    let what = lost.backend.as_deref().unwrap_or("the off switch");
    match lost.side {
        Some(side) => format!("{what} {side:?}"),
        None => what.to_owned(),
    }
}

fn insert_mesh(fields: &mut Map<String, Value>, mesh: Option<&Arc<ObservabilityMesh>>) {
    if let Some(mesh) = mesh {
        fields.insert("mesh".into(), Value::from(name_of(mesh)));
    }
}

/// `Programmed` of a policy whose spec cannot be programmed.
fn not_programmed<C>(checked: &Checked<'_, C>) -> Finding {
    let bad = checked.findings.iter().find(|f| f.status != Truth::True);
    let reason = bad.map_or(Reason::Pending, |f| f.reason);
    let status = bad.map_or(Truth::False, |f| f.status);
    let message = if checked.keeps_last_good {
        "The present spec is not programmed; what was live before stays."
    } else {
        "The present spec is not programmed, and nothing of an earlier one is."
    };
    Finding {
        type_: ConditionType::Programmed,
        status,
        reason,
        message: message.into(),
    }
}

fn effective_logs(claim: &LogClaim, lost: &[Lost], own_format: bool) -> Vec<EffectiveLog> {
    let is_lost = |backend: Option<&String>, side: Side| {
        lost.iter()
            .any(|l| l.backend.as_ref() == backend && l.side == Some(side))
    };
    let direction = |sides: &[Side]| match sides {
        [Side::Inbound] => Some(Direction::Inbound),
        [Side::Outbound] => Some(Direction::Outbound),
        [] => None,
        _ => Some(Direction::Both),
    };
    let kept = |backend: Option<&String>| -> Vec<Side> {
        claim
            .sides
            .iter()
            .copied()
            .filter(|side| !is_lost(backend, *side))
            .collect()
    };
    if claim.backends.is_empty() {
        return direction(&kept(None))
            .map(|direction| EffectiveLog {
                backend: None,
                direction,
                provider: None,
                format_from: None,
                filter: None,
            })
            .into_iter()
            .collect();
    }
    let from = if own_format { "TrafficLog" } else { "ObservabilityMesh" };
    claim
        .backends
        .iter()
        .filter_map(|(backend, provider)| {
            Some(EffectiveLog {
                direction: direction(&kept(Some(backend)))?,
                backend: Some(backend.clone()),
                provider: Some(provider.clone()),
                format_from: Some(from.into()),
                filter: None,
            })
        })
        .take(16)
        .collect()
}

/// `Programmed` of a policy with a claim: its providers can be named, and each object that carries it stands as wanted.
fn programmed<C>(
    view: &View<'_>,
    plan: &mut Plan,
    checked: &Checked<'_, C>,
    source: &Source,
    selector: &Labels,
) -> Finding {
    let Some(mesh) = checked.mesh else {
        return not_programmed(checked);
    };
    let Some(istio) = istio_of(mesh) else {
        return not_programmed(checked);
    };
    if let Err(finding) = mesh_config::writable(view, &shared_map_of(&istio)) {
        return finding;
    }
    let map = shared_map_of(&istio);
    let missing = checked
        .providers
        .iter()
        .find(|provider| view.provider(&map, &provider.name).is_none());
    if let Some(finding) = missing.and_then(|_| refused(view, Kind::ConfigMap, &map)) {
        return finding;
    }
    if missing.is_some_and(|provider| mesh_config::is_full_for(view, &map, provider)) {
        let message = format!(
            "ConfigMap {map} has no room for another format; use a format that other policies have, or a shorter one."
        );
        return Finding::fails(ConditionType::Programmed, Reason::CapacityExceeded, message);
    }
    if let Err(not_usable) = control_plane::usable(view, mesh, &istio, &checked.providers) {
        if let Some(at) = not_usable.look_again {
            plan.look_again_at(at);
        }
        return not_usable.finding;
    }
    let namespaces = if is_per_namespace(view, mesh, source, selector) {
        selected_namespaces(view, mesh, &source.namespace)
    } else {
        vec![source.namespace.clone()]
    };
    let leaving = |namespace: &String| match view.object(Kind::Namespace, &Key::new("", namespace)) {
        Fact::Present(object) => object.pointer("/metadata/deletionTimestamp").is_some(),
        _ => false,
    };
    if let Some(namespace) = namespaces.iter().find(|namespace| leaving(namespace)) {
        let message = format!("Namespace {namespace} is being deleted: nothing is written there any more.");
        return Finding::fails(ConditionType::Programmed, Reason::Deleting, message);
    }
    let mut pending = Vec::new();
    for namespace in &namespaces {
        let key = Key::new(namespace, object_name(selector));
        let (of_namespace, overlapping) = telemetries::plan(view, namespace);
        let every = telemetries::every_object(namespace);
        let blocked = |blocked: &Key| *blocked == key || *blocked == every;
        if let Some((_, finding)) = of_namespace.blocked.iter().find(|(at, _)| blocked(at)) {
            return finding.clone();
        }
        if let Some((_, other)) = overlapping.into_iter().find(|(out, _)| out.is_same_object(source)) {
            let apart = other.map_or_else(
                || "give the policies a label that keeps them apart".to_owned(),
                |o| {
                    format!(
                        "this one overlaps {}: select by label {} with different values in both to keep them apart",
                        o.with, o.label
                    )
                },
            );
            let message = format!(
                "The selectors of namespace {namespace} overlap in more than {} sets; {apart}.",
                crate::policy::resolve::MAX_SETS
            );
            return Finding::fails(ConditionType::Programmed, Reason::Overlaps, message);
        }
        let is_written = of_namespace.apply.iter().all(|a| key_of(&a.object) != key)
            && of_namespace.delete.iter().all(|d| d.key != key)
            && matches!(view.object(Kind::Telemetry, &key), Fact::Present(_));
        if !is_written {
            if let Some(finding) = refused(view, Kind::Telemetry, &key) {
                return finding;
            }
            pending.push(key.to_string());
        }
    }
    if pending.is_empty() {
        return Finding::holds(
            ConditionType::Programmed,
            Reason::Programmed,
            "The rendered objects stand as rendered.",
        );
    }
    let message = format!("Telemetry {} is not written yet; wait.", some_names(pending));
    Finding::fails(ConditionType::Programmed, Reason::Pending, message)
}

/// Whether a policy holds for the whole mesh and is rendered in each of its namespaces, because a Telemetry in the root
/// namespace would reach others too.
fn is_per_namespace(view: &View<'_>, mesh: &ObservabilityMesh, source: &Source, selector: &Labels) -> bool {
    istio_of(mesh).is_some_and(|istio| {
        selector.is_empty()
            && root_namespace(view, &istio).is_ok_and(|root| root == source.namespace)
            && mesh_scope(view, mesh, &istio).is_ok_and(|scope| scope == MeshScope::PerNamespace)
    })
}

/// The mesh whose policies alone compete with this one: those of two meshes stand together in a root namespace that both
/// share, and are rendered in different ones.
fn only_rivals_of<'m>(
    view: &View<'_>,
    mesh: &'m ObservabilityMesh,
    source: &Source,
    selector: &Labels,
) -> Option<&'m str> {
    is_per_namespace(view, mesh, source, selector).then(|| name_of(mesh))
}

fn refused(view: &View<'_>, kind: Kind, key: &Key) -> Option<Finding> {
    let why = view.refusal(kind, key)?;
    Some(Finding::fails(
        ConditionType::Programmed,
        Reason::WriteRefused,
        refusal_message(kind, key, why),
    ))
}

fn selected_namespaces(view: &View<'_>, mesh: &ObservabilityMesh, but: &str) -> Vec<String> {
    let Fact::Present(namespaces) = view.objects(Kind::Namespace) else {
        return Vec::new();
    };
    namespaces
        .into_iter()
        .filter(|n| selects(mesh, &labels_of(n)).unwrap_or(false) && n.pointer("/metadata/deletionTimestamp").is_none())
        .map(|n| key_of(n).name)
        .filter(|name| name != but)
        .collect()
}

/// Judges a TracingBackend.
pub fn tracing_backend(view: &View<'_>, key: &Key, memory: &mut Memory<'_>) -> Plan {
    let all = view.tracing_backends_in(&key.namespace);
    let Some((_, tracing)) = all.iter().find(|(k, _)| *k == key) else {
        return Plan::default();
    };
    let mut checked = check_tracing_backend(view, key, tracing);
    let mut plan = Plan::default();
    if let Some(finding) = inject_not_enabled(view, key, tracing).filter(|_| checked.is_good()) {
        checked.findings.retain(|f| f.type_ != ConditionType::ResolvedRefs);
        checked.findings.push(finding);
    }
    let mut findings = checked.findings.clone();
    let mut fields = Map::new();
    insert_mesh(&mut fields, checked.mesh);
    let apart = checked
        .claim
        .as_ref()
        .and_then(|claim| only_rivals_of(view, checked.mesh?, &claim.source, &claim.selector));
    let rivals: Vec<TraceClaim> = all
        .iter()
        .filter(|(_, t)| t.metadata.deletion_timestamp.is_none())
        .filter_map(|(k, t)| check_tracing_backend(view, k, t).claim)
        .filter(|rival| apart.is_none_or(|mesh| rival.mesh == mesh))
        .collect();
    let needs_proxies = checked.mesh.is_none_or(|mesh| istio_of(mesh).is_some());
    match &checked.claim {
        Some(claim) => {
            let finding = match tracing_winner(claim, &rivals) {
                Some(winner) => {
                    let message = format!(
                        "{winner} wins; only one TracingBackend holds in a scope. Change labels or name, or remove one of the two."
                    );
                    Finding::fails(ConditionType::Programmed, Reason::Overridden, message)
                }
                None => programmed(view, &mut plan, &checked, &claim.source, &claim.selector),
            };
            if finding.status == Truth::True {
                fields.insert(
                    "effective".into(),
                    json!(effective_tracing(tracing, claim, checked.limited.is_some())),
                );
            }
            findings.push(finding);
        }
        None if needs_proxies || !checked.is_good() => findings.push(not_programmed(&checked)),
        None => findings.push(Finding::holds(
            ConditionType::Programmed,
            Reason::Programmed,
            "Nothing has to be told to a mesh.",
        )),
    }
    if !tracing.spec.inject.is_empty() {
        let (finding, status) = match inject_not_enabled(view, key, tracing) {
            Some(finding) => {
                let type_ = ConditionType::AgentsInSync;
                (Finding { type_, ..finding }, InjectStatus::default())
            }
            None => inject_state(view, key, checked.mesh, memory, &mut plan),
        };
        findings.push(finding);
        fields.insert("inject".into(), json!(status));
    }
    if let Some(message) = &checked.limited {
        findings.push(Finding::holds(
            ConditionType::PartiallyOverridden,
            Reason::LimitedByMesh,
            message.clone(),
        ));
    }
    if !checked.not_expressed.is_empty() {
        let message = format!("Not expressible and left out: {}.", checked.not_expressed.join(", "));
        findings.push(Finding::holds(
            ConditionType::PartiallyExpressed,
            Reason::NotExpressible,
            message,
        ));
    }
    let of = Target::TracingBackend(key.clone());
    plan.statuses.push(Status::new(
        of,
        tracing.metadata.generation,
        with_ready(findings),
        fields,
    ));
    plan
}

fn effective_tracing(tracing: &TracingBackend, claim: &TraceClaim, limited: bool) -> EffectiveTracing {
    let from = match (limited, &tracing.spec.sampling) {
        (true, _) => "ObservabilityMesh",
        (false, Some(_)) => "TracingBackend",
        (false, None) => "Default",
    };
    EffectiveTracing {
        provider: claim.provider.clone(),
        destination: String::new(),
        destination_from: String::new(),
        sampling_percentage: claim.sampling.clone(),
        sampling_from: from.into(),
    }
}

fn inject_not_enabled(view: &View<'_>, key: &Key, tracing: &TracingBackend) -> Option<Finding> {
    if tracing.spec.inject.is_empty() {
        return None;
    }
    let labels = view.namespace_labels(&key.namespace).present()?;
    (labels.get(INJECT).map(String::as_str) != Some("enabled")).then(|| {
        let message = format!(
            "Namespace {} does not allow environment; label it {INJECT}=enabled.",
            key.namespace
        );
        Finding::fails(ConditionType::ResolvedRefs, Reason::InjectNotEnabled, message)
    })
}

fn inject_state(
    view: &View<'_>,
    key: &Key,
    mesh: Option<&Arc<ObservabilityMesh>>,
    memory: &mut Memory<'_>,
    plan: &mut Plan,
) -> (Finding, InjectStatus) {
    let type_ = ConditionType::AgentsInSync;
    let Some(mesh) = mesh else {
        let message = "Without a mesh nothing is injected; see ResolvedRefs.";
        return (
            Finding::unknown(type_, Reason::FactsPending, message),
            InjectStatus::default(),
        );
    };
    match view.objects_in(Kind::Deployment, &key.namespace) {
        Fact::Present(_) => {}
        Fact::Forbidden => {
            let message = format!(
                "Sightline may not read Deployments in namespace {}; install the Role of config/rbac there.",
                key.namespace
            );
            return (
                Finding::fails(type_, Reason::Forbidden, message),
                InjectStatus::default(),
            );
        }
        _ => {
            let message = format!("Deployments in namespace {} have not been read yet.", key.namespace);
            return (
                Finding::unknown(type_, Reason::FactsPending, message),
                InjectStatus::default(),
            );
        }
    }
    let rollouts = rollout::rollouts(view, mesh, memory);
    plan.look_again = [plan.look_again, rollouts.decision.look_again]
        .into_iter()
        .flatten()
        .min();
    let mine: Vec<_> = rollouts
        .workloads
        .iter()
        .filter(|w| w.injected_by.contains(key))
        .collect();
    let verdict = |workload: &&rollout::Workload<'_>| match workload.overridden.get(key) {
        None => rollouts.state(workload),
        Some(winner) => Err((
            Reason::Overridden,
            format!(
                "TracingBackend {winner} gives Deployment {}/{} its environment; select it in one of the two.",
                workload.id.namespace, workload.id.name
            ),
        )),
    };
    let verdicts: Vec<_> = mine.iter().map(verdict).collect();
    let in_sync = verdicts.iter().filter(|s| s.is_ok()).count();
    let status = InjectStatus {
        workloads: to_i32(mine.len()),
        in_sync: to_i32(in_sync),
    };
    if mine.is_empty() {
        let message = format!(
            "inject selects no Deployment in namespace {}; correct inject[].workloads.selector, or create one.",
            key.namespace
        );
        return (Finding::fails(type_, Reason::WorkloadNotFound, message), status);
    }
    (agents_in_sync(verdicts), status)
}

fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// `AgentsInSync` from the states of workloads: the first that is not in sync speaks for all.
fn agents_in_sync(states: Vec<Result<(), rollout::Problem>>) -> Finding {
    let type_ = ConditionType::AgentsInSync;
    let bad: Vec<rollout::Problem> = states.into_iter().filter_map(Result::err).collect();
    let Some((reason, message)) = bad.first().cloned() else {
        return Finding::holds(type_, Reason::InSync, "Every agent runs with the wanted configuration.");
    };
    let message = match bad.len() {
        1 => message,
        n => format!("{message} {} more are not in sync.", n - 1),
    };
    Finding::fails(type_, reason, message)
}

/// Judges an ObservabilityMesh.
pub fn mesh(view: &View<'_>, name: &str, memory: &mut Memory<'_>) -> Plan {
    let Some(mesh) = view.mesh(name) else {
        return Plan::default();
    };
    let mut plan = Plan {
        finalizer: finalizer(view, mesh),
        ..Plan::default()
    };
    let mut findings = vec![mesh_accepted(view, mesh), mesh_refs(view, mesh)];
    findings.push(mesh_programmed(view, mesh, &mut plan));
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
    let said = [
        ("spec.logging", spec.logging != Logging::default()),
        ("spec.tenancy", spec.tenancy != Tenancy::default()),
    ];
    said.into_iter()
        .filter(|(_, said)| *said)
        .map(|(path, _)| path)
        .collect()
}

fn mesh_accepted(view: &View<'_>, mesh: &ObservabilityMesh) -> Finding {
    let type_ = ConditionType::Accepted;
    if let Some(istio) = istio_of(mesh) {
        let oldest = match versions::oldest_proxy(view, mesh, &istio) {
            Ok(oldest) => oldest.version,
            Err(error) => return Finding::unknown(type_, error.reason, error.message),
        };
        if let Err(error) = &*compile(&mesh.spec.logging.format.line, oldest) {
            return Finding::fails(type_, Reason::InvalidFormat, format!("spec.logging.format: {error}"));
        }
    }
    if kube::core::Selector::try_from(mesh.spec.namespaces.clone()).is_err() {
        let message = "spec.namespaces is no label selector: operators are In, NotIn, Exists and DoesNotExist; In and NotIn need values.";
        return Finding::fails(type_, Reason::InvalidSpec, message);
    }
    Finding::holds(type_, Reason::Accepted, "The spec makes sense here.")
}

fn mesh_refs(view: &View<'_>, mesh: &ObservabilityMesh) -> Finding {
    if let Some(Err(finding)) = mesh
        .spec
        .interface_traffic
        .as_ref()
        .map(|t| interface_traffic::credentials(view, t))
    {
        return finding;
    }
    let endpoints = mesh
        .spec
        .tracing
        .iter()
        .flat_map(|t| &t.backends)
        .filter_map(|b| b.otlp.as_ref());
    if let Some(finding) = endpoints
        .into_iter()
        .find_map(|otlp| missing_service(view, &otlp.endpoint))
    {
        return finding;
    }
    Finding::holds(
        ConditionType::ResolvedRefs,
        Reason::Resolved,
        "All that the spec names exists and may be used.",
    )
}

fn mesh_programmed(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, plan: &mut Plan) -> Finding {
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
    Finding::holds(type_, Reason::Programmed, "The rendered objects stand as rendered.")
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
    ];
    (left == [Some(false); 3]).then_some(Finalizer::Remove)
}

/// Whether Telemetries of the mesh are left; `None`: not known yet.
fn leaves_telemetries(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<bool> {
    match view.objects(Kind::Telemetry) {
        Fact::Present(all) => {
            let of_mesh = |t: &&Value| labels_of(t).get(MESH_LABEL).is_some_and(|m| m == name_of(mesh));
            Some(all.into_iter().any(|t| of_mesh(&t) && super::owned::is_ours(t)))
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
        Fact::Present(live) => Some(super::owned::is_ours(live)),
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

/// The event that a resource became ready or ceased to be, from its old and new `Ready`.
pub fn ready_event(of: &Target, before: Option<&str>, findings: &[Finding]) -> Option<Event> {
    let ready = findings.iter().find(|f| f.type_ == ConditionType::Ready)?;
    let now = match ready.status {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    };
    let quiet = matches!(
        ready.reason,
        Reason::FactsPending | Reason::Pending | Reason::ProviderPending | Reason::Deleting
    );
    (before != Some(now) && !quiet).then(|| Event {
        about: of.clone(),
        warning: ready.status == Truth::False,
        reason: if ready.status == Truth::True {
            "Ready"
        } else {
            ready.reason.as_str()
        },
        note: ready.message.clone(),
    })
}
