//! What the preview prints is what Envoy prints, byte for byte: requests and connections through real Envoys, with formats
//! of all operators.
//!
//! What the test itself did is described by a sample: what it sent, what it got. What only Envoy knows (times, ports, ids,
//! counters of the wire) is read from a second access log that prints such values raw. The HTTP/2 listener stands behind
//! an Envoy listener of HTTP/1.1, so that the client's side of HTTP/2 is Envoy's too.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use sightline::format::preview::{
    Address, Attempt, Cluster, Connection, DIFFERENCES, FilterState, HeaderValue, Headers, Metadata, Millis, Proxy,
    Request, Response, ResponseFlag, Route, Sample, Times, Upstream, VirtualHost, Wire, preview,
};
use sightline::format::{Base, CompiledFormat, Encoding, EnvoyVersion, FormatSpec, compile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::envoy::{Envoy, Release, address};
use crate::harness::found_within;

/// Of what is generated; a failure names the release, and the rest follows from this.
const SEED: u64 = 7;
const HTTP_REQUESTS: usize = 90;
const TCP_CONNECTIONS: usize = 10;
/// Formats of each encoding.
const FORMATS: usize = 10;
/// How long the lines of all that happened may take.
const LINES_LIMIT: Duration = Duration::from_secs(20);
/// Ends a line of text: values may hold line breaks.
const END: &str = "\u{1e}\n";

/// Points of `COMMON_DURATION`.
const POINTS: [&str; 13] = [
    "DS_CX_BEG",
    "DS_CX_END",
    "DS_RX_END",
    "DS_TX_BEG",
    "DS_TX_END",
    "US_CX_BEG",
    "US_CX_END",
    "US_HS_END",
    "US_TX_BEG",
    "US_TX_END",
    "US_RX_BEG",
    "US_RX_BODY_BEG",
    "US_RX_END",
];

/// Operators with arguments and lengths; each is asked of every Envoy that has it. `|` stands between two.
const OPERATORS: &str = r#"
%REQ(:METHOD)%|%REQ(:PATH):5%|%REQ(:AUTHORITY)%|%REQ(:SCHEME)%|%REQ(HOST):3%|%REQ(X-NAME)%|%REQ(x-name):7%|%REQ(X-DUP)%|%REQ(X-NONE)%
%REQ(X-NONE?X-NAME)%|%REQ(X-NAME?:PATH)%|%REQ(X-LONG)%|%REQ(X-LONG):300%|%REQ(X-LONG):0%|%REQ(USER-AGENT)%|%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%|%REQ(?:METHOD)%|%REQ(X-EMPTY?:PATH)%
%REQ(X-REQUEST-ID)%|%REQ(X-FORWARDED-FOR)%|%REQ(X-FORWARDED-PROTO)%|%REQ(CONTENT-TYPE)%|%REQUEST_HEADER(X-NAME)%|%STREAM_INFO_REQ(X-NAME):4%|%STREAM_INFO_REQ(:PATH?X-NAME)%
%REQ_WITHOUT_QUERY(:PATH)%|%REQ_WITHOUT_QUERY(X-NAME?:PATH):9%|%REQ_WITHOUT_QUERY(X-NONE)%
%RESP(:STATUS)%|%RESP(X-ANSWER)%|%RESP(X-ANSWER):2%|%RESP(CONTENT-TYPE)%|%RESP(SERVER)%|%RESP(X-NONE?X-ANSWER)%|%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%|%RESPONSE_HEADER(X-ANSWER)%
%TRAILER(X-TRAILER)%|%TRAILER(X-NONE)%|%RESPONSE_TRAILER(X-NONE?X-TRAILER):3%
%PATH%|%PATH(NQ)%|%PATH(WQ:ORIG)%|%PATH(NQ:ORIG)%|%PATH(:PATH):6%|%PATH(NQ:ORIG_OR_PATH)%|%PATH:8%
%QUERY_PARAM(x)%|%QUERY_PARAM(y):2%|%QUERY_PARAM(empty)%|%QUERY_PARAM(é)%|%QUERY_PARAMS%|%QUERY_PARAMS(DECODED)%|%QUERY_PARAMS(ORIG):7%|%QUERY_PARAMS(DECODED):4%
%XFCC_VALUE(by)%|%XFCC_VALUE(Hash)%|%XFCC_VALUE(SUBJECT)%|%XFCC_VALUE(uri)%|%XFCC_VALUE(dns)%|%XFCC_VALUE(cert)%|%XFCC_VALUE(chain)%
%REQUESTED_SERVER_NAME%|%REQUESTED_SERVER_NAME(SNI_FIRST)%|%REQUESTED_SERVER_NAME(HOST_FIRST:HOST)%|%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)%|%REQUESTED_SERVER_NAME(SNI_ONLY:HOST)%
%PROTOCOL%|%UPSTREAM_PROTOCOL%|%REQUEST_HEADERS_BYTES%|%RESPONSE_HEADERS_BYTES%|%RESPONSE_TRAILERS_BYTES%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%
%LOCAL_REPLY_BODY%|%GRPC_STATUS%|%GRPC_STATUS(SNAKE_STRING)%|%GRPC_STATUS(NUMBER)%|%GRPC_STATUS_NUMBER%|%GRPC_STATUS(CAMEL_STRING)%
%RESPONSE_FLAGS%|%RESPONSE_FLAGS_LONG%|%CUSTOM_FLAGS%|%ACCESS_LOG_TYPE%|%STREAM_ID%|%TRACE_ID%|%SPAN_ID%
%BYTES_RECEIVED%|%BYTES_SENT%|%BYTES_RETRANSMITTED%|%PACKETS_RETRANSMITTED%|%DOWNSTREAM_WIRE_BYTES_RECEIVED%|%DOWNSTREAM_WIRE_BYTES_SENT%|%DOWNSTREAM_HEADER_BYTES_RECEIVED%|%DOWNSTREAM_HEADER_BYTES_SENT%
%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%|%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%|%UPSTREAM_WIRE_BYTES_RECEIVED%|%UPSTREAM_WIRE_BYTES_SENT%|%UPSTREAM_HEADER_BYTES_RECEIVED%|%UPSTREAM_HEADER_BYTES_SENT%
%UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%|%UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%
%START_TIME%|%START_TIME(%s.%3f %f %E6S)%|%START_TIME(%A %-d %b %Y %T %z %j %U %V)%|%START_TIME_LOCAL%|%START_TIME_LOCAL(%H:%M %Ez %Z)%|%EMIT_TIME(%Y)%|%EMIT_TIME_LOCAL(%Y%%)%
%DURATION%|%REQUEST_DURATION%|%REQUEST_TX_DURATION%|%RESPONSE_DURATION%|%RESPONSE_TX_DURATION%|%DOWNSTREAM_HANDSHAKE_DURATION%|%ROUNDTRIP_DURATION%|%UPSTREAM_CONNECTION_POOL_READY_DURATION%
%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%|%COMMON_DURATION(DS_TX_END:DS_RX_BEG)%|%COMMON_DURATION(US_CX_BEG:US_CX_END:ns)%|%COMMON_DURATION(US_TX_BEG:US_RX_BEG)%|%COMMON_DURATION(DS_CX_BEG:DS_CX_END:us)%|%COMMON_DURATION(DS_RX_BEG:MINE)%
%COMMON_DURATION(DS_RX_END:US_RX_END:ns)%|%COMMON_DURATION(DS_RX_BEG:DS_RX_BEG)%|%COMMON_DURATION(DS_CX_BEG:US_CX_END)%|%COMMON_DURATION(US_HS_END:DS_TX_BEG:us)%
%CONNECTION_ID%|%CONNECTION_TERMINATION_DETAILS%|%LISTENER_NAME%|%FILTER_CHAIN_NAME%|%TLS_JA3_FINGERPRINT%|%TLS_JA4_FINGERPRINT%|%DOWNSTREAM_TRANSPORT_FAILURE_REASON%|%DOWNSTREAM_DETECTED_CLOSE_TYPE%|%DOWNSTREAM_LOCAL_CLOSE_REASON%
%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(9)%|%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%|%DOWNSTREAM_LOCAL_PORT%|%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%
%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID%|%DOWNSTREAM_DIRECT_LOCAL_PORT%|%DOWNSTREAM_REMOTE_ADDRESS%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_REMOTE_PORT%
%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%|%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(200)%|%DOWNSTREAM_DIRECT_REMOTE_PORT%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%|%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(0)%
%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_PEER_CERT_V_START%|%UPSTREAM_PEER_URI_SAN%|%UPSTREAM_TLS_CIPHER%|%DOWNSTREAM_PEER_CHAIN_SERIALS%|%DOWNSTREAM_LOCAL_DNS_SAN%|%DOWNSTREAM_TLS_SESSION_ID%
%ROUTE_NAME%|%VIRTUAL_CLUSTER_NAME%|%UPSTREAM_CLUSTER%|%UPSTREAM_CLUSTER_RAW%|%UPSTREAM_HOST%|%UPSTREAM_HOST_NAME%|%UPSTREAM_HOST_NAME_WITHOUT_PORT%|%UPSTREAM_CONNECTION_ID%|%UPSTREAM_REQUEST_ATTEMPT_COUNT%
%UPSTREAM_HOSTS_ATTEMPTED%|%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%|%UPSTREAM_HOST_NAMES_ATTEMPTED%|%UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%|%UPSTREAM_CONNECTION_IDS_ATTEMPTED%|%UPSTREAM_SERVER_NAME%
%UPSTREAM_TRANSPORT_FAILURE_REASON%|%UPSTREAM_DETECTED_CLOSE_TYPE%|%UPSTREAM_LOCAL_CLOSE_REASON%|%UPSTREAM_LOCAL_ADDRESS%|%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%UPSTREAM_LOCAL_PORT%|%UPSTREAM_REMOTE_ADDRESS%
%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%|%UPSTREAM_REMOTE_PORT%|%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(20)%
%DYNAMIC_METADATA(test)%|%DYNAMIC_METADATA(test:text)%|%DYNAMIC_METADATA(test:deep:b:0)%|%DYNAMIC_METADATA(test:deep:n)%|%DYNAMIC_METADATA(none:x)%|%DYNAMIC_METADATA(test:text):5%|%DYNAMIC_METADATA(test:deep):5%
%METADATA(ROUTE:test:number)%|%METADATA(ROUTE:test)%|%METADATA(VIRTUAL_HOST:test:text):5%|%METADATA(CLUSTER:test:deep)%|%METADATA(UPSTREAM_HOST:test:list)%|%METADATA(LISTENER:test:text)%|%METADATA(LISTENER_FILTER_CHAIN:test:text)%
%METADATA(DYNAMIC:test:text):3%|%METADATA(ROUTE:test:deep):6%|%METADATA(ROUTE:test:null)%|%METADATA(ROUTE:test:empty)%|%METADATA(ROUTE)%|%CLUSTER_METADATA(test:text)%|%UPSTREAM_METADATA(test)%|%METADATA(ROUTE:test:text:x)%
%FILTER_STATE(test.key)%|%FILTER_STATE(test.key:PLAIN)%|%FILTER_STATE(test.key:TYPED):4%|%FILTER_STATE(test.key:PLAIN):4%|%FILTER_STATE(test.none)%|%FILTER_STATE(test.key:FIELD:x)%|%UPSTREAM_FILTER_STATE(test.key)%
%HOSTNAME%|%ENVIRONMENT(PATH)%|%ENVIRONMENT(PATH):5%|%ENVIRONMENT(SIGHTLINE_NONE)%
%COALESCE({"operators":[{"command":"REQ","param":"X-NONE"},"PROTOCOL"]})%|%COALESCE({"operators":["CUSTOM_FLAGS",{"command":"REQ","param":":PATH","max_length":6}]})%|%COALESCE({"operators":["RESPONSE_CODE"]}):1%
%COALESCE({"operators":[{"command":"TRAILER","param":"X-NONE"},{"command":"FILTER_STATE","param":"test.key"}]}):3%|%COALESCE({"operators":[{"command":"REQ","param":"X-NONE"}]})%|%COALESCE({"operators":["RESPONSE_FLAGS","DURATION"]})%
"#;

