//! What a TracingBackend says to workloads that export spans themselves: whether their dialects can say it, and whether the
//! headers and certificates that it names are there.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::Value;

use super::backends::{SpanReceiver, receiver};
use super::claims::{rejected, unresolved};
use super::tracing_backend::inject_sampling;
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{
    CertificateSource, Destination, Dialect, Inject, ObservabilityMesh, OtlpDestination, TagType, TlsMode,
    TracingBackend,
};
use crate::render::environment::{Exporter, Telling};
use crate::render::metadata::SHARED;
use crate::rollout::Parts;
use crate::snapshot::{Fact, Key, Kind, View, hidden_value, labels_of};

/// What a policy says to the containers that it selects.
///
/// # Errors
/// Where it has no receiver.
pub fn telling<'a>(
    mesh: &'a ObservabilityMesh,
    key: &Key,
    tracing: &'a TracingBackend,
) -> Result<Telling<'a>, Finding> {
    let receiver = receiver(mesh, &key.namespace, tracing)?;
    Ok(Telling {
        exporter: exporter(receiver, &tracing.spec.destination),
        sampling: inject_sampling(mesh, tracing),
        tags: &tracing.spec.tags,
    })
}

fn exporter<'a>(receiver: SpanReceiver<'a>, destination: &'a Destination) -> Exporter<'a> {
    let own = destination.otlp.as_ref();
    match receiver {
        SpanReceiver::Otlp(receiver) => Exporter::Otlp {
            receiver,
            headers: own.map_or(&[], |otlp| &otlp.headers),
            tls: own.and_then(|otlp| otlp.tls.as_ref()),
        },
        SpanReceiver::Zipkin(zipkin) => Exporter::Zipkin(zipkin),
        SpanReceiver::Datadog(_) => Exporter::Other,
    }
}

/// Whether a destination names Secrets, or certificates of a ConfigMap.
pub fn reads_secrets(destination: &Destination) -> bool {
    let of = |otlp: &OtlpDestination| {
        let has_secret_header = otlp.headers.iter().any(|header| header.value_from.is_some());
        let has_file = |tls: &crate::crds::OtlpTls| {
            tls.mode != TlsMode::Disabled && (tls.ca_certificate_ref.is_some() || tls.client_certificate_ref.is_some())
        };
        has_secret_header || otlp.tls.as_ref().is_some_and(has_file)
    };
    destination.otlp.as_ref().is_some_and(of)
}

/// Whether a destination asks for more than an address: what a mesh's proxies cannot be given.
pub fn asks_for_credentials(destination: &Destination) -> Option<&'static str> {
    let otlp = destination.otlp.as_ref()?;
    if !otlp.headers.is_empty() {
        return Some("spec.destination.otlp.headers");
    }
    let tls = otlp.tls.as_ref().filter(|tls| tls.mode != TlsMode::Disabled);
    tls.map(|_| "spec.destination.otlp.tls")
}

/// The finding that proxies would be given headers or TLS.
pub fn not_for_proxies(destination: &Destination) -> Option<Finding> {
    let path = asks_for_credentials(destination)?;
    let message = format!(
        "{path} works for inject only: a mesh's proxies have no TLS there, and a header would stand in clear in the mesh's configuration. Send to a collector that holds the credential (spec.collector of the ObservabilityMesh), or select workloads by inject in a namespace whose mesh is of type None."
    );
    Some(rejected(Reason::NotExpressible, message))
}

/// Paths of a spec that dialects of its `inject` cannot say, and why; `suffix` stands behind each path.
///
/// # Errors
/// The finding where spans would not arrive at all.
pub fn not_expressed(
    tracing: &TracingBackend,
    receiver: SpanReceiver<'_>,
    suffix: &str,
) -> Result<Vec<String>, Finding> {
    let mut lost: Vec<String> = Vec::new();
    for inject in &tracing.spec.inject {
        let exporter = exporter(receiver, &tracing.spec.destination);
        check_exporter(inject, receiver, exporter)?;
        for (path, why) in unsaid(inject.dialect, tracing) {
            let text = format!("{path}{suffix} ({why})");
            if !lost.contains(&text) {
                lost.push(text);
            }
        }
    }
    Ok(lost)
}

