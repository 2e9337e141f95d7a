//! The world as plain data, and a view of it that remembers what was read.
//!
//! The memory is what makes dispatch exact: what a pass read is what it has to be run again for, and the objects that
//! it read by name are those that have to be watched. Nobody writes such an index by hand, so none can be forgotten.

mod contest;
pub mod daemons;
mod insights;
pub mod mesh_config;
mod own;
pub mod proxies;
mod timings;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use crate::conditions::Finding;
use crate::crds::{ObservabilityMesh, TracingBackend, TrafficLog, WorkloadKind};
use crate::plan::Target;
use crate::policy::collector::with_addresses;
use crate::render::istio::provider::PREFIX;
use crate::render::istio::versions::ImageVersion;
use crate::render::kuma::policy::NAMESPACE_POINTER;
pub use contest::Contest;
use daemons::Asked;
use insights::{Insight, Insights};
use mesh_config::MeshConfig;
pub use own::Undecoded;
use proxies::{PROXY_LABEL, Proxies, Versions, proxy_of};
pub use timings::Timings;

/// Namespace and name of a namespaced object; the namespace is empty for a cluster-scoped one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Kinds of object that are facts or outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Service.
    Service,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
    /// `v1` Pod: those of control planes, and Kmesh's daemons.
    Pod,
    /// `v1` Pod: those that run a proxy of Istio. Only the version of it is kept, see [`proxies`].
    Proxy,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` ReplicaSet: the age of a Deployment's pod template.
    ReplicaSet,
    /// `apps/v1` ControllerRevision: the age of a DaemonSet's or StatefulSet's pod template.
    ControllerRevision,
    /// `telemetry.istio.io/v1` Telemetry.
    Telemetry,
    /// `extensions.istio.io/v1alpha1` WasmPlugin.
    WasmPlugin,
    /// `gateway.networking.k8s.io/v1` Gateway.
    Gateway,
    /// `networking.istio.io/v1` ServiceEntry.
    ServiceEntry,
    /// `kuma.io/v1alpha1` MeshOpenTelemetryBackend.
    MeshOpenTelemetryBackend,
    /// `kuma.io/v1alpha1` MeshAccessLog.
    MeshAccessLog,
    /// `kuma.io/v1alpha1` MeshTrace.
    MeshTrace,
    /// `kuma.io/v1alpha1` MeshMetric.
    MeshMetric,
    /// `kuma.io/v1alpha1` Mesh, of the whole cluster.
    KumaMesh,
    /// `kuma.io/v1alpha1` TrafficLog of Kuma 2.x, of the whole cluster.
    KumaTrafficLog,
    /// `kuma.io/v1alpha1` TrafficTrace of Kuma 2.x, of the whole cluster.
    KumaTrafficTrace,
    /// `kuma.io/v1alpha1` DataplaneInsight. Only what it says of refused listeners is kept, see [`insights`].
    DataplaneInsight,
    /// `monitoring.coreos.com/v1` PodMonitor.
    PodMonitor,
    /// `monitoring.coreos.com/v1` ServiceMonitor.
    ServiceMonitor,
    /// `monitoring.coreos.com/v1alpha1` ScrapeConfig.
    ScrapeConfig,
    /// `monitoring.coreos.com/v1` PrometheusRule.
    PrometheusRule,
    /// `monitoring.coreos.com/v1` Prometheus.
    Prometheus,
    /// `opentelemetry.io/v1beta1` OpenTelemetryCollector.
    OpenTelemetryCollector,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 29] = [
        Self::Namespace,
        Self::Service,
        Self::ConfigMap,
        Self::Secret,
        Self::Pod,
        Self::Proxy,
        Self::Deployment,
        Self::DaemonSet,
        Self::StatefulSet,
        Self::ReplicaSet,
        Self::ControllerRevision,
        Self::Telemetry,
        Self::WasmPlugin,
        Self::Gateway,
        Self::ServiceEntry,
        Self::MeshOpenTelemetryBackend,
        Self::MeshAccessLog,
        Self::MeshTrace,
        Self::MeshMetric,
        Self::KumaMesh,
        Self::KumaTrafficLog,
        Self::KumaTrafficTrace,
        Self::DataplaneInsight,
        Self::PodMonitor,
        Self::ServiceMonitor,
        Self::ScrapeConfig,
        Self::PrometheusRule,
        Self::Prometheus,
        Self::OpenTelemetryCollector,
    ];

    /// `(apiVersion, kind, plural)`.
    pub const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("v1", "Namespace", "namespaces"),
            Self::Service => ("v1", "Service", "services"),
            Self::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Self::Secret => ("v1", "Secret", "secrets"),
            Self::Pod | Self::Proxy => ("v1", "Pod", "pods"),
            Self::Deployment => ("apps/v1", "Deployment", "deployments"),
            Self::DaemonSet => ("apps/v1", "DaemonSet", "daemonsets"),
            Self::StatefulSet => ("apps/v1", "StatefulSet", "statefulsets"),
            Self::ReplicaSet => ("apps/v1", "ReplicaSet", "replicasets"),
            Self::ControllerRevision => ("apps/v1", "ControllerRevision", "controllerrevisions"),
            Self::Telemetry => ("telemetry.istio.io/v1", "Telemetry", "telemetries"),
            Self::WasmPlugin => ("extensions.istio.io/v1alpha1", "WasmPlugin", "wasmplugins"),
            Self::Gateway => ("gateway.networking.k8s.io/v1", "Gateway", "gateways"),
            Self::ServiceEntry => ("networking.istio.io/v1", "ServiceEntry", "serviceentries"),
            Self::MeshOpenTelemetryBackend => (
                "kuma.io/v1alpha1",
                "MeshOpenTelemetryBackend",
                "meshopentelemetrybackends",
            ),
            Self::MeshAccessLog => ("kuma.io/v1alpha1", "MeshAccessLog", "meshaccesslogs"),
            Self::MeshTrace => ("kuma.io/v1alpha1", "MeshTrace", "meshtraces"),
            Self::MeshMetric => ("kuma.io/v1alpha1", "MeshMetric", "meshmetrics"),
            Self::KumaMesh => ("kuma.io/v1alpha1", "Mesh", "meshes"),
            Self::KumaTrafficLog => ("kuma.io/v1alpha1", "TrafficLog", "trafficlogs"),
            Self::KumaTrafficTrace => ("kuma.io/v1alpha1", "TrafficTrace", "traffictraces"),
            Self::DataplaneInsight => ("kuma.io/v1alpha1", "DataplaneInsight", "dataplaneinsights"),
            Self::PodMonitor => ("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
            Self::ServiceMonitor => ("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
            Self::ScrapeConfig => ("monitoring.coreos.com/v1alpha1", "ScrapeConfig", "scrapeconfigs"),
            Self::PrometheusRule => ("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
            Self::Prometheus => ("monitoring.coreos.com/v1", "Prometheus", "prometheuses"),
            Self::OpenTelemetryCollector => (
                "opentelemetry.io/v1beta1",
                "OpenTelemetryCollector",
                "opentelemetrycollectors",
            ),
        }
    }

    /// The kind of an object, if it is one of ours to read. Older API versions of the same kind count.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = |text: &str| text.split_once('/').map_or("", |(group, _)| group).to_owned();
        Self::ALL
            .into_iter()
            .find(|k| k.names().1 == kind && group(k.names().0) == group(api_version))
    }

    /// The kind of a workload.
    pub const fn of_workload(kind: WorkloadKind) -> Self {
        match kind {
            WorkloadKind::Deployment => Self::Deployment,
            WorkloadKind::DaemonSet => Self::DaemonSet,
            WorkloadKind::StatefulSet => Self::StatefulSet,
        }
    }

    /// The kind of workload that it is, if it is one.
    pub const fn workload(self) -> Option<WorkloadKind> {
        match self {
            Self::Deployment => Some(WorkloadKind::Deployment),
            Self::DaemonSet => Some(WorkloadKind::DaemonSet),
            Self::StatefulSet => Some(WorkloadKind::StatefulSet),
            _ => None,
        }
    }

    /// Whether all objects of the kind are watched in the whole cluster. The others are watched by name or namespace,
    /// as they are read: least privilege.
    pub const fn is_watched_everywhere(self) -> bool {
        let is_of_a_whole_feature = self.is_of_a_feature() && !self.is_watched_as_a_whole();
        matches!(self, Self::Namespace | Self::Service | Self::Telemetry) || is_of_a_whole_feature
    }

    /// Whether all objects of the kind are watched in the whole cluster while somebody reads some of them: where they stand
    /// no right of a namespace could tell.
    pub const fn is_watched_as_a_whole(self) -> bool {
        matches!(
            self,
            Self::DataplaneInsight
                | Self::KumaMesh
                | Self::KumaTrafficLog
                | Self::KumaTrafficTrace
                | Self::OpenTelemetryCollector
        )
    }

    /// Whether the right to it is given for a feature only (`cluster::rbac::Feature`), so that the rest goes without.
    pub const fn is_of_a_feature(self) -> bool {
        matches!(
            self,
            Self::Proxy
                | Self::WasmPlugin
                | Self::DataplaneInsight
                | Self::PodMonitor
                | Self::ServiceMonitor
                | Self::ScrapeConfig
                | Self::PrometheusRule
                | Self::Prometheus
                | Self::OpenTelemetryCollector
                | Self::KumaMesh
                | Self::KumaTrafficLog
                | Self::KumaTrafficTrace
        )
    }

    /// Whether objects of the kind stand in a namespace.
    pub const fn is_namespaced(self) -> bool {
        !matches!(
            self,
            Self::Namespace | Self::KumaMesh | Self::KumaTrafficLog | Self::KumaTrafficTrace
        )
    }

    /// The label selector of the watches of this kind, where not all of its objects are read.
    pub const fn label_selector(self) -> Option<&'static str> {
        match self {
            Self::Pod => Some("app in (istiod,kmesh,kuma-control-plane)"),
            Self::Proxy => Some(PROXY_LABEL),
            _ => None,
        }
    }
}

/// What one watch covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All objects of the kind.
    Cluster,
    /// All objects of one namespace (for Pods: those of control planes).
    Namespace(String),
    /// One object.
    Object(Key),
}

/// State of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// The first list is in.
    Loaded,
    /// The API server said 403.
    Forbidden,
    /// The API server does not know the kind.
    KindMissing,
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// It exists.
    Present(T),
    /// It does not.
    Absent,
    /// Not read yet.
    Unknown,
    /// We may not read it.
    Forbidden,
    /// The API server does not know the kind.
    KindMissing,
}

impl<T> Fact<T> {
    /// The value, where there is one.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            _ => None,
        }
    }
}

/// One thing that a pass read: it is run again when that changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// The ObservabilityMeshes.
    Meshes,
    /// The policies of one namespace.
    PoliciesIn(String),
    /// The policies of all namespaces.
    AllPolicies,
    /// All objects of a kind.
    Objects(Kind),
    /// All objects of a kind in a namespace.
    ObjectsIn(Kind, String),
    /// The objects of a kind in the first namespace that are for the second, by label (`render::kuma`); empty: for none.
    ObjectsFor(Kind, String, String),
    /// One object.
    Object(Kind, Key),
    /// One extension provider of a ConfigMap with MeshConfig.
    Provider(Key, String),
    /// Which live Telemetries name extension providers.
    ProviderUses,
    /// Which versions of Istio's proxies run in the namespaces that a mesh selects.
    ProxiesOf(String),
    /// Which versions of Istio's proxies run in a namespace.
    ProxiesIn(String),
    /// Whether a kind can be watched.
    State(Kind),
    /// Whether the API server refused our last write of an object.
    Refusal(Kind, Key),
    /// What is remembered of Kmesh's daemons in a namespace.
    Daemons(String),
    /// Whether a MeshConfig map can be written.
    MapBlocked(Key),
    /// Whether the extension providers of a resource find room in a MeshConfig map.
    MapRoom(Key, Target),
}

impl Read {
    /// The watch that this read needs, unless its kind is watched everywhere.
    pub fn watch(&self) -> Option<(Kind, Scope)> {
        let (kind, scope) = match self {
            Self::Objects(kind) | Self::ObjectsIn(kind, _) | Self::ObjectsFor(kind, ..) | Self::Object(kind, _)
                if kind.is_watched_as_a_whole() =>
            {
                (*kind, Scope::Cluster)
            }
            Self::Object(kind, key) => (*kind, Scope::Object(key.clone())),
            Self::ObjectsIn(kind, namespace) | Self::ObjectsFor(kind, namespace, _) => {
                (*kind, Scope::Namespace(namespace.clone()))
            }
            Self::Provider(map, _) => (Kind::ConfigMap, Scope::Object(map.clone())),
            _ => return None,
        };
        (!kind.is_watched_everywhere()).then_some((kind, scope))
    }
}

/// What we remember of one extension provider in one MeshConfig map.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenProvider {
    /// Its entry.
    pub entry: Value,
    /// When we first saw it there.
    pub since: Timestamp,
}

/// What the last plan of a MeshConfig map says to those who need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapFindings {
    /// Why nothing can be written there.
    pub blocked: Option<Finding>,
    /// Resources whose extension providers find no room, and why.
    pub no_room: BTreeMap<Target, Finding>,
}

/// The world as plain data.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// ObservabilityMeshes by name.
    pub meshes: BTreeMap<String, Arc<ObservabilityMesh>>,
    /// TrafficLogs.
    pub traffic_logs: BTreeMap<Key, Arc<TrafficLog>>,
    /// TracingBackends.
    pub tracing_backends: BTreeMap<Key, Arc<TracingBackend>>,
    /// Resources of ours that are there and cannot be read.
    undecoded: BTreeMap<Target, Undecoded>,
    /// Whether every resource counts as being deleted, see [`Snapshot::of_eject`].
    ejects: bool,
    objects: BTreeMap<Kind, BTreeMap<Key, Arc<Value>>>,
    watches: BTreeMap<(Kind, Scope), WatchState>,
    mesh_configs: BTreeMap<Key, MeshConfig>,
    /// Why a MeshConfig is not read.
    unreadable: BTreeMap<Key, String>,
    providers: BTreeMap<Key, BTreeMap<String, SeenProvider>>,
    /// Last entries of our providers that left their map while a live Telemetry named them.
    lost: BTreeMap<Key, BTreeMap<String, Value>>,
    uses: BTreeMap<String, BTreeSet<Key>>,
    unused_since: BTreeMap<String, Timestamp>,
    map_writes: BTreeMap<Key, Timestamp>,
    map_findings: BTreeMap<Key, MapFindings>,
    refusals: BTreeMap<(Kind, Key), String>,
    contests: BTreeMap<(Kind, Key), Contest>,
    asked: BTreeMap<Key, Asked>,
    /// Namespaces in which a daemon was ever asked.
    asked_in: BTreeSet<String>,
    proxies: Proxies,
    insights: Insights,
    /// Versions in the namespaces that a mesh selects, by its name. Kept, because every policy of a mesh asks for it and
    /// must not be planned again for each namespace that has proxies.
    proxies_of: BTreeMap<String, Versions>,
}

impl Snapshot {
    /// The world as `sightline eject` sees it: each of our resources that is put into it counts as being deleted, so that
    /// what was rendered is taken away by the very plans that a deletion has.
    pub fn of_eject() -> Self {
        Self {
            ejects: true,
            ..Self::default()
        }
    }

    /// A resource as it counts here.
    fn as_seen<K: kube::ResourceExt + Clone>(&self, mut resource: Option<Arc<K>>) -> Option<Arc<K>> {
        if let Some(resource) = resource.as_mut().filter(|_| self.ejects) {
            // Always the same time: a version that differs in nothing else has to look the same.
            let deleted = &mut Arc::make_mut(resource).meta_mut().deletion_timestamp;
            deleted.get_or_insert(Time(Timestamp::UNIX_EPOCH));
        }
        resource
    }

    /// Notes that the API server refused our last write of an object, or (`None`) took it.
    pub fn note_refusal(&mut self, kind: Kind, key: &Key, why: Option<&str>) -> BTreeSet<Read> {
        let id = (kind, key.clone());
        let before = match why {
            Some(why) => self.refusals.insert(id, why.to_owned()),
            None => self.refusals.remove(&id),
        };
        if before.as_deref() == why {
            BTreeSet::new()
        } else {
            BTreeSet::from([Read::Refusal(kind, key.clone())])
        }
    }

    /// Notes how it went with a daemon of Kmesh's.
    pub fn note_asked(&mut self, daemon: &Key, asked: Asked) -> BTreeSet<Read> {
        // Who was asked while its pod went is forgotten with it.
        if self.object(Kind::Pod, daemon).is_none() {
            return BTreeSet::new();
        }
        self.asked.insert(daemon.clone(), asked);
        self.asked_in.insert(daemon.namespace.clone());
        BTreeSet::from([Read::Daemons(daemon.namespace.clone())])
    }

    /// Forgets what daemons were asked for: somebody else may have asked them since.
    pub fn forget_asked(&mut self) -> BTreeSet<Read> {
        let forgotten = std::mem::take(&mut self.asked);
        self.asked_in.clear();
        forgotten
            .into_keys()
            .map(|daemon| Read::Daemons(daemon.namespace))
            .collect()
    }

    /// What we wrote of an object, and how often somebody took it back: to be told of each write.
    pub fn contest_mut(&mut self, kind: Kind, key: &Key) -> &mut Contest {
        self.contests.entry((kind, key.clone())).or_default()
    }

    /// Notes that we wrote a MeshConfig map: the next write waits.
    pub fn note_map_write(&mut self, map: &Key, now: Timestamp) {
        self.map_writes.insert(map.clone(), now);
    }

    /// Notes what the plan of a MeshConfig map says to those who need it.
    pub fn note_map_findings(&mut self, map: &Key, findings: MapFindings) -> BTreeSet<Read> {
        let before = self.map_findings.remove(map).unwrap_or_default();
        let findings = self.map_findings.entry(map.clone()).or_insert(findings);
        let mut reads = BTreeSet::new();
        if before.blocked != findings.blocked {
            reads.insert(Read::MapBlocked(map.clone()));
        }
        let of = before.no_room.keys().chain(findings.no_room.keys());
        let changed = of.filter(|target| before.no_room.get(*target) != findings.no_room.get(*target));
        reads.extend(changed.map(|target| Read::MapRoom(map.clone(), target.clone())));
        reads
    }

    /// Puts an object in, or replaces it. Returns what has changed for readers.
    #[expect(clippy::needless_pass_by_value, reason = "the snapshot keeps it")]
    pub fn put(&mut self, kind: Kind, object: Arc<Value>, now: Timestamp) -> BTreeSet<Read> {
        let key = key_of(&object);
        if kind == Kind::Proxy {
            return self.note_proxy(&key, proxy_of(&object));
        }
        if kind == Kind::DataplaneInsight {
            return self.note_insight(&key, Insight::of(&object), now);
        }
        if self.object(kind, &key).is_some_and(|have| is_older(&object, have)) {
            return BTreeSet::new();
        }
        let before = self
            .objects
            .entry(kind)
            .or_default()
            .insert(key.clone(), object.clone());
        if before.as_deref() == Some(&object) {
            return BTreeSet::new();
        }
        self.changed(kind, &key, before.as_deref(), Some(&object), now)
    }

    /// Takes an object out.
    pub fn remove(&mut self, kind: Kind, key: &Key, now: Timestamp) -> BTreeSet<Read> {
        if kind == Kind::Proxy {
            return self.note_proxy(key, None);
        }
        if kind == Kind::DataplaneInsight {
            return self.note_insight(key, None, now);
        }
        self.refusals.remove(&(kind, key.clone()));
        if kind == Kind::Pod {
            self.asked.remove(key);
        }
        match self.objects.entry(kind).or_default().remove(key) {
            Some(before) => self.changed(kind, key, Some(&before), None, now),
            None => BTreeSet::new(),
        }
    }

    /// Takes out the object that a watch saw go, unless another of its name stands there by now.
    pub fn remove_version(&mut self, kind: Kind, gone: &Value, now: Timestamp) -> BTreeSet<Read> {
        let key = key_of(gone);
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        if self.object(kind, &key).is_some_and(|have| uid(have) != uid(gone)) {
            return BTreeSet::new();
        }
        self.remove(kind, &key, now)
    }

    /// Notes how a watch stands; `None` when it was stopped.
    pub fn set_watch(&mut self, kind: Kind, scope: &Scope, state: Option<WatchState>) -> BTreeSet<Read> {
        let id = (kind, scope.clone());
        let before = match state {
            Some(state) => self.watches.insert(id, state),
            None => self.watches.remove(&id),
        };
        if before == state {
            return BTreeSet::new();
        }
        match scope {
            Scope::Cluster => {
                let mut reads = self.count_proxies();
                reads.insert(Read::State(kind));
                reads
            }
            Scope::Namespace(namespace) => {
                BTreeSet::from([Read::ObjectsIn(kind, namespace.clone()), Read::State(kind)])
            }
            Scope::Object(key) => {
                let mut reads = BTreeSet::from([Read::Object(kind, key.clone())]);
                reads.extend(
                    self.providers
                        .get(key)
                        .into_iter()
                        .flatten()
                        .map(|(n, _)| Read::Provider(key.clone(), n.clone())),
                );
                reads
            }
        }
    }

    /// How a watch stands.
    pub fn watch(&self, kind: Kind, scope: &Scope) -> Option<WatchState> {
        self.watches.get(&(kind, scope.clone())).copied()
    }

    /// Marks every kind as read in full: for snapshots made from files.
    #[must_use]
    pub fn loaded(mut self) -> Self {
        for kind in Kind::ALL {
            self.watches.insert((kind, Scope::Cluster), WatchState::Loaded);
        }
        self
    }

    /// The object of that key, as last seen.
    pub fn object(&self, kind: Kind, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(&kind)?.get(key)
    }

    /// Keys of the objects of a kind.
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        match kind {
            Kind::Proxy => self.proxies.keys().collect(),
            Kind::DataplaneInsight => self.insights.keys().cloned().collect(),
            _ => self.objects(kind).map(|(key, _)| key.clone()).collect(),
        }
    }

    /// Objects of a kind.
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.get(&kind).into_iter().flatten()
    }

    /// Objects of a kind in a namespace.
    pub fn objects_in(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let namespace = namespace.to_owned();
        self.objects
            .get(&kind)
            .into_iter()
            .flat_map(move |map| in_namespace(map, &namespace))
    }

    fn changed(
        &mut self,
        kind: Kind,
        key: &Key,
        before: Option<&Value>,
        after: Option<&Value>,
        now: Timestamp,
    ) -> BTreeSet<Read> {
        let mut reads = BTreeSet::from([
            Read::Objects(kind),
            Read::ObjectsIn(kind, key.namespace.clone()),
            Read::Object(kind, key.clone()),
        ]);
        let of = before.into_iter().chain(after).map(is_for);
        reads.extend(of.map(|namespace| Read::ObjectsFor(kind, key.namespace.clone(), namespace.to_owned())));
        match kind {
            Kind::ConfigMap => reads.extend(self.note_providers(key, after, now)),
            Kind::Telemetry if self.note_uses(key, before, after, now) => drop(reads.insert(Read::ProviderUses)),
            Kind::Namespace => reads.extend(self.count_proxies()),
            _ => {}
        }
        reads
    }

    fn note_proxy(&mut self, pod: &Key, version: Option<ImageVersion>) -> BTreeSet<Read> {
        if !self.proxies.set(pod, version) {
            return BTreeSet::new();
        }
        let mut reads = self.count_proxies();
        reads.insert(Read::ProxiesIn(pod.namespace.clone()));
        reads
    }

    fn note_insight(&mut self, key: &Key, insight: Option<Insight>, now: Timestamp) -> BTreeSet<Read> {
        let kind = Kind::DataplaneInsight;
        let is_first_list = self.watch(kind, &Scope::Cluster) != Some(WatchState::Loaded);
        if !self.insights.set(key, insight, is_first_list, now) {
            return BTreeSet::new();
        }
        BTreeSet::from([Read::Objects(kind), Read::ObjectsIn(kind, key.namespace.clone())])
    }

    /// Looks up anew which versions the namespaces of each mesh have. Nothing reads that before both lists are in.
    fn count_proxies(&mut self) -> BTreeSet<Read> {
        let is_loaded = |kind| self.watch(kind, &Scope::Cluster) == Some(WatchState::Loaded);
        if !is_loaded(Kind::Namespace) || !is_loaded(Kind::Proxy) {
            return BTreeSet::new();
        }
        let versions = |mesh: &ObservabilityMesh| {
            // What is no selector selects nothing; the mesh's status says so.
            let selector = Selector::try_from(mesh.spec.namespaces.clone()).ok()?;
            let is_selected = |namespace: &str| {
                let object = self.object(Kind::Namespace, &Key::new("", namespace));
                object.is_some_and(|object| selector.matches(&labels_of(object)))
            };
            Some(self.proxies.versions_where(is_selected)).filter(|versions| !versions.is_empty())
        };
        let meshes = self.meshes.iter();
        let new: BTreeMap<String, Versions> = meshes
            .filter_map(|(name, mesh)| Some((name.clone(), versions(mesh)?)))
            .collect();
        let old = std::mem::replace(&mut self.proxies_of, new);
        let names = old.keys().chain(self.proxies_of.keys());
        names
            .filter(|name| old.get(*name) != self.proxies_of.get(*name))
            .map(|name| Read::ProxiesOf(name.clone()))
            .collect()
    }

    fn note_providers(&mut self, map: &Key, after: Option<&Value>, now: Timestamp) -> BTreeSet<Read> {
        let old = self.providers.remove(map).unwrap_or_default();
        // What the first list brings has stood there since it was written, not since we look.
        let scopes = [
            Scope::Cluster,
            Scope::Namespace(map.namespace.clone()),
            Scope::Object(map.clone()),
        ];
        let watched = scopes
            .iter()
            .any(|scope| self.watch(Kind::ConfigMap, scope) == Some(WatchState::Loaded));
        let appeared = after
            .filter(|_| !watched)
            .and_then(data_written)
            .map_or(now, |at| at.min(now));
        self.mesh_configs.remove(map);
        self.unreadable.remove(map);
        match after.map_or(Ok(None), mesh_config::read) {
            Ok(Some(config)) => drop(self.mesh_configs.insert(map.clone(), config)),
            Ok(None) => {}
            Err(error) => drop(self.unreadable.insert(map.clone(), error.to_string())),
        }
        let listed = self.mesh_configs.get(map).map(|config| config.providers.clone());
        let new: BTreeMap<String, SeenProvider> = listed
            .unwrap_or_default()
            .into_iter()
            .map(|(name, entry)| {
                let since = old
                    .get(&name)
                    .filter(|p| p.entry == entry)
                    .map_or(appeared, |p| p.since);
                (name, SeenProvider { entry, since })
            })
            .collect();
        let changed = old
            .keys()
            .chain(new.keys())
            .filter(|name| old.get(*name) != new.get(*name))
            .map(|name| Read::Provider(map.clone(), name.clone()))
            .collect();
        // In a map that others write too, only what has a name of ours is ours to put back.
        let gone = old.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        let mut lost = self.lost.remove(map).unwrap_or_default();
        lost.extend(gone.map(|(name, seen)| (name, seen.entry)));
        lost.retain(|name, _| !new.contains_key(name) && self.uses.contains_key(name));
        if !lost.is_empty() {
            self.lost.insert(map.clone(), lost);
        }
        if !new.is_empty() {
            self.providers.insert(map.clone(), new);
        }
        changed
    }

    fn note_uses(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>, now: Timestamp) -> bool {
        let old = before.map(provider_names).unwrap_or_default();
        let new = after.map(provider_names).unwrap_or_default();
        for name in old.difference(&new) {
            if let Some(users) = self.uses.get_mut(name) {
                users.remove(key);
                if users.is_empty() {
                    self.uses.remove(name);
                    self.unused_since.insert(name.clone(), now);
                }
            }
        }
        for name in &new {
            self.uses.entry(name.clone()).or_default().insert(key.clone());
            self.unused_since.remove(name);
        }
        old != new
    }
}

/// The namespace that an object is for, by label; empty where it is for none.
fn is_for(object: &Value) -> &str {
    let label = object.pointer(NAMESPACE_POINTER).and_then(Value::as_str);
    label.unwrap_or_default()
}

/// Whether `new` is an earlier version of `have`: a watch may lag behind the answer to our own write. (Versions of one
/// object are numbers that grow: Kubernetes promises it since 1.35 and etcd has always done it.)
fn is_older(new: &Value, have: &Value) -> bool {
    let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let version = |object: &Value| text(object, "/metadata/resourceVersion")?.parse::<u64>().ok();
    let uid = |object: &Value| text(object, "/metadata/uid");
    uid(new) == uid(have) && version(new).zip(version(have)).is_some_and(|(new, have)| new < have)
}

/// When the data of an object was last written, by the API server's record, which is by the second: one second later, to
/// be never too early.
pub fn data_written(object: &Value) -> Option<Timestamp> {
    let managers = object.pointer("/metadata/managedFields")?.as_array()?;
    let times = managers
        .iter()
        .filter(|manager| {
            ["data", "binaryData"]
                .iter()
                .any(|part| manager.pointer(&format!("/fieldsV1/f:{part}")).is_some())
        })
        .filter_map(|manager| manager.get("time")?.as_str()?.parse::<Timestamp>().ok());
    times.max()?.checked_add(SignedDuration::from_secs(1)).ok()
}

/// Names of the extension providers that a Telemetry refers to.
fn provider_names(telemetry: &Value) -> BTreeSet<String> {
    ["accessLogging", "tracing", "metrics"]
        .iter()
        .filter_map(|section| telemetry.pointer(&format!("/spec/{section}"))?.as_array())
        .flatten()
        .filter_map(|entry| entry.get("providers")?.as_array())
        .flatten()
        .filter_map(|provider| Some(provider.get("name")?.as_str()?.to_owned()))
        .collect()
}

/// What stands in place of a Secret's value where values are not to be shown.
pub fn hidden_value(secret: &Key, key: &str) -> String {
    format!("<secret {}/{}/{key}>", secret.namespace, secret.name)
}

/// Namespace and name of an object.
pub fn key_of(object: &Value) -> Key {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Key::new(text("/metadata/namespace"), text("/metadata/name"))
}

/// The entries of a map that lie in one namespace.
pub fn in_namespace<'a, V>(
    map: &'a BTreeMap<Key, V>,
    namespace: &str,
) -> impl Iterator<Item = (&'a Key, &'a V)> + use<'a, V> {
    let start = Key::new(namespace, "");
    let namespace = namespace.to_owned();
    map.range((Bound::Included(start), Bound::Unbounded))
        .take_while(move |(key, _)| key.namespace == namespace)
}

/// A snapshot that remembers what was read of it.
pub struct View<'a> {
    snapshot: &'a Snapshot,
    /// The present time.
    pub now: Timestamp,
    /// Times of the conversation with istiod.
    pub timings: Timings,
    reads: RefCell<BTreeSet<Read>>,
}

impl<'a> View<'a> {
    /// A view at a time.
    pub fn new(snapshot: &'a Snapshot, now: Timestamp, timings: Timings) -> Self {
        Self {
            snapshot,
            now,
            timings,
            reads: RefCell::default(),
        }
    }

    /// What was read.
    pub fn into_reads(self) -> BTreeSet<Read> {
        self.reads.into_inner()
    }

    fn note(&self, read: Read) {
        self.reads.borrow_mut().insert(read);
    }

    /// Whether all that was rendered is to be taken away, see [`Snapshot::of_eject`].
    pub fn ejects(&self) -> bool {
        self.snapshot.ejects
    }

    /// All ObservabilityMeshes, by name.
    pub fn meshes(&self) -> impl Iterator<Item = &'a Arc<ObservabilityMesh>> + use<'a> {
        self.note(Read::Meshes);
        self.snapshot.meshes.values()
    }

    /// One ObservabilityMesh.
    pub fn mesh(&self, name: &str) -> Option<&'a Arc<ObservabilityMesh>> {
        self.note(Read::Meshes);
        self.snapshot.meshes.get(name)
    }

    /// TrafficLogs of a namespace.
    pub fn traffic_logs_in(&self, namespace: &str) -> Vec<(&'a Key, &'a Arc<TrafficLog>)> {
        self.note(Read::PoliciesIn(namespace.to_owned()));
        in_namespace(&self.snapshot.traffic_logs, namespace).collect()
    }

    /// TracingBackends of a namespace.
    pub fn tracing_backends_in(&self, namespace: &str) -> Vec<(&'a Key, &'a Arc<TracingBackend>)> {
        self.note(Read::PoliciesIn(namespace.to_owned()));
        in_namespace(&self.snapshot.tracing_backends, namespace).collect()
    }

    /// TrafficLogs of all namespaces.
    pub fn traffic_logs(&self) -> impl Iterator<Item = (&'a Key, &'a Arc<TrafficLog>)> + use<'a> {
        self.note(Read::AllPolicies);
        self.snapshot.traffic_logs.iter()
    }

    /// TracingBackends of all namespaces.
    pub fn tracing_backends(&self) -> impl Iterator<Item = (&'a Key, &'a Arc<TracingBackend>)> + use<'a> {
        self.note(Read::AllPolicies);
        self.snapshot.tracing_backends.iter()
    }

    /// Labels of a namespace.
    pub fn namespace_labels(&self, name: &str) -> Fact<BTreeMap<String, String>> {
        match self.object(Kind::Namespace, &Key::new("", name)) {
            Fact::Present(object) => Fact::Present(labels_of(object)),
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
            Fact::Forbidden => Fact::Forbidden,
            Fact::KindMissing => Fact::KindMissing,
        }
    }

    /// One object.
    pub fn object(&self, kind: Kind, key: &Key) -> Fact<&'a Value> {
        self.note(Read::Object(kind, key.clone()));
        self.fact(kind, &Scope::Object(key.clone()), || {
            self.snapshot.object(kind, key).map(|o| &**o)
        })
    }

    /// All objects of a kind in a namespace.
    pub fn objects_in(&self, kind: Kind, namespace: &str) -> Fact<Vec<&'a Value>> {
        self.note(Read::ObjectsIn(kind, namespace.to_owned()));
        let objects = || {
            let in_namespace = self
                .snapshot
                .objects
                .get(&kind)
                .into_iter()
                .flat_map(|m| in_namespace(m, namespace));
            Some(in_namespace.map(|(_, o)| &**o).collect())
        };
        self.fact(kind, &Scope::Namespace(namespace.to_owned()), objects)
    }

    /// The objects of a kind in `namespace` that are for the namespace `of`, by label; empty: those that are for none.
    pub fn objects_for(&self, kind: Kind, namespace: &str, of: &str) -> Fact<Vec<&'a Value>> {
        self.note(Read::ObjectsFor(kind, namespace.to_owned(), of.to_owned()));
        self.note(Read::State(kind));
        let all = || self.snapshot.objects_in(kind, namespace).map(|(_, object)| &**object);
        let objects = || Some(all().filter(|object| is_for(object) == of).collect());
        self.fact(kind, &Scope::Namespace(namespace.to_owned()), objects)
    }

    /// All objects of a kind that is watched everywhere.
    pub fn objects(&self, kind: Kind) -> Fact<Vec<&'a Value>> {
        self.note(Read::Objects(kind));
        let objects = || {
            Some(
                self.snapshot
                    .objects
                    .get(&kind)
                    .into_iter()
                    .flatten()
                    .map(|(_, o)| &**o)
                    .collect(),
            )
        };
        self.fact(kind, &Scope::Cluster, objects)
    }

    /// Versions of Istio's proxies in the namespaces that a mesh selects. Pods that come and go change nothing while these
    /// stay the same.
    pub fn proxies_of(&self, mesh: &str) -> Fact<Versions> {
        self.note(Read::ProxiesOf(mesh.to_owned()));
        let versions = || Some(self.snapshot.proxies_of.get(mesh).cloned().unwrap_or_default());
        self.fact(Kind::Proxy, &Scope::Cluster, versions)
    }

    /// Versions of Istio's proxies in a namespace.
    pub fn proxies_in(&self, namespace: &str) -> Fact<Versions> {
        self.note(Read::ProxiesIn(namespace.to_owned()));
        let versions = || Some(self.snapshot.proxies.versions_in(namespace));
        self.fact(Kind::Proxy, &Scope::Cluster, versions)
    }

    /// The proxies of a mesh of Kuma's, those of one namespace or all, that refuse their listeners, each with the time until
    /// which it counts as one that does.
    pub fn refusing_proxies(&self, mesh: &str, namespace: Option<&str>) -> Fact<Vec<(&'a Key, Timestamp)>> {
        let kind = Kind::DataplaneInsight;
        self.note(namespace.map_or(Read::Objects(kind), |namespace| {
            Read::ObjectsIn(kind, namespace.to_owned())
        }));
        let refusing = || {
            let all = self.snapshot.insights.refusing(mesh, self.now);
            let is_meant = |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
            Some(all.filter(|(key, _)| is_meant(key)).collect())
        };
        self.fact(kind, &Scope::Cluster, refusing)
    }

    /// An extension provider of a MeshConfig map, as last seen.
    pub fn provider(&self, map: &Key, name: &str) -> Option<&'a SeenProvider> {
        self.note(Read::Provider(map.clone(), name.to_owned()));
        self.snapshot.providers.get(map)?.get(name)
    }

    /// All extension providers of a MeshConfig map.
    pub fn providers(&self, map: &Key) -> impl Iterator<Item = (&'a String, &'a SeenProvider)> + use<'a> {
        self.note(Read::Object(Kind::ConfigMap, map.clone()));
        self.snapshot.providers.get(map).into_iter().flatten()
    }

    /// Why the API server refused our last write of an object, if it did.
    pub fn refusal(&self, kind: Kind, key: &Key) -> Option<&'a str> {
        self.note(Read::Refusal(kind, key.clone()));
        self.snapshot.refusals.get(&(kind, key.clone())).map(String::as_str)
    }

    /// What we wrote of an object, and how often somebody took it back.
    pub fn contest(&self, kind: Kind, key: &Key) -> Option<&'a Contest> {
        self.snapshot.contests.get(&(kind, key.clone()))
    }

    /// How it went with a daemon of Kmesh's, when it was last asked.
    pub fn asked(&self, daemon: &Key) -> Option<&'a Asked> {
        self.note(Read::Daemons(daemon.namespace.clone()));
        self.snapshot.asked.get(daemon)
    }

    /// Whether a daemon of a namespace was asked since we began to lead, be it gone or not.
    pub fn has_asked_in(&self, namespace: &str) -> bool {
        self.note(Read::Daemons(namespace.to_owned()));
        self.snapshot.asked_in.contains(namespace)
    }

    /// When we last wrote a MeshConfig map.
    pub fn map_written(&self, map: &Key) -> Option<Timestamp> {
        self.snapshot.map_writes.get(map).copied()
    }

    /// The MeshConfig of a ConfigMap; `None` in it: the map holds none that can be read.
    pub fn mesh_config(&self, map: &Key) -> Fact<Option<&'a MeshConfig>> {
        match self.object(Kind::ConfigMap, map) {
            Fact::Present(_) => Fact::Present(self.snapshot.mesh_configs.get(map)),
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
            Fact::Forbidden => Fact::Forbidden,
            Fact::KindMissing => Fact::KindMissing,
        }
    }

    /// Why the MeshConfig of a ConfigMap cannot be read, and what to do about it.
    pub fn unreadable(&self, map: &Key) -> Option<&'a str> {
        self.note(Read::Object(Kind::ConfigMap, map.clone()));
        self.snapshot.unreadable.get(map).map(String::as_str)
    }

    /// The live Telemetries, ours or not, that name the provider.
    pub fn provider_users(&self, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.note(Read::ProviderUses);
        let users = self.snapshot.uses.get(name).into_iter().flatten();
        let snapshot = self.snapshot;
        users.filter_map(move |key| snapshot.object(Kind::Telemetry, key).map(|object| &**object))
    }

    /// Since when no live Telemetry names the provider; `None`: not since we look.
    pub fn provider_unused_since(&self, name: &str) -> Option<Timestamp> {
        self.note(Read::ProviderUses);
        self.snapshot.unused_since.get(name).copied()
    }

    /// Providers of ours that left the map while a live Telemetry named them, with their last entry.
    pub fn lost_providers(&self, map: &Key) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.note(Read::ProviderUses);
        self.note(Read::Object(Kind::ConfigMap, map.clone()));
        self.snapshot.lost.get(map).into_iter().flatten()
    }

    /// Why extension providers of a resource cannot be written to a MeshConfig map, by the last plan of that map.
    pub fn map_finding(&self, map: &Key, of: &Target) -> Option<&'a Finding> {
        self.note(Read::MapBlocked(map.clone()));
        self.note(Read::MapRoom(map.clone(), of.clone()));
        let findings = self.snapshot.map_findings.get(map)?;
        findings.blocked.as_ref().or_else(|| findings.no_room.get(of))
    }

    fn fact<T>(&self, kind: Kind, scope: &Scope, value: impl FnOnce() -> Option<T>) -> Fact<T> {
        if kind.is_watched_everywhere() || kind.is_watched_as_a_whole() {
            self.note(Read::State(kind));
        }
        let state = self
            .snapshot
            .watch(kind, &Scope::Cluster)
            .or_else(|| self.snapshot.watch(kind, scope));
        match state {
            None => Fact::Unknown,
            Some(WatchState::Forbidden) => Fact::Forbidden,
            Some(WatchState::KindMissing) => Fact::KindMissing,
            Some(WatchState::Loaded) => value().map_or(Fact::Absent, Fact::Present),
        }
    }
}

/// Labels of an object.
pub fn labels_of(object: &Value) -> BTreeMap<String, String> {
    string_map(object.pointer("/metadata/labels"))
}

/// A JSON object of strings as a map; anything else is left out.
pub fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Whether two versions of a resource differ in nothing that a plan is made of. Status is not, but for the maps of a mesh.
pub fn means_the_same<K: kube::ResourceExt>(a: &K, b: &K) -> bool {
    a.uid() == b.uid()
        && a.meta().generation == b.meta().generation
        && a.meta().deletion_timestamp == b.meta().deletion_timestamp
        && a.finalizers() == b.finalizers()
        && a.annotations() == b.annotations()
        && a.labels() == b.labels()
}

/// A resource of ours that a snapshot holds.
pub trait Resource: Sized {
    /// Puts it into the snapshot, or takes it out; returns what has changed for readers.
    fn put(snapshot: &mut Snapshot, key: &Key, resource: Option<Arc<Self>>) -> BTreeSet<Read>;
}

impl Resource for ObservabilityMesh {
    fn put(snapshot: &mut Snapshot, key: &Key, resource: Option<Arc<Self>>) -> BTreeSet<Read> {
        let resource = snapshot.as_seen(resource).map(with_addresses);
        if is_outdated(snapshot.meshes.get(&key.name), resource.as_ref()) {
            return BTreeSet::new();
        }
        let before = snapshot.meshes.get(&key.name);
        let maps = |mesh: Option<&Arc<Self>>| {
            let status = mesh.and_then(|mesh| mesh.status.as_ref());
            status
                .map(|status| (status.mesh_config_maps.clone(), status.collector.clone()))
                .unwrap_or_default()
        };
        // Of a status only this is what a plan is made of.
        let changed = changes(before, resource.as_ref()) || maps(before) != maps(resource.as_ref());
        match resource {
            Some(mesh) => drop(snapshot.meshes.insert(key.name.clone(), mesh)),
            None => drop(snapshot.meshes.remove(&key.name)),
        }
        if changed {
            let mut reads = snapshot.count_proxies();
            reads.insert(Read::Meshes);
            reads
        } else {
            BTreeSet::new()
        }
    }
}

impl Resource for TrafficLog {
    fn put(snapshot: &mut Snapshot, key: &Key, resource: Option<Arc<Self>>) -> BTreeSet<Read> {
        let resource = snapshot.as_seen(resource);
        put_policy(&mut snapshot.traffic_logs, key, resource)
    }
}

impl Resource for TracingBackend {
    fn put(snapshot: &mut Snapshot, key: &Key, resource: Option<Arc<Self>>) -> BTreeSet<Read> {
        let resource = snapshot.as_seen(resource);
        put_policy(&mut snapshot.tracing_backends, key, resource)
    }
}

fn put_policy<K: kube::ResourceExt>(
    map: &mut BTreeMap<Key, Arc<K>>,
    key: &Key,
    resource: Option<Arc<K>>,
) -> BTreeSet<Read> {
    if is_outdated(map.get(key), resource.as_ref()) {
        return BTreeSet::new();
    }
    let changed = changes(map.get(key), resource.as_ref());
    match resource {
        Some(resource) => drop(map.insert(key.clone(), resource)),
        None => drop(map.remove(key)),
    }
    if changed {
        BTreeSet::from([Read::PoliciesIn(key.namespace.clone()), Read::AllPolicies])
    } else {
        BTreeSet::new()
    }
}

/// Whether `after` is an earlier version: the answer to a write of our own may come behind the watch, which has brought
/// what somebody wrote since.
fn is_outdated<K: kube::ResourceExt>(before: Option<&Arc<K>>, after: Option<&Arc<K>>) -> bool {
    let version = |resource: &K| resource.resource_version()?.parse::<u64>().ok();
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    before.uid() == after.uid()
        && version(after)
            .zip(version(before))
            .is_some_and(|(new, have)| new < have)
}

fn changes<K: kube::ResourceExt>(before: Option<&Arc<K>>, after: Option<&Arc<K>>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => !means_the_same(&**before, &**after),
        (None, None) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_late_answer_to_our_status_write_does_not_replace_a_newer_spec() {
        let log = |version: &str, uid: &str, priority: i32| -> Arc<TrafficLog> {
            let metadata = json!({"name": "a", "namespace": "b", "uid": uid, "resourceVersion": version});
            let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog", "metadata": metadata,
                             "spec": {"priority": priority}});
            Arc::new(serde_json::from_value(log).unwrap())
        };
        let key = Key::new("b", "a");
        let mut snapshot = Snapshot::default();
        let mut priority_after = |log| {
            Resource::put(&mut snapshot, &key, Some(log));
            snapshot.traffic_logs[&key].spec.priority
        };
        assert_eq!(priority_after(log("9", "u", 1)), 1);
        assert_eq!(priority_after(log("10", "u", 2)), 2, "versions are numbers");
        assert_eq!(priority_after(log("9", "u", 1)), 2, "an answer from before");
        assert_eq!(priority_after(log("8", "v", 3)), 3, "another object of that name");
    }

    #[test]
    fn proxies_that_come_and_go_are_told_when_the_versions_of_a_mesh_change_and_not_before() {
        let now = Timestamp::UNIX_EPOCH;
        let mut snapshot = Snapshot::default().loaded();
        let mesh = |team: &str| -> Arc<ObservabilityMesh> {
            let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
                              "metadata": {"name": "m", "resourceVersion": "1"},
                              "spec": {"mesh": {"type": "Istio"}, "namespaces": {"matchLabels": {"team": team}}}});
            Arc::new(serde_json::from_value(mesh).unwrap())
        };
        let namespace = |name: &str, team: &str| json!({"metadata": {"name": name, "labels": {"team": team}}});
        let pod = |namespace: &str, name: &str, tag: &str| {
            Arc::new(
                json!({"metadata": {"namespace": namespace, "name": name, "labels": {PROXY_LABEL: "x"}},
                        "spec": {"containers": [{"name": "istio-proxy", "image": format!("proxyv2:{tag}")}]}}),
            )
        };
        let of_mesh = BTreeSet::from([Read::ProxiesOf("m".into()), Read::ProxiesIn("a".into())]);
        let in_namespace = |name: &str| BTreeSet::from([Read::ProxiesIn(name.into())]);
        Resource::put(&mut snapshot, &Key::new("", "m"), Some(mesh("t")));
        for (name, team) in [("a", "t"), ("b", "t"), ("c", "other")] {
            snapshot.put(Kind::Namespace, Arc::new(namespace(name, team)), now);
        }
        let mut put =
            |namespace: &str, name: &str, tag: &str| snapshot.put(Kind::Proxy, pod(namespace, name, tag), now);
        assert_eq!(put("a", "1", "1.30.2"), of_mesh, "the first of its version");
        assert_eq!(put("a", "1", "1.30.2"), BTreeSet::new(), "its status changed");
        assert_eq!(put("a", "2", "1.30.3"), BTreeSet::new(), "a second of that version");
        assert_eq!(
            put("b", "1", "1.30.2"),
            in_namespace("b"),
            "the mesh has that version already"
        );
        assert_eq!(put("c", "1", "1.28.2"), in_namespace("c"), "not of the mesh");
        assert_eq!(put("a", "3", "1.29.0"), of_mesh, "an older one");
        let mut remove = |name: &str| snapshot.remove(Kind::Proxy, &Key::new("a", name), now);
        assert_eq!(remove("1"), BTreeSet::new(), "there is another of that version");
        assert_eq!(remove("1"), BTreeSet::new(), "it was gone already");
        assert_eq!(
            remove("2"),
            in_namespace("a"),
            "another namespace has one of that version"
        );
        assert_eq!(remove("3"), of_mesh, "the last of the older version");
        let of = |snapshot: &Snapshot| {
            let view = View::new(snapshot, now, Timings::default());
            view.proxies_of("m")
                .present()
                .unwrap()
                .into_iter()
                .map(|v| v.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&snapshot), ["1.30"]);
        let moved = snapshot.put(Kind::Namespace, Arc::new(namespace("c", "t")), now);
        assert!(
            moved.contains(&Read::ProxiesOf("m".into())),
            "a namespace became the mesh's"
        );
        assert_eq!(of(&snapshot), ["1.28", "1.30"]);
        let told = ObservabilityMesh::put(&mut snapshot, &Key::new("", "m"), None);
        assert!(told.contains(&Read::ProxiesOf("m".into())));
    }

    fn object(name: &str, uid: &str) -> Value {
        json!({"metadata": {"namespace": "a", "name": name, "uid": uid}})
    }

    #[test]
    fn the_end_of_an_object_is_not_the_end_of_its_successor() {
        let mut snapshot = Snapshot::default();
        let key = Key::new("a", "x");
        snapshot.put(Kind::Telemetry, Arc::new(object("x", "new")), Timestamp::UNIX_EPOCH);
        snapshot.remove_version(Kind::Telemetry, &object("x", "old"), Timestamp::UNIX_EPOCH);
        assert!(snapshot.object(Kind::Telemetry, &key).is_some());
        snapshot.remove_version(Kind::Telemetry, &object("x", "new"), Timestamp::UNIX_EPOCH);
        assert!(snapshot.object(Kind::Telemetry, &key).is_none());
    }

    #[test]
    fn a_kind_that_can_be_watched_at_last_wakes_those_who_asked_for_an_object_of_it() {
        let mut snapshot = Snapshot::default();
        let view = View::new(&snapshot, Timestamp::UNIX_EPOCH, Timings::default());
        assert_eq!(view.objects_in(Kind::Telemetry, "a"), Fact::Unknown);
        let reads = view.into_reads();
        let changed = snapshot.set_watch(Kind::Telemetry, &Scope::Cluster, Some(WatchState::KindMissing));
        assert!(!changed.is_disjoint(&reads));
        let changed = snapshot.set_watch(Kind::Telemetry, &Scope::Cluster, Some(WatchState::Loaded));
        assert!(!changed.is_disjoint(&reads));
    }

    #[test]
    fn a_provider_of_ours_that_a_hand_edit_took_away_is_remembered_for_its_map_while_a_telemetry_names_it() {
        let mut snapshot = Snapshot::default().loaded();
        let now = Timestamp::UNIX_EPOCH;
        let map = |name: &str, mesh: &str| {
            Arc::new(json!({"metadata": {"namespace": "a", "name": name}, "data": {"mesh": mesh}}))
        };
        let telemetry = json!({"metadata": {"namespace": "b", "name": "t"},
                               "spec": {"tracing": [{"providers": [{"name": "sightline-p"}, {"name": "theirs"}]}]}});
        let all = "extensionProviders: [{name: sightline-p, x: 1}, {name: sightline-q}, {name: theirs}]";
        snapshot.put(Kind::Telemetry, Arc::new(telemetry), now);
        snapshot.put(Kind::ConfigMap, map("m", all), now);
        snapshot.put(Kind::ConfigMap, map("m", "extensionProviders: []"), now);
        // It stands in another map: that says nothing of this one.
        snapshot.put(Kind::ConfigMap, map("n", all), now);
        let view = View::new(&snapshot, now, Timings::default());
        let lost = |name: &str| -> Vec<_> { view.lost_providers(&Key::new("a", name)).collect() };
        assert_eq!(
            lost("m"),
            [(&"sightline-p".to_owned(), &json!({"name": "sightline-p", "x": 1}))]
        );
        assert_eq!(lost("n"), []);
        snapshot.remove(Kind::Telemetry, &Key::new("b", "t"), now);
        snapshot.put(Kind::ConfigMap, map("m", "extensionProviders: [] # again"), now);
        let view = View::new(&snapshot, now, Timings::default());
        assert_eq!(
            view.lost_providers(&Key::new("a", "m")).count(),
            0,
            "nobody names it now"
        );
    }
}
