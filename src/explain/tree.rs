//! An explanation as a tree for people. A value stands before `←`, the resource that it comes from behind it.

use std::fmt::{Display, Formatter, Result};

use serde_json::Value;

use super::model::{
    AgentEntry, Answer, BackendSeen, CollectorSeen, ConditionSeen, ConnectionsSeen, Environment, Explanation, Fallback,
    ForeignTelemetry, Format, InterfaceTrafficSeen, IstioSeen, Line, MeshAnswer, MeshChoice, Metrics, NamespaceAnswer,
    Origin, Overridden, PodAnswer, PolicySeen, Problem, ProviderSeen, SetAnswer, SideLog, Spans, SwitchSeen,
    TelemetryRef, Tracing, TracingBackendAnswer, Traffic, TrafficLogAnswer, Unit,
};

/// The text of an explanation.
pub fn text(explanation: &Explanation) -> String {
    let mut printer = Printer::default();
    let (kind, mut below, after) = match &explanation.answer {
        Answer::Pod(pod) => (pod.labels_of.as_str(), printer.pod(pod), None),
        Answer::Namespace(namespace) => ("Namespace", printer.namespace(namespace), None),
        Answer::TrafficLog(log) => ("TrafficLog", printer.traffic_log(log), None),
        Answer::TracingBackend(tracing) => ("TracingBackend", tracing_backend(tracing), None),
        Answer::ObservabilityMesh(mesh) => ("ObservabilityMesh", printer.mesh(mesh), mesh.missing_yaml.as_ref()),
    };
    below.extend(group(
        "could not be read, what is said rests on less",
        &explanation.unseen,
        leaf,
    ));
    let slash = if explanation.namespace.is_empty() { "" } else { "/" };
    let mut text = format!("{kind} {}{slash}{}\n", explanation.namespace, explanation.name);
    draw(&below, "", &mut text);
    if let Some(yaml) = after {
        text.push_str("\nMissing in MeshConfig; add these entries to its extensionProviders:\n\n");
        text.push_str(yaml);
    }
    text
}

/// A line, and the lines below it.
struct Node {
    text: String,
    below: Vec<Node>,
}

fn node(text: impl Into<String>, below: Vec<Node>) -> Node {
    Node {
        text: text.into(),
        below,
    }
}

fn leaf(text: impl Display) -> Node {
    node(text.to_string(), Vec::new())
}

/// A value and its source.
fn from(value: impl Display, origin: &Origin) -> Node {
    leaf(format!("{value} ← {origin}"))
}

/// A title above a list; nothing where the list is empty.
fn group<'t, T>(title: &str, items: &'t [T], line: impl FnMut(&'t T) -> Node) -> Option<Node> {
    (!items.is_empty()).then(|| node(title, items.iter().map(line).collect()))
}

fn draw(nodes: &[Node], margin: &str, text: &mut String) {
    for (place, node) in nodes.iter().enumerate() {
        let is_last = place + 1 == nodes.len();
        let (branch, below) = if is_last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        for (number, line) in node.text.lines().enumerate() {
            let lead = if number == 0 { branch } else { below };
            text.extend([margin, lead, line, "\n"]);
        }
        draw(&node.below, &format!("{margin}{below}"), text);
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.kind)?;
        if !self.name.is_empty() {
            let slash = if self.namespace.is_empty() { "" } else { "/" };
            write!(f, " {}{slash}{}", self.namespace, self.name)?;
        }
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}

fn joined<T: Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Remembers the formats that were printed: each is printed once.
#[derive(Default)]
struct Printer {
    formats: Vec<Format>,
}

