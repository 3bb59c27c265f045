//! Calls that may have been made, are not safe to repeat, and of which no report will arrive.

use longshore_proto::{Fault, FaultClass, NodeId, StepStatus, Timestamp};
use longshore_workflow::StepIndex;

use super::step::Step;
use super::{Run, attempts};

/// Message of a call that may be one of the lost records.
const RECORDS_LOST: &str = "the log has lost its newest records (an older copy of NATS was put back); this call may have been \
                            made before, and is not repeated because the step does not say that it is safe (`retry`)";

/// Ends a call that may have been made, and of which no report will arrive, as indeterminate. Returns false if the step has none.
pub(super) fn end_unreported(run: &mut Run, index: StepIndex, now: Timestamp) -> bool {
    if !run.step(index).is_some_and(Step::is_in_doubt) {
        return false;
    }
    run.change(index, |step| {
        let message = match step.granted_to().map(|delivery| delivery.worker.clone()) {
            Some(worker) => {
                let message = unreported(&worker);
                attempts::note_granted(step, worker, now);
                message
            }
            None => RECORDS_LOST.to_owned(),
        };
        step.end(StepStatus::Indeterminate, Some(Fault::new(FaultClass::Unavailable, message)), now);
    });
    true
}

fn unreported(worker: &NodeId) -> String {
    format!(
        "worker {worker} began this call and did not report it; the call may have happened, and is not repeated because the \
         step does not say that it is safe (`retry`)"
    )
}
