//! A call that the server performs as a task (MCP 2025-11-25, "Tasks"): the only way to call tools whose `taskSupport` is
//! `required`.
//!
//! The server answers the call with a task at once. The client polls the status of the task until it has ended, and then fetches
//! its result, which has the form of a plain call's result. All requests are one call with one deadline. Once the server has
//! answered with the task, the tool may have run, even if a later request fails. A call that ends before its task cancels the
//! task.

use std::sync::Arc;

use longshore_attempt::Answer;
use longshore_proto::{FaultClass, Sent};
use rmcp::model::{CallToolRequestParams, ClientRequest, CustomRequest, CustomResult, ServerResult};
use serde_json::{Map, Value, json};

use super::classify::{McpFailure, classify};
use super::connection::{CallHooks, Connection, ReceivedResult};
use super::deadline::{Deadline, TimeLimit};
use super::progress::CallProgress;
use super::task_state::McpTask;
use super::tool_result::{ToolResult, read_result_by_size};

/// The longest time to live that is requested for a task. Longer timers of Node.js end at once.
const LONGEST_TTL_MS: i32 = i32::MAX;
/// Characters of a server's message about its task that a fault repeats.
const MESSAGE_CHARS: usize = 500;

/// Sends a call as a task, and waits for the result of the task.
pub(super) async fn send(
    connection: &Arc<Connection>,
    params: CallToolRequestParams,
    hooks: CallHooks<'_>,
    limit: TimeLimit,
) -> Result<Answer, McpFailure> {
    let mut progress = connection.progress(Deadline::of(limit));
    let request = call_request(params, limit)?;
    let (result, rounded) = as_object(connection.request_of_call(hooks, request, &mut progress).await?)?;
    let task = match read_result_by_size(result, rounded).await? {
        ToolResult::Answer(answer) => return Ok(answer),
        ToolResult::Task(task) => task,
        ToolResult::InputRequired { .. } => {
            return Err(McpFailure::BadAnswer("it is no task".to_owned()));
        }
    };
    let guard = TaskCancelGuard { connection, id: task.id.clone(), has_ended: false };
    TaskCall { guard, task, hooks, progress }.result().await
}

fn call_request(params: CallToolRequestParams, limit: TimeLimit) -> Result<ClientRequest, McpFailure> {
    let unwritten = |error: serde_json::Error| McpFailure::NotWritten(error.to_string());
    let mut params = serde_json::to_value(params).map_err(unwritten)?;
    if let Value::Object(params) = &mut params {
        let ttl = i32::try_from(limit.whole.as_millis()).unwrap_or(LONGEST_TTL_MS);
        params.insert("task".to_owned(), json!({ "ttl": ttl }));
    }
    Ok(ClientRequest::CustomRequest(CustomRequest::new("tools/call", Some(params))))
}

/// Returns the fields of a result, and [`ReceivedResult::rounded`].
fn as_object(received: ReceivedResult) -> Result<(Map<String, Value>, Option<String>), McpFailure> {
    match received.result {
        ServerResult::CustomResult(CustomResult(Value::Object(result))) => Ok((result, received.rounded)),
        _ => Err(McpFailure::Unreadable("its result is no object".to_owned())),
    }
}

/// Guard of a task. Cancels the task at its server if it is dropped before the task has ended.
struct TaskCancelGuard<'a> {
    connection: &'a Arc<Connection>,
    id: String,
    has_ended: bool,
}

impl Drop for TaskCancelGuard<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.cancel_task(std::mem::take(&mut self.id));
        }
    }
}

/// A call whose task is under way.
struct TaskCall<'a> {
    guard: TaskCancelGuard<'a>,
    /// Last known state of the task.
    task: McpTask,
    hooks: CallHooks<'a>,
    progress: CallProgress,
}

