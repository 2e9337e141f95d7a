//! What a format costs: the bytes of a line that it makes, and what making it costs Envoy. The figures of the second are
//! measured: docs/cost.md. Pure.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::parser::{self, Part};
use super::preview::{Sample, preview};
use super::{CompiledFormat, EnvoyVersion};

/// The figures, as `make bench-cost` writes them.
const SOURCE: &str = include_str!("cost.tsv");

/// What a format costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Bytes of the line of a sample, with its newline. What no sample tells counts as it was measured.
    pub bytes: usize,
    /// What making a line costs Envoy's worker, in `%PROTOCOL%`s: the sum of `parts`.
    pub weight: f64,
    /// What the format is made of, the heaviest first; of two that weigh the same, the first by name.
    pub parts: Vec<CostPart>,
}

/// All uses of an operator in a format, or all of what stands around them.
#[derive(Debug, Clone, PartialEq)]
pub struct CostPart {
    /// Name of the operator, `literals`, or `members` (of a JSON object).
    pub what: &'static str,
    /// How many.
    pub count: usize,
    /// What all of them cost together.
    pub weight: f64,
}

/// A format that Envoy would refuse, so that it costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// It cannot be taken apart.
    #[error("{0}")]
    Unreadable(String),
    /// There is no such operator.
    #[error("there is no operator `{0}`")]
    Unknown(String),
}

/// What a format costs for a sample. `omit_empty_values` as in Envoy's configuration; the version is that of the line.
///
/// # Errors
/// Where the format holds what is no operator. That is not all that Envoy refuses.
pub fn cost(
    format: &CompiledFormat,
    omit_empty_values: bool,
    sample: &Sample,
    version: EnvoyVersion,
) -> Result<Cost, CostError> {
    let mut bill = Bill::default();
    match format {
        CompiledFormat::Text(text) => bill.text(text)?,
        CompiledFormat::Json(members) => bill.object(members)?,
    }
    let printed = preview(format, omit_empty_values, sample, version);
    // In their places stands `<NAME>`.
    let placeholders: usize = (printed.untold.iter())
        .map(|(name, _)| bill.count(name) * (name.len() + 2))
        .sum();
    let measured: usize = (printed.untold.iter())
        .filter_map(|(name, _)| Some(bill.count(name) * TABLE.operator(name, false)?.bytes))
        .sum();
    let mut parts = bill.parts;
    parts.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.what.cmp(b.what)));
    Ok(Cost {
        bytes: (printed.line.len() + measured).saturating_sub(placeholders),
        weight: parts.iter().map(|part| part.weight).sum(),
        parts,
    })
}

/// What a format is made of.
#[derive(Default)]
struct Bill {
    parts: Vec<CostPart>,
}

impl Bill {
    fn add(&mut self, what: &'static str, weight: f64) {
        match self.parts.iter_mut().find(|part| part.what == what) {
            Some(part) => {
                part.count += 1;
                part.weight += weight;
            }
            None => self.parts.push(CostPart { what, count: 1, weight }),
        }
    }

    fn count(&self, what: &str) -> usize {
        let part = self.parts.iter().find(|part| part.what == what);
        part.map_or(0, |part| part.count)
    }

    fn text(&mut self, text: &str) -> Result<(), CostError> {
        let parsed = parser::parse(text);
        if let Some(error) = parsed.error {
            return Err(CostError::Unreadable(error.message));
        }
        // Literals that stand side by side are one, to Envoy too.
        let mut in_literal = false;
        for part in parsed.parts {
            let Part::Operator(operator) = part else {
                if !in_literal {
                    self.add("literals", TABLE.piece("literal"));
                }
                in_literal = true;
                continue;
            };
            in_literal = false;
            let name = operator.name;
            let has_arguments = operator.arguments.is_some_and(|arguments| !arguments.is_empty());
            let figure = TABLE.operator(name, has_arguments);
            let figure = figure.ok_or_else(|| CostError::Unknown(name.to_owned()))?;
            self.add(figure.operator, figure.weight);
        }
        Ok(())
    }

    fn object(&mut self, members: &Map<String, Value>) -> Result<(), CostError> {
        members.values().try_for_each(|value| {
            self.add("members", TABLE.piece("member"));
            self.value(value)
        })
    }

    fn value(&mut self, value: &Value) -> Result<(), CostError> {
        match value {
            Value::Object(members) => self.object(members),
            Value::Array(items) => items.iter().try_for_each(|item| self.value(item)),
            Value::String(text) => self.text(text),
            _ => Ok(()),
        }
    }
}

/// What was measured of an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figure {
    operator: &'static str,
    weight: f64,
    bytes: usize,
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// `operator`; or what else was measured.
    pub kind: &'static str,
    pub name: &'static str,
    /// `None` where nothing was measured.
    pub weight: Option<f64>,
    /// The middle half of what was measured.
    pub spread: (&'static str, &'static str),
    /// 0 where nothing is printed.
    pub bytes: usize,
    /// What was measured; where nothing was, the operator or piece that it costs as much as.
    pub measured: &'static str,
}

/// All lines of the table.
pub(super) fn rows() -> &'static [Row] {
    &TABLE.rows
}

struct Table {
    rows: Vec<Row>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(SOURCE));

impl Table {
    /// Leaves out what cannot be read; a test proves that there is no such line.
    fn read(source: &'static str) -> Self {
        Self {
            rows: source.lines().skip(1).filter_map(row).collect(),
        }
    }

