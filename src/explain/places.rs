//! Where values come from, and where lines and spans go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::model::{Filter, Format, Line, Origin, SpanTag, Spans};
use crate::crds::{DestinationType, LogFormat, ObservabilityMesh, Tag, TracingBackend};
use crate::filter;
use crate::plan::judge::tracing_backend as judge_tracing;
use crate::plan::judge::traffic_log::has_own_format;
use crate::policy::claims::{DEFAULT_SAMPLING, LogClaim, LogEntry, PolicyKind, Source, TraceClaim, WorkloadSet};
use crate::policy::formats::{self, oldest_envoy};
use crate::policy::kmesh::{DAEMONS, STDOUT};
use crate::policy::membership::{istio_of, maps_of, name_of, primary_maps};
use crate::policy::resolve::Won;
use crate::policy::{backends, tracing_backend, traffic_log};
use crate::render::istio::provider::Provider;
use crate::render::kuma::backend as kuma;
use crate::snapshot::{Key, View};

impl Origin {
    /// A resource.
    pub(super) fn of(source: &Source) -> Self {
        Self {
            kind: format!("{:?}", source.kind),
            namespace: source.namespace.clone(),
            name: source.name.clone(),
            ..Self::default()
        }
    }

    pub(super) fn mesh(mesh: &ObservabilityMesh) -> Self {
        Self {
            kind: "ObservabilityMesh".into(),
            name: name_of(mesh).to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn of_key(kind: &str, key: &Key) -> Self {
        Self {
            kind: kind.into(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            ..Self::default()
        }
    }

    /// Nobody says it.
    pub(super) fn default_of(what: &str) -> Self {
        Self {
            kind: "Default".into(),
            note: Some(what.into()),
            ..Self::default()
        }
    }

    pub(super) fn at(self, field: &str) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }

    pub(super) fn noting(self, note: &str) -> Self {
        Self {
            note: Some(note.into()),
            ..self
        }
    }
}

/// A word of the API, as a spec has it.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}

/// A set of workloads in words; `*`: all of the namespace.
pub(super) fn set_text(set: &WorkloadSet) -> String {
    match set {
        WorkloadSet::Labels(labels) if labels.is_empty() => "*".into(),
        WorkloadSet::Labels(labels) => {
            let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(",")
        }
        WorkloadSet::Target(kind, name) => format!("{kind:?} {name}"),
    }
}

/// The entry of a provider, as some MeshConfig of the mesh has it.
pub(super) fn live_entry<'a>(view: &View<'a>, mesh: &ObservabilityMesh, name: &str) -> Option<&'a Value> {
    let istio = istio_of(mesh)?;
    let mut maps = maps_of(&istio).into_iter().chain(primary_maps(&istio));
    maps.find_map(|map| view.provider(&map, name)).map(|seen| &seen.entry)
}

/// Body of a provider's entry: the one member beside its name.
fn body(entry: &Value) -> Option<&Value> {
    let members = entry.as_object()?;
    members.iter().find(|(name, _)| *name != "name").map(|(_, body)| body)
}

/// File or address that a provider sends to.
fn place_of(entry: &Value) -> Option<String> {
    let body = body(entry)?;
    let text = |member: &str| body.get(member).and_then(Value::as_str);
    match (text("service"), body.get("port").and_then(Value::as_i64)) {
        (Some(service), Some(port)) => {
            let host = service.rsplit_once('/').map_or(service, |(_, host)| host);
            Some(format!("{host}:{port}"))
        }
        _ => text("path").map(str::to_owned),
    }
}

fn format_of(entry: &Value, from: Origin) -> Option<Format> {
    let body = body(entry)?;
    let format = body.get("logFormat")?;
    let labels = format.get("labels").cloned();
    // Beside attributes the body of a record is fixed.
    let text = format.get("text").and_then(Value::as_str).filter(|_| labels.is_none());
    Some(Format {
        text: text.map(str::to_owned),
        labels,
        omit_empty_values: body.get("omitEmptyValues") == Some(&Value::Bool(true)),
        from,
    })
}

/// The same of a backend that policies of Kuma's hold themselves; `None`: Kuma's own lines.
fn format_of_held(backend: &kuma::LogBackend, from: Origin) -> Option<Format> {
    let members = |pairs: &[(String, String)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        Value::Object(pairs.collect())
    };
    let (text, labels, omit_empty_values) = match backend {
        kuma::LogBackend::File { format, .. } | kuma::LogBackend::Tcp { format, .. } => {
            let format = format.as_ref()?;
            match &format.line {
                kuma::Line::Plain(text) => (Some(text.clone()), None, format.omit_empty_values),
                kuma::Line::Json(fields) => (None, Some(members(fields)), format.omit_empty_values),
            }
        }
        kuma::LogBackend::OpenTelemetry { attributes, .. } if !attributes.is_empty() => {
            (None, Some(members(attributes)), false)
        }
        kuma::LogBackend::OpenTelemetry { body, .. } => (Some(body.clone()?), None, false),
    };
    Some(Format {
        text,
        labels,
        omit_empty_values,
        from,
    })
}

