//! The list of workers in Redis: a process list whose entries name the MCP servers of each worker.

use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Catalog, Error, WorkerEntry};
use longshore_proto::{NodeId, decode, encode};
use tracing::warn;

use super::connection::RedisConnection;
use super::process_list::ProcessList;

/// The workers of a cluster.
pub(super) struct WorkerCatalog {
    workers: ProcessList,
}

impl WorkerCatalog {
    pub(super) const fn new(connection: RedisConnection) -> Self {
        Self { workers: ProcessList::new(connection, "workers") }
    }
}

#[async_trait]
impl Catalog for WorkerCatalog {
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
                // An entry of a newer version must not hide the others.
                Err(error) => {
                    warn!(worker = name, %error, "cannot decode the entry of a worker; leaving it out")
                }
            }
        }
        workers.sort_by(|one, other| one.worker.cmp(&other.worker));
        Ok(workers)
    }
}
