//! Logging, tracing and metrics of a set of workloads; and who loses there.

use super::Eye;
use super::model::{Fallback, Metrics, Origin, Overridden, SideLog, TelemetryRef, Tracing, Traffic};
use super::places::{lines, set_text, spans};
use super::scope::{Applied, Depth, Scopes};
use crate::policy::claims::{LogClaim, PolicyKind, Side, WorkloadSet};
use crate::policy::membership::{istio_of, meshes_of_namespace};
use crate::policy::resolve::{SideLogging, Won};
use crate::render::istio::mesh_config::primary_map;
use crate::snapshot::mesh_config::MeshConfig;
use crate::snapshot::{Fact, Key, View};

/// What proxies of a workload of all these sets do.
pub(super) fn traffic(eye: &Eye<'_, '_>, scopes: &Scopes, workload: &[WorkloadSet]) -> Traffic {
    let view = eye.view;
    let Some(istio) = primary(view, &scopes.own.name) else {
        return Traffic::default();
    };
    let reaching = scopes.reaching(workload);
    Traffic {
        telemetries: reaching.iter().map(telemetry_ref).collect(),
        logging: Side::BOTH
            .iter()
            .map(|side| side_log(view, &istio, &reaching, *side))
            .collect(),
        tracing: Some(tracing(view, &istio, scopes, &reaching, workload)),
        metrics: Some(metrics(&istio, &reaching)),
    }
}

fn telemetry_ref(applied: &Applied<'_>) -> TelemetryRef {
    let from = applied.policy.sources.resources();
    TelemetryRef {
        namespace: applied.key.namespace.clone(),
        name: applied.key.name.clone(),
        scope: applied.scope.into(),
        workloads: if applied.set.is_namespace() {
            String::new()
        } else {
            set_text(applied.set)
        },
        from: from.into_iter().map(Origin::of).collect(),
    }
}

/// The MeshConfig that is the shallowest scope: that of the first revision of the first mesh with proxies.
struct Primary<'a> {
    map: Key,
    config: Fact<Option<&'a MeshConfig>>,
}

fn primary<'a>(view: &View<'a>, namespace: &str) -> Option<Primary<'a>> {
    let meshes = meshes_of_namespace(view, namespace).ok()?;
    let istio = meshes.into_iter().find_map(|mesh| istio_of(mesh))?;
    let map = primary_map(&istio.namespace, istio.revisions.first()?);
    Some(Primary {
        config: view.mesh_config(&map),
        map,
    })
}

