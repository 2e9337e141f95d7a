//! Each leaf of the three specs does something: two worlds that differ in nothing but that leaf differ in what is written
//! or restarted, or in a message that names the leaf.
//!
//! The leaves come from the schema: one without a row fails the test, and so does a row whose leaf is gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sightline::conditions::{ConditionType, Reason, Truth};
use sightline::crds::custom_resource_definitions;
use sightline::yaml::read_documents;

use super::Outcome;

/// Leaves that no pair of worlds can prove, and why.
const NOT_PROVEN_HERE: &[(&str, &str, &str)] = &[
    (
        "ObservabilityMesh",
        "rollout.maxConcurrent",
        "a simulated rollout ends at once; src/rollout/governor.rs tests it",
    ),
    (
        "ObservabilityMesh",
        "rollout.minInterval",
        "the simulation jumps over every wait; src/rollout/governor.rs tests it",
    ),
    (
        "ObservabilityMesh",
        "rollout.quietPeriod",
        "the simulation jumps over every wait; src/rollout/governor.rs tests it",
    ),
    (
        "ObservabilityMesh",
        "rollout.maxDelay",
        "the simulation jumps over every wait; src/rollout/governor.rs tests it",
    ),
    (
        "ObservabilityMesh",
        "rollout.progressDeadline",
        "a simulated rollout ends at once; src/rollout/governor.rs and tests/governor.rs test it",
    ),
    (
        "ObservabilityMesh",
        "rollout.onFailure",
        "a simulated rollout never fails; src/rollout/governor.rs and tests/governor.rs test it",
    ),
    (
        "TracingBackend",
        "inject[].name",
        "a key for merging; it stands nowhere else",
    ),
    (
        "TracingBackend",
        "targetRefs[].group",
        "given or not, it is that of the kind: another is refused",
    ),
    (
        "TrafficLog",
        "targetRefs[].group",
        "given or not, it is that of the kind: another is refused",
    ),
];

/// Leaves that the API server speaks of: one of the two worlds is refused. Elsewhere that is a slip in the row.
const REFUSED: &[&str] = &["interfaceTraffic.allowPlaintextCredentials"];

/// A leaf, and the spec's parts of two worlds that differ in it alone, each merged into the spec of the world below. The
/// member that belongs to a discriminator goes with it.
const TRAFFIC_LOG: &str = r"
meshRef.name                  | {meshRef: {name: default}} | {meshRef: {name: none}}
selector.matchLabels          | {selector: {matchLabels: {app: a}}} | {selector: {matchLabels: {app: b}}}
targetRefs[].kind             | {targetRefs: [{kind: Gateway, name: a}]} | {targetRefs: [{kind: Service, name: a}]}
targetRefs[].name             | {targetRefs: [{kind: Gateway, name: a}]} | {targetRefs: [{kind: Gateway, name: b}]}
direction                     | {direction: Inbound} | {direction: Outbound}
backends[]                    | {backends: [stdout]} | {backends: [file]}
disabled                      | {disabled: false} | {disabled: true}
priority                      | {priority: 1, format: {preset: Envoy}} | {priority: -1, format: {preset: Envoy}}
filter.type                   | {filter: {type: Match, match: {minStatus: 400}}} | {filter: {type: Expression, expression: response.code > 1}}
filter.expression             | {filter: {type: Expression, expression: response.code > 1}} | {filter: {type: Expression, expression: response.code > 2}}
filter.match.minStatus        | {filter: {type: Match, match: {minStatus: 400}}} | {filter: {type: Match, match: {minStatus: 500}}}
filter.match.minDuration      | {filter: {type: Match, match: {minDuration: 1s}}} | {filter: {type: Match, match: {minDuration: 2s}}}
filter.match.methods[]        | {filter: {type: Match, match: {methods: [GET]}}} | {filter: {type: Match, match: {methods: [PUT]}}}
filter.match.hosts[]          | {filter: {type: Match, match: {hosts: [a.example]}}} | {filter: {type: Match, match: {hosts: [b.example]}}}
filter.match.pathPrefixes[]   | {filter: {type: Match, match: {pathPrefixes: [/a]}}} | {filter: {type: Match, match: {pathPrefixes: [/b]}}}
filter.match.responseFlags[]  | {filter: {type: Match, match: {responseFlags: [UF]}}} | {filter: {type: Match, match: {responseFlags: [UH]}}}
filter.match.includeTCP       | {filter: {type: Match, match: {minStatus: 400, includeTCP: false}}} | {filter: {type: Match, match: {minStatus: 400, includeTCP: true}}}
";

