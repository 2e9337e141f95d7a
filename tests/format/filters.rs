//! What is said of filters beside what real Envoys do with them: whether they take them, and what they log.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sightline::filter::{Doubt, Kind, Match, Verdict as Ours, from_match, judge_foreign};
use sightline::format::{EnvoyVersion, Traffic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::envoy::{Envoy, Release, Verdict, address, filtered_log, verdicts};
use crate::expressions::Expressions;
use crate::generator::Generator;
use crate::harness::found_within;
use crate::record::expressions as recorded;

/// Of what is generated.
const SEED: u64 = 1;
/// Conditions that are made by chance.
const GENERATED: u32 = 800;
/// How long lines may take.
const LINES_LIMIT: Duration = Duration::from_mins(1);
/// The line of a log without a filter.
const END: &str = "end";

/// What chance does not make.
const BY_HAND: &[&str] = &[
    // Values of two kinds are not equal, and that is no error.
    "request.method != 1",
    "!(request.method in [1])",
    "'a' in [1, 'a']",
    // What is no condition stands beside one that decides.
    "request.path || true",
    "1 && false",
    "request.foo == 'x' || true",
    "!has(request.foo)",
    "false ? 1 : true",
    "response.code in {200: 1}",
    // These errors end the evaluation.
    "request.headers.accept.matches('a') || true",
    "true || request.headers.accept.matches('a')",
    "{'a': 1, 'a': 2} == {} || true",
    // The parser here reads two signs as one.
    "!!true",
    "--1 == 1",
    "request.path == 'http://a' && !!true // !",
    // Messages have fields and no keys.
    "xds.node['id'] != ''",
    "metadata['filter_metadata'] != null",
    "'id' in xds.node",
    "metadata.filter_metadata['test']['number'] == 1.5",
    "metadata.filter_metadata['test']['null'] == null",
    "filter_state['test.key'] == b'value'",
    "xds.upstream_host_locality_metadata == null",
    "has(xds.node.locality.region)",
    "size(request) == 0",
    "int(' 5') == 5",
    "duration('1.5s').getMilliseconds() == 500",
    "request.time.getHours('+01:00') >= 0",
    "google.protobuf.Timestamp{seconds: 1} < request.time",
    "request.headers.`x-name` == 'joe'",
    "1e999 > 1.0",
    "request.path == r''''\\f'''",
    "request.path.matches(r'\\p{Greek}')",
    "request.path.matches('a{')",
    "request.path.matches(r'[a&&b]')",
    "request.path.matches('[^/]{12}')",
    "request.path.matches('[^/]{20}')",
    "request.path.matches('[')",
    "has(request.headers_bytes) && request.headers_bytes > 0",
    "!has(request.method) && request.method == 'GET'",
    "response.code >= 500 && response.code < 400",
    "request.method == 'GET' && request.method == 'POST'",
    "request.protocol == 'HTTP/2.0'",
    "response.flags / 32 % 2 == 1 || response.flags / 32 % 2 == 0",
    "request.size > -1 || request.size <= -1",
];

/// The oldest and the newest.
fn two_releases() -> [Release; 2] {
    let all = Release::all();
    [all[0], *all.last().unwrap()]
}

fn is_unchecked(ours: &Ours) -> bool {
    ours.warnings.iter().any(|warning| warning.doubt == Doubt::Unchecked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_envoy_refuses_has_an_error_and_one_that_it_takes_is_not_refused() {
    let mut made = Expressions::new(SEED);
    let mut generator = Generator::new(SEED);
    let mut expressions: Vec<String> = (0..GENERATED).map(|at| made.condition(at % 4)).collect();
    expressions.extend(BY_HAND.iter().map(|one| (*one).to_owned()));
    expressions.extend(recorded().into_iter().step_by(3));
    let mutants: Vec<String> = expressions.iter().step_by(4).map(|one| generator.mutant(one)).collect();
    expressions.extend(mutants);
    expressions.retain(|one| !one.trim().is_empty());
    let logs: Vec<Value> = expressions.iter().map(|one| filtered_log(one)).collect();
    for release in two_releases() {
        let version = release.version().unwrap();
        let said = verdicts(release, &logs).await.unwrap();
        let mut unchecked = 0;
        let mut wrong = Vec::new();
        for (expression, said) in expressions.iter().zip(&said) {
            let ours = judge_foreign(expression, Traffic::Both, version);
            let refused = ours.error.as_ref().is_some_and(|error| error.kind == Kind::Refused);
            unchecked += usize::from(is_unchecked(&ours));
            let agrees = is_unchecked(&ours)
                || match said {
                    Verdict::Accepted => !refused,
                    Verdict::Refused(_) | Verdict::Crashed => ours.error.is_some(),
                };
            if !agrees {
                wrong.push(format!("{} {expression:?}: {said:?}, we {ours:?}", release.name()));
            }
        }
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), expressions.len());
        assert!(unchecked * 20 < expressions.len(), "{unchecked} are not checked");
    }
}

/// What came of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    True,
    False,
    Error,
}

