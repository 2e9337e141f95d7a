//! JSON as Envoy writes it: keys in order, numbers as doubles in their shortest form, and bytes that are no UTF-8 escaped.

use serde_json::{Map, Value};

/// Writes a value. Members are sorted by the bytes of their keys.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(truth) => out.extend(truth.to_string().into_bytes()),
        Value::Number(number) => out.extend(number_text(number.as_f64().unwrap_or_default()).into_bytes()),
        Value::String(text) => write_string(text.as_bytes(), out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (index, (key, member)) in sorted(members).into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(key.as_bytes(), out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
    }
}

/// The members in Envoy's order.
pub(super) fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    sorted
}

/// A string in quotes.
pub(super) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(bytes, out);
    out.push(b'"');
}

/// The inside of a string. Where the bytes are no UTF-8, each byte that is not plain ASCII is written as if it were a
/// character (`\u00c3`): so does Envoy, to one piece of a value at a time.
pub(super) fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let is_text = std::str::from_utf8(bytes).is_ok();
    for &byte in bytes {
        match byte {
            0x20..=0x7e if byte != b'"' && byte != b'\\' => out.push(byte),
            _ if !is_text => out.extend(format!("\\u{byte:04x}").into_bytes()),
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0x08 => out.extend(b"\\b"),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            0x0c => out.extend(b"\\f"),
            b'\r' => out.extend(b"\\r"),
            0x00..=0x1f => out.extend(format!("\\u{byte:04x}").into_bytes()),
            _ => out.push(byte),
        }
    }
}

/// The shortest decimal that reads back as the same double, in the shorter of its two notations: `100000` is `1e+05`.
pub(super) fn number_text(number: f64) -> String {
    if !number.is_finite() {
        return "null".to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    let scientific = format!("{mantissa}e{sign}{digits:0>2}");
    let fixed = if number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        number.to_string()
    };
    if fixed.len() <= scientific.len() {
        fixed
    } else {
        scientific
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// As Envoy 1.36.4 and 1.40.0 printed them.
    #[test]
    fn numbers_are_doubles_in_the_shorter_notation() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (12.0, "12"),
            (10_000.0, "10000"),
            (100_000.0, "1e+05"),
            (1_200_000.0, "1200000"),
            (12_300_000_000.0, "1.23e+10"),
            (1e15, "1e+15"),
            (1e21, "1e+21"),
            (123_456_789_012_345_678.0, "123456789012345680"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (0.001, "0.001"),
            (0.0001, "1e-04"),
            (0.00012, "0.00012"),
            (1e-7, "1e-07"),
            (-0.1, "-0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1_234_567.125, "1234567.125"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }

    #[test]
    fn keys_are_sorted_on_every_level() {
        let value = serde_json::json!({"z": 1, "a": {"q": [{"y": null, "b": true}], "é": 2, "k": ""}});
        assert_eq!(
            written(&value),
            r#"{"a":{"k":"","q":[{"b":true,"y":null}],"é":2},"z":1}"#
        );
    }

    #[test]
    fn bytes_that_are_no_utf8_are_escaped_one_by_one_and_what_stands_beside_them() {
        let escaped = |bytes: &[u8]| {
            let mut out = Vec::new();
            write_escaped(bytes, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            escaped("é\"\\\t\u{1}\u{7f}/<".as_bytes()),
            "é\\\"\\\\\\t\\u0001\u{7f}/<"
        );
        assert_eq!(escaped(b"\xc3\xa9\"\\\xff q"), "\\u00c3\\u00a9\\u0022\\u005c\\u00ff q");
    }
}
