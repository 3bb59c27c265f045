//! Scheduler and worker in one process, on one data directory that other processes may share: with its submodules the
//! only place that names the embedded adapters.
//!
//! ```text
//!   open ──► Opened ──start──► Process ──stop──► worker drained, drivers stopped ──end──► servers gone, store closed
//!     hold, take_over     (worker, drivers running)
//! ```
//!
//! Between the two, nothing moves yet: the caller can look at the runs that were left behind, and refuse to go on before a
//! single call is made. Every process leads partitions of its own.

mod local_updates;
mod looked;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
pub(crate) use longshore_embedded::Holder;
use longshore_embedded::{Access, Embedded, OpenError, RunWatch, RunWatchers};
use longshore_machine::{Retention, Run};
use longshore_ports::{Backend, JobQueue, RunPage, RunQuery};
use longshore_proto::{CallUpdate, Digest, Namespace, NodeId, Partition, RunId, RunView};
use longshore_scheduler::{Driver, DriverError, Intake, LeadershipEnd, SubmitError, SubmitRequest};
use longshore_worker::launcher::Launcher;
use longshore_worker::mcp::{ServerPool, ServersConfig};
use longshore_worker::{Worker, WorkerConfig};
use longshore_workflow::Plan;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::local_updates::LocalUpdates;
pub(crate) use self::looked::Looked;
pub(crate) use self::survey::Survey;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::trace;

/// Which finished runs are kept. A disk has room for more than a cluster's Redis.
const RETENTION: Retention = Retention { runs: 1_000_000, time: Duration::from_secs(30 * 24 * 3_600) };

/// How long calls that have begun may go on after an end was asked for. People wait at a terminal for it.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// How long the driver may take to write its last checkpoint, also when somebody asked to stop at once. Without it the
/// next process replays a little more, and lists are a little behind until then.
const LAST_CHECKPOINT_LIMIT: Duration = Duration::from_secs(2);

/// Cancels that are appended at once: those that wait together share a sync of the disk.
const CANCELS_AT_ONCE: usize = 32;

/// How long servers and store may take to close: what a child process gets to end by itself, and some more.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A data directory, open for work, with nothing running yet.
pub(crate) struct Opened {
    store: Embedded,
    backend: Backend,
    /// The leaders of the partitions that were taken over.
    drivers: BTreeMap<Partition, Driver>,
    watchers: Arc<RunWatchers>,
    node: NodeId,
    dir: PathBuf,
}

impl Opened {
    /// Opens a data directory for work. Nothing in it is taken over yet.
    pub(crate) async fn open(dir: &Path, node: NodeId) -> Result<Self, Failure> {
        let store = Embedded::open(dir, Access::Shared).await.map_err(unopened)?;
        let (backend, watchers) = (store.backend(), Arc::new(RunWatchers::default()));
        Ok(Self { store, backend, drivers: BTreeMap::new(), watchers, node, dir: dir.to_owned() })
    }

