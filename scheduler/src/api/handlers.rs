//! Handlers of requests: JSON in, JSON out.
//!
//! Runs are shown as of their last checkpoint, 100 or 200 ms ago, so every scheduler can answer for every partition. A run
//! that no checkpoint has is unknown only if the checkpoint covers the log; see [`RequestHandlers::find`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use longshore_machine::{Run, RunValue};
use longshore_ports::{Backend, Catalog, DeadLetters, RunPage, RunQuery, RunRow, WorkflowVersion};
use longshore_proto::{IdError, Incarnation, Namespace, Partition, RunId, RunView, Seq, Signal, SubmitBody};
use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;
use tracing::debug;

use super::bodies::{
    CancelBody, DeadLetterBody, DeadLettersBody, EmptyBody, GetBody, ListBody, OutputBody, PushBody,
    WorkflowBody, read,
};
use super::error_response::ErrorResponse;
use super::request::{Api, ApiRequest, Verb};
use super::run_value::ValueReader;
use super::{truncate, waiting};
use crate::audit::audit_request;
use crate::outputs::fill_outputs;
use crate::refusal::Refusal;
use crate::run_metrics;
use crate::submit::SubmitHandler;
use crate::submit_request::SubmitRequest;
use crate::trace;
use crate::value_count::REQUEST_LIMIT_BYTES;

/// Tries to find a run in a checkpoint that is behind its log, and the pause between two of them. The next checkpoint is due
/// within 200 ms, unless its store accepts no writes or the partition has no leader.
const FIND_TRIES: u32 = 5;
const FIND_PAUSE: Duration = Duration::from_millis(100);

/// Longest reason of a cancel, in bytes. The log keeps every reason for good, also of a run that has ended meanwhile.
const CANCEL_REASON_BYTES: usize = 4 * 1024;

/// The handlers of all requests.
pub struct RequestHandlers {
    pub(super) backend: Backend,
    pub(super) submits: Arc<SubmitHandler>,
    catalog: Arc<dyn Catalog>,
    pub(super) dead_letters: Arc<dyn DeadLetters>,
    values: ValueReader,
}

#[async_trait]
impl Api for RequestHandlers {
    async fn answer(&self, verb: Verb, request: ApiRequest) -> Result<Vec<u8>, ErrorResponse> {
        let answer = self.handle(verb, &request).await;
        if verb.is_change() {
            let ApiRequest { namespace, headers, body } = &request;
            audit_request(namespace, verb.as_str(), headers, body, answer.as_deref());
        }
        answer.inspect_err(run_metrics::count_refused_request).map_err(ErrorResponse::from)
    }
}

impl RequestHandlers {
    /// Creates the handlers for a backend.
    pub fn new(
        backend: Backend,
        submits: Arc<SubmitHandler>,
        catalog: Arc<dyn Catalog>,
        dead_letters: Arc<dyn DeadLetters>,
    ) -> Self {
        let values = ValueReader::new(Arc::clone(&backend.blobs));
        Self { backend, submits, catalog, dead_letters, values }
    }

    async fn handle(&self, verb: Verb, request: &ApiRequest) -> Result<Vec<u8>, Refusal> {
        let (namespace, registry) = (&request.namespace, &self.submits.registry);
        match verb {
            Verb::Submit => self.handle_submit(request).await,
            Verb::Get => {
                let GetBody { run, .. } = read(request).await?;
                document(truncate::view(self.get(namespace, run).await?))
            }
            Verb::Output => {
                let OutputBody { run, step, content, offset, .. } = read(request).await?;
                let row = self.find(namespace, run).await?;
                document(self.values.part(&row, &RunValue::of(step, content), offset).await?)
            }
            Verb::List => self.handle_list(request).await,
            Verb::Cancel => self.handle_cancel(request).await,
            Verb::Workflows => {
                let EmptyBody { .. } = read(request).await?;
                document(registry.list(namespace).await?)
            }
            Verb::Workflow => {
                let WorkflowBody { workflow, version, .. } = read(request).await?;
                document(registry.get(namespace, &workflow, version.as_deref()).await?)
            }
            Verb::Push => {
                let PushBody { text, .. } = read(request).await?;
                document(self.push(namespace, &text).await?)
            }
            Verb::Unregister => {
                let WorkflowBody { workflow, .. } = read(request).await?;
                let versions = registry.remove(namespace, &workflow).await?;
                document(json!({ "workflow": workflow, "versions": versions }))
            }
            Verb::Dlq => {
                let DeadLettersBody { limit, .. } = read(request).await?;
                document(self.list_dead_letters(namespace, limit).await?)
            }
            Verb::DlqGet => {
                let DeadLetterBody { number, .. } = read(request).await?;
                document(self.dead_letter(namespace, number).await?)
            }
            Verb::DlqRetry => {
                let DeadLetterBody { number, .. } = read(request).await?;
                document(self.retry_dead_letter(namespace, number).await?)
            }
            Verb::DlqDrop => {
                let DeadLetterBody { number, .. } = read(request).await?;
                self.remove_dead_letter(namespace, number).await?;
                document(json!({ "number": number }))
            }
        }
    }

