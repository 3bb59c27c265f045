//! A data directory, open for work, before its runs are executed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use longshore_embedded::{Access, Embedded, OpenError, RunWatch, RunWatchers};
use longshore_ports::{Backend, RunPage, RunQuery};
use longshore_proto::{Digest, NodeId, Partition, Retention, RunId, RunView, Signal};
use longshore_scheduler::{Driver, Intake};
use tokio_util::sync::CancellationToken;

use super::open_failure::unopened;
use super::stored_run::{namespace, stored};
use super::survey::PartitionSurvey;
use crate::exit::Exit;
use crate::failure::Failure;

/// Retention of finished runs. A disk has room for more than the Redis of a cluster.
const RETENTION: Retention = Retention { runs: 1_000_000, time: Duration::from_secs(30 * 24 * 3_600) };

/// Number of cancels that are appended at once. Appends that wait together share a sync of the disk.
const CANCELS_AT_ONCE: usize = 32;

/// A data directory, open for work, with nothing running yet.
pub(crate) struct OpenDataDir {
    pub(super) store: Embedded,
    pub(super) backend: Backend,
    /// The leaders of the partitions that were taken over.
    pub(super) drivers: BTreeMap<Partition, Driver>,
    pub(super) watchers: Arc<RunWatchers>,
    pub(super) node: NodeId,
    dir: PathBuf,
}

impl OpenDataDir {
    /// Opens a data directory for work, without taking a partition over.
    pub(crate) async fn open(dir: &Path, node: NodeId) -> Result<Self, Failure> {
        let store = Embedded::open(dir, Access::Shared).await.map_err(unopened)?;
        let (backend, watchers) = (store.backend(), Arc::new(RunWatchers::default()));
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
    pub(crate) fn watch(&self, run: RunId) -> RunWatch {
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
            driver.exclude_runs(left);
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

    /// Appends a request to runs: to cancel or to terminate them. The processes that hold their partitions apply it.
    pub(crate) async fn signal(&self, runs: &[RunId], signal: &Signal) -> Result<(), Failure> {
        let (intake, namespace) = (Intake::new(self.backend.clone(), 1), namespace()?);
        let signals = stream::iter(runs).map(|run| intake.signal(&namespace, *run, signal.clone()));
        Ok(signals.buffer_unordered(CANCELS_AT_ONCE).try_collect().await?)
    }

    /// Cancels interrupted runs of one partition, without making a call. Returns false if a process holds the partition. A
    /// run does not end by that if it has steps to execute nevertheless, such as those with `if: always()`.
    pub(crate) async fn cancel_interrupted(
        &mut self,
        partition: Partition,
        runs: &[RunId],
        signal: &Signal,
    ) -> Result<bool, Failure> {
        // The first takeover records that the jobs in flight are lost, so that the cancel ends their steps. The second one
        // applies the cancel and writes it to a checkpoint.
        if !self.take_over(partition).await? {
            return Ok(false);
        }
        self.signal(runs, signal).await?;
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
}
