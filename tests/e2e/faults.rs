//! Faults of the API server, of watches and of the process: the end is that without them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::fault_proxy::{Cut, Fault, Request, Rule};
use crate::matrix;
use crate::scenario::{Scenario, Script, Stage};
use crate::world::*;

/// The own kinds, which policies come from.
const OWN: &[&str] = &["observabilitymeshes", "trafficlogs", "tracingbackends"];
/// What is written for [`Scenario::Change`].
const OUTPUTS: &[&str] = &["telemetries", "configmaps"];

fn is_object(request: &Request) -> bool {
    request.is_write() && request.subresource.is_empty() && request.resource != "events"
}

fn is_status(request: &Request) -> bool {
    request.is_write() && request.subresource == "status"
}

fn answer(code: u16, reason: &'static str, retry_after: Option<u64>) -> Fault {
    Fault::Answer {
        code,
        reason,
        retry_after,
    }
}

/// Each a number of the fault matrix, and what strikes.
fn faults_of_the_server() -> Vec<(&'static str, Rule)> {
    let objects = |fault| Rule::new(fault, is_object).first(3);
    vec![
        (
            "17 429 with Retry-After",
            Rule::new(answer(429, "TooManyRequests", Some(1)), Request::is_write).first(6),
        ),
        ("17 500", objects(answer(500, "InternalError", None))),
        (
            "17 503",
            Rule::new(answer(503, "ServiceUnavailable", None), |_| true).first(12),
        ),
        ("17 504", objects(answer(504, "Timeout", None))),
        (
            "17 connection reset",
            Rule::new(Fault::Drop, Request::is_write).first(6),
        ),
        (
            "17 answer lost",
            Rule::new(Fault::LoseReply, Request::is_write).first(6),
        ),
        ("17 no answer", Rule::new(Fault::Hang, is_object).first(1)),
        (
            "17 slow",
            Rule::new(Fault::Delay(Duration::from_millis(400)), |request| !request.is_watch()),
        ),
        (
            "18 conflict on status",
            Rule::new(answer(409, "Conflict", None), is_status).first(4),
        ),
        ("18 conflict on objects", objects(answer(409, "Conflict", None))),
    ]
}

