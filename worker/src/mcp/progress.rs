//! The progress of a call, which moves the deadline of the call.
//!
//! A call is one request or several: a task is asked for its status again and again. A server reports progress under the token
//! of the first of these requests.

use longshore_proto::{CallActivity, Progress};
use rmcp::model::ProgressToken;
use tokio::sync::broadcast;
use tokio::time::sleep_until;

use super::connection::Report;
use super::deadline::Deadline;

/// The progress and the deadline of one call.
#[derive(Debug)]
pub(super) struct CallProgress {
    notices: broadcast::Receiver<(ProgressToken, Progress)>,
    /// The token of the first request of the call. `None` until that request is handed over.
    token: Option<ProgressToken>,
    furthest: f64,
    deadline: Deadline,
}

impl CallProgress {
    /// A call without a request. `notices` must be subscribed to before the first request is sent.
    pub(super) const fn new(
        notices: broadcast::Receiver<(ProgressToken, Progress)>,
        deadline: Deadline,
    ) -> Self {
        Self { notices, token: None, furthest: f64::NEG_INFINITY, deadline }
    }

    /// The deadline as it is now.
    pub(super) const fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Takes note of a request of the call.
    pub(super) fn note_request(&mut self, token: &ProgressToken) {
        self.token.get_or_insert_with(|| token.clone());
    }

    /// Waits for the deadline. Progress moves it, and is reported. Nothing is lost when the wait is dropped.
    pub(super) async fn deadline_reached(&mut self, report: Report<'_>) {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.deadline.moment()) => return,
                notice = self.notices.recv() => {
                    // Notices may be lost in a crowd, and may overtake each other; only what grows is progress.
                    if let Ok((of, progress)) = notice && self.token == Some(of) && progress.done > self.furthest {
                        self.furthest = progress.done;
                        self.deadline.progress();
                        report(CallActivity::Progress(progress));
                    }
                }
            }
        }
    }
}
