//! What the API server refuses, in our words, and how the kinds read in kubectl.

use anyhow::{Result, ensure};

use crate::world::*;

/// Kind, its spec, and what the refusal has to say.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "TrafficLog",
        "{selector: {matchLabels: {app: 'cart*'}}}",
        "write the whole label value",
    ),
    (
        "TrafficLog",
        "{disabled: true, format: {preset: Istio}}",
        "disabled: true switches logging off and stands alone",
    ),
    (
        "TrafficLog",
        "{format: {encoding: JSON, text: '%RESPONSE_CODE%'}}",
        "with encoding: JSON write fields: [{name, value}]",
    ),
    (
        "TrafficLog",
        "{format: {preset: Istio, text: x}}",
        "remove preset, fields and omit, or remove text",
    ),
    ("TrafficLog", "{priority: 1001}", "should be less than or equal to 1000"),
    ("TrafficLog", "{direction: Sideways}", "supported values"),
    ("TrafficLog", "{backend: stdout}", "unknown field \"spec.backend\""),
    (
        "TracingBackend",
        "{destination: {type: MeshBackend}}",
        "destination: meshBackend: {name} goes with type: MeshBackend, and only with it",
    ),
    (
        "TracingBackend",
        "{destination: {type: MeshBackend, meshBackend: {name: t}}, sampling: {percentage: '100.5'}}",
        "sampling.percentage",
    ),
    (
        "TracingBackend",
        "{destination: {type: MeshBackend, meshBackend: {name: t}}, sampling: {percentage: 1.5}}",
        "must be of type string",
    ),
    (
        "TracingBackend",
        "{destination: {type: MeshBackend, meshBackend: {name: t}}, inject: [{name: s, dialect: InterLink, workloads: {selector: {matchLabels: {}}}}]}",
        "matchLabels",
    ),
    ("ObservabilityMesh", "{}", "spec.mesh"),
    ("ObservabilityMesh", "{mesh: {type: Istios}}", "supported values"),
    (
        "ObservabilityMesh",
        "{mesh: {type: None, istio: {}}}",
        "mesh.istio is for type: Istio or Kmesh; remove it or set one of these",
    ),
    (
        "ObservabilityMesh",
        "{mesh: {type: None}, interfaceTraffic: {elasticsearch: {url: 'http://es:9200', credentialsSecretRef: {namespace: a, name: es}}}}",
        "set allowPlaintextCredentials: true to accept that",
    ),
    (
        "ObservabilityMesh",
        "{mesh: {type: Istio}, logging: {backends: [{name: a, type: File, file: {path: '/a/../b'}}], defaultBackends: [a]}}",
        "file.path must not contain '..'",
    ),
    (
        "ObservabilityMesh",
        "{mesh: {type: Istio}, tracing: {backends: [{name: a, type: OTLP}]}}",
        "tracing.backends: otlp: {endpoint: {host, port}} goes with type: OTLP, and only with it",
    ),
    (
        "ObservabilityMesh",
        "{mesh: {type: None}, rollout: {minInterval: soon}}",
        "spec.rollout.minInterval",
    ),
];

#[tokio::test]
async fn bad_specs_are_refused_at_apply_in_our_words_and_kubectl_explain_reads_like_a_manual() -> Result<()> {
    let world = World::bare().await?;
    for (kind, spec, words) in REFUSED {
        let yaml = format!("apiVersion: sightline.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n");
        let Err(error) = world.apply(&yaml).await else {
            anyhow::bail!("{kind} {spec} is taken");
        };
        let error = format!("{error:#}");
        ensure!(
            error.contains(words),
            "{kind} {spec}: the message does not say `{words}`: {error}"
        );
        // `render` says the same of a file, with exit 2.
        let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        std::fs::write(file.path(), &yaml)?;
        let output = sightline(&["render", "-f", &file.path().to_string_lossy()]).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(2) && output.stdout.is_empty(),
            "render takes {kind} {spec}: {said}"
        );
        ensure!(
            said.to_lowercase().contains(&words.to_lowercase()),
            "render of {kind} {spec} does not say `{words}`: {said}"
        );
    }
    mesh_type_is_for_ever(&world).await?;
    explain(&world).await?;
    ensure!(
        world
            .kubectl(&["api-resources", "--categories=sightline", "-o", "name"])
            .await?
            .lines()
            .count()
            == 3
    );
    Ok(())
}

async fn mesh_type_is_for_ever(world: &World) -> Result<()> {
    let mesh = |type_: &str| {
        format!(
            "{{apiVersion: sightline.dev/v1alpha1, kind: ObservabilityMesh, metadata: {{name: a}}, spec: {{mesh: {{type: {type_}}}}}}}"
        )
    };
    world.apply(&mesh("None")).await?;
    let error = world
        .apply(&mesh("Istio"))
        .await
        .err()
        .map(|e| format!("{e:#}"))
        .unwrap_or_default();
    ensure!(error.contains("mesh.type cannot be changed"), "{error}");
    // The smallest of each kind are complete.
    world
        .apply("{apiVersion: sightline.dev/v1alpha1, kind: TrafficLog, metadata: {name: a}, spec: {}}")
        .await?;
    let log = world.get(Obj("TrafficLog", "default", "a")).await?;
    assert_eq!(
        log["spec"]["direction"], "Both",
        "defaults are filled in: {}",
        log["spec"]
    );
    Ok(())
}

async fn explain(world: &World) -> Result<()> {
    for (field, words) in [
        (
            "trafficlogs.spec.format",
            &[
                "FIELD: format",
                "encoding",
                "enum: Text, JSON",
                "preset",
                "fields",
                "omit",
                "text",
            ][..],
        ),
        (
            "trafficlogs.spec",
            &["direction", "selector", "backends", "priority", "disabled", "default"],
        ),
        ("tracingbackends.spec.sampling.percentage", &["percent"]),
        (
            "observabilitymeshes.spec.rollout",
            &["maxConcurrent", "quietPeriod", "Default"],
        ),
    ] {
        let page = world
            .kubectl(&["explain", field, "--api-version=sightline.dev/v1alpha1"])
            .await?;
        for word in words {
            ensure!(page.contains(word), "explain {field} does not speak of {word}:\n{page}");
        }
        ensure!(
            !page.contains("<no description>") && !page.contains("<empty>"),
            "explain {field} has a gap:\n{page}"
        );
    }
    Ok(())
}
