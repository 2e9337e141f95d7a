//! Series that meshes export, as tables, and which of them an export is about.

use crate::crds::{ExportSeries, IstioMetric, SeriesPreset};

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
