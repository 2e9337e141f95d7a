//! The chart as the real Helm renders it, without a cluster. `tests/e2e/chart.rs` installs it.
//!
//! Each `cases/CASE.values.yaml` is a case, and `cases/CASE.yaml` what Helm makes of it (without the definitions, which
//! are long and looked at elsewhere). `SIGHTLINE_UPDATE=1 cargo test --test chart` (or `make golden`) writes that anew;
//! review is the diff.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/control_plane.rs"]
mod control_plane;
#[path = "../support/flags.rs"]
mod flags;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};
use sightline::cli::Cli;
use sightline::cluster::rbac::{RbacArgs, manifests};
use sightline::crds::custom_resource_definitions;
use sightline::yaml::read_documents;
use similar::TextDiff;

const CASES: [&str; 3] = ["default", "everything", "least"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn case(name: &str, end: &str) -> PathBuf {
    root().join("tests/chart/cases").join(format!("{name}{end}"))
}

/// Runs `helm COMMAND [NAME] CHART ...`: stdout, or stderr if it fails.
async fn helm(command: &[&str], arguments: &[&str]) -> Result<String, String> {
    let bin = control_plane::find_binaries().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let output = control_plane::helm(&bin, home.path())
        .args(command)
        .arg(root().join("charts/operator"))
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr) + &text(output.stdout))
    }
}

async fn template(arguments: &[&str]) -> Result<String, String> {
    helm(&["template", "sightline", "--namespace", "sightline-system"], arguments).await
}

async fn objects(arguments: &[&str]) -> Vec<Value> {
    read_documents(&template(arguments).await.unwrap()).unwrap()
}

async fn objects_of(case_name: &str) -> Vec<Value> {
    objects(&["--values", case(case_name, ".values.yaml").to_str().unwrap()]).await
}

fn deployment(objects: &[Value]) -> &Value {
    objects.iter().find(|object| object["kind"] == "Deployment").unwrap()
}

fn container(objects: &[Value]) -> &Value {
    &deployment(objects)["spec"]["template"]["spec"]["containers"][0]
}

