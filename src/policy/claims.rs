//! What policies claim: plain values, made by checking a spec against its mesh.
//!
//! The claims that an object was made of are written to its annotation `sightline.dev/sources`, so that the last good
//! claim of a policy can be read back while its present spec cannot be programmed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::membership::NotAMember;
use crate::conditions::{ConditionType, Finding, Reason, Truth};
use crate::crds::{Direction, MatchLabels, MetricOverride, ObservabilityMesh, Tag, TargetKind, TargetRef};
use crate::render::Provider;
use crate::render::kuma::backend::{LogBackend, Metrics, TraceBackend};
use crate::snapshot::Key;

/// Share of requests that is sampled where nobody says: Istio's own default.
pub const DEFAULT_SAMPLING: &str = "1";

/// Labels of a selector; empty for a policy that holds for the whole namespace.
pub type Labels = BTreeMap<String, String>;

/// Kinds of resource that claims come from.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// A TrafficLog.
    TrafficLog,
    /// A TracingBackend.
    TracingBackend,
    /// An ObservabilityMesh: what it requires or does by default.
    ObservabilityMesh,
}

/// The resource that a claim comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Kind of the resource.
    pub kind: PolicyKind,
    /// Namespace of the resource; empty for an ObservabilityMesh.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    /// UID, absent in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Generation of the spec that the claim was made from, absent in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

impl Source {
    /// The source of a claim of this resource.
    pub fn new(kind: PolicyKind, key: &Key, metadata: &kube::core::ObjectMeta) -> Self {
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
        if self.namespace.is_empty() {
            write!(f, "{:?} {}", self.kind, self.name)
        } else {
            write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
        }
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

/// Workloads of a namespace that one object holds for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadSet {
    /// Those whose pods carry these labels; none: the whole namespace.
    Labels(Labels),
    /// The proxies of a gateway, or a waypoint's for one Service or ServiceEntry.
    Target(TargetKind, String),
}

impl WorkloadSet {
    /// The whole namespace.
    pub const fn namespace() -> Self {
        Self::Labels(Labels::new())
    }

    /// Whether it is the whole namespace.
    pub fn is_namespace(&self) -> bool {
        matches!(self, Self::Labels(labels) if labels.is_empty())
    }

    /// Whether workloads of `self` may be in `wider` too, so that its object has to be the newer one. A waypoint applies
    /// what is attached to its Gateway and then what is attached to the Service. The pods of a gateway may carry any
    /// labels; those of a waypoint are never selected by them, but which of the two a Gateway is, its name does not tell.
    pub fn is_within(&self, wider: &Self) -> bool {
        match (self, wider) {
            (Self::Labels(labels), Self::Labels(fewer)) => is_subset(fewer, labels),
            (Self::Target(TargetKind::Service | TargetKind::ServiceEntry, _), Self::Target(TargetKind::Gateway, _))
            | (Self::Target(TargetKind::Gateway, _), Self::Labels(_)) => true,
            (Self::Target(..), Self::Labels(labels)) => labels.is_empty(),
            (Self::Target(..), Self::Target(..)) => self == wider,
            (Self::Labels(_), Self::Target(..)) => false,
        }
    }
}

/// Whether all of `a` stands in `b` too: then each pod that `b` selects, `a` selects too.
pub fn is_subset(a: &Labels, b: &Labels) -> bool {
    a.iter().all(|(key, value)| b.get(key) == Some(value))
}

/// The labels of pods that match both; `None` where no pod can.
pub fn intersection(a: &Labels, b: &Labels) -> Option<Labels> {
    let disjoint = a
        .iter()
        .any(|(key, value)| b.get(key).is_some_and(|other| other != value));
    (!disjoint).then(|| a.iter().chain(b).map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// Which workloads of its namespace a policy holds for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Labels; empty: all workloads, unless there are targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: Labels,
    /// Gateways, Services and ServiceEntries.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub targets: BTreeSet<(TargetKind, String)>,
}

impl Selection {
    /// What a spec selects.
    pub fn new(selector: Option<&MatchLabels>, targets: &[TargetRef]) -> Self {
        Self {
            selector: selector.map(|s| s.match_labels.clone()).unwrap_or_default(),
            targets: targets.iter().map(|t| (t.kind, t.name.clone())).collect(),
        }
    }

    /// Whether it is the whole namespace.
    pub fn is_namespace(&self) -> bool {
        self.selector.is_empty() && self.targets.is_empty()
    }

    /// The sets that it consists of.
    pub fn sets(&self) -> Vec<WorkloadSet> {
        if self.targets.is_empty() {
            return vec![WorkloadSet::Labels(self.selector.clone())];
        }
        let target = |(kind, name): &(TargetKind, String)| WorkloadSet::Target(*kind, name.clone());
        self.targets.iter().map(target).collect()
    }

    /// The workloads that two different selectors may both select.
    pub fn meets(&self, other: &Self) -> Option<WorkloadSet> {
        let selects = |selection: &Self| selection.targets.is_empty() && !selection.selector.is_empty();
        let meet = selects(self) && selects(other) && self.selector != other.selector;
        let both = intersection(&self.selector, &other.selector).filter(|_| meet);
        both.map(WorkloadSet::Labels)
    }

    /// Whether it takes every workload of a set that is no whole namespace.
    pub fn takes(&self, set: &WorkloadSet) -> bool {
        match set {
            WorkloadSet::Labels(labels) => {
                self.targets.is_empty() && !self.selector.is_empty() && is_subset(&self.selector, labels)
            }
            WorkloadSet::Target(kind, name) => self.targets.contains(&(*kind, name.clone())),
        }
    }
}

/// A place that log lines go to, and which of them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// What tells the place from others: an extension provider's name, or, with `backend`, that of its content.
    pub provider: String,
    /// CEL expression that is true for what is logged; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The place itself, where it stands in the target's own objects and nothing refers to it by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<LogBackend>,
}

/// What a TrafficLog claims, or a mesh requires.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LogClaim {
    /// Where it comes from.
    pub source: Source,
    /// Its mesh.
    pub mesh: String,
    /// Its workloads.
    #[serde(flatten)]
    pub selection: Selection,
    /// Its priority.
    pub priority: i32,
    /// The sides that it names.
    pub sides: Vec<Side>,
    /// What each backend gets; empty where it switches logging off.
    pub backends: BTreeMap<String, Vec<LogEntry>>,
}

