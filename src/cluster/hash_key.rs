//! The key under which Secret values enter configuration hashes: random, in a Secret of ours.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use rand::RngCore;

use super::api::{CallError, Cluster, call};
use crate::render::metadata::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_US};

/// Name of the Secret, in the operator's namespace.
pub const SECRET_NAME: &str = "sightline-hash-key";
/// Key in it.
pub const SECRET_KEY: &str = "key";

/// Reads the key; `None` where no operator has made one.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<Vec<u8>>, HashKeyError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let what = format!("Secret {namespace}/{SECRET_NAME}");
    let secret = call("get", &what, api.get_opt(SECRET_NAME)).await?;
    secret.map(|secret| key_of(&secret, &what)).transpose()
}

/// Reads the key, or makes one. A Secret without a usable key is an error: to replace it would hide what has changed in
/// Secrets.
pub async fn read_or_make(cluster: &Cluster, namespace: &str) -> Result<Vec<u8>, HashKeyError> {
    let api: Api<Secret> = Api::namespaced(cluster.client().clone(), namespace);
    let what = format!("Secret {namespace}/{SECRET_NAME}");
    if let Some(key) = read(cluster.client(), namespace).await? {
        return Ok(key);
    }
    let mut key = vec![0; 32];
    rand::rng().fill_bytes(&mut key);
    let mut secret = Secret {
        data: Some([(SECRET_KEY.to_owned(), ByteString(key.clone()))].into()),
        ..Secret::default()
    };
    secret.metadata.name = Some(SECRET_NAME.into());
    secret.metadata.labels = Some([(MANAGED_BY.to_owned(), MANAGED_BY_US.to_owned())].into());
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    match call("create", &what, api.create(&params, &secret)).await {
        Ok(_) => Ok(key),
        // Somebody was faster: theirs counts.
        Err(error) if error.code() == Some(409) => key_of(&call("get", &what, api.get(SECRET_NAME)).await?, &what),
        Err(error) => Err(error.into()),
    }
}

fn key_of(secret: &Secret, what: &str) -> Result<Vec<u8>, HashKeyError> {
    let key = secret
        .data
        .as_ref()
        .and_then(|data| data.get(SECRET_KEY))
        .map(|key| key.0.clone());
    key.filter(|key| key.len() >= 16)
        .ok_or_else(|| HashKeyError::Unusable { what: what.to_owned() })
}

/// No key could be had.
#[derive(Debug, thiserror::Error)]
pub enum HashKeyError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The Secret is there and has no usable key.
    #[error(
        "{what} has no key `{SECRET_KEY}` of at least 16 bytes; restore it, or delete it: then a change of a Secret since the last restart goes unnoticed"
    )]
    Unusable {
        /// The Secret.
        what: String,
    },
}
