//! What holds of every world, whatever its policies say.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::Config;
use serde_json::{Value, json};
use sightline::snapshot::{Key, Kind, key_of, labels_of, string_map};

use super::{Outcome, diff, orders};

use sightline::policy::claims::WorkloadSet;
type Labels = BTreeMap<String, String>;

fn namespace(name: &str, team: &str, injected: bool) -> Value {
    let mut object =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}});
    if injected {
        object["metadata"]["labels"]["istio-injection"] = "enabled".into();
    }
    object
}

/// What a mesh says of all its workloads.
#[derive(Clone, Debug)]
struct Own {
    required: Option<(&'static str, &'static str)>,
    traces: bool,
    metrics: Value,
}

fn own() -> impl Strategy<Value = Own> {
    let required = prop::option::weighted(
        0.4,
        (
            select(vec!["audit", "twin"]),
            select(vec!["Inbound", "Outbound", "Both"]),
        ),
    );
    let metrics = select(vec![
        Value::Null,
        json!([{"metric": "REQUEST_SIZE", "mode": "Both", "disabled": false}]),
        json!([{"metric": "ALL_METRICS", "mode": "Both", "disabled": true},
               {"metric": "REQUEST_COUNT", "mode": "Client", "disabled": false}]),
        json!([{"metric": "REQUEST_COUNT", "mode": "Server",
                "tags": [{"name": "host", "operation": "Upsert", "value": "request.host"}]}]),
    ]);
    (required, prop::bool::weighted(0.3), metrics).prop_map(|(required, traces, metrics)| Own {
        required,
        traces,
        metrics,
    })
}

fn mesh(name: &str, team: Option<&str>, tenancy: &Value, revisions: &[&str], own: &Own) -> Value {
    let mut spec = json!({
        "mesh": {"type": "Istio", "istio": {"revisions": revisions}},
        "tenancy": tenancy,
        "logging": {"backends": [
            {"name": "stdout", "type": "File", "file": {"path": "/dev/stdout"}},
            {"name": "audit", "type": "File", "file": {"path": "/var/log/audit.log"}},
            {"name": "twin", "type": "File", "file": {"path": "/dev/stderr"}},
        ]},
        "tracing": {"backends": [
            {"name": "tempo", "type": "OTLP", "otlp": {"endpoint": {"host": "tempo.monitoring.svc", "port": 4317}}},
            {"name": "other", "type": "OTLP", "otlp": {"endpoint": {"host": "other.monitoring.svc", "port": 4317}}},
        ]},
    });
    if let Some((backend, direction)) = own.required {
        spec["logging"]["required"] = json!([{"backend": backend, "direction": direction}]);
    }
    if own.traces {
        let tags = json!([{"name": "mesh", "type": "Literal", "literal": name}]);
        spec["tracing"]["default"] = json!({"backend": "tempo", "tags": tags});
    }
    if !own.metrics.is_null() {
        spec["metrics"] = json!({"overrides": own.metrics});
    }
    if let Some(team) = team {
        spec["namespaces"] = json!({"matchLabels": {"team": team}});
    }
    json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": name}, "spec": spec})
}

/// The part of a spec that says which workloads it is for.
fn selections() -> impl Strategy<Value = Value> {
    let target = select(vec![
        json!({"kind": "Gateway", "name": "edge"}),
        json!({"kind": "Service", "name": "cart"}),
        json!({"kind": "ServiceEntry", "name": "bank"}),
    ]);
    let of_labels =
        selectors().prop_map(|labels| labels.map_or(json!({}), |l| json!({"selector": {"matchLabels": l}})));
    prop_oneof![5 => of_labels, 1 => target.prop_map(|target| json!({"targetRefs": [target]}))]
}

