//! Events: told once, with their own note.
//!
//! kube's recorder turns a repeat into a series that keeps the first note, so one that says something else goes under
//! an action of its own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter};
use tokio::sync::Mutex;
use tracing::warn;

use super::api::{CALL_DEADLINE, Cluster, resource_of};
use crate::conditions::truncate;
use crate::plan::Event;

/// The same thing is told again only after this long.
const QUIET: Duration = Duration::from_mins(10);
/// Most events that are remembered.
const REMEMBERED: usize = 4096;

/// Tells events.
pub struct Events {
    recorder: Recorder,
    told: Mutex<HashMap<Event, Instant>>,
}

impl Events {
    /// Tells through a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        let reporter = Reporter {
            controller: "sightline".into(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(cluster.client().clone(), reporter),
            told: Mutex::default(),
        }
    }

    /// Tells one, unless it was told a moment ago. An event that cannot be told is logged: nothing depends on it.
    pub async fn tell(&self, event: &Event, uid: Option<String>) {
        let Some((resource, key)) = resource_of(&event.about) else {
            return;
        };
        {
            let mut told = self.told.lock().await;
            if told.get(event).is_some_and(|at| at.elapsed() < QUIET) {
                return;
            }
            if told.len() >= REMEMBERED {
                told.retain(|_, at| at.elapsed() < QUIET);
            }
            if told.len() < REMEMBERED {
                told.insert(event.clone(), Instant::now());
            }
        }
        let mut hasher = DefaultHasher::new();
        event.note.hash(&mut hasher);
        let kube_event = KubeEvent {
            type_: if event.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: event.reason.into(),
            note: Some(truncate(&event.note, 1000)),
            action: format!("Reconcile-{:016x}", hasher.finish()),
            secondary: None,
        };
        let reference = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: Some(key.name.clone()),
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.clone()),
            uid,
            ..ObjectReference::default()
        };
        let publish = self.recorder.publish(&kube_event, &reference);
        match tokio::time::timeout(CALL_DEADLINE, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%key, reason = event.reason, %error, "event not told"),
            Err(_) => warn!(%key, reason = event.reason, "event not told: no answer"),
        }
    }
}
