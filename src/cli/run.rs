//! `sightline run`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args, ValueEnum};
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::config::KubeConfigOptions;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cluster::lease::Times;
use crate::controllers::{Operator, Settings};
use crate::crds::TimeSpan;
use crate::snapshot::Timings;

/// Least time between two statuses of a resource that differ in numbers only.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// Milliseconds after which a target that nothing happens to is looked at again.
pub(super) const RESYNC_MILLIS: u64 = 600_000;

/// How logs are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Flags of `sightline run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Namespace of the operator itself.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sightline-system")]
    namespace: String,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "SIGHTLINE_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Targets that are worked on at once.
    #[arg(long, env = "SIGHTLINE_WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Seconds that running work may take after SIGTERM.
    #[arg(long, env = "SIGHTLINE_GRACE_SECONDS", default_value_t = 20)]
    grace_seconds: u64,
    /// Whether to write only while holding a lease, so that several replicas can run. `false`: this one is alone.
    #[arg(long, env = "SIGHTLINE_LEADER_ELECT", default_value_t = true, action = ArgAction::Set)]
    leader_elect: bool,
    /// A lease that is seen unchanged for this long has run out: another replica takes over.
    #[arg(long, env = "SIGHTLINE_LEASE_DURATION", default_value = "15s", value_parser = span)]
    lease_duration: Duration,
    /// A leader writes for this long after its last renewal of the lease.
    #[arg(long, env = "SIGHTLINE_LEASE_RENEW_DEADLINE", default_value = "10s", value_parser = span)]
    lease_renew_deadline: Duration,
    /// How often the lease is renewed by the leader, and looked at by the others.
    #[arg(long, env = "SIGHTLINE_LEASE_RETRY_PERIOD", default_value = "2s", value_parser = span)]
    lease_retry_period: Duration,
    /// Name of this replica in the lease and in the audit log. Need not be unique.
    #[arg(long, env = "POD_NAME", default_value = "sightline")]
    pod_name: String,
    /// How logs are written.
    #[arg(long, env = "SIGHTLINE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// What is logged: a level, or levels by module.
    #[arg(long, env = "SIGHTLINE_LOG", default_value = "info")]
    log: String,
    /// Divides the times of the conversation with istiod, and the least time between two statuses. For tests: a real
    /// istiod needs the whole.
    #[arg(long, hide = true, default_value_t = 1)]
    istio_time_divisor: u32,
    /// Milliseconds after which a target that nothing happens to is looked at again. For tests.
    #[arg(long, hide = true, default_value_t = RESYNC_MILLIS)]
    resync_millis: u64,
}

impl RunArgs {
    /// Runs the operator until SIGTERM or SIGINT.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // Exhaustive: a flag that nobody uses does not compile.
        let Self {
            namespace,
            listen,
            workers,
            grace_seconds,
            leader_elect,
            lease_duration,
            lease_renew_deadline,
            lease_retry_period,
            pod_name,
            log_format,
            log,
            istio_time_divisor,
            resync_millis,
        } = self;
        init_logs(log_format, &log)?;
        let times = Times::new(lease_duration, lease_renew_deadline, lease_retry_period)?;
        // A process that follows another in the same pod is somebody else.
        let identity = format!("{pod_name}_{:016x}", rand::random::<u64>());
        let resync = Duration::from_millis(resync_millis);
        let settings = Settings {
            namespace,
            identity,
            election: leader_elect.then_some(times),
            listen: Some(listen),
            ejects: false,
            workers: usize::from(workers),
            grace: Duration::from_secs(grace_seconds),
            timings: Timings::default().divided_by(istio_time_divisor).with_resync(resync),
            resync,
            status_interval: STATUS_INTERVAL / istio_time_divisor.max(1),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        runtime.block_on(async {
            let config = config(&settings.identity).await?;
            let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
            let shutdown = async move {
                tokio::select! { _ = term.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
            };
            Operator::new(config, settings)
                .context("cannot start")?
                .run(shutdown)
                .await
                .context("the operator stopped")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How to reach the cluster of the current kubeconfig or service account, as who.
pub(super) async fn config(identity: &str) -> anyhow::Result<Config> {
    let config = Config::infer().await;
    prepared(
        config.context("no cluster: set KUBECONFIG, or run in a pod with a service account")?,
        identity,
    )
}

/// The same for the cluster of a context of the kubeconfig.
pub(super) async fn config_of_context(context: &str, identity: &str) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_kubeconfig(&options).await;
    prepared(
        config.with_context(|| format!("no cluster of the context {context}"))?,
        identity,
    )
}

fn prepared(mut config: Config, identity: &str) -> anyhow::Result<Config> {
    // kube would retry POST too; our queue tries whole passes again, which are idempotent.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    // Replicas share an account: this tells them apart in the audit log.
    let agent = format!("sightline/{} ({identity})", env!("CARGO_PKG_VERSION"));
    let agent = HeaderValue::try_from(agent).context("--pod-name has characters that no HTTP header can have")?;
    config.headers.push((USER_AGENT, agent));
    Ok(config)
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    let span = TimeSpan::from(text).get();
    span.ok_or_else(|| "write a span of time such as 500ms, 15s or 1m30s".to_owned())
}

pub(super) fn init_logs(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {filter} is no log filter"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Where stderr cannot be written (a full disk), to say so there would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}
