//! Checks a TracingBackend against its mesh: the part that concerns the mesh's proxies.

use super::backends::{NO_OTLP_SPANS, SpanReceiver, receiver, sampled_provider};
use super::claims::{Checked, DEFAULT_SAMPLING, PolicyKind, Selection, Source, TraceClaim, rejected};
use super::environment;
use super::formats::{BadFormat, oldest_envoy};
use super::kmesh;
use super::membership::{self, name_of};
use super::proxies::Proxies;
use super::targets::{self, Place};
use super::traffic_log::bad_format;
use crate::conditions::{Finding, Reason};
use crate::crds::{Dialect, IstioMesh, ObservabilityMesh, Sampling, Tag, TracingBackend};
use crate::format;
use crate::render::kuma::policy;
use crate::rollout::Parts;
use crate::snapshot::{Key, View};

/// Checks a TracingBackend against its mesh.
pub fn check<'a>(view: &View<'a>, key: &Key, tracing: &TracingBackend) -> Checked<'a, TraceClaim> {
    let spec = &tracing.spec;
    let mesh = match membership::mesh_of(view, &key.namespace, spec.mesh_ref.as_ref()) {
        Ok(mesh) => mesh,
        Err(error) => return Checked::not_a_member(error),
    };
    let receiver = match receiver(mesh, &key.namespace, tracing) {
        Ok(receiver) => receiver,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    if let Some(finding) = receiver.missing(view, mesh) {
        return Checked::failed(Some(mesh), finding);
    }
    if let Err(finding) = environment::not_expressed(tracing, receiver, "") {
        return Checked::failed(Some(mesh), finding);
    }
    // Only whether they are there is asked here: under which key they are hashed does not matter.
    if !spec.inject.is_empty()
        && let Err(finding) = environment::credentials(view, key, tracing, Parts::new(&[]))
    {
        return Checked::failed(Some(mesh), finding);
    }
    let Some(proxies) = Proxies::of(mesh) else {
        return without_proxies(mesh, tracing, receiver);
    };
    if let Proxies::Kmesh(_, waypoints) = &proxies
        && (waypoints.is_none() || spec.target_refs.is_empty())
    {
        return if spec.inject.is_empty() {
            kmesh::check_tracing(mesh, tracing)
        } else {
            without_proxies(mesh, tracing, receiver)
        };
    }
    let selection = Selection::new(spec.selector.as_ref(), &spec.target_refs);
    let Place { is_tenant, selection } = match targets::place(view, key, mesh, &proxies, selection) {
        Ok(place) => place,
        Err(refused) => return *refused,
    };
    let is_legacy = matches!(&proxies, Proxies::Kuma(kuma) if kuma.legacy);
    if is_legacy && matches!(receiver, SpanReceiver::Otlp(_)) {
        return for_environment_only(mesh, tracing);
    }
    if let Some(finding) = environment::not_for_proxies(&spec.destination) {
        return Checked::failed(Some(mesh), finding);
    }
    let named = spec.destination.mesh_backend.as_ref();
    let named = named.map_or("of its own", |backend| backend.name.as_str());
    let target = match receiver.target(view, mesh, named) {
        Ok(target) => target,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    let source = Source::new(PolicyKind::TracingBackend, key, &tracing.metadata);
    let wanted = percentage(spec.sampling.as_ref());
    let Some((sampling, limited)) = permitted_sampling(mesh, wanted, is_tenant) else {
        return Checked::failed(Some(mesh), no_percentage("spec.sampling.percentage", wanted));
    };
    let Tags {
        usable: tags,
        withdrawn,
        lost,
    } = match usable_tags("spec.tags", &spec.tags, view, mesh, &proxies) {
        Ok(tags) => tags,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    let claim = TraceClaim {
        source,
        mesh: name_of(mesh).to_owned(),
        selection,
        provider: target.name,
        backend: target.backend,
        sampling,
        tags,
    };
    let mut checked = Checked::good(mesh, Some(claim)).but(withdrawn);
    checked.limited = limited.or_else(|| limited_for_inject(mesh, tracing));
    let sampled = checked.claim.as_ref().and_then(|claim| sampled_provider(mesh, claim));
    checked.providers.extend(target.provider.or(sampled));
    checked.not_expressed = lost;
    let lost = environment::not_expressed(tracing, receiver, " for inject");
    checked.not_expressed.extend(lost.unwrap_or_default());
    checked
}

/// Where proxies send no spans by OTLP, only `inject` is served.
fn for_environment_only<'a>(
    mesh: &'a std::sync::Arc<ObservabilityMesh>,
    tracing: &TracingBackend,
) -> Checked<'a, TraceClaim> {
    let spec = &tracing.spec;
    let lost = format!("spec.destination ({NO_OTLP_SPANS})");
    if spec.inject.is_empty() {
        let message = format!(
            "Nothing is left of it: {lost}; use one of them, or remove spec.mesh.kuma.legacy of ObservabilityMesh {}.",
            name_of(mesh)
        );
        return Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message));
    }
    let said = [
        ("spec.sampling", spec.sampling.is_some()),
        ("spec.tags", !spec.tags.is_empty()),
        ("spec.selector", spec.selector.is_some()),
    ];
    let said = said.iter().filter(|(_, said)| *said);
    let mut not_expressed: Vec<String> = said.map(|(path, _)| format!("{path} ({NO_OTLP_SPANS})")).collect();
    not_expressed.push(lost);
    Checked {
        not_expressed,
        limited: limited_for_inject(mesh, tracing),
        ..Checked::good(mesh, None)
    }
}

