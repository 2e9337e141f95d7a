//! Checks a TrafficLog against its mesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::backends::{log_backend, log_target};
use super::claims::{Checked, LogClaim, PolicyKind, Selection, Side, Source, rejected};
use super::formats::{self, Lines};
use super::kmesh;
use super::membership::{self, name_of};
use super::proxies::{self, Proxies};
use super::targets::{self, Place};
use crate::codes::Coded;
use crate::conditions::{Finding, Reason};
use crate::crds::{LogFilter, LogMatch, ObservabilityMesh, Permission, TrafficLog};
use crate::filter;
use crate::format::{EnvoyVersion, Setting};
use crate::snapshot::{Key, View};

/// Checks a TrafficLog against its mesh.
pub fn check<'a>(view: &View<'a>, key: &Key, log: &TrafficLog) -> Checked<'a, LogClaim> {
    let spec = &log.spec;
    let mesh = match membership::mesh_of(view, &key.namespace, spec.mesh_ref.as_ref()) {
        Ok(mesh) => mesh,
        Err(error) => return Checked::not_a_member(error),
    };
    let Some(proxies) = Proxies::of(mesh) else {
        let message = format!(
            "ObservabilityMesh {} is of type None: there is no proxy that could log. Remove this TrafficLog, or use a mesh of type Istio.",
            name_of(mesh)
        );
        return Checked::failed_for_good(mesh, rejected(Reason::NotExpressible, message));
    };
    match &proxies {
        Proxies::Kmesh(daemons, _) if spec.target_refs.is_empty() => {
            return kmesh::check_log(mesh, daemons, key, log);
        }
        Proxies::Kmesh(_, None) => return Checked::failed_for_good(mesh, kmesh::no_waypoints(mesh)),
        Proxies::Kmesh(_, Some(_)) | Proxies::Istio(_) | Proxies::Kuma(_) => {}
    }
    let selection = Selection::new(spec.selector.as_ref(), &spec.target_refs);
    let Place { is_tenant, selection } = match targets::place(view, key, mesh, &proxies, selection) {
        Ok(place) => place,
        Err(refused) => return *refused,
    };
    let (sides, lost) = proxies::sides(&proxies, Side::of(spec.direction));
    let lost = lost.map(|why| format!("spec.direction ({why})"));
    if sides.is_empty() {
        let message = format!(
            "Nothing is left of it: {}; set spec.direction to Outbound or Both.",
            lost.unwrap_or_default()
        );
        return Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message));
    }
    let claim = LogClaim {
        source: Source::new(PolicyKind::TrafficLog, key, &log.metadata),
        mesh: name_of(mesh).to_owned(),
        selection,
        priority: spec.priority,
        sides,
        backends: BTreeMap::new(),
    };
    let mut checked = if spec.disabled {
        switched_off(mesh, claim, is_tenant)
    } else {
        logged(view, mesh, &proxies, log, claim, is_tenant)
    };
    checked.not_expressed.extend(lost);
    checked
}

fn switched_off(mesh: &Arc<ObservabilityMesh>, claim: LogClaim, is_tenant: bool) -> Checked<'_, LogClaim> {
    if is_tenant && mesh.spec.tenancy.disable_logging == Permission::Denied {
        let message = format!(
            "spec.disabled: ObservabilityMesh {} does not let tenants switch logging off (tenancy.disableLogging: Denied); remove spec.disabled, or ask the platform team.",
            name_of(mesh)
        );
        return Checked::failed_for_good(mesh, rejected(Reason::LimitedByMesh, message));
    }
    Checked {
        keeps_last_good: false,
        ..Checked::good(mesh, Some(claim))
    }
}

fn logged<'a>(
    view: &View<'a>,
    mesh: &'a Arc<ObservabilityMesh>,
    proxies: &Proxies,
    log: &TrafficLog,
    claim: LogClaim,
    is_tenant: bool,
) -> Checked<'a, LogClaim> {
    let spec = &log.spec;
    let setting = match proxies.setting(view, mesh) {
        Ok(setting) => setting,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    // What is known of attributes begins with the oldest Envoy that Istio's proxies may be; in Kuma's no filter gets there.
    let oldest = setting.oldest.max(EnvoyVersion::OLDEST_SUPPORTED);
    let filter = match spec
        .filter
        .as_ref()
        .map(|filter| compile_filter(filter, oldest))
        .transpose()
    {
        Ok(filter) => filter,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    let (own_format, limited) = formats::permitted(mesh, spec.format.as_ref(), is_tenant);
    let (lines, noted) = match lines_of(mesh, own_format, setting) {
        Ok(lines) => lines,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    let names = if spec.backends.is_empty() {
        mesh.spec.logging.effective_default_backends()
    } else {
        spec.backends.clone()
    };
    let mut checked = Checked::good(mesh, Some(claim));
    checked.limited = limited;
    let filter = filter.filter(|_| {
        let is_said = !matches!(proxies, Proxies::Kuma(_));
        if !is_said {
            checked
                .not_expressed
                .push("spec.filter (Kuma has no filter: all is logged)".to_owned());
        }
        is_said
    });
    for name in names {
        let target = log_backend(mesh, "spec.backends", &name)
            .and_then(|backend| log_target(view, mesh, backend, &lines, filter.as_deref()));
        let target = match target {
            Ok(target) => target,
            Err(finding) => return Checked::failed(Some(mesh), finding),
        };
        if target.has_no_format && spec.format.is_some() {
            checked.not_expressed.push(format!(
                "spec.format (on backend {name} Envoy fixes what an entry holds)"
            ));
        }
        if target.ignores_omit_empty && own_format.is_some() {
            checked
                .not_expressed
                .push(format!("spec.format.omitEmptyValues (backend {name} is no file)"));
        }
        if let Some(why) = target.unsupported {
            checked.not_expressed.push(format!("spec.backends {name} ({why})"));
            continue;
        }
        let lost = target.lost.iter().filter(|_| own_format.is_some());
        for path in lost.map(|lost| format!("spec.format{lost}")) {
            if !checked.not_expressed.contains(&path) {
                checked.not_expressed.push(path);
            }
        }
        let written = checked.claim.as_ref().and_then(|claim| claim.backends.keys().next());
        if let Some(written) = written.filter(|_| names_one_backend(proxies)) {
            checked.not_expressed.push(format!(
                "spec.backends {name} (a TrafficLog of kuma.io names one backend: {written})"
            ));
            continue;
        }
        checked.providers.extend(target.providers);
        checked.claim.iter_mut().for_each(|claim| {
            claim.backends.insert(name.clone(), target.entries.clone());
        });
    }
    if checked.claim.as_ref().is_some_and(|claim| claim.backends.is_empty()) {
        let message = format!(
            "Nothing is left of it: {}; name a backend of another type.",
            checked.not_expressed.join(", ")
        );
        return Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message));
    }
    checked.but(noted)
}

