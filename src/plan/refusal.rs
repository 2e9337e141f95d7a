//! What a person reads of a write that the API server refused.
//!
//! A refused object is tried again with a growing delay, of at most a minute, and what is live stays: nothing of it is
//! taken away to make the rest pass. A policy that refuses one entry so holds up those of the others in the same object,
//! and everybody who contributes is told whose it is.

use crate::conditions::{ConditionType, Finding, Reason, some_names};
use crate::policy::claims::Sources;
use crate::snapshot::{Key, Kind, View};

/// The finding of `Programmed` where our last write of an object was refused. `sources` are the claims that it is made of.
pub fn finding(view: &View<'_>, kind: Kind, key: &Key, sources: Option<&Sources>) -> Option<Finding> {
    let why = view.refusal(kind, key)?;
    let (reason, message) = read(kind, key, why, sources);
    Some(Finding::fails(ConditionType::Programmed, reason, message))
}

/// The same for a workload, which has conditions of its own.
pub fn message(kind: Kind, key: &Key, why: &str) -> String {
    read(kind, key, why, None).1
}

fn read(kind: Kind, key: &Key, why: &str, sources: Option<&Sources>) -> (Reason, String) {
    if let Some(field) = undeclared_field(why) {
        let (version, name, plural) = kind.names();
        let message = format!(
            "{name} of the API server ({plural}, {version}) has no field {field}, so {name} {key} is written for another version than the one installed; set spec.mesh.kuma.version to that of the definitions, or upgrade them. What is live stays."
        );
        return (Reason::WrongVersion, message);
    }
    if let Some(mesh) = missing_mesh(why) {
        let message = format!(
            "Kuma has no mesh {mesh}, so {} {key} is refused; create it, or correct spec.mesh.kuma.name.",
            kind.names().1
        );
        return (Reason::MeshNotFound, message);
    }
    match Admission::of(why) {
        Some(admission) => (Reason::RejectedByPolicy, admission.message(kind, key, sources)),
        None => (Reason::WriteRefused, refused(kind, key, why)),
    }
}

/// The field that the definition of a kind lacks, by the API server's words on an apply: `failed to create typed patch
/// object (…): .spec.from: field not declared in schema` (ran).
pub fn undeclared_field(why: &str) -> Option<&str> {
    let (before, _) = why.split_once(": field not declared in schema")?;
    let field = before.rsplit(' ').next()?;
    field.strip_prefix('.').filter(|field| !field.is_empty())
}

/// The mesh that Kuma's webhook misses: `… Mesh.kuma.io "nomesh" not found` (ran).
fn missing_mesh(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once("Mesh.kuma.io \"")?;
    let (mesh, rest) = rest.split_once('"')?;
    rest.starts_with(" not found").then_some(mesh)
}

/// An admission policy or webhook that denied a request, and its words.
#[derive(Debug, PartialEq)]
struct Admission<'a> {
    what: &'static str,
    name: &'a str,
    /// Its words; of a webhook that could not be asked the API server's.
    words: &'a str,
    was_asked: bool,
}

impl<'a> Admission<'a> {
    /// Read from the API server's message (seen on 1.36).
    fn of(why: &'a str) -> Option<Self> {
        const POLICY: &str = "ValidatingAdmissionPolicy '";
        const WEBHOOK: &str = "admission webhook \"";
        const AWAY: &str = "failed calling webhook \"";
        if let Some((_, rest)) = why.split_once(POLICY) {
            let (name, rest) = rest.split_once('\'')?;
            let (_, words) = rest.split_once("denied request: ")?;
            return Some(Self {
                what: "ValidatingAdmissionPolicy",
                name,
                words,
                was_asked: true,
            });
        }
        if let Some((_, rest)) = why.split_once(AWAY) {
            let (name, words) = rest.split_once('"')?;
            return Some(Self {
                what: "Admission webhook",
                name,
                words: words.trim_start_matches([':', ' ']),
                was_asked: false,
            });
        }
        let (_, rest) = why.split_once(WEBHOOK)?;
        let (name, rest) = rest.split_once('"')?;
        let words = rest.trim_start().strip_prefix("denied the request")?;
        Some(Self {
            what: "Admission webhook",
            name,
            words: words.trim_start_matches([':', ' ']),
            was_asked: true,
        })
    }

