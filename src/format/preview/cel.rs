//! What `%CEL(…)%` and `%TYPED_CEL(…)%` print: the expression, evaluated over the attributes that a sample tells.
//!
//! The `cel` crate evaluates; here stand the attributes (names and types as Envoy has them) and how Envoy writes a result.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube_cel::cel::common::ast::{Expr, IdedExpr, LiteralValue};
use kube_cel::cel::objects::{Key, Map, Value as Cel};
use kube_cel::cel::{Context, Program};
use serde_json::{Number, Value as Json, json};

use super::address::Address;
use super::http;
use super::operators::Proxied;
use super::sample::{
    Certificate, FilterState, HeaderValue, Headers, Metadata, Millis, Request, Response, Tls, Upstream,
};
use super::time;
use crate::cel;
use crate::format::version::EnvoyVersion;

/// What came out of an expression.
pub(super) struct Printed {
    /// In text, and in JSON too for `CEL`.
    pub text: Vec<u8>,
    /// In JSON for `TYPED_CEL`.
    pub json: Json,
}

/// Attributes of Envoy that no sample tells.
const UNTOLD: [&str; 12] = [
    "request.headers_bytes",
    "request.total_size",
    "response.flags",
    "response.headers_bytes",
    "response.total_size",
    "upstream.locality",
    "upstream.num_endpoints",
    "xds.listener_direction",
    "xds.node",
    "xds.upstream_host_locality_metadata",
    "xds.virtual_host_name",
    "metadata.typed_filter_metadata",
];

/// Functions beside the operators that the crate evaluates as Envoy does.
const EVALUATED: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "double",
    "duration",
    "timestamp",
    "getFullYear",
    "getMonth",
    "getHours",
    "getMinutes",
];

/// Evaluates an expression. `Ok(None)`: it is an error for this sample, and nothing is printed.
///
/// # Errors
/// Where it reads an attribute that no sample tells, or calls a function or gives a type that only Envoy knows.
pub(super) fn evaluate(proxied: Proxied<'_>, expression: &str) -> Result<Option<Printed>, ()> {
    let Ok(parsed) = cel::parse(expression) else {
        return Ok(None);
    };
    let mut read = Read::default();
    read.look_at(parsed.expression());
    if read.calls_others || UNTOLD.into_iter().any(|untold| read.is_read(untold)) {
        return Err(());
    }
    let mut context = Context::default();
    for (root, members) in attributes(proxied, &read) {
        context.add_variable_from_value(root, map(members));
    }
    let expression = as_envoy_reads(parsed.expression(), &context);
    match Cel::resolve(&expression, &context) {
        Ok(value) => printed(&value).map(Some).ok_or(()),
        Err(_) => Ok(None),
    }
}

/// The expression with its parts replaced that Envoy evaluates otherwise than the crate: it does not join texts or lists by
/// `+`, and counts characters, not bytes.
fn as_envoy_reads(part: &IdedExpr, context: &Context<'_>) -> IdedExpr {
    let mut read = part.clone();
    match &mut read.expr {
        Expr::Select(select) => *select.operand = as_envoy_reads(&select.operand, context),
        Expr::List(list) => {
            for element in &mut list.elements {
                *element = as_envoy_reads(element, context);
            }
        }
        Expr::Call(call) => {
            for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                *part = as_envoy_reads(part, context);
            }
            let first = call.target.as_deref().or(call.args.first());
            let value = first.and_then(|first| Cel::resolve(first, context).ok());
            let replaced = match (call.func_name.as_str(), value) {
                // Nothing has this name: an error, in this part alone.
                ("_+_", Some(Cel::String(_) | Cel::Bytes(_) | Cel::List(_))) => Some(Expr::Ident("+".to_owned())),
                ("size", Some(Cel::String(text))) => {
                    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                    Some(Expr::Literal(LiteralValue::Int(length.into())))
                }
                _ => None,
            };
            if let Some(replaced) = replaced {
                read.expr = replaced;
            }
        }
        _ => {}
    }
    read
}

/// What an expression reads.
#[derive(Default)]
struct Read {
    /// `request.path`, for `request['path']` too.
    attributes: Vec<String>,
    /// The first parts of them, each once.
    roots: BTreeSet<String>,
    /// Its string literals and fields: names of headers are among them.
    texts: Vec<String>,
    /// Whether it calls a function beside [`EVALUATED`].
    calls_others: bool,
}

