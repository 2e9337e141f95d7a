//! The command line as its users meet it: exit codes, what stands on stdout and what on stderr.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/samples.rs"]
mod samples;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use samples::every_sample;
use serde_json::{Value, json};
use sightline::admission::admit;
use sightline::yaml::read_documents;
use tempfile::TempDir;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const MESH: &str = "apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: default}
spec: {mesh: {type: Istio}}
";

const LOG: &str = "apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {name: all, namespace: shop}
spec: {}
";

const PASSWORD: &str = "correct-horse-battery";
const USERNAME: &str = "elastic-user-7";

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn objects(&self) -> Vec<Value> {
        read_documents(&self.stdout).unwrap_or_else(|e| panic!("{e}\n{}", self.stdout))
    }

    fn kinds(&self) -> Vec<String> {
        let kind = |object: &Value| object["kind"].as_str().unwrap().to_owned();
        self.objects().iter().map(kind).collect()
    }

    #[track_caller]
    fn ends_with(&self, code: i32) {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
    }
}

fn sightline(args: &[&str], stdin: Option<&str>) -> Run {
    run(Command::new(env!("CARGO_BIN_EXE_sightline")).args(args), stdin)
}

fn run(command: &mut Command, stdin: Option<&str>) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A command that reads no standard input may be gone before all is written.
    pipe.write_all(stdin.unwrap_or_default().as_bytes()).ok();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(TempDir::new().unwrap());
        for (name, text) in files {
            let path = folder.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// Renders one file with the given text.
fn render(text: &str, flags: &[&str]) -> Run {
    let files = Files::new(&[("in.yaml", text)]);
    let path = files.text("in.yaml");
    sightline(&[&["render", "-f", &path], flags].concat(), None)
}

fn documents(texts: &[&str]) -> String {
    texts.join("---\n")
}

#[test]
fn all_rendered_ends_with_0_and_stdout_holds_objects_only() {
    let run = render(&documents(&[MESH, LOG]), &[]);
    run.ends_with(0);
    assert_eq!(run.kinds(), ["ConfigMap", "Telemetry"]);
    assert!(run.stdout.starts_with("---\n"));
    for object in run.objects() {
        assert!(object["apiVersion"].is_string() && object["metadata"]["name"].is_string());
    }
}

#[test]
fn each_assumption_is_named_on_stderr() {
    let run = render(&documents(&[MESH, LOG]), &[]);
    for fact in [
        "ConfigMap istio-system/istio has Istio's defaults",
        "istiod of revision default runs in namespace istio-system",
        "Namespace shop exists",
    ] {
        assert!(run.stderr.contains(&format!("assumed: {fact}")), "{}", run.stderr);
    }
    assert!(!run.stdout.contains("assumed"));
}

#[test]
fn strict_makes_an_assumption_an_error() {
    let run = render(&documents(&[MESH, LOG]), &["--strict"]);
    run.ends_with(2);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("error: Namespace shop exists"), "{}", run.stderr);
}

#[test]
fn strict_passes_where_files_give_every_fact() {
    let facts = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'rootNamespace: istio-system'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system}
spec:
  template:
    metadata: {labels: {app: istiod, istio.io/rev: default}}
    spec: {containers: [{name: discovery, env: [{name: SHARED_MESH_CONFIG, value: sightline-mesh-config}]}]}
---
apiVersion: v1
kind: NamespaceList
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
";
    let run = render(&documents(&[MESH, LOG, facts]), &["--strict"]);
    run.ends_with(0);
    assert_eq!(run.stderr, "");
    assert_eq!(run.kinds(), ["ConfigMap", "Telemetry"]);
}

/// What `admit` says, which is what the API server says (`tests/admission`).
fn refusal(text: &str) -> String {
    admit(&read_documents(text).unwrap()[0]).unwrap_err().to_string()
}

#[test]
fn an_unknown_field_ends_with_2_and_the_message_of_the_api_server() {
    let bad = LOG.replace("spec: {}", "spec: {backend: [stdout]}");
    let run = render(&documents(&[MESH, &bad]), &[]);
    run.ends_with(2);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("unknown field \"spec.backend\""), "{}", run.stderr);
    assert!(run.stderr.contains(&refusal(&bad)), "{}", run.stderr);
    assert!(run.stderr.contains("in.yaml: "), "the file is named: {}", run.stderr);
}

#[test]
fn a_cel_rule_ends_with_2_and_the_message_of_the_api_server() {
    let bad = LOG.replace("spec: {}", "spec: {disabled: true, backends: [stdout]}");
    let run = render(&documents(&[MESH, &bad]), &[]);
    run.ends_with(2);
    assert!(
        run.stderr.contains("remove backends, format and filter") && run.stderr.contains(&refusal(&bad)),
        "{}",
        run.stderr
    );
}

