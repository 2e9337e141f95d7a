//! The compiler of access-log formats against the real Envoys: what it accepts, they accept, and the other way round.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/envoy.rs"]
mod envoy;

mod harness;
mod lines;
