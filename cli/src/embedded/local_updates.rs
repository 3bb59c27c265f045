//! Updates of calls under way, from the worker of this process to its live view.

use longshore_ports::CallUpdates;
use longshore_proto::{CallUpdate, Job};
use tokio::sync::broadcast;

/// Number of updates that wait for the live view. Each call publishes at most one a second, and the view takes them at once.
const MAX_WAITING_UPDATES: usize = 1_024;

/// Sender of call updates to receivers in this process.
#[derive(Clone)]
pub(super) struct LocalUpdates(broadcast::Sender<CallUpdate>);

impl Default for LocalUpdates {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_WAITING_UPDATES))
    }
}

impl LocalUpdates {
    /// Receives updates from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<CallUpdate> {
        self.0.subscribe()
    }
}

impl CallUpdates for LocalUpdates {
    fn publish(&self, _: &Job, update: CallUpdate) {
        // Sending fails only without a receiver, and then no view needs the update.
        let _ = self.0.send(update);
    }
}
