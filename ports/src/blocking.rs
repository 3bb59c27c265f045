//! Long computations, on blocking threads.
//!
//! On a thread of the runtime a long computation delays all other tasks of the thread, and within a task all that it awaits at
//! the same time: heartbeats, requests, and answers to health checks.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Size of data from which work on all of it is done on a blocking thread, in bytes: to hash, encode or search as much takes about a
/// millisecond, and some hundred milliseconds in a build without optimization.
pub const LONG_WORK_BYTES: usize = 256 * 1024;

/// Runs `work` on `bytes` bytes of data: on a blocking thread from [`LONG_WORK_BYTES`] on. A panic of `work` continues in the
/// caller.
pub async fn run_by_size<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < LONG_WORK_BYTES { work() } else { on_blocking_thread(work).await }
}

/// Runs `work` on a blocking thread. A panic of `work` continues in the caller.
pub async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down and does not poll the caller again.
            Err(_) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn work_on_large_data_leaves_the_thread_to_other_tasks() {
        assert_eq!(run_by_size(LONG_WORK_BYTES - 1, || 7).now_or_never(), Some(7));
        let (end, ended) = mpsc::sync_channel::<()>(1);
        let work = run_by_size(LONG_WORK_BYTES, move || ended.recv());
        // The only thread of this runtime runs both.
        let other = async { end.send(()) };
        let (done, sent) = futures::join!(work, other);
        assert_eq!((done, sent), (Ok(()), Ok(())));
    }
}
