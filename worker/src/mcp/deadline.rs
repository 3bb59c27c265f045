//! The time that a request may take.

use std::time::Duration;

use tokio::time::Instant;

/// The time that a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    /// Without an answer, and without progress.
    pub(crate) idle: Duration,
    /// Whatever progress it reports. At least `idle`, or as long.
    pub(crate) whole: Duration,
}

/// The moment at which a request is given up: moved by progress, up to the last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    limit: TimeLimit,
    started: Instant,
    next: Instant,
    last: Instant,
}

/// Moments that are further away than this are as good as never, and do not overflow.
const FAR_AWAY: Duration = Duration::from_hours(24 * 365);

impl Deadline {
    /// The deadline of what starts now.
    pub(crate) fn of(limit: TimeLimit) -> Self {
        let started = Instant::now();
        let last = started + limit.whole.min(FAR_AWAY);
        Self { limit, started, next: last.min(started + limit.idle.min(FAR_AWAY)), last }
    }

    /// The same, for what reports no progress.
    pub(crate) fn after(limit: Duration) -> Self {
        Self::of(TimeLimit { idle: limit, whole: limit })
    }

    /// The moment.
    pub(crate) const fn moment(&self) -> Instant {
        self.next
    }

    /// Moves it, because the request got further.
    pub(crate) fn progress(&mut self) {
        self.next = self.last.min(Instant::now() + self.limit.idle.min(FAR_AWAY));
    }

    /// The limit that was reached at the moment, in words.
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
    async fn progress_moves_a_deadline_up_to_the_last_one() {
        let seconds = Duration::from_secs;
        let mut deadline = Deadline::of(TimeLimit { idle: seconds(10), whole: seconds(25) });
        let start = Instant::now();
        assert_eq!(deadline.moment() - start, seconds(10));
        assert_eq!(deadline.reached(), "no answer within 10s");
        tokio::time::advance(seconds(8)).await;
        deadline.progress();
        assert_eq!(deadline.moment() - start, seconds(18));
        assert_eq!(deadline.reached(), "no answer, and no progress for 10s");
        tokio::time::advance(seconds(9)).await;
        deadline.progress();
        assert_eq!(deadline.moment() - start, seconds(25));
        assert_eq!(
            deadline.reached(),
            "no answer within 25s, the `max-timeout` of a call that reports progress"
        );
        assert_eq!(Deadline::after(seconds(3)).reached(), "no answer within 3s");
    }
}
