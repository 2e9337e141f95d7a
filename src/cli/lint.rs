//! `sightline lint`: broken formats and filters in files, before a proxy finds them.

mod cluster;
mod versions;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::files::{self, FilesError};
use crate::format::{Dialect, KumaVersion};
use crate::lint::codes::{Code, Severity};
use crate::lint::cost::{self, Priced};
use crate::lint::{Checked, Linter, Options, docs, json, lint_format, sarif, text};
use crate::yaml::YamlError;
use cluster::ClusterArgs;
use versions::VersionArgs;

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
    /// Files, folders (with all .yaml, .yml and .json files below them), patterns in quotes such as '**/*.yaml', or -
    /// (standard input): our own kinds, Istio's Telemetry, EnvoyFilter and MeshConfig (in its ConfigMap, an IstioOperator or
    /// values of charts), Kuma's policies, Envoy Gateway's EnvoyProxy, Envoy's bootstrap. What else stands there is left
    /// alone.
    #[arg(value_name = "FILE", required_unless_present_any = ["text", "explain", "cluster"], conflicts_with_all = ["text", "explain"])]
    paths: Vec<PathBuf>,
    /// Checks this one format instead of files: a whole line of text.
    #[arg(long, value_name = "FORMAT", conflicts_with = "explain", allow_hyphen_values = true)]
    text: Option<String>,
    /// Says what a code means and what to do.
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    versions: VersionArgs,
    /// Who reads formats before Envoy, where a file does not say so by its kind. Default: what the ObservabilityMeshes
    /// among the files say; without any, for our own kinds istio, for --text envoy.
    #[arg(long, value_enum)]
    mesh: Option<Mesh>,
    /// From which severity on a finding makes the exit code 1.
    #[arg(long, value_enum, default_value_t = Bar::Error)]
    fail_on: Bar,
    /// Prints what each format costs instead: bytes of a typical line, and the weight of its operators for Envoy. Exit code
    /// 1: a format is refused, so that it costs nothing.
    #[arg(long, conflicts_with_all = ["explain", "fail_on"])]
    cost: bool,
    /// How findings are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl LintArgs {
    /// Whether a cluster is read, and not only files.
    pub const fn asks_a_cluster(&self) -> bool {
        self.cluster.is_wanted()
    }

    /// Checks.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(code) = &self.explain {
            return Ok(explain(code));
        }
        let options = match self.options() {
            Ok(options) => options,
            Err(error) => {
                eprintln!("error: {error}");
                return Ok(ExitCode::from(2));
            }
        };
        if self.cost {
            return self.print_costs(options);
        }
        let (checked, unread) = self.check(options);
        self.print(&checked, &unread)?;
        let bar = match self.fail_on {
            Bar::Error => Severity::Error,
            Bar::Warning => Severity::Warning,
        };
        let mut findings = checked.iter().flat_map(|checked| &checked.findings);
        Ok(exit_code(&unread, findings.any(|finding| finding.code.severity >= bar)))
    }

    fn options(&self) -> Result<Options, String> {
        if self.cost && self.output == Output::Sarif {
            return Err("SARIF knows no costs: leave -o sarif out, or write -o json".to_owned());
        }
        let kuma = self.versions.kuma();
        let mesh = match (self.mesh, kuma) {
            (Some(Mesh::Envoy | Mesh::Istio), Some(_)) => {
                return Err("--kuma-version goes with --mesh kuma only: leave one of them out".to_owned());
            }
            (Some(Mesh::Envoy), None) => Some(Dialect::Envoy),
            (Some(Mesh::Istio), None) => Some(Dialect::Istio),
            (Some(Mesh::Kuma), None) => Some(Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED)),
            (None, None) => None,
            (_, Some(version)) => Some(Dialect::Kuma(version)),
        };
        Ok(Options {
            oldest: self.versions.oldest()?,
            mesh,
        })
    }

    /// What can be read is checked; what cannot is told on stderr, and in the second value.
    fn check(&self, options: Options) -> (Vec<Checked>, Vec<String>) {
        if let Some(text) = &self.text {
            let findings = lint_format(text, options);
            let (name, text) = ("--text".to_owned(), text.clone());
            return (vec![Checked { name, text, findings }], Vec::new());
        }
        let mut linter = Linter::new(options);
        let unread = self.read(|name, text| linter.add(name, text));
        (linter.finish(), unread)
    }

    /// Hands over each name and text of the files and the cluster. What cannot be read is told on stderr, and is the answer.
    fn read(&self, mut take: impl FnMut(String, String) -> Result<(), YamlError>) -> Vec<String> {
        let mut take = |name: String, text: String| {
            let taken = take(name.clone(), text);
            taken.map_err(|source| FilesError::Yaml { file: name, source })
        };
        let files = self.paths.iter().flat_map(|path| match files::expand(path) {
            Ok(files) => files.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        let taken = files.map(|file| {
            let (name, text) = files::read_text(&file?)?;
            take(name, text)
        });
        let mut failures: Vec<String> = taken.filter_map(Result::err).map(|error| error.to_string()).collect();
        if self.cluster.is_wanted() {
            match self.cluster.read() {
                Ok(read) => {
                    for what in read.unseen {
                        eprintln!("not looked at: {what}");
                    }
                    failures.extend(read.failures);
                    let taken = read.texts.into_iter().map(|(name, text)| take(name, text));
                    failures.extend(taken.filter_map(Result::err).map(|error| error.to_string()));
                }
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        for failure in &failures {
            eprintln!("error: {failure}");
        }
        failures
    }

    /// What can be read is told; what cannot is told on stderr.
    fn print_costs(&self, options: Options) -> anyhow::Result<ExitCode> {
        let mut files: Vec<(String, String, Vec<Priced>)> = Vec::new();
        let unread = if let Some(text) = &self.text {
            let priced = vec![cost::cost_of_format(text, options)];
            files.push(("--text".to_owned(), text.clone(), priced));
            Vec::new()
        } else {
            self.read(|name, text| {
                let priced = cost::costs(&text, options)?;
                files.push((name, text, priced));
                Ok(())
            })
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
            // Refused before anything is read.
            Output::Sarif => {}
        }
        Ok(exit_code(&unread, all().any(|(_, _, one)| one.cost.is_err())))
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
                    .map(|(of, finding)| json::entry(&of.name, &of.text, finding))
                    .collect();
                println!("{}", serde_json::to_string_pretty(&entries)?);
            }
            Output::Sarif => {
                let found = all().map(|(of, finding)| (of.name.as_str(), of.text.as_str(), finding));
                println!("{}", serde_json::to_string_pretty(&sarif::log(found, unread))?);
            }
            Output::Text => {
                for (of, finding) in all() {
                    println!("{}", text::report(&of.name, &of.text, finding));
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

fn exit_code(unread: &[String], is_bad: bool) -> ExitCode {
    match (unread, is_bad) {
        ([], false) => ExitCode::SUCCESS,
        ([], true) => ExitCode::from(1),
        _ => ExitCode::from(2),
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
