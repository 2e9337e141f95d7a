//! Writes the collector of a mesh.

use serde_json::Value;

use super::owned::is_ours;
use super::rollout::Problem;
use super::telemetries::uid_of;
use super::{Delete, Plan, Target, WriteRules, plan_object, refusal};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{Collector, CollectorStatus, ObservabilityMesh};
use crate::policy::collector::{Noted, form};
use crate::policy::membership::{is_live, name_of};
use crate::render::collector::{Form, objects, queue_size};
use crate::render::metadata::{COLLECTOR_LABEL, MESH_LABEL};
use crate::rollout::governor::rolled_out;
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

/// Plans it: as the spec says, or away.
pub fn plan(view: &View<'_>, mesh: &str) -> Plan {
    let mut plan = Plan::default();
    let Some(mesh) = view.mesh(mesh) else {
        return plan;
    };
    let wanted = match wanted(view, mesh) {
        Ok(wanted) => wanted,
        Err(finding) => {
            plan.blocked.push((of_whole(mesh), finding));
            return plan;
        }
    };
    if let Some(noted) = &wanted {
        write(view, mesh, noted, &mut plan);
    }
    let former = Noted::of(mesh).filter(|former| wanted.as_ref() != Some(former));
    for (kind, key) in former.iter().flat_map(Noted::objects) {
        let live = view.object(kind, &key).present();
        plan.delete
            .extend(live.filter(|live| is_of_collector(live, mesh)).map(|live| Delete {
                kind,
                key: key.clone(),
                uid: uid_of(live),
            }));
    }
    plan
}

/// Stands for all objects of a mesh's collector.
fn of_whole(mesh: &ObservabilityMesh) -> Key {
    Key::new("", name_of(mesh))
}

/// What is to run a mesh's collector; `None`: nothing.
fn wanted(view: &View<'_>, mesh: &ObservabilityMesh) -> Result<Option<Noted>, Finding> {
    let Some(collector) = mesh.spec.collector.as_ref().filter(|_| is_live(mesh)) else {
        return Ok(None);
    };
    let noted = Noted::new(collector, form(view, mesh, collector)?);
    let is_same = |other: &ObservabilityMesh| {
        let of = other.spec.collector.as_ref();
        of.is_some_and(|of| of.namespace == collector.namespace && of.short_name() == collector.short_name())
    };
    let before = view
        .meshes()
        .find(|other| name_of(other) < name_of(mesh) && is_live(other) && is_same(other));
    match before {
        None => Ok(Some(noted)),
        Some(before) => {
            let message = format!(
                "{noted} is the collector of ObservabilityMesh {}; give this one another collector.name.",
                name_of(before)
            );
            Err(Finding::fails(ConditionType::Programmed, Reason::Overridden, message))
        }
    }
}

fn write(view: &View<'_>, mesh: &ObservabilityMesh, noted: &Noted, plan: &mut Plan) {
    let Some(collector) = &mesh.spec.collector else {
        return;
    };
    let rendered = match objects(name_of(mesh), collector, noted.form()) {
        Ok(rendered) => rendered,
        Err(error) => {
            let message = format!("The configuration of the collector cannot be written: {error}.");
            let finding = Finding::fails(ConditionType::Programmed, Reason::InvalidSpec, message);
            plan.blocked.push((of_whole(mesh), finding));
            return;
        }
    };
    let tell = [Target::Mesh(name_of(mesh).to_owned())];
    for (kind, object) in rendered {
        let key = key_of(&object);
        let live = match view.object(kind, &key) {
            Fact::Present(live) => Some(live),
            Fact::Absent => None,
            Fact::Unknown => return,
            Fact::KindMissing => {
                let message = "The API server does not know OpenTelemetryCollector of opentelemetry.io; install OpenTelemetry's operator, or set spec.collector.mode: Workload.";
                plan.blocked.push((
                    key,
                    fails(Reason::OpenTelemetryOperatorNotInstalled, message.to_owned()),
                ));
                return;
            }
            Fact::Forbidden => {
                let message = may_not_read(kind, &key, noted.form());
                plan.blocked.push((key, fails(Reason::Forbidden, message)));
                return;
            }
        };
        let rules = WriteRules {
            adopt: false,
            how_to_adopt: None,
            wholly_ours: if kind == Kind::ConfigMap { &["/data"] } else { &[] },
            tell: &tell,
            view,
        };
        plan_object(plan, kind, object, live, &rules);
    }
}

fn fails(reason: Reason, message: String) -> Finding {
    Finding::fails(ConditionType::Programmed, reason, message)
}

