//! What the proxies of a mesh are configured through. Checks and plans ask here what they have to know of it; each mesh's
//! objects are made in its folder of `render`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claims::Side;
use super::formats::oldest_envoy;
use super::membership::{NotAMember, is_injected, pending, root_namespace};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{IstioMesh, KmeshMesh, KumaMesh, MeshType, ObservabilityMesh};
use crate::format::{Dialect, EnvoyVersion, KumaVersion, Setting};
use crate::render::kuma::versions::{self, Knows, Seen, WITHOUT_LEGACY};
use crate::snapshot::proxies::{image_of, is_running};
use crate::snapshot::{Fact, Kind, View, labels_of};

/// What the proxies of a mesh are configured through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// Telemetries, and extension providers in MeshConfig.
    Istio(IstioMesh),
    /// Policies of Kuma's.
    Kuma(KumaMesh),
    /// Switches of Kmesh's daemons for connections; for requests waypoints of Istio's, where there are any.
    Kmesh(KmeshMesh, Option<IstioMesh>),
}

impl Proxies {
    /// Those of a mesh; `None` where it has no proxies.
    pub fn of(mesh: &ObservabilityMesh) -> Option<Self> {
        let mesh = &mesh.spec.mesh;
        match mesh.type_ {
            MeshType::Istio => Some(Self::Istio(mesh.istio.clone().unwrap_or_default())),
            MeshType::Kuma => Some(Self::Kuma(mesh.kuma.clone().unwrap_or_default())),
            MeshType::Kmesh => Some(Self::Kmesh(mesh.kmesh.clone().unwrap_or_default(), mesh.istio.clone())),
            MeshType::None => None,
        }
    }

    /// The namespace whose policies without a selector hold for the whole mesh.
    ///
    /// # Errors
    /// While that cannot be told.
    pub fn root_namespace(&self, view: &View<'_>) -> Result<String, NotAMember> {
        match self {
            Self::Istio(istio) => root_namespace(view, istio),
            Self::Kuma(kuma) => Ok(kuma.system_namespace.clone()),
            Self::Kmesh(kmesh, _) => Ok(kmesh.namespace.clone()),
        }
    }

    /// Whether both are configured through the same control plane, as one mesh.
    pub fn are_shared_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Istio(one), Self::Istio(other) | Self::Kmesh(_, Some(other)))
            | (Self::Kmesh(_, Some(one)), Self::Istio(other)) => one.namespace == other.namespace,
            (Self::Kmesh(one, _), Self::Kmesh(other, _)) => one.namespace == other.namespace,
            (Self::Kuma(one), Self::Kuma(other)) => {
                (&one.system_namespace, &one.name) == (&other.system_namespace, &other.name)
            }
            _ => false,
        }
    }

    /// Whether what holds for the whole mesh reaches workloads of a namespace. Kuma's system namespace has none.
    pub fn reach(&self, namespace: &str, labels: &BTreeMap<String, String>, root: &str) -> bool {
        match self {
            Self::Istio(_) => {
                is_injected(labels) || labels.contains_key("istio.io/dataplane-mode") || namespace == root
            }
            Self::Kuma(kuma) => {
                let injects = labels.get("kuma.io/sidecar-injection");
                let mesh = labels.get("kuma.io/mesh").map_or("default", String::as_str);
                injects.is_some_and(|value| value == "enabled" || value == "true") && mesh == kuma.name
            }
            // What holds for the whole mesh is said to daemons, in no namespace.
            Self::Kmesh(..) => false,
        }
    }

    /// Where formats of the mesh are used.
    ///
    /// # Errors
    /// The finding of `Accepted` while that cannot be told.
    pub fn setting(&self, view: &View<'_>, mesh: &ObservabilityMesh) -> Result<Setting, Finding> {
        match self {
            Self::Istio(istio) | Self::Kmesh(_, Some(istio)) => Ok(oldest_envoy(view, mesh, istio)?.into()),
            // There is no proxy: a format is still checked for what it is.
            Self::Kmesh(_, None) => Ok(EnvoyVersion::OLDEST_SUPPORTED.into()),
            Self::Kuma(kuma) => {
                let version = knows(view, kuma)
                    .map_err(|error| cannot_be_written(ConditionType::Accepted, error))?
                    .version;
                Ok(Setting::new(Dialect::Kuma(version), versions::envoy(version)))
            }
        }
    }
}

