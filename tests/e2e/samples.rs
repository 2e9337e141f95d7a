//! The samples, from apply to convergence, and what a converged world is like.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::control_plane::AuditEvent;
use crate::operator::USER;
use crate::world::*;

/// One story: apply, converge, compare with `render`, write nothing for a minute, restart the operator, edit by hand while
/// it is away, and end with one restart. With the times of production, once.
#[tokio::test]
async fn samples_get_ready_as_rendered_then_nothing_is_written_and_edits_behind_a_stopped_operator_cost_one_restart()
-> Result<()> {
    let mut world = World::with_samples(1).await?;
    assert_eq!(
        world.revisions(AGENT).await?,
        2,
        "the agent is restarted once: its configuration is new"
    );
    assert_eq!(world.revisions(VIRTUAL_NODE).await?, 2, "environment is one rollout");
    live_is_as_rendered(&world).await?;
    columns_say_whether_it_works(&world).await?;
    probes_and_metrics_answer(&world).await?;

    // Zero writes over a minute: status and events included.
    world.quiet_for(Duration::from_secs(6)).await?;
    let since = Timestamp::now();
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.no_writes_since(since).await?;

    // A fresh operator has no memory, and finds nothing to do.
    world.stop_operator().await?;
    let since = Timestamp::now();
    world.start_operator().await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    world
        .no_writes_since(since)
        .await
        .context("after a restart of the operator")?;

    edits_behind_its_back(&mut world).await?;
    rights_are_enough_and_none_is_too_many(&world).await
}

async fn edits_behind_its_back(world: &mut World) -> Result<()> {
    world.stop_operator().await?;
    let agents = [
        (AGENT, 1),
        (VIRTUAL_NODE, 0),
        (ISTIOD, 0),
        (Obj("Deployment", "shop", "cart"), 0),
    ];
    let mut before = Vec::new();
    for (agent, _) in agents {
        before.push(world.revisions(agent).await?);
    }
    let map = world.mesh_config().await?;
    world.set_password("changed-while-away").await?;
    world
        .patch(
            SHOP_TELEMETRY,
            json!({"spec": {"accessLogging": [{"disabled": true}], "metrics": [{}]}}),
        )
        .await?;
    world
        .patch(
            SHARED_MAP,
            json!({"data": {"mesh": "extensionProviders: []\n", "extra": "x"}}),
        )
        .await?;
    world
        .patch(GRPC_LOGGING, json!({"data": {"application.yaml": "ds_driver: Mysql"}}))
        .await?;
    world.start_operator().await?;
    eventually(PATIENCE, "grpc-logging has the new password", async || {
        let text = world.application_yaml().await?;
        let right = "ds_driver: Elastic\nurl: http://elasticsearch.service-mesh:9200\nusername: elasticsearch\n\
                     passworld: changed-while-away";
        Ok(if text == right { Ok(()) } else { Err(text) })
    })
    .await?;
    eventually(PATIENCE, "the MeshConfig map is as it was", async || {
        let live = world.get(SHARED_MAP).await?;
        Ok(if live["data"] == json!({"mesh": map}) {
            Ok(())
        } else {
            Err(live["data"].to_string())
        })
    })
    .await?;
    eventually(PATIENCE, "the Telemetry is as it was", async || {
        let live = world.get(SHOP_TELEMETRY).await?;
        let right = providers_of(&live).len() == 3 && live.pointer("/spec/metrics").is_none();
        Ok(if right { Ok(()) } else { Err(live["spec"].to_string()) })
    })
    .await?;
    for ((agent, more), before) in agents.into_iter().zip(&before) {
        world.restarted_to(agent, before + more).await?;
    }
    world.all_ready().await?;
    live_is_as_rendered_but_the_secret(world).await?;
    // It stays so: not one more restart once all is quiet.
    world.quiet_for(Duration::from_secs(6)).await?;
    for ((agent, more), before) in agents.into_iter().zip(before) {
        assert_eq!(world.revisions(agent).await?, before + more, "{agent}");
    }
    let told = world.events(SOLARMESH).await?;
    ensure!(
        told.iter()
            .any(|(reason, note)| reason == "DriftReverted" && note.contains("somebody")),
        "an edit put back is told, with field and manager: {told:?}"
    );
    Ok(())
}

