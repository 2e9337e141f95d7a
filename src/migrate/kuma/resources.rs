//! Policies of Kuma's as resources of Sightline.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Notes, items, mesh_of, otlp_address, set, share, text};
use crate::admission;
use crate::crds::Direction;
use crate::format::{Base, Dialect, Encoding, FormatSpec, KumaFormat, KumaVersion};
use crate::snapshot::key_of;

/// For formats, which mean the same in all versions.
const ANY_VERSION: Dialect = Dialect::Kuma(KumaVersion::new(3, 0));

/// Tag and label of a proxy: the namespace of its pod.
const NAMESPACE: &str = "k8s.kuma.io/namespace";

/// What a log record says beside its attributes, where Sightline writes it.
const BODY: &str = "access log";

/// The resources that say what policies say. `names` are what people call places.
pub(super) fn of(
    policies: &[Value],
    receivers: &[Value],
    names: &BTreeMap<String, String>,
    system_namespace: &str,
    notes: &mut Notes,
) -> Vec<Value> {
    let mut meshes: BTreeMap<&str, Mesh<'_>> = BTreeMap::new();
    let of_logs = |policy: &&Value| text(policy, "/kind") == "MeshAccessLog";
    for policy in policies {
        let others = policies.iter().filter(of_logs);
        let has_others = others.filter(|other| mesh_of(other) == mesh_of(policy)).count() > 1;
        let mesh = meshes.entry(mesh_of(policy)).or_insert_with(|| Mesh {
            receivers,
            names,
            system_namespace,
            logs: Places::default(),
            traces: Places::default(),
            default_tracing: None,
            metrics: None,
            switches_off: false,
            policies: Vec::new(),
            taken: BTreeSet::new(),
        });
        match text(policy, "/kind") {
            "MeshAccessLog" => mesh.access_log(policy, has_others, notes),
            "MeshTrace" => mesh.trace(policy, notes),
            _ => mesh.metrics(policy, notes),
        }
    }
    let mut all = Vec::new();
    for (name, mesh) in meshes {
        let logs = mesh.resources(name);
        for resource in logs {
            if let Err(rejection) = admission::admit(&resource) {
                notes.lost(
                    &resource,
                    format!("it is printed, but has to be corrected: {rejection}"),
                );
            }
            all.push(resource);
        }
    }
    all
}

/// Places by what they are, under names of their own.
#[derive(Default)]
struct Places(Vec<(String, Value)>);

impl Places {
    /// The name of a place; `wanted` where it has none yet.
    fn name(&mut self, wanted: &str, place: &Value) -> String {
        if let Some((name, _)) = self.0.iter().find(|(_, known)| known == place) {
            return name.clone();
        }
        let is_taken = |name: &str| self.0.iter().any(|(known, _)| known == name);
        let name = unused(wanted, is_taken);
        self.0.push((name.clone(), place.clone()));
        name
    }

    fn values(&self) -> Vec<Value> {
        let named = |(name, place): &(String, Value)| {
            let mut value = json!({"name": name});
            if let (Some(value), Some(place)) = (value.as_object_mut(), place.as_object()) {
                value.extend(place.clone());
            }
            value
        };
        self.0.iter().map(named).collect()
    }
}

/// A name, or one with a number behind it.
fn unused(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

/// Which workloads: a namespace, and labels of its pods.
type Scope = (String, Map<String, Value>);

struct Mesh<'a> {
    receivers: &'a [Value],
    names: &'a BTreeMap<String, String>,
    system_namespace: &'a str,
    logs: Places,
    traces: Places,
    default_tracing: Option<Value>,
    metrics: Option<Value>,
    switches_off: bool,
    policies: Vec<Value>,
    taken: BTreeSet<(String, String, String)>,
}

