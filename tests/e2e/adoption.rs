//! Objects of somebody else.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::world::*;

#[tokio::test]
async fn a_foreign_object_is_untouched_without_consent_and_only_our_key_is_taken_over_with_it_and_stays_at_the_end()
-> Result<()> {
    let world = World::with_operator(10).await?;
    world
        .patch(GRPC_LOGGING, json!({"data": {"other.yaml": "theirs"}}))
        .await?;
    let before = world.get(GRPC_LOGGING).await?;

    let sample = std::fs::read_to_string(root().join("config/samples/solarmesh-interface-traffic.yaml"))?;
    world.apply(&sample.replace("adopt: true", "adopt: false")).await?;
    let how = "adopt: true";
    world
        .told(SOLARMESH, "NotOurs", &["ConfigMap service-mesh/grpc-logging", how])
        .await?;
    let now = world.get(GRPC_LOGGING).await?;
    assert_eq!(
        now["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"],
        "it is not touched"
    );
    assert_eq!(
        world.revisions(AGENT).await?,
        1,
        "nothing is restarted for what is not ours"
    );

    world
        .patch(
            SOLARMESH,
            json!({"spec": {"interfaceTraffic": {"configMap": {"adopt": true}}}}),
        )
        .await?;
    world.ready(SOLARMESH).await?;
    let adopted = world.get(GRPC_LOGGING).await?;
    assert_eq!(
        adopted["metadata"]["uid"], before["metadata"]["uid"],
        "it is taken over in place"
    );
    assert_eq!(adopted["data"]["other.yaml"], "theirs", "other keys stay");
    for (label, value) in labels(&before) {
        assert_eq!(adopted["metadata"]["labels"][&label], value, "label {label} stays");
    }
    ensure!(
        adopted["metadata"].get("ownerReferences").is_none(),
        "an adopted object gets no owner"
    );
    ensure!(
        !text(&adopted["data"]["application.yaml"]).contains('#'),
        "the text is ours now"
    );
    let told = world.events(SOLARMESH).await?;
    ensure!(
        told.iter().any(|(reason, _)| reason == "Adopted"),
        "adoption is told: {told:?}"
    );
    world.restarted_to(AGENT, 2).await?;

    // Other people's keys may change as they like: not ours, no restart, no write.
    world
        .patch(GRPC_LOGGING, json!({"data": {"other.yaml": "theirs, again"}}))
        .await?;
    // Our key is put back, and that restarts nothing: the pods read it at their start only.
    world
        .patch(GRPC_LOGGING, json!({"data": {"application.yaml": "url: nowhere"}}))
        .await?;
    eventually(TOLD, "our key is put back", async || {
        let live = world.get(GRPC_LOGGING).await?;
        Ok(
            if live["data"]["application.yaml"] == adopted["data"]["application.yaml"] {
                Ok(())
            } else {
                Err(live["data"].to_string())
            },
        )
    })
    .await?;
    assert_eq!(world.get(GRPC_LOGGING).await?["data"]["other.yaml"], "theirs, again");

    world.delete_and_wait(SOLARMESH).await?;
    always(
        std::time::Duration::from_secs(3),
        "grpc-logging stays as it is",
        async || {
            let live = world.get(GRPC_LOGGING).await?;
            let same = live["data"]["application.yaml"] == adopted["data"]["application.yaml"];
            Ok(if same { Ok(()) } else { Err(live.to_string()) })
        },
    )
    .await?;

    foreign_map_and_telemetry(&world).await
}

/// A MeshConfig map and a Telemetry of our names that somebody else made.
async fn foreign_map_and_telemetry(world: &World) -> Result<()> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SHARED_MAP.2, "namespace": SHARED_MAP.1},
                     "data": {"mesh": "extensionProviders: [{name: theirs}]"}});
    world.apply(&map.to_string()).await?;
    world.apply_sample("istio-default-access-log").await?;
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
        .told(ACCESS_LOG, "NotOurs", &["ConfigMap istio-system/sightline-mesh-config"])
        .await?;
    assert_eq!(world.get(SHARED_MAP).await?["data"], map["data"]);
    let telemetry = json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "sightline", "namespace": "shop"}, "spec": {"accessLogging": [{"disabled": true}]}});
    world.apply(&telemetry.to_string()).await?;
    world.delete(SHARED_MAP).await?;
    world.ready(ISTIO_SHOP).await?;
    world
        .told(
            ACCESS_LOG,
            "NotOurs",
            &["Telemetry shop/sightline", "sightline.dev/adopt=true"],
        )
        .await?;
    assert_eq!(
        world.get(SHOP_TELEMETRY).await?["spec"],
        telemetry["spec"],
        "it is not touched"
    );
    let uid = world.get(SHOP_TELEMETRY).await?["metadata"]["uid"].clone();
    world
        .patch(
            SHOP_TELEMETRY,
            json!({"metadata": {"annotations": {"sightline.dev/adopt": "true"}}}),
        )
        .await?;
    world.ready(ACCESS_LOG).await?;
    let live = world.get(SHOP_TELEMETRY).await?;
    assert_eq!(live["metadata"]["uid"], uid, "taken over in place, keeping its age");
    assert_eq!(providers_of(&live).len(), 3, "{live}");
    Ok(())
}

fn labels(object: &Value) -> Vec<(String, Value)> {
    object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}
