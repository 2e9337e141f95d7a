//! Exports of metrics: which object each becomes, what of it cannot be said, and what is worth a warning.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{
    ExportForm, ExportSeries, Federation, IstioMetric, MetricOverride, MetricsExport, MetricsExportType, Metricset,
    ObservabilityMesh, ProxyPort, SeriesPreset, TagOperation, Wavefront, WavefrontFrom,
};
use crate::policy::membership::name_of;
use crate::policy::proxies::Proxies;
use crate::render::kmesh::Switch;
use crate::render::kmesh::scrape::{SERIES, Series};
use crate::render::metrics::dashboards::{self, Reader};
use crate::render::metrics::series::{ExportedBy, Metric, Selection, WAVEFRONT};
use crate::render::metrics::{
    Exporters, config_map, metricbeat, monitors, object_name,
    prometheus::{self, REMOTE_WRITE_KEY, RULES_KEY, SCRAPE_KEY},
    wavefront,
};
use crate::snapshot::{Key, Kind};
use crate::yaml::YamlError;

/// Kinds of prometheus-operator's that exports become.
pub const OPERATOR_KINDS: [Kind; 4] = [
    Kind::PodMonitor,
    Kind::ServiceMonitor,
    Kind::ScrapeConfig,
    Kind::PrometheusRule,
];

/// Exports of a mesh.
fn exports_of(mesh: &ObservabilityMesh) -> &[MetricsExport] {
    mesh.spec.metrics.as_ref().map_or(&[], |metrics| &metrics.exports)
}

/// Whose metrics the exports of a mesh are about; `None` where nobody has any.
fn exporters_of(mesh: &ObservabilityMesh) -> Option<Exporters> {
    Some(match Proxies::of(mesh)? {
        Proxies::Istio(istio) => Exporters::Istio {
            namespace: istio.namespace,
        },
        Proxies::Kuma(_) => Exporters::of_kuma(mesh.spec.metrics.as_ref().and_then(|metrics| metrics.kuma.as_ref())),
        Proxies::Kmesh(kmesh, istio) => Exporters::Kmesh {
            namespace: kmesh.namespace,
            istiod: istio.map(|istio| istio.namespace),
        },
    })
}

/// The kinds of objects that an export becomes.
fn kinds_of(export: &MetricsExport) -> Vec<Kind> {
    match (export.type_, export.object.form) {
        (MetricsExportType::PodMonitor, _) => vec![Kind::PodMonitor],
        (MetricsExportType::ServiceMonitor, _) => vec![Kind::ServiceMonitor],
        (MetricsExportType::ScrapeConfig, ExportForm::PrometheusOperator) => vec![Kind::ScrapeConfig],
        (MetricsExportType::Federation, ExportForm::PrometheusOperator) => {
            let rules = export.federation.as_ref().and_then(|of| of.rules.as_ref());
            let rules = rules.map(|_| Kind::PrometheusRule);
            std::iter::once(Kind::ScrapeConfig).chain(rules).collect()
        }
        _ => vec![Kind::ConfigMap],
    }
}

/// The objects that the exports of a mesh become. One that its mesh has nothing for becomes none.
pub fn outputs_of(mesh: &ObservabilityMesh) -> Vec<(&MetricsExport, Kind, Key)> {
    let Some(exporters) = exporters_of(mesh) else {
        return Vec::new();
    };
    let rendered = exports_of(mesh).iter().filter(|export| has_output(export, &exporters));
    rendered
        .flat_map(|export| {
            let key = Key::new(&export.object.namespace, object_name(name_of(mesh), export));
            kinds_of(export)
                .into_iter()
                .map(move |kind| (export, kind, key.clone()))
        })
        .collect()
}

/// The ConfigMaps among them.
fn maps_of(mesh: &ObservabilityMesh) -> BTreeSet<Key> {
    let written = outputs_of(mesh).into_iter();
    let maps = written.filter(|(_, kind, _)| *kind == Kind::ConfigMap);
    maps.map(|(_, _, key)| key).collect()
}

