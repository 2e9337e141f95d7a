//! Environment of workloads that export spans themselves: what stands in the pod template, read as the kubelet reads it, makes
//! a real SDK send to a real collector.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::control_plane::free_address;
use crate::span_receiver::{ReceivedSpan, ServerTls, SpanReceiver, tool};
use crate::world::*;

const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "otel-env");
const SPANS: Obj<'_> = Obj("TracingBackend", "storefront", "spans");
const CHECKOUT: Obj<'_> = Obj("Deployment", "storefront", "checkout");

#[tokio::test]
async fn the_environment_of_a_template_makes_a_real_sdk_send_to_a_real_collector() -> Result<()> {
    let collector = SpanReceiver::start(free_address()?, free_address()?, None).await?;
    let world = World::with_operator(10).await?;
    let before = sample_in(&world, &["--inject-namespace"]).await?;

    // The sample as it is.
    world.ready(SPANS).await?;
    world.restarted_to(CHECKOUT, 2).await?;

    // A collector of this machine, all traces, and a tag with what has to be encoded.
    world
        .patch(
            MESH,
            json!({"spec": {"tracing": {"backends": [backend(collector.grpc, "GRPC")]},
                                     "tenancy": {"maxSamplingPercentage": "100"}}}),
        )
        .await?;
    let tag = |value: &str| json!([{"name": "team", "type": "Literal", "literal": value}]);
    world
        .patch(
            SPANS,
            json!({"spec": {"sampling": {"percentage": "100"}, "tags": tag("a, b=c $(LOG_LEVEL)")}}),
        )
        .await?;
    let span = sent(&world, &collector, "over-grpc").await?;
    let pod = pod_of(&world).await?;
    let known = [
        ("service.name", "checkout"),
        ("service.namespace", "storefront"),
        ("service.version", "1.4.0"),
        ("k8s.namespace.name", "storefront"),
        ("k8s.deployment.name", "checkout"),
        ("k8s.container.name", "checkout"),
        ("k8s.pod.name", &text(&pod["metadata"]["name"])),
        ("k8s.node.name", &text(&pod["spec"]["nodeName"])),
        ("team", "a, b=c $(LOG_LEVEL)"),
    ];
    for (name, value) in known {
        assert_eq!(
            span.resource.get(name).map(String::as_str),
            Some(value),
            "{name}: {span:?}"
        );
    }

    // None are kept: what is sent afterwards arrives, and this did not.
    world
        .patch(SPANS, json!({"spec": {"sampling": {"percentage": "0"}}}))
        .await?;
    settled(&world).await?;
    run(&world, "kept-out").await?;
    world
        .patch(
            MESH,
            json!({"spec": {"tracing": {"backends": [backend(collector.http, "HTTP")]}}}),
        )
        .await?;
    world
        .patch(SPANS, json!({"spec": {"sampling": {"percentage": "100"}}}))
        .await?;
    sent(&world, &collector, "over-http").await?;
    let names: Vec<String> = collector.spans()?.into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["over-grpc", "over-http"]);

    // All of it goes, in one rollout.
    let revisions = world.revisions(CHECKOUT).await?;
    world.delete(SPANS).await?;
    world.restarted_to(CHECKOUT, revisions + 1).await?;
    assert_eq!(
        spec_of(&world.get(CHECKOUT).await?),
        spec_of(&before),
        "as before the policy"
    );
    Ok(())
}

