//! The tool that a measurement calls.

use std::fmt;

use longshore_proto::{ServerName, ToolName};

/// A tool to call. It gets the argument `text`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BenchTool {
    /// Its server.
    pub server: ServerName,
    /// Its name.
    pub tool: ToolName,
}

impl fmt::Display for BenchTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.tool)
    }
}
