//! The configuration of a collector.
//!
//! What goes to Elasticsearch takes two steps in one process. The exporter of Elasticsearch gives up what it cannot deliver
//! after some tries (contrib's issues 30792 and 45747: also with a queue on a disk), and knows no `retry_on_failure`. So the
//! queue stands before an exporter of OTLP that never gives up, and that sends over the loopback to a pipeline of its own,
//! which is nothing but the exporter of Elasticsearch: without queue, so that its refusals come back as answers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::documents;
use super::{Credential, HEALTH, JAEGER_GRPC, JAEGER_THRIFT, OTLP_GRPC, OTLP_HTTP, Version, ZIPKIN};
use crate::crds::{
    AuthorizationScheme, Collector, CollectorElasticsearch, CollectorExporter, CollectorOtlp, CollectorReceiver,
    CollectorTls, OtlpProtocol, SecretValue, Signal,
};

/// Key of the configuration in its ConfigMap.
pub const CONFIG_KEY: &str = "config.yaml";
/// Where a pod's volume is mounted.
pub(super) const QUEUE_FOLDER: &str = "/var/lib/otelcol";
/// The extension that keeps queues on the volume.
const STORAGE: &str = "file_storage";
/// The extension that answers whether it runs.
const HEALTH_CHECK: &str = "health_check";
/// First port of the loopback that steps before Elasticsearch send to.
const FIRST_INNER_PORT: u16 = 14317;
/// Most MiB of a batch on its way over the loopback.
const MOST_OF_A_BATCH_MIB: u32 = 256;
/// How often a document is sent: as good as always.
const MOST_TRIES: u32 = 1_000_000;
/// Batches in memory unless the spec says so.
const QUEUE_IN_MEMORY: i32 = 1_000;
/// The same on a volume: so many that the volume is the bound.
const QUEUE_ON_VOLUME: i32 = 1_000_000;

/// Components by their identity, `TYPE` or `TYPE/NAME`.
type Components = BTreeMap<String, Value>;

/// A collector's configuration, as it reads it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CollectorConfig {
    extensions: Components,
    receivers: Components,
    processors: Components,
    exporters: Components,
    service: Service,
    /// What its placeholders stand for; no part of the text.
    #[serde(skip)]
    pub credentials: Vec<Credential>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Service {
    extensions: Vec<String>,
    pipelines: BTreeMap<String, Pipeline>,
}

/// The order of processors is the order in which they see what passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Pipeline {
    receivers: Vec<String>,
    processors: Vec<String>,
    exporters: Vec<String>,
}

/// The configuration that a spec comes to.
pub fn config(collector: &Collector) -> CollectorConfig {
    let mut made = CollectorConfig::default();
    made.extension(HEALTH_CHECK, json!({"endpoint": everywhere(HEALTH)}));
    if collector.volume.is_some() {
        made.extension(STORAGE, json!({"directory": QUEUE_FOLDER, "create_directory": true}));
    }
    let memory = &collector.memory_limiter;
    let limiter = json!({"check_interval": "1s", "limit_mib": memory.limit_mib, "spike_limit_mib": memory.spike_mib});
    made.processors.insert("memory_limiter".into(), limiter);
    let size = collector.batch.size;
    let batch = json!({"send_batch_size": size, "send_batch_max_size": size, "timeout": collector.batch.timeout});
    made.processors.insert("batch".into(), batch);
    if let Some(sampling) = &collector.sampling {
        // The schema's pattern makes it a number.
        let percentage: f64 = sampling.percentage.parse().unwrap_or(100.0);
        let sampler = json!({"sampling_percentage": percentage});
        made.processors.insert("probabilistic_sampler".into(), sampler);
    }
    let wanted: Vec<Signal> = [Signal::Logs, Signal::Traces]
        .into_iter()
        .filter(|signal| collector.exporters.iter().any(|e| e.signals.contains(signal)))
        .collect();
    let takes_logs = wanted.contains(&Signal::Logs);
    let takes_traces = wanted.contains(&Signal::Traces);
    let mut of_logs = Vec::new();
    let mut of_traces = Vec::new();
    for receiver in &collector.receivers {
        let (type_, settings, has_logs) = receiver_of(*receiver);
        if takes_traces || (takes_logs && has_logs) {
            made.receivers.insert(type_.into(), settings);
        }
        of_traces.push(type_.to_owned());
        of_logs.extend(has_logs.then(|| type_.to_owned()));
    }
    let mut exported: BTreeMap<Signal, Vec<String>> = BTreeMap::new();
    for (port, exporter) in (FIRST_INNER_PORT..).zip(&collector.exporters) {
        let id = made.export(collector, exporter, port);
        for signal in &exporter.signals {
            exported.entry(*signal).or_default().push(id.clone());
        }
    }
    for signal in &wanted {
        let is_kept = |e: &CollectorExporter| e.elasticsearch.is_some() && e.signals.contains(signal);
        let identities = documents::identities(Version::of(&collector.version), *signal);
        if let Some(identities) = identities.filter(|_| collector.exporters.iter().any(is_kept)) {
            made.processors.insert(identities_of(*signal), identities);
        }
    }
    let processors = |signal, made: &CollectorConfig| -> Vec<String> {
        let sampler = collector.sampling.as_ref().filter(|_| signal == Signal::Traces);
        let sampler = sampler.map(|_| "probabilistic_sampler".to_owned());
        let identities = Some(identities_of(signal)).filter(|id| made.processors.contains_key(id));
        let before = ["memory_limiter".to_owned()]
            .into_iter()
            .chain(sampler)
            .chain(identities);
        before.chain(["batch".to_owned()]).collect()
    };
    for (signal, receivers) in [(Signal::Logs, of_logs), (Signal::Traces, of_traces)] {
        // A pipeline without receiver is refused: without OTLP there are no logs to take.
        if let Some(exporters) = exported.remove(&signal).filter(|_| !receivers.is_empty()) {
            let processors = processors(signal, &made);
            let pipeline = Pipeline {
                receivers,
                processors,
                exporters,
            };
            made.service.pipelines.insert(pipeline_of(signal).into(), pipeline);
        }
    }
    made
}

