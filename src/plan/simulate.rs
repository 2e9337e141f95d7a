//! Plays plans on a snapshot until nothing more happens: what `sightline render` prints is where this ends.
//!
//! It is the operator without a cluster: the same targets, the same plans, and a clock that jumps over every wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Delete, Memory, ObjectPatch, Plan, Status, Target, plan, targets_of};
use crate::crds::ObservabilityMesh;
use crate::policy::membership::{former_maps_of, is_live, istio_of, maps_of, name_of};
use crate::policy::proxies::kuma_of;
use crate::render::metadata::FINALIZER;
use crate::rollout::QuietMemory;
use crate::snapshot::Resource as _;
use crate::snapshot::Timings;
use crate::snapshot::{Key, Kind, Snapshot, View, key_of};

/// Where a simulation ended.
pub struct Converged {
    /// Our objects as they stand then, and those of other people that were patched, as patched.
    pub objects: BTreeMap<(Kind, Key), Value>,
    /// Objects that were deleted.
    pub deleted: BTreeSet<(Kind, Key)>,
    /// Last status of each resource.
    pub statuses: Vec<Status>,
    /// Everything that was told, in order, each once.
    pub events: Vec<super::Event>,
    /// Workloads that were restarted, in order.
    pub restarts: Vec<Key>,
    /// How many applies, deletes and patches it took; none where the world was at rest already.
    pub writes: usize,
    /// The world as it is then.
    pub snapshot: Snapshot,
    /// The time of its clock then.
    pub now: Timestamp,
}

/// The simulation did not come to rest.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// Plans kept writing.
    #[error(
        "the plan does not come to rest after {0} rounds: this is a bug in Sightline, please report it with your files"
    )]
    Restless(usize),
    /// A patch did not fit its object.
    #[error("the patch of {key} does not fit: {error}")]
    Patch {
        /// The object.
        key: Key,
        /// Why.
        error: String,
    },
}

const ROUNDS: usize = 1_000;

/// Plays plans until nothing more happens. `start` is the first moment of its clock.
pub fn converge(mut snapshot: Snapshot, start: Timestamp, hash_key: &[u8]) -> Result<Converged, SimulationError> {
    let mut world = World {
        now: start,
        quiet: BTreeMap::new(),
        patched: BTreeMap::new(),
        deleted: BTreeSet::new(),
        events: Vec::new(),
        restarts: Vec::new(),
        writes: 0,
    };
    record_maps(&mut snapshot);
    for _ in 0..ROUNDS {
        let mut busy = false;
        for target in targets_of(&snapshot).into_iter().filter(Target::is_output) {
            let plan = world.plan(&snapshot, &target, hash_key);
            busy |= world.execute(&mut snapshot, plan, &target)?;
        }
        if !busy {
            return Ok(world.at_rest(snapshot, hash_key));
        }
        // Longer than any wait of the design: no round is held back by time.
        world.now = world
            .now
            .checked_add(SignedDuration::from_mins(61))
            .unwrap_or(world.now);
    }
    Err(SimulationError::Restless(ROUNDS))
}

