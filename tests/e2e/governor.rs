//! The governor on a real cluster: the budget at every instant, a rollout that fails, and workloads of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::{Value, json};

use crate::world::*;

const NAMESPACE: &str = "service-mesh";
const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "governed");

/// A workload of one container, whose pods bear the annotations that kwok heeds.
pub fn workload(Obj(kind, namespace, name): Obj<'_>, annotations: &Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [{"name": "a", "image": "registry.example/a:1"}]}}}});
    match kind {
        // With one pod and no surge it is down while it restarts.
        "Deployment" => object["spec"]["strategy"] = json!({"type": "Recreate"}),
        "StatefulSet" => object["spec"]["serviceName"] = json!(name),
        _ => {}
    }
    object
}

fn mesh(agents: &[(&str, String)], rollout: &Value) -> Value {
    let agents: Vec<Value> = agents
        .iter()
        .map(|(kind, name)| {
            json!({"name": name, "workload": {"kind": kind, "namespace": NAMESPACE, "name": name},
                "reads": [{"type": "Secret", "secret": {"name": "es", "keys": ["password"]}}]})
        })
        .collect();
    json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": MESH.2}, "spec": {
        "mesh": {"type": "None"},
        "namespaces": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [NAMESPACE]}]},
        "agents": agents, "rollout": rollout}})
}

/// Every instant of the Deployments in the namespace: a watch brings the changes of a kind in their order.
#[derive(Clone, Default)]
pub struct Instants(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// The agents whose rollout of our write is not complete, now.
    in_flight: BTreeSet<String>,
    /// Restarts that were complete at some instant: agent and time.
    through: BTreeSet<(String, String)>,
    most: usize,
    too_many: Option<String>,
    /// Times of restart that each agent has had.
    restarts: BTreeMap<String, BTreeSet<String>>,
}

impl Instants {
    pub fn record(world: &World, budget: usize) -> Self {
        let instants = Self::default();
        let (api, seen) = (world.api(Obj("Deployment", NAMESPACE, "")), instants.0.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, Config::default()));
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                    let object = serde_json::to_value(object).unwrap();
                    seen.lock().unwrap().note(&object, budget);
                }
            }
        });
        instants
    }

    fn restarts(&self) -> usize {
        self.0.lock().unwrap().restarts.values().map(BTreeSet::len).sum()
    }

    /// Never more were down by our write than the budget allows.
    pub fn held(&self) -> Result<()> {
        let seen = self.0.lock().unwrap();
        ensure!(seen.most > 0, "no restart was seen at all");
        ensure!(seen.too_many.is_none(), "down at one instant: {:?}", seen.too_many);
        Ok(())
    }
}

impl Seen {
    fn note(&mut self, object: &Value, budget: usize) {
        let name = text(&object["metadata"]["name"]);
        let at = "/spec/template/metadata/annotations/sightline.dev~1restarted-at";
        let Some(at) = object.pointer(at).map(text) else {
            return;
        };
        self.restarts.entry(name.clone()).or_default().insert(at.clone());
        // Complete once is complete: a note on the workload itself is another generation, and no other pods.
        if is_rolled_out(object) {
            self.through.insert((name.clone(), at.clone()));
        }
        if self.through.contains(&(name.clone(), at)) {
            self.in_flight.remove(&name);
        } else {
            self.in_flight.insert(name);
        }
        self.most = self.most.max(self.in_flight.len());
        if self.in_flight.len() > budget && self.too_many.is_none() {
            self.too_many = Some(format!("{:?}", self.in_flight));
        }
    }
}

