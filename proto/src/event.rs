//! Facts, in one order: the log of a partition is the only truth there is.

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, AttemptRecord, Digest, Epoch, JobId, Namespace, NodeId, Payload, RunId, Seq, Settlement,
    StepPath, Timestamp, TraceContext, WorkflowName,
};

/// A workflow by name and content: the plan a run is pinned to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkflowRef {
    /// What it calls itself.
    pub name: WorkflowName,
    /// The address of its text.
    pub digest: Digest,
}

/// What somebody outside tells a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Stop, cleanly.
    Cancel {
        /// Who or why, for the record.
        reason: String,
    },
}

/// What a timer is for.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// The moment a step may be tried again.
    Retry {
        /// The step.
        step: StepPath,
        /// The attempt that is to begin.
        attempt: Attempt,
    },
    /// A job has been out for longer than all its attempts can take: the queue may have lost it.
    Lost {
        /// The step.
        step: StepPath,
        /// The job's first attempt.
        attempt: Attempt,
        /// How many times it has been sent again already.
        sent: u32,
    },
    /// The deadline of a group of steps.
    Step {
        /// The group.
        step: StepPath,
    },
    /// The deadline of the run.
    Run,
    /// The end of the wait for calls that were told to stop.
    Grace,
}

/// A timer of a run. Firing one twice, or one that is no longer set, is harmless.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Timer {
    /// The run.
    pub run: RunId,
    /// What for.
    pub kind: TimerKind,
}

/// A fact.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A scheduler says that it leads from here on. Its epoch is the sequence of this record.
    LeaderAnnounced {
        /// Who.
        node: NodeId,
        /// The version of its code.
        version: String,
        /// Whether the queue ended with the process before this one: every job that was out is lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        jobs_lost: bool,
    },
    /// A run was asked for; once this is in the log, it reaches a terminal state.
    Submitted {
        /// The run.
        run: RunId,
        /// Whose it is.
        namespace: Namespace,
        /// What to run, pinned by content.
        workflow: WorkflowRef,
        /// Its inputs, checked, with defaults filled in: an object.
        inputs: Payload,
        /// The trace it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<TraceContext>,
    },
    /// A worker reports what became of a job.
    Settled {
        /// The job.
        job: JobId,
        /// What became of it.
        settlement: Settlement,
        /// The attempts it made, in order.
        attempts: Vec<AttemptRecord>,
        /// Who.
        worker: NodeId,
        /// Whether the job was out before, with a worker that may have made the call and did not report it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unreported: bool,
        /// The worker of that earlier delivery. `None` where no claim names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unreported_worker: Option<NodeId>,
    },
    /// A leader whose queue ended with the process before sends the jobs of a run again.
    Resumed {
        /// The run.
        run: RunId,
    },
    /// Somebody outside tells a run something.
    Signalled {
        /// The run.
        run: RunId,
        /// The namespace of the sender. A signal for a run of another one is ignored.
        namespace: Namespace,
        /// What.
        signal: Signal,
    },
    /// A leader says that a timer's moment has come. Dropped when the epoch is no longer the leader's.
    Fired {
        /// The leader's term.
        epoch: Epoch,
        /// The timer.
        timer: Timer,
    },
}

/// An event with its place in the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The place.
    pub seq: Seq,
    /// Which of the facts at this place it is, where several were recorded together; they count from zero.
    #[serde(default)]
    pub part: u32,
    /// When the log took it. May step back when the log changes hands; the machine never lets time go back.
    pub at: Timestamp,
    /// The fact.
    pub event: Event,
}
