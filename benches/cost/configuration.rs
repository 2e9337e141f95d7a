//! The Envoys: what is measured, what it logs, and what stands before and behind it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure};
use serde_json::{Map, Value, json};

use crate::envoy::{address, json_log, text_log};

/// How often an operator stands in a line, so that it costs more than the noise of a request does.
const TIMES: usize = 1000;
/// The same.
#[expect(clippy::cast_precision_loss, reason = "a small number")]
pub const REPEATED: f64 = TIMES as f64;
/// How many logs a listener has where logs themselves are measured.
const LOGS: usize = 200;
/// What weights are told in.
const UNIT: &str = "%PROTOCOL%";
const LITERAL: &str = "0123456789";

/// How the request gets to the Envoy that is measured, and what it does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Answered by Envoy.
    Direct,
    /// Likewise, and it says that it is gRPC.
    Grpc,
    /// Handed on by mutual TLS.
    Proxied,
    /// It comes by mutual TLS.
    Tls,
}

/// What a listener logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// Nothing at all.
    Nothing,
    /// A line of text: the piece, that often.
    Line { piece: String, times: usize },
    /// An object, with so many members.
    Members { value: String, times: usize },
    /// Some logs that print this, text or a member's value, if the filter lets them.
    Logs { format: LogFormat, filter: Option<Value> },
}

/// Of what the lines are that say next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Logged {
    /// A line of nothing.
    pub const EMPTY: Self = Self::Line {
        piece: String::new(),
        times: 0,
    };

    /// A line of what weights are told in.
    pub fn units() -> Self {
        Self::line(UNIT)
    }

    fn line(piece: &str) -> Self {
        let piece = piece.to_owned();
        Self::Line { piece, times: TIMES }
    }

    fn members(value: &str) -> Self {
        let value = value.to_owned();
        Self::Members { value, times: TIMES }
    }

    fn access_logs(&self, file: &Path) -> Vec<Value> {
        let mut logs = match self {
            Self::Nothing => Vec::new(),
            Self::Line { piece, times } => vec![text_log(&format!("{}\n", piece.repeat(*times)))],
            Self::Members { value, times } => {
                let members: Map<String, Value> = (0..*times)
                    .map(|index| (format!("k{index:04}"), value.as_str().into()))
                    .collect();
                vec![json_log(&members.into())]
            }
            Self::Logs { format, filter } => {
                let mut log = match format {
                    LogFormat::Text => text_log("x\n"),
                    LogFormat::Json => json_log(&json!({"x": "x"})),
                };
                if let Some(filter) = filter {
                    log["filter"] = filter.clone();
                }
                vec![log; LOGS]
            }
        };
        for log in &mut logs {
            log["typed_config"]["path"] = json!(file);
        }
        logs
    }
}

/// What is measured for a row of the table: `with` less `without`, which is `count` times what it is about.
pub struct Case {
    pub row: usize,
    pub name: String,
    pub setting: Setting,
    pub with: Logged,
    pub without: Option<Logged>,
    pub count: f64,
}

impl Case {
    /// As the row says.
    pub fn of(row: usize, kind: &str, name: &str, setting: Setting, measured: &str) -> anyhow::Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let logs = LOGS as f64;
        let some = |format, filter| Logged::Logs { format, filter };
        let (with, without, count) = match (kind, name) {
            ("operator" | "variant", _) => (Logged::line(measured), Some(Logged::EMPTY), REPEATED),
            ("piece", "literal") => (
                Logged::line(&format!("{UNIT}{LITERAL}")),
                Some(Logged::units()),
                REPEATED,
            ),
            // What it adds to the same operator in text.
            ("piece", "member") => (Logged::members(UNIT), Some(Logged::units()), REPEATED),
            ("json", _) => (Logged::members(measured), Some(Logged::EMPTY), REPEATED),
            ("log", _) => {
                let is_json = measured.starts_with('{');
                let format = if is_json { LogFormat::Json } else { LogFormat::Text };
                (some(format, None), Some(Logged::Nothing), logs)
            }
            ("filter", _) => {
                let filter = if measured.starts_with('{') {
                    serde_json::from_str(measured)?
                } else {
                    crate::envoy::filtered_log(measured)["filter"].clone()
                };
                (some(LogFormat::Text, Some(filter)), Some(Logged::Nothing), logs)
            }
            ("request", _) => (Logged::Nothing, None, 1.0),
            _ => bail!("line {}: nothing of the kind `{kind}` is measured", row + 2),
        };
        Ok(Self {
            row,
            name: format!("{kind} {name}"),
            setting,
            with,
            without,
            count,
        })
    }

    /// The operator, once, where it is one.
    pub fn once(&self) -> Option<Logged> {
        match &self.with {
            Logged::Line { piece, .. } if self.without == Some(Logged::EMPTY) => Some(Logged::Line {
                piece: piece.clone(),
                times: 1,
            }),
            _ => None,
        }
    }
}

/// A listener of the Envoy that is measured.
pub struct Listener {
    pub setting: Setting,
    pub logged: Logged,
    pub file: PathBuf,
}

/// The name of a listener, by its index; also that of the one before it.
pub fn name(index: usize) -> String {
    index.to_string()
}

/// A key and a certificate that is its own authority, with names of all sorts: both sides show it.
pub struct Certificates {
    key: String,
    certificate: String,
}

