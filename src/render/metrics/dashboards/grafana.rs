//! A dashboard as Grafana imports it.

use serde::Serialize;
use serde_json::Value;

use super::{Chart, Choice, Dashboard, Query, Unit};

/// Version of Grafana's schema: that of Grafana 11, which later ones migrate by themselves.
const SCHEMA_VERSION: u8 = 39;
/// Grafana's variable for a window that has samples enough at any zoom.
const WINDOW: &str = "$__rate_interval";
/// The variable that holds the data source.
const SOURCE: &str = "${datasource}";
/// Columns of Grafana's grid, and how much of them a chart takes.
const COLUMNS: usize = 24;
const WIDTH: usize = 12;
const HEIGHT: usize = 8;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    uid: String,
    title: &'static str,
    tags: [&'static str; 1],
    schema_version: u8,
    editable: bool,
    refresh: &'static str,
    time: Time,
    templating: Templating,
    panels: Vec<Panel>,
}

#[derive(Serialize)]
struct Time {
    from: &'static str,
    to: &'static str,
}

#[derive(Serialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Variable {
    Datasource {
        name: &'static str,
        label: &'static str,
        query: &'static str,
    },
    #[serde(rename_all = "camelCase")]
    Query {
        name: &'static str,
        datasource: Source,
        query: String,
        /// When the range of time changes.
        refresh: u8,
        sort: u8,
        multi: bool,
        include_all: bool,
        all_value: &'static str,
        current: Current,
    },
}

#[derive(Serialize)]
struct Current {
    text: [&'static str; 1],
    value: [&'static str; 1],
}

#[derive(Serialize)]
struct Source {
    #[serde(rename = "type")]
    type_: &'static str,
    uid: &'static str,
}

const PROMETHEUS: Source = Source {
    type_: "prometheus",
    uid: SOURCE,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: usize,
    #[serde(rename = "type")]
    type_: &'static str,
    title: &'static str,
    datasource: Source,
    grid_pos: Position,
    field_config: FieldConfig,
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Position {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
}

#[derive(Serialize)]
struct FieldConfig {
    defaults: Defaults,
    overrides: [Value; 0],
}

#[derive(Serialize)]
struct Defaults {
    unit: &'static str,
    min: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    datasource: Source,
    expr: String,
    legend_format: String,
}

/// The document of a dashboard: what Grafana's import takes, and provisioning from a file.
///
/// # Errors
/// Where it has no JSON form.
pub fn document(dashboard: &Dashboard) -> Result<Value, serde_json::Error> {
    let source = Variable::Datasource {
        name: "datasource",
        label: "Prometheus",
        query: "prometheus",
    };
    let choices = dashboard.choices.iter().enumerate();
    let choices = choices.map(|(at, choice)| variable(choice, dashboard.choices.get(..at).unwrap_or_default()));
    serde_json::to_value(Document {
        uid: format!("sightline-{}", dashboard.name),
        title: dashboard.title,
        tags: ["sightline"],
        schema_version: SCHEMA_VERSION,
        editable: true,
        refresh: "30s",
        time: Time {
            from: "now-1h",
            to: "now",
        },
        templating: Templating {
            list: std::iter::once(source).chain(choices).collect(),
        },
        panels: dashboard.charts.iter().enumerate().map(panel).collect(),
    })
}

/// The variable of a choice, of what the choices before it leave.
fn variable(choice: &Choice, before: &[Choice]) -> Variable {
    let chosen: Vec<String> = before
        .iter()
        .map(|other| format!("{}=~\"${}\"", other.label, other.name))
        .collect();
    let series = if chosen.is_empty() {
        choice.of.to_owned()
    } else {
        format!("{}{{{}}}", choice.of, chosen.join(", "))
    };
    Variable::Query {
        name: choice.name,
        datasource: PROMETHEUS,
        query: format!("label_values({series}, {})", choice.label),
        refresh: 2,
        sort: 1,
        multi: true,
        include_all: true,
        all_value: ".*",
        current: Current {
            text: ["All"],
            value: ["$__all"],
        },
    }
}

fn panel((at, chart): (usize, &Chart)) -> Panel {
    let per_row = COLUMNS / WIDTH;
    Panel {
        id: at + 1,
        type_: "timeseries",
        title: chart.title,
        datasource: PROMETHEUS,
        grid_pos: Position {
            x: at % per_row * WIDTH,
            y: at / per_row * HEIGHT,
            w: WIDTH,
            h: HEIGHT,
        },
        field_config: FieldConfig {
            defaults: Defaults {
                unit: unit(chart.unit),
                min: 0,
            },
            overrides: [],
        },
        targets: ('A'..='Z').zip(chart.queries).map(target).collect(),
    }
}

fn target((id, query): (char, &Query)) -> Target {
    let labels = query.by.iter().map(|label| format!("{{{{{label}}}}}"));
    let name = Some(query.name.to_owned()).filter(|name| !name.is_empty());
    let legend: Vec<String> = labels.chain(name).collect();
    Target {
        ref_id: id.to_string(),
        datasource: PROMETHEUS,
        expr: query.promql(WINDOW),
        legend_format: legend.join(" "),
    }
}

/// A unit by Grafana's name for it.
const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::PerSecond => "ops",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "Bps",
        Unit::Milliseconds => "ms",
        Unit::Share => "percentunit",
    }
}
