//! What the API server says to a request that fails.

use serde_json::{Value, json};

use super::fields::{Conflict, path_text};
use super::kinds::KindInfo;

/// A request that fails: HTTP status and `Status`.
#[derive(Clone, Debug)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// The body.
    pub status: Value,
}

impl Failure {
    /// A failure without details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self::with(code, reason, message, &Value::Null)
    }

    fn with(code: u16, reason: &str, message: impl Into<String>, details: &Value) -> Self {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "reason": reason, "code": code});
        if !details.is_null() {
            status["details"] = details.clone();
        }
        Self { code, status }
    }

    fn about(code: u16, reason: &str, message: String, kind: &KindInfo, name: &str) -> Self {
        Self::with(code, reason, message, &details(kind, name))
    }

    /// No such object.
    pub fn not_found(kind: &KindInfo, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified());
        Self::about(404, "NotFound", message, kind, name)
    }

    /// An object of that name is there already.
    pub fn already_exists(kind: &KindInfo, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        Self::about(409, "AlreadyExists", message, kind, name)
    }

    /// The object is not the one that was meant.
    pub fn conflict(kind: &KindInfo, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.qualified()
        );
        Self::about(409, "Conflict", message, kind, name)
    }

    /// The object is not the one that is to be deleted.
    pub fn precondition(kind: &KindInfo, name: &str, why: &str) -> Self {
        let qualified = kind.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
        let mut details = details(kind, name);
        details["kind"] = kind.kind.clone().into();
        Self::with(409, "Conflict", message, &details)
    }

    /// The object is not the one that is applied.
    pub fn immutable_uid(kind: &KindInfo, name: &str, uid: &str) -> Self {
        let qualified = kind.qualified_kind();
        let what = format!("Invalid value: \"{uid}\": field is immutable");
        let message = format!("{qualified} \"{name}\" is invalid: metadata.uid: {what}");
        let cause = json!({"reason": "FieldValueInvalid", "message": what, "field": "metadata.uid"});
        let mut details = details(kind, name);
        details["kind"] = kind.kind.clone().into();
        // It is found twice, and told twice.
        details["causes"] = json!([cause, cause]);
        Self::with(422, "Invalid", message, &details)
    }

    /// Another version than the one that was looked at.
    pub fn stale(kind: &KindInfo, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// Applied fields that others own.
    pub fn owned(kind: &KindInfo, conflicts: &[Conflict]) -> Self {
        let with = |conflict: &Conflict| {
            let manager = &conflict.manager;
            let subresource = match manager.subresource.as_str() {
                "" => String::new(),
                subresource => format!(" with subresource \"{subresource}\""),
            };
            let using = match manager.operation {
                "Update" => format!(" using {}", kind.api_version()),
                _ => String::new(),
            };
            format!("\"{}\"{subresource}{using}", manager.name)
        };
        let causes: Vec<Value> = conflicts
            .iter()
            .flat_map(|conflict| conflict.paths.iter().map(move |path| (conflict, path)))
            .map(|(conflict, path)| {
                let message = format!("conflict with {}", with(conflict));
                json!({"reason": "FieldManagerConflict", "message": message, "field": path_text(path)})
            })
            .collect();
        let message = if let ([one], [cause]) = (conflicts, causes.as_slice()) {
            let field = cause["field"].as_str().unwrap();
            format!("Apply failed with 1 conflict: conflict with {}: {field}", with(one))
        } else {
            let groups = conflicts.iter().map(|conflict| {
                let paths: Vec<String> = conflict
                    .paths
                    .iter()
                    .map(|path| format!("\n- {}", path_text(path)))
                    .collect();
                format!("conflicts with {}:{}", with(conflict), paths.concat())
            });
            let groups: Vec<String> = groups.collect();
            format!("Apply failed with {} conflicts: {}", causes.len(), groups.join("\n"))
        };
        Self::with(409, "Conflict", message, &json!({"causes": causes}))
    }

    /// A JSON patch that does not fit the object.
    pub fn unfit_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::with(422, "Invalid", message, &json!({}))
    }
}

/// What a `Status` says of the object that it is about.
pub fn details(kind: &KindInfo, name: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural});
    if !kind.group.is_empty() {
        details["group"] = kind.group.clone().into();
    }
    details
}