impl TaskCall<'_> {
    /// Waits until the task has ended, and returns its result.
    async fn result(mut self) -> Result<Answer, McpFailure> {
        let mut result_refused = false;
        loop {
            match self.task.status.as_str() {
                "working" => {}
                "completed" => {
                    self.guard.has_ended = true;
                    let result = self.request("tasks/result").await.map_err(result_failure)?;
                    return read_answer(result).await;
                }
                "failed" => {
                    self.guard.has_ended = true;
                    return self.failure().await;
                }
                "cancelled" => {
                    self.guard.has_ended = true;
                    let why = format!("the server cancelled it{}", self.message());
                    return Err(McpFailure::TaskLost(why));
                }
                // The protocol requires the request for the result now: the server sends its question meanwhile, and
                // answers once the task has ended.
                "input_required" if !result_refused => match self.request("tasks/result").await {
                    Ok(result) => {
                        self.guard.has_ended = true;
                        return read_answer(result).await;
                    }
                    // Some servers refuse this request instead of waiting. Then the status is polled.
                    Err(McpFailure::JsonRpc { .. }) => result_refused = true,
                    Err(failure) => return Err(result_failure(failure)),
                },
                "input_required" => {}
                other => {
                    let why = format!("the status of the task is unknown{}", self.shown(other));
                    return Err(McpFailure::TaskLost(why));
                }
            }
            self.pause().await?;
            let (task, _) = self.request("tasks/get").await.map_err(status_failure)?;
            self.task = McpTask::read(&task).map_err(McpFailure::TaskLost)?;
        }
    }

    /// Returns the result of a failed task: an answer that reports an error, or a failure with the server's message.
    async fn failure(&mut self) -> Result<Answer, McpFailure> {
        let answer = match self.request("tasks/result").await {
            Ok(result) => read_answer(result).await,
            Err(failure) => Err(failure),
        };
        let failure = match answer {
            Ok(answer) if answer.is_error => return Ok(answer),
            Err(failure @ McpFailure::Reported { .. }) => return Err(failure),
            Ok(_) => None,
            Err(failure) => Some(failure),
        };
        let why = match failure {
            Some(McpFailure::JsonRpc { message, .. }) if self.task.message.is_none() => self.shown(&message),
            _ => self.message(),
        };
        Err(McpFailure::TaskFailed(why))
    }

    async fn pause(&mut self) -> Result<(), McpFailure> {
        let Self { guard, task, hooks, progress } = self;
        let paused = guard.connection.pause(*hooks, task.poll_interval, progress).await;
        paused.map_err(|failure| self.with_task_status(failure))
    }

    /// Makes a request about the task, and returns the raw result, and [`ReceivedResult::rounded`].
    async fn request(&mut self, method: &str) -> Result<(Map<String, Value>, Option<String>), McpFailure> {
        let request = CustomRequest::new(method, Some(json!({ "taskId": self.guard.id })));
        let request = ClientRequest::CustomRequest(request);
        let result = self.guard.connection.request_of_call(self.hooks, request, &mut self.progress).await;
        result.and_then(as_object).map_err(|failure| self.with_task_status(failure))
    }

    /// Adds the status of the task to the message of a deadline.
    fn with_task_status(&self, failure: McpFailure) -> McpFailure {
        match failure {
            McpFailure::Deadline(reached, printed) => {
                let waits = if self.task.status == "input_required" {
                    ": it waits for the answer of a person"
                } else {
                    ""
                };
                let status = &self.task.status;
                let message = self.message();
                McpFailure::Deadline(
                    reached,
                    format!("; the status of its task is `{status}`{waits}{message}{printed}"),
                )
            }
            failure => failure,
        }
    }

    /// Returns the server's message about the task, after a colon. Empty without a message.
    fn message(&self) -> String {
        self.task.message.as_deref().map(|message| self.shown(message)).unwrap_or_default()
    }

    /// Returns the beginning of a text as one line, after a colon. Secrets are hidden before it is cut: the first part of a cut
    /// secret would not be found.
    fn shown(&self, text: &str) -> String {
        let hidden = self.guard.connection.secrets().hide(text);
        let line = hidden.split_whitespace().collect::<Vec<_>>().join(" ");
        let beginning: String = line.chars().take(MESSAGE_CHARS).collect();
        if beginning.is_empty() { beginning } else { format!(": {beginning}") }
    }
}

async fn read_answer((result, rounded): (Map<String, Value>, Option<String>)) -> Result<Answer, McpFailure> {
    match read_result_by_size(result, rounded).await? {
        ToolResult::Answer(answer) => Ok(answer),
        ToolResult::Task(_) | ToolResult::InputRequired { .. } => {
            Err(McpFailure::BadAnswer("the result of a task is no result of a tool".to_owned()))
        }
    }
}

/// Converts the failure of a status request to that of the call, which may have happened.
fn status_failure(failure: McpFailure) -> McpFailure {
    match classify(&failure) {
        (_, Sent::Maybe, _) => failure,
        (FaultClass::Unavailable, ..) => McpFailure::Closed(failure.to_string()),
        _ => McpFailure::TaskLost(failure.to_string()),
    }
}

/// Converts the failure of a result request to that of the call, which may have happened. If the result cannot be read, the server
/// has answered.
fn result_failure(failure: McpFailure) -> McpFailure {
    match (classify(&failure), &failure) {
        (_, McpFailure::JsonRpc { .. }) => McpFailure::TaskLost(failure.to_string()),
        ((_, Sent::Answered, _), _) => failure,
        _ => status_failure(failure),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_to_live_of_a_task_is_the_longest_time_of_the_call_within_a_bound() {
        let ttl = |whole: Duration| {
            let limit = TimeLimit { idle: Duration::from_secs(1), whole };
            match call_request(CallToolRequestParams::new("t"), limit) {
                Ok(ClientRequest::CustomRequest(CustomRequest { params: Some(params), .. })) => params,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ttl(Duration::from_mins(2)), json!({"name": "t", "task": {"ttl": 120_000}}));
        assert_eq!(ttl(Duration::MAX)["task"], json!({"ttl": LONGEST_TTL_MS}));
    }
}
