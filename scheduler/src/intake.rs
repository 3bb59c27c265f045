//! Intake of submits and signals: checks them and appends them to the log. They are accepted once they are appended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::{Backend, Error, ErrorCause, clock};
use longshore_proto::{
    BLOB_VALUE_LIMIT, Digest, Event, INLINE_LIMIT_BYTES, Namespace, Partition, Payload, RunId, Semantics,
    Signal, TraceContext, subject::BLOBS_STREAM,
};
use longshore_workflow::{Diagnostics, InputProblems, Plan, compile};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::blocking::CheckSlots;
use crate::payload::put_value;
use crate::submit_request::SubmitRequest;
use crate::value_count::{TooManyValues, check_json};

/// Maximum number of inputs (given or declared) that are checked on the thread of the runtime: about 1 ms of work.
const FEW_INPUTS: usize = 64;

/// Maximum number of plans in memory. Beyond that, all are dropped, and compiled again when they are used.
const MOST_PLANS: usize = 1_000;

/// Time for which a text counts as stored after it was seen in the store, which may lose it. A run whose text is gone fails at
/// once, so this is short; a look takes less than a millisecond for most texts.
const TEXT_SEEN_FOR: Duration = Duration::from_secs(2);

/// Checks submits and signals, and appends them.
pub struct Intake {
    backend: Backend,
    partitions: u16,
    /// Plans of workflows whose texts are stored.
    plans: Mutex<BTreeMap<Digest, KnownPlan>>,
    checks: CheckSlots,
}

/// A compiled plan, and when its text was last seen in the store.
struct KnownPlan {
    plan: Arc<Plan>,
    text_seen_at: Instant,
}

