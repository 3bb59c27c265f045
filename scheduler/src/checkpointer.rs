//! Checkpoints of a partition's state.
//!
//! One commit at a time, at most one each 100 or 200 ms, with everything that changed since the last one. A commit whose result
//! is unknown is sent again unchanged until it is accepted or refused, so an unavailable store costs replay time only. A
//! refused commit means that the store lost what it was given, or that another leader wrote to it. Ended runs leave the memory
//! with a commit, so only the log has what the store lost, and the driver has to build the state again. The same applies
//! after a store was unavailable for so long that ended runs had to be discarded.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_machine::Machine;
use longshore_ports::{Backend, CheckpointDelta, Checkpoints, CommitResult, Error, RunRow};
use longshore_proto::{CheckpointMark, Partition, encode};
use metrics::histogram;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::log_follower::DriverError;
use crate::recovery::{LogPosition, Recovered, StoredCheckpoint, StoredPartition};

/// Time from the first change to its commit: short for a person who looks at a run, and for little replay at a takeover.
const INTERVAL: Duration = Duration::from_millis(100);

/// The same after a commit of [`MANY_RUNS`], so that most changes of a short run are written with one row.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);

/// Runs of a large commit.
const MANY_RUNS: usize = 50;

/// First and longest pause after a failed commit. Each pause is twice the last. A store that is unavailable for long is logged
/// a few times a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Interval of the probes of a store that refused a commit. A probe is one small write, and a commit may be large.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval in which the leader of an idle partition commits, to find out if the store still has what it was given. Until then,
/// lists lack what the store lost.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of ended runs in memory that wait for a commit: some dozens of megabytes, and as many as a busy
/// partition ends in half a minute.
const MOST_ENDED_RUNS: usize = 10_000;

/// Tries to write the last checkpoint: the commit that is under way, that commit again, and a last one.
const LAST_COMMITS: usize = 3;

type CommitFuture = Pin<Box<dyn Future<Output = EndedCommit> + Send>>;
type RecoveryFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The result of a commit.
pub(crate) struct EndedCommit {
    delta: Arc<CheckpointDelta>,
    result: Result<CommitResult, Error>,
}

/// State of the commits.
enum CommitState {
    /// No commit is under way.
    Idle,
    /// The store has a commit and has not answered.
    UnderWay(CommitFuture),
    /// The last commit failed, and may have been written or not. It is sent again.
    Unknown(Arc<CheckpointDelta>),
}

/// Agreement of the store with what it was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CheckpointStatus {
    /// The store has what it was given, or may have it.
    Intact,
    /// The store has something else, or nothing. The driver builds the state again.
    Lost,
}

/// Next task of the driver for checkpoints.
pub(crate) enum CheckpointTask {
    /// The store answers again, and changes were discarded that it never got: build the state again.
    Rebuild,
    /// A commit is due.
    StartCommit,
    /// A commit has ended.
    NoteResult(EndedCommit),
}

/// The checkpoints of one partition.
pub(crate) struct Checkpointer {
    backend: Backend,
    partition: Partition,
    /// Known checkpoint in the store.
    stored: StoredCheckpoint,
    state: CommitState,
    /// Time at which the next commit is due, if there are changes.
    due_at: Option<Instant>,
    /// Time from a change to its commit.
    interval: Duration,
    /// Changes were discarded that no commit has.
    has_discarded: bool,
    /// Time at which the store last accepted a commit.
    accepted_at: Instant,
    pause: Duration,
    /// Ends the pause after a failed commit early, once the store accepts writes again.
    recovery: Option<RecoveryFuture>,
}

impl Checkpointer {
    /// Starts with a recovered state.
    pub(crate) fn new(backend: Backend, partition: Partition, recovered: &Recovered) -> Self {
        Self {
            backend,
            partition,
            stored: recovered.stored.clone(),
            state: CommitState::Idle,
            due_at: None,
            interval: INTERVAL,
            has_discarded: false,
            accepted_at: Instant::now(),
            pause: FIRST_PAUSE,
            recovery: None,
        }
    }

