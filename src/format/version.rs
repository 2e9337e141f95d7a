//! Versions of Envoy and of Kuma, as far as the format language depends on them: the minor line.

use std::fmt;
use std::str::FromStr;

/// An Envoy minor version such as 1.36. Operators come with minor versions, so patches are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvoyVersion {
    major: u16,
    minor: u16,
}

impl EnvoyVersion {
    /// The oldest Envoy this product supports (inside Istio 1.28); the default where nothing can be detected.
    pub const OLDEST_SUPPORTED: Self = Self::new(1, 36);
    /// The newest Envoy the operator table was compared with. A newer proxy is taken to know the same operators.
    pub const NEWEST_KNOWN: Self = Self::new(1, 40);

    /// The version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The supported versions, oldest first.
    pub(super) fn supported() -> impl Iterator<Item = Self> {
        std::iter::successors(Some(Self::OLDEST_SUPPORTED), |version| Some(version.next_minor()))
            .take_while(|version| *version <= Self::NEWEST_KNOWN)
    }

    /// The versions in the header of a table of what real Envoys said: all that are supported.
    #[cfg(test)]
    pub(crate) fn of_verdicts(header: &str) -> Vec<Self> {
        let versions = header.split('\t').skip(1).map(str::parse);
        let versions: Vec<Self> = versions.collect::<Result<_, _>>().expect("versions");
        assert_eq!(versions, Self::supported().collect::<Vec<_>>());
        versions
    }

    /// The minor version after this one.
    pub(super) const fn next_minor(self) -> Self {
        Self::new(self.major, self.minor.saturating_add(1))
    }
}

impl fmt::Display for EnvoyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is no Envoy version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Envoy version; write it as `1.36` or `1.36.4`")]
pub struct InvalidVersion(String);

impl FromStr for EnvoyVersion {
    type Err = InvalidVersion;

    /// Reads `1.36`, `v1.36`, `1.36.4` and `1.36.4-dev`; all of them are 1.36.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, minor) = minor_line(text).ok_or_else(|| InvalidVersion(text.to_owned()))?;
        Ok(Self::new(major, minor))
    }
}

/// Major and minor number of a version: `1.36`, `v1.36`, `1.36.4` and `1.36.4-dev` give 1 and 36.
fn minor_line(text: &str) -> Option<(u16, u16)> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let (core, suffix) = bare
        .split_once('-')
        .map_or((bare, None), |(core, suffix)| (core, Some(suffix)));
    let number = |part: &str| {
        let digits = Some(part).filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u16>().ok())
    };
    let mut parts = core.split('.');
    let line = (number(parts.next()?)?, number(parts.next()?)?);
    let patch = parts.next();
    if let Some(patch) = patch {
        number(patch)?;
    }
    let suffix_fits = suffix.is_none_or(|suffix| patch.is_some() && !suffix.is_empty());
    (parts.next().is_none() && suffix_fits).then_some(line)
}

/// A Kuma minor version such as 2.14.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KumaVersion {
    major: u16,
    minor: u16,
}

impl KumaVersion {
    /// The oldest Kuma whose operators the table knows; the default where nothing can be detected.
    pub const OLDEST_SUPPORTED: Self = Self::new(2, 9);

    /// The version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for KumaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is no Kuma version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Kuma version; write it as `2.13` or `2.13.10`")]
pub struct InvalidKumaVersion(String);

impl FromStr for KumaVersion {
    type Err = InvalidKumaVersion;

    /// Reads `2.13`, `v2.13`, `2.13.10` and `2.13.10-preview`; all of them are 2.13.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, minor) = minor_line(text).ok_or_else(|| InvalidKumaVersion(text.to_owned()))?;
        Ok(Self::new(major, minor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_not_as_text() {
        assert!(EnvoyVersion::new(1, 9) < EnvoyVersion::OLDEST_SUPPORTED);
        assert!(EnvoyVersion::OLDEST_SUPPORTED < EnvoyVersion::NEWEST_KNOWN);
    }

    #[test]
    fn supported_versions_are_all_minor_versions_from_the_oldest_to_the_newest() {
        let minors: Vec<_> = EnvoyVersion::supported().map(|version| version.to_string()).collect();
        assert_eq!(minors, ["1.36", "1.37", "1.38", "1.39", "1.40"]);
    }

    #[test]
    fn what_proxies_report_is_read_as_their_minor_version() {
        for text in ["1.36", "v1.36", "1.36.4", "1.36.0-dev"] {
            assert_eq!(text.parse(), Ok(EnvoyVersion::new(1, 36)), "{text}");
        }
        assert_eq!(EnvoyVersion::OLDEST_SUPPORTED.to_string(), "1.36");
    }

    #[test]
    fn anything_else_is_refused_with_the_form_to_write() {
        for text in [
            "", "1", "1.", "1.x", "1.36.", "1.36.4.1", "+1.36", "1.36-dev", "1.36.4-", "1.70000", "vv1.36",
        ] {
            let error = text.parse::<EnvoyVersion>().expect_err(text);
            assert!(error.to_string().contains("write it as `1.36`"), "{text}: {error}");
        }
    }

    #[test]
    fn versions_of_kuma_are_read_as_those_of_envoy() {
        for text in ["2.13", "v2.13", "2.13.10", "2.13.10-preview"] {
            assert_eq!(text.parse(), Ok(KumaVersion::new(2, 13)), "{text}");
        }
        assert!(KumaVersion::OLDEST_SUPPORTED < KumaVersion::new(2, 14));
        let error = "two".parse::<KumaVersion>().expect_err("no number");
        assert_eq!(
            error.to_string(),
            "`two` is no Kuma version; write it as `2.13` or `2.13.10`"
        );
    }
}
