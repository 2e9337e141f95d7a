//! One question to a cluster: what it reads is listed, once; nothing is watched and nothing is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, PartialObjectMeta};
use serde_json::Value;

use super::api::{CallError, call, own_resource, scoped, to_value};
use super::watches::{Own, PAGE_SIZE, pruned, state_of};
use crate::crds::{ObservabilityMesh, TracingBackend, TrafficLog};
use crate::snapshot::{Key, Kind, Read, Scope, Snapshot, Timings, View, WatchState, key_of};

/// Lists that are asked for at once.
const AT_ONCE: usize = 8;

/// What a question gave, and what the API server did not let it read.
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Lists that were refused: the answer rests on less.
    pub refused: BTreeSet<(Kind, Scope)>,
}

/// The cluster could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No right to read one of our own kinds.
    #[error(
        "no right to list {0}.sightline.dev in the whole cluster; whoever asks needs get and list on the resources of \
         the group sightline.dev. The API server says: {1}"
    )]
    Forbidden(&'static str, String),
    /// Our CRDs are not there.
    #[error(
        "the cluster does not know {0}.sightline.dev; install the CRDs: sightline crds | kubectl apply --server-side -f -"
    )]
    NoCrds(&'static str),
    /// A stored resource is not what its schema says.
    #[error("{what} cannot be read: {source}")]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The API server did not answer, or not with a list.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Asks a question again and again, with what it read the time before, until it reads nothing that is not there.
///
/// # Errors
/// Where our own resources cannot be read, or a call fails. Facts that may not be read are no error: see
/// [`Answered::refused`].
pub async fn ask<T>(client: &Client, mut question: impl FnMut(&View<'_>) -> T) -> Result<Answered<T>, ReadError> {
    let mut snapshot = Snapshot::default();
    put_own::<ObservabilityMesh>(client, &mut snapshot).await?;
    put_own::<TrafficLog>(client, &mut snapshot).await?;
    put_own::<TracingBackend>(client, &mut snapshot).await?;
    let everywhere = Kind::ALL.into_iter().filter(|kind| kind.is_watched_everywhere());
    let mut wanted: BTreeSet<(Kind, Scope)> = everywhere.map(|kind| (kind, Scope::Cluster)).collect();
    let mut refused = BTreeSet::new();
    loop {
        let lists = stream::iter(wanted).map(async |(kind, scope)| {
            let found = facts(client, kind, &scope).await?;
            Ok::<_, ReadError>((kind, scope, found))
        });
        let lists: Vec<_> = lists.buffer_unordered(AT_ONCE).try_collect().await?;
        for (kind, scope, found) in lists {
            let state = match found {
                Ok(objects) => {
                    for object in objects {
                        // All of it counts as seen long ago: istiod has had its time with it.
                        snapshot.put(kind, Arc::new(pruned(kind, object)), Timestamp::UNIX_EPOCH);
                    }
                    WatchState::Loaded
                }
                Err(state) => state,
            };
            snapshot.set_watch(kind, &scope, Some(state));
            if state == WatchState::Forbidden {
                refused.insert((kind, scope));
            }
        }
        let view = View::new(&snapshot, Timestamp::now(), Timings::default());
        let answer = question(&view);
        let reads = view.into_reads();
        wanted = reads.iter().filter_map(Read::watch).collect();
        wanted.retain(|(kind, scope)| snapshot.watch(*kind, scope).is_none());
        if wanted.is_empty() {
            return Ok(Answered { answer, refused });
        }
    }
}

async fn put_own<K: Own>(client: &Client, snapshot: &mut Snapshot) -> Result<(), ReadError> {
    let resource = own_resource(K::PLURAL, K::KIND);
    let objects = list(client, &resource, &Scope::Cluster, None).await;
    let objects = objects.map_err(|error| match (state_of_call(&error), error.refusal()) {
        (Some(WatchState::Forbidden), why) => ReadError::Forbidden(K::PLURAL, why.unwrap_or_default()),
        (Some(WatchState::KindMissing), _) => ReadError::NoCrds(K::PLURAL),
        _ => error.into(),
    })?;
    for object in objects {
        let key: Key = key_of(&object);
        let resource: K = serde_json::from_value(object).map_err(|source| ReadError::Unreadable {
            what: format!("{} {key}", K::KIND),
            source,
        })?;
        K::put(snapshot, &key, Some(Arc::new(resource)));
    }
    Ok(())
}

/// The facts of a watch, or why there are none.
async fn facts(client: &Client, kind: Kind, scope: &Scope) -> Result<Result<Vec<Value>, WatchState>, CallError> {
    // Somebody may ask about any pod by its name.
    let labels = kind.label_selector().filter(|_| !matches!(scope, Scope::Object(_)));
    match list(client, &super::api::resource(kind), scope, labels).await {
        Ok(objects) => Ok(Ok(objects)),
        Err(error) => state_of_call(&error).map(Err).ok_or(error),
    }
}

fn state_of_call(error: &CallError) -> Option<WatchState> {
    match error {
        CallError::Api { source, .. } => match &**source {
            kube::Error::Api(status) => state_of(status.code),
            _ => None,
        },
        _ => None,
    }
}

/// The objects of a resource.
///
/// # Errors
/// Where a call fails.
pub async fn list(
    client: &Client,
    resource: &ApiResource,
    scope: &Scope,
    labels: Option<&str>,
) -> Result<Vec<Value>, CallError> {
    let (api, fields) = scoped(client, resource, scope);
    let params = ListParams {
        label_selector: labels.map(str::to_owned),
        field_selector: fields,
        ..ListParams::default()
    };
    let objects = all_pages(&resource.plural, params, async |params| api.list(params).await).await?;
    Ok(objects.into_iter().map(to_value).collect())
}

/// The names of a resource's objects, without what is in them.
///
/// # Errors
/// Where a call fails.
pub async fn names(client: &Client, resource: &ApiResource, scope: &Scope) -> Result<Vec<Key>, CallError> {
    let (api, field_selector) = scoped(client, resource, scope);
    let params = ListParams {
        field_selector,
        ..ListParams::default()
    };
    let objects = all_pages(&resource.plural, params, async |params| api.list_metadata(params).await).await?;
    let key = |object: &PartialObjectMeta<DynamicObject>| {
        let metadata = &object.metadata;
        Key::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    };
    Ok(objects.iter().map(key).collect())
}

async fn all_pages<T: Clone>(
    plural: &str,
    mut params: ListParams,
    page: impl AsyncFn(&ListParams) -> kube::Result<ObjectList<T>>,
) -> Result<Vec<T>, CallError> {
    params.limit = Some(PAGE_SIZE);
    let mut items = Vec::new();
    loop {
        let page = call("list", plural, page(&params)).await?;
        items.extend(page.items);
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(items);
        }
    }
}
