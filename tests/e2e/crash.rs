//! An operator that dies at any moment.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;

use crate::operator::USER;
use crate::samples::live_is_as_rendered;
use crate::world::*;

#[tokio::test]
async fn an_operator_killed_at_any_write_comes_to_the_same_end_without_a_second_restart() -> Result<()> {
    let mut world = World::demo().await?;
    world.set_divisor(10);
    world.start_operator().await?;
    let since = Timestamp::now();
    world.apply_samples().await?;
    for writes in [1, 5, 11, 17, 24, 30] {
        let reached = wait_for_writes(&world, since, writes).await;
        world.kill_operator().await?;
        reached.with_context(|| world.log())?;
        world.start_operator().await?;
    }
    world.all_ready().await?;
    live_is_as_rendered(&world).await?;
    assert_eq!(
        world.revisions(AGENT).await?,
        2,
        "one restart, however often the operator died"
    );
    assert_eq!(
        world.revisions(VIRTUAL_NODE).await?,
        2,
        "one rollout, however often the operator died"
    );

    // Killed right behind the write that restarts: it must not be doubled.
    world.set_password("second").await?;
    eventually(PATIENCE, "the restart is written", async || {
        Ok(if world.revisions(AGENT).await? == 3 {
            Ok(())
        } else {
            Err("no restart yet".into())
        })
    })
    .await?;
    world.kill_operator().await?;
    world.start_operator().await?;
    world.restarted_to(AGENT, 3).await?;
    world.ready(SOLARMESH).await?;

    // The API server goes and comes: the watches come back, nothing is forgotten.
    world.plane.restart_api_server().await?;
    world.set_password("third").await?;
    world.restarted_to(AGENT, 4).await?;
    world.ready(SOLARMESH).await?;
    assert_eq!(world.operator().get("/healthz").await?.0, 200);
    world.quiet_for(Duration::from_secs(6)).await?;
    assert_eq!(world.revisions(AGENT).await?, 4);
    assert_eq!(world.revisions(VIRTUAL_NODE).await?, 2);
    world.stop_operator().await?;
    ensure!(!world.log().contains("panicked"), "{}", world.log());
    Ok(())
}

async fn wait_for_writes(world: &World, since: Timestamp, writes: usize) -> Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let seen = world.plane.writes_by(USER, since)?.len();
        // Fewer may do: what was written before a kill is not written again.
        if seen >= writes
            || world
                .condition(CART_CALLS, "Ready")
                .await?
                .is_some_and(|c| c.status == "True")
        {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "only {seen} writes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
