//! `sightline render`: files in, objects out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::files;
use super::world::World;
use crate::conditions::{ConditionType, Reason, Truth};
use crate::plan::simulate::Converged;
use crate::plan::{Status, Target};
use crate::snapshot::{Key, Kind};
use crate::yaml;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Kubernetes objects as YAML documents.
    Yaml,
    /// The whole plan: objects, deletions, restarts, statuses and events, as one YAML document.
    Plan,
}

/// Flags of `sightline render`.
///
/// Exit code 0: all is rendered. 1: a resource was not accepted, or names what does not exist. 2: the input is not what
/// the API server would take.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// File, folder or - (standard input) with our resources and with facts of the cluster: ConfigMap istio, istiod's
    /// Deployment, Namespaces, Services, Secrets, Deployments, live objects. Repeatable; the order does not matter.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
    /// Print values of Secrets where an object holds them. Default: <secret NAMESPACE/NAME/KEY> stands there.
    #[arg(long)]
    show_secrets: bool,
    /// Fail instead of assuming facts that no file gives.
    #[arg(long)]
    strict: bool,
}

impl RenderArgs {
    /// Renders.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            paths,
            output,
            show_secrets,
            strict,
        } = self;
        let documents = match files::read(&paths) {
            Ok(documents) => documents,
            Err(error) => {
                eprintln!("error: {error}");
                return Ok(ExitCode::from(2));
            }
        };
        let mut world = match World::from_documents(documents, show_secrets) {
            Ok(world) => world,
            Err(problems) => {
                for problem in &problems {
                    eprintln!("error: {problem}");
                }
                return Ok(ExitCode::from(2));
            }
        };
        let assumptions = world.assume_missing_facts();
        for assumption in &assumptions {
            eprintln!("{}: {assumption}", if strict { "error" } else { "assumed" });
        }
        if strict && !assumptions.is_empty() {
            return Ok(ExitCode::from(2));
        }
        let converged = world.converge(Timestamp::now())?;
        let text = match output {
            Output::Yaml => objects_text(&converged)?,
            Output::Plan => yaml::to_yaml(&plan_value(&converged))?,
        };
        print!("{text}");
        Ok(report(&converged.statuses))
    }
}

fn objects_text(converged: &Converged) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in converged.objects.values() {
        text.push_str("---\n");
        text.push_str(yaml::to_yaml(object)?.trim_end_matches('\n'));
        text.push('\n');
    }
    Ok(text)
}

/// The whole plan as one value: what `--output plan` prints.
pub fn plan_value(converged: &Converged) -> Value {
    let named =
        |(kind, key): &(Kind, Key)| json!({"kind": kind.names().1, "namespace": key.namespace, "name": key.name});
    let statuses: Vec<Value> = converged.statuses.iter().map(status_value).collect();
    let events: Vec<Value> = converged
        .events
        .iter()
        .map(|e| json!({"about": e.about.to_string(), "type": if e.warning { "Warning" } else { "Normal" }, "reason": e.reason, "note": e.note}))
        .collect();
    json!({
        "objects": converged.objects.values().collect::<Vec<_>>(),
        "deletions": converged.deleted.iter().map(named).collect::<Vec<_>>(),
        "restarts": converged.restarts.iter().map(|key| json!({"kind": "Deployment", "namespace": key.namespace, "name": key.name})).collect::<Vec<_>>(),
        "statuses": statuses,
        "events": events,
    })
}

fn status_value(status: &Status) -> Value {
    let conditions: Vec<Value> = status
        .findings
        .iter()
        .map(|f| json!({"type": f.type_.as_str(), "status": truth(f.status), "reason": f.reason.as_str(), "message": f.message}))
        .collect();
    let mut fields = status.fields.clone();
    fields.insert("conditions".into(), Value::Array(conditions));
    json!({"of": status.of.to_string(), "status": fields})
}

const fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    }
}

/// Says on stderr what is not as its author meant it; the exit code tells whether anything was refused.
fn report(statuses: &[Status]) -> ExitCode {
    let mut refused = false;
    for status in statuses {
        let name = title(&status.of);
        let ready = status.findings.iter().find(|f| f.type_ == ConditionType::Ready);
        if let Some(finding) = ready.filter(|f| f.status != Truth::True) {
            eprintln!("{name}: {}: {}", finding.reason.as_str(), finding.message);
        }
        for finding in &status.findings {
            match finding.type_ {
                ConditionType::PartiallyOverridden | ConditionType::PartiallyExpressed => {
                    eprintln!("{name}: {}: {}", finding.type_.as_str(), finding.message);
                }
                ConditionType::Accepted if finding.reason == Reason::AcceptedWithWarnings => {
                    eprintln!("{name}: {}: {}", finding.reason.as_str(), finding.message);
                }
                ConditionType::Accepted => {
                    refused |= finding.status == Truth::False && finding.reason != Reason::LimitedByMesh;
                }
                // A name that no file explains is the author's; what only a cluster can tell is not.
                ConditionType::ResolvedRefs => {
                    let of_author = [Reason::NoMesh, Reason::AmbiguousMesh, Reason::UnknownBackend];
                    refused |= finding.status == Truth::False && of_author.contains(&finding.reason);
                }
                _ => {}
            }
        }
    }
    if refused { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn title(target: &Target) -> String {
    match target {
        Target::Mesh(name) => format!("ObservabilityMesh {name}"),
        Target::TrafficLog(key) => format!("TrafficLog {key}"),
        Target::TracingBackend(key) => format!("TracingBackend {key}"),
        other => other.to_string(),
    }
}
