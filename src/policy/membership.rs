//! Which mesh a policy belongs to.

use std::sync::Arc;

use kube::core::{Selector, SelectorExt};

use crate::conditions::{Reason, some_names};
use crate::crds::{IstioMesh, MeshRef, MeshType, ObservabilityMesh};
use crate::plan::snapshot::{Fact, Key, Kind, View};
use crate::render::istio::mesh_config;

/// Why a policy belongs to no mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMember {
    /// `NoMesh`, `AmbiguousMesh`, or `FactsPending` while the cluster is still being read.
    pub reason: Reason,
    /// What and what to do.
    pub message: String,
}

/// The mesh of a policy of `namespace`: the one that `mesh_ref` names, else the only one that selects the namespace.
/// A mesh also serves its own root namespace, where policies for the whole mesh live.
pub fn mesh_of<'a>(
    view: &View<'a>,
    namespace: &str,
    mesh_ref: Option<&MeshRef>,
) -> Result<&'a Arc<ObservabilityMesh>, NotAMember> {
    let Some(candidates) = meshes_of_namespace(view, namespace) else {
        return Err(NotAMember {
            reason: Reason::FactsPending,
            message: format!("Namespace {namespace} has not been read yet."),
        });
    };
    match (mesh_ref, candidates.as_slice()) {
        (Some(wanted), _) => candidates.iter().find(|mesh| name_of(mesh) == wanted.name).copied().ok_or_else(|| {
            let wanted = &wanted.name;
            let message = if view.mesh(wanted).is_some() {
                format!(
                    "ObservabilityMesh {wanted}, which spec.meshRef names, does not select namespace {namespace}; widen its spec.namespaces."
                )
            } else {
                format!("ObservabilityMesh {wanted}, which spec.meshRef names, does not exist; create it or correct the name.")
            };
            NotAMember { reason: Reason::NoMesh, message }
        }),
        (None, [only]) => Ok(only),
        (None, []) => Err(NotAMember {
            reason: Reason::NoMesh,
            message: format!(
                "No ObservabilityMesh selects namespace {namespace}; create one, or widen the spec.namespaces of one."
            ),
        }),
        (None, several) => Err(NotAMember {
            reason: Reason::AmbiguousMesh,
            message: format!(
                "Namespace {namespace} is selected by the ObservabilityMeshes {}; set spec.meshRef to the one that is meant.",
                some_names(several.iter().map(|mesh| name_of(mesh)))
            ),
        }),
    }
}

/// Meshes that serve a namespace, by name; `None` while its labels are not known. A mesh that is being deleted serves
/// none.
pub fn meshes_of_namespace<'a>(view: &View<'a>, namespace: &str) -> Option<Vec<&'a Arc<ObservabilityMesh>>> {
    let labels = match view.namespace_labels(namespace) {
        Fact::Present(labels) => labels,
        Fact::Unknown => return None,
        _ => return Some(Vec::new()),
    };
    let serves = |mesh: &&Arc<ObservabilityMesh>| {
        is_live(mesh)
            && (selects(mesh, &labels) || istio_of(mesh).is_some_and(|istio| root_namespace(view, &istio) == namespace))
    };
    Some(view.meshes().filter(serves).collect())
}

/// Whether the mesh's `namespaces` takes a namespace with these labels. A selector that is no selector takes none.
pub fn selects(mesh: &ObservabilityMesh, labels: &std::collections::BTreeMap<String, String>) -> bool {
    Selector::try_from(mesh.spec.namespaces.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// Whether the mesh is not being deleted.
pub fn is_live(mesh: &ObservabilityMesh) -> bool {
    mesh.metadata.deletion_timestamp.is_none()
}

/// The mesh's name.
pub fn name_of(mesh: &ObservabilityMesh) -> &str {
    mesh.metadata.name.as_deref().unwrap_or_default()
}

/// Where Istio is, for a mesh of that type.
pub fn istio_of(mesh: &ObservabilityMesh) -> Option<IstioMesh> {
    (mesh.spec.mesh.type_ == MeshType::Istio).then(|| mesh.spec.mesh.istio.clone().unwrap_or_default())
}

/// The ConfigMap that the mesh's extension providers are written to.
pub fn shared_map_of(istio: &IstioMesh) -> Key {
    Key::new(&istio.namespace, &istio.mesh_config.config_map_name)
}

/// The namespace whose selector-less policies hold for the whole mesh.
pub fn root_namespace(view: &View<'_>, istio: &IstioMesh) -> String {
    let revision = istio.revisions.first().map_or("default", String::as_str);
    let primary = mesh_config::primary_map(&istio.namespace, revision);
    mesh_config::root_namespace(view.object(Kind::ConfigMap, &primary).present(), &istio.namespace)
}

/// How policies of the mesh scope are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshScope {
    /// One Telemetry in the root namespace reaches every workload, and may.
    RootTelemetry,
    /// A Telemetry in the root namespace would reach workloads that are not this mesh's: one per selected namespace.
    PerNamespace,
}

/// A root Telemetry reaches every namespace of the istiod, so it is used only where the mesh is alone there and takes
/// every namespace that is labelled for Istio, and the root namespace.
pub fn mesh_scope(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> MeshScope {
    let shares_istiod = view.meshes().any(|other| {
        name_of(other) != name_of(mesh)
            && is_live(other)
            && istio_of(other).is_some_and(|other| other.namespace == istio.namespace)
    });
    let root = root_namespace(view, istio);
    let Fact::Present(namespaces) = view.objects(Kind::Namespace) else {
        return MeshScope::PerNamespace;
    };
    let takes_all = namespaces.into_iter().all(|namespace| {
        let labels = crate::plan::snapshot::labels_of(namespace);
        let of_istio = labels.get("istio-injection").is_some_and(|v| v == "enabled")
            || labels.contains_key("istio.io/rev")
            || labels.contains_key("istio.io/dataplane-mode");
        let is_root = crate::plan::snapshot::key_of(namespace).name == root;
        !(of_istio || is_root) || selects(mesh, &labels)
    });
    if takes_all && !shares_istiod {
        MeshScope::RootTelemetry
    } else {
        MeshScope::PerNamespace
    }
}
