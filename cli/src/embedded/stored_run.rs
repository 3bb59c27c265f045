//! Runs as a data directory has stored them.

use longshore_machine::Run;
use longshore_ports::Backend;
use longshore_proto::{Namespace, RunId, RunView};
use longshore_scheduler::fill_outputs;

use crate::exit::Exit;
use crate::failure::Failure;

/// Reads a stored run in full, if it exists.
pub(crate) async fn stored(backend: &Backend, run: RunId) -> Result<Option<RunView>, Failure> {
    let Some(run) = stored_state(backend, run).await? else { return Ok(None) };
    let mut view = run.view();
    fill_outputs(&mut view, &*backend.blobs, u64::MAX).await?;
    Ok(Some(view))
}

/// Reads the stored state of a run, if it exists.
pub(crate) async fn stored_state(backend: &Backend, run: RunId) -> Result<Option<Run>, Failure> {
    let Some(row) = backend.checkpoints.run(run).await? else { return Ok(None) };
    let read = Run::decode(&row.state)
        .map_err(|error| Failure::new(Exit::Error, format!("the state of {run} cannot be read: {error}")))?;
    Ok(Some(read))
}

/// Returns the namespace of all runs of a data directory.
pub(crate) fn namespace() -> Result<Namespace, Failure> {
    "default".parse().map_err(|error| Failure::new(Exit::Error, format!("{error}")))
}
