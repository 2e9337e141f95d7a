//! Kuma's policies, as Kubernetes has them and in universal form (`type: MeshAccessLog`), and the logging of its old Mesh.
//!
//! Kuma checks no format: it replaces its own operators as text, adds a newline to a line, and Envoy refuses the rest. Which
//! Kuma reads what is from its sources at 2.9.13, 2.13.10, 2.14.3 and 348b6528, which is to be 3.0.

use super::super::findings::{Judge, Use};
use super::super::located::Located;
use super::envoy;
use crate::format::{self, Dialect, Form, KumaVersion, Traffic};

/// The Kuma that drops `Mesh.logging` and `MeshAccessLog.from` without a word.
const WITHOUT_LEGACY: KumaVersion = KumaVersion::new(3, 0);

/// Whether a kind is one of Kuma's that is judged here: in universal form it is all that tells.
pub fn is_known(kind: &str) -> bool {
    matches!(kind, "Mesh" | "MeshAccessLog" | "MeshTrace")
}

/// Judges what stands in an object of this kind: its `spec`, or the whole of a Mesh in universal form.
pub fn judge(kind: &str, spec: &Located, judge: &mut Judge) {
    let version = version(judge);
    match kind {
        "MeshAccessLog" => judge_access_log(spec, version, judge),
        "MeshTrace" => judge_trace(spec, judge),
        "Mesh" if version < WITHOUT_LEGACY => {
            let backends = spec.at(&["logging", "backends"]);
            for backend in backends.iter().flat_map(Located::items) {
                if let Some(line) = backend.get("format") {
                    judge.format(&line, used(Form::Line, version));
                }
            }
        }
        _ => {}
    }
}

/// The oldest Kuma that reads the files.
fn version(judge: &mut Judge) -> KumaVersion {
    match judge.mesh() {
        Some(Dialect::Kuma(version)) => version,
        _ => KumaVersion::OLDEST_SUPPORTED,
    }
}

fn judge_access_log(spec: &Located, version: KumaVersion, judge: &mut Judge) {
    for part in ["to", "from", "rules"] {
        if part == "from" && version >= WITHOUT_LEGACY {
            continue;
        }
        for rule in spec.get(part).iter().flat_map(Located::items) {
            let backends = rule.at(&["default", "backends"]);
            for backend in backends.iter().flat_map(Located::items) {
                judge_backend(&backend, version, judge);
            }
        }
    }
}

/// The type says which member is read.
fn judge_backend(backend: &Located, version: KumaVersion, judge: &mut Judge) {
    let kind = backend.get("type");
    let is_read = |name: &str| match kind.as_ref().and_then(Located::as_string) {
        Some(kind) => kind.eq_ignore_ascii_case(name),
        None => true,
    };
    for member in ["tcp", "file"].into_iter().filter(|name| is_read(name)) {
        if let Some(format) = backend.at(&[member, "format"]) {
            judge_format(&format, version, judge);
        }
    }
    if let Some(otel) = backend.get("openTelemetry").filter(|_| is_read("openTelemetry")) {
        judge_otel(&otel, version, judge);
    }
}

/// Where `plain` stands beside `json`, it is what is read, whatever the type.
fn judge_format(format: &Located, version: KumaVersion, judge: &mut Judge) {
    if let Some(line) = format.get("plain") {
        if line.as_string() == Some("") {
            judge.unreadable(&line, "Kuma refuses an empty text");
        }
        return judge.format(&line, used(Form::Line, version));
    }
    for entry in format.get("json").iter().flat_map(Located::items) {
        for member in ["key", "value"] {
            let Some(text) = entry.get(member) else { continue };
            if text.as_string().is_some_and(|text| !fits_json(text)) {
                let why = "Kuma puts this between quotes of JSON as it is, and refuses what then is none: write quotes \
                           and backslashes as JSON does, and no line breaks";
                judge.unreadable(&text, why);
            } else if member == "value" {
                judge.format(&text, used(Form::Value, version));
            }
        }
    }
}

fn fits_json(text: &str) -> bool {
    serde_json::from_str::<String>(&format!("\"{text}\"")).is_ok()
}

fn judge_otel(otel: &Located, version: KumaVersion, judge: &mut Judge) {
    if let Some(body) = otel.get("body") {
        // What is no AnyValue of OpenTelemetry is sent as the JSON that it is, and all of that is a format.
        let values = envoy::any_values(&body);
        let texts = if values.is_empty() { body.strings() } else { values };
        for text in texts {
            judge.format(&text, used(Form::Value, version));
        }
    }
    for attribute in otel.get("attributes").iter().flat_map(Located::items) {
        let Some(text) = attribute.get("value") else { continue };
        judge.format(&text, used(Form::Value, version));
        for diagnostic in format::unreplaced_in_attribute(text.as_string().unwrap_or_default(), version) {
            judge.diagnostic(diagnostic, &text.source_map(), text.path());
        }
    }
}

/// A MeshTrace holds no format: what is wrong with its tags and its sampling, Kuma refuses.
fn judge_trace(spec: &Located, judge: &mut Judge) {
    let Some(conf) = spec.get("default") else { return };
    for tag in conf.get("tags").iter().flat_map(Located::items) {
        if tag.get("literal").is_some() == tag.get("header").is_some() {
            judge.unreadable(
                &tag,
                "Kuma refuses a tag that has not exactly one of `literal` and `header`",
            );
        }
        let header = tag.at(&["header", "name"]);
        if let Some(header) = header.filter(|header| header.as_string() == Some("")) {
            judge.unreadable(&header, "Envoy refuses a tag of a header without a name");
        }
    }
    for (_, share) in conf.get("sampling").iter().flat_map(Located::members) {
        let is_percentage = match share.as_string() {
            Some(text) => text.parse().is_ok_and(|share: f64| (0.0..=100.0).contains(&share)),
            None => share
                .node()
                .to_value()
                .as_i64()
                .is_some_and(|share| (0..=100).contains(&share)),
        };
        if !is_percentage {
            judge.unreadable(
                &share,
                "Kuma refuses this: a share of traces is a whole number from 0 to 100, or a decimal in quotes such as \"12.5\"",
            );
        }
    }
}

const fn used(form: Form, version: KumaVersion) -> Use {
    Use {
        form,
        dialect: Dialect::Kuma(version),
        traffic: Traffic::Both,
        has_extensions: false,
    }
}
