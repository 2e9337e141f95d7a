//! The one JSON patch that changes a workload's pod template (pure).
//!
//! A write of the template *is* a restart, so the hash, the environment and its removal go in ONE patch: two writes
//! would be two rollouts. It is a JSON patch (RFC 6902) and never server-side apply: applied environment makes the
//! owner's next deploy fail once it removes the container.
//!
//! Who owns a variable is read from a record of what we put, [`INJECTED`], on the workload's own metadata (which
//! restarts nothing): an entry is ours as long as it still holds the value of the record. Everything else is somebody
//! else's and is never changed.
//!
//! What cannot be seen from here: variables that a container gets by `envFrom`. An entry of `env` beats `envFrom` in
//! Kubernetes, so a name that comes from there is covered by ours for as long as it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::governor::NOTHING_WANTED;
use super::hash::{Parts, Verdict};
use super::mounts::{self, MOUNTED, Mounted};
use crate::digest;
use crate::render::EnvVar;
use crate::render::environment::{Block, Files};

/// Annotation of the pod template: the hash of what the pods read, see [`super::ConfigHash`].
pub const CONFIG_HASH: &str = "sightline.dev/config-hash";
/// Annotation of the pod template: when we last changed it, RFC 3339 with milliseconds.
pub const RESTARTED_AT: &str = "sightline.dev/restarted-at";
/// Annotation of the workload: a digest of the pod template as our last restart left it. While it fits, the rollout
/// that is under way is ours; once somebody else has changed the template it does not, see [`rolled_by_us`].
pub const RESTARTED_TEMPLATE: &str = "sightline.dev/restarted-template";
/// Annotation of the workload: a hash that its pods are in sync with although their template carries none, or one that
/// cannot be judged (of another version, or made under a key that is lost). It restarts nothing, and goes with the next
/// restart.
pub const IN_SYNC_WITH: &str = "sightline.dev/in-sync-with";
/// Annotation of the workload: which key its hash was made under, see [`Parts::key_id`].
pub const HASH_KEY: &str = "sightline.dev/hash-key";
/// Annotation of the workload, a person's: the hash whose rollout failed here, and that the others need not wait for.
pub const SKIP_FAILED: &str = "sightline.dev/skip-failed";
/// Annotation of the workload: the digest of a pod template that was rolled out completely. Pods that are lost or added
/// after that do not make it our rollout again, nor does a change beside the template that its controller has not looked
/// at (such as this very note) make it somebody else's.
pub const ROLLED_OUT: &str = "sightline.dev/rolled-out";
/// Annotation of the workload: the hash that somebody took back from it, and when we put it back within an hour, as JSON
/// `{"hash": text, "at": [time]}`. It is written with the restart that puts it back, and goes with the next change of ours.
/// Who replaces the whole object takes it away as well: then only the memory of the process counts.
pub const REVERTED: &str = "sightline.dev/reverted";
/// Annotation of the workload: what we put into its containers, as JSON `{container: {name: value}}`, where `value` is a text
/// or, for what is read from a field or a Secret, the variable's `valueFrom`.
pub const INJECTED: &str = "sightline.dev/injected";
/// Annotation of the workload, its owner's: `"false"` keeps our environment out.
pub const INJECT: &str = "sightline.dev/inject";
/// Field manager of our writes.
pub const FIELD_MANAGER: &str = "sightline";

const OTEL_OPERATOR_PREFIX: &str = "instrumentation.opentelemetry.io/inject-";
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What we put where: container → name → value, see [`INJECTED`].
pub type Injected = BTreeMap<String, BTreeMap<String, Value>>;

/// Environment that a container should have.
#[derive(Clone, Debug)]
pub struct ContainerEnv {
    /// Name of the container.
    pub container: String,
    /// What it gets together, in the order of its dialect.
    pub block: Block,
    /// What the block reads from Secrets; a part of the hash where the block is given.
    pub reads: Option<Parts>,
}

/// What can be given to a container.
#[derive(Default)]
struct Given {
    vars: Vec<EnvVar>,
    files: Option<Files>,
    reads: Vec<Parts>,
}

/// What a workload should have from us. [`Wanted::default`] is nothing: what we put is taken away.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What its agent entry reads; `None` where no agent entry names the workload.
    pub reads: Option<Parts>,
    /// Whether all pods of the present template are known to have started after the last change of what is read: then a
    /// workload that carries no hash yet is in sync.
    pub pods_are_younger: bool,
    /// Whether the present pod template is rolled out completely, which is noted ([`ROLLED_OUT`]) where we restarted it, and
    /// beside the note that an agent is in sync as it is.
    pub rolled_out: bool,
    /// The hash that we remember to have given it last: where it has to be given again, somebody took it back.
    pub was_given: Option<String>,
    /// Environment; where two entries name one variable of one container, the first wins.
    pub env: Vec<ContainerEnv>,
}

/// What [`REVERTED`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reverts {
    hash: String,
    at: Vec<Timestamp>,
}

/// The time over which reverts are counted.
const REVERTS_SPAN: SignedDuration = SignedDuration::from_hours(1);

impl Reverts {
    /// Those of a hash within an hour; none where the annotation speaks of another one, or cannot be read.
    fn of(workload: &Value, hash: &str, now: Timestamp) -> Option<Self> {
        let noted: Self = serde_json::from_str(annotation(workload, REVERTED)?).ok()?;
        let is_recent = |at: &Timestamp| now.duration_since(*at) < REVERTS_SPAN;
        (noted.hash == hash).then(|| Self {
            at: noted.at.into_iter().filter(is_recent).collect(),
            ..noted
        })
    }
}

/// Until when a hash is not given again, which by the workload's own record was put back `most` times within an hour;
/// `None`: it may be given at once.
pub fn reverted_until(workload: &Value, hash: &str, most: usize, now: Timestamp) -> Option<Timestamp> {
    let Reverts { at, .. } = Reverts::of(workload, hash, now)?;
    let first = at.len().checked_sub(most).and_then(|index| at.get(index))?;
    first.checked_add(REVERTS_SPAN).ok()
}

/// What has to be done to a workload to give it what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplatePlan {
    /// The hash of what is read and of the environment that can be given, of the version that the workload carries where
    /// that fits; `None`: nothing is wanted of this workload.
    pub desired: Option<String>,
    /// The patch; `None` where all is as wanted.
    pub patch: Option<Patch>,
    /// Whether the patch changes the pod template, that is: restarts the pods. Such a patch needs the governor's leave.
    /// One that does not only sets the record right.
    pub restarts: bool,
    /// Why the workload does not get all that was asked for.
    pub notes: Vec<Note>,
}

/// Why a workload does not get all that was asked for. The text names the object and the next step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A container has a variable of this name from somebody else, with another value. It was left alone.
    EnvNotOurs {
        /// Name of the container.
        container: String,
        /// Name of the variable.
        name: String,
        /// Field manager that owns the entry, where `managedFields` says so.
        manager: Option<String>,
    },
    /// A container, or its pod, has something else where files of ours would stand. It was left alone.
    FilesNotOurs {
        /// Name of the container.
        container: String,
        /// What is there.
        what: String,
    },
    /// The workload has no container of this name (any more).
    NoSuchContainer {
        /// Name of the container.
        container: String,
    },
    /// The owner of the workload keeps our environment out (`sightline.dev/inject: "false"`).
    OptedOut,
    /// The OpenTelemetry Operator instruments these pods: two writers of the same variables would disagree.
    InjectedElsewhere {
        /// The annotation of the pod template that says so.
        annotation: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnvNotOurs {
                container,
                name,
                manager,
            } => {
                let from = manager.as_deref().unwrap_or("somebody else");
                write!(
                    f,
                    "Container {container} has {name} from {from}; remove it there, or leave it and remove the container \
                     from inject"
                )
            }
            Self::FilesNotOurs { container, what } => write!(
                f,
                "Container {container} has {what} from somebody else; remove it there, or remove the container from inject"
            ),
            Self::NoSuchContainer { container } => {
                write!(
                    f,
                    "There is no container {container}; name one of the pod template's containers"
                )
            }
            Self::OptedOut => write!(
                f,
                "The workload's annotation {INJECT} is \"false\"; remove it to inject"
            ),
            Self::InjectedElsewhere { annotation } => write!(
                f,
                "The OpenTelemetry Operator injects into these pods (annotation {annotation}); use one of the two"
            ),
        }
    }
}

