//! A call that the server carries out as a task (MCP 2025-11-25, "Tasks"): the only way to call tools whose `taskSupport` is
//! `required`.
//!
//! The server answers the call with a task at once. The client asks for the status of the task until it has ended, and then for
//! its result, which is that of a plain call. All of it is one call with one deadline. From the answer with the task on,
//! the tool can have been at work, whatever becomes of the later requests. A call that ends before its task cancels it.

use std::sync::Arc;
use std::time::Duration;

use longshore_attempt::Answer;
use longshore_proto::{FaultClass, Sent};
use rmcp::model::{CallToolRequestParams, ClientRequest, CustomRequest, CustomResult, ServerResult};
use serde_json::{Map, Value, json};

use super::answer::{Answered, answer};
use super::classify::{Observation, classify};
use super::connection::{Company, Connection};
use super::deadline::{Deadline, TimeLimit};
use super::progress::CallProgress;

/// The pause between two questions about a task whose server names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// The shortest pause, whatever the server names: a question costs the server more than the wait costs the step.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: a step should end soon after its task.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest time that a server is asked to keep a task. Timers of Node end at once when they are longer.
const LONGEST_TTL_MS: i32 = i32::MAX;
/// Characters of the words of a server about its task that a fault repeats.
const MESSAGE_CHARS: usize = 500;

/// A task at one moment, as its server describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Task {
    /// The id that the server gave it.
    pub(crate) id: String,
    status: String,
    message: Option<String>,
    pause: Duration,
}

impl Task {
    /// Reads a task. Returns an error in words if it has no id.
    pub(crate) fn read(task: &Map<String, Value>) -> Result<Self, String> {
        let text = |key: &str| task.get(key).and_then(Value::as_str).map(str::to_owned);
        let id = text("taskId").ok_or_else(|| "it is a task without a `taskId`".to_owned())?;
        let named = task.get("pollInterval").and_then(Value::as_f64).map(|millis| millis / 1000.0);
        let named = named.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self {
            id,
            status: text("status").unwrap_or_else(|| "working".to_owned()),
            message: text("statusMessage"),
            pause: named.unwrap_or(DEFAULT_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        })
    }
}

/// Sends a call that asks for a task, and waits for the result of the task.
pub(super) async fn send(
    connection: &Arc<Connection>,
    params: CallToolRequestParams,
    company: Company<'_>,
    limit: TimeLimit,
) -> Result<Answer, Observation> {
    let mut progress = connection.progress(Deadline::of(limit));
    let request = call_request(params, limit)?;
    let result = raw(connection.request_of_call(company, request, &mut progress).await?)?;
    let task = match answer(result)? {
        Answered::Now(answer) => return Ok(answer),
        Answered::ByTask(task) => task,
        Answered::Again { .. } => return Err(Observation::BadAnswer("it is no task".to_owned())),
    };
    let open = OpenTask { connection, id: task.id.clone(), has_ended: false };
    TaskCall { open, task, company, progress }.result().await
}

fn call_request(params: CallToolRequestParams, limit: TimeLimit) -> Result<ClientRequest, Observation> {
    let unwritten = |error: serde_json::Error| Observation::NotWritten(error.to_string());
    let mut params = serde_json::to_value(params).map_err(unwritten)?;
    if let Value::Object(params) = &mut params {
        let ttl = i32::try_from(limit.whole.as_millis()).unwrap_or(LONGEST_TTL_MS);
        params.insert("task".to_owned(), json!({ "ttl": ttl }));
    }
    Ok(ClientRequest::CustomRequest(CustomRequest::new("tools/call", Some(params))))
}

fn raw(result: ServerResult) -> Result<Map<String, Value>, Observation> {
    match result {
        ServerResult::CustomResult(CustomResult(Value::Object(result))) => Ok(result),
        _ => Err(Observation::Unreadable("its result is no object".to_owned())),
    }
}

/// A task at its server. Dropped before the task has ended, it is cancelled there.
struct OpenTask<'a> {
    connection: &'a Arc<Connection>,
    id: String,
    has_ended: bool,
}

impl Drop for OpenTask<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.cancel_task(std::mem::take(&mut self.id));
        }
    }
}

/// A call whose task is under way.
struct TaskCall<'a> {
    open: OpenTask<'a>,
    /// The task as it was seen last.
    task: Task,
    company: Company<'a>,
    progress: CallProgress,
}

