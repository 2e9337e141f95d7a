//! What lint says of whole files.

use super::codes::{About, Severity, TABLE, code};
use super::*;
use crate::format::{self, EnvoyVersion};

const OPTIONS: Options = Options {
    oldest: EnvoyVersion::OLDEST_SUPPORTED,
    mesh: None,
};

/// Codes, places and paths of a file's findings.
fn found(text: &str) -> Vec<(&'static str, &str, String)> {
    let findings = lint(text, OPTIONS).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let place = |finding: &Finding| &text[finding.place.clone()];
    findings.iter().map(|f| (f.code.id, place(f), f.path.clone())).collect()
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code.id).collect()
}

/// A code, a line of Istio's for proxies from 1.37 on that it is for, and one that it is not for.
const LINES: &[(&str, &str, &str)] = &[
    ("SL001", "5% %PROTOCOL%", "5%% %PROTOCOL%"),
    ("SL002", "%PROTOCOL", "%PROTOCOL%"),
    ("SL003", "%REQ(X:9%", "%REQ(X):9%"),
    ("SL004", "%REQ(X)x:9%", "%REQ(X):9%"),
    ("SL005", "%protocol%", "%PROTOCOL%"),
    ("SL006", "%REQ(X):y%", "%REQ(X):9%"),
    ("SL007", "%PROTOCOLL%", "%PROTOCOL%"),
    ("SL008", "%KUMA_MESH%", "%PROTOCOL%"),
    ("SL009", "%QUERY_PARAMS%", "%QUERY_PARAM(page):9%"),
    ("SL010", "%REQ%", "%REQ(X):9%"),
    ("SL011", "%PROTOCOL(x)%", "%PROTOCOL%"),
    ("SL012", "%PROTOCOL:9%", "%PROTOCOL%"),
    ("SL013", "%METADATA(CLUSTERS:a)%", "%METADATA(CLUSTER:a)%"),
    ("SL050", "%REQ(?):9%", "%REQ(X):9%"),
    ("SL051", "%RESPONSE_CODE_DETAILS(x)%", "%RESPONSE_CODE_DETAILS%"),
    (
        "SL052",
        "%REQUESTED_SERVER_NAME(HOST_FIRST)%",
        "%REQUESTED_SERVER_NAME%",
    ),
    ("SL053", "%REQ(X-TENANT)%", "%REQ(X-TENANT):64%"),
    ("SL055", "%REQ(AUTHORIZATION):9%", "%REQ(X-AUTHOR):9%"),
    ("SL056", "{\"a\": \"%PROTOCOL%\"}", "a: %PROTOCOL%"),
];

/// The same for formats of TrafficLogs.
const FORMATS: &[(&str, &str, &str)] = &[
    (
        "SL014",
        "{encoding: JSON, fields: [{name: a, value: b}, {name: a, value: b}]}",
        "{encoding: JSON, fields: [{name: a, value: b}, {name: c, value: b}]}",
    ),
    (
        "SL015",
        "{encoding: JSON, preset: Istio, omit: [user_agnt]}",
        "{encoding: JSON, preset: Istio, omit: [user_agent]}",
    ),
    ("SL016", "{encoding: JSON, text: a}", "{text: a}"),
    ("SL017", "{text: ''}", "{text: a}"),
    (
        "SL057",
        "{encoding: JSON, preset: Istio, fields: [{name: user_agent, value: '-'}]}",
        "{encoding: JSON, preset: Istio, fields: [{name: user_agent2, value: '-'}]}",
    ),
    ("SL058", "{preset: Kuma}", "{preset: Istio}"),
    ("SL200", "{text: [a]}", "{text: a}"),
];

/// The same for expressions of Telemetries.
const FILTERS: &[(&str, &str, &str)] = &[
    (
        "SL101",
        "response.code >=",
        "response.code >= 1 || !has(request.method)",
    ),
    ("SL102", "connection.idd == 1u", "connection.id == 1u"),
    (
        "SL103",
        "has(request.method) && request.headers_bytes > 5",
        "connection.id == 1u",
    ),
    ("SL104", "connection.id == 'x'", "connection.id == 1u"),
    ("SL105", "connection.id", "connection.id == 1u"),
    ("SL108", "1 / 0 == request.size", "1 / 2 == request.size"),
    ("SL152", "source.port > 65535", "source.port > 65534"),
    (
        "SL153",
        "request.size == 1 || request.size != 1",
        "request.size == 1 || request.size != 2 && connection.mtls",
    ),
    ("SL154", "connection.id != 'x'", "connection.id != 1u"),
    (
        "SL150",
        "response.code >= 400",
        "has(request.method) && response.code >= 400",
    ),
];