#[test]
fn every_refused_document_is_told_not_only_the_first() {
    let one = LOG.replace("spec: {}", "spec: {direction: Sideways}");
    let two = LOG.replace("all", "more").replace("spec: {}", "spec: {colour: red}");
    let run = render(&documents(&[&one, &two]), &[]);
    run.ends_with(2);
    assert!(
        run.stderr.contains("Sideways") && run.stderr.contains("colour"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    render("a: [", &[]).ends_with(2);
    let run = render("name: no object", &[]);
    run.ends_with(2);
    assert!(run.stderr.contains("it needs apiVersion and kind"), "{}", run.stderr);
    let files = Files::new(&[("empty/note.txt", "")]);
    let run = sightline(&["render", "-f", &files.text("empty")], None);
    run.ends_with(2);
    assert!(run.stderr.contains("holds no .yaml"), "{}", run.stderr);
    sightline(&["render", "-f", &files.text("absent.yaml")], None).ends_with(2);
    sightline(&["render"], None).ends_with(2);
}

#[test]
fn what_is_not_accepted_ends_with_1_and_the_rest_is_printed() {
    let bad = LOG.replace("all", "bad").replace(
        "spec: {}",
        "spec: {format: {encoding: Text, text: '%NO_SUCH_OPERATOR%'}}",
    );
    let run = render(&documents(&[MESH, LOG, &bad]), &[]);
    run.ends_with(1);
    assert_eq!(run.kinds(), ["ConfigMap", "Telemetry"]);
    assert!(
        run.stderr.contains("TrafficLog shop/bad: InvalidFormat: ") && run.stderr.contains("NO_SUCH_OPERATOR"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_nobody_wants_of_a_format_ends_with_0_and_the_gravest_is_told_first() {
    let odd = LOG.replace(
        "{}",
        "{format: {text: '%REQ(X-A)% %REQ(X-B)% %REQ(X-C)% %REQ(COOKIE)%'}}",
    );
    let run = render(&documents(&[MESH, &odd]), &[]);
    run.ends_with(0);
    let line = run.stderr.lines().find(|line| line.contains("AcceptedWithWarnings"));
    let line = line.unwrap_or_else(|| panic!("{}", run.stderr));
    let start =
        "TrafficLog shop/all: AcceptedWithWarnings: spec.format: SL055 at text, character 34, `%REQ(COOKIE)%`: ";
    assert!(line.starts_with(start) && line.ends_with(" (And 1 more.)"), "{line}");
    let fine = LOG.replace("{}", "{format: {text: '%REQ(X-A):64%'}}");
    let run = render(&documents(&[MESH, &fine]), &[]);
    assert!(!run.stderr.contains("AcceptedWithWarnings"), "{}", run.stderr);
}

#[test]
fn a_name_that_nothing_explains_ends_with_1() {
    let unknown = LOG.replace("spec: {}", "spec: {backends: [kafka]}");
    let run = render(&documents(&[MESH, &unknown]), &[]);
    run.ends_with(1);
    assert!(run.stderr.contains("UnknownBackend: "), "{}", run.stderr);
    let run = render(LOG, &[]);
    run.ends_with(1);
    assert!(run.stderr.contains("NoMesh: "), "{}", run.stderr);
}

#[test]
fn units_lost_to_others_or_to_the_mesh_end_with_0_and_are_told() {
    let second = LOG
        .replace("all", "second")
        .replace("spec: {}", "spec: {direction: Inbound}");
    let run = render(&documents(&[MESH, LOG, &second]), &[]);
    run.ends_with(0);
    assert!(
        run.stderr.contains("TrafficLog shop/second: Overridden: "),
        "{}",
        run.stderr
    );
    let run = render(
        &documents(&[MESH, &LOG.replace("all", "z"), &second.replace("second", "a")]),
        &[],
    );
    run.ends_with(0);
    assert!(
        run.stderr.contains("TrafficLog shop/z: PartiallyOverridden: "),
        "{}",
        run.stderr
    );
    let denied = LOG.replace("spec: {}", "spec: {disabled: true}");
    let run = render(&documents(&[MESH, &denied]), &[]);
    run.ends_with(0);
    assert!(run.stderr.contains("LimitedByMesh: "), "{}", run.stderr);
}

#[test]
fn files_folders_and_standard_input_add_up_in_any_order() {
    let files = Files::new(&[
        ("mesh.yaml", MESH),
        ("policies/deep/log.yml", LOG),
        ("policies/README.md", "not read"),
    ]);
    let (mesh, policies) = (files.text("mesh.yaml"), files.text("policies"));
    let one = sightline(&["render", "-f", &mesh, "-f", &policies], None);
    one.ends_with(0);
    assert_eq!(one.kinds(), ["ConfigMap", "Telemetry"]);
    let other = sightline(&["render", "-f", &policies, "--filename", &mesh], None);
    assert_eq!(one.stdout, other.stdout);
    let stdin = sightline(&["render", "-f", "-", "-f", &mesh], Some(LOG));
    stdin.ends_with(0);
    assert_eq!(one.stdout, stdin.stdout);
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "default"},
         "spec": {"mesh": {"type": "Istio"}}},
        {"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog", "metadata": {"name": "all", "namespace": "shop"},
         "spec": {}}]}"#;
    assert_eq!(one.stdout, sightline(&["render", "-f", "-"], Some(json)).stdout);
}

#[test]
fn an_object_that_stands_twice_and_differs_ends_with_2() {
    let same = render(&documents(&[MESH, LOG, LOG]), &[]);
    same.ends_with(0);
    let other = LOG.replace("spec: {}", "spec: {direction: Inbound}");
    let run = render(&documents(&[MESH, LOG, &other]), &[]);
    run.ends_with(2);
    assert!(
        run.stderr.contains("TrafficLog shop/all stands in") && run.stderr.contains("keep one of them"),
        "{}",
        run.stderr
    );
}

fn solarmesh() -> String {
    format!(
        "apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {{name: solarmesh}}
spec:
  mesh: {{type: None}}
  interfaceTraffic:
    elasticsearch:
      url: http://elasticsearch.service-mesh:9200
      credentialsSecretRef: {{namespace: service-mesh, name: es}}
    allowPlaintextCredentials: true
  agents:
  - name: agent
    workload: {{namespace: service-mesh, name: agent}}
    reads: [{{type: InterfaceTraffic}}, {{type: Secret, secret: {{name: es}}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: es, namespace: service-mesh, labels: {{sightline.dev/shared: 'true'}}}}
stringData: {{username: {USERNAME}, password: {PASSWORD}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: agent, namespace: service-mesh}}
spec: {{template: {{metadata: {{labels: {{app: agent}}}}, spec: {{containers: [{{name: a, image: b}}]}}}}}}
"
    )
}

/// Base64 of a text, as `data` of a Secret holds it.
fn base64(text: &str) -> String {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec()))
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

#[track_caller]
fn holds_no_secret(run: &Run) {
    for secret in [PASSWORD, USERNAME] {
        for text in [secret.to_owned(), base64(secret)] {
            assert!(!run.stdout.contains(&text), "stdout holds {text}:\n{}", run.stdout);
            assert!(!run.stderr.contains(&text), "stderr holds {text}:\n{}", run.stderr);
        }
    }
}

#[test]
fn secret_values_are_printed_only_when_asked_for() {
    for flags in [&[][..], &["-o", "plan"], &["--strict"], &["-o", "plan", "--strict"]] {
        holds_no_secret(&render(&solarmesh(), flags));
    }
    let hidden = render(&solarmesh(), &[]);
    hidden.ends_with(0);
    assert!(
        hidden.stdout.contains("<secret service-mesh/es/password>"),
        "{}",
        hidden.stdout
    );
    let shown = render(&solarmesh(), &["--show-secrets"]);
    shown.ends_with(0);
    assert!(
        shown.stdout.contains(&format!("passworld: {PASSWORD}")),
        "{}",
        shown.stdout
    );
    assert_eq!(hidden.kinds(), shown.kinds());
}

#[test]
fn secret_values_are_not_in_errors_either() {
    let twice = format!(
        "{}---\n{}",
        solarmesh(),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: es, namespace: service-mesh}\nstringData: {password: other}\n"
    );
    let run = render(&twice, &[]);
    run.ends_with(2);
    holds_no_secret(&run);
    let broken = solarmesh().replace("stringData: {", "stringData: {{{");
    let run = render(&broken, &[]);
    run.ends_with(2);
    holds_no_secret(&run);
}

