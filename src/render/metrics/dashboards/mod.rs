//! Dashboards: what charts show of the series that meshes export, as one table of typed queries.
//!
//! A query is written once and comes out as PromQL, or as the ts() expression of Wavefront. So which series and labels it
//! needs is known, and a change that takes one of them away can be told.

mod grafana;
mod page;
pub mod spans;
mod table;

use crate::crds::MeshType;
use crate::render::kmesh::scrape as kmesh;
use crate::render::metrics::series::{self, ENVOY, ISTIO, KMESH_LABELS, WAVEFRONT};

pub use grafana::{document, document_of_spans};
pub use page::page;
pub use table::DASHBOARDS;

/// Charts that are looked at together.
#[derive(Debug)]
pub struct Dashboard {
    /// Its name in files and addresses: a lower-case DNS label.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// What it needs, for the docs.
    pub needs: &'static str,
    /// The mesh whose series it shows.
    pub mesh: MeshType,
    /// Who shows it.
    pub reader: Reader,
    /// What its user chooses from.
    pub choices: &'static [Choice],
    /// In the order of reading.
    pub charts: &'static [Chart],
}

/// Who shows a dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Grafana, from a Prometheus.
    Grafana,
    /// Wavefront, from what its collector sends.
    Wavefront,
}

/// Values of a label to choose from: several, or all.
#[derive(Debug)]
pub struct Choice {
    /// Its name in queries.
    pub name: &'static str,
    /// The label.
    pub label: &'static str,
    /// A series that has it.
    pub of: &'static str,
}

/// One chart.
#[derive(Debug)]
pub struct Chart {
    /// What stands above it.
    pub title: &'static str,
    /// What its axis counts.
    pub unit: Unit,
    /// Its lines.
    pub queries: &'static [Query],
}

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things in a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// A part of one.
    Share,
}

/// Lines of a chart: one for each combination of the values of `by`.
#[derive(Debug)]
pub struct Query {
    /// What the lines are called, besides their labels; may be empty.
    pub name: &'static str,
    /// What they show.
    pub shows: Shows,
    /// Labels that tell them apart.
    pub by: &'static [&'static str],
}

/// What is shown of series.
#[derive(Debug)]
pub enum Shows {
    /// How fast counters grow, per second, summed up.
    Rate(Series),
    /// The part that one rate has of another.
    Share(Series, Series),
    /// A quantile of a histogram.
    Quantile(Quantile, Series),
    /// How fast the buckets of a histogram grow, by `le`.
    Buckets(Series),
    /// Gauges, summed up.
    Sum(Series),
    /// The highest of several gauges that say the same.
    Highest(Series),
    /// How fast gauges grow, per second, summed up. One that falls has started anew and counts as 0.
    Slope(Series),
}

/// Quantiles that recording rules know too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// The median.
    P50,
    /// 0.9.
    P90,
    /// 0.99.
    P99,
}

impl Quantile {
    /// As a number, and as names of recorded series end.
    const fn forms(self) -> (&'static str, &'static str) {
        match self {
            Self::P50 => ("0.5", "p50"),
            Self::P90 => ("0.9", "p90"),
            Self::P99 => ("0.99", "p99"),
        }
    }
}

/// Series of a metric, all or some.
#[derive(Debug)]
pub struct Series {
    /// Name of the metric; of a histogram without `_bucket`.
    pub metric: &'static str,
    /// What its labels have to be, all of it.
    pub matching: &'static [(&'static str, Is)],
}

