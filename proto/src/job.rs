//! Jobs: the messages that carry attempts at steps to workers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ClaimKey, JobId, Namespace, Payload, RepeatSafety, RetryPolicy, SecretPlace, ServerName, Timestamp,
    ToolName, WorkflowName,
};

/// The treatment of a tool result with `isError: true`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnToolError {
    /// The result is a fault of class `tool_error` with the text as its message.
    #[default]
    Fail,
    /// The result is an output.
    Output,
}

/// W3C trace context of a submit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceContext {
    /// Value of the header `traceparent`.
    pub traceparent: String,
    /// Value of the header `tracestate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

/// A job: all that a stateless worker needs to make attempts at a step. It names no command, URL, path or environment
/// variable.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Job {
    /// Id of the job: run, step and first attempt.
    pub id: JobId,
    /// Time of the run's submit, by the log's clock.
    pub submitted_at: Timestamp,
    /// Namespace of the run.
    pub namespace: Namespace,
    /// Name of the workflow, for logs and metrics.
    pub workflow: WorkflowName,
    /// Name of the server in the worker's configuration.
    pub server: ServerName,
    /// Name of the tool.
    pub tool: ToolName,
    /// Arguments of the call: an object.
    pub arguments: Payload,
    /// Places in the arguments where the worker inserts secrets, in the order of the arguments. Names only, no values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretPlace>,
    /// Time limit of an attempt, from the start of the call or from the last progress that the server reported.
    pub timeout: Duration,
    /// Time limit of an attempt from the start of the call, independent of progress. At least `timeout`.
    pub max_timeout: Duration,
    /// Retry policy of the step.
    pub retry: RetryPolicy,
    /// Safety of repeating a call that may have happened.
    pub safety: RepeatSafety,
    /// Idempotency key, equal for all attempts of the step and sent with every call.
    pub idempotency_key: String,
    /// True if the step defines the idempotency key, false if it is derived from run and step.
    pub own_key: bool,
    /// Treatment of a result with `isError: true`.
    pub on_tool_error: OnToolError,
    /// True if the plan reads the step's `content`.
    pub keep_content: bool,
    /// Trace that the run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

/// A job's place in the queue: its server and its id.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct JobAddress {
    /// Name of the server.
    pub server: ServerName,
    /// Id of the job.
    pub id: JobId,
}

impl Job {
    /// Returns the job's place in the queue.
    pub fn address(&self) -> JobAddress {
        JobAddress { server: self.server.clone(), id: self.id.clone() }
    }

    /// Returns true if the worker needs a [`Grant`](crate::Grant) for the calls: repeating one is not safe.
    pub fn needs_grant(&self) -> bool {
        self.safety == RepeatSafety::Unknown
    }

    /// Returns the key of the claim that the worker has to make before the call. A claim is needed if the step has its own
    /// key, so that two deliveries never call at the same time. Other calls skip the round trip.
    pub fn claim(&self) -> Option<ClaimKey> {
        self.own_key.then(|| ClaimKey {
            run: self.id.run,
            submitted_at: self.submitted_at,
            step: self.id.step.clone(),
        })
    }
}