fn selectors() -> impl Strategy<Value = Option<Labels>> {
    let value = || prop_oneof![2 => Just(None), 1 => select(vec!["x", "y"]).prop_map(Some)];
    (value(), value(), value()).prop_map(|(app, tier, zone)| {
        let labels = [("app", app), ("tier", tier), ("zone", zone)];
        let labels: Labels = labels
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect();
        (!labels.is_empty()).then_some(labels)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it becomes part of the object")]
fn policy(kind: &str, name: &str, namespace: &str, spec: Value) -> Value {
    json!({"apiVersion": "sightline.dev/v1alpha1", "kind": kind,
           "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

const NAMESPACES: [&str; 3] = ["istio-system", "shop", "pay"];

fn common(mut spec: Value, mesh_ref: Option<&str>) -> Value {
    if let Some(name) = mesh_ref {
        spec["meshRef"] = json!({"name": name});
    }
    spec
}

fn mesh_refs() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![3 => Just(None), 1 => select(vec!["a", "b"]).prop_map(Some)]
}

fn traffic_log() -> impl Strategy<Value = Value> {
    let formats = select(vec![
        Value::Null,
        json!({"encoding": "Text", "text": "%RESPONSE_CODE%"}),
        json!({"encoding": "JSON", "preset": "Istio"}),
        json!({"encoding": "Text", "text": "%NO_SUCH_OPERATOR%"}),
        json!({"encoding": "Text", "text": "%RESPONSE_CODE%", "tcp": {"encoding": "Text", "text": "%DURATION%"}}),
    ]);
    let filters = select(vec![
        Value::Null,
        json!({"type": "Match", "match": {"minStatus": 400}}),
        json!({"type": "Expression", "expression": "response.code >= 500 || request.method == 'POST'"}),
        json!({"type": "Expression", "expression": "nofunc(1)"}),
    ]);
    let place = (
        select(NAMESPACES.to_vec()),
        select(vec!["a", "b", "c", "d"]),
        selections(),
        mesh_refs(),
    );
    let said = (
        select(vec!["Inbound", "Outbound", "Both"]),
        subsequence(vec!["stdout", "audit", "twin", "unknown"], 0..=2),
        (formats, filters),
        prop::bool::weighted(0.2),
        -1..=1i32,
    );
    (place, said).prop_map(
        |((namespace, name, selection, mesh_ref), (direction, backends, (format, filter), disabled, priority))| {
            let mut spec = common(selection, mesh_ref);
            if spec.get("targetRefs").is_none() {
                spec["direction"] = direction.into();
            }
            spec["priority"] = priority.into();
            if disabled {
                spec["disabled"] = true.into();
            } else {
                if !backends.is_empty() {
                    spec["backends"] = json!(backends);
                }
                if !format.is_null() {
                    spec["format"] = format;
                }
                if !filter.is_null() {
                    spec["filter"] = filter;
                }
            }
            policy("TrafficLog", name, namespace, spec)
        },
    )
}

fn tracing_backend() -> impl Strategy<Value = Value> {
    (
        select(NAMESPACES.to_vec()),
        select(vec!["a", "b"]),
        selections(),
        mesh_refs(),
        select(vec!["tempo", "other", "unknown"]),
        select(vec![None, Some("0"), Some("0.25"), Some("100")]),
        subsequence(vec!["mesh", "team", "place"], 0..=2),
    )
        .prop_map(|(namespace, name, selection, mesh_ref, backend, sampling, tags)| {
            let mut spec = common(selection, mesh_ref);
            let tag = |tag: &&str| json!({"name": tag, "type": "Literal", "literal": format!("{namespace}/{name}")});
            if !tags.is_empty() {
                spec["tags"] = tags.iter().map(tag).collect();
            }
            spec["destination"] = json!({"type": "MeshBackend", "meshBackend": {"name": backend}});
            if let Some(percentage) = sampling {
                spec["sampling"] = json!({"percentage": percentage});
            }
            policy("TracingBackend", name, namespace, spec)
        })
}

/// Telemetries that stand there before, of nobody, of ours, and ours with fewer or more labels than it should be young.
fn live() -> impl Strategy<Value = Vec<Value>> {
    let one = |name: &'static str, ours: bool, selector: Value, day: usize| {
        let mut object = json!({
            "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
            "metadata": {"name": name, "namespace": "shop", "creationTimestamp": format!("2026-01-0{day}T00:00:00Z")},
            "spec": {"selector": selector, "accessLogging": [{"providers": [{"name": "sightline-file-aaaaaaaaaaaa"}]}]},
        });
        if ours {
            object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "sightline"});
        }
        object
    };
    // The names are those of `telemetry::object_name`.
    let app_x = sightline::render::istio::telemetry::object_name(&WorkloadSet::Labels(Labels::from([(
        "app".into(),
        "x".into(),
    )])));
    let both = Labels::from([("app".into(), "x".into()), ("tier".into(), "x".into())]);
    let both_name = sightline::render::istio::telemetry::object_name(&WorkloadSet::Labels(both.clone()));
    let (app_x, both_name): (&'static str, &'static str) = (app_x.leak(), both_name.leak());
    subsequence(
        vec![
            one("sightline", false, json!({}), 1),
            one("theirs", false, json!({}), 1),
            one(app_x, true, json!({"matchLabels": {"app": "x"}}), 5),
            one(both_name, true, json!({"matchLabels": both}), 2),
        ],
        0..=4,
    )
}

fn worlds() -> impl Strategy<Value = Vec<Value>> {
    let permission = || select(vec!["Allowed", "Denied"]);
    let tenancy = (permission(), permission(), permission(), select(vec!["100", "0.5"])).prop_map(
        |(disable, override_, custom, sampling)| {
            json!({"disableLogging": disable, "overrideFormat": override_, "customFormats": custom,
                   "maxSamplingPercentage": sampling})
        },
    );
    let meshes = (tenancy, any::<bool>(), any::<bool>(), any::<bool>(), (own(), own())).prop_map(
        |(tenancy, two, by_team, revisions, own)| {
            let revisions: &[&str] = if revisions {
                &["default", "canary"]
            } else {
                &["default"]
            };
            let mut meshes = vec![mesh("a", by_team.then_some("a"), &tenancy, revisions, &own.0)];
            if two {
                meshes.push(mesh("b", Some("b"), &tenancy, &["default"], &own.1));
            }
            meshes
        },
    );
    let namespaces = prop::collection::vec((select(vec!["a", "b"]), any::<bool>()), 3).prop_map(|facts| {
        let facts = NAMESPACES.iter().zip(facts);
        facts
            .map(|(name, (team, injected))| namespace(name, team, injected))
            .collect::<Vec<_>>()
    });
    let logs = prop::collection::vec(traffic_log(), 0..=8);
    let traces = prop::collection::vec(tracing_backend(), 0..=4);
    (meshes, namespaces, logs, traces, live()).prop_map(|(meshes, namespaces, logs, traces, live)| {
        let all = [meshes, namespaces, logs, traces, live].concat();
        let mut seen = BTreeSet::new();
        let name = |object: &Value| (object["kind"].to_string(), key_of(object));
        all.into_iter().filter(|object| seen.insert(name(object))).collect()
    })
}

fn selector_of(telemetry: &Value) -> Labels {
    string_map(telemetry.pointer("/spec/selector/matchLabels"))
}

fn list<'a>(telemetry: &'a Value, section: &str) -> &'a [Value] {
    telemetry["spec"][section].as_array().map_or(&[], Vec::as_slice)
}

