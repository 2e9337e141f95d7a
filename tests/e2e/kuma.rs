//! Kuma: what is rendered for each version is taken by definitions in that version's shape, and what somebody else, an
//! upgrade or an uninstall does to it is told.

mod definitions;
mod legacy;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use definitions::Shape;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::operator::USER;
use crate::rbac::{asked_in, rules_in};
use crate::world::*;

/// Namespace of Kuma's control plane.
pub const SYSTEM: &str = "kuma-system";
const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "default");
const CONTROL_PLANE: Obj<'_> = Obj("Deployment", SYSTEM, "kuma-control-plane");
/// Every kind that is written.
const WRITTEN: [&str; 4] = ["MeshAccessLog", "MeshTrace", "MeshMetric", "MeshOpenTelemetryBackend"];

/// The golden case of a version: what is given, and the objects that come of it.
fn golden(version: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    golden_case(&format!("kuma-shape-of-{}", version.replace('.', "-")))
}

/// What a golden case is given, and the objects of Kuma's that come of it.
fn golden_case(name: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let folder = root().join("tests/render/cases").join(name);
    let read = |file: &str| -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(folder.join(file))?;
        Ok(serde_saphyr::from_multiple::<Value>(&text)?)
    };
    let out = read("out.yaml")?;
    let objects = out
        .first()
        .and_then(|out| out["objects"].as_array())
        .context("no objects")?;
    let is_kumas = |object: &&Value| object["apiVersion"] == "kuma.io/v1alpha1";
    Ok((read("in.yaml")?, objects.iter().filter(is_kumas).cloned().collect()))
}

/// What a version's golden case is given, but for the version.
async fn apply_golden(world: &World, version: &str) -> Result<()> {
    apply_without_version(world, golden(version)?.0).await
}

/// Our resources, for whatever version of Kuma runs.
async fn apply_without_version(world: &World, objects: Vec<Value>) -> Result<()> {
    for mut object in objects {
        if let Some(kuma) = object.pointer_mut("/spec/mesh/kuma").and_then(Value::as_object_mut) {
            kuma.remove("version");
        }
        world.apply(&object.to_string()).await?;
    }
    Ok(())
}

async fn install(world: &World, shape: Shape) -> Result<()> {
    let file = world.plane.dir().join(format!("kuma-{shape:?}.yaml"));
    let definitions: Vec<String> = shape.definitions().iter().map(Value::to_string).collect();
    std::fs::write(&file, definitions.join("\n---\n"))?;
    world.plane.install_crds(&file).await?;
    for legacy in LEGACY.into_iter().filter(|_| shape == Shape::V3_0) {
        if world.find(legacy).await?.is_some() {
            world.delete_and_wait(legacy).await?;
        }
    }
    Ok(())
}

/// What 3.0 no longer has.
const LEGACY: [Obj<'_>; 2] = [
    Obj("CustomResourceDefinition", "", "trafficlogs.kuma.io"),
    Obj("CustomResourceDefinition", "", "traffictraces.kuma.io"),
];

/// Kuma's control plane, as far as anybody looks at it.
async fn run_control_plane(world: &World, version: &str) -> Result<()> {
    let labels = json!({"app": "kuma-control-plane"});
    let container = json!({"name": "control-plane", "image": format!("docker.io/kumahq/kuma-cp:{version}"),
                           "resources": {"requests": {"cpu": "1m"}}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": CONTROL_PLANE.2, "namespace": SYSTEM},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}});
    world.apply(&deployment.to_string()).await?;
    let target = format!("deployment/{}", CONTROL_PLANE.2);
    world
        .kubectl(&["-n", SYSTEM, "rollout", "status", &target, "--timeout=60s"])
        .await
        .map(drop)
}

/// Namespaces, receivers, and the rights of `sightline rbac --kuma-namespace`.
async fn prepare(world: &World) -> Result<()> {
    for (name, labels) in [
        (SYSTEM, json!({"kuma.io/sidecar-injection": "disabled"})),
        ("shop", json!({"kuma.io/sidecar-injection": "enabled"})),
        ("elastic", json!({})),
        ("obs", json!({})),
    ] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        world.apply(&namespace.to_string()).await?;
    }
    for (namespace, name, ports) in [
        ("elastic", "logstash", vec![5000]),
        ("elastic", "otel-collector", vec![9411]),
        ("obs", "otel-collector", vec![4317, 9411]),
    ] {
        let ports: Vec<Value> = ports
            .into_iter()
            .map(|port| json!({"name": format!("grpc-{port}"), "port": port}))
            .collect();
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                             "spec": {"selector": {"app": name}, "ports": ports}});
        world.apply(&service.to_string()).await?;
    }
    world.apply(&rights().await?).await
}