#[tokio::test]
async fn every_case_is_linted_by_helm_and_rendered_as_recorded() {
    let mut wrong = String::new();
    for name in CASES {
        let values = case(name, ".values.yaml");
        let arguments = ["--values", values.to_str().unwrap(), "--set", "crds.install=false"];
        let linted = helm(&["lint", "--strict"], &arguments).await.unwrap();
        assert!(linted.contains("0 chart(s) failed"), "{linted}");
        let made = template(&arguments).await.unwrap();
        let path = case(name, ".yaml");
        if std::env::var_os("SIGHTLINE_UPDATE").is_some() {
            std::fs::write(&path, made).unwrap();
            continue;
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        if recorded != made {
            let diff = TextDiff::from_lines(&recorded, &made);
            wrong.push_str(&diff.unified_diff().header(name, "rendered").to_string());
        }
    }
    assert!(
        wrong.is_empty(),
        "run SIGHTLINE_UPDATE=1 cargo test --test chart (make golden)\n{wrong}"
    );
}

#[tokio::test]
async fn a_wrong_value_is_refused_by_name_before_anything_is_installed() {
    for (set, words) in [
        ("replicas=two", "'/replicas': got string, want integer"),
        ("replicaCount=3", "additional properties 'replicaCount' not allowed"),
        ("flags.worker=3", "'/flags': additional properties 'worker' not allowed"),
        ("flags.workers=0", "'/flags/workers': minimum: got 0, want 1"),
        ("flags.workers=65", "'/flags/workers': maximum: got 65, want 64"),
        ("flags.logFormat=xml", "'/flags/logFormat': value must be one of"),
        ("flags.listen=8080", "'/flags/listen'"),
        (
            "flags.namespace=other",
            "'/flags': additional properties 'namespace' not allowed",
        ),
        (
            "features.wasmPlugins=yes",
            "'/features/wasmPlugins': got string, want boolean",
        ),
        (
            "features.root=true",
            "'/features': additional properties 'root' not allowed",
        ),
        (
            "namespaces.agents=service-mesh",
            "'/namespaces/agents': got string, want array",
        ),
        (
            "namespaces.agents={Mesh}",
            "'/namespaces/agents/0': 'Mesh' does not match pattern",
        ),
        ("namespaces.agents={a,a}", "'/namespaces/agents'"),
        (
            "podLabels.app\\.kubernetes\\.io/name=mine",
            "invalid propertyName 'app.kubernetes.io/name'",
        ),
        ("image.repository=", "'/image/repository'"),
        ("image.repository=sightline:latest", "'/image/repository'"),
        ("image.digest=latest", "'/image/digest'"),
        (
            "podDisruptionBudget.maxUnavailable=some",
            "'/podDisruptionBudget/maxUnavailable'",
        ),
    ] {
        let error = template(&["--set", set]).await.expect_err(set);
        assert!(error.contains(words), "{set}: {error}");
    }
}

/// What `sightline run` takes and what the values give are the same, both ways, and each value gets there.
#[tokio::test]
async fn every_flag_has_a_value_every_value_reaches_its_flag_and_the_binary_takes_them() {
    let mut sets = Vec::new();
    let mut wanted = vec!["run".to_owned()];
    for flag in flags::of_run() {
        let other = other_value(&flag);
        sets.push(format!("flags.{}={other}", flag.name));
        let shown = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
        wanted.push(format!("--{}={shown}", flag.long));
    }
    let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set-json", set]).collect();
    let changed = objects(&arguments).await;
    let shown = |objects: &[Value]| -> Vec<String> {
        let arguments = container(objects)["args"].as_array().unwrap();
        arguments.iter().map(|a| a.as_str().unwrap().to_owned()).collect()
    };
    let as_set = |arguments: &[String]| arguments.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(as_set(&shown(&changed)), as_set(&wanted));
    for objects in [changed, objects(&[]).await] {
        let line = std::iter::once("sightline".to_owned()).chain(shown(&objects));
        Cli::try_parse_from(line).unwrap();
        let env = container(&objects)["env"].as_array().unwrap();
        let from_pod: BTreeSet<String> = env
            .iter()
            .filter(|entry| entry["valueFrom"]["fieldRef"].is_object())
            .map(|entry| entry["name"].as_str().unwrap().to_owned())
            .collect();
        for name in flags::env_of_the_pod() {
            assert!(
                from_pod.contains(&name),
                "templates/deployment.yaml does not say {name}"
            );
        }
    }
}

/// Another value than the default that the binary takes.
fn other_value(flag: &flags::Flag) -> Value {
    match &flag.default {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => {
            let next = number.as_u64().unwrap() + 1;
            let is_too_much = flag.schema["maximum"].as_u64().is_some_and(|most| next > most);
            json!(if is_too_much { next - 2 } else { next })
        }
        default => {
            let names = flag.schema["enum"].as_array().into_iter().flatten();
            let others = names.cloned().chain(["debug", "[::1]:9999", "7s"].map(Value::from));
            let takes = |other: &Value| other != default && flags::accepts(&flag.long, other.as_str().unwrap());
            others
                .into_iter()
                .find(takes)
                .unwrap_or_else(|| panic!("--{}: no other value", flag.long))
        }
    }
}

/// Rules of each role, by place.
fn rules(objects: &[Value]) -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    for object in objects {
        let place = match object["kind"].as_str() {
            Some("ClusterRole") => "the cluster",
            Some("Role") => object["metadata"]["namespace"].as_str().unwrap(),
            _ => continue,
        };
        for rule in object["rules"].as_array().unwrap() {
            out.insert((place.to_owned(), rule.to_string()));
        }
    }
    out
}

