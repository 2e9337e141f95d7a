//! Writes extension providers to a ConfigMap with MeshConfig: one of our own, which istiod merges below its own, or (mode
//! `Patch`) one of somebody else, of which only our entries are changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch, PatchOperation, ReplaceOperation, TestOperation};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::capacity::{Limits, Wish, admit};
use super::control_plane::{later, not_read_yet, stands_elsewhere};
use super::effective::sources_of;
use super::owned::{is_ours, last_manager, may_be_adopted};
use super::telemetries::uid_of;
use super::{
    Delete, Event, MOST_REVERTS, ObjectPatch, Plan, Target, WriteRules, contested, digest_of, not_ours, plan_object,
};
use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{MeshConfigMode, ObservabilityMesh};
use crate::policy::claims::{Checked, LogClaim};
use crate::policy::membership::{former_maps_of, is_live, istio_of, maps_of, name_of};
use crate::policy::{mesh_wide, tracing_backend, traffic_log};
use crate::render::istio::mesh_config::shared_map;
use crate::render::istio::provider::{PREFIX, Provider};
use crate::render::istio::splice::splice;
use crate::render::metadata::{FIELD_MANAGER, FINALIZER};
use crate::snapshot::mesh_config::MESH_KEY;
use crate::snapshot::{Fact, Key, Kind, MapFindings, View};

/// The meshes that have to do with a map.
struct Meshes<'a> {
    /// Those that write it, and live.
    writers: Vec<&'a Arc<ObservabilityMesh>>,
    /// Those that wrote it: they are being deleted, or their spec names other maps now.
    former: Vec<&'a Arc<ObservabilityMesh>>,
}

impl<'a> Meshes<'a> {
    fn of(view: &View<'a>, map: &Key) -> Self {
        let mut meshes = Self {
            writers: Vec::new(),
            former: Vec::new(),
        };
        for mesh in view.meshes() {
            let Some(istio) = istio_of(mesh) else { continue };
            let is_named = maps_of(&istio).contains(map);
            if is_named && is_live(mesh) {
                meshes.writers.push(mesh);
            } else if is_named || former_maps_of(mesh, &istio).contains(map) {
                meshes.former.push(mesh);
            }
        }
        meshes
    }

    fn all(&self) -> Vec<&'a Arc<ObservabilityMesh>> {
        self.writers.iter().chain(&self.former).copied().collect()
    }

    fn some_writes(&self, mode: MeshConfigMode) -> bool {
        let mut modes = self.writers.iter().filter_map(|mesh| istio_of(mesh));
        modes.any(|istio| istio.mesh_config.mode == mode)
    }
}

