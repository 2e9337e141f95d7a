//! How extension providers get into MeshConfig: our own map, entries in the text of somebody else's, or not by us.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sightline::snapshot::mesh_config::read;

use crate::world::*;

/// istiod's own MeshConfig.
const ISTIO_MAP: Obj = Obj("ConfigMap", "istio-system", "istio");
const PLATFORM_MAP: Obj = Obj("ConfigMap", "istio-system", "platform-mesh-config");
const CANARY: Obj = Obj("Deployment", "istio-system", "istiod-canary");

/// As people keep it, without a newline at its end.
const TEXT: &str = "# Kept by the platform team.\ntrustDomain:   cluster.local   # as ever\nextensionProviders:\n# for the auditors\n- name: \"audit\"  # stays\n  envoyFileAccessLog: {path: /dev/stderr}\n\nrootNamespace: istio-system";

#[tokio::test]
async fn patch_keeps_every_byte_that_is_not_ours_and_survives_helm_and_goes_with_the_mesh() -> Result<()> {
    let world = World::with_operator(10).await?;
    write_text_of(&world, ISTIO_MAP, TEXT).await?;
    world.apply_sample("istio-default-access-log").await?;
    all_ready(&world).await?;
    let shared = world.mesh_config().await?;

    mode(&world, json!({"mode": "Patch"})).await?;
    world.gone(SHARED_MAP, PATIENCE).await?;
    all_ready(&world).await?;
    holds_ours_and(&world, ISTIO_MAP, TEXT, &shared).await?;
    lists(&world, &["istio-system/istio"]).await?;
    is_written_by_no_apply(&world).await?;

    helm_upgrades(&world, &shared).await?;
    a_text_that_cannot_be_changed_is_left_alone(&world).await?;
    an_edit_of_ours_is_put_back(&world, &shared).await?;

    // From one map to another.
    let platform = "# shared with others\n";
    world.apply(&config_map(PLATFORM_MAP, platform).to_string()).await?;
    mode(&world, json!({"mode": "Patch", "configMapName": PLATFORM_MAP.2})).await?;
    let words = [
        "istiod of revision default does not read",
        "istio-system/platform-mesh-config",
    ];
    world.told(ISTIO_SHOP, "SharedConfigNotWired", &words).await?;
    ensure!(
        mesh_text(&world, ISTIO_MAP).await? != TEXT,
        "what is in use stays until it is elsewhere"
    );
    world
        .set_env(ISTIOD, &format!("SHARED_MESH_CONFIG={}", PLATFORM_MAP.2))
        .await?;
    all_ready(&world).await?;
    has_text(&world, ISTIO_MAP, TEXT).await?;
    holds_ours_and(&world, PLATFORM_MAP, platform, &shared).await?;
    lists(&world, &["istio-system/platform-mesh-config"]).await?;

    // The end: what is not ours is as it was.
    world.delete_and_wait(ACCESS_LOG).await?;
    world.delete_and_wait(TRACES).await?;
    world.delete_and_wait(ISTIO_SHOP).await?;
    has_text(&world, PLATFORM_MAP, platform).await?;
    has_text(&world, ISTIO_MAP, TEXT).await?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

/// Helm 4 applies by the server: its upgrade conflicts with our write, and takes the text when it is forced.
async fn helm_upgrades(world: &World, shared: &str) -> Result<()> {
    let upgraded = format!("{TEXT}\nenablePrometheusMerge: true\n");
    let refused = helm_applies(world, &upgraded, false)
        .await
        .err()
        .context("no conflict")?;
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains("conflict") && refused.contains("\"sightline\"") && refused.contains(".data.mesh"),
        "{refused}"
    );
    helm_applies(world, &upgraded, true).await?;
    holds_ours_and(world, ISTIO_MAP, &upgraded, shared).await?;
    all_ready(world).await?;
    let is_told = |(reason, note): &(String, String)| reason == "DriftReverted" && note.contains("by helm; put back");
    ensure!(
        world.events(ISTIO_SHOP).await?.iter().any(is_told),
        "{:?}",
        world.events(ISTIO_SHOP).await?
    );
    // The next upgrade takes Helm's text back again.
    helm_applies(world, TEXT, true).await?;
    holds_ours_and(world, ISTIO_MAP, TEXT, shared).await?;
    all_ready(world).await
}