    /// Notes that the machine changed, so that a commit becomes due.
    pub(crate) fn note_change(&mut self) {
        if self.due_at.is_none() {
            self.due_at = Some(Instant::now() + self.interval);
        }
    }

    /// Waits until a commit is due or has ended. Safe to cancel.
    pub(crate) async fn next_task(&mut self) -> CheckpointTask {
        match &mut self.state {
            CommitState::Idle if self.has_discarded => CheckpointTask::Rebuild,
            CommitState::UnderWay(commit) => {
                let result = commit.await;
                self.state = CommitState::Idle;
                CheckpointTask::NoteResult(result)
            }
            CommitState::Idle | CommitState::Unknown(_) => {
                let pause = sleep_until(self.due_at.unwrap_or(self.accepted_at + CHECK_INTERVAL));
                match &mut self.recovery {
                    Some(recovery) => tokio::select! {
                        () = pause => {}
                        () = recovery => {}
                    },
                    None => pause.await,
                }
                self.recovery = None;
                CheckpointTask::StartCommit
            }
        }
    }

    /// Stores ended runs that a replay has gathered, once there are many. Discards them if the store does not accept them.
    pub(crate) async fn store_surplus(
        &mut self,
        machine: &mut Machine,
        position: &LogPosition,
    ) -> Result<(), DriverError> {
        if machine.unsaved_ended_runs() < MOST_ENDED_RUNS {
            return Ok(());
        }
        if matches!(self.state, CommitState::Idle) && !self.has_discarded {
            self.start_commit(machine, position)?;
        }
        if let Some(result) = self.end_of_commit().await
            && self.note_result(result) == CheckpointStatus::Lost
        {
            self.has_discarded = true;
        }
        self.discard_surplus(machine);
        Ok(())
    }

    /// Discards ended runs if too many wait for a store that does not answer. Once it answers, the driver builds the state
    /// again.
    pub(crate) fn discard_surplus(&mut self, machine: &mut Machine) {
        let waits = self.has_discarded || !matches!(self.state, CommitState::Idle);
        if !waits || machine.unsaved_ended_runs() < MOST_ENDED_RUNS {
            return;
        }
        if !self.has_discarded {
            warn!(
                partition = %self.partition,
                "too many ended runs wait for the checkpoint store; discarding them, the state will be built again from the log"
            );
        }
        machine.discard_unsaved();
        self.has_discarded = true;
    }

    /// Starts a commit of everything that changed, or sends the last commit again if its result is unknown.
    pub(crate) fn start_commit(
        &mut self,
        machine: &mut Machine,
        position: &LogPosition,
    ) -> Result<(), DriverError> {
        (self.due_at, self.recovery) = (None, None);
        if matches!(self.state, CommitState::Idle) && !machine.is_complete() {
            // The state lacks a record until the run that it concerns is quarantined.
            self.note_change();
            return Ok(());
        }
        let delta = match std::mem::replace(&mut self.state, CommitState::Idle) {
            CommitState::Unknown(delta) => {
                // Later changes are in the next commit.
                self.note_change();
                delta
            }
            CommitState::Idle | CommitState::UnderWay(_) => Arc::new(self.delta(machine, position)?),
        };
        self.interval = if delta.changed.len() < MANY_RUNS { INTERVAL } else { BUSY_INTERVAL };
        let (checkpoints, partition) = (Arc::clone(&self.backend.checkpoints), self.partition);
        self.state = CommitState::UnderWay(Box::pin(async move {
            let started = Instant::now();
            let result = checkpoints.commit(partition, Arc::clone(&delta)).await;
            histogram!("longshore_checkpoint_write_seconds").record(started.elapsed());
            EndedCommit { delta, result }
        }));
        Ok(())
    }

