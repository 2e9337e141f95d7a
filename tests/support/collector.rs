//! Real OpenTelemetry Collectors, with a configuration that was rendered.
//!
//! No one build holds all components (see `tools/collector`), so a configuration runs in two processes, cut where it says
//! itself that a step of its own begins: the first has all of it but the exporter of Elasticsearch, in whose place it
//! passes on to the second, which has that exporter and what it receives from. Nothing of it outlives the process that
//! started it (see [`process`]).

// Every test crate compiles this file and uses its own part of it.
#![allow(dead_code, reason = "each user takes only a part")]

#[allow(clippy::duplicate_mod, reason = "a test crate may take several of these files")]
#[path = "process.rs"]
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sightline::yaml::to_yaml;

use process::{CleanUp, Supervised};

/// A present collector, without the exporter of Elasticsearch: binary and version.
pub const RECEIVERS: (&str, &str) = ("otelcol-receivers", "0.155.0");
/// The newest one with it that can be built: binary and version.
pub const ELASTICSEARCH: (&str, &str) = ("otelcol-elasticsearch", "0.120.0");

/// How long a collector may take to get ready: a second as a rule.
pub const READY_LIMIT: Duration = Duration::from_secs(30);
pub const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// How long an answer to a request may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Another process may take a free port before a collector does.
const ATTEMPTS: u32 = 4;
/// The extension that keeps queues on a volume.
const STORAGE: &str = "file_storage";

/// The folder with both collectors, built if they are not there.
pub fn binaries() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/collector/build.sh");
    let output = Command::new(&script)
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// A configuration with another exporter in place of each one of Elasticsearch: for a collector without it.
pub fn in_place_of_elasticsearch(config: &Value, type_: &str, settings: impl Fn(&str) -> Value) -> Value {
    let mut config = config.clone();
    let exporters = config["exporters"].as_object().cloned().unwrap_or_default();
    for id in exporters.keys() {
        let Some(name) = id.strip_prefix("elasticsearch/") else {
            continue;
        };
        let other = format!("{type_}/in-place-of-{name}");
        config["exporters"].as_object_mut().map(|all| all.remove(id));
        config["exporters"][&other] = settings(name);
        let pipelines = config["service"]["pipelines"].as_object_mut();
        for pipeline in pipelines.into_iter().flat_map(serde_json::Map::values_mut) {
            for exporter in pipeline["exporters"].as_array_mut().into_iter().flatten() {
                if exporter == id.as_str() {
                    *exporter = json!(other);
                }
            }
        }
    }
    config
}

/// What of a configuration the collector with the exporter of Elasticsearch can run: the pipelines behind the loopback,
/// without the processor that marks records and without the extension of queues, which its build lacks.
pub fn step_to_elasticsearch(config: &Value) -> Value {
    let mut step = config.clone();
    let mut used: Vec<Value> = Vec::new();
    if let Some(pipelines) = step["service"]["pipelines"].as_object_mut() {
        pipelines.retain(|name, _| name.contains('/'));
        for pipeline in pipelines.values_mut() {
            pipeline["processors"] = json!([]);
            let ids = ["receivers", "exporters"].map(|part| pipeline[part].as_array().cloned().unwrap_or_default());
            used.extend(ids.into_iter().flatten());
        }
    }
    for part in ["receivers", "exporters"] {
        if let Some(all) = step[part].as_object_mut() {
            all.retain(|id, _| used.contains(&json!(id)));
        }
    }
    step["processors"] = json!({});
    step["extensions"].as_object_mut().map(|all| all.remove(STORAGE));
    if let Some(all) = step["service"]["extensions"].as_array_mut() {
        all.retain(|id| id != STORAGE);
    }
    step
}

/// Where the two processes run, and what of the configuration is theirs.
#[derive(Debug)]
struct Setup {
    /// Of the first process.
    first: Value,
    /// Of the second one.
    second: Value,
    /// Ports of the first process, by those of the configuration.
    ports: BTreeMap<u16, u16>,
    health: [SocketAddr; 2],
    metrics: [SocketAddr; 2],
}

