//! Somebody takes back what we write, again and again: it is put back a few times, told, and ends.

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

/// An owner's template without anything of ours.
async fn owners(world: &World) -> Result<Value> {
    let mut owners = world.get(AGENT).await?;
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

#[tokio::test]
async fn a_pod_template_is_put_back_twice_an_hour_and_an_owner_who_applies_without_our_fields_starts_no_fight()
-> Result<()> {
    let world = World::with_operator(10).await?;
    let owners = owners(&world).await?;
    world.apply_sample("solarmesh-interface-traffic").await?;
    world.ready(SOLARMESH).await?;
    world.restarted_to(AGENT, 2).await?;

    // As Argo CD and Helm do, again and again: what they do not speak of is left alone.
    let since = Timestamp::now();
    for _ in 0..5 {
        world.apply(&owners.to_string()).await?;
    }
    world.ready(SOLARMESH).await?;
    assert_eq!(writes_of(&world, since, "deployments", AGENT.2).await?, 0, "no fight");
    assert_eq!(world.revisions(AGENT).await?, 2);

    // As `kubectl replace` does: all of ours is taken away each time.
    let replace = async || -> Result<()> {
        let api = world.api(AGENT);
        let object = serde_json::from_value(owners.clone())?;
        api.replace(AGENT.2, &kube::api::PostParams::default(), &object).await?;
        Ok(())
    };
    let put_back = async |times: usize| -> Result<()> {
        eventually(
            PATIENCE,
            &format!("the template is put back {times} times"),
            async || {
                let count = writes_of(&world, since, "deployments", AGENT.2).await?;
                let live = world.get(AGENT).await?;
                Ok(if count == times && is_rolled_out(&live) {
                    Ok(())
                } else {
                    Err(format!("{count} {}", live["status"]))
                })
            },
        )
        .await
    };
    for times in 1..=2 {
        replace().await?;
        put_back(times).await?;
        world.ready(SOLARMESH).await?;
    }
    replace().await?;
    world
        .told(
            SOLARMESH,
            "Contested",
            &["networking-agent", "2 times within an hour", "Replace=true"],
        )
        .await?;
    world.quiet_for(std::time::Duration::from_secs(2)).await?;
    assert_eq!(writes_of(&world, since, "deployments", AGENT.2).await?, 2);

    // A change of ours restarts it once all the same.
    world.set_password("another").await?;
    put_back(3).await?;
    world.ready(SOLARMESH).await?;
    matrix::record("28 replaced again and again", "Deployment", "ok")
}