/// What a label has to be.
#[derive(Clone, Copy, Debug)]
pub enum Is {
    /// One of these.
    AnyOf(&'static [&'static str]),
    /// A text that begins so.
    Starting(&'static str),
    /// A text that does not begin so.
    NotStarting(&'static str),
    /// What the user chose under this name.
    Chosen(&'static str),
}

impl Query {
    /// The query in `PromQL`, with rates over `window` (a duration, or Grafana's variable for one).
    pub fn promql(&self, window: &str) -> String {
        let by = |more: &[&str]| match [more, self.by].concat() {
            labels if labels.is_empty() => String::new(),
            labels => format!(" by ({})", labels.join(", ")),
        };
        let rate = |series: &Series| format!("sum{} (rate({}[{window}]))", by(&[]), series.promql(""));
        let buckets = |series: &Series| format!("sum{} (rate({}[{window}]))", by(&["le"]), series.promql("_bucket"));
        match &self.shows {
            Shows::Rate(series) => rate(series),
            Shows::Share(part, whole) => format!("{} / {}", rate(part), rate(whole)),
            Shows::Quantile(quantile, series) => {
                format!("histogram_quantile({}, {})", quantile.forms().0, buckets(series))
            }
            Shows::Buckets(series) => buckets(series),
            Shows::Sum(series) => format!("sum{} ({})", by(&[]), series.promql("")),
            Shows::Highest(series) => format!("max{} ({})", by(&[]), series.promql("")),
            Shows::Slope(series) => format!("sum{} (clamp_min(deriv({}[{window}]), 0))", by(&[]), series.promql("")),
        }
    }

    /// The query as Wavefront has it, of what its collector reads through `/federate`: names end in `.value`, and quantiles
    /// are recorded (`federation.rules`), of which the highest is shown. `None`: there is no such query.
    pub fn wavefront(&self) -> Option<String> {
        // Labels follow what is summed up, as more arguments.
        let call = |name: &str, of: String, more: &[&str]| {
            let arguments = [&[of.as_str()], more, self.by].concat();
            format!("{name}({})", arguments.join(", "))
        };
        let rate = |series: &Series| call("sum", format!("rate({})", series.wavefront("")), &[]);
        Some(match &self.shows {
            Shows::Rate(series) => rate(series),
            Shows::Share(part, whole) => format!("{} / {}", rate(part), rate(whole)),
            Shows::Quantile(quantile, series) => {
                let recorded = format!(".bucket.{}", quantile.forms().1);
                call("max", series.wavefront(&recorded), &[])
            }
            Shows::Buckets(series) => call("sum", format!("rate({})", series.wavefront(".bucket")), &["le"]),
            Shows::Sum(series) => call("sum", series.wavefront(""), &[]),
            Shows::Highest(series) => call("max", series.wavefront(""), &[]),
            Shows::Slope(_) => return None,
        })
    }

    /// The series that it needs.
    pub fn series(&self) -> Vec<&Series> {
        match &self.shows {
            Shows::Share(part, whole) => vec![part, whole],
            Shows::Rate(of)
            | Shows::Quantile(_, of)
            | Shows::Buckets(of)
            | Shows::Sum(of)
            | Shows::Highest(of)
            | Shows::Slope(of) => vec![of],
        }
    }

    /// Labels that it needs of a series.
    pub fn labels_of<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = &'static str> + 'a {
        let matched = series.matching.iter().map(|(label, _)| *label);
        self.by.iter().copied().chain(matched)
    }
}

impl Series {
    fn promql(&self, ending: &str) -> String {
        let matchers: Vec<String> = self
            .matching
            .iter()
            .map(|(label, is)| match is {
                Is::AnyOf(values) => format!("{label}=~\"{}\"", values.join("|")),
                Is::Starting(start) => format!("{label}=~\"{start}.*\""),
                Is::NotStarting(start) => format!("{label}!~\"{start}.*\""),
                Is::Chosen(name) => format!("{label}=~\"${name}\""),
            })
            .collect();
        let matchers = match matchers.join(", ") {
            none if none.is_empty() => none,
            some => format!("{{{some}}}"),
        };
        format!("{}{ending}{matchers}", self.metric)
    }

    fn wavefront(&self, ending: &str) -> String {
        let filters: Vec<String> = self
            .matching
            .iter()
            .map(|(label, is)| match is {
                Is::AnyOf([value]) => format!("{label}=\"{value}\""),
                Is::AnyOf(values) => {
                    let any: Vec<String> = values.iter().map(|value| format!("{label}=\"{value}\"")).collect();
                    format!("({})", any.join(" or "))
                }
                Is::Starting(start) => format!("{label}=\"{start}*\""),
                Is::NotStarting(start) => format!("not {label}=\"{start}*\""),
                Is::Chosen(name) => format!("{label}=\"${{{name}}}\""),
            })
            .collect();
        let filters = match filters.join(" and ") {
            none if none.is_empty() => none,
            some => format!(", {some}"),
        };
        format!("ts(\"{}{ending}.value\"{filters})", self.metric.replace('_', "."))
    }
}

/// A metric as the tables of a mesh know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Labels of its series, besides `le` and what scraping adds.
    pub labels: &'static [&'static str],
    /// Whether it is a histogram.
    pub is_histogram: bool,
    /// Whether it is a gauge, whatever its name says; `None`: the tables do not tell.
    pub is_gauge: Option<bool>,
}