impl Primary<'_> {
    fn origin(&self, field: &str) -> Origin {
        Origin::of_key("ConfigMap", &self.map).at(field)
    }

    fn fallback(&self, field: &str, message: &str) -> Fallback {
        Fallback {
            providers: Vec::new(),
            file: None,
            encoding: None,
            format: None,
            message: message.into(),
            from: self.origin(field),
        }
    }

    fn config(&self) -> Option<&MeshConfig> {
        self.config.present().flatten()
    }

    /// What nothing can be said of.
    fn unknown(&self, what: &str) -> Option<Fallback> {
        let seen = matches!(self.config, Fact::Present(Some(_)) | Fact::Absent);
        (!seen).then(|| {
            self.fallback(
                "mesh",
                &format!("Its MeshConfig cannot be read, so {what} is not known."),
            )
        })
    }

    /// What is logged on a side that no Telemetry names. Istio forgets its default providers for a workload that any
    /// Telemetry says something about the logs of, whatever the side: only `accessLogFile` is left then.
    fn logging(&self, another_side_is_named: bool) -> Fallback {
        if let Some(unknown) = self.unknown("what is logged") {
            return unknown;
        }
        let empty = MeshConfig::default();
        let config = self.config().unwrap_or(&empty);
        let defaults = &config.default_providers.access_logging;
        if !defaults.is_empty() && !another_side_is_named {
            return Fallback {
                providers: defaults.clone(),
                ..self.fallback("defaultProviders.accessLogging", "Istio's default providers log it.")
            };
        }
        let ignored = if defaults.is_empty() {
            ""
        } else {
            " (Its default providers do not: a Telemetry names the other direction.)"
        };
        match &config.access_log_file {
            Some(file) => Fallback {
                file: Some(file.clone()),
                encoding: config.access_log_encoding.clone(),
                format: config.access_log_format.clone(),
                ..self.fallback("accessLogFile", &format!("Istio's accessLogFile logs it.{ignored}"))
            },
            None => self.fallback("accessLogFile", &format!("Nothing is logged.{ignored}")),
        }
    }

    fn tracing(&self) -> Fallback {
        if let Some(unknown) = self.unknown("what is traced") {
            return unknown;
        }
        let defaults = self
            .config()
            .map(|c| c.default_providers.tracing.clone())
            .unwrap_or_default();
        let message = if defaults.is_empty() {
            "Nothing is traced."
        } else {
            "Istio's first default provider gets the spans."
        };
        Fallback {
            providers: defaults,
            ..self.fallback("defaultProviders.tracing", message)
        }
    }

    fn metrics(&self) -> Fallback {
        if let Some(unknown) = self.unknown("what is measured") {
            return unknown;
        }
        let defaults = self
            .config()
            .map(|c| c.default_providers.metrics.clone())
            .unwrap_or_default();
        let message = if defaults.is_empty() {
            "MeshConfig names no default provider of metrics."
        } else {
            "Istio's standard metrics, untouched."
        };
        Fallback {
            providers: defaults,
            ..self.fallback("defaultProviders.metrics", message)
        }
    }
}

/// The object that decides a side: the last that names it.
fn deciding<'r, 's>(reaching: &'r [Applied<'s>], side: Side) -> Option<&'r Applied<'s>> {
    let mut objects = reaching.iter().rev();
    objects.find(|applied| applied.policy.logging.contains_key(&side))
}

