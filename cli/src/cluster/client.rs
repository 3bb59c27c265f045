//! A client of a cluster: sends requests to the NATS service that every scheduler provides, and receives run updates.
//!
//! Requests and answers are JSON on `longshore.v1.api.<namespace>.<verb>`, the same that any other NATS client sends.

use std::time::Duration;

use async_nats::{HeaderMap, Message, RequestError, RequestErrorKind};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_nats::NatsClient;
use longshore_ports::{DeadLetter, RunPage, RunQuery, WorkflowVersion};
use longshore_proto::{
    CallUpdate, Digest, Namespace, RunId, RunSummary, RunView, Signal, StepPath, SubmitBody, TraceContext,
    WorkflowName, subject,
};
use longshore_scheduler::Verb;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::connect;
use super::refusal::{Refusal, refusal_of};
use crate::config::{Config, SettingKey};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::trace;

/// Deadline of an answer. A scheduler answers a submit once it is in the log, and the election of a JetStream leader takes
/// about four seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Number of times that a request is repeated while no scheduler listens, because a scheduler may be starting.
const MAX_RETRIES: usize = 10;
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A connection for requests.
pub(crate) struct Client {
    nats: NatsClient,
    /// The namespace of all requests.
    namespace: Namespace,
    /// The address of NATS and its origin, for messages.
    description: String,
}

/// Answer to a submit.
#[derive(Debug, Deserialize)]
pub(crate) struct SubmitAnswer {
    /// The run.
    pub(crate) run: RunId,
    /// The version that the run executes. Older schedulers do not send it.
    pub(crate) digest: Option<Digest>,
    /// An earlier submit with the same id created the run.
    #[serde(default)]
    pub(crate) existed: bool,
}

/// A registered workflow with the text of one version.
#[derive(Debug, Deserialize)]
pub(crate) struct RegisteredText {
    /// The version.
    #[serde(flatten)]
    pub(crate) version: WorkflowVersion,
    /// All versions, the current one first.
    pub(crate) versions: Vec<WorkflowVersion>,
    /// The text.
    pub(crate) text: String,
}

/// A part of a value of a run.
#[derive(Debug, Deserialize)]
pub(crate) struct ValuePart {
    /// Size of the whole value as JSON text, in bytes.
    pub(crate) bytes: usize,
    /// Offset of the part, in bytes.
    pub(crate) offset: usize,
    /// The text of the part.
    pub(crate) text: String,
}

/// A notification about a run that is watched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RunNotification {
    /// The run has changed.
    Changed,
    /// The run has ended.
    Ended,
    /// Activity of a call of the run. The state of the run is unchanged.
    Call(CallUpdate),
}

/// Size of the largest call update that is read, several times what a worker sends.
const CALL_UPDATE_BYTES: usize = 8 * 1024;

/// The reason of the refusal to cancel a run that has ended.
const ENDED: &str = "ended";

impl Client {
    /// Connects to the cluster. With `verbose` the address is printed first.
    pub(crate) async fn connect(config: &Config, verbose: bool, output: &Output) -> Result<Self, Failure> {
        let description =
            format!("the cluster at {} ({})", config.nats(), config.origin(SettingKey::NatsUrl));
        if verbose {
            output.message(&format!("sending requests to {description}"));
        }
        let nats = connect::client(config, "longshore-cli", config.connect_deadline).await?;
        Ok(Self { nats, namespace: config.namespace.clone(), description })
    }

    /// Submits a run. Once this returns, the run reaches a terminal state.
    pub(crate) async fn submit(&self, body: &SubmitBody) -> Result<SubmitAnswer, Failure> {
        self.ask(Verb::Submit, body).await
    }

    /// Requests a run in full.
    pub(crate) async fn get(&self, run: RunId) -> Result<RunView, Failure> {
        self.try_get(run).await?.map_err(|refusal| refusal.failure)
    }

    /// Requests a run in full. A refusal means that a scheduler answered.
    pub(crate) async fn try_get(&self, run: RunId) -> Result<Result<RunView, Refusal>, Failure> {
        self.answer(Verb::Get, &json!({ "run": run })).await
    }

    /// Requests a part of a value of a run, from an offset on.
    pub(crate) async fn value(
        &self,
        run: RunId,
        step: Option<&StepPath>,
        is_content: bool,
        offset: usize,
    ) -> Result<ValuePart, Failure> {
        let body = json!({ "run": run, "step": step, "content": is_content, "offset": offset });
        self.ask(Verb::Output, &body).await
    }

