//! What `sightline eject` takes out of a cluster: one list, which a dry run prints and which is empty in the end.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use super::kuma::legacy;
use super::owned::{is_ours, may_be_adopted};
use super::{
    Status, Target, collector, exports, interface_traffic, kmesh, leftovers, mesh_config, rollout, wasm_plugins,
};
use crate::conditions::{ConditionType, Finding, Reason, with_ready};
use crate::crds::{ObservabilityMesh, WorkloadKind, WorkloadRef};
use crate::policy::exports::{OPERATOR_KINDS, export_maps_of, outputs_of};
use crate::policy::membership::{former_maps_of, istio_of, maps_of, name_of};
use crate::policy::proxies::{kmesh_of, kuma_of};
use crate::render::kuma::legacy::has_entries;
use crate::render::kuma::policy::POLICIES;
use crate::render::metadata::FINALIZER;
use crate::rollout::injected_record;
use crate::snapshot::{Fact, Key, Kind, View, key_of};

/// One thing of ours in the cluster, in the order in which they go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// An object of ours.
    Object(Kind, Key),
    /// Environment of ours in the containers of a workload.
    Environment(WorkloadRef),
    /// Extension providers of ours in a ConfigMap of somebody else.
    Entries(Key),
    /// Backends of ours in a Mesh of Kuma's.
    Backends(String),
    /// Switches of the daemons of a mesh of Kmesh's.
    Switches(String),
    /// Our finalizer on a mesh.
    Finalizer(String),
    /// A resource whose status says anything else than that it is ejected.
    Status(Target),
}

impl Item {
    /// What is done about it.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Object(..) => "delete",
            Self::Environment(_) => "restart without our environment",
            Self::Entries(_) => "take our extension providers out of",
            Self::Backends(_) => "take our backends out of",
            Self::Switches(_) => "switch off access log, workload metrics and connection metrics of",
            Self::Finalizer(_) => "take our finalizer from",
            Self::Status(_) => "say Ready=False, Ejected on",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(kind, key) => write!(f, "{} {key}", kind.names().1),
            Self::Environment(workload) => write!(f, "{workload}"),
            Self::Entries(map) => write!(f, "ConfigMap {map}"),
            Self::Backends(mesh) => write!(f, "Mesh {mesh} of kuma.io"),
            Self::Switches(mesh) => write!(f, "Kmesh's daemons, of ObservabilityMesh {mesh}"),
            Self::Finalizer(mesh) | Self::Status(Target::Mesh(mesh)) => write!(f, "ObservabilityMesh {mesh}"),
            Self::Status(Target::TrafficLog(key)) => write!(f, "TrafficLog {key}"),
            Self::Status(Target::TracingBackend(key)) => write!(f, "TracingBackend {key}"),
            Self::Status(other) => write!(f, "{other}"),
        }
    }
}

/// What of ours is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// What is there.
    pub items: BTreeSet<Item>,
    /// What has not been read yet.
    pub unread: BTreeSet<String>,
    /// What may not be read: something of ours may be there.
    pub unseen: BTreeSet<String>,
}

impl Left {
    /// Whether nothing is left that can be taken out, as far as can be seen.
    pub fn is_nothing(&self) -> bool {
        self.items.is_empty() && self.unread.is_empty()
    }

    /// The value of a fact. One that is not known is noted as `what`.
    fn look<T>(&mut self, fact: Fact<T>, what: impl FnOnce() -> String) -> Option<T> {
        match fact {
            Fact::Present(value) => return Some(value),
            Fact::Unknown => drop(self.unread.insert(what())),
            Fact::Forbidden => drop(self.unseen.insert(what())),
            Fact::Absent | Fact::KindMissing => {}
        }
        None
    }

    fn objects_of(&mut self, view: &View<'_>, kind: Kind) {
        let (_, _, plural) = kind.names();
        let all = self.look(view.objects(kind), || format!("{plural} of the whole cluster"));
        let ours = all.into_iter().flatten().filter(|object| is_ours(object));
        self.items.extend(ours.map(|object| Item::Object(kind, key_of(object))));
    }

