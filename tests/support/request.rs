//! What is asked of an API server.

use std::fmt;

use axum::http::{Method, Uri};

/// A request, in the words of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// Empty for the core.
    pub group: String,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for what is cluster-wide.
    pub namespace: String,
    /// Empty for a list, a watch and a create.
    pub name: String,
    /// Whether the API server is only asked what it would do.
    pub dry_run: bool,
    /// Path and query.
    pub uri: String,
}

impl Request {
    /// Reads it off an HTTP request.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest): (&str, &[&str]) = match parts.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (group, rest),
            _ => ("", &[]),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        let (resource, name, subresource) = (part(0), part(1), part(2));
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ if query.contains("watch=true") || query.contains("watch=1") => "watch",
            _ if name.is_empty() => "list",
            _ => "get",
        };
        Self {
            verb,
            group: group.to_owned(),
            resource,
            subresource,
            namespace: namespace.to_owned(),
            name,
            dry_run: query.contains("dryRun="),
            uri: uri.to_string(),
        }
    }

    /// Whether it asks to change what is stored. A leader's lease is renewed for ever and is none of it.
    pub fn is_write(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete") && !self.dry_run && self.resource != "leases"
    }

    /// Whether it begins a watch.
    pub fn is_watch(&self) -> bool {
        self.verb == "watch"
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            resource,
            subresource,
            namespace,
            name,
            ..
        } = self;
        write!(f, "{verb} {resource}")?;
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        write!(f, " {namespace}/{name}")
    }
}