/// Our Telemetries of each namespace.
fn telemetries(outcome: &Outcome) -> BTreeMap<String, Vec<&Value>> {
    let mut all: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for ((kind, key), object) in &outcome.converged.objects {
        if *kind == Kind::Telemetry {
            all.entry(key.namespace.clone()).or_default().push(object);
        }
    }
    all
}

/// Istio drops a filter without providers, applies only the last of a provider that stands twice, and falls back to
/// `accessLogFile` where no mode is named.
fn every_entry_is_explicit(telemetry: &Value) -> Result<(), TestCaseError> {
    let mut seen = BTreeSet::new();
    let targets = telemetry.pointer("/spec/targetRefs").and_then(Value::as_array);
    prop_assert!(targets.is_none_or(|targets| targets.len() == 1));
    prop_assert!(targets.is_none() || telemetry.pointer("/spec/selector").is_none());
    let logging = list(telemetry, "accessLogging");
    // A gateway is a client and a waypoint a server: one of them has a mode only where the two directions differ.
    let needs_mode = targets.is_none() || logging.iter().any(|entry| entry.get("match").is_some());
    for entry in logging {
        let mode = entry["match"]["mode"].as_str().unwrap_or_default();
        prop_assert!(!needs_mode || ["CLIENT", "SERVER"].contains(&mode), "{entry}");
        let providers = entry["providers"].as_array().unwrap();
        prop_assert_eq!(providers.len(), 1);
        prop_assert!(
            seen.insert((mode.to_owned(), providers[0]["name"].to_string())),
            "twice: {}",
            entry
        );
    }
    for entry in list(telemetry, "tracing") {
        prop_assert_eq!(entry["providers"].as_array().unwrap().len(), 1);
        for field in ["randomSamplingPercentage", "disableSpanReporting", "customTags"] {
            prop_assert!(
                entry.get(field).is_some_and(|v| !v.is_null()),
                "{} lacks {}",
                entry,
                field
            );
        }
    }
    prop_assert!(list(telemetry, "tracing").len() <= 1);
    for entry in list(telemetry, "metrics") {
        prop_assert_eq!(&entry["providers"], &json!([{"name": "prometheus"}]));
        let overrides = entry["overrides"].as_array().unwrap();
        // An enable after "all disabled" would bring all of them back.
        prop_assert!(
            overrides
                .iter()
                .all(|o| o["disabled"] == true || o.get("tagOverrides").is_some()),
            "{}",
            entry
        );
    }
    let sections = ["accessLogging", "tracing", "metrics"];
    let said: usize = sections.iter().map(|section| list(telemetry, section).len()).sum();
    prop_assert!(said > 0, "an object that says nothing: {}", telemetry);
    Ok(())
}

