//! Leader of one partition: reads the log, applies it to the machine, and performs the effects.
//!
//! ```text
//!   LOG ──entries──► Driver ──Record──► Machine ──Effects──► Driver ──► LOG (Fired), JOBS, run updates
//!                      │                                       └──► checkpoints (Checkpointer)
//!                   clock ──tick──► Machine
//! ```
//!
//! Performing an effect twice is harmless, so a request to a port is retried until the port answers; after a crash the log
//! has the rest. The driver does not wait for a full queue ([`unsent_jobs`]), for recalls ([`pending_recalls`]) or for a
//! checkpoint. [`takeover`] builds the state that a leader starts from, and [`log_follower`](crate::log_follower) applies
//! entries to the machine.

mod evaluations;
mod pending_recalls;
mod pending_updates;
mod send;
mod takeover;
mod unsent_jobs;

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use longshore_machine::{Effect, Effects};
use longshore_ports::{Backend, LogEntry, LogReader};
use longshore_proto::{Epoch, Event, Partition, RunId, RunView};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::evaluations::Evaluations;
use self::pending_recalls::{PendingRecalls, RecalledJob};
use self::pending_updates::PendingUpdates;
use self::send::{PUBLISH_JOBS, RejectedJobs, SizedJob, append, dispatch, send_grants};
use self::unsent_jobs::UnsentJobs;
use crate::backpressure::{Backpressure, OutstandingJobs};
use crate::checkpointer::{CheckpointStatus, CheckpointTask, Checkpointer};
use crate::log_follower::{BATCH_ENTRIES, DriverError, LogFollower};

/// Longest sleep between two readings of the clock, because the time of day may be set during a sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Bytes of arguments after which no further unsent job is added to a publish: some dozens of the largest jobs.
const SEND_BYTES: usize = 4 * 1024 * 1024;

/// Reason why a partition is no longer led.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeadershipEnd {
    /// The caller stopped the leader.
    Stopped,
    /// Another leader announced itself.
    SteppedDown,
}

/// The leader of one partition.
pub struct Driver {
    backend: Backend,
    partition: Partition,
    follower: LogFollower,
    checkpointer: Checkpointer,
    reader: Box<dyn LogReader>,
    epoch: Epoch,
    /// Runs whose jobs are not sent.
    excluded_runs: BTreeSet<RunId>,
    unsent_jobs: UnsentJobs,
    evaluations: Evaluations,
    recalls: PendingRecalls,
    /// Effects of applied entries that are not performed yet.
    effects: Effects,
    updates: PendingUpdates,
    outstanding: OutstandingJobs,
    /// Changes when the queue has lost its jobs.
    queue_replacements: Option<watch::Receiver<u64>>,
}

impl Driver {
    /// Returns the runs that had not ended at the takeover.
    pub fn live_runs(&self) -> Vec<RunId> {
        self.follower.machine.live_run_ids().collect()
    }

