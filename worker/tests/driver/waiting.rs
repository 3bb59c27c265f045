//! Recalls and stops of jobs that wait for a store before their call. Such a job ends at once, as not called.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Blobs, Claims, Error, ErrorCause};
use longshore_proto::{ClaimKey, ClaimResult, Digest, FaultClass, Job, NodeId, Payload};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, safe, unsafe_to_repeat, until, with_own_key};

/// A claim store without room for more claims.
struct FullClaims {
    claims: Arc<dyn Claims>,
    refused: AtomicU32,
    has_room: AtomicBool,
}

#[async_trait]
impl Claims for FullClaims {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        if self.has_room.load(Ordering::Relaxed) {
            return self.claims.claim(key, holder, lease).await;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Error::no_room("claim", "full"))
    }
    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        self.claims.renew(key, holder, lease).await
    }
    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.done(key, holder).await
    }
    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.release(key, holder).await
    }
}

/// A claim store that refuses this worker.
#[derive(Default)]
struct DeniedClaims {
    /// The deliveries that asked.
    holders: Mutex<BTreeSet<NodeId>>,
}

#[async_trait]
impl Claims for DeniedClaims {
    async fn claim(&self, _: &ClaimKey, holder: &NodeId, _: Duration) -> Result<ClaimResult, Error> {
        self.holders.lock().expect("no panic").insert(holder.clone());
        Err(Error::transient("claim", "WRONGPASS").with_cause(ErrorCause::Denied))
    }
    async fn renew(&self, _: &ClaimKey, _: &NodeId, _: Duration) -> Result<bool, Error> {
        Ok(false)
    }
    async fn done(&self, _: &ClaimKey, _: &NodeId) -> Result<(), Error> {
        Ok(())
    }
    async fn release(&self, _: &ClaimKey, _: &NodeId) -> Result<(), Error> {
        Ok(())
    }
}

/// A blob store that does not answer.
#[derive(Default)]
struct AbsentBlobs {
    asked: AtomicU32,
}

#[async_trait]
impl Blobs for AbsentBlobs {
    async fn put(&self, _: Vec<u8>) -> Result<Digest, Error> {
        Err(Error::transient("store", "away"))
    }
    async fn get(&self, _: Digest) -> Result<Option<Vec<u8>>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Err(Error::transient("fetch", "away"))
    }
}

/// Starts a worker whose claim store is full, with a job that waits for its claim.
async fn waiting_for_its_claim(config: WorkerConfig) -> (Harness, Job) {
    let mut harness = Harness::new().await;
    let claims = Arc::clone(&harness.backend.claims);
    let full = Arc::new(FullClaims { claims, refused: AtomicU32::new(0), has_room: AtomicBool::new(false) });
    harness.backend.claims = Arc::clone(&full) as _;
    let job = with_own_key("pay", "note", json!({ "text": "paid" }));
    harness.publish(&job).await;
    harness.start(config);
    until("a claim is refused", || ready(full.refused.load(Ordering::Relaxed) > 0)).await;
    (harness, job)
}

#[tokio::test]
async fn recalled_job_that_waits_for_its_claim_settles_as_not_called() {
    let (harness, job) = waiting_for_its_claim(WorkerConfig::default()).await;
    harness.backend.jobs.recall(std::slice::from_ref(&job.id)).await.expect("recalled");
    let fault = harness.fault(&job.id).await;
    assert_eq!((fault.class, fault.message.as_str()), (FaultClass::Cancelled, "cancelled before the call"));
    assert!(harness.journal().is_empty());
    harness.close().await;
}

#[tokio::test]
async fn job_that_waits_for_its_claim_returns_to_the_queue_when_the_worker_ends() {
    let config = WorkerConfig { drain: Duration::ZERO, ..WorkerConfig::default() };
    let (mut harness, job) = waiting_for_its_claim(config).await;
    harness.stopped().await;
    assert!(harness.journal().is_empty());
    assert_eq!(harness.take().await.expect("it is queued again").job, job);
    harness.close().await;
}

#[tokio::test]
async fn recalled_job_that_waits_for_its_arguments_settles_as_not_called() {
    let mut harness = Harness::new().await;
    let blobs = Arc::new(AbsentBlobs::default());
    harness.backend.blobs = Arc::clone(&blobs) as _;
    let mut job = unsafe_to_repeat("pay", "note", json!({}));
    job.arguments = Payload::Blob { digest: Digest::of(b"{}"), bytes: 2 };
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    until("the arguments are fetched", || ready(blobs.asked.load(Ordering::Relaxed) > 0)).await;
    harness.backend.jobs.recall(std::slice::from_ref(&job.id)).await.expect("recalled");
    let fault = harness.fault(&job.id).await;
    assert_eq!((fault.class, fault.message.as_str()), (FaultClass::Cancelled, "cancelled before the call"));
    harness.close().await;
}

#[tokio::test]
async fn job_that_waits_for_its_claim_does_not_hold_up_other_jobs_of_its_server() {
    let mut harness = Harness::new().await;
    let claims = Arc::clone(&harness.backend.claims);
    let full = Arc::new(FullClaims { claims, refused: AtomicU32::new(0), has_room: AtomicBool::new(false) });
    harness.backend.claims = Arc::clone(&full) as _;
    let on_single = |job: Job| Job { server: "single".parse().expect("a server name"), ..job };
    let waiting = on_single(with_own_key("pay", "note", json!({ "text": "paid" })));
    harness.publish(&waiting).await;
    harness.start(WorkerConfig::default());
    until("a claim is refused", || ready(full.refused.load(Ordering::Relaxed) > 0)).await;
    let other = on_single(safe("read", "note", json!({ "text": "read" })));
    harness.publish(&other).await;
    harness.outcome(&other.id).await;
    assert_eq!(harness.journal(), ["note read"]);
    full.has_room.store(true, Ordering::Relaxed);
    harness.outcome(&waiting.id).await;
    assert_eq!(harness.journal(), ["note read", "note paid"]);
    harness.close().await;
}

#[tokio::test]
async fn job_that_this_worker_may_not_claim_is_delivered_again() {
    let mut harness = Harness::new().await;
    let denied = Arc::new(DeniedClaims::default());
    harness.backend.claims = Arc::clone(&denied) as _;
    harness.publish(&with_own_key("pay", "note", json!({ "text": "paid" }))).await;
    harness.start(WorkerConfig::default());
    // With more than one worker, another one takes it.
    until("a second delivery", || ready(denied.holders.lock().expect("no panic").len() > 1)).await;
    assert!(harness.journal().is_empty());
    harness.close().await;
}
