//! Files as other projects have them, each with one wrong character somewhere.

use crate::format::{Dialect, EnvoyVersion, KumaVersion};
use crate::lint::text::report;
use crate::lint::{Options, lint};

const OPTIONS: Options = Options {
    oldest: EnvoyVersion::OLDEST_SUPPORTED,
    mesh: None,
};

const fn with_kuma(major: u16, minor: u16) -> Options {
    Options {
        mesh: Some(Dialect::Kuma(KumaVersion::new(major, minor))),
        ..OPTIONS
    }
}

/// The first code that is about an object as a whole: these have tests of their own.
const POLICIES: &str = "SL300";

/// Codes, what the report's marks stand below, and paths, of formats and filters. The place that it names is held against a
/// search for the words.
#[track_caller]
fn found_with(text: &str, options: Options) -> Vec<(&'static str, String, String)> {
    let findings = lint(text, options).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let pointed = |finding: &crate::lint::Finding| {
        let report = report("f.yaml", text, finding);
        let lines: Vec<&str> = report.lines().collect();
        let behind = |line: &str| line.split_once(" | ").map(|(_, rest)| rest.to_owned()).unwrap();
        let (excerpt, marks) = (behind(lines[3]), behind(lines[4]));
        let under: String = excerpt
            .chars()
            .zip(marks.chars())
            .filter(|(_, mark)| *mark == '^')
            .map(|(c, _)| c)
            .collect();
        if text.matches(&under).count() == 1 {
            let before = text.split(&under).next().unwrap();
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            assert!(report.contains(&format!("--> f.yaml:{line}:{column}")), "{report}");
        }
        (finding.code.id, under, finding.path.clone())
    };
    let of_strings = findings.iter().filter(|finding| finding.code.id < POLICIES);
    of_strings.map(pointed).collect()
}

#[track_caller]
fn found(text: &str) -> Vec<(&'static str, String, String)> {
    found_with(text, OPTIONS)
}

/// A file that has `OPERATOR` somewhere: a good one there is clean, and of a wrong one the place is found.
#[track_caller]
fn points_at(file: &str, path: &str) {
    assert_eq!(file.matches("OPERATOR").count(), 1, "{file}");
    assert_eq!(found(&file.replace("OPERATOR", "%DURATION%")), [], "{file}");
    assert_eq!(
        found(&file.replace("OPERATOR", "99%% of %DURATION%")),
        [],
        "a near miss"
    );
    let wrong = file.replace("OPERATOR", "%DURATIOM%");
    assert_eq!(
        found(&wrong),
        [("SL007", "DURATIOM".to_owned(), path.to_owned())],
        "{wrong}"
    );
}

/// What nobody reads as a format is no finding.
#[track_caller]
fn is_not_read(file: &str) {
    assert_eq!(found(&file.replace("OPERATOR", "%NOPE%")), [], "{file}");
}

#[test]
fn mesh_config_is_found_in_what_installs_istio() {
    let operator = "apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: control-plane, namespace: istio-system}
spec:
  profile: default
  hub: docker.io/istio
  meshConfig:
    accessLogFile: /dev/stdout
    accessLogEncoding: JSON
    accessLogFormat: |
      {
        \"start_time\": \"%START_TIME%\",
        \"took\": \"OPERATOR\"
      }
  values:
    global: {proxy: {logLevel: warning}}
";
    points_at(operator, "spec.meshConfig.accessLogFormat.took");
    let passed_on = "apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec: {values: {meshConfig: {accessLogFormat: \"OPERATOR\\n\"}}}
";
    points_at(passed_on, "spec.values.meshConfig.accessLogFormat");
    let sail = "apiVersion: sailoperator.io/v1
kind: Istio
metadata: {name: default}
spec:
  version: v1.28.0
  values:
    meshConfig:
      extensionProviders:
      - name: otel
        envoyOtelAls:
          service: otel-collector.observability.svc.cluster.local
          port: 4317
          logFormat:
            labels: {took: 'OPERATOR'}
";
    points_at(
        sail,
        "spec.values.meshConfig.extensionProviders[0].envoyOtelAls.logFormat.labels.took",
    );
    is_not_read(
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {meshConfig: {accessLogFile: 'OPERATOR'}}\n",
    );
}

