//! Watches: from the API server's streams into the store.
//!
//! Our own kinds, Namespaces, Services and Telemetries are watched everywhere; anything else by name or namespace, as
//! passes read it, and no longer than they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::api::{own_resource, resource, to_value};
use super::store::Store;
use crate::crds::{ObservabilityMesh, TracingBackend, TrafficLog};
use crate::plan::snapshot::{Key, Kind, Read, Scope, Snapshot, WatchState, key_of};
use crate::plan::{Resource, Target};

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
    running: Mutex<BTreeMap<(Kind, Scope), JoinHandle<()>>>,
    base: Mutex<Vec<(String, Arc<AtomicBool>)>>,
}

/// One of our own kinds.
trait Own: Resource + serde::de::DeserializeOwned + kube::ResourceExt + Clone + Send + Sync + 'static {
    const PLURAL: &'static str;
    const KIND: &'static str;
    fn target(key: &Key) -> Target;
    fn keys(snapshot: &Snapshot) -> Vec<Key>;
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
            tasks.push(tokio::spawn(async move {
                this.run(kind, Scope::Cluster, Some(ready)).await;
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
            if let Some(task) = running.remove(&watch) {
                task.abort();
            }
            let (kind, scope) = &watch;
            let told = self.store.change(|snapshot| {
                let mut reads = snapshot.set_watch(*kind, scope, None);
                reads.extend(forget_scope(snapshot, *kind, scope, &running.keys().cloned().collect()));
                reads
            });
            self.notify.notify(told);
        }
        for (kind, scope) in wanted {
            running.entry((kind, scope.clone())).or_insert_with(|| {
                let this = self.clone();
                tokio::spawn(async move { this.run(kind, scope, None).await })
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
            let mut listed: Option<BTreeSet<Key>> = None;
            let mut stream = this.stream(&resource, &Scope::Cluster, None);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Init) => listed = Some(BTreeSet::new()),
                    Ok(Event::InitApply(object)) => {
                        let object = to_value(object);
                        listed.get_or_insert_default().insert(key_of(&object));
                        this.put_own::<K>(&object);
                    }
                    Ok(Event::InitDone) => {
                        let listed = listed.take().unwrap_or_default();
                        for key in this.store.peek(K::keys).into_iter().filter(|key| !listed.contains(key)) {
                            this.remove_own::<K>(&key);
                        }
                        ready.store(true, Ordering::Relaxed);
                    }
                    Ok(Event::Apply(object)) => this.put_own::<K>(&to_value(object)),
                    Ok(Event::Delete(object)) => this.remove_own::<K>(&key_of(&to_value(object))),
                    Err(error) => warn!(kind = K::KIND, %error, "watch failed; trying again"),
                }
            }
        })
    }

    fn put_own<K: Own>(&self, object: &Value) {
        let key = key_of(object);
        match serde_json::from_value::<K>(object.clone()) {
            Ok(resource) => {
                let told = self
                    .store
                    .change(|snapshot| K::put(snapshot, &key, Some(Arc::new(resource))));
                self.notify.notify(told);
                self.notify.appeared(K::target(&key));
            }
            // The schema refuses such an object today; one that was stored before must not stop the others.
            Err(error) => warn!(kind = K::KIND, %key, %error, "cannot be read; left as it is"),
        }
    }

    fn remove_own<K: Own>(&self, key: &Key) {
        let told = self.store.change(|snapshot| K::put(snapshot, key, None));
        self.notify.notify(told);
        self.notify.appeared(K::target(key));
    }

    fn stream(
        &self,
        resource: &ApiResource,
        scope: &Scope,
        labels: Option<&str>,
    ) -> impl futures::Stream<Item = watcher::Result<Event<DynamicObject>>> + Send + Unpin + use<> {
        let (api, mut config): (Api<DynamicObject>, _) = match scope {
            Scope::Cluster => (Api::all_with(self.client.clone(), resource), watcher::Config::default()),
            Scope::Namespace(namespace) => (
                Api::namespaced_with(self.client.clone(), namespace, resource),
                watcher::Config::default(),
            ),
            Scope::Object(key) => {
                let fields = format!("metadata.name={}", key.name);
                let api = if key.namespace.is_empty() {
                    Api::all_with(self.client.clone(), resource)
                } else {
                    Api::namespaced_with(self.client.clone(), &key.namespace, resource)
                };
                (api, watcher::Config::default().fields(&fields))
            }
        };
        if let Some(labels) = labels {
            config = config.labels(labels);
        }
        Box::pin(watcher(api, config.page_size(500)).backoff(Retry::default()))
    }

    async fn run(self: Arc<Self>, kind: Kind, scope: Scope, ready: Option<Arc<AtomicBool>>) {
        // Of Pods only istiod's are read.
        let labels = (kind == Kind::Pod).then_some("app=istiod");
        let mut stream = self.stream(&resource(kind), &scope, labels);
        let mut listed: Option<BTreeSet<Key>> = None;
        loop {
            let event = stream.try_next().await;
            let done = match event {
                Ok(None) => return,
                Ok(Some(event)) => self.take(kind, &scope, &mut listed, event),
                Err(error) => self.failed(kind, &scope, &error),
            };
            if let Some(ready) = ready.as_ref().filter(|_| done) {
                ready.store(true, Ordering::Relaxed);
            }
        }
    }

    fn take(&self, kind: Kind, scope: &Scope, listed: &mut Option<BTreeSet<Key>>, event: Event<DynamicObject>) -> bool {
        let now = Timestamp::now();
        match event {
            Event::Init => *listed = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let object = self.put(kind, object, now);
                listed.get_or_insert_default().insert(object);
            }
            Event::Apply(object) => drop(self.put(kind, object, now)),
            Event::Delete(object) => {
                let key = key_of(&to_value(object));
                let told = self.store.change(|snapshot| snapshot.remove(kind, &key, now));
                self.notify.notify(told);
                self.appeared(kind, &key);
            }
            Event::InitDone => {
                let listed = listed.take().unwrap_or_default();
                let told = self.store.change(|snapshot| {
                    let mut reads = BTreeSet::new();
                    for key in keys_in(snapshot, kind, scope)
                        .into_iter()
                        .filter(|key| !listed.contains(key))
                    {
                        reads.extend(snapshot.remove(kind, &key, now));
                    }
                    reads.extend(snapshot.set_watch(kind, scope, Some(WatchState::Loaded)));
                    reads
                });
                self.notify.notify(told);
                return true;
            }
        }
        false
    }

    fn put(&self, kind: Kind, object: DynamicObject, now: Timestamp) -> Key {
        let object = Arc::new(pruned(kind, to_value(object)));
        let key = key_of(&object);
        let told = self.store.change(|snapshot| snapshot.put(kind, object, now));
        self.notify.notify(told);
        self.appeared(kind, &key);
        key
    }

    fn appeared(&self, kind: Kind, key: &Key) {
        if kind == Kind::Namespace {
            self.notify.appeared(Target::Telemetries(key.name.clone()));
        }
    }

    /// Notes a watch that cannot work; the others are tried again in silence but for the log.
    fn failed(&self, kind: Kind, scope: &Scope, error: &watcher::Error) -> bool {
        let code = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => status.code,
            _ => 0,
        };
        let state = match code {
            403 => WatchState::Forbidden,
            404 => WatchState::KindMissing,
            _ => {
                debug!(?kind, ?scope, %error, "watch failed; trying again");
                return false;
            }
        };
        let told = self
            .store
            .change(|snapshot| snapshot.set_watch(kind, scope, Some(state)));
        if !told.is_empty() {
            warn!(?kind, ?scope, %error, "watch refused; trying again");
        }
        self.notify.notify(told);
        true
    }
}

fn keys_in(snapshot: &Snapshot, kind: Kind, scope: &Scope) -> Vec<Key> {
    match scope {
        Scope::Cluster => snapshot.objects(kind).map(|(key, _)| key.clone()).collect(),
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
fn pruned(kind: Kind, mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        if matches!(
            kind,
            Kind::Namespace | Kind::Service | Kind::Telemetry | Kind::ConfigMap | Kind::Secret
        ) {
            map.remove("status");
        }
        let unread = matches!(kind, Kind::Namespace | Kind::Service | Kind::Pod | Kind::Secret);
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
