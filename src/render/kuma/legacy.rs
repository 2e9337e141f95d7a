//! What Kuma 2.x had before policies: backends in `logging`, `tracing` and `metrics` of a Mesh, and TrafficLogs and
//! TrafficTraces that name them. 3.0 drops the former without a word and does not know the latter.
//!
//! Read in v2.9.13: a TrafficLog holds for what proxies send only, one of them wins for each destination, and it names one
//! backend; one that names none means `logging.defaultBackend`, and one that names a backend which is not there logs
//! nothing. Destinations are selected by `kuma.io/service` only. A backend of a Mesh has its own sampling, which is Envoy's
//! `overall_sampling`.

use std::fmt;

use serde_json::{Map, Value, json};

use super::backend::{Format, Line, LogBackend, Metrics, TraceBackend, name_of};
use super::policy::{NAMESPACE_OF_PROXY, Place};
use crate::policy::claims::{Labels, Side, Source, Sources, WorkloadSet};
use crate::policy::resolve::{ObjectPolicy, SideLogging, Won};
use crate::render::Provider;
use crate::snapshot::Kind;

/// What a name of a backend of ours in a Mesh begins with.
pub const PREFIX: &str = "sightline-";

/// Kinds that are written in place of policies, in this order.
pub const KINDS: [Kind; 2] = [Kind::KumaTrafficLog, Kind::KumaTrafficTrace];

/// Name of no backend: a TrafficLog that names it logs nothing, while one that names none would use the default.
pub const OFF: &str = "sightline-off";

/// Tag that every proxy has, and the only one that destinations may be selected by.
const SERVICE: &str = "kuma.io/service";

/// The parts of a Mesh that hold backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Access logs.
    Logging,
    /// Spans.
    Tracing,
    /// Metrics.
    Metrics,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Logging, Self::Tracing, Self::Metrics];

    /// Its name in `spec`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logging => "logging",
            Self::Tracing => "tracing",
            Self::Metrics => "metrics",
        }
    }

    /// Its member that names one of its backends.
    pub const fn chosen(self) -> &'static str {
        match self {
            Self::Logging | Self::Tracing => "defaultBackend",
            Self::Metrics => "enabledBackend",
        }
    }

    /// The one that a provider's entry stands in, and the entry as it stands there.
    pub fn of(provider: &Provider) -> Option<(Self, &Value)> {
        Self::ALL
            .into_iter()
            .find_map(|section| Some((section, provider.entry.get(section.name())?)))
    }

    fn provider(self, name: String, mut entry: Value) -> Provider {
        insert(&mut entry, "name", name.as_str().into());
        let entry = json!({self.name(): entry});
        Provider { name, entry }
    }
}

/// Why something cannot be said there: the rest of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid(pub &'static str);

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The backend of a Mesh that logs go to.
///
/// # Errors
/// Where there is none of that type.
pub fn logging(backend: &LogBackend) -> Result<Provider, Unsaid> {
    let (mut entry, format) = match backend {
        LogBackend::File { path, format } => (json!({"type": "file", "conf": {"path": path}}), format),
        LogBackend::Tcp { address, format } => (json!({"type": "tcp", "conf": {"address": address}}), format),
        LogBackend::OpenTelemetry { .. } => {
            return Err(Unsaid("logging of a Mesh knows files and TCP only"));
        }
    };
    if let Some(format) = format {
        insert(&mut entry, "format", text(format).into());
    }
    Ok(Section::Logging.provider(backend.name(), entry))
}

fn insert(object: &mut Value, member: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(member.to_owned(), value);
    }
}

