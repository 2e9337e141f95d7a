//! Writes our backends to a Mesh of Kuma 2.x, and takes them out again. The Mesh is somebody else's, and its spec has no
//! schema: server-side apply would take whole lists. So it is a JSON patch of that very version of it, which changes nothing
//! but our entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch, PatchOperation, TestOperation};
use serde_json::Value;

use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{KumaMesh, ObservabilityMesh};
use crate::plan::owned::last_manager;
use crate::plan::{Event, MOST_REVERTS, ObjectPatch, Plan, Target, contested, digest_of, mesh_config, refusal};
use crate::policy::membership::{is_live, name_of};
use crate::policy::proxies::{cannot_be_written, knows, kuma_of};
use crate::render::Provider;
use crate::render::kuma::legacy::{KINDS, Section, covers, entry, has_entries, with_backends};
use crate::render::metadata::{FIELD_MANAGER, FINALIZER};
use crate::snapshot::{Fact, Key, Kind, View, key_of};

/// Kinds that a mesh written as 2.x was before policies needs.
pub const NEEDED: [Kind; 3] = [Kind::KumaMesh, KINDS[0], KINDS[1]];

/// Plans the Mesh of an ObservabilityMesh of Kuma's, and each in which backends are left that no ObservabilityMesh writes
/// any more, as `spec.mesh.kuma` names another one now or legacy was switched off.
pub fn plan(view: &View<'_>, name: &str) -> Plan {
    let mut plan = Plan::default();
    let Some((_, own)) = view.mesh(name).and_then(|mesh| Some((mesh, kuma_of(mesh)?))) else {
        return plan;
    };
    let Fact::Present(meshes) = view.objects_in(Kind::KumaMesh, "") else {
        return plan;
    };
    for live in meshes {
        let writers = writers_of(view, &key_of(live).name);
        if key_of(live).name == own.name || (writers.is_empty() && has_entries(live)) {
            of_mesh(view, live, &writers, name, &mut plan);
        }
    }
    plan
}

/// The live meshes whose backends stand in a Mesh.
fn writers_of<'a>(view: &View<'a>, kuma_mesh: &str) -> Vec<&'a Arc<ObservabilityMesh>> {
    let writes = |mesh: &&'a Arc<ObservabilityMesh>| {
        kuma_of(mesh).is_some_and(|kuma| kuma.legacy && kuma.name == kuma_mesh) && is_live(mesh)
    };
    view.meshes().filter(writes).collect()
}

fn of_mesh(view: &View<'_>, live: &Value, writers: &[&Arc<ObservabilityMesh>], own: &str, plan: &mut Plan) {
    let key = key_of(live);
    let mut wanted = BTreeMap::new();
    for mesh in writers {
        let (needed, complete) = mesh_config::needed(view, mesh);
        // While a policy cannot be judged, what is there may be what it needs.
        if !complete || kuma_of(mesh).is_none_or(|kuma| knows(view, &kuma).is_err()) {
            return;
        }
        wanted.extend(needed);
    }
    // What refers goes first.
    let Some(named) = named_backends(view, &key.name) else {
        return;
    };
    let kept: Vec<Provider> = Section::ALL
        .into_iter()
        .flat_map(|section| named.iter().map(move |name| (section, name)))
        .filter(|(_, name)| !wanted.contains_key(*name))
        .filter_map(|(section, name)| as_provider(live, section, name))
        .collect();
    let all: Vec<&Provider> = wanted.values().chain(&kept).collect();
    let (after, refused) = with_backends(live, &all);
    if let Some(why) = refused {
        let message = format!("Mesh {}: {why}.", key.name);
        let finding = Finding::fails(ConditionType::Programmed, Reason::NotOurs, message);
        plan.blocked.push((key.clone(), finding));
    }
    if after == *live {
        if !all.is_empty() {
            plan.desired.push((Kind::KumaMesh, after));
        }
        return;
    }
    if !writers.iter().all(|mesh| has_finalizer(mesh)) {
        return;
    }
    let digest = digest_of(&all.iter().map(|provider| provider.entry.clone()).collect());
    let contest = view.contest(Kind::KumaMesh, &key);
    let stood = contest.is_some_and(|contest| contest.stood(&digest));
    let edited = if stood { edited(live, &all) } else { String::new() };
    if let Some(until) = contest.and_then(|c| c.waits_until(&digest, &edited, MOST_REVERTS, view.now)) {
        plan.look_again_at(until);
        let field = format!("spec ({edited})");
        let finding = contested(Kind::KumaMesh.names().1, &key, &field, &manager_of(live), until);
        plan.blocked.push((key, finding));
        return;
    }
    let manager = manager_of(live);
    if !edited.is_empty() && manager != FIELD_MANAGER {
        plan.events.push(Event {
            about: Target::Mesh(own.to_owned()),
            warning: true,
            reason: "DriftReverted",
            note: format!(
                "Mesh {}: backend {edited} of Sightline was changed or removed by {manager}; put back.",
                key.name
            ),
        });
    }
    plan.patch.push(ObjectPatch {
        kind: Kind::KumaMesh,
        key,
        patch: change(live, &after),
        starts: None,
        wanted: Some(digest),
        edited,
    });
    plan.desired.push((Kind::KumaMesh, after));
}

