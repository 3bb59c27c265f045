//! The progress of a call, which moves its deadline.
//!
//! A call has one request, or several if it is performed as a task. A server reports progress with the token of the first
//! request.

use longshore_proto::{CallActivity, Progress};
use rmcp::model::ProgressToken;
use tokio::sync::broadcast;
use tokio::time::sleep_until;

use super::deadline::Deadline;

/// Callback that receives the activities of a call under way.
pub(crate) type ReportActivity<'a> = &'a (dyn Fn(CallActivity) + Send + Sync);

/// The progress and the deadline of one call.
#[derive(Debug)]
pub(super) struct CallProgress {
    notices: broadcast::Receiver<(ProgressToken, Progress)>,
    /// Token of the first request of the call. `None` until that request is sent.
    token: Option<ProgressToken>,
    /// Largest progress so far.
    furthest: f64,
    deadline: Deadline,
}

impl CallProgress {
    /// Creates the progress of a call. `notices` must be subscribed to before the first request is sent.
    pub(super) const fn new(
        notices: broadcast::Receiver<(ProgressToken, Progress)>,
        deadline: Deadline,
    ) -> Self {
        Self { notices, token: None, furthest: f64::NEG_INFINITY, deadline }
    }

    /// Returns the current deadline.
    pub(super) const fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Records a request of the call.
    pub(super) fn note_request(&mut self, token: &ProgressToken) {
        self.token.get_or_insert_with(|| token.clone());
    }

    /// Waits for the deadline. Progress moves the deadline and is reported. Safe to cancel.
    pub(super) async fn deadline_reached(&mut self, report: ReportActivity<'_>) {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.deadline.instant()) => return,
                notice = self.notices.recv() => {
                    // Notifications may be dropped, and may arrive in another order; only a larger value is progress.
                    if let Ok((of, progress)) = notice && self.token == Some(of) && progress.done > self.furthest {
                        self.furthest = progress.done;
                        self.deadline.extend();
                        report(CallActivity::Progress(progress));
                    }
                }
            }
        }
    }
}
