//! Envoy Gateway's EnvoyProxy: formats and filters of its access logs, texts of its spans.
//!
//! Envoy Gateway passes formats on as they are, without a newline, and adds the formatter extension where a string needs it
//! (`internal/xds/translator/accesslog.go` of envoyproxy/gateway at d32f2829). It parses filters; one that does not parse
//! takes all access logs with it.

use super::super::findings::{Judge, Use};
use super::super::located::Located;
use crate::format::{Dialect, Form, Traffic};

/// Judges `spec.telemetry`.
pub fn judge(proxy: &Located, judge: &mut Judge) {
    let Some(telemetry) = proxy.at(&["spec", "telemetry"]) else {
        return;
    };
    if let Some(log) = telemetry.get("accessLog").filter(|log| !is(log, "disable", "true")) {
        for setting in log.get("settings").iter().flat_map(Located::items) {
            judge_setting(&setting, judge);
        }
    }
    let tags = telemetry.at(&["tracing", "tags"]);
    let tags = tags.iter().flat_map(Located::members).map(|(_, text)| text);
    let names = telemetry.at(&["tracing", "spanName"]);
    let names = names.iter().flat_map(Located::members).map(|(_, text)| text);
    for text in tags.chain(names).filter(|text| text.as_string() != Some("")) {
        judge.span_text(&text);
    }
}

/// What of a format nobody reads is none: a gRPC sink has no use for any, and a file takes one of text and JSON.
fn judge_setting(setting: &Located, judge: &mut Judge) {
    let traffic = if is(setting, "type", "Upstream") {
        Traffic::Http
    } else {
        Traffic::Both
    };
    for expression in setting.get("matches").iter().flat_map(Located::items) {
        judge.filter(&expression, traffic);
    }
    let Some(format) = setting.get("format") else { return };
    let sinks = setting.get("sinks").map(|sinks| sinks.items()).unwrap_or_default();
    let has_sink = |kind| sinks.iter().any(|sink| is(sink, "type", kind));
    let (to_file, to_otlp) = (has_sink("File"), has_sink("OpenTelemetry"));
    let (is_text, is_json) = (is(&format, "type", "Text"), is(&format, "type", "JSON"));
    let used = |form| Use {
        form,
        dialect: Dialect::Envoy,
        traffic,
        has_extensions: true,
    };
    if let Some(text) = format.get("text") {
        if to_file && is_text {
            judge.format(&text, used(Form::Line));
        } else if to_otlp && !is_json {
            judge.format(&text, used(Form::Value));
        }
    }
    if (to_file || to_otlp) && !is_text {
        for text in format.get("json").iter().flat_map(Located::strings) {
            judge.format(&text, used(Form::Value));
        }
    }
}

fn is(value: &Located, key: &str, wanted: &str) -> bool {
    value.node().get(key).and_then(|member| member.as_str()) == Some(wanted)
}
