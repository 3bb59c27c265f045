//! Registered workflows: versions, texts and plans.
//!
//! Clients read and change the registry through requests; they access neither its store nor blobs.

use std::sync::Arc;

use longshore_ports::{Blobs, WorkflowVersion, Workflows, clock};
use longshore_proto::{Digest, Namespace, WorkflowName};
use longshore_workflow::Plan;
use serde::Serialize;

use crate::intake::{Intake, SubmitError};
use crate::refusal::Refusal;
use crate::seen_versions::SeenVersions;

/// Maximum number of versions in an answer, newest first: about 150 KiB.
const MOST_VERSIONS: usize = 1_000;

/// A registered workflow with the text of one version.
#[derive(Serialize)]
pub(crate) struct RegisteredWorkflow {
    /// The version that `text` belongs to.
    #[serde(flatten)]
    version: WorkflowVersion,
    /// All versions of the workflow, the current one first.
    versions: Vec<WorkflowVersion>,
    /// The text.
    text: String,
}

/// The registered workflows.
pub(crate) struct WorkflowRegistry {
    intake: Arc<Intake>,
    workflows: Arc<dyn Workflows>,
    blobs: Arc<dyn Blobs>,
    seen: SeenVersions,
}

impl WorkflowRegistry {
    pub(crate) fn new(intake: Arc<Intake>, workflows: Arc<dyn Workflows>, blobs: Arc<dyn Blobs>) -> Self {
        Self { intake, workflows, blobs, seen: SeenVersions::default() }
    }

    /// Returns the plan of a version of a workflow; of the current one, if none is named.
    pub(crate) async fn plan(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: Option<&str>,
    ) -> Result<Arc<Plan>, Refusal> {
        let digest = match self.seen.get(namespace, workflow, version) {
            Some(digest) => digest,
            None => {
                let versions = self.workflows.versions(namespace, workflow).await?;
                let digest = choose(&versions, namespace, workflow, version)?;
                self.seen.add(namespace, workflow, digest);
                digest
            }
        };
        Ok(self.intake.registered_plan(namespace, digest).await?)
    }

    /// Registers a workflow and makes it the current version.
    pub(crate) async fn push(&self, namespace: &Namespace, text: &str) -> Result<WorkflowVersion, Refusal> {
        let plan = self.intake.register_in(namespace, text).await?;
        let registered = WorkflowVersion { name: plan.name.clone(), digest: plan.digest, at: clock::now() };
        self.workflows.register(namespace, &registered).await?;
        Ok(registered)
    }

    /// Returns the current version of every workflow.
    pub(crate) async fn list(&self, namespace: &Namespace) -> Result<Vec<WorkflowVersion>, Refusal> {
        Ok(self.workflows.list(namespace).await?)
    }

    /// Returns a version of a workflow by the beginning of its digest; the current one, if none is named.
    pub(crate) async fn get(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: Option<&str>,
    ) -> Result<RegisteredWorkflow, Refusal> {
        let mut versions = self.workflows.versions(namespace, workflow).await?;
        let digest = choose(&versions, namespace, workflow, version)?;
        let missing = || Refusal::from(SubmitError::TextMissing(digest));
        let version = versions.iter().find(|one| one.digest == digest).cloned().ok_or_else(missing)?;
        let text = self.blobs.get(digest).await?.ok_or_else(missing)?;
        versions.truncate(MOST_VERSIONS);
        Ok(RegisteredWorkflow { version, versions, text: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Removes a workflow. New submits do not find it: here at once, and on other schedulers within a second. Runs that were
    /// submitted keep their plan. Returns the number of removed versions.
    pub(crate) async fn remove(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
    ) -> Result<usize, Refusal> {
        let removed = self.workflows.remove(namespace, workflow).await?;
        self.seen.remove(namespace, workflow);
        if removed == 0 {
            let (namespace, workflow) = (namespace.clone(), workflow.clone());
            return Err(Refusal::UnknownWorkflow { namespace, workflow });
        }
        Ok(removed)
    }
}

/// Returns the registered version whose digest begins with `version`; the current one for `None`.
fn choose(
    versions: &[WorkflowVersion],
    namespace: &Namespace,
    workflow: &WorkflowName,
    version: Option<&str>,
) -> Result<Digest, Refusal> {
    let current = versions.first().ok_or_else(|| Refusal::UnknownWorkflow {
        namespace: namespace.clone(),
        workflow: workflow.clone(),
    })?;
    let Some(prefix) = version else { return Ok(current.digest) };
    let prefix = prefix.to_ascii_lowercase();
    let matching: Vec<_> =
        versions.iter().filter(|one| one.digest.to_string().starts_with(&prefix)).collect();
    match matching.as_slice() {
        [one] if !prefix.is_empty() => Ok(one.digest),
        [] => Err(Refusal::UnknownVersion {
            workflow: workflow.clone(),
            version: prefix.chars().take(64).collect(),
            current: current.digest.short(),
        }),
        several => Err(Refusal::AmbiguousVersion {
            workflow: workflow.clone(),
            version: prefix,
            count: several.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::Timestamp;

    #[test]
    fn a_version_is_chosen_by_the_beginning_of_its_digest() {
        let namespace: Namespace = "default".parse().expect("a namespace");
        let name: WorkflowName = "demo".parse().expect("a name");
        let registered = |text: &[u8]| WorkflowVersion {
            name: name.clone(),
            digest: Digest::of(text),
            at: Timestamp::default(),
        };
        let versions = [registered(b"new"), registered(b"old")];
        let choose = |version: Option<&str>| choose(&versions, &namespace, &name, version);
        assert_eq!(choose(None).expect("the current one"), Digest::of(b"new"));
        let old = Digest::of(b"old");
        assert_eq!(choose(Some(&old.short())).expect("an older one"), old);
        assert_eq!(choose(Some(&old.to_string().to_uppercase())).expect("in capitals"), old);
        assert!(matches!(choose(Some("zz")), Err(Refusal::UnknownVersion { .. })));
        assert!(matches!(choose(Some("")), Err(Refusal::AmbiguousVersion { count: 2, .. })));
    }
}
