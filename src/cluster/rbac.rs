//! What the operator may do: one table, from which `config/rbac` and the rules of the chart are generated.

use clap::Args;
use serde_json::{Value, json};

use super::hash_key::SECRET_NAME;
use super::lease::LEASE_NAME;
use crate::yaml::{self, YamlError};

/// Where a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the whole cluster.
    Cluster,
    /// In the whole cluster, for those who want the feature: the chart gives it only when asked.
    ClusterFor(Feature),
    /// In the operator's own namespace.
    Own,
    /// In the namespace of an Istio control plane.
    Istio,
    /// In the system namespace of a Kuma control plane.
    Kuma,
    /// In the namespace of Kmesh's daemons.
    Kmesh,
    /// In a namespace with a collector of ours.
    Collector,
    /// In a namespace with agents that Sightline restarts, and with what they read.
    Agents,
    /// In a namespace whose workloads get environment.
    Inject,
    /// In a namespace whose workloads get headers or certificates from its Secrets as well.
    InjectSecrets,
}

/// What needs more rights than the rest, and what the rest goes without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// The oldest proxy is seen, not concluded.
    ProxyVersions,
    /// Modules that report interface traffic.
    WasmPlugins,
    /// Proxies of Kuma's that refuse what they are sent.
    KumaInsights,
    /// prometheus-operator's monitors.
    Monitors,
    /// What Kuma 2.x had before policies.
    KumaLegacy,
    /// Collectors that OpenTelemetry's operator runs.
    Collector,
}

impl Feature {
    /// Every feature, in the order of the chart's values.
    pub const ALL: [Self; 6] = [
        Self::ProxyVersions,
        Self::WasmPlugins,
        Self::KumaInsights,
        Self::Monitors,
        Self::KumaLegacy,
        Self::Collector,
    ];

    /// Its name in the chart's values.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProxyVersions => "proxyVersions",
            Self::WasmPlugins => "wasmPlugins",
            Self::KumaInsights => "kumaInsights",
            Self::Monitors => "monitors",
            Self::KumaLegacy => "kumaLegacy",
            Self::Collector => "collector",
        }
    }

    /// What it gives, what it costs, and what happens without it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ProxyVersions => {
                "Formats are checked for the oldest proxy that runs. Needs to read Pods in the whole cluster; without it \
                 the oldest proxy is taken to be one minor version behind the oldest istiod."
            }
            Self::WasmPlugins => {
                "spec.interfaceTraffic.wasmPlugin of a mesh. Needs to write WasmPlugins, which is to load code into \
                 proxies, in the whole cluster; without it a mesh that asks for it says Forbidden."
            }
            Self::KumaInsights => {
                "Proxies of Kuma's that refuse their listeners are told in status. Needs to read DataplaneInsights in the \
                 whole cluster; without it Programmed says that the objects stand, and not what proxies make of them."
            }
            Self::Monitors => {
                "Entries of spec.metrics.exports that are objects of prometheus-operator. Needs to write PodMonitors, \
                 ServiceMonitors, ScrapeConfigs and PrometheusRules in the whole cluster; without it a mesh that asks for one says Forbidden."
            }
            Self::KumaLegacy => {
                "spec.mesh.kuma.legacy of a mesh. Needs to patch the Mesh of Kuma 2.x, and to write its TrafficLogs and \
                 TrafficTraces, in the whole cluster; without it a mesh that asks for it says Forbidden."
            }
            Self::Collector => {
                "spec.collector of a mesh as an object of OpenTelemetry's operator. Needs to write OpenTelemetryCollectors in \
                 the whole cluster; without it a collector is a workload of ours, in a namespace of namespaces.collectors."
            }
        }
    }
}

/// One rule, and why it is needed.
pub struct Rule {
    /// Where.
    pub place: Place,
    /// API group.
    pub group: &'static str,
    /// Resources.
    pub resources: &'static [&'static str],
    /// Only these objects; empty: all.
    pub names: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

/// Kinds of workload that are restarted.
const WORKLOADS: &[&str] = &["deployments", "daemonsets", "statefulsets"];

