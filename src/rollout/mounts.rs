//! Files of ours in a pod template: a volume and its mounts, put in and taken out by the same patch as environment (pure).
//!
//! Whose they are is read from a record of what we put, [`MOUNTED`], as with environment: a volume or a mount is ours as
//! long as it still is what the record says. A volume that somebody else mounts as well stays for as long as they do.

use std::collections::BTreeMap;

use json_patch::PatchOperation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::template::{add, annotation, container_names, remove, test};
use crate::render::environment::Files;

/// Annotation of the workload: volumes and mounts that we put in, as JSON.
pub const MOUNTED: &str = "sightline.dev/mounted";

/// What we put in, each as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mounted {
    volumes: Vec<Value>,
    /// By container.
    mounts: BTreeMap<String, Vec<Value>>,
}

impl Mounted {
    /// As recorded on a workload. Empty also where the record cannot be read: then what is there counts as somebody else's.
    pub(super) fn of(workload: &Value) -> Self {
        annotation(workload, MOUNTED)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The record's text; `None` where nothing is ours.
    pub(super) fn text(&self) -> Option<String> {
        // Values and maps of strings always have a JSON form.
        (*self != Self::default()).then(|| serde_json::to_string(self).unwrap_or_default())
    }

    fn is_ours(&self, container: &str, mount: &Value) -> bool {
        self.mounts.get(container).is_some_and(|ours| ours.contains(mount))
    }

    /// What of somebody else's is in the way of files in a container: a volume of that name, or a mount at that place.
    pub(super) fn in_the_way(&self, workload: &Value, index: usize, container: &str, files: &Files) -> Option<String> {
        let named = |volume: &&Value| volume.get("name") == files.volume.get("name");
        let volume = list(workload, VOLUMES).iter().find(named);
        if volume.is_some_and(|live| *live != files.volume && !self.volumes.contains(live)) {
            return Some(format!("a volume {}", shown(&files.volume, "name")));
        }
        let is_there = |mount: &&Value| mount.get("mountPath") == files.mount.get("mountPath");
        let mount = list(workload, &mounts_at(index)).iter().find(is_there);
        let is_theirs = mount.is_some_and(|live| *live != files.mount && !self.is_ours(container, live));
        is_theirs.then(|| format!("a mount at {}", shown(&files.mount, "mountPath")))
    }
}

fn shown<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

const VOLUMES: &str = "/spec/template/spec/volumes";

fn mounts_at(container: usize) -> String {
    format!("/spec/template/spec/containers/{container}/volumeMounts")
}

fn list<'a>(workload: &'a Value, path: &str) -> &'a [Value] {
    workload
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The operations that give containers these files and take out what is ours and not wanted, and the record of what is
/// ours then. `after` is the workload as other operations leave it; it is changed to what these leave.
pub(super) fn plan(
    after: &mut Value,
    record: &Mounted,
    wanted: &BTreeMap<String, Files>,
) -> (Vec<PatchOperation>, Mounted) {
    let mut operations = Vec::new();
    let mut ours = Mounted::default();
    let containers: Vec<(usize, String)> = container_names(after).map(|(i, name)| (i, name.to_owned())).collect();
    for (index, name) in containers {
        let path = mounts_at(index);
        let wanted = wanted.get(&name).map(|files| &files.mount);
        let edit = edit(list(after, &path), wanted.into_iter(), |mount| {
            record.is_ours(&name, mount)
        });
        if !edit.ours.is_empty() {
            ours.mounts.insert(name.clone(), edit.ours.clone());
        }
        let test_name = test(
            &tokens(&format!("/spec/template/spec/containers/{index}/name")),
            json!(name),
        );
        operations.extend(edit.write(after, &path, Some(test_name)));
    }
    let is_mounted = |volume: &Value| {
        let all = ["containers", "initContainers"].map(|kind| list(after, &format!("/spec/template/spec/{kind}")));
        let mounts = all
            .into_iter()
            .flatten()
            .filter_map(|container| container.get("volumeMounts")?.as_array());
        mounts.flatten().any(|mount| mount.get("name") == volume.get("name"))
    };
    let mut volumes: Vec<&Value> = Vec::new();
    for files in wanted.values() {
        if !volumes.contains(&&files.volume) {
            volumes.push(&files.volume);
        }
    }
    let live = list(after, VOLUMES);
    // One that is still mounted by somebody else stays, and is ours still.
    let kept: Vec<&Value> = live
        .iter()
        .filter(|volume| record.volumes.contains(volume) && is_mounted(volume) && !volumes.contains(volume))
        .collect();
    let edit = edit(live, volumes.into_iter().chain(kept), |volume| {
        record.volumes.contains(volume)
    });
    ours.volumes.clone_from(&edit.ours);
    operations.extend(edit.write(after, VOLUMES, None));
    (operations, ours)
}

