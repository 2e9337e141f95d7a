//! Where a format is used: which mesh reads it, its oldest proxy, and for which traffic.

use super::version::{EnvoyVersion, KumaVersion};

/// Who reads a format before Envoy does, and adds to its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Nobody: it stands in a configuration of Envoy as it is. No newline is added to a text.
    Envoy,
    /// istiod: adds a newline to a text, and the formatter extension where it finds `REQ_WITHOUT_QUERY`.
    Istio,
    /// Kuma's control plane: adds a newline, and replaces its own operators (`%KUMA_…%`) by text.
    Kuma(KumaVersion),
}

impl Dialect {
    /// Whether the mesh configures the formatter extensions that operators need.
    pub(super) const fn adds_extensions(self) -> bool {
        matches!(self, Self::Istio)
    }

    /// The Kuma that replaces its own operators.
    pub(super) const fn kuma(self) -> Option<KumaVersion> {
        match self {
            Self::Kuma(version) => Some(version),
            Self::Envoy | Self::Istio => None,
        }
    }
}

/// What a format is printed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// HTTP requests and TCP connections.
    Both,
    /// HTTP requests only.
    Http,
    /// TCP connections only: presets have a variant of their own for them.
    Tcp,
}

/// Where a format is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setting {
    /// Who reads it.
    pub dialect: Dialect,
    /// The oldest proxy.
    pub oldest: EnvoyVersion,
    /// What it is printed for.
    pub traffic: Traffic,
}

impl Setting {
    /// For all traffic of a mesh.
    pub const fn new(dialect: Dialect, oldest: EnvoyVersion) -> Self {
        Self {
            dialect,
            oldest,
            traffic: Traffic::Both,
        }
    }

    /// The same for other traffic.
    #[must_use]
    pub const fn with(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }
}

impl From<EnvoyVersion> for Setting {
    /// For all traffic of an Istio mesh whose oldest proxy this is.
    fn from(oldest: EnvoyVersion) -> Self {
        Self::new(Dialect::Istio, oldest)
    }
}