/// Batches that wait for a receiver, at most.
pub fn queue_size(collector: &Collector, exporter: &CollectorExporter) -> i32 {
    let default = if collector.volume.is_some() {
        QUEUE_ON_VOLUME
    } else {
        QUEUE_IN_MEMORY
    };
    exporter.queue.size.unwrap_or(default)
}

/// The processor that gives records of a signal an identity.
fn identities_of(signal: Signal) -> String {
    format!("transform/identities-of-{}", pipeline_of(signal))
}

/// Type, settings, and whether it takes logs.
fn receiver_of(receiver: CollectorReceiver) -> (&'static str, Value, bool) {
    let at = |port| json!({"endpoint": everywhere(port)});
    match receiver {
        CollectorReceiver::Otlp => {
            let protocols = json!({"protocols": {"grpc": at(OTLP_GRPC), "http": at(OTLP_HTTP)}});
            ("otlp", protocols, true)
        }
        CollectorReceiver::Zipkin => ("zipkin", at(ZIPKIN), false),
        CollectorReceiver::Jaeger => {
            let protocols = json!({"protocols": {"grpc": at(JAEGER_GRPC), "thrift_http": at(JAEGER_THRIFT)}});
            ("jaeger", protocols, false)
        }
    }
}

/// An address on all interfaces: the default is the loopback, which nobody outside the pod reaches.
fn everywhere(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

const fn pipeline_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "logs",
        Signal::Traces => "traces",
    }
}

impl CollectorConfig {
    fn extension(&mut self, id: &str, settings: Value) {
        self.extensions.insert(id.into(), settings);
        self.service.extensions.push(id.into());
    }

    /// A placeholder for a credential of an exporter.
    fn credential(&mut self, exporter: &str, what: &str, from: &SecretValue) -> String {
        let variable = format!("SIGHTLINE_{exporter}_{what}").replace('-', "_").to_uppercase();
        let credential = Credential {
            variable,
            from: from.secret_key_ref.clone(),
        };
        let reference = credential.reference();
        self.credentials.push(credential);
        reference
    }

    fn tls(&mut self, exporter: &str, tls: Option<&CollectorTls>) -> Option<Value> {
        let authority = &tls?.certificate_authority;
        Some(json!({"ca_pem": self.credential(exporter, "CA", authority)}))
    }

    /// Adds an exporter. Returns the identity of what pipelines send to.
    fn export(&mut self, collector: &Collector, exporter: &CollectorExporter, port: u16) -> String {
        let version = Version::of(&collector.version);
        let name = &exporter.name;
        let (type_, mut settings) = if let Some(elasticsearch) = &exporter.elasticsearch {
            self.export_documents(version, exporter, elasticsearch, port);
            let settings = json!({"endpoint": loopback(port), "tls": {"insecure": true}, "timeout": "5m"});
            (version.otlp_grpc(), settings)
        } else if let Some(otlp) = &exporter.otlp {
            self.otlp(version, exporter, otlp)
        } else {
            // The schema's rule: each type has its member.
            ("debug", json!({}))
        };
        let retry = &exporter.retry;
        let size = queue_size(collector, exporter);
        let mut queue = json!({"enabled": true, "num_consumers": exporter.queue.consumers, "queue_size": size});
        if let Some(queue) = queue.as_object_mut().filter(|_| collector.volume.is_some()) {
            queue.insert("storage".into(), json!(STORAGE));
        }
        if let Some(settings) = settings.as_object_mut().filter(|_| type_ != "debug") {
            settings.insert("sending_queue".into(), queue);
            let retry = json!({
                "enabled": true, "initial_interval": retry.initial_interval, "max_interval": retry.max_interval,
                "max_elapsed_time": retry.max_elapsed_time,
            });
            settings.insert("retry_on_failure".into(), retry);
        }
        let id = format!("{type_}/{name}");
        self.exporters.insert(id.clone(), settings);
        id
    }