/// What becomes of a list.
struct Edit {
    /// Positions of what is taken out, from behind, with what stands there.
    out: Vec<(usize, Value)>,
    /// What is put in, at the end.
    added: Vec<Value>,
    /// What of the new list is ours.
    ours: Vec<Value>,
}

fn edit<'a>(live: &[Value], wanted: impl Iterator<Item = &'a Value>, is_ours: impl Fn(&Value) -> bool) -> Edit {
    let wanted: Vec<&Value> = wanted.collect();
    let unwanted = |(_, value): &(usize, &Value)| is_ours(value) && !wanted.contains(value);
    let added: Vec<Value> = wanted
        .iter()
        .filter(|value| !live.contains(value))
        .map(|value| (*value).clone())
        .collect();
    let there = wanted.iter().filter(|value| live.contains(value) && is_ours(value));
    let ours = there
        .map(|value| (*value).clone())
        .chain(added.iter().cloned())
        .collect();
    Edit {
        out: live
            .iter()
            .enumerate()
            .rev()
            .filter(unwanted)
            .map(|(position, value)| (position, value.clone()))
            .collect(),
        added,
        ours,
    }
}

impl Edit {
    /// The operations, `first` before them; the list itself is changed too.
    fn write(self, workload: &mut Value, path: &str, first: Option<PatchOperation>) -> Vec<PatchOperation> {
        let mut list = list(workload, path).to_vec();
        if self.out.is_empty() && self.added.is_empty() {
            return Vec::new();
        }
        let mut operations: Vec<PatchOperation> = first.into_iter().collect();
        let was_empty = list.is_empty();
        for (position, value) in self.out {
            let at = tokens(&format!("{path}/{position}"));
            operations.push(test(&at, value));
            operations.push(remove(&at));
            list.remove(position);
        }
        list.extend(self.added.iter().cloned());
        if was_empty {
            operations.push(add(&tokens(path), Value::from(self.added)));
        } else if list.is_empty() {
            // As it was before we came.
            operations.push(remove(&tokens(path)));
        } else {
            let at = tokens(&format!("{path}/-"));
            operations.extend(self.added.into_iter().map(|value| add(&at, value)));
        }
        if let Some((parent, member)) = path.rsplit_once('/')
            && let Some(Value::Object(parent)) = workload.pointer_mut(parent)
        {
            parent.insert(member.to_owned(), Value::from(list));
        }
        operations
    }
}

