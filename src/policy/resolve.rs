//! Scopes, selector sets and the winner of each unit.
//!
//! The unit is (scope, backend, side). Within a scope policies add up over backends; of two that claim one unit the one
//! with more labels wins, then the higher priority, then the name that sorts first. Never the creation time: the same
//! files give the same result anywhere.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::claims::{Labels, LogClaim, Side, Source, Sources, TraceClaim};

/// Most selector sets in a namespace: past it the lowest ranked policy is left out.
pub const MAX_SETS: usize = 16;

/// All claims that concern one namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceClaims {
    /// Claims of the namespace's own TrafficLogs.
    pub logs: Vec<LogClaim>,
    /// Claims of the namespace's own TracingBackends.
    pub traces: Vec<TraceClaim>,
    /// Claims of mesh scope that are rendered in this namespace, because no root Telemetry may carry them.
    pub mesh_logs: Vec<LogClaim>,
    /// The same for tracing.
    pub mesh_traces: Vec<TraceClaim>,
}

/// What one Telemetry object says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectPolicy {
    /// Logging by side; a side that is absent falls through to the wider scope.
    pub logging: BTreeMap<Side, SideLogging>,
    /// Tracing; absent: falls through.
    pub tracing: Option<TraceClaim>,
    /// The claims that won something.
    pub sources: Sources,
}

/// A policy that a pod may match beside another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The policy.
    pub with: Source,
    /// A label that it selects by: with different values of it, no pod would match both.
    pub label: String,
}

/// Logging of one side.
#[derive(Clone, Debug, PartialEq)]
pub enum SideLogging {
    /// Switched off.
    Off,
    /// Providers, each once.
    To(BTreeSet<String>),
}

/// What a namespace's policies come to.
#[derive(Clone, Debug, Default)]
pub struct NamespacePolicy {
    /// One object for the namespace (no labels) and for each selector set.
    pub objects: BTreeMap<Labels, ObjectPolicy>,
    /// Policies that were left out because too many selectors overlap, each with one that it overlaps.
    pub overlapping: Vec<(Source, Option<Overlap>)>,
}

/// A unit that a policy lost, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The backend, or `None` for tracing or an off switch.
    pub backend: Option<String>,
    /// The side, where it is a unit of logging.
    pub side: Option<Side>,
    /// The winner.
    pub winner: Source,
}

/// What claims have in common for ranking.
trait Ranked {
    fn source(&self) -> &Source;
    fn selector(&self) -> &Labels;
    fn priority(&self) -> i32;
}

impl Ranked for LogClaim {
    fn source(&self) -> &Source {
        &self.source
    }
    fn selector(&self) -> &Labels {
        &self.selector
    }
    fn priority(&self) -> i32 {
        self.priority
    }
}

impl Ranked for TraceClaim {
    fn source(&self) -> &Source {
        &self.source
    }
    fn selector(&self) -> &Labels {
        &self.selector
    }
    fn priority(&self) -> i32 {
        0
    }
}

/// The winner first: more labels, higher priority, name.
fn rank<C: Ranked>(a: &C, b: &C) -> Ordering {
    let key = |c: &C| (Reverse(c.selector().len()), Reverse(c.priority()));
    key(a).cmp(&key(b)).then_with(|| {
        let name = |c: &C| (c.source().name.clone(), c.source().namespace.clone(), c.source().kind);
        name(a).cmp(&name(b))
    })
}

/// Resolves the claims of a namespace.
pub fn resolve(claims: &NamespaceClaims) -> NamespacePolicy {
    let mut policy = NamespacePolicy::default();
    let whole = namespace_object(claims);
    if whole != ObjectPolicy::default() {
        policy.objects.insert(Labels::new(), whole);
    }
    let (sets, overlapping) = selector_sets(claims);
    for labels in sets {
        let applies = |selector: &Labels| !selector.is_empty() && is_subset(selector, &labels);
        let logs: Vec<&LogClaim> = claims.logs.iter().filter(|c| applies(&c.selector)).collect();
        let traces: Vec<&TraceClaim> = claims.traces.iter().filter(|c| applies(&c.selector)).collect();
        let left_out = |source: &Source| overlapping.iter().any(|(out, _): &(Source, _)| out == source);
        let logs: Vec<&LogClaim> = logs.into_iter().filter(|c| !left_out(&c.source)).collect();
        let traces: Vec<&TraceClaim> = traces.into_iter().filter(|c| !left_out(&c.source)).collect();
        policy.objects.insert(labels, object_of(&logs, &traces));
    }
    policy.overlapping = overlapping;
    policy
}

