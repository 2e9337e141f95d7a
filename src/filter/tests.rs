//! The rules of filters as a whole.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cel::literal_text;
use crate::format::Traffic;

const OLDEST: EnvoyVersion = EnvoyVersion::OLDEST_SUPPORTED;

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn refused(expression: &str) -> FilterError {
    check(expression, OLDEST).expect_err(expression)
}

/// A property match with every property, which must pass as an expression too.
fn full() -> Match {
    Match {
        min_status: Some(400),
        min_duration: Some(Duration::from_millis(500)),
        methods: texts(&["GET", "POST"]),
        hosts: texts(&["shop.example.com", "*.example.org"]),
        path_prefixes: texts(&["/api/", "/x"]),
        response_flags: texts(&["UF", "UH"]),
        include_tcp: false,
    }
}

#[test]
fn a_match_asks_for_all_properties_and_of_lists_for_one() {
    assert_eq!(
        from_match(&full()).expect("a match"),
        "has(request.method) && response.code >= 400 && request.method in ['GET', 'POST'] && \
         (request.host.matches('^(?i:shop\\\\.example\\\\.com)\\\\.?(?::[0-9]+)?$') || \
         request.host.matches('^[-.\\\\w]+\\\\.(?i:example\\\\.org)\\\\.?(?::[0-9]+)?$')) && \
         (request.url_path == '/api' || request.url_path.startsWith('/api/') || request.url_path == '/x' || \
         request.url_path.startsWith('/x/')) && request.duration >= duration('0.5s') && \
         (response.flags / 32 % 2 == 1 || response.flags / 2 % 2 == 1)"
    );
}

#[test]
fn tcp_is_logged_only_with_include_tcp_and_then_asked_for_what_it_has() {
    let render = |min_status, seconds: Option<u64>, include_tcp| {
        from_match(&Match {
            min_status,
            min_duration: seconds.map(Duration::from_secs),
            include_tcp,
            ..Match::default()
        })
        .expect("a match")
    };
    assert_eq!(
        render(Some(500), None, false),
        "has(request.method) && response.code >= 500"
    );
    assert_eq!(
        render(Some(500), None, true),
        "!has(request.method) || response.code >= 500"
    );
    assert_eq!(
        render(None, Some(1), false),
        "has(request.method) && request.duration >= duration('1s')"
    );
    assert_eq!(render(None, Some(1), true), "request.duration >= duration('1s')");
    assert_eq!(
        render(Some(500), Some(1), true),
        "(!has(request.method) || response.code >= 500) && request.duration >= duration('1s')"
    );
}

#[test]
fn what_a_match_renders_passes_the_check_and_is_no_error_on_tcp() {
    for include_tcp in [false, true] {
        let expression = from_match(&Match { include_tcp, ..full() }).expect("a match");
        assert_eq!(check(&expression, OLDEST), Ok(expression.clone()));
        let parsed = cel::parse(&expression).expect("CEL");
        let on_tcp = World::new(Protocol::Tcp, EnvoyVersion::NEWEST_KNOWN).complete();
        let on_tcp = on_tcp.outcomes(parsed.expression());
        assert!(!on_tcp.error && on_tcp.holds == include_tcp, "{expression}: {on_tcp:?}");
    }
}

#[test]
fn a_match_without_a_property_is_refused() {
    for include_tcp in [false, true] {
        let error = from_match(&Match {
            include_tcp,
            ..Match::default()
        })
        .expect_err("empty");
        assert_eq!(error.kind, Kind::Empty);
        assert!(error.to_string().starts_with("The match has no property; "), "{error}");
    }
}

