//! What a policy claims, once its spec is checked against the mesh it belongs to.
//!
//! A claim is a plain value. The ones that an object was made of are written to its annotation `sightline.dev/sources`,
//! so that the last good claim of a policy can be read back while its present spec cannot be programmed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{
    Direction, Encoding, FormatPreset, LineFormat, LogBackend, LogFormat, MatchLabels, ObservabilityMesh, Permission,
    TraceBackend, TracingBackend, TrafficLog,
};
use crate::format::{self, EnvoyVersion};
use crate::policy::membership::{self, istio_of, name_of, root_namespace};
use crate::policy::versions::oldest_proxy;
use crate::render::istio::provider::Provider;
use crate::snapshot::{Fact, Key, Kind, View};

/// Share of requests that is sampled where nobody says: Istio's own default.
pub const DEFAULT_SAMPLING: &str = "1";

/// Labels of a selector; empty for a policy that holds for the whole namespace.
pub type Labels = BTreeMap<String, String>;

/// Kinds of policy.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// A TrafficLog.
    TrafficLog,
    /// A TracingBackend.
    TracingBackend,
}

/// The policy that a claim comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Kind of the policy.
    pub kind: PolicyKind,
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub name: String,
    /// UID, absent in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Generation of the spec that the claim was made from, absent in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

impl Source {
    fn new(kind: PolicyKind, key: &Key, metadata: &kube::core::ObjectMeta) -> Self {
        Self {
            kind,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: metadata.uid.clone(),
            generation: metadata.generation,
        }
    }

    /// Whether both speak of the same object, whatever its generation.
    pub fn is_same_object(&self, other: &Self) -> bool {
        (self.kind, &self.namespace, &self.name, &self.uid) == (other.kind, &other.namespace, &other.name, &other.uid)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One side of a workload's traffic.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Requests that it receives.
    Inbound,
    /// Requests that it makes.
    Outbound,
}

impl Side {
    /// Both sides.
    pub const BOTH: [Self; 2] = [Self::Inbound, Self::Outbound];

    /// The sides of a direction.
    pub fn of(direction: Direction) -> Vec<Self> {
        match direction {
            Direction::Inbound => vec![Self::Inbound],
            Direction::Outbound => vec![Self::Outbound],
            Direction::Both => Self::BOTH.to_vec(),
        }
    }
}

/// What a TrafficLog claims.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LogClaim {
    /// Where it comes from.
    pub source: Source,
    /// Its mesh.
    pub mesh: String,
    /// Its selector.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: Labels,
    /// Its priority.
    pub priority: i32,
    /// The sides that it names.
    pub sides: Vec<Side>,
    /// Provider by backend; empty where it switches logging off.
    pub backends: BTreeMap<String, String>,
}

/// What a TracingBackend claims of the mesh's proxies.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TraceClaim {
    /// Where it comes from.
    pub source: Source,
    /// Its mesh.
    pub mesh: String,
    /// Its selector.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: Labels,
    /// Extension provider that spans go through.
    pub provider: String,
    /// Share of requests in percent, as a decimal.
    pub sampling: String,
}

/// What the annotation `sightline.dev/sources` holds: the claims that an object was made of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sources {
    /// Claims of TrafficLogs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogClaim>,
    /// The claim of a TracingBackend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<TraceClaim>,
}

impl Sources {
    /// Adds those of another object.
    pub fn extend(&mut self, other: Self) {
        self.logs.extend(other.logs);
        self.traces.extend(other.traces);
    }
}

/// A policy's spec, checked against its mesh.
#[derive(Clone, Debug)]
pub struct Checked<'a, C> {
    /// The mesh that it belongs to.
    pub mesh: Option<&'a Arc<ObservabilityMesh>>,
    /// `Accepted` and `ResolvedRefs`.
    pub findings: Vec<Finding>,
    /// What it claims; `None` where a finding fails, or where it asks for nothing of a mesh.
    pub claim: Option<C>,
    /// Extension providers that the claim names.
    pub providers: Vec<Provider>,
    /// What the mesh's tenancy took away, in a sentence.
    pub limited: Option<String>,
    /// Whether, without a claim, the last good one stays in force.
    pub keeps_last_good: bool,
    /// Paths of the spec that the target cannot say.
    pub not_expressed: Vec<String>,
}