impl Printer {
    fn pod(&mut self, pod: &PodAnswer) -> Vec<Node> {
        let labels: Vec<String> = pod
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let proxy = &pod.proxy;
        let version = proxy
            .version
            .as_ref()
            .map(|version| format!(" {version}"))
            .unwrap_or_default();
        let mut nodes = vec![leaf(format!("labels: {}", joined(&labels)))];
        nodes.extend(pod.workload.as_ref().map(|name| leaf(format!("workload: {name}"))));
        nodes.extend(meshes(&pod.meshes, pod.no_mesh.as_deref()));
        nodes.push(leaf(format!("proxy: {}{version}: {}", proxy.state, proxy.message)));
        nodes.extend(self.traffic(&pod.traffic));
        nodes.extend(pod.connections.iter().map(connections));
        nodes.extend(pod.waypoint.as_ref().map(|waypoint| {
            node(
                format!("requests that pass waypoint {}", waypoint.name),
                self.traffic(&waypoint.traffic),
            )
        }));
        nodes.extend(group("overridden", &pod.overridden, overridden));
        nodes.extend(group("environment", &pod.environment, environment));
        nodes.extend(group("restarted as an agent", &pod.agents, agent));
        nodes.extend(group("problems", &pod.problems, problem));
        nodes.extend(group("Telemetries of somebody else", &pod.foreign_telemetries, foreign));
        nodes
    }

    fn namespace(&mut self, namespace: &NamespaceAnswer) -> Vec<Node> {
        let mut nodes = meshes(&namespace.meshes, namespace.no_mesh.as_deref());
        if !namespace.proxies.is_empty() {
            nodes.push(leaf(format!("proxies: Istio {}", joined(&namespace.proxies))));
        }
        nodes.extend(group("policies", &namespace.policies, policy));
        nodes.extend(namespace.connections.iter().map(connections));
        nodes.extend(namespace.sets.iter().map(|set| self.set(set)));
        nodes.extend(group("environment", &namespace.environment, environment));
        nodes.extend(group("agents", &namespace.agents, agent));
        nodes.extend(group("problems", &namespace.problems, problem));
        let foreign_title = "Telemetries of somebody else";
        nodes.extend(group(foreign_title, &namespace.foreign_telemetries, foreign));
        nodes
    }

    fn set(&mut self, set: &SetAnswer) -> Node {
        let mut below = self.traffic(&set.traffic);
        below.extend(group("overridden", &set.overridden, overridden));
        node(format!("workloads {}", set.workloads), below)
    }

    fn traffic(&mut self, traffic: &Traffic) -> Vec<Node> {
        let mut nodes: Vec<Node> = group("Telemetries, the later wins", &traffic.telemetries, telemetry)
            .into_iter()
            .collect();
        nodes.extend(traffic.logging.iter().map(|side| self.side(side)));
        nodes.extend(traffic.tracing.as_ref().map(tracing));
        nodes.extend(traffic.metrics.as_ref().map(metrics));
        nodes
    }

    fn side(&mut self, side: &SideLog) -> Node {
        let mut below: Vec<Node> = side.lines.iter().map(|line| self.line(line)).collect();
        below.extend(side.off_by.as_ref().map(|origin| from("disabled: true", origin)));
        below.extend(side.fallback.as_ref().map(fallback));
        let title = format!("logging {:?}: {}", side.direction, side.outcome);
        node(by(&title, side.telemetry.as_deref()), below)
    }

    fn line(&mut self, line: &Line) -> Node {
        let place = if line.place.is_empty() {
            "a place that cannot be seen"
        } else {
            &line.place
        };
        let required = if line.required { ", required" } else { "" };
        let mut below = vec![leaf(format!("provider: {}, of mesh {}", line.provider, line.mesh))];
        below.extend(line.format.as_ref().map(|format| self.format(format)));
        below.extend(line.filter.as_ref().map(|filter| {
            let tcp = if filter.error_on_tcp {
                ", an error on TCP: not logged there"
            } else {
                ""
            };
            from(format!("filter: {}{tcp}", filter.expression), &filter.from)
        }));
        node(format!("{} → {place}{required} ← {}", line.backend, line.from), below)
    }

    fn format(&mut self, format: &Format) -> Node {
        let mut title = match (&format.text, &format.labels) {
            (_, Some(Value::Object(labels))) => format!("format: JSON, {} fields", labels.len()),
            (Some(_), _) => "format: text".to_owned(),
            _ => "format: Istio's own".to_owned(),
        };
        if format.omit_empty_values {
            title.push_str(", without empty values");
        }
        let is_known = self.formats.contains(format);
        if is_known {
            title.push_str(", as above");
        } else {
            self.formats.push(format.clone());
        }
        let mut below = Vec::new();
        if !is_known {
            below.extend(format.text.as_deref().map(leaf));
            let labels = format.labels.as_ref().and_then(Value::as_object);
            below.extend(labels.into_iter().flatten().map(|(name, value)| match value {
                Value::String(text) => leaf(format!("{name}: {text}")),
                other => leaf(format!("{name}: {other}")),
            }));
        }
        node(format!("{title} ← {}", format.from), below)
    }

