//! Checkpoints in Redis under kills, damage and concurrent commits: each is complete, or there is none.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longshore_ports::{
    CheckpointDelta, Checkpoints, CommitResult, Error, LoadedCheckpoint, RunQuery, RunRow,
};
use longshore_proto::RunStatus;
use longshore_redis::{Redis, RedisConfig};
use longshore_tests::checkpoint_commits::{PARTITION, delta, full, full_in_chunks, mark, row, rows, run};
use longshore_tests::redis_server::RedisServer;
use longshore_tests::wait::{until, until_some};
use longshore_tls::TlsFiles;
use tokio::task::JoinSet;

async fn connect(server: &RedisServer) -> Arc<dyn Checkpoints> {
    let config = RedisConfig {
        url: server.url(),
        connect_deadline: Duration::from_secs(30),
        prefix: "ls".to_owned(),
        tls: TlsFiles::default(),
    };
    Redis::connect(config).await.expect("connects").checkpoints()
}

async fn accept(checkpoints: &dyn Checkpoints, delta: CheckpointDelta) {
    assert_eq!(checkpoints.commit(PARTITION, delta.into()).await.expect("answers"), CommitResult::Accepted);
}

async fn load(checkpoints: &dyn Checkpoints) -> Option<LoadedCheckpoint> {
    checkpoints.load(PARTITION).await.expect("answers")
}

/// Asks until there is an answer. Every error must be one after which another attempt can help.
async fn at_last<T>(ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let answer = async || ask().await.inspect_err(|error| assert!(error.retryable, "{error}")).ok();
    until_some("the store answers", answer).await
}

#[tokio::test]
async fn commits_interrupted_by_a_killed_server_are_complete_or_absent() {
    let mut server = RedisServer::start_with(&["--appendfsync", "always"]).await;
    let checkpoints = connect(&server).await;
    accept(&*checkpoints, full(0, Vec::new())).await;
    let acknowledged = AtomicU64::new(0);
    for round in 1..=5_u64 {
        let committing = async {
            let mut seq = round * 10_000;
            // Each commit replaces the state of every run with the number of the commit.
            while let Ok(committed) = checkpoints.commit(PARTITION, full_in_chunks(seq).into()).await {
                assert_eq!(committed, CommitResult::Accepted);
                acknowledged.store(seq, Ordering::Relaxed);
                seq += 1;
            }
        };
        let killing = async {
            until("a few commits", || acknowledged.load(Ordering::Relaxed) > round * 10_000).await;
            server.kill().await;
        };
        tokio::join!(committing, killing);
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        server.start_again().await;
        let loaded = at_last(async || checkpoints.load(PARTITION).await).await.expect("a checkpoint");
        assert!(
            loaded.mark.seq.0 >= acknowledged,
            "acknowledged up to {acknowledged}, found {}",
            loaded.mark.seq
        );
        let number = loaded.mark.seq.0.to_string().into_bytes();
        assert_eq!(loaded.live.len(), 3_000);
        assert!(loaded.live.iter().all(|(_, state)| *state == number), "one commit, and nothing of another");
    }
}

/// Damages of the checkpoint of partition 0: each loses or replaces a part of it.
const DAMAGES: [&[&str]; 12] = [
    &["HDEL", "ls:{p00}:live", "run_00_00000000z80000000000000001"],
    &["HDEL", "ls:{p00}:meta", "mark"],
    &["HDEL", "ls:{p00}:meta", "live"],
    &["HDEL", "ls:{p00}:meta", "partition"],
    &["HSET", "ls:{p00}:meta", "mark", "garbage"],
    &["ZPOPMIN", "ls:{p00}:index"],
    &["DEL", "ls:{p00}:live"],
    &["DEL", "ls:{p00}:done"],
    &["DEL", "ls:{p00}:rows"],
    &["DEL", "ls:{p00}:meta"],
    &["SET", "ls:{p00}:live", "a string"],
    &["SET", "ls:{p00}:meta", "a string"],
];

#[tokio::test]
async fn damaged_checkpoint_is_not_loaded_and_replaced_by_the_next_full_one() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await;
    for damage in DAMAGES {
        accept(&*checkpoints, full(1, rows(1..10))).await;
        let whole = load(&*checkpoints).await;
        assert!(whole.is_some(), "before {damage:?}");
        let _: redis::Value = server.ask(damage);
        assert_eq!(load(&*checkpoints).await, None, "{damage:?}");
        accept(&*checkpoints, full(1, rows(1..10))).await;
        assert_eq!(load(&*checkpoints).await, whole, "{damage:?}");
        assert_eq!(checkpoints.runs(RunQuery::default()).await.expect("lists").runs.len(), 9, "{damage:?}");
    }
}

