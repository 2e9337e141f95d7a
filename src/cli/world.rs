//! The world of `sightline render`: documents in, a snapshot with every missing fact assumed, and where it comes to rest.
//!
//! Pure: no file, no stdout, no clock. The command and the golden cases of `tests/render` both go through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::files::Document;
use crate::admission;
use crate::cluster::hash_key::{SECRET_KEY, SECRET_NAME};
use crate::crds::{
    AgentReadsType, CollectorMode, IstioMesh, KmeshMesh, KumaMesh, MeshConfigMode, ObservabilityMesh, TargetRef,
    TracingBackend, TrafficLog,
};
use crate::plan::kmesh::is_daemon;
use crate::plan::simulate::{Converged, SimulationError, complete_rollout, converge};
use crate::policy::backends::{SpanReceiver, log_endpoint};
use crate::policy::exports::outputs_of;
use crate::policy::membership::{istio_of, maps_of, primary_maps};
use crate::policy::proxies::{CONTROL_PLANE, is_control_plane, kmesh_of, kuma_of};
use crate::policy::targets::kind_of;
use crate::policy::versions::is_istiod;
use crate::render::istio::mesh_config;
use crate::render::kmesh::APP;
use crate::render::metadata::SHARED;
use crate::snapshot::Resource;
use crate::snapshot::mesh_config::MESH_KEY;
use crate::snapshot::{Key, Kind, Snapshot, hidden_value, key_of};

/// The newest Kuma that is out, of which files without a control plane are taken to be.
const NEWEST_KUMA: &str = "2.14";

/// Facts and resources from files.
pub struct World {
    snapshot: Snapshot,
    hash_key: Vec<u8>,
    has_hash_key: bool,
    namespaces: BTreeSet<String>,
}

impl World {
    /// Reads documents as the API server would take them, in any order. The error lists every problem, with its file.
    ///
    /// Without `show_secrets`, values of Secrets are replaced by `<secret NAMESPACE/NAME/KEY>` as they are read: nothing
    /// that is planned or printed can hold them.
    pub fn from_documents(documents: Vec<Document>, show_secrets: bool) -> Result<Self, Vec<String>> {
        let mut world = Self {
            snapshot: Snapshot::default().loaded(),
            hash_key: b"no hash key was given".to_vec(),
            has_hash_key: false,
            namespaces: BTreeSet::new(),
        };
        let mut problems = Vec::new();
        let mut seen: BTreeMap<(String, Key), (String, Value)> = BTreeMap::new();
        for Document { file, mut object } in documents {
            let kind = object
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            if admission::is_ours(&object) {
                match admission::admit(&object) {
                    Ok(admitted) => object = with_maps_of_status(admitted, &object),
                    Err(rejection) => {
                        let headline = rejection.headline();
                        let colon = if headline.is_empty() { "" } else { ": " };
                        problems.push(format!("{file}: {headline}{colon}{rejection}"));
                        continue;
                    }
                }
            } else {
                default_namespace(&mut object);
            }
            let group = object
                .get("apiVersion")
                .and_then(Value::as_str)
                .and_then(|version| version.split_once('/'))
                .map_or("", |(group, _)| group);
            let id = (format!("{group}/{kind}"), key_of(&object));
            match seen.get(&id) {
                Some((_, same)) if *same == object => continue,
                Some((other, _)) => {
                    problems.push(format!(
                        "{file}: {kind} {} stands in {other} too, and differs; keep one of them",
                        id.1
                    ));
                    continue;
                }
                None => drop(seen.insert(id, (file.clone(), object.clone()))),
            }
            if let Err(error) = world.add(&kind, object, show_secrets) {
                problems.push(format!("{file}: {error}"));
            }
        }
        if problems.is_empty() { Ok(world) } else { Err(problems) }
    }

