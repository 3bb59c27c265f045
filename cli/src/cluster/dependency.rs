//! The health of the stores that a process needs: the last success and the failures since, for each kind of request.
//!
//! Readiness and `longshore doctor` use these records. Each request of the process to a port records its result here, and
//! [`probes`](super::probes) sends requests where there is no traffic. A single failure says little, because failed requests
//! are repeated. So a store counts as failing once it has failed for [`CONFIRMED`] without a success in between, or once a
//! request has had no answer for [`STUCK`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::{Error, ErrorCause};
use metrics::counter;
use tokio::time::Instant;

/// Duration after which failures count. A reconnect fails each request under way once.
const CONFIRMED: Duration = Duration::from_secs(1);

/// Duration after which a request without an answer counts as a failure. It is longer than the election of a JetStream
/// leader, which takes about four seconds.
const STUCK: Duration = Duration::from_secs(6);

/// Duration for which the last failure counts. Important requests are repeated within 30 seconds, plus a few seconds for the
/// one under way.
const FRESH: Duration = Duration::from_secs(35);

/// Age at which the last answer to a probe no longer counts.
const STALE: Duration = Duration::from_secs(20);

/// Counter of failed requests, by operation and reason.
const FAILURES: &str = "longshore_store_failures_total";

/// The verdict on a store without any request yet: the process is not ready, but the store has no known fault.
pub(super) const NOT_ASKED: &str = "not asked yet";

/// Number of characters of an error that are shown.
const REASON_CHARS: usize = 300;

/// One kind of request to a store, such as appends to one log.
pub(super) struct Dependency {
    name: String,
    /// The kind of request, as a label of metrics.
    operation: &'static str,
    is_probe: bool,
    state: Mutex<RequestRecords>,
}

#[derive(Default)]
struct RequestRecords {
    succeeded: Option<Instant>,
    failing: Option<FailureStreak>,
    /// The start of each request that has no answer yet, by its number.
    open: BTreeMap<u64, Instant>,
    next: u64,
}

/// The failures since the last success.
struct FailureStreak {
    since: Instant,
    last: Instant,
    reason: String,
    /// The store does not answer, or refuses the user, so that no request to it can succeed.
    is_unreachable: bool,
}

/// The reason why a probe failed.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct ProbeFailure {
    /// Class of the cause.
    pub(super) cause: ErrorCause,
    /// The reason in words.
    pub(super) reason: String,
    /// The store does not answer, or refuses the user, so that no request to it can succeed.
    pub(super) is_unreachable: bool,
}

impl ProbeFailure {
    /// Creates the failure of a store that answers.
    pub(super) fn new(cause: ErrorCause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into(), is_unreachable: false }
    }

    /// Creates the failure of a store that does not answer, or refuses the user.
    pub(super) fn unreachable(cause: ErrorCause, reason: impl Into<String>) -> Self {
        Self { is_unreachable: true, ..Self::new(cause, reason) }
    }

    /// Creates the failure of a request. A refused user is an error that a retry may overcome, and a denied permission is not.
    pub(super) fn of_request(error: &Error) -> Self {
        let is_unreachable = match error.cause {
            ErrorCause::Unavailable => true,
            ErrorCause::Denied => error.retryable,
            _ => false,
        };
        Self { is_unreachable, ..Self::new(error.cause, error.to_string()) }
    }
}

impl Dependency {
    /// Creates a dependency for requests that the process makes when it has work.
    pub(super) fn of_traffic(name: impl Into<String>, operation: &'static str) -> Self {
        Self { name: name.into(), operation, is_probe: false, state: Mutex::default() }
    }

    /// Creates a dependency for probes, which are repeated all the time.
    pub(super) fn of_probe(name: impl Into<String>, operation: &'static str) -> Self {
        Self { name: name.into(), operation, is_probe: true, state: Mutex::default() }
    }

