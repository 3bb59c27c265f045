//! Events: the facts in a partition's log, from which all state is derived.

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, AttemptRecord, DeliveryId, Digest, Epoch, Evaluation, EvaluationNumber, JobId, Namespace,
    NodeId, Payload, Retention, RunId, Seq, Settlement, StepPath, Timestamp, TraceContext, WorkflowName,
};

/// A version of a workflow, by name and content. A run keeps the version it was submitted with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkflowRef {
    /// Name from the workflow's text.
    pub name: WorkflowName,
    /// Digest of the text.
    pub digest: Digest,
}

/// A version of the rules of the language: how a text is compiled, defaults, limits and budgets. A run keeps the version of its
/// submit, so a new program continues old runs as they began. A reader that meets a higher version than [`Semantics::NEWEST`] stops.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Semantics(pub u16);

impl Semantics {
    /// The newest version that this code knows.
    pub const NEWEST: Self = Self(1);
}

impl std::fmt::Display for Semantics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A request of a client to a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Cancel the run: recall its outstanding jobs and begin no further steps.
    Cancel {
        /// Reason, for display.
        reason: String,
    },
    /// End the run at once, whatever its steps do: no report is awaited and no further step begins, not even one that asks to run
    /// after a cancel.
    Terminate {
        /// Reason, for display.
        reason: String,
    },
}

/// The purpose of a timer.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// The start of the next attempt at a step.
    Retry {
        /// The step.
        step: StepPath,
        /// Number of the attempt that begins.
        attempt: Attempt,
    },
    /// The moment at which a job without an outcome is dispatched again: it has been outstanding for longer than all its
    /// attempts can take, so the queue may have lost it.
    Lost {
        /// The step.
        step: StepPath,
        /// Number of the job's first attempt.
        attempt: Attempt,
        /// Number of times that the job has been dispatched again so far.
        sent: u32,
    },
    /// The end of the wait for the report of a granted call whose job was delivered again: its worker is probably gone.
    Doubt {
        /// The step.
        step: StepPath,
        /// Number of the job's first attempt.
        attempt: Attempt,
    },
    /// The deadline of a group of steps.
    Step {
        /// The group.
        step: StepPath,
    },
    /// The end of the wait for the outcome of a recalled job.
    Grace {
        /// The step.
        step: StepPath,
        /// Number of the job's first attempt.
        attempt: Attempt,
    },
    /// The deadline of the run.
    Run,
}

/// A timer of a run. Firing a timer twice, or one that is no longer set, has no effect.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Timer {
    /// The run.
    pub run: RunId,
    /// Purpose of the timer.
    pub kind: TimerKind,
}

/// A fact in the log of a partition.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A scheduler leads the partition from this record on. The sequence of the record is its epoch.
    LeaderAnnounced {
        /// The scheduler.
        node: NodeId,
        /// Version of its program.
        version: String,
        /// True if the queue was in the memory of the previous leader's process, so that all outstanding jobs are lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        jobs_lost: bool,
        /// True if the checkpoint store knows records that the log no longer has: an older copy of the log was put back. Runs that
        /// have not ended may have made any call that is not safe to repeat.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        records_lost: bool,
    },
    /// The configuration of the partition from this record on. Written by a leader whose own differs. What a setting decides is
    /// decided by this record, so that all readers of the log agree.
    Configured {
        /// Bounds on the finished runs that are kept.
        retention: Retention,
    },
    /// A run cannot be continued by the leader: its workflow or one of its records cannot be read. It fails, whatever a reader
    /// that can read them made of it.
    Quarantined {
        /// The run.
        run: RunId,
        /// Reason, for display.
        reason: String,
    },
    /// A client submitted a run. A run with this record in the log reaches a terminal status.
    Submitted {
        /// The run.
        run: RunId,
        /// Namespace of the run.
        namespace: Namespace,
        /// Version of the workflow to run.
        workflow: WorkflowRef,
        /// Version of the rules by which the workflow was checked and is executed.
        semantics: Semantics,
        /// Checked inputs with defaults filled in: an object.
        inputs: Payload,
        /// Trace that the run belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<TraceContext>,
    },
    /// A worker is about to make the calls of a job that are not safe to repeat. It makes them only on a [`Grant`](crate::Grant),
    /// which the first of these records gets.
    Starting {
        /// The job.
        job: JobId,
        /// The delivery that makes the calls.
        delivery: DeliveryId,
    },
    /// A worker returns a job that it may have been granted to the queue, and made no call. Another delivery can be granted.
    Returned {
        /// The job.
        job: JobId,
        /// The delivery of the [`Event::Starting`].
        delivery: DeliveryId,
    },
    /// A worker finished with a job.
    Settled {
        /// The job.
        job: JobId,
        /// Result of the job.
        settlement: Settlement,
        /// Attempts that the worker made, in order.
        attempts: Vec<AttemptRecord>,
        /// The worker.
        worker: NodeId,
        /// True if the job was delivered before to a worker that may have made the call and did not report it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unreported: bool,
        /// Worker of that earlier delivery. `None` where no claim names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unreported_worker: Option<NodeId>,
    },
    /// A leader dispatches the outstanding jobs of a run again, because they were lost with the previous process.
    Resumed {
        /// The run.
        run: RunId,
    },
    /// A job is lost with its process before a call began: no worker took it from the queue. Written by that process when it
    /// stops.
    NotCalled {
        /// The job.
        job: JobId,
    },
    /// A leader evaluated expressions that read large values or take long. Ignored unless the state waits for this evaluation, so
    /// the first one counts.
    Evaluated {
        /// The run.
        run: RunId,
        /// The step. `None` for the outputs of the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepPath>,
        /// Number of the evaluation.
        number: EvaluationNumber,
        /// The result.
        result: Evaluation,
    },
    /// Further steps of a run begin, or it ends: the record before exhausted its budget of work.
    Continued {
        /// The run.
        run: RunId,
    },
    /// A client sent a request to a run.
    Signalled {
        /// The run.
        run: RunId,
        /// Namespace of the sender. A signal for a run of another namespace is ignored.
        namespace: Namespace,
        /// The request.
        signal: Signal,
    },
    /// A timer is due. Ignored if the epoch is not that of the current leader.
    Fired {
        /// Epoch of the leader that wrote the record.
        epoch: Epoch,
        /// The timer.
        timer: Timer,
    },
}

/// An event that was read from the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// Sequence number of the log entry.
    pub seq: Seq,
    /// Index of the event within the entry, which may hold several. Starts at 0.
    #[serde(default)]
    pub part: u32,
    /// Time at which the log stored the entry. May go back when another server takes over the log; the machine never lets
    /// its own time go back.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}
