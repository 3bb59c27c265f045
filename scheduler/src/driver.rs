//! Leads one partition: next input, ask the machine, perform what follows, in order.
//!
//! ```text
//!   LOG ──entries──► Driver ──Record──► Machine ──Effects──► Driver ──► LOG (Fired), JOBS, watchers
//!                      │                                       └──► checkpoints (Saver)
//!                   clock ──tick──► Machine
//! ```
//!
//! Everything it performs is harmless to do twice, so a port that is away is asked again until it answers; the log
//! remembers the rest. Retrying a port lives here and nowhere else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use longshore_backend::{Backend, Entry, LogReader, clock};
use longshore_proto::{
    Digest, Epoch, Event, INLINE_LIMIT_BYTES, Job, NodeId, Partition, Payload, Record, RunId, RunView, Seq,
    WireError,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::machine::{Effect, Effects, Machine, Refused};
use crate::recovery::{self, Position, Recovered};
use crate::saver::{Ready, Saver};
use crate::watchers::Watchers;

/// Entries taken at once: what follows from them is appended and published together, and a batch of small records
/// stays within a few megabytes.
const BATCH: usize = 512;

/// First and longest pause before a port is asked again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Large values held between two batches, as bytes of JSON text: enough for a run that passes some around, and a
/// bound for the process.
const VALUES_HELD_BYTES: usize = 64 * 1024 * 1024;

/// Longest sleep between two looks at the clock: the time of day may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Why a partition could not be led any further.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A port is broken for good.
    #[error(transparent)]
    Backend(#[from] longshore_backend::Error),
    /// The log has a hole.
    #[error("the log of partition {partition} jumps from {applied} to {found}: entries are missing")]
    Gap {
        /// The partition.
        partition: Partition,
        /// The last entry applied.
        applied: Seq,
        /// The next one the log gave.
        found: Seq,
    },
    /// A newer version has written to the log.
    #[error(
        "entry {seq} of the log has format version {found}, which this version of longshore cannot read: upgrade it"
    )]
    Newer {
        /// The entry.
        seq: Seq,
        /// Its format.
        found: u8,
    },
    /// A large value is gone.
    #[error("the blob {0} is missing, and a run needs it")]
    BlobMissing(Digest),
    /// A large value is no JSON.
    #[error("the blob {0} holds no JSON value")]
    BlobMalformed(Digest),
    /// The machine's state cannot be written down.
    #[error("the state cannot be written: {0}")]
    State(#[from] WireError),
}

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
    machine: Machine,
    position: Position,
    saver: Saver,
    reader: Box<dyn LogReader>,
    epoch: Epoch,
    watchers: Arc<Watchers>,
    /// Bytes of large values the machine holds.
    values_held: usize,
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
        let Recovered { machine, position, stored } = recovery::load(&backend, partition).await?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let jobs_lost = !backend.jobs.outlives_process();
        let announce = Event::LeaderAnnounced { node, version, jobs_lost };
        let announced = backend.log.append(partition, vec![announce]).await?;
        let epoch = Epoch(announced.first().copied().unwrap_or_default());
        let reader = backend.log.read(partition, position.seq.next()).await?;
        let saver = Saver::new(backend.clone(), partition, stored);
        let mut driver = Self {
            backend,
            partition,
            machine,
            position,
            saver,
            reader,
            epoch,
            watchers,
            values_held: 0,
            left_alone: BTreeSet::new(),
        };
        driver.learn_plans().await?;
        let from = driver.position.seq;
        while driver.machine.applied() < epoch.0 {
            for entry in driver.reader.next(BATCH).await? {
                driver.apply(entry, &mut Effects::new()).await?;
            }
        }
        info!(%partition, %epoch, %from, runs = driver.machine.live_runs(), "leading");
        Ok(driver)
    }

    /// The runs that have not ended, as of the takeover.
    pub fn live_runs(&self) -> Vec<RunId> {
        self.machine.live_ids().collect()
    }

    /// A run that has not ended, as of the takeover.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.machine.view(run)
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
            self.saver.finish(&mut self.machine, &self.position).await?;
        }
        Ok(ended)
    }

    /// Takes inputs and performs effects until somebody else leads.
    async fn lead_on(&mut self) -> Result<Ended, DriverError> {
        let resumed = self.machine.resume();
        self.perform(resumed).await?;
        loop {
            let wake = self.until_wake();
            tokio::select! { biased;
                ready = self.saver.ready() => match ready {
                    Ready::Due => self.saver.begin(&mut self.machine, &self.position)?,
                    Ready::Ended(delta, result) => self.saver.ended(*delta, result),
                },
                entries = self.reader.next(BATCH) => {
                    self.take(entries?).await?;
                    if self.machine.epoch() > self.epoch {
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
            self.apply(entry, &mut effects).await?;
        }
        self.saver.touched();
        if self.machine.epoch() > self.epoch {
            return Ok(()); // what follows is the new leader's to do
        }
        self.perform(effects).await?;
        if self.values_held > VALUES_HELD_BYTES {
            self.machine.forget_blobs();
            self.values_held = 0;
        }
        // Entries may keep coming for a long time; timers must not wait for a lull.
        if self.machine.wake_at().is_some_and(|at| at <= clock::now()) {
            self.tick().await?;
        }
        Ok(())
    }

    /// Applies one entry, having brought what the machine needs for it.
    async fn apply(&mut self, entry: Entry, effects: &mut Effects) -> Result<(), DriverError> {
        let Entry { seq, at, body, event } = entry;
        if seq != self.position.seq.next() {
            return Err(DriverError::Gap {
                partition: self.partition,
                applied: self.position.seq,
                found: seq,
            });
        }
        match event {
            // Passing over what a newer version wrote would lose it for good once a checkpoint has moved past it.
            Err(WireError::Version { found }) => return Err(DriverError::Newer { seq, found }),
            Err(error) => {
                warn!(partition = %self.partition, %seq, %error, "entry passed over: it cannot be read");
                self.machine.pass(seq, at);
            }
            Ok(event) => {
                self.learn(&event).await?;
                let record = Record { seq, at, event };
                if let Err(refused) = self.machine.handle(&record, effects) {
                    debug!(partition = %self.partition, %seq, %refused, "record changes nothing");
                    debug_assert!(refused != Refused::Unprepared, "everything needed was brought");
                }
            }
        }
        self.position.before = self.position.hash;
        self.position.hash = self.position.hash.extend(seq, at, &body);
        self.position.seq = seq;
        Ok(())
    }

    /// Asks the machine which timers are due.
    async fn tick(&mut self) -> Result<(), DriverError> {
        let mut effects = Effects::new();
        self.machine.tick(clock::now(), &mut effects);
        self.perform(effects).await
    }

    /// How long until the next timer.
    fn until_wake(&self) -> Duration {
        self.machine.wake_at().map_or(LONGEST_SLEEP, |at| at.since(clock::now()).min(LONGEST_SLEEP))
    }

    /// Brings the plans of every live run.
    async fn learn_plans(&mut self) -> Result<(), DriverError> {
        for digest in self.machine.missing_plans() {
            self.learn_plan(digest).await?;
        }
        Ok(())
    }

    /// Brings whatever the machine needs for an event. Twice, because a plan tells which values it reads.
    async fn learn(&mut self, event: &Event) -> Result<(), DriverError> {
        loop {
            let needs = self.machine.needs(event);
            if needs.is_empty() {
                return Ok(());
            }
            for digest in needs.plans {
                self.learn_plan(digest).await?;
            }
            for digest in needs.blobs {
                let bytes = insist("fetch a value", || self.backend.blobs.get(digest)).await?;
                let bytes = bytes.ok_or(DriverError::BlobMissing(digest))?;
                let value: Value =
                    serde_json::from_slice(&bytes).map_err(|_| DriverError::BlobMalformed(digest))?;
                self.values_held += bytes.len();
                self.machine.learn_blob(digest, Arc::new(value));
            }
        }
    }

    async fn learn_plan(&mut self, digest: Digest) -> Result<(), DriverError> {
        let bytes = insist("fetch a workflow", || self.backend.blobs.get(digest)).await?;
        let plan = match bytes.map(String::from_utf8) {
            None => Err(format!("the text of workflow {} is gone", digest.short())),
            Some(Err(_)) => Err(format!("the text of workflow {} is no text", digest.short())),
            Some(Ok(text)) => longshore_workflow::compile(&text).map(Arc::new).map_err(|problems| {
                format!("workflow {} does not compile with this version: {problems}", digest.short())
            }),
        };
        self.machine.learn_plan(digest, plan);
        Ok(())
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
            self.watchers.show(run, || self.machine.view(run));
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

/// Asks a port until it answers, or says that asking again is no use.
async fn insist<T, F>(what: &str, ask: impl Fn() -> F) -> Result<T, DriverError>
where
    F: Future<Output = Result<T, longshore_backend::Error>>,
{
    let (mut pause, longest) = BACKOFF;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.retryable => {
                warn!(%error, ?pause, "could not {what}; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
