//! The process: where its log goes, and how it ends.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::fault_proxy::{Fault, Rule};
use crate::matrix;
use crate::scenario::{Scenario, Stage};
use crate::world::*;

#[tokio::test]
async fn an_operator_whose_log_cannot_be_written_goes_on() -> Result<()> {
    let mut world = World::demo().await?;
    world.set_divisor(10);
    // Every write to it fails as on a full disk.
    let log = world.plane.dir().join("logs/full.log");
    std::os::unix::fs::symlink("/dev/full", &log)?;
    let mut operator = world.start_replica("full").await?;
    operator.wait_until_it_leads().await?;
    world.apply_samples().await?;
    world.all_ready().await?;
    world.restarted_to(AGENT, 2).await?;
    // A refused write is logged as well.
    world.plane.restart_api_server().await?;
    world.set_password("another").await?;
    world.restarted_to(AGENT, 3).await?;
    world.ready(SOLARMESH).await?;
    assert_eq!(operator.get("/healthz").await?.0, 200);
    // It is the process that was started, and it ends as it should.
    operator.stop().await?;
    matrix::record("35 log on a full disk", "Apply, Roll", "ok")
}

#[tokio::test]
async fn an_operator_that_aborts_in_the_middle_of_a_write_ends_with_an_error_and_does_no_damage() -> Result<()> {
    let (there, back) = (Scenario::Roll, Scenario::RollBack);
    let mut stage = Stage::set(there, back).await?;
    for scenario in [there, back] {
        let slow = Rule::new(Fault::Delay(Duration::from_secs(2)), |request| {
            request.is_write() && request.subresource.is_empty() && request.resource != "events"
        });
        let abort = async |world: &mut World| {
            eventually(PATIENCE, "a write is under way", async || {
                let hits = world.proxy().hits();
                Ok(if hits > 0 { Ok(()) } else { Err("none".to_owned()) })
            })
            .await?;
            world.abort_operator().await?;
            ensure!(world.proxy().hits() == 1, "it aborted later");
            world.start_operator().await
        };
        stage
            .play_with(scenario, slow.first(1).into(), abort)
            .await
            .with_context(|| format!("{scenario:?}"))?;
        matrix::record("35 SIGABRT in mid write", &scenario.name(), "ok")?;
    }
    Ok(())
}