#[tokio::test]
async fn ten_agents_with_a_budget_of_two_are_never_three_down_though_the_operator_dies_at_random_writes() -> Result<()>
{
    let mut world = World::with_operator(10).await?;
    let names: Vec<String> = (0..10).map(|i| format!("agent-{i}")).collect();
    for name in &names {
        let slow = json!({"test.sightline.dev/ready-after": "700ms"});
        world
            .apply(&workload(Obj("Deployment", NAMESPACE, name), &slow).to_string())
            .await?;
    }
    all_available(&world).await?;
    let agents: Vec<(&str, String)> = names.iter().map(|name| ("Deployment", name.clone())).collect();
    let rollout = json!({"maxConcurrent": 2, "minInterval": "0s", "quietPeriod": "1s"});
    world.apply(&mesh(&agents, &rollout).to_string()).await?;
    world.ready(MESH).await?;
    let instants = Instants::record(&world, 2);
    assert_eq!(instants.restarts(), 0, "pods younger than the Secret are in sync");

    world.set_password("second").await?;
    all_restarted(&world, &instants, 10).await?;

    // The same with an operator that dies behind random writes, and a change while it is away.
    world.kill_operator().await?;
    world.set_password("third").await?;
    let mut died_behind = Vec::new();
    while instants.restarts() < 20 {
        world.start_operator().await?;
        let until = (instants.restarts() + rand::random_range(1..=4)).min(20);
        died_behind.push(until);
        eventually(PATIENCE, &format!("{until} restarts"), async || {
            let count = instants.restarts();
            Ok(if count >= until {
                Ok(())
            } else {
                Err(format!("{count}"))
            })
        })
        .await
        .with_context(|| world.log())?;
        world.kill_operator().await?;
    }
    world.start_operator().await?;
    all_restarted(&world, &instants, 20)
        .await
        .with_context(|| format!("it died behind {died_behind:?}"))?;

    // A process that finds all in order writes nothing.
    world.kill_operator().await?;
    world.start_operator().await?;
    world.quiet_for(std::time::Duration::from_secs(3)).await?;
    assert_eq!(instants.restarts(), 20);
    Ok(())
}

async fn all_available(world: &World) -> Result<()> {
    let wait = [
        "wait",
        "--for=condition=Available",
        "--timeout=60s",
        "deployment",
        "--all",
    ];
    world.kubectl(&[&["-n", NAMESPACE], &wait[..]].concat()).await.map(drop)
}

async fn all_restarted(world: &World, instants: &Instants, total: usize) -> Result<()> {
    eventually(PATIENCE, &format!("{total} restarts, and all in sync"), async || {
        let mesh = world.get(MESH).await?;
        let (count, in_sync) = (instants.restarts(), text(&mesh["status"]["agentsInSync"]));
        let is_calm = instants.0.lock().unwrap().in_flight.is_empty();
        Ok(if count >= total && in_sync == "10/10" && is_calm {
            Ok(())
        } else {
            Err(format!("{count} restarts, {in_sync} in sync"))
        })
    })
    .await?;
    instants.held()?;
    let seen = instants.0.lock().unwrap();
    assert_eq!(seen.most, 2, "the budget is used");
    let twice: Vec<_> = seen.restarts.values().map(BTreeSet::len).collect();
    assert_eq!(twice, vec![total / 10; 10], "each restarted once for each change");
    Ok(())
}