#[test]
fn mesh_config_is_found_in_values_of_charts() {
    let values = "# istio/istiod
global: {tag: 1.30.0}
meshConfig:
  enableTracing: true
  accessLogFormat: >-
    [%START_TIME%] OPERATOR
    %PROTOCOL%
";
    points_at(values, "meshConfig.accessLogFormat");
    points_at(
        "base: {enabled: true}\nistiod:\n  meshConfig: {accessLogFormat: 'OPERATOR'}\n",
        "istiod.meshConfig.accessLogFormat",
    );
    points_at(
        "{\"meshConfig\": {\"accessLogFormat\": \"a \\\"b\\\" OPERATOR\"}}",
        "meshConfig.accessLogFormat",
    );
    is_not_read("other: {accessLogFormat: 'OPERATOR'}\nlist: [meshConfig, 'OPERATOR']\n");
    is_not_read("name: x\nkind: Something\nmeshConfig: {accessLogFormat: 'OPERATOR'}\n");
}

#[test]
fn values_are_found_in_objects_of_argo_cd_flux_and_k3s() {
    let application = "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: istiod, namespace: argocd}
spec:
  source:
    repoURL: https://istio-release.storage.googleapis.com/charts
    chart: istiod
    helm:
      values: |
        # the mesh
        meshConfig:
          accessLogFormat: |
            [%START_TIME%] OPERATOR
";
    points_at(application, "spec.source.helm.values.meshConfig.accessLogFormat");
    let several = "apiVersion: argoproj.io/v1alpha1
kind: Application
spec:
  sources:
  - ref: values
  - helm: {valuesObject: {meshConfig: {accessLogFormat: 'OPERATOR'}}}
";
    points_at(several, "spec.sources[1].helm.valuesObject.meshConfig.accessLogFormat");
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: istiod, namespace: istio-system}
spec:
  chart: {spec: {chart: istiod}}
  values:
    meshConfig: {accessLogFormat: 'OPERATOR'}
";
    points_at(release, "spec.values.meshConfig.accessLogFormat");
    let chart = "apiVersion: helm.cattle.io/v1
kind: HelmChart
spec:
  chart: istiod
  valuesContent: |-
    meshConfig:
      accessLogFormat: \"OPERATOR\"
";
    points_at(chart, "spec.valuesContent.meshConfig.accessLogFormat");
    // What Argo CD cannot read is said of Istio's chart only.
    let broken = |values: &str| {
        found(&format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec: {{source: {{helm: {{values: '{values}'}}}}}}\n"
        ))
    };
    assert_eq!(broken("meshConfig: [")[0].0, "SL200");
    assert_eq!(broken("replicas: ["), []);
}

