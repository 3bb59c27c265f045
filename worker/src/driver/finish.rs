//! The end of a delivery: the claim is completed or released, and the queue gets its answer.

use std::time::Duration;

use longshore_attempt::DeliveryEnd;
use longshore_ports::{Backend, Error, Receipt};
use longshore_proto::NodeId;
use tokio::time::timeout;
use tracing::warn;

use super::retry::retry;

/// The longest wait for the claim store. A claim that is not updated makes the next delivery of the job, if there is one, wait
/// for the end of the lease.
const CLAIM_UPDATE_LIMIT: Duration = Duration::from_secs(5);

/// Finishes a delivery.
pub(super) async fn finish(backend: &Backend, holder: &NodeId, receipt: Box<dyn Receipt>, end: DeliveryEnd) {
    let claims = &backend.claims;
    let answered = match end {
        DeliveryEnd::Acknowledge { complete: None } => receipt.ack().await,
        DeliveryEnd::Acknowledge { complete: Some(key) } => {
            let completed = update_claim(retry("complete a claim", || claims.done(&key, holder)));
            tokio::join!(receipt.ack(), completed).0
        }
        DeliveryEnd::ReturnToQueue { release, delay } => {
            if let Some(key) = release {
                update_claim(retry("release a claim", || claims.release(&key, holder))).await;
            }
            receipt.give_back(delay).await
        }
    };
    if let Err(error) = answered {
        warn!(%error, "cannot report the end of a job to the queue; the queue will deliver it again");
    }
}

/// Waits for an update of a claim, at most [`CLAIM_UPDATE_LIMIT`].
async fn update_claim(update: impl Future<Output = Result<(), Error>>) {
    match timeout(CLAIM_UPDATE_LIMIT, update).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "cannot update a claim; it lapses when its lease ends"),
        Err(_elapsed) => {
            warn!("cannot update a claim within {CLAIM_UPDATE_LIMIT:?}; it lapses when its lease ends");
        }
    }
}