impl TaskCall<'_> {
    /// Waits until the task has ended, and returns its result.
    async fn result(mut self) -> Result<Answer, Observation> {
        let mut asked_early = false;
        loop {
            match self.task.status.as_str() {
                "working" => {}
                "completed" => {
                    self.open.has_ended = true;
                    let result = self.ask("tasks/result").await.map_err(without_result)?;
                    return read_answer(result);
                }
                "failed" => {
                    self.open.has_ended = true;
                    return self.failure().await;
                }
                "cancelled" => {
                    self.open.has_ended = true;
                    let why = format!("the server cancelled it{}", self.message());
                    return Err(Observation::TaskLost(why));
                }
                // The protocol wants the client to ask for the result now: the server sends its question meanwhile, and
                // answers once the task has ended.
                "input_required" if !asked_early => match self.ask("tasks/result").await {
                    Ok(result) => {
                        self.open.has_ended = true;
                        return read_answer(result);
                    }
                    // Some servers do not wait. The status says how the task goes on.
                    Err(Observation::JsonRpc { .. }) => asked_early = true,
                    Err(seen) => return Err(without_result(seen)),
                },
                "input_required" => {}
                other => {
                    let why = format!("the status of the task is unknown{}", self.shown(other));
                    return Err(Observation::TaskLost(why));
                }
            }
            self.pause().await?;
            let task = self.ask("tasks/get").await.map_err(without_status)?;
            self.task = Task::read(&task).map_err(Observation::TaskLost)?;
        }
    }

    /// The result of a task that failed: an answer by which the tool says so, or a fault with the words of the server.
    async fn failure(&mut self) -> Result<Answer, Observation> {
        let result = self.ask("tasks/result").await;
        let seen = match result.and_then(read_answer) {
            Ok(answer) if answer.is_error => return Ok(answer),
            Err(seen @ Observation::Reported { .. }) => return Err(seen),
            Ok(_) => None,
            Err(seen) => Some(seen),
        };
        let why = match seen {
            Some(Observation::JsonRpc { message, .. }) if self.task.message.is_none() => self.shown(&message),
            _ => self.message(),
        };
        Err(Observation::TaskFailed(why))
    }

    async fn pause(&mut self) -> Result<(), Observation> {
        let Self { open, task, company, progress } = self;
        let paused = open.connection.pause(*company, task.pause, progress).await;
        paused.map_err(|seen| self.in_time(seen))
    }

    /// Makes a request about the task, and returns its result as it came.
    async fn ask(&mut self, method: &str) -> Result<Map<String, Value>, Observation> {
        let request = CustomRequest::new(method, Some(json!({ "taskId": self.open.id })));
        let request = ClientRequest::CustomRequest(request);
        let asked = self.open.connection.request_of_call(self.company, request, &mut self.progress).await;
        asked.and_then(raw).map_err(|seen| self.in_time(seen))
    }

    /// What was seen; of a deadline also the state of the task.
    fn in_time(&self, seen: Observation) -> Observation {
        match seen {
            Observation::Deadline(reached, said) => {
                let waits = if self.task.status == "input_required" {
                    ": it waits for the answer of a person"
                } else {
                    ""
                };
                let status = &self.task.status;
                let message = self.message();
                Observation::Deadline(
                    reached,
                    format!("; the status of its task is `{status}`{waits}{message}{said}"),
                )
            }
            seen => seen,
        }
    }

    /// The words of the server about the task, after a colon. Empty if there are none.
    fn message(&self) -> String {
        self.task.message.as_deref().map(|message| self.shown(message)).unwrap_or_default()
    }

    /// The beginning of a text after a colon, as one line. Secrets are hidden before it is cut, or the first part of one would be seen.
    fn shown(&self, text: &str) -> String {
        let hidden = self.open.connection.secrets().hide(text);
        let line = hidden.split_whitespace().collect::<Vec<_>>().join(" ");
        let beginning: String = line.chars().take(MESSAGE_CHARS).collect();
        if beginning.is_empty() { beginning } else { format!(": {beginning}") }
    }
}

fn read_answer(result: Map<String, Value>) -> Result<Answer, Observation> {
    match answer(result)? {
        Answered::Now(answer) => Ok(answer),
        Answered::ByTask(_) | Answered::Again { .. } => {
            Err(Observation::BadAnswer("the result of a task is no result of a tool".to_owned()))
        }
    }
}

/// What it means for the call when the status of its task cannot be had: the tool may be at work.
fn without_status(seen: Observation) -> Observation {
    match classify(&seen) {
        (_, Sent::Maybe, _) => seen,
        (FaultClass::Unavailable, ..) => Observation::Closed(seen.to_string()),
        _ => Observation::TaskLost(seen.to_string()),
    }
}

/// What it means for the call when the result of its task cannot be had. An answer that came and cannot be read is one.
fn without_result(seen: Observation) -> Observation {
    match (classify(&seen), &seen) {
        (_, Observation::JsonRpc { .. }) => Observation::TaskLost(seen.to_string()),
        ((_, Sent::Answered, _), _) => seen,
        _ => without_status(seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(task: Value) -> Result<Task, String> {
        Task::read(task.as_object().expect("an object"))
    }

    #[test]
    fn the_pause_between_two_questions_is_bounded() {
        let pause = |named: Value| read(json!({"taskId": "7", "pollInterval": named})).map(|task| task.pause);
        for (named, wanted) in [
            (json!(1500), Duration::from_millis(1500)),
            (json!(0), SHORTEST_PAUSE),
            (json!(1e300), DEFAULT_PAUSE),
            (json!(3_600_000), LONGEST_PAUSE),
            (json!(-5), DEFAULT_PAUSE),
            (json!("soon"), DEFAULT_PAUSE),
            (Value::Null, DEFAULT_PAUSE),
        ] {
            assert_eq!(pause(named.clone()), Ok(wanted), "{named}");
        }
    }

    #[test]
    fn a_task_needs_an_id_and_is_at_work_unless_it_says_otherwise() {
        assert_eq!(read(json!({"status": "working"})), Err("it is a task without a `taskId`".to_owned()));
        assert_eq!(read(json!({"taskId": "7"})).map(|task| task.status), Ok("working".to_owned()));
    }

    #[test]
    fn a_task_is_kept_for_as_long_as_the_call_may_last_and_a_timer_can() {
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
