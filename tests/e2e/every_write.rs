//! The operator dies at each of its writes: just before the API server sees it, or just after it was done.

use anyhow::{Context as _, Result, ensure};

use crate::fault_proxy::{Fault, Request, Rule};
use crate::matrix;
use crate::scenario::{Scenario, Script, Stage};

/// Writes of objects and statuses. An event is told behind a status, and nothing comes behind it.
fn is_write(request: &Request) -> bool {
    request.is_write() && request.resource != "events"
}

/// Plays both scenarios again and again, each time with a crash one write later, until there is no later one.
async fn dies_at_every_write(there: Scenario, back: Scenario) -> Result<()> {
    let mut stage = Stage::set(there, back).await?;
    for (fault, name) in [
        (Fault::KillBefore, "1 crash before write"),
        (Fault::KillAfter, "2 crash after write"),
    ] {
        let mut crashes = [(there, 0), (back, 0)];
        let mut going = [true, true];
        while going.contains(&true) {
            for ((scenario, crashes), going) in crashes.iter_mut().zip(&mut going) {
                let crash = || Script::from(Rule::new(fault.clone(), is_write).nth(*crashes + 1));
                let script = if *going { crash() } else { Script::default() };
                let hits = stage
                    .play(*scenario, script)
                    .await
                    .with_context(|| format!("{scenario:?}, {name} {}", *crashes + 1))?;
                *going &= hits > 0;
                *crashes += usize::from(*going);
            }
        }
        for (scenario, crashes) in crashes {
            let least = stage.reference(scenario).writes.len() / 2;
            ensure!(crashes >= least, "{scenario:?}: only {crashes} crashes");
            matrix::record(name, &scenario.name(), &format!("{crashes} ok"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn apply_and_delete_come_to_the_same_end_with_a_crash_before_and_after_every_write() -> Result<()> {
    dies_at_every_write(Scenario::Apply, Scenario::Delete).await
}

#[tokio::test]
async fn a_change_and_its_revert_come_to_the_same_end_with_a_crash_before_and_after_every_write() -> Result<()> {
    dies_at_every_write(Scenario::Change, Scenario::Revert).await
}

#[tokio::test]
async fn a_restart_is_made_once_with_a_crash_before_and_after_every_write() -> Result<()> {
    dies_at_every_write(Scenario::Roll, Scenario::RollBack).await
}

#[tokio::test]
async fn a_rotated_secret_restarts_once_with_a_crash_before_and_after_every_write() -> Result<()> {
    dies_at_every_write(Scenario::Rotate, Scenario::RotateBack).await
}

#[tokio::test]
async fn an_adoption_comes_to_the_same_end_with_a_crash_before_and_after_every_write() -> Result<()> {
    dies_at_every_write(Scenario::Disown, Scenario::Adopt).await
}

#[tokio::test]
async fn entries_in_somebody_elses_map_come_to_the_same_end_with_a_crash_before_and_after_every_write() -> Result<()> {
    dies_at_every_write(Scenario::Patch, Scenario::Share).await
}
