//! Changes to Istio's standard metrics.
//!
//! Overrides of Istio accumulate and the last one wins; a `disabled` on `ALL_METRICS` takes the whole filter away, and any
//! later entry that enables one metric brings *all* of them back (seen on Istio's own code). So `ALL_METRICS` with an
//! exception is written out, metric by metric and mode by mode.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::crds::{IstioMetric, MetricMode, MetricOverride, TagOperation, TagOverride};

/// The only provider that metrics reach.
pub const PROVIDER: &str = "prometheus";

const EACH_METRIC: [IstioMetric; 10] = [
    IstioMetric::RequestCount,
    IstioMetric::RequestDuration,
    IstioMetric::RequestSize,
    IstioMetric::ResponseSize,
    IstioMetric::TcpOpenedConnections,
    IstioMetric::TcpClosedConnections,
    IstioMetric::TcpSentBytes,
    IstioMetric::TcpReceivedBytes,
    IstioMetric::GrpcRequestMessages,
    IstioMetric::GrpcResponseMessages,
];

/// What one metric of one mode comes to.
#[derive(Clone, Default, PartialEq)]
struct Effective<'m> {
    disabled: bool,
    tags: BTreeMap<&'m str, &'m TagOverride>,
}

/// The entries of `metrics[].overrides`: none where nothing is changed.
pub fn overrides(metrics: &[MetricOverride]) -> Vec<Value> {
    let by_mode = |mode| EACH_METRIC.map(|metric| (metric, effective(metrics, metric, mode)));
    let (client, server) = (by_mode(MetricMode::Client), by_mode(MetricMode::Server));
    if client == server {
        return entries("CLIENT_AND_SERVER", &client);
    }
    let mut all = entries("CLIENT", &client);
    all.extend(entries("SERVER", &server));
    all
}

/// From the most general entry to the most special: a special one says whether the metric is reported, and its tags replace
/// those of the same name.
fn effective(metrics: &[MetricOverride], metric: IstioMetric, mode: MetricMode) -> Effective<'_> {
    let mut effective = Effective::default();
    for of_metric in [IstioMetric::AllMetrics, metric] {
        for of_mode in [MetricMode::Both, mode] {
            let said = metrics.iter().filter(|m| m.metric == of_metric && m.mode == of_mode);
            for over in said {
                effective.disabled = over.disabled;
                effective
                    .tags
                    .extend(over.tags.iter().map(|tag| (tag.name.as_str(), tag)));
            }
        }
    }
    effective
}

fn entries(mode: &str, metrics: &[(IstioMetric, Effective<'_>)]) -> Vec<Value> {
    let all_the_same = metrics
        .iter()
        .all(|(_, effective)| metrics.first().is_some_and(|(_, first)| first == effective));
    let written: Vec<(IstioMetric, &Effective<'_>)> = if all_the_same {
        metrics
            .first()
            .map(|(_, effective)| (IstioMetric::AllMetrics, effective))
            .into_iter()
            .collect()
    } else {
        metrics.iter().map(|(metric, effective)| (*metric, effective)).collect()
    };
    let changed = written
        .into_iter()
        .filter(|(_, effective)| **effective != Effective::default());
    changed
        .map(|(metric, effective)| entry(mode, metric, effective))
        .collect()
}

fn entry(mode: &str, metric: IstioMetric, effective: &Effective<'_>) -> Value {
    let mut entry = Map::from_iter([("match".to_owned(), json!({"metric": metric, "mode": mode}))]);
    if effective.disabled {
        entry.insert("disabled".into(), true.into());
        return entry.into();
    }
    let tags = effective.tags.iter().map(|(name, tag)| {
        // Without `operation` the CRD would take an entry that istiod's webhook refuses.
        let tag = match (tag.operation, &tag.value) {
            (TagOperation::Upsert, Some(value)) => json!({"operation": "UPSERT", "value": value}),
            _ => json!({"operation": "REMOVE"}),
        };
        ((*name).to_owned(), tag)
    });
    entry.insert("tagOverrides".into(), Value::Object(tags.collect()));
    entry.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(metric: IstioMetric, mode: MetricMode, disabled: bool) -> MetricOverride {
        MetricOverride {
            metric,
            mode,
            disabled,
            tags: Vec::new(),
        }
    }

    #[test]
    fn all_but_one_metric_is_nine_explicit_entries_and_never_all_plus_an_enable() {
        let metrics = [
            over(IstioMetric::AllMetrics, MetricMode::Both, true),
            over(IstioMetric::RequestCount, MetricMode::Both, false),
        ];
        let entries = overrides(&metrics);
        assert_eq!(entries.len(), 9);
        assert!(
            entries
                .iter()
                .all(|e| e["disabled"] == true && e["match"]["metric"] != "ALL_METRICS")
        );
        assert!(entries.iter().all(|e| e["match"]["metric"] != "REQUEST_COUNT"));
    }

    #[test]
    fn all_metrics_alike_is_one_entry() {
        let entries = overrides(&[over(IstioMetric::AllMetrics, MetricMode::Both, true)]);
        assert_eq!(
            entries,
            [json!({"match": {"metric": "ALL_METRICS", "mode": "CLIENT_AND_SERVER"}, "disabled": true})]
        );
        assert_eq!(
            overrides(&[over(IstioMetric::RequestSize, MetricMode::Both, false)]),
            Vec::<Value>::new()
        );
    }

    #[test]
    fn an_entry_for_one_mode_says_otherwise_for_that_mode_only() {
        let metrics = [
            over(IstioMetric::RequestSize, MetricMode::Both, true),
            over(IstioMetric::RequestSize, MetricMode::Server, false),
        ];
        let expected = json!({"match": {"metric": "REQUEST_SIZE", "mode": "CLIENT"}, "disabled": true});
        assert_eq!(overrides(&metrics), [expected]);
    }

    #[test]
    fn tags_of_a_metric_replace_those_of_all_metrics_by_name() {
        let tag = |name: &str, value: Option<&str>| TagOverride {
            name: name.into(),
            operation: if value.is_some() {
                TagOperation::Upsert
            } else {
                TagOperation::Remove
            },
            value: value.map(str::to_owned),
        };
        let with = |metric, tags| MetricOverride {
            tags,
            ..over(metric, MetricMode::Client, false)
        };
        let metrics = [
            with(
                IstioMetric::AllMetrics,
                vec![tag("host", Some("request.host")), tag("source_app", None)],
            ),
            with(IstioMetric::RequestCount, vec![tag("host", None)]),
        ];
        let entries = overrides(&metrics);
        assert_eq!(entries.len(), 10);
        let of =
            |metric: &str| entries.iter().find(|e| e["match"]["metric"] == metric).unwrap()["tagOverrides"].clone();
        assert_eq!(
            of("REQUEST_COUNT"),
            json!({"host": {"operation": "REMOVE"}, "source_app": {"operation": "REMOVE"}})
        );
        assert_eq!(
            of("REQUEST_SIZE")["host"],
            json!({"operation": "UPSERT", "value": "request.host"})
        );
    }
}
