//! The world of a test: a control plane with Istio's CRDs, ours, and `config/demo`, and an operator in it that has the
//! token of its ServiceAccount and nothing else.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::control_plane::{AuditEvent, ControlPlane, Options};
use crate::fault_proxy::FaultProxy;
use crate::operator::{LEASE_TIMES, LeaseTimes, Operator, Start, USER};

/// The promise: what is wrong is said within this time.
pub const TOLD: Duration = Duration::from_secs(10);
/// For what has no promised time, on a machine that builds something else as well.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// The samples that this world has everything for; a world with Kuma's kinds applies `kuma-elastic` as well.
pub const SAMPLES: [&str; 8] = [
    "interlink-tracing",
    "istio-default-access-log",
    "istio-overlapping-selectors",
    "istio-tenant-json",
    "istio-tenant-json-errors-only",
    "prometheus-federation",
    "solarmesh-interface-traffic",
    "wavefront-istio",
];

/// Arguments for a command that reads [`SAMPLES`] and, after them, more files.
pub fn sample_files(more: &[&str]) -> Vec<String> {
    let samples = SAMPLES.iter().map(|name| format!("config/samples/{name}.yaml"));
    let files = samples.chain(more.iter().map(|file| (*file).to_owned()));
    files.flat_map(|file| ["-f".to_owned(), file]).collect()
}

/// The resources of the samples.
pub const RESOURCES: [Obj; 15] = [
    Obj("ObservabilityMesh", "", "interlink"),
    Obj("ObservabilityMesh", "", "istio-shop"),
    Obj("ObservabilityMesh", "", "istio-tenants"),
    Obj("ObservabilityMesh", "", "solarmesh"),
    Obj("TracingBackend", "interlink", "virtual-kubelet"),
    Obj("TrafficLog", "shop", "access-log"),
    Obj("TracingBackend", "shop", "traces"),
    Obj("TrafficLog", "tenant-a", "received"),
    Obj("ObservabilityMesh", "", "istio-errors"),
    Obj("ObservabilityMesh", "", "istio-overlaps"),
    Obj("TrafficLog", "tenant-b", "errors"),
    Obj("TrafficLog", "inventory", "by-app"),
    Obj("TrafficLog", "inventory", "by-tier"),
    Obj("ObservabilityMesh", "", "prometheus"),
    Obj("ObservabilityMesh", "", "wavefront"),
];
/// The last resource of the samples: the one with a selector that meets no other.
pub const CART_CALLS: Obj = Obj("TrafficLog", "tenant-a", "cart-calls");

pub const SOLARMESH: Obj = RESOURCES[3];
pub const ISTIO_SHOP: Obj = RESOURCES[1];
pub const ISTIO_TENANTS: Obj = RESOURCES[2];
pub const ISTIO_ERRORS: Obj = RESOURCES[8];
pub const ISTIO_OVERLAPS: Obj = RESOURCES[9];
pub const PROMETHEUS: Obj = RESOURCES[13];
pub const WAVEFRONT: Obj = RESOURCES[14];
pub const ACCESS_LOG: Obj = RESOURCES[5];
pub const TRACES: Obj = RESOURCES[6];
pub const VIRTUAL_KUBELET: Obj = RESOURCES[4];
pub const AGENT: Obj = Obj("Deployment", "service-mesh", "networking-agent");
pub const VIRTUAL_NODE: Obj = Obj("Deployment", "interlink", "virtual-node-node");
pub const ISTIOD: Obj = Obj("Deployment", "istio-system", "istiod");
pub const GRPC_LOGGING: Obj = Obj("ConfigMap", "service-mesh", "grpc-logging");
pub const SHARED_MAP: Obj = Obj("ConfigMap", "istio-system", "sightline-mesh-config");
pub const WASM_PLUGIN: Obj = Obj("WasmPlugin", "orders", "sightline-solarmesh");
pub const SECRET: Obj = Obj("Secret", "service-mesh", "es");
pub const TEMPO: Obj = Obj("Service", "monitoring", "tempo");
pub const SHOP_TELEMETRY: Obj = Obj("Telemetry", "shop", "sightline");

