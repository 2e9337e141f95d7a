//! Writes what policies come to in Kuma: the objects of one namespace's policies, and the receivers of one mesh.
//!
//! All of them stand in Kuma's system namespace, but what 2.x had before policies ([`legacy`]), which has none. Whose they are, labels tell: the ObservabilityMesh and the namespace.

mod defaults;
pub mod foreign;
pub mod legacy;
pub mod proof;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use foreign::Beside;

use super::effective::{Lane, claims_in_force};
use super::owned::{difference, is_ours};
use super::telemetries::{contributors, keep_what_says_the_same, uid_of};
use super::{Delete, Plan, Target, WriteRules, mesh_config, plan_object, refusal};
use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{KumaMesh, ObservabilityMesh};
use crate::policy::claims::{Source, Sources};
use crate::policy::membership::{is_live, name_of};
use crate::policy::proxies::{cannot_be_written, knows, kuma_of};
use crate::policy::resolve::{Overlap, resolve};
use crate::render::Provider;
use crate::render::kuma::backend::RECEIVER;
use crate::render::kuma::legacy::KINDS;
use crate::render::kuma::policy::{NAMESPACE, POLICIES, Place};
use crate::render::kuma::versions::{Knows, Receivers};
use crate::render::metadata::MESH_LABEL;
use crate::snapshot::{Fact, Key, Kind, Snapshot, View, key_of, labels_of};

/// The objects that a namespace's policies come to.
#[derive(Default)]
pub struct Policies {
    /// What to do about them.
    pub plan: Plan,
    /// Policies that were left out because too many selectors overlap, each with one that it overlaps.
    overlapping: Vec<(Source, Option<Overlap>)>,
    /// Policies whose backend finds no place in a TrafficLog of kuma.io, which names one: theirs, and the one that it names.
    left_out: Vec<(Source, String, String)>,
    ours: Vec<Ours>,
}

/// An object of ours.
struct Ours {
    kind: Kind,
    key: Key,
    /// The claims that it is made of.
    sources: Sources,
    /// Policies of somebody else that Kuma heeds beside it, or not because of it.
    beside: Vec<Beside>,
    /// Whether Kuma finds the receivers that the live one names.
    resolves: Result<(), Finding>,
}

impl Ours {
    /// Whether a resource contributes to it.
    fn is_of(&self, mesh: &ObservabilityMesh, source: &Source) -> bool {
        let resources = self.sources.resources();
        self.sources.meshes().contains(name_of(mesh)) && resources.iter().any(|of| of.is_same_object(source))
    }
}

/// Plans the objects of a namespace's policies, of each mesh of Kuma's for itself. While it cannot be told who is served
/// here, or which version runs, what is live stays.
pub fn plan(view: &View<'_>, namespace: &str) -> Policies {
    let mut all = Policies::default();
    for mesh in view.meshes() {
        if let Some(kuma) = kuma_of(mesh) {
            of_mesh(view, mesh, &kuma, namespace, &mut all);
        }
    }
    all
}

