//! One partition in the view of a node: its lease, its leader, and the pause after a failure.

use std::time::Duration;

use longshore_ports::ErrorCause;
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log_follower::DriverError;

/// First and longest pause before a partition whose leader failed is taken over again. Short at first, because most failures
/// are a connection that comes back; bounded, because no other scheduler takes the partition over meanwhile.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One partition in the view of a node.
pub(super) struct LocalPartition {
    /// Time of the last renewal of the lease. `None` if the lease is not held.
    pub(super) renewed_at: Option<Instant>,
    /// The renewal whose expiry was noted.
    expired_renewal: Option<Instant>,
    leader: Option<LeaderTask>,
    /// Earliest time of the next takeover.
    not_before: Instant,
    pause: Duration,
    /// The takeover that is not complete.
    pending: Option<PendingTakeover>,
}

/// A takeover that is not complete: the scheduler holds the lease on a partition and does not lead it.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingTakeover {
    /// Time since which the scheduler should lead the partition.
    pub since: Instant,
    /// Error of the last attempt, with the class of its cause.
    pub failure: Option<(String, ErrorCause)>,
    /// Number of failed attempts.
    pub failures: u32,
}

struct LeaderTask {
    task: AbortHandle,
    stop: CancellationToken,
    started_at: Instant,
}

impl LocalPartition {
    pub(super) fn new() -> Self {
        Self {
            renewed_at: None,
            expired_renewal: None,
            leader: None,
            not_before: Instant::now(),
            pause: FIRST_PAUSE,
            pending: None,
        }
    }

    /// Returns true if a task leads the partition, takes it over, or is about to end.
    pub(super) const fn is_led(&self) -> bool {
        self.leader.is_some()
    }

    /// Returns true if the lease is held and fresh, no task leads, and no pause is left. The lease must be fresh: a leader that
    /// stepped down while the lease store was unavailable must not take the partition from its new leader.
    pub(super) fn can_be_taken_over(&self, ttl: Duration) -> bool {
        let is_fresh = self.renewed_at.is_some_and(|at| at.elapsed() < ttl);
        is_fresh && self.leader.is_none() && self.not_before <= Instant::now()
    }

    /// Notes whether the held lease has expired. Returns true for the first call after the expiry, so that it is logged once.
    pub(super) fn note_expiry(&mut self, ttl: Duration) -> bool {
        let has_expired = self.renewed_at.is_some_and(|at| at.elapsed() >= ttl);
        let is_noted = self.expired_renewal == self.renewed_at;
        self.expired_renewal = self.renewed_at.filter(|_| has_expired);
        has_expired && !is_noted
    }

    /// Sets the task that leads the partition from now on.
    pub(super) fn set_leader(&mut self, task: AbortHandle, stop: CancellationToken) {
        self.leader = Some(LeaderTask { task, stop, started_at: Instant::now() });
    }

    pub(super) fn is_task(&self, id: Id) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.task.id() == id)
    }

    /// Stops the leader. It writes a last checkpoint.
    pub(super) fn stop(&self) {
        if let Some(leader) = &self.leader {
            leader.stop.cancel();
        }
    }

    /// Returns the takeover that is not complete, if there is one. `leads` is true if a task leads the partition now.
    pub(super) fn pending_takeover(&mut self, leads: bool) -> Option<PendingTakeover> {
        if leads || self.renewed_at.is_none() {
            self.pending = None;
            return None;
        }
        Some(self.pending_mut().clone())
    }

    /// Notes that the takeover, or the leadership, has failed.
    pub(super) fn note_failure(&mut self, error: &DriverError) {
        let pending = self.pending_mut();
        pending.failure = Some((error.to_string(), error.cause()));
        pending.failures = pending.failures.saturating_add(1);
    }

    fn pending_mut(&mut self) -> &mut PendingTakeover {
        self.pending.get_or_insert_with(|| PendingTakeover {
            since: Instant::now(),
            failure: None,
            failures: 0,
        })
    }

    /// Notes that another scheduler has the lease. Aborts the leader without a last checkpoint, which would only delay the new
    /// leader.
    pub(super) fn note_lost_lease(&mut self) {
        self.renewed_at = None;
        if let Some(leader) = &self.leader {
            leader.stop.cancel();
            leader.task.abort();
        }
    }

    /// Notes that the leader's task has ended. Returns the pause before the next takeover, or `None` if the node stopped the
    /// leader. The pause grows until a leader works for [`LONGEST_PAUSE`].
    pub(super) fn note_end_of_leader(&mut self) -> Option<Duration> {
        let leader = self.leader.take()?;
        if leader.stop.is_cancelled() {
            return None;
        }
        if leader.started_at.elapsed() > LONGEST_PAUSE {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause;
        self.not_before = Instant::now() + pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}
