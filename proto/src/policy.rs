//! Retry policies: the decision on another attempt, and its delay.
//!
//! The decision is a pure function, so that it is the same wherever it is computed. Jitter is derived from the job's id
//! instead of a random source.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Attempt, Fault, FaultClass, JobId, Sent};

/// The default `max-timeout` of a call as a multiple of its `timeout`: a call that reports progress may take that long.
pub const MAX_TIMEOUT_FACTOR: u32 = 10;

/// The longest delay before another attempt that a worker waits out itself, in its slot; a longer one becomes a timer of
/// the scheduler and a new job. About the cost of a timer and a new job, and short enough that the slots of a worker are
/// not all occupied by waits for one server that always fails.
pub const IN_PLACE_RETRY_LIMIT: Duration = Duration::from_secs(1);

/// The growth of the delay from one attempt to the next.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// The delay is constant.
    None,
    /// The delay grows by itself: 1, 2, 3 times its first value.
    Linear,
    /// The delay doubles: 1, 2, 4 times its first value.
    #[default]
    Exponential,
}

/// The number of attempts at a step, and the delays between them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RetryPolicy {
    /// Number of attempts in total, including the first one. At least 1.
    pub attempts: u32,
    /// Delay after the first attempt.
    pub delay: Duration,
    /// Growth of the delay.
    pub backoff: Backoff,
    /// Upper bound of the delay. A longer `Retry-After` of the server takes precedence.
    pub max_delay: Duration,
    /// True if each delay is shortened by up to half, so that steps that failed at the same time do not retry at the same
    /// time.
    pub jitter: bool,
    /// Classes of faults after which another attempt is made.
    pub errors: BTreeSet<FaultClass>,
}

impl RetryPolicy {
    /// Upper bound of a server's `Retry-After`; a longer one is cut to this.
    pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3600);
}

impl Default for RetryPolicy {
    /// Returns the policy of steps without `retry`: three attempts, after faults that often pass by themselves.
    /// [`RepeatSafety`] decides separately if a call may be repeated.
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

/// The safety of repeating a call that may already have happened.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatSafety {
    /// The call is safe to repeat: the step has its own `retry`, or an idempotency key that the tool honours.
    Safe,
    /// The call is not declared as safe, so it is repeated only if the request was provably not sent.
    Unknown,
}

/// The decision after a failed attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RetryDecision {
    /// Make another attempt after this delay.
    Again(Duration),
    /// End the step with the fault.
    GiveUp,
    /// End the step as indeterminate: the call may have happened and must not be repeated.
    Indeterminate,
}

impl RetryPolicy {
    /// Decides what follows after `attempt` of `job` ended with `fault`, where `sent` is the known progress of the call.
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
        let is_retryable = fault.class.is_transient() && self.errors.contains(&fault.class);
        if may_repeat && is_retryable && attempt.0 < self.attempts {
            RetryDecision::Again(self.delay_after(job, attempt, fault.retry_after))
        } else if in_doubt {
            RetryDecision::Indeterminate
        } else {
            RetryDecision::GiveUp
        }
    }

    /// Returns the reason why a step that is safe to repeat is not retried after `attempt`, for display. `None` if all
    /// attempts are used, or if the fault is permanent, which its class implies.
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

    /// Returns the delay between `attempt` and the next one. `retry_after` is the delay that the server asked for.
    pub fn delay_after(&self, job: &JobId, attempt: Attempt, retry_after: Option<Duration>) -> Duration {
        let past = attempt.0.saturating_sub(1);
        let factor = match self.backoff {
            Backoff::None => 1,
            Backoff::Linear => past.saturating_add(1),
            Backoff::Exponential => 1_u32.checked_shl(past).unwrap_or(u32::MAX),
        };
        let full = self.delay.saturating_mul(factor).min(self.max_delay);
        let delay = if self.jitter { shortened(full, job, attempt) } else { full };
        delay.max(retry_after.unwrap_or_default().min(Self::RETRY_AFTER_LIMIT))
    }
}

/// Shortens a delay by up to half, by an amount that is derived from the job's id.
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
    fn only_safe_calls_and_requests_never_sent_are_repeated() {
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
    fn number_of_attempts_includes_the_first() {
        let fault = Fault::new(FaultClass::Timeout, "x");
        let next = |attempts, attempt| {
            plain(attempts).decide(&job(), Attempt(attempt), &fault, Sent::Never, RepeatSafety::Safe)
        };
        assert_eq!(next(1, 1), RetryDecision::GiveUp);
        assert!(matches!(next(3, 2), RetryDecision::Again(_)));
        assert_eq!(next(3, 3), RetryDecision::GiveUp);
    }

    #[test]
    fn delays_grow_to_max_delay_and_honour_retry_after() {
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
    fn jitter_shortens_a_delay_by_at_most_half() {
        let policy = RetryPolicy { jitter: true, ..plain(100) };
        for attempt in 1..50 {
            let full = plain(100).delay_after(&job(), Attempt(attempt), None);
            let delay = policy.delay_after(&job(), Attempt(attempt), None);
            assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
        }
    }
}
