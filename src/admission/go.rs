//! Values as Go's `fmt` and `encoding/json` print them in the API server's messages.

use serde_json::Value;

/// `%q`: a Go string literal.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if printable(c) => out.push(c),
            c => out.push_str(&code(u32::from(c))),
        }
    }
    out.push('"');
    out
}

fn code(c: u32) -> String {
    match c {
        ..0x80 => format!("\\x{c:02x}"),
        0x80..0x1_0000 => format!("\\u{c:04x}"),
        _ => format!("\\U{c:08x}"),
    }
}

/// Go's `strconv.IsPrint`, as far as Rust's own tables go: its debug form escapes what is not printable.
fn printable(c: char) -> bool {
    c == ' ' || c == '\'' || !c.is_whitespace() && c.escape_debug().len() == 1
}

/// A value in a message: strings quoted, numbers and booleans plain, the rest as JSON.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => json(other),
    }
}

/// `json.Marshal`: keys sorted, `<`, `>`, `&` and the two line separators of Unicode escaped.
pub(super) fn json(value: &Value) -> String {
    let text = sorted(value).to_string();
    [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ]
    .into_iter()
    .fold(text, |text, (c, escape)| text.replace(c, escape))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as j;

    #[test]
    fn strings_are_quoted_as_go_does() {
        assert_eq!(quote("a\"b\\c\n\t\u{1}'é"), r#""a\"b\\c\n\t\x01'é""#);
        assert_eq!(quote("\u{a0}\u{200b}\u{1f600}"), r#""\u00a0\u200b😀""#);
        assert_eq!(quote("\u{7f}"), r#""\x7f""#);
    }

    #[test]
    fn objects_are_json_with_sorted_keys_and_escaped_html() {
        assert_eq!(
            value(&j!({"b": "<&>", "a": [1, true, null]})),
            r#"{"a":[1,true,null],"b":"\u003c\u0026\u003e"}"#
        );
        assert_eq!(value(&j!(1.5)), "1.5");
    }
}
