//! Istio's MeshConfig. istiod checks no format: what is wrong with one is found by the proxies, which refuse their
//! listeners.

use super::super::findings::{Judge, Use};
use super::super::located::Located;
use super::super::policies;
use crate::format::{Dialect, Form, Traffic, needs_extension};

/// Judges the text at `data.mesh`, wherever a ConfigMap has it: Istio's is named `istio`, or `istio-REVISION`.
pub fn judge_text(text: &Located, judge: &mut Judge) {
    if let Some(mesh) = embedded(text, judge) {
        judge_mesh_config(&mesh, judge);
    }
}

/// Judges a MeshConfig.
pub fn judge_mesh_config(mesh: &Located, judge: &mut Judge) {
    policies::mesh_config::note(mesh, judge);
    let encoding = mesh.either(["accessLogEncoding", "access_log_encoding"]);
    // Of the proto's enum, JSON is 1.
    let is_json = encoding.is_some_and(|encoding| matches!(encoding.node().as_str(), Some("JSON" | "1")));
    match mesh.either(["accessLogFormat", "access_log_format"]) {
        Some(format) if is_json => {
            if let Some(labels) = embedded(&format, judge) {
                judge_labels(&labels, judge);
            }
        }
        Some(format) => judge_line(&format, judge),
        None => {}
    }
    let providers = mesh.either(["extensionProviders", "extension_providers"]);
    for provider in providers.iter().flat_map(Located::items) {
        for names in [
            ["envoyFileAccessLog", "envoy_file_access_log"],
            ["envoyOtelAls", "envoy_otel_als"],
        ] {
            let kind = provider.either(names);
            if let Some(format) = kind.and_then(|kind| kind.either(["logFormat", "log_format"])) {
                judge_log_format(&format, judge);
            }
        }
    }
}

/// Text beside labels is not read in a file log: labels win. In an OTLP log both are.
fn judge_log_format(format: &Located, judge: &mut Judge) {
    if let Some(text) = format.get("text") {
        judge_line(&text, judge);
    }
    if let Some(labels) = format.get("labels") {
        judge_labels(&labels, judge);
    }
}

fn judge_line(text: &Located, judge: &mut Judge) {
    judge.format(text, used(Form::Line, false));
}

/// istiod looks for operators that need an extension in the outermost strings only, but adds it for all.
fn judge_labels(labels: &Located, judge: &mut Judge) {
    judge.keep_members(labels, Traffic::Both);
    let mut outermost = labels.node().members();
    let has_extensions = outermost.any(|(_, value)| value.as_string().is_some_and(needs_extension));
    for text in labels.strings() {
        judge.format(&text, used(Form::Value, has_extensions));
    }
}

const fn used(form: Form, has_extensions: bool) -> Use {
    Use {
        form,
        dialect: Dialect::Istio,
        traffic: Traffic::Both,
        has_extensions,
    }
}

/// The YAML or JSON that a string holds. One that holds none is a finding.
pub fn embedded(text: &Located, judge: &mut Judge) -> Option<Located> {
    text.embedded().unwrap_or_else(|error| {
        judge.unreadable(text, &format!("the text is {error}"));
        None
    })
}
