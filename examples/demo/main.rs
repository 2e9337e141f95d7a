//! The main job, from `kubectl apply` to a restarted agent, on a real API server: `make demo`.
//!
//! It tells a story and is a test: every step waits for a condition, and the demo fails when one does not hold.
//!
//! - `DEMO_SEED=<n>`: other names, namespaces, formats and passwords (default 0: the samples as they are).
//! - `DEMO_CLUSTER=<context>`: a cluster of yours instead of one that the demo starts.

#[path = "../../tests/support/control_plane.rs"]
mod control_plane;
#[path = "../../tests/support/operator.rs"]
#[allow(dead_code, clippy::indexing_slicing, reason = "shared with the tests")]
mod operator;

mod cluster;
mod steps;
mod story;
mod wait;
mod world;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use futures::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

use cluster::Cluster;
use steps::Demo;
use story::Story;
use world::World;

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nThe demo failed.\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let world = World::load(root, seed()?)?;
    let mut story = Story::begin();
    let context = std::env::var("DEMO_CLUSTER").ok().filter(|context| !context.is_empty());
    // From here on a signal is ours, also while we clean up.
    let mut interrupted = std::pin::pin!(interruption()?);

    story.step("A cluster");
    let cluster = tokio::select! {
        cluster = steps::find_cluster(&story, context.as_deref(), &world) => cluster?,
        () = &mut interrupted => {
            eprintln!("\nInterrupted.");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let mut demo = Demo::new(root, &world, &cluster, &mut story);
    let result = tokio::select! {
        // A bug in the demo must not leave a cluster of the user's as it is.
        result = AssertUnwindSafe(demo.run()).catch_unwind() => {
            Some(result.unwrap_or_else(|_| Err(anyhow::anyhow!("a bug in the demo"))))
        }
        () = &mut interrupted => None,
    };
    let log = demo.end().await;
    let result = match result {
        // A Ctrl-C that also ended a process which a step waited for.
        Some(Err(_)) if interrupted.as_mut().now_or_never().is_some() => None,
        result => result,
    };
    match &result {
        None => eprintln!("\nInterrupted: cleaning up."),
        Some(Err(error)) => eprintln!("\nThe demo failed.\n{error:#}\n\nThe end of the operator's log:\n{log}"),
        Some(Ok(())) => {}
    }
    clean_up(cluster, &world, root, &story, context.is_some()).await?;
    Ok(match result {
        Some(Ok(())) => {
            story.all_went_well();
            ExitCode::SUCCESS
        }
        Some(Err(_)) => ExitCode::FAILURE,
        None => ExitCode::from(INTERRUPTED),
    })
}

async fn clean_up(cluster: Cluster, world: &World, root: &Path, story: &Story, users: bool) -> anyhow::Result<()> {
    cluster
        .clean_up(world, &root.join("config/crd"))
        .await
        .context("cannot clean up")?;
    if users {
        story.text("The cluster is as it was: CRDs, namespaces and cluster roles of the demo are gone.");
    } else {
        story.text("The control plane is stopped, its folder removed.");
    }
    Ok(())
}

fn seed() -> anyhow::Result<u64> {
    match std::env::var("DEMO_SEED") {
        Ok(seed) if !seed.is_empty() => seed
            .parse()
            .with_context(|| format!("DEMO_SEED={seed} is no whole number")),
        _ => Ok(0),
    }
}

/// Ends when somebody wants the demo to end.
fn interruption() -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signals.push(signal(kind).context("cannot listen for signals")?);
    }
    Ok(async move {
        let waiting = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures::future::select_all(waiting).await;
    })
}
