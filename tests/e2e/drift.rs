//! Hand edits of everything that is ours, and policies that dispute.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::world::*;

#[tokio::test]
async fn every_hand_edit_of_ours_is_put_back_and_disputes_are_told_to_the_loser_and_leave_what_is_live() -> Result<()> {
    let world = World::with_samples(10).await?;
    edits_beside_our_own_status_writes_are_seen(&world).await?;
    edits_are_put_back(&world).await?;
    deletions_are_put_back(&world).await?;
    disputes(&world).await?;
    limits_of_the_mesh(&world).await?;
    agents_come_late(&world).await?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

/// The answer to a status write of ours may come behind the watch, which has brought a newer spec by then: the older one
/// must not replace it.
async fn edits_beside_our_own_status_writes_are_seen(world: &World) -> Result<()> {
    for round in 0..60 {
        world
            .patch(
                ACCESS_LOG,
                json!({"spec": {"meshRef": {"name": format!("nobody-{round}")}}}),
            )
            .await?;
        // Not quite at the same moment, each time another one.
        tokio::time::sleep(Duration::from_millis(round % 12)).await;
        world.patch(ACCESS_LOG, json!({"spec": {"meshRef": null}})).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if round % 10 == 9 {
            world
                .expect(ACCESS_LOG, TOLD, "ResolvedRefs", "True", "Resolved")
                .await?;
        }
    }
    world.ready(ACCESS_LOG).await
}

/// Each part of an object that is ours, edited alone.
async fn edits_are_put_back(world: &World) -> Result<()> {
    let edits = [
        (
            SHOP_TELEMETRY,
            "/metadata/labels/sightline.dev~1mesh",
            json!({"metadata": {"labels": {"sightline.dev/mesh": "else"}}}),
        ),
        (
            SHOP_TELEMETRY,
            "/metadata/labels/app.kubernetes.io~1managed-by",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        ),
        (
            SHOP_TELEMETRY,
            "/metadata/annotations/sightline.dev~1sources",
            json!({"metadata": {"annotations": {"sightline.dev/sources": "{"}}}),
        ),
        (
            SHOP_TELEMETRY,
            "/metadata/ownerReferences",
            json!({"metadata": {"ownerReferences": null}}),
        ),
        (
            SHOP_TELEMETRY,
            "/spec",
            json!({"spec": {"selector": {"matchLabels": {"app": "theirs"}}}}),
        ),
        (SHOP_TELEMETRY, "/spec", json!({"spec": {"tracing": null}})),
        (SHARED_MAP, "/data", json!({"data": {"mesh": "accessLogFile: /tmp/x"}})),
        (SHARED_MAP, "/data", json!({"data": {"theirs": "x"}})),
        (
            GRPC_LOGGING,
            "/data/application.yaml",
            json!({"data": {"application.yaml": null}}),
        ),
        (
            GRPC_LOGGING,
            "/metadata/labels/sightline.dev~1mesh",
            json!({"metadata": {"labels": {"sightline.dev/mesh": null}}}),
        ),
        (
            ISTIO_SHOP,
            "/metadata/finalizers",
            json!({"metadata": {"finalizers": null}}),
        ),
    ];
    for (obj, part, edit) in edits {
        let before = world.get(obj).await?;
        world.patch(obj, edit.clone()).await?;
        eventually(PATIENCE, &format!("{part} of {obj} is as before {edit}"), async || {
            let live = world.get(obj).await?;
            Ok(if part_of(&live, part) == part_of(&before, part) {
                Ok(())
            } else {
                Err(format!(
                    "{:?}; Ready is {:?}",
                    live.pointer(part),
                    world.condition(SOLARMESH, "Ready").await?
                ))
            })
        })
        .await?;
    }
    // The label that says whose it is: who takes it away takes the object away, and is told how to give it back.
    world
        .patch(
            SHARED_MAP,
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}),
        )
        .await?;
    world
        .told(
            ISTIO_SHOP,
            "NotOurs",
            &[
                "ConfigMap istio-system/sightline-mesh-config",
                "sightline.dev/adopt=true",
            ],
        )
        .await?;
    world
        .patch(
            SHARED_MAP,
            json!({"metadata": {"annotations": {"sightline.dev/adopt": "true"}}}),
        )
        .await?;
    world.ready(ISTIO_SHOP).await?;
    // A status that somebody wrote.
    let lie = json!({"status": {"conditions": [], "mesh": "else"}});
    let params = kube::api::PatchParams::default();
    world
        .api(ACCESS_LOG)
        .patch_status(ACCESS_LOG.2, &params, &kube::api::Patch::Merge(lie))
        .await?;
    world.ready(ACCESS_LOG).await?;
    world.all_ready().await?;
    assert_eq!(world.revisions(AGENT).await?, 2, "no edit of these restarts anybody");
    Ok(())
}

/// A part of an object; of the record of claims all but the generations of its sources, since a record that differs in
/// nothing else is not written anew: what is put back names the present ones.
fn part_of(object: &Value, part: &str) -> Option<Value> {
    let value = object.pointer(part)?;
    let record = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    Some(record.map_or_else(|| value.clone(), without_generations))
}

