//! Two different Redis behind one NATS: a process with another one than the running schedulers does not work.

use longshore_tests::cluster::{Cluster, Role, once};
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::wait::{until, until_true};
use serde_json::Value;

#[tokio::test]
async fn process_with_another_redis_than_the_running_schedulers_does_not_start_and_doctor_names_both() {
    let cluster = Cluster::start(1, 1, 0).await;
    let other = RedisServer::start().await;
    let with_other = |arguments: &[&str]| cluster.client(arguments).env("REDIS_URL", &other.url());
    let (scheduler, worker) = (with_other(&["scheduler"]).start(), with_other(&["worker"]).start());
    let both = [cluster.redis.address(), other.address()];
    let words = [both[0].as_str(), both[1].as_str(), "made twice", "redis.prefix", "REDIS_URL"];

    let report = with_other(&["doctor", "--json"]).run().await.expecting(1).json();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "same Redis").unwrap();
    let text = check["text"].as_str().unwrap();
    assert!(both.iter().all(|address| text.contains(address.as_str())), "{text}");
    cluster.client(["doctor"]).run().await.expecting(0);

    for process in [scheduler, worker] {
        let ended = process.end().await.expecting(4).saying(&words);
        assert!(!ended.stderr.contains("started"), "{ended}");
    }
    let prefixed = cluster.client(["worker"]).env("LONGSHORE_REDIS__PREFIX", "other");
    prefixed.run().await.expecting(4).saying(&["made twice", "redis.prefix"]);
}

#[tokio::test]
async fn worker_that_started_alone_with_another_redis_ends_when_a_scheduler_answers() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    cluster.end_member(0).await.expecting(0);
    let other = RedisServer::start().await;
    let worker = cluster.client(["worker"]).env("REDIS_URL", &other.url()).start();
    until("the worker has started", || worker.stderr().contains("worker started")).await;
    cluster.start_member(0);
    worker.end().await.expecting(4).saying(&["made twice", "redis.prefix"]);
}

#[tokio::test]
async fn redis_that_lost_its_data_stops_no_process_and_no_start() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let worker = MonitoredProcess::start(&cluster, "worker");
    worker.is_ready("the worker is ready").await;
    let data = async || -> Option<String> {
        let report: Value =
            serde_json::from_str(&cluster.client(["doctor", "--json"]).run().await.stdout).ok()?;
        report["schedulers"][0]["redis"]["data"].as_str().map(str::to_owned)
    };
    let before = data().await.unwrap();
    cluster.redis.flushall();
    let second = cluster.client(["worker"]).start();
    let is_new = async || data().await.is_some_and(|now| now != before);
    until_true("the scheduler reports the new data", is_new).await;
    until("a worker starts", || second.stderr().contains("worker started")).await;
    worker.is_ready("the worker is ready").await;
    cluster.add(Role::Scheduler);
    cluster.answers().await;
    cluster.scratch.write("once.json", once("once"));
    let run = cluster.submit(&["once.json"]).await;
    assert_eq!(cluster.ended(&run).await["status"], "succeeded");
    // The new scheduler takes over some partitions first.
    let is_healthy = async || !cluster.client(["doctor"]).run().await.stdout.contains('✗');
    until_true("doctor finds no fault", is_healthy).await;
}
