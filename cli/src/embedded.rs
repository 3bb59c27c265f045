//! Everything in one process, on one data directory: the only file that names adapters.
//!
//! ```text
//!   take_over ──► Opened ──start──► Process ──stop──► worker drained, driver stopped ──end──► servers gone, store closed
//!   (store, driver)            (worker, driver running)
//! ```
//!
//! Between the two, nothing moves yet: whoever opened can look at the runs that were left behind, and refuse to go on
//! before a single call is made.

use std::future::pending;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longshore_backend::Backend;
use longshore_backend::embedded::{Access, Embedded, OpenError};
use longshore_proto::{Digest, Namespace, NodeId, Partition, RunId, RunView};
use longshore_scheduler::{
    Driver, DriverError, Ended, Intake, Observed, Retention, Submission, SubmitError, Watch, Watchers,
};
use longshore_worker::launcher::Launcher;
use longshore_worker::mcp::{Pool, ServersConfig};
use longshore_worker::{Worker, WorkerConfig};
use longshore_workflow::Plan;
use serde_json::{Map, Value};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::trace;

/// One process leads one partition: nothing is gained by more on one disk.
const PARTITION: Partition = Partition(0);

/// Which finished runs are kept. A disk has room for more than a cluster's Redis.
const RETENTION: Retention = Retention { runs: 1_000_000, time: Duration::from_secs(30 * 24 * 3_600) };

/// How long calls that have begun may go on after an end was asked for. People wait at a terminal for it.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// How long the driver may take to write its last checkpoint, also when somebody asked to stop at once. Without it the
/// next process replays a little more, and lists are a little behind until then.
const LAST_CHECKPOINT_LIMIT: Duration = Duration::from_secs(2);

/// How long servers and store may take to close: what a child process gets to end by itself, and some more.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A data directory for looking only, beside a process that works in it or without one.
pub(crate) struct Looked {
    pub(crate) store: Embedded,
    pub(crate) backend: Backend,
    /// What the log has; nothing if it cannot be followed.
    pub(crate) observed: Option<Observed>,
}

impl Looked {
    /// Looks at a directory as it is now. A log that cannot be followed leaves its checkpoint to look at: the error
    /// comes beside it.
    pub(crate) async fn at(dir: &Path) -> Result<(Self, Option<DriverError>), Failure> {
        let store = Embedded::open(dir, Access::ReadOnly).await.map_err(unopened)?;
        let backend = store.backend();
        let (observed, blind) = match Observed::look(backend.clone(), PARTITION).await {
            Ok(observed) => (Some(observed), None),
            Err(error) => (None, Some(error)),
        };
        Ok((Self { store, backend, observed }, blind))
    }
}

/// A data directory that is ours, with nothing running yet.
pub(crate) struct Opened {
    store: Embedded,
    backend: Backend,
    driver: Driver,
    watchers: Arc<Watchers>,
    node: NodeId,
}

impl Opened {
    /// Opens a data directory for work, and takes over what is in it.
    pub(crate) async fn take_over(dir: &Path, node: NodeId) -> Result<Self, Failure> {
        let store = Embedded::open(dir, Access::ReadWrite).await.map_err(unopened)?;
        let (backend, watchers) = (store.backend(), Arc::new(Watchers::default()));
        match Driver::take_over(backend.clone(), PARTITION, node.clone(), watchers.clone(), RETENTION).await {
            Ok(driver) => Ok(Self { store, backend, driver, watchers, node }),
            Err(error) => {
                store.close().await;
                let message = format!("the data directory {} cannot be taken over: {error}", dir.display());
                Err(Failure::new(Exit::Error, message))
            }
        }
    }

    /// The runs that were left behind, as they stand.
    pub(crate) fn interrupted(&self) -> Vec<RunView> {
        self.driver.live_runs().into_iter().filter_map(|run| self.driver.view(run)).collect()
    }

    /// Watches a run that was left behind, from before it goes on.
    pub(crate) fn watch(&self, run: RunId) -> Watch {
        self.watchers.watch(run)
    }

    /// Leaves runs as they are: their calls are for a process that waits for them.
    pub(crate) fn leave_alone(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.driver.leave_alone(runs);
    }

    /// The text of a workflow that was registered.
    pub(crate) async fn text(&self, digest: Digest) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.backend.blobs.get(digest).await?)
    }

    /// Lets go of the data directory.
    pub(crate) async fn close(self) {
        drop(self.driver);
        self.store.close().await;
    }

    /// Begins to work.
    pub(crate) fn start(self, servers: ServersConfig, slots: NonZeroUsize) -> Process {
        let Self { store, backend, driver, watchers, node } = self;
        let pool = Arc::new(Pool::new(servers).launched_by(Launcher::this_program()));
        let config = WorkerConfig { slots, drain: DRAIN };
        let worker = Worker::new(backend.clone(), Arc::clone(&pool), node, config);
        let (stop_worker, stop_driver) = (CancellationToken::new(), CancellationToken::new());
        let mut process = Process {
            intake: Intake::new(backend, 1),
            watchers,
            pool,
            store,
            worker: JoinSet::new(),
            driver: JoinSet::new(),
            stop_worker: stop_worker.clone(),
            stop_driver: stop_driver.clone(),
        };
        process.worker.spawn(worker.run(stop_worker));
        process.driver.spawn(driver.lead(stop_driver));
        process
    }
}

/// Scheduler and worker at work.
pub(crate) struct Process {
    intake: Intake,
    watchers: Arc<Watchers>,
    pool: Arc<Pool>,
    store: Embedded,
    /// One task each; empty once it has ended.
    worker: JoinSet<()>,
    driver: JoinSet<Result<Ended, DriverError>>,
    stop_worker: CancellationToken,
    stop_driver: CancellationToken,
}

impl Process {
    /// Draws the id of a run and watches it, so that nothing of it is missed.
    pub(crate) fn prepare(&self) -> (RunId, Watch) {
        let run = self.intake.draw_id();
        (run, self.watchers.watch(run))
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

    /// Tells a run to stop.
    pub(crate) async fn cancel(&self, run: RunId, reason: &str) -> Result<(), Failure> {
        Ok(self.intake.cancel(&namespace()?, run, reason).await?)
    }

    /// Returns when a part has ended although nobody asked it to. Safe to cancel.
    pub(crate) async fn broken(&mut self) -> Failure {
        let message = tokio::select! {
            Some(ended) = self.driver.join_next() => match ended {
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
        let checkpointed = async { while self.driver.join_next().await.is_some() {} };
        if timeout(LAST_CHECKPOINT_LIMIT, checkpointed).await.is_err() {
            warn!("the last checkpoint was not written in time; the log has everything");
        }
        self.driver.shutdown().await;
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
    Failure::new(exit, error.to_string())
}

fn unsubmitted(error: SubmitError) -> Failure {
    let exit = match error {
        SubmitError::Workflow(_) | SubmitError::Inputs(_) => Exit::Invalid,
        SubmitError::TextMissing(_) | SubmitError::Backend(_) => Exit::Error,
    };
    Failure::new(exit, format!("the run was not submitted: {error}"))
}
