//! Work on foreign data that may take long, on threads of its own.
//!
//! Compiling a workflow of 1 MiB takes a second or so. A task of the runtime that computed that long would hold up every other
//! task of its thread: requests of other namespaces, submits, and the answers to health checks.

use std::future::pending;
use std::panic::resume_unwind;
use std::thread::available_parallelism;

use longshore_ports::{NamespacePermits, NamespaceSemaphore};
use longshore_proto::Namespace;
use tokio::task::spawn_blocking;

/// Bodies and values below this size are read where they are: about 1 ms of work.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;

/// Checks at once, at least: one namespace may have half of them, and leaves a thread to the others.
const LEAST_AT_ONCE: u32 = 2;

/// A bounded number of checks at once, shared by the namespaces. Of one namespace they are done in the order in which they
/// ask.
pub(crate) struct Checks {
    shares: NamespaceSemaphore,
}

/// Permission to do one check.
pub(crate) struct CheckTurn(Option<NamespacePermits>);

impl Default for Checks {
    /// As many checks at once as there are processors.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        Self::new(processors.max(LEAST_AT_ONCE))
    }
}

impl Checks {
    fn new(at_once: u32) -> Self {
        Self { shares: NamespaceSemaphore::new(at_once, at_once / 2) }
    }

    /// Waits for the turn of a namespace. Safe to cancel.
    pub(crate) async fn turn(&self, namespace: &Namespace) -> CheckTurn {
        CheckTurn(self.shares.acquire(namespace, 1).await)
    }
}

impl CheckTurn {
    /// Does the work on another thread. If the caller goes away, the work ends all the same, and so does the turn then.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Self(share) = self;
        on_blocking_thread(move || {
            let done = work();
            drop(share);
            done
        })
        .await
    }
}

/// Does work on another thread. A panic of the work is the caller's.
pub(crate) async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and polls the caller no more.
            Err(_) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_namespace_with_a_long_check_leaves_a_turn_to_the_others() {
        let checks = Checks::new(2);
        let (ours, others) = ("ours".parse().expect("a namespace"), "others".parse().expect("a namespace"));
        let (end, ended) = mpsc::sync_channel::<()>(1);
        let turn = checks.turn(&ours).await;
        // Its caller does not wait for it.
        assert!(turn.run(move || ended.recv()).now_or_never().is_none());
        assert!(checks.turn(&ours).now_or_never().is_none(), "the work goes on, and counts");
        assert_eq!(checks.turn(&others).await.run(|| 7).await, 7);
        end.send(()).expect("the work waits for it");
        let mut turn = Box::pin(checks.turn(&ours));
        while turn.as_mut().now_or_never().is_none() {
            yield_now().await;
        }
    }
}
