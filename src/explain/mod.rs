//! `sightline explain`: every effective value with the resource that it comes from. Pure.
//!
//! It decides nothing: winners are those of [`crate::policy::resolve`], conditions those of [`crate::plan`]. [`model`] is
//! what it says, [`tree`] prints it for people.
//!
//! - `places`: origins, places and formats, from claims and extension providers.
//! - `scope`: the policies of a namespace and of the root namespaces above it, and which of their objects reach whom.
//! - `traffic`: logging, tracing and metrics of a set of workloads; who loses there.
//! - `kmesh`: the switches of Kmesh's daemons, and the waypoint of a pod.
//! - `problems`: conditions that fail, and what compilers say.
//! - `workloads`: pods, environment, agents.
//! - `policies`, `mesh`: the three resources.

mod kmesh;
mod mesh;
pub mod model;
mod places;
mod policies;
mod problems;
mod scope;
mod traffic;
pub mod tree;
mod workloads;

use std::collections::BTreeMap;

use crate::plan::{Memory, Status, Target, plan};
use crate::rollout::QuietMemory;
use crate::snapshot::{Key, Kind, Scope, View};
use model::{Answer, Explanation};
pub(crate) use problems::{marked, source_of};

/// What is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pod; where there is none of that name, the pods that the Deployment, DaemonSet or StatefulSet of that name makes.
    Pod(Key),
    /// A namespace.
    Namespace(String),
    /// A TrafficLog.
    TrafficLog(Key),
    /// A TracingBackend.
    TracingBackend(Key),
    /// An ObservabilityMesh.
    Mesh(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "Pod {key}"),
            Self::Namespace(name) => write!(f, "Namespace {name}"),
            Self::TrafficLog(key) => write!(f, "TrafficLog {key}"),
            Self::TracingBackend(key) => write!(f, "TracingBackend {key}"),
            Self::Mesh(name) => write!(f, "ObservabilityMesh {name}"),
        }
    }
}

/// What explaining looks at: a view of the world, and what the plans of agents need.
pub struct Eye<'v, 'a> {
    view: &'v View<'a>,
    hash_key: Option<&'v [u8]>,
}

impl<'v, 'a> Eye<'v, 'a> {
    /// `hash_key`: the key under which Secret values enter hashes; without it the state of agents cannot be told.
    pub const fn new(view: &'v View<'a>, hash_key: Option<&'v [u8]>) -> Self {
        Self { view, hash_key }
    }

    /// What a resource's status says, or would say.
    fn status(&self, target: &Target) -> Option<Status> {
        self.with_memory(|memory| plan(self.view, target, memory))
            .statuses
            .into_iter()
            .next()
    }

    /// Nothing is remembered: a stale agent looks as if its quiet period began now.
    fn with_memory<T>(&self, what: impl FnOnce(&mut Memory<'_>) -> T) -> T {
        let mut quiet: BTreeMap<String, QuietMemory> = BTreeMap::new();
        what(&mut Memory {
            quiet: &mut quiet,
            hash_key: self.hash_key,
        })
    }
}

/// Explains; `None`: there is no such thing.
pub fn explain(eye: &Eye<'_, '_>, subject: &Subject) -> Option<Explanation> {
    let (key, answer) = match subject {
        Subject::Pod(key) => (key.clone(), Answer::Pod(Box::new(workloads::pod(eye, key)?))),
        Subject::Namespace(name) => (Key::new("", name), Answer::Namespace(workloads::namespace(eye, name)?)),
        Subject::TrafficLog(key) => (key.clone(), Answer::TrafficLog(policies::traffic_log(eye, key)?)),
        Subject::TracingBackend(key) => (
            key.clone(),
            Answer::TracingBackend(Box::new(policies::tracing_backend(eye, key)?)),
        ),
        Subject::Mesh(name) => (
            Key::new("", name),
            Answer::ObservabilityMesh(Box::new(mesh::mesh(eye, name)?)),
        ),
    };
    Some(Explanation {
        namespace: key.namespace,
        name: key.name,
        answer,
        unseen: Vec::new(),
    })
}

/// What a watch would bring, in words: for [`Explanation::unseen`].
pub fn unseen(kind: Kind, scope: &Scope) -> String {
    let (_, name, plural) = kind.names();
    match (kind, scope) {
        (Kind::Proxy, _) => "pods with Istio's proxies, in the whole cluster".to_owned(),
        (_, Scope::Cluster) => format!("{plural}, in the whole cluster"),
        (_, Scope::Namespace(namespace)) => format!("{plural} in namespace {namespace}"),
        (_, Scope::Object(key)) => format!("{name} {key}"),
    }
}