#[test]
fn values_that_no_request_can_have_are_refused_with_what_to_write() {
    let with = |change: &dyn Fn(&mut Match)| {
        let mut properties = Match::default();
        change(&mut properties);
        let error = from_match(&properties).expect_err("no request has it");
        assert_eq!(error.kind, Kind::Property);
        error.to_string()
    };
    for (error, hint) in [
        (with(&|m| m.min_status = Some(99)), "write 100 to 599"),
        (with(&|m| m.min_status = Some(600)), "write 100 to 599"),
        (with(&|m| m.methods = texts(&["get"])), "write GET"),
        (with(&|m| m.methods = texts(&["G T"])), "one such as GET"),
        (with(&|m| m.methods = texts(&[""])), "one such as GET"),
        (with(&|m| m.hosts = texts(&["a.b:80"])), "leave the port out"),
        (with(&|m| m.hosts = texts(&["*"])), "write a name"),
        (with(&|m| m.hosts = texts(&["a.*.b"])), "write a name"),
        (with(&|m| m.hosts = texts(&["*.[::1]"])), "write a name"),
        (with(&|m| m.hosts = texts(&["a..b"])), "write a name"),
        (with(&|m| m.path_prefixes = texts(&["api"])), "write one such as /api"),
        (with(&|m| m.path_prefixes = texts(&["/a?b"])), "leave out what follows"),
        (with(&|m| m.path_prefixes = texts(&["/a b"])), "percent-encode"),
        (with(&|m| m.response_flags = texts(&["uf"])), "did you mean `UF`?"),
        (with(&|m| m.response_flags = texts(&["URXX"])), "did you mean `URX`?"),
        (
            with(&|m| m.response_flags = texts(&["TIMEOUT"])),
            "such as UF, UH or NR",
        ),
        (with(&|m| m.min_duration = Some(Duration::MAX)), "write a shorter one"),
    ] {
        assert!(error.contains(hint), "{error}");
    }
}

#[test]
fn hosts_match_in_any_case_with_any_port_and_wildcards_at_least_one_label() {
    let pattern = |host: &str| {
        let expression = from_match(&Match {
            hosts: texts(&[host]),
            ..Match::default()
        })
        .expect("a host");
        let parsed = cel::parse(&expression).expect("CEL");
        let kube_cel::cel::common::ast::Expr::Call(and) = &parsed.expression().expr else {
            panic!("{expression}")
        };
        let kube_cel::cel::common::ast::Expr::Call(matches) = &and.args[1].expr else {
            panic!("{expression}")
        };
        regex::Regex::new(literal_text(&matches.args[0]).expect("a pattern")).expect("a pattern")
    };
    for (host, yes, no) in [
        (
            "Shop.example.com",
            ["shop.example.com", "SHOP.example.com:8443", "shop.example.com."],
            ["xshop.example.com", "shop-example.com", "shop.example.com.evil.org"],
        ),
        (
            "*.example.com",
            ["a.example.com", "a.b.example.com:80", "A.Example.COM"],
            ["example.com", "badexample.com", "a.example.com:x"],
        ),
        ("[::1]", ["[::1]", "[::1]:80", "[::1]:443"], ["::1", "[::2]", "1"]),
    ] {
        let pattern = pattern(host);
        for name in yes {
            assert!(pattern.is_match(name), "{host}: {name}");
        }
        for name in no {
            assert!(!pattern.is_match(name), "{host}: {name}");
        }
    }
}

#[test]
fn hosts_of_any_length_make_patterns_that_envoy_takes() {
    for letter in ["k", "s", "a-", "K_"] {
        for length in [1, 17, 18, 60, 70, 71, 140, 251, 253] {
            let name: String = letter.chars().cycle().take(length).collect();
            for host in [name.clone(), format!("*.{name}")] {
                let expression = from_match(&Match {
                    hosts: texts(&[&host, "short.example.com"]),
                    ..Match::default()
                })
                .expect("a host");
                assert_eq!(check(&expression, OLDEST), Ok(expression.clone()));
            }
        }
    }
    let long = "a".repeat(254);
    assert!(
        from_match(&Match {
            hosts: vec![long],
            ..Match::default()
        })
        .is_err()
    );
}