/// The change of this very version of a Mesh: whoever was faster is read first.
fn change(live: &Value, after: &Value) -> Patch {
    let tests = ["uid", "resourceVersion"].into_iter().filter_map(|field| {
        let value = live.pointer("/metadata")?.get(field)?.clone();
        let path = PointerBuf::from_tokens(["metadata", field]);
        Some(PatchOperation::Test(TestOperation { path, value }))
    });
    Patch(tests.chain(json_patch::diff(live, after).0).collect())
}

fn has_finalizer(mesh: &ObservabilityMesh) -> bool {
    mesh.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

fn manager_of(live: &Value) -> String {
    last_manager(live, "/spec").unwrap_or_else(|| "somebody".into())
}

/// Names of our backends that somebody took out or changed.
fn edited(live: &Value, wanted: &[&Provider]) -> String {
    let stands = |provider: &Provider| stands_in(live, provider);
    let names = wanted.iter().filter(|provider| !stands(provider));
    some_names(names.map(|provider| &provider.name))
}

fn stands_in(mesh: &Value, provider: &Provider) -> bool {
    let Some((section, wanted)) = Section::of(provider) else {
        return false;
    };
    let stands = entry(mesh, section, &provider.name).is_some_and(|live| covers(wanted, live));
    let enabled = mesh.pointer("/spec/metrics/enabledBackend").and_then(Value::as_str);
    stands && (section != Section::Metrics || enabled == Some(&provider.name))
}

/// A backend of ours as it stands.
fn as_provider(mesh: &Value, section: Section, name: &str) -> Option<Provider> {
    let live = entry(mesh, section, name).filter(|_| name.starts_with(crate::render::kuma::legacy::PREFIX))?;
    Some(Provider {
        name: name.to_owned(),
        entry: Value::from_iter([(section.name().to_owned(), live.clone())]),
    })
}

/// The backends that live TrafficLogs and TrafficTraces of a Mesh name, ours or not; `None` while they cannot be seen.
fn named_backends(view: &View<'_>, kuma_mesh: &str) -> Option<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for kind in KINDS {
        let objects = match view.objects_in(kind, "") {
            Fact::Present(objects) => objects,
            Fact::Absent | Fact::KindMissing => continue,
            Fact::Unknown | Fact::Forbidden => return None,
        };
        let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let of_mesh = objects
            .into_iter()
            .filter(|object| text(object, "/mesh").as_deref().unwrap_or("default") == kuma_mesh);
        named.extend(of_mesh.filter_map(|object| text(object, "/spec/conf/backend")));
    }
    Some(named)
}

