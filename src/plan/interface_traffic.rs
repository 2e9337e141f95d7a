//! Writes the `grpc-logging` ConfigMap of SolarMesh.

use std::sync::Arc;

use serde_json::Value;

use super::owned::is_ours;
use super::telemetries::uid_of;
use super::{Delete, Plan, Target, WriteRules, plan_object};
use crate::conditions::{ConditionType, Finding, Reason};
use crate::crds::{InterfaceTraffic, ObservabilityMesh, SecretKeysRef};
use crate::policy::membership::{former_maps_of, is_live, istio_of, maps_of, name_of, primary_maps};
use crate::render::metadata::{MESH_LABEL, SHARED};
use crate::render::solarmesh::{self, APPLICATION_KEY, Credentials};
use crate::snapshot::{Fact, Key, Kind, View, labels_of};

/// Plans it. While its Secret cannot be used nothing is planned: what stands there stays.
pub fn plan(view: &View<'_>, map: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(mesh) = writer(view, map) else {
        // Nobody wants it any more: what we made goes, password included. An adopted one is its owner's.
        if let Fact::Present(live) = view.object(Kind::ConfigMap, map)
            && goes_with_its_mesh(live)
            && !is_of_an_undecoded_mesh(view, live)
        {
            plan.delete.push(Delete {
                kind: Kind::ConfigMap,
                key: map.clone(),
                uid: uid_of(live),
            });
        }
        return plan;
    };
    if is_mesh_config(view, map) {
        let message = format!("ConfigMap {map} holds MeshConfig; name another one in spec.interfaceTraffic.configMap.");
        let finding = Finding::fails(ConditionType::Programmed, Reason::InvalidSpec, message);
        plan.blocked.push((map.clone(), finding));
        return plan;
    }
    let Some(traffic) = &mesh.spec.interface_traffic else {
        return plan;
    };
    let live = match view.object(Kind::ConfigMap, map) {
        Fact::Present(live) => Some(live),
        Fact::Absent => None,
        Fact::Forbidden => {
            let message = format!("Sightline may not read ConfigMap {map}; install the Role of config/rbac there.");
            plan.blocked.push((
                map.clone(),
                Finding::fails(ConditionType::Programmed, Reason::Forbidden, message),
            ));
            return plan;
        }
        _ => return plan,
    };
    let Ok(credentials) = credentials(view, traffic) else {
        return plan;
    };
    let adopted = live.is_some_and(|live| !was_made_by_us(live));
    let rendered = solarmesh::config_map(
        &traffic.config_map,
        name_of(mesh),
        &traffic.elasticsearch.url,
        credentials.as_ref(),
        adopted,
    );
    let object = match rendered {
        Ok(object) => object,
        Err(error) => {
            let finding = Finding::fails(ConditionType::Programmed, Reason::InvalidSpec, error.to_string());
            plan.blocked.push((map.clone(), finding));
            return plan;
        }
    };
    let tell = [Target::Mesh(name_of(mesh).to_owned())];
    let rules = WriteRules {
        adopt: traffic.config_map.adopt,
        how_to_adopt: Some("set spec.interfaceTraffic.configMap.adopt: true"),
        wholly_ours: &[],
        tell: &tell,
        view,
    };
    plan_object(&mut plan, Kind::ConfigMap, object, live, &rules);
    plan
}

/// Whether an object was rendered for a mesh that is there and cannot be read: whether it is still wanted is not known.
pub(super) fn is_of_an_undecoded_mesh(view: &View<'_>, live: &Value) -> bool {
    let labels = labels_of(live);
    let mesh = labels.get(MESH_LABEL);
    mesh.is_some_and(|mesh| view.undecoded_meshes().any(|undecoded| undecoded == mesh))
}

/// Whether a map is one that some mesh keeps MeshConfig in: two writers would take each other's fields away.
pub(super) fn is_mesh_config(view: &View<'_>, map: &Key) -> bool {
    view.meshes().any(|mesh| {
        istio_of(mesh).is_some_and(|istio| {
            maps_of(&istio).contains(map)
                || former_maps_of(mesh, &istio).contains(map)
                || primary_maps(&istio).any(|primary| primary == *map)
        })
    })
}

