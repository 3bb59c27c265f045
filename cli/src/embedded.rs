//! Scheduler and worker in one process, on one data directory that other processes may share. With its submodules this is
//! the only place that names the embedded adapters.
//!
//! ```text
//! open ──► OpenDataDir ──start──► LocalProcess ──stop──► worker drained, drivers stopped ──end──► servers and store closed
//!   take_over               (worker, drivers running)
//! ```
//!
//! Nothing is executed before `start`: until then the caller can read the interrupted runs, and refuse to continue before
//! any call is made. Each process leads its own partitions.

mod local_updates;
mod open_data_dir;
mod process;
mod read_only;
mod survey;

use longshore_embedded::OpenError;
pub(crate) use longshore_embedded::{Holder, RunWatch};
use longshore_machine::Run;
use longshore_ports::Backend;
use longshore_proto::{Namespace, RunId, RunView};
use longshore_scheduler::fill_outputs;

pub(crate) use self::open_data_dir::OpenDataDir;
pub(crate) use self::process::{DRAIN, LocalProcess};
pub(crate) use self::read_only::ReadOnlyDataDir;
pub(crate) use self::survey::PartitionSurvey;
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

fn unopened(error: OpenError) -> Failure {
    let exit = match error {
        OpenError::Absent { .. } => Exit::NotFound,
        OpenError::NotADirectory { .. } => Exit::Usage,
        _ => Exit::Error,
    };
    let error = match error {
        // The absolute path is named, because the current folder of a cron job, for instance, is easily mistaken.
        OpenError::Absent { path } => OpenError::Absent { path: std::path::absolute(&path).unwrap_or(path) },
        other => other,
    };
    Failure::new(exit, error.to_string())
}
