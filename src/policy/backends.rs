//! From backends, formats and filters to extension providers; and whether what they name exists.

use serde_json::Value;

use super::claims::{LogEntry, TraceClaim, rejected, unresolved};
use super::formats::{self, Line, Lines};
use super::membership::{istio_of, name_of};
use super::proxies::{cannot_be_written, knows, kuma_of};
use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{
    AlsProtocol, CustomBackends, Destination, DestinationType, Endpoint, FormatPreset, KumaMesh, LogBackend, LogFormat,
    ObservabilityMesh, OtlpBackend, OtlpProtocol, TraceBackend, TracingBackend, ZipkinBackend,
};
use crate::filter;
use crate::format::{Dialect, EnvoyVersion, Inexpressible, KumaVersion, Setting};
use crate::render::Provider;
use crate::render::kuma::backend as kuma;
use crate::render::kuma::legacy;
use crate::render::kuma::versions::Receivers;
use crate::snapshot::{Fact, Key, Kind, View};

/// What a claim on one log backend comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogTarget {
    /// What is written to Telemetries.
    pub entries: Vec<LogEntry>,
    /// The providers that they name.
    pub providers: Vec<Provider>,
    /// Whether its format says nothing there, because the backend's entries are fixed.
    pub has_no_format: bool,
    /// Whether leaving out what is absent cannot be said there.
    pub ignores_omit_empty: bool,
    /// What of the format cannot be said there: each begins with a path below it, or with a blank, and says why.
    pub lost: Vec<String>,
    /// Why nothing goes there: the proxies have no such backend.
    pub unsupported: Option<&'static str>,
}

impl LogTarget {
    fn push(&mut self, provider: Option<Provider>, filter: Option<String>) -> bool {
        let Some(provider) = provider else { return false };
        self.entries.push(LogEntry {
            provider: provider.name.clone(),
            filter,
            backend: None,
        });
        self.providers.push(provider);
        true
    }
}

/// What a policy that names this backend comes to.
///
/// # Errors
/// The finding where the backend cannot be used: its Service is missing, or a mesh cannot send there.
pub fn log_target(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    backend: &LogBackend,
    lines: &Lines,
    own_filter: Option<&str>,
) -> Result<LogTarget, Finding> {
    if let Some(endpoint) = log_endpoint(backend)
        && let Some(finding) = missing_service(view, endpoint, Transport::of_logs(mesh))
    {
        return Err(finding);
    }
    if let Some(kuma) = kuma_of(mesh) {
        return log_target_of_kuma(view, mesh, &kuma, backend, lines);
    }
    if backend.tcp.is_some() {
        let message = format!(
            "Backend {} of ObservabilityMesh {} is of type TCP: only proxies of Kuma write to such a server; use type: OTLP.",
            backend.name,
            name_of(mesh)
        );
        return Err(rejected(Reason::NotExpressible, message));
    }
    let mut target = LogTarget::default();
    let only =
        |protocol: &str| Some(own_filter.map_or_else(|| protocol.to_owned(), |filter| filter::both(protocol, filter)));
    let mut written = |provider: &dyn Fn(&super::formats::Line) -> Option<Provider>| match &lines.tcp {
        None => target.push(provider(&lines.http), own_filter.map(str::to_owned)),
        Some(tcp) => {
            target.push(provider(&lines.http), only(filter::HTTP_ONLY))
                && target.push(provider(tcp), only(filter::TCP_ONLY))
        }
    };
    let is_sent = if let Some(file) = &backend.file {
        written(&|line| {
            Some(Provider::file_access_log(
                &file.path,
                &line.format,
                line.omit_empty_values,
            ))
        })
    } else if let Some(otlp) = &backend.otlp {
        let sent = written(&|line| Provider::otlp_access_log(&otlp.endpoint, &line.format));
        target.ignores_omit_empty =
            lines.http.omit_empty_values || lines.tcp.as_ref().is_some_and(|tcp| tcp.omit_empty_values);
        sent
    } else if let Some(als) = &backend.envoy_als {
        target.has_no_format = true;
        let http = als.protocol == AlsProtocol::Tcp
            || target.push(
                Provider::http_als(&als.endpoint, &als.log_name),
                only(filter::HTTP_ONLY),
            );
        let tcp = als.protocol == AlsProtocol::Http
            || target.push(Provider::tcp_als(&als.endpoint, &als.log_name), only(filter::TCP_ONLY));
        http && tcp
    } else {
        false
    };
    if is_sent {
        return Ok(target);
    }
    Err(match log_endpoint(backend) {
        Some(endpoint) => not_in_registry(mesh, &backend.name, endpoint),
        None => lacks_settings(mesh, &backend.name),
    })
}