#[test]
fn access_logs_are_found_in_patches_of_envoys_configuration() {
    let filter = "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: access-log, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
  - applyTo: NETWORK_FILTER
    match:
      context: GATEWAY
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
    patch:
      operation: MERGE
      value:
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/stdout
              log_format:
                text_format_source:
                  inline_string: |
                    [%START_TIME%] OPERATOR
                    \"%REQ(:METHOD)%\"
";
    points_at(
        filter,
        "spec.configPatches[0].patch.value.typed_config.access_log[0].typed_config.log_format.text_format_source.inline_string",
    );
    let typed_struct = "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
spec:
  configPatches:
  - patch:
      value:
        access_log:
        - typed_config:
            '@type': type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
            value: {path: /dev/stdout, log_format: {json_format: {took: 'OPERATOR'}}}
";
    points_at(
        typed_struct,
        "spec.configPatches[0].patch.value.access_log[0].typed_config.value.log_format.json_format.took",
    );
    let policy = "{
  \"apiVersion\": \"gateway.envoyproxy.io/v1alpha1\", \"kind\": \"EnvoyPatchPolicy\",
  \"spec\": {\"type\": \"JSONPatch\", \"jsonPatches\": [{\"name\": \"listener\", \"operation\": {\"op\": \"add\", \"value\": {
    \"@type\": \"type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog\",
    \"log_format\": {\"json_format\": {\"took\": \"OPERATOR\"}}}}}]}
}";
    points_at(
        policy,
        "spec.jsonPatches[0].operation.value.log_format.json_format.took",
    );
    is_not_read(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec: {configPatches: [{patch: {value: {name: 'OPERATOR', access_log: [{path: 'OPERATOR'}]}}}]}\n",
    );
    let in_list = format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilterList\nitems:\n{}",
        filter
            .replace("OPERATOR", "%DURATIOM%")
            .replace('\n', "\n  ")
            .replacen("apiVersion", "- apiVersion", 1)
    );
    assert!(
        found(&in_list)[0].2.starts_with("items[0].spec.configPatches[0]."),
        "{in_list}"
    );
}

#[test]
fn attributes_of_an_otlp_resource_are_no_formats() {
    is_not_read(
        "static_resources:
  listeners:
  - access_log:
    - typed_config:
        '@type': type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig
        resource_attributes: {values: [{key: a, value: {string_value: 'OPERATOR'}}]}
",
    );
}

#[test]
fn envoys_configuration_is_found_in_config_maps() {
    let map = "apiVersion: v1
kind: ConfigMap
metadata: {name: envoy-config, namespace: edge}
data:
  README: 'see access_loggers.md: [%NOPE%'
  envoy.yaml: |
    admin: {address: {socket_address: {address: 0.0.0.0, port_value: 9901}}}
    static_resources:
      listeners:
      - name: main
        access_log:
        - name: envoy.access_loggers.stdout
          typed_config:
            \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
            log_format:
              text_format_source:
                inline_string: \"é OPERATOR\\n\"
";
    points_at(
        map,
        "data[\"envoy.yaml\"].static_resources.listeners[0].access_log[0].typed_config.log_format.text_format_source.inline_string",
    );
    let watched = "apiVersion: v1
kind: ConfigMap
data:
  lds.yaml: |-
    resources:
    - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener
      access_log:
      - typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
          log_format: {json_format: {took: 'OPERATOR'}}
";
    points_at(
        watched,
        "data[\"lds.yaml\"].resources[0].access_log[0].typed_config.log_format.json_format.took",
    );
    let in_json = r#"{"apiVersion": "v1", "kind": "ConfigMap", "data": {"envoy.json":
        "{\"static_resources\": {\"listeners\": [{\"access_log\": [{\"typed_config\": {\n\"@type\": \"type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\", \"log_format\": {\"json_format\": {\"took\": \"OPERATOR\"}}}}]}]}}"}}"#;
    points_at(
        in_json,
        "data[\"envoy.json\"].static_resources.listeners[0].access_log[0].typed_config.log_format.json_format.took",
    );
    // A template of a configuration is none yet.
    is_not_read(
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  envoy.tpl: |\n    static_resources: {{ access_loggers. }} OPERATOR\n",
    );
}

const ENVOY_PROXY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: logs, namespace: envoy-gateway-system}
spec:
  telemetry:
    accessLog:
      settings:
      - FORMAT
        sinks: [SINKS]
";

fn envoy_proxy(format: &str, sinks: &str) -> String {
    ENVOY_PROXY.replace("FORMAT", format).replace("SINKS", sinks)
}