/// Two objects that one pod may match: then there is one for both selectors together, and it is not the older one.
fn selectors_are_closed(outcome: &Outcome, objects: &[&Value]) -> Result<(), TestCaseError> {
    let of_targets = |object: &&&Value| object.pointer("/spec/targetRefs").is_some();
    let attached: Vec<&Value> = objects.iter().filter(of_targets).copied().collect();
    let objects: Vec<&Value> = objects.iter().filter(|object| !of_targets(object)).copied().collect();
    let selectors: BTreeSet<Labels> = objects.iter().map(|o| selector_of(o)).collect();
    prop_assert_eq!(selectors.len(), objects.len(), "two objects of one selector");
    prop_assert!(selectors.iter().filter(|labels| !labels.is_empty()).count() <= 16);
    for a in &selectors {
        for b in &selectors {
            let meets = a
                .iter()
                .all(|(key, value)| b.get(key).is_none_or(|other| other == value));
            let both: Labels = a.iter().chain(b).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert!(!meets || selectors.contains(&both), "{:?} and {:?} meet", a, b);
        }
    }
    let created = |object: &Value| {
        let live = outcome.converged.snapshot.object(Kind::Telemetry, &key_of(object));
        live.and_then(|live| Some(live.pointer("/metadata/creationTimestamp")?.as_str()?.to_owned()))
    };
    let age = |object: &Value| (created(object), key_of(object).name);
    for few in &objects {
        for more in &objects {
            let (a, b) = (selector_of(few), selector_of(more));
            if !a.is_empty() && a.len() < b.len() && a.iter().all(|(k, v)| b.get(k) == Some(v)) {
                prop_assert!(age(few) < age(more), "{:?} is newer than {:?}", a, b);
            }
        }
        let gateways = attached
            .iter()
            .filter(|object| object["spec"]["targetRefs"][0]["kind"] == "Gateway");
        for gateway in gateways.filter(|_| !selector_of(few).is_empty()) {
            prop_assert!(age(few) < age(gateway), "a gateway's object is older than {:?}", few);
        }
    }
    Ok(())
}

fn every_provider_is_in_the_map(outcome: &Outcome) -> Result<(), TestCaseError> {
    let map = Key::new("istio-system", "sightline-mesh-config");
    let snapshot = &outcome.converged.snapshot;
    let there = snapshot
        .object(Kind::ConfigMap, &map)
        .map(|map| {
            let config = sightline::snapshot::mesh_config::read(map).unwrap();
            config.unwrap_or_default().providers
        })
        .unwrap_or_default();
    let objects = telemetries(outcome).into_values().flatten();
    for telemetry in objects {
        let entries = list(telemetry, "accessLogging")
            .iter()
            .chain(list(telemetry, "tracing"));
        for entry in entries {
            let name = entry["providers"][0]["name"].as_str().unwrap();
            let is_off = entry["disabled"] == true;
            prop_assert_eq!(is_off, name == "envoy", "{}", entry);
            prop_assert!(
                is_off || there.contains_key(name),
                "{} is not in the map: {:?}",
                name,
                there.keys()
            );
        }
    }
    Ok(())
}

