//! The worker's entry in the catalogue: its id and its servers.
//!
//! The entry only serves to explain why a job waits; jobs reach workers through the queue. So a failure of the catalogue is
//! logged and has no other effect.

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Catalog, WorkerEntry, outage};
use longshore_proto::NodeId;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Interval at which the entry is renewed.
const RENEWAL: Duration = Duration::from_secs(5);

/// Lifetime of the entry: three renewals, so that one that is late or lost has no effect.
const LIFETIME: Duration = Duration::from_secs(15);

/// Returns the entry of the worker as it is now.
pub type CurrentEntry = Box<dyn Fn() -> WorkerEntry + Send + Sync>;

/// Key of the outage in the log while the catalogue is away.
const LISTING_FAILED: &str = "list this worker in the catalogue";

/// A worker's entry in the catalogue, which is renewed until the worker stops.
pub struct WorkerPresence {
    catalog: Arc<dyn Catalog>,
    worker: NodeId,
    entry: CurrentEntry,
}

impl WorkerPresence {
    /// Creates the entry of a worker. `entry` is called before each renewal.
    pub fn new(catalog: Arc<dyn Catalog>, worker: NodeId, entry: CurrentEntry) -> Self {
        Self { catalog, worker, entry }
    }

    /// Renews the entry until `stop`, which is the start of the drain, and then removes it.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.renew()).await.is_some() {}
        match timeout(RENEWAL, self.catalog.withdraw(&self.worker)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "cannot remove this worker from the catalogue; its entry expires in {LIFETIME:?}");
            }
            Err(_) => {
                warn!("the catalogue does not answer; the entry of this worker expires in {LIFETIME:?}")
            }
        }
    }

    async fn renew(&self) {
        match timeout(RENEWAL, self.catalog.announce(&(self.entry)(), LIFETIME)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if outage::record_failure(LISTING_FAILED) => {
                warn!(%error, "cannot list this worker in the catalogue; trying again");
            }
            Err(_) if outage::record_failure(LISTING_FAILED) => {
                warn!("the catalogue does not answer, and may not list this worker; trying again");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(RENEWAL).await;
    }
}
