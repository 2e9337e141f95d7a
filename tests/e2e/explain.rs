//! `sightline explain` against a cluster: the same answer as from files, and what it says with too few rights.

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::*;

/// What is asked: all resources of the samples, their namespaces and their Deployments.
const SUBJECTS: [&str; 18] = [
    "mesh interlink",
    "mesh istio-shop",
    "mesh istio-tenants",
    "mesh solarmesh",
    "tracingbackend virtual-kubelet -n interlink",
    "trafficlog access-log -n shop",
    "tracingbackend traces -n shop",
    "trafficlog received -n tenant-a",
    "trafficlog cart-calls -n tenant-a",
    "namespace interlink",
    "namespace shop",
    "namespace tenant-a",
    "namespace service-mesh",
    "namespace orders",
    "pod virtual-node-node -n interlink",
    "pod cart -n shop",
    "pod cart -n tenant-a",
    "pod networking-agent -n service-mesh",
];

async fn explain(kubeconfig: &Path, subject: &str, more: &[&str]) -> Result<Output> {
    let mut command = tokio::process::Command::new(binary());
    command.arg("explain").args(subject.split(' ')).args(more);
    Ok(command
        .env("KUBECONFIG", kubeconfig)
        .current_dir(root())
        .output()
        .await?)
}

async fn answer(kubeconfig: &Path, subject: &str, more: &[&str]) -> Result<Value> {
    let output = explain(kubeconfig, subject, &[&["-o", "json"], more].concat()).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{subject}: {}: {errors}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Ends with that code, and says those words.
async fn refused(kubeconfig: &Path, subject: &str, code: i32, words: &[&str]) -> Result<()> {
    let output = explain(kubeconfig, subject, &[]).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "{subject}: {}: {errors}",
        output.status
    );
    ensure!(output.stdout.is_empty(), "{subject}: nothing stands on stdout");
    for word in words {
        ensure!(errors.contains(word), "{subject}: no `{word}` in: {errors}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_at_rest_is_explained_as_its_files_are_writes_nothing_and_what_may_not_be_read_is_said() -> Result<()>
{
    let world = World::bare().await?;
    let admin = world.plane.kubeconfig();
    refused(
        &admin,
        "mesh istio-shop",
        1,
        &["there is no ObservabilityMesh istio-shop"],
    )
    .await?;
    drop(world);

    let world = World::with_samples(10).await?;
    let admin = world.plane.kubeconfig();
    let files = sample_files(&["config/demo"]);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    world.quiet_for(std::time::Duration::from_secs(3)).await?;
    let since = Timestamp::now();
    for subject in SUBJECTS {
        let live = answer(&admin, subject, &[]).await?;
        let of_files = answer(&admin, subject, &files).await?;
        assert_eq!(live, of_files, "{subject}");
    }
    world.no_writes_since(since).await?;
    a_pod_is_found_by_its_name(&world, &admin).await?;
    refused(
        &admin,
        "pod cart -n nowhere",
        1,
        &["there is no Pod nowhere/cart", "--namespace"],
    )
    .await?;
    rights(&world).await
}

/// Pods that are not istiod's are read too, one by one.
async fn a_pod_is_found_by_its_name(world: &World, admin: &Path) -> Result<()> {
    let pods = world.list("Pod", "tenant-a").await?;
    let pod = pods.first().context("the demo runs a pod in tenant-a")?;
    let name = text(&pod["metadata"]["name"]);
    let of_pod = answer(admin, &format!("pod {name} -n tenant-a"), &[]).await?;
    let of_template = answer(admin, "pod cart -n tenant-a", &[]).await?;
    assert_eq!(
        (&of_pod["labelsOf"], &of_pod["workload"]),
        (&json!("Pod"), &json!("Deployment tenant-a/cart"))
    );
    // Its template is expected to get a proxy; this pod runs, and has none.
    assert_eq!(
        (&of_pod["proxy"]["state"], of_pod.get("logging")),
        (&json!("None"), None)
    );
    assert_eq!(of_template["proxy"]["state"], "Expected");
    Ok(())
}

/// Without any right; with rights to our own kinds alone; with `view`-like rights but no Secret.
async fn rights(world: &World) -> Result<()> {
    world
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: shop}}")
        .await?;
    let reader = world.plane.kubeconfig_for_service_account("shop", "reader").await?;
    let words = ["no right to list observabilitymeshes.sightline.dev", "get and list"];
    refused(&reader, "namespace shop", 2, &words).await?;

    allow(
        world,
        "ours",
        json!([{"apiGroups": ["sightline.dev"], "resources": ["*"], "verbs": ["get", "list"]}]),
    )
    .await?;
    let blind = eventually(PATIENCE, "the role is in force", async || {
        Ok(answer(&reader, "mesh istio-shop", &[])
            .await
            .map_err(|error| error.to_string()))
    })
    .await?;
    let unseen = blind["unseen"].to_string();
    for what in ["namespaces, in the whole cluster", "ConfigMap istio-system/istio"] {
        ensure!(unseen.contains(what), "no `{what}` in {unseen}");
    }

    let core = ["namespaces", "services", "configmaps", "pods"];
    let workloads = [
        "deployments",
        "daemonsets",
        "statefulsets",
        "replicasets",
        "controllerrevisions",
    ];
    let monitoring = [
        "podmonitors",
        "servicemonitors",
        "scrapeconfigs",
        "prometheusrules",
        "prometheuses",
    ];
    let rules = json!([
        {"apiGroups": [""], "resources": core, "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": workloads, "verbs": ["get", "list"]},
        {"apiGroups": ["telemetry.istio.io"], "resources": ["telemetries"], "verbs": ["get", "list"]},
        {"apiGroups": ["extensions.istio.io"], "resources": ["wasmplugins"], "verbs": ["get", "list"]},
        {"apiGroups": ["monitoring.coreos.com"], "resources": monitoring, "verbs": ["get", "list"]},
    ]);
    allow(world, "facts", rules).await?;
    eventually(PATIENCE, "an answer without Secrets", async || {
        let mut live = answer(&reader, "namespace shop", &[]).await?;
        let unseen = live.as_object_mut().and_then(|live| live.remove("unseen"));
        let files = sample_files(&["config/demo"]);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let of_files = answer(&reader, "namespace shop", &files).await?;
        let only_secrets = unseen.as_ref().is_some_and(|unseen| {
            let mut all = unseen.as_array().into_iter().flatten().map(Value::to_string);
            all.all(|what| what.contains("Secret"))
        });
        Ok(if live == of_files && only_secrets {
            Ok(())
        } else {
            Err(format!("{unseen:?}: {live}"))
        })
    })
    .await
}

async fn allow(world: &World, name: &str, rules: Value) -> Result<()> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": "shop", "name": "reader"}],
    });
    world.apply(&role.to_string()).await?;
    world.apply(&binding.to_string()).await
}
