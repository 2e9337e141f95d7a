//! Scopes, selector sets and the winner of each unit.
//!
//! The unit is (scope, backend, side). Within a scope policies add up over backends; of two that claim one unit the one
//! with more labels wins, then the higher priority, then the name that sorts first. Never the creation time: the same
//! files give the same result anywhere. What a mesh requires wins in every scope.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::claims::{
    Claim, Labels, LogClaim, LogEntry, MeshDefaults, Selection, Side, Source, Sources, TraceClaim, WorkloadSet,
    intersection,
};
use crate::crds::Tag;
use crate::filter;

/// Most selector sets in a namespace: past it the lowest ranked policy is left out.
pub const MAX_SETS: usize = 16;

/// All claims that concern one namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceClaims {
    /// Claims of the namespace's own TrafficLogs.
    pub logs: Vec<LogClaim>,
    /// Claims of the namespace's own TracingBackends.
    pub traces: Vec<TraceClaim>,
    /// Claims of mesh scope that are rendered in this namespace: in a root namespace those of the mesh itself, elsewhere
    /// all of them where no root Telemetry may carry them.
    pub here: MeshClaims,
    /// Claims of mesh scope that another object carries.
    pub elsewhere: MeshClaims,
}

/// Claims of mesh scope.
#[derive(Clone, Debug, Default)]
pub struct MeshClaims {
    /// Of TrafficLogs of root namespaces.
    pub logs: Vec<LogClaim>,
    /// Of TracingBackends of root namespaces.
    pub traces: Vec<TraceClaim>,
    /// Of the meshes themselves, by name of the mesh.
    pub defaults: Vec<MeshDefaults>,
}

/// What one Telemetry object says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectPolicy {
    /// Logging by side; a side that is absent falls through to the wider scope.
    pub logging: BTreeMap<Side, SideLogging>,
    /// Tracing; absent: falls through.
    pub tracing: Option<TraceClaim>,
    /// Tags of the spans, those of wider scopes included.
    pub tags: BTreeMap<String, Tag>,
    /// The claims that won something, and the changes to metrics.
    pub sources: Sources,
    /// Who won what on each side that `logging` names.
    pub won: BTreeMap<Side, Vec<Won>>,
}

/// A unit that a claim won.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Won {
    /// The mesh whose backend it is.
    pub mesh: String,
    /// The backend, or `None` for an off switch.
    pub backend: Option<String>,
    /// The winner.
    pub source: Source,
    /// What the backend gets.
    pub entries: Vec<LogEntry>,
}

impl Won {
    fn new(claim: &LogClaim, backend: Option<&str>) -> Self {
        let entries = backend.and_then(|backend| claim.backends.get(backend));
        Self {
            mesh: claim.mesh.clone(),
            backend: backend.map(str::to_owned),
            source: claim.source.clone(),
            entries: entries.cloned().unwrap_or_default(),
        }
    }
}

impl ObjectPolicy {
    fn says_nothing(&self) -> bool {
        self.logging.is_empty() && self.tracing.is_none() && self.sources.metrics.is_none()
    }
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
    /// Providers, each once, with the filter of what goes there.
    To(BTreeMap<String, Option<String>>),
}

/// What a namespace's policies come to.
#[derive(Clone, Debug, Default)]
pub struct NamespacePolicy {
    /// One object for the namespace and for each set of its workloads.
    pub objects: BTreeMap<WorkloadSet, ObjectPolicy>,
    /// Policies that were left out because too many selectors overlap, each with one that it overlaps.
    pub overlapping: Vec<(Source, Option<Overlap>)>,
}

/// A unit that a policy lost, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The backend, or `None` for an off switch.
    pub backend: Option<String>,
    /// The side.
    pub side: Side,
    /// The set of workloads.
    pub set: WorkloadSet,
    /// The winner.
    pub winner: Source,
}

/// The winner first: more labels, higher priority, name.
fn rank<C: Claim>(a: &C, b: &C) -> Ordering {
    let key = |c: &C| (Reverse(c.selection().selector.len()), Reverse(c.priority()));
    key(a).cmp(&key(b)).then_with(|| {
        let name = |c: &C| (c.source().name.clone(), c.source().namespace.clone(), c.source().kind);
        name(a).cmp(&name(b))
    })
}

