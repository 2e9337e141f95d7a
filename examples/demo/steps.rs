//! The steps of the story.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sightline::yaml;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cluster::Cluster;
use crate::operator::{self, Operator, Start};
use crate::story::Story;
use crate::wait::{Look, check, until};
use crate::world::{World, list, text};

/// The demo's istiod is a stand-in that needs no time to read MeshConfig.
const ISTIO_TIME_DIVISOR: u32 = 20;
/// How long nothing may be written for the proof of it. Longer than the operator holds back a status that differs in
/// numbers only.
const QUIET: Duration = Duration::from_secs(6);
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const HASH: &str = "/spec/template/metadata/annotations/sightline.dev~1config-hash";
const DOCUMENT: &str = "/data/application.yaml";
/// The person of the story.
const PERSON: &str = "kubectl-edit";

/// A cluster to run on: see [`Cluster`].
pub async fn find_cluster(story: &Story, context: Option<&str>, world: &World) -> anyhow::Result<Cluster> {
    let cluster = if let Some(context) = context {
        let cluster = Cluster::of_context(context).await?;
        cluster
            .refuse_if_in_use(world)
            .await
            .with_context(|| format!("DEMO_CLUSTER={context} is refused"))?;
        cluster
    } else {
        Cluster::start().await?
    };
    let version = cluster.version().await?;
    match context {
        Some(context) => story.text(&format!(
            "Context {context}: Kubernetes {version}, without Istio and without Sightline. What the demo makes there it \
             takes away at its end."
        )),
        None => story.text(&format!(
            "Kubernetes {version} runs on free ports of this machine: etcd, API server with RBAC and audit log,\n\
             controller manager and scheduler. kwok plays the kubelet: pods get Ready and run nothing."
        )),
    }
    Ok(cluster)
}

/// Where SolarMesh's things are.
struct Traffic {
    mesh: String,
    namespace: String,
    map: String,
    secret: String,
    agent: String,
}

/// Where interLink's things are.
struct Injected {
    namespace: String,
    policy: String,
    container: String,
    deployment: Value,
}

/// The story, step by step.
pub struct Demo<'a> {
    root: &'a Path,
    world: &'a World,
    cluster: &'a Cluster,
    story: &'a mut Story,
    operator: Option<Operator>,
}

impl<'a> Demo<'a> {
    pub fn new(root: &'a Path, world: &'a World, cluster: &'a Cluster, story: &'a mut Story) -> Self {
        Self {
            root,
            world,
            cluster,
            story,
            operator: None,
        }
    }

