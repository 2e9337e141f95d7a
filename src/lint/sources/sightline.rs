//! Our own kinds: formats and filters of TrafficLogs, and the format of an ObservabilityMesh.

use serde::Deserialize;

use super::super::findings::Judge;
use super::super::located::Located;
use crate::crds::{LineFormat, LogFormat, LogMatch};
use crate::filter;
use crate::format::{self, Diagnostic, Dialect, Setting, Traffic};
use crate::policy::formats::{has_tcp_line, spec};
use crate::policy::traffic_log::to_match;

/// Judges an object of ours.
pub fn judge(kind: &str, document: &Located, judge: &mut Judge) {
    match kind {
        "TrafficLog" => {
            if let Some(format) = document.at(&["spec", "format"]) {
                judge_format(&format, judge);
            }
            if let Some(expression) = document.at(&["spec", "filter", "expression"]) {
                judge.own_filter(&expression, Traffic::Both);
            }
            if let Some(wanted) = document.at(&["spec", "filter", "match"]) {
                judge_match(&wanted, judge);
            }
        }
        "ObservabilityMesh" => {
            if let Some(format) = document.at(&["spec", "logging", "format"]) {
                judge_format(&format, judge);
            }
        }
        _ => {}
    }
}

fn judge_format(format: &Located, judge: &mut Judge) {
    let read = match LogFormat::deserialize(format.node().to_value()) {
        Ok(read) => read,
        Err(error) => return judge.unreadable(format, &format!("this is no format: {error}")),
    };
    let traffic = if has_tcp_line(&read) {
        Traffic::Http
    } else {
        Traffic::Both
    };
    judge_line(&read.line, format, traffic, judge);
    if let (Some(line), Some(tcp)) = (&read.tcp, format.get("tcp")) {
        judge_line(line, &tcp, Traffic::Tcp, judge);
    }
}

fn judge_line(line: &LineFormat, written: &Located, traffic: Traffic, judge: &mut Judge) {
    // What we render is read by a mesh, never by Envoy as it stands.
    let mesh = judge.mesh().filter(|mesh| *mesh != Dialect::Envoy);
    let dialect = mesh.unwrap_or(Dialect::Istio);
    let setting = Setting::new(dialect, judge.oldest()).with(traffic);
    let diagnostics: Vec<Diagnostic> = match format::compile(&spec(line), setting) {
        Ok(compiled) => {
            judge.keep(written, traffic, line.omit_empty_values, compiled.format);
            compiled.warnings
        }
        Err(errors) => errors.iter().cloned().collect(),
    };
    for diagnostic in diagnostics {
        let member = member(written, &diagnostic.path).unwrap_or_else(|| written.clone());
        judge.diagnostic(diagnostic, &member.source_map(), member.path());
    }
}

fn judge_match(written: &Located, judge: &mut Judge) {
    let wanted = match LogMatch::deserialize(written.node().to_value()) {
        Ok(wanted) => wanted,
        Err(error) => return judge.unreadable(written, &format!("this is no match: {error}")),
    };
    match to_match(&wanted).map(|wanted| filter::from_match(&wanted)) {
        None => judge.unreadable(written, "`minDuration` is no span of time; write one such as 500ms"),
        Some(Err(error)) => judge.bad_match(written, error),
        Some(Ok(_)) => {}
    }
}

/// The member of a format that the compiler's path leads to: `text`, `fields[tenant].value`, `omit[user_agent]`.
fn member(format: &Located, path: &str) -> Option<Located> {
    let Some((list, rest)) = path.split_once('[') else {
        return format.get(path);
    };
    let (name, key) = rest.rsplit_once(']')?;
    let is_named = |entry: &Located| {
        let own = entry.get("name").unwrap_or_else(|| entry.clone());
        own.as_string() == Some(name)
    };
    let entry = format.get(list)?.items().into_iter().find(is_named)?;
    match key.strip_prefix('.') {
        Some(key) => entry.get(key),
        None => Some(entry),
    }
}