/// What came of each expression for a request, and for a connection.
async fn outcomes(release: Release, expressions: &[String]) -> Vec<[Outcome; 2]> {
    let negated: Vec<String> = expressions.iter().map(|one| format!("!({one}\n)")).collect();
    let logs = |texts: &[String]| texts.iter().map(|one| filtered_log(one)).collect::<Vec<_>>();
    let taken = verdicts(release, &logs(expressions)).await.unwrap();
    let taken_negated = verdicts(release, &logs(&negated)).await.unwrap();
    let server = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let logs = |name: &str| -> Vec<Value> {
        let path = folder.path().join(name);
        let log = |text: String, filter: Option<&String>| {
            let mut log = filtered_log(filter.map_or("true", |filter| filter));
            log["typed_config"]["path"] = json!(path);
            log["typed_config"]["log_format"] = json!({"text_format_source": {"inline_string": format!("{text}\n")}});
            log
        };
        let mut all = Vec::new();
        for at in 0..expressions.len() {
            if taken[at].is_accepted() {
                all.push(log(format!("{at}"), Some(&expressions[at])));
                if taken_negated[at].is_accepted() {
                    all.push(log(format!("-{at}"), Some(&negated[at])));
                }
            }
        }
        all.push(log(END.to_owned(), None));
        all
    };
    let envoy = Envoy::start(release, bootstrap(server, &logs("http"), &logs("tcp")))
        .await
        .unwrap();
    let mut lines = Vec::new();
    for name in ["http", "tcp"] {
        request(envoy.listener(name).await.unwrap()).await;
        let look = || {
            let text = fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            let lines: HashSet<String> = text.lines().map(str::to_owned).collect();
            let is_whole = lines.contains(END);
            is_whole
                .then_some(lines)
                .ok_or_else(|| format!("{} logs nothing on {name}", release.name()))
        };
        lines.push(found_within(LINES_LIMIT, look).await);
    }
    let outcome = |at: usize, lines: &HashSet<String>| match () {
        () if !taken[at].is_accepted() => Outcome::Refused,
        () if lines.contains(&at.to_string()) => Outcome::True,
        () if lines.contains(&format!("-{at}")) => Outcome::False,
        () => Outcome::Error,
    };
    (0..expressions.len())
        .map(|at| [outcome(at, &lines[0]), outcome(at, &lines[1])])
        .collect()
}

/// A server that answers each request with 200 and closes the connection.
async fn serve() -> std::net::SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let mut read = Vec::new();
                let mut part = [0; 1024];
                while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut part).await {
                        Ok(count) if count > 0 => read.extend_from_slice(&part[..count]),
                        _ => return,
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\nx-answer: yes\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                // Whoever asked may be gone.
                let _ = stream.write_all(answer).await;
            });
        }
    });
    at
}