const TRACING_BACKEND: &str = r#"
meshRef.name                      | {meshRef: {name: default}} | {meshRef: {name: none}}
selector.matchLabels              | {selector: {matchLabels: {app: a}}} | {selector: {matchLabels: {app: b}}}
targetRefs[].kind                 | {targetRefs: [{kind: Gateway, name: a}]} | {targetRefs: [{kind: ServiceEntry, name: a}]}
targetRefs[].name                 | {targetRefs: [{kind: Gateway, name: a}]} | {targetRefs: [{kind: Gateway, name: b}]}
sampling.percentage               | {sampling: {percentage: "1"}} | {sampling: {percentage: "2.5"}}
destination.type                  | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: Datadog, datadog: {endpoint: {host: a.shop.svc, port: 1001}}}}
destination.meshBackend.name      | {destination: {type: MeshBackend, meshBackend: {name: tempo}}} | {destination: {type: MeshBackend, meshBackend: {name: other}}}
destination.otlp.endpoint.host    | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: OTLP, otlp: {endpoint: {host: b.shop.svc, port: 1001}}}}
destination.otlp.endpoint.port    | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1002}}}}
destination.otlp.protocol         | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, protocol: GRPC}}} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, protocol: HTTP}}}
destination.otlp.path             | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, protocol: HTTP, path: /a}}} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, protocol: HTTP, path: /b}}}
destination.zipkin.endpoint.host  | {destination: {type: Zipkin, zipkin: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: Zipkin, zipkin: {endpoint: {host: b.shop.svc, port: 1001}}}}
destination.zipkin.endpoint.port  | {destination: {type: Zipkin, zipkin: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: Zipkin, zipkin: {endpoint: {host: a.shop.svc, port: 1002}}}}
destination.zipkin.path           | {destination: {type: Zipkin, zipkin: {endpoint: {host: a.shop.svc, port: 1001}, path: /a}}} | {destination: {type: Zipkin, zipkin: {endpoint: {host: a.shop.svc, port: 1001}, path: /b}}}
destination.datadog.endpoint.host | {destination: {type: Datadog, datadog: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: Datadog, datadog: {endpoint: {host: b.shop.svc, port: 1001}}}}
destination.datadog.endpoint.port | {destination: {type: Datadog, datadog: {endpoint: {host: a.shop.svc, port: 1001}}}} | {destination: {type: Datadog, datadog: {endpoint: {host: a.shop.svc, port: 1002}}}}
inject[].containers[]             | {inject: [{name: x, dialect: InterLink, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {inject: [{name: x, dialect: InterLink, workloads: {selector: {matchLabels: {app: a}}}, containers: [two]}]}
inject[].workloads.kinds[] | {inject: [{name: x, dialect: InterLink, workloads: {kinds: [Deployment], selector: {matchLabels: {app: a}}}, containers: [one]}]} | {inject: [{name: x, dialect: InterLink, workloads: {kinds: [DaemonSet], selector: {matchLabels: {app: a}}}, containers: [one]}]}
inject[].workloads.selector.matchLabels | {inject: [{name: x, dialect: InterLink, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {inject: [{name: x, dialect: InterLink, workloads: {selector: {matchLabels: {app: b}}}, containers: [one]}]}
inject[].dialect | {inject: [{name: x, dialect: InterLink, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
inject[].env[].name | {inject: [{name: x, dialect: Custom, workloads: {selector: {matchLabels: {app: a}}}, containers: [one], env: [{name: DD_ENV, value: a}]}]} | {inject: [{name: x, dialect: Custom, workloads: {selector: {matchLabels: {app: a}}}, containers: [one], env: [{name: DD_SERVICE, value: a}]}]}
inject[].env[].value | {inject: [{name: x, dialect: Custom, workloads: {selector: {matchLabels: {app: a}}}, containers: [one], env: [{name: DD_ENV, value: a}]}]} | {inject: [{name: x, dialect: Custom, workloads: {selector: {matchLabels: {app: a}}}, containers: [one], env: [{name: DD_ENV, value: b}]}]}
"#;

const MESH: &str = r#"
mesh.type                          | {mesh: {type: Istio}} | {mesh: {type: None}}
mesh.istio.namespace               | {mesh: {istio: {namespace: istio-system}}} | {mesh: {istio: {namespace: elsewhere}}}
mesh.istio.revisions[]             | {mesh: {istio: {revisions: [default]}}} | {mesh: {istio: {revisions: [canary]}}}
mesh.istio.meshConfig.mode         | {mesh: {istio: {meshConfig: {mode: Shared}}}} | {mesh: {istio: {meshConfig: {mode: Verify}}}}
mesh.istio.meshConfig.configMapName | {mesh: {istio: {meshConfig: {configMapName: a}}}} | {mesh: {istio: {meshConfig: {configMapName: b}}}}
mesh.istio.proxyVersions.minimum   | {mesh: {istio: {proxyVersions: {minimum: "1.36"}}}} | {mesh: {istio: {proxyVersions: {minimum: "1.38"}}}}
mesh.kuma.name                     | {mesh: {type: Kuma, kuma: {name: a}}} | {mesh: {type: Kuma, kuma: {name: b}}}
mesh.kuma.systemNamespace          | {mesh: {type: Kuma, kuma: {systemNamespace: a}}} | {mesh: {type: Kuma, kuma: {systemNamespace: b}}}
mesh.kmesh.namespace               | {mesh: {type: Kmesh, kmesh: {namespace: a}}} | {mesh: {type: Kmesh, kmesh: {namespace: b}}}
mesh.kmesh.daemonSet               | {mesh: {type: Kmesh, kmesh: {daemonSet: a}}} | {mesh: {type: Kmesh, kmesh: {daemonSet: b}}}
metrics.kmesh.workload             | {mesh: {type: Kmesh}, metrics: {kmesh: {workload: true}}} | {mesh: {type: Kmesh}, metrics: {kmesh: {workload: false}}}
metrics.kmesh.connection           | {mesh: {type: Kmesh}, metrics: {kmesh: {connection: true}}} | {mesh: {type: Kmesh}, metrics: {kmesh: {connection: false}}}
mesh.kuma.version                  | {mesh: {type: Kuma, kuma: {version: "2.13"}}} | {mesh: {type: Kuma, kuma: {version: "2.14"}}}
mesh.kuma.legacy                   | {mesh: {type: Kuma, kuma: {version: "2.13"}}} | {mesh: {type: Kuma, kuma: {version: "2.13", legacy: true}}}
collector.namespace | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}} | {"collector": {"namespace": "shop", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}}
collector.name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "name": "a"}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "name": "b"}}
collector.mode | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}} | {"collector": {"namespace": "obs", "mode": "OpenTelemetryCollector", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}}
collector.version | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "version": "0.155.0"}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "version": "0.140.0"}}
collector.image | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "image": "a/b:1"}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "image": "a/b:2"}}
collector.replicas | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "replicas": 1}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "replicas": 2}}
collector.receivers[] | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "receivers": ["OTLP"]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "receivers": ["Zipkin"]}}
collector.memoryLimiter.limitMiB | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "memoryLimiter": {"limitMiB": 512}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "memoryLimiter": {"limitMiB": 1024}}}
collector.memoryLimiter.spikeMiB | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "memoryLimiter": {"spikeMiB": 64}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "memoryLimiter": {"spikeMiB": 65}}}
collector.batch.size | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "batch": {"size": 1}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "batch": {"size": 2}}}
collector.batch.timeout | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "batch": {"timeout": "1s"}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "batch": {"timeout": "2s"}}}
collector.sampling.percentage | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "sampling": {"percentage": "1"}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "sampling": {"percentage": "2"}}}
collector.volume.sizeGiB | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "volume": {"sizeGiB": 1}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "volume": {"sizeGiB": 2}}}
collector.volume.storageClassName | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "volume": {"storageClassName": "a"}}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}], "volume": {"storageClassName": "b"}}}
collector.exporters[].name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "f", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}}
collector.exporters[].type | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317"}}]}}
collector.exporters[].signals[] | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "signals": ["Logs"]}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "signals": ["Traces"]}]}}
collector.exporters[].elasticsearch.urls[] | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://a:1"]}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://b:1"]}}]}}
collector.exporters[].elasticsearch.mapping | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "mapping": "ECS"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "mapping": "OTel"}}]}}
collector.exporters[].elasticsearch.dataset | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "dataset": "a"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "dataset": "b"}}]}}
collector.exporters[].elasticsearch.dataStreamNamespace | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "dataStreamNamespace": "a"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "dataStreamNamespace": "b"}}]}}
collector.exporters[].elasticsearch.apiKey.secretKeyRef.name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "apiKey": {"secretKeyRef": {"name": "x", "key": "y"}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "apiKey": {"secretKeyRef": {"name": "z", "key": "y"}}}}]}}
collector.exporters[].tls.certificateAuthority.secretKeyRef.name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "tls": {"certificateAuthority": {"secretKeyRef": {"name": "x", "key": "y"}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "tls": {"certificateAuthority": {"secretKeyRef": {"name": "z", "key": "y"}}}}]}}
collector.exporters[].elasticsearch.basic.username.secretKeyRef.name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "y"}}, "password": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "z", "key": "y"}}, "password": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}}
collector.exporters[].elasticsearch.basic.password.secretKeyRef.name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "y"}}, "password": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "y"}}, "password": {"secretKeyRef": {"name": "z", "key": "y"}}}}}]}}
collector.exporters[].otlp.authorization.value.secretKeyRef.name | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "authorization": {"scheme": "ApiKey", "value": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "authorization": {"scheme": "ApiKey", "value": {"secretKeyRef": {"name": "z", "key": "y"}}}}}]}}
collector.exporters[].elasticsearch.apiKey.secretKeyRef.key | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "apiKey": {"secretKeyRef": {"name": "x", "key": "y"}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "apiKey": {"secretKeyRef": {"name": "x", "key": "z"}}}}]}}
collector.exporters[].tls.certificateAuthority.secretKeyRef.key | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "tls": {"certificateAuthority": {"secretKeyRef": {"name": "x", "key": "y"}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "tls": {"certificateAuthority": {"secretKeyRef": {"name": "x", "key": "z"}}}}]}}
collector.exporters[].elasticsearch.basic.username.secretKeyRef.key | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "y"}}, "password": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "z"}}, "password": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}}
collector.exporters[].elasticsearch.basic.password.secretKeyRef.key | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "y"}}, "password": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"], "basic": {"username": {"secretKeyRef": {"name": "x", "key": "y"}}, "password": {"secretKeyRef": {"name": "x", "key": "z"}}}}}]}}
collector.exporters[].otlp.authorization.value.secretKeyRef.key | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "authorization": {"scheme": "ApiKey", "value": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "authorization": {"scheme": "ApiKey", "value": {"secretKeyRef": {"name": "x", "key": "z"}}}}}]}}
collector.exporters[].otlp.authorization.scheme | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "authorization": {"scheme": "ApiKey", "value": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "authorization": {"scheme": "Bearer", "value": {"secretKeyRef": {"name": "x", "key": "y"}}}}}]}}
collector.exporters[].otlp.url | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://a:1"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://b:1"}}]}}
collector.exporters[].otlp.protocol | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "protocol": "GRPC"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "OTLP", "otlp": {"url": "http://e.obs:4317", "protocol": "HTTP"}}]}}
collector.exporters[].retry.initialInterval | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "retry": {"initialInterval": "1s"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "retry": {"initialInterval": "2s"}}]}}
collector.exporters[].retry.maxInterval | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "retry": {"maxInterval": "1m"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "retry": {"maxInterval": "2m"}}]}}
collector.exporters[].retry.maxElapsedTime | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "retry": {"maxElapsedTime": "1h"}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "retry": {"maxElapsedTime": "2h"}}]}}
collector.exporters[].queue.consumers | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "queue": {"consumers": 1}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "queue": {"consumers": 2}}]}}
collector.exporters[].queue.size | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "queue": {"size": 1}}]}} | {"collector": {"namespace": "obs", "mode": "Workload", "exporters": [{"name": "e", "type": "Elasticsearch", "elasticsearch": {"urls": ["http://e.obs:9200"]}, "queue": {"size": 2}}]}}
logging.backends[].tcp.endpoint.host | {mesh: {type: Kuma}, logging: {backends: [{name: stdout, type: TCP, tcp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {mesh: {type: Kuma}, logging: {backends: [{name: stdout, type: TCP, tcp: {endpoint: {host: b.obs.svc, port: 1001}}}]}}
logging.backends[].tcp.endpoint.port | {mesh: {type: Kuma}, logging: {backends: [{name: stdout, type: TCP, tcp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {mesh: {type: Kuma}, logging: {backends: [{name: stdout, type: TCP, tcp: {endpoint: {host: a.obs.svc, port: 1002}}}]}}
metrics.exports[].name | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: f, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}]}}
metrics.exports[].type | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:1/write"}}]}}
metrics.exports[].object.namespace | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: shop}, scrapeConfig: {}}]}}
metrics.exports[].object.name | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs, name: x}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs, name: z}, scrapeConfig: {}}]}}
metrics.exports[].object.form | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs, form: PrometheusOperator}, scrapeConfig: {}}]}}
metrics.exports[].object.labels | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs, labels: {a: x}}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs, labels: {a: z}}, scrapeConfig: {}}]}}
metrics.exports[].series.presets[] | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, series: {presets: [Istio]}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, series: {presets: [Wavefront]}, scrapeConfig: {}}]}}
metrics.exports[].series.names[] | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, series: {names: [a]}, scrapeConfig: {}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, series: {names: [b*]}, scrapeConfig: {}}]}}
metrics.exports[].podMonitor.port | {metrics: {exports: [{name: e, type: PodMonitor, object: {namespace: obs}, podMonitor: {port: Envoy}}]}} | {metrics: {exports: [{name: e, type: PodMonitor, object: {namespace: obs}, podMonitor: {port: Merged}}]}}
metrics.exports[].podMonitor.interval | {metrics: {exports: [{name: e, type: PodMonitor, object: {namespace: obs}, podMonitor: {interval: 1m}}]}} | {metrics: {exports: [{name: e, type: PodMonitor, object: {namespace: obs}, podMonitor: {interval: 2m}}]}}
metrics.exports[].serviceMonitor.interval | {metrics: {exports: [{name: e, type: ServiceMonitor, object: {namespace: obs}, serviceMonitor: {interval: 1m}}]}} | {metrics: {exports: [{name: e, type: ServiceMonitor, object: {namespace: obs}, serviceMonitor: {interval: 2m}}]}}
metrics.exports[].scrapeConfig.port | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {port: Envoy}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {port: Merged}}]}}
metrics.exports[].scrapeConfig.interval | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {interval: 1m}}]}} | {metrics: {exports: [{name: e, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {interval: 2m}}]}}
metrics.exports[].federation.source.host | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, federation: {source: {host: a.obs.svc, port: 9090}}}]}} | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, federation: {source: {host: b.obs.svc, port: 9090}}}]}}
metrics.exports[].federation.source.port | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, federation: {source: {host: a.obs.svc, port: 9090}}}]}} | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, federation: {source: {host: a.obs.svc, port: 9091}}}]}}
metrics.exports[].federation.interval | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, federation: {source: {host: a.obs.svc, port: 9090}, interval: 1m}}]}} | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, federation: {source: {host: a.obs.svc, port: 9090}, interval: 2m}}]}}
metrics.exports[].federation.rules.job | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, series: {presets: [Istio]}, federation: {source: {host: a.obs.svc, port: 9090}, rules: {job: a}}}]}} | {metrics: {exports: [{name: e, type: Federation, object: {namespace: obs}, series: {presets: [Istio]}, federation: {source: {host: a.obs.svc, port: 9090}, rules: {job: b}}}]}}
metrics.exports[].remoteWrite.url | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:1/write"}}]}} | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:2/write"}}]}}
metrics.exports[].remoteWrite.maxShards | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:1/write", maxShards: 4}}]}} | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:1/write", maxShards: 5}}]}}
metrics.exports[].remoteWrite.maxSamplesPerSend | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:1/write", maxSamplesPerSend: 4}}]}} | {metrics: {exports: [{name: e, type: RemoteWrite, object: {namespace: obs}, remoteWrite: {url: "http://a.obs:1/write", maxSamplesPerSend: 5}}]}}
metrics.exports[].metricbeat.metricset | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: Collector, hosts: ["a:1"]}}]}} | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: RemoteWrite, port: 9201}}]}}
metrics.exports[].metricbeat.hosts[] | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: Collector, hosts: ["a:1"]}}]}} | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: Collector, hosts: ["b:1"]}}]}}
metrics.exports[].metricbeat.port | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: RemoteWrite, port: 9202}}]}} | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: RemoteWrite, port: 9201}}]}}
metrics.exports[].metricbeat.period | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: RemoteWrite, port: 9201, period: 1m}}]}} | {metrics: {exports: [{name: e, type: Metricbeat, object: {namespace: obs}, metricbeat: {metricset: RemoteWrite, port: 9201, period: 2m}}]}}
metrics.exports[].wavefront.from | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}}}}]}}
metrics.exports[].wavefront.prometheus.namespace | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}}}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: shop, labels: {app: a}}}}]}}
metrics.exports[].wavefront.prometheus.labels | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}}}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: b}}}}]}}
metrics.exports[].wavefront.prometheus.port | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}, port: 1}}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}, port: 2}}}]}}
metrics.exports[].wavefront.prometheus.jobs[] | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}, jobs: [a]}}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Prometheus, prometheus: {namespace: obs, labels: {app: a}, jobs: [b]}}}]}}
metrics.exports[].wavefront.interval | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, interval: 1m}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, interval: 2m}}]}}
metrics.exports[].wavefront.prefix | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, prefix: a}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, prefix: b}}]}}
metrics.exports[].wavefront.denyMetrics[] | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, denyMetrics: ["a.*"]}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, denyMetrics: ["b.*"]}}]}}
metrics.exports[].wavefront.allowTags[].tag | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, allowTags: [{tag: a, values: ["x"]}]}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, allowTags: [{tag: b, values: ["x"]}]}}]}}
metrics.exports[].wavefront.allowTags[].values[] | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, allowTags: [{tag: a, values: ["x"]}]}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, allowTags: [{tag: a, values: ["z"]}]}}]}}
metrics.exports[].wavefront.denyTags[].tag | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, denyTags: [{tag: a, values: ["x"]}]}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, denyTags: [{tag: b, values: ["x"]}]}}]}}
metrics.exports[].wavefront.denyTags[].values[] | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, denyTags: [{tag: a, values: ["x"]}]}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, denyTags: [{tag: a, values: ["z"]}]}}]}}
metrics.exports[].wavefront.excludeTags[] | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, excludeTags: [a]}}]}} | {metrics: {exports: [{name: e, type: Wavefront, object: {namespace: obs}, wavefront: {from: Proxies, excludeTags: [b]}}]}}
agents[].reads[].export.name | {metrics: {exports: [{name: a, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}, {name: b, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {interval: 1m}}]}, agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: Export, export: {name: a}}]}]} | {metrics: {exports: [{name: a, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {}}, {name: b, type: ScrapeConfig, object: {namespace: obs}, scrapeConfig: {interval: 1m}}]}, agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: Export, export: {name: b}}]}]}
metrics.kuma.port                  | {mesh: {type: Kuma}, metrics: {kuma: {port: 5670}}} | {mesh: {type: Kuma}, metrics: {kuma: {port: 5671}}}
metrics.kuma.path                  | {mesh: {type: Kuma}, metrics: {kuma: {path: /a}}} | {mesh: {type: Kuma}, metrics: {kuma: {path: /b}}}
metrics.kuma.profile               | {mesh: {type: Kuma}, metrics: {kuma: {profile: Basic}}} | {mesh: {type: Kuma}, metrics: {kuma: {profile: All}}}
metrics.kuma.openTelemetry.backend | {mesh: {type: Kuma}, logging: {backends: [{name: a, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}, {name: b, type: OTLP, otlp: {endpoint: {host: b.obs.svc, port: 1001}}}]}, metrics: {kuma: {openTelemetry: {backend: a}}}} | {mesh: {type: Kuma}, logging: {backends: [{name: a, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}, {name: b, type: OTLP, otlp: {endpoint: {host: b.obs.svc, port: 1001}}}]}, metrics: {kuma: {openTelemetry: {backend: b}}}}
namespaces.matchLabels             | {namespaces: {matchExpressions: null, matchLabels: {team: a}}} | {namespaces: {matchExpressions: null, matchLabels: {team: b}}}
namespaces.matchExpressions[].key      | {namespaces: {matchExpressions: [{key: team, operator: In, values: [a]}]}} | {namespaces: {matchExpressions: [{key: other, operator: In, values: [a]}]}}
namespaces.matchExpressions[].operator | {namespaces: {matchExpressions: [{key: team, operator: Exists}]}} | {namespaces: {matchExpressions: [{key: team, operator: DoesNotExist}]}}
namespaces.matchExpressions[].values[] | {namespaces: {matchExpressions: [{key: team, operator: In, values: [a]}]}} | {namespaces: {matchExpressions: [{key: team, operator: In, values: [b]}]}}
tenancy.disableLogging             | {tenancy: {disableLogging: Allowed}} | {tenancy: {disableLogging: Denied}}
tenancy.overrideFormat             | {tenancy: {overrideFormat: Allowed}} | {tenancy: {overrideFormat: Denied}}
tenancy.customFormats              | {tenancy: {customFormats: Allowed}} | {tenancy: {customFormats: Denied}}
tenancy.maxSamplingPercentage      | {tenancy: {maxSamplingPercentage: "100"}} | {tenancy: {maxSamplingPercentage: "1"}}
logging.backends[].name            | {logging: {backends: [{name: stdout, type: File, file: {}}]}} | {logging: {backends: [{name: other, type: File, file: {}}]}}
logging.backends[].type            | {logging: {backends: [{name: stdout, type: File, file: {}}]}} | {logging: {backends: [{name: stdout, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}}
logging.backends[].file.path       | {logging: {backends: [{name: stdout, type: File, file: {path: /a}}]}} | {logging: {backends: [{name: stdout, type: File, file: {path: /b}}]}}
logging.backends[].otlp.endpoint.host | {logging: {backends: [{name: stdout, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {logging: {backends: [{name: stdout, type: OTLP, otlp: {endpoint: {host: b.obs.svc, port: 1001}}}]}}
logging.backends[].otlp.endpoint.port | {logging: {backends: [{name: stdout, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {logging: {backends: [{name: stdout, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1002}}}]}}
logging.backends[].envoyALS.endpoint.host | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: b.obs.svc, port: 1001}}}]}}
logging.backends[].envoyALS.endpoint.port | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1002}}}]}}
logging.backends[].envoyALS.logName  | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1001}, logName: a}}]}} | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1001}, logName: b}}]}}
logging.backends[].envoyALS.protocol | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1001}, protocol: HTTP}}]}} | {logging: {backends: [{name: stdout, type: EnvoyALS, envoyALS: {endpoint: {host: a.obs.svc, port: 1001}, protocol: Both}}]}}
logging.defaultBackends[]          | {logging: {defaultBackends: [stdout]}} | {logging: {defaultBackends: [file]}}
logging.required[].backend         | {logging: {required: [{backend: file}]}} | {logging: {required: [{backend: stdout}]}}
logging.required[].direction       | {logging: {required: [{backend: file, direction: Inbound}]}} | {logging: {required: [{backend: file, direction: Outbound}]}}
logging.limits.providers           | {logging: {limits: {providers: 400}}} | {logging: {limits: {providers: 1}}}
logging.limits.providersPerNamespace | {logging: {limits: {providersPerNamespace: 400}}} | {logging: {limits: {providersPerNamespace: 1}}}
logging.limits.bytes               | {logging: {limits: {bytes: 900000}, format: {text: LLLL, tcp: {text: TCP LLLL}}}} | {logging: {limits: {bytes: 10000}, format: {text: LLLL, tcp: {text: TCP LLLL}}}}
tracing.backends[].name            | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: changed, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}}
tracing.backends[].type            | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: a.obs.svc, port: 1001}}}]}}
tracing.backends[].otlp.endpoint.host | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: b.obs.svc, port: 1001}}}]}}
tracing.backends[].otlp.endpoint.port | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1002}}}]}}
tracing.backends[].otlp.protocol   | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}, protocol: GRPC}}]}} | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}, protocol: HTTP}}]}}
tracing.backends[].otlp.path       | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}, protocol: HTTP, path: /a}}]}} | {tracing: {backends: [{name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}, protocol: HTTP, path: /b}}]}}
tracing.backends[].zipkin.endpoint.host | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: b.obs.svc, port: 1001}}}]}}
tracing.backends[].zipkin.endpoint.port | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: a.obs.svc, port: 1002}}}]}}
tracing.backends[].zipkin.path     | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: a.obs.svc, port: 1001}, path: /a}}]}} | {tracing: {backends: [{name: tempo, type: Zipkin, zipkin: {endpoint: {host: a.obs.svc, port: 1001}, path: /b}}]}}
tracing.backends[].datadog.endpoint.host | {tracing: {backends: [{name: tempo, type: Datadog, datadog: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: Datadog, datadog: {endpoint: {host: b.obs.svc, port: 1001}}}]}}
tracing.backends[].datadog.endpoint.port | {tracing: {backends: [{name: tempo, type: Datadog, datadog: {endpoint: {host: a.obs.svc, port: 1001}}}]}} | {tracing: {backends: [{name: tempo, type: Datadog, datadog: {endpoint: {host: a.obs.svc, port: 1002}}}]}}
tracing.default.backend            | {tracing: {default: {backend: tempo}}} | {tracing: {default: {backend: other}}}
tracing.default.sampling.percentage | {tracing: {default: {backend: tempo, sampling: {percentage: "1"}}}} | {tracing: {default: {backend: tempo, sampling: {percentage: "2"}}}}
tracing.customBackends             | {tracing: {customBackends: Denied}} | {tracing: {customBackends: SameNamespace}}
metrics.overrides[].metric         | {metrics: {overrides: [{metric: REQUEST_COUNT, disabled: true}]}} | {metrics: {overrides: [{metric: REQUEST_SIZE, disabled: true}]}}
metrics.overrides[].mode           | {metrics: {overrides: [{metric: REQUEST_COUNT, disabled: true, mode: Client}]}} | {metrics: {overrides: [{metric: REQUEST_COUNT, disabled: true, mode: Server}]}}
metrics.overrides[].disabled       | {metrics: {overrides: [{metric: REQUEST_COUNT, disabled: true}]}} | {metrics: {overrides: [{metric: REQUEST_COUNT, disabled: false}]}}
metrics.overrides[].tags[].name    | {metrics: {overrides: [{metric: REQUEST_COUNT, tags: [{name: a, operation: Remove}]}]}} | {metrics: {overrides: [{metric: REQUEST_COUNT, tags: [{name: b, operation: Remove}]}]}}
metrics.overrides[].tags[].operation | {metrics: {overrides: [{metric: REQUEST_COUNT, tags: [{name: a, operation: Remove}]}]}} | {metrics: {overrides: [{metric: REQUEST_COUNT, tags: [{name: a, operation: Upsert, value: request.host}]}]}}
metrics.overrides[].tags[].value   | {metrics: {overrides: [{metric: REQUEST_COUNT, tags: [{name: a, operation: Upsert, value: request.path}]}]}} | {metrics: {overrides: [{metric: REQUEST_COUNT, tags: [{name: a, operation: Upsert, value: request.host}]}]}}
interfaceTraffic.wasmPlugin.url    | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}, wasmPlugin: {url: "oci://a.example/a", sha256: AAAA}}} | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}, wasmPlugin: {url: "oci://a.example/b", sha256: AAAA}}}
interfaceTraffic.wasmPlugin.sha256 | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}, wasmPlugin: {url: "oci://a.example/a", sha256: AAAA}}} | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}, wasmPlugin: {url: "oci://a.example/a", sha256: BBBB}}}
interfaceTraffic.wasmPlugin.pluginConfig | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}, wasmPlugin: {url: "oci://a.example/a", sha256: AAAA, pluginConfig: {a: 1}}}} | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}, wasmPlugin: {url: "oci://a.example/a", sha256: AAAA, pluginConfig: {a: 2}}}}
"#;

