//! One attempt of a job: its arguments, the call, and its metrics and log lines.

use std::time::Duration;

use longshore_attempt::{Answer, CallFault, FinishedCall, Input, SpilledAnswer};
use longshore_ports::{Error, clock, run_by_size};
use longshore_proto::{
    Attempt, CallActivity, Digest, Fault, FaultClass, Job, NodeId, Payload, Sent, ServerInstance,
};
use metrics::{counter, histogram};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{debug, info};

use super::job_task::JobTask;
use super::retry::retry;
use crate::large_values::approximate_bytes;
use crate::mcp::{CallingJob, EndedCall, SecretRecipient, ToolCall};

impl JobTask<'_> {
    /// Makes one attempt. Returns an error if the arguments cannot be fetched.
    pub(super) async fn call(&self, number: Attempt) -> Result<Input, Error> {
        let cancelled = Fault::new(FaultClass::Cancelled, "cancelled before the call");
        let arguments = tokio::select! {
            biased;
            arguments = self.arguments() => arguments?,
            // The store of large arguments may be away for long.
            () = self.call_cancelled.cancelled() => Err(&cancelled),
        };
        let (started_at, start) = (clock::now(), Instant::now());
        let Job { namespace, server, tool, secrets, .. } = self.job;
        let recipient = SecretRecipient { namespace, server, tool };
        let filled = arguments
            .map_err(Fault::clone)
            .and_then(|arguments| self.context.pool.bound_secrets().fill(&recipient, arguments, secrets));
        let EndedCall { process, masked, result } = match filled {
            Ok(filled) => self.send(number, &filled).await,
            Err(fault) => {
                let result = Err(CallFault { fault, sent: Sent::Never });
                EndedCall { process: None, masked: Vec::new(), result }
            }
        };
        let took = start.elapsed();
        count_call(self.job, number, took, &result);
        log_attempt(self.job, number, (&self.context.node, process.as_ref()), took, &result);
        self.context.mask_warnings.warn(self.job, &masked);
        let result = match result {
            Ok(answer) => Ok(self.spill(answer).await),
            Err(fault) => Err(fault),
        };
        Ok(Input::CallEnded(Box::new(FinishedCall { process, started_at, took, masked, result })))
    }

    async fn send(&self, number: Attempt, arguments: &Map<String, Value>) -> EndedCall {
        let Job { id, server, tool, timeout, max_timeout, idempotency_key, trace, .. } = self.job;
        let call = ToolCall {
            server,
            tool,
            arguments,
            timeout: *timeout,
            max_timeout: *max_timeout,
            idempotency_key,
            trace: trace.as_ref(),
            job: Some(CallingJob { run: id.run, step: &id.step, delivered: self.delivery_count }),
        };
        let report = |activity| self.report(number, activity);
        self.context.pool.call(call, &report, &self.call_cancelled).await
    }

    /// Encodes an answer for the record of the attempt.
    async fn spill(&self, answer: Answer) -> SpilledAnswer {
        let (bytes, keep_content) =
            (approximate_bytes([&answer.value, &answer.content]), self.job.keep_content);
        run_by_size(bytes, move || answer.spill(keep_content)).await
    }

    fn report(&self, number: Attempt, activity: CallActivity) {
        if matches!(activity, CallActivity::Progress(_)) {
            self.heartbeat.note_progress();
        }
        self.updates.note(number, activity);
    }

    /// Returns the arguments of the call, or the fault of arguments that cannot be used.
    async fn arguments(&self) -> Result<Result<&Map<String, Value>, &Fault>, Error> {
        if let Payload::Inline(Value::Object(arguments)) = &self.job.arguments {
            return Ok(Ok(arguments));
        }
        let fetched = self.fetched_arguments.get_or_try_init(|| async {
            match &self.job.arguments {
                Payload::Inline(other) => Ok(as_object(other.clone())),
                Payload::Blob { digest, .. } => self.fetch(*digest).await,
            }
        });
        Ok(fetched.await?.as_ref())
    }

    async fn fetch(&self, digest: Digest) -> Result<Result<Map<String, Value>, Fault>, Error> {
        let blobs = &self.context.backend.blobs;
        let Some(text) = retry("fetch arguments", || blobs.get(digest)).await? else {
            return Ok(Err(unusable(format!("the blob {digest} that holds the arguments is missing"))));
        };
        let parsed = run_by_size(text.len(), move || serde_json::from_slice(&text)).await;
        Ok(match parsed {
            Ok(value) => as_object(value),
            Err(error) => {
                Err(unusable(format!("the blob {digest} that holds the arguments is not JSON: {error}")))
            }
        })
    }
}

fn as_object(value: Value) -> Result<Map<String, Value>, Fault> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(unusable("the arguments are not an object")),
    }
}

fn unusable(message: impl Into<String>) -> Fault {
    Fault::new(FaultClass::Internal, message)
}

/// Logs one attempt in one line. The message of a fault is logged at debug level only: it can be long, and the run has it.
fn log_attempt(
    job: &Job,
    number: Attempt,
    (worker, process): (&NodeId, Option<&ServerInstance>),
    took: Duration,
    result: &Result<Answer, CallFault>,
) {
    let Job { id, server, tool, .. } = job;
    let outcome = match result {
        Ok(answer) if answer.is_error => "tool_error",
        Ok(_) => "answered",
        Err(CallFault { fault, .. }) => fault.class.as_str(),
    };
    let process = process.map_or_else(|| "none".to_owned(), ToString::to_string);
    info!(%server, %tool, run = %id.run, step = %id.step, attempt = %number, %worker, process, ?took, outcome, "called a tool");
    if let Err(CallFault { fault, sent }) = result {
        debug!(run = %id.run, step = %id.step, attempt = %number, %fault, ?sent, "the call ended with a fault");
    }
}

/// Counts an attempt, including one that failed before the call.
fn count_call(job: &Job, number: Attempt, took: Duration, result: &Result<Answer, CallFault>) {
    let outcome = match result {
        Ok(answer) if answer.is_error => FaultClass::ToolError.as_str(),
        Ok(_) => "ok",
        Err(CallFault { fault, .. }) => fault.class.as_str(),
    };
    let labels = [("server", job.server.to_string()), ("tool", job.tool.to_string())];
    histogram!("longshore_tool_call_duration_seconds", &labels).record(took);
    let [server, tool] = labels;
    counter!("longshore_tool_calls_total", &[server.clone(), tool, ("outcome", outcome.to_owned())])
        .increment(1);
    if number > job.id.attempt {
        let reason = ("reason", "in_place".to_owned());
        counter!("longshore_step_retries_total", &[server, reason]).increment(1);
    }
}
