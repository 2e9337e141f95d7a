//! What is said of whole folders.

use std::collections::BTreeSet;

use super::super::codes::TABLE;
use super::super::text::{self, Position};
use super::super::{Checked, Linter, Options};
use crate::format::{Dialect, EnvoyVersion};

/// Stands before the place of the finding that a case is about.
const HERE: char = '»';

fn checked(files: &[String], mesh: Option<Dialect>) -> Vec<Checked> {
    let oldest = EnvoyVersion::OLDEST_SUPPORTED;
    let mut linter = Linter::new(Options { oldest, mesh });
    for (index, text) in files.iter().enumerate() {
        let added = linter.add(format!("{index}.yaml"), text.clone());
        added.unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    linter.finish()
}

/// Codes and places (`FILE:LINE:COLUMN`) of all findings, and their messages.
fn found(files: &[String]) -> Vec<(&'static str, String, String)> {
    let of_file = |file: Checked| {
        let Checked { name, text, findings } = file;
        let place = move |at| {
            let Position { line, column } = Position::of(&text, at);
            format!("{name}:{line}:{column}")
        };
        let findings = findings.into_iter();
        findings.map(move |finding| (finding.code.id, place(finding.place.start), finding.message))
    };
    checked(files, None).into_iter().flat_map(of_file).collect()
}

/// Checks that a code, and no other, is found in files, at the mark and nowhere else.
fn assert_found(id: &str, marked: &[String]) {
    let expected: Vec<(&str, String)> = marked
        .iter()
        .enumerate()
        .flat_map(|(index, text)| {
            text.match_indices(HERE).enumerate().map(move |(before, (at, _))| {
                let text = text.replace(HERE, "");
                let Position { line, column } = Position::of(&text, at - before * HERE.len_utf8());
                (id, format!("{index}.yaml:{line}:{column}"))
            })
        })
        .collect();
    assert!(!expected.is_empty(), "{id}: no place is marked");
    let files: Vec<String> = marked.iter().map(|text| text.replace(HERE, "")).collect();
    let found = found(&files);
    let seen: Vec<(&str, String)> = found.iter().map(|(id, place, _)| (*id, place.clone())).collect();
    assert_eq!(seen, expected, "{found:?}\n{}", marked.join("\n---\n"));
}

fn assert_silent(files: &[String]) {
    assert_eq!(found(files), [], "{}", files.join("\n---\n"));
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  {spec}\n"
    )
}

fn telemetry(name: &str, spec: &str) -> String {
    object("telemetry.istio.io/v1", "Telemetry", "shop", name, spec)
}

fn root(name: &str, spec: &str) -> String {
    object("telemetry.istio.io/v1", "Telemetry", "istio-system", name, spec)
}

fn mesh_config(lines: &str) -> String {
    let indented = lines.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    {indented}\n"
    )
}

/// A MeshConfig with one provider, `x`, of this kind.
fn provider(kind: &str) -> String {
    mesh_config(&format!("extensionProviders:\n- name: x\n  {kind}"))
}

fn kuma(kind: &str, name: &str, spec: &str) -> String {
    object("kuma.io/v1alpha1", kind, "kuma-system", name, spec)
}

fn ours(kind: &str, name: &str, spec: &str) -> String {
    object("sightline.dev/v1alpha1", kind, "shop", name, spec)
}

fn observability_mesh(spec: &str) -> String {
    format!("apiVersion: sightline.dev/v1alpha1\nkind: ObservabilityMesh\nmetadata: {{name: main}}\nspec: {spec}\n")
}

fn grpc_logging(key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: grpc-logging}}\ndata:\n  application.yaml: |\n    ds_driver: Elastic\n    {key}: x\n"
    )
}

