//! The chart, installed by the real Helm. kwok plays its pods; the operator that works is the local binary, started with
//! the arguments, the environment and the token of the Deployment that Helm made.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::control_plane::free_address;
use crate::operator::{LEASE_TIMES, NAMESPACE};
use crate::rbac::{exercise_the_rest, rules_are_what_is_asked_for};
use crate::world::*;

const RELEASE: &str = "sightline";
/// Where it gets Roles, as `config/rbac` has them.
const NAMESPACES: &str = "namespaces.agents={service-mesh,observability-system},namespaces.inject={interlink}";
const DEPLOYMENT: Obj = Obj("Deployment", NAMESPACE, "sightline");
const INJECT_ROLE: Obj = Obj("Role", "interlink", "sightline-inject");

#[tokio::test]
async fn helm_installs_upgrades_rolls_back_and_uninstalls_and_the_charts_rules_are_what_is_asked_for() -> Result<()> {
    let mut world = World::empty().await?;
    world.apply_demo().await?;
    // The API server itself says whether the pods are restricted.
    let label = "pod-security.kubernetes.io/enforce=restricted";
    world.kubectl(&["label", "namespace", NAMESPACE, label]).await?;
    let address = free_address()?;
    let flags = flags(address);

    helm(&world, &["install"], &["--set", &flags, "--set", NAMESPACES]).await?;
    start_as_deployed(&mut world, address).await?;
    world.apply_samples().await?;
    // It is ready without the rights that features need, and says who misses them.
    world.told(SOLARMESH, "Forbidden", &["WasmPlugins"]).await?;
    world.ready(ACCESS_LOG).await?;
    helm(
        &world,
        &["upgrade"],
        &["--reuse-values", "--set", "features.wasmPlugins=true"],
    )
    .await?;
    helm(
        &world,
        &["upgrade"],
        &["--reuse-values", "--set", "features.proxyVersions=true"],
    )
    .await?;
    world.all_ready().await?;
    let restarts = (world.revisions(AGENT).await?, world.revisions(VIRTUAL_NODE).await?);

    // Fewer rights and another flag, and back.
    let other = [
        "--reuse-values",
        "--set-json",
        "namespaces.inject=[]",
        "--set",
        "flags.workers=3",
    ];
    helm(&world, &["upgrade"], &other).await?;
    world.gone(INJECT_ROLE, Duration::ZERO).await?;
    world.stop_operator().await?;
    let arguments = start_as_deployed(&mut world, address).await?;
    assert!(arguments.contains(&"--workers=3".to_owned()), "{arguments:?}");
    let words = ["Role of config/rbac", "interlink"];
    world.told(VIRTUAL_KUBELET, "Forbidden", &words).await?;
    world
        .plane
        .run_helm(&["rollback", RELEASE, "3", "--namespace", NAMESPACE, "--wait"])
        .await?;
    world.ready(VIRTUAL_KUBELET).await?;
    world.stop_operator().await?;
    let arguments = start_as_deployed(&mut world, address).await?;
    assert!(arguments.contains(&"--workers=8".to_owned()), "{arguments:?}");
    world.all_ready().await?;
    let now = (world.revisions(AGENT).await?, world.revisions(VIRTUAL_NODE).await?);
    assert_eq!(now, restarts, "an upgrade of the operator restarts nobody");

    exercise_the_rest(&world).await?;
    let manifest = world
        .plane
        .run_helm(&["get", "manifest", RELEASE, "--namespace", NAMESPACE])
        .await?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifest)?;
    rules_are_what_is_asked_for(&world, &objects).await?;

    world.stop_operator().await?;
    uninstall_leaves_what_users_wrote(&world, &objects).await?;
    helm(&world, &["install"], &["--set", &flags, "--set", NAMESPACES])
        .await
        .context("the definitions that were left are taken over")?;
    start_as_deployed(&mut world, address).await?;
    world.ready(VIRTUAL_KUBELET).await?;
    assert_eq!(
        world.revisions(VIRTUAL_NODE).await?,
        restarts.1,
        "nor does a new installation"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_applied_by_hand_is_not_taken_over_unasked_and_is_with_the_flags_that_the_docs_name() -> Result<()> {
    let mut world = World::demo().await?;
    let address = free_address()?;
    let flags = flags(address);
    let values = ["--set", &flags, "--set", NAMESPACES];
    let refused = helm(&world, &["install"], &values).await.unwrap_err().to_string();
    ensure!(refused.contains("invalid ownership metadata"), "{refused}");
    let flags = ["--take-ownership", "--force-conflicts"];
    let docs = std::fs::read_to_string(root().join("docs/install.md"))?;
    ensure!(
        docs.contains(&format!("`{}`", flags.join(" "))),
        "docs/install.md does not name {flags:?}"
    );
    helm(&world, &["install"], &[&values[..], &flags].concat()).await?;
    start_as_deployed(&mut world, address).await?;
    world.apply_sample("interlink-tracing").await?;
    world.ready(VIRTUAL_KUBELET).await
}

/// Values of flags: where it listens, and a lease whose end can be waited for.
fn flags(address: SocketAddr) -> String {
    let [duration, renew, retry] = LEASE_TIMES;
    format!(
        "flags.listen={address},flags.leaseDuration={duration},flags.leaseRenewDeadline={renew},flags.leaseRetryPeriod={retry}"
    )
}

/// `helm COMMAND sightline CHART ...`, which ends when all of it is ready.
async fn helm(world: &World, command: &[&str], arguments: &[&str]) -> Result<()> {
    let chart = root().join("charts/operator");
    let chart = chart.to_str().context("not UTF-8")?;
    let place = [RELEASE, chart, "--namespace", NAMESPACE, "--wait", "--timeout", "2m"];
    world
        .plane
        .run_helm(&[command, &place, arguments].concat())
        .await
        .map(drop)
}

/// Starts the local binary as a node would start the container of the Deployment, and gives its arguments.
async fn start_as_deployed(world: &mut World, address: SocketAddr) -> Result<Vec<String>> {
    let pod = running_pod(world).await?;
    let container = &pod["spec"]["containers"][0];
    let arguments: Vec<String> = container["args"]
        .as_array()
        .context("no args")?
        .iter()
        .map(text)
        .collect();
    let mut env = Vec::new();
    for entry in container["env"].as_array().context("no env")? {
        let value = match entry["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some(path) => text(
                pod.pointer(&format!("/{}", path.replace('.', "/")))
                    .context("no such field")?,
            ),
            None => text(&entry["value"]),
        };
        env.push((text(&entry["name"]), value));
    }
    let account = text(&pod["spec"]["serviceAccountName"]);
    let kubeconfig = world.plane.kubeconfig_for_service_account(NAMESPACE, &account).await?;
    world
        .start_operator_with(&kubeconfig, address, &arguments, &env)
        .await?;
    let port = &container["ports"][0];
    assert_eq!(
        (&port["name"], port["containerPort"].as_u64()),
        (&"http".into(), Some(address.port().into()))
    );
    for probe in ["readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], "http");
        let (status, body) = world.operator().get(&text(&get["path"])).await?;
        assert_eq!(status, 200, "{probe}: {body}");
    }
    Ok(arguments)
}

