//! Environment for workloads that export spans themselves: which workloads, which variables, and how they reach a receiver.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::collector::SecretKey;
use super::common::{MatchLabels, OtlpBackend, WorkloadKind};

/// Environment for workloads that export spans themselves.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.env) == (self.dialect == 'Custom')", "inject: env: [{name, value}] goes with dialect: Custom, and only with it; the other dialects know their variables"))]
pub struct Inject {
    /// Name of this entry: a lower-case DNS label of at most 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Which variables the program understands. `OpenTelemetry`: those of OpenTelemetry's SDKs (`OTEL_SERVICE_NAME`,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES` and others). `InterLink`: those of
    /// interLink's virtual kubelet and API server (`ENABLE_TRACING`, `TELEMETRY_ENDPOINT`, `TELEMETRY_UNIQUE_ID`). `Custom`:
    /// those of `env`.
    pub dialect: Dialect,
    /// Which workloads of this namespace get the variables, by kind and by labels of the workload object itself. One whose
    /// annotation `sightline.dev/inject` is `"false"` gets nothing.
    pub workloads: InjectWorkloads,
    /// Names of the containers that get the variables, `*` stands for any text, at most 8. Default: the one that the
    /// annotation `kubectl.kubernetes.io/default-container` names, else the only one; a workload with several and no
    /// such annotation gets nothing, and that is reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub containers: Vec<String>,
    /// For `dialect: Custom`: the variables, at most 32. Nothing of `destination`, `sampling` and `tags` is added to them,
    /// but for the certificates of `destination.otlp.tls`, which stand below `/etc/sightline/tls`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvEntry>,
}

/// Which variables a program understands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Dialect {
    /// The SDKs of OpenTelemetry.
    OpenTelemetry,
    /// interLink's virtual kubelet and API server.
    InterLink,
    /// What the spec names itself.
    Custom,
}

/// Workloads of the policy's own namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InjectWorkloads {
    /// Kinds of workload, of `apps/v1`, at most 4: `Deployment`, `DaemonSet`, `StatefulSet`. Default: `[Deployment]`.
    #[serde(default = "deployments")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<WorkloadKind>,
    /// Labels of the workload object itself (not of its pods).
    pub selector: MatchLabels,
}

fn deployments() -> Vec<WorkloadKind> {
    vec![WorkloadKind::Deployment]
}

/// A variable that the spec names itself.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvEntry {
    /// Name, one of a closed list: settings of tracing in OpenTelemetry's SDKs, interLink, Jaeger's and Datadog's libraries
    /// and Spring Boot. No variable that makes a program run code or read a configuration of somebody's choice is among
    /// them (`LD_PRELOAD`, `JAVA_TOOL_OPTIONS`, `NODE_OPTIONS`, `OTEL_CONFIG_FILE` and the like), and none that holds a
    /// credential.
    ///
    /// The list: `DD_AGENT_HOST`, `DD_ENV`, `DD_SERVICE`, `DD_TAGS`, `DD_TRACE_AGENT_PORT`, `DD_TRACE_AGENT_URL`,
    /// `DD_TRACE_ENABLED`, `DD_TRACE_SAMPLE_RATE`, `DD_VERSION`, `ENABLE_TRACING`, `JAEGER_AGENT_HOST`,
    /// `JAEGER_AGENT_PORT`, `JAEGER_ENDPOINT`, `JAEGER_PROPAGATION`, `JAEGER_SAMPLER_PARAM`, `JAEGER_SAMPLER_TYPE`,
    /// `JAEGER_SERVICE_NAME`, `JAEGER_TAGS`, `MANAGEMENT_OTLP_TRACING_ENDPOINT`, `MANAGEMENT_TRACING_ENABLED`,
    /// `MANAGEMENT_TRACING_SAMPLING_PROBABILITY`, `MANAGEMENT_ZIPKIN_TRACING_ENDPOINT`, `OTEL_BSP_EXPORT_TIMEOUT`,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_SCHEDULE_DELAY`,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, `OTEL_EXPORTER_OTLP_CLIENT_KEY`,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION`, `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_INSECURE`,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`, `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`,
    /// `OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE`, `OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY`,
    /// `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
    /// `OTEL_EXPORTER_OTLP_TRACES_INSECURE`, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`,
    /// `OTEL_EXPORTER_ZIPKIN_ENDPOINT`, `OTEL_EXPORTER_ZIPKIN_TIMEOUT`, `OTEL_LOGS_EXPORTER`, `OTEL_METRICS_EXPORTER`,
    /// `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRIC_EXPORT_TIMEOUT`, `OTEL_PROPAGATORS`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_SDK_DISABLED`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_EXPORTER`, `OTEL_TRACES_SAMPLER`,
    /// `OTEL_TRACES_SAMPLER_ARG`, `TELEMETRY_ENDPOINT`, `TELEMETRY_UNIQUE_ID`.
    #[schemars(schema_with = "settable")]
    pub name: String,
    /// Value, at most 4 KiB. `$(NAME)` is replaced by Kubernetes with the value of another variable of the container.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

fn settable(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": SETTABLE})
}

