//! Several replicas: one writes, and another goes on where it ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::control_plane::AuditEvent;
use crate::governor::workload;
use crate::operator::{LONG_LEASE_TIMES, Operator};
use crate::world::*;

/// What somebody does to the lease.
type Edit = fn(&World) -> futures::future::BoxFuture<'_, Result<()>>;

/// A lease of [`crate::operator::LEASE_TIMES`] has run out by then, and a standby has taken it.
const TAKEOVER: Duration = Duration::from_secs(6);
const LEASE: Obj = Obj("Lease", "sightline-system", "sightline");
/// Agents of one mesh that are restarted one after the other.
const AGENTS: [&str; 5] = ["agent-1", "agent-2", "agent-3", "agent-4", "agent-5"];

#[tokio::test]
async fn a_leader_killed_in_the_middle_of_a_roll_restarts_nobody_twice_and_forgets_none() -> Result<()> {
    let mut world = World::demo().await?;
    let (a, b) = leader_and_standby(&mut world).await?;
    world.apply_samples().await?;
    world.all_ready().await?;
    roll_together(&world).await?;
    ensure!(
        b.get("/healthz").await?.0 == 200 && !b.leads().await?,
        "a standby is healthy"
    );
    let writes = all_writes_of(&world, "pod-b", Timestamp::UNIX_EPOCH).await?;
    ensure!(
        writes.is_empty(),
        "a standby writes nothing, leases included: {writes:?}"
    );

    world.set_password("second").await?;
    let restarted = async |world: &World| -> Result<usize> {
        let mut count = 0;
        for agent in agents() {
            count += usize::from(world.revisions(agent).await? > 1);
        }
        Ok(count)
    };
    eventually(PATIENCE, "the second of five restarts", async || {
        let count = restarted(&world).await?;
        Ok(if count >= 2 {
            Ok(())
        } else {
            Err(format!("{count} restarts"))
        })
    })
    .await?;
    a.kill().await?;
    ensure!(restarted(&world).await? < AGENTS.len(), "killed in the middle");
    let killed = Instant::now();
    leads(&b).await?;
    ensure!(killed.elapsed() < TAKEOVER, "failover took {:?}", killed.elapsed());
    for agent in agents() {
        world.restarted_to(agent, 2).await.with_context(|| b.log_tail())?;
    }
    world.restarted_to(AGENT, 3).await.with_context(|| b.log_tail())?;
    world.ready(SOLARMESH).await?;
    world.quiet_for(Duration::from_secs(4)).await?;
    for agent in agents() {
        ensure!(world.revisions(agent).await? == 2, "{agent} was restarted twice");
    }

    // An orderly end: the next one does not wait for the lease to run out.
    let c = world.start_replica("pod-c").await?;
    let stopped = Instant::now();
    b.stop().await?;
    ensure!(
        stopped.elapsed() < Duration::from_secs(2),
        "ended after {:?}",
        stopped.elapsed()
    );
    leads(&c).await?;
    ensure!(
        stopped.elapsed() < Duration::from_secs(3),
        "took over after {:?}",
        stopped.elapsed()
    );
    world.set_password("third").await?;
    world.restarted_to(AGENT, 4).await.with_context(|| c.log_tail())?;
    c.stop().await?;
    let lease = world.get(LEASE).await?;
    ensure!(lease.pointer("/spec/holderIdentity").is_none(), "given back: {lease}");
    Ok(())
}

