//! Read-only access to a data directory.

use std::path::Path;

use longshore_embedded::{Access, Embedded};
use longshore_ports::Backend;
use longshore_proto::RunId;
use longshore_scheduler::PartitionReader;

use super::open_failure::unopened;
use super::survey::PartitionSurvey;
use crate::exit::Exit;
use crate::failure::Failure;

/// A data directory that is open for reading, beside processes that work in it.
pub(crate) struct ReadOnlyDataDir {
    store: Embedded,
    pub(crate) backend: Backend,
    pub(crate) survey: PartitionSurvey,
}

impl ReadOnlyDataDir {
    /// Opens a directory and reads the state of its runs.
    pub(crate) async fn open(dir: &Path) -> Result<Self, Failure> {
        let store = Embedded::open(dir, Access::ReadOnly).await.map_err(unopened)?;
        let backend = store.backend();
        let survey = PartitionSurvey::of(&store).await?;
        Ok(Self { store, backend, survey })
    }

    /// Follows the log of the partition of a run.
    pub(crate) async fn follow(&self, run: RunId) -> Result<PartitionReader, Failure> {
        PartitionReader::open(self.backend.clone(), run.partition()).await.map_err(|error| {
            Failure::new(Exit::Error, format!("the log of the run {run} cannot be read: {error}"))
        })
    }

    /// Returns true if a process executes a run now.
    pub(crate) fn is_executed(&self, run: RunId) -> Result<bool, Failure> {
        let holder = self.store.holder(run.partition()).map_err(unopened)?;
        Ok(holder.is_some_and(|holder| holder.moves(run)))
    }

    /// Closes the directory.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}
