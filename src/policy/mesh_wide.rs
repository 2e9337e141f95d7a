//! What an ObservabilityMesh itself says to every proxy of its scope: logs that are required, default tracing, changes to
//! metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backends::{
    SpanReceiver, Transport, log_backend, log_target, missing_service, sampled_provider, trace_backend,
};
use super::claims::{Checked, LogClaim, PolicyKind, Selection, Side, Source, TraceClaim, rejected};
use super::formats::oldest_envoy;
use super::membership::{istio_of, mesh_wide_istio_of, name_of};
use super::proxies::{Proxies, cannot_be_written, knows, kuma_of, sides};
use super::tracing_backend::{is_percentage, no_percentage, percentage, usable_tags};
use super::traffic_log::mesh_lines;
use crate::codes::Coded;
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{KumaProfile, MetricOverride, ObservabilityMesh, RequiredLog};
use crate::filter;
use crate::render::Provider;
use crate::render::kuma::backend as kuma;
use crate::render::kuma::legacy;
use crate::render::kuma::versions::Receivers;
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
    let Some(proxies) = Proxies::of(mesh) else {
        return Vec::new();
    };
    let required = &mesh.spec.logging.required;
    required
        .iter()
        .map(|required| check_one_required(view, mesh, &proxies, required))
        .collect()
}

fn check_one_required<'a>(
    view: &View<'a>,
    mesh: &'a Arc<ObservabilityMesh>,
    proxies: &Proxies,
    required: &RequiredLog,
) -> Checked<'a, LogClaim> {
    if matches!(proxies, Proxies::Kmesh(..)) {
        return super::kmesh::check_required_log(mesh, required);
    }
    let target = proxies.setting(view, mesh).and_then(|setting| {
        let lines = mesh_lines(mesh, setting)?;
        let backend = log_backend(mesh, "spec.logging.required", &required.backend)?;
        let target = log_target(view, mesh, backend, &lines, None)?;
        match target.unsupported {
            None => Ok(target),
            Some(why) => {
                let message = format!(
                    "spec.logging.required: {why}; require a backend of another type than {}.",
                    required.backend
                );
                Err(rejected(Reason::NotExpressible, message))
            }
        }
    });
    match target {
        Err(finding) => Checked::failed(Some(mesh), finding),
        Ok(target) => {
            let claim = LogClaim {
                source: source_of(mesh),
                mesh: name_of(mesh).to_owned(),
                selection: Selection::default(),
                priority: 0,
                sides: sides(proxies, Side::of(required.direction)).0,
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
    let lines = oldest_envoy(view, mesh, &istio).and_then(|oldest| mesh_lines(mesh, oldest.into()));
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
    let proxies = Proxies::of(mesh).filter(|proxies| !matches!(proxies, Proxies::Kmesh(..)))?;
    let default = mesh.spec.tracing.as_ref()?.default.as_ref()?;
    let claim = || {
        let backend = trace_backend(mesh, "spec.tracing.default.backend", &default.backend)?;
        let receiver = SpanReceiver::of_backend(mesh, backend)?;
        if let Some(finding) = receiver.missing(view, mesh) {
            return Err(finding);
        }
        let target = receiver.target(view, mesh, &backend.name)?;
        let sampling = percentage(default.sampling.as_ref());
        if !is_percentage(sampling) {
            return Err(no_percentage("spec.tracing.default.sampling.percentage", sampling));
        }
        let tags = usable_tags("spec.tracing.default.tags", &default.tags, view, mesh, &proxies)?;
        let claim = TraceClaim {
            source: source_of(mesh),
            mesh: name_of(mesh).to_owned(),
            selection: Selection::default(),
            provider: target.name,
            backend: target.backend,
            sampling: sampling.to_owned(),
            tags: tags.usable,
        };
        let provider = target.provider.or_else(|| sampled_provider(mesh, &claim));
        Ok(Checked {
            providers: provider.into_iter().collect(),
            not_expressed: tags.lost,
            ..Checked::good(mesh, Some(claim)).but(tags.withdrawn)
        })
    };
    Some(claim().unwrap_or_else(|finding| Checked::failed(Some(mesh), finding)))
}

/// What the proxies of a mesh measure whose metrics are not Istio's, and what that refers to by name; `None`: they are left
/// alone.
///
/// # Errors
/// The finding where the receiver cannot be used, or while the mesh's version is not known.
pub fn check_proxy_metrics(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
) -> Result<Option<(kuma::Metrics, Option<Provider>)>, Finding> {
    let metrics = mesh.spec.metrics.as_ref().and_then(|metrics| metrics.kuma.as_ref());
    let (Some(of), Some(metrics)) = (kuma_of(mesh), metrics) else {
        return Ok(None);
    };
    let knows = knows(view, &of).map_err(|error| cannot_be_written(ConditionType::Accepted, error))?;
    let receiver = match &metrics.open_telemetry {
        None => None,
        Some(wanted) => {
            let path = "spec.metrics.kuma.openTelemetry.backend";
            let backend = log_backend(mesh, path, &wanted.backend)?;
            let Some(otlp) = &backend.otlp else {
                let message = format!(
                    "{path}: backend {} is not of type OTLP; name one that is.",
                    backend.name
                );
                return Err(rejected(Reason::InvalidSpec, message));
            };
            if let Some(finding) = missing_service(view, &otlp.endpoint, Transport::of_logs(mesh)) {
                return Err(finding);
            }
            // What a Mesh cannot say is told.
            (!of.legacy).then(|| kuma::Receiver::grpc(&otlp.endpoint))
        }
    };
    let profile = match metrics.profile {
        KumaProfile::All => "All",
        KumaProfile::Basic => "Basic",
        KumaProfile::None => "None",
    };
    let by_name = receiver.as_ref().filter(|_| knows.receivers == Receivers::Backend);
    let provider = by_name.map(|receiver| receiver.backend(name_of(mesh)));
    let metrics = kuma::Metrics {
        port: metrics.port,
        path: metrics.path.clone(),
        profile: profile.to_owned(),
        receiver,
    };
    let provider = if of.legacy {
        Some(legacy::metrics(&metrics))
    } else {
        provider
    };
    Ok(Some((metrics, provider)))
}

/// The changes to metrics that a mesh asks for.
///
/// # Errors
/// The finding of the first tag whose value no proxy could read: it would drop it without a word.
pub fn check_metrics<'m>(view: &View<'_>, mesh: &'m ObservabilityMesh) -> Result<&'m [MetricOverride], Finding> {
    let (Some(istio), Some(metrics)) = (mesh_wide_istio_of(mesh), &mesh.spec.metrics) else {
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
