//! `sightline eject`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};

use super::run::{LogFormat, RESYNC_MILLIS, STATUS_INTERVAL, config, init_logs, span};
use crate::cluster::lease::Times;
use crate::cluster::lease::elector::lease_exists;
use crate::cluster::once;
use crate::controllers::eject::OperatorLeads;
use crate::controllers::{Operator, Settings};
use crate::plan::eject::{Item, Left, left};
use crate::snapshot::Timings;

/// Targets that are worked on at once.
const WORKERS: usize = 8;
/// How long what runs may take in the end.
const GRACE: Duration = Duration::from_secs(20);

/// Flags of `sightline eject`.
///
/// Deletes our Telemetries, WasmPlugins and ConfigMaps, takes our entries out of MeshConfig, our environment out of
/// workloads (each a restart, as each mesh's `spec.rollout` allows) and our finalizer from meshes. ObservabilityMeshes,
/// TrafficLogs and TracingBackends stay, and say Ready=False, Ejected. Stop the operator first.
///
/// Exit code 0: nothing is left. 1: something is, and it is named; or an operator leads. 2: the cluster cannot be asked.
#[derive(Debug, Args)]
pub struct EjectArgs {
    /// Prints what would be done, and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Gives up after this time, and names what is left. Run it again to go on.
    #[arg(long, default_value = "10m", value_parser = span)]
    timeout: Duration,
    /// Namespace of the operator: where its lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sightline-system")]
    namespace: String,
    /// Whether to hold the operator's lease meanwhile. `false`: no operator runs, for sure.
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    leader_elect: bool,
    /// What is logged on stderr: a level, or levels by module.
    #[arg(long, env = "SIGHTLINE_LOG", default_value = "warn")]
    log: String,
    /// Divides the times of the conversation with istiod. For tests: a real istiod needs the whole.
    #[arg(long, hide = true, default_value_t = 1)]
    istio_time_divisor: u32,
}

/// Why it ended.
enum Ended {
    Done(Left),
    OperatorLeads(OperatorLeads),
    TimedOut,
    Interrupted,
}

impl EjectArgs {
    /// Ejects.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        init_logs(LogFormat::Text, &self.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let ended = runtime.context("cannot start")?.block_on(async {
            let identity = format!("eject_{:016x}", rand::random::<u64>());
            let config = config(&identity).await?;
            if self.dry_run {
                print_plan(config).await
            } else {
                self.eject(config, identity).await
            }
        });
        Ok(ended.unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }))
    }

    async fn eject(&self, config: Config, identity: String) -> anyhow::Result<ExitCode> {
        let namespace = &self.namespace;
        if self.leader_elect && !lease_exists(Client::try_from(config.clone())?, namespace).await? {
            eprintln!(
                "error: there is no Lease sightline in namespace {namespace}, so it cannot be told whether an operator runs; name the operator's namespace by --namespace, or say --leader-elect=false if none runs for sure"
            );
            return Ok(ExitCode::FAILURE);
        }
        let times = Times::new(Duration::from_secs(15), Duration::from_secs(10), Duration::from_secs(2))?;
        let settings = Settings {
            namespace: namespace.clone(),
            identity,
            election: self.leader_elect.then_some(times),
            listen: None,
            ejects: true,
            workers: WORKERS,
            grace: GRACE,
            resync: Duration::from_millis(RESYNC_MILLIS),
            status_interval: STATUS_INTERVAL / self.istio_time_divisor.max(1),
            timings: Timings::default().divided_by(self.istio_time_divisor),
        };
        // What is there before anything is taken away: the rest is told against it.
        let before = what_is_left(config.clone()).await?;
        let operator = Operator::new(config, settings).context("cannot start")?;
        let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut progress = Progress::of(before);
        let mut ended = Ended::Interrupted;
        let end = async {
            ended = tokio::select! {
                done = operator.until_ejected(|left| progress.tell(left)) => {
                    done.map_or_else(Ended::OperatorLeads, Ended::Done)
                }
                () = tokio::time::sleep(self.timeout) => Ended::TimedOut,
                _ = term.recv() => Ended::Interrupted,
                _ = tokio::signal::ctrl_c() => Ended::Interrupted,
            };
        };
        operator.clone().run(end).await.context("the eject stopped")?;
        Ok(match ended {
            Ended::Done(left) => report(&progress, &left),
            Ended::OperatorLeads(leads) => {
                eprintln!(
                    "error: {leads}, and would put back what is taken out; stop it first: helm uninstall, or kubectl --namespace {namespace} scale deployment --selector app.kubernetes.io/name=sightline --replicas=0"
                );
                ExitCode::FAILURE
            }
            Ended::TimedOut => {
                let time = format!("{:?}", self.timeout);
                not_done(&operator.left(), &format!("not done after {time}"))
            }
            Ended::Interrupted => not_done(&operator.left(), "interrupted"),
        })
    }
}

/// What was there, and is told as it goes.
struct Progress {
    last: BTreeSet<Item>,
    gone: usize,
}

impl Progress {
    fn of(before: Left) -> Self {
        Self {
            last: before.items,
            gone: 0,
        }
    }

    fn tell(&mut self, left: &Left) {
        for item in self.last.difference(&left.items) {
            println!("done: {} {item}", item.action());
            self.gone += 1;
        }
        self.last.clone_from(&left.items);
    }
}

fn report(progress: &Progress, left: &Left) -> ExitCode {
    println!(
        "Nothing of Sightline is left but its resources, and annotations that mean nothing to anybody else ({} steps).",
        progress.gone
    );
    if left.unseen.is_empty() {
        return ExitCode::SUCCESS;
    }
    tell_unseen(left);
    ExitCode::FAILURE
}

fn not_done(left: &Left, why: &str) -> ExitCode {
    eprintln!("error: {why}; left to do:");
    for item in &left.items {
        eprintln!("  {} {item}", item.action());
    }
    for what in &left.unread {
        eprintln!("  read {what}");
    }
    tell_unseen(left);
    eprintln!(
        "Run it again to go on. A Deployment waits for its mesh's spec.rollout (paused, or others go first), or cannot be patched: see --log=info."
    );
    ExitCode::FAILURE
}

fn tell_unseen(left: &Left) {
    for what in &left.unseen {
        eprintln!("error: no right to read {what}: something of Sightline may be there");
    }
}

async fn what_is_left(config: Config) -> anyhow::Result<Left> {
    let client = Client::try_from(config).context("no cluster")?;
    Ok(once::ask(&client, left).await?.answer)
}

/// What would be done, in its order.
async fn print_plan(config: Config) -> anyhow::Result<ExitCode> {
    let plan = what_is_left(config).await?;
    for item in &plan.items {
        println!("would {} {item}", item.action());
    }
    if plan.items.is_empty() {
        println!("Nothing of Sightline is here but its resources.");
    }
    tell_unseen(&plan);
    Ok(if plan.unseen.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