    fn row(&self, kind: &str, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.kind == kind && row.name == name)
    }

    /// The weight of a piece of a format that is no operator.
    fn piece(&self, name: &str) -> f64 {
        self.row("piece", name).and_then(|row| row.weight).unwrap_or_default()
    }

    /// The figure of an operator: that of its arguments, where they are a format of times.
    fn operator(&self, name: &str, has_arguments: bool) -> Option<Figure> {
        let row = self.row("operator", name)?;
        let own_format = format!("{name}, own format");
        let other = match row.weight {
            Some(_) if has_arguments => self.row("variant", &own_format),
            Some(_) => None,
            None => self
                .row("operator", row.measured)
                .or_else(|| self.row("piece", row.measured)),
        };
        let from = other.unwrap_or(row);
        Some(Figure {
            operator: row.name,
            weight: from.weight?,
            bytes: from.bytes,
        })
    }
}

fn row(line: &'static str) -> Option<Row> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [kind, name, weight, low, high, bytes, setting, measured] = *cells else {
        return None;
    };
    let weight = match setting {
        "like" => None,
        _ => Some(weight.parse().ok()?),
    };
    let bytes = match bytes {
        "" => 0,
        bytes => bytes.parse().ok()?,
    };
    Some(Row {
        kind,
        name,
        weight,
        spread: (low, high),
        bytes,
        measured,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::table::operator_names;

    fn cost_of(format: &CompiledFormat) -> Result<Cost, CostError> {
        cost(format, false, &Sample::default(), EnvoyVersion::NEWEST_KNOWN)
    }

    fn of_text(text: &str) -> Cost {
        cost_of(&CompiledFormat::Text(text.to_owned())).unwrap()
    }

    fn weight_of(name: &str) -> f64 {
        TABLE.operator(name, false).unwrap().weight
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn each_line_of_the_table_can_be_read_and_stands_once() {
        let unread: Vec<&str> = SOURCE.lines().skip(1).filter(|line| row(line).is_none()).collect();
        assert_eq!(unread, Vec::<&str>::new());
        let mut names: Vec<_> = TABLE.rows.iter().map(|row| (row.kind, row.name)).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn each_operator_of_the_operator_table_has_a_figure_and_the_pieces_have_one() {
        for name in operator_names() {
            let figure = TABLE.operator(name, false);
            assert!(figure.is_some_and(|figure| figure.weight > 0.0), "{name}: {figure:?}");
        }
        for name in ["literal", "member"] {
            assert!(TABLE.piece(name) > 0.0, "{name}");
        }
        let known: Vec<&str> = operator_names().collect();
        let of_operators = TABLE.rows.iter().filter(|row| row.kind == "operator");
        for row in of_operators {
            assert!(known.contains(&row.name), "there is no operator {}", row.name);
        }
    }

    #[test]
    fn weights_are_told_in_protocols() {
        assert!(close(weight_of("PROTOCOL"), 1.0), "{}", weight_of("PROTOCOL"));
    }

    #[test]
    fn what_was_not_measured_costs_as_what_its_line_names() {
        assert!(close(weight_of("TRAILER"), weight_of("RESP")));
        assert!(close(weight_of("KUMA_MESH"), TABLE.piece("literal")));
    }

    #[test]
    fn a_time_in_a_format_of_its_own_has_a_figure_of_its_own() {
        let variant = TABLE.row("variant", "START_TIME, own format").unwrap().weight.unwrap();
        assert!(close(of_text("%START_TIME(%Y)%").weight, variant));
        assert!(close(of_text("%START_TIME()%").weight, weight_of("START_TIME")));
        assert!(close(of_text("%REQ(:PATH)%").weight, weight_of("REQ")));
    }

    #[test]
    fn parts_add_up_and_the_heaviest_comes_first() {
        let cost = of_text("%START_TIME(%Y)% %% %REQ(:PATH)%, %REQ(X-A)%%PROTOCOL%\n");
        let count = |what: &str| cost.parts.iter().find(|part| part.what == what).map(|part| part.count);
        assert_eq!(
            (count("REQ"), count("START_TIME"), count("PROTOCOL")),
            (Some(2), Some(1), Some(1))
        );
        // ` %% ` is one, then `, ` and the newline.
        assert_eq!(count("literals"), Some(3));
        assert!(close(cost.parts.iter().map(|part| part.weight).sum(), cost.weight));
        assert!(cost.parts.is_sorted_by(|a, b| a.weight >= b.weight));
    }

    #[test]
    fn members_of_json_cost_too_on_every_level() {
        let format = json!({"a": "%PROTOCOL%", "b": {"c": "%PROTOCOL%", "d": 1}, "e": ["x"]});
        let cost = cost_of(&CompiledFormat::Json(format.as_object().unwrap().clone())).unwrap();
        let count = |what: &str| cost.parts.iter().find(|part| part.what == what).map(|part| part.count);
        assert_eq!(
            (count("members"), count("PROTOCOL"), count("literals")),
            (Some(5), Some(2), Some(1))
        );
    }

    #[test]
    fn bytes_are_those_of_the_preview_and_where_it_cannot_tell_those_measured() {
        assert_eq!(of_text("%PROTOCOL% %RESPONSE_CODE%\n").bytes, "HTTP/1.1 200\n".len());
        assert_eq!(of_text("%UNIQUE_ID% %UNIQUE_ID%\n").bytes, 36 + 1 + 36 + 1);
    }

    #[test]
    fn what_is_no_format_has_no_cost() {
        let refused = |text: &str| cost_of(&CompiledFormat::Text(text.to_owned())).unwrap_err();
        assert_eq!(refused("%NOPE%"), CostError::Unknown("NOPE".into()));
        assert!(matches!(refused("100%"), CostError::Unreadable(_)));
    }
}
