//! How fast the adapters on Redis are on the server at hand.
//!
//! `cargo run --release -p longshore-backend --example redis_rate -- [redis://127.0.0.1:6379/0]` commits a thousand
//! changed runs of two kibibytes a hundred times, loads what they left, and then claims and ends calls for three
//! seconds with 1, 32 and 256 in flight. The floor beside it is a bare round trip. It writes below a prefix of its own
//! and leaves its keys behind: meant for a server that nobody else uses.

#![expect(clippy::expect_used, reason = "what cannot be measured ends the measurement")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longshore_backend::TlsFiles;
use longshore_backend::redis::{Redis, RedisConfig};
use longshore_backend::{Checkpoints, Claimed, Claims, Committed, Delta, RunRow};
use longshore_proto::{
    CheckpointMark, ClaimKey, Digest, Incarnation, NodeId, Partition, RollingHash, RunId, RunStatus,
    RunSummary, Seq, Timestamp, WorkflowRef,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

const LOG: Partition = Partition(0);

/// How long each rate of claims is measured.
const SPAN: Duration = Duration::from_secs(3);

/// How many commits and round trips are timed.
const TIMED: u64 = 100;

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379/0".to_owned());
    let prefix = format!("rate-{}", std::process::id());
    let config =
        RedisConfig { url, connect_deadline: Duration::from_secs(5), prefix, tls: TlsFiles::default() };
    let redis = Redis::connect(config).await.expect("connects");
    let mut trips = Vec::new();
    for _ in 0..TIMED {
        let since = Instant::now();
        redis.ping().await.expect("answers");
        trips.push(since.elapsed());
    }
    println!("{:>34} {:>10}", "a bare round trip", shown(trips));
    commits(&*redis.checkpoints()).await;
    for in_flight in [1, 32, 256] {
        let rate = claims_per_second(redis.claims(), in_flight).await;
        println!("{:>34} {rate:>10.0} claims/s", format!("claim and done, {in_flight} in flight"));
    }
}

/// The median and the worst.
fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let millis = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let (median, worst) = (times.get(times.len() / 2), times.last());
    format!("{:.2} ms p50, {:.2} ms at most", millis(median), millis(worst))
}

async fn commits(checkpoints: &dyn Checkpoints) {
    let first = delta(None, 0, 10_000, RunStatus::Running);
    println!("{:>34} {:>10}", "10,000 runs, all of them", shown(vec![commit(checkpoints, first).await]));
    for (name, count) in [("1 run", 1), ("100 runs", 100), ("1,000 runs", 1_000), ("5,000 runs", 5_000)] {
        let mut times = Vec::new();
        for _ in 0..TIMED {
            times.push(commit(checkpoints, delta(Some(0), 0, count, RunStatus::Running)).await);
        }
        println!("{:>34} {:>10}", format!("{name} that go on"), shown(times));
    }
    let ended = delta(Some(0), 0, 1_000, RunStatus::Succeeded);
    println!("{:>34} {:>10}", "1,000 runs that end", shown(vec![commit(checkpoints, ended).await]));
    let since = Instant::now();
    let loaded = checkpoints.load(LOG).await.expect("loads").expect("a checkpoint");
    let what = format!("load {} live, {} finished runs", loaded.live.len(), loaded.finished.len());
    println!("{what:>34} {:>10}", shown(vec![since.elapsed()]));
}

async fn commit(checkpoints: &dyn Checkpoints, delta: Delta) -> Duration {
    let since = Instant::now();
    let committed = checkpoints.commit(LOG, delta.into()).await.expect("commits");
    assert_eq!(committed, Committed::Accepted, "nobody else is here");
    since.elapsed()
}

fn mark(seq: u64) -> CheckpointMark {
    let incarnation = Incarnation("rate".to_owned());
    CheckpointMark { incarnation, seq: Seq(seq), version: 1, hash: RollingHash::default() }
}

/// A commit of this many runs of two kibibytes each.
fn delta(base: Option<u64>, to: u64, count: u64, status: RunStatus) -> Delta {
    let changed = (0..count).map(|n| RunRow { summary: summary(n, status), state: vec![b'x'; 2_048] });
    Delta {
        base: base.map(mark),
        useless: None,
        mark: mark(to),
        partition: vec![b'x'; 256],
        changed: changed.collect(),
        expired: Vec::new(),
    }
}

fn summary(n: u64, status: RunStatus) -> RunSummary {
    let submitted_at = Timestamp::from_millis(1_795_187_471_042 + n);
    RunSummary {
        run: RunId::new(LOG, submitted_at, u128::from(n)),
        namespace: "default".parse().expect("a namespace"),
        workflow: WorkflowRef { name: "sales-report".parse().expect("a name"), digest: Digest::of(b"text") },
        status,
        submitted_at,
        finished_at: status.is_terminal().then(|| submitted_at.plus(Duration::from_secs(1))),
        error: None,
        failed_step: None,
        cancel_reason: None,
        labels: std::collections::BTreeMap::new(),
    }
}

async fn claims_per_second(claims: Arc<dyn Claims>, in_flight: usize) -> f64 {
    let next = Arc::new(AtomicU64::new(in_flight as u64 * 1_000_000_000));
    let (since, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..in_flight {
        let (claims, next) = (Arc::clone(&claims), Arc::clone(&next));
        callers.spawn(async move { claim_until(&*claims, &next, since + SPAN).await });
    }
    let made: u64 = callers.join_all().await.into_iter().sum();
    made as f64 / since.elapsed().as_secs_f64()
}

async fn claim_until(claims: &dyn Claims, next: &AtomicU64, end: Instant) -> u64 {
    let holder: NodeId = "worker-1".parse().expect("a node id");
    let mut made = 0;
    while Instant::now() < end {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let run = RunId::new(LOG, Timestamp::from_millis(1_795_187_471_042), u128::from(n));
        let key =
            ClaimKey { run, submitted_at: Timestamp::default(), step: "pay".parse().expect("a step path") };
        let claimed = claims.claim(&key, &holder, Duration::from_secs(60)).await.expect("claims");
        assert_eq!(claimed, Claimed::Won, "a new call");
        claims.done(&key, &holder).await.expect("ends it");
        made += 1;
    }
    made
}
