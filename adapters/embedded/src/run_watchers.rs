//! Updates of runs for watchers in the same process.
//!
//! A watcher receives the newest view of its run, not every view: a slow watcher skips some, and the driver never waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_ports::{ChangedRun, RunUpdates};
use longshore_proto::{RunId, RunView};
use tokio::sync::watch;

/// Receiver of the newest view of a run. `None` until the first update.
pub type RunWatch = watch::Receiver<Option<Arc<RunView>>>;

type ViewSenders = BTreeMap<RunId, watch::Sender<Option<Arc<RunView>>>>;

/// The watchers of runs in this process.
#[derive(Debug, Default)]
pub struct RunWatchers {
    by_run: Mutex<ViewSenders>,
}

impl RunWatchers {
    /// Watches a run from now on. A caller that does this before the submit misses nothing.
    pub fn watch(&self, run: RunId) -> RunWatch {
        self.lock().entry(run).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, ViewSenders> {
        // A panic elsewhere leaves the map valid: every change to it is a single call.
        self.by_run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunUpdates for RunWatchers {
    fn publish(&self, changed: &ChangedRun<'_>) {
        let mut by_run = self.lock();
        let Some(sender) = by_run.get(&changed.run) else { return };
        if sender.receiver_count() == 0 {
            by_run.remove(&changed.run);
            return;
        }
        let view = (changed.view)();
        let has_ended = view.summary.status.is_terminal();
        sender.send_replace(Some(Arc::new(view)));
        if has_ended {
            by_run.remove(&changed.run); // receivers keep the last view
        }
    }
}
