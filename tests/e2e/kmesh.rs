//! Kmesh's switches, through the real port-forward of a real API server to a fake daemon ([`crate::kmesh_daemon`]).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::control_plane::Options;
use crate::eject::eject;
use crate::kmesh_daemon::{Daemon, Sickness, State};
use crate::operator::{NAMESPACE, USER};
use crate::world::*;

const KMESH: Obj = Obj("ObservabilityMesh", "", "kmesh");
const CONNECTIONS: Obj = Obj("TrafficLog", "kmesh-system", "connections");
const REQUESTS: Obj = Obj("TrafficLog", "bookinfo", "requests");
const BOOKINFO: Obj = Obj("Telemetry", "bookinfo", "");

/// What a fresh daemon of 1.1 is sent for an access log and metrics by workload.
const FRESH: [&str; 4] = [
    "/monitoring?enable=true",
    "/connection_metrics?enable=false",
    "/accesslog?enable=true",
    "/workload_metrics?enable=true",
];

/// `config/demo` with Kmesh's namespace, the rights there, and a Gateway that may be a waypoint.
async fn world_with(daemons: &[(String, &Daemon)]) -> Result<World> {
    let kwok = daemons.iter().map(|(pod, daemon)| daemon.forward(pod)).collect();
    let world = World::demo_with(Options {
        kwok,
        ..Options::default()
    })
    .await?;
    world.plane.install_crds(&world.plane.gateway_crd()).await?;
    let namespace = |name: &str| format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}\n");
    world
        .apply(&[namespace("kmesh-system"), namespace("bookinfo")].join("---\n"))
        .await?;
    let rights = sightline_ok(&[
        "rbac",
        "--istio-namespace",
        "istio-system",
        "--kmesh-namespace",
        "kmesh-system",
    ])
    .await?;
    world.apply(&rights).await?;
    Ok(world)
}

/// Pods as the DaemonSet's controller makes them, each on a node of its own.
async fn run(world: &World, pods: impl IntoIterator<Item = String>) -> Result<()> {
    let objects: Vec<String> = pods
        .into_iter()
        .flat_map(|name| {
            let node = format!("node-of-{name}");
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "kmesh-system", "labels": {"app": "kmesh"}},
                "spec": {"nodeName": node, "tolerations": [{"operator": "Exists"}],
                         "containers": [{"name": "kmesh", "image": "ghcr.io/kmesh-net/kmesh:v1.1.0"}]},
            });
            let metadata = json!({"name": node, "annotations": {"kwok.x-k8s.io/node": "fake"}});
            [json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}), pod]
        })
        .map(|object| object.to_string())
        .collect();
    world.apply(&objects.join("\n---\n")).await
}

/// A new container in the same pod.
async fn restart_container(world: &World, pod: &str, daemon: &Daemon) -> Result<()> {
    daemon.restart();
    let count = r#"[{"op": "replace", "path": "/status/containerStatuses/0/restartCount", "value": 1}]"#;
    let patch = ["patch", "pod", pod, "--subresource=status", "--type=json", "-p", count];
    world
        .kubectl(&[&["-n", "kmesh-system"], &patch[..]].concat())
        .await
        .map(drop)
}

async fn nodes(world: &World) -> Result<Value> {
    Ok(world.get(KMESH).await?["status"]["kmesh"].clone())
}

/// Waits the promised time until a daemon has had POSTs, and gives them.
async fn posts(daemon: &Daemon, count: usize) -> Result<Vec<String>> {
    posts_within(TOLD, daemon, count).await
}

async fn posts_within(time: Duration, daemon: &Daemon, count: usize) -> Result<Vec<String>> {
    eventually(time, "the daemon is asked", async || {
        let posts = daemon.state().posts;
        Ok(if posts.len() >= count {
            Ok(())
        } else {
            Err(format!("{posts:?}"))
        })
    })
    .await?;
    Ok(daemon.take_posts())
}