/// The operators with expressions: of attributes, of each type of value, and of errors.
const EXPRESSIONS: &str = r#"
%CEL(request.path)%
%CEL(request.url_path):4%
%CEL(request.query)%
%CEL(request.host)%
%CEL(request.scheme)%
%CEL(request.method)%
%CEL(request.protocol)%
%CEL(request.id)%
%CEL(request.useragent)%
%CEL(request.referer)%
%CEL(request.headers['x-name'])%
%CEL(request.headers['X-NAME'])%
%CEL(request.headers['x-dup'])%
%CEL(request.headers[':path'])%
%CEL(request.headers['x-none'])%
%CEL(request['method'])%
%CEL('x-name' in request.headers)%
%CEL(has(request.headers.host))%
%CEL(has(request.path))%
%CEL(request.time)%
%CEL(request.size)%
%CEL(response.code)%
%CEL(response.code + 1)%
%CEL(response.code >= 400 ? 'bad' : 'good')%
%CEL(response.code == 200)%
%CEL(response.code_details)%
%CEL(response.headers['x-answer'])%
%CEL(response.trailers['x-trailer'])%
%CEL(response.grpc_status)%
%CEL(response.size)%
%CEL(connection.mtls)%
%CEL(connection.id)%
%CEL(connection.requested_server_name)%
%CEL(connection.tls_version)%
%CEL(connection.termination_details)%
%CEL(source.address)%
%CEL(source.port)%
%CEL(destination.address)%
%CEL(upstream.address)%
%CEL(upstream.port)%
%CEL(upstream.local_address)%
%CEL(upstream.request_attempt_count)%
%CEL(upstream.transport_failure_reason)%
%CEL(xds.cluster_name)%
%CEL(xds.route_name)%
%CEL(xds.filter_chain_name)%
%CEL(xds.route_metadata.filter_metadata['test']['text'])%
%CEL(metadata.filter_metadata['test']['number'])%
%CEL(metadata.filter_metadata['test']['deep'])%
%CEL(metadata.filter_metadata['test']['list'][0])%
%CEL(metadata.filter_metadata['none']['text'])%
%CEL(filter_state['test.key'])%
%CEL(metadata.filter_metadata['test']['null'])%
%CEL(1.5)%
%CEL(100000000.0 / 3.0)%
%CEL(0.00001234567)%
%CEL(1u)%
%CEL(-1)%
%CEL(null)%
%CEL([1, 2])%
%CEL({'a': 1})%
%CEL(1 / 0)%
%CEL(nothing)%
%CEL('é' + "x")%
%CEL(size('é'))%
%CEL(duration('0s'))%
%CEL(duration('90061.5s'))%
%CEL(duration('1500us'))%
%CEL(duration('10us'))%
%CEL(duration('-7ns'))%
%CEL(timestamp('2024-02-29T01:02:03.45Z'))%
%CEL(request.duration >= duration('0s'))%
%CEL(size(request.path))%
%CEL(request.path.size() > 3)%
%CEL([1] + [2])%
%CEL(true || 'a' + 'b' == 'ab')%
%CEL(int('5') + 1)%
%CEL(double(1))%
%CEL(request.time.getFullYear())%
%CEL(timestamp('2024-02-29T01:02:03.45Z').getHours())%
%CEL(request.headers['x-name'].matches('[a-z]+'))%
%CEL(duration('90s').getMinutes())%
%CEL(request.time > timestamp('2024-02-29T01:02:03.45Z'))%
%CEL(request.path.startsWith('/'))%
%CEL(request.path.contains('x'))%
%CEL(request.path.matches('^/.*'))%
%CEL(request.method == 'GET' && response.code < 300)%
%CEL(request.headers['x-none'] == 'a' || true)%
%CEL(response.code in [200, 204])%
%TYPED_CEL(response.code)%
%TYPED_CEL(request.path)%
%TYPED_CEL(request.path):4%
%TYPED_CEL(response.code):1%
%TYPED_CEL(response.code == 200)%
%TYPED_CEL(1.5)%
%TYPED_CEL(null)%
%TYPED_CEL(metadata.filter_metadata['test']['deep'])%
%TYPED_CEL(metadata.filter_metadata['test']['list'])%
%TYPED_CEL([1, 'a'])%
%TYPED_CEL({'a': 1})%
%TYPED_CEL(duration('1.5s'))%
%TYPED_CEL(timestamp('2024-02-29T01:02:03.45Z'))%
%TYPED_CEL(request.headers['x-none'])%
%TYPED_CEL(connection.id)%
%TYPED_CEL(9007199254740993)%
%TYPED_CEL(upstream.request_attempt_count)%
%TYPED_CEL(response.headers)%
%CEL(request.headers)%
%TYPED_CEL(metadata.filter_metadata['test'])%
"#;

