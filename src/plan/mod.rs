//! From snapshot to plan: what the operator would do, as a value. Pure.
//!
//! A plan is made for one [`Target`] at a time: a resource that is judged, or an output that is written. The operator
//! executes plans, `sightline render` plays them on a snapshot of files, tests compare them.

mod capacity;
pub(crate) mod collector;
pub(crate) mod control_plane;
pub(crate) mod effective;
pub mod eject;
mod exports;
mod foreign;
mod interface_traffic;
pub mod judge;
pub mod kmesh;
mod kuma;
mod leftovers;
mod mesh_config;
pub mod owned;
pub mod refusal;
pub(crate) mod rollout;
mod services;
pub mod simulate;
pub(crate) mod telemetries;
mod wasm_plugins;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use crate::conditions::{Finding, Reason};
use crate::crds::ObservabilityMesh;
use crate::digest;
use crate::policy::claims::{PolicyKind, Source};
use crate::policy::collector::Noted;
use crate::policy::exports::{former_export_maps_of, outputs_of};
use crate::policy::membership::{former_maps_of, istio_of, maps_of, name_of};
use crate::policy::proxies::{kmesh_of, kuma_of};
use crate::rollout::QuietMemory;
use crate::snapshot::{Key, Kind, MapFindings, Snapshot, View, key_of};

/// What a plan is made for. The work queue holds these; one target is never worked on twice at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Judges an ObservabilityMesh.
    Mesh(String),
    /// Judges a TrafficLog.
    TrafficLog(Key),
    /// Judges a TracingBackend.
    TracingBackend(Key),
    /// Writes the Telemetries of a namespace.
    Telemetries(String),
    /// Writes the WasmPlugins of a namespace.
    WasmPlugins(String),
    /// Writes extension providers to a ConfigMap with MeshConfig.
    MeshConfig(Key),
    /// Writes what the policies of a namespace come to in Kuma.
    KumaPolicies(String),
    /// Writes the MeshOpenTelemetryBackends of a mesh.
    KumaReceivers(String),
    /// Sets the switches of a mesh's daemons.
    KmeshSwitches(String),
    /// Writes the object of an export of metrics.
    Export(Kind, Key),
    /// Writes the collector of a mesh.
    Collector(String),
    /// Writes backends to the Mesh of Kuma 2.x that a mesh is, and takes them out again.
    KumaMesh(String),
    /// Writes a `grpc-logging` ConfigMap.
    InterfaceTraffic(Key),
    /// Restarts the agents of a mesh, and writes environment: the governor.
    Rollout(String),
    /// Takes away environment where neither a policy nor a mesh is left for it: a governor of its own.
    Leftovers,
}

impl Target {
    /// Whether it writes objects; the others judge resources and write only status.
    pub const fn is_output(&self) -> bool {
        !matches!(self, Self::Mesh(_) | Self::TrafficLog(_) | Self::TracingBackend(_))
    }

    /// Whether its plan needs to know which agents may restart now.
    pub const fn asks_the_governor(&self) -> bool {
        matches!(
            self,
            Self::Mesh(_) | Self::TracingBackend(_) | Self::Rollout(_) | Self::Leftovers
        )
    }

    /// Under which name the governor remembers the restarts of this target, if it makes any.
    pub fn governor(&self) -> Option<&str> {
        match self {
            Self::Rollout(mesh) => Some(mesh),
            Self::Leftovers => Some(leftovers::GOVERNOR),
            _ => None,
        }
    }

    /// A bounded name for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mesh(_) => "observabilitymesh",
            Self::TrafficLog(_) => "trafficlog",
            Self::TracingBackend(_) => "tracingbackend",
            Self::Telemetries(_) => "telemetries",
            Self::WasmPlugins(_) => "wasmplugins",
            Self::MeshConfig(_) => "meshconfig",
            Self::KumaPolicies(_) => "kumapolicies",
            Self::KumaReceivers(_) => "kumareceivers",
            Self::KmeshSwitches(_) => "kmeshswitches",
            Self::Export(..) => "export",
            Self::Collector(_) => "collector",
            Self::KumaMesh(_) => "kumamesh",
            Self::InterfaceTraffic(_) => "interfacetraffic",
            Self::Rollout(_) => "rollout",
            Self::Leftovers => "leftovers",
        }
    }
}