#[tokio::test]
async fn headers_and_certificates_of_secrets_reach_the_receiver_and_a_change_of_one_is_one_restart() -> Result<()> {
    let pki = Pki::make()?;
    let tls = ServerTls {
        certificate: pki.path("server.crt"),
        key: pki.path("server.key"),
        client_ca: pki.path("ca.crt"),
    };
    let collector = SpanReceiver::start(free_address()?, free_address()?, Some(&tls)).await?;
    let world = World::with_operator(10).await?;
    let before = sample_in(&world, &["--inject-namespace"]).await?;
    let original = spec_of(&before);
    let port = collector.http.port();
    for object in [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "otel", "namespace": "storefront"},
               "spec": {"ports": [{"name": "otlp", "port": port}]}}),
        secret("cloud", &[("token", b"Bearer%20canary-1")]),
        secret(
            "pair",
            &[
                ("tls.crt", &pki.read("client.crt")?),
                ("tls.key", &pki.read("client.key")?),
            ],
        ),
        json!({"apiVersion": "v1", "kind": "ConfigMap",
               "metadata": {"name": "authorities", "namespace": "storefront", "labels": {"sightline.dev/shared": "true"}},
               "data": {"ca.crt": String::from_utf8(pki.read("ca.crt")?)?}}),
    ] {
        world.apply(&object.to_string()).await?;
    }
    world
        .patch(
            MESH,
            json!({"spec": {"tracing": {"customBackends": "SameNamespace", "backends": null},
                                     "tenancy": {"maxSamplingPercentage": "100"}}}),
        )
        .await?;
    let otlp = json!({"endpoint": {"host": "otel.storefront.svc", "port": port}, "protocol": "HTTP",
        "headers": [{"name": "X-Tenant", "value": "a b"},
                    {"name": "authorization", "valueFrom": {"secretKeyRef": {"name": "cloud", "key": "token"}}}],
        "tls": {"mode": "Mutual", "caCertificateRef": {"kind": "ConfigMap", "name": "authorities"},
                "clientCertificateRef": {"name": "pair"}}});
    let destination = json!({"type": "OTLP", "meshBackend": null, "otlp": otlp});
    world
        .patch(
            SPANS,
            json!({"spec": {"destination": destination, "sampling": {"percentage": "100"}}}),
        )
        .await?;

    // Without the right to look it is not guessed that they are there.
    world
        .told(SPANS, "Forbidden", &["storefront/cloud", "--inject-secrets-namespace"])
        .await?;
    grant(&world, &["--inject-namespace", "--inject-secrets-namespace"]).await?;
    let span = sent(&world, &collector, "first").await?;
    assert_eq!(span.resource["header.authorization"], "Bearer canary-1");
    assert_eq!(span.resource["header.x-tenant"], "a b");
    let shown = world.get(CHECKOUT).await?.to_string() + &world.get(SPANS).await?.to_string() + &world.log();
    ensure!(
        !shown.contains("canary"),
        "the token stands elsewhere than in its Secret"
    );

    // Another content is one restart.
    let revisions = world.revisions(CHECKOUT).await?;
    world
        .apply(&secret("cloud", &[("token", b"Bearer%20canary-2")]).to_string())
        .await?;
    world.restarted_to(CHECKOUT, revisions + 1).await?;
    let span = sent(&world, &collector, "second").await?;
    assert_eq!(span.resource["header.authorization"], "Bearer canary-2");
    world.quiet_for(Duration::from_secs(3)).await?;
    assert_eq!(world.revisions(CHECKOUT).await?, revisions + 1);

    // A key that goes is told, and the running workload is left as it is.
    world
        .apply(&secret("pair", &[("tls.crt", &pki.read("client.crt")?)]).to_string())
        .await?;
    world
        .told(SPANS, "SecretKeyMissing", &["Secret storefront/pair", "no key tls.key"])
        .await?;
    assert_eq!(world.revisions(CHECKOUT).await?, revisions + 1);

    // All of it goes, volume and mount included, in one rollout.
    world.delete(SPANS).await?;
    world.restarted_to(CHECKOUT, revisions + 2).await?;
    let live = world.get(CHECKOUT).await?;
    assert_eq!(spec_of(&live), original, "as before the policy");
    assert_eq!(live["metadata"]["annotations"].get("sightline.dev/mounted"), None);
    Ok(())
}

#[tokio::test]
async fn a_virtual_kubelet_is_pointed_at_the_collector_of_its_mesh() -> Result<()> {
    let world = World::with_operator(10).await?;
    let namespace = "interlink-edge";
    let labels = json!({"sightline.dev/inject": "enabled"});
    let template = json!({"metadata": {"labels": {"app": "virtual-node"}}, "spec": {"containers": [
        {"name": "vk", "image": "registry.example/vk:1"}, {"name": "plugin", "image": "registry.example/plugin:1"}]}});
    let node = Obj("Deployment", namespace, "virtual-node-node");
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "elastic", "namespace": namespace},
               "stringData": {"api-key": "canary"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
               "metadata": {"name": node.2, "namespace": namespace, "labels": {"app": "virtual-node"}},
               "spec": {"selector": {"matchLabels": {"app": "virtual-node"}}, "template": template}}),
    ] {
        world.apply(&object.to_string()).await?;
    }
    let rights = sightline_ok(&[
        "rbac",
        "--inject-namespace",
        namespace,
        "--collector-namespace",
        namespace,
    ])
    .await?;
    world.apply(&rights).await?;
    world.apply_sample("inject/interlink-collector").await?;
    let mesh = Obj("ObservabilityMesh", "", "interlink-edge");
    for obj in [mesh, Obj("TracingBackend", namespace, "virtual-kubelet")] {
        world.ready(obj).await?;
    }
    world.restarted_to(node, 2).await?;
    let live = world.get(node).await?;
    let env = live
        .pointer("/spec/template/spec/containers/0/env")
        .context("no environment")?;
    assert_eq!(
        *env,
        json!([
            {"name": "ENABLE_TRACING", "value": "1"},
            {"name": "TELEMETRY_ENDPOINT", "value": "sightline-collector.interlink-edge.svc.cluster.local:4317"},
            {"name": "TELEMETRY_UNIQUE_ID", "value": "virtual-node"},
            {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "site=edge-1"},
        ])
    );
    assert_eq!(
        live.pointer("/spec/template/spec/containers/1/env"),
        None,
        "it was not named"
    );
    ensure!(
        !live.to_string().contains("canary"),
        "the token stays with the collector"
    );
    Ok(())
}

