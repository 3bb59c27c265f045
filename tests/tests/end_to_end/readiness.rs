//! Readiness: 503 with the reason while a store cannot be used, and 200 again once it can.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_nats::jetstream;
use longshore_tests::cluster::{Cluster, PARTITIONS, once};
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::{until, until_true};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn signal(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn readiness_fails_while_redis_refuses_writes() {
    let cluster = Cluster::start(1, 0, 0).await;
    let (scheduler, worker) =
        (MonitoredProcess::start(&cluster, "scheduler"), MonitoredProcess::start(&cluster, "worker"));
    scheduler.is_ready("the scheduler is ready").await;
    worker.is_ready("the worker is ready").await;
    let (_, verbose) = scheduler.get("/readyz?verbose").unwrap();
    for line in ["[+]nats ok", "[+]redis ok", "[+]LS_LOG_00 ok", "[+]LS_DLQ ok", "[+]leases ok"] {
        assert!(verbose.lines().any(|shown| shown == line), "{line}: {verbose}");
    }

    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "1mb"]);
    scheduler.is_not_ready("Redis is full", &["[-]redis", "OOM"]).await;
    worker.is_not_ready("Redis is full", &["[-]redis", "OOM"]).await;
    // The renewal of a lease takes no more room, so leaders remain.
    let (_, verbose) = scheduler.get("/readyz?verbose").unwrap();
    assert!(verbose.lines().any(|shown| shown == "[+]leases ok"), "{verbose}");
    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    scheduler.is_ready("there is room again").await;
    worker.is_ready("there is room again").await;

    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "resetkeys", "~other*"]);
    scheduler.is_not_ready("its keys are denied", &["[-]redis", "ermission"]).await;
    scheduler.is_not_ready("leases are not renewed", &["[-]leases", "ermission"]).await;
    worker.is_not_ready("its keys are denied", &["[-]redis", "ermission"]).await;
    let (_, metrics) = scheduler.get("/metrics").unwrap();
    let denied = r#"longshore_store_failures_total{operation="lease",reason="denied"}"#;
    let is_counted = |line: &str| line.strip_prefix(denied).is_some_and(|count| count.trim() != "0");
    assert!(metrics.lines().any(is_counted), "{metrics}");
    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "allkeys"]);
    scheduler.is_ready("its keys are allowed").await;
    worker.is_ready("its keys are allowed").await;
}

#[tokio::test]
async fn scheduler_that_cannot_read_the_log_of_a_partition_is_not_ready() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    cluster.kill_member(0).await;
    cluster.redis.flushall();
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream("LS_LOG_02").await.unwrap();
    stream.purge().sequence(2).await.unwrap();
    let scheduler = MonitoredProcess::start(&cluster, "scheduler");
    scheduler.is_not_ready("the log has no beginning", &["[-]takeover of partition 02", "trimmed"]).await;
    assert!(scheduler.said().contains("the log is damaged"), "{}", scheduler.said());
    let counted = r#"longshore_store_failures_total{operation="takeover",reason="damaged"}"#;
    assert!(scheduler.metric(counted).is_some_and(|count| count > 0.0), "{counted}");
    let found = cluster.client(["doctor"]).run().await.expecting(1);
    assert!(found.stdout.contains("takeover of partition 02"), "{}", found.stdout);
    assert_eq!(scheduler.metric("longshore_partitions_led"), Some(f64::from(PARTITIONS - 1)));
}

#[tokio::test]
async fn readiness_follows_whether_redis_keeps_claims() {
    let cluster = Cluster::start(1, 0, 0).await;
    let set = |name: &str, value: &str| cluster.redis.ask::<String>(&["CONFIG", "SET", name, value]);
    let processes = ["scheduler", "worker"].map(|role| MonitoredProcess::start(&cluster, role));
    for process in &processes {
        process.is_ready("it is ready").await;
    }
    set("maxmemory-policy", "allkeys-lru");
    for process in &processes {
        process
            .is_not_ready("claims may be forgotten", &["[-]settings of redis", "allkeys-lru", "noeviction"])
            .await;
        assert_eq!(process.said().matches("maxmemory-policy allkeys-lru").count(), 1, "{}", process.said());
    }
    set("maxmemory-policy", "noeviction");
    set("appendonly", "no");
    for process in &processes {
        process.is_ready("claims are kept while Redis runs").await;
        until("the missing file is logged", || process.said().contains("no append-only file")).await;
    }
    // A process that starts logs it, too.
    let late = MonitoredProcess::start(&cluster, "worker");
    until("the missing file is logged", || late.said().contains("no append-only file")).await;
    late.is_ready("claims are kept until Redis restarts").await;
}

