//! Judges a TrafficLog.

use serde_json::{Map, json};

use super::{insert_mesh, not_expressed, not_programmed, only_rivals_of, programmed};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names, with_ready};
use crate::crds::{Direction, EffectiveLog, LogFilterType, TrafficLog};
use crate::plan::{Plan, Status, Target};
use crate::policy::claims::{Checked, LogClaim, Side};
use crate::policy::mesh_wide;
use crate::policy::proxies::kmesh_of;
use crate::policy::resolve::{Lost, lost_for_some, lost_units, required_units, unit_count};
use crate::policy::traffic_log::check;
use crate::snapshot::{Key, View};

/// Most rows of `effective`.
const MAX_EFFECTIVE: usize = 16;

/// Judges a TrafficLog.
pub fn judge(view: &View<'_>, key: &Key) -> Plan {
    let logs = view.traffic_logs_in(&key.namespace);
    let Some((_, log)) = logs.iter().find(|(k, _)| *k == key) else {
        return Plan::default();
    };
    let checked = check(view, key, log);
    let mut plan = Plan::default();
    let mut findings = checked.findings.clone();
    let mut fields = Map::new();
    insert_mesh(&mut fields, checked.mesh);
    match &checked.claim {
        None => findings.push(not_programmed(&checked)),
        Some(claim) => {
            let losses = Losses::of(view, &checked, claim);
            let all_lost = losses.all_lost(claim);
            let some_lost = match all_lost {
                Some(_) => None,
                None => losses.some_lost(claim, checked.limited.as_deref()),
            };
            let (finding, contested) =
                all_lost.map_or_else(|| programmed(view, &mut plan, &checked, claim), |lost| (lost, None));
            if finding.status == Truth::True {
                let effective = effective(log, claim, &losses, &checked);
                if !effective.is_empty() {
                    fields.insert("effective".into(), json!(effective));
                }
            }
            // What is left out whole has lost nothing to anybody.
            let some_lost = some_lost.filter(|_| finding.reason != Reason::Overlaps);
            findings.push(finding);
            findings.extend(some_lost);
            findings.extend(contested);
        }
    }
    findings.extend(not_expressed(&checked));
    let of = Target::TrafficLog(key.clone());
    plan.statuses
        .push(Status::new(of, log.metadata.generation, with_ready(findings), fields));
    plan
}

/// What a TrafficLog claims and does not get.
pub(crate) struct Losses {
    /// Units that other policies win.
    pub(crate) lost: Vec<Lost>,
    /// Units that other policies win for some of its workloads.
    pub(crate) for_some: Vec<Lost>,
    /// Units that stay as the mesh requires them.
    pub(crate) required: Vec<(String, Side)>,
    mesh: String,
}

impl Losses {
    pub(crate) fn of(view: &View<'_>, checked: &Checked<'_, LogClaim>, claim: &LogClaim) -> Self {
        let apart = only_rivals_of(view, checked);
        let logs = view.traffic_logs_in(&claim.source.namespace);
        let rivals: Vec<LogClaim> = logs
            .iter()
            .filter(|(_, l)| l.metadata.deletion_timestamp.is_none())
            .filter_map(|(k, l)| check(view, k, l).claim)
            .filter(|rival| apart.is_none_or(|mesh| rival.mesh == mesh))
            .collect();
        let required = checked
            .mesh
            .map(|mesh| mesh_wide::check_required(view, mesh))
            .unwrap_or_default();
        let required: Vec<LogClaim> = required.into_iter().filter_map(|checked| checked.claim).collect();
        Self {
            lost: lost_units(claim, &rivals),
            for_some: lost_for_some(claim, &rivals),
            required: required_units(claim, &required),
            mesh: claim.mesh.clone(),
        }
    }

    fn is_lost(&self, claim: &LogClaim, backend: Option<&String>, side: Side) -> bool {
        let in_all_sets = self
            .lost
            .iter()
            .filter(|l| l.backend.as_ref() == backend && l.side == side);
        in_all_sets.count() == claim.selection.sets().len()
            || backend.is_some_and(|backend| self.required.contains(&(backend.clone(), side)))
    }

    /// The finding that nothing is left.
    fn all_lost(&self, claim: &LogClaim) -> Option<Finding> {
        let type_ = ConditionType::Programmed;
        if self.lost.len() == unit_count(claim) {
            let winners = some_names(self.lost.iter().map(|l| l.winner.to_string()));
            let message = format!(
                "Every backend and direction that this claims is won by {winners}; change labels, priority or name, or remove one of them."
            );
            return Some(Finding::fails(type_, Reason::Overridden, message));
        }
        let mut units = claim
            .backends
            .keys()
            .flat_map(|backend| claim.sides.iter().map(move |side| (backend, *side)));
        let all = !claim.backends.is_empty() && units.all(|(backend, side)| self.is_lost(claim, Some(backend), side));
        all.then(|| {
            let message = format!(
                "ObservabilityMesh {} requires every backend and direction that this claims, in its own format and unfiltered; name another backend, or remove this.",
                self.mesh
            );
            Finding::fails(type_, Reason::LimitedByMesh, message)
        })
    }

