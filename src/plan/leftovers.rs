//! Takes away environment that nobody is left to take away: no policy asks for it, and no mesh selects the namespace.
//!
//! While a mesh selects the namespace it does so itself, at its own pace (`super::rollout`); while a policy asks for it
//! it stays, as the mesh may come back. What is found is what workloads carry (`sightline.dev/injected`), so it does not
//! matter in which order mesh and policy went, nor whether the operator was running: no finalizer has to hold either.

use std::collections::BTreeMap;

use super::rollout::{Workload, first_mesh_of, governed, injecting, opted_in, takes, workloads_in};
use super::{Memory, Plan};
use crate::policy::membership::{is_live, selects};
use crate::rollout::{Limits, injected_record, rolled_by_us, rolled_out};
use crate::snapshot::{Fact, Kind, View, key_of, labels_of};

/// The name under which the governor remembers these restarts: no mesh has it.
pub const GOVERNOR: &str = "";

/// Plans it, at the default pace of `spec.rollout`: the mesh that had another is gone.
pub fn plan(view: &View<'_>, memory: &mut Memory<'_>) -> Plan {
    let mut workloads = BTreeMap::new();
    for namespace in namespaces(view) {
        let policies = injecting(view, &namespace);
        for (id, live) in workloads_in(view, &namespace) {
            let mut asked = policies.iter().flat_map(|(_, tracing)| &tracing.spec.inject);
            let is_asked_for = asked.any(|inject| takes(inject, id.kind, live));
            let is_left = !is_asked_for && !injected_record(live).is_empty();
            // What is rolled out without our environment still counts against the budget.
            let is_under_way = rolled_by_us(live) && !rolled_out(id.kind, live);
            // A mesh that restarts it sees to its template.
            if (is_left || is_under_way) && first_mesh_of(view, &id).is_none() {
                workloads.insert(id.clone(), Workload::new(id, Some(live)));
            }
        }
    }
    let quiet = memory.quiet.entry(GOVERNOR.to_owned()).or_default();
    // Nobody is left who could be told.
    governed(view, workloads, &Limits::default(), quiet).restart(view, |_| Vec::new())
}