async fn a_text_that_cannot_be_changed_is_left_alone(world: &World) -> Result<()> {
    let before = mesh_text(world, ISTIO_MAP).await?;
    let telemetry = world.get(SHOP_TELEMETRY).await?;
    let bad = "x: &x []\nextensionProviders: *x\nrootNamespace: istio-system\n";
    write_text_of(world, ISTIO_MAP, bad).await?;
    world
        .told(
            ISTIO_SHOP,
            "MeshConfigUnreadable",
            &["ConfigMap istio-system/istio", "line 2"],
        )
        .await?;
    world.told(ACCESS_LOG, "MeshConfigUnreadable", &["line 2"]).await?;
    always(Duration::from_secs(2), "the text and the Telemetry stay", async || {
        let seen = (
            mesh_text(world, ISTIO_MAP).await?,
            world.get(SHOP_TELEMETRY).await?["spec"].clone(),
        );
        Ok(if seen == (bad.to_owned(), telemetry["spec"].clone()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        })
    })
    .await?;
    write_text_of(world, ISTIO_MAP, &before).await?;
    all_ready(world).await
}

async fn an_edit_of_ours_is_put_back(world: &World, shared: &str) -> Result<()> {
    let text = mesh_text(world, ISTIO_MAP).await?;
    for edited in [text.replace("%PROTOCOL%", "%PROTOCOL% edited"), TEXT.to_owned()] {
        ensure!(edited != text, "nothing was edited");
        write_text_of(world, ISTIO_MAP, &edited).await?;
        holds_ours_and(world, ISTIO_MAP, TEXT, shared).await?;
        all_ready(world).await?;
    }
    Ok(())
}

#[tokio::test]
async fn verify_writes_nothing_tells_what_is_missing_in_any_revision_and_heals_when_it_is_there() -> Result<()> {
    let world = World::with_operator(10).await?;
    world.apply_sample("istio-default-access-log").await?;
    all_ready(&world).await?;
    let shared = world.mesh_config().await?;
    let bare = mesh_text(&world, ISTIO_MAP).await?;

    // While nobody has added them, what is live keeps the map that it needs.
    mode(&world, json!({"mode": "Verify"})).await?;
    all_ready(&world).await?;
    let format = json!({"encoding": "Text", "text": "%RESPONSE_CODE% new"});
    world.patch(ACCESS_LOG, json!({"spec": {"format": format}})).await?;
    let words = [
        "lacks extension provider sightline-file-",
        "`sightline explain mesh istio-shop`",
    ];
    world.told(ACCESS_LOG, "ProviderMissing", &words).await?;
    world.told(ISTIO_SHOP, "ProviderMissing", &words).await?;
    ensure!(world.mesh_config().await? == shared, "nothing is written");
    ensure!(mesh_text(&world, ISTIO_MAP).await? == bare, "nothing is written");
    world.patch(ACCESS_LOG, json!({"spec": {"format": null}})).await?;
    all_ready(&world).await?;

    // Added by hand to istiod's own: our map is needed no more.
    let added = format!("{bare}\n{shared}");
    write_text_of(&world, ISTIO_MAP, &added).await?;
    world.gone(SHARED_MAP, PATIENCE).await?;
    all_ready(&world).await?;
    lists(&world, &[]).await?;

    // Another content, or none, is told and is nobody's to put right but theirs.
    for wrong in [added.replace("%PROTOCOL%", "%PROTOCOL% edited"), bare.clone()] {
        ensure!(wrong != added, "nothing was edited");
        write_text_of(&world, ISTIO_MAP, &wrong).await?;
        world
            .told(ACCESS_LOG, "ProviderMissing", &["`sightline explain mesh istio-shop`"])
            .await?;
        always(Duration::from_secs(1), "the text stays", async || {
            let text = mesh_text(&world, ISTIO_MAP).await?;
            Ok(if text == wrong { Ok(()) } else { Err(text) })
        })
        .await?;
        write_text_of(&world, ISTIO_MAP, &added).await?;
        all_ready(&world).await?;
    }

    a_second_revision(&world, &bare, &added).await?;
    the_map_of_somebody_else(&world, &shared).await?;
    ensure!(
        world.forbidden().await?.is_empty(),
        "RBAC refused: {:?}",
        world.forbidden().await?
    );
    Ok(())
}