/// What a fact is asked by.
fn fact_operators() -> Vec<(String, String)> {
    let plain = [
        ("n", "%REQ(X-N)%"),
        ("start", "%START_TIME(%s.%9f)%"),
        ("duration", "%DURATION%"),
        ("handshake", "%DOWNSTREAM_HANDSHAKE_DURATION%"),
        ("poolReady", "%UPSTREAM_CONNECTION_POOL_READY_DURATION%"),
        ("received", "%BYTES_RECEIVED%"),
        ("flags", "%RESPONSE_FLAGS%"),
        ("details", "%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%"),
        ("requestId", "%REQ(X-REQUEST-ID)%"),
        ("timeout", "%REQ(X-ENVOY-EXPECTED-RQ-TIMEOUT-MS)%"),
        ("streamId", "%STREAM_ID%"),
        ("connection", "%CONNECTION_ID%"),
        ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
        ("closeType", "%DOWNSTREAM_DETECTED_CLOSE_TYPE%"),
        ("closeReason", "%DOWNSTREAM_LOCAL_CLOSE_REASON%"),
        ("local", "%DOWNSTREAM_LOCAL_ADDRESS%"),
        ("remote", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        ("directRemote", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"),
        ("remotePort", "%DOWNSTREAM_REMOTE_PORT%"),
        ("cluster", "%UPSTREAM_CLUSTER_RAW%"),
        ("route", "%ROUTE_NAME%"),
        ("host", "%UPSTREAM_HOST%"),
        ("upstreamLocal", "%UPSTREAM_LOCAL_ADDRESS%"),
        ("upstreamRemote", "%UPSTREAM_REMOTE_ADDRESS%"),
        ("upstreamConnection", "%UPSTREAM_CONNECTION_ID%"),
        ("upstreamProtocol", "%UPSTREAM_PROTOCOL%"),
        ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ("attemptedHosts", "%UPSTREAM_HOSTS_ATTEMPTED%"),
        ("attemptedConnections", "%UPSTREAM_CONNECTION_IDS_ATTEMPTED%"),
        ("failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
        ("upstreamCloseType", "%UPSTREAM_DETECTED_CLOSE_TYPE%"),
        ("upstreamCloseReason", "%UPSTREAM_LOCAL_CLOSE_REASON%"),
        ("hostname", "%HOSTNAME%"),
        ("localZone", "%START_TIME_LOCAL(%z %Z)%"),
    ];
    let mut operators: Vec<_> = plain
        .map(|(name, operator)| (name.to_owned(), operator.to_owned()))
        .into();
    for (side, prefix) in [("down", "DOWNSTREAM"), ("up", "UPSTREAM")] {
        for what in ["WIRE", "HEADER", "DECOMPRESSED_HEADER"] {
            for way in ["RECEIVED", "SENT"] {
                operators.push((format!("{side} {what} {way}"), format!("%{prefix}_{what}_BYTES_{way}%")));
            }
        }
    }
    for point in POINTS {
        operators.push((
            format!("after {point}"),
            format!("%COMMON_DURATION(DS_RX_BEG:{point}:ns)%"),
        ));
        operators.push((
            format!("before {point}"),
            format!("%COMMON_DURATION({point}:DS_RX_BEG:ns)%"),
        ));
    }
    operators
}

/// Whether an Envoy of that version takes the text.
fn is_taken(text: &str, version: EnvoyVersion) -> bool {
    let spec = FormatSpec {
        encoding: Encoding::Text,
        base: Base::Text(text.to_owned()),
        fields: Vec::new(),
        omit: Vec::new(),
    };
    compile(&spec, version).is_ok()
}

/// A format that is asked of both.
struct Asked {
    format: CompiledFormat,
    omit_empty_values: bool,
    /// Of so many lines one is compared: to parse an expression takes a while.
    one_of: usize,
}

/// The formats: each operator stands in one of either encoding, among others and literal text.
fn formats(version: EnvoyVersion, rng: &mut StdRng) -> Vec<Asked> {
    let operators = OPERATORS.split(['|', '\n']).filter(|text| !text.is_empty());
    // A crash of Envoy 1.37 that is fixed later.
    let crashes = |text: &str| text.starts_with("%REQUESTED_SERVER_NAME(") && version < EnvoyVersion::new(1, 39);
    let mut operators: Vec<&str> = operators
        .filter(|text| is_taken(text, version) && !crashes(text))
        .collect();
    let literals = ["", " ", "é\"\\", "%%", "<&>", "\t", "-"];
    let mut formats = Vec::new();
    for index in 0..FORMATS {
        operators.shuffle(rng);
        let mut text = "%REQ(X-N)%".to_owned();
        let mut fields = Map::new();
        for (at, operator) in operators.iter().enumerate() {
            if at % FORMATS == index || rng.random_ratio(1, 20) {
                text.push_str(literals.choose(rng).unwrap());
                text.push_str(operator);
            }
            if at % FORMATS == index || rng.random_ratio(1, 20) {
                let mixed = rng.random_ratio(1, 4);
                let value = if mixed {
                    format!(
                        "{}{operator}{}",
                        literals.choose(rng).unwrap(),
                        operators.choose(rng).unwrap()
                    )
                } else {
                    (*operator).to_owned()
                };
                let inside = rng.random_ratio(1, 5) && !value.contains("REQ_WITHOUT_QUERY");
                if inside {
                    let outer = fields.entry(format!("in{}", at % 3)).or_insert_with(|| json!({}));
                    outer[format!("{at}é\"")] = value.into();
                } else {
                    fields.insert(format!("{at}"), value.into());
                }
            }
        }
        let omit_empty_values = index % 2 == 1;
        for format in [
            CompiledFormat::Text(format!("{text}{END}")),
            CompiledFormat::Json(fields),
        ] {
            formats.push(Asked {
                format,
                omit_empty_values,
                one_of: 1,
            });
        }
    }
    // Every operator in one of them: what the shuffles left out.
    let expressions: Vec<&str> = EXPRESSIONS
        .trim()
        .lines()
        .inspect(|text| assert!(is_taken(text, version), "{text}"))
        .collect();
    for (operators, one_of) in [(operators, 1), (expressions, 9)] {
        let rest = operators.join("|");
        formats.push(Asked {
            format: CompiledFormat::Text(format!("{rest}{END}")),
            omit_empty_values: false,
            one_of,
        });
        let each: Map<String, Value> = operators
            .iter()
            .map(|text| ((*text).to_owned(), Value::from(*text)))
            .collect();
        for omit_empty_values in [false, true] {
            formats.push(Asked {
                format: CompiledFormat::Json(each.clone()),
                omit_empty_values,
                one_of,
            });
        }
    }
    formats
}

fn file_log(path: &Path, format: &CompiledFormat, omit_empty_values: bool) -> Value {
    let mut log = match format {
        CompiledFormat::Text(text) => crate::envoy::text_log(text),
        CompiledFormat::Json(fields) => crate::envoy::json_log(&Value::Object(fields.clone())),
    };
    log["typed_config"]["path"] = json!(path);
    log["typed_config"]["log_format"]["omit_empty_values"] = json!(omit_empty_values);
    log
}

/// The listeners that log.
const LISTENERS: [&str; 3] = ["http1", "http2", "tcp"];

/// Where logs are written.
struct Logs(PathBuf);

impl Logs {
    fn path(&self, listener: &str, name: &str) -> PathBuf {
        self.0.join(format!("{listener}-{name}"))
    }

    /// All complete records of a log.
    fn records(&self, listener: &str, name: &str, end: &str) -> Vec<Vec<u8>> {
        let bytes = fs::read(self.path(listener, name)).unwrap_or_default();
        let end = end.as_bytes();
        let mut records = Vec::new();
        let mut start = 0;
        let mut at = 0;
        while at + end.len() <= bytes.len() {
            if &bytes[at..at + end.len()] == end {
                at += end.len();
                records.push(bytes[start..at].to_vec());
                start = at;
            } else {
                at += 1;
            }
        }
        records
    }

    async fn wait_for(&self, listener: &str, name: &str, end: &str, count: usize) -> Vec<Vec<u8>> {
        found_within(LINES_LIMIT, || {
            let records = self.records(listener, name, end);
            match records.len() {
                enough if enough >= count => Ok(records),
                few => Err(format!("{listener} {name}: {few} of {count} records")),
            }
        })
        .await
    }
}

/// Metadata of everything that has some.
fn test_metadata() -> Metadata {
    let members = json!({
        "text": "hé\"llo\u{1}\t", "number": 100_000, "null": null, "empty": "", "list": [1, "a", null, 2.5],
        "deep": {"z": 1e-7, "n": null, "b": {"0": true, "a": "é"}},
    });
    Metadata::from([("test".to_owned(), members.as_object().unwrap().clone())])
}

/// The text that a filter keeps in the filter state.
const STATE: &str = "sta\"te é";

/// Name of the hosts that speak HTTP/1.1; the others have none.
const HOST_NAME: &str = "up.example:99";

fn cluster(name: &str, host: Option<Value>, http2: bool) -> Value {
    let mut endpoints = Vec::new();
    if let Some(address) = host {
        endpoints.push(json!({
            "endpoint": {"address": address, "hostname": if http2 { "" } else { HOST_NAME }},
            "metadata": {"filter_metadata": test_metadata()},
        }));
    }
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "metadata": {"filter_metadata": test_metadata()},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    });
    let protocol = if http2 {
        cluster["alt_stat_name"] = json!(format!("{name}-stats"));
        json!({"http2_protocol_options": {}})
    } else {
        json!({"http_protocol_options": {"enable_trailers": true}})
    };
    cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": protocol,
    }});
    cluster
}

