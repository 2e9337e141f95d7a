//! Filters made by chance: conditions on Envoy's attributes that often mean something, and sometimes nothing.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// The kinds of values that parts are made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Int,
    Uint,
    Duration,
    Time,
    Bool,
    Any,
}

const KINDS: [Kind; 7] = [
    Kind::Text,
    Kind::Int,
    Kind::Uint,
    Kind::Duration,
    Kind::Time,
    Kind::Bool,
    Kind::Any,
];

const TEXTS: &[&str] = &[
    "request.method",
    "request.path",
    "request.url_path",
    "request.query",
    "request.host",
    "request.scheme",
    "request.protocol",
    "request.id",
    "request.useragent",
    "request.referer",
    "request.headers['x-name']",
    "request.headers['X-Name']",
    "request.headers['x-none']",
    "request.headers.accept",
    "response.headers['x-answer']",
    "response.code_details",
    "connection.requested_server_name",
    "connection.tls_version",
    "connection.termination_details",
    "source.address",
    "destination.address",
    "upstream.address",
    "upstream.locality.region",
    "upstream.transport_failure_reason",
    "xds.cluster_name",
    "xds.route_name",
    "xds.virtual_host_name",
    "xds.filter_chain_name",
    "xds.node.id",
    "xds.node.locality.zone",
];
const INTS: &[&str] = &[
    "response.code",
    "response.flags",
    "response.grpc_status",
    "response.size",
    "response.total_size",
    "request.size",
    "request.total_size",
    "request.headers_bytes",
    "source.port",
    "destination.port",
    "upstream.port",
    "xds.listener_direction",
];
const UINTS: &[&str] = &[
    "connection.id",
    "upstream.num_endpoints",
    "upstream.request_attempt_count",
];
const DURATIONS: &[&str] = &[
    "request.duration",
    "response.backend_latency",
    "upstream.cx_pool_ready_duration",
];
const ANYTHING: &[&str] = &[
    "metadata",
    "metadata.filter_metadata",
    "metadata.filter_metadata['test']",
    "metadata.filter_metadata['test']['text']",
    "metadata.filter_metadata.test.number",
    "metadata.filter_metadata.test.yes",
    "metadata.filter_metadata['none'].x",
    "metadata['filter_metadata']",
    "filter_state['test.key']",
    "filter_state.none",
    "upstream_filter_state",
    "request",
    "response.trailers",
    "request.headers",
    "request.foo",
    "request['path']",
    "request[1]",
    "foo",
    "foo.bar",
    "plugin_name",
    "xds",
    "xds.node",
    "xds.node.foo",
    "xds.node['id']",
    "xds.node.metadata.a.b",
    "xds.node.extensions",
    "xds.node.user_agent_build_version",
    "xds.route_metadata.filter_metadata.test.text",
    "xds.upstream_host_metadata",
    "xds.upstream_host_locality_metadata",
    "null",
    "[]",
    "[1, 'a']",
    "{}",
    "{'a': 1}",
    "{'a': true}.a",
    "[true, 1][0]",
    "int",
    "b'a'",
    "1.5",
    "1 / 0",
];
const FIELDS: &[&str] = &[
    "request.method",
    "request.foo",
    "request.headers.accept",
    "request.headers_bytes",
    "response.code",
    "response.trailers",
    "request.method.x",
    "connection.tls_version",
    "connection.mtls",
    "metadata.filter_metadata",
    "metadata.filter_metadata.test",
    "metadata.filter_metadata.none.x",
    "metadata.foo",
    "filter_state.none",
    "xds.route_name",
    "xds.route_metadata.filter_metadata",
    "xds.node.id",
    "xds.node.foo",
    "foo.bar",
    "upstream.locality.zone",
];
const WORDS: &[&str] = &[
    "",
    "GET",
    "POST",
    "a",
    "/api",
    "/api/x",
    "HTTP/1.1",
    "HTTP/2",
    "HTTP/2.0",
    "joe",
    "yes",
    "http",
    "up",
    "rt",
    "via_upstream",
    "words",
    "127.0.0.1",
    "shop.example.com:80",
    "5",
    "1s",
];
const NUMBERS: &[i64] = &[-1, 0, 1, 2, 3, 80, 200, 399, 400, 404, 500, 65_535, 65_536, i64::MAX];
const SPANS: &[&str] = &["0s", "-1s", "1ns", "500ms", "5m", "1.5h"];
const PATTERNS: &[&str] = &["^/api", "[a-z]+$", "GET|POST", ".*", "^$", r"\\d+", "(?i)get"];

/// Makes expressions.
pub struct Expressions(StdRng);

impl Expressions {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn one_of(&mut self, choices: &'static [&'static str]) -> String {
        choices.choose(&mut self.0).copied().unwrap().to_owned()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// A condition, of parts in parts as deep as `depth`.
    pub fn condition(&mut self, depth: u32) -> String {
        let below = depth.saturating_sub(1);
        match self.0.random_range(0..if depth == 0 { 8 } else { 14 }) {
            0..=2 | 7 => self.comparison(below),
            3 => self.of_text(below),
            4 => self.is_in(below),
            5 => format!("has({})", self.one_of(FIELDS)),
            6 if self.chance(50) => self.value(Kind::Bool, below),
            6 => self.range(),
            8 => format!("!({})", self.condition(below)),
            9 | 10 => format!("({} && {})", self.condition(below), self.condition(below)),
            11 | 12 => format!("({} || {})", self.condition(below), self.condition(below)),
            _ => format!(
                "({} ? {} : {})",
                self.condition(below),
                self.condition(below),
                self.condition(below)
            ),
        }
    }