/// The table.
pub const RULES: &[Rule] = &[
    Rule {
        place: Place::Cluster,
        group: "sightline.dev",
        resources: &["observabilitymeshes", "trafficlogs", "tracingbackends"],
        names: &[],
        verbs: &["list", "watch"],
        why: "to read what users want",
    },
    Rule {
        place: Place::Cluster,
        group: "sightline.dev",
        resources: &["trafficlogs", "tracingbackends"],
        names: &[],
        verbs: &["get"],
        why: "a Telemetry is made only for policies that are still there",
    },
    Rule {
        place: Place::Cluster,
        group: "sightline.dev",
        resources: &["observabilitymeshes"],
        names: &[],
        verbs: &["patch"],
        why: "to set and take away the finalizer of a mesh",
    },
    Rule {
        place: Place::Cluster,
        group: "sightline.dev",
        resources: &[
            "observabilitymeshes/status",
            "trafficlogs/status",
            "tracingbackends/status",
        ],
        names: &[],
        verbs: &["patch"],
        why: "to tell users how it went",
    },
    Rule {
        place: Place::Cluster,
        group: "",
        resources: &["namespaces", "services"],
        names: &[],
        verbs: &["list", "watch"],
        why: "labels of namespaces say which mesh serves them; a backend's Service has to exist",
    },
    // Pods cannot be allowed by label, so this is broader than what is asked for: those with a proxy of Istio, of which
    // name and image are kept. Without it formats are checked for proxies one minor version behind the oldest istiod.
    Rule {
        place: Place::ClusterFor(Feature::ProxyVersions),
        group: "",
        resources: &["pods"],
        names: &[],
        verbs: &["list", "watch"],
        why: "images of Istio's proxies tell the oldest that formats are checked for; without this rule it is concluded from istiod's version",
    },
    Rule {
        place: Place::Cluster,
        group: "telemetry.istio.io",
        resources: &["telemetries"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "the objects that policies become",
    },
    Rule {
        place: Place::ClusterFor(Feature::WasmPlugins),
        group: "extensions.istio.io",
        resources: &["wasmplugins"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "the modules that report interface traffic",
    },
    Rule {
        place: Place::ClusterFor(Feature::KumaInsights),
        group: "kuma.io",
        resources: &["dataplaneinsights"],
        names: &[],
        verbs: &["list", "watch"],
        why: "a proxy of Kuma's that refuses its listeners keeps the old ones, and only its insight tells",
    },
    Rule {
        place: Place::ClusterFor(Feature::Monitors),
        group: "monitoring.coreos.com",
        resources: &["podmonitors", "servicemonitors", "scrapeconfigs", "prometheusrules"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "the objects that exports of metrics become",
    },
    Rule {
        place: Place::ClusterFor(Feature::Monitors),
        group: "monitoring.coreos.com",
        resources: &["prometheuses"],
        names: &[],
        verbs: &["list", "watch"],
        why: "what no Prometheus selects is read by nobody",
    },
    Rule {
        place: Place::ClusterFor(Feature::KumaLegacy),
        group: "kuma.io",
        resources: &["meshes"],
        names: &[],
        verbs: &["list", "watch", "patch"],
        why: "with spec.mesh.kuma.legacy: our backends in the logging, tracing and metrics of a Mesh; nothing else of it is changed",
    },
    Rule {
        place: Place::ClusterFor(Feature::KumaLegacy),
        group: "kuma.io",
        resources: &["trafficlogs", "traffictraces"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "with spec.mesh.kuma.legacy: the objects of Kuma 2.x that policies become",
    },
    Rule {
        place: Place::ClusterFor(Feature::Collector),
        group: "opentelemetry.io",
        resources: &["opentelemetrycollectors"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "a collector that OpenTelemetry's operator runs",
    },
    Rule {
        place: Place::Cluster,
        group: "gateway.networking.k8s.io",
        resources: &["gateways"],
        names: &[],
        verbs: &["list", "watch"],
        why: "a Gateway that targetRefs names has to exist",
    },
    Rule {
        place: Place::Cluster,
        group: "networking.istio.io",
        resources: &["serviceentries"],
        names: &[],
        verbs: &["list", "watch"],
        why: "a ServiceEntry that targetRefs names has to exist",
    },
    Rule {
        place: Place::Cluster,
        group: "events.k8s.io",
        resources: &["events"],
        names: &[],
        verbs: &["create", "patch"],
        why: "to tell what happened",
    },
    Rule {
        place: Place::Own,
        group: "",
        resources: &["secrets"],
        names: &[SECRET_NAME],
        verbs: &["get"],
        why: "the key under which Secret values enter hashes",
    },
    Rule {
        place: Place::Own,
        group: "",
        resources: &["secrets"],
        names: &[],
        verbs: &["create"],
        why: "to make that key once (create cannot be limited to a name)",
    },
    Rule {
        place: Place::Own,
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &[LEASE_NAME],
        verbs: &["get", "update"],
        why: "of several replicas the one that holds the lease writes",
    },
    Rule {
        place: Place::Own,
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &[],
        verbs: &["create"],
        why: "to make that lease once (create cannot be limited to a name)",
    },
    Rule {
        place: Place::Istio,
        group: "",
        resources: &["pods"],
        names: &[],
        verbs: &["list", "watch"],
        why: "istiod's pods tell whether they read our ConfigMap",
    },
    Rule {
        place: Place::Istio,
        group: "",
        resources: &["configmaps"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "MeshConfig is read, our own map is written, and in mode Patch our entries in the map of somebody else",
    },
    Rule {
        place: Place::Kuma,
        group: "",
        resources: &["pods"],
        names: &[],
        verbs: &["list", "watch"],
        why: "the image of Kuma's control plane tells its version: each reads different fields",
    },
    Rule {
        place: Place::Kuma,
        group: "kuma.io",
        resources: &[
            "meshaccesslogs",
            "meshtraces",
            "meshmetrics",
            "meshopentelemetrybackends",
        ],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "the objects that policies become",
    },
    Rule {
        place: Place::Kmesh,
        group: "",
        resources: &["pods"],
        names: &[],
        verbs: &["list", "watch"],
        why: "a daemon forgets its switches when it restarts",
    },
    // A websocket begins with a GET; since Kubernetes 1.35 it needs the right to create as well.
    Rule {
        place: Place::Kmesh,
        group: "",
        resources: &["pods/portforward"],
        names: &[],
        verbs: &["get", "create"],
        why: "a daemon's switches are behind HTTP on the loopback of its pod, and nowhere else (pods/portforward cannot be limited to a port)",
    },
    Rule {
        place: Place::Collector,
        group: "",
        resources: &["configmaps"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "the configuration of a collector of ours",
    },
    // Services are read in the whole cluster anyway.
    Rule {
        place: Place::Collector,
        group: "",
        resources: &["services"],
        names: &[],
        verbs: &["get", "create", "patch", "delete"],
        why: "where a collector of ours is reached",
    },
    Rule {
        place: Place::Collector,
        group: "apps",
        resources: &["deployments", "statefulsets"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "what runs a collector of ours",
    },
    Rule {
        place: Place::Agents,
        group: "",
        resources: &["configmaps"],
        names: &[],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "grpc-logging is written (and deleted, where we made it), and what agents read is hashed",
    },
    Rule {
        place: Place::Agents,
        group: "",
        resources: &["secrets"],
        names: &[],
        verbs: &["list", "watch"],
        why: "credentials for grpc-logging, and what agents read is hashed; only with the label sightline.dev/shared",
    },
    Rule {
        place: Place::Agents,
        group: "apps",
        resources: WORKLOADS,
        names: &[],
        verbs: &["list", "watch", "patch"],
        why: "agents are restarted",
    },
    Rule {
        place: Place::Agents,
        group: "apps",
        resources: &["replicasets", "controllerrevisions"],
        names: &[],
        verbs: &["list", "watch"],
        why: "an agent whose pods are younger than what they read is in sync, and is not restarted when it is named",
    },
    Rule {
        place: Place::Inject,
        group: "apps",
        resources: WORKLOADS,
        names: &[],
        verbs: &["list", "watch", "patch"],
        why: "workloads get environment",
    },
    Rule {
        place: Place::InjectSecrets,
        group: "",
        resources: &["configmaps", "secrets"],
        names: &[],
        verbs: &["list", "watch"],
        why: "headers and certificates that workloads get have to be there, and a change of them is a restart; only with the label sightline.dev/shared",
    },
];

/// Namespaces that Roles are made for.
#[derive(Clone, Debug, Args)]
pub struct RbacArgs {
    /// Namespace of the operator.
    #[arg(long, default_value = "sightline-system")]
    pub namespace: String,
    /// Namespace of an Istio control plane. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub istio_namespace: Vec<String>,
    /// System namespace of a Kuma control plane. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub kuma_namespace: Vec<String>,
    /// Namespace of Kmesh's daemons. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub kmesh_namespace: Vec<String>,
    /// Namespace that a collector of ours runs in. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub collector_namespace: Vec<String>,
    /// Namespace with agents that are restarted, with the ConfigMaps and Secrets that they read. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub agent_namespace: Vec<String>,
    /// Namespace whose workloads get environment. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub inject_namespace: Vec<String>,
    /// Namespace whose workloads get headers or certificates from its Secrets and ConfigMaps as well. Repeatable.
    #[arg(long, value_name = "NAMESPACE")]
    pub inject_secrets_namespace: Vec<String>,
}

const NAME: &str = "sightline";

/// The manifests as YAML documents, with the reason of each rule as a comment.
pub fn manifests(args: &RbacArgs) -> Result<String, YamlError> {
    let labels = json!({"app.kubernetes.io/name": NAME});
    let mut out = String::from("# Generated by `sightline rbac`; do not edit.\n");
    let mut add = |object: Value, reasons: Vec<String>| -> Result<(), YamlError> {
        out.push_str("---\n");
        for reason in reasons {
            out.push_str("# ");
            out.push_str(&reason);
            out.push('\n');
        }
        out.push_str(&yaml::to_yaml(&object)?);
        Ok(())
    };
    let own = &args.namespace;
    add(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": own, "labels": labels}}),
        vec![],
    )?;
    add(
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": own, "labels": labels}}),
        vec![],
    )?;
    let has_collector = !args.collector_namespace.is_empty();
    let has_kuma = !args.kuma_namespace.is_empty();
    let in_cluster = |place| match place {
        Place::ClusterFor(Feature::KumaInsights | Feature::KumaLegacy) => has_kuma,
        Place::ClusterFor(Feature::Collector) => has_collector,
        Place::ClusterFor(Feature::ProxyVersions | Feature::WasmPlugins | Feature::Monitors) => true,
        place => place == Place::Cluster,
    };
    let (rules, reasons) = rules_where(in_cluster);
    add(
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": NAME, "labels": labels}, "rules": rules}),
        reasons,
    )?;
    add(binding("ClusterRoleBinding", NAME, None, own), vec![])?;
    let places = [
        (Place::Own, "own", std::slice::from_ref(own)),
        (Place::Istio, "istio", &args.istio_namespace[..]),
        (Place::Kuma, "kuma", &args.kuma_namespace[..]),
        (Place::Kmesh, "kmesh", &args.kmesh_namespace[..]),
        (Place::Collector, "collectors", &args.collector_namespace[..]),
        (Place::Agents, "agents", &args.agent_namespace[..]),
        (Place::Inject, "inject", &args.inject_namespace[..]),
        (
            Place::InjectSecrets,
            "inject-secrets",
            &args.inject_secrets_namespace[..],
        ),
    ];
    for (place, suffix, namespaces) in places {
        for namespace in namespaces {
            let name = format!("{NAME}-{suffix}");
            let (rules, reasons) = rules_where(|of| of == place);
            add(
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": namespace, "labels": labels}, "rules": rules}),
                reasons,
            )?;
            add(binding("RoleBinding", &name, Some(namespace), own), vec![])?;
        }
    }
    Ok(out)
}

/// The rules of a place as YAML, each below its reason: what the chart puts into a role.
pub fn rules_yaml(place: Place) -> Result<String, YamlError> {
    let rules = RULES.iter().filter(|rule| rule.place == place);
    rules
        .map(|rule| Ok(format!("# {}\n{}", reason(rule), yaml::to_yaml(&json!([value(rule)]))?)))
        .collect()
}

fn rules_where(is_meant: impl Fn(Place) -> bool) -> (Vec<Value>, Vec<String>) {
    let rules = RULES.iter().filter(|rule| is_meant(rule.place));
    rules.map(|rule| (value(rule), reason(rule))).unzip()
}

fn value(rule: &Rule) -> Value {
    let mut value = json!({"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs});
    if let Some(map) = value.as_object_mut().filter(|_| !rule.names.is_empty()) {
        map.insert("resourceNames".into(), json!(rule.names));
    }
    value
}

fn reason(rule: &Rule) -> String {
    format!("{}: {}", rule.resources.join(", "), rule.why)
}

fn binding(kind: &str, role: &str, namespace: Option<&str>, own: &str) -> Value {
    let role_kind = if kind == "ClusterRoleBinding" {
        "ClusterRole"
    } else {
        "Role"
    };
    let mut metadata = json!({"name": role, "labels": {"app.kubernetes.io/name": NAME}});
    if let (Some(map), Some(namespace)) = (metadata.as_object_mut(), namespace) {
        map.insert("namespace".into(), Value::from(namespace));
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": own}],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::snapshot::Kind;

    /// Else the operator without the feature would never be ready, or ready without what it cannot do without.
    #[test]
    fn the_kinds_that_nothing_waits_for_are_those_that_features_need() {
        let is_whole = |kind: &Kind| kind.is_watched_everywhere() || kind.is_watched_as_a_whole();
        let everywhere = || Kind::ALL.into_iter().filter(is_whole);
        let optional: BTreeSet<&str> = everywhere()
            .filter(|kind| kind.is_of_a_feature())
            .map(|kind| kind.names().2)
            .collect();
        let of_features: BTreeSet<&str> = RULES
            .iter()
            .filter(|rule| matches!(rule.place, Place::ClusterFor(_)))
            .flat_map(|rule| rule.resources.iter().copied())
            .collect();
        assert_eq!(optional, of_features);
    }

    #[test]
    fn every_feature_has_a_rule() {
        for feature in Feature::ALL {
            let has_rule = RULES.iter().any(|rule| rule.place == Place::ClusterFor(feature));
            assert!(has_rule, "{}", feature.name());
        }
    }
}