async fn strike(there: Scenario, back: Scenario) -> Result<()> {
    let mut stage = Stage::set(there, back).await?;
    // Each rule is used up by one run.
    let both = faults_of_the_server().into_iter().zip(faults_of_the_server());
    for ((name, rule), (_, again)) in both {
        for (scenario, rule) in [(there, rule), (back, again)] {
            let hits = stage
                .play(scenario, rule)
                .await
                .with_context(|| format!("{scenario:?}, {name}"))?;
            ensure!(hits > 0, "{scenario:?}, {name}: nothing was struck");
            matrix::record(name, &scenario.name(), "ok")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_failing_api_server_costs_a_change_nothing_but_time() -> Result<()> {
    strike(Scenario::Change, Scenario::Revert).await
}

#[tokio::test]
async fn a_failing_api_server_costs_a_restart_nothing_but_time() -> Result<()> {
    strike(Scenario::Roll, Scenario::RollBack).await
}

/// Lists of our kinds and of Telemetries so far.
fn lists(world: &World) -> usize {
    let kinds = OWN.iter().chain(OUTPUTS);
    kinds.map(|kind| world.proxy().requests("list", kind)).sum()
}

#[tokio::test]
async fn broken_and_lagging_watches_lose_nothing_repeat_nothing_and_start_no_storm_of_lists() -> Result<()> {
    let (there, back) = (Scenario::Change, Scenario::Revert);
    let mut stage = Stage::set(there, back).await?;
    for (name, cut, most) in [
        ("14 watch cut in mid JSON", Cut::MidJson, 0),
        ("14 watch ends", Cut::Clean, 0),
        ("14 empty lines", Cut::Noise, 0),
        // Each of the five watches of those kinds that run, and the maps by name, lists once more.
        ("11 watch says 410", Cut::Gone, 8),
    ] {
        for scenario in [there, back] {
            let cut_all = async |world: &mut World| {
                let before = lists(world);
                world.proxy().cut("", cut)?;
                // Again when the watches are back, in the middle of the work.
                tokio::time::sleep(Duration::from_millis(700)).await;
                let listed = lists(world) - before;
                ensure!(listed <= most, "{listed} lists for one cut");
                Ok(())
            };
            let played = stage.play_with(scenario, Script::default(), cut_all).await;
            played.with_context(|| format!("{scenario:?}, {name}"))?;
            matrix::record(name, &scenario.name(), "ok")?;
        }
    }

    // Three changes behind a frozen watch.
    for (scenario, last) in [
        (there, json!({"encoding": "JSON", "preset": "Istio"})),
        (back, json!(null)),
    ] {
        let name = "7 frozen watch, three changes";
        let frozen = Script {
            rules: Vec::new(),
            frozen: OWN,
        };
        let three = async |world: &mut World| {
            for format in [
                json!({"text": "%RESPONSE_CODE%\n"}),
                json!({"text": "%PROTOCOL%\n"}),
                last,
            ] {
                world.patch(ACCESS_LOG, json!({"spec": {"format": null}})).await?;
                world.patch(ACCESS_LOG, json!({"spec": {"format": format}})).await?;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            world.proxy().thaw();
            Ok(())
        };
        let played = stage.play_with(scenario, frozen, three).await;
        played.with_context(|| format!("{scenario:?}, {name}"))?;
        matrix::record(name, &scenario.name(), "ok")?;
    }

    // Our own writes do not come back, and the work is asked for again and again meanwhile.
    for scenario in [there, back] {
        let name = "8 own writes not seen, more triggers";
        let frozen = Script {
            rules: Vec::new(),
            frozen: OUTPUTS,
        };
        let trigger = async |world: &mut World| {
            for value in [json!("1"), json!("2"), json!(null)] {
                world
                    .patch(ACCESS_LOG, json!({"metadata": {"labels": {"trigger": value}}}))
                    .await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        };
        let played = stage.play_with(scenario, frozen, trigger).await;
        played.with_context(|| format!("{scenario:?}, {name}"))?;
        for output in OUTPUTS {
            let count = |writes: &[String]| {
                writes
                    .iter()
                    .filter(|w| w.starts_with(&format!("patch {output}")))
                    .count()
            };
            let (now, reference) = (count(&stage.writes()), count(&stage.reference(scenario).writes));
            ensure!(
                now <= reference,
                "{scenario:?}: {output} written {now} times, {reference} without the fault"
            );
        }
        matrix::record(name, &scenario.name(), "ok")?;
    }
    Ok(())
}

#[tokio::test]
async fn the_end_of_policies_that_no_watch_told_is_found_by_the_next_list() -> Result<()> {
    let mut stage = Stage::set(Scenario::Apply, Scenario::Delete).await?;
    stage.play(Scenario::Apply, Script::default()).await?;
    let frozen = Script {
        rules: Vec::new(),
        frozen: OWN,
    };
    let gone = async |world: &mut World| {
        for kind in OWN {
            world.proxy().cut(kind, Cut::Gone)?;
        }
        // The meshes end by our finalizer, of which the new watches tell.
        world.proxy().thaw();
        Ok(())
    };
    stage.play_with(Scenario::Delete, frozen, gone).await?;
    matrix::record("11 delete missed, 410", &Scenario::Delete.name(), "ok")
}

#[tokio::test]
async fn a_restarted_api_server_and_a_sigterm_in_the_middle_of_a_write_change_no_end() -> Result<()> {
    let (there, back) = (Scenario::Roll, Scenario::RollBack);
    let mut stage = Stage::set(there, back).await?;
    for scenario in [there, back] {
        let restart = async |world: &mut World| world.plane.restart_api_server().await;
        stage
            .play_with(scenario, Script::default(), restart)
            .await
            .with_context(|| format!("{scenario:?}, restart"))?;
        matrix::record("21 API server restarted", &scenario.name(), "ok")?;
    }
    for scenario in [there, back] {
        let slow = Rule::new(Fault::Delay(Duration::from_secs(2)), is_object).first(1);
        let term = async |world: &mut World| {
            eventually(PATIENCE, "a write is under way", async || {
                Ok(if world.proxy().hits() > 0 {
                    Ok(())
                } else {
                    Err("none".to_owned())
                })
            })
            .await?;
            let before = world.proxy().writes().len();
            world.stop_operator().await?;
            ensure!(
                world.proxy().writes().len() > before,
                "what was under way is finished first"
            );
            world.start_operator().await
        };
        stage
            .play_with(scenario, slow.into(), term)
            .await
            .with_context(|| format!("{scenario:?}, SIGTERM"))?;
        matrix::record("35 SIGTERM in mid write", &scenario.name(), "ok")?;
    }
    Ok(())
}

/// An API server that has fallen behind still shows our Telemetry, which is gone: one of somebody else has its name.
#[tokio::test]
async fn a_list_of_yesterday_makes_nobody_delete_what_was_made_anew_under_the_same_name() -> Result<()> {
    let mut world = World::behind_proxy(50).await?;
    world.start_operator().await?;
    world.apply_sample("istio-default-access-log").await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.ready(obj).await?;
    }
    world.kill_operator().await?;
    world.proxy().remember_lists();
    world.start_operator().await?;
    world.ready(ACCESS_LOG).await?;
    world.kill_operator().await?;

    world.delete_and_wait(SHOP_TELEMETRY).await?;
    let theirs = json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": SHOP_TELEMETRY.2, "namespace": SHOP_TELEMETRY.1},
        "spec": {"accessLogging": [{"providers": [{"name": "envoy"}]}]}});
    world.apply(&theirs.to_string()).await?;
    let theirs = world.get(SHOP_TELEMETRY).await?;
    for obj in [ACCESS_LOG, TRACES] {
        world.delete_and_wait(obj).await?;
    }
    world.proxy().freeze("telemetries");
    world.proxy().script(vec![Rule::new(Fault::StaleList, |request| {
        request.verb == "list" && request.resource == "telemetries"
    })]);
    world.start_operator().await?;
    ensure!(world.proxy().hits() > 0, "no list of yesterday");
    // It believes that its Telemetry is left over, and asks.
    eventually(PATIENCE, "the operator looks at what it would delete", async || {
        let looked = world.proxy().requests("get", "telemetries");
        Ok(if looked > 0 { Ok(()) } else { Err("not yet".to_owned()) })
    })
    .await?;
    let untouched = async |world: &World| {
        always(Duration::from_secs(2), "theirs is as it was", async || {
            let now = world.get(SHOP_TELEMETRY).await?;
            let same = now["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"];
            Ok(if same { Ok(()) } else { Err(now.to_string()) })
        })
        .await
    };
    untouched(&world).await?;
    world.proxy().heal();
    untouched(&world).await?;
    matrix::record("6 stale list, name taken anew", &Scenario::Delete.name(), "ok")
}

/// Bytes that leave the process for anywhere but their target.
#[tokio::test]
async fn a_password_is_in_no_status_event_log_workload_or_metric_whatever_is_wrong_with_its_secret() -> Result<()> {
    const CANARY: &str = "c4n4ry-pa55word";
    let world = World::with_operator(10).await?;
    world.set_password(CANARY).await?;
    world.apply_sample("solarmesh-interface-traffic").await?;
    world.ready(SOLARMESH).await?;
    ensure!(world.application_yaml().await?.contains(CANARY), "the target has it");
    let no_text = json!({"data": {"password": "/////w=="}});
    let too_long = json!({"stringData": {"password": CANARY.repeat(40_000)}});
    let wrong_key = json!({"data": {"password": null, "passwort": "YzRuNHJ5LXBhNTV3b3Jk"}});
    for (edit, reason) in [(no_text, None), (too_long, None), (wrong_key, Some("SecretKeyMissing"))] {
        world.patch(SECRET, edit).await?;
        match reason {
            Some(reason) => world.told(SOLARMESH, reason, &["service-mesh/es"]).await?,
            None => world.quiet_for(Duration::from_secs(2)).await?,
        }
        nowhere(&world, &[CANARY, "YzRuNHJ5LXBhNTV3b3Jk"]).await?;
    }
    matrix::record("34 secret wrong, no text, 600 kB", &Scenario::Rotate.name(), "ok")
}

async fn nowhere(world: &World, words: &[&str]) -> Result<()> {
    let mut texts = vec![("the log".to_owned(), world.log())];
    texts.push(("the metrics".to_owned(), world.operator().get("/metrics").await?.1));
    for kind in [
        "ObservabilityMesh",
        "Event",
        "Deployment",
        "WasmPlugin",
        "Telemetry",
        "ConfigMap",
    ] {
        for object in world.list(kind, "").await? {
            let name = text(&object["metadata"]["name"]);
            if name != GRPC_LOGGING.2 {
                texts.push((format!("{kind} {name}"), object.to_string()));
            }
        }
    }
    for (place, text) in texts {
        for word in words {
            ensure!(!text.contains(word), "{place} holds the password");
        }
    }
    Ok(())
}
