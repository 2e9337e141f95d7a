//! Which mesh a policy belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::core::{Selector, SelectorExt};

use super::proxies::Proxies;
use crate::conditions::{Reason, some_names};
use crate::crds::{IstioMesh, MeshConfigMode, MeshRef, MeshType, ObservabilityMesh};
use crate::render::istio::mesh_config;
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

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
    let candidates = meshes_of_namespace(view, namespace)?;
    let is_none = candidates.is_empty();
    let may_be_meant = |mesh: &&str| mesh_ref.map_or(is_none, |wanted| wanted.name == **mesh);
    if let Some(mesh) = view.undecoded_meshes().find(may_be_meant) {
        return Err(unread_mesh(mesh));
    }
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

/// Meshes that serve a namespace, by name. A mesh that is being deleted serves none.
///
/// # Errors
/// While that cannot be told: a namespace, a MeshConfig or a selector that is not known must not look like one that says
/// no, or what is live would be taken away.
pub fn meshes_of_namespace<'a>(
    view: &View<'a>,
    namespace: &str,
) -> Result<Vec<&'a Arc<ObservabilityMesh>>, NotAMember> {
    let labels = match view.namespace_labels(namespace) {
        Fact::Present(labels) => labels,
        Fact::Unknown => return Err(pending(format!("Namespace {namespace} has not been read yet."))),
        Fact::Forbidden => {
            let message = "Sightline may not read Namespaces; install the ClusterRole of config/rbac.".to_owned();
            return Err(NotAMember {
                reason: Reason::Forbidden,
                message,
            });
        }
        Fact::Absent | Fact::KindMissing => return Ok(Vec::new()),
    };
    let mut serving = Vec::new();
    for mesh in view.meshes().filter(|mesh| is_live(mesh)) {
        let is_root = match Proxies::of(mesh) {
            Some(proxies) => proxies.root_namespace(view)? == namespace,
            None => false,
        };
        if is_root || selects(mesh, &labels)? {
            serving.push(mesh);
        }
    }
    Ok(serving)
}

/// What is said while a fact has not been read.
pub(super) fn pending(message: String) -> NotAMember {
    NotAMember {
        reason: Reason::FactsPending,
        message,
    }
}

/// What is said while a mesh that may be meant cannot be read.
pub fn unread_mesh(mesh: &str) -> NotAMember {
    pending(format!(
        "ObservabilityMesh {mesh} cannot be read; its status says why. Apply it again."
    ))
}

/// Whether the mesh's `namespaces` takes a namespace with these labels.
///
/// # Errors
/// Where it is no selector (an object that was stored before the schema's rules): that is not "none".
pub fn selects(mesh: &ObservabilityMesh, labels: &BTreeMap<String, String>) -> Result<bool, NotAMember> {
    match Selector::try_from(mesh.spec.namespaces.clone()) {
        Ok(selector) => Ok(selector.matches(labels)),
        Err(_) => Err(pending(format!(
            "spec.namespaces of ObservabilityMesh {} is no label selector; correct it.",
            name_of(mesh)
        ))),
    }
}

/// Whether the mesh is not being deleted.
pub fn is_live(mesh: &ObservabilityMesh) -> bool {
    mesh.metadata.deletion_timestamp.is_none()
}

/// The mesh's name.
pub fn name_of(mesh: &ObservabilityMesh) -> &str {
    mesh.metadata.name.as_deref().unwrap_or_default()
}

/// Where Istio is, for a mesh whose proxies are its own: of that type, or of Kmesh with waypoints.
pub fn istio_of(mesh: &ObservabilityMesh) -> Option<IstioMesh> {
    let mesh = &mesh.spec.mesh;
    match mesh.type_ {
        MeshType::Istio => Some(mesh.istio.clone().unwrap_or_default()),
        MeshType::Kmesh => mesh.istio.clone(),
        MeshType::Kuma | MeshType::None => None,
    }
}

/// Where Istio is, for a mesh that may speak of all its proxies: one of Kmesh speaks of single waypoints only.
pub fn mesh_wide_istio_of(mesh: &ObservabilityMesh) -> Option<IstioMesh> {
    istio_of(mesh).filter(|_| mesh.spec.mesh.type_ == MeshType::Istio)
}

/// Name of the ConfigMap of our own that istiod is pointed at, unless the spec names another.
pub const DEFAULT_SHARED_MAP: &str = "sightline-mesh-config";

/// The ConfigMaps that the mesh's extension providers are written to: one of our own (`Shared`), one of somebody else or
/// istiod's own of each revision (`Patch`), none (`Verify`).
pub fn maps_of(istio: &IstioMesh) -> BTreeSet<Key> {
    let named = istio.mesh_config.config_map_name.as_deref();
    match istio.mesh_config.mode {
        MeshConfigMode::Verify => BTreeSet::new(),
        MeshConfigMode::Shared => BTreeSet::from([Key::new(&istio.namespace, named.unwrap_or(DEFAULT_SHARED_MAP))]),
        MeshConfigMode::Patch => match named {
            Some(name) => BTreeSet::from([Key::new(&istio.namespace, name)]),
            None => primary_maps(istio).collect(),
        },
    }
}

