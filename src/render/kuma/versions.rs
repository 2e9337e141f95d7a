//! What each version of Kuma knows, and which version runs.
//!
//! No rendering holds for all of them: up to 2.13 a receiver is an `endpoint`, in 3.0 a `backendRef`, and only 2.14 takes
//! both; 2.9 drops `rules` without a word, 3.0 drops `from`.

use crate::format::{EnvoyVersion, KumaVersion};

/// How a policy speaks of the requests that a workload receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// `from`, with all clients as its target. 3.0 does not have it.
    From,
    /// `rules`. 2.9 drops them.
    Rules,
}

/// How a policy selects workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selects {
    /// `kind: MeshSubset` with tags. 3.0 refuses it.
    Tags,
    /// `kind: Dataplane` with labels. 2.9 refuses it.
    Labels,
}

/// How a policy names a receiver of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// `endpoint: HOST:PORT`, always gRPC. 3.0 does not have it.
    Endpoint,
    /// `backendRef` to a MeshOpenTelemetryBackend, by labels. 2.13 drops it or refuses it.
    Backend,
}

/// What a version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knows {
    /// The version.
    pub version: KumaVersion,
    /// Received requests.
    pub inbound: Inbound,
    /// Workloads.
    pub selects: Selects,
    /// Receivers of OTLP.
    pub receivers: Receivers,
    /// Whether `%KUMA_…%` is replaced in the attributes of log records, and not only in their body. Where it is not, Envoy
    /// refuses the whole listener.
    pub replaces_in_attributes: bool,
    /// Whether names of attributes have to be lower-case words with dots or underscores between them.
    pub restricts_attributes: bool,
}

impl Knows {
    const fn of_2_9(version: KumaVersion) -> Self {
        Self {
            version,
            inbound: Inbound::From,
            selects: Selects::Tags,
            receivers: Receivers::Endpoint,
            replaces_in_attributes: false,
            restricts_attributes: false,
        }
    }

    /// What a version knows: one before 2.9 counts as 2.9, one that is not out yet as the newest known.
    pub fn of(version: KumaVersion) -> Self {
        let of_2_9 = Self::of_2_9(version);
        let of_2_10 = Self {
            inbound: Inbound::Rules,
            selects: Selects::Labels,
            ..of_2_9
        };
        if version >= WITH_BACKENDS {
            Self {
                receivers: Receivers::Backend,
                replaces_in_attributes: true,
                restricts_attributes: true,
                ..of_2_10
            }
        } else if version >= KumaVersion::new(2, 10) {
            of_2_10
        } else {
            of_2_9
        }
    }
}

/// The first version with MeshOpenTelemetryBackends. In all that we write, 3.0 knows what it knows.
pub const WITH_BACKENDS: KumaVersion = KumaVersion::new(2, 14);

/// The first version without what 2.x had before policies.
pub const WITHOUT_LEGACY: KumaVersion = KumaVersion::new(3, 0);

/// Kuma's minor version and the Envoy inside (`ENVOY_VERSION` of `mk/dev.mk` in v2.9.13, v2.10.11, v2.11.16, v2.12.14,
/// v2.13.10, v2.14.3 and, for 3.0, the main branch of August 2026). An earlier patch may have an older one.
const ENVOY: [(KumaVersion, EnvoyVersion); 7] = [
    (KumaVersion::new(2, 9), EnvoyVersion::new(1, 34)),
    (KumaVersion::new(2, 10), EnvoyVersion::new(1, 33)),
    (KumaVersion::new(2, 11), EnvoyVersion::new(1, 35)),
    (KumaVersion::new(2, 12), EnvoyVersion::new(1, 35)),
    (KumaVersion::new(2, 13), EnvoyVersion::new(1, 36)),
    (KumaVersion::new(2, 14), EnvoyVersion::new(1, 38)),
    (KumaVersion::new(3, 0), EnvoyVersion::new(1, 39)),
];

/// The Envoy inside a version of Kuma.
pub fn envoy(version: KumaVersion) -> EnvoyVersion {
    let known = ENVOY.iter().rev().find(|(kuma, _)| *kuma <= version);
    let oldest = EnvoyVersion::new(1, 33);
    known.map_or(oldest, |(_, envoy)| *envoy)
}

/// The version of an image of Kuma's control plane such as `docker.io/kumahq/kuma-cp:2.13.10@sha256:…`; `None` where it has
/// no tag, or one that is no version.
pub fn of_image(image: &str) -> Option<KumaVersion> {
    let (named, _digest) = image.split_once('@').unwrap_or((image, ""));
    // Before the last slash a colon is a registry's port.
    let name = named.rsplit('/').next().unwrap_or(named);
    let (_, tag) = name.split_once(':')?;
    tag.parse().ok()
}

