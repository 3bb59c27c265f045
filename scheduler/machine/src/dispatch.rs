//! Jobs of outstanding calls.

use longshore_proto::{Job, Timestamp};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::{Effect, Effects, Run, timers};

/// Sends the job of a running step, and sets the timer that sends it again if no report arrives. `sent_again` says how often
/// that happened before.
pub(super) fn dispatch(
    run: &mut Run,
    plan: &Plan,
    index: StepIndex,
    now: Timestamp,
    sent_again: u32,
    effects: &mut Effects,
) {
    let Some(StepKind::Call(step)) = plan.step(index).map(|step| &step.kind) else { return };
    run.change(index, |state| {
        if let Some(call) = &mut state.call {
            call.sent_at = Some(now);
            call.sent_again = sent_again;
            call.due_at = Some(now.plus(timers::lost_timeout(step, sent_again)));
        }
    });
    effects.extend(dispatch_effect(run, plan, index));
}

/// Returns the effect that sends the job of a running step.
pub(super) fn dispatch_effect(run: &Run, plan: &Plan, index: StepIndex) -> Option<Effect> {
    let argument_bytes = run.step(index)?.call.as_ref()?.arguments.bytes_in_state();
    let job = Box::new(job(run, plan, index)?);
    Some(Effect::Dispatch { job, argument_bytes })
}

/// Returns the job of a running step, from the state and the plan.
fn job(run: &Run, plan: &Plan, index: StepIndex) -> Option<Job> {
    let StepKind::Call(call) = &plan.step(index)?.kind else { return None };
    let outstanding = run.step(index)?.call.as_ref()?;
    let id = run.job_id(index)?;
    let derived = || format!("{}/{}", id.run, id.step);
    Some(Job {
        idempotency_key: outstanding.own_key.as_deref().map_or_else(derived, str::to_owned),
        id,
        submitted_at: run.submitted_at,
        namespace: run.namespace.clone(),
        workflow: run.outline.workflow.name.clone(),
        server: call.server.clone(),
        tool: call.tool.clone(),
        arguments: outstanding.arguments.payload()?,
        secrets: outstanding.secrets.to_vec(),
        timeout: call.timeout,
        max_timeout: call.max_timeout,
        retry: call.retry.clone(),
        safety: call.safety,
        own_key: outstanding.own_key.is_some(),
        on_tool_error: call.on_tool_error,
        keep_content: call.keep_content,
        trace: run.trace.as_deref().cloned(),
    })
}
