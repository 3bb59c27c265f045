//! The set of ports that every process needs.

use std::sync::Arc;

use crate::{Blobs, Checkpoints, Claims, JobQueue, RunLog};

/// A connected set of adapters that a process is composed of.
#[derive(Clone)]
pub struct Backend {
    /// Log of events, from which all other state is derived.
    pub log: Arc<dyn RunLog>,
    /// Queue of jobs for workers.
    pub jobs: Arc<dyn JobQueue>,
    /// Checkpoints of partitions, which shorten recovery.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Claims on calls with a key of their own.
    pub claims: Arc<dyn Claims>,
    /// Store of large values.
    pub blobs: Arc<dyn Blobs>,
}
