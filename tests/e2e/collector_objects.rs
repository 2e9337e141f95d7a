//! What runs a mesh's collector: the objects of a workload of ours, or the one of OpenTelemetry's operator, from the spec
//! until nothing of them is left. What flows through it is the story of another module.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::eject::eject;
use crate::operator::NAMESPACE;
use crate::world::*;

const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "spans");
const MAP: Obj<'_> = Obj("ConfigMap", "elastic", "sightline-collector");
const SERVICE: Obj<'_> = Obj("Service", "elastic", "sightline-collector");
const DEPLOYMENT: Obj<'_> = Obj("Deployment", "elastic", "sightline-collector");
const STATEFUL_SET: Obj<'_> = Obj("StatefulSet", "elastic", "sightline-collector");
const OF_OPERATOR: Obj<'_> = Obj("OpenTelemetryCollector", "elastic", "sightline");
const KEY: Obj<'_> = Obj("Secret", "elastic", "es-key");

/// A mesh without proxies whose collector runs in namespace `elastic`.
fn mesh(collector: &Value) -> String {
    let mut spec = json!({"namespace": "elastic", "exporters": [{"name": "elastic", "type": "Elasticsearch", "elasticsearch": {
        "urls": ["http://elasticsearch.elastic.svc:9200"], "apiKey": {"secretKeyRef": {"name": KEY.2, "key": "api_key"}}}}]});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), collector.clone()) {
        spec.extend(more);
    }
    json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": MESH.2},
        "spec": {"mesh": {"type": "None"}, "namespaces": {"matchLabels": {"spans": "here"}}, "collector": spec}})
    .to_string()
}

/// The demo, with the rights to run collectors in namespace `elastic`.
async fn world() -> Result<World> {
    let mut world = World::demo().await?;
    let namespaces = [
        ("--istio-namespace", "istio-system"),
        ("--collector-namespace", "elastic"),
        ("--agent-namespace", "elastic"),
    ];
    let arguments = namespaces.iter().flat_map(|(flag, namespace)| [*flag, *namespace]);
    let arguments: Vec<&str> = ["rbac"].into_iter().chain(arguments).collect();
    world.apply(&sightline_ok(&arguments).await?).await?;
    world.start_operator().await?;
    Ok(world)
}

