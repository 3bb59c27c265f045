//! Whether a call is tried again, and when.
//!
//! Pure arithmetic: the worker asks for retries in place, the machine for retries by timer, and both get the same
//! answer. Randomness is drawn from the job's own id, so the answer can be computed again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Attempt, Fault, FaultClass, JobId, Sent};

/// A call that reports progress may take so many times its timeout, unless it is said how long (`max-timeout`).
pub const MAX_TIMEOUT_FACTOR: u32 = 10;

/// How the delay grows from one attempt to the next.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Always the same delay.
    None,
    /// Delay, twice, three times, ...
    Linear,
    /// Delay, twice, four times, ...
    #[default]
    Exponential,
}

/// How often and when a step is tried again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first one counted. At least 1.
    pub attempts: u32,
    /// The delay after the first attempt.
    pub delay: Duration,
    /// How it grows.
    pub backoff: Backoff,
    /// What it never exceeds, unless the server itself asks for more.
    pub max_delay: Duration,
    /// Whether each delay is shortened by up to half, so that many steps that failed together do not come back
    /// together.
    pub jitter: bool,
    /// Which faults are worth another attempt.
    pub errors: BTreeSet<FaultClass>,
}

impl RetryPolicy {
    /// No server's `Retry-After` holds a step longer than this; a step that must wait longer wants `wait`.
    pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3600);
}

impl Default for RetryPolicy {
    /// What a step gets that says nothing: three attempts at faults that pass by themselves. Whether a call may be
    /// repeated at all is [`RepeatSafety`]'s word, not this one's.
    fn default() -> Self {
        Self {
            attempts: 3,
            delay: Duration::from_millis(500),
            backoff: Backoff::Exponential,
            max_delay: Duration::from_secs(60),
            jitter: true,
            errors: BTreeSet::from([FaultClass::Timeout, FaultClass::Unavailable, FaultClass::RateLimited]),
        }
    }
}

/// Whether a call may be made again when nobody knows if it already happened.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatSafety {
    /// The step says so: it has its own `retry`, or an idempotency key that the tool honours.
    Safe,
    /// Nobody said so: such a call is repeated only if the request provably never left.
    Unknown,
}

/// What follows from a fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RetryDecision {
    /// Another attempt, after this delay.
    Again(Duration),
    /// The step faults.
    GiveUp,
    /// The call may have happened and must not be repeated: somebody else decides.
    Indeterminate,
}

impl RetryPolicy {
    /// What follows when `attempt` of `job` ended in `fault`, having come as far as `sent` says.
    pub fn decide(
        &self,
        job: &JobId,
        attempt: Attempt,
        fault: &Fault,
        sent: Sent,
        safety: RepeatSafety,
    ) -> RetryDecision {
        let in_doubt = sent == Sent::Maybe && safety == RepeatSafety::Unknown;
        let may_repeat = sent == Sent::Never || safety == RepeatSafety::Safe;
        let worth_it = fault.class.is_transient() && self.errors.contains(&fault.class);
        if may_repeat && worth_it && attempt.0 < self.attempts {
            RetryDecision::Again(self.delay_after(job, attempt, fault.retry_after))
        } else if in_doubt {
            RetryDecision::Indeterminate
        } else {
            RetryDecision::GiveUp
        }
    }

    /// Returns why a step that may be repeated is not tried again after `attempt`. `None` if its attempts are used up, or if a fault
    /// of this kind cannot pass, which its class says already.
    pub fn not_retried_reason(
        &self,
        attempt: Attempt,
        fault: &Fault,
        safety: RepeatSafety,
    ) -> Option<String> {
        let asks = safety == RepeatSafety::Safe && attempt.0 < self.attempts && fault.class.is_transient();
        let excluded = asks && !self.errors.contains(&fault.class);
        excluded.then(|| format!("`{}` is not in `retry.errors`", fault.class))
    }