/// A line as one text: values of JSON are written as text.
fn text(format: &Format) -> String {
    match &format.line {
        Line::Plain(text) => text.clone(),
        Line::Json(fields) => {
            let quoted = |text: &str| Value::from(text).to_string();
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{}:\"{value}\"", quoted(name)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

/// The backend of a Mesh that spans go to: sampling is part of it.
///
/// # Errors
/// Where there is none of that type.
pub fn tracing(backend: &TraceBackend, sampling: &str) -> Result<Provider, Unsaid> {
    let (kind, type_, conf) = match backend {
        TraceBackend::Zipkin(url) => (
            "zipkin",
            "zipkin",
            json!({"url": url, "apiVersion": "httpJson", "traceId128bit": true, "sharedSpanContext": false}),
        ),
        TraceBackend::Datadog(url) => {
            let (address, port) = url
                .trim_start_matches("http://")
                .rsplit_once(':')
                .ok_or(Unsaid("the address of Datadog's agent has no port"))?;
            let port: u16 = port
                .parse()
                .map_err(|_| Unsaid("the port of Datadog's agent is no number"))?;
            (
                "datadog",
                "datadog",
                json!({"address": address, "port": port, "splitService": false}),
            )
        }
        TraceBackend::OpenTelemetry(_) => return Err(Unsaid("tracing of a Mesh knows Zipkin and Datadog only")),
    };
    let share: f64 = sampling
        .parse()
        .map_err(|_| Unsaid("sampling is no share in percent"))?;
    let entry = json!({"type": type_, "sampling": number(share), "conf": conf});
    Ok(Section::Tracing.provider(name_of(kind, &(backend, sampling)), entry))
}

/// A whole number as one: so Kuma writes it back.
fn number(share: f64) -> Value {
    format!("{share}")
        .parse::<i64>()
        .map_or_else(|_| Value::from(share), Value::from)
}

/// The backend of a Mesh that Prometheus scrapes.
pub fn metrics(metrics: &Metrics) -> Provider {
    let conf = json!({"port": metrics.port, "path": metrics.path});
    let name = name_of("metrics", &(&metrics.port, &metrics.path));
    Section::Metrics.provider(name, json!({"type": "prometheus", "conf": conf}))
}

/// What sets of workloads come to.
#[derive(Default)]
pub struct Rendered {
    /// The objects.
    pub objects: Vec<(Kind, Value)>,
    /// What finds no place, as a TrafficLog names one backend: whose it is, its backend, and the one that is written.
    pub left_out: Vec<(Source, String, String)>,
}

impl Place<'_> {
    /// The objects of a set of workloads. A backend that the mesh requires comes first, then the first by name.
    pub fn render_legacy(&self, set: &WorkloadSet, policy: &ObjectPolicy) -> Rendered {
        let mut rendered = Rendered::default();
        let WorkloadSet::Labels(labels) = set else {
            // Refused before: see `policy::proxies`.
            return rendered;
        };
        let source = json!([{"match": self.tags(labels)}]);
        if let Some((backend, by)) = written(policy, &mut rendered.left_out) {
            let logs = policy.sources.logs.iter().filter(|claim| {
                claim.sides.contains(&Side::Outbound) && by.as_ref().is_none_or(|by| by.is_same_object(&claim.source))
            });
            let sources = Sources {
                logs: logs.cloned().collect(),
                ..Sources::default()
            };
            let spec = Map::from_iter([
                ("sources".to_owned(), source.clone()),
                ("destinations".to_owned(), json!([{"match": {SERVICE: "*"}}])),
                ("conf".to_owned(), json!({"backend": backend})),
            ]);
            let object = self.cluster_object("TrafficLog", "outbound", labels, &spec, &sources);
            rendered.objects.push((Kind::KumaTrafficLog, object));
        }
        let provider = policy
            .tracing
            .as_ref()
            .and_then(|claim| tracing(claim.backend.as_ref()?, &claim.sampling).ok());
        if let Some(provider) = provider {
            let sources = Sources {
                traces: policy.sources.traces.clone(),
                ..Sources::default()
            };
            let spec = Map::from_iter([
                ("selectors".to_owned(), source),
                ("conf".to_owned(), json!({"backend": provider.name})),
            ]);
            let object = self.cluster_object("TrafficTrace", "traces", labels, &spec, &sources);
            rendered.objects.push((Kind::KumaTrafficTrace, object));
        }
        rendered
    }

    /// Whom it holds for, by tags of their proxies.
    fn tags(&self, set: &Labels) -> Labels {
        let mut tags = set.clone();
        if !(self.is_root && set.is_empty()) {
            tags.insert(NAMESPACE_OF_PROXY.to_owned(), self.namespace.to_owned());
        }
        tags.insert(SERVICE.to_owned(), "*".to_owned());
        tags
    }

    fn cluster_object(
        &self,
        kind: &str,
        signal: &str,
        set: &Labels,
        spec: &Map<String, Value>,
        sources: &Sources,
    ) -> Value {
        let mut object = self.object(kind, signal, set, spec, sources);
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
        }
        insert(&mut object, "mesh", self.kuma_mesh.into());
        object
    }
}

/// The one backend that a TrafficLog names, and whose it is; `None`: nothing is said of what is sent.
fn written(policy: &ObjectPolicy, left_out: &mut Vec<(Source, String, String)>) -> Option<(String, Option<Source>)> {
    if *policy.logging.get(&Side::Outbound)? == SideLogging::Off {
        return Some((OFF.to_owned(), None));
    }
    let mut won: Vec<&Won> = policy.won.get(&Side::Outbound)?.iter().collect();
    // What a mesh requires has no namespace.
    won.sort_by_key(|won| !won.source.namespace.is_empty());
    let name = |won: &Won| {
        let backend = won.entries.iter().find_map(|entry| entry.backend.as_ref())?;
        Some(logging(backend).ok()?.name)
    };
    let mut named = won.into_iter().filter_map(|won| Some((won, name(won)?)));
    let (first, backend) = named.next()?;
    let called = |won: &Won| won.backend.clone().unwrap_or_default();
    // Two policies may want the same.
    let others = named.filter(|(_, other)| *other != backend);
    left_out.extend(others.map(|(won, _)| (won.source.clone(), called(won), called(first))));
    Some((backend, Some(first.source.clone())))
}

/// A Mesh with these backends of ours and no others; what is not ours stays as it is, where it is. Where it has metrics of
/// somebody else, of which it can enable one only, ours are left out, and why is told.
pub fn with_backends(mesh: &Value, wanted: &[&Provider]) -> (Value, Option<String>) {
    let mut after = mesh.clone();
    if !after.get("spec").is_some_and(Value::is_object) {
        insert(&mut after, "spec", json!({}));
    }
    let theirs = enabled_by_somebody_else(mesh);
    let mut refused = None;
    for section in Section::ALL {
        let mut entries: Vec<&Value> = wanted
            .iter()
            .filter_map(|provider| Section::of(provider).filter(|(of, _)| *of == section))
            .map(|(_, entry)| entry)
            .collect();
        if let Some(theirs) = theirs.filter(|_| section == Section::Metrics && !entries.is_empty()) {
            entries.clear();
            refused = Some(format!(
                "spec.metrics.enabledBackend names {theirs} of somebody else, and a Mesh enables one only; remove it there, or spec.metrics.kuma of the ObservabilityMesh"
            ));
        }
        put_entries(&mut after, section, &entries);
    }
    let says_nothing = after.get("spec") == Some(&json!({}));
    if says_nothing && mesh.get("spec").is_none_or(Value::is_null) {
        return (mesh.clone(), refused);
    }
    (after, refused)
}

fn enabled_by_somebody_else(mesh: &Value) -> Option<&str> {
    let enabled = mesh.pointer("/spec/metrics/enabledBackend")?.as_str()?;
    (!enabled.is_empty() && !enabled.starts_with(PREFIX)).then_some(enabled)
}

fn put_entries(mesh: &mut Value, section: Section, wanted: &[&Value]) {
    let Some(spec) = mesh.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let live = spec.get(section.name()).and_then(Value::as_object);
    let mut block = live.cloned().unwrap_or_default();
    let mut backends: Vec<Value> = block
        .get("backends")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let had_ours = backends.iter().any(is_ours);
    if wanted.is_empty() && !had_ours {
        return;
    }
    let is_wanted = |entry: &Value| wanted.iter().any(|wanted| wanted["name"] == entry["name"]);
    backends.retain(|entry| !is_ours(entry) || is_wanted(entry));
    for entry in wanted {
        match backends.iter_mut().find(|live| live["name"] == entry["name"]) {
            Some(live) if covers(entry, live) => {}
            Some(live) => *live = (*entry).clone(),
            None => backends.push((*entry).clone()),
        }
    }
    let chosen = block.get(section.chosen()).and_then(Value::as_str).unwrap_or_default();
    let is_there = backends.iter().any(|entry| entry["name"] == chosen);
    let chosen = match (section, wanted.first()) {
        (Section::Metrics, Some(entry)) => entry["name"].as_str(),
        // One that names what goes would make Kuma refuse the Mesh.
        _ if chosen.starts_with(PREFIX) && !is_there => None,
        _ => Some(chosen).filter(|chosen| !chosen.is_empty()),
    };
    let chosen = chosen.map(str::to_owned);
    match chosen {
        Some(chosen) => drop(block.insert(section.chosen().to_owned(), chosen.into())),
        None => drop(block.remove(section.chosen())),
    }
    if backends.is_empty() {
        block.remove("backends");
    } else {
        block.insert("backends".to_owned(), backends.into());
    }
    if block.is_empty() {
        spec.remove(section.name());
    } else {
        spec.insert(section.name().to_owned(), block.into());
    }
}

/// Whether an entry of `backends` is ours, by its name.
fn is_ours(entry: &Value) -> bool {
    let name = entry.get("name").and_then(Value::as_str);
    name.is_some_and(|name| name.starts_with(PREFIX))
}

/// Whether all that is wanted stands in what is live: Kuma's webhook fills in defaults, such as `tags` of metrics.
pub fn covers(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted
            .iter()
            .all(|(name, wanted)| live.get(name).is_some_and(|live| covers(wanted, live))),
        (Value::Number(wanted), Value::Number(live)) => wanted.as_f64() == live.as_f64(),
        (wanted, live) => wanted == live,
    }
}