impl From<&Source> for Target {
    fn from(source: &Source) -> Self {
        let key = Key::new(&source.namespace, &source.name);
        match source.kind {
            PolicyKind::TrafficLog => Self::TrafficLog(key),
            PolicyKind::TracingBackend => Self::TracingBackend(key),
            PolicyKind::ObservabilityMesh => Self::Mesh(key.name),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mesh(name)
            | Self::Telemetries(name)
            | Self::WasmPlugins(name)
            | Self::KumaPolicies(name)
            | Self::KumaReceivers(name)
            | Self::KmeshSwitches(name)
            | Self::KumaMesh(name)
            | Self::Collector(name)
            | Self::Rollout(name) => write!(f, "{} {name}", self.kind()),
            Self::TrafficLog(key) | Self::TracingBackend(key) | Self::MeshConfig(key) | Self::InterfaceTraffic(key) => {
                write!(f, "{} {key}", self.kind())
            }
            Self::Export(of, key) => write!(f, "{} {} {key}", self.kind(), of.names().1),
            Self::Leftovers => f.write_str(self.kind()),
        }
    }
}

/// What to do for a target.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Objects as they should stand, whether or not they do.
    pub desired: Vec<(Kind, Value)>,
    /// Objects to apply, in this order.
    pub apply: Vec<Apply>,
    /// Objects to delete, after the applies.
    pub delete: Vec<Delete>,
    /// Objects of other people to patch; of a workload, each patch that says so is a restart.
    pub patch: Vec<ObjectPatch>,
    /// Daemons of Kmesh's to ask.
    pub daemons: Vec<kmesh::Ask>,
    /// Statuses to write where they differ.
    pub statuses: Vec<Status>,
    /// Events to tell.
    pub events: Vec<Event>,
    /// Finalizer to set or take away.
    pub finalizer: Option<Finalizer>,
    /// Objects that cannot be written, and why.
    pub blocked: Vec<(Key, Finding)>,
    /// What the plan of a MeshConfig map says to those who need it: to be noted before it is executed.
    pub map_findings: Option<(Key, MapFindings)>,
    /// When to look again although nothing changes.
    pub look_again: Option<Timestamp>,
}

impl Plan {
    /// Whether executing it would write anything but status.
    pub fn writes_nothing(&self) -> bool {
        self.apply.is_empty()
            && self.delete.is_empty()
            && self.patch.is_empty()
            && self.daemons.is_empty()
            && self.finalizer.is_none()
    }

    fn look_again_at(&mut self, at: Timestamp) {
        self.look_again = Some(self.look_again.map_or(at, |other| other.min(at)));
    }
}

/// An object to apply by server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// Kind.
    pub kind: Kind,
    /// The fields that we mean.
    pub object: Value,
    /// JSON pointers of other people's fields to take out first.
    pub prune: Vec<String>,
    /// The live object that this was planned against; `None`: there is none, and one that turns up is not ours.
    pub live: Option<Live>,
    /// An object that has to go first, because this one has to be younger.
    pub replaces: Option<Delete>,
    /// A digest of the object: where it stands for what was written the last time, an edit is put back.
    pub digest: String,
    /// The field that somebody else changed, as people read it; empty where it is the whole object, or nobody did.
    pub edited: String,
}

/// Which version of a live object something was planned against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Its uid; absent in files.
    pub uid: Option<String>,
    /// Its resourceVersion; absent in files.
    pub version: Option<String>,
}

impl Live {
    fn of(object: &Value) -> Self {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            uid: text("/metadata/uid"),
            version: text("/metadata/resourceVersion"),
        }
    }
}

/// An object to delete.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// Kind.
    pub kind: Kind,
    /// Which.
    pub key: Key,
    /// Only if it is still this one.
    pub uid: Option<String>,
}