#[test]
fn path_prefixes_end_at_segments_and_the_root_is_every_path() {
    let render = |prefix: &str| {
        from_match(&Match {
            path_prefixes: texts(&[prefix]),
            ..Match::default()
        })
        .expect("a prefix")
    };
    assert_eq!(render("/"), "has(request.method) && (request.url_path.startsWith('/'))");
    assert_eq!(render("/api/"), render("/api"));
}

#[test]
fn durations_are_exact() {
    for (duration, text) in [
        (Duration::ZERO, "0s"),
        (Duration::from_millis(1500), "1.5s"),
        (Duration::from_nanos(1), "0.000000001s"),
        (Duration::from_hours(1), "3600s"),
    ] {
        let rendered = from_match(&Match {
            min_duration: Some(duration),
            ..Match::default()
        });
        assert_eq!(
            rendered,
            Ok(format!("has(request.method) && request.duration >= duration('{text}')"))
        );
    }
}

/// Flags and bits as the two proxies logged them.
#[test]
fn each_flag_has_the_bit_that_real_proxies_set() {
    for (name, bit) in [
        ("LH", 0),
        ("UH", 1),
        ("UT", 2),
        ("UR", 4),
        ("UF", 5),
        ("UC", 6),
        ("UO", 7),
        ("NR", 8),
        ("DI", 9),
        ("FI", 10),
        ("RL", 11),
        ("UAEX", 12),
        ("RLSE", 13),
        ("DC", 14),
        ("URX", 15),
        ("SI", 16),
        ("DPE", 18),
        ("DT", 22),
        ("UPE", 23),
        ("NC", 24),
        ("DF", 26),
        ("DO", 27),
        ("DR", 28),
        ("UDO", 29),
    ] {
        assert_eq!(
            flags::is_set(name),
            Ok(format!("response.flags / {} % 2 == 1", 1_u32 << bit))
        );
    }
}

#[test]
fn an_expression_that_can_hold_comes_back_trimmed() {
    for expression in [
        "response.code >= 400",
        "request.headers['x-a'] == 'b' || has(request.headers.x)",
        "'x' in request.headers && size(request.headers) > 2u",
        "request.time.getHours('UTC') >= 8 && request.duration > duration('1.5s')",
        "xds.node.locality.zone == 'a' && metadata.filter_metadata['a']['b'] == 1",
        "filter_state['x'].y",
        "xds.upstream_host_metadata == null || type(request.path) == string",
        "connection.id == 5 && response.code in [200, 404u]",
        "connection.mtls ? true : request['method'] == 'GET'",
        "request.time - request.time > duration('1s') && {'a': 1}.a < 2",
        "xds.node.client_features[0].startsWith('x')",
    ] {
        assert_eq!(check(&format!(" {expression}\n"), OLDEST), Ok(expression.to_owned()));
    }
}

