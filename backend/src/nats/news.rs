//! News of runs as events: which subject they are told on, and how they are written.

use tracing::warn;

use super::Events;
use crate::News;

impl crate::Events for Events {
    fn tell(&self, news: &News) {
        let run = &news.run;
        let what = if news.status_changed { "run" } else { "step" };
        match serde_json::to_vec(news) {
            Ok(body) => self.publish(&run.namespace, &run.workflow.name, run.run, what, body),
            Err(error) => warn!(run = %run.run, what, %error, "news cannot be written as JSON"),
        }
    }
}
