//! The oldest proxy: seen among pods, concluded where they may not be read.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::world::*;

const CLUSTER_ROLE: Obj = Obj("ClusterRole", "", "sightline");

#[tokio::test]
async fn a_format_is_withdrawn_while_one_proxy_is_too_old_and_where_proxies_may_not_be_read_istiods_version_tells()
-> Result<()> {
    let mut world = World::demo().await?;
    let rules = world.get(CLUSTER_ROLE).await?["rules"].clone();
    let mut without = rules.as_array().context("no rules")?.clone();
    without.retain(|rule| rule["resources"] != json!(["pods"]));
    world.patch(CLUSTER_ROLE, json!({"rules": without})).await?;
    with_proxy(&world, "new", "1.30.3").await?;

    // Ready although that watch is refused: nothing waits for it.
    world.start_operator().await?;
    world.apply_sample("istio-default-access-log").await?;
    world.ready(ACCESS_LOG).await?;
    let format = json!({"encoding": "Text", "text": "%RESPONSE_CODE% %SPAN_ID%"});
    world.patch(ACCESS_LOG, json!({"spec": {"format": format}})).await?;
    // istiod is 1.30, so a proxy may be 1.29, and 1.37 is the Envoy in that.
    is_refused_for(&world, "needs Envoy ≥ 1.38, but the oldest proxy is 1.37").await?;
    sees(
        &world,
        json!({"istiod": ["1.30"], "oldestProxy": "1.37", "oldestProxyFrom": "Istiod"}),
    )
    .await?;

    // With the right it is what is seen that counts.
    world.patch(CLUSTER_ROLE, json!({"rules": rules})).await?;
    world.ready(ACCESS_LOG).await?;
    sees(
        &world,
        json!({"istiod": ["1.30"], "proxies": ["1.30"], "oldestProxy": "1.38", "oldestProxyFrom": "Proxies"}),
    )
    .await?;
    let own = provider(&world).await?;
    with_proxy(&world, "another", "1.30.2").await?;
    world.delete_and_wait(Obj("Pod", "shop", "new")).await?;
    with_proxy(&world, "old", "1.29.6").await?;
    is_refused_for(&world, "needs Envoy ≥ 1.38, but the oldest proxy is 1.37").await?;
    eventually(PATIENCE, "the format is withdrawn to the mesh's", async || {
        let now = provider(&world).await?;
        Ok(if now == own { Err(now) } else { Ok(()) })
    })
    .await?;
    world.delete_and_wait(Obj("Pod", "shop", "old")).await?;
    world.ready(ACCESS_LOG).await?;
    ensure!(provider(&world).await? == own, "its own format is back");
    Ok(())
}

/// The provider of the lines that the namespace's proxies write.
async fn provider(world: &World) -> Result<String> {
    let entries = world.get(SHOP_TELEMETRY).await?["spec"]["accessLogging"].clone();
    Ok(text(&entries[0]["providers"][0]["name"]))
}

async fn is_refused_for(world: &World, words: &str) -> Result<()> {
    let message = world
        .expect(ACCESS_LOG, TOLD, "Accepted", "False", "FormatUnsupported")
        .await?;
    ensure!(message.contains(words), "the message is: {message}");
    Ok(())
}

/// Runs a pod with a proxy in the mesh's namespace.
async fn with_proxy(world: &World, name: &str, version: &str) -> Result<()> {
    let labels = json!({"service.istio.io/canonical-name": name});
    let container =
        |name: &str, image: String| json!({"name": name, "image": image, "resources": {"requests": {"cpu": "1m"}}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": name, "namespace": "shop", "labels": labels},
    "spec": {"containers": [
        container("app", "registry.example/app:1".into()),
        container("istio-proxy", format!("docker.io/istio/proxyv2:{version}")),
    ]}});
    world.apply(&pod.to_string()).await
}

/// Waits until the mesh's status says that this was seen.
async fn sees(world: &World, versions: Value) -> Result<()> {
    eventually(PATIENCE, "the mesh's status tells the versions", async || {
        let seen = world.get(ISTIO_SHOP).await?["status"]["versions"].clone();
        Ok(if seen == versions {
            Ok(())
        } else {
            Err(seen.to_string())
        })
    })
    .await
}
