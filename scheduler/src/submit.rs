//! Submits of registered workflows, by name: one check and one append for requests and published messages.
//!
//! ```text
//!   Ingest (published messages) ─┐
//!   RequestHandlers (requests)  ─┴─► SubmitHandler ──► Intake ──► LOG
//!                                      ├─────► registry, blobs   version and plan of the workflow
//!                                      └─────► logs, checkpoints   room for more runs
//! ```
//!
//! A [`SubmitRequest`] is a submit as it was decoded. Checked, it is an [`Event::Submitted`]. The run starts once this event
//! is in the log.

mod live_runs;
mod log_room;
mod repeated;

use std::sync::Arc;

use longshore_ports::{Backend, SubmitIds, Workflows};
use longshore_proto::{Digest, Event, Namespace, Partition, RunId, WorkflowName};
use longshore_workflow::Plan;
use serde::Serialize;
use serde_json::Value;

use crate::intake::Intake;
use crate::refusal::Refusal;
use crate::registry::WorkflowRegistry;
use crate::submit_request::SubmitRequest;
use live_runs::LiveRunLimit;
pub(crate) use log_room::LogRoom;
pub(crate) use repeated::SubmitDigest;

/// Longest id that a client chooses, in characters: a UUID with a prefix fits, and log lines stay short.
const ID_LIMIT_CHARS: usize = 256;

/// The answer to a submit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct SubmitReceipt {
    /// The run.
    pub run: RunId,
    /// The version of the workflow that it runs.
    pub digest: Digest,
    /// An earlier submit with the same id created the run.
    pub existed: bool,
}

/// Checks and appends submits of registered workflows.
pub struct SubmitHandler {
    backend: Backend,
    pub(crate) intake: Arc<Intake>,
    pub(crate) registry: WorkflowRegistry,
    submit_ids: Arc<dyn SubmitIds>,
    pub(crate) partitions: u16,
    pub(crate) log_room: LogRoom,
    live_runs: LiveRunLimit,
}

/// Inputs that were checked, and the plan that they fit.
struct AcceptedInputs {
    plan: Arc<Plan>,
    inputs: Value,
}

impl SubmitHandler {
    /// Creates the handler of submits for a backend.
    pub fn new(
        backend: Backend,
        workflows: Arc<dyn Workflows>,
        submit_ids: Arc<dyn SubmitIds>,
        partitions: u16,
    ) -> Self {
        let intake = Arc::new(Intake::new(backend.clone(), partitions));
        Self {
            registry: WorkflowRegistry::new(Arc::clone(&intake), workflows, Arc::clone(&backend.blobs)),
            intake,
            submit_ids,
            partitions: partitions.max(1),
            log_room: LogRoom::new(Arc::clone(&backend.log)),
            live_runs: LiveRunLimit::new(Arc::clone(&backend.checkpoints)),
            backend,
        }
    }

    /// Limits the number of runs of each namespace that have not ended.
    #[must_use]
    pub fn with_live_limit(mut self, limit: Option<u64>) -> Self {
        self.live_runs.set_limit(limit);
        self
    }

    /// Submits a run. Once this returns, the run reaches a terminal state.
    pub async fn submit(&self, request: SubmitRequest) -> Result<SubmitReceipt, Refusal> {
        let (namespace, workflow) = (request.namespace.clone(), &request.workflow);
        let run = match &request.id {
            Some(id) => self.run_of_id(&namespace, workflow, id)?,
            None => self.intake.draw_id(),
        };
        let plan = self.registry.plan(&namespace, workflow, request.version.as_deref());
        let (plan, room, earlier) =
            tokio::join!(plan, self.log_room.check(run.partition()), self.earlier_run(run, &request));
        let plan = plan?;
        let repeated = match &earlier {
            Some(earlier) => Some(self.accept_repeated(earlier, &request, plan.clone()).await?),
            None => {
                self.live_runs.admit(&namespace).await?;
                None
            }
        };
        room?;
        let (has_run, has_id, is_pinned) =
            (repeated.is_some(), request.id.is_some(), request.version.is_some());
        let AcceptedInputs { plan, inputs } = match repeated {
            Some(accepted) => accepted,
            None => {
                let inputs = self.intake.accept(&namespace, &plan, request.inputs).await?;
                AcceptedInputs { plan, inputs }
            }
        };
        let event = self.intake.submitted(run, namespace, &plan, inputs, request.trace).await?;
        let existed = has_run || (has_id && self.note_id(&event, is_pinned).await?);
        // Also if the run exists: the log may have lost its end since the checkpoint with the run was read.
        self.intake.append(run.partition(), &[event]).await?;
        Ok(SubmitReceipt { run, digest: plan.digest, existed })
    }

    /// Checks a submit that was published, whose run, plan and room in the log are known. Returns the event to append.
    pub(crate) async fn check_published(
        &self,
        run: RunId,
        request: SubmitRequest,
        plan: &Arc<Plan>,
        room: Result<(), Arc<Refusal>>,
    ) -> Result<Event, Arc<Refusal>> {
        self.live_runs.admit(&request.namespace).await?;
        room?;
        Ok(self.intake.check(run, plan, request).await.map_err(Refusal::from)?)
    }

    /// Returns the run that belongs to an id of a client: always the same one.
    pub(crate) fn run_of_id(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        id: &str,
    ) -> Result<RunId, Refusal> {
        if id.is_empty() || id.chars().count() > ID_LIMIT_CHARS || id.chars().any(char::is_control) {
            return Err(Refusal::Id);
        }
        // A workflow name has no slash, so the key has one reading.
        Ok(self.derived_run(namespace, &format!("{workflow}/{id}")))
    }

    /// Returns the run that belongs to a message without an id, by its position in the stream.
    pub(crate) fn run_of_position(&self, namespace: &Namespace, position: &str) -> RunId {
        // An id has no control characters, so no id belongs to the same run.
        self.derived_run(namespace, &format!("\0{position}"))
    }

    fn derived_run(&self, namespace: &Namespace, key: &str) -> RunId {
        let hash = Digest::of(format!("{namespace}/{key}").as_bytes()).prefix();
        let partition = u16::try_from(hash % u128::from(self.partitions)).unwrap_or_default();
        RunId::derived(Partition(partition), namespace, key)
    }
}
