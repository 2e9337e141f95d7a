//! What the API server does with an object of ours before it stores it, without the API server.
//!
//! `render`, `lint` and `diff` read files. [`admit`] treats each object of the group `sightline.dev` as `kubectl apply`
//! and the API server would on creation, in their order and with their words:
//! 1. the kind and version must exist ([`Reason::NoMatch`]);
//! 2. `metadata` must decode ([`Reason::Undecodable`]);
//! 3. strict decoding: unknown fields ([`Reason::Strict`]); kubectl sends `fieldValidation=Strict`, and leaves out what
//!    is null before, so a null is never unknown and gets the default;
//! 4. defaults are set, and `status` is taken away (a creation cannot set it);
//! 5. metadata, structural schema, list sets and maps, then the CEL rules ([`Reason::Invalid`]). As on the server the
//!    CEL rules are not run where the object does not have the shape that they rely on, and a note says so.
//!
//! The words are those of Kubernetes 1.36; `tests/admission/verdicts.yaml` is a record of a real API server's answers.
//!
//! Where `kube-cel` differs from the server its part is done here: its `apply_defaults` neither replaces an explicit
//! null nor fills a default from the defaults of its members. Its validator runs the CEL rules.
//!
//! Differences that remain, all on purpose (`DEVIATIONS` of the test names a case for each):
//! - The server walks the members of an object in random order. Here they come in the order of the schema.
//! - [`Reason::NoMatch`] ends with the kinds that exist, instead of "ensure CRDs are installed first".
//! - A missing name, which kubectl itself refuses in other words for each command, is refused in the server's. A
//!   `generateName` is no name: what is rendered from a file must not change from run to run.
//! - What only a cluster can know is not judged: whether the namespace exists, quotas, webhooks, conflicts. Hence
//!   `resourceVersion`, `uid` and other fields of a live object are accepted and kept (a file may be an export).

mod go;
mod metadata;
mod schema;

use std::fmt;
use std::sync::LazyLock;

use kube_cel::{CompiledSchema, compile_schema};
use serde_json::{Map, Value};

use crate::crds::{GROUP, VERSION, custom_resource_definitions};

/// The namespace of a namespaced object that names none, as kubectl sets it where its context has no other.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What the API server adds where it did not run the CEL rules.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing \
                           errors to complete validation";

/// Why an object was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The group is ours, but has no such kind or version.
    NoMatch,
    /// The object cannot be read: it has no kind, or `metadata` has a field of the wrong type.
    Undecodable,
    /// Fields that the schema does not know.
    Strict,
    /// Schema, metadata or CEL rules do not hold.
    Invalid,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path of the field, such as `spec.backends[0]`; `<nil>` is the whole object. Empty where the message says it.
    pub field: String,
    /// What is wrong with it, in the API server's words.
    pub message: String,
    /// CEL rules rely on what this says is wrong, so they are not run.
    blocking: bool,
}

impl Finding {
    /// Whether it is nothing that is wrong, but a note on what was not looked at.
    pub fn is_note(&self) -> bool {
        self.message.ends_with(NOT_CHECKED)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// An object that the API server would refuse, with all that it would say.
///
/// `Display` gives what kubectl prints after the headline and `": "`: one finding on the same line, several as a list
/// of lines that start with `* `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Rejection {
    /// Kind of the object, as written.
    pub kind: String,
    /// Name of the object, as written; empty where it has none.
    pub name: String,
    /// Why it was refused.
    pub reason: Reason,
    /// All that is wrong; never empty.
    pub findings: Vec<Finding>,
}

impl Rejection {
    /// What kubectl prints before the findings: `The TrafficLog "cart" is invalid`, or, for unknown fields, what follows
    /// `Error from server (BadRequest): error when creating "FILE": `. Empty for [`Reason::NoMatch`] (kubectl: `error:
    /// resource mapping not found for name: … from "FILE": `) and [`Reason::Undecodable`] (`error: unable to decode
    /// "FILE": `).
    pub fn headline(&self) -> String {
        match self.reason {
            Reason::NoMatch | Reason::Undecodable => String::new(),
            Reason::Strict => format!("{0} in version \"{VERSION}\" cannot be handled as a {0}", self.kind),
            Reason::Invalid => format!("The {} {} is invalid", self.kind, go::quote(&self.name)),
        }
    }

    fn new(object: &Value, reason: Reason, findings: Vec<Finding>) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            kind: text("/kind"),
            name: text("/metadata/name"),
            reason,
            findings,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, self.findings.as_slice()) {
            (Reason::Strict, findings) => {
                let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
                write!(f, "strict decoding error: {}", all.join(", "))
            }
            (_, [only]) => only.fmt(f),
            (_, findings) => findings.iter().try_for_each(|finding| write!(f, "\n* {finding}")),
        }
    }
}

/// One of our kinds, ready to judge objects.
struct Kind {
    name: String,
    namespaced: bool,
    schema: Value,
    compiled: CompiledSchema,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    custom_resource_definitions()
        .into_iter()
        .map(|(_, definition)| {
            let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let schema = definition
                .pointer("/spec/versions/0/schema/openAPIV3Schema")
                .cloned()
                .unwrap_or_default();
            Kind {
                name: text("/spec/names/kind").to_owned(),
                namespaced: text("/spec/scope") == "Namespaced",
                compiled: compile_schema(&schema),
                schema,
            }
        })
        .collect()
});

