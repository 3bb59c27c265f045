//! Outcomes of steps, and records of attempts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Attempt, Fault, NodeId, Payload, Sent, Timestamp};

/// The output of a tool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Output {
    /// Value of `output` in expressions: the structured content, else a single text block parsed as JSON, else the text of
    /// the text blocks.
    pub value: Payload,
    /// Value of `content` in expressions: the raw content list. `None` if the plan does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Payload>,
}

/// The outcome of a step. At most one is recorded for each step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The step gave an output.
    Output(Output),
    /// The step failed, and the effect of its call is known.
    Fault(Fault),
    /// The call may or may not have happened, and is not safe to repeat. The fault describes the last attempt.
    Indeterminate(Fault),
}

/// The result of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The step has ended.
    Done(Outcome),
    /// Another attempt is to be made later. The scheduler sets a timer and dispatches a new job then, so that the wait
    /// occupies no slot of a worker.
    Again {
        /// Earliest start of the next attempt.
        at: Timestamp,
        /// Fault of the last attempt.
        fault: Fault,
    },
}

/// The record of an attempt. Every attempt is recorded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// Number of the attempt.
    pub number: Attempt,
    /// Start of the call.
    pub started_at: Timestamp,
    /// Duration of the call. For an unreported attempt, the time from its dispatch or grant to the last sign of life of the process
    /// that had the job (its last record in the log), to the first attempt of the next worker, or to the end of the step.
    #[serde(rename = "took_ms", with = "crate::time::millis")]
    pub took: Duration,
    /// Fault of the attempt. `None` if it gave an output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Known progress of the call.
    pub sent: Sent,
    /// Worker that made the attempt. For an unreported attempt, the worker that was granted the call or claimed it, or `None`
    /// where neither names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<NodeId>,
    /// Server process that the call was sent to. `None` if it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ServerInstance>,
    /// Variables and headers of the servers file whose values were replaced by `***` in the tool's answer, such as
    /// "variable `REGION` of server `shop`". At most eight are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// A number of the tool's answer that 64 bits cannot hold, as the server wrote it; the answer was kept with the nearest float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounded: Option<String>,
}

impl AttemptRecord {
    /// Returns true for an attempt that no worker reported. Its job is dispatched again with the same attempt number.
    pub const fn is_unreported(&self) -> bool {
        // In reports of workers, an attempt that may have been sent has a process.
        matches!(self.sent, Sent::Maybe) && self.process.is_none()
    }
}

/// A process of a server, and the connection of a worker to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerInstance {
    /// Process id, for a server over stdio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Scheme, host and port, for a server over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Number of the connection among all connections of the worker, starting at 1.
    pub connection: u64,
}

impl fmt::Display for ServerInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, "process {pid}, ")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, "{origin}, ")?;
        }
        write!(f, "connection {}", self.connection)
    }
}
