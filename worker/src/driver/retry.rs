//! Repetition of requests to a backend until it answers.
//!
//! Every request to a port is harmless to repeat, so a job waits for a broker or a disk that is away instead of failing.
//! There is no time limit: a result is not dropped while the process lives, and the job's heartbeat continues meanwhile. A
//! caller that needs a limit sets a timeout around the call.

use std::time::Duration;

use longshore_ports::{Error, outage};
use tokio::time::sleep;
use tracing::{info, warn};

/// The first pause: the time of a reconnect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause. Short enough to notice soon that the backend is back, and long enough for a worker with thousands of
/// jobs to send no more than some hundred requests a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Repeats `request` until it succeeds or fails with an error that is not retryable. `operation` names it in log lines.
pub(super) async fn retry<T, Response>(operation: &str, request: impl Fn() -> Response) -> Result<T, Error>
where
    Response: Future<Output = Result<T, Error>>,
{
    let (mut pause, mut has_failed) = (FIRST_PAUSE, false);
    loop {
        match request().await {
            Err(error) if error.retryable => {
                has_failed = true;
                if outage::record_failure(operation) {
                    warn!(%error, "{operation} failed; trying again until it succeeds");
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => {
                if has_failed && let Some(lasted) = outage::record_success(operation) {
                    info!(?lasted, "{operation} works again");
                }
                return result;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transient_error_is_retried_with_growing_pauses() {
        let (requests, start) = (AtomicU32::new(0), Instant::now());
        let result = retry("asking", || async {
            match requests.fetch_add(1, Ordering::Relaxed) {
                0..9 => Err(Error::transient("asking", "not now")),
                n => Ok(n),
            }
        });
        assert_eq!(result.await.expect("a success"), 9);
        let millis = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000_u64];
        assert_eq!(start.elapsed(), Duration::from_millis(millis.iter().sum()));
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_error_is_not_retried() {
        let requests = AtomicU32::new(0);
        let result: Result<(), _> = retry("asking", || async {
            requests.fetch_add(1, Ordering::Relaxed);
            Err(Error::permanent("asking", "never"))
        })
        .await;
        assert!(result.is_err());
        assert_eq!(requests.into_inner(), 1);
    }
}
