//! Publishes updates of running calls.

use longshore_ports::CallUpdates;
use longshore_proto::{CallUpdate, Job};
use tracing::warn;

use super::RunEvents;

/// Last token of the subject. Workers have permission for subjects with this token only.
const KIND: &str = "call";

impl CallUpdates for RunEvents {
    fn publish(&self, job: &Job, update: CallUpdate) {
        // Each message without permission would be a warning. A worker whose user lacks it continues without updates.
        if self.is_denied() {
            return;
        }
        match serde_json::to_vec(&update) {
            Ok(body) => self.publish_event(&job.namespace, &job.workflow, job.id.run, KIND, body),
            Err(error) => warn!(run = %job.id.run, %error, "cannot encode an update of a call; dropping it"),
        }
    }
}
