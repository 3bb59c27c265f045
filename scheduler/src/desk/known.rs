//! Versions of workflows that were seen in the registry.
//!
//! A version that is registered stays so until its workflow is removed, which is seldom. Who names one in full, as `longshore
//! submit` does, need not wait for the registry if this process has seen it there [a moment ago](BELIEVED); which version is
//! the current one is asked each time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_proto::{Digest, Namespace, WorkflowName};
use tokio::time::Instant;

/// Versions that are remembered: those that are submitted again and again. About 200 bytes each.
const REMEMBERED: usize = 1_000;

/// How long a version counts as registered after it was seen: another scheduler may have removed its workflow since.
const BELIEVED: Duration = Duration::from_secs(1);

/// A version of a workflow of a namespace.
type Version = (Namespace, WorkflowName, Digest);

/// What is known to be registered, and when it was seen.
#[derive(Default)]
pub(super) struct Known {
    versions: Mutex<BTreeMap<Version, Instant>>,
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
        let seen = self.versions().get(&(namespace.clone(), workflow.clone(), digest)).copied()?;
        (seen.elapsed() < BELIEVED).then_some(digest)
    }

    /// Takes note of a version that was seen.
    pub(super) fn note(&self, namespace: &Namespace, workflow: &WorkflowName, digest: Digest) {
        let mut versions = self.versions();
        if versions.len() >= REMEMBERED {
            versions.clear();
        }
        versions.insert((namespace.clone(), workflow.clone(), digest), Instant::now());
    }

    /// Forgets a workflow that was removed.
    pub(super) fn forget(&self, namespace: &Namespace, workflow: &WorkflowName) {
        self.versions().retain(|(of, name, _), _| (of, name) != (namespace, workflow));
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<Version, Instant>> {
        // Nothing can panic half-way through a change of it.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_version_that_is_named_in_full_and_was_seen_a_moment_ago_is_known() {
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
        tokio::time::advance(BELIEVED).await;
        assert_eq!(known.named(&ours, &name, Some(&full)), None, "it may have been removed since");
        known.note(&ours, &name, digest);
        known.forget(&ours, &name);
        assert_eq!(known.named(&ours, &name, Some(&full)), None);
    }
}
