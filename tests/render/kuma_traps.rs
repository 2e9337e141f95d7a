//! What Kuma was seen to drop, to break on or to give away without a word, by name: no golden case gives it that.
//!
//! Each was seen by running Kuma 2.9.13, 2.13.10, 2.14.3 and the unreleased 3.0; docs/targets/kuma.md tells of them.

use serde_json::Value;

use super::cases;
use sightline::yaml::read_documents;

/// An object of Kuma's that a case gives, and the version that it is for.
struct Given {
    case: String,
    /// Major and minor.
    version: (u32, u32),
    object: Value,
}

/// Every object of Kuma's in every golden case.
fn given() -> Vec<Given> {
    let all: Vec<Given> = cases()
        .iter()
        .flat_map(|case| given_by(&case.folder, &case.name))
        .collect();
    assert!(all.len() >= 80, "only {} objects of Kuma's are found", all.len());
    all
}

fn given_by(folder: &std::path::Path, case: &str) -> Vec<Given> {
    let text = std::fs::read_to_string(folder.join("out.yaml")).unwrap();
    let out = read_documents(&text).unwrap().remove(0);
    let all = |name: &str| out[name].as_array().cloned().unwrap_or_default();
    let versions: Vec<Value> = all("statuses")
        .iter()
        .filter_map(|status| status.pointer("/status/kumaVersion").cloned())
        .collect();
    let is_kumas = |object: &Value| object["apiVersion"] == "kuma.io/v1alpha1";
    let objects: Vec<Value> = all("objects").into_iter().filter(is_kumas).collect();
    if objects.is_empty() {
        return Vec::new();
    }
    let [version] = versions.as_slice() else {
        panic!("{case}: of which Kuma are the objects? {versions:?}");
    };
    let (major, minor) = version.as_str().unwrap().split_once('.').unwrap();
    let version = (major.parse().unwrap(), minor.parse().unwrap());
    let given = |object| Given {
        case: case.to_owned(),
        version,
        object,
    };
    objects.into_iter().map(given).collect()
}

impl Given {
    fn is(&self, kind: &str) -> bool {
        self.object["kind"] == kind
    }

    fn is_policy(&self) -> bool {
        ["MeshAccessLog", "MeshTrace", "MeshMetric"]
            .iter()
            .any(|kind| self.is(kind))
    }

    fn has(&self, field: &str) -> bool {
        self.object["spec"].get(field).is_some()
    }

    /// The defaults of the policy: that of the whole, or those of its parts.
    fn defaults(&self) -> Vec<&Value> {
        let spec = &self.object["spec"];
        let parts = ["to", "from", "rules"].iter().filter_map(|part| spec[part].as_array());
        parts
            .flatten()
            .chain([spec])
            .filter_map(|part| part.get("default"))
            .collect()
    }

    /// Every backend that the policy holds.
    fn backends(&self) -> Vec<&Value> {
        let lists = self
            .defaults()
            .into_iter()
            .filter_map(|default| default["backends"].as_array());
        lists.flatten().collect()
    }

    fn otlp(&self) -> Vec<&Value> {
        let of_backend = |backend: &&Value| backend["type"] == "OpenTelemetry";
        self.backends()
            .into_iter()
            .filter(of_backend)
            .map(|backend| &backend["openTelemetry"])
            .collect()
    }

    #[track_caller]
    fn holds(&self, truth: bool) {
        assert!(truth, "{}, Kuma {:?}: {}", self.case, self.version, self.object);
    }
}

fn policies() -> impl Iterator<Item = Given> {
    given().into_iter().filter(Given::is_policy)
}

fn access_logs() -> impl Iterator<Item = Given> {
    given().into_iter().filter(|given| given.is("MeshAccessLog"))
}

#[test]
fn from_is_written_for_2_9_alone_as_3_0_drops_it() {
    for log in access_logs() {
        log.holds(log.has("from") <= (log.version == (2, 9)));
        log.holds(log.has("rules") <= (log.version >= (2, 10)));
    }
}

#[test]
fn one_policy_never_has_two_of_to_from_and_rules() {
    for log in access_logs() {
        let sides = ["to", "from", "rules"].iter().filter(|side| log.has(side)).count();
        log.holds(sides == 1);
    }
}

#[test]
fn rules_match_nothing_as_old_versions_make_of_them_rules_for_all_traffic() {
    for log in access_logs() {
        let rules = log.object["spec"]["rules"].as_array().into_iter().flatten();
        for rule in rules {
            log.holds(rule.get("matches").is_none());
        }
    }
}