/// Whether a map is a `grpc-logging` of our making.
pub fn goes_with_its_mesh(live: &Value) -> bool {
    let holds_it = |data: &Value| data.get(APPLICATION_KEY).is_some();
    is_ours(live) && was_made_by_us(live) && live.pointer("/data").is_some_and(holds_it)
}

/// One that we made carries the label of that; an adopted one keeps its own.
pub fn was_made_by_us(live: &Value) -> bool {
    labels_of(live)
        .get(crate::render::metadata::MANAGED_BY)
        .is_some_and(|v| v == crate::render::metadata::MANAGED_BY_US)
}

/// The mesh that writes a map: of several, the first by name.
pub fn writer<'a>(view: &View<'a>, map: &Key) -> Option<&'a Arc<ObservabilityMesh>> {
    view.meshes().find(|mesh| {
        let target = mesh.spec.interface_traffic.as_ref().map(|traffic| &traffic.config_map);
        is_live(mesh) && target.is_some_and(|t| t.namespace == map.namespace && t.name == map.name)
    })
}

/// Username and password, or the finding of `ResolvedRefs`.
pub fn credentials(view: &View<'_>, traffic: &InterfaceTraffic) -> Result<Option<Credentials>, Finding> {
    let Some(reference) = &traffic.elasticsearch.credentials_secret_ref else {
        return Ok(None);
    };
    let secret = shared_secret(view, &Key::new(&reference.namespace, &reference.name))?;
    let value = |key: &str| secret_value(secret, key).ok_or_else(|| missing_key(reference, key));
    Ok(Some(Credentials {
        username: value(&reference.username_key)?,
        password: value(&reference.password_key)?,
    }))
}

fn missing_key(reference: &SecretKeysRef, key: &str) -> Finding {
    let message = format!(
        "Secret {}/{} has no key {key} with text in it; add it.",
        reference.namespace, reference.name
    );
    Finding::fails(ConditionType::ResolvedRefs, Reason::SecretKeyMissing, message)
}

/// A Secret that Sightline may use, or the finding of `ResolvedRefs`.
pub fn shared_secret<'a>(view: &View<'a>, key: &Key) -> Result<&'a Value, Finding> {
    let fails = |reason, message| Err(Finding::fails(ConditionType::ResolvedRefs, reason, message));
    match view.object(Kind::Secret, key) {
        Fact::Present(secret) if labels_of(secret).get(SHARED).is_some_and(|v| v == "true") => Ok(secret),
        Fact::Present(_) => fails(
            Reason::SecretNotShared,
            format!("Secret {key} is not labelled for Sightline; label it {SHARED}=true if it is meant to be used."),
        ),
        Fact::Unknown => {
            let message = format!("Secret {key} has not been read yet.");
            Err(Finding::unknown(
                ConditionType::ResolvedRefs,
                Reason::FactsPending,
                message,
            ))
        }
        Fact::Forbidden => fails(
            Reason::Forbidden,
            format!(
                "Sightline may not read Secret {key}; install the Role of config/rbac in namespace {}.",
                key.namespace
            ),
        ),
        Fact::Absent | Fact::KindMissing => fails(
            Reason::SecretNotFound,
            format!("Secret {key} does not exist; create it. What was live before stays."),
        ),
    }
}

/// A value of a Secret as text: `data` (base64) or, in files, `stringData`.
fn secret_value(secret: &Value, key: &str) -> Option<String> {
    if let Some(text) = secret.pointer("/stringData").and_then(|data| data.get(key)) {
        return text.as_str().map(str::to_owned);
    }
    let encoded = secret.get("data")?.get(key)?.clone();
    let bytes: k8s_openapi::ByteString = serde_json::from_value(encoded).ok()?;
    String::from_utf8(bytes.0).ok()
}