#[tokio::test]
async fn a_rollout_that_fails_halts_the_others_until_the_command_of_status_is_run() -> Result<()> {
    let world = World::with_operator(10).await?;
    let broken = json!({"test.sightline.dev/outcome": "never-after-restart"});
    let names = ["a-broken", "b", "c"];
    for name in names {
        let annotations = if name == "a-broken" { &broken } else { &json!({}) };
        world
            .apply(&workload(Obj("Deployment", NAMESPACE, name), annotations).to_string())
            .await?;
    }
    all_available(&world).await?;
    let agents = names.map(|name| ("Deployment", name.to_owned()));
    let rollout = json!({"maxConcurrent": 1, "minInterval": "0s", "quietPeriod": "1s", "progressDeadline": "5s"});
    world.apply(&mesh(&agents, &rollout).to_string()).await?;
    world.ready(MESH).await?;
    let instants = Instants::record(&world, 1);
    world.set_password("second").await?;

    let message = world
        .expect(MESH, PATIENCE, "AgentsInSync", "False", "RolloutFailed")
        .await?;
    ensure!(message.contains("Deployment service-mesh/a-broken"), "{message}");
    let states = |mesh: &Value| -> Vec<String> {
        let agents = mesh["status"]["agents"].as_array().cloned().unwrap_or_default();
        agents.iter().map(|agent| text(&agent["state"])).collect()
    };
    assert_eq!(states(&world.get(MESH).await?), ["RolloutFailed", "Halted", "Halted"]);
    let down = world.get(Obj("Deployment", NAMESPACE, names[0])).await?;
    assert_eq!(
        down["status"]["availableReplicas"].as_i64().unwrap_or(0),
        0,
        "it is down"
    );
    world.quiet_for(std::time::Duration::from_secs(3)).await?;
    assert_eq!(instants.restarts(), 1, "none behind it is touched");

    // The very command that status gives.
    let command = message.split('`').nth(1).context("no command in the message")?;
    let words: Vec<String> = command.split(' ').map(|word| word.replace('"', "")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(words[0], "kubectl");
    world.kubectl(&words[1..]).await?;
    for name in &names[1..] {
        world.restarted_to(Obj("Deployment", NAMESPACE, name), 2).await?;
    }
    world
        .expect(MESH, PATIENCE, "AgentsInSync", "False", "RolloutSkipped")
        .await?;
    // `RolloutSkipped` is told while the last of them still rolls out.
    eventually(PATIENCE, "the others are in sync", async || {
        let seen = states(&world.get(MESH).await?);
        let in_sync = seen == ["RolloutSkipped", "InSync", "InSync"];
        Ok(if in_sync { Ok(()) } else { Err(format!("{seen:?}")) })
    })
    .await?;

    // Its owner mends it: in sync, without another restart of ours.
    let mended = json!({"spec": {"template": {"metadata": {"annotations": {"test.sightline.dev/outcome": null}}}}});
    world.patch(Obj("Deployment", NAMESPACE, names[0]), mended).await?;
    world.ready(MESH).await?;
    assert_eq!(instants.restarts(), 3);
    Ok(())
}

#[tokio::test]
async fn daemon_sets_and_stateful_sets_restart_once_for_a_change_also_for_one_while_no_operator_ran() -> Result<()> {
    let mut world = World::with_operator(10).await?;
    let agents = [("DaemonSet", "nodes".to_owned()), ("StatefulSet", "ordered".to_owned())];
    for (kind, name) in &agents {
        world
            .apply(&workload(Obj(kind, NAMESPACE, name), &json!({})).to_string())
            .await?;
        let target = format!("{}/{name}", kind.to_lowercase());
        world
            .kubectl(&["-n", NAMESPACE, "rollout", "status", &target, "--timeout=60s"])
            .await?;
    }
    let rollout = json!({"minInterval": "0s", "quietPeriod": "1s"});
    world.apply(&mesh(&agents, &rollout).to_string()).await?;
    world.ready(MESH).await?;
    let generations = async |world: &World| -> Result<Vec<i64>> {
        let mut all = Vec::new();
        for (kind, name) in &agents {
            let revisions = world.list("ControllerRevision", NAMESPACE).await?;
            let uid = world.get(Obj(kind, NAMESPACE, name)).await?["metadata"]["uid"].clone();
            let own = revisions
                .iter()
                .filter(|r| r["metadata"]["ownerReferences"][0]["uid"] == uid);
            all.push(i64::try_from(own.count())?);
        }
        Ok(all)
    };
    assert_eq!(
        generations(&world).await?,
        [1, 1],
        "pods younger than the Secret are in sync"
    );
    let restarted_to = async |world: &World, count: i64| -> Result<()> {
        eventually(PATIENCE, &format!("both have {count} templates"), async || {
            let seen = generations(world).await?;
            Ok(if seen == [count, count] {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            })
        })
        .await?;
        world.ready(MESH).await
    };
    world.set_password("second").await?;
    restarted_to(&world, 2).await?;
    world.stop_operator().await?;
    world.set_password("third").await?;
    world.start_operator().await?;
    restarted_to(&world, 3).await?;
    world.stop_operator().await?;
    world.start_operator().await?;
    world.quiet_for(std::time::Duration::from_secs(3)).await?;
    assert_eq!(generations(&world).await?, [3, 3], "nothing changed while it was away");
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

/// A workload that cannot restart now.
struct Held {
    obj: Obj<'static>,
    /// What status says of it.
    reason: &'static str,
    /// What its message says, where it is the only one that is not in sync.
    word: &'static str,
    /// What makes it so.
    hold: Value,
    /// What ends it.
    release: Value,
}

/// PodDisruptionBudgets limit evictions and no rollout. Where one is at its limit since pods are down, the pods that are
/// down hold the restart.
#[tokio::test]
async fn what_cannot_restart_is_left_alone_with_its_reason_costs_no_budget_and_is_restarted_once_it_can() -> Result<()>
{
    let world = World::with_operator(10).await?;
    let held = [
        Held {
            obj: Obj("Deployment", NAMESPACE, "a-paused"),
            reason: "Blocked",
            word: "(Paused)",
            hold: json!({"spec": {"paused": true}}),
            release: json!({"spec": {"paused": false}}),
        },
        Held {
            obj: Obj("Deployment", NAMESPACE, "b-owned"),
            reason: "ManagedByController",
            word: "another controller made it",
            hold: json!({"metadata": {"ownerReferences": [owner(&world).await?]}}),
            release: json!({"metadata": {"ownerReferences": null}}),
        },
        Held {
            obj: Obj("DaemonSet", NAMESPACE, "on-delete"),
            reason: "Blocked",
            word: "(OnDelete)",
            hold: json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
            release: json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}}),
        },
        Held {
            obj: Obj("StatefulSet", NAMESPACE, "y-partitioned"),
            reason: "Blocked",
            word: "(Partitioned)",
            hold: json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}),
            release: json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}),
        },
    ];
    let crashing = Obj("Deployment", NAMESPACE, "c-crashing");
    let leaving = Obj("StatefulSet", NAMESPACE, "z-leaving");
    let healthy = Obj("Deployment", NAMESPACE, "d-healthy");
    let all: Vec<Obj<'_>> = held.iter().map(|h| h.obj).chain([crashing, leaving, healthy]).collect();
    for Obj(kind, _, name) in &all {
        world
            .apply(&workload(Obj(kind, NAMESPACE, name), &json!({})).to_string())
            .await?;
    }
    for Obj(kind, _, name) in &all {
        let target = format!("{}/{name}", kind.to_lowercase());
        let wait = ["-n", NAMESPACE, "rollout", "status", &target, "--timeout=60s"];
        world.kubectl(&wait).await?;
    }
    let agents: Vec<(&str, String)> = all.iter().map(|obj| (obj.0, obj.2.to_owned())).collect();
    let rollout = json!({"maxConcurrent": 1, "minInterval": "0s", "quietPeriod": "1s"});
    world.apply(&mesh(&agents, &rollout).to_string()).await?;
    world.ready(MESH).await?;

    for Held { obj, hold, .. } in &held {
        world.patch(*obj, hold.clone()).await?;
    }
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": crashing.2, "namespace": NAMESPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": crashing.2}}}});
    world.apply(&budget.to_string()).await?;
    set_pods_ready(&world, crashing, false).await?;
    let stays = json!({"metadata": {"finalizers": ["test.sightline.dev/stays"]}});
    world.patch(leaving, stays).await?;
    world.delete(leaving).await?;

    world.set_password("second").await?;
    world.restarted_to(healthy, 2).await?;
    let reasons: BTreeMap<&str, &str> = held
        .iter()
        .map(|held| (held.obj.2, held.reason))
        .chain([(crashing.2, "Blocked"), (leaving.2, "Blocked"), (healthy.2, "InSync")])
        .collect();
    eventually(PATIENCE, "each says its reason", async || {
        let mesh = world.get(MESH).await?;
        let agents = mesh["status"]["agents"].as_array().cloned().unwrap_or_default();
        let is_as_told = |agent: &Value| reasons.get(&*text(&agent["name"])) == Some(&&*text(&agent["state"]));
        Ok(if agents.len() == all.len() && agents.iter().all(is_as_told) {
            Ok(())
        } else {
            Err(format!("{agents:?}"))
        })
    })
    .await?;
    world.quiet_for(std::time::Duration::from_secs(3)).await?;
    for obj in &all {
        let template = world.get(*obj).await?["spec"]["template"]["metadata"].clone();
        let restarted = template["annotations"].get("sightline.dev/restarted-at").is_some();
        assert_eq!(restarted, *obj == healthy, "{obj}");
    }

    // One by one they are let go, and the first that is left speaks for all.
    let (before, after) = held.split_at(2);
    for held in before {
        let_go(&world, held).await?;
    }
    let words = ["(NotAvailable)", crashing.2, "pods of it are not available"];
    world.told(MESH, "Blocked", &words).await?;
    set_pods_ready(&world, crashing, true).await?;
    restarted(&world, crashing).await?;
    for held in after {
        let_go(&world, held).await?;
    }
    in_sync(&world, "6/7").await?;
    world.told(MESH, "Blocked", &["(Deleting)", leaving.2]).await?;
    world.patch(leaving, json!({"metadata": {"finalizers": null}})).await?;
    world.told(MESH, "WorkloadNotFound", &[leaving.2]).await?;
    crate::matrix::record(
        "29 paused, OnDelete, crash-looping, at its PDB's limit, leaving",
        "Roll",
        "ok",
    )
}

