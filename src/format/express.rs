//! What a place that a format goes to cannot say: typed, so that whoever renders for it can tell the user.

use std::fmt;

use serde_json::{Map, Value};

use super::CompiledFormat;
use super::connection;
use super::parser::{self, Part};
use super::table::{self, JsonType};

/// Something of a format that its target does not say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inexpressible {
    /// Kuma replaces this operator, and nothing means the same elsewhere.
    KumaOperator(String),
    /// The operator needs an extension of Envoy that the target does not configure.
    Extension(String),
    /// Text between operators has no place among fields.
    Literal(String),
    /// The field is a number, or what its operator reads, and becomes a string.
    Type(String),
    /// The field is inside an object and becomes one whose name has dots.
    Nesting(String),
    /// The field has no value, which the target refuses.
    EmptyValue(String),
    /// Kmesh writes a line of its own, which does not hold what this operator says.
    KmeshLine(String),
}

impl fmt::Display for Inexpressible {
    /// A sentence without its capital and full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KumaOperator(name) => write!(f, "only Kuma knows `{name}`, and nothing means the same in this mesh"),
            Self::Extension(name) => write!(
                f,
                "`{name}` needs an extension of Envoy that this mesh does not configure"
            ),
            Self::Literal(text) => write!(f, "the text `{text}` is no field"),
            Self::Type(field) => write!(f, "`{field}` becomes a string"),
            Self::Nesting(field) => write!(f, "`{field}` is not nested: its name has dots"),
            Self::EmptyValue(field) => write!(f, "`{field}` has no value and is left out"),
            Self::KmeshLine(name) => write!(f, "Kmesh writes lines of its own, which do not hold `{name}`"),
        }
    }
}

/// What a target can say of a format, and what it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expressed<T> {
    /// What it says.
    pub value: T,
    /// What is lost or changed, each once, in the order of the format.
    pub lost: Vec<Inexpressible>,
}

impl<T> Expressed<T> {
    pub(super) fn new(value: T, lost: Vec<Inexpressible>) -> Self {
        let mut once: Vec<Inexpressible> = Vec::with_capacity(lost.len());
        for one in lost {
            if !once.contains(&one) {
                once.push(one);
            }
        }
        Self { value, lost: once }
    }
}

/// What an OTLP log record does not keep of a format: Istio sends every attribute as a string
/// (`reference/targets.md` §1.5), and attributes are flat. The body of a text loses nothing.
pub fn lost_in_otlp(format: &CompiledFormat) -> Vec<Inexpressible> {
    let CompiledFormat::Json(fields) = format else {
        return Vec::new();
    };
    let mut lost = Vec::new();
    walk(fields, &mut Vec::new(), &mut |path, value| {
        let name = path.join(".");
        if path.len() > 1 {
            lost.push(Inexpressible::Nesting(name.clone()));
        }
        if is_typed(value) {
            lost.push(Inexpressible::Type(name));
        }
    });
    lost
}

/// Calls `found` with the path and the string of every value.
pub(super) fn walk<'f>(
    fields: &'f Map<String, Value>,
    path: &mut Vec<&'f str>,
    found: &mut impl FnMut(&[&'f str], &'f str),
) {
    for (name, value) in fields {
        path.push(name);
        match value {
            Value::Object(inner) => walk(inner, path, found),
            Value::String(text) => found(path, text),
            _ => {}
        }
        path.pop();
    }
}

/// Whether the value is one operator alone that is no string in JSON.
fn is_typed(value: &str) -> bool {
    let parsed = parser::parse(value);
    let [Part::Operator(operator)] = parsed.parts.as_slice() else {
        return false;
    };
    table::operator(operator.name).is_some_and(|operator| operator.json != JsonType::String)
}

/// What Kmesh's line holds of what operators say: its format is fixed and knows connections only
/// (`accesslog: TIME src.addr=…, dst.addr=…, …`; Kmesh 1.0 to 1.2).
const KMESH_LINE: [(&str, &str); 10] = [
    ("START_TIME", "start_time"),
    ("DURATION", "duration"),
    ("BYTES_SENT", "sent_bytes"),
    ("BYTES_RECEIVED", "received_bytes"),
    ("DOWNSTREAM_REMOTE_ADDRESS", "src.addr"),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "src.addr"),
    ("UPSTREAM_HOST", "dst.addr"),
    ("UPSTREAM_REMOTE_ADDRESS", "dst.addr"),
    ("KUMA_DESTINATION_SERVICE", "dst.service"),
    ("KUMA_TRAFFIC_DIRECTION", "direction"),
];

/// What the fixed line of Kmesh says of a format: the names of its fields, and the operators that it has nothing for.
pub fn in_kmesh(format: &CompiledFormat) -> Expressed<Vec<&'static str>> {
    let (mut fields, mut lost) = (Vec::new(), Vec::new());
    for string in connection::strings(format) {
        for part in parser::parse(string).parts {
            let Part::Operator(operator) = part else { continue };
            match KMESH_LINE.iter().find(|(name, _)| *name == operator.name) {
                Some((_, field)) if !fields.contains(field) => fields.push(*field),
                Some(_) => {}
                None => lost.push(Inexpressible::KmeshLine(operator.name.to_owned())),
            }
        }
    }
    Expressed::new(fields, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: Value) -> CompiledFormat {
        let Value::Object(map) = value else { unreachable!() };
        CompiledFormat::Json(map)
    }

    #[test]
    fn an_otlp_record_turns_numbers_into_strings_and_objects_into_dots() {
        let format = json(serde_json::json!({
            "status": "%RESPONSE_CODE%",
            "state": "%FILTER_STATE(x)%",
            "method": "%REQ(:METHOD)%",
            "took": "%DURATION%ms",
            "constant": "1",
            "http": {"path": "%PATH%", "sent": "%BYTES_SENT%"},
        }));
        let said: Vec<String> = lost_in_otlp(&format).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "`status` becomes a string",
                "`state` becomes a string",
                "`http.path` is not nested: its name has dots",
                "`http.sent` is not nested: its name has dots",
                "`http.sent` becomes a string",
            ]
        );
        assert_eq!(lost_in_otlp(&CompiledFormat::Text("%RESPONSE_CODE%\n".to_owned())), []);
    }

    #[test]
    fn kmesh_says_what_its_fixed_line_holds_and_nothing_of_requests() {
        let text = "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %DURATION% %BYTES_SENT%\n";
        let said = in_kmesh(&CompiledFormat::Text(text.to_owned()));
        assert_eq!(said.value, ["start_time", "duration", "sent_bytes"]);
        assert_eq!(said.lost, [Inexpressible::KmeshLine("REQ".to_owned())]);
        assert_eq!(
            said.lost.first().map(ToString::to_string).as_deref(),
            Some("Kmesh writes lines of its own, which do not hold `REQ`")
        );
    }
}
