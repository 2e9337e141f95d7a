//! Telemetries and the providers that MeshConfig has, or falls back to.

use std::collections::{BTreeMap, BTreeSet};

use super::super::codes::Policy;
use super::super::located::Mark;
use super::mesh_config::MeshConfig;
use super::telemetries::{all, roots};
use super::telemetry::{Entry, Side, Telemetry};
use super::{Fact, Facts, Found, Noted};
use crate::format::nearest;

/// Providers that Istio has without any MeshConfig.
const BUILT_IN: [&str; 3] = ["envoy", "prometheus", "stackdriver"];

/// Names of our own providers: they stand in a map of ours, which is not among files.
const OURS: &str = "sightline-";

/// istiod's own map, and the beginning of that of a revision.
const ISTIODS_MAP: &str = "istio";
const REVISIONS_MAP: &str = "istio-";

/// Judges Telemetries and MeshConfigs together.
pub fn check(facts: Facts<'_>) -> Vec<Found> {
    let configs: Vec<(&Noted, &MeshConfig)> = facts
        .of(|fact| match fact {
            Fact::MeshConfig(config) => Some(config),
            _ => None,
        })
        .collect();
    let mut found = check_names(facts, &configs);
    found.extend(check_shadowed(facts, &configs));
    let inherited = Inherited::new(facts, &configs);
    for (noted, telemetry) in all(facts) {
        found.extend(check_fallback(noted, telemetry, &inherited));
        found.extend(check_tracing(noted, telemetry, &inherited));
    }
    found
}

/// Names that no provider has. Without any MeshConfig nothing is known of them.
fn check_names(facts: Facts<'_>, configs: &[(&Noted, &MeshConfig)]) -> Vec<Found> {
    if configs.is_empty() {
        return Vec::new();
    }
    let providers = configs.iter().flat_map(|(_, config)| &config.providers);
    let known: BTreeSet<String> = providers
        .map(|(name, _)| name.to_ascii_lowercase())
        .chain(BUILT_IN.map(str::to_owned))
        .collect();
    let judge = |noted: &Noted, (name, mark): &(String, Mark)| {
        let lower = name.to_ascii_lowercase();
        if lower.is_empty() || known.contains(&lower) || lower.starts_with(OURS) {
            return None;
        }
        let meant = nearest(&lower, known.iter().map(String::as_str));
        let hint = meant
            .map(|meant| format!("; did you mean `{meant}`?"))
            .unwrap_or_default();
        let message = format!("no MeshConfig among the files has a provider `{name}`{hint}");
        Some(noted.finding(Policy::UnknownProvider, mark, message))
    };
    let telemetries = all(facts).flat_map(|(noted, telemetry)| {
        let entries = [&telemetry.logs, &telemetry.traces, &telemetry.metrics]
            .into_iter()
            .flatten();
        entries
            .flat_map(|entry| &entry.providers)
            .filter_map(move |named| judge(noted, named))
    });
    let defaults = configs.iter().flat_map(|(noted, config)| {
        let named = [
            &config.default_logging,
            &config.default_tracing,
            &config.default_metrics,
        ];
        named.into_iter().flatten().filter_map(|named| judge(noted, named))
    });
    telemetries.chain(defaults).collect()
}

/// Providers of a shared map (`SHARED_MESH_CONFIG`) that istiod's own map has too: its own wins.
fn check_shadowed(facts: Facts<'_>, configs: &[(&Noted, &MeshConfig)]) -> Vec<Found> {
    let map = |noted: &Noted| {
        let resource = noted
            .resource
            .as_ref()
            .filter(|resource| resource.kind == "ConfigMap")?;
        let is_own = resource.name == ISTIODS_MAP || resource.name.starts_with(REVISIONS_MAP);
        Some((resource.namespace.clone(), is_own))
    };
    let mut own: BTreeMap<(String, &str), &Noted> = BTreeMap::new();
    for (noted, config) in configs {
        if let Some((namespace, true)) = map(noted) {
            let names = config.providers.iter();
            own.extend(names.map(|(name, _)| ((namespace.clone(), name.as_str()), *noted)));
        }
    }
    let mut found = Vec::new();
    for (noted, config) in configs {
        let Some((namespace, false)) = map(noted) else { continue };
        found.extend(config.providers.iter().filter_map(|(name, mark)| {
            let winner = facts.called(own.get(&(namespace.clone(), name.as_str()))?, noted);
            let message = format!("{winner} has a provider `{name}` too, and istiod takes that one");
            Some(noted.finding(Policy::ShadowedProvider, mark, message))
        }));
    }
    found
}

