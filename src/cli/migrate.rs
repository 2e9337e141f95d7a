//! `sightline migrate`: what was written for a mesh, as its next version or Sightline reads it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::files;
use crate::crds::DEFAULT_KUMA_NAMESPACE;
use crate::format::KumaVersion;
use crate::migrate::kuma::{Effect, To, migrate};
use crate::render::kuma::versions::WITH_BACKENDS;
use crate::yaml;

/// What `sightline migrate` migrates.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Kuma's telemetry: the old blocks of a Mesh, TrafficLogs and TrafficTraces, and policies with `from` or addresses of
    /// receivers. Prints objects; what changes in meaning, and what cannot be carried over, is listed on stderr.
    Kuma(KumaArgs),
}

/// Flags of `sightline migrate kuma`.
///
/// Exit code 0: all is carried over. 1: something is lost, and the list says what. 2: the input could not be read.
#[derive(Debug, Args)]
pub struct KumaArgs {
    /// Files, folders, patterns such as '**/*.yaml', or - (standard input), with objects as Kubernetes has them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What to print: policies of a version of Kuma, 2.14 or later, or resources of Sightline.
    #[arg(long, value_name = "VERSION|sightline", value_parser = wanted)]
    to: To,
    /// Namespace of Kuma's control plane: what is for a whole mesh stands there.
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_KUMA_NAMESPACE)]
    system_namespace: String,
}

fn wanted(text: &str) -> Result<To, String> {
    if text.eq_ignore_ascii_case("sightline") {
        return Ok(To::Sightline);
    }
    let version = KumaVersion::from_str(text).map_err(|error| format!("{error}, or write `sightline`"))?;
    if version < WITH_BACKENDS {
        return Err(format!(
            "Kuma {version} reads what it has; write {WITH_BACKENDS}, a later version, or `sightline`"
        ));
    }
    Ok(To::Kuma(version))
}

impl MigrateCommand {
    /// Migrates.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Kuma(args) = self;
        let documents = match files::read(&args.paths) {
            Ok(documents) => documents,
            Err(error) => {
                eprintln!("error: {error}");
                return Ok(ExitCode::from(2));
            }
        };
        let objects: Vec<Value> = documents.into_iter().map(|document| document.object).collect();
        let migration = migrate(&objects, args.to, &args.system_namespace);
        for object in &migration.objects {
            print!("---\n{}\n", yaml::to_yaml(object)?.trim_end_matches('\n'));
        }
        for note in &migration.notes {
            eprintln!("{note}");
        }
        let is_lost = migration.notes.iter().any(|note| note.effect == Effect::Lost);
        Ok(if is_lost { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}
