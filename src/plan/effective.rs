//! Which claims of a namespace are in force: fresh ones, or the last good ones of policies that cannot be programmed.

use super::control_plane;
use serde_json::Value;

use super::owned::{escape, is_ours, last_manager};
use crate::policy::claims::{Checked, LogClaim, Source, Sources, TraceClaim, check_tracing_backend, check_traffic_log};
use crate::policy::membership::{
    MeshScope, NotAMember, istio_of, mesh_scope, meshes_of_namespace, name_of, root_namespace,
};
use crate::policy::resolve::NamespaceClaims;
use crate::render::metadata::{FIELD_MANAGER, SOURCES};
use crate::snapshot::{Fact, Key, Kind, View};
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
pub fn claims_in_force(view: &View<'_>, namespace: &str) -> Result<InForce, NotAMember> {
    let meshes = meshes_of_namespace(view, namespace)?;
    let here = live_sources(view, namespace);
    let mut out = InForce::default();
    let mut scopes = Vec::new();
    // A policy that was rendered in another place until now has its last good claim there.
    let mut live = here.clone();
    for mesh in meshes {
        let Some(istio) = istio_of(mesh) else { continue };
        let root = root_namespace(view, &istio)?;
        let scope = mesh_scope(view, mesh, &istio)?;
        if root != namespace {
            live.extend(live_sources(view, &root));
        }
        scopes.push((mesh, root, scope));
    }
    (out.claims.logs, out.claims.traces) = own_claims(view, namespace, &live, &mut out.look_again);
    for (mesh, root, scope) in scopes {
        if scope == MeshScope::RootTelemetry {
            continue;
        }
        let is_wide = |claim_mesh: &str, no_selector: bool| claim_mesh == name_of(mesh) && no_selector;
        if root == namespace {
            // A selector-less Telemetry here would reach the whole mesh.
            out.claims.logs.retain(|c| !is_wide(&c.mesh, c.selector.is_empty()));
            out.claims.traces.retain(|c| !is_wide(&c.mesh, c.selector.is_empty()));
        } else {
            let (logs, traces) = own_claims(view, &root, &live, &mut out.look_again);
            let logs = logs.into_iter().filter(|c| is_wide(&c.mesh, c.selector.is_empty()));
            let traces = traces.into_iter().filter(|c| is_wide(&c.mesh, c.selector.is_empty()));
            out.claims.mesh_logs.extend(logs);
            out.claims.mesh_traces.extend(traces);
        }
    }
    Ok(out)
}

/// Claims of the policies of one namespace, with last good ones taken from the given live objects.
fn own_claims(
    view: &View<'_>,
    namespace: &str,
    live: &Sources,
    look_again: &mut Option<Timestamp>,
) -> (Vec<LogClaim>, Vec<TraceClaim>) {
    let logs = view
        .traffic_logs_in(namespace)
        .into_iter()
        .filter(|(_, log)| log.metadata.deletion_timestamp.is_none());
    let logs = logs.filter_map(|(key, log)| {
        let last_good = |source: &Source| live.logs.iter().find(|c| c.source.is_same_object(source)).cloned();
        let identity = identity(crate::policy::claims::PolicyKind::TrafficLog, key, &log.metadata);
        let checked = check_traffic_log(view, key, log);
        let mesh = checked.mesh.map(|mesh| name_of(mesh).to_owned());
        let claim = in_force(view, checked, || last_good(&identity), look_again)?;
        // One that was carried over from before the policy changed its mesh counts for the present one.
        Some(LogClaim {
            mesh: mesh.unwrap_or_else(|| claim.mesh.clone()),
            ..claim
        })
    });
    let logs = logs.collect();
    let traces = view
        .tracing_backends_in(namespace)
        .into_iter()
        .filter(|(_, t)| t.metadata.deletion_timestamp.is_none());
    let traces = traces.filter_map(|(key, tracing)| {
        let last_good = |source: &Source| live.traces.iter().find(|c| c.source.is_same_object(source)).cloned();
        let identity = identity(
            crate::policy::claims::PolicyKind::TracingBackend,
            key,
            &tracing.metadata,
        );
        let checked = check_tracing_backend(view, key, tracing);
        let mesh = checked.mesh.map(|mesh| name_of(mesh).to_owned());
        let claim = in_force(view, checked, || last_good(&identity), look_again)?;
        Some(TraceClaim {
            mesh: mesh.unwrap_or_else(|| claim.mesh.clone()),
            ..claim
        })
    });
    (logs, traces.collect())
}

fn identity(kind: crate::policy::claims::PolicyKind, key: &Key, metadata: &kube::core::ObjectMeta) -> Source {
    Source {
        kind,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: metadata.uid.clone(),
        generation: metadata.generation,
    }
}

fn in_force<C>(
    view: &View<'_>,
    checked: Checked<'_, C>,
    last_good: impl Fn() -> Option<C>,
    look_again: &mut Option<Timestamp>,
) -> Option<C> {
    let Some(claim) = checked.claim else {
        return checked.keeps_last_good.then(last_good).flatten();
    };
    let mesh = checked.mesh?;
    let istio = istio_of(mesh)?;
    match control_plane::usable(view, mesh, &istio, &checked.providers) {
        Ok(()) => Some(claim),
        Err(not_usable) => {
            *look_again = [*look_again, not_usable.look_again].into_iter().flatten().min();
            last_good()
        }
    }
}

/// The claims that the live objects of a namespace were made of.
fn live_sources(view: &View<'_>, namespace: &str) -> Sources {
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
