//! Kinds that not every cluster has, and that go and come while the operator runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::matrix;
use crate::world::*;

const TELEMETRIES: Obj<'_> = Obj("CustomResourceDefinition", "", "telemetries.telemetry.istio.io");
const WASM_PLUGINS: Obj<'_> = Obj("CustomResourceDefinition", "", "wasmplugins.extensions.istio.io");

#[tokio::test]
async fn a_kind_that_is_removed_and_installed_again_is_told_holds_up_nobody_else_and_is_no_end_of_policies()
-> Result<()> {
    let world = World::with_operator(10).await?;
    for sample in [
        "istio-default-access-log",
        "solarmesh-interface-traffic",
        "interlink-tracing",
    ] {
        world.apply_sample(sample).await?;
    }
    for obj in [ACCESS_LOG, TRACES, ISTIO_SHOP, SOLARMESH, VIRTUAL_KUBELET] {
        world.ready(obj).await?;
    }
    world.restarted_to(AGENT, 2).await?;

    world.delete_and_wait(WASM_PLUGINS).await?;
    world
        .told(
            SOLARMESH,
            "IstioNotInstalled",
            &["WasmPlugin of extensions.istio.io", "install Istio's CRDs"],
        )
        .await?;
    // The same mesh's ConfigMap and agent go on, and so do Telemetries.
    world.set_password("while-the-kind-is-away").await?;
    world.restarted_to(AGENT, 3).await?;
    ensure!(
        world.application_yaml().await?.contains("while-the-kind-is-away"),
        "the ConfigMap follows"
    );
    let format = json!({"spec": {"format": {"encoding": "JSON", "preset": "Istio"}}});
    world.patch(ACCESS_LOG, format).await?;
    world.ready(ACCESS_LOG).await?;

    let before = providers_of(&world.get(SHOP_TELEMETRY).await?);
    world.delete_and_wait(TELEMETRIES).await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.told(obj, "IstioNotInstalled", &["install Istio's CRDs"]).await?;
    }
    // Longer than extension providers linger.
    always(
        Duration::from_secs(8),
        "nobody says Ready, and the providers stay",
        async || {
            for obj in [ACCESS_LOG, TRACES, SOLARMESH] {
                match world.condition(obj, "Ready").await? {
                    Some(ready) if ready.status == "False" => {}
                    other => return Ok(Err(format!("{obj}: {other:?}"))),
                }
            }
            let map = world.mesh_config().await?;
            let missing: Vec<_> = before.iter().filter(|name| !map.contains(*name)).collect();
            Ok(if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("{missing:?}"))
            })
        },
    )
    .await?;
    world.ready(VIRTUAL_KUBELET).await?;
    world.quiet_for(Duration::from_secs(3)).await?;

    world.plane.install_crds(&world.plane.istio_crds()).await?;
    let installed = std::time::Instant::now();
    for obj in [ACCESS_LOG, TRACES, SOLARMESH, ISTIO_SHOP] {
        world.ready(obj).await?;
    }
    ensure!(
        installed.elapsed() < Duration::from_secs(30),
        "{:?}",
        installed.elapsed()
    );
    assert_eq!(providers_of(&world.get(SHOP_TELEMETRY).await?), before);
    world.get(WASM_PLUGIN).await?;
    assert_eq!(world.revisions(AGENT).await?, 3, "nobody is restarted for it");
    // Of a kind that is just being removed the API server says 403 too: nothing may be created any more.
    let mut forbidden = world.forbidden().await?;
    forbidden.retain(|write| !write.contains(" wasmplugins/") && !write.contains(" telemetries/"));
    ensure!(forbidden.is_empty(), "RBAC refused: {forbidden:?}");
    matrix::record("16 optional CRD removed, installed again", "Apply", "ok")
}
