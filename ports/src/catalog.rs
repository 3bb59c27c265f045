//! Which workers are there, and which servers and tools they serve.

use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{NodeId, ServerName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A worker, as it presents itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkerEntry {
    /// Which one.
    pub worker: NodeId,
    /// The version of its code.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How many jobs it takes at once.
    pub slots: usize,
    /// The servers it serves.
    pub servers: Vec<ServerName>,
    /// The stores that it cannot use, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The list of workers. Soft: an entry that is not renewed goes away, and losing all of them costs a minute of not
/// knowing why something waits.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Presents a worker, until `lifetime` from now.
    async fn announce(&self, entry: &WorkerEntry, lifetime: Duration) -> Result<(), Error>;

    /// Takes a worker off the list.
    async fn withdraw(&self, worker: &NodeId) -> Result<(), Error>;

    /// The workers that are there, in the order of their ids.
    async fn workers(&self) -> Result<Vec<WorkerEntry>, Error>;
}
