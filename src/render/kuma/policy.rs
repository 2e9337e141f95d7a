//! The objects of one set of workloads: a MeshAccessLog for what it receives, one for what it sends, a MeshTrace and a
//! MeshMetric, as far as policies speak of them.
//!
//! All of them stand in the system namespace, where Kuma's webhooks look and the role of a policy is `system`. Kuma merges
//! the policies of a proxy from the wider target to the narrower one, and a list of backends replaces the one before: so
//! each object is complete. Of two targets by labels the name that sorts first wins, however many labels each has (ran,
//! and `CompareByDisplayName` of kumahq/kuma): names sort more labels before fewer.

use serde_json::{Map, Value, json};

use super::backend::{LogBackend, RECEIVER};
use super::versions::{Inbound, Knows, Selects};
use crate::crds::Tag;
use crate::digest;
use crate::policy::claims::{Labels, LogEntry, Side, Sources, WorkloadSet};
use crate::policy::resolve::{ObjectPolicy, SideLogging};
use crate::render::Provider;
use crate::render::metadata::{MANAGED_BY, MANAGED_BY_US, MESH_LABEL, SOURCES};
use crate::snapshot::Kind;

/// Label of an object of ours: the namespace whose workloads and policies it is for.
pub const NAMESPACE: &str = "sightline.dev/namespace";

/// Where that label stands.
pub const NAMESPACE_POINTER: &str = "/metadata/labels/sightline.dev~1namespace";

/// Label and tag of a proxy: the namespace of its pod.
pub const NAMESPACE_OF_PROXY: &str = "k8s.kuma.io/namespace";

/// Label of everything that belongs to a mesh of Kuma's.
pub const KUMA_MESH: &str = "kuma.io/mesh";

/// Kinds of policy, in the order in which they are written.
pub const POLICIES: [Kind; 3] = [Kind::MeshAccessLog, Kind::MeshTrace, Kind::MeshMetric];

/// Most labels of a selector of ours, the namespace's not counted.
const MOST_LABELS: usize = 16 * 8;

/// What objects say that does not come from policies.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Kuma's system namespace.
    pub system_namespace: &'a str,
    /// Name of the mesh in Kuma.
    pub kuma_mesh: &'a str,
    /// Name of the ObservabilityMesh.
    pub mesh: &'a str,
    /// Namespace whose policies these are.
    pub namespace: &'a str,
    /// Whether what is said of the whole namespace is for the whole mesh.
    pub is_root: bool,
    /// What this Kuma knows.
    pub knows: Knows,
}