/// What the operator notes about a mesh before it writes a MeshConfig, or a Mesh of Kuma's, of somebody else.
fn record_maps(snapshot: &mut Snapshot) {
    let meshes: Vec<Arc<ObservabilityMesh>> = snapshot.meshes.values().filter(|mesh| is_live(mesh)).cloned().collect();
    for mesh in meshes {
        let istio = istio_of(&mesh);
        if istio.is_none() && !kuma_of(&mesh).is_some_and(|kuma| kuma.legacy) {
            continue;
        }
        let mut noted = (*mesh).clone();
        if let Some(istio) = istio {
            let maps = maps_of(&istio).into_iter().chain(former_maps_of(&mesh, &istio));
            noted.status.get_or_insert_default().mesh_config_maps = maps.map(|map| map.to_string()).collect();
        }
        let finalizers = noted.metadata.finalizers.get_or_insert_default();
        if finalizers.iter().all(|finalizer| finalizer != FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        ObservabilityMesh::put(snapshot, &Key::new("", name_of(&mesh)), Some(Arc::new(noted)));
    }
}

struct World {
    now: Timestamp,
    quiet: BTreeMap<String, QuietMemory>,
    patched: BTreeMap<(Kind, Key), Value>,
    deleted: BTreeSet<(Kind, Key)>,
    events: Vec<super::Event>,
    restarts: Vec<Key>,
    writes: usize,
}

impl World {
    fn plan(&mut self, snapshot: &Snapshot, target: &Target, hash_key: &[u8]) -> Plan {
        let view = View::new(snapshot, self.now, Timings::default());
        let mut memory = Memory {
            quiet: &mut self.quiet,
            hash_key: Some(hash_key),
        };
        plan(&view, target, &mut memory)
    }

    /// Executes a plan; tells whether it changed anything or waits for something.
    fn execute(&mut self, snapshot: &mut Snapshot, plan: Plan, target: &Target) -> Result<bool, SimulationError> {
        let writes = plan.apply.len() + plan.delete.len() + plan.patch.len();
        self.writes += writes;
        if let Some((map, findings)) = plan.map_findings {
            snapshot.note_map_findings(&map, findings);
        }
        let mut busy = writes > 0;
        busy |= plan.look_again.is_some();
        for ask in plan.daemons {
            busy |= super::kmesh::is_news(&ask);
            snapshot.note_asked(&ask.daemon, super::kmesh::play(&ask, self.now));
        }
        for event in plan.events {
            if !self.events.contains(&event) {
                self.events.push(event);
            }
        }
        for apply in plan.apply {
            if let Some(old) = &apply.replaces {
                snapshot.remove(old.kind, &old.key, self.now);
                self.deleted.insert((old.kind, old.key.clone()));
            }
            let live = snapshot
                .object(apply.kind, &key_of(&apply.object))
                .map(|o| (**o).clone());
            let mut merged = merged(live, &apply.object, &apply.prune, self.now);
            if apply.kind.workload().is_some() {
                complete_rollout(&mut merged);
            }
            snapshot.put(apply.kind, Arc::new(merged), self.now);
            if let Target::MeshConfig(map) = target {
                snapshot.note_map_write(map, self.now);
            }
        }
        for Delete { kind, key, .. } in plan.delete {
            snapshot.remove(kind, &key, self.now);
            self.deleted.insert((kind, key));
        }
        for ObjectPatch {
            kind,
            key,
            patch,
            starts,
            wanted: _,
            edited: _,
        } in plan.patch
        {
            self.patch(snapshot, kind, &key, &patch)?;
            if let Target::MeshConfig(map) = target {
                snapshot.note_map_write(map, self.now);
            }
            self.restarts.extend(starts.map(|_| key));
        }
        Ok(busy)
    }

    fn patch(
        &mut self,
        snapshot: &mut Snapshot,
        kind: Kind,
        key: &Key,
        patch: &json_patch::Patch,
    ) -> Result<(), SimulationError> {
        let Some(live) = snapshot.object(kind, key) else {
            return Ok(());
        };
        let mut object = (**live).clone();
        json_patch::patch(&mut object, patch).map_err(|error| SimulationError::Patch {
            key: key.clone(),
            error: error.to_string(),
        })?;
        if kind.workload().is_some() {
            complete_rollout(&mut object);
        }
        snapshot.put(kind, Arc::new(object.clone()), self.now);
        self.patched.insert((kind, key.clone()), as_patched(object));
        Ok(())
    }

    fn at_rest(mut self, snapshot: Snapshot, hash_key: &[u8]) -> Converged {
        let mut objects = std::mem::take(&mut self.patched);
        let mut statuses = Vec::new();
        for target in targets_of(&snapshot) {
            let plan = self.plan(&snapshot, &target, hash_key);
            statuses.extend(plan.statuses);
            objects.extend(
                plan.desired
                    .into_iter()
                    .map(|(kind, object)| ((kind, key_of(&object)), object)),
            );
        }
        let Self {
            now,
            deleted,
            events,
            restarts,
            writes,
            ..
        } = self;
        Converged {
            objects,
            deleted,
            statuses,
            events,
            restarts,
            writes,
            snapshot,
            now,
        }
    }
}

/// The workload as it is printed: without status, and without the time of a restart, which files do not know.
fn as_patched(mut workload: Value) -> Value {
    if let Some(map) = workload.as_object_mut() {
        map.remove("status");
    }
    let template = workload
        .pointer_mut("/spec/template/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = template {
        annotations.remove(crate::rollout::template::RESTARTED_AT);
        let is_empty = annotations.is_empty();
        let metadata = workload
            .pointer_mut("/spec/template/metadata")
            .and_then(Value::as_object_mut);
        if let Some(metadata) = metadata.filter(|_| is_empty) {
            metadata.remove("annotations");
        }
    }
    let own = workload
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = own {
        annotations.remove(crate::rollout::template::RESTARTED_TEMPLATE);
        annotations.remove(crate::rollout::template::ROLLED_OUT);
        let is_empty = annotations.is_empty();
        if let Some(metadata) = workload
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
            .filter(|_| is_empty)
        {
            metadata.remove("annotations");
        }
    }
    workload
}

/// A rollout that is over, as its controller would say.
pub fn complete_rollout(workload: &mut Value) {
    let generation = workload.pointer("/metadata/generation").and_then(Value::as_i64);
    let replicas = workload.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let mut status = json!({"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas, "readyReplicas": replicas});
    if let (Some(generation), Some(status)) = (generation, status.as_object_mut()) {
        status.insert("observedGeneration".into(), Value::from(generation));
    }
    if let Some(map) = workload.as_object_mut() {
        map.insert("status".into(), status);
    }
}

/// What an apply makes of a live object: our fields win, the others stay.
fn merged(live: Option<Value>, applied: &Value, prune: &[String], now: Timestamp) -> Value {
    let mut object = live
        .unwrap_or_else(|| json!({"metadata": {"creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}}));
    for pointer in prune {
        if let Some((parent, last)) = pointer.rsplit_once('/')
            && let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.remove(&last.replace("~1", "/").replace("~0", "~"));
        }
    }
    merge(&mut object, applied);
    object
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(key) {
                    Some(have) => merge(have, value),
                    None => drop(into.insert(key.clone(), value.clone())),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}
