//! The adapters on Redis while the server is unreachable, unsuitable, full, emptied or restarted.
//!
//! An unsuitable server is refused with advice, and an error says if another attempt can help.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::time::Duration;

use longshore_ports::{CheckpointDelta, Checkpoints, CommitResult, Error, LoadedCheckpoint, RunQuery, clock};
use longshore_proto::{ClaimKey, ClaimResult, NodeId, RunStatus, Timestamp};
use longshore_redis::{ConnectError, Persistence, Redis, RedisConfig};
use longshore_tests::checkpoint_commits::{PARTITION, delta, full, mark, row, rows, run};
use longshore_tests::redis_server::RedisServer;
use longshore_tests::wait::until_some;
use longshore_tls::TlsFiles;

const HOUR: Duration = Duration::from_secs(3600);

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig {
        url: server.url(),
        connect_deadline: Duration::from_secs(30),
        prefix: "ls".to_owned(),
        tls: TlsFiles::default(),
    }
}

async fn connect(server: &RedisServer) -> Redis {
    Redis::connect(config(server)).await.expect("connects")
}

async fn refused(config: RedisConfig) -> ConnectError {
    Redis::connect(config).await.expect_err("a refusal")
}

async fn accept(checkpoints: &dyn Checkpoints, delta: CheckpointDelta) {
    assert_eq!(checkpoints.commit(PARTITION, delta.into()).await.expect("answers"), CommitResult::Accepted);
}

async fn load(checkpoints: &dyn Checkpoints) -> Option<LoadedCheckpoint> {
    checkpoints.load(PARTITION).await.expect("answers")
}

