//! Failing backends, and panics in the worker.

use std::future::ready;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Blobs, Delivery, Error, GrantWaiter, JobQueue, LogReader, RunLog};
use longshore_proto::{
    DeliveryId, Digest, Event, Grant, Incarnation, Job, JobAddress, JobId, Outcome, Partition, Seq,
    ServerName,
};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, safe, unsafe_to_repeat, until};

/// A log that refuses a number of appends.
struct RefusingLog {
    log: Arc<dyn RunLog>,
    refusals: AtomicU32,
}

#[async_trait]
impl RunLog for RefusingLog {
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
async fn append_is_retried_until_the_log_accepts_it_and_the_call_is_not_repeated() {
    let mut harness = Harness::new().await;
    let log = Arc::clone(&harness.backend.log);
    harness.backend.log = Arc::new(RefusingLog { log, refusals: AtomicU32::new(3) });
    harness.start(WorkerConfig::default());
    let job = unsafe_to_repeat("pay", "note", json!({ "text": "paid" }));
    harness.publish(&job).await;
    assert!(matches!(harness.outcome(&job.id).await.0, Outcome::Output(_)));
    assert_eq!(harness.journal(), ["note paid"]);
    harness.close().await;
}

#[tokio::test]
async fn server_with_one_concurrent_call_does_not_wait_for_the_log() {
    let mut harness = Harness::new().await;
    let log = Arc::clone(&harness.backend.log);
    let refusing = Arc::new(RefusingLog { log, refusals: AtomicU32::new(u32::MAX) });
    harness.backend.log = Arc::clone(&refusing) as _;
    harness.start(WorkerConfig::default());
    for step in ["one", "two"] {
        let mut job = safe(step, "note", json!({ "text": step }));
        job.server = "single".parse().expect("a server name");
        harness.publish(&job).await;
    }
    harness.called(2).await;
    refusing.refusals.store(0, Ordering::Relaxed);
    harness.stopped().await;
    assert_eq!(harness.journal(), ["note one", "note two"]);
    harness.close().await;
}

/// A queue whose first waiting pull fails. Records the longest wait of each waiting pull.
struct FailingQueue {
    queue: Arc<dyn JobQueue>,
    waits: Mutex<Vec<Duration>>,
}

#[async_trait]
impl JobQueue for FailingQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.queue.publish(jobs).await
    }
    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        self.queue.holds(jobs).await
    }
    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.queue.withdraw(jobs).await
    }
    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.queue.recall(jobs).await
    }
    async fn grant(&self, grants: &[Grant]) -> Result<(), Error> {
        self.queue.grant(grants).await
    }
    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error> {
        self.queue.grant_waiter(delivery).await
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
async fn pull_after_a_failed_one_waits_a_short_time() {
    let mut harness = Harness::new().await;
    let queue = Arc::clone(&harness.backend.jobs);
    let failing = Arc::new(FailingQueue { queue, waits: Mutex::default() });
    harness.backend.jobs = Arc::clone(&failing) as _;
    harness.start(WorkerConfig::default());
    let waits = || failing.waits.lock().expect("no panic").clone();
    until("it pulls again", || ready(waits().len() > 1)).await;
    assert!(waits()[0] > Duration::from_secs(10) && waits()[1] <= Duration::from_secs(1), "{:?}", waits());
    harness.close().await;
}

/// A blob store that panics.
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
async fn panic_ends_one_job_and_not_the_worker() {
    let mut harness = Harness::new().await;
    harness.backend.blobs = Arc::new(PanickingBlobs);
    harness.start(WorkerConfig::default());
    let bad = safe("bad", "big", json!({ "bytes": 100_000 }));
    harness.publish(&bad).await;
    let fault = harness.fault(&bad.id).await;
    assert!(fault.message.starts_with("poison"), "{fault}");
    assert_eq!(harness.journal().len(), 10, "one call for each delivery up to the limit");
    let good = safe("good", "note", json!({ "text": "fine" }));
    harness.publish(&good).await;
    assert!(matches!(harness.outcome(&good.id).await.0, Outcome::Output(_)));
    harness.close().await;
}