/// Applies the sample with the rights of its namespace, and waits for its workload as its owner made it.
async fn sample_in(world: &World, rights: &[&str]) -> Result<Value> {
    let text = fs::read_to_string(root().join("config/samples/inject/otel-env.yaml"))?;
    let (workload, policy) = text.split_at(text.find("---\napiVersion: sightline.dev").context("no policy")?);
    world.apply(workload).await?;
    grant(world, rights).await?;
    let wait = [
        "wait",
        "--for=condition=Available",
        "--timeout=60s",
        "deployment",
        "checkout",
    ];
    world.kubectl(&[&["-n", "storefront"], &wait[..]].concat()).await?;
    let before = world.get(CHECKOUT).await?;
    world.apply(policy).await?;
    Ok(before)
}

async fn grant(world: &World, rights: &[&str]) -> Result<()> {
    let mut arguments = vec!["rbac"];
    for right in rights {
        arguments.extend([*right, "storefront"]);
    }
    world.apply(&sightline_ok(&arguments).await?).await
}

fn backend(address: SocketAddr, protocol: &str) -> Value {
    let endpoint = json!({"host": address.ip().to_string(), "port": address.port()});
    json!({"name": "tempo", "type": "OTLP", "otlp": {"endpoint": endpoint, "protocol": protocol}})
}

fn secret(name: &str, data: &[(&str, &[u8])]) -> Value {
    let data: BTreeMap<&str, ByteString> = data
        .iter()
        .map(|(key, value)| (*key, ByteString(value.to_vec())))
        .collect();
    let metadata = json!({"name": name, "namespace": "storefront", "labels": {"sightline.dev/shared": "true"}});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
}

fn spec_of(deployment: &Value) -> Value {
    deployment.pointer("/spec/template/spec").cloned().unwrap_or_default()
}

/// Waits until the policy is Ready for its present generation, and the workload rolled out.
async fn settled(world: &World) -> Result<()> {
    world.ready(SPANS).await?;
    eventually(PATIENCE, "it is rolled out", async || {
        let live = world.get(CHECKOUT).await?;
        Ok(if is_rolled_out(&live) {
            Ok(())
        } else {
            Err(live["status"].to_string())
        })
    })
    .await
}

/// Runs the program in the present environment, and gives its span once it has arrived.
async fn sent(world: &World, collector: &SpanReceiver, span: &str) -> Result<ReceivedSpan> {
    settled(world).await?;
    let said = run(world, span).await?;
    eventually(PATIENCE, "the span arrives", async || {
        let found = collector.spans()?.into_iter().find(|received| received.name == span);
        Ok(found.ok_or_else(|| format!("{said}\n{:?}", collector.spans())))
    })
    .await
}

/// A pod of the present template.
async fn pod_of(world: &World) -> Result<Value> {
    let hash = "/metadata/annotations/sightline.dev~1config-hash";
    let live = world.get(CHECKOUT).await?;
    let wanted = live.pointer(&format!("/spec/template{hash}")).cloned();
    eventually(PATIENCE, "a pod of the present template is on a node", async || {
        let pods = world.list("Pod", "storefront").await?;
        let is_present = |pod: &Value| pod.pointer(hash).cloned() == wanted && pod["spec"]["nodeName"].is_string();
        Ok(pods.into_iter().find(is_present).ok_or_else(|| "none".to_owned()))
    })
    .await
}

