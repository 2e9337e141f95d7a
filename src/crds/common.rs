//! Types that several of the three resources share.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Names the ObservabilityMesh that a policy belongs to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshRef {
    /// Name of an ObservabilityMesh (cluster-scoped).
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Selects workloads of the policy's own namespace by the labels of their pods.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.matchLabels.size() >= 1", "selector.matchLabels needs at least one label; leave selector out to select the whole namespace"),
    validation = ("self.matchLabels.all(k, k.size() > 0 && k.size() <= 317 && !k.contains('*'))", "selector.matchLabels: a key is a label name without '*'; write the whole label name"),
    validation = ("self.matchLabels.all(k, self.matchLabels[k].size() <= 63 && !self.matchLabels[k].contains('*'))", "selector.matchLabels: a value has at most 63 characters and no '*'; write the whole label value")
)]
pub struct MatchLabels {
    /// Labels that must be carried, all of them. 1 to 8, no wildcards.
    #[schemars(extend("maxProperties" = 8), schema_with = "label_map")]
    pub match_labels: BTreeMap<String, String>,
}

fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// A network address: a host name and a port. The operator itself never dials it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Host name. A Service is written `NAME.NAMESPACE.svc` or `NAME.NAMESPACE.svc.cluster.local`: a mesh backend has
    /// to be one, because a mesh only sends to what is in its registry.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

impl Endpoint {
    /// `(namespace, service)` when the host is a Kubernetes Service name that carries its namespace.
    pub fn service(&self) -> Option<(&str, &str)> {
        let mut parts = self.host.splitn(4, '.');
        let (name, namespace, svc) = (parts.next()?, parts.next()?, parts.next()?);
        let domain = parts.next();
        (svc == "svc" && domain.is_none_or(|d| d == "cluster.local")).then_some((namespace, name))
    }
}

/// A span of time as Kubernetes users write it: `500ms`, `10s`, `1m30s`, `2h`.
///
/// Kept as written: the schema's pattern guards it, [`TimeSpan::get`] reads it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct TimeSpan(pub String);

/// Milliseconds of a [`TimeSpan`] that could be read.
pub type Millis = Duration;

impl TimeSpan {
    /// The span, or `None` where the text is no span (an object that was stored before the schema's pattern).
    pub fn get(&self) -> Option<Millis> {
        let mut total = Duration::ZERO;
        let mut rest = self.0.as_str();
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&n| n > 0)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(letters);
            let number: u64 = number.parse().ok()?;
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return None,
            };
            total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
            rest = next;
        }
        Some(total)
    }
}

impl From<&str> for TimeSpan {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for TimeSpan {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 20, "pattern": "^([0-9]{1,6}(ms|s|m|h)){1,4}$"})
    }
}

/// How a log line is written.
///
/// Either a `preset` (which `fields` add to and `omit` takes away from), or, for `encoding: Text`, a whole `text`, or,
/// for `encoding: JSON`, `fields` alone. The language of the values is Envoy's access-log format:
/// `%REQ(X-TENANT)%` is a request header, `%RESPONSE_CODE%` the status, `%%` a percent sign. Every operator is checked
/// before it reaches a proxy: one that the oldest proxy does not know would make that proxy refuse its whole listener.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.text) || has(self.preset) || (self.encoding == 'JSON' && has(self.fields))", "a format needs a preset, a text (encoding: Text) or fields (encoding: JSON); write preset: Istio for the mesh's own format"),
    validation = ("!has(self.text) || self.encoding == 'Text'", "text is for encoding: Text; with encoding: JSON write fields: [{name, value}]"),
    validation = ("!has(self.text) || !(has(self.preset) || has(self.fields) || has(self.omit))", "text is the whole format: remove preset, fields and omit, or remove text"),
    validation = ("!has(self.omit) || has(self.preset)", "omit takes fields away from a preset: set preset, or remove omit")
)]
pub struct LogFormat {
    /// How a line is encoded. `Text`: one line of text. `JSON`: one object a line; a value that is a single operator keeps its type (numbers
    /// stay numbers, what is absent is null). Default: `Text`.
    #[serde(default)]
    pub encoding: Encoding,
    /// A format to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<FormatPreset>,
    /// The whole format as one text, at most 8 KiB. A newline is added where there is none. Alone: not with `preset`,
    /// `fields` or `omit`.
    ///
    /// Example: `[%START_TIME%] %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub text: Option<String>,
    /// Fields by name, at most 64. JSON: members of the object; one with the name of a preset's field replaces it.
    /// Text: ` name=value` is added before the newline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub fields: Vec<FormatField>,
    /// Names of the preset's fields to leave out, at most 64, by their JSON names (`user_agent`, `x_forwarded_for`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub omit: Vec<String>,
}

impl Default for LogFormat {
    fn default() -> Self {
        Self {
            encoding: Encoding::Text,
            preset: Some(FormatPreset::Istio),
            text: None,
            fields: Vec::new(),
            omit: Vec::new(),
        }
    }
}

/// How a line is encoded.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum Encoding {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object a line.
    #[serde(rename = "JSON")]
    Json,
}

// The schema of an optional enum has the doc of its type, not of the field: what a reader of `preset` wants stands here.
/// A format to start from. `Istio`: Istio's default access-log format of this encoding. `Envoy`: Envoy's own default of
/// this encoding. `fields` add to it, `omit` takes fields away. Not with `text`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum FormatPreset {
    /// Istio's default access-log format.
    Istio,
    /// Envoy's default access-log format.
    Envoy,
}

/// One named field of a format.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormatField {
    /// Name of the field in the line, for example `tenant`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Value: literal text and operators, at most 1 KiB, for example `%REQ(X-TENANT)%`.
    #[schemars(length(min = 0, max = 1024))]
    pub value: String,
}

/// Which traffic of a workload.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum Direction {
    /// Requests that it receives.
    Inbound,
    /// Requests that it makes.
    Outbound,
    /// Both.
    #[default]
    Both,
}

/// Kind of workload: `Deployment`, of `apps/v1`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    #[default]
    Deployment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_reads_go_style_durations_and_refuses_the_rest() {
        let ms = |text: &str| TimeSpan::from(text).get().map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("2h"), Some(7_200_000));
        for bad in ["", "10", "s", "1d", "-1s", "1.5s"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_endpoint_names_a_service_only_with_its_namespace() {
        let service = |host: &str| {
            Endpoint {
                host: host.into(),
                port: 1,
            }
            .service()
            .map(|(ns, n)| format!("{ns}/{n}"))
        };
        assert_eq!(service("tempo.monitoring.svc"), Some("monitoring/tempo".into()));
        assert_eq!(
            service("tempo.monitoring.svc.cluster.local"),
            Some("monitoring/tempo".into())
        );
        assert_eq!(service("tempo.monitoring"), None);
        assert_eq!(service("tempo.example.com"), None);
        assert_eq!(service("tempo.monitoring.svc.example.com"), None);
    }
}
