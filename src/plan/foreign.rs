//! Telemetries of somebody else beside ours: which of them Istio heeds, and which are taken over in place.
//!
//! Of two Telemetries without a selector in one namespace Istio ignores the younger whole. Of two that select one pod the
//! newer wins field by field, and a selector always wins over none. The age is the creation time, which is by the second,
//! and within one second the name. (Ran: Istio 1.31.)

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::owned::{is_ours, may_be_adopted};
use crate::conditions::some_names;
use crate::crds::TargetKind;
use crate::policy::claims::{Labels, Source, Sources, WorkloadSet, intersection};
use crate::render::istio::telemetry::object_name;
use crate::render::metadata::{ADOPT, ADOPTED, REVISION};
use crate::snapshot::{Key, key_of, labels_of};

/// A part of a Telemetry's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `accessLogging`
    AccessLogging,
    /// `tracing`
    Tracing,
    /// `metrics`
    Metrics,
}

impl Section {
    const ALL: [Self; 3] = [Self::AccessLogging, Self::Tracing, Self::Metrics];

    const fn as_str(self) -> &'static str {
        match self {
            Self::AccessLogging => "accessLogging",
            Self::Tracing => "tracing",
            Self::Metrics => "metrics",
        }
    }

    /// The sections that a Telemetry has something in.
    fn of_object(telemetry: &Value) -> BTreeSet<Self> {
        let spec = telemetry.get("spec");
        let entries = |section: Self| spec?.get(section.as_str())?.as_array();
        let says = |section: &Self| entries(*section).is_some_and(|entries| !entries.is_empty());
        Self::ALL.into_iter().filter(says).collect()
    }

    /// The sections that a resource contributes to.
    pub fn of_source(sources: &Sources, source: &Source) -> BTreeSet<Self> {
        let log = sources.logs.iter().any(|claim| claim.source.is_same_object(source));
        let trace = sources.traces.iter().any(|claim| claim.source.is_same_object(source));
        let metrics = sources.metrics.iter().any(|claim| claim.source.is_same_object(source));
        let all = Self::ALL.into_iter().zip([log, trace, metrics]);
        all.filter_map(|(section, contributes)| contributes.then_some(section))
            .collect()
    }
}

/// What Istio makes of one of our Telemetries and one of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It ignores ours, which is the younger of two without a selector.
    IgnoresOurs,
    /// It ignores theirs, which is the younger of two without a selector.
    IgnoresTheirs,
    /// Theirs wins where both speak: it selects pods, or is the newer of two that do.
    TheirsWins,
    /// Ours, the newer, wins where both speak; theirs holds where ours is silent.
    OursWins,
}

/// A Telemetry of somebody else beside one of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// What Istio makes of the two.
    pub effect: Effect,
    /// Theirs.
    theirs: Key,
    /// Ours.
    ours: Key,
    /// What both speak of.
    sections: BTreeSet<Section>,
    /// Pods or targets that theirs is for.
    workloads: String,
    /// Whether the annotation would let us take it over.
    can_be_adopted: bool,
}

impl Beside {
    /// Whether it concerns a resource that contributes to these sections of ours. What is ignored is ignored whole.
    pub fn concerns(&self, sections: &BTreeSet<Section>) -> bool {
        let whole = matches!(self.effect, Effect::IgnoresOurs | Effect::IgnoresTheirs);
        !sections.is_empty() && (whole || !self.sections.is_disjoint(sections))
    }

    /// The effect on these sections and the way out, for a person.
    pub fn message(&self, sections: &BTreeSet<Section>) -> String {
        let (ours, theirs, workloads) = (&self.ours, &self.theirs, &self.workloads);
        let names = some_names(self.sections.intersection(sections).map(|section| section.as_str()));
        let effect = match self.effect {
            Effect::IgnoresOurs => {
                format!("Istio ignores Telemetry {ours}, because Telemetry {theirs} of somebody else is older")
            }
            Effect::IgnoresTheirs => format!("Istio ignores Telemetry {theirs}, because ours, {ours}, is older"),
            Effect::TheirsWins => {
                format!("Telemetry {theirs} of somebody else overrides {ours} in {names} for {workloads}")
            }
            Effect::OursWins => {
                format!(
                    "Telemetry {theirs} of somebody else holds for {workloads} where {ours} says nothing in {names}"
                )
            }
        };
        let (namespace, name) = (&theirs.namespace, &theirs.name);
        if self.can_be_adopted {
            format!(
                "{effect}; delete it, or let Sightline take it over: kubectl annotate telemetry -n {namespace} {name} {ADOPT}=true."
            )
        } else {
            format!("{effect}; delete it.")
        }
    }
}

