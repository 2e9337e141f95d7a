//! Writes the Telemetries of a namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::control_plane::later;
use super::effective::{Lane, claims_in_force, sources_of};
use super::foreign::{self, Beside};
use super::owned::is_ours;
use super::{Apply, Delete, Event, Plan, Target, WriteRules, digest_of, plan_object, services};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::policy::claims::{Source, Sources, WorkloadSet};
use crate::policy::membership::{istio_of, revision_label};
use crate::policy::resolve::{NamespacePolicy, ObjectPolicy, Overlap, resolve};
use crate::render::istio::telemetry::{self, Identity, object_name};
use crate::render::metadata::SOURCES;
use crate::snapshot::{Fact, Key, Kind, View, key_of};

/// The Telemetries of a namespace.
#[derive(Default)]
pub struct Telemetries {
    /// What to do about them.
    pub plan: Plan,
    /// Policies that were left out because too many selectors overlap, each with one that it overlaps.
    pub overlapping: Vec<(Source, Option<Overlap>)>,
    /// The object of each set of workloads.
    pub ours: BTreeMap<WorkloadSet, Ours>,
}

/// A Telemetry of ours.
pub struct Ours {
    /// Where it stands.
    pub key: Key,
    /// The claims that it is made of.
    pub sources: Sources,
    /// Those of somebody else that Istio heeds beside it, or ignores because of it.
    pub beside: Vec<Beside>,
}

impl Telemetries {
    /// The object of a set of workloads: a Telemetry of somebody else that was adopted, or the one of the usual name.
    pub fn key_of(&self, namespace: &str, set: &WorkloadSet) -> Key {
        let ours = self.ours.get(set).map(|ours| ours.key.clone());
        ours.unwrap_or_else(|| Key::new(namespace, object_name(set)))
    }

    fn blocked(namespace: &str, reason: Reason, message: &str) -> Self {
        let finding = Finding::fails(ConditionType::Programmed, reason, message);
        let plan = Plan {
            blocked: vec![(every_object(namespace), finding)],
            ..Plan::default()
        };
        Self {
            plan,
            ..Self::default()
        }
    }
}

/// Parts of a Telemetry in which nothing of anybody else may stand. One that was taken over may carry a revision of which
/// we know better.
const WHOLLY_OURS: [&str; 2] = ["/spec", "/metadata/labels/istio.io~1rev"];

/// Plans them: what every policy of the namespace, and of the mesh's root namespace where no root Telemetry may carry
/// it, comes to.
///
/// One that Istio ignores because of an older one of somebody else is written all the same: it takes effect at once when
/// theirs goes. One that was taken over goes like our own when nobody contributes any more: its whole spec is ours, and
/// names providers that go away.
pub fn plan(view: &View<'_>, namespace: &str) -> Telemetries {
    let mut plan = Plan::default();
    let live = match view.objects_in(Kind::Telemetry, namespace) {
        Fact::Present(live) => live,
        Fact::KindMissing => {
            let message = "The API server does not know Telemetry of telemetry.istio.io; install Istio's CRDs.";
            return Telemetries::blocked(namespace, Reason::IstioNotInstalled, message);
        }
        Fact::Forbidden => {
            let message = "Sightline may not read Telemetries; install the ClusterRole of config/rbac.";
            return Telemetries::blocked(namespace, Reason::Forbidden, message);
        }
        Fact::Absent | Fact::Unknown => return Telemetries::default(),
    };
    let gone = match view.object(Kind::Namespace, &Key::new("", namespace)) {
        Fact::Present(namespace) => namespace.pointer("/metadata/deletionTimestamp").is_some(),
        _ => true,
    };
    if gone {
        return Telemetries::default();
    }
    // While it cannot be told who is served here, what is live stays.
    let Ok(in_force) = claims_in_force(view, namespace, Lane::Istio) else {
        return Telemetries::default();
    };
    plan.look_again = in_force.look_again;
    let policy = resolve(&in_force.claims);
    let live: BTreeMap<Key, &Value> = live.into_iter().map(|object| (key_of(object), object)).collect();
    let revisions = revisions_of(view, &policy);
    let places = foreign::places(namespace, &revisions, &live);
    let mut wanted = Wanted::new();
    for (set, object) in &policy.objects {
        let Some(key) = places.get(set) else { continue };
        let rendered = render(view, set, object, key, live.get(key).copied(), &mut plan);
        wanted.insert(set.clone(), (rendered, contributors(&object.sources)));
    }
    write(view, &wanted, &live, &places, &mut plan);
    let ours = policy.objects.into_iter().filter_map(|(set, object)| {
        let (rendered, _) = wanted.get(&set)?;
        let ours = Ours {
            key: key_of(rendered),
            sources: object.sources,
            beside: foreign::beside(&set, rendered, &live, &places, revisions.get(&set)?),
        };
        Some((set, ours))
    });
    Telemetries {
        ours: ours.collect(),
        plan,
        overlapping: policy.overlapping,
    }
}

/// Stands for all objects of a namespace where none can be written.
pub fn every_object(namespace: &str) -> Key {
    Key::new(namespace, "")
}

type Wanted = BTreeMap<WorkloadSet, (Value, Vec<Target>)>;

