//! What each operator prints of a sample.
//!
//! The rules are those that Envoy 1.36 to 1.40 showed (`tests/format/lines.rs`): what has no value is `None`, which is `-`
//! in text and null in JSON; what is an empty text or a zero is that.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json};

use super::address::{Address, strip_port};
use super::cel::{self, Printed};
use super::sample::{Attempt, FilterState, Headers, Metadata, Millis, Sample, Times, Tls, Upstream, Wire};
use super::time::{self, Zone};
use super::{http, json};
use crate::format::checker;
use crate::format::parser::OperatorUse;
use crate::format::version::EnvoyVersion;

/// Operators of which no description tells the value, and why; of the two with an expression, some. All others are
/// evaluated.
pub const UNTELLABLE: [(&str, &str); 10] = [
    ("CEL", "its expression reads or calls what only Envoy knows"),
    ("TYPED_CEL", "its expression reads or calls what only Envoy knows"),
    ("UNIQUE_ID", "it is random, and another one each time it is printed"),
    ("FILE_CONTENT", "it is the content of a file of the proxy"),
    ("SECRET", "it is a secret"),
    ("DOWNSTREAM_CX_RTT", "the kernel of the proxy's node measures it"),
    ("ROUTE_RESOLUTION_COUNT", "Envoy counts what it does inside"),
    ("ROUTE_RESOLUTION_TIME_US", "Envoy measures what it does inside"),
    (
        "REQUEST_PROPERTY",
        "only Envoy's generic proxy has it, and its protocols say what it is",
    ),
    (
        "RESPONSE_PROPERTY",
        "only Envoy's generic proxy has it, and its protocols say what it is",
    ),
];

/// An operator with what is written to it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub name: &'a str,
    /// Empty for none: Envoy makes no difference.
    pub arguments: &'a str,
    pub length: Option<usize>,
}

impl<'a> Call<'a> {
    pub fn of(operator: &OperatorUse<'a>) -> Self {
        let length = operator.length.as_ref();
        Self {
            name: operator.name,
            arguments: operator.arguments.unwrap_or_default(),
            length: length.map(|digits| digits.parse().unwrap_or(usize::MAX)),
        }
    }
}

/// What an operator gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing: `-` or null.
    Absent,
    Text(Vec<u8>),
    Number(i64),
    /// A text that is another one in JSON.
    TextAndJson {
        text: Vec<u8>,
        json: Vec<u8>,
    },
    /// No text in JSON: what that shows, and the text where it is another.
    Structured {
        json: Json,
        text: Option<Vec<u8>>,
    },
}

impl Value {
    fn of(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    fn maybe(text: Option<&str>) -> Self {
        text.map_or(Self::Absent, Self::of)
    }

    /// An empty text is none.
    fn unless_empty(text: &str) -> Self {
        if text.is_empty() { Self::Absent } else { Self::of(text) }
    }

    fn joined(texts: &[String]) -> Self {
        Self::unless_empty(&texts.join(","))
    }

    fn count(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Blanks become underscores: a reason is one column of a text.
    fn reason(text: Option<&str>) -> Self {
        text.map_or(Self::Absent, |text| Self::unless_empty(&text.replace(' ', "_")))
    }

    /// What stands in text; `None` where nothing does.
    pub fn into_text(self) -> Option<Vec<u8>> {
        match self {
            Self::Absent => None,
            Self::Text(text) | Self::TextAndJson { text, .. } | Self::Structured { text: Some(text), .. } => Some(text),
            Self::Number(number) => Some(number.to_string().into_bytes()),
            Self::Structured { json, text: None } => {
                let mut text = Vec::new();
                json::write(&json, &mut text);
                Some(text)
            }
        }
    }

    /// Whether JSON shows null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Absent | Self::Structured { json: Json::Null, .. })
    }

    #[expect(clippy::cast_precision_loss, reason = "Envoy's numbers are doubles in JSON")]
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => out.extend(b"null"),
            Self::Text(text) | Self::TextAndJson { json: text, .. } => json::write_string(text, out),
            Self::Number(number) => out.extend(json::number_text(*number as f64).into_bytes()),
            Self::Structured { json, .. } => json::write(json, out),
        }
    }

    /// At most that many bytes of it, in text; in JSON only a text is cut.
    fn cut(self, length: Option<usize>) -> Self {
        let Some(length) = length else { return self };
        match self {
            Self::Absent => Self::Absent,
            Self::Text(mut text) => {
                text.truncate(length);
                Self::Text(text)
            }
            Self::TextAndJson { mut text, mut json } => {
                text.truncate(length);
                json.truncate(length);
                Self::TextAndJson { text, json }
            }
            #[expect(clippy::cast_precision_loss, reason = "Envoy's numbers are doubles in JSON")]
            Self::Number(number) => Self::Structured {
                json: Json::from(number as f64),
                text: Self::Number(number).cut_text(length),
            },
            Self::Structured { ref json, .. } => {
                let json = json.clone();
                let text = self.cut_text(length);
                Self::Structured { json, text }
            }
        }
    }

    fn cut_text(self, length: usize) -> Option<Vec<u8>> {
        let mut text = self.into_text();
        if let Some(text) = &mut text {
            text.truncate(length);
        }
        text
    }

    /// As `COALESCE` looks at it.
    fn is_empty_text(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

/// Names and reasons of [`UNTELLABLE`].
type Untold = Vec<(&'static str, &'static str)>;

/// The first Envoy that cuts texts of metadata in JSON too; before, only in text.
const CUTS_METADATA_IN_JSON_SINCE: EnvoyVersion = EnvoyVersion::new(1, 37);
/// The first Envoy that knows more points in time of a TCP connection than its start.
const TIMES_TCP_SINCE: EnvoyVersion = EnvoyVersion::new(1, 39);
/// The first Envoy whose `COALESCE` takes an empty text for a value; those before take the next entry.
const COALESCES_TO_EMPTY_SINCE: EnvoyVersion = EnvoyVersion::new(1, 40);

/// What happened, in a proxy of that version.
#[derive(Clone, Copy)]
pub(super) struct Proxied<'a> {
    pub sample: &'a Sample,
    pub version: EnvoyVersion,
}