/// The Telemetries of somebody else that Istio heeds beside one of ours, or ignores because of it.
///
/// `live` are those of the namespace, and `places` where ours stand or will; `wanted` is ours as it should be. One that is
/// not there yet will be the younger. `revisions` are those of istiod that read ours.
pub fn beside(
    set: &WorkloadSet,
    wanted: &Value,
    live: &BTreeMap<Key, &Value>,
    places: &BTreeMap<WorkloadSet, Key>,
    revisions: &BTreeSet<String>,
) -> Vec<Beside> {
    let ours = key_of(wanted);
    let our_age = live.get(&ours).map(|live| age(live));
    let is_theirs = |key: &Key, object: &Value| {
        !is_ours(object) && !places.values().any(|place| place == key) && is_read(object, revisions)
    };
    let mut theirs: Vec<(&Key, &Value)> = live.iter().map(|(key, object)| (key, *object)).collect();
    theirs.retain(|(key, object)| is_theirs(key, object));
    theirs.sort_by_key(|(_, object)| age(object));
    let beside = |(key, object): &(&Key, &Value)| {
        let workloads = workloads(object);
        let is_older = our_age.is_none_or(|ours| age(object) < ours);
        let effect = effect(set, &workloads, is_older)?;
        Some(Beside {
            effect,
            theirs: (*key).clone(),
            ours: ours.clone(),
            sections: &Section::of_object(wanted) & &Section::of_object(object),
            workloads: described(&workloads),
            can_be_adopted: workloads == std::slice::from_ref(set) && !may_be_adopted(object),
        })
    };
    let mut all: Vec<Beside> = theirs.iter().filter_map(beside).collect();
    // The oldest silences the others, ours among them.
    if let Some(shadow) = all.iter().find(|beside| beside.effect == Effect::IgnoresOurs) {
        all = vec![shadow.clone()];
    }
    all
}

/// What Istio makes of ours for `set` and theirs; `None`: they do not meet, or ours is the deeper scope.
fn effect(set: &WorkloadSet, theirs: &[WorkloadSet], theirs_is_older: bool) -> Option<Effect> {
    let theirs_is_whole = theirs.iter().any(WorkloadSet::is_namespace);
    match (set.is_namespace(), theirs_is_whole) {
        (true, true) if theirs_is_older => Some(Effect::IgnoresOurs),
        (true, true) => Some(Effect::IgnoresTheirs),
        (false, true) => None,
        (false, false) if !theirs.iter().any(|other| may_meet(set, other)) => None,
        (false, false) if theirs_is_older => Some(Effect::OursWins),
        (true | false, false) => Some(Effect::TheirsWins),
    }
}

/// Whether a workload may be in both sets, none of which is a whole namespace.
fn may_meet(a: &WorkloadSet, b: &WorkloadSet) -> bool {
    match (a, b) {
        (WorkloadSet::Labels(a), WorkloadSet::Labels(b)) => intersection(a, b).is_some(),
        _ => a.is_within(b) || b.is_within(a),
    }
}

/// The name of each set's object: that of an adopted one as long as it exists, the oldest of several; else its own.
pub fn places(
    namespace: &str,
    sets: &BTreeMap<WorkloadSet, BTreeSet<String>>,
    live: &BTreeMap<Key, &Value>,
) -> BTreeMap<WorkloadSet, Key> {
    let standard: BTreeMap<&WorkloadSet, Key> = sets
        .keys()
        .map(|set| (set, Key::new(namespace, object_name(set))))
        .collect();
    let place = |(set, revisions): (&WorkloadSet, &BTreeSet<String>)| {
        let is_free = |key: &Key| standard.iter().all(|(other, taken)| *other == set || taken != key);
        let adopted = live
            .iter()
            .filter(|(key, object)| is_free(key) && is_adopted_for(object, set, revisions));
        let oldest = adopted.min_by_key(|(_, object)| age(object)).map(|(key, _)| key);
        let own = || Key::new(namespace, object_name(set));
        (set.clone(), oldest.cloned().unwrap_or_else(own))
    };
    sets.iter().map(place).collect()
}