fn has_output(export: &MetricsExport, exporters: &Exporters) -> bool {
    let of_control_plane = export.type_ == MetricsExportType::ServiceMonitor;
    !of_control_plane || exporters.istiod().is_some()
}

/// ConfigMaps that exports of a mesh became before, as its status lists them, and that none becomes now.
pub fn former_export_maps_of(mesh: &ObservabilityMesh) -> BTreeSet<Key> {
    let present = maps_of(mesh);
    let listed = mesh.status.iter().flat_map(|status| &status.export_config_maps);
    listed
        .filter_map(|map| map.split_once('/'))
        .map(|(namespace, name)| Key::new(namespace, name))
        .filter(|map| !present.contains(map))
        .collect()
}

/// ConfigMaps that exports of a mesh become, and became.
pub fn export_maps_of(mesh: &ObservabilityMesh) -> BTreeSet<Key> {
    let mut maps = former_export_maps_of(mesh);
    maps.extend(maps_of(mesh));
    maps
}

/// Why an export has no object.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The spec lacks what its type asks for: one that was stored before the schema's rule.
    #[error("the entry of metrics.exports lacks the member that its type names")]
    NoMember,
    /// It has no YAML form.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// The object of a kind that an export becomes.
///
/// # Errors
/// Where there is none.
pub fn render(mesh: &ObservabilityMesh, export: &MetricsExport, kind: Kind) -> Result<Value, ExportError> {
    let exporters = exporters_of(mesh).ok_or(ExportError::NoMember)?;
    let selection = selection(export, &exporters);
    let of = name_of(mesh);
    let one = |key, document| Ok(config_map(of, export, &[(key, document)])?);
    match export.type_ {
        MetricsExportType::PodMonitor => {
            let scrape = export.pod_monitor.as_ref().ok_or(ExportError::NoMember)?;
            Ok(monitors::pod_monitor(of, export, scrape, &exporters, &selection))
        }
        MetricsExportType::ServiceMonitor => {
            let scrape = export.service_monitor.as_ref().ok_or(ExportError::NoMember)?;
            let namespace = exporters.istiod().ok_or(ExportError::NoMember)?;
            // The default is of proxies: all of what a control plane exports is meant where nothing is said.
            let selection = export.series.as_ref().map(|_| &selection);
            Ok(monitors::service_monitor(of, export, scrape, namespace, selection))
        }
        MetricsExportType::ScrapeConfig => {
            let scrape = export.scrape_config.as_ref().ok_or(ExportError::NoMember)?;
            let job = prometheus::scrape(&export.name, scrape, &exporters, &selection);
            match kind {
                Kind::ScrapeConfig => Ok(monitors::of_operator(kind, of, export, job.spec())),
                _ => one(SCRAPE_KEY, job.file()),
            }
        }
        MetricsExportType::Federation => {
            let federation = export.federation.as_ref().ok_or(ExportError::NoMember)?;
            let job = prometheus::federation(&export.name, federation, &selection);
            let rules = federation.rules.as_ref();
            let rules = rules.map(|rules| prometheus::rules(rules, &selection));
            match kind {
                Kind::ScrapeConfig => Ok(monitors::of_operator(kind, of, export, job.spec())),
                Kind::PrometheusRule => {
                    let rules = rules.ok_or(ExportError::NoMember)?;
                    Ok(monitors::of_operator(kind, of, export, rules))
                }
                _ => {
                    let rules = rules.map(|rules| (RULES_KEY, rules));
                    let data: Vec<_> = std::iter::once((SCRAPE_KEY, job.file())).chain(rules).collect();
                    Ok(config_map(of, export, &data)?)
                }
            }
        }
        MetricsExportType::RemoteWrite => {
            let write = export.remote_write.as_ref().ok_or(ExportError::NoMember)?;
            let name = format!("sightline-{of}-{}", export.name);
            one(REMOTE_WRITE_KEY, prometheus::remote_write(name, write, &selection))
        }
        MetricsExportType::Metricbeat => {
            let metricbeat = export.metricbeat.as_ref().ok_or(ExportError::NoMember)?;
            let path = exporters.path();
            one(metricbeat::MODULE_KEY, metricbeat::module(metricbeat, path, &selection))
        }
        MetricsExportType::Wavefront => {
            let of_collector = export.wavefront.as_ref().ok_or(ExportError::NoMember)?;
            Ok(wavefront::discovery(of, export, of_collector, &exporters, &selection)?)
        }
    }
}

