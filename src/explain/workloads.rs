//! Pods, and the workloads of a namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use super::Eye;
use super::kmesh::{connections, has_daemons_only, waypoint};
use super::model::{
    AgentEntry, Environment, ForeignTelemetry, MeshChoice, NamespaceAnswer, Origin, Overridden, PodAnswer, ProxySeen,
    SetAnswer, Traffic, Variable,
};
use super::places::{destination_of, set_text, word};
use super::problems::{policy_seen, problems};
use super::scope::{Depth, Scopes, depth_for};
use super::traffic::{overridden, traffic};
use crate::crds::{AgentReadsType, MeshType, ObservabilityMesh, TargetKind, WorkloadKind, WorkloadRef};
use crate::plan::Target;
use crate::plan::owned::is_ours;
use crate::plan::rollout::{Rollouts, Workload, rollouts};
use crate::policy::claims::{Labels, Selection, WorkloadSet, is_subset};
use crate::policy::membership::{istio_of, meshes_of_namespace, name_of, root_namespace, selects};
use crate::policy::proxies::kmesh_of;
use crate::render::istio::versions::ImageVersion;
use crate::snapshot::proxies::{PROXY_CONTAINER, image_of};
use crate::snapshot::{Fact, Key, Kind, View, key_of, labels_of, string_map};

/// Label that tells which Gateway a proxy is of.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Label by which Istio tells its waypoints from its gateways, with [`WAYPOINT`] as value.
const MANAGED_GATEWAY: &str = "gateway.istio.io/managed";
/// Value of [`MANAGED_GATEWAY`] on waypoints.
const WAYPOINT: &str = "istio.io-mesh-controller";

/// [`ProxySeen::state`] of a pod without a proxy.
const NO_PROXY: &str = "None";

