//! Series that meshes export, as tables, and which of them an export is about.

use crate::crds::{ExportSeries, IstioMetric, SeriesPreset};
use crate::render::kmesh::Switch;

/// A metric that a mesh exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in Prometheus; of a histogram without `_bucket`, `_count` and `_sum`.
    pub name: &'static str,
    /// Whether it is a histogram: three series then.
    pub is_histogram: bool,
    /// Who exports it.
    pub by: ExportedBy,
}

/// Who exports a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportedBy {
    /// Proxies, as one of Istio's standard metrics.
    Proxies(IstioMetric),
    /// istiod.
    Istiod,
    /// Each process that is written in Go and scraped.
    EachProcess,
    /// Nobody: an older istiod did. None of Istio 1.28 to 1.31 does; `instead` is what does, if anything.
    Nobody {
        /// The metric that took its place.
        instead: Option<&'static str>,
    },
}

impl Metric {
    /// Labels of its series, besides `le` and what scraping adds.
    pub fn labels(&self) -> &'static [&'static str] {
        match self.by {
            ExportedBy::Proxies(_) if self.name.starts_with("istio_tcp_") => &LABELS_OF_TCP,
            ExportedBy::Proxies(_) => &LABELS_OF_HTTP,
            ExportedBy::Istiod => {
                let found = LABELS_OF_ISTIOD.iter().find(|(name, _)| *name == self.name);
                found.map_or(&[], |(_, labels)| labels)
            }
            ExportedBy::EachProcess | ExportedBy::Nobody { .. } => &[],
        }
    }
}

/// Labels of Istio's standard metrics of HTTP and gRPC (istio.io, "Istio Standard Metrics", and Istio's own dashboards).
pub const LABELS_OF_HTTP: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_canonical_service",
    "source_canonical_revision",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
    "response_code",
    "grpc_response_status",
];
/// The same of TCP, where there is neither a code nor a status.
pub const LABELS_OF_TCP: [&str; 23] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_canonical_service",
    "source_canonical_revision",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
];

/// Labels of istiod's metrics, of those that have any (Istio's source, 1.31).
const LABELS_OF_ISTIOD: &[(&str, &[&str])] = &[
    ("istio_build", &["component", "tag"]),
    ("pilot_xds_pushes", &["type"]),
    ("pilot_total_xds_rejects", &["type"]),
];

const fn counter(name: &'static str, of: IstioMetric) -> Metric {
    Metric {
        name,
        is_histogram: false,
        by: ExportedBy::Proxies(of),
    }
}

const fn histogram(name: &'static str, of: IstioMetric) -> Metric {
    Metric {
        name,
        is_histogram: true,
        by: ExportedBy::Proxies(of),
    }
}

const fn istiod(name: &'static str) -> Metric {
    Metric {
        name,
        is_histogram: false,
        by: ExportedBy::Istiod,
    }
}

const fn distribution(name: &'static str) -> Metric {
    Metric {
        name,
        is_histogram: true,
        by: ExportedBy::Istiod,
    }
}

const fn process(name: &'static str) -> Metric {
    Metric {
        name,
        is_histogram: false,
        by: ExportedBy::EachProcess,
    }
}

const fn gone(name: &'static str, instead: Option<&'static str>) -> Metric {
    Metric {
        name,
        is_histogram: false,
        by: ExportedBy::Nobody { instead },
    }
}

/// Istio's standard metrics (istio.io, "Istio Standard Metrics").
pub const ISTIO: &[Metric] = &[
    counter("istio_requests_total", IstioMetric::RequestCount),
    histogram("istio_request_duration_milliseconds", IstioMetric::RequestDuration),
    histogram("istio_request_bytes", IstioMetric::RequestSize),
    histogram("istio_response_bytes", IstioMetric::ResponseSize),
    counter("istio_request_messages_total", IstioMetric::GrpcRequestMessages),
    counter("istio_response_messages_total", IstioMetric::GrpcResponseMessages),
    counter("istio_tcp_sent_bytes_total", IstioMetric::TcpSentBytes),
    counter("istio_tcp_received_bytes_total", IstioMetric::TcpReceivedBytes),
    counter("istio_tcp_connections_opened_total", IstioMetric::TcpOpenedConnections),
    counter("istio_tcp_connections_closed_total", IstioMetric::TcpClosedConnections),
];

