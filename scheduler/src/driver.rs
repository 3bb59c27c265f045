//! Leads one partition: next input, ask the machine, perform what follows, in order.
//!
//! ```text
//!   LOG ──entries──► Driver ──Record──► Machine ──Effects──► Driver ──► LOG (Fired), JOBS, observer
//!                      │                                       └──► checkpoints (Saver)
//!                   clock ──tick──► Machine
//! ```
//!
//! Everything it performs is harmless to do twice, so a port that is away is asked again until it answers; the log
//! remembers the rest. Only jobs are not waited for: those that the queue has no room for are [held](held::Held). How a
//! leader gets to where it leads from is in [`takeover`], and how entries get into the machine in [`fold`](crate::fold).

mod held;
mod send;
mod takeover;
mod untold;

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_machine::{Effect, Effects, Retention};
use longshore_ports::{Backend, LogEntry, LogReader};
use longshore_proto::{Epoch, Partition, RunId, RunView};
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::held::Held;
use self::send::{Unsent, append, dispatch};
use self::untold::Untold;
use crate::fold::{BATCH, DriverError, Fold, insist};
use crate::pace::{Out, Pace};
use crate::saver::{Ready, Saver, Standing};

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
    /// Runs whose jobs are not sent.
    left_alone: BTreeSet<RunId>,
    held: Held,
    /// What follows from entries that were applied, until it is performed.
    following: Effects,
    untold: Untold,
    /// The jobs that are out, for whoever takes submits in.
    out: Out,
    /// Which finished runs are kept.
    retention: Retention,
}

impl Driver {
    /// The runs that have not ended, as of the takeover.
    pub fn live_runs(&self) -> Vec<RunId> {
        self.fold.machine.live_ids().collect()
    }

    /// A run that has not ended, as of the takeover.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.fold.machine.view(run)
    }

    /// Counts its jobs among those of this process.
    pub(crate) fn count_in(&mut self, pace: &Pace) {
        self.out = pace.partition();
        self.out.set(self.fold.machine.jobs_out());
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
        let ended = stop.run_until_cancelled(self.lead_on()).await;
        // Nobody else tells what the last checkpoint holds.
        self.untold.add_from(std::mem::take(&mut self.following));
        self.untold.tell_all(&self.fold.machine);
        let ended = ended.unwrap_or(Ok(Ended::Stopped))?;
        info!(partition = %self.partition, epoch = %self.epoch, ?ended, "no longer leading");
        if ended == Ended::Stopped && self.fold.is_whole() {
            self.saver.finish(&mut self.fold.machine, &self.fold.position).await?;
        }
        Ok(ended)
    }

    /// Leads until somebody else does.
    async fn lead_on(&mut self) -> Result<Ended, DriverError> {
        while self.fold.machine.epoch() <= self.epoch {
            // What was replayed is seen by others only once it is in a checkpoint.
            self.saver.touched();
            self.resume().await?;
            if self.work().await? == Standing::Lost {
                self.rebuild().await?;
            }
        }
        Ok(Ended::SteppedDown)
    }

    /// Takes inputs and performs effects until somebody else leads, or the checkpoint is lost.
    async fn work(&mut self) -> Result<Standing, DriverError> {
        while self.fold.machine.epoch() <= self.epoch {
            let wake = self.until_wake();
            tokio::select! { biased;
                ready = self.saver.ready() => match ready {
                    Ready::Behind => return Ok(Standing::Lost),
                    Ready::Due => self.saver.begin(&mut self.fold.machine, &self.fold.position)?,
                    Ready::Ended(delta, result) => {
                        if self.saver.ended(delta, result) == Standing::Lost {
                            return Ok(Standing::Lost);
                        }
                    }
                },
                () = self.held.due() => self.send_held().await?,
                entries = self.reader.next(BATCH) => self.take(entries?).await?,
                () = tokio::time::sleep(wake) => self.tick().await?,
            }
        }
        Ok(Standing::Kept)
    }

    /// Takes a batch of entries and performs what follows from all of them.
    async fn take(&mut self, entries: Vec<LogEntry>) -> Result<(), DriverError> {
        for entry in entries {
            self.fold.apply(entry, &mut self.following).await?;
        }
        let effects = std::mem::take(&mut self.following);
        self.out.set(self.fold.machine.jobs_out());
        self.saver.touched();
        if self.fold.machine.epoch() > self.epoch {
            return Ok(()); // what follows is the new leader's to do, and to tell
        }
        self.perform(effects).await?;
        self.fold.make_room();
        self.saver.relieve(&mut self.fold.machine);
        // Entries may keep coming for a long time; timers must not wait for a lull.
        if self.fold.machine.wake_at().is_some_and(|at| at <= self.fold.now()) {
            self.tick().await?;
        }
        Ok(())
    }

    /// Sends what there was no room for and is still wanted.
    async fn send_held(&mut self) -> Result<(), DriverError> {
        let held = self.held.take();
        let mut effects = self.fold.machine.resume();
        effects.retain(|effect| match effect {
            Effect::Dispatch(job) => held.contains(&job.id),
            Effect::Recall(id) => held.contains(id),
            _ => false,
        });
        self.perform(effects).await
    }

    /// Asks the machine which timers are due, and tells what has waited.
    async fn tick(&mut self) -> Result<(), DriverError> {
        let mut effects = Effects::new();
        let now = self.fold.now();
        self.fold.machine.tick(now, &mut effects);
        self.perform(effects).await
    }

    /// How long until the next timer, or until news are to be told.
    fn until_wake(&self) -> Duration {
        let timer = self.fold.machine.wake_at().map(|at| at.since(self.fold.now()));
        let news = self.untold.wake_at().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(news).fold(LONGEST_SLEEP, Duration::min)
    }

    /// Does what follows: facts and jobs fly together, each kind in its own order.
    async fn perform(&mut self, effects: Effects) -> Result<(), DriverError> {
        let (mut facts, mut jobs, mut recalls) = (Vec::new(), Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Append(event) => facts.push(event),
                Effect::Dispatch(job) if self.left_alone.contains(&job.id.run) => {}
                Effect::Dispatch(job) => jobs.push(*job),
                Effect::Recall(job) => recalls.push(job),
                Effect::Changed(change) => self.untold.add(change),
            }
        }
        let dispatched = async {
            // They would be refused as well, and wait for that.
            if self.held.queue_is_full() {
                let jobs = jobs.into_iter().map(|job| job.id).collect();
                Ok(Unsent { jobs, queue_is_full: true })
            } else {
                dispatch(&self.backend, jobs).await
            }
        };
        let facts = append(&self.backend, self.partition, facts);
        let (untold, machine) = (&mut self.untold, &self.fold.machine);
        let told = async {
            // Whoever hears of it has time, and jobs do not: they go first, but it is not waited for them.
            yield_now().await;
            untold.tell(machine);
            Ok(())
        };
        let (unsent, (), ()) = tokio::try_join!(biased; dispatched, facts, told)?;
        self.held.add(unsent);
        // After the jobs they mean: a recall looks for a job that is queued or out.
        for job in recalls {
            insist("recall a job", || self.backend.jobs.recall(&job)).await?;
        }
        Ok(())
    }
}
