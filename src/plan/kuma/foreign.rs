//! Policies of somebody else in Kuma's system namespace beside ours: which of two Kuma heeds.
//!
//! For a proxy Kuma puts all policies that select it in an order, and what a later one says replaces what an earlier one
//! said: lists of backends are replaced, not joined (ran). The order is that of the kinds of `targetRef` (`order` of
//! `api/common/v1alpha1/targetref.go`), then the particular Dataplane after labels, then what a zone made after what came
//! from the global control plane, then names from last to first (`CompareByPolicyAttributes` and `CompareByDisplayName` of
//! `pkg/plugins/policies/core/rules/sort`). All of the system namespace have the same role. Those of other namespaces are
//! not looked at: Sightline has no right to read them.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::conditions::some_names;
use crate::plan::owned::is_ours;
use crate::policy::claims::{Labels, intersection};
use crate::render::kuma::policy::{KUMA_MESH, NAMESPACE_OF_PROXY};
use crate::snapshot::{Key, Kind, key_of, labels_of};

/// What Kuma makes of one of our policies and one of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Theirs replaces ours for every workload.
    Shadows,
    /// Theirs comes after ours for some workloads or some requests.
    TheirsWins,
    /// Ours comes after theirs, which has a target of the same kind.
    OursWins,
}

/// A policy of somebody else beside one of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Beside {
    /// What Kuma makes of the two.
    pub effect: Effect,
    kind: Kind,
    theirs: Key,
    ours: Key,
    /// Whom theirs is for.
    workloads: String,
    /// Whether the names decide.
    by_name: bool,
}

impl Beside {
    /// The effect and the way out, for a person.
    pub fn message(&self) -> String {
        let (kind, theirs, ours, workloads) = (self.kind.names().1, &self.theirs, &self.ours, &self.workloads);
        let why = if self.by_name {
            "of two with the same kind of target the name that sorts first counts"
        } else {
            "its kind of target comes after ours"
        };
        match self.effect {
            Effect::Shadows => format!(
                "{kind} {theirs} of somebody else replaces {ours}: {why}; delete it{}.",
                if self.by_name {
                    ", or give it a name that sorts behind"
                } else {
                    ""
                }
            ),
            Effect::TheirsWins => format!(
                "{kind} {theirs} of somebody else takes part in {ours} for {workloads}: {why}; delete it, or narrow its target."
            ),
            Effect::OursWins => format!(
                "{kind} {theirs} of somebody else, for {workloads}, is replaced by {ours} where both select: {why}; delete it, or say in a policy of Sightline what it says."
            ),
        }
    }
}

/// The policies of somebody else among `live`, all of a kind, beside the one of ours of that kind that is wanted.
pub fn beside<'a>(kind: Kind, wanted: &Value, live: impl IntoIterator<Item = &'a Value>) -> Vec<Beside> {
    let (Some(part), ours) = (Part::of_ours(wanted), Target::of(wanted)) else {
        return Vec::new();
    };
    let mesh = mesh_of(wanted);
    let theirs = live.into_iter().filter(|live| !is_ours(live) && mesh_of(live) == mesh);
    let beside = |object: &Value| {
        let says = part.of(object)?;
        let target = Target::of(object);
        if !target.may_meet(&ours) {
            return None;
        }
        let order = target.order(&ours);
        let by_name = order.is_eq();
        let wins = order
            .then_with(|| display_name(wanted).cmp(&display_name(object)))
            .is_gt();
        let effect = match wins {
            true if target.covers(&ours) && says == Says::Whole => Effect::Shadows,
            true => Effect::TheirsWins,
            false if target.rank == ours.rank => Effect::OursWins,
            // Ours has the deeper target, as policies are meant to.
            false => return None,
        };
        Some(Beside {
            effect,
            kind,
            theirs: key_of(object),
            ours: key_of(wanted),
            workloads: target.described(),
            by_name,
        })
    };
    theirs.filter_map(beside).collect()
}

/// The mesh of Kuma's that an object belongs to: `default` where it does not say.
fn mesh_of(object: &Value) -> String {
    labels_of(object)
        .remove(KUMA_MESH)
        .unwrap_or_else(|| "default".to_owned())
}

/// What Kuma sorts by.
fn display_name(object: &Value) -> String {
    let own = || key_of(object).name;
    labels_of(object).remove("kuma.io/display-name").unwrap_or_else(own)
}