#[test]
fn formats_of_an_envoy_proxy_are_judged_where_a_sink_reads_them() {
    let text = "format:
          type: Text
          text: |
            [%START_TIME%] OPERATOR";
    let at_text = "spec.telemetry.accessLog.settings[0].format.text";
    points_at(&envoy_proxy(text, "{type: File, file: {path: /dev/stdout}}"), at_text);
    points_at(
        &envoy_proxy(text, "{type: OpenTelemetry, openTelemetry: {host: otel, port: 4317}}"),
        at_text,
    );
    is_not_read(&envoy_proxy(text, "{type: ALS, als: {type: TCP}}"));

    let json = "format: {type: JSON, json: {took: \"OPERATOR\", status: \"%RESPONSE_CODE%\"}}";
    let at_json = "spec.telemetry.accessLog.settings[0].format.json.took";
    points_at(&envoy_proxy(json, "{type: File}, {type: ALS}"), at_json);
    points_at(&envoy_proxy(json, "{type: OpenTelemetry}"), at_json);

    // Without a type a file takes the JSON, and OpenTelemetry both.
    let both = "format: {text: 'OPERATOR', json: {took: '%DURATION%'}}";
    is_not_read(&envoy_proxy(both, "{type: File}"));
    points_at(&envoy_proxy(both, "{type: File}, {type: OpenTelemetry}"), at_text);
    let off = envoy_proxy(json, "{type: File}").replace("accessLog:", "accessLog:\n      disable: true");
    is_not_read(&off);
}

#[test]
fn envoy_gateway_adds_the_extension_and_no_newline() {
    let proxy = |text: &str, sinks: &str| {
        found(&envoy_proxy(
            &format!("format: {{type: Text, text: \"{text}\"}}"),
            sinks,
        ))
    };
    let without_query = "%REQ_WITHOUT_QUERY(:PATH):9%";
    assert_eq!(proxy(&format!("{without_query}\\n"), "{type: File}"), []);
    assert_eq!(proxy(without_query, "{type: File}")[0].0, "SL054");
    assert_eq!(proxy(without_query, "{type: OpenTelemetry}"), []);
}

#[test]
fn filters_and_spans_of_an_envoy_proxy_are_judged() {
    let proxy = |expression: &str| found(&envoy_proxy(&format!("matches: [\"{expression}\"]"), "{type: File}"));
    let path = "spec.telemetry.accessLog.settings[0].matches[0]".to_owned();
    let wrong = proxy("has(request.method) && response.cod >= 400");
    assert_eq!(wrong, [("SL102", "response.cod".to_owned(), path)]);
    assert_eq!(proxy("has(request.method) && response.code >= 400"), []);
    assert_eq!(proxy("response.code >= 400")[0].0, "SL150", "on TCP routes");

    let spans = "apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
spec:
  telemetry:
    tracing:
      tags: {team: core, sni: 'OPERATOR', none: ''}
      customTags: {env: {type: Literal, literal: {value: '%PROD%'}}}
      spanName: {client: 'c %PROTOCOL%', server: s}
";
    points_at(spans, "spec.telemetry.tracing.tags.sni");
    let name = spans
        .replace("OPERATOR", "%PROTOCOL%")
        .replace("c %PROTOCOL%", "c %PROTOCOLL%");
    assert_eq!(found(&name)[0].2, "spec.telemetry.tracing.spanName.client");
}

#[test]
fn texts_of_istios_span_tags_are_judged() {
    let telemetry = "apiVersion: telemetry.istio.io/v1
kind: Telemetry
spec:
  tracing:
  - providers: [{name: otel}]
    customTags:
      env: {literal: {value: '%prod%'}}
      took: {formatter: {value: 'OPERATOR'}}
";
    points_at(telemetry, "spec.tracing[0].customTags.took.formatter.value");
}

const MESH_ACCESS_LOG: &str = "apiVersion: kuma.io/v1alpha1
kind: MeshAccessLog
metadata:
  name: all
  namespace: kuma-system
  labels: {kuma.io/mesh: default}
spec:
  targetRef: {kind: Mesh}
  to:
  - targetRef: {kind: Mesh}
    default:
      backends:
      - BACKEND
";

fn mesh_access_log(backend: &str) -> String {
    MESH_ACCESS_LOG.replace("BACKEND", backend)
}

