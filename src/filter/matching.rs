//! From typed properties to CEL.

use std::time::Duration;

use super::error::{FilterError, Kind};
use super::{HTTP_ONLY, TCP_ONLY, flags};

/// What is logged, by typed properties. All that are given must hold; of a list, one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// HTTP: the least response status, 100 to 599. A request without a response (its client went away) has none.
    pub min_status: Option<u16>,
    /// HTTP and TCP: the least duration of the request or connection.
    pub min_duration: Option<Duration>,
    /// HTTP: methods, in upper case as they are sent.
    pub methods: Vec<String>,
    /// HTTP: hosts (`:authority`, or `Host`) without port, in any case: a name, `*.` and a name (any number of labels in
    /// front of it, at least one), or an address. The port that a request names does not matter.
    pub hosts: Vec<String>,
    /// HTTP: path prefixes by segment: `/api` is `/api` and `/api/x`, with any query, but not `/apix`. The path is the
    /// one that a route may have rewritten.
    pub path_prefixes: Vec<String>,
    /// HTTP and TCP: short names of response flags, such as `UF`.
    pub response_flags: Vec<String>,
    /// Log TCP connections too. HTTP properties are then not asked of them, the others are.
    pub include_tcp: bool,
}

/// The longest duration that CEL can compare with, in seconds: about 10000 years.
const MAX_SECONDS: u64 = 315_576_000_000;

/// Renders a typed match to CEL.
///
/// | | HTTP request | TCP connection |
/// | --- | --- | --- |
/// | without `include_tcp` | all properties hold | never |
/// | with `include_tcp` | all properties hold | `min_duration` and `response_flags` hold, where given |
///
/// So with `include_tcp` and properties of HTTP alone every TCP connection is logged. On TCP the expression is false or
/// true, never an error.
///
/// # Errors
///
/// A match without a property, and a value that no request can have.
pub fn from_match(properties: &Match) -> Result<String, FilterError> {
    let http = of_http(properties)?;
    let any = of_any(properties)?;
    let (http, any) = (http.join(" && "), any.join(" && "));
    let all = |conditions: [&str; 3]| {
        let given: Vec<&str> = conditions.into_iter().filter(|one| !one.is_empty()).collect();
        given.join(" && ")
    };
    Ok(match (http.is_empty(), any.is_empty(), properties.include_tcp) {
        (true, true, _) => {
            return Err(FilterError::whole(
                Kind::Empty,
                "the match has no property; give one, or leave the filter out to log everything",
            ));
        }
        (_, _, false) => all([HTTP_ONLY, &http, &any]),
        (true, false, true) => any,
        (false, true, true) => format!("{TCP_ONLY} || {http}"),
        (false, false, true) => format!("({TCP_ONLY} || {http}) && {any}"),
    })
}

/// The conditions that only HTTP can meet.
fn of_http(properties: &Match) -> Result<Vec<String>, FilterError> {
    let mut conditions = Vec::new();
    if let Some(status) = properties.min_status {
        if !(100..600).contains(&status) {
            return Err(property(&format!("no response has status {status}; write 100 to 599")));
        }
        conditions.push(format!("response.code >= {status}"));
    }
    if !properties.methods.is_empty() {
        let methods = each(&properties.methods, |method| checked_method(method).map(literal))?;
        conditions.push(format!("request.method in [{}]", methods.join(", ")));
    }
    if !properties.hosts.is_empty() {
        conditions.push(any_of(&each(&properties.hosts, is_host)?));
    }
    if !properties.path_prefixes.is_empty() {
        conditions.push(any_of(&each(&properties.path_prefixes, under)?));
    }
    Ok(conditions)
}

/// The conditions that TCP can meet too.
fn of_any(properties: &Match) -> Result<Vec<String>, FilterError> {
    let mut conditions = Vec::new();
    if let Some(least) = properties.min_duration {
        if least.as_secs() >= MAX_SECONDS {
            return Err(property("the duration is longer than 10000 years; write a shorter one"));
        }
        conditions.push(format!("request.duration >= duration({})", literal(&seconds(least))));
    }
    if !properties.response_flags.is_empty() {
        conditions.push(any_of(&each(&properties.response_flags, flags::is_set)?));
    }
    Ok(conditions)
}

fn property(message: &str) -> FilterError {
    FilterError::whole(Kind::Property, message)
}

fn each<T>(values: &[String], render: impl Fn(&str) -> Result<T, FilterError>) -> Result<Vec<T>, FilterError> {
    values.iter().map(|value| render(value)).collect()
}