fn tokens(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::template::{ContainerEnv, Note, Wanted, plan_template};
    use super::*;
    use crate::crds::OtlpTls;
    use crate::render::environment::{Block, EnvVar};

    fn files(secret: &str) -> Files {
        let tls = json!({"mode": "Simple", "caCertificateRef": {"name": secret}});
        let tls: OtlpTls = serde_json::from_value(tls).unwrap();
        Files::of(&tls).unwrap()
    }

    fn wanted(containers: &[&str], secret: &str) -> Wanted {
        let env = |container: &&str| ContainerEnv {
            container: (*container).to_owned(),
            block: Block {
                files: Some(files(secret)),
                ..Block::of_all(vec![
                    EnvVar::of_field("POD", "metadata.name"),
                    EnvVar::new("CERTIFICATE", "/etc/sightline/tls/ca.crt"),
                ])
            },
            reads: None,
        };
        Wanted {
            env: containers.iter().map(env).collect(),
            ..Wanted::default()
        }
    }

    fn deployment() -> Value {
        let template = json!({"spec": {
            "volumes": [{"name": "own", "emptyDir": {}}],
            "containers": [{"name": "a", "volumeMounts": [{"name": "own", "mountPath": "/own"}]}, {"name": "b"}]}});
        json!({"metadata": {"name": "x", "namespace": "y"}, "spec": {"template": template}})
    }

    fn after(live: &Value, wanted: &Wanted) -> Value {
        let mut after = live.clone();
        json_patch::patch(&mut after, &plan_template(live, wanted, None).patch.unwrap()).unwrap();
        assert_eq!(
            plan_template(&after, wanted, None).patch,
            None,
            "a second look finds nothing to do"
        );
        after
    }

    fn names(live: &Value, path: &str) -> Vec<String> {
        let names = list(live, path).iter().map(|entry| shown(entry, "name").to_owned());
        names.collect()
    }

    #[test]
    fn files_come_with_their_variables_change_with_them_and_go_with_them() {
        let live = deployment();
        let volume = |secret: &str| shown(&files(secret).volume, "name").to_owned();
        let given = after(&live, &wanted(&["a", "b"], "one"));
        assert_eq!(
            names(&given, VOLUMES),
            ["own".to_owned(), volume("one")],
            "two mounts share one volume"
        );
        assert_eq!(names(&given, &mounts_at(0)), ["own".to_owned(), volume("one")]);
        assert_eq!(names(&given, &mounts_at(1)), [volume("one")]);
        let changed = after(&given, &wanted(&["a"], "two"));
        assert_eq!(names(&changed, VOLUMES), ["own".to_owned(), volume("two")]);
        assert_eq!(changed.pointer(&mounts_at(1)), None, "as it was before we came");
        let mut gone = after(&changed, &Wanted::default());
        assert_eq!(gone["metadata"].get("annotations"), None, "{gone}");
        gone["spec"]["template"]["metadata"] = Value::Null;
        let mut live = live;
        live["spec"]["template"]["metadata"] = Value::Null;
        assert_eq!(gone["spec"], live["spec"]);
    }

    #[test]
    fn somebody_elses_mount_at_that_place_keeps_all_of_it_out_and_is_told() {
        let mut live = deployment();
        live["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/etc/sightline/tls");
        let plan = plan_template(&live, &wanted(&["a"], "one"), None);
        assert_eq!(plan.patch, None);
        assert_eq!(
            plan.notes,
            [Note::FilesNotOurs {
                container: "a".into(),
                what: "a mount at /etc/sightline/tls".into()
            }]
        );
        let mut live = deployment();
        live["spec"]["template"]["spec"]["volumes"][0] = json!({"name": files("one").volume["name"], "emptyDir": {}});
        assert_eq!(plan_template(&live, &wanted(&["a"], "one"), None).patch, None);
    }

    #[test]
    fn a_volume_that_somebody_else_mounts_too_stays_until_they_are_gone() {
        let mut given = after(&deployment(), &wanted(&["a"], "one"));
        let volume = files("one").volume;
        let mount = json!({"name": volume["name"], "mountPath": "/theirs"});
        given["spec"]["template"]["spec"]["containers"][1]["volumeMounts"] = json!([mount]);
        let mut kept = after(&given, &Wanted::default());
        assert!(list(&kept, VOLUMES).contains(&volume));
        assert_eq!(list(&kept, &mounts_at(0)).len(), 1);
        kept["spec"]["template"]["spec"]["containers"][1]["volumeMounts"] = json!([]);
        assert!(!list(&after(&kept, &Wanted::default()), VOLUMES).contains(&volume));
    }
}
