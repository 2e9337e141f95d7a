//! The manifests of the demo: `config/demo`, `config/rbac` and `config/samples`, with the names, namespaces, format and
//! password that a seed gives them. Seed 0 leaves them as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use sightline::yaml;

/// Old name, and the new ones to choose from. No word stands in two lists.
type Choices = [(&'static str, [&'static str; 4])];

const NAMESPACES: &Choices = &[
    ("service-mesh", ["agents", "net-agents", "l7-traffic", "solar-system"]),
    ("interlink", ["offload", "edge", "hpc", "remote-nodes"]),
    ("interlink-mon", ["offload-mon", "edge-mon", "hpc-mon", "remote-mon"]),
    ("monitoring", ["telemetry", "insight", "watchtower", "spans"]),
    ("shop", ["store", "market", "bookshop", "bazaar"]),
    ("orders", ["checkout", "billing", "invoices", "returns"]),
    ("tenant-a", ["team-red", "team-blue", "acme", "globex"]),
    ("tenant-b", ["team-green", "team-grey", "initech", "hooli"]),
    ("inventory", ["stock", "warehouse", "shelves", "depot"]),
    (
        "observability-system",
        ["collectors", "wavefront-system", "measures", "readers"],
    ),
];

const MESHES: &Choices = &[
    ("solarmesh", ["interface-traffic", "solar", "l7", "elastic"]),
    ("interlink", ["virtual-nodes", "kubelets", "slurm", "far-nodes"]),
    ("istio-shop", ["istio-store", "retail", "istio-front", "sales"]),
    ("istio-tenants", ["istio-teams", "customers", "istio-json", "guests"]),
    ("istio-errors", ["istio-failures", "alarms", "istio-faults", "on-call"]),
    ("istio-overlaps", ["istio-stock", "crossings", "istio-sets", "tiers"]),
    ("prometheus", ["federated", "two-servers", "istio-series", "metrics"]),
    ("wavefront", ["tanzu", "aria", "istio-charts", "collector"]),
];

const POLICIES: &Choices = &[
    ("access-log", ["all-requests", "log-all", "requests", "log"]),
    ("traces", ["tracing", "to-tempo", "sampled", "trace"]),
    ("received", ["inbound", "incoming", "what-comes-in", "served"]),
    ("cart-calls", ["outbound", "outgoing", "what-goes-out", "calls"]),
    ("errors", ["failures", "bad-answers", "faults", "failed"]),
    ("by-tier", ["of-tier", "web-tier", "tier-log", "front"]),
    ("by-app", ["of-app", "one-app", "app-log", "finder"]),
    ("virtual-kubelet", ["kubelet-spans", "node-spans", "vk-spans", "vk"]),
];

/// Names of applications, wherever they stand as a whole value or before a `-`: labels, Deployments, containers.
const APPLICATIONS: &Choices = &[
    ("cart", ["basket", "catalogue", "payment", "search"]),
    ("virtual-node", ["edge-node", "gpu-node", "far-node", "hpc-node"]),
];

/// Passwords that YAML 1.1 or a careless template would spoil.
const PASSWORDS: [&str; 4] = ["0755", "yes: no # maybe", "'\"\\{{ .x }}", "1e3"];

/// The manifests, and what the demo has to know of them.
pub struct World {
    pub seed: u64,
    /// `config/demo`.
    pub demo: Vec<Value>,
    /// `config/rbac`.
    pub rbac: Vec<Value>,
    /// `config/samples`.
    pub samples: Vec<Value>,
    /// What Elasticsearch's password is changed to.
    pub next_password: String,
    /// What was renamed, from and to, for the reader.
    pub renamed: Vec<(&'static str, String, String)>,
}

impl World {
    /// Reads the manifests of the project in `root` and changes them as the seed says.
    pub fn load(root: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut world = Self {
            seed,
            demo: read_folder(&root.join("config/demo"))?,
            rbac: read_folder(&root.join("config/rbac"))?,
            samples: read_folder(&root.join("config/samples"))?,
            next_password: "a new password".to_owned(),
            renamed: Vec::new(),
        };
        if seed != 0 {
            world.vary(seed)?;
        }
        Ok(world)
    }