impl Read {
    fn is_read(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|read| read == attribute)
    }

    fn look_at(&mut self, part: &IdedExpr) {
        match &part.expr {
            Expr::Select(select) => {
                if let Expr::Ident(root) = &select.operand.expr {
                    self.attributes.push(format!("{root}.{}", select.field));
                }
                self.texts.push(select.field.clone());
                self.look_at(&select.operand);
            }
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
                self.calls_others |= !is_operator && !EVALUATED.contains(&name);
                if let [of, key] = call.args.as_slice()
                    && let (Expr::Ident(root), Some(key)) = (&of.expr, cel::literal_text(key))
                {
                    self.attributes.push(format!("{root}.{key}"));
                }
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.look_at(part);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.look_at(element)),
            Expr::Ident(name) => {
                self.roots.insert(name.clone());
            }
            Expr::Literal(LiteralValue::String(text)) => self.texts.push(text.inner().to_owned()),
            // Envoy takes no expression with the others.
            _ => {}
        }
    }
}

/// The first Envoy for which a TCP connection has no path and no query; those before take them for empty.
const FIRST_WITHOUT_PATH_ON_TCP: EnvoyVersion = EnvoyVersion::new(1, 37);

type Members = Vec<(String, Option<Cel>)>;

fn map(members: Members) -> Cel {
    let told = members
        .into_iter()
        .filter_map(|(name, value)| Some((key(&name), value?)));
    Cel::Map(Map {
        map: told.collect::<HashMap<_, _>>().into(),
    })
}

fn key(name: &str) -> Key {
    Key::String(name.to_owned().into())
}

fn text(text: &str) -> Cel {
    Cel::String(text.to_owned().into())
}

fn unless_empty(value: &str) -> Option<Cel> {
    (!value.is_empty()).then(|| text(value))
}

