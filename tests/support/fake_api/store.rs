//! The objects, their versions, and what happened to them: a faithful little part of an API server, without HTTP.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::errors::{Failure, details};
use super::fields::{Manager, Managers};
use super::kinds::{KindInfo, all};
use super::selectors::Selector;

/// An answer: HTTP status and body.
pub type Answer = Result<(u16, Value), Failure>;

/// Who writes, and whether it is only a trial.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// The field manager.
    pub manager: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Nothing is stored.
    pub dry_run: bool,
}

/// A change, as watches tell it.
#[derive(Clone, Debug)]
struct Change {
    version: u64,
    before: Option<Value>,
    after: Option<Value>,
}

/// Objects of one kind.
#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<(String, String), Value>,
    changes: Vec<Change>,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    kinds: BTreeMap<(String, String), KindInfo>,
    tables: HashMap<String, Table>,
    version: u64,
    uids: u64,
    /// Watches from before this version are told that it is too old.
    compacted: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kinds: all(),
            tables: HashMap::new(),
            version: 100,
            uids: 0,
            compacted: 100,
        }
    }
}

impl Store {
    /// The kind that is served at a place.
    pub fn kind(&self, group: &str, plural: &str) -> Option<KindInfo> {
        self.kinds.get(&(group.to_owned(), plural.to_owned())).cloned()
    }

    /// A kind by its name.
    pub fn kind_named(&self, name: &str) -> Option<KindInfo> {
        // Kuma 2.x has a TrafficLog too: ours is meant.
        let named = self.kinds.values().filter(|kind| kind.kind == name);
        named.max_by_key(|kind| kind.group == "sightline.dev").cloned()
    }

    /// The kind of an object.
    pub fn kind_of(&self, object: &Value) -> Option<KindInfo> {
        let is = |kind: &&KindInfo| object["kind"] == kind.kind.as_str() && object["apiVersion"] == kind.api_version();
        self.kinds.values().find(is).cloned()
    }

    /// An object as it stands.
    pub fn find(&self, kind: &KindInfo, namespace: &str, name: &str) -> Option<&Value> {
        let table = self.tables.get(&kind.qualified())?;
        table.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Forgets what happened so far: watches from before have to list again.
    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.tables.values_mut().for_each(|table| table.changes.clear());
    }

    /// Reads an object.
    pub fn get(&self, kind: &KindInfo, namespace: &str, name: &str) -> Answer {
        let found = self.find(kind, namespace, name);
        found
            .map(|object| (200, object.clone()))
            .ok_or_else(|| Failure::not_found(kind, name))
    }

    /// Lists objects: of a namespace, or (empty) of all; at most `limit` from where `continue_` says.
    pub fn list(
        &self,
        kind: &KindInfo,
        namespace: &str,
        selector: &Selector,
        limit: usize,
        continue_: Option<&str>,
    ) -> Value {
        let all = self.tables.get(&kind.qualified()).map(|table| &table.objects);
        let after = continue_.and_then(|token| token.split_once('/'));
        let is_all = selector.is_everything();
        let chosen = all.into_iter().flatten().filter(|((of, name), object)| {
            let is_due = after.is_none_or(|after| (of.as_str(), name.as_str()) > after);
            is_due && (namespace.is_empty() || of == namespace) && selector.selects(object)
        });
        let mut chosen: Vec<_> = chosen.collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if limit > 0 && chosen.len() > limit {
            if is_all {
                metadata["remainingItemCount"] = (chosen.len() - limit).into();
            }
            chosen.truncate(limit);
            if let Some(((namespace, name), _)) = chosen.last() {
                metadata["continue"] = format!("{namespace}/{name}").into();
            }
        }
        // What is typed there has its type in the list only.
        let item = |object: &Value| {
            let mut item = object.clone();
            if let Some(map) = item.as_object_mut().filter(|_| kind.is_builtin) {
                map.shift_remove("apiVersion");
                map.shift_remove("kind");
            }
            item
        };
        let items: Vec<Value> = chosen.into_iter().map(|(_, object)| item(object)).collect();
        json!({"kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": metadata, "items": items})
    }

