//! A real Kubernetes control plane for tests: etcd, kube-apiserver with RBAC and an audit log, kube-controller-manager,
//! kube-scheduler, and kwok in place of a kubelet. It listens on free loopback ports and lives in a folder of its own, so
//! that any number of them run at the same time.
//!
//! Nothing of it outlives the process that started it, be that dropped, panicking or killed (see [`process`]), unless
//! [`Options::detached`] asks for it.
//!
//! The binaries come from `tools/control-plane/build.sh`, which builds them once per machine.

// Every test crate and the example compile this file and use their own part of it.
#![allow(dead_code, reason = "each user takes only a part")]

#[path = "control_plane/audit.rs"]
mod audit;
#[path = "control_plane/components.rs"]
mod components;
#[path = "control_plane/detached.rs"]
mod detached;
#[path = "process.rs"]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

#[allow(unused_imports, reason = "each user takes only a part")]
pub use audit::AuditEvent;
#[allow(unused_imports, reason = "each user takes only a part")]
pub use detached::stop_detached;

use components::{Component, Layout};
use process::{CleanUp, Supervised};

/// The user of [`ControlPlane::client`] and [`ControlPlane::kubectl`], in `system:masters`.
pub const ADMIN: &str = "admin";

/// The file that marks a folder as ours to remove.
const TEMPORARY: &str = "temporary";
/// How long a component may take to get ready: some seconds as a rule, more when other builds have the processors.
const READY_LIMIT: Duration = Duration::from_secs(90);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const PROBE_INTERVAL: Duration = Duration::from_millis(40);
/// Another process may take a free port before our component does.
const ATTEMPTS: u32 = 4;
/// A service account's token: longer than any test, and than a day with `make cluster`.
const TOKEN_SECONDS: i64 = 7 * 24 * 3600;

/// An address of this machine that nobody listens on, and that no outgoing connection takes.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(components::free_port()?.local_addr()?)
}

/// How to start a [`ControlPlane`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where its files go, to be kept: missing or empty. Without it a temporary folder, removed at the end.
    pub dir: Option<PathBuf>,
    /// The folder with the binaries. Without it the environment variable `SIGHTLINE_CONTROL_PLANE`, and without that what
    /// `tools/control-plane/build.sh` gives, which builds them the first time.
    pub bin: Option<PathBuf>,
    /// Leave it running when this process ends; [`stop_detached`] ends it. Until it is ready it is tied to us in any case.
    pub detached: bool,
    /// More of kwok's configuration, as YAML documents: a `ClusterPortForward` or a `Stage`, say.
    pub kwok: String,
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    layout: Layout,
    config: Option<Config>,
    detached: bool,
    processes: Mutex<Vec<Supervised>>,
    clean_up: Mutex<CleanUp>,
}

