//! Somebody takes back what we write, again and again: it is put back a few times, told, and ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::matrix;
use crate::world::*;

/// How many writes of an object reached the API server since then.
async fn writes_of(world: &World, since: Timestamp, resource: &str, name: &str) -> Result<usize> {
    let writes = world.writes_since(since).await?;
    let of_object = writes.iter().filter(|w| w.resource == resource && w.name == name);
    Ok(of_object.filter(|w| w.subresource.is_empty()).count())
}

/// A write of a controller that wants the Telemetry otherwise.
async fn edit(world: &World, patch: &Value) -> Result<()> {
    let params = PatchParams {
        field_manager: Some("argocd-controller".into()),
        ..PatchParams::default()
    };
    world
        .api(SHOP_TELEMETRY)
        .patch(SHOP_TELEMETRY.2, &params, &Patch::Merge(patch))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_fight_over_an_object_is_told_with_the_managers_name_and_ends_after_three_writes_an_hour() -> Result<()> {
    let world = World::with_operator(10).await?;
    world.apply_sample("istio-default-access-log").await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    let since = Timestamp::now();
    let theirs = json!({"spec": {"tracing": [{"disableSpanReporting": true}]}});
    let wanted = world.get(SHOP_TELEMETRY).await?["spec"].clone();
    // What is taken away bears no name, and counts all the same.
    let taken_away = json!({"spec": {"tracing": null}});
    for (round, change) in [&taken_away, &theirs, &theirs].into_iter().enumerate() {
        edit(&world, change).await?;
        eventually(TOLD, &format!("edit {round} is put back"), async || {
            let live = world.get(SHOP_TELEMETRY).await?;
            Ok(if live["spec"] == wanted {
                Ok(())
            } else {
                Err(live["spec"].to_string())
            })
        })
        .await?;
    }
    let events = world.events(ACCESS_LOG).await?;
    ensure!(
        events.iter().any(|(reason, note)| reason == "DriftReverted"
            && note.contains("spec.tracing was changed by argocd-controller")),
        "the manager is named: {events:?}"
    );
    for _ in 0..3 {
        edit(&world, &theirs).await?;
    }
    let words = [
        "Telemetry shop/sightline",
        "argocd-controller changes field spec.tracing",
        "3 times within an hour",
    ];
    world.told(ACCESS_LOG, "Contested", &words).await?;
    world.told(TRACES, "Contested", &words).await?;
    assert_eq!(writes_of(&world, since, "telemetries", SHOP_TELEMETRY.2).await?, 3);

    // A change of ours goes out once, and the fight goes on without us.
    let format = json!({"spec": {"format": {"encoding": "JSON", "preset": "Istio"}}});
    world.patch(ACCESS_LOG, format).await?;
    world.ready(ACCESS_LOG).await?;
    let changed = writes_of(&world, since, "telemetries", SHOP_TELEMETRY.2).await?;
    edit(&world, &theirs).await?;
    world.told(ACCESS_LOG, "Contested", &words).await?;
    assert_eq!(
        writes_of(&world, since, "telemetries", SHOP_TELEMETRY.2).await?,
        changed
    );

    matrix::record("28 edited again and again", "Telemetry", "ok")
}

/// An owner's manifest of a workload, without anything of ours.
async fn owners(world: &World, workload: Obj<'_>) -> Result<Value> {
    let mut owners = world.get(workload).await?;
    for pointer in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        if let Some(annotations) = owners.pointer_mut(pointer) {
            *annotations = json!({});
        }
    }
    owners.as_object_mut().map(|o| o.remove("status"));
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
    ] {
        owners["metadata"].as_object_mut().map(|m| m.remove(field));
    }
    Ok(owners)
}

/// As `kubectl replace` does: all of ours is taken away.
async fn replace(world: &World, workload: Obj<'_>, owners: &Value) -> Result<()> {
    let object = serde_json::from_value(owners.clone())?;
    let params = kube::api::PostParams::default();
    world.api(workload).replace(workload.2, &params, &object).await?;
    Ok(())
}

