//! The dashboards.

use super::{Chart, Choice, Dashboard, Is, Quantile, Query, Reader, Series, Shows, Unit};
use crate::crds::MeshType;

/// Every dashboard.
pub const DASHBOARDS: &[Dashboard] = &[ISTIO_MESH, ISTIO_WORKLOAD, KMESH, KUMA, WAVEFRONT];

type Labels = &'static [&'static str];
type Matching = &'static [(&'static str, Is)];

const fn chart(title: &'static str, unit: Unit, queries: &'static [Query]) -> Chart {
    Chart { title, unit, queries }
}

const fn of(metric: &'static str, matching: Matching) -> Series {
    Series { metric, matching }
}

const fn rate(name: &'static str, series: Series, by: Labels) -> Query {
    let shows = Shows::Rate(series);
    Query { name, shows, by }
}

const fn share(part: Series, whole: Series, by: Labels) -> Query {
    let shows = Shows::Share(part, whole);
    Query { name: "", shows, by }
}

const fn quantile(quantile: Quantile, series: Series, by: Labels) -> Query {
    let name = match quantile {
        Quantile::P50 => "p50",
        Quantile::P90 => "p90",
        Quantile::P99 => "p99",
    };
    let shows = Shows::Quantile(quantile, series);
    Query { name, shows, by }
}

/// The query under another name.
const fn named(name: &'static str, query: Query) -> Query {
    Query {
        name,
        shows: query.shows,
        by: query.by,
    }
}

const fn buckets(metric: &'static str) -> Query {
    let shows = Shows::Buckets(of(metric, &[]));
    Query {
        name: "",
        shows,
        by: &[],
    }
}

const fn sum(name: &'static str, series: Series, by: Labels) -> Query {
    let shows = Shows::Sum(series);
    Query { name, shows, by }
}

const fn highest(name: &'static str, metric: &'static str) -> Query {
    let shows = Shows::Highest(of(metric, &[]));
    Query { name, shows, by: &[] }
}

const fn slope(name: &'static str, series: Series, by: Labels) -> Query {
    let shows = Shows::Slope(series);
    Query { name, shows, by }
}

/// Of a metric of istiod's, all of it.
const fn of_istiod(name: &'static str, metric: &'static str) -> Query {
    rate(name, of(metric, &[]), &[])
}

// Each request is reported by both proxies: one side is counted. A waypoint reports alone, under a name of its own.
const CLIENT: (&str, Is) = ("reporter", Is::AnyOf(&["source", "waypoint"]));
const SERVER: (&str, Is) = ("reporter", Is::AnyOf(&["destination", "waypoint"]));
const NO_SERVER_ERROR: (&str, Is) = ("response_code", Is::NotStarting("5"));
const SERVER_ERROR: (&str, Is) = ("response_code", Is::Starting("5"));
const CLIENT_ERROR: (&str, Is) = ("response_code", Is::Starting("4"));

const TO_WORKLOAD: Labels = &["destination_workload", "destination_workload_namespace"];
const FROM_WORKLOAD: Labels = &["source_workload", "source_workload_namespace"];

const REQUESTS: &str = "istio_requests_total";
const DURATION: &str = "istio_request_duration_milliseconds";

