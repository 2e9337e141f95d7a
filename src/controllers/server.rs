//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Operator;

/// A target that waits for longer than this means that the workers are stuck.
const STUCK: Duration = Duration::from_mins(5);
/// An elector that has not taken a turn for this long is stuck: each turn has a deadline far below.
const ELECTOR_STUCK: Duration = Duration::from_mins(5);

/// Serves until the future ends.
pub async fn serve(
    listener: TcpListener,
    operator: Arc<Operator>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(operator);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

/// Healthy means that work goes on: nothing has waited for longer than passes can take, and the lease is looked after.
async fn healthz(State(operator): State<Arc<Operator>>) -> (StatusCode, String) {
    let (waiting, oldest) = operator.queue.backlog();
    if oldest > STUCK {
        let text = format!(
            "{waiting} targets wait, the oldest for {}s: the workers are stuck\n",
            oldest.as_secs()
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let turned = operator.election.as_ref().map(|election| election.borrow().turned);
    if let Some(age) = turned.map(|turned| turned.elapsed()).filter(|age| *age > ELECTOR_STUCK) {
        let text = format!("nobody has looked after the lease for {}s\n", age.as_secs());
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    (StatusCode::OK, "ok\n".into())
}

/// Ready means that every watch has seen its first list, so that decisions rest on the whole picture, and that this
/// replica can be elected. One that stands by is ready.
async fn readyz(State(operator): State<Arc<Operator>>) -> (StatusCode, String) {
    let waiting = operator.watches.waiting();
    let refused = operator.watches.refused();
    if !refused.is_empty() {
        let text = format!(
            "the API server refuses to let us watch: {}; install config/rbac\n",
            refused.join(", ")
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let refused = operator
        .election
        .as_ref()
        .and_then(|election| election.borrow().refused.clone());
    if let Some(refused) = refused {
        let text = format!(
            "the API server refuses the lease: {refused}; install config/rbac in namespace {}\n",
            operator.settings.namespace
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    if waiting.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("waiting for the first list of: {}\n", waiting.join(", ")),
    )
}

async fn metrics(State(operator): State<Arc<Operator>>) -> String {
    let (depth, age) = operator.queue.backlog();
    operator
        .metrics
        .queue_depth
        .set(i64::try_from(depth).unwrap_or(i64::MAX));
    let unreadable = operator.store.peek(|snapshot| snapshot.undecoded().count());
    operator
        .metrics
        .unreadable
        .set(i64::try_from(unreadable).unwrap_or(i64::MAX));
    operator
        .metrics
        .queue_age_seconds
        .set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    operator.metrics.leader.set(i64::from(operator.fence.term().is_some()));
    operator.metrics.text()
}
