//! What is remembered of Kmesh's daemons: their switches cannot be read, so this is all that is known of them.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::render::kmesh::scrape::Evidence;
use crate::render::kmesh::{CONTAINER, Known, Switches, Taken, Trouble};

/// Which life of a daemon: its switches are as at the start in each new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// UID of the pod; absent in files.
    pub uid: Option<String>,
    /// Restarts of its container.
    pub restarts: i64,
}

impl Life {
    /// The present life of a daemon's pod; `None` while its container does not run.
    pub fn of(pod: &Value) -> Option<Self> {
        let uid = pod.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let Some(statuses) = statuses else {
            // Files have no status: there it runs.
            let is_of_files = pod.get("status").is_none();
            return is_of_files.then_some(Self { uid, restarts: 0 });
        };
        let of_daemon = |status: &&Value| status.get("name").and_then(Value::as_str) == Some(CONTAINER);
        let status = statuses.iter().find(of_daemon)?;
        status.pointer("/state/running")?;
        let restarts = status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
        Some(Self { uid, restarts })
    }
}

/// How it went with a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// In which of its lives.
    pub life: Life,
    /// What was asked for.
    pub switches: Switches,
    /// Whether it took it.
    pub outcome: Result<Taken, Trouble>,
    /// When it was last asked.
    pub at: Timestamp,
    /// When it first took this.
    pub since: Option<Timestamp>,
    /// How often in a row it did not.
    pub failures: u32,
    /// What its metrics prove, once they were looked at; `None`: not yet.
    pub evidence: Option<Evidence>,
}

impl Asked {
    /// What it is known to be at.
    pub fn known(&self) -> Option<Known> {
        Some(Known {
            switches: self.switches,
            taken: *self.outcome.as_ref().ok()?,
        })
    }
}
