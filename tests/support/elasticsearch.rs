//! A server that speaks Elasticsearch's bulk API and keeps what it is given, and that can be away, or refuse.

// Every test crate compiles this file and uses its own part of it.
#![allow(dead_code, reason = "each user takes only a part")]

use std::collections::{BTreeSet, VecDeque};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, http::StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

/// Documents wait in a line of the kernel for so long until somebody accepts the connection.
const BACKLOG: u32 = 64;

/// What a bulk request is answered, other than that all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request as a whole, with a status.
    Whole(u16),
    /// Every second document, with a status: as an overloaded Elasticsearch does.
    Halves(u16),
    /// None: what was sent is kept, and the answer is lost on its way.
    Answer,
}

/// A document as it was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The data stream.
    pub index: String,
    /// Its identity, where the sender gave it one.
    pub id: Option<String>,
    /// Its fields.
    pub fields: Value,
}

#[derive(Debug, Default)]
struct Seen {
    documents: Vec<Document>,
    authorizations: BTreeSet<String>,
    refusals: VecDeque<Refusal>,
    refused: usize,
}

/// The server. Dropped, it ends.
#[derive(Debug)]
pub struct Elasticsearch {
    address: SocketAddr,
    /// Bound and not listening: connections are refused, and nobody else takes the port.
    away: Option<TcpSocket>,
    seen: Arc<Mutex<Seen>>,
    server: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

impl Elasticsearch {
    /// One that is away: its address refuses connections.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn away() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self {
            address: socket.local_addr()?,
            away: Some(socket),
            seen: Arc::default(),
            server: None,
        })
    }

    /// Its address, with scheme and port.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Comes back, refuses as told, one bulk request after the other, and takes everything then.
    ///
    /// # Errors
    /// When it is there already.
    pub fn come_back(&mut self, refusals: impl IntoIterator<Item = Refusal>) -> Result<()> {
        self.lock().refusals.extend(refusals);
        let listener = self.away.take().context("it is there already")?.listen(BACKLOG)?;
        let app = Router::new().fallback(answer).with_state(Arc::clone(&self.seen));
        self.server = Some(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the server of the bulk API ended: {error}");
            }
        }));
        Ok(())
    }

    /// What it keeps.
    pub fn documents(&self) -> Vec<Document> {
        self.lock().documents.clone()
    }

    /// What it was told in the header `Authorization`.
    pub fn authorizations(&self) -> BTreeSet<String> {
        self.lock().authorizations.clone()
    }

    /// How many bulk requests it refused, and how many it still has to refuse.
    pub fn refusals(&self) -> (usize, usize) {
        let seen = self.lock();
        (seen.refused, seen.refusals.len())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(seen): State<Arc<Mutex<Seen>>>, request: Request) -> Response {
    let answer = match bulk(&seen, request).await {
        Ok(answer) => answer,
        Err(error) => {
            let said = json!({"error": {"type": "test", "reason": format!("{error:#}")}});
            (StatusCode::BAD_REQUEST, as_json(&said)).into_response()
        }
    };
    // Clients of Elastic's talk to nobody else.
    ([("X-Elastic-Product", "Elasticsearch")], answer).into_response()
}

async fn bulk(seen: &Mutex<Seen>, request: Request) -> Result<Response> {
    let (head, body) = request.into_parts();
    if head.uri.path() != "/_bulk" {
        return Ok(as_json(&json!({"version": {"number": "8.17.0"}})));
    }
    let lines = lines(
        body,
        head.headers
            .get(CONTENT_ENCODING)
            .is_some_and(|coding| coding == "gzip"),
    )
    .await?;
    let mut seen = lock(seen);
    let authorization = head
        .headers
        .get(AUTHORIZATION)
        .map(|value| value.to_str().map(str::to_owned));
    seen.authorizations.extend(authorization.transpose()?);
    let refusal = seen.refusals.pop_front();
    seen.refused += usize::from(refusal.is_some());
    if let Some(Refusal::Whole(status)) = refusal {
        let error = json!({"error": {"type": "es_rejected_execution_exception"}});
        return Ok((StatusCode::from_u16(status)?, as_json(&error)).into_response());
    }
    let mut items = Vec::new();
    for (number, pair) in lines.chunks(2).enumerate() {
        let [action, fields] = pair else {
            anyhow::bail!("an action without a document")
        };
        let document = Document {
            index: action["create"]["_index"].as_str().context("no index")?.to_owned(),
            id: action["create"]["_id"].as_str().map(str::to_owned),
            fields: fields.clone(),
        };
        let status = match refusal {
            Some(Refusal::Halves(status)) if number % 2 == 1 => status,
            _ if document.id.is_some() && seen.documents.iter().any(|kept| kept.id == document.id) => 409,
            _ => {
                seen.documents.push(document);
                201
            }
        };
        let error = (status != 201).then(|| json!({"type": "refused", "reason": "by the test"}));
        items.push(json!({"create": {"_index": action["create"]["_index"], "status": status, "error": error}}));
    }
    if refusal == Some(Refusal::Answer) {
        return Ok(StatusCode::GATEWAY_TIMEOUT.into_response());
    }
    let errors = items.iter().any(|item| item["create"]["status"] != 201);
    Ok(as_json(&json!({"errors": errors, "items": items})))
}

fn as_json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn lines(body: Body, is_packed: bool) -> Result<Vec<Value>> {
    let body = to_bytes(body, usize::MAX).await?;
    let mut text = String::new();
    if is_packed {
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text)?;
    } else {
        text = String::from_utf8(body.to_vec())?;
    }
    ensure!(!text.is_empty(), "an empty bulk request");
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