/// Resolves the claims of a namespace.
pub fn resolve(claims: &NamespaceClaims) -> NamespacePolicy {
    let (sets, overlapping) = workload_sets(claims);
    let whole = namespace_object(claims);
    let mut policy = NamespacePolicy::default();
    if !whole.says_nothing() {
        policy.objects.insert(WorkloadSet::namespace(), whole);
    }
    let left_out = |source: &Source| overlapping.iter().any(|(out, _): &(Source, _)| out == source);
    let required: Vec<&LogClaim> = required(claims).collect();
    for set in sets {
        let logs = claims
            .logs
            .iter()
            .filter(|c| c.selection.takes(&set) && !left_out(&c.source));
        let traces = claims
            .traces
            .iter()
            .filter(|c| c.selection.takes(&set) && !left_out(&c.source));
        let mut object = ObjectPolicy::default();
        object.log(&logs.collect::<Vec<_>>(), &required, Required::WhereNamed);
        object.trace(best(traces), |winner| tags_of_namespace(claims, winner));
        policy.objects.insert(set, object);
    }
    policy.overlapping = overlapping;
    policy
}

fn required(claims: &NamespaceClaims) -> impl Iterator<Item = &LogClaim> {
    let meshes = claims.here.defaults.iter().chain(&claims.elsewhere.defaults);
    meshes.flat_map(|defaults| &defaults.required)
}

fn best<'c, C: Claim + 'c>(claims: impl Iterator<Item = &'c C>) -> Option<&'c C> {
    claims.min_by(|a, b| rank(*a, *b))
}

/// Tags that the workloads of a namespace have from wider scopes of the mesh whose tracing they get.
fn inherited_tags(claims: &NamespaceClaims, winner: &TraceClaim) -> BTreeMap<String, Tag> {
    let mut tags = BTreeMap::new();
    for wide in [&claims.elsewhere, &claims.here] {
        for defaults in wide.defaults.iter().filter(|defaults| defaults.mesh == winner.mesh) {
            tags = with_tags(&tags, defaults.tracing.as_ref().map(|claim| &claim.tags));
        }
        let of_mesh = wide.traces.iter().filter(|claim| claim.mesh == winner.mesh);
        tags = with_tags(&tags, best(of_mesh).map(|claim| &claim.tags));
    }
    tags
}

/// Tags that a set of workloads has from its namespace, and from wider scopes.
fn tags_of_namespace(claims: &NamespaceClaims, winner: &TraceClaim) -> BTreeMap<String, Tag> {
    let own = claims.traces.iter().filter(|claim| claim.selection.is_namespace());
    let own = best(own).filter(|claim| claim.mesh == winner.mesh);
    with_tags(&inherited_tags(claims, winner), own.map(|claim| &claim.tags))
}

/// Tags of a deeper scope replace those of a wider one by name.
fn with_tags(wider: &BTreeMap<String, Tag>, own: Option<&Vec<Tag>>) -> BTreeMap<String, Tag> {
    let own = own.into_iter().flatten().map(|tag| (tag.name.clone(), tag.clone()));
    wider.clone().into_iter().chain(own).collect()
}

fn namespace_object(claims: &NamespaceClaims) -> ObjectPolicy {
    let own_logs: Vec<&LogClaim> = claims.logs.iter().filter(|c| c.selection.is_namespace()).collect();
    let required_anywhere: Vec<&LogClaim> = required(claims).collect();
    let mut object = ObjectPolicy::default();
    object.log(&own_logs, &required_anywhere, Required::WhereNamed);
    let inherited = |winner: &TraceClaim| inherited_tags(claims, winner);
    object.trace(
        best(claims.traces.iter().filter(|c| c.selection.is_namespace())),
        inherited,
    );

    let mut wider = ObjectPolicy::default();
    let wide_logs: Vec<&LogClaim> = claims.here.logs.iter().collect();
    let required_here: Vec<&LogClaim> = claims.here.defaults.iter().flat_map(|d| &d.required).collect();
    wider.log(&wide_logs, &required_here, Required::Always);
    let default = || claims.here.defaults.iter().find_map(|d| d.tracing.as_ref());
    wider.trace(best(claims.here.traces.iter()).or_else(default), inherited);
    object.fall_through_to(wider);
    object.sources.metrics = claims.here.defaults.iter().find_map(|d| d.metrics.clone());
    object
}

/// Where what a mesh requires is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Required {
    /// On every side.
    Always,
    /// On the sides that a policy of this scope names: the others fall through.
    WhereNamed,
}