/// Every object that `render` prints is live with that very data, spec and labels; for a Deployment: environment and hash.
pub async fn live_is_as_rendered(world: &World) -> Result<()> {
    compare(world, &rendered("config/demo").await?).await
}

/// The same with the Secret as it is now.
async fn live_is_as_rendered_but_the_secret(world: &World) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for entry in std::fs::read_dir(root().join("config/demo"))? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?
            .replace("password: ZWxhc3RpY3NlYXJjaA==", "password: Y2hhbmdlZC13aGlsZS1hd2F5");
        std::fs::write(folder.path().join(entry.file_name()), text)?;
    }
    let demo = folder.path().to_str().context("not UTF-8")?;
    compare(world, &rendered(demo).await?).await
}

/// What `render` prints of the samples in a world.
async fn rendered(world: &str) -> Result<String> {
    let files = sample_files(&[world]);
    let arguments = ["render", "--show-secrets"].into_iter();
    let arguments: Vec<&str> = arguments.chain(files.iter().map(String::as_str)).collect();
    sightline_ok(&arguments).await
}

async fn compare(world: &World, text: &str) -> Result<()> {
    let printed = documents(text)?;
    ensure!(printed.len() == 15, "fifteen objects are printed:\n{text}");
    for wanted in &printed {
        let (kind, name) = (string(&wanted["kind"]), string(&wanted["metadata"]["name"]));
        let namespace = string(&wanted["metadata"]["namespace"]);
        let obj = Obj(&kind, &namespace, &name);
        let live = world.get(obj).await?;
        if kind == "Deployment" {
            for part in ["/metadata/annotations/sightline.dev~1injected", TEMPLATE_HASH] {
                assert_eq!(live.pointer(part), wanted.pointer(part), "{obj}: {part}");
            }
            assert_eq!(environment(&live), environment(wanted), "{obj}: environment");
            continue;
        }
        for part in ["spec", "data"] {
            assert_eq!(live[part], wanted[part], "{obj}: {part}");
        }
        for (label, value) in wanted["metadata"]["labels"].as_object().into_iter().flatten() {
            assert_eq!(&live["metadata"]["labels"][label], value, "{obj}: label {label}");
        }
    }
    Ok(())
}

const TEMPLATE_HASH: &str = "/spec/template/metadata/annotations/sightline.dev~1config-hash";

fn environment(deployment: &Value) -> BTreeMap<String, Vec<(String, String)>> {
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    let vars = |c: &Value| {
        c["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| (string(&v["name"]), string(&v["value"])))
            .collect()
    };
    containers
        .into_iter()
        .flatten()
        .map(|c| (string(&c["name"]), vars(c)))
        .collect()
}

fn string(value: &Value) -> String {
    text(value)
}

/// The documents of a YAML text.
fn documents(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

async fn columns_say_whether_it_works(world: &World) -> Result<()> {
    let table = world.kubectl(&["get", "sightline", "-A"]).await?;
    for column in ["AGENTS", "DIRECTION", "BACKEND", "REASON", "READY", "MESH"] {
        ensure!(table.contains(column), "no column {column}:\n{table}");
    }
    for obj in RESOURCES.into_iter().chain([CART_CALLS]) {
        let line = table.lines().find(|line| line.contains(&format!("/{} ", obj.2)));
        let line = line.with_context(|| format!("{obj} is not in the category:\n{table}"))?;
        ensure!(line.contains(" True "), "{obj} is not Ready: {line}");
    }
    for short in ["omesh", "tlog", "tback"] {
        ensure!(
            !world.kubectl(&["get", short, "-A", "--no-headers"]).await?.is_empty(),
            "no {short}"
        );
    }
    Ok(())
}

async fn probes_and_metrics_answer(world: &World) -> Result<()> {
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.operator().get(path).await?, (200, "ok\n".to_owned()), "{path}");
    }
    let (status, body) = world.operator().get("/metrics").await?;
    assert_eq!(status, 200);
    // One for each Telemetry, and one more where another policy of its namespace came after it was written.
    let writes = world.writes_since(Timestamp::UNIX_EPOCH).await?;
    let is_apply = |write: &&AuditEvent| write.resource == "telemetries" && write.verb == "patch" && write.code < 300;
    let applies = writes.iter().filter(is_apply).count();
    ensure!((7..=14).contains(&applies), "{applies} applies for 7 Telemetries");
    for line in [
        "sightline_passes_total{target=\"observabilitymesh\",outcome=\"done\"}",
        &format!("sightline_writes_total{{kind=\"Telemetry\",verb=\"apply\"}} {applies}\n"),
        // Two restarts, and the note of each that it is through.
        "sightline_writes_total{kind=\"Deployment\",verb=\"patch\"} 4",
        "sightline_pass_duration_seconds_bucket{le=\"0.001\"}",
        "sightline_queue_depth 0",
        "sightline_queue_age_seconds 0",
    ] {
        ensure!(body.contains(line), "no {line} in\n{body}");
    }
    ensure!(!body.contains("outcome=\"panicked\""), "a pass panicked:\n{body}");
    Ok(())
}