/// An object of somebody else to patch: a workload, or a ConfigMap with MeshConfig.
#[derive(Clone, Debug)]
pub struct ObjectPatch {
    /// Its kind.
    pub kind: Kind,
    /// Which.
    pub key: Key,
    /// One JSON patch: of a workload, one rollout. It tests the version that it was planned against.
    pub patch: json_patch::Patch,
    /// The time that the patch notes as the start of the restart; `None` where it restarts nothing.
    pub starts: Option<Timestamp>,
    /// What it is for: the hash of a restart, a digest of entries. Where that is what was written the last time, somebody
    /// took it back. `None`: nobody can.
    pub wanted: Option<String>,
    /// What of it somebody else changed, as people read it; empty where it is the whole, or nobody did.
    pub edited: String,
}

/// A status to write where it differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Whose.
    pub of: Target,
    /// Generation that was judged.
    pub generation: Option<i64>,
    /// Conditions, without times.
    pub findings: Vec<Finding>,
    /// The other fields.
    pub fields: Map<String, Value>,
    /// Whether it rests on facts that have not been read yet.
    pub provisional: bool,
}

impl Status {
    /// A status; provisional where a finding says that facts are missing.
    pub fn new(of: Target, generation: Option<i64>, findings: Vec<Finding>, fields: Map<String, Value>) -> Self {
        let provisional = findings.iter().any(|finding| finding.reason == Reason::FactsPending);
        Self {
            of,
            generation,
            findings,
            fields,
            provisional,
        }
    }
}

/// An event to tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Resource that it is about.
    pub about: Target,
    /// Whether something is wrong.
    pub warning: bool,
    /// Short name in camel case.
    pub reason: &'static str,
    /// What happened. Stable text: repeats are counted, not listed.
    pub note: String,
}

/// A finalizer to set or take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Set it.
    Set,
    /// Take it away.
    Remove,
}

/// What planning needs besides the snapshot.
pub struct Memory<'a> {
    /// Since when each agent has been stale, by mesh.
    pub quiet: &'a mut BTreeMap<String, QuietMemory>,
    /// Key under which Secret values enter hashes; `None` until it was read or made.
    pub hash_key: Option<&'a [u8]>,
}

/// Makes the plan for a target.
pub fn plan(view: &View<'_>, target: &Target, memory: &mut Memory<'_>) -> Plan {
    if let Some(undecoded) = view.undecoded(target) {
        return judge::undecoded(target, undecoded);
    }
    let mut plan = match target {
        Target::Mesh(name) => judge::mesh::judge(view, name, memory),
        Target::TrafficLog(key) => judge::traffic_log::judge(view, key),
        Target::TracingBackend(key) => judge::tracing_backend::judge(view, key, memory),
        Target::Telemetries(namespace) => telemetries::plan(view, namespace).plan,
        Target::WasmPlugins(namespace) => wasm_plugins::plan(view, namespace),
        Target::MeshConfig(map) => mesh_config::plan(view, map),
        Target::KumaPolicies(namespace) => kuma::plan(view, namespace).plan,
        Target::KumaReceivers(mesh) => kuma::receivers(view, mesh),
        Target::KmeshSwitches(mesh) => kmesh::plan(view, mesh),
        Target::Export(kind, key) => exports::plan(view, *kind, key),
        Target::Collector(mesh) => collector::plan(view, mesh),
        Target::KumaMesh(mesh) => kuma::legacy::plan(view, mesh),
        Target::InterfaceTraffic(map) => interface_traffic::plan(view, map),
        Target::Rollout(mesh) => rollout::plan(view, mesh, memory),
        Target::Leftovers => leftovers::plan(view, memory),
    };
    if view.ejects() {
        plan.statuses.iter_mut().for_each(eject::say_so);
    }
    plan
}