#[test]
fn a_patched_workload_is_printed_as_the_patched_object() {
    let run = render(&solarmesh(), &[]);
    let objects = run.objects();
    let workload = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let hash = &workload["spec"]["template"]["metadata"]["annotations"]["sightline.dev/config-hash"];
    assert!(hash.as_str().unwrap().starts_with("v1:"), "{workload}");
    assert_eq!(workload.get("status"), None);
    assert_eq!(
        render(&solarmesh(), &[]).stdout,
        run.stdout,
        "no time and nothing random is printed"
    );
}

#[test]
fn output_plan_is_one_document_with_the_whole_plan() {
    let run = render(&documents(&[MESH, LOG]), &["-o", "plan"]);
    run.ends_with(0);
    let plans = run.objects();
    assert_eq!(plans.len(), 1);
    let mut members: Vec<&str> = plans[0].as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["deletions", "events", "objects", "restarts", "statuses"]);
    assert_eq!(plans[0]["statuses"].as_array().unwrap().len(), 2);
    sightline(&["render", "-f", "-", "-o", "table"], Some(MESH)).ends_with(2);
}

#[test]
fn headers_of_secrets_are_rendered_without_their_values() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render/cases/inject-headers-and-certificates/in.yaml");
    for more in [&[][..], &["--show-secrets"]] {
        let run = sightline(&[&["render", "-f", case.to_str().unwrap()], more].concat(), None);
        run.ends_with(0);
        assert_eq!(run.kinds(), ["Deployment"]);
        assert!(
            run.stdout.contains("$(SIGHTLINE_OTLP_HEADER_2)") && !run.stdout.contains("Bearer"),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn each_sample_alone_and_all_together_render_with_0() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples");
    let demo = samples.with_file_name("demo");
    let demo = demo.to_str().unwrap();
    for path in every_sample() {
        let run = sightline(&["render", "-f", path.to_str().unwrap(), "-f", demo], None);
        run.ends_with(0);
        assert!(!run.objects().is_empty());
        sightline(&["render", "-f", path.to_str().unwrap()], None).ends_with(0);
    }
    let one = sightline(&["render", "-f", samples.to_str().unwrap(), "-f", demo], None);
    one.ends_with(0);
    let other = sightline(&["render", "-f", demo, "-f", samples.to_str().unwrap()], None);
    assert_eq!(one.stdout, other.stdout);
}

#[test]
fn crds_are_valid_yaml_on_stdout_and_in_a_folder() {
    let run = sightline(&["crds"], None);
    run.ends_with(0);
    assert_eq!(run.kinds(), ["CustomResourceDefinition"; 3]);
    let folder = TempDir::new().unwrap();
    sightline(&["crds", "--out", folder.path().to_str().unwrap()], None).ends_with(0);
    for object in run.objects() {
        let file = format!("{}.yaml", object["spec"]["names"]["plural"].as_str().unwrap());
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(read_documents(&text).unwrap(), [object]);
    }
}

#[test]
fn rbac_is_valid_yaml_with_a_role_for_each_namespace_that_is_named() {
    let run = sightline(
        &[
            "rbac",
            "--istio-namespace",
            "istio-system",
            "--agent-namespace",
            "a",
            "--agent-namespace",
            "b",
        ],
        None,
    );
    run.ends_with(0);
    let roles: Vec<String> = run
        .objects()
        .iter()
        .filter(|object| object["kind"] == "Role")
        .map(|object| object["metadata"]["namespace"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(roles, ["sightline-system", "istio-system", "a", "b"]);
    assert!(
        !run.stdout.contains("'*'") && !run.stdout.contains("\"*\""),
        "no wildcard"
    );
}

#[test]
fn help_and_version_end_with_0() {
    for args in [&["--help"][..], &["--version"], &["render", "--help"]] {
        let run = sightline(args, None);
        run.ends_with(0);
        assert!(!run.stdout.is_empty());
    }
}

fn explain(arguments: &[&str], texts: &[&str]) -> Run {
    let files = Files::new(&[("in.yaml", &documents(texts))]);
    let path = files.text("in.yaml");
    sightline(&[&["explain", "-f", &path], arguments].concat(), None)
}

#[test]
fn explain_ends_with_0_where_it_answers_and_stdout_holds_nothing_but_the_answer() {
    let run = explain(&["trafficlog", "all", "-n", "shop"], &[MESH, LOG]);
    run.ends_with(0);
    assert!(
        run.stdout.starts_with("TrafficLog shop/all\n├── mesh: default\n"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("assumed: "), "{}", run.stderr);
    let short = explain(&["tlog", "all", "-n", "shop", "-o", "json"], &[MESH, LOG]);
    short.ends_with(0);
    let answer: Value = serde_json::from_str(&short.stdout).unwrap();
    assert_eq!(
        (&answer["kind"], &answer["mesh"]),
        (&"TrafficLog".into(), &"default".into())
    );
}

#[test]
fn explain_ends_with_1_where_there_is_nothing_of_that_name_and_prints_no_answer() {
    for (arguments, words) in [
        (
            &["tlog", "all"][..],
            "there is no TrafficLog default/all; --namespace says where to look",
        ),
        (
            &["pod", "x", "-n", "shop"],
            "there is no Pod shop/x, nor a Deployment, DaemonSet or StatefulSet of that name",
        ),
        (&["mesh", "x"], "there is no ObservabilityMesh x"),
        (&["namespace", "x"], "there is no Namespace x"),
    ] {
        let run = explain(arguments, &[MESH, LOG]);
        run.ends_with(1);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn explain_ends_with_2_where_files_or_flags_cannot_be_read() {
    let no_file = sightline(&["explain", "mesh", "default", "-f", "/nowhere.yaml"], None);
    no_file.ends_with(2);
    assert!(no_file.stderr.contains("/nowhere.yaml"), "{}", no_file.stderr);
    let refused = explain(&["mesh", "default"], &[&MESH.replace("Istio", "Linkerd")]);
    refused.ends_with(2);
    assert!(refused.stderr.contains("Linkerd"), "{}", refused.stderr);
    let no_namespace = explain(&["mesh", "default", "-n", "shop"], &[MESH]);
    no_namespace.ends_with(2);
    assert!(
        no_namespace.stderr.contains("leave --namespace out"),
        "{}",
        no_namespace.stderr
    );
    explain(&["gateway", "x"], &[MESH]).ends_with(2);
}

#[test]
fn explain_shows_no_secret() {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: es, namespace: service-mesh, labels: {{sightline.dev/shared: 'true'}}}}\nstringData: {{username: {USERNAME}, password: {PASSWORD}}}\n"
    );
    let sample = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples/solarmesh-interface-traffic.yaml"),
    );
    for output in ["tree", "json"] {
        let run = explain(
            &["mesh", "solarmesh", "-o", output],
            &[sample.as_deref().unwrap(), &secret],
        );
        run.ends_with(0);
        for word in [USERNAME, PASSWORD] {
            assert!(
                !run.stdout.contains(word) && !run.stderr.contains(word),
                "{}",
                run.stdout
            );
        }
    }
}

const ISTIO_LINE: &str = "[2026-03-14T09:26:53.589Z] \"GET /reviews/7?lang=en HTTP/1.1\" 200 - via_upstream - \"-\" 0 358 12 11 \
     \"-\" \"curl/8.14.1\" \"84961386-6d84-929d-98bd-c5aee93b5c88\" \"reviews.shop:9080\" \"10.44.1.27:9080\" \
     inbound|9080|| 127.0.0.6:41854 10.44.1.27:9080 10.44.1.23:37652 \
     outbound_.9080_._.reviews.shop.svc.cluster.local default\n";

fn preview(args: &[&str]) -> Run {
    sightline(&[&["preview"], args].concat(), None)
}

#[test]
fn preview_of_a_preset_is_the_default_line_of_the_mesh_for_the_built_in_sample() {
    let run = preview(&["--preset", "Istio"]);
    run.ends_with(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (ISTIO_LINE, ""));
}

#[test]
fn preview_takes_a_text_or_fields_and_a_described_request() {
    let files = Files::new(&[(
        "request.yaml",
        "request: {headers: {X-Tenant: blue}}\nresponse: {code: 503}\nresponseFlags: [UH]\n",
    )]);
    let request = files.text("request.yaml");
    let run = preview(&[
        "--text",
        "%REQ(X-TENANT)% %RESPONSE_CODE% %RESPONSE_FLAGS_LONG%",
        "--request",
        &request,
    ]);
    run.ends_with(0);
    assert_eq!(run.stdout, "blue 503 NoHealthyUpstream\n");
    let fields = [
        "--field",
        "tenant=%REQ(X-TENANT)%",
        "--field",
        "code=%RESPONSE_CODE%",
        "--field",
        "none=%REQ(X-NONE)%",
    ];
    let run = preview(&[&fields[..], &["--request", &request]].concat());
    run.ends_with(0);
    assert_eq!(run.stdout, "{\"code\":503,\"none\":null,\"tenant\":\"blue\"}\n");
}

#[test]
fn preview_prints_each_format_of_a_file_below_its_name() {
    let mesh = MESH.replace(
        "spec: {mesh: {type: Istio}}",
        "spec: {mesh: {type: Istio}, logging: {format: {text: '%PROTOCOL%'}}}",
    );
    let own = LOG.replace("name: all", "name: own").replace(
        "spec: {}",
        "spec: {format: {text: '%RESPONSE_CODE%', tcp: {text: '%BYTES_SENT%'}}}",
    );
    let files = Files::new(&[("in.yaml", &documents(&[&mesh, LOG, &own]))]);
    let run = preview(&["-f", &files.text("in.yaml")]);
    run.ends_with(0);
    assert_eq!(
        run.stdout,
        "# ObservabilityMesh default\nHTTP/1.1\n# TrafficLog shop/all\nHTTP/1.1\n# TrafficLog shop/own\n200\n\
         # TrafficLog shop/own, TCP\n9880\n"
    );
    assert_eq!(run.stderr, "");
}

#[test]
fn preview_points_at_what_is_wrong_with_a_format_and_ends_with_1() {
    let run = preview(&["--text", "é %REQQ(X)%"]);
    run.ends_with(1);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr.starts_with("error: SL007 at text, character 4, `REQQ`"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.ends_with("  é %REQQ(X)%\n     ^^^^\n"), "{}", run.stderr);
    let newer = ["--text", "%SPAN_ID%"];
    preview(&newer).ends_with(1);
    let run = preview(&[&newer[..], &["--envoy-version", "1.38"]].concat());
    run.ends_with(0);
    assert_eq!(run.stdout, "00f067aa0ba902b7\n");
}

#[test]
fn preview_of_a_preset_with_a_form_for_tcp_has_it_for_a_tcp_connection() {
    let request = preview(&["--preset", "OpenTelemetry", "--encoding", "json"]);
    request.ends_with(0);
    assert!(request.stdout.contains("\"GET\""), "{}", request.stdout);
    let connection = preview(&["--preset", "OpenTelemetry", "--encoding", "json", "--tcp"]);
    connection.ends_with(0);
    assert!(!connection.stdout.contains("method"), "{}", connection.stdout);
}

#[test]
fn preview_replaces_kumas_own_operators_as_kuma_does() {
    preview(&["--text", "%KUMA_MESH%"]).ends_with(1);
    let run = preview(&["--text", "%KUMA_MESH% %KUMA_SOURCE_ADDRESS%", "--kuma-version", "2.13"]);
    run.ends_with(0);
    assert_eq!(run.stdout, "default 10.44.1.23:0\n");
}

#[test]
fn preview_names_what_no_description_can_tell() {
    let run = preview(&["--text", "%UNIQUE_ID% %PROTOCOL%"]);
    run.ends_with(0);
    assert_eq!(run.stdout, "<UNIQUE_ID> HTTP/1.1\n");
    assert!(
        run.stderr.contains("`UNIQUE_ID` cannot be previewed: it is random"),
        "{}",
        run.stderr
    );
}

#[test]
fn preview_prints_a_sample_that_it_reads_back() {
    for (flags, line) in [(&[][..], ISTIO_LINE), (&["--tcp"], "- 0 9880\n")] {
        let sample = preview(&[&["--print-sample"], flags].concat());
        sample.ends_with(0);
        let files = Files::new(&[("sample.yaml", &sample.stdout)]);
        let format = if flags.is_empty() {
            ["--preset", "Istio"]
        } else {
            ["--text", "%PROTOCOL% %RESPONSE_CODE% %BYTES_SENT%"]
        };
        let run = preview(&[&format[..], &["--request", &files.text("sample.yaml")]].concat());
        run.ends_with(0);
        assert_eq!(run.stdout, line);
    }
}

#[test]
fn preview_refuses_a_sample_or_flags_that_it_does_not_know() {
    let files = Files::new(&[
        ("typo.json", "{\"request\": {\"header\": {}}}"),
        ("empty.yaml", "---\n"),
        ("no.yaml", LOG),
    ]);
    for (file, said) in [
        ("typo.json", "unknown field `header`"),
        ("empty.yaml", "one sample"),
        ("none.json", "No such file"),
    ] {
        let run = preview(&["--preset", "Istio", "--request", &files.text(file)]);
        run.ends_with(2);
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    for flags in [
        &[][..],
        &["--preset", "Istia"],
        &["--text", "a", "--preset", "Istio"],
        &["--field", "novalue"],
    ] {
        preview(flags).ends_with(2);
    }
}

#[test]
fn lint_points_at_one_wrong_character_in_a_block_scalar_of_mesh_config() {
    let mesh = |operator: &str| {
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |-
    accessLogFile: /dev/stdout
    accessLogFormat: |
      [%START_TIME%] %{operator}% %PROTOCOL%
"
        )
    };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, mesh("DURATION")).unwrap();
    let folder_path = folder.path().to_str().unwrap();
    let good = sightline(&["lint", folder_path], None);
    good.ends_with(0);
    assert_eq!(good.stdout, "");

    std::fs::write(&file, mesh("DURATIOM")).unwrap();
    let bad = sightline(&["lint", folder_path], None);
    bad.ends_with(1);
    assert!(bad.stdout.starts_with("error[SL007]: "), "{}", bad.stdout);
    let place = format!(
        " --> {}:8:23 (ConfigMap istio-system/istio, data.mesh.accessLogFormat)\n",
        file.display()
    );
    assert!(bad.stdout.contains(&place), "{}", bad.stdout);
    let lines = "8 |       [%START_TIME%] %DURATIOM% %PROTOCOL%\n  |                       ^^^^^^^^\n";
    assert!(bad.stdout.contains(lines), "{}", bad.stdout);

    let json = sightline(&["lint", "-o", "json", "-"], Some(&mesh("DURATIOM")));
    json.ends_with(1);
    let findings: Value = serde_json::from_str(&json.stdout).unwrap();
    let finding = &findings[0];
    assert_eq!(findings.as_array().unwrap().len(), 1);
    assert_eq!(
        (&finding["code"], &finding["severity"]),
        (&"SL007".into(), &"error".into())
    );
    assert_eq!(finding["file"], "-");
    assert_eq!(finding["resource"]["kind"], "ConfigMap");
    assert_eq!(finding["span"], serde_json::json!({"start": 16, "end": 24}));
    assert_eq!(
        finding["location"]["start"],
        serde_json::json!({"line": 8, "column": 23})
    );
}

#[test]
fn lint_judges_policies_over_all_files_of_a_folder() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let telemetry = |provider: &str| {
        format!(
            "apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: logs, namespace: shop}}
spec:
  accessLogging:
  - providers:
    - name: {provider}
"
        )
    };
    write("a.yaml", &telemetry("filed"));
    let lint = |args: &[&str]| sightline(&[&["lint", folder.path().to_str().unwrap()], args].concat(), None);
    lint(&[]).ends_with(0);
    write(
        "b.yaml",
        "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: file
      envoyFileAccessLog: {}
",
    );
    let bad = lint(&[]);
    bad.ends_with(1);
    let message = "error[SL302]: no MeshConfig among the files has a provider `filed`; did you mean `file`?\n";
    assert!(bad.stdout.starts_with(message), "{}", bad.stdout);
    let path = "spec.accessLogging[0].providers[0].name";
    let place = format!(
        " --> {}:7:13 (Telemetry shop/logs, {path})\n",
        folder.path().join("a.yaml").display()
    );
    assert!(bad.stdout.contains(&place), "{}", bad.stdout);
    assert!(
        bad.stdout.contains("7 |     - name: filed\n  |             ^^^^^\n"),
        "{}",
        bad.stdout
    );
    let json = lint(&["-o", "json"]);
    let findings: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(findings.as_array().unwrap().len(), 1);
    assert_eq!(findings[0]["path"], path);
    assert_eq!(findings[0]["resource"]["name"], "logs");

    write("a.yaml", &telemetry("FILE"));
    lint(&["--fail-on", "warning"]).ends_with(0);
}

