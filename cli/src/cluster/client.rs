//! A client of the cluster: asks its micro service, which every scheduler answers, and hears the news of runs.
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
    CallUpdate, Digest, Namespace, RunId, RunSummary, RunView, StepPath, TraceContext, WorkflowName, subject,
};
use longshore_scheduler::Verb;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use super::denial::{Denial, denied};
use super::reach;
use crate::config::{Config, Key};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::trace;

/// How long an answer may take. A scheduler answers a submit once the log has it, and an election of JetStream's
/// leaders takes about four seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How often, and with what pause, to ask again where no scheduler listens. Whoever has just started one should not be
/// told that there is none.
const TRIES: usize = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A connection to ask through.
pub(crate) struct Client {
    nats: NatsClient,
    /// The namespace that all requests are about.
    namespace: Namespace,
    /// Where NATS is and who said so, for messages.
    place: String,
}

/// What is to be run, with what.
#[derive(Debug, Serialize)]
pub(crate) struct SubmitBody {
    /// The workflow's name.
    pub(crate) workflow: String,
    /// The submitter's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The version, as its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The inputs.
    pub(crate) inputs: Map<String, Value>,
}

/// The answer to a submit.
#[derive(Debug, Deserialize)]
pub(crate) struct Submitted {
    /// The run.
    pub(crate) run: RunId,
    /// The version that it runs; an older scheduler does not say so.
    pub(crate) digest: Option<Digest>,
    /// Whether an earlier submit with the same id made it.
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
    /// The size of the whole, as JSON text.
    pub(crate) bytes: usize,
    /// Offset of the part, in bytes.
    pub(crate) offset: usize,
    /// The part.
    pub(crate) text: String,
}

/// An event of a run that is watched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// Something has changed.
    Change,
    /// The run has ended.
    End,
    /// A worker says what a call of the run is doing. The state of the run is the same as before.
    Call(CallUpdate),
}

/// The longest update of a call that is read: several times what a worker writes.
const CALL_UPDATE_BYTES: usize = 8 * 1024;

/// The reason of a cancel that comes too late.
const ENDED: &str = "ended";

impl Client {
    /// Connects. With `verbose` it says whom it asks.
    pub(crate) async fn connect(config: &Config, verbose: bool, output: &Output) -> Result<Self, Failure> {
        let place = format!("the cluster at {} ({})", config.nats(), config.origin(Key::NatsUrl));
        if verbose {
            output.message(&format!("asking {place}"));
        }
        let nats = reach::client(config, "longshore-cli", config.connect_deadline).await?;
        Ok(Self { nats, namespace: config.namespace.clone(), place })
    }

    /// Submits a run. Once this returns, the run reaches a terminal state.
    pub(crate) async fn submit(&self, body: &SubmitBody) -> Result<Submitted, Failure> {
        self.ask(Verb::Submit, body).await
    }

    /// A run in full.
    pub(crate) async fn get(&self, run: RunId) -> Result<RunView, Failure> {
        self.ask(Verb::Get, &json!({ "run": run })).await
    }

    /// A part of a value of a run, from an offset on.
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

    /// A page of runs of this client's namespace, newest first.
    pub(crate) async fn list(&self, query: &RunQuery) -> Result<RunPage, Failure> {
        let body = json!({
            "status": query.statuses,
            "workflow": query.workflow,
            "since": query.since,
            "labels": query.labels,
            "after": query.after,
            "limit": query.limit,
        });
        self.ask(Verb::List, &body).await
    }

    /// Tells a run to stop. Of one that has ended already it says how: there is nothing left to stop.
    pub(crate) async fn cancel(&self, run: RunId, reason: &str) -> Result<Option<String>, Failure> {
        match self.answer::<Value>(Verb::Cancel, &json!({ "run": run, "reason": reason })).await? {
            Ok(_) => Ok(None),
            Err(Denial { reason, failure }) if reason == ENDED => Ok(Some(failure.message)),
            Err(denial) => Err(denial.failure),
        }
    }

    /// Registers a workflow.
    pub(crate) async fn push(&self, text: &str) -> Result<WorkflowVersion, Failure> {
        self.ask(Verb::Push, &json!({ "text": text })).await
    }

    /// The current version of every workflow.
    pub(crate) async fn workflows(&self) -> Result<Vec<WorkflowVersion>, Failure> {
        self.ask(Verb::Workflows, &json!({})).await
    }

    /// A version of a workflow, by the beginning of its digest, or the current one.
    pub(crate) async fn workflow(
        &self,
        name: &WorkflowName,
        version: Option<&str>,
    ) -> Result<RegisteredText, Failure> {
        self.ask(Verb::Workflow, &json!({ "workflow": name, "version": version })).await
    }

    /// The newest submits that were refused.
    pub(crate) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Failure> {
        self.ask(Verb::Dlq, &json!({ "limit": limit })).await
    }

    /// One of them.
    pub(crate) async fn dead_letter(&self, number: u64) -> Result<DeadLetter, Failure> {
        self.ask(Verb::DlqGet, &json!({ "number": number })).await
    }

    /// Submits one of them again.
    pub(crate) async fn retry_letter(&self, number: u64) -> Result<Submitted, Failure> {
        self.ask(Verb::DlqRetry, &json!({ "number": number })).await
    }