fn may_not_read(kind: Kind, key: &Key, form: Form) -> String {
    let name = kind.names().1;
    match form {
        Form::Operator => format!(
            "Sightline may not read {name}s; install the ClusterRole of config/rbac (in the chart: features.collector)."
        ),
        Form::Workload => format!(
            "Sightline may not read {name} {key}; give it the Role that `sightline rbac --collector-namespace {}` prints (in the chart: namespaces.collectors).",
            key.namespace
        ),
    }
}

/// Whether an object is one that we made for the collector of a mesh.
fn is_of_collector(live: &Value, mesh: &ObservabilityMesh) -> bool {
    let labels = labels_of(live);
    is_ours(live)
        && labels.contains_key(COLLECTOR_LABEL)
        && labels.get(MESH_LABEL).is_some_and(|of| of == name_of(mesh))
}

/// Whether the collector of a mesh stands as rendered.
///
/// # Errors
/// The finding why not.
pub fn stands(view: &View<'_>, mesh: &ObservabilityMesh) -> Result<(), Finding> {
    let Some(noted) = wanted(view, mesh)? else {
        return Ok(());
    };
    let of_collector = plan(view, name_of(mesh));
    if let Some((_, finding)) = of_collector.blocked.into_iter().next() {
        return Err(finding);
    }
    for (kind, key) in noted.objects() {
        let name = kind.names().1;
        let is_due = of_collector
            .apply
            .iter()
            .any(|apply| apply.kind == kind && key_of(&apply.object) == key);
        match view.object(kind, &key) {
            Fact::Present(_) if !is_due => {}
            Fact::Unknown => {
                let message = format!("{name} {key} has not been read yet.");
                return Err(Finding::unknown(
                    ConditionType::Programmed,
                    Reason::FactsPending,
                    message,
                ));
            }
            _ => {
                let pending = || fails(Reason::Pending, format!("{name} {key} is not written yet; wait."));
                return Err(refusal::finding(view, kind, &key, None).unwrap_or_else(pending));
            }
        }
    }
    Ok(())
}

/// Objects of the collector of a mesh that are there: those of the present spec and those that its status notes.
pub fn live_objects<'a>(view: &View<'a>, mesh: &ObservabilityMesh) -> Vec<(Kind, Key, Fact<&'a Value>)> {
    let noted = Noted::of(mesh);
    let all = noted.iter().flat_map(Noted::objects);
    all.map(|(kind, key)| {
        let live = view.object(kind, &key);
        (kind, key, live)
    })
    .collect()
}

/// Whether objects of the collector of a mesh are left; `None`: not known yet. What may not be looked at does not hold it.
pub fn are_left(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<bool> {
    let mut left = false;
    for (_, _, live) in live_objects(view, mesh) {
        match live {
            Fact::Present(live) => left |= is_of_collector(live, mesh),
            Fact::Unknown => return None,
            Fact::Absent | Fact::Forbidden | Fact::KindMissing => {}
        }
    }
    Some(left)
}

/// What a mesh's status says of its collector, or of one that it had until that is gone.
pub fn status(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<CollectorStatus> {
    let former = || Noted::of(mesh);
    let noted = match wanted(view, mesh) {
        Ok(Some(noted)) => Some(noted),
        // While it cannot be told, and until it is gone, what was noted is where to look.
        Err(_) => former(),
        Ok(None) => former().filter(|_| are_left(view, mesh) != Some(false)),
    };
    noted.map(|noted| CollectorStatus {
        runner: noted.to_string(),
        restart_loses: mesh.spec.collector.as_ref().and_then(restart_loses),
    })
}

/// What a restart of a collector can lose: its stop ends retries.
fn restart_loses(collector: &Collector) -> Option<String> {
    if collector.volume.is_some() {
        return None;
    }
    let queues: Vec<String> = collector
        .exporters
        .iter()
        .map(|exporter| format!("{} for exporter {}", queue_size(collector, exporter), exporter.name))
        .collect();
    Some(format!(
        "While a receiver is away, a restart loses what waits for it in memory: batches of up to {} records, at most {}. With spec.collector.volume it loses nothing.",
        collector.batch.size,
        queues.join(" and ")
    ))
}

/// Whether the collector runs what it was last given, on all pods; `None`: not ours to tell, or not written yet.
pub fn runs(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<Result<(), Problem>> {
    let noted = wanted(view, mesh).ok()??;
    let live = view.object(noted.kind, &noted.key).present()?;
    if rolled_out(noted.kind.workload()?, live) {
        return Some(Ok(()));
    }
    let message = format!(
        "{noted} does not run its present configuration on every pod yet. If that stays so, its pods tell why: kubectl -n {} describe pods -l {MESH_LABEL}={}.",
        noted.key.namespace,
        name_of(mesh)
    );
    Some(Err((Reason::RollingOut, message)))
}