/// A code, files in which it is found at the mark, and files in which it nearly is.
type Case = (&'static str, Vec<String>, Vec<String>);

fn logs(list: &str) -> String {
    format!("accessLogging: {list}")
}

fn selecting(labels: &str, rest: &str) -> String {
    format!("selector: {{matchLabels: {labels}}}\n  {rest}")
}

fn of_metrics() -> Vec<Case> {
    vec![(
        "SL313",
        vec![telemetry(
            "a",
            "metrics: [{overrides: [{tagOverrides: {host: {value: '»string(request.host)'}}}]}]",
        )],
        vec![telemetry(
            "a",
            "metrics: [{overrides: [{tagOverrides: {host: {value: request.host}, gone: {operation: REMOVE}}}]}]",
        )],
    )]
}

fn of_telemetries() -> Vec<Case> {
    let on = "accessLogging: [{providers: [{name: envoy}]}]";
    vec![
        (
            "SL312",
            vec![telemetry("a", "tracing: [{providers: [{name: x}, {name: »y}]}]")],
            vec![telemetry(
                "a",
                "tracing: [{providers: [{name: x}], match: {mode: CLIENT}}, {providers: [{name: y}], match: {mode: SERVER}}]",
            )],
        ),
        (
            "SL300",
            vec![telemetry(
                "a",
                "accessLogging:\n  - »filter:\n      expression: connection.id == 1u",
            )],
            vec![telemetry(
                "a",
                "accessLogging:\n  - filter:\n      expression: connection.id == 1u\n    providers: [{name: envoy}]",
            )],
        ),
        (
            "SL301",
            vec![
                telemetry("a", on),
                telemetry("»b", "tracing: [{providers: [{name: x}]}]"),
            ],
            // Two versions of one, another namespace, a selector.
            vec![
                telemetry("a", on),
                telemetry("a", on),
                root("b", on),
                telemetry("c", &selecting("{app: a}", on)),
            ],
        ),
        (
            "SL302",
            vec![
                telemetry("a", &logs("[{providers: [{name: »file}]}]")),
                provider("envoyFileAccessLog: {}"),
            ],
            vec![
                telemetry(
                    "a",
                    &logs("[{providers: [{name: X}, {name: envoy}, {name: sightline-a}]}]"),
                ),
                provider("envoyFileAccessLog: {}"),
            ],
        ),
        (
            "SL303",
            vec![telemetry(
                "a",
                "accessLogging:\n  - providers: [{name: envoy}]\n    »filter: {expression: connection.id == 1u}\n  - providers: [{name: envoy}]\n    filter: {expression: connection.id == 2u}",
            )],
            vec![telemetry(
                "a",
                "accessLogging:\n  - providers: [{name: envoy}]\n    match: {mode: SERVER}\n    filter: {expression: connection.id == 1u}\n  - providers: [{name: envoy}]\n    match: {mode: CLIENT}\n    filter: {expression: connection.id == 2u}",
            )],
        ),
        (
            "SL304",
            vec![
                mesh_config("accessLogFile: /dev/stdout"),
                telemetry("a", &logs("[»{match: {mode: SERVER}, providers: [{name: envoy}]}]")),
            ],
            vec![
                mesh_config("accessLogFile: /dev/stdout"),
                telemetry(
                    "a",
                    &logs(
                        "[{match: {mode: SERVER}, providers: [{name: envoy}]}, {match: {mode: CLIENT}, disabled: true, providers: [{name: envoy}]}]",
                    ),
                ),
            ],
        ),
        (
            "SL305",
            vec![
                mesh_config("accessLogFile: /dev/stdout"),
                telemetry("a", &logs("[»{disabled: true}]")),
            ],
            vec![
                mesh_config("accessLogFile: /dev/stdout"),
                telemetry("a", &logs("[{disabled: true}]")),
                root("a", on),
            ],
        ),
        (
            "SL306",
            vec![telemetry("a", "tracing: [»{randomSamplingPercentage: 5}]")],
            vec![
                telemetry("a", "tracing: [{randomSamplingPercentage: 5}]"),
                root("a", "tracing: [{providers: [{name: x}]}]"),
            ],
        ),
    ]
}

fn of_selectors() -> Vec<Case> {
    let on = "accessLogging: [{providers: [{name: envoy}]}]";
    let here = format!("{HERE}selector: {{matchLabels: ");
    vec![
        (
            "SL307",
            vec![
                telemetry("a", &selecting("{app: cart}", on)),
                telemetry("b", &format!("{here}{{app: cart, version: v2}}}}\n  {on}")),
            ],
            vec![
                telemetry("a", &selecting("{app: cart, version: v1}", on)),
                telemetry("b", &selecting("{app: cart, version: v2}", on)),
            ],
        ),
        (
            "SL308",
            vec![
                telemetry("a", &selecting("{app: cart}", on)),
                telemetry("b", &format!("{here}{{version: v2}}}}\n  {on}")),
            ],
            // Traces do not leak, and only one of the two speaks of logs.
            vec![
                telemetry("a", &selecting("{app: cart}", "tracing: [{providers: [{name: x}]}]")),
                telemetry("b", &selecting("{version: v2}", "targets: []")),
            ],
        ),
        (
            "SL309",
            vec![root("a", &format!("{here}{{app: cart}}}}\n  {on}"))],
            vec![root("a", &selecting("{istio: ingressgateway}", on))],
        ),
        (
            "SL310",
            vec![
                telemetry(
                    "a",
                    &format!("{here}{{gateway.networking.k8s.io/gateway-name: w}}}}\n  {on}"),
                ),
                object(
                    "gateway.networking.k8s.io/v1",
                    "Gateway",
                    "shop",
                    "w",
                    "gatewayClassName: istio-waypoint",
                ),
            ],
            vec![
                telemetry("a", &selecting("{gateway.networking.k8s.io/gateway-name: w}", on)),
                object(
                    "gateway.networking.k8s.io/v1",
                    "Gateway",
                    "shop",
                    "w",
                    "gatewayClassName: istio",
                ),
            ],
        ),
        (
            "SL311",
            vec![root(
                "a",
                &format!("targetRefs:\n  - »kind: GatewayClass\n    name: istio-waypoint\n  {on}"),
            )],
            vec![root(
                "a",
                &format!("targetRefs:\n  - kind: Gateway\n    name: w\n  {on}"),
            )],
        ),
    ]
}

fn of_mesh_config() -> Vec<Case> {
    let service = "service: a.b.svc.cluster.local, port: 80";
    let shared = |name: &str| {
        let text = mesh_config(&format!("extensionProviders:\n- name: {name}\n  prometheus: {{}}"));
        text.replacen("name: istio,", "name: shared,", 1)
    };
    vec![
        (
            "SL331",
            vec![provider("prometheus: {}"), shared("»x")],
            vec![provider("prometheus: {}"), shared("y")],
        ),
        (
            "SL320",
            vec![mesh_config("defaultConfig:\n  tracing:\n    sampling: »0")],
            vec![mesh_config("defaultConfig:\n  tracing:\n    sampling: 0.1")],
        ),
        (
            "SL321",
            vec![provider(&format!(
                "envoyOtelAls: {{{service}, logFormat: {{labels: {{a: '%PROTOCOL%', b: »1}}}}}}"
            ))],
            vec![provider(
                "envoyFileAccessLog: {logFormat: {labels: {a: '%PROTOCOL%', b: 1}}}",
            )],
        ),
        (
            "SL322",
            vec![provider("prometheus: {}\n- name: »X\n  prometheus: {}")],
            vec![provider("prometheus: {}\n- name: x2\n  prometheus: {}")],
        ),
        (
            "SL323",
            vec![provider(&format!("skywalking: {{{service}, »accessToken: a}}"))],
            vec![provider(&format!("skywalking: {{{service}}}"))],
        ),
        (
            "SL324",
            vec![
                mesh_config("accessLogFormatt: |\n  a\n»accessLogfile: /dev/stdout").replacen(
                    "accessLogFormatt",
                    "»accessLogFormatt",
                    1,
                ),
            ],
            vec![mesh_config(
                "access_log_format: |\n  a\nsomethingNew: 1\ndefaultTrafficPolicy: {}",
            )],
        ),
        (
            "SL325",
            vec![mesh_config("extensionProviders:\n- »name: x")],
            vec![provider("prometheus: {}")],
        ),
        (
            "SL326",
            vec![provider("zipkin: {service: »zipkin.istio-system.svc, port: 9411}")],
            vec![provider("zipkin: {service: 10.0.0.1, port: 9411}")],
        ),
        (
            "SL327",
            vec![provider("zipkin: {service: »zipkin.example.com, port: 9411}")],
            vec![provider("zipkin: {service: tracing/zipkin.example.com, port: 9411}")],
        ),
        (
            "SL328",
            vec![provider(&format!(
                "opentelemetry:\n    {}\n    »http: {{path: /v1/traces}}",
                service.replace(", ", "\n    ")
            ))],
            vec![provider(&format!(
                "opentelemetry: {{{service}, http: {{path: /v1/traces, timeout: 5s}}}}"
            ))],
        ),
        (
            "SL329",
            vec![
                provider(&format!(
                    "opentelemetry: {{{service}, grpc: {{initialMetadata: [{{name: api-key, »value: hush}}]}}}}"
                )),
                provider(&format!(
                    "opentelemetry: {{{service}, dynatraceSampler: {{httpService: {{http: {{headers: [{{name: a, »value: Api-Token b}}]}}}}}}}}"
                )),
            ],
            vec![provider(&format!(
                "opentelemetry: {{{service}, grpc: {{initialMetadata: [{{name: x-tenant, value: shop}}]}}}}"
            ))],
        ),
        (
            "SL330",
            vec![provider(&format!(
                "zipkin: {{{service}, headers: [{{name: a, »envName: TOKEN}}]}}"
            ))],
            vec![provider(&format!(
                "zipkin: {{{service}, headers: [{{name: a, value: b}}]}}"
            ))],
        ),
    ]
}

/// A Deployment with one container of this image.
fn deployment(image: &str, env: &str) -> String {
    let spec = format!("template:\n    spec:\n      containers:\n      - image: {image}\n        env: {env}");
    object("apps/v1", "Deployment", "shop", "a", &spec)
}

fn of_workloads() -> Vec<Case> {
    let sampler = |ratio: &str| {
        let env =
            "[{name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}, {name: OTEL_TRACES_SAMPLER_ARG, value: ";
        deployment("cart", &format!("{env}{ratio}}}]"))
    };
    let attributes = |value: &str| deployment("cart", &format!("[{{name: OTEL_RESOURCE_ATTRIBUTES, value: {value}}}]"));
    let certificate =
        "{name: TELEMETRY_CA_CRT_FILEPATH, value: »/ca}, {name: TELEMETRY_CLIENT_KEY_FILEPATH, value: /key}";
    let whole = format!("{certificate}, {{name: TELEMETRY_CLIENT_CRT_FILEPATH, value: /crt}}").replace(HERE, "");
    let interlink = "ghcr.io/interlink-hq/interlink/virtual-kubelet:1";
    vec![
        ("SL380", vec![sampler("»'5'")], vec![sampler("'0.05'")]),
        (
            "SL381",
            vec![attributes("»'a=b,c'"), attributes("»a=5%")],
            vec![attributes("'a=b,c=5%25'"), attributes("$(A)")],
        ),
        (
            "SL382",
            vec![
                deployment(
                    interlink,
                    "[{name: ENABLE_TRACING, value: »'true'}, {name: TELEMETRY_ENDPOINT, value: »'http://a:4317'}]",
                ),
                deployment(interlink, &format!("[{certificate}]")),
            ],
            vec![
                deployment(interlink, &format!("[{{name: ENABLE_TRACING, value: '1'}}, {whole}]")),
                deployment("cart", "[{name: ENABLE_TRACING, value: 'true'}]"),
            ],
        ),
    ]
}

fn of_others() -> Vec<Case> {
    let backends = "default: {backends: [{type: File, file: {path: /dev/stdout}}]}";
    let all = "targetRef: {kind: Mesh}";
    let reference = |labels: &str| {
        kuma(
            "MeshTrace",
            "a",
            &format!(
                "default:\n    sampling: {{overall: 5}}\n    backends:\n    - type: OpenTelemetry\n      openTelemetry:\n        »backendRef: {{kind: MeshOpenTelemetryBackend, labels: {labels}}}"
            ),
        )
    };
    let backend =
        kuma("MeshOpenTelemetryBackend", "otel", "{}").replace("  name: otel\n", "  name: otel\n  labels: {a: b}\n");
    let unmarked = |text: String| text.replace(HERE, "");
    vec![
        (
            "SL340",
            vec![kuma("MeshAccessLog", "a", &format!("to: [{{{all}, {backends}}}]\n  »rules: [{{{backends}}}]"))],
            vec![kuma("MeshAccessLog", "a", &format!("to: []\n  rules: [{{{backends}}}]"))],
        ),
        (
            "SL341",
            vec![
                kuma("MeshAccessLog", "a", &format!("»from: [{{{all}, {backends}}}]")),
                "apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec:\n  mtls: {}\n  »logging: {}\n".to_owned(),
                "apiVersion: kuma.io/v1alpha1\n»kind: TrafficLog\nmetadata: {name: a}\nspec: {}\n".to_owned(),
            ],
            vec![
                kuma("MeshAccessLog", "a", &format!("to: [{{{all}, {backends}}}]")),
                "apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: default}\nspec:\n  mtls: {}\n".to_owned(),
            ],
        ),
        ("SL342", vec![reference("{a: c}"), backend.clone()], vec![unmarked(reference("{a: b, kuma.io/env: x}")), backend]),
        (
            "SL343",
            vec![kuma("MeshTrace", "a", "default:\n    »backends: [{type: Zipkin}]")],
            vec![kuma("MeshTrace", "a", "default: {backends: []}")],
        ),
        (
            "SL344",
            vec![
                kuma("MeshAccessLog", "b", &format!("to:\n  - »targetRef: {{kind: Mesh}}\n    {backends}")),
                kuma("MeshAccessLog", "a", &format!("targetRef: {{kind: Mesh}}\n  to: [{{{all}, {backends}}}]")),
            ],
            vec![
                kuma("MeshAccessLog", "b", &format!("to: [{{{all}, {backends}}}]")),
                kuma(
                    "MeshAccessLog",
                    "a",
                    &format!("targetRef: {{kind: Dataplane, labels: {{app: a}}}}\n  to: [{{{all}, {backends}}}]"),
                ),
            ],
        ),
        (
            "SL360",
            vec![
                ours("TrafficLog", "a", "direction: Inbound\n  »disabled: 'true'"),
                ours("TrafficLog", "b", "backends:\n  - a\n  - »A_"),
                ours("TrafficLog", "c", "»formats: {}"),
                ours("TrafficLog", "d", "selector: {matchLabels: {a: b}}\n  targetRefs: [{kind: Gateway, name: a}]").replace("spec:", "»spec:"),
            ],
            vec![ours("TrafficLog", "a", "direction: Inbound\n  disabled: true")],
        ),
        (
            "SL361",
            vec![
                observability_mesh("{mesh: {type: Istio}}"),
                ours("TrafficLog", "a", "backends: [stdout, »files]"),
                ours("TrafficLog", "b", "meshRef: {name: »mian}"),
            ],
            vec![
                observability_mesh("{mesh: {type: Istio}}"),
                ours("TrafficLog", "a", "backends: [stdout]\n  meshRef: {name: main}"),
            ],
        ),
        ("SL370", vec![grpc_logging("»password")], vec![grpc_logging("passworld")]),
    ]
}

#[test]
fn each_code_of_policies_fires_at_its_place_and_does_not_nearly() {
    let cases = [
        of_telemetries(),
        of_metrics(),
        of_selectors(),
        of_mesh_config(),
        of_others(),
        of_workloads(),
    ]
    .concat();
    for (id, fires, nearly) in &cases {
        assert_found(id, fires);
        assert_silent(nearly);
    }
    let tested: BTreeSet<&str> = cases.iter().map(|(id, ..)| *id).collect();
    let known: BTreeSet<&str> = TABLE
        .iter()
        .map(|code| code.id)
        .filter(|id| id.starts_with("SL3"))
        .collect();
    assert_eq!(tested, known, "a code without a case");
}

#[test]
fn of_two_live_telemetries_the_younger_is_ignored_wherever_it_stands() {
    let live = |name: &str, created: &str| {
        let text = telemetry(name, "tracing: [{providers: [{name: x}]}]");
        let created = format!("  creationTimestamp: 2026-01-0{created}T00:00:00Z\n");
        text.replace("  namespace:", &format!("{created}  namespace:"))
    };
    assert_found("SL301", &[live("»a", "2"), live("b", "1")]);
    assert_found("SL301", &[live("a", "1"), live("»b", "1")]);
    let found = found(&[live("a", "3"), live("b", "1"), live("c", "2")]);
    let said: Vec<&str> = found.iter().map(|(.., message)| message.as_str()).collect();
    let message = "Istio ignores this Telemetry, because Telemetry shop/b (1.yaml) is older";
    assert_eq!(said, [message, message]);
}

#[test]
fn telemetries_of_two_revisions_do_not_meet() {
    let of = |name: &str, revision: &str| {
        let text = telemetry(name, "tracing: [{providers: [{name: x}]}]");
        text.replace(
            "  namespace:",
            &format!("  labels: {{istio.io/rev: {revision}}}\n  namespace:"),
        )
    };
    assert_silent(&[of("a", "one"), of("b", "two")]);
    assert_found("SL301", &[of("a", "one"), of("»b", "one")]);
}

#[test]
fn what_names_no_namespace_meets_only_what_stands_in_its_file() {
    let bare = |name: &str| telemetry(name, "tracing: [{providers: [{name: x}]}]").replace("  namespace: shop\n", "");
    assert_silent(&[bare("a"), bare("b")]);
    assert_found("SL301", &[format!("{}---\n{}", bare("a"), bare("»b"))]);
}

#[test]
fn the_same_selector_twice_matters_only_where_both_speak() {
    let one = |name: &str, rest: &str| telemetry(name, &selecting("{app: a}", rest));
    let (logs, traces) = (
        "accessLogging: [{providers: [{name: envoy}]}]",
        "tracing: [{providers: [{name: x}]}]",
    );
    assert_silent(&[one("a", logs), one("b", traces)]);
    let marked = one("b", logs).replace("selector:", "»selector:");
    assert_found("SL307", &[one("a", logs), marked]);
    let wider = telemetry("b", &selecting("{app: a, v: b}", traces)).replace("selector:", "»selector:");
    assert_found("SL307", &[one("a", logs), wider]);
}

#[test]
fn the_root_namespace_is_that_of_mesh_config() {
    let selecting = selecting("{app: a}", "accessLogging: [{providers: [{name: envoy}]}]");
    let roots = mesh_config("rootNamespace: shop");
    assert_silent(&[root("a", &selecting), roots.clone()]);
    assert_found(
        "SL309",
        &[telemetry("a", &selecting).replace("selector:", "»selector:"), roots],
    );
}

#[test]
fn nothing_falls_back_where_mesh_config_has_a_default_provider() {
    let server = telemetry(
        "a",
        "accessLogging: [{match: {mode: SERVER}, providers: [{name: envoy}]}]",
    );
    let config = "accessLogFile: /dev/stdout\ndefaultProviders: {accessLogging: [envoy], tracing: [prometheus]}";
    let tracing = root("a", "tracing: [{randomSamplingPercentage: 5}]");
    assert_silent(&[server, tracing, mesh_config(config)]);
}

#[test]
fn no_name_is_unknown_without_a_mesh_config_and_default_providers_are_names_too() {
    assert_silent(&[telemetry("a", "accessLogging: [{providers: [{name: file}]}]")]);
    assert_found("SL302", &[mesh_config("defaultProviders:\n  accessLogging: [»file]")]);
}

#[test]
fn a_plugin_is_not_verified() {
    let plugin = |spec: &str| object("extensions.istio.io/v1alpha1", "WasmPlugin", "shop", "a", spec);
    assert_found("SL323", &[plugin("url: oci://a\n  »verificationKey: abc")]);
    assert_silent(&[plugin("url: oci://a")]);
}

#[test]
fn a_secret_is_not_printed_again() {
    let file = provider("zipkin: {service: 10.0.0.1, port: 1, headers: [{name: authorization, value: Bearer hush}]}");
    let checked = checked(&[file], None).remove(0);
    let report = text::report(&checked.name, &checked.text, &checked.findings[0]);
    assert!(
        report.contains("0.yaml:8:") && report.contains("`authorization`"),
        "{report}"
    );
    assert!(!report.contains("hush"), "{report}");
}

#[test]
fn what_the_judge_of_formats_said_the_api_server_does_not_say_again() {
    let ids = |spec: &str| -> Vec<&str> {
        found(&[ours("TrafficLog", "a", spec)])
            .into_iter()
            .map(|(id, ..)| id)
            .collect()
    };
    assert_eq!(ids("format: {encoding: JSON, text: a}"), ["SL016"]);
    assert_eq!(
        ids("format: {encoding: JSON, text: a}\n  priority: 1001"),
        ["SL016", "SL360"]
    );
}

#[test]
fn formats_are_read_by_the_mesh_of_an_observability_mesh_also_in_a_file_before_it() {
    let log = ours("TrafficLog", "a", "format: {text: '%KUMA_MESH%'}");
    let mesh = |kind: &str| {
        format!("apiVersion: sightline.dev/v1alpha2\nkind: ObservabilityMesh\nspec: {{mesh: {{type: {kind}}}}}\n")
    };
    let of_log = |files: &[String], mesh| -> Vec<&str> {
        let log = checked(files, mesh).remove(0);
        log.findings.iter().map(|finding| finding.code.id).collect()
    };
    let unknown = ["SL008"];
    assert_eq!(of_log(std::slice::from_ref(&log), None), unknown);
    assert_eq!(of_log(&[log.clone(), mesh("Kuma")], None), [""; 0]);
    assert_eq!(
        of_log(&[log.clone(), mesh("Kuma"), mesh("Istio")], None),
        unknown,
        "they do not agree"
    );
    assert_eq!(
        of_log(&[log, mesh("Kuma")], Some(Dialect::Istio)),
        unknown,
        "the flag says more"
    );
}

#[test]
fn the_text_of_a_file_is_kept_only_for_what_is_found_in_it() {
    let files = [
        telemetry("a", "tracing: [{providers: [{name: x}]}]"),
        telemetry("b", "tracing: []"),
    ];
    let kept: Vec<bool> = checked(&files, None).iter().map(|file| !file.text.is_empty()).collect();
    assert_eq!(kept, [false, true]);
}
