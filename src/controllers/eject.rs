//! How far an eject has come: the operator's own loop does the work, with every resource seen as being deleted.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::Operator;
use crate::plan::eject::{Left, left};
use crate::snapshot::View;

/// How often it is looked whether something is left.
const INTERVAL: Duration = Duration::from_millis(250);

/// An operator is at work, which would put back what is taken out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operator leads (it calls itself {0} in the lease)")]
pub struct OperatorLeads(pub String);

impl Operator {
    /// What of ours is in the cluster, by what was read so far.
    pub fn left(&self) -> Left {
        let now = Timestamp::now();
        self.store
            .peek(|snapshot| left(&View::new(snapshot, now, self.settings.timings)))
    }

    /// Waits until nothing is left, and tells of each change. Returns what could not be looked at, in [`Left::unseen`].
    ///
    /// # Errors
    /// Where somebody else leads.
    pub async fn until_ejected(&self, mut tell: impl FnMut(&Left)) -> Result<Left, OperatorLeads> {
        let mut told = None;
        loop {
            if let Some(rival) = self
                .election
                .as_ref()
                .and_then(|election| election.borrow().rival.clone())
            {
                return Err(OperatorLeads(rival));
            }
            if self.fence.term().is_some() && self.watches.waiting().is_empty() {
                let left = self.left();
                if told.as_ref() != Some(&left) {
                    tell(&left);
                }
                if left.is_nothing() {
                    return Ok(left);
                }
                told = Some(left);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
