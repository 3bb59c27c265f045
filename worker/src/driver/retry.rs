//! Repetition of requests to a backend until it answers.
//!
//! Every request to a port is harmless to repeat, so a job waits for a broker or a disk that is away instead of failing.
//! There is no time limit: a result is not dropped while the process lives, and the job's heartbeat continues meanwhile. A
//! caller that needs a limit sets a timeout around the call.

use std::time::Duration;

use longshore_ports::Error;
use longshore_ports::retry::{self, RetryPauses};

/// The first pause is the time of a reconnect. The longest one is short enough to notice soon that the backend is back, and
/// long enough for a worker with thousands of jobs to send no more than some hundred requests a second.
const PAUSES: RetryPauses =
    RetryPauses { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// Repeats `request` until it succeeds or fails with an error that is not retryable. `action` names it in the log, as in
/// "cannot {action}".
pub(super) async fn retry<T, Response>(action: &str, request: impl FnMut() -> Response) -> Result<T, Error>
where
    Response: Future<Output = Result<T, Error>>,
{
    retry::retry(action, PAUSES, request).await
}