fn without_generations(record: Value) -> Value {
    match record {
        Value::Object(members) => members
            .into_iter()
            .filter(|(key, _)| key != "generation")
            .map(|(key, value)| (key, without_generations(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_generations).collect(),
        other => other,
    }
}

async fn deletions_are_put_back(world: &World) -> Result<()> {
    for obj in [SHOP_TELEMETRY, SHARED_MAP, GRPC_LOGGING] {
        let before = world.get(obj).await?;
        world.delete(obj).await?;
        eventually(PATIENCE, &format!("{obj} is made again"), async || {
            Ok(match world.find(obj).await? {
                Some(live)
                    if live["spec"] == before["spec"] && (obj == GRPC_LOGGING || live["data"] == before["data"]) =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            })
        })
        .await?;
    }
    world.all_ready().await?;
    assert_eq!(world.revisions(AGENT).await?, 2, "the same text again restarts nobody");
    Ok(())
}

async fn disputes(world: &World) -> Result<()> {
    let live = world.get(SHOP_TELEMETRY).await?;
    // A second mesh takes every namespace, so nobody knows whose shop is.
    let greedy = Obj("ObservabilityMesh", "", "greedy");
    world.apply("{apiVersion: sightline.dev/v1alpha1, kind: ObservabilityMesh, metadata: {name: greedy}, spec: {mesh: {type: Istio}}}").await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.told(obj, "AmbiguousMesh", &["meshRef"]).await?;
    }
    always(Duration::from_secs(2), "what was live stays", async || {
        let now = world.get(SHOP_TELEMETRY).await?;
        Ok(if now["spec"] == live["spec"] {
            Ok(())
        } else {
            Err(now.to_string())
        })
    })
    .await?;
    world
        .patch(ACCESS_LOG, json!({"spec": {"meshRef": {"name": "istio-shop"}}}))
        .await?;
    world.ready(ACCESS_LOG).await?;
    world
        .patch(ACCESS_LOG, json!({"spec": {"meshRef": {"name": "nobody"}}}))
        .await?;
    world.told(ACCESS_LOG, "NoMesh", &["nobody"]).await?;
    world.patch(ACCESS_LOG, json!({"spec": {"meshRef": null}})).await?;
    world.delete_and_wait(greedy).await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    assert_eq!(world.get(SHOP_TELEMETRY).await?["spec"], live["spec"]);

    // Two policies claim the same unit: the one with the higher priority, else the first name.
    let other = Obj("TrafficLog", "shop", "other");
    let yaml = |priority: i32| {
        json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
        "metadata": {"name": other.2, "namespace": other.1}, "spec": {"direction": "Inbound", "priority": priority}})
        .to_string()
    };
    world.apply(&yaml(0)).await?;
    world.told(other, "Overridden", &["shop/access-log"]).await?;
    world.apply(&yaml(1)).await?;
    world.ready(other).await?;
    let message = world
        .expect(ACCESS_LOG, TOLD, "PartiallyOverridden", "True", "Overridden")
        .await?;
    ensure!(message.contains("shop/other"), "unit and winner are named: {message}");
    world.ready(ACCESS_LOG).await?;
    world.delete(other).await?;
    eventually(TOLD, "nothing is overridden any more", async || {
        let condition = world.condition(ACCESS_LOG, "PartiallyOverridden").await?;
        Ok(match condition {
            None => Ok(()),
            Some(c) if c.status == "False" => Ok(()),
            Some(c) => Err(format!("{c:?}")),
        })
    })
    .await
}

async fn limits_of_the_mesh(world: &World) -> Result<()> {
    let live = world.get(SHOP_TELEMETRY).await?;
    let off = Obj("TrafficLog", "shop", "off");
    world
        .apply(
            "{apiVersion: sightline.dev/v1alpha1, kind: TrafficLog, metadata: {name: 'off', namespace: shop}, \
                  spec: {disabled: true, direction: Outbound, priority: 5}}",
        )
        .await?;
    world.told(off, "LimitedByMesh", &["istio-shop"]).await?;
    assert_eq!(
        world.get(SHOP_TELEMETRY).await?["spec"],
        live["spec"],
        "what is denied changes nothing"
    );
    world
        .patch(ISTIO_SHOP, json!({"spec": {"tenancy": {"disableLogging": "Allowed"}}}))
        .await?;
    world.ready(off).await?;
    let entry = json!({"match": {"mode": "CLIENT"}, "disabled": true, "providers": [{"name": "envoy"}]});
    eventually(TOLD, "logging is off for one direction", async || {
        let now = world.get(SHOP_TELEMETRY).await?;
        let entries = now
            .pointer("/spec/accessLogging")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        Ok(if entries.contains(&entry) {
            Ok(())
        } else {
            Err(format!("{entries:?}"))
        })
    })
    .await?;
    world.delete(off).await?;
    eventually(TOLD, "logging is on again", async || {
        let now = world.get(SHOP_TELEMETRY).await?;
        Ok(if now["spec"] == live["spec"] {
            Ok(())
        } else {
            Err(now.to_string())
        })
    })
    .await
}

/// An agent that is not there yet, and one that is made anew.
async fn agents_come_late(world: &World) -> Result<()> {
    let agent = world.get(AGENT).await?;
    world
        .kubectl(&["-n", AGENT.1, "delete", "deployment", AGENT.2, "--cascade=foreground"])
        .await?;
    world
        .told(
            SOLARMESH,
            "WorkloadNotFound",
            &["Deployment service-mesh/networking-agent", "create it"],
        )
        .await?;
    let mut fresh = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": agent["spec"],
        "metadata": {"name": AGENT.2, "namespace": AGENT.1, "labels": agent["metadata"]["labels"]}});
    fresh["spec"]["template"]["metadata"]["annotations"] = json!({});
    world.apply(&fresh.to_string()).await?;
    world.ready(SOLARMESH).await?;
    // Its pods are younger than what they read.
    world.restarted_to(AGENT, 1).await?;
    world.set_password("after-it-came").await?;
    world.restarted_to(AGENT, 2).await
}
