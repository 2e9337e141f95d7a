//! Sets of fields, and who owns which: what server-side apply rests on.
//!
//! The rules are those of sigs.k8s.io/structured-merge-diff. One script of requests checks them against the real one
//! (`the_fake_answers_as_the_real_api_server_does`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::kinds::{KindInfo, ListType};

/// A step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A member of a map.
    Field(String),
    /// An item of a list of maps, by its keys: a JSON object with sorted names.
    Keys(String),
    /// An item of a set, as JSON.
    Item(String),
}

impl Step {
    fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Keys(keys) => format!("k:{keys}"),
            Self::Item(item) => format!("v:{item}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = text.split_at_checked(2)?;
        let rest = rest.to_owned();
        match tag {
            "f:" => Some(Self::Field(rest)),
            "k:" => Some(Self::Keys(rest)),
            "v:" => Some(Self::Item(rest)),
            _ => None,
        }
    }
}

/// From the root to a field.
pub type Path = Vec<Step>;

/// How error messages write a path: `.spec.containers[name="a"].image`.
pub fn path_text(path: &[Step]) -> String {
    let text = |step: &Step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Keys(keys) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Step::Item(item) => format!("[={item}]"),
    };
    path.iter().map(text).collect()
}

fn names(path: &[Step]) -> Vec<&str> {
    path.iter()
        .filter_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub BTreeSet<Path>);

impl Fields {
    /// As `fieldsV1`.
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for path in &self.0 {
            let mut at = &mut root;
            for step in path {
                let child = at.entry(step.text()).or_insert_with(|| json!({}));
                at = child.as_object_mut().unwrap();
            }
            at.insert(".".into(), json!({}));
        }
        let mut root = Value::Object(root);
        drop_lone_dots(&mut root);
        root
    }

    /// From `fieldsV1`.
    pub fn of_json(json: &Value) -> Self {
        fn walk(node: &Map<String, Value>, at: &mut Path, out: &mut BTreeSet<Path>) {
            if !at.is_empty() && (node.is_empty() || node.contains_key(".")) {
                out.insert(at.clone());
            }
            for (text, child) in node {
                if let (Some(step), Some(child)) = (Step::parse(text), child.as_object()) {
                    at.push(step);
                    walk(child, at, out);
                    at.pop();
                }
            }
        }
        let mut out = BTreeSet::new();
        walk(json.as_object().unwrap_or(&Map::new()), &mut Vec::new(), &mut out);
        Self(out)
    }

    /// Without what nobody owns: identity, and the API server's own fields.
    fn stripped(mut self) -> Self {
        const NOBODYS: &[&str] = &[
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ];
        self.0.retain(|path| match names(path).as_slice() {
            ["apiVersion" | "kind" | "metadata"] => false,
            ["metadata", name] => !NOBODYS.contains(name),
            _ => true,
        });
        self
    }

    /// Without what a write to the resource, or to its status, does not change.
    fn writable(mut self, kind: &KindInfo, subresource: &str) -> Self {
        if kind.has_status {
            let is_status = |path: &Path| path.first() == Some(&Step::Field("status".into()));
            self.0.retain(|path| is_status(path) == (subresource == "status"));
        }
        self
    }
}

/// A field that has no field below it that is owned is owned itself, which `fieldsV1` writes without a dot.
fn drop_lone_dots(node: &mut Value) {
    let Some(map) = node.as_object_mut() else { return };
    if map.len() == 1 {
        map.remove(".");
    }
    map.values_mut().for_each(drop_lone_dots);
}

/// A value as a child of another one, with the step to it.
fn children<'a>(kind: &KindInfo, path: &[Step], value: &'a Value) -> Option<Vec<(Step, &'a Value)>> {
    match value {
        Value::Object(map) if !map.is_empty() && !kind.is_atomic_map(&names(path)) => Some(
            map.iter()
                .map(|(name, value)| (Step::Field(name.clone()), value))
                .collect(),
        ),
        Value::Array(items) if !items.is_empty() => {
            let step: Box<dyn Fn(&Value) -> Step> = match kind.list_type(&names(path)) {
                ListType::Atomic => return None,
                ListType::Set => Box::new(|item| Step::Item(item.to_string())),
                ListType::Map(keys) => Box::new(move |item| {
                    let keys: BTreeMap<&String, &Value> = keys.iter().map(|key| (key, &item[key])).collect();
                    Step::Keys(serde_json::to_string(&keys).unwrap())
                }),
            };
            Some(items.iter().map(|item| (step(item), item)).collect())
        }
        _ => None,
    }
}

