//! End of a run at once: every step ends, whatever it does.

use longshore_proto::{Fault, FaultClass, RunStatus, StepStatus, Timestamp};
use longshore_workflow::StepIndex;

use super::{Effect, Effects, Run, stop};

/// Message of a step that was ended with its run.
const TERMINATED: &str = "the run was terminated";

/// Ends every step of a run, and recalls the outstanding jobs, so that workers cancel their calls. The run ends as cancelled, because
/// none of its steps is left.
pub(super) fn terminate(run: &mut Run, reason: &str, now: Timestamp, effects: &mut Effects) {
    run.status = RunStatus::Cancelling;
    run.cancel_reason.get_or_insert_with(|| stop::kept_reason(reason));
    for index in run.frame.indices() {
        let Some(step) = run.step(index).filter(|step| !step.status.is_terminal()) else { continue };
        if step.status == StepStatus::Pending {
            skip(run, index, now);
        } else if step.call.is_some() {
            effects.extend(run.job_id(index).map(Effect::Recall));
            stop::end_unreported(run, index, TERMINATED, now);
        } else {
            let fault = Fault::new(FaultClass::Cancelled, TERMINATED);
            run.change(index, |step| step.end(StepStatus::Cancelled, Some(fault), now));
        }
    }
}

fn skip(run: &mut Run, index: StepIndex, now: Timestamp) {
    run.change(index, |step| {
        step.record_mut().skipped_because = Some(TERMINATED.into());
        step.end(StepStatus::Skipped, None, now);
    });
}