fn of_mesh(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, kuma: &KumaMesh, namespace: &str, all: &mut Policies) {
    let lane = Lane::Kuma(mesh);
    let Some(live) = live_of(view, mesh, kuma, namespace) else {
        all.plan.blocked.extend(not_writable(view, kuma));
        return;
    };
    let Ok(in_force) = claims_in_force(view, namespace, lane) else {
        return;
    };
    let policy = resolve(&in_force.claims);
    let mut names = BTreeSet::new();
    if !policy.objects.is_empty() {
        let Ok(knows) = knows(view, kuma) else { return };
        let place = Place {
            is_root: kuma.system_namespace == namespace,
            ..place(mesh, kuma, namespace, knows)
        };
        let objects: Vec<(Kind, Value)> = if kuma.legacy {
            let all_rendered = policy
                .objects
                .iter()
                .map(|(set, object)| place.render_legacy(set, object));
            let mut objects = Vec::new();
            for rendered in all_rendered {
                objects.extend(rendered.objects);
                all.left_out.extend(rendered.left_out);
            }
            objects
        } else {
            let rendered = policy.objects.iter().map(|(set, object)| place.render(set, object));
            rendered.flatten().collect()
        };
        for (kind, mut object) in objects {
            let key = key_of(&object);
            let live = live
                .iter()
                .find(|(of, live)| *of == kind && key_of(live) == key)
                .map(|(_, live)| *live);
            // One of our name that lacks our labels is somebody else's, and stays. It is not asked for by name: that would be a
            // second watch of what the first one brings.
            let unlabelled = objects_for(view, kind, kuma, "").present();
            let unlabelled = unlabelled.unwrap_or_default();
            let live = live.or_else(|| unlabelled.iter().find(|live| key_of(live) == key).copied());
            if let Some(live) = live {
                keep_what_says_the_same(&mut object, live);
            }
            let sources = super::effective::sources_of(&object);
            let tell = contributors(&sources);
            let beside = if kuma.legacy {
                Vec::new()
            } else {
                foreign::beside(kind, &object, unlabelled)
            };
            let bare = live.map(|live| defaults::without_defaults(&object, live));
            plan_object(&mut all.plan, kind, object, bare.as_ref(), &rules(view, &tell));
            names.insert((kind, key.clone()));
            all.ours.push(Ours {
                kind,
                key,
                sources,
                beside,
                resolves: live.map_or(Ok(()), |live| proof::resolves(kind, live)),
            });
        }
    }
    all.plan.look_again = [all.plan.look_again, in_force.look_again].into_iter().flatten().min();
    all.overlapping.extend(policy.overlapping);
    let left = live
        .into_iter()
        .filter(|(kind, object)| !names.contains(&(*kind, key_of(object))));
    all.plan.delete.extend(left.map(|(kind, object)| Delete {
        kind,
        key: key_of(object),
        uid: uid_of(object),
    }));
}

const fn rules<'a>(view: &'a View<'a>, tell: &'a [Target]) -> WriteRules<'a> {
    WriteRules {
        adopt: false,
        how_to_adopt: None,
        // Kuma's webhooks add labels and write defaults into the spec: nothing of that is an edit.
        wholly_ours: &[],
        tell,
        view,
    }
}

fn place<'m>(mesh: &'m ObservabilityMesh, kuma: &'m KumaMesh, namespace: &'m str, knows: Knows) -> Place<'m> {
    Place {
        system_namespace: &kuma.system_namespace,
        kuma_mesh: &kuma.name,
        mesh: name_of(mesh),
        namespace,
        is_root: false,
        knows,
    }
}

/// Our live objects of a mesh that are for a namespace; `None` while they cannot be seen.
pub fn live_of<'a>(
    view: &View<'a>,
    mesh: &ObservabilityMesh,
    kuma: &KumaMesh,
    namespace: &str,
) -> Option<Vec<(Kind, &'a Value)>> {
    let mut live = Vec::new();
    let (written, others) = kinds(kuma);
    for kind in written.iter().chain(others).copied() {
        let objects = match objects_for(view, kind, kuma, namespace) {
            Fact::Present(objects) => objects,
            // What was written before the spec said otherwise: without the right to it, or the kind, there is none.
            _ if others.contains(&kind) => continue,
            _ => return None,
        };
        let objects = objects.into_iter().filter(|object| is_of(object, mesh));
        live.extend(objects.map(|object| (kind, object)));
    }
    Some(live)
}

/// The kinds that a mesh's policies become, and those that they became while the spec said otherwise.
const fn kinds(kuma: &KumaMesh) -> (&'static [Kind], &'static [Kind]) {
    if kuma.legacy {
        (&KINDS, &POLICIES)
    } else {
        (&POLICIES, &KINDS)
    }
}

/// Every kind of object that is, or was, written for a mesh of Kuma's.
pub fn all_kinds() -> impl Iterator<Item = Kind> {
    POLICIES
        .into_iter()
        .chain(KINDS)
        .chain([Kind::MeshOpenTelemetryBackend])
}

