//! Sightline: a Kubernetes operator for telemetry policy.
//!
//! The map of the crate, from what users write to what is done:
//!
//! - [`crds`]: the three resources, and their schemas.
//! - [`format`]: Envoy's access-log format language.
//! - [`filter`]: access-log filters: from what users write to CEL that Envoy takes.
//! - [`cel`]: CEL as Envoy's access logs take it.
//! - [`codes`]: the codes of what is wrong with formats, filters and the files around them.
//! - [`snapshot`]: the world as plain data, and a view of it that remembers what was read.
//! - [`policy`]: who wins: from resources to what each workload effectively gets.
//! - [`render`]: from effective policy to the objects that meshes and agents read.
//! - [`plan`]: from a snapshot of the cluster to what is to be done, as a value.
//! - [`rollout`]: the governor: which agents may restart now.
//! - [`conditions`]: condition types and reasons.
//! - [`explain`]: every effective value, with the resource that it comes from.
//! - [`lint`]: broken formats and filters in files that know nothing of us.
//! - [`admission`]: what the API server would say to a file.
//!
//! All of that is pure: no I/O, no clock, no randomness. The edges:
//!
//! - [`cluster`]: watches, writes, events.
//! - [`controllers`]: the loop that plans and executes.
//! - [`cli`]: the commands.

pub mod admission;
pub mod cel;
pub mod cli;
pub mod cluster;
pub mod codes;
pub mod conditions;
pub mod controllers;
pub mod crds;
pub mod digest;
pub mod explain;
pub mod filter;
pub mod format;
pub mod lint;
pub mod migrate;
pub mod plan;
pub mod policy;
pub mod render;
pub mod rollout;
pub mod snapshot;
pub mod yaml;
