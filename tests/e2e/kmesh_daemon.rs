//! A daemon of Kmesh's as its source has it (`pkg/status/status_server.go` at 1.0.0 and 1.1.0): the routes that Sightline
//! uses, with their status codes, bodies and quirks. It listens on loopback; kwok forwards the ports of a pod to it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sickness {
    None,
    /// It runs in mode kernel-native: a switch makes its handler panic, which closes the connection.
    KernelNative,
    /// It takes longer than anybody waits.
    Slow,
    /// It closes the connection at each request.
    Closes,
    /// The kernel's part cannot be updated.
    RefusesMonitoring,
    /// It is of before 1.0: it has neither switches nor a version.
    TooOld,
}

/// Its switches, and what was sent to it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a daemon has four switches")]
pub struct State {
    pub version: &'static str,
    pub sickness: Sickness,
    pub monitoring: bool,
    pub access_log: bool,
    pub workload_metrics: bool,
    pub connection_metrics: bool,
    /// Path and query of each POST.
    pub posts: Vec<String>,
}

impl State {
    /// As its container starts.
    const fn fresh(version: &'static str, sickness: Sickness) -> Self {
        Self {
            version,
            sickness,
            monitoring: true,
            access_log: false,
            workload_metrics: false,
            connection_metrics: false,
            posts: Vec::new(),
        }
    }
}

/// See the module. It ends when it is dropped.
pub struct Daemon {
    pub port: u16,
    state: Arc<Mutex<State>>,
    _server: JoinSet<()>,
}

impl Daemon {
    pub async fn start(version: &'static str, sickness: Sickness) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::fresh(version, sickness)));
        let mut server = JoinSet::new();
        let shared = state.clone();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(state.clone(), request));
                    // A connection that ends is the other side's affair.
                    drop(
                        http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Ok(Self {
            port,
            state,
            _server: server,
        })
    }

    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What a new container begins with.
    pub fn restart(&self) {
        self.change(|state| *state = State::fresh(state.version, state.sickness));
    }

    /// What was sent since this was asked the last time.
    pub fn take_posts(&self) -> Vec<String> {
        let mut posts = Vec::new();
        self.change(|state| posts = std::mem::take(&mut state.posts));
        posts
    }

    /// kwok's configuration that leads a pod's ports here.
    pub fn forward(&self, pod: &str) -> String {
        let port = self.port;
        format!(
            "---\napiVersion: kwok.x-k8s.io/v1alpha1\nkind: ClusterPortForward\nmetadata: {{name: {pod}}}\nspec:\n  selector: {{matchNamespaces: [kmesh-system], matchNames: [{pod}]}}\n  forwards: [{{ports: [15200, 15020], target: {{address: 127.0.0.1, port: {port}}}}}]\n"
        )
    }
}

/// The server died of it: hyper closes the connection without an answer, as Go does after a panic.
#[derive(Debug)]
struct Panicked;

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler panicked")
    }
}

impl std::error::Error for Panicked {}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Panicked> {
    let sickness = state.lock().unwrap_or_else(PoisonError::into_inner).sickness;
    if sickness == Sickness::Slow {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if request.method() == Method::POST {
        state.posts.push(format!("{path}?{query}"));
    }
    match (state.sickness, path) {
        (Sickness::Closes, _) => Err(Panicked),
        (Sickness::TooOld, _) => Ok(respond(404, "404 page not found\n")),
        (Sickness::KernelNative, "/debug/config_dump/kernel-native") => Ok(respond(200, "{}")),
        (Sickness::KernelNative, "/debug/config_dump/dual-engine") | (_, "/debug/config_dump/kernel-native") => {
            Ok(respond(400, "\tInvalid Client Mode\n"))
        }
        (_, "/debug/config_dump/dual-engine") => Ok(respond(200, "{}")),
        (_, "/version") => {
            let version = state.version;
            Ok(respond(
                200,
                &format!("{{\"gitVersion\": \"{version}\", \"platform\": \"linux/amd64\"}}"),
            ))
        }
        (_, "/status/metric") => Ok(respond(200, &metrics(&state))),
        (_, "/connection_metrics") if state.version.starts_with("v1.0.") => Ok(respond(404, "404 page not found\n")),
        (_, "/monitoring" | "/accesslog" | "/workload_metrics" | "/connection_metrics") => {
            if request.method() == Method::POST {
                set(&mut state, path, query)
            } else {
                Ok(respond(405, "Method Not Allowed\n"))
            }
        }
        _ => Ok(respond(404, "404 page not found\n")),
    }
}

fn set(state: &mut State, path: &str, query: &str) -> Result<Response<Full<Bytes>>, Panicked> {
    if state.sickness == Sickness::KernelNative {
        return Err(Panicked);
    }
    let enable = match query.strip_prefix("enable=") {
        Some("true") => true,
        Some("false") => false,
        // Copied and pasted so in the source: it says accesslog for the metrics too.
        other => {
            return Ok(respond(
                400,
                &format!("invalid accesslog enable={}", other.unwrap_or_default()),
            ));
        }
    };
    if path == "/monitoring" {
        if state.sickness == Sickness::RefusesMonitoring {
            return Ok(respond(400, "update bpf monitoring failed: operation not permitted"));
        }
        // It overwrites all the others.
        state.monitoring = enable;
        state.access_log = enable;
        state.workload_metrics = enable;
        state.connection_metrics = enable && !state.version.starts_with("v1.0.");
        return Ok(respond(200, ""));
    }
    if enable && !state.monitoring {
        return Ok(respond(400, "Kmesh monitoring is disabled, cannot enable it.\n"));
    }
    match path {
        "/accesslog" => state.access_log = enable,
        "/workload_metrics" => state.workload_metrics = enable,
        _ => state.connection_metrics = enable,
    }
    Ok(respond(200, ""))
}

fn metrics(state: &State) -> String {
    let head = "# TYPE kmesh_map_count_total gauge\nkmesh_map_count_total{node_name=\"a\"} 3\n";
    let series = [
        (state.monitoring, "kmesh_tcp_sent_bytes_total"),
        (state.workload_metrics, "kmesh_tcp_workload_sent_bytes_total"),
        (state.connection_metrics, "kmesh_tcp_connection_sent_bytes_total"),
    ];
    let on = series.into_iter().filter(|(on, _)| *on);
    let lines = on.map(|(_, name)| format!("{name}{{reporter=\"source\"}} 1\n"));
    [head.to_owned()].into_iter().chain(lines).collect()
}

fn respond(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status code");
    response
}