#[tokio::test]
async fn the_sample_is_ready_a_restarted_daemon_is_asked_once_with_the_needed_posts_and_an_idle_one_is_left_alone()
-> Result<()> {
    let daemon = Daemon::start("v1.1.0", Sickness::None).await?;
    let pod = "kmesh-aaaaa".to_owned();
    let mut world = world_with(&[(pod.clone(), &daemon)]).await?;
    run(&world, [pod.clone()]).await?;
    let waypoint = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: bookinfo}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}";
    world.apply(waypoint).await?;
    world.start_operator().await?;
    let sample = root().join("config/samples/kmesh/kmesh-istio-metrics.yaml");
    world.plane.apply_file(&sample).await?;
    for resource in [KMESH, CONNECTIONS, REQUESTS] {
        world.ready(resource).await?;
    }
    let telemetries = world.list(BOOKINFO.0, BOOKINFO.1).await?;
    ensure!(
        telemetries.len() == 1 && telemetries[0]["spec"]["targetRefs"][0]["name"] == "waypoint",
        "requests are the waypoint's: {telemetries:?}"
    );
    ensure!(
        world.list("Telemetry", "kmesh-system").await?.is_empty(),
        "connections are no Telemetry's"
    );
    // The order in which the resources were applied may make two steps of it; the end is the same.
    let state = daemon.state();
    assert_eq!(
        (
            state.monitoring,
            state.access_log,
            state.workload_metrics,
            state.connection_metrics
        ),
        (true, true, true, false)
    );
    daemon.take_posts();

    restart_container(&world, &pod, &daemon).await?;
    assert_eq!(
        posts(&daemon, FRESH.len()).await?,
        FRESH,
        "exactly what is needed, in the promised time"
    );
    world.ready(KMESH).await?;

    // Idle: nothing is sent. What its metrics prove is read meanwhile.
    eventually(PATIENCE, "evidence is told", async || {
        let status = nodes(&world).await?;
        let evidence = &status["nodes"][0]["evidence"];
        Ok(if *evidence == json!(["ServiceMetrics", "WorkloadMetrics"]) {
            Ok(())
        } else {
            Err(status.to_string())
        })
    })
    .await?;
    assert_eq!(
        daemon.take_posts(),
        Vec::<String>::new(),
        "nobody asked for anything else"
    );

    // A new pod.
    daemon.restart();
    world.delete_and_wait(Obj("Pod", "kmesh-system", &pod)).await?;
    run(&world, [pod.clone()]).await?;
    assert_eq!(posts(&daemon, FRESH.len()).await?, FRESH);

    // One thing changes: one thing is said.
    world
        .patch(KMESH, json!({"spec": {"metrics": {"kmesh": {"connection": true}}}}))
        .await?;
    assert_eq!(posts(&daemon, 1).await?, ["/connection_metrics?enable=true"]);
    world.delete(CONNECTIONS).await?;
    assert_eq!(posts(&daemon, 1).await?, ["/accesslog?enable=false"]);
    world.ready(KMESH).await?;

    // What goes switches off what it has switched on.
    world.delete_and_wait(KMESH).await.context("the finalizer lets it go")?;
    let state = daemon.state();
    assert_eq!(
        (state.access_log, state.workload_metrics, state.connection_metrics),
        (false, false, false)
    );
    Ok(())
}

const MESH: &str = r"
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: kmesh}
spec:
  mesh: {type: Kmesh}
  namespaces: {matchLabels: {kubernetes.io/metadata.name: bookinfo}}
  metrics: {kmesh: {connection: true}}
";

/// A mesh that wants metrics by service alone.
const BY_SERVICE: &str = r"
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: kmesh}
spec:
  mesh: {type: Kmesh}
  namespaces: {matchLabels: {kubernetes.io/metadata.name: bookinfo}}
  metrics: {kmesh: {}}
";

#[tokio::test]
async fn an_idle_daemon_gets_the_posts_of_the_resync_and_no_other_and_what_somebody_set_meanwhile_is_set_back_by_them()
-> Result<()> {
    // Of a daemon that has its metrics by service alone nothing else tells whether they are on.
    const AGAIN: [&str; 4] = [
        "/accesslog?enable=true",
        "/accesslog?enable=false",
        "/workload_metrics?enable=false",
        "/connection_metrics?enable=false",
    ];
    const ANEW: [&str; 5] = [
        "/accesslog?enable=true",
        "/monitoring?enable=true",
        "/accesslog?enable=false",
        "/workload_metrics?enable=false",
        "/connection_metrics?enable=false",
    ];
    let daemon = Daemon::start("v1.1.0", Sickness::None).await?;
    let pod = "kmesh-aaaaa".to_owned();
    let mut world = world_with(&[(pod.clone(), &daemon)]).await?;
    run(&world, [pod]).await?;
    world.set_resync(Duration::from_secs(12));
    world.start_operator().await?;
    world.apply(BY_SERVICE).await?;
    assert_eq!(
        posts(&daemon, 4).await?,
        [&ANEW[1..]].concat(),
        "as for a new container"
    );
    world.ready(KMESH).await?;
    let two = posts_within(PATIENCE, &daemon, 2 * AGAIN.len()).await?;
    assert_eq!(two, [AGAIN, AGAIN].concat(), "nothing but two resyncs");

    // kmeshctl, say.
    daemon.change(|state| {
        state.monitoring = false;
        state.workload_metrics = false;
    });
    assert_eq!(posts_within(PATIENCE, &daemon, ANEW.len()).await?, ANEW);
    daemon.change(|state| state.access_log = true);
    assert_eq!(posts_within(PATIENCE, &daemon, AGAIN.len()).await?, AGAIN);
    let state = daemon.state();
    assert_eq!((state.monitoring, state.access_log), (true, false));
    Ok(())
}

