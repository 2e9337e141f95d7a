//! Writes the WasmPlugins of a namespace.

use std::sync::Arc;

use serde_json::Value;

use super::owned::is_ours;
use super::telemetries::{every_object, uid_of};
use super::{Delete, Plan, Target, WriteRules, plan_object};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{IstioMesh, ObservabilityMesh, WasmModule};
use crate::policy::membership::{
    NotAMember, is_injected, is_live, istio_of, name_of, other_mesh_rooted_in, revision_label, root_namespace, selects,
};
use crate::policy::proxies::kmesh_of;
use crate::render::istio::wasm_plugin;
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of};

/// Plans them: one for each mesh with a module that takes the namespace, where the namespace is labelled for sidecars.
/// Never in a root namespace: there one would reach the workloads of all namespaces, whatever it selects.
pub fn plan(view: &View<'_>, namespace: &str) -> Plan {
    let mut plan = Plan::default();
    let fails = |reason, message: &str| Plan {
        blocked: vec![(
            every_object(namespace),
            Finding::fails(ConditionType::Programmed, reason, message),
        )],
        ..Plan::default()
    };
    let live = match view.objects_in(Kind::WasmPlugin, namespace) {
        Fact::Present(live) => live,
        Fact::KindMissing => {
            let message = "The API server does not know WasmPlugin of extensions.istio.io; install Istio's CRDs.";
            return fails(Reason::IstioNotInstalled, message);
        }
        Fact::Forbidden => {
            let message = "Sightline may not read WasmPlugins; install the ClusterRole of config/rbac.";
            return fails(Reason::Forbidden, message);
        }
        Fact::Absent | Fact::Unknown => return plan,
    };
    // While it cannot be told who is served here, what is live stays.
    let Ok(modules) = modules_of(view, namespace) else {
        return plan;
    };
    let mut wanted = Vec::new();
    for (mesh, module) in modules {
        let revision = revision_label(mesh);
        let object = wasm_plugin::render(namespace, name_of(mesh), module, revision.as_deref());
        let key = key_of(&object);
        let rules = WriteRules {
            adopt: false,
            how_to_adopt: None,
            wholly_ours: &["/spec"],
            tell: &[Target::Mesh(name_of(mesh).to_owned())],
            view,
        };
        let live = live.iter().find(|live| key_of(live) == key).copied();
        plan_object(&mut plan, Kind::WasmPlugin, object, live, &rules);
        wanted.push(key);
    }
    // Whether what a mesh that cannot be read wants is still wanted is not known.
    let undecoded: Vec<String> = view.undecoded_meshes().map(wasm_plugin::object_name).collect();
    let left = live
        .into_iter()
        .filter(|object| is_ours(object) && !wanted.contains(&key_of(object)))
        .filter(|object| !undecoded.contains(&key_of(object).name));
    plan.delete.extend(left.map(|object| Delete {
        kind: Kind::WasmPlugin,
        key: key_of(object),
        uid: uid_of(object),
    }));
    plan
}

/// Meshes with a module for a namespace, and the module, by name of the mesh.
///
/// # Errors
/// While that cannot be told, also because the API server does not let us look (one that has just started refuses
/// everybody): that is not "none".
fn modules_of<'a>(
    view: &View<'a>,
    namespace: &str,
) -> Result<Vec<(&'a Arc<ObservabilityMesh>, &'a WasmModule)>, NotAMember> {
    let object = match view.object(Kind::Namespace, &Key::new("", namespace)) {
        Fact::Present(object) => object,
        Fact::Absent => return Ok(Vec::new()),
        Fact::Unknown | Fact::Forbidden | Fact::KindMissing => {
            return Err(NotAMember {
                reason: Reason::FactsPending,
                message: format!("Namespace {namespace} cannot be read."),
            });
        }
    };
    let is_leaving = object.pointer("/metadata/deletionTimestamp").is_some();
    let mut modules = Vec::new();
    for mesh in view.meshes().filter(|mesh| is_live(mesh) && !is_leaving) {
        let (Some(module), Some(istio)) = (module_of(mesh), istio_of(mesh)) else {
            continue;
        };
        if !is_root(view, mesh, &istio, namespace)?
            && is_injected(&labels_of(object))
            && selects(mesh, &labels_of(object))?
        {
            modules.push((mesh, module));
        }
    }
    Ok(modules)
}