/// The fields that an applied object says something of.
fn said(kind: &KindInfo, object: &Value) -> Fields {
    fn walk(kind: &KindInfo, path: &mut Path, value: &Value, out: &mut BTreeSet<Path>) {
        match children(kind, path, value) {
            None if path.is_empty() => {}
            None => drop(out.insert(path.clone())),
            Some(children) => {
                if matches!(path.last(), Some(Step::Keys(_))) {
                    out.insert(path.clone());
                }
                for (step, child) in children {
                    path.push(step);
                    walk(kind, path, child, out);
                    path.pop();
                }
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(kind, &mut Vec::new(), object, &mut out);
    Fields(out).stripped()
}

/// How two states of an object differ.
#[derive(Debug, Default)]
struct Changes {
    /// Added or modified.
    put: BTreeSet<Path>,
    removed: BTreeSet<Path>,
}

fn compare(kind: &KindInfo, old: &Value, new: &Value) -> Changes {
    fn walk(kind: &KindInfo, path: &mut Path, old: Option<&Value>, new: Option<&Value>, out: &mut Changes) {
        let old_children = old.and_then(|old| children(kind, path, old));
        let new_children = new.and_then(|new| children(kind, path, new));
        if old_children.is_none() && new_children.is_none() {
            match (old, new) {
                (Some(_), None) => drop(out.removed.insert(path.clone())),
                (old, Some(new)) if old != Some(new) => drop(out.put.insert(path.clone())),
                _ => {}
            }
            return;
        }
        // What the API server decodes into a type of its own has its parts at all times.
        let is_part = kind.is_builtin && path.len() == 1 && matches!(names(path).as_slice(), ["spec" | "status"]);
        if !path.is_empty() && !is_part {
            match (old, new) {
                (None, Some(_)) => drop(out.put.insert(path.clone())),
                (Some(_), None) => drop(out.removed.insert(path.clone())),
                _ => {}
            }
        }
        let mut steps: BTreeMap<Step, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
        for (step, value) in old_children.into_iter().flatten() {
            steps.entry(step).or_default().0 = Some(value);
        }
        for (step, value) in new_children.into_iter().flatten() {
            steps.entry(step).or_default().1 = Some(value);
        }
        for (step, (old, new)) in steps {
            path.push(step);
            walk(kind, path, old, new, out);
            path.pop();
        }
    }
    let mut out = Changes::default();
    walk(kind, &mut Vec::new(), Some(old), Some(new), &mut out);
    Changes {
        put: Fields(out.put).stripped().0,
        removed: Fields(out.removed).stripped().0,
    }
}

/// Whoever writes: the name, how, and to which subresource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// `Apply` or `Update`.
    pub operation: &'static str,
    /// Its name.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
}

/// Who owns which fields, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(BTreeMap<Manager, (Fields, String)>);

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who.
    pub manager: Manager,
    /// Which fields.
    pub paths: Vec<Path>,
}

impl Managers {
    /// From `metadata.managedFields`.
    pub fn of(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array();
        let parse = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let manager = Manager {
                operation: if entry["operation"] == "Apply" {
                    "Apply"
                } else {
                    "Update"
                },
                name: text("manager"),
                subresource: text("subresource"),
            };
            (manager, (Fields::of_json(&entry["fieldsV1"]), text("time")))
        };
        Self(entries.into_iter().flatten().map(parse).collect())
    }

    /// As `metadata.managedFields`.
    pub fn to_json(&self, kind: &KindInfo) -> Value {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(manager, (_, time))| (manager.operation, time.clone(), manager.name.clone()));
        let entry = |(manager, (fields, time)): (&Manager, &(Fields, String))| {
            let mut entry = json!({
                "manager": manager.name, "operation": manager.operation, "apiVersion": kind.api_version(),
                "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields.to_json(),
            });
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.clone().into();
            }
            entry
        };
        Value::Array(entries.into_iter().map(entry).collect())
    }

    /// Others who own what was put with another value.
    fn conflicts(&self, writer: &Manager, put: &BTreeSet<Path>) -> Vec<Conflict> {
        let others = self.0.iter().filter(|(manager, _)| *manager != writer);
        let conflict = |(manager, (fields, _)): (&Manager, &(Fields, String))| Conflict {
            manager: manager.clone(),
            paths: fields.0.intersection(put).cloned().collect(),
        };
        others
            .map(conflict)
            .filter(|conflict| !conflict.paths.is_empty())
            .collect()
    }

    fn take_from_others(&mut self, writer: &Manager, changes: &Changes) {
        for (manager, (fields, _)) in &mut self.0 {
            if manager != writer {
                fields.0.retain(|path| !changes.put.contains(path));
            }
            fields.0.retain(|path| !changes.removed.contains(path));
        }
        self.0.retain(|_, (fields, _)| !fields.0.is_empty());
    }

    /// Notes a write that is no apply: what changed is the writer's.
    pub fn update(&mut self, kind: &KindInfo, writer: &Manager, old: &Value, new: &Value, now: &str) {
        let changes = compare(kind, old, new);
        let before = self.0.get(writer).cloned().unwrap_or_default();
        self.take_from_others(writer, &changes);
        let mut fields = before.0.clone();
        fields.0.retain(|path| !changes.removed.contains(path));
        fields.0.extend(changes.put);
        let fields = fields.writable(kind, &writer.subresource);
        if fields.0.is_empty() {
            self.0.remove(writer);
        } else {
            let time = if fields == before.0 { before.1 } else { now.to_owned() };
            self.0.insert(writer.clone(), (fields, time));
        }
    }

    /// Applies an object: merges it in, takes out what the writer applied before and no longer does and nobody else owns.
    ///
    /// # Errors
    /// The fields that others own, unless forced.
    pub fn apply(
        &mut self,
        kind: &KindInfo,
        writer: &Manager,
        live: &Value,
        applied: &Value,
        force: bool,
        now: &str,
    ) -> Result<Value, Vec<Conflict>> {
        let mut applied = applied.clone();
        if kind.has_status
            && let Some(map) = applied.as_object_mut()
        {
            map.retain(|name, _| {
                matches!(name.as_str(), "apiVersion" | "kind") || (name == "status") == (writer.subresource == "status")
            });
        }
        let fields = said(kind, &applied).writable(kind, &writer.subresource);
        let before = self.0.get(writer).cloned().unwrap_or_default();
        let mut merged = live.clone();
        merge(kind, &mut Vec::new(), &mut merged, &applied);
        self.0.insert(writer.clone(), (fields.clone(), before.1.clone()));
        let owned: BTreeSet<Path> = self
            .0
            .values()
            .flat_map(|(fields, _)| fields.0.iter().cloned())
            .collect();
        let mut given_up: Vec<&Path> = before.0.0.iter().filter(|path| !owned.contains(*path)).collect();
        // With what is above goes what is below.
        given_up.sort_by_key(|path| path.len());
        for path in given_up {
            let within = |place: &[Step]| owned.iter().any(|other| other.starts_with(place));
            if !within(path) {
                remove(kind, &mut Vec::new(), &mut merged, path);
            }
            // What it leaves empty goes with it.
            for end in (1..path.len()).rev() {
                let place = &path[..end];
                let is_empty = at_path(kind, &merged, place).is_some_and(|v| *v == json!({}) || *v == json!([]));
                if is_empty && !within(place) {
                    remove(kind, &mut Vec::new(), &mut merged, place);
                }
            }
        }
        let changes = compare(kind, live, &merged);
        let conflicts = self.conflicts(writer, &changes.put);
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        self.take_from_others(writer, &changes);
        let unchanged = changes.put.is_empty() && changes.removed.is_empty() && fields == before.0;
        let time = if unchanged { before.1 } else { now.to_owned() };
        if fields.0.is_empty() {
            self.0.remove(writer);
        } else {
            self.0.insert(writer.clone(), (fields, time));
        }
        Ok(merged)
    }
}

