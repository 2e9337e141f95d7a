//! Watches: from the API server's streams into the store.
//!
//! Our own kinds, Namespaces, Services, Telemetries and the Pods with Istio's proxies are watched everywhere; anything
//! else by name or namespace, as passes read it, and no longer than they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::api::{own_resource, resource, scoped, to_value};
use super::store::Store;
use crate::crds::{ObservabilityMesh, TracingBackend, TrafficLog};
use crate::plan::{Target, targets_of_namespace};
use crate::snapshot::Resource;
use crate::snapshot::{Key, Kind, Read, Scope, Snapshot, WatchState, key_of};

/// Delays between tries of a watch: 0.5 s doubling up to 5 s, with jitter. What is missing now (a CRD, a Role) may come at
/// any time, and a resource heals within seconds of it.
#[derive(Default)]
struct Retry {
    failures: u32,
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = Duration::from_millis(500)
            .saturating_mul(1 << self.failures.min(4))
            .min(Duration::from_secs(5));
        self.failures += 1;
        Some(delay.mul_f64(rand::random_range(0.6..1.0)))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Objects of one answer to a list.
pub(super) const PAGE_SIZE: u32 = 500;

/// Tells targets that something changed for them.
pub trait Notify: Send + Sync + 'static {
    /// Targets to look at again.
    fn notify(&self, targets: BTreeSet<Target>);
    /// A resource of ours, or a namespace, appeared, changed or went.
    fn appeared(&self, target: Target);
}

/// All watches.
pub struct Watches {
    client: Client,
    store: Arc<Store>,
    notify: Arc<dyn Notify>,
    running: Mutex<BTreeMap<(Kind, Scope), Running>>,
    base: Mutex<Vec<(String, Arc<AtomicBool>)>>,
    listed: tokio::sync::Notify,
}

/// A watch that runs while somebody reads what it brings.
#[derive(Clone)]
struct Running {
    /// Cleared when the watch is stopped: what its task still brings must not reach the store.
    live: Arc<AtomicBool>,
    /// Ends the task, once it is not in the middle of a list: a request that is cut looks like a fault of the server.
    stop: Arc<tokio::sync::Notify>,
}

impl Running {
    fn new() -> Self {
        Self {
            live: Arc::new(AtomicBool::new(true)),
            stop: Arc::default(),
        }
    }
}

/// One of our own kinds.
pub(super) trait Own:
    Resource + serde::de::DeserializeOwned + kube::ResourceExt + Clone + Send + Sync + 'static
{
    const PLURAL: &'static str;
    const KIND: &'static str;
    fn target(key: &Key) -> Target;
    /// The keys of those that could be read.
    fn keys(snapshot: &Snapshot) -> Vec<Key>;
    /// All that are known.
    fn targets(snapshot: &Snapshot) -> BTreeSet<Target> {
        let read = Self::keys(snapshot);
        let read = read.iter().map(Self::target);
        let is_such = |target: &&Target| key_of_own(target).is_some_and(|key| Self::target(&key) == **target);
        read.chain(snapshot.undecoded().filter(is_such).cloned()).collect()
    }
}

fn key_of_own(target: &Target) -> Option<Key> {
    super::api::resource_of(target).map(|(_, key)| key)
}

impl Own for ObservabilityMesh {
    const PLURAL: &'static str = "observabilitymeshes";
    const KIND: &'static str = "ObservabilityMesh";
    fn target(key: &Key) -> Target {
        Target::Mesh(key.name.clone())
    }
    fn keys(snapshot: &Snapshot) -> Vec<Key> {
        snapshot.meshes.keys().map(|name| Key::new("", name)).collect()
    }
}

impl Own for TrafficLog {
    const PLURAL: &'static str = "trafficlogs";
    const KIND: &'static str = "TrafficLog";
    fn target(key: &Key) -> Target {
        Target::TrafficLog(key.clone())
    }
    fn keys(snapshot: &Snapshot) -> Vec<Key> {
        snapshot.traffic_logs.keys().cloned().collect()
    }
}

