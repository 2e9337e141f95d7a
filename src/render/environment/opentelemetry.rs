//! The variables of OpenTelemetry's SDKs (specification 1.60; pure).
//!
//! The order is part of it: Kubernetes replaces `$(X)` by what stands in front. Fields of the pod come first, what refers
//! to them comes last.

use super::attributes::{self, Attributes, encoded};
use super::{Block, EnvVar, Exporter, Files, Subject, Telling, files};
use crate::crds::{OtlpBackend, OtlpHeader, OtlpProtocol, OtlpTls, TlsMode, WorkloadKind, ZipkinBackend};

/// How the service is called.
pub const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// The sampler.
pub const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
/// Its ratio, 0 to 1.
pub const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
/// The exporters of spans. Default of the SDKs: `otlp`.
pub const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// Address of Zipkin's receiver.
pub const ZIPKIN_ENDPOINT: &str = "OTEL_EXPORTER_ZIPKIN_ENDPOINT";

/// What receivers of spans in Zipkin's format listen on, where nothing else is said.
const ZIPKIN_PATH: &str = "/api/v2/spans";
/// What SDKs append to an address of OTLP over HTTP for spans.
const SPANS_PATH: &str = "/v1/traces";

/// Attribute that a tag of this name becomes a variable of its own for.
const SERVICE_NAME_ATTRIBUTE: &str = "service.name";
/// Label of pods with the version of what they run.
const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// What a container gets.
pub fn blocks(telling: Telling<'_>, subject: Subject<'_>) -> Vec<Block> {
    let named = attributes::literals(telling.tags).find(|(name, _)| *name == SERVICE_NAME_ATTRIBUTE);
    let service_name = named.map_or_else(|| service_name(subject), |(_, name)| name.replace('$', "$$"));
    let mut blocks = vec![
        Block::of_each(vec![EnvVar::new(SERVICE_NAME, service_name)]),
        export(telling.exporter),
    ];
    if let Some(ratio) = telling.sampling.and_then(ratio) {
        blocks.push(Block {
            // A sampler of the owner's without argument would take ours, and the other way round.
            whole_or_theirs: true,
            ..Block::of_all(vec![
                EnvVar::new(SAMPLER, "parentbased_traceidratio"),
                EnvVar::new(SAMPLER_ARG, ratio),
            ])
        });
    }
    blocks.push(resource(telling, subject));
    blocks
}

/// The pods' label `app.kubernetes.io/name`, else `app`, else the workload's name.
fn service_name(subject: Subject<'_>) -> String {
    let label = ["app.kubernetes.io/name", "app"]
        .iter()
        .find_map(|name| subject.label(name));
    label.unwrap_or_else(|| subject.name()).to_owned()
}