impl Setup {
    /// Changes what has to be changed, and nothing else: every port is a free one of the loopback, since others run at the
    /// same time; a volume is a folder; metrics, which have one port by default, get one for each process.
    fn of(config: &Value, folder: &Path) -> Result<Self> {
        let mut second = step_to_elasticsearch(config);
        let inner = with_free_ports(&mut second)?;
        let relay = |name: &str| {
            let address = &second["receivers"][format!("otlp/{name}")]["protocols"]["grpc"]["endpoint"];
            // Neither queue nor tries: an answer of Elasticsearch is passed back as it comes.
            json!({
                "endpoint": address, "tls": {"insecure": true}, "timeout": "5m",
                "sending_queue": {"enabled": false}, "retry_on_failure": {"enabled": false},
            })
        };
        let mut first = in_place_of_elasticsearch(config, "otlp", relay);
        let ports = with_free_ports(&mut first)?;
        if let Some(storage) = first["extensions"].get_mut(STORAGE) {
            storage["directory"] = json!(folder.join("queue"));
        }
        let metrics = [with_metrics(&mut first)?, with_metrics(&mut second)?];
        let health = |ports: &BTreeMap<u16, u16>| ports.get(&13133).copied().map(at).context("no health check");
        let health = [health(&ports)?, health(&inner)?];
        Ok(Self {
            first,
            second,
            ports,
            health,
            metrics,
        })
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(at(0))?.local_addr()?.port())
}

/// Gives each port that is listened on a free one of the loopback, also where it is sent to within the configuration.
fn with_free_ports(config: &mut Value) -> Result<BTreeMap<u16, u16>> {
    let mut ports = BTreeMap::new();
    for part in ["receivers", "extensions"] {
        change_endpoints(&mut config[part], &mut |endpoint| {
            let (_, port) = endpoint.rsplit_once(':').context("an address without a port")?;
            let free = free_port()?;
            ports.insert(port.parse()?, free);
            Ok(at(free).to_string())
        })?;
    }
    change_endpoints(&mut config["exporters"], &mut |endpoint| {
        let inner = endpoint.strip_prefix("127.0.0.1:").and_then(|port| port.parse().ok());
        Ok(inner
            .and_then(|port: u16| ports.get(&port))
            .map_or_else(|| endpoint.to_owned(), |free| at(*free).to_string()))
    })?;
    Ok(ports)
}

fn change_endpoints(value: &mut Value, change: &mut impl FnMut(&str) -> Result<String>) -> Result<()> {
    for (name, member) in value.as_object_mut().into_iter().flatten() {
        match member {
            Value::String(endpoint) if name == "endpoint" => *endpoint = change(endpoint)?,
            member => change_endpoints(member, change)?,
        }
    }
    Ok(())
}

fn with_metrics(config: &mut Value) -> Result<SocketAddr> {
    let port = free_port()?;
    let exporter = json!({"prometheus": {"host": "127.0.0.1", "port": port}});
    config["service"]["telemetry"] = json!({"metrics": {"readers": [{"pull": {"exporter": exporter}}]}});
    Ok(at(port))
}

/// The two processes. Dropped, they are killed and their folder is removed.
#[derive(Debug)]
pub struct Collectors {
    dir: PathBuf,
    binaries: PathBuf,
    env: Vec<(String, String)>,
    setup: Setup,
    first: Supervised,
    second: Supervised,
    clean_up: CleanUp,
}

