//! A real collector that takes spans by OTLP and tells what it got. See `tools/collector`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::collectors::{PROBE_INTERVAL, READY_LIMIT, RECEIVERS, binaries};

/// A collector of this test's own. It ends with the value.
pub struct SpanReceiver {
    process: Child,
    folder: tempfile::TempDir,
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
}

/// Certificate, key, and the authority that senders have to be known to.
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
}

/// A span as the collector got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedSpan {
    pub name: String,
    /// Attributes of its resource; headers of the export are among them as `header.NAME`.
    pub resource: BTreeMap<String, String>,
}

/// The headers that it tells of.
const HEADERS: [&str; 2] = ["authorization", "x-tenant"];

impl SpanReceiver {
    /// Starts it, with `tls` for those who show a certificate only, and waits until it listens.
    pub async fn start(grpc: SocketAddr, http: SocketAddr, tls: Option<&ServerTls>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.yaml");
        // JSON is YAML.
        std::fs::write(&config, configuration(grpc, http, tls).to_string())?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let process = Command::new(binaries()?.join(RECEIVERS.0))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the collector")?;
        let mut receiver = Self {
            process,
            folder,
            grpc,
            http,
        };
        let deadline = Instant::now() + READY_LIMIT;
        while !receiver.log()?.contains("Everything is ready") {
            if let Some(status) = receiver.process.try_wait()? {
                bail!("the collector ended with {status}:\n{}", receiver.log()?);
            }
            ensure!(
                Instant::now() < deadline,
                "the collector is not ready after {READY_LIMIT:?}:\n{}",
                receiver.log()?
            );
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
        Ok(receiver)
    }

    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// What it got until now.
    pub fn spans(&self) -> Result<Vec<ReceivedSpan>> {
        let log = self.log()?;
        let (mut spans, mut resource) = (Vec::new(), BTreeMap::new());
        for line in log.lines() {
            if line.contains("ResourceSpans #") {
                resource = BTreeMap::new();
            } else if let Some((name, value)) = line
                .trim_start()
                .strip_prefix("-> ")
                .and_then(|l| l.split_once(": Str("))
            {
                let value = value.strip_suffix(')').unwrap_or(value);
                resource.insert(name.to_owned(), value.to_owned());
            } else if let Some(name) = line.trim_start().strip_prefix("Name           : ") {
                let name = name.to_owned();
                let resource = resource.clone();
                spans.push(ReceivedSpan { name, resource });
            }
        }
        Ok(spans)
    }
}

fn configuration(grpc: SocketAddr, http: SocketAddr, tls: Option<&ServerTls>) -> Value {
    let listener = |address: SocketAddr| {
        let mut listener = json!({"endpoint": address.to_string(), "include_metadata": true});
        if let Some(tls) = tls {
            listener["tls"] =
                json!({"cert_file": tls.certificate, "key_file": tls.key, "client_ca_file": tls.client_ca});
        }
        listener
    };
    let told = HEADERS.map(
        |name| json!({"key": format!("header.{name}"), "from_context": format!("metadata.{name}"), "action": "insert"}),
    );
    json!({
        "receivers": {"otlp": {"protocols": {"grpc": listener(grpc), "http": listener(http)}}},
        "processors": {"resource": {"attributes": told}},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {"telemetry": {"metrics": {"level": "none"}},
                    "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["resource"], "exporters": ["debug"]}}},
    })
}

/// Runs a script of ours that prints a folder.
pub async fn tool(script: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(&script).stdin(Stdio::null()).output().await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", script.display());
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