    fn of_mesh(&mut self, view: &View<'_>, mesh: &ObservabilityMesh) {
        if let Some(istio) = istio_of(mesh) {
            for map in maps_of(&istio).into_iter().chain(former_maps_of(mesh, &istio)) {
                self.of_mesh_config(view, map);
            }
        }
        if let Some(of) = kuma_of(mesh) {
            let namespace = &of.system_namespace;
            for kind in POLICIES.into_iter().chain([Kind::MeshOpenTelemetryBackend]) {
                let (_, _, plural) = kind.names();
                let all = self.look(view.objects_in(kind, namespace), || {
                    format!("{plural} of namespace {namespace}")
                });
                let ours = all.into_iter().flatten().filter(|object| is_ours(object));
                self.items.extend(ours.map(|object| Item::Object(kind, key_of(object))));
            }
            for kind in legacy::NEEDED {
                let (_, _, plural) = kind.names();
                let all = view.objects_in(kind, "");
                // The right to them is given for a feature only.
                if !of.legacy && all == Fact::Forbidden {
                    continue;
                }
                let all = self.look(all, || format!("{plural} of kuma.io")).into_iter().flatten();
                self.items.extend(all.filter_map(|object| match kind {
                    Kind::KumaMesh => has_entries(object).then(|| Item::Backends(key_of(object).name)),
                    kind => is_ours(object).then(|| Item::Object(kind, key_of(object))),
                }));
            }
        }
        for map in export_maps_of(mesh) {
            let live = self.look(view.object(Kind::ConfigMap, &map), || format!("ConfigMap {map}"));
            if live.is_some_and(exports::is_of_an_export) {
                self.items.insert(Item::Object(Kind::ConfigMap, map));
            }
        }
        for (kind, key, live) in collector::live_objects(view, mesh) {
            let live = self.look(live, || format!("{} {key}", kind.names().1));
            if live.is_some_and(is_ours) {
                self.items.insert(Item::Object(kind, key));
            }
        }
        if let Some(traffic) = &mesh.spec.interface_traffic {
            let map = Key::new(&traffic.config_map.namespace, &traffic.config_map.name);
            let live = self.look(view.object(Kind::ConfigMap, &map), || format!("ConfigMap {map}"));
            if live.is_some_and(interface_traffic::goes_with_its_mesh) {
                self.items.insert(Item::Object(Kind::ConfigMap, map));
            }
        }
        for namespace in rollout::ever_injected_namespaces(view, mesh) {
            self.environment_in(view, &namespace);
        }
        if mesh.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER) {
            if let Some(of) = kmesh_of(mesh) {
                self.look(view.objects_in(Kind::Pod, &of.namespace), || {
                    format!("pods of namespace {}", of.namespace)
                });
                if kmesh::are_left(view, mesh, &of) == Some(true) {
                    self.items.insert(Item::Switches(name_of(mesh).to_owned()));
                }
            }
            self.items.insert(Item::Finalizer(name_of(mesh).to_owned()));
        }
        let conditions = mesh.status.as_ref().map(|status| &status.conditions);
        self.unless_told(Target::Mesh(name_of(mesh).to_owned()), conditions);
    }

    fn environment_in(&mut self, view: &View<'_>, namespace: &str) {
        for kind in WorkloadKind::ALL.map(Kind::of_workload) {
            let (_, _, plural) = kind.names();
            self.look(view.objects_in(kind, namespace), || {
                format!("{plural} of namespace {namespace}")
            });
        }
        let ours = rollout::workloads_in(view, namespace).filter(|(_, live)| !injected_record(live).is_empty());
        self.items.extend(ours.map(|(id, _)| Item::Environment(id)));
    }

    fn of_mesh_config(&mut self, view: &View<'_>, map: Key) {
        let live = self.look(view.object(Kind::ConfigMap, &map), || format!("ConfigMap {map}"));
        let Some(live) = live.filter(|_| mesh_config::is_left(view, &map) == Some(true)) else {
            return;
        };
        self.items.insert(if is_ours(live) && !may_be_adopted(live) {
            Item::Object(Kind::ConfigMap, map)
        } else {
            Item::Entries(map)
        });
    }

    fn unless_told(&mut self, of: Target, conditions: Option<&Vec<Condition>>) {
        let says_so = |c: &Condition| {
            c.type_ == ConditionType::Ready.as_str() && c.reason == Reason::Ejected.as_str() && c.status == "False"
        };
        if !conditions.into_iter().flatten().any(says_so) {
            self.items.insert(Item::Status(of));
        }
    }
}

