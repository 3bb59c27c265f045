//! Connections to NATS: waiting for the server, creating the streams, and every refusal with its advice.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use futures::TryStreamExt;
use longshore_nats::{BatchSetting, ConnectError, Nats, NatsConfig};
use longshore_proto::{Partition, subject};
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use longshore_tls::TlsFiles;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

fn config(server: &NatsServer) -> NatsConfig {
    NatsConfig {
        urls: vec![server.url()],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "connect".to_owned(),
        replicas: 1,
        partitions: 2,
        connect_deadline: Duration::from_secs(30),
    }
}

async fn refused(config: NatsConfig) -> ConnectError {
    Nats::connect(config).await.map(|_| ()).expect_err("a refusal")
}

fn says(refusal: &ConnectError, words: &[&str]) {
    let text = refusal.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is in: {text}");
    }
}

async fn streams(server: &NatsServer) -> BTreeSet<String> {
    let client = async_nats::connect(server.url()).await.expect("connects");
    jetstream::new(client).stream_names().try_collect().await.expect("lists")
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_server_is_waited_for_until_the_deadline() {
    let server = NatsServer::absent();
    let deadline = Duration::from_millis(400);
    let started = Instant::now();
    let refusal = refused(NatsConfig { connect_deadline: deadline, ..config(&server) }).await;
    assert!(started.elapsed() >= deadline / 2, "it was waited for");
    assert!(matches!(refusal, ConnectError::Unreachable { .. }), "{refusal}");
    says(&refusal, &[server.url().trim_start_matches("nats://"), "400ms"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_starts_late_is_connected_to() {
    let mut server = NatsServer::absent();
    let connecting = Nats::connect(config(&server));
    let (nats, ()) = tokio::join!(connecting, server.start_again());
    let nats = nats.expect("connects");
    nats.check().expect("a connection");
}

/// Answers at an address as a server of another version, as long as this future is polled.
async fn pretend(address: String, version: &str) {
    let listener = TcpListener::bind(&address).await.expect("listens");
    let info =
        format!(r#"INFO {{"server_id":"X","version":"{version}","max_payload":1048576,"headers":true}}"#);
    while let Ok((mut stream, _)) = listener.accept().await {
        let (reading, mut writing) = stream.split();
        writing.write_all(format!("{info}\r\n").as_bytes()).await.expect("writes");
        let mut lines = BufReader::new(reading).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "PING" {
                writing.write_all(b"PONG\r\n").await.expect("writes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_server_at_the_same_address_is_not_used() {
    let mut server = NatsServer::start().await;
    let nats = Nats::connect(config(&server)).await.expect("connects");
    nats.check().expect("a good one");
    server.kill().await;
    let mut old = JoinSet::new();
    let address = server.url().trim_start_matches("nats://").to_owned();
    old.spawn(async { pretend(address, "2.9.10").await });
    until("the old one is found out", || {
        nats.check().is_err_and(|error| error.to_string().contains("2.9.10 is too old"))
    })
    .await;
    old.shutdown().await;
    server.start_again().await;
    until("the good one is back", || nats.check().is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_created_once_and_found_again() {
    let server = NatsServer::start().await;
    // Several processes start at the same time.
    let together = (0..4).map(|_| Nats::connect(config(&server)));
    let together: Result<Vec<_>, _> = futures::future::join_all(together).await.into_iter().collect();
    let together = together.expect("all connect");
    let mut lives = Vec::new();
    for nats in &together {
        lives.push(nats.log().incarnation(Partition(1)).await.expect("a life"));
    }
    lives.dedup();
    assert_eq!(lives.len(), 1, "one log for all");

    let status = together[0].status().await.expect("a status");
    let names: Vec<_> = status.streams.iter().map(|stream| stream.name.as_str()).collect();
    let expected =
        ["KV_LS_WORKFLOWS", "LS_BLOBS", "LS_DLQ", "LS_JOBS", "LS_LOG_00", "LS_LOG_01", "LS_SUBMIT"];
    assert_eq!(names, expected);
    assert_eq!(status.version, "2.15.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_another_setting_is_refused_with_both_values() {
    let server = NatsServer::start().await;
    let client = async_nats::connect(server.url()).await.expect("connects");
    let stream = Config {
        name: subject::JOBS_STREAM.to_owned(),
        subjects: vec![format!("{}.jobs.>", subject::ROOT)],
        retention: RetentionPolicy::Limits,
        ..Config::default()
    };
    jetstream::new(client).create_stream(stream).await.expect("is made");
    let refusal = refused(config(&server)).await;
    assert!(matches!(refusal, ConnectError::Mismatch { .. }), "{refusal}");
    says(&refusal, &["LS_JOBS", "retention", "Limits", "WorkQueue"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_with_another_number_of_partitions_is_refused_with_both_numbers_and_unchanged() {
    let server = NatsServer::start().await;
    Nats::connect(config(&server)).await.expect("two");
    let before = streams(&server).await;
    for (partitions, ours) in [(4, "`partitions` is 4"), (1, "`partitions` is 1")] {
        let refusal = refused(NatsConfig { partitions, ..config(&server) }).await;
        assert!(matches!(refusal, ConnectError::Partitions { .. }), "{refusal}");
        says(&refusal, &["has 2 partitions", ours]);
    }
    assert_eq!(streams(&server).await, before);
    Nats::connect(config(&server)).await.expect("two again");
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_partitions_is_known_while_a_log_is_missing() {
    let server = NatsServer::start().await;
    Nats::connect(config(&server)).await.expect("two");
    let client = async_nats::connect(server.url()).await.expect("connects");
    let log = subject::log_stream(Partition(1));
    jetstream::new(client).delete_stream(log).await.expect("is deleted");
    let refusal = refused(NatsConfig { partitions: 1, ..config(&server) }).await;
    says(&refusal, &["has 2 partitions", "`partitions` is 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_than_servers_are_refused() {
    let server = NatsServer::start().await;
    let refusal = refused(NatsConfig { replicas: 3, ..config(&server) }).await;
    says(&refusal, &["replicas"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_refused() {
    let server = NatsServer::start_with(NatsSetup { has_jetstream: false, ..NatsSetup::default() }).await;
    let refusal = refused(config(&server)).await;
    assert!(matches!(refusal, ConnectError::NoJetStream { .. }), "{refusal}");
    says(&refusal, &["-js"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_jetstream_is_refused() {
    let more = r#"
        accounts { plain { users: [{ user: "someone", password: "secret" }] } }
        no_auth_user: someone
    "#;
    let server =
        NatsServer::start_with(NatsSetup { server_settings: more.to_owned(), ..NatsSetup::default() }).await;
    let refusal = refused(config(&server)).await;
    assert!(matches!(refusal, ConnectError::NoJetStream { .. }), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_user_is_refused_without_showing_the_password() {
    let more = "authorization { user: right, password: word }\n";
    let server =
        NatsServer::start_with(NatsSetup { server_settings: more.to_owned(), ..NatsSetup::default() }).await;
    let right = server.url().replace("nats://", "nats://right:word@");
    Nats::connect(NatsConfig { urls: vec![right], ..config(&server) }).await.expect("the right one");
    let wrong = server.url().replace("nats://", "nats://wrong:guess@");
    let refusal = refused(NatsConfig { urls: vec![wrong], ..config(&server) }).await;
    assert!(matches!(refusal, ConnectError::Refused { .. }), "{refusal}");
    assert!(!refusal.to_string().contains("guess"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_credentials_file_is_named() {
    let server = NatsServer::absent();
    let absent = PathBuf::from("/nowhere/some.creds");
    let garbage = server.folder().join("garbage.creds");
    std::fs::write(&garbage, "no credentials").expect("is written");
    for path in [absent, garbage] {
        let refusal = refused(NatsConfig { credentials: Some(path.clone()), ..config(&server) }).await;
        assert!(matches!(refusal, ConnectError::Credentials { .. }), "{refusal}");
        says(&refusal, &[&path.display().to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_address_is_refused_at_once() {
    let server = NatsServer::absent();
    let refusal = refused(NatsConfig { urls: vec!["http://[".to_owned()], ..config(&server) }).await;
    assert!(matches!(refusal, ConnectError::Url { .. }), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_server_is_refused_with_its_version_and_the_required_one() {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools/nats-old/usr/sbin/nats-server");
    let server = NatsServer::start_with(NatsSetup { program, ..NatsSetup::default() }).await;
    let refusal = refused(config(&server)).await;
    assert!(matches!(refusal, ConnectError::TooOld { .. }), "{refusal}");
    says(&refusal, &["2.14.8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_ends_with_the_code_of_an_unreachable_cluster_if_jetstream_does_not_answer() {
    // One server of three, so that JetStream has no leader.
    let peers = "routes: [ nats://127.0.0.1:1, nats://127.0.0.1:2 ]";
    let server_settings = format!("cluster {{ name: three, listen: \"127.0.0.1:-1\", {peers} }}");
    let nats = NatsServer::start_with(NatsSetup { server_settings, ..NatsSetup::default() }).await;
    let redis = RedisServer::start().await;
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    let starts = ["scheduler", "worker"].map(|role| {
        let process = scratch.longshore([role, "--connect-deadline", "2s"]);
        process.env("NATS_URL", &nats.url()).env("REDIS_URL", &redis.url()).run()
    });
    for start in starts {
        start.await.expecting(6).saying(&["JetStream"]);
    }
    let doctor = scratch.longshore(["doctor"]).env("NATS_URL", &nats.url()).env("REDIS_URL", &redis.url());
    doctor.run().await.expecting(6);
}