    fn vary(&mut self, seed: u64) -> anyhow::Result<()> {
        let mut random = Random(seed);
        let suffix = format!("-{:02x}", random.next() % 256);
        let mut names = Names {
            namespaces: choose(NAMESPACES, &mut random, &suffix),
            meshes: choose(MESHES, &mut random, ""),
            policies: choose(POLICIES, &mut random, ""),
            applications: choose(APPLICATIONS, &mut random, &suffix),
            used: BTreeSet::new(),
        };
        let number = random.next() % 10_000;
        let password = format!("{}{number}", random.pick(&PASSWORDS));
        self.next_password = format!("{number}{}", random.pick(&PASSWORDS));
        for object in self.demo.iter_mut().chain(&mut self.rbac).chain(&mut self.samples) {
            names.rename_object(object);
            set_password(object, &password);
            set_format(object, seed);
        }
        self.renamed = names.all();
        for (what, old, new) in &self.renamed {
            anyhow::ensure!(
                names.used.contains(new),
                "the manifests have no {what} {old} any more: correct examples/demo/world.rs"
            );
        }
        Ok(())
    }

    /// Objects of a kind in the samples.
    pub fn samples_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.samples.iter().filter(move |object| text(object, "/kind") == kind)
    }

    /// Names of all namespaces of the demo.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let all = self.demo.iter().chain(&self.rbac);
        all.filter(|object| text(object, "/kind") == "Namespace")
            .map(|object| text(object, "/metadata/name").to_owned())
            .collect()
    }
}

/// A text in an object; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A List that kubectl takes.
pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn read_folder(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let content = std::fs::read_to_string(&path)?;
        objects.extend(yaml::read_documents(&content).with_context(|| path.display().to_string())?);
    }
    Ok(objects)
}

/// The generator `SplitMix64`: the same on every machine and in every release.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn pick<'a>(&mut self, choices: &[&'a str; 4]) -> &'a str {
        let [a, b, c, d] = choices;
        match self.next() % 4 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }
}

fn choose(choices: &Choices, random: &mut Random, suffix: &str) -> BTreeMap<String, String> {
    let pairs = choices.iter();
    pairs
        .map(|(old, new)| ((*old).to_owned(), format!("{}{suffix}", random.pick(new))))
        .collect()
}

/// New names by old ones, and which of them were needed.
struct Names {
    namespaces: BTreeMap<String, String>,
    meshes: BTreeMap<String, String>,
    policies: BTreeMap<String, String>,
    applications: BTreeMap<String, String>,
    used: BTreeSet<String>,
}

impl Names {
    /// What is named, its old name and its new one.
    fn all(&self) -> Vec<(&'static str, String, String)> {
        let maps = [
            ("namespace", &self.namespaces),
            ("mesh", &self.meshes),
            ("policy", &self.policies),
            ("application", &self.applications),
        ];
        let pairs = maps
            .into_iter()
            .flat_map(|(what, names)| names.iter().map(move |(old, new)| (what, old.clone(), new.clone())));
        pairs.collect()
    }

    fn rename_object(&mut self, object: &mut Value) {
        let names = match text(object, "/kind") {
            "Namespace" => self.namespaces.clone(),
            "ObservabilityMesh" => self.meshes.clone(),
            "TrafficLog" | "TracingBackend" => self.policies.clone(),
            _ => self.applications.clone(),
        };
        let mut name = text(object, "/metadata/name").to_owned();
        self.rename(object, "");
        if names.contains_key(&name)
            && let Some(value) = object.pointer_mut("/metadata/name")
        {
            self.replace(&mut name, &names);
            *value = name.into();
        }
    }

