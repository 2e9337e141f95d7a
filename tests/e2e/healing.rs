//! What is taken away is told within 10 s, keeps what worked, and heals by itself when it comes back.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn what_is_taken_away_is_told_within_10_s_keeps_what_worked_and_heals_by_itself() -> Result<()> {
    let world = World::with_samples(10).await?;
    secret_goes_and_comes(&world).await?;
    service_goes_and_comes(&world).await?;
    istiod_loses_its_wire(&world).await?;
    assert_eq!(world.revisions(AGENT).await?, 2, "a fault restarts nothing");
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

async fn secret_goes_and_comes(world: &World) -> Result<()> {
    let live = world.application_yaml().await?;
    let secret = world.get(SECRET).await?;
    world.delete(SECRET).await?;
    world
        .told(SOLARMESH, "SecretNotFound", &["Secret service-mesh/es", "create it"])
        .await?;
    assert_eq!(world.application_yaml().await?, live, "what worked stays");
    world.recreate(&secret).await?;
    world.ready(SOLARMESH).await?;

    world
        .patch(SECRET, json!({"metadata": {"labels": {"sightline.dev/shared": null}}}))
        .await?;
    world
        .told(
            SOLARMESH,
            "SecretNotShared",
            &["Secret service-mesh/es", "label it sightline.dev/shared=true"],
        )
        .await?;
    assert_eq!(world.application_yaml().await?, live, "what worked stays");
    world
        .patch(
            SECRET,
            json!({"metadata": {"labels": {"sightline.dev/shared": "true"}}}),
        )
        .await?;
    world.ready(SOLARMESH).await?;

    world.patch(SECRET, json!({"data": {"password": null}})).await?;
    world
        .told(
            SOLARMESH,
            "SecretKeyMissing",
            &["Secret service-mesh/es", "key password", "add it"],
        )
        .await?;
    assert_eq!(world.application_yaml().await?, live, "what worked stays");
    world
        .patch(SECRET, json!({"data": {"password": secret["data"]["password"]}}))
        .await?;
    world.ready(SOLARMESH).await
}

async fn service_goes_and_comes(world: &World) -> Result<()> {
    let (map, spec) = (
        world.mesh_config().await?,
        world.get(SHOP_TELEMETRY).await?["spec"].clone(),
    );
    let service = world.get(TEMPO).await?;
    world.delete(TEMPO).await?;
    for obj in [TRACES, ISTIO_SHOP] {
        world
            .told(obj, "ServiceNotFound", &["Service monitoring/tempo", "create"])
            .await?;
    }
    assert_eq!(
        world.condition(ACCESS_LOG, "Ready").await?.map(|c| c.status).as_deref(),
        Some("True"),
        "no policy blocks another"
    );
    assert_eq!(world.mesh_config().await?, map, "what worked stays");
    assert_eq!(world.get(SHOP_TELEMETRY).await?["spec"], spec, "what worked stays");
    let mut other_port = service.clone();
    other_port["spec"]["ports"] = json!([{"name": "grpc-otlp", "port": 4444}]);
    world.recreate(&other_port).await?;
    world
        .told(TRACES, "ServicePortNotFound", &["monitoring/tempo", "4317"])
        .await?;
    assert_eq!(world.get(SHOP_TELEMETRY).await?["spec"], spec, "what worked stays");
    world.delete_and_wait(TEMPO).await?;
    world.recreate(&service).await?;
    world.ready(TRACES).await?;
    world.ready(ISTIO_SHOP).await?;
    assert_eq!(world.mesh_config().await?, map);
    Ok(())
}

async fn istiod_loses_its_wire(world: &World) -> Result<()> {
    let (map, telemetry) = (world.mesh_config().await?, world.get(SHOP_TELEMETRY).await?);
    let stays = async || -> Result<()> {
        assert_eq!(world.mesh_config().await?, map, "what worked stays");
        let now = world.get(SHOP_TELEMETRY).await?;
        assert_eq!(
            (&now["spec"], &now["metadata"]["uid"]),
            (&telemetry["spec"], &telemetry["metadata"]["uid"]),
            "what worked stays"
        );
        Ok(())
    };
    world.set_env(ISTIOD, "SHARED_MESH_CONFIG-").await?;
    for obj in [ISTIO_SHOP, ACCESS_LOG, TRACES, CART_CALLS] {
        let line = "kubectl -n istio-system set env deployment/istiod SHARED_MESH_CONFIG=sightline-mesh-config";
        world.told(obj, "SharedConfigNotWired", &[line]).await?;
    }
    stays().await?;

    world.set_env(ISTIOD, "SHARED_MESH_CONFIG=somebody-elses").await?;
    world
        .told(
            ISTIO_SHOP,
            "SharedConfigTaken",
            &["SHARED_MESH_CONFIG=somebody-elses", "sightline-mesh-config"],
        )
        .await?;
    world.told(ACCESS_LOG, "SharedConfigTaken", &["somebody-elses"]).await?;
    stays().await?;

    world
        .set_env(ISTIOD, "SHARED_MESH_CONFIG=sightline-mesh-config")
        .await?;
    for obj in [ISTIO_SHOP, ACCESS_LOG, TRACES, CART_CALLS] {
        world.ready(obj).await?;
    }

    world
        .kubectl(&["-n", "istio-system", "scale", "deployment/istiod", "--replicas=0"])
        .await?;
    world
        .told_as(
            ISTIO_SHOP,
            "Unknown",
            "ControlPlaneNotVisible",
            &["istio-system", "start it"],
        )
        .await?;
    world
        .told_as(ACCESS_LOG, "Unknown", "ControlPlaneNotVisible", &["istio-system"])
        .await?;
    stays().await?;
    world
        .kubectl(&["-n", "istio-system", "scale", "deployment/istiod", "--replicas=1"])
        .await?;
    for obj in [ISTIO_SHOP, ACCESS_LOG, TRACES, CART_CALLS] {
        world.ready(obj).await?;
    }
    stays().await
}
