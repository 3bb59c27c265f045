//! Calls that take longer than a lease: a queue with little patience, and a store of claims that may go away.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_backend::{Claimed, Claims, Delivery, Error, JobQueue, Queued, Receipt};
use longshore_proto::{ClaimKey, Job, JobId, NodeId, Outcome, ServerName};
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
    fn patience(&self) -> Duration {
        Duration::from_millis(400)
    }
    async fn progress(&self) -> Result<(), Error> {
        self.0.progress().await
    }
    async fn ack(self: Box<Self>) -> Result<(), Error> {
        self.0.ack().await
    }
    async fn give_back(self: Box<Self>, delay: Option<Duration>) -> Result<(), Error> {
        self.0.give_back(delay).await
    }
}

/// The real claims, of which so many can be renewed before the store goes away.
struct Renewals {
    claims: Arc<dyn Claims>,
    left: AtomicU32,
}

#[async_trait]
impl Claims for Renewals {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<Claimed, Error> {
        self.claims.claim(key, holder, lease).await
    }
    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return Err(Error::transient("renew", "no connection"));
        }
        self.claims.renew(key, holder, lease).await
    }
    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.done(key, holder).await
    }
    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.claims.release(key, holder).await
    }
}

async fn hasty(left: u32) -> (Harness, Arc<Renewals>) {
    let mut harness = Harness::new().await;
    harness.backend.jobs = Arc::new(Hasty(Arc::clone(&harness.backend.jobs)));
    let claims = Arc::clone(&harness.backend.claims);
    let renewals = Arc::new(Renewals { claims, left: AtomicU32::new(left) });
    harness.backend.claims = Arc::clone(&renewals) as _;
    harness.start(WorkerConfig::default());
    (harness, renewals)
}

#[tokio::test]
async fn a_call_may_take_longer_than_its_lease() {
    let plenty = 1_000_000;
    let (harness, renewals) = hasty(plenty).await;
    let gate = harness.file("gate");
    let job = unsafe_to_repeat("pay", "gate", json!({ "path": gate }));
    harness.publish(&job).await;
    harness.called(1).await;
    // Three renewals are one lease.
    until("renewals", || async { renewals.left.load(Ordering::Relaxed) <= plenty - 6 }).await;
    let other = "worker-2".parse().expect("a node id");
    let claimed =
        renewals.claim(&job.claim().expect("a claim"), &other, Duration::ZERO).await.expect("an answer");
    assert!(matches!(claimed, Claimed::Busy { .. }), "{claimed:?}");
    open(&gate);
    assert!(matches!(harness.outcome(&job.id).await.0, Outcome::Output(_)));
    harness.close().await;
}

#[tokio::test]
async fn a_call_whose_claim_is_lost_is_cancelled_and_in_doubt() {
    let (harness, _renewals) = hasty(2).await;
    let job = unsafe_to_repeat("pay", "hang", json!({}));
    harness.publish(&job).await;
    let fault = harness.doubt(&job.id).await;
    assert!(fault.message.contains("lost its claim"), "{fault}");
    assert_eq!(harness.journal(), ["hang"]);
    harness.close().await;
}
