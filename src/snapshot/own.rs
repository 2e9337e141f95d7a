//! Resources of ours as the API server has them, also those that cannot be read: one that was stored under another
//! schema, older or newer than ours, must not stop the others, nor look like one that was deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Key, Read, Resource, Snapshot, View};
use crate::conditions::truncate;
use crate::crds::{ObservabilityMesh, TracingBackend, TrafficLog};
use crate::plan::Target;

/// Most bytes of what is wrong: it may repeat the value.
const LONGEST_WHY: usize = 512;

/// A resource of ours that is there and cannot be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Undecoded {
    /// What every object has.
    pub metadata: ObjectMeta,
    /// Its status as it stands.
    pub status: Map<String, Value>,
    /// What is wrong with it.
    pub why: String,
}

impl Undecoded {
    fn new(object: &Value, why: &str) -> Self {
        let part = |name: &str| object.get(name).cloned();
        Self {
            metadata: part("metadata")
                .and_then(|metadata| serde_json::from_value(metadata).ok())
                .unwrap_or_default(),
            status: match part("status") {
                Some(Value::Object(status)) => status,
                _ => Map::new(),
            },
            why: truncate(why, LONGEST_WHY),
        }
    }
}

impl Snapshot {
    /// Puts a resource of ours in as the API server has it. Returns what has changed for readers.
    ///
    /// # Errors
    /// Why it cannot be read: then that is noted, in the place of what was read of it before.
    pub fn put_own(&mut self, target: &Target, object: &Value) -> (BTreeSet<Read>, Result<(), String>) {
        if self.is_late(target, object) {
            return (BTreeSet::new(), Ok(()));
        }
        let decoded = match target {
            Target::Mesh(name) => self.decode::<ObservabilityMesh>(&Key::new("", name), object),
            Target::TrafficLog(key) => self.decode::<TrafficLog>(key, object),
            Target::TracingBackend(key) => self.decode::<TracingBackend>(key, object),
            _ => Ok(BTreeSet::new()),
        };
        match decoded {
            Ok(mut changed) => {
                changed.extend(self.note_undecoded(target, None));
                (changed, Ok(()))
            }
            Err(why) => {
                let mut changed = self.remove_decoded(target);
                changed.extend(self.note_undecoded(target, Some(Undecoded::new(object, &why))));
                (changed, Err(why))
            }
        }
    }

    /// Whether an object is an earlier version of what is known: the answer to a write of ours may come behind the watch.
    fn is_late(&self, target: &Target, object: &Value) -> bool {
        let known = self.metadata_of(target);
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
        let version = number(text("/metadata/resourceVersion"));
        known.is_some_and(|known| {
            known.uid.as_deref() == text("/metadata/uid")
                && version
                    .zip(number(known.resource_version.as_deref()))
                    .is_some_and(|(new, have)| new < have)
        })
    }

    /// Takes a resource of ours out. Returns what has changed for readers.
    pub fn remove_own(&mut self, target: &Target) -> BTreeSet<Read> {
        let mut changed = self.remove_decoded(target);
        changed.extend(self.note_undecoded(target, None));
        changed
    }

    fn decode<K: Resource + DeserializeOwned>(&mut self, key: &Key, object: &Value) -> Result<BTreeSet<Read>, String> {
        let resource = K::deserialize(object).or_else(|error| {
            // A status is ours: one of another version is written anew, and is no reason to do nothing.
            let mut object = object.clone();
            object.as_object_mut().and_then(|map| map.remove("status"));
            K::deserialize(&object).map_err(|_| error.to_string())
        })?;
        Ok(K::put(self, key, Some(Arc::new(resource))))
    }

    fn remove_decoded(&mut self, target: &Target) -> BTreeSet<Read> {
        match target {
            Target::Mesh(name) => ObservabilityMesh::put(self, &Key::new("", name), None),
            Target::TrafficLog(key) => TrafficLog::put(self, key, None),
            Target::TracingBackend(key) => TracingBackend::put(self, key, None),
            _ => BTreeSet::new(),
        }
    }

