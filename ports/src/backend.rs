//! The ports that every process needs, together.

use std::sync::Arc;

use crate::{Blobs, Checkpoints, Claims, JobQueue, RunLog};

/// One set of adapters, ready for use: what a process is composed of.
#[derive(Clone)]
pub struct Backend {
    /// The events of runs, from which all other state follows.
    pub log: Arc<dyn RunLog>,
    /// Jobs for workers.
    pub jobs: Arc<dyn JobQueue>,
    /// State, so that the log need not be read from its start.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Idempotency records.
    pub claims: Arc<dyn Claims>,
    /// Large values.
    pub blobs: Arc<dyn Blobs>,
}
