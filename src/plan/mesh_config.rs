//! Writes the ConfigMap that istiod merges below its own MeshConfig.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::control_plane::later;
use super::owned::{is_ours, may_be_adopted};
use super::snapshot::{Fact, Key, Kind, ProviderUse, View};
use super::telemetries::uid_of;
use super::{Delete, Plan, Target, WriteRules, not_ours, plan_object};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::ObservabilityMesh;
use crate::policy::claims::{check_tracing_backend, check_traffic_log};
use crate::policy::membership::{is_live, istio_of, name_of, shared_map_of};
use crate::render::istio::mesh_config::shared_map;
use crate::render::istio::provider::Provider;

/// Plans it: every provider that a policy needs, and those that a live Telemetry still names or named a moment ago.
pub fn plan(view: &View<'_>, map: &Key) -> Plan {
    let mut plan = Plan::default();
    let live = match writable(view, map) {
        Ok(live) => live,
        Err(finding) => {
            plan.blocked.push((map.clone(), finding));
            return plan;
        }
    };
    let meshes = meshes_of_map(view, map);
    let mut wanted: BTreeMap<String, Value> = needed_providers(view, &meshes)
        .into_iter()
        .map(|p| (p.name, p.entry))
        .collect();
    for (name, seen) in view.providers(map).filter(|(name, _)| name.starts_with("sightline-")) {
        if wanted.contains_key(name) {
            continue;
        }
        let stays = match view.provider_use(name) {
            ProviderUse::InUse => true,
            ProviderUse::UnusedSince(since) => {
                let goes = later(
                    since.unwrap_or(seen.since).max(seen.since),
                    view.timings.provider_linger,
                );
                if goes > view.now {
                    plan.look_again_at(goes);
                }
                goes > view.now
            }
        };
        if stays {
            wanted.insert(name.clone(), seen.entry.clone());
        }
    }
    if !meshes.iter().any(|mesh| is_live(mesh)) && wanted.is_empty() {
        if let Some(live) = live.filter(|live| is_ours(live)) {
            plan.delete.push(Delete {
                kind: Kind::ConfigMap,
                key: map.clone(),
                uid: uid_of(live),
            });
        }
        return plan;
    }
    let object = match shared_map(map, &wanted) {
        Ok(object) => object,
        Err(error) => {
            let finding = Finding::fails(ConditionType::Programmed, Reason::InvalidSpec, error.to_string());
            plan.blocked.push((map.clone(), finding));
            return plan;
        }
    };
    let tell: Vec<Target> = meshes
        .iter()
        .map(|mesh| Target::Mesh(name_of(mesh).to_owned()))
        .collect();
    let rules = WriteRules {
        adopt: false,
        how_to_adopt: None,
        wholly_ours: &["/data"],
        tell: &tell,
    };
    plan_object(&mut plan, Kind::ConfigMap, object, live, &rules);
    hold_back(view, map, live, &mut plan);
    plan
}

/// The live map, if there is one and we may write it; else the finding of `Programmed`.
pub fn writable<'a>(view: &View<'a>, map: &Key) -> Result<Option<&'a Value>, Finding> {
    match view.object(Kind::ConfigMap, map) {
        Fact::Present(live) if is_ours(live) || may_be_adopted(live) => Ok(Some(live)),
        Fact::Present(_) => Err(not_ours(Kind::ConfigMap, map, None)),
        Fact::Absent | Fact::KindMissing => Ok(None),
        Fact::Forbidden => {
            let message = format!("Sightline may not read ConfigMap {map}; install the Role of config/rbac there.");
            Err(Finding::fails(ConditionType::Programmed, Reason::Forbidden, message))
        }
        Fact::Unknown => {
            let message = format!("ConfigMap {map} has not been read yet.");
            Err(Finding::unknown(
                ConditionType::Programmed,
                Reason::FactsPending,
                message,
            ))
        }
    }
}

/// Every write makes istiod push to every proxy: the next one waits. The first, which makes the map, does not; nor does
/// one that puts an edit back.
fn hold_back(view: &View<'_>, map: &Key, live: Option<&Value>, plan: &mut Plan) {
    let next = view.map_written(map).map(|at| later(at, view.timings.map_interval));
    let edited = !plan.events.is_empty();
    if let Some(next) = next.filter(|next| *next > view.now && live.is_some() && !edited && !plan.apply.is_empty()) {
        plan.apply.clear();
        plan.look_again_at(next);
    }
}

/// The Istio meshes, dying ones included, that share a map.
fn meshes_of_map<'a>(view: &View<'a>, map: &Key) -> Vec<&'a Arc<ObservabilityMesh>> {
    view.meshes()
        .filter(|mesh| istio_of(mesh).is_some_and(|istio| shared_map_of(&istio) == *map))
        .collect()
}

/// The providers that the policies of these meshes need, each once.
fn needed_providers(view: &View<'_>, meshes: &[&Arc<ObservabilityMesh>]) -> Vec<Provider> {
    let ours =
        |mesh: Option<&Arc<ObservabilityMesh>>| mesh.is_some_and(|m| meshes.iter().any(|o| name_of(o) == name_of(m)));
    let mut providers = Vec::new();
    for (key, log) in view
        .traffic_logs()
        .filter(|(_, log)| log.metadata.deletion_timestamp.is_none())
    {
        let checked = check_traffic_log(view, key, log);
        if ours(checked.mesh) {
            providers.extend(checked.providers);
        }
    }
    for (key, tracing) in view
        .tracing_backends()
        .filter(|(_, t)| t.metadata.deletion_timestamp.is_none())
    {
        let checked = check_tracing_backend(view, key, tracing);
        if ours(checked.mesh) {
            providers.extend(checked.providers);
        }
    }
    providers
}

/// How many providers the policies of one mesh need.
pub fn provider_count(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> usize {
    let providers = needed_providers(view, &[mesh]);
    providers
        .into_iter()
        .map(|p| p.name)
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}