    fn note_undecoded(&mut self, target: &Target, undecoded: Option<Undecoded>) -> BTreeSet<Read> {
        // What cannot be read counts as gone where everything counts as being deleted.
        let undecoded = undecoded.filter(|_| !self.ejects);
        let means = |undecoded: Option<&Undecoded>| {
            undecoded.map(|u| (u.metadata.uid.clone(), u.metadata.generation, u.why.clone()))
        };
        let before = match undecoded.clone() {
            Some(undecoded) => self.undecoded.insert(target.clone(), undecoded),
            None => self.undecoded.remove(target),
        };
        if means(before.as_ref()) == means(undecoded.as_ref()) {
            return BTreeSet::new();
        }
        reads_of(target)
    }

    /// Resources of ours that cannot be read.
    pub fn undecoded(&self) -> impl Iterator<Item = &Target> {
        self.undecoded.keys()
    }

    /// What every object has, of a resource of ours that is there.
    pub fn metadata_of(&self, target: &Target) -> Option<&ObjectMeta> {
        let decoded = match target {
            Target::Mesh(name) => self.meshes.get(name).map(|mesh| &mesh.metadata),
            Target::TrafficLog(key) => self.traffic_logs.get(key).map(|log| &log.metadata),
            Target::TracingBackend(key) => self.tracing_backends.get(key).map(|tracing| &tracing.metadata),
            _ => None,
        };
        decoded.or_else(|| Some(&self.undecoded.get(target)?.metadata))
    }

    /// The status of a resource of ours that is there.
    pub fn status_of(&self, target: &Target) -> Option<Map<String, Value>> {
        fn to_map<S: serde::Serialize>(status: Option<&S>) -> Map<String, Value> {
            match status.map(serde_json::to_value) {
                Some(Ok(Value::Object(map))) => map,
                _ => Map::new(),
            }
        }
        let decoded = match target {
            Target::Mesh(name) => self.meshes.get(name).map(|mesh| to_map(mesh.status.as_ref())),
            Target::TrafficLog(key) => self.traffic_logs.get(key).map(|log| to_map(log.status.as_ref())),
            Target::TracingBackend(key) => self.tracing_backends.get(key).map(|t| to_map(t.status.as_ref())),
            _ => None,
        };
        decoded.or_else(|| Some(self.undecoded.get(target)?.status.clone()))
    }
}

/// What of a resource of ours is read.
fn reads_of(target: &Target) -> BTreeSet<Read> {
    match target {
        Target::TrafficLog(key) | Target::TracingBackend(key) => {
            BTreeSet::from([Read::PoliciesIn(key.namespace.clone()), Read::AllPolicies])
        }
        _ => BTreeSet::from([Read::Meshes]),
    }
}

impl<'a> View<'a> {
    /// A resource of ours that is there and cannot be read.
    pub fn undecoded(&self, target: &Target) -> Option<&'a Undecoded> {
        match target {
            Target::Mesh(_) => self.note(Read::Meshes),
            Target::TrafficLog(key) | Target::TracingBackend(key) => {
                self.note(Read::PoliciesIn(key.namespace.clone()));
            }
            _ => return None,
        }
        self.snapshot.undecoded.get(target)
    }

    /// Policies of a namespace that cannot be read.
    pub fn undecoded_policies_in(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Target, &'a Undecoded)> + use<'a> {
        self.note(Read::PoliciesIn(namespace.to_owned()));
        let namespace = namespace.to_owned();
        let all = self.snapshot.undecoded.iter();
        all.filter(move |(target, _)| match target {
            Target::TrafficLog(key) | Target::TracingBackend(key) => key.namespace == namespace,
            _ => false,
        })
    }

    /// Names of the meshes that cannot be read.
    pub fn undecoded_meshes(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.note(Read::Meshes);
        self.snapshot.undecoded.keys().filter_map(|target| match target {
            Target::Mesh(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether a mesh that cannot be read noted in its status that it writes a ConfigMap with MeshConfig.
    pub fn is_map_of_an_undecoded_mesh(&self, map: &Key) -> bool {
        let name = Value::from(map.to_string());
        self.undecoded_meshes().any(|mesh| {
            let noted = self.undecoded(&Target::Mesh(mesh.to_owned()));
            let maps = noted.and_then(|mesh| mesh.status.get("meshConfigMaps")?.as_array());
            maps.is_some_and(|maps| maps.contains(&name))
        })
    }
}