async fn rights() -> Result<String> {
    sightline_ok(&["rbac", "--kuma-namespace", SYSTEM]).await
}

/// A cluster with a Kuma of that version, the golden case of it, and an operator that may write there.
async fn world_of(shape: Shape, version: &str) -> Result<World> {
    let world = empty_world_of(shape, version).await?;
    apply_golden(&world, &minor(version)).await?;
    Ok(world)
}

async fn empty_world_of(shape: Shape, version: &str) -> Result<World> {
    let mut world = World::bare().await?;
    install(&world, shape).await?;
    prepare(&world).await?;
    run_control_plane(&world, version).await?;
    world.start_operator().await?;
    Ok(world)
}

fn minor(version: &str) -> String {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned()
}

/// Whether each leaf of what is wanted stands in what is live; lists are compared item by item, as definitions fill in
/// defaults.
fn stands_in(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted
            .iter()
            .all(|(name, wanted)| live.get(name).is_some_and(|live| stands_in(wanted, live))),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| stands_in(wanted, live))
        }
        (wanted, live) => wanted == live,
    }
}

/// Our objects of Kuma's kinds, by kind and name.
async fn ours(world: &World, shape: Shape) -> Result<BTreeSet<(String, String)>> {
    let mut all = BTreeSet::new();
    for kind in WRITTEN {
        if kind == "MeshOpenTelemetryBackend" && !shape.has_backends() {
            continue;
        }
        let live = world.list(kind, SYSTEM).await?;
        let ours = live
            .iter()
            .filter(|object| object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "sightline");
        all.extend(ours.map(|object| (kind.to_owned(), text(&object["metadata"]["name"]))));
    }
    Ok(all)
}

/// Waits until exactly the objects of a version's golden case stand, as they are there.
async fn stands_as_golden(world: &World, shape: Shape, version: &str) -> Result<()> {
    let (_, wanted) = golden(version)?;
    let names: BTreeSet<(String, String)> = wanted
        .iter()
        .map(|object| (text(&object["kind"]), text(&object["metadata"]["name"])))
        .collect();
    eventually(PATIENCE, &format!("the objects of {version} stand"), async || {
        let live = ours(world, shape).await?;
        if live != names {
            return Ok(Err(format!("{live:?}, wanted {names:?}")));
        }
        for wanted in &wanted {
            let (kind, name) = (text(&wanted["kind"]), text(&wanted["metadata"]["name"]));
            let live = world.get(Obj(&kind, SYSTEM, &name)).await?;
            if !stands_in(&wanted["spec"], &live["spec"]) {
                return Ok(Err(format!(
                    "{kind} {name}: {}, wanted {}",
                    live["spec"], wanted["spec"]
                )));
            }
        }
        Ok(Ok(()))
    })
    .await?;
    for object in golden(version)?.0 {
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        world
            .ready(Obj(&kind, &text(&object["metadata"]["namespace"]), &name))
            .await?;
    }
    Ok(())
}

const ALL: Obj<'_> = Obj("TrafficLog", SYSTEM, "all");
const RECORDS: Obj<'_> = Obj("TrafficLog", "shop", "records");
const SPANS: Obj<'_> = Obj("TracingBackend", "shop", "spans");

