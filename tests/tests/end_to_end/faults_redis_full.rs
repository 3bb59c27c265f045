//! A Redis whose memory is full: reads, renewals, releases and deletions still work.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{CheckpointDelta, Checkpoints, CommitResult, RunQuery, RunRow, WorkerEntry, clock};
use longshore_proto::{ClaimKey, ClaimResult, NodeId, RunStatus, Timestamp};
use longshore_redis::{Redis, RedisConfig};
use longshore_tests::checkpoint_commits::{PARTITION, delta, full, row, rows, run};
use longshore_tests::redis_server::RedisServer;
use longshore_tls::TlsFiles;
use tokio::time::timeout;

const HOUR: Duration = Duration::from_secs(3600);

async fn connect(server: &RedisServer) -> Redis {
    let config = RedisConfig {
        url: server.url(),
        connect_deadline: Duration::from_secs(30),
        prefix: "ls".to_owned(),
        tls: TlsFiles::default(),
    };
    Redis::connect(config).await.expect("connects")
}

/// Makes the server refuse all writes that need memory.
fn fill(server: &RedisServer) {
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
}

fn claim_key(step: &str) -> ClaimKey {
    ClaimKey { run: run(1), submitted_at: Timestamp::default(), step: step.parse().expect("a step path") }
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

async fn looked_up(checkpoints: &dyn Checkpoints) -> Vec<Option<RunRow>> {
    let mut found = Vec::new();
    for number in 0..20 {
        found.push(checkpoints.run(run(number)).await.expect("answers"));
    }
    found
}

#[tokio::test]
async fn full_server_is_read() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await.checkpoints();
    let stored = rows(1..10);
    checkpoints.commit(PARTITION, full(1, stored.clone()).into()).await.expect("answers");
    let before = looked_up(&*checkpoints).await;
    fill(&server);
    assert_eq!(looked_up(&*checkpoints).await, before);
    assert_eq!(before.into_iter().flatten().collect::<Vec<_>>(), stored);
    assert_eq!(checkpoints.runs(RunQuery::default()).await.expect("lists").runs.len(), 9);
    let namespace = "default".parse().expect("a namespace");
    assert_eq!(checkpoints.count_live(&namespace).await.expect("counts"), 6);
    let loaded = checkpoints.load(PARTITION).await.expect("answers").expect("a checkpoint");
    assert_eq!((loaded.live.len(), loaded.finished.len()), (6, 3));
}

#[tokio::test]
async fn run_is_read_from_a_commit_whose_rows_are_not_applied_yet() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await.checkpoints();
    checkpoints.commit(PARTITION, full(1, rows(1..10)).into()).await.expect("answers");
    // A leader that may not apply the rows leaves them in the commit.
    let _: String = server.ask(&["ACL", "SETUSER", "default", "-hrandfield"]);
    let changed = (5..15).map(|n| row(n, RunStatus::Cancelling, b"newer".to_vec())).collect();
    let committed = checkpoints.commit(PARTITION, full(2, changed).into()).await.expect("answers");
    assert_eq!(committed, CommitResult::Accepted);
    assert!(server.ask::<u64>(&["LLEN", "ls:{p00}:redo"]) > 0);
    let before = looked_up(&*checkpoints).await;
    assert!(server.ask::<u64>(&["LLEN", "ls:{p00}:redo"]) > 0, "a look-up writes nothing");
    assert_eq!(before.get(12).cloned().flatten().expect("a new run").summary.status, RunStatus::Cancelling);
    assert_eq!(before.get(1), Some(&None), "a live run that was replaced");
    // A full server still applies them.
    let _: String = server.ask(&["ACL", "SETUSER", "default", "+hrandfield"]);
    fill(&server);
    let listed = checkpoints.runs(RunQuery::default()).await.expect("lists").runs;
    assert_eq!(server.ask::<u64>(&["LLEN", "ls:{p00}:redo"]), 0);
    assert_eq!(looked_up(&*checkpoints).await, before);
    assert_eq!(listed.len(), before.iter().flatten().count());
}

