//! When and how a partition's state is checkpointed.
//!
//! One commit at a time, at most one every tenth or fifth of a second, each with everything that changed since the last.
//! One whose fate is unknown is sent again as it was, until it is accepted or refused, so a checkpoint store that is away
//! costs replay time and nothing else. A refusal says that the store holds something else than it was given: it has lost some, or
//! somebody else leads. What it ought to hold is in the log alone, because runs that have ended leave the memory; so
//! the driver has to build its state again. So it has after a store was away for so long that they had to leave without.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_machine::Machine;
use longshore_ports::{Backend, CheckpointDelta, CommitResult, RunRow};
use longshore_proto::{CheckpointMark, Partition, encode};
use metrics::histogram;
use tokio::time::Instant;
use tracing::warn;

use crate::fold::DriverError;
use crate::recovery::{Position, Recovered, StoredPartition};

/// From the first change to its commit: short enough for whoever looks at a run, and for a takeover to have little to
/// replay; and, after a commit of many runs, long enough for most of what happens to a short run to go with one row.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(200));

/// How many runs are many for a commit.
const MANY: usize = 50;

/// First and longest pause after a commit that failed: each is twice the last. Whoever reads the log is told of a store
/// that stays away a few times a minute, not every second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often a leader to whom nothing happens makes sure that the store still holds what it was given: what is lost
/// there is missing from lists until then.
const LOOK: Duration = Duration::from_secs(5);

/// How many runs that have ended are held in memory, waiting for a commit: some dozens of megabytes, and what a busy
/// partition ends in half a minute.
const ENDED_HELD: usize = 10_000;

type Commit = Pin<
    Box<dyn Future<Output = (Arc<CheckpointDelta>, Result<CommitResult, longshore_ports::Error>)> + Send>,
>;

/// The checkpoints of one partition.
pub(crate) struct Saver {
    backend: Backend,
    partition: Partition,
    /// What the store holds, as far as is known. Nothing: the next commit is a full one.
    stored: Option<CheckpointMark>,
    /// What it holds that is of no use, as long as nothing else is known to be there.
    useless: Option<CheckpointMark>,
    /// A commit that may have been written or not.
    unsure: Option<Arc<CheckpointDelta>>,
    commit: Option<Commit>,
    due: Option<Instant>,
    interval: Duration,
    /// Whether the machine has let go of changes that were never stored.
    behind: bool,
    /// When the store last said that it holds what it was given.
    seen: Instant,
    pause: Duration,
}

impl Saver {
    /// The checkpoints of a state that was recovered.
    pub(crate) fn new(backend: Backend, partition: Partition, recovered: &Recovered) -> Self {
        Self {
            backend,
            partition,
            stored: recovered.stored.clone(),
            useless: recovered.useless.clone(),
            unsure: None,
            commit: None,
            due: None,
            interval: INTERVAL.0,
            behind: false,
            seen: Instant::now(),
            pause: PAUSE.0,
        }
    }

    /// The machine has changed.
    pub(crate) fn touched(&mut self) {
        if self.due.is_none() {
            self.due = Some(Instant::now() + self.interval);
        }
    }

    /// Waits until there is something to do: a commit that has ended, or one that is due.
    ///
    /// Safe to cancel.
    pub(crate) async fn ready(&mut self) -> Ready {
        if self.is_over() {
            return Ready::Behind;
        }
        match (&mut self.commit, self.due) {
            (Some(commit), _) => {
                let (delta, result) = commit.await;
                self.commit = None;
                Ready::Ended(delta, result)
            }
            (None, due) => {
                tokio::time::sleep_until(due.unwrap_or(self.seen + LOOK)).await;
                Ready::Due
            }
        }
    }

    /// Whether nothing is under way any more, and nothing may be begun.
    const fn is_over(&self) -> bool {
        self.behind && self.unsure.is_none() && self.commit.is_none()
    }

    /// Stores what a replay has gathered, once it is much. What cannot be stored is let go of.
    pub(crate) async fn keep_up(
        &mut self,
        machine: &mut Machine,
        position: &Position,
    ) -> Result<(), DriverError> {
        if machine.ended_held() < ENDED_HELD {
            return Ok(());
        }
        if self.commit.is_none() && self.unsure.is_none() && !self.behind {
            self.begin(machine, position)?;
        }
        if self.commit.is_some()
            && let Ready::Ended(delta, result) = self.ready().await
            && self.ended(delta, result) == Standing::Lost
        {
            self.behind = true;
        }
        self.relieve(machine);
        Ok(())
    }

