//! interLink: the environment of its virtual kubelet and API server (pure).
//!
//! Both processes set up tracing in the same function (interLink `pkg/interlink/config.go`, `SetupTelemetry`, read at
//! commit f6321757), and all of it comes from the environment, read once at start. Hence a change needs a restart, and
//! hence this is a dialect of `inject`: the chart of interLink sets `ENABLE_TRACING` alone and has no value for the
//! rest.
//!
//! TLS is mutual or none: setting the CA turns on *mutual* TLS (there is no server-only TLS), and an error in that set-up
//! ends the process: the virtual node goes `NotReady`. So paths are only set beside a volume with certificates that were
//! seen to exist.

use serde_json::Value;

use super::attributes::{self, Attributes, encoded};
use super::{Block, EnvVar, Exporter, Files, Subject, Telling, files};

/// Switches tracing on. Only exactly `1` does: `true` is off.
pub const ENABLE_TRACING: &str = "ENABLE_TRACING";
/// Where spans go: a gRPC target `host:port`, no scheme. Default of interLink: `localhost:4317`.
pub const TELEMETRY_ENDPOINT: &str = "TELEMETRY_ENDPOINT";
/// What is appended to the service name (`VK-InterLink-<id>`, `InterLink-Plugin-<id>`).
pub const TELEMETRY_UNIQUE_ID: &str = "TELEMETRY_UNIQUE_ID";
/// Path of the authorities' certificates: turns on TLS in which both show one.
pub const TELEMETRY_CA_CRT_FILEPATH: &str = "TELEMETRY_CA_CRT_FILEPATH";
/// Path of interLink's own private key.
pub const TELEMETRY_CLIENT_KEY_FILEPATH: &str = "TELEMETRY_CLIENT_KEY_FILEPATH";
/// Path of its certificate.
pub const TELEMETRY_CLIENT_CRT_FILEPATH: &str = "TELEMETRY_CLIENT_CRT_FILEPATH";

/// Variables that are all ours in a container, or none is set there: tracing that is on without our endpoint would send
/// the spans to `localhost:4317`, and the endpoint alone switches nothing on.
pub const TOGETHER: [&str; 2] = [ENABLE_TRACING, TELEMETRY_ENDPOINT];

/// What a container gets; nothing where spans would not go to OTLP over gRPC. Tags with their value in the spec are merged
/// into interLink's resource by `OTEL_RESOURCE_ATTRIBUTES`; its service name stays its own.
pub fn blocks(telling: Telling<'_>, subject: Subject<'_>) -> Vec<Block> {
    let Exporter::Otlp { receiver, .. } = telling.exporter else {
        return Vec::new();
    };
    let tls = telling.exporter.tls();
    let mut vars = env(&receiver.endpoint.to_string(), &unique_id(subject.workload));
    let mut together = TOGETHER.map(str::to_owned).to_vec();
    if tls.is_some() {
        let paths = [
            (TELEMETRY_CA_CRT_FILEPATH, files::CA),
            (TELEMETRY_CLIENT_KEY_FILEPATH, files::PRIVATE_KEY),
            (TELEMETRY_CLIENT_CRT_FILEPATH, files::CERTIFICATE),
        ];
        vars.extend(paths.map(|(name, path)| EnvVar::new(name, path)));
        together.extend(paths.map(|(name, _)| name.to_owned()));
    }
    let files = tls.and_then(Files::of);
    let tags = attributes::literals(telling.tags);
    let known: Attributes = tags.map(|(name, value)| (name.to_owned(), encoded(value))).collect();
    vec![
        Block {
            vars,
            together,
            reads_secrets: files.is_some(),
            files,
            ..Block::default()
        },
        Block::of_each(attributes::variable(&known).into_iter().collect()),
    ]
}

/// The environment that makes interLink send its spans to `endpoint_host_port`.
///
/// - `endpoint_host_port`: `host:port`, for example `tempo-service.interlink-mon.svc:4317`. Without a scheme: interLink
///   hands the text to grpc-go as a target, where `http://…` is another target and nothing arrives. The protocol is
///   always OTLP over gRPC, in plaintext. A collector that cannot be reached does not stop interLink: the connection is
///   lazy and the export runs in the background.
/// - `unique_id`: a text that stays the same over restarts, see [`unique_id`]. Unset, interLink takes a new random UUID
///   at each start, and each start becomes a new service on the dashboards.
///
/// The order is fixed, and no value uses `$(…)`.
pub fn env(endpoint_host_port: &str, unique_id: &str) -> Vec<EnvVar> {
    let mut env = vec![
        EnvVar::new(ENABLE_TRACING, "1"),
        EnvVar::new(TELEMETRY_ENDPOINT, endpoint_host_port),
    ];
    // An empty value would be taken for unset, that is: random.
    if !unique_id.is_empty() {
        env.push(EnvVar::new(TELEMETRY_UNIQUE_ID, unique_id));
    }
    env
}

/// The stable identity of a virtual kubelet: the pod template's label `app`, else the name of the workload.
///
/// interLink's chart names the Deployment `<nodeName>-node` and sets the label `app: <nodeName>`, so the label gives
/// the name of the virtual node, by which people know it. Empty only for an object without a name.
pub fn unique_id(workload: &Value) -> String {
    ["/spec/template/metadata/labels/app", "/metadata/name"]
        .iter()
        .filter_map(|path| workload.pointer(path)?.as_str())
        .find(|text| !text.is_empty())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_environment_is_what_interlink_reads_at_start() {
        let env = env("tempo-service.interlink-mon.svc:4317", "virtual-node");
        let entries: Vec<Value> = env.iter().map(EnvVar::to_entry).collect();
        assert_eq!(
            Value::from(entries),
            json!([
                {"name": "ENABLE_TRACING", "value": "1"},
                {"name": "TELEMETRY_ENDPOINT", "value": "tempo-service.interlink-mon.svc:4317"},
                {"name": "TELEMETRY_UNIQUE_ID", "value": "virtual-node"},
            ])
        );
        assert!(TOGETHER.iter().all(|name| env.iter().any(|v| v.name == *name)));
    }

    #[test]
    fn an_unknown_identity_is_left_out_rather_than_empty() {
        assert_eq!(env("h:1", "").len(), 2);
    }

    #[test]
    fn the_identity_is_the_label_app_else_the_name() {
        let mut deployment = json!({
            "metadata": {"name": "virtual-node-node"},
            "spec": {"template": {"metadata": {"labels": {"app": "virtual-node"}}}},
        });
        assert_eq!(unique_id(&deployment), "virtual-node");
        deployment["spec"]["template"]["metadata"]["labels"]["app"] = json!("");
        assert_eq!(unique_id(&deployment), "virtual-node-node");
        deployment["spec"]["template"]["metadata"] = json!({});
        assert_eq!(unique_id(&deployment), "virtual-node-node");
    }
}
