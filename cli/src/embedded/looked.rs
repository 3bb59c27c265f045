//! A data directory for looking only.

use std::path::Path;

use longshore_embedded::{Access, Embedded};
use longshore_ports::Backend;
use longshore_proto::RunId;
use longshore_scheduler::PartitionReader;

use super::survey::Survey;
use super::unopened;
use crate::exit::Exit;
use crate::failure::Failure;

/// A data directory for looking only, beside processes that work in it or without one.
pub(crate) struct Looked {
    store: Embedded,
    pub(crate) backend: Backend,
    pub(crate) survey: Survey,
}

impl Looked {
    /// Looks at a directory as it is now.
    pub(crate) async fn at(dir: &Path) -> Result<Self, Failure> {
        let store = Embedded::open(dir, Access::ReadOnly).await.map_err(unopened)?;
        let backend = store.backend();
        let survey = Survey::of(&store).await?;
        Ok(Self { store, backend, survey })
    }

    /// Follows the log of the partition of a run.
    pub(crate) async fn follow(&self, run: RunId) -> Result<PartitionReader, Failure> {
        PartitionReader::open(self.backend.clone(), run.partition())
            .await
            .map_err(|error| Failure::new(Exit::Error, format!("the run {run} cannot be followed: {error}")))
    }

    /// Returns true if a process executes a run now.
    pub(crate) fn is_moved(&self, run: RunId) -> Result<bool, Failure> {
        let holder = self.store.holder(run.partition()).map_err(unopened)?;
        Ok(holder.is_some_and(|holder| holder.moves(run)))
    }

    /// Lets go of the directory.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}
