//! What goes when its reason goes, and in which order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn outputs_go_with_their_policies_providers_after_the_linger_time_and_a_mesh_last() -> Result<()> {
    // Linger: 6 s.
    let mut world = World::with_samples(10).await?;
    let linger = Duration::from_secs(6);

    // A policy that goes takes its entries along, not those of others; its provider lingers.
    let provider = providers_of(
        &world
            .get(Obj("Telemetry", "tenant-a", "sightline-01-707778bb78"))
            .await?,
    )
    .remove(0);
    world.delete(CART_CALLS).await?;
    world
        .gone(Obj("Telemetry", "tenant-a", "sightline-01-707778bb78"), TOLD)
        .await?;
    let gone_at = Instant::now();
    ensure!(
        world.mesh_config().await?.contains(&provider),
        "the provider lingers: a proxy may still name it"
    );
    no_longer_in_map(&world, &provider).await?;
    ensure!(
        gone_at.elapsed() > linger - Duration::from_secs(2),
        "it went after {:?}",
        gone_at.elapsed()
    );
    world.ready(RESOURCES[7]).await?;

    // One Telemetry of two policies: the log goes, the traces stay.
    world.delete(ACCESS_LOG).await?;
    eventually(TOLD, "the Telemetry holds traces only", async || {
        let live = world.get(SHOP_TELEMETRY).await?;
        let logs = live.pointer("/spec/accessLogging").is_some();
        Ok(if logs || providers_of(&live).len() != 1 {
            Err(live["spec"].to_string())
        } else {
            Ok(())
        })
    })
    .await?;
    world.ready(TRACES).await?;

    // With the operator away, ownerReferences let the garbage collector do it.
    world.stop_operator().await?;
    world.delete(TRACES).await?;
    world.gone(SHOP_TELEMETRY, PATIENCE).await.context("ownerReferences")?;
    world.start_operator().await?;

    mesh_goes_last(&world).await?;
    namespace_does_not_hang(&world).await?;

    // The last Istio mesh takes the map along, and its WasmPlugins; environment is another mesh's affair.
    for mesh in [ISTIO_TENANTS, ISTIO_ERRORS, ISTIO_OVERLAPS, PROMETHEUS, WAVEFRONT] {
        world.delete_and_wait(mesh).await?;
    }
    for map in [
        Obj("ConfigMap", "istio-system", "sightline-prometheus-kubernetes-pods"),
        Obj("ConfigMap", "istio-system", "sightline-prometheus-federate"),
        Obj("ConfigMap", "observability-system", "sightline-wavefront-istio"),
    ] {
        ensure!(
            world.find(map).await?.is_none(),
            "{map} goes with its mesh, and before it"
        );
    }
    world.ready(SOLARMESH).await?;
    world.get(SHARED_MAP).await?;
    world.get(WASM_PLUGIN).await?;
    world.delete_and_wait(SOLARMESH).await?;
    world.gone(WASM_PLUGIN, PATIENCE).await?;
    world.gone(SHARED_MAP, PATIENCE).await?;
    world.ready(VIRTUAL_KUBELET).await?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

async fn no_longer_in_map(world: &World, provider: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{provider} leaves the map"), async || {
        let map = world.mesh_config().await?;
        Ok(if map.contains(provider) { Err(map) } else { Ok(()) })
    })
    .await
}

/// A mesh with policies: first its Telemetries, then its map entries, then itself.
async fn mesh_goes_last(world: &World) -> Result<()> {
    world.apply_sample("istio-default-access-log").await?;
    world.ready(ACCESS_LOG).await?;
    world.ready(TRACES).await?;
    let providers = providers_of(&world.get(SHOP_TELEMETRY).await?);
    world.delete(ISTIO_SHOP).await?;
    let (mut telemetry_went, mut entries_went) = (None, None);
    let start = Instant::now();
    eventually(PATIENCE, "the mesh goes", async || {
        let telemetry = world.find(SHOP_TELEMETRY).await?;
        let map = world.mesh_config().await?;
        let mesh = world.find(ISTIO_SHOP).await?;
        if telemetry.is_none() {
            telemetry_went.get_or_insert(start.elapsed());
        }
        if !providers.iter().any(|p| map.contains(p)) {
            entries_went.get_or_insert(start.elapsed());
        }
        Ok(match mesh {
            None => Ok(()),
            Some(mesh) => Err(format!("{} {}", mesh["metadata"], mesh["status"])),
        })
    })
    .await?;
    let telemetry_went = telemetry_went.context("the mesh went before its Telemetry")?;
    if let Some(entries_went) = entries_went {
        ensure!(
            telemetry_went <= entries_went,
            "the map entries went before the Telemetry"
        );
    }
    for provider in &providers {
        no_longer_in_map(world, provider).await?;
    }
    // Its policies say what is missing.
    world.told(ACCESS_LOG, "NoMesh", &["shop"]).await
}

async fn namespace_does_not_hang(world: &World) -> Result<()> {
    world.apply_sample("istio-tenant-json").await?;
    world.ready(CART_CALLS).await?;
    let namespace = Obj("Namespace", "", "tenant-a");
    world.delete(namespace).await?;
    world.gone(namespace, PATIENCE).await?;
    let logs = world.log();
    ensure!(
        !logs
            .lines()
            .any(|line| line.contains("tenant-a") && line.contains("pass failed")),
        "passes failed on a namespace that goes:\n{logs}"
    );
    world
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-a"}}).to_string())
        .await?;
    world.apply_sample("istio-tenant-json").await?;
    world.ready(CART_CALLS).await
}
