//! Evaluations that the state waits for: values are fetched, expressions evaluated on another thread, and the results appended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;

use longshore_machine::{EvaluationOutcome, LargeValues, Machine, PendingEvaluation};
use longshore_ports::{Blobs, on_blocking_thread};
use longshore_proto::{
    BLOB_LIMIT_BYTES, BLOB_VALUE_LIMIT, Digest, Evaluation, EvaluationNumber, Event, Fault, FaultClass,
    INLINE_LIMIT_BYTES, Payload, RunId,
};
use longshore_workflow::StepIndex;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tracing::warn;

use crate::payload::put_value;
use crate::retry::retry;
use crate::value_count::check_json;

/// Maximum number of concurrent evaluations of a process. Each may hold values of [`READ_LIMIT_BYTES`].
const CONCURRENT: usize = 2;

/// Evaluations of all partitions of this process share these slots.
static SLOTS: Semaphore = Semaphore::const_new(CONCURRENT);

/// Maximum number of bytes of large values that one evaluation reads, as JSON text: one value of the largest size.
const READ_LIMIT_BYTES: u64 = BLOB_LIMIT_BYTES as u64;

/// Name of an evaluation.
type EvaluationKey = (RunId, Option<StepIndex>, EvaluationNumber);

/// The evaluations of one partition.
pub(super) struct Evaluations {
    blobs: Arc<dyn Blobs>,
    waiting: VecDeque<EvaluationKey>,
    running: JoinSet<Event>,
    /// The evaluations that run, by their tasks.
    tasks: BTreeMap<Id, EvaluationKey>,
    /// The evaluations that wait or run.
    known: BTreeSet<EvaluationKey>,
}

impl Evaluations {
    pub(super) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self {
            blobs,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            tasks: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// Adds evaluations, and starts as many as there are slots.
    pub(super) fn start(&mut self, keys: Vec<EvaluationKey>, machine: &Machine) {
        self.waiting.extend(keys.into_iter().filter(|key| self.known.insert(*key)));
        while self.running.len() < CONCURRENT
            && let Some(key) = self.waiting.pop_front()
        {
            let (run, step, number) = key;
            match machine.pending_evaluation(run, step, number) {
                Some(evaluation) => {
                    let task = self.running.spawn(evaluate(Arc::clone(&self.blobs), evaluation));
                    self.tasks.insert(task.id(), key);
                }
                None => _ = self.known.remove(&key),
            }
        }
    }

    /// Waits for the end of an evaluation, and returns the event with its result. Safe to cancel.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let Some(ended) = self.running.join_next_with_id().await else { return pending().await };
            let task = match &ended {
                Ok((task, _)) => *task,
                Err(error) => error.id(),
            };
            if let Some(key) = self.tasks.remove(&task) {
                self.known.remove(&key);
            }
            match ended {
                Ok((_, event)) => return event,
                // The task was cancelled with its runtime: the next leader evaluates again.
                Err(error) => warn!(%error, "an evaluation ended early"),
            }
        }
    }
}

/// Evaluates until all values are there, and stores a large result.
async fn evaluate(blobs: Arc<dyn Blobs>, evaluation: PendingEvaluation) -> Event {
    let (run, step, number) = (evaluation.run(), evaluation.step(), evaluation.number());
    let result = match result(&*blobs, evaluation).await {
        Ok(result) => result,
        Err(fault) => Evaluation::Fault { fault },
    };
    Event::Evaluated { run, step, number, result }
}

async fn result(blobs: &dyn Blobs, mut evaluation: PendingEvaluation) -> Result<Evaluation, Fault> {
    // The semaphore is never closed.
    let _slot = SLOTS.acquire().await;
    let (mut values, mut bytes) = (LargeValues::default(), 0_u64);
    loop {
        let evaluate = move || {
            let outcome = evaluation.evaluate(&values);
            (evaluation, values, outcome)
        };
        let outcome;
        (evaluation, values, outcome) = on_blocking_thread(evaluate).await;
        match outcome {
            EvaluationOutcome::Needs(digests) => {
                for digest in digests {
                    bytes = bytes.saturating_add(evaluation.bytes_of(digest).unwrap_or(READ_LIMIT_BYTES));
                    check_read(bytes)?;
                    values.insert(digest, fetch(blobs, digest).await?);
                }
            }
            EvaluationOutcome::Call { arguments, secrets, own_key } => {
                let (text, arguments) = on_blocking_thread(move || {
                    let value = Value::Object(arguments);
                    (value.to_string(), value)
                })
                .await;
                let is_large = text.len() > INLINE_LIMIT_BYTES;
                let shown = if is_large { evaluation.shown(text.clone()) } else { String::new() };
                let arguments = store(blobs, text, arguments).await?;
                return Ok(Evaluation::Call { arguments, shown, secrets, own_key });
            }
            EvaluationOutcome::Value(value) => {
                let (text, value) = on_blocking_thread(move || (value.to_string(), value)).await;
                return Ok(Evaluation::Value { value: store(blobs, text, value).await? });
            }
            EvaluationOutcome::Done(result) => return Ok(result),
        }
    }
}

/// Refuses an evaluation that reads too much.
fn check_read(bytes: u64) -> Result<(), Fault> {
    if bytes <= READ_LIMIT_BYTES {
        return Ok(());
    }
    let mebibyte = 1024 * 1024;
    let problem = format!(
        "the values that it reads have {} MiB together; at most {} MiB can be read by one step: pass large values by a file or an \
         address",
        bytes.div_ceil(mebibyte),
        READ_LIMIT_BYTES / mebibyte
    );
    Err(Fault::new(FaultClass::ValueTooLarge, problem))
}

/// Fetches a large value. While its store does not answer, the step waits.
async fn fetch(blobs: &dyn Blobs, digest: Digest) -> Result<Arc<Value>, Fault> {
    let lost =
        |why: String| Fault::new(FaultClass::ValueLost, format!("the large value {} {why}", digest.short()));
    let bytes =
        retry("fetch a value", || blobs.get(digest)).await.map_err(|error| lost(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| lost("is gone".to_owned()))?;
    let decode = move || {
        check_json(&bytes, BLOB_VALUE_LIMIT).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map(Arc::new).map_err(|_| "it is no JSON".to_owned())
    };
    on_blocking_thread(decode).await.map_err(|why| lost(format!("cannot be read: {why}")))
}

/// Stores a large result.
async fn store(blobs: &dyn Blobs, text: String, value: Value) -> Result<Payload, Fault> {
    if text.len() <= INLINE_LIMIT_BYTES {
        return Ok(Payload::Inline(value));
    }
    // No later step could read it.
    let check = move || (check_json(text.as_bytes(), BLOB_VALUE_LIMIT), text);
    let (checked, text) = on_blocking_thread(check).await;
    checked.map_err(|error| {
        Fault::new(FaultClass::ValueTooLarge, format!("its value cannot be kept: {error}"))
    })?;
    let stored = retry("store a value", || put_value(blobs, text.clone())).await;
    stored.map_err(|error| Fault::new(FaultClass::Internal, format!("its value cannot be stored: {error}")))
}
