//! Envoy versions, as far as the format language depends on them: the minor line.

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
        let invalid = || InvalidVersion(text.to_owned());
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (core, suffix) = bare
            .split_once('-')
            .map_or((bare, None), |(core, suffix)| (core, Some(suffix)));
        let number = |part: Option<&str>| {
            part.filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u16>().ok())
                .ok_or_else(invalid)
        };
        let mut parts = core.split('.');
        let version = Self::new(number(parts.next())?, number(parts.next())?);
        let patch = parts.next();
        if patch.is_some() {
            number(patch)?;
        }
        let suffix_fits = suffix.is_none_or(|suffix| patch.is_some() && !suffix.is_empty());
        if parts.next().is_some() || !suffix_fits {
            return Err(invalid());
        }
        Ok(version)
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
}
