//! Messages of workers about calls under way, for people who watch a run.

use longshore_proto::{CallUpdate, Job};

/// Publishes what calls under way are doing, as JSON on `longshore.v1.evt.<namespace>.<workflow>.<run>.call`.
///
/// Contract: best effort. An update may be lost, and no update is kept for later. Nothing is decided by one.
pub trait CallUpdates: Send + Sync {
    /// Publishes an update of a job's call. It never waits: an update is dropped when too many wait to be sent.
    fn publish(&self, job: &Job, update: CallUpdate);
}
