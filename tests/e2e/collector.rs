//! The sample `kuma-elastic` with its collector, from `kubectl apply` to documents in Elasticsearch: what the operator
//! wrote runs in real collectors, and a real Envoy sends what Sightline has Kuma tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sightline::yaml::read_documents;

use crate::collectors::{Collectors, ELASTICSEARCH, request};
use crate::elasticsearch::{Document, Elasticsearch, Refusal};
use crate::envoy::{Envoy, Release, address};
use crate::kuma::{self, SYSTEM};
use crate::telemetry;
use crate::world::*;

const MESH: Obj<'_> = Obj("ObservabilityMesh", "", "kuma-elastic");
const SECRET: Obj<'_> = Obj("Secret", "elastic", "elasticsearch");
const CONFIG: Obj<'_> = Obj("ConfigMap", "elastic", "sightline-collector");
const RUNNER: Obj<'_> = Obj("StatefulSet", "elastic", "sightline-collector");
/// The credential: wherever this text is found, it is the credential.
const API_KEY: &str = "Y2FuYXJ5LW9mLXRoZS1waXBlbGluZTpuZXZlci1zZWVuLWVsc2V3aGVyZQ==";
/// Of each kind, before the crash and after it.
const EACH: u64 = 20;

#[tokio::test]
async fn the_samples_pipeline_brings_each_span_and_log_to_elasticsearch_once_through_an_outage_and_a_crash_and_shows_no_key()
-> Result<()> {
    let world = kuma::world_of_the_sample().await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET.2, "namespace": SECRET.1},
                        "stringData": {"api-key": API_KEY}});
    world.apply(&secret.to_string()).await?;
    let mut elasticsearch = Elasticsearch::away()?;
    world.apply(&sample_with(&elasticsearch.url())?.to_string()).await?;
    world.ready(MESH).await?;
    let config = written_for(&world, &elasticsearch.url()).await?;
    let backend = otlp_backend(&world).await?;

    let env = env(&world).await?;
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut collectors = Collectors::start(&config, &env).await?;
    let receiver = collectors.receiver(4317)?;
    let envoy = Envoy::start(Release::newest()?, proxy(&backend, receiver)).await?;
    let told = async {
        send(&collectors, &envoy, 1).await?;
        queued(&collectors, 4 * EACH).await?;
        // What is queued is on the volume.
        collectors.crash().await?;
        send(&collectors, &envoy, 1 + EACH).await?;
        queued(&collectors, 4 * EACH).await?;
        ensure!(elasticsearch.documents().is_empty());
        elasticsearch.come_back(REFUSALS)?;
        arrived(&collectors, &elasticsearch).await
    };
    let documents = told.await.with_context(|| collectors.log_tails())?;
    each_is_there_once(&documents)?;
    assert_eq!(elasticsearch.refusals(), (REFUSALS.len(), 0));
    assert_eq!(
        elasticsearch.authorizations(),
        BTreeSet::from([format!("APIKey {API_KEY}")])
    );
    is_as_recorded(&documents)?;

    nobody_sees_the_key(&world).await?;
    for (place, text) in [("log", collectors.logs()), ("metrics", collectors.metrics().await?)] {
        ensure!(!text.contains(API_KEY), "the key is in the {place} of the collectors");
    }
    ensure!(world.forbidden().await?.is_empty(), "{:?}", world.forbidden().await?);
    Ok(())
}

/// What Elasticsearch says when it is back: not ready, overloaded, and overloaded for some of what it is sent.
const REFUSALS: [Refusal; 12] = [
    Refusal::Whole(503),
    Refusal::Whole(503),
    Refusal::Whole(503),
    Refusal::Whole(503),
    Refusal::Whole(429),
    Refusal::Whole(429),
    Refusal::Whole(429),
    Refusal::Whole(429),
    Refusal::Halves(429),
    Refusal::Halves(429),
    Refusal::Halves(429),
    Refusal::Halves(429),
];

/// The mesh of the sample, but for: the address of this Elasticsearch; the version of the collector that can be built; all
/// traces, so that they can be counted; and shorter waits, so that nobody waits for a test.
fn sample_with(url: &str) -> Result<Value> {
    let sample = std::fs::read_to_string(root().join("config/samples/kuma/kuma-elastic.yaml"))?;
    let mut mesh = read_documents(&sample)?.into_iter().next().context("no mesh")?;
    let collector = &mut mesh["spec"]["collector"];
    collector["version"] = json!(ELASTICSEARCH.1);
    collector["sampling"]["percentage"] = json!("100");
    for exporter in collector["exporters"].as_array_mut().into_iter().flatten() {
        exporter["elasticsearch"]["urls"] = json!([url]);
        exporter["retry"] = json!({"initialInterval": "100ms", "maxInterval": "500ms"});
    }
    Ok(mesh)
}

/// The configuration, as it stands in the cluster.
async fn written_for(world: &World, url: &str) -> Result<Value> {
    eventually(PATIENCE, "the collector's configuration is written", async || {
        let text = text(&world.get(CONFIG).await?["data"]["config.yaml"]);
        let config = read_documents(&text)?.into_iter().next().context("no configuration")?;
        Ok(if text.contains(url) { Ok(config) } else { Err(text) })
    })
    .await
}