    fn traffic_log(&mut self, log: &TrafficLogAnswer) -> Vec<Node> {
        let mut nodes = of_policy(log.mesh.as_deref(), &log.conditions, &log.workloads);
        nodes.extend(group("claims", &log.units, unit));
        nodes.extend(group("logs to", &log.lines, |line| self.line(line)));
        nodes.extend(group("part of Telemetries", &log.telemetries, leaf));
        nodes
    }

    fn mesh(&mut self, mesh: &MeshAnswer) -> Vec<Node> {
        let mut nodes = vec![leaf(format!("type: {}", mesh.type_))];
        nodes.extend(group("conditions", &mesh.conditions, condition));
        nodes.extend(mesh.istio.as_ref().map(istio));
        nodes.push(leaf(format!("namespaces: {}", joined(&mesh.namespaces))));
        nodes.extend(group("logging backends", &mesh.log_backends, backend));
        nodes.extend(group("tracing backends", &mesh.trace_backends, backend));
        nodes.extend(mesh.required.iter().map(|required| {
            let directions: Vec<String> = required.directions.iter().map(|side| format!("{side:?}")).collect();
            let lines = required.lines.iter().map(|line| self.line(line));
            node(format!("required {}", joined(&directions)), lines.collect())
        }));
        nodes.extend(
            mesh.default_tracing
                .as_ref()
                .map(|spans_seen| node("default tracing", spans(spans_seen))),
        );
        nodes.extend(group("metrics", &mesh.metrics, |change| leaf(compact(change))));
        nodes.extend(mesh.interface_traffic.as_ref().map(interface_traffic));
        nodes.extend(mesh.collector.as_ref().map(collector));
        nodes.extend(group("policies", &mesh.policies, policy));
        nodes.extend(group("extension providers", &mesh.providers, provider));
        nodes.extend(group("agents", &mesh.agents, agent));
        nodes
    }
}

/// A title with the Telemetry that decides.
fn by(title: &str, telemetry: Option<&str>) -> String {
    telemetry.map_or_else(|| title.to_owned(), |name| format!("{title}, by Telemetry {name}"))
}

fn meshes(meshes: &[MeshChoice], none: Option<&str>) -> Vec<Node> {
    let mesh = |mesh: &MeshChoice| leaf(format!("mesh: {} ({}): {}", mesh.name, mesh.type_, mesh.because));
    let none = none.map(|why| leaf(format!("mesh: none: {why}")));
    meshes.iter().map(mesh).chain(none).collect()
}

fn connections(connections: &ConnectionsSeen) -> Node {
    let state = connections.state.as_ref().map(|state| format!(" ({state})"));
    let daemons = connections.node.as_ref().map_or_else(
        || "Kmesh's daemons".to_owned(),
        |node| format!("Kmesh's daemon on {node}{}", state.unwrap_or_default()),
    );
    let switch = |switch: &SwitchSeen| {
        let position = if switch.on { "on" } else { "off" };
        leaf(format!("{}: {position} ← {}", switch.name, joined(&switch.from)))
    };
    node(
        format!("connections, by {daemons}, of mesh {}", connections.mesh),
        connections.switches.iter().map(switch).collect(),
    )
}

fn telemetry(telemetry: &TelemetryRef) -> Node {
    let workloads = if telemetry.workloads.is_empty() { "" } else { " " };
    leaf(format!(
        "{}/{} ({}{workloads}{}) ← {}",
        telemetry.namespace,
        telemetry.name,
        telemetry.scope,
        telemetry.workloads,
        joined(&telemetry.from)
    ))
}