#[test]
fn lint_cost_prints_the_bytes_and_the_weight_of_each_format() {
    let mesh = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    accessLogFormat: |
      [%START_TIME%] %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %CEL(request.path)%
    extensionProviders:
    - name: json
      envoyFileAccessLog:
        path: /dev/stdout
        logFormat: {labels: {start: '%START_TIME%', peer: {uri: '%DOWNSTREAM_PEER_URI_SAN%'}}}
";
    let text = sightline(&["lint", "--cost", "-"], Some(mesh));
    text.ends_with(0);
    assert_eq!(
        text.stdout,
        concat!(
            "-:7 (ConfigMap istio-system/istio, data.mesh.accessLogFormat)\n",
            "  a line: about 73 bytes; 6.3 GB a day at 1,000 requests/s\n",
            "  weight: 42.9 (%PROTOCOL% is 1); heaviest: CEL 30 (70 %), REQ × 2 6 (14 %), literals × 6 4.2 (10 %)\n",
            "-:12 (ConfigMap istio-system/istio, data.mesh.extensionProviders[0].envoyFileAccessLog.logFormat.labels)\n",
            "  a line: about 100 bytes; 8.6 GB a day at 1,000 requests/s\n",
            "  weight: 10.5 (%PROTOCOL% is 1); heaviest: members × 3 4.5 (43 %), DOWNSTREAM_PEER_URI_SAN 4 (38 %), START_TIME 2 (19 %)\n",
        )
    );
    assert_eq!(text.stderr, "");

    let json = sightline(&["lint", "--cost", "-o", "json", "-"], Some(mesh));
    json.ends_with(0);
    let costs: Value = serde_json::from_str(&json.stdout).unwrap();
    let labels = &costs[1];
    assert_eq!(labels["file"], "-");
    assert_eq!(labels["resource"]["name"], "istio");
    assert_eq!(
        labels["path"],
        "data.mesh.extensionProviders[0].envoyFileAccessLog.logFormat.labels"
    );
    assert_eq!((&labels["encoding"], &labels["line"]), (&"json".into(), &12.into()));
    let whats = labels["parts"].as_array().unwrap().iter();
    let mut whats: Vec<&str> = whats.map(|part| part["what"].as_str().unwrap()).collect();
    whats.sort_unstable();
    assert_eq!(whats, ["DOWNSTREAM_PEER_URI_SAN", "START_TIME", "members"]);
}