fn unsaid(dialect: Dialect, tracing: &TracingBackend) -> Vec<(String, &'static str)> {
    let spec = &tracing.spec;
    let mut unsaid = Vec::new();
    let sampling = match dialect {
        Dialect::OpenTelemetry => None,
        Dialect::InterLink => Some("interLink samples every request"),
        Dialect::Custom => Some("dialect Custom has the variables of inject[].env only"),
    };
    unsaid.extend(
        sampling
            .filter(|_| spec.sampling.is_some())
            .map(|why| ("spec.sampling".to_owned(), why)),
    );
    if dialect == Dialect::Custom {
        let why = "dialect Custom has the variables of inject[].env only";
        unsaid.extend((!spec.tags.is_empty()).then(|| ("spec.tags".to_owned(), why)));
        return unsaid;
    }
    let others = spec.tags.iter().filter(|tag| tag.type_ != TagType::Literal);
    unsaid.extend(others.map(|tag| {
        let why = "an attribute of a process is a tag of type Literal";
        (format!("spec.tags[{}]", tag.name), why)
    }));
    unsaid
}

fn check_exporter(inject: &Inject, receiver: SpanReceiver<'_>, exporter: Exporter<'_>) -> Result<(), Finding> {
    let refuse = |message: String| Err(rejected(Reason::NotExpressible, message));
    let name = &inject.name;
    match inject.dialect {
        Dialect::OpenTelemetry if matches!(receiver, SpanReceiver::Datadog(_)) => refuse(format!(
            "spec.inject[{name}]: OpenTelemetry's SDKs have no exporter to Datadog; name a destination of type OTLP (Datadog's agent takes it on port 4317), or remove inject."
        )),
        Dialect::InterLink => check_interlink(receiver, exporter),
        Dialect::Custom if !exporter.headers().is_empty() => refuse(format!(
            "spec.destination.otlp.headers: dialect Custom of spec.inject[{name}] cannot be given headers; use dialect: OpenTelemetry, or send to a collector that holds the credential."
        )),
        Dialect::OpenTelemetry | Dialect::Custom => Ok(()),
    }
}

fn check_interlink(receiver: SpanReceiver<'_>, exporter: Exporter<'_>) -> Result<(), Finding> {
    let refuse = |message: &str| Err(rejected(Reason::NotExpressible, message));
    if receiver.otlp_grpc().is_none() {
        return refuse(
            "spec.inject: interLink sends OTLP over gRPC only; name a destination of type OTLP with protocol: GRPC, or remove inject.",
        );
    }
    if !exporter.headers().is_empty() {
        return refuse(
            "spec.destination.otlp.headers: interLink has no setting for headers; send to a collector that holds the credential.",
        );
    }
    let is_whole = |tls: &crate::crds::OtlpTls| tls.mode == TlsMode::Mutual && tls.ca_certificate_ref.is_some();
    if exporter.tls().is_some_and(|tls| !is_whole(tls)) {
        return refuse(
            "spec.destination.otlp.tls: interLink speaks mutual TLS or none: with a CA alone the virtual node stops. Set mode: Mutual with caCertificateRef and clientCertificateRef, or mode: Disabled.",
        );
    }
    Ok(())
}

/// Adds what the destination's headers and certificates hold now to what a workload reads.
///
/// # Errors
/// The finding of what is missing: a pod that names it would never start, and an interLink node would stop.
pub fn credentials(
    view: &View<'_>,
    policy: &Key,
    tracing: &TracingBackend,
    mut parts: Parts,
) -> Result<Parts, Finding> {
    let Some(otlp) = &tracing.spec.destination.otlp else {
        return Ok(parts);
    };
    let mut read = |kind: Kind, name: &str, keys: &[&String]| -> Result<(), Finding> {
        let at = Key::new(&policy.namespace, name);
        let live = shared(view, kind, &at)?;
        let values: Vec<(String, Vec<u8>)> = keys
            .iter()
            .map(|key| Ok(((*key).clone(), content(live, kind, &at, key)?)))
            .collect::<Result<_, Finding>>()?;
        add(&mut parts, kind, name, values);
        Ok(())
    };
    for header in &otlp.headers {
        if let Some(from) = header.value_from.as_ref().map(|from| &from.secret_key_ref) {
            read(Kind::Secret, &from.name, &[&from.key])?;
            let at = Key::new(&policy.namespace, &from.name);
            let live = shared(view, Kind::Secret, &at)?;
            check_header(&at, &from.key, &content(live, Kind::Secret, &at, &from.key)?)?;
        }
    }
    let tls = otlp.tls.as_ref().filter(|tls| tls.mode != TlsMode::Disabled);
    if let Some(ca) = tls.and_then(|tls| tls.ca_certificate_ref.as_ref()) {
        let kind = match ca.kind {
            CertificateSource::Secret => Kind::Secret,
            CertificateSource::ConfigMap => Kind::ConfigMap,
        };
        read(kind, &ca.name, &[&ca.key])?;
    }
    if let Some(pair) = tls.and_then(|tls| tls.client_certificate_ref.as_ref()) {
        read(Kind::Secret, &pair.name, &[&pair.certificate_key, &pair.private_key])?;
    }
    Ok(parts)
}