    /// The delay between `attempt` and the next one.
    pub fn delay_after(&self, job: &JobId, attempt: Attempt, asked: Option<Duration>) -> Duration {
        let past = attempt.0.saturating_sub(1);
        let factor = match self.backoff {
            Backoff::None => 1,
            Backoff::Linear => past.saturating_add(1),
            Backoff::Exponential => 1_u32.checked_shl(past).unwrap_or(u32::MAX),
        };
        let full = self.delay.saturating_mul(factor).min(self.max_delay);
        let delay = if self.jitter { shortened(full, job, attempt) } else { full };
        delay.max(asked.unwrap_or_default().min(Self::RETRY_AFTER_LIMIT))
    }
}

/// `full` less up to half of it, decided by the job's id.
fn shortened(full: Duration, job: &JobId, attempt: Attempt) -> Duration {
    let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
    let draw = xxh3_64(format!("{}/{}/{attempt}", job.run, job.step).as_bytes());
    Duration::from_millis(millis - draw % (millis / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partition, RunId, Timestamp};

    fn job() -> JobId {
        JobId {
            run: RunId::new(Partition(0), Timestamp::from_millis(1), 1),
            step: "fetch".parse().expect("a path"),
            attempt: Attempt::FIRST,
        }
    }

    fn plain(attempts: u32) -> RetryPolicy {
        RetryPolicy { attempts, jitter: false, delay: Duration::from_secs(1), ..RetryPolicy::default() }
    }

    #[test]
    fn only_what_is_safe_or_never_left_is_repeated() {
        use FaultClass::{InvalidArguments, Timeout, ToolError, Unavailable};
        use RepeatSafety::{Safe, Unknown};
        use Sent::{Answered, Maybe, Never};
        let again = RetryDecision::Again(Duration::from_secs(1));
        let cases = [
            (Timeout, Maybe, Safe, again.clone()),
            (Timeout, Maybe, Unknown, RetryDecision::Indeterminate),
            (Unavailable, Never, Unknown, again),
            (Unavailable, Maybe, Unknown, RetryDecision::Indeterminate),
            (ToolError, Answered, Safe, RetryDecision::GiveUp), // not among the errors of the policy
            (ToolError, Answered, Unknown, RetryDecision::GiveUp),
            (InvalidArguments, Never, Safe, RetryDecision::GiveUp),
        ];
        for (class, sent, safety, expected) in cases {
            let fault = Fault::new(class, "x");
            assert_eq!(
                plain(3).decide(&job(), Attempt(1), &fault, sent, safety),
                expected,
                "{class} {sent:?} {safety:?}"
            );
        }
    }

    #[test]
    fn attempts_count_the_first_try() {
        let fault = Fault::new(FaultClass::Timeout, "x");
        let next = |attempts, attempt| {
            plain(attempts).decide(&job(), Attempt(attempt), &fault, Sent::Never, RepeatSafety::Safe)
        };
        assert_eq!(next(1, 1), RetryDecision::GiveUp);
        assert!(matches!(next(3, 2), RetryDecision::Again(_)));
        assert_eq!(next(3, 3), RetryDecision::GiveUp);
    }

    #[test]
    fn delays_grow_to_their_limit_and_honour_retry_after() {
        let policy = RetryPolicy { max_delay: Duration::from_secs(5), ..plain(100) };
        let delay = |attempt, asked| policy.delay_after(&job(), Attempt(attempt), asked).as_secs();
        assert_eq!(
            [delay(1, None), delay(2, None), delay(3, None), delay(4, None), delay(90, None)],
            [1, 2, 4, 5, 5]
        );
        assert_eq!(delay(1, Some(Duration::from_secs(30))), 30);
        assert_eq!(delay(1, Some(Duration::from_secs(999_999))), 3600);
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let policy = RetryPolicy { jitter: true, ..plain(100) };
        for attempt in 1..50 {
            let full = plain(100).delay_after(&job(), Attempt(attempt), None);
            let delay = policy.delay_after(&job(), Attempt(attempt), None);
            assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
        }
    }
}