/// The table of metrics of Wavefront's integration for Istio, in its order. Who exports them: Istio's source, 1.31.
pub const WAVEFRONT: &[Metric] = &[
    histogram("istio_request_bytes", IstioMetric::RequestSize),
    histogram("istio_request_duration_milliseconds", IstioMetric::RequestDuration),
    counter("istio_requests_total", IstioMetric::RequestCount),
    histogram("istio_response_bytes", IstioMetric::ResponseSize),
    counter("istio_tcp_sent_bytes_total", IstioMetric::TcpSentBytes),
    counter("istio_tcp_received_bytes_total", IstioMetric::TcpReceivedBytes),
    counter("istio_tcp_connections_opened_total", IstioMetric::TcpOpenedConnections),
    counter("istio_tcp_connections_closed_total", IstioMetric::TcpClosedConnections),
    istiod("pilot_services"),
    istiod("pilot_virt_services"),
    istiod("istio_build"),
    istiod("pilot_xds_pushes"),
    istiod("pilot_total_xds_rejects"),
    istiod("pilot_xds_cds_reject"),
    istiod("pilot_xds_eds_reject"),
    istiod("pilot_xds_lds_reject"),
    istiod("pilot_xds_rds_reject"),
    istiod("pilot_xds_write_timeout"),
    gone("pilot_xds_push_context_errors", None),
    istiod("pilot_conflict_inbound_listener"),
    istiod("pilot_total_xds_internal_errors"),
    gone("pilot_conflict_outbound_listener_http_over_current_tcp", None),
    gone("pilot_conflict_outbound_listener_tcp_over_current_http", None),
    istiod("pilot_conflict_outbound_listener_tcp_over_current_tcp"),
    distribution("pilot_proxy_convergence_time"),
    distribution("pilot_proxy_queue_time"),
    process("process_cpu_seconds_total"),
    process("process_resident_memory_bytes"),
    process("process_virtual_memory_bytes"),
    istiod("galley_validation_http_error"),
    istiod("galley_validation_failed"),
    istiod("galley_validation_passed"),
    istiod("galley_validation_config_updates"),
    istiod("galley_validation_config_update_error"),
    gone("galley_validation_config_load", None),
    istiod("galley_validation_config_load_error"),
    gone("galley_validation_config_delete_error", None),
    istiod("citadel_server_csr_count"),
    istiod("citadel_server_success_cert_issuance_count"),
    gone(
        "citadel_server_csr_sign_error_count",
        Some("citadel_server_csr_sign_err_count"),
    ),
    process("go_goroutines"),
    process("go_memstats_alloc_bytes"),
    process("go_memstats_heap_alloc_bytes"),
    process("go_memstats_heap_inuse_bytes"),
    process("go_memstats_heap_sys_bytes"),
    process("go_memstats_stack_inuse_bytes"),
];

/// The allow list of Wavefront's integration for Istio, as it stands in its documentation.
pub const WAVEFRONT_GLOBS: &[&str] = &[
    "istio.requests.*",
    "istio.request.*",
    "istio.response.*",
    "istio.tcp.*",
    "go.goroutines.value",
    "go.memstats.alloc.bytes.value",
    "go.memstats.heap.alloc.bytes.value",
    "go.memstats.heap.inuse.bytes.value",
    "go.memstats.heap.sys.bytes.value",
    "go.memstats.stack.inuse.bytes.value",
    "istio.build.value",
    "pilot.conflict.*.listener.*",
    "pilot.proxy.convergence.time.bucket.value",
    "pilot.services.value",
    "pilot.total.xds.internal.errors.value",
    "pilot.total.xds.rejects.value",
    "pilot.virt.services.value",
    "pilot.xds.*.reject.value",
    "pilot.xds.push.context.errors.value",
    "pilot.xds.pushes.value",
    "pilot.xds.write.timeout.value",
    "pilot.xds.value",
    "process.cpu.seconds.total.value",
    "process.resident.memory.bytes.value",
    "process.virtual.memory.bytes.value",
    "citadel.server.*",
    "galley.validation.*",
    "sidecar.*",
];

