//! Updates of calls under way as events of their runs.

use longshore_ports::CallUpdates;
use longshore_proto::{CallUpdate, Job};
use tracing::warn;

use super::RunEvents;

/// The last token of the subject. Workers have permission for subjects with this token only.
const KIND: &str = "call";

impl CallUpdates for RunEvents {
    fn publish(&self, job: &Job, update: CallUpdate) {
        // NATS warns of every message that it refuses. A worker whose user lacks the permission works on without updates.
        if self.is_denied() {
            return;
        }
        match serde_json::to_vec(&update) {
            Ok(body) => self.publish_event(&job.namespace, &job.workflow, job.id.run, KIND, body),
            Err(error) => warn!(run = %job.id.run, %error, "an update of a call cannot be written as JSON"),
        }
    }
}
