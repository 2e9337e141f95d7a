//! Many policies at once: what istiod is made to push stays little.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::operator::LONG_LEASE_TIMES;
use crate::world::*;

const NAMESPACES: usize = 50;
const POLICIES_PER_NAMESPACE: usize = 10;
const FORMATS: usize = 100;

/// 500 TrafficLogs with 100 formats in 50 namespaces, with the times of production: every write of MeshConfig makes istiod
/// push to every proxy.
#[tokio::test]
async fn five_hundred_policies_converge_with_fewer_than_ten_writes_of_mesh_config() -> Result<()> {
    let mut world = World::demo().await?;
    world.set_divisor(1);
    world.set_lease_times(LONG_LEASE_TIMES);
    world.start_operator().await?;
    world.apply(&serde_json::to_string(&mesh())?).await?;
    let since = Timestamp::now();
    let mut documents = Vec::new();
    for namespace in 0..NAMESPACES {
        documents.push(json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name_of(namespace), "labels": {"istio-injection": "enabled", "scale": "yes"}}}));
        documents.extend((0..POLICIES_PER_NAMESPACE).map(|policy| traffic_log(namespace, policy)));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": documents});
    world.apply(&serde_json::to_string(&list)?).await?;

    eventually(Duration::from_mins(6), "every policy is Ready", async || {
        let mut waiting = Vec::new();
        for log in world.list("TrafficLog", "").await? {
            let ready = condition_of(&log, "Ready");
            if ready.as_ref().is_none_or(|ready| ready.status != "True") {
                waiting.push(format!("{}: {:?}", log["metadata"]["name"], ready.map(|r| r.message)));
            }
        }
        Ok(match waiting.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} wait, such as {first}", waiting.len())),
        })
    })
    .await?;
    world.quiet_for(Duration::from_secs(3)).await?;

    let logs = world.list("TrafficLog", "").await?.len();
    ensure!(logs == NAMESPACES * POLICIES_PER_NAMESPACE, "{logs} TrafficLogs");
    let map = world.mesh_config().await?;
    ensure!(
        map.matches("- name: sightline-").count() == FORMATS,
        "one provider for each format: {map}"
    );
    for namespace in 0..NAMESPACES {
        let objects = world.list("Telemetry", &name_of(namespace)).await?.len();
        ensure!(
            objects == POLICIES_PER_NAMESPACE,
            "one object for each set of labels: {objects}"
        );
    }
    let of_map: Vec<String> = world
        .writes_since(since)
        .await?
        .iter()
        .map(write_text)
        .filter(|write| write.contains("configmaps") && write.contains(SHARED_MAP.2))
        .collect();
    ensure!(
        !of_map.is_empty() && of_map.len() < 10,
        "MeshConfig was written {} times: {of_map:?}",
        of_map.len()
    );
    Ok(())
}

fn name_of(namespace: usize) -> String {
    format!("scale-{namespace:02}")
}

fn mesh() -> Value {
    json!({
        "apiVersion": "sightline.dev/v1alpha1",
        "kind": "ObservabilityMesh",
        "metadata": {"name": "scale"},
        "spec": {"mesh": {"type": "Istio"}, "namespaces": {"matchLabels": {"scale": "yes"}}},
    })
}

/// Five formats a namespace, each of them in several namespaces.
fn traffic_log(namespace: usize, policy: usize) -> Value {
    let format = (namespace * 2 + [0, 1, 40, 41, 60][policy % 5]) % FORMATS;
    let text = format!("format {format} %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %DURATION%");
    json!({
        "apiVersion": "sightline.dev/v1alpha1",
        "kind": "TrafficLog",
        "metadata": {"name": format!("log-{policy}"), "namespace": name_of(namespace)},
        "spec": {"selector": {"matchLabels": {"app": format!("app-{policy}")}}, "format": {"text": text}},
    })
}
