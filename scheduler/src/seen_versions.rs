//! Cache of workflow versions that the registry has.
//!
//! A version stays registered until its workflow is removed, which is rare. So a submit that names the full digest, as those of
//! `longshore submit` do, does not wait for the registry if this process saw the version there within [`MAX_AGE`]. The current
//! version of a workflow is not cached here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_proto::{Digest, Namespace, WorkflowName};
use tokio::time::Instant;

/// Maximum number of cached versions, of about 200 bytes each. Those in use are cached again.
const MOST_VERSIONS: usize = 1_000;

/// Longest time that a version counts as registered after it was seen: another scheduler may remove its workflow.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Key of a version of a workflow of a namespace.
type VersionKey = (Namespace, WorkflowName, Digest);

/// Registered versions, with the time when each was last seen.
#[derive(Default)]
pub(crate) struct SeenVersions {
    versions: Mutex<BTreeMap<VersionKey, Instant>>,
}

impl SeenVersions {
    /// Returns the version that is named, if it is named by its full digest and was seen lately.
    pub(crate) fn get(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: Option<&str>,
    ) -> Option<Digest> {
        let digest = version?.parse().ok()?;
        let seen = self.versions().get(&(namespace.clone(), workflow.clone(), digest)).copied()?;
        (seen.elapsed() < MAX_AGE).then_some(digest)
    }

    /// Adds a version that was seen in the registry.
    pub(crate) fn add(&self, namespace: &Namespace, workflow: &WorkflowName, digest: Digest) {
        let mut versions = self.versions();
        if versions.len() >= MOST_VERSIONS {
            versions.clear();
        }
        versions.insert((namespace.clone(), workflow.clone(), digest), Instant::now());
    }

    /// Removes the versions of a workflow.
    pub(crate) fn remove(&self, namespace: &Namespace, workflow: &WorkflowName) {
        self.versions().retain(|(of, name, _), _| (of, name) != (namespace, workflow));
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<VersionKey, Instant>> {
        // No code that holds the lock can panic in the middle of a change.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_full_digests_that_were_seen_lately_are_cached() {
        let (ours, others): (Namespace, Namespace) = ("ours".parse().unwrap(), "others".parse().unwrap());
        let name: WorkflowName = "demo".parse().unwrap();
        let digest = Digest::of(b"text");
        let (seen, full) = (SeenVersions::default(), digest.to_string());
        assert_eq!(seen.get(&ours, &name, Some(&full)), None);
        seen.add(&ours, &name, digest);
        assert_eq!(seen.get(&ours, &name, Some(&full)), Some(digest));
        assert_eq!(seen.get(&ours, &name, Some(&digest.short())), None);
        assert_eq!(seen.get(&ours, &name, None), None);
        assert_eq!(seen.get(&others, &name, Some(&full)), None);
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(seen.get(&ours, &name, Some(&full)), None, "another scheduler may have removed it");
        seen.add(&ours, &name, digest);
        seen.remove(&ours, &name);
        assert_eq!(seen.get(&ours, &name, Some(&full)), None);
    }
}
