//! A run of a data directory as it goes, beside the process that moves it: its log, followed.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_proto::{RunId, RunView};
use longshore_scheduler::PartitionReader;
use tokio::time::{Instant, sleep_until};

use super::super::result;
use super::super::runs::{Look, find};
use super::stopped;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::live::Live;
use crate::output::Output;
use crate::signals::Signals;

/// Interval of the check that a process still executes the run.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Shows a run until it has ended. An interrupted run, which no process moves, is a failure.
pub(super) async fn to_end(
    look: &Look,
    text: &str,
    data: &Path,
    output: &Output,
) -> Result<Arc<RunView>, Failure> {
    let view = Arc::new(find(look, text).await?);
    let mut live = Live::new(output, false);
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
        ended = follow(look, run, data, &mut live) => ended,
    };
    live.finish();
    ended
}

async fn follow(look: &Look, run: RunId, data: &Path, live: &mut Live) -> Result<Arc<RunView>, Failure> {
    let mut observed = look.looked().follow(run).await?;
    loop {
        let view = newest(look, &observed, run).await?;
        live.show(Arc::clone(&view));
        if view.summary.status.is_terminal() {
            return Ok(view);
        }
        if !advanced(look, run, &mut observed, live).await? {
            // The run may have ended before its process did: the log has the last word.
            let observed = look.looked().follow(run).await?;
            let view = newest(look, &observed, run).await?;
            if !view.summary.status.is_terminal() {
                return Err(interrupted(run, data));
            }
            live.show(Arc::clone(&view));
            return Ok(view);
        }
    }
}

/// Waits for further entries of the log of a run and draws meanwhile. Returns false if no process executes the run any more;
/// then the state is of no use.
async fn advanced(
    look: &Look,
    run: RunId,
    observed: &mut PartitionReader,
    live: &mut Live,
) -> Result<bool, Failure> {
    let mut advance = pin!(observed.advance());
    while look.looked().is_moved(run)? {
        tokio::select! {
            done = &mut advance => {
                let unreadable =
                    |error| Failure::new(Exit::Error, format!("the run {run} cannot be followed: {error}"));
                return done.map(|()| true).map_err(unreadable);
            }
            () = until(Instant::now() + CHECK_INTERVAL, live) => {}
        }
    }
    Ok(false)
}

/// Draws until that moment.
async fn until(moment: Instant, live: &mut Live) {
    loop {
        tokio::select! {
            () = sleep_until(moment) => return,
            () = live.frame() => {}
        }
    }
}

/// The newest state of a run: that of its log, or of the stored row once it has ended.
async fn newest(look: &Look, observed: &PartitionReader, run: RunId) -> Result<Arc<RunView>, Failure> {
    let view = match observed.view(run) {
        Some(view) => Some(view),
        None => look.stored(run).await?,
    };
    let gone = || Failure::new(Exit::NotFound, format!("the run {run} is not kept any more"));
    view.map(Arc::new).ok_or_else(gone)
}

fn interrupted(run: RunId, data: &Path) -> Failure {
    let message = format!("the run {run} is interrupted: no process moves it");
    Failure::new(Exit::Interrupted, message).help(result::resume_hint(data, None))
}
