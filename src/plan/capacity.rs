//! Who gets into a MeshConfig map that has limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::Target;
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::ObservabilityMesh;
use crate::policy::membership::name_of;
use crate::render::istio::provider::Provider;
use crate::snapshot::Key;

/// One limit of a map: the smallest of the meshes that write it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Limit {
    value: usize,
    /// The mesh that says so.
    mesh: String,
}

/// The limits of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    providers: Limit,
    of_namespace: Limit,
    bytes: Limit,
}

impl Limits {
    /// The smallest of each of these meshes; `None` where there is no mesh.
    pub fn of(meshes: &[&Arc<ObservabilityMesh>]) -> Option<Self> {
        let smallest = |of: &dyn Fn(&crate::crds::Limits) -> i32| {
            let limits = meshes.iter().map(|mesh| Limit {
                value: usize::try_from(of(&mesh.spec.logging.limits)).unwrap_or_default(),
                mesh: name_of(mesh).to_owned(),
            });
            limits.min()
        };
        Some(Self {
            providers: smallest(&|limits| limits.providers)?,
            of_namespace: smallest(&|limits| limits.providers_per_namespace)?,
            bytes: smallest(&|limits| limits.bytes)?,
        })
    }
}

/// What a resource needs in a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The resource.
    pub of: Target,
    /// Its namespace; empty for an ObservabilityMesh.
    pub namespace: String,
    /// What it needs.
    pub providers: Vec<Provider>,
}

/// Lets in what fits, in the order of the wishes; returns, for each resource that finds no room, why.
///
/// `entries` are those that stay in any case: they count, and whoever needs nothing else is in. A resource is in whole or
/// not at all. Names in `of_meshes` come from the meshes themselves: they do not count against a namespace.
pub fn admit(
    map: &Key,
    entries: &mut BTreeMap<String, Value>,
    wishes: Vec<Wish>,
    of_meshes: &BTreeSet<String>,
    limits: &Limits,
) -> BTreeMap<Target, Finding> {
    let mut bytes: usize = entries.values().map(size).sum();
    let mut of_namespaces: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (there, new): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(|wish| is_in(entries, wish));
    for wish in there {
        let own = own_names(&wish, of_meshes);
        of_namespaces.entry(wish.namespace).or_default().extend(own);
    }
    let mut refused: Vec<(Wish, Finding)> = Vec::new();
    for wish in new {
        let missing: BTreeMap<String, Value> = wish
            .providers
            .iter()
            .filter(|provider| !entries.contains_key(&provider.name))
            .map(|provider| (provider.name.clone(), provider.entry.clone()))
            .collect();
        let mut of_namespace = of_namespaces.get(&wish.namespace).cloned().unwrap_or_default();
        of_namespace.extend(own_names(&wish, of_meshes));
        let larger: usize = bytes + missing.values().map(size).sum::<usize>();
        let why = if missing.is_empty() {
            None
        } else if !wish.namespace.is_empty() && of_namespace.len() > limits.of_namespace.value {
            Some(too_many_of_namespace(map, &wish.namespace, &limits.of_namespace))
        } else if entries.len() + missing.len() > limits.providers.value {
            Some(too_many(map, &limits.providers))
        } else if larger > limits.bytes.value {
            Some(too_large(map, &limits.bytes))
        } else {
            None
        };
        if let Some(finding) = why {
            refused.push((wish, finding));
        } else {
            bytes = larger;
            entries.extend(missing);
            of_namespaces.insert(wish.namespace, of_namespace);
        }
    }
    // What came in for others serves them too.
    refused.retain(|(wish, _)| !is_in(entries, wish));
    refused.into_iter().map(|(wish, finding)| (wish.of, finding)).collect()
}

fn is_in(entries: &BTreeMap<String, Value>, wish: &Wish) -> bool {
    wish.providers
        .iter()
        .all(|provider| entries.contains_key(&provider.name))
}

fn own_names(wish: &Wish, of_meshes: &BTreeSet<String>) -> BTreeSet<String> {
    let names = wish.providers.iter().map(|provider| provider.name.clone());
    names.filter(|name| !of_meshes.contains(name)).collect()
}

/// Bytes of an entry, as JSON.
fn size(entry: &Value) -> usize {
    entry.to_string().len()
}

const WAY_OUT: &str = "use a format that other policies have";

fn too_many_of_namespace(map: &Key, namespace: &str, limit: &Limit) -> Finding {
    let Limit { value, mesh } = limit;
    no_room(format!(
        "The policies of namespace {namespace} would need more than {value} extension providers of their own in ConfigMap {map}: {WAY_OUT}, or raise spec.logging.limits.providersPerNamespace of ObservabilityMesh {mesh}."
    ))
}

fn too_many(map: &Key, limit: &Limit) -> Finding {
    let Limit { value, mesh } = limit;
    no_room(format!(
        "ConfigMap {map} would hold more than {value} extension providers: {WAY_OUT}, or raise spec.logging.limits.providers of ObservabilityMesh {mesh}."
    ))
}

fn too_large(map: &Key, limit: &Limit) -> Finding {
    let Limit { value, mesh } = limit;
    no_room(format!(
        "The extension providers in ConfigMap {map} would have more than {value} bytes: {WAY_OUT}, or a shorter one, or raise spec.logging.limits.bytes of ObservabilityMesh {mesh}."
    ))
}