impl Collectors {
    /// Starts both with a configuration as it was rendered, and with variables as their container has them, and waits until
    /// they are healthy.
    ///
    /// # Errors
    /// With the end of a log, when one ends or does not get ready in time.
    pub async fn start(config: &Value, env: &[(&str, &str)]) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut this = Self::spawn(config, env)?;
            match this.wait_until_healthy().await {
                Ok(()) => return Ok(this),
                Err(_) if attempt < ATTEMPTS && this.logs().contains("address already in use") => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(config: &Value, env: &[(&str, &str)]) -> Result<Self> {
        let binaries = binaries()?;
        let dir = tempfile::Builder::new()
            .prefix("sightline-collector-")
            .tempdir()?
            .keep();
        let clean_up = CleanUp::spawn(&dir, false)?;
        for part in ["logs", "pids"] {
            fs::create_dir(dir.join(part))?;
        }
        let setup = Setup::of(config, &dir)?;
        fs::write(dir.join("first.yaml"), to_yaml(&setup.first)?)?;
        fs::write(dir.join("second.yaml"), to_yaml(&setup.second)?)?;
        let env: Vec<(String, String)> = env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let second = run("second", &dir, &binaries.join(ELASTICSEARCH.0), &env)?;
        let first = run("first", &dir, &binaries.join(RECEIVERS.0), &env)?;
        Ok(Self {
            dir,
            binaries,
            env,
            setup,
            first,
            second,
            clean_up,
        })
    }

    async fn wait_until_healthy(&mut self) -> Result<()> {
        let health = self.setup.health;
        for (process, address) in [(&mut self.first, health[0]), (&mut self.second, health[1])] {
            let deadline = Instant::now() + READY_LIMIT;
            loop {
                let health = request(address, "GET", "/", "", &[]).await;
                if health.as_ref().is_ok_and(|(status, _)| *status == 200) {
                    break;
                }
                if let Some(status) = process.ended()? {
                    bail!("a collector ended with {status}\n{}", process.log_tail());
                }
                ensure!(
                    Instant::now() < deadline,
                    "a collector is not healthy after {READY_LIMIT:?}: {health:?}\n{}",
                    process.log_tail()
                );
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Where it takes what a Service would bring to this port.
    pub fn receiver(&self, port: u16) -> Result<SocketAddr> {
        let port = self.setup.ports.get(&port);
        port.copied()
            .map(at)
            .with_context(|| format!("nothing listens for {port:?}"))
    }

    /// Kills the first one, as a node that goes down does, and starts it again on the same volume.
    pub async fn crash(&mut self) -> Result<()> {
        self.first.close();
        self.first.wait()?;
        self.first = run("first", &self.dir, &self.binaries.join(RECEIVERS.0), &self.env)?;
        self.wait_until_healthy().await
    }

    /// A count of the first one, the sum of all series whose labels contain what is given.
    pub async fn count(&self, name: &str, labels: &str) -> Result<u64> {
        let text = self.metrics().await?;
        let series = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let values = series
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit_once(' '));
        // Large ones come as `1e+06`.
        let whole = |(_, value): (&str, &str)| Ok(format!("{:.0}", value.parse::<f64>()?).parse::<u64>()?);
        values.map(whole).sum()
    }

    /// All metrics of both.
    pub async fn metrics(&self) -> Result<String> {
        let mut all = String::new();
        for address in self.setup.metrics {
            let (status, text) = request(address, "GET", "/metrics", "", &[]).await?;
            ensure!(status == 200, "metrics: {status}: {text}");
            all.push_str(&text);
        }
        Ok(all)
    }

    /// The logs of both.
    pub fn logs(&self) -> String {
        self.first.log() + &self.second.log()
    }

    /// The ends of their logs, for an error message.
    pub fn log_tails(&self) -> String {
        format!("{}\n{}", self.first.log_tail(), self.second.log_tail())
    }
}

fn run(name: &'static str, dir: &Path, program: &Path, env: &[(String, String)]) -> Result<Supervised> {
    let config = dir.join(name).with_extension("yaml").display().to_string();
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Supervised::spawn_with(name, dir, program, &["--config".to_owned(), config], &env)
}

impl Drop for Collectors {
    fn drop(&mut self) {
        self.first.close();
        self.second.close();
        let ended = self.first.wait().and_then(|_| self.second.wait());
        if let Err(error) = ended.and_then(|_| self.clean_up.run()) {
            eprintln!("the collectors in {} did not end: {error:#}", self.dir.display());
        }
    }
}

/// Asks a server on loopback over HTTP. Returns status and body.
///
/// # Errors
/// When there is no answer.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> Result<(u16, String)> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("user-agent", "sightline-test")
        .header("content-type", content_type)
        .body(Full::new(Bytes::copy_from_slice(body)))?;
    let connection = tokio::spawn(connection);
    let ask = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec())?))
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, ask).await;
    connection.abort();
    answer?
}
