//! The operator: watches fill the store, changes queue targets, workers plan and execute.
//!
//! There is one loop for all targets. What differs between judging a resource and writing an output is in
//! [`crate::plan`], which is pure; here a plan is executed, whatever it is for.

pub mod eject;
mod metrics;
mod pass;
mod queue;
mod server;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::{Notify as Wake, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::cluster::api::Cluster;
use crate::cluster::events::Events;
use crate::cluster::hash_key;
use crate::cluster::lease::Times;
use crate::cluster::lease::elector::{Elector, Health};
use crate::cluster::lease::fence::{Fence, Term};
use crate::cluster::store::Store;
use crate::cluster::watches::{Notify, Watches};
use crate::plan::{Target, targets_of};
use crate::rollout::QuietMemory;
use crate::snapshot::{Kind, Snapshot, Timings};
use metrics::Metrics;
use queue::Queue;

/// Longest that giving the lease back may take.
const RELEASE_DEADLINE: Duration = Duration::from_millis(1500);

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its own namespace: where the hash key is, and the lease.
    pub namespace: String,
    /// Which of several replicas this is: like no other, and like none before.
    pub identity: String,
    /// Times of the election; none: this operator is alone and writes without a lease.
    pub election: Option<Times>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether all that was rendered is taken away, instead of kept: `sightline eject`.
    pub ejects: bool,
    /// Targets that are worked on at once.
    pub workers: usize,
    /// How long what runs may take after SIGTERM.
    pub grace: Duration,
    /// Times of the conversation with istiod.
    pub timings: Timings,
    /// A target that nothing happens to is looked at again after about this long.
    pub resync: Duration,
    /// Least time between two statuses of a resource that differ in numbers only.
    pub status_interval: Duration,
}

/// The operator failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration makes no client.
    #[error("cannot make a client from the kubeconfig: {0}")]
    Client(Box<kube::Error>),
    /// A task that must not end has.
    #[error("the {0} ended unexpectedly; the log above says why")]
    TaskEnded(&'static str),
}

/// The operator.
pub struct Operator {
    settings: Settings,
    cluster: Cluster,
    store: Arc<Store>,
    queue: Arc<Queue>,
    watches: Arc<Watches>,
    events: Events,
    metrics: Metrics,
    fence: Fence,
    elector: Mutex<Option<Elector>>,
    election: Option<watch::Receiver<Health>>,
    quiet: Mutex<Quiet>,
    hash_key: RwLock<Option<Vec<u8>>>,
    status_written: Mutex<HashMap<Target, tokio::time::Instant>>,
    status_held: Mutex<HashMap<Target, tokio::time::Instant>>,
    reads_changed: Arc<Wake>,
}

/// What the governor remembers of each mesh. It is of one term: what another leader did since is not in it.
#[derive(Default)]
struct Quiet {
    term: Term,
    meshes: BTreeMap<String, QuietMemory>,
}

impl Quiet {
    fn of(&mut self, term: Term) -> &mut BTreeMap<String, QuietMemory> {
        if self.term < term {
            self.term = term;
            self.meshes.clear();
        }
        &mut self.meshes
    }
}

struct Dispatch {
    queue: Arc<Queue>,
    store: Arc<Store>,
}

impl Notify for Dispatch {
    fn notify(&self, targets: BTreeSet<Target>) {
        self.queue.add_all(targets);
    }

