//! What users do, as scenarios that are played once without a fault and then with each: the fault may change nothing.
//!
//! The oracles of every cell: (a) the same end state as without the fault, (b) no object created, deleted or restarted
//! more often, (c) then quiet, over three looks at every target, (d) no panic; (e) what the conditions say is part of (a).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::fault_proxy::Rule;
use crate::operator::USER;
use crate::world::{RESYNC, *};

const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "holds");
/// What users delete, in this order. The mesh that takes environment away again stays: without it nobody would.
const RESOURCES: [Obj<'_>; 4] = [ACCESS_LOG, TRACES, VIRTUAL_KUBELET, MESH];

const REVISION: &str = "deployment.kubernetes.io/revision";
const RESTARTED_TEMPLATE: &str = "sightline.dev/restarted-template";
const ROLLED_OUT: &str = "sightline.dev/rolled-out";

/// How long nothing may be written before a world counts as settled: longer than any wait of the operator in it.
const SETTLED: Duration = Duration::from_millis(1800);
/// How often every target is looked at in the check that it is quiet.
const SHORT_RESYNC: Duration = Duration::from_millis(150);
/// Three of these, with their jitter.
const QUIET: Duration = Duration::from_millis(600);

/// What a user does. Each comes with one that takes it back, so that a world can go to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Two meshes with logs, traces, interface traffic, an agent and injected environment, from nothing.
    Apply,
    /// All of it goes but the second mesh.
    Delete,
    /// A policy gets another format: another provider.
    Change,
    /// It gets the former one again.
    Revert,
    /// The agent's configuration changes: it is restarted.
    Roll,
    /// It changes back.
    RollBack,
    /// The password of a Secret changes.
    Rotate,
    /// And again.
    RotateBack,
    /// A ConfigMap of ours is given to somebody else.
    Disown,
    /// It is taken over again.
    Adopt,
    /// Providers go into istiod's own MeshConfig.
    Patch,
    /// They go back into a ConfigMap of ours.
    Share,
}

impl Scenario {
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// What the user does.
    async fn act(self, world: &World) -> Result<()> {
        let format = |format: Value| json!({"spec": {"format": format}});
        let url = |port: u16| {
            let url = format!("http://elasticsearch.service-mesh:{port}");
            json!({"spec": {"interfaceTraffic": {"elasticsearch": {"url": url}}}})
        };
        let owner = |label: &str, adopt: Value| {
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": label},
                "annotations": {"sightline.dev/adopt": adopt}}})
        };
        let mode = |mode: &str| json!({"spec": {"mesh": {"istio": {"meshConfig": {"mode": mode}}}}});
        match self {
            Self::Apply => world.apply(&documents()).await,
            Self::Delete => {
                for obj in RESOURCES {
                    world.delete(obj).await?;
                }
                Ok(())
            }
            Self::Change => {
                world
                    .patch(ACCESS_LOG, format(json!({"encoding": "JSON", "preset": "Istio"})))
                    .await
            }
            Self::Revert => world.patch(ACCESS_LOG, format(Value::Null)).await,
            Self::Roll => world.patch(MESH, url(9201)).await,
            Self::RollBack => world.patch(MESH, url(9200)).await,
            Self::Rotate => world.set_password("rotated").await,
            Self::RotateBack => world.set_password("elasticsearch").await,
            Self::Disown => world.patch(SHARED_MAP, owner("Helm", Value::Null)).await,
            Self::Adopt => world.patch(SHARED_MAP, owner("Helm", json!("true"))).await,
            Self::Patch => world.patch(MESH, mode("Patch")).await,
            Self::Share => world.patch(MESH, mode("Shared")).await,
        }
    }

    /// Waits until the end is reached in the run without a fault.
    async fn ended(self, world: &World) -> Result<()> {
        match self {
            Self::Delete => {
                for obj in [MESH, SHARED_MAP, SHOP_TELEMETRY, WASM_PLUGIN] {
                    world.gone(obj, PATIENCE).await?;
                }
            }
            Self::Disown => world.told(MESH, "NotOurs", &["sightline-mesh-config"]).await?,
            _ => all_ready(world).await?,
        }
        settle(world).await?;
        if !matches!(self, Self::Delete | Self::Disown) {
            all_ready(world).await?;
        }
        Ok(())
    }
}