    fn message(&self, kind: Kind, key: &Key, sources: Option<&Sources>) -> String {
        let Self {
            what,
            name,
            words,
            was_asked,
        } = self;
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let kind = kind.names().1;
        if !was_asked {
            let words = words.trim_end_matches('.');
            return format!(
                "{what} {name} cannot be asked about {kind} {key}: {words}; see to its service, or to its failurePolicy. What is live stays, and everything else is written."
            );
        }
        let filtering = sources.map(filtering).unwrap_or_default();
        // Istio's own policy for its stable channel quotes the expression that is false: `has(l.filter)` stands in it.
        if words.contains("filter") && !filtering.is_empty() {
            return format!(
                "{what} {name} refuses {kind} {key} for the filters of {}; without spec.filter, format.tcp and backends of type EnvoyALS there it is accepted. What is live stays, and everything else is written.",
                some_names(filtering)
            );
        }
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(": {}", words.trim_end_matches('.'))
        };
        format!(
            "{what} {name} refuses {kind} {key}{words}; have it let {kind} {key} pass. What is live stays, and everything else is written."
        )
    }
}

/// The resources that bring filters to an object: their own ones, or those that keep requests and connections apart.
fn filtering(sources: &Sources) -> Vec<String> {
    let logs = sources.logs.iter();
    let filtered = logs.filter(|claim| {
        let mut entries = claim.backends.values().flatten();
        entries.any(|entry| entry.filter.is_some())
    });
    filtered.map(|claim| claim.source.to_string()).collect()
}