/// The entry of a Mesh for a provider, if it stands there.
pub fn entry<'m>(mesh: &'m Value, section: Section, name: &str) -> Option<&'m Value> {
    let backends = mesh.get("spec")?.get(section.name())?.get("backends")?.as_array()?;
    backends.iter().find(|entry| entry["name"] == name)
}

/// Whether a Mesh holds something of ours.
pub fn has_entries(mesh: &Value) -> bool {
    let sections = Section::ALL
        .into_iter()
        .filter_map(|section| mesh.get("spec")?.get(section.name())?.get("backends")?.as_array());
    sections.flatten().any(is_ours)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::render::kuma::versions::Knows;

    fn file(path: &str) -> LogBackend {
        LogBackend::File {
            path: path.into(),
            format: None,
        }
    }

    fn off() -> ObjectPolicy {
        ObjectPolicy {
            logging: BTreeMap::from([(Side::Outbound, SideLogging::Off), (Side::Inbound, SideLogging::Off)]),
            ..ObjectPolicy::default()
        }
    }

    fn rendered(set: &Labels) -> Vec<(Kind, Value)> {
        let place = Place {
            system_namespace: "kuma-system",
            kuma_mesh: "default",
            mesh: "m",
            namespace: "shop",
            is_root: false,
            knows: Knows::of("2.13".parse().unwrap()),
        };
        place.render_legacy(&WorkloadSet::Labels(set.clone()), &off()).objects
    }

    /// Read in v2.9.13: one that names no backend means the default of the Mesh, which may be somebody else's.
    #[test]
    fn off_names_a_backend_that_is_not_there_and_never_none() {
        let objects = rendered(&Labels::new());
        let [(Kind::KumaTrafficLog, log)] = objects.as_slice() else {
            panic!("one for what is sent, none for what is received: {objects:?}");
        };
        assert_eq!(log["spec"]["conf"]["backend"], OFF);
    }

    /// Read in v2.9.13: its validator refuses other tags of destinations, and sources without a service.
    #[test]
    fn destinations_are_selected_by_service_only_and_sources_have_one() {
        let labels = Labels::from([("app".to_owned(), "a".to_owned())]);
        let (_, log) = rendered(&labels).remove(0);
        assert_eq!(log["spec"]["destinations"], json!([{"match": {SERVICE: "*"}}]));
        let source = json!({"app": "a", "k8s.kuma.io/namespace": "shop", SERVICE: "*"});
        assert_eq!(log["spec"]["sources"], json!([{"match": source}]));
    }

    /// `mesh` stands beside `spec`, and the object is of the whole cluster (`targets`, legacy shape).
    #[test]
    fn a_traffic_log_of_kumas_has_its_mesh_beside_its_spec_and_no_namespace() {
        let (_, log) = rendered(&Labels::new()).remove(0);
        assert_eq!(log["mesh"], "default");
        assert_eq!(log.pointer("/metadata/namespace"), None);
    }

    #[test]
    fn sampling_is_part_of_the_backend_and_always_written() {
        let zipkin = TraceBackend::Zipkin("http://otel:9411/api/v2/spans".into());
        let entry = |sampling| tracing(&zipkin, sampling).unwrap();
        assert_ne!(entry("1").name, entry("2").name);
        assert_eq!(entry("1").entry["tracing"]["sampling"], json!(1));
        assert_eq!(entry("12.5").entry["tracing"]["sampling"], json!(12.5));
        let agent = tracing(&TraceBackend::Datadog("http://agent.obs.svc:8126".into()), "100").unwrap();
        let conf = json!({"address": "agent.obs.svc", "port": 8126, "splitService": false});
        assert_eq!(agent.entry["tracing"]["conf"], conf);
    }

    /// The Mesh's definition keeps unknown fields and its lists have no keys: what is applied would replace them whole.
    #[test]
    fn backends_of_others_stay_where_they_stand_and_ours_go_with_the_default_that_named_one() {
        let theirs = json!({"name": "theirs", "type": "file", "conf": {"path": "/a"}, "typo": 1});
        let ours = json!({"name": "sightline-file-0", "type": "file", "conf": {"path": "/b"}});
        let mesh = |default: &str, backends: Value| json!({"metadata": {"name": "default"}, "spec": {"mtls": {}, "logging": {"defaultBackend": default, "backends": backends}}});
        let before = mesh("sightline-file-0", json!([theirs, ours, theirs]));
        let (after, refused) = with_backends(&before, &[]);
        assert_eq!(refused, None);
        let mut bare = mesh("", json!([theirs, theirs]));
        bare["spec"]["logging"]
            .as_object_mut()
            .unwrap()
            .remove("defaultBackend");
        assert_eq!(after, bare);
        let untouched = mesh("theirs", json!([theirs]));
        assert_eq!(with_backends(&untouched, &[]).0, untouched);
        let provider = logging(&file("/b")).unwrap();
        let (with_ours, _) = with_backends(&untouched, &[&provider]);
        assert_eq!(with_ours["spec"]["logging"]["defaultBackend"], "theirs");
        assert_eq!(with_ours["spec"]["logging"]["backends"][0], theirs);
        assert_eq!(
            with_backends(&with_ours, &[]).0,
            untouched,
            "all of ours is taken out again"
        );
    }

    #[test]
    fn metrics_that_somebody_else_has_enabled_stay_and_why_ours_are_not_is_told() {
        let mesh = json!({"spec": {"metrics": {"enabledBackend": "theirs", "backends": [{"name": "theirs", "type": "prometheus"}]}}});
        let ours = metrics(&Metrics {
            port: 5670,
            path: "/metrics".into(),
            profile: "All".into(),
            receiver: None,
        });
        let (after, refused) = with_backends(&mesh, &[&ours]);
        assert_eq!(after, mesh);
        assert!(refused.unwrap().contains("theirs"));
        let empty = json!({"metadata": {"name": "default"}});
        let (after, _) = with_backends(&empty, &[&ours]);
        assert_eq!(after["spec"]["metrics"]["enabledBackend"], ours.name.as_str());
        assert_eq!(with_backends(&empty, &[]).0, empty);
    }

    /// Kuma's webhook fills in `tags` of metrics, and writes numbers as it likes.
    #[test]
    fn what_kuma_fills_in_is_no_difference() {
        let wanted = json!({"conf": {"port": 5670}});
        assert!(covers(&wanted, &json!({"conf": {"port": 5670.0, "tags": {}}})));
        assert!(!covers(&wanted, &json!({"conf": {"port": 5671}})));
    }

    #[test]
    fn json_is_one_text_of_its_members() {
        let line = Line::Json(vec![
            ("a".into(), "%START_TIME%".into()),
            ("b".into(), r#"x \"y\""#.into()),
        ]);
        let format = Format {
            line,
            omit_empty_values: false,
        };
        assert_eq!(text(&format), r#"{"a":"%START_TIME%","b":"x \"y\""}"#);
    }
}
