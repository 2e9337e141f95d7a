//! What an ObservabilityMesh itself says to every proxy of its scope: logs that are required, default tracing, changes to
//! metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backends::{SpanReceiver, log_backend, log_target, not_in_registry, trace_backend};
use super::claims::{Checked, LogClaim, PolicyKind, Selection, Side, Source, TraceClaim, rejected};
use super::formats::oldest_envoy;
use super::membership::{istio_of, name_of};
use super::tracing_backend::{is_percentage, no_percentage, percentage, usable_tags};
use super::traffic_log::mesh_lines;
use crate::codes::Coded;
use crate::conditions::{Finding, Reason};
use crate::crds::{IstioMesh, MetricOverride, ObservabilityMesh, RequiredLog};
use crate::filter;
use crate::snapshot::{Key, View};

/// Where claims of a mesh come from.
pub fn source_of(mesh: &ObservabilityMesh) -> Source {
    Source::new(
        PolicyKind::ObservabilityMesh,
        &Key::new("", name_of(mesh)),
        &mesh.metadata,
    )
}

/// Checks each log that a mesh requires.
pub fn check_required<'a>(view: &View<'a>, mesh: &'a Arc<ObservabilityMesh>) -> Vec<Checked<'a, LogClaim>> {
    let Some(istio) = istio_of(mesh) else {
        return Vec::new();
    };
    let required = &mesh.spec.logging.required;
    required
        .iter()
        .map(|required| check_one_required(view, mesh, &istio, required))
        .collect()
}

fn check_one_required<'a>(
    view: &View<'a>,
    mesh: &'a Arc<ObservabilityMesh>,
    istio: &IstioMesh,
    required: &RequiredLog,
) -> Checked<'a, LogClaim> {
    let target = oldest_envoy(view, mesh, istio).and_then(|oldest| {
        let lines = mesh_lines(mesh, oldest)?;
        let backend = log_backend(mesh, "spec.logging.required", &required.backend)?;
        log_target(view, mesh, backend, &lines, None)
    });
    match target {
        Err(finding) => Checked::failed(Some(mesh), finding),
        Ok(target) => {
            let claim = LogClaim {
                source: source_of(mesh),
                mesh: name_of(mesh).to_owned(),
                selection: Selection::default(),
                priority: 0,
                sides: Side::of(required.direction),
                backends: BTreeMap::from([(required.backend.clone(), target.entries)]),
            };
            Checked {
                providers: target.providers,
                ..Checked::good(mesh, Some(claim))
            }
        }
    }
}

/// Names of the extension providers that the mesh's own backends come to with its own format: what a policy needs that
/// brings nothing of its own.
pub fn own_providers(view: &View<'_>, mesh: &ObservabilityMesh) -> BTreeSet<String> {
    let Some(istio) = istio_of(mesh) else {
        return BTreeSet::new();
    };
    let lines = oldest_envoy(view, mesh, &istio).and_then(|oldest| mesh_lines(mesh, oldest));
    let logs = lines.iter().flat_map(|lines| {
        let targets = mesh.spec.logging.backends.iter();
        targets.filter_map(|backend| log_target(view, mesh, backend, lines, None).ok())
    });
    let traces = mesh.spec.tracing.iter().flat_map(|tracing| &tracing.backends);
    let traces = traces.filter_map(|backend| SpanReceiver::of_backend(mesh, backend).ok()?.provider());
    let all = logs.flat_map(|target| target.providers).chain(traces);
    all.map(|provider| provider.name).collect()
}

/// Checks the tracing that a mesh does by default; `None`: it leaves tracing alone.
pub fn check_default_tracing<'a>(view: &View<'a>, mesh: &'a Arc<ObservabilityMesh>) -> Option<Checked<'a, TraceClaim>> {
    let istio = istio_of(mesh)?;
    let default = mesh.spec.tracing.as_ref()?.default.as_ref()?;
    let claim = || {
        let backend = trace_backend(mesh, "spec.tracing.default.backend", &default.backend)?;
        let receiver = SpanReceiver::of_backend(mesh, backend)?;
        if let Some(finding) = receiver.missing(view, mesh) {
            return Err(finding);
        }
        let provider = receiver
            .provider()
            .ok_or_else(|| not_in_registry(mesh, &backend.name, receiver.endpoint()))?;
        let sampling = percentage(default.sampling.as_ref());
        if !is_percentage(sampling) {
            return Err(no_percentage("spec.tracing.default.sampling.percentage", sampling));
        }
        let (tags, withdrawn) = usable_tags("spec.tracing.default.tags", &default.tags, view, mesh, &istio)?;
        let claim = TraceClaim {
            source: source_of(mesh),
            mesh: name_of(mesh).to_owned(),
            selection: Selection::default(),
            provider: provider.name.clone(),
            sampling: sampling.to_owned(),
            tags,
        };
        Ok((claim, provider, withdrawn))
    };
    Some(match claim() {
        Err(finding) => Checked::failed(Some(mesh), finding),
        Ok((claim, provider, withdrawn)) => Checked {
            providers: vec![provider],
            ..Checked::good(mesh, Some(claim)).but(withdrawn)
        },
    })
}

/// The changes to metrics that a mesh asks for.
///
/// # Errors
/// The finding of the first tag whose value no proxy could read: it would drop it without a word.
pub fn check_metrics<'m>(view: &View<'_>, mesh: &'m ObservabilityMesh) -> Result<&'m [MetricOverride], Finding> {
    let (Some(istio), Some(metrics)) = (istio_of(mesh), &mesh.spec.metrics) else {
        return Ok(&[]);
    };
    for over in &metrics.overrides {
        let values = over
            .tags
            .iter()
            .filter_map(|tag| Some((&tag.name, tag.value.as_ref()?)));
        for (name, value) in values {
            let oldest = oldest_envoy(view, mesh, &istio)?;
            if let Err(error) = filter::check_value(value, oldest) {
                let message = format!("spec.metrics.overrides: value of tag {name}: {}", Coded(&error));
                return Err(rejected(Reason::InvalidFilter, message));
            }
        }
    }
    Ok(&metrics.overrides)
}