/// Kuma, for a mesh of that type.
pub fn kuma_of(mesh: &ObservabilityMesh) -> Option<KumaMesh> {
    match Proxies::of(mesh)? {
        Proxies::Kuma(kuma) => Some(kuma),
        Proxies::Istio(_) | Proxies::Kmesh(..) => None,
    }
}

/// Kmesh's daemons, for a mesh of that type.
pub fn kmesh_of(mesh: &ObservabilityMesh) -> Option<KmeshMesh> {
    match Proxies::of(mesh)? {
        Proxies::Kmesh(kmesh, _) => Some(kmesh),
        Proxies::Istio(_) | Proxies::Kuma(_) => None,
    }
}

/// What the Kuma of a mesh knows.
///
/// # Errors
/// While its version cannot be told.
pub fn knows(view: &View<'_>, kuma: &KumaMesh) -> Result<Knows, NotAMember> {
    let version = kuma_version(view, kuma)?;
    if kuma.legacy && version >= WITHOUT_LEGACY {
        return Err(NotAMember {
            reason: Reason::NotExpressible,
            message: format!(
                "spec.mesh.kuma.legacy: Kuma {version} drops logging, tracing and metrics of a Mesh without a word, and has no TrafficLog or TrafficTrace; remove it, and policies are written."
            ),
        });
    }
    Ok(Knows::of(version))
}

/// The finding of a mesh of Kuma's that is not written for: it fails where its spec has to be changed, and is not known
/// while the version is not.
pub fn cannot_be_written(type_: ConditionType, error: NotAMember) -> Finding {
    match error.reason {
        Reason::NotExpressible => Finding::fails(type_, error.reason, error.message),
        reason => Finding::unknown(type_, reason, error.message),
    }
}

/// The sides that objects of a mesh can speak of, of those that are asked for; and why not of the others.
pub fn sides(proxies: &Proxies, mut sides: Vec<Side>) -> (Vec<Side>, Option<&'static str>) {
    let is_legacy = matches!(proxies, Proxies::Kuma(kuma) if kuma.legacy);
    let asked = sides.len();
    if is_legacy {
        sides.retain(|side| *side == Side::Outbound);
    }
    let why = (sides.len() < asked).then_some("a TrafficLog of kuma.io holds for what workloads send");
    (sides, why)
}

/// The version of Kuma that is written for: the spec's, else what is seen of the control plane.
///
/// # Errors
/// While it cannot be told: no rendering holds for all versions.
pub fn kuma_version(view: &View<'_>, kuma: &KumaMesh) -> Result<KumaVersion, NotAMember> {
    if let Some(version) = kuma.version.as_deref().and_then(|text| text.parse().ok()) {
        return Ok(version);
    }
    let namespace = &kuma.system_namespace;
    let pods = match view.objects_in(Kind::Pod, namespace) {
        Fact::Unknown => {
            let message = format!("Kuma's control plane in namespace {namespace} has not been read yet.");
            return Err(pending(message));
        }
        pods => pods.present().unwrap_or_default(),
    };
    let images = pods.into_iter().filter(|pod| is_control_plane(pod));
    let images = images.map(|pod| image_of(pod, "control-plane").unwrap_or_default());
    let has_backends = match view.objects_in(Kind::MeshOpenTelemetryBackend, namespace) {
        Fact::KindMissing => Some(false),
        Fact::Present(_) | Fact::Absent => Some(true),
        Fact::Forbidden => None,
        Fact::Unknown => {
            let message = format!("MeshOpenTelemetryBackends in namespace {namespace} have not been read yet.");
            return Err(pending(message));
        }
    };
    let seen = Seen {
        images: images.collect(),
        has_backends,
    };
    versions::detect(&seen).map_err(|versions::Unseen| NotAMember {
        reason: Reason::ControlPlaneNotVisible,
        message: format!(
            "The version of Kuma in namespace {namespace} cannot be told, and each reads different fields; set spec.mesh.kuma.version of the ObservabilityMesh, or correct its systemNamespace."
        ),
    })
}

/// Whether a Pod is one of Kuma's control plane, and neither has ended nor is leaving.
pub fn is_control_plane(pod: &Value) -> bool {
    labels_of(pod).get("app").is_some_and(|app| app == CONTROL_PLANE) && is_running(pod)
}

/// Label `app` of Kuma's control plane.
pub const CONTROL_PLANE: &str = "kuma-control-plane";
