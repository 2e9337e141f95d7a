//! Which claims of a namespace are in force: fresh ones, or the last good ones of policies that cannot be programmed.

use std::sync::Arc;

use serde_json::Value;

use super::owned::{escape, is_ours, last_manager};
use super::{Target, control_plane, kuma};
use crate::crds::ObservabilityMesh;
use crate::policy::claims::{
    Checked, Claim, LogClaim, MeshDefaults, MetricsClaim, PolicyKind, Selection, Side, Source, Sources, TraceClaim,
};
use crate::policy::membership::{
    MeshScope, NotAMember, istio_of, mesh_scope, meshes_of_namespace, name_of, other_mesh_rooted_in, unread_mesh,
};
use crate::policy::proxies::{Proxies, kuma_of};
use crate::policy::resolve::NamespaceClaims;
use crate::policy::{mesh_wide, tracing_backend, traffic_log};
use crate::render::istio::metrics;
use crate::render::metadata::{FIELD_MANAGER, SOURCES};
use crate::snapshot::{Fact, Kind, View};
use k8s_openapi::jiff::Timestamp;

/// Claims in force, and when a pending one may become so.
#[derive(Default)]
pub struct InForce {
    /// The claims.
    pub claims: NamespaceClaims,
    /// When to look again.
    pub look_again: Option<Timestamp>,
}

/// The claims that a namespace's objects are made of.
///
/// # Errors
/// While it cannot be told which meshes serve the namespace: then nothing may be planned there.
pub fn claims_in_force(view: &View<'_>, namespace: &str, lane: Lane<'_>) -> Result<InForce, NotAMember> {
    let meshes = meshes_of_namespace(view, namespace)?;
    let has_part = lane.live_sources(view, namespace);
    let mut undecoded = view.undecoded_meshes();
    if let Some(mesh) = undecoded.find(|mesh| has_part.meshes().contains(mesh)) {
        return Err(unread_mesh(mesh));
    }
    // A policy that was rendered in another place until now has its last good claim there.
    let mut live = has_part;
    let mut scopes = Vec::new();
    for mesh in meshes {
        let Some(proxies) = Proxies::of(mesh).filter(|_| lane.takes(mesh)) else {
            continue;
        };
        let root = proxies.root_namespace(view)?;
        let scope = mesh_scope(view, mesh, &proxies)?;
        if root != namespace {
            live.extend(lane.live_sources(view, &root));
        }
        scopes.push((mesh, root, scope));
    }
    let mut planning = Planning {
        view,
        lane,
        live: &live,
        look_again: None,
    };
    let mut claims = NamespaceClaims::default();
    (claims.logs, claims.traces) = planning.claims_of(namespace);
    for (mesh, root, scope) in scopes {
        let defaults = planning.defaults_of(mesh);
        let is_root = root == namespace;
        match scope {
            MeshScope::RootTelemetry if is_root => claims.here.defaults.push(defaults),
            MeshScope::RootTelemetry => {
                // Spans get the tags of wider scopes; everything else stands in the root's own object.
                if !claims.traces.is_empty() {
                    let (_, traces) = planning.wide_claims_of(&root, name_of(mesh));
                    claims.elsewhere.traces.extend(traces);
                }
                claims.elsewhere.defaults.push(defaults);
            }
            MeshScope::PerNamespace if is_root => {
                // A selector-less Telemetry here would reach the whole mesh.
                let is_wide =
                    |mesh_of: &str, selection: &Selection| mesh_of == name_of(mesh) && selection.is_namespace();
                claims.logs.retain(|c| !is_wide(&c.mesh, &c.selection));
                let wide = claims.traces.extract_if(.., |c| is_wide(&c.mesh, &c.selection));
                claims.elsewhere.traces.extend(wide);
                claims.elsewhere.defaults.push(defaults);
            }
            // A selector-less Telemetry here would reach the whole of the other mesh.
            MeshScope::PerNamespace if other_mesh_rooted_in(view, namespace, mesh)?.is_some() => {
                claims.elsewhere.defaults.push(defaults);
            }
            MeshScope::PerNamespace => {
                let (logs, traces) = planning.wide_claims_of(&root, name_of(mesh));
                claims.here.logs.extend(logs);
                claims.here.traces.extend(traces);
                claims.here.defaults.push(defaults);
            }
        }
    }
    Ok(InForce {
        look_again: planning.look_again,
        claims,
    })
}

