//! Scheduler and worker in one process, on one data directory that other processes may share. With its submodules this is
//! the only place that names the embedded adapters.
//!
//! ```text
//! open ──► OpenDataDir ──start──► LocalProcess ──stop──► worker drained, drivers stopped ──end──► servers and store closed
//!   take_over               (worker, drivers running)
//! ```
//!
//! Nothing is executed before `start`: until then the caller can read the interrupted runs, and refuse to continue before
//! any call is made. Each process leads its own partitions.

mod local_updates;
mod read_only;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
pub(crate) use longshore_embedded::Holder;
use longshore_embedded::{Access, Embedded, OpenError};
use longshore_machine::{Retention, Run};
use longshore_ports::{Backend, JobQueue, RunPage, RunQuery};
use longshore_proto::{CallUpdate, Digest, Namespace, NodeId, Partition, RunId, RunView};
use longshore_scheduler::{Driver, DriverError, Ended, Intake, Submission, SubmitError, Watch, Watchers};
use longshore_worker::launcher::Launcher;
use longshore_worker::mcp::{Pool, ServersConfig};
use longshore_worker::{Worker, WorkerConfig};
use longshore_workflow::Plan;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::local_updates::LocalUpdates;
pub(crate) use self::read_only::ReadOnlyDataDir;
pub(crate) use self::survey::PartitionSurvey;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::trace;

/// Retention of finished runs. A disk has room for more than the Redis of a cluster.
const RETENTION: Retention = Retention { runs: 1_000_000, time: Duration::from_secs(30 * 24 * 3_600) };

/// Time that calls under way get to end when the process drains. A user waits at a terminal for it.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// Time that a driver gets to write its last checkpoint, also when the process stops at once. Without it the next process
/// replays more of the log, and lists are older until then.
const LAST_CHECKPOINT_LIMIT: Duration = Duration::from_secs(2);

/// Number of cancels that are appended at once. Appends that wait together share a sync of the disk.
const CANCELS_AT_ONCE: usize = 32;

/// Time that MCP servers, and then the store, get to close. It is longer than a child process gets to end by itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A data directory, open for work, with nothing running yet.
pub(crate) struct OpenDataDir {
    store: Embedded,
    backend: Backend,
    /// The leaders of the partitions that were taken over.
    drivers: BTreeMap<Partition, Driver>,
    watchers: Arc<Watchers>,
    node: NodeId,
    dir: PathBuf,
}

impl OpenDataDir {
    /// Opens a data directory for work, without taking a partition over.
    pub(crate) async fn open(dir: &Path, node: NodeId) -> Result<Self, Failure> {
        let store = Embedded::open(dir, Access::Shared).await.map_err(unopened)?;
        let (backend, watchers) = (store.backend(), Arc::new(Watchers::default()));
        Ok(Self { store, backend, drivers: BTreeMap::new(), watchers, node, dir: dir.to_owned() })
    }

    /// Opens a data directory and takes a free partition over for a new run. Also returns that partition and the interrupted
    /// runs of the directory.
    pub(crate) async fn for_new_run(
        dir: &Path,
        node: NodeId,
    ) -> Result<(Self, Partition, Vec<RunId>), Failure> {
        let mut opened = Self::open(dir, node).await?;
        match opened.take_free().await {
            Ok((partition, interrupted)) => Ok((opened, partition, interrupted)),
            Err(failure) => Err(opened.closed_after(failure).await),
        }
    }

    async fn take_free(&mut self) -> Result<(Partition, Vec<RunId>), Failure> {
        let survey = PartitionSurvey::of_unheld(&self.store).await?;
        let partition = self.store.hold_free(&survey.ended()).await.map_err(unopened)?;
        self.lead(partition).await?;
        Ok((partition, survey.interrupted()))
    }

    /// Takes a partition over. Returns false if another process holds it.
    pub(crate) async fn take_over(&mut self, partition: Partition) -> Result<bool, Failure> {
        match self.store.hold(partition).await {
            Ok(()) => self.lead(partition).await.map(|()| true),
            Err(OpenError::InUse { .. }) => Ok(false),
            Err(error) => Err(unopened(error)),
        }
    }

