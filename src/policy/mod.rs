//! Who wins: from what users wrote to what each workload effectively gets. Pure.
//!
//! - [`membership`]: which mesh a policy belongs to.
//! - [`traffic_log`], [`tracing_backend`], [`mesh_wide`]: check a spec against its mesh, which gives what it claims.
//! - [`proxies`]: what a mesh's proxies are configured through: the one place that knows the meshes apart.
//! - [`environment`]: what is said to workloads that export spans themselves.
//! - [`formats`], [`backends`], [`targets`]: what the checks have in common.
//! - [`kmesh`]: what is said to daemons that have switches and no configuration.
//! - [`exports`]: who reads a mesh's metrics.
//! - [`claims`]: the values that they give.
//! - [`resolve`]: scopes, selector sets and the winner of each unit.

pub mod backends;
pub mod claims;
pub mod collector;
pub mod environment;
pub mod exports;
pub mod formats;
pub mod kmesh;
pub mod membership;
pub mod mesh_wide;
pub mod proxies;
pub mod resolve;
pub mod targets;
pub mod tracing_backend;
pub mod traffic_log;
pub mod versions;