/// The same where each policy of the mesh holds its backends itself. Filters are not known there: who asks for one is told.
fn log_target_of_kuma(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    kuma: &KumaMesh,
    backend: &LogBackend,
    lines: &Lines,
) -> Result<LogTarget, Finding> {
    let knows = knows(view, kuma).map_err(|error| cannot_be_written(ConditionType::Accepted, error))?;
    let inexpressible = |lost: Vec<Inexpressible>| {
        let why: Vec<String> = lost.iter().map(ToString::to_string).collect();
        let message = format!("The format cannot be said in Kuma: {}.", why.join("; "));
        rejected(Reason::NotExpressible, message)
    };
    let mut target = LogTarget::default();
    let is_own = is_kumas_own(lines, knows.version);
    let http = &lines.http;
    // A format of Kuma's is one for requests and connections; its own default alone has a form for each.
    if lines.tcp.is_some() && !is_own && backend.envoy_als.is_none() {
        target
            .lost
            .push(".tcp (in Kuma connections get the line of requests)".into());
    }
    let mut written = || {
        if is_own && !http.omit_empty_values {
            return Ok(None);
        }
        let (line, lost) = kuma::line(&http.format).map_err(inexpressible)?;
        target.lost.extend(lost.into_iter().map(|why| format!(" ({why})")));
        if kuma.legacy {
            if matches!(line, kuma::Line::Json(_)) {
                let why = " (a Mesh knows one text: values of JSON are text, in which nothing is escaped)";
                target.lost.push(why.into());
            }
            target.ignores_omit_empty = http.omit_empty_values;
        }
        let omit_empty_values = http.omit_empty_values;
        Ok(Some(kuma::Format {
            line,
            omit_empty_values,
        }))
    };
    let made = if let Some(file) = &backend.file {
        let format = written()?;
        let path = file.path.clone();
        kuma::LogBackend::File { path, format }
    } else if let Some(tcp) = &backend.tcp {
        let format = written()?;
        let address = tcp.endpoint.to_string();
        kuma::LogBackend::Tcp { address, format }
    } else if let Some(otlp) = &backend.otlp {
        target.ignores_omit_empty = http.omit_empty_values;
        if kuma.legacy {
            target.unsupported = Some("logging of a Mesh knows files and TCP only");
            return Ok(target);
        }
        let receiver = kuma::Receiver::grpc(&otlp.endpoint);
        if knows.receivers == Receivers::Backend {
            target.providers.push(receiver.backend(name_of(mesh)));
        }
        if is_own {
            kuma::LogBackend::OpenTelemetry {
                receiver,
                body: None,
                attributes: Vec::new(),
            }
        } else {
            let (made, lost) = kuma::LogBackend::otlp(receiver, &http.format, &knows).map_err(inexpressible)?;
            target.lost.extend(lost.into_iter().map(|why| format!(" ({why})")));
            made
        }
    } else if backend.envoy_als.is_some() {
        target.unsupported = Some("Kuma's proxies do not send to Envoy's access log service");
        return Ok(target);
    } else {
        return Err(lacks_settings(mesh, &backend.name));
    };
    if kuma.legacy {
        target.providers.extend(legacy::logging(&made).ok());
    }
    target.entries.push(LogEntry {
        provider: made.name(),
        filter: None,
        backend: Some(made),
    });
    Ok(target)
}