#[test]
fn the_exit_code_of_lint_cost_says_whether_a_format_is_refused_or_could_not_be_read() {
    let cost = |args: &[&str]| sightline(&[&["lint", "--cost"], args].concat(), None);
    cost(&["--text", "%PROTOCOL%"]).ends_with(0);
    cost(&["--text", "%NOPE%"]).ends_with(1);
    cost(&["/does/not/exist.yaml"]).ends_with(2);
    cost(&[]).ends_with(2);
}

#[test]
fn the_exit_code_of_lint_says_whether_something_was_found_or_could_not_be_read() {
    let lint = |args: &[&str]| sightline(&[&["lint"], args].concat(), None);
    lint(&["--text", "%PROTOCOL%\n"]).ends_with(0);
    lint(&["--text", "%PROTOCOL%"]).ends_with(0);
    lint(&["--text", "%PROTOCOL%", "--fail-on", "warning"]).ends_with(1);
    lint(&["--text", "%PROTOCOL%", "--fail-on", "warning", "--mesh", "istio"]).ends_with(0);
    lint(&["--text", "%NOPE%"]).ends_with(1);
    lint(&["--text", "%KUMA_MESH%\n"]).ends_with(1);
    lint(&["--text", "%KUMA_MESH%\n", "--mesh", "kuma"]).ends_with(0);
    let missing = lint(&["/does/not/exist.yaml"]);
    missing.ends_with(2);
    assert_eq!(missing.stderr.matches("No such file").count(), 1, "{}", missing.stderr);
    let unreadable = sightline(&["lint", "-"], Some("a: ["));
    unreadable.ends_with(2);
    assert!(
        unreadable.stderr.starts_with("error: -: not valid YAML: "),
        "{}",
        unreadable.stderr
    );
    lint(&["--explain", "SL999"]).ends_with(2);
    let explained = lint(&["--explain", "sl012"]);
    explained.ends_with(0);
    assert!(
        explained.stdout.starts_with("SL012 length-forbidden (error)\n"),
        "{}",
        explained.stdout
    );
    let json = lint(&["--text", "%PROTOCOL%\n", "-o", "json"]);
    assert_eq!(json.stdout, "[]\n");
}

