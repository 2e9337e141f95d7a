//! TrafficLogs and TracingBackends.

use super::Eye;
use super::model::{Origin, TracingBackendAnswer, TrafficLogAnswer, Unit};
use super::places::{lines, set_text, spans, units_of};
use super::problems::conditions;
use super::scope::OfNamespace;
use super::workloads::managed;
use crate::plan::Target;
use crate::plan::judge::rendered_in;
use crate::plan::judge::tracing_backend::rivals;
use crate::plan::judge::traffic_log::Losses;
use crate::policy::claims::{Checked, Claim, LogClaim, Selection, Source};
use crate::policy::membership::name_of;
use crate::policy::resolve::lost_sets;
use crate::policy::{tracing_backend as tracing_policy, traffic_log as log_policy};
use crate::snapshot::{Key, View};

/// Explains a TrafficLog.
pub(super) fn traffic_log(eye: &Eye<'_, '_>, key: &Key) -> Option<TrafficLogAnswer> {
    let view = eye.view;
    let logs = view.traffic_logs_in(&key.namespace);
    let (_, log) = logs.into_iter().find(|(k, _)| *k == key)?;
    let checked = log_policy::check(view, key, log);
    let selection = Selection::new(log.spec.selector.as_ref(), &log.spec.target_refs);
    let target = Target::TrafficLog(key.clone());
    let mut answer = TrafficLogAnswer {
        mesh: checked.mesh.map(|mesh| name_of(mesh).to_owned()),
        conditions: conditions(eye, &target),
        workloads: selection.sets().iter().map(set_text).collect(),
        ..TrafficLogAnswer::default()
    };
    if let Some(claim) = &checked.claim {
        let losses = Losses::of(view, &checked, claim);
        answer.units = units(claim, &losses, &checked);
        let won = units_of(claim);
        answer.lines = won
            .iter()
            .flat_map(|won| lines(view, won, None, &checked.providers))
            .collect();
        answer.telemetries = telemetries(view, &checked, claim);
    }
    Some(answer)
}

fn units(claim: &LogClaim, losses: &Losses, checked: &Checked<'_, LogClaim>) -> Vec<Unit> {
    let backends: Vec<Option<&String>> = if claim.backends.is_empty() {
        vec![None]
    } else {
        claim.backends.keys().map(Some).collect()
    };
    let mut units = Vec::new();
    for set in claim.selection.sets() {
        for side in &claim.sides {
            for backend in &backends {
                let lost = losses.lost.iter();
                let lost = lost
                    .filter(|lost| lost.set == set && lost.side == *side && lost.backend.as_ref() == *backend)
                    .map(|lost| Origin::of(&lost.winner))
                    .next();
                let is_required = backend.is_some_and(|b| losses.required.contains(&(b.clone(), *side)));
                let mesh = || checked.mesh.map(|mesh| Origin::mesh(mesh).at("spec.logging.required"));
                let (outcome, by) = match lost {
                    Some(winner) => ("Lost", Some(winner)),
                    None if is_required => ("Required", mesh()),
                    None => ("Won", None),
                };
                units.push(Unit {
                    workloads: set_text(&set),
                    direction: *side,
                    backend: (*backend).cloned(),
                    outcome: outcome.into(),
                    by,
                });
            }
        }
    }
    units
}

/// The Telemetries that a policy is part of.
fn telemetries<C: Claim>(view: &View<'_>, checked: &Checked<'_, C>, claim: &C) -> Vec<String> {
    let source = claim.source();
    let is_part = |sources: Vec<&Source>| sources.into_iter().any(|other| other.is_same_object(source));
    let mut keys = Vec::new();
    for namespace in rendered_in(view, checked, claim) {
        let Ok(of) = OfNamespace::new(view, &namespace) else {
            continue;
        };
        let objects = of.policy.objects.iter();
        let mine = objects.filter(|(_, object)| is_part(object.sources.resources()));
        keys.extend(mine.map(|(set, _)| of.key_of(set).to_string()));
    }
    keys
}

/// Explains a TracingBackend.
pub(super) fn tracing_backend(eye: &Eye<'_, '_>, key: &Key) -> Option<TracingBackendAnswer> {
    let view = eye.view;
    let all = view.tracing_backends_in(&key.namespace);
    let (_, tracing) = all.iter().find(|(k, _)| *k == key)?;
    let checked = tracing_policy::check(view, key, tracing);
    let selection = Selection::new(tracing.spec.selector.as_ref(), &tracing.spec.target_refs);
    let target = Target::TracingBackend(key.clone());
    let mut answer = TracingBackendAnswer {
        mesh: checked.mesh.map(|mesh| name_of(mesh).to_owned()),
        conditions: conditions(eye, &target),
        workloads: selection.sets().iter().map(set_text).collect(),
        ..TracingBackendAnswer::default()
    };
    if let Some(claim) = &checked.claim {
        let tags = claim.tags.iter().map(|tag| (tag.name.clone(), tag.clone())).collect();
        answer.spans = Some(spans(view, claim, &tags, &[]));
        answer.entry = checked.providers.first().map(|provider| provider.entry.clone());
        let rivals = rivals(view, &checked, &all);
        let lost = lost_sets(claim, &rivals);
        let all_lost = lost.len() == selection.sets().len();
        answer.overridden_by = lost.first().filter(|_| all_lost).map(|(_, winner)| Origin::of(winner));
        answer.telemetries = telemetries(view, &checked, claim);
    }
    if !tracing.spec.inject.is_empty() {
        let managed = managed(eye, |workload| workload.injected_by.contains(key));
        let own = Origin::of_key("TracingBackend", key).at("spec.inject");
        answer.environment = managed.environment.into_iter().filter(|env| env.from == own).collect();
    }
    Some(answer)
}
