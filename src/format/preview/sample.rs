//! What a log line can speak of: a request, its response, and the connections and objects that carried them.
//!
//! Every member has a default, that of [`Sample::default`], so a file says only what differs; `null` says that there was
//! none. A list or a map replaces the default one as a whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::address::Address;
use super::flags::ResponseFlag;

/// What happened, as the proxy that logs it knows it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Sample {
    /// The HTTP request; `null` for a TCP connection.
    pub request: Option<Request>,
    /// The HTTP response; `null` where none was sent, and for a TCP connection.
    pub response: Option<Response>,
    /// Why it failed, by Envoy's short names: `UF`, `UH`, `NR`.
    pub response_flags: Vec<ResponseFlag>,
    /// Flags that filters set (`CUSTOM_FLAGS`).
    pub custom_flags: String,
    /// Bytes of the request's body; of a TCP connection, all that came from the client.
    pub bytes_received: u64,
    /// Bytes of the response's body; of a TCP connection, all that went to the client.
    pub bytes_sent: u64,
    /// When it began and how long its parts took.
    pub times: Times,
    /// From the client to the proxy.
    pub connection: Connection,
    /// The virtual host that the authority belongs to; there is one too where none of its routes holds.
    pub virtual_host: Option<VirtualHost>,
    /// The route that was taken.
    pub route: Option<Route>,
    /// The cluster that was chosen; there is one too where it has no healthy host.
    pub cluster: Option<Cluster>,
    /// How often the proxy tried to send it on (`UPSTREAM_REQUEST_ATTEMPT_COUNT`).
    pub attempts: u64,
    /// From the proxy to the host that was chosen; `null` where none was.
    pub upstream: Option<Upstream>,
    /// Dynamic metadata, by namespace.
    pub metadata: Metadata,
    /// Objects that filters left, by key.
    pub filter_state: BTreeMap<String, FilterState>,
    /// The active span; `null` where nothing is traced.
    pub trace: Option<Trace>,
    /// `STREAM_ID`. Default: the request's header `x-request-id`.
    pub stream_id: Option<String>,
    /// `ACCESS_LOG_TYPE`. Default: `DownstreamEnd` for a request, `TcpConnectionEnd` for a TCP connection.
    pub access_log_type: Option<String>,
    /// The proxy that logs.
    pub proxy: Proxy,
    /// What Kuma knows of the data plane.
    pub kuma: Kuma,
}

/// Metadata by namespace.
pub type Metadata = BTreeMap<String, Map<String, Value>>;

/// Headers or trailers by name, in any case. A list stands for a header that was given several times.
pub type Headers = BTreeMap<String, HeaderValue>;

/// What a header holds.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum HeaderValue {
    /// Once.
    One(String),
    /// Several times; Envoy prints the first.
    Many(Vec<String>),
}