/// Namespaces that opted in to environment and that no mesh looks after. A mesh whose selector makes no sense, or that
/// cannot be read, may mean any; a policy that cannot be read may ask for what is there.
pub fn namespaces(view: &View<'_>) -> Vec<String> {
    let Fact::Present(namespaces) = view.objects(Kind::Namespace) else {
        return Vec::new();
    };
    let is_left = |namespace: &&serde_json::Value| {
        let labels = labels_of(namespace);
        let mut meshes = view.meshes().filter(|mesh| is_live(mesh) || view.ejects());
        let mut is_served = || meshes.any(|mesh| selects(mesh, &labels) != Ok(false));
        let is_unclear = || view.undecoded_policies_in(&key_of(namespace).name).next().is_some();
        opted_in(&labels) && !is_served() && !is_unclear()
    };
    if view.undecoded_meshes().next().is_some() {
        return Vec::new();
    }
    namespaces
        .into_iter()
        .filter(is_left)
        .map(|namespace| key_of(namespace).name)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::admit;
    use crate::crds::{ObservabilityMesh, TracingBackend};
    use crate::plan::{Target, simulate};
    use crate::snapshot::{Key, Resource, Snapshot, Timings};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const NONE: [&str; 0] = [];

    fn workload(name: &str, image: &str, ready: i64) -> Value {
        json!({"metadata": {"namespace": "edge", "name": name, "labels": {"app": "vk"},
                "annotations": {"sightline.dev/injected": "{\"main\":{\"ENABLE_TRACING\":\"1\"}}"}},
               "spec": {"template": {"metadata": {}, "spec": {"containers": [
                   {"name": "main", "image": image, "env": [{"name": "ENABLE_TRACING", "value": "1"}]}]}}},
               "status": {"replicas": 1, "updatedReplicas": ready, "availableReplicas": ready}})
    }

    /// A namespace that opted in, with a Deployment that has environment of ours, and nothing that says why.
    fn world() -> Snapshot {
        let mut snapshot = Snapshot::default().loaded();
        let labels = json!({"kubernetes.io/metadata.name": "edge", "sightline.dev/inject": "enabled"});
        let namespace = json!({"metadata": {"name": "edge", "labels": labels}});
        snapshot.put(Kind::Namespace, Arc::new(namespace), NOW);
        snapshot.put(Kind::Deployment, Arc::new(workload("vk", "a:1", 1)), NOW);
        snapshot
    }

    fn resource<K: serde::de::DeserializeOwned>(object: &Value) -> Arc<K> {
        Arc::new(serde_json::from_value(admit(object).unwrap()).unwrap())
    }

    /// A mesh without proxies, as the API server stores it but for the change.
    fn put_mesh(snapshot: &mut Snapshot, namespaces: &Value, change: impl FnOnce(&mut ObservabilityMesh)) {
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
            "metadata": {"name": "m"}, "spec": {"mesh": {"type": "None"}, "namespaces": namespaces}});
        let mut mesh: Arc<ObservabilityMesh> = resource(&mesh);
        change(Arc::make_mut(&mut mesh));
        ObservabilityMesh::put(snapshot, &Key::new("", "m"), Some(mesh));
    }

    fn policy(name: &str) -> Arc<TracingBackend> {
        resource(
            &json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TracingBackend",
            "metadata": {"namespace": "edge", "name": name},
            "spec": {"destination": {"type": "MeshBackend", "meshBackend": {"name": "tempo"}},
                     "inject": [{"name": "spans", "dialect": "InterLink",
                                 "workloads": {"kinds": ["Deployment"], "selector": {"matchLabels": {"app": "vk"}}}}]}}),
        )
    }

    /// Restarts of the whole operator on a world until it rests.
    fn restarts(snapshot: &Snapshot) -> Vec<Key> {
        simulate::converge(snapshot.clone(), NOW, b"key").unwrap().restarts
    }

    #[test]
    fn environment_goes_once_neither_a_policy_nor_a_mesh_is_left_for_it() {
        let left = simulate::converge(world(), NOW, b"key").unwrap();
        assert_eq!(left.restarts, [Key::new("edge", "vk")]);
        let live = left.snapshot.object(Kind::Deployment, &Key::new("edge", "vk")).unwrap();
        let env = live.pointer("/spec/template/spec/containers/0/env");
        assert!(env.and_then(Value::as_array).is_none_or(Vec::is_empty), "{live}");
        assert_eq!(live.pointer("/metadata/annotations/sightline.dev~1injected"), None);
    }

    #[test]
    fn environment_stays_while_a_policy_asks_for_it_though_the_mesh_is_gone() {
        let mut snapshot = world();
        TracingBackend::put(&mut snapshot, &Key::new("edge", "spans"), Some(policy("spans")));
        assert_eq!(restarts(&snapshot), []);
    }

    #[test]
    fn a_namespace_is_left_once_no_live_mesh_selects_it_and_none_has_a_selector_that_makes_no_sense() {
        let left = |snapshot: &Snapshot| namespaces(&View::new(snapshot, NOW, Timings::default()));
        let mut snapshot = world();
        let (all, others) = (
            json!({}),
            json!({"matchExpressions": [{"key": "else", "operator": "Exists"}]}),
        );
        put_mesh(&mut snapshot, &all, |_| {});
        assert_eq!(left(&snapshot), NONE, "it selects all");
        put_mesh(&mut snapshot, &all, |mesh| {
            mesh.metadata.deletion_timestamp = Some(Time(NOW));
        });
        assert_eq!(left(&snapshot), ["edge"], "it is being deleted");
        put_mesh(&mut snapshot, &others, |_| {});
        assert_eq!(left(&snapshot), ["edge"], "it selects others");
        put_mesh(&mut snapshot, &others, |mesh| {
            for expression in mesh.spec.namespaces.match_expressions.iter_mut().flatten() {
                expression.operator = "In".into();
            }
        });
        assert_eq!(left(&snapshot), NONE, "In without values");
        let opted_out = json!({"metadata": {"name": "edge"}});
        ObservabilityMesh::put(&mut snapshot, &Key::new("", "m"), None);
        snapshot.put(Kind::Namespace, Arc::new(opted_out), NOW);
        assert_eq!(left(&snapshot), NONE, "who did not opt in is not looked at");
    }

    #[test]
    fn a_mesh_or_a_policy_that_cannot_be_read_may_want_what_is_there() {
        let left = |snapshot: &Snapshot| namespaces(&View::new(snapshot, NOW, Timings::default()));
        let (mesh, policy) = (
            Target::Mesh("m".into()),
            Target::TracingBackend(Key::new("edge", "spans")),
        );
        for target in [mesh, policy] {
            let mut snapshot = world();
            let (_, read) = snapshot.put_own(&target, &json!({"metadata": {"name": "x"}, "spec": 5}));
            assert!(read.is_err(), "{target}");
            assert_eq!(left(&snapshot), NONE, "{target}");
            snapshot.remove_own(&target);
            assert_eq!(left(&snapshot), ["edge"], "{target} is gone");
        }
    }

    #[test]
    fn one_after_the_other_is_rolled_out_without_it() {
        let mut snapshot = world();
        snapshot.put(Kind::Deployment, Arc::new(workload("wk", "a:1", 1)), NOW);
        let mut quiet = BTreeMap::new();
        let mut planned = |snapshot: &Snapshot, seconds: i64| {
            let view = View::new(snapshot, Timestamp::from_second(seconds).unwrap(), Timings::default());
            let mut memory = Memory {
                quiet: &mut quiet,
                hash_key: None,
            };
            let plan = super::super::plan(&view, &Target::Leftovers, &mut memory);
            assert!(plan.events.is_empty(), "nobody is left who could be told");
            plan.patch
        };
        assert_eq!(planned(&snapshot, 0).len(), 0, "the quiet period");
        let first = planned(&snapshot, 11);
        assert_eq!(first.len(), 1);
        let mut live = (**snapshot.object(Kind::Deployment, &first[0].key).unwrap()).clone();
        json_patch::patch(&mut live, &first[0].patch).unwrap();
        live["status"] = json!({"replicas": 1, "updatedReplicas": 0, "availableReplicas": 1});
        snapshot.put(Kind::Deployment, Arc::new(live.clone()), NOW);
        assert_eq!(planned(&snapshot, 200).len(), 0, "the first one is not through");
        live["status"] = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        snapshot.put(Kind::Deployment, Arc::new(live), NOW);
        assert_eq!(planned(&snapshot, 201).len(), 1);
    }
}