/// Reason why a run was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The workflow has problems.
    #[error("{0}")]
    Workflow(Diagnostics),
    /// The inputs do not fit the workflow.
    #[error("{0}")]
    Inputs(InputProblems),
    /// The inputs hold more values than a run can read.
    #[error("the inputs are refused: {0}")]
    TooManyValues(#[from] TooManyValues),
    /// The text of a registered workflow is gone.
    #[error("the text of workflow {} is gone: push it again", .0.short())]
    TextMissing(Digest),
    /// The store of large values is full.
    #[error(
        "there is no room for large values: the stream {BLOBS_STREAM} is full, and nothing is removed from it yet. Inputs up to \
         64 KiB are still accepted. An operator makes room by raising `max_file` of the NATS account, and `max_bytes` of the \
         stream if it was set by hand"
    )]
    BlobsFull(#[source] Error),
    /// The submit could not be made durable.
    #[error(transparent)]
    Backend(#[from] Error),
}

impl Intake {
    /// Creates the intake of a backend whose runs are distributed over some partitions.
    pub fn new(backend: Backend, partitions: u16) -> Self {
        Self {
            backend,
            partitions: partitions.max(1),
            plans: Mutex::default(),
            checks: CheckSlots::default(),
        }
    }

    /// Returns a new run id, in a random partition.
    pub fn draw_id(&self) -> RunId {
        let random: u128 = rand::random();
        let partition = u16::try_from(random % u128::from(self.partitions)).unwrap_or_default();
        RunId::new(Partition(partition), clock::now(), random)
    }

    /// Returns a new run id in this partition.
    pub fn draw_id_in(partition: Partition) -> RunId {
        RunId::new(partition, clock::now(), rand::random())
    }

    /// Checks a workflow of this process and stores its text.
    pub async fn register(&self, text: &str) -> Result<Arc<Plan>, SubmitError> {
        self.register_in(&Namespace::default(), text).await
    }

    /// Checks a workflow of a namespace and stores its text, which is durable once this returns. The text of a known plan is
    /// stored again, because the store may have lost it.
    pub(crate) async fn register_in(
        &self,
        namespace: &Namespace,
        text: &str,
    ) -> Result<Arc<Plan>, SubmitError> {
        let plan = self.compile(namespace, Digest::of(text.as_bytes()), text).await?;
        self.backend.blobs.put(text.as_bytes().to_vec()).await.map_err(store_error)?;
        self.keep_plan(&plan);
        Ok(plan)
    }

    /// Returns the plan of a workflow of a namespace whose text is stored.
    pub(crate) async fn registered_plan(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<Arc<Plan>, SubmitError> {
        let known = self.known_plan(digest);
        if let Some(plan) = &known
            && !self.is_look_due(digest)
        {
            return Ok(Arc::clone(plan));
        }
        let found = self.backend.blobs.get(digest).await;
        if known.is_some() && !matches!(found, Ok(Some(_))) {
            // The next submit looks again.
            self.plans().remove(&digest);
        }
        let bytes = match (found?, known) {
            (Some(_), Some(plan)) => return Ok(plan),
            (Some(bytes), None) => bytes,
            (None, known) => {
                if known.is_some() {
                    error!(%namespace, workflow = %digest, "the text of a workflow is gone from the store; refusing its submits until it is pushed again");
                }
                return Err(SubmitError::TextMissing(digest));
            }
        };
        // The texts of registered workflows did compile, but possibly with another version of the workflow language.
        let plan = self.compile(namespace, digest, &String::from_utf8_lossy(&bytes)).await?;
        self.keep_plan(&plan);
        Ok(plan)
    }

    /// Compiles a text once the namespace has a slot, unless the plan is known by then.
    async fn compile(
        &self,
        namespace: &Namespace,
        digest: Digest,
        text: &str,
    ) -> Result<Arc<Plan>, SubmitError> {
        if let Some(plan) = self.known_plan(digest) {
            return Ok(plan);
        }
        let permit = self.checks.acquire(namespace).await;
        if let Some(plan) = self.known_plan(digest) {
            return Ok(plan);
        }
        let text = text.to_owned();
        permit.run(move || compile(&text)).await.map(Arc::new).map_err(SubmitError::Workflow)
    }

    fn known_plan(&self, digest: Digest) -> Option<Arc<Plan>> {
        self.plans().get(&digest).map(|known| Arc::clone(&known.plan))
    }

    /// Returns true if the caller has to look if the text of a known plan is still stored. Other submits continue meanwhile.
    fn is_look_due(&self, digest: Digest) -> bool {
        let mut plans = self.plans();
        let due = plans.get_mut(&digest).filter(|known| known.text_seen_at.elapsed() >= TEXT_SEEN_FOR);
        due.map(|known| known.text_seen_at = Instant::now()).is_some()
    }

    fn keep_plan(&self, plan: &Arc<Plan>) {
        let mut plans = self.plans();
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        plans.insert(plan.digest, KnownPlan { plan: Arc::clone(plan), text_seen_at: Instant::now() });
    }

    /// Submits a run of a plan. Once this returns, the run reaches a terminal state.
    pub async fn submit(
        &self,
        run: RunId,
        plan: &Arc<Plan>,
        request: SubmitRequest,
    ) -> Result<RunId, SubmitError> {
        let event = self.check(run, plan, request).await?;
        self.append(run.partition(), &[event]).await?;
        Ok(run)
    }

    /// Checks a submit. Returns the event to append.
    pub(crate) async fn check(
        &self,
        run: RunId,
        plan: &Arc<Plan>,
        request: SubmitRequest,
    ) -> Result<Event, SubmitError> {
        let SubmitRequest { namespace, inputs, trace, .. } = request;
        let inputs = self.accept(&namespace, plan, inputs).await?;
        self.submitted(run, namespace, plan, inputs, trace).await
    }

    /// Checks the inputs of a run of a namespace, and adds defaults.
    pub(crate) async fn accept(
        &self,
        namespace: &Namespace,
        plan: &Arc<Plan>,
        inputs: Map<String, Value>,
    ) -> Result<Value, SubmitError> {
        let accepted = if inputs.len().max(plan.inputs.len()) <= FEW_INPUTS {
            plan.accept_inputs(inputs)
        } else {
            let (permit, plan) = (self.checks.acquire(namespace).await, Arc::clone(plan));
            permit.run(move || plan.accept_inputs(inputs)).await
        };
        accepted.map_err(SubmitError::Inputs)
    }

    /// Returns the event of a submit whose inputs were accepted. Stores large inputs as a blob.
    pub(crate) async fn submitted(
        &self,
        run: RunId,
        namespace: Namespace,
        plan: &Plan,
        inputs: Value,
        trace: Option<TraceContext>,
    ) -> Result<Event, SubmitError> {
        let text = inputs.to_string();
        let inputs = if text.len() <= INLINE_LIMIT_BYTES {
            Payload::Inline(inputs)
        } else {
            check_json(text.as_bytes(), BLOB_VALUE_LIMIT)?;
            put_value(&*self.backend.blobs, text).await.map_err(store_error)?
        };
        let (workflow, semantics) = (plan.reference(), Semantics::NEWEST);
        Ok(Event::Submitted { run, namespace, workflow, semantics, inputs, trace })
    }

    /// Appends checked submits to the log of a partition, together. Once this returns, their runs reach a terminal state.
    pub(crate) async fn append(&self, partition: Partition, submitted: &[Event]) -> Result<(), Error> {
        self.backend.log.append(partition, submitted).await.map(drop)
    }

    /// Sends a request to a run of a namespace. Returns once it is in the log; the run changes a little later. A run of another
    /// namespace ignores the request.
    pub async fn signal(&self, namespace: &Namespace, run: RunId, signal: Signal) -> Result<(), Error> {
        let event = Event::Signalled { run, namespace: namespace.clone(), signal };
        self.backend.log.append(run.partition(), &[event]).await.map(drop)
    }

    fn plans(&self) -> MutexGuard<'_, BTreeMap<Digest, KnownPlan>> {
        // A panic elsewhere leaves the map valid: every change to it is a single call.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Converts an error of the blob store.
fn store_error(error: Error) -> SubmitError {
    if error.cause == ErrorCause::Full {
        warn!(%error, "cannot store a large value; refusing the request");
        SubmitError::BlobsFull(error)
    } else {
        SubmitError::Backend(error)
    }
}
