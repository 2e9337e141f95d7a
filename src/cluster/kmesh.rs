//! Talks to Kmesh's daemons through the API server's port-forward: their server listens on the loopback of their pod.
//!
//! The stream of a port-forward does not tell its end when the other side closes it (seen with kube 5 and kwok): answers
//! are read as far as their head says, and each call has a deadline.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::render::kmesh::scrape::{self, Evidence};
use crate::render::kmesh::{ADMIN_PORT, Answer, Conversation, Taken, Trouble};
use crate::snapshot::Key;

/// Longest that one call to a daemon may take. Its own limit is 20 s.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Most bytes of an answer's body that are read: words are short, and the rest of a dump is of no interest.
const MOST_OF_AN_ANSWER: usize = 16 * 1024;
/// Most bytes of metrics that are looked at.
const MOST_OF_METRICS: usize = 8 * 1024 * 1024;

/// Holds a conversation with a daemon.
///
/// # Errors
/// Where it does not do what is wanted, or cannot be asked.
pub async fn converse(client: &Client, daemon: &Key, mut conversation: Conversation) -> Result<Taken, Trouble> {
    if conversation.next().is_some() {
        let mut connection = Connection::open(client, daemon, ADMIN_PORT).await?;
        while let Some(question) = conversation.next() {
            let (method, path) = question.request();
            let answer = connection.call(method, &path).await?;
            conversation.answered(&answer)?;
        }
    }
    Ok(conversation.taken())
}

/// What the metrics of a daemon prove.
///
/// # Errors
/// Where they cannot be read.
pub async fn look(client: &Client, daemon: &Key) -> Result<Evidence, Trouble> {
    let mut connection = Connection::open(client, daemon, scrape::PORT).await?;
    let mut evidence = Evidence::default();
    let read = async {
        let body = connection.send("GET", scrape::PATH).await?.into_body();
        let text = read_at_most(body, MOST_OF_METRICS).await?;
        text.lines().for_each(|line| evidence.note(line));
        Ok::<(), Trouble>(())
    };
    within(&format!("GET {}", scrape::PATH), read).await?;
    Ok(evidence)
}

/// One port-forward, and HTTP over it.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Keeps the streams open, and ends what drives them with it.
    _forwarder: Portforwarder,
    _driver: JoinSet<()>,
}

impl Connection {
    async fn open(client: &Client, daemon: &Key, port: u16) -> Result<Self, Trouble> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &daemon.namespace);
        let open = async {
            let mut forwarder = pods
                .portforward(&daemon.name, &[port])
                .await
                .map_err(|error| no_port_forward(&error))?;
            let stream = forwarder
                .take_stream(port)
                .ok_or_else(|| unreachable("the port-forward has no stream"))?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| unreachable(&error.to_string()))?;
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                // What is wrong with the connection is told to who waits for an answer.
                drop(connection.await);
            });
            Ok(Self {
                sender,
                _forwarder: forwarder,
                _driver: driver,
            })
        };
        within("the port-forward", open).await
    }

    async fn call(&mut self, method: &str, path: &str) -> Result<Answer, Trouble> {
        let call = async {
            let response = self.send(method, path).await?;
            let status = response.status().as_u16();
            let body = read_at_most(response.into_body(), MOST_OF_AN_ANSWER).await?;
            Ok(Answer { status, body })
        };
        within(&format!("{method} {path}"), call).await
    }

    async fn send(&mut self, method: &str, path: &str) -> Result<hyper::Response<Incoming>, Trouble> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "localhost")
            .body(Empty::new())
            .map_err(|error| unreachable(&error.to_string()))?;
        let closed = |_| unreachable(&format!("{method} {path}: the connection was closed without an answer"));
        self.sender.ready().await.map_err(closed)?;
        self.sender.send_request(request).await.map_err(closed)
    }
}

async fn read_at_most(mut body: Incoming, most: usize) -> Result<String, Trouble> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| unreachable("the answer was cut off"))?;
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(data);
        }
        if read.len() >= most {
            break;
        }
    }
    read.truncate(most);
    Ok(String::from_utf8_lossy(&read).into_owned())
}

async fn within<T>(what: &str, call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = |_| unreachable(&format!("{what}: no answer within {CALL_DEADLINE:?}"));
    timeout(CALL_DEADLINE, call).await.map_err(late)?
}

fn unreachable(why: &str) -> Trouble {
    Trouble::Unreachable(why.to_owned())
}

fn no_port_forward(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) if status.code == 403 => Trouble::Forbidden,
        kube::Error::UpgradeConnection(kube::client::UpgradeConnectionError::ProtocolSwitch(code))
            if code.as_u16() == 403 =>
        {
            Trouble::Forbidden
        }
        _ => unreachable("the API server made no port-forward"),
    }
}
