//! The names of servers that have not answered yet, shown on stderr at a terminal.

use std::collections::BTreeSet;

use longshore_proto::ServerName;

use crate::output::{FAINT, Output, StyledLine};

/// Servers that have not answered. Dropping this removes their names from the screen.
pub(super) struct WaitingServers<'a> {
    output: &'a Output,
    names: BTreeSet<ServerName>,
}

impl<'a> WaitingServers<'a> {
    /// Shows the names of these servers.
    pub(super) fn new(output: &'a Output, names: impl IntoIterator<Item = ServerName>) -> Self {
        let waiting = Self { output, names: names.into_iter().collect() };
        waiting.show_below(Vec::new());
        waiting
    }

    /// Removes a server that has answered.
    pub(super) fn answered(&mut self, name: &ServerName) {
        self.names.remove(name);
    }

    /// Returns the first server by name.
    pub(super) fn first(&self) -> Option<&ServerName> {
        self.names.first()
    }

    /// Removes the names from the screen.
    pub(super) fn hide(&self) {
        if self.output.is_live {
            self.output.draw(&[]);
        }
    }

    /// Shows lines and below them the names of the servers, at a terminal. If not all lines fit, the last ones are shown.
    pub(super) fn show_below(&self, mut lines: Vec<StyledLine>) {
        if !self.output.is_live {
            return;
        }
        let (size, ellipsis) = (self.output.size(), self.output.symbols.ellipsis());
        if !self.names.is_empty() {
            let names: Vec<&str> = self.names.iter().map(ServerName::as_str).collect();
            lines.push(StyledLine::of(FAINT, &format!("waiting for {}", names.join(", "))));
        }
        // The last row of the terminal is for the cursor.
        let surplus = lines.len().saturating_sub(size.rows.saturating_sub(1));
        lines.drain(..surplus);
        let lines: Vec<StyledLine> = lines.into_iter().map(|line| line.cut(size.columns, ellipsis)).collect();
        self.output.draw(&lines);
    }
}

impl Drop for WaitingServers<'_> {
    fn drop(&mut self) {
        self.hide();
    }
}