fn route(prefix: &str, action: &Value) -> Value {
    let mut route = json!({
        "name": format!("route {prefix}"),
        "match": {"prefix": prefix},
        "metadata": {"filter_metadata": test_metadata()},
    });
    route
        .as_object_mut()
        .unwrap()
        .extend(action.as_object().unwrap().clone());
    route
}

/// Without logs it is one that hands on what it gets, as it got it.
fn connection_manager(routes: &[Value], filters: &[Value], logs: &[Value]) -> Value {
    let mut filters = filters.to_vec();
    filters.push(json!({"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": logs.is_empty(),
    }}));
    json!({"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "access_log": logs,
        "forward_client_cert_details": "ALWAYS_FORWARD_ONLY",
        "http_filters": filters,
        "route_config": {"validate_clusters": false, "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "metadata": {"filter_metadata": test_metadata()},
            "virtual_clusters": [{"name": "posts", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}],
            "routes": routes,
        }]},
    }})
}

fn listener(name: &str, filter: &Value) -> Value {
    json!({
        "name": name,
        "address": address(0),
        "metadata": {"filter_metadata": test_metadata()},
        "filter_chains": [{"name": format!("{name} chain"), "filters": [filter]}],
    })
}

/// A Unix socket in the folder of the logs.
fn pipe(logs: &Logs, name: &str) -> Value {
    json!({"pipe": {"path": logs.0.join(name)}})
}

