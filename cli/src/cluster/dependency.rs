//! How the stores that a process needs answer it: the last success and the failures since, for each kind of request.
//!
//! Readiness and `longshore doctor` rest on this. Each request of the process to a port notes its own end here, and
//! [`probes`](super::probes) asks now and then where there is no traffic. A single failure says little, since requests are
//! repeated after one; so a store counts as failing once it has failed for [`CONFIRMED`] without a success in between, or
//! once a request has had no answer for [`STUCK`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::{Error, ErrorCause};
use metrics::counter;
use tokio::time::Instant;

/// How long failures must have lasted: a connection that is made again costs one failure of each request under way.
const CONFIRMED: Duration = Duration::from_secs(1);

/// How long a request may have no answer: longer than the election of a JetStream leader, which takes about four seconds.
const STUCK: Duration = Duration::from_secs(6);

/// How long a failure counts that nothing followed. Requests that matter are repeated within 30 seconds, and a few seconds
/// are added for the one that is under way.
const FRESH: Duration = Duration::from_secs(35);

/// How long a probe may be overdue before its last answer counts for nothing.
const STALE: Duration = Duration::from_secs(20);

/// Requests that failed, by operation and reason.
const FAILURES: &str = "longshore_store_failures_total";

/// The verdict on a store that has not been asked: not ready, and no fault of the store.
pub(super) const NOT_ASKED: &str = "not asked yet";

/// How much of an error is shown.
const REASON_CHARS: usize = 300;

/// One kind of request to a store, such as appends to one log.
pub(super) struct Dependency {
    name: String,
    /// The kind of request, in metrics.
    operation: &'static str,
    is_probe: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    succeeded: Option<Instant>,
    failing: Option<Failing>,
    /// When each request began that has no answer yet, by its number.
    open: BTreeMap<u64, Instant>,
    next: u64,
}

/// Failures since the last success.
struct Failing {
    since: Instant,
    last: Instant,
    reason: String,
}

impl Dependency {
    /// Requests that the process makes when it has work.
    pub(super) fn of_traffic(name: impl Into<String>, operation: &'static str) -> Self {
        Self { name: name.into(), operation, is_probe: false, state: Mutex::default() }
    }

    /// A question that is asked all the time.
    pub(super) fn of_probe(name: impl Into<String>) -> Self {
        Self { name: name.into(), operation: "probe", is_probe: true, state: Mutex::default() }
    }

    /// What the store or the kind of request is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a request and notes how it ends, and that it has not ended.
    pub(super) async fn watch<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (open, began) = (OpenRequest::begin(self), Instant::now());
        let result = asking.await;
        drop(open);
        self.note_since(&result, began);
        result
    }

    /// Notes how a request has ended that waited for work, so that only its end says something.
    pub(super) fn note<T>(&self, result: &Result<T, Error>) {
        self.note_since(result, Instant::now());
    }

    /// Notes how a request has ended. A failure that took long has lasted since the request began.
    fn note_since<T>(&self, result: &Result<T, Error>, began: Instant) {
        match result {
            Ok(_) => self.succeeded(),
            Err(error) => {
                let cause = error.cause;
                self.count_failure(cause.as_str());
                // Otherwise it says something about the request, and nothing about the store.
                if error.retryable || cause != ErrorCause::Other {
                    self.failed_since(&error.to_string(), began);
                }
            }
        }
    }

    /// Exports the counters of failures with zero: the increase of a series that begins with its first failure would be zero.
    pub(super) fn export_failures(&self) {
        if !self.is_probe {
            for cause in ErrorCause::ALL {
                counter!(FAILURES, "operation" => self.operation, "reason" => cause.as_str()).increment(0);
            }
        }
    }

    /// Counts a failure in the metrics.
    pub(super) fn count_failure(&self, reason: &'static str) {
        if !self.is_probe {
            counter!(FAILURES, "operation" => self.operation, "reason" => reason).increment(1);
        }
    }

    /// Notes a success.
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        state.succeeded = Some(Instant::now());
        state.failing = None;
    }

    /// Notes a failure.
    pub(super) fn failed(&self, reason: &str) {
        self.failed_since(reason, Instant::now());
    }

    fn failed_since(&self, reason: &str, began: Instant) {
        let (now, mut state) = (Instant::now(), self.state());
        let since = state.failing.as_ref().map_or(began, |failing| failing.since);
        let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect();
        state.failing = Some(Failing { since, last: now, reason });
    }

    /// When the last request succeeded, if one did.
    pub(super) fn last_success(&self) -> Option<Instant> {
        self.state().succeeded
    }

    /// Whether the store can be used, as far as the process has seen, or why not.
    pub(super) fn verdict(&self) -> Result<(), String> {
        self.state().verdict(self.is_probe, Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn verdict(&self, is_probe: bool, now: Instant) -> Result<(), String> {
        if let Some(Failing { since, last, reason }) = &self.failing {
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

/// A request that has no answer yet, until it is dropped.
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
    async fn a_store_fails_once_failures_last_and_until_a_success_or_for_a_minute() {
        let log = Dependency::of_traffic("log", "append");
        assert_eq!(log.verdict(), Ok(()), "nothing is known against it");
        log.failed("no room");
        assert_eq!(log.verdict(), Ok(()), "one failure may be a blip");
        advance(2 * SECOND).await;
        log.failed("no room\u{1b}");
        assert_eq!(log.verdict(), Err("no room (for 2 s)".to_owned()));
        log.succeeded();
        assert_eq!(log.verdict(), Ok(()));
        log.failed("away");
        advance(2 * SECOND).await;
        log.failed("away");
        advance(FRESH).await;
        assert_eq!(log.verdict(), Ok(()), "nothing has been asked of it since");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_counts_unless_later_ones_succeed() {
        let log = Dependency::of_traffic("log", "append");
        let mut asking = pin!(log.watch(pending::<Result<(), Error>>()));
        assert!(poll!(asking.as_mut()).is_pending());
        advance(STUCK).await;
        assert_eq!(log.verdict(), Err("no answer (for 6 s)".to_owned()));
        log.succeeded();
        assert_eq!(log.verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_that_took_long_is_enough() {
        let log = Dependency::of_traffic("log", "append");
        let asking = log.watch(async {
            sleep(10 * SECOND).await;
            Err::<(), _>(Error::transient("append", "not acknowledged"))
        });
        assert!(asking.await.is_err());
        assert_eq!(log.verdict(), Err("append: not acknowledged (for 10 s)".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_is_forgotten() {
        let log = Dependency::of_traffic("log", "append");
        {
            let mut asking = pin!(log.watch(pending::<Result<(), Error>>()));
            assert!(poll!(asking.as_mut()).is_pending());
            advance(STUCK).await;
        }
        assert_eq!(log.verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_with_a_request_is_not_held_against_the_store() {
        let log = Dependency::of_traffic("log", "append");
        for _ in 0..2 {
            log.note::<()>(&Err(Error::permanent("append", "the message is too large")));
            advance(2 * SECOND).await;
        }
        assert_eq!(log.verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_must_have_been_made_lately() {
        let probe = Dependency::of_probe("LS_JOBS");
        assert!(probe.verdict().is_err());
        probe.succeeded();
        assert_eq!(probe.verdict(), Ok(()));
        advance(STALE).await;
        assert_eq!(probe.verdict(), Err("not asked for 20 s".to_owned()));
    }
}
