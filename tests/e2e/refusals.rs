//! What others hold, and what the API server refuses for other reasons than rights.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::matrix;
use crate::world::*;

/// Server-side apply as somebody else.
async fn applies(
    world: &World,
    obj: Obj<'_>,
    manager: &str,
    force: bool,
    object: &Value,
) -> kube::Result<DynamicObject> {
    let mut params = PatchParams::apply(manager);
    params.force = force;
    world.api(obj).patch(obj.2, &params, &Patch::Apply(object)).await
}

/// Attempts to write an object since then, refused ones included.
async fn attempts(world: &World, since: Timestamp, obj: Obj<'_>) -> Result<usize> {
    let plural = resource(obj.0).plural;
    let writes = world.writes_since(since).await?;
    let of_object = writes.iter().filter(|w| w.resource == plural && w.name == obj.2);
    Ok(of_object.filter(|w| w.subresource.is_empty()).count())
}

#[tokio::test]
async fn what_another_manager_holds_is_told_with_its_name_and_the_field_and_starts_no_loop() -> Result<()> {
    let world = World::with_operator(10).await?;
    // A variable of the container, from a manager that applies.
    let endpoint = |env: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": VIRTUAL_NODE.2, "namespace": VIRTUAL_NODE.1},
            "spec": {"template": {"spec": {"containers": [{"name": "vk", "env": env}]}}}})
    };
    let theirs = endpoint(json!([{"name": "TELEMETRY_ENDPOINT", "value": "theirs.example:4317"}]));
    applies(&world, VIRTUAL_NODE, "platform-team", false, &theirs).await?;
    let held = world.get(VIRTUAL_NODE).await?["spec"].clone();
    let since = Timestamp::now();
    world.apply_sample("interlink-tracing").await?;
    let words = [
        "Deployment interlink/virtual-node-node",
        "Container vk has TELEMETRY_ENDPOINT from platform-team",
    ];
    world.told(VIRTUAL_KUBELET, "EnvNotOurs", &words).await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    assert_eq!(attempts(&world, since, VIRTUAL_NODE).await?, 0, "theirs is left alone");
    assert_eq!(world.get(VIRTUAL_NODE).await?["spec"], held);
    let revisions = world.revisions(VIRTUAL_NODE).await?;
    applies(&world, VIRTUAL_NODE, "platform-team", false, &endpoint(json!([]))).await?;
    world.ready(VIRTUAL_KUBELET).await?;
    // Their own rollout without it, and ours with it.
    world.restarted_to(VIRTUAL_NODE, revisions + 2).await.or_else(|error| {
        // Theirs may be the template of before, which Kubernetes knows again.
        ensure!(format!("{error:#}").contains("templates"), "{error:#}");
        Ok(())
    })?;
    // What is in a container by our patch is nobody's applied field: they conflict with us by name.
    let refused = applies(&world, VIRTUAL_NODE, "platform-team", false, &theirs).await;
    let refused = format!("{:?}", refused.err());
    ensure!(
        refused.contains("sightline") && refused.contains("conflict"),
        "{refused}"
    );

    // An object of ours: a conflict for whoever does not force, an edit by whoever does.
    world.apply_sample("istio-default-access-log").await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    let theirs = json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": SHOP_TELEMETRY.2, "namespace": SHOP_TELEMETRY.1},
        "spec": {"tracing": [{"disableSpanReporting": true}]}});
    let refused = applies(&world, SHOP_TELEMETRY, "fleet", false, &theirs).await;
    let refused = format!("{:?}", refused.err());
    ensure!(
        refused.contains("sightline") && refused.contains(".spec.tracing"),
        "{refused}"
    );
    let (since, wanted) = (Timestamp::now(), world.get(SHOP_TELEMETRY).await?["spec"].clone());
    for _ in 0..3 {
        applies(&world, SHOP_TELEMETRY, "fleet", true, &theirs).await?;
        eventually(TOLD, "it is put back", async || {
            let live = world.get(SHOP_TELEMETRY).await?["spec"].clone();
            Ok(if live == wanted { Ok(()) } else { Err(live.to_string()) })
        })
        .await?;
    }
    applies(&world, SHOP_TELEMETRY, "fleet", true, &theirs).await?;
    let words = ["Telemetry shop/sightline", "fleet changes field spec.tracing"];
    for obj in [ACCESS_LOG, TRACES] {
        world.told(obj, "Contested", &words).await?;
    }
    world.quiet_for(Duration::from_secs(3)).await?;
    // What was theirs in the entry is taken out first: two requests each.
    ensure!(attempts(&world, since, SHOP_TELEMETRY).await? <= 6);
    matrix::record("18 conflict with a foreign manager", "Apply", "ok")
}