    /// Requests a page of runs of the namespace, newest first.
    pub(crate) async fn list(&self, query: &RunQuery) -> Result<RunPage, Failure> {
        self.ask(Verb::List, &list_body(query)).await
    }

    /// Requests the newest runs of the namespace, with every run whose submit was answered before. A refusal means that a
    /// partition has changes that are not stored yet.
    pub(crate) async fn newest(&self, count: usize) -> Result<Result<RunPage, Refusal>, Failure> {
        self.answer(Verb::List, &json!({ "limit": count, "wait": true })).await
    }

    /// Cancels or terminates a run. Returns the scheduler's message if the run has already ended.
    pub(crate) async fn cancel(&self, run: RunId, signal: &Signal) -> Result<Option<String>, Failure> {
        // Schedulers of older versions refuse a field that they do not know.
        let body = match signal {
            Signal::Cancel { reason } => json!({ "run": run, "reason": reason }),
            Signal::Terminate { reason } => json!({ "run": run, "reason": reason, "terminate": true }),
        };
        match self.answer::<Value>(Verb::Cancel, &body).await? {
            Ok(_) => Ok(None),
            Err(Refusal { reason, failure }) if reason == ENDED => Ok(Some(failure.message)),
            Err(refusal) => Err(refusal.failure),
        }
    }

    /// Registers a workflow.
    pub(crate) async fn push(&self, text: &str) -> Result<WorkflowVersion, Failure> {
        self.ask(Verb::Push, &json!({ "text": text })).await
    }

    /// Requests the current version of every workflow.
    pub(crate) async fn workflows(&self) -> Result<Vec<WorkflowVersion>, Failure> {
        self.ask(Verb::Workflows, &json!({})).await
    }

    /// Requests a version of a workflow by the beginning of its digest, or the current version.
    pub(crate) async fn workflow(
        &self,
        name: &WorkflowName,
        version: Option<&str>,
    ) -> Result<RegisteredText, Failure> {
        self.ask(Verb::Workflow, &json!({ "workflow": name, "version": version })).await
    }

    /// Requests the newest dead letters.
    pub(crate) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Failure> {
        self.ask(Verb::Dlq, &json!({ "limit": limit })).await
    }

    /// Requests one dead letter.
    pub(crate) async fn dead_letter(&self, number: u64) -> Result<DeadLetter, Failure> {
        self.ask(Verb::DlqGet, &json!({ "number": number })).await
    }

    /// Submits the submit in a dead letter again.
    pub(crate) async fn retry_dead_letter(&self, number: u64) -> Result<SubmitAnswer, Failure> {
        self.ask(Verb::DlqRetry, &json!({ "number": number })).await
    }

    /// Removes a dead letter.
    pub(crate) async fn drop_dead_letter(&self, number: u64) -> Result<(), Failure> {
        self.ask::<Value>(Verb::DlqDrop, &json!({ "number": number })).await.map(drop)
    }

    /// Removes a workflow from the registry, and returns the number of versions that it had.
    pub(crate) async fn unregister(&self, name: &WorkflowName) -> Result<usize, Failure> {
        let answer: Value = self.ask(Verb::Unregister, &json!({ "workflow": name })).await?;
        let versions = answer.get("versions").and_then(Value::as_u64).unwrap_or_default();
        Ok(usize::try_from(versions).unwrap_or(usize::MAX))
    }