#[test]
#[allow(clippy::too_many_lines)]
fn what_can_never_be_right_is_refused_with_its_place_and_what_to_write() {
    for (expression, kind, message) in [
        (
            "'é' != request.path && request.methd == 'GET'",
            Kind::UnknownAttribute,
            "Character 24, `request.methd`: Envoy has no attribute `request.methd`; did you mean `request.method`?",
        ),
        (
            "reqest.path == 'a'",
            Kind::UnknownAttribute,
            "Character 1, `reqest`: Envoy has no attribute `reqest`; did you mean `request`?",
        ),
        (
            "method == 'GET'",
            Kind::UnknownAttribute,
            "did you mean `request.method`?",
        ),
        (
            "request['methd'] == 'a'",
            Kind::UnknownAttribute,
            "did you mean `request.method`?",
        ),
        ("has(xds.nod)", Kind::UnknownAttribute, "did you mean `xds.node`?"),
        (
            "xds.node.idd == 'a'",
            Kind::UnknownAttribute,
            "did you mean `xds.node.id`?",
        ),
        (
            "plugin_name == 'a'",
            Kind::UnknownAttribute,
            "no attribute `plugin_name`",
        ),
        (
            "request.headers_bytes > 5",
            Kind::TooNew,
            "came with Envoy 1.37, but the oldest proxy is 1.36",
        ),
        (
            "response.code >= 'x'",
            Kind::Type,
            "Character 1, `response.code >= 'x'`: `>=` cannot compare a number (int) and a string",
        ),
        (
            "true && 'a' == 1",
            Kind::Type,
            "Character 9, `'a' == 1`: a string and a number (int) are never equal",
        ),
        ("request.path + 'a' == 'b'", Kind::Type, "`+` cannot compute with"),
        (
            "request.duration > 500",
            Kind::Type,
            "`>` cannot compare a duration and a number (int)",
        ),
        ("request.method in 'GET'", Kind::Type, "`in` needs a list or a map"),
        ("request.method in [1]", Kind::Type, "in a list of a number (int)"),
        ("!request.method", Kind::Type, "`!` needs a condition"),
        (
            "request.path && true",
            Kind::Type,
            "Character 1, `request.path`: `&&` and `||` need conditions",
        ),
        ("request.path ? true : false", Kind::Type, "`?` needs a condition"),
        ("request.path.x == 1", Kind::Type, "which has no parts"),
        ("request.path['x'] == 1", Kind::Type, "which has no parts"),
        ("[1]['x'] == 1", Kind::Type, "elements of a list have numbers"),
        ("size(1) == 1", Kind::Type, "`size` does not take a number (int)"),
        (
            "request.path.getHours() == 1",
            Kind::Type,
            "`getHours` does not take a string",
        ),
        (
            "request.duration.getHours('UTC') == 1",
            Kind::Type,
            "does not take a duration and a string",
        ),
        (
            "request.duration > duration('1d')",
            Kind::Type,
            "`duration` cannot read this text",
        ),
        (
            "request.time > timestamp('2020-01-01')",
            Kind::Type,
            "`timestamp` cannot read this text",
        ),
        ("-request.path == 1", Kind::Type, "`-` needs an int or a double"),
        (
            "response.code",
            Kind::NotBool,
            "Character 1, `response.code`: a filter is a condition, but this is a number (int)",
        ),
        ("request", Kind::NotBool, "all of `request`"),
        ("1 == 1 &&", Kind::Refused, "Envoy would refuse the whole listener"),
        (
            "string(1) == '1'",
            Kind::Refused,
            "Character 1, `string(1)`: Envoy's CEL has no function `string`",
        ),
        (" ", Kind::Length, "The expression is empty; write a condition"),
    ] {
        let error = refused(expression);
        assert_eq!(error.kind, kind, "{expression}: {error}");
        assert!(error.to_string().contains(message), "{expression}: {error}");
    }
}

#[test]
fn an_attribute_is_there_from_its_version_on() {
    assert!(check("request.headers_bytes > 5", EnvoyVersion::new(1, 37)).is_ok());
}

#[test]
fn an_expression_has_at_most_4096_characters() {
    let of_length = |length: usize| format!("request.path == '{}'", "é".repeat(length - 18));
    assert!(check(&of_length(MAX_CHARACTERS), OLDEST).is_ok());
    assert_eq!(refused(&of_length(MAX_CHARACTERS + 1)).kind, Kind::Length);
}

#[test]
fn both_holds_whatever_binds_weaker_or_comments() {
    assert_eq!(both("a || b", "c"), "(a || b) && (c)");
    let with_comment = both("true // (", HTTP_ONLY);
    assert!(check(&with_comment, OLDEST).is_ok(), "{with_comment}");
}