#[test]
fn lint_takes_patterns_and_reads_each_file_once() {
    let wrong = "meshConfig: {accessLogFormat: '%NOPE%'}\n";
    let files = Files::new(&[
        ("a/mesh.yaml", wrong),
        ("a/b/mesh.yml", wrong),
        ("a/.hidden/mesh.yaml", wrong),
    ]);
    let lint = |pattern: &str| sightline(&["lint", "-o", "json", files.path(pattern).to_str().unwrap()], None);
    let found = |pattern: &str| {
        let run = lint(pattern);
        run.ends_with(1);
        let findings: Value = serde_json::from_str(&run.stdout).unwrap();
        let files = findings
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["file"].as_str().unwrap().to_owned());
        files
            .map(|file| file.rsplit_once("/a/").unwrap().1.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("**/*.yaml"), ["mesh.yaml"]);
    assert_eq!(found("a/*"), ["mesh.yaml"], "no folders");
    assert_eq!(found("**/*"), ["b/mesh.yml", "mesh.yaml"], "each once");
    let none = lint("**/*.json");
    none.ends_with(2);
    assert!(none.stderr.contains("no file matches the pattern"), "{}", none.stderr);
    let bad = lint("a/***.yaml");
    bad.ends_with(2);
    assert!(bad.stderr.contains("no pattern such as"), "{}", bad.stderr);
}

