//! The reasons why a server does not start.

use std::io;
use std::time::Duration;

/// A server that did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused an action.
    #[error("could not {action}: {cause}")]
    System {
        /// The action, as a verb with its object.
        action: String,
        /// The answer of the system.
        cause: io::Error,
    },
    /// The process ended before it answered.
    #[error("{0}")]
    Ended(String),
    /// The process runs and does not answer.
    #[error("{name} does not answer on port {port} within {limit:?}")]
    NoAnswer {
        /// The name of the process.
        name: String,
        /// Its port.
        port: u16,
        /// The time that it had.
        limit: Duration,
    },
    /// A server answers that is not the one that was started.
    #[error("port {port} of {name} belongs to another server: end that server")]
    ForeignServer {
        /// The name of the process that was started.
        name: String,
        /// The port of both.
        port: u16,
    },
    /// No port is free.
    #[error("no port from {first} to {last} is free on 127.0.0.1")]
    NoPort {
        /// The first port that was tried.
        first: u16,
        /// The last port that was tried.
        last: u16,
    },
}

/// Turns an error of the system into one that names the action that failed.
pub(crate) fn failed_to(action: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    move |cause| StartError::System { action: action.into(), cause }
}