    async fn handle_submit(&self, request: &ApiRequest) -> Result<Vec<u8>, Refusal> {
        let SubmitBody { workflow, version, id, inputs, .. } = read(request).await?;
        let malformed = |reason: String| Refusal::Malformed(format!("the request is refused: {reason}"));
        let workflow = workflow.ok_or_else(|| malformed("missing field `workflow`".to_owned()))?;
        let workflow = workflow.parse().map_err(|error: IdError| malformed(error.to_string()))?;
        let namespace = request.namespace.clone();
        let trace = trace::from_headers(&request.headers);
        let submit = SubmitRequest { namespace, workflow, version, id, inputs, trace };
        document(self.submits.submit(submit).await?)
    }

    async fn handle_list(&self, request: &ApiRequest) -> Result<Vec<u8>, Refusal> {
        let ListBody { status, workflow, since, labels, indeterminate, after, limit, wait, .. } =
            read(request).await?;
        if wait {
            self.wait_for_checkpoints().await?;
        }
        let (namespace, statuses) = (Some(request.namespace.clone()), status.into_statuses());
        let labels = labels.0;
        let query = RunQuery { namespace, statuses, workflow, since, labels, indeterminate, after, limit };
        document(truncate::list(self.list(query).await?))
    }

    async fn handle_cancel(&self, request: &ApiRequest) -> Result<Vec<u8>, Refusal> {
        let CancelBody { run, reason, terminate, .. } = read(request).await?;
        if reason.len() > CANCEL_REASON_BYTES {
            let (bytes, limit) = (reason.len(), CANCEL_REASON_BYTES);
            let error = format!("the request is refused: `reason` has {bytes} bytes; the limit is {limit}");
            return Err(Refusal::Malformed(error));
        }
        let reason = if reason.is_empty() { "asked for".to_owned() } else { reason };
        let signal = if terminate { Signal::Terminate { reason } } else { Signal::Cancel { reason } };
        self.cancel(&request.namespace, run, signal).await?;
        document(json!({ "run": run }))
    }

    /// Returns a run of a namespace in full, with the reasons why its steps wait.
    pub async fn get(&self, namespace: &Namespace, run: RunId) -> Result<RunView, Refusal> {
        let row = self.find(namespace, run).await?;
        let run = Run::decode(&row.state).map_err(|error| Refusal::Unreadable { run, error })?;
        let mut view = run.view();
        fill_outputs(&mut view, &*self.backend.blobs, REQUEST_LIMIT_BYTES as u64).await?;
        waiting::explain(&mut view, &run, &*self.catalog, &*self.backend.jobs).await;
        Ok(view)
    }

    /// Registers a workflow and makes it the current version.
    pub async fn push(&self, namespace: &Namespace, text: &str) -> Result<WorkflowVersion, Refusal> {
        self.submits.registry.push(namespace, text).await
    }

    /// Returns a page of runs, newest first. While the checkpoint store accepts no writes, the page says so, because it lacks
    /// the runs and changes that no checkpoint has.
    async fn list(&self, query: RunQuery) -> Result<RunPage, Refusal> {
        let checkpoints = &self.backend.checkpoints;
        let (page, writable) = tokio::join!(checkpoints.runs(query), checkpoints.probe());
        let incomplete = writable.err().map(|error| error.to_string());
        Ok(RunPage { incomplete, ..page? })
    }

