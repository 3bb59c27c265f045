//! The registry of workflows and their versions.

use async_trait::async_trait;
use longshore_proto::{Digest, Namespace, Timestamp, WorkflowName};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A registered version of a workflow. Its text is the blob with the digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkflowVersion {
    /// Name of the workflow.
    pub name: WorkflowName,
    /// Digest of its text.
    pub digest: Digest,
    /// Time of the registration.
    pub at: Timestamp,
}

/// The registry of workflows.
///
/// Contract: a registration is durable. The version registered last is the current one, also if it had been registered
/// before. Versions are listed newest first. A removed workflow has no versions until it is registered again.
#[async_trait]
pub trait Workflows: Send + Sync {
    /// Registers a version, which becomes the current one.
    async fn register(&self, namespace: &Namespace, workflow: &WorkflowVersion) -> Result<(), Error>;

    /// Removes all versions of a workflow and returns their number. The texts remain for runs that have begun.
    async fn remove(&self, namespace: &Namespace, name: &WorkflowName) -> Result<usize, Error>;

    /// Returns all versions of a workflow, the current one first.
    async fn versions(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
    ) -> Result<Vec<WorkflowVersion>, Error>;

    /// Returns the current version of every workflow, in the order of their names.
    async fn list(&self, namespace: &Namespace) -> Result<Vec<WorkflowVersion>, Error>;
}
