//! Proxies of Kuma's that refuse their listeners, by DataplaneInsight.
//!
//! An insight counts answers of a proxy and does not tell which was the last. A proxy that refuses is sent the same again
//! every 5 s, and insights are written every 10 s at the latest, so a count of refusals that grows is a proxy that
//! refuses now, and one that stands still for a while, or listeners that were taken without another refusal, is one that
//! does not. There may be ten thousand proxies: nothing else of an insight is kept, and nobody is told of one that goes
//! on as before.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::Key;

/// How long a proxy counts as one that refuses after the last refusal that was seen.
const LASTS: Duration = Duration::from_mins(1);

/// What an insight says of the listeners of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Insight {
    mesh: String,
    /// The connection that the counts are of.
    subscription: String,
    accepted: u64,
    rejected: u64,
}

impl Insight {
    /// Reads a DataplaneInsight; `None` where its proxy is not connected, or nothing was sent to it yet.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let last = object.pointer("/status/subscriptions")?.as_array()?.last()?;
        if last.get("disconnectTime").is_some_and(|at| !at.is_null()) {
            return None;
        }
        let listeners = last.pointer("/status/lds")?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self {
            mesh: text(object.get("mesh")),
            subscription: text(last.get("id")),
            accepted: count(listeners.get("responsesAcknowledged")),
            rejected: count(listeners.get("responsesRejected")),
        })
    }
}

/// A count as protobuf's JSON writes it: text. One of zero is left out.
fn count(value: Option<&Value>) -> u64 {
    let of_text = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    value
        .and_then(|value| value.as_u64().or_else(|| of_text(value)))
        .unwrap_or_default()
}

/// What was seen of every proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Insights {
    proxies: BTreeMap<Key, (Insight, Option<Timestamp>)>,
}

impl Insights {
    /// Notes an insight, or that there is none any more. `is_first_list`: what it counts may be of long ago. Tells whether
    /// the proxy began or ceased to refuse.
    pub(super) fn set(&mut self, key: &Key, insight: Option<Insight>, is_first_list: bool, now: Timestamp) -> bool {
        let before = self.proxies.remove(key);
        let refused = before.as_ref().and_then(|(_, at)| *at).filter(|at| now < until(*at));
        let Some(insight) = insight else {
            return refused.is_some();
        };
        let (accepted, rejected) = match &before {
            Some((before, _)) if before.subscription == insight.subscription => (before.accepted, before.rejected),
            None if is_first_list => (insight.accepted, insight.rejected),
            _ => (0, 0),
        };
        let last = if insight.rejected > rejected {
            Some(now)
        } else if insight.accepted > accepted {
            None
        } else {
            refused
        };
        self.proxies.insert(key.clone(), (insight, last));
        last.is_some() != refused.is_some()
    }

    /// Every proxy.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.proxies.keys()
    }

    /// The proxies of a mesh of Kuma's that refuse, each with the time until which it counts as one that does.
    pub(super) fn refusing(&self, mesh: &str, now: Timestamp) -> impl Iterator<Item = (&Key, Timestamp)> {
        let of_mesh = self
            .proxies
            .iter()
            .filter(move |(_, (insight, _))| insight.mesh == mesh);
        of_mesh.filter_map(move |(key, (_, at))| {
            let until = until((*at)?);
            (now < until).then_some((key, until))
        })
    }
}

fn until(at: Timestamp) -> Timestamp {
    at.checked_add(LASTS).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn insight(id: &str, accepted: &str, rejected: &str) -> Option<Insight> {
        Insight::of(
            &json!({"mesh": "default", "status": {"subscriptions": [{"id": "old"}, {"id": id, "status": {
            "lds": {"responsesSent": "52", "responsesAcknowledged": accepted, "responsesRejected": rejected}}}]}}),
        )
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn refuses(insights: &Insights, second: i64) -> bool {
        insights.refusing("default", at(second)).next().is_some()
    }

    /// Ran: 48 of 52 answers were refusals, one every 5 s.
    #[test]
    fn a_proxy_refuses_while_the_count_of_its_refusals_grows() {
        let mut insights = Insights::default();
        let key = Key::new("shop", "cart-1");
        let mut set = |insight, first, second| insights.set(&key, insight, first, at(second));
        assert!(!set(insight("1", "4", "44"), true, 0), "may be of long ago");
        assert!(set(insight("1", "4", "46"), false, 10), "it grows");
        assert!(!set(insight("1", "4", "48"), false, 20), "as before");
        assert!(!set(insight("1", "4", "48"), false, 30), "nothing new");
        assert!(set(insight("1", "5", "48"), false, 40), "taken");
        assert!(!set(insight("2", "1", ""), false, 50), "connected anew");
        assert!(set(insight("3", "", "1"), false, 60), "and refused by the new one");
        assert!(set(None, false, 70), "gone");
        assert!(
            set(insight("1", "0", "1"), false, 80),
            "a new proxy that we saw from its start"
        );
    }

    #[test]
    fn a_refusal_that_is_not_repeated_passes() {
        let mut insights = Insights::default();
        let key = Key::new("shop", "cart-1");
        insights.set(&key, insight("1", "1", "0"), false, at(0));
        insights.set(&key, insight("1", "2", "1"), false, at(10));
        assert!(refuses(&insights, 69));
        assert!(!refuses(&insights, 70));
        assert!(insights.refusing("other", at(11)).next().is_none(), "of another mesh");
    }

    #[test]
    fn a_proxy_that_is_not_connected_says_nothing() {
        let object = json!({"mesh": "default", "status": {"subscriptions": [{"id": "1", "disconnectTime": "2026-01-01T00:00:00Z",
            "status": {"lds": {"responsesRejected": "3"}}}]}});
        assert_eq!(Insight::of(&object), None);
        assert_eq!(Insight::of(&json!({"mesh": "default", "status": {}})), None);
    }
}