/// Whether a namespace is the root namespace of this mesh, or of another one.
fn is_root(view: &View<'_>, mesh: &ObservabilityMesh, istio: &IstioMesh, namespace: &str) -> Result<bool, NotAMember> {
    Ok(root_namespace(view, istio)? == namespace || other_mesh_rooted_in(view, namespace, mesh)?.is_some())
}

/// The module that a mesh wants its proxies to load.
pub fn module_of(mesh: &ObservabilityMesh) -> Option<&WasmModule> {
    let traffic = mesh.spec.interface_traffic.as_ref()?;
    // Kmesh has no proxy in a workload's pod.
    traffic.wasm_plugin.as_ref().filter(|_| kmesh_of(mesh).is_none())
}

/// Namespaces whose proxies load the module of a mesh.
///
/// # Errors
/// While that cannot be told.
pub fn namespaces_of(view: &View<'_>, mesh: &ObservabilityMesh) -> Result<Vec<String>, NotAMember> {
    let (Some(_), Some(istio)) = (module_of(mesh), istio_of(mesh)) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for namespace in view.objects(Kind::Namespace).present().into_iter().flatten() {
        let name = key_of(namespace).name;
        let is_leaving = namespace.pointer("/metadata/deletionTimestamp").is_some();
        let labels = labels_of(namespace);
        if !is_leaving && is_injected(&labels) && selects(mesh, &labels)? && !is_root(view, mesh, &istio, &name)? {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether a WasmPlugin of a mesh stands in a namespace as wanted.
///
/// # Errors
/// Why it cannot be written.
pub fn stands(view: &View<'_>, mesh: &ObservabilityMesh, namespace: &str) -> Result<bool, Finding> {
    let key = Key::new(namespace, wasm_plugin::object_name(name_of(mesh)));
    let of_namespace = plan(view, namespace);
    let every = every_object(namespace);
    if let Some((_, finding)) = of_namespace
        .blocked
        .into_iter()
        .find(|(at, _)| *at == key || *at == every)
    {
        return Err(finding);
    }
    let is_due = of_namespace.apply.iter().any(|apply| key_of(&apply.object) == key);
    let is_there = matches!(view.object(Kind::WasmPlugin, &key), Fact::Present(_));
    Ok(is_there && !is_due)
}

/// Whether objects of ours for a mesh are left; `None`: not known. Where they may not be looked at that is so as long as
/// the mesh has a module. The right is given for a feature only, so that a mesh without one is not held by it.
pub fn are_left(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<bool> {
    match view.objects(Kind::WasmPlugin) {
        Fact::Present(all) => {
            Some(all.into_iter().any(|object: &Value| {
                is_ours(object) && key_of(object).name == wasm_plugin::object_name(name_of(mesh))
            }))
        }
        Fact::Unknown => None,
        Fact::Forbidden if module_of(mesh).is_some() => None,
        Fact::Absent | Fact::Forbidden | Fact::KindMissing => Some(false),
    }
}

/// Whether a mesh cannot go because WasmPlugins of it may be left that may not be looked at.
pub fn hold_it_unseen(view: &View<'_>, mesh: &ObservabilityMesh) -> bool {
    module_of(mesh).is_some() && view.objects(Kind::WasmPlugin) == Fact::Forbidden
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::{Scope, Snapshot, Timings, WatchState};
    use k8s_openapi::jiff::Timestamp;

    /// An API server that has just started refuses everybody.
    #[test]
    fn nothing_is_taken_away_while_namespaces_may_not_be_read() {
        let (now, mut snapshot) = (Timestamp::UNIX_EPOCH, Snapshot::default().loaded());
        let left = json!({"metadata": {"name": "sightline-m", "namespace": "shop", "uid": "1",
            "labels": {"app.kubernetes.io/managed-by": "sightline"}}});
        snapshot.put(Kind::WasmPlugin, Arc::new(left), now);
        let deletes = |snapshot: &Snapshot| plan(&View::new(snapshot, now, Timings::default()), "shop").delete.len();
        assert_eq!(deletes(&snapshot), 1, "no mesh wants it");
        for state in [Some(WatchState::Forbidden), Some(WatchState::KindMissing), None] {
            snapshot.set_watch(Kind::Namespace, &Scope::Cluster, state);
            assert_eq!(deletes(&snapshot), 0, "{state:?}");
        }
    }

    /// Who deletes a mesh while the right to look is away must not lose sight of what is left.
    #[test]
    fn what_may_not_be_looked_at_is_not_none_left_for_a_mesh_with_a_module_and_holds_no_other() {
        let (now, mut snapshot) = (Timestamp::UNIX_EPOCH, Snapshot::default().loaded());
        let mesh = |module: serde_json::Value| -> ObservabilityMesh {
            let traffic = json!({"configMap": {"namespace": "a", "name": "b"}, "elasticsearch": {"url": "http://a:1"},
                "wasmPlugin": module});
            let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
                "metadata": {"name": "m"}, "spec": {"mesh": {"type": "Istio"}, "interfaceTraffic": traffic}});
            serde_json::from_value(crate::admission::admit(&mesh).unwrap()).unwrap()
        };
        let with = mesh(json!({"url": "oci://registry.example/a:1", "sha256": "0".repeat(64)}));
        let without = mesh(serde_json::Value::Null);
        let left = |snapshot: &Snapshot, mesh| are_left(&View::new(snapshot, now, Timings::default()), mesh);
        assert_eq!(left(&snapshot, &with), Some(false));
        snapshot.set_watch(Kind::WasmPlugin, &Scope::Cluster, Some(WatchState::Forbidden));
        assert_eq!(left(&snapshot, &with), None);
        assert_eq!(
            left(&snapshot, &without),
            Some(false),
            "the right is given for a feature"
        );
    }

    #[test]
    fn what_somebody_deletes_again_and_again_is_made_again_three_times_an_hour() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut snapshot = Snapshot::default().loaded();
        let namespace = |name: &str, labels: serde_json::Value| json!({"metadata": {"name": name, "labels": labels}});
        let shop = namespace("shop", json!({"istio-injection": "enabled"}));
        snapshot.put(Kind::Namespace, Arc::new(shop), at(0));
        let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh",
            "metadata": {"name": "m"}, "spec": {"mesh": {"type": "Istio"}, "interfaceTraffic": {
                "configMap": {"namespace": "a", "name": "b"}, "elasticsearch": {"url": "http://a:1"},
                "wasmPlugin": {"url": "oci://registry.example/a:1", "sha256": "0".repeat(64)}}}});
        let mesh: ObservabilityMesh = serde_json::from_value(crate::admission::admit(&mesh).unwrap()).unwrap();
        crate::snapshot::Resource::put(&mut snapshot, &Key::new("", "m"), Some(Arc::new(mesh)));
        let planned = |snapshot: &Snapshot, second| plan(&View::new(snapshot, at(second), Timings::default()), "shop");
        for second in [0, 10, 20, 30] {
            let made = planned(&snapshot, second).apply.remove(0);
            let key = key_of(&made.object);
            snapshot
                .contest_mut(Kind::WasmPlugin, &key)
                .written(&made.digest, &made.edited, at(second));
            snapshot.put(Kind::WasmPlugin, Arc::new(made.object), at(second));
            snapshot.remove(Kind::WasmPlugin, &key, at(second));
        }
        let contested = planned(&snapshot, 40);
        assert_eq!(contested.apply, []);
        assert_eq!(contested.blocked[0].1.reason, Reason::Contested);
        assert_eq!(contested.look_again, Some(at(10 + 3600)));
        assert_eq!(planned(&snapshot, 10 + 3600).apply.len(), 1);
    }
}
