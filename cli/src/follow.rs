//! Follows runs of this process until they have ended, or until a signal or a failure stops the process.
//!
//! Five events can come next: a run changed, a call made progress, a signal arrived, a frame is due, a part of the process
//! failed. The command decides what the ends of the runs mean.

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use longshore_ports::JobQueue;
use longshore_proto::{Attempt, CallUpdate, JobId, RunId, RunView, StepStatus, StepView};
use tokio::sync::broadcast;

use crate::embedded::{DRAIN, LocalProcess, RunWatch};
use crate::failure::Failure;
use crate::live::LiveView;
use crate::output::{Elapsed, Output};
use crate::signals::{Signals, StopRequest};

/// Meaning of the first Ctrl-C. A second one always stops at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnInterrupt {
    /// The runs are cancelled, and followed until they end.
    Cancel,
    /// The process drains, and another one can resume the runs.
    Drain,
}

/// Result of following runs.
#[derive(Debug)]
pub(crate) enum FollowOutcome {
    /// Every run has ended, in this order.
    Ended(Vec<Arc<RunView>>),
    /// A signal stopped the process before all runs had ended; they can be resumed.
    Stopped,
}

/// Reason why following ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StopReason {
    /// Every run has ended.
    RunsEnded,
    /// A signal asked the process to drain.
    Drain,
    /// A signal asked the process to stop at once.
    StopAtOnce,
}

/// Follows runs until they end and shows them. If a signal or a failed part ends this early, the work is stopped. The caller
/// ends the rest of the process, after it has printed the results.
pub(crate) async fn follow(
    process: &mut LocalProcess,
    signals: &mut Signals,
    output: &Output,
    live: LiveView,
    runs: Vec<(RunId, RunWatch)>,
    on_interrupt: OnInterrupt,
) -> Result<FollowOutcome, Failure> {
    let mut following = FollowedRuns::new(live, runs, process);
    let reason = following.watch(process, signals, output, on_interrupt).await;
    if !matches!(reason, Ok(StopReason::RunsEnded)) {
        following.is_stopping = true;
        following.show_until(stop_work(process, signals, output, &reason)).await;
    }
    // Calls under way may have ended meanwhile, even if the process did not wait for them.
    let mut ended = following.finish();
    for view in ended.iter_mut().flatten() {
        process.fill_outputs(Arc::make_mut(view)).await;
    }
    reason.map(|_| ended.map_or(FollowOutcome::Stopped, FollowOutcome::Ended))
}

/// Stops the work: drains, or stops at once if a signal asked or asks for that.
async fn stop_work(
    process: &mut LocalProcess,
    signals: &mut Signals,
    output: &Output,
    reason: &Result<StopReason, Failure>,
) {
    if matches!(reason, Ok(StopReason::Drain)) {
        let limit = Elapsed(DRAIN);
        output.message(&format!("stopping: calls under way get {limit} to end; Ctrl-C stops at once"));
    }
    let cut_short = async {
        if !matches!(reason, Ok(StopReason::StopAtOnce)) {
            signals.next().await;
        }
    };
    process.stop(cut_short).await;
}

/// Next view of a run, with the watch to wait for another one.
type NextRunView = BoxFuture<'static, (RunWatch, Arc<RunView>)>;

/// Runs that are followed.
struct FollowedRuns {
    live: LiveView,
    open: BTreeSet<RunId>,
    changes: FuturesUnordered<NextRunView>,
    updates: broadcast::Receiver<CallUpdate>,
    jobs: Arc<dyn JobQueue>,
    /// True once no worker begins another call.
    is_stopping: bool,
    ended: Vec<Arc<RunView>>,
}

impl FollowedRuns {
    fn new(live: LiveView, runs: Vec<(RunId, RunWatch)>, process: &LocalProcess) -> Self {
        let open = runs.iter().map(|(run, _)| *run).collect();
        let changes = runs.into_iter().map(|(_, watch)| next_view(watch).boxed()).collect();
        let (updates, jobs) = (process.call_updates(), process.jobs());
        Self { live, open, changes, updates, jobs, is_stopping: false, ended: Vec::new() }
    }