fn claim_key() -> ClaimKey {
    ClaimKey { run: run(1), submitted_at: Timestamp::default(), step: "pay".parse().expect("a step path") }
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

/// Asks until there is an answer. Every error must be one after which another attempt can help.
async fn at_last<T>(ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let answer = async || ask().await.inspect_err(|error| assert!(error.retryable, "{error}")).ok();
    until_some("the store answers", answer).await
}

#[tokio::test]
async fn missing_server_is_waited_for_and_then_named() {
    let server = RedisServer::absent();
    let config = RedisConfig { connect_deadline: Duration::from_millis(300), ..config(&server) };
    let said = refused(config).await.to_string();
    assert!(said.starts_with(&format!("no Redis at {} within 300ms", server.address())), "{said}");
}

#[tokio::test]
async fn server_that_starts_late_is_used() {
    let mut server = RedisServer::absent();
    let connecting = Redis::connect(config(&server));
    let (redis, ()) = tokio::join!(connecting, server.start_again());
    redis.expect("connects").ping().await.expect("answers");
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_not_shown() {
    let mut server = RedisServer::start_with(&["--requirepass", "right-word"]).await;
    connect(&server).await.ping().await.expect("answers");
    for url in [format!("redis://:wrong-word@{}", server.address()), format!("redis://{}", server.address())]
    {
        let refused = refused(RedisConfig { url, ..config(&server) }).await;
        assert!(matches!(refused, ConnectError::Credentials { .. }), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("-word"), "{refused:?}");
    }
    let redis = connect(&server).await;
    assert!(!format!("{:?} {redis:?}", config(&server)).contains("right-word"));
    server.kill().await;
    let away = redis.ping().await.expect_err("no server runs");
    assert!(!format!("{away} {away:?}").contains("right-word"), "{away:?}");
}

#[tokio::test]
async fn server_that_evicts_or_does_not_persist_is_refused() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let said = refused(config(&server)).await.to_string();
    assert!(said.contains("`maxmemory-policy allkeys-lru`"), "{said}");
    assert!(said.ends_with("set `maxmemory-policy noeviction`"), "{said}");
}

#[tokio::test]
async fn a_replica_is_refused_with_the_address_of_its_primary() {
    let primary = RedisServer::start().await;
    let address = primary.address();
    let (host, port) = address.split_once(':').expect("an address");
    let replica = RedisServer::start_with(&["--replicaof", &format!("{host} {port}")]).await;
    let said = refused(config(&replica)).await.to_string();
    assert!(said.ends_with(&format!("the address of its primary, {address}")), "{said}");
}

#[tokio::test]
async fn malformed_address_is_refused() {
    let server = RedisServer::absent();
    for url in ["", "nats://host:4222", "redis://host:port"] {
        let refused = refused(RedisConfig { url: url.to_owned(), ..config(&server) }).await;
        assert!(matches!(refused, ConnectError::Address { .. }), "{url}: {refused}");
    }
}

#[tokio::test]
async fn restarted_server_is_used_again() {
    let mut server = RedisServer::start_with(&["--appendfsync", "always"]).await;
    let redis = connect(&server).await;
    let (checkpoints, claims) = (redis.checkpoints(), redis.claims());
    accept(&*checkpoints, full(1, rows(1..10))).await;
    let before = load(&*checkpoints).await;
    assert_eq!(claims.claim(&claim_key(), &node("a"), HOUR).await.expect("answers"), ClaimResult::Won);
    server.kill().await;
    let place = format!(" in Redis at {}: ", server.address());
    for _ in 0..3 {
        let away = redis.ping().await.expect_err("no server runs");
        assert!(away.retryable && away.to_string().contains(&place), "{away}");
        assert!(checkpoints.load(PARTITION).await.expect_err("no server runs").retryable);
        assert!(
            checkpoints
                .commit(PARTITION, delta(1, 2, Vec::new()).into())
                .await
                .expect_err("no server runs")
                .retryable
        );
    }
    server.start_again().await;
    assert_eq!(at_last(async || checkpoints.load(PARTITION).await).await, before);
    accept(&*checkpoints, delta(1, 2, rows(5..15))).await;
    let asked = at_last(async || claims.claim(&claim_key(), &node("b"), HOUR).await).await;
    assert!(matches!(asked, ClaimResult::Busy { .. }), "{asked:?}");
}

#[tokio::test]
async fn emptied_server_has_no_checkpoint_and_no_claims() {
    let server = RedisServer::start().await;
    let redis = connect(&server).await;
    let (checkpoints, claims) = (redis.checkpoints(), redis.claims());
    accept(&*checkpoints, full(1, rows(1..10))).await;
    assert_eq!(claims.claim(&claim_key(), &node("a"), HOUR).await.expect("answers"), ClaimResult::Won);
    server.flushall();
    assert_eq!(load(&*checkpoints).await, None);
    assert!(checkpoints.runs(RunQuery::default()).await.expect("lists").runs.is_empty());
    let committed = checkpoints.commit(PARTITION, delta(1, 2, rows(1..3)).into()).await.expect("answers");
    assert_eq!(committed, CommitResult::Refused { stored: None });
    assert!(!claims.renew(&claim_key(), &node("a"), HOUR).await.expect("answers"), "no node holds it");
    assert_eq!(claims.claim(&claim_key(), &node("b"), HOUR).await.expect("answers"), ClaimResult::Won);
    accept(&*checkpoints, full(2, rows(1..10))).await;
    assert_eq!(checkpoints.runs(RunQuery::default()).await.expect("lists").runs.len(), 9);
}

#[tokio::test]
async fn full_server_is_reported_and_used_again_when_it_has_room() {
    let server = RedisServer::start_with(&["--maxmemory", "8mb"]).await;
    let redis = connect(&server).await;
    let checkpoints = redis.checkpoints();
    accept(&*checkpoints, full(1, rows(1..10))).await;
    let large = |seq| delta(seq, seq + 1, vec![row(100 + seq, RunStatus::Running, vec![7; 1 << 20])]);
    let mut seq = 1;
    let error = loop {
        match checkpoints.commit(PARTITION, large(seq).into()).await {
            Ok(committed) => assert_eq!(committed, CommitResult::Accepted),
            Err(error) => break error,
        }
        seq += 1;
    };
    assert!(error.retryable && error.to_string().contains("maxmemory"), "{error}");
    assert_eq!(load(&*checkpoints).await.expect("a checkpoint").mark, mark(seq));
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]);
    accept(&*checkpoints, large(seq)).await;
}