/// An object: kind, namespace (empty for none) and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obj<'a>(pub &'a str, pub &'a str, pub &'a str);

impl std::fmt::Display for Obj<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 {
            "" => write!(f, "{} {}", self.0, self.2),
            namespace => write!(f, "{} {namespace}/{}", self.0, self.2),
        }
    }
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sightline"))
}

/// See the module.
pub struct World {
    pub plane: ControlPlane,
    pub client: Client,
    operator: Option<Operator>,
    kubeconfig: Option<PathBuf>,
    /// Divides the times of the conversation with istiod.
    divisor: u32,
    /// The lease that an operator waits for: where many are killed, each would wait for the end of the last one's.
    lease: Option<LeaseTimes>,
    /// How often each target is looked at although nothing happens.
    resync: Duration,
    proxy: Option<FaultProxy>,
}

/// As in production.
pub const RESYNC: Duration = Duration::from_mins(10);

impl World {
    /// A cluster with nothing of ours.
    pub async fn empty() -> Result<Self> {
        Self::empty_with(Options::default()).await
    }

    async fn empty_with(options: Options) -> Result<Self> {
        let plane = ControlPlane::start(options).await?;
        let client = plane.client()?;
        Ok(Self {
            plane,
            client,
            operator: None,
            kubeconfig: None,
            divisor: 10,
            lease: Some(LEASE_TIMES),
            resync: RESYNC,
            proxy: None,
        })
    }

    /// A cluster with our CRDs and nothing else.
    pub async fn bare() -> Result<Self> {
        Self::bare_with(Options::default()).await
    }

    async fn bare_with(options: Options) -> Result<Self> {
        let world = Self::empty_with(options).await?;
        let crds = root().join("config/crd");
        let crds = crds.to_str().context("not UTF-8")?;
        // As the docs say: what is too long for the annotation of a client-side apply is applied by the server.
        world.kubectl(&["apply", "--server-side", "-f", crds]).await?;
        world
            .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", crds])
            .await?;
        Ok(world)
    }

    /// The world of `config/demo`, its workloads available, RBAC installed, no operator yet.
    pub async fn demo() -> Result<Self> {
        Self::demo_with(Options::default()).await
    }

    /// [`World::demo`] on a control plane with other options.
    pub async fn demo_with(options: Options) -> Result<Self> {
        let world = Self::bare_with(options).await?;
        world.apply_demo().await?;
        world.plane.apply_file(&root().join("config/rbac")).await?;
        Ok(world)
    }

    /// Istio's CRDs and `config/demo`, its workloads available.
    pub async fn apply_demo(&self) -> Result<()> {
        self.plane.install_crds(&self.plane.istio_crds()).await?;
        self.plane.apply_file(&root().join("config/demo")).await?;
        for namespace in ["istio-system", "service-mesh", "interlink"] {
            self.kubectl(&[
                "-n",
                namespace,
                "wait",
                "--for=condition=Available",
                "--timeout=90s",
                "deployment",
                "--all",
            ])
            .await?;
        }
        Ok(())
    }

    /// [`World::demo`] with a running operator.
    pub async fn with_operator(divisor: u32) -> Result<Self> {
        let mut world = Self::demo().await?;
        world.divisor = divisor;
        world.start_operator().await?;
        Ok(world)
    }

    /// [`World::with_operator`] with all samples applied, and every resource Ready.
    pub async fn with_samples(divisor: u32) -> Result<Self> {
        let world = Self::with_operator(divisor).await?;
        world.apply_samples().await?;
        world.all_ready().await?;
        Ok(world)
    }

    pub fn set_divisor(&mut self, divisor: u32) {
        self.divisor = divisor;
    }

    pub fn set_lease_times(&mut self, times: LeaseTimes) {
        self.lease = Some(times);
    }

