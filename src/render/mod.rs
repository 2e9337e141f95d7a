//! From the effective policy to what each target really reads: one file or folder per target; pure.

pub mod env;
pub mod interlink;
pub mod istio;
pub mod metadata;
pub mod solarmesh;

pub use env::EnvVar;