/// Plans applies and deletes, fewer labels first.
fn write(
    view: &View<'_>,
    wanted: &Wanted,
    live: &BTreeMap<Key, &Value>,
    places: &BTreeMap<WorkloadSet, Key>,
    plan: &mut Plan,
) {
    let mut fewer_labels_first: Vec<_> = wanted.iter().collect();
    fewer_labels_first.sort_by_key(|(set, _)| object_name(set));
    let mut again: Vec<&WorkloadSet> = Vec::new();
    for (set, (object, tell)) in fewer_labels_first {
        let live = live.get(&key_of(object)).copied();
        // What selects by more labels has to be younger than what is made again now.
        let waits = again.iter().any(|wider| set.is_within(wider));
        let too_old = live.filter(|live| is_ours(live) && (waits || is_too_old(view, set, live, places)));
        match too_old.map(|live| (live, may_be_younger(live))) {
            // Made again within the same second it would be as old as it is.
            Some((_, Some(at))) if at > view.now => plan.look_again_at(at),
            Some((live, _)) => {
                make_again(plan, object, live, tell);
                again.push(set);
                continue;
            }
            None => {}
        }
        let rules = WriteRules {
            adopt: false,
            how_to_adopt: None,
            wholly_ours: &WHOLLY_OURS,
            tell,
            view,
        };
        plan_object(plan, Kind::Telemetry, object.clone(), live, &rules);
    }
    let mut names: BTreeSet<Key> = wanted.values().map(|(object, _)| key_of(object)).collect();
    // Ours goes when what is taken over in its place is: that may be refused.
    let not_yet_ours = places
        .iter()
        .filter(|(_, key)| live.get(key).is_some_and(|live| !is_ours(live)));
    names.extend(not_yet_ours.map(|(set, key)| Key::new(&key.namespace, object_name(set))));
    for (key, object) in live
        .iter()
        .filter(|(key, object)| is_ours(object) && !names.contains(key))
    {
        plan.delete.push(Delete {
            kind: Kind::Telemetry,
            key: key.clone(),
            uid: uid_of(object),
        });
    }
}

/// The revisions of istiod that read each set's object.
fn revisions_of(view: &View<'_>, policy: &NamespacePolicy) -> BTreeMap<WorkloadSet, BTreeSet<String>> {
    let of_object = |object: &ObjectPolicy| {
        let meshes = object.sources.meshes().into_iter();
        let istios = meshes.filter_map(|mesh| istio_of(view.mesh(mesh)?));
        istios.flat_map(|istio| istio.revisions).collect()
    };
    let objects = policy.objects.iter();
    objects.map(|(set, object)| (set.clone(), of_object(object))).collect()
}

fn render(
    view: &View<'_>,
    set: &WorkloadSet,
    object: &ObjectPolicy,
    key: &Key,
    live: Option<&Value>,
    plan: &mut Plan,
) -> Value {
    let revision = revision_of(view, &object.sources);
    let (services, look_again) = services::annotation(view, object, live);
    if let Some(at) = look_again {
        plan.look_again_at(at);
    }
    let identity = Identity {
        key: key.clone(),
        adopted: live.is_some_and(|live| foreign::is_adopted(live, set)),
        revision,
        services,
    };
    let mut rendered = telemetry::render(&identity, set, object);
    if let Some(live) = live {
        keep_what_says_the_same(&mut rendered, live);
    }
    rendered
}

/// Keeps the live record of claims where only generations differ: each write makes istiod push to every proxy in scope.
pub fn keep_what_says_the_same(rendered: &mut Value, live: &Value) {
    let text = live.pointer("/metadata/annotations").and_then(|all| all.get(SOURCES));
    let says_the_same = sources_of(live).says_the_same(&sources_of(rendered));
    let annotations = rendered
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let (Some(text), Some(annotations)) = (text, annotations.filter(|_| says_the_same)) {
        annotations.insert(SOURCES.to_owned(), text.clone());
    }
}

/// The value of the label `istio.io/rev`. An object of meshes that would not write the same one has none: the label would
/// hide the claims of one from the istiod that it is for.
fn revision_of(view: &View<'_>, sources: &Sources) -> Option<String> {
    let meshes = sources.meshes().into_iter();
    let mut labels: BTreeSet<Option<String>> = meshes.map(|mesh| revision_label(view.mesh(mesh)?)).collect();
    let first = labels.pop_first()?;
    first.filter(|_| labels.is_empty())
}

/// The resources that an object is made of, to be told of it.
pub fn contributors(sources: &Sources) -> Vec<Target> {
    sources.resources().into_iter().map(Target::from).collect()
}

/// Istio applies objects with overlapping selectors oldest first: one that selects by more labels has to be newer than
/// each that selects by fewer of them. Within one second the name decides: our own are made for it, those of objects that
/// were taken over are not.
fn is_too_old(view: &View<'_>, set: &WorkloadSet, live: &Value, places: &BTreeMap<WorkloadSet, Key>) -> bool {
    if created(live).is_none() {
        return false;
    }
    let mut fewer = places
        .iter()
        .filter(|(other, _)| !other.is_namespace() && *other != set && set.is_within(other));
    fewer.any(|(_, key)| match view.object(Kind::Telemetry, key) {
        Fact::Present(other) => created(other).is_some() && foreign::age(other) > foreign::age(live),
        // It is about to be made, and would be the newer one.
        _ => true,
    })
}

fn created(object: &Value) -> Option<Timestamp> {
    let text = object.pointer("/metadata/creationTimestamp")?.as_str()?;
    text.parse().ok()
}

/// When an object that is made again would be younger than this one.
fn may_be_younger(live: &Value) -> Option<Timestamp> {
    Some(later(created(live)?, Duration::from_secs(1)))
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
        digest: digest_of(object),
        edited: String::new(),
    });
}

/// UID of an object.
pub fn uid_of(object: &Value) -> Option<String> {
    object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .map(str::to_owned)
}