#[tokio::test]
async fn each_version_takes_what_is_written_for_it_an_upgrade_is_told_and_a_field_that_is_not_declared_is_a_wrong_version()
-> Result<()> {
    let world = world_of(Shape::V2_9, "2.9.13").await?;
    stands_as_golden(&world, Shape::V2_9, "2.9").await?;
    // Beside Kuma's own TrafficLogs ours are found by group and by short name.
    let legacy = json!({"apiVersion": "kuma.io/v1alpha1", "kind": "TrafficLog", "metadata": {"name": "theirs"}, "mesh": "default", "spec": {}});
    world.apply(&legacy.to_string()).await?;
    for name in ["trafficlogs.sightline.dev", "tlog"] {
        let listed = world.kubectl(&["get", name, "-A", "-o", "name"]).await?;
        ensure!(listed.contains("trafficlog.sightline.dev/records"), "{name}: {listed}");
        ensure!(!listed.contains("theirs"), "{name}: {listed}");
    }
    let listed = world.kubectl(&["get", "trafficlogs.kuma.io", "-o", "name"]).await?;
    assert_eq!(listed.trim(), "trafficlog.kuma.io/theirs");
    for definition in ["trafficlogs.sightline.dev", "trafficlogs.kuma.io"] {
        let definition = world.get(Obj("CustomResourceDefinition", "", definition)).await?;
        let accepted = condition_of(&definition, "NamesAccepted").context("no condition")?;
        assert_eq!(accepted.status, "True", "{accepted:?}");
    }

    let mut before = "2.9".to_owned();
    for (shape, version) in [
        (Shape::V2_13, "2.13.10"),
        (Shape::V2_14, "2.14.3"),
        (Shape::V3_0, "3.0.0"),
    ] {
        install(&world, shape).await?;
        run_control_plane(&world, version).await?;
        let version = minor(version);
        stands_as_golden(&world, shape, &version).await?;
        // A status that differs in such a field alone comes up to 5 s late.
        eventually(PATIENCE, "the mesh's status tells the version", async || {
            let seen = text(&world.get(MESH).await?["status"]["kumaVersion"]);
            Ok(if seen == version { Ok(()) } else { Err(seen) })
        })
        .await?;
        let note = format!("is {version} and was {before}");
        eventually(PATIENCE, "an event tells of the upgrade", async || {
            let told = world.events(MESH).await?;
            let is_told = told
                .iter()
                .any(|(reason, told)| reason == "KumaVersionChanged" && told.contains(&note));
            Ok(if is_told { Ok(()) } else { Err(format!("{told:?}")) })
        })
        .await?;
        world.quiet_for(Duration::from_secs(3)).await?;
        before = version;
    }

    // Written for another version than the definitions are of, it is refused with a 500 and told.
    let version = |version: Option<&str>| json!({"spec": {"mesh": {"kuma": {"version": version}}}});
    world.patch(MESH, version(Some("2.13"))).await?;
    let since = Timestamp::now();
    let words = ["has no field spec", "spec.mesh.kuma.version"];
    world.told(RECORDS, "WrongVersion", &words).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let refused = world.writes_since(since).await?;
    let refused = refused.iter().filter(|write| write.code == 500).count();
    ensure!((1..30).contains(&refused), "{refused} tries in 10 s");
    world.patch(MESH, version(None)).await?;
    stands_as_golden(&world, Shape::V3_0, "3.0").await?;
    ensure!(world.forbidden().await?.is_empty(), "{:?}", world.forbidden().await?);
    Ok(())
}

