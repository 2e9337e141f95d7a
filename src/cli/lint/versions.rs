//! The versions that files are checked for.

use clap::Args;

use crate::format::{EnvoyVersion, KumaVersion};
use crate::render::istio::versions::{ImageVersion, IstioVersion};

/// Flags for versions.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Oldest Envoy that reads the files. Default: the oldest that is supported, so that all take what is found good.
    #[arg(long = "envoy-version", value_name = "VERSION")]
    envoy: Option<EnvoyVersion>,
    /// Oldest Istio whose proxies read the files: it says which Envoy is the oldest.
    #[arg(long = "istio-version", value_name = "VERSION", value_parser = istio_version)]
    istio: Option<IstioVersion>,
    /// Oldest Kuma that reads the files, with --mesh kuma, which it implies. Default: the oldest that is known.
    #[arg(long = "kuma-version", value_name = "VERSION")]
    kuma: Option<KumaVersion>,
}

impl VersionArgs {
    /// The oldest Envoy.
    ///
    /// # Errors
    /// Where two flags name two.
    pub fn oldest(&self) -> Result<EnvoyVersion, String> {
        match (self.envoy, self.istio) {
            (Some(envoy), Some(istio)) if istio.envoy() != envoy => Err(format!(
                "--istio-version {istio} stands for Envoy {}, and --envoy-version says {envoy}: leave one of them out",
                istio.envoy()
            )),
            (Some(envoy), _) => Ok(envoy),
            (None, Some(istio)) => Ok(istio.envoy()),
            (None, None) => Ok(EnvoyVersion::OLDEST_SUPPORTED),
        }
    }

    /// The oldest Kuma, where it is named.
    pub const fn kuma(&self) -> Option<KumaVersion> {
        self.kuma
    }
}

fn istio_version(text: &str) -> Result<IstioVersion, String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    ImageVersion::of_version(bare)
        .known()
        .ok_or_else(|| format!("`{text}` is no Istio version; write it as `1.30` or `1.30.2`"))
}