impl HeaderValue {
    /// The values in their order.
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// An HTTP request as it is logged: with the headers that the proxy added.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Request {
    /// `:method`
    pub method: String,
    /// `:path`, with the query. Empty: there is none.
    pub path: String,
    /// `:authority`: the host, with its port where one was given. Empty: there is none.
    pub authority: String,
    /// `:scheme`. Empty: there is none.
    pub scheme: String,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2` or `HTTP/3`. Empty: it was not read that far.
    pub protocol: String,
    /// All other headers.
    pub headers: Headers,
}

/// An HTTP response as it is logged.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Response {
    /// Status; 0 where the stream ended without one.
    pub code: u16,
    /// Where it came from: `via_upstream`, `direct_response`, `route_not_found`.
    pub details: Option<String>,
    /// All headers.
    pub headers: Headers,
    /// All trailers.
    pub trailers: Headers,
    /// The body that the proxy wrote itself (`LOCAL_REPLY_BODY`, which is for local replies; in an access log it is
    /// empty).
    pub local_reply_body: String,
}

/// A time in milliseconds, with decimals down to the nanosecond.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(transparent)]
pub struct Millis(pub f64);

impl Millis {
    /// Whole nanoseconds.
    #[expect(clippy::cast_possible_truncation, reason = "a time beyond 292 years is cut to it")]
    pub fn nanos(self) -> i64 {
        (self.0 * 1e6).round() as i64
    }
}

/// Times of a request or a connection.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Times {
    /// When it began.
    pub start: Timestamp,
    /// From then to its end (`DURATION`).
    pub duration: Millis,
    /// The points of `COMMON_DURATION` by their names there, in milliseconds after the start, or before it where
    /// negative. `REQUEST_DURATION` is `DS_RX_END`, `REQUEST_TX_DURATION` is `US_TX_END`, `RESPONSE_DURATION` is
    /// `US_RX_BEG`, `RESPONSE_TX_DURATION` from there to `DS_TX_END`.
    pub points: BTreeMap<String, Millis>,
    /// From the start to the end of the client's TLS handshake (`DOWNSTREAM_HANDSHAKE_DURATION`, TCP only).
    pub handshake: Option<Millis>,
    /// From the start to the last acknowledgement (`ROUNDTRIP_DURATION`, HTTP/3 only).
    pub round_trip: Option<Millis>,
    /// How long the request waited for an upstream connection (`UPSTREAM_CONNECTION_POOL_READY_DURATION`).
    pub pool_ready: Option<Millis>,
}

/// The connection from the client.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Connection {
    /// Number of the connection in this proxy.
    pub id: u64,
    /// Address that the client meant.
    pub local_address: Option<Address>,
    /// Address that the proxy listens on. Default: `localAddress`.
    pub direct_local_address: Option<Address>,
    /// Address of the client.
    pub remote_address: Option<Address>,
    /// Address of the peer, which may be another proxy's. Default: `remoteAddress`.
    pub direct_remote_address: Option<Address>,
    /// The server name that the client asked for in TLS (SNI). Empty: none.
    pub server_name: String,
    /// The TLS connection; `null` where it is plain.
    pub tls: Option<Tls>,
    /// JA3 fingerprint, where the listener has the TLS inspector for it.
    pub ja3: Option<String>,
    /// JA4 fingerprint, likewise.
    pub ja4: Option<String>,
    /// Name of the listener.
    pub listener: Option<String>,
    /// Name of the listener's filter chain.
    pub filter_chain: Option<String>,
    /// Metadata of the listener.
    pub listener_metadata: Metadata,
    /// Metadata of the filter chain.
    pub filter_chain_metadata: Metadata,
    /// Why the connection ended (`CONNECTION_TERMINATION_DETAILS`).
    pub termination_details: Option<String>,
    /// Why TLS failed (`DOWNSTREAM_TRANSPORT_FAILURE_REASON`).
    pub transport_failure: Option<String>,
    /// `Normal`, `LocalReset` or `RemoteReset` (`DOWNSTREAM_DETECTED_CLOSE_TYPE`).
    pub close_type: Option<String>,
    /// Why the proxy closed it (`DOWNSTREAM_LOCAL_CLOSE_REASON`).
    pub local_close_reason: Option<String>,
    /// Bytes on the wire.
    pub wire: Wire,
}

/// Bytes of a stream on the wire.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Wire {
    /// All that came.
    pub received: u64,
    /// All that went.
    pub sent: u64,
    /// Headers that came, as they stood on the wire.
    pub header_received: u64,
    /// Headers that went, likewise.
    pub header_sent: u64,
    /// Headers that came, before HTTP/2 or HTTP/3 made them smaller.
    pub decompressed_header_received: u64,
    /// Headers that went, likewise.
    pub decompressed_header_sent: u64,
}

/// A TLS connection.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// `TLSv1.3`
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`
    pub cipher: String,
    /// `X25519MLKEM768`
    pub group: String,
    /// In hexadecimal digits; empty in TLS 1.3.
    pub session_id: String,
    /// The other side's certificate; empty members where it showed none.
    pub peer: Certificate,
    /// The proxy's own certificate.
    pub local: Certificate,
}

/// What is printed of a certificate. Digests and numbers are hexadecimal digits in lower case. What is empty is absent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Certificate {
    /// RFC 2253: `CN=reviews,O=Example`.
    pub subject: String,
    /// Likewise.
    pub issuer: String,
    /// Subject alternative names: URIs.
    pub uri_sans: Vec<String>,
    /// Names.
    pub dns_sans: Vec<String>,
    /// Addresses.
    pub ip_sans: Vec<String>,
    /// Mail addresses.
    pub email_sans: Vec<String>,
    /// Other names.
    pub other_name_sans: Vec<String>,
    /// Serial number.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint_256: String,
    /// SHA-1 of the certificate.
    pub fingerprint_1: String,
    /// SHA-256 of each certificate of the chain.
    pub chain_fingerprints_256: Vec<String>,
    /// SHA-1 of each certificate of the chain.
    pub chain_fingerprints_1: Vec<String>,
    /// Serial number of each certificate of the chain.
    pub chain_serials: Vec<String>,
    /// SHA-256 of the issuer's certificate.
    pub issuer_fingerprint_256: String,
    /// Serial number of the issuer's certificate.
    pub issuer_serial: String,
    /// From when it holds.
    pub valid_from: Option<Timestamp>,
    /// Until when it holds.
    pub valid_to: Option<Timestamp>,
    /// The whole certificate in PEM, URL-encoded.
    pub pem: String,
}

