//! The rules, each on a world of its own.

use serde_json::{Value, json};
use sightline::cli::files::Document;
use sightline::explain::{Subject, tree};
use sightline::snapshot::Key;
use sightline::yaml::read_documents;

use crate::AtRest;

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: x, istio-injection: enabled}}
";

fn world(texts: &[&str]) -> AtRest {
    let objects = std::iter::once(&NAMESPACE).chain(texts);
    let objects = objects.flat_map(|text| read_documents(text).unwrap());
    let document = |object| Document {
        file: "in.yaml".into(),
        object,
    };
    AtRest::new(objects.map(document).collect())
}

/// A mesh with three backends; `more`: members of its spec.
fn mesh(more: &str) -> String {
    format!(
        "
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {{name: m}}
spec:
  namespaces: {{matchLabels: {{team: x}}}}
  mesh: {{type: Istio}}
{more}"
    )
}

fn log(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {{name: {name}, namespace: shop}}
spec: {spec}
"
    )
}

fn tracing(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: sightline.dev/v1alpha1
kind: TracingBackend
metadata: {{name: {name}, namespace: shop}}
spec: {{destination: {{type: MeshBackend, meshBackend: {{name: tempo}}}}, {spec}}}
"
    )
}

const TWO_BACKENDS: &str = "
  logging:
    backends:
    - {name: stdout, type: File, file: {path: /dev/stdout}}
    - {name: otel, type: OTLP, otlp: {endpoint: {host: otel.obs.svc.cluster.local, port: 4317}}}
";

const TEMPO: &str = "
  tracing:
    backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: tempo.mon.svc.cluster.local, port: 4317}}}]
";

fn pod(name: &str, labels: &str, proxy: bool) -> String {
    let proxy = if proxy {
        ", {name: istio-proxy, image: 'docker.io/istio/proxyv2:1.29.1'}"
    } else {
        ""
    };
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {labels}}}
spec: {{containers: [{{name: app, image: app}}{proxy}]}}
"
    )
}

fn ask(world: &AtRest, subject: &Subject) -> Value {
    serde_json::to_value(world.ask(subject).unwrap()).unwrap()
}

/// What is said of the pod `cart`, labelled `app: cart, tier: web`.
fn cart(texts: &[&str]) -> Value {
    let pod = pod("cart", "{app: cart, tier: web}", true);
    let world = world(&[texts, &[&pod]].concat());
    ask(&world, &Subject::Pod(Key::new("shop", "cart")))
}

fn source(kind: &str, name: &str, field: Option<&str>) -> Value {
    let mut source = json!({"kind": kind, "namespace": "shop", "name": name});
    if kind == "ObservabilityMesh" {
        source = json!({"kind": kind, "name": name});
    }
    if let Some(field) = field {
        source["field"] = field.into();
    }
    source
}