#[tokio::test]
async fn what_others_do_beside_our_policies_is_told_what_webhooks_add_is_no_drift_and_nothing_is_left_of_an_uninstall()
-> Result<()> {
    let world = world_of(Shape::V2_14, "2.14.3").await?;
    stands_as_golden(&world, Shape::V2_14, "2.14").await?;

    what_webhooks_add_is_no_drift(&world).await?;
    a_policy_of_somebody_else_is_told(&world).await?;
    what_kuma_says_is_told(&world).await?;
    a_missing_mesh_is_told(&world).await?;
    the_rights_are_what_is_asked_for(&world).await?;

    // A kind that goes is told, and comes back with all that stood there.
    world
        .delete_and_wait(Obj("CustomResourceDefinition", "", "meshtraces.kuma.io"))
        .await?;
    world.told(SPANS, "KumaNotInstalled", &["MeshTrace of kuma.io"]).await?;
    install(&world, Shape::V2_14).await?;
    stands_as_golden(&world, Shape::V2_14, "2.14").await?;

    world.delete_and_wait(MESH).await?;
    let left = ours(&world, Shape::V2_14).await?;
    ensure!(left.is_empty(), "{left:?}");
    world.told(RECORDS, "NoMesh", &[]).await
}

/// A cluster with Kuma, and the sample `kuma-elastic` applied.
pub async fn world_of_the_sample() -> Result<World> {
    let mut world = World::bare().await?;
    install(&world, Shape::V2_14).await?;
    prepare(&world).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "checkout", "labels": {"kuma.io/sidecar-injection": "enabled"}}});
    world.apply(&namespace.to_string()).await?;
    let rights = ["rbac", "--kuma-namespace", SYSTEM, "--collector-namespace", "elastic"];
    world.apply(&sightline_ok(&rights).await?).await?;
    run_control_plane(&world, "2.14.3").await?;
    world.provide_volumes(2).await?;
    world.start_operator().await?;
    world.apply_sample("kuma/kuma-elastic").await?;
    for sample in [
        Obj("ObservabilityMesh", "", "kuma-elastic"),
        ALL,
        Obj("TrafficLog", SYSTEM, "logstash"),
        Obj("TrafficLog", SYSTEM, "elastic"),
    ] {
        world.ready(sample).await?;
    }
    Ok(world)
}

#[tokio::test]
async fn the_sample_is_ready_and_kuma_is_given_the_backends_and_the_tracing_of_the_document() -> Result<()> {
    let world = world_of_the_sample().await?;
    let all_of = async |kind: &str, path: &str| -> Result<BTreeSet<String>> {
        let live = world.list(kind, SYSTEM).await?;
        let found = live.iter().filter_map(|object| object.pointer(path));
        Ok(found.map(Value::to_string).collect())
    };
    // All policies hold for the whole mesh, so each list has all backends: lists of a target replace each other.
    let backends = all_of("MeshAccessLog", "/spec/rules/0/default/backends").await?;
    ensure!(
        !backends.is_empty()
            && backends.iter().all(
                |all| ["/tmp/access.log", "logstash.elastic.svc:5000", "http.request.method"]
                    .iter()
                    .all(|part| all.contains(part))
            ),
        "{backends:?}"
    );
    let traces = all_of("MeshTrace", "/spec/default").await?;
    let trace = traces.first().context("no MeshTrace")?;
    ensure!(
        traces.len() == 1 && trace.contains("MeshOpenTelemetryBackend"),
        "{traces:?}"
    );
    let receivers = all_of("MeshOpenTelemetryBackend", "/spec/endpoint").await?;
    let receiver = receivers.first().context("no receiver")?;
    ensure!(
        receivers.len() == 1 && receiver.contains("sightline-collector.elastic.svc"),
        "{receivers:?}"
    );
    ensure!(world.forbidden().await?.is_empty(), "{:?}", world.forbidden().await?);
    Ok(())
}