/// As Argo CD and Helm do, again and again: what they do not speak of is left alone.
async fn applied_again_and_again_starts_no_fight(world: &World, workload: Obj<'_>, owners: &Value) -> Result<()> {
    world.quiet_for(Duration::from_secs(2)).await?;
    let (since, before) = (Timestamp::now(), world.revisions(workload).await?);
    for _ in 0..5 {
        world.apply(&owners.to_string()).await?;
    }
    world.quiet_for(Duration::from_secs(2)).await?;
    assert_eq!(writes_of(world, since, "deployments", workload.2).await?, 0, "no fight");
    assert_eq!(world.revisions(workload).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_pod_template_is_put_back_twice_an_hour_and_an_owner_who_applies_without_our_fields_starts_no_fight()
-> Result<()> {
    let world = World::with_operator(10).await?;
    let owners = owners(&world, VIRTUAL_NODE).await?;
    world.apply_sample("interlink-tracing").await?;
    world.ready(VIRTUAL_KUBELET).await?;
    world.restarted_to(VIRTUAL_NODE, 2).await?;
    applied_again_and_again_starts_no_fight(&world, VIRTUAL_NODE, &owners).await?;

    let restarts = async || -> Result<usize> {
        // Of the first, replaced by the owner, is left what they replaced it with.
        let template = world.get(VIRTUAL_NODE).await?["spec"]["template"].clone();
        ensure!(is_rolled_out(&world.get(VIRTUAL_NODE).await?), "not rolled out");
        Ok(template["metadata"]["annotations"]
            .as_object()
            .map_or(0, |annotations| {
                usize::from(annotations.contains_key("sightline.dev/restarted-at"))
            }))
    };
    for times in 1..=2 {
        replace(&world, VIRTUAL_NODE, &owners).await?;
        eventually(PATIENCE, &format!("the template is put back, {times}"), async || {
            Ok(match restarts().await {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
        .await?;
        world.ready(VIRTUAL_KUBELET).await?;
    }
    replace(&world, VIRTUAL_NODE, &owners).await?;
    world
        .told(
            VIRTUAL_KUBELET,
            "Contested",
            &["virtual-node-node", "2 times within an hour", "Replace=true"],
        )
        .await?;
    world.quiet_for(Duration::from_secs(2)).await?;
    assert_eq!(restarts().await?, 0, "left as its owner wants it");
    matrix::record("28 replaced again and again", "Deployment", "ok")
}

#[tokio::test]
async fn an_agent_that_its_owner_replaces_by_another_release_restarts_by_that_and_not_once_more() -> Result<()> {
    let world = World::with_operator(10).await?;
    let mut owners = owners(&world, AGENT).await?;
    world.apply_sample("solarmesh-interface-traffic").await?;
    world.ready(SOLARMESH).await?;
    world.restarted_to(AGENT, 2).await?;
    applied_again_and_again_starts_no_fight(&world, AGENT, &owners).await?;

    let at = "/spec/template/metadata/annotations/sightline.dev~1restarted-at";
    for release in 1..=3 {
        owners["spec"]["template"]["metadata"]["annotations"] = json!({"release": release.to_string()});
        replace(&world, AGENT, &owners).await?;
        world.ready(SOLARMESH).await?;
        world.quiet_for(Duration::from_secs(2)).await?;
        assert_eq!(world.get(AGENT).await?.pointer(at), None, "a restart of ours");
    }

    // A change of ours restarts it once all the same.
    world.set_password("another").await?;
    eventually(PATIENCE, "it is restarted", async || {
        let live = world.get(AGENT).await?;
        Ok(match live.pointer(at) {
            Some(_) if is_rolled_out(&live) => Ok(()),
            _ => Err(live["status"].to_string()),
        })
    })
    .await?;
    world.ready(SOLARMESH).await?;
    matrix::record("28 replaced again and again", "agent", "ok")
}