    fn appeared(&self, target: Target) {
        if let Target::Mesh(name) = &target {
            let of_mesh = self
                .store
                .peek(|snapshot| snapshot.meshes.get(name).map(|m| crate::plan::targets_of_mesh(m)));
            self.notify(of_mesh.unwrap_or_default());
        }
        self.queue.add(target);
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    info!(address = %listener.local_addr().unwrap_or(address), "listening");
    Ok(listener)
}

impl Operator {
    /// An operator that has not begun.
    pub fn new(config: Config, settings: Settings) -> Result<Arc<Self>, RunError> {
        let failed = |error: kube::Error| RunError::Client(Box::new(error));
        let fence = match settings.election {
            Some(_) => Fence::closed(),
            None => Fence::always_open(),
        };
        // A client of its own: renewals do not queue behind other requests.
        let elector = match settings.election {
            Some(times) => {
                let client = Client::try_from(config.clone()).map_err(failed)?;
                let identity = settings.identity.clone();
                Some(Elector::new(
                    client,
                    &settings.namespace,
                    identity,
                    times,
                    fence.clone(),
                ))
            }
            None => None,
        };
        // Everything else goes through this client: no write can get around the fence.
        let client = ClientBuilder::try_from(config)
            .map_err(failed)?
            .with_layer(&fence)
            .build();
        let cluster = Cluster::new(client.clone());
        let store = Arc::new(Store::new(if settings.ejects {
            Snapshot::of_eject()
        } else {
            Snapshot::default()
        }));
        let queue = Arc::new(Queue::default());
        let notify = Arc::new(Dispatch {
            queue: queue.clone(),
            store: store.clone(),
        });
        let watches = Watches::new(client, store.clone(), notify);
        Ok(Arc::new(Self {
            events: Events::new(&cluster),
            settings,
            cluster,
            store,
            queue,
            watches,
            metrics: Metrics::default(),
            fence,
            election: elector.as_ref().map(Elector::health),
            elector: Mutex::new(elector),
            quiet: Mutex::default(),
            hash_key: RwLock::default(),
            status_written: Mutex::default(),
            status_held: Mutex::default(),
            reads_changed: Arc::default(),
        }))
    }