impl Certificates {
    /// A new one, by openssl.
    pub fn create() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let names = "subjectAltName=URI:spiffe://cluster.local/ns/shop/sa/productpage,DNS:productpage.shop.svc,IP:10.44.1.23,\
                     email:shop@example.com,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:productpage@shop";
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/O=Example/CN=productpage", "-addext", names])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(folder.path())
            .output()?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            key: fs::read_to_string(folder.path().join("key.pem"))?,
            certificate: fs::read_to_string(folder.path().join("certificate.pem"))?,
        })
    }

    fn common(&self) -> Value {
        json!({
            "tls_certificates": [{
                "certificate_chain": {"inline_string": self.certificate},
                "private_key": {"inline_string": self.key},
            }],
            "validation_context": {"trusted_ca": {"inline_string": self.certificate}},
        })
    }

    fn of_server(&self) -> Value {
        json!({"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": self.common(),
        }})
    }

    fn of_client(&self) -> Value {
        json!({"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "reviews.shop.svc.cluster.local",
            "common_tls_context": self.common(),
        }})
    }
}

fn metadata() -> Value {
    json!({"filter_metadata": {"istio": {
        "workload": "reviews-v1", "namespace": "shop", "labels": {"app": "reviews", "version": "v1"},
    }}})
}

fn cluster(name: &str, host: &Value, transport: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "metadata": metadata(),
        "transport_socket": transport,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{
            "endpoint": {"address": host, "hostname": "reviews.shop:9080"},
            "metadata": metadata(),
        }]}]},
    })
}

fn connection_manager(action: Value, logs: &[Value]) -> Value {
    let mut route = action;
    route["name"] = json!("reviews");
    route["match"] = json!({"prefix": "/"});
    route["metadata"] = metadata();
    route["response_headers_to_add"] = json!([{"header": {"key": "x-answer", "value": "answer-042"}}]);
    json!({"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "access_log": logs,
        "use_remote_address": true,
        "preserve_external_request_id": true,
        "forward_client_cert_details": "ALWAYS_FORWARD_ONLY",
        "http_filters": [
            {"name": "state", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": [{"object_key": "peer", "factory_key": "envoy.string",
                    "format_string": {"text_format_source": {"inline_string": "productpage-v1"}}}],
            }},
            {"name": "metadata", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
                "metadata": [{"metadata_namespace": "istio", "value": metadata()["filter_metadata"]["istio"]}],
            }},
            {"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                // One of them tells a time, and responses would differ in length.
                "suppress_envoy_headers": true,
            }},
        ],
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "virtual_clusters": [{"name": "reads", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}],
            "routes": [route],
        }]},
    }})
}

fn direct() -> Value {
    json!({"direct_response": {"status": 200}})
}

fn listener(name: &str, address: &Value, filter: &Value) -> Value {
    json!({"name": name, "address": address, "filter_chains": [{"name": "0.0.0.0_9080", "filters": [filter]}]})
}

fn with_tls(mut listener: Value, transport: &Value) -> Value {
    listener["filter_chains"][0]["transport_socket"] = transport.clone();
    listener["listener_filters"] = json!([{"name": "tls_inspector", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        "enable_ja3_fingerprinting": true,
        "enable_ja4_fingerprinting": true,
    }}]);
    listener
}

fn socket(folder: &Path, index: usize) -> Value {
    json!({"pipe": {"path": folder.join(name(index))}})
}

/// The Envoy that is measured.
pub fn measured(listeners: &[Listener], sockets: &Path, behind: SocketAddr, certificates: &Certificates) -> Value {
    let all = listeners.iter().enumerate().map(|(index, each)| {
        let logs = each.logged.access_logs(&each.file);
        let name = name(index);
        match each.setting {
            Setting::Direct | Setting::Grpc => listener(&name, &address(0), &connection_manager(direct(), &logs)),
            Setting::Proxied => {
                let action = json!({"route": {"cluster": "outbound|9080||reviews"}});
                listener(&name, &address(0), &connection_manager(action, &logs))
            }
            Setting::Tls => with_tls(
                listener(&name, &socket(sockets, index), &connection_manager(direct(), &logs)),
                &certificates.of_server(),
            ),
        }
    });
    let host = address(behind.port().into());
    json!({"static_resources": {
        "listeners": all.collect::<Vec<Value>>(),
        "clusters": [cluster("outbound|9080||reviews", &host, &certificates.of_client())],
        "secrets": [{"name": "token", "generic_secret": {"secret": {"inline_string": "0123456789abcdef"}}}],
    }})
}

/// The Envoy around it: before it where requests come by TLS, and behind it.
pub fn around(listeners: &[Listener], sockets: &Path, certificates: &Certificates) -> Value {
    let before = || {
        let all = listeners.iter().enumerate();
        all.filter(|(_, each)| each.setting == Setting::Tls)
            .map(|(index, _)| index)
    };
    let hands_on = |index: usize| {
        let filter = json!({"name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": name(index),
        }});
        listener(&name(index), &address(0), &filter)
    };
    let behind = listener("behind", &address(0), &connection_manager(direct(), &[]));
    let behind = with_tls(behind, &certificates.of_server());
    let clusters = before().map(|index| cluster(&name(index), &socket(sockets, index), &certificates.of_client()));
    json!({"static_resources": {
        "listeners": before().map(hands_on).chain([behind]).collect::<Vec<Value>>(),
        "clusters": clusters.collect::<Vec<Value>>(),
    }})
}