    /// Returns the view of a run that had not ended at the takeover.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.follower.machine.view(run)
    }

    /// Reports the number of outstanding jobs to the backpressure of this process.
    pub(crate) fn report_to(&mut self, backpressure: &Backpressure) {
        self.outstanding = backpressure.add_partition();
        self.outstanding.set(self.follower.machine.outstanding_jobs());
    }

    /// Excludes runs from dispatch: they stay as they are, and another process can continue them.
    ///
    /// A process that ends with one run must not start calls of other runs, because its end would cut them off.
    pub fn exclude_runs(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.excluded_runs.extend(runs);
    }

    /// Leads the partition until `stop` or until another leader announces itself.
    ///
    /// # Errors
    ///
    /// The log cannot be followed, or a port fails permanently.
    pub async fn lead(mut self, stop: CancellationToken) -> Result<LeadershipEnd, DriverError> {
        // A stop in the middle of an effect loses nothing: the next leader derives what is missing from the state.
        let ended = stop.run_until_cancelled(self.lead_until_superseded()).await;
        // The next leader does not publish updates of records that the last checkpoint covers.
        self.updates.push_from(std::mem::take(&mut self.effects));
        self.updates.publish_all(&self.follower.machine);
        let ended = ended.unwrap_or(Ok(LeadershipEnd::Stopped))?;
        info!(partition = %self.partition, epoch = %self.epoch, ?ended, "no longer leading");
        if ended == LeadershipEnd::Stopped {
            self.record_untaken_jobs().await?;
        }
        if ended == LeadershipEnd::Stopped && self.follower.is_between_entries() {
            self.checkpointer.finish(&mut self.follower.machine, &self.follower.position).await?;
        }
        Ok(ended)
    }

    async fn lead_until_superseded(&mut self) -> Result<LeadershipEnd, DriverError> {
        while self.is_leader() {
            // Readers see replayed records only once a checkpoint has them.
            self.checkpointer.note_change();
            self.resume().await?;
            if self.work().await? == CheckpointStatus::Lost {
                self.rebuild().await?;
            }
        }
        Ok(LeadershipEnd::SteppedDown)
    }

    fn is_leader(&self) -> bool {
        self.follower.machine.epoch() <= self.epoch
    }

    /// Applies entries and performs effects until another leader announces itself, or the checkpoint or the queue is lost.
    async fn work(&mut self) -> Result<CheckpointStatus, DriverError> {
        while self.is_leader() {
            let wake = self.until_wake();
            tokio::select! { biased;
                task = self.checkpointer.next_task() => {
                    if self.run_checkpoint_task(task)? == CheckpointStatus::Lost {
                        return Ok(CheckpointStatus::Lost);
                    }
                }
                () = self.recalls.send() => {}
                event = self.evaluations.next() => self.append_evaluated(event).await?,
                () = self.unsent_jobs.due() => self.send_unsent().await?,
                // The caller sends the outstanding jobs again.
                () = changed(&mut self.queue_replacements) => return Ok(CheckpointStatus::Intact),
                entries = self.reader.next(BATCH_ENTRIES) => self.process(entries?).await?,
                () = tokio::time::sleep(wake) => self.tick().await?,
            }
        }
        Ok(CheckpointStatus::Intact)
    }

    fn run_checkpoint_task(&mut self, task: CheckpointTask) -> Result<CheckpointStatus, DriverError> {
        match task {
            CheckpointTask::Rebuild => Ok(CheckpointStatus::Lost),
            CheckpointTask::StartCommit => {
                self.checkpointer.start_commit(&mut self.follower.machine, &self.follower.position)?;
                Ok(CheckpointStatus::Intact)
            }
            CheckpointTask::NoteResult(result) => Ok(self.checkpointer.note_result(result)),
        }
    }

    /// Applies a batch of entries and performs their effects together.
    async fn process(&mut self, entries: Vec<LogEntry>) -> Result<(), DriverError> {
        for entry in entries {
            self.follower.apply(entry, &mut self.effects).await?;
        }
        let effects = std::mem::take(&mut self.effects);
        self.outstanding.set(self.follower.machine.outstanding_jobs());
        self.checkpointer.note_change();
        if !self.is_leader() {
            return Ok(()); // the new leader performs these effects
        }
        self.perform(effects).await?;
        self.checkpointer.discard_surplus(&mut self.follower.machine);
        // Entries may arrive without a pause; timers do not wait for one.
        if self.follower.machine.wake_at().is_some_and(|at| at <= self.follower.now()) {
            self.tick().await?;
        }
        Ok(())
    }

    /// Sends unsent jobs, as many as one publish takes, except for those that are no longer wanted.
    async fn send_unsent(&mut self) -> Result<(), DriverError> {
        self.unsent_jobs.begin_try();
        let (mut effects, mut jobs, mut bytes) = (Effects::new(), 0, 0);
        while jobs < PUBLISH_JOBS
            && bytes < SEND_BYTES
            && let Some(id) = self.unsent_jobs.pop()
        {
            for effect in self.follower.machine.send_job(&id) {
                if let Effect::Dispatch { argument_bytes, .. } = &effect {
                    jobs += 1;
                    bytes += argument_bytes;
                }
                effects.push(effect);
            }
        }
        self.perform(effects).await
    }

    /// Records the timers that are due, and publishes the updates that are due.
    async fn tick(&mut self) -> Result<(), DriverError> {
        let mut effects = Effects::new();
        let now = self.follower.now();
        self.follower.machine.tick(now, &mut effects);
        self.perform(effects).await
    }

    /// Appends the result of an evaluation, and starts the next one.
    async fn append_evaluated(&mut self, event: Event) -> Result<(), DriverError> {
        append(&self.backend, self.partition, vec![event]).await?;
        self.evaluations.start(Vec::new(), &self.follower.machine);
        Ok(())
    }

    /// Returns the time until the next timer or update is due.
    fn until_wake(&self) -> Duration {
        let timer = self.follower.machine.wake_at().map(|at| at.since(self.follower.now()));
        let updates = self.updates.due_at().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(updates).fold(LONGEST_SLEEP, Duration::min)
    }

    /// Performs effects: events and jobs are sent concurrently, each kind in its own order.
    async fn perform(&mut self, effects: Effects) -> Result<(), DriverError> {
        let (mut events, mut jobs) = (Vec::new(), Vec::new());
        let (mut grants, mut recalls, mut evaluations) = (Vec::new(), Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Append(event) => events.push(event),
                Effect::Dispatch { job, .. } if self.excluded_runs.contains(&job.id.run) => {}
                Effect::Dispatch { job, argument_bytes } => jobs.push(SizedJob { job: *job, argument_bytes }),
                Effect::Grant(grant) => grants.push(grant),
                Effect::Evaluate { run, step, number } => evaluations.push((run, step, number)),
                Effect::Recall(job) => recalls.push(job),
                Effect::Changed(change) => self.updates.push(change),
            }
        }
        let dispatched = async {
            // A full queue would reject these jobs as well.
            if self.unsent_jobs.queue_is_full() {
                let jobs = jobs.into_iter().map(|sized| sized.job.id).collect();
                Ok(RejectedJobs { jobs, queue_is_full: true })
            } else {
                dispatch(&self.backend, jobs).await
            }
        };
        let appended = append(&self.backend, self.partition, events);
        let (updates, machine) = (&mut self.updates, &self.follower.machine);
        let published = async {
            // Jobs are latency-critical and updates are not: publish once the jobs are on their way.
            yield_now().await;
            updates.publish_due(machine);
            Ok(())
        };
        let granted = async {
            send_grants(&self.backend, &grants).await;
            Ok(())
        };
        let (rejected, (), (), ()) = tokio::try_join!(biased; dispatched, granted, appended, published)?;
        self.unsent_jobs.add(rejected);
        // After the jobs: a recall concerns a job that is in the queue or delivered.
        let machine = &self.follower.machine;
        let recalled = |id| RecalledJob { has_ended: !machine.is_outstanding(&id), id };
        self.recalls.push(recalls.into_iter().map(recalled).collect());
        self.evaluations.start(evaluations, &self.follower.machine);
        Ok(())
    }
}

/// Waits for a change; for ever if there can be none. Safe to cancel.
async fn changed(receiver: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = receiver
        && receiver.changed().await.is_ok()
    {
        return;
    }
    pending().await
}