/// A part of a policy that replaces the same part of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `to` of a MeshAccessLog: what workloads send.
    To,
    /// `from` or `rules` of a MeshAccessLog: what workloads receive.
    Inbound,
    /// `default` of the others.
    Default,
}

/// How much of a part a policy speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// Of all requests, and of where they go.
    Whole,
    /// Of some requests, or of something else than backends.
    Some,
}

impl Part {
    const ALL: [Self; 3] = [Self::To, Self::Inbound, Self::Default];

    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::To => &["to"],
            Self::Inbound => &["from", "rules"],
            Self::Default => &["default"],
        }
    }

    /// The one that an object of ours has.
    fn of_ours(object: &Value) -> Option<Self> {
        let has = |part: &Self| part.members().iter().any(|member| spec(object, member).is_some());
        Self::ALL.into_iter().find(has)
    }

    /// How much an object says of it; `None`: nothing.
    fn of(self, object: &Value) -> Option<Says> {
        if self == Self::Default {
            return says(spec(object, "default")?);
        }
        let items = self
            .members()
            .iter()
            .filter_map(|member| spec(object, member)?.as_array());
        let said: Vec<Says> = items
            .flatten()
            .filter_map(|item| {
                let whole = item.get("matches").is_none()
                    && matches!(
                        item.pointer("/targetRef/kind").and_then(Value::as_str),
                        None | Some("Mesh")
                    );
                let says = says(item.get("default")?)?;
                Some(if whole { says } else { Says::Some })
            })
            .collect();
        let whole = said.iter().find(|says| **says == Says::Whole);
        whole.or_else(|| said.first()).copied()
    }
}

fn spec<'a>(object: &'a Value, member: &str) -> Option<&'a Value> {
    object.get("spec")?.get(member)
}

fn says(default: &Value) -> Option<Says> {
    let default = default.as_object().filter(|default| !default.is_empty())?;
    Some(if default.contains_key("backends") {
        Says::Whole
    } else {
        Says::Some
    })
}

/// Whom a policy is for.
#[derive(Debug)]
struct Target {
    kind: String,
    rank: usize,
    /// Whether it names a Dataplane, or a section of one.
    is_particular: (bool, bool),
    is_from_global: bool,
    /// The labels, or tags, that it selects by; `None`: it names something.
    labels: Option<Labels>,
    /// The namespace whose workloads alone it can be for, where it says so.
    namespace: Option<String>,
    name: Option<String>,
    gateways_only: bool,
}

/// Kinds of target, each before those that count more.
const KINDS: [&str; 9] = [
    "Mesh",
    "Dataplane",
    "MeshSubset",
    "MeshGateway",
    "MeshService",
    "MeshExternalService",
    "MeshMultiZoneService",
    "MeshServiceSubset",
    "MeshHTTPRoute",
];

impl Target {
    fn of(object: &Value) -> Self {
        let nothing = Map::new();
        let target = spec(object, "targetRef").and_then(Value::as_object).unwrap_or(&nothing);
        let text = |member: &str| {
            let text = target.get(member).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let kind = text("kind").unwrap_or_else(|| "Mesh".to_owned());
        let name = text("name");
        let labels: Labels = ["labels", "tags"]
            .iter()
            .filter_map(|member| target.get(*member)?.as_object())
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let proxy_types = target.get("proxyTypes").and_then(Value::as_array);
        let namespace = labels.get(NAMESPACE_OF_PROXY).cloned();
        let of_service = || namespace_of_service(labels.get("kuma.io/service").or(name.as_ref())?);
        Self {
            rank: KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len()),
            is_particular: (kind == "Dataplane" && name.is_some(), text("sectionName").is_some()),
            is_from_global: labels_of(object)
                .get("kuma.io/origin")
                .is_some_and(|origin| origin == "global"),
            namespace: namespace.or_else(|| text("namespace")).or_else(of_service),
            labels: (matches!(kind.as_str(), "Mesh" | "MeshSubset" | "Dataplane") && name.is_none()).then_some(labels),
            gateways_only: kind == "MeshGateway"
                || proxy_types.is_some_and(|types| !types.is_empty() && !types.contains(&Value::from("Sidecar"))),
            kind,
            name,
        }
    }