#[tokio::test]
async fn without_an_operator_switches_stay_as_set_and_eject_switches_off_what_is_finer_than_monitoring() -> Result<()> {
    let daemon = Daemon::start("v1.1.0", Sickness::None).await?;
    let pod = "kmesh-aaaaa".to_owned();
    let mut world = world_with(&[(pod.clone(), &daemon)]).await?;
    run(&world, [pod]).await?;
    world.start_operator().await?;
    world.apply(MESH).await?;
    world.ready(KMESH).await?;
    let on = |state: &State| (state.monitoring, state.connection_metrics);
    // Who explains asks no daemon: it is told what status says.
    let explained = tokio::process::Command::new(binary())
        .args(["explain", "namespace", "bookinfo", "-o", "json"])
        .env("KUBECONFIG", world.plane.kubeconfig())
        .output()
        .await?;
    let explained: Value = serde_json::from_slice(&explained.stdout).context("no answer")?;
    assert_eq!(explained["problems"], Value::Null, "{explained}");
    let connection = json!({"name": "ConnectionMetrics", "on": true, "from": [
        {"kind": "ObservabilityMesh", "name": "kmesh", "field": "spec.metrics.kmesh.connection"}]});
    assert_eq!(explained["connections"][0]["switches"][3], connection);

    world.stop_operator().await?;
    assert_eq!(on(&daemon.state()), (true, true), "they outlive the operator");
    daemon.take_posts();
    let account = world
        .plane
        .kubeconfig_for_service_account(NAMESPACE, "sightline")
        .await?;
    let line =
        "switch off access log, workload metrics and connection metrics of Kmesh's daemons, of ObservabilityMesh kmesh";
    let planned = eject(&account, &["--dry-run"]).await?;
    ensure!(planned.stdout.contains(&format!("would {line}\n")), "{planned:?}");
    assert_eq!(daemon.take_posts(), Vec::<String>::new(), "it is dry");
    let done = eject(&account, &["--timeout", "2m"]).await?;
    ensure!(
        done.code == Some(0) && done.stdout.contains(&format!("done: {line}\n")),
        "{done:?}"
    );
    let off = [
        "/accesslog?enable=false",
        "/workload_metrics?enable=false",
        "/connection_metrics?enable=false",
    ];
    assert_eq!(daemon.take_posts(), off);
    assert_eq!(
        on(&daemon.state()),
        (true, false),
        "monitoring is as it was before Sightline"
    );
    let planned = eject(&account, &["--dry-run"]).await?;
    ensure!(planned.stdout.contains("Nothing of Sightline is here"), "{planned:?}");

    world.start_operator().await?;
    posts(&daemon, 4).await?;
    world.ready(KMESH).await?;
    assert_eq!(on(&daemon.state()), (true, true));
    Ok(())
}