    /// What happened since a version, as the lines of a watch. At the end a bookmark, where it is asked for.
    pub fn changes(
        &self,
        kind: &KindInfo,
        namespace: &str,
        selector: &Selector,
        since: u64,
        bookmark: bool,
    ) -> Vec<Value> {
        if since < self.compacted {
            let message = format!("too old resource version: {since} ({})", self.compacted);
            return vec![json!({"type": "ERROR", "object": Failure::new(410, "Expired", message).status})];
        }
        let all = self.tables.get(&kind.qualified()).map(|table| table.changes.as_slice());
        let all = all.unwrap_or_default();
        let first = all.partition_point(|change| change.version <= since);
        let in_scope = |object: &Value| {
            (namespace.is_empty() || object["metadata"]["namespace"] == namespace) && selector.selects(object)
        };
        let line = |change: &Change| {
            let before = change.before.as_ref().is_some_and(in_scope);
            let after = change.after.as_ref().is_some_and(in_scope);
            let type_ = match (before, after) {
                (false, false) => return None,
                (false, true) => "ADDED",
                (true, true) => "MODIFIED",
                (true, false) => "DELETED",
            };
            // One that is no longer selected is told as it was when it still was.
            let mut object = match type_ {
                "DELETED" => change.before.clone().unwrap_or_default(),
                _ => change.after.clone().unwrap_or_default(),
            };
            object["metadata"]["resourceVersion"] = change.version.to_string().into();
            Some(json!({"type": type_, "object": object}))
        };
        let mut lines: Vec<Value> = all.iter().skip(first).filter_map(line).collect();
        if bookmark {
            let object = json!({"kind": kind.kind, "apiVersion": kind.api_version(),
                "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null}});
            lines.push(json!({"type": "BOOKMARK", "object": object}));
        }
        lines
    }

    /// Creates an object.
    pub fn create(&mut self, kind: &KindInfo, namespace: &str, body: &Value, write: &Write) -> Answer {
        let mut object = body.clone();
        if let Some(map) = object.as_object_mut().filter(|_| kind.has_status) {
            map.shift_remove("status");
        }
        let name = name_of(&object);
        if self.find(kind, namespace, &name).is_some() {
            return Err(Failure::already_exists(kind, &name));
        }
        fill_in(kind, &name, &mut object);
        let empty = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {}});
        let mut managers = Managers::default();
        managers.update(kind, &updater(write), &empty, &object, &now());
        object["metadata"]["managedFields"] = managers.to_json(kind);
        self.insert(kind, namespace, object, write.dry_run)
    }

