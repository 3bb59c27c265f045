//! Readiness tells the truth: 503 with the reason while a store cannot be used, and 200 again once it can.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use async_nats::jetstream;
use longshore_tests::cluster::Cluster;
use longshore_tests::longshore::Started;
use longshore_tests::nats_server::{NatsServer, Setup};
use longshore_tests::port::free_address;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A process whose readiness is asked.
struct Asked {
    address: String,
    _process: Started,
}

impl Asked {
    fn start(cluster: &Cluster, role: &str) -> Self {
        let address = free_address().to_string();
        let process = cluster.client([role, "--metrics-listen", &address]).start();
        Self { address, _process: process }
    }

    /// The status and the body of an answer; nothing while nothing answers.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    async fn is_ready(&self, what: &str) {
        until(what, || self.get("/readyz").is_some_and(|(status, _)| status == 200)).await;
    }

    /// Waits until it is not ready, with these words among the reasons.
    async fn is_not_ready(&self, what: &str, words: &[&str]) {
        let says = |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        until(what, || self.get("/readyz").is_some_and(|(status, text)| status == 503 && says(&text))).await;
        assert_eq!(self.get("/livez").unwrap().0, 200, "it is alive all the same");
    }
}

fn signal(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn readiness_follows_whether_redis_takes_writes() {
    let cluster = Cluster::start(1, 0, 0).await;
    let (scheduler, worker) = (Asked::start(&cluster, "scheduler"), Asked::start(&cluster, "worker"));
    scheduler.is_ready("the scheduler is ready").await;
    worker.is_ready("the worker is ready").await;
    let (_, verbose) = scheduler.get("/readyz?verbose").unwrap();
    for line in ["[+]nats ok", "[+]redis ok", "[+]LS_LOG_00 ok", "[+]LS_DLQ ok", "[+]leases ok"] {
        assert!(verbose.lines().any(|shown| shown == line), "{line}: {verbose}");
    }

    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "1mb"]);
    scheduler.is_not_ready("Redis is full", &["[-]redis", "OOM"]).await;
    scheduler.is_not_ready("leases are not renewed", &["[-]leases", "OOM"]).await;
    worker.is_not_ready("Redis is full", &["[-]redis", "OOM"]).await;
    let (_, metrics) = scheduler.get("/metrics").unwrap();
    let failed = r#"longshore_store_failures_total{operation="lease",reason="full"}"#;
    assert!(metrics.contains(failed), "{metrics}");
    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    scheduler.is_ready("there is room again").await;
    worker.is_ready("there is room again").await;

    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "resetkeys", "~other*"]);
    scheduler.is_not_ready("its keys are denied", &["[-]redis", "ermission"]).await;
    worker.is_not_ready("its keys are denied", &["[-]redis", "ermission"]).await;
    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "allkeys"]);
    scheduler.is_ready("its keys are allowed").await;
    worker.is_ready("its keys are allowed").await;
}

#[tokio::test]
async fn readiness_follows_the_streams_that_a_process_uses() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let (scheduler, worker) = (Asked::start(&cluster, "scheduler"), Asked::start(&cluster, "worker"));
    scheduler.is_ready("the scheduler is ready").await;
    worker.is_ready("the worker is ready").await;

    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    jetstream::new(client).delete_stream("LS_DLQ").await.unwrap();
    scheduler.is_not_ready("a stream is gone", &["[-]LS_DLQ", "not found"]).await;
    worker.is_ready("a worker does not use it").await;
    cluster.add(longshore_tests::cluster::Role::Scheduler);
    scheduler.is_ready("the stream is made again").await;

    // A server that stands still is as one that has lost its quorum: the connection is there, and nothing answers.
    signal(cluster.nats.pid(), Signal::STOP);
    scheduler.is_not_ready("nothing answers", &["[-]LS_LOG_00", "no answer"]).await;
    worker.is_not_ready("nothing answers", &["[-]LS_LOG_00", "no answer"]).await;
    signal(cluster.nats.pid(), Signal::CONT);
    scheduler.is_ready("it answers again").await;
    worker.is_ready("it answers again").await;
}

#[tokio::test]
async fn readiness_follows_the_room_of_the_account() {
    let more = r"
        accounts { LS { jetstream { max_file: 280MB }, users: [ { user: u, password: p } ] } }
    ";
    let nats =
        NatsServer::start_with(Setup { more: more.to_owned(), user: Some("u:p"), ..Setup::default() }).await;
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    let cluster = Cluster::start_on(nats, scratch, 1, 0).await;
    let scheduler = Asked::start(&cluster, "scheduler");
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
