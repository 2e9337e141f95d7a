//! Metrics of Envoy's own that dashboards show, beside what the real Envoys export.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};
use sightline::render::metrics::series::ENVOY;

use crate::envoy::{Envoy, Release, address};

/// Answers each request, for as long as the test runs.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            // Who hangs up early asks again.
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    address
}

/// A port on which nobody listens.
fn free_port() -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().into()
}

/// A mesh's proxy as far as its metrics go: it sends requests to one cluster, and asks a control plane that is not there.
fn proxy(upstream: SocketAddr) -> Value {
    let of_type = |name: &str, rest: &Value| {
        let mut config = json!({"@type": format!("type.googleapis.com/envoy.extensions.{name}")});
        config
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        config
    };
    let cluster = |name: &str, port: usize, more: &Value| {
        let mut cluster = json!({"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}});
        cluster
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        cluster
    };
    let router = json!({"name": "router", "typed_config": of_type("filters.http.router.v3.Router", &json!({}))});
    let manager = of_type(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        &json!({"stat_prefix": "in", "http_filters": [router], "route_config": {"virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "shop"}}]}]}}),
    );
    let http2 = of_type(
        "upstreams.http.v3.HttpProtocolOptions",
        &json!({"explicit_http_config": {"http2_protocol_options": {}}}),
    );
    let http2 =
        json!({"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2}});
    let discovery = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.1s"});
    json!({
        "dynamic_resources": {"lds_config": discovery, "cds_config": discovery, "ads_config": {"api_type": "GRPC",
            "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "control-plane"}}]}},
        "static_resources": {
            "listeners": [{"name": "in", "address": address(0), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
            "clusters": [cluster("shop", upstream.port().into(), &json!({})), cluster("control-plane", free_port(), &http2)],
        },
    })
}

#[tokio::test]
async fn each_metric_of_envoys_table_is_what_the_oldest_and_the_newest_envoy_export_with_its_type_and_its_labels() {
    let upstream = upstream();
    let releases = Release::all();
    for release in [releases[0], *releases.last().unwrap()] {
        let envoy = Envoy::start(release, proxy(upstream)).await.unwrap();
        let listener = envoy.listener("in").await.unwrap();
        let mut stream = TcpStream::connect(listener).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        let exported = envoy.get("/stats/prometheus").await.unwrap();
        for metric in ENVOY {
            let place = format!("Envoy {}: {}", release.name(), metric.name);
            let (kind, ending) = match (metric.is_histogram, metric.is_gauge) {
                (true, _) => ("histogram", "_bucket"),
                (false, true) => ("gauge", ""),
                (false, false) => ("counter", ""),
            };
            let type_ = format!("# TYPE {} {kind}", metric.name);
            assert!(exported.lines().any(|line| line == type_), "{place} is no {kind}");
            let start = format!("{}{ending}{{", metric.name);
            let line = exported
                .lines()
                .find(|line| line.starts_with(&start) && (metric.labels.is_empty() || line.contains("\"shop\"")))
                .unwrap_or_else(|| panic!("{place} is not exported"));
            for label in metric.labels {
                assert!(line.contains(&format!("{label}=\"")), "{place} has no {label}: {line}");
            }
        }
    }
}
