//! Telemetries of somebody else, admission policies of somebody else, and what comes later than we do.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::*;

const OLD: Obj<'_> = Obj("Telemetry", "shop", "old");
const YOUNG: Obj<'_> = Obj("Telemetry", "shop", "young");

/// A Telemetry without a selector, as somebody writes it by hand.
fn telemetry(name: &str) -> Value {
    json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": name, "namespace": "shop"},
           "spec": {"metrics": [{"providers": [{"name": "prometheus"}]}], "tracing": [{"randomSamplingPercentage": 5}]}})
}

#[tokio::test]
async fn an_older_telemetry_shadows_ours_until_it_is_taken_over_in_place_with_its_age_and_goes_with_the_last_policy()
-> Result<()> {
    let world = World::with_operator(10).await?;
    world.apply(&telemetry("old").to_string()).await?;
    let before = world.get(OLD).await?;
    world.apply_sample("istio-default-access-log").await?;
    let way_out = "kubectl annotate telemetry -n shop old sightline.dev/adopt=true";
    for obj in [ACCESS_LOG, TRACES] {
        world
            .told(obj, "ShadowedBy", &["Telemetry shop/old", "delete it", way_out])
            .await?;
    }
    assert_eq!(world.get(OLD).await?, before, "it is not touched");
    eventually(PATIENCE, "ours stands, for when theirs goes", async || {
        let ours = world.find(SHOP_TELEMETRY).await?;
        Ok(ours.map(drop).ok_or_else(|| "it does not".to_owned()))
    })
    .await?;

    let arguments: Vec<&str> = way_out.split(' ').skip(1).collect();
    world.kubectl(&arguments).await?;
    world.ready(ACCESS_LOG).await?;
    world.ready(TRACES).await?;
    world.gone(SHOP_TELEMETRY, TOLD).await?;
    let adopted = world.get(OLD).await?;
    for field in ["uid", "creationTimestamp"] {
        assert_eq!(adopted["metadata"][field], before["metadata"][field], "{field} is kept");
    }
    ensure!(
        adopted["metadata"].get("ownerReferences").is_none(),
        "an adopted object gets no owner"
    );
    assert_eq!(providers_of(&adopted).len(), 3, "{adopted}");
    ensure!(
        adopted["spec"].get("metrics").is_none(),
        "what was theirs is gone: {adopted}"
    );
    let told = world.events(ACCESS_LOG).await?;
    ensure!(
        told.iter().any(|(reason, _)| reason == "Adopted"),
        "it is told: {told:?}"
    );

    stays_ours(&world, &adopted).await?;
    a_younger_one_is_contested(&world).await?;

    world.delete(ACCESS_LOG).await?;
    eventually(PATIENCE, "what is left holds the traces alone", async || {
        let left = world.get(OLD).await?;
        let done = left["spec"].get("accessLogging").is_none() && left["spec"].get("tracing").is_some();
        Ok(if done { Ok(()) } else { Err(left["spec"].to_string()) })
    })
    .await?;
    world.delete(TRACES).await?;
    world.gone(OLD, PATIENCE).await?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

/// What was taken over is ours for good: without the consent, and whatever is edited.
async fn stays_ours(world: &World, adopted: &Value) -> Result<()> {
    let edits = [
        json!({"metadata": {"annotations": {"sightline.dev/adopt": null}}}),
        json!({"metadata": {"annotations": {"sightline.dev/adopted": null}}}),
        json!({"metadata": {"labels": {"istio.io/rev": "nobody"}}}),
        json!({"spec": {"selector": {"matchLabels": {"app": "theirs"}}}}),
    ];
    for edit in edits {
        world.patch(OLD, edit.clone()).await?;
        eventually(PATIENCE, &format!("ours again after {edit}"), async || {
            let live = world.get(OLD).await?;
            let same = ["uid", "labels"]
                .iter()
                .all(|field| live["metadata"][field] == adopted["metadata"][field]);
            let mark = "sightline.dev/adopted";
            let marked = live["metadata"]["annotations"][mark] == adopted["metadata"]["annotations"][mark];
            Ok(if same && marked && live["spec"] == adopted["spec"] {
                Ok(())
            } else {
                Err(live.to_string())
            })
        })
        .await?;
    }
    ensure!(
        world.find(SHOP_TELEMETRY).await?.is_none(),
        "there is one of ours, not two"
    );
    world.ready(ACCESS_LOG).await
}

/// Within one second the name decides: `young` comes behind `old`.
async fn a_younger_one_is_contested(world: &World) -> Result<()> {
    world.apply(&telemetry("young").to_string()).await?;
    let message = world.expect(TRACES, TOLD, "Contested", "True", "Contested").await?;
    ensure!(message.contains("Istio ignores Telemetry shop/young"), "{message}");
    world.ready(TRACES).await?;
    world.delete(YOUNG).await?;
    eventually(TOLD, "nothing is contested", async || {
        Ok(match world.condition(TRACES, "Contested").await? {
            None => Ok(()),
            Some(condition) => Err(condition.message),
        })
    })
    .await
}

/// What Istio's own policy for its stable channel denies of what we write: WasmPlugins, and fields of a Telemetry. Istio's
/// looks at labelled objects only; the demo's revision is `default`, whose objects carry no label.
const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: stable-channel.example}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [telemetry.istio.io, extensions.istio.io], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: ["*"]}
  validations:
  - expression: "object.kind != 'WasmPlugin'"
  - expression: "object.kind != 'Telemetry' || !has(object.spec.tracing) || object.spec.tracing.all(t, !has(t.useRequestIdForTraceSampling))"
  - expression: "object.kind != 'Telemetry' || !has(object.spec.metrics) || object.spec.metrics.all(m, !has(m.reportingInterval))"
  - expression: "object.kind != 'Telemetry' || !has(object.spec.accessLogging) || object.spec.accessLogging.all(l, !has(l.filter))"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: stable-channel.example}
