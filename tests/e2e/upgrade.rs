//! Releases that hash in another way.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::matrix;
use crate::world::*;

const HASH: &str = "/spec/template/metadata/annotations/sightline.dev~1config-hash";

/// There is no older release to run. What one would leave is a hash of a version that this one does not know, and so would
/// a newer one before a downgrade.
#[tokio::test]
async fn a_release_that_hashes_in_another_way_restarts_nobody_and_sees_the_next_change_all_the_same() -> Result<()> {
    let mut world = World::with_operator(10).await?;
    world.apply_sample("solarmesh-interface-traffic").await?;
    world.ready(SOLARMESH).await?;
    world.restarted_to(AGENT, 2).await?;
    let mut revisions = 2;
    for (version, password) in [("v0", "second"), ("v7", "third")] {
        world.stop_operator().await?;
        let foreign = format!("{version}:{}", "5".repeat(64));
        let annotations = json!({"sightline.dev/config-hash": foreign});
        world
            .patch(
                AGENT,
                json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}),
            )
            .await?;
        revisions += 1;
        world.restarted_to(AGENT, revisions).await?;

        world.start_operator().await?;
        world.ready(SOLARMESH).await?;
        world.quiet_for(Duration::from_secs(3)).await?;
        assert_eq!(
            world.revisions(AGENT).await?,
            revisions,
            "{version}: nobody is restarted"
        );
        let live = world.get(AGENT).await?;
        assert_eq!(live.pointer(HASH), Some(&Value::from(foreign)), "{version}: nor edited");

        // What it is in sync with is noted: the next process has nothing to find out.
        world.stop_operator().await?;
        let since = Timestamp::now();
        world.start_operator().await?;
        world.quiet_for(Duration::from_secs(3)).await?;
        world.no_writes_since(since).await?;

        world.set_password(password).await?;
        revisions += 1;
        world.restarted_to(AGENT, revisions).await?;
        world.ready(SOLARMESH).await?;
    }
    matrix::record("31 hash of another version", "Roll", "ok")
}