#[test]
fn what_passes_can_be_combined_twice_without_going_over_the_limit_of_nesting() {
    let mut deepest = 0;
    for depth in 1..40 {
        for expression in [
            format!("{}true{}", "(".repeat(depth), ")".repeat(depth)),
            format!("{}true{}", "!(".repeat(depth), ")".repeat(depth)),
            format!("1{} == 1", "+1".repeat(depth)),
        ] {
            if check(&expression, OLDEST).is_ok() {
                deepest = depth;
                let twice = both(&both(&expression, TCP_ONLY), HTTP_ONLY);
                assert!(cel::parse(&twice).is_ok(), "{twice}");
            }
        }
    }
    assert!((25..32).contains(&deepest), "{deepest}");
}

#[test]
fn an_expression_needs_http_where_tcp_makes_it_an_error_and_it_does_not_say_so() {
    for expression in [
        "response.code >= 400",
        "request.path.startsWith('/a')",
        "connection.mtls && request.method == 'GET'",
        "request.headers['x'] == 'a'",
        "request['path'] == 'a'",
        "!(response.code < 400)",
        "response.code >= 400 || request.host == 'a'",
        "connection.mtls ? response.code > 1 : xds.route_name == 'a'",
    ] {
        assert!(needs_http(expression), "{expression}");
    }
    for expression in [
        "has(request.method) && response.code >= 400",
        "!has(request.method) || response.code >= 400",
        "connection.mtls || response.code >= 400",
        "request.duration > duration('1s')",
        "response.flags > 0",
        "has(request.headers.x)",
        "'x' in request.headers",
        "has(request.path) ? request.path == 'a' : true",
        "source.address == '10.0.0.1'",
        "no CEL (",
    ] {
        assert!(!needs_http(expression), "{expression}");
    }
}

/// What is said of a filter that Envoy takes, for HTTP and TCP together.
fn said(expression: &str) -> Result<Vec<Doubt>, Kind> {
    let verdict = judge_foreign(expression, Traffic::Both, OLDEST);
    match verdict.error {
        Some(error) => Err(error.kind),
        None => Ok(verdict.warnings.into_iter().map(|warning| warning.doubt).collect()),
    }
}

#[test]
fn each_doubt_is_said_where_it_is_certain_and_not_where_it_nearly_is() {
    for (doubt, expression, nearly) in [
        (
            Doubt::NeverTrue,
            "has(request.method) && response.code >= 500 && response.code < 400",
            "has(request.method) && response.code >= 400 && response.code < 500",
        ),
        (
            Doubt::NeverTrue,
            "has(request.method) && request.method == 'GET' && request.method == 'POST'",
            "has(request.method) && (request.method == 'GET' || request.method == 'POST')",
        ),
        (
            Doubt::NeverTrue,
            "request.duration > duration('1s') && request.duration < duration('500ms')",
            "request.duration > duration('500ms') && request.duration < duration('1s')",
        ),
        (
            Doubt::NeverTrue,
            "has(request.protocol) && request.protocol == 'HTTP/2.0'",
            "has(request.protocol) && request.protocol == 'HTTP/2'",
        ),
        (Doubt::NeverTrue, "source.port > 65535", "source.port >= 65535"),
        (
            Doubt::NeverTrue,
            "!has(request.method) && request.method == 'GET'",
            "!has(request.path) || request.method == 'GET'",
        ),
        (
            Doubt::NeverTrue,
            "response.flags / 32 % 2 == 2",
            "response.flags / 32 % 2 == 1",
        ),
        (Doubt::NeverTrue, "!(1 in [1, 2])", "connection.mtls in [true]"),
        (
            Doubt::AlwaysTrue,
            "request.total_size == 5 || request.total_size != 5",
            "request.total_size == 5 || request.total_size != 6 && connection.mtls",
        ),
        (
            Doubt::AlwaysTrue,
            "connection.mtls || !connection.mtls",
            "connection.mtls || !has(request.method)",
        ),
        (Doubt::AlwaysTrue, "true || response.code == 1", "has(response.code)"),
        (
            Doubt::NeverOnTcp,
            "response.code >= 400",
            "has(request.method) && response.code >= 400",
        ),
        (
            Doubt::NeverOnTcp,
            "request.path.matches('a') || request.size > 0",
            "request.path.startsWith('a') || request.size > 0",
        ),
        (
            Doubt::PartInVain,
            "request.method != 1",
            "has(request.method) && request.method != '1'",
        ),
        (
            Doubt::PartInVain,
            "request.foo == 'x' || request.size > 1",
            "request.referer == 'x' || request.size > 1",
        ),
        (
            Doubt::Unchecked,
            "request.path.matches(r'\\p{Greek}') || true",
            "request.path.startsWith('é') || request.size > 0",
        ),
    ] {
        assert_eq!(said(expression), Ok(vec![doubt]), "{expression}");
        assert_eq!(said(nearly), Ok(Vec::new()), "{nearly}");
    }
}

