//! Judges a TracingBackend.

use std::sync::Arc;

use serde_json::{Map, json};

use super::{agents_in_sync, insert_mesh, not_expressed, not_programmed, only_rivals_of, programmed, to_i32};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names, with_ready};
use crate::crds::{DestinationType, EffectiveTracing, InjectStatus, ObservabilityMesh, TracingBackend};
use crate::plan::{Memory, Plan, Status, Target, rollout};
use crate::policy::backends::receiver;
use crate::policy::claims::{Checked, TraceClaim, WorkloadSet};
use crate::policy::proxies::Proxies;
use crate::policy::resolve::{lost_sets, wins_for_some};
use crate::policy::tracing_backend::check;
use crate::render::metadata::INJECT;
use crate::snapshot::{Fact, Key, Kind, View};

/// Judges a TracingBackend.
pub fn judge(view: &View<'_>, key: &Key, memory: &mut Memory<'_>) -> Plan {
    let all = view.tracing_backends_in(&key.namespace);
    let Some((_, tracing)) = all.iter().find(|(k, _)| *k == key) else {
        return Plan::default();
    };
    let mut checked = check(view, key, tracing);
    let mut plan = Plan::default();
    if let Some(finding) = inject_not_enabled(view, key, tracing).filter(|_| checked.is_good()) {
        checked.findings.retain(|f| f.type_ != ConditionType::ResolvedRefs);
        checked.findings.push(finding);
    }
    let mut findings = checked.findings.clone();
    let mut fields = Map::new();
    insert_mesh(&mut fields, checked.mesh);
    let rivals = rivals(view, &checked, &all);
    let needs_proxies = checked.mesh.is_none_or(|mesh| Proxies::of(mesh).is_some());
    match &checked.claim {
        Some(claim) => {
            let (finding, contested) = all_lost(claim, &rivals)
                .map_or_else(|| programmed(view, &mut plan, &checked, claim), |lost| (lost, None));
            let is_in_force = ![Reason::Overridden, Reason::Overlaps].contains(&finding.reason);
            findings.extend(some_lost(claim, &rivals).filter(|_| is_in_force));
            if finding.status == Truth::True {
                fields.insert("effective".into(), json!(effective(key, tracing, claim, &checked)));
            }
            findings.push(finding);
            findings.extend(contested);
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
    if let Some(message) = &checked.limited
        && findings.iter().all(|f| f.type_ != ConditionType::PartiallyOverridden)
    {
        findings.push(Finding::holds(
            ConditionType::PartiallyOverridden,
            Reason::LimitedByMesh,
            message.clone(),
        ));
    }
    findings.extend(not_expressed(&checked));
    let of = Target::TracingBackend(key.clone());
    plan.statuses.push(Status::new(
        of,
        tracing.metadata.generation,
        with_ready(findings),
        fields,
    ));
    plan
}

/// The claims of its namespace that compete with it, its own included.
pub(crate) fn rivals(
    view: &View<'_>,
    checked: &Checked<'_, TraceClaim>,
    all: &[(&Key, &Arc<TracingBackend>)],
) -> Vec<TraceClaim> {
    let apart = only_rivals_of(view, checked);
    all.iter()
        .filter(|(_, t)| t.metadata.deletion_timestamp.is_none())
        .filter_map(|(k, t)| check(view, k, t).claim)
        .filter(|rival| apart.is_none_or(|mesh| rival.mesh == mesh))
        .collect()
}

/// `Programmed` of one that loses every set of its workloads.
fn all_lost(claim: &TraceClaim, rivals: &[TraceClaim]) -> Option<Finding> {
    let lost = lost_sets(claim, rivals);
    let (_, winner) = lost.first().filter(|_| lost.len() == claim.selection.sets().len())?;
    let message = format!(
        "{winner} wins; only one TracingBackend holds in a scope. Change labels or name, or remove one of the two."
    );
    Some(Finding::fails(ConditionType::Programmed, Reason::Overridden, message))
}

/// The condition that it loses some of its targets, or of the workloads that its selector takes.
fn some_lost(claim: &TraceClaim, rivals: &[TraceClaim]) -> Option<Finding> {
    let lost = lost_sets(claim, rivals);
    let message = if let Some((WorkloadSet::Target(kind, name), winner)) = lost.first() {
        format!(
            "{} of {} targets are lost, such as {kind:?} {name} to {winner}; change the name, or name each target in one of the two.",
            lost.len(),
            claim.selection.sets().len()
        )
    } else {
        let winners = wins_for_some(claim, rivals);
        if winners.is_empty() {
            return None;
        }
        format!(
            "For workloads that the selector of {} takes too, this one does not hold; more labels win, then name.",
            some_names(winners.iter().map(ToString::to_string))
        )
    };
    Some(Finding::holds(
        ConditionType::PartiallyOverridden,
        Reason::Overridden,
        message,
    ))
}

/// What it effectively says to proxies, with where each value comes from.
pub(crate) fn effective(
    key: &Key,
    tracing: &TracingBackend,
    claim: &TraceClaim,
    checked: &Checked<'_, TraceClaim>,
) -> EffectiveTracing {
    let sampling_from = match (&checked.limited, &tracing.spec.sampling) {
        (Some(_), _) => "ObservabilityMesh",
        (None, Some(_)) => "TracingBackend",
        (None, None) => "Default",
    };
    let receiver = checked
        .mesh
        .and_then(|mesh| receiver(mesh, &key.namespace, tracing).ok());
    let destination_from = match tracing.spec.destination.type_ {
        DestinationType::MeshBackend => "ObservabilityMesh",
        _ => "TracingBackend",
    };
    EffectiveTracing {
        provider: claim.provider.clone(),
        destination: receiver.map(|r| r.endpoint().to_string()).unwrap_or_default(),
        destination_from: destination_from.into(),
        sampling_percentage: claim.sampling.clone(),
        sampling_from: sampling_from.into(),
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
                "TracingBackend {winner} gives {} its environment; select it in one of the two.",
                workload.id
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
            "inject selects no workload in namespace {}; correct inject[].workloads, or create one.",
            key.namespace
        );
        return (Finding::fails(type_, Reason::WorkloadNotFound, message), status);
    }
    (agents_in_sync(verdicts), status)
}
