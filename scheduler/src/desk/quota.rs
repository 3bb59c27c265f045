//! How many runs of a namespace may be under way at once.
//!
//! Counted as of the last checkpoints, by every scheduler for itself, every [`BELIEVED`]; what a scheduler admits in
//! between it counts as well. So several schedulers together may admit some more than the limit, once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::Checkpoints;
use longshore_proto::Namespace;
use tokio::time::Instant;
use tracing::debug;

use super::Refusal;

/// How long a count is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// Namespaces whose counts are remembered; past this, all are counted again.
const REMEMBERED: usize = 1_000;

/// The limit and the counts.
pub(super) struct Quota {
    limit: Option<u64>,
    checkpoints: Arc<dyn Checkpoints>,
    counts: Mutex<BTreeMap<Namespace, Count>>,
}

/// The runs of a namespace that have not ended.
#[derive(Clone, Copy)]
struct Count {
    /// As of the last look, and admitted since.
    live: u64,
    /// When that look was.
    at: Instant,
}

impl Quota {
    pub(super) fn new(checkpoints: Arc<dyn Checkpoints>) -> Self {
        Self { limit: None, checkpoints, counts: Mutex::default() }
    }

    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Counts one more run of a namespace, or refuses it. While runs cannot be counted, the last count goes on.
    pub(super) async fn admit(&self, namespace: &Namespace) -> Result<(), Refusal> {
        let Some(limit) = self.limit else { return Ok(()) };
        let is_old = |count: &Count| count.at.elapsed() >= BELIEVED;
        if self.counts().get(namespace).is_none_or(is_old) {
            self.look(namespace).await;
        }
        let mut counts = self.counts();
        let Some(count) = counts.get_mut(namespace) else { return Ok(()) };
        if count.live >= limit {
            return Err(Refusal::Quota { namespace: namespace.clone(), limit });
        }
        count.live += 1;
        Ok(())
    }

    async fn look(&self, namespace: &Namespace) {
        let at = Instant::now();
        match self.checkpoints.count_live(namespace).await {
            Ok(live) => {
                let mut counts = self.counts();
                if counts.len() >= REMEMBERED {
                    counts.clear();
                }
                counts.insert(namespace.clone(), Count { live, at });
            }
            Err(error) => debug!(%namespace, %error, "runs cannot be counted; the last count goes on"),
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Namespace, Count>> {
        // No code that holds the lock can panic half-way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