/// One of the two pods that the Deployment has.
async fn running_pod(world: &World) -> Result<Value> {
    let deployment = world.get(DEPLOYMENT).await?;
    ensure!(
        is_rolled_out(&deployment),
        "helm --wait came back too early: {}",
        deployment["status"]
    );
    let pods = world.list("Pod", NAMESPACE).await?;
    let mut pods: Vec<Value> = pods
        .into_iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    assert_eq!(pods.len(), 2, "two replicas, both let in under the restricted standard");
    pods.pop().context("no pod")
}

async fn uninstall_leaves_what_users_wrote(world: &World, objects: &[Value]) -> Result<()> {
    let meshes = world.list("ObservabilityMesh", "").await?;
    ensure!(!meshes.is_empty(), "nothing is left that could be kept");
    let telemetry = world.list("ConfigMap", "istio-system").await?;
    world
        .plane
        .run_helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"])
        .await?;
    for object in objects {
        let metadata = &object["metadata"];
        let (kind, namespace, name) = (
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        );
        let obj = Obj(&kind, &namespace, &name);
        if kind == "CustomResourceDefinition" {
            let definition = world.get(obj).await?;
            ensure!(
                definition["metadata"]["deletionTimestamp"].is_null(),
                "{obj} is being deleted"
            );
        } else {
            world.gone(obj, PATIENCE).await?;
        }
    }
    assert_eq!(world.list("ObservabilityMesh", "").await?, meshes);
    assert_eq!(world.list("ConfigMap", "istio-system").await?, telemetry);
    Ok(())
}
