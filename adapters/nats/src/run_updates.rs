//! Updates of runs as events: subject and body.

use longshore_ports::{ChangedRun, RunUpdate, RunUpdates};
use tracing::warn;

use super::RunEvents;

/// Maximum number of bytes of an update. Far below 1 MiB, the largest message that a NATS server accepts by default.
const LIMIT_BYTES: usize = 512 * 1024;

impl RunUpdates for RunEvents {
    fn publish(&self, changed: &ChangedRun<'_>) {
        let update = (changed.update)();
        let kind = if update.status_changed { "run" } else { "step" };
        let encoded = serde_json::to_vec(&update).and_then(|body| match body.len() {
            0..=LIMIT_BYTES => Ok(body),
            // Very many steps at once: a reader that needs them asks for the run.
            _ => serde_json::to_vec(&RunUpdate { steps: Vec::new(), ..update.clone() }),
        });
        let run = &update.run;
        match encoded {
            Ok(body) => self.publish_event(&run.namespace, &run.workflow.name, run.run, kind, body),
            Err(error) => {
                warn!(run = %run.run, kind, %error, "cannot encode a run update as JSON; dropping it")
            }
        }
    }
}
