//! What 2.x had before policies: the backends of the `Mesh`, with TrafficLogs and TrafficTraces of kuma.io.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::definitions::Shape;
use super::{apply_without_version, empty_world_of, golden_case, ours, rights, stands_in};
use crate::rbac::{asked_in, rules_in};
use crate::world::*;

const OURS: Obj<'_> = Obj("ObservabilityMesh", "", "kuma-elastic");
const ALL: Obj<'_> = Obj("TrafficLog", "kuma-system", "all");
const MESH: Obj<'_> = Obj("KumaMesh", "", "default");
const KINDS: [&str; 2] = ["KumaTrafficLog", "KumaTrafficTrace"];

/// A Mesh with a backend of somebody else, which is that of its own TrafficLogs.
fn their_mesh() -> Value {
    json!({"apiVersion": "kuma.io/v1alpha1", "kind": "Mesh", "metadata": {"name": MESH.2}, "spec": {
        "mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]},
        "logging": {"defaultBackend": "theirs",
                    "backends": [{"name": "theirs", "type": "file", "conf": {"path": "/tmp/theirs"}}]}}})
}

/// Our TrafficLogs and TrafficTraces of kuma.io: kind and name.
async fn legacy_objects(world: &World) -> Result<BTreeSet<(String, String)>> {
    let mut all = BTreeSet::new();
    for kind in KINDS {
        for object in world.list(kind, "").await? {
            all.insert((kind.to_owned(), text(&object["metadata"]["name"])));
        }
    }
    Ok(all)
}

/// Waits until the Mesh says what is wanted, and each TrafficLog and TrafficTrace stands as wanted, and no other.
async fn stands_as(world: &World, mesh: &Value, others: &[Value]) -> Result<()> {
    let names: BTreeSet<(String, String)> = others
        .iter()
        .map(|object| {
            (
                format!("Kuma{}", text(&object["kind"])),
                text(&object["metadata"]["name"]),
            )
        })
        .collect();
    eventually(PATIENCE, "what 2.x had before policies stands", async || {
        let live = legacy_objects(world).await?;
        if live != names {
            return Ok(Err(format!("{live:?}, wanted {names:?}")));
        }
        let live = world.get(MESH).await?["spec"].clone();
        Ok(if live == mesh["spec"] {
            Ok(())
        } else {
            Err(format!("{live}, wanted {}", mesh["spec"]))
        })
    })
    .await?;
    for wanted in others {
        let kind = format!("Kuma{}", text(&wanted["kind"]));
        let live = world.get(Obj(&kind, "", &text(&wanted["metadata"]["name"]))).await?;
        ensure!(
            stands_in(&wanted["spec"], &live["spec"]) && live["mesh"] == wanted["mesh"],
            "{live}, wanted {wanted}"
        );
    }
    Ok(())
}

/// The Mesh of somebody else, with the backends that the golden case writes behind theirs.
fn with_ours(golden: &Value) -> Value {
    let mut mesh = their_mesh();
    for section in ["tracing", "metrics"] {
        mesh["spec"][section] = golden["spec"][section].clone();
    }
    if let (Some(theirs), Some(ours)) = (
        mesh["spec"]["logging"]["backends"].as_array_mut(),
        golden["spec"]["logging"]["backends"].as_array(),
    ) {
        theirs.extend(ours.iter().cloned());
    }
    mesh
}

#[tokio::test]
async fn what_kuma_had_before_policies_is_written_on_request_beside_what_is_there_and_taken_out_again() -> Result<()> {
    let world = empty_world_of(Shape::V2_13, "2.13.6").await?;
    world.apply(&their_mesh().to_string()).await?;

    let (given, objects) = golden_case("kuma-elastic-of-the-seed-legacy")?;
    let (mesh, others): (Vec<Value>, Vec<Value>) = objects.into_iter().partition(|object| object["kind"] == "Mesh");
    let wanted = with_ours(mesh.first().context("the golden case has no Mesh")?);
    apply_without_version(&world, given).await?;
    stands_as(&world, &wanted, &others).await?;
    ensure!(
        ours(&world, Shape::V2_13).await?.is_empty(),
        "policies beside what was before them"
    );
    world.ready(OURS).await?;
    world.ready(ALL).await?;
    let said = world
        .expect(OURS, TOLD, "PartiallyExpressed", "True", "NotExpressible")
        .await?;
    ensure!(said.contains("TrafficRoute"), "{said}");

    // A hand that takes our backends out of the Mesh is undone, and loses nothing of its own.
    let edit = json!({"spec": {"tracing": null, "constraints": {"dataplaneProxy": {}}}});
    world.patch(MESH, edit).await?;
    let mut edited = wanted.clone();
    edited["spec"]["constraints"] = json!({"dataplaneProxy": {}});
    stands_as(&world, &edited, &others).await?;

    // Policies, and back.
    world
        .patch(OURS, json!({"spec": {"mesh": {"kuma": {"legacy": null}}}}))
        .await?;
    world.patch(MESH, json!({"spec": {"constraints": null}})).await?;
    stands_as(&world, &their_mesh(), &[]).await?;
    eventually(PATIENCE, "policies stand", async || {
        let policies = ours(&world, Shape::V2_13).await?;
        Ok(if policies.len() >= 3 {
            Ok(())
        } else {
            Err(format!("{policies:?}"))
        })
    })
    .await?;
    world
        .patch(OURS, json!({"spec": {"mesh": {"kuma": {"legacy": true}}}}))
        .await?;
    stands_as(&world, &wanted, &others).await?;
    eventually(PATIENCE, "policies are gone", async || {
        let left = ours(&world, Shape::V2_13).await?;
        Ok(if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        })
    })
    .await?;

    // What nobody wants any more goes.
    world.delete_and_wait(OURS).await?;
    stands_as(&world, &their_mesh(), &[]).await?;
    the_rights_are_what_is_asked_for(&world).await
}

/// Each right to what was before policies is used, and none is missing.
async fn the_rights_are_what_is_asked_for(world: &World) -> Result<()> {
    let forbidden = world.forbidden().await?;
    ensure!(forbidden.is_empty(), "{forbidden:?}");
    let objects = serde_saphyr::from_multiple::<Value>(&rights().await?)?;
    let legacy = |all: BTreeSet<(String, String)>| -> BTreeSet<(String, String)> {
        let is_meant = |(resource, _): &(String, String)| {
            ["kuma.io/meshes", "kuma.io/trafficlogs", "kuma.io/traffictraces"].contains(&resource.as_str())
        };
        all.into_iter().filter(is_meant).collect()
    };
    assert_eq!(legacy(asked_in(world, None).await?), legacy(rules_in(&objects, None)));
    Ok(())
}