spec: {policyName: stable-channel.example, validationActions: [Deny]}
"#;

#[tokio::test]
async fn what_an_admission_policy_denies_is_told_once_takes_nothing_away_and_is_written_when_the_policy_goes()
-> Result<()> {
    let world = World::with_operator(10).await?;
    world.apply_sample("istio-default-access-log").await?;
    world.ready(ACCESS_LOG).await?;
    world.ready(TRACES).await?;
    let live = world.get(SHOP_TELEMETRY).await?;
    world.apply(POLICY).await?;
    let filtered = json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": "probe", "namespace": "shop"},
        "spec": {"accessLogging": [{"filter": {"expression": "true"}}]}});
    world.denied("stable-channel.example", &filtered).await?;

    let filter = json!({"spec": {"filter": {"type": "Match", "match": {"minStatus": 500}}}});
    world.patch(ACCESS_LOG, filter).await?;
    let words = [
        "ValidatingAdmissionPolicy stable-channel.example refuses Telemetry shop/sightline",
        "the filters of TrafficLog shop/access-log",
        "without spec.filter",
    ];
    world.told(ACCESS_LOG, "RejectedByPolicy", &words).await?;
    world.told(TRACES, "RejectedByPolicy", &words).await?;
    let (since, told) = (Timestamp::now(), world.get(ACCESS_LOG).await?);
    always(
        Duration::from_secs(4),
        "what is told, and what is live, stays",
        async || {
            let (now, spec) = (
                world.get(ACCESS_LOG).await?,
                world.get(SHOP_TELEMETRY).await?["spec"].clone(),
            );
            Ok(if now["status"] == told["status"] && spec == live["spec"] {
                Ok(())
            } else {
                Err(format!("{} {spec}", now["status"]))
            })
        },
    )
    .await?;
    let events = world.events(ACCESS_LOG).await?;
    assert_eq!(
        events.iter().filter(|(reason, _)| reason == "RejectedByPolicy").count(),
        1,
        "{events:?}"
    );
    let attempts = world.writes_since(since).await?;
    let attempts: Vec<String> = attempts
        .iter()
        .filter(|e| e.resource == "telemetries")
        .map(write_text)
        .collect();
    ensure!(attempts.len() <= 5, "tried in ever longer intervals: {attempts:?}");

    world.apply_sample("solarmesh-interface-traffic").await?;
    let words = [
        "refuses WasmPlugin orders/sightline-solarmesh",
        "everything else is written",
    ];
    world.told(SOLARMESH, "RejectedByPolicy", &words).await?;
    ensure!(
        !world.application_yaml().await?.is_empty(),
        "the ConfigMap of the same mesh is written"
    );

    // What we may take over but not write keeps all that it has, and ours stays beside it.
    let mut theirs = telemetry("young");
    theirs["metadata"]["annotations"] = json!({"sightline.dev/adopt": "true"});
    world.apply(&theirs.to_string()).await?;
    eventually(PATIENCE, "that it is refused is told", async || {
        Ok(match world.condition(ACCESS_LOG, "Ready").await? {
            Some(c) if c.reason == "RejectedByPolicy" && c.message.contains("refuses Telemetry shop/young") => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    assert_eq!(world.get(YOUNG).await?["spec"], theirs["spec"], "it is whole");
    assert_eq!(
        world.get(SHOP_TELEMETRY).await?["spec"],
        live["spec"],
        "ours stays until it is replaced"
    );

    let name = "stable-channel.example";
    world
        .kubectl(&["delete", "validatingadmissionpolicybinding", name])
        .await?;
    world.kubectl(&["delete", "validatingadmissionpolicy", name]).await?;
    world.ready(ACCESS_LOG).await?;
    world.ready(TRACES).await?;
    world.ready(SOLARMESH).await?;
    world.gone(SHOP_TELEMETRY, TOLD).await?;
    let adopted = world.get(YOUNG).await?;
    ensure!(adopted["spec"]["accessLogging"][0].get("filter").is_some(), "{adopted}");
    Ok(())
}

#[tokio::test]
async fn istios_kinds_and_a_service_that_come_later_are_seen_and_a_service_made_again_touches_the_telemetry()
-> Result<()> {
    let mut world = World::bare().await?;
    for path in ["config/demo", "config/rbac"] {
        world.plane.apply_file(&root().join(path)).await?;
    }
    let wait = [
        "-n",
        "istio-system",
        "wait",
        "--for=condition=Available",
        "--timeout=90s",
        "deployment",
        "--all",
    ];
    world.kubectl(&wait).await?;
    let tempo = world.get(TEMPO).await?;
    world.delete(TEMPO).await?;
    world.start_operator().await?;
    world.apply_sample("istio-default-access-log").await?;
    world
        .told(ACCESS_LOG, "IstioNotInstalled", &["install Istio's CRDs"])
        .await?;
    world.plane.install_crds(&world.plane.istio_crds()).await?;
    world.ready(ACCESS_LOG).await?;

    world
        .told(TRACES, "ServiceNotFound", &["Service monitoring/tempo", "create it"])
        .await?;
    world.recreate(&tempo).await?;
    world.ready(TRACES).await?;
    let annotation = async || -> Result<String> {
        let live = world.get(SHOP_TELEMETRY).await?;
        Ok(text(
            &live["metadata"]["annotations"]["sightline.dev/services.istio.io"],
        ))
    };
    let first = eventually(TOLD, "the Telemetry follows the Service", async || {
        let found = annotation().await?;
        Ok(if found.is_empty() { Err(found) } else { Ok(found) })
    })
    .await?;

    let before = world.get(SHOP_TELEMETRY).await?;
    world.delete_and_wait(TEMPO).await?;
    world
        .told(TRACES, "ServiceNotFound", &["Service monitoring/tempo"])
        .await?;
    assert_eq!(annotation().await?, first, "nothing is touched while it is missing");
    world.recreate(&tempo).await?;
    world.ready(TRACES).await?;
    eventually(TOLD, "the Telemetry is touched for the new Service", async || {
        let found = annotation().await?;
        Ok(if found == first { Err(found) } else { Ok(()) })
    })
    .await?;
    let now = world.get(SHOP_TELEMETRY).await?;
    assert_eq!(
        (&now["metadata"]["uid"], &now["spec"]),
        (&before["metadata"]["uid"], &before["spec"])
    );
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}
