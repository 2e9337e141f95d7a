//! Which Istio an image is of, and which Envoy is inside which Istio, as far as formats depend on it.

use std::fmt;

use crate::format::EnvoyVersion;

/// An Istio minor version such as 1.30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IstioVersion {
    minor: u16,
}

/// Istio's minor version and the Envoy branch that its proxy is built from (istio/test-infra, `istio.proxy.release-*`).
const ENVOY: [(IstioVersion, EnvoyVersion); 4] = [
    (IstioVersion::new(28), EnvoyVersion::new(1, 36)),
    (IstioVersion::new(29), EnvoyVersion::new(1, 37)),
    (IstioVersion::new(30), EnvoyVersion::new(1, 38)),
    (IstioVersion::new(31), EnvoyVersion::new(1, 39)),
];

impl IstioVersion {
    /// Istio 1.`minor`. There is no other major version.
    pub const fn new(minor: u16) -> Self {
        Self { minor }
    }

    /// The minor version before this one: the oldest that a proxy of this istiod may have.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self::new(self.minor.saturating_sub(1))
    }

    /// The Envoy inside. An Istio that is older than the oldest supported counts as that one, a newer one than the newest
    /// known as that.
    pub fn envoy(self) -> EnvoyVersion {
        let known = ENVOY.iter().rev().find(|(istio, _)| *istio <= self);
        known.map_or(EnvoyVersion::OLDEST_SUPPORTED, |(_, envoy)| *envoy)
    }
}

impl fmt::Display for IstioVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

/// What an image of Istio says of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageVersion {
    /// The tag is of this Istio.
    Istio(IstioVersion),
    /// There is no tag, or it is no version.
    Unknown,
}

impl ImageVersion {
    /// The version of an image such as `docker.io/istio/proxyv2:1.30.2-distroless@sha256:…`.
    pub fn of_image(image: &str) -> Self {
        let (named, _digest) = image.split_once('@').unwrap_or((image, ""));
        // Before the last slash a colon is a registry's port.
        let name = named.rsplit('/').next().unwrap_or(named);
        name.split_once(':')
            .map_or(Self::Unknown, |(_, tag)| Self::of_version(tag))
    }

    /// The version that a text such as `1.30.2`, `1.29.1-solo` or `1.30-alpha.1b2c` starts with.
    pub fn of_version(text: &str) -> Self {
        let minor = text
            .strip_prefix("1.")
            .and_then(|rest| rest.split(['.', '-', '_']).next())
            .filter(|minor| minor.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|minor| minor.parse().ok());
        minor.map_or(Self::Unknown, |minor| Self::Istio(IstioVersion::new(minor)))
    }

    /// The version, where it is known.
    pub const fn known(self) -> Option<IstioVersion> {
        match self {
            Self::Istio(version) => Some(version),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Istio(version) => version.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_the_tag_whatever_stands_around_it() {
        for (image, minor) in [
            ("docker.io/istio/proxyv2:1.30.2", 30),
            ("docker.io/istio/proxyv2:1.30.2-distroless", 30),
            ("docker.io/istio/proxyv2:1.30.2@sha256:0f1e", 30),
            ("registry.example:5000/istio/pilot:1.31.0", 31),
            ("proxyv2:1.31.0-rc.0", 31),
            ("gcr.io/istio-testing/proxyv2:1.30-alpha.1b2c3d", 30),
            ("registry.example/proxyv2:1.29.1-solo", 29),
            ("registry.example/proxyv2:1.9", 9),
        ] {
            let version = ImageVersion::Istio(IstioVersion::new(minor));
            assert_eq!(ImageVersion::of_image(image), version, "{image}");
        }
    }

    #[test]
    fn a_tag_that_is_no_istio_version_tells_nothing() {
        for image in [
            "",
            "auto",
            "registry.example:1.30/istio/proxyv2",
            "registry.example/istio/proxyv2@sha256:1.30",
            "proxyv2:latest",
            "proxyv2:2026.11.21",
            "proxyv2:1",
            "proxyv2:1.",
            "proxyv2:1.x",
            "proxyv2:1.30rc1",
            "proxyv2:1.99999",
            "proxyv2:11.30",
        ] {
            assert_eq!(ImageVersion::of_image(image), ImageVersion::Unknown, "{image}");
        }
    }

    #[test]
    fn each_istio_has_its_envoy_and_what_is_not_supported_the_nearest_that_is() {
        let envoys: Vec<String> = (26..=33)
            .map(|minor| IstioVersion::new(minor).envoy().to_string())
            .collect();
        assert_eq!(envoys, ["1.36", "1.36", "1.36", "1.37", "1.38", "1.39", "1.39", "1.39"]);
    }
}