    /// Shows the runs until all have ended, a signal stops that, or a part fails.
    async fn watch(
        &mut self,
        process: &mut LocalProcess,
        signals: &mut Signals,
        output: &Output,
        on_interrupt: OnInterrupt,
    ) -> Result<StopReason, Failure> {
        let mut is_cancelling = false;
        while !self.open.is_empty() {
            let request = tokio::select! {
                request = signals.next() => request,
                failure = process.broken() => return Err(failure),
                () = self.show_next() => continue,
            };
            match (request, on_interrupt) {
                (StopRequest::Interrupt, _) if is_cancelling => return Ok(StopReason::StopAtOnce),
                (StopRequest::Interrupt, OnInterrupt::Cancel) => {
                    output.message("cancelling the run; Ctrl-C again stops at once");
                    is_cancelling = true;
                    self.cancel(process).await?;
                }
                (StopRequest::Interrupt, OnInterrupt::Drain) | (StopRequest::Drain, _) => {
                    return Ok(StopReason::Drain);
                }
            }
        }
        Ok(StopReason::RunsEnded)
    }

    /// Shows one change of a run or a call, or draws one frame. Safe to cancel.
    async fn show_next(&mut self) {
        tokio::select! {
            Some((watch, view)) = self.changes.next() => self.show_view(watch, view),
            // Updates that were missed are out of date.
            Ok(update) = self.updates.recv() => self.live.show_activity(update),
            () = self.live.frame_due() => {
                // A slow process may have changes that are not shown yet, such as the end of a step whose line is due.
                for _ in 0..self.open.len() {
                    let Some(Some((watch, view))) = self.changes.next().now_or_never() else { break };
                    self.show_view(watch, view);
                }
                self.live.print_frame();
            }
        }
    }

    fn show_view(&mut self, watch: RunWatch, view: Arc<RunView>) {
        let shown = if self.is_stopping { with_queued(&view, &*self.jobs) } else { Arc::clone(&view) };
        self.live.show(shown);
        if view.summary.status.is_terminal() {
            self.open.remove(&view.summary.run);
            self.ended.push(view);
        } else {
            self.changes.push(next_view(watch).boxed());
        }
    }

    /// Shows changes until `done` completes.
    async fn show_until(&mut self, done: impl Future<Output = ()>) {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                () = &mut done => return,
                () = self.show_next() => {}
            }
        }
    }

    async fn cancel(&self, process: &LocalProcess) -> Result<(), Failure> {
        for run in &self.open {
            process.cancel(*run, "interrupted at the terminal").await?;
        }
        Ok(())
    }

    /// Shows the last changes. Returns the runs if all of them have ended.
    fn finish(mut self) -> Option<Vec<Arc<RunView>>> {
        while let Some(Some((watch, view))) = self.changes.next().now_or_never() {
            self.show_view(watch, view);
        }
        if self.is_stopping {
            self.live.update(|view| with_queued(view, &*self.jobs));
        }
        self.live.finish();
        self.open.is_empty().then_some(self.ended)
    }
}

/// Returns the next view of a run, with the watch to wait for another one. Safe to cancel.
async fn next_view(mut watch: RunWatch) -> (RunWatch, Arc<RunView>) {
    // The sender is dropped only if the driver has ended, which `LocalProcess::broken` reports.
    while watch.changed().await.is_ok() {
        let view = watch.borrow_and_update().clone();
        if let Some(view) = view {
            return (watch, view);
        }
    }
    pending().await
}

/// Returns a view in which calls that no worker has begun are `queued`: their jobs are in the queue, and no worker has taken
/// them.
fn with_queued(view: &Arc<RunView>, jobs: &dyn JobQueue) -> Arc<RunView> {
    let run = view.summary.run;
    let mut view = RunView::clone(view);
    for step in view.steps.iter_mut().filter(|step| step.status == StepStatus::Running) {
        step.queued = is_queued(run, step, jobs);
    }
    Arc::new(view)
}

fn is_queued(run: RunId, step: &StepView, jobs: &dyn JobQueue) -> bool {
    let Some(Ok(server)) = step.does.split_once('/').map(|(server, _)| server.parse()) else { return false };
    let last = step.attempts.last().map(|attempt| attempt.number);
    // A job that was lost is sent again under its own number.
    let numbers = last.into_iter().chain([last.map_or(Attempt::FIRST, Attempt::next)]);
    let mut ids = numbers.map(|attempt| JobId { run, step: step.path.clone(), attempt });
    // The queue of this process is in memory, so its answer is available at once.
    ids.any(|id| matches!(jobs.waiting(&server, &id).now_or_never(), Some(Ok(Some(_)))))
}
