//! Says that a worker is there, and which servers it serves.
//!
//! Nothing depends on it but the answer to "why does this wait": work finds its worker through the queue. So a
//! catalogue that is away is warned about and otherwise left alone.

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Catalog, WorkerEntry, outage};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often a worker presents itself.
const BEAT: Duration = Duration::from_secs(5);

/// How long its word lasts: three beats, so that one that is late or lost changes nothing.
const LIFETIME: Duration = Duration::from_secs(15);

/// Names the stores that the worker cannot use at this moment.
pub type Problems = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// A worker's entry in the catalogue, kept up to date.
pub struct Presence {
    catalog: Arc<dyn Catalog>,
    entry: WorkerEntry,
    problems: Problems,
}

/// What fails while the catalogue is away, for the log.
const LISTED: &str = "list this worker in the catalogue";

impl Presence {
    /// The presence of a worker. `problems` is asked before each beat.
    pub fn new(catalog: Arc<dyn Catalog>, entry: WorkerEntry, problems: Problems) -> Self {
        Self { catalog, entry, problems }
    }

    /// Presents the worker until `stop`, which is when it begins to drain, and withdraws it then.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.beat()).await.is_some() {}
        match timeout(BEAT, self.catalog.withdraw(&self.entry.worker)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the catalogue still lists this worker, for a few seconds"),
            Err(_) => warn!("the catalogue does not answer and still lists this worker, for a few seconds"),
        }
    }

    async fn beat(&self) {
        let entry = WorkerEntry { problems: (self.problems)(), ..self.entry.clone() };
        match timeout(BEAT, self.catalog.announce(&entry, LIFETIME)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if outage::record_failure(LISTED) => {
                warn!(%error, "the catalogue does not list this worker; trying again");
            }
            Err(_) if outage::record_failure(LISTED) => {
                warn!("the catalogue does not answer, and may not list this worker; trying again");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(BEAT).await;
    }
}
