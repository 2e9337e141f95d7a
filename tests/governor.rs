//! The governor over simulated time: clusters, configurations, failures and crashes at random, and the plans that the
//! operator would execute.
//!
//! The model has an API server (resource versions, JSON patches that test them), controllers that lag and roll pods out
//! after a while or never, users, a watch that is late, and an operator that dies. What decides is `sightline::plan`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};
use serde_json::{Value, json};
use sightline::conditions::{ConditionType, Reason};
use sightline::crds::{ObservabilityMesh, WorkloadKind};
use sightline::plan::{Memory, Target, plan};
use sightline::rollout::QuietMemory;
use sightline::snapshot::{Key, Kind, Resource, Snapshot, Timings, View};

const NAMESPACE: &str = "ns";
const MAPS: usize = 2;
const SECRET: usize = MAPS;
/// Nothing but time happens after this.
const CALM: i64 = 240;
const END: i64 = 1500;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(NAMESPACE, name)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    /// The write is decided and never sent.
    BeforeWrite,
    /// The API server took it and nobody noted it.
    AfterWrite,
}

#[derive(Clone, Debug)]
enum Event {
    Configure(usize, u8),
    /// Somebody changes the template; `true`: and takes every annotation of ours away (`kubectl replace`).
    Deploy(usize, i64, bool),
    PauseMesh(bool),
    /// Paused, `OnDelete` or partitioned, as the kind has it.
    HoldBack(usize, bool),
    Replace(usize),
    LosePod(usize, i64),
    Lag(i64),
    Crash,
    CrashAtNextWrite(Crash),
    LoseKey,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rolling {
    No,
    /// Until then.
    Ours(i64),
    Other(i64),
}

/// What only the model knows of a workload.
#[derive(Clone, Debug)]
struct Work {
    kind: WorkloadKind,
    reads: usize,
    /// How long its rollouts take; never, for ours only.
    takes: Option<i64>,
    rolling: Rolling,
    started: i64,
    down_until: i64,
    /// When its controller looks at it.
    seen_at: i64,
    revision: i64,
    revision_made: i64,
    /// What its pods were last said to have read.
    has: Option<String>,
    /// What the operator last saw to be wanted, since when, and since when it is stale.
    wanted: (String, i64),
    stale_since: i64,
}

#[derive(Clone, Debug)]
struct Pace {
    max_concurrent: usize,
    min_interval: i64,
    quiet_period: i64,
    max_delay: i64,
    deadline: i64,
    continues: bool,
}

struct Cluster {
    now: i64,
    pace: Pace,
    paused: bool,
    version: u64,
    truth: Snapshot,
    works: Vec<Work>,
    hash_key: Vec<u8>,
    // The operator.
    cache: Snapshot,
    late: VecDeque<(i64, Kind, Value)>,
    lag: i64,
    quiet: BTreeMap<String, QuietMemory>,
    wake: Option<i64>,
    crash: Option<Crash>,
    last_start: Option<i64>,
    /// Whether this process of the operator has looked at the workloads: what it saw of their starts stays with it.
    has_looked: bool,
    restarts: usize,
    /// Whether a person runs the command of status.
    resumes: bool,
}

fn name(index: usize) -> String {
    format!("w{index}")
}

fn source(index: usize) -> (Kind, String) {
    if index == SECRET {
        (Kind::Secret, "s".to_owned())
    } else {
        (Kind::ConfigMap, format!("m{index}"))
    }
}

impl Cluster {
    fn new(pace: Pace, works: Vec<Work>) -> Self {
        let mut cluster = Self {
            now: 0,
            pace,
            paused: false,
            version: 0,
            truth: Snapshot::default().loaded(),
            works,
            hash_key: vec![1; 32],
            cache: Snapshot::default().loaded(),
            late: VecDeque::new(),
            lag: 0,
            quiet: BTreeMap::new(),
            wake: Some(0),
            crash: None,
            last_start: None,
            has_looked: false,
            restarts: 0,
            resumes: true,
        };
        for index in 0..=MAPS {
            cluster.configure(index, 0);
        }
        for index in 0..cluster.works.len() {
            cluster.create(index);
        }
        cluster.put_mesh();
        cluster.restart_operator();
        cluster
    }

