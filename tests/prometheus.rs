//! What exports give to Prometheus, read by Prometheus itself: `promtool` checks every file of the golden cases, and two
//! real servers scrape and federate a stand-in for a proxy through rendered files. What dashboards ask,
//! Prometheus reads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/process.rs"]
#[allow(dead_code, reason = "each user takes only a part")]
mod process;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use process::Supervised;
use serde_json::{Value, json};
use sightline::cli::files::Document;
use sightline::cli::world::World;
use sightline::render::metrics::EXPORT_LABEL;
use sightline::render::metrics::dashboards::DASHBOARDS;
use sightline::render::metrics::prometheus::{REMOTE_WRITE_KEY, RULES_KEY, SCRAPE_KEY};
use sightline::snapshot::{Key, Kind};
use sightline::yaml::{read_documents, to_yaml};

/// Rules are evaluated every ten seconds, and what they record is scraped after that.
const LIMIT: Duration = Duration::from_mins(3);
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// The folder with `prometheus` and `promtool`.
fn binaries() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prometheus/install.sh");
    let output = Command::new(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Checks a file; the error is what promtool says.
fn promtool(what: &str, file: &Path) -> Result<(), String> {
    let output = Command::new(binaries().join("promtool"))
        .args(["check", what])
        .arg(file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| String::from_utf8_lossy(&said).into_owned())
}

/// ConfigMaps of exports in the golden cases of `tests/render`, with the case.
fn recorded() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render/cases");
    let mut found = Vec::new();
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let text = fs::read_to_string(case.join("out.yaml")).unwrap();
        if !text.contains(EXPORT_LABEL) {
            continue;
        }
        let out = read_documents(&text).unwrap().remove(0);
        let objects = out["objects"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|object| object["kind"] == "ConfigMap");
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        found.extend(objects.map(|object| (name.clone(), object.clone())));
    }
    found
}

#[test]
fn promtool_takes_every_rendered_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (case, map) in recorded() {
        for (key, what) in [
            (SCRAPE_KEY, "config"),
            (REMOTE_WRITE_KEY, "config"),
            (RULES_KEY, "rules"),
        ] {
            let Some(text) = map["data"][key].as_str() else {
                continue;
            };
            let file = folder.path().join(key);
            fs::write(&file, without_kubernetes(text).1).unwrap();
            promtool(what, &file).unwrap_or_else(|said| panic!("{case}, {key}: {said}\n{text}"));
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked} files");
}

#[test]
fn promtool_refuses_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yml");
    fs::write(&file, "scrape_configs: [{job_name: a, unknown: 1}]").unwrap();
    assert!(promtool("config", &file).is_err());
}

/// What `sightline render` makes of a mesh with these exports, as the data of the ConfigMap of each.
fn rendered(exports: &Value, names: &[&str]) -> Vec<Value> {
    let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "m"},
                      "spec": {"mesh": {"type": "Istio"}, "metrics": {"exports": exports}}});
    let document = Document {
        file: "mesh.yaml".into(),
        object: mesh,
    };
    let mut world = World::from_documents(vec![document], false).unwrap();
    world.assume_missing_facts();
    let converged = world.converge(Timestamp::UNIX_EPOCH).unwrap();
    let map = |name: &&str| {
        let key = Key::new("monitoring", format!("sightline-m-{name}"));
        converged.snapshot.object(Kind::ConfigMap, &key).unwrap()["data"].clone()
    };
    names.iter().map(map).collect()
}

/// Series of one of Istio's proxies. The counters grow with each scrape.
fn series(scrape: u64) -> String {
    let labels = r#"reporter="source",response_code="200",response_flags="-",source_workload="a",source_workload_namespace="shop",destination_workload="b",destination_workload_namespace="shop",destination_principal="spiffe://x""#;
    let count = 10 * scrape;
    [
        "# TYPE istio_requests_total counter".to_owned(),
        format!("istio_requests_total{{{labels}}} {count}"),
        "# TYPE istio_request_duration_milliseconds histogram".to_owned(),
        format!(
            "istio_request_duration_milliseconds_bucket{{{labels},le=\"5\"}} {}",
            count / 2
        ),
        format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"+Inf\"}} {count}"),
        format!("istio_request_duration_milliseconds_sum{{{labels}}} {count}"),
        format!("istio_request_duration_milliseconds_count{{{labels}}} {count}"),
        "# TYPE envoy_server_uptime gauge\nenvoy_server_uptime 1\n".to_owned(),
    ]
    .join("\n")
}

/// Serves these series on loopback, for as long as the test runs; gives its port.
fn exporter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut scrapes = 0;
        for stream in listener.incoming().flatten() {
            let mut request = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
            let is_path = request.starts_with("GET /stats/prometheus ");
            scrapes += 1;
            let (status, body) = if is_path {
                ("200 OK", series(scrapes))
            } else {
                ("404 Not Found", String::new())
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // A reader that hangs up early asks again.
            let _ = (&stream).write_all([head, body].concat().as_bytes());
        }
    });
    port
}

struct Server {
    port: u16,
    process: Supervised,
}

impl Server {
    /// Starts a Prometheus in a folder of its own with these files; `prometheus.yml` is its configuration.
    fn start(folder: &Path, port: u16, files: &[(&str, String)]) -> Self {
        for dir in ["logs", "pids", "data"] {
            fs::create_dir_all(folder.join(dir)).unwrap();
        }
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let config = folder.join("prometheus.yml");
        promtool("config", &config).unwrap();
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let process = Supervised::spawn("prometheus", folder, &binaries().join("prometheus"), &arguments).unwrap();
        Self { port, process }
    }