    pub fn set_resync(&mut self, resync: Duration) {
        self.resync = resync;
    }

    /// [`World::demo`] with a proxy that every operator of this world has to go through. None runs yet.
    pub async fn behind_proxy(divisor: u32) -> Result<Self> {
        let mut world = Self::demo().await?;
        world.divisor = divisor;
        world.lease = None;
        let direct = world
            .plane
            .kubeconfig_for_service_account(crate::operator::NAMESPACE, "sightline")
            .await?;
        let mut config = world.plane.config_from(&direct).await?;
        // The operator decides what is tried again.
        config.default_retry = false;
        let pid_file = world.operator_log().with_extension("pid");
        let proxy = FaultProxy::start(Client::try_from(config)?, pid_file).await?;
        world.kubeconfig = Some(proxy.kubeconfig(&direct)?);
        world.proxy = Some(proxy);
        Ok(world)
    }

    /// The proxy of [`World::behind_proxy`].
    pub fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("no proxy runs")
    }

    fn operator_log(&self) -> PathBuf {
        self.plane.dir().join("logs/operator.log")
    }

    /// Starts an operator as the ServiceAccount and waits until it leads.
    pub async fn start_operator(&mut self) -> Result<()> {
        let kubeconfig = self.kubeconfig().await?;
        self.operator = Some(Operator::start(self.start("operator", &kubeconfig)).await?);
        Ok(())
    }

    /// Starts an operator with what somebody else gives it, see [`Operator::start_with`], and waits until it leads.
    pub async fn start_operator_with(
        &mut self,
        kubeconfig: &Path,
        address: SocketAddr,
        arguments: &[String],
        env: &[(String, String)],
    ) -> Result<()> {
        let mut operator = Operator::start_with(self.start("operator", kubeconfig), address, arguments, env).await?;
        operator.wait_until_it_leads().await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Starts one of several operators, with a log of its own, and waits until it is ready. It is the caller's.
    pub async fn start_replica(&mut self, name: &str) -> Result<Operator> {
        let kubeconfig = self.kubeconfig().await?;
        Operator::start_replica(self.start(name, &kubeconfig)).await
    }

    fn start<'a>(&self, name: &'a str, kubeconfig: &'a Path) -> Start<'a> {
        Start {
            name,
            binary: binary(),
            kubeconfig,
            log: self.plane.dir().join("logs").join(name).with_extension("log"),
            istio_time_divisor: self.divisor,
            lease: self.lease,
            resync: self.resync,
        }
    }

    async fn kubeconfig(&mut self) -> Result<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return Ok(path.clone());
        }
        let account = (crate::operator::NAMESPACE, "sightline");
        let path = self.plane.kubeconfig_for_service_account(account.0, account.1).await?;
        self.kubeconfig = Some(path.clone());
        Ok(path)
    }

    pub fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("no operator runs")
    }

    /// SIGTERM; fails unless it ends with 0.
    pub async fn stop_operator(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.stop().await
    }

    /// SIGABRT; fails if it ends with 0.
    pub async fn abort_operator(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.abort().await
    }

    /// SIGKILL.
    pub async fn kill_operator(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.kill().await
    }

    /// The whole log of all operators of this world.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.operator_log()).unwrap_or_default()
    }

    pub async fn apply_samples(&self) -> Result<()> {
        for name in SAMPLES {
            self.apply_sample(name).await?;
        }
        Ok(())
    }

    pub async fn apply_sample(&self, name: &str) -> Result<()> {
        let path = root().join("config/samples").join(name).with_extension("yaml");
        self.plane.apply_file(&path).await.map(drop)
    }

    /// Waits until every resource of the samples is Ready.
    pub async fn all_ready(&self) -> Result<()> {
        for obj in RESOURCES.into_iter().chain([CART_CALLS]) {
            self.ready(obj).await?;
        }
        Ok(())
    }
}

