//! Messages of workers about running calls, for observers of a run.

use longshore_proto::{CallUpdate, Job};

/// Publisher of the activity of running calls, as JSON on `longshore.v1.evt.<namespace>.<workflow>.<run>.call`.
///
/// Contract: best effort. An update may be lost, and is not stored. No decision depends on one.
pub trait CallUpdates: Send + Sync {
    /// Publishes an update about the call of a job. Never blocks: updates are dropped when too many wait to be sent.
    fn publish(&self, job: &Job, update: CallUpdate);
}