/// What a map is to us.
enum Place<'a> {
    /// Wholly ours, or about to be made.
    Own(Option<&'a Value>),
    /// Somebody else's: only our entries are.
    Foreign(&'a Value),
    /// There is none, and none is wanted.
    Nothing,
}

/// What a map is to us.
///
/// # Errors
/// The finding of `Programmed` where a mesh wants it and it cannot be written.
fn place<'a>(view: &View<'a>, map: &Key, meshes: &Meshes<'_>) -> Result<Place<'a>, Finding> {
    let shares = meshes.some_writes(MeshConfigMode::Shared);
    let patches = meshes.some_writes(MeshConfigMode::Patch);
    match view.object(Kind::ConfigMap, map) {
        Fact::Present(live) if is_ours(live) || (shares && may_be_adopted(live)) => Ok(Place::Own(Some(live))),
        Fact::Present(_) if shares => Err(not_ours(Kind::ConfigMap, map, None)),
        Fact::Present(live) => Ok(Place::Foreign(live)),
        Fact::Absent | Fact::KindMissing if shares => Ok(Place::Own(None)),
        Fact::Absent | Fact::KindMissing if patches => {
            let message = format!(
                "ConfigMap {map} does not exist, and mode Patch makes none; create it with MeshConfig under the key {MESH_KEY}, or correct spec.mesh.istio."
            );
            Err(unreadable(message))
        }
        Fact::Absent | Fact::KindMissing => Ok(Place::Nothing),
        Fact::Forbidden if meshes.writers.is_empty() => Ok(Place::Nothing),
        Fact::Forbidden => {
            let message = format!("Sightline may not read ConfigMap {map}; install the Role of config/rbac there.");
            Err(Finding::fails(ConditionType::Programmed, Reason::Forbidden, message))
        }
        Fact::Unknown => Err(not_read_yet(map)),
    }
}

fn unreadable(message: String) -> Finding {
    Finding::fails(ConditionType::Programmed, Reason::MeshConfigUnreadable, message)
}

/// Plans it: every provider that a policy needs and that finds room, and those that a live Telemetry still names or named
/// a moment ago.
pub fn plan(view: &View<'_>, map: &Key) -> Plan {
    let mut plan = Plan::default();
    let meshes = Meshes::of(view, map);
    if meshes.writers.is_empty() && view.is_map_of_an_undecoded_mesh(map) {
        // Which of what stands there is still wanted is not known.
        return plan;
    }
    let mut no_room = BTreeMap::new();
    let done = place(view, map, &meshes).and_then(|place| {
        let (wanted, refused) = match place {
            Place::Nothing => return Ok(()),
            Place::Own(_) | Place::Foreign(_) => wanted_providers(view, map, &meshes, &mut plan),
        };
        no_room = refused;
        match place {
            Place::Own(live) => plan_own(view, &mut plan, map, live, &wanted, &meshes)?,
            Place::Foreign(live) => plan_foreign(view, &mut plan, map, live, &wanted, &meshes)?,
            Place::Nothing => {}
        }
        hold_back(view, map, &wanted, &mut plan);
        Ok(())
    });
    let blocked = done.err();
    plan.blocked
        .extend(blocked.into_iter().map(|finding| (map.clone(), finding)));
    let blocked = plan.blocked.first().map(|(_, finding)| finding.clone());
    plan.map_findings = Some((map.clone(), MapFindings { blocked, no_room }));
    plan
}

fn plan_own(
    view: &View<'_>,
    plan: &mut Plan,
    map: &Key,
    live: Option<&Value>,
    wanted: &BTreeMap<String, Value>,
    meshes: &Meshes<'_>,
) -> Result<(), Finding> {
    // One that we took over goes on without our entries: it is not ours to delete.
    let is_adopted = live.is_some_and(may_be_adopted);
    if meshes.writers.is_empty() && wanted.is_empty() && !is_adopted {
        plan.delete.extend(live.map(|live| Delete {
            kind: Kind::ConfigMap,
            key: map.clone(),
            uid: uid_of(live),
        }));
        return Ok(());
    }
    let object = shared_map(map, wanted)
        .map_err(|error| Finding::fails(ConditionType::Programmed, Reason::InvalidSpec, error.to_string()))?;
    let tell = targets(meshes);
    let rules = WriteRules {
        adopt: false,
        how_to_adopt: None,
        wholly_ours: &["/data"],
        tell: &tell,
        view,
    };
    plan_object(plan, Kind::ConfigMap, object, live, &rules);
    Ok(())
}

/// Changes nothing but our entries in the text of a map of somebody else. Never by server-side apply: what is applied by
/// force is ours alone, and would go with us.
fn plan_foreign(
    view: &View<'_>,
    plan: &mut Plan,
    map: &Key,
    live: &Value,
    wanted: &BTreeMap<String, Value>,
    meshes: &Meshes<'_>,
) -> Result<(), Finding> {
    let text = match live.pointer("/data").and_then(|data| data.get(MESH_KEY)) {
        Some(Value::String(text)) => text,
        // There is nothing of ours in it.
        _ if meshes.writers.is_empty() => return Ok(()),
        _ => {
            let message = format!("ConfigMap {map} has no MeshConfig under the key {MESH_KEY}: add it, if only empty.");
            return Err(unreadable(message));
        }
    };
    let spliced =
        splice(text, wanted).map_err(|error| unreadable(format!("ConfigMap {map} was not changed: {error}.")))?;
    if spliced == *text {
        if !wanted.is_empty() {
            plan.desired.push((Kind::ConfigMap, live.clone()));
        }
        return Ok(());
    }
    if !meshes.writers.iter().all(|mesh| is_on_record(mesh, map)) {
        return Ok(());
    }
    let digest = digest_of(&wanted.clone().into_iter().collect());
    let edited = edited(view, map, wanted);
    let contest = view.contest(Kind::ConfigMap, map);
    if let Some(until) = contest.and_then(|c| c.waits_until(&digest, &edited, MOST_REVERTS, view.now)) {
        plan.look_again_at(until);
        let (kind, field) = (Kind::ConfigMap.names().1, format!("data.{MESH_KEY} ({edited})"));
        return Err(contested(kind, map, &field, &manager_of(live), until));
    }
    tell_put_back(plan, map, live, &edited, meshes);
    let mut after = live.clone();
    if let Some(data) = after.get_mut("data") {
        data[MESH_KEY] = Value::from(spliced.as_str());
    }
    plan.desired.push((Kind::ConfigMap, after));
    plan.patch.push(ObjectPatch {
        kind: Kind::ConfigMap,
        key: map.clone(),
        patch: replace_text(live, spliced),
        starts: None,
        wanted: Some(digest),
        edited,
    });
    Ok(())
}

/// Who wrote MeshConfig last.
fn manager_of(live: &Value) -> String {
    last_manager(live, &format!("/data/{MESH_KEY}")).unwrap_or_else(|| "somebody".into())
}

/// Whether it stands in the cluster that the mesh writes this map: only then are its entries found again, whatever happens
/// to the operator and to the mesh's spec.
fn is_on_record(mesh: &ObservabilityMesh, map: &Key) -> bool {
    let listed = mesh.status.iter().flat_map(|status| &status.mesh_config_maps);
    let mut finalizers = mesh.metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == FINALIZER) && listed.into_iter().any(|name| *name == map.to_string())
}

