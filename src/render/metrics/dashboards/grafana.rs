//! A dashboard as Grafana imports it.

use serde::Serialize;
use serde_json::{Value, json};

use super::spans::{self, SpanChart, SpanQuery};
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
        query: Value,
        /// Which of the values are offered.
        #[serde(skip_serializing_if = "Option::is_none")]
        regex: Option<String>,
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
const TEMPO: Source = Source {
    type_: "tempo",
    uid: SOURCE,
};
/// Spans of a table, at most.
const ROWS: u16 = 100;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    datasource: Source,
    #[serde(flatten)]
    asks: Asks,
}

/// What a data source is asked, in its own words.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Asks {
    Prometheus {
        expr: String,
        legend_format: String,
    },
    Tempo {
        query_type: &'static str,
        query: String,
        limit: u16,
        table_type: &'static str,
    },
}

/// The document of a dashboard: what Grafana's import takes, and provisioning from a file.
///
/// # Errors
/// Where it has no JSON form.
pub fn document(dashboard: &Dashboard) -> Result<Value, serde_json::Error> {
    let choices = dashboard.choices.iter().enumerate();
    let choices = choices.map(|(at, choice)| variable(choice, dashboard.choices.get(..at).unwrap_or_default()));
    let panels = dashboard.charts.iter().enumerate().map(panel).collect();
    assemble(
        dashboard.name,
        dashboard.title,
        source("Prometheus", "prometheus"),
        choices,
        panels,
    )
}

/// The document of the dashboard of spans.
///
/// # Errors
/// Where it has no JSON form.
pub fn document_of_spans() -> Result<Value, serde_json::Error> {
    let panels = spans::CHARTS.iter().enumerate().map(panel_of_spans).collect();
    let choices = std::iter::once(choice_of_services());
    assemble(spans::NAME, spans::TITLE, source("Tempo", "tempo"), choices, panels)
}

fn assemble(
    name: &str,
    title: &'static str,
    source: Variable,
    choices: impl Iterator<Item = Variable>,
    panels: Vec<Panel>,
) -> Result<Value, serde_json::Error> {
    serde_json::to_value(Document {
        uid: format!("sightline-{name}"),
        title,
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
        panels,
    })
}

/// The variable of the data source.
fn source(label: &'static str, type_: &'static str) -> Variable {
    Variable::Datasource {
        name: "datasource",
        label,
        query: type_,
    }
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
    let query = json!(format!("label_values({series}, {})", choice.label));
    several(choice.name, PROMETHEUS, query, None, ".*")
}

/// The services of interLink: values of an attribute of the resource (`type: 1` of Grafana's query for Tempo).
fn choice_of_services() -> Variable {
    let query = json!({
        "refId": "TempoDatasourceVariableQueryEditor-VariableQuery", "type": 1, "label": "service.name",
    });
    let regex = Some(format!("/^{}$/", spans::SERVICES));
    several(spans::CHOICE, TEMPO, query, regex, spans::SERVICES)
}

/// A variable of which several values may be chosen, or all.
fn several(
    name: &'static str,
    datasource: Source,
    query: Value,
    regex: Option<String>,
    all_value: &'static str,
) -> Variable {
    Variable::Query {
        name,
        datasource,
        query,
        regex,
        refresh: 2,
        sort: 1,
        multi: true,
        include_all: true,
        all_value,
        current: Current {
            text: ["All"],
            value: ["$__all"],
        },
    }
}

fn panel((at, chart): (usize, &Chart)) -> Panel {
    Panel {
        id: at + 1,
        type_: "timeseries",
        title: chart.title,
        datasource: PROMETHEUS,
        grid_pos: position(at),
        field_config: axis(chart.unit),
        targets: ('A'..='Z').zip(chart.queries).map(target).collect(),
    }
}

fn panel_of_spans((at, chart): (usize, &SpanChart)) -> Panel {
    let is_table = chart.queries.iter().any(SpanQuery::is_table);
    let columns = FieldConfig {
        defaults: Defaults { unit: None, min: None },
        overrides: [],
    };
    Panel {
        id: at + 1,
        type_: if is_table { "table" } else { "timeseries" },
        title: chart.title,
        datasource: TEMPO,
        grid_pos: position(at),
        field_config: if is_table { columns } else { axis(chart.unit) },
        targets: ('A'..='Z').zip(chart.queries).map(target_of_spans).collect(),
    }
}

/// Where the panel of this number stands.
const fn position(at: usize) -> Position {
    let per_row = COLUMNS / WIDTH;
    Position {
        x: at % per_row * WIDTH,
        y: at / per_row * HEIGHT,
        w: WIDTH,
        h: HEIGHT,
    }
}

const fn axis(of: Unit) -> FieldConfig {
    FieldConfig {
        defaults: Defaults {
            unit: Some(unit(of)),
            min: Some(0),
        },
        overrides: [],
    }
}

fn target((id, query): (char, &Query)) -> Target {
    let labels = query.by.iter().map(|label| format!("{{{{{label}}}}}"));
    let name = Some(query.name.to_owned()).filter(|name| !name.is_empty());
    let legend: Vec<String> = labels.chain(name).collect();
    Target {
        ref_id: id.to_string(),
        datasource: PROMETHEUS,
        asks: Asks::Prometheus {
            expr: query.promql(WINDOW),
            legend_format: legend.join(" "),
        },
    }
}

fn target_of_spans((id, query): (char, &SpanQuery)) -> Target {
    Target {
        ref_id: id.to_string(),
        datasource: TEMPO,
        asks: Asks::Tempo {
            query_type: "traceql",
            query: query.traceql(),
            limit: ROWS,
            table_type: "spans",
        },
    }
}

/// A unit by Grafana's name for it.
const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::PerSecond => "ops",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "Bps",
        Unit::Microseconds => "µs",
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::Share => "percentunit",
    }
}