/// Labels, and defaults inside the spec, by another field manager.
async fn what_webhooks_add_is_no_drift(world: &World) -> Result<()> {
    world.quiet_for(Duration::from_secs(3)).await?;
    let since = Timestamp::now();
    let labels = json!({
        "k8s.kuma.io/namespace": SYSTEM, "kuma.io/env": "kubernetes", "kuma.io/origin": "zone", "kuma.io/zone": "default",
        "kuma.io/policy-role": "system", "kuma.io/display-name": null,
    });
    for (kind, name) in ours(world, Shape::V2_14).await? {
        world
            .patch(Obj(&kind, SYSTEM, &name), json!({"metadata": {"labels": labels}}))
            .await?;
    }
    let receivers = world.list("MeshOpenTelemetryBackend", SYSTEM).await?;
    let receiver = text(&receivers.first().context("no receiver")?["metadata"]["name"]);
    let receiver = Obj("MeshOpenTelemetryBackend", SYSTEM, &receiver);
    world
        .patch(receiver, json!({"spec": {"env": {"allowSignalOverrides": false}}}))
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.no_writes_since(since).await?;
    // What is ours is put back.
    world
        .patch(receiver, json!({"spec": {"env": {"precedence": "EnvFirst"}}}))
        .await?;
    eventually(PATIENCE, "what is ours is put back", async || {
        let live = world.get(receiver).await?["spec"]["env"]["precedence"].clone();
        Ok(if live == "ExplicitFirst" {
            Ok(())
        } else {
            Err(live.to_string())
        })
    })
    .await
}

async fn a_policy_of_somebody_else_is_told(world: &World) -> Result<()> {
    let theirs = Obj("MeshAccessLog", SYSTEM, "a-users");
    let policy = |target: Value| {
        json!({"apiVersion": "kuma.io/v1alpha1", "kind": "MeshAccessLog",
               "metadata": {"name": theirs.2, "namespace": SYSTEM, "labels": {"kuma.io/mesh": "default"}},
               "spec": {"targetRef": target, "rules": [{"default": {"backends": [{"type": "File", "file": {"path": "/tmp/a"}}]}}]}})
        .to_string()
    };
    world.apply(&policy(json!({"kind": "Mesh"}))).await?;
    let words = [
        "MeshAccessLog kuma-system/a-users of somebody else replaces",
        "delete it",
    ];
    world.told(ALL, "ShadowedBy", &words).await?;
    world
        .ready(RECORDS)
        .await
        .context("the deeper target is not concerned")?;
    let before = world.get(theirs).await?;

    let cart = json!({"kind": "MeshSubset", "tags": {"k8s.kuma.io/namespace": "shop", "app": "cart"}});
    world.apply(&policy(cart)).await?;
    let told = world.expect(RECORDS, TOLD, "Contested", "True", "Contested").await?;
    ensure!(told.contains("takes part in") && told.contains("app=cart"), "{told}");
    world.ready(RECORDS).await?;
    assert_eq!(
        world.get(theirs).await?["metadata"]["uid"],
        before["metadata"]["uid"],
        "it is left alone"
    );
    world.delete_and_wait(theirs).await?;
    world.ready(ALL).await?;
    eventually(TOLD, "nothing is contested", async || {
        Ok(match world.condition(RECORDS, "Contested").await? {
            None => Ok(()),
            Some(condition) => Err(condition.message),
        })
    })
    .await
}