/// Targets that exist because of a resource or a namespace, whatever anybody read, and the one that always does.
pub fn targets_of(snapshot: &Snapshot) -> BTreeSet<Target> {
    let mut targets = BTreeSet::from([Target::Leftovers]);
    for mesh in snapshot.meshes.values() {
        targets.extend(targets_of_mesh(mesh));
    }
    targets.extend(snapshot.traffic_logs.keys().cloned().map(Target::TrafficLog));
    targets.extend(snapshot.tracing_backends.keys().cloned().map(Target::TracingBackend));
    targets.extend(snapshot.undecoded().cloned());
    let namespaces = snapshot.objects(Kind::Namespace);
    targets.extend(namespaces.flat_map(|(key, _)| targets_of_namespace(&key.name)));
    targets.extend(
        kuma::namespaces_with_objects(snapshot)
            .into_iter()
            .map(Target::KumaPolicies),
    );
    targets.extend(exports::operator_objects_of(snapshot));
    targets
}

/// Targets that exist because of a namespace.
pub fn targets_of_namespace(name: &str) -> [Target; 3] {
    [
        Target::KumaPolicies(name.to_owned()),
        Target::Telemetries(name.to_owned()),
        Target::WasmPlugins(name.to_owned()),
    ]
}

/// Targets that exist because of a mesh.
pub fn targets_of_mesh(mesh: &ObservabilityMesh) -> BTreeSet<Target> {
    let name = name_of(mesh).to_owned();
    let mut targets = BTreeSet::from([Target::Mesh(name.clone()), Target::Rollout(name)]);
    if let Some(istio) = istio_of(mesh) {
        let maps = maps_of(&istio).into_iter().chain(former_maps_of(mesh, &istio));
        targets.extend(maps.map(Target::MeshConfig));
    }
    if kuma_of(mesh).is_some() {
        targets.insert(Target::KumaReceivers(name_of(mesh).to_owned()));
        targets.insert(Target::KumaMesh(name_of(mesh).to_owned()));
    }
    if kmesh_of(mesh).is_some() {
        targets.insert(Target::KmeshSwitches(name_of(mesh).to_owned()));
    }
    if mesh.spec.collector.is_some() || Noted::of(mesh).is_some() {
        targets.insert(Target::Collector(name_of(mesh).to_owned()));
    }
    let written = outputs_of(mesh).into_iter().map(|(_, kind, key)| (kind, key));
    let former = former_export_maps_of(mesh)
        .into_iter()
        .map(|map| (Kind::ConfigMap, map));
    targets.extend(written.chain(former).map(|(kind, key)| Target::Export(kind, key)));
    if let Some(traffic) = &mesh.spec.interface_traffic {
        let map = &traffic.config_map;
        targets.insert(Target::InterfaceTraffic(Key::new(&map.namespace, &map.name)));
    }
    targets
}

/// Plans the write of one object that is wholly or partly ours: nothing, an apply, or why not.
///
/// `rules.tell` names the resources that are told when somebody's object is taken over, or an edit is put back.
fn plan_object(plan: &mut Plan, kind: Kind, wanted: Value, live: Option<&Value>, rules: &WriteRules<'_>) {
    let key = key_of(&wanted);
    let digest = digest_of(&wanted);
    let contest = rules.view.contest(kind, &key);
    let Some(live) = live else {
        // What we made, and did not take away, somebody else did.
        if let Some(until) = contest.and_then(|c| c.waits_until(&digest, DELETED, MOST_REVERTS, rules.view.now)) {
            plan.blocked.push((key.clone(), deleted_again(kind, &key, until)));
            plan.look_again_at(until);
            return;
        }
        plan.desired.push((kind, wanted.clone()));
        plan.apply.push(Apply {
            kind,
            object: wanted,
            prune: Vec::new(),
            live: None,
            replaces: None,
            digest,
            edited: DELETED.to_owned(),
        });
        return;
    };
    let adopts = !owned::is_ours(live);
    if adopts && !rules.adopt && !owned::may_be_adopted(live) {
        let finding = not_ours(kind, &key, rules.how_to_adopt);
        plan.blocked.push((key, finding));
        return;
    }
    plan.desired.push((kind, wanted.clone()));
    let Some(difference) = owned::difference(&wanted, live, rules.wholly_ours) else {
        return;
    };
    let (_, name, _) = kind.names();
    let mut edited = String::new();
    let mut tell = |warning, reason, note: String| {
        plan.events.extend(rules.tell.iter().map(|about| Event {
            about: about.clone(),
            warning,
            reason,
            note: note.clone(),
        }));
    };
    if adopts {
        let note = format!("{name} {key} of somebody else is taken over.");
        tell(false, "Adopted", note);
    } else if let Some((field, manager)) = edited_by(&difference, contest.is_some_and(|c| c.stood(&digest))) {
        if let Some(until) = contest.and_then(|c| c.waits_until(&digest, &field, MOST_REVERTS, rules.view.now)) {
            let finding = contested(name, &key, &field, &manager, until);
            plan.blocked.push((key, finding));
            plan.look_again_at(until);
            return;
        }
        let note = format!("{name} {key}: field {field} was changed by {manager}; put back.");
        tell(true, "DriftReverted", note);
        edited = field;
    }
    plan.apply.push(Apply {
        kind,
        object: wanted,
        prune: difference.extra,
        live: Some(Live::of(live)),
        replaces: None,
        digest,
        edited,
    });
}