impl<C> Checked<'_, C> {
    fn failed(mesh: Option<&'_ Arc<ObservabilityMesh>>, finding: Finding) -> Checked<'_, C> {
        let accepted = Finding::holds(ConditionType::Accepted, Reason::Accepted, "The spec makes sense here.");
        let findings = if finding.type_ == ConditionType::Accepted {
            vec![finding]
        } else {
            vec![accepted, finding]
        };
        Checked {
            mesh,
            findings,
            claim: None,
            providers: Vec::new(),
            limited: None,
            keeps_last_good: true,
            not_expressed: Vec::new(),
        }
    }

    /// Whether no finding fails.
    pub fn is_good(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.status == crate::conditions::Truth::True)
    }
}

fn good_findings() -> Vec<Finding> {
    vec![
        Finding::holds(ConditionType::Accepted, Reason::Accepted, "The spec makes sense here."),
        Finding::holds(
            ConditionType::ResolvedRefs,
            Reason::Resolved,
            "All that the spec names exists and may be used.",
        ),
    ]
}

fn rejected(reason: Reason, message: impl Into<String>) -> Finding {
    Finding::fails(ConditionType::Accepted, reason, message)
}

fn unresolved(reason: Reason, message: impl Into<String>) -> Finding {
    Finding::fails(ConditionType::ResolvedRefs, reason, message)
}

fn not_a_member<'a, C>(error: membership::NotAMember) -> Checked<'a, C> {
    let finding = if error.reason == Reason::FactsPending {
        Finding::unknown(ConditionType::ResolvedRefs, error.reason, error.message)
    } else {
        unresolved(error.reason, error.message)
    };
    // Without a mesh there is nobody to serve; while it is unclear which one, what is live stays.
    let keeps_last_good = error.reason != Reason::NoMesh;
    Checked {
        keeps_last_good,
        ..Checked::failed(None, finding)
    }
}

fn labels_of(selector: Option<&MatchLabels>) -> Labels {
    selector.map(|s| s.match_labels.clone()).unwrap_or_default()
}

/// Checks a TrafficLog against its mesh.
pub fn check_traffic_log<'a>(view: &View<'a>, key: &Key, log: &TrafficLog) -> Checked<'a, LogClaim> {
    let spec = &log.spec;
    let mesh = match membership::mesh_of(view, &key.namespace, spec.mesh_ref.as_ref()) {
        Ok(mesh) => mesh,
        Err(error) => return not_a_member(error),
    };
    let Some(istio) = istio_of(mesh) else {
        let message = format!(
            "ObservabilityMesh {} is of type None: there is no proxy that could log. Remove this TrafficLog, or use a mesh of type Istio.",
            name_of(mesh)
        );
        return Checked {
            keeps_last_good: false,
            ..Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message))
        };
    };
    let is_tenant = match root_namespace(view, &istio) {
        Ok(root) => root != key.namespace,
        Err(error) => return not_a_member(error),
    };
    if let Some(refused) = would_be_mesh_wide(view, key, mesh, spec.selector.is_none()) {
        return refused;
    }
    let tenancy = &mesh.spec.tenancy;
    let mut claim = LogClaim {
        source: Source::new(PolicyKind::TrafficLog, key, &log.metadata),
        mesh: name_of(mesh).to_owned(),
        selector: labels_of(spec.selector.as_ref()),
        priority: spec.priority,
        sides: Side::of(spec.direction),
        backends: BTreeMap::new(),
    };
    if spec.disabled {
        if is_tenant && tenancy.disable_logging == Permission::Denied {
            let message = format!(
                "spec.disabled: ObservabilityMesh {} does not let tenants switch logging off (tenancy.disableLogging: Denied); remove spec.disabled, or ask the platform team.",
                name_of(mesh)
            );
            return Checked {
                keeps_last_good: false,
                ..Checked::failed(Some(mesh), rejected(Reason::LimitedByMesh, message))
            };
        }
        return Checked {
            mesh: Some(mesh),
            findings: good_findings(),
            claim: Some(claim),
            providers: Vec::new(),
            limited: None,
            keeps_last_good: false,
            not_expressed: Vec::new(),
        };
    }
    let (format, limited) = permitted_format(mesh, spec.format.as_ref(), is_tenant);
    let compiled = match oldest_proxy(view, mesh, &istio) {
        Ok(oldest) => compile(&format.line, oldest.version),
        Err(error) => return not_a_member(error),
    };
    let compiled = match &*compiled {
        Ok(compiled) => compiled,
        Err(error) => {
            let place = if spec.format.is_some() && limited.is_none() {
                "spec.format".to_owned()
            } else {
                format!("spec.logging.format of ObservabilityMesh {}", name_of(mesh))
            };
            return Checked::failed(Some(mesh), rejected(Reason::InvalidFormat, format!("{place}: {error}")));
        }
    };
    let names = if spec.backends.is_empty() {
        mesh.spec.logging.effective_default_backends()
    } else {
        spec.backends.clone()
    };
    let mut providers = Vec::new();
    for name in names {
        let Some(backend) = mesh.spec.logging.backends.iter().find(|backend| backend.name == name) else {
            return Checked::failed(
                Some(mesh),
                unknown_backend("spec.backends", &name, mesh, backend_names(mesh)),
            );
        };
        let Some(provider) = log_provider(backend, compiled) else {
            let message = format!(
                "Backend {name} of ObservabilityMesh {} lacks its settings.",
                name_of(mesh)
            );
            return Checked::failed(Some(mesh), rejected(Reason::InvalidSpec, message));
        };
        claim.backends.insert(name, provider.name.clone());
        providers.push(provider);
    }
    Checked {
        mesh: Some(mesh),
        findings: good_findings(),
        claim: Some(claim),
        providers,
        limited,
        keeps_last_good: true,
        not_expressed: Vec::new(),
    }
}