    /// All steps.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let traffic = self.traffic()?;
        let injected = self.injected()?;
        self.install().await?;
        self.start_operator().await?;
        self.apply_samples(&traffic).await?;
        self.adopt(&traffic).await?;
        self.show_table().await?;
        self.show_objects(&traffic).await?;
        self.render(&traffic).await?;
        self.show_env(&injected).await?;
        self.edit_by_hand(&traffic).await?;
        self.change_secret(&traffic).await?;
        self.delete(&injected).await?;
        self.prove_quiet(&traffic).await
    }

    /// Ends the operator, whatever it does, and gives the end of its log.
    pub async fn end(&mut self) -> String {
        let Some(operator) = self.operator.take() else {
            return "(it was not started)".to_owned();
        };
        let mut log = operator.log_tail();
        if operator.get("/healthz").await.is_err() {
            log.push_str("\n(it does not answer any more)");
        }
        operator.kill().await.ok();
        log
    }

    async fn install(&mut self) -> anyhow::Result<()> {
        self.story
            .step("A world to work in: Istio, SolarMesh's agent, an interLink node, an application");
        if self.world.seed != 0 {
            self.story.text(&format!("Names of DEMO_SEED={}:", self.world.seed));
            for (what, old, new) in &self.world.renamed {
                self.story.text(&format!("  {what:<11}  {old:<15}  is now {new}"));
            }
        }
        let istio = path_text(&self.cluster.istio_crds())?;
        let ours = path_text(&self.root.join("config/crd"))?;
        for (shown, path) in [("crds/istio.yaml", &istio), ("config/crd", &ours)] {
            self.story.command(&format!("kubectl apply --server-side -f {shown}"));
            let apply = ["apply", "--server-side", "--field-manager=demo", "-f", path];
            let answer = self.cluster.kubectl(&apply).await?;
            self.story
                .text(&format!("{} CustomResourceDefinitions", answer.lines().count()));
        }
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &istio,
            "-f",
            &ours,
        ];
        self.cluster.kubectl(&wait).await?;
        for (shown, objects) in [("config/demo", &self.world.demo), ("config/rbac", &self.world.rbac)] {
            let answer = self.apply(&format!("-f {shown}"), objects).await?;
            self.story.text(&format!("{} objects", answer.lines().count()));
        }
        let deployments: Vec<&Value> = self.deployments().collect();
        for object in &deployments {
            let (namespace, name) = names(object);
            self.wait_for_rollout(namespace, name).await.context(
                "the images of the demo are made up: a cluster of yours needs kwok, or whatever else makes pods Ready",
            )?;
        }
        self.story.holds(&format!(
            "the {} Deployments are available; nothing of Sightline runs yet",
            deployments.len()
        ));
        Ok(())
    }

    async fn start_operator(&mut self) -> anyhow::Result<()> {
        self.story.step("The operator");
        let kubeconfig = self.cluster.kubeconfig_of(operator::NAMESPACE, "sightline").await?;
        self.story.command("kubectl create token sightline -n sightline-system");
        self.story
            .command(&format!("sightline run --istio-time-divisor {ISTIO_TIME_DIVISOR}"));
        self.story.text(&format!(
            "It has the rights of ServiceAccount {}/sightline, as config/rbac gives them, and no others.\n\
             The divisor shortens what a real istiod needs: 10 s between two writes of MeshConfig, 60 s until an unused\n\
             provider goes.",
            operator::NAMESPACE
        ));
        self.launch(&kubeconfig).await?;
        self.story.holds("/readyz: every watch has seen its first list");
        Ok(())
    }

    async fn launch(&mut self, kubeconfig: &Path) -> anyhow::Result<()> {
        let start = Start {
            name: "demo",
            binary: &sightline()?,
            kubeconfig,
            log: self.cluster.files().join("operator.log"),
            istio_time_divisor: ISTIO_TIME_DIVISOR,
            resync: Duration::from_mins(10),
            lease: Some(operator::LEASE_TIMES),
        };
        self.operator = Some(Operator::start(start).await?);
        Ok(())
    }

    async fn apply_samples(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story
            .step("All samples, but without leave to take over what SolarMesh's chart left");
        let before = self.config_map(traffic).await?;
        let mut samples = self.world.samples.clone();
        for sample in &mut samples {
            if let Some(adopt) = sample.pointer_mut("/spec/interfaceTraffic/configMap/adopt") {
                *adopt = false.into();
            }
        }
        let answer = self.apply("-f config/samples   # with adopt: false", &samples).await?;
        self.story.text(&answer);
        let mesh = mesh_path(&traffic.mesh);
        let expected = format!("ObservabilityMesh {} is not Ready, reason NotOurs", traffic.mesh);
        let message = until(&expected, async || {
            let mesh = self.existing(&mesh).await?;
            let ready = condition(&mesh, "Ready");
            Ok(match ready {
                Some(ready) if text(ready, "/reason") == "NotOurs" => Ok(text(ready, "/message").to_owned()),
                _ => Err(described(ready)),
            })
        })
        .await?;
        self.story
            .command(&format!("kubectl get omesh {} -o wide", traffic.mesh));
        self.story.text(&format!("Ready=False, NotOurs: {message}"));
        self.story.holds(&expected);
        let after = self.config_map(traffic).await?;
        let version = "/metadata/resourceVersion";
        let untouched = format!("ConfigMap {}/{} is untouched", traffic.namespace, traffic.map);
        check(text(&before, version) == text(&after, version), &untouched, &after)?;
        check(
            self.restarts(traffic).await? == 0,
            "the agent was not restarted",
            "a restart",
        )?;
        self.story
            .holds(&format!("{untouched}, {} was not restarted", traffic.agent));
        Ok(())
    }

    async fn adopt(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story.step("Leave to take it over");
        let patch = r#"{"spec": {"interfaceTraffic": {"configMap": {"adopt": true}}}}"#;
        self.run_shown(&["patch", "omesh", &traffic.mesh, "--type=merge", "-p", patch])
            .await?;
        self.wait_until_ready(&self.world.samples.iter().collect::<Vec<_>>())
            .await?;
        for kind in ["ObservabilityMesh", "TrafficLog", "TracingBackend"] {
            let count = self.world.samples_of(kind).count();
            self.story.holds(&format!("Ready=True: {kind} ({count})"));
        }
        self.wait_for_restarts(traffic, 1).await?;
        self.story.holds(&format!(
            "{} was restarted once, for the ConfigMap that is ours now",
            traffic.agent
        ));
        Ok(())
    }

    async fn show_table(&mut self) -> anyhow::Result<()> {
        self.story.step("Does it work?");
        self.run_shown(&["get", "sightline", "-A"]).await
    }

    async fn show_objects(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story.step("What was rendered");
        self.story
            .text("Shortened: without what the API server adds, and without the annotation sightline.dev/sources.");
        self.story.command(&format!(
            "kubectl get configmap -n {} {} -o yaml",
            traffic.namespace, traffic.map
        ));
        self.story.object(&self.config_map(traffic).await?)?;
        self.story
            .command("kubectl get telemetry -A -l app.kubernetes.io/managed-by=sightline -o yaml");
        for telemetry in self.telemetries().await? {
            self.story.object(&telemetry)?;
        }
        let path = self.map_path()?;
        self.story
            .command("kubectl get configmap -n istio-system sightline-mesh-config -o yaml");
        self.story.object(&self.existing(&path).await?)?;
        let (named, held) = self.providers().await?;
        check(
            named.is_subset(&held) && !named.is_empty(),
            "MeshConfig holds the providers that the Telemetries name",
            format!("named: {named:?}, held: {held:?}"),
        )?;
        self.story.holds(&format!(
            "MeshConfig holds all {} providers that the Telemetries name",
            named.len()
        ));
        Ok(())
    }

    /// What the command line prints from files is what the operator applied.
    async fn render(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story.step("The same without a cluster");
        self.story
            .command("sightline render --show-secrets -f config/samples -f config/demo");
        let mut input = String::new();
        for object in self.world.samples.iter().chain(&self.world.demo) {
            write!(input, "---\n{}", yaml::to_yaml(object)?)?;
        }
        let rendered = run_sightline(&["render", "--show-secrets", "-f", "-"], &input).await?;
        let mut live = self.telemetries().await?;
        live.push(self.config_map(traffic).await?);
        live.push(self.existing(&self.map_path()?).await?);
        for live in &live {
            let (namespace, name) = names(live);
            let what = format!("{} {namespace}/{name}", text(live, "/kind"));
            let same = |object: &&Value| names(object) == (namespace, name) && object.get("kind") == live.get("kind");
            let printed = rendered
                .iter()
                .find(same)
                .with_context(|| format!("render prints no {what}"))?;
            for part in ["data", "spec"] {
                check(
                    printed.get(part) == live.get(part),
                    &format!("render prints the {part} of the live {what}"),
                    printed,
                )?;
            }
        }
        let agent = self
            .existing(&deployment_path(&traffic.namespace, &traffic.agent))
            .await?;
        let printed = rendered.iter().find(|object| names(object) == names(&agent));
        let printed = printed.with_context(|| format!("render prints no {}", traffic.agent))?;
        check(
            text(&agent, HASH).starts_with("v1:") && text(printed, HASH) == text(&agent, HASH),
            "render prints the config hash of the agent",
            printed,
        )?;
        self.story.holds(&format!(
            "it prints these {} objects, byte for byte in data and spec, and the agent with the same hash",
            live.len()
        ));
        Ok(())
    }

    async fn show_env(&mut self, injected: &Injected) -> anyhow::Result<()> {
        self.story.step("interLink: tracing by environment");
        let (namespace, name) = names(&injected.deployment);
        self.wait_for_rollout(namespace, name).await?;
        let live = self.existing(&deployment_path(namespace, name)).await?;
        self.story.command(&format!(
            "kubectl get deployment -n {namespace} {name} -o jsonpath='{{.spec.template.spec.containers[?(@.name==\"{}\")].env}}'",
            injected.container
        ));
        let mut changed = Vec::new();
        for container in containers(&live) {
            let before = containers(&injected.deployment).find(|other| other.get("name") == container.get("name"));
            let before = before.context("a container that the demo did not make")?;
            let old = env(before);
            let new: Vec<Value> = env(container)
                .into_iter()
                .filter(|entry| !old.contains(entry))
                .collect();
            if !new.is_empty() {
                changed.push((text(container, "/name"), json!(new)));
            }
        }
        let expected = format!("container {} alone got environment", injected.container);
        let [(container, added)] = changed.as_slice() else {
            anyhow::bail!("expected: {expected}\nseen: {changed:?}");
        };
        check(*container == injected.container, &expected, container)?;
        self.story.text(&yaml::to_yaml(added)?);
        let has = |name: &str| {
            added
                .as_array()
                .is_some_and(|all| all.iter().any(|entry| text(entry, "/name") == name))
        };
        let all = ["ENABLE_TRACING", "TELEMETRY_ENDPOINT", "TELEMETRY_UNIQUE_ID"];
        check(all.into_iter().all(has), "the three variables of interLink", added)?;
        self.story
            .holds(&format!("{expected}, of {}", containers(&live).count()));
        Ok(())
    }

    async fn edit_by_hand(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story.step("Somebody edits an output by hand");
        let before = self.config_map(traffic).await?;
        let patch = json!({"data": {"application.yaml": "url: http://wrong:9200"}}).to_string();
        let (namespace, map) = (&traffic.namespace, &traffic.map);
        let manager = format!("--field-manager={PERSON}");
        self.run_shown(&["patch", "configmap", "-n", namespace, map, &manager, "-p", &patch])
            .await?;
        let put_back = format!("ConfigMap {namespace}/{map} is as before");
        until(&put_back, async || {
            let now = self.config_map(traffic).await?;
            Ok(if text(&now, DOCUMENT) == text(&before, DOCUMENT) {
                Ok(())
            } else {
                Err(text(&now, DOCUMENT).to_owned())
            })
        })
        .await?;
        self.story.holds(&put_back);
        let expected = format!("an event DriftReverted of {} names {PERSON}", traffic.mesh);
        let note = until(&expected, async || {
            let events = self.cluster.items(EVENTS).await?;
            let of_mesh = |event: &&Value| {
                text(event, "/reason") == "DriftReverted" && text(event, "/regarding/name") == traffic.mesh
            };
            let notes: Vec<&str> = events
                .iter()
                .filter(of_mesh)
                .map(|event| text(event, "/note"))
                .collect();
            let note = notes
                .iter()
                .find(|note| note.contains(PERSON) && note.contains(map.as_str()));
            Ok(note.map(|note| (*note).to_owned()).ok_or_else(|| format!("{notes:?}")))
        })
        .await?;
        self.story
            .command("kubectl get events --field-selector reason=DriftReverted");
        self.story.text(&note);
        self.story.holds("the event names field and manager");
        self.wait_until_ready(&self.mesh_sample(traffic)).await?;
        check(self.restarts(traffic).await? == 1, "no restart for that", "one more")?;
        self.story
            .holds(&format!("{} was not restarted for that", traffic.agent));
        Ok(())
    }

    async fn change_secret(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story.step("A new password for Elasticsearch");
        let agent = deployment_path(&traffic.namespace, &traffic.agent);
        let before = self.existing(&agent).await?;
        let password = &self.world.next_password;
        let patch = json!({"stringData": {"password": password}}).to_string();
        self.run_shown(&[
            "patch",
            "secret",
            "-n",
            &traffic.namespace,
            &traffic.secret,
            "-p",
            &patch,
        ])
        .await?;
        let expected = format!("ConfigMap {}/{} has the new password", traffic.namespace, traffic.map);
        let document = until(&expected, async || {
            let map = self.config_map(traffic).await?;
            let document = text(&map, DOCUMENT).to_owned();
            let parsed = yaml::read_documents(&document)?;
            Ok(
                if parsed
                    .first()
                    .is_some_and(|document| text(document, "/passworld") == password)
                {
                    Ok(document)
                } else {
                    Err(document)
                },
            )
        })
        .await?;
        self.story.text(&document);
        self.story.holds(&expected);
        self.wait_for_restarts(traffic, 2).await?;
        self.wait_until_ready(&self.mesh_sample(traffic)).await?;
        let after = self.existing(&agent).await?;
        self.story.command(&format!(
            "kubectl get deployment -n {} {} -o jsonpath=…",
            traffic.namespace, traffic.agent
        ));
        let hash = |object: &Value| object.pointer(HASH).map(Value::to_string).unwrap_or_default();
        self.story
            .text(&format!("config-hash: {} -> {}", hash(&before), hash(&after)));
        check(hash(&before) != hash(&after), "another config-hash", hash(&after))?;
        // Not by its generation, which our note that the restart is through raises as well.
        check(
            self.restarts(traffic).await? == 2,
            "one more ReplicaSet",
            "another number",
        )?;
        self.story.holds(&format!(
            "{} was restarted exactly once: one more ReplicaSet",
            traffic.agent
        ));
        Ok(())
    }

    async fn delete(&mut self, injected: &Injected) -> anyhow::Result<()> {
        self.story.step("Two policies go, and what they made goes with them");
        let narrow = |object: &&Value| object.pointer("/spec/selector").is_some();
        let logs: Vec<&Value> = self.world.samples_of("TrafficLog").filter(narrow).collect();
        let is_alone = |log: &&&Value| logs.iter().filter(|other| names(other).0 == names(log).0).count() == 1;
        let log = logs.iter().find(is_alone);
        let (namespace, name) = names(log.context("no sample has one selector in a namespace")?);
        let (injected_namespace, policy) = (&injected.namespace, &injected.policy);
        let others = self.telemetries().await?.len() - 1;
        self.run_shown(&["delete", "tlog", "-n", namespace, name]).await?;
        self.run_shown(&["delete", "tback", "-n", injected_namespace, policy])
            .await?;
        let expected = format!("the Telemetry of TrafficLog {namespace}/{name} is gone, {others} others stay");
        until(&expected, async || {
            let left = self.telemetries().await?;
            let mut of_log = left.iter().filter(narrow).filter(|t| names(t).0 == namespace);
            Ok(if of_log.next().is_none() && left.len() == others {
                Ok(())
            } else {
                Err(format!("{:?}", left.iter().map(names).collect::<Vec<_>>()))
            })
        })
        .await?;
        self.story.holds(&expected);
        let (_, deployment) = names(&injected.deployment);
        let expected = format!("Deployment {injected_namespace}/{deployment} has the environment of its chart again");
        until(&expected, async || {
            let live = self.existing(&deployment_path(injected_namespace, deployment)).await?;
            let now: Vec<_> = containers(&live).map(env).collect();
            let chart: Vec<_> = containers(&injected.deployment).map(env).collect();
            Ok(if now == chart { Ok(()) } else { Err(format!("{now:?}")) })
        })
        .await?;
        self.wait_for_rollout(injected_namespace, deployment).await?;
        self.story.holds(&expected);
        let expected = "MeshConfig holds the providers that Telemetries name, and no others";
        until(expected, async || {
            let (named, held) = self.providers().await?;
            Ok(if named == held {
                Ok(())
            } else {
                Err(format!("named: {named:?}, held: {held:?}"))
            })
        })
        .await?;
        self.story.holds(expected);
        let left = self.world.samples.iter().filter(|object| {
            let names = names(object);
            names != (namespace, name) && names != (injected_namespace, policy)
        });
        self.wait_until_ready(&left.collect::<Vec<_>>()).await?;
        self.story.holds("all other resources are Ready");
        Ok(())
    }

    /// A converged operator writes nothing, and one that starts writes nothing either.
    async fn prove_quiet(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        self.story.step("Nothing more to do");
        let kubeconfig = self.cluster.files().join("operator.kubeconfig");
        if let Some(control_plane) = self.cluster.own() {
            let quiet = QUIET.as_secs();
            until(&format!("no write by the operator for {quiet} s"), async || {
                control_plane.settle_audit_log().await?;
                let since = Timestamp::now().checked_sub(SignedDuration::try_from(QUIET)?)?;
                let writes = control_plane.writes_by(operator::USER, since)?;
                Ok(match writes.last() {
                    None => Ok(()),
                    Some(last) => Err(format!("{} {}", last.verb, last.uri)),
                })
            })
            .await?;
            self.story.holds(&format!(
                "the audit log has no write by the operator in the last {quiet} s"
            ));
        } else {
            self.story
                .text("Only a cluster of the demo's own has an audit log to count the operator's writes in: left out.");
        }
        let stopped = Timestamp::now();
        self.story
            .text("The operator is ended with SIGTERM and started again: it looks at everything anew.");
        if let Some(operator) = self.operator.take() {
            operator.stop().await?;
        }
        self.launch(&kubeconfig).await?;
        self.wait_for_passes().await?;
        if let Some(control_plane) = self.cluster.own() {
            control_plane.settle_audit_log().await?;
            let writes = control_plane.writes_by(operator::USER, stopped)?;
            let writes: Vec<String> = writes
                .iter()
                .map(|write| format!("{} {}", write.verb, write.uri))
                .collect();
            check(writes.is_empty(), "no write by the operator", writes.join("\n"))?;
            self.story.holds("it has looked at everything and has written nothing");
        } else {
            self.story.holds("it has looked at everything");
        }
        check(
            self.restarts(traffic).await? == 2,
            "two restarts of the agent in all",
            "another number",
        )?;
        self.story.holds(&format!(
            "{} was restarted twice in all: for the adopted ConfigMap, for the new password",
            traffic.agent
        ));
        Ok(())
    }

    /// Waits until the operator has made a pass over each of its targets, and has nothing in its queue.
    async fn wait_for_passes(&self) -> anyhow::Result<()> {
        let operator = self.operator.as_ref().context("no operator")?;
        // Per mesh itself and its rollout; MeshConfig, grpc-logging; namespaces; policies but the two that went.
        let meshes = self.world.samples_of("ObservabilityMesh").count();
        let policies = self.world.samples.len() - meshes - 2;
        let least = meshes * 2 + 2 + self.world.namespaces().len() + policies;
        until(
            &format!("at least {least} passes of the operator, and nothing waits"),
            async || -> Look<()> {
                let (_, metrics) = operator.get("/metrics").await?;
                let sum = |name: &str| -> f64 {
                    let lines = metrics.lines().filter(|line| line.starts_with(name));
                    lines
                        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                        .sum()
                };
                let (passes, waiting) = (sum("sightline_passes_total{"), sum("sightline_queue_depth"));
                #[allow(clippy::cast_precision_loss, reason = "some dozens")]
                let enough = passes >= least as f64 && waiting == 0.0;
                Ok(if enough {
                    Ok(())
                } else {
                    Err(format!("{passes} passes, {waiting} wait"))
                })
            },
        )
        .await
    }
}