#[tokio::test]
async fn at_most_one_replica_writes_when_a_leader_is_stopped_for_a_while_or_the_lease_is_deleted_or_edited()
-> Result<()> {
    let mut world = World::demo().await?;
    let (a, b) = leader_and_standby(&mut world).await?;
    world.apply_samples().await?;
    world.all_ready().await?;

    // Stopped with work at hand.
    let since = Timestamp::now();
    world.set_password("second").await?;
    eventually(PATIENCE, "the leader is at work", async || {
        let writes = writes_of(&world, "pod-a", since).await?;
        Ok(if writes.is_empty() {
            Err("no write".into())
        } else {
            Ok(())
        })
    })
    .await?;
    a.signal("STOP").await?;
    leads(&b).await?;
    world.restarted_to(AGENT, 3).await.with_context(|| b.log_tail())?;
    world.set_password("third").await?;
    let resumed = Timestamp::now();
    a.signal("CONT").await?;
    world.restarted_to(AGENT, 4).await.with_context(|| b.log_tail())?;
    ensure!(!a.leads().await?, "the resumed one stands by");
    world.quiet_for(Duration::from_secs(4)).await?;
    let writes = writes_of(&world, "pod-a", resumed).await?;
    ensure!(writes.is_empty(), "the resumed leader wrote: {writes:?}");
    ensure!(world.revisions(AGENT).await? == 4, "one restart each");

    // While each of them has work all the time, somebody takes the lease away, or edits it.
    let edits: [(&str, Edit); 3] = [
        ("deleted", |world| Box::pin(world.delete(LEASE))),
        ("emptied", |world| {
            Box::pin(world.patch(LEASE, json!({"spec": {"holderIdentity": null}})))
        }),
        ("given to nobody", |world| {
            Box::pin(world.patch(LEASE, json!({"spec": {"holderIdentity": "nobody"}})))
        }),
    ];
    for (what, edit) in edits {
        let since = Timestamp::now();
        edit(&world).await?;
        let start = Instant::now();
        let mut round = 0;
        eventually(PATIENCE, what, async || {
            round += 1;
            let log = json!({"metadata": {"annotations": {"round": round.to_string()}},
                "spec": {"format": {"text": format!("{what} {round} %REQ(:PATH)%")}}});
            world.patch(ACCESS_LOG, log).await?;
            let leaders = [a.leads().await?, b.leads().await?];
            ensure!(leaders != [true, true], "{what}: two leaders");
            let is_over = start.elapsed() > TAKEOVER && leaders.contains(&true);
            Ok(is_over.then_some(()).ok_or_else(|| format!("leaders: {leaders:?}")))
        })
        .await?;
        world
            .ready(ACCESS_LOG)
            .await
            .with_context(|| format!("{what}: {}\n{}", a.log_tail(), b.log_tail()))?;
        one_after_the_other(&world, since).await.context(what)?;
    }
    Ok(())
}

/// How long nothing happens: it costs time, not work.
const IDLE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn two_hundred_idle_policies_cost_nothing_but_the_lease() -> Result<()> {
    let mut world = World::demo().await?;
    world.set_lease_times(LONG_LEASE_TIMES);
    let (a, b) = leader_and_standby(&mut world).await?;
    let mesh = json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "ObservabilityMesh", "metadata": {"name": "idle"},
        "spec": {"mesh": {"type": "Istio"}, "namespaces": {"matchLabels": {"idle": "yes"}}}});
    let mut documents = vec![mesh];
    for namespace in (0..20).map(|n| format!("idle-{n}")) {
        documents.push(json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"istio-injection": "enabled", "idle": "yes"}}}));
        documents.extend((0..10).map(|policy| {
            json!({"apiVersion": "sightline.dev/v1alpha1", "kind": "TrafficLog",
            "metadata": {"name": format!("log-{policy}"), "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": format!("app-{policy}")}}}})
        }));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": documents});
    world.apply(&list.to_string()).await?;
    eventually(Duration::from_mins(4), "every policy is Ready", async || {
        let logs = world.list("TrafficLog", "").await?;
        let ready = |log: &&Value| condition_of(log, "Ready").is_some_and(|ready| ready.status == "True");
        let count = logs.iter().filter(ready).count();
        Ok(if count == 200 {
            Ok(())
        } else {
            Err(format!("{count} are"))
        })
    })
    .await?;
    // Events are told one by one: they take a while.
    world.quiet_for(Duration::from_secs(15)).await?;

    let since = Timestamp::now();
    tokio::time::sleep(IDLE).await;
    let requests = requests_since(&world, since).await?;
    let (renewals, others): (Vec<&AuditEvent>, Vec<&AuditEvent>) = requests
        .iter()
        .filter(|request| request.is_write())
        .partition(|write| write.resource == "leases");
    let others: Vec<String> = others.into_iter().map(write_text).collect();
    ensure!(
        others.is_empty(),
        "idle replicas wrote more than the lease:\n{}",
        others.join("\n")
    );
    // A renewal at least for each renew deadline.
    ensure!(renewals.len() >= 12, "{} renewals of the lease", renewals.len());
    ensure!(
        renewals.iter().all(|renewal| is_of(renewal, "pod-a")),
        "renewed by the leader"
    );
    drop((a, b));
    Ok(())
}

