//! prometheus-operator: what exports become is taken by definitions in its shape, and what keeps monitors from being
//! written, or read by anybody, is told.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::world::*;

const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "default");
const POD_MONITOR: Obj<'_> = Obj("PodMonitor", "monitoring", "sightline-default-proxies");
const SERVICE_MONITOR: Obj<'_> = Obj("ServiceMonitor", "monitoring", "sightline-default-istiod");
const SERVER: Obj<'_> = Obj("Prometheus", "monitoring", "main");
const CLUSTER_ROLE: Obj<'_> = Obj("ClusterRole", "", "sightline");
/// Monitors.
const CASE: &str = "exports-monitors-of-prometheus-operator";
/// What is a ConfigMap unless the export says otherwise.
const JOBS: &str = "exports-jobs-and-rules-as-objects-of-prometheus-operator";

/// A golden case: the mesh, the Prometheus, and the objects of the operator's kinds that come of them.
fn golden(case: &str) -> Result<(Value, Value, Vec<Value>)> {
    let read = |file: &str| -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(root().join("tests/render/cases").join(case).join(file))?;
        Ok(serde_saphyr::from_multiple::<Value>(&text)?)
    };
    let given = read("in.yaml")?;
    let of_kind = |kind: &str| {
        let found = given.iter().find(|object| object["kind"] == kind).cloned();
        found.with_context(|| format!("{case} has no {kind}"))
    };
    let out = read("out.yaml")?.into_iter().next().context("nothing is recorded")?;
    let objects = out["objects"].as_array().context("no objects")?;
    let is_monitor = |object: &&Value| text(&object["apiVersion"]).starts_with("monitoring.coreos.com/");
    let monitors = objects.iter().filter(is_monitor).cloned().collect();
    Ok((of_kind("ObservabilityMesh")?, of_kind("Prometheus")?, monitors))
}

