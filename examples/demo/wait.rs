//! Waiting for a condition, with a deadline: nothing in the demo sleeps for luck.

use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(100);
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// What one look shows: the condition holds, or what is there instead.
pub type Look<T> = anyhow::Result<Result<T, String>>;

/// Looks again and again until the condition holds. The error says what was expected and what was seen.
pub async fn until<T, F>(expected: &str, look: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Look<T>>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = match tokio::time::timeout(PROBE_DEADLINE, look()).await {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(seen))) => seen,
            Ok(Err(error)) => format!("an error: {error:#}"),
            Err(_) => "no answer from the API server".to_owned(),
        };
        anyhow::ensure!(
            Instant::now() < deadline,
            "expected: {expected}\nseen after {} s: {seen}",
            DEADLINE.as_secs()
        );
        tokio::time::sleep(INTERVAL).await;
    }
}

/// A check that must hold at once.
pub fn check(holds: bool, expected: &str, seen: impl std::fmt::Display) -> anyhow::Result<()> {
    anyhow::ensure!(holds, "expected: {expected}\nseen: {seen}");
    Ok(())
}
