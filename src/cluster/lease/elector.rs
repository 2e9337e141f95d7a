//! The loop that stands for election: looks at the lease, writes it, opens and closes the fence.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::candidate::{Candidate, Claim};
use super::fence::Fence;
use super::{LEASE_NAME, TICK, Times};
use crate::cluster::api::{CallError, ErrorClass, call, call_within};
use crate::render::metadata::FIELD_MANAGER;

/// How the election goes, for `/readyz` and `/healthz`.
#[derive(Clone, Debug)]
pub struct Health {
    /// When the loop last took a turn; it does so every few seconds, whatever the API server does.
    pub turned: Instant,
    /// What the API server said when it refused to let us read or write the lease.
    pub refused: Option<String>,
    /// Another replica that was seen to renew the lease: it leads for sure.
    pub rival: Option<String>,
}

/// Whether an operator of this namespace has ever stood for election.
///
/// # Errors
/// Where the lease cannot be read.
pub async fn lease_exists(client: Client, namespace: &str) -> Result<bool, CallError> {
    let what = format!("Lease {namespace}/{LEASE_NAME}");
    let api: Api<Lease> = Api::namespaced(client, namespace);
    Ok(call("get", &what, api.get_opt(LEASE_NAME)).await?.is_some())
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
    /// The lease as it was seen in the hands of somebody else.
    others: Option<LeaseSpec>,
    rival: Option<String>,
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
                rival: None,
            }),
            told: Told::default(),
            others: None,
            rival: None,
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
            let next = self.candidate.turn(now).map_or(look, |turn| look.min(turn + TICK));
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
                    Some(claim) => claim,
                    None => return Ok(()),
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

    async fn look(&mut self) -> Result<Option<Claim>, CallError> {
        let live = call_within(self.attempt(), "get", &self.what, self.api.get_opt(LEASE_NAME)).await?;
        let holder = live
            .as_ref()
            .and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
        let claim = self.candidate.consider(live.as_ref(), Instant::now(), Timestamp::now());
        self.watch_others(live.and_then(|lease| lease.spec).filter(|_| claim.is_none()));
        if claim.is_none() && self.told.holder != holder {
            info!(
                holder = holder.as_deref().unwrap_or_default(),
                "standing by: another replica holds the lease"
            );
            self.told.holder = holder;
        }
        Ok(claim)
    }

    /// Notes who renews the lease; `None`: it is free.
    fn watch_others(&mut self, seen: Option<LeaseSpec>) {
        self.rival = match (&self.others, &seen) {
            (Some(before), Some(now)) if before.holder_identity != now.holder_identity => None,
            (Some(before), Some(now)) if before != now => now.holder_identity.clone(),
            (_, Some(_)) => self.rival.take(),
            (_, None) => None,
        };
        self.others = seen;
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
            rival: self.rival.clone(),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::task::JoinHandle;
    use tokio::time::sleep;
    use tower::BoxError;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// An API server with room for one lease.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<(u32, Option<Value>)>>);

    impl Server {
        async fn answer(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await?;
            let mut state = self.0.lock().unwrap();
            let (version, stored) = &mut *state;
            let mut sent: Value = serde_json::from_slice(&body).unwrap_or_default();
            let fits = match stored {
                None => method == Method::POST,
                Some(lease) => {
                    method == Method::PUT && lease["metadata"]["resourceVersion"] == sent["metadata"]["resourceVersion"]
                }
            };
            let (code, answer) = match stored {
                Some(lease) if method == Method::GET => (200, lease.clone()),
                None if method != Method::POST => (404, json!({})),
                _ if fits => {
                    *version += 1;
                    sent["metadata"]["resourceVersion"] = json!(version.to_string());
                    *stored = Some(sent.clone());
                    (200, sent)
                }
                _ => (409, json!({})),
            };
            let answer = match code {
                200 => answer,
                code => {
                    // kube tells by the reason that nothing is there.
                    let reason = if code == 404 { "NotFound" } else { "Conflict" };
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason})
                }
            };
            let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(code)?;
            Ok(response)
        }

        fn holder(&self) -> Option<String> {
            let state = self.0.lock().unwrap();
            let holder = state.1.as_ref()?.pointer("/spec/holderIdentity")?;
            Some(holder.as_str()?.to_owned())
        }
    }

    struct Replica {
        fence: Fence,
        health: watch::Receiver<Health>,
        cut_off: Arc<AtomicBool>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    impl Replica {
        fn start(name: &str, server: &Server) -> Self {
            let cut_off = Arc::new(AtomicBool::new(false));
            let (server, cut) = (server.clone(), cut_off.clone());
            let service = tower::service_fn(move |request| {
                let (server, cut) = (server.clone(), cut.clone());
                async move {
                    if cut.load(Ordering::Relaxed) {
                        std::future::pending::<()>().await;
                    }
                    server.answer(request).await
                }
            });
            let client = Client::new(service, "sightline-system");
            let fence = Fence::closed();
            let times = Times::new(15 * S, 10 * S, 2 * S).unwrap();
            let elector = Elector::new(client, "sightline-system", name.into(), times, fence.clone());
            let health = elector.health();
            let (stop, told) = oneshot::channel();
            let task = tokio::spawn(elector.run(told));
            Self {
                fence,
                health,
                cut_off,
                stop,
                task,
            }
        }

        fn cut_off(&self, cut_off: bool) {
            self.cut_off.store(cut_off, Ordering::Relaxed);
        }

        fn leads(&self) -> bool {
            self.fence.term().is_some()
        }
    }

    async fn two() -> (Server, Replica, Replica) {
        let server = Server::default();
        let a = Replica::start("a", &server);
        a.fence.opened().await;
        let b = Replica::start("b", &server);
        sleep(10 * S).await;
        assert!(a.leads() && !b.leads());
        (server, a, b)
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_renewals_hang_writes_nothing_after_the_deadline_and_leads_again_when_they_do_not() {
        let server = Server::default();
        let a = Replica::start("a", &server);
        let term = a.fence.opened().await;
        a.cut_off(true);
        let start = Instant::now();
        a.fence.ended(term).await;
        assert!(
            start.elapsed() > 7 * S && start.elapsed() <= 10 * S + 2 * TICK,
            "{:?}",
            start.elapsed()
        );
        sleep(60 * S).await;
        assert!(!a.leads());
        a.cut_off(false);
        let back = Instant::now();
        assert_ne!(a.fence.opened().await, term);
        assert!(back.elapsed() < 6 * S, "nobody else wanted it: {:?}", back.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_is_followed_within_the_lease_time_and_never_joined() {
        let (server, a, b) = two().await;
        a.cut_off(true);
        let start = Instant::now();
        while !b.leads() {
            assert!(start.elapsed() < 18 * S);
            sleep(S / 20).await;
            assert!(!(a.leads() && b.leads()));
        }
        a.cut_off(false);
        for _ in 0..1000 {
            sleep(S / 20).await;
            assert!(b.leads() && !a.leads());
        }
        assert_eq!(server.holder().as_deref(), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rival_is_one_that_was_seen_to_renew_and_no_holder_that_is_gone() {
        let (server, a, b) = two().await;
        let rival = |replica: &Replica| replica.health.borrow().rival.clone();
        assert_eq!((rival(&a), rival(&b)), (None, Some("a".into())));
        drop(a.stop);
        a.task.await.unwrap();
        let c = Replica::start("c", &server);
        sleep(10 * S).await;
        assert_eq!(rival(&c), None, "the lease has a holder, who does not renew it");
        sleep(20 * S).await;
        assert!(b.leads() != c.leads());
        let (leads, follows) = if b.leads() { (&b, &c) } else { (&c, &b) };
        assert_eq!(rival(leads), None);
        assert!(rival(follows).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_given_back_when_told_so_and_the_other_one_does_not_wait() {
        let (server, a, b) = two().await;
        let start = Instant::now();
        a.stop.send(()).unwrap();
        a.task.await.unwrap();
        assert!(a.fence.term().is_none());
        assert_eq!((start.elapsed(), server.holder()), (Duration::ZERO, None));
        b.fence.opened().await;
        assert!(start.elapsed() <= 2 * S, "{:?}", start.elapsed());
    }

    /// What was cut off may still arrive at the API server.
    #[tokio::test(start_paused = true)]
    async fn a_lease_is_not_given_back_by_one_that_just_goes_away() {
        let (server, a, b) = two().await;
        drop(a.stop);
        a.task.await.unwrap();
        assert_eq!(server.holder().as_deref(), Some("a"));
        let start = Instant::now();
        b.fence.opened().await;
        assert!(start.elapsed() > 12 * S);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_deleted_is_made_anew_and_never_has_two_writers() {
        let (server, a, b) = two().await;
        server.0.lock().unwrap().1 = None;
        let start = Instant::now();
        let mut gap = false;
        while start.elapsed() < 40 * S {
            sleep(S / 20).await;
            assert!(!(a.leads() && b.leads()));
            gap |= !a.leads() && !b.leads();
        }
        assert!(gap && (a.leads() || b.leads()));
    }
}