impl ObjectPolicy {
    /// Logging that the claims of one scope come to.
    fn log(&mut self, claims: &[&LogClaim], required: &[&LogClaim], where_: Required) {
        let mut ranked = claims.to_vec();
        ranked.sort_by(|a, b| rank(*a, *b));
        let mut winners: Vec<&LogClaim> = Vec::new();
        for side in Side::BOTH {
            let (mut units, off) = units(&ranked, side);
            // Who names the side is a source even where the mesh requires all of it: without it, it would fall through.
            winners.extend(units.values());
            winners.extend(off.filter(|_| units.is_empty()));
            let is_named = !units.is_empty() || off.is_some();
            if is_named || where_ == Required::Always {
                for claim in required.iter().filter(|claim| claim.sides.contains(&side)) {
                    units.extend(
                        claim
                            .backends
                            .keys()
                            .map(|backend| ((claim.mesh.as_str(), backend.as_str()), *claim)),
                    );
                }
            }
            let mut providers: BTreeMap<String, Option<String>> = BTreeMap::new();
            for ((_, backend), claim) in &units {
                for entry in claim.backends.get(*backend).into_iter().flatten() {
                    add(&mut providers, entry);
                }
            }
            let won = units
                .iter()
                .map(|((_, backend), claim)| Won::new(claim, Some(backend)))
                .collect();
            winners.extend(units.into_values());
            match (providers.is_empty(), is_named) {
                (false, _) => {
                    self.won.insert(side, won);
                    self.logging.insert(side, SideLogging::To(providers));
                }
                (true, true) => {
                    let switch = off.map(|claim| vec![Won::new(claim, None)]);
                    self.won.insert(side, switch.unwrap_or(won));
                    self.logging.insert(side, SideLogging::Off);
                }
                (true, false) => {}
            }
        }
        self.sources.logs.extend(winners.into_iter().cloned());
        self.tidy_sources();
    }

    fn trace(&mut self, winner: Option<&TraceClaim>, inherited: impl Fn(&TraceClaim) -> BTreeMap<String, Tag>) {
        let Some(winner) = winner else { return };
        self.tags = with_tags(&inherited(winner), Some(&winner.tags));
        self.tracing = Some(winner.clone());
        self.sources.traces = vec![winner.clone()];
    }

    /// A side that this names replaces the wider scope's whole; the others fall through to it.
    fn fall_through_to(&mut self, wider: Self) {
        for (side, logging) in wider.logging {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.logging.entry(side) {
                entry.insert(logging);
                self.won.extend(wider.won.get(&side).map(|won| (side, won.clone())));
                let used = wider.sources.logs.iter().filter(|c| c.sides.contains(&side));
                self.sources.logs.extend(used.cloned());
            }
        }
        if self.tracing.is_none() && wider.tracing.is_some() {
            self.tracing = wider.tracing;
            self.tags = wider.tags;
            self.sources.traces = wider.sources.traces;
        }
        self.tidy_sources();
    }

    fn tidy_sources(&mut self) {
        let key = |claim: &LogClaim| (claim.source.clone(), claim.backends.clone(), claim.sides.clone());
        self.sources.logs.sort_by_key(key);
        self.sources.logs.dedup();
    }
}

/// The claim that wins each backend of each mesh on a side, and the best that switches the side off.
fn units<'c>(
    ranked: &[&'c LogClaim],
    side: Side,
) -> (BTreeMap<(&'c str, &'c str), &'c LogClaim>, Option<&'c LogClaim>) {
    let mut units: BTreeMap<(&str, &str), &LogClaim> = BTreeMap::new();
    let mut off: BTreeMap<&str, &LogClaim> = BTreeMap::new();
    for claim in ranked.iter().filter(|c| c.sides.contains(&side)) {
        let mesh = claim.mesh.as_str();
        if off.contains_key(mesh) {
            continue;
        }
        if claim.backends.is_empty() {
            // It claims every backend that nobody of higher rank has.
            off.insert(mesh, claim);
        }
        for backend in claim.backends.keys() {
            units.entry((mesh, backend)).or_insert(claim);
        }
    }
    (units, off.into_values().min_by(|a, b| rank(*a, *b)))
}