/// The time is not to double with each level.
#[test]
fn deeply_nested_filters_are_judged_at_once() {
    for (open, part, close, times) in [
        ("", "filter_state", "[0]", 26),
        ("(1 in [", "1", "])", 12),
        ("{", "1", ": 1}", 12),
        ("(", "connection.mtls", " ? connection.mtls : true)", 26),
        ("(", "connection.mtls", " == connection.mtls)", 26),
        ("!(connection.mtls && ", "connection.mtls", ")", 12),
    ] {
        let nested = format!("{}{part}{} == 1 || true", open.repeat(times), close.repeat(times));
        let started = std::time::Instant::now();
        let error = judge_foreign(&nested, Traffic::Both, OLDEST).error;
        assert!(error.is_none_or(|error| error.kind != Kind::Refused), "{nested}");
        assert!(started.elapsed() < Duration::from_secs(10), "{nested}");
    }
}

#[test]
fn what_can_only_be_an_error_is_one_and_what_can_be_true_is_none() {
    for (expression, kind) in [
        ("request.foo == 'x'", Kind::UnknownAttribute),
        ("request.foo == 'x' && request.size > 1", Kind::UnknownAttribute),
        ("request.foo.matches('x') || request.size > 1", Kind::UnknownAttribute),
        ("request.method == 1", Kind::Type),
        ("response.code", Kind::NotBool),
        ("xds.node['id'] == 'a'", Kind::Type),
        ("1 / 0 == 1", Kind::AlwaysError),
        ("[1, 2][5] == 1", Kind::AlwaysError),
        ("request.headers_bytes > 0", Kind::TooNew),
        ("request.`method` == 'GET'", Kind::Refused),
        ("request.path.matches('[')", Kind::Refused),
    ] {
        assert_eq!(said(expression), Err(kind), "{expression}");
    }
    for expression in [
        "request.path || true",
        "!(request.method in [1])",
        "!!(request.method == 'GET')",
        "request.`method` == 'GET'",
    ] {
        let verdict = judge_foreign(expression, Traffic::Both, EnvoyVersion::NEWEST_KNOWN);
        assert_eq!(verdict.error, None, "{expression}");
    }
    let error = judge_foreign("1 / 0 == request.size", Traffic::Both, OLDEST).error;
    assert_eq!(error.map(|error| error.excerpt), Some("1 / 0".to_owned()));
}

/// The expressions of `testdata/envoy-verdicts.tsv` with what each Envoy said.
fn verdicts() -> Vec<(String, Vec<(EnvoyVersion, bool)>)> {
    let mut lines = include_str!("testdata/envoy-verdicts.tsv")
        .lines()
        .skip_while(|line| line.starts_with("# "));
    let header = lines.next().expect("a header");
    let versions = EnvoyVersion::of_verdicts(header);
    lines
        .map(|line| {
            let mut cells = line.split('\t');
            let escaped = cells.next().expect("an expression");
            let expression = serde_json::from_str(&format!("\"{}\"", escaped.replace('"', "\\\""))).expect(line);
            let said = cells.map(|cell| match cell {
                "ok" => true,
                "no" => false,
                other => panic!("{line}: {other}"),
            });
            let verdicts: Vec<_> = versions.iter().copied().zip(said).collect();
            assert_eq!(verdicts.len(), versions.len(), "{line}");
            (expression, verdicts)
        })
        .collect()
}

