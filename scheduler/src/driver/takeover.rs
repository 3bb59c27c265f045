//! Takeover of a partition: builds the state that a leader starts from, and sends the jobs that are missing in the queue.

use std::collections::BTreeSet;
use std::sync::Arc;

use longshore_machine::{Effect, Effects};
use longshore_ports::{Backend, RunUpdates};
use longshore_proto::{Epoch, Event, JobAddress, JobId, NodeId, Partition, Retention, RunId, Seq};
use tracing::info;

use super::Driver;
use super::evaluations::Evaluations;
use super::pending_recalls::PendingRecalls;
use super::pending_updates::PendingUpdates;
use super::send::append;
use super::unsent_jobs::UnsentJobs;
use crate::backpressure::Backpressure;
use crate::checkpointer::Checkpointer;
use crate::log_follower::{DriverError, LogFollower};
use crate::recovery;
use crate::retry::retry;

/// Entries that are replayed between two checks of how much state waits for a checkpoint. Each may hold some dozens of events.
const REPLAY_ENTRIES: u64 = 50;

impl Driver {
    /// Takes a partition over: loads the checkpoint, announces itself, and replays the log up to the announcement.
    ///
    /// # Errors
    ///
    /// A port fails, or the log cannot be followed.
    pub async fn take_over(
        backend: Backend,
        partition: Partition,
        node: NodeId,
        updates: Arc<dyn RunUpdates>,
        retention: Retention,
    ) -> Result<Self, DriverError> {
        let recovered = recovery::load(&backend, partition).await?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let jobs_lost = !backend.jobs.outlives_process();
        let records_lost = recovered.records_lost;
        let announcement = Event::LeaderAnnounced { node, version, jobs_lost, records_lost };
        let mut events = vec![announcement];
        if recovered.machine.retention() != retention {
            events.push(Event::Configured { retention });
        }
        let appended = backend.log.append(partition, &events).await?;
        let epoch = Epoch(appended.first().copied().unwrap_or_default());
        let from = recovered.position.seq;
        // Updates of events that were appended while the partition had no leader, and of the last records before its leader
        // ended, were never published; publish them now. Of a log that is read as a whole, nearly all updates were published.
        let published = match recovered.stored {
            recovery::StoredCheckpoint::Valid(_) => from,
            _ => Seq(epoch.0.0.saturating_sub(REPLAY_ENTRIES)),
        };
        let reader = backend.log.read(partition, from.next()).await?;
        let checkpointer = Checkpointer::new(backend.clone(), partition, &recovered);
        let mut follower = LogFollower::start(backend.clone(), partition, recovered).await?;
        if records_lost {
            follower.pass_over_lost_before(epoch.0);
        }
        let mut driver = Self {
            partition,
            follower,
            checkpointer,
            reader,
            epoch,
            excluded_runs: BTreeSet::new(),
            unsent_jobs: UnsentJobs::default(),
            evaluations: Evaluations::new(Arc::clone(&backend.blobs)),
            recalls: PendingRecalls::new(Arc::clone(&backend.jobs)),
            effects: Effects::new(),
            updates: PendingUpdates::new(updates),
            outstanding: Backpressure::default().add_partition(),
            queue_replacements: backend.jobs.replacements(),
            backend,
        };
        driver.replay(epoch.0, published).await?;
        info!(%partition, %epoch, %from, runs = driver.follower.machine.live_run_count(), "leading");
        Ok(driver)
    }

    /// Records the outstanding jobs that no worker took from a queue in the memory of this process, which is about to end.
    pub(super) async fn record_untaken_jobs(&mut self) -> Result<(), DriverError> {
        if self.backend.jobs.outlives_process() {
            return Ok(());
        }
        let mut events = Vec::new();
        for job in self.follower.machine.jobs_to_send() {
            if self.backend.jobs.waiting(&job.server, &job.id).await?.is_some() {
                events.push(Event::NotCalled { job: job.id });
            }
        }
        append(&self.backend, self.partition, events).await
    }