impl Own for TracingBackend {
    const PLURAL: &'static str = "tracingbackends";
    const KIND: &'static str = "TracingBackend";
    fn target(key: &Key) -> Target {
        Target::TracingBackend(key.clone())
    }
    fn keys(snapshot: &Snapshot) -> Vec<Key> {
        snapshot.tracing_backends.keys().cloned().collect()
    }
}

impl Watches {
    /// No watch runs yet.
    pub fn new(client: Client, store: Arc<Store>, notify: Arc<dyn Notify>) -> Arc<Self> {
        Arc::new(Self {
            client,
            store,
            notify,
            running: Mutex::default(),
            base: Mutex::default(),
            listed: tokio::sync::Notify::new(),
        })
    }

    /// Starts the watches that always run. A task that ends is a bug, and ends the process.
    pub fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let mut tasks = vec![
            self.own::<ObservabilityMesh>(),
            self.own::<TrafficLog>(),
            self.own::<TracingBackend>(),
        ];
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_watched_everywhere()) {
            let ready = self.gate(kind.names().2);
            let this = self.clone();
            let running = Running::new();
            tasks.push(tokio::spawn(async move {
                this.run(kind, Scope::Cluster, running, Some(ready)).await;
            }));
        }
        tasks
    }

    /// Names of the watches that have not seen their first list.
    pub fn waiting(&self) -> Vec<String> {
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        base.iter()
            .filter(|(_, ready)| !ready.load(Ordering::Relaxed))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Waits until every watch that always runs has seen its first list.
    pub async fn until_listed(&self) {
        loop {
            let changed = self.listed.notified();
            if self.waiting().is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn set(&self, ready: &AtomicBool) {
        ready.store(true, Ordering::Relaxed);
        self.listed.notify_waiters();
    }

    /// Names of the watches that the API server refuses and that nothing goes without.
    pub fn refused(&self) -> Vec<String> {
        let everywhere = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_watched_everywhere() && !kind.is_of_a_feature());
        let state = |kind| self.store.peek(|snapshot| snapshot.watch(kind, &Scope::Cluster));
        let refused = everywhere.filter(|kind| state(*kind) == Some(WatchState::Forbidden));
        refused.map(|kind| kind.names().2.to_owned()).collect()
    }

    /// Starts and stops watches so that those run that passes need.
    pub fn follow(self: &Arc<Self>) {
        let wanted = self.store.wanted_watches();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<(Kind, Scope)> = running
            .keys()
            .filter(|watch| !wanted.contains(watch))
            .cloned()
            .collect();
        for watch in gone {
            let stopped = running.remove(&watch);
            let (kind, scope) = &watch;
            let told = self.store.change(|snapshot| {
                if let Some(Running { live, stop }) = stopped {
                    live.store(false, Ordering::Relaxed);
                    stop.notify_one();
                }
                let mut reads = snapshot.set_watch(*kind, scope, None);
                reads.extend(forget_scope(snapshot, *kind, scope, &running.keys().cloned().collect()));
                reads
            });
            self.notify.notify(told);
        }
        for (kind, scope) in wanted {
            running.entry((kind, scope.clone())).or_insert_with(|| {
                let watch = Running::new();
                tokio::spawn(self.clone().run(kind, scope, watch.clone(), None));
                watch
            });
        }
    }

    fn gate(&self, name: &str) -> Arc<AtomicBool> {
        let ready = Arc::new(AtomicBool::new(false));
        self.base
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.to_owned(), ready.clone()));
        ready
    }

    fn own<K: Own>(self: &Arc<Self>) -> JoinHandle<()> {
        let ready = self.gate(K::PLURAL);
        let this = self.clone();
        tokio::spawn(async move {
            let resource = own_resource(K::PLURAL, K::KIND);
            let mut listed: Option<BTreeSet<Target>> = None;
            let mut stream = this.stream(&resource, &Scope::Cluster, None);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Init) => listed = Some(BTreeSet::new()),
                    Ok(Event::InitApply(object)) => {
                        let object = to_value(object);
                        listed.get_or_insert_default().insert(K::target(&key_of(&object)));
                        this.put_own::<K>(&object);
                    }
                    Ok(Event::InitDone) => {
                        let listed = listed.take().unwrap_or_default();
                        for gone in this.store.peek(K::targets).difference(&listed) {
                            this.remove_own(gone);
                        }
                        this.set(&ready);
                    }
                    Ok(Event::Apply(object)) => this.put_own::<K>(&to_value(object)),
                    Ok(Event::Delete(object)) => this.remove_own(&K::target(&key_of(&to_value(object)))),
                    Err(error) => warn!(kind = K::KIND, %error, "watch failed; trying again"),
                }
            }
        })
    }

    fn put_own<K: Own>(&self, object: &Value) {
        let key = key_of(object);
        let target = K::target(&key);
        let mut unread = None;
        let told = self.store.change(|snapshot| {
            let known = snapshot.metadata_of(&target).and_then(|m| m.resource_version.clone());
            let is_new = known.as_deref() != object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
            let (changed, read) = snapshot.put_own(&target, object);
            unread = read.err().filter(|_| is_new);
            changed
        });
        if let Some(error) = unread {
            warn!(kind = K::KIND, %key, %error, "cannot be read; what is live of it stays");
        }
        self.notify.notify(told);
        self.notify.appeared(target);
    }

    fn remove_own(&self, target: &Target) {
        let told = self.store.change(|snapshot| snapshot.remove_own(target));
        self.notify.notify(told);
        self.notify.appeared(target.clone());
    }

    fn stream(
        &self,
        resource: &ApiResource,
        scope: &Scope,
        labels: Option<&str>,
    ) -> impl futures::Stream<Item = watcher::Result<Event<DynamicObject>>> + Send + Unpin + use<> {
        let (api, fields) = scoped(&self.client, resource, scope);
        let mut config = watcher::Config::default();
        if let Some(fields) = fields {
            config = config.fields(&fields);
        }
        if let Some(labels) = labels {
            config = config.labels(labels);
        }
        Box::pin(watcher(api, config.page_size(PAGE_SIZE)).backoff(Retry::default()))
    }

    async fn run(self: Arc<Self>, kind: Kind, scope: Scope, running: Running, ready: Option<Arc<AtomicBool>>) {
        let Running { live, stop } = running;
        let mut watch = Watch {
            watches: &self,
            kind,
            scope,
            live,
            listed: None,
        };
        let mut retry = Retry::default();
        loop {
            let mut stream = self.stream(&resource(kind), &watch.scope, kind.label_selector());
            let mut listing = true;
            let refused = loop {
                let event = tokio::select! {
                    event = stream.try_next() => event,
                    () = stop.notified(), if !listing => return,
                };
                match event {
                    Ok(None) => return,
                    Ok(Some(event)) => {
                        listing |= matches!(event, Event::Init);
                        if watch.take(event) {
                            listing = false;
                            retry.reset();
                            if let Some(ready) = &ready {
                                self.set(ready);
                            }
                        }
                    }
                    Err(error) => {
                        if let Some(state) = refusal_of(&error) {
                            break (state, error);
                        }
                        debug!(?kind, scope = ?watch.scope, %error, "watch failed; trying again");
                    }
                }
            };
            watch.refused(refused.0, &refused.1);
            if let Some(ready) = &ready {
                self.set(ready);
            }
            // kube would go on with the watch once it is allowed and say nothing: only a new list tells that it is.
            tokio::select! {
                () = tokio::time::sleep(retry.next().unwrap_or_default()) => {}
                () = stop.notified() => return,
            }
        }
    }
}

