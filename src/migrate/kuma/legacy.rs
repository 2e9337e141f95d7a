//! What 2.x has beside policies: blocks of a Mesh, with TrafficLogs and TrafficTraces that name their backends.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Effect, Notes, items, mesh_of, policy, set, share, text};
use crate::snapshot::key_of;

/// The parts of a Mesh that 3.0 drops without a word.
const BLOCKS: [&str; 3] = ["logging", "tracing", "metrics"];

/// Tag that every proxy has.
const SERVICE: &str = "kuma.io/service";

/// The objects of 2.x.
pub(super) struct Legacy {
    pub(super) meshes: Vec<Value>,
    pub(super) logs: Vec<Value>,
    pub(super) traces: Vec<Value>,
    pub(super) routes: Vec<Value>,
}

impl Legacy {
    /// The policies that mean the same, in the words of 2.13.
    pub(super) fn policies(&self, namespace: &str, notes: &mut Notes) -> Vec<Value> {
        let logs = self.logs.iter().flat_map(|log| self.access_logs(log, namespace, notes));
        let mut policies: Vec<Value> = logs.collect();
        for trace in &self.traces {
            policies.extend(self.mesh_traces(trace, namespace, notes));
        }
        policies.extend(self.meshes.iter().filter_map(|mesh| metrics(mesh, namespace, notes)));
        for mesh in &self.meshes {
            self.note_unused(mesh, notes);
        }
        policies
    }

    /// Names that people gave to places, by what they are.
    pub(super) fn names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for mesh in &self.meshes {
            for block in ["logging", "tracing"] {
                for backend in items(mesh, &format!("/spec/{block}/backends")) {
                    let conf = backend.get("conf").unwrap_or(&Value::Null);
                    let places = ["path", "address", "url"]
                        .into_iter()
                        .map(|member| text(conf, &format!("/{member}")));
                    let place = places.filter(|place| !place.is_empty()).collect::<String>();
                    names.insert(place, text(backend, "/name").to_owned());
                }
            }
        }
        names
    }

    /// The Meshes without the old blocks.
    pub(super) fn bare_meshes(&self, notes: &mut Notes) -> Vec<Value> {
        let mut bare = Vec::new();
        for mesh in &self.meshes {
            let blocks: Vec<&str> = BLOCKS
                .into_iter()
                .filter(|block| mesh.pointer(&format!("/spec/{block}")).is_some())
                .collect();
            if blocks.is_empty() {
                notes.add(Effect::LeftAlone, mesh, "");
                continue;
            }
            let mut spec = mesh.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
            spec.retain(|name, _| !BLOCKS.contains(&name.as_str()));
            let name = key_of(mesh).name;
            bare.push(json!({
                "apiVersion": "kuma.io/v1alpha1", "kind": "Mesh", "metadata": {"name": name}, "spec": spec,
            }));
            let message = format!(
                "spec: {} taken out; apply it once the policies stand, and where a TrafficLog or TrafficTrace that was not given names a backend of it, migrate that too",
                blocks.join(", ")
            );
            notes.changed(mesh, message);
        }
        bare
    }

    /// The backend that a TrafficLog or TrafficTrace names, or else the mesh's default.
    fn backend(&self, of: &Value, block: &str, notes: &mut Notes) -> Option<&Value> {
        let name = mesh_of(of);
        let Some(mesh) = self.meshes.iter().find(|mesh| key_of(mesh).name == name) else {
            notes.lost(
                of,
                format!("Mesh {name}, which has its backend, is not among the files; add it"),
            );
            return None;
        };
        let named = text(of, "/spec/conf/backend");
        let default = text(mesh, &format!("/spec/{block}/defaultBackend"));
        let wanted = if named.is_empty() { default } else { named };
        let found = items(mesh, &format!("/spec/{block}/backends")).find(|backend| text(backend, "/name") == wanted);
        if found.is_none() {
            let message = format!(
                "spec.conf.backend: Mesh {name} has no {block} backend `{wanted}`, so it did nothing; remove it"
            );
            notes.lost(of, message);
        }
        found
    }

    fn access_logs(&self, log: &Value, namespace: &str, notes: &mut Notes) -> Vec<Value> {
        let Some(backend) = self.backend(log, "logging", notes) else {
            return Vec::new();
        };
        let Some(backend) = log_backend(log, backend, notes) else {
            return Vec::new();
        };
        let mesh = mesh_of(log);
        if !self.routes.iter().any(|route| mesh_of(route) == mesh) {
            let message = format!(
                "Kuma reads it only where mesh {mesh} has a TrafficRoute, and none is among the files: the new policy logs whether or not there is one"
            );
            notes.changed(log, message);
        }
        if self.logs.iter().filter(|other| mesh_of(other) == mesh).count() > 1 {
            let message = "one TrafficLog held for a connection, the one that names more tags; of several policies the narrower target's list of backends holds, and of equal targets the one whose name sorts first";
            notes.changed(log, message);
        }
        let mut to = Vec::new();
        for destination in items(log, "/spec/destinations") {
            let service = destination.pointer("/match/kuma.io~1service").and_then(Value::as_str);
            let target = match service {
                None | Some("*") => json!({"kind": "Mesh"}),
                Some(name) => json!({"kind": "MeshService", "name": name}),
            };
            to.push(json!({"targetRef": target, "default": {"backends": [backend]}}));
        }
        let spec = |target: Value| Map::from_iter([("targetRef".to_owned(), target), ("to".to_owned(), json!(to))]);
        named(log, targets(log, "/spec/sources", notes))
            .map(|(name, target)| policy("MeshAccessLog", namespace, &name, mesh, &spec(target)))
            .collect()
    }

    fn mesh_traces(&self, trace: &Value, namespace: &str, notes: &mut Notes) -> Vec<Value> {
        let Some(backend) = self.backend(trace, "tracing", notes) else {
            return Vec::new();
        };
        let Some(made) = trace_backend(trace, backend, notes) else {
            return Vec::new();
        };
        let overall = backend.get("sampling").map_or_else(|| json!(100), share);
        let default = json!({"backends": [made], "sampling": {"overall": overall, "client": 100, "random": 100}});
        let spec = |target: Value| {
            Map::from_iter([
                ("targetRef".to_owned(), target),
                ("default".to_owned(), default.clone()),
            ])
        };
        named(trace, targets(trace, "/spec/selectors", notes))
            .map(|(name, target)| policy("MeshTrace", namespace, &name, mesh_of(trace), &spec(target)))
            .collect()
    }

    /// What nothing names did nothing.
    fn note_unused(&self, mesh: &Value, notes: &mut Notes) {
        let name = key_of(mesh).name;
        for (block, users) in [("logging", &self.logs), ("tracing", &self.traces)] {
            let default = text(mesh, &format!("/spec/{block}/defaultBackend"));
            for entry in items(mesh, &format!("/spec/{block}/backends")) {
                let backend = text(entry, "/name");
                let uses = |user: &&Value| match text(user, "/spec/conf/backend") {
                    "" => backend == default,
                    named => backend == named,
                };
                if !users
                    .iter()
                    .filter(|user| mesh_of(user) == name)
                    .any(|user| uses(&user))
                {
                    let kind = if block == "logging" {
                        "TrafficLog"
                    } else {
                        "TrafficTrace"
                    };
                    let message = format!(
                        "spec.{block}.backends: no {kind} of the files names `{backend}`, so nothing goes there, and it is not written: {entry}"
                    );
                    notes.lost(mesh, message);
                }
            }
        }
    }
}

