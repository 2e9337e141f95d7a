//! Writes the Telemetries of a namespace.

use std::collections::BTreeMap;

use serde_json::Value;

use super::effective::claims_in_force;
use super::owned::is_ours;
use super::{Apply, Delete, Event, Plan, Target, WriteRules, plan_object};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::policy::claims::{PolicyKind, Source, Sources, WorkloadSet};
use crate::policy::membership::revision_label;
use crate::policy::resolve::{NamespacePolicy, Overlap, resolve};
use crate::render::istio::telemetry::{self, object_name};
use crate::snapshot::{Fact, Key, Kind, View, key_of};

/// Plans them: what every policy of the namespace, and of the mesh's root namespace where no root Telemetry may carry
/// it, comes to. Beside the plan: the policies that were left out, each with one that it overlaps.
pub fn plan(view: &View<'_>, namespace: &str) -> (Plan, Overlapping) {
    let mut plan = Plan::default();
    let fails = |reason, message: &str| {
        let finding = Finding::fails(ConditionType::Programmed, reason, message);
        (
            Plan {
                blocked: vec![(every_object(namespace), finding)],
                ..Plan::default()
            },
            Overlapping::new(),
        )
    };
    let live = match view.objects_in(Kind::Telemetry, namespace) {
        Fact::Present(live) => live,
        Fact::KindMissing => {
            let message = "The API server does not know Telemetry of telemetry.istio.io; install Istio's CRDs.";
            return fails(Reason::IstioNotInstalled, message);
        }
        Fact::Forbidden => {
            let message = "Sightline may not read Telemetries; install the ClusterRole of config/rbac.";
            return fails(Reason::Forbidden, message);
        }
        Fact::Absent | Fact::Unknown => return (plan, Overlapping::new()),
    };
    let gone = match view.object(Kind::Namespace, &Key::new("", namespace)) {
        Fact::Present(namespace) => namespace.pointer("/metadata/deletionTimestamp").is_some(),
        _ => true,
    };
    if gone {
        return (plan, Overlapping::new());
    }
    // While it cannot be told who is served here, what is live stays.
    let Ok(in_force) = claims_in_force(view, namespace) else {
        return (plan, Overlapping::new());
    };
    plan.look_again = in_force.look_again;
    let policy = resolve(&in_force.claims);
    let live: BTreeMap<Key, &Value> = live.into_iter().map(|object| (key_of(object), object)).collect();
    let wanted = render_all(view, namespace, &policy);
    let mut fewer_labels_first: Vec<_> = wanted.iter().collect();
    fewer_labels_first.sort_by_key(|(set, _)| object_name(set));
    let mut again: Vec<&WorkloadSet> = Vec::new();
    for (set, (object, tell)) in fewer_labels_first {
        let live = live.get(&key_of(object)).copied();
        // What selects by more labels has to be younger than what is made again now.
        let waits = again.iter().any(|wider| set.is_within(wider));
        let too_old = live.filter(|live| is_ours(live) && (waits || is_too_old(set, live, &policy, namespace, view)));
        if let Some(live) = too_old {
            make_again(&mut plan, object, live, tell);
            again.push(set);
            continue;
        }
        let rules = WriteRules {
            adopt: false,
            how_to_adopt: None,
            wholly_ours: &["/spec"],
            tell,
        };
        plan_object(&mut plan, Kind::Telemetry, object.clone(), live, &rules);
    }
    let names: Vec<Key> = wanted.values().map(|(object, _)| key_of(object)).collect();
    for (key, object) in live
        .into_iter()
        .filter(|(key, object)| is_ours(object) && !names.contains(key))
    {
        plan.delete.push(Delete {
            kind: Kind::Telemetry,
            key,
            uid: uid_of(object),
        });
    }
    (plan, policy.overlapping)
}

/// Stands for all objects of a namespace where none can be written.
pub fn every_object(namespace: &str) -> Key {
    Key::new(namespace, "")
}

/// Policies that were left out because too many selectors overlap.
type Overlapping = Vec<(Source, Option<Overlap>)>;

type Wanted = BTreeMap<WorkloadSet, (Value, Vec<Target>)>;

fn render_all(view: &View<'_>, namespace: &str, policy: &NamespacePolicy) -> Wanted {
    let render = |(set, object): (&WorkloadSet, &crate::policy::resolve::ObjectPolicy)| {
        let revision = telemetry::mesh_of(object).and_then(|mesh| revision_label(view.mesh(mesh)?));
        let rendered = telemetry::render(namespace, &object_name(set), set, object, revision.as_deref());
        (set.clone(), (rendered, contributors(&object.sources)))
    };
    policy.objects.iter().map(render).collect()
}

fn contributors(sources: &Sources) -> Vec<Target> {
    let resources = sources.resources().into_iter();
    resources
        .map(|source| {
            let key = Key::new(&source.namespace, &source.name);
            match source.kind {
                PolicyKind::TrafficLog => Target::TrafficLog(key),
                PolicyKind::TracingBackend => Target::TracingBackend(key),
                PolicyKind::ObservabilityMesh => Target::Mesh(key.name),
            }
        })
        .collect()
}

/// Istio applies objects with overlapping selectors oldest first: one that selects by more labels has to be newer than
/// each that selects by fewer of them. Within one second the name decides, and names are made for it.
fn is_too_old(set: &WorkloadSet, live: &Value, policy: &NamespacePolicy, namespace: &str, view: &View<'_>) -> bool {
    let Some(created) = creation(live) else { return false };
    let fewer = policy
        .objects
        .keys()
        .filter(|other| !other.is_namespace() && *other != set && set.is_within(other));
    fewer.into_iter().any(|other| {
        let key = Key::new(namespace, object_name(other));
        match view.object(Kind::Telemetry, &key) {
            Fact::Present(other) => creation(other).is_some_and(|other| other > created),
            // It is about to be made, and would be the newer one.
            _ => true,
        }
    })
}

/// RFC 3339 in UTC to the second: sorts as text.
fn creation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/creationTimestamp").and_then(Value::as_str)
}

/// In one step: the live object may hold the only copy of a policy's last good claim.
fn make_again(plan: &mut Plan, object: &Value, live: &Value, tell: &[Target]) {
    let key = key_of(object);
    let note = format!("Telemetry {key} was older than one of a wider set of workloads and is made again.");
    plan.events.extend(tell.iter().map(|about| Event {
        about: about.clone(),
        warning: false,
        reason: "Recreated",
        note: note.clone(),
    }));
    let kind = Kind::Telemetry;
    plan.desired.push((kind, object.clone()));
    plan.apply.push(Apply {
        kind,
        object: object.clone(),
        prune: Vec::new(),
        live: None,
        replaces: Some(Delete {
            kind,
            key,
            uid: uid_of(live),
        }),
    });
}

/// UID of an object.
pub fn uid_of(object: &Value) -> Option<String> {
    object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .map(str::to_owned)
}