const fn names_one_backend(proxies: &Proxies) -> bool {
    matches!(proxies, Proxies::Kuma(kuma) if kuma.legacy)
}

/// The lines of a policy's own format, else of the mesh's. A format that a newer proxy would take is withdrawn to the
/// mesh's, and the finding says so: what is live would make the oldest proxy refuse its listener. Of what the own format
/// warns of, the finding says too; what the mesh's does, the mesh says.
fn lines_of(
    mesh: &ObservabilityMesh,
    own: Option<&crate::crds::LogFormat>,
    setting: Setting,
) -> Result<(Lines, Option<Finding>), Finding> {
    let Some(own) = own else {
        return Ok((mesh_lines(mesh, setting)?, None));
    };
    match formats::lines(own, setting) {
        Ok(lines) => {
            let warned = lines.warned("spec.format");
            Ok((lines, warned))
        }
        Err(bad) => {
            let finding = bad_format(&format!("spec.format{}", bad.path), &bad);
            if finding.reason == Reason::FormatUnsupported {
                Ok((mesh_lines(mesh, setting)?, Some(finding)))
            } else {
                Err(finding)
            }
        }
    }
}

/// The lines of the mesh's own format. Where the oldest proxy does not know it, Istio's default: logging goes on, and the
/// mesh is told.
///
/// # Errors
/// The finding where it does not compile for any proxy.
pub fn mesh_lines(mesh: &ObservabilityMesh, setting: Setting) -> Result<Lines, Finding> {
    let path = format!("spec.logging.format of ObservabilityMesh {}", name_of(mesh));
    let compiled = formats::lines(&mesh.spec.logging.format, setting);
    match compiled {
        Err(bad) if bad.errors.is_unsupported() => formats::lines(&crate::crds::LogFormat::default(), setting),
        other => other,
    }
    .map_err(|bad| bad_format(&format!("{path}{}", bad.path), &bad))
}

/// The finding of a format that does not compile.
pub fn bad_format(place: &str, bad: &formats::BadFormat) -> Finding {
    let reason = if bad.errors.is_unsupported() {
        Reason::FormatUnsupported
    } else {
        Reason::InvalidFormat
    };
    rejected(reason, format!("{place}: {}", Coded(bad.errors.as_ref())))
}

fn compile_filter(filter: &LogFilter, oldest: EnvoyVersion) -> Result<String, Finding> {
    let bad = |path: &str, error: &dyn std::fmt::Display| {
        rejected(Reason::InvalidFilter, format!("spec.filter.{path}: {error}"))
    };
    if let Some(expression) = &filter.expression {
        return filter::check(expression, oldest).map_err(|error| bad("expression", &Coded(&error)));
    }
    let Some(wanted) = &filter.match_ else {
        return Err(bad(
            "type",
            &"the member of that type is missing; apply the TrafficLog again.",
        ));
    };
    let Some(wanted) = to_match(wanted) else {
        return Err(bad(
            "match.minDuration",
            &"this is no span of time; write one such as 500ms.",
        ));
    };
    filter::from_match(&wanted).map_err(|error| bad("match", &Coded(&error)))
}

/// Properties as filters are made of; `None` where `minDuration` is no span of time.
pub fn to_match(wanted: &LogMatch) -> Option<filter::Match> {
    let min_duration = match &wanted.min_duration {
        None => None,
        Some(span) => Some(span.get()?),
    };
    Some(filter::Match {
        min_status: wanted.min_status.and_then(|status| u16::try_from(status).ok()),
        min_duration,
        methods: wanted.methods.clone(),
        hosts: wanted.hosts.clone(),
        path_prefixes: wanted.path_prefixes.clone(),
        response_flags: wanted.response_flags.clone(),
        include_tcp: wanted.include_tcp,
    })
}