/// Whether lines are those that Kuma writes where a policy has no format.
fn is_kumas_own(lines: &Lines, version: KumaVersion) -> bool {
    let mut own = LogFormat::default();
    own.line.preset = Some(FormatPreset::Kuma);
    // Its default is known to every Envoy.
    let setting = Setting::new(Dialect::Kuma(version), EnvoyVersion::OLDEST_SUPPORTED);
    formats::lines(&own, setting).is_ok_and(|own| {
        let text = |line: &Line| line.format.clone();
        text(&own.http) == text(&lines.http) && own.tcp.as_ref().map(text) == lines.tcp.as_ref().map(text)
    })
}

/// What a claim on tracing refers to by name, where sampling is part of it: `None` but in a mesh of Kuma's that is written
/// as 2.x was before policies.
pub fn sampled_provider(mesh: &ObservabilityMesh, claim: &TraceClaim) -> Option<Provider> {
    kuma_of(mesh).filter(|kuma| kuma.legacy)?;
    legacy::tracing(claim.backend.as_ref()?, &claim.sampling).ok()
}

/// The address that a log backend sends to, if it does.
pub fn log_endpoint(backend: &LogBackend) -> Option<&Endpoint> {
    let otlp = backend.otlp.as_ref().map(|otlp| &otlp.endpoint);
    let als = || backend.envoy_als.as_ref().map(|als| &als.endpoint);
    otlp.or_else(als).or(backend.tcp.as_ref().map(|tcp| &tcp.endpoint))
}

/// A log backend of a mesh.
///
/// # Errors
/// The mesh has none of that name.
pub fn log_backend<'m>(mesh: &'m ObservabilityMesh, path: &str, name: &str) -> Result<&'m LogBackend, Finding> {
    let backends = &mesh.spec.logging.backends;
    let known = || backends.iter().map(|b| b.name.as_str()).collect();
    let found = backends.iter().find(|backend| backend.name == name);
    found.ok_or_else(|| unknown_backend(path, name, mesh, known()))
}

/// A tracing backend of a mesh.
///
/// # Errors
/// The mesh has none of that name.
pub fn trace_backend<'m>(mesh: &'m ObservabilityMesh, path: &str, name: &str) -> Result<&'m TraceBackend, Finding> {
    let backends = mesh.spec.tracing.iter().flat_map(|t| &t.backends);
    let found = backends.clone().find(|b| b.name == name);
    found.ok_or_else(|| unknown_backend(path, name, mesh, backends.map(|b| b.name.as_str()).collect()))
}

/// Why a mesh that is written as Kuma 2.x was before policies sends no spans by OTLP.
pub const NO_OTLP_SPANS: &str = "tracing of a Mesh knows Zipkin and Datadog only";

/// Where the proxies of a mesh send spans to.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTarget {
    /// What tells it from others.
    pub name: String,
    /// What refers to it by name.
    pub provider: Option<Provider>,
    /// The receiver itself, where nothing does.
    pub backend: Option<kuma::TraceBackend>,
}