/// Variables as a kubelet gives them to the collector's container.
async fn env(world: &World) -> Result<Vec<(String, String)>> {
    let pod = world.get(RUNNER).await?["spec"]["template"]["spec"].clone();
    let env = pod["containers"][0]["env"].as_array().context("no variables")?.clone();
    ensure!(!env.is_empty());
    let value = |variable: &Value| -> Result<(String, String)> {
        let key = &variable["valueFrom"]["secretKeyRef"];
        ensure!(*key == json!({"name": SECRET.2, "key": "api-key"}), "{variable}");
        Ok((text(&variable["name"]), API_KEY.to_owned()))
    };
    env.iter().map(value).collect()
}

/// The backend of the collector in what Kuma is given for inbound requests.
async fn otlp_backend(world: &World) -> Result<Value> {
    let policies = world.list("MeshAccessLog", SYSTEM).await?;
    let backends = policies
        .iter()
        .filter_map(|policy| policy["spec"]["rules"][0]["default"]["backends"].as_array());
    let backend = backends.flatten().find(|backend| backend["type"] == "OpenTelemetry");
    Ok(backend.context("no backend of type OpenTelemetry")?["openTelemetry"].clone())
}

/// An Envoy that answers by itself, with an access log as Kuma makes it of a backend.
fn proxy(backend: &Value, receiver: SocketAddr) -> Value {
    let attributes = backend["attributes"].as_array().into_iter().flatten();
    let attributes = attributes.map(|one| json!({"key": one["key"], "value": {"string_value": one["value"]}}));
    let access_log = json!({"name": "otel", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "common_config": {
            "log_name": "MeshAccessLog", "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}},
        },
        "body": {"string_value": backend["body"]["stringValue"]},
        "attributes": {"values": attributes.collect::<Vec<Value>>()},
    }});
    let route = |prefix: &str, status: u16| json!({"match": {"prefix": prefix}, "direct_response": {"status": status}});
    let routes = json!({"virtual_hosts": [{"name": "orders", "domains": ["*"], "routes": [
        route("/orders", 200), route("/", 404),
    ]}]});
    let manager = json!({"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http", "access_log": [access_log], "route_config": routes,
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}],
    }});
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    json!({"static_resources": {
        "listeners": [{"name": "inbound", "address": address(0), "filter_chains": [{"filters": [manager]}]}],
        "clusters": [{
            "name": "collector", "type": "STATIC", "typed_extension_protocol_options": http2,
            "load_assignment": {"cluster_name": "collector", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(receiver.port().into())}},
            ]}]},
        }],
    }})
}

/// Sends of each kind as many as [`EACH`], numbered from the first on.
async fn send(collectors: &Collectors, envoy: &Envoy, first: u64) -> Result<()> {
    let numbers = first..first + EACH;
    let post = async |port: u16, path: &str, content_type: &str, body: Vec<u8>| -> Result<()> {
        let (status, said) = request(collectors.receiver(port)?, "POST", path, content_type, &body).await?;
        ensure!((200..300).contains(&status), "{path}: {status}: {said}");
        Ok(())
    };
    let zipkin = telemetry::zipkin("orders", numbers.clone().map(|number| (number, number)))?;
    post(9411, "/api/v2/spans", "application/json", zipkin).await?;
    let jaeger = telemetry::jaeger("orders", numbers.clone().map(|number| JAEGER + number))?;
    post(14268, "/api/traces", "application/x-thrift", jaeger).await?;
    let logs = telemetry::otlp_logs("orders", numbers.clone().map(message))?;
    post(4318, "/v1/logs", "application/json", logs).await?;
    let inbound = envoy.listener("inbound").await?;
    for number in numbers {
        let path = if number % 2 == 0 { "/orders" } else { "/missing" };
        request(inbound, "GET", &format!("{path}?number={number}"), "", &[]).await?;
    }
    Ok(())
}

/// Numbers of Jaeger's traces begin behind it.
const JAEGER: u64 = 1000;

fn message(number: u64) -> String {
    format!("order {number}")
}

/// Waits until so many records have left the collector's memory for its queue, since it started.
async fn queued(collectors: &Collectors, count: u64) -> Result<()> {
    eventually(PATIENCE, "all is queued", async || {
        let queued = collectors
            .count("otelcol_processor_batch_batch_send_size_sum", "")
            .await?;
        Ok(if queued == count {
            Ok(())
        } else {
            Err(queued.to_string())
        })
    })
    .await
}

/// Waits until the step before Elasticsearch has nothing left that it would send again. What is kept, then.
async fn arrived(collectors: &Collectors, elasticsearch: &Elasticsearch) -> Result<Vec<Document>> {
    eventually(PATIENCE, "all has arrived", async || {
        let logs = collectors
            .count("otelcol_exporter_sent_log_records", "otlp/logs")
            .await?;
        let spans = collectors.count("otelcol_exporter_sent_spans", "otlp/traces").await?;
        let sent = logs + spans;
        let documents = elasticsearch.documents();
        Ok(if sent == 8 * EACH {
            Ok(documents)
        } else {
            Err(format!("{sent} sent, {} documents", documents.len()))
        })
    })
    .await
}