    fn comparison(&mut self, depth: u32) -> String {
        let kind = *KINDS.choose(&mut self.0).unwrap();
        let other = if self.chance(12) {
            *KINDS.choose(&mut self.0).unwrap()
        } else {
            kind
        };
        let sign = *["==", "!=", "<", "<=", ">", ">="].choose(&mut self.0).unwrap();
        format!("{} {sign} {}", self.value(kind, depth), self.value(other, depth))
    }

    /// Two conditions on one attribute, which may exclude each other.
    fn range(&mut self) -> String {
        let (kind, attributes) = *[(Kind::Text, TEXTS), (Kind::Int, INTS), (Kind::Duration, DURATIONS)]
            .choose(&mut self.0)
            .unwrap();
        let attribute = self.one_of(attributes);
        let mut half = || {
            let sign = *["==", "!=", "<", "<=", ">", ">="].choose(&mut self.0).unwrap();
            format!("{attribute} {sign} {}", self.literal(kind))
        };
        let (one, other) = (half(), half());
        let joined = if self.chance(60) { "&&" } else { "||" };
        format!("({one} {joined} {other})")
    }

    fn of_text(&mut self, depth: u32) -> String {
        let text = self.value(Kind::Text, depth);
        let name = *["contains", "startsWith", "endsWith", "matches"]
            .choose(&mut self.0)
            .unwrap();
        let with = match name {
            "matches" => format!("'{}'", self.one_of(PATTERNS)),
            _ if self.chance(10) => self.value(Kind::Any, depth),
            _ => self.value(Kind::Text, depth),
        };
        if self.chance(80) {
            format!("{text}.{name}({with})")
        } else {
            format!("{name}({text}, {with})")
        }
    }

    fn is_in(&mut self, depth: u32) -> String {
        let kind = *KINDS.choose(&mut self.0).unwrap();
        let one = self.value(kind, depth);
        if self.chance(20) {
            return format!("{one} in {}", self.one_of(ANYTHING));
        }
        let count = self.0.random_range(0..4);
        let elements: Vec<String> = (0..count)
            .map(|_| {
                let kind = if self.chance(10) { Kind::Any } else { kind };
                self.value(kind, depth)
            })
            .collect();
        format!("{one} in [{}]", elements.join(", "))
    }

    fn literal(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Text => format!("'{}'", self.one_of(WORDS)),
            Kind::Int => NUMBERS.choose(&mut self.0).unwrap().to_string(),
            Kind::Uint => format!("{}u", NUMBERS.choose(&mut self.0).unwrap().unsigned_abs()),
            Kind::Duration => format!("duration('{}')", self.one_of(SPANS)),
            Kind::Time => format!("timestamp({})", NUMBERS.choose(&mut self.0).unwrap().clamp(&0, &500)),
            Kind::Bool => self.chance(50).to_string(),
            Kind::Any => self.one_of(ANYTHING),
        }
    }

    fn value(&mut self, kind: Kind, depth: u32) -> String {
        if depth > 0 && self.chance(20) {
            return self.computed(kind, depth - 1);
        }
        let attributes = match kind {
            _ if self.chance(45) => return self.literal(kind),
            Kind::Text => TEXTS,
            Kind::Int => INTS,
            Kind::Uint => UINTS,
            Kind::Duration => DURATIONS,
            Kind::Time => return "request.time".to_owned(),
            Kind::Bool => return "connection.mtls".to_owned(),
            Kind::Any => ANYTHING,
        };
        self.one_of(attributes)
    }

    fn computed(&mut self, kind: Kind, depth: u32) -> String {
        let sign = *["+", "-", "*", "/", "%"].choose(&mut self.0).unwrap();
        let sum = if self.chance(50) { "+" } else { "-" };
        match kind {
            Kind::Text if self.chance(30) => format!("re.extract({}, '(.*)', r'\\1')", self.value(kind, depth)),
            Kind::Text => format!(
                "({} ? {} : {})",
                self.condition(depth),
                self.value(kind, depth),
                self.value(kind, depth)
            ),
            Kind::Int => match self.0.random_range(0..6) {
                0 => format!("size({})", self.value(Kind::Text, depth)),
                1 => format!("int({})", self.value(Kind::Any, depth)),
                2 => format!(
                    "request.time.{}()",
                    self.one_of(&["getHours", "getMonth", "getDayOfWeek", "getFullYear"])
                ),
                3 => format!("{}.getSeconds()", self.value(Kind::Duration, depth)),
                4 => format!("-({})", self.value(kind, depth)),
                _ => format!("({} {sign} {})", self.value(kind, depth), self.value(kind, depth)),
            },
            Kind::Uint if self.chance(30) => format!("uint({})", self.value(Kind::Int, depth)),
            Kind::Uint => format!("({} {sign} {})", self.value(kind, depth), self.value(kind, depth)),
            Kind::Duration => format!("({} {sum} {})", self.value(kind, depth), self.value(kind, depth)),
            Kind::Time => format!(
                "({} {sum} {})",
                self.value(kind, depth),
                self.value(Kind::Duration, depth)
            ),
            Kind::Bool => format!("({})", self.condition(depth)),
            Kind::Any if self.chance(50) => format!("type({})", self.value(Kind::Any, depth)),
            Kind::Any => {
                let kind = *KINDS.choose(&mut self.0).unwrap();
                format!("dyn({})", self.value(kind, depth))
            }
        }
    }
}