/// Where spans go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanReceiver<'m> {
    /// A receiver of OTLP.
    Otlp(&'m OtlpBackend),
    /// A receiver of Zipkin's format.
    Zipkin(&'m ZipkinBackend),
    /// Datadog's agent.
    Datadog(&'m Endpoint),
}

impl<'m> SpanReceiver<'m> {
    /// The receiver of a mesh's backend.
    ///
    /// # Errors
    /// The backend lacks its settings.
    pub fn of_backend(mesh: &ObservabilityMesh, backend: &'m TraceBackend) -> Result<Self, Finding> {
        let datadog = backend.datadog.as_ref().map(|d| &d.endpoint);
        Self::of(backend.otlp.as_ref(), backend.zipkin.as_ref(), datadog)
            .ok_or_else(|| lacks_settings(mesh, &backend.name))
    }

    /// The receiver that a policy names by its own address; `None` for one of the mesh's backends.
    pub fn of_destination(destination: &'m Destination) -> Option<Self> {
        let datadog = destination.datadog.as_ref().map(|d| &d.endpoint);
        let otlp = destination.otlp.as_ref().map(|otlp| &otlp.receiver);
        Self::of(otlp, destination.zipkin.as_ref(), datadog)
    }

    fn of(
        otlp: Option<&'m OtlpBackend>,
        zipkin: Option<&'m ZipkinBackend>,
        datadog: Option<&'m Endpoint>,
    ) -> Option<Self> {
        let otlp = otlp.map(Self::Otlp);
        otlp.or(zipkin.map(Self::Zipkin)).or(datadog.map(Self::Datadog))
    }

    /// Its address.
    pub const fn endpoint(self) -> &'m Endpoint {
        match self {
            Self::Otlp(otlp) => &otlp.endpoint,
            Self::Zipkin(zipkin) => &zipkin.endpoint,
            Self::Datadog(endpoint) => endpoint,
        }
    }

    /// Its address where it takes OTLP over gRPC.
    pub fn otlp_grpc(self) -> Option<&'m Endpoint> {
        match self {
            Self::Otlp(otlp) if otlp.protocol == OtlpProtocol::Grpc => Some(&otlp.endpoint),
            _ => None,
        }
    }

    /// Where the proxies of a mesh send spans to.
    ///
    /// # Errors
    /// The finding where they cannot: `backend` is what to call it.
    pub fn target(self, view: &View<'_>, mesh: &ObservabilityMesh, backend: &str) -> Result<SpanTarget, Finding> {
        let Some(kuma) = kuma_of(mesh) else {
            let provider = self
                .provider()
                .ok_or_else(|| not_in_registry(mesh, backend, self.endpoint()))?;
            return Ok(SpanTarget {
                name: provider.name.clone(),
                provider: Some(provider),
                backend: None,
            });
        };
        let knows = knows(view, &kuma).map_err(|error| cannot_be_written(ConditionType::Accepted, error))?;
        let made = match self {
            Self::Otlp(otlp) => kuma::Receiver::of_spans(otlp, &knows)
                .map(kuma::TraceBackend::OpenTelemetry)
                .map_err(|why| {
                    let message = format!("Backend {backend} of ObservabilityMesh {}: {why}.", name_of(mesh));
                    rejected(Reason::NotExpressible, message)
                })?,
            Self::Zipkin(zipkin) => kuma::TraceBackend::zipkin(&zipkin.endpoint, zipkin.path.as_deref()),
            Self::Datadog(endpoint) => kuma::TraceBackend::datadog(endpoint),
        };
        let provider = match &made {
            kuma::TraceBackend::OpenTelemetry(_) if kuma.legacy => {
                let message = format!(
                    "Backend {backend} of ObservabilityMesh {}: {NO_OTLP_SPANS}; use one of them, or remove spec.mesh.kuma.legacy.",
                    name_of(mesh)
                );
                return Err(rejected(Reason::NotExpressible, message));
            }
            kuma::TraceBackend::OpenTelemetry(receiver) if knows.receivers == Receivers::Backend => {
                Some(receiver.backend(name_of(mesh)))
            }
            _ => None,
        };
        Ok(SpanTarget {
            name: made.name(),
            provider,
            backend: Some(made),
        })
    }

    /// The extension provider that sends there; `None` where the host is no Service with its namespace.
    pub fn provider(self) -> Option<Provider> {
        match self {
            Self::Otlp(otlp) => Provider::otlp_tracing(otlp),
            Self::Zipkin(zipkin) => Provider::zipkin(zipkin),
            Self::Datadog(endpoint) => Provider::datadog(endpoint),
        }
    }

    /// The finding that its Service, or its port, is missing. Only proxies go by what a port is said to speak.
    pub fn missing(self, view: &View<'_>, mesh: &ObservabilityMesh) -> Option<Finding> {
        let is_grpc = istio_of(mesh).is_some() && self.otlp_grpc().is_some();
        let transport = if is_grpc { Transport::Grpc } else { Transport::Tcp };
        missing_service(view, self.endpoint(), transport)
    }
}

