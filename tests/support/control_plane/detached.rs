//! Ends a control plane that another process left running.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::TEMPORARY;

const END_LIMIT: Duration = Duration::from_secs(15);

/// Ends the processes that the folder's pid files name, and removes the folder if it was made for that control plane.
///
/// A pid may by now belong to somebody else (after a reboot, say): only a process whose command line names the folder is
/// ended.
pub async fn stop_detached(dir: &Path) -> anyhow::Result<()> {
    let dir = dir
        .canonicalize()
        .with_context(|| format!("no control plane in {}", dir.display()))?;
    let pids = dir.join("pids");
    let deadline = Instant::now() + END_LIMIT;
    while !end_all(&dir, &pids).await? {
        anyhow::ensure!(
            Instant::now() < deadline,
            "processes still run after {} s",
            END_LIMIT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if dir.join(TEMPORARY).exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

/// Ends every process that still runs, and says whether there was none.
async fn end_all(dir: &Path, pids: &Path) -> anyhow::Result<bool> {
    let mut none = true;
    for file in fs::read_dir(pids).with_context(|| format!("no control plane in {}", dir.display()))? {
        let file = file?.path();
        if let Some(pid) = running(&file, dir) {
            none = false;
            kill(&pid).await?;
        } else {
            // Its supervisor removes it too; one of a process that ended with the machine is left to us.
            fs::remove_file(&file).ok();
        }
    }
    Ok(none)
}

/// The pid in the file, if a process of the control plane in `dir` has it.
fn running(file: &Path, dir: &Path) -> Option<String> {
    let pid = fs::read_to_string(file).ok()?.trim().parse::<u32>().ok()?.to_string();
    let command_line = fs::read(Path::new("/proc").join(&pid).join("cmdline")).ok()?;
    let names_us = String::from_utf8_lossy(&command_line).contains(&*dir.to_string_lossy());
    names_us.then_some(pid)
}

async fn kill(pid: &str) -> anyhow::Result<()> {
    // The shell's own `kill`: the command is a package of its own in small images. It may have ended just now: no error.
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", "kill -KILL \"$1\" 2>/dev/null", "kill", pid])
        .status()
        .await
        .context("cannot start sh")?;
    Ok(())
}
