//! How a leader gets to where it leads from: takes a partition over, builds its state again, sends what is missing.

use std::collections::BTreeSet;
use std::sync::Arc;

use longshore_machine::{Effect, Effects, Retention};
use longshore_ports::Backend;
use longshore_proto::{Epoch, Event, Job, NodeId, Partition, RunId, Seq};
use tracing::info;

use super::Driver;
use super::held::Held;
use super::send::append;
use super::untold::Untold;
use crate::fold::{DriverError, Fold, insist};
use crate::observer::Observer;
use crate::pace::Pace;
use crate::recovery;
use crate::saver::Saver;

/// Entries that are replayed between two looks at how much waits for a checkpoint: each may hold some dozens of events.
const REPLAYED_AT_ONCE: u64 = 50;

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
    pub(super) async fn rebuild(&mut self) -> Result<(), DriverError> {
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

    /// Sends what ought to be out and is not.
    ///
    /// A job that is not in the queue was never sent, or it was settled in the meantime; then its outcome is in the log
    /// already, because workers report before they acknowledge. So the queue is looked at first, and the log is read
    /// to its end after that: what is still outstanding then may be sent, and no call is made once more.
    pub(super) async fn resume(&mut self) -> Result<(), DriverError> {
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
}

/// The job that is to be sent, if that is what follows.
fn job(effect: Effect) -> Option<Job> {
    match effect {
        Effect::Dispatch(job) => Some(*job),
        _ => None,
    }
}