/// Everything that is logged, and the test's own servers.
fn bootstrap(formats: &[Asked], facts: &CompiledFormat, logs: &Logs, servers: &Servers) -> Value {
    let log_list = |listener: &str| -> Vec<Value> {
        let all = formats.iter().enumerate();
        let mut list: Vec<Value> = all
            .map(|(index, asked)| {
                file_log(
                    &logs.path(listener, &index.to_string()),
                    &asked.format,
                    asked.omit_empty_values,
                )
            })
            .collect();
        list.push(file_log(&logs.path(listener, "facts"), facts, false));
        for (index, difference) in DIFFERENCES.iter().enumerate() {
            let format = CompiledFormat::Text(format!("%REQ(X-N)%|{}{END}", difference.example));
            list.push(file_log(
                &logs.path(listener, &format!("difference-{index}")),
                &format,
                false,
            ));
        }
        list
    };
    let routes = [
        route("/ok", &json!({"route": {"cluster": "up"}})),
        route("/h2", &json!({"route": {"cluster": "up2"}})),
        route(
            "/rewrite",
            &json!({"route": {"cluster": "up", "prefix_rewrite": "/new"}}),
        ),
        route("/timeout", &json!({"route": {"cluster": "up", "timeout": "0.03s"}})),
        route(
            "/retry",
            &json!({"route": {"cluster": "up", "retry_policy": {
                "retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
            }}}),
        ),
        route("/refused", &json!({"route": {"cluster": "closed"}})),
        route("/nohost", &json!({"route": {"cluster": "nohost"}})),
        route("/nocluster", &json!({"route": {"cluster": "none"}})),
        route(
            "/direct",
            &json!({"direct_response": {"status": 418, "body": {"inline_string": "a teapot"}}}),
        ),
        route("/redirect", &json!({"redirect": {"path_redirect": "/elsewhere"}})),
    ];
    let filters = [
        json!({"name": "state", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{"object_key": "test.key", "factory_key": "envoy.string",
                "format_string": {"text_format_source": {"inline_string": STATE}}}],
        }}),
        json!({"name": "metadata", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [{"metadata_namespace": "test", "value": test_metadata()["test"]}],
        }}),
    ];
    let to = |cluster: &str| [route("/", &json!({"route": {"cluster": cluster, "timeout": "0s"}}))];
    let tcp = |cluster: &str| {
        json!({"name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": cluster,
            "access_log": log_list("tcp"),
        }})
    };
    let mut behind = listener("http2", &connection_manager(&routes, &filters, &log_list("http2")));
    behind["address"] = pipe(logs, "http2.sock");
    let mut inner = listener("inner", &connection_manager(&to("up"), &[], &[]));
    inner["address"] = pipe(logs, "inner.sock");
    json!({"static_resources": {
        "listeners": [
            listener("http1", &connection_manager(&routes, &filters, &log_list("http1"))),
            behind,
            listener("front", &connection_manager(&to("http2"), &[], &[])),
            inner,
            listener("tcp", &tcp("echo")),
            listener("tcp refused", &tcp("closed")),
        ],
        "clusters": [
            cluster("up", Some(address(servers.http.into())), false),
            cluster("echo", Some(address(servers.echo.into())), false),
            cluster("up2", Some(pipe(logs, "inner.sock")), true),
            cluster("http2", Some(pipe(logs, "http2.sock")), true),
            // Nobody listens there.
            cluster("closed", Some(address(1)), false),
            cluster("nohost", None, false),
        ],
    }})
}

/// What the test's server does with a request.
#[derive(Clone, Debug)]
enum Answer {
    Respond {
        code: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
        trailers: Vec<(&'static str, &'static str)>,
    },
    /// Nothing, for as long as the connection is there.
    Silence,
    /// It closes the connection.
    Close,
}

/// A request and what becomes of it.
#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    path: String,
    host: &'static str,
    /// In their order; a value may hold any bytes.
    headers: Vec<(String, Vec<u8>)>,
    body: String,
    answer: Answer,
    /// Whether the client goes away when the server has the request.
    leaves: bool,
}

/// Where requests go; see the routes. What stands behind a second slash is for the test's own server, and client.
const PREFIXES: [&str; 16] = [
    "/ok",
    "/ok",
    "/ok",
    "/h2",
    "/rewrite",
    "/timeout",
    "/retry",
    "/refused",
    "/nohost",
    "/nocluster",
    "/direct",
    "/redirect",
    "/unknown",
    "/ok/close",
    "/ok/leave",
    "/h2/leave",
];

const QUERIES: [&str; 7] = [
    "",
    "?",
    "?x=1",
    "?x=a%20b&y=c+d&empty=&noeq",
    "?%C3%A9=u%2fv&x=%zz&x=2",
    "?a&b?c=d&=e",
    "?y=%0a%22",
];

/// Values of headers.
const NAMES: [&str; 7] = [
    "plain",
    "h\u{e9}ll\u{f6} \u{2713}",
    "say \"hi\" \\ there",
    "é",
    "a,b;c=d",
    "{\"a\": [1]}",
    "<&>'",
];

const CERTIFICATES: [&str; 3] = [
    "By=spiffe://a/b;Hash=abc;Subject=\"CN=x, O=\\\"y\\\"\";URI=spiffe://c;DNS=d;DNS=e,By=two",
    "Hash=only,DNS=second;Cert=\"%2D\"",
    "By=\"open",
];

fn exchange(number: usize, rng: &mut StdRng) -> Exchange {
    let prefix = PREFIXES[number % PREFIXES.len()];
    let is_grpc = number % 5 == 3;
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"];
    let method = if is_grpc { "POST" } else { *methods.choose(rng).unwrap() };
    let has_body = matches!(method, "POST" | "PUT");
    let leaves = prefix.ends_with("/leave");
    Exchange {
        method,
        path: format!("{prefix}{}", QUERIES.choose(rng).unwrap()),
        host: ["shop.example", "shop.example:8080", "[::1]:99"].choose(rng).unwrap(),
        headers: headers(number, is_grpc, rng),
        body: if has_body {
            "b".repeat(rng.random_range(0..3000))
        } else {
            String::new()
        },
        answer: if prefix.ends_with("/close") {
            Answer::Close
        } else if leaves || prefix == "/timeout" {
            Answer::Silence
        } else {
            response(prefix, is_grpc, rng)
        },
        leaves,
    }
}