    /// Removes one of them.
    pub(crate) async fn drop_letter(&self, number: u64) -> Result<(), Failure> {
        self.ask::<Value>(Verb::DlqDrop, &json!({ "number": number })).await.map(drop)
    }

    /// Removes a workflow from the registry, and returns how many versions it had.
    pub(crate) async fn unregister(&self, name: &WorkflowName) -> Result<usize, Failure> {
        let answer: Value = self.ask(Verb::Unregister, &json!({ "workflow": name })).await?;
        let versions = answer.get("versions").and_then(Value::as_u64).unwrap_or_default();
        Ok(usize::try_from(versions).unwrap_or(usize::MAX))
    }

    /// Hears the news of a run from now on.
    pub(crate) async fn listen(&self, run: RunId) -> Result<BoxStream<'static, Heard>, Failure> {
        let events = self.nats.events().subscribe(&self.namespace, run).await?;
        Ok(events.filter_map(async |(what, body)| heard(&what, &body)).boxed())
    }

    /// The connection itself, for measuring.
    pub(crate) fn connection(&self) -> async_nats::Client {
        self.nats.client()
    }

    /// Ends the connection. One that is dropped goes on until the process ends.
    pub(crate) async fn close(&self) {
        self.nats.close().await;
    }

    /// Whom it asks, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        verb: Verb,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        self.answer(verb, body).await?.map_err(|denial| denial.failure)
    }

    /// The same for whoever looks at why it is denied.
    async fn answer<T: DeserializeOwned>(
        &self,
        verb: Verb,
        body: &(impl Serialize + Sync),
    ) -> Result<Result<T, Denial>, Failure> {
        let broken =
            |why: String| Failure::new(Exit::Error, format!("{} of {}: {why}", verb.as_str(), self.place));
        let body = serde_json::to_vec(body).map_err(|error| broken(error.to_string()))?;
        // What is not allowed is only said beside the connection, and no answer would come.
        let asking = tokio::select! { biased;
            cause = self.nats.denied() => return Err(self.denied(&cause)),
            answer = timeout(ANSWER_LIMIT, self.request(verb, body.into())) => answer,
        };
        let answer = match asking {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => return Err(self.nobody()),
            Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => {
                return Err(broken(error.to_string()));
            }
            _ => {
                let message = format!("no scheduler of {} answered within {ANSWER_LIMIT:?}", self.place);
                let help = match verb {
                    // A scheduler that stands still has the request, and goes on with it later.
                    Verb::Submit => {
                        "it may be taken in all the same, and `longshore runs list` shows it then; with the same --id a \
                         submit can be repeated and is one run"
                    }
                    _ => "`longshore doctor` looks for the reason",
                };
                return Err(Failure::new(Exit::Unreachable, message).help(help));
            }
        };
        if let Some(denied) = answer.headers.as_ref().and_then(|headers| denied(headers, &answer.payload)) {
            return Ok(Err(denied));
        }
        serde_json::from_slice(&answer.payload)
            .map(Ok)
            .map_err(|error| broken(format!("its answer cannot be read: {error}")))
    }

    /// Asks until somebody is there to answer, for a moment: a scheduler may be starting, or connecting anew.
    async fn request(&self, verb: Verb, body: Bytes) -> Result<Message, RequestError> {
        let (client, headers) = (self.nats.client(), trace());
        let mut tries = 0;
        loop {
            let asking = client.request_with_headers(
                subject::api(&self.namespace, verb.as_str()),
                headers.clone(),
                body.clone(),
            );
            match asking.await {
                Err(error) if error.kind() == RequestErrorKind::NoResponders && tries < TRIES => {
                    tries += 1;
                    sleep(BETWEEN_TRIES).await;
                }
                answer => return answer,
            }
        }
    }

    fn nobody(&self) -> Failure {
        let namespace = &self.namespace;
        let message = format!("no scheduler answers in {} for namespace `{namespace}`", self.place);
        Failure::new(Exit::Unreachable, message).help(
            "start one with `longshore scheduler`, or use a NATS user that may ask for this namespace; runs of one process \
             are shown by `runs list` and `runs show` with --data",
        )
    }

    fn denied(&self, cause: &str) -> Failure {
        let message = format!("{} does not allow this user what it asks for: {cause}", self.place);
        let help = format!(
            "use a NATS user of the namespace `{}`, or name its own with --namespace",
            self.namespace
        );
        Failure::new(Exit::Denied, message).help(help)
    }
}

/// The trace that a request belongs to: a run goes on with it.
fn trace() -> HeaderMap {
    let TraceContext { traceparent, tracestate } = trace::context();
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent.as_str());
    if let Some(tracestate) = tracestate {
        headers.insert("tracestate", tracestate.as_str());
    }
    headers
}

fn heard(what: &str, body: &[u8]) -> Option<Heard> {
    if what == "call" {
        let update = serde_json::from_slice(body.get(..CALL_UPDATE_BYTES.min(body.len()))?);
        // A newer worker may publish an activity that this version does not know.
        return update.ok().map(Heard::Call);
    }
    let summary = (what == "run").then(|| serde_json::from_slice::<RunSummary>(body).ok()).flatten();
    let is_over = summary.is_some_and(|summary| summary.status.is_terminal());
    Some(if is_over { Heard::End } else { Heard::Change })
}
