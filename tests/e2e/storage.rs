//! What the API server's storage forgets.

use anyhow::{Context as _, Result};

use crate::matrix;
use crate::scenario::{Scenario, Script, Stage};
use crate::world::*;

#[tokio::test]
async fn storage_that_is_compacted_while_the_operator_watches_or_is_down_changes_no_end() -> Result<()> {
    let (there, back) = (Scenario::Change, Scenario::Revert);
    let mut stage = Stage::set(there, back).await?;
    for scenario in [there, back] {
        // Watches go on from a version that nobody has any more: an API server that starts anew has no memory of its own.
        let while_it_watches = async |world: &mut World| {
            world.plane.compact_storage().await?;
            world.plane.restart_api_server().await
        };
        stage
            .play_with(scenario, Script::default(), while_it_watches)
            .await
            .with_context(|| format!("{scenario:?}, watching"))?;
        matrix::record("21 storage compacted, watching", &scenario.name(), "ok")?;
        let while_it_is_down = async |world: &mut World| {
            world.kill_operator().await?;
            world.plane.compact_storage().await?;
            world.plane.restart_api_server().await?;
            world.start_operator().await
        };
        // To the same end again, from where it is.
        stage
            .play_with(scenario, Script::default(), while_it_is_down)
            .await
            .with_context(|| format!("{scenario:?}, down"))?;
        matrix::record("21 storage compacted, down", &scenario.name(), "ok")?;
    }
    Ok(())
}