    /// The condition that some of it is lost.
    fn some_lost(&self, claim: &LogClaim, limited: Option<&str>) -> Option<Finding> {
        let type_ = ConditionType::PartiallyOverridden;
        if let Some(first) = self.lost.first() {
            let all = unit_count(claim);
            let message = format!(
                "{} of {all} units (a backend in a direction) are lost, such as {} {:?} to {}; change labels, priority or name to win them.",
                self.lost.len(),
                first.backend.as_deref().unwrap_or("the off switch"),
                first.side,
                first.winner
            );
            return Some(Finding::holds(type_, Reason::Overridden, message));
        }
        if let Some(first) = self.for_some.first() {
            let winners = some_names(self.for_some.iter().map(|l| l.winner.to_string()));
            let message = format!(
                "For workloads that the selectors of {winners} take too, units (a backend in a direction) are lost, such as {} {:?} to {}; more labels win, then priority, then name.",
                first.backend.as_deref().unwrap_or("the off switch"),
                first.side,
                first.winner
            );
            return Some(Finding::holds(type_, Reason::Overridden, message));
        }
        if !self.required.is_empty() {
            let units = some_names(
                self.required
                    .iter()
                    .map(|(backend, side)| format!("{backend} {side:?}")),
            );
            let message = format!(
                "ObservabilityMesh {} requires {units}: that is logged in the mesh's format and unfiltered, whatever this says.",
                self.mesh
            );
            return Some(Finding::holds(type_, Reason::LimitedByMesh, message));
        }
        limited.map(|message| Finding::holds(type_, Reason::LimitedByMesh, message))
    }
}

/// Whether its lines have its own format: it has one that is allowed, and that every proxy takes.
pub(crate) fn has_own_format(log: &TrafficLog, checked: &Checked<'_, LogClaim>) -> bool {
    log.spec.format.is_some() && checked.limited.is_none() && checked.is_good()
}

/// The rows of `effective`: what this says and nobody else wins.
fn effective(
    log: &TrafficLog,
    claim: &LogClaim,
    losses: &Losses,
    checked: &Checked<'_, LogClaim>,
) -> Vec<EffectiveLog> {
    let kept = |backend: Option<&String>| {
        let sides = claim.sides.iter().copied();
        direction(
            &sides
                .filter(|side| !losses.is_lost(claim, backend, *side))
                .collect::<Vec<_>>(),
        )
    };
    if claim.backends.is_empty() {
        let off = kept(None).map(|direction| EffectiveLog {
            backend: None,
            direction,
            provider: None,
            format_from: None,
            filter: None,
        });
        return off.into_iter().collect();
    }
    let format_from = if has_own_format(log, checked) {
        "TrafficLog"
    } else {
        "ObservabilityMesh"
    };
    let filter = log.spec.filter.as_ref().map(|filter| match filter.type_ {
        LogFilterType::Match => "Match".to_owned(),
        LogFilterType::Expression => "Expression".to_owned(),
    });
    // Daemons have neither a format nor a filter.
    let is_said = checked.mesh.and_then(|mesh| kmesh_of(mesh)).is_none() || !claim.selection.targets.is_empty();
    let of_backend = |name: &String| {
        checked
            .mesh
            .and_then(|m| m.spec.logging.backends.iter().find(|b| b.name == *name))
    };
    let mut rows = Vec::new();
    for (backend, entries) in &claim.backends {
        let Some(direction) = kept(Some(backend)) else { continue };
        let has_format = is_said && of_backend(backend).is_none_or(|b| b.envoy_als.is_none());
        rows.extend(entries.iter().map(|entry| EffectiveLog {
            backend: Some(backend.clone()),
            direction,
            provider: Some(entry.provider.clone()),
            format_from: has_format.then(|| format_from.to_owned()),
            filter: filter.clone().filter(|_| is_said),
        }));
    }
    rows.truncate(MAX_EFFECTIVE);
    rows
}

const fn direction(sides: &[Side]) -> Option<Direction> {
    match sides {
        [Side::Inbound] => Some(Direction::Inbound),
        [Side::Outbound] => Some(Direction::Outbound),
        [] => None,
        _ => Some(Direction::Both),
    }
}