impl Place<'_> {
    /// The objects of a set of workloads.
    pub fn render(&self, set: &WorkloadSet, policy: &ObjectPolicy) -> Vec<(Kind, Value)> {
        let WorkloadSet::Labels(labels) = set else {
            // Refused before: see `policy::proxies`.
            return Vec::new();
        };
        let mut objects = Vec::new();
        for (side, word) in [(Side::Inbound, "inbound"), (Side::Outbound, "outbound")] {
            if let Some(backends) = self.log_backends(policy, side) {
                let spec = self.logging(labels, side, &backends);
                let logs = policy.sources.logs.iter().filter(|claim| claim.sides.contains(&side));
                let sources = Sources {
                    logs: logs.cloned().collect(),
                    ..Sources::default()
                };
                objects.push((
                    Kind::MeshAccessLog,
                    self.object("MeshAccessLog", word, labels, &spec, &sources),
                ));
            }
        }
        if let Some(tracing) = self.tracing(policy) {
            let spec = self.with_target(labels, "default", tracing);
            let traces = policy.sources.traces.clone();
            let sources = Sources {
                traces,
                ..Sources::default()
            };
            objects.push((
                Kind::MeshTrace,
                self.object("MeshTrace", "traces", labels, &spec, &sources),
            ));
        }
        if let Some((claim, metrics)) = policy
            .sources
            .metrics
            .as_ref()
            .and_then(|m| Some((m, m.proxies.as_ref()?)))
        {
            let spec = self.with_target(labels, "default", metrics.value(&self.knows, self.mesh));
            let sources = Sources {
                metrics: Some(claim.clone()),
                ..Sources::default()
            };
            objects.push((
                Kind::MeshMetric,
                self.object("MeshMetric", "metrics", labels, &spec, &sources),
            ));
        }
        objects
    }

    /// The MeshOpenTelemetryBackend of a receiver.
    pub fn receiver(&self, provider: &Provider) -> Value {
        let mut labels = self.labels();
        labels.insert(RECEIVER.to_owned(), provider.name.as_str().into());
        json!({
            "apiVersion": "kuma.io/v1alpha1",
            "kind": "MeshOpenTelemetryBackend",
            "metadata": {"name": provider.name, "namespace": self.system_namespace, "labels": labels},
            "spec": provider.entry,
        })
    }

    fn labels(&self) -> Map<String, Value> {
        Map::from_iter([
            (MANAGED_BY.to_owned(), Value::from(MANAGED_BY_US)),
            (MESH_LABEL.to_owned(), Value::from(self.mesh)),
            (KUMA_MESH.to_owned(), Value::from(self.kuma_mesh)),
        ])
    }

    pub(super) fn object(
        &self,
        kind: &str,
        signal: &str,
        set: &Labels,
        spec: &Map<String, Value>,
        sources: &Sources,
    ) -> Value {
        let mut labels = self.labels();
        labels.insert(NAMESPACE.to_owned(), self.namespace.into());
        let sources = serde_json::to_string(sources).unwrap_or_default();
        json!({
            "apiVersion": "kuma.io/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": self.name(signal, set),
                "namespace": self.system_namespace,
                "labels": labels,
                "annotations": {SOURCES: sources},
            },
            "spec": spec,
        })
    }

    fn name(&self, signal: &str, set: &Labels) -> String {
        let content = serde_json::to_string(&(self.mesh, self.kuma_mesh, self.namespace, set)).unwrap_or_default();
        let rank = MOST_LABELS.saturating_sub(set.len());
        format!("sightline-{signal}-{rank:03}-{}", digest::short(&content, 10))
    }

    /// Whom it holds for: the whole mesh, the namespace, or workloads of it.
    fn target(&self, set: &Labels) -> Value {
        if self.is_root && set.is_empty() {
            return json!({"kind": "Mesh"});
        }
        let mut labels = set.clone();
        labels.insert(NAMESPACE_OF_PROXY.to_owned(), self.namespace.to_owned());
        match self.knows.selects {
            Selects::Tags => json!({"kind": "MeshSubset", "tags": labels}),
            Selects::Labels => json!({"kind": "Dataplane", "labels": labels}),
        }
    }

    fn with_target(&self, set: &Labels, member: &str, value: Value) -> Map<String, Value> {
        Map::from_iter([("targetRef".to_owned(), self.target(set)), (member.to_owned(), value)])
    }

    /// The backends of a side; none of them: logging is off. `None`: nothing is said of it.
    fn log_backends(&self, policy: &ObjectPolicy, side: Side) -> Option<Vec<Value>> {
        match policy.logging.get(&side)? {
            SideLogging::Off => Some(Vec::new()),
            SideLogging::To(_) => {
                let won = policy.won.get(&side).into_iter().flatten();
                let entries = won.flat_map(|won| &won.entries);
                let mut backends: Vec<(&LogEntry, &LogBackend)> = entries
                    .filter_map(|entry| Some((entry, entry.backend.as_ref()?)))
                    .collect();
                // Two policies may want the same: a line is written once.
                backends.sort_by_key(|(entry, _)| &entry.provider);
                backends.dedup_by_key(|(entry, _)| &entry.provider);
                let value = |(_, backend): (&LogEntry, &LogBackend)| backend.value(&self.knows, self.mesh);
                Some(backends.into_iter().map(value).collect())
            }
        }
    }

    /// `to` and `rules` exclude each other: each side is an object of its own.
    fn logging(&self, set: &Labels, side: Side, backends: &[Value]) -> Map<String, Value> {
        let default = json!({"backends": backends});
        let (member, value) = match (side, self.knows.inbound) {
            (Side::Outbound, _) => ("to", json!([{"targetRef": {"kind": "Mesh"}, "default": default}])),
            (Side::Inbound, Inbound::From) => ("from", json!([{"targetRef": {"kind": "Mesh"}, "default": default}])),
            (Side::Inbound, Inbound::Rules) => ("rules", json!([{"default": default}])),
        };
        self.with_target(set, member, value)
    }

    /// Sampling is always written: Kuma's default is every request. `random` is what a TracingBackend means on Istio too;
    /// the other two let requests through that a client or somebody else has decided on.
    fn tracing(&self, policy: &ObjectPolicy) -> Option<Value> {
        let tracing = policy.tracing.as_ref()?;
        let backend = tracing.backend.as_ref()?;
        let tags: Vec<Value> = policy.tags.values().filter_map(tag).collect();
        let mut default = json!({
            "backends": [backend.value(&self.knows, self.mesh)],
            "sampling": {"overall": 100, "client": 100, "random": percentage(&tracing.sampling)},
        });
        if let Some(default) = default.as_object_mut().filter(|_| !tags.is_empty()) {
            default.insert("tags".into(), tags.into());
        }
        Some(default)
    }
}