/// Variables that `dialect: Custom` may set: how a program traces, and nothing that decides which code it runs or that
/// holds a credential. Of OpenTelemetry's specification (1.60) all but `OTEL_CONFIG_FILE`, under which all others are
/// ignored, and headers, which stand in `destination.otlp.headers`. In order.
pub const SETTABLE: &[&str] = &[
    "DD_AGENT_HOST",
    "DD_ENV",
    "DD_SERVICE",
    "DD_TAGS",
    "DD_TRACE_AGENT_PORT",
    "DD_TRACE_AGENT_URL",
    "DD_TRACE_ENABLED",
    "DD_TRACE_SAMPLE_RATE",
    "DD_VERSION",
    "ENABLE_TRACING",
    "JAEGER_AGENT_HOST",
    "JAEGER_AGENT_PORT",
    "JAEGER_ENDPOINT",
    "JAEGER_PROPAGATION",
    "JAEGER_SAMPLER_PARAM",
    "JAEGER_SAMPLER_TYPE",
    "JAEGER_SERVICE_NAME",
    "JAEGER_TAGS",
    "MANAGEMENT_OTLP_TRACING_ENDPOINT",
    "MANAGEMENT_TRACING_ENABLED",
    "MANAGEMENT_TRACING_SAMPLING_PROBABILITY",
    "MANAGEMENT_ZIPKIN_TRACING_ENDPOINT",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_PROPAGATORS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "TELEMETRY_ENDPOINT",
    "TELEMETRY_UNIQUE_ID",
];

/// A receiver of spans by the OpenTelemetry protocol, with what it asks of those who send.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtlpDestination {
    /// Its address and transport.
    #[serde(flatten)]
    pub receiver: OtlpBackend,
    /// Headers that go with every export, at most 16: for `inject` with `dialect: OpenTelemetry` only. A mesh's proxies are
    /// never given one, as it would stand in the mesh's configuration in clear: send to a collector that holds the
    /// credential.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<OtlpHeader>,
    /// TLS towards the receiver: for `inject` only. Certificates are mounted below `/etc/sightline/tls`. Default: plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<OtlpTls>,
}

/// A header that goes with every export.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.value) != has(self.valueFrom)", "headers: a header has either value or valueFrom: {secretKeyRef: {name, key}}"))]
pub struct OtlpHeader {
    /// Name, for example `x-api-key`. It is sent in lower case, as gRPC has it.
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$")
    )]
    pub name: String,
    /// Value, in clear: everybody who reads the workload sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// Where the value comes from, instead of `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<HeaderSource>,
}

/// Where the value of a header comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderSource {
    /// Key of a Secret of this namespace that carries the label `sightline.dev/shared: "true"`. Its value stands there as
    /// the variable `OTEL_EXPORTER_OTLP_HEADERS` has it, percent-encoded: a blank is `%20`, a comma `%2C`.
    pub secret_key_ref: SecretKey,
}

/// TLS towards a receiver.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("(self.mode == 'Mutual') == has(self.clientCertificateRef)", "tls: clientCertificateRef: {name} goes with mode: Mutual, and only with it"),
    validation = ("self.mode != 'Disabled' || !has(self.caCertificateRef)", "tls: caCertificateRef is for mode: Simple and mode: Mutual; remove it or set one of them")
)]
pub struct OtlpTls {
    /// `Disabled`: plaintext. `Simple`: the receiver shows a certificate. `Mutual`: the workload shows one too.
    pub mode: TlsMode,
    /// Certificates of the authorities that the receiver's is checked by. Default: those that the program's image has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate_ref: Option<CaCertificateRef>,
    /// For `mode: Mutual`: certificate and key of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<ClientCertificateRef>,
}

/// How TLS is used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TlsMode {
    /// Not at all.
    Disabled,
    /// The receiver shows a certificate.
    Simple,
    /// Both show one.
    Mutual,
}

/// Names the certificates of authorities.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateRef {
    /// `Secret` or `ConfigMap`, of this namespace. It has to carry the label `sightline.dev/shared: "true"`. Default:
    /// `Secret`.
    #[serde(default)]
    pub kind: CertificateSource,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its key. Default: `ca.crt`.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What holds certificates.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum CertificateSource {
    /// `v1` Secret.
    #[default]
    Secret,
    /// `v1` ConfigMap.
    ConfigMap,
}

/// Names a certificate and its key, in a Secret such as cert-manager makes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateRef {
    /// Name of a Secret of this namespace that carries the label `sightline.dev/shared: "true"`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key of the certificate. Default: `tls.crt`.
    #[serde(default = "certificate_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub certificate_key: String,
    /// Key of the private key. Default: `tls.key`.
    #[serde(default = "private_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub private_key: String,
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}

fn certificate_key() -> String {
    "tls.crt".to_owned()
}

fn private_key() -> String {
    "tls.key".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_list_is_in_order_and_has_nothing_that_runs_code_or_holds_a_credential() {
        assert!(SETTABLE.is_sorted());
        let barred = [
            "LD_",
            "PATH",
            "NODE_",
            "PYTHON",
            "JAVA_",
            "JDK_",
            "RUBY",
            "PERL",
            "BASH",
            "GO",
            "DOTNET",
            "CORECLR",
            "COR_",
            "PHP_",
            "HTTP_",
            "HTTPS_",
            "OTEL_CONFIG_FILE",
            "OTEL_EXPERIMENTAL",
            "OTEL_JAVAAGENT",
            "OTEL_PYTHON",
        ];
        for name in SETTABLE {
            let is_barred = barred.iter().any(|start| name.starts_with(start));
            let holds_one = ["HEADERS", "API_KEY", "PASSWORD", "TOKEN", "USER", "OPTIONS", "PRELOAD"];
            assert!(
                !is_barred && !holds_one.iter().any(|part| name.contains(part)),
                "{name}"
            );
        }
    }
}