fn namespace_object(claims: &NamespaceClaims) -> ObjectPolicy {
    let own_logs: Vec<&LogClaim> = claims.logs.iter().filter(|c| c.selector.is_empty()).collect();
    let own_traces: Vec<&TraceClaim> = claims.traces.iter().filter(|c| c.selector.is_empty()).collect();
    let mut object = object_of(&own_logs, &own_traces);
    let mesh_logs: Vec<&LogClaim> = claims.mesh_logs.iter().collect();
    let mesh_traces: Vec<&TraceClaim> = claims.mesh_traces.iter().collect();
    let wider = object_of(&mesh_logs, &mesh_traces);
    // A side that the namespace names replaces the mesh's whole; the others fall through to it.
    for (side, logging) in wider.logging {
        if let std::collections::btree_map::Entry::Vacant(entry) = object.logging.entry(side) {
            entry.insert(logging);
            let used = wider.sources.logs.iter().filter(|c| c.sides.contains(&side));
            object.sources.logs.extend(used.cloned().collect::<Vec<_>>());
        }
    }
    if object.tracing.is_none() && wider.tracing.is_some() {
        object.tracing = wider.tracing;
        object.sources.traces = wider.sources.traces;
    }
    object.sources.logs.sort_by(|a, b| a.source.cmp(&b.source));
    object.sources.logs.dedup();
    object
}

/// What the claims of one scope come to.
fn object_of(logs: &[&LogClaim], traces: &[&TraceClaim]) -> ObjectPolicy {
    let mut ranked = logs.to_vec();
    ranked.sort_by(|a, b| rank(*a, *b));
    let mut object = ObjectPolicy::default();
    let mut winners: BTreeMap<&Source, &LogClaim> = BTreeMap::new();
    for side in Side::BOTH {
        let mut units: BTreeMap<&str, &LogClaim> = BTreeMap::new();
        let mut off = None;
        for claim in ranked.iter().filter(|c| c.sides.contains(&side)) {
            if claim.backends.is_empty() {
                // It claims every backend that nobody of higher rank has.
                off = Some(*claim);
                break;
            }
            for backend in claim.backends.keys() {
                units.entry(backend).or_insert(claim);
            }
        }
        let providers: BTreeSet<String> = units
            .iter()
            .filter_map(|(backend, claim)| claim.backends.get(*backend).cloned())
            .collect();
        winners.extend(units.values().map(|claim| (&claim.source, *claim)));
        match (providers.is_empty(), off) {
            (false, _) => drop(object.logging.insert(side, SideLogging::To(providers))),
            (true, Some(claim)) => {
                winners.insert(&claim.source, claim);
                object.logging.insert(side, SideLogging::Off);
            }
            (true, None) => {}
        }
    }
    object.sources.logs = winners.into_values().cloned().collect();
    object.tracing = traces
        .iter()
        .min_by(|a, b| rank(**a, **b))
        .map(|claim| (*claim).clone());
    object.sources.traces = object.tracing.iter().cloned().collect();
    object
}

/// The units that a log claim loses to other claims of exactly its scope and selector.
pub fn lost_units(claim: &LogClaim, all: &[LogClaim]) -> Vec<Lost> {
    let better = |other: &&LogClaim| {
        other.selector == claim.selector
            && !other.source.is_same_object(&claim.source)
            && rank(*other, claim) == Ordering::Less
    };
    let mut rivals: Vec<&LogClaim> = all.iter().filter(better).collect();
    rivals.sort_by(|a, b| rank(*a, *b));
    let mut lost = Vec::new();
    for side in &claim.sides {
        let on_side = || rivals.iter().filter(|rival| rival.sides.contains(side));
        if claim.backends.is_empty()
            && let Some(winner) = on_side().find(|rival| !rival.backends.is_empty())
        {
            let winner = winner.source.clone();
            lost.push(Lost {
                backend: None,
                side: Some(*side),
                winner,
            });
        }
        for backend in claim.backends.keys() {
            let takes = |rival: &&&LogClaim| rival.backends.is_empty() || rival.backends.contains_key(backend);
            if let Some(winner) = on_side().find(takes) {
                let winner = winner.source.clone();
                lost.push(Lost {
                    backend: Some(backend.clone()),
                    side: Some(*side),
                    winner,
                });
            }
        }
    }
    lost
}

/// How many units a claim has.
pub fn unit_count(claim: &LogClaim) -> usize {
    claim.sides.len() * claim.backends.len().max(1)
}

/// The claim that beats a tracing claim in exactly its scope and selector.
pub fn tracing_winner(claim: &TraceClaim, all: &[TraceClaim]) -> Option<Source> {
    all.iter()
        .filter(|other| other.selector == claim.selector && !other.source.is_same_object(&claim.source))
        .filter(|other| rank(*other, claim) == Ordering::Less)
        .min_by(|a, b| rank(*a, *b))
        .map(|winner| winner.source.clone())
}