    fn put_mesh(&mut self) {
        let agents: Vec<Value> = self
            .works
            .iter()
            .enumerate()
            .map(|(i, work)| {
                let reads = match source(work.reads) {
                    (Kind::Secret, name) => json!({"type": "Secret", "secret": {"name": name, "keys": ["k"]}}),
                    (_, name) => json!({"type": "ConfigMap", "configMap": {"name": name}}),
                };
                json!({"name": name(i), "reads": [reads],
                "workload": {"kind": work.kind.as_str(), "namespace": NAMESPACE, "name": name(i)}})
            })
            .collect();
        let span = |seconds: i64| format!("{seconds}s");
        let pace = &self.pace;
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
            "metadata": {"name": "mesh", "uid": "mesh", "generation": self.now + 1},
            "spec": {"mesh": {"type": "None"}, "agents": agents, "rollout": {
                "maxConcurrent": pace.max_concurrent, "minInterval": span(pace.min_interval), "quietPeriod": span(pace.quiet_period),
                "maxDelay": span(pace.max_delay), "progressDeadline": span(pace.deadline), "paused": self.paused,
                "onFailure": if pace.continues { "Continue" } else { "Halt" }}}});
        let mesh: ObservabilityMesh = serde_json::from_value(mesh).unwrap();
        let mesh = Arc::new(mesh);
        for snapshot in [&mut self.truth, &mut self.cache] {
            ObservabilityMesh::put(snapshot, &Key::new("", "mesh"), Some(mesh.clone()));
        }
        self.wake = Some(self.now);
    }

    /// Writes an object; the operator sees it later.
    fn put(&mut self, kind: Kind, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.truth.put(kind, Arc::new(object.clone()), at(self.now));
        let due = self.late.back().map_or(0, |(due, ..)| *due).max(self.now + self.lag);
        self.late.push_back((due, kind, object.clone()));
        object
    }

    fn configure(&mut self, index: usize, value: u8) {
        let (kind, name) = source(index);
        let time = at(self.now).to_string();
        let data = if kind == Kind::Secret {
            format!("MDAw{value}A==")
        } else {
            value.to_string()
        };
        self.put(
            kind,
            json!({"metadata": {"namespace": NAMESPACE, "name": name, "uid": name,
            "labels": {"sightline.dev/shared": "true"},
            "managedFields": [{"manager": "user", "time": time, "fieldsV1": {"f:data": {}}}]}, "data": {"k": data}}),
        );
    }

    /// What a workload reads, in the eyes of the operator or in truth.
    fn content(snapshot: &Snapshot, work: &Work) -> String {
        let (kind, name) = source(work.reads);
        snapshot
            .object(kind, &key(&name))
            .map_or_else(String::new, |object| object["data"].to_string())
    }

    fn create(&mut self, index: usize) {
        let now = self.now;
        let work = &mut self.works[index];
        work.rolling = Rolling::Other(now + 3);
        (work.has, work.seen_at, work.down_until) = (None, now + 1, 0);
        let uid = format!("{}-{}", name(index), self.version);
        let kind = Kind::of_workload(work.kind);
        let mut spec = json!({"template": {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}});
        if work.kind != WorkloadKind::DaemonSet {
            spec["replicas"] = json!(2);
        }
        self.put(
            kind,
            json!({"metadata": {"namespace": NAMESPACE, "name": name(index), "uid": uid, "generation": 1},
            "spec": spec, "status": {}}),
        );
        self.forget_lost_start();
    }

    fn live(&self, index: usize) -> Value {
        let kind = Kind::of_workload(self.works[index].kind);
        (**self.truth.object(kind, &key(&name(index))).unwrap()).clone()
    }

    /// Somebody writes a workload.
    fn edit(&mut self, index: usize, change: impl FnOnce(&mut Value)) {
        let mut object = self.live(index);
        change(&mut object);
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + 1);
        let work = &mut self.works[index];
        work.seen_at = self.now + 1;
        self.put(Kind::of_workload(self.works[index].kind), object);
    }

    fn restart_operator(&mut self) {
        self.cache = self.truth.clone();
        self.late.clear();
        self.quiet.clear();
        self.wake = Some(self.now);
        for work in &mut self.works {
            work.wanted = (Self::content(&self.cache, work), self.now);
            work.stale_since = self.now;
        }
        self.has_looked = false;
        self.forget_lost_start();
    }

    /// The one trace of a start that can be lost is that of a workload that is gone or was replaced, which this process
    /// never looked at before (`QuietMemory` tells of it).
    fn forget_lost_start(&mut self) {
        let is_noted = |index: usize| {
            let template = "/spec/template/metadata/annotations/sightline.dev~1restarted-at";
            Some(self.works[index].started) == self.last_start && self.live(index).pointer(template).is_some()
        };
        if !self.has_looked && !(0..self.works.len()).any(is_noted) {
            self.last_start = None;
        }
    }

    fn happen(&mut self, event: &Event) {
        let count = self.works.len();
        let now = self.now;
        match *event {
            Event::Configure(index, value) => self.configure(index % (MAPS + 1), value),
            Event::PauseMesh(paused) => {
                self.paused = paused;
                self.put_mesh();
            }
            Event::Deploy(index, takes, replaces) => {
                let index = index % count;
                self.edit(index, |object| {
                    if replaces {
                        object["metadata"]["annotations"] = Value::Null;
                        object["spec"]["template"]["metadata"] = json!({});
                    }
                    object["spec"]["template"]["metadata"]["annotations"]["theirs"] = json!(now.to_string());
                });
                let work = &mut self.works[index];
                work.rolling = Rolling::Other(now + takes);
                if replaces {
                    work.has = None;
                    self.forget_lost_start();
                }
            }
            Event::HoldBack(index, held) => {
                let index = index % count;
                // To hold back what we roll would free its slot, and to let it go would take it without asking.
                if !matches!(self.works[index].rolling, Rolling::Ours(_)) {
                    let kind = self.works[index].kind;
                    self.edit(index, |object| match kind {
                        WorkloadKind::Deployment => object["spec"]["paused"] = json!(held),
                        WorkloadKind::DaemonSet => {
                            object["spec"]["updateStrategy"] =
                                json!({"type": if held { "OnDelete" } else { "RollingUpdate" }});
                        }
                        WorkloadKind::StatefulSet => {
                            object["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": i32::from(held)}});
                        }
                    });
                }
            }
            Event::Replace(index) => self.create(index % count),
            Event::LosePod(index, span) => {
                let work = &mut self.works[index % count];
                if work.rolling == Rolling::No {
                    work.down_until = now + span;
                    work.seen_at = work.seen_at.max(now);
                }
            }
            Event::Lag(lag) => self.lag = lag,
            Event::Crash => self.restart_operator(),
            Event::CrashAtNextWrite(crash) => self.crash = Some(crash),
            Event::LoseKey => {
                self.hash_key = vec![self.hash_key[0].wrapping_add(1); 32];
                self.restart_operator();
            }
            Event::Skip => self.resumes = !self.resumes,
        }
    }

    /// What the controllers write now.
    fn roll(&mut self) {
        for index in 0..self.works.len() {
            let now = self.now;
            let work = &self.works[index];
            let ends = matches!(work.rolling, Rolling::Ours(end) | Rolling::Other(end) if end == now);
            if work.seen_at > now || !(ends || work.seen_at == now || work.down_until == now) {
                continue;
            }
            let mut object = self.live(index);
            let work = &mut self.works[index];
            if let Rolling::Ours(end) | Rolling::Other(end) = work.rolling
                && end <= now
            {
                work.rolling = Rolling::No;
            }
            let template = object["spec"]["template"].to_string();
            let is_new = object["status"]["of"] != json!(template);
            if is_new {
                work.revision += 1;
                work.revision_made = now;
            }
            let rolling = work.rolling != Rolling::No;
            let available = if rolling || work.down_until > now { 1 } else { 2 };
            let revision = work.revision.to_string();
            let mut status = match work.kind {
                WorkloadKind::Deployment => {
                    // While it is recreated it has no pod, and the condition of its last rollout.
                    let pods = if rolling { 0 } else { 2 };
                    json!({"replicas": pods, "updatedReplicas": pods, "availableReplicas": available.min(pods),
                        "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}]})
                }
                WorkloadKind::DaemonSet => {
                    json!({"desiredNumberScheduled": 2, "updatedNumberScheduled": available, "numberAvailable": 2})
                }
                WorkloadKind::StatefulSet => {
                    let current = if rolling { "before".to_owned() } else { revision.clone() };
                    json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": available, "currentRevision": current,
                        "updateRevision": revision})
                }
            };
            status["observedGeneration"] = object["metadata"]["generation"].clone();
            status["of"] = json!(template);
            if object["status"] == status {
                continue;
            }
            if is_new {
                let owner = json!([{"uid": object["metadata"]["uid"], "controller": true}]);
                let (kind, revision) = (work.kind, work.revision);
                let made = json!({"revision": revision, "metadata": {"namespace": NAMESPACE, "name": format!("{}-{revision}", name(index)),
                    "uid": format!("{}-{revision}", name(index)), "ownerReferences": owner, "creationTimestamp": at(now).to_string(),
                    "annotations": {"deployment.kubernetes.io/revision": revision.to_string()}}});
                let of = if kind == WorkloadKind::Deployment {
                    Kind::ReplicaSet
                } else {
                    Kind::ControllerRevision
                };
                self.put(of, made);
            }
            object["status"] = status;
            self.put(Kind::of_workload(self.works[index].kind), object);
        }
    }

    /// Whether our write keeps a workload from being complete, and nobody gave leave to go on without it.
    fn is_in_flight(&self, index: usize) -> bool {
        let work = &self.works[index];
        let object = self.live(index);
        let skipped = object
            .pointer("/metadata/annotations/sightline.dev~1skip-failed")
            .is_some();
        let is_released = self.has_failed(index) && (self.pace.continues || skipped);
        matches!(work.rolling, Rolling::Ours(_)) && !is_released
    }

    fn has_failed(&self, index: usize) -> bool {
        let work = &self.works[index];
        matches!(work.rolling, Rolling::Ours(_)) && work.started + self.pace.deadline <= self.now
    }

    /// One pass of the operator, if anything has changed for it.
    fn pass(&mut self) -> Result<(), TestCaseError> {
        let mut told = false;
        while let Some((_, kind, object)) = self.late.pop_front_if(|(due, ..)| *due <= self.now) {
            self.cache.put(kind, Arc::new(object), at(self.now));
            told = true;
        }
        for work in &mut self.works {
            let content = Self::content(&self.cache, work);
            if work.wanted.0 != content {
                work.wanted = (content.clone(), self.now);
            }
            if work.has.as_ref() == Some(&content) {
                work.stale_since = self.now;
            }
        }
        if !told && self.wake.is_none_or(|wake| wake > self.now) {
            return Ok(());
        }
        let now = at(self.now);
        let view = View::new(&self.cache, now, Timings::default());
        let mut memory = Memory {
            quiet: &mut self.quiet,
            hash_key: Some(&self.hash_key),
        };
        let made = plan(&view, &Target::Rollout("mesh".into()), &mut memory);
        self.has_looked = true;
        let judged = plan(&view, &Target::Mesh("mesh".into()), &mut memory);
        self.wake = made
            .look_again
            .map(|at| at.as_second() - 1_800_000_000 + i64::from(at.subsec_nanosecond() > 0));
        prop_assert!(self.wake.is_none_or(|wake| wake > self.now));
        for patch in made.patch {
            let index = (0..self.works.len()).find(|i| name(*i) == patch.key.name).unwrap();
            if self.crash == Some(Crash::BeforeWrite) {
                self.crash = None;
                self.restart_operator();
                return Ok(());
            }
            let id = sightline::crds::WorkloadRef {
                kind: self.works[index].kind,
                namespace: NAMESPACE.into(),
                name: name(index),
            };
            if patch.starts.is_some() {
                self.quiet.get_mut("mesh").unwrap().started(&id, now);
            }
            let mut object = self.live(index);
            if json_patch::patch(&mut object, &patch.patch).is_err() {
                self.quiet.get_mut("mesh").unwrap().not_started(&id);
                self.wake = Some(self.now + 1);
                continue;
            }
            if patch.starts.is_some() {
                self.may_restart(index)?;
            }
            self.written(index, &object, patch.starts.is_some());
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
            let live = self.put(patch.kind, object);
            if self.crash.take() == Some(Crash::AfterWrite) {
                self.restart_operator();
                return Ok(());
            }
            self.cache.put(patch.kind, Arc::new(live), now);
        }
        self.obey(&judged.statuses[0].findings)
    }

    /// A person who reads status runs the command that it gives.
    fn obey(&mut self, findings: &[sightline::conditions::Finding]) -> Result<(), TestCaseError> {
        let finding = findings
            .iter()
            .find(|f| f.type_ == ConditionType::AgentsInSync)
            .unwrap();
        let halts = matches!(finding.reason, Reason::RolloutFailed | Reason::Halted) && !self.pace.continues;
        let Some(command) = finding.message.split('`').nth(1).filter(|_| halts && self.resumes) else {
            return Ok(());
        };
        let words: Vec<&str> = command.split(' ').collect();
        prop_assert_eq!(&words[..2], &["kubectl", "annotate"]);
        let index = (0..self.works.len()).find(|i| name(*i) == words[3]).unwrap();
        prop_assert_eq!(words[2], self.works[index].kind.as_str().to_lowercase());
        let (name, value) = words[7].split_once('=').unwrap();
        let value = value.trim_matches('"').to_owned();
        self.edit(index, |object| object["metadata"]["annotations"][name] = json!(value));
        Ok(())
    }

    /// The rules, at the moment of a write that restarts.
    fn may_restart(&mut self, index: usize) -> Result<(), TestCaseError> {
        let (now, pace, work) = (self.now, &self.pace, &self.works[index]);
        let others = (0..self.works.len())
            .filter(|other| *other != index && self.is_in_flight(*other))
            .count();
        prop_assert!(others < pace.max_concurrent, "budget at {now}");
        prop_assert!(
            self.last_start.is_none_or(|last| now - last >= pace.min_interval),
            "interval at {now}: {:?}",
            self.last_start
        );
        prop_assert!(!self.paused, "paused at {now}");
        prop_assert!(
            !matches!(work.rolling, Rolling::Other(_)),
            "somebody else's rollout at {now}"
        );
        let object = self.live(index);
        let held = [
            ("/spec/paused", json!(true)),
            ("/spec/updateStrategy/type", json!("OnDelete")),
            ("/spec/updateStrategy/rollingUpdate/partition", json!(1)),
        ];
        prop_assert!(
            held.iter().all(|(path, value)| object.pointer(path) != Some(value)),
            "held back at {now}"
        );
        // A pod that was lost before the end of our rollout could be noted is one of that rollout to whoever looks.
        let own = |name: &str| object.pointer(&format!("/metadata/annotations/sightline.dev~1{name}"));
        let is_noted = own("restarted-template") == own("rolled-out");
        prop_assert!(
            work.down_until <= now || work.rolling != Rolling::No || !is_noted,
            "down at {now}"
        );
        let content = Self::content(&self.cache, work);
        prop_assert_ne!(work.has.as_ref(), Some(&content), "no cause at {}", now);
        let quiet = now - work.wanted.1 >= pace.quiet_period;
        prop_assert!(
            quiet || now - work.stale_since >= pace.max_delay,
            "quiet at {now}: {work:?}"
        );
        // Once the operator can see it: the controller has looked, and the watch has told.
        let is_seen = |other: usize| {
            let kind = Kind::of_workload(self.works[other].kind);
            let cached = self.cache.object(kind, &key(&name(other))).unwrap();
            cached["status"]["observedGeneration"] == cached["metadata"]["generation"]
        };
        let halting = (0..self.works.len()).find(|other| {
            let work = &self.works[*other];
            let is_wanted = work.has.as_ref() == Some(&Self::content(&self.cache, work));
            self.has_failed(*other) && self.is_in_flight(*other) && is_wanted && is_seen(*other)
        });
        prop_assert!(
            halting.is_none() || self.is_in_flight(index),
            "halted by {halting:?} at {now}"
        );
        Ok(())
    }

    /// What the model notes of a write.
    fn written(&mut self, index: usize, object: &Value, restarts: bool) {
        let now = self.now;
        let content = Self::content(&self.cache, &self.works[index]);
        let noted = |object: &Value| {
            object
                .pointer("/metadata/annotations/sightline.dev~1in-sync-with")
                .cloned()
        };
        let is_noted = noted(object) != noted(&self.live(index));
        let work = &mut self.works[index];
        if restarts {
            work.rolling = Rolling::Ours(work.takes.map_or(i64::MAX, |takes| now + takes));
            (work.started, work.stale_since) = (now, now);
            self.last_start = Some(now);
            self.restarts += 1;
        }
        if restarts || is_noted {
            work.has = Some(content);
        }
        work.seen_at = now + 1;
    }
}