const QUOTA: Obj<'_> = Obj("ResourceQuota", "istio-system", "few-maps");
const WEBHOOK: Obj<'_> = Obj("ValidatingWebhookConfiguration", "", "away");

#[tokio::test]
async fn a_quota_and_a_webhook_that_is_away_are_told_take_nothing_away_start_no_loop_and_heal_when_they_go()
-> Result<()> {
    let world = World::with_operator(10).await?;
    let maps = world.list("ConfigMap", QUOTA.1).await?.len().to_string();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA.2, "namespace": QUOTA.1},
        "spec": {"hard": {"count/configmaps": maps}}});
    world.apply(&quota.to_string()).await?;
    eventually(PATIENCE, "the quota is in force", async || {
        let status = world.get(QUOTA).await?["status"].clone();
        let used = &status["used"]["count/configmaps"];
        Ok(if *used == maps { Ok(()) } else { Err(status.to_string()) })
    })
    .await?;
    let since = Timestamp::now();
    world.apply_sample("istio-default-access-log").await?;
    let words = [
        "ConfigMap istio-system/sightline-mesh-config",
        "exceeded quota: few-maps",
        "raise that ResourceQuota",
    ];
    for obj in [ISTIO_SHOP, ACCESS_LOG] {
        world.told(obj, "WriteRefused", &words).await?;
    }
    is_told_once(&world, since, SHARED_MAP).await?;
    // Others go on.
    world.apply_sample("interlink-tracing").await?;
    world.ready(VIRTUAL_KUBELET).await?;
    world.delete(QUOTA).await?;
    for obj in [ISTIO_SHOP, ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    matrix::record("20 ResourceQuota", "Apply", "ok")?;

    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": WEBHOOK.2}, "webhooks": [{"name": "away.example.com", "failurePolicy": "Fail",
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
            "clientConfig": {"service": {"namespace": "shop", "name": "away"}},
            "rules": [{"apiGroups": ["telemetry.istio.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                       "resources": ["telemetries"]}]}]});
    world.apply(&webhook.to_string()).await?;
    eventually(PATIENCE, "the webhook is in force", async || {
        let touched = json!({"metadata": {"annotations": {"touched": Timestamp::now().to_string()}}});
        Ok(match world.patch(SHOP_TELEMETRY, touched).await {
            Err(error) if format!("{error:#}").contains("away.example.com") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    let (since, live) = (Timestamp::now(), world.get(SHOP_TELEMETRY).await?);
    let format = json!({"spec": {"format": {"encoding": "JSON", "preset": "Istio"}}});
    world.patch(ACCESS_LOG, format).await?;
    let words = [
        "Admission webhook away.example.com cannot be asked about Telemetry shop/sightline",
        "service \"away\" not found",
    ];
    for obj in [ACCESS_LOG, TRACES] {
        world.told(obj, "RejectedByPolicy", &words).await?;
    }
    is_told_once(&world, since, SHOP_TELEMETRY).await?;
    assert_eq!(
        world.get(SHOP_TELEMETRY).await?["spec"],
        live["spec"],
        "what is live stays"
    );
    world.delete(WEBHOOK).await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    ensure!(
        world.get(SHOP_TELEMETRY).await?["spec"] != live["spec"],
        "what was held back is written"
    );
    matrix::record("20 webhook away, failurePolicy Fail", "Change", "ok")
}

/// It is tried in ever longer intervals, and what is told stays.
async fn is_told_once(world: &World, since: Timestamp, obj: Obj<'_>) -> Result<()> {
    let told = world.get(ACCESS_LOG).await?["status"].clone();
    always(Duration::from_secs(6), "what is told stays", async || {
        let now = world.get(ACCESS_LOG).await?["status"].clone();
        Ok(if now == told { Ok(()) } else { Err(now.to_string()) })
    })
    .await?;
    let tried = attempts(world, since, obj).await?;
    ensure!(tried <= 8, "{obj} tried {tried} times");
    Ok(())
}