#[tokio::test]
async fn of_ten_daemons_two_that_are_sick_hold_up_none_and_are_told_and_each_sickness_has_its_reason() -> Result<()> {
    let mut daemons = Vec::new();
    for index in 0..10 {
        let sickness = match index {
            3 => Sickness::Slow,
            7 => Sickness::Closes,
            _ => Sickness::None,
        };
        daemons.push((format!("kmesh-{index}"), Daemon::start("v1.1.0", sickness).await?));
    }
    let forwards: Vec<(String, &Daemon)> = daemons.iter().map(|(pod, daemon)| (pod.clone(), daemon)).collect();
    let mut world = world_with(&forwards).await?;
    run(&world, daemons.iter().map(|(pod, _)| pod.clone())).await?;
    world.start_operator().await?;
    world.apply(MESH).await?;
    // The slow one costs five seconds, and one that closes as many: each is told only when its call is over.
    eventually(PATIENCE, "two of ten are sick", async || {
        let ready = world.condition(KMESH, "Ready").await?;
        let status = nodes(&world).await?;
        let of_nodes = status["nodes"].as_array().into_iter().flatten();
        let seen: Vec<String> = of_nodes.map(|node| text(&node["state"])).collect();
        let is_told = ready
            .as_ref()
            .is_some_and(|ready| ready.reason == "DaemonUnreachable" && ready.message.contains("2 of 10"));
        let is_listed = seen.len() == 10 && seen[..2] == ["DaemonUnreachable"; 2] && seen[2..] == ["Requested"; 8];
        let is_counted = (&status["daemons"], &status["requested"]) == (&json!(10), &json!(8));
        Ok(if is_told && is_listed && is_counted {
            Ok(())
        } else {
            Err(format!("{ready:?} {status}"))
        })
    })
    .await?;
    for (pod, daemon) in &daemons {
        let state = daemon.state();
        let is_sick = state.sickness != Sickness::None;
        assert_eq!(state.connection_metrics, !is_sick, "{pod}: {state:?}");
    }

    // While they are tried again another one restarts.
    let (pod, daemon) = &daemons[5];
    restart_container(&world, pod, daemon).await?;
    let needed = [
        "/monitoring?enable=true",
        "/accesslog?enable=false",
        "/workload_metrics?enable=false",
        "/connection_metrics?enable=true",
    ];
    assert_eq!(posts(daemon, needed.len()).await?, needed, "in the promised time");

    // They recover: nobody has to do anything.
    for (_, daemon) in &daemons {
        daemon.change(|state| state.sickness = Sickness::None);
    }
    world.ready(KMESH).await?;

    // One after the other, each in a new life of the daemon.
    let (pod, daemon) = &daemons[0];
    let cases = [
        (Sickness::KernelNative, "KernelNativeMode", "dual-engine"),
        (Sickness::RefusesMonitoring, "DaemonRefused", "operation not permitted"),
        // The stream of a port-forward does not tell that the other side has closed it.
        (Sickness::Closes, "DaemonUnreachable", "no answer"),
        (Sickness::TooOld, "DaemonTooOld", "upgrade Kmesh"),
    ];
    for (sickness, reason, words) in cases {
        daemon.change(|state| state.sickness = sickness);
        daemon.restart();
        world.delete_and_wait(Obj("Pod", "kmesh-system", pod)).await?;
        run(&world, [pod.clone()]).await?;
        let message = world.expect(KMESH, PATIENCE, "Ready", "False", reason).await?;
        ensure!(message.contains("1 of 10"), "{message}");
        ensure!(message.contains(words), "{message}");
        if matches!(sickness, Sickness::KernelNative | Sickness::TooOld) {
            assert_eq!(
                daemon.take_posts(),
                Vec::<String>::new(),
                "{sickness:?}: no request that it would die of, or does not know"
            );
        }
    }

    // Version 1.0 has no metrics by connection: said, and nothing is sent that it does not have.
    daemon.change(|state| {
        state.sickness = Sickness::None;
        state.version = "v1.0.0";
    });
    daemon.restart();
    world.delete_and_wait(Obj("Pod", "kmesh-system", pod)).await?;
    run(&world, [pod.clone()]).await?;
    world.ready(KMESH).await?;
    let message = world
        .expect(KMESH, PATIENCE, "PartiallyExpressed", "True", "NotExpressible")
        .await?;
    ensure!(message.contains("spec.metrics.kmesh.connection"), "{message}");
    ensure!(
        daemon.take_posts().iter().all(|post| !post.starts_with("/connection")),
        "1.0 does not have it"
    );
    Ok(())
}

#[tokio::test]
async fn without_the_right_to_forward_ports_the_next_step_is_told_and_the_right_heals_it() -> Result<()> {
    let daemon = Daemon::start("v1.1.0", Sickness::None).await?;
    let pod = "kmesh-aaaaa".to_owned();
    let mut world = world_with(&[(pod.clone(), &daemon)]).await?;
    for (namespace, may) in [("kmesh-system", true), ("bookinfo", false), ("istio-system", false)] {
        let question = [
            "auth",
            "can-i",
            "create",
            "pods",
            "--subresource=portforward",
            "--as",
            USER,
        ];
        // "no" is an exit code.
        let answer = world.kubectl(&[&question[..], &["-n", namespace]].concat()).await;
        assert_eq!(answer.is_ok(), may, "{namespace}: {answer:?}");
    }
    let role = world.get(Obj("Role", "kmesh-system", "sightline-kmesh")).await?;
    world.delete(Obj("Role", "kmesh-system", "sightline-kmesh")).await?;
    run(&world, [pod]).await?;
    world.start_operator().await?;
    world.apply(MESH).await?;
    world
        .told(KMESH, "Forbidden", &["kmesh-system", "--kmesh-namespace"])
        .await?;
    assert_eq!(daemon.take_posts(), Vec::<String>::new());
    let mut pods_only = role.clone();
    if let Some(rules) = pods_only["rules"].as_array_mut() {
        rules.retain(|rule| rule["resources"] == json!(["pods"]));
    }
    world.recreate(&pods_only).await?;
    eventually(PATIENCE, "pods are seen and ports are not forwarded", async || {
        let forbidden = world.forbidden().await?;
        Ok(if forbidden.iter().any(|call| call.contains("portforward")) {
            Ok(())
        } else {
            Err(format!("{forbidden:?}"))
        })
    })
    .await?;
    world
        .told(KMESH, "Forbidden", &["kmesh-system", "--kmesh-namespace"])
        .await?;
    world
        .apply(&{
            let mut whole = role;
            whole["metadata"] = json!({"name": "sightline-kmesh", "namespace": "kmesh-system"});
            whole.to_string()
        })
        .await?;
    world.ready(KMESH).await
}