impl<'a> Proxied<'a> {
    /// What an operator prints. Where that cannot be told, `<NAME>`, and the reason.
    pub fn value(self, call: Call<'_>) -> (Value, Untold) {
        if call.name == "COALESCE" {
            return self.coalesce(call);
        }
        if let Some(value) = self.evaluate(call) {
            return (value, Untold::new());
        }
        let untold = UNTELLABLE.into_iter().filter(|(name, _)| *name == call.name);
        (Value::of(&format!("<{}>", call.name)), untold.collect())
    }

    fn coalesce(self, call: Call<'_>) -> (Value, Untold) {
        let json: Json = serde_json::from_str(call.arguments).unwrap_or_default();
        for entry in checker::coalesce_entries(&json).into_iter().flatten() {
            let Ok(written) = checker::coalesce_entry(entry) else {
                continue;
            };
            let length = entry.get("max_length").and_then(Json::as_u64);
            let (value, untold) = self.value(Call {
                name: written.name,
                arguments: written.arguments,
                length: length.map(|length| usize::try_from(length).unwrap_or(usize::MAX)),
            });
            let skipped = value.is_empty_text() && self.version < COALESCES_TO_EMPTY_SINCE;
            if value != Value::Absent && !skipped {
                return (value.cut(call.length), untold);
            }
        }
        (Value::Absent, Untold::new())
    }