/// Without a mesh: interface traffic and agents.
const AGENTS: &str = r#"
interfaceTraffic.elasticsearch.url | {interfaceTraffic: {elasticsearch: {url: "http://a:9200"}}} | {interfaceTraffic: {elasticsearch: {url: "http://b:9200"}}}
interfaceTraffic.elasticsearch.credentialsSecretRef.namespace | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a}}}} | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: shop, name: a}}}}
interfaceTraffic.elasticsearch.credentialsSecretRef.name | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a}}}} | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: b}}}}
interfaceTraffic.elasticsearch.credentialsSecretRef.usernameKey | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a, usernameKey: username}}}} | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a, usernameKey: other}}}}
interfaceTraffic.elasticsearch.credentialsSecretRef.passwordKey | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a, passwordKey: password}}}} | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a, passwordKey: other}}}}
interfaceTraffic.allowPlaintextCredentials | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a}}, allowPlaintextCredentials: true}} | {interfaceTraffic: {elasticsearch: {credentialsSecretRef: {namespace: obs, name: a}}, allowPlaintextCredentials: false}}
interfaceTraffic.configMap.namespace | {agents: null, interfaceTraffic: {configMap: {namespace: obs}}} | {agents: null, interfaceTraffic: {configMap: {namespace: shop}}}
interfaceTraffic.configMap.name    | {interfaceTraffic: {configMap: {name: a}}} | {interfaceTraffic: {configMap: {name: b}}}
interfaceTraffic.configMap.adopt   | {interfaceTraffic: {configMap: {name: theirs, adopt: true}}} | {interfaceTraffic: {configMap: {name: theirs, adopt: false}}}
agents[].name                      | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}]} | {agents: [{name: b, workload: {namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}]}
agents[].workload.kind             | {agents: [{name: a, workload: {kind: Deployment, namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}]} | {agents: [{name: a, workload: {kind: DaemonSet, namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}]}
agents[].workload.namespace        | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: ConfigMap, configMap: {name: extra}}]}]} | {agents: [{name: a, workload: {namespace: shop, name: a}, reads: [{type: ConfigMap, configMap: {name: extra}}]}]}
agents[].workload.name             | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}]} | {agents: [{name: a, workload: {namespace: obs, name: b}, reads: [{type: InterfaceTraffic}]}]}
agents[].reads[].type              | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}]} | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: ConfigMap, configMap: {name: extra}}]}]}
agents[].reads[].configMap.name    | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: ConfigMap, configMap: {name: extra}}]}]} | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: ConfigMap, configMap: {name: theirs}}]}]}
agents[].reads[].secret.name       | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: Secret, secret: {name: a}}]}]} | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: Secret, secret: {name: b}}]}]}
agents[].reads[].secret.keys[]     | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: Secret, secret: {name: a, keys: [username]}}]}]} | {agents: [{name: a, workload: {namespace: obs, name: a}, reads: [{type: Secret, secret: {name: a, keys: [password]}}]}]}
rollout.paused                     | {rollout: {paused: false}} | {rollout: {paused: true}}
"#;

