//! A stateful fake of the API server, on wiremock: fast to start, and it does what no real one can be made to do. It keeps
//! objects that no schema lets in, tells changes late, and holds ten thousand policies at the first list.
//!
//! It knows what the operator asks for and nothing else: reading, lists, watches, create, replace, delete with
//! preconditions, the three kinds of patch, server-side apply with owned fields, status, generation, finalizers. One
//! script of requests is answered by it and by the real kube-apiserver alike, see `tests/fake/script.rs`.

mod errors;
mod fields;
mod kinds;
#[path = "../request.rs"]
pub mod request;
mod selectors;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use kube::{Client, Config};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Respond, ResponseTemplate};

use errors::Failure;
use kinds::KindInfo;
use request::Request;
use selectors::Selector;
use store::{Answer, Store, Write};

/// wiremock answers with whole bodies: a watch is a chain of short ones, each of what happened since the one before.
const WINDOW: Duration = Duration::from_millis(40);

/// A running fake.
pub struct FakeApi {
    server: MockServer,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Store,
    /// Plurals whose watches tell nothing.
    held: BTreeSet<String>,
    /// What was asked, but for watches, which are asked again and again.
    requests: Vec<Request>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeApi {
    /// Starts one, without any object.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let server = MockServer::builder().disable_request_recording().start().await;
        let respond = Responder(shared.clone());
        Mock::given(any()).respond_with(respond).mount(&server).await;
        Self { server, shared }
    }

    /// The configuration of a client of it.
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::new(self.server.uri().parse()?))
    }

    /// A client of it.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::try_from(self.config()?)?)
    }

    /// Puts an object in just as it is, as somebody else's controller or an older API server would have stored it.
    pub fn put(&self, object: &Value) -> Value {
        self.shared.state().store.put(object)
    }

    /// Whether objects like this one are served.
    pub fn knows(&self, object: &Value) -> bool {
        self.shared.state().store.kind_of(object).is_some()
    }

    /// What somebody else writes: the spec under a new generation, all else as it is.
    pub fn change(&self, kind: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.shared.state();
        let kind = state.store.kind_named(kind).unwrap();
        let mut object = state.store.find(&kind, namespace, name).cloned().unwrap();
        let spec = object["spec"].clone();
        change(&mut object);
        let generation = object["metadata"]["generation"].as_i64();
        if let Some(generation) = generation.filter(|_| object["spec"] != spec) {
            object["metadata"]["generation"] = (generation + 1).into();
        }
        state.store.put(&object);
    }

    /// Deletes an object, as its owner does.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let mut state = self.shared.state();
        let kind = state.store.kind_named(kind).unwrap();
        state.store.delete(&kind, namespace, name, &Value::Null, false).unwrap();
    }

    /// An object as it stands.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.shared.state();
        let kind = state.store.kind_named(kind)?;
        state.store.find(&kind, namespace, name).cloned()
    }

    /// Watches of a resource tell nothing until [`FakeApi::release`].
    pub fn hold(&self, plural: &str) {
        self.shared.state().held.insert(plural.to_owned());
    }

    /// Watches tell again, and what they did not tell.
    pub fn release(&self) {
        self.shared.state().held.clear();
    }

    /// Forgets what happened: watches are told 410.
    pub fn compact(&self) {
        self.shared.state().store.compact();
    }

    /// Requests that asked to change something, in their order.
    pub fn writes(&self) -> Vec<Request> {
        let state = self.shared.state();
        state
            .requests
            .iter()
            .filter(|request| request.is_write())
            .cloned()
            .collect()
    }
}

struct Responder(Arc<Shared>);

impl Respond for Responder {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let mut state = self.0.state();
        let asked = Request::of(&request.method, &place_of(request));
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let Some(kind) = state.store.kind(&asked.group, &asked.resource) else {
            return ResponseTemplate::new(404).set_body_string("404 page not found\n");
        };
        if asked.is_watch() {
            return state.watch(&kind, &asked, &query);
        }
        let answer = state.answer(&kind, &asked, &query, request);
        state.requests.push(asked);
        let (code, body) = answer.unwrap_or_else(|Failure { code, status }| (code, status));
        ResponseTemplate::new(code).set_body_json(body)
    }
}