/// Whether TrafficLogs and TrafficTraces may name these backends: each stands in the Mesh. Kuma takes one that names a
/// backend which is not there, and writes nothing.
///
/// # Errors
/// The finding of `Programmed`.
pub fn usable(view: &View<'_>, kuma: &KumaMesh, providers: &[Provider]) -> Result<(), Finding> {
    let type_ = ConditionType::Programmed;
    knows(view, kuma).map_err(|error| cannot_be_written(type_, error))?;
    if providers.is_empty() {
        return Ok(());
    }
    let live = mesh(view, kuma)?;
    let Some(missing) = providers.iter().find(|provider| !stands_in(live, provider)) else {
        return Ok(());
    };
    if let Some(finding) = refusal::finding(view, Kind::KumaMesh, &Key::new("", &kuma.name), None) {
        return Err(finding);
    }
    let message = format!(
        "Backend {} is not written to Mesh {} yet; wait.",
        missing.name, kuma.name
    );
    Err(Finding::fails(type_, Reason::ProviderPending, message))
}

/// The Mesh of Kuma's that an ObservabilityMesh is.
fn mesh<'a>(view: &View<'a>, kuma: &KumaMesh) -> Result<&'a Value, Finding> {
    let type_ = ConditionType::Programmed;
    match view.objects_in(Kind::KumaMesh, "") {
        Fact::Present(all) => {
            let found = all.into_iter().find(|mesh| key_of(mesh).name == kuma.name);
            found.ok_or_else(|| {
                let message = format!(
                    "Kuma has no mesh {}; create it, or correct spec.mesh.kuma.name: Sightline makes none.",
                    kuma.name
                );
                Finding::fails(type_, Reason::MeshNotFound, message)
            })
        }
        Fact::KindMissing | Fact::Absent => Err(Finding::fails(
            type_,
            Reason::KumaNotInstalled,
            "The API server does not know Mesh of kuma.io; install Kuma's CRDs.",
        )),
        Fact::Forbidden => Err(forbidden("Mesh")),
        Fact::Unknown => {
            let message = "Meshes of kuma.io have not been read yet.";
            Err(Finding::unknown(type_, Reason::FactsPending, message))
        }
    }
}

/// The finding that the right is missing.
pub fn forbidden(kind: &str) -> Finding {
    let message = format!(
        "Sightline may not read {kind} of kuma.io, which spec.mesh.kuma.legacy needs; give it the ClusterRole that `sightline rbac --kuma-namespace …` prints, or set features.kumaLegacy of the chart."
    );
    Finding::fails(ConditionType::Programmed, Reason::Forbidden, message)
}

/// Whether the backends of a mesh stand in Kuma's as wanted.
///
/// # Errors
/// The finding of why they do not.
pub fn stands(view: &View<'_>, own: &ObservabilityMesh, kuma: &KumaMesh) -> Result<(), Finding> {
    mesh(view, kuma)?;
    let plan = plan(view, name_of(own));
    if let Some((_, finding)) = plan.blocked.into_iter().next() {
        return Err(finding);
    }
    let Some(patch) = plan.patch.first() else { return Ok(()) };
    if let Some(finding) = refusal::finding(view, patch.kind, &patch.key, None) {
        return Err(finding);
    }
    let message = format!("Mesh {} is not written yet; wait.", patch.key.name);
    Err(Finding::fails(ConditionType::Programmed, Reason::Pending, message))
}

