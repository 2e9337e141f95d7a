//! The API server's audit log: who did what, and the answer.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

/// One request that the API server answered. What does not apply (the name in a list, the group of core) is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// `system:serviceaccount:NAMESPACE:NAME` for a service account, `admin` for the control plane's own client.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// Such as `status` or `scale`.
    pub subresource: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The HTTP status code.
    pub code: u16,
    /// `ResponseStarted` (a watch), `ResponseComplete` or `Panic`. A watch has an event of each of the first two.
    pub stage: String,
    /// When the stage was reached, by the API server's clock, to the microsecond.
    pub time: Timestamp,
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// Path and query: tells a dry run, a field manager, a forced apply.
    pub uri: String,
    /// Whether the authorizer refused it; what admission refuses (a namespace that is being deleted) it has allowed.
    pub lacks_rights: bool,
}

impl AuditEvent {
    /// Whether the request asked to change something that is stored, be it granted or not. Dry runs and reviews (such as a
    /// `SubjectAccessReview`, which is a `create` too) store nothing.
    pub fn is_write(&self) -> bool {
        let changes = matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        );
        let review = matches!(self.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io");
        changes && !review && !self.uri.contains("dryRun=")
    }

    /// Whether RBAC (or admission) refused it.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }
}

/// The events in the log, oldest first.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<AuditEvent>> {
    read_from(path, 0)
}

/// The events from a byte of the log on, at which a line has to begin.
pub(super) fn read_from(path: &Path, place: u64) -> anyhow::Result<Vec<AuditEvent>> {
    let what = || format!("cannot read the audit log {}", path.display());
    let mut file = std::fs::File::open(path).with_context(what)?;
    file.seek(SeekFrom::Start(place)).with_context(what)?;
    let mut log = String::new();
    file.read_to_string(&mut log).with_context(what)?;
    // The API server may be in the middle of writing the last line.
    log.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(parse)
        .collect()
}

fn parse(line: &str) -> anyhow::Result<AuditEvent> {
    let line: Line = serde_json::from_str(line).with_context(|| format!("not an audit event: {line}"))?;
    let object = line.object_ref.unwrap_or_default();
    Ok(AuditEvent {
        user: line.user.username,
        verb: line.verb,
        group: object.api_group,
        resource: object.resource,
        subresource: object.subresource,
        namespace: object.namespace,
        name: object.name,
        code: line.response_status.unwrap_or_default().code,
        stage: line.stage,
        time: line.stage_timestamp.0,
        user_agent: line.user_agent,
        uri: line.request_uri,
        lacks_rights: line.annotations.decision == "forbid",
    })
}

/// The fields that we read of `audit.k8s.io/v1` `Event`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    stage_timestamp: MicroTime,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(default, rename = "authorization.k8s.io/decision")]
    decision: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}
