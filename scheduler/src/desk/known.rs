//! Versions of workflows that were seen in the registry.
//!
//! A version that is registered stays so. Whoever names one in full, as `longshore submit` does, need not wait for the
//! registry once this process has seen it there; which version is the current one is asked each time.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::{Digest, Namespace, WorkflowName};

/// Versions that are remembered: those that are submitted again and again. About 200 bytes each.
const REMEMBERED: usize = 1_000;

/// What is known to be registered.
#[derive(Default)]
pub(super) struct Known {
    versions: Mutex<BTreeSet<(Namespace, WorkflowName, Digest)>>,
}

impl Known {
    /// The version that is named, if it is named in full and known.
    pub(super) fn named(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: Option<&str>,
    ) -> Option<Digest> {
        let digest = version?.parse().ok()?;
        self.versions().contains(&(namespace.clone(), workflow.clone(), digest)).then_some(digest)
    }

    /// Takes note of a version that was seen.
    pub(super) fn note(&self, namespace: &Namespace, workflow: &WorkflowName, digest: Digest) {
        let mut versions = self.versions();
        if versions.len() >= REMEMBERED {
            versions.clear();
        }
        versions.insert((namespace.clone(), workflow.clone(), digest));
    }

    fn versions(&self) -> MutexGuard<'_, BTreeSet<(Namespace, WorkflowName, Digest)>> {
        // Nothing can panic half-way through a change of it.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_that_is_named_in_full_and_was_seen_is_known() {
        let (ours, others): (Namespace, Namespace) = ("ours".parse().unwrap(), "others".parse().unwrap());
        let name: WorkflowName = "demo".parse().unwrap();
        let digest = Digest::of(b"text");
        let (known, full) = (Known::default(), digest.to_string());
        assert_eq!(known.named(&ours, &name, Some(&full)), None);
        known.note(&ours, &name, digest);
        assert_eq!(known.named(&ours, &name, Some(&full)), Some(digest));
        assert_eq!(known.named(&ours, &name, Some(&digest.short())), None);
        assert_eq!(known.named(&ours, &name, None), None);
        assert_eq!(known.named(&others, &name, Some(&full)), None);
    }
}
