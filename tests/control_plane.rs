//! The control plane that the end-to-end tests stand on: that it plays a cluster as they need it, and that nothing of it
//! stays behind.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that their helpers are of them"
)]

#[path = "support/control_plane.rs"]
mod control_plane;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use control_plane::{ADMIN, ControlPlane, Options, stop_detached};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::OnceCell;

/// What a slow machine may take for something that takes a second.
const LIMIT: Duration = Duration::from_mins(1);

/// One for all the tests that only use it; the end of the test process ends it.
async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED
        .get_or_init(async || ControlPlane::start(Options::default()).await.unwrap())
        .await
}

async fn create_namespace(cluster: &ControlPlane, name: &str) {
    cluster.run_kubectl(&["create", "namespace", name]).await.unwrap();
}

/// A Deployment of two replicas whose pods have the annotation.
fn deployment(namespace: &str, name: &str, annotation: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{namespace: {namespace}, name: {name}}}
spec:
  replicas: 2
  progressDeadlineSeconds: 120
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{{annotation}}}
    spec:
      containers: [{{name: main, image: "example.invalid/main:1"}}]
"#
    )
}

async fn wait_for_rollout(cluster: &ControlPlane, namespace: &str, name: &str) -> anyhow::Result<()> {
    let name = format!("deployment/{name}");
    cluster
        .run_kubectl(&["-n", namespace, "rollout", "status", &name, "--timeout=120s"])
        .await?;
    Ok(())
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn pod_names(client: &Client, namespace: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect()
}

/// The command lines of the processes that name the folder: all of a control plane's, and their supervisors.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(dir))
        .collect()
}

/// Those of them that are no supervisor.
fn components_of(dir: &Path) -> Vec<String> {
    processes_of(dir)
        .into_iter()
        .filter(|line| !line.starts_with("sh "))
        .collect()
}

async fn assert_all_gone(dir: &Path) {
    until("all processes are gone", async || processes_of(dir).is_empty()).await;
    until("the folder is gone", async || !dir.exists()).await;
}

#[tokio::test]
async fn a_rollout_and_its_restart_end() {
    let cluster = shared().await;
    create_namespace(cluster, "rollout").await;
    cluster.apply_yaml(&deployment("rollout", "web", "")).await.unwrap();
    wait_for_rollout(cluster, "rollout", "web").await.unwrap();
    let client = cluster.client().unwrap();
    let before = pod_names(&client, "rollout").await;
    assert_eq!(before.len(), 2);

    let start = Instant::now();
    cluster
        .run_kubectl(&["-n", "rollout", "rollout", "restart", "deployment/web"])
        .await
        .unwrap();
    wait_for_rollout(cluster, "rollout", "web").await.unwrap();
    println!("restart took {:?}", start.elapsed());

    until("the old pods are removed", async || {
        let now = pod_names(&client, "rollout").await;
        now.len() == 2 && now.iter().all(|name| !before.contains(name))
    })
    .await;
}

#[tokio::test]
async fn deleted_pods_are_removed() {
    let cluster = shared().await;
    create_namespace(cluster, "removal").await;
    cluster.apply_yaml(&deployment("removal", "web", "")).await.unwrap();
    wait_for_rollout(cluster, "removal", "web").await.unwrap();
    cluster
        .run_kubectl(&["delete", "namespace", "removal", "--timeout=60s"])
        .await
        .unwrap();
    assert_eq!(
        pod_names(&cluster.client().unwrap(), "removal").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_pod_whose_outcome_is_never_stays_unready() {
    let cluster = shared().await;
    create_namespace(cluster, "never").await;
    let manifest = deployment("never", "stuck", r#"test.sightline.dev/outcome: "never""#);
    let manifest = manifest.replace("progressDeadlineSeconds: 120", "progressDeadlineSeconds: 3");
    cluster.apply_yaml(&manifest).await.unwrap();
    let error = wait_for_rollout(cluster, "never", "stuck").await.unwrap_err();
    assert!(
        format!("{error:#}").contains("exceeded its progress deadline"),
        "{error:#}"
    );
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), "never");
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        assert!(
            pod.spec.unwrap().node_name.is_some(),
            "it is scheduled: only readiness is missing"
        );
        assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    }
}

