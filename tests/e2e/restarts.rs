//! Restarts: as many as are needed, as slowly as was asked for, and never in somebody else's way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::{Value, json};

use crate::governor::Instants;
use crate::world::*;

const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "agents");
const ONE: Obj<'_> = Obj("Deployment", "service-mesh", "one");
const TWO: Obj<'_> = Obj("Deployment", "service-mesh", "two");

#[tokio::test]
async fn agents_restart_one_at_a_time_once_for_many_changes_not_while_paused_nor_while_somebody_else_rolls_them()
-> Result<()> {
    let world = World::with_operator(10).await?;
    for obj in [ONE, TWO] {
        world.apply(&deployment(obj).to_string()).await?;
    }
    world
        .kubectl(&[
            "-n",
            "service-mesh",
            "wait",
            "--for=condition=Available",
            "--timeout=60s",
            "deployment",
            "one",
            "two",
        ])
        .await?;
    world.apply(&mesh().to_string()).await?;
    // Their pods are younger than the Secret: they are in sync as they are.
    world.ready(MESH).await?;
    assert_eq!((world.revisions(ONE).await?, world.revisions(TWO).await?), (1, 1));
    let instants = Instants::record(&world, 1);
    world.set_password("first").await?;
    one_at_a_time(&world, 2).await?;
    paced(&world).await?;

    // Ten changes in a row are one restart of each.
    for round in 0..10 {
        world.set_password(&format!("quick-{round}")).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(world.revisions(ONE).await?, 2, "it is quiet first");
    one_at_a_time(&world, 3).await?;
    paced(&world).await?;

    paused(&world).await?;
    rolled_by_somebody_else(&world).await?;
    never_ready_again(&world).await?;
    instants.held()?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

fn deployment(obj: Obj<'_>) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": obj.2, "namespace": obj.1}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": obj.2}},
        // Defaults left out on purpose: what the server fills in must not look like somebody else's change.
        "template": {"metadata": {"labels": {"app": obj.2}, "annotations": {"test.sightline.dev/ready-after": "1s"}},
            "spec": {"containers": [{"name": "a", "image": "registry.example/a:1", "ports": [{"containerPort": 80}],
                "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}}}})
}

fn mesh() -> Value {
    let agent = |obj: Obj<'_>| {
        json!({"name": obj.2, "workload": {"kind": "Deployment", "namespace": obj.1, "name": obj.2},
               "reads": [{"type": "Secret", "secret": {"name": "es", "keys": ["password"]}}]})
    };
    json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": MESH.2}, "spec": {
        "mesh": {"type": "None"},
        "namespaces": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["service-mesh"]}]},
        "agents": [agent(ONE), agent(TWO)],
        "rollout": {"maxConcurrent": 1, "minInterval": "3s", "quietPeriod": "2s"}}})
}

/// Waits until both agents have so many templates and are in sync; never anything but the states of our own restart.
async fn one_at_a_time(world: &World, revisions: usize) -> Result<()> {
    let mut states = BTreeSet::new();
    eventually(
        PATIENCE,
        &format!("both agents have {revisions} templates and are in sync"),
        async || {
            let (one, two, mesh) = (world.get(ONE).await?, world.get(TWO).await?, world.get(MESH).await?);
            for agent in mesh
                .pointer("/status/agents")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                states.insert(text(&agent["state"]));
            }
            let counts = (world.revisions(ONE).await?, world.revisions(TWO).await?);
            let in_sync = mesh.pointer("/status/agentsInSync") == Some(&json!("2/2"));
            Ok(
                if counts == (revisions, revisions) && in_sync && is_rolled_out(&one) && is_rolled_out(&two) {
                    Ok(())
                } else {
                    Err(format!("{counts:?} {}", mesh["status"]))
                },
            )
        },
    )
    .await?;
    let allowed = [
        "InSync",
        "RollingOut",
        "WaitingForQuiet",
        "WaitingForTurn",
        "FactsPending",
        "Paused",
    ];
    ensure!(
        states.iter().all(|s| allowed.contains(&s.as_str())),
        "a restart of ours shows as {states:?}"
    );
    ensure!(
        states.contains("RollingOut") && states.contains("WaitingForTurn"),
        "the wait is told: {states:?}"
    );
    world.ready(MESH).await
}

/// The two last restarts began at least `minInterval` apart.
async fn paced(world: &World) -> Result<()> {
    let at = async |obj| -> Result<Timestamp> {
        Ok(text(&world.get(obj).await?.pointer(RESTARTED_AT).cloned().unwrap_or_default()).parse()?)
    };
    let apart = at(ONE).await?.duration_since(at(TWO).await?).abs();
    ensure!(apart.as_millis() >= 3000, "only {apart} apart");
    Ok(())
}