/// Where there are no proxies, only `inject` has somebody to serve.
fn without_proxies<'a>(
    mesh: &'a std::sync::Arc<ObservabilityMesh>,
    tracing: &TracingBackend,
    receiver: SpanReceiver<'_>,
) -> Checked<'a, TraceClaim> {
    let spec = &tracing.spec;
    if spec.inject.is_empty() {
        let message = format!(
            "ObservabilityMesh {} is of type None: there is no proxy that could trace. Add inject, or use a mesh of type Istio.",
            name_of(mesh)
        );
        return Checked::failed_for_good(mesh, rejected(Reason::NotExpressible, message));
    }
    let said = [
        ("spec.selector (there are no proxies)", spec.selector.is_some()),
        ("spec.targetRefs (there are no proxies)", !spec.target_refs.is_empty()),
    ];
    let mut lost = environment::not_expressed(tracing, receiver, "").unwrap_or_default();
    let said = said.iter().filter(|(_, said)| *said);
    lost.extend(said.map(|(path, _)| (*path).to_owned()));
    Checked {
        not_expressed: lost,
        limited: limited_for_inject(mesh, tracing),
        ..Checked::good(mesh, None)
    }
}

/// The share that is asked for, or the default.
pub fn percentage(sampling: Option<&Sampling>) -> &str {
    sampling.map_or(DEFAULT_SAMPLING, |s| s.percentage.as_str())
}

/// Whether a text is a share in percent.
pub fn is_percentage(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|p| (0.0..=100.0).contains(&p))
}

/// The finding of a text that is no share in percent.
pub fn no_percentage(path: &str, text: &str) -> Finding {
    let message = format!("{path}: {text} is no share in percent; write a decimal such as 0.5.");
    rejected(Reason::InvalidSpec, message)
}

/// The share in percent that workloads which export spans themselves are told, where the policy says one: at most what
/// the mesh allows.
pub fn inject_sampling<'a>(mesh: &'a ObservabilityMesh, tracing: &'a TracingBackend) -> Option<&'a str> {
    let wanted = tracing.spec.sampling.as_ref()?.percentage.as_str();
    let maximum = mesh.spec.tenancy.max_sampling_percentage.as_str();
    let is_more = wanted.parse::<f64>().ok()? > maximum.parse::<f64>().ok()?;
    Some(if is_more { maximum } else { wanted })
}

