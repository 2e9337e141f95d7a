//! Kuma, 2.9 to 3.0: MeshAccessLog, MeshTrace and MeshMetric in the system namespace, and from 2.14 on a
//! MeshOpenTelemetryBackend for each receiver of OTLP.
//!
//! - [`versions`]: what each version knows; what it would drop in silence is never written for it.
//! - [`backend`]: where logs and spans go, as values that no version has shaped yet.
//! - [`policy`]: the objects of one set of workloads.
//! - [`legacy`]: what 2.x had before policies, for who asks for it.

pub mod backend;
pub mod legacy;
pub mod policy;
pub mod versions;