#[test]
fn a_deeper_scope_wins_its_direction_whole_and_the_other_falls_through_to_the_namespace() {
    let json = cart(&[
        &mesh(TWO_BACKENDS),
        &log("all", "{backends: [stdout, otel]}"),
        &log("calls", "{selector: {matchLabels: {app: cart}}, direction: Outbound}"),
    ]);
    let backends = |side: usize| -> Vec<&str> {
        let lines = json["logging"][side]["lines"].as_array().unwrap();
        lines
            .iter()
            .map(|line| line["from"]["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(json["logging"][0]["direction"], "Inbound");
    assert_eq!(backends(0), ["all", "all"]);
    assert_eq!(backends(1), ["calls"]);
    let lost = json["overridden"].as_array().unwrap();
    assert_eq!(lost.len(), 2, "{lost:?}");
    for lost in lost {
        assert_eq!(lost["policy"], source("TrafficLog", "all", None));
        assert_eq!(lost["by"], json!([source("TrafficLog", "calls", None)]));
        assert_eq!(
            (&lost["direction"], &lost["why"]),
            (&json!("Outbound"), &json!("DeeperScope"))
        );
    }
}

#[test]
fn of_two_in_one_scope_the_one_with_more_labels_wins_and_the_loser_is_named_with_it() {
    let json = cart(&[
        &mesh(""),
        &log("a", "{selector: {matchLabels: {app: cart}}}"),
        &log("b", "{selector: {matchLabels: {app: cart, tier: web}}}"),
    ]);
    assert_eq!(json["logging"][0]["lines"][0]["from"], source("TrafficLog", "b", None));
    let lost = &json["overridden"][0];
    assert_eq!(lost["policy"], source("TrafficLog", "a", None));
    assert_eq!(lost["by"], json!([source("TrafficLog", "b", None)]));
    assert_eq!(
        (&lost["claim"], &lost["why"]),
        (&json!("backend stdout"), &json!("SameScope"))
    );
}

#[test]
fn an_off_switch_is_named_where_nothing_is_logged() {
    let json = cart(&[
        &mesh("  tenancy: {disableLogging: Allowed}"),
        &log("all", "{}"),
        &log(
            "silent",
            "{selector: {matchLabels: {app: cart}}, direction: Inbound, disabled: true}",
        ),
    ]);
    assert_eq!(json["logging"][0]["outcome"], "Off");
    assert_eq!(
        json["logging"][0]["offBy"],
        source("TrafficLog", "silent", Some("spec.disabled"))
    );
    assert_eq!(json["logging"][1]["outcome"], "Logged");
}

#[test]
fn a_filter_that_is_an_error_on_tcp_says_so_and_one_that_asks_first_does_not() {
    let line = |expression: &str| {
        let filter = format!("{{filter: {{type: Expression, expression: '{expression}'}}}}");
        let json = cart(&[&mesh(""), &log("errors", &filter)]);
        json["logging"][0]["lines"][0]["filter"].clone()
    };
    let silent = line("response.code >= 400");
    assert_eq!(silent["expression"], "response.code >= 400");
    assert_eq!(silent["errorOnTcp"], true);
    let asks = line("has(request.method) && response.code >= 400");
    assert_eq!(asks["expression"], "has(request.method) && response.code >= 400");
    assert_eq!(asks.get("errorOnTcp"), None);
}

#[test]
fn what_a_mesh_requires_is_its_own_and_a_policy_that_claims_it_is_told_so() {
    let required = format!("{TWO_BACKENDS}    required: [{{backend: otel, direction: Inbound}}]\n");
    let texts = [
        mesh(&required),
        log(
            "otel",
            "{backends: [otel], direction: Inbound, filter: {type: Match, match: {minStatus: 400}}}",
        ),
    ];
    let json = cart(&[&texts[0], &texts[1]]);
    let line = &json["logging"][0]["lines"][0];
    assert_eq!(
        (&line["required"], &line["from"]),
        (&json!(true), &source("ObservabilityMesh", "m", None))
    );
    assert_eq!(line.get("filter"), None, "nobody narrows it");
    assert_eq!(json["overridden"][0]["why"], "Required");
    let world = world(&[&texts[0], &texts[1]]);
    let log = ask(&world, &Subject::TrafficLog(Key::new("shop", "otel")));
    assert_eq!(log["units"][0]["outcome"], "Required");
    assert_eq!(
        log["units"][0]["by"],
        source("ObservabilityMesh", "m", Some("spec.logging.required"))
    );
}

const MESH_CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stderr
    accessLogEncoding: JSON
    defaultProviders: {accessLogging: [theirs], tracing: [zipkin], metrics: [prometheus]}
";

#[test]
fn where_no_policy_speaks_mesh_config_does_and_its_default_loggers_are_forgotten_once_one_does() {
    let json = cart(&[&mesh(""), MESH_CONFIG]);
    let fallback = &json["logging"][1]["fallback"];
    assert_eq!(fallback["providers"], json!(["theirs"]));
    assert_eq!(
        fallback["from"],
        json!({"kind": "ConfigMap", "namespace": "istio-system", "name": "istio", "field": "defaultProviders.accessLogging"})
    );
    assert_eq!(json["tracing"]["fallback"]["providers"], json!(["zipkin"]));
    let json = cart(&[&mesh(""), MESH_CONFIG, &log("in", "{direction: Inbound}")]);
    let fallback = &json["logging"][1]["fallback"];
    assert_eq!(fallback.get("providers"), None);
    assert_eq!(
        (&fallback["file"], &fallback["encoding"]),
        (&json!("/dev/stderr"), &json!("JSON"))
    );
}

#[test]
fn a_format_comes_from_who_wrote_it_and_one_that_is_denied_from_the_mesh() {
    let own = log("own", "{format: {encoding: Text, text: \"%PROTOCOL%\\n\"}}");
    let format = |json: &Value| json["logging"][0]["lines"][0]["format"].clone();
    let allowed = format(&cart(&[&mesh(""), &own]));
    assert_eq!(allowed["text"], "%PROTOCOL%\n");
    assert_eq!(allowed["from"], source("TrafficLog", "own", Some("spec.format")));
    let denied = cart(&[&mesh("  tenancy: {overrideFormat: Denied}"), &own]);
    assert_eq!(format(&denied)["from"]["kind"], "ObservabilityMesh");
    assert_ne!(format(&denied)["text"], "%PROTOCOL%\n");
    assert_eq!(denied["problems"][0]["reason"], "LimitedByMesh");
}

#[test]
fn what_a_compiler_refuses_is_shown_with_carets_below_the_place() {
    let world = world(&[
        &mesh(""),
        &log("bad", "{format: {encoding: Text, text: 'a %REQQ(:PATH)%'}}"),
    ]);
    let subject = Subject::TrafficLog(Key::new("shop", "bad"));
    let json = ask(&world, &subject);
    let detail = &json["conditions"][0]["details"][0];
    assert_eq!(detail["path"], "spec.format.text");
    assert_eq!(
        (&detail["line"], &detail["carets"]),
        (&json!("a %REQQ(:PATH)%"), &json!("   ^^^^"))
    );
    let tree = tree::text(&world.ask(&subject).unwrap());
    assert!(
        tree.contains("├── a %REQQ(:PATH)%\n") && tree.contains("└──    ^^^^\n"),
        "{tree}"
    );
}

#[test]
fn what_a_compiler_warns_of_is_shown_with_carets_below_the_place_and_is_a_problem_of_its_workloads() {
    let spec = "{format: {encoding: Text, text: 'a %REQ(COOKIE)%', tcp: {text: 'é %PROTOCOL%'}}}";
    let world = world(&[&mesh(""), &log("odd", spec)]);
    let subject = Subject::TrafficLog(Key::new("shop", "odd"));
    let tree = tree::text(&world.ask(&subject).unwrap());
    let shown: Vec<&str> = tree
        .lines()
        .skip_while(|line| !line.contains("AcceptedWithWarnings"))
        .skip(1)
        .take(6)
        .collect();
    assert_eq!(
        shown,
        [
            "│   │   ├── spec.format.text: SL055: the header `COOKIE` usually carries a secret, and who reads logs may not know it; leave it out",
            "│   │   │   ├── a %REQ(COOKIE)%",
            "│   │   │   └──   ^^^^^^^^^^^^^",
            "│   │   └── spec.format.tcp.text: SL050: `PROTOCOL` says nothing for TCP connections (it always prints `-` or `0`), and this format is for nothing else; leave it out",
            "│   │       ├── é %PROTOCOL%",
            "│   │       └──   ^^^^^^^^^^",
        ],
        "{tree}"
    );
    let json = ask(&world, &subject);
    let ready = json["conditions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&ready["condition"], &ready["status"]),
        (&json!("Ready"), &json!("True"))
    );
    let cart = cart(&[&mesh(""), &log("odd", spec)]);
    assert_eq!(cart["problems"][0]["reason"], "AcceptedWithWarnings");
    assert_eq!(cart["problems"][0]["details"][1]["carets"], "  ^^^^^^^^^^");
}

#[test]
fn sampling_destination_and_each_tag_have_sources_of_their_own() {
    let default = format!(
        "{TEMPO}    default: {{backend: tempo, tags: [{{name: env, type: Literal, literal: prod}}]}}\n  tenancy: {{maxSamplingPercentage: \"5\"}}"
    );
    let mesh = mesh(&default);
    let by_default = cart(&[&mesh]);
    let spans = &by_default["tracing"]["spans"];
    assert_eq!(
        spans["from"],
        source("ObservabilityMesh", "m", Some("spec.tracing.default"))
    );
    let traces = tracing(
        "t",
        "sampling: {percentage: \"50\"}, tags: [{name: who, type: Header, header: {name: x-who}}]",
    );
    let json = cart(&[&mesh, &traces]);
    let spans = &json["tracing"]["spans"];
    assert_eq!(spans["destination"], "tempo.mon.svc.cluster.local:4317");
    assert_eq!(
        spans["destinationFrom"],
        source("ObservabilityMesh", "m", Some("spec.tracing.backends[tempo]"))
    );
    assert_eq!(spans["samplingPercentage"], "5");
    assert_eq!(
        spans["samplingFrom"],
        source("ObservabilityMesh", "m", Some("spec.tenancy.maxSamplingPercentage"))
    );
    let tags: Vec<(&str, &str)> = spans["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| (tag["name"].as_str().unwrap(), tag["from"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        tags,
        [("env", "m"), ("who", "t")],
        "spans have the tags of wider scopes too"
    );
}

#[test]
fn a_pod_without_a_proxy_gets_nothing_from_telemetries() {
    let world = world(&[&mesh(""), &log("all", "{}"), &pod("bare", "{app: bare}", false)]);
    let json = ask(&world, &Subject::Pod(Key::new("shop", "bare")));
    assert_eq!(json["proxy"]["state"], "None");
    assert_eq!((json.get("logging"), json.get("telemetries")), (None, None));
}

#[test]
fn a_waypoint_gets_only_what_is_attached_to_its_gateway_and_a_gateway_also_what_selects_its_labels() {
    let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {}
";
    let attached = log(
        "attached",
        "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]}",
    );
    let selecting = log(
        "selecting",
        "{selector: {matchLabels: {app: edge}}, direction: Inbound}",
    );
    let names = |labels: &str| -> Vec<String> {
        let pod = pod("edge", labels, true);
        let world = world(&[&mesh(""), gateway, &attached, &selecting, &pod]);
        let json = ask(&world, &Subject::Pod(Key::new("shop", "edge")));
        let telemetries = json["telemetries"].as_array().cloned().unwrap_or_default();
        let from = telemetries
            .iter()
            .map(|t| t["from"][0]["name"].as_str().unwrap().to_owned());
        let mut from: Vec<String> = from.collect();
        from.sort();
        from
    };
    let label = "gateway.networking.k8s.io/gateway-name: edge";
    assert_eq!(names(&format!("{{app: edge, {label}}}")), ["attached", "selecting"]);
    let waypoint = format!("{{app: edge, {label}, gateway.istio.io/managed: istio.io-mesh-controller}}");
    assert_eq!(names(&waypoint), ["attached"]);
    assert_eq!(names("{app: edge}"), ["selecting"]);
}

#[test]
fn in_mode_verify_the_entries_that_mesh_config_lacks_are_printed_to_be_added_and_only_then() {
    let verify = mesh("").replace("{type: Istio}", "{type: Istio, istio: {meshConfig: {mode: Verify}}}");
    let subject = Subject::Mesh("m".into());
    let world_of = |mesh_config: &str| world(&[&verify, &log("all", "{}"), mesh_config]);
    let lacks = world_of(MESH_CONFIG);
    let json = ask(&lacks, &subject);
    assert_eq!(json["providers"][0]["missingIn"], json!(["default"]));
    let yaml = json["missingYaml"].as_str().unwrap().to_owned();
    assert!(tree::text(&lacks.ask(&subject).unwrap()).ends_with(&yaml));

    let entries = yaml.replace('\n', "\n    ");
    let has = ask(&world_of(&format!("{MESH_CONFIG}    {entries}")), &subject);
    assert_eq!(
        (has.get("missingYaml"), has["providers"][0].get("missingIn")),
        (None, None),
        "{has}"
    );

    // The map that the operator would write them into is somebody else's: lacking, and still not a person's to write.
    let theirs = "
apiVersion: v1
kind: ConfigMap
metadata: {name: sightline-mesh-config, namespace: istio-system}
data: {mesh: 'extensionProviders: []'}
";
    let shared = ask(&world(&[&mesh(""), &log("all", "{}"), MESH_CONFIG, theirs]), &subject);
    assert_eq!(shared["providers"][0]["missingIn"], json!(["default"]), "{shared}");
    assert_eq!(shared.get("missingYaml"), None);
}

#[test]
fn a_namespace_that_no_mesh_selects_says_so() {
    let other = "{apiVersion: v1, kind: Namespace, metadata: {name: other}}";
    let json = ask(&world(&[&mesh(""), other]), &Subject::Namespace("other".into()));
    assert_eq!(json["noMesh"], "No ObservabilityMesh selects namespace other.");
}

#[test]
fn telemetries_of_somebody_else_are_shown_where_they_reach() {
    let foreign = "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: theirs, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, tracing: [{randomSamplingPercentage: 1}]}
";
    let json = cart(&[&mesh(""), foreign]);
    assert_eq!(json["foreignTelemetries"][0]["name"], "theirs");
    assert_eq!(json["foreignTelemetries"][0]["sections"], json!(["tracing"]));
    let elsewhere = cart(&[&mesh(""), &foreign.replace("app: cart", "app: other")]);
    assert_eq!(elsewhere.get("foreignTelemetries"), None);
}

#[test]
fn of_what_is_not_there_nothing_is_said() {
    let world = world(&[&mesh("")]);
    let key = || Key::new("shop", "nope");
    for subject in [
        Subject::Pod(key()),
        Subject::Namespace("nope".into()),
        Subject::TrafficLog(key()),
        Subject::TracingBackend(key()),
        Subject::Mesh("nope".into()),
    ] {
        assert_eq!(world.ask(&subject), None, "{subject}");
    }
}

#[test]
fn a_workload_is_named_with_its_kind_and_is_not_another_one_of_its_name() {
    let workload = |kind: &str, app: &str| {
        format!(
            "
apiVersion: apps/v1
kind: {kind}
metadata: {{name: nodes, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {app}}}}}
  template:
    metadata: {{labels: {{app: {app}}}}}
    spec: {{containers: [{{name: a, image: 'a:1'}}]}}
"
        )
    };
    let agents = "
  agents:
  - name: a
    workload: {kind: DaemonSet, namespace: shop, name: nodes}
    reads: [{type: ConfigMap, configMap: {name: c}}]
";
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: shop}, data: {a: b}}";
    let subject = Subject::Pod(Key::new("shop", "nodes"));
    let daemons = workload("DaemonSet", "daemons");

    let of_daemons = ask(&world(&[&mesh(agents), map, &daemons]), &subject);
    assert_eq!(of_daemons["labelsOf"], "DaemonSet");
    assert_eq!(of_daemons["workload"], "DaemonSet shop/nodes");
    assert_eq!(of_daemons["agents"][0]["workload"], "DaemonSet shop/nodes");

    let both = [&mesh(agents), map, &daemons, &workload("Deployment", "other")];
    let of_deployment = ask(&world(&both), &subject);
    assert_eq!(of_deployment["workload"], "Deployment shop/nodes");
    assert_eq!(of_deployment.get("agents"), None, "the DaemonSet's entry");
}

