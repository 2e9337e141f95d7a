//! A reverse proxy between the operator and the real API server that makes the faults of a script, and counts writes.
//!
//! The operator speaks plain HTTP/1.1 to it, on a free loopback port, with a token as always; the proxy speaks TLS to the
//! API server as the same user, so that RBAC and the audit log see what they would see without it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use axum::http::{self, HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body as UpstreamBody;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;

#[path = "request.rs"]
mod request;
pub use request::Request;

type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It waits, and then goes through.
    Delay(Duration),
    /// The connection ends, and the API server never sees it.
    Drop,
    /// The API server does it, and the answer is lost with the connection.
    LoseReply,
    /// Answered with an error, and the API server never sees it.
    Answer {
        /// HTTP status.
        code: u16,
        /// `reason` of the Status.
        reason: &'static str,
        /// Seconds of `Retry-After`.
        retry_after: Option<u64>,
    },
    /// No answer for as long as the client waits.
    Hang,
    /// The operator is killed, and the API server never sees the request.
    KillBefore,
    /// The API server does it, and the operator is killed before it knows.
    KillAfter,
    /// A list is answered as it was answered the first time: an API server that has fallen behind.
    StaleList,
}

/// What happens to the watches that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// An event is cut in its middle, and the connection ends.
    MidJson,
    /// The connection ends between two events.
    Clean,
    /// The API server says that the resourceVersion is too old.
    Gone,
    /// Empty lines and a bookmark come, and nothing ends.
    Noise,
}

type When = Box<dyn Fn(&Request) -> bool + Send + Sync>;

/// A fault, and the requests that it happens to.
pub struct Rule {
    when: When,
    skip: usize,
    times: usize,
    hits: usize,
    fault: Fault,
}

impl Rule {
    /// Every request that the closure takes.
    pub fn new(fault: Fault, when: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        Self {
            when: Box::new(when),
            skip: 0,
            times: usize::MAX,
            hits: 0,
            fault,
        }
    }

    /// Only the `n`th of them, counted from 1.
    pub fn nth(self, n: usize) -> Self {
        Self {
            skip: n - 1,
            times: 1,
            ..self
        }
    }

