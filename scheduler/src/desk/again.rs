//! A submit with an id that was used before: whether it asks for the run that there is.
//!
//! Whoever sends the same submit again, because the first answer was lost, gets the same run. Whoever uses an id for
//! something else is told, because it would not be done. What the first submit asked for is known from the run's last
//! checkpoint, and until there is one from what all schedulers have noted of the requests of the last minute.

use std::sync::Arc;

use longshore_machine::Run;
use longshore_proto::{Digest, Event, Payload, RunId};
use longshore_workflow::Plan;
use serde_json::{Map, Value};
use tracing::debug;

use super::{Desk, Order, Refusal};

impl Desk {
    /// The run that the id of an order stands for, if there is one already. Nothing is looked up for an order without.
    pub(super) async fn earlier(&self, run: RunId, order: &Order) -> Option<Run> {
        order.id.as_ref()?;
        // While this cannot be seen, submits are taken in as ever: the log itself knows which runs there are.
        let unseen =
            |error: &dyn std::fmt::Display| debug!(%run, %error, "not compared with an earlier submit");
        let row = self.backend.checkpoints.run(run).await.inspect_err(|error| unseen(error)).ok()??;
        Run::read(&row.state).inspect_err(|error| unseen(error)).ok()
    }

    /// Notes what a record submits under the submitter's own id. Returns whether the same was submitted a moment ago; what was
    /// submitted with something else is refused. `is_pinned` says that the submitter named the version.
    pub(super) async fn noted(&self, event: &Event, is_pinned: bool) -> Result<bool, Refusal> {
        let Event::Submitted { run, workflow, inputs, .. } = event else { return Ok(false) };
        let inputs = match inputs {
            Payload::Inline(value) => Digest::of(value.to_string().as_bytes()),
            Payload::Blob { digest, .. } => *digest,
        };
        let request = format!("{} {inputs}", workflow.digest);
        let earlier = match self.submit_ids.record(*run, &request).await {
            Ok(earlier) => earlier,
            Err(error) => {
                debug!(%run, %error, "not compared with submits of the last minute");
                return Ok(false);
            }
        };
        let Some(earlier) = earlier else { return Ok(false) };
        let by = match earlier.split_once(' ') {
            _ if earlier == request => return Ok(true),
            Some((_, same)) if same == inputs.to_string() => {
                // Another version has become the current one meanwhile; the log takes the first submit.
                if !is_pinned {
                    return Ok(true);
                }
                "another version of the workflow"
            }
            _ => "other inputs",
        };
        Err(Refusal::IdTaken { run: *run, by: by.to_owned() })
    }

    /// The plan to submit an order with once more: that of the run that there is, if it was asked for the same.
    pub(super) async fn once_more(
        &self,
        earlier: &Run,
        order: &Order,
        plan: Arc<Plan>,
    ) -> Result<Arc<Plan>, Refusal> {
        let taken = |by: String| Refusal::IdTaken { run: earlier.id(), by };
        let digest = earlier.workflow().digest;
        let is_other = digest != plan.digest;
        if is_other && order.version.is_some() {
            return Err(taken(format!("another version of the workflow, {}", digest.short())));
        }
        // The current version may have changed since; what is meant by an order is what was meant at first.
        let plan = if is_other { self.intake.plan(&order.namespace, digest).await? } else { plan };
        match self.intake.accept(&order.namespace, &plan, order.inputs.clone()).await {
            Ok(inputs) => match differing(earlier.inputs(), &inputs) {
                None => Ok(plan),
                Some(names) => Err(taken(format!("other inputs{names}"))),
            },
            Err(_) if is_other => Err(taken("other inputs".to_owned())),
            Err(problems) => Err(problems.into()),
        }
    }
}

/// The inputs that differ, as ` (month, region)`, where that can be told; nothing if none does.
fn differing(earlier: &Payload, now: &Value) -> Option<String> {
    let earlier = match earlier {
        Payload::Inline(value) => value,
        Payload::Blob { digest, .. } => {
            return (*digest != Digest::of(now.to_string().as_bytes())).then(String::new);
        }
    };
    if earlier == now {
        return None;
    }
    let none = Map::new();
    let (earlier, now) = (earlier.as_object().unwrap_or(&none), now.as_object().unwrap_or(&none));
    let mut names: Vec<&str> = earlier
        .keys()
        .chain(now.keys())
        .filter(|name| earlier.get(*name) != now.get(*name))
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    Some(format!(" ({})", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inputs_that_differ_are_named_where_both_are_there_to_compare() {
        let inline = |value: Value| Payload::Inline(value);
        let now = json!({ "a": 1, "b": [1], "c": 2 });
        assert_eq!(differing(&inline(json!({ "c": 2, "b": [1], "a": 1 })), &now), None);
        let other = inline(json!({ "a": 1, "b": [2], "d": null }));
        assert_eq!(differing(&other, &now), Some(" (b, c, d)".to_owned()));
        let blob =
            |value: &Value| Payload::Blob { digest: Digest::of(value.to_string().as_bytes()), bytes: 9 };
        assert_eq!(differing(&blob(&now), &now), None);
        assert_eq!(differing(&blob(&json!({})), &now), Some(String::new()));
    }
}