fn no_room(message: String) -> Finding {
    Finding::fails(ConditionType::Programmed, Reason::CapacityExceeded, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider(name: &str) -> Provider {
        Provider {
            name: name.into(),
            entry: json!({"name": name}),
        }
    }

    fn wish(namespace: &str, name: &str, providers: &[&str]) -> Wish {
        Wish {
            of: Target::TrafficLog(Key::new(namespace, name)),
            namespace: namespace.into(),
            providers: providers.iter().map(|name| provider(name)).collect(),
        }
    }

    fn limits(providers: usize, of_namespace: usize, bytes: usize) -> Limits {
        let limit = |value| Limit {
            value,
            mesh: "m".into(),
        };
        Limits {
            providers: limit(providers),
            of_namespace: limit(of_namespace),
            bytes: limit(bytes),
        }
    }

    /// Names in the map afterwards, and names of the policies that found no room.
    fn outcome(there: &[&str], wishes: &[Wish], of_meshes: &[&str], limits: &Limits) -> (String, String) {
        let mut entries: BTreeMap<String, Value> = there
            .iter()
            .map(|name| ((*name).to_owned(), provider(name).entry))
            .collect();
        let of_meshes = of_meshes.iter().map(|name| (*name).to_owned()).collect();
        let map = Key::new("i", "m");
        let refused = admit(&map, &mut entries, wishes.to_vec(), &of_meshes, limits);
        let refused: Vec<String> = refused.keys().map(ToString::to_string).collect();
        let again = admit(&map, &mut entries.clone(), wishes.to_vec(), &of_meshes, limits);
        assert_eq!(again.len(), refused.len(), "the next look says the same");
        (entries.into_keys().collect::<Vec<_>>().join(" "), refused.join(" "))
    }

    #[test]
    fn past_the_number_of_providers_the_last_policies_are_out_and_what_is_there_stays() {
        let wishes = [wish("a", "1", &["p"]), wish("b", "1", &["q"]), wish("c", "1", &["r"])];
        let of = |there: &[&str]| outcome(there, &wishes, &[], &limits(2, 9, 999));
        assert_eq!(of(&[]), ("p q".into(), "trafficlog c/1".into()));
        assert_eq!(of(&["r"]), ("p r".into(), "trafficlog b/1".into()));
        assert_eq!(
            of(&["r", "s", "t"]),
            ("r s t".into(), "trafficlog a/1 trafficlog b/1".into())
        );
    }

    #[test]
    fn a_policy_is_in_whole_or_not_at_all_and_a_smaller_one_behind_it_may_be_in() {
        let wishes = [
            wish("a", "1", &["p", "q"]),
            wish("b", "1", &["q", "r"]),
            wish("c", "1", &["r"]),
        ];
        assert_eq!(
            outcome(&["s"], &wishes, &[], &limits(2, 9, 999)),
            ("r s".into(), "trafficlog a/1 trafficlog b/1".into())
        );
    }

    #[test]
    fn a_namespace_has_so_many_providers_of_its_own_beside_those_of_the_mesh() {
        let wishes = [
            wish("a", "1", &["own", "p"]),
            wish("a", "2", &["p"]),
            wish("a", "3", &["q"]),
            wish("a", "4", &["r"]),
            wish("b", "1", &["r"]),
        ];
        let of = |there: &[&str], limit| outcome(there, &wishes, &["own"], &limits(9, limit, 999));
        assert_eq!(of(&[], 2), ("own p q r".into(), String::new()), "what b needs serves a");
        assert_eq!(of(&[], 1), ("own p r".into(), "trafficlog a/3".into()));
        assert_eq!(of(&["q"], 1), ("q r".into(), "trafficlog a/1 trafficlog a/2".into()));
    }

    #[test]
    fn bytes_are_those_of_all_entries_as_json() {
        let one = size(&provider("p").entry);
        let wishes = [wish("a", "1", &["p"]), wish("b", "1", &["q"])];
        let of = |bytes| outcome(&[], &wishes, &[], &limits(9, 9, bytes));
        assert_eq!(of(2 * one), ("p q".into(), String::new()));
        assert_eq!(of(2 * one - 1), ("p".into(), "trafficlog b/1".into()));
    }

    #[test]
    fn of_several_meshes_the_smallest_of_each_limit_counts_and_the_message_names_whose_it_is() {
        let mesh = |name: &str, providers: i32, bytes: i32| -> Arc<ObservabilityMesh> {
            let limits = json!({"providers": providers, "bytes": bytes});
            let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
                              "metadata": {"name": name}, "spec": {"mesh": {"type": "Istio"}, "logging": {"limits": limits}}});
            Arc::new(serde_json::from_value(mesh).unwrap())
        };
        let (a, b) = (mesh("a", 1, 90_000), mesh("b", 5, 80_000));
        let limits = Limits::of(&[&a, &b]).unwrap();
        assert_eq!((limits.providers.value, limits.bytes.value), (1, 80_000));
        assert_eq!(Limits::of(&[]), None);
        let wishes = vec![wish("x", "1", &["p", "q"])];
        let refused = admit(
            &Key::new("i", "m"),
            &mut BTreeMap::new(),
            wishes,
            &BTreeSet::new(),
            &limits,
        );
        assert_eq!(
            refused.values().next().unwrap().message,
            "ConfigMap i/m would hold more than 1 extension providers: use a format that other policies have, or raise spec.logging.limits.providers of ObservabilityMesh a."
        );
    }
}
