//! One Telemetry of Istio's.

use std::collections::BTreeMap;

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::{Located, Mark};
use super::Fact;

/// Which half of a proxy is meant: what comes in, or what goes out (gateways too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Outbound traffic.
    Client,
    /// Inbound traffic.
    Server,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// As Istio writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "CLIENT",
            Self::Server => "SERVER",
        }
    }
}

/// An entry of `accessLogging` or `tracing`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The entry.
    pub mark: Mark,
    /// `match.mode`; `None`: both.
    pub side: Option<Side>,
    /// `providers`.
    pub providers: Vec<(String, Mark)>,
    /// Whether it switches off: `disabled`, `disableSpanReporting`.
    pub is_off: bool,
    /// `filter`.
    pub filter: Option<Mark>,
}

impl Entry {
    /// Whether it says anything of a side.
    pub fn holds_for(&self, side: Side) -> bool {
        self.side.is_none_or(|own| own == side)
    }
}

/// What is kept of a Telemetry.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Where it is spoken of as a whole: its name.
    pub mark: Mark,
    /// `metadata.namespace`; empty where the file does not say.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.creationTimestamp`, of a live object; empty else. RFC 3339 in UTC, so texts compare as times.
    pub created: String,
    /// Label `istio.io/rev`; empty: every istiod reads it.
    pub revision: String,
    /// `selector.matchLabels`.
    pub selector: BTreeMap<String, String>,
    /// Where `selector` stands.
    pub selector_mark: Mark,
    /// `targetRefs`: kinds, and where they stand.
    pub targets: Vec<(String, Mark)>,
    /// `accessLogging`.
    pub logs: Vec<Entry>,
    /// `tracing`.
    pub traces: Vec<Entry>,
    /// `metrics`.
    pub metrics: Vec<Entry>,
}

impl Telemetry {
    /// Whether it is for all pods of its namespace.
    pub fn is_for_all(&self) -> bool {
        self.selector.is_empty() && self.targets.is_empty()
    }

    /// Whether one istiod may read both, and they are not two versions of one object.
    pub fn meets(&self, other: &Self) -> bool {
        let is_read = self.revision.is_empty() || other.revision.is_empty() || self.revision == other.revision;
        is_read && self.namespace == other.namespace && self.name != other.name
    }
}

/// Judges a Telemetry by itself, and keeps what the others are judged by.
pub fn note(object: &Located, judge: &mut Judge) {
    let telemetry = read(object);
    for (index, entry) in telemetry.logs.iter().enumerate() {
        let later = telemetry.logs.get(index + 1..).unwrap_or_default();
        judge_filter(entry, later, judge);
    }
    for entry in &telemetry.traces {
        if let [_, (second, mark), ..] = entry.providers.as_slice() {
            let message = format!("Istio traces to the first provider only, never to `{second}`");
            judge.policy(Policy::ExtraProvider, mark.clone(), message);
        }
    }
    judge.note(Fact::Telemetry(telemetry));
}

fn judge_filter(entry: &Entry, later: &[Entry], judge: &mut Judge) {
    let Some(filter) = &entry.filter else { return };
    if entry.providers.is_empty() {
        let message = "Istio drops this filter, because its entry names no providers";
        return judge.policy(Policy::FilterWithoutProviders, filter.clone(), message.to_owned());
    }
    let replaces = |other: &&Entry| !other.is_off && (other.side.is_none() || other.side == entry.side);
    let mut replacing = later.iter().filter(replaces).flat_map(|other| &other.providers);
    let is_own = |(name, _): &&(String, Mark)| entry.providers.iter().any(|(own, _)| own == name);
    if let Some((name, _)) = replacing.find(is_own) {
        let message = format!("a later entry names `{name}` for the same traffic, so this filter does not hold there");
        judge.policy(Policy::OverwrittenFilter, filter.clone(), message);
    }
}

fn read(object: &Located) -> Telemetry {
    let text = |keys: &[&str]| object.text_at(keys).to_owned();
    let spec = object.get("spec");
    let list = |key| {
        let list = spec.as_ref().and_then(|spec| spec.get(key));
        list.map(|list| list.items()).unwrap_or_default()
    };
    let entries = |key| list(key).iter().map(entry).collect();
    let labels = object.at(&["spec", "selector", "matchLabels"]);
    let label = |(key, value): (String, Located)| Some((key, value.node().as_str()?.to_owned()));
    let single = object.at(&["spec", "targetRef"]);
    let target = |target: Located| (target.text_at(&["kind"]).to_owned(), target.mark());
    let name = object.at(&["metadata", "name"]);
    Telemetry {
        mark: name.as_ref().unwrap_or(object).mark(),
        namespace: text(&["metadata", "namespace"]),
        name: text(&["metadata", "name"]),
        created: text(&["metadata", "creationTimestamp"]),
        revision: text(&["metadata", "labels", "istio.io/rev"]),
        selector: labels
            .map(|labels| labels.members())
            .unwrap_or_default()
            .into_iter()
            .filter_map(label)
            .collect(),
        selector_mark: spec.as_ref().unwrap_or(object).key_mark(&["selector"]),
        targets: list("targetRefs").into_iter().chain(single).map(target).collect(),
        logs: entries("accessLogging"),
        traces: entries("tracing"),
        metrics: entries("metrics"),
    }
}

fn entry(entry: &Located) -> Entry {
    let named = |provider: Located| {
        let name = provider.get("name")?;
        Some((name.node().as_str()?.to_owned(), name.mark()))
    };
    let providers = entry.get("providers").map(|list| list.items()).unwrap_or_default();
    let is_true = |key| entry.text_at(&[key]).eq_ignore_ascii_case("true");
    Entry {
        mark: entry.mark(),
        side: match entry.text_at(&["match", "mode"]) {
            "CLIENT" => Some(Side::Client),
            "SERVER" => Some(Side::Server),
            _ => None,
        },
        providers: providers.into_iter().filter_map(named).collect(),
        is_off: is_true("disabled") || is_true("disableSpanReporting"),
        filter: entry.get("filter").map(|_| entry.key_mark(&["filter"])),
    }
}