/// The API server's words, and the next step.
fn refused(kind: Kind, key: &Key, why: &str) -> String {
    // RBAC's own wording; quotas say "forbidden" too, and name themselves.
    let next = if why.contains("cannot ") && why.contains(" resource ") {
        format!("install the Role of config/rbac in namespace {}", key.namespace)
    } else if why.contains("exceeded quota: ") {
        "raise that ResourceQuota or make room in it, it is tried again".to_owned()
    } else {
        "see to its cause, it is tried again".to_owned()
    };
    let why = why.trim_end_matches('.');
    format!("The API server refused {} {key}: {why}; {next}.", kind.names().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ran on Kuma: the first is a 500, so that a naive controller would try for ever; the second a 400 of its webhook.
    #[test]
    fn a_field_that_is_not_declared_is_a_wrong_version_and_a_missing_mesh_is_named() {
        let key = Key::new("kuma-system", "sightline");
        let read = |why: &str| super::read(Kind::MeshAccessLog, &key, why, None);
        let undeclared = "failed to create typed patch object (kuma-system/sightline; kuma.io/v1alpha1, Kind=MeshAccessLog): \
                          .spec.from: field not declared in schema";
        let (reason, message) = read(undeclared);
        assert_eq!(reason, Reason::WrongVersion);
        assert!(message.contains("has no field spec.from"), "{message}");
        let missing = "admission webhook \"owner-reference.kuma-admission.kuma.io\" denied the request: Mesh.kuma.io \"nomesh\" not found";
        let (reason, message) = read(missing);
        assert_eq!(reason, Reason::MeshNotFound);
        assert!(message.starts_with("Kuma has no mesh nomesh"), "{message}");
        assert_eq!(read("Mesh.kuma.io is fine").0, Reason::WriteRefused);
    }

    #[test]
    fn the_policy_or_webhook_that_denied_is_read_from_the_api_servers_message() {
        let policy = "telemetries.telemetry.istio.io \"sightline\" is forbidden: ValidatingAdmissionPolicy 'stable' with \
                      binding 'all' denied request: failed expression: !has(l.filter)";
        let read = |why| Admission::of(why).map(|a| (a.what, a.name.to_owned(), a.words.to_owned()));
        let expected = |what, name: &str, words: &str| Some((what, name.to_owned(), words.to_owned()));
        assert_eq!(
            read(policy),
            expected(
                "ValidatingAdmissionPolicy",
                "stable",
                "failed expression: !has(l.filter)"
            )
        );
        let webhook = "admission webhook \"validate.kyverno.svc-fail\" denied the request: no Telemetry here";
        assert_eq!(
            read(webhook),
            expected("Admission webhook", "validate.kyverno.svc-fail", "no Telemetry here")
        );
        let silent = "admission webhook \"a.b\" denied the request without explanation";
        assert_eq!(
            read(silent),
            expected("Admission webhook", "a.b", "without explanation")
        );
        let away = "Internal error occurred: failed calling webhook \"validate.kyverno.svc-fail\": failed to call webhook: \
                    Post \"https://away.shop.svc:443/?timeout=10s\": service \"away\" not found";
        let (reason, message) = super::read(Kind::Telemetry, &Key::new("shop", "sightline"), away, None);
        assert_eq!(reason, Reason::RejectedByPolicy);
        let begins = "Admission webhook validate.kyverno.svc-fail cannot be asked about Telemetry shop/sightline: failed to \
                      call webhook: Post";
        assert!(message.starts_with(begins), "{message}");
        let rbac = "telemetries.telemetry.istio.io is forbidden: User \"x\" cannot create resource \"telemetries\"";
        assert_eq!(read(rbac), None);
        let quota = "exceeded quota: objects, requested: count/telemetries=1";
        assert_eq!(read(quota), None);
    }

    fn sources(filter: Option<&str>) -> Sources {
        let claim = |name: &str, filter: Option<&str>| {
            serde_json::json!({"source": {"kind": "TrafficLog", "namespace": "shop", "name": name}, "mesh": "m", "priority": 0,
                   "sides": ["Inbound"], "backends": {"stdout": [{"provider": "p", "filter": filter}]}})
        };
        let logs = serde_json::json!({"logs": [claim("errors", filter), claim("all", None)]});
        serde_json::from_value(logs).unwrap()
    }

    #[test]
    fn a_denied_write_names_the_policy_its_words_and_who_brings_what_it_denies() {
        const STABLE: &str = "telemetries.telemetry.istio.io \"sightline\" is forbidden: ValidatingAdmissionPolicy 'stable' \
                              with binding 'all' denied request: failed expression: !(has(object.spec.accessLogging)\n  \
                              && object.spec.accessLogging.exists(l, has(l.filter)))";
        let key = Key::new("shop", "sightline");
        let message = |why, sources: &Sources| super::read(Kind::Telemetry, &key, why, Some(sources));
        let (reason, text) = message(STABLE, &sources(Some("true")));
        assert_eq!(reason, Reason::RejectedByPolicy);
        assert_eq!(
            text,
            "ValidatingAdmissionPolicy stable refuses Telemetry shop/sightline for the filters of TrafficLog shop/errors; \
             without spec.filter, format.tcp and backends of type EnvoyALS there it is accepted. What is live stays, and everything else is written."
        );
        let (_, text) = message(STABLE, &sources(None));
        assert!(
            text.contains("stable refuses Telemetry shop/sightline: failed expression: !(has("),
            "{text}"
        );
        assert!(
            text.ends_with(
                "; have it let Telemetry shop/sightline pass. What is live stays, and everything else is written."
            ),
            "{text}"
        );
        let (reason, text) = message("exceeded quota.", &sources(None));
        assert_eq!(reason, Reason::WriteRefused);
        assert_eq!(
            text,
            "The API server refused Telemetry shop/sightline: exceeded quota; see to its cause, it is tried again."
        );
    }
}