const ISTIO_MESH: Dashboard = Dashboard {
    name: "istio-mesh",
    title: "Istio mesh",
    needs: "Istio's standard metrics, as its clients report them, and istiod's: an export of type `ScrapeConfig` with the \
            preset `Wavefront`, or a `PodMonitor` and a `ServiceMonitor`.",
    mesh: MeshType::Istio,
    reader: Reader::Grafana,
    choices: &[],
    charts: &[
        chart(
            "Requests",
            Unit::PerSecond,
            &[
                rate("all", of(REQUESTS, &[CLIENT]), &[]),
                rate("4xx", of(REQUESTS, &[CLIENT, CLIENT_ERROR]), &[]),
                rate("5xx", of(REQUESTS, &[CLIENT, SERVER_ERROR]), &[]),
            ],
        ),
        chart(
            "Requests without a server error",
            Unit::Share,
            &[share(
                of(REQUESTS, &[CLIENT, NO_SERVER_ERROR]),
                of(REQUESTS, &[CLIENT]),
                &[],
            )],
        ),
        chart(
            "Requests by workload",
            Unit::PerSecond,
            &[rate("", of(REQUESTS, &[CLIENT]), TO_WORKLOAD)],
        ),
        chart(
            "Requests without a server error by workload",
            Unit::Share,
            &[share(
                of(REQUESTS, &[CLIENT, NO_SERVER_ERROR]),
                of(REQUESTS, &[CLIENT]),
                TO_WORKLOAD,
            )],
        ),
        chart(
            "Duration of requests by workload",
            Unit::Milliseconds,
            &[
                quantile(Quantile::P50, of(DURATION, &[CLIENT]), TO_WORKLOAD),
                quantile(Quantile::P99, of(DURATION, &[CLIENT]), TO_WORKLOAD),
            ],
        ),
        chart(
            "Bytes over TCP by workload",
            Unit::BytesPerSecond,
            &[
                rate("sent", of("istio_tcp_sent_bytes_total", &[CLIENT]), TO_WORKLOAD),
                rate("received", of("istio_tcp_received_bytes_total", &[CLIENT]), TO_WORKLOAD),
            ],
        ),
        chart(
            "Istio's versions",
            Unit::Count,
            &[sum("", of("istio_build", &[]), &["component", "tag"])],
        ),
        chart(
            "istiod: pushes",
            Unit::PerSecond,
            &[rate("", of("pilot_xds_pushes", &[]), &["type"])],
        ),
        chart(
            "istiod: until proxies have a change, in seconds",
            Unit::Count,
            &[
                quantile(Quantile::P50, of("pilot_proxy_convergence_time", &[]), &[]),
                quantile(Quantile::P99, of("pilot_proxy_convergence_time", &[]), &[]),
            ],
        ),
        chart(
            "istiod: configuration that proxies refuse, and conflicts",
            Unit::Count,
            &[
                rate("refused per second", of("pilot_total_xds_rejects", &[]), &["type"]),
                highest("conflicts inbound", "pilot_conflict_inbound_listener"),
                highest(
                    "conflicts outbound",
                    "pilot_conflict_outbound_listener_tcp_over_current_tcp",
                ),
            ],
        ),
    ],
};

const NAMESPACE: &str = "namespace";
const WORKLOAD: &str = "workload";
/// The chosen workload answers.
const ANSWERS: [(&str, Is); 3] = [
    SERVER,
    ("destination_workload_namespace", Is::Chosen(NAMESPACE)),
    ("destination_workload", Is::Chosen(WORKLOAD)),
];
const ANSWERS_WELL: [(&str, Is); 4] = [ANSWERS[0], ANSWERS[1], ANSWERS[2], NO_SERVER_ERROR];
/// The chosen workload asks.
const ASKS: [(&str, Is); 3] = [
    ("reporter", Is::AnyOf(&["source"])),
    ("source_workload_namespace", Is::Chosen(NAMESPACE)),
    ("source_workload", Is::Chosen(WORKLOAD)),
];
const ASKS_WELL: [(&str, Is); 4] = [ASKS[0], ASKS[1], ASKS[2], NO_SERVER_ERROR];

