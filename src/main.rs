//! The command line's entry; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use sightline::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
