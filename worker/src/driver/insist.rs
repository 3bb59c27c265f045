//! Asking a struggling backend again.
//!
//! Every request to a port is harmless to repeat, so a job in hand waits for a broker or a disk that is away for a
//! while instead of failing. There is no limit in time: a result is not dropped while the process lives, and the queue
//! and the claim are kept patient meanwhile. Whoever does have a limit puts a timeout around it.

use std::time::Duration;

use longshore_ports::{Error, outage};
use tokio::time::sleep;
use tracing::{info, warn};

/// The first pause: what a reconnect takes.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: a backend that comes back is noticed soon, and a worker with thousands of jobs in hand asks it no
/// more than some hundred times a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks until there is an answer, or an error that asking again will not mend.
pub(super) async fn insist<T, Asked>(doing: &str, ask: impl Fn() -> Asked) -> Result<T, Error>
where
    Asked: Future<Output = Result<T, Error>>,
{
    let (mut pause, mut has_failed) = (FIRST_PAUSE, false);
    loop {
        match ask().await {
            Err(error) if error.retryable => {
                has_failed = true;
                if outage::record_failure(doing) {
                    warn!(%error, "{doing} failed; asking again until it works");
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => {
                if has_failed && let Some(lasted) = outage::record_success(doing) {
                    info!(?lasted, "{doing} works again");
                }
                return answer;
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
    async fn what_may_pass_is_asked_again_with_growing_pauses() {
        let (asked, start) = (AtomicU32::new(0), Instant::now());
        let answer = insist("asking", || async {
            match asked.fetch_add(1, Ordering::Relaxed) {
                0..9 => Err(Error::transient("asking", "not now")),
                n => Ok(n),
            }
        });
        assert_eq!(answer.await.expect("an answer"), 9);
        let millis = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000_u64];
        assert_eq!(start.elapsed(), Duration::from_millis(millis.iter().sum()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_asked_once() {
        let asked = AtomicU32::new(0);
        let answer: Result<(), _> = insist("asking", || async {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(Error::permanent("asking", "never"))
        })
        .await;
        assert!(answer.is_err());
        assert_eq!(asked.into_inner(), 1);
    }
}
