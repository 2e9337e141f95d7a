//! What policies say to Kmesh's daemons. They log for whole nodes, in a format of their own, and have no filter: what a
//! TrafficLog for the whole mesh comes to is a switch. Everything about requests is said to waypoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backends::log_backend;
use super::claims::{
    Checked, LogClaim, LogEntry, MeshDefaults, PolicyKind, Selection, Side, Source, TraceClaim, rejected,
};
use super::membership::name_of;
use super::mesh_wide::{check_required, source_of};
use super::resolve::{MeshClaims, NamespaceClaims, SideLogging, resolve};
use super::traffic_log;
use crate::conditions::{Finding, Reason, Truth};
use crate::crds::{
    Direction, KmeshMesh, LogBackend, Logging, ObservabilityMesh, RequiredLog, Tenancy, TracingBackend, TrafficLog,
};
use crate::render::kmesh::Switches;
use crate::snapshot::{Key, View};

/// Stands for the daemons' own standard output in claims.
pub const DAEMONS: &str = "kmesh-daemons";
/// The file that the daemons write to, as backends have it.
pub const STDOUT: &str = "/dev/stdout";

/// Checks a TrafficLog of a mesh of Kmesh's that names no waypoint.
pub fn check_log<'a>(
    mesh: &'a Arc<ObservabilityMesh>,
    daemons: &KmeshMesh,
    key: &Key,
    log: &TrafficLog,
) -> Checked<'a, LogClaim> {
    let spec = &log.spec;
    let unsaid = unsaid_of_log(log);
    if key.namespace != daemons.namespace || spec.selector.is_some() {
        let selector = spec.selector.as_ref().map(|_| "spec.selector".to_owned());
        let paths: Vec<String> = selector
            .into_iter()
            .chain(spec.backends.first().map(|_| "spec.backends".to_owned()))
            .chain(spec.disabled.then(|| "spec.disabled".to_owned()))
            .chain((spec.priority != 0).then(|| "spec.priority".to_owned()))
            .chain(unsaid)
            .collect();
        return Checked::failed_for_good(mesh, not_for_some_workloads(daemons, &paths));
    }
    let claim = LogClaim {
        source: Source::new(PolicyKind::TrafficLog, key, &log.metadata),
        mesh: name_of(mesh).to_owned(),
        selection: Selection::default(),
        priority: spec.priority,
        sides: Side::BOTH.to_vec(),
        backends: BTreeMap::new(),
    };
    let mut checked = Checked {
        not_expressed: unsaid,
        ..Checked::good(mesh, Some(claim))
    };
    if spec.disabled {
        checked.keeps_last_good = false;
        return checked;
    }
    let names = if spec.backends.is_empty() {
        mesh.spec.logging.effective_default_backends()
    } else {
        spec.backends.clone()
    };
    for name in names {
        let backend = match log_backend(mesh, "spec.backends", &name) {
            Ok(backend) => backend,
            Err(finding) => return Checked::failed(Some(mesh), finding),
        };
        if is_stdout(backend) {
            let claims = checked.claim.iter_mut();
            claims.for_each(|claim| drop(claim.backends.insert(name.clone(), vec![daemons_stdout()])));
        } else {
            checked
                .not_expressed
                .push(format!("spec.backends {name} (daemons write to their {STDOUT} only)"));
        }
    }
    if checked.claim.as_ref().is_some_and(|claim| claim.backends.is_empty()) {
        let message = format!(
            "Nothing is left of it: {}; name a backend of type File with path {STDOUT}.",
            checked.not_expressed.join(", ")
        );
        return Checked::failed_for_good(mesh, rejected(Reason::NotExpressible, message));
    }
    checked
}

/// What a TrafficLog says that no daemon can.
fn unsaid_of_log(log: &TrafficLog) -> Vec<String> {
    let spec = &log.spec;
    let said = [
        (
            spec.direction != Direction::Both,
            "spec.direction (daemons log both sides)",
        ),
        (spec.filter.is_some(), "spec.filter (daemons log every connection)"),
        (spec.format.is_some(), "spec.format (the daemons' format is fixed)"),
    ];
    let said = said.into_iter().filter(|(said, _)| *said);
    said.map(|(_, path)| path.to_owned()).collect()
}