/// What the tables of a mesh say of a metric: nothing where no supported version exports it.
pub fn known(mesh: MeshType, metric: &str) -> Option<Known> {
    match mesh {
        MeshType::Istio => {
            let found = ISTIO.iter().chain(WAVEFRONT).find(|known| known.name == metric)?;
            let is_exported = !matches!(found.by, series::ExportedBy::Nobody { .. });
            is_exported.then(|| Known {
                labels: found.labels(),
                is_histogram: found.is_histogram,
                is_gauge: None,
            })
        }
        MeshType::Kuma => ENVOY.iter().find(|known| known.name == metric).map(|found| Known {
            labels: found.labels,
            is_histogram: found.is_histogram,
            is_gauge: Some(found.is_gauge),
        }),
        MeshType::Kmesh => {
            let found = kmesh::SERIES.iter().find(|known| known.name == metric)?;
            found.since?;
            let (.., labels) = KMESH_LABELS
                .iter()
                .find(|(start, switch, _)| metric.starts_with(start) && *switch == found.switch)?;
            Some(Known {
                labels,
                is_histogram: false,
                is_gauge: (found.kind == kmesh::SeriesKind::Gauge).then_some(true),
            })
        }
        MeshType::None => None,
    }
}

/// Labels that scraping adds, by a monitor as by a job of ours.
pub const ADDED_BY_SCRAPING: [&str; 2] = ["namespace", "pod"];

