//! `sightline eject`: what Sightline put into a cluster goes, what users wrote stays.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::operator::{NAMESPACE, USER};
use crate::world::*;

const ISTIO_MAP: Obj = Obj("ConfigMap", "istio-system", "istio");
/// A second workload that gets environment, so that the budget has something to do.
const SECOND_NODE: Obj = Obj("Deployment", "interlink", "second-node");
/// What stays on workloads: it means nothing to anybody but Sightline.
const INERT: [&str; 5] = [
    "sightline.dev/config-hash",
    "sightline.dev/hash-key",
    "sightline.dev/restarted-at",
    "sightline.dev/restarted-template",
    "sightline.dev/rolled-out",
];

#[tokio::test]
async fn eject_takes_out_all_that_was_put_in_and_leaves_what_users_wrote_and_an_operator_brings_it_back() -> Result<()>
{
    let mut world = World::with_operator(10).await?;
    let mesh_config = world.get(ISTIO_MAP).await?["data"].clone();
    add_second_node(&world).await?;
    world.apply_samples().await?;
    world.all_ready().await?;
    let patch = json!({"spec": {"mesh": {"istio": {"meshConfig": {"mode": "Patch"}}}}});
    world.patch(ISTIO_SHOP, patch).await?;
    eventually(PATIENCE, "istiod's own map holds our entries", async || {
        let text = world.get(ISTIO_MAP).await?["data"]["mesh"].to_string();
        Ok(if text.contains("sightline-") { Ok(()) } else { Err(text) })
    })
    .await?;
    world.all_ready().await?;
    world.restarted_to(SECOND_NODE, 2).await?;
    world.quiet_for(Duration::from_secs(6)).await?;
    let specs = specs(&world).await?;
    let grpc_logging = world.get(GRPC_LOGGING).await?["data"].clone();

    // The rights of the operator are enough.
    let account = world
        .plane
        .kubeconfig_for_service_account(NAMESPACE, "sightline")
        .await?;
    nothing_is_written_while_an_operator_leads_or_by_a_dry_run(&world, &account).await?;

    world.stop_operator().await?;
    let since = Timestamp::now();
    let output = eject(&account, &["--timeout", "4m"]).await?;
    ensure!(output.code == Some(0), "{output:?}");
    ensure!(
        output.stdout.contains("done: delete Telemetry shop/sightline"),
        "{output:?}"
    );
    ensure!(output.stdout.contains("Nothing of Sightline is left"), "{output:?}");

    for kind in ["Telemetry", "WasmPlugin"] {
        let left = world.list(kind, "").await?;
        let ours = |object: &Value| text(&object["metadata"]["name"]).starts_with("sightline");
        ensure!(!left.iter().any(ours), "{kind}: {left:?}");
    }
    ensure!(world.find(SHARED_MAP).await?.is_none(), "our own map is gone");
    assert_eq!(
        world.get(ISTIO_MAP).await?["data"],
        mesh_config,
        "MeshConfig, byte for byte"
    );
    assert_eq!(world.get(GRPC_LOGGING).await?["data"], grpc_logging, "it was adopted");
    assert_eq!(self::specs(&world).await?, specs, "what users wrote");
    resources_say_that_they_are_ejected(&world).await?;
    environment_is_out_with_one_restart_each(&world, since).await?;
    inert_annotations_stay_and_nothing_else(&world).await?;
    let refused = world.forbidden().await?;
    ensure!(refused.is_empty(), "RBAC refused: {refused:?}");

    // Nothing to do is done at once.
    let since = Timestamp::now();
    ensure!(eject(&account, &[]).await?.code == Some(0), "again");
    world.no_writes_since(since).await?;

    world.start_operator().await?;
    world.all_ready().await?;
    world.restarted_to(VIRTUAL_NODE, 4).await?;
    world.restarted_to(SECOND_NODE, 4).await?;
    world.quiet_for(Duration::from_secs(6)).await?;
    ensure!(world.revisions(AGENT).await? == 2, "an agent in sync is not restarted");

    world.stop_operator().await?;
    ensure!(
        eject(&account, &["--timeout", "4m"]).await?.code == Some(0),
        "once more"
    );
    world
        .kubectl(&["delete", "omesh", "--all", "--timeout=5s"])
        .await
        .map(drop)
}

