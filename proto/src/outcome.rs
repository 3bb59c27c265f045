//! What came back from a step.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Attempt, Fault, NodeId, Payload, Sent, Timestamp};

/// What a tool gave.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Output {
    /// What the next steps see as `output`: the structured content, else a single text block parsed as JSON, else
    /// the text of the text blocks.
    pub value: Payload,
    /// What they see as `content`: the raw content list. Kept only when the plan reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Payload>,
}

/// How a step ended. At most one is recorded for each step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was asked.
    Output(Output),
    /// It did not, and nothing is in doubt.
    Fault(Fault),
    /// The call may or may not have happened, and is not safe to repeat. The fault says what was seen.
    Indeterminate(Fault),
}

/// What a worker reports about a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The step has ended.
    Done(Outcome),
    /// The step is to be tried again, not before this moment: a timer and a new job, so that waiting never holds
    /// a worker's slot.
    Again {
        /// The earliest moment of the next attempt.
        at: Timestamp,
        /// Why.
        fault: Fault,
    },
}

/// One try at a call, as it went. Every attempt is recorded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// Its number.
    pub number: Attempt,
    /// When the call began.
    pub started_at: Timestamp,
    /// How long it took.
    #[serde(rename = "took_ms", with = "crate::time::millis")]
    pub took: Duration,
    /// What went wrong; nothing if it gave an output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// How far it is known to have come.
    pub sent: Sent,
    /// The worker that made it. For an attempt that no worker reported, the worker that claimed the call, and `None` where
    /// no claim names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<NodeId>,
    /// The process of the server that it was sent to. `None` if it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ServerInstance>,
    /// Variables and headers of the servers file whose values were replaced by `***` in what the tool answered, such as
    /// "variable `REGION` of server `shop`". At most eight are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
}

impl AttemptRecord {
    /// Returns true for an attempt that no worker reported. Its job is sent again under the same number.
    pub const fn is_unreported(&self) -> bool {
        // Workers name the process of every attempt whose call may have been made.
        matches!(self.sent, Sent::Maybe) && self.process.is_none()
    }
}

/// The process of a server that takes calls, as a worker reaches it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerInstance {
    /// The process id, for a server over stdio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Scheme, host and port, for a server over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The number of the connection, counted by the worker over all its servers from 1.
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
