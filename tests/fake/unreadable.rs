//! Objects that cannot be read: stored under a schema that is older or newer than ours, or with words that we do not know.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::matrix;
use crate::world::*;

const OTHER_LOG: Obj = Obj("TrafficLog", "shop", "other");

fn log(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

async fn unreadable(world: &World, number: &str) -> Result<()> {
    eventually("the metric counts them", async || {
        // It may not listen yet.
        let now = world.metric("sightline_unreadable_resources").await;
        let now = now.unwrap_or_else(|error| error.to_string());
        Ok(if now == number { Ok(()) } else { Err(now) })
    })
    .await
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_is_told_why_keeps_what_is_live_and_stops_nobody() -> Result<()> {
    let mut world = World::with_operator().await?;
    world.put_sample("istio-default-access-log")?;
    for obj in [ACCESS_LOG, TRACES, ISTIO_SHOP] {
        world.ready(obj).await?;
    }
    world.quiet().await?;
    let live = world.get(TELEMETRY)?;

    // While the operator runs, and then from its start.
    for restarts in [false, true] {
        if restarts {
            world.stop_operator().await?;
        }
        let sideways = if restarts { "Upwards" } else { "Sideways" };
        world.change(ACCESS_LOG, |log| log["spec"]["direction"] = sideways.into());
        if restarts {
            world.start_operator()?;
        }
        let told = world.told(ACCESS_LOG, "False", "InvalidSpec").await?;
        let why = condition(&told, "Accepted")["message"].to_string();
        ensure!(why.contains(sideways) && why.contains("Apply it again"), "{why}");
        world.quiet().await?;
        ensure!(
            world.get(TELEMETRY)?["spec"] == live["spec"],
            "what was live has changed"
        );
        unreadable(&world, "1").await?;
    }
    // Others of its kind and namespace come through, and go.
    world.api.put(&log(
        "other",
        &json!({"selector": {"matchLabels": {"app": "cart"}}, "format": {"text": "%DURATION%"}}),
    ));
    world.ready(OTHER_LOG).await?;
    ensure!(
        world.get(TELEMETRY)?["spec"] == live["spec"],
        "what was live has changed"
    );
    matrix::record("15 own kind cannot be read", "Change", "ok")?;

    world.change(ACCESS_LOG, |log| log["spec"]["direction"] = "Inbound".into());
    world.ready(ACCESS_LOG).await?;
    world.quiet().await?;
    ensure!(
        world.get(TELEMETRY)?["spec"] != live["spec"],
        "the corrected policy is followed"
    );
    unreadable(&world, "0").await?;
    matrix::record("15 own kind cannot be read", "Revert", "ok")
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_and_is_deleted_leaves_nothing_behind() -> Result<()> {
    let world = World::with_operator().await?;
    world.put_sample("istio-default-access-log")?;
    for obj in [ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
        world.change(obj, |policy| policy["spec"]["priority"] = "high".into());
        world.change(obj, |policy| policy["spec"]["sampling"] = "all".into());
    }
    world.told(ACCESS_LOG, "False", "InvalidSpec").await?;
    world.told(TRACES, "False", "InvalidSpec").await?;
    for Obj(kind, namespace, name) in [ACCESS_LOG, TRACES] {
        world.api.delete(kind, namespace, name);
    }
    eventually("the Telemetry goes", async || {
        Ok(match world.get(TELEMETRY) {
            Ok(left) => Err(left.to_string()),
            Err(_) => Ok(()),
        })
    })
    .await?;
    unreadable(&world, "0").await?;
    matrix::record("15 own kind cannot be read", "Delete", "ok")
}

fn outputs(world: &World) -> Result<Vec<Value>> {
    let all = [
        TELEMETRY,
        Obj("ConfigMap", "istio-system", "sightline-mesh-config"),
        Obj("ConfigMap", "service-mesh", "grpc-logging"),
        Obj("WasmPlugin", "orders", "sightline-solarmesh"),
        AGENT,
    ];
    all.into_iter().map(|obj| world.get(obj)).collect()
}

#[tokio::test]
async fn a_mesh_that_cannot_be_read_loses_nothing_and_the_other_meshes_go_on() -> Result<()> {
    let mut world = World::with_operator().await?;
    world.put_sample("istio-default-access-log")?;
    world.put_sample("solarmesh-interface-traffic")?;
    for obj in [ACCESS_LOG, TRACES, ISTIO_SHOP, SOLARMESH] {
        world.ready(obj).await?;
    }
    world.quiet().await?;
    let live = outputs(&world)?;
    for mesh in [ISTIO_SHOP, SOLARMESH] {
        world.change(mesh, |mesh| mesh["spec"]["mesh"]["type"] = "Ambient".into());
        world.told(mesh, "False", "InvalidSpec").await?;
    }
    world.quiet().await?;
    ensure!(outputs(&world)? == live, "while it runs: {:#?}", outputs(&world)?);
    matrix::record("15 mesh cannot be read", "Change", "ok")?;
    world.stop_operator().await?;
    world.start_operator()?;
    unreadable(&world, "2").await?;
    world.quiet().await?;
    ensure!(outputs(&world)? == live, "from a start: {:#?}", outputs(&world)?);
    world.put_sample("istio-tenant-json")?;
    world.ready(Obj("TrafficLog", "tenant-a", "received")).await?;
    for mesh in [ISTIO_SHOP, SOLARMESH] {
        world.change(mesh, |mesh| mesh["spec"]["mesh"]["type"] = "Istio".into());
        world.ready(mesh).await?;
    }
    world.ready(ACCESS_LOG).await?;
    world.quiet().await?;
    ensure!(world.get(TELEMETRY)?["spec"] == live[0]["spec"], "as it was");
    matrix::record("15 mesh cannot be read", "Revert", "ok")
}

/// Whoever made these knows more than we do.
#[tokio::test]
async fn words_of_others_that_we_do_not_know_stop_nobody() -> Result<()> {
    let world = World::demo().await?;
    let object = |api_version: &str, kind: &str, namespace: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "strange", "namespace": namespace}, "spec": spec});
    world.api.put(&object(
        "v1",
        "Service",
        "shop",
        json!({"type": "Quantum", "ports": "all"}),
    ));
    world.api.put(&object(
        "telemetry.istio.io/v1",
        "Telemetry",
        "shop",
        json!({"selector": {"matchLabels": {"app": "strange"}}, "accessLogging": [{"match": {"mode": "SIDEWAYS"}, "providers": "all"}], "metrics": {}}),
    ));
    world.api.put(&object(
        "apps/v1",
        "Deployment",
        "service-mesh",
        json!({"strategy": {"type": "Teleport"}, "template": 7}),
    ));
    world.api.put(&object(
        "extensions.istio.io/v1alpha1",
        "WasmPlugin",
        "orders",
        json!({"phase": 12}),
    ));
    let mut world = world;
    world.start_operator()?;
    world.put_sample("istio-default-access-log")?;
    world.put_sample("solarmesh-interface-traffic")?;
    for obj in [ACCESS_LOG, TRACES, ISTIO_SHOP, SOLARMESH] {
        world.ready(obj).await?;
    }
    world.quiet().await?;
    matrix::record("15 foreign kind with unknown words", "Apply", "ok")
}
