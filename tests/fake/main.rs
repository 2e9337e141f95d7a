//! The operator, in this process, on a fake API server: what a real one cannot be made to do. See [`fake_api`].

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails, which is what it is for"
)]

#[path = "../support/control_plane.rs"]
mod control_plane;
#[path = "../support/fake_api/mod.rs"]
mod fake_api;
#[path = "../support/matrix.rs"]
mod matrix;

mod inputs;
mod script;
mod stale;
mod unreadable;
mod world;
