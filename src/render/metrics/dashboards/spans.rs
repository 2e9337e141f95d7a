//! interLink's spans, and a dashboard of them: Grafana with a Tempo.
//!
//! Facts of the spans: the source of interLink at f6321757 (`pkg/virtualkubelet`, `pkg/interlink`). Of the queries:
//! Tempo's own parser takes each (grafana/tempo at ad33aa8f); `quantile_over_time` is there since Tempo 2.5.

use std::fmt::Write as _;

use super::{Quantile, Unit};

/// A span that interLink makes.
#[derive(Debug)]
pub struct Span {
    /// Its name.
    pub name: &'static str,
    /// Who makes it.
    pub by: Process,
    /// What it stands for.
    pub of: &'static str,
    /// Its attributes, besides those of all spans ([`OF_ALL`]).
    pub attributes: &'static [&'static str],
    /// What its times say.
    pub times: Times,
}

/// A process of interLink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The virtual kubelet: services `VK-InterLink-…`.
    VirtualKubelet,
    /// The API server: services `InterLink-Plugin-…`.
    ApiServer,
}

/// What the times of a span say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The span is as long as the call, and so says the attribute `duration`, in microseconds.
    Both,
    /// The span is as long as the call, but `duration` is senseless: microseconds less seconds.
    Length,
    /// The span ends as it begins, and its attributes are written before the call.
    Neither,
}

/// Attributes that all spans have.
pub const OF_ALL: [&str; 3] = ["start.timestamp", "end.timestamp", "duration"];

type Names = &'static [&'static str];

const POD: Names = &["pod.name", "pod.namespace"];
const POD_OF_CALL: Names = &["pod.name", "pod.namespace", "pod.uid"];
const POD_AND_CODE: Names = &["pod.name", "pod.namespace", "pod.uid", "exit.code"];
const CODE: Names = &["exit.code"];
const OF_API: Names = &[
    "pod.name",
    "pod.namespace",
    "pod.uid",
    "exit.code",
    "X-Forwarded-Email",
    "X-Forwarded-User",
];

const fn of_kubelet(name: &'static str, of: &'static str, attributes: Names, times: Times) -> Span {
    let by = Process::VirtualKubelet;
    Span {
        name,
        by,
        of,
        attributes,
        times,
    }
}

const fn of_api(name: &'static str, of: &'static str, attributes: Names) -> Span {
    let by = Process::ApiServer;
    let times = Times::Both;
    Span {
        name,
        by,
        of,
        attributes,
        times,
    }
}

/// Every span.
pub const SPANS: &[Span] = &[
    of_kubelet(
        "CreateHttpCall",
        "asks the API server for a pod",
        POD_AND_CODE,
        Times::Both,
    ),
    of_kubelet(
        "DeleteHttpCall",
        "asks the API server to delete a pod",
        POD_OF_CALL,
        Times::Neither,
    ),
    of_kubelet(
        "StatusHttpCall",
        "asks the API server for the status of pods",
        CODE,
        Times::Both,
    ),
    of_kubelet(
        "LogHttpCall",
        "asks the API server for the logs of a pod",
        POD_AND_CODE,
        Times::Both,
    ),
    of_kubelet("PingHttpCall", "asks whether the API server lives", CODE, Times::Both),
    of_kubelet(
        "UpdateCacheHttpCall",
        "gives the API server a pod for its cache",
        POD_OF_CALL,
        Times::Neither,
    ),
    of_kubelet(
        "CreatePodVK",
        "Kubernetes wants a pod on the virtual node",
        POD,
        Times::Neither,
    ),
    of_kubelet("UpdatePodVK", "Kubernetes changes a pod", POD, Times::Neither),
    of_kubelet("DeletePodVK", "Kubernetes deletes a pod", POD, Times::Neither),
    of_kubelet("GetPodVK", "Kubernetes looks at a pod", POD, Times::Length),
    of_kubelet(
        "GetPodStatusVK",
        "Kubernetes looks at the status of a pod",
        POD,
        Times::Neither,
    ),
    of_kubelet("GetPodsVK", "Kubernetes looks at all pods", &[], Times::Neither),
    of_kubelet("GetLogsVK", "somebody reads the logs of a pod", &[], Times::Length),
    of_kubelet(
        "GetStatsSummaryVK",
        "somebody reads what pods consume",
        &[],
        Times::Length,
    ),
    of_kubelet(
        "RetrievePodsFromCluster",
        "at its start it looks for pods that it has already",
        &[],
        Times::Length,
    ),
    of_kubelet("InitClientSet", "it connects to Kubernetes", &[], Times::Length),
    of_api(
        "CreateAPI",
        "passes a pod on to the plugin, with its ConfigMaps and Secrets",
        &[
            "pod.name",
            "pod.namespace",
            "pod.uid",
            "getdata.duration",
            "exit.code",
            "X-Forwarded-Email",
            "X-Forwarded-User",
        ],
    ),
    of_api("DeleteAPI", "passes a deletion on to the plugin", OF_API),
    of_api(
        "StatusAPI",
        "asks the plugin for the status of pods",
        &["pods.count", "exit.code", "X-Forwarded-Email", "X-Forwarded-User"],
    ),
    of_api(
        "GetLogsAPI",
        "asks the plugin for logs",
        &[
            "pod.name",
            "pod.namespace",
            "opts.limitbytes",
            "opts.since",
            "opts.sincetime",
            "opts.tail",
            "opts.follow",
            "opts.previous",
            "opts.timestamps",
            "exit.code",
            "X-Forwarded-Email",
            "X-Forwarded-User",
        ],
    ),
    of_api(
        "PingAPI",
        "asks whether the plugin lives",
        &["exit.code", "X-Forwarded-Email", "X-Forwarded-User"],
    ),
];