#[test]
fn versions_of_istio_and_kuma_say_what_lint_checks_for() {
    let lint = |args: &[&str]| sightline(&[&["lint", "--text"], args].concat(), None);
    lint(&["%QUERY_PARAMS%\n"]).ends_with(1);
    lint(&["%QUERY_PARAMS%\n", "--istio-version", "1.28"]).ends_with(1);
    lint(&["%QUERY_PARAMS%\n", "--istio-version", "1.30.2"]).ends_with(0);
    lint(&[
        "%QUERY_PARAMS%\n",
        "--istio-version",
        "v1.30",
        "--envoy-version",
        "1.38",
    ])
    .ends_with(0);
    lint(&["%KUMA_ZONE%", "--kuma-version", "2.14"]).ends_with(0);
    lint(&["%KUMA_ZONE%", "--mesh", "kuma", "--kuma-version", "2.13"]).ends_with(1);
    for (args, words) in [
        (
            ["--istio-version", "1.30", "--envoy-version", "1.36"],
            "--istio-version 1.30 stands for Envoy 1.38, and --envoy-version says 1.36",
        ),
        (
            ["--mesh", "istio", "--kuma-version", "2.14"],
            "--kuma-version goes with --mesh kuma only",
        ),
        (
            ["--istio-version", "2.0", "--mesh", "istio"],
            "`2.0` is no Istio version; write it as `1.30`",
        ),
    ] {
        let run = lint(&[&["x"], args.as_slice()].concat());
        run.ends_with(2);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

/// A cluster that answers some lists, in two contexts of a kubeconfig: the current one leads nowhere.
struct Cluster {
    runtime: tokio::runtime::Runtime,
    server: MockServer,
    folder: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime.block_on(MockServer::start());
        let folder = TempDir::new().unwrap();
        let cluster = |name: &str, uri: &str| json!({"name": name, "cluster": {"server": uri}});
        let context = |name: &str| json!({"name": name, "context": {"cluster": name, "user": "me"}});
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "nowhere",
            "clusters": [cluster("shop", &server.uri()), cluster("nowhere", "http://127.0.0.1:1")],
            "contexts": [context("shop"), context("nowhere")],
            "users": [{"name": "me", "user": {}}],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self {
            runtime,
            server,
            folder,
        }
    }

    /// Answers a list, of objects with this name at most.
    fn list(&self, list_path: &str, name: Option<&str>, items: &Value) {
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
        let mut mock = Mock::given(method("GET")).and(path(list_path));
        if let Some(name) = name {
            mock = mock.and(query_param("fieldSelector", format!("metadata.name={name}")));
        }
        self.mount(mock.respond_with(ResponseTemplate::new(200).set_body_json(list)));
    }

    fn refuse(&self, list_path: &str, code: u16) {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": "you may not",
            "reason": "Forbidden",
        });
        let answer = ResponseTemplate::new(code).set_body_json(status);
        self.mount(Mock::given(method("GET")).and(path(list_path)).respond_with(answer));
    }

    fn mount(&self, mock: Mock) {
        self.runtime.block_on(mock.mount(&self.server));
    }

    fn lint(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
        command.env("KUBECONFIG", self.folder.path().join("kubeconfig"));
        run(command.args(["lint", "--cluster"]).args(args), None)
    }
}