    fn add(&mut self, kind: &str, mut object: Value, show_secrets: bool) -> anyhow::Result<()> {
        let key = key_of(&object);
        if !key.namespace.is_empty() {
            self.namespaces.insert(key.namespace.clone());
        }
        if admission::is_ours(&object) {
            let snapshot = &mut self.snapshot;
            match kind {
                "ObservabilityMesh" => put::<ObservabilityMesh>(snapshot, &key, object)?,
                "TrafficLog" => put::<TrafficLog>(snapshot, &key, object)?,
                _ => put::<TracingBackend>(snapshot, &key, object)?,
            }
            return Ok(());
        }
        let api_version = object
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let Some(fact) = Kind::of(&api_version, kind) else {
            return Ok(());
        };
        match fact {
            Kind::Secret => {
                decode_string_data(&mut object);
                if let Some(secret) = secret_value(&object, SECRET_KEY).filter(|_| key.name == SECRET_NAME) {
                    self.hash_key = secret;
                    self.has_hash_key = true;
                }
                if !show_secrets {
                    hide_values(&mut object, &key);
                }
            }
            Kind::Namespace => {
                // The API server sets this label on every namespace.
                set_label(&mut object, "kubernetes.io/metadata.name", &key.name);
            }
            Kind::Deployment => self.add_pods_of(&object),
            _ => {}
        }
        if fact.workload().is_some() && object.get("status").is_none() {
            // A file says what is wanted, not how far its rollout is: it is over.
            complete_rollout(&mut object);
        }
        let object = Arc::new(object);
        if fact == Kind::Pod {
            self.snapshot.put(Kind::Proxy, object.clone(), Timestamp::UNIX_EPOCH);
        }
        self.snapshot.put(fact, object, Timestamp::UNIX_EPOCH);
        Ok(())
    }

    /// Files hold the Deployment of a control plane and seldom its Pods: one Ready Pod of its template stands for them.
    fn add_pods_of(&mut self, deployment: &Value) {
        let labels = deployment
            .pointer("/spec/template/metadata/labels")
            .cloned()
            .unwrap_or_default();
        let app = labels.get("app").and_then(Value::as_str);
        if !app.is_some_and(|app| ["istiod", CONTROL_PLANE].contains(&app)) {
            return;
        }
        let key = key_of(deployment);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{}-rendered", key.name), "namespace": key.namespace, "labels": labels},
            "spec": deployment.pointer("/spec/template/spec").cloned().unwrap_or_default(),
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.snapshot.put(Kind::Pod, Arc::new(pod), Timestamp::UNIX_EPOCH);
    }

