//! Telemetries beside each other: which of two without a selector holds, which select the same pods, and whom a selector
//! or a target reaches at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::Located;
use super::telemetry::Telemetry;
use super::{Fact, Facts, Found, Noted};

/// Istio's root namespace, where MeshConfig does not name one.
const ROOT: &str = "istio-system";
/// The label that Istio gives pods of a Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";
const MANAGED: &str = "gateway.istio.io/managed";
/// The value of [`MANAGED`] at waypoints.
const WAYPOINT_CONTROLLER: &str = "istio.io-mesh-controller";
const WAYPOINT_CLASS: &str = "istio-waypoint";

type Of<'a> = (&'a Noted, &'a Telemetry);

/// A Gateway that is a waypoint.
#[derive(Clone, Debug)]
pub struct Waypoint {
    namespace: String,
    name: String,
}

/// Keeps a Gateway that is a waypoint.
pub fn note_gateway(object: &Located, judge: &mut Judge) {
    if object.text_at(&["spec", "gatewayClassName"]) == WAYPOINT_CLASS {
        judge.note(Fact::Waypoint(Waypoint {
            namespace: object.text_at(&["metadata", "namespace"]).to_owned(),
            name: object.text_at(&["metadata", "name"]).to_owned(),
        }));
    }
}

/// All Telemetries.
pub fn all(facts: Facts<'_>) -> impl Iterator<Item = Of<'_>> {
    facts.of(|fact| match fact {
        Fact::Telemetry(telemetry) => Some(telemetry),
        _ => None,
    })
}

/// The root namespaces of the meshes whose MeshConfig is there; Istio's own where there is none.
pub fn roots(facts: Facts<'_>) -> BTreeSet<&str> {
    let configs = facts.of(|fact| match fact {
        Fact::MeshConfig(config) => Some(config),
        _ => None,
    });
    let set = configs.map(|(_, config)| config.root_namespace.as_str());
    let roots: BTreeSet<&str> = set.filter(|name| !name.is_empty()).collect();
    if roots.is_empty() {
        BTreeSet::from([ROOT])
    } else {
        roots
    }
}

/// Judges them.
pub fn check(facts: Facts<'_>) -> Vec<Found> {
    // What names no namespace gets one from kustomize or kubectl: which one is known only of a single file.
    let mut namespaces: BTreeMap<(&str, Option<usize>), Vec<Of<'_>>> = BTreeMap::new();
    for (noted, one) in all(facts) {
        let file = one.namespace.is_empty().then_some(noted.file);
        namespaces.entry((&one.namespace, file)).or_default().push((noted, one));
    }
    let mut found = Vec::new();
    for beside in namespaces.values() {
        found.extend(check_ignored(facts, beside));
        found.extend(check_overlaps(facts, beside));
    }
    let roots = roots(facts);
    let waypoints: BTreeSet<(&str, &str)> = facts
        .of(|fact| match fact {
            Fact::Waypoint(waypoint) => Some(waypoint),
            _ => None,
        })
        .map(|(_, waypoint)| (waypoint.namespace.as_str(), waypoint.name.as_str()))
        .collect();
    found.extend(all(facts).filter_map(|of| check_reach(of, &roots, &waypoints)));
    found
}

/// Those that Istio ignores, because another one without a selector is older. Where the files do not say which is, the
/// first one is taken to be right.
fn check_ignored(facts: Facts<'_>, beside: &[Of<'_>]) -> Vec<Found> {
    let for_all: Vec<Of<'_>> = beside.iter().copied().filter(|(_, one)| one.is_for_all()).collect();
    let judged = for_all.iter().enumerate().filter_map(|(index, (noted, one))| {
        let rivals = || for_all.iter().filter(|(_, other)| other.meets(one));
        let is_live = !one.created.is_empty() && rivals().all(|(_, other)| !other.created.is_empty());
        let age = |one: &Telemetry| (one.created.clone(), one.name.clone());
        let message = if is_live {
            let (older, _) = rivals()
                .filter(|(_, other)| age(other) < age(one))
                .min_by_key(|(_, other)| age(other))?;
            format!(
                "Istio ignores this Telemetry, because {} is older",
                facts.called(older, noted)
            )
        } else {
            let before = for_all.get(..index).unwrap_or_default().iter();
            let (first, _) = before.into_iter().find(|(_, other)| other.meets(one))?;
            let first = facts.called(first, noted);
            format!("Istio heeds only the older one of this Telemetry and {first}, which have no selector")
        };
        Some(noted.finding(Policy::IgnoredTelemetry, &one.mark, message))
    });
    judged.collect()
}

