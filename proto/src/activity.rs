//! The activity of a running call, for display only: no log holds it, and no decision depends on it.

use serde::{Deserialize, Serialize};

use crate::{Attempt, RunId, ServerName, StepPath};

/// Number of characters of a server's progress message that are kept: a line of a wide terminal.
pub const PROGRESS_MESSAGE_CHARS: usize = 200;

/// A message of a worker about a running call.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CallUpdate {
    /// Run that the call belongs to.
    pub run: RunId,
    /// Step that makes the call.
    pub step: StepPath,
    /// Number of the attempt.
    pub attempt: Attempt,
    /// Present activity of the attempt.
    #[serde(flatten)]
    pub activity: CallActivity,
}

/// The present activity of an attempt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "activity", rename_all = "snake_case")]
pub enum CallActivity {
    /// The call waits while the worker starts a process of the server.
    Starting {
        /// The server.
        server: ServerName,
    },
    /// The call waits while the worker connects to the server.
    Connecting {
        /// The server.
        server: ServerName,
    },
    /// The call was sent, and the server has not reported progress.
    Sent,
    /// The server reported progress.
    Progress(Progress),
}

/// Progress of a call, as reported by the server (`notifications/progress` of MCP).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// Finished part of the work, in a unit of the server's choice. It only grows during an attempt.
    pub done: f64,
    /// Total work, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// Message of the server: one line without control characters and secrets, of at most [`PROGRESS_MESSAGE_CHARS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn call_update_is_one_flat_json_object() {
        let run = "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w";
        let progress = json!({
            "run": run, "step": "a", "attempt": 2, "activity": "progress", "done": 12.0, "total": 32.0, "message": "page 12",
        });
        let sent = json!({ "run": run, "step": "a", "attempt": 1, "activity": "sent" });
        let starting =
            json!({ "run": run, "step": "a", "attempt": 1, "activity": "starting", "server": "tables" });
        for written in [progress, sent, starting] {
            let update: CallUpdate = from_value(written.clone()).expect("an update");
            assert_eq!(to_value(update).expect("JSON"), written);
        }
    }
}