/// Runs the program with the environment, and the files, that the kubelet would give it: exactly those.
async fn run(world: &World, span: &str) -> Result<String> {
    let pod = pod_of(world).await?;
    let files = tempfile::tempdir()?;
    let container = &pod["spec"]["containers"][0];
    mount(world, &pod, container, files.path()).await?;
    let mut env = environment(world, &pod, container).await?;
    // The container's root is a folder here.
    for value in env.values_mut().filter(|value| value.starts_with("/etc/sightline/")) {
        *value = format!("{}{value}", files.path().display());
    }
    let output = Command::new("python3")
        .arg("-I")
        .arg(root().join("tests/e2e/inject/program.py"))
        .arg(tool("tools/opentelemetry-sdk/install.sh").await?)
        .arg(span)
        .env_clear()
        // Where python3 is, which an image has by itself.
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(&env)
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "the program failed: {said}\n{env:?}");
    Ok(said)
}

/// The variables of a container, as the kubelet makes them: in order, fields and Secrets read, `$(NAME)` replaced.
async fn environment(world: &World, pod: &Value, container: &Value) -> Result<BTreeMap<String, String>> {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for entry in container["env"].as_array().into_iter().flatten() {
        let name = text(&entry["name"]);
        let from = &entry["valueFrom"];
        let value = if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
            field(pod, path)
        } else if let Some(secret) = from["secretKeyRef"]["name"].as_str() {
            let bytes = content(world, "Secret", secret, &text(&from["secretKeyRef"]["key"])).await?;
            String::from_utf8(bytes)?
        } else {
            expanded(&text(&entry["value"]), &env)
        };
        env.insert(name, value);
    }
    Ok(env)
}

fn field(pod: &Value, path: &str) -> String {
    if let Some(label) = path
        .strip_prefix("metadata.labels['")
        .and_then(|rest| rest.strip_suffix("']"))
    {
        return text(&pod["metadata"]["labels"][label]);
    }
    text(
        pod.pointer(&format!("/{}", path.replace('.', "/")))
            .unwrap_or(&Value::Null),
    )
}

fn expanded(value: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            let unknown = format!("$({name})");
            out.push_str(env.get(name).unwrap_or(&unknown));
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

/// Writes the files of a container's projected volumes below a folder.
async fn mount(world: &World, pod: &Value, container: &Value, below: &Path) -> Result<()> {
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let volume = volumes.into_iter().find(|volume| volume["name"] == mount["name"]);
        let sources = volume.and_then(|volume| volume["projected"]["sources"].as_array());
        let folder = below.join(text(&mount["mountPath"]).trim_start_matches('/'));
        for source in sources.into_iter().flatten() {
            for (member, kind) in [("secret", "Secret"), ("configMap", "ConfigMap")] {
                for item in source[member]["items"].as_array().into_iter().flatten() {
                    let bytes = content(world, kind, &text(&source[member]["name"]), &text(&item["key"])).await?;
                    fs::create_dir_all(&folder)?;
                    fs::write(folder.join(text(&item["path"])), bytes)?;
                }
            }
        }
    }
    Ok(())
}

async fn content(world: &World, kind: &str, name: &str, key: &str) -> Result<Vec<u8>> {
    let object = world.get(Obj(kind, "storefront", name)).await?;
    let value = &object["data"][key];
    if kind == "ConfigMap" {
        return Ok(text(value).into_bytes());
    }
    let bytes: ByteString = serde_json::from_value(value.clone()).with_context(|| format!("{kind} {name}: {key}"))?;
    Ok(bytes.0)
}

/// An authority, a receiver's certificate for its Service, and one of a workload.
struct Pki(tempfile::TempDir);

impl Pki {
    fn make() -> Result<Self> {
        let pki = Self(tempfile::tempdir()?);
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ];
        pki.openssl(
            &[
                &["req", "-x509"],
                &key[..],
                &["-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.crt"],
            ]
            .concat(),
        )?;
        for (name, san) in [("server", "DNS:otel.storefront.svc"), ("client", "DNS:checkout")] {
            let (certificate, private) = (format!("{name}.crt"), format!("{name}.key"));
            let subject = ["-subj", "/CN=of-the-test", "-CA", "ca.crt", "-CAkey", "ca.key"];
            let extensions = format!("subjectAltName={san}");
            let more = ["-addext", "basicConstraints=CA:FALSE", "-addext", &extensions];
            let out = ["-keyout", &private, "-out", &certificate];
            pki.openssl(&[&["req", "-x509"], &key[..], &subject, &more, &out].concat())?;
        }
        Ok(pki)
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        let output = std::process::Command::new("openssl")
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .context("cannot run openssl")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl {arguments:?}: {errors}");
        Ok(())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.path(name))?)
    }
}