/// RBAC both ways: nothing was refused, and what the operator did is within what it asked for, rule by rule.
async fn rights_are_enough_and_none_is_too_many(world: &World) -> Result<()> {
    let refused = world.forbidden().await?;
    ensure!(refused.is_empty(), "RBAC refused:\n{}", refused.join("\n"));
    let rules = std::fs::read_to_string(root().join("config/rbac/sightline.yaml"))?;
    ensure!(
        !rules.contains("'*'") && !rules.contains("\"*\""),
        "a wildcard in the rules"
    );
    let own = |uri: &str| uri.starts_with("/api/") || uri.starts_with("/apis/");
    for event in world
        .plane
        .audit_events()?
        .into_iter()
        .filter(|e| e.user == USER && own(&e.uri))
    {
        ensure!(
            !(event.resource == "secrets" && event.namespace.is_empty()),
            "Secrets are never read cluster-wide: {}",
            write_text(&event)
        );
        // A renewal has a second for its answer; on a busy machine that is cut off and comes again.
        let is_cut_off = event.resource == "leases" && event.code == 504;
        ensure!(
            event.code < 500 || is_cut_off,
            "the API server failed: {}",
            write_text(&event)
        );
    }
    Ok(())
}

/// `render` prints the same bytes in any order of files, and each sample alone is complete.
#[tokio::test]
async fn render_prints_the_same_in_any_order_of_files_and_each_sample_alone_is_complete() -> Result<()> {
    let one = rendered("config/demo").await?;
    let mut paths: Vec<String> = SAMPLES.iter().map(|s| format!("config/samples/{s}.yaml")).collect();
    for entry in std::fs::read_dir(root().join("config/demo"))? {
        paths.push(format!("config/demo/{}", entry?.file_name().to_string_lossy()));
    }
    for turn in 0..paths.len() {
        paths.rotate_left(1);
        if turn % 2 == 0 {
            paths.reverse();
        }
        let mut arguments = vec!["render", "--show-secrets"];
        arguments.extend(paths.iter().flat_map(|path| ["-f", path.as_str()]));
        assert_eq!(sightline_ok(&arguments).await?, one, "{paths:?}");
    }
    for sample in SAMPLES {
        let path = format!("config/samples/{sample}.yaml");
        // It may print nothing: where no Deployment is given there is none to patch.
        let alone = sightline_ok(&["render", "-f", &path]).await?;
        ensure!(
            !alone.contains("elasticsearch\n    passworld: elasticsearch"),
            "a secret is printed:\n{alone}"
        );
        let with_world = sightline_ok(&["render", "--show-secrets", "-f", &path, "-f", "config/demo"]).await?;
        for document in documents(&with_world)? {
            // The shared map holds the providers of all samples; everything else is one sample's own.
            if document["metadata"]["name"] != "sightline-mesh-config" {
                ensure!(
                    documents(&one)?.contains(&document),
                    "{sample} renders otherwise alone: {document}"
                );
            }
        }
    }
    Ok(())
}
