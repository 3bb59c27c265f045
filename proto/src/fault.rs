//! What went wrong with a step, as data: a fault is recorded and outlives every process.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::StepPath;

/// Why a step gave no output.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// What kind it is: the only thing that retry decisions look at.
    pub class: FaultClass,
    /// What happened, in words that help to mend it. Never holds a secret.
    pub message: String,
    /// How long the other side asked to be left alone (`Retry-After`).
    #[serde(
        rename = "retry_after_ms",
        with = "crate::time::millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
    /// Reason why the call was not made again, if the step asks for retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_retried: Option<String>,
    /// The member of a group whose fault this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<StepPath>,
}

impl Fault {
    /// A fault of this class, in these words.
    ///
    /// A message is for people: past [`Fault::MESSAGE_LIMIT_CHARS`] it is cut, and says so.
    pub fn new(class: FaultClass, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((cut, _)) = message.char_indices().nth(Self::MESSAGE_LIMIT_CHARS) {
            let whole = message.len();
            message.truncate(cut);
            message.push_str(&format!("… ({whole} bytes in all)"));
        }
        Self { class, message, retry_after: None, not_retried: None, member: None }
    }

    /// The fault of a group because one of its members failed with `fault`.
    pub fn of_member(member: &StepPath, fault: Option<&Self>) -> Self {
        let class = fault.map_or(FaultClass::Internal, |fault| fault.class);
        let message = fault.map_or("", |fault| fault.message.as_str());
        Self { member: Some(member.clone()), ..Self::new(class, format!("`{member}`: {message}")) }
    }

    /// The same fault, to be left alone for `retry_after`.
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Room for an explanation and an excerpt, not for the megabytes a tool may print.
    pub const MESSAGE_LIMIT_CHARS: usize = 4096;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)?;
        match &self.not_retried {
            Some(why) => write!(f, " (not retried: {why})"),
            None => Ok(()),
        }
    }
}

/// The kinds of fault. The first five are the ones a workflow may name in `retry.errors`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// No answer before the deadline.
    Timeout,
    /// The server could not be reached, went away, or answered 5xx.
    Unavailable,
    /// The server asked for a slower pace (HTTP 429).
    RateLimited,
    /// The tool itself reported an error (`isError: true`).
    ToolError,
    /// A JSON-RPC error, or an answer that does not follow the protocol or its limits.
    ProtocolError,
    /// The tool does not take these arguments. Never retried.
    InvalidArguments,
    /// The server has no such tool. Never retried.
    UnknownTool,
    /// No worker's configuration has such a server. Never retried.
    UnknownServer,
    /// The server wants other credentials, or the worker has no secret of that name. Never retried.
    Unauthorised,
    /// What earlier calls of the run left in a stateful server is gone. Never retried.
    StateLost,
    /// The run was cancelled. Never retried.
    Cancelled,
    /// An expression of the workflow could not be evaluated. Never retried.
    Expression,
    /// Longshore itself could not go on with this step; the message says why. Never retried.
    Internal,
}

impl FaultClass {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::Timeout,
        Self::Unavailable,
        Self::RateLimited,
        Self::ToolError,
        Self::ProtocolError,
        Self::InvalidArguments,
        Self::UnknownTool,
        Self::UnknownServer,
        Self::Unauthorised,
        Self::StateLost,
        Self::Cancelled,
        Self::Expression,
        Self::Internal,
    ];

    /// The name in workflows, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate_limited",
            Self::ToolError => "tool_error",
            Self::ProtocolError => "protocol_error",
            Self::InvalidArguments => "invalid_arguments",
            Self::UnknownTool => "unknown_tool",
            Self::UnknownServer => "unknown_server",
            Self::Unauthorised => "unauthorised",
            Self::StateLost => "state_lost",
            Self::Cancelled => "cancelled",
            Self::Expression => "expression",
            Self::Internal => "internal",
        }
    }

    /// Whether trying again could ever help. What the caller got wrong stays wrong.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Unavailable | Self::RateLimited | Self::ToolError | Self::ProtocolError
        )
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a call that faulted is known to have come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// The request provably never left, or was turned away before it was looked at: nothing can have happened.
    Never,
    /// The request may have arrived and may have been carried out.
    Maybe,
    /// The tool answered: what it did is done.
    Answered,
}
