//! The command line: each command is a thin wrapper around the same core.

mod eject;
mod explain;
pub mod files;
mod lint;
mod migrate;
mod preview;
pub mod render;
mod run;
pub mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cluster::rbac;
use crate::crds;

/// Sightline: telemetry policy for service meshes and agents.
#[derive(Debug, Parser)]
#[command(name = "sightline", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator against the cluster of the current kubeconfig or service account.
    Run(run::RunArgs),
    /// Prints what the operator would apply for the given files. Needs no cluster.
    Render(render::RenderArgs),
    /// Says what holds for a pod, a namespace, a policy or a mesh, and which resource each value comes from.
    Explain(explain::ExplainArgs),
    /// Prints the line that Envoy would print for a described request. Needs no cluster and no Envoy.
    Preview(Box<preview::PreviewArgs>),
    /// Finds broken formats and filters in files of meshes and of Envoy. Needs no cluster, and none of our resources.
    Lint(lint::LintArgs),
    /// Turns what was written for a mesh into what its next version, or Sightline, reads. Needs no cluster.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Takes everything that Sightline put into the cluster out again; your resources stay as they are written.
    Eject(eject::EjectArgs),
    /// Prints the CustomResourceDefinitions, or writes one file each.
    Crds {
        /// Folder to write them to.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Prints the ServiceAccount and the Roles that the operator needs, for the namespaces that you name.
    Rbac(rbac::RbacArgs),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !self.command.asks_a_cluster() {
            // Whoever reads no further wants no more: `sightline lint | head` ends as other tools do, without a panic.
            sigpipe::reset();
        }
        match self.command {
            Command::Run(args) => args.run(),
            Command::Render(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Preview(args) => args.run(),
            Command::Lint(args) => args.run(),
            Command::Migrate(command) => command.run(),
            Command::Eject(args) => args.run(),
            Command::Crds { out } => print_crds(out.as_deref()),
            Command::Rbac(args) => {
                print!("{}", rbac::manifests(&args)?);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Command {
    /// Whether it has connections, which the signal of a closed pipe would end it for as well.
    fn asks_a_cluster(&self) -> bool {
        match self {
            Self::Run(_) | Self::Eject(_) | Self::Explain(_) => true,
            Self::Lint(args) => args.asks_a_cluster(),
            Self::Render(_) | Self::Preview(_) | Self::Migrate(_) | Self::Crds { .. } | Self::Rbac(_) => false,
        }
    }
}

fn print_crds(out: Option<&std::path::Path>) -> anyhow::Result<ExitCode> {
    for (plural, definition) in crds::custom_resource_definitions() {
        let yaml = crds::definition_yaml(&definition)?;
        match out {
            None => print!("---\n{yaml}"),
            Some(folder) => std::fs::write(folder.join(format!("{plural}.yaml")), yaml)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
