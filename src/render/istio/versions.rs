//! Which Envoy is inside which Istio, as far as formats depend on it.

use crate::crds::IstioMesh;
use crate::format::EnvoyVersion;

/// The oldest Envoy among a mesh's proxies: what the spec says, else the oldest that is supported. Proxies may be one
/// minor behind istiod, so istiod's own version would promise too much.
pub fn oldest_proxy(istio: &IstioMesh) -> EnvoyVersion {
    istio
        .proxy_versions
        .as_ref()
        .and_then(|versions| versions.minimum.parse().ok())
        .unwrap_or(EnvoyVersion::OLDEST_SUPPORTED)
}