const ISTIO_WORKLOAD: Dashboard = Dashboard {
    name: "istio-workload",
    title: "Istio workload",
    needs: "Istio's standard metrics: an export of type `PodMonitor` or `ScrapeConfig`.",
    mesh: MeshType::Istio,
    reader: Reader::Grafana,
    choices: &[
        Choice {
            name: NAMESPACE,
            label: "destination_workload_namespace",
            of: REQUESTS,
        },
        Choice {
            name: WORKLOAD,
            label: "destination_workload",
            of: REQUESTS,
        },
    ],
    charts: &[
        chart(
            "Requests that it gets, by client and code",
            Unit::PerSecond,
            &[rate(
                "",
                of(REQUESTS, &ANSWERS),
                &["source_workload", "source_workload_namespace", "response_code"],
            )],
        ),
        chart(
            "Requests that it answers without a server error",
            Unit::Share,
            &[share(
                of(REQUESTS, &ANSWERS_WELL),
                of(REQUESTS, &ANSWERS),
                FROM_WORKLOAD,
            )],
        ),
        chart(
            "Duration of requests that it gets",
            Unit::Milliseconds,
            &[
                quantile(Quantile::P50, of(DURATION, &ANSWERS), &[]),
                quantile(Quantile::P90, of(DURATION, &ANSWERS), &[]),
                quantile(Quantile::P99, of(DURATION, &ANSWERS), &[]),
            ],
        ),
        chart(
            "Failures of what it gets, by flags",
            Unit::PerSecond,
            &[rate(
                "",
                of(
                    REQUESTS,
                    &[
                        ANSWERS[0],
                        ANSWERS[1],
                        ANSWERS[2],
                        ("response_flags", Is::NotStarting("-")),
                    ],
                ),
                &["response_flags"],
            )],
        ),
        chart(
            "Sizes of what it gets and answers",
            Unit::Bytes,
            &[
                named(
                    "got, p90",
                    quantile(
                        Quantile::P90,
                        of("istio_request_bytes", &ANSWERS),
                        &["request_protocol"],
                    ),
                ),
                named(
                    "answered, p90",
                    quantile(
                        Quantile::P90,
                        of("istio_response_bytes", &ANSWERS),
                        &["request_protocol"],
                    ),
                ),
            ],
        ),
        chart(
            "Security of what it gets",
            Unit::PerSecond,
            &[rate("", of(REQUESTS, &ANSWERS), &["connection_security_policy"])],
        ),
        chart(
            "Requests that it sends, by service and code",
            Unit::PerSecond,
            &[rate("", of(REQUESTS, &ASKS), &["destination_service", "response_code"])],
        ),
        chart(
            "Requests that it sends without a server error",
            Unit::Share,
            &[share(
                of(REQUESTS, &ASKS_WELL),
                of(REQUESTS, &ASKS),
                &["destination_service"],
            )],
        ),
        chart(
            "Duration of requests that it sends",
            Unit::Milliseconds,
            &[
                quantile(Quantile::P50, of(DURATION, &ASKS), &["destination_service"]),
                quantile(Quantile::P99, of(DURATION, &ASKS), &["destination_service"]),
            ],
        ),
        chart(
            "Messages of gRPC that it gets and answers",
            Unit::PerSecond,
            &[
                rate("gets", of("istio_request_messages_total", &ANSWERS), FROM_WORKLOAD),
                rate("answers", of("istio_response_messages_total", &ANSWERS), FROM_WORKLOAD),
            ],
        ),
        chart(
            "Connections over TCP that it gets",
            Unit::PerSecond,
            &[
                rate(
                    "opened",
                    of("istio_tcp_connections_opened_total", &ANSWERS),
                    FROM_WORKLOAD,
                ),
                rate(
                    "closed",
                    of("istio_tcp_connections_closed_total", &ANSWERS),
                    FROM_WORKLOAD,
                ),
            ],
        ),
        chart(
            "Bytes over TCP that it gets and answers",
            Unit::BytesPerSecond,
            &[
                rate("gets", of("istio_tcp_received_bytes_total", &ANSWERS), FROM_WORKLOAD),
                rate("answers", of("istio_tcp_sent_bytes_total", &ANSWERS), FROM_WORKLOAD),
            ],
        ),
    ],
};

// Both daemons report a connection, as Istio's proxies do.
const KMESH_SERVER: (&str, Is) = ("reporter", Is::AnyOf(&["destination"]));
const KMESH_SERVICE: Labels = &["destination_service_name", "destination_service_namespace"];
const KMESH_CHOSEN: Matching = &[KMESH_SERVER, ("destination_service_namespace", Is::Chosen(NAMESPACE))];
const KMESH_WORKLOAD: Matching = &[KMESH_SERVER, ("destination_pod_namespace", Is::Chosen(NAMESPACE))];
const KMESH_PEERS: Labels = &["source_workload", "destination_workload"];