    /// Fills in what no file says, each with one documented default; returns what was assumed, a sentence each.
    pub fn assume_missing_facts(&mut self) -> Vec<String> {
        let mut assumed = Vec::new();
        self.assume_services(&mut assumed);
        self.assume_targets(&mut assumed);
        let meshes: Vec<Arc<ObservabilityMesh>> = self.snapshot.meshes.values().cloned().collect();
        for mesh in &meshes {
            self.assume_control_plane(mesh, &mut assumed);
            self.assume_secrets(mesh, &mut assumed);
            self.assume_prometheus(mesh, &mut assumed);
            let has_password = mesh
                .spec
                .interface_traffic
                .as_ref()
                .is_some_and(|traffic| traffic.elasticsearch.credentials_secret_ref.is_some());
            let reads_secrets = |reads: &crate::crds::AgentReads| match reads.type_ {
                AgentReadsType::ConfigMap | AgentReadsType::Export => false,
                AgentReadsType::InterfaceTraffic => has_password,
                AgentReadsType::Secret => true,
            };
            if !self.has_hash_key && mesh.spec.agents.iter().flat_map(|a| &a.reads).any(reads_secrets) {
                self.has_hash_key = true;
                assumed.push(format!(
                    "Secret {SECRET_NAME} is not given: config-hash of agents that read Secrets is not the cluster's"
                ));
            }
        }
        let names: Vec<String> = self.namespaces.iter().cloned().collect();
        for name in names {
            let key = Key::new("", &name);
            if self.snapshot.object(Kind::Namespace, &key).is_none() {
                assumed.push(format!("Namespace {name} exists, with its metadata.name label only"));
                self.put(
                    Kind::Namespace,
                    json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}),
                );
            }
        }
        assumed
    }

    /// Plays the operator on it until it rests. `start` is the first moment of its clock; the result does not depend on
    /// it.
    pub fn converge(self, start: Timestamp) -> Result<Converged, SimulationError> {
        converge(self.snapshot, start, &self.hash_key)
    }

    /// The facts and resources as they are now.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The key under which Secret values enter hashes.
    pub fn hash_key(&self) -> &[u8] {
        &self.hash_key
    }

    /// A Prometheus that no file gives is there, and selects everything.
    fn assume_prometheus(&mut self, mesh: &ObservabilityMesh, assumed: &mut Vec<String>) {
        let written = outputs_of(mesh);
        for (_, _, key) in &written {
            self.namespaces.insert(key.namespace.clone());
        }
        let Some((_, _, key)) = written.into_iter().find(|(_, kind, _)| *kind != Kind::ConfigMap) else {
            return;
        };
        if self.snapshot.objects(Kind::Prometheus).next().is_none() {
            push_once(
                assumed,
                "A Prometheus of prometheus-operator selects every object of its kinds".to_owned(),
            );
            let all = json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {},
                             "serviceMonitorSelector": {}, "serviceMonitorNamespaceSelector": {},
                             "scrapeConfigSelector": {}, "scrapeConfigNamespaceSelector": {},
                             "ruleSelector": {}, "ruleNamespaceSelector": {}});
            self.put(
                Kind::Prometheus,
                json!({"metadata": {"name": "assumed", "namespace": key.namespace}, "spec": all}),
            );
        }
    }

    fn put(&mut self, kind: Kind, object: Value) {
        let key = key_of(&object);
        if !key.namespace.is_empty() {
            self.namespaces.insert(key.namespace);
        }
        self.snapshot.put(kind, Arc::new(object), Timestamp::UNIX_EPOCH);
    }

    /// No rendering holds for all versions of Kuma: the newest that is out is assumed.
    fn assume_kuma(&mut self, kuma: &KumaMesh, assumed: &mut Vec<String>) {
        let namespace = &kuma.system_namespace;
        self.namespaces.insert(namespace.clone());
        if kuma.legacy
            && self
                .snapshot
                .object(Kind::KumaMesh, &Key::new("", &kuma.name))
                .is_none()
        {
            push_once(assumed, format!("Mesh {} of kuma.io says nothing", kuma.name));
            let mesh = json!({"apiVersion": "kuma.io/v1alpha1", "kind": "Mesh", "metadata": {"name": kuma.name}});
            self.put(Kind::KumaMesh, mesh);
        }
        let mut pods = self.snapshot.objects_in(Kind::Pod, namespace);
        if kuma.version.is_some() || pods.any(|(_, pod)| is_control_plane(pod)) {
            return;
        }
        drop(pods);
        push_once(
            assumed,
            format!("Kuma's control plane runs in namespace {namespace}, of version {NEWEST_KUMA}"),
        );
        let image = format!("kuma-cp:{NEWEST_KUMA}");
        self.put(
            Kind::Pod,
            json!({
                "metadata": {"name": "kuma-control-plane-assumed", "namespace": namespace, "labels": {"app": CONTROL_PLANE}},
                "spec": {"containers": [{"name": "control-plane", "image": image}]},
            }),
        );
    }

    /// Files seldom hold the Pods of a DaemonSet: one stands for those of all nodes.
    fn assume_kmesh(&mut self, kmesh: &KmeshMesh, assumed: &mut Vec<String>) {
        let namespace = &kmesh.namespace;
        self.namespaces.insert(namespace.clone());
        let mut pods = self.snapshot.objects_in(Kind::Pod, namespace);
        if pods.any(|(_, pod)| is_daemon(pod, kmesh)) {
            return;
        }
        drop(pods);
        push_once(
            assumed,
            format!("A daemon of Kmesh's runs in namespace {namespace} and takes what it is asked for"),
        );
        let name = format!("{}-assumed", kmesh.daemon_set);
        let metadata = json!({"name": name, "namespace": namespace, "labels": {"app": APP}});
        self.put(
            Kind::Pod,
            json!({"metadata": metadata, "spec": {"nodeName": "assumed"}}),
        );
    }

    fn assume_control_plane(&mut self, mesh: &ObservabilityMesh, assumed: &mut Vec<String>) {
        if let Some(kuma) = kuma_of(mesh) {
            self.assume_kuma(&kuma, assumed);
        }
        if let Some(kmesh) = kmesh_of(mesh) {
            self.assume_kmesh(&kmesh, assumed);
        }
        let Some(istio) = istio_of(mesh) else { return };
        self.namespaces.insert(istio.namespace.clone());
        if istio.mesh_config.mode == MeshConfigMode::Patch {
            self.assume_foreign_maps(&istio, assumed);
        }
        for revision in &istio.revisions {
            let primary = mesh_config::primary_map(&istio.namespace, revision);
            if self.snapshot.object(Kind::ConfigMap, &primary).is_none() {
                push_once(
                    assumed,
                    format!(
                        "ConfigMap {primary} has Istio's defaults (rootNamespace {})",
                        istio.namespace
                    ),
                );
            }
            if self
                .snapshot
                .objects_in(Kind::Pod, &istio.namespace)
                .any(|(_, pod)| is_istiod(pod, revision))
            {
                continue;
            }
            // In mode Patch it reads a map that is named besides its own.
            let shared = maps_of(&istio)
                .into_iter()
                .find(|map| !primary_maps(&istio).any(|primary| primary == *map));
            let with = shared
                .as_ref()
                .map_or_else(String::new, |map| format!(", with SHARED_MESH_CONFIG={}", map.name));
            push_once(
                assumed,
                format!(
                    "istiod of revision {revision} runs in namespace {}, of the oldest supported version{with}",
                    istio.namespace
                ),
            );
            let env: Vec<Value> = shared
                .iter()
                .map(|map| json!({"name": "SHARED_MESH_CONFIG", "value": map.name}))
                .collect();
            self.put(
                Kind::Pod,
                json!({
                    "metadata": {"name": format!("istiod-{revision}-assumed"), "namespace": istio.namespace,
                                 "labels": {"app": "istiod", "istio.io/rev": revision}},
                    "spec": {"containers": [{"name": "discovery", "env": env}]},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                }),
            );
        }
    }

    /// Mode Patch makes no map: one that no file gives is there, and says nothing.
    fn assume_foreign_maps(&mut self, istio: &IstioMesh, assumed: &mut Vec<String>) {
        for map in maps_of(istio) {
            if self.snapshot.object(Kind::ConfigMap, &map).is_some() {
                continue;
            }
            push_once(assumed, format!("ConfigMap {map} exists, with an empty MeshConfig"));
            self.put(
                Kind::ConfigMap,
                json!({"apiVersion": "v1", "kind": "ConfigMap",
                       "metadata": {"name": map.name, "namespace": map.namespace}, "data": {MESH_KEY: ""}}),
            );
        }
    }

    fn assume_services(&mut self, assumed: &mut Vec<String>) {
        let meshes = self.snapshot.meshes.values();
        let of_meshes = meshes.flat_map(|mesh| {
            let logs = mesh.spec.logging.backends.iter().filter_map(log_endpoint);
            let traces = mesh.spec.tracing.iter().flat_map(|tracing| &tracing.backends);
            let traces = traces.filter_map(|backend| SpanReceiver::of_backend(mesh, backend).ok());
            logs.chain(traces.map(SpanReceiver::endpoint))
        });
        let policies = self.snapshot.tracing_backends.values();
        let of_policies = policies.filter_map(|policy| SpanReceiver::of_destination(&policy.spec.destination));
        let endpoints = of_meshes.chain(of_policies.map(SpanReceiver::endpoint));
        let mut ports: BTreeMap<Key, BTreeSet<i32>> = BTreeMap::new();
        for endpoint in endpoints {
            if let Some((namespace, name)) = endpoint.service() {
                ports
                    .entry(Key::new(namespace, name))
                    .or_default()
                    .insert(endpoint.port);
            }
        }
        for (service, ports) in ports {
            // One of ours is written like everything else.
            let is_ours = self.snapshot.meshes.values().any(|mesh| makes_service(mesh, &service));
            if is_ours || self.snapshot.object(Kind::Service, &service).is_some() {
                continue;
            }
            let listed: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let word = if ports.len() == 1 { "port" } else { "ports" };
            push_once(
                assumed,
                format!("Service {service} exists, with {word} {} for gRPC", listed.join(", ")),
            );
            let ports = ports
                .iter()
                .map(|port| json!({"name": format!("grpc-{port}"), "port": port}));
            let ports: Vec<Value> = ports.collect();
            self.put(
                Kind::Service,
                json!({"metadata": {"namespace": service.namespace, "name": service.name}, "spec": {"ports": ports}}),
            );
        }
    }

    fn assume_targets(&mut self, assumed: &mut Vec<String>) {
        let snapshot = &self.snapshot;
        let logs = snapshot
            .traffic_logs
            .iter()
            .map(|(key, log)| (key, &log.spec.target_refs));
        let traces = snapshot
            .tracing_backends
            .iter()
            .map(|(key, t)| (key, &t.spec.target_refs));
        let targets = logs.chain(traces).flat_map(|(policy, targets)| {
            let key = |target: &TargetRef| (kind_of(target.kind), Key::new(&policy.namespace, &target.name));
            targets.iter().map(key)
        });
        let targets: BTreeSet<(Kind, Key)> = targets.collect();
        for (kind, target) in targets {
            if self.snapshot.object(kind, &target).is_none() {
                assumed.push(format!("{} {target} exists", kind.names().1));
                self.put(
                    kind,
                    json!({"metadata": {"namespace": target.namespace, "name": target.name}}),
                );
            }
        }
    }

    fn assume_secrets(&mut self, mesh: &ObservabilityMesh, assumed: &mut Vec<String>) {
        let mut wanted: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
        let credentials = mesh
            .spec
            .interface_traffic
            .iter()
            .filter_map(|t| t.elasticsearch.credentials_secret_ref.as_ref());
        for reference in credentials {
            let keys = wanted
                .entry(Key::new(&reference.namespace, &reference.name))
                .or_default();
            keys.extend([reference.username_key.clone(), reference.password_key.clone()]);
        }
        for agent in &mesh.spec.agents {
            for read in agent.reads.iter().filter_map(|reads| reads.secret.as_ref()) {
                let keys = wanted
                    .entry(Key::new(&agent.workload.namespace, &read.name))
                    .or_default();
                keys.extend(read.keys.iter().cloned());
            }
        }
        for (key, keys) in wanted {
            if self.snapshot.object(Kind::Secret, &key).is_some() {
                continue;
            }
            push_once(
                assumed,
                format!("Secret {key} exists, is shared with Sightline, and has the keys that are named"),
            );
            let data: Map<String, Value> = keys
                .into_iter()
                .map(|name| (name.clone(), encoded(&hidden_value(&key, &name))))
                .collect();
            self.put(Kind::Secret, json!({
                "metadata": {"namespace": key.namespace, "name": key.name, "labels": {SHARED: "true"}}, "data": data,
            }));
        }
    }
}

