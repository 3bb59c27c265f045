//! One partition, as a scheduler sees it: whether the lease is held, whether it is led, and when to try again.

use std::time::Duration;

use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// First and longest pause before a partition that broke is taken over again. Short at first, because most breakage
/// is a connection that comes back; bounded, because nobody else will take it.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// One partition, as a scheduler sees it.
pub(super) struct Place {
    /// When the lease was last renewed, if it is held.
    pub(super) renewed: Option<Instant>,
    /// The renewal of which somebody knows that it has run out.
    known_stale: Option<Instant>,
    leading: Option<Leading>,
    /// Not taken over before this moment.
    not_before: Instant,
    pause: Duration,
}

struct Leading {
    task: AbortHandle,
    stop: CancellationToken,
    since: Instant,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { renewed: None, known_stale: None, leading: None, not_before: Instant::now(), pause: BACKOFF.0 }
    }

    /// Whether there is a task that leads it, or is about to, or is about to end.
    pub(super) const fn is_led(&self) -> bool {
        self.leading.is_some()
    }

    /// Whether it is time to take it over: the lease is held and has not run out, and nothing says to wait. Who stepped
    /// down while the store of leases was away must not take the partition back from whoever has the lease by now.
    pub(super) fn is_free(&self, ttl: Duration) -> bool {
        let is_fresh = self.renewed.is_some_and(|at| at.elapsed() < ttl);
        is_fresh && self.leading.is_none() && self.not_before <= Instant::now()
    }

    /// Whether a lease that is held has run out, and this is the first time that somebody asks.
    pub(super) fn turns_stale(&mut self, ttl: Duration) -> bool {
        let has_run_out = self.renewed.is_some_and(|at| at.elapsed() >= ttl);
        let is_known = self.known_stale == self.renewed;
        self.known_stale = self.renewed.filter(|_| has_run_out);
        has_run_out && !is_known
    }

    /// A task leads it from now on.
    pub(super) fn led_by(&mut self, task: AbortHandle, stop: CancellationToken) {
        self.leading = Some(Leading { task, stop, since: Instant::now() });
    }

    pub(super) fn is_task(&self, id: Id) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.task.id() == id)
    }

    /// Asks the task to end in order, with a last checkpoint.
    pub(super) fn stop(&self) {
        if let Some(leading) = &self.leading {
            leading.stop.cancel();
        }
    }

    /// The lease is somebody else's now. The task ends as if it had been killed: a last checkpoint would only stand
    /// in the new leader's way.
    pub(super) fn lose(&mut self) {
        self.renewed = None;
        if let Some(leading) = &self.leading {
            leading.stop.cancel();
            leading.task.abort();
        }
    }

    /// The task has ended. Unless it was told to, returns the pause before the next try: it grows as long as nothing
    /// lasts.
    pub(super) fn ended(&mut self) -> Option<Duration> {
        let leading = self.leading.take()?;
        if leading.stop.is_cancelled() {
            return None;
        }
        if leading.since.elapsed() > BACKOFF.1 {
            self.pause = BACKOFF.0;
        }
        let pause = self.pause;
        self.not_before = Instant::now() + pause;
        self.pause = (pause * 2).min(BACKOFF.1);
        Some(pause)
    }
}
