//! What people ask for and get, whatever they ask through: submit, get, list, cancel, workflows, push.
//!
//! ```text
//!   doorway (plain publishes) ─┐
//!   api (requests)            ─┴─► Desk ──► Intake ──► LOG
//!                                   ├─────► Workflows, blobs   which version, its text
//!                                   └─────► checkpoints, Catalog   where a run stands, and why it waits
//! ```
//!
//! Runs are shown as of their last checkpoint, a tenth or a fifth of a second ago: every scheduler can answer for every partition.
//! A run that no checkpoint has is unknown only if the checkpoint covers the log; see [`Desk::find`].

mod admission;
mod again;
mod answers;
pub(crate) mod audit;
mod fit;
mod known;
mod letters;
mod quota;
mod refusal;
mod registered;
mod value;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longshore_machine::Run;
use longshore_ports::{
    Backend, Catalog, DeadLetters, RunPage, RunQuery, RunRow, SubmitIds, WorkflowVersion, Workflows, clock,
};
use longshore_proto::{Digest, Event, Namespace, Partition, RunId, RunView, TraceContext, WorkflowName};
use longshore_workflow::Plan;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::sleep;
use tracing::debug;

use crate::intake::{Intake, Submission};
use admission::Admission;
use known::Known;
use quota::Quota;
pub use refusal::Refusal;
use value::ValueReader;

/// Characters of an id that a submitter chooses: room for a UUID with a prefix, and a bound for logs.
const ID_LIMIT_CHARS: usize = 256;

/// The number of looks at a checkpoint that is behind its log, and the pause between them: the next checkpoint comes within a
/// fifth of a second, unless its store takes no writes or the partition has no leader.
const LOOKS: (u32, Duration) = (5, Duration::from_millis(100));

/// What somebody wants to run, by name.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose run it is.
    pub namespace: Namespace,
    /// The workflow.
    pub workflow: WorkflowName,
    /// Its version, as the beginning of its digest; the current one, if not said.
    pub version: Option<String>,
    /// The submitter's own id: the same id twice, in one namespace, is one run.
    pub id: Option<String>,
    /// What it is to run with.
    pub inputs: Map<String, Value>,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
}

/// What a submit came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Submitted {
    /// The run.
    pub run: RunId,
    /// The version of the workflow that it runs.
    pub digest: Digest,
    /// Whether an earlier submit with the same id was seen to have made it.
    pub existed: bool,
}

/// Where requests are served.
pub struct Desk {
    backend: Backend,
    intake: Intake,
    workflows: Arc<dyn Workflows>,
    catalog: Arc<dyn Catalog>,
    dead_letters: Arc<dyn DeadLetters>,
    submit_ids: Arc<dyn SubmitIds>,
    partitions: u16,
    admission: Admission,
    quota: Quota,
    known: Known,
    values: ValueReader,
}

impl Desk {
    /// A desk in front of a backend.
    pub fn new(
        backend: Backend,
        workflows: Arc<dyn Workflows>,
        catalog: Arc<dyn Catalog>,
        dead_letters: Arc<dyn DeadLetters>,
        submit_ids: Arc<dyn SubmitIds>,
        partitions: u16,
    ) -> Self {
        let intake = Intake::new(backend.clone(), partitions);
        let (admission, known) = (Admission::new(Arc::clone(&backend.log)), Known::default());
        let partitions = partitions.max(1);
        let quota = Quota::new(Arc::clone(&backend.checkpoints));
        Self {
            backend,
            intake,
            workflows,
            catalog,
            dead_letters,
            submit_ids,
            partitions,
            admission,
            quota,
            known,
            values: ValueReader::default(),
        }
    }

    /// With at most so many runs of each namespace that have not ended.
    #[must_use]
    pub fn with_live_limit(mut self, limit: Option<u64>) -> Self {
        self.quota.set_limit(limit);
        self
    }

    /// Submits a run. Once this returns, the run reaches a terminal state.
    pub async fn submit(&self, order: Order) -> Result<Submitted, Refusal> {
        let run = match &order.id {
            Some(id) => self.run_of_id(&order.namespace, &order.workflow, id)?,
            None => self.intake.draw_id(),
        };
        let plan = self.plan(&order.namespace, &order.workflow, order.version.as_deref());
        let (plan, (), earlier) =
            tokio::join!(plan, self.look_at_logs([run.partition()]), self.earlier(run, &order));
        let (mut plan, existed) = (plan?, earlier.is_some());
        match earlier {
            Some(earlier) => plan = self.once_more(&earlier, &order, plan).await?,
            None => self.quota.admit(&order.namespace).await?,
        }
        let (digest, is_noted) = (plan.digest, order.id.is_some() && !existed);
        let is_pinned = order.version.is_some();
        // Even where there is a run already: what was seen of it may stem from a log that has lost its end since.
        let event = self.check(run, order, plan).await?;
        let existed = existed || (is_noted && self.noted(&event, is_pinned).await?);
        self.record(run.partition(), &[event]).await?;
        Ok(Submitted { run, digest, existed })
    }

