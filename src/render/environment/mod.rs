//! Environment of workloads that export spans themselves: one module per dialect (pure).
//!
//! A dialect gives [`Block`]s: variables, and files, that a container gets together or not at all.
//!
//! | module | what |
//! | --- | --- |
//! | `opentelemetry` | the variables of OpenTelemetry's SDKs |
//! | `interlink` | those of interLink's virtual kubelet and API server |
//! | `custom` | those that the spec names itself |
//! | `attributes` | `OTEL_RESOURCE_ATTRIBUTES`, percent-encoded |
//! | `files` | certificates, as a volume and its mount |

pub mod attributes;
pub mod custom;
pub mod files;
pub mod interlink;
pub mod opentelemetry;
mod variable;

pub use files::Files;
pub use variable::{EnvVar, Source};

use serde_json::Value;

use crate::crds::{Dialect, Inject, OtlpBackend, OtlpHeader, OtlpTls, Tag, TlsMode, WorkloadKind, ZipkinBackend};

/// Where a workload exports its spans to.
#[derive(Clone, Copy, Debug)]
pub enum Exporter<'a> {
    /// To a receiver of OTLP.
    Otlp {
        /// Its address and transport.
        receiver: &'a OtlpBackend,
        /// What goes with every export.
        headers: &'a [OtlpHeader],
        /// Certificates; `None`: plaintext.
        tls: Option<&'a OtlpTls>,
    },
    /// To a receiver of Zipkin's format.
    Zipkin(&'a ZipkinBackend),
    /// To something that only a mesh's proxies can be told.
    Other,
}

impl<'a> Exporter<'a> {
    /// TLS, where it is used.
    pub fn tls(self) -> Option<&'a OtlpTls> {
        match self {
            Self::Otlp { tls, .. } => tls.filter(|tls| tls.mode != TlsMode::Disabled),
            Self::Zipkin(_) | Self::Other => None,
        }
    }

    /// Headers that go with every export.
    pub const fn headers(self) -> &'a [OtlpHeader] {
        match self {
            Self::Otlp { headers, .. } => headers,
            Self::Zipkin(_) | Self::Other => &[],
        }
    }
}

/// What a policy says to a container.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// Where spans go.
    pub exporter: Exporter<'a>,
    /// The share of traces that are kept, in percent, where the policy says one.
    pub sampling: Option<&'a str>,
    /// Tags, of which those of type `Literal` can be said.
    pub tags: &'a [Tag],
}

/// A container of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// The live workload.
    pub workload: &'a Value,
    /// Name of the container.
    pub container: &'a str,
}

impl<'a> Subject<'a> {
    /// A label of the workload's pods.
    pub fn label(self, name: &str) -> Option<&'a str> {
        let labels = self.workload.pointer("/spec/template/metadata/labels")?;
        labels.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Name of the workload.
    pub fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    /// Its namespace.
    pub fn namespace(self) -> &'a str {
        self.text("/metadata/namespace")
    }

    fn text(self, path: &str) -> &'a str {
        self.workload.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Variables, and files, that a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The variables, in the order in which they are put in.
    pub vars: Vec<EnvVar>,
    /// Names of those that only make sense together (endpoint and switch, endpoint and protocol): where one of them is
    /// somebody else's with another value, the container gets nothing of the block.
    pub together: Vec<String>,
    /// Whether the container gets nothing of the block where it has one of its variables from somebody else at all, were
    /// it with the same value: of two, the one would change what the other means.
    pub whole_or_theirs: bool,
    /// Other names that, where a container has them from somebody else, keep the block out: they are read before ours.
    pub yields_to: Vec<String>,
    /// Files that the variables speak of.
    pub files: Option<Files>,
    /// Whether what Secrets hold is part of it, so that another content restarts the workload.
    pub reads_secrets: bool,
}

impl Block {
    /// Variables that stand each for itself.
    pub fn of_each(vars: Vec<EnvVar>) -> Self {
        Self {
            vars,
            ..Self::default()
        }
    }

    /// Variables that make sense together only.
    pub fn of_all(vars: Vec<EnvVar>) -> Self {
        let together = vars.iter().map(|var| var.name.clone()).collect();
        Self {
            vars,
            together,
            ..Self::default()
        }
    }
}

/// What an entry of `inject` gives to a container.
pub fn blocks(inject: &Inject, telling: Telling<'_>, subject: Subject<'_>) -> Vec<Block> {
    match inject.dialect {
        Dialect::OpenTelemetry => opentelemetry::blocks(telling, subject),
        Dialect::InterLink => interlink::blocks(telling, subject),
        Dialect::Custom => custom::blocks(&inject.env, telling),
    }
}
