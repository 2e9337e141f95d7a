//! A Kubernetes control plane on this machine, to try Sightline by hand: `make cluster`.
//!
//! ```text
//! cargo run --example cluster                 starts one and leaves it running
//! cargo run --example cluster -- start DIR    the same, with its files in DIR (missing or empty), which is kept
//! cargo run --example cluster -- stop DIR     ends that one, and only that one
//! ```

#[path = "../tests/support/control_plane.rs"]
mod control_plane;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use control_plane::{ControlPlane, Options, stop_detached};

#[derive(Parser)]
#[command(
    name = "cluster",
    about = "Starts a Kubernetes control plane on this machine and leaves it running"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Start one (the default).
    Start {
        /// Where its files go, to be kept [default: a temporary folder, removed by `stop`]
        dir: Option<PathBuf>,
    },
    /// End the one in this folder.
    Stop {
        /// The folder that `start` printed
        dir: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command.unwrap_or(Action::Start { dir: None }) {
        Action::Start { dir } => start(dir).await,
        Action::Stop { dir } => stop(&dir).await,
    }
}

async fn start(dir: Option<PathBuf>) -> anyhow::Result<()> {
    let cluster = ControlPlane::start(Options {
        dir,
        detached: true,
        ..Options::default()
    })
    .await?;
    println!("The control plane runs at {}", cluster.server());
    println!();
    println!("  export KUBECONFIG='{}'", cluster.kubeconfig().display());
    println!(
        "  alias kubectl='{}'",
        cluster.kubectl().as_std().get_program().display()
    );
    println!();
    println!("Its logs are in {}", cluster.dir().join("logs").display());
    println!("Stop it with:");
    println!();
    println!("  cargo run --example cluster -- stop '{}'", cluster.dir().display());
    Ok(())
}

async fn stop(dir: &Path) -> anyhow::Result<()> {
    stop_detached(dir).await?;
    println!("The control plane in {} is gone", dir.display());
    Ok(())
}
