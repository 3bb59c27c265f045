//! Servers that have not answered yet, named on stderr at a terminal.

use std::collections::BTreeSet;

use longshore_proto::ServerName;

use crate::output::{FAINT, Line, Output};

/// Servers that have not answered. When this is dropped, their names are no longer shown.
pub(super) struct WaitingServers<'a> {
    output: &'a Output,
    names: BTreeSet<ServerName>,
}

impl<'a> WaitingServers<'a> {
    /// Waits for these servers, and names them.
    pub(super) fn new(output: &'a Output, names: impl IntoIterator<Item = ServerName>) -> Self {
        let waiting = Self { output, names: names.into_iter().collect() };
        waiting.show_below(Vec::new());
        waiting
    }

    /// Notes that a server has answered.
    pub(super) fn answered(&mut self, name: &ServerName) {
        self.names.remove(name);
    }

    /// The first of the servers by name.
    pub(super) fn first(&self) -> Option<&ServerName> {
        self.names.first()
    }

    /// Shows nothing any more.
    pub(super) fn hide(&self) {
        if self.output.is_live {
            self.output.draw(&[]);
        }
    }

    /// Shows lines and below them the names of the servers, at a terminal. Of many lines the last ones are shown.
    pub(super) fn show_below(&self, mut lines: Vec<Line>) {
        if !self.output.is_live {
            return;
        }
        let (size, ellipsis) = (self.output.size(), self.output.symbols.ellipsis());
        if !self.names.is_empty() {
            let names: Vec<&str> = self.names.iter().map(ServerName::as_str).collect();
            lines.push(Line::of(FAINT, &format!("waiting for {}", names.join(", "))));
        }
        // The last row is for the cursor.
        let surplus = lines.len().saturating_sub(size.rows.saturating_sub(1));
        lines.drain(..surplus);
        let lines: Vec<Line> = lines.into_iter().map(|line| line.cut(size.columns, ellipsis)).collect();
        self.output.draw(&lines);
    }
}

impl Drop for WaitingServers<'_> {
    fn drop(&mut self) {
        self.hide();
    }
}
