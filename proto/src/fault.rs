//! Faults: the recorded reasons why steps gave no output.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{StepPath, truncate_with_size};

/// The reason why a step gave no output.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// Class of the fault: the only part that retry decisions depend on.
    pub class: FaultClass,
    /// Description of the cause and, where known, of the remedy. Contains no secrets.
    pub message: String,
    /// Delay before the next attempt that the server asked for (`Retry-After`).
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
    /// Member of the group whose fault this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<StepPath>,
}

impl Fault {
    /// Creates a fault. A message of more than [`Fault::MESSAGE_LIMIT_CHARS`] is cut, and ends with its full size.
    pub fn new(class: FaultClass, message: impl Into<String>) -> Self {
        let message = truncate_with_size(&message.into(), Self::MESSAGE_LIMIT_CHARS).into_owned();
        Self { class, message, retry_after: None, not_retried: None, member: None }
    }

    /// Creates the fault of a group whose member failed with `fault`.
    pub fn of_member(member: &StepPath, fault: Option<&Self>) -> Self {
        let class = fault.map_or(FaultClass::Internal, |fault| fault.class);
        let message = fault.map_or("", |fault| fault.message.as_str());
        Self { member: Some(member.clone()), ..Self::new(class, format!("`{member}`: {message}")) }
    }

    /// Sets the delay that the server asked for.
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The longest message of a fault, in characters: an explanation and an excerpt fit, the megabytes that a tool may
    /// print do not.
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

/// The class of a fault. A workflow may name the first five in `retry.errors`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// There was no answer before the deadline.
    Timeout,
    /// The server could not be reached, ended, or answered 5xx.
    Unavailable,
    /// The server limits the rate of requests (HTTP 429).
    RateLimited,
    /// The tool reported an error (`isError: true`).
    ToolError,
    /// The answer was a JSON-RPC error, or did not follow the protocol or its limits.
    ProtocolError,
    /// The tool does not accept the arguments. Never retried.
    InvalidArguments,
    /// The server has no such tool. Never retried.
    UnknownTool,
    /// No worker's configuration has such a server. Never retried.
    UnknownServer,
    /// The server refused the credentials, or the worker has no such secret. Never retried.
    Unauthorised,
    /// A stateful server lost the state that earlier calls of the run had created. Never retried.
    StateLost,
    /// The run was cancelled. Never retried.
    Cancelled,
    /// An expression of the workflow could not be evaluated. Never retried.
    Expression,
    /// A large value that the step reads is gone or damaged. Never retried.
    ValueLost,
    /// The large values that the step reads exceed what can be read at once. Never retried.
    ValueTooLarge,
    /// Longshore could not continue the step, for the reason in the message. Never retried.
    Internal,
}

impl FaultClass {
    /// All classes, in the order of their declaration.
    pub const ALL: [Self; 15] = [
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
        Self::ValueLost,
        Self::ValueTooLarge,
        Self::Internal,
    ];

    /// Returns the name in workflows, metrics and JSON.
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
            Self::ValueLost => "value_lost",
            Self::ValueTooLarge => "value_too_large",
            Self::Internal => "internal",
        }
    }

    /// Returns true if another attempt can succeed. Mistakes of the caller are permanent.
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

/// The known progress of a call that ended with a fault.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// The request was provably not sent, or was refused before it was processed, so it had no effect.
    Never,
    /// The request may have arrived and may have had its effect.
    Maybe,
    /// The tool answered, so the call happened.
    Answered,
}