    async fn lead(&mut self, partition: Partition) -> Result<(), Failure> {
        let observer = Arc::clone(&self.watchers) as _;
        let driver =
            Driver::take_over(self.backend.clone(), partition, self.node.clone(), observer, RETENTION).await;
        let driver = driver.map_err(|error| {
            let dir = self.dir.display();
            let message =
                format!("partition {partition} of the data directory {dir} cannot be taken over: {error}");
            Failure::new(Exit::Error, message)
        })?;
        self.drivers.insert(partition, driver);
        Ok(())
    }

    /// Reads the runs that have not ended, and the processes that execute them.
    pub(crate) async fn survey(&self) -> Result<PartitionSurvey, Failure> {
        PartitionSurvey::of(&self.store).await
    }

    /// Returns the interrupted runs of the partitions that were taken over.
    pub(crate) fn interrupted_runs(&self) -> Vec<RunView> {
        let views = |driver: &Driver| {
            driver.live_runs().into_iter().filter_map(|run| driver.view(run)).collect::<Vec<_>>()
        };
        self.drivers.values().flat_map(views).collect()
    }

    /// Watches an interrupted run, from before it is resumed.
    pub(crate) fn watch(&self, run: RunId) -> Watch {
        self.watchers.watch(run)
    }

    /// Restricts execution to the chosen runs and to `others`, which this process is about to submit. All other interrupted
    /// runs stay as they are, because their calls are for a process that waits for them.
    pub(crate) fn execute_only(&mut self, chosen: &BTreeSet<RunId>, others: &[RunId]) {
        for (partition, driver) in &mut self.drivers {
            let (executed, left): (Vec<RunId>, Vec<RunId>) =
                driver.live_runs().into_iter().partition(|run| chosen.contains(run));
            if left.is_empty() {
                continue;
            }
            let new = others.iter().filter(|run| run.partition() == *partition);
            let named: Vec<RunId> = executed.into_iter().chain(new.copied()).collect();
            self.store.name_runs(*partition, &named);
            driver.leave_alone(left);
        }
    }

    /// Reads the text of a registered workflow.
    pub(crate) async fn text(&self, digest: Digest) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.backend.blobs.get(digest).await?)
    }

    /// Reads a stored run in full, if it exists.
    pub(crate) async fn stored(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        stored(&self.backend, run).await
    }

    /// Reads the newest stored runs.
    pub(crate) async fn newest(&self) -> Result<RunPage, Failure> {
        Ok(self.backend.checkpoints.runs(RunQuery::default()).await?)
    }

    /// Appends cancels of runs. The processes that hold their partitions apply them.
    pub(crate) async fn cancel(&self, runs: &[RunId], reason: &str) -> Result<(), Failure> {
        let (intake, namespace) = (Intake::new(self.backend.clone(), 1), namespace()?);
        let cancels = stream::iter(runs).map(|run| intake.cancel(&namespace, *run, reason));
        Ok(cancels.buffer_unordered(CANCELS_AT_ONCE).try_collect().await?)
    }

    /// Cancels interrupted runs of one partition, without making a call. Returns false if a process holds the partition. A
    /// run does not end by that if it has steps to execute nevertheless, such as those with `if: always()`.
    pub(crate) async fn cancel_interrupted(
        &mut self,
        partition: Partition,
        runs: &[RunId],
        reason: &str,
    ) -> Result<bool, Failure> {
        // The first takeover records that the jobs in flight are lost, so that the cancel ends their steps. The second one
        // applies the cancel and writes it to a checkpoint.
        if !self.take_over(partition).await? {
            return Ok(false);
        }
        self.cancel(runs, reason).await?;
        self.lead(partition).await?;
        if let Some(driver) = self.drivers.remove(&partition) {
            let stop = CancellationToken::new();
            stop.cancel();
            let ended = driver.lead(stop).await;
            ended.map_err(|error| {
                Failure::new(Exit::Error, format!("the scheduler cannot continue: {error}"))
            })?;
        }
        Ok(true)
    }

    /// Closes the data directory.
    pub(crate) async fn close(self) {
        drop(self.drivers);
        self.store.close().await;
    }

    /// Closes the data directory and returns the failure that is the reason.
    pub(crate) async fn closed_after(self, failure: Failure) -> Failure {
        self.close().await;
        failure
    }

    /// Starts the worker and the drivers.
    pub(crate) fn start(self, servers: ServersConfig, slots: NonZeroUsize) -> LocalProcess {
        let Self { store, backend, drivers, watchers, node, .. } = self;
        let pool = Arc::new(Pool::new(servers).launched_by(Launcher::this_program()));
        let config = WorkerConfig { slots, drain: DRAIN };
        let updates = LocalUpdates::default();
        let published = Some(Arc::new(updates.clone()) as _);
        let worker = Worker::new(backend.clone(), Arc::clone(&pool), node, config, published);
        let (stop_worker, stop_driver) = (CancellationToken::new(), CancellationToken::new());
        let mut process = LocalProcess {
            jobs: Arc::clone(&backend.jobs),
            intake: Intake::new(backend, 1),
            watchers,
            updates,
            pool,
            store,
            worker: JoinSet::new(),
            drivers: JoinSet::new(),
            stop_worker: stop_worker.clone(),
            stop_driver: stop_driver.clone(),
        };
        process.worker.spawn(worker.run(stop_worker));
        for driver in drivers.into_values() {
            process.drivers.spawn(driver.lead(stop_driver.clone()));
        }
        process
    }
}