async fn in_sync(world: &World, count: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{count} are in sync"), async || {
        let now = text(&world.get(MESH).await?["status"]["agentsInSync"]);
        Ok(if now == count { Ok(()) } else { Err(now) })
    })
    .await
}

async fn let_go(world: &World, held: &Held) -> Result<()> {
    world.told(MESH, held.reason, &[held.word, held.obj.2]).await?;
    world.patch(held.obj, held.release.clone()).await?;
    restarted(world, held.obj).await
}

/// A controller that made something: any object that exists.
async fn owner(world: &World) -> Result<Value> {
    let secret = world.get(SECRET).await?;
    Ok(
        json!({"apiVersion": "v1", "kind": "Secret", "name": SECRET.2, "uid": secret["metadata"]["uid"], "controller": true}),
    )
}

/// A container that crashes, or has come up again.
async fn set_pods_ready(world: &World, obj: Obj<'_>, ready: bool) -> Result<()> {
    let status = if ready { "True" } else { "False" };
    let conditions: Vec<Value> = ["Ready", "ContainersReady"]
        .iter()
        .map(|type_| json!({"type": type_, "status": status}))
        .collect();
    let params = kube::api::PatchParams::default();
    for pod in world.list("Pod", obj.1).await? {
        if pod["metadata"]["labels"]["app"] == obj.2 {
            let patch = kube::api::Patch::Strategic(json!({"status": {"conditions": conditions}}));
            let api = world.api(Obj("Pod", obj.1, ""));
            api.patch_status(&text(&pod["metadata"]["name"]), &params, &patch)
                .await?;
        }
    }
    eventually(PATIENCE, &format!("{obj} sees its pods"), async || {
        let available = world.get(obj).await?["status"]["availableReplicas"]
            .as_i64()
            .unwrap_or(0);
        Ok(if (available > 0) == ready {
            Ok(())
        } else {
            Err(available.to_string())
        })
    })
    .await
}

async fn restarted(world: &World, obj: Obj<'_>) -> Result<()> {
    eventually(PATIENCE, &format!("{obj} is restarted"), async || {
        let live = world.get(obj).await?;
        let at = live.pointer("/spec/template/metadata/annotations/sightline.dev~1restarted-at");
        Ok(at.map(drop).ok_or_else(|| live["status"].to_string()))
    })
    .await
}
