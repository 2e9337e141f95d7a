//! The keys of MeshConfig: all of the outermost level, and all around logs, traces and metrics. Istio ignores a key that
//! it does not know, so only one that is near a known one is taken for a mistake: a later Istio may have more.
//!
//! Keys of istio.io/api 1.28 to 1.31, `mesh/v1alpha1/config.proto` and `proxy.proto`.

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::Located;
use crate::format::nearest;
use crate::snapshot::mesh_config::json_name;

/// Which keys a value has.
#[derive(Debug)]
pub enum Shape {
    /// Any: it is not looked into.
    Any,
    /// These.
    Members(&'static [Key]),
    /// A list of such values.
    List(&'static Self),
}

use Shape::{Any, List, Members};

/// A key, and what stands under it.
pub type Key = (&'static str, &'static Shape);

const LOG_FORMAT: Shape = Members(&[("text", &Any), ("labels", &Any)]);
const HEADERS: Shape = List(&Members(&[("name", &Any), ("value", &Any), ("envName", &Any)]));
const SERVICE: Key = ("service", &Any);
const PORT: Key = ("port", &Any);
const LOG_NAME: Key = ("logName", &Any);
const FILTER_STATE: Key = ("filterStateObjectsToLog", &Any);
const TAG_LENGTH: Key = ("maxTagLength", &Any);

/// What a provider can be, and the keys of each.
pub const PROVIDERS: &[Key] = &[
    ("envoyExtAuthzHttp", &Any),
    ("envoyExtAuthzGrpc", &Any),
    ("sds", &Any),
    ("lightstep", &Any),
    ("opencensus", &Any),
    ("prometheus", &Any),
    ("stackdriver", &Any),
    ("datadog", &Members(&[SERVICE, PORT, TAG_LENGTH])),
    ("skywalking", &Members(&[SERVICE, PORT, ("accessToken", &Any)])),
    (
        "zipkin",
        &Members(&[
            SERVICE,
            PORT,
            TAG_LENGTH,
            ("enable64bitTraceId", &Any),
            ("path", &Any),
            ("traceContextOption", &Any),
            ("timeout", &Any),
            ("headers", &HEADERS),
        ]),
    ),
    (
        "opentelemetry",
        &Members(&[
            SERVICE,
            PORT,
            TAG_LENGTH,
            (
                "http",
                &Members(&[("path", &Any), ("timeout", &Any), ("headers", &HEADERS)]),
            ),
            ("grpc", &Members(&[("timeout", &Any), ("initialMetadata", &HEADERS)])),
            ("resourceDetectors", &Any),
            ("serviceAttributeEnrichment", &Any),
            ("dynatraceSampler", &Any),
        ]),
    ),
    (
        "envoyFileAccessLog",
        &Members(&[("path", &Any), ("logFormat", &LOG_FORMAT), ("omitEmptyValues", &Any)]),
    ),
    (
        "envoyHttpAls",
        &Members(&[
            SERVICE,
            PORT,
            LOG_NAME,
            FILTER_STATE,
            ("additionalRequestHeadersToLog", &Any),
            ("additionalResponseHeadersToLog", &Any),
            ("additionalResponseTrailersToLog", &Any),
        ]),
    ),
    ("envoyTcpAls", &Members(&[SERVICE, PORT, LOG_NAME, FILTER_STATE])),
    (
        "envoyOtelAls",
        &Members(&[SERVICE, PORT, LOG_NAME, ("logFormat", &LOG_FORMAT)]),
    ),
];

const TRACING: Shape = Members(&[
    ("zipkin", &Any),
    ("lightstep", &Any),
    ("datadog", &Any),
    ("stackdriver", &Any),
    ("openCensusAgent", &Any),
    ("customTags", &Any),
    ("maxPathTagLength", &Any),
    ("sampling", &Any),
    ("tlsSettings", &Any),
    ("enableIstioTags", &Any),
]);

/// A MeshConfig. The list of providers is checked entry by entry, with [`PROVIDERS`]; of `defaultConfig` only
/// what is near `tracing` is of interest, so the rest is not listed.
pub const MESH_CONFIG: &[Key] = &[
    ("accessLogEncoding", &Any),
    ("accessLogFile", &Any),
    ("accessLogFormat", &Any),
    ("ca", &Any),
    ("caCertificates", &Any),
    ("certificates", &Any),
    ("configSources", &Any),
    ("connectTimeout", &Any),
    ("defaultConfig", &Members(&[("tracing", &TRACING)])),
    ("defaultDestinationRuleExportTo", &Any),
    ("defaultHttpRetryPolicy", &Any),
    (
        "defaultProviders",
        &Members(&[("tracing", &Any), ("metrics", &Any), ("accessLogging", &Any)]),
    ),
    ("defaultServiceExportTo", &Any),
    ("defaultTrafficPolicy", &Any),
    ("defaultVirtualServiceExportTo", &Any),
    ("disableEnvoyListenerLog", &Any),
    ("discoverySelectors", &Any),
    ("dnsRefreshRate", &Any),
    ("enableAutoMtls", &Any),
    ("enableEnvoyAccessLogService", &Any),
    ("enablePrometheusMerge", &Any),
    ("enableTracing", &Any),
    ("extensionProviders", &Any),
    ("h2UpgradePolicy", &Any),
    ("hboneIdleTimeout", &Any),
    ("inboundClusterStatName", &Any),
    ("inboundTrafficPolicy", &Any),
    ("ingressClass", &Any),
    ("ingressControllerMode", &Any),
    ("ingressSelector", &Any),
    ("ingressService", &Any),
    ("localityLbSetting", &Any),
    ("meshMTLS", &Any),
    ("outboundClusterStatName", &Any),
    ("outboundTrafficPolicy", &Any),
    ("pathNormalization", &Any),
    ("protocolDetectionTimeout", &Any),
    ("proxyHttpPort", &Any),
    ("proxyInboundListenPort", &Any),
    ("proxyListenPort", &Any),
    ("rootNamespace", &Any),
    ("serviceEntryVisibility", &Any),
    ("serviceScopeConfigs", &Any),
    ("serviceSettings", &Any),
    ("tcpKeepalive", &Any),
    ("tlsDefaults", &Any),
    ("trustDomain", &Any),
    ("trustDomainAliases", &Any),
    ("verifyCertificateAtClient", &Any),
    ("zoneAwareLbSetting", &Any),
];

/// Points out keys that nearly are those of a value. True where there are any.
pub fn judge_keys(value: &Located, known: &'static [Key], judge: &mut Judge) -> bool {
    let mut is_misspelt = false;
    for (written, member, mark) in value.keys() {
        let name = json_name(written);
        match known.iter().find(|(key, _)| *key == name) {
            Some((_, shape)) => judge_shape(&member, shape, judge),
            None => {
                if let Some(meant) = meant(&name, known) {
                    let message = format!("MeshConfig has no key `{written}` here; did you mean `{meant}`?");
                    judge.policy(Policy::UnknownKey, mark, message);
                    is_misspelt = true;
                }
            }
        }
    }
    is_misspelt
}

fn judge_shape(value: &Located, shape: &'static Shape, judge: &mut Judge) {
    match shape {
        Any => {}
        Members(known) => {
            judge_keys(value, known, judge);
        }
        List(each) => {
            for item in value.items() {
                judge_shape(&item, each, judge);
            }
        }
    }
}

fn meant(name: &str, known: &'static [Key]) -> Option<&'static str> {
    let names = || known.iter().map(|(key, _)| *key);
    names()
        .find(|key| key.eq_ignore_ascii_case(name))
        .or_else(|| nearest(name, names()))
}