/// Looking at the cluster.
impl Demo<'_> {
    fn traffic(&self) -> anyhow::Result<Traffic> {
        let mesh = self.world.samples_of("ObservabilityMesh");
        let mesh = mesh
            .into_iter()
            .find(|mesh| mesh.pointer("/spec/interfaceTraffic").is_some());
        let mesh = mesh.context("no sample has interfaceTraffic")?;
        let of = |pointer: &str| text(mesh, pointer).to_owned();
        Ok(Traffic {
            mesh: of("/metadata/name"),
            namespace: of("/spec/interfaceTraffic/configMap/namespace"),
            map: of("/spec/interfaceTraffic/configMap/name"),
            secret: of("/spec/interfaceTraffic/elasticsearch/credentialsSecretRef/name"),
            agent: of("/spec/agents/0/workload/name"),
        })
    }

    fn injected(&self) -> anyhow::Result<Injected> {
        let mut policies = self.world.samples_of("TracingBackend");
        let policy = policies.find(|policy| policy.pointer("/spec/inject/0").is_some());
        let policy = policy.context("no sample injects")?;
        let (namespace, name) = names(policy);
        let wanted = policy.pointer("/spec/inject/0/workloads/selector/matchLabels");
        let wanted = wanted.and_then(Value::as_object).context("no selector")?;
        let deployment = self.deployments().find(|deployment| {
            let labels = deployment.pointer("/metadata/labels");
            names(deployment).0 == namespace
                && wanted
                    .iter()
                    .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        });
        Ok(Injected {
            namespace: namespace.to_owned(),
            policy: name.to_owned(),
            container: text(policy, "/spec/inject/0/containers/0").to_owned(),
            deployment: deployment.context("no Deployment of config/demo is selected")?.clone(),
        })
    }

    fn mesh_sample(&self, traffic: &Traffic) -> Vec<&Value> {
        let meshes = self.world.samples_of("ObservabilityMesh");
        meshes.filter(|mesh| names(mesh).1 == traffic.mesh).collect()
    }

    fn deployments(&self) -> impl Iterator<Item = &Value> {
        self.world
            .demo
            .iter()
            .filter(|object| text(object, "/kind") == "Deployment")
    }

    async fn existing(&self, path: &str) -> anyhow::Result<Value> {
        self.cluster
            .get(path)
            .await?
            .with_context(|| format!("nothing at {path}"))
    }

    async fn config_map(&self, traffic: &Traffic) -> anyhow::Result<Value> {
        self.existing(&config_map_path(&traffic.namespace, &traffic.map)).await
    }

    fn map_path(&self) -> anyhow::Result<String> {
        let mut meshes = self.world.samples_of("ObservabilityMesh");
        let istio = meshes.find_map(|mesh| mesh.pointer("/spec/mesh/istio"));
        let istio = istio.context("no sample names a MeshConfig map")?;
        Ok(config_map_path(
            text(istio, "/namespace"),
            text(istio, "/meshConfig/configMapName"),
        ))
    }

    /// Our Telemetries, by namespace and name.
    async fn telemetries(&self) -> anyhow::Result<Vec<Value>> {
        let path = "/apis/telemetry.istio.io/v1/telemetries?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dsightline";
        let mut items = self.cluster.items(path).await?;
        items.sort_by(|a, b| names(a).cmp(&names(b)));
        Ok(items)
    }

    /// Providers that our Telemetries name, and those in our MeshConfig map.
    async fn providers(&self) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
        let mut named = BTreeSet::new();
        for telemetry in self.telemetries().await? {
            for part in ["/spec/accessLogging", "/spec/tracing"] {
                let entries = telemetry.pointer(part).and_then(Value::as_array);
                let providers = entries
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| entry.get("providers")?.as_array());
                named.extend(providers.flatten().map(|provider| text(provider, "/name").to_owned()));
            }
        }
        let map = self.existing(&self.map_path()?).await?;
        let documents = yaml::read_documents(text(&map, "/data/mesh"))?;
        let providers = documents
            .first()
            .and_then(|mesh| mesh.get("extensionProviders")?.as_array());
        let held = providers
            .into_iter()
            .flatten()
            .map(|provider| text(provider, "/name").to_owned());
        Ok((named, held.collect()))
    }

    /// How often the agent was restarted: its `ReplicaSet`s but the first.
    async fn restarts(&self, traffic: &Traffic) -> anyhow::Result<usize> {
        let path = format!("/apis/apps/v1/namespaces/{}/replicasets", traffic.namespace);
        let sets = self.cluster.items(&path).await?;
        let of_agent = |set: &&Value| text(set, "/metadata/ownerReferences/0/name") == traffic.agent;
        Ok(sets.iter().filter(of_agent).count().saturating_sub(1))
    }

    async fn wait_for_restarts(&self, traffic: &Traffic, count: usize) -> anyhow::Result<()> {
        until(&format!("{count} restarts of {}", traffic.agent), async || {
            let seen = self.restarts(traffic).await?;
            Ok(if seen == count { Ok(()) } else { Err(format!("{seen}")) })
        })
        .await?;
        self.wait_for_rollout(&traffic.namespace, &traffic.agent).await
    }

    async fn wait_for_rollout(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let path = deployment_path(namespace, name);
        until(&format!("Deployment {namespace}/{name} is rolled out"), async || {
            let object = self.existing(&path).await?;
            let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
            let wanted = number("/spec/replicas");
            let all = ["replicas", "updatedReplicas", "availableReplicas"];
            let done = all.iter().all(|field| number(&format!("/status/{field}")) == wanted)
                && number("/status/observedGeneration") == number("/metadata/generation");
            let status = object.get("status").map(Value::to_string).unwrap_or_default();
            Ok(if done { Ok(()) } else { Err(status) })
        })
        .await
    }

    /// Waits until each of these resources is Ready, as judged in its present generation.
    async fn wait_until_ready(&self, resources: &[&Value]) -> anyhow::Result<()> {
        until("every resource is Ready", async || {
            let mut not_ready = Vec::new();
            for resource in resources {
                let live = self.existing(&resource_path(resource)).await?;
                let ready = condition(&live, "Ready");
                if ready.is_none_or(|ready| text(ready, "/status") != "True") {
                    let (namespace, name) = names(resource);
                    let kind = text(resource, "/kind");
                    not_ready.push(format!("{kind} {namespace}/{name}: {}", described(ready)));
                }
            }
            Ok(if not_ready.is_empty() {
                Ok(())
            } else {
                Err(not_ready.join("\n"))
            })
        })
        .await
    }

    async fn apply(&self, shown: &str, objects: &[Value]) -> anyhow::Result<String> {
        self.story.command(&format!("kubectl apply {shown}"));
        let apply = ["apply", "--server-side=false", "-f", "-"];
        self.cluster.kubectl_with_input(&apply, &list(objects)).await
    }

    async fn run_shown(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let quoted = arguments.iter().map(|argument| {
            let plain = !argument.contains([' ', '{', '"', '\'']);
            if plain {
                (*argument).to_owned()
            } else {
                format!("'{}'", argument.replace('\'', "'\\''"))
            }
        });
        self.story
            .command(&format!("kubectl {}", quoted.collect::<Vec<_>>().join(" ")));
        self.story.text(&self.cluster.kubectl(arguments).await?);
        Ok(())
    }
}

