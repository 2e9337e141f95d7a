//! What is live stays until something better can replace it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::{Value, json};

use crate::world::*;

/// A spec that cannot be programmed leaves what is live; and no Telemetry ever names a provider that the map lacks, seen
/// in the order of the store's revisions.
#[tokio::test]
async fn an_invalid_format_keeps_what_is_live_and_no_telemetry_ever_names_a_provider_that_the_map_lacks() -> Result<()>
{
    let mut world = World::with_operator(10).await?;
    let history = History::record(&world);
    world.apply_samples().await?;
    world.all_ready().await?;
    let (telemetry, map) = (world.get(SHOP_TELEMETRY).await?, world.mesh_config().await?);

    world
        .patch(ACCESS_LOG, format("[%START_TIME%] %REQ(:METHOD% %NO_SUCH%"))
        .await?;
    let message = world
        .expect(ACCESS_LOG, TOLD, "Accepted", "False", "InvalidFormat")
        .await?;
    ensure!(
        message.contains("spec.format") && message.contains("text"),
        "the message names the field: {message}"
    );
    ensure!(
        message.contains("character 20"),
        "the message has the position: {message}"
    );
    let programmed = world
        .condition(ACCESS_LOG, "Programmed")
        .await?
        .map(|c| (c.status, c.message))
        .unwrap_or_default();
    ensure!(
        programmed.0 == "False" && programmed.1.contains("what was live before stays"),
        "{programmed:?}"
    );
    unchanged(&world, &telemetry, &map).await?;

    // Somebody else's change to the same object goes through meanwhile, with the last good log.
    world
        .patch(TRACES, json!({"spec": {"sampling": {"percentage": "7.5"}}}))
        .await?;
    eventually(TOLD, "the new sampling is live beside the last good log", async || {
        let live = world.get(SHOP_TELEMETRY).await?;
        let sampling = live
            .pointer("/spec/tracing/0/randomSamplingPercentage")
            .and_then(Value::as_f64);
        let same = live["spec"]["accessLogging"] == telemetry["spec"]["accessLogging"];
        Ok(if sampling == Some(7.5) && same {
            Ok(())
        } else {
            Err(live["spec"].to_string())
        })
    })
    .await?;

    // Nor does an operator without memory lose it, nor one that finds the map emptied.
    world.stop_operator().await?;
    world.start_operator().await?;
    world
        .expect(ACCESS_LOG, TOLD, "Accepted", "False", "InvalidFormat")
        .await?;
    let live = world.get(SHOP_TELEMETRY).await?;
    unchanged(&world, &live, &map).await?;

    world
        .patch(ACCESS_LOG, format("[%START_TIME%] fixed %RESPONSE_CODE%\n"))
        .await?;
    world.ready(ACCESS_LOG).await?;
    ensure!(
        world.mesh_config().await?.contains("fixed %RESPONSE_CODE%"),
        "the new format is in the map"
    );
    let now = providers_of(&world.get(SHOP_TELEMETRY).await?);
    ensure!(
        now[0] != providers_of(&telemetry)[0],
        "the new provider is live: {now:?}"
    );

    // A quick series of edits, as people make them.
    for round in 0..6 {
        world
            .patch(ACCESS_LOG, format(&format!("round {round} %RESPONSE_CODE%\n")))
            .await?;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    world.ready(ACCESS_LOG).await?;
    eventually(
        PATIENCE,
        "the last edit is live and the others are forgotten",
        async || {
            let map = world.mesh_config().await?;
            let rounds = map.matches("round ").count();
            Ok(if rounds == 1 && map.contains("round 5") {
                Ok(())
            } else {
                Err(map)
            })
        },
    )
    .await?;

    // The mesh's own format: each policy without one of its own follows, provider first.
    world.patch(ACCESS_LOG, json!({"spec": {"format": null}})).await?;
    world.patch(ISTIO_SHOP, json!({"spec": {"logging": {"format": {"encoding": "Text", "text": "mesh says %RESPONSE_CODE%\n", "preset": null}}}})).await?;
    eventually(PATIENCE, "the mesh's format is in the map", async || {
        let map = world.mesh_config().await?;
        Ok(if map.contains("mesh says") { Ok(()) } else { Err(map) })
    })
    .await?;
    world.ready(ACCESS_LOG).await?;

    // Unknown backend: the same rule for references.
    let live = world.get(SHOP_TELEMETRY).await?;
    world
        .patch(ACCESS_LOG, json!({"spec": {"backends": ["nowhere"]}}))
        .await?;
    world.told(ACCESS_LOG, "UnknownBackend", &["nowhere"]).await?;
    assert_eq!(
        world.get(SHOP_TELEMETRY).await?["spec"],
        live["spec"],
        "what was live stays"
    );
    history.check()
}

fn format(text: &str) -> Value {
    json!({"spec": {"format": {"encoding": "Text", "text": text}}})
}

async fn unchanged(world: &World, telemetry: &Value, map: &str) -> Result<()> {
    let map = map.to_owned();
    always(
        std::time::Duration::from_secs(3),
        "Telemetry and provider stay",
        async || {
            let (live, now) = (world.get(SHOP_TELEMETRY).await?, world.mesh_config().await?);
            Ok(if live["spec"] == telemetry["spec"] && now == map {
                Ok(())
            } else {
                Err(format!("{live} {now}"))
            })
        },
    )
    .await
}

/// Every version of the Telemetries and of the map, by the store's revision: one counter for all kinds.
struct History(Arc<Mutex<BTreeMap<u64, (String, Value)>>>);

impl History {
    fn record(world: &World) -> Self {
        let seen: Arc<Mutex<BTreeMap<u64, (String, Value)>>> = Arc::default();
        for obj in [Obj("Telemetry", "", ""), Obj("ConfigMap", "istio-system", "")] {
            let (api, seen, kind) = (world.api(obj), seen.clone(), obj.0.to_owned());
            tokio::spawn(async move {
                let mut events = std::pin::pin!(watcher(api, Config::default()));
                while let Some(event) = events.next().await {
                    let (object, gone) = match event {
                        Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                        Ok(Event::Delete(object)) => (object, true),
                        _ => continue,
                    };
                    let mut object = serde_json::to_value(object).unwrap();
                    object["gone"] = json!(gone);
                    let revision = text(&object["metadata"]["resourceVersion"]).parse().unwrap();
                    seen.lock().unwrap().insert(revision, (kind.clone(), object));
                }
            });
        }
        Self(seen)
    }

    fn check(&self) -> Result<()> {
        let seen = self.0.lock().unwrap();
        let mut map = String::new();
        let mut live: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut checked = 0;
        for (revision, (kind, object)) in seen.iter() {
            if kind == "ConfigMap" {
                if object["metadata"]["name"] != SHARED_MAP.2 {
                    continue;
                }
                map = if object["gone"] == true {
                    String::new()
                } else {
                    text(&object["data"]["mesh"])
                };
            } else {
                let key = format!("{}/{}", object["metadata"]["namespace"], object["metadata"]["name"]);
                let names = if object["gone"] == true {
                    Vec::new()
                } else {
                    providers_of(object)
                };
                live.insert(key, names);
            }
            for (telemetry, providers) in &live {
                for provider in providers {
                    ensure!(
                        map.contains(&format!("name: {provider}\n")),
                        "at revision {revision} Telemetry {telemetry} names {provider}, which the map lacks:\n{map}"
                    );
                    checked += 1;
                }
            }
        }
        ensure!(checked > 20, "the history is too short to prove anything: {checked}");
        Ok(())
    }
}