    /// Only the first of them.
    pub fn first(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn takes(&mut self, request: &Request) -> Option<Fault> {
        if !(self.when)(request) {
            return None;
        }
        self.hits += 1;
        (self.hits > self.skip && self.hits - self.skip <= self.times).then(|| self.fault.clone())
    }
}

/// A write that reached the API server, and its answer.
#[derive(Clone, Debug)]
pub struct Write {
    /// What was asked.
    pub request: Request,
    /// Its body.
    pub body: String,
    /// HTTP status.
    pub code: u16,
    /// When the answer came.
    pub at: Instant,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    hits: usize,
    writes: Vec<Write>,
    requests: BTreeMap<(&'static str, String), usize>,
    lists: BTreeMap<String, Bytes>,
}

struct Shared {
    upstream: Client,
    pid_file: PathBuf,
    state: Mutex<State>,
    /// Whether the operator was killed by a fault: nothing of it reaches the API server any more.
    killed: watch::Sender<bool>,
    /// Resources whose watches bring nothing.
    frozen: watch::Sender<BTreeSet<String>>,
    cuts: broadcast::Sender<(String, Cut)>,
    /// Writes that were sent on and are not noted yet.
    under_way: watch::Sender<usize>,
}

/// A write that was sent on: others may see what it did before it is noted here.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// See the module. It ends when dropped.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port, and sends on through the client. `pid_file` names the operator to kill.
    pub async fn start(upstream: Client, pid_file: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            pid_file,
            state: Mutex::default(),
            killed: watch::Sender::new(false),
            frozen: watch::Sender::new(BTreeSet::new()),
            cuts: broadcast::Sender::new(64),
            under_way: watch::Sender::new(0),
        });
        let server = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self {
            shared,
            address,
            server,
        })
    }

    /// Writes a kubeconfig like the given one, but with this proxy as server.
    pub fn kubeconfig(&self, like: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(like)?;
        let mut config: serde_json::Value = sightline::yaml::read_documents(&text)
            .map_err(|error| anyhow!("{error}"))?
            .into_iter()
            .next()
            .context("an empty kubeconfig")?;
        let cluster = config
            .pointer_mut("/clusters/0/cluster")
            .context("a kubeconfig without cluster")?;
        *cluster = json!({"server": format!("http://{}", self.address)});
        let path = like.with_extension("proxy");
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Makes these faults from now on, and no others. The first rule that takes a request decides.
    pub fn script(&self, rules: Vec<Rule>) {
        let mut state = self.state();
        state.rules = rules;
        state.hits = 0;
    }

    /// Makes no faults any more.
    pub fn heal(&self) {
        self.script(Vec::new());
        self.thaw();
    }

    /// Lists are remembered from now on: the next answer to each is what [`Fault::StaleList`] gives.
    pub fn remember_lists(&self) {
        self.state().lists.clear();
    }

    /// How many faults the script has made.
    pub fn hits(&self) -> usize {
        self.state().hits
    }

    /// Writes that reached the API server so far.
    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    /// Waits until every write that reached the API server is among [`FaultProxy::writes`].
    pub async fn all_noted(&self) -> Result<()> {
        self.shared.under_way.subscribe().wait_for(|count| *count == 0).await?;
        Ok(())
    }

    /// How many requests of a verb for a resource came so far.
    pub fn requests(&self, verb: &'static str, resource: &str) -> usize {
        self.state()
            .requests
            .get(&(verb, resource.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// Whether a fault has killed the operator.
    pub fn has_killed(&self) -> bool {
        *self.shared.killed.borrow()
    }

    /// Lets the next operator through.
    pub fn revive(&self) {
        self.shared.killed.send_replace(false);
    }

    /// Watches of the resource bring nothing from now on, the open ones and new ones.
    pub fn freeze(&self, resource: &str) {
        self.shared.frozen.send_modify(|frozen| {
            frozen.insert(resource.to_owned());
        });
    }

    /// Frozen watches bring what they held back.
    pub fn thaw(&self) {
        self.shared.frozen.send_modify(BTreeSet::clear);
    }

    /// Cuts the open watches of a resource; of all, where it is empty.
    pub fn cut(&self, resource: &str, cut: Cut) -> Result<()> {
        let open = self.shared.cuts.send((resource.to_owned(), cut)).is_ok();
        ensure!(open, "no watch is open");
        Ok(())
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(shared.clone(), request));
            // An error is a fault of the script, or the end of the operator.
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault_for(&self, request: &Request) -> Option<Fault> {
        let mut state = self.state();
        *state
            .requests
            .entry((request.verb, request.resource.clone()))
            .or_default() += 1;
        let fault = state.rules.iter_mut().find_map(|rule| rule.takes(request));
        state.hits += usize::from(fault.is_some());
        fault
    }

    /// A SIGKILL, once; from here on nothing of the operator gets through.
    fn kill(&self) -> Result<()> {
        if self.killed.send_replace(true) {
            return Ok(());
        }
        let pid = std::fs::read_to_string(&self.pid_file).context("no operator to kill")?;
        let status = std::process::Command::new("kill")
            .args(["-KILL", pid.trim()])
            .status()?;
        ensure!(status.success(), "kill -KILL {pid} failed");
        Ok(())
    }

    async fn forward(&self, parts: &http::request::Parts, body: Bytes) -> Result<http::Response<UpstreamBody>> {
        ensure!(!*self.killed.borrow(), "the operator is dead");
        let path = parts.uri.path_and_query().context("a request without path")?.as_str();
        let mut request = http::Request::builder().method(parts.method.clone()).uri(path);
        for name in ["accept", "content-type", "user-agent"] {
            if let Some(value) = parts.headers.get(name) {
                request = request.header(name, value);
            }
        }
        Ok(self
            .upstream
            .send(request.body(UpstreamBody::from(body.to_vec()))?)
            .await?)
    }
}

/// Answers a request; an error ends the connection without an answer.
async fn answer(shared: Arc<Shared>, request: http::Request<Incoming>) -> Result<http::Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = Request::of(&parts.method, &parts.uri);
    if *shared.killed.borrow() {
        bail!("the operator is dead");
    }
    let fault = shared.fault_for(&asked);
    match &fault {
        Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Fault::Drop) => bail!("dropped"),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::KillBefore) => {
            shared.kill()?;
            bail!("killed before");
        }
        Some(Fault::Answer {
            code,
            reason,
            retry_after,
        }) => return error_answer(*code, reason, *retry_after),
        Some(Fault::StaleList) => {
            let remembered = shared.state().lists.get(&asked.uri).cloned();
            if let Some(remembered) = remembered {
                let body = Full::new(remembered).map_err(|never| match never {}).boxed_unsync();
                let answer = http::Response::builder().header("content-type", "application/json");
                return Ok(answer.body(body)?);
            }
        }
        None | Some(Fault::LoseReply | Fault::KillAfter) => {}
    }
    let sent = body.clone();
    let _under_way = asked.is_write().then(|| UnderWay::new(&shared));
    let upstream = shared.forward(&parts, body).await?;
    let (status, headers) = (upstream.status(), upstream.headers().clone());
    if asked.is_watch() && status.is_success() {
        return stream(shared, asked, upstream);
    }
    let body = upstream.into_body().collect().await?.to_bytes();
    note(&shared, &asked, &sent, status, &body);
    match fault {
        Some(Fault::LoseReply) => bail!("the answer is lost"),
        Some(Fault::KillAfter) => {
            shared.kill()?;
            bail!("killed after");
        }
        _ => {}
    }
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    Ok(with_headers(status, &headers).body(body)?)
}

