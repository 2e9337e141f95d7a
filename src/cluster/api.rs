//! Calls to the API server: each with a deadline, each with our field manager, each error with a class.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions, ValidationDirective,
};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::watches::Own;
use crate::crds::{TracingBackend, TrafficLog};
use crate::plan::owned::{is_ours, may_be_adopted};
use crate::plan::refusal::undeclared_field;
use crate::plan::{Apply, Delete, Finalizer, ObjectPatch, Target};
use crate::render::metadata::{FIELD_MANAGER, FINALIZER};
use crate::snapshot::{Key, Kind, Scope, key_of};

/// Longest that one call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server answered with an error.
    #[error("{verb} {what}: {source}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// On what.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{verb} {what}: no answer within {deadline:?}")]
    Deadline {
        /// What was tried.
        verb: &'static str,
        /// On what.
        what: String,
        /// For how long.
        deadline: Duration,
    },
    /// Everything that an object would belong to is gone, and the watches have not told yet.
    #[error("{what} is not made: its owners ({owners}) are gone, which the watches have yet to tell")]
    OwnersGone {
        /// Which object.
        what: String,
        /// What it would belong to.
        owners: String,
    },
    /// An object of somebody else turned up where ours was to be made.
    #[error("{what} was made by somebody else in the meantime")]
    NotOurs {
        /// Which.
        what: String,
    },
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// Somebody was faster: look again at once.
    Conflict,
    /// The API server is busy, or away.
    Transient,
    /// We may not, or what we wrote is refused: a person has to act; tried again at leisure.
    Refused,
}

impl CallError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotOurs { .. } => ErrorClass::Conflict,
            Self::Deadline { .. } | Self::OwnersGone { .. } => ErrorClass::Transient,
            Self::Api { verb, source, .. } => match &**source {
                kube::Error::Api(status)
                    if status.code == 409
                        || (*verb == "patch" && is_failed_test(status))
                        || is_another_object(status) =>
                {
                    ErrorClass::Conflict
                }
                kube::Error::Api(status)
                    if (400..500).contains(&status.code) && status.code != 429 && status.code != 408 =>
                {
                    ErrorClass::Refused
                }
                kube::Error::Api(status) if is_webhook_away(status) || is_undeclared(status) => ErrorClass::Refused,
                _ => ErrorClass::Transient,
            },
        }
    }

    /// The HTTP status of the API server's answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// The API server's own words, where it refused.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Api { source, .. } if self.class() == ErrorClass::Refused => match &**source {
                kube::Error::Api(status) => Some(status.message.clone()),
                other => Some(other.to_string()),
            },
            _ => None,
        }
    }
}

/// Whether the definition of a kind lacks a field that we apply. The API server answers 500 (seen on 1.36): to wait does not
/// help.
fn is_undeclared(status: &kube::core::Status) -> bool {
    status.code == 500 && undeclared_field(&status.message).is_some()
}

/// Whether a JSON patch did not fit the object any more. The API server (seen on 1.36) answers 422 without any details,
/// for a failed `test` and for the `remove` of what is gone alike; a validation that fails names kind and causes.
fn is_failed_test(status: &kube::core::Status) -> bool {
    let details = status.details.as_ref();
    status.code == 422 && details.is_none_or(|details| details.kind.is_empty() && details.causes.is_empty())
}

/// Whether an object was applied with the uid of one that is gone. The API server (seen on 1.36) calls that invalid, as the
/// uid cannot change; what happened is that somebody made the object anew.
fn is_another_object(status: &kube::core::Status) -> bool {
    let causes = status.details.as_ref().map(|details| &details.causes);
    status.code == 422 && causes.is_some_and(|causes| causes.iter().any(|cause| cause.field == "metadata.uid"))
}

/// Whether an admission webhook that has to be asked could not be: the API server (seen on 1.36) answers 500 and says so.
/// That may last, and concerns some objects only.
fn is_webhook_away(status: &kube::core::Status) -> bool {
    status.code == 500 && status.message.contains("failed calling webhook \"")
}

/// The resource of a kind.
pub fn resource(kind: Kind) -> ApiResource {
    let (api_version, name, plural) = kind.names();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural)
}

/// The resource of one of our own kinds.
pub fn own_resource(plural: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(crate::crds::GROUP, crate::crds::VERSION, kind),
        plural,
    )
}

/// The plural of one of our kinds that objects belong to.
fn plural_of(kind: &str) -> Option<&'static str> {
    match kind {
        TrafficLog::KIND => Some(TrafficLog::PLURAL),
        TracingBackend::KIND => Some(TracingBackend::PLURAL),
        _ => None,
    }
}

