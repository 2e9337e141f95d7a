//! The policies of a namespace and of the root namespaces above it, and which of their objects reach whom.

use std::collections::BTreeMap;

use crate::plan::effective::{Lane, claims_in_force};
use crate::plan::telemetries;
use crate::policy::claims::{LogClaim, Selection, Source, TraceClaim, WorkloadSet};
use crate::policy::membership::{NotAMember, istio_of, meshes_of_namespace, root_namespace};
use crate::policy::resolve::{NamespaceClaims, NamespacePolicy, ObjectPolicy, resolve};
use crate::render::istio::telemetry::object_name;
use crate::snapshot::{Key, View};

/// What holds in one namespace by its own objects.
pub(super) struct OfNamespace {
    pub(super) name: String,
    pub(super) claims: NamespaceClaims,
    pub(super) policy: NamespacePolicy,
    /// The object of each set of workloads: one of somebody else that was adopted, or the one of the usual name.
    objects: BTreeMap<WorkloadSet, Key>,
}

impl OfNamespace {
    pub(super) fn new(view: &View<'_>, name: &str) -> Result<Self, NotAMember> {
        let claims = claims_in_force(view, name, Lane::Istio)?.claims;
        Ok(Self {
            name: name.to_owned(),
            policy: resolve(&claims),
            claims,
            objects: telemetries::plan(view, name)
                .ours
                .into_iter()
                .map(|(set, ours)| (set, ours.key))
                .collect(),
        })
    }

    pub(super) fn key_of(&self, set: &WorkloadSet) -> Key {
        let object = self.objects.get(set).cloned();
        object.unwrap_or_else(|| Key::new(&self.name, object_name(set)))
    }
}

/// A namespace, and what reaches it from above.
pub(super) struct Scopes {
    /// Root namespaces of the meshes that serve it, but itself.
    pub(super) roots: Vec<OfNamespace>,
    /// The namespace.
    pub(super) own: OfNamespace,
}

/// An object that reaches a workload.
pub(super) struct Applied<'s> {
    pub(super) key: Key,
    /// Its scope: `Mesh`, `Namespace` or `Workloads`.
    pub(super) scope: &'static str,
    pub(super) set: &'s WorkloadSet,
    pub(super) policy: &'s ObjectPolicy,
}

/// How deep a claim stands: mesh, namespace, workloads with so many labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    Mesh,
    Namespace,
    Workloads(usize),
}

impl Scopes {
    pub(super) fn new(view: &View<'_>, namespace: &str) -> Result<Self, NotAMember> {
        let mut roots: Vec<OfNamespace> = Vec::new();
        for mesh in meshes_of_namespace(view, namespace)? {
            let Some(istio) = istio_of(mesh) else { continue };
            let root = root_namespace(view, &istio)?;
            if root != namespace && roots.iter().all(|other| other.name != root) {
                roots.push(OfNamespace::new(view, &root)?);
            }
        }
        Ok(Self {
            roots,
            own: OfNamespace::new(view, namespace)?,
        })
    }

    /// The objects that reach a workload of all these sets, in Istio's order: what comes later replaces what comes before.
    pub(super) fn reaching(&self, workload: &[WorkloadSet]) -> Vec<Applied<'_>> {
        let of_root = self.roots.iter().flat_map(|root| {
            let wide = root.policy.objects.iter().filter(|(set, _)| set.is_namespace());
            wide.map(|(set, policy)| applied(root, "Mesh", set, policy))
        });
        let reaches = |set: &WorkloadSet| workload.iter().any(|own| is_taken(own, set));
        let own = self.own.policy.objects.iter().filter(|(set, _)| reaches(set));
        let mut own: Vec<Applied<'_>> = own
            .map(|(set, policy)| {
                let scope = if set.is_namespace() { "Namespace" } else { "Workloads" };
                applied(&self.own, scope, set, policy)
            })
            .collect();
        // Names are made so that they sort in this order.
        own.sort_by_key(|applied| object_name(applied.set));
        of_root.chain(own).collect()
    }

    /// The claims on logging that reach such a workload, with their depths.
    pub(super) fn log_claims(&self, workload: &[WorkloadSet]) -> Vec<(Depth, &LogClaim)> {
        let own = self.own.claims.logs.iter();
        let own = own.filter_map(|claim| Some((depth_for(&claim.selection, workload)?, claim)));
        let roots = self.roots.iter().flat_map(|root| &root.claims.logs);
        let wide = roots.chain(&self.own.claims.here.logs);
        let wide = wide.filter(|claim| claim.selection.is_namespace());
        let mut all: Vec<(Depth, &LogClaim)> = own.chain(wide.map(|claim| (Depth::Mesh, claim))).collect();
        all.sort_by_key(|(depth, claim)| (std::cmp::Reverse(*depth), claim.source.clone()));
        all
    }

    /// The claims on tracing that reach such a workload, the deepest first.
    pub(super) fn trace_claims(&self, workload: &[WorkloadSet]) -> Vec<(Depth, &TraceClaim)> {
        let own = self.own.claims.traces.iter();
        let own = own.filter_map(|claim| Some((depth_for(&claim.selection, workload)?, claim)));
        let roots = self.roots.iter().flat_map(|root| {
            let defaults = root.claims.here.defaults.iter().filter_map(|d| d.tracing.as_ref());
            root.claims.traces.iter().chain(defaults)
        });
        let here = &self.own.claims.here;
        let defaults = here.defaults.iter().filter_map(|d| d.tracing.as_ref());
        let wide = roots.chain(&here.traces).chain(defaults);
        let wide = wide.filter(|claim| claim.selection.is_namespace());
        let mut all: Vec<(Depth, &TraceClaim)> = own.chain(wide.map(|claim| (Depth::Mesh, claim))).collect();
        all.sort_by_key(|(depth, claim)| (std::cmp::Reverse(*depth), claim.source.clone()));
        all.dedup();
        all
    }

    /// Whether a policy was left out because too many selectors overlap.
    pub(super) fn is_left_out(&self, source: &Source) -> bool {
        self.own.policy.overlapping.iter().any(|(out, _)| out == source)
    }
}

/// Whether an object for a set takes a workload that is in the set `own`. The labels of a gateway's pods are a set of their
/// own: its name says nothing about them.
fn is_taken(own: &WorkloadSet, set: &WorkloadSet) -> bool {
    match (own, set) {
        (WorkloadSet::Target(..), WorkloadSet::Labels(labels)) => labels.is_empty(),
        _ => own.is_within(set),
    }
}

fn applied<'s>(of: &OfNamespace, scope: &'static str, set: &'s WorkloadSet, policy: &'s ObjectPolicy) -> Applied<'s> {
    Applied {
        key: of.key_of(set),
        scope,
        set,
        policy,
    }
}

/// How deep a selection stands that takes a workload of all these sets; `None`: it does not take it.
pub(super) fn depth_for(selection: &Selection, workload: &[WorkloadSet]) -> Option<Depth> {
    if selection.is_namespace() {
        return Some(Depth::Namespace);
    }
    let takes = |set: &WorkloadSet| workload.iter().any(|own| is_taken(own, set));
    let depth = Depth::Workloads(selection.selector.len());
    selection.sets().iter().any(takes).then_some(depth)
}