/// The namespace that objects of a kind stand in: none where they are of the whole cluster.
pub fn namespace_of(kind: Kind, kuma: &KumaMesh) -> &str {
    if kind.is_namespaced() {
        &kuma.system_namespace
    } else {
        ""
    }
}

fn objects_for<'a>(view: &View<'a>, kind: Kind, kuma: &KumaMesh, namespace: &str) -> Fact<Vec<&'a Value>> {
    view.objects_for(kind, namespace_of(kind, kuma), namespace)
}

fn is_of(object: &Value, mesh: &ObservabilityMesh) -> bool {
    is_ours(object) && labels_of(object).get(MESH_LABEL).is_some_and(|of| of == name_of(mesh))
}

/// Stands for all objects of a system namespace where none can be written.
fn every_object(kuma: &KumaMesh) -> Key {
    Key::new(&kuma.system_namespace, "")
}

/// Why none of Kuma's policies can be written, if so.
fn not_writable(view: &View<'_>, kuma: &KumaMesh) -> Option<(Key, Finding)> {
    let namespace = &kuma.system_namespace;
    let fails = |reason, message: String| {
        let finding = Finding::fails(ConditionType::Programmed, reason, message);
        Some((every_object(kuma), finding))
    };
    let needed: &[Kind] = if kuma.legacy { &legacy::NEEDED } else { &POLICIES };
    needed.iter().copied().find_map(|kind| {
        let (_, name, _) = kind.names();
        match objects_for(view, kind, kuma, "") {
            Fact::KindMissing => {
                let message = format!("The API server does not know {name} of kuma.io; install Kuma's CRDs.");
                fails(Reason::KumaNotInstalled, message)
            }
            Fact::Forbidden if kuma.legacy => Some((every_object(kuma), legacy::forbidden(name))),
            Fact::Forbidden => {
                let message = format!(
                    "Sightline may not read {name} in namespace {namespace}; give it the Role that `sightline rbac --kuma-namespace {namespace}` prints."
                );
                fails(Reason::Forbidden, message)
            }
            Fact::Unknown => {
                let message = format!("{name} in namespace {namespace} have not been read yet.");
                let finding = Finding::unknown(ConditionType::Programmed, Reason::FactsPending, message);
                Some((every_object(kuma), finding))
            }
            Fact::Present(_) | Fact::Absent => None,
        }
    })
}

/// Whether what a resource says of these namespaces stands in Kuma as rendered, and the policies of somebody else beside
/// it.
///
/// # Errors
/// The finding of why it does not.
pub fn stands(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    kuma: &KumaMesh,
    namespaces: &[String],
    source: &Source,
) -> Result<BTreeSet<Beside>, Finding> {
    if let Some((_, finding)) = not_writable(view, kuma) {
        return Err(finding);
    }
    let mut pending = Vec::new();
    let mut beside = BTreeSet::new();
    for namespace in namespaces {
        let policies = plan(view, namespace);
        let mut overlapping = policies.overlapping.iter();
        if let Some((_, other)) = overlapping.find(|(out, _)| out.is_same_object(source)) {
            return Err(super::judge::overlaps(namespace, other.as_ref()));
        }
        let mut left_out = policies.left_out.iter();
        if let Some((_, backend, written)) = left_out.find(|(out, ..)| out.is_same_object(source)) {
            let message = format!(
                "Backend {backend}: a TrafficLog of kuma.io names one backend, and that of the same workloads names {written} of another policy; name one backend, or remove spec.mesh.kuma.legacy."
            );
            return Err(Finding::fails(ConditionType::Programmed, Reason::Overridden, message));
        }
        for ours in policies.ours.iter().filter(|ours| ours.is_of(mesh, source)) {
            if let Some((_, finding)) = policies.plan.blocked.iter().find(|(at, _)| *at == ours.key) {
                return Err(finding.clone());
            }
            let refused = refusal::finding(view, ours.kind, &ours.key, Some(&ours.sources));
            let mut due = policies.plan.apply.iter();
            if due.any(|apply| apply.kind == ours.kind && key_of(&apply.object) == ours.key) {
                if let Some(finding) = refused {
                    return Err(finding);
                }
                pending.push(format!("{} {}", ours.kind.names().1, ours.key));
            } else {
                ours.resolves.clone()?;
            }
            beside.extend(ours.beside.iter().cloned());
        }
    }
    if pending.is_empty() {
        return Ok(beside);
    }
    let message = format!("{} is not written yet; wait.", some_names(pending));
    Err(Finding::fails(ConditionType::Programmed, Reason::Pending, message))
}