const KMESH: Dashboard = Dashboard {
    name: "kmesh",
    title: "Kmesh",
    needs: "Series of Kmesh's daemons: an export of type `PodMonitor` or `ScrapeConfig` of a mesh of type Kmesh. The charts by \
            workload need `metrics.kmesh.workload: true`.",
    mesh: MeshType::Kmesh,
    reader: Reader::Grafana,
    choices: &[Choice {
        name: NAMESPACE,
        label: "destination_service_namespace",
        of: "kmesh_tcp_connections_opened_total",
    }],
    charts: &[
        chart(
            "Connections by service",
            Unit::PerSecond,
            &[
                slope(
                    "opened",
                    of("kmesh_tcp_connections_opened_total", KMESH_CHOSEN),
                    KMESH_SERVICE,
                ),
                slope(
                    "closed",
                    of("kmesh_tcp_connections_closed_total", KMESH_CHOSEN),
                    KMESH_SERVICE,
                ),
            ],
        ),
        chart(
            "Bytes by service",
            Unit::BytesPerSecond,
            &[
                slope("sent", of("kmesh_tcp_sent_bytes_total", KMESH_CHOSEN), KMESH_SERVICE),
                slope(
                    "received",
                    of("kmesh_tcp_received_bytes_total", KMESH_CHOSEN),
                    KMESH_SERVICE,
                ),
            ],
        ),
        chart(
            "Connections by workload",
            Unit::PerSecond,
            &[
                slope(
                    "opened",
                    of("kmesh_tcp_workload_connections_opened_total", KMESH_WORKLOAD),
                    KMESH_PEERS,
                ),
                slope(
                    "closed",
                    of("kmesh_tcp_workload_connections_closed_total", KMESH_WORKLOAD),
                    KMESH_PEERS,
                ),
            ],
        ),
        chart(
            "Bytes by workload",
            Unit::BytesPerSecond,
            &[
                slope(
                    "sent",
                    of("kmesh_tcp_workload_sent_bytes_total", KMESH_WORKLOAD),
                    KMESH_PEERS,
                ),
                slope(
                    "received",
                    of("kmesh_tcp_workload_received_bytes_total", KMESH_WORKLOAD),
                    KMESH_PEERS,
                ),
            ],
        ),
        chart(
            "Packets lost and sent again by workload",
            Unit::PerSecond,
            &[
                slope("lost", of("kmesh_tcp_packet_loss_total", KMESH_WORKLOAD), KMESH_PEERS),
                slope("sent again", of("kmesh_tcp_retrans_total", KMESH_WORKLOAD), KMESH_PEERS),
            ],
        ),
        chart(
            "Maps of the kernel by node",
            Unit::Count,
            &[sum("", of("kmesh_map_count_total", &[]), &["node_name"])],
        ),
        chart(
            "Entries of maps",
            Unit::Count,
            &[sum("", of("kmesh_map_entry_count", &[]), &["node_name", "map_name"])],
        ),
    ],
};

const CLUSTER: &str = "cluster";
const CHOSEN_CLUSTER: (&str, Is) = ("envoy_cluster_name", Is::Chosen(CLUSTER));
const TO_CLUSTER: Matching = &[CHOSEN_CLUSTER];
const BY_CLUSTER: Labels = &["envoy_cluster_name"];

const KUMA: Dashboard = Dashboard {
    name: "kuma",
    title: "Kuma",
    needs: "Series of Kuma's proxies, as Envoy names them: an export of type `PodMonitor` or `ScrapeConfig` of a mesh of type \
            Kuma, whose `metrics.kuma.profile` is All.",
    mesh: MeshType::Kuma,
    reader: Reader::Grafana,
    choices: &[Choice {
        name: CLUSTER,
        label: "envoy_cluster_name",
        of: "envoy_cluster_upstream_rq_total",
    }],
    charts: &[
        chart(
            "Requests by cluster and class of their code",
            Unit::PerSecond,
            &[rate(
                "",
                of("envoy_cluster_upstream_rq_xx", TO_CLUSTER),
                &["envoy_cluster_name", "envoy_response_code_class"],
            )],
        ),
        chart(
            "Requests without a server error by cluster",
            Unit::Share,
            &[share(
                of(
                    "envoy_cluster_upstream_rq_xx",
                    &[CHOSEN_CLUSTER, ("envoy_response_code_class", Is::NotStarting("5"))],
                ),
                of("envoy_cluster_upstream_rq_xx", TO_CLUSTER),
                BY_CLUSTER,
            )],
        ),
        chart(
            "Duration of requests by cluster",
            Unit::Milliseconds,
            &[
                quantile(
                    Quantile::P50,
                    of("envoy_cluster_upstream_rq_time", TO_CLUSTER),
                    BY_CLUSTER,
                ),
                quantile(
                    Quantile::P99,
                    of("envoy_cluster_upstream_rq_time", TO_CLUSTER),
                    BY_CLUSTER,
                ),
            ],
        ),
        chart(
            "Connections by cluster",
            Unit::Count,
            &[sum("", of("envoy_cluster_upstream_cx_active", TO_CLUSTER), BY_CLUSTER)],
        ),
        chart(
            "Connections and requests that fail by cluster",
            Unit::PerSecond,
            &[
                rate(
                    "no connection",
                    of("envoy_cluster_upstream_cx_connect_fail", TO_CLUSTER),
                    BY_CLUSTER,
                ),
                rate(
                    "no room",
                    of("envoy_cluster_upstream_rq_pending_overflow", TO_CLUSTER),
                    BY_CLUSTER,
                ),
                rate(
                    "timeout",
                    of("envoy_cluster_upstream_rq_timeout", TO_CLUSTER),
                    BY_CLUSTER,
                ),
            ],
        ),
        chart(
            "Bytes by cluster",
            Unit::BytesPerSecond,
            &[
                rate(
                    "sent",
                    of("envoy_cluster_upstream_cx_tx_bytes_total", TO_CLUSTER),
                    BY_CLUSTER,
                ),
                rate(
                    "received",
                    of("envoy_cluster_upstream_cx_rx_bytes_total", TO_CLUSTER),
                    BY_CLUSTER,
                ),
            ],
        ),
        chart(
            "Hosts of clusters",
            Unit::Count,
            &[
                sum("all", of("envoy_cluster_membership_total", TO_CLUSTER), BY_CLUSTER),
                sum(
                    "healthy",
                    of("envoy_cluster_membership_healthy", TO_CLUSTER),
                    BY_CLUSTER,
                ),
            ],
        ),
        chart(
            "Proxies, and those that the control plane reaches",
            Unit::Count,
            &[
                sum("live", of("envoy_server_live", &[]), &["namespace"]),
                sum(
                    "connected",
                    of("envoy_control_plane_connected_state", &[]),
                    &["namespace"],
                ),
            ],
        ),
        chart(
            "Configuration that proxies refuse",
            Unit::PerSecond,
            &[
                rate(
                    "listeners",
                    of("envoy_listener_manager_lds_update_rejected", &[]),
                    &["pod"],
                ),
                rate(
                    "clusters",
                    of("envoy_cluster_manager_cds_update_rejected", &[]),
                    &["pod"],
                ),
            ],
        ),
        chart(
            "Memory of proxies",
            Unit::Bytes,
            &[sum("", of("envoy_server_memory_allocated", &[]), &["namespace", "pod"])],
        ),
    ],
};