    /// Subscribes to the notifications about a run.
    pub(crate) async fn listen(&self, run: RunId) -> Result<BoxStream<'static, RunNotification>, Failure> {
        let events = self.nats.events().subscribe(&self.namespace, run).await;
        let events = events.map_err(|error| Failure::new(connect::exit_of(&error), error.to_string()))?;
        Ok(events.filter_map(async |(what, body)| notification(&what, &body)).boxed())
    }

    /// Returns the NATS connection, for measurements.
    pub(crate) fn connection(&self) -> async_nats::Client {
        self.nats.client()
    }

    /// Closes the connection. A connection that is only dropped stays open until the process ends.
    pub(crate) async fn close(&self) {
        self.nats.close().await;
    }

    /// Returns the address of the cluster and its origin, for messages.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Sends a request. A refusal of the scheduler is a failure.
    async fn ask<T: DeserializeOwned>(
        &self,
        verb: Verb,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        self.answer(verb, body).await?.map_err(|refusal| refusal.failure)
    }

    /// Sends a request. Returns the refusal of the scheduler, if there is one, with its reason.
    async fn answer<T: DeserializeOwned>(
        &self,
        verb: Verb,
        body: &(impl Serialize + Sync),
    ) -> Result<Result<T, Refusal>, Failure> {
        let broken = |why: String| {
            Failure::new(Exit::Error, format!("{} of {}: {why}", verb.as_str(), self.description))
        };
        let body = serde_json::to_vec(body).map_err(|error| broken(error.to_string()))?;
        // NATS reports a missing permission on the connection and not as an answer, so no answer would come.
        let requested = tokio::select! { biased;
            cause = self.nats.denied() => return Err(self.not_permitted(&cause)),
            answer = timeout(ANSWER_LIMIT, self.request(verb, body.into())) => answer,
        };
        let answer = match requested {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                return Err(self.no_scheduler());
            }
            Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => {
                return Err(broken(error.to_string()));
            }
            _ => {
                let message =
                    format!("no scheduler of {} answered within {ANSWER_LIMIT:?}", self.description);
                let help = match verb {
                    // A scheduler that is suspended still has the request, and may process it later.
                    Verb::Submit => {
                        "the submit may be accepted nevertheless, and `longshore runs list` shows it then; with the same --id a \
                         submit can be repeated and is one run"
                    }
                    _ => "`longshore doctor` looks for the reason",
                };
                return Err(Failure::new(Exit::Unreachable, message).help(help));
            }
        };
        if let Some(refusal) =
            answer.headers.as_ref().and_then(|headers| refusal_of(headers, &answer.payload))
        {
            return Ok(Err(refusal));
        }
        serde_json::from_slice(&answer.payload)
            .map(Ok)
            .map_err(|error| broken(format!("its answer cannot be read: {error}")))
    }

    /// Sends a request, and repeats it for a second while no scheduler listens: one may be starting or reconnecting.
    async fn request(&self, verb: Verb, body: Bytes) -> Result<Message, RequestError> {
        let (client, headers) = (self.nats.client(), trace());
        let mut tries = 0;
        loop {
            let request = client.request_with_headers(
                subject::api(&self.namespace, verb.as_str()),
                headers.clone(),
                body.clone(),
            );
            match request.await {
                Err(error) if error.kind() == RequestErrorKind::NoResponders && tries < MAX_RETRIES => {
                    tries += 1;
                    sleep(RETRY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    fn no_scheduler(&self) -> Failure {
        let namespace = &self.namespace;
        let message = format!("no scheduler answers in {} for namespace `{namespace}`", self.description);
        Failure::new(Exit::Unreachable, message).help(
            "start one with `longshore scheduler`, or use a NATS user that may ask for this namespace; runs of one process \
             are shown by `runs list` and `runs show` with --data",
        )
    }

    fn not_permitted(&self, cause: &str) -> Failure {
        let message = format!("{} does not allow this user to send the request: {cause}", self.description);
        let help = format!(
            "use a NATS user of the namespace `{}`, or name its own with --namespace",
            self.namespace
        );
        Failure::new(Exit::Denied, message).help(help)
    }
}

/// Returns headers with the trace context of the request. A submitted run continues the trace.
fn trace() -> HeaderMap {
    let TraceContext { traceparent, tracestate } = trace::context();
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent.as_str());
    if let Some(tracestate) = tracestate {
        headers.insert("tracestate", tracestate.as_str());
    }
    headers
}

fn notification(what: &str, body: &[u8]) -> Option<RunNotification> {
    if what == "call" {
        let update = serde_json::from_slice(body.get(..CALL_UPDATE_BYTES.min(body.len()))?);
        // A newer worker may send an activity that this version does not know.
        return update.ok().map(RunNotification::Call);
    }
    let summary = (what == "run").then(|| serde_json::from_slice::<RunSummary>(body).ok()).flatten();
    let has_ended = summary.is_some_and(|summary| summary.status.is_terminal());
    Some(if has_ended { RunNotification::Ended } else { RunNotification::Changed })
}

/// Returns the body of a request for a list.
fn list_body(query: &RunQuery) -> Value {
    let mut body = json!({
        "status": query.statuses,
        "workflow": query.workflow,
        "since": query.since,
        "labels": query.labels,
        "after": query.after,
        "limit": query.limit,
    });
    // Schedulers of earlier versions refuse a field that they do not know.
    if query.indeterminate
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("indeterminate".to_owned(), Value::Bool(true));
    }
    body
}