/// A container of the pod template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerChoice {
    /// Its index in `spec.template.spec.containers`.
    pub index: usize,
    /// Its name.
    pub name: String,
}

/// No container could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// The pod template has no containers.
    #[error("The pod template has no containers")]
    NoContainers,
    /// No container has one of the names.
    #[error("No container is named {}; the containers are {}", list(wanted), list(names))]
    NoneMatches {
        /// Names and globs that were asked for.
        wanted: Vec<String>,
        /// Names of the containers there are.
        names: Vec<String>,
    },
    /// The annotation names a container that does not exist.
    #[error(
        "The annotation kubectl.kubernetes.io/default-container names {default}; the containers are {}: write \
         containers: [NAME]",
        list(names)
    )]
    DefaultNotThere {
        /// What the annotation says.
        default: String,
        /// Names of the containers there are.
        names: Vec<String>,
    },
    /// Several containers and nothing that says which.
    #[error(
        "There are several containers ({}) and nothing says which one: write containers: [NAME]",
        list(names)
    )]
    Ambiguous {
        /// Names of the containers there are.
        names: Vec<String>,
    },
}

/// At most three names and a total, as all our messages have them.
fn list(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort();
    let total = names.len();
    names.truncate(3);
    let text = names.join(", ");
    if total > 3 {
        format!("{text} and {} more", total - 3)
    } else {
        text
    }
}

/// The containers that get environment, in the order of the pod template.
///
/// `globs`: names, in which `*` stands for any text; a container is taken when one of them fits. Empty: the container
/// that the pod template's annotation `kubectl.kubernetes.io/default-container` names, else the only one.
///
/// Init containers are never chosen.
///
/// # Errors
/// Where nothing fits, or where nothing says which of several is meant; the text says what to write.
pub fn choose_containers(deployment: &Value, globs: &[String]) -> Result<Vec<ContainerChoice>, ChooseError> {
    let all: Vec<ContainerChoice> = container_names(deployment)
        .map(|(index, name)| ContainerChoice {
            index,
            name: name.to_owned(),
        })
        .collect();
    let names = || all.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    if all.is_empty() {
        return Err(ChooseError::NoContainers);
    }
    if !globs.is_empty() {
        let chosen: Vec<_> = all
            .iter()
            .filter(|c| globs.iter().any(|glob| glob_fits(glob, &c.name)))
            .cloned()
            .collect();
        return if chosen.is_empty() {
            Err(ChooseError::NoneMatches {
                wanted: globs.to_vec(),
                names: names(),
            })
        } else {
            Ok(chosen)
        };
    }
    if let Some(default) = template_annotation(deployment, DEFAULT_CONTAINER) {
        return match all.iter().find(|c| c.name == default) {
            Some(container) => Ok(vec![container.clone()]),
            None => Err(ChooseError::DefaultNotThere {
                default: default.to_owned(),
                names: names(),
            }),
        };
    }
    if all.len() == 1 {
        return Ok(all);
    }
    Err(ChooseError::Ambiguous { names: names() })
}

fn glob_fits(glob: &str, name: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == name;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = name.strip_prefix(first).and_then(|n| n.strip_suffix(last)) else {
        return false;
    };
    for part in middle.split('*') {
        let Some((_, after)) = text.split_once(part).or(part.is_empty().then_some(("", text))) else {
            return false;
        };
        text = after;
    }
    true
}

/// The hash on the pod template, if any.
pub fn template_hash(deployment: &Value) -> Option<&str> {
    template_annotation(deployment, CONFIG_HASH)
}

/// When we last changed the pod template. `None` also where the text is no time.
pub fn restarted_at(deployment: &Value) -> Option<Timestamp> {
    template_annotation(deployment, RESTARTED_AT)?.parse().ok()
}