/// The one change of the map, of this very version of it: whoever was faster is read first.
fn replace_text(live: &Value, text: String) -> Patch {
    let tests = ["uid", "resourceVersion"].into_iter().filter_map(|field| {
        let value = live.pointer("/metadata")?.get(field)?.clone();
        let path = PointerBuf::from_tokens(["metadata", field]);
        Some(PatchOperation::Test(TestOperation { path, value }))
    });
    let replace = PatchOperation::Replace(ReplaceOperation {
        path: PointerBuf::from_tokens(["data", MESH_KEY]),
        value: Value::from(text),
    });
    Patch(tests.chain([replace]).collect())
}

/// Names of our entries that somebody took out while a Telemetry names them, or whose text is not what we wrote.
fn edited(view: &View<'_>, map: &Key, wanted: &BTreeMap<String, Value>) -> String {
    let lost: BTreeSet<&String> = view.lost_providers(map).map(|(name, _)| name).collect();
    let is_edited = |name: &String, entry: &Value| view.provider(map, name).is_some_and(|seen| seen.entry != *entry);
    let names = wanted
        .iter()
        .filter(|(name, entry)| lost.contains(name) || is_edited(name, entry))
        .map(|(name, _)| name);
    some_names(names)
}

/// Tells that entries of ours are put back.
fn tell_put_back(plan: &mut Plan, map: &Key, live: &Value, edited: &str, meshes: &Meshes<'_>) {
    let manager = manager_of(live);
    if edited.is_empty() || manager == FIELD_MANAGER {
        return;
    }
    let note = format!(
        "ConfigMap {map}: extension provider {edited} of Sightline was changed or removed by {manager}; put back."
    );
    plan.events.extend(targets(meshes).into_iter().map(|about| Event {
        about,
        warning: true,
        reason: "DriftReverted",
        note: note.clone(),
    }));
}

fn targets(meshes: &Meshes<'_>) -> Vec<Target> {
    let all = meshes.all().into_iter();
    all.map(|mesh| Target::Mesh(name_of(mesh).to_owned())).collect()
}

