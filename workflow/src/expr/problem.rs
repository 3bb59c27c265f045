//! Problems of an expression, before they have a position in the file.

use std::ops::Range;

use crate::codes::Code;

/// A problem of an expression. `at` is a byte range of the expression.
#[derive(Clone, Debug)]
pub(crate) struct ExprProblem {
    pub(crate) code: Code,
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl ExprProblem {
    pub(super) fn new(code: Code, at: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, at, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