/// What we put into the containers, as recorded on the workload. Empty also where the record cannot be read: then what
/// stands in the containers counts as somebody else's.
pub fn injected_record(deployment: &Value) -> Injected {
    annotation(deployment, INJECTED)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Whether the pod template is exactly as our last restart left it, so that a rollout that is not complete is ours.
///
/// Replicas, metadata and status do not count. After `kubectl set image`, an edit or a `rollout undo` it is not: the
/// pods that are being made are somebody else's, although our time still stands on the template. A webhook that changes
/// the template again while it admits our write makes every rollout look like somebody else's.
pub fn rolled_by_us(deployment: &Value) -> bool {
    let restarted = annotation(deployment, RESTARTED_TEMPLATE);
    restarted_at(deployment).is_some() && restarted.is_some() && restarted == live_digest(deployment).as_deref()
}

/// The digest of the present pod template.
fn live_digest(workload: &Value) -> Option<String> {
    workload.pointer("/spec/template").map(template_digest)
}

/// Plans the one patch that gives a Deployment what is wanted, and takes away what is not wanted any more.
///
/// - `deployment`: the live object, with `metadata.resourceVersion` and `managedFields` where it has them. The patch
///   tests the resourceVersion, the name of each container at its index and each entry that it replaces or removes, so
///   it either does what was planned here or nothing at all.
/// - `now`: the time that is noted as start of the restart; `None` (for `render`, which has no time) leaves the time
///   and [`RESTARTED_TEMPLATE`] alone.
///
/// Rules:
/// - Nothing changes, no patch: applying a plan and planning again gives an empty one, whatever the time.
/// - A variable that the container has from somebody else is left alone ([`Note::EnvNotOurs`]). One that already has
///   exactly the wanted value fits as it is: no note, not recorded, never removed by us. (interLink's chart sets
///   `ENABLE_TRACING=1` alone.)
/// - Of variables that go `together`, all or none are put in.
/// - A variable stands behind those that its value refers to by `$(NAME)`; an entry of ours that does not is moved.
/// - A workload that opted out, or that the OpenTelemetry Operator instruments, gets no environment; what we put before
///   goes.
/// - The hash is judged by the function of its own version; one that cannot be judged, and none at all on pods that are
///   younger than what they read, count as in sync, which is noted on the workload itself ([`IN_SYNC_WITH`]).
/// - Nothing wanted: our environment is removed, and the hash annotation with it. Where there is nothing to remove, an
///   old hash annotation is inert and stays: removing it would be a restart for nothing. So to delete an agent's entry
///   restarts nobody.
pub fn plan_template(deployment: &Value, wanted: &Wanted, now: Option<Timestamp>) -> TemplatePlan {
    let record = injected_record(deployment);
    let (targets, notes) = effective_env(deployment, &wanted.env, &record);
    let parts = desired_parts(wanted.reads.as_ref(), &targets);

    let mut template = Vec::new();
    let mut after = json!({"spec": {"template": deployment.pointer("/spec/template")}});
    for (index, name) in container_names(deployment) {
        let live = live_env(deployment, index);
        let target = targets.get(name).map_or(&[][..], |given| &given.vars);
        let plan = plan_container(index, name, live, record.get(name), target);
        if let Some((operations, env)) = plan {
            template.extend(operations);
            set_env(&mut after, index, env);
        }
    }
    let files: BTreeMap<String, Files> = targets
        .iter()
        .filter_map(|(container, given)| Some((container.clone(), given.files.clone()?)))
        .collect();
    let (operations, mounted) = mounts::plan(&mut after, &Mounted::of(deployment), &files);
    template.extend(operations);
    let mut after = after.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();

    let carried = parts
        .as_ref()
        .map(|parts| carried(deployment, parts, wanted.pods_are_younger));
    let restarts = !template.is_empty() || carried == Some(Carried::Stale);
    let desired = parts.as_ref().map(|parts| match (&carried, carried_hash(deployment)) {
        // The text that it carries, of whatever version.
        (Some(Carried::InSync), Some(hash)) if !restarts => hash.to_owned(),
        _ => parts.hash().to_string(),
    });

    let mut annotations = annotations_at(deployment, "/spec/template/metadata/annotations");
    let mut own = annotations_at(deployment, "/metadata/annotations");
    if restarts {
        set_or_remove(&mut annotations, CONFIG_HASH, desired.clone());
        set_or_remove(&mut own, HASH_KEY, parts.as_ref().and_then(Parts::key_id));
        own.shift_remove(IN_SYNC_WITH);
        own.shift_remove(SKIP_FAILED);
        if let Some(now) = now {
            annotations.insert(RESTARTED_AT.into(), json!(stamp(now).to_string()));
            set_annotations(&mut after, &annotations);
            let reverts = put_back(deployment, wanted, desired.as_deref(), now);
            set_or_remove(&mut own, REVERTED, reverts);
            own.insert(RESTARTED_TEMPLATE.into(), json!(template_digest(&after)));
        }
    } else if carried == Some(Carried::NotJudged) {
        // The leave to go on without a failed rollout is about that rollout, whatever key its hash is of.
        if skip_failed(deployment).is_some_and(|skipped| carried_hash(deployment) == Some(skipped)) {
            set_or_remove(&mut own, SKIP_FAILED, desired.clone());
        }
        set_or_remove(&mut own, HASH_KEY, parts.as_ref().and_then(Parts::key_id));
        set_or_remove(&mut own, IN_SYNC_WITH, desired.clone());
    }
    if wanted.rolled_out && !restarts && (rolled_by_us(deployment) || carried == Some(Carried::NotJudged)) {
        set_or_remove(&mut own, ROLLED_OUT, live_digest(deployment));
    }
    let injected: Injected = targets
        .iter()
        .map(|(container, given)| {
            let values = given.vars.iter().map(|v| (v.name.clone(), v.content())).collect();
            (container.clone(), values)
        })
        .collect();
    set_or_remove(&mut own, MOUNTED, mounted.text());
    if injected.is_empty() {
        own.shift_remove(INJECTED);
    } else if record != injected {
        // Sorted maps of strings always have a JSON form.
        let text = serde_json::to_string(&injected).unwrap_or_default();
        own.insert(INJECTED.into(), json!(text));
    }

    let mut operations = Vec::new();
    edit_annotations(
        &mut operations,
        deployment,
        &["spec", "template", "metadata"],
        &annotations,
    );
    operations.extend(template);
    edit_annotations(&mut operations, deployment, &["metadata"], &own);
    let patch = (!operations.is_empty()).then(|| {
        if let Some(version) = deployment.pointer("/metadata/resourceVersion") {
            operations.insert(0, test(&["metadata", "resourceVersion"], version.clone()));
        }
        Patch(operations)
    });
    TemplatePlan {
        desired,
        patch,
        restarts,
        notes,
    }
}

/// A time as it is noted on the template: whole milliseconds.
pub fn stamp(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// How what a workload carries stands to what it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    InSync,
    Stale,
    /// It carries nothing that can be judged, and counts as in sync: that is noted.
    NotJudged,
}

/// What was last said of the pods: noted since their template was written, or on the template itself.
pub(super) fn carried_hash(workload: &Value) -> Option<&str> {
    annotation(workload, IN_SYNC_WITH).or_else(|| template_hash(workload))
}

fn carried(workload: &Value, parts: &Parts, pods_are_younger: bool) -> Carried {
    let Some(hash) = carried_hash(workload) else {
        return if pods_are_younger {
            Carried::NotJudged
        } else {
            Carried::Stale
        };
    };
    let made_under = annotation(workload, HASH_KEY);
    match (parts.judge(hash), parts.key_id()) {
        (Verdict::Fits, _) => Carried::InSync,
        (Verdict::OtherVersion, _) => Carried::NotJudged,
        (Verdict::Differs, Some(key)) if made_under.is_some_and(|made| made != key) => Carried::NotJudged,
        (Verdict::Differs, _) => Carried::Stale,
    }
}

/// What [`REVERTED`] says after a restart for `desired` now; `None`: nobody took it back.
fn put_back(workload: &Value, wanted: &Wanted, desired: Option<&str>, now: Timestamp) -> Option<String> {
    let hash = desired.unwrap_or(NOTHING_WANTED);
    let noted = Reverts::of(workload, hash, now);
    let is_put_back = noted.is_some() || wanted.was_given.as_deref() == Some(hash);
    let mut at = noted.map(|noted| noted.at).unwrap_or_default();
    at.push(stamp(now));
    let hash = hash.to_owned();
    // Texts and times always have a JSON form.
    is_put_back.then(|| serde_json::to_string(&Reverts { hash, at }).unwrap_or_default())
}

/// Whether the present pod template was rolled out completely, by our note.
pub fn is_noted_rolled_out(workload: &Value) -> bool {
    let noted = annotation(workload, ROLLED_OUT);
    noted.is_some() && noted == live_digest(workload).as_deref()
}

/// Whether a workload carries a hash, on its template or noted.
pub fn carries_hash(workload: &Value) -> bool {
    carried_hash(workload).is_some()
}

/// The hash of a failed rollout that the others need not wait for.
pub fn skip_failed(workload: &Value) -> Option<&str> {
    annotation(workload, SKIP_FAILED)
}

fn set_or_remove(annotations: &mut Map<String, Value>, name: &str, value: Option<String>) {
    match value {
        Some(value) => _ = annotations.insert(name.to_owned(), json!(value)),
        None => _ = annotations.shift_remove(name),
    }
}

fn desired_parts(reads: Option<&Parts>, targets: &BTreeMap<String, Given>) -> Option<Parts> {
    if reads.is_none() && targets.is_empty() {
        return None;
    }
    // What is read from Secrets brings the key; variables alone need none.
    let mut all = reads.into_iter().chain(targets.values().flat_map(|given| &given.reads));
    let mut parts = all.next().cloned().unwrap_or_else(|| Parts::new(&[]));
    all.for_each(|more| parts.add(more));
    for (container, given) in targets {
        parts.env(container, &given.vars);
        if let Some(files) = &given.files {
            parts.files(container, files);
        }
    }
    Some(parts)
}

/// What can be given to each container, sorted so that a value stands behind what it refers to.
fn effective_env(
    deployment: &Value,
    wanted: &[ContainerEnv],
    record: &Injected,
) -> (BTreeMap<String, Given>, Vec<Note>) {
    let mut targets: BTreeMap<String, Given> = BTreeMap::new();
    if wanted.is_empty() {
        return (targets, Vec::new());
    }
    if let Some(note) = kept_out(deployment) {
        return (targets, vec![note]);
    }
    let mounted = Mounted::of(deployment);
    let mut notes = BTreeSet::new();
    for entry in wanted {
        let container = entry.container.as_str();
        let Some((index, _)) = container_names(deployment).find(|(_, name)| *name == container) else {
            notes.insert(Note::NoSuchContainer {
                container: container.to_owned(),
            });
            continue;
        };
        let seen = Seen::of(&entry.block, live_env(deployment, index), record.get(container));
        notes.extend(seen.theirs.into_iter().map(|name| Note::EnvNotOurs {
            container: container.to_owned(),
            name: name.clone(),
            manager: manager_of(deployment, container, name),
        }));
        if !seen.is_whole || seen.free.is_empty() {
            continue;
        }
        let files = entry.block.files.as_ref();
        if let Some(what) = files.and_then(|files| mounted.in_the_way(deployment, index, container, files)) {
            let container = container.to_owned();
            notes.insert(Note::FilesNotOurs { container, what });
            continue;
        }
        let given = targets.entry(container.to_owned()).or_default();
        for var in seen.free {
            if given.vars.iter().all(|v| v.name != var.name) {
                given.vars.push(var.clone());
            }
        }
        given.files = given.files.take().or_else(|| files.cloned());
        given.reads.extend(entry.reads.clone());
    }
    for given in targets.values_mut() {
        given.vars = behind_references(&given.vars);
    }
    (targets, notes.into_iter().collect())
}

/// How a block stands to what a container has.
struct Seen<'a> {
    /// Variables that we may write.
    free: Vec<&'a EnvVar>,
    /// Names that are somebody else's.
    theirs: Vec<&'a String>,
    /// Whether what makes sense together only may be written.
    is_whole: bool,
}