/// Conditions of Kuma's on our objects, and proxies that refuse.
async fn what_kuma_says_is_told(world: &World) -> Result<()> {
    let (_, objects) = golden("2.14")?;
    let names_receiver = |object: &&Value| {
        object["kind"] == "MeshAccessLog" && object["spec"].to_string().contains("sightline.dev/receiver")
    };
    let records = objects
        .iter()
        .find(names_receiver)
        .context("no policy names a receiver")?;
    let records = text(&records["metadata"]["name"]);
    let says = async |obj: Obj<'_>, type_: &str, status: &str, message: &str| {
        let condition = json!({"type": type_, "status": status, "reason": "Said", "message": message});
        let status = json!({"status": {"conditions": [condition]}}).to_string();
        let kind = format!("{}.kuma.io", obj.0.to_lowercase());
        world
            .kubectl(&[
                "-n",
                obj.1,
                "patch",
                &kind,
                obj.2,
                "--subresource=status",
                "--type=merge",
                "-p",
                &status,
            ])
            .await
            .map(drop)
    };
    let policy = Obj("MeshAccessLog", SYSTEM, &records);
    let unresolved = "Unresolved MeshOpenTelemetryBackend references: x";
    says(policy, "BackendRefsResolved", "False", unresolved).await?;
    world
        .told(RECORDS, "BackendUnresolved", &[records.as_str(), unresolved])
        .await?;
    says(policy, "BackendRefsResolved", "True", "").await?;
    world.ready(RECORDS).await?;
    let receivers = world.list("MeshOpenTelemetryBackend", SYSTEM).await?;
    let receiver = text(&receivers.first().context("no receiver")?["metadata"]["name"]);
    let backend = Obj("MeshOpenTelemetryBackend", SYSTEM, &receiver);
    says(backend, "ReferencedByPolicies", "False", "nobody").await?;
    world
        .told(RECORDS, "BackendUnresolved", &[receiver.as_str(), "nobody"])
        .await?;
    says(backend, "ReferencedByPolicies", "True", "").await?;
    world.ready(RECORDS).await?;

    let insight = |accepted: u32, rejected: u32| {
        let listeners = json!({"responsesSent": "9", "responsesAcknowledged": accepted.to_string(), "responsesRejected": rejected.to_string()});
        json!({"apiVersion": "kuma.io/v1alpha1", "kind": "DataplaneInsight", "metadata": {"name": "cart-1", "namespace": "shop"},
               "mesh": "default", "status": {"subscriptions": [{"id": "1", "status": {"lds": listeners}}]}})
        .to_string()
    };
    world.apply(&insight(1, 0)).await?;
    world.quiet_for(Duration::from_secs(2)).await?;
    world.apply(&insight(1, 1)).await?;
    for policy in [RECORDS, ALL] {
        world
            .told(policy, "RejectedByProxies", &["shop/cart-1", "config rejected"])
            .await?;
    }
    world.apply(&insight(2, 1)).await?;
    world.ready(RECORDS).await?;
    world.ready(ALL).await
}

/// In the words of Kuma's webhook, here those of an admission policy.
async fn a_missing_mesh_is_told(world: &World) -> Result<()> {
    let name = "no-such-mesh";
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["kuma.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["meshaccesslogs"]}]},
            "validations": [{"expression": "object.metadata.labels['kuma.io/mesh'] != 'nomesh'", "message": "Mesh.kuma.io \"nomesh\" not found"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]}});
    for object in [policy, binding] {
        world.apply(&object.to_string()).await?;
    }
    let probe = json!({"apiVersion": "kuma.io/v1alpha1", "kind": "MeshAccessLog",
        "metadata": {"name": "probe", "namespace": SYSTEM, "labels": {"kuma.io/mesh": "nomesh"}}});
    world.denied(name, &probe).await?;
    // Which mesh of Kuma's it is may not change: another one for a namespace of its own.
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bank", "labels": {"mesh": "bank"}}});
    world.apply(&namespace.to_string()).await?;
    let selector = |operator: &str| json!({"matchExpressions": [{"key": "mesh", "operator": operator}]});
    world
        .patch(MESH, json!({"spec": {"namespaces": selector("DoesNotExist")}}))
        .await?;
    let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "bank"},
        "spec": {"mesh": {"type": "Kuma", "kuma": {"name": "nomesh"}}, "namespaces": selector("Exists")}});
    world.apply(&mesh.to_string()).await?;
    let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog", "metadata": {"name": "all", "namespace": "bank"}, "spec": {}});
    world.apply(&log.to_string()).await?;
    let of_bank = Obj("TrafficLog", "bank", "all");
    world.told(of_bank, "MeshNotFound", &["no mesh nomesh"]).await?;
    for obj in [
        of_bank,
        Obj("ObservabilityMesh", "", "bank"),
        Obj("Namespace", "", "bank"),
    ] {
        world.delete(obj).await?;
    }
    world.patch(MESH, json!({"spec": {"namespaces": null}})).await?;
    world.gone(Obj("ObservabilityMesh", "", "bank"), PATIENCE).await?;
    stands_as_golden(world, Shape::V2_14, "2.14").await
}