/// A metric of Envoy's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvoyMetric {
    /// Its name in Prometheus; of a histogram without `_bucket`, `_count` and `_sum`.
    pub name: &'static str,
    /// Whether it is a histogram.
    pub is_histogram: bool,
    /// Whether it is a gauge.
    pub is_gauge: bool,
    /// Labels of its series.
    pub labels: &'static [&'static str],
}

const fn of_envoy(name: &'static str, labels: &'static [&'static str]) -> EnvoyMetric {
    EnvoyMetric {
        name,
        is_histogram: false,
        is_gauge: false,
        labels,
    }
}

const fn gauge_of_envoy(name: &'static str, labels: &'static [&'static str]) -> EnvoyMetric {
    EnvoyMetric {
        name,
        is_histogram: false,
        is_gauge: true,
        labels,
    }
}

const OF_A_CLUSTER: &[&str] = &["envoy_cluster_name"];

/// Metrics of Envoy's own that dashboards show, of those that Kuma's proxies export. What they are and which labels they have
/// is what the real Envoy says (`tests/format/metrics.rs`).
pub const ENVOY: &[EnvoyMetric] = &[
    of_envoy("envoy_cluster_upstream_rq_total", OF_A_CLUSTER),
    of_envoy(
        "envoy_cluster_upstream_rq_xx",
        &["envoy_cluster_name", "envoy_response_code_class"],
    ),
    EnvoyMetric {
        name: "envoy_cluster_upstream_rq_time",
        is_histogram: true,
        is_gauge: false,
        labels: OF_A_CLUSTER,
    },
    of_envoy("envoy_cluster_upstream_rq_timeout", OF_A_CLUSTER),
    of_envoy("envoy_cluster_upstream_rq_pending_overflow", OF_A_CLUSTER),
    gauge_of_envoy("envoy_cluster_upstream_cx_active", OF_A_CLUSTER),
    of_envoy("envoy_cluster_upstream_cx_connect_fail", OF_A_CLUSTER),
    of_envoy("envoy_cluster_upstream_cx_tx_bytes_total", OF_A_CLUSTER),
    of_envoy("envoy_cluster_upstream_cx_rx_bytes_total", OF_A_CLUSTER),
    gauge_of_envoy("envoy_cluster_membership_total", OF_A_CLUSTER),
    gauge_of_envoy("envoy_cluster_membership_healthy", OF_A_CLUSTER),
    gauge_of_envoy("envoy_server_live", &[]),
    gauge_of_envoy("envoy_server_memory_allocated", &[]),
    gauge_of_envoy("envoy_control_plane_connected_state", &[]),
    of_envoy("envoy_listener_manager_lds_update_rejected", &[]),
    of_envoy("envoy_cluster_manager_cds_update_rejected", &[]),
];

/// Labels of Kmesh's series, by what their names begin with and the switch that they need: Kmesh's source, 1.0 to 1.2.
pub const KMESH_LABELS: &[(&str, Option<Switch>, &[&str])] = &[
    ("kmesh_tcp_", Some(Switch::Monitoring), &KMESH_SERVICE),
    ("kmesh_tcp_", Some(Switch::WorkloadMetrics), &KMESH_WORKLOAD),
    ("kmesh_tcp_", Some(Switch::ConnectionMetrics), &KMESH_CONNECTION),
    ("kmesh_bpf_prog_", None, &["node_name", "operation_type"]),
    ("kmesh_map_entry_", None, &["node_name", "map_name"]),
    ("kmesh_map_count_", None, &["node_name"]),
];

/// Labels of what is counted by service.
const KMESH_SERVICE: [&str; 23] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
    "destination_service",
    "destination_service_namespace",
    "destination_service_name",
];

/// Labels of what is counted by workload.
const KMESH_WORKLOAD: [&str; 23] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
    "destination_pod_address",
    "destination_pod_namespace",
    "destination_pod_name",
];

/// Labels of what is counted by connection.
const KMESH_CONNECTION: [&str; 23] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
    "start_time",
    "source_address",
    "destination_address",
];

/// Metrics of a preset.
pub const fn preset(preset: SeriesPreset) -> &'static [Metric] {
    match preset {
        SeriesPreset::Istio => ISTIO,
        SeriesPreset::Wavefront => WAVEFRONT,
    }
}

/// Which series an export is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that there are.
    All,
    /// Those of presets, and those of names.
    Some {
        /// Presets, in the order of the spec.
        presets: Vec<SeriesPreset>,
        /// Names; one that ends in `*` stands for all that begin so.
        names: Vec<String>,
    },
}

