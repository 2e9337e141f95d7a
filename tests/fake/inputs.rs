//! Whatever is in a resource, planning is total: every plan is made, and every resource is judged in words that its status
//! can hold.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use sightline::crds::custom_resource_definitions;
use sightline::plan::{Memory, Target, plan, targets_of};
use sightline::snapshot::{Key, Kind, Snapshot, Timings, View};

use crate::matrix;

/// Longest text of a value here, and most entries of a map.
const HUGE: usize = 1024 * 1024;
const MANY: usize = 10_000;
/// Longest that planning everything may take in a build without optimisation, on a machine that builds as well.
const LONGEST: std::time::Duration = std::time::Duration::from_mins(1);

/// Choices, one after the other; zero when they are used up, which is the plainest choice everywhere.
struct Tape(std::vec::IntoIter<u32>);

impl Tape {
    fn next(&mut self, choices: usize) -> usize {
        self.0.next().unwrap_or_default() as usize % choices
    }

    fn rarely(&mut self, one_in: usize) -> bool {
        self.next(one_in) == one_in - 1
    }
}

/// A value for a place of a schema: as a rule one that fits its type, now and then one that fits nothing.
fn value(schema: &Value, tape: &mut Tape) -> Value {
    if tape.rarely(24) {
        let odd = [
            Value::Null,
            json!(""),
            json!({}),
            json!([]),
            json!(-1),
            json!(true),
            json!([[[]]]),
            json!("ẞ\u{0}\u{202e}"),
        ];
        return odd[tape.next(odd.len())].clone();
    }
    if let Some(words) = schema["enum"].as_array() {
        return if tape.rarely(12) {
            json!("Sideways")
        } else {
            words[tape.next(words.len())].clone()
        };
    }
    match schema["type"].as_str().unwrap_or("object") {
        "string" => text(tape),
        "integer" | "number" => {
            let numbers = [
                json!(0),
                json!(1),
                json!(-1),
                json!(i64::MAX),
                json!(i64::MIN),
                json!(599),
                json!(0.5),
            ];
            numbers[tape.next(numbers.len())].clone()
        }
        "boolean" => json!(tape.next(2) == 1),
        "array" => {
            let count = [1, 0, 2, 3, 40][tape.next(5)];
            (0..count).map(|_| value(&schema["items"], tape)).collect()
        }
        _ => object(schema, tape),
    }
}

fn object(schema: &Value, tape: &mut Tape) -> Value {
    let mut map = Map::new();
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let required = schema["required"]
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)));
        if (required && !tape.rarely(16)) || tape.next(3) == 1 {
            map.insert(name.clone(), value(of, tape));
        }
    }
    if schema.get("additionalProperties").is_some() {
        let count = if tape.rarely(40) { MANY } else { tape.next(3) };
        map.extend((0..count).map(|number| (format!("key-{number}"), json!("a"))));
    }
    Value::Object(map)
}

fn text(tape: &mut Tape) -> Value {
    let texts = [
        "a",
        "",
        "stdout",
        "tempo",
        "%REQ(:METHOD)% %DURATION%",
        "%REQ(",
        "%%%",
        "shop",
        "10s",
        "5.0",
        "-1",
        "*",
        "NaN",
        "http://es:9200",
        "request.host == 'a'",
        "((((",
        "日本語",
        "\u{1f980}\u{0}\n\r\t\"'`${}",
        "tempo.monitoring.svc.cluster.local",
        "/dev/stdout",
        "../..",
        "oci://a/b:c",
        "99999999999999999999s",
        "istio-system",
        "service-mesh",
    ];
    match tape.next(texts.len() + 2) {
        at if at < texts.len() => json!(texts[at]),
        _ if tape.rarely(6) => json!("%REQ(A)% ".repeat(HUGE / 9)),
        _ => json!("(".repeat(300)),
    }
}