const KMESH: &str = "
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: k}
spec:
  namespaces: {matchLabels: {team: x}}
  mesh: {type: Kmesh, istio: {namespace: istio-system}}
  metrics: {kmesh: {connection: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: kmesh-1, namespace: kmesh-system, labels: {app: kmesh}}
spec: {nodeName: worker, containers: [{name: kmesh, image: 'kmesh:v1.1.0'}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: shop}
spec: {gatewayClassName: istio-waypoint}
---
apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {name: requests, namespace: shop}
spec: {targetRefs: [{kind: Gateway, name: way}]}
";

/// A pod on the node of Kmesh's one daemon, with a label that names its waypoint.
fn pod_of_kmesh(waypoint: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: shop, labels: {{app: web, istio.io/use-waypoint: {waypoint}}}}}
spec: {{nodeName: worker, containers: [{{name: web, image: web}}]}}
"
    )
}

#[test]
fn a_pod_of_kmeshs_has_the_switches_of_its_nodes_daemon_with_who_set_them_and_its_waypoints_telemetries() {
    let of_all = log("connections", "{}").replace("namespace: shop", "namespace: kmesh-system");
    let web = Subject::Pod(Key::new("shop", "web"));
    let text = tree::text(&world(&[KMESH, &of_all, &pod_of_kmesh("way")]).ask(&web).unwrap());
    for line in [
        "connections, by Kmesh's daemon on worker (Requested), of mesh k\n",
        "AccessLog: on ← TrafficLog kmesh-system/connections\n",
        "ServiceMetrics: on ← ObservabilityMesh k spec.metrics.kmesh\n",
        "WorkloadMetrics: off ← ObservabilityMesh k spec.metrics.kmesh.workload\n",
        "ConnectionMetrics: on ← ObservabilityMesh k spec.metrics.kmesh.connection\n",
        "requests that pass waypoint shop/way\n",
        "logging Inbound: Logged, by Telemetry shop/sightline-gateway-",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let off = of_all.replace("spec: {}", "spec: {disabled: true}");
    let text = tree::text(&world(&[KMESH, &off, &pod_of_kmesh("none")]).ask(&web).unwrap());
    let switched_off = "AccessLog: off ← TrafficLog kmesh-system/connections spec.disabled\n";
    assert!(text.contains(switched_off), "{text}");
    assert!(!text.contains("waypoint shop"), "none is named:\n{text}");
    let text = tree::text(&world(&[KMESH, &pod_of_kmesh("none")]).ask(&web).unwrap());
    assert!(
        text.contains("AccessLog: off ← Default (off unless a TrafficLog asks for it)\n"),
        "{text}"
    );
}
