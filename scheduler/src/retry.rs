//! Retry of requests to ports. Only drivers retry; see the invariants in `ARCHITECTURE.md`.

use std::time::Duration;

use longshore_ports::Error;
use longshore_ports::retry::{self, RetryPauses};

/// Pauses between two tries. A leader that waits for the log or the queue delays all its runs, so the first one is short.
const PAUSES: RetryPauses = RetryPauses { first: Duration::from_millis(20), longest: Duration::from_secs(5) };

/// Sends a request until it succeeds, or until an error says that a retry cannot help. `action` names it in the log, as in
/// "cannot {action}".
pub(crate) async fn retry<T, F>(action: &str, send: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    retry::retry(action, PAUSES, send).await
}