    /// Returns the name of the store or of the kind of request.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Awaits a request, and records its result. While it has no answer it is listed as open.
    pub(super) async fn watch<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (open, began) = (OpenRequest::begin(self), Instant::now());
        let result = request.await;
        drop(open);
        self.record_since(&result, began);
        result
    }

    /// Records the result of a request that waited for work, so that its duration says nothing.
    pub(super) fn record<T>(&self, result: &Result<T, Error>) {
        self.record_since(result, Instant::now());
    }

    /// Records the result of a request. A failure counts from the start of its request.
    fn record_since<T>(&self, result: &Result<T, Error>, began: Instant) {
        match result {
            Ok(_) => self.succeeded(),
            Err(error) => {
                let cause = error.cause;
                self.count_failure(cause.as_str());
                // Other errors are about the request and not about the store.
                if error.retryable || cause != ErrorCause::Other {
                    self.failed_since(&error.to_string(), began);
                }
            }
        }
    }

    /// Exports the counters of failures with zero. Otherwise the first failure of a series would not count as an increase.
    pub(super) fn export_failures(&self) {
        for cause in ErrorCause::ALL {
            counter!(FAILURES, "operation" => self.operation, "reason" => cause.as_str()).increment(0);
        }
    }

    /// Counts a failure in the metrics.
    pub(super) fn count_failure(&self, reason: &'static str) {
        counter!(FAILURES, "operation" => self.operation, "reason" => reason).increment(1);
    }

    /// Records a success.
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        state.succeeded = Some(Instant::now());
        state.failing = None;
    }

    /// Forgets failures, because the process has no further use for such requests.
    pub(super) fn forget_failures(&self) {
        self.state().failing = None;
    }

    /// Counts and records the failure of a probe.
    pub(super) fn probe_failed(&self, failure: &ProbeFailure) {
        self.count_failure(failure.cause.as_str());
        self.failed_since(&failure.reason, Instant::now());
        if let Some(streak) = &mut self.state().failing {
            streak.is_unreachable = failure.is_unreachable;
        }
    }

    /// Records a failure.
    pub(super) fn failed(&self, reason: &str) {
        self.failed_since(reason, Instant::now());
    }

    fn failed_since(&self, reason: &str, began: Instant) {
        let (now, mut state) = (Instant::now(), self.state());
        let since = state.failing.as_ref().map_or(began, |failing| failing.since);
        let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect();
        state.failing = Some(FailureStreak { since, last: now, reason, is_unreachable: false });
    }

    /// Returns the reason why no request to the store can succeed, if the last probes say so.
    pub(super) fn unreachable(&self) -> Option<String> {
        let reason = self.verdict().err()?;
        self.state().failing.as_ref().filter(|streak| streak.is_unreachable).map(|_| reason)
    }

    /// Returns the time of the last success.
    pub(super) fn last_success(&self) -> Option<Instant> {
        self.state().succeeded
    }

    /// Returns the reason why the store cannot be used, if its records say so.
    pub(super) fn verdict(&self) -> Result<(), String> {
        self.state().verdict(self.is_probe, Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, RequestRecords> {
        // The lock is never poisoned with a half-made change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestRecords {
    fn verdict(&self, is_probe: bool, now: Instant) -> Result<(), String> {
        if let Some(FailureStreak { since, last, reason, .. }) = &self.failing {
            let is_confirmed = last.duration_since(*since) >= CONFIRMED;
            if is_confirmed && now.duration_since(*last) < FRESH {
                return Err(format!("{reason} (for {} s)", now.duration_since(*since).as_secs()));
            }
        }
        if let Some(began) = self.open.values().next()
            && now.duration_since(*began) >= STUCK
            && self.succeeded.is_none_or(|succeeded| succeeded < *began)
        {
            return Err(format!("no answer (for {} s)", now.duration_since(*began).as_secs()));
        }
        if !is_probe {
            return Ok(());
        }
        let last = self.succeeded.max(self.failing.as_ref().map(|failing| failing.last));
        match last {
            None => Err(NOT_ASKED.to_owned()),
            Some(last) if now.duration_since(last) >= STALE => {
                Err(format!("not asked for {} s", now.duration_since(last).as_secs()))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A request without an answer. Dropping it removes it from the list of open requests.
struct OpenRequest<'a> {
    dependency: &'a Dependency,
    number: u64,
}

impl<'a> OpenRequest<'a> {
    fn begin(dependency: &'a Dependency) -> Self {
        let mut state = dependency.state();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Instant::now());
        drop(state);
        Self { dependency, number }
    }
}

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        self.dependency.state().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use futures::poll;
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn store_counts_as_failing_while_failures_last_and_are_recent() {
        let log = Dependency::of_traffic("log", "append");
        assert_eq!(log.verdict(), Ok(()), "no failure is recorded");
        log.failed("no room");
        assert_eq!(log.verdict(), Ok(()), "one failure is not enough");
        advance(2 * SECOND).await;
        log.failed("no room\u{1b}");
        assert_eq!(log.verdict(), Err("no room (for 2 s)".to_owned()));
        log.succeeded();
        assert_eq!(log.verdict(), Ok(()));
        log.failed("away");
        advance(2 * SECOND).await;
        log.failed("away");
        advance(FRESH).await;
        assert_eq!(log.verdict(), Ok(()), "the last failure is too old");
    }

    #[tokio::test(start_paused = true)]
    async fn request_without_answer_is_a_failure_unless_a_later_one_succeeds() {
        let log = Dependency::of_traffic("log", "append");
        let mut request = pin!(log.watch(pending::<Result<(), Error>>()));
        assert!(poll!(request.as_mut()).is_pending());
        advance(STUCK).await;
        assert_eq!(log.verdict(), Err("no answer (for 6 s)".to_owned()));
        log.succeeded();
        assert_eq!(log.verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn single_failure_that_took_long_counts() {
        let log = Dependency::of_traffic("log", "append");
        let request = log.watch(async {
            sleep(10 * SECOND).await;
            Err::<(), _>(Error::transient("append", "not acknowledged"))
        });
        assert!(request.await.is_err());
        assert_eq!(log.verdict(), Err("append: not acknowledged (for 10 s)".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_request_is_not_counted() {
        let log = Dependency::of_traffic("log", "append");
        {
            let mut request = pin!(log.watch(pending::<Result<(), Error>>()));
            assert!(poll!(request.as_mut()).is_pending());
            advance(STUCK).await;
        }
        assert_eq!(log.verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_error_of_a_request_is_no_failure_of_the_store() {
        let log = Dependency::of_traffic("log", "append");
        for _ in 0..2 {
            log.record::<()>(&Err(Error::permanent("append", "the message is too large")));
            advance(2 * SECOND).await;
        }
        assert_eq!(log.verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn probe_without_recent_answer_is_a_failure() {
        let probe = Dependency::of_probe("LS_JOBS", "probe_nats");
        assert!(probe.verdict().is_err());
        probe.succeeded();
        assert_eq!(probe.verdict(), Ok(()));
        advance(STALE).await;
        assert_eq!(probe.verdict(), Err("not asked for 20 s".to_owned()));
    }
}