#[tokio::test]
async fn a_pod_can_become_unready_by_our_restart() {
    let cluster = shared().await;
    create_namespace(cluster, "restarted").await;
    let manifest = deployment(
        "restarted",
        "fragile",
        r#"test.sightline.dev/outcome: "never-after-restart""#,
    );
    cluster.apply_yaml(&manifest).await.unwrap();
    wait_for_rollout(cluster, "restarted", "fragile").await.unwrap();
    let patch = r#"{"spec": {"progressDeadlineSeconds": 3,
        "template": {"metadata": {"annotations": {"sightline.dev/config-hash": "1"}}}}}"#;
    cluster
        .run_kubectl(&["-n", "restarted", "patch", "deployment/fragile", "-p", patch])
        .await
        .unwrap();
    let error = wait_for_rollout(cluster, "restarted", "fragile").await.unwrap_err();
    assert!(
        format!("{error:#}").contains("exceeded its progress deadline"),
        "{error:#}"
    );
}

/// Answers every connection with the same HTTP response.
async fn serve_hello(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        if stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
            stream.write_all(answer).await.ok();
        }
    }
}

#[tokio::test]
async fn a_port_forward_reaches_what_kwok_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve_hello(listener));
    let kwok = format!(
        r"
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterPortForward
metadata: {{name: hello}}
spec: {{forwards: [{{ports: [15200], target: {{address: 127.0.0.1, port: {port}}}}}]}}
"
    );
    let cluster = ControlPlane::start(Options {
        kwok,
        ..Options::default()
    })
    .await
    .unwrap();
    cluster.apply_yaml(&deployment("default", "web", "")).await.unwrap();
    wait_for_rollout(&cluster, "default", "web").await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(cluster.client().unwrap());
    let name = pods.list(&ListParams::default()).await.unwrap().items[0]
        .metadata
        .name
        .clone()
        .unwrap();
    let mut forward = cluster.kubectl();
    forward
        .args(["port-forward", &format!("pod/{name}"), ":15200"])
        .stdout(std::process::Stdio::piped());
    let mut forward = forward.spawn().unwrap();
    // `Forwarding from 127.0.0.1:40123 -> 15200`
    let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.split(' ').nth(2).unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: hello\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 64];
    let length = tokio::time::timeout(LIMIT, stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer[..length].starts_with(b"HTTP/1.1 200 OK"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    forward.kill().await.unwrap();
}

#[tokio::test]
async fn ready_after_delays_a_pod() {
    let cluster = shared().await;
    create_namespace(cluster, "delay").await;
    let start = Instant::now();
    let manifest = deployment("delay", "late", r#"test.sightline.dev/ready-after: "4s""#);
    cluster.apply_yaml(&manifest).await.unwrap();
    wait_for_rollout(cluster, "delay", "late").await.unwrap();
    // The API server's times have whole seconds, so a pod may seem up to one older than it is.
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "ready after {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_service_account_has_only_its_rights_and_the_audit_log_shows_it() {
    let cluster = shared().await;
    create_namespace(cluster, "rights").await;
    cluster
        .run_kubectl(&["-n", "rights", "create", "serviceaccount", "tester"])
        .await
        .unwrap();
    let role = [
        "-n",
        "rights",
        "create",
        "role",
        "tester",
        "--verb=create",
        "--resource=configmaps",
    ];
    cluster.run_kubectl(&role).await.unwrap();
    let binding = [
        "-n",
        "rights",
        "create",
        "rolebinding",
        "tester",
        "--role=tester",
        "--serviceaccount=rights:tester",
    ];
    cluster.run_kubectl(&binding).await.unwrap();

    let since = Timestamp::now();
    let kubeconfig = cluster
        .kubeconfig_for_service_account("rights", "tester")
        .await
        .unwrap();
    let client = cluster.client_from(&kubeconfig).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "rights");
    let map: ConfigMap = serde_json::from_str(r#"{"metadata": {"name": "one"}}"#).unwrap();
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    // Rights reach the authorizer by a watch.
    until("the role binding is in force", async || {
        maps.create(&dry_run, &map).await.is_ok()
    })
    .await;
    maps.create(&PostParams::default(), &map).await.unwrap();
    let refused = maps
        .delete("one", &kube::api::DeleteParams::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));

    let user = "system:serviceaccount:rights:tester";
    until("both writes are in the audit log", async || {
        cluster.writes_by(user, since).unwrap().len() == 2
    })
    .await;
    let writes = cluster.writes_by(user, since).unwrap();
    let seen: Vec<_> = writes
        .iter()
        .map(|event| (event.verb.as_str(), event.name.as_str(), event.code))
        .collect();
    assert_eq!(seen, [("create", "one", 201), ("delete", "one", 403)]);
    assert!(
        writes
            .iter()
            .all(|event| event.resource == "configmaps" && event.namespace == "rights")
    );
    assert_eq!(cluster.writes_by(user, Timestamp::now()).unwrap(), []);
    let tokens = cluster.writes_by(ADMIN, since).unwrap();
    assert!(
        tokens
            .iter()
            .any(|event| event.resource == "serviceaccounts" && event.subresource == "token")
    );
}

#[tokio::test]
async fn istio_crds_are_served() {
    let cluster = shared().await;
    cluster.install_crds(&cluster.istio_crds()).await.unwrap();
    let names = cluster
        .run_kubectl(&["api-resources", "--api-group=telemetry.istio.io", "-o", "name"])
        .await
        .unwrap();
    assert_eq!(names.trim(), "telemetries.telemetry.istio.io");
}

#[tokio::test]
async fn kubectl_says_why_it_failed() {
    let error = shared()
        .await
        .apply_yaml("apiVersion: v1\nkind: NoSuchKind\nmetadata: {name: x}")
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("NoSuchKind"), "{error:#}");
}