/// The binary that was built together with the demo.
fn sightline() -> anyhow::Result<PathBuf> {
    let demo = std::env::current_exe()?;
    let folder = demo
        .parent()
        .and_then(Path::parent)
        .context("the demo is in no folder")?;
    let binary = folder.join("sightline");
    anyhow::ensure!(
        binary.is_file(),
        "the binary sightline is missing: run `make demo`, or `cargo build --bin sightline` first"
    );
    Ok(binary)
}

async fn run_sightline(arguments: &[&str], input: &str) -> anyhow::Result<Vec<Value>> {
    let mut child = Command::new(sightline()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    let feed = async move {
        pipe.write_all(input.as_bytes()).await.ok();
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "sightline {} failed: {errors}",
        arguments.join(" ")
    );
    Ok(yaml::read_documents(&String::from_utf8(output.stdout)?)?)
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("the path is not UTF-8")?.to_owned())
}

/// Namespace and name.
fn names(object: &Value) -> (&str, &str) {
    (text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

fn containers(deployment: &Value) -> impl Iterator<Item = &Value> {
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    containers.into_iter().flatten()
}

/// Environment, without the default that the API server adds to a `fieldRef`.
fn env(container: &Value) -> Vec<Value> {
    let mut env = container
        .get("env")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for entry in &mut env {
        if let Some(Value::Object(field)) = entry.pointer_mut("/valueFrom/fieldRef") {
            field.remove("apiVersion");
        }
    }
    env
}

/// A condition that was judged in the present generation.
fn condition<'a>(resource: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = resource.pointer("/status/conditions")?.as_array()?;
    let generation = resource.pointer("/metadata/generation");
    conditions
        .iter()
        .find(|c| text(c, "/type") == type_ && c.get("observedGeneration") == generation)
}

fn described(condition: Option<&Value>) -> String {
    condition.map_or_else(
        || "not judged yet".to_owned(),
        |c| {
            format!(
                "{}, {}: {}",
                text(c, "/status"),
                text(c, "/reason"),
                text(c, "/message")
            )
        },
    )
}

fn config_map_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/{name}")
}

fn deployment_path(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

fn mesh_path(name: &str) -> String {
    format!("/apis/sightline.dev/v1alpha1/observabilitymeshes/{name}")
}

fn resource_path(resource: &Value) -> String {
    let (namespace, name) = names(resource);
    match text(resource, "/kind") {
        "TrafficLog" => format!("/apis/sightline.dev/v1alpha1/namespaces/{namespace}/trafficlogs/{name}"),
        "TracingBackend" => format!("/apis/sightline.dev/v1alpha1/namespaces/{namespace}/tracingbackends/{name}"),
        _ => mesh_path(name),
    }
}
