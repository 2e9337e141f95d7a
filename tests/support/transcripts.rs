//! Transcripts of the command line: `*.console` in a folder, whose commands run in its folder `files`.
//!
//! `$` is a line for `sh`, `?` the exit code, `|` what stands on stdout and stderr, `#` a comment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use similar::TextDiff;
use tempfile::TempDir;

/// A line for `sh`, in the folder with the files: its exit code, and what stands on stdout and stderr.
pub fn run(folder: &Path, line: &str) -> (i32, String) {
    let temporary = TempDir::new().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_sightline")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir(folder.join("files"))
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), said)
}

/// A transcript with what its commands answer now. Comments stay.
pub fn played(folder: &Path, transcript: &str) -> String {
    let mut made: Vec<String> = Vec::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let (code, said) = run(folder, command);
            made.extend([line.to_owned(), format!("? {code}")]);
            made.extend(said.lines().map(|line| format!("| {line}").trim_end().to_owned()));
        } else if line.starts_with("# ") {
            made.push(line.to_owned());
        }
    }
    made.join("\n") + "\n"
}

/// The transcripts of a folder.
pub fn transcripts(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of_console = entries.filter(|path| path.extension().is_some_and(|e| e == "console"));
    let mut all: Vec<_> = of_console
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    all.sort();
    all
}

/// Fails where a command answers otherwise than recorded; `SIGHTLINE_UPDATE=1` records.
pub fn all_answer_as_recorded(folder: &Path) {
    let mut wrong = Vec::new();
    for (path, there) in transcripts(folder) {
        let made = played(folder, &there);
        if std::env::var_os("SIGHTLINE_UPDATE").is_some() {
            std::fs::write(&path, made).unwrap();
        } else if there != made {
            let diff = TextDiff::from_lines(there.as_str(), &made);
            wrong.push(diff.unified_diff().header(path.to_str().unwrap(), "now").to_string());
        }
    }
    assert!(
        wrong.is_empty(),
        "SIGHTLINE_UPDATE=1 records what is meant to be so\n{}",
        wrong.join("\n")
    );
}