/// Refuses a policy without selector in the root namespace of a mesh that it does not belong to.
fn would_be_mesh_wide<'a, C>(
    view: &View<'a>,
    key: &Key,
    mesh: &'a Arc<ObservabilityMesh>,
    without_selector: bool,
) -> Option<Checked<'a, C>> {
    if !without_selector {
        return None;
    }
    match membership::other_mesh_rooted_in(view, &key.namespace, mesh) {
        Ok(None) => None,
        Err(error) => Some(not_a_member(error)),
        Ok(Some(other)) => {
            let message = format!(
                "Namespace {} is the root namespace of ObservabilityMesh {other}: without a selector this would hold for all of that mesh. Add spec.selector.",
                key.namespace
            );
            Some(Checked {
                keeps_last_good: false,
                ..Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message))
            })
        }
    }
}

fn backend_names(mesh: &ObservabilityMesh) -> Vec<&str> {
    mesh.spec.logging.backends.iter().map(|b| b.name.as_str()).collect()
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

fn log_provider(backend: &LogBackend, format: &format::CompiledFormat) -> Option<Provider> {
    Some(Provider::file_access_log(&backend.file.as_ref()?.path, format))
}

/// The format that a policy may have: its own where the mesh's tenancy allows it, else the mesh's, with a sentence that
/// says so.
fn permitted_format<'m>(
    mesh: &'m ObservabilityMesh,
    own: Option<&'m LogFormat>,
    is_tenant: bool,
) -> (&'m LogFormat, Option<String>) {
    let of_mesh = &mesh.spec.logging.format;
    let Some(own) = own else { return (of_mesh, None) };
    let tenancy = &mesh.spec.tenancy;
    let denied = if !is_tenant {
        None
    } else if tenancy.override_format == Permission::Denied {
        Some("only the mesh's own format (tenancy.overrideFormat: Denied)")
    } else if tenancy.custom_formats == Permission::Denied
        && own
            .lines()
            .any(|(_, line)| line.text.is_some() || !line.fields.is_empty())
    {
        Some("only presets (tenancy.customFormats: Denied)")
    } else {
        None
    };
    match denied {
        None => (own, None),
        Some(what) => {
            let name = name_of(mesh);
            (
                of_mesh,
                Some(format!(
                    "spec.format: ObservabilityMesh {name} allows tenants {what}; the mesh's format is used."
                )),
            )
        }
    }
}