    /// Lets go of runs that have ended, if too many wait for a store that does not answer. It is seen later, when it
    /// does, that they are missing.
    pub(crate) fn relieve(&mut self, machine: &mut Machine) {
        let waits = self.commit.is_some() || self.unsure.is_some() || self.behind;
        if !waits || machine.ended_held() < ENDED_HELD {
            return;
        }
        if !self.behind {
            warn!(partition = %self.partition, "checkpoints wait for too long; the state will be built again from the log");
        }
        machine.forget_changes();
        self.behind = true;
    }

    /// Begins a commit of everything that has changed, or once more the one whose fate is unknown.
    pub(crate) fn begin(&mut self, machine: &mut Machine, position: &Position) -> Result<(), DriverError> {
        self.due = None;
        let delta = match self.unsure.take() {
            Some(delta) => {
                // What has changed meanwhile goes with the next one.
                self.touched();
                delta
            }
            None => Arc::new(self.delta(machine, position)?),
        };
        self.interval = if delta.changed.len() < MANY { INTERVAL.0 } else { INTERVAL.1 };
        let (checkpoints, number) = (self.backend.checkpoints.clone(), self.partition);
        self.commit = Some(Box::pin(async move {
            let begun = Instant::now();
            let result = checkpoints.commit(number, Arc::clone(&delta)).await;
            histogram!("longshore_checkpoint_write_seconds").record(begun.elapsed());
            (delta, result)
        }));
        Ok(())
    }

    /// What has changed since the last call.
    fn delta(&self, machine: &mut Machine, position: &Position) -> Result<CheckpointDelta, DriverError> {
        let drained = machine.drain(self.stored.is_none())?;
        let changed = drained.changed.into_iter().map(|(summary, state)| RunRow { summary, state }).collect();
        let partition = encode(&StoredPartition { before: position.before, machine: drained.partition })?;
        let (base, useless, mark) = (self.stored.clone(), self.useless.clone(), position.mark());
        Ok(CheckpointDelta { base, invalid: useless, mark, partition, changed, expired: drained.expired })
    }

    /// Takes note of how a commit ended.
    pub(crate) fn ended(
        &mut self,
        delta: Arc<CheckpointDelta>,
        result: Result<CommitResult, longshore_ports::Error>,
    ) -> Standing {
        match result {
            Ok(CommitResult::Accepted) => {
                self.stored = Some(delta.mark.clone());
                self.useless = None;
                self.seen = Instant::now();
                self.pause = PAUSE.0;
                if self.behind {
                    return Standing::Lost;
                }
            }
            Ok(CommitResult::Refused { stored }) => {
                let (given, found) = (up_to(delta.base.as_ref()), up_to(stored.as_ref()));
                warn!(partition = %self.partition, given, found, "the checkpoint is not the one it was given");
                return Standing::Lost;
            }
            Err(error) => {
                warn!(partition = %self.partition, %error, "checkpoint not written; it will be tried again");
                self.unsure = Some(delta);
                self.due = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE.1);
            }
        }
        Standing::Kept
    }

    /// Writes what is left and waits for it; used when the partition is given up.
    pub(crate) async fn finish(
        &mut self,
        machine: &mut Machine,
        position: &Position,
    ) -> Result<(), DriverError> {
        // The commit that is under way, that one once more, and a last one.
        for _ in 0..3 {
            if let Some(commit) = self.commit.take() {
                let (delta, result) = commit.await;
                if self.ended(delta, result) == Standing::Lost {
                    return Ok(()); // whoever takes over replays
                }
            }
            let is_done = self.unsure.is_none() && self.due.is_none() && !machine.is_dirty();
            if is_done || self.is_over() {
                return Ok(());
            }
            self.begin(machine, position)?;
        }
        if let Some(commit) = self.commit.take() {
            let (delta, result) = commit.await;
            self.ended(delta, result);
        }
        Ok(())
    }
}

/// Where a checkpoint ends, for people.
fn up_to(mark: Option<&CheckpointMark>) -> String {
    mark.map_or_else(|| "nothing".to_owned(), |mark| mark.seq.to_string())
}

/// Whether the store holds what it was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It does, or may do.
    Kept,
    /// It holds something else, or nothing.
    Lost,
}

/// What the saver waits for.
pub(crate) enum Ready {
    /// The store answers again, and changes are missing that it was never given.
    Behind,
    /// It is time for a commit.
    Due,
    /// A commit has ended.
    Ended(Arc<CheckpointDelta>, Result<CommitResult, longshore_ports::Error>),
}
