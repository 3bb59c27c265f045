//! Leads one partition: next input, ask the machine, perform what follows, in order.
//!
//! ```text
//!   LOG ──entries──► Driver ──Record──► Machine ──Effects──► Driver ──► LOG (Fired), JOBS, observer
//!                      │                                       └──► checkpoints (Saver)
//!                   clock ──tick──► Machine
//! ```
//!
//! Everything it performs is harmless to do twice, so a port that is away is asked again until it answers; the log
//! remembers the rest. Only jobs are not waited for: those that the queue has no room for are [held](held::Held). How entries get into the machine is in [`fold`](crate::fold).

mod held;
mod send;
mod untold;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use longshore_backend::{Backend, Entry, LogReader};
use longshore_proto::{Epoch, Event, Job, NodeId, Partition, RunId, RunView, Seq};
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::held::Held;
use self::send::{append, dispatch};
use self::untold::Untold;
use crate::fold::{BATCH, DriverError, Fold, insist};
use crate::machine::{Effect, Effects, Retention};
use crate::observer::Observer;
use crate::pace::{Out, Pace};
use crate::recovery;
use crate::saver::{Ready, Saver, Standing};

/// Longest sleep between two looks at the clock: the time of day may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Entries that are replayed between two looks at how much waits for a checkpoint: each may hold some dozens of events.
const REPLAYED_AT_ONCE: u64 = 50;

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
    /// Takes a partition over: loads, announces, replays silently up to the announcement.
    pub async fn take_over(
        backend: Backend,
        partition: Partition,
        node: NodeId,
        observer: Arc<dyn Observer>,
        retention: Retention,
    ) -> Result<Self, DriverError> {
        let mut recovered = recovery::load(&backend, partition).await?;
        recovered.machine.retain(retention);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let jobs_lost = !backend.jobs.outlives_process();
        let announce = Event::LeaderAnnounced { node, version, jobs_lost };
        let announced = backend.log.append(partition, &[announce]).await?;
        let epoch = Epoch(announced.first().copied().unwrap_or_default());
        let from = recovered.position.seq;
        // Nobody has told what was appended while nobody led, and whoever led before may have ended between a record and
        // its news. Of a log that is read as a whole, nearly everything was told long ago.
        let told = match recovered.stored {
            Some(_) => from,
            None => Seq(epoch.0.0.saturating_sub(REPLAYED_AT_ONCE)),
        };
        let reader = backend.log.read(partition, from.next()).await?;
        let saver = Saver::new(backend.clone(), partition, &recovered);
        let fold = Fold::begin(backend.clone(), partition, recovered).await?;
        let (left_alone, held, following) = (BTreeSet::new(), Held::default(), Effects::new());
        let (untold, out) = (Untold::new(observer), Pace::default().partition());
        let mut driver = Self {
            backend,
            partition,
            fold,
            saver,
            reader,
            epoch,
            left_alone,
            held,
            following,
            untold,
            out,
            retention,
        };
        driver.replay(epoch.0, told).await?;
        info!(%partition, %epoch, %from, runs = driver.fold.machine.live_runs(), "leading");
        Ok(driver)
    }

    /// Applies entries silently until `to` is reached; only the news of those beyond `told` are told.
    async fn replay(&mut self, to: Seq, told: Seq) -> Result<(), DriverError> {
        while self.fold.position.seq < to {
            let stop = to.min(Seq(self.fold.position.seq.0.saturating_add(REPLAYED_AT_ONCE)));
            let effects = self.fold.replay(self.reader.as_mut(), stop, told).await?;
            self.untold.add_from(effects);
            // Before the runs that have ended are handed to the saver.
            self.untold.tell(&self.fold.machine);
            if self.fold.position.seq < to {
                self.saver.keep_up(&mut self.fold.machine, &self.fold.position).await?;
            }
        }
        Ok(())
    }

    /// Builds the state again from what the checkpoint store holds and from the log, so that the next checkpoint brings
    /// back what was lost there: runs that have ended are in the log alone.
    async fn rebuild(&mut self) -> Result<(), DriverError> {
        // While it is built, the state is an old one.
        self.untold.tell_all(&self.fold.machine);
        let reach = self.fold.position.seq;
        let mut recovered =
            insist("load a checkpoint", || recovery::load(&self.backend, self.partition)).await?;
        recovered.machine.retain(self.retention);
        let from = recovered.position.seq;
        let reader = self.backend.log.read(self.partition, from.next()).await?;
        let saver = Saver::new(self.backend.clone(), self.partition, &recovered);
        let fold = Fold::begin(self.backend.clone(), self.partition, recovered).await?;
        // All at once: whoever is stopped in the middle writes a last checkpoint of what belongs together.
        (self.reader, self.saver, self.fold) = (reader, saver, fold);
        self.replay(reach, reach).await?;
        info!(partition = %self.partition, %from, to = %self.fold.position.seq, "state built again from the log");
        Ok(())
    }

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

    /// Sends what ought to be out and is not.
    ///
    /// A job that is not in the queue was never sent, or it was settled in the meantime; then its outcome is in the log
    /// already, because workers report before they acknowledge. So the queue is looked at first, and the log is read
    /// to its end after that: what is still outstanding then may be sent, and no call is made once more.
    async fn resume(&mut self) -> Result<(), DriverError> {
        let mut jobs: Vec<Job> = self.fold.machine.resume().into_iter().filter_map(job).collect();
        jobs.retain(|job| !self.left_alone.contains(&job.id.run));
        let mut queued = BTreeSet::new();
        if !jobs.is_empty() {
            let holds = insist("look for jobs", || self.backend.jobs.holds(&jobs)).await?;
            queued.extend(jobs.into_iter().zip(holds).filter(|(_, held)| *held).map(|(job, _)| job.id));
            let tail = insist("find the end of the log", || self.backend.log.tail(self.partition)).await?;
            self.replay(tail, self.fold.position.seq).await?;
        }
        if self.fold.machine.epoch() > self.epoch {
            return Ok(()); // it is the new leader's to do
        }
        self.held.take(); // they are among those that are outstanding
        let mut resumed = self.fold.machine.resume();
        resumed.retain(|effect| !matches!(effect, Effect::Dispatch(job) if queued.contains(&job.id)));
        append(&self.backend, self.partition, self.going_on(&resumed)).await?;
        self.perform(resumed).await
    }

    /// Which runs go on, where jobs end with their process: only what was sent can be lost. To be recorded before it is
    /// sent, so that no call is missing.
    fn going_on(&self, resumed: &[Effect]) -> Vec<Event> {
        if self.backend.jobs.outlives_process() {
            return Vec::new();
        }
        let sent = resumed.iter().filter_map(|effect| match effect {
            Effect::Dispatch(job) => Some(job.id.run),
            _ => None,
        });
        let runs: BTreeSet<RunId> = sent.filter(|run| !self.left_alone.contains(run)).collect();
        runs.into_iter().map(|run| Event::Resumed { run }).collect()
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
    async fn take(&mut self, entries: Vec<Entry>) -> Result<(), DriverError> {
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
            let full = !self.held.is_empty();
            if full {
                Ok(jobs.into_iter().map(|job| job.id).collect())
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
        let (refused, (), ()) = tokio::try_join!(biased; dispatched, facts, told)?;
        self.held.add(refused);
        // After the jobs they mean: a recall looks for a job that is queued or out.
        for job in recalls {
            insist("recall a job", || self.backend.jobs.recall(&job)).await?;
        }
        Ok(())
    }
}

/// The job that is to be sent, if that is what follows.
fn job(effect: Effect) -> Option<Job> {
    match effect {
        Effect::Dispatch(job) => Some(*job),
        _ => None,
    }
}