/// One name for each target: that of the object, and numbers behind it.
fn named(of: &Value, targets: Vec<Value>) -> impl Iterator<Item = (String, Value)> + use<> {
    let name = key_of(of).name;
    targets.into_iter().enumerate().map(move |(index, target)| match index {
        0 => (name.clone(), target),
        more => (format!("{name}-{}", more + 1), target),
    })
}

/// The workloads of a list of selectors, as targets.
fn targets(of: &Value, pointer: &str, notes: &mut Notes) -> Vec<Value> {
    let mut targets = Vec::new();
    for selector in items(of, pointer) {
        let tags = selector
            .get("match")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let tags: Map<String, Value> = tags
            .into_iter()
            .filter(|(name, value)| !(name == SERVICE && value == "*"))
            .collect();
        let path = pointer.trim_start_matches('/').replace('/', ".");
        if let Some((name, _)) = tags.iter().find(|(_, value)| *value == "*") {
            notes.lost(
                of,
                format!("{path}: a policy cannot ask for a tag of any value, as for `{name}` here"),
            );
            continue;
        }
        targets.push(match (tags.len(), tags.get(SERVICE)) {
            (0, _) => json!({"kind": "Mesh"}),
            (1, Some(service)) => json!({"kind": "MeshService", "name": service}),
            _ => json!({"kind": "MeshSubset", "tags": tags}),
        });
    }
    targets
}

/// Where a TrafficLog writes, as an entry of a MeshAccessLog.
fn log_backend(of: &Value, backend: &Value, notes: &mut Notes) -> Option<Value> {
    let (type_, member, place) = match text(backend, "/type") {
        "file" => ("File", "path", text(backend, "/conf/path")),
        "tcp" => ("Tcp", "address", text(backend, "/conf/address")),
        other => {
            notes.lost(
                of,
                format!("its backend is of type `{other}`, which Kuma does not have"),
            );
            return None;
        }
    };
    let mut body = Map::from_iter([(member.to_owned(), Value::from(place))]);
    let format = text(backend, "/format");
    if !format.is_empty() {
        body.insert("format".into(), json!({"type": "Plain", "plain": format}));
    }
    Some(json!({"type": type_, type_.to_lowercase(): body}))
}