impl<'a> Seen<'a> {
    fn of(block: &'a Block, live: &[Value], record: Option<&BTreeMap<String, Value>>) -> Self {
        let (mut free, mut fitting, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for var in &block.vars {
            match standing(live, record, var) {
                Standing::Free => free.push(var),
                Standing::Fits => fitting.push(&var.name),
                Standing::Foreign => theirs.push(&var.name),
            }
        }
        let mut is_whole = !theirs.iter().any(|name| block.together.contains(name));
        if block.whole_or_theirs && !(free.is_empty() || fitting.is_empty()) {
            is_whole = false;
            theirs.extend(fitting);
        }
        let is_set = |name: &&String| {
            let mut entries = live.iter().filter(|entry| entry_name(entry) == Some(name));
            entries.any(|entry| !is_ours(entry, record))
        };
        let read_before = block.yields_to.iter().filter(is_set);
        theirs.extend(read_before.inspect(|_| is_whole = false));
        Self { free, theirs, is_whole }
    }
}

fn kept_out(deployment: &Value) -> Option<Note> {
    if annotation(deployment, INJECT) == Some("false") {
        return Some(Note::OptedOut);
    }
    let annotations = deployment.pointer("/spec/template/metadata/annotations")?.as_object()?;
    annotations
        .iter()
        .filter(|(name, value)| {
            name.starts_with(OTEL_OPERATOR_PREFIX) && !matches!(value.as_str(), Some("false" | "") | None)
        })
        .map(|(name, _)| name.clone())
        .min()
        .map(|annotation| Note::InjectedElsewhere { annotation })
}

enum Standing {
    /// Not there, or ours: we may write it.
    Free,
    /// Somebody else's, with the very value that is wanted.
    Fits,
    /// Somebody else's.
    Foreign,
}

fn standing(live: &[Value], record: Option<&BTreeMap<String, Value>>, var: &EnvVar) -> Standing {
    let mut entries = live.iter().filter(|e| entry_name(e) == Some(&var.name));
    match (entries.next(), entries.next()) {
        (None, _) => Standing::Free,
        (Some(entry), None) if is_ours(entry, record) => Standing::Free,
        (Some(entry), None) if EnvVar::content_of(entry) == Some(&var.content()) => Standing::Fits,
        // Twice in the list: the last one holds, and to tell whose it is would be a guess.
        _ => Standing::Foreign,
    }
}

fn entry_name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}

/// Whether an entry still holds the value that we put there.
fn is_ours(entry: &Value, record: Option<&BTreeMap<String, Value>>) -> bool {
    let put = record.and_then(|r| r.get(entry_name(entry)?));
    put.is_some() && put == EnvVar::content_of(entry)
}

/// The variables so that each stands behind those it refers to, otherwise in their order. Those that refer to each
/// other in a circle keep their order: Kubernetes leaves such a reference as it is written.
fn behind_references(vars: &[EnvVar]) -> Vec<EnvVar> {
    let mut waiting: Vec<&EnvVar> = vars.iter().collect();
    let mut sorted = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|var| {
            let refers_to = var.references();
            !waiting
                .iter()
                .any(|w| w.name != var.name && refers_to.contains(&w.name.as_str()))
        });
        sorted.push(waiting.remove(ready.unwrap_or(0)).clone());
    }
    sorted
}

type ContainerPlan = (Vec<PatchOperation>, Vec<Value>);

/// The operations on one container's `env`, and the list that they leave. `None`: nothing to do.
fn plan_container(
    index: usize,
    name: &str,
    live: &[Value],
    record: Option<&BTreeMap<String, Value>>,
    target: &[EnvVar],
) -> Option<ContainerPlan> {
    let index = index.to_string();
    let at = ["spec", "template", "spec", "containers", index.as_str()];
    let env = |tail: &[&str]| -> Vec<String> {
        at.iter()
            .chain(["env"].iter())
            .chain(tail.iter())
            .map(|t| (*t).to_owned())
            .collect()
    };
    let mut operations = Vec::new();
    let mut list = live.to_vec();
    let take_out = |operations: &mut Vec<PatchOperation>, list: &mut Vec<Value>, position: usize| {
        let path = env(&[&position.to_string()]);
        operations.push(test(&path, list.remove(position)));
        operations.push(remove(&path));
    };

    let unwanted = |entry: &Value| is_ours(entry, record) && !target.iter().any(|v| entry_name(entry) == Some(&v.name));
    while let Some(position) = list.iter().rposition(unwanted) {
        take_out(&mut operations, &mut list, position);
    }
    let mut appended = Vec::new();
    for (rank, var) in target.iter().enumerate() {
        let position = list.iter().position(|e| entry_name(e) == Some(&var.name));
        if let Some(position) = position {
            // A reference to what is sorted behind it is part of a circle: moving would never end.
            let later: Vec<&str> = target.iter().skip(rank).map(|v| v.name.as_str()).collect();
            let misplaced = var.references().iter().any(|reference| {
                !later.contains(reference) && list.iter().skip(position).any(|e| entry_name(e) == Some(reference))
            });
            if !misplaced {
                if let Some(entry) = list
                    .get_mut(position)
                    .filter(|e| EnvVar::content_of(e) != Some(&var.content()))
                {
                    let path = env(&[&position.to_string()]);
                    operations.push(test(&path, entry.clone()));
                    operations.push(replace(&path, var.to_entry()));
                    *entry = var.to_entry();
                }
                continue;
            }
            take_out(&mut operations, &mut list, position);
        }
        appended.push(var.to_entry());
        // The list itself grows at once: what follows must see it.
        list.push(var.to_entry());
        operations.push(add(&env(&["-"]), var.to_entry()));
    }
    if operations.is_empty() {
        return None;
    }
    if live.is_empty() {
        // No list yet (or an empty one, which the API server does not keep): it comes with all its entries.
        operations = vec![add(&env(&[]), Value::from(appended))];
    } else if list.is_empty() {
        // As it was before we came.
        operations.push(remove(&env(&[])));
    }
    let name_at: Vec<&str> = at.iter().copied().chain(["name"]).collect();
    operations.insert(0, test(&name_at, json!(name)));
    Some((operations, list))
}

/// Writes what the patch leaves into a copy of the workload, for the digest of its pod template.
fn set_env(workload: &mut Value, container: usize, env: Vec<Value>) {
    let path = format!("/spec/template/spec/containers/{container}");
    if let Some(Value::Object(container)) = workload.pointer_mut(&path) {
        container.insert("env".into(), Value::from(env));
    }
}

fn set_annotations(template: &mut Value, annotations: &Map<String, Value>) {
    if let Value::Object(template) = template {
        let metadata = template.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        if let Value::Object(metadata) = metadata {
            metadata.insert("annotations".into(), Value::Object(annotations.clone()));
        }
    }
}

/// A digest of a pod template that does not depend on the order of its members, nor on members without content (the
/// API server drops those).
fn template_digest(template: &Value) -> String {
    fn canonical(value: &Value) -> Option<Value> {
        match value {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::Array(items) if items.is_empty() => None,
            Value::Array(items) => Some(items.iter().map(|i| canonical(i).unwrap_or(Value::Null)).collect()),
            Value::Object(members) => {
                let sorted: BTreeMap<_, _> = members.iter().filter_map(|(k, v)| Some((k, canonical(v)?))).collect();
                (!sorted.is_empty()).then(|| sorted.into_iter().map(|(k, v)| (k.clone(), v)).collect())
            }
            other => Some(other.clone()),
        }
    }
    let text = canonical(template).unwrap_or(Value::Null).to_string();
    digest::short(&text, 64)
}