/// A route.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    /// Name; empty: it has none.
    pub name: String,
    /// Metadata of the route.
    pub metadata: Metadata,
}

/// A virtual host.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct VirtualHost {
    /// Metadata of the virtual host.
    pub metadata: Metadata,
    /// Name of the virtual cluster that the request belongs to.
    pub virtual_cluster: Option<String>,
}

/// A cluster.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cluster {
    /// Name.
    pub name: String,
    /// Name in statistics (`alt_stat_name`). Default: the name.
    pub alt_stat_name: Option<String>,
    /// Metadata of the cluster.
    pub metadata: Metadata,
}

/// The host that was chosen and the connection to it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Upstream {
    /// Address of the host (`UPSTREAM_HOST`).
    pub host: Option<Address>,
    /// Name of the host; empty: its address is printed.
    pub host_name: String,
    /// Address of this end of the connection; `null` where there was none.
    pub local_address: Option<Address>,
    /// Address of the other end. Default: `host`, where there is a local address.
    pub remote_address: Option<Address>,
    /// Number of the connection in this proxy; 0 where there was none.
    pub connection_id: u64,
    /// As in the request; `null` where there was no connection, and for TCP.
    pub protocol: Option<String>,
    /// All hosts that were tried, in their order.
    pub attempted: Vec<Attempt>,
    /// Metadata of the host.
    pub metadata: Metadata,
    /// The TLS connection; `null` where it is plain.
    pub tls: Option<Tls>,
    /// The server name that the proxy asked for in TLS (SNI). Empty: none.
    pub server_name: String,
    /// Why the connection failed (`UPSTREAM_TRANSPORT_FAILURE_REASON`).
    pub transport_failure: Option<String>,
    /// `Normal`, `LocalReset` or `RemoteReset` (`UPSTREAM_DETECTED_CLOSE_TYPE`).
    pub close_type: Option<String>,
    /// Why the proxy closed it (`UPSTREAM_LOCAL_CLOSE_REASON`).
    pub local_close_reason: Option<String>,
    /// Bytes on the wire.
    pub wire: Wire,
    /// Objects that filters of the upstream left, by key.
    pub filter_state: BTreeMap<String, FilterState>,
}

/// A host that was tried.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attempt {
    /// Its address.
    pub host: Address,
    /// Its name; empty: its address is printed.
    #[serde(default)]
    pub host_name: String,
    /// Number of the connection, where one came about.
    #[serde(default)]
    pub connection_id: Option<u64>,
}

/// An object that a filter left, in the forms that it has.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FilterState {
    /// `PLAIN`.
    pub plain: Option<String>,
    /// `TYPED`, the default: the message as JSON.
    pub typed: Option<Value>,
    /// `FIELD`: texts and whole numbers by name.
    pub fields: BTreeMap<String, Value>,
}

/// A span.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Trace {
    /// `TRACE_ID`
    pub trace_id: String,
    /// `SPAN_ID`
    pub span_id: String,
}

/// The proxy.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Proxy {
    /// Name of its host: of its pod.
    pub hostname: String,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// Its local zone, as an offset from UTC in minutes; east is positive.
    pub utc_offset_minutes: i32,
    /// The short name of its local zone.
    pub time_zone: String,
}

/// What Kuma replaces the `KUMA_…` operators with.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Kuma {
    /// `KUMA_MESH`
    pub mesh: String,
    /// `KUMA_ZONE`
    pub zone: String,
    /// `KUMA_WORKLOAD`
    pub workload: String,
    /// `KUMA_SOURCE_SERVICE`
    pub source_service: String,
    /// `KUMA_DESTINATION_SERVICE`
    pub destination_service: String,
    /// `KUMA_SOURCE_ADDRESS_WITHOUT_PORT`; with `:0` it is `KUMA_SOURCE_ADDRESS`.
    pub source_address: String,
    /// `INBOUND`, `OUTBOUND` or `UNSPECIFIED`.
    pub traffic_direction: String,
}

