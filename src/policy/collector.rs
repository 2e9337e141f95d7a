//! A mesh's collector: which objects it becomes, and what backends that point at it come to.

use std::sync::Arc;

use super::membership::name_of;
use super::proxies::kuma_of;
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{
    Collector, CollectorMode, CollectorReceiver, LogBackendType, ObservabilityMesh, OtlpBackend, OtlpLogBackend,
    OtlpProtocol, TraceBackend, TraceBackendType, ZipkinBackend,
};
use crate::render::collector::{Form, OTLP_GRPC, ZIPKIN, endpoint};
use crate::snapshot::{Fact, Key, Kind, View};

/// Fills in the address of a mesh's collector where backends point at it, so that nothing behind this knows of them.
pub fn with_addresses(mut mesh: Arc<ObservabilityMesh>) -> Arc<ObservabilityMesh> {
    let Some(collector) = mesh.spec.collector.clone() else {
        return mesh;
    };
    let is_legacy = kuma_of(&mesh).is_some_and(|kuma| kuma.legacy);
    let spec = &mut Arc::make_mut(&mut mesh).spec;
    for backend in &mut spec.logging.backends {
        if backend.type_ == LogBackendType::Collector {
            let endpoint = endpoint(&collector, OTLP_GRPC);
            backend.otlp = Some(OtlpLogBackend { endpoint });
        }
    }
    let traces = spec.tracing.iter_mut().flat_map(|tracing| &mut tracing.backends);
    for backend in traces.filter(|backend| backend.type_ == TraceBackendType::Collector) {
        point_at(backend, &collector, is_legacy);
    }
    mesh
}

/// By OTLP where the collector takes it and the mesh speaks it, else in Zipkin's format.
fn point_at(backend: &mut TraceBackend, collector: &Collector, is_legacy: bool) {
    let takes = |receiver| collector.receivers.contains(&receiver);
    if takes(CollectorReceiver::Otlp) && !(is_legacy && takes(CollectorReceiver::Zipkin)) {
        backend.otlp = Some(OtlpBackend {
            endpoint: endpoint(collector, OTLP_GRPC),
            protocol: OtlpProtocol::Grpc,
            path: None,
        });
    } else {
        backend.zipkin = Some(ZipkinBackend {
            endpoint: endpoint(collector, ZIPKIN),
            path: None,
        });
    }
}

/// The object that a mesh's status notes for its collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Kind of what runs it.
    pub kind: Kind,
    /// Which.
    pub key: Key,
}

/// Kinds of what runs a collector.
const RUNNERS: [Kind; 3] = [Kind::OpenTelemetryCollector, Kind::Deployment, Kind::StatefulSet];

impl Noted {
    /// What the status of a mesh notes.
    pub fn of(mesh: &ObservabilityMesh) -> Option<Self> {
        let text = &mesh.status.as_ref()?.collector.as_ref()?.runner;
        let (kind, key) = text.split_once(' ')?;
        let (namespace, name) = key.split_once('/')?;
        let kind = RUNNERS.into_iter().find(|runner| runner.names().1 == kind)?;
        let key = Key::new(namespace, name);
        Some(Self { kind, key })
    }

    /// What is noted of a collector in a form.
    pub fn new(collector: &Collector, form: Form) -> Self {
        let (kind, name) = match (form, &collector.volume) {
            (Form::Operator, _) => (Kind::OpenTelemetryCollector, collector.short_name().to_owned()),
            (Form::Workload, None) => (Kind::Deployment, collector.object_name()),
            (Form::Workload, Some(_)) => (Kind::StatefulSet, collector.object_name()),
        };
        let key = Key::new(&collector.namespace, name);
        Self { kind, key }
    }

    /// Its form.
    pub fn form(&self) -> Form {
        if self.kind == Kind::OpenTelemetryCollector {
            Form::Operator
        } else {
            Form::Workload
        }
    }

    /// All objects of it.
    pub fn objects(&self) -> Vec<(Kind, Key)> {
        let kinds: &[Kind] = match self.form() {
            Form::Operator => &[],
            Form::Workload => &[Kind::Service, Kind::ConfigMap],
        };
        let all = [self.kind].into_iter().chain(kinds.iter().copied());
        all.map(|kind| (kind, self.key.clone())).collect()
    }
}

impl std::fmt::Display for Noted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.names().1, self.key)
    }
}

/// What runs the collector of a mesh. What was once chosen by `mode: Auto` stays, as it would be away for a while else; only
/// an object whose kind is gone is gone with it.
///
/// # Errors
/// While it cannot be told.
pub fn form(view: &View<'_>, mesh: &ObservabilityMesh, collector: &Collector) -> Result<Form, Finding> {
    match collector.mode {
        CollectorMode::Workload => return Ok(Form::Workload),
        CollectorMode::OpenTelemetryCollector => return Ok(Form::Operator),
        CollectorMode::Auto => {}
    }
    let noted = Noted::of(mesh).map(|noted| noted.form());
    match (view.objects(Kind::OpenTelemetryCollector), noted) {
        (Fact::KindMissing, _) | (Fact::Forbidden, None) => Ok(Form::Workload),
        (_, Some(noted)) => Ok(noted),
        (Fact::Present(_) | Fact::Absent, None) => Ok(Form::Operator),
        (Fact::Unknown, None) => {
            let message = format!(
                "Whether OpenTelemetry's operator is there for the collector of {} has not been read yet.",
                name_of(mesh)
            );
            Err(Finding::unknown(
                ConditionType::Programmed,
                Reason::FactsPending,
                message,
            ))
        }
    }
}