fn merge(kind: &KindInfo, path: &mut Path, live: &mut Value, applied: &Value) {
    let Some(applied_children) = children(kind, path, applied) else {
        // An empty map says that there is one, not that it is empty.
        if applied != &json!({}) || !live.is_object() || kind.is_atomic_map(&names(path)) {
            *live = applied.clone();
        }
        return;
    };
    match live {
        Value::Object(map) => {
            for (step, child) in applied_children {
                let Step::Field(name) = &step else { continue };
                let slot = map.entry(name.clone()).or_insert(Value::Null);
                path.push(step);
                merge(kind, path, slot, child);
                path.pop();
            }
        }
        Value::Array(_) => {
            for (step, child) in applied_children {
                let at = children(kind, path, live).and_then(|live| live.iter().position(|(other, _)| *other == step));
                let Value::Array(items) = live else { return };
                match at {
                    None => items.push(child.clone()),
                    Some(at) => {
                        path.push(step);
                        merge(kind, path, &mut items[at], child);
                        path.pop();
                    }
                }
            }
        }
        _ => *live = applied.clone(),
    }
}

fn at_path<'a>(kind: &KindInfo, value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let mut at = value;
    for (depth, step) in path.iter().enumerate() {
        let all = children(kind, &path[..depth], at)?;
        at = all.into_iter().find(|(other, _)| other == step)?.1;
    }
    Some(at)
}

fn remove(kind: &KindInfo, at: &mut Path, value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    let position = children(kind, at, value).and_then(|all| all.iter().position(|(other, _)| other == step));
    let Some(position) = position else { return };
    match value {
        Value::Object(map) => {
            let Step::Field(name) = step else { return };
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(child) = map.get_mut(name) {
                at.push(step.clone());
                remove(kind, at, child, rest);
                at.pop();
            }
        }
        Value::Array(items) => {
            if rest.is_empty() {
                items.remove(position);
            } else {
                at.push(step.clone());
                remove(kind, at, &mut items[position], rest);
                at.pop();
            }
        }
        _ => {}
    }
}
