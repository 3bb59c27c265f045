//! Effects: what the driver does because of a record.

use longshore_proto::{EvaluationNumber, Event, Grant, Job, JobId, RunId};
use longshore_workflow::StepIndex;

use super::RunChange;

/// Action for the driver. Performing one twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append an event to the log.
    Append(Event),
    /// Send a job to the queue.
    Dispatch {
        /// The job.
        job: Box<Job>,
        /// Size of its arguments as JSON text, in bytes.
        argument_bytes: usize,
    },
    /// Send the decision about a delivery to its worker.
    Grant(Grant),
    /// Evaluate expressions, and append the result as [`Event::Evaluated`]; see
    /// [`Machine::pending_evaluation`](super::Machine::pending_evaluation).
    Evaluate {
        /// The run.
        run: RunId,
        /// The step. `None` for the outputs of the run.
        step: Option<StepIndex>,
        /// Number of the evaluation.
        number: EvaluationNumber,
    },
    /// Recall a job whose outcome is no longer wanted. If its step has [ended](super::Machine::is_outstanding), the queue does not
    /// need the job any more.
    Recall(JobId),
    /// A run changed; for updates and metrics.
    Changed(RunChange),
}

/// Actions for the driver, in this order.
pub type Effects = Vec<Effect>;