impl ControlPlane {
    /// Starts everything and waits until a fake Node is ready to take pods.
    ///
    /// # Errors
    /// When a component ends or does not get ready in time: with the end of its log.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let bin = match &options.bin {
            Some(bin) => bin.clone(),
            None => find_binaries().await?,
        };
        check_empty(options.dir.as_deref())?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&options, &bin).await {
                Err(error) if attempt < ATTEMPTS && is_port_taken(&error) => {
                    attempt += 1;
                    // It was empty, so all of it is of the attempt that failed.
                    options.dir.as_ref().map_or(Ok(()), fs::remove_dir_all)?;
                }
                result => return result.context("cannot start the control plane"),
            }
        }
    }

    async fn start_once(options: &Options, bin: &Path) -> anyhow::Result<Self> {
        let mut this = Self::prepare(options, bin)?;
        // From here on an error drops `this`, which takes everything down.
        this.launch(Component::Etcd)?;
        this.wait_for_etcd().await?;
        this.launch(Component::ApiServer)?;
        let config = this.wait_for_api_server().await?;
        this.config = Some(config);
        for component in [Component::ControllerManager, Component::Scheduler, Component::Kwok] {
            this.launch(component)?;
        }
        this.create_node().await?;
        // The order is that of what depends on what, so that the error names the component at fault.
        this.wait_for_service_account().await?;
        this.wait_for_scheduler().await?;
        this.wait_for_node().await?;
        if options.detached {
            this.detach()?;
        }
        Ok(this)
    }

    fn prepare(options: &Options, bin: &Path) -> anyhow::Result<Self> {
        let dir = create_folder(options.dir.as_deref())?;
        // Before anything else is there, so that a kill at any moment leaves nothing.
        let clean_up = CleanUp::spawn(&dir, options.dir.is_some())?;
        let layout = Layout::create(dir, bin.to_owned(), &options.kwok)?;
        let (processes, clean_up) = (Mutex::default(), Mutex::new(clean_up));
        Ok(Self {
            layout,
            config: None,
            detached: false,
            processes,
            clean_up,
        })
    }

    fn launch(&self, component: Component) -> anyhow::Result<()> {
        let program = self.layout.bin.join(component.name());
        anyhow::ensure!(
            program.is_file(),
            "{} is missing; does tools/control-plane/build.sh work?",
            program.display()
        );
        let process = Supervised::spawn(
            component.name(),
            &self.layout.dir,
            &program,
            &component.arguments(&self.layout),
        )?;
        self.processes().push(process);
        Ok(())
    }

    async fn wait_for_etcd(&self) -> anyhow::Result<()> {
        let config = probe_config(&self.layout.etcd_url())?;
        self.wait_for(Component::Etcd, || get(&config, "/health")).await?;
        // Somebody else's etcd on the same port would have answered as well: only our log says that the port is ours.
        self.wait_for(Component::Etcd, || async {
            anyhow::ensure!(
                self.log_of(Component::Etcd).contains("ready to serve client requests"),
                "not serving yet"
            );
            Ok(())
        })
        .await
    }

    async fn wait_for_api_server(&self) -> anyhow::Result<Config> {
        self.wait_for(Component::ApiServer, || async {
            get(&self.admin_config().await?, "/readyz").await
        })
        .await?;
        self.admin_config().await
    }

    async fn admin_config(&self) -> anyhow::Result<Config> {
        // The API server writes its certificate, which the kubeconfig names, in the first moments of its first start.
        anyhow::ensure!(self.layout.certificate().exists(), "no certificate yet");
        config_of(&self.kubeconfig()).await
    }

    async fn wait_for_service_account(&self) -> anyhow::Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, "default");
        self.wait_for(Component::ControllerManager, || async {
            accounts
                .get("default")
                .await
                .map(drop)
                .context("the namespace default has no service account")
        })
        .await
    }

    async fn wait_for_scheduler(&self) -> anyhow::Result<()> {
        let config = probe_config(&self.layout.scheduler_url())?;
        self.wait_for(Component::Scheduler, || get(&config, "/readyz")).await
    }

    async fn wait_for_node(&self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.client()?);
        self.wait_for(Component::Kwok, || async {
            let node = nodes.get(components::NODE).await?;
            anyhow::ensure!(is_schedulable(&node), "the node is not ready, or tainted");
            Ok(())
        })
        .await
    }

    async fn create_node(&self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.client()?);
        nodes
            .create(&PostParams::default(), &components::node()?)
            .await
            .context("cannot create the node")?;
        Ok(())
    }

    /// Repeats the probe until it succeeds, a component ends, or the time is over.
    async fn wait_for<P>(&self, component: Component, probe: impl Fn() -> P) -> anyhow::Result<()>
    where
        // Not `AsyncFn`: the compiler cannot prove such a future `Send`, and then no test could spawn a start.
        P: Future<Output = anyhow::Result<()>>,
    {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let answer = match tokio::time::timeout(PROBE_LIMIT, probe()).await {
                Ok(answer) => answer,
                Err(_) => Err(anyhow::anyhow!("no answer within {} s", PROBE_LIMIT.as_secs())),
            };
            self.fail_if_ended()?;
            match answer {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= deadline => {
                    let tail = self.with(component, |process| process.log_tail()).unwrap_or_default();
                    anyhow::bail!(
                        "{} was not ready after {} s: {reason:#}\n{tail}",
                        component.name(),
                        READY_LIMIT.as_secs()
                    );
                }
                Err(_) => tokio::time::sleep(PROBE_INTERVAL).await,
            }
        }
    }

    fn fail_if_ended(&self) -> anyhow::Result<()> {
        for process in self.processes().iter_mut() {
            if let Some(status) = process.ended()? {
                let port_taken = process.log().contains("address already in use");
                let message = format!("{} ended with {status}\n{}", process.name(), process.log_tail());
                return Err(Ended { message, port_taken }.into());
            }
        }
        Ok(())
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        self.processes().iter_mut().try_for_each(Supervised::detach)?;
        self.clean_up().detach()?;
        self.detached = true;
        Ok(())
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Supervised>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clean_up(&self) -> MutexGuard<'_, CleanUp> {
        self.clean_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, component: Component, act: impl FnOnce(&mut Supervised) -> T) -> Option<T> {
        self.processes()
            .iter_mut()
            .find(|process| process.name() == component.name())
            .map(act)
    }

    fn log_of(&self, component: Component) -> String {
        self.with(component, |process| process.log()).unwrap_or_default()
    }
}