/// istiod's own MeshConfig of each revision.
pub fn primary_maps(istio: &IstioMesh) -> impl Iterator<Item = Key> {
    let primary = |revision: &String| mesh_config::primary_map(&istio.namespace, revision);
    istio.revisions.iter().map(primary)
}

/// The ConfigMaps that, by its status, the mesh wrote extension providers to before its spec was changed: what is left in
/// them has to be taken out.
pub fn former_maps_of(mesh: &ObservabilityMesh, istio: &IstioMesh) -> BTreeSet<Key> {
    let present = maps_of(istio);
    let listed = mesh.status.iter().flat_map(|status| &status.mesh_config_maps);
    listed
        .filter_map(|map| map.split_once('/'))
        .map(|(namespace, name)| Key::new(namespace, name))
        .filter(|map| !present.contains(map))
        .collect()
}

/// The namespace whose selector-less policies hold for the whole mesh: MeshConfig's `rootNamespace`, else istiod's own.
///
/// # Errors
/// While MeshConfig has not been read, or cannot be.
pub fn root_namespace(view: &View<'_>, istio: &IstioMesh) -> Result<String, NotAMember> {
    let revision = istio.revisions.first().map_or("default", String::as_str);
    let primary = mesh_config::primary_map(&istio.namespace, revision);
    match view.mesh_config(&primary) {
        Fact::Present(Some(config)) => Ok(config.root_namespace.clone().unwrap_or_else(|| istio.namespace.clone())),
        Fact::Present(None) => {
            let why = view.unreadable(&primary).unwrap_or("correct it");
            let message = format!("ConfigMap {primary} holds no readable MeshConfig: {why}.");
            Err(pending(message))
        }
        Fact::Unknown => Err(pending(format!("ConfigMap {primary} has not been read yet."))),
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Ok(istio.namespace.clone()),
    }
}

/// Another mesh on the same istiod's side whose root namespace this is: a selector-less Telemetry here would hold for all
/// of that mesh. What is not written as Telemetries never does.
pub fn other_mesh_rooted_in(
    view: &View<'_>,
    namespace: &str,
    mesh: &ObservabilityMesh,
) -> Result<Option<String>, NotAMember> {
    match istio_of(mesh) {
        Some(istio) if root_namespace(view, &istio)? != namespace => {}
        _ => return Ok(None),
    }
    for other in view.meshes().filter(|other| is_live(other)) {
        if let Some(istio) = mesh_wide_istio_of(other)
            && root_namespace(view, &istio)? == namespace
        {
            return Ok(Some(name_of(other).to_owned()));
        }
    }
    Ok(None)
}

/// Whether a namespace with these labels is one where Istio adds sidecars.
pub fn is_injected(labels: &BTreeMap<String, String>) -> bool {
    labels.get("istio-injection").is_some_and(|v| v == "enabled") || labels.contains_key("istio.io/rev")
}

/// The value of the label `istio.io/rev` on what is written for a mesh: only where it has one revision, and not the
/// default one. Without the label every istiod reads an object.
pub fn revision_label(mesh: &ObservabilityMesh) -> Option<String> {
    match istio_of(mesh)?.revisions.as_slice() {
        [only] if only != "default" => Some(only.clone()),
        _ => None,
    }
}

/// How policies of the mesh scope are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshScope {
    /// One object in the root namespace reaches every workload, and may.
    RootTelemetry,
    /// An object in the root namespace would reach workloads that are not this mesh's: one per selected namespace.
    PerNamespace,
}

/// One object in the root namespace reaches every namespace of the control plane, so it is used only where the mesh is
/// alone there and takes every namespace that it reaches: those that are labelled for it, and, on Istio, the root
/// namespace.
pub fn mesh_scope(view: &View<'_>, mesh: &ObservabilityMesh, proxies: &Proxies) -> Result<MeshScope, NotAMember> {
    let is_shared = view.meshes().any(|other| {
        name_of(other) != name_of(mesh)
            && is_live(other)
            && Proxies::of(other).is_some_and(|other| proxies.are_shared_with(&other))
    });
    if is_shared {
        return Ok(MeshScope::PerNamespace);
    }
    let root = proxies.root_namespace(view)?;
    let Fact::Present(namespaces) = view.objects(Kind::Namespace) else {
        return Err(pending("Namespaces have not been read yet.".into()));
    };
    for namespace in namespaces {
        let labels = labels_of(namespace);
        if proxies.reach(&key_of(namespace).name, &labels, &root) && !selects(mesh, &labels)? {
            return Ok(MeshScope::PerNamespace);
        }
    }
    Ok(MeshScope::RootTelemetry)
}
