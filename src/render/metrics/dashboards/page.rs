//! The dashboards in Markdown.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{ADDED_BY_SCRAPING, DASHBOARDS, Dashboard, Reader, known, spans};

const INTRO: &str = "<!-- Generated from src/render/metrics/dashboards by `make generate`; do not edit. -->

# Dashboards

What charts show of the series that meshes export, and of interLink's spans. Those of Grafana are files of
[docs/dashboards](../dashboards): import one (*Dashboards, New, Import*) and choose the Prometheus or Tempo, or provision the
folder. Wavefront's are queries to enter.

Each series and each label stands in a table of what the mesh exports, and Prometheus itself reads each query. An entry of
`metrics.overrides` that removes a label which a chart needs is told on the mesh (`AcceptedWithWarnings`), where one of its
exports gives the metric to the dashboard's reader. In a window where nothing happens a share has no value.
";

/// `docs/targets/dashboards.md`.
pub fn page() -> String {
    let of_metrics = DASHBOARDS
        .iter()
        .fold(String::from(INTRO), |page, dashboard| page + &section(dashboard));
    of_metrics + &spans::section()
}

fn section(dashboard: &Dashboard) -> String {
    let mut section = format!("\n## {}\n\n", dashboard.title);
    // Writing into a String does not fail.
    let _ = match dashboard.reader {
        Reader::Grafana => writeln!(
            section,
            "File: [{name}.json](../dashboards/{name}.json). Needs: {}",
            dashboard.needs,
            name = dashboard.name
        ),
        Reader::Wavefront => writeln!(section, "Needs: {}", dashboard.needs),
    };
    section.push_str("\n| chart | query |\n| --- | --- |\n");
    for chart in dashboard.charts {
        for query in chart.queries {
            let text = match dashboard.reader {
                Reader::Grafana => Some(query.promql("5m")),
                Reader::Wavefront => query.wavefront(),
            };
            let name = match query.name {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            let _ = writeln!(
                section,
                "| {}{name} | `{}` |",
                chart.title,
                // A pipe ends a cell, in code as well.
                text.unwrap_or_default().replace('|', "\\|")
            );
        }
    }
    section.push_str("\n| series | kind | labels that the charts need |\n| --- | --- | --- |\n");
    for (metric, labels) in needed(dashboard) {
        let kind = match known(dashboard.mesh, metric) {
            Some(known) if known.is_histogram => "histogram",
            Some(known) if known.is_gauge == Some(true) => "gauge",
            _ => "",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(section, "| `{metric}` | {kind} | {} |", labels.join(", "));
    }
    section
}

/// Metrics of a dashboard with the labels that it needs of them, but for those that scraping adds.
fn needed(dashboard: &Dashboard) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut needed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for query in dashboard.charts.iter().flat_map(|chart| chart.queries) {
        for series in query.series() {
            let labels = query
                .labels_of(series)
                .filter(|label| !ADDED_BY_SCRAPING.contains(label));
            needed.entry(series.metric).or_default().extend(labels);
        }
    }
    needed
}
