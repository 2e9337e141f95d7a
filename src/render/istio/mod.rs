//! Istio: extension providers in MeshConfig, and Telemetry objects that name them.

pub mod mesh_config;
pub mod metrics;
pub mod provider;
pub mod splice;
pub mod telemetry;
pub mod versions;
pub mod wasm_plugin;
