//! Updates of calls under way, from the worker of this process to its screen.

use longshore_ports::CallUpdates;
use longshore_proto::{CallUpdate, Job};
use tokio::sync::broadcast;

/// Updates that wait for the screen. Each call publishes one a second at most, and the screen takes them as they come.
const WAITING: usize = 1_024;

/// Passes updates on to whatever receives them in this process.
#[derive(Clone)]
pub(super) struct LocalUpdates(broadcast::Sender<CallUpdate>);

impl Default for LocalUpdates {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
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
        // Without a receiver no one watches.
        let _ = self.0.send(update);
    }
}