/// Each revision is asked, in each mode.
async fn a_second_revision(world: &World, bare: &str, added: &str) -> Result<()> {
    let revisions = |list: Value| json!({"spec": {"mesh": {"istio": {"revisions": list}}}});
    world.patch(ISTIO_SHOP, revisions(json!(["default", "canary"]))).await?;
    world
        .told_as(ISTIO_SHOP, "Unknown", "ControlPlaneNotVisible", &["canary"])
        .await?;
    start_canary(world).await?;
    let map = Obj("ConfigMap", "istio-system", "istio-canary");
    world.apply(&config_map(map, bare).to_string()).await?;
    world
        .told(
            ISTIO_SHOP,
            "ProviderMissing",
            &["revision canary", "istio-system/istio-canary"],
        )
        .await?;
    write_text_of(world, map, added).await?;
    all_ready(world).await?;

    mode(world, json!({"mode": "Shared"})).await?;
    let line = "kubectl -n istio-system set env deployment/istiod-canary SHARED_MESH_CONFIG=sightline-mesh-config";
    world.told(ISTIO_SHOP, "SharedConfigNotWired", &[line]).await?;
    world
        .set_env(CANARY, &format!("SHARED_MESH_CONFIG={}", SHARED_MAP.2))
        .await?;
    all_ready(world).await?;
    world.patch(ISTIO_SHOP, revisions(json!(["default"]))).await?;
    world.delete_and_wait(CANARY).await?;
    write_text_of(world, ISTIO_MAP, bare).await?;
    all_ready(world).await
}

/// `SharedConfigTaken`, and the way out that it tells.
async fn the_map_of_somebody_else(world: &World, shared: &str) -> Result<()> {
    let platform = "extensionProviders: [] # theirs\n";
    world.apply(&config_map(PLATFORM_MAP, platform).to_string()).await?;
    world
        .set_env(ISTIOD, &format!("SHARED_MESH_CONFIG={}", PLATFORM_MAP.2))
        .await?;
    let way_out = "{mode: Patch, configMapName: platform-mesh-config}";
    world.told(ISTIO_SHOP, "SharedConfigTaken", &[way_out]).await?;
    mode(world, json!({"mode": "Patch", "configMapName": PLATFORM_MAP.2})).await?;
    all_ready(world).await?;
    let config = read(&world.get(PLATFORM_MAP).await?)?.context("no MeshConfig")?;
    ensure!(config.providers == providers(shared)?, "{config:?}");
    world.gone(SHARED_MAP, PATIENCE).await?;
    world.delete(ISTIO_SHOP).await?;
    has_text(world, PLATFORM_MAP, platform).await
}