async fn all_ready(world: &World) -> Result<()> {
    for obj in [MESH, ACCESS_LOG, TRACES, VIRTUAL_KUBELET] {
        world.ready(obj).await?;
    }
    Ok(())
}

fn documents() -> String {
    std::fs::read_to_string(root().join("tests/e2e/scenario.yaml")).unwrap()
}

/// Waits until the operator has written nothing for a while.
async fn settle(world: &World) -> Result<()> {
    // What was just done may not have been noticed yet.
    let start = Instant::now();
    eventually(PATIENCE, "the operator comes to rest", async || {
        Ok(match world.proxy().writes().last() {
            Some(last) if last.at.elapsed() < SETTLED => Err(last.request.to_string()),
            _ if start.elapsed() < SETTLED => Err("waiting".to_owned()),
            _ => Ok(()),
        })
    })
    .await
}

/// What a run leaves.
pub struct Run {
    /// Everything that the operator can write, as text, without times and identities.
    state: String,
    /// Creations and deletions by object, and restarts by workload.
    counts: BTreeMap<String, usize>,
    /// Writes that reached the API server, events left out.
    pub writes: Vec<String>,
}

/// The faults of a run.
#[derive(Default)]
pub struct Script {
    /// What happens to requests.
    pub rules: Vec<Rule>,
    /// Resources whose watches bring nothing from the beginning.
    pub frozen: &'static [&'static str],
}

impl From<Rule> for Script {
    fn from(rule: Rule) -> Self {
        let (rules, frozen) = (vec![rule], &[][..]);
        Self { rules, frozen }
    }
}

/// A world that goes to and fro between two places, with and without faults.
pub struct Stage {
    pub world: World,
    references: BTreeMap<Scenario, Run>,
    /// Where the audit log ended when the present run began.
    audited: u64,
    written: usize,
    revisions: BTreeMap<String, usize>,
}

impl Stage {
    /// A stage for a scenario and the one that takes it back, each played once without a fault. The stage is where the
    /// first one begins.
    pub async fn set(there: Scenario, back: Scenario) -> Result<Self> {
        let mut stage = Self {
            world: World::behind_proxy(50).await?,
            references: BTreeMap::new(),
            audited: 0,
            written: 0,
            revisions: BTreeMap::new(),
        };
        stage.world.start_operator().await?;
        if there != Scenario::Apply {
            Scenario::Apply.act(&stage.world).await?;
            Scenario::Apply.ended(&stage.world).await?;
        }
        // The first round leaves what stays: an adopted ConfigMap, records of managers.
        for scenario in [there, back] {
            scenario.act(&stage.world).await?;
            scenario.ended(&stage.world).await?;
        }
        stage.world.kill_operator().await?;
        for scenario in [there, back] {
            let run = stage
                .refer(scenario)
                .await
                .with_context(|| format!("{scenario:?} without a fault"))?;
            stage.references.insert(scenario, run);
        }
        Ok(stage)
    }

    /// The run without a fault.
    pub fn reference(&self, scenario: Scenario) -> &Run {
        &self.references[&scenario]
    }

    async fn refer(&mut self, scenario: Scenario) -> Result<Run> {
        self.begin().await?;
        scenario.act(&self.world).await?;
        scenario.ended(&self.world).await?;
        let run = Run {
            state: state_of(&self.world).await?,
            counts: self.counts().await?,
            writes: self.writes(),
        };
        if let (_, Some(write)) = self.writes_anew().await? {
            return Err(write);
        }
        self.world.kill_operator().await?;
        Ok(run)
    }

    /// Starts an operator, and counts from here.
    async fn begin(&mut self) -> Result<()> {
        self.world.proxy().heal();
        self.world.start_operator().await?;
        self.count_anew().await
    }

    async fn count_anew(&mut self) -> Result<()> {
        self.world.plane.settle_audit_log().await?;
        self.audited = self.world.plane.audit_length()?;
        self.written = self.world.proxy().writes().len();
        self.revisions = revisions(&self.world).await?;
        Ok(())
    }

    /// Plays a scenario with the faults of a script, starts an operator that they kill again, and holds the end against
    /// the run without a fault. Gives how often a fault struck.
    pub async fn play(&mut self, scenario: Scenario, script: impl Into<Script>) -> Result<usize> {
        self.play_with(scenario, script.into(), async |_| Ok(())).await
    }