impl State {
    fn watch(&self, kind: &KindInfo, asked: &Request, query: &BTreeMap<String, String>) -> ResponseTemplate {
        let since = query.get("resourceVersion").and_then(|version| version.parse().ok());
        let lines = match selector(query) {
            Err(failure) => vec![json!({"type": "ERROR", "object": failure.status})],
            Ok(_) if self.held.contains(&asked.resource) => Vec::new(),
            Ok(selector) => {
                let bookmark = query.get("allowWatchBookmarks").is_some_and(|asked| asked == "true");
                self.store
                    .changes(kind, &asked.namespace, &selector, since.unwrap_or_default(), bookmark)
            }
        };
        let told = lines.iter().any(|line| line["type"] != "BOOKMARK");
        let body = lines
            .iter()
            .fold(String::new(), |body, line| body + &line.to_string() + "\n");
        let response = ResponseTemplate::new(200).set_body_raw(body, "application/json");
        if told { response } else { response.set_delay(WINDOW) }
    }

    fn answer(
        &mut self,
        kind: &KindInfo,
        asked: &Request,
        query: &BTreeMap<String, String>,
        request: &wiremock::Request,
    ) -> Answer {
        let (namespace, name) = (asked.namespace.as_str(), asked.name.as_str());
        let write = Write {
            manager: query.get("fieldManager").cloned().unwrap_or_else(|| agent_of(request)),
            subresource: asked.subresource.clone(),
            dry_run: asked.dry_run,
        };
        match asked.verb {
            "get" => self.store.get(kind, namespace, name),
            "list" => {
                let limit = query
                    .get("limit")
                    .and_then(|limit| limit.parse().ok())
                    .unwrap_or_default();
                let continue_ = query.get("continue").map(String::as_str);
                Ok((
                    200,
                    self.store.list(kind, namespace, &selector(query)?, limit, continue_),
                ))
            }
            "create" => self.store.create(kind, namespace, &body_of(request)?, &write),
            "update" => self.store.replace(kind, namespace, name, &body_of(request)?, &write),
            "delete" => {
                let options = if request.body.is_empty() {
                    Value::Null
                } else {
                    body_of(request)?
                };
                self.store.delete(kind, namespace, name, &options, asked.dry_run)
            }
            "patch" => {
                let body = body_of(request)?;
                let type_ = request
                    .headers
                    .get("content-type")
                    .and_then(|type_| type_.to_str().ok());
                match type_.unwrap_or_default() {
                    "application/json-patch+json" => self.store.json_patch(kind, namespace, name, &body, &write),
                    "application/merge-patch+json" => self.store.merge_patch(kind, namespace, name, &body, &write),
                    "application/apply-patch+yaml" => {
                        let force = query.get("force").is_some_and(|force| force == "true");
                        self.store.apply(kind, namespace, name, &body, force, &write)
                    }
                    other => Err(unknown(format!("the fake knows no patch of type {other}"))),
                }
            }
            other => Err(unknown(format!("the fake knows no verb {other}"))),
        }
    }
}

/// Path and query.
fn place_of(request: &wiremock::Request) -> Uri {
    let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", request.url.path()).parse().unwrap()
}

fn selector(query: &BTreeMap<String, String>) -> Result<Selector, Failure> {
    let text = |name: &str| query.get(name).map(String::as_str);
    Selector::parse(text("labelSelector"), text("fieldSelector")).map_err(unknown)
}

fn body_of(request: &wiremock::Request) -> Result<Value, Failure> {
    // What is applied is called YAML, and is JSON, which is YAML.
    serde_json::from_slice(&request.body)
        .map_err(|error| Failure::new(400, "BadRequest", format!("the body is no JSON: {error}")))
}

/// Without a field manager the API server takes the first word of the user agent.
fn agent_of(request: &wiremock::Request) -> String {
    let agent = request.headers.get("user-agent").and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or("unknown");
    agent.split('/').next().unwrap_or(agent).to_owned()
}

/// What the fake does not do has to be seen.
fn unknown(message: String) -> Failure {
    Failure::new(501, "NotImplemented", message)
}