/// Reasons to refuse what Envoy may take: the parser here has no infinite numbers, messages are of no use in a condition,
/// and of regular expressions the rarer parts are not known.
const ON_THE_SAFE_SIDE: [&str; 4] = [
    "`1e999 > 1.0`",
    "messages such as",
    "the pattern of `matches`",
    // Envoy 1.40 takes them, those before do not.
    "names in backquotes",
];

#[test]
fn what_real_envoys_refuse_is_refused_and_what_they_take_only_for_attributes_types_and_conditions() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (expression, by_version) in verdicts() {
        for (version, accepted) in by_version {
            compared += 1;
            let foreign = judge_foreign(&expression, Traffic::Both, version);
            let is_unchecked = foreign.warnings.iter().any(|warning| warning.doubt == Doubt::Unchecked);
            let refused = foreign.error.as_ref().is_some_and(|error| error.kind == Kind::Refused);
            if !is_unchecked
                && !expression.trim().is_empty()
                && (accepted && refused || !accepted && foreign.error.is_none())
            {
                wrong.push(format!("{expression:?} on {version}: Envoy {accepted}, we {foreign:?}"));
            }
            let ours = check(&expression, version);
            let allowed = match &ours {
                Ok(_) => accepted,
                Err(error) if accepted => match error.kind {
                    Kind::UnknownAttribute | Kind::TooNew | Kind::Type | Kind::NotBool => true,
                    Kind::Refused => ON_THE_SAFE_SIDE.iter().any(|reason| error.to_string().contains(reason)),
                    Kind::Length => error.message.contains("nested too deeply"),
                    Kind::Empty | Kind::Property | Kind::AlwaysError => false,
                },
                Err(_) => true,
            };
            if !allowed {
                wrong.push(format!("{expression:?} on {version}: Envoy {accepted}, we {ours:?}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{} of {compared}", wrong.len());
    assert!(compared > 2000, "only {compared} verdicts were compared");
}

proptest! {
    #[test]
    fn any_text_survives_as_a_literal(text in "(\\PC|[\\x00-\\x1f'\"\\\\`\\x7f\u{85}\u{2028}]){0,20}") {
        let literal = matching::literal(&text);
        let parsed = cel::parse(&literal).expect("a literal");
        prop_assert_eq!(literal_text(parsed.expression()), Some(text.as_str()));
    }

    #[test]
    fn any_match_is_refused_or_passes_the_check(
        methods in proptest::collection::vec("\\PC{0,4}|[A-Z'`|]{1,5}", 0..3),
        hosts in proptest::collection::vec("\\PC{0,4}|(\\*\\.)?[a-z-]{1,4}(\\.[a-z]{1,3})?", 0..3),
        path_prefixes in proptest::collection::vec("/?(\\PC|['\\\\/\n]){0,6}", 0..3),
        include_tcp: bool,
    ) {
        let properties = Match { methods, hosts, path_prefixes, include_tcp, ..Match::default() };
        if let Ok(expression) = from_match(&properties) {
            prop_assert_eq!(check(&expression, OLDEST), Ok(expression));
        }
    }

    #[test]
    fn any_expression_is_checked_with_places_inside_it(
        source in "\\PC{0,30}|(request|\\.path|\\.x|response\\.code| == | && |\\(|\\)|'a'|é|1|\\[|\\]|!|size|has| \\? | : |\n){0,12}",
    ) {
        if let Err(error) = check(&source, OLDEST) {
            prop_assert!(error.place.is_none_or(|place| source.trim().get(place).is_some()));
            prop_assert!(!error.message.contains('\n') && !error.excerpt.contains('\n'));
        }
    }
}
