//! A fake that is wrong proves nothing: it answers a script of requests as the real kube-apiserver does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Options};
use crate::fake_api::FakeApi;

const SCRIPT: &str = include_str!("script.yaml");

/// A request of the script.
#[derive(Deserialize)]
struct Step {
    does: String,
    /// Method (or `WATCH`) and place.
    request: String,
    #[serde(default, rename = "type")]
    type_: String,
    #[serde(default)]
    body: Value,
    /// Where a watch begins: an answer that was remembered.
    #[serde(default)]
    since: String,
    #[serde(default)]
    remember: String,
}

/// One conversation with a server.
struct Talk {
    client: Client,
    remembered: BTreeMap<String, Value>,
    mask: Mask,
}

impl Talk {
    fn new(client: Client) -> Self {
        Self {
            client,
            remembered: BTreeMap::new(),
            mask: Mask::default(),
        }
    }

    /// What is answered to a step: HTTP status and masked body.
    async fn take(&mut self, step: &Step) -> Result<String> {
        let (method, place) = step.request.split_once(' ').context("no method")?;
        let mut place = self.filled(place);
        let watches = method == "WATCH";
        if watches {
            let since = &self.remembered[&step.since]["metadata"]["resourceVersion"];
            let since = since.as_str().context("nothing to watch from")?;
            let joint = if place.contains('?') { '&' } else { '?' };
            write!(place, "{joint}watch=true&timeoutSeconds=1&resourceVersion={since}")?;
        }
        let body = match &step.body {
            Value::Null => Vec::new(),
            body => self.filled(&body.to_string()).into_bytes(),
        };
        let type_ = match step.type_.as_str() {
            "" => "application/json",
            "apply" => "application/apply-patch+yaml",
            "json" => "application/json-patch+json",
            "merge" => "application/merge-patch+json",
            other => anyhow::bail!("no patch is called {other}"),
        };
        let request = http::Request::builder()
            .method(if watches { "GET" } else { method })
            .uri(&place)
            .header("content-type", type_)
            .body(Body::from(body))?;
        let response = self.client.send(request).await?;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        let text = std::str::from_utf8(&body)?;
        let body = if watches {
            Value::Array(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
        } else {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text.trim()))
        };
        if !step.remember.is_empty() {
            self.remembered.insert(step.remember.clone(), body.clone());
        }
        Ok(format!("{code} {:#}", self.mask.masked(body)))
    }

    /// A text with what was remembered in the place of `${a.uid}`, `${a.version}` and `${a.continue}`.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, answer) in &self.remembered {
            for (word, field) in [("uid", "uid"), ("version", "resourceVersion"), ("continue", "continue")] {
                if let Some(value) = answer["metadata"][field].as_str() {
                    text = text.replace(&format!("${{{name}.{word}}}"), value);
                }
            }
        }
        text
    }
}

/// What differs between any two servers, in the same words for both: the first uid is `uid-1`, and so on.
struct Mask {
    uids: Vec<String>,
    versions: Vec<String>,
    uid: Regex,
    time: Regex,
    number: Regex,
}

impl Default for Mask {
    fn default() -> Self {
        Self {
            uids: Vec::new(),
            versions: Vec::new(),
            uid: Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap(),
            time: Regex::new(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ").unwrap(),
            number: Regex::new(r"\(\d+\)").unwrap(),
        }
    }
}

impl Mask {
    fn masked(&mut self, mut value: Value) -> Value {
        // Other objects have versions, too: that of a list is nobody's.
        if value.get("items").is_some() {
            let metadata = value["metadata"].as_object_mut().unwrap();
            // No next page is said in two ways.
            metadata.retain(|name, field| name != "continue" || field != "");
            for (name, mask) in [("resourceVersion", "some version"), ("continue", "some place")] {
                metadata.entry(name).and_modify(|field| *field = mask.into());
            }
        }
        self.mask(&mut value);
        value
    }

    fn mask(&mut self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, member) in map.iter_mut() {
                    if let (true, Some(version)) = (name == "resourceVersion", member.as_str())
                        && version.chars().all(|c| c.is_ascii_digit())
                    {
                        *member = format!("version-{}", place(&mut self.versions, version)).into();
                    }
                    self.mask(member);
                }
                if let Some(Value::Array(managers)) = map.get_mut("managedFields") {
                    // Their order is by time, of which seconds count.
                    managers.sort_by_key(|manager| {
                        let words = ["operation", "manager", "subresource"].map(|name| manager[name].to_string());
                        words.join(" ")
                    });
                }
                map.sort_keys();
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(item)),
            Value::String(text) => {
                let masked = self.time.replace_all(text, "some time").into_owned();
                let masked = self.number.replace_all(&masked, "(some version)").into_owned();
                let uids = &mut self.uids;
                let masked = self.uid.replace_all(&masked, |found: &regex::Captures<'_>| {
                    format!("uid-{}", place(uids, &found[0]))
                });
                *text = masked.into_owned();
            }
            _ => {}
        }
    }
}

fn place(known: &mut Vec<String>, text: &str) -> usize {
    let at = known.iter().position(|other| other == text);
    at.unwrap_or_else(|| {
        known.push(text.to_owned());
        known.len() - 1
    })
}

/// Every answer with its body; uids, versions and times masked by their first appearance, so that a write that writes
/// nothing, or an object that is another one, is seen.
#[tokio::test]
async fn the_fake_answers_as_the_real_api_server_does() -> Result<()> {
    let plane = ControlPlane::start(Options::default()).await?;
    plane
        .install_crds(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/crd"))
        .await?;
    plane.install_crds(&plane.istio_crds()).await?;
    let fake = FakeApi::start().await;
    let steps: Vec<Step> = serde_saphyr::from_str(SCRIPT)?;
    let mut real = Talk::new(plane.client()?);
    let mut faked = Talk::new(fake.client()?);
    let mut differences = String::new();
    for step in &steps {
        let of_real = real
            .take(step)
            .await
            .with_context(|| format!("the real one {}", step.does))?;
        let of_fake = faked
            .take(step)
            .await
            .with_context(|| format!("the fake {}", step.does))?;
        if of_real != of_fake {
            let diff = similar::TextDiff::from_lines(&of_real, &of_fake);
            let diff = diff.unified_diff().header("the real one", "the fake").to_string();
            write!(differences, "\n{} ({}):\n{diff}", step.does, step.request)?;
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    ensure!(steps.len() > 60, "only {} steps were taken", steps.len());
    Ok(())
}