const RESTARTED_AT: &str = "/spec/template/metadata/annotations/sightline.dev~1restarted-at";

async fn paused(world: &World) -> Result<()> {
    world
        .patch(MESH, json!({"spec": {"rollout": {"paused": true}}}))
        .await?;
    world.ready(MESH).await?;
    world.set_password("while-paused").await?;
    world.told(MESH, "Paused", &["rollout.paused"]).await?;
    always(Duration::from_secs(5), "nothing restarts while paused", async || {
        let counts = (world.revisions(ONE).await?, world.revisions(TWO).await?);
        Ok(if counts == (3, 3) {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        })
    })
    .await?;
    world
        .patch(MESH, json!({"spec": {"rollout": {"paused": false}}}))
        .await?;
    one_at_a_time(world, 4).await
}

/// A slow rollout of the owner: ours waits for its end, and does not take its pods away.
async fn rolled_by_somebody_else(world: &World) -> Result<()> {
    let rolled_out = Completions::record(world);
    let slow = json!({"spec": {"template": {"metadata": {"annotations": {"test.sightline.dev/ready-after": "5s", "theirs": "1"}}}}});
    world.patch(ONE, slow).await?;
    world.set_password("while-they-roll").await?;
    let message = world.expect(MESH, TOLD, "AgentsInSync", "False", "Blocked").await?;
    ensure!(
        message.contains("service-mesh/one") && message.contains("BeingRolledByOther"),
        "{message}"
    );
    world.restarted_to(ONE, 6).await?;
    rolled_out.holds("5")?;
    world.restarted_to(TWO, 5).await?;
    world.ready(MESH).await?;
    // Their change to the template, with nothing of ours to do, restarts nothing more.
    world
        .patch(
            TWO,
            json!({"spec": {"template": {"metadata": {"annotations": {"theirs": "2"}}}}}),
        )
        .await?;
    world.restarted_to(TWO, 6).await?;
    world.ready(MESH).await?;
    assert_eq!((world.revisions(ONE).await?, world.revisions(TWO).await?), (6, 6));
    Ok(())
}

/// Revisions of Deployment `one` that were rolled out at some moment.
struct Completions(Arc<Mutex<BTreeSet<String>>>);

impl Completions {
    fn record(world: &World) -> Self {
        let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (api, into) = (world.api(ONE), seen.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, Config::default()));
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(object)) = event else { continue };
                let object = serde_json::to_value(object).unwrap();
                if object["metadata"]["name"] == ONE.2 && is_rolled_out(&object) {
                    into.lock().unwrap().insert(text(
                        &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
                    ));
                }
            }
        });
        Self(seen)
    }

    fn holds(&self, revision: &str) -> Result<()> {
        let seen = self.0.lock().unwrap();
        ensure!(
            seen.contains(revision),
            "somebody else's rollout {revision} was cut short; rolled out were {seen:?}"
        );
        Ok(())
    }
}

/// A restart that never gets ready is ours until it does: told, not repeated, and nobody else is taken down.
async fn never_ready_again(world: &World) -> Result<()> {
    let three = Obj("Deployment", "service-mesh", "a-three");
    let mut broken = deployment(three);
    broken["spec"]["template"]["metadata"]["annotations"] =
        json!({"test.sightline.dev/outcome": "never-after-restart"});
    world.apply(&broken.to_string()).await?;
    world
        .kubectl(&[
            "-n",
            "service-mesh",
            "wait",
            "--for=condition=Available",
            "--timeout=60s",
            "deployment",
            three.2,
        ])
        .await?;
    let mut agents = mesh()["spec"]["agents"].as_array().cloned().unwrap_or_default();
    agents.push(
        json!({"name": three.2, "workload": {"kind": "Deployment", "namespace": three.1, "name": three.2},
        "reads": [{"type": "Secret", "secret": {"name": "es", "keys": ["password"]}}]}),
    );
    world.patch(MESH, json!({"spec": {"agents": agents}})).await?;
    world.ready(MESH).await?;
    world.set_password("for-three").await?;
    let message = world
        .expect(MESH, PATIENCE, "AgentsInSync", "False", "RollingOut")
        .await?;
    ensure!(message.contains("service-mesh/a-three"), "{message}");
    eventually(PATIENCE, "its controller has seen the restart", async || {
        let count = world.revisions(three).await?;
        Ok(if count == 2 { Ok(()) } else { Err(count.to_string()) })
    })
    .await?;
    always(
        Duration::from_secs(8),
        "it is rolling out, and was restarted once",
        async || {
            let (count, mesh) = (world.revisions(three).await?, world.get(MESH).await?);
            let state = condition_of(&mesh, "AgentsInSync")
                .map(|c| c.reason)
                .unwrap_or_default();
            Ok(if count == 2 && state == "RollingOut" {
                Ok(())
            } else {
                Err(format!("{count} {}", mesh["status"]))
            })
        },
    )
    .await?;
    assert_eq!(
        (world.revisions(ONE).await?, world.revisions(TWO).await?),
        (6, 6),
        "nobody else is taken down"
    );
    Ok(())
}

