//! Measures the embedded log on a disk.
//!
//! `cargo run --release -p longshore-embedded --example append_rate -- [directory]` appends for three seconds with 1,
//! 32 and 1,000 appends in flight, and then measures the time of a single entry from its append to its reader. The
//! floor beside it is the least that the disk needs: a write of one page and an fsync.

#![expect(clippy::expect_used, reason = "what cannot be measured ends the measurement")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_embedded::{Access, Embedded};
use longshore_ports::Backend;
use longshore_proto::{
    Attempt, AttemptRecord, Event, JobId, NodeId, Outcome, Output, Partition, Payload, RunId, Sent,
    Settlement, Timestamp,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

const LOG: Partition = Partition(0);

/// Duration of each measurement of a rate.
const SPAN: Duration = Duration::from_secs(3);

/// Single entries whose time is measured.
const SINGLE_ENTRIES: usize = 1_000;

#[tokio::main]
async fn main() {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).expect("a directory");
    println!("{:>24} {:>12.0} µs p50", "write and fsync", sync(dir.path()).as_secs_f64() * 1e6);
    let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
    for in_flight in [1, 32, 1_000] {
        println!(
            "{:>24} {:>12.0} appends/s",
            format!("{in_flight} in flight"),
            rate(&embedded, in_flight).await
        );
    }
    let (durable, read) = single(embedded.backend()).await;
    println!("{:>24} {:>12.0} µs p50", "single append, durable", durable.as_secs_f64() * 1e6);
    println!("{:>24} {:>12.0} µs p50", "and read by a follower", read.as_secs_f64() * 1e6);
    embedded.close().await;
}

/// Returns the event of a settled step: about 350 bytes.
fn event(n: u128) -> Event {
    let run = RunId::new(LOG, Timestamp::from_millis(1_795_187_471_042), n);
    let job = JobId { run, step: "summarise".parse().expect("a step"), attempt: Attempt::FIRST };
    let value = serde_json::json!({ "rows": 1_000, "columns": ["region", "amount"], "total": 123_456.78 });
    let output = Output { value: Payload::Inline(value), content: None };
    let attempt = AttemptRecord {
        number: Attempt::FIRST,
        started_at: Timestamp::from_millis(1_795_187_471_042),
        took: Duration::from_millis(12),
        fault: None,
        sent: Sent::Answered,
        worker: None,
        process: None,
        masked: Vec::new(),
        rounded: None,
    };
    let worker: NodeId = "host-4711-abcdef".parse().expect("a node");
    Event::Settled {
        job,
        settlement: Settlement::Done(Outcome::Output(output)),
        attempts: vec![attempt],
        worker,
        unreported: false,
        unreported_worker: None,
    }
}

async fn rate(embedded: &Embedded, in_flight: usize) -> f64 {
    let begin = Instant::now();
    let appenders = (0..in_flight).map(|_| {
        let backend = embedded.backend();
        async move {
            let mut count = 0_u32;
            while begin.elapsed() < SPAN {
                backend.log.append(LOG, &[event(u128::from(count))]).await.expect("appends");
                count += 1;
            }
            count
        }
    });
    let counts = JoinSet::from_iter(appenders).join_all().await;
    f64::from(counts.into_iter().sum::<u32>()) / begin.elapsed().as_secs_f64()
}

/// Returns the median times until the append returned, and until a reader had the entry.
async fn single(backend: Backend) -> (Duration, Duration) {
    let tail = backend.log.tail(LOG).await.expect("a tail");
    let mut follower = backend.log.read(LOG, tail.next()).await.expect("reads");
    let (mut durable, mut read) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE_ENTRIES {
        let begin = Instant::now();
        let append = async {
            backend.log.append(LOG, &[event(0)]).await.expect("appends");
            begin.elapsed()
        };
        let follow = async {
            follower.next(1).await.expect("reads on");
            begin.elapsed()
        };
        let (appended, followed) = tokio::join!(append, follow);
        durable.push(appended);
        read.push(followed);
    }
    (median(durable), median(read))
}

fn sync(dir: &Path) -> Duration {
    let mut file = File::create(dir.join("floor")).expect("creates");
    let mut one = || {
        let begin = Instant::now();
        file.write_all(&[1; 4_096]).and_then(|()| file.sync_data()).expect("syncs");
        begin.elapsed()
    };
    median((0..SINGLE_ENTRIES).map(|_| one()).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
