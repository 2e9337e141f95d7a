//! An OpenTelemetry Collector: its configuration, and the objects that run it.
//!
//! Facts: the sources of the collector 0.120 and 0.155 and of OpenTelemetry's operator 0.158.

mod config;
mod documents;
mod objects;

pub use config::{CONFIG_KEY, CollectorConfig, config, queue_size};
pub use objects::{CONFIG_HASH, Form, Rendered, objects};

use serde_json::{Value, json};

use crate::crds::{Collector, Endpoint, SecretKey};

/// Port of OTLP over gRPC.
pub const OTLP_GRPC: u16 = 4317;
/// Port of OTLP over HTTP.
pub const OTLP_HTTP: u16 = 4318;
/// Port of Zipkin's format.
pub const ZIPKIN: u16 = 9411;
/// Port of Jaeger's protocol over gRPC.
pub const JAEGER_GRPC: u16 = 14250;
/// Port of Jaeger's Thrift over HTTP.
pub const JAEGER_THRIFT: u16 = 14268;
/// Port of the answer whether it runs.
const HEALTH: u16 = 13133;

/// Address of a port of a collector's Service.
pub fn endpoint(collector: &Collector, port: u16) -> Endpoint {
    Endpoint {
        host: format!("{}.{}.svc.cluster.local", collector.object_name(), collector.namespace),
        port: i32::from(port),
    }
}

/// A credential: the variable of the container that holds it, and where its value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Name of the variable.
    pub variable: String,
    /// Where its value is.
    pub from: SecretKey,
}

impl Credential {
    /// As the configuration names it: the collector reads it from its environment.
    fn reference(&self) -> String {
        format!("${{env:{}}}", self.variable)
    }

    /// As a container has it.
    fn env(&self) -> Value {
        let SecretKey { name, key } = &self.from;
        json!({"name": self.variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})
    }
}

/// A version of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32);

impl Version {
    /// That of a text such as `0.155.0`; the newest known where it is none.
    fn of(text: &str) -> Self {
        let minor = text.split('.').nth(1).and_then(|minor| minor.parse().ok());
        Self(minor.unwrap_or(155))
    }

    /// Type of the exporter of OTLP over gRPC. `otlp` is an alias since 0.144, which is said to go.
    const fn otlp_grpc(self) -> &'static str {
        if self.0 >= 144 { "otlp_grpc" } else { "otlp" }
    }

    /// Type of the exporter of OTLP over HTTP.
    const fn otlp_http(self) -> &'static str {
        if self.0 >= 144 { "otlp_http" } else { "otlphttp" }
    }

    /// Whether the exporter of Elasticsearch reads its mapping from the configuration; since 0.145 from an attribute of
    /// each scope.
    const fn has_mapping_mode(self) -> bool {
        self.0 < 145
    }

    /// Whether the exporter of Elasticsearch puts documents together by itself unless it is told not to; since 0.136 its
    /// queue does that, which is off here.
    const fn has_batcher(self) -> bool {
        self.0 < 136
    }

    /// Whether the exporter of Elasticsearch takes the identity of a span's document from an attribute, as that of a log's.
    const fn identifies_spans(self) -> bool {
        self.0 >= 146
    }

    /// Whether data streams follow attributes only where that is switched on; always since 0.122.
    const fn asks_for_routing(self) -> bool {
        self.0 < 122
    }
}
