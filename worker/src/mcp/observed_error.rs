//! An observation as an error.

use super::classify::Observation;

/// The observation of our HTTP client in the place of a response. The MCP library carries it in its own errors, from which
/// `distil` takes it out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ObservedError(pub(crate) Observation);