/// What a TracingBackend claims of the mesh's proxies, or a mesh does by default.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TraceClaim {
    /// Where it comes from.
    pub source: Source,
    /// Its mesh.
    pub mesh: String,
    /// Its workloads.
    #[serde(flatten)]
    pub selection: Selection,
    /// What tells the receiver from others: an extension provider's name, or, with `backend`, that of its content.
    pub provider: String,
    /// The receiver itself, where it stands in the target's own objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<TraceBackend>,
    /// Share of requests in percent, as a decimal.
    pub sampling: String,
    /// Tags of every span.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// What claims have in common.
pub trait Claim {
    /// Where it comes from.
    fn source(&self) -> &Source;
    /// Its workloads.
    fn selection(&self) -> &Selection;
    /// Its priority.
    fn priority(&self) -> i32;
    /// Whether it switches logging off, for which Istio's built-in provider is needed.
    fn switches_off(&self) -> bool;
}

impl Claim for LogClaim {
    fn source(&self) -> &Source {
        &self.source
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn priority(&self) -> i32 {
        self.priority
    }
    fn switches_off(&self) -> bool {
        self.backends.is_empty()
    }
}

impl Claim for TraceClaim {
    fn source(&self) -> &Source {
        &self.source
    }
    fn selection(&self) -> &Selection {
        &self.selection
    }
    fn priority(&self) -> i32 {
        0
    }
    fn switches_off(&self) -> bool {
        false
    }
}

/// Changes to metrics that a mesh asks for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MetricsClaim {
    /// The mesh.
    pub source: Source,
    /// The changes to Istio's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<MetricOverride>,
    /// What the proxies of a mesh measure whose metrics are not Istio's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Metrics>,
}

/// What the annotation `sightline.dev/sources` holds: the claims that an object was made of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sources {
    /// Claims on logging.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogClaim>,
    /// The claim on tracing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<TraceClaim>,
    /// Changes to metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsClaim>,
}

impl Sources {
    /// Adds those of another object.
    pub fn extend(&mut self, other: Self) {
        self.logs.extend(other.logs);
        self.traces.extend(other.traces);
        self.metrics = self.metrics.take().or(other.metrics);
    }

    /// Whether both claim the same of the same objects, whatever their generations.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let timeless = |sources: &Self| {
            let mut sources = sources.clone();
            let logs = sources.logs.iter_mut().map(|claim| &mut claim.source);
            let traces = sources.traces.iter_mut().map(|claim| &mut claim.source);
            let metrics = sources.metrics.iter_mut().map(|claim| &mut claim.source);
            logs.chain(traces)
                .chain(metrics)
                .for_each(|source| source.generation = None);
            sources
        };
        timeless(self) == timeless(other)
    }

    /// The resources, each once, in order.
    pub fn resources(&self) -> Vec<&Source> {
        let logs = self.logs.iter().map(|claim| &claim.source);
        let traces = self.traces.iter().map(|claim| &claim.source);
        let mut all: Vec<&Source> = logs
            .chain(traces)
            .chain(self.metrics.iter().map(|m| &m.source))
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Names of the meshes whose claims they are.
    pub fn meshes(&self) -> BTreeSet<&str> {
        let logs = self.logs.iter().map(|claim| claim.mesh.as_str());
        let traces = self.traces.iter().map(|claim| claim.mesh.as_str());
        logs.chain(traces)
            .chain(self.metrics.iter().map(|metrics| metrics.source.name.as_str()))
            .collect()
    }
}

