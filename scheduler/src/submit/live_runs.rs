//! Limit on the live runs of a namespace.
//!
//! Every scheduler reads the number of live runs from the checkpoints every [`MAX_AGE`], and adds the runs that it admits in
//! between. So several schedulers together may exceed the limit once, by a few runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::Checkpoints;
use longshore_proto::Namespace;
use tokio::time::Instant;
use tracing::debug;

use crate::refusal::Refusal;

/// Longest time that a count is used.
const MAX_AGE: Duration = Duration::from_millis(500);

/// Maximum number of namespaces with a count. Beyond that, all are counted again.
const MOST_NAMESPACES: usize = 1_000;

/// The limit, and the number of live runs of each namespace.
pub(super) struct LiveRunLimit {
    limit: Option<u64>,
    checkpoints: Arc<dyn Checkpoints>,
    counts: Mutex<BTreeMap<Namespace, LiveRuns>>,
}

/// The runs of a namespace that have not ended.
#[derive(Clone, Copy)]
struct LiveRuns {
    /// Their number in the checkpoints, and runs admitted since.
    count: u64,
    /// Time when the checkpoints were read.
    read_at: Instant,
}

impl LiveRunLimit {
    pub(super) fn new(checkpoints: Arc<dyn Checkpoints>) -> Self {
        Self { limit: None, checkpoints, counts: Mutex::default() }
    }

    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Admits one more run of a namespace, or refuses it. While the checkpoints cannot be read, the last count is used.
    pub(super) async fn admit(&self, namespace: &Namespace) -> Result<(), Refusal> {
        let Some(limit) = self.limit else { return Ok(()) };
        let is_old = |runs: &LiveRuns| runs.read_at.elapsed() >= MAX_AGE;
        if self.counts().get(namespace).is_none_or(is_old) {
            self.count(namespace).await;
        }
        let mut counts = self.counts();
        let Some(runs) = counts.get_mut(namespace) else { return Ok(()) };
        if runs.count >= limit {
            return Err(Refusal::Quota { namespace: namespace.clone(), limit });
        }
        runs.count += 1;
        Ok(())
    }

    async fn count(&self, namespace: &Namespace) {
        let read_at = Instant::now();
        match self.checkpoints.count_live(namespace).await {
            Ok(count) => {
                let mut counts = self.counts();
                if counts.len() >= MOST_NAMESPACES {
                    counts.clear();
                }
                counts.insert(namespace.clone(), LiveRuns { count, read_at });
            }
            Err(error) => debug!(%namespace, %error, "cannot count live runs; using the last count"),
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Namespace, LiveRuns>> {
        // No code that holds the lock can panic half-way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