    /// Puts a new object in that has its managed fields already.
    fn insert(&mut self, kind: &KindInfo, namespace: &str, mut object: Value, dry_run: bool) -> Answer {
        let name = name_of(&object);
        if kind.namespaced {
            self.check_namespace(namespace)?;
            object["metadata"]["namespace"] = namespace.into();
        }
        self.uids += 1;
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.clone().into();
        let metadata = &mut object["metadata"];
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.uids).into();
        metadata["creationTimestamp"] = now().into();
        if kind.has_status {
            metadata["generation"] = 1.into();
        }
        complete(kind, &mut object);
        if dry_run {
            return Ok((201, object));
        }
        Ok((201, self.store(kind, namespace, &name, Some(object))))
    }

    fn check_namespace(&self, namespace: &str) -> Result<(), Failure> {
        let namespaces = self.kind("", "namespaces").unwrap();
        match self.find(&namespaces, "", namespace) {
            Some(_) => Ok(()),
            None => Err(Failure::not_found(&namespaces, namespace)),
        }
    }

    /// Replaces an object, or its status.
    pub fn replace(&mut self, kind: &KindInfo, namespace: &str, name: &str, body: &Value, write: &Write) -> Answer {
        let live = self.live(kind, namespace, name)?;
        self.update(kind, namespace, &live, body.clone(), write)
    }

    /// Patches an object, or its status, by a JSON patch.
    pub fn json_patch(&mut self, kind: &KindInfo, namespace: &str, name: &str, body: &Value, write: &Write) -> Answer {
        let live = self.live(kind, namespace, name)?;
        let patch: json_patch::Patch = serde_json::from_value(body.clone())
            .map_err(|error| Failure::new(400, "BadRequest", format!("error decoding patch: {error}")))?;
        let mut patched = live.clone();
        json_patch::patch(&mut patched, &patch).map_err(|_| Failure::unfit_patch())?;
        self.update(kind, namespace, &live, patched, write)
    }

    /// Patches an object, or its status, by a merge patch.
    pub fn merge_patch(&mut self, kind: &KindInfo, namespace: &str, name: &str, body: &Value, write: &Write) -> Answer {
        let live = self.live(kind, namespace, name)?;
        let mut patched = live.clone();
        json_patch::merge(&mut patched, body);
        self.update(kind, namespace, &live, patched, write)
    }

    /// Applies an object, or its status, by server-side apply.
    pub fn apply(
        &mut self,
        kind: &KindInfo,
        namespace: &str,
        name: &str,
        body: &Value,
        force: bool,
        write: &Write,
    ) -> Answer {
        let writer = Manager {
            operation: "Apply",
            ..updater(write)
        };
        let uid = body["metadata"].get("uid").filter(|uid| !uid.is_null());
        let Some(live) = self.find(kind, namespace, name).cloned() else {
            if !write.subresource.is_empty() {
                return Err(Failure::not_found(kind, name));
            }
            if let Some(uid) = uid.and_then(Value::as_str) {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Failure::conflict(kind, name, &why));
            }
            let empty = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {}});
            let mut managers = Managers::default();
            let object = managers.apply(kind, &writer, &empty, body, true, &now());
            let mut object = object.map_err(|conflicts| Failure::owned(kind, &conflicts))?;
            object["metadata"]["name"] = name.into();
            object["metadata"]["managedFields"] = managers.to_json(kind);
            return self.insert(kind, namespace, object, write.dry_run);
        };
        if let Some(uid) = uid.filter(|uid| **uid != live["metadata"]["uid"]) {
            return Err(Failure::immutable_uid(kind, name, &text(uid)));
        }
        let mut managers = Managers::of(&live);
        let merged = managers.apply(kind, &writer, &live, body, force, &now());
        let mut merged = merged.map_err(|conflicts| Failure::owned(kind, &conflicts))?;
        merged["metadata"]["managedFields"] = managers.to_json(kind);
        Ok(self.commit(kind, namespace, &live, merged, write.dry_run))
    }

    /// Deletes an object, if it is the one that is meant.
    pub fn delete(&mut self, kind: &KindInfo, namespace: &str, name: &str, options: &Value, dry_run: bool) -> Answer {
        let live = self.live(kind, namespace, name)?;
        let wanted = &options["preconditions"];
        if let Some(uid) = wanted
            .get("uid")
            .filter(|uid| !uid.is_null() && **uid != live["metadata"]["uid"])
        {
            let why = format!(
                "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted \
                 and then recreated",
                text(uid),
                text(&live["metadata"]["uid"])
            );
            return Err(Failure::precondition(kind, name, &why));
        }
        if let Some(version) = wanted.get("resourceVersion").filter(|version| !version.is_null())
            && *version != live["metadata"]["resourceVersion"]
        {
            let have = &live["metadata"]["resourceVersion"];
            let why = format!(
                "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). The object \
                 might have been modified",
                text(version),
                text(have)
            );
            return Err(Failure::precondition(kind, name, &why));
        }
        if has_finalizers(&live) {
            if live["metadata"].get("deletionTimestamp").is_some() {
                return Ok((200, live));
            }
            let mut dying = live.clone();
            dying["metadata"]["deletionTimestamp"] = now().into();
            dying["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            bump_generation(&mut dying);
            let stored = if dry_run {
                dying
            } else {
                self.store(kind, namespace, name, Some(dying))
            };
            return Ok((200, stored));
        }
        if !dry_run {
            self.store(kind, namespace, name, None);
        }
        let mut details = details(kind, name);
        details["uid"] = live["metadata"]["uid"].clone();
        Ok((
            200,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
        ))
    }

    fn live(&self, kind: &KindInfo, namespace: &str, name: &str) -> Result<Value, Failure> {
        self.get(kind, namespace, name).map(|(_, object)| object)
    }

    /// A write that is no apply: what may be changed is changed, the rest stays.
    fn update(&mut self, kind: &KindInfo, namespace: &str, live: &Value, mut object: Value, write: &Write) -> Answer {
        let name = name_of(live);
        let version = object["metadata"]
            .get("resourceVersion")
            .filter(|version| !version.is_null());
        if version.is_some_and(|version| *version != live["metadata"]["resourceVersion"]) {
            return Err(Failure::stale(kind, &name));
        }
        if let Some(uid) = object["metadata"].get("uid").filter(|uid| !uid.is_null())
            && *uid != live["metadata"]["uid"]
        {
            return Err(Failure::conflict(kind, &name, &wrong_uid(uid, live)));
        }
        if kind.has_status {
            object = if write.subresource == "status" {
                let mut only_status = live.clone();
                move_member("status", &mut object, &mut only_status);
                only_status
            } else {
                move_member("status", &mut live.clone(), &mut object);
                object
            };
        }
        let metadata = &mut object["metadata"];
        for name in KEPT {
            metadata.as_object_mut().unwrap().shift_remove(*name);
            if let Some(value) = live["metadata"].get(name) {
                metadata[name] = value.clone();
            }
        }
        let mut managers = Managers::of(live);
        managers.update(kind, &updater(write), live, &object, &now());
        object["metadata"]["managedFields"] = managers.to_json(kind);
        Ok(self.commit(kind, namespace, live, object, write.dry_run))
    }

    /// Stores a changed object, unless nothing changed; one that is being deleted goes with its last finalizer.
    fn commit(
        &mut self,
        kind: &KindInfo,
        namespace: &str,
        live: &Value,
        mut object: Value,
        dry_run: bool,
    ) -> (u16, Value) {
        let metadata = object["metadata"].as_object_mut().unwrap();
        for (name, empty) in [
            ("finalizers", json!([])),
            ("labels", json!({})),
            ("annotations", json!({})),
        ] {
            if metadata.get(name) == Some(&empty) {
                metadata.shift_remove(name);
            }
        }
        if object == *live {
            return (200, object);
        }
        if kind.has_status && spec_of(&object) != spec_of(live) {
            bump_generation(&mut object);
        }
        if dry_run {
            return (200, object);
        }
        let name = name_of(live);
        if live["metadata"].get("deletionTimestamp").is_some() && !has_finalizers(&object) {
            self.store(kind, namespace, &name, None);
            return (200, object);
        }
        (200, self.store(kind, namespace, &name, Some(object)))
    }

    /// Stores an object as it is, or its end, under a new version.
    fn store(&mut self, kind: &KindInfo, namespace: &str, name: &str, mut after: Option<Value>) -> Value {
        self.version += 1;
        let key = (namespace.to_owned(), name.to_owned());
        let table = self.tables.entry(kind.qualified()).or_default();
        let before = table.objects.remove(&key);
        if let Some(object) = &mut after {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            table.objects.insert(key, object.clone());
        }
        let stored = after.clone().unwrap_or_default();
        table.changes.push(Change {
            version: self.version,
            before,
            after,
        });
        stored
    }

    /// Puts an object in just as it is, whatever a schema or an owner would say: as one that an API server stored long ago,
    /// or that somebody else's controller keeps.
    pub fn put(&mut self, object: &Value) -> Value {
        let kind = self.kind_of(object).unwrap();
        let mut object = object.clone();
        let (namespace, name) = (text(&object["metadata"]["namespace"]), name_of(&object));
        let before = self
            .find(&kind, &namespace, &name)
            .map(|before| before["metadata"].clone());
        let metadata = object["metadata"].as_object_mut().unwrap();
        let before = before.unwrap_or_else(|| {
            self.uids += 1;
            let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids);
            let mut metadata = json!({"uid": uid, "creationTimestamp": now()});
            if kind.has_status {
                metadata["generation"] = 1.into();
            }
            metadata
        });
        for name in ["uid", "creationTimestamp", "generation"] {
            if let Some(value) = before.get(name) {
                metadata.entry(name).or_insert_with(|| value.clone());
            }
        }
        fill_in(&kind, &name, &mut object);
        complete(&kind, &mut object);
        self.store(&kind, &namespace, &name, Some(object))
    }
}

