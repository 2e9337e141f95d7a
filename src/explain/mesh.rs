//! ObservabilityMeshes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Eye;
use super::model::{
    BackendSeen, CollectorSeen, ExporterSeen, InterfaceTrafficSeen, IstioSeen, MeshAnswer, Origin, ProviderSeen,
    RequiredSeen,
};
use super::places::{lines, spans, units_of, word};
use super::problems::{conditions, origin_of, policy_seen};
use super::workloads::managed;
use crate::crds::{
    CollectorExporter, InterfaceTraffic, IstioMesh, LogBackend, MeshConfigMode, ObservabilityMesh, TraceBackend,
};
use crate::plan::Target;
use crate::plan::{collector, control_plane};
use crate::policy::backends::{SpanReceiver, Transport, log_endpoint, missing_service};
use crate::policy::claims::Checked;
use crate::policy::membership::{istio_of, mesh_scope, meshes_of_namespace, name_of, root_namespace};
use crate::policy::proxies::Proxies;
use crate::policy::{mesh_wide, tracing_backend, traffic_log, versions};
use crate::render::istio::provider::Provider;
use crate::snapshot::{Key, Kind, View, key_of};
use crate::yaml;

/// Explains an ObservabilityMesh.
pub(super) fn mesh(eye: &Eye<'_, '_>, name: &str) -> Option<MeshAnswer> {
    let view = eye.view;
    let mesh = view.mesh(name)?;
    let target = Target::Mesh(name.to_owned());
    let istio = istio_of(mesh);
    let checked_default = mesh_wide::check_default_tracing(view, mesh);
    let default_claim = checked_default.as_ref().and_then(|checked| checked.claim.as_ref());
    let policies = policies_of(view, mesh);
    let providers = istio
        .as_ref()
        .map(|istio| providers(view, mesh, istio, &policies))
        .unwrap_or_default();
    Some(MeshAnswer {
        type_: word(&mesh.spec.mesh.type_),
        conditions: conditions(eye, &target),
        namespaces: namespaces_of(view, mesh),
        log_backends: if istio.is_some() {
            log_backends(view, mesh)
        } else {
            Vec::new()
        },
        trace_backends: trace_backends(view, mesh),
        required: required(view, mesh),
        default_tracing: default_claim.map(|claim| {
            let tags = claim.tags.iter().map(|tag| (tag.name.clone(), tag.clone())).collect();
            spans(view, claim, &tags, &[])
        }),
        metrics: mesh.spec.metrics.iter().flat_map(|m| m.overrides.clone()).collect(),
        policies: policies.iter().map(|policy| policy_seen(eye, &policy.target)).collect(),
        interface_traffic: mesh
            .spec
            .interface_traffic
            .as_ref()
            .map(|traffic| interface_traffic(mesh, traffic)),
        collector: collector_seen(view, mesh),
        missing_yaml: istio.as_ref().and_then(|istio| missing_yaml(istio, &providers)),
        providers,
        agents: managed(eye, |_| true)
            .agents
            .into_iter()
            .filter(|agent| agent.from.name == name)
            .collect(),
        istio: istio.map(|istio| istio_seen(view, mesh, istio)),
    })
}

fn istio_seen(view: &View<'_>, mesh: &Arc<ObservabilityMesh>, istio: IstioMesh) -> IstioSeen {
    let versions = versions::status(view, mesh, &istio).ok();
    let scope = mesh_scope(view, mesh, &Proxies::Istio(istio.clone())).ok();
    let root = root_namespace(view, &istio).ok();
    let (oldest, from) = versions
        .as_ref()
        .map(|v| (v.oldest_proxy.clone(), v.oldest_proxy_from.clone()))
        .unzip();
    let (istiod, proxies) = versions.map(|v| (v.istiod, v.proxies)).unwrap_or_default();
    IstioSeen {
        mode: word(&istio.mesh_config.mode),
        namespace: istio.namespace,
        revisions: istio.revisions,
        root_namespace: root,
        mesh_scope: scope.map(|scope| format!("{scope:?}")),
        istiod,
        proxies,
        oldest_proxy: oldest,
        oldest_proxy_from: from,
    }
}