/// The finding of `Programmed` for an object of somebody else that stands where ours would.
fn not_ours(kind: Kind, key: &Key, how_to_adopt: Option<&str>) -> Finding {
    let message = format!(
        "{} {key} exists and is not Sightline's; remove it, or let Sightline take it over: {}.",
        kind.names().1,
        how_to_adopt.unwrap_or("annotate it with sightline.dev/adopt=true")
    );
    Finding::fails(crate::conditions::ConditionType::Programmed, Reason::NotOurs, message)
}

/// The digest of an object as we mean it.
fn digest_of(wanted: &Value) -> String {
    digest::short(&wanted.to_string(), 16)
}

/// The field that somebody else changed, and who. Who takes a field away leaves no name; that it stood, `stood`, we know.
fn edited_by(difference: &owned::Difference, stood: bool) -> Option<(String, String)> {
    let unnamed = || {
        let pointer = difference.changed.iter().chain(&difference.extra).next()?;
        stood.then(|| (owned::dotted(pointer), "somebody".to_owned()))
    };
    difference.edited_by.clone().or_else(unnamed)
}

/// An edit is put back so often within an hour.
const MOST_REVERTS: usize = 3;

/// Stands for the field that was edited where the whole object was deleted.
const DELETED: &str = "";

/// The finding of an object that somebody else deletes again and again.
fn deleted_again(kind: Kind, key: &Key, until: Timestamp) -> Finding {
    let message = format!(
        "{} {key} is deleted by somebody again and again; it was made again {MOST_REVERTS} times within an hour and is left away until {until:.0}. Take it out of what somebody else manages or prunes.",
        kind.names().1
    );
    Finding::fails(crate::conditions::ConditionType::Programmed, Reason::Contested, message)
}

/// The finding of an object that somebody else changes again and again.
fn contested(name: &str, key: &Key, field: &str, manager: &str, until: Timestamp) -> Finding {
    let message = format!(
        "{name} {key}: {manager} changes field {field} again and again; it was put back {MOST_REVERTS} times within an hour and stays as {manager} left it until {until:.0}. Take the object out of what {manager} manages."
    );
    Finding::fails(crate::conditions::ConditionType::Programmed, Reason::Contested, message)
}

/// How an object may be written.
struct WriteRules<'a> {
    /// Where it is remembered who took back what we wrote.
    view: &'a View<'a>,
    /// Whether the spec lets us take it over.
    adopt: bool,
    /// What to write in the spec for that.
    how_to_adopt: Option<&'a str>,
    /// Parts in which nothing of anybody else may stand.
    wholly_ours: owned::WhollyOurs<'a>,
    /// Resources to tell when it is taken over, or an edit is put back.
    tell: &'a [Target],
}
