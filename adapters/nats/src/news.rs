//! News of runs as events: which subject they are told on, and how they are written.

use longshore_ports::News;
use tracing::warn;

use super::Events;

/// How long news may be: far below what a NATS server takes in one message by default, which is 1 MiB.
const LIMIT_BYTES: usize = 512 * 1024;

impl longshore_ports::Events for Events {
    fn tell(&self, news: &News) {
        let run = &news.run;
        let what = if news.status_changed { "run" } else { "step" };
        let written = serde_json::to_vec(news).and_then(|body| match body.len() {
            0..=LIMIT_BYTES => Ok(body),
            // Very many steps at once; whoever wants to know asks for the run.
            _ => serde_json::to_vec(&News { steps: Vec::new(), ..news.clone() }),
        });
        match written {
            Ok(body) => self.publish(&run.namespace, &run.workflow.name, run.run, what, body),
            Err(error) => warn!(run = %run.run, what, %error, "news cannot be written as JSON"),
        }
    }
}
