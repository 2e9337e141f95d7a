//! Judges the three kinds: what their status says.

pub mod mesh;
pub mod tracing_backend;
pub mod traffic_log;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Event, Plan, Target, control_plane, mesh_config, refusal_message, rollout, telemetries};
use crate::conditions::{ConditionType, Finding, Reason, Truth, some_names};
use crate::crds::ObservabilityMesh;
use crate::policy::claims::{Checked, Claim};
use crate::policy::membership::{MeshScope, istio_of, mesh_scope, name_of, root_namespace, selects, shared_map_of};
use crate::policy::resolve::{MAX_SETS, Overlap};
use crate::render::istio::telemetry::object_name;
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

fn insert_mesh(fields: &mut Map<String, Value>, mesh: Option<&Arc<ObservabilityMesh>>) {
    if let Some(mesh) = mesh {
        fields.insert("mesh".into(), Value::from(name_of(mesh)));
    }
}

/// The condition that the target cannot say some of a spec.
fn not_expressed<C>(checked: &Checked<'_, C>) -> Option<Finding> {
    (!checked.not_expressed.is_empty()).then(|| {
        let message = format!("Not expressible and left out: {}.", checked.not_expressed.join(", "));
        Finding::holds(ConditionType::PartiallyExpressed, Reason::NotExpressible, message)
    })
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

/// `Programmed` of a policy with a claim: its providers can be named, and each object that carries it stands as wanted.
fn programmed<C: Claim>(view: &View<'_>, plan: &mut Plan, checked: &Checked<'_, C>, claim: &C) -> Finding {
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
    if let Err(not_usable) = control_plane::usable(view, mesh, &istio, &checked.providers, claim.switches_off()) {
        if let Some(at) = not_usable.look_again {
            plan.look_again_at(at);
        }
        return not_usable.finding;
    }
    let source = claim.source();
    let namespaces = rendered_in(view, checked, claim);
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
        let (of_namespace, overlapping) = telemetries::plan(view, namespace);
        if let Some((_, other)) = overlapping.into_iter().find(|(out, _)| out.is_same_object(source)) {
            return overlaps(namespace, other);
        }
        for set in claim.selection().sets() {
            let key = Key::new(namespace, object_name(&set));
            match stands(view, &of_namespace, &key) {
                Ok(true) => {}
                Ok(false) => pending.push(key.to_string()),
                Err(finding) => return finding,
            }
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

/// The namespaces whose objects a policy with a claim is part of.
pub(crate) fn rendered_in<C: Claim>(view: &View<'_>, checked: &Checked<'_, C>, claim: &C) -> Vec<String> {
    let namespace = &claim.source().namespace;
    match checked.mesh {
        Some(mesh) if is_per_namespace(view, mesh, claim) => selected_namespaces(view, mesh, namespace),
        _ => vec![namespace.clone()],
    }
}

/// Whether a Telemetry stands as wanted.
///
/// # Errors
/// The finding of why it cannot be written.
fn stands(view: &View<'_>, of_namespace: &Plan, key: &Key) -> Result<bool, Finding> {
    let every = telemetries::every_object(&key.namespace);
    if let Some((_, finding)) = of_namespace.blocked.iter().find(|(at, _)| at == key || *at == every) {
        return Err(finding.clone());
    }
    let is_written = of_namespace.apply.iter().all(|a| key_of(&a.object) != *key)
        && of_namespace.delete.iter().all(|d| d.key != *key)
        && matches!(view.object(Kind::Telemetry, key), Fact::Present(_));
    match refused(view, Kind::Telemetry, key).filter(|_| !is_written) {
        Some(finding) => Err(finding),
        None => Ok(is_written),
    }
}

fn overlaps(namespace: &str, other: Option<Overlap>) -> Finding {
    let apart = other.map_or_else(
        || "give the policies a label that keeps them apart".to_owned(),
        |o| {
            format!(
                "this one overlaps {}: select by label {} with different values in both to keep them apart",
                o.with, o.label
            )
        },
    );
    let message = format!("The selectors of namespace {namespace} overlap in more than {MAX_SETS} sets; {apart}.");
    Finding::fails(ConditionType::Programmed, Reason::Overlaps, message)
}

/// Whether a policy holds for the whole mesh and is rendered in each of its namespaces, because a Telemetry in the root
/// namespace would reach others too.
fn is_per_namespace<C: Claim>(view: &View<'_>, mesh: &ObservabilityMesh, claim: &C) -> bool {
    istio_of(mesh).is_some_and(|istio| {
        claim.selection().is_namespace()
            && root_namespace(view, &istio).is_ok_and(|root| root == claim.source().namespace)
            && mesh_scope(view, mesh, &istio).is_ok_and(|scope| scope == MeshScope::PerNamespace)
    })
}

/// The mesh whose policies alone compete with this one: those of two meshes stand together in a root namespace that both
/// share, and are rendered in different ones.
fn only_rivals_of<'m, C: Claim>(view: &View<'_>, checked: &Checked<'m, C>) -> Option<&'m str> {
    let (mesh, claim) = (checked.mesh?, checked.claim.as_ref()?);
    is_per_namespace(view, mesh, claim).then(|| name_of(mesh))
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
