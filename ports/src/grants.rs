//! Deliveries of this process that wait for the decision of the leader.
//!
//! An adapter registers a [`GrantWaiter`] for each delivery that asks, and passes on every [`Grant`] that arrives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_proto::{DeliveryId, Grant, GrantDecision};
use tokio::sync::watch;

type DecisionSender = watch::Sender<Option<GrantDecision>>;

/// The waiting deliveries of a process: at most one for each of its slots.
#[derive(Clone, Debug, Default)]
pub struct GrantWaiters(Arc<Mutex<BTreeMap<DeliveryId, DecisionSender>>>);

/// The wait of one delivery. It ends when the value is dropped.
#[derive(Debug)]
pub struct GrantWaiter {
    waiters: GrantWaiters,
    delivery: DeliveryId,
    decision: watch::Receiver<Option<GrantDecision>>,
}

impl GrantWaiters {
    /// Registers a delivery that is going to ask.
    pub fn register(&self, delivery: &DeliveryId) -> GrantWaiter {
        let (sender, decision) = watch::channel(None);
        self.lock().insert(delivery.clone(), sender);
        GrantWaiter { waiters: self.clone(), delivery: delivery.clone(), decision }
    }

    /// Passes a decision on. One for a delivery that does not wait has no effect.
    pub fn decide(&self, grant: &Grant) {
        if let Some(waiter) = self.lock().get(&grant.delivery) {
            waiter.send_replace(Some(grant.decision));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeliveryId, DecisionSender>> {
        // No code that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GrantWaiter {
    /// Waits for the decision, for ever if none arrives. Safe to cancel.
    pub async fn decision(&mut self) -> GrantDecision {
        let decided = self.decision.wait_for(Option::is_some).await.ok().and_then(|decision| *decision);
        match decided {
            Some(decision) => decision,
            // The sender lives as long as this value.
            None => std::future::pending().await,
        }
    }
}

impl Drop for GrantWaiter {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.delivery);
    }
}
