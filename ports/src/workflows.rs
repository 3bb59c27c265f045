//! WorkflowVersion workflows: which version of a name is run when nothing else is said.

use async_trait::async_trait;
use longshore_proto::{Digest, Namespace, Timestamp, WorkflowName};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A version of a workflow, registered. Its text is a blob under the digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkflowVersion {
    /// Its name.
    pub name: WorkflowName,
    /// The address of its text.
    pub digest: Digest,
    /// When it was registered.
    pub at: Timestamp,
}

/// The registry of workflows.
///
/// Contract: what was registered is durable; the version registered last is the current one, also when it was
/// registered before; versions are listed newest first. A workflow that was removed
/// has no versions until it is registered again.
#[async_trait]
pub trait Workflows: Send + Sync {
    /// Makes a version the current one.
    async fn register(&self, namespace: &Namespace, workflow: &WorkflowVersion) -> Result<(), Error>;

    /// Removes all versions of a workflow, and returns how many there were. Their texts stay, for runs that have begun.
    async fn remove(&self, namespace: &Namespace, name: &WorkflowName) -> Result<usize, Error>;

    /// All versions of a workflow, the current one first; empty if there is none.
    async fn versions(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
    ) -> Result<Vec<WorkflowVersion>, Error>;

    /// The current version of every workflow, in the order of their names.
    async fn list(&self, namespace: &Namespace) -> Result<Vec<WorkflowVersion>, Error>;
}