    /// Returns what changed since the last call, or the whole state if the store has no usable checkpoint.
    fn delta(&self, machine: &mut Machine, position: &LogPosition) -> Result<CheckpointDelta, DriverError> {
        let (base, invalid) = match &self.stored {
            StoredCheckpoint::Valid(mark) => (Some(mark.clone()), None),
            StoredCheckpoint::Invalid(mark) => (None, Some(mark.clone())),
            StoredCheckpoint::Absent => (None, None),
        };
        let unsaved = machine.take_unsaved(base.is_none())?;
        let changed = unsaved.changed.into_iter().map(|(summary, state)| RunRow { summary, state }).collect();
        let partition = encode(&StoredPartition { before: position.before, machine: unsaved.partition })?;
        Ok(CheckpointDelta {
            base,
            invalid,
            mark: position.mark(),
            partition,
            changed,
            expired: unsaved.expired,
        })
    }

    /// Notes the result of a commit.
    pub(crate) fn note_result(&mut self, result: EndedCommit) -> CheckpointStatus {
        let EndedCommit { delta, result } = result;
        match result {
            Ok(CommitResult::Accepted) => {
                self.stored = StoredCheckpoint::Valid(delta.mark.clone());
                self.accepted_at = Instant::now();
                self.pause = FIRST_PAUSE;
                if self.has_discarded {
                    return CheckpointStatus::Lost;
                }
            }
            Ok(CommitResult::Refused { stored }) => {
                let (given, found) = (seq_text(delta.base.as_ref()), seq_text(stored.as_ref()));
                warn!(
                    partition = %self.partition, given, found,
                    "the store does not have the checkpoint that it was given; building the state again from the log"
                );
                return CheckpointStatus::Lost;
            }
            Err(error) => {
                warn!(partition = %self.partition, %error, "checkpoint not written; it will be tried again");
                self.state = CommitState::Unknown(delta);
                self.due_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.recovery = Some(Box::pin(accepts_writes_again(Arc::clone(&self.backend.checkpoints))));
            }
        }
        CheckpointStatus::Intact
    }

    /// Writes the last checkpoint and waits for it. Used when the leader stops.
    pub(crate) async fn finish(
        &mut self,
        machine: &mut Machine,
        position: &LogPosition,
    ) -> Result<(), DriverError> {
        for _ in 0..LAST_COMMITS {
            if let Some(result) = self.end_of_commit().await
                && self.note_result(result) == CheckpointStatus::Lost
            {
                return Ok(()); // the next leader replays the log
            }
            let is_idle = matches!(self.state, CommitState::Idle);
            let is_saved = self.due_at.is_none() && !machine.has_unsaved();
            if is_idle && (is_saved || self.has_discarded || !machine.is_complete()) {
                return Ok(());
            }
            self.start_commit(machine, position)?;
        }
        if let Some(result) = self.end_of_commit().await {
            self.note_result(result);
        }
        Ok(())
    }

    /// Waits for the commit that is under way. Returns `None` if there is none.
    async fn end_of_commit(&mut self) -> Option<EndedCommit> {
        let CommitState::UnderWay(commit) = &mut self.state else { return None };
        let result = commit.await;
        self.state = CommitState::Idle;
        Some(result)
    }
}

/// Waits until the store accepts probes after it has refused one. A store that accepts probes from the start refused the commit
/// alone, which the pause is for.
async fn accepts_writes_again(checkpoints: Arc<dyn Checkpoints>) {
    let mut was_refused = false;
    loop {
        match checkpoints.probe().await {
            Ok(()) if was_refused => return,
            Ok(()) => {}
            Err(_) => was_refused = true,
        }
        sleep(PROBE_INTERVAL).await;
    }
}

/// Returns the sequence of a checkpoint for the log.
fn seq_text(mark: Option<&CheckpointMark>) -> String {
    mark.map_or_else(|| "nothing".to_owned(), |mark| mark.seq.to_string())
}
