//! The progress of a call of `servers call`, on stderr at a terminal.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use longshore_proto::CallActivity;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::args::ToolTarget;
use crate::live::activity_words;
use crate::output::{BUSY, Elapsed, FAINT, Output, PLAIN, StyledLine, Symbols};

/// Time between two frames, as in the view of a run.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// Time after which a call is shown. Most calls end sooner, and a line that appears only for a moment disturbs.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// A call under way. Dropping this removes it from the screen.
pub(super) struct CallProgress<'a> {
    output: &'a Output,
    target: &'a ToolTarget,
    started: Instant,
    activity: Mutex<Option<CallActivity>>,
}

impl<'a> CallProgress<'a> {
    /// Creates the display of a call that starts now.
    pub(super) fn new(output: &'a Output, target: &'a ToolTarget) -> Self {
        Self { output, target, started: Instant::now(), activity: Mutex::new(None) }
    }

    /// Stores the latest activity of the call.
    pub(super) fn store(&self, activity: CallActivity) {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = Some(activity);
    }

    /// Shows the call until this future is dropped. Without a terminal it shows nothing.
    pub(super) async fn show(&self) -> Infallible {
        if !self.output.is_live {
            return pending().await;
        }
        let mut frames = interval(FRAME_INTERVAL);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            frames.tick().await;
            let elapsed = self.started.elapsed();
            if elapsed >= SHOWN_AFTER {
                let (columns, symbols) = (self.output.size().columns, self.output.symbols);
                let line = self.line(elapsed, symbols).cut(columns, symbols.ellipsis());
                self.output.draw(&[line]);
            }
        }
    }

    /// Returns a line such as `▸ tables/read 2.1s 12/32 page 12`.
    fn line(&self, elapsed: Duration, symbols: Symbols) -> StyledLine {
        let activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let words = activity.as_ref().and_then(activity_words).map(|words| format!("  {words}"));
        let (sign, style) = symbols.step(longshore_proto::StepStatus::Running);
        let ToolTarget { server, tool } = self.target;
        StyledLine::of(style, sign)
            .with(PLAIN, &format!(" {server}/{tool}"))
            .with(FAINT, &format!("  {}", Elapsed(elapsed)))
            .with(BUSY, &words.unwrap_or_default())
    }
}

impl Drop for CallProgress<'_> {
    fn drop(&mut self) {
        if self.output.is_live {
            self.output.draw(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::Progress;

    use super::*;

    #[test]
    fn call_is_a_line_with_its_progress() {
        let (output, target) = (Output::new(), "tables/read".parse().expect("a target"));
        let call = CallProgress::new(&output, &target);
        let line = || call.line(Duration::from_millis(2_100), Symbols::Ascii).text();
        assert_eq!(line(), "> tables/read  2.1s");
        let message = Some("page\u{1b}[2J 12".to_owned());
        call.store(CallActivity::Progress(Progress { done: 12.0, total: Some(32.0), message }));
        assert_eq!(line(), r"> tables/read  2.1s  12/32 page\u001b[2J 12");
        call.store(CallActivity::Sent);
        assert_eq!(line(), "> tables/read  2.1s");
    }
}