/// The Meshes in which backends of ours are left that no other mesh writes; `None`: not known yet.
pub fn left<'a>(view: &View<'a>, of: &ObservabilityMesh) -> Option<Vec<&'a Value>> {
    let meshes = match view.objects_in(Kind::KumaMesh, "") {
        Fact::Present(meshes) => meshes,
        Fact::Unknown if kuma_of(of).is_some_and(|kuma| kuma.legacy) => return None,
        _ => return Some(Vec::new()),
    };
    let is_left = |mesh: &&Value| {
        let writers = writers_of(view, &key_of(mesh).name);
        has_entries(mesh) && writers.iter().all(|writer| name_of(writer) == name_of(of))
    };
    Some(meshes.into_iter().filter(is_left).collect())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::admission::admit;
    use crate::crds::TrafficLog;
    use crate::snapshot::{Resource, Snapshot, Timings};

    fn world(finalizers: &[&str], deleted: bool) -> Snapshot {
        let mut snapshot = Snapshot::default().loaded();
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "m"},
                          "spec": {"mesh": {"type": "Kuma", "kuma": {"version": "2.13", "legacy": true}},
                                   "logging": {"backends": [{"name": "file", "type": "File", "file": {"path": "/dev/stdout"}}],
                                               "format": {"preset": "Kuma"}}}});
        let mut mesh: ObservabilityMesh = serde_json::from_value(admit(&mesh).unwrap()).unwrap();
        mesh.metadata.finalizers = Some(finalizers.iter().map(ToString::to_string).collect());
        if deleted {
            let at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
            mesh.metadata.deletion_timestamp = Some(at);
        }
        ObservabilityMesh::put(&mut snapshot, &Key::new("", "m"), Some(Arc::new(mesh)));
        let namespace = json!({"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}});
        snapshot.put(Kind::Namespace, Arc::new(namespace), Timestamp::UNIX_EPOCH);
        let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
                         "metadata": {"namespace": "shop", "name": "all"}, "spec": {"direction": "Outbound"}});
        let log: TrafficLog = serde_json::from_value(admit(&log).unwrap()).unwrap();
        TrafficLog::put(&mut snapshot, &Key::new("shop", "all"), Some(Arc::new(log)));
        snapshot
    }

    fn put_mesh(snapshot: &mut Snapshot, backends: &Value) {
        let mesh = json!({"metadata": {"name": "default", "uid": "u", "resourceVersion": "7"},
                          "spec": {"logging": {"backends": backends}}});
        snapshot.put(Kind::KumaMesh, Arc::new(mesh), Timestamp::UNIX_EPOCH);
    }

    fn planned(snapshot: &Snapshot) -> Plan {
        plan(&View::new(snapshot, Timestamp::UNIX_EPOCH, Timings::default()), "m")
    }

    #[test]
    fn a_mesh_is_patched_in_the_version_that_was_read_and_never_applied() {
        let mut snapshot = world(&[FINALIZER], false);
        put_mesh(&mut snapshot, &json!([{"name": "theirs", "type": "file"}]));
        let plan = planned(&snapshot);
        assert!(plan.apply.is_empty());
        let patch = serde_json::to_value(&plan.patch[0].patch).unwrap();
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/uid", "value": "u"}));
        assert_eq!(patch[1]["value"], "7");
        let changes: Vec<&str> = patch.as_array().unwrap()[2..]
            .iter()
            .filter_map(|op| op["path"].as_str())
            .collect();
        assert_eq!(changes, ["/spec/logging/backends/1"]);
    }

    #[test]
    fn nothing_is_written_before_the_finalizer_stands() {
        let mut snapshot = world(&[], false);
        put_mesh(&mut snapshot, &json!([]));
        assert!(planned(&snapshot).patch.is_empty());
    }

    #[test]
    fn a_backend_stays_while_a_live_traffic_log_names_it_and_holds_the_finalizer() {
        let mut snapshot = world(&[FINALIZER], true);
        put_mesh(&mut snapshot, &json!([{"name": "sightline-file-0", "type": "file"}]));
        let log =
            json!({"mesh": "default", "metadata": {"name": "x"}, "spec": {"conf": {"backend": "sightline-file-0"}}});
        snapshot.put(Kind::KumaTrafficLog, Arc::new(log), Timestamp::UNIX_EPOCH);
        assert!(planned(&snapshot).patch.is_empty());
        let view = View::new(&snapshot, Timestamp::UNIX_EPOCH, Timings::default());
        let mesh = view.mesh("m").unwrap();
        assert_eq!(left(&view, mesh).map(|left| left.len()), Some(1));
        snapshot.remove(Kind::KumaTrafficLog, &Key::new("", "x"), Timestamp::UNIX_EPOCH);
        assert_eq!(planned(&snapshot).patch.len(), 1);
    }

    #[test]
    fn a_mesh_that_kuma_does_not_have_is_a_reason() {
        let snapshot = world(&[FINALIZER], false);
        let view = View::new(&snapshot, Timestamp::UNIX_EPOCH, Timings::default());
        let own = view.mesh("m").unwrap();
        let kuma = kuma_of(own).unwrap();
        assert_eq!(stands(&view, own, &kuma).unwrap_err().reason, Reason::MeshNotFound);
    }
}