/// Dashboards of a reader that need a label of a metric of Istio's.
pub fn that_need(reader: Reader, metric: &str, label: &str) -> Vec<&'static str> {
    let needs = |dashboard: &&Dashboard| {
        let queries = dashboard.charts.iter().flat_map(|chart| chart.queries);
        let chosen = dashboard
            .choices
            .iter()
            .any(|choice| choice.of == metric && choice.label == label);
        let mut series = queries.flat_map(|query| query.series().into_iter().map(move |of| (query, of)));
        chosen || series.any(|(query, of)| of.metric == metric && query.labels_of(of).any(|needed| needed == label))
    };
    let of_reader = DASHBOARDS
        .iter()
        .filter(|dashboard| dashboard.mesh == MeshType::Istio && dashboard.reader == reader);
    of_reader.filter(needs).map(|dashboard| dashboard.name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::render::metrics::prometheus::rule_of;
    use crate::render::metrics::series::{ExportedBy, Metric};

    /// Each query with the dashboard that it is of.
    fn queries() -> impl Iterator<Item = (&'static Dashboard, &'static Query)> {
        DASHBOARDS.iter().flat_map(|dashboard| {
            let queries = dashboard.charts.iter().flat_map(|chart| chart.queries);
            queries.map(move |query| (dashboard, query))
        })
    }

    #[test]
    fn each_series_is_one_that_the_mesh_exports_and_each_label_one_that_the_series_has() {
        for (dashboard, query) in queries() {
            for series in query.series() {
                let place = format!("{}: {query:?}", dashboard.name);
                let known = known(dashboard.mesh, series.metric)
                    .unwrap_or_else(|| panic!("{place}: nobody exports {}", series.metric));
                for label in query.labels_of(series) {
                    let has = known.labels.contains(&label) || ADDED_BY_SCRAPING.contains(&label);
                    assert!(has, "{place}: {} has no label {label}", series.metric);
                }
            }
        }
        for dashboard in DASHBOARDS {
            for choice in dashboard.choices {
                let known = known(dashboard.mesh, choice.of).unwrap();
                assert!(known.labels.contains(&choice.label), "{}: {choice:?}", dashboard.name);
            }
        }
    }

    #[test]
    fn what_nobody_exports_is_not_known() {
        assert_eq!(known(MeshType::Istio, "galley_validation_config_load"), None);
        assert_eq!(known(MeshType::Kmesh, "kmesh_tcp_conntections_failed_total"), None);
        assert_eq!(known(MeshType::Kuma, "istio_requests_total"), None);
    }

    #[test]
    fn each_series_of_kmesh_that_is_exported_has_its_labels() {
        for series in kmesh::SERIES.iter().filter(|series| series.since.is_some()) {
            assert!(known(MeshType::Kmesh, series.name).is_some(), "{}", series.name);
        }
    }

    #[test]
    fn quantiles_are_of_histograms_and_of_gauges_there_is_no_rate() {
        for (dashboard, query) in queries() {
            let of_histogram = matches!(query.shows, Shows::Quantile(..) | Shows::Buckets(_));
            let of_gauge = matches!(query.shows, Shows::Sum(_) | Shows::Highest(_) | Shows::Slope(_));
            for series in query.series() {
                let known = known(dashboard.mesh, series.metric).unwrap();
                assert_eq!(known.is_histogram, of_histogram, "{}: {query:?}", dashboard.name);
                let fits = known.is_gauge.is_none_or(|is_gauge| is_gauge == of_gauge);
                assert!(fits, "{}: {query:?}", dashboard.name);
            }
        }
    }

    #[test]
    fn lines_of_a_chart_are_told_apart_and_have_letters_enough() {
        for chart in DASHBOARDS.iter().flat_map(|dashboard| dashboard.charts) {
            let legends: BTreeSet<_> = chart.queries.iter().map(|query| (query.name, query.by)).collect();
            assert_eq!(legends.len(), chart.queries.len(), "{}", chart.title);
            assert!((1..=26).contains(&legends.len()), "{}", chart.title);
        }
    }

    #[test]
    fn what_a_query_lets_choose_is_a_choice_of_its_dashboard() {
        for (dashboard, query) in queries() {
            for series in query.series() {
                for (label, is) in series.matching {
                    if let Is::Chosen(name) = is {
                        let is_choice = dashboard.choices.iter().any(|choice| choice.name == *name);
                        assert!(is_choice, "{}: {label} of {query:?}", dashboard.name);
                    }
                }
            }
        }
    }

    /// The rules sum by these labels, and nothing else is left of what proxies report.
    #[test]
    fn wavefronts_charts_need_what_recording_rules_leave_and_show_each_living_metric_of_the_integration() {
        let mut shown = BTreeSet::new();
        let of_wavefront = queries().filter(|(dashboard, _)| dashboard.reader == Reader::Wavefront);
        for (_, query) in of_wavefront {
            assert!(query.wavefront().is_some(), "Wavefront has no such query: {query:?}");
            for series in query.series() {
                let metric: &Metric = WAVEFRONT.iter().find(|metric| metric.name == series.metric).unwrap();
                if matches!(metric.by, ExportedBy::Proxies(_)) {
                    let left = rule_of(metric).unwrap();
                    let gone = query.labels_of(series).find(|label| !left.contains(label));
                    assert_eq!(gone, None, "{query:?}");
                }
                shown.insert(metric.name);
            }
        }
        let lives = |metric: &&Metric| !matches!(metric.by, ExportedBy::Nobody { .. });
        let living: BTreeSet<&str> = WAVEFRONT.iter().filter(lives).map(|metric| metric.name).collect();
        assert_eq!(shown, living);
    }

    #[test]
    fn a_query_is_written_as_each_reader_has_it() {
        let well: &[(&str, Is)] = &[
            ("reporter", Is::AnyOf(&["source", "waypoint"])),
            ("response_code", Is::NotStarting("5")),
        ];
        let series = |metric| Series { metric, matching: well };
        let query = |shows, by| Query { name: "", shows, by };
        let rate = query(Shows::Rate(series("a_total")), &["x", "y"]);
        assert_eq!(
            rate.promql("5m"),
            "sum by (x, y) (rate(a_total{reporter=~\"source|waypoint\", response_code!~\"5.*\"}[5m]))"
        );
        assert_eq!(
            rate.wavefront().unwrap(),
            "sum(rate(ts(\"a.total.value\", (reporter=\"source\" or reporter=\"waypoint\") and not response_code=\"5*\")), x, y)"
        );
        let all = |metric| Series { metric, matching: &[] };
        let quantile = query(Shows::Quantile(Quantile::P99, all("a_ms")), &["x"]);
        assert_eq!(
            quantile.promql("5m"),
            "histogram_quantile(0.99, sum by (le, x) (rate(a_ms_bucket[5m])))"
        );
        assert_eq!(quantile.wavefront().unwrap(), "max(ts(\"a.ms.bucket.p99.value\"), x)");
        let slope = query(Shows::Slope(all("a")), &[]);
        assert_eq!(slope.promql("5m"), "sum (clamp_min(deriv(a[5m]), 0))");
        assert_eq!(slope.wavefront(), None);
    }

    #[test]
    fn a_label_that_a_chart_or_a_choice_needs_is_found() {
        let grafana = |label| that_need(Reader::Grafana, "istio_requests_total", label);
        assert_eq!(grafana("response_code"), ["istio-mesh", "istio-workload"]);
        assert_eq!(grafana("connection_security_policy"), ["istio-workload"]);
        assert!(grafana("source_principal").is_empty());
        assert!(that_need(Reader::Wavefront, "istio_requests_total", "connection_security_policy").is_empty());
    }
}
