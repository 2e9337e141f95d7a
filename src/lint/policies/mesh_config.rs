//! Istio's MeshConfig: what it says of logs, traces and metrics, wherever it stands.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::{Located, Mark};
use super::Fact;
use super::shape::{MESH_CONFIG, PROVIDERS, judge_keys};
use crate::format::is_secret;
use crate::snapshot::mesh_config::json_name;

/// What Telemetries are judged by.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Names of the extension providers.
    pub providers: Vec<(String, Mark)>,
    /// `rootNamespace`; empty where it is not set.
    pub root_namespace: String,
    /// Whether proxies log to `accessLogFile`.
    pub has_access_log_file: bool,
    /// `defaultProviders.accessLogging`.
    pub default_logging: Vec<(String, Mark)>,
    /// `defaultProviders.tracing`.
    pub default_tracing: Vec<(String, Mark)>,
    /// `defaultProviders.metrics`.
    pub default_metrics: Vec<(String, Mark)>,
}

/// Judges a MeshConfig by itself, and keeps what Telemetries are judged by.
pub fn note(mesh: &Located, judge: &mut Judge) {
    judge_keys(mesh, MESH_CONFIG, judge);
    judge_sampling(mesh, judge);
    let providers = items(mesh, &["extensionProviders", "extension_providers"]);
    judge_names(&providers, judge);
    for provider in &providers {
        judge_provider(provider, judge);
    }
    let text = |names| {
        let value = mesh.either(names);
        value
            .and_then(|value| value.as_string().map(str::to_owned))
            .unwrap_or_default()
    };
    let defaults = mesh.either(["defaultProviders", "default_providers"]);
    let defaults_of = |names: &[&str]| {
        let listed = defaults
            .as_ref()
            .map(|defaults| items(defaults, names))
            .unwrap_or_default();
        let name = |item: &Located| Some((item.as_string()?.to_owned(), item.mark()));
        listed.iter().filter_map(name).collect()
    };
    judge.note(Fact::MeshConfig(MeshConfig {
        providers: providers.iter().filter_map(named).collect(),
        root_namespace: text(["rootNamespace", "root_namespace"]),
        has_access_log_file: !text(["accessLogFile", "access_log_file"]).is_empty(),
        default_logging: defaults_of(&["accessLogging", "access_logging"]),
        default_tracing: defaults_of(&["tracing"]),
        default_metrics: defaults_of(&["metrics"]),
    }));
}

/// Entries of the list under the first of these names.
fn items(value: &Located, names: &[&str]) -> Vec<Located> {
    let list = names.iter().find_map(|name| value.get(name));
    list.map(|list| list.items()).unwrap_or_default()
}

fn name(provider: &Located) -> Option<&str> {
    provider.node().get("name")?.as_str()
}

fn named(provider: &Located) -> Option<(String, Mark)> {
    Some((name(provider)?.to_owned(), provider.get("name")?.mark()))
}

/// 0 is the value of a field that is not set, and then istiod's own default holds.
fn judge_sampling(mesh: &Located, judge: &mut Judge) {
    let config = mesh.either(["defaultConfig", "default_config"]);
    let Some(sampling) = config.and_then(|config| config.at(&["tracing", "sampling"])) else {
        return;
    };
    let message = match sampling.node().as_str().and_then(|text| text.parse::<f64>().ok()) {
        Some(0.0) => "a sampling of 0 is none at all here: 1 % of the requests is traced",
        Some(percent) if percent > 100.0 => "a sampling above 100 becomes 1 %",
        _ => return,
    };
    judge.policy(Policy::UnreadSampling, sampling.mark(), message.to_owned());
}

/// A Telemetry finds the first provider of a name, in any case; of two with exactly one name the later counts.
fn judge_names(providers: &[Located], judge: &mut Judge) {
    let mut first: HashMap<String, &str> = HashMap::new();
    for provider in providers {
        let Some(name) = name(provider) else { continue };
        let Some(known) = first.insert(name.to_ascii_lowercase(), name) else {
            continue;
        };
        let message = if known == name {
            format!("there is a provider `{name}` before, and this one silently takes its place")
        } else {
            format!("there is a provider `{known}` before, and a Telemetry that names `{name}` gets that one")
        };
        let mark = provider.get("name").map_or_else(|| provider.mark(), |name| name.mark());
        judge.policy(Policy::DuplicateProvider, mark, message);
    }
}

fn judge_provider(provider: &Located, judge: &mut Judge) {
    let is_misspelt = judge_keys(provider, PROVIDERS, judge);
    let mut has_kind = false;
    for (written, kind, mark) in provider.keys() {
        let known = json_name(written);
        has_kind |= PROVIDERS.iter().any(|(name, _)| *name == known);
        judge_kind(&known, &kind, &mark, judge);
    }
    if !has_kind && !is_misspelt {
        let message = format!("the provider `{}` is of no kind", name(provider).unwrap_or_default());
        judge.policy(Policy::ProviderWithoutKind, provider.mark(), message);
    }
}

