//! A semaphore with a bounded share for each namespace: no namespace can hold all permits or block the others.
//!
//! A request waits first for permits of its namespace's share, behind requests of the same namespace, and then for permits of
//! the whole. So other namespaces compete only with the requests that this share admits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_proto::Namespace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A semaphore whose permits namespaces share.
#[derive(Clone)]
pub struct NamespaceSemaphore {
    all: Arc<Semaphore>,
    /// Number of permits that one namespace may hold.
    share: u32,
    /// Semaphores of the namespaces that hold permits or wait for some.
    namespaces: Arc<Mutex<BTreeMap<Namespace, Arc<Semaphore>>>>,
}

/// Permits of a namespace, which are returned on drop.
pub struct NamespacePermits {
    _of_namespace: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl NamespaceSemaphore {
    /// Creates a semaphore of `all` permits, of which one namespace may hold at most `share`.
    pub fn new(all: u32, share: u32) -> Self {
        Self { all: semaphore(all), share: share.min(all), namespaces: Arc::default() }
    }

    /// Acquires permits if they are available. A `count` above the share is reduced to the share.
    pub fn try_acquire(&self, namespace: &Namespace, count: u32) -> Option<NamespacePermits> {
        let count = count.min(self.share);
        let of_namespace = self.share_of(namespace).try_acquire_many_owned(count).ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_many_owned(count).ok()?;
        Some(NamespacePermits { _of_namespace: of_namespace, _of_all: of_all })
    }

    /// Waits for permits, in the order of the requests within a namespace. A `count` above the share is reduced to the share.
    /// Cancel-safe.
    pub async fn acquire(&self, namespace: &Namespace, count: u32) -> Option<NamespacePermits> {
        let count = count.min(self.share);
        // The semaphores are never closed, so this is never `None`.
        let of_namespace = self.share_of(namespace).acquire_many_owned(count).await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_many_owned(count).await.ok()?;
        Some(NamespacePermits { _of_namespace: of_namespace, _of_all: of_all })
    }

    fn share_of(&self, namespace: &Namespace) -> Arc<Semaphore> {
        let mut namespaces = self.namespaces();
        if let Some(known) = namespaces.get(namespace) {
            return Arc::clone(known);
        }
        // Permits and waiting requests hold a reference to their semaphore.
        namespaces.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let new = semaphore(self.share);
        namespaces.insert(namespace.clone(), Arc::clone(&new));
        new
    }

    fn namespaces(&self) -> MutexGuard<'_, BTreeMap<Namespace, Arc<Semaphore>>> {
        // A poisoned map is consistent: no code that holds the lock panics between two changes.
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
    fn one_namespace_neither_holds_all_permits_nor_blocks_the_others() {
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
    fn request_above_the_share_takes_the_whole_share() {
        let shares = NamespaceSemaphore::new(4, 2);
        let held = shares.try_acquire(&namespace("one"), 1_000);
        assert!(held.is_some() && shares.try_acquire(&namespace("one"), 1).is_none());
        assert!(shares.try_acquire(&namespace("other"), 2).is_some());
    }

    #[test]
    fn namespaces_without_permits_take_no_memory() {
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
