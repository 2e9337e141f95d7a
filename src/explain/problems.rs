//! Conditions that are not as they should be, and what compilers say, with the place.

use std::ops::Range;

use super::Eye;
use super::model::{ConditionSeen, Detail, Origin, PolicySeen, Problem};
use crate::codes::{About, code};
use crate::conditions::{ConditionType, Finding, Reason, Truth};
use crate::crds::{LineFormat, LogFormat, ObservabilityMesh, TrafficLog};
use crate::filter;
use crate::format::{Diagnostic, EnvoyVersion};
use crate::plan::Target;
use crate::policy::formats::{self, oldest_envoy};
use crate::policy::membership::{istio_of, mesh_of};
use crate::snapshot::{Key, View};

/// The resource that a target judges.
pub(super) fn origin_of(target: &Target) -> Origin {
    match target {
        Target::Mesh(name) => Origin::of_key("ObservabilityMesh", &Key::new("", name)),
        Target::TrafficLog(key) => Origin::of_key("TrafficLog", key),
        Target::TracingBackend(key) => Origin::of_key("TracingBackend", key),
        other => Origin::of_key(other.kind(), &Key::new("", "")),
    }
}

/// The conditions of a resource as its status has them, or would.
pub(super) fn conditions(eye: &Eye<'_, '_>, target: &Target) -> Vec<ConditionSeen> {
    let findings = findings(eye, target);
    findings.iter().map(|finding| condition(eye, target, finding)).collect()
}

fn findings(eye: &Eye<'_, '_>, target: &Target) -> Vec<Finding> {
    eye.status(target).map(|status| status.findings).unwrap_or_default()
}

fn condition(eye: &Eye<'_, '_>, target: &Target, finding: &Finding) -> ConditionSeen {
    let is_refused = finding.type_ == ConditionType::Accepted && finding.status != Truth::True;
    let is_warned = finding.reason == Reason::AcceptedWithWarnings;
    ConditionSeen {
        condition: finding.type_.as_str().into(),
        status: format!("{:?}", finding.status),
        reason: finding.reason.as_str().into(),
        message: finding.message.clone(),
        details: if is_refused || is_warned {
            details(eye.view, target, finding.reason)
        } else {
            Vec::new()
        },
    }
}

/// A policy and its condition `Ready`.
pub(super) fn policy_seen(eye: &Eye<'_, '_>, target: &Target) -> PolicySeen {
    let findings = findings(eye, target);
    let ready = findings.iter().find(|f| f.type_ == ConditionType::Ready);
    PolicySeen {
        of: origin_of(target),
        ready: ready.map_or_else(|| "Unknown".into(), |f| format!("{:?}", f.status)),
        reason: ready.map(|f| f.reason.as_str().to_owned()).unwrap_or_default(),
    }
}

/// What is wrong with some resources, or odd. `Ready` only repeats another condition; whether agents are in sync is of no concern
/// where `agents` is not set.
pub(super) fn problems<'t>(
    eye: &Eye<'_, '_>,
    targets: impl IntoIterator<Item = &'t Target>,
    agents: bool,
) -> Vec<Problem> {
    let is_wrong = |finding: &Finding| match finding.type_ {
        ConditionType::Ready => false,
        ConditionType::PartiallyOverridden | ConditionType::PartiallyExpressed => finding.status == Truth::True,
        ConditionType::AgentsInSync => agents && finding.status != Truth::True,
        _ => finding.status != Truth::True || finding.reason == Reason::AcceptedWithWarnings,
    };
    let of_target = |target: &Target| {
        let problem = |finding: &Finding| Problem {
            of: origin_of(target),
            condition: condition(eye, target, finding),
        };
        let findings = findings(eye, target);
        findings.iter().filter(|f| is_wrong(f)).map(problem).collect::<Vec<_>>()
    };
    targets.into_iter().flat_map(of_target).collect()
}

