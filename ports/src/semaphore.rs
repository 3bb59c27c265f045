//! Permits that namespaces share fairly: no namespace can hold all of them, or make the others wait behind its own queue.
//!
//! A request for permits waits first behind requests of its own namespace, for that namespace's share, and then behind those
//! of the others. So however many requests of a namespace wait, the others compete only with those that its share admits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_proto::Namespace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of permits, and how many of them one namespace may hold.
#[derive(Clone)]
pub struct NamespaceSemaphore {
    all: Arc<Semaphore>,
    most: u32,
    /// The semaphores of namespaces that hold permits or wait for some.
    namespaces: Arc<Mutex<BTreeMap<Namespace, Arc<Semaphore>>>>,
}

/// Permits of a namespace. They are returned when this is dropped.
pub struct NamespacePermits {
    _of_namespace: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl NamespaceSemaphore {
    /// Permits of which one namespace may hold at most `most`.
    pub fn new(all: u32, most: u32) -> Self {
        Self { all: semaphore(all), most: most.min(all), namespaces: Arc::default() }
    }

    /// Takes permits, unless too many are held. More than a namespace may hold are as many as it may hold.
    pub fn try_acquire(&self, namespace: &Namespace, count: u32) -> Option<NamespacePermits> {
        let count = count.min(self.most);
        let of_namespace = self.of(namespace).try_acquire_many_owned(count).ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_many_owned(count).ok()?;
        Some(NamespacePermits { _of_namespace: of_namespace, _of_all: of_all })
    }

    /// Waits for permits, first come, first served within a namespace. More than a namespace may hold are as many as it may
    /// hold. Safe to cancel.
    pub async fn acquire(&self, namespace: &Namespace, count: u32) -> Option<NamespacePermits> {
        let count = count.min(self.most);
        // The semaphores are never closed.
        let of_namespace = self.of(namespace).acquire_many_owned(count).await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_many_owned(count).await.ok()?;
        Some(NamespacePermits { _of_namespace: of_namespace, _of_all: of_all })
    }

    fn of(&self, namespace: &Namespace) -> Arc<Semaphore> {
        let mut namespaces = self.namespaces();
        if let Some(known) = namespaces.get(namespace) {
            return Arc::clone(known);
        }
        // A permit and a waiter hold their semaphore.
        namespaces.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let new = semaphore(self.most);
        namespaces.insert(namespace.clone(), Arc::clone(&new));
        new
    }

    fn namespaces(&self) -> MutexGuard<'_, BTreeMap<Namespace, Arc<Semaphore>>> {
        // No code that holds the lock can panic half-way.
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(Semaphore::MAX_PERMITS)))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn namespace(name: &str) -> Namespace {
        name.parse().expect("a namespace")
    }

    #[test]
    fn one_namespace_never_holds_all_permits_nor_blocks_the_queue() {
        let shares = NamespaceSemaphore::new(4, 3);
        let (one, other) = (namespace("one"), namespace("other"));
        let held = shares.acquire(&one, 3).now_or_never().expect("granted");
        let mut waiting = Box::pin(shares.acquire(&one, 1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(shares.try_acquire(&one, 1).is_none());
        let others = shares.acquire(&other, 1).now_or_never().expect("granted beside those that wait");
        assert!(shares.try_acquire(&other, 1).is_none(), "all four are held");
        drop((held, others));
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn what_is_larger_than_a_share_takes_the_whole_share() {
        let shares = NamespaceSemaphore::new(4, 2);
        let held = shares.try_acquire(&namespace("one"), 1_000);
        assert!(held.is_some() && shares.try_acquire(&namespace("one"), 1).is_none());
        assert!(shares.try_acquire(&namespace("other"), 2).is_some());
    }

    #[test]
    fn namespaces_without_permits_are_forgotten() {
        let shares = NamespaceSemaphore::new(4, 2);
        let held = shares.try_acquire(&namespace("held"), 1);
        for number in 0..100 {
            drop(shares.try_acquire(&namespace(&format!("n{number}")), 1));
        }
        assert!(shares.namespaces().len() <= 2, "{}", shares.namespaces().len());
        assert!(shares.namespaces().contains_key(&namespace("held")));
        drop(held);
    }
}
