//! The list of workers in Redis: a roll whose entries say what each worker serves.

use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Error, WorkerEntry};
use longshore_proto::{NodeId, decode, encode};
use tracing::warn;

use super::link::Link;
use super::roll::Roll;

/// The workers of a cluster.
pub(super) struct Catalog {
    workers: Roll,
}

impl Catalog {
    pub(super) const fn new(link: Link) -> Self {
        Self { workers: Roll::new(link, "workers") }
    }
}

#[async_trait]
impl longshore_ports::Catalog for Catalog {
    async fn announce(&self, entry: &WorkerEntry, lifetime: Duration) -> Result<(), Error> {
        let body = encode(entry).map_err(|error| Error::permanent("present a worker", error))?;
        self.workers.present(&entry.worker, &body, lifetime).await.map(|_| ())
    }

    async fn withdraw(&self, worker: &NodeId) -> Result<(), Error> {
        self.workers.withdraw(worker).await
    }

    async fn workers(&self) -> Result<Vec<WorkerEntry>, Error> {
        let mut workers: Vec<WorkerEntry> = Vec::new();
        for (name, body) in self.workers.list().await? {
            match decode(&body) {
                Ok(worker) => workers.push(worker),
                // One that a newer version wrote must not hide the others.
                Err(error) => warn!(worker = name, %error, "the entry of a worker cannot be read"),
            }
        }
        workers.sort_by(|one, other| one.worker.cmp(&other.worker));
        Ok(workers)
    }
}