/// What compiling a format gives.
type CompiledOrNot = Result<format::CompiledFormat, format::FormatErrors>;

/// Compiled formats by what was compiled.
type CompiledFormats = HashMap<(LineFormat, EnvoyVersion), Arc<CompiledOrNot>>;

/// Most compiled formats that are remembered.
const REMEMBERED_FORMATS: usize = 4096;

/// Compiles a format as users write it.
///
/// Every pass over a namespace needs the formats of all its policies, and they seldom change: results are remembered,
/// by content, so that what is remembered can never be wrong.
pub fn compile(format: &LineFormat, oldest: EnvoyVersion) -> Arc<CompiledOrNot> {
    static REMEMBERED: LazyLock<Mutex<CompiledFormats>> = LazyLock::new(Mutex::default);
    let key = (format.clone(), oldest);
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = remembered.get(&key) {
        return compiled.clone();
    }
    if remembered.len() >= REMEMBERED_FORMATS {
        remembered.clear();
    }
    let compiled = Arc::new(compile_anew(format, oldest));
    remembered.insert(key, compiled.clone());
    compiled
}

fn compile_anew(format: &LineFormat, oldest: EnvoyVersion) -> CompiledOrNot {
    let base = match (&format.text, format.preset) {
        (Some(text), _) => format::Base::Text(text.clone()),
        (None, Some(FormatPreset::Istio)) => format::Base::Preset(format::Preset::Istio),
        (None, Some(FormatPreset::Envoy)) => format::Base::Preset(format::Preset::Envoy),
        (None, None) => format::Base::Empty,
    };
    let encoding = match format.encoding {
        Encoding::Text => format::Encoding::Text,
        Encoding::Json => format::Encoding::Json,
    };
    let fields = format
        .fields
        .iter()
        .map(|f| format::Field {
            name: f.name.clone(),
            value: f.value.clone(),
            nest: false,
        })
        .collect();
    let spec = format::FormatSpec {
        encoding,
        base,
        fields,
        omit: format.omit.clone(),
    };
    format::compile(&spec, oldest).map(|compiled| compiled.format)
}

/// Checks a TracingBackend against its mesh: the part that concerns the mesh's proxies.
pub fn check_tracing_backend<'a>(view: &View<'a>, key: &Key, tracing: &TracingBackend) -> Checked<'a, TraceClaim> {
    let spec = &tracing.spec;
    let mesh = match membership::mesh_of(view, &key.namespace, spec.mesh_ref.as_ref()) {
        Ok(mesh) => mesh,
        Err(error) => return not_a_member(error),
    };
    let backend = match trace_backend(mesh, tracing) {
        Ok(backend) => backend,
        Err(finding) => return Checked::failed(Some(mesh), finding),
    };
    let Some(otlp) = &backend.otlp else {
        let message = format!(
            "Backend {} of ObservabilityMesh {} lacks otlp.",
            backend.name,
            name_of(mesh)
        );
        return Checked::failed(Some(mesh), rejected(Reason::InvalidSpec, message));
    };
    if let Some(finding) = missing_service(view, &otlp.endpoint) {
        return Checked::failed(Some(mesh), finding);
    }
    let mut checked = Checked {
        mesh: Some(mesh),
        findings: good_findings(),
        claim: None,
        providers: Vec::new(),
        limited: None,
        keeps_last_good: true,
        not_expressed: Vec::new(),
    };
    let istio = istio_of(mesh);
    if spec.sampling.is_some() && (istio.is_none() || !spec.inject.is_empty()) {
        checked
            .not_expressed
            .push("spec.sampling (interLink samples every request)".into());
    }
    let Some(istio) = istio else {
        if spec.selector.is_some() {
            checked
                .not_expressed
                .push("spec.selector (there are no proxies)".into());
        }
        if spec.inject.is_empty() {
            let message = format!(
                "ObservabilityMesh {} is of type None: there is no proxy that could trace. Add inject, or use a mesh of type Istio.",
                name_of(mesh)
            );
            return Checked {
                keeps_last_good: false,
                ..Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message))
            };
        }
        return checked;
    };
    let Some(provider) = Provider::otlp_tracing(&otlp.endpoint) else {
        let message = format!(
            "Backend {} of ObservabilityMesh {}: istiod only sends to what is in its registry; write the host as NAME.NAMESPACE.svc.cluster.local, not {}.",
            backend.name,
            name_of(mesh),
            otlp.endpoint.host
        );
        return Checked::failed(Some(mesh), rejected(Reason::NotExpressible, message));
    };
    let wanted = spec
        .sampling
        .as_ref()
        .map_or(DEFAULT_SAMPLING, |s| s.percentage.as_str());
    let is_tenant = match root_namespace(view, &istio) {
        Ok(root) => root != key.namespace,
        Err(error) => return not_a_member(error),
    };
    if let Some(refused) = would_be_mesh_wide(view, key, mesh, spec.selector.is_none()) {
        return refused;
    }
    let Some((sampling, limited)) = permitted_sampling(mesh, wanted, is_tenant) else {
        let message =
            format!("spec.sampling.percentage: {wanted} is no share in percent; write a decimal such as 0.5.");
        return Checked::failed(Some(mesh), rejected(Reason::InvalidSpec, message));
    };
    checked.limited = limited;
    checked.claim = Some(TraceClaim {
        source: Source::new(PolicyKind::TracingBackend, key, &tracing.metadata),
        mesh: name_of(mesh).to_owned(),
        selector: labels_of(spec.selector.as_ref()),
        provider: provider.name.clone(),
        sampling,
    });
    checked.providers.push(provider);
    checked
}

