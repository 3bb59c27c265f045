//! The list of live workers and the servers that they serve.

use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{NodeId, ServerName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The entry of a worker in the list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkerEntry {
    /// Id of the worker.
    pub worker: NodeId,
    /// Version of its program.
    pub version: String,
    /// Start of the process.
    pub started_at: Timestamp,
    /// Number of jobs that it processes at the same time.
    pub slots: usize,
    /// Servers that it serves.
    pub servers: Vec<ServerName>,
    /// Stores that it cannot use, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The list of live workers, for display. An entry that is not renewed expires. If the list is lost, workers announce
/// themselves again within a minute.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Adds or renews the entry of a worker, which expires after `lifetime`.
    async fn announce(&self, entry: &WorkerEntry, lifetime: Duration) -> Result<(), Error>;

    /// Removes a worker from the list.
    async fn withdraw(&self, worker: &NodeId) -> Result<(), Error>;

    /// Returns the live workers, in the order of their ids.
    async fn workers(&self) -> Result<Vec<WorkerEntry>, Error>;
}