fn int(number: u64) -> Cel {
    Cel::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A value that only a function of CEL makes.
fn call(function: &str, argument: &str) -> Option<Cel> {
    let program = Program::compile(&format!("{function}('{argument}')")).ok()?;
    program.execute(&Context::default()).ok()
}

fn duration(of: Millis) -> Option<Cel> {
    call("duration", &format!("{}ns", of.nanos()))
}

fn members<const N: usize>(members: [(&str, Option<Cel>); N]) -> Members {
    members.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The attributes that an expression may read, by their first part.
fn attributes(proxied: Proxied<'_>, read: &Read) -> Vec<(String, Members)> {
    let roots = read.roots.iter();
    roots
        .filter_map(|root| Some((root.clone(), of_root(root, proxied, read)?)))
        .collect()
}

fn of_root(root: &str, proxied: Proxied<'_>, read: &Read) -> Option<Members> {
    let Proxied { sample, .. } = proxied;
    let times = &sample.times;
    let connection = &sample.connection;
    let upstream = sample.upstream.as_ref();
    let address = |of: Option<&Address>| {
        members([
            ("address", of.map(|of| text(of.text()))),
            ("port", of.and_then(Address::port).map(|port| Cel::Int(port.into()))),
        ])
    };
    Some(match root {
        "request" => {
            let mut all = members([
                (
                    "time",
                    read.is_read("request.time")
                        .then(|| call("timestamp", &times.start.to_string()))
                        .flatten(),
                ),
                (
                    "duration",
                    read.is_read("request.duration")
                        .then(|| duration(times.duration))
                        .flatten(),
                ),
                ("size", Some(int(sample.bytes_received))),
                ("headers", Some(map(Vec::new()))),
            ]);
            match &sample.request {
                Some(request) => all.extend(of_request(request, &read.texts)),
                None if proxied.version < FIRST_WITHOUT_PATH_ON_TCP => {
                    all.extend(members([("url_path", Some(text(""))), ("query", Some(text("")))]));
                }
                None => {}
            }
            all
        }
        "response" => {
            let mut all = members([
                ("size", Some(int(sample.bytes_sent))),
                ("headers", Some(map(Vec::new()))),
                ("trailers", Some(map(Vec::new()))),
            ]);
            all.extend(
                sample
                    .response
                    .iter()
                    .flat_map(|response| of_response(response, &read.texts)),
            );
            if read.is_read("response.backend_latency") && sample.request.is_some() {
                let began = times.points.get("US_TX_BEG").zip(times.points.get("US_RX_END"));
                let latency = began.map(|(start, end)| Millis(end.0 - start.0));
                all.push(("backend_latency".to_owned(), latency.and_then(duration)));
            }
            all
        }
        "connection" => {
            let failure = connection.transport_failure.as_deref();
            let mut all = members([
                ("id", Some(Cel::UInt(connection.id))),
                ("mtls", Some(Cel::Bool(connection.tls.as_ref().is_some_and(is_mutual)))),
                ("requested_server_name", Some(text(&connection.server_name))),
                (
                    "termination_details",
                    connection.termination_details.as_deref().map(text),
                ),
                ("transport_failure_reason", failure.and_then(unless_empty)),
            ]);
            all.extend(connection.tls.iter().flat_map(of_tls));
            all
        }
        "source" => address(connection.remote_address.as_ref()),
        "destination" => address(connection.local_address.as_ref()),
        "upstream" => {
            let mut all = members([("request_attempt_count", Some(Cel::UInt(sample.attempts)))]);
            all.extend(
                upstream
                    .iter()
                    .flat_map(|upstream| of_upstream(upstream, proxied, read)),
            );
            all
        }
        "metadata" => members([("filter_metadata", Some(metadata(&sample.metadata)))]),
        "filter_state" => of_filter_state(&sample.filter_state),
        "upstream_filter_state" => upstream
            .map(|upstream| of_filter_state(&upstream.filter_state))
            .unwrap_or_default(),
        "xds" => of_xds(proxied),
        _ => return None,
    })
}

fn of_request(request: &Request, texts: &[String]) -> Members {
    let header = |name: &str| first(&request.headers, name).and_then(unless_empty);
    let path = Some(&request.path).filter(|path| !path.is_empty());
    let pseudo = [
        (":method", &request.method),
        (":path", &request.path),
        (":authority", &request.authority),
        (":scheme", &request.scheme),
    ];
    // `host` is the authority too, for who asks for it.
    let host = texts
        .iter()
        .any(|text| text.eq_ignore_ascii_case("host"))
        .then_some(("host", &request.authority));
    let pseudo = pseudo.into_iter().chain(host).filter(|(_, value)| !value.is_empty());
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.clone()));
    members([
        ("path", path.map(|path| text(path))),
        (
            "url_path",
            path.map(|path| text(&String::from_utf8_lossy(http::without_query(path.as_bytes())))),
        ),
        ("query", path.map(|path| text(http::query(path).unwrap_or_default()))),
        ("host", unless_empty(&request.authority)),
        ("scheme", unless_empty(&request.scheme)),
        ("method", unless_empty(&request.method)),
        ("headers", Some(headers(pseudo, &request.headers, texts))),
        ("referer", header("referer")),
        ("useragent", header("user-agent")),
        (
            "size",
            first(&request.headers, "content-length")
                .and_then(|size| size.parse().ok())
                .map(Cel::Int),
        ),
        ("id", header("x-request-id")),
        ("protocol", unless_empty(&request.protocol)),
    ])
}

fn of_response(response: &Response, texts: &[String]) -> Members {
    let code = Some(response.code).filter(|code| *code > 0);
    let status = code.map(|code| (":status".to_owned(), code.to_string()));
    let given = first(&response.trailers, "grpc-status").or_else(|| first(&response.headers, "grpc-status"));
    let given = given.map(|given| http::grpc_status(given.as_bytes()));
    let grpc = given.or_else(|| Some(http::grpc_status_of_http(response.code)).filter(|_| code.is_some()));
    members([
        ("code", code.map(|code| Cel::Int(code.into()))),
        ("code_details", response.details.as_deref().map(text)),
        ("grpc_status", grpc.map(Cel::Int)),
        ("headers", Some(headers(status.into_iter(), &response.headers, texts))),
        ("trailers", Some(headers(std::iter::empty(), &response.trailers, texts))),
    ])
}