/// Where a TrafficTrace sends, as an entry of a MeshTrace.
fn trace_backend(of: &Value, backend: &Value, notes: &mut Notes) -> Option<Value> {
    let conf = backend.get("conf").unwrap_or(&Value::Null);
    match text(backend, "/type") {
        "zipkin" => {
            let version = match text(conf, "/apiVersion") {
                "httpJsonV1" => {
                    notes.changed(of, "apiVersion httpJsonV1 of its backend is gone: httpJson is written");
                    "httpJson"
                }
                "" => "httpJson",
                other => other,
            };
            let bool_of = |member: &str, default| conf.get(member).and_then(Value::as_bool).unwrap_or(default);
            Some(json!({"type": "Zipkin", "zipkin": {
                "url": text(conf, "/url"),
                "apiVersion": version,
                "traceId128bit": bool_of("traceId128bit", false),
                "sharedSpanContext": bool_of("sharedSpanContext", true),
            }}))
        }
        "datadog" => {
            let port = conf.get("port").and_then(Value::as_u64).unwrap_or_default();
            let split = conf.get("splitService").and_then(Value::as_bool).unwrap_or_default();
            let url = format!("http://{}:{port}", text(conf, "/address"));
            Some(json!({"type": "Datadog", "datadog": {"url": url, "splitService": split}}))
        }
        other => {
            notes.lost(
                of,
                format!("its backend is of type `{other}`, which Kuma does not have"),
            );
            None
        }
    }
}

/// The metrics of a Mesh.
fn metrics(mesh: &Value, namespace: &str, notes: &mut Notes) -> Option<Value> {
    let enabled = text(mesh, "/spec/metrics/enabledBackend");
    let mut backends = items(mesh, "/spec/metrics/backends");
    let backend = backends.find(|backend| !enabled.is_empty() && text(backend, "/name") == enabled);
    let Some(backend) = backend else {
        if mesh.pointer("/spec/metrics").is_some() {
            notes.lost(
                mesh,
                "spec.metrics: no backend is enabled, so nothing was measured, and nothing is written",
            );
        }
        return None;
    };
    let type_ = text(backend, "/type");
    if type_ != "prometheus" {
        notes.lost(
            mesh,
            format!("spec.metrics: its backend is of type `{type_}`, which Kuma does not have"),
        );
        return None;
    }
    let conf = backend.get("conf").unwrap_or(&Value::Null);
    if let Some(tags) = conf.get("tags") {
        let message = format!("spec.metrics: a MeshMetric has no `tags`; add labels where it is scraped: {tags}");
        notes.lost(mesh, message);
    }
    let port = conf.get("port").cloned().unwrap_or_else(|| json!(5670));
    let path = Some(text(conf, "/path"))
        .filter(|path| !path.is_empty())
        .unwrap_or("/metrics");
    let mut prometheus = json!({"port": port, "path": path});
    if let Some(mode) = tls(mesh, conf) {
        set(&mut prometheus, "tls", json!({"mode": mode}));
    }
    let used_only = conf
        .pointer("/envoy/usedOnly")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    let profiles = match text(conf, "/envoy/filterRegex") {
        "" => json!({"appendProfiles": [{"name": "All"}]}),
        regex => json!({"appendProfiles": [{"name": "None"}], "include": [{"type": "Regex", "match": regex}]}),
    };
    let mut default = json!({
        "sidecar": {"includeUnused": !used_only, "profiles": profiles},
        "backends": [{"type": "Prometheus", "prometheus": prometheus}],
    });
    let mut applications = Vec::new();
    for application in items(conf, "/aggregate") {
        let name = text(application, "/name");
        if application.get("enabled") == Some(&Value::Bool(false)) {
            let message = format!("spec.metrics: application `{name}` is switched off, and is not written");
            notes.lost(mesh, message);
            continue;
        }
        let mut application = application.as_object().cloned().unwrap_or_default();
        application.remove("enabled");
        applications.push(Value::Object(application));
    }
    if !applications.is_empty() {
        set(&mut default, "applications", applications.into());
    }
    let spec = Map::from_iter([
        ("targetRef".to_owned(), json!({"kind": "Mesh"})),
        ("default".to_owned(), default),
    ]);
    let name = key_of(mesh).name;
    Some(policy(
        "MeshMetric",
        namespace,
        &format!("{name}-metrics"),
        &name,
        &spec,
    ))
}

/// By default metrics were scraped by mTLS where the mesh had it; a MeshMetric's default is plaintext.
fn tls(mesh: &Value, conf: &Value) -> Option<&'static str> {
    let skips = conf.get("skipMTLS").and_then(Value::as_bool).unwrap_or_default();
    let has_mtls = !text(mesh, "/spec/mtls/enabledBackend").is_empty();
    match text(conf, "/tls/mode") {
        "providedTLS" => Some("ProvidedTLS"),
        "disabled" => None,
        _ => (has_mtls && !skips).then_some("ActiveMTLSBackend"),
    }
}
