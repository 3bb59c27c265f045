//! News of runs as events: which subject they are told on, and how they are written.

use longshore_proto::{Namespace, RunId, WorkflowName};
use serde::Serialize;
use tracing::warn;

use super::Events;
use crate::News;

impl crate::Events for Events {
    fn tell(&self, news: &News) {
        match news {
            News::Run(summary) => {
                let run = (&summary.namespace, &summary.workflow.name, summary.run);
                self.tell_json(run, "run", summary);
            }
            News::Step { namespace, workflow, run, step } => {
                self.tell_json((namespace, workflow, *run), "step", step);
            }
        }
    }
}

impl Events {
    fn tell_json(
        &self,
        (namespace, workflow, run): (&Namespace, &WorkflowName, RunId),
        what: &str,
        document: &impl Serialize,
    ) {
        match serde_json::to_vec(document) {
            Ok(body) => self.publish(namespace, workflow, run, what, body),
            Err(error) => warn!(%run, what, %error, "news cannot be written as JSON"),
        }
    }
}