/// Definitions in the shape of prometheus-operator 0.93: small schemas of our own, with the fields that we write, and their
/// bounds. What is not declared the API server refuses to apply.
fn definitions() -> Vec<Value> {
    let object =
        |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required});
    let list = |items: &Value| json!({"type": "array", "items": items});
    let text = json!({"type": "string"});
    let duration = json!({"type": "string", "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"});
    let labels = json!({"type": "object", "additionalProperties": text});
    let requirement = object(
        json!({"key": text, "operator": text, "values": list(&text)}),
        json!(["key", "operator"]),
    );
    let selector =
        json!({"type": "object", "properties": {"matchLabels": labels, "matchExpressions": list(&requirement)}});
    let actions = [
        "replace",
        "keep",
        "drop",
        "hashmod",
        "labelmap",
        "labeldrop",
        "labelkeep",
        "lowercase",
        "uppercase",
        "keepequal",
        "dropequal",
    ];
    let name_of_label = json!({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"});
    let relabel = json!({"type": "object", "properties": {
        "action": {"type": "string", "enum": actions, "default": "replace"},
        "sourceLabels": list(&name_of_label), "separator": text, "regex": text, "replacement": text, "targetLabel": text,
        "modulus": {"type": "integer", "format": "int64"},
    }});
    let endpoint = json!({"type": "object", "properties": {
        "port": text, "path": text, "interval": duration,
        "relabelings": list(&relabel), "metricRelabelings": list(&relabel),
    }});
    let namespaces = json!({"type": "object", "properties": {"any": {"type": "boolean"}, "matchNames": list(&text)}});
    let monitor = |endpoints: &str| {
        object(
            json!({"namespaceSelector": namespaces, "selector": selector, endpoints: list(&endpoint)}),
            json!([endpoints, "selector"]),
        )
    };
    let server = json!({"type": "object", "properties": {
        "podMonitorSelector": selector, "podMonitorNamespaceSelector": selector,
        "serviceMonitorSelector": selector, "serviceMonitorNamespaceSelector": selector,
        "scrapeConfigSelector": selector, "scrapeConfigNamespaceSelector": selector,
        "ruleSelector": selector, "ruleNamespaceSelector": selector,
    }});
    let some = |items: &Value| json!({"type": "array", "items": items, "minItems": 1});
    let found_by = ["Pod", "Endpoints", "Ingress", "Service", "Node", "EndpointSlice"];
    let discovery = object(json!({"role": {"type": "string", "enum": found_by}}), json!(["role"]));
    let targets = object(json!({"targets": some(&text)}), json!(["targets"]));
    let job = json!({"type": "object", "properties": {
        "jobName": {"type": "string", "minLength": 1}, "scrapeInterval": duration, "metricsPath": {"type": "string", "minLength": 1},
        "honorLabels": {"type": "boolean"}, "params": {"type": "object", "additionalProperties": list(&text)},
        "kubernetesSDConfigs": list(&discovery), "staticConfigs": list(&targets),
        "relabelings": some(&relabel), "metricRelabelings": some(&relabel),
    }});
    let rule = object(json!({"record": text, "expr": text}), json!(["expr"]));
    let group = object(
        json!({"name": {"type": "string", "minLength": 1}, "interval": duration, "rules": list(&rule)}),
        json!(["name"]),
    );
    let rules = json!({"type": "object", "properties": {"groups": list(&group)}});
    let definition = |kind: &str, plural: &str, spec: Value| {
        let version = if kind == "ScrapeConfig" { "v1alpha1" } else { "v1" };
        let schema = object(json!({"spec": spec}), json!(["spec"]));
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
    };
    vec![
        definition("PodMonitor", "podmonitors", monitor("podMetricsEndpoints")),
        definition("ServiceMonitor", "servicemonitors", monitor("endpoints")),
        definition("ScrapeConfig", "scrapeconfigs", job),
        definition("PrometheusRule", "prometheusrules", rules),
        definition("Prometheus", "prometheuses", server),
    ]
}

async fn install(world: &World) -> Result<()> {
    let file = world.plane.dir().join("prometheus-operator.yaml");
    let definitions: Vec<String> = definitions().iter().map(Value::to_string).collect();
    std::fs::write(&file, definitions.join("\n---\n"))?;
    world.plane.install_crds(&file).await
}

/// Waits until Ready is False for the reason. A kind that comes, and rights that come, are looked for now and then.
async fn is_told(world: &World, reason: &str, words: &[&str]) -> Result<()> {
    eventually(
        PATIENCE,
        &format!("{MESH} is not Ready for {reason}: {words:?}"),
        async || {
            let ready = world.condition(MESH, "Ready").await?;
            let says = |ready: &Condition| {
                ready.status == "False"
                    && ready.reason == reason
                    && words.iter().all(|word| ready.message.contains(word))
            };
            Ok(match ready {
                Some(ready) if says(&ready) => Ok(()),
                other => Err(format!("{other:?}")),
            })
        },
    )
    .await
}

/// The rights of `config/rbac` without the feature `monitors`.
fn without_monitors(role: &Value) -> Value {
    let mut role = role.clone();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        role["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
    }
    if let Some(rules) = role["rules"].as_array_mut() {
        rules.retain(|rule| rule["apiGroups"] != json!(["monitoring.coreos.com"]));
    }
    role
}

#[tokio::test]
async fn monitors_stand_as_rendered_go_with_their_export_and_no_definition_no_right_and_no_reader_are_each_told()
-> Result<()> {
    let world = World::with_operator(10).await?;
    let (mesh, server, monitors) = golden(CASE)?;
    ensure!(monitors.len() == 2, "{CASE}: {monitors:?}");
    world.apply(&mesh.to_string()).await?;
    let words = ["PodMonitor", "install prometheus-operator", "ScrapeConfig"];
    is_told(&world, "PrometheusOperatorNotInstalled", &words).await?;

    let role = world.get(CLUSTER_ROLE).await?;
    world.apply(&without_monitors(&role).to_string()).await?;
    install(&world).await?;
    let words = ["PodMonitors", "ClusterRole of config/rbac", "features.monitors"];
    is_told(&world, "Forbidden", &words).await?;
    ensure!(
        world.find(POD_MONITOR).await?.is_none(),
        "nothing is written without the right"
    );

    world.patch(CLUSTER_ROLE, json!({"rules": role["rules"]})).await?;
    let words = ["No Prometheus selects PodMonitor", "there is none", "object.labels"];
    is_told(&world, "NotSelected", &words).await?;
    stand_as_rendered(&world, &monitors).await?;

    let mut of_others = server.clone();
    of_others["spec"]["podMonitorSelector"] = json!({"matchLabels": {"release": "another"}});
    world.apply(&of_others.to_string()).await?;
    is_told(&world, "NotSelected", &["monitoring/main", "another"]).await?;
    world.apply(&server.to_string()).await?;
    world.ready(MESH).await?;
    // No selector of namespaces is the server's own namespace, and no selector of labels is nothing.
    world
        .patch(SERVER, json!({"spec": {"serviceMonitorSelector": null}}))
        .await?;
    is_told(&world, "NotSelected", &["ServiceMonitor", "nothing"]).await?;
    world.apply(&server.to_string()).await?;
    world.ready(MESH).await?;

    let edit = json!({"spec": {"podMetricsEndpoints": [{"port": "http", "path": "/mine"}]}});
    world.patch(POD_MONITOR, edit).await?;
    stand_as_rendered(&world, &monitors).await?;

    let exports = mesh["spec"]["metrics"]["exports"].as_array().context("no exports")?;
    let proxies: Vec<&Value> = exports.iter().filter(|export| export["name"] == "proxies").collect();
    world
        .patch(MESH, json!({"spec": {"metrics": {"exports": proxies}}}))
        .await?;
    world.gone(SERVICE_MONITOR, PATIENCE).await?;
    world.ready(MESH).await?;
    world.get(POD_MONITOR).await.context("the other export stays")?;

    world.delete_and_wait(MESH).await?;
    ensure!(
        world.find(POD_MONITOR).await?.is_none(),
        "a mesh goes when its monitors are gone"
    );
    Ok(())
}

#[tokio::test]
async fn jobs_and_rules_are_objects_where_their_export_says_so_and_a_rule_that_nobody_selects_is_told() -> Result<()> {
    let world = World::with_operator(10).await?;
    install(&world).await?;
    let (mesh, server, objects) = golden(JOBS)?;
    ensure!(objects.len() == 3, "{JOBS}: {objects:?}");
    world.apply(&server.to_string()).await?;
    world.apply(&mesh.to_string()).await?;
    stand_as_rendered(&world, &objects).await?;
    world.ready(MESH).await?;
    world
        .patch(
            SERVER,
            json!({"spec": {"ruleSelector": {"matchLabels": {"release": "another"}}}}),
        )
        .await?;
    is_told(&world, "NotSelected", &["PrometheusRule", "ruleSelector", "another"]).await?;
    world.apply(&server.to_string()).await?;
    world.ready(MESH).await
}

/// What is live is what the golden case has, and what the API server left of it.
async fn stand_as_rendered(world: &World, monitors: &[Value]) -> Result<()> {
    for wanted in monitors {
        let (kind, name) = (text(&wanted["kind"]), text(&wanted["metadata"]["name"]));
        let obj = Obj(&kind, "monitoring", &name);
        eventually(PATIENCE, &format!("{obj} stands as rendered"), async || {
            let live = world.find(obj).await?.unwrap_or_default();
            let same = live["spec"] == wanted["spec"] && live["metadata"]["labels"] == wanted["metadata"]["labels"];
            Ok(if same { Ok(()) } else { Err(live.to_string()) })
        })
        .await?;
    }
    Ok(())
}
