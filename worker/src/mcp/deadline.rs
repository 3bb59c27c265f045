//! Time limits and deadlines of requests.

use std::time::Duration;

use tokio::time::Instant;

/// The time limits of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    /// Longest time without an answer and without progress.
    pub(crate) idle: Duration,
    /// Longest time with any progress. Not shorter than `idle`.
    pub(crate) whole: Duration,
}

/// The time at which a request is given up. Progress moves it, up to a last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    limit: TimeLimit,
    started: Instant,
    next: Instant,
    last: Instant,
}

/// The longest limit that is applied. A year is as good as no limit, and adding it to the current time does not overflow.
const LONGEST_LIMIT: Duration = Duration::from_hours(24 * 365);

impl Deadline {
    /// Creates the deadline of a request that starts now.
    pub(crate) fn of(limit: TimeLimit) -> Self {
        let started = Instant::now();
        let last = started + limit.whole.min(LONGEST_LIMIT);
        Self { limit, started, next: last.min(started + limit.idle.min(LONGEST_LIMIT)), last }
    }

    /// Creates the deadline of a request without progress that starts now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self::of(TimeLimit { idle: limit, whole: limit })
    }

    /// Returns the time of the deadline.
    pub(crate) const fn instant(&self) -> Instant {
        self.next
    }

    /// Moves the deadline after progress of the request.
    pub(crate) fn extend(&mut self) {
        self.next = self.last.min(Instant::now() + self.limit.idle.min(LONGEST_LIMIT));
    }

    /// Describes the limit that was reached.
    pub(crate) fn reached(&self) -> String {
        let Self { limit: TimeLimit { idle, whole }, .. } = self;
        if self.next < self.last {
            let since = self.next - self.started;
            return if since <= *idle {
                format!("no answer within {idle:?}")
            } else {
                format!("no answer, and no progress for {idle:?}")
            };
        }
        if whole <= idle {
            return format!("no answer within {whole:?}");
        }
        format!("no answer within {whole:?}, the `max-timeout` of a call that reports progress")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn progress_moves_the_deadline_up_to_a_last_one() {
        let seconds = Duration::from_secs;
        let mut deadline = Deadline::of(TimeLimit { idle: seconds(10), whole: seconds(25) });
        let start = Instant::now();
        assert_eq!(deadline.instant() - start, seconds(10));
        assert_eq!(deadline.reached(), "no answer within 10s");
        tokio::time::advance(seconds(8)).await;
        deadline.extend();
        assert_eq!(deadline.instant() - start, seconds(18));
        assert_eq!(deadline.reached(), "no answer, and no progress for 10s");
        tokio::time::advance(seconds(9)).await;
        deadline.extend();
        assert_eq!(deadline.instant() - start, seconds(25));
        assert_eq!(
            deadline.reached(),
            "no answer within 25s, the `max-timeout` of a call that reports progress"
        );
        assert_eq!(Deadline::after(seconds(3)).reached(), "no answer within 3s");
    }
}