    /// Applies entries up to `to` and drops their effects, except for run updates of entries after `published`.
    async fn replay(&mut self, to: Seq, published: Seq) -> Result<(), DriverError> {
        while self.follower.position.seq < to {
            let stop = to.min(Seq(self.follower.position.seq.0.saturating_add(REPLAY_ENTRIES)));
            let effects = self.follower.replay(self.reader.as_mut(), stop, published).await?;
            self.updates.push_from(effects);
            // Before a checkpoint removes ended runs from the memory.
            self.updates.publish_due(&self.follower.machine);
            if self.follower.position.seq < to {
                self.checkpointer.store_surplus(&mut self.follower.machine, &self.follower.position).await?;
            }
        }
        Ok(())
    }

    /// Builds the state again from the checkpoint store and the log, so that the next checkpoint has what the store lost: ended
    /// runs are in the log only.
    pub(super) async fn rebuild(&mut self) -> Result<(), DriverError> {
        // During the replay the state is an earlier one.
        self.updates.publish_all(&self.follower.machine);
        let reached = self.follower.position.seq;
        let recovered = retry("load a checkpoint", || recovery::load(&self.backend, self.partition)).await?;
        let from = recovered.position.seq;
        let reader = self.backend.log.read(self.partition, from.next()).await?;
        let checkpointer = Checkpointer::new(self.backend.clone(), self.partition, &recovered);
        let mut follower = LogFollower::start(self.backend.clone(), self.partition, recovered).await?;
        follower.pass_over_lost_before(self.follower.passes_over_lost_before());
        // Replaced together: a leader that is stopped in between writes its last checkpoint from all three.
        (self.reader, self.checkpointer, self.follower) = (reader, checkpointer, follower);
        self.replay(reached, reached).await?;
        info!(
            partition = %self.partition, %from, to = %self.follower.position.seq,
            "state built again from the log"
        );
        Ok(())
    }

    /// Sends jobs that should be outstanding and are not in the queue.
    ///
    /// A job that is missing in the queue was never sent, or it was settled meanwhile. In the second case its outcome is in
    /// the log already, because a worker appends it before it acknowledges the job. So the queue is searched first, and then
    /// the log is read to its end. A job that is outstanding even then can be sent without repeating a call.
    pub(super) async fn resume(&mut self) -> Result<(), DriverError> {
        let jobs: Vec<_> = self.jobs_to_send().collect();
        let mut queued = BTreeSet::new();
        if !jobs.is_empty() {
            let are_queued = retry("search the queue for jobs", || self.backend.jobs.holds(&jobs)).await?;
            let found = jobs.into_iter().zip(are_queued).filter(|(_, is_queued)| *is_queued);
            queued.extend(found.map(|(job, _)| job.id));
            let tail = retry("find the end of the log", || self.backend.log.tail(self.partition)).await?;
            self.replay(tail, self.follower.position.seq).await?;
        }
        if !self.is_leader() {
            return Ok(()); // the new leader sends them
        }
        let missing: BTreeSet<JobId> =
            self.jobs_to_send().map(|job| job.id).filter(|id| !queued.contains(id)).collect();
        let effects = self.follower.machine.resume();
        append(&self.backend, self.partition, self.resumed_events(&missing, &effects)).await?;
        self.unsent_jobs = UnsentJobs::new(missing);
        self.perform(effects).await
    }

    /// Returns the outstanding jobs that the queue has to have, without those of excluded runs.
    fn jobs_to_send(&self) -> impl Iterator<Item = JobAddress> {
        self.follower.machine.jobs_to_send().filter(|job| !self.excluded_runs.contains(&job.id.run))
    }

    /// Returns an event for each run whose jobs are sent again or were granted, if jobs do not outlive their process. It is appended before
    /// the jobs are sent, so that no call is missing in the log.
    fn resumed_events(&self, missing: &BTreeSet<JobId>, effects: &[Effect]) -> Vec<Event> {
        if self.backend.jobs.outlives_process() {
            return Vec::new();
        }
        let granted = effects.iter().filter_map(|effect| match effect {
            // The call was cut off with its process; the event ends it.
            Effect::Grant(grant) => Some(grant.job.run),
            _ => None,
        });
        let sent = missing.iter().map(|job| job.run).chain(granted);
        let runs: BTreeSet<RunId> = sent.filter(|run| !self.excluded_runs.contains(run)).collect();
        runs.into_iter().map(|run| Event::Resumed { run }).collect()
    }
}