    /// Runs until `shutdown` ends, then finishes what runs within the grace period and gives the lease back.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let listener = match self.settings.listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let stop = Arc::new(Wake::new());
        let mut tasks: JoinSet<&'static str> = JoinSet::new();
        for watch in self.watches.start() {
            tasks.spawn(async move {
                if let Err(error) = watch.await {
                    error!(%error, "a watch ended");
                }
                "watch"
            });
        }
        let (this, stopped) = (self.clone(), stop.clone());
        let server = tokio::spawn(async move {
            let Some(listener) = listener else { return };
            if let Err(error) = server::serve(listener, this, async move { stopped.notified().await }).await {
                error!(%error, "server failed");
            }
        });
        tasks.spawn(self.clone().follow_reads());
        tasks.spawn(self.clone().start_when_ready());
        tasks.spawn(self.clone().follow_terms());
        let (release, told) = oneshot::channel();
        let elector = self.elector.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut elector = tokio::spawn(async move {
            match elector {
                Some(elector) => elector.run(told).await,
                // Nobody to be elected: there is nothing to do until the end.
                None => drop(told.await),
            }
        });
        let mut workers = JoinSet::new();
        for _ in 0..self.settings.workers.max(1) {
            workers.spawn(self.clone().work());
        }
        let mut shutdown = std::pin::pin!(shutdown);
        let ended = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                Some(task) = tasks.join_next() => match task {
                    Ok("start") => {}
                    Ok(name) => break Err(RunError::TaskEnded(name)),
                    Err(error) => { error!(%error, "task failed"); break Err(RunError::TaskEnded("task")) }
                },
                _ = &mut elector => break Err(RunError::TaskEnded("elector")),
                Some(worker) = workers.join_next() => {
                    error!(?worker, "worker ended");
                    break Err(RunError::TaskEnded("worker"));
                }
            }
        };
        info!("stopping: no new work");
        self.queue.close();
        let finish = async { while workers.join_next().await.is_some() {} };
        let finished = tokio::time::timeout(self.settings.grace, finish).await.is_ok();
        tasks.abort_all();
        if finished && ended.is_ok() {
            // Nothing is being written any more: the next replica may begin at once.
            let _ = release.send(());
            if tokio::time::timeout(RELEASE_DEADLINE, &mut elector).await.is_err() {
                warn!("the lease was not given back in time; it will run out");
            }
        } else {
            warn!(
                "work was cut off: what was being written may still arrive, so the lease is not given back but runs out"
            );
        }
        elector.abort();
        stop.notify_one();
        stop.notify_waiters();
        server.abort();
        ended
    }

    /// Has everything looked at anew whenever this replica becomes the leader: as after a start, but for the watches, which
    /// a standby has as well.
    async fn follow_terms(self: Arc<Self>) -> &'static str {
        self.watches.until_listed().await;
        loop {
            let term = self.fence.opened().await;
            info!(identity = self.settings.identity, "leading: this replica writes");
            self.metrics.leader_transitions.inc();
            // Another leader may have asked daemons for something else.
            let readers = self.store.change(crate::snapshot::Snapshot::forget_asked);
            self.queue.add_all(readers);
            for target in self.store.peek(targets_of) {
                self.queue.forget(&target);
                self.queue.add(target);
            }
            self.fence.ended(term).await;
            warn!("no longer leading: nothing more is written");
            self.metrics.leader_transitions.inc();
        }
    }

    /// Begins work when every watch has seen its first list, and the hash key is there. A key that cannot be had holds
    /// back restarts, nothing else.
    async fn start_when_ready(self: Arc<Self>) -> &'static str {
        self.watches.until_listed().await;
        info!("every watch has seen its first list");
        self.queue.add_all(self.store.peek(targets_of));
        if self.settings.ejects {
            // What is taken away is not hashed.
            return "start";
        }
        let mut delay = Duration::from_millis(500);
        loop {
            match hash_key::read_or_make(&self.cluster, &self.settings.namespace).await {
                Ok(key) => {
                    *self.hash_key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
                    let meshes: Vec<String> = self.store.peek(|snapshot| snapshot.meshes.keys().cloned().collect());
                    for mesh in meshes {
                        self.queue.add(Target::Rollout(mesh.clone()));
                        self.queue.add(Target::Mesh(mesh));
                    }
                    return "start";
                }
                // Who leads makes it.
                Err(_) if self.fence.term().is_none() => {
                    self.fence.opened().await;
                }
                Err(error) => {
                    warn!(%error, "no hash key: agents are not restarted until there is one");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(30));
                }
            }
        }
    }

    /// Starts and stops watches as passes read more or less.
    async fn follow_reads(self: Arc<Self>) -> &'static str {
        loop {
            self.reads_changed.notified().await;
            self.watches.follow();
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(target) = self.queue.next().await {
            if !self.watches.waiting().is_empty() {
                // Decisions rest on the whole picture: wait for it.
                self.queue.done(&target, queue::Outcome::Conflict);
                continue;
            }
            let outcome = self.pass(&target).await;
            self.queue.done(&target, outcome);
        }
    }

    /// Whether the thing that a target is about still exists.
    fn exists(&self, target: &Target) -> bool {
        self.store.peek(|snapshot| match target {
            Target::Mesh(_) | Target::TrafficLog(_) | Target::TracingBackend(_) => {
                snapshot.metadata_of(target).is_some()
            }
            Target::Rollout(name)
            | Target::KumaReceivers(name)
            | Target::KmeshSwitches(name)
            | Target::Collector(name)
            | Target::KumaMesh(name) => snapshot.meshes.contains_key(name),
            Target::Telemetries(namespace) | Target::WasmPlugins(namespace) => snapshot
                .object(Kind::Namespace, &crate::snapshot::Key::new("", namespace))
                .is_some(),
            // These outlive what they were made for: what is left has to be taken away.
            Target::MeshConfig(_)
            | Target::Export(..)
            | Target::InterfaceTraffic(_)
            | Target::KumaPolicies(_)
            | Target::Leftovers => true,
        })
    }
}