/// What the map should hold: what policies need, and what a live Telemetry names or named a moment ago; and who finds no
/// room.
fn wanted_providers(
    view: &View<'_>,
    map: &Key,
    meshes: &Meshes<'_>,
    plan: &mut Plan,
) -> (BTreeMap<String, Value>, BTreeMap<Target, Finding>) {
    let (wishes, complete) = wishes(view, &meshes.writers);
    let needed = wishes.iter().flat_map(|wish| &wish.providers);
    let mut wanted: BTreeMap<String, Value> = needed
        .filter(|provider| view.provider(map, &provider.name).is_some())
        .map(|provider| (provider.name.clone(), provider.entry.clone()))
        .collect();
    let is_wanted = |name: &str| is_used(view, name, &meshes.writers);
    let lost = view.lost_providers(map).filter(|(name, _)| is_wanted(name));
    wanted.extend(lost.map(|(name, entry)| (name.clone(), entry.clone())));
    for (name, entry) in in_former_maps(view, map, meshes).filter(|(name, _)| is_wanted(name)) {
        wanted.entry(name.clone()).or_insert_with(|| entry.clone());
    }
    for (name, seen) in view.providers(map).filter(|(name, _)| name.starts_with(PREFIX)) {
        if wanted.contains_key(name) {
            continue;
        }
        // While a policy cannot be judged yet, what is there may be what it needs.
        let goes = if complete || meshes.writers.is_empty() {
            goes_at(view, map, meshes, name, &seen.entry, seen.since)
        } else {
            None
        };
        match goes {
            Some(at) if at <= view.now => {}
            waits => {
                plan.look_again = [plan.look_again, waits].into_iter().flatten().min();
                wanted.insert(name.clone(), seen.entry.clone());
            }
        }
    }
    let Some(limits) = Limits::of(&meshes.writers) else {
        return (wanted, BTreeMap::new());
    };
    let of_meshes = meshes
        .writers
        .iter()
        .flat_map(|mesh| mesh_wide::own_providers(view, mesh))
        .collect();
    let no_room = admit(map, &mut wanted, wishes, &of_meshes, &limits);
    (wanted, no_room)
}

/// When an entry that no policy needs here may go; `None`: not yet to be said.
fn goes_at(
    view: &View<'_>,
    map: &Key,
    meshes: &Meshes<'_>,
    name: &str,
    entry: &Value,
    since: Timestamp,
) -> Option<Timestamp> {
    let linger = view.timings.provider_linger;
    if !is_used(view, name, &meshes.all()) {
        let unused = view.provider_unused_since(name).unwrap_or(since).max(since);
        return Some(later(unused, linger));
    }
    // Telemetries of meshes that write elsewhere now: it may go once it stands there.
    if is_used(view, name, &meshes.writers) || !meshes.former.iter().all(|mesh| is_live(mesh)) {
        return None;
    }
    let elsewhere = stands_elsewhere(view, &meshes.former, map, name, entry)?;
    Some(later(elsewhere, linger))
}

/// Our entries in maps that the writers of this one wrote before.
fn in_former_maps<'a>(
    view: &View<'a>,
    map: &Key,
    meshes: &Meshes<'_>,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let former: BTreeSet<Key> = meshes
        .writers
        .iter()
        .filter_map(|mesh| Some(former_maps_of(mesh, &istio_of(mesh)?)))
        .flatten()
        .filter(|former| former != map)
        .collect();
    former
        .into_iter()
        .flat_map(|former| view.providers(&former))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, seen)| (name, &seen.entry))
}

/// Whether a live Telemetry makes an istiod of these meshes look for the provider: one that policies of such a mesh
/// contribute to, or somebody else's while one of the meshes lives.
fn is_used(view: &View<'_>, name: &str, meshes: &[&Arc<ObservabilityMesh>]) -> bool {
    let alive = meshes.iter().any(|mesh| is_live(mesh));
    view.provider_users(name).any(|telemetry| {
        if !is_ours(telemetry) {
            return alive;
        }
        let sources = sources_of(telemetry);
        let of = sources.meshes();
        meshes.iter().any(|mesh| of.contains(name_of(mesh)))
    })
}