#[tokio::test]
async fn readiness_fails_while_streams_of_the_process_are_unusable() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let (scheduler, worker) =
        (MonitoredProcess::start(&cluster, "scheduler"), MonitoredProcess::start(&cluster, "worker"));
    scheduler.is_ready("the scheduler is ready").await;
    worker.is_ready("the worker is ready").await;

    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    // A scheduler may make the stream again before the next probe; then it is deleted again.
    let refuses_without_stream = async || {
        let _ = context.delete_stream("LS_DLQ").await;
        scheduler.refuses(&["[-]LS_DLQ", "not found"])
    };
    until_true("a stream is gone", refuses_without_stream).await;
    worker.is_ready("a worker does not use it").await;
    cluster.add(longshore_tests::cluster::Role::Scheduler);
    scheduler.is_ready("the stream is made again").await;

    // A stopped server is like one without a quorum: the connection is open, and there is no answer.
    signal(cluster.nats.pid(), Signal::STOP);
    scheduler.is_not_ready("nothing answers", &["[-]LS_LOG_00", "no answer"]).await;
    worker.is_not_ready("nothing answers", &["[-]LS_LOG_00", "no answer"]).await;
    signal(cluster.nats.pid(), Signal::CONT);
    scheduler.is_ready("it answers again").await;
    worker.is_ready("it answers again").await;
}

#[tokio::test]
async fn worker_whose_jobs_get_no_grant_is_not_ready_until_a_leader_answers() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("once.json", once("once"));
    let run = cluster.submit(&["once.json"]).await;
    let waits = "it waits for a worker";
    cluster.shows(&run, waits, |run| run["steps"][0]["waiting_for"].is_string()).await;
    cluster.kill_member(0).await;
    let worker = MonitoredProcess::start(&cluster, "worker");
    worker.is_not_ready("no leader answers", &["[-]grants of leaders", "no leader", "jobs: 1"]).await;
    assert_eq!(worker.metric(r#"longshore_worker_jobs_waiting{reason="grant"}"#), Some(1.0));
    let oldest = r#"longshore_worker_oldest_wait_seconds{reason="grant"}"#;
    assert!(worker.metric(oldest).is_some_and(|seconds| seconds >= 10.0));
    cluster.start_member(0);
    assert_eq!(cluster.ended(&run).await["status"], "succeeded");
    worker.is_ready("the call was granted").await;
}

#[tokio::test]
async fn readiness_fails_while_the_account_is_full() {
    let more = r"
        accounts { LS { jetstream { max_file: 280MB }, users: [ { user: u, password: p } ] } }
    ";
    let nats = NatsServer::start_with(NatsSetup {
        server_settings: more.to_owned(),
        user: Some("u:p"),
        ..NatsSetup::default()
    })
    .await;
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    let cluster = Cluster::start_on(nats, scratch, 1, 0).await;
    let scheduler = MonitoredProcess::start(&cluster, "scheduler");
    scheduler.is_ready("there is room").await;
    let address = cluster.nats.url().replace("u:p@", "");
    let options = async_nats::ConnectOptions::with_user_and_password("u".to_owned(), "p".to_owned());
    let context = jetstream::new(options.connect(address).await.unwrap());
    for number in 0..1_000 {
        let subject = format!("longshore.v1.blob.filler{number}");
        let stored = context.publish(subject, vec![b'x'; 900_000].into()).await.unwrap().await;
        if stored.is_err() {
            break;
        }
        assert!(number < 999, "the account is full by now");
    }
    scheduler.is_not_ready("the account is full", &["full: "]).await;
    context.get_stream("LS_BLOBS").await.unwrap().purge().await.unwrap();
    scheduler.is_ready("there is room again").await;
    let (_, metrics) = scheduler.get("/metrics").unwrap();
    assert!(metrics.contains("longshore_account_fullness_ratio 0."), "{metrics}");
}