const TELEMETRIES: &str = "/apis/telemetry.istio.io/v1/telemetries";

#[test]
fn lint_of_a_cluster_checks_what_is_in_force_and_names_what_it_did_not_see() {
    let cluster = Cluster::new();
    let telemetry = |expression: &str| {
        json!({
            "metadata": {"name": "errors", "namespace": "shop", "managedFields": [{"manager": "kubectl"}]},
            "spec": {"accessLogging": [{"filter": {"expression": expression}, "providers": [{"name": "envoy"}]}]},
        })
    };
    cluster.list(TELEMETRIES, None, &json!([telemetry("response.cod == 1")]));
    cluster.refuse("/apis/networking.istio.io/v1alpha3/envoyfilters", 403);
    let map = |name: &str, data: &Value| json!({"metadata": {"name": name, "namespace": "istio-system"}, "data": data});
    let names = ["istio", "istio-ca-root-cert", "unrelated", "shared"];
    let names: Vec<Value> = names.iter().map(|name| map(name, &Value::Null)).collect();
    cluster.list("/api/v1/configmaps", None, &json!(names));
    let maps = "/api/v1/namespaces/istio-system/configmaps";
    let mesh = |format: &str| json!({"mesh": format!("accessLogFormat: \"{format}\"\n")});
    cluster.list(maps, Some("istio"), &json!([map("istio", &mesh("%NOPE%"))]));
    cluster.list(maps, Some("shared"), &json!([map("shared", &mesh("%NADA%"))]));
    let observability = json!({
        "metadata": {"name": "default"},
        "spec": {"mesh": {"type": "Istio", "istio": {"meshConfig": {"mode": "Shared", "configMapName": "shared"}}}},
    });
    cluster.list(
        "/apis/sightline.dev/v1alpha1/observabilitymeshes",
        None,
        &json!([observability]),
    );

    let run = cluster.lint(&["--context", "shop"]);
    run.ends_with(1);
    let headers: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| line.contains("--> "))
        .map(str::trim)
        .collect();
    assert_eq!(
        headers,
        [
            "--> cluster:Telemetry/shop/errors:9:19 (Telemetry shop/errors, spec.accessLogging[0].filter.expression)",
            "--> cluster:ConfigMap/istio-system/istio:8:24 (ConfigMap istio-system/istio, data.mesh.accessLogFormat)",
            "--> cluster:ConfigMap/istio-system/shared:8:24 (ConfigMap istio-system/shared, data.mesh.accessLogFormat)",
        ],
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("9 |       expression: response.cod == 1\n"),
        "{}",
        run.stdout
    );
    let unseen = "not looked at: envoyfilters.networking.istio.io: no right to list them: you may not\n";
    assert!(run.stderr.contains(unseen), "{}", run.stderr);
    let absent = "not looked at: meshaccesslogs.kuma.io: the cluster does not know this kind\n";
    assert!(run.stderr.contains(absent), "{}", run.stderr);
    assert!(run.stderr.contains("4 files checked"), "{}", run.stderr);

    cluster.list(
        "/apis/telemetry.istio.io/v1/namespaces/shop/telemetries",
        None,
        &json!([telemetry("connection.id == 1u")]),
    );
    let one = cluster.lint(&["--context", "shop", "-n", "shop"]);
    one.ends_with(0);
    assert!(
        !one.stderr.contains("observabilitymeshes"),
        "of no namespace: {}",
        one.stderr
    );
}

#[test]
fn lint_ends_with_2_where_a_cluster_cannot_be_read() {
    let cluster = Cluster::new();
    let nothing = cluster.lint(&["--context", "shop"]);
    nothing.ends_with(2);
    assert!(
        nothing.stderr.contains("error: nothing of the cluster could be read\n"),
        "{}",
        nothing.stderr
    );
    let nowhere = cluster.lint(&[]);
    nowhere.ends_with(2);
    assert!(
        nowhere.stderr.contains("error: list telemetries: "),
        "{}",
        nowhere.stderr
    );
    let unknown = cluster.lint(&["--context", "other"]);
    unknown.ends_with(2);
    assert!(
        unknown.stderr.contains("no cluster of the context other"),
        "{}",
        unknown.stderr
    );
    // What is there and gives no answer is no kind that may be missing.
    cluster.list("/api/v1/configmaps", None, &json!([]));
    cluster.lint(&["--context", "shop"]).ends_with(0);
    cluster.refuse(TELEMETRIES, 500);
    cluster.lint(&["--context", "shop"]).ends_with(2);
    cluster.lint(&["--text", "x"]).ends_with(2);
}

#[cfg(unix)]
#[test]
fn output_that_nobody_reads_ends_a_command_without_a_panic() {
    use std::os::unix::process::ExitStatusExt as _;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_sightline"))
        .args(["lint", "--explain", "SL007"])
        .stdout(writer)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.signal(), told.as_ref()), (Some(13), ""), "SIGPIPE");
}