/// A share in percent as ratio; `None` where it is no number. Percentages have two digits after the point.
fn ratio(percentage: &str) -> Option<String> {
    let percent: f64 = percentage.parse().ok()?;
    let text = format!("{:.4}", percent / 100.0);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

fn export(exporter: Exporter<'_>) -> Block {
    match exporter {
        Exporter::Otlp { receiver, headers, .. } => otlp(receiver, headers, exporter.tls()),
        Exporter::Zipkin(zipkin) => to_zipkin(zipkin),
        Exporter::Other => Block::default(),
    }
}

fn to_zipkin(zipkin: &ZipkinBackend) -> Block {
    let path = zipkin.path.as_deref().unwrap_or(ZIPKIN_PATH);
    Block::of_all(vec![
        EnvVar::new(TRACES_EXPORTER, "zipkin"),
        EnvVar::new(ZIPKIN_ENDPOINT, format!("http://{}{path}", zipkin.endpoint)),
    ])
}

/// Address, protocol, headers and certificates: all of them or none, as the one without the other is a span that goes
/// astray, or a credential that does.
fn otlp(receiver: &OtlpBackend, headers: &[OtlpHeader], tls: Option<&OtlpTls>) -> Block {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", receiver.endpoint);
    let path = receiver.path.as_deref().unwrap_or(SPANS_PATH);
    // What is set for spans alone is used as it is; what is set for all signals gets their paths appended.
    let (prefix, endpoint, protocol) = match (receiver.protocol, path.strip_suffix(SPANS_PATH)) {
        (OtlpProtocol::Grpc, _) => (ALL_SIGNALS, address, "grpc"),
        (OtlpProtocol::Http, Some(base)) => (ALL_SIGNALS, format!("{address}{base}"), "http/protobuf"),
        (OtlpProtocol::Http, None) => (SPANS_ALONE, format!("{address}{path}"), "http/protobuf"),
    };
    let named = |what: &str, value: &str| EnvVar::new(format!("{prefix}_{what}"), value);
    let mut vars = Vec::new();
    let mut said = Vec::new();
    for (number, header) in headers.iter().enumerate() {
        let name = header.name.to_ascii_lowercase();
        if let Some(from) = &header.value_from {
            let var = format!("SIGHTLINE_OTLP_HEADER_{}", number + 1);
            said.push(format!("{name}=$({var})"));
            vars.push(EnvVar::of_secret(
                var,
                &from.secret_key_ref.name,
                &from.secret_key_ref.key,
            ));
        } else if let Some(value) = &header.value {
            said.push(format!("{name}={}", encoded(value)));
        }
    }
    let mut reads_secrets = !vars.is_empty();
    vars.push(named("ENDPOINT", &endpoint));
    vars.push(named("PROTOCOL", protocol));
    if !said.is_empty() {
        vars.push(named("HEADERS", &said.join(",")));
    }
    if let Some(tls) = tls {
        if tls.ca_certificate_ref.is_some() {
            vars.push(named("CERTIFICATE", files::CA));
        }
        if tls.mode == TlsMode::Mutual {
            vars.push(named("CLIENT_CERTIFICATE", files::CERTIFICATE));
            vars.push(named("CLIENT_KEY", files::PRIVATE_KEY));
        }
    }
    let files = tls.and_then(Files::of);
    reads_secrets |= files.is_some();
    // An SDK reads what is set for spans alone before what is set for all signals.
    let yields_to = if prefix == ALL_SIGNALS {
        ["ENDPOINT", "PROTOCOL", "HEADERS"]
            .map(|what| format!("{SPANS_ALONE}_{what}"))
            .to_vec()
    } else {
        Vec::new()
    };
    Block {
        yields_to,
        files,
        reads_secrets,
        ..Block::of_all(vars)
    }
}

const ALL_SIGNALS: &str = "OTEL_EXPORTER_OTLP";
const SPANS_ALONE: &str = "OTEL_EXPORTER_OTLP_TRACES";

/// What is known of the pod. What differs from pod to pod, or with every deployment of its owner's, is a field, so that
/// it never needs a restart of ours.
fn resource(telling: Telling<'_>, subject: Subject<'_>) -> Block {
    let mut vars = vec![
        EnvVar::of_field("OTEL_RESOURCE_ATTRIBUTES_POD_NAME", "metadata.name"),
        EnvVar::of_field("OTEL_RESOURCE_ATTRIBUTES_NODE_NAME", "spec.nodeName"),
    ];
    let of_kind = match subject.kind {
        WorkloadKind::Deployment => "k8s.deployment.name",
        WorkloadKind::DaemonSet => "k8s.daemonset.name",
        WorkloadKind::StatefulSet => "k8s.statefulset.name",
    };
    let mut known: Attributes = [
        ("k8s.container.name", encoded(subject.container)),
        (of_kind, encoded(subject.name())),
        ("k8s.namespace.name", encoded(subject.namespace())),
        ("k8s.node.name", "$(OTEL_RESOURCE_ATTRIBUTES_NODE_NAME)".to_owned()),
        ("k8s.pod.name", "$(OTEL_RESOURCE_ATTRIBUTES_POD_NAME)".to_owned()),
        ("service.namespace", encoded(subject.namespace())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if subject.label(VERSION_LABEL).is_some() {
        // A label's value has nothing in it that would have to be encoded.
        let field = format!("metadata.labels['{VERSION_LABEL}']");
        vars.push(EnvVar::of_field("OTEL_RESOURCE_ATTRIBUTES_SERVICE_VERSION", field));
        let value = "$(OTEL_RESOURCE_ATTRIBUTES_SERVICE_VERSION)".to_owned();
        known.insert("service.version".to_owned(), value);
    }
    let tags = attributes::literals(telling.tags).filter(|(name, _)| *name != SERVICE_NAME_ATTRIBUTE);
    known.extend(tags.map(|(name, value)| (name.to_owned(), encoded(value))));
    vars.extend(attributes::variable(&known));
    Block::of_all(vars)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crds::{OtlpDestination, Tag};

    fn deployment() -> Value {
        json!({"metadata": {"name": "cart-v2", "namespace": "shop"},
               "spec": {"template": {"metadata": {"labels": {"app": "cart", "app.kubernetes.io/version": "2.1"}}}}})
    }

    fn subject(workload: &Value) -> Subject<'_> {
        Subject {
            kind: WorkloadKind::Deployment,
            workload,
            container: "main",
        }
    }

    fn otlp(spec: &Value) -> OtlpDestination {
        let mut spec = spec.clone();
        spec["endpoint"] = json!({"host": "otel.shop.svc", "port": 4318});
        serde_json::from_value(spec).unwrap()
    }

    fn exporter(otlp: &OtlpDestination) -> Exporter<'_> {
        Exporter::Otlp {
            receiver: &otlp.receiver,
            headers: &otlp.headers,
            tls: otlp.tls.as_ref(),
        }
    }

    fn lines(block: &Block) -> Vec<String> {
        let line = |var: &EnvVar| format!("{}={}", var.name, var.shown());
        block.vars.iter().map(line).collect()
    }

    #[test]
    fn a_container_is_told_its_name_where_spans_go_how_many_and_what_is_known_of_its_pod_in_this_order() {
        let (workload, to) = (deployment(), otlp(&json!({"protocol": "HTTP"})));
        let tags: Vec<Tag> = serde_json::from_value(json!([
            {"name": "team", "type": "Literal", "literal": "a, b=c"},
            {"name": "x", "type": "Header", "header": {"name": "x"}},
        ]))
        .unwrap();
        let telling = Telling {
            exporter: exporter(&to),
            sampling: Some("2.50"),
            tags: &tags,
        };
        let all: Vec<String> = blocks(telling, subject(&workload)).iter().flat_map(lines).collect();
        assert_eq!(
            all,
            [
                "OTEL_SERVICE_NAME=cart",
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel.shop.svc:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
                "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG=0.025",
                "OTEL_RESOURCE_ATTRIBUTES_POD_NAME=<field metadata.name>",
                "OTEL_RESOURCE_ATTRIBUTES_NODE_NAME=<field spec.nodeName>",
                "OTEL_RESOURCE_ATTRIBUTES_SERVICE_VERSION=<field metadata.labels['app.kubernetes.io/version']>",
                "OTEL_RESOURCE_ATTRIBUTES=k8s.container.name=main,k8s.deployment.name=cart-v2,k8s.namespace.name=shop,\
                 k8s.node.name=$(OTEL_RESOURCE_ATTRIBUTES_NODE_NAME),k8s.pod.name=$(OTEL_RESOURCE_ATTRIBUTES_POD_NAME),\
                 service.namespace=shop,service.version=$(OTEL_RESOURCE_ATTRIBUTES_SERVICE_VERSION),team=a%2C%20b%3Dc",
            ]
        );
    }

    #[test]
    fn a_share_in_percent_is_a_ratio_from_0_to_1() {
        let ratios = ["0", "0.01", "0.5", "1.00", "33.33", "100", "100.0"].map(|percent| ratio(percent).unwrap());
        assert_eq!(ratios, ["0", "0.0001", "0.005", "0.01", "0.3333", "1", "1"]);
    }

    #[test]
    fn the_service_is_called_by_its_labels_or_by_a_tag_else_by_its_name() {
        let mut workload = deployment();
        workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = json!("basket");
        assert_eq!(service_name(subject(&workload)), "basket");
        workload["spec"]["template"]["metadata"] = json!({});
        assert_eq!(service_name(subject(&workload)), "cart-v2");
        let tags: Vec<Tag> =
            serde_json::from_value(json!([{"name": "service.name", "type": "Literal", "literal": "own"}])).unwrap();
        let to = otlp(&json!({}));
        let telling = Telling {
            exporter: exporter(&to),
            sampling: None,
            tags: &tags,
        };
        let all = blocks(telling, subject(&workload));
        assert_eq!(lines(&all[0]), ["OTEL_SERVICE_NAME=own"]);
        assert!(all.iter().flat_map(lines).all(|line| !line.contains("service.name=")));
    }

    #[test]
    fn an_address_of_http_is_a_base_unless_its_path_is_no_base_of_spans() {
        let export = |spec: &Value| lines(&super::otlp(&otlp(spec).receiver, &[], None));
        assert_eq!(
            export(&json!({"protocol": "HTTP", "path": "/in/v1/traces"})),
            [
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel.shop.svc:4318/in",
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
            ]
        );
        assert_eq!(
            export(&json!({"protocol": "HTTP", "path": "/spans"})),
            [
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://otel.shop.svc:4318/spans",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"
            ]
        );
        assert_eq!(
            export(&json!({"protocol": "GRPC"})),
            [
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel.shop.svc:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
            ]
        );
    }

    #[test]
    fn a_header_of_a_secret_stands_behind_its_variable_and_certificates_are_files() {
        let to = otlp(&json!({"protocol": "GRPC",
            "headers": [{"name": "X-Tenant", "value": "a b"},
                        {"name": "authorization", "valueFrom": {"secretKeyRef": {"name": "cloud", "key": "token"}}}],
            "tls": {"mode": "Mutual", "caCertificateRef": {"kind": "ConfigMap", "name": "ca"},
                    "clientCertificateRef": {"name": "pair"}}}));
        let block = export(exporter(&to));
        assert_eq!(
            lines(&block),
            [
                "SIGHTLINE_OTLP_HEADER_2=<secret cloud/token>",
                "OTEL_EXPORTER_OTLP_ENDPOINT=https://otel.shop.svc:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
                "OTEL_EXPORTER_OTLP_HEADERS=x-tenant=a%20b,authorization=$(SIGHTLINE_OTLP_HEADER_2)",
                "OTEL_EXPORTER_OTLP_CERTIFICATE=/etc/sightline/tls/ca.crt",
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/etc/sightline/tls/tls.crt",
                "OTEL_EXPORTER_OTLP_CLIENT_KEY=/etc/sightline/tls/tls.key",
            ]
        );
        let files = block.files.unwrap();
        assert_eq!(files.volume["name"], files.mount["name"]);
        assert_eq!(
            files.volume["projected"]["sources"],
            json!([
                {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"secret": {"name": "pair", "items": [{"key": "tls.crt", "path": "tls.crt"},
                                                       {"key": "tls.key", "path": "tls.key"}]}},
            ])
        );
        assert!(block.reads_secrets);
    }

    #[test]
    fn zipkin_is_an_exporter_of_its_own() {
        let zipkin = serde_json::from_value(json!({"endpoint": {"host": "zipkin.shop.svc", "port": 9411}})).unwrap();
        assert_eq!(
            lines(&export(Exporter::Zipkin(&zipkin))),
            [
                "OTEL_TRACES_EXPORTER=zipkin",
                "OTEL_EXPORTER_ZIPKIN_ENDPOINT=http://zipkin.shop.svc:9411/api/v2/spans"
            ]
        );
    }
}