/// Whether policies may name these receivers: each has its MeshOpenTelemetryBackend. Kuma takes a policy that names one
/// that is not there, and sends nothing.
///
/// # Errors
/// The finding of `Programmed`.
pub fn usable(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    kuma: &KumaMesh,
    providers: &[Provider],
) -> Result<(), Finding> {
    if kuma.legacy {
        return legacy::usable(view, kuma, providers);
    }
    let type_ = ConditionType::Programmed;
    let knows = knows(view, kuma).map_err(|error| cannot_be_written(type_, error))?;
    for provider in providers {
        let wanted = place(mesh, kuma, "", knows).receiver(provider);
        let kind = Kind::MeshOpenTelemetryBackend;
        let key = key_of(&wanted);
        match receiver(view, kuma, &key) {
            Fact::Present(live) if difference(&wanted, live, &[]).is_none() => {}
            Fact::Forbidden => {
                let namespace = &kuma.system_namespace;
                let message = format!(
                    "Sightline may not read {} in namespace {namespace}; give it the Role that `sightline rbac --kuma-namespace {namespace}` prints.",
                    kind.names().1
                );
                return Err(Finding::fails(type_, Reason::Forbidden, message));
            }
            _ => {
                if let Some(finding) = refusal::finding(view, kind, &key, None) {
                    return Err(finding);
                }
                let message = format!("MeshOpenTelemetryBackend {key} is not written yet; wait.");
                return Err(Finding::fails(type_, Reason::ProviderPending, message));
            }
        }
    }
    Ok(())
}

/// A MeshOpenTelemetryBackend, by the watch that brings all of them: see [`of_mesh`].
fn receiver<'a>(view: &View<'a>, kuma: &KumaMesh, key: &Key) -> Fact<&'a Value> {
    match view.objects_in(Kind::MeshOpenTelemetryBackend, &kuma.system_namespace) {
        Fact::Present(all) => {
            let one = all.into_iter().find(|live| key_of(live) == *key);
            one.map_or(Fact::Absent, Fact::Present)
        }
        Fact::Absent => Fact::Absent,
        Fact::Unknown => Fact::Unknown,
        Fact::Forbidden => Fact::Forbidden,
        Fact::KindMissing => Fact::KindMissing,
    }
}

/// Plans the MeshOpenTelemetryBackends of a mesh: those that its policies need, and those that a live policy still names.
pub fn receivers(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some((mesh, kuma)) = view.mesh(name).and_then(|mesh| Some((mesh, kuma_of(mesh)?))) else {
        return plan;
    };
    let kind = Kind::MeshOpenTelemetryBackend;
    let (Ok(knows), Fact::Present(all)) = (knows(view, &kuma), view.objects_in(kind, &kuma.system_namespace)) else {
        return plan;
    };
    let (needed, complete) = match knows.receivers {
        Receivers::Backend if !kuma.legacy => mesh_config::needed(view, mesh),
        Receivers::Backend | Receivers::Endpoint => Default::default(),
    };
    let tell = [Target::Mesh(name.to_owned())];
    let mut names = BTreeSet::new();
    for provider in needed.values() {
        let object = place(mesh, &kuma, "", knows).receiver(provider);
        let key = key_of(&object);
        let live = all.iter().find(|live| key_of(live) == key).copied();
        plan_object(&mut plan, kind, object, live, &rules(view, &tell));
        names.insert(key);
    }
    let left: Vec<&Value> = all
        .into_iter()
        .filter(|object| is_of(object, mesh) && !names.contains(&key_of(object)))
        .collect();
    if left.is_empty() || (!complete && knows.receivers == Receivers::Backend && !kuma.legacy) {
        return plan;
    }
    // What refers goes first.
    let Some(in_use) = named_receivers(view, &kuma) else {
        return plan;
    };
    let unnamed = left.into_iter().filter(|object| {
        let label = labels_of(object).remove(RECEIVER);
        label.is_none_or(|label| !in_use.contains(&label))
    });
    plan.delete.extend(unnamed.map(|object| Delete {
        kind,
        key: key_of(object),
        uid: uid_of(object),
    }));
    plan
}