impl Selection {
    /// What the spec says, or else the default of a mesh: of Istio its standard metrics.
    pub fn of(series: Option<&ExportSeries>, is_istio: bool) -> Self {
        match series {
            Some(series) => Self::Some {
                presets: series.presets.clone(),
                names: series.names.clone(),
            },
            None if is_istio => Self::Some {
                presets: vec![SeriesPreset::Istio],
                names: Vec::new(),
            },
            None => Self::All,
        }
    }

    /// Metrics of its presets, each once.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        if let Self::Some { presets, .. } = self {
            for metric in presets.iter().flat_map(|of| preset(*of)) {
                if !metrics.contains(metric) {
                    metrics.push(*metric);
                }
            }
        }
        metrics
    }

    /// Whether some of it is exported by istiod.
    pub fn needs_istiod(&self) -> bool {
        let of_istiod = |metric: &Metric| matches!(metric.by, ExportedBy::Istiod | ExportedBy::EachProcess);
        self.metrics().iter().any(of_istiod)
    }

    /// Regular expressions of the names, without anchors: each matches a whole name. `None`: all names.
    pub fn regexes(&self) -> Option<Vec<String>> {
        self.regexes_of(|_| true)
    }

    /// The same for the metrics that `is_meant`, and for the names.
    pub fn regexes_of(&self, is_meant: impl Fn(&Metric) -> bool) -> Option<Vec<String>> {
        let Self::Some { names, .. } = self else { return None };
        let metrics = self.metrics().into_iter().filter(is_meant).map(|metric| {
            let ending = if metric.is_histogram { "_(bucket|count|sum)" } else { "" };
            format!("{}{ending}", metric.name)
        });
        let names = names.iter().map(|name| match name.strip_suffix('*') {
            Some(start) => format!("{start}.*"),
            None => name.clone(),
        });
        Some(metrics.chain(names).collect())
    }

    /// Globs of the names as Wavefront's collector has them: with dots, and with an ending that tells the type. `None`: all.
    pub fn globs(&self) -> Option<Vec<String>> {
        let Self::Some { presets, names } = self else {
            return None;
        };
        let mut globs: Vec<String> = Vec::new();
        for of in presets {
            globs.extend(match of {
                SeriesPreset::Wavefront => WAVEFRONT_GLOBS.iter().map(|glob| (*glob).to_owned()).collect(),
                SeriesPreset::Istio => ISTIO.iter().map(|metric| dotted(metric.name)).collect::<Vec<_>>(),
            });
        }
        globs.extend(names.iter().map(|name| dotted(name.trim_end_matches('*'))));
        let mut seen = std::collections::BTreeSet::new();
        globs.retain(|glob| seen.insert(glob.clone()));
        Some(globs)
    }
}

/// A name with dots, and whatever follows.
fn dotted(name: &str) -> String {
    format!("{}.*", name.replace('_', ".").trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The collector joins globs as `{a,b}` and lets everything through when that does not compile.
    #[test]
    fn no_glob_of_a_preset_could_switch_the_list_off() {
        let selection = Selection::Some {
            presets: vec![SeriesPreset::Istio, SeriesPreset::Wavefront],
            names: vec!["envoy_cluster_*".into(), "up".into()],
        };
        let globs = selection.globs().unwrap();
        assert!(globs.contains(&"envoy.cluster.*".to_owned()), "{globs:?}");
        let plain = |c: char| c.is_ascii_alphanumeric() || ".*?-_".contains(c);
        assert!(globs.iter().all(|glob| glob.chars().all(plain)), "{globs:?}");
    }

    #[test]
    fn a_histogram_is_three_series_and_a_preset_beside_another_adds_each_metric_once() {
        let both = Selection::Some {
            presets: vec![SeriesPreset::Istio, SeriesPreset::Wavefront],
            names: vec!["envoy_*".into()],
        };
        let regexes = both.regexes().unwrap();
        assert!(regexes.contains(&"istio_request_bytes_(bucket|count|sum)".to_owned()));
        assert!(regexes.contains(&"envoy_.*".to_owned()));
        assert_eq!(
            regexes.iter().filter(|regex| *regex == "istio_requests_total").count(),
            1
        );
    }
}