fn of_upstream(upstream: &Upstream, proxied: Proxied<'_>, read: &Read) -> Members {
    let host = upstream.host.as_ref();
    let mut all = members([
        ("address", host.map(|host| text(host.text()))),
        ("port", host.and_then(Address::port).map(|port| Cel::Int(port.into()))),
        (
            "local_address",
            upstream.local_address.as_ref().map(|address| text(address.text())),
        ),
        (
            "transport_failure_reason",
            Some(text(upstream.transport_failure.as_deref().unwrap_or_default())),
        ),
    ]);
    if read.is_read("upstream.cx_pool_ready_duration") {
        let ready = proxied.sample.times.pool_ready.and_then(duration);
        all.push(("cx_pool_ready_duration".to_owned(), ready));
    }
    all.extend(upstream.tls.iter().flat_map(of_tls));
    all
}

fn of_xds(proxied: Proxied<'_>) -> Members {
    let Proxied { sample, .. } = proxied;
    let route = sample.route.as_ref();
    let of = |name: &str| {
        let found = proxied.metadata(name);
        found.map(|found| map(vec![("filter_metadata".to_owned(), Some(metadata(found)))]))
    };
    members([
        (
            "cluster_name",
            sample.cluster.as_ref().map(|cluster| text(&cluster.name)),
        ),
        ("cluster_metadata", of("CLUSTER")),
        ("route_name", route.map(|route| text(&route.name))),
        ("route_metadata", of("ROUTE")),
        ("virtual_host_metadata", of("VIRTUAL_HOST")),
        ("upstream_host_metadata", of("UPSTREAM_HOST")),
        ("listener_metadata", of("LISTENER")),
        (
            "filter_chain_name",
            Some(text(sample.connection.filter_chain.as_deref().unwrap_or_default())),
        ),
    ])
}

const fn is_mutual(tls: &Tls) -> bool {
    !tls.peer.subject.is_empty() || !tls.peer.fingerprint_256.is_empty()
}

fn of_tls(tls: &Tls) -> Members {
    let first = |sans: &[String]| sans.first().map(|san| text(san));
    let of = |certificate: &Certificate, name: &str| {
        let member = |what: &str| what.replace("{}", name);
        vec![
            (member("subject_{}_certificate"), unless_empty(&certificate.subject)),
            (member("dns_san_{}_certificate"), first(&certificate.dns_sans)),
            (member("uri_san_{}_certificate"), first(&certificate.uri_sans)),
        ]
    };
    let mut all = members([
        ("tls_version", Some(text(&tls.version))),
        (
            "sha256_peer_certificate_digest",
            unless_empty(&tls.peer.fingerprint_256),
        ),
        ("peer_certificate", unless_empty(&tls.peer.pem)),
    ]);
    all.extend(of(&tls.peer, "peer"));
    all.extend(of(&tls.local, "local"));
    all
}

fn of_filter_state(objects: &BTreeMap<String, FilterState>) -> Members {
    let plain = objects.iter();
    plain
        .map(|(key, object)| (key.clone(), object.plain.as_deref().map(text)))
        .collect()
}

fn metadata(of: &Metadata) -> Cel {
    let namespaces = of.iter();
    map(namespaces
        .map(|(name, values)| (name.clone(), Some(from_json(&Json::Object(values.clone())))))
        .collect())
}

/// As a message of protobuf's `Struct` is read: all numbers are doubles.
fn from_json(value: &Json) -> Cel {
    match value {
        Json::Null => Cel::Null,
        Json::Bool(truth) => Cel::Bool(*truth),
        Json::Number(number) => Cel::Float(number.as_f64().unwrap_or_default()),
        Json::String(value) => text(value),
        Json::Array(items) => Cel::List(items.iter().map(from_json).collect::<Vec<_>>().into()),
        Json::Object(entries) => map(entries
            .iter()
            .map(|(name, value)| (name.clone(), Some(from_json(value))))
            .collect()),
    }
}

fn first<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    let (_, value) = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
    value.values().first().map(String::as_str)
}

/// Headers are found by their names in any case: an entry for each way in which the expression writes one.
fn headers(pseudo: impl Iterator<Item = (String, String)>, of: &Headers, texts: &[String]) -> Cel {
    let joined = |value: &HeaderValue| value.values().join(",");
    let all = pseudo.chain(
        of.iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), joined(value))),
    );
    map(all
        .flat_map(|(name, value)| {
            let written = texts.iter().filter(|text| text.eq_ignore_ascii_case(&name));
            let names: Vec<String> = written.cloned().chain([name.clone()]).collect();
            names.into_iter().map(move |name| (name, Some(text(&value))))
        })
        .collect())
}