fn note(shared: &Shared, asked: &Request, sent: &Bytes, status: StatusCode, body: &Bytes) {
    let mut state = shared.state();
    if asked.is_write() {
        state.writes.push(Write {
            request: asked.clone(),
            body: String::from_utf8_lossy(sent).into_owned(),
            code: status.as_u16(),
            at: Instant::now(),
        });
    } else if asked.verb == "list" && status.is_success() {
        state.lists.entry(asked.uri.clone()).or_insert_with(|| body.clone());
    }
}

fn with_headers(status: StatusCode, headers: &HeaderMap) -> http::response::Builder {
    let mut answer = http::Response::builder().status(status);
    for name in ["content-type", "retry-after", "audit-id", "warning"] {
        for value in headers.get_all(name) {
            answer = answer.header(name, value);
        }
    }
    answer
}

fn error_answer(code: u16, reason: &str, retry_after: Option<u64>) -> Result<http::Response<Body>> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "message": format!("a fault of the test: {reason}"), "code": code});
    let mut answer = http::Response::builder()
        .status(code)
        .header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        answer = answer.header("retry-after", seconds);
    }
    let body = Full::new(Bytes::from(status.to_string()));
    Ok(answer.body(body.map_err(|never| match never {}).boxed_unsync())?)
}

/// Passes a watch on, and does to it what is asked meanwhile.
fn stream(shared: Arc<Shared>, asked: Request, upstream: http::Response<UpstreamBody>) -> Result<http::Response<Body>> {
    let answer = with_headers(upstream.status(), upstream.headers());
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>>>(64);
    tokio::spawn(async move {
        // Its end is the end of the watch, whoever ended it.
        pump(&shared, &asked, upstream.into_body(), &sender).await.ok();
    });
    let frames = futures::stream::unfold(receiver, |mut receiver| async {
        let frame = receiver.recv().await?;
        Some((frame, receiver))
    });
    Ok(answer.body(StreamBody::new(frames).boxed_unsync())?)
}

async fn pump(
    shared: &Shared,
    asked: &Request,
    mut upstream: UpstreamBody,
    to: &mpsc::Sender<Result<Frame<Bytes>>>,
) -> Result<()> {
    let mut cuts = shared.cuts.subscribe();
    let mut frozen = shared.frozen.subscribe();
    let text = |text: &str| Ok(Frame::data(Bytes::from(text.to_owned())));
    loop {
        let is_frozen = frozen.borrow_and_update().contains(&asked.resource);
        tokio::select! {
            () = to.closed() => return Ok(()),
            changed = frozen.changed() => changed?,
            cut = cuts.recv() => {
                let (resource, cut) = cut?;
                if !resource.is_empty() && resource != asked.resource {
                    continue;
                }
                match cut {
                    Cut::MidJson => {
                        to.send(text("{\"type\":\"MODIFIED\",\"object\":{\"apiVer")).await?;
                        to.send(Err(anyhow!("cut in the middle"))).await?;
                        return Ok(());
                    }
                    Cut::Clean => return Ok(()),
                    Cut::Gone => {
                        let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {},
                            "status": "Failure", "message": "too old resource version", "reason": "Expired", "code": 410}});
                        to.send(text(&format!("{gone}\n"))).await?;
                        return Ok(());
                    }
                    Cut::Noise => to.send(text("\n\n")).await?,
                }
            }
            frame = upstream.frame(), if !is_frozen => match frame {
                None => return Ok(()),
                Some(frame) => to.send(frame.map_err(Into::into)).await?,
            },
        }
    }
}