/// What an eject said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub async fn eject(kubeconfig: &Path, arguments: &[&str]) -> Result<Said> {
    let output = tokio::process::Command::new(binary())
        .args(["eject", "--log", "info", "--istio-time-divisor", "10"])
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("NO_COLOR", "1")
        .kill_on_drop(true)
        .output()
        .await?;
    Ok(Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

async fn nothing_is_written_while_an_operator_leads_or_by_a_dry_run(world: &World, account: &Path) -> Result<()> {
    let since = Timestamp::now();
    let planned = eject(account, &["--dry-run"]).await?;
    ensure!(planned.code == Some(0), "{planned:?}");
    for line in [
        "would delete Telemetry shop/sightline",
        "would delete WasmPlugin orders/sightline-solarmesh",
        "would delete ConfigMap istio-system/sightline-mesh-config",
        "would take our extension providers out of ConfigMap istio-system/istio",
        "would restart without our environment Deployment interlink/second-node",
        "would restart without our environment Deployment interlink/virtual-node-node",
        "would take our finalizer from ObservabilityMesh istio-shop",
        "would say Ready=False, Ejected on TrafficLog shop/access-log",
    ] {
        ensure!(planned.stdout.lines().any(|said| said == line), "{line}: {planned:?}");
    }
    let leads = eject(account, &[]).await?;
    ensure!(
        leads.code == Some(1) && leads.stderr.contains("an operator leads") && leads.stderr.contains("--replicas=0"),
        "{leads:?}"
    );
    let elsewhere = eject(&world.plane.kubeconfig(), &["--namespace", "shop"]).await?;
    ensure!(
        elsewhere.code == Some(1) && elsewhere.stderr.contains("no Lease sightline in namespace shop"),
        "{elsewhere:?}"
    );
    world.no_writes_since(since).await
}

/// A Deployment as the demo's virtual node, by another name.
async fn add_second_node(world: &World) -> Result<()> {
    let mut object = world.get(VIRTUAL_NODE).await?;
    object["metadata"]["name"] = json!(SECOND_NODE.2);
    object["metadata"]
        .as_object_mut()
        .map(|metadata| metadata.remove("annotations"));
    for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        let labels = object
            .pointer_mut(labels)
            .and_then(Value::as_object_mut)
            .context("no labels")?;
        labels.insert("node".into(), json!("second"));
    }
    object.as_object_mut().map(|object| object.remove("status"));
    world.recreate(&object).await?;
    world.restarted_to(SECOND_NODE, 1).await
}

async fn specs(world: &World) -> Result<Vec<Value>> {
    let mut specs = Vec::new();
    for kind in ["ObservabilityMesh", "TrafficLog", "TracingBackend"] {
        specs.extend(
            world
                .list(kind, "")
                .await?
                .into_iter()
                .map(|object| object["spec"].clone()),
        );
    }
    ensure!(specs.len() == RESOURCES.len() + 1, "{} resources", specs.len());
    Ok(specs)
}

async fn resources_say_that_they_are_ejected(world: &World) -> Result<()> {
    for obj in RESOURCES.into_iter().chain([CART_CALLS]) {
        let object = world.get(obj).await?;
        let ready = condition_of(&object, "Ready").with_context(|| format!("{obj} has no Ready"))?;
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "Ejected"),
            "{obj}"
        );
        let metadata = &object["metadata"];
        ensure!(
            metadata.get("finalizers").is_none() && metadata.get("deletionTimestamp").is_none(),
            "{obj}: {metadata}"
        );
    }
    Ok(())
}

async fn environment_is_out_with_one_restart_each(world: &World, since: Timestamp) -> Result<()> {
    for obj in [VIRTUAL_NODE, SECOND_NODE] {
        let live = world.get(obj).await?;
        let containers = live["spec"]["template"]["spec"]["containers"].to_string();
        ensure!(!containers.contains("TELEMETRY_ENDPOINT"), "{obj}: {containers}");
        world.restarted_to(obj, 3).await?;
    }
    ensure!(
        world.revisions(AGENT).await? == 2,
        "an agent without environment is not restarted"
    );
    world.plane.settle_audit_log().await?;
    let writes = world.plane.writes_by(USER, since)?;
    let times: Vec<Timestamp> = writes
        .iter()
        .filter(|write| write.resource == "deployments" && write.code == 200)
        .map(|write| write.time)
        .collect();
    let [first, second] = times[..] else {
        anyhow::bail!("one write each: {times:?}")
    };
    let apart = second.duration_since(first).as_secs_f64();
    ensure!(apart > 0.9, "rollout.minInterval is 1s: {apart}");
    Ok(())
}

async fn inert_annotations_stay_and_nothing_else(world: &World) -> Result<()> {
    let mut seen = BTreeSet::new();
    for deployment in world.list("Deployment", "").await? {
        for at in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
            let annotations = deployment.pointer(at).and_then(Value::as_object);
            let names = annotations.into_iter().flat_map(|annotations| annotations.keys());
            seen.extend(names.filter(|name| name.contains("sightline")).cloned());
        }
    }
    assert_eq!(seen, INERT.map(str::to_owned).into());
    Ok(())
}
