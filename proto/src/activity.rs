//! The activity of a call under way. People see it; no log holds it, and no decision depends on it.

use serde::{Deserialize, Serialize};

use crate::{Attempt, RunId, ServerName, StepPath};

/// The most characters of a server's message that are kept with its progress: a line of a wide terminal.
pub const PROGRESS_MESSAGE_CHARS: usize = 200;

/// One message of a worker about a call under way.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CallUpdate {
    /// The run.
    pub run: RunId,
    /// The step that makes the call.
    pub step: StepPath,
    /// The attempt that the call belongs to.
    pub attempt: Attempt,
    /// The activity of the attempt.
    #[serde(flatten)]
    pub activity: CallActivity,
}

/// The activity of an attempt at this moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "activity", rename_all = "snake_case")]
pub enum CallActivity {
    /// The worker starts a process of the server, and the call waits for that.
    Starting {
        /// The server.
        server: ServerName,
    },
    /// The worker connects to the server, and the call waits for that.
    Connecting {
        /// The server.
        server: ServerName,
    },
    /// The call was sent, and the server has reported no progress.
    Sent,
    /// The server has reported progress.
    Progress(Progress),
}

/// Progress of a call, as the server reports it (`notifications/progress` of MCP).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// The part that is done, in the server's own unit. It only grows during an attempt.
    pub done: f64,
    /// The whole, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// The server's message: one line without control characters and secrets, of at most [`PROGRESS_MESSAGE_CHARS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn update_is_one_flat_object() {
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