/// What of ours is in the cluster, as far as our resources and labels tell.
pub fn left(view: &View<'_>) -> Left {
    let mut left = Left::default();
    left.objects_of(view, Kind::Telemetry);
    // The right to them is given for a feature only: who does not use it need not have it.
    let uses_modules = view.meshes().any(|mesh| wasm_plugins::module_of(mesh).is_some());
    if uses_modules || view.objects(Kind::WasmPlugin) != Fact::Forbidden {
        left.objects_of(view, Kind::WasmPlugin);
    }
    for kind in OPERATOR_KINDS {
        let uses_it = view
            .meshes()
            .any(|mesh| outputs_of(mesh).iter().any(|(_, of, _)| *of == kind));
        if uses_it || view.objects(kind) != Fact::Forbidden {
            left.objects_of(view, kind);
        }
    }
    // The whole cluster has to be known before "no namespace" is said.
    left.look(view.objects(Kind::Namespace), || "namespaces".to_owned());
    for mesh in view.meshes() {
        left.of_mesh(view, mesh);
    }
    for namespace in leftovers::namespaces(view) {
        left.environment_in(view, &namespace);
    }
    for (key, log) in view.traffic_logs() {
        let conditions = log.status.as_ref().map(|status| &status.conditions);
        left.unless_told(Target::TrafficLog(key.clone()), conditions);
    }
    for (key, tracing) in view.tracing_backends() {
        let conditions = tracing.status.as_ref().map(|status| &status.conditions);
        left.unless_told(Target::TracingBackend(key.clone()), conditions);
    }
    left
}

/// Fields of a mesh's status that hold on: counts, which are 0 then, and where entries are looked for.
const KEPT: [&str; 6] = [
    "collector",
    "exportConfigMaps",
    "meshConfigMaps",
    "providers",
    "trafficLogs",
    "tracingBackends",
];

