//! What a format says on TCP connections, where there is no request, and what on HTTP alone.
//!
//! Seen by asking the `tcp_proxy` of Envoy 1.36, 1.37 and 1.40 for every operator: those of HTTP print `-` (text) or
//! `null` (JSON) there, counters `0`, `LOCAL_REPLY_BODY` nothing. CEL expressions are not looked into: `request.path`
//! prints `-` likewise.

use serde_json::Value;

use super::CompiledFormat;
use super::checker::{Written, coalesce_entries, coalesce_entry, coalesce_json};
use super::parser::{self, Part};
use super::setting::Traffic;
use super::table::{self, Grammar};

/// The operators of the format that say nothing on TCP connections, each once, in the order of the format.
///
/// `COALESCE` is one of them where all its entries are, `COMMON_DURATION` where one of its points is, `METADATA` where
/// it is that of a route or a virtual host.
pub fn http_operators(format: &CompiledFormat) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for string in strings(format) {
        for part in parser::parse(string).parts {
            let Part::Operator(operator) = part else { continue };
            let name = operator.name;
            if is_silent_on(&Written::of(&operator), Traffic::Tcp) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The strings of a format that Envoy reads.
pub(super) fn strings(format: &CompiledFormat) -> Vec<&str> {
    fn collect<'a>(value: &'a Value, strings: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => members.values().for_each(|member| collect(member, strings)),
            Value::String(text) => strings.push(text),
            _ => {}
        }
    }
    match format {
        CompiledFormat::Text(text) => vec![text],
        CompiledFormat::Json(fields) => {
            let mut strings = Vec::new();
            fields.values().for_each(|value| collect(value, &mut strings));
            strings
        }
    }
}

/// The points in time that TCP connections have, since Envoy 1.39; none before.
const TCP_TIME_POINTS: [&str; 5] = ["DS_CX_BEG", "DS_CX_END", "DS_RX_BEG", "US_CX_BEG", "US_CX_END"];

/// Whether an operator says nothing on traffic of this kind.
pub(super) fn is_silent_on(written: &Written<'_>, traffic: Traffic) -> bool {
    let Some(operator) = table::operator(written.name) else {
        return false;
    };
    let on_tcp = traffic == Traffic::Tcp;
    match operator.grammar {
        Grammar::Coalesce => coalesce_json(written.arguments).is_ok_and(|json| {
            let mut entries = coalesce_entries(&json).into_iter().flatten();
            entries.all(|entry| coalesce_entry(entry).is_ok_and(|written| is_silent_on(&written, traffic)))
        }),
        Grammar::CommonDuration if on_tcp => {
            let mut points = written.arguments.split(':').take(2);
            !points.all(|point| TCP_TIME_POINTS.contains(&point))
        }
        Grammar::Metadata if on_tcp => matches!(written.arguments.split(':').next(), Some("ROUTE" | "VIRTUAL_HOST")),
        _ => matches!(
            (operator.traffic, traffic),
            (Traffic::Http, Traffic::Tcp) | (Traffic::Tcp, Traffic::Http)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Vec<String> {
        http_operators(&CompiledFormat::Text(text.to_owned()))
    }

    #[test]
    fn http_operators_are_named_once_in_the_order_of_the_format() {
        let text =
            "%START_TIME% %REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT% %REQ(:METHOD)% %DOWNSTREAM_HANDSHAKE_DURATION%";
        assert_eq!(of_text(text), ["REQ", "RESPONSE_CODE"]);
        let json = serde_json::json!({"a": {"b": "%PROTOCOL%", "c": "%DURATION%"}, "d": "%REQ(X)% %PROTOCOL%"});
        let Value::Object(map) = json else { unreachable!() };
        assert_eq!(http_operators(&CompiledFormat::Json(map)), ["PROTOCOL", "REQ"]);
    }

    #[test]
    fn what_tcp_connections_print_is_not_called_an_http_operator() {
        for prints in [
            "%CLUSTER_METADATA(ns:k)%",
            "%DYNAMIC_METADATA(envoy.filters.network.rbac)%",
            "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "%METADATA(CLUSTER:ns:k)%",
            "%COMMON_DURATION(DS_RX_BEG:US_CX_END:us)%",
            r#"%COALESCE({"operators":["PROTOCOL","DURATION"]})%"#,
        ] {
            assert_eq!(of_text(prints), Vec::<String>::new(), "{prints}");
        }
    }

    #[test]
    fn operators_that_depend_on_their_arguments_are_judged_by_them() {
        for (silent, name) in [
            ("%METADATA(ROUTE:ns:k)%", "METADATA"),
            ("%COMMON_DURATION(DS_CX_BEG:DS_TX_END)%", "COMMON_DURATION"),
            (
                r#"%COALESCE({"operators":["PROTOCOL",{"command":"REQ","param":"X"}]})%"#,
                "COALESCE",
            ),
        ] {
            assert_eq!(of_text(silent), [name]);
        }
    }
}
