//! When and how a partition's state is checkpointed.
//!
//! One commit at a time, at most one every [`INTERVAL`], each with everything that changed since the last. What was
//! not accepted is kept and goes along with the next one, so a checkpoint store that is away costs replay time and
//! nothing else.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use longshore_backend::{Backend, Committed, Delta, RunRow};
use longshore_proto::{CheckpointMark, Partition, RunId, encode};
use tokio::time::Instant;
use tracing::warn;

use crate::fold::DriverError;
use crate::machine::Machine;
use crate::recovery::{Position, StoredPartition};

/// From the first change to its commit: long enough to gather many changes of one run into one row, short enough
/// that a takeover has little to replay.
const INTERVAL: Duration = Duration::from_millis(100);

/// First and longest pause after a commit that failed: each is twice the last. Whoever reads the log is told of a store
/// that stays away a few times a minute, not every second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

type Commit = Pin<Box<dyn Future<Output = (Delta, Result<Committed, longshore_backend::Error>)> + Send>>;

/// The checkpoints of one partition.
pub(crate) struct Saver {
    backend: Backend,
    partition: Partition,
    /// What the store holds, as far as is known. Nothing: the next commit is a full one.
    stored: Option<CheckpointMark>,
    /// Rows that were drained from the machine and not accepted yet.
    unsaved: (Vec<RunRow>, Vec<RunId>),
    commit: Option<Commit>,
    due: Option<Instant>,
    pause: Duration,
}

impl Saver {
    pub(crate) const fn new(backend: Backend, partition: Partition, stored: Option<CheckpointMark>) -> Self {
        Self {
            backend,
            partition,
            stored,
            unsaved: (Vec::new(), Vec::new()),
            commit: None,
            due: None,
            pause: PAUSE.0,
        }
    }

    /// The machine has changed.
    pub(crate) fn touched(&mut self) {
        if self.due.is_none() {
            self.due = Some(Instant::now() + INTERVAL);
        }
    }

    /// Waits until there is something to do: a commit that has ended, or one that is due.
    ///
    /// Safe to cancel.
    pub(crate) async fn ready(&mut self) -> Ready {
        match (&mut self.commit, self.due) {
            (Some(commit), _) => {
                let (delta, result) = commit.await;
                self.commit = None;
                Ready::Ended(Box::new(delta), result)
            }
            (None, Some(due)) => {
                tokio::time::sleep_until(due).await;
                Ready::Due
            }
            (None, None) => std::future::pending().await,
        }
    }

    /// Begins a commit of everything that has changed.
    pub(crate) fn begin(&mut self, machine: &mut Machine, position: &Position) -> Result<(), DriverError> {
        self.due = None;
        let drained = machine.drain(self.stored.is_none())?;
        let (mut changed, mut expired) = std::mem::take(&mut self.unsaved);
        changed.extend(drained.changed.into_iter().map(|(summary, state)| RunRow { summary, state }));
        expired.extend(drained.expired);
        let partition = encode(&StoredPartition { before: position.before, machine: drained.partition })?;
        let delta = Delta { base: self.stored.clone(), mark: position.mark(), partition, changed, expired };
        let (checkpoints, number) = (self.backend.checkpoints.clone(), self.partition);
        self.commit = Some(Box::pin(async move {
            let result = checkpoints.commit(number, delta.clone()).await;
            (delta, result)
        }));
        Ok(())
    }

    /// Takes note of how a commit ended.
    pub(crate) fn ended(&mut self, delta: Delta, result: Result<Committed, longshore_backend::Error>) {
        match result {
            Ok(Committed::Accepted) => {
                self.stored = Some(delta.mark);
                self.pause = PAUSE.0;
            }
            Ok(Committed::Refused { stored }) => {
                warn!(partition = %self.partition, ?stored, "checkpoint refused; writing a full one");
                self.stored = None;
                self.keep(delta, Duration::ZERO);
            }
            Err(error) => {
                warn!(partition = %self.partition, %error, "checkpoint not written; it will be tried again");
                // It may have been written all the same: only a full one fits onto whatever is there.
                self.stored = None;
                self.keep(delta, self.pause);
                self.pause = (self.pause * 2).min(PAUSE.1);
            }
        }
    }

    /// Writes what is left and waits for it; used when the partition is given up.
    pub(crate) async fn finish(
        &mut self,
        machine: &mut Machine,
        position: &Position,
    ) -> Result<(), DriverError> {
        // The commit that is under way, a last one, and a full one if that is refused.
        for _ in 0..3 {
            if let Some(commit) = self.commit.take() {
                let (delta, result) = commit.await;
                self.ended(delta, result);
            }
            if self.due.is_none() && !machine.is_dirty() {
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

    /// Rows that are not stored go along with the next commit. Rows of live runs too: a newer one overrides them.
    fn keep(&mut self, delta: Delta, pause: Duration) {
        self.unsaved = (delta.changed, delta.expired);
        self.due = Some(Instant::now() + pause);
    }
}

/// What the saver waits for.
pub(crate) enum Ready {
    /// It is time for a commit.
    Due,
    /// A commit has ended.
    Ended(Box<Delta>, Result<Committed, longshore_backend::Error>),
}