// What the recording rules leave: `reporter` is one of the two, as no waypoint is scraped by the integration.
const FEDERATED: (&str, Is) = ("reporter", Is::AnyOf(&["destination"]));

/// The data plane and the control plane, as Wavefront's integration has them.
const WAVEFRONT: Dashboard = Dashboard {
    name: "wavefront-istio",
    title: "Wavefront: Istio",
    needs: "The sample [wavefront-istio](../../config/samples/wavefront-istio.yaml) beside \
            [prometheus-federation](../../config/samples/prometheus-federation.yaml): names end in `.value` since what is \
            federated has no type, and percentiles are recorded. Enter a query in a chart of Wavefront's as it stands.",
    mesh: MeshType::Istio,
    reader: Reader::Wavefront,
    choices: &[],
    charts: &[
        chart(
            "Requests",
            Unit::PerSecond,
            &[rate("", of(REQUESTS, &[FEDERATED]), &[])],
        ),
        chart(
            "Requests by workload",
            Unit::PerSecond,
            &[rate("", of(REQUESTS, &[FEDERATED]), TO_WORKLOAD)],
        ),
        chart(
            "Requests without a server error",
            Unit::Share,
            &[share(
                of(REQUESTS, &[FEDERATED, NO_SERVER_ERROR]),
                of(REQUESTS, &[FEDERATED]),
                &[],
            )],
        ),
        chart(
            "Errors by code and workload",
            Unit::PerSecond,
            &[
                rate("4xx", of(REQUESTS, &[FEDERATED, CLIENT_ERROR]), TO_WORKLOAD),
                rate("5xx", of(REQUESTS, &[FEDERATED, SERVER_ERROR]), TO_WORKLOAD),
            ],
        ),
        chart(
            "Duration of requests by workload",
            Unit::Milliseconds,
            &[
                quantile(Quantile::P50, of(DURATION, &[FEDERATED]), TO_WORKLOAD),
                quantile(Quantile::P90, of(DURATION, &[FEDERATED]), TO_WORKLOAD),
                quantile(Quantile::P99, of(DURATION, &[FEDERATED]), TO_WORKLOAD),
            ],
        ),
        chart(
            "Sizes by workload",
            Unit::Bytes,
            &[
                named(
                    "got, p90",
                    quantile(Quantile::P90, of("istio_request_bytes", &[FEDERATED]), TO_WORKLOAD),
                ),
                named(
                    "answered, p90",
                    quantile(Quantile::P90, of("istio_response_bytes", &[FEDERATED]), TO_WORKLOAD),
                ),
            ],
        ),
        chart(
            "Bytes over TCP by workload",
            Unit::BytesPerSecond,
            &[
                rate("sent", of("istio_tcp_sent_bytes_total", &[FEDERATED]), TO_WORKLOAD),
                rate(
                    "received",
                    of("istio_tcp_received_bytes_total", &[FEDERATED]),
                    TO_WORKLOAD,
                ),
            ],
        ),
        chart(
            "Connections over TCP by workload",
            Unit::PerSecond,
            &[
                rate(
                    "opened",
                    of("istio_tcp_connections_opened_total", &[FEDERATED]),
                    TO_WORKLOAD,
                ),
                rate(
                    "closed",
                    of("istio_tcp_connections_closed_total", &[FEDERATED]),
                    TO_WORKLOAD,
                ),
            ],
        ),
        chart(
            "Istio's versions",
            Unit::Count,
            &[sum("", of("istio_build", &[]), &["component", "tag"])],
        ),
        chart(
            "istiod: what it knows",
            Unit::Count,
            &[
                highest("services", "pilot_services"),
                highest("virtual services", "pilot_virt_services"),
            ],
        ),
        chart(
            "istiod: pushes",
            Unit::PerSecond,
            &[rate("", of("pilot_xds_pushes", &[]), &["type"])],
        ),
        chart(
            "istiod: until proxies have a change, by seconds",
            Unit::PerSecond,
            &[buckets("pilot_proxy_convergence_time")],
        ),
        chart(
            "istiod: time in the queue, by seconds",
            Unit::PerSecond,
            &[buckets("pilot_proxy_queue_time")],
        ),
        chart(
            "istiod: configuration that proxies refuse",
            Unit::Count,
            &[
                of_istiod("all, per second", "pilot_total_xds_rejects"),
                highest("clusters", "pilot_xds_cds_reject"),
                highest("endpoints", "pilot_xds_eds_reject"),
                highest("listeners", "pilot_xds_lds_reject"),
                highest("routes", "pilot_xds_rds_reject"),
            ],
        ),
        chart(
            "istiod: errors",
            Unit::PerSecond,
            &[
                of_istiod("internal", "pilot_total_xds_internal_errors"),
                of_istiod("timeouts of writes", "pilot_xds_write_timeout"),
            ],
        ),
        chart(
            "istiod: conflicts of listeners",
            Unit::Count,
            &[
                highest("inbound", "pilot_conflict_inbound_listener"),
                highest("outbound", "pilot_conflict_outbound_listener_tcp_over_current_tcp"),
            ],
        ),
        chart(
            "istiod: checks of configuration",
            Unit::PerSecond,
            &[
                of_istiod("passed", "galley_validation_passed"),
                of_istiod("failed", "galley_validation_failed"),
                of_istiod("errors of HTTP", "galley_validation_http_error"),
                of_istiod("updates", "galley_validation_config_updates"),
                of_istiod("failed updates", "galley_validation_config_update_error"),
                of_istiod("failed loads", "galley_validation_config_load_error"),
            ],
        ),
        chart(
            "istiod: certificates",
            Unit::PerSecond,
            &[
                of_istiod("asked for", "citadel_server_csr_count"),
                of_istiod("issued", "citadel_server_success_cert_issuance_count"),
            ],
        ),
        chart(
            "CPU, in cores",
            Unit::Count,
            &[rate("", of("process_cpu_seconds_total", &[]), &["pod"])],
        ),
        chart(
            "Memory",
            Unit::Bytes,
            &[
                sum("resident", of("process_resident_memory_bytes", &[]), &["pod"]),
                sum("virtual", of("process_virtual_memory_bytes", &[]), &["pod"]),
                sum("allocated", of("go_memstats_alloc_bytes", &[]), &["pod"]),
                sum("heap", of("go_memstats_heap_alloc_bytes", &[]), &["pod"]),
                sum("heap in use", of("go_memstats_heap_inuse_bytes", &[]), &["pod"]),
                sum("heap of the system", of("go_memstats_heap_sys_bytes", &[]), &["pod"]),
                sum("stack in use", of("go_memstats_stack_inuse_bytes", &[]), &["pod"]),
            ],
        ),
        chart(
            "Goroutines",
            Unit::Count,
            &[sum("", of("go_goroutines", &[]), &["pod"])],
        ),
    ],
};
