//! Processes that cannot outlive the one that started them.
//!
//! `kill_on_drop` and `Drop` do nothing when the test process is killed, and a parent-death signal belongs to a thread,
//! which under tokio may end long before the process. So each process runs under a small shell script that holds the
//! read end of a pipe: the kernel closes the write end however this process ends.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

const SUPERVISE: &str = include_str!("process/supervise.sh");
const CLEAN_UP: &str = include_str!("process/clean_up.sh");

/// How long the end of something that was killed may take before we say so.
const END_LIMIT: Duration = Duration::from_secs(15);
/// How many lines of a log go into an error.
const TAIL_LINES: usize = 25;

/// A script that ends when the pipe to it closes.
#[derive(Debug)]
struct Tied {
    script: Child,
    /// `None` once closed or detached.
    pipe: Option<ChildStdin>,
}

impl Tied {
    fn spawn(script: &str, arguments: &[&std::ffi::OsStr], env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut script = Command::new("sh")
            .arg("-c")
            .arg(script)
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            // Whoever reads our own output must not wait for a process that we leave behind.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches the whole process group: the script must survive it to do its work.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        let pipe = script.stdin.take();
        Ok(Self { script, pipe })
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        if let Some(mut pipe) = self.pipe.take() {
            pipe.write_all(b"detach\n")
                .context("cannot detach a process: its supervisor is gone")?;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.pipe = None;
    }

    /// Blocks, for some milliseconds as a rule: a `Drop` cannot do otherwise.
    fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + END_LIMIT;
        loop {
            if let Some(status) = self.script.try_wait().context("cannot wait for sh")? {
                return Ok(status);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "still running {} s after it was told to end",
                END_LIMIT.as_secs()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One running process: its output goes to a file, and it ends with us.
#[derive(Debug)]
pub(super) struct Supervised {
    name: &'static str,
    log: PathBuf,
    tied: Tied,
}

impl Supervised {
    /// Starts `program`; its pid is in `pids/NAME` of `dir`, its output is appended to `logs/NAME.log`.
    pub(super) fn spawn(name: &'static str, dir: &Path, program: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        Self::spawn_with(name, dir, program, arguments, &[])
    }

    /// [`Supervised::spawn`] with variables beside those of this process.
    pub(super) fn spawn_with(
        name: &'static str,
        dir: &Path,
        program: &Path,
        arguments: &[String],
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let log = dir.join("logs").join(format!("{name}.log"));
        let pid_file = dir.join("pids").join(name);
        let mut all = vec![
            "supervise".as_ref(),
            pid_file.as_os_str(),
            log.as_os_str(),
            program.as_os_str(),
        ];
        all.extend(arguments.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        let tied = Tied::spawn(SUPERVISE, &all, env).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, log, tied })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.tied
            .script
            .try_wait()
            .with_context(|| format!("cannot ask whether {} runs", self.name))
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for an error message.
    pub(super) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .iter()
            .skip(lines.len().saturating_sub(TAIL_LINES))
            .copied()
            .collect::<Vec<_>>()
            .join("\n");
        format!("--- end of {} ---\n{tail}\n---", self.log.display())
    }

    /// Lets it outlive this process.
    pub(super) fn detach(&mut self) -> anyhow::Result<()> {
        self.tied.detach()
    }

    /// Tells it to end, without waiting.
    pub(super) fn close(&mut self) {
        self.tied.close();
    }

    /// Waits until it is gone; call [`Supervised::close`] before.
    pub(super) fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.tied.wait().with_context(|| self.name.to_owned())
    }
}

/// Removes a folder after all processes of it are gone, also when this process is killed.
#[derive(Debug)]
pub(super) struct CleanUp(Tied);

impl CleanUp {
    pub(super) fn spawn(dir: &Path, keep: bool) -> anyhow::Result<Self> {
        let mut arguments = vec!["clean-up".as_ref(), dir.as_os_str()];
        if keep {
            arguments.push("keep".as_ref());
        }
        Tied::spawn(CLEAN_UP, &arguments, &[]).map(Self)
    }

    pub(super) fn detach(&mut self) -> anyhow::Result<()> {
        self.0.detach()
    }

    /// Lets it do its work and waits for its end.
    pub(super) fn run(&mut self) -> anyhow::Result<()> {
        self.0.close();
        let status = self.0.wait().context("clean-up")?;
        anyhow::ensure!(status.success(), "a process did not end in time");
        Ok(())
    }
}