    /// `None` where no description tells it, see [`UNTELLABLE`].
    #[expect(clippy::too_many_lines, reason = "a table: one line for each operator")]
    fn evaluate(self, call: Call<'_>) -> Option<Value> {
        let Call {
            name,
            arguments,
            length,
        } = call;
        let Self { sample, version } = self;
        let times = &sample.times;
        let connection = &sample.connection;
        let upstream = sample.upstream.as_ref();
        let route = sample.route.as_ref();
        let direct_local = connection
            .direct_local_address
            .as_ref()
            .or(connection.local_address.as_ref());
        let direct_remote = connection
            .direct_remote_address
            .as_ref()
            .or(connection.remote_address.as_ref());
        let upstream_local = upstream.and_then(|upstream| upstream.local_address.as_ref());
        let upstream_remote = upstream.and_then(|upstream| {
            let connected = upstream.host.as_ref().filter(|_| upstream.local_address.is_some());
            upstream.remote_address.as_ref().or(connected)
        });
        let upstream_wire = upstream.map_or_else(Wire::default, |upstream| upstream.wire);
        let zone = Zone {
            offset_minutes: sample.proxy.utc_offset_minutes,
            name: &sample.proxy.time_zone,
        };
        if let Some(value) = self.of_tls(name, arguments) {
            return Some(value);
        }
        Some(match name {
            "CEL" | "TYPED_CEL" => match cel::evaluate(self, arguments).ok()? {
                None => Value::Absent,
                Some(Printed { text, .. }) if name == "CEL" => Value::Text(text).cut(length),
                Some(Printed {
                    text,
                    json: Json::String(json),
                }) => Value::TextAndJson {
                    text,
                    json: json.into_bytes(),
                }
                .cut(length),
                Some(Printed { text, json }) => Value::Structured { json, text: Some(text) }.cut(length),
            },
            "REQ" | "REQUEST_HEADER" | "STREAM_INFO_REQ" => self.request_header(arguments).cut(length),
            "RESP" | "RESPONSE_HEADER" => self.response_header(arguments).cut(length),
            "TRAILER" | "RESPONSE_TRAILER" => self.response_trailer(arguments).cut(length),
            "REQ_WITHOUT_QUERY" => match self.request_header(arguments) {
                Value::Text(value) => Value::Text(http::without_query(&value).to_vec()).cut(length),
                _ => Value::Absent,
            },
            "PATH" => self.path(arguments).cut(length),
            "QUERY_PARAM" => self.query_param(arguments).cut(length),
            "QUERY_PARAMS" => self.query_params(arguments).cut(length),
            "XFCC_VALUE" => {
                let header = self.request_header("x-forwarded-client-cert").into_text();
                let header = header.and_then(|bytes| String::from_utf8(bytes).ok());
                let value = header.and_then(|header| http::forwarded_client_cert(&header, arguments));
                Value::maybe(value.as_deref())
            }
            "REQUESTED_SERVER_NAME" => self.requested_server_name(arguments),
            "PROTOCOL" => Value::unless_empty(sample.request.as_ref().map_or("", |request| &request.protocol)),
            "REQUEST_HEADERS_BYTES" => Value::count(self.request_headers_bytes()),
            "RESPONSE_HEADERS_BYTES" => Value::count(self.response_headers_bytes()),
            "RESPONSE_TRAILERS_BYTES" => Value::count(
                sample
                    .response
                    .as_ref()
                    .map_or(0, |response| bytes_of(&response.trailers)),
            ),
            "RESPONSE_CODE" => Value::count(sample.response.as_ref().map_or(0, |response| response.code.into())),
            "RESPONSE_CODE_DETAILS" => {
                let details = sample
                    .response
                    .as_ref()
                    .and_then(|response| response.details.as_deref());
                match details {
                    Some(details) if arguments != "ALLOW_WHITESPACES" => {
                        let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
                        Value::of(&details.replace(blank, "_"))
                    }
                    details => Value::maybe(details),
                }
            }
            "LOCAL_REPLY_BODY" => Value::of(
                sample
                    .response
                    .as_ref()
                    .map_or("", |response| &response.local_reply_body),
            ),
            "GRPC_STATUS" => self.grpc_status(arguments),
            "GRPC_STATUS_NUMBER" => self.grpc_status("NUMBER"),
            "RESPONSE_FLAGS" => self.flags(super::ResponseFlag::short),
            "RESPONSE_FLAGS_LONG" => self.flags(super::ResponseFlag::long),
            "CUSTOM_FLAGS" => Value::of(&sample.custom_flags),
            "ACCESS_LOG_TYPE" => {
                let of_kind = if sample.request.is_some() {
                    "DownstreamEnd"
                } else {
                    "TcpConnectionEnd"
                };
                Value::of(sample.access_log_type.as_deref().unwrap_or(of_kind))
            }
            "STREAM_ID" => match &sample.stream_id {
                Some(id) => Value::of(id),
                None => self.request_header("x-request-id"),
            },
            "TRACE_ID" => Value::maybe(sample.trace.as_ref().map(|trace| trace.trace_id.as_str())),
            "SPAN_ID" => Value::maybe(sample.trace.as_ref().map(|trace| trace.span_id.as_str())),

            "BYTES_RECEIVED" => Value::count(sample.bytes_received),
            "BYTES_SENT" => Value::count(sample.bytes_sent),
            // Only HTTP/3 counts them.
            "BYTES_RETRANSMITTED" | "PACKETS_RETRANSMITTED" => Value::count(0),
            "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Value::count(connection.wire.received),
            "DOWNSTREAM_WIRE_BYTES_SENT" => Value::count(connection.wire.sent),
            "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Value::count(connection.wire.header_received),
            "DOWNSTREAM_HEADER_BYTES_SENT" => Value::count(connection.wire.header_sent),
            "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => {
                Value::count(connection.wire.decompressed_header_received)
            }
            "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Value::count(connection.wire.decompressed_header_sent),
            "UPSTREAM_WIRE_BYTES_RECEIVED" => Value::count(upstream_wire.received),
            "UPSTREAM_WIRE_BYTES_SENT" => Value::count(upstream_wire.sent),
            "UPSTREAM_HEADER_BYTES_RECEIVED" => Value::count(upstream_wire.header_received),
            "UPSTREAM_HEADER_BYTES_SENT" => Value::count(upstream_wire.header_sent),
            "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => Value::count(upstream_wire.decompressed_header_received),
            "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Value::count(upstream_wire.decompressed_header_sent),

            "START_TIME" => Value::of(&time::utc(times.start, arguments)),
            "START_TIME_LOCAL" => Value::of(&time::local(times.start, zone, arguments)),
            "EMIT_TIME" => Value::of(&time::utc(emitted(times), arguments)),
            "EMIT_TIME_LOCAL" => Value::of(&time::local(emitted(times), zone, arguments)),
            "DURATION" => milliseconds(Some(times.duration)),
            "REQUEST_DURATION" => milliseconds(point(times, "DS_RX_END")),
            "REQUEST_TX_DURATION" => milliseconds(point(times, "US_TX_END")),
            "RESPONSE_DURATION" => milliseconds(point(times, "US_RX_BEG")),
            "RESPONSE_TX_DURATION" => match (point(times, "US_RX_BEG"), point(times, "DS_TX_END")) {
                (Some(start), Some(end)) => Value::Number((end.nanos() - start.nanos()) / 1_000_000),
                _ => Value::Absent,
            },
            "COMMON_DURATION" => {
                let has_points = sample.request.is_some() || version >= TIMES_TCP_SINCE;
                common_duration(arguments, |name| {
                    point(times, name).filter(|_| has_points || name == START_POINT)
                })
            }
            "DOWNSTREAM_HANDSHAKE_DURATION" => milliseconds(times.handshake),
            "ROUNDTRIP_DURATION" => milliseconds(times.round_trip),
            "UPSTREAM_CONNECTION_POOL_READY_DURATION" => milliseconds(times.pool_ready),

            "CONNECTION_ID" => Value::count(connection.id),
            "CONNECTION_TERMINATION_DETAILS" => Value::maybe(connection.termination_details.as_deref()),
            "LISTENER_NAME" => Value::unless_empty(connection.listener.as_deref().unwrap_or_default()),
            "FILTER_CHAIN_NAME" => Value::unless_empty(connection.filter_chain.as_deref().unwrap_or_default()),
            "TLS_JA3_FINGERPRINT" => Value::unless_empty(connection.ja3.as_deref().unwrap_or_default()),
            "TLS_JA4_FINGERPRINT" => Value::unless_empty(connection.ja4.as_deref().unwrap_or_default()),
            "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => Value::reason(connection.transport_failure.as_deref()),
            "DOWNSTREAM_DETECTED_CLOSE_TYPE" => Value::maybe(connection.close_type.as_deref()),
            "DOWNSTREAM_LOCAL_CLOSE_REASON" => Value::reason(connection.local_close_reason.as_deref()),
            "DOWNSTREAM_LOCAL_ADDRESS" => with_port(connection.local_address.as_ref()),
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => without_port(connection.local_address.as_ref(), arguments),
            "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID" => endpoint_id(connection.local_address.as_ref()),
            "DOWNSTREAM_LOCAL_PORT" => port(connection.local_address.as_ref()),
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => with_port(direct_local),
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" => without_port(direct_local, arguments),
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID" => endpoint_id(direct_local),
            "DOWNSTREAM_DIRECT_LOCAL_PORT" => port(direct_local),
            "DOWNSTREAM_REMOTE_ADDRESS" => with_port(connection.remote_address.as_ref()),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => without_port(connection.remote_address.as_ref(), arguments),
            "DOWNSTREAM_REMOTE_PORT" => port(connection.remote_address.as_ref()),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => with_port(direct_remote),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => without_port(direct_remote, arguments),
            "DOWNSTREAM_DIRECT_REMOTE_PORT" => port(direct_remote),

            "ROUTE_NAME" => Value::unless_empty(route.map_or("", |route| &route.name)),
            "VIRTUAL_CLUSTER_NAME" => {
                let host = sample.virtual_host.as_ref();
                Value::maybe(host.and_then(|host| host.virtual_cluster.as_deref()))
            }
            "UPSTREAM_CLUSTER" => Value::unless_empty(
                sample
                    .cluster
                    .as_ref()
                    .map_or("", |cluster| cluster.alt_stat_name.as_deref().unwrap_or(&cluster.name)),
            ),
            "UPSTREAM_CLUSTER_RAW" => Value::unless_empty(sample.cluster.as_ref().map_or("", |cluster| &cluster.name)),
            "UPSTREAM_HOST" => with_port(upstream.and_then(|upstream| upstream.host.as_ref())),
            "UPSTREAM_HOST_NAME" => Value::maybe(upstream.and_then(host_name)),
            "UPSTREAM_HOST_NAME_WITHOUT_PORT" => Value::maybe(upstream.and_then(host_name).map(strip_port)),
            "UPSTREAM_HOSTS_ATTEMPTED" => self.attempted(|attempt| Some(attempt.host.text().to_owned())),
            "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" => self.attempted(|attempt| Some(attempt.host.without_port())),
            "UPSTREAM_HOST_NAMES_ATTEMPTED" => {
                self.attempted(|attempt| Some(name_or_address(&attempt.host_name, &attempt.host).to_owned()))
            }
            "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT" => self
                .attempted(|attempt| Some(strip_port(name_or_address(&attempt.host_name, &attempt.host)).to_owned())),
            "UPSTREAM_CONNECTION_IDS_ATTEMPTED" => self.attempted(|attempt| Some(attempt.connection_id?.to_string())),
            "UPSTREAM_CONNECTION_ID" => Value::count(upstream.map_or(0, |upstream| upstream.connection_id)),
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Value::count(sample.attempts),
            "UPSTREAM_PROTOCOL" => Value::maybe(upstream.and_then(|upstream| upstream.protocol.as_deref())),
            "UPSTREAM_SERVER_NAME" => Value::unless_empty(upstream.map_or("", |upstream| &upstream.server_name)),
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => {
                Value::reason(upstream.and_then(|upstream| upstream.transport_failure.as_deref()))
            }
            "UPSTREAM_DETECTED_CLOSE_TYPE" => {
                Value::maybe(upstream.and_then(|upstream| upstream.close_type.as_deref()))
            }
            "UPSTREAM_LOCAL_CLOSE_REASON" => {
                Value::reason(upstream.and_then(|upstream| upstream.local_close_reason.as_deref()))
            }
            "UPSTREAM_LOCAL_ADDRESS" => with_port(upstream_local),
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => without_port(upstream_local, arguments),
            "UPSTREAM_LOCAL_PORT" => port(upstream_local),
            "UPSTREAM_REMOTE_ADDRESS" => with_port(upstream_remote),
            "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => without_port(upstream_remote, arguments),
            "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID" => endpoint_id(upstream_remote),
            "UPSTREAM_REMOTE_PORT" => port(upstream_remote),

            "DYNAMIC_METADATA" => metadata(Some(&sample.metadata), arguments, length, version),
            "CLUSTER_METADATA" => metadata(self.metadata("CLUSTER"), arguments, length, version),
            "UPSTREAM_METADATA" => metadata(self.metadata("UPSTREAM_HOST"), arguments, length, version),
            "METADATA" => {
                let (of, path) = arguments.split_once(':').unwrap_or((arguments, ""));
                metadata(self.metadata(of), path, length, version)
            }
            "FILTER_STATE" => filter_state(&sample.filter_state, arguments, length),
            "UPSTREAM_FILTER_STATE" => upstream.map_or(Value::Absent, |upstream| {
                filter_state(&upstream.filter_state, arguments, length)
            }),

            "HOSTNAME" => Value::of(&sample.proxy.hostname),
            "ENVIRONMENT" => Value::of(sample.proxy.environment.get(arguments).map_or("-", String::as_str)).cut(length),

            "KUMA_MESH" => Value::of(&sample.kuma.mesh),
            "KUMA_ZONE" => Value::of(&sample.kuma.zone),
            "KUMA_WORKLOAD" => Value::of(&sample.kuma.workload),
            "KUMA_SOURCE_SERVICE" => Value::of(&sample.kuma.source_service),
            "KUMA_DESTINATION_SERVICE" => Value::of(&sample.kuma.destination_service),
            "KUMA_SOURCE_ADDRESS" => Value::of(&format!("{}:0", sample.kuma.source_address)),
            "KUMA_SOURCE_ADDRESS_WITHOUT_PORT" => Value::of(&sample.kuma.source_address),
            "KUMA_TRAFFIC_DIRECTION" => Value::of(&sample.kuma.traffic_direction),
            _ => return None,
        })
    }

    /// What is printed of the TLS connections; `None` where the operator is not of TLS.
    fn of_tls(self, name: &str, arguments: &str) -> Option<Value> {
        let (tls, member) = match name.split_once('_')? {
            ("DOWNSTREAM", member) => (self.sample.connection.tls.as_ref(), member),
            ("UPSTREAM", member) => {
                let upstream = self.sample.upstream.as_ref();
                (upstream.and_then(|upstream| upstream.tls.as_ref()), member)
            }
            _ => return None,
        };
        let print = tls_member(member)?;
        Some(tls.map_or(Value::Absent, |tls| print(tls, arguments)))
    }

    fn request_header(self, arguments: &str) -> Value {
        let Some(request) = &self.sample.request else {
            return Value::Absent;
        };
        header(arguments, |name| {
            let pseudo = match name {
                ":method" => &request.method,
                ":path" => &request.path,
                ":authority" | "host" => &request.authority,
                ":scheme" => &request.scheme,
                _ => return first_value(&request.headers, name),
            };
            (!pseudo.is_empty()).then_some(pseudo)
        })
    }

    fn response_header(self, arguments: &str) -> Value {
        let Some(response) = &self.sample.response else {
            return Value::Absent;
        };
        let code = response.code.to_string();
        header(arguments, |name| match name {
            ":status" => (response.code > 0).then_some(&code),
            _ => first_value(&response.headers, name),
        })
    }

    fn response_trailer(self, arguments: &str) -> Value {
        match &self.sample.response {
            Some(response) => header(arguments, |name| first_value(&response.trailers, name)),
            None => Value::Absent,
        }
    }

    fn request_headers_bytes(self) -> u64 {
        let Some(request) = &self.sample.request else { return 0 };
        let pseudo = [
            (":method", &request.method),
            (":path", &request.path),
            (":authority", &request.authority),
            (":scheme", &request.scheme),
        ];
        let given = pseudo.into_iter().filter(|(_, value)| !value.is_empty());
        let pseudo: usize = given.map(|(name, value)| name.len() + value.len()).sum();
        bytes_of(&request.headers) + pseudo as u64
    }

    fn response_headers_bytes(self) -> u64 {
        let Some(response) = &self.sample.response else {
            return 0;
        };
        let status = if response.code > 0 { ":status".len() + 3 } else { 0 };
        bytes_of(&response.headers) + status as u64
    }

    /// `[WQ|NQ][:ORIG|PATH|ORIG_OR_PATH]`
    fn path(self, arguments: &str) -> Value {
        let (query, which) = arguments.split_once(':').unwrap_or((arguments, ""));
        let path = self.original_or(which, "x-envoy-original-path", "PATH", ":path");
        match path {
            Some(path) if query == "NQ" => Value::Text(http::without_query(&path).to_vec()),
            Some(path) => Value::Text(path),
            None => Value::Absent,
        }
    }

    /// `ORIG`: the header that keeps what was changed. `now`: the present one. Else the first of them that says something.
    fn original_or(self, which: &str, original: &str, now: &str, present: &str) -> Option<Vec<u8>> {
        let said = |name: &str| self.request_header(name).into_text().filter(|text| !text.is_empty());
        match which {
            "ORIG" => said(original),
            _ if which == now => said(present),
            _ => said(original).or_else(|| said(present)),
        }
    }

    fn query_param(self, name: &str) -> Value {
        let path = self.sample.request.as_ref().map_or("", |request| &request.path);
        let mut parameters = http::query_parameters(path);
        let found = parameters.find(|(key, _)| key == name.as_bytes());
        found.map_or(Value::Absent, |(_, value)| Value::Text(value))
    }

    fn query_params(self, arguments: &str) -> Value {
        let path = self.sample.request.as_ref().map_or("", |request| &request.path);
        match http::query(path) {
            None => Value::Absent,
            Some(query) if arguments == "DECODED" => Value::Text(http::url_decoded(query)),
            Some(query) => Value::of(query),
        }
    }

    /// `SNI_ONLY|SNI_FIRST|HOST_FIRST[:ORIG|HOST|ORIG_OR_HOST]`
    fn requested_server_name(self, arguments: &str) -> Value {
        let (first, which) = arguments.split_once(':').unwrap_or((arguments, ""));
        let asked = &self.sample.connection.server_name;
        let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        let asked = (!asked.is_empty()).then(|| asked.replace(odd, "_").into_bytes());
        let host = || self.original_or(which, "x-envoy-original-host", "HOST", ":authority");
        let name = match first {
            "SNI_FIRST" => asked.or_else(host),
            "HOST_FIRST" => host().or(asked),
            _ => asked,
        };
        name.map_or(Value::Absent, Value::Text)
    }

    fn grpc_status(self, arguments: &str) -> Value {
        let content_type = self.request_header("content-type").into_text().unwrap_or_default();
        if !http::is_grpc(&content_type) {
            return Value::Absent;
        }
        let given = [
            self.response_trailer("grpc-status"),
            self.response_header("grpc-status"),
        ];
        let given = given
            .into_iter()
            .find_map(Value::into_text)
            .map(|text| http::grpc_status(&text));
        let code = self.sample.response.as_ref().map_or(0, |response| response.code);
        let of_code = || (code > 0).then(|| http::grpc_status_of_http(code));
        match (given.or_else(of_code), arguments) {
            (None, _) => Value::Absent,
            (Some(status), "NUMBER") => Value::Number(status),
            (Some(status), "SNAKE_STRING") => Value::of(&http::grpc_snake_name(status)),
            (Some(status), _) => Value::of(&http::grpc_camel_name(status)),
        }
    }

    fn flags(self, name: fn(super::ResponseFlag) -> &'static str) -> Value {
        let mut flags = self.sample.response_flags.clone();
        flags.sort_unstable();
        flags.dedup();
        let names: Vec<&str> = flags.into_iter().map(name).collect();
        Value::of(
            if names.is_empty() {
                "-".to_owned()
            } else {
                names.join(",")
            }
            .as_str(),
        )
    }

    fn attempted(self, print: fn(&Attempt) -> Option<String>) -> Value {
        let upstream = self.sample.upstream.as_ref();
        let attempted = upstream.map_or(&[][..], |upstream| upstream.attempted.as_slice());
        Value::joined(&attempted.iter().filter_map(print).collect::<Vec<_>>())
    }

    /// The metadata of an object, by the types of `METADATA`; `None` where there is no such object.
    pub(super) fn metadata(self, of: &str) -> Option<&'a Metadata> {
        let sample = self.sample;
        match of {
            "DYNAMIC" => Some(&sample.metadata),
            "CLUSTER" => sample.cluster.as_ref().map(|cluster| &cluster.metadata),
            "ROUTE" => sample.route.as_ref().map(|route| &route.metadata),
            "VIRTUAL_HOST" => sample.virtual_host.as_ref().map(|host| &host.metadata),
            "UPSTREAM_HOST" => sample.upstream.as_ref().map(|upstream| &upstream.metadata),
            "LISTENER" => Some(&sample.connection.listener_metadata),
            "LISTENER_FILTER_CHAIN" => Some(&sample.connection.filter_chain_metadata),
            _ => None,
        }
    }
}

