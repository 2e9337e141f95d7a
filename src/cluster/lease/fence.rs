//! The fence: no write passes it but while the lease allows it.
//!
//! It is a layer of the client, below everything that writes: a request that could change something and comes while this
//! replica does not lead fails before it is sent, and one that is under way when the leave to write ends is cut off. The
//! leave is looked up by the clock at each step, so a process that was stopped for a while finds it closed.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::Request;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::TICK;

/// A write that this replica may not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the lease: nothing is written")]
pub struct NotLeading;

/// Number of a time of leading without a break, counted from the start of the process.
pub type Term = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Closed,
    Until(Instant),
    Always,
}

#[derive(Debug)]
struct State {
    term: Term,
    leave: Leave,
}

impl State {
    fn open(&self) -> Option<Term> {
        let open = match self.leave {
            Leave::Closed => false,
            Leave::Until(until) => Instant::now() < until,
            Leave::Always => true,
        };
        open.then_some(self.term)
    }
}

/// See the module. Clones are one fence.
#[derive(Clone, Debug)]
pub struct Fence(Arc<watch::Sender<State>>);

impl Fence {
    /// Nothing passes, until an elector opens it.
    pub fn closed() -> Self {
        Self::new(Leave::Closed)
    }

    /// Everything passes, always: for an operator that is alone.
    pub fn always_open() -> Self {
        Self::new(Leave::Always)
    }

    fn new(leave: Leave) -> Self {
        Self(Arc::new(watch::Sender::new(State { term: 0, leave })))
    }

    /// Lets writes through until then: continues the term that runs, or begins one.
    pub(super) fn open_until(&self, until: Instant) {
        self.0.send_modify(|state| {
            // Under the lock that everybody looks under: nobody can see the old term's end and then its continuation.
            if state.open().is_none() {
                state.term += 1;
            }
            state.leave = Leave::Until(until);
        });
    }

    /// Lets nothing through.
    pub(super) fn close(&self) {
        self.0.send_modify(|state| state.leave = Leave::Closed);
    }

    /// The term that runs, if writes pass now.
    pub fn term(&self) -> Option<Term> {
        self.0.borrow().open()
    }