/// What finding the claims in force needs, and when a pending one may become so.
struct Planning<'v, 'a> {
    view: &'v View<'a>,
    lane: Lane<'v>,
    live: &'v Sources,
    look_again: Option<Timestamp>,
}

impl Planning<'_, '_> {
    /// Claims of the policies of one namespace.
    fn claims_of(&mut self, namespace: &str) -> (Vec<LogClaim>, Vec<TraceClaim>) {
        let live = self.live;
        let mut logs = Vec::new();
        for (key, log) in self.view.traffic_logs_in(namespace) {
            if log.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let source = Source::new(PolicyKind::TrafficLog, key, &log.metadata);
            let checked = traffic_log::check(self.view, key, log);
            let mesh = checked.mesh.map(|mesh| name_of(mesh).to_owned());
            let last_good = || live.logs.iter().find(|c| c.source.is_same_object(&source)).cloned();
            // One that was carried over from before the policy changed its mesh counts for the present one.
            logs.extend(self.in_force(checked, last_good).map(|claim| LogClaim {
                mesh: mesh.unwrap_or_else(|| claim.mesh.clone()),
                ..claim
            }));
        }
        let mut traces = Vec::new();
        for (key, tracing) in self.view.tracing_backends_in(namespace) {
            if tracing.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let source = Source::new(PolicyKind::TracingBackend, key, &tracing.metadata);
            let checked = tracing_backend::check(self.view, key, tracing);
            let mesh = checked.mesh.map(|mesh| name_of(mesh).to_owned());
            let last_good = || live.traces.iter().find(|c| c.source.is_same_object(&source)).cloned();
            traces.extend(self.in_force(checked, last_good).map(|claim| TraceClaim {
                mesh: mesh.unwrap_or_else(|| claim.mesh.clone()),
                ..claim
            }));
        }
        // What is known of those that cannot be read is what stands.
        for (target, undecoded) in self.view.undecoded_policies_in(namespace) {
            let (kind, key) = match target {
                Target::TrafficLog(key) => (PolicyKind::TrafficLog, key),
                Target::TracingBackend(key) => (PolicyKind::TracingBackend, key),
                _ => continue,
            };
            if undecoded.metadata.deletion_timestamp.is_none() {
                let source = Source::new(kind, key, &undecoded.metadata);
                logs.extend(live.logs.iter().find(|c| c.source.is_same_object(&source)).cloned());
                traces.extend(live.traces.iter().find(|c| c.source.is_same_object(&source)).cloned());
            }
        }
        (logs, traces)
    }

    /// Claims of mesh scope of a mesh: those of its root namespace that select nothing.
    fn wide_claims_of(&mut self, root: &str, mesh: &str) -> (Vec<LogClaim>, Vec<TraceClaim>) {
        let (mut logs, mut traces) = self.claims_of(root);
        logs.retain(|claim| claim.mesh == mesh && claim.selection.is_namespace());
        traces.retain(|claim| claim.mesh == mesh && claim.selection.is_namespace());
        (logs, traces)
    }

    /// What a mesh itself says.
    fn defaults_of(&mut self, mesh: &Arc<ObservabilityMesh>) -> MeshDefaults {
        let live = self.live;
        let source = mesh_wide::source_of(mesh);
        let mut required = Vec::new();
        for (wanted, checked) in mesh
            .spec
            .logging
            .required
            .iter()
            .zip(mesh_wide::check_required(self.view, mesh))
        {
            let is_it = |claim: &&LogClaim| {
                claim.source.is_same_object(&source)
                    && claim.backends.contains_key(&wanted.backend)
                    && claim.sides == Side::of(wanted.direction)
            };
            required.extend(self.in_force(checked, || live.logs.iter().find(is_it).cloned()));
        }
        let tracing = mesh_wide::check_default_tracing(self.view, mesh).and_then(|checked| {
            let last_good = || live.traces.iter().find(|c| c.source.is_same_object(&source)).cloned();
            self.in_force(checked, last_good)
        });
        let changes = match mesh_wide::check_metrics(self.view, mesh) {
            // What changes nothing is not written: an object that says nothing would stand in the way of others.
            Ok(overrides) if metrics::overrides(overrides).is_empty() => None,
            Ok(overrides) => Some(MetricsClaim {
                source: source.clone(),
                overrides: overrides.to_vec(),
                proxies: None,
            }),
            Err(_) => live
                .metrics
                .clone()
                .filter(|claim| claim.source.is_same_object(&source)),
        };
        let changes = changes.or_else(|| self.proxy_metrics(mesh, source));
        MeshDefaults {
            mesh: name_of(mesh).to_owned(),
            required,
            tracing,
            metrics: changes,
        }
    }