/// What a mesh itself says of every workload of its scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshDefaults {
    /// The mesh.
    pub mesh: String,
    /// What is always logged.
    pub required: Vec<LogClaim>,
    /// Tracing where no TracingBackend of mesh scope says otherwise.
    pub tracing: Option<TraceClaim>,
    /// Changes to metrics.
    pub metrics: Option<MetricsClaim>,
}

/// A policy's spec, checked against its mesh.
#[derive(Clone, Debug)]
pub struct Checked<'a, C> {
    /// The mesh that it belongs to.
    pub mesh: Option<&'a Arc<ObservabilityMesh>>,
    /// `Accepted` and `ResolvedRefs`.
    pub findings: Vec<Finding>,
    /// What it claims; `None` where a finding fails and nothing takes its place, or where it asks for nothing of a mesh.
    pub claim: Option<C>,
    /// What the claim refers to by name.
    pub providers: Vec<Provider>,
    /// What the mesh's tenancy took away, in a sentence.
    pub limited: Option<String>,
    /// Whether, without a claim, the last good one stays in force.
    pub keeps_last_good: bool,
    /// Paths of the spec that the target cannot say.
    pub not_expressed: Vec<String>,
}

impl<'a, C> Checked<'a, C> {
    /// Nothing is wrong with it.
    pub fn good(mesh: &'a Arc<ObservabilityMesh>, claim: Option<C>) -> Self {
        Self {
            mesh: Some(mesh),
            findings: vec![
                Finding::holds(ConditionType::Accepted, Reason::Accepted, "The spec makes sense here."),
                Finding::holds(
                    ConditionType::ResolvedRefs,
                    Reason::Resolved,
                    "All that the spec names exists and may be used.",
                ),
            ],
            claim,
            providers: Vec::new(),
            limited: None,
            keeps_last_good: true,
            not_expressed: Vec::new(),
        }
    }

    /// It holds, but for a part that was withdrawn or that the user is warned of: this finding speaks of it.
    #[must_use]
    pub fn but(mut self, noted: Option<Finding>) -> Self {
        if let Some(finding) = noted {
            self.findings.retain(|other| other.type_ != finding.type_);
            self.findings.insert(0, finding);
        }
        self
    }

    /// A finding fails; what was live before stays.
    pub fn failed(mesh: Option<&'a Arc<ObservabilityMesh>>, finding: Finding) -> Self {
        let accepted = Finding::holds(ConditionType::Accepted, Reason::Accepted, "The spec makes sense here.");
        let findings = if finding.type_ == ConditionType::Accepted {
            vec![finding]
        } else {
            vec![accepted, finding]
        };
        Self {
            mesh,
            findings,
            claim: None,
            providers: Vec::new(),
            limited: None,
            keeps_last_good: true,
            not_expressed: Vec::new(),
        }
    }

    /// A finding fails, and what was live before goes.
    pub fn failed_for_good(mesh: &'a Arc<ObservabilityMesh>, finding: Finding) -> Self {
        Self {
            keeps_last_good: false,
            ..Self::failed(Some(mesh), finding)
        }
    }

    /// It belongs to no mesh.
    pub fn not_a_member(error: NotAMember) -> Self {
        let finding = if error.reason == Reason::FactsPending {
            Finding::unknown(ConditionType::ResolvedRefs, error.reason, error.message)
        } else {
            unresolved(error.reason, error.message)
        };
        // Without a mesh there is nobody to serve; while it is unclear which one, what is live stays.
        let keeps_last_good = error.reason != Reason::NoMesh;
        Self {
            keeps_last_good,
            ..Self::failed(None, finding)
        }
    }

    /// Whether no finding fails.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.status == Truth::True)
    }
}

/// `Accepted` fails.
pub fn rejected(reason: Reason, message: impl Into<String>) -> Finding {
    Finding::fails(ConditionType::Accepted, reason, message)
}

/// `ResolvedRefs` fails.
pub fn unresolved(reason: Reason, message: impl Into<String>) -> Finding {
    Finding::fails(ConditionType::ResolvedRefs, reason, message)
}