/// A chart or a table of spans.
#[derive(Debug)]
pub struct SpanChart {
    /// What stands above it.
    pub title: &'static str,
    /// What its axis counts.
    pub unit: Unit,
    /// Its lines; of a table one.
    pub queries: &'static [SpanQuery],
}

/// A query of spans.
#[derive(Debug)]
pub struct SpanQuery {
    /// Names of the spans; none: all.
    pub spans: Names,
    /// Whether of those only what did not end well.
    pub failed: bool,
    /// What is shown of them.
    pub shows: SpanShows,
}

/// What is shown of spans.
#[derive(Debug)]
pub enum SpanShows {
    /// How many there are per second, by name.
    Rate,
    /// A quantile of their length, in seconds, by name.
    Length(Quantile),
    /// A quantile of an attribute, by name.
    Of(Quantile, &'static str),
    /// Each, with these attributes.
    Each(Names),
}

/// Name of the dashboard in files and addresses.
pub const NAME: &str = "interlink-tempo";
/// What stands above it.
pub const TITLE: &str = "interLink";
/// What the user chooses services by, and what they begin with.
pub const CHOICE: &str = "service";
/// All services of interLink.
pub const SERVICES: &str = "(VK-InterLink|InterLink-Plugin)-.*";

const CALLS: Names = &["CreateHttpCall", "LogHttpCall", "PingHttpCall", "StatusHttpCall"];
const ANSWERS: Names = &["CreateAPI", "DeleteAPI", "GetLogsAPI", "PingAPI", "StatusAPI"];
const CREATE: Names = &["CreateAPI"];
const RETRIEVAL: &str = "getdata.duration";

const fn query(spans: Names, failed: bool, shows: SpanShows) -> SpanQuery {
    SpanQuery { spans, failed, shows }
}

const fn lengths(spans: Names) -> [SpanQuery; 2] {
    [
        query(spans, false, SpanShows::Length(Quantile::P50)),
        query(spans, false, SpanShows::Length(Quantile::P99)),
    ]
}

/// Its charts.
pub const CHARTS: &[SpanChart] = &[
    SpanChart {
        title: "Spans",
        unit: Unit::PerSecond,
        queries: &[query(&[], false, SpanShows::Rate)],
    },
    SpanChart {
        title: "Calls of the API server that did not end with 200",
        unit: Unit::PerSecond,
        queries: &[query(CALLS, true, SpanShows::Rate)],
    },
    SpanChart {
        title: "Duration of calls of the API server",
        unit: Unit::Seconds,
        queries: &lengths(CALLS),
    },
    SpanChart {
        title: "Duration in the API server, with the plugin's",
        unit: Unit::Seconds,
        queries: &lengths(ANSWERS),
    },
    SpanChart {
        title: "Retrieval of a pod's ConfigMaps and Secrets",
        unit: Unit::Microseconds,
        queries: &[
            query(CREATE, false, SpanShows::Of(Quantile::P50, RETRIEVAL)),
            query(CREATE, false, SpanShows::Of(Quantile::P99, RETRIEVAL)),
        ],
    },
    SpanChart {
        title: "Pods that the API server was asked for",
        unit: Unit::Count,
        queries: &[query(
            &["CreateHttpCall"],
            false,
            SpanShows::Each(&["pod.namespace", "pod.name", "exit.code"]),
        )],
    },
    SpanChart {
        title: "Calls that did not end with 200",
        unit: Unit::Count,
        queries: &[query(
            CALLS,
            true,
            SpanShows::Each(&["pod.namespace", "pod.name", "exit.code"]),
        )],
    },
];

impl SpanQuery {
    /// The query in `TraceQL`.
    pub fn traceql(&self) -> String {
        let mut conditions = vec![format!("resource.service.name =~ \"${{{CHOICE}:pipe}}\"")];
        match self.spans {
            [] => {}
            [name] => conditions.push(format!("name = \"{name}\"")),
            names => conditions.push(format!("name =~ \"{}\"", names.join("|"))),
        }
        if self.failed {
            conditions.push("span.exit.code != 200".into());
        }
        let then = match &self.shows {
            SpanShows::Rate => "rate() by (name)".into(),
            SpanShows::Length(quantile) => format!("quantile_over_time(duration, {}) by (name)", quantile.forms().0),
            SpanShows::Of(quantile, attribute) => {
                format!("quantile_over_time(span.{attribute}, {}) by (name)", quantile.forms().0)
            }
            SpanShows::Each(attributes) => format!("select(span.{})", attributes.join(", span.")),
        };
        format!("{{ {} }} | {then}", conditions.join(" && "))
    }

