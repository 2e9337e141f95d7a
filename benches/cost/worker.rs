//! The CPU time of Envoy's worker: the thread that answers requests and makes their lines. (Another one writes them.)

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

/// How long a thread must have used no CPU to be asleep.
const ASLEEP: Duration = Duration::from_micros(300);

/// The worker of an Envoy with one.
pub struct Worker {
    schedstat: PathBuf,
}

impl Worker {
    /// Of the Envoy with this folder.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        let pid = fs::read_to_string(dir.join("pids/envoy"))?;
        for task in fs::read_dir(Path::new("/proc").join(pid.trim()).join("task"))? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.starts_with("wrk:") {
                let schedstat = task.join("schedstat");
                return Ok(Self { schedstat });
            }
        }
        anyhow::bail!("Envoy has no worker")
    }

    /// What it has used so far. Waits until it sleeps: what a running thread used is only known when it stops, and a line
    /// is made after its response.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut before = self.read()?;
        loop {
            std::thread::sleep(ASLEEP);
            let now = self.read()?;
            if now == before && self.is_asleep()? {
                return Ok(now);
            }
            before = now;
        }
    }

    fn read(&self) -> anyhow::Result<Duration> {
        let line = fs::read_to_string(&self.schedstat)?;
        let nanoseconds = line.split(' ').next().context("schedstat is empty")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }

    fn is_asleep(&self) -> anyhow::Result<bool> {
        let stat = fs::read_to_string(self.schedstat.with_file_name("stat"))?;
        let (_, after_name) = stat.rsplit_once(") ").context("stat names no thread")?;
        Ok(after_name.starts_with('S'))
    }
}