/// Whether a Service is one that we write for the collector of a mesh.
fn makes_service(mesh: &ObservabilityMesh, service: &Key) -> bool {
    let workload = mesh
        .spec
        .collector
        .as_ref()
        .filter(|of| of.mode == CollectorMode::Workload);
    workload.is_some_and(|of| *service == Key::new(&of.namespace, of.object_name()))
}

fn push_once(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

fn put<K: Resource + serde::de::DeserializeOwned>(
    snapshot: &mut Snapshot,
    key: &Key,
    object: Value,
) -> anyhow::Result<()> {
    let resource: K =
        serde_json::from_value(object).context("the schema admits it and the types do not: a bug, please report it")?;
    K::put(snapshot, key, Some(Arc::new(resource)));
    Ok(())
}

/// Of a status one thing is not concluded anew: where extension providers were written before.
fn with_maps_of_status(mut admitted: Value, read: &Value) -> Value {
    let mut status = Map::new();
    for field in ["meshConfigMaps", "exportConfigMaps"] {
        let listed = read.pointer(&format!("/status/{field}")).and_then(Value::as_array);
        if let Some(listed) = listed {
            let maps: Vec<&Value> = listed.iter().filter(|map| map.is_string()).collect();
            status.insert(field.to_owned(), json!(maps));
        }
    }
    let collector = read.pointer("/status/collector").filter(|noted| noted.is_object());
    status.extend(collector.map(|noted| ("collector".to_owned(), noted.clone())));
    if let Some(object) = admitted.as_object_mut().filter(|_| !status.is_empty()) {
        object.insert("status".into(), Value::Object(status));
    }
    admitted
}

fn default_namespace(object: &mut Value) {
    let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let namespaced = Kind::of(api_version, kind).is_some_and(Kind::is_namespaced);
    if let Some(metadata) = object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .filter(|_| namespaced)
    {
        metadata
            .entry("namespace")
            .or_insert_with(|| Value::from(admission::DEFAULT_NAMESPACE));
    }
}

fn set_label(object: &mut Value, name: &str, value: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(name.to_owned(), Value::from(value));
    }
}

/// The API server turns `stringData` into `data`.
fn decode_string_data(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    let data = map.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        data.extend(
            texts
                .into_iter()
                .map(|(key, text)| (key, encoded(text.as_str().unwrap_or_default()))),
        );
    }
}

fn encoded(text: &str) -> Value {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap_or_default()
}

fn secret_value(object: &Value, key: &str) -> Option<Vec<u8>> {
    let bytes: ByteString = serde_json::from_value(object.get("data")?.get(key)?.clone()).ok()?;
    Some(bytes.0)
}

fn hide_values(object: &mut Value, key: &Key) {
    let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, value) in data.iter_mut() {
        *value = encoded(&hidden_value(key, name));
    }
}