fn work() -> impl Strategy<Value = Work> {
    let kind = prop_oneof![
        2 => Just(WorkloadKind::Deployment),
        1 => Just(WorkloadKind::DaemonSet),
        1 => Just(WorkloadKind::StatefulSet)
    ];
    (kind, 0..=MAPS, prop::option::weighted(0.8, 2_i64..40)).prop_map(|(kind, reads, takes)| Work {
        kind,
        reads,
        takes,
        rolling: Rolling::No,
        started: i64::MIN / 2,
        down_until: 0,
        seen_at: 0,
        revision: 0,
        revision_made: 0,
        has: None,
        wanted: (String::new(), 0),
        stale_since: 0,
    })
}

fn pace() -> impl Strategy<Value = Pace> {
    (
        1_usize..4,
        0_i64..20,
        0_i64..15,
        0_i64..50,
        30_i64..60,
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(max_concurrent, min_interval, quiet_period, max_delay, deadline, continues)| Pace {
                max_concurrent,
                min_interval,
                quiet_period,
                max_delay,
                deadline,
                continues,
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => (0..=MAPS, 0_u8..3).prop_map(|(i, v)| Event::Configure(i, v)),
        3 => (0_usize..6, 1_i64..40, any::<bool>()).prop_map(|(i, t, r)| Event::Deploy(i, t, r)),
        1 => any::<bool>().prop_map(Event::PauseMesh),
        3 => (0_usize..6, any::<bool>()).prop_map(|(i, h)| Event::HoldBack(i, h)),
        1 => (0_usize..6).prop_map(Event::Replace),
        2 => (0_usize..6, 1_i64..60).prop_map(|(i, s)| Event::LosePod(i, s)),
        2 => (0_i64..5).prop_map(Event::Lag),
        1 => Just(Event::Crash),
        2 => Just(Event::CrashAtNextWrite(Crash::BeforeWrite)),
        2 => Just(Event::CrashAtNextWrite(Crash::AfterWrite)),
        1 => Just(Event::LoseKey),
        1 => Just(Event::Skip),
    ]
}

fn simulate(pace: Pace, works: Vec<Work>, mut events: Vec<(i64, Event)>) -> Result<(), TestCaseError> {
    events.sort_by_key(|(at, _)| *at);
    let mut cluster = Cluster::new(pace, works);
    for now in 0..END {
        cluster.now = now;
        for (_, event) in events.iter().filter(|(at, _)| *at == now) {
            cluster.happen(event);
        }
        if now == CALM {
            cluster.resumes = true;
            cluster.happen(&Event::PauseMesh(false));
            for index in 0..cluster.works.len() {
                cluster.happen(&Event::HoldBack(index, false));
            }
        }
        cluster.roll();
        cluster.pass()?;
    }
    for (index, work) in cluster.works.iter().enumerate() {
        let content = Cluster::content(&cluster.truth, work);
        prop_assert_eq!(work.has.as_ref(), Some(&content), "w{} never got what is wanted", index);
    }
    let before = cluster.restarts;
    cluster.restart_operator();
    let version = cluster.version;
    cluster.now = END;
    cluster.pass()?;
    prop_assert_eq!(cluster.restarts, before, "a new process restarts nobody");
    prop_assert_eq!(cluster.version, version, "and writes nothing");
    Ok(())
}

/// The same worlds in each run, so that a change is judged by itself; others with `PROPTEST_RNG_SEED=N` in the environment.
fn worlds() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        chosen @ RngSeed::Fixed(_) => chosen,
    };
    ProptestConfig {
        cases: 96,
        rng_seed,
        ..asked
    }
}

proptest! {
    #![proptest_config(worlds())]

    #[test]
    fn budget_pace_and_halt_hold_nobody_restarts_without_a_cause_and_all_that_can_come_in_sync_do(
        pace in pace(),
        works in prop::collection::vec(work(), 1..6),
        events in prop::collection::vec((5..CALM, event()), 0..40),
    ) {
        simulate(pace, works, events)?;
    }
}