fn not_for_some_workloads(daemons: &KmeshMesh, paths: &[String]) -> Finding {
    let mut message = format!(
        "A daemon of Kmesh logs all connections of its node or none, so only a TrafficLog without spec.selector in namespace {} switches that; name waypoints in spec.targetRefs, or move it there.",
        daemons.namespace
    );
    if !paths.is_empty() {
        message = format!("{message} Left out: {}.", paths.join(", "));
    }
    rejected(Reason::NotExpressible, message)
}

/// The finding that `targetRefs` names waypoints of a mesh that has none.
pub fn no_waypoints(mesh: &ObservabilityMesh) -> Finding {
    let message = format!(
        "spec.targetRefs: ObservabilityMesh {} says of no waypoints; set its spec.mesh.istio, as waypoints are configured through istiod.",
        name_of(mesh)
    );
    rejected(Reason::NotExpressible, message)
}

/// Judges the part of a TracingBackend that concerns connections: Kmesh has no tracing.
pub fn check_tracing<'a>(mesh: &'a Arc<ObservabilityMesh>, tracing: &TracingBackend) -> Checked<'a, TraceClaim> {
    let spec = &tracing.spec;
    let said = [
        (true, "spec.destination"),
        (spec.sampling.is_some(), "spec.sampling"),
        (!spec.tags.is_empty(), "spec.tags"),
        (spec.selector.is_some(), "spec.selector"),
        (!spec.target_refs.is_empty(), "spec.targetRefs"),
    ];
    let paths: Vec<&str> = said
        .into_iter()
        .filter(|(said, _)| *said)
        .map(|(_, path)| path)
        .collect();
    let message = format!(
        "Kmesh's daemons do not trace; name waypoints in spec.targetRefs, with spec.mesh.istio of ObservabilityMesh {} set. Left out: {}.",
        name_of(mesh),
        paths.join(", ")
    );
    Checked::failed_for_good(mesh, rejected(Reason::NotExpressible, message))
}

/// Checks a log that the mesh requires: of all connections, as the daemons can.
pub fn check_required_log<'a>(mesh: &'a Arc<ObservabilityMesh>, required: &RequiredLog) -> Checked<'a, LogClaim> {
    let backend = match log_backend(mesh, "spec.logging.required", &required.backend) {
        Ok(backend) => backend,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    if !is_stdout(backend) {
        let message = format!(
            "spec.logging.required {}: Kmesh's daemons write to their {STDOUT} only; require a backend of type File with that path.",
            required.backend
        );
        return Checked::failed_for_good(mesh, rejected(Reason::NotExpressible, message));
    }
    let claim = LogClaim {
        source: source_of(mesh),
        mesh: name_of(mesh).to_owned(),
        selection: Selection::default(),
        priority: 0,
        sides: Side::BOTH.to_vec(),
        backends: BTreeMap::from([(required.backend.clone(), vec![daemons_stdout()])]),
    };
    Checked::good(mesh, Some(claim))
}

fn is_stdout(backend: &LogBackend) -> bool {
    backend.file.as_ref().is_some_and(|file| file.path == STDOUT)
}

fn daemons_stdout() -> LogEntry {
    LogEntry {
        provider: DAEMONS.to_owned(),
        filter: None,
        backend: None,
    }
}