/// Every selector, closed under intersection: for two that one pod may match, the labels of both are a set too. Istio
/// applies all objects that match, oldest first; one complete object per set, with more labels always newer, gives each
/// pod its own policy.
fn selector_sets(claims: &NamespaceClaims) -> (BTreeSet<Labels>, Vec<(Source, Option<Overlap>)>) {
    let mut selecting: Vec<(&Source, &Labels, i32)> = claims
        .logs
        .iter()
        .map(|c| (&c.source, &c.selector, c.priority))
        .chain(claims.traces.iter().map(|c| (&c.source, &c.selector, 0)))
        .filter(|(_, selector, _)| !selector.is_empty())
        .collect();
    selecting.sort_by_key(|(source, selector, priority)| (Reverse(selector.len()), Reverse(*priority), *source));
    let mut sets: BTreeSet<Labels> = BTreeSet::new();
    let mut kept: Vec<(&Source, &Labels)> = Vec::new();
    let mut overlapping = Vec::new();
    for (source, selector, _) in selecting {
        let mut closed = sets.clone();
        closed.insert(selector.clone());
        closed.extend(sets.iter().filter_map(|set| intersection(set, selector)));
        if closed.len() > MAX_SETS {
            let other = kept.iter().find(|(_, labels)| intersection(labels, selector).is_some());
            let overlap = other.and_then(|(with, labels)| {
                Some(Overlap {
                    with: (*with).clone(),
                    label: labels.keys().next()?.clone(),
                })
            });
            overlapping.push((source.clone(), overlap));
            continue;
        }
        sets = closed;
        kept.push((source, selector));
    }
    (sets, overlapping)
}