/// `X[?Y]`: the header X, or Y where it is absent. An empty name is none.
fn header<'h>(arguments: &str, get: impl Fn(&str) -> Option<&'h String>) -> Value {
    let mut names = arguments.split('?').filter(|name| !name.is_empty());
    let found = names.find_map(|name| get(&name.to_ascii_lowercase()));
    Value::maybe(found.map(String::as_str))
}

fn first_value<'h>(headers: &'h Headers, name: &str) -> Option<&'h String> {
    let mut found = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.find_map(|(_, value)| value.values().first())
}

/// Bytes of all names and values.
fn bytes_of(headers: &Headers) -> u64 {
    let each = headers
        .iter()
        .flat_map(|(name, value)| value.values().iter().map(|value| (name.len() + value.len()) as u64));
    each.sum()
}

/// What an operator of TLS prints; `None` where there is no such operator. What is empty is absent.
fn tls_member(name: &str) -> Option<fn(&Tls, &str) -> Value> {
    Some(match name {
        "TLS_VERSION" => |tls, _| Value::unless_empty(&tls.version),
        "TLS_CIPHER" => |tls, _| Value::unless_empty(&tls.cipher),
        "TLS_GROUP" => |tls, _| Value::unless_empty(&tls.group),
        "TLS_SESSION_ID" => |tls, _| Value::unless_empty(&tls.session_id),
        "LOCAL_SUBJECT" => |tls, _| Value::unless_empty(&tls.local.subject),
        "LOCAL_URI_SAN" => |tls, _| Value::joined(&tls.local.uri_sans),
        "LOCAL_DNS_SAN" => |tls, _| Value::joined(&tls.local.dns_sans),
        "LOCAL_IP_SAN" => |tls, _| Value::joined(&tls.local.ip_sans),
        "LOCAL_EMAIL_SAN" => |tls, _| Value::joined(&tls.local.email_sans),
        "LOCAL_OTHERNAME_SAN" => |tls, _| Value::joined(&tls.local.other_name_sans),
        "PEER_SUBJECT" => |tls, _| Value::unless_empty(&tls.peer.subject),
        "PEER_ISSUER" => |tls, _| Value::unless_empty(&tls.peer.issuer),
        "PEER_URI_SAN" => |tls, _| Value::joined(&tls.peer.uri_sans),
        "PEER_DNS_SAN" => |tls, _| Value::joined(&tls.peer.dns_sans),
        "PEER_IP_SAN" => |tls, _| Value::joined(&tls.peer.ip_sans),
        "PEER_EMAIL_SAN" => |tls, _| Value::joined(&tls.peer.email_sans),
        "PEER_OTHERNAME_SAN" => |tls, _| Value::joined(&tls.peer.other_name_sans),
        "PEER_SERIAL" => |tls, _| Value::unless_empty(&tls.peer.serial),
        "PEER_FINGERPRINT_256" => |tls, _| Value::unless_empty(&tls.peer.fingerprint_256),
        "PEER_FINGERPRINT_1" => |tls, _| Value::unless_empty(&tls.peer.fingerprint_1),
        "PEER_CHAIN_FINGERPRINTS_256" => |tls, _| Value::joined(&tls.peer.chain_fingerprints_256),
        "PEER_CHAIN_FINGERPRINTS_1" => |tls, _| Value::joined(&tls.peer.chain_fingerprints_1),
        "PEER_CHAIN_SERIALS" => |tls, _| Value::joined(&tls.peer.chain_serials),
        "PEER_ISSUER_FINGERPRINT_256" => |tls, _| Value::unless_empty(&tls.peer.issuer_fingerprint_256),
        "PEER_ISSUER_SERIAL" => |tls, _| Value::unless_empty(&tls.peer.issuer_serial),
        "PEER_CERT" => |tls, _| Value::unless_empty(&tls.peer.pem),
        "PEER_CERT_V_START" => |tls, format| instant(tls.peer.valid_from, format),
        "PEER_CERT_V_END" => |tls, format| instant(tls.peer.valid_to, format),
        _ => return None,
    })
}