/// What is said where workloads are told less than the policy asks for.
fn limited_for_inject(mesh: &ObservabilityMesh, tracing: &TracingBackend) -> Option<String> {
    let spec = &tracing.spec;
    let is_told = spec
        .inject
        .iter()
        .any(|inject| inject.dialect == Dialect::OpenTelemetry);
    let wanted = spec.sampling.as_ref().filter(|_| is_told)?;
    permitted_sampling(mesh, &wanted.percentage, true)?.1
}

fn permitted_sampling(mesh: &ObservabilityMesh, wanted: &str, is_tenant: bool) -> Option<(String, Option<String>)> {
    let asked: f64 = wanted.parse().ok().filter(|_| is_percentage(wanted))?;
    let maximum = &mesh.spec.tenancy.max_sampling_percentage;
    let most: f64 = maximum.parse().ok()?;
    if is_tenant && asked > most {
        let message = format!(
            "spec.sampling.percentage: ObservabilityMesh {} allows tenants at most {maximum} percent (tenancy.maxSamplingPercentage); that is used.",
            name_of(mesh)
        );
        return Some((maximum.clone(), Some(message)));
    }
    Some((wanted.to_owned(), None))
}

/// Tags, as far as proxies know them.
pub struct Tags {
    /// Those that every proxy knows.
    pub usable: Vec<Tag>,
    /// The finding that one was withdrawn.
    pub withdrawn: Option<Finding>,
    /// Paths of those that no proxy of the mesh can know, and why.
    pub lost: Vec<String>,
}

/// The tags that every proxy knows. A formatter that the oldest one does not know is withdrawn, and the finding says so:
/// what is live would make that proxy refuse its listener.
///
/// # Errors
/// The finding of the first formatter that no proxy knows, or while the oldest proxy is not known.
pub fn usable_tags(
    path: &str,
    tags: &[Tag],
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    proxies: &Proxies,
) -> Result<Tags, Finding> {
    let mut usable = Vec::new();
    let mut withdrawn = None;
    let mut lost = Vec::new();
    for tag in tags {
        let istio = match proxies {
            Proxies::Istio(istio) | Proxies::Kmesh(_, Some(istio)) => istio,
            Proxies::Kmesh(_, None) => {
                lost.push(format!("{path}[{}] (there is no waypoint)", tag.name));
                continue;
            }
            Proxies::Kuma(kuma) if kuma.legacy => {
                lost.push(format!("{path}[{}] (tracing of a Mesh has no tags)", tag.name));
                continue;
            }
            Proxies::Kuma(_) => {
                if policy::tag(tag).is_some() {
                    usable.push(tag.clone());
                } else {
                    lost.push(format!(
                        "{path}[{}] (Kuma knows tags of type Literal and Header)",
                        tag.name
                    ));
                }
                continue;
            }
        };
        match check_tag(path, tag, view, mesh, istio) {
            Ok(()) => usable.push(tag.clone()),
            Err(finding) if finding.reason == Reason::FormatUnsupported => withdrawn = withdrawn.or(Some(finding)),
            Err(finding) => return Err(finding),
        }
    }
    Ok(Tags {
        usable,
        withdrawn,
        lost,
    })
}

fn check_tag(
    path: &str,
    tag: &Tag,
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
) -> Result<(), Finding> {
    let Some(formatter) = &tag.formatter else { return Ok(()) };
    let place = format!("{path}[{}].formatter", tag.name);
    let oldest = oldest_envoy(view, mesh, istio)?;
    if oldest < format::TAG_TEXT_SINCE {
        let message = format!(
            "{place}: proxies know it from Istio 1.29 (Envoy {}) on, and the oldest is Envoy {oldest}; upgrade it, or use another type of tag.",
            format::TAG_TEXT_SINCE
        );
        return Err(rejected(Reason::FormatUnsupported, message));
    }
    format::check_text(formatter, oldest).map_err(|errors| {
        let bad = BadFormat {
            path: "",
            errors: std::sync::Arc::new(errors),
        };
        bad_format(&place, &bad)
    })
}