#[tokio::test]
async fn expired_runs_make_room_on_a_full_server() {
    const KEPT: u64 = 2_000;
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await.checkpoints();
    let ended = (0..KEPT).map(|n| row(n, RunStatus::Succeeded, vec![7; 4096])).collect();
    accept(&*checkpoints, full(1, ended)).await;
    let memory: String = server.ask(&["INFO", "memory"]);
    let size = |name: &str| -> u64 {
        let value = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.parse().ok()).expect("a size")
    };
    // Buffers of clients become free again, and what is to be written to the file does not count.
    let used = size("used_memory") - size("mem_clients_normal") - size("mem_not_counted_for_evict");
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", &used.to_string()]);
    let more = |seq| delta(seq, seq + 1, vec![row(KEPT + seq, RunStatus::Running, vec![7; 100_000])]);
    let error = checkpoints.commit(PARTITION, more(1).into()).await.expect_err("it is full");
    assert!(error.retryable && error.to_string().contains("maxmemory"), "{error}");
    accept(&*checkpoints, CheckpointDelta { expired: (0..KEPT / 2).map(run).collect(), ..more(1) }).await;
    accept(&*checkpoints, more(2)).await;
    let loaded = load(&*checkpoints).await.expect("a checkpoint");
    assert_eq!((loaded.mark, loaded.live.len(), loaded.finished.len()), (mark(3), 2, 1_000));
}

#[tokio::test]
async fn malformed_claim_is_a_permanent_error() {
    let server = RedisServer::start().await;
    let claims = connect(&server).await.claims();
    let _: String = server.ask(&["SET", &format!("ls:claim:{}", claim_key()), "a string"]);
    let error = claims.claim(&claim_key(), &node("a"), HOUR).await.expect_err("no claim");
    assert!(!error.retryable && error.to_string().contains("claim"), "{error}");
}

#[tokio::test]
async fn claims_outlive_their_leases() {
    let server = RedisServer::start().await;
    let claims = connect(&server).await.claims();
    let key = format!("ls:claim:{}", claim_key());
    let days = || server.ask::<u64>(&["TTL", &key]) / 86_400;
    claims.claim(&claim_key(), &node("a"), Duration::ZERO).await.expect("answers");
    assert!(days() >= 29, "an abandoned claim is the only trace of a call that may have happened");
    claims.done(&claim_key(), &node("a")).await.expect("answers");
    assert!((85_000..=86_400).contains(&server.ask::<u64>(&["TTL", &key])));
    assert_eq!(
        claims.claim(&claim_key(), &node("b"), Duration::MAX).await.expect("answers"),
        ClaimResult::Done
    );
}

#[tokio::test]
async fn scripts_that_a_server_lost_are_loaded_again() {
    let server = RedisServer::start().await;
    let claims = connect(&server).await.claims();
    assert_eq!(claims.claim(&claim_key(), &node("a"), HOUR).await.expect("answers"), ClaimResult::Won);
    let _: String = server.ask(&["SCRIPT", "FLUSH"]);
    assert!(claims.renew(&claim_key(), &node("a"), HOUR).await.expect("answers"));
}

#[tokio::test]
async fn clusters_with_different_prefixes_are_separate() {
    let server = RedisServer::start().await;
    let one = connect(&server).await;
    let other = Redis::connect(RedisConfig { prefix: "other".to_owned(), ..config(&server) }).await;
    let other = other.expect("connects");
    accept(&*one.checkpoints(), full(1, rows(1..10))).await;
    assert_eq!(load(&*other.checkpoints()).await, None);
    assert!(one.lease().hold(PARTITION, &node("a"), HOUR).await.expect("answers"));
    assert!(other.lease().hold(PARTITION, &node("b"), HOUR).await.expect("answers"));
}

#[tokio::test]
async fn status_counts_checkpoints_and_claims() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb"]).await;
    let redis = connect(&server).await;
    accept(&*redis.checkpoints(), full(1, rows(1..10))).await;
    redis.claims().claim(&claim_key(), &node("a"), HOUR).await.expect("answers");
    redis.lease().hold(PARTITION, &node("a"), HOUR).await.expect("answers");
    let leases = redis.lease();
    leases.announce_scheduler(&node("a"), HOUR).await.expect("answers");
    leases.announce_scheduler(&node("b"), HOUR).await.expect("answers");
    let status = redis.status().await.expect("answers");
    assert!(status.version.starts_with(|first: char| first.is_ascii_digit()), "{status:?}");
    assert_eq!((status.policy.as_str(), status.memory_limit_bytes), ("noeviction", Some(100 << 20)));
    assert_eq!((status.persistence, status.disk_failing), (Persistence::AppendOnly, false));
    let keys = status.keys;
    assert_eq!((keys.checkpoints, keys.leases, keys.claims), (1, 1, 1));
    assert_eq!((keys.schedulers, keys.workers, keys.more), (2, 0, false));
    let away = status.clock.since(clock::now());
    assert!(away < Duration::from_secs(60), "{away:?}");
}