/// Each right of the Role in Kuma's namespace, and of the rule about insights, is used, and none is missing.
async fn the_rights_are_what_is_asked_for(world: &World) -> Result<()> {
    // What is deleted is looked at before.
    world.delete_and_wait(SPANS).await?;
    world.delete_and_wait(RECORDS).await?;
    eventually(PATIENCE, "what nobody wants any more goes", async || {
        let left = ours(world, Shape::V2_14).await?;
        let is_of_shop = |(kind, _): &&(String, String)| kind == "MeshTrace";
        Ok(match left.iter().filter(is_of_shop).count() {
            1 => Ok(()),
            _ => Err(format!("{left:?}")),
        })
    })
    .await?;
    world
        .patch(MESH, json!({"spec": {"metrics": null, "tracing": {"default": null}}}))
        .await?;
    world.quiet_for(Duration::from_secs(3)).await?;
    apply_golden(world, "2.14").await?;
    stands_as_golden(world, Shape::V2_14, "2.14").await?;
    let forbidden = world.forbidden().await?;
    ensure!(forbidden.is_empty(), "{forbidden:?}");

    let objects = serde_saphyr::from_multiple::<Value>(&rights().await?)?;
    let asked = asked_in(world, Some(SYSTEM)).await?;
    let rules = rules_in(&objects, Some(SYSTEM));
    let without: Vec<_> = asked
        .difference(&rules)
        .filter(|(resource, _)| resource.starts_with("kuma.io/"))
        .collect();
    ensure!(without.is_empty(), "asked for without a rule: {without:?}");
    let unused: Vec<_> = rules.difference(&asked).collect();
    ensure!(unused.is_empty(), "rules that nobody uses: {unused:?}");
    // Those of what 2.x had before policies are the test of that.
    let insights = |all: BTreeSet<(String, String)>| -> BTreeSet<(String, String)> {
        let is_meant = |(resource, _): &(String, String)| resource == "kuma.io/dataplaneinsights";
        all.into_iter().filter(is_meant).collect()
    };
    assert_eq!(
        insights(asked_in(world, None).await?),
        insights(rules_in(&objects, None)),
        "in the whole cluster, by {USER}"
    );
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_moves_from_a_mesh_of_kumas_to_one_of_istios_and_back_leaves_nothing_in_the_old_one()
-> Result<()> {
    let mut world = World::demo().await?;
    install(&world, Shape::V2_14).await?;
    prepare(&world).await?;
    run_control_plane(&world, "2.14.3").await?;
    world.start_operator().await?;
    let mesh = |name: &str, type_: &str| {
        json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": name},
               "spec": {"mesh": {"type": type_}, "namespaces": {"matchLabels": {"mesh": name}}}})
        .to_string()
    };
    world.apply(&mesh("kuma", "Kuma")).await?;
    world.apply(&mesh("istio", "Istio")).await?;
    let log = Obj("TrafficLog", "shop", "all");
    let object = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog", "metadata": {"name": log.2, "namespace": log.1}, "spec": {}});
    world.apply(&object.to_string()).await?;
    for round in ["kuma", "istio", "kuma"] {
        let labels = json!({"metadata": {"labels": {"mesh": round}}});
        world.patch(Obj("Namespace", "", "shop"), labels).await?;
        eventually(PATIENCE, &format!("it is of {round} alone"), async || {
            let in_kuma = ours(&world, Shape::V2_14).await?.len();
            let in_istio = world.find(SHOP_TELEMETRY).await?.is_some();
            let wanted = if round == "kuma" { (2, false) } else { (0, true) };
            Ok(if (in_kuma, in_istio) == wanted {
                Ok(())
            } else {
                Err(format!("{in_kuma} policies of Kuma's, a Telemetry: {in_istio}"))
            })
        })
        .await?;
        world.ready(log).await?;
        assert_eq!(text(&world.get(log).await?["status"]["mesh"]), round);
    }
    let forbidden = world.forbidden().await?;
    ensure!(forbidden.is_empty(), "{forbidden:?}");
    Ok(())
}
