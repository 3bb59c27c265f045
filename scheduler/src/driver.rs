//! Leads one partition: next input, ask the machine, perform what follows, in order.
//!
//! ```text
//!   LOG ──entries──► Driver ──Record──► Machine ──Effects──► Driver ──► LOG (Fired), JOBS, watchers
//!                      │                                       └──► checkpoints (Saver)
//!                   clock ──tick──► Machine
//! ```
//!
//! Everything it performs is harmless to do twice, so a port that is away is asked again until it answers; the log
//! remembers the rest. How entries get into the machine is in [`fold`](crate::fold).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use longshore_backend::{Backend, Entry, LogReader, clock};
use longshore_proto::{Epoch, Event, INLINE_LIMIT_BYTES, Job, NodeId, Partition, Payload, RunId, RunView};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::fold::{BATCH, DriverError, Fold, insist};
use crate::machine::{Effect, Effects};
use crate::recovery;
use crate::saver::{Ready, Saver};
use crate::watchers::Watchers;

/// Longest sleep between two looks at the clock: the time of day may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Why a partition is no longer led.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// Somebody else leads now.
    SteppedDown,
}

/// The leader of one partition.
pub struct Driver {
    backend: Backend,
    partition: Partition,
    fold: Fold,
    saver: Saver,
    reader: Box<dyn LogReader>,
    epoch: Epoch,
    watchers: Arc<Watchers>,
    /// Runs whose jobs are not sent.
    left_alone: BTreeSet<RunId>,
}

impl Driver {
    /// Takes a partition over: loads, announces, replays silently up to the announcement.
    pub async fn take_over(
        backend: Backend,
        partition: Partition,
        node: NodeId,
        watchers: Arc<Watchers>,
    ) -> Result<Self, DriverError> {
        let recovered = recovery::load(&backend, partition).await?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let jobs_lost = !backend.jobs.outlives_process();
        let announce = Event::LeaderAnnounced { node, version, jobs_lost };
        let announced = backend.log.append(partition, vec![announce]).await?;
        let epoch = Epoch(announced.first().copied().unwrap_or_default());
        let from = recovered.position.seq;
        let mut reader = backend.log.read(partition, from.next()).await?;
        let saver = Saver::new(backend.clone(), partition, recovered.stored.clone());
        let mut fold = Fold::begin(backend.clone(), partition, recovered).await?;
        fold.replay(reader.as_mut(), epoch.0).await?;
        info!(%partition, %epoch, %from, runs = fold.machine.live_runs(), "leading");
        let left_alone = BTreeSet::new();
        Ok(Self { backend, partition, fold, saver, reader, epoch, watchers, left_alone })
    }

    /// The runs that have not ended, as of the takeover.
    pub fn live_runs(&self) -> Vec<RunId> {
        self.fold.machine.live_ids().collect()
    }

