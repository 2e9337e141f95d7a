//! What a daemon exports for Prometheus, and what that proves. Exports and dashboards are made of this table.

use super::switches::{KmeshVersion, Switch};

/// Port of a daemon's metrics, on all its addresses. No container port is declared for it.
pub const PORT: u16 = 15020;
/// Their path. The pods' annotation `prometheus.io/path` has it without the first slash.
pub const PATH: &str = "/status/metric";
/// How often a daemon brings them up to date.
pub const FLUSH_SECONDS: u64 = 5;

/// A series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name.
    pub name: &'static str,
    /// The switch without which it does not appear; `None`: always there.
    pub switch: Option<Switch>,
    /// The first version that exports it; `None`: none does.
    pub since: Option<KmeshVersion>,
    /// Its type, whatever its name says.
    pub kind: SeriesKind,
}

/// Types of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// A gauge: also where the name ends in `_total`. It starts anew with the daemon; `rate()` reads that as a reset only
    /// of counters.
    Gauge,
    /// Not known: the source tells the name alone.
    Unknown,
}

const V1_0: Option<KmeshVersion> = Some(KmeshVersion::new(1, 0));
const V1_1: Option<KmeshVersion> = Some(KmeshVersion::new(1, 1));

const fn gauge(name: &'static str, switch: Switch, since: Option<KmeshVersion>) -> Series {
    Series {
        name,
        switch: Some(switch),
        since,
        kind: SeriesKind::Gauge,
    }
}

const fn of_daemon(name: &'static str) -> Series {
    Series {
        name,
        switch: None,
        since: V1_0,
        kind: SeriesKind::Unknown,
    }
}

/// Every series that a version of Kmesh declares.
pub const SERIES: &[Series] = &[
    gauge("kmesh_tcp_connections_opened_total", Switch::Monitoring, V1_0),
    gauge("kmesh_tcp_connections_closed_total", Switch::Monitoring, V1_0),
    gauge("kmesh_tcp_received_bytes_total", Switch::Monitoring, V1_0),
    gauge("kmesh_tcp_sent_bytes_total", Switch::Monitoring, V1_0),
    // Declared with this slip of the pen, and never registered.
    gauge("kmesh_tcp_conntections_failed_total", Switch::Monitoring, None),
    gauge(
        "kmesh_tcp_workload_connections_opened_total",
        Switch::WorkloadMetrics,
        V1_0,
    ),
    gauge(
        "kmesh_tcp_workload_connections_closed_total",
        Switch::WorkloadMetrics,
        V1_0,
    ),
    gauge("kmesh_tcp_workload_received_bytes_total", Switch::WorkloadMetrics, V1_0),
    gauge("kmesh_tcp_workload_sent_bytes_total", Switch::WorkloadMetrics, V1_0),
    gauge("kmesh_tcp_retrans_total", Switch::WorkloadMetrics, V1_1),
    gauge("kmesh_tcp_packet_loss_total", Switch::WorkloadMetrics, V1_1),
    gauge(
        "kmesh_tcp_workload_conntections_failed_total",
        Switch::WorkloadMetrics,
        None,
    ),
    gauge("kmesh_tcp_connection_sent_bytes_total", Switch::ConnectionMetrics, V1_1),
    gauge(
        "kmesh_tcp_connection_received_bytes_total",
        Switch::ConnectionMetrics,
        V1_1,
    ),
    gauge(
        "kmesh_tcp_connection_packet_lost_total",
        Switch::ConnectionMetrics,
        V1_1,
    ),
    gauge("kmesh_tcp_connection_retrans_total", Switch::ConnectionMetrics, V1_1),
    of_daemon("kmesh_bpf_prog_operation_duration"),
    of_daemon("kmesh_bpf_prog_operation_count"),
    of_daemon("kmesh_map_entry_count"),
    of_daemon("kmesh_map_count_total"),
];

/// The switches whose series stand in what a daemon exports: what is there was on, and had traffic. The other way round
/// proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    monitoring: bool,
    workload_metrics: bool,
    connection_metrics: bool,
}

impl Evidence {
    /// Takes a line of the exposition.
    pub fn note(&mut self, line: &str) {
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
        let series = SERIES.iter().find(|series| series.name == name);
        match series.and_then(|series| series.switch) {
            Some(Switch::Monitoring) => self.monitoring = true,
            Some(Switch::WorkloadMetrics) => self.workload_metrics = true,
            Some(Switch::ConnectionMetrics) => self.connection_metrics = true,
            Some(Switch::AccessLog) | None => {}
        }
    }

    /// What it proves, as status has it.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.monitoring, Switch::Monitoring),
            (self.workload_metrics, Switch::WorkloadMetrics),
            (self.connection_metrics, Switch::ConnectionMetrics),
        ];
        all.into_iter()
            .filter(|(seen, _)| *seen)
            .map(|(_, switch)| switch.name())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_prove_the_switch_that_they_need_and_comments_prove_nothing() {
        let mut evidence = Evidence::default();
        evidence.note("# HELP kmesh_tcp_workload_sent_bytes_total The size of bytes sent");
        evidence.note("kmesh_map_count_total{node_name=\"a\"} 3");
        assert_eq!(evidence.names(), Vec::<&str>::new());
        evidence.note("kmesh_tcp_workload_sent_bytes_total{reporter=\"source\"} 3");
        evidence.note("kmesh_tcp_sent_bytes_total 3");
        assert_eq!(evidence.names(), ["ServiceMetrics", "WorkloadMetrics"]);
    }

    #[test]
    fn misspelt_series_are_in_the_table_as_what_no_version_exports() {
        let never: Vec<_> = SERIES.iter().filter(|series| series.since.is_none()).collect();
        assert!(never.iter().all(|series| series.name.contains("conntections")));
        assert_eq!(never.len(), 2);
    }
}