/// The resource of a judged target: kind, plural and key.
pub fn resource_of(target: &Target) -> Option<(ApiResource, Key)> {
    match target {
        Target::Mesh(name) => Some((
            own_resource("observabilitymeshes", "ObservabilityMesh"),
            Key::new("", name),
        )),
        Target::TrafficLog(key) => Some((own_resource("trafficlogs", "TrafficLog"), key.clone())),
        Target::TracingBackend(key) => Some((own_resource("tracingbackends", "TracingBackend"), key.clone())),
        _ => None,
    }
}

/// The part of the API that a scope is read from, and the field selector for it.
pub(super) fn scoped(client: &Client, resource: &ApiResource, scope: &Scope) -> (Api<DynamicObject>, Option<String>) {
    let (namespace, fields) = match scope {
        Scope::Cluster => ("", None),
        Scope::Namespace(namespace) => (namespace.as_str(), None),
        Scope::Object(key) => (key.namespace.as_str(), Some(format!("metadata.name={}", key.name))),
    };
    (api_in(client, resource, namespace), fields)
}

fn api_in(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    if namespace.is_empty() {
        Api::all_with(client.clone(), resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, resource)
    }
}

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// Calls through a client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        api_in(&self.client, resource, namespace)
    }

    /// Applies an object by server-side apply, with force: it is ours, or adopted. Returns it as it stands then.
    pub async fn apply(&self, apply: &Apply) -> Result<Value, CallError> {
        let key = key_of(&apply.object);
        let resource = resource(apply.kind);
        let api = self.api(&resource, &key.namespace);
        let what = format!("{} {key}", resource.kind);
        let mut body = apply.object.clone();
        match &apply.live {
            None => {
                let live = call("get", &what, api.get_opt(&key.name)).await?.map(to_value);
                if live.is_some_and(|live| !is_ours(&live) && !may_be_adopted(&live)) {
                    return Err(CallError::NotOurs { what });
                }
                self.has_an_owner(&apply.object, &key.namespace, &what).await?;
            }
            Some(live) => {
                if !apply.prune.is_empty() {
                    self.try_out(apply).await?;
                    self.prune(&api, &key.name, &what, &apply.prune, live.version.as_deref())
                        .await?;
                }
                // Only this very object: one that somebody made anew in the meantime is not ours to force.
                if let (Some(uid), Some(Value::Object(metadata))) = (&live.uid, body.get_mut("metadata")) {
                    metadata.insert("uid".into(), Value::from(uid.as_str()));
                }
            }
        }
        let (params, body) = (apply_params(), Patch::Apply(&body));
        call("apply", &what, api.patch(&key.name, &params, &body))
            .await
            .map(to_value)
    }

    /// Makes sure that an object which is to be made belongs to something: one whose owners are all gone is collected at
    /// once, and made again, and collected, as long as a watch lags.
    async fn has_an_owner(&self, object: &Value, namespace: &str, what: &str) -> Result<(), CallError> {
        let owners: Vec<OwnerReference> = object
            .pointer("/metadata/ownerReferences")
            .and_then(|owners| serde_json::from_value(owners.clone()).ok())
            .unwrap_or_default();
        for owner in &owners {
            let Some(plural) = plural_of(&owner.kind) else {
                return Ok(());
            };
            let api = self.api(&own_resource(plural, &owner.kind), namespace);
            let live = call("get", what, api.get_metadata_opt(&owner.name)).await?;
            if live.is_some_and(|live| live.metadata.uid.as_ref() == Some(&owner.uid)) {
                return Ok(());
            }
        }
        if owners.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = owners.iter().map(|o| format!("{} {}", o.kind, o.name)).collect();
        Err(CallError::OwnersGone {
            what: what.to_owned(),
            owners: names.join(", "),
        })
    }

    /// Asks the API server whether it would take an object, and writes nothing: before something is taken away that an
    /// object which is refused would not make up for.
    pub async fn try_out(&self, apply: &Apply) -> Result<(), CallError> {
        let key = key_of(&apply.object);
        let resource = resource(apply.kind);
        let what = format!("{} {key}", resource.kind);
        let params = PatchParams {
            dry_run: true,
            ..apply_params()
        };
        let body = Patch::Apply(&apply.object);
        let api = self.api(&resource, &key.namespace);
        call("try", &what, api.patch(&key.name, &params, &body)).await.map(drop)
    }

    /// Takes fields of other people out of an object that is wholly ours, if it is still the version that was looked at.
    async fn prune(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        what: &str,
        paths: &[String],
        version: Option<&str>,
    ) -> Result<(), CallError> {
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        let removals = paths.iter().map(|path| json!({"op": "remove", "path": path}));
        let operations: Vec<Value> = version.map(|_| test).into_iter().chain(removals).collect();
        // Operations of ours always have that form.
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap_or_default();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        call("patch", what, api.patch(name, &params, &Patch::Json::<()>(patch)))
            .await
            .map(|_| ())
    }

    /// Deletes an object, if it is still the one that was meant.
    pub async fn delete(&self, delete: &Delete) -> Result<(), CallError> {
        let resource = resource(delete.kind);
        let api = self.api(&resource, &delete.key.namespace);
        let what = format!("{} {}", resource.kind, delete.key);
        // What is deleted is looked at live first: a cache may speak of yesterday.
        let Some(live) = call("get", &what, api.get_opt(&delete.key.name)).await?.map(to_value) else {
            return Ok(());
        };
        if !is_ours(&live) {
            return Ok(());
        }
        let preconditions = Some(Preconditions {
            uid: delete.uid.clone(),
            resource_version: None,
        });
        let params = DeleteParams {
            preconditions,
            ..DeleteParams::default()
        };
        match call("delete", &what, api.delete(&delete.key.name, &params)).await {
            Err(error) if error.code() == Some(404) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Patches an object of somebody else, by a JSON patch and never by server-side apply: what we put must not be what
    /// its owner's next apply fails on, or what goes with us. Returns it as it stands then.
    pub async fn patch(&self, patch: &ObjectPatch) -> Result<Value, CallError> {
        let resource = resource(patch.kind);
        let api = self.api(&resource, &patch.key.namespace);
        let what = format!("{} {}", resource.kind, patch.key);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let body = Patch::Json::<()>(patch.patch.clone());
        call("patch", &what, api.patch(&patch.key.name, &params, &body))
            .await
            .map(to_value)
    }

    /// Writes the status of a resource. Returns the resource as it stands then.
    pub async fn write_status(&self, target: &Target, status: &Value) -> Result<Option<Value>, CallError> {
        let Some((resource, key)) = resource_of(target) else {
            return Ok(None);
        };
        let api = self.api(&resource, &key.namespace);
        let what = format!("status of {} {key}", resource.kind);
        let mut metadata = json!({"name": key.name});
        if !key.namespace.is_empty() {
            metadata = json!({"name": key.name, "namespace": key.namespace});
        }
        let body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match call(
            "apply",
            &what,
            api.patch_status(&key.name, &params, &Patch::Apply(&body)),
        )
        .await
        {
            Ok(object) => Ok(Some(to_value(object))),
            // It was deleted meanwhile.
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets our finalizer, or takes it away, on the version of the mesh that was judged. Returns the mesh as it stands then.
    pub async fn write_finalizer(
        &self,
        name: &str,
        present: &[String],
        version: Option<&str>,
        change: Finalizer,
    ) -> Result<Option<Value>, CallError> {
        let resource = own_resource("observabilitymeshes", "ObservabilityMesh");
        let mut finalizers: Vec<&str> = present.iter().map(String::as_str).filter(|f| *f != FINALIZER).collect();
        if change == Finalizer::Set {
            finalizers.push(FINALIZER);
        }
        let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let what = format!("finalizers of ObservabilityMesh {name}");
        match call(
            "patch",
            &what,
            self.api(&resource, "").patch(name, &params, &Patch::Merge(body)),
        )
        .await
        {
            Err(error) if error.code() == Some(404) => Ok(None),
            other => other.map(|mesh| Some(to_value(mesh))),
        }
    }
}

/// How objects are applied: all that is ours is forced.
fn apply_params() -> PatchParams {
    PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    }
}

/// Waits for an answer, up to [`CALL_DEADLINE`].
pub async fn call<T>(
    verb: &'static str,
    what: &str,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    call_within(CALL_DEADLINE, verb, what, future).await
}

/// Waits for an answer, up to a deadline.
pub async fn call_within<T>(
    deadline: Duration,
    verb: &'static str,
    what: &str,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, future).await {
        Err(_) => Err(CallError::Deadline {
            verb,
            what: what.to_owned(),
            deadline,
        }),
        Ok(Err(source)) => Err(CallError::Api {
            verb,
            what: what.to_owned(),
            source: Box::new(source),
        }),
        Ok(Ok(value)) => Ok(value),
    }
}

/// An object as plain data.
pub fn to_value(object: DynamicObject) -> Value {
    // What came as JSON goes back to JSON.
    serde_json::to_value(object).unwrap_or_default()
}