/// Each Telemetry with a selector and one before it that meets it on a pod.
fn check_overlaps(facts: Facts<'_>, beside: &[Of<'_>]) -> Vec<Found> {
    let selecting: Vec<Of<'_>> = beside
        .iter()
        .copied()
        .filter(|(_, one)| !one.selector.is_empty())
        .collect();
    let before = Before::new(&selecting);
    let judged = selecting.iter().enumerate().filter_map(|(index, (noted, one))| {
        let overlaps = |at: &usize| {
            let (other, theirs) = selecting.get(*at)?;
            Some((Overlap::of(one, theirs)?, *other))
        };
        // The one that is worse, and of two the first.
        let (overlap, other) = before
            .of(index, one)
            .iter()
            .filter_map(overlaps)
            .min_by_key(|(overlap, _)| *overlap)?;
        let other = facts.called(other, noted);
        let (policy, message) = match overlap {
            Overlap::Certain => (
                Policy::OverlappingSelectors,
                format!("this selects pods that {other} selects too"),
            ),
            Overlap::Possible => (
                Policy::MayOverlap,
                format!("this may select pods that {other} selects too"),
            ),
        };
        Some(noted.finding(policy, &one.selector_mark, message))
    });
    judged.collect()
}

/// Which Telemetries before one may meet it: those that ask for the same value of the label that most ask for, or do not
/// ask for it. So a namespace of thousands does not compare each with each.
struct Before<'a> {
    label: Option<&'a str>,
    by_value: HashMap<Option<&'a str>, Vec<usize>>,
    count: usize,
}

impl<'a> Before<'a> {
    fn new(selecting: &[Of<'a>]) -> Self {
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for key in selecting.iter().flat_map(|(_, one)| one.selector.keys()) {
            *uses.entry(key).or_default() += 1;
        }
        let label = uses.into_iter().max_by_key(|(_, count)| *count).map(|(label, _)| label);
        let mut by_value: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, (_, one)) in selecting.iter().enumerate() {
            by_value.entry(value_of(one, label)).or_default().push(index);
        }
        Self {
            label,
            by_value,
            count: selecting.len(),
        }
    }

    fn of(&self, index: usize, one: &Telemetry) -> Vec<usize> {
        let of = |value| self.by_value.get(&value).map(Vec::as_slice).unwrap_or_default();
        let mut before: Vec<usize> = match value_of(one, self.label) {
            Some(value) => of(Some(value)).iter().chain(of(None)).copied().collect(),
            None => (0..self.count).collect(),
        };
        before.retain(|at| *at < index);
        before.sort_unstable();
        before
    }
}

fn value_of<'t>(one: &'t Telemetry, label: Option<&str>) -> Option<&'t str> {
    one.selector.get(label?).map(String::as_str)
}

/// Whether two Telemetries meet on a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Overlap {
    /// Each pod of one is a pod of the other.
    Certain,
    /// A pod may have the labels of both.
    Possible,
}

impl Overlap {
    /// `None`: they do not meet, or it makes no difference. Logs and metrics leak to other pods where the selectors
    /// differ; else only what both speak of depends on their age.
    fn of(one: &Telemetry, other: &Telemetry) -> Option<Self> {
        let agrees = |(key, value): (&String, &String)| other.selector.get(key).is_none_or(|theirs| theirs == value);
        if !one.meets(other) || !one.selector.iter().all(agrees) {
            return None;
        }
        let sections = |one: &Telemetry| [&one.logs, &one.traces, &one.metrics].map(|entries| !entries.is_empty());
        let ([logs, traces, metrics], [their_logs, their_traces, their_metrics]) = (sections(one), sections(other));
        let leaks = one.selector != other.selector && (logs || metrics || their_logs || their_metrics);
        let is_shared = logs && their_logs || traces && their_traces || metrics && their_metrics;
        if !leaks && !is_shared {
            return None;
        }
        let is_within = |inner: &Telemetry, outer: &Telemetry| {
            outer
                .selector
                .iter()
                .all(|(key, value)| inner.selector.get(key) == Some(value))
        };
        Some(if is_within(one, other) || is_within(other, one) {
            Self::Certain
        } else {
            Self::Possible
        })
    }
}

/// Selectors and targets that reach other pods than they look like, or none. Pods in the root namespace are those of
/// gateways.
fn check_reach((noted, one): Of<'_>, roots: &BTreeSet<&str>, waypoints: &BTreeSet<(&str, &str)>) -> Option<Found> {
    let is_in_root = roots.contains(one.namespace.as_str());
    let label = |key| one.selector.get(key).map(String::as_str);
    let is_waypoint = label(MANAGED) == Some(WAYPOINT_CONTROLLER)
        || label(GATEWAY_CLASS) == Some(WAYPOINT_CLASS)
        || label(GATEWAY_NAME).is_some_and(|name| waypoints.contains(&(one.namespace.as_str(), name)));
    if is_waypoint {
        let message = "this selects a waypoint, and waypoints heed no selector".to_owned();
        return Some(noted.finding(Policy::WaypointSelector, &one.selector_mark, message));
    }
    let is_of_gateway = one
        .selector
        .iter()
        .any(|(key, value)| key == GATEWAY_NAME || value.contains("gateway"));
    if is_in_root && !one.selector.is_empty() && !is_of_gateway {
        let message = format!(
            "this reaches pods of the root namespace {} only, not the mesh",
            one.namespace
        );
        return Some(noted.finding(Policy::RootSelector, &one.selector_mark, message));
    }
    let (_, mark) = one
        .targets
        .iter()
        .find(|(kind, _)| is_in_root && kind == "GatewayClass")?;
    let message = format!(
        "this may reach no gateway outside of the root namespace {}",
        one.namespace
    );
    Some(noted.finding(Policy::GatewayClassTarget, mark, message))
}