/// A tag; `None` for one that Kuma cannot say.
pub fn tag(tag: &Tag) -> Option<Value> {
    if let Some(literal) = &tag.literal {
        return Some(json!({"name": tag.name, "literal": literal}));
    }
    let header = tag.header.as_ref()?;
    let mut value = json!({"name": header.name});
    if let (Some(default), Some(value)) = (&header.default_value, value.as_object_mut()) {
        value.insert("default".into(), default.as_str().into());
    }
    Some(json!({"name": tag.name, "header": value}))
}

/// A whole number, or a decimal as text: Kuma refuses a bare one.
fn percentage(text: &str) -> Value {
    let trimmed = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    trimmed
        .parse::<i64>()
        .map_or_else(|_| Value::from(trimmed), Value::from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(version: &str) -> Place<'static> {
        Place {
            system_namespace: "kuma-system",
            kuma_mesh: "default",
            mesh: "m",
            namespace: "shop",
            is_root: false,
            knows: Knows::of(version.parse().unwrap()),
        }
    }

    fn labels(n: usize) -> Labels {
        (0..n).map(|i| (format!("k{i}"), "v".to_owned())).collect()
    }

    /// Ran: of two policies of the same kind of target one wins, first by name.
    #[test]
    fn names_sort_more_labels_before_fewer() {
        let place = place("2.14");
        let names: Vec<String> = (0..=24).rev().map(|n| place.name("inbound", &labels(n))).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
    }

    /// Ran: 3.0 refuses MeshSubset, 2.9 refuses Dataplane.
    #[test]
    fn workloads_are_tags_in_2_9_and_labels_later_and_always_of_their_namespace() {
        let set = BTreeMap::from([("app".to_owned(), "cart".to_owned())]);
        let wanted = json!({"app": "cart", "k8s.kuma.io/namespace": "shop"});
        assert_eq!(place("2.9").target(&set), json!({"kind": "MeshSubset", "tags": wanted}));
        assert_eq!(
            place("3.0").target(&set),
            json!({"kind": "Dataplane", "labels": wanted})
        );
        let root = Place {
            is_root: true,
            ..place("2.13")
        };
        assert_eq!(root.target(&Labels::new()), json!({"kind": "Mesh"}));
        assert_eq!(root.target(&set)["kind"], "Dataplane");
    }

    /// Ran: `rules` beside `to` is refused from 2.10 on, and dropped by 2.9; `from` is dropped by 3.0.
    #[test]
    fn each_side_is_an_object_in_the_shape_of_its_version() {
        let members = |version, side| {
            let spec = place(version).logging(&Labels::new(), side, &[]);
            spec.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(members("2.9", Side::Inbound), ["targetRef", "from"]);
        assert_eq!(members("2.13", Side::Inbound), ["targetRef", "rules"]);
        assert_eq!(members("3.0", Side::Inbound), ["targetRef", "rules"]);
        assert_eq!(members("3.0", Side::Outbound), ["targetRef", "to"]);
    }

    /// Ran: a list of backends has to be there, and an empty one switches logging off.
    #[test]
    fn off_is_an_empty_list_of_backends() {
        let policy = ObjectPolicy {
            logging: BTreeMap::from([(Side::Inbound, SideLogging::Off)]),
            ..ObjectPolicy::default()
        };
        let objects = place("2.14").render(&WorkloadSet::namespace(), &policy);
        let [(Kind::MeshAccessLog, object)] = objects.as_slice() else {
            panic!("{objects:?}");
        };
        assert_eq!(object["spec"]["rules"], json!([{"default": {"backends": []}}]));
    }

    /// Ran: 12.5 is refused, "12.5" and 12 are taken.
    #[test]
    fn a_share_is_a_whole_number_or_text() {
        assert_eq!(percentage("1.0"), json!(1));
        assert_eq!(percentage("100.00"), json!(100));
        assert_eq!(percentage("0.25"), json!("0.25"));
        assert_eq!(percentage("0"), json!(0));
    }
}