    /// Opens a data directory and takes a free partition over for a new run. Returns it with the runs that no process moves.
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
        let survey = Survey::of_unheld(&self.store).await?;
        let partition = self.store.hold_free(&survey.ended()).await.map_err(unopened)?;
        self.lead(partition).await?;
        Ok((partition, survey.interrupted()))
    }

    /// Takes a partition over; returns false if another process holds it.
    pub(crate) async fn take_over(&mut self, partition: Partition) -> Result<bool, Failure> {
        match self.store.hold(partition).await {
            Ok(()) => self.lead(partition).await.map(|()| true),
            Err(OpenError::InUse { .. }) => Ok(false),
            Err(error) => Err(unopened(error)),
        }
    }

    async fn lead(&mut self, partition: Partition) -> Result<(), Failure> {
        let updates = Arc::clone(&self.watchers) as _;
        let driver =
            Driver::take_over(self.backend.clone(), partition, self.node.clone(), updates, RETENTION).await;
        let driver = driver.map_err(|error| {
            let dir = self.dir.display();
            let message =
                format!("partition {partition} of the data directory {dir} cannot be taken over: {error}");
            Failure::new(Exit::Error, message)
        })?;
        self.drivers.insert(partition, driver);
        Ok(())
    }

    /// The runs that have not ended, and the processes that move them.
    pub(crate) async fn survey(&self) -> Result<Survey, Failure> {
        Survey::of(&self.store).await
    }

    /// The runs that were left behind in the partitions that were taken over.
    pub(crate) fn left_behind(&self) -> Vec<RunView> {
        let views = |driver: &Driver| {
            driver.live_runs().into_iter().filter_map(|run| driver.view(run)).collect::<Vec<_>>()
        };
        self.drivers.values().flat_map(views).collect()
    }

    /// Watches a run that was left behind, from before it goes on.
    pub(crate) fn watch(&self, run: RunId) -> RunWatch {
        self.watchers.watch(run)
    }

    /// Leaves all runs as they are that were left behind, except for some: their calls are for a process that waits for them.
    /// `others` are runs that this process is about to submit.
    pub(crate) fn move_only(&mut self, chosen: &BTreeSet<RunId>, others: &[RunId]) {
        for (partition, driver) in &mut self.drivers {
            let (moved, left): (Vec<RunId>, Vec<RunId>) =
                driver.live_runs().into_iter().partition(|run| chosen.contains(run));
            if left.is_empty() {
                continue;
            }
            let new = others.iter().filter(|run| run.partition() == *partition);
            let named: Vec<RunId> = moved.into_iter().chain(new.copied()).collect();
            self.store.name_runs(*partition, &named);
            driver.exclude_runs(left);
        }
    }

    /// The text of a workflow that was registered.
    pub(crate) async fn text(&self, digest: Digest) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.backend.blobs.get(digest).await?)
    }

    /// A stored run in full, if there is one.
    pub(crate) async fn stored(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        stored(&self.backend, run).await
    }

    /// Runs that are stored, newest first.
    pub(crate) async fn newest(&self) -> Result<RunPage, Failure> {
        Ok(self.backend.checkpoints.runs(RunQuery::default()).await?)
    }

    /// Asks runs to stop. The processes that hold their partitions do the rest.
    pub(crate) async fn cancel(&self, runs: &[RunId], reason: &str) -> Result<(), Failure> {
        let (intake, namespace) = (Intake::new(self.backend.clone(), 1), namespace()?);
        let cancels = stream::iter(runs).map(|run| intake.cancel(&namespace, *run, reason));
        Ok(cancels.buffer_unordered(CANCELS_AT_ONCE).try_collect().await?)
    }

    /// Cancels interrupted runs of one partition, without making a call; returns false if a process holds it. A run that has
    /// steps to carry out nevertheless does not end by that.
    pub(crate) async fn cancel_interrupted(
        &mut self,
        partition: Partition,
        runs: &[RunId],
        reason: &str,
    ) -> Result<bool, Failure> {
        // The first takeover notes that the calls which were out are lost, so that the cancel ends their steps; the second
        // one applies the cancel and writes it to a checkpoint.
        if !self.take_over(partition).await? {
            return Ok(false);
        }
        self.cancel(runs, reason).await?;
        self.lead(partition).await?;
        if let Some(driver) = self.drivers.remove(&partition) {
            let stop = CancellationToken::new();
            stop.cancel();
            let ended = driver.lead(stop).await;
            ended
                .map_err(|error| Failure::new(Exit::Error, format!("the scheduler cannot go on: {error}")))?;
        }
        Ok(true)
    }

    /// Lets go of the data directory.
    pub(crate) async fn close(self) {
        drop(self.drivers);
        self.store.close().await;
    }

    /// Lets go of the data directory and returns the failure that is the reason.
    pub(crate) async fn closed_after(self, failure: Failure) -> Failure {
        self.close().await;
        failure
    }

    /// Begins to work.
    pub(crate) fn start(self, servers: ServersConfig, slots: NonZeroUsize) -> Process {
        let Self { store, backend, drivers, watchers, node, .. } = self;
        let pool = Arc::new(ServerPool::new(servers).with_launcher(Launcher::this_program()));
        let config = WorkerConfig { slots, drain: DRAIN };
        let updates = LocalUpdates::default();
        let published = Some(Arc::new(updates.clone()) as _);
        let worker = Worker::new(backend.clone(), Arc::clone(&pool), node, config, published);
        let (stop_worker, stop_driver) = (CancellationToken::new(), CancellationToken::new());
        let mut process = Process {
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

/// Scheduler and worker at work.
pub(crate) struct Process {
    intake: Intake,
    watchers: Arc<RunWatchers>,
    updates: LocalUpdates,
    jobs: Arc<dyn JobQueue>,
    pool: Arc<ServerPool>,
    store: Embedded,
    /// One task; empty once it has ended.
    worker: JoinSet<()>,
    /// A task for each partition.
    drivers: JoinSet<Result<LeadershipEnd, DriverError>>,
    stop_worker: CancellationToken,
    stop_driver: CancellationToken,
}

impl Process {
    /// Watches a run. Before its submit, so that nothing of it is missed.
    pub(crate) fn watch(&self, run: RunId) -> RunWatch {
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
        let request = SubmitRequest::new(namespace()?, plan.name.clone(), inputs);
        let request = SubmitRequest { trace: Some(trace::context()), ..request };
        self.intake.submit(run, &plan, request).await.map_err(unsubmitted)?;
        Ok(plan)
    }

    /// Receives what calls under way are doing, from now on.
    pub(crate) fn call_updates(&self) -> broadcast::Receiver<CallUpdate> {
        self.updates.subscribe()
    }

    /// The jobs that are out.
    pub(crate) fn jobs(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.jobs)
    }

    /// Tells a run to stop.
    pub(crate) async fn cancel(&self, run: RunId, reason: &str) -> Result<(), Failure> {
        Ok(self.intake.cancel(&namespace()?, run, reason).await?)
    }

    /// Returns when a part has ended although nobody asked it to. Safe to cancel.
    pub(crate) async fn broken(&mut self) -> Failure {
        let message = tokio::select! {
            Some(ended) = self.drivers.join_next() => match ended {
                Ok(Err(error)) => format!("the scheduler cannot go on: {error}"),
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

    /// Stops the work in order; `hurry` cuts short what waits for calls under way. Once it is stopped, nothing happens.
    ///
    /// What is cut short stays outstanding in the log, so another process goes on with it.
    pub(crate) async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        let drained = async { while self.worker.join_next().await.is_some() {} };
        self.stop_worker.cancel();
        tokio::select! {
            biased;
            () = hurry => {}
            () = drained => {}
        }
        self.worker.shutdown().await;
        // Also in a hurry: the next process has less to replay.
        self.stop_driver.cancel();
        let checkpointed = async { while self.drivers.join_next().await.is_some() {} };
        if timeout(LAST_CHECKPOINT_LIMIT, checkpointed).await.is_err() {
            warn!("the last checkpoint was not written in time; the log has everything");
        }
        self.drivers.shutdown().await;
    }

    /// Ends everything in order, the work too if it was not stopped; `hurry` leaves off wherever that has come to.
    ///
    /// Nothing is lost by a hurry: servers are killed with their connections, and the data directory is let go of with
    /// the process.
    pub(crate) async fn end(self, hurry: impl Future) {
        tokio::select! {
            biased;
            _ = hurry => {}
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

/// A stored run in full, if there is one.
pub(crate) async fn stored(backend: &Backend, run: RunId) -> Result<Option<RunView>, Failure> {
    Ok(stored_state(backend, run).await?.map(|run| run.view()))
}

/// A stored run as it is kept, if there is one.
pub(crate) async fn stored_state(backend: &Backend, run: RunId) -> Result<Option<Run>, Failure> {
    let Some(row) = backend.checkpoints.run(run).await? else { return Ok(None) };
    let read = Run::decode(&row.state)
        .map_err(|error| Failure::new(Exit::Error, format!("the state of {run} cannot be read: {error}")))?;
    Ok(Some(read))
}

/// Whose runs they are, where there is only one person.
pub(crate) fn namespace() -> Result<Namespace, Failure> {
    "default".parse().map_err(|error| Failure::new(Exit::Error, format!("{error}")))
}

fn bug(who: &str, panic: &JoinError) -> String {
    format!("{who} stopped because of a bug in longshore: {panic}")
}

fn unopened(error: OpenError) -> Failure {
    let exit = match error {
        OpenError::Absent { .. } => Exit::NotFound,
        OpenError::NotADirectory { .. } => Exit::Usage,
        _ => Exit::Error,
    };
    let error = match error {
        // A relative path says little to those who do not know the folder, such as readers of a log of cron.
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
