//! The failure to open a data directory.

use longshore_embedded::OpenError;

use crate::exit::Exit;
use crate::failure::Failure;

/// Returns the failure of a command for a data directory that was not opened.
pub(super) fn unopened(error: OpenError) -> Failure {
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