    /// Whether one counts more than the other, but for names.
    fn order(&self, other: &Self) -> Ordering {
        let key = |target: &Self| (target.rank, target.is_particular, !target.is_from_global);
        key(self).cmp(&key(other))
    }

    /// Whether a proxy may be in both.
    fn may_meet(&self, ours: &Self) -> bool {
        let elsewhere = self.namespace.as_ref().zip(ours.namespace.as_ref());
        let labels = self.labels.as_ref().zip(ours.labels.as_ref());
        !self.gateways_only
            && elsewhere.is_none_or(|(theirs, ours)| theirs == ours)
            && labels.is_none_or(|(theirs, ours)| intersection(theirs, ours).is_some())
    }

    /// Whether every proxy of ours is in this one too.
    fn covers(&self, ours: &Self) -> bool {
        let labels = self.labels.as_ref().zip(ours.labels.as_ref());
        !self.is_particular.1
            && labels.is_some_and(|(theirs, ours)| theirs.iter().all(|(key, value)| ours.get(key) == Some(value)))
    }

    fn described(&self) -> String {
        match (&self.labels, &self.name) {
            (Some(labels), _) if labels.is_empty() => "the whole mesh".to_owned(),
            (Some(labels), _) => {
                let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
                format!("workloads with {}", some_names(labels))
            }
            (None, Some(name)) => format!("{} {name}", self.kind),
            (None, None) => format!("a {}", self.kind),
        }
    }
}

