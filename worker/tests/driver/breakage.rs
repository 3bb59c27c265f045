//! A backend that struggles, and a bug in the worker itself.

use std::future::ready;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Blobs, Delivery, Error, JobQueue, LogReader, RunLog};
use longshore_proto::{Digest, Event, Incarnation, Job, JobId, Outcome, Partition, Seq, ServerName};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, safe, unsafe_to_repeat, until};

/// A log that cannot be written to for a while.
struct AwayLog {
    log: Arc<dyn RunLog>,
    refusals: AtomicU32,
}

#[async_trait]
impl RunLog for AwayLog {
    async fn incarnation(&self, partition: Partition) -> Result<Incarnation, Error> {
        self.log.incarnation(partition).await
    }
    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error> {
        if self
            .refusals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(Error::transient("append", "no leader"));
        }
        self.log.append(partition, events).await
    }
    async fn tail(&self, partition: Partition) -> Result<Seq, Error> {
        self.log.tail(partition).await
    }
    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error> {
        self.log.read(partition, from).await
    }
    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error> {
        self.log.trim(partition, below).await
    }
}

#[tokio::test]
async fn a_result_waits_for_a_log_that_is_away_and_the_call_is_not_repeated() {
    let mut harness = Harness::new().await;
    let log = Arc::clone(&harness.backend.log);
    harness.backend.log = Arc::new(AwayLog { log, refusals: AtomicU32::new(3) });
    harness.start(WorkerConfig::default());
    let job = unsafe_to_repeat("pay", "note", json!({ "text": "paid" }));
    harness.publish(&job).await;
    assert!(matches!(harness.outcome(&job.id).await.0, Outcome::Output(_)));
    assert_eq!(harness.journal(), ["note paid"]);
    harness.close().await;
}

#[tokio::test]
async fn a_server_that_takes_one_call_at_a_time_does_not_wait_for_the_log() {
    let mut harness = Harness::new().await;
    let log = Arc::clone(&harness.backend.log);
    let away = Arc::new(AwayLog { log, refusals: AtomicU32::new(u32::MAX) });
    harness.backend.log = Arc::clone(&away) as _;
    harness.start(WorkerConfig::default());
    for step in ["one", "two"] {
        let mut job = safe(step, "note", json!({ "text": step }));
        job.server = "single".parse().expect("a server name");
        harness.publish(&job).await;
    }
    harness.called(2).await;
    away.refusals.store(0, Ordering::Relaxed);
    harness.stopped().await;
    assert_eq!(harness.journal(), ["note one", "note two"]);
    harness.close().await;
}

/// A queue whose first pull that waits fails, and how long each such pull waits at most.
struct LostQueue {
    queue: Arc<dyn JobQueue>,
    waits: Mutex<Vec<Duration>>,
}

#[async_trait]
impl JobQueue for LostQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.queue.publish(jobs).await
    }
    async fn holds(&self, jobs: &[Job]) -> Result<Vec<bool>, Error> {
        self.queue.holds(jobs).await
    }
    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.queue.recall(jobs).await
    }
    fn outlives_process(&self) -> bool {
        self.queue.outlives_process()
    }
    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        if server.as_str() == "journal" && !wait.is_zero() {
            let mut waits = self.waits.lock().expect("no panic");
            waits.push(wait);
            if waits.len() == 1 {
                return Err(Error::transient("pull", "the stream is gone"));
            }
        }
        self.queue.pull(server, max, wait).await
    }
}

#[tokio::test]
async fn the_pull_after_a_failed_one_ends_soon_so_that_the_queue_is_seen_to_work() {
    let mut harness = Harness::new().await;
    let queue = Arc::clone(&harness.backend.jobs);
    let lost = Arc::new(LostQueue { queue, waits: Mutex::default() });
    harness.backend.jobs = Arc::clone(&lost) as _;
    harness.start(WorkerConfig::default());
    let waits = || lost.waits.lock().expect("no panic").clone();
    until("it pulls again", || ready(waits().len() > 1)).await;
    assert!(waits()[0] > Duration::from_secs(10) && waits()[1] <= Duration::from_secs(1), "{:?}", waits());
    harness.close().await;
}

/// Blobs with a bug.
struct PanickingBlobs;

#[async_trait]
impl Blobs for PanickingBlobs {
    async fn put(&self, _: Vec<u8>) -> Result<Digest, Error> {
        panic!("a bug")
    }
    async fn get(&self, _: Digest) -> Result<Option<Vec<u8>>, Error> {
        panic!("a bug")
    }
}

#[tokio::test]
async fn a_panic_ends_one_job_and_not_the_worker() {
    let mut harness = Harness::new().await;
    harness.backend.blobs = Arc::new(PanickingBlobs);
    harness.start(WorkerConfig::default());
    let bad = safe("bad", "big", json!({ "bytes": 100_000 }));
    harness.publish(&bad).await;
    let fault = harness.fault(&bad.id).await;
    assert!(fault.message.starts_with("poison"), "{fault}");
    assert_eq!(harness.journal().len(), 10, "and then no more");
    let good = safe("good", "note", json!({ "text": "fine" }));
    harness.publish(&good).await;
    assert!(matches!(harness.outcome(&good.id).await.0, Outcome::Output(_)));
    harness.close().await;
}