/// Says which codes fire.
type Check<'a> = &'a dyn Fn(&str) -> Vec<&'static str>;

/// Codes with tests of their own below.
const ELSEWHERE: &[&str] = &["SL054", "SL100", "SL106", "SL107", "SL151"];

#[test]
fn each_code_fires_and_does_not_nearly() {
    let oldest = EnvoyVersion::new(1, 37);
    let mesh = Some(Dialect::Istio);
    let line = |text: &str| codes(&lint_format(text, Options { oldest, mesh }));
    let file = |text: String| codes(&lint(&text, OPTIONS).unwrap());
    let format = |format: &str| {
        file(format!(
            "{{apiVersion: sightline.dev/v1alpha1, kind: TrafficLog, spec: {{format: {format}}}}}"
        ))
    };
    let filter = |expression: &str| {
        file(format!(
            "{{apiVersion: telemetry.istio.io/v1, kind: Telemetry, spec: {{accessLogging: [{{providers: [{{name: envoy}}], filter: {{expression: \"{expression}\"}}}}]}}}}"
        ))
    };
    let checks: [(_, Check<'_>); 3] = [(LINES, &line), (FORMATS, &format), (FILTERS, &filter)];
    let mut fired: Vec<&str> = ELSEWHERE.to_vec();
    for (cases, check) in checks {
        for (id, fires, nearly) in cases {
            assert!(check(fires).contains(id), "{id}: {fires}: {:?}", check(fires));
            assert_eq!(check(nearly), [""; 0], "{nearly}");
            fired.push(id);
        }
    }
    fired.sort_unstable();
    assert_eq!(
        fired,
        TABLE
            .iter()
            .map(|code| code.id)
            .filter(|id| !id.starts_with("SL3"))
            .collect::<Vec<_>>(),
        "a code without a case"
    );
}

#[test]
fn a_line_that_nothing_ends_is_pointed_out_in_envoys_own_configuration() {
    assert_eq!(codes(&lint_format("%PROTOCOL%", OPTIONS)), ["SL054"]);
    assert_eq!(codes(&lint_format("%PROTOCOL%\n", OPTIONS)), [""; 0]);
}

#[test]
fn what_the_compiler_refuses_is_an_error_and_what_it_warns_of_is_not() {
    let setting = format::Setting::new(Dialect::Envoy, EnvoyVersion::OLDEST_SUPPORTED);
    for line in include_str!("../format/testdata/envoy-verdicts.tsv").lines() {
        let Some(text) = line.split('\t').next() else { continue };
        let judged = format::judge(text, Form::Line, setting, false);
        let severity = |diagnostic: &format::Diagnostic| code(About::Format(diagnostic.kind)).severity;
        assert!(
            judged.errors.iter().all(|error| severity(error) == Severity::Error),
            "{text}"
        );
        assert!(
            judged
                .warnings
                .iter()
                .all(|warning| severity(warning) == Severity::Warning),
            "{text}"
        );
    }
    assert!(TABLE.len() > 30);
}

#[test]
fn a_mesh_config_is_read_through_its_block_scalar() {
    let text = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    # a comment
    accessLogFormat: |
      [%START_TIME%] é %PROTOCOLL% end
    extensionProviders:
    - name: file
      envoyFileAccessLog:
        path: /dev/stdout
        logFormat:
          labels: {a: \"%PROTOCOL%\", b: {c: [\"%NOPE%\"]}}
    - name: otlp
      envoyOtelAls: {logFormat: {text: '%HOSTNAME', labels: {x: '%PROTOCOL%'}}}
";
    assert_eq!(
        found(text),
        [
            ("SL007", "PROTOCOLL", "data.mesh.accessLogFormat".to_owned()),
            (
                "SL007",
                "NOPE",
                "data.mesh.extensionProviders[0].envoyFileAccessLog.logFormat.labels.b.c[0]".to_owned()
            ),
            (
                "SL002",
                "%HOSTNAME",
                "data.mesh.extensionProviders[1].envoyOtelAls.logFormat.text".to_owned()
            ),
        ]
    );
}

#[test]
fn json_in_a_mesh_config_is_read_through_two_strings() {
    let mesh = |format: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  mesh: |\n    accessLogEncoding: JSON\n    accessLogFormat: '{format}'\n"
        )
    };
    let path = |path: &str| path.to_owned();
    assert_eq!(
        found(&mesh("{\"a\": \"%PROTOCOLL%\"}")),
        [("SL007", "PROTOCOLL", path("data.mesh.accessLogFormat.a"))]
    );
    let unfinished = mesh("{\"a\": ");
    let broken = found(&unfinished);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert_eq!(
        (broken[0].0, broken[0].2.as_str()),
        ("SL200", "data.mesh.accessLogFormat")
    );
    assert_eq!(
        found("apiVersion: v1\nkind: ConfigMap\ndata: {mesh: 'a: ['}\n")[0].0,
        "SL200"
    );
    assert_eq!(found("apiVersion: v1\nkind: ConfigMap\ndata: {other: '%NOPE%'}\n"), []);
}

#[test]
fn filters_of_telemetries_are_checked() {
    let telemetry = |expression: &str| {
        format!(
            "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nspec:\n  accessLogging:\n  - providers: [{{name: envoy}}]\n    filter:\n      expression: >-\n        {expression}\n"
        )
    };
    for (id, place, expression) in [
        ("SL101", "", "response.code >="),
        (
            "SL102",
            "request.methd",
            "has(request.method) && request.methd == 'GET'",
        ),
        ("SL104", "", "response.code == 'x'"),
        ("SL105", "response.code", "response.code"),
        ("SL150", "response.code >= 400", "response.code >= 400"),
    ] {
        let text = telemetry(expression);
        let found = found(&text);
        assert_eq!(found.len(), 1, "{expression}: {found:?}");
        assert_eq!(found[0].0, id, "{expression}");
        assert!(
            place.is_empty() || found[0].1.trim() == place,
            "{expression}: {found:?}"
        );
    }
    assert_eq!(found(&telemetry("has(request.method) && response.code >= 400")), []);
}

#[test]
fn the_checkers_own_bounds_are_no_error_of_somebody_elses_filter() {
    let long = format!("request.path == \"{}\"", "a".repeat(17_000));
    let telemetry = |expression: &str| {
        format!(
            "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nspec: {{accessLogging: [{{providers: [{{name: envoy}}], filter: {{expression: '{expression}'}}}}]}}\n"
        )
    };
    let traffic_log = |expression: &str| {
        format!(
            "apiVersion: sightline.dev/v1alpha1\nkind: TrafficLog\nspec: {{filter: {{type: Expression, expression: '{expression}'}}}}\n"
        )
    };
    assert_eq!(found(&telemetry(&long))[0].0, "SL151");
    assert_eq!(found(&traffic_log(&long))[0].0, "SL100");
    assert_eq!(
        (found(&telemetry("")), found(&traffic_log(""))[0].0),
        (Vec::new(), "SL100")
    );
}

#[test]
fn the_place_in_a_filter_with_blanks_before_it_is_that_in_the_file() {
    let text = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nspec: {accessLogging: [{providers: [{name: envoy}], filter: {expression: '  response.cod == 1'}}]}\n";
    assert_eq!(found(text)[0].1, "response.cod");
    assert_eq!(lint(text, OPTIONS).unwrap()[0].span, 2..14);
}

#[test]
fn a_trap_of_one_traffic_is_none_of_the_other() {
    let log = |filter: &str, expression: &str| {
        format!(
            "static_resources:\n  listeners:\n  - filter_chains:\n    - filters:\n      - typed_config:\n          '@type': x/y.{filter}\n          access_log:\n          - filter: {{extension_filter: {{typed_config: {{'@type': x/y.ExpressionFilter, expression: '{expression}'}}}}}}\n"
        )
    };
    assert_eq!(found(&log("HttpConnectionManager", "response.code >= 400")), []);
    assert_eq!(found(&log("TcpProxy", "response.code >= 400"))[0].0, "SL150");
    assert_eq!(
        found(&log("TcpProxy", "has(request.method) && response.code >= 400")),
        []
    );
}

#[test]
fn a_match_of_a_traffic_log_is_checked() {
    let log = |wanted: &str| {
        format!(
            "apiVersion: sightline.dev/v1alpha1\nkind: TrafficLog\nspec: {{filter: {{type: Match, match: {wanted}}}}}\n"
        )
    };
    assert_eq!(found(&log("{responseFlags: [UF], minDuration: 500ms}")), []);
    for (id, wanted) in [
        ("SL106", "{}"),
        ("SL107", "{responseFlags: [XX]}"),
        ("SL200", "{minDuration: soon}"),
        ("SL200", "{methods: GET}"),
    ] {
        let text = log(wanted);
        let ids: Vec<&str> = found(&text).into_iter().map(|(id, ..)| id).collect();
        assert_eq!(ids, [id], "{wanted}");
    }
}

#[test]
fn our_own_kinds_are_checked_by_the_compiler_of_the_operator() {
    let text = "apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {name: a}
spec:
  format:
    encoding: JSON
    preset: Istio
    fields:
    - {name: tenant, value: '%REQ(X-TENANT):64%'}
    - {name: bad, value: '%NOPE%'}
    omit: [user_agnt]
    tcp: {encoding: Text, text: '%NOPE%'}
  filter: {type: Expression, expression: response.code}
";
    let path = |path: &str| path.to_owned();
    assert_eq!(
        found(text),
        [
            ("SL007", "NOPE", path("spec.format.fields[1].value")),
            ("SL015", "user_agnt", path("spec.format.omit[0]")),
            ("SL007", "NOPE", path("spec.format.tcp.text")),
            ("SL105", "response.code", path("spec.filter.expression")),
        ]
    );
}

#[test]
fn a_bootstrap_is_searched_by_type() {
    let text = "static_resources:
  listeners:
  - access_log:
    - name: file
      typed_config: &log
        '@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
        log_format: {text_format_source: {inline_string: \"%NOPE%\\n\"}}
    filter_chains:
    - filters:
      - typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          access_log:
          - typed_config:
              '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {json_format: {a: '%REQ(:METHOD)%', b: '%PROTOCOLL%'}}
          - typed_config:
              '@type': type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig
              body: {string_value: '%NOPE%'}
              attributes: {values: [{key: '%a', value: {string_value: '%HOSTNAME%'}}]}
";
    let found: Vec<(&str, &str)> = found(text).into_iter().map(|(id, place, _)| (id, place)).collect();
    assert!(found.contains(&("SL050", "%REQ(:METHOD)%")), "silent on TCP: {found:?}");
    assert_eq!(found.iter().filter(|(id, _)| *id == "SL007").count(), 3, "{found:?}");
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn objects_of_a_list_are_checked_and_what_is_not_ours_is_left_alone() {
    let telemetry = "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: t, namespace: n}, \
                     spec: {accessLogging: [{providers: [{name: envoy}], filter: {expression: response.code}}]}}";
    let text =
        format!("apiVersion: v1\nkind: List\nitems: [{telemetry}]\n---\nkind: Deployment\nx: '%NOPE%'\n--- 12\n");
    let findings = lint(&text, OPTIONS).unwrap();
    assert_eq!(codes(&findings), ["SL105"]);
    let resource = findings[0].resource.clone().unwrap();
    assert_eq!(
        (resource.kind, resource.namespace, resource.name),
        ("Telemetry".into(), "n".into(), "t".into())
    );
    assert_eq!(findings[0].path, "items[0].spec.accessLogging[0].filter.expression");
}

#[test]
fn a_report_points_at_the_characters() {
    let text = "a: 1\n\tx: %NOPE% é\n";
    let mut finding = lint_format("%NOPE%\n", OPTIONS).remove(0);
    finding.place = 10..14;
    finding.message = "wrong".into();
    finding.help = "right".into();
    assert_eq!(
        text::report("f.yaml", text, &finding),
        "error[SL007]: wrong\n --> f.yaml:2:6\n  |\n2 | \tx: %NOPE% é\n  | \t    ^^^^\n  = help: right\n"
    );
}
