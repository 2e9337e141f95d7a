//! What Kuma says of what stands: whether it finds the receivers that policies name, and whether proxies take what it
//! makes of them. The API server takes a policy of either kind without a word.

use serde_json::Value;

use super::{place, receiver};
use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::crds::{KumaMesh, ObservabilityMesh};
use crate::plan::Plan;
use crate::policy::proxies::knows;
use crate::render::Provider;
use crate::render::kuma::versions::Receivers;
use crate::snapshot::{Fact, Kind, View, key_of};

/// Whether Kuma finds the receivers that a live policy of ours names.
///
/// # Errors
/// The finding of `Programmed` where its condition `BackendRefsResolved` is False.
pub fn resolves(kind: Kind, live: &Value) -> Result<(), Finding> {
    let Some(why) = denied(live, "BackendRefsResolved") else {
        return Ok(());
    };
    let (kind, key) = (kind.names().1, key_of(live));
    let message = format!(
        "Kuma does not find a receiver that {kind} {key} names, and sends nothing there: {why}. It passes within seconds; else see the log of Kuma's control plane."
    );
    Err(unresolved(message))
}

/// Whether what stands for a resource in these namespaces is in force: Kuma knows that its receivers are used, and no
/// proxy that it reaches refuses its listeners. What stands in the system namespace reaches the whole mesh.
///
/// # Errors
/// The finding of `Programmed` of what is not.
pub fn in_force(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    kuma: &KumaMesh,
    providers: &[Provider],
    namespaces: &[String],
    plan: &mut Plan,
) -> Result<(), Finding> {
    are_referenced(view, mesh, kuma, providers)?;
    let refusing = |namespace: Option<&str>| match view.refusing_proxies(&kuma.name, namespace) {
        Fact::Present(refusing) => refusing,
        // Without the right to see them, or with a Kuma that has none, what stands has to do.
        _ => Vec::new(),
    };
    let refusing = if namespaces.contains(&kuma.system_namespace) {
        refusing(None)
    } else {
        namespaces
            .iter()
            .flat_map(|namespace| refusing(Some(namespace)))
            .collect()
    };
    let Some(until) = refusing.iter().map(|(_, until)| *until).min() else {
        return Ok(());
    };
    plan.look_again_at(until);
    let message = format!(
        "Proxies refuse the listeners that Kuma sends them: {}. They keep those from before, and a new one has none. The log of Kuma's control plane has Envoy's reason (`config rejected`); correct what it names.",
        some_names(refusing.iter().map(|(key, _)| key.to_string()))
    );
    Err(Finding::fails(
        ConditionType::Programmed,
        Reason::RejectedByProxies,
        message,
    ))
}

fn are_referenced(
    view: &View<'_>,
    mesh: &ObservabilityMesh,
    kuma: &KumaMesh,
    providers: &[Provider],
) -> Result<(), Finding> {
    let Some(knows) = knows(view, kuma)
        .ok()
        .filter(|knows| knows.receivers == Receivers::Backend && !kuma.legacy)
    else {
        return Ok(());
    };
    for provider in providers {
        let key = key_of(&place(mesh, kuma, "", knows).receiver(provider));
        let live = receiver(view, kuma, &key).present();
        if let Some(why) = live.and_then(|live| denied(live, "ReferencedByPolicies")) {
            let message = format!(
                "Kuma sees no policy that names MeshOpenTelemetryBackend {key}, although ours do: {why}. It passes within seconds; else see the log of Kuma's control plane."
            );
            return Err(unresolved(message));
        }
    }
    Ok(())
}

fn unresolved(message: String) -> Finding {
    Finding::fails(ConditionType::Programmed, Reason::BackendUnresolved, message)
}

/// What a condition of an object says where it is False.
fn denied<'a>(object: &'a Value, type_: &str) -> Option<&'a str> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &'a Value, member: &str| condition.get(member).and_then(Value::as_str);
    let condition = conditions
        .iter()
        .find(|condition| text(condition, "type") == Some(type_))?;
    (text(condition, "status") == Some("False")).then(|| {
        let said = text(condition, "message").filter(|message| !message.is_empty());
        said.or_else(|| text(condition, "reason"))
            .unwrap_or("it does not say why")
            .trim_end_matches('.')
    })
}