/// What a Telemetry builds on.
struct Inherited<'a> {
    /// Whether proxies log to `accessLogFile` where nothing else is said.
    has_access_log_file: bool,
    /// Whether all proxies trace to a default provider.
    has_default_tracing: bool,
    /// Whether any MeshConfig is known.
    has_config: bool,
    /// The Telemetries of a namespace without selector and targets.
    for_all: BTreeMap<&'a str, Vec<&'a Telemetry>>,
    roots: BTreeSet<&'a str>,
}

impl<'a> Inherited<'a> {
    fn new(facts: Facts<'a>, configs: &[(&Noted, &MeshConfig)]) -> Self {
        let falls_back = |config: &MeshConfig| config.has_access_log_file && config.default_logging.is_empty();
        let mut for_all: BTreeMap<&str, Vec<&Telemetry>> = BTreeMap::new();
        for (_, telemetry) in all(facts).filter(|(_, telemetry)| telemetry.is_for_all()) {
            for_all.entry(&telemetry.namespace).or_default().push(telemetry);
        }
        Self {
            has_access_log_file: configs.iter().any(|(_, config)| falls_back(config)),
            has_config: !configs.is_empty(),
            has_default_tracing: configs.iter().any(|(_, config)| !config.default_tracing.is_empty()),
            for_all,
            roots: roots(facts),
        }
    }

    /// Whether a Telemetry, or one above it, names a provider for a side.
    fn names_provider(&self, own: &Telemetry, side: Side, of: fn(&Telemetry) -> &[Entry]) -> bool {
        let namespaces = self.roots.iter().copied().chain([own.namespace.as_str()]);
        let above = namespaces
            .filter_map(|namespace| self.for_all.get(namespace))
            .flatten()
            .copied();
        let mut entries = above.chain([own]).flat_map(of);
        entries.any(|entry| entry.holds_for(side) && !entry.providers.is_empty())
    }
}

/// A Telemetry that speaks of logs, and does not end those of `accessLogFile`.
fn check_fallback(noted: &Noted, telemetry: &Telemetry, inherited: &Inherited<'_>) -> Option<Found> {
    if !inherited.has_access_log_file {
        return None;
    }
    let falls_back = |side: &Side| !inherited.names_provider(telemetry, *side, |telemetry| &telemetry.logs);
    let is_idle_off = |entry: &&Entry| {
        let mut sides = Side::BOTH.into_iter().filter(|side| entry.holds_for(*side));
        entry.is_off && entry.providers.is_empty() && sides.any(|side| falls_back(&side))
    };
    if let Some(off) = telemetry.logs.iter().find(is_idle_off) {
        let message = "this switches nothing off: MeshConfig's accessLogFile is no provider that is inherited";
        return Some(noted.finding(Policy::OffWithoutEffect, &off.mark, message.to_owned()));
    }
    let entry = telemetry.logs.iter().find(|entry| !entry.providers.is_empty())?;
    let side = Side::BOTH.into_iter().find(falls_back)?;
    let message = format!(
        "nothing is said of mode {} here, where proxies then log to MeshConfig's accessLogFile",
        side.as_str()
    );
    Some(noted.finding(Policy::FallsBack, &entry.mark, message))
}

/// A Telemetry that speaks of traces and leads to no provider. One that only switches off wants just that.
fn check_tracing(noted: &Noted, telemetry: &Telemetry, inherited: &Inherited<'_>) -> Option<Found> {
    if inherited.has_default_tracing {
        return None;
    }
    let turns_off = |entry: &&Entry| {
        let mut sides = Side::BOTH.into_iter().filter(|side| entry.holds_for(*side));
        !entry.is_off && sides.any(|side| !inherited.names_provider(telemetry, side, |telemetry| &telemetry.traces))
    };
    let entry = telemetry.traces.iter().find(turns_off)?;
    let message = if inherited.has_config {
        "no provider is named here or above, so this turns tracing off"
    } else {
        "no provider is named here or above: without one in defaultProviders of MeshConfig, this turns tracing off"
    };
    Some(noted.finding(Policy::TracingOff, &entry.mark, message.to_owned()))
}