/// Without a mesh: what workloads are given that proxies cannot be.
const CREDENTIALS: &str = r"
destination.otlp.headers[].name | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, value: x}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: b, value: x}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.headers[].value | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, value: x}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, value: z}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.headers[].valueFrom.secretKeyRef.name | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, valueFrom: {secretKeyRef: {name: a, key: password}}}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, valueFrom: {secretKeyRef: {name: b, key: password}}}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.headers[].valueFrom.secretKeyRef.key | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, valueFrom: {secretKeyRef: {name: a, key: password}}}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, headers: [{name: a, valueFrom: {secretKeyRef: {name: a, key: other}}}]}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.mode | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Disabled}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.caCertificateRef.kind | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple, caCertificateRef: {kind: Secret, name: a, key: other}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple, caCertificateRef: {kind: ConfigMap, name: a, key: other}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.caCertificateRef.name | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple, caCertificateRef: {name: a, key: other}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple, caCertificateRef: {name: b, key: other}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.caCertificateRef.key | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple, caCertificateRef: {name: a, key: other}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Simple, caCertificateRef: {name: a, key: password}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.clientCertificateRef.name | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Mutual, clientCertificateRef: {name: a, certificateKey: other, privateKey: password}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Mutual, clientCertificateRef: {name: b, certificateKey: other, privateKey: password}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.clientCertificateRef.certificateKey | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Mutual, clientCertificateRef: {name: a, certificateKey: other, privateKey: password}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Mutual, clientCertificateRef: {name: a, certificateKey: username, privateKey: password}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
destination.otlp.tls.clientCertificateRef.privateKey | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Mutual, clientCertificateRef: {name: a, certificateKey: other, privateKey: password}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]} | {destination: {type: OTLP, otlp: {endpoint: {host: a.shop.svc, port: 1001}, tls: {mode: Mutual, clientCertificateRef: {name: a, certificateKey: other, privateKey: username}}}}, inject: [{name: x, dialect: OpenTelemetry, workloads: {selector: {matchLabels: {app: a}}}, containers: [one]}]}
";