/// Where the mesh's own format comes from.
fn mesh_format(view: &View<'_>, mesh: &ObservabilityMesh) -> Origin {
    let own = Origin::mesh(mesh).at("spec.logging.format");
    let format = &mesh.spec.logging.format;
    if *format == LogFormat::default() {
        return own.noting("its default");
    }
    let oldest = istio_of(mesh).and_then(|istio| oldest_envoy(view, mesh, &istio).ok());
    match oldest.map(|oldest| formats::lines(format, oldest)) {
        Some(Err(bad)) if bad.errors.is_unsupported() => {
            Origin::default_of("Istio's format: spec.logging.format of the mesh needs a newer proxy")
        }
        _ => own,
    }
}

/// What a policy says of its lines, and whether what is in force is of its present spec.
struct Said {
    format: Origin,
    filter: Origin,
}

fn said_by(view: &View<'_>, mesh: &ObservabilityMesh, won: &Won) -> Said {
    let source = Origin::of(&won.source);
    let logs = view.traffic_logs_in(&won.source.namespace);
    let log = logs.into_iter().find(|(key, _)| key.name == won.source.name);
    let Some((key, log)) = log.filter(|_| won.source.kind == PolicyKind::TrafficLog) else {
        return Said {
            format: mesh_format(view, mesh),
            filter: source,
        };
    };
    let checked = traffic_log::check(view, key, log);
    let says = |claim: &LogClaim| won.backend.as_ref().and_then(|b| claim.backends.get(b)) == Some(&won.entries);
    if !checked.claim.as_ref().is_some_and(says) {
        let last_good = source.noting("as it was last programmed: its present spec is not");
        return Said {
            format: last_good.clone(),
            filter: last_good,
        };
    }
    Said {
        format: if has_own_format(log, &checked) {
            source.clone().at("spec.format")
        } else if log.spec.format.is_some() {
            mesh_format(view, mesh).noting("the TrafficLog's own is not used, see its conditions")
        } else {
            mesh_format(view, mesh)
        },
        filter: if log.spec.filter.is_some() {
            source.at("spec.filter")
        } else {
            source.noting("added by Sightline: HTTP and TCP have providers of their own")
        },
    }
}

/// The lines of a unit. `filters`: what the object says of each provider, where it is one of an object.
pub(super) fn lines(
    view: &View<'_>,
    won: &Won,
    filters: Option<&BTreeMap<String, Option<String>>>,
    fresh: &[Provider],
) -> Vec<Line> {
    let (Some(backend), Some(mesh)) = (&won.backend, view.mesh(&won.mesh)) else {
        return Vec::new();
    };
    let said = said_by(view, mesh, won);
    let line = |entry: &LogEntry| {
        let name = &entry.provider;
        let fresh = fresh.iter().find(|p| p.name == *name).map(|p| &p.entry);
        let provider = fresh.or_else(|| live_entry(view, mesh, name));
        let filter = filters.and_then(|f| f.get(name)).unwrap_or(&entry.filter);
        let filter_from = if *filter == entry.filter {
            said.filter.clone()
        } else {
            Origin::of(&won.source).noting("together with others that share the provider")
        };
        Line {
            backend: backend.clone(),
            mesh: won.mesh.clone(),
            provider: name.clone(),
            place: match &entry.backend {
                Some(held) => held.place(),
                None if *name == DAEMONS => format!("{STDOUT} of Kmesh's daemons"),
                None => provider.and_then(place_of).unwrap_or_default(),
            },
            format: match &entry.backend {
                Some(held) => format_of_held(held, said.format.clone()),
                None => provider.and_then(|entry| format_of(entry, said.format.clone())),
            },
            filter: filter.clone().map(|expression| Filter {
                error_on_tcp: filter::needs_http(&expression),
                expression,
                from: filter_from,
            }),
            required: won.source.kind == PolicyKind::ObservabilityMesh,
            from: Origin::of(&won.source),
        }
    };
    won.entries.iter().map(line).collect()
}

/// The units of a claim on one side, as if it won them all.
pub(super) fn units_of(claim: &LogClaim) -> Vec<Won> {
    let unit = |(backend, entries): (&String, &Vec<LogEntry>)| Won {
        mesh: claim.mesh.clone(),
        backend: Some(backend.clone()),
        source: claim.source.clone(),
        entries: entries.clone(),
    };
    claim.backends.iter().map(unit).collect()
}

