//! Shows a run of a data directory while another process executes it, by reading its log.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_proto::{RunId, RunView};
use longshore_scheduler::PartitionReader;
use tokio::time::{Instant, sleep_until};

use super::super::result;
use super::super::runs::{DirectoryRuns, find_local_run};
use super::stopped;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::live::LiveView;
use crate::output::Output;
use crate::signals::Signals;

/// Interval of the check that a process still executes the run.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Shows a run until it has ended. Fails for an interrupted run, which no process executes.
pub(super) async fn to_end(
    local: &DirectoryRuns,
    text: &str,
    data: &Path,
    output: &Output,
) -> Result<Arc<RunView>, Failure> {
    let view = Arc::new(find_local_run(local, text).await?);
    let mut live = LiveView::new(output, false);
    if view.summary.status.is_terminal() {
        live.show(Arc::clone(&view));
        live.finish();
        return Ok(view);
    }
    let run = view.summary.run;
    let mut signals = Signals::listen()?;
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Err(stopped(run)),
        ended = follow(local, run, data, &mut live) => ended,
    };
    live.finish();
    ended
}

async fn follow(
    local: &DirectoryRuns,
    run: RunId,
    data: &Path,
    live: &mut LiveView,
) -> Result<Arc<RunView>, Failure> {
    let mut observed = local.directory().follow(run).await?;
    loop {
        let view = newest(local, &observed, run).await?;
        live.show(Arc::clone(&view));
        if view.summary.status.is_terminal() {
            return Ok(view);
        }
        if !advanced(local, run, &mut observed, live).await? {
            // The run may have ended before its process did, so the log is read once more.
            let observed = local.directory().follow(run).await?;
            let view = newest(local, &observed, run).await?;
            if !view.summary.status.is_terminal() {
                return Err(interrupted(run, data));
            }
            live.show(Arc::clone(&view));
            return Ok(view);
        }
    }
}

/// Waits for further entries of the log of a run and draws frames meanwhile. Returns false if no process executes the run
/// any more; `observed` must not be used then.
async fn advanced(
    local: &DirectoryRuns,
    run: RunId,
    observed: &mut PartitionReader,
    live: &mut LiveView,
) -> Result<bool, Failure> {
    let mut advance = pin!(observed.advance());
    while local.directory().is_executed(run)? {
        tokio::select! {
            done = &mut advance => {
                let unreadable =
                    |error| Failure::new(Exit::Error, format!("the run {run} cannot be followed: {error}"));
                return done.map(|()| true).map_err(unreadable);
            }
            () = draw_until(Instant::now() + CHECK_INTERVAL, live) => {}
        }
    }
    Ok(false)
}

/// Draws frames until a moment.
async fn draw_until(moment: Instant, live: &mut LiveView) {
    loop {
        tokio::select! {
            () = sleep_until(moment) => return,
            () = live.frame_due() => live.print_frame(),
        }
    }
}

/// Returns the newest state of a run: that of its log, or that of the stored row once it has ended.
async fn newest(
    local: &DirectoryRuns,
    observed: &PartitionReader,
    run: RunId,
) -> Result<Arc<RunView>, Failure> {
    let view = match observed.view(run) {
        Some(view) => Some(view),
        None => local.stored(run).await?,
    };
    let gone = || Failure::new(Exit::NotFound, format!("the run {run} is no longer stored"));
    view.map(Arc::new).ok_or_else(gone)
}

fn interrupted(run: RunId, data: &Path) -> Failure {
    let message = format!("the run {run} is interrupted: no process executes it");
    Failure::new(Exit::Interrupted, message).help(result::resume_hint(data, None))
}
