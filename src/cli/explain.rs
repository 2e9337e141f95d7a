//! `sightline explain`: which effective value comes from which resource.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::files;
use super::run::config;
use super::world::World;
use crate::admission::DEFAULT_NAMESPACE;
use crate::cluster::{hash_key, once};
use crate::explain::model::Explanation;
use crate::explain::{Eye, Subject, explain, tree, unseen};
use crate::snapshot::{Key, Timings, View};

/// What is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A pod, or what a Deployment, DaemonSet or StatefulSet of that name makes pods of.
    #[value(alias = "po")]
    Pod,
    /// All workloads of a namespace.
    #[value(alias = "ns")]
    Namespace,
    /// A TrafficLog.
    #[value(alias = "tlog")]
    Trafficlog,
    /// A TracingBackend.
    #[value(alias = "tback")]
    Tracingbackend,
    /// An ObservabilityMesh, with the entries that MeshConfig lacks.
    #[value(alias = "omesh")]
    Mesh,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Tree,
    /// For programs: the whole answer as one JSON object, see docs/explain.md.
    Json,
}

/// Flags of `sightline explain`.
///
/// Exit code 0: answered. 1: there is nothing of that name. 2: the files or the cluster could not be read.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// What is explained.
    #[arg(value_enum)]
    what: What,
    /// Its name.
    name: String,
    /// Its namespace. Default: the kubeconfig's, or with files `default`.
    #[arg(short, long)]
    namespace: Option<String>,
    /// File, folder or - (standard input), as `sightline render` reads them: the answer is about the cluster that the
    /// operator would make of them. Repeatable. Default: the cluster of the current kubeconfig, as it is.
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Tree)]
    output: Output,
    /// Namespace of the operator: its Secret tells which agents have to restart.
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "sightline-system",
        conflicts_with = "paths"
    )]
    operator_namespace: String,
}

impl ExplainArgs {
    /// Explains.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let answer = if self.paths.is_empty() {
            self.ask_cluster()
        } else {
            self.ask_files()
        };
        let (subject, explanation) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("error: {error:#}");
                return Ok(ExitCode::from(2));
            }
        };
        let Some(explanation) = explanation else {
            let hint = match subject {
                Subject::Pod(_) => {
                    ", nor a Deployment, DaemonSet or StatefulSet of that name; --namespace says where to look"
                }
                Subject::TrafficLog(_) | Subject::TracingBackend(_) => "; --namespace says where to look",
                Subject::Namespace(_) | Subject::Mesh(_) => "",
            };
            eprintln!("error: there is no {subject}{hint}");
            return Ok(ExitCode::from(1));
        };
        match self.output {
            Output::Tree => print!("{}", tree::text(&explanation)),
            Output::Json => println!("{}", serde_json::to_string_pretty(&explanation)?),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn subject(&self, default_namespace: &str) -> anyhow::Result<Subject> {
        let is_cluster_scoped = matches!(self.what, What::Namespace | What::Mesh);
        anyhow::ensure!(
            !is_cluster_scoped || self.namespace.is_none(),
            "a namespace and a mesh are in no namespace: leave --namespace out"
        );
        let namespace = self.namespace.as_deref().unwrap_or(default_namespace);
        let key = || Key::new(namespace, &self.name);
        Ok(match self.what {
            What::Pod => Subject::Pod(key()),
            What::Namespace => Subject::Namespace(self.name.clone()),
            What::Trafficlog => Subject::TrafficLog(key()),
            What::Tracingbackend => Subject::TracingBackend(key()),
            What::Mesh => Subject::Mesh(self.name.clone()),
        })
    }

    /// What will hold once the operator has done its work on these files.
    fn ask_files(&self) -> anyhow::Result<(Subject, Option<Explanation>)> {
        let subject = self.subject(DEFAULT_NAMESPACE)?;
        let documents = files::read(&self.paths)?;
        let world = World::from_documents(documents, false);
        let mut world = world.map_err(|problems| anyhow::anyhow!("{}", problems.join("\nerror: ")))?;
        for assumption in world.assume_missing_facts() {
            eprintln!("assumed: {assumption}");
        }
        let hash_key = world.hash_key().to_vec();
        let converged = world.converge(Timestamp::now())?;
        let view = View::new(&converged.snapshot, converged.now, Timings::default());
        let explanation = explain(&Eye::new(&view, Some(&hash_key)), &subject);
        Ok((subject, explanation))
    }

    /// What holds now.
    fn ask_cluster(&self) -> anyhow::Result<(Subject, Option<Explanation>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start")?.block_on(async {
            let client = Client::try_from(config("explain").await?).context("no cluster")?;
            let subject = self.subject(client.default_namespace())?;
            let hash_key = hash_key::read(&client, &self.operator_namespace).await;
            let asked = once::ask(&client, |view| {
                let hash_key = hash_key.as_ref().ok().and_then(Option::as_deref);
                explain(&Eye::new(view, hash_key), &subject)
            });
            let once::Answered { answer, refused } = asked.await?;
            let explanation = answer.map(|mut explanation| {
                explanation.unseen = refused.iter().map(|(kind, scope)| unseen(*kind, scope)).collect();
                explanation.unseen.extend(
                    hash_key
                        .err()
                        .map(|error| format!("the key of configuration hashes: {error}")),
                );
                explanation
            });
            Ok((subject, explanation))
        })
    }
}