/// Adds an entry. Istio keeps the last filter of a provider that it is given twice: one entry takes what any of them would.
fn add(providers: &mut BTreeMap<String, Option<String>>, entry: &LogEntry) {
    let both = match (providers.get(&entry.provider), &entry.filter) {
        (None, filter) => filter.clone(),
        (Some(Some(a)), Some(b)) if a != b => Some(filter::either(a, b)),
        (Some(Some(a)), Some(_)) => Some(a.clone()),
        (Some(_), _) => None,
    };
    providers.insert(entry.provider.clone(), both);
}

/// The units that a log claim loses to other claims of exactly its scope and selection.
pub fn lost_units(claim: &LogClaim, all: &[LogClaim]) -> Vec<Lost> {
    let better = better_ranked(claim, all);
    let in_set = |set: WorkloadSet| {
        let rivals = better.iter().copied();
        let rivals: Vec<&LogClaim> = rivals.filter(|r| r.selection.sets().contains(&set)).collect();
        lost_in(claim, &set, &rivals)
    };
    claim.selection.sets().into_iter().flat_map(in_set).collect()
}

/// The units that a log claim loses for some of its workloads only: for those that a claim of better rank selects too, by
/// other labels.
pub fn lost_for_some(claim: &LogClaim, all: &[LogClaim]) -> Vec<Lost> {
    let better = better_ranked(claim, all).into_iter();
    let meeting = better.filter_map(|rival| Some((claim.selection.meets(&rival.selection)?, rival)));
    meeting
        .flat_map(|(set, rival)| lost_in(claim, &set, &[rival]))
        .collect()
}

/// The claims of the same mesh that win against a log claim where they meet, the best first.
fn better_ranked<'c>(claim: &LogClaim, all: &'c [LogClaim]) -> Vec<&'c LogClaim> {
    let better = |other: &&LogClaim| {
        other.mesh == claim.mesh && !other.source.is_same_object(&claim.source) && rank(*other, claim) == Ordering::Less
    };
    let mut rivals: Vec<&LogClaim> = all.iter().filter(better).collect();
    rivals.sort_by(|a, b| rank(*a, *b));
    rivals
}

/// The units that a claim loses in a set of workloads to claims of better rank there.
fn lost_in(claim: &LogClaim, set: &WorkloadSet, rivals: &[&LogClaim]) -> Vec<Lost> {
    let mut lost = Vec::new();
    for side in &claim.sides {
        let on_side = || rivals.iter().filter(|rival| rival.sides.contains(side));
        let mut note = |backend: Option<String>, winner: &LogClaim| {
            lost.push(Lost {
                backend,
                side: *side,
                set: set.clone(),
                winner: winner.source.clone(),
            });
        };
        if claim.backends.is_empty()
            && let Some(winner) = on_side().find(|rival| !rival.backends.is_empty())
        {
            note(None, winner);
        }
        for backend in claim.backends.keys() {
            let takes = |rival: &&&LogClaim| rival.backends.is_empty() || rival.backends.contains_key(backend);
            if let Some(winner) = on_side().find(takes) {
                note(Some(backend.clone()), winner);
            }
        }
    }
    lost
}

/// The units of a log claim that stay as the mesh requires them, in another way than the claim says.
pub fn required_units(claim: &LogClaim, required: &[LogClaim]) -> Vec<(String, Side)> {
    let mut kept = Vec::new();
    for required in required.iter().filter(|required| required.mesh == claim.mesh) {
        for side in required.sides.iter().filter(|side| claim.sides.contains(side)) {
            for (backend, entries) in &required.backends {
                let says_otherwise = match claim.backends.get(backend) {
                    Some(own) => own != entries,
                    None => claim.backends.is_empty(),
                };
                if says_otherwise {
                    kept.push((backend.clone(), *side));
                }
            }
        }
    }
    kept.sort();
    kept.dedup();
    kept
}

/// How many units a claim has.
pub fn unit_count(claim: &LogClaim) -> usize {
    claim.selection.sets().len() * claim.sides.len() * claim.backends.len().max(1)
}

/// The sets of workloads that a tracing claim loses, each with its winner.
pub fn lost_sets(claim: &TraceClaim, all: &[TraceClaim]) -> Vec<(WorkloadSet, Source)> {
    let rivals = || {
        all.iter()
            .filter(|other| !other.source.is_same_object(&claim.source) && rank(*other, claim) == Ordering::Less)
    };
    let lost = |set: WorkloadSet| {
        let winner = best(rivals().filter(|rival| rival.selection.sets().contains(&set)))?;
        Some((set, winner.source.clone()))
    };
    claim.selection.sets().into_iter().filter_map(lost).collect()
}

