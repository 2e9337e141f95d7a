//! An applier that knows nothing of us, every few hundred milliseconds, for as long as the test lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::matrix;
use crate::world::*;

/// What the owner has in Git: the demo's own manifest.
fn manifest() -> Result<Value> {
    let text = std::fs::read_to_string(root().join("config/demo/20-solarmesh.yaml"))?;
    let documents = sightline::yaml::read_documents(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let is_agent = |object: &Value| object["kind"] == AGENT.0 && object["metadata"]["name"] == AGENT.2;
    documents.into_iter().find(is_agent).context("the demo has no agent")
}

/// Three changes of ours, each one restart; gives how often we wrote the agent, its notes of rollouts included.
async fn three_changes(world: &World, first: usize) -> Result<usize> {
    let since = Timestamp::now();
    for change in 1..=3 {
        world.set_password(&format!("password-{first}-{change}")).await?;
        world.restarted_to(AGENT, first + change).await?;
        world.ready(SOLARMESH).await?;
        world.quiet_for(Duration::from_secs(2)).await?;
    }
    let writes = world.writes_since(since).await?;
    // One that came too late for its version has written nothing.
    let of_agent = writes
        .iter()
        .filter(|w| w.resource == "deployments" && w.name == AGENT.2 && w.code == 200);
    Ok(of_agent.count())
}

#[tokio::test]
async fn an_owner_who_applies_without_our_fields_all_the_time_costs_no_write_and_no_restart_more() -> Result<()> {
    let world = World::with_operator(10).await?;
    world.apply_sample("solarmesh-interface-traffic").await?;
    world.ready(SOLARMESH).await?;
    world.restarted_to(AGENT, 2).await?;
    let alone = three_changes(&world, 2).await?;

    let times = Arc::new(AtomicUsize::new(0));
    let applier = {
        let (api, count, manifest) = (world.api(AGENT), times.clone(), manifest()?);
        tokio::spawn(async move {
            // As Argo CD does with ServerSideApply=true.
            let params = PatchParams::apply("argocd-controller").force();
            let mut pace = tokio::time::interval(Duration::from_millis(300));
            loop {
                pace.tick().await;
                if api.patch(AGENT.2, &params, &Patch::Apply(&manifest)).await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let beside_by_server = three_changes(&world, 5).await;
    applier.abort();
    let beside_by_server = beside_by_server?;
    ensure!(
        beside_by_server <= alone,
        "{beside_by_server} writes of ours beside a server-side applier, {alone} without"
    );
    ensure!(times.load(Ordering::Relaxed) > 20, "{times:?}");

    // As `kubectl apply` and Helm 3 do: a three-way merge with what they applied the last time.
    let manifest = manifest()?.to_string();
    times.store(0, Ordering::Relaxed);
    let by_client = async {
        let mut pace = tokio::time::interval(Duration::from_millis(500));
        loop {
            pace.tick().await;
            world.apply(&manifest).await?;
            times.fetch_add(1, Ordering::Relaxed);
        }
    };
    let beside_by_client = tokio::select! {
        ended = by_client => return ended,
        writes = three_changes(&world, 8) => writes?,
    };
    ensure!(
        beside_by_client <= alone,
        "{beside_by_client} writes of ours beside a client-side applier, {alone} without"
    );
    ensure!(times.load(Ordering::Relaxed) > 10, "{times:?}");
    matrix::record("28 applied without our fields all the time", "Roll", "ok")
}

#[tokio::test]
async fn an_operator_that_starts_anew_knows_how_often_a_pod_template_was_put_back() -> Result<()> {
    let mut world = World::with_operator(10).await?;
    world.apply_sample("solarmesh-interface-traffic").await?;
    world.ready(SOLARMESH).await?;
    world.restarted_to(AGENT, 2).await?;
    let hash = |live: &Value| {
        live.pointer("/spec/template/metadata/annotations/sightline.dev~1config-hash")
            .cloned()
    };
    let wanted = hash(&world.get(AGENT).await?).context("no hash")?;
    // A controller that keeps the template to itself, and leaves the rest of the object alone.
    let annotations = json!({"sightline.dev/config-hash": "v1:theirs"});
    let take_back = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    for time in 1..=2 {
        world.patch(AGENT, take_back.clone()).await?;
        eventually(PATIENCE, &format!("it is put back, {time}"), async || {
            let live = world.get(AGENT).await?;
            Ok(if hash(&live).as_ref() == Some(&wanted) && is_rolled_out(&live) {
                Ok(())
            } else {
                Err(live["status"].to_string())
            })
        })
        .await?;
        world.ready(SOLARMESH).await?;
        world.stop_operator().await?;
        world.start_operator().await?;
    }
    world.quiet_for(Duration::from_secs(2)).await?;
    let since = Timestamp::now();
    world.patch(AGENT, take_back).await?;
    let words = ["networking-agent", "2 times within an hour"];
    world.told(SOLARMESH, "Contested", &words).await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    let writes = world.writes_since(since).await?;
    ensure!(writes.iter().all(|w| w.resource != "deployments"), "it is left alone");
    matrix::record("28 taken back, operator restarted between", "Deployment", "ok")
}