/// What identifies a document, by what it was made of.
fn identity(document: &Document) -> Result<(&'static str, String)> {
    let fields = &document.fields;
    if let Some(trace) = fields["trace_id"].as_str() {
        assert_eq!(document.index, "traces-kuma.mesh.otel-default");
        return Ok(("trace", trace.to_owned()));
    }
    assert_eq!(document.index, "logs-kuma.mesh-default");
    if let Some(request) = fields.pointer("/http/request/id") {
        return Ok(("request", text(request)));
    }
    Ok(("log", text(fields.get("message").context("neither trace nor message")?)))
}

fn each_is_there_once(documents: &[Document]) -> Result<()> {
    let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for document in documents {
        *seen.entry(identity(document)?).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "more than once: {twice:?}");
    let all = 1..=2 * EACH;
    let spans = all.clone().flat_map(|number| [number, JAEGER + number]);
    let wanted = spans.map(|number| ("trace", telemetry::trace_id(number)));
    let wanted: BTreeSet<_> = wanted.chain(all.map(|number| ("log", message(number)))).collect();
    // Envoy makes the identity of a request itself.
    let (requests, found): (BTreeSet<_>, BTreeSet<_>) = seen.into_keys().partition(|(kind, _)| *kind == "request");
    assert_eq!(found, wanted);
    assert_eq!(requests.len() as u64, 2 * EACH);
    Ok(())
}

/// What a document looks like, without what differs from run to run: docs/targets/elastic.md is compared with it.
fn is_as_recorded(documents: &[Document]) -> Result<()> {
    let mut shapes: BTreeMap<String, Value> = BTreeMap::new();
    for document in documents {
        let mut fields = document.fields.clone();
        for (path, stand_in) in VARIABLE {
            if let Some(value) = fields.pointer_mut(path) {
                ensure!(value.is_string() == stand_in.parse::<u64>().is_err(), "{path}: {value}");
                *value = stand_in
                    .parse::<u64>()
                    .map_or_else(|_| json!(stand_in), |number| json!(number));
            }
        }
        // The members of OpenTelemetry's attributes are in another order each time.
        fields.sort_all_objects();
        let shape = json!({"index": document.index, "document": fields});
        shapes.insert(shape.to_string(), shape);
    }
    let shapes: Vec<Value> = shapes.into_values().collect();
    let text = serde_json::to_string_pretty(&shapes)? + "\n";
    let file: PathBuf = root().join("tests/e2e/collector/documents.json");
    if std::env::var_os("SIGHTLINE_UPDATE").is_some() {
        std::fs::write(&file, &text)?;
    }
    assert_eq!(
        std::fs::read_to_string(&file)?,
        text,
        "SIGHTLINE_UPDATE=1 records it anew"
    );
    Ok(())
}

/// Fields that differ from run to run, with what stands in the record for them: numbers for numbers.
const VARIABLE: [(&str, &str); 15] = [
    ("/@timestamp", "<time>"),
    ("/duration", "0"),
    ("/trace_id", "<id>"),
    ("/span_id", "<id>"),
    ("/trace_state", "<id>"),
    ("/message", "<text>"),
    ("/event/duration", "0"),
    ("/http/request/id", "<id>"),
    ("/url/domain", "<host>"),
    ("/source/port", "1"),
    ("/destination/port", "1"),
    ("/client/ip", "<address>"),
    ("/source/ip", "<address>"),
    ("/destination/ip", "<address>"),
    ("/elasticsearch/document_id", "<id>"),
];

/// The key is in its Secret and in no other object, nor in the log or the metrics of the operator.
async fn nobody_sees_the_key(world: &World) -> Result<()> {
    let kinds = world.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).await?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| *kind != "secrets").collect();
    ensure!(kinds.len() > 50, "{kinds:?}");
    let all = world.kubectl(&["get", &kinds.join(","), "-A", "-o", "json"]).await?;
    ensure!(all.contains("SIGHTLINE_LOGS_API_KEY"), "what is looked through has all");
    ensure!(!all.contains(API_KEY), "the key is in an object");
    for secret in world.list("Secret", "").await? {
        let is_it = secret["metadata"]["name"] == SECRET.2 && secret["metadata"]["namespace"] == SECRET.1;
        let key = secret["data"].get("api-key").filter(|_| is_it);
        ensure!(is_it == key.is_some(), "{}", secret["metadata"]);
    }
    let (_, metrics) = world.operator().get("/metrics").await?;
    for (place, text) in [("log", world.log()), ("metrics", metrics)] {
        ensure!(text.len() > 1000, "the operator's {place} has something: {text}");
        ensure!(!text.contains(API_KEY), "the key is in the {place} of the operator");
    }
    Ok(())
}
