//! Selectors that overlap: complete objects for every set of their closure, with more labels always the newer one.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::world::*;

#[tokio::test]
async fn overlapping_selectors_get_complete_objects_and_more_labels_are_always_newer_even_when_fewer_come_later()
-> Result<()> {
    let world = World::with_operator(10).await?;
    world.apply_sample("istio-tenant-json").await?;
    world.ready(CART_CALLS).await?;
    world.delete(CART_CALLS).await?;

    // The one with two labels first.
    policy(
        &world,
        "narrow",
        json!({"app": "cart", "version": "v1"}),
        "Inbound",
        "narrow",
    )
    .await?;
    let narrow = Obj("TrafficLog", "tenant-a", "narrow");
    world.ready(narrow).await?;
    let first = object(&world, &["app", "version"]).await?;
    // Another second: within one the names decide.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;

    policy(&world, "wide", json!({"app": "cart"}), "Outbound", "wide").await?;
    world.ready(Obj("TrafficLog", "tenant-a", "wide")).await?;
    world.ready(narrow).await?;
    eventually(PATIENCE, "the one with more labels is made again", async || {
        let now = object(&world, &["app", "version"]).await;
        Ok(match now {
            Ok(now) if now["metadata"]["uid"] != first["metadata"]["uid"] => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    ages_are_right(&world, 2).await?;
    eventually(TOLD, "it is told", async || {
        let told = world.events(narrow).await?;
        let is_told = told.iter().any(|(reason, _)| reason == "Recreated");
        Ok(if is_told { Ok(()) } else { Err(format!("{told:?}")) })
    })
    .await?;

    // A third one that meets both: {tier}, {app,tier}, {app,tier,version}.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    policy(&world, "tier", json!({"tier": "web"}), "Both", "tier").await?;
    world.ready(Obj("TrafficLog", "tenant-a", "tier")).await?;
    ages_are_right(&world, 5).await?;

    // Complete: what a pod with all three labels gets stands in the one object that is the newest for it.
    let all = object(&world, &["app", "tier", "version"]).await?;
    let map = world.mesh_config().await?;
    for (mode, format) in [("SERVER", "narrow"), ("CLIENT", "wide")] {
        let entries = all["spec"]["accessLogging"].as_array().cloned().unwrap_or_default();
        let of_mode: Vec<String> = entries
            .iter()
            .filter(|e| e["match"]["mode"] == mode)
            .flat_map(|e| e["providers"].as_array().cloned().unwrap_or_default())
            .map(|p| text(&p["name"]))
            .collect();
        ensure!(
            of_mode.len() == 1,
            "{mode}: exactly one policy wins a unit: {entries:?}"
        );
        let at = map.find(&of_mode[0]).map(|at| &map[at..]).unwrap_or_default();
        let entry = at.split("\n- ").next().unwrap_or_default();
        ensure!(entry.contains(format) || mode == "CLIENT", "{mode} is {entry}");
    }

    // Without the middle one the closure shrinks to what is still needed.
    world.delete(Obj("TrafficLog", "tenant-a", "tier")).await?;
    eventually(PATIENCE, "the sets of the deleted policy are gone", async || {
        let left = world.list("Telemetry", "tenant-a").await?.len();
        Ok(if left == 3 {
            Ok(())
        } else {
            Err(format!("{left} Telemetries"))
        })
    })
    .await?;
    ages_are_right(&world, 2).await
}

async fn policy(world: &World, name: &str, labels: Value, direction: &str, format: &str) -> Result<()> {
    let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
        "metadata": {"name": name, "namespace": "tenant-a"},
        "spec": {"selector": {"matchLabels": labels}, "direction": direction,
                 "format": {"encoding": "Text", "text": format!("{format} %RESPONSE_CODE%\n")}}});
    world.apply(&log.to_string()).await
}

fn labels(telemetry: &Value) -> BTreeMap<String, String> {
    let map = telemetry
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    map.into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect()
}

async fn object(world: &World, keys: &[&str]) -> Result<Value> {
    let all = world.list("Telemetry", "tenant-a").await?;
    let found = all
        .iter()
        .find(|t| labels(t).keys().map(String::as_str).eq(keys.iter().copied()));
    found
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("no Telemetry for {keys:?}"))
}

/// Waits until there are so many objects with a selector, each newer than those with fewer of its labels.
async fn ages_are_right(world: &World, count: usize) -> Result<()> {
    eventually(PATIENCE, &format!("{count} sets in the order of age"), async || {
        let all: Vec<Value> = world
            .list("Telemetry", "tenant-a")
            .await?
            .into_iter()
            .filter(|t| !labels(t).is_empty())
            .collect();
        // Istio's order: by age, within one second by name.
        let order = |t: &Value| (text(&t["metadata"]["creationTimestamp"]), text(&t["metadata"]["name"]));
        let wrong = all
            .iter()
            .flat_map(|more| all.iter().map(move |fewer| (fewer, more)))
            .find(|(fewer, more)| {
                let (f, m) = (labels(fewer), labels(more));
                f.len() < m.len() && f.iter().all(|(k, v)| m.get(k) == Some(v)) && order(fewer) > order(more)
            });
        Ok(match wrong {
            Some((fewer, more)) => Err(format!("{:?} is older than {:?}", labels(more), labels(fewer))),
            None if all.len() != count => Err(format!("{:?}", all.iter().map(labels).collect::<Vec<_>>())),
            None => Ok(()),
        })
    })
    .await
}