fn any_of(conditions: &[String]) -> String {
    format!("({})", conditions.join(" || "))
}

/// A duration as CEL reads it, exact to the nanosecond: `0.5s`.
fn seconds(duration: Duration) -> String {
    let nanoseconds = format!("{:09}", duration.subsec_nanos());
    match nanoseconds.trim_end_matches('0') {
        "" => format!("{}s", duration.as_secs()),
        fraction => format!("{}.{fraction}s", duration.as_secs()),
    }
}

/// A CEL string literal of the text.
pub(super) fn literal(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Methods that are known; in another case they would be other methods.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

fn checked_method(method: &str) -> Result<&str, FilterError> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if method.is_empty() || !method.chars().all(is_token) {
        return Err(property(&format!(
            "`{method}` is no HTTP method; write one such as GET"
        )));
    }
    let upper = method.to_ascii_uppercase();
    if method != upper && METHODS.contains(&upper.as_str()) {
        return Err(property(&format!(
            "methods are case-sensitive: no request has `{method}`; write {upper}"
        )));
    }
    Ok(method)
}

/// The host, in any case and with any port. Envoy refuses regular expressions with more than 100 instructions
/// (`crate::cel::re2`), so long names are asked for piece by piece, the first from the start and the last to the end.
/// That takes names too that have more between two pieces; nobody has those.
fn is_host(host: &str) -> Result<String, FilterError> {
    let (labels, name) = checked_host(host)?;
    let pieces = pieces(name);
    let last = pieces.len().saturating_sub(1);
    let conditions: Vec<String> = pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            let start = if at == 0 { format!("^{labels}") } else { String::new() };
            let end = if at == last { r"\.?(?::[0-9]+)?$" } else { "" };
            let pattern = format!("{start}(?i:{}){end}", regex::escape(piece));
            format!("request.host.matches({})", literal(&pattern))
        })
        .collect();
    Ok(conditions.join(" && "))
}

/// The instructions of a piece of a host, so that there is room for what stands around it.
const PIECE_SIZE: usize = 70;

/// The name in pieces that are small enough for a regular expression.
fn pieces(name: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut size = 0;
    for c in name.chars() {
        // In any case, `k` is the Kelvin sign too, and `s` the long s.
        let instructions = match c.to_ascii_lowercase() {
            'k' => 4,
            's' => 3,
            _ => 1,
        };
        if size + instructions > PIECE_SIZE {
            pieces.push(String::new());
            size = 0;
        }
        size += instructions;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

/// A pattern for the labels that a host may have in front, and the name behind them.
fn checked_host(host: &str) -> Result<(&'static str, &str), FilterError> {
    let refused = |hint: &str| Err(property(&format!("`{host}` is no host; {hint}")));
    let (labels, name) = match host.strip_prefix("*.") {
        Some(name) => (r"[-.\w]+\.", name),
        None => ("", host),
    };
    let is_name = |name: &str| {
        let in_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        name.split('.')
            .all(|label| !label.is_empty() && label.chars().all(in_label))
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = labels.is_empty() && address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
    if name.len() > MAX_HOST {
        return refused("no name has more than 253 characters");
    }
    if is_name(name) || is_address {
        return Ok((labels, name));
    }
    match name.rsplit_once(':') {
        Some((before, port)) if is_name(before) && port.bytes().all(|b| b.is_ascii_digit()) => {
            refused("leave the port out: all ports match")
        }
        _ => refused("write a name such as shop.example.com, *.example.com, or an address such as [::1]"),
    }
}

/// The most characters of a host: DNS has no longer names.
const MAX_HOST: usize = 253;

/// Whether the path is the prefix or below it. `request.url_path` has no query.
fn under(prefix: &str) -> Result<String, FilterError> {
    let refused = |why: &str| Err(property(&format!("`{prefix}` is no path prefix: {why}")));
    if !prefix.starts_with('/') {
        return refused("paths start with a slash; write one such as /api");
    }
    if prefix.contains(['?', '#']) {
        return refused("the query is not matched; leave out what follows `?` or `#`");
    }
    if prefix.chars().any(|c| c.is_control() || c == ' ' || c == '\\') {
        return refused("no path has blanks, backslashes or control characters; percent-encode them");
    }
    let path = prefix.trim_end_matches('/');
    let below = format!("request.url_path.startsWith({})", literal(&format!("{path}/")));
    Ok(if path.is_empty() {
        below
    } else {
        format!("request.url_path == {} || {below}", literal(path))
    })
}