#[tokio::test]
async fn the_api_server_can_be_restarted() {
    let cluster = ControlPlane::start(Options::default()).await.unwrap();
    cluster.apply_yaml(&deployment("default", "web", "")).await.unwrap();
    let (client, server) = (cluster.client().unwrap(), cluster.server());
    cluster.stop_api_server().unwrap();
    assert!(client.apiserver_version().await.is_err(), "nobody listens");
    cluster.start_api_server().await.unwrap();
    assert_eq!(cluster.server(), server);
    client
        .apiserver_version()
        .await
        .context("the same client works again")
        .unwrap();
    cluster.restart_api_server().await.unwrap();
    // The other components find it again, each after a pause of its own.
    let start = Instant::now();
    cluster
        .run_kubectl(&["rollout", "restart", "deployment/web"])
        .await
        .unwrap();
    wait_for_rollout(&cluster, "default", "web").await.unwrap();
    println!("the rollout after it took {:?}", start.elapsed());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn stop_leaves_nothing() {
    let cluster = ControlPlane::start(Options::default()).await.unwrap();
    let dir = cluster.dir().to_owned();
    assert_eq!(components_of(&dir).len(), 5, "{:#?}", components_of(&dir));
    cluster.stop().await.unwrap();
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_panic_leaves_nothing() {
    let (send, receive) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let cluster = ControlPlane::start(Options::default()).await.unwrap();
        send.send(cluster.dir().to_owned()).unwrap();
        panic!("on purpose");
    });
    let dir = receive.await.unwrap();
    assert!(test.await.unwrap_err().is_panic());
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

/// Where [`starter_process`] says which folder it uses.
const STARTER_REPORT: &str = "SIGHTLINE_TEST_STARTER_REPORT";

#[tokio::test]
#[ignore = "the process that a_killed_process_leaves_nothing starts and kills"]
async fn starter_process() {
    let report = PathBuf::from(std::env::var_os(STARTER_REPORT).unwrap());
    let cluster = ControlPlane::start(Options::default()).await.unwrap();
    let partial = report.with_extension("partial");
    std::fs::write(&partial, cluster.dir().to_str().unwrap()).unwrap();
    std::fs::rename(partial, report).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut starter = tokio::process::Command::new(std::env::current_exe().unwrap());
    let arguments = ["--exact", "starter_process", "--ignored"];
    let mut starter = starter
        .args(arguments)
        .env(STARTER_REPORT, &report)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the starter process has its control plane", async || report.exists()).await;
    let dir = PathBuf::from(std::fs::read_to_string(&report).unwrap());
    assert_eq!(components_of(&dir).len(), 5, "{:#?}", components_of(&dir));

    // SIGKILL.
    starter.kill().await.unwrap();
    assert_all_gone(&dir).await;
}

#[tokio::test]
async fn a_process_killed_while_it_starts_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut starter = tokio::process::Command::new(std::env::current_exe().unwrap());
    // Its temporary folder is made in ours.
    let arguments = ["--exact", "starter_process", "--ignored"];
    starter
        .args(arguments)
        .env(STARTER_REPORT, &report)
        .env("TMPDIR", folder.path())
        .kill_on_drop(true);
    let mut starter = starter.spawn().unwrap();
    until("the API server runs", async || {
        processes_of(folder.path())
            .iter()
            .any(|line| line.contains("--cert-dir="))
    })
    .await;
    assert!(!report.exists(), "it is still starting");
    starter.kill().await.unwrap();
    until("all processes are gone", async || {
        processes_of(folder.path()).is_empty()
    })
    .await;
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_detached_one_stays_until_it_is_stopped() {
    let cluster = ControlPlane::start(Options {
        detached: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let (dir, config) = (cluster.dir().to_owned(), cluster.client_config().unwrap());
    drop(cluster);
    let client = Client::try_from(config).unwrap();
    client.apiserver_version().await.unwrap();
    stop_detached(&dir).await.unwrap();
    assert_all_gone(&dir).await;
    assert!(client.apiserver_version().await.is_err());
}

#[tokio::test]
async fn a_folder_of_ones_own_is_kept_and_must_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster");
    let options = Options {
        dir: Some(dir.clone()),
        ..Options::default()
    };
    let cluster = ControlPlane::start(options.clone()).await.unwrap();
    assert_eq!(cluster.dir(), dir);
    cluster.stop().await.unwrap();
    assert!(std::fs::metadata(dir.join("audit.log")).unwrap().len() > 0);
    let error = ControlPlane::start(options).await.unwrap_err();
    assert!(format!("{error:#}").contains("is not empty"), "{error:#}");
}

/// A folder with the real binaries, but for etcd, which is the script.
async fn binaries_with_etcd(folder: &Path, script: &str) -> PathBuf {
    let real = shared().await.kubectl().as_std().get_program().to_owned();
    let real = Path::new(&real).parent().unwrap().to_owned();
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for entry in std::fs::read_dir(&real)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name() != "etcd")
    {
        std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name())).unwrap();
    }
    let path = bin.join("etcd");
    let real = real.join("etcd");
    std::fs::write(&path, format!("#!/bin/sh\nreal='{}'\n{script}\n", real.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[tokio::test]
async fn a_failed_start_shows_the_log_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bin = binaries_with_etcd(folder.path(), "echo 'the disk is upside down' >&2; exit 7").await;
    let dir = folder.path().join("cluster");
    let options = Options {
        dir: Some(dir.clone()),
        bin: Some(bin),
        detached: true,
        ..Options::default()
    };
    let error = format!("{:#}", ControlPlane::start(options).await.unwrap_err());
    assert!(error.contains("etcd ended with exit status: 7"), "{error}");
    assert!(error.contains("the disk is upside down"), "{error}");
    assert_eq!(processes_of(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
first="${0%/*}/first"
if mkdir "$first" 2>/dev/null; then echo 'listen tcp: bind: address already in use' >&2; exit 1; fi
exec "$real" "$@""#;
    let bin = binaries_with_etcd(folder.path(), script).await;
    let dir = folder.path().join("cluster");
    let cluster = ControlPlane::start(Options {
        dir: Some(dir),
        bin: Some(bin),
        ..Options::default()
    })
    .await
    .unwrap();
    assert!(folder.path().join("bin/first").exists(), "the first attempt failed");
    cluster.stop().await.unwrap();
}

#[test]
fn its_futures_can_be_spawned() {
    fn assert_send<T: Send>(_: &T) {}
    assert_send(&ControlPlane::start(Options::default()));
}
