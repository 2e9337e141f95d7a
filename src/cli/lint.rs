//! `sightline lint`: broken formats and filters in files, before a proxy finds them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::files::{self, FilesError};
use crate::format::{Dialect, EnvoyVersion, KumaVersion};
use crate::lint::codes::{Code, Severity};
use crate::lint::{Finding, Options, docs, json, lint, lint_format, sarif, text};

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people: the line of the file, and what of it is meant.
    Text,
    /// For programs: an array, a member for each finding.
    Json,
    /// For code scanners: SARIF 2.1.0.
    Sarif,
}

/// Who reads a format before Envoy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mesh {
    /// Nobody.
    Envoy,
    /// istiod.
    Istio,
    /// Kuma's control plane, which has operators of its own.
    Kuma,
}

/// From which severity on a finding is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bar {
    /// Errors.
    Error,
    /// Errors and warnings.
    Warning,
}

/// Flags of `sightline lint`.
///
/// Exit code 0: nothing found at or over the bar. 1: something found. 2: something could not be read.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files, folders (with all .yaml, .yml and .json files below them) or - (standard input): our own kinds, Istio's
    /// Telemetry and MeshConfig (in its ConfigMap), Envoy's bootstrap. What else stands there is left alone.
    #[arg(value_name = "FILE", required_unless_present_any = ["text", "explain"], conflicts_with_all = ["text", "explain"])]
    paths: Vec<PathBuf>,
    /// Checks this one format instead of files: a whole line of text.
    #[arg(long, value_name = "FORMAT", conflicts_with = "explain", allow_hyphen_values = true)]
    text: Option<String>,
    /// Says what a code means and what to do.
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
    /// Oldest Envoy that reads the files. Default: the oldest that is supported, so that all take what is found good.
    #[arg(long, value_name = "VERSION", default_value_t = EnvoyVersion::OLDEST_SUPPORTED, hide_default_value = true)]
    envoy_version: EnvoyVersion,
    /// Who reads formats before Envoy, where a file does not say so by its kind. Default: for our own kinds istio, for
    /// --text envoy.
    #[arg(long, value_enum)]
    mesh: Option<Mesh>,
    /// From which severity on a finding makes the exit code 1.
    #[arg(long, value_enum, default_value_t = Bar::Error)]
    fail_on: Bar,
    /// How findings are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A text that was checked.
struct Checked {
    file: String,
    text: String,
    findings: Vec<Finding>,
}

impl LintArgs {
    /// Checks.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(code) = &self.explain {
            return Ok(explain(code));
        }
        let (checked, unread) = self.check();
        self.print(&checked, &unread)?;
        let bar = match self.fail_on {
            Bar::Error => Severity::Error,
            Bar::Warning => Severity::Warning,
        };
        let mut findings = checked.iter().flat_map(|checked| &checked.findings);
        Ok(
            match (unread.is_empty(), findings.any(|finding| finding.code.severity >= bar)) {
                (false, _) => ExitCode::from(2),
                (true, true) => ExitCode::from(1),
                (true, false) => ExitCode::SUCCESS,
            },
        )
    }

    fn options(&self) -> Options {
        let dialect = |mesh| match mesh {
            Mesh::Envoy => Dialect::Envoy,
            Mesh::Istio => Dialect::Istio,
            Mesh::Kuma => Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED),
        };
        Options {
            oldest: self.envoy_version,
            mesh: self.mesh.map(dialect),
        }
    }

    /// What can be read is checked; what cannot is told on stderr, and in the second value.
    fn check(&self) -> (Vec<Checked>, Vec<String>) {
        if let Some(text) = &self.text {
            let findings = lint_format(text, self.options());
            let (file, text) = ("--text".to_owned(), text.clone());
            return (vec![Checked { file, text, findings }], Vec::new());
        }
        let (mut checked, mut unread) = (Vec::new(), Vec::new());
        for path in &self.paths {
            let files = files::expand(path).map(|files| files.into_iter().map(|file| self.check_file(&file)));
            let results = match files {
                Ok(files) => files.collect(),
                Err(error) => vec![Err(error)],
            };
            for result in results {
                match result {
                    Ok(file) => checked.push(file),
                    Err(error) => {
                        eprintln!("error: {error}");
                        unread.push(error.to_string());
                    }
                }
            }
        }
        (checked, unread)
    }

    fn check_file(&self, path: &Path) -> Result<Checked, FilesError> {
        let (file, text) = files::read_text(path)?;
        match lint(&text, self.options()) {
            Ok(findings) => Ok(Checked { file, text, findings }),
            Err(source) => Err(FilesError::Yaml { file, source }),
        }
    }

    fn print(&self, checked: &[Checked], unread: &[String]) -> anyhow::Result<()> {
        let all = || {
            checked
                .iter()
                .flat_map(|checked| checked.findings.iter().map(move |finding| (checked, finding)))
        };
        match self.output {
            Output::Json => {
                let entries: Vec<_> = all()
                    .map(|(of, finding)| json::entry(&of.file, &of.text, finding))
                    .collect();
                println!("{}", serde_json::to_string_pretty(&entries)?);
            }
            Output::Sarif => {
                let found = all().map(|(of, finding)| (of.file.as_str(), of.text.as_str(), finding));
                println!("{}", serde_json::to_string_pretty(&sarif::log(found, unread))?);
            }
            Output::Text => {
                for (of, finding) in all() {
                    println!("{}", text::report(&of.file, &of.text, finding));
                }
                let count = |severity| all().filter(|(_, finding)| finding.code.severity == severity).count();
                let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
                eprintln!(
                    "{} checked: {}, {}",
                    counted(checked.len(), "file"),
                    counted(errors, "error"),
                    counted(warnings, "warning")
                );
            }
        }
        Ok(())
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn explain(id: &str) -> ExitCode {
    let Some(code) = Code::find(id) else {
        eprintln!("error: there is no code {id}; codes look like SL001, and each finding names its own");
        return ExitCode::from(2);
    };
    print!("{}", docs::explanation(code));
    ExitCode::SUCCESS
}