/// Reading and writing as administrator.
impl World {
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.plane.run_kubectl(arguments).await
    }

    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.plane.apply_yaml(yaml).await.map(drop)
    }

    /// Volumes for claims, as a provisioner makes them.
    pub async fn provide_volumes(&self, count: usize) -> Result<()> {
        for number in 0..count {
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("volume-{number}")},
                "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/volume"}}});
            self.apply(&volume.to_string()).await?;
        }
        Ok(())
    }

    /// Waits until an admission policy denies this new object: it counts only some time after it is made.
    pub async fn denied(&self, policy: &str, probe: &Value) -> Result<()> {
        let text = |path: &str| probe.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let api = self.api(Obj(text("/kind"), text("/metadata/namespace"), text("/metadata/name")));
        let object: DynamicObject = serde_json::from_value(probe.clone())?;
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        eventually(PATIENCE, "the admission policy is in force", async || {
            Ok(match api.create(&params, &object).await {
                Err(kube::Error::Api(status)) if status.message.contains(policy) => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
        .await
    }

    pub fn api(&self, obj: Obj<'_>) -> Api<DynamicObject> {
        let resource = resource(obj.0);
        match obj.1 {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// An object, or nothing.
    pub async fn find(&self, obj: Obj<'_>) -> Result<Option<Value>> {
        let found = self
            .api(obj)
            .get_opt(obj.2)
            .await
            .with_context(|| format!("get {obj}"))?;
        found.map(|object| Ok(serde_json::to_value(object)?)).transpose()
    }

    pub async fn get(&self, obj: Obj<'_>) -> Result<Value> {
        self.find(obj).await?.with_context(|| format!("{obj} does not exist"))
    }

    /// All objects of a kind, in one namespace or (empty) in all.
    pub async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let list = self
            .api(Obj(kind, namespace, ""))
            .list(&kube::api::ListParams::default())
            .await?;
        list.items
            .into_iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    /// A merge patch, as a hand edit.
    pub async fn patch(&self, obj: Obj<'_>, patch: Value) -> Result<()> {
        let params = PatchParams {
            field_manager: Some("somebody".into()),
            ..PatchParams::default()
        };
        self.api(obj)
            .patch(obj.2, &params, &Patch::Merge(patch))
            .await
            .with_context(|| format!("patch {obj}"))?;
        Ok(())
    }

    pub async fn delete(&self, obj: Obj<'_>) -> Result<()> {
        self.api(obj)
            .delete(obj.2, &DeleteParams::default())
            .await
            .with_context(|| format!("delete {obj}"))?;
        Ok(())
    }

    /// Makes an object that was deleted again, as another one.
    pub async fn recreate(&self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            object["metadata"].as_object_mut().map(|m| m.remove(field));
        }
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        self.apply(&object.to_string()).await
    }

    /// Deletes, and waits until it is gone.
    pub async fn delete_and_wait(&self, obj: Obj<'_>) -> Result<()> {
        self.delete(obj).await?;
        self.gone(obj, PATIENCE).await
    }

    pub async fn gone(&self, obj: Obj<'_>, within: Duration) -> Result<()> {
        eventually(within, &format!("{obj} is gone"), async || {
            match self.find(obj).await? {
                None => Ok(Ok(())),
                Some(left) => Ok(Err(format!("{}", left["metadata"]))),
            }
        })
        .await
    }

    /// Sets (`NAME=VALUE`) or takes away (`NAME-`) a variable of a Deployment, and waits for its new pods.
    pub async fn set_env(&self, deployment: Obj<'_>, variable: &str) -> Result<()> {
        let Obj(_, namespace, name) = deployment;
        let target = format!("deployment/{name}");
        self.kubectl(&["-n", namespace, "set", "env", &target, variable])
            .await?;
        self.kubectl(&["-n", namespace, "rollout", "status", &target, "--timeout=60s"])
            .await
            .map(drop)
    }

    /// Sets the password of the Elasticsearch Secret.
    pub async fn set_password(&self, password: &str) -> Result<()> {
        self.patch(SECRET, serde_json::json!({"stringData": {"password": password}}))
            .await
    }
}

/// What the operator says and does.
impl World {
    /// A condition: status, reason and message.
    pub async fn condition(&self, obj: Obj<'_>, type_: &str) -> Result<Option<Condition>> {
        Ok(condition_of(&self.get(obj).await?, type_))
    }

    /// Waits until a condition is as given and speaks of the present generation.
    pub async fn expect(
        &self,
        obj: Obj<'_>,
        within: Duration,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        self.expect_words(obj, within, type_, status, reason, &[]).await
    }

    /// [`World::expect`] a message that has each of the given words.
    async fn expect_words(
        &self,
        obj: Obj<'_>,
        within: Duration,
        type_: &str,
        status: &str,
        reason: &str,
        words: &[&str],
    ) -> Result<String> {
        let what = format!("{type_} of {obj} is {status} for {reason}, and says {words:?}");
        let says_all = |message: &str| words.iter().all(|word| message.contains(word));
        let found = eventually(within, &what, async || {
            let object = self.get(obj).await?;
            let generation = object.pointer("/metadata/generation").cloned();
            let current = object.pointer("/status/observedGeneration").cloned() == generation;
            Ok(match condition_of(&object, type_) {
                Some(c) if c.status == status && c.reason == reason && current && says_all(&c.message) => Ok(c.message),
                _ => Err(conditions_text(&object)),
            })
        });
        found.await.map_err(|error| self.with_log(error))
    }

    pub async fn ready(&self, obj: Obj<'_>) -> Result<()> {
        self.expect(obj, PATIENCE, "Ready", "True", "Ready").await.map(drop)
    }

    /// Ready turns False for the reason within the promised time, with a message that has each of the given words.
    pub async fn told(&self, obj: Obj<'_>, reason: &str, words: &[&str]) -> Result<()> {
        self.told_as(obj, "False", reason, words).await
    }

    pub async fn told_as(&self, obj: Obj<'_>, status: &str, reason: &str, words: &[&str]) -> Result<()> {
        let message = self.expect_words(obj, TOLD, "Ready", status, reason, words).await?;
        ensure!(
            message.starts_with(|c: char| c.is_uppercase() || c == 'i' || c == '`' || c == 's')
                && message.ends_with('.'),
            "{obj}: not a sentence: {message}"
        );
        Ok(())
    }

    fn with_log(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.operator {
            Some(operator) => error.context(format!("the operator's log:\n{}", operator.log_tail())),
            None => error,
        }
    }

    /// What the operator has asked to write since then.
    pub async fn writes_since(&self, since: Timestamp) -> Result<Vec<AuditEvent>> {
        self.plane.settle_audit_log().await?;
        self.plane.writes_by(USER, since)
    }

    /// Fails if the operator has written anything since then.
    pub async fn no_writes_since(&self, since: Timestamp) -> Result<()> {
        let writes: Vec<String> = self.writes_since(since).await?.iter().map(write_text).collect();
        ensure!(
            writes.is_empty(),
            "the operator wrote:\n{}\nits log:\n{}",
            writes.join("\n"),
            self.log()
        );
        Ok(())
    }

    /// Waits until the operator has asked to write nothing for the given time.
    pub async fn quiet_for(&self, span: Duration) -> Result<()> {
        let what = format!("the operator writes nothing for {span:?}");
        eventually(PATIENCE, &what, async || {
            let since = Timestamp::now();
            let since = since.checked_sub(k8s_openapi::jiff::SignedDuration::try_from(span)?)?;
            let writes = self.writes_since(since).await?;
            Ok(match writes.last() {
                None => Ok(()),
                Some(last) => Err(write_text(last)),
            })
        })
        .await
    }

    /// Requests of the operator that RBAC refused.
    pub async fn forbidden(&self) -> Result<Vec<String>> {
        self.plane.settle_audit_log().await?;
        let events = self.plane.audit_events()?;
        Ok(events
            .iter()
            .filter(|e| e.user == USER && e.lacks_rights)
            .map(write_text)
            .collect())
    }

    /// The number of pod templates that a Deployment has had: 1 at first, 1 more for each restart.
    pub async fn revisions(&self, obj: Obj<'_>) -> Result<usize> {
        let deployment = self.get(obj).await?;
        let uid = &deployment["metadata"]["uid"];
        let sets = self.list("ReplicaSet", obj.1).await?;
        Ok(sets
            .iter()
            .filter(|set| set.pointer("/metadata/ownerReferences/0/uid") == Some(uid))
            .count())
    }

    /// Waits until a Deployment has had so many pod templates and is rolled out, and says that it stays so for a while.
    pub async fn restarted_to(&self, obj: Obj<'_>, revisions: usize) -> Result<()> {
        eventually(
            PATIENCE,
            &format!("{obj} has {revisions} pod templates and is rolled out"),
            async || {
                let (count, deployment) = (self.revisions(obj).await?, self.get(obj).await?);
                Ok(if count == revisions && is_rolled_out(&deployment) {
                    Ok(())
                } else {
                    Err(format!("{count} templates, status {}", deployment["status"]))
                })
            },
        )
        .await
        .map_err(|error| self.with_log(error))
    }

    /// Notes of the events about an object, with their reasons.
    pub async fn events(&self, obj: Obj<'_>) -> Result<Vec<(String, String)>> {
        let namespace = if obj.1.is_empty() { "default" } else { obj.1 };
        let events = self.list("Event", namespace).await?;
        let about = events
            .iter()
            .filter(|e| e["regarding"]["kind"] == obj.0 && e["regarding"]["name"] == obj.2);
        Ok(about.map(|e| (text(&e["reason"]), text(&e["note"]))).collect())
    }

    /// The MeshConfig text in the shared map.
    pub async fn mesh_config(&self) -> Result<String> {
        Ok(self
            .find(SHARED_MAP)
            .await?
            .map(|map| text(&map["data"]["mesh"]))
            .unwrap_or_default())
    }

    pub async fn application_yaml(&self) -> Result<String> {
        Ok(text(&self.get(GRPC_LOGGING).await?["data"]["application.yaml"]))
    }
}

/// A condition of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub status: String,
    pub reason: String,
    pub message: String,
}

pub fn condition_of(object: &Value, type_: &str) -> Option<Condition> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let one = all.iter().find(|c| c["type"] == type_)?;
    Some(Condition {
        status: text(&one["status"]),
        reason: text(&one["reason"]),
        message: text(&one["message"]),
    })
}

fn conditions_text(object: &Value) -> String {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let lines = all.into_iter().flatten().map(|c| {
        format!(
            "{}={} {}: {}",
            text(&c["type"]),
            text(&c["status"]),
            text(&c["reason"]),
            text(&c["message"])
        )
    });
    let judged = format!(
        "generation {}, judged {}: ",
        object["metadata"]["generation"], object["status"]["observedGeneration"]
    );
    judged + &lines.collect::<Vec<_>>().join("; ")
}

/// A string, or nothing.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Names of our providers that a Telemetry names.
pub fn providers_of(telemetry: &Value) -> Vec<String> {
    let entries = ["accessLogging", "tracing"]
        .into_iter()
        .filter_map(|k| telemetry["spec"][k].as_array())
        .flatten();
    let providers = entries.filter_map(|e| e["providers"].as_array()).flatten();
    providers
        .map(|p| text(&p["name"]))
        .filter(|name| name.starts_with("sightline-"))
        .collect()
}

pub fn is_rolled_out(deployment: &Value) -> bool {
    let status = |name: &str| deployment["status"][name].as_i64().unwrap_or(0);
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    status("observedGeneration") >= deployment["metadata"]["generation"].as_i64().unwrap_or(0)
        && status("updatedReplicas") == wanted
        && status("replicas") == wanted
        && status("availableReplicas") == wanted
}

pub fn write_text(e: &AuditEvent) -> String {
    format!(
        "{} {} {}/{} {}/{} -> {} {}",
        e.time, e.verb, e.resource, e.subresource, e.namespace, e.name, e.code, e.uri
    )
}

pub fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "ObservabilityMesh" => ("sightline.dev", "v1alpha1", "observabilitymeshes"),
        "TrafficLog" => ("sightline.dev", "v1alpha1", "trafficlogs"),
        "TracingBackend" => ("sightline.dev", "v1alpha1", "tracingbackends"),
        "Telemetry" => ("telemetry.istio.io", "v1", "telemetries"),
        "WasmPlugin" => ("extensions.istio.io", "v1alpha1", "wasmplugins"),
        "KumaMesh" => ("kuma.io", "v1alpha1", "meshes"),
        "KumaTrafficLog" => ("kuma.io", "v1alpha1", "trafficlogs"),
        "KumaTrafficTrace" => ("kuma.io", "v1alpha1", "traffictraces"),
        "MeshAccessLog" => ("kuma.io", "v1alpha1", "meshaccesslogs"),
        "MeshTrace" => ("kuma.io", "v1alpha1", "meshtraces"),
        "MeshMetric" => ("kuma.io", "v1alpha1", "meshmetrics"),
        "MeshOpenTelemetryBackend" => ("kuma.io", "v1alpha1", "meshopentelemetrybackends"),
        "PodMonitor" => ("monitoring.coreos.com", "v1", "podmonitors"),
        "ServiceMonitor" => ("monitoring.coreos.com", "v1", "servicemonitors"),
        "ScrapeConfig" => ("monitoring.coreos.com", "v1alpha1", "scrapeconfigs"),
        "PrometheusRule" => ("monitoring.coreos.com", "v1", "prometheusrules"),
        "Prometheus" => ("monitoring.coreos.com", "v1", "prometheuses"),
        "OpenTelemetryCollector" => ("opentelemetry.io", "v1beta1", "opentelemetrycollectors"),
        "Deployment" => ("apps", "v1", "deployments"),
        "DaemonSet" => ("apps", "v1", "daemonsets"),
        "StatefulSet" => ("apps", "v1", "statefulsets"),
        "ControllerRevision" => ("apps", "v1", "controllerrevisions"),
        "ReplicaSet" => ("apps", "v1", "replicasets"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "Role" => ("rbac.authorization.k8s.io", "v1", "roles"),
        "ClusterRole" => ("rbac.authorization.k8s.io", "v1", "clusterroles"),
        "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        "PodDisruptionBudget" => ("policy", "v1", "poddisruptionbudgets"),
        "ResourceQuota" => ("", "v1", "resourcequotas"),
        "ValidatingWebhookConfiguration" => ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Secret" => ("", "v1", "secrets"),
        "Service" => ("", "v1", "services"),
        "Namespace" => ("", "v1", "namespaces"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        "Pod" => ("", "v1", "pods"),
        other => panic!("no resource for kind {other}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// `sightline` with arguments.
pub async fn sightline(arguments: &[&str]) -> Result<Output> {
    Ok(tokio::process::Command::new(binary())
        .args(arguments)
        .current_dir(root())
        .output()
        .await?)
}

/// Its stdout; it has to end with 0.
pub async fn sightline_ok(arguments: &[&str]) -> Result<String> {
    let output = sightline(arguments).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "sightline {} ended with {}: {errors}",
        arguments.join(" "),
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Looks until the closure gives `Ok(Ok)`. `Ok(Err)` is what is seen instead; an `Err` ends it at once.
pub async fn eventually<T>(
    within: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = match look().await? {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if start.elapsed() > within {
            bail!("not within {within:?}: {what}; last seen: {seen}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks for the whole span and fails as soon as the closure gives `Ok(Err)`: for what must not happen.
pub async fn always(
    span: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Result<(), String>>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(seen) = look().await? {
            bail!("after {:?}: {what} no longer holds: {seen}", start.elapsed());
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}
