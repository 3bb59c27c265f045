//! Full logs: submits are refused, and `longshore doctor`, the metrics and the log report it with the right advice.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use async_nats::jetstream;
use longshore_proto::{Partition, WriterRole, subject};
use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use serde_json::{Value, json};

/// Returns the settings of a server whose account may store this much.
fn account(max_file: &str) -> String {
    format!(
        "accounts {{ A {{ jetstream {{ max_file: {max_file} }}, users: [{{ user: a }}] }} }}\nno_auth_user: a\n"
    )
}

async fn check(cluster: &Cluster, code: i32, name: &str) -> Value {
    let report = cluster.client(["doctor", "--json"]).run().await.expecting(code).json();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or(&report).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn full_logs_are_reported_and_so_is_their_end() {
    let nats =
        NatsServer::start_with(NatsSetup { server_settings: account("60MB"), ..NatsSetup::default() }).await;
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    let mut cluster = Cluster::start_on(nats, scratch, 1, 0).await;
    let scheduler = MonitoredProcess::start(&cluster, "scheduler");
    scheduler.is_ready("the scheduler is ready").await;
    until("it measures the logs", || scheduler.metric("longshore_logs_fullness_ratio") == Some(0.0)).await;
    let refusals = r#"longshore_requests_refused_total{reason="full"}"#;
    assert_eq!(scheduler.metric(refusals), Some(0.0), "it is exported before the first refusal");

    // The input is only in the log, because no step uses it. No run ends, because there is no worker.
    let workflow = json!({
        "longshore": "v1", "name": "wait", "inputs": { "text": { "type": "string" } },
        "steps": [{ "id": "a", "call": "tables/echo", "with": { "number": 1 } }],
    });
    cluster.scratch.write("wait.json", workflow.to_string());
    cluster.client(["workflows", "push", "wait.json"]).run().await.expecting(0);
    assert_eq!(check(&cluster, 1, "room in the logs").await["level"], "good", "only a worker is missing");
    let inputs = json!({ "text": "x".repeat(60_000) });
    let request = json!({ "workflow": "wait", "inputs": inputs });
    let mut admitted = 0;
    let refused = loop {
        let answer = cluster.request("submit", &request).await;
        if answer["run"].is_null() {
            break answer;
        }
        admitted += 1;
        assert!(admitted < 1_000, "the logs are full by now");
    };
    assert_eq!(refused["reason"], "full", "{refused}");
    let words = refused["error"].as_str().unwrap();
    assert!(words.contains("max_file") && words.contains("from 70 % on"), "{refused}");

    let room = check(&cluster, 1, "room in the logs").await;
    assert_eq!(room["level"], "wrong", "{room}");
    assert!(room["text"].as_str().unwrap().contains("submits are refused"), "{room}");
    assert!(room["help"].as_str().unwrap().contains("max_file"), "{room}");
    let is_full = |ratio: Option<f64>| ratio.is_some_and(|ratio| (0.7..0.8).contains(&ratio));
    until("the gauge says so", || is_full(scheduler.metric("longshore_logs_fullness_ratio"))).await;
    // Each of the schedulers may answer.
    while scheduler.metric(refusals) == Some(0.0) {
        cluster.request("submit", &request).await;
    }
    let submit = ["submit", "wait", "-i", "text=x"];
    let refused = cluster.client(submit).run().await.expecting(8);
    assert!(
        refused.stderr.contains("the logs are") && !refused.stderr.contains("reached"),
        "{}",
        refused.stderr
    );
    let lines = |words: &str| cluster.members[0].said().lines().filter(|line| line.contains(words)).count();
    until("it is logged", || lines("the logs are too full") == 1).await;

    // Published submits wait and fill their stream, which is not caused by the limit of the stream.
    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let body = json!({ "inputs": inputs }).to_string();
    loop {
        let sent = context.publish("longshore.v1.submit.default.wait", body.clone().into()).await.unwrap();
        if sent.await.is_err() {
            break;
        }
    }
    let streams = check(&cluster, 1, "room in streams").await;
    assert!(streams["text"].as_str().unwrap().contains("LS_SUBMIT"), "{streams}");
    let advice = streams["help"].as_str().unwrap();
    assert!(advice.contains("the logs are too full") && !advice.contains("nats stream edit"), "{streams}");

    cluster.nats.stop().await;
    cluster.nats.configure(|setup| setup.server_settings = account("200MB"));
    cluster.nats.start_again().await;
    let has_room = |ratio: Option<f64>| ratio.is_some_and(|ratio| ratio < 0.7);
    until("the gauge says so", || has_room(scheduler.metric("longshore_logs_fullness_ratio"))).await;
    let lines = |words: &str| cluster.members[0].said().lines().filter(|line| line.contains(words)).count();
    until("it is logged", || lines("submits are admitted again") == 1).await;
    assert_eq!(lines("the logs are too full"), 1, "once for each change");
    assert!(cluster.request("submit", &request).await["run"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_without_room_are_reported_as_such() {
    let nats =
        NatsServer::start_with(NatsSetup { server_settings: account("60MB"), ..NatsSetup::default() }).await;
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    let cluster = Cluster::start_on(nats, scratch, 1, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    for _ in 0..3 {
        cluster.submit(&["chain.json"]).await;
    }
    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let subject = subject::log(Partition(0), WriterRole::Worker);
    for size in [900_000, 10_000, 100, 1] {
        while context.publish(subject.clone(), vec![b'x'; size].into()).await.unwrap().await.is_ok() {}
    }
    let refused = cluster.client(["runs", "cancel", "--all", "--yes"]).run().await.expecting(8);
    let words = ["not tried, because the cluster has no room to store a cancel", "longshore doctor"];
    assert!(words.iter().all(|words| refused.stderr.contains(words)), "{}", refused.stderr);
    assert!(!refused.stderr.contains("does not answer"), "{}", refused.stderr);
}
