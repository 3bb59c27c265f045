//! The reasons why a measurement ends without figures.

use std::error::Error;
use std::fmt::Display;

use longshore_harness::StartError;

/// The result of requests to NATS: the errors of its client are of many types.
pub(crate) type NatsResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The kind of a failure, which decides the exit code of the command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BenchErrorKind {
    /// The arguments contradict each other.
    Usage,
    /// NATS, Redis or a scheduler did not answer in time.
    Unreachable,
    /// Anything else: a process that ended, a run that failed, a disk.
    Other,
}

/// A measurement that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BenchError {
    /// Its kind.
    pub kind: BenchErrorKind,
    /// The action that failed, its object and the reason, as a lower-case fragment.
    pub message: String,
    /// The advice for the user.
    pub help: Option<&'static str>,
}

impl BenchError {
    pub(crate) fn new(kind: BenchErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(BenchErrorKind::Other, message)
    }

    pub(crate) fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }
}

impl From<StartError> for BenchError {
    fn from(error: StartError) -> Self {
        let kind = match error {
            StartError::NoAnswer { .. } => BenchErrorKind::Unreachable,
            _ => BenchErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

/// Turns any error into one that names the action that failed.
pub(crate) fn failed_to<E: Display>(action: &str) -> impl Fn(E) -> BenchError {
    move |error| BenchError::other(format!("could not {action}: {error}"))
}