/// What a claim on tracing says. `wider`: claims of wider scopes, the nearest first: spans have their tags too.
pub(super) fn spans(view: &View<'_>, claim: &TraceClaim, tags: &BTreeMap<String, Tag>, wider: &[&TraceClaim]) -> Spans {
    let from = Origin::of(&claim.source);
    let mesh = view.mesh(&claim.mesh);
    let place = mesh
        .and_then(|mesh| live_entry(view, mesh, &claim.provider))
        .and_then(place_of)
        .unwrap_or_default();
    let mut spans = Spans {
        provider: claim.provider.clone(),
        destination: place,
        destination_from: from.clone(),
        sampling_percentage: claim.sampling.clone(),
        sampling_from: from.clone(),
        tags: tags.values().map(|tag| span_tag(tag, claim, wider)).collect(),
        from: from.clone(),
    };
    match claim.source.kind {
        PolicyKind::TracingBackend => say_of_policy(view, claim, &mut spans),
        _ => {
            if let Some(mesh) = mesh {
                say_of_mesh(mesh, &mut spans);
            }
        }
    }
    spans
}

fn say_of_policy(view: &View<'_>, claim: &TraceClaim, spans: &mut Spans) {
    let namespace = &claim.source.namespace;
    let all = view.tracing_backends_in(namespace);
    let Some((key, tracing)) = all.into_iter().find(|(key, _)| key.name == claim.source.name) else {
        return;
    };
    let checked = tracing_backend::check(view, key, tracing);
    if checked.claim.as_ref() != Some(claim) {
        let last_good = spans
            .from
            .clone()
            .noting("as it was last programmed: its present spec is not");
        spans.sampling_from = last_good.clone();
        spans.destination_from = last_good;
        return;
    }
    let effective = judge_tracing::effective(key, tracing, claim, &checked);
    spans.destination = effective.destination;
    let mesh = || checked.mesh.map(|mesh| Origin::mesh(mesh)).unwrap_or_default();
    spans.destination_from = destination_of(&spans.from, tracing, mesh());
    spans.sampling_from = match effective.sampling_from.as_str() {
        "ObservabilityMesh" => mesh().at("spec.tenancy.maxSamplingPercentage"),
        "TracingBackend" => spans.from.clone().at("spec.sampling"),
        _ => Origin::default_of("Istio's share"),
    };
}

/// Where the address of a TracingBackend comes from.
pub(super) fn destination_of(policy: &Origin, tracing: &TracingBackend, mesh: Origin) -> Origin {
    let destination = &tracing.spec.destination;
    match (destination.type_, &destination.mesh_backend) {
        (DestinationType::MeshBackend, Some(backend)) => mesh.at(&format!("spec.tracing.backends[{}]", backend.name)),
        _ => policy.clone().at("spec.destination"),
    }
}

fn say_of_mesh(mesh: &Arc<ObservabilityMesh>, spans: &mut Spans) {
    let default = mesh.spec.tracing.as_ref().and_then(|t| t.default.as_ref());
    let Some(default) = default else { return };
    let origin = Origin::mesh(mesh);
    let backend = backends::trace_backend(mesh, "", &default.backend);
    let receiver = backend.and_then(|backend| backends::SpanReceiver::of_backend(mesh, backend));
    if let Ok(receiver) = receiver {
        spans.destination = receiver.endpoint().to_string();
    }
    spans.from = origin.clone().at("spec.tracing.default");
    spans.destination_from = origin
        .clone()
        .at(&format!("spec.tracing.backends[{}]", default.backend));
    spans.sampling_from = match &default.sampling {
        Some(sampling) if sampling.percentage == spans.sampling_percentage => {
            origin.at("spec.tracing.default.sampling")
        }
        None if spans.sampling_percentage == DEFAULT_SAMPLING => Origin::default_of("Istio's share"),
        _ => origin.noting("as it was last programmed: its present spec is not"),
    };
}

fn span_tag(tag: &Tag, claim: &TraceClaim, wider: &[&TraceClaim]) -> SpanTag {
    let mut claims = std::iter::once(claim).chain(wider.iter().copied());
    let owner = claims.find(|claim| claim.tags.contains(tag)).unwrap_or(claim);
    let field = match owner.source.kind {
        PolicyKind::ObservabilityMesh => "spec.tracing.default.tags",
        _ => "spec.tags",
    };
    let named = |named: &crate::crds::NamedValue| match &named.default_value {
        Some(default) => format!("{} (else {default})", named.name),
        None => named.name.clone(),
    };
    let value = tag
        .literal
        .clone()
        .or_else(|| tag.environment.as_ref().map(named))
        .or_else(|| tag.header.as_ref().map(named))
        .or_else(|| tag.formatter.clone());
    SpanTag {
        name: tag.name.clone(),
        value: format!("{} {}", word(&tag.type_), value.unwrap_or_default()),
        from: Origin::of(&owner.source).at(field),
    }
}
