//! One registered workflow with its versions and its text, for clients: they read neither registry nor blobs themselves.

use longshore_ports::WorkflowVersion;
use longshore_proto::{Namespace, WorkflowName};
use serde::Serialize;

use super::{Desk, Refusal, choose};
use crate::intake::SubmitError;

/// Versions in an answer, newest first: about 150 KiB.
const VERSIONS: usize = 1_000;

/// A registered workflow.
#[derive(Serialize)]
pub(super) struct RegisteredWorkflow {
    /// The version whose text this is.
    #[serde(flatten)]
    version: WorkflowVersion,
    /// The versions of the workflow, the current one first.
    versions: Vec<WorkflowVersion>,
    /// The text.
    text: String,
}

impl Desk {
    /// Returns a version of a workflow, by the beginning of its digest; the current one, if none is named.
    pub(super) async fn workflow(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: Option<&str>,
    ) -> Result<RegisteredWorkflow, Refusal> {
        let mut versions = self.workflows.versions(namespace, workflow).await?;
        let digest = choose(&versions, namespace, workflow, version)?;
        let missing = || Refusal::from(SubmitError::TextMissing(digest));
        let version = versions.iter().find(|one| one.digest == digest).cloned().ok_or_else(missing)?;
        let text = self.backend.blobs.get(digest).await?.ok_or_else(missing)?;
        versions.truncate(VERSIONS);
        Ok(RegisteredWorkflow { version, versions, text: String::from_utf8_lossy(&text).into_owned() })
    }
    /// Removes a workflow from the registry: its name means nothing for new submits, here at once and for other schedulers
    /// within a second. Runs that have begun have their plan. Returns how many versions there were.
    pub(super) async fn unregister(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
    ) -> Result<usize, Refusal> {
        let removed = self.workflows.remove(namespace, workflow).await?;
        self.known.forget(namespace, workflow);
        if removed == 0 {
            let (namespace, workflow) = (namespace.clone(), workflow.clone());
            return Err(Refusal::UnknownWorkflow { namespace, workflow });
        }
        Ok(removed)
    }
}