/// Up to 2.13 a backend without its block is taken, and Envoy then refuses the whole listener.
#[test]
fn every_backend_has_the_block_of_its_type() {
    for policy in policies() {
        for backend in policy.backends() {
            let type_ = backend["type"].as_str().unwrap();
            let block = match type_ {
                "OpenTelemetry" => "openTelemetry".to_owned(),
                other => other.to_lowercase(),
            };
            policy.holds(backend[&block].is_object());
        }
    }
}

#[test]
fn a_list_of_backends_is_always_there_and_traces_have_one_at_most() {
    for policy in policies().filter(|policy| !policy.is("MeshMetric")) {
        for default in policy.defaults() {
            policy.holds(default["backends"].is_array());
        }
        policy.holds(!policy.is("MeshTrace") || policy.backends().len() <= 1);
    }
}

#[test]
fn a_receiver_is_named_in_one_way_only_and_an_endpoint_has_no_scheme() {
    for policy in policies() {
        for otlp in policy.otlp() {
            let endpoint = otlp.get("endpoint").and_then(Value::as_str);
            policy.holds(endpoint.is_some() == (policy.version < (2, 14)));
            policy.holds(endpoint.is_none_or(|endpoint| !endpoint.contains("://")));
            // The kind, and labels: a name is refused.
            let reference = otlp.get("backendRef");
            policy.holds(reference.is_some() == (policy.version >= (2, 14)));
            policy.holds(reference.is_none_or(|of| of["labels"].is_object() && of.get("name").is_none()));
        }
    }
}

#[test]
fn workloads_are_a_mesh_subset_up_to_2_9_and_a_dataplane_later() {
    for policy in policies() {
        let kind = policy.object["spec"]["targetRef"]["kind"].as_str().unwrap();
        let of_workloads = if policy.version == (2, 9) {
            "MeshSubset"
        } else {
            "Dataplane"
        };
        policy.holds(["Mesh", of_workloads].contains(&kind));
    }
}

#[test]
fn everything_stands_in_the_system_namespace_where_webhooks_look_and_names_its_mesh() {
    let is_namespaced = |given: &Given| !["Mesh", "TrafficLog", "TrafficTrace"].iter().any(|kind| given.is(kind));
    for object in given().into_iter().filter(is_namespaced) {
        object.holds(object.object["metadata"]["namespace"] == "kuma-system");
        object.holds(object.object["metadata"]["labels"]["kuma.io/mesh"].is_string());
    }
}

#[test]
fn sampling_is_always_written_as_kumas_default_is_every_request() {
    for trace in given().into_iter().filter(|given| given.is("MeshTrace")) {
        let sampling = &trace.object["spec"]["default"]["sampling"];
        for share in ["overall", "client", "random"] {
            let share = &sampling[share];
            // A number with a point is refused, a text with one is taken.
            trace.holds(share.is_u64() || share.as_str().is_some_and(|text| text.contains('.')));
        }
    }
    let mesh_traces: Vec<Given> = given().into_iter().filter(|given| given.is("Mesh")).collect();
    for mesh in &mesh_traces {
        let ours = |backend: &&Value| backend["name"].as_str().unwrap().starts_with("sightline-");
        let backends = mesh.object.pointer("/spec/tracing/backends").and_then(Value::as_array);
        for backend in backends.into_iter().flatten().filter(ours) {
            mesh.holds(backend["sampling"].is_number());
        }
    }
}

#[test]
fn a_prometheus_backend_has_a_port_and_a_path_as_2_9_has_no_defaults() {
    for metric in given().into_iter().filter(|given| given.is("MeshMetric")) {
        for backend in metric.object["spec"]["default"]["backends"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let prometheus = &backend["prometheus"];
            metric.holds(prometheus.is_null() || (prometheus["port"].is_u64() && prometheus["path"].is_string()));
        }
    }
}

#[test]
fn what_was_before_policies_is_never_written_for_3_0_which_drops_it() {
    for legacy in given().into_iter().filter(|given| given.version >= (3, 0)) {
        legacy.holds(
            !["Mesh", "TrafficLog", "TrafficTrace"]
                .iter()
                .any(|kind| legacy.is(kind)),
        );
    }
}

#[test]
fn receivers_are_objects_from_2_14_on_and_their_spec_wins_over_the_environment() {
    for receiver in given().into_iter().filter(|given| given.is("MeshOpenTelemetryBackend")) {
        receiver.holds(receiver.version >= (2, 14));
        receiver.holds(receiver.object["spec"]["env"]["precedence"] == "ExplicitFirst");
    }
}

#[test]
fn paths_of_files_are_absolute() {
    for log in access_logs() {
        for backend in log.backends().into_iter().filter(|backend| backend["type"] == "File") {
            log.holds(backend["file"]["path"].as_str().unwrap().starts_with('/'));
        }
    }
}
