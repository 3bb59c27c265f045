//! Repeats requests that may succeed later.
//!
//! Every operation of a port is harmless to repeat. Drivers repeat a request for as long as its error is retryable,
//! with [`retry`]; adapters wait for a server at the start, with [`retry_until`].

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::{Error, outage};

/// Pause of [`retry_until`] between two attempts: short against the time that a server takes to start.
const START_PAUSE: Duration = Duration::from_millis(200);

/// Pauses between attempts: each is twice as long as the one before, up to a limit.
#[derive(Clone, Copy, Debug)]
pub struct RetryPauses {
    /// Pause after the first failed attempt.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl RetryPauses {
    /// Returns the pause after attempt number `attempt`, starting at zero.
    pub fn after(self, attempt: u32) -> Duration {
        let factor = 2_u32.checked_pow(attempt).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// Repeats a request until it succeeds, or fails with an error that is not retryable. Logs the start and the end of an
/// outage.
///
/// There is no limit in time: the caller puts a timeout around it where there is one. `doing` is an infinitive, such as
/// "append to the log", and the key of the outage.
///
/// # Errors
/// The first error that is not retryable.
pub async fn retry<T, F>(doing: &str, pauses: RetryPauses, mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut failed = 0;
    loop {
        match attempt().await {
            Err(error) if error.retryable => {
                if outage::record_failure(doing) {
                    warn!(%error, "cannot {doing}; trying again until it works");
                }
                sleep(pauses.after(failed)).await;
                failed = failed.saturating_add(1);
            }
            result => {
                if failed > 0
                    && let Some(lasted) = outage::record_success(doing)
                {
                    info!(?lasted, "works again: {doing}");
                }
                return result;
            }
        }
    }
}

/// Repeats an attempt until it succeeds, fails for good, or the deadline is over. Logs each distinct reason once.
///
/// # Errors
/// The last error, or `None` if the first attempt did not end before the deadline.
pub async fn retry_until<T, E, F>(
    doing: &str,
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
    is_transient: impl Fn(&E) -> bool,
) -> Result<T, Option<E>>
where
    E: std::error::Error,
    F: Future<Output = Result<T, E>>,
{
    let mut last: Option<E> = None;
    loop {
        let error = match timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(last),
        };
        if !is_transient(&error) || Instant::now() + START_PAUSE >= deadline {
            return Err(Some(error));
        }
        let reason = error.to_string();
        if last.is_none_or(|last| last.to_string() != reason) {
            info!(%reason, "cannot {doing} yet; trying again until the deadline");
        }
        last = Some(error);
        sleep(START_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: RetryPauses =
        RetryPauses { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

    #[tokio::test(start_paused = true)]
    async fn retryable_error_is_repeated_with_growing_pauses() {
        let (mut attempts, start) = (0, Instant::now());
        let result = retry("be tested", PAUSES, || {
            attempts += 1;
            let result = if attempts < 10 { Err(Error::transient("try", "not now")) } else { Ok(attempts) };
            async { result }
        });
        assert_eq!(result.await.expect("succeeds"), 10);
        let millis = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000_u64];
        assert_eq!(start.elapsed(), Duration::from_millis(millis.iter().sum()));
        assert_eq!(PAUSES.after(u32::MAX), PAUSES.longest);
    }

    #[tokio::test(start_paused = true)]
    async fn error_that_is_not_retryable_is_not_repeated() {
        let mut attempts = 0;
        let result: Result<(), _> = retry("be tested", PAUSES, || {
            attempts += 1;
            async { Err(Error::permanent("try", "never")) }
        })
        .await;
        assert!(result.is_err());
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_ends_with_the_last_error() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let is_retryable = |error: &Error| error.retryable;
        let failing = || async { Err(Error::transient("try", "not now")) };
        let result: Result<(), _> = retry_until("be tested", deadline, failing, is_retryable).await;
        assert!(result.expect_err("no success").is_some_and(|error| error.to_string() == "try: not now"));
        assert!(Instant::now() < deadline);
        let hanging = || std::future::pending::<Result<(), Error>>();
        assert!(retry_until("be tested", deadline, hanging, is_retryable).await.expect_err("late").is_none());
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_error_ends_the_wait_at_once() {
        let (start, deadline) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let failing = || async { Err(Error::permanent("try", "never")) };
        let result: Result<(), _> =
            retry_until("be tested", deadline, failing, |error: &Error| error.retryable).await;
        assert!(result.is_err());
        assert_eq!(Instant::now(), start);
    }
}