/// Whether a live Telemetry was, or is to be, taken over for a set of workloads.
fn is_adopted_for(live: &Value, set: &WorkloadSet, revisions: &BTreeSet<String>) -> bool {
    let is_for_it = || workloads(live) == std::slice::from_ref(set);
    if !is_ours(live) {
        return may_be_adopted(live) && is_read(live, revisions) && is_for_it();
    }
    match adopted_for(live) {
        // Whatever somebody has made of its selector since.
        Some(name) => name == object_name(set),
        // Somebody has taken the annotation away: no name of our own begins otherwise.
        None => !key_of(live).name.starts_with(&object_name(&WorkloadSet::namespace())) && is_for_it(),
    }
}

/// Whether a live Telemetry, at the place of one of ours, was or is to be taken over: it never gets owners.
pub fn is_adopted(live: &Value, set: &WorkloadSet) -> bool {
    !is_ours(live) || adopted_for(live).is_some() || key_of(live).name != object_name(set)
}

fn adopted_for(live: &Value) -> Option<&str> {
    live.pointer("/metadata/annotations")?.get(ADOPTED)?.as_str()
}

/// Whether an istiod of these revisions reads an object: one without the label is read by all.
fn is_read(object: &Value, revisions: &BTreeSet<String>) -> bool {
    labels_of(object)
        .get(REVISION)
        .is_none_or(|revision| revisions.contains(revision))
}

/// When an object was made, and its name: what Istio sorts by. RFC 3339 in UTC to the second sorts as text.
pub fn age(object: &Value) -> (&str, &str) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/creationTimestamp"), text("/metadata/name"))
}

/// What a Telemetry is for, as Istio reads it: an empty selector is none. Targets of kinds that we do not know are left
/// out.
fn workloads(telemetry: &Value) -> Vec<WorkloadSet> {
    let field = |name: &str| telemetry.get("spec").and_then(|spec| spec.get(name));
    let listed = field("targetRefs").and_then(Value::as_array).into_iter().flatten();
    let targets: Vec<&Value> = listed.chain(field("targetRef")).collect();
    if !targets.is_empty() {
        let target = |target: &&Value| {
            let kind: TargetKind = serde_json::from_value(target.get("kind")?.clone()).ok()?;
            Some(WorkloadSet::Target(kind, target.get("name")?.as_str()?.to_owned()))
        };
        return targets.iter().filter_map(target).collect();
    }
    let labels = field("selector").and_then(|selector| selector.get("matchLabels"));
    let labels: Labels = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    vec![WorkloadSet::Labels(labels)]
}