/// Headers of a request, each there or not.
fn headers(number: usize, is_grpc: bool, rng: &mut StdRng) -> Vec<(String, Vec<u8>)> {
    let maybe = [
        ("X-Name", NAMES.choose(rng).unwrap().as_bytes().to_vec()),
        ("x-dup", b"first".to_vec()),
        ("x-dup", b"second".to_vec()),
        ("x-long", "lang é ".repeat(60).trim_end().as_bytes().to_vec()),
        ("x-empty", Vec::new()),
        ("x-latin", b"caf\xe9".to_vec()),
        ("user-agent", b"test/1.0 (\"quoted\")".to_vec()),
        ("x-forwarded-for", b"192.0.2.7, 10.0.0.1".to_vec()),
        ("x-request-id", format!("id-{number}").into_bytes()),
        (
            "x-forwarded-client-cert",
            CERTIFICATES.choose(rng).unwrap().as_bytes().to_vec(),
        ),
        ("x-envoy-original-host", b"was.example".to_vec()),
    ];
    let always = [("x-n", number.to_string().into_bytes())].into_iter();
    let grpc = is_grpc.then(|| ("content-type", b"application/grpc".to_vec()));
    let given = maybe.into_iter().filter(|_| rng.random_bool(0.6));
    let all = always.chain(given).chain(grpc);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn response(prefix: &str, is_grpc: bool, rng: &mut StdRng) -> Answer {
    let code = [200, 201, 204, 404, 500, 503].choose(rng).unwrap();
    let mut headers = vec![
        ("x-answer", (*NAMES.choose(rng).unwrap()).to_owned()),
        ("content-type", "text/plain".to_owned()),
    ];
    if is_grpc && rng.random_bool(0.5) {
        headers.push(("grpc-status", (*["0", "5", "17", "x"].choose(rng).unwrap()).to_owned()));
    }
    let trailers: &[(&str, &str)] = match (is_grpc, rng.random_range(0..3)) {
        (true, 0) => &[("grpc-status", "14"), ("x-trailer", "grpc é")],
        (_, 1) => &[("x-trailer", "trailing")],
        _ => &[],
    };
    Answer::Respond {
        code: if prefix == "/retry" { 503 } else { *code },
        headers,
        body: "r".repeat(rng.random_range(0..40_000) * rng.random_range(0..2)),
        trailers: trailers.to_vec(),
    }
}

/// The test's own servers.
struct Servers {
    http: u16,
    echo: u16,
    /// Told when a request is answered with silence.
    silent: Arc<Notify>,
}

impl Servers {
    async fn start(exchanges: &[Exchange]) -> Self {
        let answers: Arc<Vec<Answer>> = Arc::new(exchanges.iter().map(|exchange| exchange.answer.clone()).collect());
        let silent = Arc::new(Notify::new());
        let (http, echo) = (listen().await, listen().await);
        let ports = (http.local_addr().unwrap().port(), echo.local_addr().unwrap().port());
        let told = silent.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = http.accept().await {
                tokio::spawn(serve(stream, answers.clone(), told.clone()));
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await.ok();
                });
            }
        });
        Self {
            http: ports.0,
            echo: ports.1,
            silent,
        }
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Answers the requests of a connection; ends with it.
async fn serve(stream: TcpStream, answers: Arc<Vec<Answer>>, silent: Arc<Notify>) {
    let mut reader = Reader::new(stream);
    while let Some(request) = reader.message(false).await {
        let number: usize = request.header("x-n").unwrap().parse().unwrap();
        match &answers[number] {
            Answer::Silence => silent.notify_one(),
            Answer::Close => return,
            Answer::Respond {
                code,
                headers,
                body,
                trailers,
            } => {
                let lines = |headers: &mut dyn Iterator<Item = (&str, &str)>| -> String {
                    headers.flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect()
                };
                let mut text = format!("HTTP/1.1 {code} Said\r\n");
                text.push_str(&lines(&mut headers.iter().map(|(name, value)| (*name, value.as_str()))));
                let has_body = !request.start.starts_with("HEAD") && *code != 204;
                if !has_body {
                    text += "\r\n";
                } else if trailers.is_empty() {
                    text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n", body]);
                } else {
                    text += "transfer-encoding: chunked\r\n\r\n";
                    if !body.is_empty() {
                        text.extend([&format!("{:x}", body.len()), "\r\n", body, "\r\n"]);
                    }
                    text += "0\r\n";
                    text.push_str(&lines(&mut trailers.iter().copied()));
                    text += "\r\n";
                }
                if reader.stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A message of HTTP/1.1.
struct Message {
    start: String,
    headers: Vec<(String, Vec<u8>)>,
    body: usize,
}

impl Message {
    fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

/// Reads messages of HTTP/1.1.
struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Up to and with the mark; `None` where the connection ends before it.
    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Some(self.buffer.drain(..at + mark.len()).collect());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let count = self.stream.read_buf(&mut self.buffer).await.ok()?;
        (count > 0).then_some(())
    }

    async fn take(&mut self, count: usize) -> Option<()> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        self.buffer.drain(..count);
        Some(())
    }

    /// `None` where the connection ends before it does.
    async fn message(&mut self, without_body: bool) -> Option<Message> {
        let head = self.until(b"\r\n\r\n").await?;
        let mut lines = head
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty());
        let start = String::from_utf8_lossy(lines.next()?).into_owned();
        let headers = lines.map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap();
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            (name, line[colon + 1..].trim_ascii().to_vec())
        });
        let mut message = Message {
            start,
            headers: headers.collect(),
            body: 0,
        };
        if without_body || message.start.contains(" 204 ") {
            return Some(message);
        }
        if let Some(length) = message.header("content-length") {
            message.body = length.parse().unwrap();
            self.take(message.body).await?;
        } else if message.header("transfer-encoding").is_some() {
            loop {
                let line = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                self.take(size + 2).await?;
                message.body += size;
            }
            self.until(b"\r\n").await?;
        }
        Some(message)
    }
}

