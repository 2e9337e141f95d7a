//! Environment that neither a mesh nor a policy is left for.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::matrix;
use crate::world::*;

const INTERLINK: Obj<'_> = RESOURCES[0];

/// Variables of ours in the container that gets them.
fn ours(deployment: &Value) -> Vec<String> {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
    let env = containers.into_iter().flatten().filter_map(|c| c["env"].as_array());
    let names = env.flatten().map(|var| text(&var["name"]));
    names.filter(|name| name.starts_with("TELEMETRY_")).collect()
}

async fn given(world: &World) -> Result<()> {
    world.apply_sample("interlink-tracing").await?;
    world.ready(VIRTUAL_KUBELET).await?;
    ensure!(
        !ours(&world.get(VIRTUAL_NODE).await?).is_empty(),
        "there is environment"
    );
    Ok(())
}

/// At the default pace, as the mesh that had another is gone.
async fn taken(world: &World, revisions: usize) -> Result<()> {
    world.restarted_to(VIRTUAL_NODE, revisions).await?;
    let live = world.get(VIRTUAL_NODE).await?;
    assert_eq!(ours(&live), [""; 0]);
    let record = live.pointer("/metadata/annotations/sightline.dev~1injected");
    ensure!(record.is_none(), "{record:?}");
    Ok(())
}

#[tokio::test]
async fn environment_goes_when_its_policy_and_its_mesh_are_deleted_at_once_also_behind_a_stopped_operator_and_nothing_hangs()
-> Result<()> {
    let mut world = World::with_operator(10).await?;
    given(&world).await?;
    assert_eq!(world.revisions(VIRTUAL_NODE).await?, 2);
    let start = Instant::now();
    let both = ["delete", "-f", "config/samples/interlink-tracing.yaml", "--wait=true"];
    world.kubectl(&both).await?;
    ensure!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    taken(&world, 3).await?;

    // The mesh goes first, and comes back: what a policy asks for stays.
    given(&world).await?;
    assert_eq!(world.revisions(VIRTUAL_NODE).await?, 4);
    world.delete_and_wait(INTERLINK).await?;
    world.told(VIRTUAL_KUBELET, "NoMesh", &["interlink"]).await?;
    world.quiet_for(Duration::from_secs(12)).await?;
    ensure!(!ours(&world.get(VIRTUAL_NODE).await?).is_empty(), "it stays");
    world.apply_sample("interlink-tracing").await?;
    world.ready(VIRTUAL_KUBELET).await?;
    assert_eq!(world.revisions(VIRTUAL_NODE).await?, 4);

    world.stop_operator().await?;
    world.kubectl(&both).await?;
    world.start_operator().await?;
    taken(&world, 5).await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    matrix::record("32 mesh and policy deleted at once", "environment", "ok")
}
