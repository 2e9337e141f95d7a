//! Whether istiod sees what we write.

use serde_json::Value;

use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{IstioMesh, ObservabilityMesh};
use crate::policy::membership::{name_of, shared_map_of};
use crate::policy::versions::is_istiod;
use crate::render::istio::mesh_config::primary_map;
use crate::render::istio::provider::Provider;
use crate::render::istio::telemetry::BUILT_IN_LOG;
use crate::snapshot::{Fact, Key, Kind, View};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Whether every Ready istiod pod of every revision reads our ConfigMap; else the finding of `Programmed`.
pub fn wired(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh) -> Result<(), Finding> {
    let namespace = &istio.namespace;
    let pods = match view.objects_in(Kind::Pod, namespace) {
        Fact::Present(pods) => pods,
        Fact::Forbidden => {
            let message =
                format!("Sightline may not read Pods in namespace {namespace}; install the Role of config/rbac there.");
            return Err(Finding::unknown(ConditionType::Programmed, Reason::Forbidden, message));
        }
        _ => {
            let message = format!("istiod in namespace {namespace} has not been read yet.");
            return Err(Finding::unknown(
                ConditionType::Programmed,
                Reason::FactsPending,
                message,
            ));
        }
    };
    istio.revisions.iter().try_for_each(|revision| {
        let of_revision = pods.iter().filter(|pod| is_ready_istiod(pod, revision));
        let configs: Vec<Option<&str>> = of_revision.map(|pod| shared_mesh_config(pod)).collect();
        judge_revision(mesh, istio, revision, &configs)
    })
}

fn judge_revision(
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
    revision: &str,
    configs: &[Option<&str>],
) -> Result<(), Finding> {
    let map = shared_map_of(istio);
    let namespace = &istio.namespace;
    if configs.is_empty() {
        let message = format!(
            "No Ready istiod of revision {revision} in namespace {namespace}; correct spec.mesh.istio of ObservabilityMesh {}, or start it.",
            name_of(mesh)
        );
        return Err(Finding::unknown(
            ConditionType::Programmed,
            Reason::ControlPlaneNotVisible,
            message,
        ));
    }
    if let Some(other) = configs.iter().flatten().find(|name| **name != map.name) {
        let message = format!(
            "istiod of revision {revision} has SHARED_MESH_CONFIG={other}, not {}; a map of somebody else cannot be shared: point istiod at {}.",
            map.name, map.name
        );
        return Err(Finding::fails(
            ConditionType::Programmed,
            Reason::SharedConfigTaken,
            message,
        ));
    }
    if configs.iter().any(Option::is_none) {
        let deployment = if revision == "default" {
            "istiod".to_owned()
        } else {
            format!("istiod-{revision}")
        };
        let message = format!(
            "istiod of revision {revision} does not read ConfigMap {map}; run: kubectl -n {namespace} set env deployment/{deployment} SHARED_MESH_CONFIG={} (Helm: pilot.env.SHARED_MESH_CONFIG).",
            map.name
        );
        return Err(Finding::fails(
            ConditionType::Programmed,
            Reason::SharedConfigNotWired,
            message,
        ));
    }
    Ok(())
}

fn is_ready_istiod(pod: &Value, revision: &str) -> bool {
    let ready = pod
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| {
            condition.get("type") == Some(&"Ready".into()) && condition.get("status") == Some(&"True".into())
        });
    ready && is_istiod(pod, revision)
}

fn shared_mesh_config(pod: &Value) -> Option<&str> {
    pod.pointer("/spec/containers")?
        .as_array()?
        .iter()
        .filter_map(|container| container.get("env")?.as_array())
        .flatten()
        .find(|env| env.get("name") == Some(&"SHARED_MESH_CONFIG".into()))
        .and_then(|env| env.get("value")?.as_str())
        .filter(|value| !value.is_empty())
}

/// The finding of `Programmed` while a map of ours has not been read.
pub fn not_read_yet(map: &Key) -> Finding {
    let message = format!("ConfigMap {map} has not been read yet.");
    Finding::unknown(ConditionType::Programmed, Reason::FactsPending, message)
}

/// A provider that a Telemetry may not name yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NotUsable {
    /// The finding of `Programmed`.
    pub finding: Finding,
    /// When to look again, where that is known.
    pub look_again: Option<Timestamp>,
}

/// Whether Telemetries may name these providers: istiod reads our map, and each has stood there long enough (istiod's
/// watches are not ordered). To switch logging off, the built-in provider has to be one of logs.
pub fn usable(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    istio: &IstioMesh,
    providers: &[Provider],
    switches_off: bool,
) -> Result<(), NotUsable> {
    if switches_off && let Some(finding) = built_in_replaced(view, istio) {
        return Err(NotUsable {
            finding,
            look_again: None,
        });
    }
    wired(view, mesh, istio).map_err(|finding| NotUsable {
        finding,
        look_again: None,
    })?;
    let map = shared_map_of(istio);
    if !providers.is_empty() && view.object(Kind::ConfigMap, &map) == Fact::Unknown {
        return Err(NotUsable {
            finding: not_read_yet(&map),
            look_again: None,
        });
    }
    for provider in providers {
        let seen = view
            .provider(&map, &provider.name)
            .filter(|seen| seen.entry == provider.entry);
        let settled = seen.map(|seen| later(seen.since, view.timings.provider_settle));
        if settled.is_none_or(|at| at > view.now) {
            let message = format!(
                "Extension provider {} is not yet in ConfigMap {map}; wait.",
                provider.name
            );
            let finding = Finding::fails(ConditionType::Programmed, Reason::ProviderPending, message);
            return Err(NotUsable {
                finding,
                look_again: settled,
            });
        }
    }
    Ok(())
}

/// The finding that a MeshConfig redefines the provider that switching off needs.
fn built_in_replaced(view: &View<'_>, istio: &IstioMesh) -> Option<Finding> {
    let primaries = istio
        .revisions
        .iter()
        .map(|revision| primary_map(&istio.namespace, revision));
    let mut maps = primaries.chain([shared_map_of(istio)]);
    let map = maps.find(|map| {
        let replaced = view.provider(map, BUILT_IN_LOG);
        replaced.is_some_and(|seen| !LOG_MEMBERS.iter().any(|member| seen.entry.get(member).is_some()))
    })?;
    let message = format!(
        "ConfigMap {map} redefines extension provider {BUILT_IN_LOG} as something that logs nothing: logging cannot be switched off by it. Rename that provider."
    );
    Some(Finding::fails(
        ConditionType::Programmed,
        Reason::BuiltinReplaced,
        message,
    ))
}

/// Members of extension providers that take access logs.
const LOG_MEMBERS: [&str; 4] = ["envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls"];

/// A time and a span after it; the latest time there is where that is past the end of time.
pub fn later(time: Timestamp, span: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| time.checked_add(span).ok())
        .unwrap_or(Timestamp::MAX)
}