const FORMAT: &str = r#"
encoding        | {encoding: Text, preset: Istio} | {encoding: JSON, preset: Istio}
preset          | {preset: Istio} | {preset: Envoy}
text            | {text: "%RESPONSE_CODE%"} | {text: "%DURATION%"}
fields[].name   | {encoding: JSON, fields: [{name: a, value: x}]} | {encoding: JSON, fields: [{name: b, value: x}]}
fields[].value  | {encoding: JSON, fields: [{name: a, value: x}]} | {encoding: JSON, fields: [{name: a, value: z}]}
fields[].nest   | {encoding: JSON, fields: [{name: a.b, value: x, nest: false}]} | {encoding: JSON, fields: [{name: a.b, value: x, nest: true}]}
omit[]          | {encoding: JSON, preset: Istio, omit: [path]} | {encoding: JSON, preset: Istio, omit: [method]}
omitEmptyValues | {preset: Istio, omitEmptyValues: false} | {preset: Istio, omitEmptyValues: true}
"#;

const TAGS: &str = r#"
name                     | [{name: a, type: Literal, literal: x}] | [{name: b, type: Literal, literal: x}]
type                     | [{name: a, type: Literal, literal: x}] | [{name: a, type: Header, header: {name: x}}]
literal                  | [{name: a, type: Literal, literal: x}] | [{name: a, type: Literal, literal: z}]
environment.name         | [{name: a, type: Environment, environment: {name: X}}] | [{name: a, type: Environment, environment: {name: Z}}]
environment.defaultValue | [{name: a, type: Environment, environment: {name: X, defaultValue: x}}] | [{name: a, type: Environment, environment: {name: X, defaultValue: z}}]
header.name              | [{name: a, type: Header, header: {name: x}}] | [{name: a, type: Header, header: {name: z}}]
header.defaultValue      | [{name: a, type: Header, header: {name: x, defaultValue: x}}] | [{name: a, type: Header, header: {name: x, defaultValue: z}}]
formatter                | [{name: a, type: Formatter, formatter: "%PROTOCOL%"}] | [{name: a, type: Formatter, formatter: "%RESPONSE_CODE%"}]
"#;