/// Brings an object's annotations (the member `annotations` of the object at `parent`) to `wanted`.
fn edit_annotations(
    operations: &mut Vec<PatchOperation>,
    deployment: &Value,
    parent: &[&str],
    wanted: &Map<String, Value>,
) {
    let holder = deployment.pointer(pointer(parent).as_str()).filter(|v| !v.is_null());
    let there = holder.and_then(|h| h.get("annotations")).and_then(Value::as_object);
    let before = there.cloned().unwrap_or_default();
    if before == *wanted {
        return;
    }
    let at = |tail: &[&str]| parent.iter().chain(tail).map(|t| (*t).to_owned()).collect::<Vec<_>>();
    if holder.is_none() {
        operations.push(add(parent, json!({})));
    }
    if there.is_none() {
        operations.push(add(&at(&["annotations"]), Value::Object(wanted.clone())));
    } else if wanted.is_empty() {
        operations.push(remove(&at(&["annotations"])));
    } else {
        for (name, value) in wanted.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
            operations.push(add(&at(&["annotations", name]), value.clone()));
        }
        for name in before.keys().filter(|name| !wanted.contains_key(*name)) {
            operations.push(remove(&at(&["annotations", name])));
        }
    }
}

fn pointer<S: AsRef<str>>(tokens: &[S]) -> PointerBuf {
    PointerBuf::from_tokens(tokens.iter().map(AsRef::as_ref))
}

pub(super) fn test<S: AsRef<str>>(path: &[S], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: pointer(path),
        value,
    })
}

pub(super) fn add<S: AsRef<str>>(path: &[S], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: pointer(path),
        value,
    })
}

fn replace<S: AsRef<str>>(path: &[S], value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation {
        path: pointer(path),
        value,
    })
}

pub(super) fn remove<S: AsRef<str>>(path: &[S]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: pointer(path) })
}

fn annotations_at(deployment: &Value, path: &str) -> Map<String, Value> {
    deployment
        .pointer(path)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

pub(super) fn annotation<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    deployment.pointer("/metadata/annotations")?.get(name)?.as_str()
}

fn template_annotation<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    deployment
        .pointer("/spec/template/metadata/annotations")?
        .get(name)?
        .as_str()
}

pub(super) fn container_names(deployment: &Value) -> impl Iterator<Item = (usize, &str)> {
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    containers
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(index, container)| Some((index, container.get("name")?.as_str()?)))
}