/// What an error says of the watch as such; `None` for one that passes.
fn refusal_of(error: &watcher::Error) -> Option<WatchState> {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => 0,
    };
    state_of(code)
}

/// What an HTTP status says of a watch, or of a list, as such; `None` for one that passes.
pub(super) fn state_of(code: u16) -> Option<WatchState> {
    match code {
        403 => Some(WatchState::Forbidden),
        404 => Some(WatchState::KindMissing),
        _ => None,
    }
}

/// One watch of facts, as its events go into the store.
struct Watch<'a> {
    watches: &'a Watches,
    kind: Kind,
    scope: Scope,
    live: Arc<AtomicBool>,
    listed: Option<BTreeSet<Key>>,
}

impl Watch<'_> {
    /// Changes the store, unless the watch was stopped, and tells who had read what changed.
    fn change(&self, change: impl FnOnce(&mut Snapshot) -> BTreeSet<Read>) {
        let told = self.watches.store.change(|snapshot| {
            if self.live.load(Ordering::Relaxed) {
                change(snapshot)
            } else {
                BTreeSet::new()
            }
        });
        self.watches.notify.notify(told);
    }

    /// Takes an event in; tells whether it ends a list.
    fn take(&mut self, event: Event<DynamicObject>) -> bool {
        let now = Timestamp::now();
        match event {
            Event::Init => self.listed = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = self.put(object, now);
                self.listed.get_or_insert_default().insert(key);
            }
            Event::Apply(object) => drop(self.put(object, now)),
            Event::Delete(object) => {
                let gone = to_value(object);
                self.change(|snapshot| snapshot.remove_version(self.kind, &gone, now));
                self.appeared(&key_of(&gone));
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                self.change(|snapshot| {
                    let mut reads = BTreeSet::new();
                    for key in keys_in(snapshot, self.kind, &self.scope) {
                        if !listed.contains(&key) {
                            reads.extend(snapshot.remove(self.kind, &key, now));
                        }
                    }
                    reads.extend(snapshot.set_watch(self.kind, &self.scope, Some(WatchState::Loaded)));
                    reads
                });
                return true;
            }
        }
        false
    }

    fn put(&self, object: DynamicObject, now: Timestamp) -> Key {
        let object = Arc::new(pruned(self.kind, to_value(object)));
        let key = key_of(&object);
        self.change(|snapshot| snapshot.put(self.kind, object, now));
        self.appeared(&key);
        key
    }

    fn appeared(&self, key: &Key) {
        if self.kind == Kind::Namespace {
            for target in targets_of_namespace(&key.name) {
                self.watches.notify.appeared(target);
            }
        }
    }

    /// Notes that the API server does not allow the watch, or does not know the kind.
    fn refused(&self, state: WatchState, error: &watcher::Error) {
        if self
            .watches
            .store
            .peek(|snapshot| snapshot.watch(self.kind, &self.scope))
            != Some(state)
        {
            warn!(kind = ?self.kind, scope = ?self.scope, %error, "watch refused; trying again");
        }
        self.change(|snapshot| snapshot.set_watch(self.kind, &self.scope, Some(state)));
    }
}