/// What is somebody else's and was not given to us stands as it stood.
fn foreign_objects_stay(outcome: &Outcome, documents: &[Value]) -> Result<(), TestCaseError> {
    for object in documents {
        let foreign = object["kind"] == "Telemetry" && labels_of(object).is_empty();
        if foreign {
            let live = outcome.converged.snapshot.object(Kind::Telemetry, &key_of(object));
            prop_assert_eq!(live.map(|o| &o["spec"]), Some(&object["spec"]));
        }
    }
    Ok(())
}

/// TrafficLogs of one namespace that claim the same unit, by labels that one pod has.
fn rivals() -> impl Strategy<Value = Vec<Value>> {
    let rival = (subsequence(vec!["app", "tier", "zone"], 1..=3), -1..=1i32);
    prop::collection::vec(rival, 2..=5).prop_map(|rivals| {
        let names = ["e", "b", "d", "a", "c"];
        let log = |(name, (labels, priority)): (&str, (Vec<&str>, i32))| {
            let labels: Labels = labels
                .into_iter()
                .map(|label| (label.to_owned(), "x".to_owned()))
                .collect();
            let spec = json!({"selector": {"matchLabels": labels}, "direction": "Inbound", "priority": priority,
                              "format": {"encoding": "Text", "text": name}});
            policy("TrafficLog", name, "shop", spec)
        };
        names.into_iter().zip(rivals).map(log).collect()
    })
}

/// The name of the policy whose format pods get that all of these select.
fn winner(rivals: &[Value]) -> Result<String, String> {
    let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
                      "metadata": {"name": "default"}, "spec": {"mesh": {"type": "Istio"}}});
    let outcome = Outcome::of(&[rivals, &[mesh]].concat(), false)?;
    let labels = |rival: &Value| string_map(rival.pointer("/spec/selector/matchLabels"));
    let all: Labels = rivals.iter().flat_map(labels).collect();
    let name = sightline::render::istio::telemetry::object_name(&WorkloadSet::Labels(all));
    let object = &outcome.converged.objects[&(Kind::Telemetry, Key::new("shop", name))];
    let provider = object["spec"]["accessLogging"][0]["providers"][0]["name"].clone();
    let map = &outcome.converged.objects[&(Kind::ConfigMap, Key::new("istio-system", "sightline-mesh-config"))];
    let config = sightline::snapshot::mesh_config::read(map).map_err(|error| error.to_string())?;
    let providers = config.unwrap_or_default().providers;
    let text = providers[provider.as_str().unwrap_or_default()].pointer("/envoyFileAccessLog/logFormat/text");
    let text = text.and_then(Value::as_str).unwrap_or_default();
    Ok(text.trim().to_owned())
}

proptest! {
    #![proptest_config(Config { cases: 96, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_world_comes_to_rest_in_objects_that_istio_reads_as_they_are_meant(documents in worlds()) {
        let outcome = Outcome::of(&documents, false).map_err(TestCaseError::fail)?;
        for objects in telemetries(&outcome).into_values() {
            for telemetry in &objects {
                every_entry_is_explicit(telemetry)?;
            }
            selectors_are_closed(&outcome, &objects)?;
        }
        every_provider_is_in_the_map(&outcome)?;
        foreign_objects_stay(&outcome, &documents)?;
        outcome.rests().map_err(TestCaseError::fail)?;
    }

    /// Rank is a total order: who wins among many wins against each of them alone, and there is always one.
    #[test]
    fn the_winner_among_many_wins_against_each_of_them_alone(rivals in rivals()) {
        let winner = winner(&rivals).map_err(TestCaseError::fail)?;
        let best = rivals.iter().find(|rival| rival["metadata"]["name"] == winner.as_str());
        prop_assert!(best.is_some(), "{winner} is none of them");
        for rival in rivals.iter().filter(|rival| rival["metadata"]["name"] != winner.as_str()) {
            for pair in [[best.unwrap().clone(), rival.clone()], [rival.clone(), best.unwrap().clone()]] {
                prop_assert_eq!(&self::winner(&pair).map_err(TestCaseError::fail)?, &winner);
            }
        }
    }

    #[test]
    fn every_world_is_the_same_in_any_order_of_its_documents(documents in worlds()) {
        let expected = Outcome::of(&documents, false).map_err(TestCaseError::fail)?.text();
        for order in orders(&documents) {
            let other = Outcome::of(&order, false).map_err(TestCaseError::fail)?.text();
            prop_assert!(other == expected, "{}", diff(&expected, &other));
        }
    }
}
