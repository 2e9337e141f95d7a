//! From the effective policy to what each target really reads: one file or folder per target; pure.

pub mod collector;
pub mod environment;
pub mod istio;
pub mod kmesh;
pub mod kuma;
pub mod metadata;
pub mod metrics;
pub mod solarmesh;

pub use environment::EnvVar;

use serde_json::Value;

/// Something that objects refer to by name: an extension provider of Istio's, a MeshOpenTelemetryBackend of Kuma's.
///
/// Equal content has one name, so that policies share it; a change of content is a new name, so that an object never
/// speaks of another format or place than the one it was written for.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// `sightline-<kind>-<12 hex of content>`.
    pub name: String,
    /// What is written: on Istio the entry with its name, on Kuma the spec.
    pub entry: Value,
}
