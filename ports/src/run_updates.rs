//! Updates of runs while they progress, for people who watch a run.

use longshore_proto::{RunId, RunSummary, RunView, StepView};
use serde::Serialize;

/// The changes in a run since its last update: one message, however many steps changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunUpdate {
    /// The summary of the run after the change.
    #[serde(flatten)]
    pub run: RunSummary,
    /// The steps whose status changed. Without outputs and arguments, which may be large; the view of the run has them. Empty
    /// if so many steps changed that they do not fit into a message.
    pub steps: Vec<StepView>,
    /// The run started, changed its status or ended. False if only steps changed.
    #[serde(skip)]
    pub status_changed: bool,
}

/// A run that changed. Its documents are made on request, because most runs are not watched.
pub struct ChangedRun<'a> {
    /// The run.
    pub run: RunId,
    /// Returns what changed.
    pub update: &'a dyn Fn() -> RunUpdate,
    /// Returns the full view after the change.
    pub view: &'a dyn Fn() -> RunView,
}

/// Publisher of run updates. In a cluster they are JSON on `longshore.v1.evt.<namespace>.<workflow>.<run>.run` if the run
/// itself started, changed its status or ended, and on `.step` if only its steps changed.
///
/// Contract: best effort. An update may be lost or be published twice. Updates of one run keep their order. A reader that has
/// to be certain asks for the run itself.
pub trait RunUpdates: Send + Sync {
    /// Publishes an update. Never waits: an update is dropped, and counted, if too many wait to be sent. Called by the driver
    /// of a partition, so it must be cheap.
    fn publish(&self, changed: &ChangedRun<'_>);
}