/// The receivers that live policies name, ours or not; `None` while they cannot be seen.
fn named_receivers(view: &View<'_>, kuma: &KumaMesh) -> Option<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for kind in POLICIES {
        let Fact::Present(objects) = view.objects_in(kind, &kuma.system_namespace) else {
            return None;
        };
        for object in objects {
            collect(object.get("spec").unwrap_or(&Value::Null), &mut named);
        }
    }
    Some(named)
}

fn collect(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            named.extend(map.get(RECEIVER).and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, named));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, named)),
        _ => {}
    }
}

/// Whether the receivers of a mesh stand as wanted.
///
/// # Errors
/// The finding of why they do not.
pub fn receivers_stand(view: &View<'_>, mesh: &ObservabilityMesh, kuma: &KumaMesh) -> Result<(), Finding> {
    let type_ = ConditionType::Programmed;
    knows(view, kuma).map_err(|error| cannot_be_written(type_, error))?;
    if let Some((_, finding)) = not_writable(view, kuma) {
        return Err(finding);
    }
    if kuma.legacy {
        legacy::stands(view, mesh, kuma)?;
    }
    let plan = receivers(view, name_of(mesh));
    if let Some((_, finding)) = plan.blocked.into_iter().next() {
        return Err(finding);
    }
    let Some(apply) = plan.apply.first() else { return Ok(()) };
    let key = key_of(&apply.object);
    if let Some(finding) = refusal::finding(view, apply.kind, &key, None) {
        return Err(finding);
    }
    let message = format!("MeshOpenTelemetryBackend {key} is not written yet; wait.");
    Err(Finding::fails(type_, Reason::Pending, message))
}

/// Whether objects of ours for a mesh are left; `None`: not known yet. What may not be looked at does not hold it.
pub fn are_left(view: &View<'_>, mesh: &ObservabilityMesh, kuma: &KumaMesh) -> Option<bool> {
    let (_, others) = kinds(kuma);
    for kind in all_kinds() {
        match view.objects_in(kind, namespace_of(kind, kuma)) {
            Fact::Present(all) if all.iter().any(|object| is_of(object, mesh)) => return Some(true),
            Fact::Unknown if !others.contains(&kind) => return None,
            _ => {}
        }
    }
    Some(!legacy::left(view, mesh)?.is_empty())
}

/// Namespaces that live objects of ours are for: one that is gone from the cluster may have some left.
pub fn namespaces_with_objects(snapshot: &Snapshot) -> BTreeSet<String> {
    let objects = POLICIES
        .into_iter()
        .chain(KINDS)
        .flat_map(|kind| snapshot.objects(kind));
    let ours = objects.filter(|(_, object)| is_ours(object));
    ours.filter_map(|(_, object)| labels_of(object).remove(NAMESPACE))
        .collect()
}

/// Our finding of a mesh that is being deleted.
pub fn is_leaving(mesh: &ObservabilityMesh) -> Option<Finding> {
    (!is_live(mesh)).then(|| {
        let message = "The mesh is being deleted: its policies go first, then its receivers.";
        Finding::fails(ConditionType::Programmed, Reason::Deleting, message)
    })
}