fn live_env(deployment: &Value, container: usize) -> &[Value] {
    deployment
        .pointer(&format!("/spec/template/spec/containers/{container}/env"))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Who owns a variable of a container, as `managedFields` says; the first by name where several do.
fn manager_of(deployment: &Value, container: &str, variable: &str) -> Option<String> {
    let key = |name: &str| format!("k:{}", json!({"name": name}));
    let path = [
        "f:spec".to_owned(),
        "f:template".to_owned(),
        "f:spec".to_owned(),
        "f:containers".to_owned(),
        key(container),
        "f:env".to_owned(),
        key(variable),
    ];
    let owns = |fields: &Value| path.iter().try_fold(fields, |at, member| at.get(member)).is_some();
    deployment
        .pointer("/metadata/managedFields")?
        .as_array()?
        .iter()
        .filter(|entry| entry.get("fieldsV1").is_some_and(owns))
        .filter_map(|entry| entry.get("manager")?.as_str())
        .filter(|manager| *manager != FIELD_MANAGER)
        .min()
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::environment::interlink;

    fn now() -> Timestamp {
        "2026-03-01T10:00:00.123456Z".parse().unwrap()
    }

    /// interLink's chart, as the API server shows it: two containers, one of them with an environment of its own.
    fn virtual_kubelet() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "virtual-node-node", "namespace": "interlink", "resourceVersion": "41", "generation": 1},
            "spec": {
                "replicas": 1,
                "template": {
                    "metadata": {"labels": {"app": "virtual-node"}},
                    "spec": {"containers": [
                        {"name": "vk", "image": "vk:1", "env": [{"name": "NODENAME", "value": "virtual-node"}]},
                        {"name": "interlink", "image": "il:1"},
                    ]},
                },
            },
        })
    }

    fn interlink_env(container: &str, endpoint: &str) -> ContainerEnv {
        ContainerEnv {
            container: container.into(),
            block: Block {
                together: interlink::TOGETHER.map(String::from).to_vec(),
                ..Block::of_each(interlink::env(endpoint, "virtual-node"))
            },
            reads: None,
        }
    }

    fn inject(containers: &[&str]) -> Wanted {
        Wanted {
            env: containers.iter().map(|c| interlink_env(c, "tempo:4317")).collect(),
            ..Wanted::default()
        }
    }

    fn custom(vars: &[(&str, &str)]) -> Wanted {
        Wanted {
            env: vec![ContainerEnv {
                container: "vk".into(),
                block: Block::of_each(vars.iter().map(|(n, v)| EnvVar::new(*n, *v)).collect()),
                reads: None,
            }],
            ..Wanted::default()
        }
    }

    fn reads(text: &str) -> Parts {
        let mut parts = Parts::new(b"key");
        parts.config_map(text, None);
        parts
    }

    /// Applies a plan as the API server would, and checks what holds for every plan: it applies, it is stable, and the
    /// digest that it wrote is that of the template it left.
    fn apply(deployment: &Value, wanted: &Wanted) -> Value {
        let plan = plan_template(deployment, wanted, Some(now()));
        let mut after = deployment.clone();
        json_patch::patch(&mut after, plan.patch.as_ref().expect("something to do")).expect("the patch applies");
        assert_eq!(
            deployment["spec"]["template"] != after["spec"]["template"],
            plan.restarts,
            "restarts is true exactly when the template changes"
        );
        if plan.restarts {
            assert!(
                rolled_by_us(&after),
                "the digest fits the template that the patch leaves"
            );
            assert_eq!(restarted_at(&after), Some(stamp(now())));
        }
        let later = "2027-01-01T00:00:00Z".parse().unwrap();
        let again = plan_template(&after, wanted, Some(later));
        assert_eq!(again.patch, None, "the second plan is empty");
        assert_eq!(again.desired, plan.desired);
        after
    }

    fn env(deployment: &Value, container: usize) -> &Value {
        &deployment["spec"]["template"]["spec"]["containers"][container]["env"]
    }

    fn names(deployment: &Value) -> Vec<&str> {
        env(deployment, 0)
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn the_whole_patch_of_an_injection_is_one_write_guarded_by_tests() {
        let plan = plan_template(&virtual_kubelet(), &inject(&["vk", "interlink"]), Some(now()));
        let hash = plan.desired.clone().unwrap();
        let patch = serde_json::to_value(plan.patch.unwrap()).unwrap();
        let digest = patch[8]["value"]["sightline.dev/restarted-template"].clone();
        let record = r#"{"interlink":{"ENABLE_TRACING":"1","TELEMETRY_ENDPOINT":"tempo:4317","TELEMETRY_UNIQUE_ID":"virtual-node"},"vk":{"ENABLE_TRACING":"1","TELEMETRY_ENDPOINT":"tempo:4317","TELEMETRY_UNIQUE_ID":"virtual-node"}}"#;
        let vars: Vec<Value> = interlink::env("tempo:4317", "virtual-node")
            .iter()
            .map(EnvVar::to_entry)
            .collect();
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "41"},
                {"op": "add", "path": "/spec/template/metadata/annotations", "value": {
                    "sightline.dev/config-hash": hash, "sightline.dev/restarted-at": "2026-03-01T10:00:00.123Z"}},
                {"op": "test", "path": "/spec/template/spec/containers/0/name", "value": "vk"},
                {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": vars[0]},
                {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": vars[1]},
                {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": vars[2]},
                {"op": "test", "path": "/spec/template/spec/containers/1/name", "value": "interlink"},
                {"op": "add", "path": "/spec/template/spec/containers/1/env", "value": vars},
                {"op": "add", "path": "/metadata/annotations", "value": {
                    "sightline.dev/restarted-template": digest, "sightline.dev/injected": record}},
            ])
        );
    }

    #[test]
    fn an_agent_gets_its_hash_and_nothing_else_changes() {
        let mut deployment = virtual_kubelet();
        deployment["spec"]["template"]["metadata"]["annotations"] = json!({"a/b~c": "kept"});
        deployment["metadata"]["annotations"] = json!({"own": "kept"});
        let wanted = Wanted {
            reads: Some(reads("grpc-logging")),
            ..Wanted::default()
        };
        let after = apply(&deployment, &wanted);
        assert_eq!(template_hash(&after), Some(reads("grpc-logging").hash().as_str()));
        let mut expected = deployment.clone();
        expected["spec"]["template"]["metadata"]["annotations"] = json!({
            "a/b~c": "kept",
            "sightline.dev/config-hash": reads("grpc-logging").hash().as_str(),
            "sightline.dev/restarted-at": "2026-03-01T10:00:00.123Z",
        });
        let digest = after["metadata"]["annotations"]["sightline.dev/restarted-template"].clone();
        expected["metadata"]["annotations"] = json!({"own": "kept", "sightline.dev/restarted-template": digest});
        assert_eq!(after, expected);
        let patch = serde_json::to_string(&plan_template(&deployment, &wanted, None).patch).unwrap();
        assert!(patch.contains("/annotations/sightline.dev~1config-hash"), "{patch}");
        assert!(!patch.contains("restarted"), "render has no time: {patch}");
    }

    #[test]
    fn a_template_without_metadata_gets_its_parents_in_order() {
        let mut deployment = virtual_kubelet();
        deployment["spec"]["template"]["metadata"] = Value::Null;
        let after = apply(&deployment, &inject(&["interlink"]));
        assert!(template_hash(&after).is_some());
        deployment["spec"]["template"]
            .as_object_mut()
            .unwrap()
            .shift_remove("metadata");
        assert!(template_hash(&apply(&deployment, &inject(&["vk"]))).is_some());
    }

    #[test]
    fn removal_restores_the_bytes_of_the_containers_in_one_patch() {
        let before = virtual_kubelet();
        let injected = apply(&before, &inject(&["vk", "interlink"]));
        assert_eq!(injected_record(&injected).len(), 2);
        let after = apply(&injected, &Wanted::default());
        let containers = |d: &Value| d["spec"]["template"]["spec"]["containers"].to_string();
        assert_eq!(containers(&after), containers(&before));
        assert_eq!(
            template_hash(&after),
            None,
            "the hash stood for environment that is gone"
        );
        assert_eq!(after["metadata"]["annotations"].get(INJECTED), None);
        let patch = plan_template(&injected, &Wanted::default(), Some(now())).patch.unwrap();
        let text = serde_json::to_string(&patch).unwrap();
        assert!(
            text.contains(r#"{"op":"test","path":"/spec/template/spec/containers/0/env/1","value":{"name":"ENABLE_TRACING","value":"1"}},{"op":"remove""#),
            "each removed entry is tested first: {text}"
        );
    }

    #[test]
    fn deleting_an_agents_entry_restarts_nobody() {
        let wanted = Wanted {
            reads: Some(reads("a")),
            ..Wanted::default()
        };
        let after = apply(&virtual_kubelet(), &wanted);
        let plan = plan_template(&after, &Wanted::default(), Some(now()));
        assert_eq!((plan.patch, plan.restarts, plan.desired), (None, false, None));
        assert!(template_hash(&after).is_some(), "the annotation stays, inert");
    }

    #[test]
    fn an_agent_that_loses_its_environment_keeps_the_hash_of_what_it_reads() {
        let mut wanted = inject(&["vk"]);
        wanted.reads = Some(reads("a"));
        let injected = apply(&virtual_kubelet(), &wanted);
        assert_ne!(template_hash(&injected), Some(reads("a").hash().as_str()));
        wanted.env.clear();
        let after = apply(&injected, &wanted);
        assert_eq!(template_hash(&after), Some(reads("a").hash().as_str()));
        assert_eq!(names(&after), ["NODENAME"]);
    }

    #[test]
    fn a_changed_value_is_replaced_in_place_after_a_test_of_the_old_one() {
        let injected = apply(&virtual_kubelet(), &inject(&["vk"]));
        let wanted = Wanted {
            env: vec![interlink_env("vk", "other:4317")],
            ..Wanted::default()
        };
        let after = apply(&injected, &wanted);
        assert_eq!(
            env(&after, 0)[2],
            json!({"name": "TELEMETRY_ENDPOINT", "value": "other:4317"})
        );
        let plan = plan_template(&injected, &wanted, None);
        let text = serde_json::to_string(&plan.patch).unwrap();
        assert!(
            text.contains(r#"{"op":"test","path":"/spec/template/spec/containers/0/env/2","value":{"name":"TELEMETRY_ENDPOINT","value":"tempo:4317"}},{"op":"replace","path":"/spec/template/spec/containers/0/env/2""#),
            "{text}"
        );
        // What the server has by now is something else: nothing of the patch happens.
        let mut moved = injected.clone();
        moved["metadata"]["resourceVersion"] = json!("42");
        assert!(json_patch::patch(&mut moved, &plan.patch.unwrap()).is_err());
    }

    #[test]
    fn somebody_elses_variable_is_left_alone_and_its_manager_named() {
        let mut deployment = virtual_kubelet();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "TELEMETRY_UNIQUE_ID", "value": "mine"}]);
        deployment["metadata"]["managedFields"] = json!([{"manager": "argocd", "fieldsV1": {"f:spec": {"f:template": {
            "f:spec": {"f:containers": {"k:{\"name\":\"vk\"}": {"f:env": {
                "k:{\"name\":\"TELEMETRY_UNIQUE_ID\"}": {".": {}}}}}}}}}}]);
        let plan = plan_template(&deployment, &inject(&["vk"]), None);
        assert_eq!(
            plan.notes,
            [Note::EnvNotOurs {
                container: "vk".into(),
                name: "TELEMETRY_UNIQUE_ID".into(),
                manager: Some("argocd".into())
            }]
        );
        let after = apply(&deployment, &inject(&["vk"]));
        assert_eq!(
            names(&after),
            ["TELEMETRY_UNIQUE_ID", "ENABLE_TRACING", "TELEMETRY_ENDPOINT"]
        );
        assert_eq!(env(&after, 0)[0]["value"], "mine");
        let after = apply(&after, &Wanted::default());
        assert_eq!(names(&after), ["TELEMETRY_UNIQUE_ID"]);
    }

    /// Names that a container gets of a block, and what is told.
    fn given(block: Block, own: &Value) -> (Vec<String>, Vec<Note>) {
        let mut live = virtual_kubelet();
        live["spec"]["template"]["spec"]["containers"][0]["env"] = own.clone();
        let wanted = Wanted {
            env: vec![ContainerEnv {
                container: "vk".into(),
                block,
                reads: None,
            }],
            ..Wanted::default()
        };
        let plan = plan_template(&live, &wanted, None);
        let mut after = live.clone();
        if let Some(patch) = &plan.patch {
            json_patch::patch(&mut after, patch).unwrap();
        }
        let ours = injected_record(&after).remove("vk").unwrap_or_default();
        (ours.into_keys().collect(), plan.notes)
    }

    #[test]
    fn of_what_is_whole_or_theirs_nothing_is_given_beside_one_of_theirs_were_it_the_same() {
        let sampler = || Block {
            whole_or_theirs: true,
            ..Block::of_all(vec![EnvVar::new("SAMPLER", "ratio"), EnvVar::new("ARG", "0.5")])
        };
        let (names, notes) = given(sampler(), &json!([{"name": "SAMPLER", "value": "ratio"}]));
        assert_eq!((names.len(), notes.len()), (0, 1), "{notes:?}");
        let both = json!([{"name": "SAMPLER", "value": "ratio"}, {"name": "ARG", "value": "0.5"}]);
        let (names, notes) = given(sampler(), &both);
        assert_eq!((names.len(), notes.len()), (0, 0), "all is as wanted");
        assert_eq!(given(sampler(), &json!([])).0, ["ARG", "SAMPLER"]);
    }

    #[test]
    fn a_block_yields_to_what_is_read_before_it() {
        let block = || Block {
            yields_to: vec!["TRACES_ENDPOINT".into()],
            ..Block::of_all(vec![EnvVar::new("ENDPOINT", "a")])
        };
        let (names, notes) = given(block(), &json!([{"name": "TRACES_ENDPOINT", "value": "b"}]));
        assert_eq!(names, [""; 0]);
        assert!(notes[0].to_string().contains("TRACES_ENDPOINT"), "{notes:?}");
    }

    #[test]
    fn endpoint_and_switch_go_together_or_not_at_all() {
        for foreign in [
            json!({"name": "TELEMETRY_ENDPOINT", "value": "mine:4317"}),
            json!({"name": "ENABLE_TRACING", "value": "true"}),
            json!({"name": "TELEMETRY_ENDPOINT", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}),
        ] {
            let mut deployment = virtual_kubelet();
            deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([foreign]);
            let plan = plan_template(&deployment, &inject(&["vk"]), None);
            assert_eq!(
                (plan.patch, plan.desired),
                (None, None),
                "{foreign}: nothing can be given, nothing restarts"
            );
            assert!(matches!(&plan.notes[..], [Note::EnvNotOurs { .. }]), "{:?}", plan.notes);
            // The other container is not affected.
            let after = apply(&deployment, &inject(&["vk", "interlink"]));
            assert_eq!(env(&after, 0), &json!([foreign]));
            assert_eq!(env(&after, 1).as_array().unwrap().len(), 3);
        }
    }

    #[test]
    fn the_wanted_value_from_somebody_else_fits_and_is_never_removed_by_us() {
        let mut deployment = virtual_kubelet();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "ENABLE_TRACING", "value": "1"}]);
        let after = apply(&deployment, &inject(&["vk"]));
        assert_eq!(
            names(&after),
            ["ENABLE_TRACING", "TELEMETRY_ENDPOINT", "TELEMETRY_UNIQUE_ID"]
        );
        assert_eq!(plan_template(&deployment, &inject(&["vk"]), None).notes, []);
        assert_eq!(names(&apply(&after, &Wanted::default())), ["ENABLE_TRACING"]);
    }

    #[test]
    fn removal_takes_only_what_still_holds_our_value() {
        let mut deployment = apply(&virtual_kubelet(), &inject(&["vk"]));
        deployment["spec"]["template"]["spec"]["containers"][0]["env"][1]["value"] = json!("0");
        let after = apply(&deployment, &Wanted::default());
        assert_eq!(
            env(&after, 0),
            &json!([{"name": "NODENAME", "value": "virtual-node"}, {"name": "ENABLE_TRACING", "value": "0"}])
        );
        // Still wanted: the edited one is somebody else's now, so its companions go.
        assert_eq!(apply(&deployment, &inject(&["vk"])), after);
    }

    #[test]
    fn a_record_without_entries_is_cleared_without_a_restart() {
        let mut deployment = apply(&virtual_kubelet(), &inject(&["vk"]));
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        let plan = plan_template(&deployment, &Wanted::default(), Some(now()));
        assert!(!plan.restarts);
        let after = apply(&deployment, &Wanted::default());
        assert!(template_hash(&after).is_some(), "inert");
        assert!(injected_record(&after).is_empty());
    }

    #[test]
    fn environment_that_was_taken_away_is_put_back_though_the_hash_is_right() {
        let mut deployment = apply(&virtual_kubelet(), &inject(&["vk"]));
        deployment["spec"]["template"]["spec"]["containers"][0]["name"] = json!("kubelet");
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        deployment["spec"]["template"]["spec"]["containers"][1]["name"] = json!("vk");
        let after = apply(&deployment, &inject(&["vk"]));
        assert_eq!(template_hash(&after), template_hash(&deployment));
        assert_eq!(env(&after, 1).as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_value_stands_behind_what_it_refers_to() {
        let after = apply(
            &virtual_kubelet(),
            &custom(&[("URL", "http://$(HOST):1"), ("HOST", "$(NODENAME)")]),
        );
        assert_eq!(names(&after), ["NODENAME", "HOST", "URL"]);
        // A new reference moves the entry that was in front.
        let first = apply(&virtual_kubelet(), &custom(&[("URL", "http://a"), ("HOST", "h")]));
        assert_eq!(names(&first), ["NODENAME", "URL", "HOST"]);
        let after = apply(&first, &custom(&[("URL", "http://$(HOST)"), ("HOST", "h")]));
        assert_eq!(names(&after), ["NODENAME", "HOST", "URL"]);
        // A circle ends: `apply` checks that the second plan is empty.
        let circle = apply(
            &virtual_kubelet(),
            &custom(&[("A", "$(B)"), ("B", "$(A)"), ("C", "$(C)")]),
        );
        assert_eq!(names(&circle), ["NODENAME", "C", "A", "B"]);
        // Somebody else's variable may stand behind ours.
        let mut late = apply(&virtual_kubelet(), &custom(&[("URL", "x")]));
        late["spec"]["template"]["spec"]["containers"][0]["env"][0] = json!({"name": "OTHER", "value": "o"});
        let list = late["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        list.reverse();
        assert_eq!(names(&apply(&late, &custom(&[("URL", "$(OTHER)")]))), ["OTHER", "URL"]);
    }

    #[test]
    fn a_name_that_stands_twice_is_not_ours_to_judge() {
        let mut deployment = virtual_kubelet();
        let twice = json!([{"name": "ENABLE_TRACING", "value": "1"}, {"name": "ENABLE_TRACING", "value": "1"}]);
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = twice;
        assert_eq!(plan_template(&deployment, &inject(&["vk"]), None).patch, None);
    }

    #[test]
    fn who_keeps_environment_out_gets_none_and_what_was_there_goes() {
        let injected = apply(&virtual_kubelet(), &inject(&["vk"]));
        let mut opted_out = injected.clone();
        opted_out["metadata"]["annotations"][INJECT] = json!("false");
        assert_eq!(
            plan_template(&opted_out, &inject(&["vk"]), None).notes,
            [Note::OptedOut]
        );
        assert_eq!(names(&apply(&opted_out, &inject(&["vk"]))), ["NODENAME"]);
        let java = format!("{OTEL_OPERATOR_PREFIX}java");
        let mut elsewhere = injected.clone();
        elsewhere["spec"]["template"]["metadata"]["annotations"][&java] = json!("true");
        assert_eq!(
            plan_template(&elsewhere, &inject(&["vk"]), None).notes,
            [Note::InjectedElsewhere {
                annotation: java.clone()
            }]
        );
        assert_eq!(names(&apply(&elsewhere, &inject(&["vk"]))), ["NODENAME"]);
        elsewhere["spec"]["template"]["metadata"]["annotations"][&java] = json!("false");
        assert_eq!(plan_template(&elsewhere, &inject(&["vk"]), None).patch, None);
        // A workload that only reads is restarted all the same: the opt-out is about environment.
        opted_out["metadata"]["annotations"] = json!({INJECT: "false"});
        let agent = Wanted {
            reads: Some(reads("a")),
            ..Wanted::default()
        };
        assert_eq!(plan_template(&opted_out, &agent, None).notes, []);
    }

    #[test]
    fn a_container_that_is_not_there_is_told() {
        let plan = plan_template(&virtual_kubelet(), &inject(&["sidecar"]), None);
        assert_eq!(plan.patch, None);
        assert_eq!(
            plan.notes,
            [Note::NoSuchContainer {
                container: "sidecar".into()
            }]
        );
    }

    #[test]
    fn a_template_that_somebody_else_changed_is_not_rolled_by_us() {
        let after = apply(&virtual_kubelet(), &inject(&["vk"]));
        let mut scaled = after.clone();
        scaled["spec"]["replicas"] = json!(5);
        scaled["metadata"]["labels"] = json!({"a": "b"});
        assert!(rolled_by_us(&scaled));
        let mut image = after.clone();
        image["spec"]["template"]["spec"]["containers"][0]["image"] = json!("vk:2");
        assert!(!rolled_by_us(&image));
        assert!(!rolled_by_us(&virtual_kubelet()));
    }

    #[test]
    fn the_digest_is_of_the_content_and_not_of_its_spelling() {
        let a = json!({"spec": {"x": 1, "y": {"z": "1"}}, "metadata": {"creationTimestamp": null}});
        let b = json!({"spec": {"y": {"z": "1", "e": {}, "t": "", "l": []}, "x": 1}});
        assert_eq!(template_digest(&a), template_digest(&b));
        assert_ne!(
            template_digest(&a),
            template_digest(&json!({"spec": {"x": 2, "y": {"z": "1"}}}))
        );
    }

    #[test]
    fn containers_are_chosen_by_name_glob_annotation_or_because_there_is_only_one() {
        let chosen = |d: &Value, globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(|g| (*g).to_owned()).collect();
            choose_containers(d, &globs).map(|c| c.into_iter().map(|c| (c.index, c.name)).collect::<Vec<_>>())
        };
        let two = virtual_kubelet();
        assert_eq!(chosen(&two, &["inter*"]), Ok(vec![(1, "interlink".into())]));
        assert_eq!(chosen(&two, &["interlink", "vk"]).unwrap().len(), 2);
        assert_eq!(chosen(&two, &["vk", "absent"]).unwrap().len(), 1);
        let none = chosen(&two, &["inference-*"]).unwrap_err().to_string();
        assert_eq!(
            none,
            "No container is named inference-*; the containers are interlink, vk"
        );
        let several = chosen(&two, &[]).unwrap_err().to_string();
        assert_eq!(
            several,
            "There are several containers (interlink, vk) and nothing says which one: write containers: [NAME]"
        );
        let mut annotated = two.clone();
        annotated["spec"]["template"]["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "vk"});
        assert_eq!(chosen(&annotated, &[]), Ok(vec![(0, "vk".into())]));
        annotated["spec"]["template"]["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "gone"});
        assert!(matches!(
            chosen(&annotated, &[]),
            Err(ChooseError::DefaultNotThere { .. })
        ));
        let mut one = two.clone();
        one["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .pop();
        assert_eq!(chosen(&one, &[]), Ok(vec![(0, "vk".into())]));
        assert_eq!(chosen(&json!({}), &[]), Err(ChooseError::NoContainers));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, name, fits) in [
            ("*", "a", true),
            ("a*", "a", true),
            ("a*c", "abc", true),
            ("a*a", "a", false),
            ("*b*", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*x*y*", "yx", false),
            ("**", "abc", true),
            ("a", "ab", false),
        ] {
            assert_eq!(glob_fits(glob, name), fits, "{glob} {name}");
        }
    }

    fn own<'a>(workload: &'a Value, name: &str) -> Option<&'a str> {
        annotation(workload, name)
    }

    fn agent(text: &str) -> Wanted {
        Wanted {
            reads: Some(reads(text)),
            ..Wanted::default()
        }
    }

    fn with_secret(key: &[u8], value: &str) -> Wanted {
        let mut parts = Parts::new(key);
        let data = [("k".to_owned(), k8s_openapi::ByteString(value.as_bytes().to_vec()))].into();
        let secret = k8s_openapi::api::core::v1::Secret {
            data: Some(data),
            ..Default::default()
        };
        parts.secret("s", Some(&secret), &[]);
        Wanted {
            reads: Some(parts),
            ..Wanted::default()
        }
    }

    #[test]
    fn an_agent_seen_first_on_pods_younger_than_what_they_read_is_noted_and_not_restarted() {
        let younger = |text| Wanted {
            pods_are_younger: true,
            ..agent(text)
        };
        let plan = plan_template(&virtual_kubelet(), &younger("a"), Some(now()));
        assert!(!plan.restarts && plan.patch.is_some());
        let noted = apply(&virtual_kubelet(), &younger("a"));
        assert_eq!(
            noted.pointer("/spec/template"),
            virtual_kubelet().pointer("/spec/template")
        );
        assert_eq!(own(&noted, IN_SYNC_WITH), Some(reads("a").hash().as_str()));
        assert_eq!(
            plan_template(&noted, &agent("a"), Some(now())).patch,
            None,
            "noted once"
        );
        // The next change restarts it, whatever its pods' age, and the note goes with it.
        let changed = plan_template(&noted, &younger("b"), Some(now()));
        assert!(changed.restarts);
        let after = apply(&noted, &younger("b"));
        assert_eq!(own(&after, IN_SYNC_WITH), None);
        assert!(
            plan_template(&after, &agent("a"), Some(now())).restarts,
            "what was noted counts no longer"
        );
        assert!(
            plan_template(&virtual_kubelet(), &agent("a"), Some(now())).restarts,
            "older pods"
        );
    }

    #[test]
    fn a_lost_key_restarts_nobody_and_the_next_change_does() {
        let before = apply(&virtual_kubelet(), &with_secret(b"first", "x"));
        assert!(plan_template(&before, &with_secret(b"first", "y"), None).restarts);
        let lost = plan_template(&before, &with_secret(b"second", "x"), None);
        assert!(!lost.restarts);
        let after = apply(&before, &with_secret(b"second", "x"));
        assert_eq!(
            plan_template(&after, &with_secret(b"second", "x"), None).patch,
            None,
            "noted once"
        );
        assert!(plan_template(&after, &with_secret(b"second", "y"), None).restarts);
    }

    #[test]
    fn a_hash_of_a_version_that_is_not_known_restarts_nobody() {
        let mut workload = virtual_kubelet();
        let hash = reads("a").hash().to_string().replacen("v1:", "v7:", 1);
        workload["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH] = json!(hash);
        assert!(!plan_template(&workload, &agent("a"), None).restarts);
        let noted = apply(&workload, &agent("a"));
        assert!(
            plan_template(&noted, &agent("b"), None).restarts,
            "the next change does"
        );
        workload["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH] = json!("mine");
        assert!(plan_template(&workload, &agent("a"), None).restarts, "no hash of ours");
    }

    #[test]
    fn the_leave_to_skip_a_failed_rollout_ends_with_the_next_restart() {
        let mut failed = apply(&virtual_kubelet(), &agent("a"));
        failed["metadata"]["annotations"][SKIP_FAILED] = json!(reads("a").hash().as_str());
        assert_eq!(
            plan_template(&failed, &agent("a"), None).patch,
            None,
            "a person's annotation stays"
        );
        assert_eq!(skip_failed(&apply(&failed, &agent("b"))), None);
    }

    #[test]
    fn what_is_put_back_is_counted_on_the_workload_by_that_very_write_and_forgotten_with_the_next_change_of_ours() {
        let minute = |minutes: i64| now().checked_add(SignedDuration::from_mins(minutes)).unwrap();
        let given = |live: &Value, wanted: &Wanted, minutes| {
            let plan = plan_template(live, wanted, Some(minute(minutes)));
            assert!(plan.restarts);
            let mut after = live.clone();
            json_patch::patch(&mut after, &plan.patch.unwrap()).unwrap();
            after
        };
        let taken_back = |live: &Value| {
            let mut live = live.clone();
            live["spec"]["template"]["metadata"]["annotations"] = json!({});
            live
        };
        let mut wanted = agent("a");
        let mut live = given(&virtual_kubelet(), &wanted, 0);
        assert_eq!(own(&live, REVERTED), None, "a first time is no revert");
        let hash = template_hash(&live).unwrap().to_owned();

        // The process remembers the first one; what stands there is enough for the others.
        wanted.was_given = Some(hash.clone());
        live = given(&taken_back(&live), &wanted, 10);
        wanted.was_given = None;
        assert_eq!(reverted_until(&live, &hash, 2, minute(11)), None);
        live = given(&taken_back(&live), &wanted, 20);
        assert_eq!(reverted_until(&live, &hash, 2, minute(21)), Some(stamp(minute(70))));
        assert_eq!(
            reverted_until(&live, &hash, 2, minute(71)),
            None,
            "the first is an hour ago"
        );
        assert_eq!(
            reverted_until(&live, "v1:other", 2, minute(21)),
            None,
            "a change of ours"
        );

        live = given(&taken_back(&live), &agent("b"), 30);
        assert_eq!(own(&live, REVERTED), None);
    }
}