async fn all_ready(world: &World) -> Result<()> {
    for obj in [ISTIO_SHOP, ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    Ok(())
}

async fn mode(world: &World, mesh_config: Value) -> Result<()> {
    // What was named before goes, unless it is named again.
    let reset = json!({"spec": {"mesh": {"istio": {"meshConfig": null}}}});
    let mesh: Value = json!({"spec": {"mesh": {"istio": {"meshConfig": mesh_config}}}});
    if mesh_config.get("configMapName").is_none() && mesh_config["mode"] == "Shared" {
        return world.patch(ISTIO_SHOP, reset).await;
    }
    world.patch(ISTIO_SHOP, mesh).await
}

async fn start_canary(world: &World) -> Result<()> {
    let labels = json!({"app": "istiod", "istio.io/rev": "canary"});
    let container = json!({"name": "discovery", "image": "docker.io/istio/pilot:1.30.3",
                           "resources": {"requests": {"cpu": "1m"}}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": CANARY.2, "namespace": CANARY.1},
        "spec": {"selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    });
    world.apply(&deployment.to_string()).await
}

fn config_map(map: Obj<'_>, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map.2, "namespace": map.1},
           "data": {"mesh": text}})
}

async fn mesh_text(world: &World, map: Obj<'_>) -> Result<String> {
    Ok(text(&world.get(map).await?["data"]["mesh"]))
}

async fn write_text_of(world: &World, map: Obj<'_>, text: &str) -> Result<()> {
    world.patch(map, json!({"data": {"mesh": text}})).await
}

async fn has_text(world: &World, map: Obj<'_>, wanted: &str) -> Result<()> {
    eventually(PATIENCE, &format!("{map} is as it was without us"), async || {
        let text = mesh_text(world, map).await?;
        Ok(if text == wanted { Ok(()) } else { Err(text) })
    })
    .await
}

/// Providers of a text, by name.
fn providers(text: &str) -> Result<std::collections::BTreeMap<String, Value>> {
    let config = read(&json!({"data": {"mesh": text}}))?.context("no MeshConfig")?;
    let ours = config.providers.into_iter();
    Ok(ours.filter(|(name, _)| name.starts_with("sightline-")).collect())
}

/// Waits until a map has the entries that `shared` has, and every line of `others` in its order beside them.
async fn holds_ours_and(world: &World, map: Obj<'_>, others: &str, shared: &str) -> Result<()> {
    let wanted = providers(shared)?;
    eventually(PATIENCE, &format!("{map} has our entries"), async || {
        let text = mesh_text(world, map).await?;
        let mut lines = text.lines();
        let keeps = others.lines().all(|line| lines.any(|other| other == line));
        Ok(
            if providers(&text)? == wanted && keeps && text.ends_with('\n') == others.ends_with('\n') {
                Ok(())
            } else {
                Err(text)
            },
        )
    })
    .await
}

async fn lists(world: &World, maps: &[&str]) -> Result<()> {
    eventually(PATIENCE, &format!("the status lists {maps:?}"), async || {
        let listed = world.get(ISTIO_SHOP).await?["status"]["meshConfigMaps"].clone();
        let same = listed
            .as_array()
            .map_or(maps.is_empty(), |listed| listed.iter().eq(maps));
        Ok(if same { Ok(()) } else { Err(listed.to_string()) })
    })
    .await
}

/// What is applied by force is ours alone, and would go with us.
async fn is_written_by_no_apply(world: &World) -> Result<()> {
    let map = world.get(ISTIO_MAP).await?;
    let managers = map["metadata"]["managedFields"].as_array().context("no managers")?;
    let ours: Vec<&Value> = managers
        .iter()
        .filter(|entry| entry["manager"] == "sightline")
        .collect();
    let is_update =
        |entry: &&Value| entry["operation"] == "Update" && entry["fieldsV1"]["f:data"]["f:mesh"].is_object();
    ensure!(ours.len() == 1 && ours.iter().all(is_update), "{ours:?}");
    Ok(())
}

/// As `helm upgrade` of version 4 does.
async fn helm_applies(world: &World, text: &str, force: bool) -> Result<DynamicObject> {
    let params = PatchParams {
        force,
        ..PatchParams::apply("helm")
    };
    let patch = Patch::Apply(config_map(ISTIO_MAP, text));
    Ok(world.api(ISTIO_MAP).patch(ISTIO_MAP.2, &params, &patch).await?)
}