fn selection(export: &MetricsExport, exporters: &Exporters) -> Selection {
    Selection::of(export.series.as_ref(), matches!(exporters, Exporters::Istio { .. }))
}

/// What of the exports their targets cannot say, by path.
pub fn not_expressed(mesh: &ObservabilityMesh) -> Vec<String> {
    let Some(exporters) = exporters_of(mesh) else {
        return Vec::new();
    };
    // Why there is nothing to scrape of a control plane, and why no port can be chosen.
    let (no_target, one_port) = match exporters {
        Exporters::Istio { .. } => (None, None),
        Exporters::Kuma { .. } => (
            Some("Kuma's control plane is no target of ServiceMonitors"),
            Some("Kuma's proxies have one port with metrics"),
        ),
        Exporters::Kmesh { .. } => (
            Some("Kmesh's control plane is istiod; say where it is in spec.mesh.istio"),
            Some("Kmesh's daemons have one port with metrics"),
        ),
    };
    let mut paths = Vec::new();
    for export in exports_of(mesh) {
        let mut leave_out = |member: &str, why: &str| {
            paths.push(format!("spec.metrics.exports {}{member} ({why})", export.name));
        };
        let scrape = export.pod_monitor.iter().chain(&export.scrape_config);
        if let Some(why) = no_target.filter(|_| !has_output(export, &exporters)) {
            leave_out("", why);
        }
        let asks_for_port = scrape.into_iter().any(|scrape| scrape.port != ProxyPort::default());
        if let Some(why) = one_port.filter(|_| asks_for_port) {
            leave_out(".port", why);
        }
        if let Some(federation) = &export.federation {
            let metrics = selection(export, &exporters).metrics();
            if federation.rules.is_some() && !metrics.iter().any(|metric| prometheus::rule_of(metric).is_some()) {
                leave_out(".federation.rules", "there are rules for series of presets only");
            }
        }
        let listens = |of: &crate::crds::Metricbeat| of.metricset == Metricset::RemoteWrite;
        if export.series.is_some() && export.metricbeat.as_ref().is_some_and(listens) {
            leave_out(
                ".series",
                "Metricbeat takes what it is sent; say so in the export of type RemoteWrite",
            );
        }
    }
    paths
}

/// The condition that exports do what nobody is likely to want.
pub fn warned(mesh: &ObservabilityMesh) -> Option<Finding> {
    let exporters = exporters_of(mesh)?;
    let is_of_kmesh = matches!(exporters, Exporters::Kmesh { .. });
    let mut warnings: Vec<String> = scraped_twice(mesh, is_of_kmesh).into_iter().collect();
    for export in exports_of(mesh) {
        warnings.extend(never_exported(export));
        if is_of_kmesh {
            warnings.extend(not_exported_by_daemons(mesh, export));
        }
        warnings.extend(removed_by_overrides(mesh, export, &selection(export, &exporters)));
    }
    warnings.extend(missed_by_dashboards(mesh, &exporters));
    (!warnings.is_empty()).then(|| {
        let message = warnings.join(" ");
        Finding::holds(ConditionType::Accepted, Reason::AcceptedWithWarnings, message)
    })
}

/// Whether proxies, or Kmesh's daemons, are scraped through an export.
fn scrapes_proxies(export: &MetricsExport) -> bool {
    let by_collector = |of: &Wavefront| of.from == WavefrontFrom::Proxies;
    export.pod_monitor.is_some()
        || export.scrape_config.is_some()
        || export.wavefront.as_ref().is_some_and(by_collector)
}

