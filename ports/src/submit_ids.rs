//! Recent submits with an id that the submitter chose.

use async_trait::async_trait;
use longshore_proto::RunId;

use crate::Error;

/// The store of recent submits, by run id.
///
/// A later submit with the same id is compared with the run in the checkpoint. This store covers the time until the run is
/// in a checkpoint: every scheduler records a submit with an id before it appends it. It is advisory, like a lease: the log determines
/// the submit of a run, and if the store loses a record, a differing submit is accepted without an error.
#[async_trait]
pub trait SubmitIds: Send + Sync {
    /// Records a request under the id of its run. If an earlier request is recorded, returns that one and changes nothing.
    async fn record(&self, run: RunId, request: &str) -> Result<Option<String>, Error>;
}