/// A running scheduler and worker.
pub(crate) struct LocalProcess {
    intake: Intake,
    watchers: Arc<Watchers>,
    updates: LocalUpdates,
    jobs: Arc<dyn JobQueue>,
    pool: Arc<Pool>,
    store: Embedded,
    /// One task; empty once it has ended.
    worker: JoinSet<()>,
    /// One task for each partition.
    drivers: JoinSet<Result<Ended, DriverError>>,
    stop_worker: CancellationToken,
    stop_driver: CancellationToken,
}

impl LocalProcess {
    /// Watches a run. Call it before the submit, so that no update is missed.
    pub(crate) fn watch(&self, run: RunId) -> Watch {
        self.watchers.watch(run)
    }

    /// Submits a run of a workflow. Once this returns, the run reaches a terminal state, whatever is killed.
    pub(crate) async fn submit(
        &self,
        run: RunId,
        text: &str,
        inputs: Map<String, Value>,
    ) -> Result<Arc<Plan>, Failure> {
        let plan = self.intake.register(text).await.map_err(unsubmitted)?;
        let namespace = namespace()?;
        let submission =
            Submission { run, namespace, plan: Arc::clone(&plan), inputs, trace: Some(trace::context()) };
        self.intake.submit(submission).await.map_err(unsubmitted)?;
        Ok(plan)
    }

    /// Receives the activities of calls under way, from now on.
    pub(crate) fn call_updates(&self) -> broadcast::Receiver<CallUpdate> {
        self.updates.subscribe()
    }