/// Two replicas, of which the first leads.
async fn leader_and_standby(world: &mut World) -> Result<(Operator, Operator)> {
    let a = world.start_replica("pod-a").await?;
    leads(&a).await?;
    let b = world.start_replica("pod-b").await?;
    Ok((a, b))
}

async fn leads(operator: &Operator) -> Result<()> {
    eventually(PATIENCE, "leads", async || {
        Ok(if operator.leads().await? {
            Ok(())
        } else {
            Err(operator.log_tail())
        })
    })
    .await
}

fn agents() -> impl Iterator<Item = Obj<'static>> {
    AGENTS.into_iter().map(|name| Obj("Deployment", "service-mesh", name))
}

/// Adds agents to the mesh, which restart one after the other, with time to be killed between; all are in sync.
async fn roll_together(world: &World) -> Result<()> {
    let mut agents = world.get(SOLARMESH).await?["spec"]["agents"].clone();
    for name in AGENTS {
        let deployment = workload(Obj("Deployment", "service-mesh", name), &json!({}));
        world.apply(&deployment.to_string()).await?;
        let agent = json!({"name": name, "workload": {"kind": "Deployment", "namespace": "service-mesh", "name": name},
            "reads": [{"type": "InterfaceTraffic"}]});
        agents.as_array_mut().context("no agents")?.push(agent);
    }
    for agent in self::agents() {
        world.restarted_to(agent, 1).await?;
    }
    let rollout = json!({"maxConcurrent": 1, "minInterval": "1s", "quietPeriod": "1s"});
    world
        .patch(SOLARMESH, json!({"spec": {"agents": agents, "rollout": rollout}}))
        .await?;
    eventually(PATIENCE, "all are in sync as they are", async || {
        let in_sync = text(&world.get(SOLARMESH).await?["status"]["agentsInSync"]);
        Ok(if in_sync == "6/6" { Ok(()) } else { Err(in_sync) })
    })
    .await?;
    world.ready(SOLARMESH).await
}

/// Requests of all replicas since then, but for watches.
async fn requests_since(world: &World, since: Timestamp) -> Result<Vec<AuditEvent>> {
    world.plane.settle_audit_log().await?;
    let events = world.plane.audit_events()?.into_iter();
    let ours = events.filter(|event| event.user == crate::operator::USER && event.time >= since);
    Ok(ours.filter(|event| event.verb != "watch").collect())
}

/// What a replica asked to write since then, leases included.
async fn all_writes_of(world: &World, replica: &str, since: Timestamp) -> Result<Vec<String>> {
    let requests = requests_since(world, since).await?;
    let writes = requests
        .iter()
        .filter(|request| is_of(request, replica) && request.is_write());
    Ok(writes.map(write_text).collect())
}

/// What a replica asked to write since then, but for the lease.
async fn writes_of(world: &World, replica: &str, since: Timestamp) -> Result<Vec<String>> {
    let writes = world.writes_since(since).await?;
    Ok(writes
        .iter()
        .filter(|write| is_of(write, replica))
        .map(write_text)
        .collect())
}

fn is_of(event: &AuditEvent, replica: &str) -> bool {
    event.user_agent.contains(&format!("({replica}_"))
}

/// No replica writes again once another has begun.
async fn one_after_the_other(world: &World, since: Timestamp) -> Result<()> {
    let writes = world.writes_since(since).await?;
    let mut replicas: Vec<&str> = writes.iter().map(|write| write.user_agent.as_str()).collect();
    ensure!(!replicas.is_empty(), "nobody wrote");
    replicas.dedup();
    ensure!(replicas.len() <= 2, "replicas took turns: {replicas:?}");
    Ok(())
}