    /// [`Stage::play`] with something that is done meanwhile.
    pub async fn play_with(
        &mut self,
        scenario: Scenario,
        script: Script,
        meanwhile: impl AsyncFnOnce(&mut World) -> Result<()>,
    ) -> Result<usize> {
        self.begin().await?;
        for resource in script.frozen {
            self.world.proxy().freeze(resource);
        }
        self.world.proxy().script(script.rules);
        match self.play_out(scenario, meanwhile).await {
            Ok(()) => {
                let hits = self.world.proxy().hits();
                self.check_end(scenario).await.map_err(|error| self.with_trace(error))?;
                self.world.kill_operator().await?;
                Ok(hits)
            }
            Err(error) => Err(self.with_trace(error)),
        }
    }

    async fn play_out(
        &mut self,
        scenario: Scenario,
        meanwhile: impl AsyncFnOnce(&mut World) -> Result<()>,
    ) -> Result<()> {
        scenario.act(&self.world).await?;
        meanwhile(&mut self.world).await?;
        let start = Instant::now();
        loop {
            if self.world.proxy().has_killed() {
                self.world.kill_operator().await?;
                self.world.proxy().revive();
                self.world.start_operator().await?;
            }
            let state = state_of(&self.world).await?;
            let reference = &self.references[&scenario].state;
            if state == *reference {
                break;
            }
            if start.elapsed() > PATIENCE {
                bail!("the end is not that without a fault:\n{}", diff(reference, &state));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.check_counts(scenario).await
    }

    fn with_trace(&self, error: anyhow::Error) -> anyhow::Error {
        let log = self.world.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("client::builder")).collect();
        let tail = lines
            .get(lines.len().saturating_sub(30)..)
            .unwrap_or_default()
            .join("\n");
        error.context(format!("writes:\n{}\nlog:\n{tail}", self.writes().join("\n")))
    }

    /// Writes of the present run.
    pub fn writes(&self) -> Vec<String> {
        let writes = self.world.proxy().writes();
        let new = writes
            .iter()
            .skip(self.written)
            .filter(|write| write.request.resource != "events");
        new.map(|write| format!("{} -> {}", write.request, write.code))
            .collect()
    }

    /// Creations and deletions by object, from the audit log, and restarts by workload. Events are left out: they are told
    /// anew after a crash, and nobody builds on them.
    async fn counts(&self) -> Result<BTreeMap<String, usize>> {
        self.world.plane.settle_audit_log().await?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for event in self.world.plane.audit_events_from(self.audited)? {
            let happened = match event.code {
                201 => "created",
                200 if event.verb == "delete" => "deleted",
                _ => continue,
            };
            if event.user == USER && event.is_write() && event.resource != "events" {
                let what = format!("{} {}/{} {happened}", event.resource, event.namespace, event.name);
                *counts.entry(what).or_default() += 1;
            }
        }
        for (workload, revision) in revisions(&self.world).await? {
            let before = self.revisions.get(&workload).copied().unwrap_or_default();
            counts.insert(format!("{workload} restarted"), revision - before);
        }
        Ok(counts)
    }

    async fn check_counts(&self, scenario: Scenario) -> Result<()> {
        let reference = &self.references[&scenario].counts;
        for (what, times) in self.counts().await? {
            let most = reference.get(&what).copied().unwrap_or_default();
            ensure!(times <= most, "{what} {times} times; {most} without the fault");
        }
        Ok(())
    }

    /// The end is one: an operator that starts anew writes nothing. The one before may have been killed between an object and
    /// the status that tells of it; then the next tells that and writes nothing else, and the one behind it has to be quiet.
    async fn check_end(&mut self, scenario: Scenario) -> Result<()> {
        let (before, written) = self.writes_anew().await?;
        let Some(written) = written else {
            return Ok(());
        };
        settle(&self.world).await?;
        let writes = self.world.proxy().writes();
        let are_statuses = writes
            .iter()
            .skip(before)
            .all(|write| write.request.subresource == "status");
        if !are_statuses {
            return Err(written);
        }
        let (reference, state) = (&self.references[&scenario].state, state_of(&self.world).await?);
        ensure!(
            state == *reference,
            "at rest, it is not the end without a fault:\n{}",
            diff(reference, &state)
        );
        self.check_counts(scenario).await?;
        let (_, written) = self.writes_anew().await?;
        written.map_or(Ok(()), Err)
    }

    /// What an operator that starts anew, and looks at every target all the time, writes, and how many writes came before.
    async fn writes_anew(&mut self) -> Result<(usize, Option<anyhow::Error>)> {
        self.world.proxy().heal();
        self.world.kill_operator().await?;
        // The script may have killed it just behind the end.
        self.world.proxy().revive();
        ensure!(!self.world.log().contains("panicked"), "a panic");
        self.world.proxy().all_noted().await?;
        let before = self.world.proxy().writes().len();
        self.world.set_resync(SHORT_RESYNC);
        let started = self.world.start_operator().await;
        self.world.set_resync(RESYNC);
        started?;
        let quiet = always(QUIET, "nothing is written any more", async || {
            let writes = self.world.proxy().writes();
            Ok(match writes.get(before) {
                None => Ok(()),
                Some(write) => Err(format!("{} -> {} {}", write.request, write.code, write.body)),
            })
        });
        Ok((before, quiet.await.err()))
    }
}

/// How many pod templates each workload has had.
async fn revisions(world: &World) -> Result<BTreeMap<String, usize>> {
    let mut revisions = BTreeMap::new();
    for workload in [AGENT, VIRTUAL_NODE] {
        let live = world.get(workload).await?;
        let revision = text(&live["metadata"]["annotations"][REVISION]).parse();
        revisions.insert(workload.to_string(), revision.context("no revision yet")?);
    }
    Ok(revisions)
}

/// Everything that the operator can write, as text.
async fn state_of(world: &World) -> Result<String> {
    let mut out = String::new();
    for (kind, namespace) in [
        ("ObservabilityMesh", ""),
        ("TrafficLog", ""),
        ("TracingBackend", ""),
        ("Telemetry", ""),
        ("WasmPlugin", ""),
        ("ConfigMap", "istio-system"),
        ("ConfigMap", "service-mesh"),
        ("Deployment", "service-mesh"),
        ("Deployment", "interlink"),
    ] {
        let mut objects = world.list(kind, namespace).await?;
        objects.sort_by_key(|object| object["metadata"]["name"].to_string());
        for mut object in objects {
            mask(kind, &mut object);
            // One line a field, so that a difference can be read.
            writeln!(out, "{kind} {}", serde_json::to_string_pretty(&object)?)?;
        }
    }
    Ok(without_identities(&out))
}

fn mask(kind: &str, object: &mut Value) {
    let ours = |manager: &&Value| manager["manager"] == "sightline";
    let mut managers: Vec<Value> = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(ours)
        .map(|m| json!([m["operation"], m["subresource"], m["fieldsV1"]]))
        .collect();
    managers.sort_by_key(ToString::to_string);
    object["metadata"]["managedFields"] = Value::from(managers);
    // Numbers differ from run to run, but the end is not reached before the last change is judged.
    let generation = object["metadata"]["generation"].clone();
    let status = object.get_mut("status").and_then(Value::as_object_mut);
    if let Some(seen) = status.and_then(|status| status.get_mut("observedGeneration")) {
        *seen = json!({"isTheLast": *seen == generation});
    }
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        object["metadata"].as_object_mut().map(|m| m.remove(field));
    }
    if kind == "Deployment" {
        // Restarts are counted, and their end is awaited.
        object["status"] = json!({"rolledOut": is_rolled_out(object)});
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            annotations.remove(REVISION);
            // The digest holds the time of the restart; which one is noted as rolled out does not.
            let restarted = annotations.get(RESTARTED_TEMPLATE).cloned();
            if let Some(noted) = annotations.get_mut(ROLLED_OUT) {
                *noted = json!({"isTheLast": restarted.as_ref() == Some(noted)});
            }
            if let Some(digest) = annotations.get_mut(RESTARTED_TEMPLATE) {
                *digest = json!("DIGEST");
            }
        }
    }
}

fn without_identities(state: &str) -> String {
    let masks = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r#""observedGeneration": \d+|\\"generation\\":\d+"#, "GENERATION"),
    ];
    masks.into_iter().fold(state.to_owned(), |state, (mask, word)| {
        let mask = regex::Regex::new(mask).unwrap();
        mask.replace_all(&state, word).into_owned()
    })
}

fn diff(wanted: &str, found: &str) -> String {
    similar::TextDiff::from_lines(wanted, found)
        .unified_diff()
        .context_radius(4)
        .header("without the fault", "with it")
        .to_string()
}
