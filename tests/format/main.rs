//! The compiler of access-log formats against the real Envoys: what it accepts, they accept, and the other way
//! round; and what it previews, they print. Metrics that dashboards name of them, they export.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/envoy.rs"]
pub mod envoy;

mod differences;
mod differential;
mod expressions;
mod filters;
mod generator;
mod harness;
mod lines;
mod metrics;
mod record;

use futures::StreamExt as _;
use serde_json::Value;

use envoy::{Release, Verdict, verdicts};

/// What each release says to each of the access logs, oldest release first.
async fn every_release(access_logs: &[Value]) -> Vec<(Release, Vec<Verdict>)> {
    let ask = async |release| (release, verdicts(release, access_logs).await.unwrap());
    // An Envoy reads its listeners on one thread.
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);
    futures::stream::iter(Release::all())
        .map(ask)
        .buffered(at_once)
        .collect()
        .await
}