    /// Waits until writes pass; returns the term.
    pub async fn opened(&self) -> Term {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(term) = changes.borrow_and_update().open() {
                return term;
            }
            // The sender is in `self`: this does not fail.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until a term is over.
    pub async fn ended(&self, term: Term) {
        let mut changes = self.0.subscribe();
        loop {
            let leave = {
                let state = changes.borrow_and_update();
                if state.open() != Some(term) {
                    return;
                }
                state.leave
            };
            let timeout = async {
                match leave {
                    Leave::Until(until) => tokio::time::sleep_until(until + TICK).await,
                    Leave::Closed | Leave::Always => std::future::pending().await,
                }
            };
            tokio::select! { _ = changes.changed() => {}, () = timeout => {} }
        }
    }

    /// Works within a term: work that is not done when the term ends is dropped, with the requests that are under way.
    pub async fn within<T>(&self, term: Term, work: impl Future<Output = T>) -> Result<T, NotLeading> {
        let mut work = std::pin::pin!(work);
        let mut ended = std::pin::pin!(self.ended(term));
        std::future::poll_fn(|context| {
            // By the clock before each step: the timer's own wake-up may come after it.
            if self.term() != Some(term) || ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(NotLeading));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced {
            inner,
            fence: self.clone(),
        }
    }
}

/// Whether a request changes nothing. A port-forward begins with a GET, and what is sent through it may change much.
fn only_reads(request: &Request<Body>) -> bool {
    request.method().is_safe() && !request.uri().path().ends_with("/portforward")
}

/// A client's service behind a fence. What only reads (GET, HEAD, OPTIONS) passes always.
pub struct Fenced<S> {
    inner: S,
    fence: Fence,
}

impl<S> Service<Request<Body>> for Fenced<S>
where
    S: Service<Request<Body>, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if only_reads(&request) {
            return self.inner.call(request).boxed();
        }
        let Some(term) = self.fence.term() else {
            return futures::future::err(NotLeading.into()).boxed();
        };
        let (answer, fence) = (self.inner.call(request), self.fence.clone());
        async move { fence.within(term, answer).await? }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use http::{Method, Response};
    use tokio::time::{advance, sleep};
    use tower::ServiceExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The number of requests that reach an API server which takes a second to answer.
    async fn answer(fence: &Fence, method: Method, reached: &Arc<AtomicUsize>) -> Result<(), BoxError> {
        let reached = reached.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            let reached = reached.clone();
            async move {
                reached.fetch_add(1, Ordering::Relaxed);
                sleep(SECOND).await;
                Ok::<_, BoxError>(Response::new(Body::empty()))
            }
        });
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        fence.layer(server).oneshot(request).await.map(drop)
    }

    #[test]
    fn a_port_forward_begins_with_a_get_and_is_no_read() {
        let get = |uri: &str| only_reads(&Request::get(uri).body(Body::empty()).unwrap());
        assert!(get("/api/v1/namespaces/kmesh-system/pods/kmesh-a?watch=true"));
        assert!(!get(
            "/api/v1/namespaces/kmesh-system/pods/kmesh-a/portforward?ports=15200"
        ));
    }

    fn is_refused(answer: &Result<(), BoxError>) -> bool {
        answer.as_ref().is_err_and(|error| error.is::<NotLeading>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_fence_lets_reads_through_and_no_write_is_sent() {
        let (fence, reached) = (Fence::closed(), Arc::default());
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(is_refused(&answer(&fence, method, &reached).await));
        }
        assert_eq!(reached.load(Ordering::Relaxed), 0);
        assert!(answer(&fence, Method::GET, &reached).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_passes_until_the_leave_ends_and_not_after() {
        let (fence, reached) = (Fence::closed(), Arc::default());
        fence.open_until(Instant::now() + 2 * SECOND);
        assert!(answer(&fence, Method::PATCH, &reached).await.is_ok());
        advance(SECOND).await;
        assert!(is_refused(&answer(&fence, Method::PATCH, &reached).await));
        assert_eq!(reached.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_under_way_is_cut_off_when_the_leave_ends_and_goes_on_when_it_is_extended() {
        let (fence, reached) = (Fence::closed(), Arc::default());
        let start = Instant::now();
        fence.open_until(start + SECOND / 2);
        assert!(is_refused(&answer(&fence, Method::PATCH, &reached).await));
        assert_eq!(start.elapsed(), SECOND / 2 + TICK);

        fence.open_until(Instant::now() + SECOND / 2);
        let extend = async {
            sleep(SECOND / 4).await;
            fence.open_until(Instant::now() + SECOND);
        };
        let (answer, ()) = tokio::join!(answer(&fence, Method::PATCH, &reached), extend);
        assert!(answer.is_ok());
    }

    /// A process that is stopped wakes with all its timers due at once, in any order.
    #[tokio::test(start_paused = true)]
    async fn work_that_wakes_after_the_leave_has_ended_takes_no_step_more() {
        let fence = Fence::closed();
        fence.open_until(Instant::now() + SECOND);
        let steps = AtomicUsize::new(0);
        let work = std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            steps.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        });
        let term = fence.term().unwrap();
        let mut work = std::pin::pin!(fence.within(term, work));
        assert!(futures::poll!(work.as_mut()).is_pending());
        let before = steps.load(Ordering::Relaxed);
        advance(60 * SECOND).await;
        assert_eq!(futures::poll!(work.as_mut()), Poll::Ready(Err(NotLeading)));
        assert_eq!(steps.load(Ordering::Relaxed), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_break_in_the_leave_is_a_new_term_and_an_extension_is_not() {
        let fence = Fence::closed();
        fence.open_until(Instant::now() + SECOND);
        let first = fence.opened().await;
        advance(SECOND / 2).await;
        fence.open_until(Instant::now() + SECOND);
        assert_eq!(fence.term(), Some(first));
        fence.ended(first).await;
        fence.open_until(Instant::now() + SECOND);
        assert_ne!(fence.opened().await, first);
        let second = fence.term().unwrap();
        fence.close();
        assert_eq!(fence.term(), None);
        assert_eq!(fence.within(second, async {}).await, Err(NotLeading));
    }
}