    /// Looks whether the logs of some partitions have room, so that submits to them need not wait for that.
    pub(crate) async fn look_at_logs(&self, partitions: impl IntoIterator<Item = Partition>) {
        let partitions: BTreeSet<Partition> = partitions.into_iter().collect();
        let looks = partitions.into_iter().map(|partition| self.admission.admit(partition));
        // What was not seen, or has no room, is for each submit to find.
        join_all(looks).await;
    }

    /// The same for an order that was published: it counts against the quota of its namespace.
    pub(crate) async fn check_published(
        &self,
        run: RunId,
        order: Order,
        plan: Arc<Plan>,
    ) -> Result<Event, Refusal> {
        self.quota.admit(&order.namespace).await?;
        self.check(run, order, plan).await
    }

    /// Checks an order whose run and plan are known, and makes the record of it.
    pub(crate) async fn check(&self, run: RunId, order: Order, plan: Arc<Plan>) -> Result<Event, Refusal> {
        self.admission.admit(run.partition()).await?;
        let Order { namespace, inputs, trace, .. } = order;
        Ok(self.intake.check(Submission { run, namespace, plan, inputs, trace }).await?)
    }

    /// Records checked orders for runs of one partition. Once this returns, they reach a terminal state.
    pub(crate) async fn record(&self, partition: Partition, submitted: &[Event]) -> Result<(), Refusal> {
        Ok(self.intake.record(partition, submitted).await?)
    }

    /// The plan of a registered workflow.
    pub(crate) async fn plan(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: Option<&str>,
    ) -> Result<Arc<Plan>, Refusal> {
        let digest = match self.known.named(namespace, workflow, version) {
            Some(digest) => digest,
            None => {
                let versions = self.workflows.versions(namespace, workflow).await?;
                let digest = choose(&versions, namespace, workflow, version)?;
                self.known.note(namespace, workflow, digest);
                digest
            }
        };
        Ok(self.intake.plan(namespace, digest).await?)
    }

    /// The run of a workflow that a submitter's own id stands for: always the same one.
    pub(crate) fn run_of_id(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        id: &str,
    ) -> Result<RunId, Refusal> {
        if id.is_empty() || id.chars().count() > ID_LIMIT_CHARS || id.chars().any(char::is_control) {
            return Err(Refusal::Id);
        }
        // Neither holds a slash before the first one, so no two of them can be read as one.
        Ok(self.derived(namespace, &format!("{workflow}/{id}")))
    }

    /// The run that a message stands for when its submitter chose no id: the same for every delivery of it.
    pub(crate) fn run_of_place(&self, namespace: &Namespace, place: &str) -> RunId {
        // An id holds no control characters, so no id can mean the same run.
        self.derived(namespace, &format!("\0{place}"))
    }

    fn derived(&self, namespace: &Namespace, key: &str) -> RunId {
        let hash = Digest::of(format!("{namespace}/{key}").as_bytes()).prefix();
        let partition = u16::try_from(hash % u128::from(self.partitions)).unwrap_or_default();
        RunId::derived(Partition(partition), namespace, key)
    }

    /// A run of a namespace in full, with the reasons why it waits.
    pub async fn get(&self, namespace: &Namespace, run: RunId) -> Result<RunView, Refusal> {
        let row = self.find(namespace, run).await?;
        let run = Run::read(&row.state).map_err(|error| Refusal::Unreadable { run, error })?;
        let mut view = run.view();
        waiting::explain(&mut view, &run, &*self.catalog, &*self.backend.jobs).await;
        Ok(view)
    }

    /// A page of runs, newest first.
    ///
    /// While the store takes no writes, the page says so: it lacks the runs and changes that no checkpoint has.
    pub async fn list(&self, query: RunQuery) -> Result<RunPage, Refusal> {
        let checkpoints = &self.backend.checkpoints;
        let (page, writable) = tokio::join!(checkpoints.runs(query), checkpoints.probe());
        let incomplete = writable.err().map(|error| error.to_string());
        Ok(RunPage { incomplete, ..page? })
    }

    /// Tells a run to stop. Returns once that is in the log; the run ends a little later.
    ///
    /// While it cannot be seen where runs stand, the signal is sent all the same: the leader ignores it for a run that is
    /// unknown, of another namespace, or has ended.
    pub async fn cancel(&self, namespace: &Namespace, run: RunId, reason: &str) -> Result<(), Refusal> {
        match self.find(namespace, run).await {
            Ok(row) if row.summary.status.is_terminal() => {
                return Err(Refusal::Ended { run, status: row.summary.status });
            }
            Ok(_) => {}
            Err(refusal) if refusal.may_pass() => debug!(%run, %refusal, "cancelled without a look at it"),
            Err(refusal) => return Err(refusal),
        }
        Ok(self.intake.cancel(namespace, run, reason).await?)
    }