/// What tests use.
impl ControlPlane {
    /// The folder with its files: `logs/`, `kubeconfigs/`, `pids/`, `audit.log`.
    pub fn dir(&self) -> &Path {
        &self.layout.dir
    }

    /// The path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig(ADMIN)
    }

    /// The API server's `https://` URL.
    pub fn server(&self) -> String {
        self.layout.server_url()
    }

    /// The certificate (PEM) to trust for [`ControlPlane::server`].
    pub fn certificate_authority(&self) -> PathBuf {
        self.layout.certificate()
    }

    /// A `kubectl` as administrator, killed when dropped. Its discovery cache stays in our folder.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.layout.bin.join("kubectl"));
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.layout.dir.join("kubectl-cache"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A `helm` as administrator, killed when dropped. What it keeps for itself stays in our folder.
    pub fn helm(&self) -> Command {
        let mut command = helm(&self.layout.bin, &self.layout.dir.join("helm"));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Runs `helm` as administrator and gives its stdout.
    ///
    /// # Errors
    /// When it fails: with its stderr.
    pub async fn run_helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.helm();
        command.args(arguments);
        run_with_input(command, &format!("helm {}", arguments.join(" ")), "").await
    }

    /// Runs `kubectl` as administrator and gives its stdout.
    ///
    /// # Errors
    /// When it fails: with its stderr.
    pub async fn run_kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_kubectl_with_input(arguments, "").await
    }

    /// `kubectl apply` (client-side, as most people and pipelines do) of a file.
    pub async fn apply_file(&self, path: &Path) -> anyhow::Result<String> {
        let path = path.to_str().context("the path is not UTF-8")?;
        self.run_kubectl(&["apply", "--server-side=false", "-f", path]).await
    }

    /// `kubectl apply` (client-side) of YAML or JSON text, of any number of documents.
    pub async fn apply_yaml(&self, yaml: &str) -> anyhow::Result<String> {
        self.run_kubectl_with_input(&["apply", "--server-side=false", "-f", "-"], yaml)
            .await
    }

    async fn run_kubectl_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = self.kubectl();
        command.args(arguments);
        run_with_input(command, &format!("kubectl {}", arguments.join(" ")), input).await
    }

    /// A client as administrator. Every call makes one of its own, because a client belongs to the runtime it was made in.
    ///
    /// # Errors
    /// Outside a tokio runtime, or when the configuration is unusable.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::try_from(self.client_config()?).context("cannot build a client")
    }

    /// The configuration of [`ControlPlane::client`], from our own kubeconfig and nothing of the surroundings.
    pub fn client_config(&self) -> anyhow::Result<Config> {
        self.config.clone().context("the API server was never ready")
    }

    /// A client of a kubeconfig such as [`ControlPlane::kubeconfig_for_service_account`] gives.
    pub async fn client_from(&self, kubeconfig: &Path) -> anyhow::Result<Client> {
        Client::try_from(self.config_from(kubeconfig).await?).context("cannot build a client")
    }

    /// The configuration of [`ControlPlane::client_from`].
    pub async fn config_from(&self, kubeconfig: &Path) -> anyhow::Result<Config> {
        config_of(kubeconfig).await
    }

    /// The path of a kubeconfig with a token of the service account, which must exist. The token is bound to the account:
    /// it ends with it.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec,
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for service account {namespace}/{name}"))?;
        let token = answer
            .status
            .context("the answer to the token request has no status")?
            .token;
        self.layout
            .write_kubeconfig(&format!("serviceaccount:{namespace}:{name}"), &token)
    }

    /// The path of the audit log, one JSON object per line.
    pub fn audit_log(&self) -> PathBuf {
        self.layout.audit_log()
    }

    /// All events so far, oldest first. An event may come a moment after the client has its answer: poll, or before you
    /// conclude that something did not happen, [`ControlPlane::settle_audit_log`].
    pub fn audit_events(&self) -> anyhow::Result<Vec<AuditEvent>> {
        audit::read(&self.audit_log())
    }

    /// How long the audit log is now, in bytes.
    pub fn audit_length(&self) -> anyhow::Result<u64> {
        let log = fs::read(self.audit_log())?;
        // The API server may be in the middle of writing the last line.
        let length = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Ok(u64::try_from(length)?)
    }

    /// [`ControlPlane::audit_events`] from a place that [`ControlPlane::audit_length`] gave.
    pub fn audit_events_from(&self, place: u64) -> anyhow::Result<Vec<AuditEvent>> {
        audit::read_from(&self.audit_log(), place)
    }

    /// What the user asked to change since then, be it granted or not: see [`AuditEvent::is_write`]. Leases are left out:
    /// whoever leads renews one all the time, and those who do not write nothing else.
    pub fn writes_by(&self, user: &str, since: Timestamp) -> anyhow::Result<Vec<AuditEvent>> {
        let mut events = self.audit_events()?;
        events.retain(|event| {
            event.user == user && event.time >= since && event.is_write() && event.resource != "leases"
        });
        Ok(events)
    }

    /// Waits until a request of our own is in the audit log, and with it those that were answered before.
    pub async fn settle_audit_log(&self) -> anyhow::Result<()> {
        let path = format!("/version?marker={:032x}", rand::random::<u128>());
        get(&self.client_config()?, &path).await?;
        let deadline = Instant::now() + READY_LIMIT;
        while !fs::read_to_string(self.audit_log())?.contains(&path) {
            anyhow::ensure!(Instant::now() < deadline, "the API server writes no audit log");
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
        Ok(())
    }

    /// The path of Istio's CRDs.
    pub fn istio_crds(&self) -> PathBuf {
        self.crds("istio.yaml")
    }

    /// The path of the Gateway API's CRD of Gateways.
    pub fn gateway_crd(&self) -> PathBuf {
        self.crds("gateway.yaml")
    }

    fn crds(&self, file: &str) -> PathBuf {
        self.layout.bin.with_file_name("crds").join(file)
    }

    /// Installs CRDs of others and waits until the API server serves them. Server-side, as they are too long for the
    /// annotation of a client-side apply.
    pub async fn install_crds(&self, file: &Path) -> anyhow::Result<()> {
        let path = file.to_str().context("the path is not UTF-8")?;
        self.run_kubectl(&["apply", "--server-side", "--field-manager=helm", "-f", path])
            .await?;
        self.run_kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", path])
            .await?;
        Ok(())
    }

    /// Kills the API server: clients see their connections reset, and then refused.
    pub fn stop_api_server(&self) -> anyhow::Result<()> {
        let mut processes = self.processes();
        let name = Component::ApiServer.name();
        let index = processes
            .iter()
            .position(|process| process.name() == name)
            .context("the API server is stopped")?;
        let mut process = processes.remove(index);
        drop(processes);
        process.close();
        process.wait()?;
        Ok(())
    }

    /// Starts the API server again, on the same port and with the same certificate, and waits until it is ready.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        self.launch(Component::ApiServer)?;
        self.wait_for_api_server().await?;
        if self.detached {
            self.with(Component::ApiServer, Supervised::detach).transpose()?;
        }
        Ok(())
    }

    /// [`ControlPlane::stop_api_server`] and [`ControlPlane::start_api_server`].
    pub async fn restart_api_server(&self) -> anyhow::Result<()> {
        self.stop_api_server()?;
        self.start_api_server().await
    }

    /// Makes etcd forget every version of every object but the present ones. The API server goes on with what it has in
    /// memory; one that starts after this has nothing older.
    pub async fn compact_storage(&self) -> anyhow::Result<()> {
        let etcd = Client::try_from(Config::new(self.layout.etcd_url().parse()?))?;
        let ask = async |path: &str, body: serde_json::Value| {
            let request = axum::http::Request::post(path).body(body.to_string().into_bytes())?;
            anyhow::Ok(etcd.request::<serde_json::Value>(request).await?)
        };
        let status = ask("/v3/maintenance/status", serde_json::json!({})).await?;
        let revision = status.pointer("/header/revision").context("etcd says no revision")?;
        ask(
            "/v3/kv/compaction",
            serde_json::json!({"revision": revision, "physical": true}),
        )
        .await?;
        Ok(())
    }

    /// Ends everything and removes the folder if it was a temporary one. Dropping does the same, but cannot tell of errors.
    /// A detached one is ended too.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if self.detached {
            return stop_detached(&self.layout.dir).await;
        }
        tokio::task::spawn_blocking(move || self.end())
            .await
            .context("ending the control plane panicked")?
    }

    /// Kills everything and waits for the end of it. Does nothing the second time.
    fn end(&mut self) -> anyhow::Result<()> {
        let mut processes = std::mem::take(&mut *self.processes());
        processes.iter_mut().for_each(Supervised::close);
        let ended = processes.iter_mut().try_for_each(|process| process.wait().map(drop));
        ended.and(self.clean_up().run())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if !self.detached
            && let Err(error) = self.end()
        {
            eprintln!(
                "the control plane in {} did not end: {error:#}",
                self.layout.dir.display()
            );
        }
    }
}