    /// The result of a query; nothing while the server is not ready.
    fn query(&self, query: &str) -> Vec<Value> {
        let answer = || -> Option<Value> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            let query = query
                .replace('{', "%7B")
                .replace('}', "%7D")
                .replace('"', "%22")
                .replace('=', "%3D");
            write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
        };
        let found = answer().and_then(|answer| answer["data"]["result"].as_array().cloned());
        found.unwrap_or_default()
    }

    /// Waits until a query gives something.
    fn until_found(&self, query: &str) -> Vec<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = self.query(query);
            if !found.is_empty() {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{query} finds nothing.\n{}",
                self.process.log_tail()
            );
            std::thread::sleep(PROBE_INTERVAL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.close();
        // The folder is removed next.
        self.process.wait().unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A file without discovery in Kubernetes, which Debian builds Prometheus without; and how often it stood there. What it says
/// is the simplest: all Pods.
fn without_kubernetes(text: &str) -> (usize, String) {
    let mut file = read_documents(text).unwrap().remove(0);
    let mut removed = 0;
    for job in file
        .get_mut("scrape_configs")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(discovery) = job.as_object_mut().unwrap().remove("kubernetes_sd_configs") {
            assert_eq!(discovery, json!([{"role": "pod"}]));
            removed += 1;
        }
    }
    (removed, to_yaml(&file).unwrap())
}

/// A configuration that discovers nothing in a cluster: one Pod as discovery would describe it, and one to be left out.
fn without_discovery(config: &str, port: u16) -> Value {
    let (removed, config) = without_kubernetes(config);
    assert_eq!(removed, 1);
    let mut config = read_documents(&config).unwrap().remove(0);
    let job = config["scrape_configs"][0].as_object_mut().unwrap();
    let target = |container: &str, port_name: &str| {
        json!({"targets": [format!("127.0.0.1:{port}")], "labels": {
            "__meta_kubernetes_pod_container_name": container,
            "__meta_kubernetes_pod_container_port_name": port_name,
            "__meta_kubernetes_pod_phase": "Running",
            "__meta_kubernetes_pod_ip": "127.0.0.1",
            "__meta_kubernetes_namespace": "shop",
            "__meta_kubernetes_pod_name": "a-1",
            "__meta_kubernetes_pod_label_app": "a",
        }})
    };
    let targets = json!([target("istio-proxy", "http-envoy-prom"), target("app", "http")]);
    job.insert("static_configs".into(), targets);
    config
}

#[test]
fn a_real_prometheus_federates_what_another_scrapes_and_records_and_nothing_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (scraping, reading) = (free_port(), free_port());
    let exports = json!([
        {"name": "kubernetes-pods", "type": "ScrapeConfig", "object": {"namespace": "monitoring"}, "scrapeConfig": {"interval": "1s"}},
        {"name": "federate", "type": "Federation", "object": {"namespace": "monitoring"},
         "federation": {"source": {"host": "127.0.0.1", "port": scraping}, "interval": "1s", "rules": {}}},
    ]);
    let maps = rendered(&exports, &["kubernetes-pods", "federate"]);
    let mut config = without_discovery(maps[0][SCRAPE_KEY].as_str().unwrap(), exporter());
    config["rule_files"] = json!([RULES_KEY]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rules = text(&maps[1][RULES_KEY]);
    let first = Server::start(
        &folder.path().join("first"),
        scraping,
        &[("prometheus.yml", to_yaml(&config).unwrap()), (RULES_KEY, rules)],
    );
    let second = Server::start(
        &folder.path().join("second"),
        reading,
        &[("prometheus.yml", text(&maps[1][SCRAPE_KEY]))],
    );

    let scraped = first.until_found("istio_requests_total");
    assert_eq!(scraped.len(), 1, "one target is a proxy: {scraped:?}");
    assert_eq!(scraped[0]["metric"]["job"], "kubernetes-pods");
    assert_eq!(scraped[0]["metric"]["app"], "a");
    assert!(
        first.query("envoy_server_uptime").is_empty(),
        "series that nobody asked for are left out"
    );

    let federated = second.until_found("istio_requests_total{job=\"federate\"}");
    assert_eq!(federated.len(), 1, "{federated:?}");
    let labels = &federated[0]["metric"];
    assert_eq!(labels["destination_workload"], "b");
    assert_eq!(labels.get("destination_principal"), None, "summed over: {labels}");
    second.until_found("istio_request_duration_milliseconds_bucket_p50");
    assert!(
        second.query("{__name__=~\"federate:.*\"}").is_empty(),
        "names are those of what was recorded"
    );
    assert_eq!(
        first.query("istio_requests_total").len(),
        1,
        "the one that is read has what it scraped, and no more"
    );
}

/// A window stands for Grafana's variable, which Prometheus does not know.
#[test]
fn promtool_reads_each_query_of_the_dashboards() {
    let queries = DASHBOARDS
        .iter()
        .flat_map(|dashboard| dashboard.charts)
        .flat_map(|chart| chart.queries);
    let rules: Vec<Value> = queries
        .enumerate()
        .map(|(at, query)| json!({"record": format!("chart:{at}"), "expr": query.promql("5m")}))
        .collect();
    assert!(rules.len() > 50, "{} queries", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    let mut document = json!({"groups": [{"name": "charts", "rules": rules}]});
    fs::write(&file, to_yaml(&document).unwrap()).unwrap();
    promtool("rules", &file).unwrap_or_else(|said| panic!("{said}"));

    document["groups"][0]["rules"][0]["expr"] = json!("sum by (a (b)");
    fs::write(&file, to_yaml(&document).unwrap()).unwrap();
    assert!(promtool("rules", &file).is_err(), "queries are not looked at");
}