/// The world of the policies: what each row changes is one of the three resources that are called `subject`.
const WORLD: &str = r#"
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: default}
spec:
  mesh: {type: Istio, istio: {proxyVersions: {minimum: "1.37"}}}
  logging:
    backends:
    - {name: stdout, type: File, file: {}}
    - {name: file, type: File, file: {path: /var/log/access.log}}
  tracing:
    customBackends: SameNamespace
    backends:
    - {name: tempo, type: OTLP, otlp: {endpoint: {host: a.obs.svc, port: 1001}}}
    - {name: other, type: OTLP, otlp: {endpoint: {host: b.obs.svc, port: 1001}}}
  tenancy: {disableLogging: Allowed}
---
{apiVersion: sightline.dev/v1alpha1, kind: TrafficLog, metadata: {name: subject, namespace: shop}, spec: {}}
---
{apiVersion: sightline.dev/v1alpha1, kind: TrafficLog, metadata: {name: rival, namespace: shop}, spec: {direction: Inbound}}
---
apiVersion: sightline.dev/v1alpha1
kind: TracingBackend
metadata: {name: subject, namespace: shop}
spec: {destination: {type: MeshBackend, meshBackend: {name: tempo}}}
---
{apiVersion: sightline.dev/v1alpha1, kind: TrafficLog, metadata: {name: "off", namespace: quiet}, spec: {disabled: true}}
---
apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {name: custom, namespace: pay}
spec: {format: {text: "%SPAN_ID%"}}
---
apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata: {name: preset, namespace: pay}
spec: {format: {preset: Envoy}, selector: {matchLabels: {app: a}}}
---
apiVersion: sightline.dev/v1alpha1
kind: TracingBackend
metadata: {name: own, namespace: pay}
spec:
  destination: {type: OTLP, otlp: {endpoint: {host: a.pay.svc, port: 1001}}}
  sampling: {percentage: "50"}
"#;

/// The world without a mesh.
const WORLD_OF_AGENTS: &str = r#"
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: default}
spec:
  mesh: {type: None}
  interfaceTraffic:
    elasticsearch: {url: "http://elasticsearch.obs:9200"}
    configMap: {namespace: obs}
    allowPlaintextCredentials: true
  agents:
  - {name: a, workload: {namespace: obs, name: a}, reads: [{type: InterfaceTraffic}]}
"#;

/// The same, with a policy for workloads that export spans themselves.
const WORLD_OF_EXPORTERS: &str = r"
apiVersion: sightline.dev/v1alpha1
kind: ObservabilityMesh
metadata: {name: default}
spec:
  mesh: {type: None}
  tracing: {customBackends: SameNamespace}
---
{apiVersion: sightline.dev/v1alpha1, kind: TracingBackend, metadata: {name: subject, namespace: shop}, spec: {}}
";

struct Row {
    kind: &'static str,
    leaf: String,
    worlds: [Vec<Value>; 2],
    specs: [Value; 2],
}

/// The rows of a table. `place` is where its leaves are, `whole` the spec's part that a cell is put into, at `@`.
fn rows(kind: &'static str, world: &str, table: &str, place: &str, whole: &str) -> Vec<Row> {
    let lines = table.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let [leaf, a, b] = cells[..] else {
                panic!("three cells: {line}");
            };
            let spec = |cell: &str| {
                let cell = cell.replace("AAAA", &"a".repeat(64)).replace("BBBB", &"b".repeat(64));
                let cell = cell.replace("LLLL", &"long".repeat(2000));
                read_documents(&whole.replace('@', &cell)).unwrap().remove(0)
            };
            let specs = [spec(a), spec(b)];
            let world_of = |patch: &Value| {
                let mut documents = read_documents(world).unwrap();
                let subject = documents.iter_mut().find(|object| object["kind"] == kind).unwrap();
                merge(&mut subject["spec"], patch);
                documents.extend(facts());
                documents
            };
            Row {
                kind,
                leaf: format!("{place}{leaf}"),
                worlds: specs.each_ref().map(world_of),
                specs,
            }
        })
        .collect()
}

fn table() -> Vec<Row> {
    let mut all = table_of(WORLD);
    all.extend(rows("ObservabilityMesh", WORLD_OF_AGENTS, AGENTS, "", "@"));
    all.extend(rows("TracingBackend", WORLD_OF_EXPORTERS, CREDENTIALS, "", "@"));
    all
}

