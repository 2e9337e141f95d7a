//! `sightline lint`: broken formats and filters in files, before a proxy finds them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::files::{self, FilesError};
use crate::format::{Dialect, EnvoyVersion, KumaVersion};
use crate::lint::codes::{Code, Severity};
use crate::lint::cost::{self, Priced};
use crate::lint::{Finding, Options, json, lint, lint_format, text};

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people: the line of the file, and what of it is meant.
    Text,
    /// For programs: an array, a member for each finding.
    Json,
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
    /// Prints what each format costs instead: bytes of a typical line, and the weight of its operators for Envoy. Exit code
    /// 1: a format is refused, so that it costs nothing.
    #[arg(long, conflicts_with = "explain")]
    cost: bool,
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
        if self.cost {
            return self.print_costs();
        }
        let (checked, is_all_read) = self.check();
        self.print(&checked)?;
        let bar = match self.fail_on {
            Bar::Error => Severity::Error,
            Bar::Warning => Severity::Warning,
        };
        let mut findings = checked.iter().flat_map(|checked| &checked.findings);
        Ok(
            match (is_all_read, findings.any(|finding| finding.code.severity >= bar)) {
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

    /// What can be read is checked; what cannot is told on stderr, and the second value is false.
    fn check(&self) -> (Vec<Checked>, bool) {
        if let Some(text) = &self.text {
            let findings = lint_format(text, self.options());
            let (file, text) = ("--text".to_owned(), text.clone());
            return (vec![Checked { file, text, findings }], true);
        }
        let (mut checked, mut is_all_read) = (Vec::new(), true);
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
                        is_all_read = false;
                    }
                }
            }
        }
        (checked, is_all_read)
    }

    fn check_file(&self, path: &Path) -> Result<Checked, FilesError> {
        let (file, text) = files::read_text(path)?;
        match lint(&text, self.options()) {
            Ok(findings) => Ok(Checked { file, text, findings }),
            Err(source) => Err(FilesError::Yaml { file, source }),
        }
    }

    /// What can be read is told; what cannot is told on stderr.
    fn print_costs(&self) -> anyhow::Result<ExitCode> {
        let (files, is_all_read) = match &self.text {
            Some(text) => {
                let priced = vec![cost::cost_of_format(text, self.options())];
                (vec![("--text".to_owned(), text.clone(), priced)], true)
            }
            None => self.costs(),
        };
        let all = || {
            files
                .iter()
                .flat_map(|(file, text, priced)| priced.iter().map(move |one| (file, text, one)))
        };
        match self.output {
            Output::Json => {
                let entries: Vec<_> = all().map(|(file, text, one)| cost::entry(file, text, one)).collect();
                println!("{}", serde_json::to_string_pretty(&entries)?);
            }
            Output::Text => all().for_each(|(file, text, one)| print!("{}", cost::report(file, text, one))),
        }
        let is_refused = all().any(|(_, _, one)| one.cost.is_err());
        Ok(match (is_all_read, is_refused) {
            (false, _) => ExitCode::from(2),
            (true, true) => ExitCode::from(1),
            (true, false) => ExitCode::SUCCESS,
        })
    }

    /// Files with their texts and formats, and whether all could be read.
    fn costs(&self) -> (Vec<(String, String, Vec<Priced>)>, bool) {
        let (mut read, mut is_all_read) = (Vec::new(), true);
        let price = |path: &Path| {
            let (file, text) = files::read_text(path)?;
            match cost::costs(&text, self.options()) {
                Ok(priced) => Ok((file, text, priced)),
                Err(source) => Err(FilesError::Yaml { file, source }),
            }
        };
        for path in &self.paths {
            let files = files::expand(path).map(|files| files.iter().map(|file| price(file)).collect());
            for result in files.unwrap_or_else(|error| vec![Err(error)]) {
                match result {
                    Ok(file) => read.push(file),
                    Err(error) => {
                        eprintln!("error: {error}");
                        is_all_read = false;
                    }
                }
            }
        }
        (read, is_all_read)
    }

    fn print(&self, checked: &[Checked]) -> anyhow::Result<()> {
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
    println!(
        "{} {} ({})\n\n{}\n{}",
        code.id,
        code.name,
        code.severity.as_str(),
        code.meaning,
        code.remedy
    );
    ExitCode::SUCCESS
}