/// What the client got; `None` where it left, or got nothing.
async fn send(exchange: &Exchange, to: SocketAddr, silent: &Notify) -> Option<Message> {
    let stream = TcpStream::connect(to).await.unwrap();
    let mut reader = Reader::new(stream);
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n",
        exchange.method, exchange.path, exchange.host
    )
    .into_bytes();
    for (name, value) in &exchange.headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if matches!(exchange.method, "POST" | "PUT") {
        bytes.extend(format!("content-length: {}\r\n", exchange.body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(exchange.body.as_bytes());
    reader.stream.write_all(&bytes).await.unwrap();
    if exchange.leaves {
        silent.notified().await;
        return None;
    }
    let answer = reader.message(exchange.method == "HEAD").await;
    if matches!(exchange.answer, Answer::Silence) {
        // The server told that it was silent to nobody.
        silent.notified().await;
    }
    answer
}

/// Values that only Envoy knows.
struct Facts(Map<String, Value>);

impl Facts {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers that are small"
    )]
    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or_default() as u64
    }

    fn millis(&self, name: &str) -> Option<Millis> {
        self.0.get(name).and_then(Value::as_f64).map(Millis)
    }

    fn address(&self, name: &str) -> Option<Address> {
        self.text(name).map(|text| Address::from(text.as_str()))
    }

    fn points(&self) -> BTreeMap<String, Millis> {
        let nanos = |name: String| self.0.get(&name).and_then(Value::as_f64);
        let point = |name: &str| {
            let after = nanos(format!("after {name}"));
            after.or_else(|| nanos(format!("before {name}")).map(|before| -before))
        };
        let known = POINTS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), Millis(point(name)? / 1e6))));
        known.collect()
    }

    fn wire(&self, side: &str) -> Wire {
        let count = |what: &str| self.number(&format!("{side} {what}"));
        Wire {
            received: count("WIRE RECEIVED"),
            sent: count("WIRE SENT"),
            header_received: count("HEADER RECEIVED"),
            header_sent: count("HEADER SENT"),
            decompressed_header_received: count("DECOMPRESSED_HEADER RECEIVED"),
            decompressed_header_sent: count("DECOMPRESSED_HEADER SENT"),
        }
    }

    /// What is the same for requests and connections.
    fn sample(&self, listener: &str) -> Sample {
        let start = self.text("start").unwrap();
        let (seconds, nanos) = start.split_once('.').unwrap();
        let start = k8s_openapi::jiff::Timestamp::new(seconds.parse().unwrap(), nanos.parse().unwrap()).unwrap();
        let zone = self.text("localZone").unwrap();
        let (offset, time_zone) = zone.split_once(' ').unwrap();
        let offset: i32 = offset.parse().unwrap();
        let cluster = self.text("cluster");
        let flags = self.text("flags").unwrap();
        let flags = flags.split(',').filter(|flag| *flag != "-");
        let is_http2 = cluster.as_deref() == Some("up2");
        let host_name = if is_http2 { "" } else { HOST_NAME };
        let hosts = self.text("attemptedHosts").unwrap_or_default();
        let ids = self.text("attemptedConnections").unwrap_or_default();
        let mut ids = ids.split(',').filter_map(|id| id.parse().ok());
        let attempted = hosts.split(',').filter(|host| !host.is_empty()).map(|host| Attempt {
            host: Address::from(host),
            host_name: host_name.to_owned(),
            connection_id: ids.next(),
        });
        let host = self.address("host");
        let upstream = host.is_some().then(|| Upstream {
            host,
            host_name: host_name.to_owned(),
            local_address: self.address("upstreamLocal"),
            remote_address: self.address("upstreamRemote"),
            connection_id: self.number("upstreamConnection"),
            protocol: self.text("upstreamProtocol"),
            attempted: attempted.collect(),
            metadata: test_metadata(),
            tls: None,
            server_name: String::new(),
            transport_failure: self.text("failure"),
            close_type: self.text("upstreamCloseType"),
            local_close_reason: self.text("upstreamCloseReason"),
            wire: self.wire("up"),
            filter_state: BTreeMap::new(),
        });
        Sample {
            request: None,
            response: None,
            response_flags: flags.map(|flag| ResponseFlag::of(flag).unwrap()).collect(),
            custom_flags: String::new(),
            bytes_received: 0,
            bytes_sent: 0,
            times: Times {
                start,
                duration: self.millis("duration").unwrap(),
                points: self.points(),
                handshake: self.millis("handshake"),
                round_trip: None,
                pool_ready: self.millis("poolReady"),
            },
            connection: Connection {
                id: self.number("connection"),
                local_address: self.address("local"),
                direct_local_address: None,
                remote_address: self.address("remote"),
                direct_remote_address: self.address("directRemote"),
                server_name: String::new(),
                tls: None,
                ja3: None,
                ja4: None,
                listener: Some(listener.to_owned()),
                filter_chain: Some(format!("{listener} chain")),
                listener_metadata: test_metadata(),
                filter_chain_metadata: Metadata::new(),
                termination_details: self.text("termination"),
                transport_failure: None,
                close_type: self.text("closeType"),
                local_close_reason: self.text("closeReason"),
                wire: self.wire("down"),
            },
            virtual_host: None,
            route: None,
            cluster: cluster.map(|name| Cluster {
                alt_stat_name: is_http2.then(|| format!("{name}-stats")),
                name,
                metadata: test_metadata(),
            }),
            attempts: self.number("attempts"),
            upstream,
            metadata: Metadata::new(),
            filter_state: BTreeMap::new(),
            trace: None,
            stream_id: None,
            access_log_type: None,
            proxy: Proxy {
                hostname: self.text("hostname").unwrap(),
                environment: std::env::vars().filter(|(name, _)| name == "PATH").collect(),
                utc_offset_minutes: offset / 100 * 60 + offset % 100,
                time_zone: time_zone.to_owned(),
            },
            kuma: sightline::format::preview::Kuma::default(),
        }
    }

    /// The headers of a request, with those that Envoy added.
    fn request_headers(&self, exchange: &Exchange) -> Headers {
        let mut headers = Headers::new();
        let mut add = |name: &str, value: &[u8]| {
            // A sample holds no bytes but characters: here as many.
            let ascii = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { '?' };
            let value = String::from_utf8(value.to_vec()).unwrap_or_else(|_| value.iter().map(ascii).collect());
            let before = headers.remove(name).map(|before: HeaderValue| before.values().to_vec());
            let values = before.into_iter().flatten().chain([value]).collect();
            headers.insert(name.to_owned(), HeaderValue::Many(values));
        };
        for (name, value) in exchange.headers.iter().filter(|(name, _)| name != "x-request-id") {
            add(name, value);
        }
        if matches!(exchange.method, "POST" | "PUT") {
            add("content-length", exchange.body.len().to_string().as_bytes());
        }
        add("x-forwarded-proto", b"http");
        if exchange.path.starts_with("/rewrite") {
            add("x-envoy-original-path", exchange.path.as_bytes());
        }
        for (name, fact) in [
            ("x-request-id", "requestId"),
            ("x-envoy-expected-rq-timeout-ms", "timeout"),
        ] {
            if let Some(value) = self.text(fact) {
                add(name, value.as_bytes());
            }
        }
        headers
    }

    /// The headers of a response, without what the codec adds: how the body is framed, and that there is none. Nor what
    /// the Envoy in front of the other listener says of its own connection.
    fn response_headers(&self, listener: &str, got: Option<&Message>) -> Headers {
        let is_local = self.text("details").as_deref() != Some("via_upstream");
        let added = |name: &str, value: &[u8]| match name {
            "transfer-encoding" => true,
            "connection" => listener == "http2",
            "content-length" => is_local && value == b"0",
            _ => false,
        };
        let all = got.into_iter().flat_map(|got| &got.headers);
        let logged = all.filter(|(name, value)| !added(name, value));
        let text = |value: &[u8]| HeaderValue::One(String::from_utf8(value.to_vec()).unwrap());
        logged.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// A request, as the listener got it.
    fn of_request(&self, listener: &str, exchange: &Exchange, got: Option<&Message>) -> Sample {
        let rewritten = exchange.path.strip_prefix("/rewrite").map(|rest| format!("/new{rest}"));
        let trailers = match &exchange.answer {
            Answer::Respond { code, trailers, .. }
                if self.text("details").as_deref() == Some("via_upstream")
                    && *code != 204
                    && exchange.method != "HEAD" =>
            {
                trailers.as_slice()
            }
            _ => &[],
        };
        let code = got.map_or(0, |got| got.start.split(' ').nth(1).unwrap().parse().unwrap());
        let goes_nowhere = ["/direct", "/redirect", "/nocluster"]
            .iter()
            .any(|prefix| exchange.path.starts_with(prefix));
        let is_routed = self.text("route").is_some() && !goes_nowhere;
        Sample {
            request: Some(Request {
                method: exchange.method.to_owned(),
                path: rewritten.unwrap_or_else(|| exchange.path.clone()),
                authority: exchange.host.to_owned(),
                scheme: "http".into(),
                protocol: if listener == "http2" { "HTTP/2" } else { "HTTP/1.1" }.into(),
                headers: self.request_headers(exchange),
            }),
            response: Some(Response {
                code,
                details: self.text("details"),
                headers: self.response_headers(listener, got),
                trailers: trailers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), HeaderValue::One((*value).to_owned())))
                    .collect(),
                local_reply_body: String::new(),
            }),
            bytes_received: self.number("received"),
            bytes_sent: got.map_or(0, |got| got.body as u64),
            route: self.text("route").map(|name| Route {
                name,
                metadata: test_metadata(),
            }),
            virtual_host: Some(VirtualHost {
                metadata: test_metadata(),
                virtual_cluster: (is_routed && exchange.method == "POST").then(|| "posts".to_owned()),
            }),
            metadata: test_metadata(),
            filter_state: [(
                "test.key".to_owned(),
                FilterState {
                    plain: Some(STATE.into()),
                    typed: Some(STATE.into()),
                    fields: BTreeMap::new(),
                },
            )]
            .into(),
            ..self.sample(listener)
        }
    }

    fn of_connection(&self, listener: &str, bytes: usize) -> Sample {
        let echoed = if self.text("cluster").as_deref() == Some("echo") {
            bytes as u64
        } else {
            0
        };
        Sample {
            bytes_received: self.number("received"),
            bytes_sent: echoed,
            stream_id: self.text("streamId"),
            ..self.sample(listener)
        }
    }
}