/// The rows that speak of proxies.
fn table_of(world: &str) -> Vec<Row> {
    let (mesh, log, trace) = ("ObservabilityMesh", "TrafficLog", "TracingBackend");
    [
        rows(log, world, TRAFFIC_LOG, "", "@"),
        rows(log, world, FORMAT, "format.", "{format: @}"),
        rows(log, world, FORMAT, "format.tcp.", "{format: {preset: Istio, tcp: @}}"),
        rows(trace, world, TRACING_BACKEND, "", "@"),
        rows(trace, world, TAGS, "tags[].", "{tags: @}"),
        rows(mesh, world, MESH, "", "@"),
        rows(mesh, world, FORMAT, "logging.format.", "{logging: {format: @}}"),
        rows(
            mesh,
            world,
            FORMAT,
            "logging.format.tcp.",
            "{logging: {format: {preset: Istio, tcp: @}}}",
        ),
        rows(
            mesh,
            world,
            TAGS,
            "tracing.default.tags[].",
            "{tracing: {default: {backend: tempo, tags: @}}}",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What stands in the cluster beside our resources: whatever a row names, twice.
fn facts() -> Vec<Value> {
    let mut facts = Vec::new();
    for (namespace, team) in [
        ("istio-system", "a"),
        ("shop", "a"),
        ("pay", "b"),
        ("quiet", "a"),
        ("obs", "c"),
    ] {
        let labels = json!({"team": team, "sightline.dev/inject": "enabled", "istio-injection": "enabled"});
        facts.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}));
        for name in ["a", "b"] {
            let metadata =
                json!({"name": name, "namespace": namespace, "labels": {"app": name, "sightline.dev/shared": "true"}});
            let ports = json!([{"name": "grpc-1", "port": 1001}, {"name": "grpc-2", "port": 1002}]);
            let pods = json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": "one", "image": "example/one"}, {"name": "two", "image": "example/two"}]}});
            facts.extend([
                json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}),
                json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata, "spec": {}}),
                json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": {}}),
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                       "spec": {"selector": {"matchLabels": {"app": name}}, "template": pods}}),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
                       "stringData": {"username": format!("{namespace}-{name}"), "password": "1", "other": "2"}}),
            ]);
        }
        for name in ["extra", "theirs"] {
            let metadata = json!({"name": name, "namespace": namespace});
            facts.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"name": name}}));
        }
        let metadata = json!({"name": "a", "namespace": namespace, "labels": {"sightline.dev/shared": "true"}});
        facts.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"other": "2"}}));
    }
    // Status names their nodes.
    for daemon_set in ["a", "b"] {
        let metadata =
            json!({"name": format!("{daemon_set}-x"), "namespace": "kmesh-system", "labels": {"app": "kmesh"}});
        let node = format!("node-of-{daemon_set}");
        facts.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}));
    }
    facts
}

/// JSON merge patch, but for a union, which is replaced: its members exclude each other.
fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object().filter(|patch| !patch.contains_key("type")) else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let members = into.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The leaves of a schema, with the values that stand there.
type Leaves = BTreeMap<String, Vec<Value>>;

/// What users fill in freely (a map of labels, any object) is one leaf.
fn leaves(schema: &Value, path: &str, value: Option<&Value>, found: &mut Leaves) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            leaves(schema, &path, value.and_then(|value| value.get(name)), found);
        }
    } else if schema["type"] == "array" {
        let path = format!("{path}[]");
        let items: Vec<&Value> = value.and_then(Value::as_array).into_iter().flatten().collect();
        leaves(&schema["items"], &path, None, found);
        for item in items {
            leaves(&schema["items"], &path, Some(item), found);
        }
    } else {
        found.entry(path.to_owned()).or_default().extend(value.cloned());
    }
}

fn schemas() -> BTreeMap<String, Value> {
    let of = |(_, crd): (&str, Value)| {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        (kind, spec.clone())
    };
    custom_resource_definitions().into_iter().map(of).collect()
}

/// The name of a leaf, without the path to it.
fn last_name(leaf: &str) -> &str {
    leaf.trim_end_matches("[]").rsplit('.').next().unwrap()
}

/// What a message about a leaf has to say: which namespaces a mesh takes, it says of the whole.
fn word_for(leaf: &str) -> &str {
    match leaf.split_once('.') {
        Some(("namespaces", _)) => "namespaces",
        _ => last_name(leaf),
    }
}

#[test]
fn each_leaf_of_the_schema_has_one_row_and_each_row_differs_in_its_leaf_alone() {
    let schemas = schemas();
    let mut all: BTreeSet<(String, String)> = BTreeSet::new();
    for (kind, schema) in &schemas {
        let mut found = Leaves::new();
        leaves(schema, "", None, &mut found);
        all.extend(found.into_keys().map(|leaf| (kind.clone(), leaf)));
    }
    let mut proven: Vec<(String, String)> = table().into_iter().map(|row| (row.kind.to_owned(), row.leaf)).collect();
    proven.extend(
        NOT_PROVEN_HERE
            .iter()
            .map(|(kind, leaf, _)| ((*kind).to_owned(), (*leaf).to_owned())),
    );
    let once: BTreeSet<_> = proven.iter().cloned().collect();
    assert_eq!(once.len(), proven.len(), "a leaf stands twice");
    let missing: Vec<_> = all.difference(&once).collect();
    assert!(missing.is_empty(), "leaves without a row: {missing:#?}");
    let gone: Vec<_> = once.difference(&all).collect();
    assert!(gone.is_empty(), "rows without a leaf: {gone:#?}");

    for row in table() {
        let values = row.specs.each_ref().map(|spec| {
            let mut found = Leaves::new();
            leaves(&schemas[row.kind], "", Some(spec), &mut found);
            found
        });
        let differing = values[0]
            .keys()
            .filter(|leaf| values[0].get(*leaf) != values[1].get(*leaf));
        let goes_with_it = |leaf: &&String| {
            let discriminates = ["type", "operation", "metricset", "from"].contains(&last_name(&row.leaf));
            let parent = row.leaf.rsplit_once('.').map_or("", |(parent, _)| parent);
            discriminates && leaf.starts_with(parent)
        };
        let differing: Vec<&String> = differing
            .filter(|leaf| **leaf == row.leaf || !goes_with_it(leaf))
            .collect();
        assert_eq!(differing, [&row.leaf], "{} {}", row.kind, row.leaf);
    }
}

/// What is written, restarted and asked for. The annotation that says where each entry comes from proves nothing.
fn written(outcome: &Outcome) -> Value {
    let mut objects: Vec<Value> = outcome.converged.objects.values().cloned().collect();
    for object in &mut objects {
        if let Some(annotations) = object
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(sightline::render::metadata::SOURCES);
        }
    }
    let asked_for = outcome
        .converged
        .statuses
        .iter()
        .filter_map(|status| status.fields.get("kmesh"));
    json!([
        asked_for.collect::<Vec<_>>(),
        objects,
        format!("{:?}", outcome.converged.deleted),
        format!("{:?}", outcome.converged.restarts)
    ])
}

/// What the resources are told: messages, and how each agent is.
fn told(outcome: &Outcome) -> BTreeSet<String> {
    let statuses = &outcome.converged.statuses;
    let messages = statuses
        .iter()
        .flat_map(|status| &status.findings)
        .map(|finding| finding.message.clone());
    let agents = statuses
        .iter()
        .filter_map(|status| Some(status.fields.get("agents")?.to_string()));
    messages.chain(agents).collect()
}

#[test]
fn each_leaf_is_rendered_or_reported_by_its_name() {
    let mut silent = Vec::new();
    for row in table() {
        let outcomes = row.worlds.each_ref().map(|world| Outcome::of(world, false));
        let [a, b] = match outcomes {
            [Ok(a), Ok(b)] => [a, b],
            [Ok(_), Err(message)] | [Err(message), Ok(_)]
                if REFUSED.contains(&row.leaf.as_str()) && message.contains(last_name(&row.leaf)) =>
            {
                continue;
            }
            [Err(message), _] | [_, Err(message)] => {
                silent.push(format!("{} {}: {message}", row.kind, row.leaf));
                continue;
            }
        };
        let is_reported = told(&a)
            .symmetric_difference(&told(&b))
            .any(|message| message.contains(last_name(&row.leaf)));
        if written(&a) == written(&b) && !is_reported {
            silent.push(format!("{} {}", row.kind, row.leaf));
        }
    }
    assert!(silent.is_empty(), "neither rendered nor reported: {silent:#?}");
}

/// The mesh of [`WORLD`], and what stands there in a world of Kuma's.
const OF_ISTIO: &str = "mesh: {type: Istio, istio: {proxyVersions: {minimum: \"1.37\"}}}";

/// Leaves that say the same in both worlds of a row, as they speak of Istio's control plane or of another mesh.
fn is_of_the_control_plane(row: &Row) -> bool {
    row.kind == "ObservabilityMesh" && row.leaf.starts_with("mesh.")
}

