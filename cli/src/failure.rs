//! The failure of a command: what failed, on what, why, and what to do about it.
//!
//! Every command ends with an [`Exit`] or a [`Failure`]. [`Output`](crate::output::Output) prints a failure as an `error:`
//! line, followed by a `help:` line.

use crate::exit::Exit;

/// A failure, ready to be printed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// The cause, with what it is about: a fragment that begins in lower case.
    pub(crate) message: String,
    /// Advice on how to fix it.
    pub(crate) help: Option<String>,
    /// Longer findings, already laid out, that are printed before the message.
    pub(crate) findings: Option<String>,
}

impl Failure {
    /// Creates a failure without advice.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, findings: None }
    }

    /// Adds advice on how to fix it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds advice on how to fix it, if there is any.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Adds findings that are printed before the message.
    pub(crate) fn findings(mut self, findings: impl Into<String>) -> Self {
        self.findings = Some(findings.into());
        self
    }
}

impl From<longshore_ports::Error> for Failure {
    fn from(error: longshore_ports::Error) -> Self {
        let exit =
            if error.cause == longshore_ports::ErrorCause::Denied { Exit::Denied } else { Exit::Error };
        Self::new(exit, error.to_string())
    }
}
