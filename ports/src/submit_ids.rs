//! Ids that submitters chose, until the run of each is known.

use async_trait::async_trait;
use longshore_proto::RunId;

use crate::Error;

/// What was asked for under an id a moment ago.
///
/// A run is compared with a later submit of the same id once a checkpoint has it. This covers the time before that: all
/// schedulers note what a request asks for before they append it. Advice, like a lease: the log decides which submit a
/// run is made of, and a store that forgets costs a comparison.
#[async_trait]
pub trait SubmitIds: Send + Sync {
    /// Notes what is asked for under the id of a run, unless something was noted before; returns that.
    async fn record(&self, run: RunId, request: &str) -> Result<Option<String>, Error>;
}
