//! Why a command could not do what it was asked: what, where, and how to mend it.
//!
//! Every command ends in an [`Exit`] or in a [`Failure`]; [`Output`](crate::output::Output) prints it as one `error:`
//! line with a `help:` line behind it.

use crate::exit::Exit;

/// What went wrong, ready to be printed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The number that scripts see.
    pub(crate) exit: Exit,
    /// What went wrong and where: a lower-case fragment.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) help: Option<String>,
    /// Longer findings, already laid out, that stand before the message.
    pub(crate) findings: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, findings: None }
    }

    /// How to mend it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// How to mend it, if that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// What stands before the message.
    pub(crate) fn findings(mut self, findings: impl Into<String>) -> Self {
        self.findings = Some(findings.into());
        self
    }
}

impl From<longshore_ports::Error> for Failure {
    fn from(error: longshore_ports::Error) -> Self {
        let exit = if error.cause == longshore_ports::Cause::Denied { Exit::Denied } else { Exit::Error };
        Self::new(exit, error.to_string())
    }
}