/// Why a map of a mesh cannot be written, as far as can be told without its text.
pub fn not_writable(view: &View<'_>, map: &Key) -> Option<Finding> {
    place(view, map, &Meshes::of(view, map)).err()
}

/// Whether something of ours is left in a map, or the map itself is ours; `None`: not known yet.
pub fn is_left(view: &View<'_>, map: &Key) -> Option<bool> {
    match view.mesh_config(map) {
        Fact::Present(config) => {
            let live = view.object(Kind::ConfigMap, map).present()?;
            let holds_entries = match config {
                Some(config) => config.providers.keys().any(|name| name.starts_with(PREFIX)),
                // It cannot be read; ours may be in it.
                None => live
                    .pointer("/data")
                    .is_some_and(|data| data.to_string().contains(PREFIX)),
            };
            Some(holds_entries || (is_ours(live) && !may_be_adopted(live)))
        }
        Fact::Unknown => None,
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Some(false),
    }
}

/// Every write makes istiod push to every proxy: the next one waits. The first, which makes the map, does not, nor one
/// that puts an edit back, nor one that brings what a live Telemetry already names.
fn hold_back(view: &View<'_>, map: &Key, wanted: &BTreeMap<String, Value>, plan: &mut Plan) {
    let next = view.map_written(map).map(|at| later(at, view.timings.map_interval));
    let missing = |name: &String| view.provider(map, name).is_none() && view.provider_users(name).next().is_some();
    let makes = plan.apply.iter().any(|apply| apply.live.is_none());
    let urgent = !plan.events.is_empty() || makes || wanted.keys().any(missing);
    let writes = !plan.apply.is_empty() || !plan.patch.is_empty();
    if let Some(next) = next.filter(|next| *next > view.now && !urgent && writes) {
        plan.apply.clear();
        plan.patch.clear();
        plan.look_again_at(next);
    }
}

/// What policies of these meshes, and the meshes themselves, need, by namespace and name; and whether every policy could
/// be judged.
fn wishes(view: &View<'_>, meshes: &[&Arc<ObservabilityMesh>]) -> (Vec<Wish>, bool) {
    let mut wishes = Wishes {
        meshes,
        found: Vec::new(),
        complete: true,
    };
    for mesh in meshes.iter().filter(|mesh| is_live(mesh)) {
        let of = Target::Mesh(name_of(mesh).to_owned());
        for checked in mesh_wide::check_required(view, mesh) {
            wishes.take(&of, "", checked);
        }
        if let Some(checked) = mesh_wide::check_default_tracing(view, mesh) {
            wishes.take(&of, "", checked);
        }
        if let Ok(Some((_, Some(provider)))) = mesh_wide::check_proxy_metrics(view, mesh) {
            let mut checked: Checked<'_, LogClaim> = Checked::good(mesh, None);
            checked.providers.push(provider);
            wishes.take(&of, "", checked);
        }
    }
    for (key, log) in view
        .traffic_logs()
        .filter(|(_, log)| log.metadata.deletion_timestamp.is_none())
    {
        let of = Target::TrafficLog(key.clone());
        wishes.take(&of, &key.namespace, traffic_log::check(view, key, log));
    }
    for (key, tracing) in view
        .tracing_backends()
        .filter(|(_, t)| t.metadata.deletion_timestamp.is_none())
    {
        let of = Target::TracingBackend(key.clone());
        wishes.take(&of, &key.namespace, tracing_backend::check(view, key, tracing));
    }
    wishes.found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let found = wishes.found.into_iter().map(|(_, wish)| wish);
    (found.collect(), wishes.complete)
}

struct Wishes<'m, 'a> {
    meshes: &'m [&'a Arc<ObservabilityMesh>],
    found: Vec<((String, String), Wish)>,
    complete: bool,
}

