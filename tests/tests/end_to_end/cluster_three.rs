//! Three NATS servers with every stream on all of them: the first start of all processes at once, the loss of a leader, and
//! the loss of the quorum. And one NATS server that comes back without its store. No process of Longshore is restarted.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_tests::cluster::{Cluster, Role, chain, once};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::nats_cluster::NatsCluster;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::{pause, until};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The time during which two of three servers are down.
const WITHOUT_QUORUM: Duration = Duration::from_secs(20);

/// Submits a run with the command line until it is accepted. The id makes it one run.
async fn submitted(cluster: &Cluster, workflow: &str, id: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let submitted = cluster.client(["submit", workflow, "--id", id]).run().await;
        if submitted.code() == Some(0) {
            return submitted.stdout.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "{submitted}\n{}", cluster.said());
        pause().await;
    }
}

/// Waits until a run has succeeded, and asks again while no scheduler answers.
async fn succeeds(cluster: &Cluster, run: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = cluster.client(["runs", "show", run, "--json"]).run().await;
        let status = serde_json::from_str::<Value>(&shown.stdout).unwrap_or_default()["status"].clone();
        if status == "succeeded" {
            return;
        }
        let may_still = shown.code() != Some(0) || status == "running" || status == "queued";
        assert!(may_still && Instant::now() < deadline, "{shown}\n{}", cluster.said());
        pause().await;
    }
}

/// Asserts that no call of these runs was made twice. Their steps are not safe to repeat; a job of other runs whose
/// acknowledgement was lost with a leader of the queue is delivered again, and its call is repeated.
fn nothing_was_repeated(cluster: &Cluster, runs: &[String]) {
    let mut calls = BTreeMap::<String, usize>::new();
    for call in cluster.scratch.journal().calls() {
        if runs.iter().any(|run| call.key.starts_with(run.as_str())) {
            *calls.entry(call.key).or_default() += 1;
        }
    }
    assert!(calls.len() >= runs.len(), "{calls:?} of {runs:?}");
    calls.retain(|_, times| *times > 1);
    assert!(calls.is_empty(), "{calls:?}\n{}", cluster.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_survives_a_common_start_a_lost_leader_and_a_lost_quorum_of_nats() {
    let mut servers = NatsCluster::absent();
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).with_delay_ms(200).entry() }));
    let redis = RedisServer::start().await;
    let settings = format!(
        "partitions = 2\nreplicas = 3\nconnect_deadline = \"50s\"\n[nats]\nurl = {:?}\n[redis]\nurl = {:?}\n",
        servers.urls(),
        redis.url()
    );
    scratch.write("longshore.toml", settings);
    // The single server of `Cluster` is not used here.
    let mut cluster = Cluster { members: Vec::new(), nats: NatsServer::absent(), redis, scratch };
    for role in [Role::Scheduler, Role::Worker, Role::Scheduler, Role::Worker] {
        cluster.add(role);
    }
    servers.start().await;
    cluster.answers().await;
    let pids: Vec<_> = (0..4).map(|member| cluster.pid(member)).collect();

    cluster.scratch.write("once.json", once("once"));
    cluster.scratch.write("chain.json", chain("chain", 2));
    for file in ["once.json", "chain.json"] {
        cluster.client(["workflows", "push", file]).run().await.expecting(0);
    }
    let (mut runs, mut unsafe_runs) = (Vec::new(), Vec::new());
    for number in 0..10 {
        let workflow = if number % 2 == 0 { "once" } else { "chain" };
        let run = submitted(&cluster, workflow, &format!("leader-{number}")).await;
        if workflow == "once" {
            unsafe_runs.push(run.clone());
        }
        runs.push(run);
        if number == 5 {
            let leader = servers.leader_of("LS_LOG_00").await;
            servers.kill(leader).await;
        }
    }
    for run in &runs {
        succeeds(&cluster, run).await;
    }
    servers.start().await;

    runs.clear();
    for number in 0..4 {
        runs.push(submitted(&cluster, "once", &format!("quorum-{number}")).await);
    }
    for number in [1, 2] {
        servers.kill(number).await;
    }
    sleep(WITHOUT_QUORUM).await;
    servers.start().await;
    runs.push(submitted(&cluster, "once", "after").await);
    for run in &runs {
        succeeds(&cluster, run).await;
    }
    unsafe_runs.extend(runs);
    nothing_was_repeated(&cluster, &unsafe_runs);
    assert_eq!(pids, (0..4).map(|member| cluster.pid(member)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_that_comes_back_without_its_store_is_used_as_a_new_server() {
    let mut cluster = Cluster::start(1, 1, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 2));
    let before = cluster.submit(&["chain.json"]).await;
    assert_eq!(cluster.ended(&before).await["status"], "succeeded");
    cluster.nats.kill().await;
    cluster.nats.lose_store();
    cluster.nats.start_again().await;
    until("the loss is logged", || cluster.said().contains("streams are gone")).await;
    // The workflow is lost as well, and is pushed again to processes that have its text in memory.
    let deadline = Instant::now() + PATIENCE;
    while cluster.client(["workflows", "push", "chain.json"]).run().await.code() != Some(0) {
        assert!(Instant::now() < deadline, "{}", cluster.said());
        pause().await;
    }
    for number in 0..4 {
        let run = submitted(&cluster, "chain", &format!("after-{number}")).await;
        succeeds(&cluster, &run).await;
    }
}