    /// A run that has not ended, as of the takeover.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.fold.machine.view(run)
    }

    /// Sends no jobs of these runs: they stay as they are, for another process to go on with.
    ///
    /// A process that ends when one run has ended must not begin the calls of others, which it would cut off.
    pub fn leave_alone(&mut self, runs: impl IntoIterator<Item = RunId>) {
        self.left_alone.extend(runs);
    }

    /// Leads until told to stop, or until somebody else leads.
    pub async fn lead(mut self, stop: CancellationToken) -> Result<Ended, DriverError> {
        // Being stopped in the middle of an effect loses nothing: whatever was not done is derived again from state.
        let ended = match stop.run_until_cancelled(self.lead_on()).await {
            None => Ended::Stopped,
            Some(ended) => ended?,
        };
        info!(partition = %self.partition, epoch = %self.epoch, ?ended, "no longer leading");
        if ended == Ended::Stopped {
            self.saver.finish(&mut self.fold.machine, &self.fold.position).await?;
        }
        Ok(ended)
    }

    /// Takes inputs and performs effects until somebody else leads.
    async fn lead_on(&mut self) -> Result<Ended, DriverError> {
        let resumed = self.fold.machine.resume();
        self.perform(resumed).await?;
        loop {
            let wake = self.until_wake();
            tokio::select! { biased;
                ready = self.saver.ready() => match ready {
                    Ready::Due => self.saver.begin(&mut self.fold.machine, &self.fold.position)?,
                    Ready::Ended(delta, result) => self.saver.ended(*delta, result),
                },
                entries = self.reader.next(BATCH) => {
                    self.take(entries?).await?;
                    if self.fold.machine.epoch() > self.epoch {
                        return Ok(Ended::SteppedDown);
                    }
                }
                () = tokio::time::sleep(wake) => self.tick().await?,
            }
        }
    }

    /// Takes a batch of entries and performs what follows from all of them.
    async fn take(&mut self, entries: Vec<Entry>) -> Result<(), DriverError> {
        let mut effects = Effects::new();
        for entry in entries {
            self.fold.apply(entry, &mut effects).await?;
        }
        self.saver.touched();
        if self.fold.machine.epoch() > self.epoch {
            return Ok(()); // what follows is the new leader's to do
        }
        self.perform(effects).await?;
        self.fold.make_room();
        // Entries may keep coming for a long time; timers must not wait for a lull.
        if self.fold.machine.wake_at().is_some_and(|at| at <= clock::now()) {
            self.tick().await?;
        }
        Ok(())
    }

    /// Asks the machine which timers are due.
    async fn tick(&mut self) -> Result<(), DriverError> {
        let mut effects = Effects::new();
        self.fold.machine.tick(clock::now(), &mut effects);
        self.perform(effects).await
    }

    /// How long until the next timer.
    fn until_wake(&self) -> Duration {
        self.fold.machine.wake_at().map_or(LONGEST_SLEEP, |at| at.since(clock::now()).min(LONGEST_SLEEP))
    }

    /// Does what follows: facts and jobs fly together, each kind in its own order.
    async fn perform(&mut self, effects: Effects) -> Result<(), DriverError> {
        let (mut facts, mut jobs, mut recalls, mut changed) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Append(event) => facts.push(event),
                Effect::Dispatch(job) if self.left_alone.contains(&job.id.run) => {}
                Effect::Dispatch(job) => jobs.push(*job),
                Effect::Recall(job) => recalls.push(job),
                Effect::Changed(run) => changed.push(run),
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for run in changed {
            self.watchers.show(run, || self.fold.machine.view(run));
        }
        tokio::try_join!(append(&self.backend, self.partition, facts), dispatch(&self.backend, jobs))?;
        // After the jobs they mean: a recall looks for a job that is queued or out.
        for job in recalls {
            insist("recall a job", || self.backend.jobs.recall(&job)).await?;
        }
        Ok(())
    }
}

async fn append(backend: &Backend, partition: Partition, facts: Vec<Event>) -> Result<(), DriverError> {
    if !facts.is_empty() {
        insist("append to the log", || backend.log.append(partition, facts.clone())).await?;
    }
    Ok(())
}

async fn dispatch(backend: &Backend, mut jobs: Vec<Job>) -> Result<(), DriverError> {
    if jobs.is_empty() {
        return Ok(());
    }
    for job in &mut jobs {
        lighten(backend, &mut job.arguments).await?;
    }
    insist("publish jobs", || backend.jobs.publish(jobs.clone())).await?;
    Ok(())
}

/// Puts large arguments into a blob, so that the job fits into a message.
async fn lighten(backend: &Backend, arguments: &mut Payload) -> Result<(), DriverError> {
    let Payload::Inline(value) = &*arguments else { return Ok(()) };
    let text = value.to_string();
    if text.len() > INLINE_LIMIT_BYTES {
        let bytes = text.len() as u64;
        let digest = insist("keep arguments", || backend.blobs.put(text.clone().into_bytes())).await?;
        *arguments = Payload::Blob { digest, bytes };
    }
    Ok(())
}
