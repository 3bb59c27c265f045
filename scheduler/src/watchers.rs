//! Who is looking at which run.
//!
//! A watcher sees the newest state, not every state: whoever is slow skips, and nobody waits for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_machine::{Change, Run};
use longshore_proto::{RunId, RunView};
use tokio::sync::watch;

use crate::observer::Observer;

/// The newest view of a run; nothing until the first one.
pub type Watch = watch::Receiver<Option<Arc<RunView>>>;

/// The watchers of one partition's runs.
#[derive(Debug, Default)]
pub struct Watchers {
    by_run: Mutex<BTreeMap<RunId, watch::Sender<Option<Arc<RunView>>>>>,
}

impl Watchers {
    /// Looks at a run from now on. Register before the submit, and nothing is missed.
    pub fn watch(&self, run: RunId) -> Watch {
        self.lock().entry(run).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, watch::Sender<Option<Arc<RunView>>>>> {
        // A panic elsewhere leaves the map whole: every change to it is a single call.
        self.by_run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watchers {
    fn changed(&self, run: &Run, _: &Change) {
        let mut by_run = self.lock();
        let Some(sender) = by_run.get(&run.id()) else { return };
        if sender.receiver_count() == 0 {
            by_run.remove(&run.id());
            return;
        }
        let view = run.view(); // made only if somebody looks
        let ended = view.summary.status.is_terminal();
        sender.send_replace(Some(Arc::new(view)));
        if ended {
            by_run.remove(&run.id()); // receivers keep the last view
        }
    }
}