/// Metadata that no write changes.
const KEPT: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
];

/// Defaults, which are the creator's.
fn fill_in(kind: &KindInfo, name: &str, object: &mut Value) {
    match kind.kind.as_str() {
        "Namespace" => object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into(),
        "Secret" if object.get("type").is_none() => object["type"] = "Opaque".into(),
        _ => {}
    }
}

/// What the API server adds by itself, which is nobody's.
fn complete(kind: &KindInfo, object: &mut Value) {
    match kind.kind.as_str() {
        "Namespace" => {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"]["phase"] = "Active".into();
        }
        "Event" => {
            object["deprecatedFirstTimestamp"] = Value::Null;
            object["deprecatedLastTimestamp"] = Value::Null;
            object["deprecatedSource"] = json!({});
        }
        _ => {}
    }
}

fn updater(write: &Write) -> Manager {
    Manager {
        operation: "Update",
        name: write.manager.clone(),
        subresource: write.subresource.clone(),
    }
}

fn wrong_uid(wanted: &Value, live: &Value) -> String {
    format!(
        "Precondition failed: UID in precondition: {}, UID in object meta: {}",
        text(wanted),
        text(&live["metadata"]["uid"])
    )
}

fn bump_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64() {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|all| !all.is_empty())
}

/// All but metadata and status.
fn spec_of(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.retain(|name, _| name != "metadata" && name != "status");
    }
    object
}

fn move_member(name: &str, from: &mut Value, to: &mut Value) {
    let to = to.as_object_mut().unwrap();
    to.shift_remove(name);
    if let Some(value) = from.as_object_mut().and_then(|from| from.shift_remove(name)) {
        to.insert(name.to_owned(), value);
    }
}

fn name_of(object: &Value) -> String {
    text(&object["metadata"]["name"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
