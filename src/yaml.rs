//! YAML in and out: one place that knows the library and its traps.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

/// YAML that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The text is no YAML.
    #[error("not valid YAML: {0}")]
    Read(String),
    /// The value has no YAML form.
    #[error("cannot be written as YAML: {0}")]
    Write(String),
}

/// Writes a value as block YAML. Strings that YAML 1.1 reads as booleans or numbers are quoted (Istio reads YAML 1.1:
/// a bare `n` was refused there, a bare `y` became `true`).
pub fn to_yaml(value: &Value) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|e| YamlError::Write(e.to_string()))
}

/// Writes a value as block YAML in which no text spans lines. Such lines can be indented and put anywhere: where a block
/// scalar stands last and the final newline is missing, readers disagree whether the text ends with one.
pub fn to_plain_lines(value: &Value) -> Result<String, YamlError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).map_err(|e| YamlError::Write(e.to_string()))
}

/// Writes a value as JSON that is flow YAML too: what JSON may hold as it is and YAML may not is escaped.
pub fn to_flow(value: &Value) -> String {
    let escaped = |c: char| match c {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            format!("\\u{:04x}", u32::from(c))
        }
        _ => c.to_string(),
    };
    let flow: Vec<String> = value.to_string().chars().map(escaped).collect();
    flow.concat()
}

/// Reads every document of a YAML text. Empty documents are left out.
///
/// The error names line and column and shows nothing of the text: there may be a Secret in it.
pub fn read_documents(text: &str) -> Result<Vec<Value>, YamlError> {
    read(text, DuplicateKeyPolicy::Error)
}

/// Reads like [`read_documents`], but of a key that stands twice the last one counts: so does Istio for MeshConfig.
pub fn read_leniently(text: &str) -> Result<Vec<Value>, YamlError> {
    read(text, DuplicateKeyPolicy::LastWins)
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Vec<Value>, YamlError> {
    let options = serde_saphyr::options! { duplicate_keys: duplicate_keys };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| YamlError::Read(error.without_snippet().to_string()))?;
    Ok(documents.into_iter().filter(|d| !d.is_null()).collect())
}

/// What an event of a text stands in.
enum Within {
    Sequence,
    /// How many nodes of it, keys and values, are behind.
    Mapping(usize),
}

/// Line, from 1, of the first merge key `<<` of the first document that stands behind another key of its mapping. There
/// readers disagree: to Istio's it replaces what stands before, to ours it does not.
pub fn late_merge(text: &str) -> Option<usize> {
    let options = granit_parser::options! { emit_comments: false };
    let mut within = Vec::new();
    for (event, span) in Parser::new_from_str_with_options(text, options).map_while(Result::ok) {
        let is_node = matches!(
            event,
            Event::Scalar(..) | Event::Alias(_) | Event::MappingStart(..) | Event::SequenceStart(..)
        );
        if is_node && let Some(Within::Mapping(nodes)) = within.last_mut() {
            let is_merge = matches!(&event, Event::Scalar(key, ScalarStyle::Plain, _, None) if key == "<<");
            if is_merge && *nodes > 0 && *nodes % 2 == 0 {
                return Some(span.start.line());
            }
            *nodes += 1;
        }
        match event {
            Event::MappingStart(..) => within.push(Within::Mapping(0)),
            Event::SequenceStart(..) => within.push(Within::Sequence),
            Event::MappingEnd | Event::SequenceEnd => drop(within.pop()),
            Event::DocumentEnd => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_flow_hold_no_line_break_and_read_back_whatever_the_text() {
        let value = serde_json::json!([{
            "y": "no", "text": "a\nb\n\n", "long": "a b ".repeat(100), "seps": "\u{85}\u{2028}\u{7f}\u{feff}\r\n\t\u{1}",
        }]);
        let lines = to_plain_lines(&value).unwrap();
        assert_eq!(lines.lines().count(), 4, "{lines}");
        let flow = to_flow(&value);
        assert!(flow.contains("\\u2028") && flow.contains("\\u007f"), "{flow}");
        assert_eq!(flow.lines().count(), 1, "{flow}");
        for text in [lines, flow] {
            assert_eq!(read_documents(&text).unwrap(), std::slice::from_ref(&value), "{text}");
        }
    }

    #[test]
    fn an_error_says_where_and_quotes_nothing_of_the_file() {
        let error = read_documents("stringData:\n  password: hunter2\n bad: [\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