/// The mesh's tracing backend that a TracingBackend names.
pub fn trace_backend<'m>(mesh: &'m ObservabilityMesh, tracing: &TracingBackend) -> Result<&'m TraceBackend, Finding> {
    let Some(wanted) = &tracing.spec.destination.mesh_backend else {
        return Err(rejected(
            Reason::InvalidSpec,
            "spec.destination.meshBackend is missing; name a backend of the mesh.",
        ));
    };
    let backends = mesh.spec.tracing.iter().flat_map(|t| &t.backends);
    backends.clone().find(|b| b.name == wanted.name).ok_or_else(|| {
        let known = backends.map(|b| b.name.as_str()).collect();
        unknown_backend("spec.destination.meshBackend.name", &wanted.name, mesh, known)
    })
}

/// The finding that a backend's Service, or its port, does not exist. A host that is no Service of this cluster is not
/// looked up.
pub fn missing_service(view: &View<'_>, endpoint: &crate::crds::Endpoint) -> Option<Finding> {
    let (namespace, name) = endpoint.service()?;
    let service = match view.object(Kind::Service, &Key::new(namespace, name)) {
        Fact::Present(service) => service,
        Fact::Unknown => {
            let message = format!("Service {namespace}/{name} has not been read yet.");
            return Some(Finding::unknown(
                ConditionType::ResolvedRefs,
                Reason::FactsPending,
                message,
            ));
        }
        _ => {
            let message = format!(
                "Service {namespace}/{name} does not exist; create it, or correct the backend's endpoint.host."
            );
            return Some(unresolved(Reason::ServiceNotFound, message));
        }
    };
    let ports: Vec<i64> = service
        .pointer("/spec/ports")
        .and_then(|ports| ports.as_array())
        .into_iter()
        .flatten()
        .filter_map(|port| port.get("port")?.as_i64())
        .collect();
    (!ports.contains(&i64::from(endpoint.port))).then(|| {
        let has = some_names(ports.iter().map(ToString::to_string));
        let message = format!(
            "Service {namespace}/{name} has no port {}; it has {has}. Correct the backend's endpoint.port.",
            endpoint.port
        );
        unresolved(Reason::ServicePortNotFound, message)
    })
}

fn permitted_sampling(mesh: &ObservabilityMesh, wanted: &str, is_tenant: bool) -> Option<(String, Option<String>)> {
    let asked: f64 = wanted.parse().ok().filter(|p| (0.0..=100.0).contains(p))?;
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