/// `None` for bytes and other types that only look like text.
fn printed(value: &Cel) -> Option<Printed> {
    let printed = |text: String, json: Json| {
        Some(Printed {
            text: text.into_bytes(),
            json,
        })
    };
    match value {
        Cel::Bool(truth) => printed(truth.to_string(), json!(truth)),
        Cel::Int(number) => printed(number.to_string(), json!(number)),
        Cel::UInt(number) => printed(number.to_string(), json!(number)),
        Cel::Float(number) => printed(
            six_digits(*number),
            Number::from_f64(*number).map_or(Json::Null, Json::Number),
        ),
        Cel::String(text) => printed(text.to_string(), json!(text.as_str())),
        Cel::Null => printed("NULL".to_owned(), Json::Null),
        Cel::Duration(span) => {
            let nanos = span.num_nanoseconds()?;
            printed(duration_text(nanos), json!(seconds_text(nanos)))
        }
        Cel::Timestamp(at) => {
            let nanos = at.timestamp_nanos_opt()?;
            let at = jiff::Timestamp::from_nanosecond(nanos.into()).ok()?;
            printed(time::utc(at, "%Y-%m-%dT%H:%M:%E*S%Ez"), json!(instant_text(at, nanos)))
        }
        Cel::List(_) => printed("CelList value".to_owned(), to_json(value)),
        Cel::Map(_) => printed("CelMap value".to_owned(), to_json(value)),
        _ => None,
    }
}

fn to_json(value: &Cel) -> Json {
    match value {
        Cel::List(items) => items.iter().map(to_json).collect(),
        Cel::Map(Map { map }) => {
            let entries = map.iter();
            entries.map(|(key, value)| (key.to_string(), to_json(value))).collect()
        }
        other => printed(other).map_or(Json::Null, |printed| printed.json),
    }
}

/// As C's `%g`: at most six digits.
fn six_digits(number: f64) -> String {
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trimmed = |text: &str| {
        let has_decimals = text.contains('.');
        let without = text.trim_end_matches('0').trim_end_matches('.');
        if has_decimals { without } else { text }.to_owned()
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or_default();
        return trimmed(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

/// As Abseil writes a span of time: `1h2m3.5s`, and below a second `1.5ms`, `10us`, `7ns`.
fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let whole = nanos.unsigned_abs();
    let (number, unit) = match whole {
        0 => return "0".to_owned(),
        1..1_000 => (whole.to_string(), "ns"),
        1_000..1_000_000 => (decimal(whole, 3), "us"),
        1_000_000..1_000_000_000 => (decimal(whole, 6), "ms"),
        _ => {
            let (minutes, rest) = (whole / 60_000_000_000, whole % 60_000_000_000);
            let part = |number: u64, unit: &str| {
                if number > 0 {
                    format!("{number}{unit}")
                } else {
                    String::new()
                }
            };
            let seconds = if rest > 0 {
                decimal(rest, 9) + "s"
            } else {
                String::new()
            };
            return format!("{sign}{}{}{seconds}", part(minutes / 60, "h"), part(minutes % 60, "m"));
        }
    };
    format!("{sign}{number}{unit}")
}

/// As protobuf writes a span of time in JSON.
fn seconds_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let whole = nanos.unsigned_abs();
    format!("{sign}{}{}s", whole / 1_000_000_000, fraction(whole % 1_000_000_000))
}

/// As protobuf writes a moment in JSON.
fn instant_text(at: jiff::Timestamp, nanos: i64) -> String {
    let fraction = fraction(nanos.rem_euclid(1_000_000_000).unsigned_abs());
    format!("{}{fraction}Z", time::utc(at, "%Y-%m-%dT%H:%M:%S"))
}

/// The nanoseconds of a second: no decimals, or three, six or nine.
fn fraction(nanos: u64) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    }
}

/// A number with that many decimals, without the zeros at its end.
fn decimal(number: u64, decimals: usize) -> String {
    let digits = format!("{number:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}