fn judge_kind(known: &str, kind: &Located, mark: &Mark, judge: &mut Judge) {
    let no_effect = |judge: &mut Judge, mark: Mark, message: &str| {
        judge.policy(Policy::FieldWithoutEffect, mark, message.to_owned());
    };
    match known {
        "lightstep" | "opencensus" => {
            let message = format!("Istio sends nothing to {known} any more; use opentelemetry");
            no_effect(judge, mark.clone(), &message);
        }
        "skywalking" => {
            let names = ["accessToken", "access_token"];
            if kind.either(names).is_some() {
                let message = "istiod never hands the accessToken to a proxy; use a collector that holds it";
                no_effect(judge, kind.key_mark(&names), message);
            }
        }
        "opentelemetry" => {
            if let Some(http) = kind.get("http") {
                judge_otlp_http(kind, &http, judge);
            }
            let sampler = kind.either(["dynatraceSampler", "dynatrace_sampler"]);
            let api = sampler.and_then(|sampler| sampler.either(["httpService", "http_service"]));
            if let Some(http) = api.and_then(|api| api.get("http")) {
                judge_headers(&http, &["headers"], judge);
            }
            if let Some(grpc) = kind.get("grpc") {
                judge_headers(&grpc, &["initialMetadata", "initial_metadata"], judge);
            }
        }
        "zipkin" => judge_headers(kind, &["headers"], judge),
        "envoyOtelAls" => judge_labels(kind, judge),
        "envoyHttpAls" | "envoyTcpAls" | "datadog" => {}
        _ => return,
    }
    if let Some(service) = kind.get("service") {
        judge_service(&service, judge);
    }
}

fn judge_otlp_http(kind: &Located, http: &Located, judge: &mut Judge) {
    if http.get("timeout").is_none() {
        let message = "OTLP over HTTP has no timeout, and Envoy refuses the listeners that trace to it";
        judge.policy(Policy::MissingTimeout, kind.key_mark(&["http"]), message.to_owned());
    }
    judge_headers(http, &["headers"], judge);
}

fn judge_labels(kind: &Located, judge: &mut Judge) {
    let format = kind.either(["logFormat", "log_format"]);
    let labels = format.and_then(|format| format.get("labels"));
    for (name, label) in labels.map(|labels| labels.members()).unwrap_or_default() {
        if label.as_string().is_none() {
            let message = format!("the label `{name}` is no text, and becomes an empty one");
            judge.policy(Policy::LabelNotText, label.mark(), message);
        }
    }
}

/// `[NAMESPACE/]HOST`, or an address. The name of a Kubernetes Service has its namespace in it.
fn judge_service(service: &Located, judge: &mut Judge) {
    let Some(written) = service.as_string().filter(|text| !text.is_empty()) else {
        return;
    };
    let (namespace, host) = match written.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, written),
    };
    if host.parse::<IpAddr>().is_ok() {
        return;
    }
    if !host.contains('.') || host.rsplit('.').next() == Some("svc") {
        let message = format!("`{written}` is no full name of a service, and Istio finds none");
        judge.policy(Policy::ShortService, service.mark(), message);
    } else if namespace.is_none() && !host.contains(".svc.") {
        let message = format!("`{written}` does not say in which namespace its ServiceEntry stands");
        judge.policy(Policy::ServiceWithoutNamespace, service.mark(), message);
    }
}

/// The place is that of the key: no message and no excerpt of ours shows a secret.
fn judge_headers(of: &Located, names: &[&str], judge: &mut Judge) {
    for header in items(of, names) {
        let name = name(&header).unwrap_or_default();
        let value = header.node().get("value").and_then(|value| value.as_str());
        if value.is_some_and(|value| !value.is_empty() && (is_secret(name) || has_scheme(value))) {
            let message = format!("the value of `{name}` stands here in plain text, and goes to every proxy");
            judge.policy(Policy::InlineSecret, header.key_mark(&["value"]), message);
        }
        if header.either(["envName", "env_name"]).is_some() {
            let message = format!("the value of `{name}` is istiod's, read at its start, and goes to every proxy");
            let mark = header.key_mark(&["envName", "env_name"]);
            judge.policy(Policy::SecretByEnvironment, mark, message);
        }
    }
}

/// Whether a value is one of an authorization header.
fn has_scheme(value: &str) -> bool {
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    let schemes = ["Bearer", "Basic", "Api-Token", "ApiKey", "Token"];
    scheme.is_some_and(|scheme| schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
}