fn instant(time: Option<Timestamp>, format: &str) -> Value {
    time.map_or(Value::Absent, |time| Value::of(&time::utc(time, format)))
}

/// When the line is written: at the end.
fn emitted(times: &Times) -> Timestamp {
    let end = times
        .start
        .checked_add(SignedDuration::from_nanos(times.duration.nanos()));
    end.unwrap_or(times.start)
}

fn milliseconds(time: Option<Millis>) -> Value {
    time.map_or(Value::Absent, |time| Value::Number(time.nanos() / 1_000_000))
}

/// The start.
const START_POINT: &str = "DS_RX_BEG";

/// A point in time, after the start.
fn point(times: &Times, name: &str) -> Option<Millis> {
    let start = (name == START_POINT).then_some(Millis(0.0));
    times.points.get(name).copied().or(start)
}

/// `START:END[:ms|us|ns]`. A time that runs backwards is none.
fn common_duration(arguments: &str, point: impl Fn(&str) -> Option<Millis>) -> Value {
    let mut parts = arguments.split(':');
    let mut next = || point(parts.next().unwrap_or_default());
    let (Some(start), Some(end)) = (next(), next()) else {
        return Value::Absent;
    };
    let nanos = end.nanos() - start.nanos();
    let unit = match parts.next() {
        Some("us") => 1_000,
        Some("ns") => 1,
        _ => 1_000_000,
    };
    if nanos < 0 {
        Value::Absent
    } else {
        Value::Number(nanos / unit)
    }
}