/// Makes a status say that the resource is ejected, and nothing that a deletion would: it is not being deleted.
pub(super) fn say_so(status: &mut Status) {
    let message = "Taken out of the cluster by `sightline eject`; run the operator to have it programmed again, or delete this resource.";
    let finding = Finding::fails(ConditionType::Programmed, Reason::Ejected, message);
    status.findings = with_ready(vec![finding]);
    status
        .fields
        .retain(|name, _: &mut Value| KEPT.contains(&name.as_str()));
    status.provisional = false;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::admission::admit;
    use crate::crds::{TracingBackend, TrafficLog};
    use crate::plan::{Finalizer, Memory, Plan, plan, simulate, targets_of};
    use crate::snapshot::{Resource, Snapshot, Timings};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn resource<K: serde::de::DeserializeOwned>(object: &Value) -> Arc<K> {
        Arc::new(serde_json::from_value(admit(object).unwrap()).unwrap())
    }

    fn put_samples(snapshot: &mut Snapshot) {
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "m"},
                          "spec": {"mesh": {"type": "Istio", "istio": {"meshConfig": {"mode": "Patch"}}},
                                   "tracing": {"backends": [{"name": "tempo", "type": "OTLP", "otlp": {
                                       "protocol": "GRPC", "endpoint": {"host": "tempo.shop.svc.cluster.local", "port": 4317}}}]}}});
        let mut mesh: Arc<ObservabilityMesh> = resource(&mesh);
        let noted = Arc::make_mut(&mut mesh);
        noted.metadata.finalizers = Some(vec![FINALIZER.into()]);
        noted.status.get_or_insert_default().mesh_config_maps = vec!["istio-system/istio".into()];
        ObservabilityMesh::put(snapshot, &Key::new("", "m"), Some(mesh));
        let log = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
                         "metadata": {"namespace": "shop", "name": "all"}, "spec": {}});
        TrafficLog::put(snapshot, &Key::new("shop", "all"), Some(resource(&log)));
        let tracing = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TracingBackend",
                             "metadata": {"namespace": "shop", "name": "spans"},
                             "spec": {"destination": {"type": "MeshBackend", "meshBackend": {"name": "tempo"}},
                                      "inject": [{"name": "spans", "dialect": "InterLink",
                                                  "workloads": {"kinds": ["Deployment"], "selector": {"matchLabels": {"app": "vk"}}}}]}});
        TracingBackend::put(snapshot, &Key::new("shop", "spans"), Some(resource(&tracing)));
    }

    fn put_facts(snapshot: &mut Snapshot) {
        let mut put = |kind, object: Value| drop(snapshot.put(kind, Arc::new(object), NOW));
        let labels = json!({"kubernetes.io/metadata.name": "shop", "sightline.dev/inject": "enabled"});
        put(Kind::Namespace, json!({"metadata": {"name": "shop", "labels": labels}}));
        let ours = json!({"app.kubernetes.io/managed-by": "sightline", "sightline.dev/mesh": "m"});
        let spec = json!({"accessLogging": [{"providers": [{"name": "sightline-file-aaaaaaaaaaaa"}]}]});
        put(
            Kind::Telemetry,
            json!({"metadata": {"namespace": "shop", "name": "sightline", "labels": ours}, "spec": spec}),
        );
        put(
            Kind::Telemetry,
            json!({"metadata": {"namespace": "shop", "name": "theirs"}, "spec": {}}),
        );
        let text =
            "rootNamespace: istio-system\nextensionProviders:\n- name: theirs\n- name: sightline-file-aaaaaaaaaaaa\n";
        put(
            Kind::ConfigMap,
            json!({"metadata": {"namespace": "istio-system", "name": "istio"}, "data": {"mesh": text}}),
        );
        put(
            Kind::Deployment,
            json!({"metadata": {"namespace": "shop", "name": "vk", "labels": {"app": "vk"},
                                "annotations": {"sightline.dev/injected": "{\"main\":{\"ENABLE_TRACING\":\"1\"}}"}},
                   "spec": {"template": {"metadata": {}, "spec": {"containers": [
                       {"name": "main", "env": [{"name": "ENABLE_TRACING", "value": "1"}]}]}}},
                   "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}}),
        );
    }

    fn world() -> Snapshot {
        let mut snapshot = Snapshot::of_eject().loaded();
        put_samples(&mut snapshot);
        put_facts(&mut snapshot);
        snapshot
    }

    fn left_in(snapshot: &Snapshot) -> Left {
        left(&View::new(snapshot, NOW, Timings::default()))
    }

    fn plan_of(snapshot: &Snapshot, target: &Target) -> Plan {
        let mut memory = Memory {
            quiet: &mut BTreeMap::new(),
            hash_key: None,
        };
        plan(&View::new(snapshot, NOW, Timings::default()), target, &mut memory)
    }

    #[test]
    fn what_is_ours_is_listed_by_name_in_the_order_in_which_it_goes_and_nothing_of_others() {
        let listed: Vec<String> = left_in(&world())
            .items
            .iter()
            .map(|item| format!("{} {item}", item.action()))
            .collect();
        assert_eq!(
            listed,
            [
                "delete Telemetry shop/sightline",
                "restart without our environment Deployment shop/vk",
                "take our extension providers out of ConfigMap istio-system/istio",
                "take our finalizer from ObservabilityMesh m",
                "say Ready=False, Ejected on ObservabilityMesh m",
                "say Ready=False, Ejected on TrafficLog shop/all",
                "say Ready=False, Ejected on TracingBackend shop/spans",
            ]
        );
    }

    #[test]
    fn the_plans_of_an_eject_take_all_of_it_out_and_leave_what_is_somebody_elses() {
        let converged = simulate::converge(world(), NOW, b"key").unwrap();
        let after = &converged.snapshot;
        let left: BTreeSet<Item> = left_in(after).items;
        let of_the_judges = |item: &Item| matches!(item, Item::Finalizer(_) | Item::Status(_));
        assert!(left.iter().all(of_the_judges), "{left:?}");
        assert_eq!(converged.restarts, [Key::new("shop", "vk")]);
        let map = after
            .object(Kind::ConfigMap, &Key::new("istio-system", "istio"))
            .unwrap();
        assert_eq!(
            map["data"]["mesh"],
            "rootNamespace: istio-system\nextensionProviders:\n- name: theirs\n"
        );
        assert!(after.object(Kind::Telemetry, &Key::new("shop", "theirs")).is_some());
        let mesh = plan_of(after, &Target::Mesh("m".into()));
        assert_eq!(mesh.finalizer, Some(Finalizer::Remove));
    }

    #[test]
    fn a_finalizer_stays_while_something_of_its_mesh_does() {
        assert_eq!(plan_of(&world(), &Target::Mesh("m".into())).finalizer, None);
    }

    #[test]
    fn a_status_says_that_the_resource_is_ejected_and_nothing_of_a_deletion() {
        let snapshot = world();
        for target in targets_of(&snapshot) {
            for status in plan_of(&snapshot, &target).statuses {
                let reasons: BTreeSet<Reason> = status.findings.iter().map(|finding| finding.reason).collect();
                assert_eq!(reasons, BTreeSet::from([Reason::Ejected]), "{target}");
                assert!(
                    status.fields.keys().all(|name| KEPT.contains(&name.as_str())),
                    "{target}"
                );
            }
        }
    }

    #[test]
    fn switches_of_kmeshs_daemons_are_listed_until_each_was_told_and_forgotten_with_the_finalizer() {
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
                          "metadata": {"name": "k", "finalizers": [FINALIZER]},
                          "spec": {"mesh": {"type": "Kmesh"}, "metrics": {"kmesh": {}}}});
        let mut mesh: Arc<ObservabilityMesh> = resource(&mesh);
        let mut snapshot = Snapshot::of_eject().loaded();
        ObservabilityMesh::put(&mut snapshot, &Key::new("", "k"), Some(mesh.clone()));
        let pod = json!({"metadata": {"namespace": "kmesh-system", "name": "kmesh-x", "labels": {"app": "kmesh"}},
                         "spec": {"nodeName": "worker"}});
        snapshot.put(Kind::Pod, Arc::new(pod), NOW);
        let switches = Item::Switches("k".into());
        assert!(left_in(&snapshot).items.contains(&switches));
        assert_eq!(
            format!("{} {switches}", switches.action()),
            "switch off access log, workload metrics and connection metrics of Kmesh's daemons, of ObservabilityMesh k"
        );
        let told = simulate::converge(snapshot.clone(), NOW, b"key").unwrap().snapshot;
        assert!(!left_in(&told).items.contains(&switches));
        // Nobody remembers what an eject before said.
        Arc::make_mut(&mut mesh).metadata.finalizers = None;
        ObservabilityMesh::put(&mut snapshot, &Key::new("", "k"), Some(mesh));
        assert!(!left_in(&snapshot).items.contains(&switches));
    }

    #[test]
    fn what_was_not_read_is_waited_for_and_what_may_not_be_read_is_told() {
        use crate::snapshot::{Scope, WatchState};
        let unread = left_in(&Snapshot::of_eject());
        assert!(unread.items.is_empty() && !unread.is_nothing());
        let mut snapshot = Snapshot::of_eject().loaded();
        snapshot.set_watch(Kind::Telemetry, &Scope::Cluster, Some(WatchState::Forbidden));
        snapshot.set_watch(Kind::WasmPlugin, &Scope::Cluster, Some(WatchState::Forbidden));
        let left = left_in(&snapshot);
        assert!(left.is_nothing());
        assert_eq!(
            left.unseen,
            BTreeSet::from(["telemetries of the whole cluster".to_owned()])
        );
    }
}
