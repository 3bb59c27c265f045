//! Calls that take longer than a lease, and calls whose claim is lost meanwhile.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Claims, Delivery, Error, JobQueue, Queued, Receipt};
use longshore_proto::{ClaimKey, ClaimResult, Job, JobId, NodeId, Outcome, ServerName};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, open, unsafe_to_repeat, until};

/// The real queue, in a hurry.
struct Hasty(Arc<dyn JobQueue>);

#[async_trait]
impl JobQueue for Hasty {
    async fn publish(&self, jobs: Vec<Job>) -> Result<Vec<Queued>, Error> {
        self.0.publish(jobs).await
    }
    async fn holds(&self, jobs: &[Job]) -> Result<Vec<bool>, Error> {
        self.0.holds(jobs).await
    }
    async fn recall(&self, job: &JobId) -> Result<(), Error> {
        self.0.recall(job).await
    }
    fn outlives_process(&self) -> bool {
        self.0.outlives_process()
    }
    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let deliveries = self.0.pull(server, max, wait).await?.into_iter();
        Ok(deliveries.map(|one| Delivery { receipt: Box::new(HastyReceipt(one.receipt)), ..one }).collect())
    }
}

struct HastyReceipt(Box<dyn Receipt>);

#[async_trait]
impl Receipt for HastyReceipt {
    /// A claim is renewed four times meanwhile, and lost if no renewal succeeds in half of it: enough for a busy machine.
    fn ack_wait(&self) -> Duration {
        Duration::from_secs(2)
    }
    async fn extend_ack_wait(&self) -> Result<(), Error> {
        self.0.extend_ack_wait().await
    }
    async fn ack(self: Box<Self>) -> Result<(), Error> {
        self.0.ack().await
    }
    async fn give_back(self: Box<Self>, delay: Option<Duration>) -> Result<(), Error> {
        self.0.give_back(delay).await
    }
}

/// The real claims, whose renewals are counted.
struct CountedRenewals {
    claims: Arc<dyn Claims>,
    count: AtomicU32,
}

#[async_trait]
impl Claims for CountedRenewals {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        self.claims.claim(key, holder, lease).await
    }
    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        let renewed = self.claims.renew(key, holder, lease).await;
        self.count.fetch_add(1, Ordering::Relaxed);
        renewed
    }
    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.done(key, holder).await
    }
    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.release(key, holder).await
    }
}

/// The real claims, which are lost when the test says so and never before: a renewal is answered at once, so that a busy machine
/// loses none.
struct LosableClaims {
    claims: Arc<dyn Claims>,
    are_lost: AtomicBool,
}

#[async_trait]
impl Claims for LosableClaims {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        self.claims.claim(key, holder, lease).await
    }
    async fn renew(&self, _: &ClaimKey, _: &NodeId, _: Duration) -> Result<bool, Error> {
        Ok(!self.are_lost.load(Ordering::Relaxed))
    }
    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.done(key, holder).await
    }
    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.release(key, holder).await
    }
}

/// A harness at work with a hasty queue and other claims.
async fn hasty<C: Claims + 'static>(claims: impl FnOnce(Arc<dyn Claims>) -> C) -> (Harness, Arc<C>) {
    let mut harness = Harness::new().await;
    harness.backend.jobs = Arc::new(Hasty(Arc::clone(&harness.backend.jobs)));
    let claims = Arc::new(claims(Arc::clone(&harness.backend.claims)));
    harness.backend.claims = Arc::clone(&claims) as _;
    harness.start(WorkerConfig::default());
    (harness, claims)
}

#[tokio::test]
async fn a_call_may_take_longer_than_its_lease() {
    let (harness, renewals) = hasty(|claims| CountedRenewals { claims, count: AtomicU32::new(0) }).await;
    let gate = harness.file("gate");
    let job = unsafe_to_repeat("pay", "gate", json!({ "path": gate }));
    harness.publish(&job).await;
    harness.called(1).await;
    // Three renewals are one lease.
    until("renewals", || async { renewals.count.load(Ordering::Relaxed) >= 4 }).await;
    let other = "worker-2".parse().expect("a node id");
    let claimed =
        renewals.claim(&job.claim().expect("a claim"), &other, Duration::ZERO).await.expect("an answer");
    assert!(matches!(claimed, ClaimResult::Busy { .. }), "{claimed:?}");
    open(&gate);
    assert!(matches!(harness.outcome(&job.id).await.0, Outcome::Output(_)));
    harness.close().await;
}

#[tokio::test]
async fn a_call_whose_claim_is_lost_is_cancelled_and_in_doubt() {
    let (harness, claims) = hasty(|claims| LosableClaims { claims, are_lost: AtomicBool::new(false) }).await;
    let job = unsafe_to_repeat("pay", "hang", json!({}));
    harness.publish(&job).await;
    harness.called(1).await;
    claims.are_lost.store(true, Ordering::Relaxed);
    let fault = harness.doubt(&job.id).await;
    assert!(fault.message.contains("lost its claim"), "{fault}");
    assert_eq!(harness.journal(), ["hang"]);
    harness.close().await;
}