    fn rename(&mut self, value: &mut Value, member: &str) {
        match value {
            Value::Object(members) => {
                if members
                    .get("key")
                    .is_some_and(|key| key == "kubernetes.io/metadata.name")
                    && let Some(values) = members.get_mut("values")
                {
                    self.rename(values, "namespace");
                    return;
                }
                members.iter_mut().for_each(|(key, value)| self.rename(value, key));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename(item, member)),
            Value::String(text) => self.rename_text(text, member),
            _ => {}
        }
    }

    fn rename_text(&mut self, text: &mut String, member: &str) {
        if member == "namespace" {
            self.replace(text, &self.namespaces.clone());
        } else if member == "host" || member == "url" || text.contains('\n') {
            // `SERVICE.NAMESPACE`, and what configuration files of the demo's programs say of their namespace.
            for (old, new) in self.namespaces.clone() {
                for (before, after) in [(".", "."), (".", ":"), ("\"", "\"")] {
                    *text = text.replace(&format!("{before}{old}{after}"), &format!("{before}{new}{after}"));
                }
            }
            for (old, new) in self.applications.clone() {
                *text = text.replace(&format!("\"{old}\""), &format!("\"{new}\""));
            }
        } else {
            self.rename_application(text);
        }
    }

    fn rename_application(&mut self, text: &mut String) {
        for (old, new) in self.applications.clone() {
            if let Some(rest) = text.strip_prefix(&old)
                && (rest.is_empty() || rest.starts_with('-'))
            {
                *text = format!("{new}{rest}");
                self.used.insert(new);
                return;
            }
        }
    }

    fn replace(&mut self, text: &mut String, names: &BTreeMap<String, String>) {
        if let Some(new) = names.get(text) {
            text.clone_from(new);
            self.used.insert(new.clone());
        }
    }
}

/// The password of Elasticsearch: in its Secret, and in the ConfigMap that SolarMesh's chart left.
fn set_password(object: &mut Value, password: &str) {
    let kind = text(object, "/kind").to_owned();
    if kind == "Secret"
        && let Some(value) = object.pointer_mut("/data/password")
    {
        *value = json!(ByteString(password.into()));
    }
    if kind == "ConfigMap"
        && let Some(Value::String(document)) = object.pointer_mut("/data/application.yaml")
    {
        *document = document.replace(
            "passworld: elasticsearch",
            &format!("passworld: {}", Value::from(password)),
        );
    }
}

/// The format of the mesh that has one, and of the policy that has one of its own.
fn set_format(object: &mut Value, seed: u64) {
    let tenant = json!({"name": "tenant", "value": "%REQ(X-TENANT):64%"});
    let attempts = json!({"name": "attempts", "value": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"});
    let status = json!({"name": "status", "value": "%RESPONSE_CODE%"});
    let (mesh, policy) = match seed % 4 {
        0 => (
            json!({"encoding": "Text", "preset": "Envoy", "fields": [tenant]}),
            json!({"encoding": "Text", "preset": "Envoy", "fields": [tenant, attempts], "omit": ["user_agent"]}),
        ),
        1 => (
            json!({"encoding": "JSON", "fields": [tenant, status]}),
            json!({"encoding": "JSON", "fields": [tenant, status, attempts]}),
        ),
        2 => (
            json!({"encoding": "JSON", "preset": "Envoy", "fields": [tenant, status], "omit": ["request_id"]}),
            json!({"encoding": "Text", "preset": "Istio", "fields": [attempts]}),
        ),
        _ => (
            json!({"encoding": "Text", "text": "%START_TIME% %REQ(:METHOD)% %RESPONSE_CODE% %DURATION%\n"}),
            json!({"encoding": "Text", "text": "%START_TIME% %RESPONSE_CODE% after %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n"}),
        ),
    };
    let kind = text(object, "/kind").to_owned();
    let (pointer, format) = match kind.as_str() {
        "ObservabilityMesh" => ("/spec/logging/format", mesh),
        "TrafficLog" => ("/spec/format", policy),
        _ => return,
    };
    if let Some(value) = object.pointer_mut(pointer) {
        *value = format;
    }
}