/// The labels of pods that match both; `None` where no pod can.
fn intersection(a: &Labels, b: &Labels) -> Option<Labels> {
    let disjoint = a
        .iter()
        .any(|(key, value)| b.get(key).is_some_and(|other| other != value));
    (!disjoint).then(|| a.iter().chain(b).map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// Whether every label of `a` is in `b`: then each pod that `b` selects, `a` selects too.
pub fn is_subset(a: &Labels, b: &Labels) -> bool {
    a.iter().all(|(key, value)| b.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::claims::PolicyKind;

    fn labels(text: &str) -> Labels {
        text.split(',')
            .filter(|s| !s.is_empty())
            .filter_map(|s| s.split_once('='))
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    fn source(kind: PolicyKind, name: &str) -> Source {
        Source {
            kind,
            namespace: "shop".into(),
            name: name.into(),
            uid: None,
            generation: None,
        }
    }

    fn log(name: &str, selector: &str, priority: i32, sides: &[Side], backends: &[&str]) -> LogClaim {
        LogClaim {
            source: source(PolicyKind::TrafficLog, name),
            mesh: "m".into(),
            selector: labels(selector),
            priority,
            sides: sides.to_vec(),
            backends: backends
                .iter()
                .map(|b| ((*b).to_owned(), format!("{name}:{b}")))
                .collect(),
        }
    }

    fn trace(name: &str, selector: &str) -> TraceClaim {
        TraceClaim {
            source: source(PolicyKind::TracingBackend, name),
            mesh: "m".into(),
            selector: labels(selector),
            provider: name.into(),
            sampling: "1".into(),
        }
    }

    fn to(providers: &[&str]) -> SideLogging {
        SideLogging::To(providers.iter().map(|p| (*p).to_owned()).collect())
    }

    #[test]
    fn policies_of_one_scope_add_up_over_backends_and_the_better_rank_wins_a_unit() {
        let claims = NamespaceClaims {
            logs: vec![
                log("b", "", 0, &Side::BOTH, &["stdout", "file"]),
                log("a", "", 0, &[Side::Inbound], &["stdout"]),
                log("z", "", 5, &[Side::Outbound], &["stdout"]),
            ],
            ..NamespaceClaims::default()
        };
        let object = &resolve(&claims).objects[&labels("")];
        assert_eq!(
            object.logging[&Side::Inbound],
            to(&["a:stdout", "b:file"]),
            "same priority: the name decides"
        );
        assert_eq!(
            object.logging[&Side::Outbound],
            to(&["b:file", "z:stdout"]),
            "the higher priority wins"
        );
    }

    #[test]
    fn a_side_that_the_namespace_names_replaces_the_meshs_whole_and_the_other_falls_through() {
        let claims = NamespaceClaims {
            logs: vec![log("ns", "", 0, &[Side::Inbound], &["file"])],
            mesh_logs: vec![log("root", "", 0, &Side::BOTH, &["stdout"])],
            ..NamespaceClaims::default()
        };
        let object = &resolve(&claims).objects[&labels("")];
        assert_eq!(object.logging[&Side::Inbound], to(&["ns:file"]));
        assert_eq!(object.logging[&Side::Outbound], to(&["root:stdout"]));
        assert_eq!(object.sources.logs.len(), 2);
    }

    #[test]
    fn overlapping_selectors_get_a_complete_object_for_the_pods_that_match_both() {
        let claims = NamespaceClaims {
            logs: vec![
                log("cart", "app=cart", 0, &Side::BOTH, &["stdout"]),
                log("web", "tier=web", 1, &[Side::Inbound], &["stdout", "file"]),
                log("other", "app=other", 0, &Side::BOTH, &["stdout"]),
            ],
            traces: vec![trace("t", "tier=web")],
            ..NamespaceClaims::default()
        };
        let objects = resolve(&claims).objects;
        let sets: Vec<Labels> = objects.keys().cloned().collect();
        let expected: BTreeSet<Labels> = [
            "app=cart",
            "app=cart,tier=web",
            "app=other",
            "app=other,tier=web",
            "tier=web",
        ]
        .map(labels)
        .into();
        assert_eq!(sets.into_iter().collect::<BTreeSet<_>>(), expected);
        let both = &objects[&labels("app=cart,tier=web")];
        assert_eq!(
            both.logging[&Side::Inbound],
            to(&["web:stdout", "web:file"]),
            "equal labels: priority decides"
        );
        assert_eq!(both.logging[&Side::Outbound], to(&["cart:stdout"]));
        assert_eq!(
            both.tracing.as_ref().map(|t| t.provider.as_str()),
            Some("t"),
            "complete over all kinds"
        );
    }

    #[test]
    fn an_off_switch_takes_every_backend_that_no_better_rank_claims() {
        let off = log("off", "", 0, &Side::BOTH, &[]);
        let low = log("zz", "", 0, &Side::BOTH, &["stdout"]);
        let resolved = |logs: Vec<LogClaim>| {
            resolve(&NamespaceClaims {
                logs,
                ..NamespaceClaims::default()
            })
        };
        let object = resolved(vec![off.clone(), low.clone()]);
        assert_eq!(object.objects[&labels("")].logging[&Side::Inbound], SideLogging::Off);
        assert_eq!(lost_units(&low, &[off.clone(), low.clone()]).len(), 2);
        let high = log("aa", "", 0, &[Side::Inbound], &["stdout"]);
        let object = resolved(vec![off.clone(), high.clone()]);
        assert_eq!(object.objects[&labels("")].logging[&Side::Inbound], to(&["aa:stdout"]));
        assert_eq!(object.objects[&labels("")].logging[&Side::Outbound], SideLogging::Off);
    }

    #[test]
    fn past_the_bound_the_lowest_ranked_policy_is_left_out_and_the_rest_stays() {
        let names: Vec<String> = (0..6).map(|i| format!("k{i}=v")).collect();
        let logs: Vec<LogClaim> = names
            .iter()
            .enumerate()
            .map(|(i, s)| log(&format!("p{i}"), s, 0, &Side::BOTH, &["stdout"]))
            .collect();
        let policy = resolve(&NamespaceClaims {
            logs,
            ..NamespaceClaims::default()
        });
        assert!(policy.objects.len() <= MAX_SETS);
        let out: Vec<&str> = policy.overlapping.iter().map(|(s, _)| s.name.as_str()).collect();
        assert_eq!(out, ["p4", "p5"]);
    }

    proptest::proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_order_of_the_policies(order in proptest::sample::subsequence((0..6usize).collect::<Vec<_>>(), 6), seed in 0u64..1000) {
            let pool = [
                log("a", "app=x", 0, &Side::BOTH, &["s"]),
                log("b", "app=x", 0, &[Side::Inbound], &["s", "t"]),
                log("c", "tier=y", 3, &Side::BOTH, &["t"]),
                log("d", "", 0, &Side::BOTH, &[]),
                log("e", "", 1, &[Side::Outbound], &["s"]),
                log("f", "app=x,tier=y", -1, &Side::BOTH, &["s"]),
            ];
            let mut shuffled = order.clone();
            shuffled.sort_by_key(|i| (*i as u64 + 1).wrapping_mul(seed.wrapping_mul(2_654_435_761) | 1) % 97);
            let straight = resolve(&NamespaceClaims { logs: pool.to_vec(), ..NamespaceClaims::default() });
            let mixed = resolve(&NamespaceClaims { logs: shuffled.iter().map(|i| pool[*i].clone()).collect(), ..NamespaceClaims::default() });
            proptest::prop_assert_eq!(straight.objects, mixed.objects);
        }
    }
}