/// What the compilers say of a resource that was refused for it, or accepted with warnings.
fn details(view: &View<'_>, target: &Target, reason: Reason) -> Vec<Detail> {
    let of_compilers = [
        Reason::InvalidFormat,
        Reason::FormatUnsupported,
        Reason::InvalidFilter,
        Reason::AcceptedWithWarnings,
    ];
    let said = if reason == Reason::AcceptedWithWarnings {
        warnings
    } else {
        errors
    };
    if !of_compilers.contains(&reason) {
        return Vec::new();
    }
    match target {
        Target::TrafficLog(key) => {
            let logs = view.traffic_logs_in(&key.namespace);
            let log = logs.into_iter().find(|(k, _)| *k == key).map(|(_, log)| log);
            log.map(|log| of_log(view, key, log, said)).unwrap_or_default()
        }
        Target::Mesh(name) => view
            .mesh(name)
            .and_then(|mesh| {
                Some(of_format(
                    "spec.logging.format",
                    &mesh.spec.logging.format,
                    oldest(view, mesh)?,
                    said,
                ))
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn oldest(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<EnvoyVersion> {
    oldest_envoy(view, mesh, &istio_of(mesh)?).ok()
}

/// What is said of a format, each with its path below the format: empty, or `.tcp`.
type Said = fn(&LogFormat, EnvoyVersion) -> Vec<(&'static str, Diagnostic)>;

fn errors(format: &LogFormat, oldest: EnvoyVersion) -> Vec<(&'static str, Diagnostic)> {
    match formats::lines(format, oldest) {
        Ok(_) => Vec::new(),
        Err(bad) => bad.errors.iter().map(|error| (bad.path, error.clone())).collect(),
    }
}

fn warnings(format: &LogFormat, oldest: EnvoyVersion) -> Vec<(&'static str, Diagnostic)> {
    let lines = formats::lines(format, oldest);
    let warnings = lines.into_iter().flat_map(|lines| lines.warnings);
    warnings.map(|warning| (warning.path, warning.diagnostic)).collect()
}

fn of_log(view: &View<'_>, key: &Key, log: &TrafficLog, said: Said) -> Vec<Detail> {
    let Ok(mesh) = mesh_of(view, &key.namespace, log.spec.mesh_ref.as_ref()) else {
        return Vec::new();
    };
    let Some(oldest) = oldest(view, mesh) else {
        return Vec::new();
    };
    let expression = log.spec.filter.as_ref().and_then(|filter| filter.expression.as_deref());
    let of_filter = expression.and_then(|expression| of_expression(expression, oldest));
    let own = log.spec.format.as_ref();
    let of_own = own
        .map(|own| of_format("spec.format", own, oldest, said))
        .unwrap_or_default();
    // Where its own is right, it is the mesh's that it was refused for.
    let of_mesh = || {
        of_format(
            "spec.logging.format of the mesh",
            &mesh.spec.logging.format,
            oldest,
            said,
        )
    };
    let all: Vec<Detail> = of_filter.into_iter().chain(of_own).collect();
    if all.is_empty() { of_mesh() } else { all }
}

fn of_expression(expression: &str, oldest: EnvoyVersion) -> Option<Detail> {
    let error = filter::check(expression, oldest).err()?;
    let source = expression.trim();
    let (line, carets) = error.place.clone().and_then(|place| marked(source, &place)).unzip();
    Some(Detail {
        path: "spec.filter.expression".into(),
        message: format!("{}: {}", code(About::Filter(error.kind)).id, error.message),
        line,
        carets,
    })
}

fn of_format(path: &str, format: &LogFormat, oldest: EnvoyVersion, said: Said) -> Vec<Detail> {
    let detail = |(below, diagnostic): (&'static str, Diagnostic)| {
        let line = format.lines().find(|(name, _)| *name == below).map(|(_, line)| line);
        let source = line.and_then(|line| source_of(line, &diagnostic.path));
        let marked = source.and_then(|source| marked(source, &diagnostic.span));
        let (line, carets) = marked.unzip();
        Detail {
            path: format!("{path}{below}.{}", diagnostic.path),
            message: format!(
                "{}: {}; {}",
                code(About::Format(diagnostic.kind)).id,
                diagnostic.message,
                diagnostic.help
            ),
            line,
            carets,
        }
    };
    said(format, oldest).into_iter().map(detail).collect()
}

/// The text of the member that a diagnostic is about: `text`, `fields[NAME].value` or `fields[NAME].name`.
pub(crate) fn source_of<'l>(line: &'l LineFormat, path: &str) -> Option<&'l str> {
    if path == "text" {
        return line.text.as_deref();
    }
    let member = path.strip_prefix("fields[")?;
    if let Some(name) = member.strip_suffix("].value") {
        let field = line.fields.iter().find(|field| field.name == name)?;
        return Some(&field.value);
    }
    let name = member.strip_suffix("].name")?;
    let field = line.fields.iter().find(|field| field.name == name)?;
    Some(&field.name)
}

/// The line of a text in which a place begins, and carets to put below it.
pub(crate) fn marked(source: &str, place: &Range<usize>) -> Option<(String, String)> {
    let start = source.get(..place.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = source.get(start..)?.lines().next().unwrap_or_default();
    let before = source.get(start..place.start)?;
    let meant = source.get(place.clone())?.lines().next().unwrap_or_default();
    if meant.is_empty() {
        return None;
    }
    // A character that prints nothing, or far, would move what stands below it.
    let plain = |text: &str| {
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect::<String>()
    };
    let blanks = " ".repeat(before.chars().count());
    let carets = "^".repeat(meant.chars().count());
    Some((plain(line), format!("{blanks}{carets}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_below_what_is_meant_by_characters_and_on_its_own_line() {
        let at = |source: &str, place: Range<usize>| marked(source, &place).unwrap();
        assert_eq!(at("é %REQQ% x", 3..9), ("é %REQQ% x".into(), "  ^^^^^^".into()));
        assert_eq!(at("a\nb\t%X%\nc", 4..7), ("b %X%".into(), "  ^^^".into()));
        assert_eq!(marked("abc", &(1..1)), None, "the member as a whole is meant");
    }
}
