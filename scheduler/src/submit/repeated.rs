//! Submits with an id that was used before.
//!
//! A client that sends the same submit again, because the first answer was lost, gets the same run. A client that uses an id
//! for another submit is refused. The first submit is read from the last checkpoint of its run. Until there is one, it is
//! compared with the digests of the submits with an id of the last minute, which all schedulers share.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use longshore_machine::Run;
use longshore_proto::{Digest, Event, Payload, RunId};
use longshore_workflow::Plan;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tracing::debug;

use super::{AcceptedInputs, SubmitHandler};
use crate::refusal::Refusal;
use crate::submit_request::SubmitRequest;

/// Time limit for noting the ids of published submits. It delays a batch while Redis does not answer, and without Redis no
/// partition has a leader either.
const NOTE_LIMIT: Duration = Duration::from_secs(1);

/// The digest of a submit: what two submits with the same id have to agree on.
pub(crate) struct SubmitDigest {
    run: RunId,
    /// The version of the workflow.
    workflow: Digest,
    inputs: Digest,
}

impl SubmitDigest {
    /// Returns the digest of a checked submit, and `None` for another event.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let Event::Submitted { run, workflow, inputs, .. } = event else { return None };
        let inputs = match inputs {
            Payload::Inline(value) => Digest::of(value.to_string().as_bytes()),
            Payload::Blob { digest, .. } => *digest,
        };
        Some(Self { run: *run, workflow: workflow.digest, inputs })
    }
}

impl SubmitHandler {
    /// Returns the run that an earlier submit with the same id created, if a checkpoint has it. Looks nothing up for a request
    /// without an id.
    pub(super) async fn earlier_run(&self, run: RunId, request: &SubmitRequest) -> Option<Run> {
        request.id.as_ref()?;
        // Without the comparison the submit is still correct: the log knows which runs exist.
        let log_failure =
            |error: &dyn Display| debug!(%run, %error, "cannot compare a submit with an earlier one");
        let row = self.backend.checkpoints.run(run).await.inspect_err(|error| log_failure(error)).ok()??;
        Run::decode(&row.state).inspect_err(|error| log_failure(error)).ok()
    }

    /// Notes the id of a submit and the digest of what it asks for. Returns true if the same was submitted within the last
    /// minute, and refuses a different submit with this id. `is_pinned` says that the client named the version.
    pub(super) async fn note_id(&self, event: &Event, is_pinned: bool) -> Result<bool, Refusal> {
        let Some(SubmitDigest { run, workflow, inputs }) = SubmitDigest::of(event) else { return Ok(false) };
        let request = format!("{workflow} {inputs}");
        let earlier = match self.submit_ids.record(run, &request).await {
            Ok(earlier) => earlier,
            Err(error) => {
                debug!(%run, %error, "cannot compare a submit with those of the last minute");
                return Ok(false);
            }
        };
        let Some(earlier) = earlier else { return Ok(false) };
        let by = match earlier.split_once(' ') {
            _ if earlier == request => return Ok(true),
            Some((_, same)) if same == inputs.to_string() => {
                // The current version changed in between. The first submit in the log counts.
                if !is_pinned {
                    return Ok(true);
                }
                "another version of the workflow"
            }
            _ => "other inputs",
        };
        Err(Refusal::IdTaken { run, by: by.to_owned() })
    }

    /// Notes published submits with an id, so that a request with the same id is compared with them before a checkpoint has
    /// their runs. Their place in the log decides, so they are not compared themselves.
    pub(crate) async fn note_published(&self, submits: &[SubmitDigest]) {
        let each = submits.iter().map(async |SubmitDigest { run, workflow, inputs }| {
            self.submit_ids.record(*run, &format!("{workflow} {inputs}")).await
        });
        match timeout(NOTE_LIMIT, try_join_all(each)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(%error, "cannot note the ids of published submits"),
            Err(_) => debug!("cannot note the ids of published submits in time"),
        }
    }

    /// Checks that a request asks for the same as the submit that created a run. Returns the plan of that run and the inputs.
    pub(super) async fn accept_repeated(
        &self,
        earlier: &Run,
        request: &SubmitRequest,
        plan: Arc<Plan>,
    ) -> Result<AcceptedInputs, Refusal> {
        let taken = |by: String| Refusal::IdTaken { run: earlier.id(), by };
        let digest = earlier.workflow().digest;
        let is_other_version = digest != plan.digest;
        if is_other_version && request.version.is_some() {
            return Err(taken(format!("another version of the workflow, {}", digest.short())));
        }
        // A request for the current version means the version that was current at the first submit.
        let plan = if is_other_version {
            self.intake.registered_plan(&request.namespace, digest).await?
        } else {
            plan
        };
        match self.intake.accept(&request.namespace, &plan, request.inputs.clone()).await {
            Ok(inputs) => match differing_inputs(earlier.inputs(), &inputs) {
                None => Ok(AcceptedInputs { plan, inputs }),
                Some(names) => Err(taken(format!("other inputs{names}"))),
            },
            Err(_) if is_other_version => Err(taken("other inputs".to_owned())),
            Err(problems) => Err(problems.into()),
        }
    }
}

/// Returns the names of inputs that differ, as ` (month, region)`, or an empty text if the names are unknown. Returns `None` if
/// none differs.
fn differing_inputs(earlier: &Payload, now: &Value) -> Option<String> {
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
    fn differing_inputs_are_named_if_both_are_inline() {
        let inline = |value: Value| Payload::Inline(value);
        let now = json!({ "a": 1, "b": [1], "c": 2 });
        assert_eq!(differing_inputs(&inline(json!({ "c": 2, "b": [1], "a": 1 })), &now), None);
        let other = inline(json!({ "a": 1, "b": [2], "d": null }));
        assert_eq!(differing_inputs(&other, &now), Some(" (b, c, d)".to_owned()));
        let blob =
            |value: &Value| Payload::Blob { digest: Digest::of(value.to_string().as_bytes()), bytes: 9 };
        assert_eq!(differing_inputs(&blob(&now), &now), None);
        assert_eq!(differing_inputs(&blob(&json!({})), &now), Some(String::new()));
    }
}