/// What a target cannot say is reported by the path of the leaf, or of what it is a part of.
fn is_left_out(outcome: &Outcome, leaf: &str) -> bool {
    let path = format!("spec.{}", leaf.replace("[]", ""));
    let statuses = outcome.converged.statuses.iter();
    let mut messages = statuses
        .flat_map(|status| &status.findings)
        .filter(|finding| finding.reason == Reason::NotExpressible)
        .map(|finding| finding.message.as_str());
    let parts = path.match_indices('.').map(|(at, _)| &path[..at]).skip(1);
    let names: Vec<&str> = parts.chain([path.as_str()]).collect();
    messages.any(|message| {
        let words = message.split([' ', ',', ':', '[']);
        let mut words = words.map(|word| word.trim_end_matches('.'));
        words.any(|word| names.contains(&word))
    })
}

/// What policies are told that they come to.
fn effective(outcome: &Outcome) -> Vec<Option<&Value>> {
    let statuses = outcome.converged.statuses.iter();
    statuses.map(|status| status.fields.get("effective")).collect()
}

/// What both worlds are refused for, in all that is around the leaf: it says nothing then.
fn is_refused_with(outcomes: [&Outcome; 2], leaf: &str) -> bool {
    let messages = |outcome: &Outcome| {
        let findings = outcome.converged.statuses.iter().flat_map(|status| &status.findings);
        let refusals =
            findings.filter(|finding| finding.type_ == ConditionType::Accepted && finding.status == Truth::False);
        refusals.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    let parent_and_name: Vec<&str> = leaf.rsplitn(3, '.').collect();
    let [name, parent, ..] = parent_and_name[..] else {
        return false;
    };
    let words = format!("{parent}.{name}");
    outcomes
        .into_iter()
        .all(|outcome| messages(outcome).iter().any(|message| message.contains(&words)))
}

const OF_KMESH: &str = "mesh: {type: Kmesh}";
/// The namespace of [`WORLD`]'s subject and rival, and that of what switches Kmesh's daemons.
const IN_SHOP: &str = "namespace: shop}, spec:";
const IN_KMESH: &str = "namespace: kmesh-system}, spec:";

#[test]
fn each_leaf_is_rendered_or_reported_by_its_path_in_kmesh_without_waypoints() {
    let world = WORLD.replace(OF_ISTIO, OF_KMESH).replace(IN_SHOP, IN_KMESH);
    assert!(world.contains(OF_KMESH) && world.contains(IN_KMESH));
    let silent = neither_rendered_nor_reported(&world);
    assert!(silent.is_empty(), "neither rendered nor reported: {silent:#?}");
}

/// With a waypoint in each policy; a selector has none beside it, and is said above.
#[test]
fn each_leaf_is_rendered_or_reported_by_its_path_in_kmesh_with_waypoints() {
    let waypoint = "targetRefs: [{kind: Gateway, name: a}]";
    let mut world = WORLD.replace(OF_ISTIO, &OF_ISTIO.replace("Istio", "Kmesh"));
    for (of_all, of_waypoint) in [
        ("spec: {}", format!("spec: {{{waypoint}}}")),
        (
            "selector: {matchLabels: {app: a}}",
            waypoint.replace("name: a", "name: b"),
        ),
        // The rival yields where nobody has a priority: its name sorts behind.
        (
            "name: rival, namespace: shop}, spec: {direction: Inbound}",
            format!("name: then, namespace: shop}}, spec: {{{waypoint}}}"),
        ),
        ("spec: {d", format!("spec: {{{waypoint}, d")),
        ("spec: {format: {text", format!("spec: {{{waypoint}, format: {{text")),
        ("spec:\n  destination", format!("spec:\n  {waypoint}\n  destination")),
    ] {
        assert!(world.contains(of_all), "{of_all}");
        world = world.replace(of_all, &of_waypoint);
    }
    let mut silent = neither_rendered_nor_reported(&world);
    // Backends of type TCP are Kuma's: their rows are of another mesh.
    let beside_it = [": selector", "direction does not go", ".tcp.endpoint."];
    silent.retain(|leaf| beside_it.iter().all(|words| !leaf.contains(words)));
    assert!(silent.is_empty(), "neither rendered nor reported: {silent:#?}");
}

fn neither_rendered_nor_reported_in_kuma(kuma: &str) -> Vec<String> {
    let world = WORLD.replace(OF_ISTIO, &format!("mesh: {{type: Kuma, kuma: {{{kuma}}}}}"));
    assert_ne!(world, WORLD);
    // What 2.x had before policies knows neither OTLP nor received requests: the world that leaves are changed in has others.
    let world = if kuma.contains("legacy") {
        let zipkin = |text: &str| {
            // The rival yields where nobody has a priority: its name sorts behind.
            text.replace("type: OTLP, otlp: {", "type: Zipkin, zipkin: {").replace(
                "name: rival, namespace: shop}, spec: {direction: Inbound}",
                "name: then, namespace: shop}, spec: {direction: Outbound}",
            )
        };
        zipkin(&world)
    } else {
        world
    };
    neither_rendered_nor_reported(&world)
}

fn neither_rendered_nor_reported(world: &str) -> Vec<String> {
    let mut silent = Vec::new();
    for row in table_of(world).into_iter().filter(|row| !is_of_the_control_plane(row)) {
        let outcomes = row.worlds.each_ref().map(|world| Outcome::of(world, false));
        let [a, b] = match outcomes {
            [Ok(a), Ok(b)] => [a, b],
            [Err(message), _] | [_, Err(message)] => {
                silent.push(format!("{} {}: {message}", row.kind, row.leaf));
                continue;
            }
        };
        let told_apart = told(&a)
            .symmetric_difference(&told(&b))
            .any(|message| message.contains(word_for(&row.leaf)));
        let is_left_out = [&a, &b].into_iter().any(|outcome| is_left_out(outcome, &row.leaf));
        // Kmesh has one log, whatever a backend is called.
        let is_a_key = row.leaf == "logging.backends[].name" && world.contains(OF_KMESH);
        // A Mesh has backends by names of their content: which of ours one is, status tells.
        let is_named = row.leaf == "logging.backends[].name" && effective(&a) != effective(&b);
        let is_reported = told_apart || is_left_out || is_a_key || is_named || is_refused_with([&a, &b], &row.leaf);
        if written(&a) == written(&b) && !is_reported {
            silent.push(format!("{} {}", row.kind, row.leaf));
        }
    }
    silent
}

/// One test for each version that can say other things, and for what 2.x had before policies.
macro_rules! each_leaf_in_kuma {
    ($($name:ident: $kuma:literal)*) => {$(
        #[test]
        fn $name() {
            let silent = neither_rendered_nor_reported_in_kuma($kuma);
            assert!(silent.is_empty(), "neither rendered nor reported: {silent:#?}");
        }
    )*};
}

each_leaf_in_kuma! {
    each_leaf_is_rendered_or_reported_by_its_path_in_kuma_2_9: r#"version: "2.9""#
    each_leaf_is_rendered_or_reported_by_its_path_in_kuma_2_13: r#"version: "2.13""#
    each_leaf_is_rendered_or_reported_by_its_path_in_kuma_2_14: r#"version: "2.14""#
    each_leaf_is_rendered_or_reported_by_its_path_in_kuma_3_0: r#"version: "3.0""#
    each_leaf_is_rendered_or_reported_by_its_path_in_a_mesh_of_2_9: r#"version: "2.9", legacy: true"#
    each_leaf_is_rendered_or_reported_by_its_path_in_a_mesh_of_2_14: r#"version: "2.14", legacy: true"#
}