/// A component ended that should run.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Ended {
    message: String,
    port_taken: bool,
}

fn is_port_taken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Ended>().is_some_and(|ended| ended.port_taken)
}

/// The folder with the binaries, built if they are not there.
pub async fn find_binaries() -> anyhow::Result<PathBuf> {
    if let Some(bin) = std::env::var_os("SIGHTLINE_CONTROL_PLANE") {
        return Ok(bin.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/control-plane/build.sh");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("cannot run {}", script.display()))?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed with {}",
        script.display(),
        output.status
    );
    let bin = String::from_utf8(output.stdout).context("the cache folder's path is not UTF-8")?;
    Ok(bin.trim_end().into())
}

/// The `helm` of a folder with binaries, killed when dropped; it keeps its files in `home` and knows no cluster.
pub fn helm(bin: &Path, home: &Path) -> Command {
    let mut command = Command::new(bin.join("helm"));
    for (variable, folder) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
        command.env(format!("HELM_{variable}_HOME"), home.join(folder));
    }
    command.env_remove("KUBECONFIG").stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn check_empty(dir: Option<&Path>) -> anyhow::Result<()> {
    if let Some(dir) = dir.filter(|dir| dir.exists()) {
        let mut files = fs::read_dir(dir).with_context(|| format!("{} is no folder", dir.display()))?;
        anyhow::ensure!(
            files.next().is_none(),
            "{} is not empty; a control plane needs one of its own",
            dir.display()
        );
    }
    Ok(())
}

/// The folder, canonical, because [`stop_detached`] knows processes by it.
fn create_folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let dir = if let Some(dir) = wanted {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        dir.to_owned()
    } else {
        let dir = tempfile::Builder::new().prefix("sightline-").tempdir()?.keep();
        fs::write(dir.join(TEMPORARY), "")?;
        dir
    };
    dir.canonicalize()
        .with_context(|| format!("cannot find {}", dir.display()))
}