#[tokio::test]
async fn with_all_features_the_rights_are_those_of_the_table_and_each_is_bound_to_the_operator() {
    let objects = objects_of("everything").await;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let table = manifests(&RbacArgs {
        namespace: "sightline-system".into(),
        istio_namespace: names(&["istio-system", "istio-canary"]),
        kuma_namespace: names(&["kuma-system"]),
        kmesh_namespace: names(&["kmesh-system"]),
        collector_namespace: names(&["observability"]),
        agent_namespace: names(&["service-mesh"]),
        inject_namespace: names(&["interlink"]),
        inject_secrets_namespace: names(&["interlink"]),
    });
    let table = read_documents(&table.unwrap()).unwrap();
    assert_eq!(rules(&objects), rules(&table));
    let id = |object: &Value| object["metadata"]["namespace"].to_string() + &object["metadata"]["name"].to_string();
    let roles: BTreeSet<String> = of_kinds(&objects, &["Role", "ClusterRole"]).map(id).collect();
    let bound: BTreeSet<String> = of_kinds(&objects, &["RoleBinding", "ClusterRoleBinding"])
        .map(|binding| {
            let subjects =
                json!([{"kind": "ServiceAccount", "name": "telemetry-operator", "namespace": "sightline-system"}]);
            assert_eq!(binding["subjects"], subjects);
            binding["metadata"]["namespace"].to_string() + &binding["roleRef"]["name"].to_string()
        })
        .collect();
    assert_eq!(roles, bound);
    assert_eq!(
        deployment(&objects)["spec"]["template"]["spec"]["serviceAccountName"],
        "telemetry-operator"
    );
}

#[tokio::test]
async fn without_istio_there_is_no_role_but_in_the_operators_namespace() {
    let objects = objects(&["--set-json", "namespaces.istio=[]"]).await;
    let places: BTreeSet<String> = rules(&objects).into_iter().map(|(place, _)| place).collect();
    assert_eq!(
        places,
        BTreeSet::from(["sightline-system".into(), "the cluster".into()])
    );
}

#[tokio::test]
async fn ports_are_forwarded_nowhere_but_in_the_namespaces_of_kmesh_that_the_values_name() {
    let forwards = |objects: &[Value]| -> BTreeSet<String> {
        let rules = rules(objects).into_iter();
        let of_ports = rules.filter(|(_, rule)| rule.contains("pods/portforward"));
        of_ports.map(|(place, _)| place).collect()
    };
    for of_none in ["default", "least"] {
        assert_eq!(forwards(&objects_of(of_none).await), BTreeSet::new(), "{of_none}");
    }
    let two = objects(&["--set-json", r#"namespaces.kmesh=["kmesh-system", "kmesh-canary"]"#]).await;
    assert_eq!(
        forwards(&two),
        BTreeSet::from(["kmesh-canary".into(), "kmesh-system".into()])
    );
    let everything = without_kmesh(&objects_of("everything").await);
    assert_eq!(forwards(&everything), BTreeSet::new(), "no other value gives the right");
}

/// Objects but those in Kmesh's namespace.
fn without_kmesh(objects: &[Value]) -> Vec<Value> {
    let elsewhere = objects.iter().filter(|o| o["metadata"]["namespace"] != "kmesh-system");
    elsewhere.cloned().collect()
}

fn of_kinds<'a>(objects: &'a [Value], kinds: &'a [&'a str]) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(|o| kinds.iter().any(|kind| o["kind"] == *kind))
}

#[tokio::test]
async fn who_says_nothing_gives_no_right_on_pods_secrets_or_workloads_and_none_outside_istios_namespace() {
    let objects = objects_of("default").await;
    for (place, rule) in rules(&objects) {
        assert!(!rule.contains('*'), "{place}: {rule}");
        if place == "the cluster" {
            for resource in ["pods", "secrets", "configmaps", "deployments", "wasmplugins"] {
                assert!(!rule.contains(resource), "{place}: {rule}");
            }
        } else {
            assert!(
                ["sightline-system", "istio-system"].contains(&place.as_str()),
                "{place}: {rule}"
            );
        }
    }
}

#[tokio::test]
async fn the_definitions_are_those_of_the_code_and_only_they_stay_at_uninstall() {
    let objects = objects(&[]).await;
    let (mut there, others): (Vec<Value>, Vec<Value>) = objects
        .into_iter()
        .partition(|object| object["kind"] == "CustomResourceDefinition");
    for definition in &mut there {
        let annotations = definition["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
    }
    let by_name = |all: Vec<Value>| -> BTreeSet<String> { all.iter().map(Value::to_string).collect() };
    let code = custom_resource_definitions()
        .into_iter()
        .map(|(_, definition)| definition);
    assert!(
        by_name(there) == by_name(code.collect()),
        "charts/operator/files/crds: make generate"
    );
    for other in others {
        let annotations = other["metadata"]["annotations"].to_string();
        assert!(!annotations.contains("resource-policy"), "{other}");
    }
}