impl Default for Sample {
    /// A request that the sidecar of a server got from that of a client, in Istio, and answered.
    fn default() -> Self {
        Self {
            request: Some(Request::default()),
            response: Some(Response::default()),
            response_flags: Vec::new(),
            custom_flags: String::new(),
            bytes_received: 0,
            bytes_sent: 358,
            times: Times::default(),
            connection: Connection::default(),
            virtual_host: Some(VirtualHost::default()),
            route: Some(Route::default()),
            cluster: Some(Cluster::default()),
            attempts: 1,
            upstream: Some(Upstream::default()),
            metadata: metadata("envoy.filters.http.rbac", &json!({"shadow_engine_result": "allowed"})),
            filter_state: [(
                "wasm.downstream_peer_id".to_owned(),
                FilterState {
                    plain: Some("productpage-v1".into()),
                    typed: Some(Value::from("productpage-v1")),
                    fields: BTreeMap::new(),
                },
            )]
            .into(),
            trace: Some(Trace::default()),
            stream_id: None,
            access_log_type: None,
            proxy: Proxy::default(),
            kuma: Kuma::default(),
        }
    }
}

impl Sample {
    /// A connection between the same two, to a server that does not speak HTTP.
    pub fn tcp() -> Self {
        let points = [
            ("DS_CX_BEG", 0.0),
            ("DS_RX_BEG", 0.0),
            ("US_CX_BEG", 0.412),
            ("US_CX_END", 0.733),
            ("DS_CX_END", 5012.907),
        ];
        Self {
            request: None,
            response: None,
            bytes_received: 1204,
            bytes_sent: 9_880,
            times: Times {
                duration: Millis(5012.907),
                points: points.map(|(name, at)| (name.to_owned(), Millis(at))).into(),
                handshake: Some(Millis(2.871)),
                pool_ready: None,
                ..Times::default()
            },
            upstream: Some(Upstream {
                protocol: None,
                ..Upstream::default()
            }),
            virtual_host: None,
            route: None,
            metadata: Metadata::new(),
            filter_state: BTreeMap::new(),
            trace: None,
            ..Self::default()
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        let headers = [
            ("accept", "application/json"),
            ("user-agent", "curl/8.14.1"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "84961386-6d84-929d-98bd-c5aee93b5c88"),
            (
                "x-forwarded-client-cert",
                "By=spiffe://cluster.local/ns/shop/sa/reviews;Hash=3f1c2a9be4507d86;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/productpage",
            ),
        ];
        Self {
            method: "GET".into(),
            path: "/reviews/7?lang=en".into(),
            authority: "reviews.shop:9080".into(),
            scheme: "http".into(),
            protocol: "HTTP/1.1".into(),
            headers: header_map(&headers),
        }
    }
}

impl Default for Response {
    fn default() -> Self {
        let headers = [
            ("content-length", "358"),
            ("content-type", "application/json"),
            ("date", "Sat, 14 Mar 2026 09:26:53 GMT"),
            ("server", "istio-envoy"),
            ("x-envoy-upstream-service-time", "11"),
        ];
        Self {
            code: 200,
            details: Some("via_upstream".into()),
            headers: header_map(&headers),
            trailers: Headers::new(),
            local_reply_body: String::new(),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        let points = [
            ("DS_RX_END", 0.118),
            ("US_CX_BEG", 0.402),
            ("US_CX_END", 0.655),
            ("US_TX_BEG", 0.811),
            ("US_TX_END", 0.823),
            ("US_RX_BEG", 11.904),
            ("US_RX_BODY_BEG", 12.018),
            ("US_RX_END", 12.122),
            ("DS_TX_BEG", 12.241),
            ("DS_TX_END", 12.389),
        ];
        Self {
            start: instant(1_773_480_413, 589_793_000),
            duration: Millis(12.407),
            points: points.map(|(name, at)| (name.to_owned(), Millis(at))).into(),
            handshake: None,
            round_trip: None,
            pool_ready: Some(Millis(0.701)),
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            id: 7,
            local_address: Some(Address::from("10.44.1.27:9080")),
            direct_local_address: Some(Address::from("0.0.0.0:15006")),
            remote_address: Some(Address::from("10.44.1.23:37652")),
            direct_remote_address: None,
            server_name: "outbound_.9080_._.reviews.shop.svc.cluster.local".into(),
            tls: Some(Tls::default()),
            ja3: None,
            ja4: None,
            listener: Some("virtualInbound".into()),
            filter_chain: Some("0.0.0.0_9080".into()),
            listener_metadata: Metadata::new(),
            filter_chain_metadata: Metadata::new(),
            termination_details: None,
            transport_failure: None,
            close_type: Some("Normal".into()),
            local_close_reason: None,
            wire: Wire {
                received: 412,
                sent: 544,
                header_received: 360,
                header_sent: 158,
                decompressed_header_received: 360,
                decompressed_header_sent: 158,
            },
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: "X25519".into(),
            session_id: String::new(),
            peer: workload_certificate("productpage", "3f1c2a9be4507d86"),
            local: workload_certificate("reviews", "b85dd02c71ea9463"),
        }
    }
}

/// A certificate as istiod issues them: it says who it is by URI only.
fn workload_certificate(service_account: &str, digits: &str) -> Certificate {
    let fingerprint = digits.repeat(4);
    Certificate {
        issuer: "O=cluster.local".into(),
        uri_sans: vec![format!("spiffe://cluster.local/ns/shop/sa/{service_account}")],
        serial: digits.repeat(2),
        fingerprint_256: fingerprint.clone(),
        fingerprint_1: fingerprint.chars().take(40).collect(),
        chain_fingerprints_256: vec![fingerprint.clone()],
        chain_fingerprints_1: vec![fingerprint.chars().take(40).collect()],
        chain_serials: vec![digits.repeat(2)],
        valid_from: Some(instant(1_773_470_000, 0)),
        valid_to: Some(instant(1_773_556_400, 0)),
        ..Certificate::default()
    }
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: "default".into(),
            metadata: metadata(
                "istio",
                &json!({"config": "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews"}),
            ),
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: "inbound|9080||".into(),
            alt_stat_name: Some("inbound|9080||;".into()),
            metadata: metadata(
                "istio",
                &json!({"services": [{"host": "reviews.shop.svc.cluster.local", "name": "reviews", "namespace": "shop"}]}),
            ),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        let host = Address::from("10.44.1.27:9080");
        Self {
            host: Some(host.clone()),
            host_name: String::new(),
            local_address: Some(Address::from("127.0.0.6:41854")),
            remote_address: None,
            connection_id: 8,
            protocol: Some("HTTP/1.1".into()),
            attempted: vec![Attempt {
                host,
                host_name: String::new(),
                connection_id: Some(8),
            }],
            metadata: metadata("istio", &json!({"workload": "reviews-v1;shop;reviews;v1;Kubernetes"})),
            tls: None,
            server_name: String::new(),
            transport_failure: None,
            close_type: None,
            local_close_reason: None,
            wire: Wire {
                received: 503,
                sent: 448,
                header_received: 117,
                header_sent: 396,
                decompressed_header_received: 117,
                decompressed_header_sent: 396,
            },
            filter_state: BTreeMap::new(),
        }
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            span_id: "00f067aa0ba902b7".into(),
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        let environment = [("POD_NAMESPACE", "shop"), ("ISTIO_META_CLUSTER_ID", "Kubernetes")];
        Self {
            hostname: "reviews-v1-545db77b95-7wlxq".into(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            utc_offset_minutes: 0,
            time_zone: "UTC".into(),
        }
    }
}

impl Default for Kuma {
    fn default() -> Self {
        Self {
            mesh: "default".into(),
            zone: "zone-1".into(),
            workload: "reviews".into(),
            source_service: "productpage_shop_svc_9080".into(),
            destination_service: "reviews_shop_svc_9080".into(),
            source_address: "10.44.1.23".into(),
            traffic_direction: "INBOUND".into(),
        }
    }
}

fn header_map(headers: &[(&str, &str)]) -> Headers {
    let one = |(name, value): &(&str, &str)| ((*name).to_owned(), HeaderValue::One((*value).to_owned()));
    headers.iter().map(one).collect()
}

fn metadata(namespace: &str, members: &Value) -> Metadata {
    let members = members.as_object().cloned().unwrap_or_default();
    Metadata::from([(namespace.to_owned(), members)])
}

fn instant(seconds: i64, nanoseconds: i32) -> Timestamp {
    Timestamp::new(seconds, nanoseconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_leaves_out_is_the_built_in_samples() {
        let given = json!({"request": {"method": "POST", "headers": {"X-Tenant": "a"}}, "upstream": null});
        let sample: Sample = serde_json::from_value(given).unwrap();
        let request = sample.request.unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/reviews/7?lang=en")
        );
        assert_eq!(request.headers.len(), 1);
        assert_eq!((sample.upstream, sample.response), (None, Some(Response::default())));
    }

    #[test]
    fn a_member_that_does_not_exist_is_an_error() {
        for given in [
            json!({"reqest": {}}),
            json!({"request": {"header": {}}}),
            json!({"responseFlags": ["XX"]}),
            json!({"connection": {"tls": {"peer": {"san": []}}}}),
        ] {
            assert!(serde_json::from_value::<Sample>(given.clone()).is_err(), "{given}");
        }
    }

    #[test]
    fn what_is_printed_of_a_sample_reads_back() {
        for sample in [Sample::default(), Sample::tcp()] {
            let value = serde_json::to_value(&sample).unwrap();
            assert_eq!(serde_json::from_value::<Sample>(value).unwrap(), sample);
        }
    }
}
