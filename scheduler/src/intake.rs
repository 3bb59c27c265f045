//! What comes in: submits and signals, checked, made durable, and only then acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use longshore_ports::{Backend, ErrorCause, clock};
use longshore_proto::{
    Digest, Event, INLINE_LIMIT_BYTES, Namespace, Partition, Payload, RunId, Signal, TraceContext,
    subject::BLOBS_STREAM,
};
use longshore_workflow::{Diagnostics, InputProblems, Plan, compile};
use serde_json::{Map, Value};
use tracing::warn;

use crate::checks::Checks;

/// Inputs, given or declared, up to which they are checked where they are: about 1 ms of work.
const FEW_INPUTS: usize = 64;

/// Plans this process remembers to have registered. Past this, all are forgotten and registered again when they
/// come back: registering twice is harmless.
const REMEMBERED: usize = 1_000;

/// The door for everything from outside.
pub struct Intake {
    backend: Backend,
    /// Runs are spread over this many partitions.
    partitions: u16,
    registered: Mutex<BTreeMap<Digest, Arc<Plan>>>,
    checks: Checks,
}

/// What somebody wants to run.
pub struct Submission {
    /// The run's id, drawn by [`Intake::draw_id`] or derived from the submitter's own key.
    pub run: RunId,
    /// Whose it is.
    pub namespace: Namespace,
    /// The plan, registered.
    pub plan: Arc<Plan>,
    /// What it is to run with.
    pub inputs: Map<String, Value>,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// Why nothing was submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The workflow has problems.
    #[error("{0}")]
    Workflow(Diagnostics),
    /// The inputs do not fit the workflow.
    #[error("{0}")]
    Inputs(InputProblems),
    /// The text of a registered workflow is gone.
    #[error("the text of workflow {} is gone: push it again", .0.short())]
    TextMissing(Digest),
    /// The store of large values is full.
    #[error(
        "there is no room for large values: the stream {BLOBS_STREAM} is full, and nothing is removed from it yet. Inputs up to \
         64 KiB are still taken in. An operator makes room by raising `max_file` of the NATS account, and `max_bytes` of the \
         stream if it was set by hand"
    )]
    BlobsFull(#[source] longshore_ports::Error),
    /// It could not be made durable.
    #[error(transparent)]
    Backend(#[from] longshore_ports::Error),
}

impl Intake {
    /// A door onto a backend.
    pub fn new(backend: Backend, partitions: u16) -> Self {
        Self {
            backend,
            partitions: partitions.max(1),
            registered: Mutex::default(),
            checks: Checks::default(),
        }
    }

    /// A new run id, in a partition drawn at random.
    pub fn draw_id(&self) -> RunId {
        let random: u128 = rand::random();
        let partition = u16::try_from(random % u128::from(self.partitions)).unwrap_or_default();
        RunId::new(Partition(partition), clock::now(), random)
    }

    /// A new run id in this partition.
    pub fn draw_id_in(partition: Partition) -> RunId {
        RunId::new(partition, clock::now(), rand::random())
    }

    /// Checks a workflow of this process itself and keeps its text.
    pub async fn register(&self, text: &str) -> Result<Arc<Plan>, SubmitError> {
        self.register_for(&Namespace::default(), text).await
    }

    /// Checks a workflow that a namespace brings, and keeps its text, durable once this returns. The text of a known plan is
    /// kept again, because the store may have been lost since.
    pub(crate) async fn register_for(
        &self,
        namespace: &Namespace,
        text: &str,
    ) -> Result<Arc<Plan>, SubmitError> {
        let plan = self.compile(namespace, Digest::of(text.as_bytes()), text).await?;
        self.put_blob(text.as_bytes().to_vec()).await?;
        self.remember(&plan);
        Ok(plan)
    }

    /// The plan of a workflow of a namespace whose text is kept.
    pub(crate) async fn plan(&self, namespace: &Namespace, digest: Digest) -> Result<Arc<Plan>, SubmitError> {
        if let Some(plan) = self.known(digest) {
            return Ok(plan);
        }
        let bytes = self.backend.blobs.get(digest).await?.ok_or(SubmitError::TextMissing(digest))?;
        // Only texts that compiled are registered, but perhaps by a version with another language.
        let plan = self.compile(namespace, digest, &String::from_utf8_lossy(&bytes)).await?;
        self.remember(&plan);
        Ok(plan)
    }

    /// Compiles a text when the namespace has its turn, unless its plan is known by then.
    async fn compile(
        &self,
        namespace: &Namespace,
        digest: Digest,
        text: &str,
    ) -> Result<Arc<Plan>, SubmitError> {
        if let Some(plan) = self.known(digest) {
            return Ok(plan);
        }
        let turn = self.checks.turn(namespace).await;
        if let Some(plan) = self.known(digest) {
            return Ok(plan);
        }
        let text = text.to_owned();
        turn.run(move || compile(&text)).await.map(Arc::new).map_err(SubmitError::Workflow)
    }

    fn known(&self, digest: Digest) -> Option<Arc<Plan>> {
        self.remembered().get(&digest).cloned()
    }

    fn remember(&self, plan: &Arc<Plan>) {
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(plan.digest, Arc::clone(plan));
    }

    /// Submits a run. Once this returns, the run reaches a terminal state.
    pub async fn submit(&self, submission: Submission) -> Result<RunId, SubmitError> {
        let run = submission.run;
        let event = self.check(submission).await?;
        self.record(run.partition(), &[event]).await?;
        Ok(run)
    }

    /// Checks a submission and makes the record of it.
    pub(crate) async fn check(&self, submission: Submission) -> Result<Event, SubmitError> {
        let Submission { run, namespace, plan, inputs, trace } = submission;
        let inputs = self.accept(&namespace, &plan, inputs).await?;
        let inputs = self.kept(inputs).await?;
        Ok(Event::Submitted { run, namespace, workflow: plan.reference(), inputs, trace })
    }

    /// The inputs of a run of a namespace, checked, with defaults filled in.
    pub(crate) async fn accept(
        &self,
        namespace: &Namespace,
        plan: &Arc<Plan>,
        inputs: Map<String, Value>,
    ) -> Result<Value, SubmitError> {
        let accepted = if inputs.len().max(plan.inputs.len()) <= FEW_INPUTS {
            plan.accept_inputs(inputs)
        } else {
            let (turn, plan) = (self.checks.turn(namespace).await, Arc::clone(plan));
            turn.run(move || plan.accept_inputs(inputs)).await
        };
        accepted.map_err(SubmitError::Inputs)
    }

    /// Records submissions in a partition, all together. Once this returns, their runs reach a terminal state.
    pub(crate) async fn record(
        &self,
        partition: Partition,
        submitted: &[Event],
    ) -> Result<(), longshore_ports::Error> {
        self.backend.log.append(partition, submitted).await.map(drop)
    }

    /// Asks a run of a namespace to stop. Returns once that is in the log; the run ends a little later. A run of another
    /// namespace ignores it.
    pub async fn cancel(
        &self,
        namespace: &Namespace,
        run: RunId,
        reason: &str,
    ) -> Result<(), longshore_ports::Error> {
        let signal = Signal::Cancel { reason: reason.to_owned() };
        let event = Event::Signalled { run, namespace: namespace.clone(), signal };
        self.backend.log.append(run.partition(), &[event]).await?;
        Ok(())
    }

    /// A value as it travels: itself, or the address of a blob.
    async fn kept(&self, value: Value) -> Result<Payload, SubmitError> {
        let text = value.to_string();
        if text.len() <= INLINE_LIMIT_BYTES {
            return Ok(Payload::Inline(value));
        }
        let bytes = text.len() as u64;
        let digest = self.put_blob(text.into_bytes()).await?;
        Ok(Payload::Blob { digest, bytes })
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, SubmitError> {
        self.backend.blobs.put(bytes).await.map_err(|error| {
            if error.cause == ErrorCause::Full {
                warn!(%error, "cannot keep a large value; refusing what brought it");
                SubmitError::BlobsFull(error)
            } else {
                SubmitError::Backend(error)
            }
        })
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<Plan>>> {
        // A panic elsewhere leaves the map whole: every change to it is a single call.
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