/// What is seen of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// Images of its pods. While it is upgraded there are two.
    pub images: Vec<&'a str>,
    /// Whether the API server knows MeshOpenTelemetryBackends; `None`: not known.
    pub has_backends: Option<bool>,
}

/// Why a version cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen;

/// The version to write for: that of the oldest control plane, but none that needs a kind which the API server does not
/// know. Where images tell nothing, the kinds do: with MeshOpenTelemetryBackends it is 2.14 or later, which all read the
/// same; without, the shape of 2.9 is read by all that is left (2.10 to 2.13 warn that `from` is deprecated).
///
/// # Errors
/// Where neither is seen.
pub fn detect(seen: &Seen<'_>) -> Result<KumaVersion, Unseen> {
    let oldest = seen.images.iter().filter_map(|image| of_image(image)).min();
    match (oldest, seen.has_backends) {
        (Some(version), Some(false)) if version >= WITH_BACKENDS => Ok(KumaVersion::new(2, 13)),
        (Some(version), _) => Ok(version),
        (None, Some(true)) => Ok(WITH_BACKENDS),
        (None, Some(false)) if !seen.images.is_empty() => Ok(KumaVersion::OLDEST_SUPPORTED),
        (None, _) => Err(Unseen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(text: &str) -> (Inbound, Selects, Receivers) {
        let knows = Knows::of(text.parse().unwrap());
        (knows.inbound, knows.selects, knows.receivers)
    }

    /// Ran: 2.9 drops `rules` beside `to` and refuses `kind: Dataplane`; 3.0 drops `from` and refuses `MeshSubset` and
    /// `endpoint`; 2.13 drops `backendRef`.
    #[test]
    fn what_a_version_would_drop_is_not_written_for_it() {
        assert_eq!(knows("2.9.13"), (Inbound::From, Selects::Tags, Receivers::Endpoint));
        for version in ["2.10", "2.11.18", "2.12", "2.13.10"] {
            assert_eq!(
                knows(version),
                (Inbound::Rules, Selects::Labels, Receivers::Endpoint),
                "{version}"
            );
        }
        for version in ["2.14.0", "3.0", "3.1"] {
            assert_eq!(
                knows(version),
                (Inbound::Rules, Selects::Labels, Receivers::Backend),
                "{version}"
            );
        }
    }

    fn detected(images: &[&str], has_backends: Option<bool>) -> Option<String> {
        let images = images.to_vec();
        let version = detect(&Seen { images, has_backends }).ok()?;
        Some(version.to_string())
    }

    #[test]
    fn the_tag_of_the_control_planes_image_tells_its_version() {
        for (image, version) in [
            ("docker.io/kumahq/kuma-cp:2.13.10", Some("2.13")),
            ("registry:5000/kuma-cp:v2.14.3@sha256:12", Some("2.14")),
            ("kuma-cp:3.0.0-preview.v1", Some("3.0")),
            ("kuma-cp@sha256:12", None),
            ("registry:5000/kuma-cp", None),
            ("kuma-cp:latest", None),
        ] {
            assert_eq!(of_image(image).map(|v| v.to_string()).as_deref(), version, "{image}");
        }
    }

    #[test]
    fn while_kuma_is_upgraded_the_oldest_control_plane_counts() {
        let upgrade = ["kuma-cp:3.0.0", "kuma-cp:2.14.3"];
        assert_eq!(detected(&upgrade, Some(true)).as_deref(), Some("2.14"));
        let not_yet = detected(&["kuma-cp:2.14.3"], Some(false));
        assert_eq!(not_yet.as_deref(), Some("2.13"), "its definitions come later");
    }

    #[test]
    fn where_the_image_tells_nothing_the_kinds_do() {
        assert_eq!(detected(&["kuma-cp:latest"], Some(true)).as_deref(), Some("2.14"));
        assert_eq!(detected(&["kuma-cp:latest"], Some(false)).as_deref(), Some("2.9"));
        assert_eq!(detected(&[], Some(true)).as_deref(), Some("2.14"));
        assert_eq!(detected(&[], Some(false)), None, "there may be no Kuma at all");
        assert_eq!(detected(&["kuma-cp:latest"], None), None);
    }

    #[test]
    fn a_proxy_is_never_taken_to_be_newer_than_the_one_inside() {
        let envoy = |text: &str| envoy(text.parse().unwrap()).to_string();
        assert_eq!(envoy("2.13.10"), "1.36");
        assert_eq!(envoy("2.14.3"), "1.38");
        assert_eq!(envoy("3.7"), "1.39");
        assert_eq!(envoy("2.8"), "1.33");
    }
}