impl Mesh<'_> {
    fn resources(self, name: &str) -> Vec<Value> {
        let mut spec = json!({
            "mesh": {"type": "Kuma", "kuma": {"name": name, "systemNamespace": self.system_namespace}},
        });
        let format = json!({"preset": "Kuma"});
        let logging = if self.logs.0.is_empty() {
            json!({"format": format})
        } else {
            json!({"backends": self.logs.values(), "format": format})
        };
        set(&mut spec, "logging", logging);
        if self.switches_off {
            set(&mut spec, "tenancy", json!({"disableLogging": "Allowed"}));
        }
        if !self.traces.0.is_empty() {
            let mut tracing = json!({"backends": self.traces.values()});
            if let Some(default) = self.default_tracing {
                set(&mut tracing, "default", default);
            }
            set(&mut spec, "tracing", tracing);
        }
        if let Some(metrics) = self.metrics {
            set(&mut spec, "metrics", json!({"kuma": metrics}));
        }
        let mesh = json!({
            "apiVersion": "sightline.dev/v1alpha1",
            "kind": "ObservabilityMesh",
            "metadata": {"name": format!("kuma-{name}")},
            "spec": spec,
        });
        std::iter::once(mesh).chain(self.policies).collect()
    }

    fn push(&mut self, kind: &str, name: &str, (namespace, labels): &Scope, mut spec: Map<String, Value>) {
        let id = |name: &str| (kind.to_owned(), namespace.clone(), name.to_owned());
        let name = unused(name, |name| self.taken.contains(&id(name)));
        self.taken.insert(id(&name));
        if !labels.is_empty() {
            spec.insert("selector".into(), json!({"matchLabels": labels}));
        }
        self.policies.push(json!({
            "apiVersion": "sightline.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }));
    }

    /// Whom a policy is for.
    fn scope(&self, policy: &Value, notes: &mut Notes) -> Option<Scope> {
        let own = key_of(policy).namespace;
        let own = if own.is_empty() {
            self.system_namespace.to_owned()
        } else {
            own
        };
        let target = policy.pointer("/spec/targetRef").unwrap_or(&Value::Null);
        let mut labels = match text(target, "/kind") {
            "" | "Mesh" => return Some((own, Map::new())),
            "MeshSubset" | "Dataplane" if target.get("name").is_none() => {
                let member = if text(target, "/kind") == "Dataplane" {
                    "labels"
                } else {
                    "tags"
                };
                target
                    .get(member)
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default()
            }
            kind => {
                let message = format!(
                    "spec.targetRef: kind {kind}{}: Sightline selects by labels of pods; write a TrafficLog or TracingBackend with a selector in their namespace",
                    target
                        .get("name")
                        .and_then(Value::as_str)
                        .map(|name| format!(" `{name}`"))
                        .unwrap_or_default()
                );
                notes.lost(policy, message);
                return None;
            }
        };
        let named = labels.remove(NAMESPACE);
        if let Some(label) = labels.keys().find(|label| label.contains("kuma.io/")) {
            let message =
                format!("spec.targetRef: `{label}` is no label of a pod; write a selector with labels that they have");
            notes.lost(policy, message);
            return None;
        }
        match named.as_ref().and_then(Value::as_str) {
            Some(namespace) => Some((namespace.to_owned(), labels)),
            None if own != self.system_namespace => Some((own, labels)),
            None => {
                let message = "spec.targetRef: it selects workloads of every namespace, and a selector is for one: write the same in each";
                notes.lost(policy, message);
                None
            }
        }
    }

    fn access_log(&mut self, policy: &Value, has_others: bool, notes: &mut Notes) {
        let Some(scope) = self.scope(policy, notes) else { return };
        if has_others && (scope.0 != self.system_namespace || !scope.1.is_empty()) {
            let message = "its list of backends replaced that of a wider policy; Sightline's policies add up: what a wider one sends to other backends, these workloads send too";
            notes.changed(policy, message);
        }
        let sent = self.side(policy, "to", notes);
        let mut received = self.side(policy, "from", notes);
        received.extend(self.side(policy, "rules", notes));
        let sides = if sent == received {
            vec![(Direction::Both, sent)]
        } else {
            vec![(Direction::Inbound, received), (Direction::Outbound, sent)]
        };
        let several = sides.iter().filter(|(_, lines)| !lines.is_empty()).count() > 1;
        let name = key_of(policy).name;
        for (direction, lines) in sides {
            let name = match direction {
                Direction::Inbound if several => format!("{name}-inbound"),
                Direction::Outbound if several => format!("{name}-outbound"),
                _ => name.clone(),
            };
            for (format, backends) in lines {
                let mut spec = Map::from_iter([("direction".to_owned(), json!(direction))]);
                if backends.is_empty() {
                    spec.insert("disabled".into(), true.into());
                    self.switches_off |= scope.0 != self.system_namespace;
                } else {
                    spec.insert("backends".into(), json!(backends));
                }
                spec.extend(format.map(|format| ("format".to_owned(), format)));
                self.push("TrafficLog", &name, &scope, spec);
            }
        }
    }

    /// The lines of a side, each with the backends that get it. One without backends: nothing is logged.
    fn side(&mut self, policy: &Value, member: &str, notes: &mut Notes) -> Vec<(Option<Value>, Vec<String>)> {
        let mut lines: Vec<(Option<Value>, Vec<String>)> = Vec::new();
        for item in items(policy, &format!("/spec/{member}")) {
            let kind = text(item, "/targetRef/kind");
            if (!kind.is_empty() && kind != "Mesh") || item.get("matches").is_some() {
                let message = format!(
                    "spec.{member}: an item is for {} alone: Sightline does not tell the other ends of a connection apart",
                    if kind.is_empty() {
                        "some clients".to_owned()
                    } else {
                        format!("{kind} {}", text(item, "/targetRef/name"))
                    }
                );
                notes.lost(policy, message);
                continue;
            }
            let mut is_off = true;
            for backend in items(item, "/default/backends") {
                is_off = false;
                let Some((place, format)) = self.log_backend(policy, backend, notes) else {
                    continue;
                };
                match lines.iter_mut().find(|(known, _)| *known == format) {
                    Some((_, places)) => places.push(place),
                    None => lines.push((format, vec![place])),
                }
            }
            if is_off {
                lines.push((None, Vec::new()));
            }
        }
        lines
    }

    /// What people call a place, if it can be a name of ours.
    fn called(&self, place: &str, otherwise: &str) -> String {
        let name = self.names.get(place).map_or(otherwise, String::as_str);
        let is_name = name.len() <= 40
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if is_name { name.to_owned() } else { otherwise.to_owned() }
    }

    fn log_backend(&mut self, policy: &Value, backend: &Value, notes: &mut Notes) -> Option<(String, Option<Value>)> {
        let mut lose = |why: String| notes.lost(policy, why);
        let (wanted, place, format) = match text(backend, "/type") {
            "File" => {
                let path = text(backend, "/file/path");
                let place = json!({"type": "File", "file": {"path": path}});
                (self.called(path, "file"), place, backend.pointer("/file/format"))
            }
            "Tcp" => {
                let address = text(backend, "/tcp/address");
                let Some(endpoint) = endpoint(address) else {
                    lose(format!("`{address}` is no HOST:PORT"));
                    return None;
                };
                let place = json!({"type": "TCP", "tcp": {"endpoint": endpoint}});
                (self.called(address, "tcp"), place, backend.pointer("/tcp/format"))
            }
            "OpenTelemetry" => {
                let otel = backend.get("openTelemetry").unwrap_or(&Value::Null);
                let Some((endpoint, protocol)) = self.receiver(otel) else {
                    lose("its receiver of OTLP is not among the files: add the MeshOpenTelemetryBackend".into());
                    return None;
                };
                if protocol != "GRPC" {
                    lose("a receiver of log records over HTTP: Sightline sends them over gRPC".into());
                    return None;
                }
                let place = json!({"type": "OTLP", "otlp": {"endpoint": endpoint}});
                let name = self.logs.name("otlp", &place);
                let format = record(otel, &mut |changed, message| {
                    if changed {
                        notes.changed(policy, message);
                    } else {
                        notes.lost(policy, message);
                    }
                });
                return Some((name, format));
            }
            other => {
                lose(format!("a backend of type `{other}`, which Kuma does not have"));
                return None;
            }
        };
        let name = self.logs.name(&wanted, &place);
        Some((name, format.and_then(|format| line(policy, format, notes))))
    }

    /// Address and protocol of a receiver of OTLP.
    fn receiver(&self, otel: &Value) -> Option<(Value, &'static str)> {
        if let Some(address) = otel.get("endpoint").and_then(Value::as_str) {
            let (host, port) = otlp_address(address);
            return Some((json!({"host": host, "port": port}), "GRPC"));
        }
        let labels = otel.pointer("/backendRef/labels")?.as_object()?;
        let has = |receiver: &&Value| {
            let of = receiver.pointer("/metadata/labels").and_then(Value::as_object);
            let of = of.cloned().unwrap_or_default();
            labels.iter().all(|(name, value)| {
                of.get(name) == Some(value) || (name == "kuma.io/display-name" && *value == key_of(receiver).name)
            })
        };
        let receiver = self.receivers.iter().find(has)?;
        let endpoint = receiver.pointer("/spec/endpoint")?;
        let port = endpoint.get("port").cloned().unwrap_or_else(|| json!(4317));
        let protocol = if text(receiver, "/spec/protocol") == "http" {
            "HTTP"
        } else {
            "GRPC"
        };
        Some((json!({"host": endpoint.get("address")?, "port": port}), protocol))
    }

    fn trace(&mut self, policy: &Value, notes: &mut Notes) {
        let Some(scope) = self.scope(policy, notes) else { return };
        let default = policy.pointer("/spec/default").unwrap_or(&Value::Null);
        let Some(backend) = items(default, "/backends").next() else {
            notes.lost(policy, "spec.default.backends: tracing is off here, which Sightline cannot say: leave tracing out, or sample 0 percent");
            return;
        };
        let Some(place) = self.trace_backend(policy, backend, notes) else {
            return;
        };
        let wanted = self.called(text(backend, "/zipkin/url"), &text(&place, "/type").to_lowercase());
        let name = self.traces.name(&wanted, &place);
        let sampling = json!({"percentage": sampling(policy, default, notes)});
        let tags: Vec<Value> = items(default, "/tags").map(tag).collect();
        let is_whole = scope.0 == self.system_namespace && scope.1.is_empty();
        if is_whole && self.default_tracing.is_none() {
            let mut made = json!({"backend": name, "sampling": sampling});
            if !tags.is_empty() {
                set(&mut made, "tags", tags.into());
            }
            self.default_tracing = Some(made);
            return;
        }
        let destination = json!({"type": "MeshBackend", "meshBackend": {"name": name}});
        let mut spec = Map::from_iter([
            ("destination".to_owned(), destination),
            ("sampling".to_owned(), sampling),
        ]);
        if !tags.is_empty() {
            spec.insert("tags".into(), tags.into());
        }
        self.push("TracingBackend", &key_of(policy).name, &scope, spec);
    }

    fn trace_backend(&self, policy: &Value, backend: &Value, notes: &mut Notes) -> Option<Value> {
        match text(backend, "/type") {
            "Zipkin" => {
                let zipkin = backend.get("zipkin").unwrap_or(&Value::Null);
                let url = text(zipkin, "/url");
                let rest = url.strip_prefix("http://").unwrap_or_default();
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let Some(endpoint) = endpoint(authority) else {
                    notes.lost(
                        policy,
                        format!("`{url}` is no http URL with a port; send through a collector"),
                    );
                    return None;
                };
                let is = |member: &str, default: bool| zipkin.get(member).and_then(Value::as_bool).unwrap_or(default);
                if !is("traceId128bit", false) {
                    notes.changed(policy, "ids of traces have 128 bits (traceId128bit: true)");
                }
                if is("sharedSpanContext", true) {
                    notes.changed(policy, "client and server have a span each (sharedSpanContext: false)");
                }
                if text(zipkin, "/apiVersion") == "httpProto" {
                    notes.changed(policy, "spans are sent as JSON (apiVersion: httpJson)");
                }
                let mut made = json!({"endpoint": endpoint});
                if !path.is_empty() {
                    set(&mut made, "path", path.into());
                }
                Some(json!({"type": "Zipkin", "zipkin": made}))
            }
            "Datadog" => {
                let url = text(backend, "/datadog/url");
                let Some(endpoint) = url.strip_prefix("http://").and_then(endpoint) else {
                    notes.lost(policy, format!("`{url}` is no http URL with a port"));
                    return None;
                };
                if backend.pointer("/datadog/splitService") == Some(&Value::Bool(true)) {
                    notes.lost(
                        policy,
                        "splitService: the service's name is not split by destination any more",
                    );
                }
                Some(json!({"type": "Datadog", "datadog": {"endpoint": endpoint}}))
            }
            "OpenTelemetry" => {
                let otel = backend.get("openTelemetry").unwrap_or(&Value::Null);
                let Some((endpoint, protocol)) = self.receiver(otel) else {
                    notes.lost(
                        policy,
                        "its receiver of OTLP is not among the files: add the MeshOpenTelemetryBackend",
                    );
                    return None;
                };
                Some(json!({"type": "OTLP", "otlp": {"endpoint": endpoint, "protocol": protocol}}))
            }
            other => {
                notes.lost(policy, format!("a backend of type `{other}`, which Kuma does not have"));
                None
            }
        }
    }

    fn metrics(&mut self, policy: &Value, notes: &mut Notes) {
        let Some((namespace, labels)) = self.scope(policy, notes) else {
            return;
        };
        if namespace != self.system_namespace || !labels.is_empty() || self.metrics.is_some() {
            notes.lost(policy, "Sightline writes one MeshMetric, for the whole mesh");
            return;
        }
        let default = policy.pointer("/spec/default").unwrap_or(&Value::Null);
        let mut made = json!({});
        let profiles: Vec<&str> = items(default, "/sidecar/profiles/appendProfiles")
            .map(|p| text(p, "/name"))
            .collect();
        let profile = match profiles[..] {
            [] => "All",
            [profile] => profile,
            [first, ..] => {
                notes.lost(
                    policy,
                    format!("spec.default.sidecar.profiles: only {first} of several"),
                );
                first
            }
        };
        set(&mut made, "profile", profile.into());
        for (pointer, what) in [
            ("/sidecar/profiles/include", "sidecar.profiles.include"),
            ("/sidecar/profiles/exclude", "sidecar.profiles.exclude"),
            ("/applications", "applications"),
        ] {
            if let Some(value) = default.pointer(pointer) {
                let message = format!(
                    "spec.default.{what}: metrics.kuma has nothing like it; keep the MeshMetric for it, and leave metrics.kuma out: {value}"
                );
                notes.lost(policy, message);
            }
        }
        if default.pointer("/sidecar/includeUnused") == Some(&Value::Bool(true)) {
            notes.changed(
                policy,
                "spec.default.sidecar.includeUnused: what was never counted is left out",
            );
        }
        for backend in items(default, "/backends") {
            if let ("Prometheus", Some(prometheus)) = (text(backend, "/type"), backend.get("prometheus")) {
                for member in ["port", "path"] {
                    if let Some(value) = prometheus.get(member) {
                        set(&mut made, member, value.clone());
                    }
                }
                let tls = text(prometheus, "/tls/mode");
                if !tls.is_empty() && tls != "Disabled" {
                    notes.lost(policy, format!("tls.mode {tls}: metrics are served in plaintext"));
                }
            } else if let Some((endpoint, "GRPC")) = backend.get("openTelemetry").and_then(|otel| self.receiver(otel)) {
                let place = json!({"type": "OTLP", "otlp": {"endpoint": endpoint}});
                set(
                    &mut made,
                    "openTelemetry",
                    json!({"backend": self.logs.name("otlp", &place)}),
                );
            } else {
                notes.lost(
                    policy,
                    "a receiver of metrics that is not OTLP over gRPC, or is not among the files",
                );
            }
        }
        self.metrics = Some(made);
    }
}

fn endpoint(address: &str) -> Option<Value> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (!host.is_empty()).then(|| json!({"host": host, "port": port}))
}

/// What part of the requests is sampled.
fn sampling(policy: &Value, default: &Value, notes: &mut Notes) -> String {
    let of = |member: &str| {
        let value = default
            .pointer(&format!("/sampling/{member}"))
            .map_or_else(|| json!(100), share);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let number: f64 = text.parse().unwrap_or(100.0);
        (number, text)
    };
    let (overall, random) = (of("overall"), of("random"));
    let least = if overall.0 < random.0 { overall.clone() } else { random };
    if overall.0 < 100.0 {
        let message = format!(
            "spec.default.sampling.overall: {} percent was a bound for every request; now it is the share of those that nobody asked to trace",
            overall.1
        );
        notes.changed(policy, message);
    }
    let client = of("client");
    if client.0 < 100.0 {
        let message = format!(
            "spec.default.sampling.client: {} percent of the traces that clients ask for were sampled; now all are",
            client.1
        );
        notes.changed(policy, message);
    }
    least.1
}

fn tag(tag: &Value) -> Value {
    let name = text(tag, "/name");
    let Some(header) = tag.get("header") else {
        return json!({"name": name, "type": "Literal", "literal": text(tag, "/literal")});
    };
    let mut made = json!({"name": text(header, "/name")});
    if let Some(default) = header.get("default") {
        set(&mut made, "defaultValue", default.clone());
    }
    json!({"name": name, "type": "Header", "header": made})
}

/// A format of a file or a TCP server; `None`: the mesh's, which is Kuma's own.
fn line(policy: &Value, format: &Value, notes: &mut Notes) -> Option<Value> {
    let format_of = if text(format, "/type") == "Json" {
        let entry = |entry: &Value| (text(entry, "/key").to_owned(), text(entry, "/value").to_owned());
        KumaFormat::Json(items(format, "/json").map(entry).collect())
    } else {
        KumaFormat::Plain(text(format, "/plain").to_owned())
    };
    let mut made = match format_of.to_spec(ANY_VERSION) {
        Ok(spec) => written(spec),
        Err(lost) => {
            let why: Vec<String> = lost.iter().map(ToString::to_string).collect();
            notes.lost(
                policy,
                format!("a format: {}; Kuma's own line is written instead", why.join("; ")),
            );
            return None;
        }
    };
    if format.get("omitEmptyValues") == Some(&Value::Bool(true)) {
        set(&mut made, "omitEmptyValues", true.into());
    }
    Some(made)
}

fn written(spec: FormatSpec) -> Value {
    if let (Encoding::Text, Base::Text(text)) = (spec.encoding, spec.base) {
        return json!({"encoding": "Text", "text": text});
    }
    let field = |field: crate::format::Field| json!({"name": field.name, "value": field.value});
    json!({"encoding": "JSON", "fields": spec.fields.into_iter().map(field).collect::<Vec<_>>()})
}

/// The format of a log record. `note` is told whether something changed or was lost, and what.
fn record(otel: &Value, note: &mut dyn FnMut(bool, String)) -> Option<Value> {
    let body = otel.get("body");
    let words = body.and_then(|body| body.as_str().or_else(|| body.get("stringValue")?.as_str()));
    let fields: Vec<Value> = items(otel, "/attributes")
        .map(|attribute| json!({"name": text(attribute, "/key"), "value": text(attribute, "/value")}))
        .collect();
    if !fields.is_empty() {
        if words != Some(BODY) {
            note(true, format!("the body of a log record beside attributes is `{BODY}`"));
        }
        return Some(json!({"encoding": "JSON", "fields": fields}));
    }
    if words.is_none() && body.is_some() {
        note(
            false,
            "the body of a log record is no text; Kuma's own line is written instead".into(),
        );
    }
    words.map(|text| json!({"encoding": "Text", "text": text}))
}