/// Whether an object is of our group, in any version, and so [`admit`]'s business.
pub fn is_ours(object: &Value) -> bool {
    object
        .get("apiVersion")
        .and_then(Value::as_str)
        .is_some_and(|version| version.split_once('/').is_some_and(|(group, _)| group == GROUP))
}

/// Treats an object of our group as the API server does on creation and gives what it would store: nulls dropped,
/// defaults set, [`DEFAULT_NAMESPACE`] for a namespaced object without one, no namespace on a cluster-scoped one, no
/// `status`.
///
/// An object that is not [ours](is_ours) is refused as [`Reason::NoMatch`].
pub fn admit(object: &Value) -> Result<Value, Rejection> {
    let reject = |reason, findings| Err(Rejection::new(object, reason, findings));
    if is_ours(object)
        && object
            .get("kind")
            .is_none_or(|kind| kind.as_str().is_none_or(str::is_empty))
    {
        return reject(Reason::Undecodable, vec![Finding::bare("kind not set".to_owned())]);
    }
    let Some(kind) = find_kind(object) else {
        return reject(Reason::NoMatch, vec![no_match(object)]);
    };
    let mut sent = object.clone();
    schema::as_sent(&mut sent);
    let Value::Object(mut admitted) = sent else {
        return reject(Reason::NoMatch, vec![no_match(object)]);
    };

    let mut strict = match metadata::decode(&mut admitted, kind.namespaced) {
        Ok(unknown) => unknown,
        Err(message) => return reject(Reason::Undecodable, vec![Finding::bare(message)]),
    };
    strict.extend(schema::unknown_fields(&kind.schema, &admitted));
    if !strict.is_empty() {
        let findings = strict
            .into_iter()
            .map(|field| Finding::bare(format!("unknown field \"{field}\"")));
        return reject(Reason::Strict, findings.collect());
    }

    admitted.remove("status");
    let mut admitted = Value::Object(admitted);
    schema::set_defaults(&kind.schema, &mut admitted);

    let findings = validate(kind, &admitted);
    if findings.is_empty() {
        Ok(admitted)
    } else {
        reject(Reason::Invalid, findings)
    }
}

fn validate(kind: &Kind, object: &Value) -> Vec<Finding> {
    let mut findings = metadata::validate(object, kind.namespaced);
    findings.extend(schema::validate(&kind.schema, object));
    findings.extend(schema::validate_lists(&kind.schema, object));
    if findings.iter().any(|finding| finding.blocking) {
        findings.push(Finding::invalid("", &go::json(&Value::Null), NOT_CHECKED));
    } else if let Err(errors) = kube_cel::validate_compiled(&kind.compiled, object, None) {
        findings.extend(errors.into_iter().map(|error| cel_finding(&error)));
    }
    let mut seen = std::collections::HashSet::new();
    findings.retain(|finding| seen.insert(finding.to_string()));
    findings
}

/// Our rules all stand on objects, whose value the server leaves out (a test holds them to that).
fn cel_finding(error: &kube_cel::ValidationError) -> Finding {
    let message = error.message.trim();
    match (&error.kind, error.reason.as_deref()) {
        (kube_cel::ErrorKind::ValidationFailure, reason) => {
            let class = match reason {
                Some("FieldValueForbidden") => "Forbidden",
                Some("FieldValueRequired") => "Required value",
                Some("FieldValueDuplicate") => "Duplicate value",
                _ => "Invalid value",
            };
            Finding::new(&error.field_path, format!("{class}: {message}"))
        }
        _ => Finding::invalid(
            &error.field_path,
            "\"object\"",
            &format!("{message} evaluating rule: {}", error.rule),
        ),
    }
}

fn find_kind(object: &Value) -> Option<&'static Kind> {
    let (group, version) = object.get("apiVersion")?.as_str()?.split_once('/')?;
    let kind = object.get("kind")?.as_str()?;
    (group == GROUP && version == VERSION).then(|| KINDS.iter().find(|known| known.name == kind))?
}

fn no_match(object: &Value) -> Finding {
    let text = |key| go::quote(object.get(key).and_then(Value::as_str).unwrap_or_default());
    let mut known: Vec<&str> = KINDS.iter().map(|kind| kind.name.as_str()).collect();
    known.sort_unstable();
    Finding::bare(format!(
        "no matches for kind {} in version {}; \"{GROUP}/{VERSION}\" has {}",
        text("kind"),
        text("apiVersion"),
        known.join(", ")
    ))
}

impl Finding {
    /// `path` is empty for the whole object, which Go prints as `<nil>`.
    fn new(path: &str, message: String) -> Self {
        let field = if path.is_empty() { "<nil>" } else { path };
        Self {
            field: field.to_owned(),
            message,
            blocking: false,
        }
    }

    fn bare(message: String) -> Self {
        Self {
            field: String::new(),
            message,
            blocking: false,
        }
    }

    fn invalid(path: &str, value: &str, detail: &str) -> Self {
        Self::new(path, format!("Invalid value: {value}: {detail}"))
    }

    fn required(path: &str, detail: &str) -> Self {
        let detail = if detail.is_empty() {
            String::new()
        } else {
            format!(": {detail}")
        };
        Self::new(path, format!("Required value{detail}")).blocking()
    }

    fn blocking(self) -> Self {
        Self { blocking: true, ..self }
    }
}

/// Members of an object; none for anything else.
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}