/// Where the spans of a TracingBackend go: a backend of the mesh, or a Service of its own namespace where the mesh allows
/// it.
///
/// # Errors
/// The finding where it may not, or where the mesh has no such backend.
pub fn receiver<'m>(
    mesh: &'m ObservabilityMesh,
    namespace: &str,
    tracing: &'m TracingBackend,
) -> Result<SpanReceiver<'m>, Finding> {
    let destination = &tracing.spec.destination;
    if destination.type_ == DestinationType::MeshBackend {
        let Some(wanted) = &destination.mesh_backend else {
            let message = "spec.destination.meshBackend is missing; name a backend of the mesh.";
            return Err(rejected(Reason::InvalidSpec, message));
        };
        let backend = trace_backend(mesh, "spec.destination.meshBackend.name", &wanted.name)?;
        return SpanReceiver::of_backend(mesh, backend);
    }
    let Some(custom) = SpanReceiver::of_destination(destination) else {
        let message = "spec.destination lacks the member of its type; apply the resource again.";
        return Err(rejected(Reason::InvalidSpec, message));
    };
    let allowed = mesh
        .spec
        .tracing
        .as_ref()
        .map(|t| t.custom_backends)
        .unwrap_or_default();
    if allowed == CustomBackends::Denied {
        let message = format!(
            "spec.destination: ObservabilityMesh {} lets nobody send to an address of their own (tracing.customBackends: Denied); use type: MeshBackend, or ask the platform team.",
            name_of(mesh)
        );
        return Err(rejected(Reason::LimitedByMesh, message));
    }
    let host = &custom.endpoint().host;
    if custom.endpoint().service().is_none_or(|(of, _)| of != namespace) {
        let message = format!(
            "spec.destination: host {host} is no Service of namespace {namespace} (tracing.customBackends: SameNamespace); write NAME.{namespace}.svc.cluster.local."
        );
        return Err(rejected(Reason::LimitedByMesh, message));
    }
    Ok(custom)
}

fn unknown_backend(path: &str, name: &str, mesh: &ObservabilityMesh, known: Vec<&str>) -> Finding {
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        some_names(known)
    };
    let message = format!(
        "{path}: ObservabilityMesh {} has no backend {name}; it has {known}.",
        name_of(mesh)
    );
    unresolved(Reason::UnknownBackend, message)
}

fn lacks_settings(mesh: &ObservabilityMesh, backend: &str) -> Finding {
    let message = format!(
        "Backend {backend} of ObservabilityMesh {} lacks its settings; apply the ObservabilityMesh again.",
        name_of(mesh)
    );
    rejected(Reason::InvalidSpec, message)
}

/// The finding that istiod could not send to a backend's host.
pub fn not_in_registry(mesh: &ObservabilityMesh, backend: &str, endpoint: &Endpoint) -> Finding {
    let message = format!(
        "Backend {backend} of ObservabilityMesh {}: istiod only sends to what is in its registry; write the host as NAME.NAMESPACE.svc.cluster.local, not {}.",
        name_of(mesh),
        endpoint.host
    );
    rejected(Reason::NotExpressible, message)
}

/// What a backend's port has to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// gRPC: Envoy needs to know that the upstream speaks HTTP/2.
    Grpc,
    /// Anything over TCP.
    Tcp,
}