fn keys_in(snapshot: &Snapshot, kind: Kind, scope: &Scope) -> Vec<Key> {
    match scope {
        Scope::Cluster => snapshot.keys(kind),
        Scope::Namespace(namespace) => snapshot
            .objects_in(kind, namespace)
            .map(|(key, _)| key.clone())
            .collect(),
        Scope::Object(key) => snapshot.object(kind, key).map(|_| key.clone()).into_iter().collect(),
    }
}

/// Takes out what a stopped watch had brought in, but for what another one still covers.
fn forget_scope(
    snapshot: &mut Snapshot,
    kind: Kind,
    scope: &Scope,
    others: &BTreeSet<(Kind, Scope)>,
) -> BTreeSet<Read> {
    let covered = |key: &Key| {
        others.contains(&(kind, Scope::Object(key.clone())))
            || others.contains(&(kind, Scope::Namespace(key.namespace.clone())))
    };
    let mut reads = BTreeSet::new();
    for key in keys_in(snapshot, kind, scope).into_iter().filter(|key| !covered(key)) {
        reads.extend(snapshot.remove(kind, &key, Timestamp::now()));
    }
    reads
}

/// Without what no pass reads.
pub(super) fn pruned(kind: Kind, mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        if matches!(
            kind,
            Kind::Namespace
                | Kind::Service
                | Kind::Telemetry
                | Kind::WasmPlugin
                | Kind::PodMonitor
                | Kind::ServiceMonitor
                | Kind::ScrapeConfig
                | Kind::PrometheusRule
                | Kind::Prometheus
                | Kind::Gateway
                | Kind::ServiceEntry
                | Kind::ConfigMap
                | Kind::Secret
        ) {
            map.remove("status");
        }
        let unread = matches!(kind, Kind::Namespace | Kind::Service | Kind::Pod);
        if let Some(metadata) = map
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .filter(|_| unread)
        {
            metadata.remove("managedFields");
        }
    }
    object
}
