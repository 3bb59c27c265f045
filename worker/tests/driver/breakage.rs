//! A backend that struggles, and a bug in the worker itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use longshore_backend::{Blobs, Error, LogReader, RunLog};
use longshore_proto::{Digest, Event, Incarnation, Outcome, Partition, Seq};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, safe, unsafe_to_repeat};

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