    /// Whether it gives a table of spans, not lines.
    pub fn is_table(&self) -> bool {
        matches!(self.shows, SpanShows::Each(_))
    }

    /// Attributes that it needs of its spans.
    pub fn attributes(&self) -> Vec<&'static str> {
        let shown: Vec<&str> = match &self.shows {
            SpanShows::Rate | SpanShows::Length(_) => Vec::new(),
            SpanShows::Of(_, attribute) => vec![attribute],
            SpanShows::Each(attributes) => attributes.to_vec(),
        };
        let code = self.failed.then_some("exit.code");
        shown.into_iter().chain(code).collect()
    }
}

/// The dashboard in Markdown, a part of `docs/targets/dashboards.md`.
pub fn section() -> String {
    let mut section = format!(
        "\n## {TITLE}\n\nFile: [{NAME}.json](../dashboards/{NAME}.json). Needs: [interLink's spans](interlink.md) in a Tempo, \
         2.5 or later, that answers TraceQL metrics (its metrics generator with the processor `local-blocks`), and Grafana \
         11 or later. What is chosen is the service.\n\n| chart | query |\n| --- | --- |\n"
    );
    for chart in CHARTS {
        for query in chart.queries {
            let text = query.traceql().replace('|', "\\|");
            // Writing into a String does not fail.
            let _ = writeln!(section, "| {} | `{text}` |", chart.title);
        }
    }
    section
}

/// The spans in Markdown, a table of `docs/targets/interlink.md`.
pub fn table() -> String {
    let mut table = String::from(
        "| span | by | stands for | attributes | length | `duration` |\n| --- | --- | --- | --- | --- | --- |",
    );
    for span in SPANS {
        let by = match span.by {
            Process::VirtualKubelet => "virtual kubelet",
            Process::ApiServer => "API server",
        };
        let (length, duration) = match span.times {
            Times::Both => ("of the call", "of the call"),
            Times::Length => ("of the call", "senseless"),
            Times::Neither if span.name.ends_with("VK") => ("about 0", "senseless"),
            Times::Neither => ("about 0", "about 0"),
        };
        let attributes: Vec<String> = span.attributes.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(
            table,
            "\n| `{}` | {by} | {} | {} | {length} | {duration} |",
            span.name,
            span.of,
            attributes.join(", ")
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spans that a query is of.
    fn spans(query: &SpanQuery) -> Vec<&'static Span> {
        let wanted = |span: &&Span| query.spans.is_empty() || query.spans.contains(&span.name);
        SPANS.iter().filter(wanted).collect()
    }

    fn queries() -> impl Iterator<Item = &'static SpanQuery> {
        CHARTS.iter().flat_map(|chart| chart.queries)
    }

    #[test]
    fn each_span_of_a_query_is_one_that_interlink_makes_and_each_attribute_one_of_some_of_them() {
        for query in queries() {
            let found = spans(query);
            assert!(found.len() == query.spans.len() || query.spans.is_empty(), "{query:?}");
            for attribute in query.attributes() {
                let has = |span: &&Span| span.attributes.contains(&attribute) || OF_ALL.contains(&attribute);
                assert!(found.iter().any(has), "{query:?}: no {attribute}");
            }
            if query.failed {
                let ends = |span: &&Span| span.attributes.contains(&"exit.code");
                assert!(found.iter().all(ends), "{query:?}");
            }
        }
    }

    #[test]
    fn the_length_of_a_span_is_shown_only_where_it_is_that_of_the_call() {
        for query in queries().filter(|query| matches!(query.shows, SpanShows::Length(_))) {
            for span in spans(query) {
                assert_ne!(span.times, Times::Neither, "{}", span.name);
            }
        }
    }

    #[test]
    fn the_misspelt_attribute_of_interlinks_docs_is_nowhere() {
        let all = [section(), table()].concat();
        assert!(all.contains("exit.code") && !all.contains("exitc.code"));
    }

    #[test]
    fn a_query_is_written_as_tempo_reads_it() {
        let texts: Vec<String> = queries().map(SpanQuery::traceql).collect();
        let service = "resource.service.name =~ \"${service:pipe}\"";
        assert_eq!(texts[0], format!("{{ {service} }} | rate() by (name)"));
        assert_eq!(
            texts[1],
            format!(
                "{{ {service} && name =~ \"CreateHttpCall|LogHttpCall|PingHttpCall|StatusHttpCall\" && span.exit.code != 200 }} | rate() by (name)"
            )
        );
        let last_but_one = &texts[texts.len() - 2];
        assert_eq!(
            *last_but_one,
            format!(
                "{{ {service} && name = \"CreateHttpCall\" }} | select(span.pod.namespace, span.pod.name, span.exit.code)"
            )
        );
    }
}
