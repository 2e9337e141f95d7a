//! Policies in the shape of 2.14 or later: `rules` and no `from`, receivers of OTLP by name, workloads by labels.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Notes, items, mesh_of, otlp_address, policy, set, text};
use crate::format::KumaVersion;
use crate::render::kuma::backend::is_attribute;
use crate::snapshot::key_of;

/// The version that selects by labels alone, and has neither tags nor services as targets.
const LABELS_ALONE: KumaVersion = KumaVersion::new(3, 0);

/// Label by which policies name a receiver of ours.
const RECEIVER: &str = "otlp-receiver";

/// The policies, and the receivers that they need.
pub(super) fn of_version(
    policies: &[Value],
    receivers: &[Value],
    version: KumaVersion,
    namespace: &str,
    notes: &mut Notes,
) -> Vec<Value> {
    let mut shape = Shape {
        version,
        namespace,
        receivers: BTreeMap::new(),
        notes,
    };
    let shaped: Vec<Value> = policies.iter().flat_map(|policy| shape.policy(policy)).collect();
    // What is referred to goes first.
    let made = shape.receivers.into_values();
    receivers.iter().cloned().chain(made).chain(shaped).collect()
}

struct Shape<'a> {
    version: KumaVersion,
    namespace: &'a str,
    /// By mesh and address.
    receivers: BTreeMap<(String, String, u16), Value>,
    notes: &'a mut Notes,
}