async fn config_of(kubeconfig: &Path) -> anyhow::Result<Config> {
    let parsed = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("{} is unusable", kubeconfig.display()))
}

/// For a component's health endpoint, whose certificate nobody knows.
fn probe_config(url: &str) -> anyhow::Result<Config> {
    let mut config = Config::new(url.parse()?);
    config.accept_invalid_certs = true;
    Ok(config)
}

async fn get(config: &Config, path: &str) -> anyhow::Result<()> {
    let mut config = config.clone();
    // We repeat ourselves, and notice when the component has ended meanwhile.
    config.default_retry = false;
    let request = axum::http::Request::get(path).body(Vec::new())?;
    Client::try_from(config)?.request_text(request).await?;
    Ok(())
}

fn is_schedulable(node: &Node) -> bool {
    let tainted = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_ref())
        .is_some_and(|taints| !taints.is_empty());
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let ready = conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && !tainted
}

/// Runs a command with an input and gives its stdout.
///
/// # Errors
/// When it fails: with `what` it was, and its stderr.
pub async fn run_with_input(mut command: Command, what: &str, input: &str) -> anyhow::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| what.to_owned())?;
    let mut pipe = child.stdin.take().context("the command has no stdin")?;
    let feed = async move {
        // One that fails early reads nothing: its own message matters then.
        pipe.write_all(input.as_bytes()).await.ok();
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.with_context(|| what.to_owned())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{what} failed: {}", errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
