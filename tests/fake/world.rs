//! The world of a test: `config/demo` in a fake API server, and the operator in this process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sightline::controllers::{Operator, Settings};
use sightline::plan::simulate::complete_rollout;
use sightline::snapshot::Timings;
use sightline::yaml::read_documents;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::control_plane::free_address;
use crate::fake_api::FakeApi;

/// For what has no promised time, on a machine that builds something else as well.
pub const PATIENCE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(20);
/// How long nothing happens before it counts as over: longer than each of the operator's times here.
const QUIET: Duration = Duration::from_secs(2);

/// An object: kind, namespace (empty for none) and name.
#[derive(Clone, Copy, Debug)]
pub struct Obj(pub &'static str, pub &'static str, pub &'static str);

pub const ISTIO_SHOP: Obj = Obj("ObservabilityMesh", "", "istio-shop");
pub const SOLARMESH: Obj = Obj("ObservabilityMesh", "", "solarmesh");
pub const ACCESS_LOG: Obj = Obj("TrafficLog", "shop", "access-log");
pub const TRACES: Obj = Obj("TracingBackend", "shop", "traces");
pub const TELEMETRY: Obj = Obj("Telemetry", "shop", "sightline");
pub const AGENT: Obj = Obj("Deployment", "service-mesh", "networking-agent");
pub const SECRET: Obj = Obj("Secret", "service-mesh", "es");

/// See the module.
pub struct World {
    pub api: FakeApi,
    operator: Option<Running>,
}

struct Running {
    task: JoinHandle<Result<(), sightline::controllers::RunError>>,
    stop: oneshot::Sender<()>,
    address: SocketAddr,
}

impl World {
    /// The demo, without an operator.
    pub async fn demo() -> Result<Self> {
        let api = FakeApi::start().await;
        // Events about what is in no namespace go there.
        api.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
        let world = Self { api, operator: None };
        let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("config/demo"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files {
            for object in read_documents(&std::fs::read_to_string(file)?)? {
                world.put_as_stored(object);
            }
        }
        Ok(world)
    }

    /// The demo with an operator.
    pub async fn with_operator() -> Result<Self> {
        let mut world = Self::demo().await?;
        world.start_operator()?;
        Ok(world)
    }

    /// Puts an object in as the API server stores it, and as its controllers leave it.
    fn put_as_stored(&self, mut object: Value) {
        if let Some(Value::Object(texts)) = object.as_object_mut().and_then(|map| map.shift_remove("stringData")) {
            for (key, text) in texts {
                object["data"][key] = base64(text.as_str().unwrap());
            }
        }
        if !self.api.knows(&object) {
            return;
        }
        if object["kind"] == "Deployment" {
            object["metadata"]["generation"] = 1.into();
            complete_rollout(&mut object);
        }
        self.api.put(&object);
        if object["metadata"]["name"] == "istiod" && object["kind"] == "Deployment" {
            let template = &object["spec"]["template"];
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"],
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
            pod["metadata"]["name"] = "istiod-0".into();
            pod["metadata"]["namespace"] = object["metadata"]["namespace"].clone();
            self.api.put(&pod);
        }
    }

    /// Puts the resources of a sample in.
    pub fn put_sample(&self, name: &str) -> Result<()> {
        let file = root().join(format!("config/samples/{name}.yaml"));
        for object in read_documents(&std::fs::read_to_string(file)?)? {
            self.api.put(&object);
        }
        Ok(())
    }

    /// Starts the operator in this process. Its times are short, as no istiod is there to wait for.
    pub fn start_operator(&mut self) -> Result<()> {
        let address = free_address()?;
        let settings = Settings {
            namespace: "sightline-system".into(),
            identity: "fake".into(),
            election: None,
            listen: Some(address),
            ejects: false,
            workers: 4,
            grace: Duration::from_secs(5),
            timings: Timings::default().divided_by(20),
            resync: Duration::from_mins(10),
            status_interval: Duration::from_millis(50),
        };
        let mut config = self.api.config()?;
        config.default_retry = false;
        let operator: Arc<Operator> = Operator::new(config, settings)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(operator.run(async { drop(stopped.await) }));
        self.operator = Some(Running { task, stop, address });
        Ok(())
    }

    /// Ends the operator, which finishes what it does.
    pub async fn stop_operator(&mut self) -> Result<()> {
        let Running { task, stop, .. } = self.operator.take().context("no operator runs")?;
        let _ = stop.send(());
        Ok(task.await??)
    }

    /// The value of one of its metrics.
    pub async fn metric(&self, name: &str) -> Result<String> {
        let address = self.operator.as_ref().context("no operator runs")?.address;
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let line = answer.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        Ok(line
            .with_context(|| format!("no metric {name} in {answer}"))?
            .to_owned())
    }

    /// An object as it stands.
    pub fn get(&self, Obj(kind, namespace, name): Obj) -> Result<Value> {
        let found = self.api.find(kind, namespace, name);
        found.with_context(|| format!("there is no {kind} {namespace}/{name}"))
    }

    /// What somebody else writes.
    pub fn change(&self, Obj(kind, namespace, name): Obj, change: impl FnOnce(&mut Value)) {
        self.api.change(kind, namespace, name, change);
    }

    /// Waits until a condition of a resource says this.
    pub async fn told(&self, obj: Obj, status: &str, reason: &str) -> Result<Value> {
        eventually(&format!("{obj:?} says Ready={status} {reason}"), async || {
            self.roll_out()?;
            let object = self.get(obj)?;
            let ready = condition(&object, "Ready");
            let generation = object["metadata"]["generation"].clone();
            if ready["status"] == status && ready["reason"] == reason && ready["observedGeneration"] == generation {
                Ok(Ok(object))
            } else {
                Ok(Err(format!("generation {generation}: {}", object["status"])))
            }
        })
        .await
    }

    /// Waits until a resource is Ready.
    pub async fn ready(&self, obj: Obj) -> Result<Value> {
        self.told(obj, "True", "Ready").await
    }

    /// Waits until nothing was written for a while, and plays the controller of Deployments meanwhile.
    pub async fn quiet(&self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut since = tokio::time::Instant::now();
        let mut writes = self.api.writes().len();
        while since.elapsed() < QUIET {
            if tokio::time::Instant::now() > deadline {
                bail!("writes go on: {:#?}", self.writes_from(writes.saturating_sub(10)));
            }
            let now = self.api.writes().len();
            if now != writes || self.roll_out()? {
                (writes, since) = (now, tokio::time::Instant::now());
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Completes what a Deployment's controller would roll out now; tells whether there was something.
    fn roll_out(&self) -> Result<bool> {
        let deployment = self.get(AGENT)?;
        let is_done = deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"];
        if !is_done {
            self.change(AGENT, complete_rollout);
        }
        Ok(!is_done)
    }

    /// How often the agent's pods were made anew so far.
    pub fn templates(&self) -> Result<i64> {
        let generation = self.get(AGENT)?["metadata"]["generation"].as_i64();
        generation.context("no generation")
    }

    /// How many writes there were so far.
    pub fn written(&self) -> usize {
        self.api.writes().len()
    }

    /// Writes of objects from there on, as text; events are none.
    pub fn writes_from(&self, place: usize) -> Vec<String> {
        let writes = self.api.writes();
        let writes = writes.iter().skip(place).filter(|write| write.resource != "events");
        writes.map(ToString::to_string).collect()
    }
}

/// Waits until something holds.
pub async fn eventually<T>(what: &str, holds: impl AsyncFn() -> Result<Result<T, String>>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match holds().await? {
            Ok(value) => return Ok(value),
            Err(state) if tokio::time::Instant::now() > deadline => bail!("not in time: {what}: {state}"),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// A condition of a resource.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array();
    let found = all.into_iter().flatten().find(|condition| condition["type"] == type_);
    found.unwrap_or(&Value::Null)
}

/// Text as the values of a Secret are written.
pub fn base64(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