#[tokio::test]
async fn environment_comes_and_goes_in_one_rollout_each_only_where_the_namespace_allows_and_beside_the_owners_own()
-> Result<()> {
    let world = World::with_operator(10).await?;
    let namespace = Obj("Namespace", "", "interlink");
    world
        .patch(
            namespace,
            json!({"metadata": {"labels": {"sightline.dev/inject": null}}}),
        )
        .await?;
    let original = world.get(VIRTUAL_NODE).await?;
    world.apply_sample("interlink-tracing").await?;
    world
        .told(
            VIRTUAL_KUBELET,
            "InjectNotEnabled",
            &["Namespace interlink", "label it sightline.dev/inject=enabled"],
        )
        .await?;
    assert_eq!(
        world.revisions(VIRTUAL_NODE).await?,
        1,
        "nothing without the namespace's consent"
    );

    world
        .patch(
            namespace,
            json!({"metadata": {"labels": {"sightline.dev/inject": "enabled"}}}),
        )
        .await?;
    world.ready(VIRTUAL_KUBELET).await?;
    world.restarted_to(VIRTUAL_NODE, 2).await?;
    assert_eq!(
        ours(&world).await?,
        ["ENABLE_TRACING", "TELEMETRY_ENDPOINT", "TELEMETRY_UNIQUE_ID"]
    );

    // Somebody takes one out: put back, by one rollout.
    let env = world.get(VIRTUAL_NODE).await?;
    let mut containers = env
        .pointer("/spec/template/spec/containers")
        .cloned()
        .unwrap_or_default();
    containers[2]["env"]
        .as_array_mut()
        .into_iter()
        .for_each(|env| env.retain(|v| v["name"] != "TELEMETRY_ENDPOINT"));
    world
        .patch(
            VIRTUAL_NODE,
            json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        )
        .await?;
    eventually(PATIENCE, "what was taken out is back", async || {
        let names = ours(&world).await?;
        Ok(if names.len() == 3 {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        })
    })
    .await?;
    world.ready(VIRTUAL_KUBELET).await?;

    // Without the policy all of it goes, in one rollout; the owner's own variables stay.
    let before = world.revisions(VIRTUAL_NODE).await?;
    world.delete(VIRTUAL_KUBELET).await?;
    world.restarted_to(VIRTUAL_NODE, before + 1).await?;
    let clean = world.get(VIRTUAL_NODE).await?;
    assert_eq!(
        clean.pointer("/spec/template/spec"),
        original.pointer("/spec/template/spec"),
        "as before the policy"
    );
    world.quiet_for(Duration::from_secs(4)).await?;
    assert_eq!(world.revisions(VIRTUAL_NODE).await?, before + 1, "one rollout");

    // The owner has a variable of that name: it is left alone, and the policy says so.
    world
        .kubectl(&[
            "-n",
            "interlink",
            "set",
            "env",
            "deployment/virtual-node-node",
            "-c",
            "vk",
            "TELEMETRY_ENDPOINT=theirs:4317",
        ])
        .await?;
    world.apply_sample("interlink-tracing").await?;
    world
        .told(
            VIRTUAL_KUBELET,
            "EnvNotOurs",
            &["virtual-node-node", "TELEMETRY_ENDPOINT"],
        )
        .await?;
    let vk = world
        .get(VIRTUAL_NODE)
        .await?
        .pointer("/spec/template/spec/containers/2/env")
        .cloned()
        .unwrap_or_default();
    ensure!(vk.to_string().contains("theirs:4317"), "the owner's value stays: {vk}");
    ensure!(
        !vk.to_string().contains("ENABLE_TRACING"),
        "endpoint and switch go together or not at all: {vk}"
    );
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

/// Names of variables in container `vk` that interLink reads for tracing.
async fn ours(world: &World) -> Result<Vec<String>> {
    let live = world.get(VIRTUAL_NODE).await?;
    let env = live
        .pointer("/spec/template/spec/containers/2/env")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let names = env.iter().map(|v| text(&v["name"]));
    Ok(names
        .filter(|n| n.starts_with("TELEMETRY_") || n == "ENABLE_TRACING")
        .collect())
}