/// What a mesh of Kmesh's says that neither its daemons nor waypoints can. A value that is the default says nothing.
pub fn unsaid_of_mesh(mesh: &ObservabilityMesh) -> Vec<String> {
    let spec = &mesh.spec;
    let has_waypoints = spec.mesh.istio.is_some();
    let tracing = spec.tracing.as_ref();
    let wasm = spec
        .interface_traffic
        .as_ref()
        .and_then(|traffic| traffic.wasm_plugin.as_ref());
    let directed = spec
        .logging
        .required
        .iter()
        .any(|required| required.direction != Direction::Both);
    let defaults = Logging::default();
    let only_with_waypoints = [
        (spec.tenancy != Tenancy::default(), "spec.tenancy (without waypoints)"),
        (
            spec.logging.format != defaults.format,
            "spec.logging.format (without waypoints)",
        ),
        (
            spec.logging.limits != defaults.limits,
            "spec.logging.limits (without waypoints)",
        ),
        (
            tracing.is_some(),
            "spec.tracing (without waypoints it serves inject only)",
        ),
    ];
    let never = [
        (directed, "spec.logging.required.direction (daemons log both sides)"),
        (
            tracing.is_some_and(|t| t.default.is_some()),
            "spec.tracing.default (name waypoints in a TracingBackend)",
        ),
        (
            spec.metrics.as_ref().is_some_and(|m| !m.overrides.is_empty()),
            "spec.metrics.overrides (daemons' metrics are fixed)",
        ),
        (wasm.is_some(), "spec.interfaceTraffic.wasmPlugin"),
    ];
    let said = never
        .into_iter()
        .chain(only_with_waypoints.into_iter().filter(|_| !has_waypoints));
    let paths = said.filter(|(said, _)| *said).map(|(_, path)| path.to_owned());
    let backends = spec.logging.backends.iter();
    let beyond = backends.filter(|backend| !has_waypoints && !is_stdout(backend));
    let beyond = beyond.map(|backend| {
        let name = &backend.name;
        format!("spec.logging.backends {name} (daemons write to their {STDOUT} only)")
    });
    paths.chain(beyond).collect()
}

/// The switches that a mesh and the policies in its daemons' namespace ask for.
///
/// # Errors
/// The finding of what is not known yet: until then switches stay as they are.
pub fn wanted(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, daemons: &KmeshMesh) -> Result<Switches, Finding> {
    let access_log = access_log(view, mesh, daemons)?.is_on;
    let metrics = mesh.spec.metrics.as_ref().and_then(|metrics| metrics.kmesh.as_ref());
    Ok(Switches {
        monitoring: access_log || metrics.is_some(),
        access_log,
        workload_metrics: metrics.is_some_and(|metrics| metrics.workload),
        connection_metrics: metrics.is_some_and(|metrics| metrics.connection),
    })
}

/// The access log of daemons, and who decides that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// Whether it is on.
    pub is_on: bool,
    /// Who has it so; empty: nobody says anything of it.
    pub from: BTreeSet<Source>,
}

/// What a mesh and the policies in its daemons' namespace ask for of the access log.
///
/// # Errors
/// The finding of what is not known yet.
pub fn access_log(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, daemons: &KmeshMesh) -> Result<AccessLog, Finding> {
    let mut logs = Vec::new();
    for (key, log) in view.traffic_logs_in(&daemons.namespace) {
        if log.metadata.deletion_timestamp.is_some() || !log.spec.target_refs.is_empty() {
            continue;
        }
        let checked = traffic_log::check(view, key, log);
        if let Some(unknown) = checked
            .findings
            .into_iter()
            .find(|finding| finding.status == Truth::Unknown)
        {
            return Err(unknown);
        }
        logs.extend(checked.claim.filter(|claim| claim.mesh == name_of(mesh)));
    }
    let required = check_required(view, mesh)
        .into_iter()
        .filter_map(|checked| checked.claim);
    let defaults = MeshDefaults {
        mesh: name_of(mesh).to_owned(),
        required: required.collect(),
        tracing: None,
        metrics: None,
    };
    let here = MeshClaims {
        defaults: vec![defaults],
        ..MeshClaims::default()
    };
    let policy = resolve(&NamespaceClaims {
        logs,
        here,
        ..NamespaceClaims::default()
    });
    let mut log = AccessLog::default();
    for object in policy.objects.values() {
        let mut sides = object.logging.values();
        log.is_on |= sides.any(|side| matches!(side, SideLogging::To(providers) if !providers.is_empty()));
        let won = object.won.values().flatten();
        log.from.extend(won.map(|won| won.source.clone()));
    }
    Ok(log)
}