fn add(parts: &mut Parts, kind: Kind, name: &str, values: Vec<(String, Vec<u8>)>) {
    let keys: Vec<String> = values.iter().map(|(key, _)| key.clone()).collect();
    let data = values
        .into_iter()
        .map(|(key, value)| (key, ByteString(value)))
        .collect();
    if kind == Kind::Secret {
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        parts.secret(name, Some(&secret), &keys);
    } else {
        let map = ConfigMap {
            binary_data: Some(data),
            ..ConfigMap::default()
        };
        parts.config_map(name, Some(&map));
    }
}

/// The value of a header stands in a variable with others, so it is what that variable takes between two commas.
fn check_header(secret: &Key, key: &str, value: &[u8]) -> Result<(), Finding> {
    let is_taken = |byte: &u8| byte.is_ascii_graphic() && !b"\",;\\".contains(byte);
    let is_hidden = value == hidden_value(secret, key).as_bytes();
    if is_hidden || (!value.is_empty() && value.iter().all(is_taken)) {
        return Ok(());
    }
    let message = format!(
        "Secret {secret}: the value of key {key} cannot stand in OTEL_EXPORTER_OTLP_HEADERS as it is; store it percent-encoded, without a line break: a blank is %20, a comma %2C."
    );
    Err(unresolved(Reason::SecretUnusable, message))
}

/// A Secret or a ConfigMap that Sightline may use.
fn shared<'a>(view: &View<'a>, kind: Kind, key: &Key) -> Result<&'a Value, Finding> {
    let what = kind.names().1;
    let (not_found, not_shared) = if kind == Kind::Secret {
        (Reason::SecretNotFound, Reason::SecretNotShared)
    } else {
        (Reason::ConfigMapNotFound, Reason::ConfigMapNotShared)
    };
    match view.object(kind, key) {
        Fact::Present(live) if labels_of(live).get(SHARED).is_some_and(|shared| shared == "true") => Ok(live),
        Fact::Present(_) => Err(unresolved(
            not_shared,
            format!("{what} {key} is not labelled for Sightline; label it {SHARED}=true if it is meant to be used."),
        )),
        Fact::Unknown => Err(Finding::unknown(
            ConditionType::ResolvedRefs,
            Reason::FactsPending,
            format!("{what} {key} has not been read yet."),
        )),
        Fact::Forbidden => Err(unresolved(
            Reason::Forbidden,
            format!(
                "Sightline may not read {what} {key}; give it the right in namespace {} (sightline rbac --inject-secrets-namespace; in the chart namespaces.inject-secrets).",
                key.namespace
            ),
        )),
        Fact::Absent | Fact::KindMissing => Err(unresolved(
            not_found,
            format!("{what} {key} does not exist; create it. What was live before stays."),
        )),
    }
}

/// What stands under a key.
fn content(live: &Value, kind: Kind, at: &Key, key: &str) -> Result<Vec<u8>, Finding> {
    let text = |member: &str| Some(live.get(member)?.get(key)?.as_str()?.as_bytes().to_vec());
    let bytes = |member: &str| {
        let encoded = live.get(member)?.get(key)?.clone();
        let bytes: ByteString = serde_json::from_value(encoded).ok()?;
        Some(bytes.0)
    };
    let (found, reason) = if kind == Kind::Secret {
        (text("stringData").or_else(|| bytes("data")), Reason::SecretKeyMissing)
    } else {
        (text("data").or_else(|| bytes("binaryData")), Reason::ConfigMapNotFound)
    };
    found.ok_or_else(|| {
        let message = format!(
            "{} {at} has no key {key}; add it. What was live before stays.",
            kind.names().1
        );
        unresolved(reason, message)
    })
}