/// Several exports by which one kind of reader scrapes each proxy, or each of Kmesh's daemons.
fn scraped_twice(mesh: &ObservabilityMesh, is_of_kmesh: bool) -> Option<String> {
    let (whom, what) = if is_of_kmesh {
        ("daemon of Kmesh's", "connection")
    } else {
        ("proxy", "request")
    };
    let mut by_reader: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for export in exports_of(mesh).iter().filter(|export| scrapes_proxies(export)) {
        let reader = if export.type_ == MetricsExportType::Wavefront {
            "Wavefront's collector"
        } else {
            "Prometheus"
        };
        by_reader.entry(reader).or_default().push(&export.name);
    }
    let (reader, names) = by_reader.into_iter().find(|(_, names)| names.len() > 1)?;
    Some(format!(
        "Exports {} each make {reader} scrape every {whom}; where it is the same {reader}, each {what} counts more than once: keep one of them for it.",
        some_names(names)
    ))
}

/// Series of an export that no supported version of Istio exports.
fn never_exported(export: &MetricsExport) -> Option<String> {
    let ExportSeries { presets, names } = export.series.as_ref()?;
    let is_meant =
        |metric: &&Metric| presets.contains(&SeriesPreset::Wavefront) || names.iter().any(|name| name == metric.name);
    let gone: Vec<(&str, Option<&str>)> = WAVEFRONT
        .iter()
        .filter(is_meant)
        .filter_map(|metric| match metric.by {
            ExportedBy::Nobody { instead } => Some((metric.name, instead)),
            _ => None,
        })
        .collect();
    if gone.is_empty() {
        return None;
    }
    let instead = gone
        .iter()
        .filter_map(|(name, instead)| Some(format!(" Instead of {name} there is {}.", (*instead)?)));
    Some(format!(
        "Export {} asks for {}, which Istio no longer exports: what shows them stays empty.{}",
        export.name,
        some_names(gone.iter().map(|(name, _)| *name)),
        instead.collect::<String>()
    ))
}

/// Series that an export scrapes Kmesh's daemons for and that they do not export: none of them, or not with what the mesh
/// switches on.
fn not_exported_by_daemons(mesh: &ObservabilityMesh, export: &MetricsExport) -> Vec<String> {
    let Some(ExportSeries { presets, names }) = export.series.as_ref().filter(|_| scrapes_proxies(export)) else {
        return Vec::new();
    };
    let metrics = mesh.spec.metrics.as_ref().and_then(|metrics| metrics.kmesh.as_ref());
    // Metrics by service are on unless the daemon's flags say otherwise; the finer ones have to be asked for.
    let member_that_is_off = |switch: Switch| match switch {
        Switch::WorkloadMetrics if !metrics.is_some_and(|metrics| metrics.workload) => Some("workload"),
        Switch::ConnectionMetrics if !metrics.is_some_and(|metrics| metrics.connection) => Some("connection"),
        _ => None,
    };
    let (mut never, mut off) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    for Series {
        name, switch, since, ..
    } in SERIES
        .iter()
        .filter(|series| names.iter().any(|name| name == series.name))
    {
        match (since, switch.and_then(member_that_is_off)) {
            (None, _) => never.push(*name),
            (Some(_), Some(member)) => off.entry(member).or_default().push(*name),
            (Some(_), None) => {}
        }
    }
    let mut warnings = Vec::new();
    if !presets.is_empty() {
        warnings.push(format!(
            "Export {} scrapes Kmesh's daemons for presets of Istio's series, of which they export none: name kmesh_* in series.names, or leave series out for all.",
            export.name
        ));
    }
    if !never.is_empty() {
        warnings.push(format!(
            "Export {} asks for {}, which no version of Kmesh exports: what shows them stays empty.",
            export.name,
            some_names(never)
        ));
    }
    for (member, names) in off {
        warnings.push(format!(
            "Export {} asks for {}, which daemons export only while spec.metrics.kmesh.{member} is true: set it, or take them out of series.",
            export.name,
            some_names(names)
        ));
    }
    warnings
}

/// Whether an override is about a metric.
fn changes(change: &MetricOverride, metric: &Metric) -> bool {
    let is_meant = |of| change.metric == IstioMetric::AllMetrics || change.metric == of;
    matches!(metric.by, ExportedBy::Proxies(of) if is_meant(of))
}