/// The tracing claims that win for some of the workloads of one only: for those that they select too, by other labels.
pub fn wins_for_some<'c>(claim: &TraceClaim, all: &'c [TraceClaim]) -> Vec<&'c Source> {
    let wins = |other: &&TraceClaim| {
        !other.source.is_same_object(&claim.source)
            && rank(*other, claim) == Ordering::Less
            && claim.selection.meets(&other.selection).is_some()
    };
    all.iter().filter(wins).map(|other| &other.source).collect()
}

/// Every set of workloads that needs an object of its own: selectors, closed under intersection, and targets. For two
/// selectors that one pod may match, the labels of both are a set too. Istio applies all objects that match, oldest
/// first; one complete object per set, with more labels always newer, gives each pod its own policy.
fn workload_sets(claims: &NamespaceClaims) -> (BTreeSet<WorkloadSet>, Vec<(Source, Option<Overlap>)>) {
    let logs = claims.logs.iter().map(|c| (&c.source, &c.selection, c.priority));
    let traces = claims.traces.iter().map(|c| (&c.source, &c.selection, 0));
    let all: Vec<(&Source, &Selection, i32)> = logs.chain(traces).filter(|(_, s, _)| !s.is_namespace()).collect();
    let targets = all.iter().filter(|(_, selection, _)| !selection.targets.is_empty());
    let targets: BTreeSet<WorkloadSet> = targets.flat_map(|(_, selection, _)| selection.sets()).collect();
    let mut selecting = all;
    selecting.retain(|(_, selection, _)| selection.targets.is_empty());
    selecting.sort_by_key(|(source, s, priority)| (Reverse(s.selector.len()), Reverse(*priority), *source));
    let mut sets: BTreeSet<Labels> = BTreeSet::new();
    let mut kept: Vec<(&Source, &Labels)> = Vec::new();
    let mut overlapping = Vec::new();
    for (source, Selection { selector, .. }, _) in selecting {
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
    (
        sets.into_iter().map(WorkloadSet::Labels).chain(targets).collect(),
        overlapping,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::claims::PolicyKind;

    fn set(text: &str) -> WorkloadSet {
        WorkloadSet::Labels(labels(text))
    }

    fn selecting(text: &str) -> Selection {
        Selection {
            selector: labels(text),
            ..Selection::default()
        }
    }

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
            selection: selecting(selector),
            priority,
            sides: sides.to_vec(),
            backends: backends
                .iter()
                .map(|b| {
                    let entry = LogEntry {
                        provider: format!("{name}:{b}"),
                        filter: None,
                        backend: None,
                    };
                    ((*b).to_owned(), vec![entry])
                })
                .collect(),
        }
    }

    fn trace(name: &str, selector: &str) -> TraceClaim {
        TraceClaim {
            source: source(PolicyKind::TracingBackend, name),
            mesh: "m".into(),
            selection: selecting(selector),
            provider: name.into(),
            backend: None,
            sampling: "1".into(),
            tags: Vec::new(),
        }
    }

    fn to(providers: &[&str]) -> SideLogging {
        SideLogging::To(providers.iter().map(|p| ((*p).to_owned(), None)).collect())
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
        let object = &resolve(&claims).objects[&set("")];
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
            here: MeshClaims {
                logs: vec![log("root", "", 0, &Side::BOTH, &["stdout"])],
                ..MeshClaims::default()
            },
            ..NamespaceClaims::default()
        };
        let object = &resolve(&claims).objects[&set("")];
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
        let sets: BTreeSet<WorkloadSet> = objects.keys().cloned().collect();
        let expected: BTreeSet<WorkloadSet> = [
            "app=cart",
            "app=cart,tier=web",
            "app=other",
            "app=other,tier=web",
            "tier=web",
        ]
        .map(set)
        .into();
        assert_eq!(sets, expected);
        let both = &objects[&set("app=cart,tier=web")];
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
        assert_eq!(object.objects[&set("")].logging[&Side::Inbound], SideLogging::Off);
        assert_eq!(lost_units(&low, &[off.clone(), low.clone()]).len(), 2);
        let high = log("aa", "", 0, &[Side::Inbound], &["stdout"]);
        let object = resolved(vec![off.clone(), high.clone()]);
        assert_eq!(object.objects[&set("")].logging[&Side::Inbound], to(&["aa:stdout"]));
        assert_eq!(object.objects[&set("")].logging[&Side::Outbound], SideLogging::Off);
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
