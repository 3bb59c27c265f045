//! A running scheduler and worker in this process.

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use longshore_embedded::{Embedded, RunWatch, RunWatchers};
use longshore_ports::{Blobs, JobQueue};
use longshore_proto::{CallUpdate, RunId, RunView, Signal};
use longshore_scheduler::{DriverError, Intake, LeadershipEnd, SubmitError, SubmitRequest, fill_outputs};
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

use super::local_updates::LocalUpdates;
use super::open_data_dir::OpenDataDir;
use super::stored_run::namespace;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::trace;

/// Time that calls under way get to end when the process drains. A user waits at a terminal for it.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// Time that a driver gets to write its last checkpoint, also when the process stops at once. Without it the next process
/// replays more of the log, and until then lists of runs are less current.
const LAST_CHECKPOINT_LIMIT: Duration = Duration::from_secs(2);

/// Time that MCP servers, and then the store, get to close. It is longer than a child process gets to end by itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

impl OpenDataDir {
    /// Starts the worker and the drivers.
    pub(crate) fn start(self, servers: ServersConfig, slots: NonZeroUsize) -> LocalProcess {
        let Self { store, backend, drivers, watchers, node, .. } = self;
        let pool = Arc::new(ServerPool::new(servers).with_launcher(Launcher::this_program()));
        let config = WorkerConfig { slots, drain: DRAIN };
        let updates = LocalUpdates::default();
        let published = Some(Arc::new(updates.clone()) as _);
        let worker = Worker::new(backend.clone(), Arc::clone(&pool), node, config, published);
        let (stop_worker, stop_driver) = (CancellationToken::new(), CancellationToken::new());
        let mut process = LocalProcess {
            jobs: Arc::clone(&backend.jobs),
            blobs: Arc::clone(&backend.blobs),
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
    watchers: Arc<RunWatchers>,
    updates: LocalUpdates,
    jobs: Arc<dyn JobQueue>,
    blobs: Arc<dyn Blobs>,
    pool: Arc<ServerPool>,
    store: Embedded,
    /// One task; empty once it has ended.
    worker: JoinSet<()>,
    /// One task for each partition.
    drivers: JoinSet<Result<LeadershipEnd, DriverError>>,
    stop_worker: CancellationToken,
    stop_driver: CancellationToken,
}

impl LocalProcess {
    /// Replaces the address of large outputs by their value. If they cannot be read, the address is shown.
    pub(crate) async fn fill_outputs(&self, view: &mut RunView) {
        if let Err(error) = fill_outputs(view, &*self.blobs, u64::MAX).await {
            warn!(%error, "cannot read the outputs of a run");
        }
    }

    /// Watches a run. Call it before the submit, so that no update is missed.
    pub(crate) fn watch(&self, run: RunId) -> RunWatch {
        self.watchers.watch(run)
    }

    /// Submits a run of a workflow. Once this returns, the run is durable: if this process is killed, a later one can continue it.
    pub(crate) async fn submit(
        &self,
        run: RunId,
        text: &str,
        inputs: Map<String, Value>,
    ) -> Result<Arc<Plan>, Failure> {
        let plan = self.intake.register(text).await.map_err(submit_failure)?;
        let request = SubmitRequest::new(namespace()?, plan.name.clone(), inputs);
        let request = SubmitRequest { trace: Some(trace::context()), ..request };
        self.intake.submit(run, &plan, request).await.map_err(submit_failure)?;
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
        let signal = Signal::Cancel { reason: reason.to_owned() };
        Ok(self.intake.signal(&namespace()?, run, signal).await?)
    }

    /// Waits until the worker or a driver ends without having been stopped, and returns the failure. Cancel-safe.
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

    /// Stops the worker and the drivers if they still run, then closes the servers and the store. Returns early when
    /// `cut_short` completes.
    ///
    /// Nothing is lost by an early return: servers are killed with their connections, and the locks of the data directory end with the
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

fn bug(part: &str, panic: &JoinError) -> String {
    format!("{part} stopped because of a bug in longshore: {panic}")
}

fn submit_failure(error: SubmitError) -> Failure {
    let exit = match error {
        SubmitError::Workflow(_) | SubmitError::Inputs(_) | SubmitError::TooManyValues(_) => Exit::Invalid,
        SubmitError::TextMissing(_) | SubmitError::BlobsFull(_) | SubmitError::Backend(_) => Exit::Error,
    };
    Failure::new(exit, format!("the run was not submitted: {error}"))
}
