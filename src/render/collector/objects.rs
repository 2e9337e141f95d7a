//! The objects that run a collector: one of OpenTelemetry's operator, or a workload of ours.

use serde_json::{Map, Value, json};

use super::config::QUEUE_FOLDER;
use super::{
    CONFIG_KEY, CollectorConfig, Credential, HEALTH, JAEGER_GRPC, JAEGER_THRIFT, OTLP_GRPC, OTLP_HTTP, ZIPKIN, config,
};
use crate::crds::{Collector, CollectorReceiver, CollectorVolume};
use crate::digest;
use crate::render::metadata::{COLLECTOR_LABEL, MANAGED_BY, MANAGED_BY_US, MESH_LABEL};
use crate::snapshot::Kind;
use crate::yaml::{self, YamlError};

/// Annotation of a pod template with a digest of the configuration: the collector reads its file at its start only.
pub const CONFIG_HASH: &str = "sightline.dev/collector-config";
/// Name of the container.
const CONTAINER: &str = "otc-container";
/// Where the configuration is mounted.
const CONFIG_FOLDER: &str = "/etc/otelcol";
/// Name of the volume with queues.
const QUEUE_VOLUME: &str = "queue";
/// User and group of the image.
const USER: i64 = 10001;
/// Digits of [`CONFIG_HASH`].
const HASH_DIGITS: usize = 16;

/// What runs a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenTelemetry's operator.
    Operator,
    /// A workload of ours.
    Workload,
}

/// Objects by kind, in the order in which they are written.
pub type Rendered = Vec<(Kind, Value)>;

/// The objects of a mesh's collector.
///
/// # Errors
/// Where the configuration has no YAML form.
pub fn objects(mesh: &str, collector: &Collector, form: Form) -> Result<Rendered, YamlError> {
    let config = config(collector);
    match form {
        Form::Operator => Ok(vec![(
            Kind::OpenTelemetryCollector,
            of_operator(mesh, collector, &config)?,
        )]),
        Form::Workload => workload(mesh, collector, &config),
    }
}

impl CollectorConfig {
    /// The configuration as a value.
    ///
    /// # Errors
    /// Where it has no such form.
    pub fn value(&self) -> Result<Value, YamlError> {
        serde_json::to_value(self).map_err(|error| YamlError::Write(error.to_string()))
    }
}

fn labels(mesh: &str, collector: &Collector) -> Value {
    json!({MANAGED_BY: MANAGED_BY_US, MESH_LABEL: mesh, COLLECTOR_LABEL: collector.short_name()})
}

fn metadata(mesh: &str, collector: &Collector, name: &str) -> Value {
    json!({"name": name, "namespace": collector.namespace, "labels": labels(mesh, collector)})
}

fn image(collector: &Collector) -> String {
    let default = || format!("otel/opentelemetry-collector-contrib:{}", collector.version);
    collector.image.clone().unwrap_or_else(default)
}

fn env(config: &CollectorConfig) -> Vec<Value> {
    config.credentials.iter().map(Credential::env).collect()
}

/// A quarter above what the collector allows itself.
fn resources(collector: &Collector) -> Value {
    let limit = collector.memory_limiter.limit_mib;
    let quarter = limit / 4;
    let most = limit.saturating_add(quarter);
    json!({"limits": {"memory": format!("{most}Mi")}, "requests": {"cpu": "100m", "memory": format!("{limit}Mi")}})
}

fn of_operator(mesh: &str, collector: &Collector, config: &CollectorConfig) -> Result<Value, YamlError> {
    let mut spec = json!({
        "mode": if collector.volume.is_some() { "statefulset" } else { "deployment" },
        "image": image(collector),
        "replicas": collector.replicas,
        "resources": resources(collector),
        "config": config.value()?,
    });
    let mut add = |member: &str, value: Value| {
        if let Some(spec) = spec.as_object_mut() {
            spec.insert(member.into(), value);
        }
    };
    if !config.credentials.is_empty() {
        add("env", json!(env(config)));
    }
    match &collector.volume {
        Some(volume) => {
            add("volumeClaimTemplates", json!([claim(volume)]));
            add(
                "volumeMounts",
                json!([{"name": QUEUE_VOLUME, "mountPath": QUEUE_FOLDER}]),
            );
            add("podSecurityContext", json!({"fsGroup": USER}));
        }
        None => add("deploymentUpdateStrategy", without_a_gap()),
    }
    Ok(json!({
        "apiVersion": Kind::OpenTelemetryCollector.names().0, "kind": Kind::OpenTelemetryCollector.names().1,
        "metadata": metadata(mesh, collector, collector.short_name()), "spec": spec,
    }))
}

/// One more is ready before one goes.
fn without_a_gap() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
}