#[tokio::test]
async fn full_server_accepts_leases_and_lists_of_processes() {
    let server = RedisServer::start().await;
    let redis = connect(&server).await;
    let (lease, catalog) = (redis.lease(), redis.catalog());
    fill(&server);
    assert!(lease.hold(PARTITION, &node("a"), HOUR).await.expect("answers"));
    assert!(!lease.hold(PARTITION, &node("b"), HOUR).await.expect("answers"));
    lease.release(PARTITION, &node("a")).await.expect("answers");
    assert!(lease.hold(PARTITION, &node("b"), HOUR).await.expect("answers"));
    lease.announce_scheduler(&node("a"), HOUR).await.expect("answers");
    assert_eq!(lease.announce_scheduler(&node("b"), HOUR).await.expect("answers"), [node("a"), node("b")]);
    let worker = WorkerEntry {
        worker: node("w"),
        version: "1".to_owned(),
        started_at: clock::now(),
        servers: Vec::new(),
        slots: 1,
        problems: Vec::new(),
    };
    catalog.announce(&worker, HOUR).await.expect("answers");
    assert_eq!(catalog.workers().await.expect("answers").len(), 1);
}

#[tokio::test]
async fn full_server_renews_claims_and_refuses_new_ones() {
    let server = RedisServer::start().await;
    let claims = connect(&server).await.claims();
    let (held, ended) = (claim_key("held"), claim_key("ended"));
    for key in [&held, &ended] {
        assert_eq!(claims.claim(key, &node("a"), HOUR).await.expect("answers"), ClaimResult::Won);
    }
    fill(&server);
    assert!(claims.renew(&held, &node("a"), HOUR).await.expect("answers"));
    claims.done(&held, &node("a")).await.expect("answers");
    claims.release(&ended, &node("a")).await.expect("answers");
    let error = claims.claim(&ended, &node("b"), HOUR).await.expect_err("no room");
    assert!(error.retryable && error.to_string().contains("maxmemory"), "{error}");
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(claims.claim(&held, &node("b"), HOUR).await.expect("answers"), ClaimResult::Done);
    assert_eq!(claims.claim(&ended, &node("b"), HOUR).await.expect("answers"), ClaimResult::Won);
}

#[tokio::test]
async fn full_server_accepts_a_checkpoint_that_replaces_a_useless_one() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await.checkpoints();
    let large = |n| row(n, RunStatus::Succeeded, vec![7; 4096]);
    let stored = full(9, (0..2_000).map(large).collect());
    checkpoints.commit(PARTITION, stored.clone().into()).await.expect("answers");
    let about: String = server.ask(&["INFO", "memory"]);
    let used = about.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a size");
    let used: u64 = used.trim().parse().expect("a size");
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", &(used / 2).to_string()]);
    // A leader that did not find the stored one useless deletes nothing.
    let other = full(1, rows(1..10));
    let refused = checkpoints.commit(PARTITION, other.clone().into()).await.expect_err("no room");
    assert!(refused.retryable && refused.to_string().contains("maxmemory"), "{refused}");
    assert_eq!(server.ask::<u64>(&["HLEN", "ls:{p00}:done"]), 2_000);
    // Memory is freed in the background.
    let other = Arc::new(CheckpointDelta { invalid: Some(stored.mark), ..other });
    let committed = async {
        loop {
            match checkpoints.commit(PARTITION, Arc::clone(&other)).await {
                Ok(committed) => break committed,
                Err(error) => assert!(error.retryable, "{error}"),
            }
        }
    };
    let committed = timeout(Duration::from_secs(30), committed).await.expect("there is room at last");
    assert_eq!(committed, CommitResult::Accepted);
    assert_eq!(checkpoints.load(PARTITION).await.expect("answers").expect("a checkpoint").live.len(), 6);
}

#[tokio::test]
async fn full_server_refuses_a_commit_and_accepts_it_when_it_has_room() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await.checkpoints();
    checkpoints.commit(PARTITION, full(1, rows(1..10)).into()).await.expect("answers");
    fill(&server);
    let error = checkpoints.commit(PARTITION, delta(1, 2, rows(10..12)).into()).await.expect_err("no room");
    assert!(error.retryable && error.to_string().contains("maxmemory"), "{error}");
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    let committed = checkpoints.commit(PARTITION, delta(1, 2, rows(10..12)).into()).await.expect("answers");
    assert_eq!(committed, CommitResult::Accepted);
}