/// The finding that a backend's Service, or its port, does not exist or does not speak what is needed. A host that is no
/// Service of this cluster is not looked up.
pub fn missing_service(view: &View<'_>, endpoint: &Endpoint, transport: Transport) -> Option<Finding> {
    let (namespace, name) = endpoint.service()?;
    let service = match view.object(Kind::Service, &Key::new(namespace, name)) {
        Fact::Present(service) => service,
        Fact::Unknown => {
            let message = format!("Service {namespace}/{name} has not been read yet.");
            let type_ = ConditionType::ResolvedRefs;
            return Some(Finding::unknown(type_, Reason::FactsPending, message));
        }
        _ => {
            let message = format!(
                "Service {namespace}/{name} does not exist; create it, or correct the backend's endpoint.host."
            );
            return Some(unresolved(Reason::ServiceNotFound, message));
        }
    };
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let number = |port: &Value| port.get("port").and_then(Value::as_i64);
    let ports: Vec<&Value> = ports
        .into_iter()
        .flatten()
        .filter(|port| number(port).is_some())
        .collect();
    let Some(port) = ports.iter().find(|port| number(port) == Some(i64::from(endpoint.port))) else {
        let has = some_names(
            ports
                .iter()
                .filter_map(|port| number(port))
                .map(|number| number.to_string()),
        );
        let message = format!(
            "Service {namespace}/{name} has no port {}; it has {has}. Correct the backend's endpoint.port.",
            endpoint.port
        );
        return Some(unresolved(Reason::ServicePortNotFound, message));
    };
    (!speaks(port, transport)).then(|| {
        let message = match transport {
            Transport::Grpc => format!(
                "Port {} of Service {namespace}/{name} is not known to speak gRPC, so a proxy would talk HTTP/1.1 to it; name it grpc or grpc-…, or set its appProtocol: grpc.",
                endpoint.port
            ),
            Transport::Tcp => format!(
                "Port {} of Service {namespace}/{name} is not TCP; name a TCP port in the backend's endpoint.port.",
                endpoint.port
            ),
        };
        unresolved(Reason::ServicePortProtocol, message)
    })
}

impl Transport {
    /// What the receivers of a mesh's logs have to speak. Kuma tells its proxies itself that a receiver speaks HTTP/2.
    pub fn of_logs(mesh: &ObservabilityMesh) -> Self {
        match kuma_of(mesh) {
            Some(_) => Self::Tcp,
            None => Self::Grpc,
        }
    }
}

/// Whether Istio takes a Service's port for what is needed: by `appProtocol`, else by the first part of its name.
fn speaks(port: &Value, transport: Transport) -> bool {
    let text = |member| port.get(member).and_then(Value::as_str);
    if text("protocol").is_some_and(|protocol| protocol != "TCP") {
        return false;
    }
    if transport == Transport::Tcp {
        return true;
    }
    let said = match (text("appProtocol"), text("name")) {
        (Some(protocol), _) => protocol.to_ascii_lowercase(),
        (None, Some(name)) if name.starts_with("grpc-web") => "grpc-web".to_owned(),
        (None, Some(name)) => name.split('-').next().unwrap_or_default().to_ascii_lowercase(),
        (None, None) => return false,
    };
    matches!(said.as_str(), "grpc" | "http2" | "kubernetes.io/h2c" | "grpc-web")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_speaks_grpc_by_its_app_protocol_or_by_the_first_part_of_its_name() {
        let speaks_grpc = |port: &Value| speaks(port, Transport::Grpc);
        assert!(speaks_grpc(&json!({"name": "grpc-otlp"})));
        assert!(speaks_grpc(&json!({"name": "grpc"})));
        assert!(speaks_grpc(&json!({"name": "otlp", "appProtocol": "grpc"})));
        assert!(speaks_grpc(&json!({"name": "http2"})));
        assert!(
            !speaks_grpc(&json!({"name": "otlp-grpc"})),
            "only the first part counts"
        );
        assert!(
            !speaks_grpc(&json!({"name": "grpc", "appProtocol": "http"})),
            "appProtocol wins over the name"
        );
        assert!(
            !speaks_grpc(&json!({})),
            "one without a name is sniffed, and stays HTTP/1.1"
        );
        assert!(!speaks(&json!({"name": "grpc", "protocol": "UDP"}), Transport::Tcp));
    }
}
