//! Who is told when a run changes.
//!
//! The driver tells an [`Observer`] at once when a run has turned or ended, and soon after when anything else in it has
//! changed. In one process these are [`Watchers`](crate::Watchers); on a cluster an [`Announcer`] passes the news on to
//! whoever listens on the broker.
//! Neither may slow the driver down: news that cannot be told at once are dropped, because the run itself can always be
//! looked at.

use std::sync::Arc;

use longshore_machine::{Change, Run};
use longshore_ports::{Events, News};
use longshore_proto::StepView;

/// Hears of every change of the runs of a partition.
pub trait Observer: Send + Sync {
    /// A run, or some of its steps, stand elsewhere now. Called from within the driver, so it must not wait for anything;
    /// what is told of one run comes in the order of the log.
    fn changed(&self, run: &Run, change: &Change);
}

/// Passes changes on as news, for whoever listens anywhere.
pub struct Announcer {
    events: Arc<dyn Events>,
}

impl Announcer {
    /// An announcer of everything that changes.
    pub fn new(events: Arc<dyn Events>) -> Self {
        Self { events }
    }
}

impl Observer for Announcer {
    fn changed(&self, run: &Run, change: &Change) {
        let without_output = |step| StepView { output: None, arguments: None, ..step };
        let steps = run.steps(&change.steps).into_iter().map(without_output).collect();
        self.events.tell(&News { run: run.summary(), steps, status_changed: change.is_of_run() });
    }
}