    /// The current version of every workflow.
    pub async fn workflows(&self, namespace: &Namespace) -> Result<Vec<WorkflowVersion>, Refusal> {
        Ok(self.workflows.list(namespace).await?)
    }

    /// Registers a workflow and makes it the current version.
    pub async fn push(&self, namespace: &Namespace, text: &str) -> Result<WorkflowVersion, Refusal> {
        let plan = self.intake.register_for(namespace, text).await?;
        let registered = WorkflowVersion { name: plan.name.clone(), digest: plan.digest, at: clock::now() };
        self.workflows.register(namespace, &registered).await?;
        Ok(registered)
    }

    /// Returns a run of a namespace as it is kept. A run that is not found is unknown only if the checkpoint covers what the log
    /// held when the request came; the request waits a moment for a checkpoint that is behind. A run of another namespace is
    /// as unknown as one that never was, and the answer takes as long.
    async fn find(&self, namespace: &Namespace, run: RunId) -> Result<RunRow, Refusal> {
        let partition = run.partition();
        // A partition that does not exist has no log and no checkpoint to ask for.
        if partition.0 >= self.partitions {
            return Err(Refusal::UnknownRun(run));
        }
        if let Some(row) = self.row(namespace, run).await? {
            return Ok(row);
        }
        let Backend { log, checkpoints, .. } = &self.backend;
        let (incarnation, tail) = tokio::try_join!(log.incarnation(partition), log.tail(partition))?;
        let (looks, pause) = LOOKS;
        for _ in 0..looks {
            // In this order: the rows are at least as new as the mark.
            let mark = checkpoints.mark(partition).await?;
            if let Some(row) = self.row(namespace, run).await? {
                return Ok(row);
            }
            if mark.is_some_and(|mark| mark.incarnation == incarnation && mark.seq >= tail) {
                return Err(Refusal::UnknownRun(run));
            }
            sleep(pause).await;
        }
        Err(Refusal::NotStored { run, cause: checkpoints.probe().await.err() })
    }

    /// The row of a run of a namespace, as of the last checkpoint.
    async fn row(&self, namespace: &Namespace, run: RunId) -> Result<Option<RunRow>, Refusal> {
        let row = self.backend.checkpoints.run(run).await?;
        Ok(row.filter(|row| row.summary.namespace == *namespace))
    }
}

/// The version that is meant, of those that are registered.
fn choose(
    versions: &[WorkflowVersion],
    namespace: &Namespace,
    workflow: &WorkflowName,
    version: Option<&str>,
) -> Result<Digest, Refusal> {
    let current = versions.first().ok_or_else(|| Refusal::UnknownWorkflow {
        namespace: namespace.clone(),
        workflow: workflow.clone(),
    })?;
    let Some(prefix) = version else { return Ok(current.digest) };
    let prefix = prefix.to_ascii_lowercase();
    let meant: Vec<_> = versions.iter().filter(|one| one.digest.to_string().starts_with(&prefix)).collect();
    match meant.as_slice() {
        [one] if !prefix.is_empty() => Ok(one.digest),
        [] => Err(Refusal::UnknownVersion {
            workflow: workflow.clone(),
            version: prefix.chars().take(64).collect(),
            current: current.digest.short(),
        }),
        several => Err(Refusal::AmbiguousVersion {
            workflow: workflow.clone(),
            version: prefix,
            count: several.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::Timestamp;

    #[test]
    fn a_version_is_chosen_by_the_beginning_of_its_digest() {
        let namespace: Namespace = "default".parse().expect("a namespace");
        let name: WorkflowName = "demo".parse().expect("a name");
        let registered = |text: &[u8]| WorkflowVersion {
            name: name.clone(),
            digest: Digest::of(text),
            at: Timestamp::default(),
        };
        let versions = [registered(b"new"), registered(b"old")];
        let choose = |version: Option<&str>| choose(&versions, &namespace, &name, version);
        assert_eq!(choose(None).expect("the current one"), Digest::of(b"new"));
        let old = Digest::of(b"old");
        assert_eq!(choose(Some(&old.short())).expect("an older one"), old);
        assert_eq!(choose(Some(&old.to_string().to_uppercase())).expect("in capitals"), old);
        assert!(matches!(choose(Some("zz")), Err(Refusal::UnknownVersion { .. })));
        assert!(matches!(choose(Some("")), Err(Refusal::AmbiguousVersion { count: 2, .. })));
    }
}