    fn otlp(&mut self, version: Version, exporter: &CollectorExporter, otlp: &CollectorOtlp) -> (&'static str, Value) {
        let is_grpc = otlp.protocol == OtlpProtocol::Grpc;
        let mut settings = json!({"endpoint": otlp.url});
        let tls = self.tls(&exporter.name, exporter.tls.as_ref());
        let authorization = otlp.authorization.as_ref().map(|authorization| {
            let scheme = match authorization.scheme {
                AuthorizationScheme::ApiKey => "ApiKey",
                AuthorizationScheme::Bearer => "Bearer",
            };
            let value = self.credential(&exporter.name, "AUTHORIZATION", &authorization.value);
            json!({"authorization": format!("{scheme} {value}")})
        });
        if let Some(settings) = settings.as_object_mut() {
            settings.extend(tls.map(|tls| ("tls".to_owned(), tls)));
            settings.extend(authorization.map(|headers| ("headers".to_owned(), headers)));
        }
        let type_ = if is_grpc {
            version.otlp_grpc()
        } else {
            version.otlp_http()
        };
        (type_, settings)
    }

    /// The step behind the loopback.
    fn export_documents(
        &mut self,
        version: Version,
        exporter: &CollectorExporter,
        elasticsearch: &CollectorElasticsearch,
        port: u16,
    ) {
        let name = &exporter.name;
        let inner = format!("otlp/{name}");
        // A batch may be larger than what is taken by default, 4 MiB, and would be lost.
        let grpc = json!({"endpoint": loopback(port), "max_recv_msg_size_mib": MOST_OF_A_BATCH_MIB});
        let protocols = json!({"protocols": {"grpc": grpc}});
        self.receivers.insert(inner.clone(), protocols);
        let id = format!("elasticsearch/{name}");
        let mut settings = json!({
            "endpoints": elasticsearch.urls,
            // What it is refused is tried again by the step before.
            "sending_queue": {"enabled": false},
            // Of a batch, single documents may be refused (429): they are dropped after these tries, so there are more of
            // them than the step before waits for.
            "retry": {
                "enabled": true, "max_retries": MOST_TRIES, "max_interval": exporter.retry.max_interval,
                "retry_on_status": [429, 500, 502, 503, 504],
            },
        });
        let mut add = |member: &str, value: Value| {
            if let Some(settings) = settings.as_object_mut() {
                settings.insert(member.into(), value);
            }
        };
        if version.has_batcher() {
            add("batcher", json!({"enabled": false}));
        }
        add("logs_dynamic_id", json!({"enabled": true}));
        if version.identifies_spans() {
            add("traces_dynamic_id", json!({"enabled": true}));
        }
        if version.asks_for_routing() {
            for member in ["logs_dynamic_index", "traces_dynamic_index"] {
                add(member, json!({"enabled": true}));
            }
        }
        let mode = documents::mode(elasticsearch.mapping);
        if version.has_mapping_mode() {
            add("mapping", json!({"mode": mode}));
        } else {
            add("mapping", json!({"allowed_modes": [mode]}));
        }
        if let Some(key) = &elasticsearch.api_key {
            add("api_key", json!(self.credential(name, "API_KEY", key)));
        }
        if let Some(basic) = &elasticsearch.basic {
            add("user", json!(self.credential(name, "USERNAME", &basic.username)));
            add("password", json!(self.credential(name, "PASSWORD", &basic.password)));
        }
        if let Some(tls) = self.tls(name, exporter.tls.as_ref()) {
            add("tls", tls);
        }
        self.exporters.insert(id.clone(), settings);
        let marks = format!("transform/{name}");
        self.processors
            .insert(marks.clone(), documents::marks(version, elasticsearch));
        for signal in &exporter.signals {
            let pipeline = Pipeline {
                receivers: vec![inner.clone()],
                processors: vec![marks.clone()],
                exporters: vec![id.clone()],
            };
            let key = format!("{}/{name}", pipeline_of(*signal));
            self.service.pipelines.insert(key, pipeline);
        }
    }
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
