//! The operator as its users run it: the binary, with the token of the ServiceAccount that `config/rbac` installs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::control_plane::free_address;

/// Namespace of the operator.
pub const NAMESPACE: &str = "sightline-system";
/// The operator's name in the audit log.
pub const USER: &str = "system:serviceaccount:sightline-system:sightline";

/// Times of a lease: duration, renew deadline, retry period.
pub type LeaseTimes = [&'static str; 3];
/// Shorter than in production: what waits for the end of a lease does not wait for long.
pub const LEASE_TIMES: LeaseTimes = ["4s", "3s", "500ms"];
/// As in production: a busy machine loses no lease.
pub const LONG_LEASE_TIMES: LeaseTimes = ["15s", "10s", "2s"];

/// How an operator is started.
pub struct Start<'a> {
    /// Its name in the lease and in the audit log.
    pub name: &'a str,
    /// The binary.
    pub binary: &'a Path,
    /// Its kubeconfig.
    pub kubeconfig: &'a Path,
    /// Where its log goes, appended.
    pub log: PathBuf,
    /// Divides the times of the conversation with istiod; 1: as in production.
    pub istio_time_divisor: u32,
    /// How often each target is looked at although nothing happens; 10 min in production.
    pub resync: Duration,
    /// The lease that it waits for; `None`: it is alone, for sure.
    pub lease: Option<LeaseTimes>,
}

/// Ends a command when the pipe on its stdin closes, however its other end went away.
const SUPERVISE: &str = include_str!("process/supervise.sh");

/// A running operator. Killed when dropped, also when this process is killed.
pub struct Operator {
    supervisor: Child,
    pid_file: PathBuf,
    address: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Starts one and waits until it is ready and leads.
    pub async fn start(start: Start<'_>) -> Result<Self> {
        let mut operator = Self::start_replica(start).await?;
        operator.wait_until_it_leads().await?;
        Ok(operator)
    }

    /// Waits until it is the one of its replicas that writes.
    pub async fn wait_until_it_leads(&mut self) -> Result<()> {
        self.wait_until("leads", async |operator| operator.leads().await).await
    }

    /// Starts one and waits until it is ready, be it as the leader or as a standby.
    pub async fn start_replica(start: Start<'_>) -> Result<Self> {
        let address = free_address()?;
        let listen = address.to_string();
        let [lease, renew, retry] = start.lease.unwrap_or(LEASE_TIMES);
        let flags = [
            ("--listen", listen.as_str()),
            ("--namespace", NAMESPACE),
            ("--lease-duration", lease),
            ("--lease-renew-deadline", renew),
            ("--lease-retry-period", retry),
            ("--leader-elect", if start.lease.is_some() { "true" } else { "false" }),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag, value]);
        let arguments: Vec<String> = std::iter::once("run").chain(flags).map(str::to_owned).collect();
        Self::start_with(start, address, &arguments, &[]).await
    }

    /// Starts one with the arguments and the environment that somebody else gives it, which tell it to listen on
    /// `address`, and waits until it is ready.
    pub async fn start_with(
        start: Start<'_>,
        address: SocketAddr,
        arguments: &[String],
        env: &[(String, String)],
    ) -> Result<Self> {
        let pid_file = start.log.with_extension("pid");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISE, "supervise"])
            .arg(&pid_file)
            .arg(&start.log)
            .arg(start.binary)
            .args(arguments)
            .args(["--istio-time-divisor", &start.istio_time_divisor.to_string()])
            .args(["--resync-millis", &start.resync.as_millis().to_string()])
            .env("POD_NAME", start.name)
            .envs(env.iter().cloned())
            .env("KUBECONFIG", start.kubeconfig)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", start.binary.display()))?;
        let mut operator = Self {
            supervisor,
            pid_file,
            address,
            log: start.log,
        };
        let ready = async |operator: &Self| Ok(operator.get("/readyz").await?.0 == 200);
        operator.wait_until("is ready", ready).await?;
        Ok(operator)
    }

    async fn wait_until(&mut self, what: &str, holds: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = self.supervisor.try_wait()? {
                bail!("the operator ended ({status}); its log:\n{}", self.log_tail());
            }
            if holds(self).await.is_ok_and(|holds| holds) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("not after 60 s: the operator {what}; its log:\n{}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether it is the one of its replicas that writes, as it says itself.
    pub async fn leads(&self) -> Result<bool> {
        Ok(self.get("/metrics").await?.1.contains("\nsightline_leader 1\n"))
    }

    /// A page of its server: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await??;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// Ends it as Kubernetes does, with SIGTERM, and waits. An exit code other than 0 is an error.
    pub async fn stop(mut self) -> Result<()> {
        self.signal("TERM").await?;
        // The pipe stays open until the operator has ended by itself: wait() would close it.
        let pipe = self.supervisor.stdin.take();
        let status = tokio::time::timeout(Duration::from_secs(30), self.supervisor.wait())
            .await
            .context("the operator did not end within 30 s of SIGTERM")??;
        drop(pipe);
        if !status.success() {
            bail!(
                "the operator ended with {status} after SIGTERM; its log:\n{}",
                self.log_tail()
            );
        }
        Ok(())
    }

    /// Sends it a signal.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let pid = std::fs::read_to_string(&self.pid_file).context("the operator has ended already")?;
        let status = Command::new("kill")
            .args([&format!("-{name}"), pid.trim()])
            .status()
            .await?;
        if !status.success() {
            bail!("kill -{name} {pid} failed");
        }
        Ok(())
    }

    /// Ends it as a crash does: the closed pipe is a SIGKILL.
    pub async fn kill(mut self) -> Result<()> {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().await?;
        Ok(())
    }

    /// Ends it as a bug does that nothing catches, with SIGABRT. An exit code of 0 is an error.
    pub async fn abort(mut self) -> Result<()> {
        self.signal("ABRT").await?;
        let pipe = self.supervisor.stdin.take();
        let status = tokio::time::timeout(Duration::from_secs(30), self.supervisor.wait())
            .await
            .context("the operator did not end within 30 s of SIGABRT")??;
        drop(pipe);
        if status.success() {
            bail!("the operator ended with {status} after SIGABRT");
        }
        Ok(())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(60)..)
            .unwrap_or_default()
            .join("\n")
    }
}