/// One request, up to the end of the connection.
async fn request(to: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let lines = "GET /api/x?a=b HTTP/1.1\r\nhost: shop.example.com:80\r\nx-name: joe\r\nconnection: close\r\n\r\n";
    stream.write_all(lines.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

fn bootstrap(server: std::net::SocketAddr, http: &[Value], tcp: &[Value]) -> Value {
    let metadata = json!({"filter_metadata": {"test": {
        "text": "words", "number": 1.5, "yes": true, "list": ["a", 1], "null": null,
    }}});
    let set = |kind: &str, config: Value| {
        let mut config = config;
        config["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.{kind}"));
        json!({"name": kind, "typed_config": config})
    };
    let filters = json!([
        set(
            "http.set_metadata.v3.Config",
            json!({"metadata": [{"metadata_namespace": "test", "value": metadata["filter_metadata"]["test"]}]}),
        ),
        set(
            "http.set_filter_state.v3.Config",
            json!({"on_request_headers": [{
                "object_key": "test.key",
                "factory_key": "envoy.string",
                "format_string": {"text_format_source": {"inline_string": "value"}},
            }]}),
        ),
        set("http.router.v3.Router", json!({})),
    ]);
    let routes = json!({"virtual_hosts": [{
        "name": "vh", "domains": ["*"], "metadata": metadata,
        "routes": [{"name": "rt", "metadata": metadata, "match": {"prefix": "/"}, "route": {"cluster": "up"}}],
    }]});
    let manager = set(
        "network.http_connection_manager.v3.HttpConnectionManager",
        json!({"stat_prefix": "http", "access_log": http, "http_filters": filters, "route_config": routes}),
    );
    let proxy = set(
        "network.tcp_proxy.v3.TcpProxy",
        json!({"stat_prefix": "tcp", "cluster": "up", "access_log": tcp}),
    );
    let listener = |name: &str, filter: Value| {
        json!({
            "name": name, "address": address(0), "metadata": metadata,
            "filter_chains": [{"name": "chain", "filters": [filter]}],
        })
    };
    json!({
        "node": {"locality": {"region": "r", "zone": "z"}, "metadata": {"a": {"b": 1}}},
        "static_resources": {
            "listeners": [listener("http", manager), listener("tcp", proxy)],
            "clusters": [{
                "name": "up", "type": "STATIC", "metadata": metadata,
                "load_assignment": {"cluster_name": "up", "endpoints": [{
                    "locality": {"region": "up"},
                    "lb_endpoints": [{"metadata": metadata, "endpoint": {"address": address(server.port().into())}}],
                }]},
            }],
        },
    })
}

/// What is wrong about what we say, where the expression came to that.
fn contradiction(ours: &Ours, came: &[Outcome]) -> Option<&'static str> {
    let has = |doubt: Doubt| ours.warnings.iter().any(|warning| warning.doubt == doubt);
    let is_true = came.contains(&Outcome::True);
    match () {
        () if is_unchecked(ours) || came.contains(&Outcome::Refused) => None,
        () if ours.error.is_some() && is_true => Some("an error, and it was true"),
        () if has(Doubt::NeverTrue) && is_true => Some("never true, and it was"),
        () if has(Doubt::AlwaysTrue) && came.iter().any(|one| *one != Outcome::True) => {
            Some("always true, and it was not")
        }
        () if has(Doubt::NeverOnTcp) && came.last() == Some(&Outcome::True) => Some("never true on TCP, and it was"),
        () => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_filter_is_what_it_does_to_a_request_and_a_connection() {
    let mut made = Expressions::new(SEED + 1);
    let mut expressions: Vec<String> = (0..GENERATED).map(|at| made.condition(at % 4)).collect();
    expressions.extend(BY_HAND.iter().map(|one| (*one).to_owned()));
    for release in two_releases() {
        let version = release.version().unwrap();
        let came = outcomes(release, &expressions).await;
        let mut wrong = Vec::new();
        let mut said: [usize; 4] = [0; 4];
        for (expression, came) in expressions.iter().zip(&came) {
            for (traffic, came) in [
                (Traffic::Http, &came[..1]),
                (Traffic::Tcp, &came[1..]),
                (Traffic::Both, &came[..]),
            ] {
                // A filter for HTTP alone says nothing of TCP.
                let ours = judge_foreign(expression, traffic, version);
                let doubts = [Doubt::NeverTrue, Doubt::AlwaysTrue, Doubt::NeverOnTcp];
                said[3] += usize::from(ours.error.is_some());
                for (count, doubt) in said.iter_mut().zip(doubts) {
                    *count += usize::from(ours.warnings.iter().any(|warning| warning.doubt == doubt));
                }
                if let Some(how) = contradiction(&ours, came) {
                    wrong.push(format!(
                        "{} {traffic:?} {expression:?}: {how}: {came:?}",
                        release.name()
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
        assert!(said.iter().all(|count| *count > 50), "too little is said: {said:?}");
    }
}

/// Each property with a value that the request has, or has not; and what it comes to on HTTP, and on TCP with `include_tcp`.
#[allow(clippy::too_many_lines, reason = "a table")]
fn properties() -> Vec<(&'static str, Match, [bool; 2])> {
    let texts = |one: &str| vec![one.to_owned()];
    let all = Match::default;
    let of = |name, properties: Match, http: bool, tcp: bool| (name, properties, [http, tcp]);
    vec![
        of(
            "status",
            Match {
                min_status: Some(200),
                ..all()
            },
            true,
            true,
        ),
        of(
            "other status",
            Match {
                min_status: Some(400),
                ..all()
            },
            false,
            true,
        ),
        of(
            "duration",
            Match {
                min_duration: Some(Duration::ZERO),
                ..all()
            },
            true,
            true,
        ),
        of(
            "longer",
            Match {
                min_duration: Some(Duration::from_hours(1)),
                ..all()
            },
            false,
            false,
        ),
        of(
            "method",
            Match {
                methods: texts("GET"),
                ..all()
            },
            true,
            true,
        ),
        of(
            "other method",
            Match {
                methods: texts("POST"),
                ..all()
            },
            false,
            true,
        ),
        of(
            "host",
            Match {
                hosts: texts("*.Example.com"),
                ..all()
            },
            true,
            true,
        ),
        of(
            "other host",
            Match {
                hosts: texts("example.com"),
                ..all()
            },
            false,
            true,
        ),
        of(
            "path",
            Match {
                path_prefixes: texts("/api"),
                ..all()
            },
            true,
            true,
        ),
        of(
            "other path",
            Match {
                path_prefixes: texts("/ap"),
                ..all()
            },
            false,
            true,
        ),
        of(
            "flags",
            Match {
                response_flags: texts("UF"),
                ..all()
            },
            false,
            false,
        ),
    ]
}

fn joined(a: &Match, b: &Match) -> Match {
    let lists = |a: &[String], b: &[String]| if a.is_empty() { b.to_vec() } else { a.to_vec() };
    Match {
        min_status: a.min_status.or(b.min_status),
        min_duration: a.min_duration.or(b.min_duration),
        methods: lists(&a.methods, &b.methods),
        hosts: lists(&a.hosts, &b.hosts),
        path_prefixes: lists(&a.path_prefixes, &b.path_prefixes),
        response_flags: lists(&a.response_flags, &b.response_flags),
        include_tcp: false,
    }
}

/// The part of a property's name that says which it is.
fn property(name: &str) -> &str {
    match name.rsplit(' ').next() {
        Some("longer") => "duration",
        Some(last) => last,
        None => name,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_logs_what_it_says_and_is_false_or_true_on_tcp_but_never_an_error() {
    let mut cases: Vec<(String, String, [Outcome; 2])> = Vec::new();
    let truth = |holds: bool| if holds { Outcome::True } else { Outcome::False };
    let all = properties();
    for (at, (name, one, holds)) in all.iter().enumerate() {
        for (other_name, other, other_holds) in &all[at..] {
            if name != other_name && property(name) == property(other_name) {
                continue;
            }
            for include_tcp in [false, true] {
                let wanted = Match {
                    include_tcp,
                    ..joined(one, other)
                };
                let http = holds[0] && other_holds[0];
                let tcp = include_tcp && holds[1] && other_holds[1];
                let what = format!("{name} and {other_name}, include_tcp {include_tcp}");
                cases.push((what, from_match(&wanted).unwrap(), [truth(http), truth(tcp)]));
            }
        }
    }
    assert!(cases.len() > 100, "{}", cases.len());
    let expressions: Vec<String> = cases.iter().map(|(_, expression, _)| expression.clone()).collect();
    for release in two_releases() {
        let came = outcomes(release, &expressions).await;
        for ((what, expression, expected), came) in cases.iter().zip(came) {
            assert_eq!(came, *expected, "{} {what}: {expression}", release.name());
            let ours = judge_foreign(expression, Traffic::Both, EnvoyVersion::OLDEST_SUPPORTED);
            assert_eq!(ours.error, None, "{what}");
        }
    }
}

#[test]
fn one_seed_makes_the_same_conditions_again() {
    let of = |seed: u64| {
        let mut made = Expressions::new(seed);
        (0..50).map(|at| made.condition(at % 4)).collect::<Vec<_>>()
    };
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
}
