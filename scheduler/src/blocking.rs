//! Long computations on foreign data, on blocking threads.
//!
//! To compile a workflow of 1 MiB takes about a second. On a thread of the runtime it would delay all other tasks of the
//! thread: requests of other namespaces, submits, and answers to health checks.

use std::thread::available_parallelism;

use longshore_ports::{NamespacePermits, NamespaceSemaphore, on_blocking_thread};
use longshore_proto::Namespace;

/// Bodies and values up to this size are decoded on the thread of the runtime: about 1 ms of work.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;

/// Least number of concurrent checks. One namespace may have half of them, so that a thread is left for others.
const LEAST_CHECKS: u32 = 2;

/// A bounded number of concurrent checks, shared by namespaces. Checks of one namespace are done in the order of their
/// requests.
pub(crate) struct CheckSlots {
    shares: NamespaceSemaphore,
}

/// Permit for one check.
pub(crate) struct CheckPermit(Option<NamespacePermits>);

impl Default for CheckSlots {
    /// Allows as many concurrent checks as there are processors.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        Self::new(processors.max(LEAST_CHECKS))
    }
}

impl CheckSlots {
    fn new(slots: u32) -> Self {
        Self { shares: NamespaceSemaphore::new(slots, slots / 2) }
    }

    /// Waits for a permit for a namespace. Safe to cancel.
    pub(crate) async fn acquire(&self, namespace: &Namespace) -> CheckPermit {
        CheckPermit(self.shares.acquire(namespace, 1).await)
    }
}

impl CheckPermit {
    /// Runs `work` on a blocking thread. If the caller is cancelled, the work continues and keeps the permit until its end.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Self(share) = self;
        on_blocking_thread(move || {
            let result = work();
            drop(share);
            result
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_namespace_with_long_checks_leaves_a_slot_to_others() {
        let slots = CheckSlots::new(2);
        let (ours, others) = ("ours".parse().expect("a namespace"), "others".parse().expect("a namespace"));
        let (end, ended) = mpsc::sync_channel::<()>(1);
        let permit = slots.acquire(&ours).await;
        // The caller is cancelled.
        assert!(permit.run(move || ended.recv()).now_or_never().is_none());
        assert!(slots.acquire(&ours).now_or_never().is_none(), "the work continues and keeps its permit");
        assert_eq!(slots.acquire(&others).await.run(|| 7).await, 7);
        end.send(()).expect("the work waits for it");
        let mut permit = Box::pin(slots.acquire(&ours));
        while permit.as_mut().now_or_never().is_none() {
            yield_now().await;
        }
    }
}