    /// What the proxies of a mesh measure whose metrics are not Istio's, or the last good of it.
    fn proxy_metrics(&self, mesh: &ObservabilityMesh, source: Source) -> Option<MetricsClaim> {
        let last_good = || {
            let claim = self.live.metrics.clone();
            claim.filter(|claim| claim.source.is_same_object(&source))
        };
        match mesh_wide::check_proxy_metrics(self.view, mesh) {
            Ok(None) => None,
            Err(_) => last_good(),
            Ok(Some((metrics, provider))) => match kuma_of(mesh) {
                Some(of) if kuma::usable(self.view, mesh, &of, provider.as_slice()).is_err() => last_good(),
                _ => Some(MetricsClaim {
                    source,
                    overrides: Vec::new(),
                    proxies: Some(metrics),
                }),
            },
        }
    }

    /// The claim of a checked policy, or its last good one while the present one cannot be programmed.
    fn in_force<C: Claim>(&mut self, checked: Checked<'_, C>, last_good: impl Fn() -> Option<C>) -> Option<C> {
        // What belongs to a mesh of another lane leaves nothing in this one.
        if checked.mesh.is_some_and(|mesh| !self.lane.takes(mesh)) {
            return None;
        }
        let Some(claim) = checked.claim else {
            return checked.keeps_last_good.then(last_good).flatten();
        };
        let mesh = checked.mesh?;
        let look_again = match Proxies::of(mesh)? {
            // What names no waypoint is said to daemons, see `plan::kmesh`.
            Proxies::Kmesh(..) if claim.selection().targets.is_empty() => return None,
            Proxies::Kmesh(_, None) => return None,
            Proxies::Istio(istio) | Proxies::Kmesh(_, Some(istio)) => {
                match control_plane::usable(self.view, mesh, &istio, &checked.providers, claim.switches_off()) {
                    Ok(()) => return Some(claim),
                    Err(not_usable) => not_usable.look_again,
                }
            }
            Proxies::Kuma(of) => match kuma::usable(self.view, mesh, &of, &checked.providers) {
                Ok(()) => return Some(claim),
                // What it waits for is read, and wakes it.
                Err(_) => None,
            },
        };
        self.look_again = [self.look_again, look_again].into_iter().flatten().min();
        last_good()
    }
}

/// Whose objects are planned. One of Istio's holds what all its meshes say of a namespace; one of Kuma's is of one mesh.
#[derive(Clone, Copy)]
pub enum Lane<'m> {
    /// Telemetries.
    Istio,
    /// Policies in the system namespace of this mesh.
    Kuma(&'m Arc<ObservabilityMesh>),
}

impl Lane<'_> {
    /// Whether what a mesh says goes into these objects.
    fn takes(self, mesh: &ObservabilityMesh) -> bool {
        match self {
            Self::Istio => istio_of(mesh).is_some(),
            Self::Kuma(own) => name_of(own) == name_of(mesh),
        }
    }

    /// The claims that the live objects of a namespace were made of.
    fn live_sources(self, view: &View<'_>, namespace: &str) -> Sources {
        match self {
            Self::Istio => live_telemetries(view, namespace),
            Self::Kuma(mesh) => {
                let live = kuma_of(mesh).and_then(|of| kuma::live_of(view, mesh, &of, namespace));
                let mut all = Sources::default();
                for (_, object) in live.into_iter().flatten() {
                    all.extend(sources_of(object));
                }
                all
            }
        }
    }
}

/// The claims that the Telemetries of a namespace were made of.
fn live_telemetries(view: &View<'_>, namespace: &str) -> Sources {
    let mut all = Sources::default();
    let Fact::Present(objects) = view.objects_in(Kind::Telemetry, namespace) else {
        return all;
    };
    for object in objects.into_iter().filter(|object| is_ours(object)) {
        all.extend(sources_of(object));
    }
    all
}

/// The claims that an object of ours was made of. An annotation that somebody else has written holds nothing to carry
/// over: it could say anything.
pub fn sources_of(object: &Value) -> Sources {
    if last_manager(object, &format!("/metadata/annotations/{}", escape(SOURCES))).is_some_and(|m| m != FIELD_MANAGER) {
        return Sources::default();
    }
    let text = object
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(SOURCES))
        .and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
