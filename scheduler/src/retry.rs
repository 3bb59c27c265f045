//! Retry of requests to ports. Only drivers retry; see the invariants in `ARCHITECTURE.md`.

use std::time::Duration;

use longshore_ports::{Error, outage};
use tokio::time::sleep;
use tracing::{info, warn};

/// First and longest pause between two tries. Each pause is twice the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Sends a request until it succeeds, or until an error says that a retry cannot help. `action` names it in the log, as in
/// "cannot {action}".
pub(crate) async fn retry<T, F>(action: &str, send: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let (mut pause, mut has_failed) = (FIRST_PAUSE, false);
    loop {
        match send().await {
            Ok(answer) => {
                if has_failed && let Some(lasted) = outage::record_success(action) {
                    info!(?lasted, "works again: {action}");
                }
                return Ok(answer);
            }
            Err(error) if error.retryable => {
                has_failed = true;
                if outage::record_failure(action) {
                    warn!(%error, "cannot {action}; trying again until it works");
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}