fn fallback(fallback: &Fallback) -> Node {
    let mut below = Vec::new();
    if !fallback.providers.is_empty() {
        below.push(leaf(format!("providers: {}", joined(&fallback.providers))));
    }
    let encoding = fallback.encoding.as_deref().unwrap_or("TEXT");
    let format = fallback
        .format
        .as_deref()
        .map_or_else(|| "Istio's default".to_owned(), |text| format!("{text:?}"));
    let file = |file: &String| leaf(format!("file: {file}, encoding {encoding}, format {format}"));
    below.extend(fallback.file.as_ref().map(file));
    node(format!("{} ← {}", fallback.message, fallback.from), below)
}

fn tracing(tracing: &Tracing) -> Node {
    let mut below = tracing.spans.as_ref().map(spans).unwrap_or_default();
    below.extend(tracing.fallback.as_ref().map(fallback));
    node(
        by(&format!("tracing: {}", tracing.outcome), tracing.telemetry.as_deref()),
        below,
    )
}

fn spans(spans: &Spans) -> Vec<Node> {
    let mut nodes = vec![
        from(format!("provider: {}", spans.provider), &spans.from),
        from(format!("destination: {}", spans.destination), &spans.destination_from),
        from(
            format!("sampling: {}%", spans.sampling_percentage),
            &spans.sampling_from,
        ),
    ];
    nodes.extend(
        spans
            .tags
            .iter()
            .map(|tag| from(format!("tag {}: {}", tag.name, tag.value), &tag.from)),
    );
    nodes
}

fn metrics(metrics: &Metrics) -> Node {
    let mut below: Vec<Node> = metrics
        .overrides
        .iter()
        .map(|change| match &metrics.from {
            Some(origin) => from(compact(change), origin),
            None => leaf(compact(change)),
        })
        .collect();
    below.extend(metrics.fallback.as_ref().map(fallback));
    node(by("metrics", metrics.telemetry.as_deref()), below)
}

