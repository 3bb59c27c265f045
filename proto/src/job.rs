//! The message that carries a step to a worker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ClaimKey, JobId, Namespace, Payload, RepeatSafety, RetryPolicy, SecretPlace, ServerName, Timestamp,
    ToolName, WorkflowName,
};

/// What a result with `isError: true` means for the step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnToolError {
    /// The fault `tool_error`, with the text as its message.
    #[default]
    Fail,
    /// An output like any other.
    Output,
}

/// W3C trace context, as it came with the submit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceContext {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

/// One step to be carried out: everything a stateless worker needs to know, and nothing that names a command, a
/// URL, a path or an environment variable.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Job {
    /// Run, step and first attempt.
    pub id: JobId,
    /// The moment of the run's submit, by the log's clock.
    pub submitted_at: Timestamp,
    /// Whose run it is.
    pub namespace: Namespace,
    /// The workflow's name, for logs and metrics.
    pub workflow: WorkflowName,
    /// The server, by its name in the worker's configuration.
    pub server: ServerName,
    /// The tool.
    pub tool: ToolName,
    /// The arguments, an object.
    pub arguments: Payload,
    /// Where in the arguments the worker puts its secrets, in the order of the arguments. Only names, never values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretPlace>,
    /// The deadline of each attempt, counted from the start of its call, or from the last progress that it reported.
    pub timeout: Duration,
    /// The deadline of each attempt, counted from the start of its call, whatever progress it reports. At least `timeout`.
    pub max_timeout: Duration,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Whether the call may be repeated when nobody knows if it happened.
    pub safety: RepeatSafety,
    /// Equal for all attempts of the step; sent along with every call.
    pub idempotency_key: String,
    /// Whether the step brought that key itself, instead of getting the derived one.
    pub own_key: bool,
    /// What `isError: true` means.
    pub on_tool_error: OnToolError,
    /// Whether the plan reads `content`.
    pub keep_content: bool,
    /// The trace the run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl Job {
    /// The claim to make before the call: only where repeating is unsafe, or where the step brought a key of its own, so
    /// that two deliveries of it never call at once. Other safe calls skip the round trip.
    pub fn claim(&self) -> Option<ClaimKey> {
        (self.safety == RepeatSafety::Unknown || self.own_key).then(|| ClaimKey {
            run: self.id.run,
            submitted_at: self.submitted_at,
            step: self.id.step.clone(),
        })
    }
}
