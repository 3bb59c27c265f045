//! The progress of a call, which moves its deadline.
//!
//! A call has one request, or several if it is performed as a task. A server reports progress with the token of the first
//! request.

use longshore_proto::{CallActivity, Progress};
use rmcp::model::ProgressToken;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
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
                    if let Ok((of, progress)) = notice {
                        self.note(&of, progress, report);
                    }
                }
            }
        }
    }

    /// Reports the progress that arrived before the answer and was not looked at yet.
    pub(super) fn report_received(&mut self, report: ReportActivity<'_>) {
        loop {
            match self.notices.try_recv() {
                Ok((of, progress)) => self.note(&of, progress, report),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Notifications may be dropped, and may arrive in another order; only a larger value is progress.
    fn note(&mut self, of: &ProgressToken, progress: Progress, report: ReportActivity<'_>) {
        if self.token.as_ref() == Some(of) && progress.done > self.furthest {
            self.furthest = progress.done;
            self.deadline.extend();
            report(CallActivity::Progress(progress));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use rmcp::model::NumberOrString;

    use super::*;

    #[tokio::test]
    async fn progress_that_arrived_just_before_the_answer_is_reported() {
        let (sender, notices) = broadcast::channel(8);
        let token = |number| ProgressToken(NumberOrString::String(Arc::from(number)));
        let mut progress = CallProgress::new(notices, Deadline::after(Duration::from_secs(1)));
        progress.note_request(&token("1"));
        for (of, done) in [("1", 1.0), ("2", 9.0), ("1", 3.0), ("1", 2.0)] {
            let notice = Progress { done, total: None, message: None };
            sender.send((token(of), notice)).expect("the call waits");
        }
        let reported = Mutex::new(Vec::new());
        progress.report_received(&|activity| reported.lock().expect("no panic").push(activity));
        let wanted =
            [1.0, 3.0].map(|done| CallActivity::Progress(Progress { done, total: None, message: None }));
        assert_eq!(reported.into_inner().expect("no panic"), wanted);
    }
}
