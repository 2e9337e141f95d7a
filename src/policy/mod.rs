//! Who wins: from what users wrote to what each workload effectively gets. Pure.
//!
//! - [`membership`]: which mesh a policy belongs to.
//! - [`claims`]: what a policy claims, once its spec is checked against the mesh.
//! - [`resolve`]: scopes, selector sets and the winner of each unit.

pub mod claims;
pub mod membership;
pub mod resolve;
pub mod versions;