/// A value of a spec as it would stand there.
fn compact(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn overridden(lost: &Overridden) -> Node {
    let direction = lost.direction.map(|side| format!(" {side:?}")).unwrap_or_default();
    let why = match lost.why.as_str() {
        "DeeperScope" => "a deeper scope",
        "Required" => "the mesh requires it",
        _ => "more labels, priority or name",
    };
    leaf(format!(
        "{} loses {}{direction} to {}: {why}",
        lost.policy,
        lost.claim,
        joined(&lost.by)
    ))
}

fn environment(environment: &Environment) -> Node {
    let mut below: Vec<Node> = environment
        .variables
        .iter()
        .map(|var| leaf(format!("{}={}", var.name, var.value)))
        .collect();
    below.push(from("the address in it", &environment.destination_from));
    node(
        format!(
            "{}, container {}: {} ← {}",
            environment.workload, environment.container, environment.state, environment.from
        ),
        below,
    )
}

fn agent(agent: &AgentEntry) -> Node {
    let below = vec![from(format!("reads {}", joined(&agent.reads)), &agent.from)];
    node(format!("{}: {}", agent.workload, agent.state), below)
}

fn problem(problem: &Problem) -> Node {
    let seen = condition(&problem.condition);
    node(format!("{}: {}", problem.of, seen.text), seen.below)
}

fn condition(seen: &ConditionSeen) -> Node {
    let details = seen.details.iter().map(|detail| {
        let marked = detail.line.iter().chain(&detail.carets).map(leaf).collect();
        node(format!("{}: {}", detail.path, detail.message), marked)
    });
    let title = format!("{}={}, {}: {}", seen.condition, seen.status, seen.reason, seen.message);
    node(title, details.collect())
}

fn foreign(telemetry: &ForeignTelemetry) -> Node {
    leaf(format!(
        "{}/{} ({}): {}",
        telemetry.namespace,
        telemetry.name,
        joined(&telemetry.sections),
        telemetry.message
    ))
}

fn policy(policy: &PolicySeen) -> Node {
    leaf(format!("{}: Ready={}, {}", policy.of, policy.ready, policy.reason))
}

fn of_policy(mesh: Option<&str>, conditions: &[ConditionSeen], workloads: &[String]) -> Vec<Node> {
    let mut nodes = vec![
        leaf(format!("mesh: {}", mesh.unwrap_or("none"))),
        leaf(format!("workloads: {}", workloads.join("; "))),
    ];
    nodes.extend(group("conditions", conditions, condition));
    nodes
}

fn unit(unit: &Unit) -> Node {
    let backend = unit.backend.as_deref().unwrap_or("off switch");
    let by = unit
        .by
        .as_ref()
        .map(|origin| format!(" ← {origin}"))
        .unwrap_or_default();
    leaf(format!(
        "{} {:?} {backend}: {}{by}",
        unit.workloads, unit.direction, unit.outcome
    ))
}

fn tracing_backend(tracing: &TracingBackendAnswer) -> Vec<Node> {
    let mut nodes = of_policy(tracing.mesh.as_deref(), &tracing.conditions, &tracing.workloads);
    nodes.extend(tracing.spans.as_ref().map(|seen| node("says to proxies", spans(seen))));
    nodes.extend(
        tracing
            .overridden_by
            .as_ref()
            .map(|winner| leaf(format!("overridden by {winner}"))),
    );
    nodes.extend(group("part of Telemetries", &tracing.telemetries, leaf));
    nodes.extend(group("environment", &tracing.environment, environment));
    nodes
}

fn istio(istio: &IstioSeen) -> Node {
    let mut below = vec![leaf(format!(
        "istiod of revision {} in namespace {}, MeshConfig mode {}",
        joined(&istio.revisions),
        istio.namespace,
        istio.mode
    ))];
    below.extend(
        istio
            .root_namespace
            .as_ref()
            .map(|root| leaf(format!("root namespace: {root}"))),
    );
    below.extend(
        istio
            .mesh_scope
            .as_ref()
            .map(|scope| leaf(format!("mesh scope: {scope}"))),
    );
    let versions = [("istiod", &istio.istiod), ("proxies", &istio.proxies)];
    for (what, versions) in versions.into_iter().filter(|(_, versions)| !versions.is_empty()) {
        below.push(leaf(format!("{what}: Istio {}", joined(versions))));
    }
    if let (Some(version), Some(source)) = (&istio.oldest_proxy, &istio.oldest_proxy_from) {
        below.push(leaf(format!("formats are checked for Envoy {version} ← {source}")));
    }
    node("Istio", below)
}

fn backend(backend: &BackendSeen) -> Node {
    let default = if backend.default { ", the default" } else { "" };
    let problem = backend.problem.iter().map(leaf).collect();
    let title = format!("{} ({}) → {}{default}", backend.name, backend.type_, backend.place);
    node(format!("{title} ← {}", backend.from), problem)
}

fn interface_traffic(traffic: &InterfaceTrafficSeen) -> Node {
    let mut below = vec![
        leaf(format!("ConfigMap {}", traffic.config_map)),
        leaf(format!("Elasticsearch {}", traffic.elasticsearch)),
    ];
    below.extend(
        traffic
            .credentials
            .as_ref()
            .map(|secret| leaf(format!("credentials of Secret {secret}"))),
    );
    below.extend(
        traffic
            .wasm_plugin
            .as_ref()
            .map(|url| leaf(format!("WasmPlugin {url}"))),
    );
    node(format!("interface traffic ← {}", traffic.from), below)
}

fn collector(collector: &CollectorSeen) -> Node {
    let mut below = vec![
        leaf(collector.status.runner.clone()),
        leaf(format!("takes {}", joined(&collector.receivers))),
    ];
    let sampling = collector.sampling.as_ref();
    below.extend(sampling.map(|percentage| leaf(format!("passes on {percentage} % of the traces"))));
    below.extend(collector.exporters.iter().map(|exporter| {
        let (what, to) = (joined(&exporter.signals), joined(&exporter.urls));
        leaf(format!(
            "{what} to {}: {} {to} ← {}",
            exporter.name, exporter.type_, exporter.from
        ))
    }));
    below.extend(collector.status.restart_loses.clone().map(leaf));
    node(format!("collector ← {}", collector.from), below)
}

fn provider(provider: &ProviderSeen) -> Node {
    let used = format!("{} ← {}", provider.name, joined(&provider.used_by));
    let missing = &provider.missing_in;
    let missing = (!missing.is_empty()).then(|| leaf(format!("missing in MeshConfig of revision {}", joined(missing))));
    node(used, missing.into_iter().collect())
}
