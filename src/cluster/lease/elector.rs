//! The loop that stands for election: looks at the lease, writes it, opens and closes the fence.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::candidate::{Candidate, Claim, Step};
use super::fence::Fence;
use super::{LEASE_NAME, Times};
use crate::cluster::api::{CallError, ErrorClass, call_within};
use crate::render::metadata::FIELD_MANAGER;

/// How the election goes, for `/readyz` and `/healthz`.
#[derive(Clone, Debug)]
pub struct Health {
    /// When the loop last took a turn; it does so every few seconds, whatever the API server does.
    pub turned: Instant,
    /// What the API server said when it refused to let us read or write the lease.
    pub refused: Option<String>,
}

/// See the module.
pub struct Elector {
    api: Api<Lease>,
    what: String,
    candidate: Candidate,
    times: Times,
    fence: Fence,
    health: watch::Sender<Health>,
    told: Told,
}

/// What the log has said last: it says a thing once.
#[derive(Default)]
struct Told {
    error: Option<String>,
    holder: Option<String>,
}

impl Elector {
    /// One that has not begun. The client has no fence: leases are written by those who do not lead.
    pub fn new(client: Client, namespace: &str, identity: String, times: Times, fence: Fence) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            what: format!("Lease {namespace}/{LEASE_NAME}"),
            candidate: Candidate::new(identity, times),
            times,
            fence,
            health: watch::Sender::new(Health {
                turned: Instant::now(),
                refused: None,
            }),
            told: Told::default(),
        }
    }

    /// How the election goes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Stands for election until told to stop, then gives the lease back. Whoever stops it has ended all writes before; if
    /// it goes away without a word, the lease runs out instead.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let began = Instant::now();
            let outcome = self.turn().await;
            self.note(outcome);
            let now = Instant::now();
            match self.candidate.leads(now) {
                Some(until) => self.fence.open_until(until),
                None => self.fence.close(),
            }
            // Replicas that start together need not look together.
            let look = began + self.times.retry.mul_f64(rand::random_range(0.8..1.0));
            let next = self.candidate.turn(now).map_or(look, |turn| turn.min(look));
            tokio::select! {
                stop = &mut stop => {
                    self.fence.close();
                    if stop.is_ok() {
                        self.release().await;
                    }
                    return;
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// Looks, if need be, and writes, if that is called for.
    async fn turn(&mut self) -> Result<(), CallError> {
        loop {
            let asked = Instant::now();
            let known = self.candidate.renewal(Timestamp::now());
            let renews = known.is_some();
            let claim = match known {
                Some(claim) => claim,
                None => match self.look().await? {
                    Step::Wait => return Ok(()),
                    Step::Write(claim) => claim,
                },
            };
            self.candidate.sent(&claim);
            match self.write(claim).await {
                Ok(stored) => {
                    self.candidate.stands(stored, asked, Instant::now());
                    return Ok(());
                }
                // Somebody changed or deleted it: what is there now decides.
                Err(error) if renews && (error.class() == ErrorClass::Conflict || error.code() == Some(404)) => {
                    info!(%error, "the lease was changed by somebody else");
                }
                Err(error) if error.class() == ErrorClass::Conflict => {
                    debug!(%error, "another replica was faster");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn look(&mut self) -> Result<Step, CallError> {
        let live = call_within(self.attempt(), "get", &self.what, self.api.get_opt(LEASE_NAME)).await?;
        let holder = live
            .as_ref()
            .and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
        let step = self.candidate.consider(live.as_ref(), Instant::now(), Timestamp::now());
        if matches!(step, Step::Wait) && self.told.holder != holder {
            info!(
                holder = holder.as_deref().unwrap_or_default(),
                "standing by: another replica holds the lease"
            );
            self.told.holder = holder;
        }
        Ok(step)
    }

    async fn write(&self, claim: Claim) -> Result<Lease, CallError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        let lease = claim.lease;
        if lease.metadata.resource_version.is_none() {
            call_within(self.attempt(), "create", &self.what, self.api.create(&params, &lease)).await
        } else {
            let replace = self.api.replace(LEASE_NAME, &params, &lease);
            call_within(self.attempt(), "replace", &self.what, replace).await
        }
    }

    /// Longest that one request may take: a renewal that hangs leaves time for another.
    fn attempt(&self) -> Duration {
        self.times.renew_deadline / 3
    }

    fn note(&mut self, outcome: Result<(), CallError>) {
        let refused = outcome.as_ref().err().and_then(CallError::refusal);
        self.health.send_replace(Health {
            turned: Instant::now(),
            refused,
        });
        let error = outcome.err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|error| self.told.error.as_ref() != Some(error)) {
            warn!(error, "the lease can be neither taken nor renewed; trying again");
        }
        self.told.error = error;
    }

    async fn release(mut self) {
        let Some(lease) = self.candidate.release(Instant::now(), Timestamp::now()) else {
            return;
        };
        let params = PostParams::default();
        let replace = self.api.replace(LEASE_NAME, &params, &lease);
        match call_within(self.attempt(), "release", &self.what, replace).await {
            Ok(_) => info!("the lease is given back"),
            Err(error) => warn!(%error, "the lease is not given back; it will run out"),
        }
    }
}