impl Shape<'_> {
    fn policy(&mut self, old: &Value) -> Vec<Value> {
        let Some(target) = self.target(old, old.pointer("/spec/targetRef"), "spec.targetRef") else {
            return Vec::new();
        };
        let key = key_of(old);
        let namespace = if key.namespace.is_empty() {
            self.namespace
        } else {
            &key.namespace
        };
        let kind = text(old, "/kind").to_owned();
        let made = |name: &str, member: &str, value: Value| {
            let spec = Map::from_iter([("targetRef".to_owned(), target.clone()), (member.to_owned(), value)]);
            policy(&kind, namespace, name, mesh_of(old), &spec)
        };
        if kind != "MeshAccessLog" {
            let mut default = old.pointer("/spec/default").cloned().unwrap_or_else(|| json!({}));
            self.backends(old, &mut default);
            return vec![made(&key.name, "default", default)];
        }
        let (to, rules) = (self.to(old), self.rules(old));
        let inbound = if to.is_empty() {
            key.name.clone()
        } else {
            format!("{}-inbound", key.name)
        };
        let mut all = Vec::new();
        if !to.is_empty() {
            all.push(made(&key.name, "to", to.into()));
        }
        if !rules.is_empty() {
            if inbound != key.name {
                let message = format!("`to` and `rules` exclude each other: what is received is {inbound}");
                self.notes.changed(old, message);
            }
            all.push(made(&inbound, "rules", rules.into()));
        }
        all
    }

    fn to(&mut self, old: &Value) -> Vec<Value> {
        let mut made = Vec::new();
        for item in items(old, "/spec/to") {
            let target = self.destination(old, item.get("targetRef"));
            let default = self.default(old, item);
            made.push(json!({"targetRef": target, "default": default}));
        }
        made
    }

    fn rules(&mut self, old: &Value) -> Vec<Value> {
        let mut made = Vec::new();
        for item in items(old, "/spec/from") {
            let kind = text(item, "/targetRef/kind");
            if !kind.is_empty() && kind != "Mesh" {
                let message = format!(
                    "spec.from: `rules` know no clients of kind {kind}: write a rule with `matches` by spiffeID for them"
                );
                self.notes.lost(old, message);
                continue;
            }
            let default = self.default(old, item);
            made.push(json!({"default": default}));
        }
        for rule in items(old, "/spec/rules") {
            let mut kept = rule.clone();
            set(&mut kept, "default", self.default(old, rule));
            made.push(kept);
        }
        made
    }

    fn default(&mut self, old: &Value, item: &Value) -> Value {
        let mut default = item.get("default").cloned().unwrap_or_else(|| json!({}));
        self.backends(old, &mut default);
        default
    }

    /// Receivers of OTLP by name, and attributes that are taken.
    fn backends(&mut self, old: &Value, default: &mut Value) {
        let backends = default.pointer_mut("/backends").and_then(Value::as_array_mut);
        for backend in backends.into_iter().flatten() {
            let Some(otel) = backend.get_mut("openTelemetry").and_then(Value::as_object_mut) else {
                continue;
            };
            if let Some(Value::String(endpoint)) = otel.remove("endpoint") {
                let name = self.receiver(old, &endpoint);
                let reference = json!({"kind": "MeshOpenTelemetryBackend", "labels": {RECEIVER: name}});
                otel.insert("backendRef".into(), reference);
            }
            if let Some(attributes) = otel.get_mut("attributes").and_then(Value::as_array_mut) {
                attributes.retain(|attribute| {
                    let key = text(attribute, "/key");
                    let is_taken = is_attribute(key);
                    if !is_taken {
                        let message = format!(
                            "attribute `{key}` is refused since 2.14: write lower-case words with dots or underscores between them"
                        );
                        self.notes.lost(old, message);
                    }
                    is_taken
                });
            }
        }
    }

    fn receiver(&mut self, old: &Value, endpoint: &str) -> String {
        if endpoint.contains("://") {
            let message = format!("`{endpoint}` is OTLP over gRPC whatever its scheme says; it is written without one");
            self.notes.changed(old, message);
        }
        let (host, port) = otlp_address(endpoint);
        let mesh = mesh_of(old);
        let dashed = host.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
        let of_mesh = if mesh == "default" {
            String::new()
        } else {
            format!("{mesh}-")
        };
        let name: String = format!("otlp-{of_mesh}{}-{port}", dashed.trim_matches('-'));
        let made = json!({
            "apiVersion": "kuma.io/v1alpha1",
            "kind": "MeshOpenTelemetryBackend",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"kuma.io/mesh": mesh, RECEIVER: name}},
            // By Kuma's default the environment of a proxy would win over what stands here.
            "spec": {"endpoint": {"address": host, "port": port}, "protocol": "grpc",
                     "env": {"mode": "Optional", "precedence": "ExplicitFirst"}},
        });
        self.receivers.insert((mesh.to_owned(), host, port), made);
        name
    }

    /// Whom a policy is for; `None`: nobody that this version can name.
    fn target(&mut self, old: &Value, target: Option<&Value>, path: &str) -> Option<Value> {
        let whole_mesh = json!({"kind": "Mesh"});
        let target = target.unwrap_or(&whole_mesh);
        let is_bound = self.version >= LABELS_ALONE;
        match text(target, "/kind") {
            "Dataplane" if is_bound => Some(self.by_labels(old, target, path)),
            "Mesh" | "Dataplane" => Some(target.clone()),
            "MeshSubset" if !names_service(target) => {
                self.notes.changed(
                    old,
                    format!(
                        "{path}: tags are read as labels of the Dataplane, which on Kubernetes are those of the pod"
                    ),
                );
                Some(json!({"kind": "Dataplane", "labels": target.get("tags").cloned().unwrap_or_else(|| json!({}))}))
            }
            kind if is_bound => {
                let message = format!(
                    "{path}: Kuma {} has no target of kind {kind} for workloads; write kind: Dataplane with labels of their pods instead of {target}",
                    self.version
                );
                self.notes.lost(old, message);
                None
            }
            kind => {
                let message = format!(
                    "{path}: kind {kind} stays, with a warning of Kuma's, and is refused by 3.0; write kind: Dataplane with labels of the pods"
                );
                self.notes.changed(old, message);
                Some(target.clone())
            }
        }
    }

    /// Which requests an item of `to` is for.
    fn destination(&mut self, old: &Value, target: Option<&Value>) -> Value {
        let whole_mesh = json!({"kind": "Mesh"});
        let target = target.unwrap_or(&whole_mesh);
        if self.version < LABELS_ALONE || text(target, "/kind") == "Mesh" || target.get("name").is_none() {
            return target.clone();
        }
        self.by_labels(old, target, "spec.to.targetRef")
    }

    /// A target by name, by the labels that every object of that name has. A service's tag holds name and namespace.
    fn by_labels(&mut self, old: &Value, target: &Value, path: &str) -> Value {
        let Some(whole) = target.get("name").and_then(Value::as_str) else {
            return target.clone();
        };
        let parts: Vec<&str> = whole.split('_').collect();
        let (name, namespace) = match parts[..] {
            [service, namespace, "svc", _port] => (service, namespace),
            _ => (whole, text(target, "/namespace")),
        };
        let mut labels = json!({"kuma.io/display-name": name});
        if !namespace.is_empty() {
            set(&mut labels, "k8s.kuma.io/namespace", namespace.into());
        }
        let mut made = json!({"kind": text(target, "/kind"), "labels": labels});
        if let Some(section) = target.get("sectionName") {
            set(&mut made, "sectionName", section.clone());
        }
        let message = format!(
            "{path}: `{whole}` is named by labels, with all its ports; it has to be an object of that kind, not only a tag"
        );
        self.notes.changed(old, message);
        made
    }
}

/// Whether a target is chosen by the tag of its service, which no label holds.
fn names_service(target: &Value) -> bool {
    let tags = target.get("tags").and_then(Value::as_object);
    tags.is_some_and(|tags| tags.contains_key("kuma.io/service"))
}
