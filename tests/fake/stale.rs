//! What the operator sees late, or never sees.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::matrix;
use crate::world::*;

/// Everything that the operator writes.
const OUTPUTS: [&str; 6] = [
    "telemetries",
    "configmaps",
    "deployments",
    "trafficlogs",
    "tracingbackends",
    "observabilitymeshes",
];

async fn both_meshes() -> Result<World> {
    let world = World::with_operator().await?;
    world.put_sample("istio-default-access-log")?;
    world.put_sample("solarmesh-interface-traffic")?;
    world.quiet().await?;
    for obj in [ACCESS_LOG, TRACES, ISTIO_SHOP, SOLARMESH] {
        world.ready(obj).await?;
    }
    Ok(world)
}

/// The end of the rollout is news, and noted on the Deployment.
fn is_output(write: &str) -> bool {
    write.contains("telemetries") || write.contains("configmaps")
}

fn count(writes: &[String], of: &str) -> usize {
    writes.iter().filter(|write| write.contains(of)).count()
}

/// The watches tell nothing of what was just written, and then something else calls for another pass, again and again.
#[tokio::test]
async fn what_was_written_and_no_watch_has_told_yet_is_not_written_again_by_the_next_trigger() -> Result<()> {
    let world = both_meshes().await?;
    let (before, agent) = (world.written(), world.templates()?);
    for plural in OUTPUTS {
        world.api.hold(plural);
    }
    // A Secret that is watched still: a new password, which restarts the agent.
    world.change(SECRET, |secret| secret["data"]["password"] = base64("another"));
    eventually("the agent is restarted", async || {
        Ok(if world.templates()? > agent {
            Ok(())
        } else {
            Err(format!("{:?}", world.writes_from(before)))
        })
    })
    .await?;
    for trigger in ["1", "2", "3"] {
        for namespace in ["shop", "service-mesh", "orders", "istio-system"] {
            world.change(Obj("Namespace", "", namespace), |object| {
                object["metadata"]["labels"]["trigger"] = trigger.into();
            });
        }
        world.change(SECRET, |secret| {
            secret["metadata"]["labels"]["trigger"] = trigger.into();
        });
        world.quiet().await?;
    }
    let held = world.writes_from(before);
    world.api.release();
    world.quiet().await?;
    let writes = world.writes_from(before);
    ensure!(world.templates()? == agent + 1, "one restart: {writes:#?}");
    ensure!(
        count(&writes, "configmaps service-mesh/grpc-logging") == 1,
        "one write: {writes:#?}"
    );
    ensure!(
        count(&writes, "telemetries") == 0,
        "the password is nothing to Istio: {writes:#?}"
    );
    let late: Vec<&String> = writes
        .iter()
        .skip(held.len())
        .filter(|write| is_output(write))
        .collect();
    ensure!(
        late.is_empty(),
        "what the watches told at last was written again: {late:#?}"
    );
    matrix::record("8 own write not in the cache yet", "Roll", "ok")
}

/// There and back between two reads, and the versions between are compacted away.
#[tokio::test]
async fn a_change_and_its_revert_that_nobody_saw_restart_nothing_and_write_no_object() -> Result<()> {
    let world = both_meshes().await?;
    let (telemetry, agent) = (world.get(TELEMETRY)?, world.get(AGENT)?);
    let before = world.written();
    for plural in ["secrets", "trafficlogs"] {
        world.api.hold(plural);
    }
    let secret = world.get(SECRET)?["data"]["password"].clone();
    for password in [base64("another"), secret] {
        world.change(SECRET, |secret| secret["data"]["password"] = password);
    }
    let format = json!({"encoding": "JSON", "preset": "Istio"});
    world.change(ACCESS_LOG, |log| log["spec"]["format"] = format);
    world.change(ACCESS_LOG, |log| {
        drop(log["spec"].as_object_mut().unwrap().shift_remove("format"));
    });
    world.api.compact();
    world.api.release();
    // The status says that this generation was looked at, which is all there is to write.
    world.ready(ACCESS_LOG).await?;
    world.quiet().await?;
    let writes = world.writes_from(before);
    ensure!(
        writes.iter().all(|write| write.contains("trafficlogs/status")),
        "something else was written: {writes:#?}"
    );
    ensure!(
        world.get(TELEMETRY)? == telemetry && world.get(AGENT)? == agent,
        "changed"
    );
    matrix::record("10 change and revert that nobody saw", "Change", "ok")?;
    matrix::record("10 change and revert that nobody saw", "Rotate", "ok")
}

/// Fifty changes of what an agent reads, faster than its quiet period.
#[tokio::test]
async fn fifty_changes_of_what_an_agent_reads_in_a_moment_restart_it_once() -> Result<()> {
    let world = both_meshes().await?;
    let (before, agent) = (world.written(), world.templates()?);
    // One by one: each is an event of its own.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
    for number in 0..50 {
        pace.tick().await;
        world.change(SECRET, |secret| {
            secret["data"]["password"] = base64(&format!("p{number}"));
        });
    }
    world.quiet().await?;
    let writes = world.writes_from(before);
    ensure!(world.templates()? == agent + 1, "one restart: {writes:#?}");
    matrix::record("30 fifty changes in a moment", "Rotate", "ok")
}

/// Its uid tells it from the one that was planned for, which the API server calls invalid.
#[tokio::test]
async fn an_object_that_somebody_made_anew_behind_our_cache_is_looked_at_again_and_not_called_refused() -> Result<()> {
    let world = both_meshes().await?;
    let before = world.written();
    world.api.hold("telemetries");
    let Obj(kind, namespace, name) = TELEMETRY;
    world.api.delete(kind, namespace, name);
    let theirs = world
        .api
        .put(&json!({"apiVersion": "telemetry.istio.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": {"tracing": [{"disableSpanReporting": true}]}}));
    world.change(ACCESS_LOG, |log| log["spec"]["direction"] = "Inbound".into());
    eventually("it was tried again and again", async || {
        let writes = world.writes_from(before);
        let told = world.get(ACCESS_LOG)?;
        let reason = condition(&told, "Programmed")["reason"].clone();
        ensure!(reason != "WriteRefused", "{}", told["status"]);
        Ok(if count(&writes, "patch telemetries") > 2 {
            Ok(())
        } else {
            Err(format!("{writes:#?}"))
        })
    })
    .await?;
    ensure!(world.get(TELEMETRY)? == theirs, "theirs was changed");
    world.api.release();
    world.told(ACCESS_LOG, "False", "NotOurs").await?;
    ensure!(world.get(TELEMETRY)? == theirs, "theirs was changed");
    matrix::record("6 made anew behind the cache", "Change", "ok")
}