async fn nothing_is_left(world: &World, objects: &[Obj<'_>]) -> Result<()> {
    for object in objects {
        world.gone(*object, PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_collector_of_ours_stands_as_rendered_is_rolled_once_for_a_change_and_goes_with_its_spec_and_by_eject()
-> Result<()> {
    let mut world = world().await?;
    world.apply(&mesh(&json!({"mode": "Workload"}))).await?;
    world.ready(MESH).await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    ensure!(
        world.get(DEPLOYMENT).await?["metadata"]["generation"] == 1,
        "what the API server adds is no drift"
    );
    let status = world.get(MESH).await?["status"]["collector"].clone();
    assert_eq!(status["runner"], "Deployment elastic/sightline-collector");
    let loses = text(&status["restartLoses"]);
    ensure!(
        loses.contains("2048 records, at most 1000 for exporter elastic") && loses.contains("spec.collector.volume"),
        "{loses}"
    );

    // One change is one rollout, of pods that are replaced before they go.
    let before = world.get(MAP).await?["data"].clone();
    world
        .patch(MESH, json!({"spec": {"collector": {"batch": {"size": 512}}}}))
        .await?;
    world.restarted_to(DEPLOYMENT, 2).await?;
    world.ready(MESH).await?;
    let live = world.get(DEPLOYMENT).await?;
    let strategy = &live["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(strategy, &json!({"maxSurge": 1, "maxUnavailable": 0}));
    let after = world.get(MAP).await?["data"].clone();
    ensure!(before != after, "the configuration is another one");

    // An edit is put back and restarts nobody; pods that do not come up are told.
    world
        .patch(MAP, json!({"data": {"config.yaml": "receivers: {}"}}))
        .await?;
    eventually(TOLD, "the configuration is put back", async || {
        let now = world.get(MAP).await?["data"].clone();
        Ok(if now == after { Ok(()) } else { Err(now.to_string()) })
    })
    .await?;
    ensure!(world.revisions(DEPLOYMENT).await? == 2, "nobody restarts for that");
    a_rotated_key_restarts_it_where_an_agent_says_that_it_reads_it(&world).await?;

    // Without spec.collector nothing of it is left; with it again all is there again.
    world
        .patch(MESH, json!({"spec": {"collector": null, "agents": null}}))
        .await?;
    nothing_is_left(&world, &[MAP, SERVICE, DEPLOYMENT]).await?;
    eventually(PATIENCE, "status notes it no more", async || {
        let status = world.get(MESH).await?["status"].clone();
        Ok(match status.get("collector") {
            None => Ok(()),
            Some(noted) => Err(noted.to_string()),
        })
    })
    .await?;
    let on_volumes = json!({"mode": "Workload", "volume": {"sizeGiB": 1}, "receivers": ["OTLP", "Zipkin", "Jaeger"]});
    world.apply(&mesh(&on_volumes)).await?;
    world
        .told(
            MESH,
            "RollingOut",
            &[
                "StatefulSet elastic/sightline-collector",
                "kubectl -n elastic describe pods",
            ],
        )
        .await?;
    world.provide_volumes(2).await?;
    world.ready(MESH).await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    ensure!(
        world.get(STATEFUL_SET).await?["metadata"]["generation"] == 1,
        "what the API server adds is no drift"
    );
    let status = world.get(MESH).await?["status"]["collector"].clone();
    assert_eq!(status, json!({"runner": "StatefulSet elastic/sightline-collector"}));
    let forbidden = world.forbidden().await?;
    ensure!(forbidden.is_empty(), "{forbidden:?}");

    let account = world
        .plane
        .kubeconfig_for_service_account(NAMESPACE, "sightline")
        .await?;
    world.stop_operator().await?;
    let said = eject(&account, &["--timeout", "1m"]).await?;
    ensure!(said.code == Some(0), "{said:?}");
    ensure!(
        said.stdout
            .contains("done: delete StatefulSet elastic/sightline-collector"),
        "{said:?}"
    );
    nothing_is_left(&world, &[MAP, SERVICE, STATEFUL_SET]).await
}

/// Containers read a Secret at their start only. Sightline reads it where its owner shares it.
async fn a_rotated_key_restarts_it_where_an_agent_says_that_it_reads_it(world: &World) -> Result<()> {
    let key = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEY.2, "namespace": KEY.1,
            "labels": {"sightline.dev/shared": "true"}}, "stringData": {"api_key": value}})
        .to_string()
    };
    world.apply(&key("first")).await?;
    let agent = json!({"name": "collector", "workload": {"kind": "Deployment", "namespace": "elastic", "name": DEPLOYMENT.2},
        "reads": [{"type": "Secret", "secret": {"name": KEY.2, "keys": ["api_key"]}}]});
    let rollout = json!({"quietPeriod": "1s", "minInterval": "0s"});
    world
        .patch(MESH, json!({"spec": {"agents": [agent], "rollout": rollout}}))
        .await?;
    world.ready(MESH).await?;
    world.quiet_for(Duration::from_secs(2)).await?;
    let before = world.revisions(DEPLOYMENT).await?;
    world.apply(&key("second")).await?;
    world.restarted_to(DEPLOYMENT, before + 1).await?;
    world.ready(MESH).await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    ensure!(
        world.revisions(DEPLOYMENT).await? == before + 1,
        "our two writers of its template take nothing from each other"
    );
    Ok(())
}

/// OpenTelemetryCollector in the shape of v1beta1: the fields that we write, with the defaults that its operator's webhook and
/// schema set. What is not declared the API server refuses to apply.
fn definition() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let list = json!({"type": "array", "items": any});
    let text = json!({"type": "string"});
    let config = json!({"type": "object", "required": ["receivers", "exporters", "service"], "properties": {
        "receivers": any, "processors": any, "exporters": any, "extensions": any, "service": any}});
    let spec = json!({"type": "object", "required": ["config"], "properties": {
        "mode": {"type": "string", "enum": ["daemonset", "deployment", "sidecar", "statefulset"]},
        "image": text, "replicas": {"type": "integer", "format": "int32"}, "resources": any, "config": config, "env": list,
        "volumeClaimTemplates": list, "volumeMounts": list, "podSecurityContext": any, "deploymentUpdateStrategy": any,
        "managementState": {"type": "string", "default": "managed"}, "configVersions": {"type": "integer", "default": 3},
        "upgradeStrategy": {"type": "string", "default": "automatic"},
    }});
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": any}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "opentelemetrycollectors.opentelemetry.io"},
        "spec": {
            "group": "opentelemetry.io", "scope": "Namespaced",
            "names": {"kind": "OpenTelemetryCollector", "listKind": "OpenTelemetryCollectorList",
                "plural": "opentelemetrycollectors", "singular": "opentelemetrycollector"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

#[tokio::test]
async fn the_operator_of_opentelemetry_runs_it_where_it_is_a_choice_once_made_stays_and_what_is_missing_is_told()
-> Result<()> {
    let world = world().await?;
    world.apply(&mesh(&json!({"mode": "OpenTelemetryCollector"}))).await?;
    let words = ["OpenTelemetryCollector", "spec.collector.mode: Workload"];
    world.told(MESH, "OpenTelemetryOperatorNotInstalled", &words).await?;

    // Where nobody would run such an object, Auto is a workload of ours.
    world
        .patch(MESH, json!({"spec": {"collector": {"mode": "Auto"}}}))
        .await?;
    world.ready(MESH).await?;
    world.get(DEPLOYMENT).await?;
    world.patch(MESH, json!({"spec": {"collector": null}})).await?;
    nothing_is_left(&world, &[MAP, SERVICE, DEPLOYMENT]).await?;

    let file = world.plane.dir().join("opentelemetry.yaml");
    std::fs::write(&file, definition().to_string())?;
    world.plane.install_crds(&file).await?;
    world.apply(&mesh(&json!({}))).await?;
    eventually(
        PATIENCE,
        "an object of OpenTelemetry's operator is written",
        async || {
            Ok(world
                .find(OF_OPERATOR)
                .await?
                .map(drop)
                .ok_or_else(|| "none".to_owned()))
        },
    )
    .await?;
    world.ready(MESH).await?;
    ensure!(world.find(DEPLOYMENT).await?.is_none(), "and no workload of ours");
    world.quiet_for(Duration::from_secs(3)).await?;
    let since = Timestamp::now();

    // Its operator notes what it upgraded to; that is no drift.
    let status = json!({"status": {"version": "0.155.0", "scale": {"replicas": 2}}}).to_string();
    let patch = [
        "patch",
        "opentelemetrycollector",
        OF_OPERATOR.2,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    world.kubectl(&[&["-n", OF_OPERATOR.1], &patch[..]].concat()).await?;
    world.quiet_for(Duration::from_secs(2)).await?;
    world.no_writes_since(since).await?;

    let live = world.get(OF_OPERATOR).await?;
    let env = &live["spec"]["env"][0];
    assert_eq!(
        env["valueFrom"]["secretKeyRef"],
        json!({"name": KEY.2, "key": "api_key"})
    );
    world.delete(MESH).await?;
    world.gone(MESH, PATIENCE).await?;
    nothing_is_left(&world, &[OF_OPERATOR]).await
}
