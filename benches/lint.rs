//! How fast 10,000 files are linted, beside their YAML parsed alone. `make bench`; figures and what they have to be are in
//! docs/benchmarks.md.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot run has to say so"
)]

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use granit_parser::Parser;
use sightline::format::EnvoyVersion;
use sightline::lint::{Linter, Options};
use sightline::yaml::read_documents;
use tempfile::TempDir;

const FILES: usize = 10_000;

const OPTIONS: Options = Options {
    oldest: EnvoyVersion::OLDEST_SUPPORTED,
    mesh: None,
};

/// Files as they lie in a repository of deployments: 6 of 10 hold what is none of lint's business.
fn corpus() -> Vec<String> {
    (0..FILES)
        .map(|index| match index % 20 {
            0..7 => format!("{}---\n{}", deployment(index), service(index)),
            7..12 => deployment(index),
            12..14 => telemetry(index),
            14 => mesh_config(index, index % 400 == 14),
            15 => telemetry(index) + "---\n" + &traffic_log(index),
            _ => traffic_log(index),
        })
        .collect()
}

fn deployment(index: usize) -> String {
    format!(
        r#"# Deployed by the pipeline of team-{team}.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{index}
  namespace: team-{team}
  labels: {{app.kubernetes.io/name: app-{index}, app.kubernetes.io/part-of: shop}}
  annotations:
    prometheus.io/scrape: "true"
    description: "Serves /api/v{index}; {index}% of all traffic"
spec:
  replicas: 3
  selector:
    matchLabels:
      app.kubernetes.io/name: app-{index}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: app-{index}
        version: v{index}
    spec:
      serviceAccountName: app-{index}
      containers:
      - name: app
        image: registry.example/shop/app:{index}
        args: ["--listen=:8080", "--log-format=json", '--name=it''s {index}']
        ports:
        - {{name: http, containerPort: 8080}}
        env:
        - name: POD_IP
          valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}
        - name: JAVA_OPTS
          value: >-
            -Xmx512m -XX:+UseG1GC
            -Dserver.port=8080
        resources:
          requests: {{cpu: 100m, memory: 128Mi}}
          limits: {{memory: 512Mi}}
        readinessProbe:
          httpGet: {{path: /ready, port: http}}
          periodSeconds: 5
        volumeMounts:
        - {{name: config, mountPath: /etc/app}}
      volumes:
      - name: config
        configMap: {{name: app-{index}}}
"#,
        team = index % 100
    )
}

fn service(index: usize) -> String {
    format!(
        r"apiVersion: v1
kind: Service
metadata:
  name: app-{index}
  namespace: team-{team}
spec:
  selector:
    app.kubernetes.io/name: app-{index}
  ports:
  - name: http
    port: 80
    targetPort: http
",
        team = index % 100
    )
}

fn telemetry(index: usize) -> String {
    format!(
        r#"apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata:
  name: logs-{index}
  namespace: team-{team}
spec:
  selector:
    matchLabels: {{app.kubernetes.io/name: app-{index}}}
  accessLogging:
  - providers:
    - name: envoy
    filter:
      expression: >-
        has(request.method) && (response.code >= 400 ||
        request.path.startsWith("/api/v{index}"))
  tracing:
  - randomSamplingPercentage: 1.5
    customTags:
      team: {{literal: {{value: team-{team}}}}}
"#,
        team = index % 100
    )
}

/// One in twenty has a wrong character in it.
fn mesh_config(index: usize, is_wrong: bool) -> String {
    let operator = if is_wrong { "DURATIOM" } else { "DURATION" };
    format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: istio-{index}
  namespace: istio-system
data:
  meshNetworks: "networks: {{}}"
  mesh: |-
    accessLogFile: /dev/stdout
    accessLogFormat: |
      [%START_TIME%] "%REQ(:METHOD)% %PATH(NQ):256% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% %{operator}% "%REQ(USER-AGENT):64%" "%REQ(X-REQUEST-ID):40%" %UPSTREAM_HOST% cluster-{index}
    defaultConfig:
      discoveryAddress: istiod.istio-system.svc:15012
      tracing: {{sampling: 1.0}}
    enablePrometheusMerge: true
    extensionProviders:
    - name: otel-{index}
      envoyOtelAls:
        service: otel-collector.observability.svc.cluster.local
        port: 4317
        logFormat:
          labels: {{method: "%REQ(:METHOD)%", code: "%RESPONSE_CODE%", tenant: "%REQ(X-TENANT):64%"}}
    - name: json-{index}
      envoyFileAccessLog:
        path: /dev/stdout
        logFormat:
          labels: {{start: "%START_TIME%", flags: "%RESPONSE_FLAGS%", host: "%UPSTREAM_HOST%"}}
"#
    )
}

fn traffic_log(index: usize) -> String {
    format!(
        r#"apiVersion: sightline.dev/v1alpha1
kind: TrafficLog
metadata:
  name: log-{index}
  namespace: team-{team}
spec:
  selector:
    matchLabels: {{app.kubernetes.io/name: app-{index}}}
  format:
    encoding: JSON
    preset: Istio
    fields:
    - name: tenant
      value: "%REQ(X-TENANT-{index}):64%"
    - name: team
      value: team-{team}
    omit: [user_agent]
  filter:
    type: Match
    match:
      minStatus: 400
      pathPrefixes: [/api/v{index}]
"#,
        team = index % 100
    )
}

fn files(c: &mut Criterion) {
    let corpus = corpus();
    let mut group = c.benchmark_group("10000-files");
    group.sample_size(10);
    let bytes: usize = corpus.iter().map(String::len).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("granit-parser", |b| {
        b.iter(|| {
            for text in &corpus {
                let options = granit_parser::options! { emit_comments: false };
                for event in Parser::new_from_str_with_options(black_box(text), options) {
                    black_box(event.expect("YAML"));
                }
            }
        });
    });
    group.bench_function("serde-saphyr", |b| {
        b.iter(|| {
            for text in &corpus {
                black_box(read_documents(black_box(text)).expect("YAML"));
            }
        });
    });
    let folder = TempDir::new().expect("a folder");
    let paths: Vec<PathBuf> = (0..corpus.len())
        .map(|index| folder.path().join(format!("{index}.yaml")))
        .collect();
    for (path, text) in paths.iter().zip(&corpus) {
        fs::write(path, text).expect("room for a file");
    }
    group.bench_function("read-and-lint", |b| {
        b.iter(|| {
            let mut linter = Linter::new(OPTIONS);
            for path in &paths {
                let text = fs::read_to_string(path).expect("a file");
                linter.add(path.display().to_string(), text).expect("YAML");
            }
            let checked = linter.finish();
            let codes = checked
                .iter()
                .flat_map(|file| &file.findings)
                .map(|finding| finding.code.id);
            let wrong = codes.filter(|id| *id == "SL007").count();
            assert_eq!(wrong, FILES / 400, "the wrong characters are found");
            checked
        });
    });
    group.finish();
}

criterion_group!(benches, files);
criterion_main!(benches);