/// The namespace in a service's name as Kuma makes it of a Service: `cart_shop_svc_8080`.
fn namespace_of_service(name: &str) -> Option<String> {
    let mut words = name.split('_');
    let (_, namespace, marker) = (words.next()?, words.next()?, words.next()?);
    (marker == "svc").then(|| namespace.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inbound(name: &str, target: &Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "kuma-system"},
               "spec": {"targetRef": target, "rules": [{"default": {"backends": []}}]}})
    }

    fn ours(name: &str, target: &Value) -> Value {
        let mut ours = inbound(name, target);
        ours["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "sightline", "kuma.io/mesh": "default"});
        ours
    }

    fn whole() -> Value {
        json!({"kind": "Mesh"})
    }

    fn of_shop() -> Value {
        json!({"kind": "Dataplane", "labels": {"k8s.kuma.io/namespace": "shop"}})
    }

    fn effect(ours: &Value, theirs: &Value) -> Option<Effect> {
        let found = beside(Kind::MeshAccessLog, ours, [ours, theirs]);
        assert!(found.len() < 2, "{found:?}");
        found.first().map(|beside| beside.effect)
    }

    /// Ran: of `ma` and `mb` with the same target `ma` counts, whole.
    #[test]
    fn of_two_with_the_same_target_the_first_by_name_counts_whole() {
        let m = ours("m", &whole());
        assert_eq!(effect(&m, &inbound("a", &whole())), Some(Effect::Shadows));
        assert_eq!(effect(&m, &inbound("z", &whole())), Some(Effect::OursWins));
        let mut shown = inbound("z", &whole());
        shown["metadata"]["labels"] = json!({"kuma.io/display-name": "a"});
        assert_eq!(effect(&m, &shown), Some(Effect::Shadows), "the name that Kuma sorts by");
        let unsaid = json!({"metadata": {"name": "a"}, "spec": {"rules": [{"default": {"backends": []}}]}});
        assert_eq!(effect(&m, &unsaid), Some(Effect::Shadows), "no target is the mesh");
    }

    #[test]
    fn a_kind_of_target_that_comes_later_counts_whatever_the_name_and_for_its_workloads_alone() {
        let m = ours("m", &of_shop());
        let of = |kind: &str, member: &str, labels: Value| inbound("z", &json!({"kind": kind, member: labels}));
        let in_shop = json!({"k8s.kuma.io/namespace": "shop"});
        assert_eq!(
            effect(&m, &of("MeshSubset", "tags", in_shop.clone())),
            Some(Effect::Shadows)
        );
        assert_eq!(effect(&m, &of("MeshSubset", "tags", json!({}))), Some(Effect::Shadows));
        let cart = json!({"k8s.kuma.io/namespace": "shop", "app": "cart"});
        assert_eq!(
            effect(&m, &of("MeshSubset", "tags", cart.clone())),
            Some(Effect::TheirsWins)
        );
        let one = inbound(
            "z",
            &json!({"kind": "Dataplane", "name": "cart-1", "namespace": "shop"}),
        );
        assert_eq!(
            effect(&m, &one),
            Some(Effect::TheirsWins),
            "one Dataplane counts more than labels"
        );
        assert_eq!(
            effect(&m, &of("Dataplane", "labels", cart)),
            Some(Effect::OursWins),
            "by name"
        );
        assert_eq!(effect(&m, &inbound("a", &whole())), None, "ours has the deeper target");
    }

    #[test]
    fn what_cannot_meet_is_no_matter() {
        let m = ours("m", &of_shop());
        let elsewhere = json!({"kind": "MeshSubset", "tags": {"k8s.kuma.io/namespace": "other"}});
        assert_eq!(effect(&m, &inbound("a", &elsewhere)), None);
        let service = |name: &str| inbound("a", &json!({"kind": "MeshService", "name": name}));
        assert_eq!(effect(&m, &service("cart_other_svc_80")), None);
        assert_eq!(effect(&m, &service("cart_shop_svc_80")), Some(Effect::TheirsWins));
        let tagged = json!({"kind": "MeshSubset", "tags": {"kuma.io/service": "cart_other_svc_80"}});
        assert_eq!(effect(&m, &inbound("a", &tagged)), None);
        let gateways = json!({"kind": "Mesh", "proxyTypes": ["Gateway"]});
        assert_eq!(effect(&ours("m", &whole()), &inbound("a", &gateways)), None);
        let mut other_mesh = inbound("a", &whole());
        other_mesh["metadata"]["labels"] = json!({"kuma.io/mesh": "other"});
        assert_eq!(effect(&ours("m", &whole()), &other_mesh), None);
    }

    #[test]
    fn a_part_is_compared_with_the_same_part_and_some_of_it_takes_part_only() {
        let m = ours("m", &whole());
        let with = |spec: Value| {
            let mut spec = spec;
            spec["targetRef"] = whole();
            effect(&m, &json!({"metadata": {"name": "a"}, "spec": spec}))
        };
        assert_eq!(with(json!({"to": [{"default": {"backends": []}}]})), None);
        assert_eq!(with(json!({"rules": [{"default": {}}]})), None);
        let from = json!({"from": [{"targetRef": {"kind": "Mesh"}, "default": {"backends": []}}]});
        assert_eq!(with(from), Some(Effect::Shadows));
        let matches = json!({"rules": [{"matches": [{}], "default": {"backends": []}}]});
        assert_eq!(with(matches), Some(Effect::TheirsWins));
        let spans = |default: Value| json!({"metadata": {"name": "a"}, "spec": {"default": default}});
        let mut of_ours = spans(json!({"backends": []}));
        of_ours["metadata"] = m["metadata"].clone();
        let effect = |theirs: &Value| beside(Kind::MeshTrace, &of_ours, [theirs]).first().map(|b| b.effect);
        assert_eq!(effect(&spans(json!({"backends": []}))), Some(Effect::Shadows));
        assert_eq!(
            effect(&spans(json!({"sampling": {"overall": 1}}))),
            Some(Effect::TheirsWins)
        );
    }

    #[test]
    fn what_a_zone_made_counts_more_than_what_came_from_the_global_control_plane() {
        let mut global = inbound("a", &whole());
        global["metadata"]["labels"] = json!({"kuma.io/origin": "global"});
        assert_eq!(effect(&ours("m", &whole()), &global), Some(Effect::OursWins));
    }

    #[test]
    fn a_message_names_both_and_what_decides_and_what_to_do() {
        let m = ours("m", &whole());
        let text = |theirs: &Value| beside(Kind::MeshAccessLog, &m, [theirs]).first().unwrap().message();
        assert_eq!(
            text(&inbound("a", &whole())),
            "MeshAccessLog kuma-system/a of somebody else replaces kuma-system/m: of two with the same kind of target the \
             name that sorts first counts; delete it, or give it a name that sorts behind."
        );
        let one = inbound("z", &json!({"kind": "MeshService", "name": "cart"}));
        assert_eq!(
            text(&one),
            "MeshAccessLog kuma-system/z of somebody else takes part in kuma-system/m for MeshService cart: its kind of \
             target comes after ours; delete it, or narrow its target."
        );
    }
}
