//! Where a policy stands, and what it may be attached to.

use std::sync::Arc;

use super::claims::{Checked, Selection, rejected, unresolved};
use super::membership;
use super::proxies::Proxies;
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{ObservabilityMesh, TargetKind};
use crate::snapshot::{Fact, Key, Kind, View};

/// Where a policy stands and for whom.
pub struct Place {
    /// Outside the root namespace: the mesh's limits for tenants hold.
    pub is_tenant: bool,
    /// Its workloads.
    pub selection: Selection,
}

/// The place of a policy of this mesh.
///
/// # Errors
/// What is judged of one that may not stand there, or whose targets do not exist.
pub fn place<'a, C>(
    view: &View<'a>,
    key: &Key,
    mesh: &'a Arc<ObservabilityMesh>,
    proxies: &Proxies,
    selection: Selection,
) -> Result<Place, Box<Checked<'a, C>>> {
    let root = proxies
        .root_namespace(view)
        .map_err(|error| Box::new(Checked::not_a_member(error)))?;
    if matches!(proxies, Proxies::Kuma(_)) && !selection.targets.is_empty() {
        let message = "spec.targetRefs: policies of Kuma's hold for workloads, gateways among them; use spec.selector.";
        return Err(Box::new(Checked::failed_for_good(
            mesh,
            rejected(Reason::NotExpressible, message),
        )));
    }
    if let Some(refused) = would_be_mesh_wide(view, key, mesh, &selection) {
        return Err(Box::new(refused));
    }
    if let Some(finding) = missing(view, &key.namespace, &selection) {
        return Err(Box::new(Checked::failed(Some(mesh), finding)));
    }
    Ok(Place {
        is_tenant: root != key.namespace,
        selection,
    })
}

/// Refuses a policy for the whole namespace in the root namespace of a mesh that it does not belong to.
fn would_be_mesh_wide<'a, C>(
    view: &View<'a>,
    key: &Key,
    mesh: &'a Arc<ObservabilityMesh>,
    selection: &Selection,
) -> Option<Checked<'a, C>> {
    if !selection.is_namespace() {
        return None;
    }
    match membership::other_mesh_rooted_in(view, &key.namespace, mesh) {
        Ok(None) => None,
        Err(error) => Some(Checked::not_a_member(error)),
        Ok(Some(other)) => {
            let message = format!(
                "Namespace {} is the root namespace of ObservabilityMesh {other}: without a selector this would hold for all of that mesh. Add spec.selector.",
                key.namespace
            );
            Some(Checked::failed_for_good(
                mesh,
                rejected(Reason::NotExpressible, message),
            ))
        }
    }
}

/// The finding that an object which `targetRefs` names does not exist.
fn missing(view: &View<'_>, namespace: &str, selection: &Selection) -> Option<Finding> {
    selection.targets.iter().find_map(|(target, name)| {
        let kind = kind_of(*target);
        let key = Key::new(namespace, name);
        let what = kind.names().1;
        match view.object(kind, &key) {
            Fact::Present(_) => None,
            Fact::Unknown => {
                let message = format!("{what} {key} has not been read yet.");
                Some(Finding::unknown(
                    ConditionType::ResolvedRefs,
                    Reason::FactsPending,
                    message,
                ))
            }
            Fact::Forbidden => {
                let message = format!("Sightline may not read {what} {key}; install the ClusterRole of config/rbac.");
                Some(unresolved(Reason::Forbidden, message))
            }
            Fact::Absent | Fact::KindMissing => {
                let message = format!("spec.targetRefs: {what} {key} does not exist; create it, or correct the name.");
                Some(unresolved(Reason::TargetNotFound, message))
            }
        }
    })
}

/// The kind of object that a target is.
pub const fn kind_of(target: TargetKind) -> Kind {
    match target {
        TargetKind::Gateway => Kind::Gateway,
        TargetKind::Service => Kind::Service,
        TargetKind::ServiceEntry => Kind::ServiceEntry,
    }
}