fn with_port(address: Option<&Address>) -> Value {
    Value::maybe(address.map(Address::text))
}

fn without_port(address: Option<&Address>, mask: &str) -> Value {
    let Some(address) = address else {
        return Value::Absent;
    };
    // Longer masks than any address are as long as it is.
    let bits = mask
        .parse::<i32>()
        .ok()
        .map(|bits| u8::try_from(bits).unwrap_or(u8::MAX));
    Value::of(&bits.map_or_else(|| address.without_port(), |bits| address.masked(bits)))
}

/// An address that has no port prints nothing in text.
fn port(address: Option<&Address>) -> Value {
    match address.map(Address::port) {
        None => Value::Absent,
        Some(Some(port)) => Value::Number(port.into()),
        Some(None) => Value::Structured {
            json: Json::Null,
            text: Some(Vec::new()),
        },
    }
}

fn endpoint_id(address: Option<&Address>) -> Value {
    Value::maybe(address.map(Address::endpoint_id))
}

fn host_name(upstream: &Upstream) -> Option<&str> {
    upstream
        .host
        .as_ref()
        .map(|host| name_or_address(&upstream.host_name, host))
}

fn name_or_address<'n>(name: &'n str, address: &'n Address) -> &'n str {
    if name.is_empty() { address.text() } else { name }
}

