//! Availability of a server, for its metric and the log: whether connects succeed, and whether calls are answered.
//!
//! A server that crashes or hangs on every call accepts each new connection, so connects alone do not show it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::ServerName;
use metrics::gauge;
use tracing::{info, warn};

use super::classify::McpFailure;

/// Number of calls in a row without an answer from which on the server counts as down. One job that crashes a server is called up
/// to three times, and other calls are answered in between.
const DOWN_FROM: u32 = 3;

/// The availability of one server.
#[derive(Debug)]
pub(super) struct ServerHealth {
    server: ServerName,
    state: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    is_connected: bool,
    /// Calls since the last answer that ended without one.
    unanswered: u32,
}

impl HealthState {
    const fn is_up(&self) -> bool {
        self.is_connected && self.unanswered < DOWN_FROM
    }
}

impl ServerHealth {
    pub(super) fn new(server: ServerName) -> Self {
        Self { server, state: Mutex::default() }
    }

    /// Returns the name of the server.
    pub(super) const fn server(&self) -> &ServerName {
        &self.server
    }

    /// Records the end of an attempt to connect.
    pub(super) fn record_connect(&self, is_connected: bool) {
        let mut state = self.state();
        state.is_connected = is_connected;
        self.export(&state);
    }

    /// Records the end of a call that was sent. Only a connection that ended and a deadline are calls without an answer.
    pub(super) fn record_call<T>(&self, result: &Result<T, McpFailure>) {
        let cause = match result {
            Err(McpFailure::Closed(_)) => "its process or connection ended",
            Err(McpFailure::Deadline(..)) => "it gave no answer in time",
            // The call was not processed, or was given up by this side.
            Err(
                McpFailure::NotStarted(_)
                | McpFailure::NotReached(_)
                | McpFailure::ConnectDeadline(..)
                | McpFailure::NotListed(_)
                | McpFailure::NotWritten(_)
                | McpFailure::NotRead(_)
                | McpFailure::SessionLost(_)
                | McpFailure::StateLost(_)
                | McpFailure::Cancelled
                | McpFailure::ShuttingDown,
            ) => return,
            Ok(_) | Err(_) => return self.record_answer(),
        };
        let mut state = self.state();
        state.unanswered = state.unanswered.saturating_add(1);
        match state.unanswered {
            1 => {
                warn!(server = %self.server, cause, "a call of the server had no answer; the fault of the call says more")
            }
            DOWN_FROM => {
                warn!(
                    server = %self.server, cause, calls = DOWN_FROM,
                    "calls of the server have no answer; it counts as down until a call is answered"
                );
            }
            _ => {}
        }
        self.export(&state);
    }

    fn record_answer(&self) {
        let mut state = self.state();
        if state.unanswered >= DOWN_FROM {
            info!(server = %self.server, calls = state.unanswered, "the server answers again, after calls without an answer");
        }
        state.unanswered = 0;
        state.is_connected = true;
        self.export(&state);
    }

    fn export(&self, state: &HealthState) {
        let up = if state.is_up() { 1 } else { 0 };
        gauge!("longshore_mcp_server_up", "server" => self.server.to_string()).set(up);
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_without_answers_is_down_although_it_accepts_connections() {
        let health = ServerHealth::new("files".parse().expect("a name"));
        let is_up = || health.state().is_up();
        health.record_connect(true);
        let lost = || health.record_call::<()>(&Err(McpFailure::Closed("it ended".to_owned())));
        let late = || health.record_call::<()>(&Err(McpFailure::Deadline("5s".to_owned(), String::new())));
        lost();
        late();
        health.record_call::<()>(&Err(McpFailure::Cancelled));
        health.record_connect(true);
        assert!(is_up());
        lost();
        health.record_connect(true);
        assert!(!is_up(), "a new connection is no answer");
        health.record_call::<()>(&Err(McpFailure::BadAnswer("no JSON".to_owned())));
        assert!(is_up(), "it has answered");
        health.record_connect(false);
        assert!(!is_up());
    }
}
