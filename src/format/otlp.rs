//! A compiled format as an OTLP log record has it: a text is the body, the fields of JSON are attributes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::CompiledFormat;

/// What of a log record a format makes. Envoy takes the same strings here as in a file's format (seen in 1.36 and 1.40).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtlpFormat {
    /// The body, without the newline that ends a line. Never empty: Istio would take its default text.
    Body(String),
    /// Attributes by name; their order means nothing. All values are strings, of single operators too: Istio writes
    /// anything else as an empty string (`reference/targets.md` §1.5), and a body, by default its own text.
    Attributes(BTreeMap<String, String>),
}

/// The format for an OTLP log record. Nothing is lost: the nested field `a.b` becomes the attribute `a.b`.
pub fn otlp_attributes(format: &CompiledFormat) -> OtlpFormat {
    match format {
        CompiledFormat::Text(text) => {
            let body = text.strip_suffix('\n').filter(|body| !body.is_empty());
            OtlpFormat::Body(body.unwrap_or(text).to_owned())
        }
        CompiledFormat::Json(fields) => {
            let mut attributes = BTreeMap::new();
            flatten("", fields, &mut attributes);
            OtlpFormat::Attributes(attributes)
        }
    }
}

/// No two fields meet in one attribute: names are given once, and a nested one is the path to its value.
fn flatten(prefix: &str, fields: &Map<String, Value>, attributes: &mut BTreeMap<String, String>) {
    for (key, value) in fields {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), inner, attributes),
            Value::String(text) => {
                attributes.insert(name, text.clone());
            }
            constant => {
                attributes.insert(name, constant.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_body_without_its_newline_but_never_an_empty_one() {
        for (text, body) in [("a %PROTOCOL%\n", "a %PROTOCOL%"), ("a\n\n", "a\n"), ("\n", "\n")] {
            let made = otlp_attributes(&CompiledFormat::Text(text.to_owned()));
            assert_eq!(made, OtlpFormat::Body(body.to_owned()));
        }
    }

    #[test]
    fn json_fields_are_flat_attributes_and_nested_names_have_dots() {
        let json = serde_json::json!({"status": "%RESPONSE_CODE%", "http": {"request": {"method": "%REQ(:METHOD)%"}}});
        let Value::Object(map) = json else { unreachable!() };
        let expected = [("http.request.method", "%REQ(:METHOD)%"), ("status", "%RESPONSE_CODE%")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            otlp_attributes(&CompiledFormat::Json(map)),
            OtlpFormat::Attributes(expected.into())
        );
    }
}