impl Wishes<'_, '_> {
    fn take<C>(&mut self, of: &Target, namespace: &str, checked: Checked<'_, C>) {
        self.complete &= checked
            .findings
            .iter()
            .all(|finding| finding.reason != Reason::FactsPending);
        let is_of = |mesh: &Arc<ObservabilityMesh>| self.meshes.iter().any(|other| name_of(other) == name_of(mesh));
        if checked.mesh.is_some_and(is_of) {
            let name = match of {
                Target::TrafficLog(key) | Target::TracingBackend(key) => key.name.clone(),
                other => other.to_string(),
            };
            let wish = Wish {
                of: of.clone(),
                namespace: namespace.to_owned(),
                providers: checked.providers,
            };
            self.found.push(((namespace.to_owned(), name), wish));
        }
    }
}

/// The providers that a mesh and its policies need, by name; and whether every policy could be judged.
pub fn needed(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> (BTreeMap<String, Provider>, bool) {
    let (wishes, complete) = wishes(view, &[mesh]);
    let providers = wishes.into_iter().flat_map(|wish| wish.providers);
    let by_name = providers.map(|provider| (provider.name.clone(), provider));
    (by_name.collect(), complete)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::admission::admit;
    use crate::crds::TrafficLog;
    use crate::snapshot::{Resource, Snapshot, Timings};

    const NAME: &str = "sightline-file-aaaaaaaaaaaa";

    fn istio() -> Key {
        Key::new("istio-system", "istio")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn planned(snapshot: &Snapshot, seconds: i64) -> Plan {
        plan(&View::new(snapshot, at(seconds), Timings::default()), &istio())
    }

    fn put_map(snapshot: &mut Snapshot, text: &str, seconds: i64) {
        let map = json!({"metadata": {"namespace": "istio-system", "name": "istio"}, "data": {"mesh": text}});
        snapshot.put(Kind::ConfigMap, Arc::new(map), at(seconds));
    }

    /// A mesh of mode Patch; `maps` are those that its status lists.
    fn put_mesh(snapshot: &mut Snapshot, finalizers: &[&str], maps: &[&str]) {
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "m"},
                          "spec": {"mesh": {"type": "Istio", "istio": {"meshConfig": {"mode": "Patch"}}}}});
        let mut mesh: ObservabilityMesh = serde_json::from_value(admit(&mesh).unwrap()).unwrap();
        mesh.metadata.finalizers = Some(finalizers.iter().map(ToString::to_string).collect());
        mesh.status.get_or_insert_default().mesh_config_maps = maps.iter().map(ToString::to_string).collect();
        ObservabilityMesh::put(snapshot, &Key::new("", "m"), Some(Arc::new(mesh)));
    }

    fn world(text: &str) -> Snapshot {
        let mut snapshot = Snapshot::default().loaded();
        put_mesh(&mut snapshot, &[FINALIZER], &["istio-system/istio"]);
        put_map(&mut snapshot, text, 0);
        let namespace = json!({"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}});
        snapshot.put(Kind::Namespace, Arc::new(namespace), at(0));
        snapshot
    }

    fn put_log(snapshot: &mut Snapshot, name: &str, text: &str) {
        let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
                         "metadata": {"namespace": "shop", "name": name},
                         "spec": {"format": {"encoding": "Text", "text": text}}});
        let log: TrafficLog = serde_json::from_value(admit(&log).unwrap()).unwrap();
        TrafficLog::put(snapshot, &Key::new("shop", name), Some(Arc::new(log)));
    }

    #[test]
    fn a_map_of_somebody_else_is_written_only_when_finalizer_and_status_say_that_it_is() {
        let mut snapshot = world("rootNamespace: istio-system\n");
        put_log(&mut snapshot, "all", "%RESPONSE_CODE%");
        assert_eq!(planned(&snapshot, 0).patch.len(), 1);
        for (finalizers, maps) in [
            (&[][..], &["istio-system/istio"][..]),
            (&[FINALIZER], &[]),
            (&[FINALIZER], &["istio-system/else"]),
        ] {
            put_mesh(&mut snapshot, finalizers, maps);
            let plan = planned(&snapshot, 0);
            assert!(
                plan.patch.is_empty() && plan.blocked.is_empty(),
                "{finalizers:?} {maps:?}"
            );
        }
    }

    #[test]
    fn an_entry_goes_a_minute_after_the_last_telemetry_that_named_it() {
        let telemetry = |provider: &str| {
            Arc::new(json!({"metadata": {"namespace": "shop", "name": "theirs"},
                            "spec": {"accessLogging": [{"providers": [{"name": provider}]}]}}))
        };
        let mut snapshot = world(&format!("extensionProviders: [{{name: {NAME}}}]\n"));
        snapshot.put(Kind::Telemetry, telemetry(NAME), at(0));
        assert!(
            planned(&snapshot, 10_000).patch.is_empty(),
            "it is named, if only by somebody else"
        );
        snapshot.put(Kind::Telemetry, telemetry("else"), at(100));
        let waits = planned(&snapshot, 159);
        assert_eq!((waits.patch.len(), waits.look_again), (0, Some(at(160))));
        assert_eq!(planned(&snapshot, 160).patch.len(), 1);
    }

    #[test]
    fn a_map_is_written_every_ten_seconds_at_most_and_a_hand_edit_is_put_back_at_once() {
        let interval = Timings::default().map_interval;
        assert_eq!(interval, Duration::from_secs(10));
        let mut snapshot = world("rootNamespace: istio-system\n");
        put_log(&mut snapshot, "all", "%RESPONSE_CODE%");
        snapshot.note_map_write(&istio(), at(0));
        let waits = planned(&snapshot, 9);
        assert_eq!((waits.patch.len(), waits.look_again), (0, Some(at(10))));
        assert_eq!(planned(&snapshot, 10).patch.len(), 1);

        let written = planned(&snapshot, 10).desired.remove(0).1;
        snapshot.put(Kind::ConfigMap, Arc::new(written.clone()), at(10));
        snapshot.note_map_write(&istio(), at(10));
        assert!(planned(&snapshot, 11).patch.is_empty());
        let text = written["data"]["mesh"].as_str().unwrap();
        put_map(&mut snapshot, &text.replace("%RESPONSE_CODE%", "%PROTOCOL%"), 11);
        let back = planned(&snapshot, 11);
        assert_eq!((back.patch.len(), back.events.len()), (1, 1));
    }

    #[test]
    fn entries_that_somebody_takes_out_again_and_again_are_put_back_three_times_an_hour_and_a_change_of_ours_still_goes_out()
     {
        let bare = "rootNamespace: istio-system\n";
        let mut snapshot = world(bare);
        put_log(&mut snapshot, "all", "%RESPONSE_CODE%");
        let write = |snapshot: &mut Snapshot, seconds: i64| {
            let plan = planned(snapshot, seconds);
            let patch = plan.patch.into_iter().next()?;
            let (wanted, edited) = (patch.wanted.unwrap(), patch.edited);
            let contest = snapshot.contest_mut(Kind::ConfigMap, &istio());
            contest.written(&wanted, &edited, at(seconds));
            snapshot.put(
                Kind::ConfigMap,
                Arc::new(plan.desired.into_iter().next()?.1),
                at(seconds),
            );
            Some(())
        };
        for round in 0..4 {
            assert_eq!(write(&mut snapshot, round * 20), Some(()), "{round}");
            put_map(&mut snapshot, bare, round * 20 + 10);
        }
        let contested = planned(&snapshot, 100);
        assert_eq!(contested.patch.len(), 0);
        assert_eq!(contested.blocked[0].1.reason, Reason::Contested);
        assert_eq!(
            contested.look_again,
            Some(at(20 + 3600)),
            "an hour after the first was put back"
        );
        put_log(&mut snapshot, "all", "%PROTOCOL%");
        assert_eq!(write(&mut snapshot, 101), Some(()), "a change of ours");
        assert_eq!(write(&mut snapshot, 3700), None, "it stands");
    }
}