fn namespaces_of(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<String> {
    let namespaces = view.objects(Kind::Namespace).present().unwrap_or_default();
    let names = namespaces.into_iter().map(|namespace| key_of(namespace).name);
    let serves = |name: &String| {
        let serving = meshes_of_namespace(view, name).unwrap_or_default();
        serving.into_iter().any(|other| name_of(other) == name_of(mesh))
    };
    names.filter(serves).collect()
}

fn log_backends(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<BackendSeen> {
    let default = mesh.spec.logging.effective_default_backends();
    let seen = |backend: &LogBackend| {
        let endpoint = log_endpoint(backend);
        let file = backend.file.as_ref().map(|file| file.path.clone());
        let missing = endpoint.and_then(|endpoint| missing_service(view, endpoint, Transport::Grpc));
        BackendSeen {
            name: backend.name.clone(),
            type_: word(&backend.type_),
            place: file.or_else(|| endpoint.map(ToString::to_string)).unwrap_or_default(),
            default: default.contains(&backend.name),
            from: Origin::mesh(mesh).at(&format!("spec.logging.backends[{}]", backend.name)),
            problem: missing.map(|finding| finding.message),
        }
    };
    mesh.spec.logging.backends.iter().map(seen).collect()
}

fn trace_backends(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<BackendSeen> {
    let tracing = mesh.spec.tracing.as_ref();
    let default = tracing.and_then(|t| t.default.as_ref()).map(|default| &default.backend);
    let backends = tracing.into_iter().flat_map(|tracing| &tracing.backends);
    let seen = |backend: &TraceBackend| {
        let receiver = SpanReceiver::of_backend(mesh, backend);
        let problem = match &receiver {
            Ok(receiver) => receiver.missing(view, mesh),
            Err(finding) => Some(finding.clone()),
        };
        BackendSeen {
            name: backend.name.clone(),
            type_: word(&backend.type_),
            place: receiver.map(|r| r.endpoint().to_string()).unwrap_or_default(),
            default: default == Some(&backend.name),
            from: Origin::mesh(mesh).at(&format!("spec.tracing.backends[{}]", backend.name)),
            problem: problem.map(|finding| finding.message),
        }
    };
    backends.map(seen).collect()
}

fn interface_traffic(mesh: &ObservabilityMesh, traffic: &InterfaceTraffic) -> InterfaceTrafficSeen {
    let credentials = traffic.elasticsearch.credentials_secret_ref.as_ref();
    InterfaceTrafficSeen {
        config_map: Key::new(&traffic.config_map.namespace, &traffic.config_map.name).to_string(),
        elasticsearch: traffic.elasticsearch.url.clone(),
        credentials: credentials.map(|secret| Key::new(&secret.namespace, &secret.name).to_string()),
        wasm_plugin: traffic.wasm_plugin.as_ref().map(|module| module.url.clone()),
        from: Origin::mesh(mesh).at("spec.interfaceTraffic"),
    }
}

fn collector_seen(view: &View<'_>, mesh: &ObservabilityMesh) -> Option<CollectorSeen> {
    let collector = mesh.spec.collector.as_ref()?;
    let exporter = |exporter: &CollectorExporter| {
        let documents = exporter.elasticsearch.iter().flat_map(|of| of.urls.clone());
        ExporterSeen {
            name: exporter.name.clone(),
            type_: word(&exporter.type_),
            urls: documents.chain(exporter.otlp.iter().map(|of| of.url.clone())).collect(),
            signals: exporter.signals.iter().map(word).collect(),
            from: Origin::mesh(mesh).at(&format!("spec.collector.exporters[{}]", exporter.name)),
        }
    };
    Some(CollectorSeen {
        status: collector::status(view, mesh)?,
        receivers: collector.receivers.iter().map(word).collect(),
        exporters: collector.exporters.iter().map(exporter).collect(),
        sampling: collector.sampling.as_ref().map(|sampling| sampling.percentage.clone()),
        from: Origin::mesh(mesh).at("spec.collector"),
    })
}

fn required(view: &View<'_>, mesh: &Arc<ObservabilityMesh>) -> Vec<RequiredSeen> {
    let checked = mesh_wide::check_required(view, mesh).into_iter();
    let seen = checked.filter_map(|checked| {
        let claim = checked.claim?;
        let units = units_of(&claim);
        let lines = units.iter().flat_map(|won| lines(view, won, None, &checked.providers));
        Some(RequiredSeen {
            lines: lines.collect(),
            directions: claim.sides,
        })
    });
    seen.collect()
}

/// A policy of a mesh, and the providers that it needs.
struct Policy {
    target: Target,
    providers: Vec<Provider>,
}

fn policies_of(view: &View<'_>, mesh: &ObservabilityMesh) -> Vec<Policy> {
    fn policy<C>(mesh: &ObservabilityMesh, target: Target, checked: Checked<'_, C>) -> Option<Policy> {
        let is_of = checked.mesh.is_some_and(|other| name_of(other) == name_of(mesh));
        is_of.then_some(Policy {
            target,
            providers: checked.providers,
        })
    }
    let logs = view.traffic_logs().filter_map(|(key, log)| {
        policy(
            mesh,
            Target::TrafficLog(key.clone()),
            traffic_log::check(view, key, log),
        )
    });
    let traces = view.tracing_backends().filter_map(|(key, tracing)| {
        let checked = tracing_backend::check(view, key, tracing);
        policy(mesh, Target::TracingBackend(key.clone()), checked)
    });
    logs.chain(traces).collect()
}

fn providers(
    view: &View<'_>,
    mesh: &Arc<ObservabilityMesh>,
    istio: &IstioMesh,
    policies: &[Policy],
) -> Vec<ProviderSeen> {
    let mut needed: BTreeMap<String, (Value, BTreeSet<Origin>)> = BTreeMap::new();
    let mut need = |provider: &Provider, by: Origin| {
        let empty = || (provider.entry.clone(), BTreeSet::new());
        needed.entry(provider.name.clone()).or_insert_with(empty).1.insert(by);
    };
    let own = Origin::mesh(mesh);
    for provider in mesh_wide::check_required(view, mesh).iter().flat_map(|c| &c.providers) {
        need(provider, own.clone().at("spec.logging.required"));
    }
    let default = mesh_wide::check_default_tracing(view, mesh);
    for provider in default.iter().flat_map(|checked| &checked.providers) {
        need(provider, own.clone().at("spec.tracing.default"));
    }
    for policy in policies {
        for provider in &policy.providers {
            need(provider, origin_of(&policy.target));
        }
    }
    let seen = |(name, (entry, used_by)): (String, (Value, BTreeSet<Origin>))| ProviderSeen {
        missing_in: control_plane::revisions_without(view, mesh, istio, &name, &entry)
            .into_iter()
            .collect(),
        name,
        used_by: used_by.into_iter().collect(),
        entry,
    };
    needed.into_iter().map(seen).collect()
}

/// What a person has to write where we write nothing.
fn missing_yaml(istio: &IstioMesh, providers: &[ProviderSeen]) -> Option<String> {
    let missing = providers.iter().filter(|provider| !provider.missing_in.is_empty());
    let missing: Vec<&Value> = missing.map(|provider| &provider.entry).collect();
    if missing.is_empty() || istio.mesh_config.mode != MeshConfigMode::Verify {
        return None;
    }
    yaml::to_yaml(&json!({"extensionProviders": missing})).ok()
}