    /// Returns the queue of jobs.
    pub(crate) fn jobs(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.jobs)
    }

    /// Cancels a run.
    pub(crate) async fn cancel(&self, run: RunId, reason: &str) -> Result<(), Failure> {
        Ok(self.intake.cancel(&namespace()?, run, reason).await?)
    }

    /// Returns when a part has ended that was not stopped. Safe to cancel.
    pub(crate) async fn broken(&mut self) -> Failure {
        let message = tokio::select! {
            Some(ended) = self.drivers.join_next() => match ended {
                Ok(Err(error)) => format!("the scheduler cannot continue: {error}"),
                Ok(Ok(ended)) => format!("the scheduler has ended: {ended:?}"),
                Err(panic) => bug("the scheduler", &panic),
            },
            Some(ended) = self.worker.join_next() => match ended {
                Ok(()) => "the worker has ended".to_owned(),
                Err(panic) => bug("the worker", &panic),
            },
            else => pending().await,
        };
        Failure::new(Exit::Error, message)
    }

    /// Stops worker and drivers in order. `cut_short` ends the wait for calls under way when it completes. Nothing is
    /// executed afterwards.
    ///
    /// Calls that are cut off stay outstanding in the log, so another process can resume their runs.
    pub(crate) async fn stop(&mut self, cut_short: impl Future<Output = ()>) {
        let drained = async { while self.worker.join_next().await.is_some() {} };
        self.stop_worker.cancel();
        tokio::select! {
            biased;
            () = cut_short => {}
            () = drained => {}
        }
        self.worker.shutdown().await;
        // Also when the wait is cut short: the next process has less to replay.
        self.stop_driver.cancel();
        let checkpointed = async { while self.drivers.join_next().await.is_some() {} };
        if timeout(LAST_CHECKPOINT_LIMIT, checkpointed).await.is_err() {
            warn!("the last checkpoint was not written in time; the next start replays the log instead");
        }
        self.drivers.shutdown().await;
    }

    /// Ends everything in order, including the work if it was not stopped. `cut_short` abandons this when it completes.
    ///
    /// Nothing is lost by that: servers are killed with their connections, and the locks of the data directory end with the
    /// process.
    pub(crate) async fn end(self, cut_short: impl Future) {
        tokio::select! {
            biased;
            _ = cut_short => {}
            () = self.end_in_order() => {}
        }
    }

    async fn end_in_order(mut self) {
        self.stop(pending()).await;
        if timeout(CLOSE_LIMIT, self.pool.close()).await.is_err() {
            warn!("the MCP servers were not closed in time");
        }
        if timeout(CLOSE_LIMIT, self.store.close()).await.is_err() {
            warn!("the data directory was not closed in time; nothing is lost by that");
        }
    }
}

/// Reads a stored run in full, if it exists.
pub(crate) async fn stored(backend: &Backend, run: RunId) -> Result<Option<RunView>, Failure> {
    Ok(stored_state(backend, run).await?.map(|run| run.view()))
}

/// Reads the stored state of a run, if it exists.
pub(crate) async fn stored_state(backend: &Backend, run: RunId) -> Result<Option<Run>, Failure> {
    let Some(row) = backend.checkpoints.run(run).await? else { return Ok(None) };
    let read = Run::read(&row.state)
        .map_err(|error| Failure::new(Exit::Error, format!("the state of {run} cannot be read: {error}")))?;
    Ok(Some(read))
}

/// Returns the namespace of all runs of a data directory.
pub(crate) fn namespace() -> Result<Namespace, Failure> {
    "default".parse().map_err(|error| Failure::new(Exit::Error, format!("{error}")))
}

fn bug(part: &str, panic: &JoinError) -> String {
    format!("{part} stopped because of a bug in longshore: {panic}")
}

fn unopened(error: OpenError) -> Failure {
    let exit = match error {
        OpenError::Absent { .. } => Exit::NotFound,
        OpenError::NotADirectory { .. } => Exit::Usage,
        _ => Exit::Error,
    };
    let error = match error {
        // The absolute path is named, because the current folder of a cron job, for instance, is easily mistaken.
        OpenError::Absent { path } => OpenError::Absent { path: std::path::absolute(&path).unwrap_or(path) },
        other => other,
    };
    Failure::new(exit, error.to_string())
}

fn unsubmitted(error: SubmitError) -> Failure {
    let exit = match error {
        SubmitError::Workflow(_) | SubmitError::Inputs(_) => Exit::Invalid,
        SubmitError::TextMissing(_) | SubmitError::BlobsFull(_) | SubmitError::Backend(_) => Exit::Error,
    };
    Failure::new(exit, format!("the run was not submitted: {error}"))
}