    /// Cancels or terminates a run. Returns once the signal is in the log; the run ends a little later.
    ///
    /// While runs cannot be read, the signal is appended without a check. The leader ignores it for a run that is unknown, of
    /// another namespace, or has ended.
    async fn cancel(&self, namespace: &Namespace, run: RunId, signal: Signal) -> Result<(), Refusal> {
        match self.find(namespace, run).await {
            Ok(row) if row.summary.status.is_terminal() => {
                return Err(Refusal::Ended { run, status: row.summary.status });
            }
            Ok(_) => {}
            Err(refusal) if refusal.is_temporary() => {
                debug!(%run, %refusal, "cannot read a run; cancelling it without a check");
            }
            Err(refusal) => return Err(refusal),
        }
        Ok(self.submits.intake.signal(namespace, run, signal).await?)
    }

    /// Returns the stored row of a run of a namespace. A run that is not found is unknown only if the checkpoint covers the
    /// log as of the request; the request waits a little for a checkpoint that is behind. A run of another namespace is
    /// answered in the same way, and as slowly, as a run that does not exist.
    pub(super) async fn find(&self, namespace: &Namespace, run: RunId) -> Result<RunRow, Refusal> {
        let partition = run.partition();
        // A partition that does not exist has neither a log nor a checkpoint.
        if partition.0 >= self.submits.partitions {
            return Err(Refusal::UnknownRun(run));
        }
        if let Some(row) = self.row(namespace, run).await? {
            return Ok(row);
        }
        let end = self.log_end(partition).await?;
        for _ in 0..FIND_TRIES {
            // The mark before the row: a row that is read later is at least as new as the mark.
            let is_covered = self.is_covered(partition, &end).await?;
            if let Some(row) = self.row(namespace, run).await? {
                return Ok(row);
            }
            if is_covered {
                return Err(Refusal::UnknownRun(run));
            }
            sleep(FIND_PAUSE).await;
        }
        Err(Refusal::NotStored { run, cause: self.backend.checkpoints.probe().await.err() })
    }

    /// Waits until the checkpoint of every partition covers its log as of the call, so that a list has every run whose submit
    /// was answered before.
    async fn wait_for_checkpoints(&self) -> Result<(), Refusal> {
        let each = (0..self.submits.partitions).map(|number| self.wait_for_checkpoint(Partition(number)));
        try_join_all(each).await.map(drop)
    }

    async fn wait_for_checkpoint(&self, partition: Partition) -> Result<(), Refusal> {
        let end = self.log_end(partition).await?;
        for _ in 0..FIND_TRIES {
            if self.is_covered(partition, &end).await? {
                return Ok(());
            }
            sleep(FIND_PAUSE).await;
        }
        Err(Refusal::ListBehind { partition, cause: self.backend.checkpoints.probe().await.err() })
    }

    /// Returns the incarnation of a log and its last sequence.
    async fn log_end(&self, partition: Partition) -> Result<(Incarnation, Seq), Refusal> {
        let log = &self.backend.log;
        Ok(tokio::try_join!(log.incarnation(partition), log.tail(partition))?)
    }

    /// Returns true if the checkpoint of a partition has everything up to an end of its log.
    async fn is_covered(
        &self,
        partition: Partition,
        (incarnation, tail): &(Incarnation, Seq),
    ) -> Result<bool, Refusal> {
        let mark = self.backend.checkpoints.mark(partition).await?;
        Ok(mark.is_some_and(|mark| mark.incarnation == *incarnation && mark.seq >= *tail))
    }

    /// Returns the row of a run of a namespace as of the last checkpoint.
    async fn row(&self, namespace: &Namespace, run: RunId) -> Result<Option<RunRow>, Refusal> {
        let row = self.backend.checkpoints.run(run).await?;
        Ok(row.filter(|row| row.summary.namespace == *namespace))
    }
}

fn document(answer: impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(&answer)
        .map_err(|error| Refusal::Malformed(format!("the answer cannot be written as JSON: {error}")))
}