/// `NS[:KEY[:KEY]...]`
fn metadata(of: Option<&Metadata>, path: &str, length: Option<usize>, version: EnvoyVersion) -> Value {
    let mut keys = path.split(':');
    let namespace = of.and_then(|metadata| metadata.get(keys.next().unwrap_or_default()));
    let Some(namespace) = namespace else {
        return Value::Absent;
    };
    let mut found: Option<Json> = None;
    for key in keys {
        let members: Option<&Map<String, Json>> = match &found {
            None => Some(namespace),
            Some(value) => value.as_object(),
        };
        match members.and_then(|members| members.get(key)) {
            Some(member) => found = Some(member.clone()),
            None => return Value::Absent,
        }
    }
    match found.unwrap_or_else(|| Json::Object(namespace.clone())) {
        Json::Null => Value::Absent,
        Json::String(text) if version < CUTS_METADATA_IN_JSON_SINCE => {
            let json = text.clone().into_bytes();
            cut_in_text(text.into_bytes(), json, length)
        }
        Json::String(text) => Value::of(&text).cut(length),
        json => Value::Structured { json, text: None }.cut(length),
    }
}

/// `KEY[:PLAIN|TYPED|FIELD:NAME]`
fn filter_state(objects: &BTreeMap<String, FilterState>, arguments: &str, length: Option<usize>) -> Value {
    let mut parts = arguments.splitn(3, ':');
    let Some(object) = objects.get(parts.next().unwrap_or_default()) else {
        return Value::Absent;
    };
    match (parts.next(), parts.next()) {
        (Some("PLAIN"), _) => Value::maybe(object.plain.as_deref()).cut(length),
        (Some("FIELD"), Some(name)) => match object.fields.get(name) {
            Some(Json::String(text)) => Value::of(text).cut(length),
            Some(Json::Number(number)) => Value::of(&number.to_string()).cut(length),
            _ => Value::Absent,
        },
        _ => match &object.typed {
            // In text a string keeps its quotes: it is a message in JSON.
            Some(json @ Json::String(typed)) => {
                cut_in_text(json.to_string().into_bytes(), typed.clone().into_bytes(), length)
            }
            Some(json) => Value::Structured {
                json: json.clone(),
                text: Some(json.to_string().into_bytes()),
            }
            .cut(length),
            None => Value::Absent,
        },
    }
}

/// A text that is cut in text only.
fn cut_in_text(mut text: Vec<u8>, json: Vec<u8>, length: Option<usize>) -> Value {
    text.truncate(length.unwrap_or(usize::MAX));
    Value::TextAndJson { text, json }
}
