//! Sightline: a Kubernetes operator for telemetry policy.
pub mod crds;
pub mod yaml;