/// Whose dashboards show what an export gives to its reader; `None`: we have none for it.
fn dashboards_of(export: &MetricsExport) -> Option<Reader> {
    // Of recording rules it is told by what they sum, and dashboards of what they leave need no more.
    let has_rules = |federation: &Federation| federation.rules.is_some();
    match export.type_ {
        MetricsExportType::Federation if export.federation.as_ref().is_some_and(has_rules) => None,
        MetricsExportType::PodMonitor
        | MetricsExportType::ScrapeConfig
        | MetricsExportType::Federation
        | MetricsExportType::RemoteWrite => Some(Reader::Grafana),
        MetricsExportType::Wavefront => Some(Reader::Wavefront),
        MetricsExportType::ServiceMonitor | MetricsExportType::Metricbeat => None,
    }
}

/// Overrides that remove a label by which dashboards of ours show a metric that some export gives to their reader.
fn missed_by_dashboards(mesh: &ObservabilityMesh, exporters: &Exporters) -> Vec<String> {
    let given = exports_of(mesh).iter().flat_map(|export| {
        let metrics = selection(export, exporters).metrics();
        dashboards_of(export).into_iter().flat_map(move |reader| {
            let metrics = metrics.clone();
            metrics.into_iter().map(move |metric| (reader, metric))
        })
    });
    let given: Vec<(Reader, Metric)> = given.collect();
    let overrides = mesh.spec.metrics.iter().flat_map(|metrics| &metrics.overrides);
    let removed = overrides.flat_map(|change| {
        let tags = change.tags.iter().filter(|tag| tag.operation == TagOperation::Remove);
        tags.map(move |tag| (change, tag.name.as_str()))
    });
    let mut warnings = Vec::new();
    for (change, tag) in removed {
        let (mut names, mut dashboards) = (BTreeSet::new(), BTreeSet::new());
        for (reader, metric) in given.iter().filter(|(_, metric)| changes(change, metric)) {
            let that_need = dashboards::that_need(*reader, metric.name, tag);
            if !that_need.is_empty() {
                names.insert(metric.name);
                dashboards.extend(that_need);
            }
        }
        if !names.is_empty() {
            warnings.push(format!(
                "spec.metrics.overrides removes {tag} from {}, by which charts of docs/targets/dashboards.md ({}) show it: they stay empty or add up what differs in it. Keep the tag, or take these charts out.",
                some_names(names),
                some_names(dashboards)
            ));
        }
    }
    warnings
}

/// Overrides that take away what the recording rules of an export sum by, or a metric that it asks for.
fn removed_by_overrides(mesh: &ObservabilityMesh, export: &MetricsExport, selection: &Selection) -> Vec<String> {
    let has_rules = export
        .federation
        .as_ref()
        .is_some_and(|federation| federation.rules.is_some());
    let overrides = mesh.spec.metrics.iter().flat_map(|metrics| &metrics.overrides);
    let mut warnings = Vec::new();
    for change in overrides {
        let metrics = selection.metrics();
        let changed: Vec<&Metric> = metrics.iter().filter(|metric| changes(change, metric)).collect();
        if change.disabled && !changed.is_empty() {
            let names = some_names(changed.iter().map(|metric| metric.name));
            warnings.push(format!(
                "spec.metrics.overrides switches {names} off, which export {} asks for; leave it on, or take it out of series.",
                export.name
            ));
        }
        let removed = change
            .tags
            .iter()
            .filter(|tag| tag.operation == TagOperation::Remove && has_rules);
        for tag in removed {
            let summed_by_it = changed
                .iter()
                .filter(|metric| prometheus::rule_of(metric).is_some_and(|by| by.contains(&tag.name.as_str())));
            let names: Vec<&str> = summed_by_it.map(|metric| metric.name).collect();
            if !names.is_empty() {
                warnings.push(format!(
                    "spec.metrics.overrides removes {} from {}, by which the rules of export {} sum: series that differ in it only become one. Keep the tag, or leave federation.rules out.",
                    tag.name,
                    some_names(names),
                    export.name
                ));
            }
        }
    }
    warnings
}