#[test]
fn formats_of_a_mesh_access_log_are_judged() {
    let at = |rest: &str| format!("spec.to[0].default.backends[0].{rest}");
    let file = mesh_access_log(
        "type: File
        file:
          path: /dev/stdout
          format:
            type: Json
            json:
            - {key: start_time, value: \"%START_TIME%\"}
            - {key: from, value: \"%KUMA_SOURCE_SERVICE%\"}
            - key: took
              value: \"OPERATOR\"",
    );
    points_at(&file, &at("file.format.json[2].value"));
    points_at(
        &file.replace("  to:", "  from:"),
        &at("file.format.json[2].value").replace("to", "from"),
    );
    points_at(
        &file.replace("  to:", "  rules:"),
        &at("file.format.json[2].value").replace("to", "rules"),
    );
    let tcp = mesh_access_log(
        "type: Tcp
        tcp:
          address: logstash.elastic.svc:5000
          format: {type: Plain, plain: '[%START_TIME%] %KUMA_MESH% OPERATOR'}",
    );
    points_at(&tcp, &at("tcp.format.plain"));
    is_not_read(&tcp.replace("type: Tcp", "type: File"));
    let body = mesh_access_log(
        "type: OpenTelemetry
        openTelemetry:
          endpoint: otel-collector:4317
          body: {kvlistValue: {values: [{key: mesh, value: {stringValue: 'OPERATOR %KUMA_MESH%'}}]}}",
    );
    points_at(&body, &at("openTelemetry.body.kvlistValue.values[0].value.stringValue"));
    points_at(
        &mesh_access_log("{type: OpenTelemetry, openTelemetry: {body: {message: [x, 'OPERATOR']}}}"),
        &at("openTelemetry.body.message[1]"),
    );
    points_at(
        &mesh_access_log("{type: OpenTelemetry, openTelemetry: {body: 'OPERATOR'}}"),
        &at("openTelemetry.body"),
    );
}

#[test]
fn kumas_universal_form_is_judged_and_named() {
    let log = "type: MeshAccessLog
name: all
mesh: default
spec:
  to:
  - default:
      backends:
      - type: File
        file: {path: /tmp/access.log, format: {type: Plain, plain: 'OPERATOR'}}
---
type: Mesh
name: default
logging:
  backends:
  - name: file
    type: file
    format: '%KUMA_MESH%'
";
    points_at(log, "spec.to[0].default.backends[0].file.format.plain");
    let findings = lint(&log.replace("OPERATOR", "%NOPE%"), OPTIONS).unwrap();
    let resource = findings[0].resource.clone().unwrap();
    assert_eq!(
        (resource.kind.as_str(), resource.name.as_str()),
        ("MeshAccessLog", "all")
    );
    is_not_read(
        "type: Deployment\nname: x\nspec: {to: [{default: {backends: [{type: File, file: {format: {plain: 'OPERATOR'}}}]}}]}\n",
    );
}

#[test]
fn a_format_behind_an_anchor_is_found_where_it_is_written() {
    let log = mesh_access_log(
        "type: File
        file:
          path: /dev/stdout
          format: &format
            type: Plain
            plain: >-
              [%START_TIME%]
              %DURATIOM%
      - type: Tcp
        tcp: {address: 'logs:5000', format: *format}",
    );
    let wrong = |rest: &str| {
        let path = format!("spec.to[0].default.backends[{rest}.format.plain");
        ("SL007", "DURATIOM".to_owned(), path)
    };
    assert_eq!(found(&log), [wrong("0].file"), wrong("1].tcp")]);
}

#[test]
fn the_old_mesh_is_judged_for_the_kumas_that_read_it() {
    let mesh = "apiVersion: kuma.io/v1alpha1
kind: Mesh
metadata: {name: default}
spec:
  logging:
    defaultBackend: file
    backends:
    - name: logstash
      format: '{\"from\": \"%KUMA_SOURCE_SERVICE%\", \"x\": 1}'
      type: tcp
      conf: {address: '127.0.0.1:5000'}
    - name: file
      type: file
      format: \"OPERATOR\"
      conf: {path: /tmp/access.log}
";
    let plain = mesh.replace(
        "'{\"from\": \"%KUMA_SOURCE_SERVICE%\", \"x\": 1}'",
        "'%KUMA_SOURCE_SERVICE%'",
    );
    points_at(&plain, "spec.logging.backends[1].format");
    assert_eq!(found(&mesh.replace("OPERATOR", "x"))[0].0, "SL056", "text like JSON");
    let wrong = plain.replace("OPERATOR", "%DURATIOM%");
    assert_eq!(found_with(&wrong, with_kuma(2, 14)).len(), 1);
    assert_eq!(found_with(&wrong, with_kuma(3, 0)), []);
    let from = mesh_access_log("{type: File, file: {format: {plain: '%NOPE%'}}}").replace("  to:", "  from:");
    assert_eq!(found_with(&from, with_kuma(2, 14)).len(), 1);
    assert_eq!(found_with(&from, with_kuma(3, 0)), [], "dropped without a word");
}

#[test]
fn kumas_operators_are_judged_by_its_version() {
    let file = mesh_access_log("{type: File, file: {format: {plain: '%KUMA_ZONE% %KUMA_MESH%'}}}");
    assert_eq!(found(&file).len(), 1, "the oldest has no zone");
    assert_eq!(found(&file)[0].0, "SL009");
    assert_eq!(found_with(&file, with_kuma(2, 14)), []);

    let attribute = mesh_access_log(
        "{type: OpenTelemetry, openTelemetry: {attributes: [{key: mesh, value: 'a %KUMA_MESH%'}, {key: p, value: '%PROTOCOL%'}]}}",
    );
    let path = "spec.to[0].default.backends[0].openTelemetry.attributes[0].value".to_owned();
    assert_eq!(
        found_with(&attribute, with_kuma(2, 13)),
        [("SL009", "%KUMA_MESH%".to_owned(), path)]
    );
    assert_eq!(found_with(&attribute, with_kuma(2, 14)), []);
    let zone = attribute.replace("%KUMA_MESH%", "%KUMA_ZONE%");
    assert_eq!(found_with(&zone, with_kuma(2, 13)).len(), 1, "said once");
}

#[test]
fn what_kuma_refuses_is_unreadable() {
    let refused = |text: &str| {
        let ids: Vec<&str> = found(text).into_iter().map(|(id, ..)| id).collect();
        assert_eq!(ids, ["SL200"], "{text}");
    };
    let json = |value: &str| {
        mesh_access_log(&format!(
            "{{type: File, file: {{format: {{json: [{{key: a, value: '{value}'}}]}}}}}}"
        ))
    };
    refused(&json("say \"%PROTOCOL%\""));
    refused(&json("a\\q"));
    assert_eq!(found(&json("a \\\"b\\\" %PROTOCOL%")), []);
    refused(&mesh_access_log(
        "{type: File, file: {format: {type: Plain, plain: ''}}}",
    ));

    let trace = |conf: &str| {
        format!("apiVersion: kuma.io/v1alpha1\nkind: MeshTrace\nspec: {{default: {{backends: [], {conf}}}}}\n")
    };
    refused(&trace("sampling: {random: 12.5}"));
    refused(&trace("sampling: {overall: 101}"));
    refused(&trace("sampling: {client: most}"));
    assert_eq!(found(&trace("sampling: {overall: 100, client: 0, random: '12.5'}")), []);
    refused(&trace("tags: [{name: a}]"));
    refused(&trace("tags: [{name: a, literal: x, header: {name: x-user}}]"));
    refused(&trace("tags: [{name: a, header: {name: ''}}]"));
    assert_eq!(
        found(&trace(
            "tags: [{name: a, literal: '%NOPE%'}, {name: b, header: {name: x-user}}]"
        )),
        []
    );
}
