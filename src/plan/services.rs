//! Services that the extension providers of a Telemetry send to.
//!
//! istiod finds the cluster of a provider when the Telemetry or MeshConfig changes and keeps it: after a Service was
//! deleted and made again nothing arrives there until somebody touches the Telemetry (istio/istio#56825). An annotation
//! with a digest of their uids is that touch.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::control_plane::later;
use crate::digest;
use crate::policy::membership::{istio_of, maps_of, primary_maps};
use crate::policy::resolve::{ObjectPolicy, SideLogging};
use crate::render::istio::provider::PREFIX;
use crate::render::metadata::SERVICES;
use crate::snapshot::{Fact, Key, Kind, View};

/// A creation time is by the second, rounded down.
const ROUNDING: Duration = Duration::from_secs(1);

/// The annotation's value, and when to look again. While a Service is missing, or so young that istiod may not have seen
/// it, or no MeshConfig that was read so far has the provider, the live object keeps what it has. Files know no uids: then
/// there is none.
pub fn annotation(view: &View<'_>, policy: &ObjectPolicy, live: Option<&Value>) -> (Option<String>, Option<Timestamp>) {
    let mut uids = String::new();
    let as_is = || {
        let annotations = live?.pointer("/metadata/annotations")?;
        annotations.get(SERVICES)?.as_str().map(str::to_owned)
    };
    let Some(services) = named_by(view, policy) else {
        return (as_is(), None);
    };
    for key in services {
        let Fact::Present(service) = view.object(Kind::Service, &key) else {
            return (as_is(), None);
        };
        let text = |pointer| service.pointer(pointer).and_then(Value::as_str);
        let created = text("/metadata/creationTimestamp").and_then(|at| at.parse::<Timestamp>().ok());
        let settled = created.map(|at| later(at, ROUNDING + view.timings.provider_settle));
        if settled.is_some_and(|at| at > view.now) {
            return (as_is(), settled);
        }
        if let Some(uid) = text("/metadata/uid") {
            uids.extend([uid, "\n"]);
        }
    }
    ((!uids.is_empty()).then(|| digest::short(&uids, 12)), None)
}

/// The Services that an object's providers name, by the entries in MeshConfig; `None` where a provider of ours has no
/// entry: the map is still being read (after each start of ours), or about to be put right.
fn named_by(view: &View<'_>, policy: &ObjectPolicy) -> Option<BTreeSet<Key>> {
    let logs = policy.logging.values().filter_map(|logging| match logging {
        SideLogging::To(providers) => Some(providers.keys()),
        SideLogging::Off => None,
    });
    let traces = policy.tracing.iter().map(|claim| &claim.provider);
    let names: BTreeSet<&String> = logs.flatten().chain(traces).collect();
    let istios = policy
        .sources
        .meshes()
        .into_iter()
        .filter_map(|mesh| istio_of(view.mesh(mesh)?));
    // Those that we do not write too: in mode `Verify` somebody else puts the entries there.
    let maps: BTreeSet<Key> = istios
        .flat_map(|istio| {
            maps_of(&istio)
                .into_iter()
                .chain(primary_maps(&istio))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut services = BTreeSet::new();
    for name in names {
        let entries: Vec<_> = maps.iter().filter_map(|map| view.provider(map, name)).collect();
        if entries.is_empty() && name.starts_with(PREFIX) {
            return None;
        }
        services.extend(entries.iter().filter_map(|seen| service_of(&seen.entry)));
    }
    Some(services)
}

/// The Service of a provider's entry: `service: NAMESPACE/NAME.NAMESPACE.svc…`.
fn service_of(entry: &Value) -> Option<Key> {
    let mut members = entry.as_object()?.values();
    let service = members.find_map(|member| member.get("service")?.as_str())?;
    let (namespace, host) = service.split_once('/')?;
    let name = host.split('.').next()?;
    Some(Key::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::policy::claims::Side;
    use crate::snapshot::{Snapshot, Timings};

    #[test]
    fn the_service_of_a_provider_is_in_its_entry_whatever_its_kind() {
        let of = |body: Value| service_of(&json!({"name": "x", "kind": body}));
        let host = "monitoring/tempo.monitoring.svc.cluster.local";
        assert_eq!(
            of(json!({"service": host, "port": 4317})),
            Some(Key::new("monitoring", "tempo"))
        );
        assert_eq!(of(json!({"path": "/dev/stdout"})), None);
    }

    /// After each start of the operator maps are read later than Telemetries.
    #[test]
    fn while_the_entry_of_a_provider_of_ours_is_not_seen_the_live_object_keeps_what_it_has() {
        let logging = |name: &str| ObjectPolicy {
            logging: BTreeMap::from([(
                Side::BOTH[0],
                SideLogging::To(BTreeMap::from([(name.to_owned(), None)])),
            )]),
            ..ObjectPolicy::default()
        };
        let mut live = json!({"metadata": {"annotations": {}}});
        live["metadata"]["annotations"][SERVICES] = json!("digest");
        let snapshot = Snapshot::default();
        let view = View::new(&snapshot, Timestamp::UNIX_EPOCH, Timings::default());
        let of = |name| annotation(&view, &logging(name), Some(&live)).0;
        assert_eq!(of("sightline-otlp-x").as_deref(), Some("digest"));
        assert_eq!(of("envoy"), None, "Istio's own provider sends to no Service");
    }
}
