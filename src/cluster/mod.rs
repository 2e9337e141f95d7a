//! Kubernetes I/O: watches, writes, events. Everything that waits is here or in [`crate::controllers`].

pub mod api;
pub mod events;
pub mod hash_key;
pub mod kmesh;
pub mod lease;
pub mod once;
pub mod rbac;
pub mod store;
pub mod watches;