#[tokio::test]
async fn a_delta_onto_a_damaged_checkpoint_is_refused() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await;
    for damage in DAMAGES {
        // A commit does not read the state of the partition, which it replaces.
        if damage.contains(&"partition") {
            continue;
        }
        accept(&*checkpoints, full(1, rows(1..10))).await;
        let _: redis::Value = server.ask(damage);
        let committed = checkpoints.commit(PARTITION, delta(1, 2, rows(1..3)).into()).await.expect("answers");
        assert_eq!(committed, CommitResult::Refused { stored: None }, "{damage:?}");
    }
}

#[tokio::test]
async fn one_of_two_leaders_commits() {
    let server = RedisServer::start().await;
    let leaders = [connect(&server).await, connect(&server).await];
    for (size, base) in [(10, 1), (2_500, 11)] {
        accept(&*leaders[0], full(base, rows(0..size))).await;
        let mut commits = JoinSet::new();
        for (leader, seq) in leaders.iter().cloned().zip([base + 1, base + 2]) {
            commits.spawn(async move {
                let committed =
                    leader.commit(PARTITION, delta(base, seq, rows(0..size)).into()).await.expect("answers");
                (seq, committed)
            });
        }
        let results = commits.join_all().await;
        let winners: Vec<_> = results.iter().filter(|(_, how)| *how == CommitResult::Accepted).collect();
        let [(won, _)] = winners.as_slice() else { unreachable!("one is accepted: {results:?}") };
        let lost = results.iter().find(|(seq, _)| seq != won).expect("the other");
        assert_eq!(lost.1, CommitResult::Refused { stored: Some(mark(*won)) });
        assert_eq!(load(&*leaders[1]).await.expect("a checkpoint").mark, mark(*won));
    }
}

#[tokio::test]
async fn checkpoint_of_many_pieces_is_read_as_one() {
    let server = RedisServer::start().await;
    let checkpoints = connect(&server).await;
    accept(&*checkpoints, full(1, rows(0..4_500))).await;
    let first = load(&*checkpoints).await.expect("a checkpoint");
    assert_eq!((first.live.len(), first.finished.len()), (3_000, 1_500));
    // Some runs continue, some end, some are new, some expire: more than one script takes.
    let ended = (0..2_000).map(|n| row(n, RunStatus::Failed, b"over".to_vec()));
    let mut changed: Vec<RunRow> = ended.collect();
    changed.extend(rows(4_000..6_000));
    let expired = (3_000..3_300).filter(|n| n % 3 == 0).map(run).collect();
    accept(&*checkpoints, CheckpointDelta { expired, ..delta(1, 2, changed) }).await;
    let second = load(&*checkpoints).await.expect("a checkpoint");
    assert_eq!((second.live.len(), second.finished.len()), (2_667, 3_233));
    // A full checkpoint that replaces it keeps the ended runs.
    accept(&*checkpoints, full(3, rows(9_000..9_010))).await;
    let third = load(&*checkpoints).await.expect("a checkpoint");
    assert_eq!((third.live.len(), third.finished.len()), (6, 3_237));
    let query = RunQuery { statuses: vec![RunStatus::Running], ..RunQuery::default() };
    assert_eq!(checkpoints.runs(query).await.expect("lists").runs.len(), 6);
    let keys: Vec<String> = server.ask(&["KEYS", "*"]);
    assert!(!keys.iter().any(|key| key.contains("stage") || key.ends_with("redo")), "{keys:?}");
}

#[tokio::test]
async fn checkpoint_is_read_completely_while_others_are_written() {
    let server = RedisServer::start().await;
    let (reader, writer) = (connect(&server).await, connect(&server).await);
    accept(&*writer, full_in_chunks(1)).await;
    let writing = async {
        for seq in 2..8 {
            accept(&*writer, full_in_chunks(seq)).await;
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        while seen.last() != Some(&7) {
            let loaded = at_last(async || reader.load(PARTITION).await).await.expect("a checkpoint");
            let number = loaded.mark.seq.0.to_string().into_bytes();
            assert!(loaded.live.len() == 3_000 && loaded.live.iter().all(|(_, state)| *state == number));
            seen.push(loaded.mark.seq.0);
        }
        assert!(seen.is_sorted(), "{seen:?}");
    };
    tokio::join!(writing, reading);
}
