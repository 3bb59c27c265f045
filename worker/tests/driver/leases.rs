//! Calls that take longer than a lease, and calls whose claim is lost.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Claims, Delivery, Error, GrantWaiter, JobQueue, Receipt};
use longshore_proto::{
    ClaimKey, ClaimResult, DeliveryId, FaultClass, Grant, Job, JobAddress, JobId, NodeId, Outcome, ServerName,
};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, open, until, with_own_key};

/// The real queue with a short acknowledgement wait.
struct ShortAckWaitQueue(Arc<dyn JobQueue>);

#[async_trait]
impl JobQueue for ShortAckWaitQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.0.publish(jobs).await
    }
    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        self.0.holds(jobs).await
    }
    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.0.withdraw(jobs).await
    }
    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.0.recall(jobs).await
    }
    async fn grant(&self, grants: &[Grant]) -> Result<(), Error> {
        self.0.grant(grants).await
    }
    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error> {
        self.0.grant_waiter(delivery).await
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
        let impatient = |receipt| Box::new(ShortAckWaitReceipt(receipt));
        Ok(deliveries.map(|one| Delivery { receipt: impatient(one.receipt), ..one }).collect())
    }
}

struct ShortAckWaitReceipt(Box<dyn Receipt>);

#[async_trait]
impl Receipt for ShortAckWaitReceipt {
    /// Returns a short wait. Four renewals of a claim fit into it, and the claim is lost if none succeeds in half of it, which
    /// is enough for a busy machine.
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

/// The real claims with a count of renewals.
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

/// The real claims, which are lost only when the test sets `are_lost`: renewals are answered at once, so that none is late on a
/// busy machine.
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

/// Returns a running harness with an impatient queue and wrapped claims.
async fn impatient_harness<C: Claims + 'static>(
    claims: impl FnOnce(Arc<dyn Claims>) -> C,
) -> (Harness, Arc<C>) {
    let mut harness = Harness::new().await;
    harness.backend.jobs = Arc::new(ShortAckWaitQueue(Arc::clone(&harness.backend.jobs)));
    let claims = Arc::new(claims(Arc::clone(&harness.backend.claims)));
    harness.backend.claims = Arc::clone(&claims) as _;
    harness.start(WorkerConfig::default());
    (harness, claims)
}

#[tokio::test]
async fn claim_is_kept_during_a_call_longer_than_its_lease() {
    let (harness, renewals) =
        impatient_harness(|claims| CountedRenewals { claims, count: AtomicU32::new(0) }).await;
    let gate = harness.file("gate");
    let job = with_own_key("pay", "gate", json!({ "path": gate }));
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
async fn call_with_a_lost_claim_is_cancelled_and_its_job_returned() {
    let (mut harness, claims) =
        impatient_harness(|claims| LosableClaims { claims, are_lost: AtomicBool::new(false) }).await;
    let job = with_own_key("pay", "hang", json!({}));
    harness.publish(&job).await;
    harness.called(1).await;
    claims.are_lost.store(true, Ordering::Relaxed);
    harness.called(2).await;
    claims.are_lost.store(false, Ordering::Relaxed);
    harness.backend.jobs.recall(std::slice::from_ref(&job.id)).await.expect("recalled");
    assert_eq!(harness.fault(&job.id).await.class, FaultClass::Cancelled);
    harness.stopped().await;
    assert!(harness.left_the_queue(&job).await);
    harness.close().await;
}