fn side_log(view: &View<'_>, istio: &Primary<'_>, reaching: &[Applied<'_>], side: Side) -> SideLog {
    let mut log = SideLog {
        direction: side,
        outcome: "FallsThrough".into(),
        telemetry: None,
        off_by: None,
        lines: Vec::new(),
        fallback: None,
    };
    let Some(applied) = deciding(reaching, side) else {
        let another = reaching.iter().any(|applied| !applied.policy.logging.is_empty());
        log.fallback = Some(istio.logging(another));
        return log;
    };
    log.telemetry = Some(applied.key.to_string());
    let won = || applied.policy.won.get(&side).into_iter().flatten();
    if let Some(SideLogging::To(filters)) = applied.policy.logging.get(&side) {
        log.outcome = "Logged".into();
        log.lines = won().flat_map(|won| lines(view, won, Some(filters), &[])).collect();
    } else {
        log.outcome = "Off".into();
        log.off_by = won().map(|won| Origin::of(&won.source).at("spec.disabled")).next();
    }
    log
}

fn tracing(
    view: &View<'_>,
    istio: &Primary<'_>,
    scopes: &Scopes,
    reaching: &[Applied<'_>],
    workload: &[WorkloadSet],
) -> Tracing {
    let decides = |applied: &&Applied<'_>| applied.policy.tracing.is_some();
    let Some((applied, claim)) = reaching
        .iter()
        .rev()
        .find(decides)
        .and_then(|applied| Some((applied, applied.policy.tracing.as_ref()?)))
    else {
        return Tracing {
            outcome: "FallsThrough".into(),
            fallback: Some(istio.tracing()),
            ..Tracing::default()
        };
    };
    let wider: Vec<_> = scopes
        .trace_claims(workload)
        .into_iter()
        .map(|(_, claim)| claim)
        .collect();
    Tracing {
        outcome: "Traced".into(),
        telemetry: Some(applied.key.to_string()),
        spans: Some(spans(view, claim, &applied.policy.tags, &wider)),
        fallback: None,
    }
}

fn metrics(istio: &Primary<'_>, reaching: &[Applied<'_>]) -> Metrics {
    let mut objects = reaching.iter().rev();
    let found = objects.find_map(|applied| Some((applied, applied.policy.sources.metrics.as_ref()?)));
    match found {
        None => Metrics {
            fallback: Some(istio.metrics()),
            ..Metrics::default()
        },
        Some((applied, claim)) => Metrics {
            telemetry: Some(applied.key.to_string()),
            overrides: claim.overrides.clone(),
            from: Some(Origin::of(&claim.source).at("spec.metrics")),
            fallback: None,
        },
    }
}

/// Claims that reach a workload of all these sets and lose there.
pub(super) fn overridden(scopes: &Scopes, workload: &[WorkloadSet]) -> Vec<Overridden> {
    let reaching = scopes.reaching(workload);
    let claims = scopes.log_claims(workload);
    let mut lost = Vec::new();
    for (depth, claim) in claims.iter().filter(|(_, claim)| !scopes.is_left_out(&claim.source)) {
        for side in &claim.sides {
            let Some(applied) = deciding(&reaching, *side) else {
                continue;
            };
            let won = applied.policy.won.get(side).map(Vec::as_slice).unwrap_or_default();
            for backend in backends_of(claim) {
                lost.extend(lost_unit(claim, *depth, *side, backend, won, &claims));
            }
        }
    }
    let traces = scopes.trace_claims(workload);
    let winner = reaching
        .iter()
        .rev()
        .find_map(|applied| applied.policy.tracing.as_ref());
    if let Some(winner) = winner {
        let depth_of_winner = traces.iter().find(|(_, c)| c.source == winner.source).map(|(d, _)| *d);
        for (depth, claim) in traces.iter().filter(|(_, claim)| claim.source != winner.source) {
            lost.push(Overridden {
                policy: Origin::of(&claim.source),
                claim: "tracing".into(),
                direction: None,
                by: vec![Origin::of(&winner.source)],
                why: why(*depth, depth_of_winner).into(),
            });
        }
    }
    lost.sort();
    lost.dedup();
    lost
}

/// Its backends; `None` for an off switch.
fn backends_of(claim: &LogClaim) -> Vec<Option<&str>> {
    if claim.backends.is_empty() {
        return vec![None];
    }
    claim.backends.keys().map(|backend| Some(backend.as_str())).collect()
}

fn lost_unit(
    claim: &LogClaim,
    depth: Depth,
    side: Side,
    backend: Option<&str>,
    won: &[Won],
    claims: &[(Depth, &LogClaim)],
) -> Option<Overridden> {
    let is_it = |won: &&Won| won.mesh == claim.mesh && won.backend.as_deref() == backend;
    if won.iter().any(|won| is_it(&won) && won.source == claim.source) {
        return None;
    }
    let same: Vec<&Won> = won.iter().filter(is_it).collect();
    let winners: Vec<&Won> = if same.is_empty() { won.iter().collect() } else { same };
    let required = winners
        .iter()
        .all(|won| won.source.kind == PolicyKind::ObservabilityMesh);
    let deepest = winners
        .iter()
        .filter_map(|won| claims.iter().find(|(_, claim)| claim.source == won.source))
        .map(|(depth, _)| *depth)
        .max();
    let mut by: Vec<Origin> = winners.iter().map(|won| Origin::of(&won.source)).collect();
    by.sort();
    by.dedup();
    Some(Overridden {
        policy: Origin::of(&claim.source),
        claim: backend.map_or_else(|| "the off switch".to_owned(), |backend| format!("backend {backend}")),
        direction: Some(side),
        by,
        why: if required { "Required" } else { why(depth, deepest) }.into(),
    })
}

fn why(depth: Depth, winner: Option<Depth>) -> &'static str {
    match (depth, winner) {
        // Two of workloads are one scope: the number of labels decides.
        (Depth::Workloads(_), Some(Depth::Workloads(_))) => "SameScope",
        (depth, Some(winner)) if winner > depth => "DeeperScope",
        _ => "SameScope",
    }
}