/// What differs, by operator where that can be told, with an example of each.
#[derive(Default)]
struct Different(BTreeMap<String, String>);

impl Different {
    fn note(&mut self, place: &str, ours: &[u8], envoys: &[u8]) {
        let parsed = |line: &[u8]| serde_json::from_slice::<Map<String, Value>>(line).ok();
        let mut told = false;
        if let (Some(ours), Some(envoys)) = (parsed(ours), parsed(envoys)) {
            for (operator, ours) in ours.iter().filter(|(name, _)| name.starts_with('%')) {
                let envoys = envoys.get(operator).unwrap_or(&Value::Null);
                if ours != envoys {
                    told = true;
                    let example = || format!("{place}: ours {ours}, Envoy's {envoys}");
                    self.0.entry(operator.clone()).or_insert_with(example);
                }
            }
        }
        if !told {
            let at = ours.iter().zip(envoys).take_while(|(a, b)| a == b).count();
            let around = |line: &[u8]| {
                let from = at.saturating_sub(60);
                String::from_utf8_lossy(&line[from..line.len().min(at + 80)]).into_owned()
            };
            let example = || format!("{place}\n  ours    …{}\n  Envoy's …{}", around(ours), around(envoys));
            self.0.entry("a line".to_owned()).or_insert_with(example);
        }
    }
}

/// Runs everything through that Envoy; what differs, and which of the differences that are meant showed.
async fn compare(release: Release) -> (Different, Vec<bool>) {
    let version = release.version().unwrap();
    let mut rng = StdRng::seed_from_u64(SEED);
    let asked = formats(version, &mut rng);
    let exchanges: Vec<Exchange> = (0..HTTP_REQUESTS).map(|number| exchange(number, &mut rng)).collect();
    let facts: Map<String, Value> = fact_operators()
        .into_iter()
        .filter(|(_, operator)| is_taken(operator, version))
        .map(|(name, operator)| (name, operator.into()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs(folder.path().to_owned());
    let servers = Servers::start(&exchanges).await;
    let bootstrap = bootstrap(&asked, &CompiledFormat::Json(facts), &logs, &servers);
    let envoy = Envoy::start(release, bootstrap).await.unwrap();

    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    let mut got: BTreeMap<&str, Vec<(usize, Option<Message>)>> = BTreeMap::new();
    for (number, exchange) in exchanges.iter().enumerate() {
        let (listener, door) = if number % 3 == 2 {
            ("http2", "front")
        } else {
            ("http1", "http1")
        };
        let answer = send(exchange, envoy.listener(door).await.unwrap(), &servers.silent).await;
        got.entry(listener).or_default().push((number, answer));
        // Logs are in the order of the ends of requests, and a client that leaves does not see the end.
        logs.wait_for(listener, "facts", "\n", got[listener].len()).await;
    }
    for (listener, got) in &got {
        let records = logs.wait_for(listener, "facts", "\n", got.len()).await;
        for ((number, got), record) in got.iter().zip(records) {
            let facts = Facts(serde_json::from_slice(&record).unwrap());
            assert_eq!(facts.text("n"), Some(number.to_string()));
            let sample = facts.of_request(listener, &exchanges[*number], got.as_ref());
            samples.entry(listener).or_default().push(sample);
        }
    }
    for number in 0..TCP_CONNECTIONS {
        let door = if number % 4 == 3 { "tcp refused" } else { "tcp" };
        let mut stream = TcpStream::connect(envoy.listener(door).await.unwrap()).await.unwrap();
        let port = stream.local_addr().unwrap().port();
        let bytes = vec![b'x'; rng.random_range(1..2000)];
        // The refused one is closed at once.
        stream.write_all(&bytes).await.ok();
        stream.shutdown().await.ok();
        stream.read_to_end(&mut Vec::new()).await.ok();
        let records = logs.wait_for("tcp", "facts", "\n", number + 1).await;
        let facts = Facts(serde_json::from_slice(&records[number]).unwrap());
        assert_eq!(facts.number("remotePort"), u64::from(port));
        samples
            .entry("tcp")
            .or_default()
            .push(facts.of_connection(door, bytes.len()));
    }

    let mut different = Different::default();
    for listener in LISTENERS {
        for (index, asked) in asked.iter().enumerate() {
            let end = if matches!(asked.format, CompiledFormat::Text(_)) {
                END
            } else {
                "\n"
            };
            let count = samples[listener].len();
            let records = logs.wait_for(listener, &index.to_string(), end, count).await;
            assert_eq!(records.len(), count);
            let pairs = samples[listener].iter().zip(&records).enumerate();
            for (number, (sample, record)) in pairs.step_by(asked.one_of) {
                let ours = preview(&asked.format, asked.omit_empty_values, sample, version);
                if ours.line != *record {
                    let place = format!("{} {listener} {number}, format {index}", release.name());
                    different.note(&place, &ours.line, record);
                }
            }
        }
    }
    let mut shown = Vec::new();
    for (index, difference) in DIFFERENCES.iter().enumerate() {
        let format = CompiledFormat::Text(format!("%REQ(X-N)%|{}{END}", difference.example));
        let records = logs
            .wait_for("http1", &format!("difference-{index}"), END, samples["http1"].len())
            .await;
        let mut both = samples["http1"].iter().zip(records);
        shown.push(both.any(|(sample, record)| preview(&format, false, sample, version).line != record));
    }
    (different, shown)
}

#[tokio::test]
async fn previewed_lines_are_envoys_lines_byte_for_byte_but_for_the_differences_that_are_meant() {
    let releases = Release::all();
    let compared = futures::future::join_all(releases.iter().map(|release| compare(*release))).await;
    let mut all = BTreeMap::new();
    for (release, (different, shown)) in releases.iter().zip(compared) {
        for (difference, shown) in DIFFERENCES.iter().zip(shown) {
            assert!(shown, "{}: no difference of {} showed", release.name(), difference.what);
        }
        all.extend(different.0);
    }
    let all: Vec<String> = all.iter().map(|(what, example)| format!("{what}: {example}")).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}