/// A resource of each kind, with a spec and a status that the tape makes.
fn resources(tape: &mut Tape) -> Vec<(Target, Value)> {
    let mut all = Vec::new();
    for (plural, definition) in custom_resource_definitions() {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for number in 0..=tape.next(2) {
            let name = format!("it-{number}");
            let mut object = json!({
                "apiVersion": "sightline.dev/v1alpha1", "kind": definition["spec"]["names"]["kind"],
                "metadata": {"name": name, "uid": format!("{plural}-{number}"), "resourceVersion": "1", "generation": 1},
                "spec": value(&schema["spec"], tape),
            });
            if tape.rarely(3) {
                object["status"] = value(&schema["status"], tape);
            }
            let target = match plural {
                "observabilitymeshes" => {
                    // Else hardly any mesh would have anything to do with the policies.
                    if object["spec"].is_object() && !tape.rarely(8) {
                        object["spec"]["namespaces"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
                    }
                    Target::Mesh(name)
                }
                "trafficlogs" => Target::TrafficLog(Key::new("shop", name)),
                _ => Target::TracingBackend(Key::new("shop", name)),
            };
            if plural != "observabilitymeshes" {
                object["metadata"]["namespace"] = "shop".into();
            }
            all.push((target, object));
        }
    }
    all
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default().loaded();
    let mut put = |kind: Kind, object: Value| drop(snapshot.put(kind, Arc::new(object), Timestamp::UNIX_EPOCH));
    for name in ["shop", "istio-system", "service-mesh"] {
        let labels = json!({"kubernetes.io/metadata.name": name, "istio-injection": "enabled", "sightline.dev/inject": "enabled"});
        put(Kind::Namespace, json!({"metadata": {"name": name, "labels": labels}}));
    }
    put(
        Kind::Pod,
        json!({"metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod", "istio.io/rev": "default"}},
            "spec": {"containers": [{"name": "discovery", "image": "istio/pilot:1.30.3",
                "env": [{"name": "SHARED_MESH_CONFIG", "value": "sightline-mesh-config"}]}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    put(
        Kind::Deployment,
        json!({"metadata": {"name": "a", "namespace": "shop", "uid": "1", "resourceVersion": "1", "generation": 1},
            "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "a"}]}}}}),
    );
    snapshot
}

/// Plans everything, as the operator does, and looks at what is said.
fn plan_all(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let mut quiet = std::collections::BTreeMap::new();
    let now = Timestamp::UNIX_EPOCH;
    for target in targets_of(snapshot) {
        let view = View::new(snapshot, now, Timings::default());
        let mut memory = Memory {
            quiet: &mut quiet,
            hash_key: Some(b"0123456789abcdef"),
        };
        let plan = plan(&view, &target, &mut memory);
        if !target.is_output() {
            prop_assert_eq!(plan.statuses.len(), 1, "{} is judged", target);
        }
        for status in plan.statuses {
            let ready = status
                .findings
                .iter()
                .filter(|finding| finding.type_.as_str() == "Ready");
            prop_assert_eq!(ready.count(), 1, "{} says whether it is Ready", target);
        }
    }
    Ok(())
}

#[test]
fn whatever_a_resource_holds_every_plan_is_made_and_every_resource_judged() -> Result<()> {
    let mut runner = TestRunner::new(Config {
        cases: 100,
        failure_persistence: None,
        ..Config::default()
    });
    runner.run(&prop::collection::vec(any::<u32>(), 0..400), |tape| {
        let started = Instant::now();
        let mut snapshot = snapshot();
        for (target, object) in resources(&mut Tape(tape.into_iter())) {
            // What cannot be read is noted, and judged as well.
            let _ = snapshot.put_own(&target, &object);
        }
        plan_all(&snapshot)?;
        prop_assert!(started.elapsed() < LONGEST, "it took {:?}", started.elapsed());
        Ok(())
    })?;
    matrix::record("23 odd inputs", "Apply", "ok")
}