/// Explains a pod, else the pods that the workload of that name makes.
pub(super) fn pod(eye: &Eye<'_, '_>, key: &Key) -> Option<PodAnswer> {
    let view = eye.view;
    let (labels_of_kind, pod_labels, spec) = if let Some(pod) = view.object(Kind::Pod, key).present() {
        ("Pod", labels_of(pod), pod.get("spec"))
    } else {
        let made_by = |kind: WorkloadKind| Some((kind, view.object(Kind::of_workload(kind), key).present()?));
        let (kind, made_by) = WorkloadKind::ALL.into_iter().find_map(made_by)?;
        let labels = string_map(made_by.pointer("/spec/template/metadata/labels"));
        (kind.as_str(), labels, made_by.pointer("/spec/template/spec"))
    };
    let made_by = workload_of(view, &key.namespace, &pod_labels);
    let workload = sets_of(&pod_labels);
    let mut answer = PodAnswer {
        labels_of: labels_of_kind.into(),
        proxy: proxy(view, &key.namespace, &pod_labels, spec, labels_of_kind == "Pod"),
        workload: made_by.as_ref().map(ToString::to_string),
        ..PodAnswer::default()
    };
    match meshes(view, &key.namespace) {
        Ok(meshes) => answer.meshes = meshes,
        Err(why) => answer.no_mesh = Some(why),
    }
    match Scopes::new(view, &key.namespace) {
        // Where no proxy runs there is nothing that a Telemetry could change.
        Ok(_) if answer.proxy.state == NO_PROXY => {}
        Ok(scopes) => {
            answer.traffic = traffic(eye, &scopes, &workload);
            answer.overridden = overridden(&scopes, &workload);
        }
        Err(error) => answer.no_mesh = Some(error.message),
    }
    let node = spec.and_then(|spec| spec.get("nodeName")).and_then(Value::as_str);
    answer.connections = connections(view, &key.namespace, node);
    answer.waypoint = waypoint(eye, &key.namespace, &pod_labels);
    let managed = managed(eye, |workload: &Workload<'_>| made_by.as_ref() == Some(&workload.id));
    answer.environment = managed.environment;
    answer.agents = managed.agents;
    answer.overridden.extend(managed.overridden);
    let injected = |target: &Target| {
        answer
            .environment
            .iter()
            .any(|e| e.from == super::problems::origin_of(target))
    };
    let concerned: Vec<Target> = policies_reaching(view, &key.namespace)
        .into_iter()
        .filter(|(target, selection, _)| depth_for(selection, &workload).is_some() || injected(target))
        .map(|(target, ..)| target)
        .collect();
    answer.problems = problems(eye, &concerned, true);
    answer
        .problems
        .extend(problems(eye, &targets_of(&answer.meshes), false));
    answer.foreign_telemetries = foreign(view, &key.namespace, Some(&pod_labels));
    answer.labels = pod_labels;
    Some(answer)
}

/// Explains a namespace.
pub(super) fn namespace(eye: &Eye<'_, '_>, name: &str) -> Option<NamespaceAnswer> {
    let view = eye.view;
    if view.object(Kind::Namespace, &Key::new("", name)) == Fact::Absent {
        return None;
    }
    let proxies = view.proxies_in(name).present().unwrap_or_default();
    let mut answer = NamespaceAnswer {
        proxies: proxies.iter().map(ToString::to_string).collect(),
        ..NamespaceAnswer::default()
    };
    match meshes(view, name) {
        Ok(meshes) => answer.meshes = meshes,
        Err(why) => answer.no_mesh = Some(why),
    }
    match Scopes::new(view, name) {
        Ok(scopes) => {
            let own = scopes.own.policy.objects.keys().filter(|set| !set.is_namespace());
            // Where daemons serve connections, proxies are waypoints, of which each has its policies by its name.
            let all = (!has_daemons_only(view, name)).then(WorkloadSet::namespace);
            let sets = all.into_iter().chain(own.cloned());
            answer.sets = sets
                .map(|set| SetAnswer {
                    workloads: set_text(&set),
                    traffic: traffic(eye, &scopes, std::slice::from_ref(&set)),
                    overridden: overridden(&scopes, std::slice::from_ref(&set)),
                })
                // Where no mesh has proxies there is nothing to say.
                .filter(|set| set.traffic != Traffic::default())
                .collect();
        }
        Err(error) => answer.no_mesh = Some(error.message),
    }
    answer.connections = connections(view, name, None);
    let managed = managed(eye, |workload| workload.id.namespace == name);
    answer.environment = managed.environment;
    answer.agents = managed.agents;
    let reaching = policies_reaching(view, name);
    let own = reaching.iter().filter(|(_, _, depth)| *depth == Depth::Namespace);
    answer.policies = own.map(|(target, ..)| policy_seen(eye, target)).collect();
    answer.problems = problems(eye, reaching.iter().map(|(target, ..)| target), true);
    answer
        .problems
        .extend(problems(eye, &targets_of(&answer.meshes), false));
    answer.foreign_telemetries = foreign(view, name, None);
    Some(answer)
}

/// The sets that a pod of these labels is in. A gateway also gets what is attached to its Gateway, a waypoint only that.
fn sets_of(labels: &Labels) -> Vec<WorkloadSet> {
    let own = WorkloadSet::Labels(labels.clone());
    match labels.get(GATEWAY_NAME) {
        None => vec![own],
        Some(gateway) => {
            let attached = WorkloadSet::Target(TargetKind::Gateway, gateway.clone());
            if is_waypoint(labels) {
                vec![attached]
            } else {
                vec![own, attached]
            }
        }
    }
}

fn is_waypoint(labels: &Labels) -> bool {
    labels.get(MANAGED_GATEWAY).is_some_and(|by| by == WAYPOINT)
}

fn proxy(view: &View<'_>, namespace: &str, labels: &Labels, spec: Option<&Value>, is_pod: bool) -> ProxySeen {
    let of_namespace = view.namespace_labels(namespace).present().unwrap_or_default();
    let pod = serde_json::json!({"spec": spec});
    if let Some(image) = image_of(&pod, PROXY_CONTAINER) {
        let state = match labels.get(GATEWAY_NAME) {
            None => "Sidecar",
            Some(_) if is_waypoint(labels) => "Waypoint",
            Some(_) => "Gateway",
        };
        let version = ImageVersion::of_image(image);
        return ProxySeen {
            state: state.into(),
            version: version.known().map(|_| version.to_string()),
            message: format!("Container {PROXY_CONTAINER} runs {image}."),
        };
    }
    // As the selectors of Istio's webhooks have it: the namespace's label decides where it has one.
    let own = labels.get("sidecar.istio.io/inject").map(String::as_str);
    let refuses = own == Some("false");
    let enabled = match of_namespace.get("istio-injection") {
        Some(label) => label == "enabled",
        None => {
            own == Some("true")
                || [&of_namespace, labels]
                    .iter()
                    .any(|labels| labels.contains_key("istio.io/rev"))
        }
    };
    if !is_pod && enabled && !refuses {
        return ProxySeen {
            state: "Expected".into(),
            version: None,
            message: "Istio injects one into the pods that are made of this template.".into(),
        };
    }
    let what = if is_pod {
        format!("There is no container {PROXY_CONTAINER}")
    } else if refuses {
        "Its template refuses injection (sidecar.istio.io/inject: \"false\")".to_owned()
    } else {
        format!("Namespace {namespace} is not labelled for injection")
    };
    ProxySeen {
        state: NO_PROXY.into(),
        version: None,
        message: format!("{what}: Telemetry changes nothing for it."),
    }
}

/// The workload whose selector takes pods of these labels.
fn workload_of(view: &View<'_>, namespace: &str, labels: &Labels) -> Option<WorkloadRef> {
    let takes = |live: &&Value| {
        let selector = live.pointer("/spec/selector").cloned();
        let selector: Option<LabelSelector> = selector.and_then(|selector| serde_json::from_value(selector).ok());
        let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
        selector.is_some_and(|selector| !selector.selects_all() && selector.matches(labels))
    };
    WorkloadKind::ALL.into_iter().find_map(|kind| {
        let all = view.objects_in(Kind::of_workload(kind), namespace).present()?;
        let Key { namespace, name } = key_of(all.into_iter().find(takes)?);
        Some(WorkloadRef { kind, namespace, name })
    })
}

/// The meshes that serve a namespace, or why none does.
fn meshes(view: &View<'_>, namespace: &str) -> Result<Vec<MeshChoice>, String> {
    let serving = meshes_of_namespace(view, namespace).map_err(|error| error.message)?;
    if serving.is_empty() {
        return Err(format!("No ObservabilityMesh selects namespace {namespace}."));
    }
    let labels = view.namespace_labels(namespace).present().unwrap_or_default();
    let several = serving.len() > 1;
    let choice = |mesh: &&std::sync::Arc<ObservabilityMesh>| {
        let how = if selects(mesh, &labels).unwrap_or(false) {
            "its spec.namespaces selects the namespace"
        } else {
            match mesh.spec.mesh.type_ {
                MeshType::Istio | MeshType::None => "the namespace is the root namespace of its Istio",
                MeshType::Kuma => "the namespace is the system namespace of its Kuma",
                MeshType::Kmesh => "the namespace is that of its Kmesh's daemons",
            }
        };
        let because = if several {
            format!("{how}; others do too, so each policy names its own in spec.meshRef")
        } else {
            how.to_owned()
        };
        MeshChoice {
            name: name_of(mesh).to_owned(),
            type_: word(&mesh.spec.mesh.type_),
            because,
        }
    };
    Ok(serving.iter().map(choice).collect())
}

fn targets_of(meshes: &[MeshChoice]) -> Vec<Target> {
    meshes.iter().map(|mesh| Target::Mesh(mesh.name.clone())).collect()
}

/// The policies of a namespace, and those of the root namespaces above it that hold for whole meshes.
fn policies_reaching(view: &View<'_>, namespace: &str) -> Vec<(Target, Selection, Depth)> {
    let mut all = policies_in(view, namespace, Depth::Namespace);
    let meshes = meshes_of_namespace(view, namespace).unwrap_or_default();
    let mut roots: Vec<String> = meshes
        .into_iter()
        .filter_map(|mesh| match kmesh_of(mesh) {
            Some(daemons) => Some(daemons.namespace),
            None => root_namespace(view, &istio_of(mesh)?).ok(),
        })
        .filter(|root| root != namespace)
        .collect();
    roots.sort();
    roots.dedup();
    for root in roots {
        let wide = policies_in(view, &root, Depth::Mesh).into_iter();
        all.extend(wide.filter(|(_, selection, _)| selection.is_namespace()));
    }
    all
}

fn policies_in(view: &View<'_>, namespace: &str, depth: Depth) -> Vec<(Target, Selection, Depth)> {
    let logs = view.traffic_logs_in(namespace).into_iter().map(|(key, log)| {
        let selection = Selection::new(log.spec.selector.as_ref(), &log.spec.target_refs);
        (Target::TrafficLog(key.clone()), selection, depth)
    });
    let traces = view.tracing_backends_in(namespace).into_iter().map(|(key, tracing)| {
        let selection = Selection::new(tracing.spec.selector.as_ref(), &tracing.spec.target_refs);
        (Target::TracingBackend(key.clone()), selection, depth)
    });
    logs.chain(traces).collect()
}

/// Telemetries of somebody else in a namespace, of a pod those that select it.
fn foreign(view: &View<'_>, namespace: &str, pod: Option<&Labels>) -> Vec<ForeignTelemetry> {
    let objects = view
        .objects_in(Kind::Telemetry, namespace)
        .present()
        .unwrap_or_default();
    let objects = objects.into_iter().filter(|object| !is_ours(object));
    let described = objects.filter_map(|object| {
        let selector = string_map(object.pointer("/spec/selector/matchLabels"));
        if pod.is_some_and(|labels| !is_subset(&selector, labels)) {
            return None;
        }
        let sections = ["accessLogging", "metrics", "tracing"];
        let key = key_of(object);
        let message = if selector.is_empty() {
            "It has no selector: of two such Telemetries in a namespace Istio reads only the older one."
        } else {
            "It selects by labels: Istio mixes it with ours, and what is newer replaces what is older."
        };
        Some(ForeignTelemetry {
            namespace: key.namespace,
            name: key.name,
            sections: sections
                .iter()
                .filter(|section| object.pointer(&format!("/spec/{section}")).is_some())
                .map(|section| (*section).to_owned())
                .collect(),
            message: message.into(),
        })
    });
    described.collect()
}

/// What the governor does for workloads.
#[derive(Default)]
pub(super) struct Managed {
    pub(super) environment: Vec<Environment>,
    pub(super) agents: Vec<AgentEntry>,
    pub(super) overridden: Vec<Overridden>,
}

/// What all meshes do for the workloads that are taken.
pub(super) fn managed(eye: &Eye<'_, '_>, is_taken: impl Fn(&Workload<'_>) -> bool) -> Managed {
    let view = eye.view;
    let mut managed = Managed::default();
    for mesh in view.meshes() {
        eye.with_memory(|memory| {
            let rollouts = rollouts(view, mesh, memory);
            for workload in rollouts.workloads.iter().filter(|workload| is_taken(workload)) {
                managed.add(view, mesh, &rollouts, workload);
            }
        });
    }
    managed
}

impl Managed {
    fn add(&mut self, view: &View<'_>, mesh: &ObservabilityMesh, rollouts: &Rollouts<'_>, workload: &Workload<'_>) {
        let name = workload.id.to_string();
        let state = match rollouts.state(workload) {
            Ok(()) => "InSync".to_owned(),
            Err((reason, message)) => format!("{}: {message}", reason.as_str()),
        };
        for entry in mesh
            .spec
            .agents
            .iter()
            .filter(|agent| workload.agents.contains(&agent.name))
        {
            let read = |reads: &crate::crds::AgentReads| match (reads.type_, &reads.config_map, &reads.secret) {
                (AgentReadsType::ConfigMap, Some(map), _) => format!("ConfigMap {}", map.name),
                (AgentReadsType::Secret, _, Some(secret)) => format!("Secret {}", secret.name),
                (type_, ..) => format!("{type_:?}"),
            };
            self.agents.push(AgentEntry {
                workload: name.clone(),
                entry: entry.name.clone(),
                from: Origin::mesh(mesh).at(&format!("spec.agents[{}]", entry.name)),
                reads: entry.reads.iter().map(read).collect(),
                state: state.clone(),
            });
        }
        let given = workload.wanted.iter().flat_map(|wanted| &wanted.env);
        let mut by_container: BTreeMap<&str, Vec<Variable>> = BTreeMap::new();
        for env in given {
            let all = by_container.entry(&env.container).or_default();
            for var in &env.block.vars {
                // Of two of one name the first is given.
                if all.iter().all(|known| known.name != var.name) {
                    all.push(Variable {
                        name: var.name.clone(),
                        value: var.shown(),
                    });
                }
            }
        }
        for (container, variables) in by_container {
            let tracing = workload.env_from.get(container).and_then(|key| {
                let all = view.tracing_backends_in(&key.namespace);
                all.into_iter().find(|(other, _)| *other == key)
            });
            let Some((key, tracing)) = tracing else { continue };
            let policy = Origin::of_key("TracingBackend", key);
            self.environment.push(Environment {
                workload: name.clone(),
                container: container.to_owned(),
                variables,
                destination_from: destination_of(&policy, tracing, Origin::mesh(mesh)),
                from: policy.at("spec.inject"),
                state: state.clone(),
            });
        }
        self.overridden
            .extend(workload.overridden.iter().map(|(loser, winner)| Overridden {
                policy: Origin::of_key("TracingBackend", loser),
                claim: "environment".into(),
                direction: None,
                by: vec![Origin::of_key("TracingBackend", winner)],
                why: "SameScope".into(),
            }));
    }
}