/// A list is compared whole: what the API server would add to an entry stands in it.
fn claim(volume: &CollectorVolume) -> Value {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": format!("{}Gi", volume.size_gib)}},
    });
    if let (Some(spec), Some(class)) = (spec.as_object_mut(), &volume.storage_class_name) {
        spec.insert("storageClassName".into(), json!(class));
    }
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": QUEUE_VOLUME}, "spec": spec,
        "status": {"phase": "Pending"},
    })
}

fn workload(mesh: &str, collector: &Collector, config: &CollectorConfig) -> Result<Rendered, YamlError> {
    let text = yaml::to_plain_lines(&config.value()?)?;
    let name = collector.object_name();
    let hash = digest::short(&text, HASH_DIGITS);
    let of = |kind: Kind, rest: Value| {
        let (api_version, kind_name, _) = kind.names();
        let mut object = json!({
            "apiVersion": api_version, "kind": kind_name, "metadata": metadata(mesh, collector, &name),
        });
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        (kind, object)
    };
    let map = of(Kind::ConfigMap, json!({"data": {CONFIG_KEY: text}}));
    let selector = json!({COLLECTOR_LABEL: collector.short_name(), MESH_LABEL: mesh});
    let service = of(
        Kind::Service,
        json!({"spec": {"selector": selector, "ports": service_ports(&collector.receivers)}}),
    );
    let template = json!({
        "metadata": {"labels": labels(mesh, collector), "annotations": {CONFIG_HASH: hash}},
        "spec": pod(collector, config, &name),
    });
    let mut spec = json!({
        "replicas": collector.replicas, "selector": {"matchLabels": selector}, "template": template,
    });
    let (kind, strategy) = match &collector.volume {
        Some(volume) => {
            let strategy = json!({
                "serviceName": name, "volumeClaimTemplates": [claim(volume)],
                "updateStrategy": {"type": "RollingUpdate"},
            });
            (Kind::StatefulSet, strategy)
        }
        None => (Kind::Deployment, json!({"strategy": without_a_gap()})),
    };
    if let (Some(spec), Value::Object(strategy)) = (spec.as_object_mut(), strategy) {
        spec.extend(strategy);
    }
    Ok(vec![map, service, of(kind, json!({"spec": spec}))])
}

/// Ports by name: meshes conclude from its first part what a port speaks.
fn ports(receivers: &[CollectorReceiver]) -> Vec<(&'static str, u16)> {
    let of = |receiver: &CollectorReceiver| match receiver {
        CollectorReceiver::Otlp => vec![("grpc-otlp", OTLP_GRPC), ("http-otlp", OTLP_HTTP)],
        CollectorReceiver::Zipkin => vec![("http-zipkin", ZIPKIN)],
        CollectorReceiver::Jaeger => vec![("grpc-jaeger", JAEGER_GRPC), ("http-jaeger", JAEGER_THRIFT)],
    };
    receivers.iter().flat_map(of).collect()
}

fn service_ports(receivers: &[CollectorReceiver]) -> Vec<Value> {
    let port = |(name, port): (&str, u16)| json!({"name": name, "port": port, "targetPort": port, "protocol": "TCP"});
    ports(receivers).into_iter().map(port).collect()
}

fn pod(collector: &Collector, config: &CollectorConfig, map: &str) -> Value {
    let mut mounts = vec![json!({"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": true})];
    if collector.volume.is_some() {
        mounts.push(json!({"name": QUEUE_VOLUME, "mountPath": QUEUE_FOLDER}));
    }
    let mut ports: Vec<Value> = ports(&collector.receivers)
        .into_iter()
        .map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}))
        .collect();
    ports.push(json!({"name": "health", "containerPort": HEALTH, "protocol": "TCP"}));
    let mut container = json!({
        "name": CONTAINER,
        "image": image(collector),
        "imagePullPolicy": "IfNotPresent",
        "args": [format!("--config={CONFIG_FOLDER}/{CONFIG_KEY}")],
        "ports": ports,
        "resources": resources(collector),
        "readinessProbe": {
            "httpGet": {"path": "/", "port": HEALTH, "scheme": "HTTP"},
            "periodSeconds": 5, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
        },
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    });
    if let Some(container) = container.as_object_mut().filter(|_| !config.credentials.is_empty()) {
        container.insert("env".into(), json!(env(config)));
    }
    let security = Map::from_iter([
        ("runAsNonRoot".to_owned(), json!(true)),
        ("runAsUser".to_owned(), json!(USER)),
        ("fsGroup".to_owned(), json!(USER)),
        ("seccompProfile".to_owned(), json!({"type": "RuntimeDefault"})),
    ]);
    json!({
        "containers": [container],
        "securityContext": security,
        "automountServiceAccountToken": false,
        // Long enough to send what is in memory where the receiver takes it.
        "terminationGracePeriodSeconds": 60,
        "volumes": [{"name": "config", "configMap": {"name": map, "defaultMode": 420}}],
    })
}