fn described(workloads: &[WorkloadSet]) -> String {
    let described = |set: &WorkloadSet| match set {
        WorkloadSet::Labels(labels) => {
            let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
            format!("pods with {}", labels.collect::<Vec<_>>().join(","))
        }
        WorkloadSet::Target(kind, name) => format!("{kind:?} {name}"),
    };
    if workloads.is_empty() {
        return "the targets that it names".to_owned();
    }
    some_names(workloads.iter().map(described))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn telemetry(name: &str, second: u32, spec: &Value) -> Value {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        json!({"metadata": {"name": name, "namespace": "shop", "creationTimestamp": created}, "spec": spec})
    }

    fn ours(name: &str, second: u32, spec: &Value) -> Value {
        let mut ours = telemetry(name, second, spec);
        ours["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "sightline"});
        ours
    }

    fn labels(app: &str) -> WorkloadSet {
        WorkloadSet::Labels(Labels::from([("app".to_owned(), app.to_owned())]))
    }

    fn effects(set: &WorkloadSet, live: &[Value]) -> Vec<(String, Effect)> {
        let wanted = telemetry(&object_name(set), 0, &json!({"accessLogging": [{}]}));
        let live: BTreeMap<Key, &Value> = live.iter().map(|object| (key_of(object), object)).collect();
        let sets = BTreeMap::from([(set.clone(), BTreeSet::new())]);
        let places = places("shop", &sets, &live);
        let all = beside(set, &wanted, &live, &places, &BTreeSet::from(["default".to_owned()]));
        all.into_iter().map(|b| (b.theirs.name, b.effect)).collect()
    }

    fn whole() -> Value {
        json!({"accessLogging": [{}]})
    }

    #[test]
    fn of_two_without_a_selector_the_older_is_heeded_and_within_one_second_the_first_by_name() {
        let set = WorkloadSet::namespace();
        let ours = ours("sightline", 5, &whole());
        let with = |name: &str, second| effects(&set, &[ours.clone(), telemetry(name, second, &whole())]);
        assert_eq!(with("z", 4), [("z".to_owned(), Effect::IgnoresOurs)]);
        assert_eq!(with("a", 5), [("a".to_owned(), Effect::IgnoresOurs)]);
        assert_eq!(with("z", 5), [("z".to_owned(), Effect::IgnoresTheirs)]);
        assert_eq!(with("a", 6), [("a".to_owned(), Effect::IgnoresTheirs)]);
    }

    #[test]
    fn ours_that_is_not_there_yet_will_be_the_younger() {
        let theirs = telemetry("z", 59, &whole());
        assert_eq!(
            effects(&WorkloadSet::namespace(), &[theirs]),
            [("z".to_owned(), Effect::IgnoresOurs)]
        );
    }

    #[test]
    fn an_empty_selector_is_none() {
        let spec = json!({"selector": {"matchLabels": {}}, "accessLogging": [{}]});
        let found = effects(&WorkloadSet::namespace(), &[telemetry("z", 0, &spec)]);
        assert_eq!(found, [("z".to_owned(), Effect::IgnoresOurs)]);
        let spec = json!({"selector": {}, "accessLogging": [{}]});
        let found = effects(&WorkloadSet::namespace(), &[telemetry("z", 0, &spec)]);
        assert_eq!(found, [("z".to_owned(), Effect::IgnoresOurs)]);
    }

    #[test]
    fn the_oldest_silences_ours_and_every_other() {
        let live = [
            telemetry("a", 3, &whole()),
            telemetry("b", 1, &whole()),
            ours("sightline", 5, &whole()),
        ];
        let found = effects(&WorkloadSet::namespace(), &live);
        assert_eq!(found, [("b".to_owned(), Effect::IgnoresOurs)]);
    }

    #[test]
    fn a_selector_wins_over_none_and_the_newer_of_two_that_may_meet_over_the_older() {
        let cart = json!({"selector": {"matchLabels": {"app": "cart"}}, "accessLogging": [{}]});
        let web = json!({"selector": {"matchLabels": {"tier": "web"}}, "accessLogging": [{}]});
        let pay = json!({"selector": {"matchLabels": {"app": "pay"}}, "accessLogging": [{}]});
        let mine = ours(&object_name(&labels("cart")), 5, &cart);
        let with = |theirs: Value| effects(&labels("cart"), &[mine.clone(), theirs]);
        assert_eq!(
            with(telemetry("z", 6, &web)),
            [("z".to_owned(), Effect::TheirsWins)],
            "a pod may have both labels"
        );
        assert_eq!(with(telemetry("z", 4, &web)), [("z".to_owned(), Effect::OursWins)]);
        assert_eq!(with(telemetry("z", 4, &pay)), [], "no pod has two values of one label");
        assert_eq!(with(telemetry("z", 4, &whole())), [], "ours is the deeper scope");
        let found = effects(&WorkloadSet::namespace(), &[telemetry("z", 0, &pay)]);
        assert_eq!(found, [("z".to_owned(), Effect::TheirsWins)]);
    }

    #[test]
    fn a_target_meets_the_same_target_and_a_service_the_gateway_that_serves_it() {
        let target = |kind: &str, name: &str| json!({"targetRefs": [{"kind": kind, "name": name}], "tracing": [{}]});
        let gateway = WorkloadSet::Target(TargetKind::Gateway, "a".into());
        let meets = |set: &WorkloadSet, spec: &Value| !effects(set, &[telemetry("z", 0, spec)]).is_empty();
        let with = |spec: &Value| meets(&gateway, spec);
        assert!(with(&target("Gateway", "a")));
        assert!(!with(&target("Gateway", "b")));
        assert!(with(&target("Service", "any")));
        let cart = json!({"selector": {"matchLabels": {"app": "cart"}}, "tracing": [{}]});
        assert!(with(&cart), "the pods of a gateway may carry any labels");
        assert!(!meets(&WorkloadSet::Target(TargetKind::Service, "a".into()), &cart));
        let whole = effects(&WorkloadSet::namespace(), &[telemetry("z", 0, &target("Other", "a"))]);
        assert_eq!(whole, [("z".to_owned(), Effect::TheirsWins)]);
    }

    #[test]
    fn what_no_istiod_of_ours_reads_does_not_count() {
        let mut theirs = telemetry("z", 0, &whole());
        theirs["metadata"]["labels"] = json!({"istio.io/rev": "other"});
        assert_eq!(effects(&WorkloadSet::namespace(), &[theirs.clone()]), []);
        theirs["metadata"]["labels"] = json!({"istio.io/rev": "default"});
        assert_eq!(effects(&WorkloadSet::namespace(), &[theirs]).len(), 1);
    }

    #[test]
    fn only_sections_that_both_speak_of_are_contested() {
        let set = WorkloadSet::namespace();
        let wanted = telemetry("sightline", 0, &json!({"accessLogging": [{}], "tracing": [{}]}));
        let cart = json!({"selector": {"matchLabels": {"app": "cart"}}, "tracing": [{}], "metrics": [{}]});
        let theirs = telemetry("z", 0, &cart);
        let live = BTreeMap::from([(key_of(&theirs), &theirs)]);
        let all = beside(&set, &wanted, &live, &BTreeMap::new(), &BTreeSet::new());
        let concerns = |section| all[0].concerns(&BTreeSet::from([section]));
        assert!(concerns(Section::Tracing));
        assert!(!concerns(Section::AccessLogging) && !concerns(Section::Metrics));
        let message = all[0].message(&BTreeSet::from(Section::ALL));
        assert_eq!(
            message,
            "Telemetry shop/z of somebody else overrides shop/sightline in tracing for pods with app=cart; delete it."
        );
    }

    fn place_of(set: &WorkloadSet, live: &[Value]) -> String {
        let live: BTreeMap<Key, &Value> = live.iter().map(|object| (key_of(object), object)).collect();
        let sets = BTreeMap::from([
            (set.clone(), BTreeSet::new()),
            (WorkloadSet::namespace(), BTreeSet::new()),
        ]);
        places("shop", &sets, &live)[set].name.clone()
    }

    #[test]
    fn the_oldest_of_those_taken_over_for_a_set_is_its_place_whatever_its_selector_says_meanwhile() {
        let set = labels("cart");
        let own = object_name(&set);
        let spec = json!({"selector": {"matchLabels": {"app": "cart"}}});
        let adopted = |name: &str, second, spec: &Value| {
            let mut object = ours(name, second, spec);
            object["metadata"]["annotations"] = json!({"sightline.dev/adopted": own});
            object
        };
        let standard = ours(&own, 1, &spec);
        assert_eq!(place_of(&set, std::slice::from_ref(&standard)), own);
        assert_eq!(place_of(&set, &[standard.clone(), adopted("z", 5, &spec)]), "z");
        let two = [adopted("z", 5, &spec), adopted("a", 7, &spec), standard];
        assert_eq!(place_of(&set, &two), "z");
        assert_eq!(place_of(&set, &[adopted("z", 5, &whole())]), "z");
        assert_eq!(
            place_of(&set, &[ours("z", 5, &spec)]),
            "z",
            "somebody took the annotation away"
        );
    }

    #[test]
    fn consent_is_for_the_same_workloads_only_and_never_for_the_name_of_another_object_of_ours() {
        let set = labels("cart");
        let consenting = |name: &str, spec: &Value| {
            let mut object = telemetry(name, 0, spec);
            object["metadata"]["annotations"] = json!({"sightline.dev/adopt": "true"});
            object
        };
        let spec = json!({"selector": {"matchLabels": {"app": "cart"}}});
        assert_eq!(place_of(&set, &[consenting("z", &spec)]), "z");
        assert_eq!(place_of(&set, &[telemetry("z", 0, &spec)]), object_name(&set));
        assert_eq!(place_of(&set, &[consenting("z", &whole())]), object_name(&set));
        assert_eq!(place_of(&set, &[consenting("sightline", &spec)]), object_name(&set));
    }
}
