//! Writes the ConfigMap that istiod merges below its own MeshConfig.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::control_plane::later;
use super::effective::sources_of;
use super::owned::{is_ours, may_be_adopted};
use super::telemetries::uid_of;
use super::{Delete, Plan, Target, WriteRules, not_ours, plan_object};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::ObservabilityMesh;
use crate::policy::claims::Checked;
use crate::policy::membership::{is_live, istio_of, name_of, shared_map_of};
use crate::policy::{mesh_wide, tracing_backend, traffic_log};
use crate::render::istio::mesh_config::shared_map;
use crate::render::istio::provider::{PREFIX, Provider};
use crate::snapshot::{Fact, Key, Kind, View};

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
    let wanted = wanted_providers(view, map, &meshes, &mut plan);
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
    hold_back(view, map, live, &wanted, &mut plan);
    plan
}

/// What the map should hold: what policies need, and what a live Telemetry names or named a moment ago.
fn wanted_providers(
    view: &View<'_>,
    map: &Key,
    meshes: &[&Arc<ObservabilityMesh>],
    plan: &mut Plan,
) -> BTreeMap<String, Value> {
    let (needed, complete) = needed_providers(view, meshes);
    let (live, new): (Vec<Provider>, Vec<Provider>) = needed
        .into_iter()
        .partition(|provider| view.provider(map, &provider.name).is_some());
    let mut wanted: BTreeMap<String, Value> = live.into_iter().map(|p| (p.name, p.entry)).collect();
    let lost = view.lost_providers().filter(|(name, _)| is_used(view, name, meshes));
    wanted.extend(lost.map(|(name, entry)| (name.clone(), entry.clone())));
    for (name, seen) in view.providers(map).filter(|(name, _)| name.starts_with(PREFIX)) {
        // While a policy cannot be judged yet, what is there may be what it needs.
        let mut stays = !complete || is_used(view, name, meshes);
        if !stays && !wanted.contains_key(name) {
            let unused = view.provider_unused_since(name).unwrap_or(seen.since).max(seen.since);
            let goes = later(unused, view.timings.provider_linger);
            stays = goes > view.now;
            if stays {
                plan.look_again_at(goes);
            }
        }
        if stays {
            wanted.entry(name.clone()).or_insert_with(|| seen.entry.clone());
        }
    }
    for provider in new {
        if fits(&wanted, &provider) {
            wanted.insert(provider.name, provider.entry);
        }
    }
    wanted
}

/// Most bytes that the entries of a map may have: the API server takes objects of 1 MiB, and one that is too large would
/// keep every new provider of the mesh out.
const MAP_BYTES: usize = 700_000;

fn fits(entries: &BTreeMap<String, Value>, provider: &Provider) -> bool {
    let size = |entry: &Value| entry.to_string().len();
    entries.contains_key(&provider.name)
        || entries.values().map(size).sum::<usize>() + size(&provider.entry) <= MAP_BYTES
}

/// Whether a provider finds no room in its map. Those that are there stay; of the others the first by namespace and name
/// get in.
pub fn is_full_for(view: &View<'_>, map: &Key, provider: &Provider) -> bool {
    let entries = view
        .providers(map)
        .map(|(name, seen)| (name.clone(), seen.entry.clone()))
        .collect();
    !fits(&entries, provider)
}

/// Whether a live Telemetry makes an istiod of these meshes look for the provider: one that policies of such a mesh
/// contribute to, or somebody else's while one of the meshes lives.
fn is_used(view: &View<'_>, name: &str, meshes: &[&Arc<ObservabilityMesh>]) -> bool {
    let alive = meshes.iter().any(|mesh| is_live(mesh));
    view.provider_users(name).any(|telemetry| {
        if !is_ours(telemetry) {
            return alive;
        }
        let sources = sources_of(telemetry);
        let of = sources.meshes();
        meshes.iter().any(|mesh| of.contains(name_of(mesh)))
    })
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

/// Every write makes istiod push to every proxy: the next one waits. The first, which makes the map, does not, nor one
/// that puts an edit back, nor one that brings what a live Telemetry already names.
fn hold_back(view: &View<'_>, map: &Key, live: Option<&Value>, wanted: &BTreeMap<String, Value>, plan: &mut Plan) {
    let next = view.map_written(map).map(|at| later(at, view.timings.map_interval));
    let missing = |name: &String| view.provider(map, name).is_none() && view.provider_users(name).next().is_some();
    let urgent = !plan.events.is_empty() || live.is_none() || wanted.keys().any(missing);
    if let Some(next) = next.filter(|next| *next > view.now && !urgent && !plan.apply.is_empty()) {
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

/// The providers that the policies of these meshes need, by namespace and name of the policy; and whether every policy
/// could be judged.
fn needed_providers(view: &View<'_>, meshes: &[&Arc<ObservabilityMesh>]) -> (Vec<Provider>, bool) {
    let mut needed: Vec<(Key, Vec<Provider>)> = Vec::new();
    let mut complete = true;
    for mesh in meshes.iter().filter(|mesh| is_live(mesh)) {
        let key = Key::new("", name_of(mesh));
        for checked in mesh_wide::check_required(view, mesh) {
            take(&key, checked, meshes, &mut needed, &mut complete);
        }
        if let Some(checked) = mesh_wide::check_default_tracing(view, mesh) {
            take(&key, checked, meshes, &mut needed, &mut complete);
        }
    }
    for (key, log) in view
        .traffic_logs()
        .filter(|(_, log)| log.metadata.deletion_timestamp.is_none())
    {
        take(
            key,
            traffic_log::check(view, key, log),
            meshes,
            &mut needed,
            &mut complete,
        );
    }
    for (key, tracing) in view
        .tracing_backends()
        .filter(|(_, t)| t.metadata.deletion_timestamp.is_none())
    {
        take(
            key,
            tracing_backend::check(view, key, tracing),
            meshes,
            &mut needed,
            &mut complete,
        );
    }
    needed.sort_by(|(a, _), (b, _)| a.cmp(b));
    (
        needed.into_iter().flat_map(|(_, providers)| providers).collect(),
        complete,
    )
}

fn take<C>(
    key: &Key,
    checked: Checked<'_, C>,
    meshes: &[&Arc<ObservabilityMesh>],
    needed: &mut Vec<(Key, Vec<Provider>)>,
    complete: &mut bool,
) {
    *complete &= checked
        .findings
        .iter()
        .all(|finding| finding.reason != Reason::FactsPending);
    if checked
        .mesh
        .is_some_and(|mesh| meshes.iter().any(|other| name_of(other) == name_of(mesh)))
    {
        needed.push((key.clone(), checked.providers));
    }
}

/// How many providers the policies of one mesh need, and whether every policy could be judged.
pub fn provider_count(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> (usize, bool) {
    let (providers, complete) = needed_providers(view, &[mesh]);
    let names: BTreeSet<String> = providers.into_iter().map(|p| p.name).collect();
    (names.len(), complete)
}
