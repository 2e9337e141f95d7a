//! The operator on a real API server, with the rights that `config/rbac` gives it: from `kubectl apply` to a restarted
//! agent, and back when things are taken away.
//!
//! Each test has a cluster of its own and tells one story, of several rules; its name says which. See [`world`].

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unchecked_time_subtraction,
    reason = "a test that panics fails, which is what it is for, and a story has its length"
)]

#[path = "../support/collector.rs"]
mod collectors;
#[path = "../support/control_plane.rs"]
mod control_plane;
#[path = "../support/elasticsearch.rs"]
mod elasticsearch;
#[path = "../support/envoy.rs"]
mod envoy;
#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
#[path = "../support/matrix.rs"]
mod matrix;
#[path = "../support/operator.rs"]
mod operator;
#[path = "../support/span_receiver.rs"]
mod span_receiver;
#[path = "../support/telemetry.rs"]
mod telemetry;

mod adoption;
mod applier;
mod bad_input;
mod chart;
mod collector;
mod collector_objects;
mod contest;
mod crash;
mod deletion;
mod drift;
mod eject;
mod every_write;
mod explain;
mod faults;
mod foreign;
mod governor;
mod healing;
mod inject;
mod kmesh;
mod kmesh_daemon;
mod kuma;
mod last_good;
mod leader;
mod leftovers;
mod modes;
mod optional_kinds;
mod process;
mod prometheus_operator;
mod rbac;
mod refusals;
mod restarts;
mod samples;
mod scale;
mod scenario;
mod selectors;
mod storage;
mod upgrade;
mod versions;
mod world;
