//! Stays with runs until they have ended, or until somebody asks this process to stop.
//!
//! Five things can happen next: a run has changed, a call got further, a signal came, a frame is due, a part broke. The
//! command decides what the ends of the runs mean.

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use longshore_embedded::RunWatch;
use longshore_ports::JobQueue;
use longshore_proto::{Attempt, CallUpdate, JobId, RunId, RunView, StepStatus, StepView};
use tokio::sync::broadcast;

use crate::embedded::{DRAIN, Process};
use crate::failure::Failure;
use crate::live::Live;
use crate::output::{Elapsed, Output};
use crate::signals::{Asked, Signals};

/// What the first Ctrl-C means; a second one always stops at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnInterrupt {
    /// The runs are cancelled, and followed to their end.
    Cancel,
    /// The process stops in good order, and the runs wait for another one.
    Drain,
}

/// How following came to an end.
#[derive(Debug)]
pub(crate) enum Followed {
    /// Every run has ended, in this order.
    Ended(Vec<Arc<RunView>>),
    /// Somebody asked for an end before that; what has not ended can be resumed.
    Stopped,
}

/// Why nobody looks any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Enough {
    /// Every run has ended.
    Ended,
    /// An end in good order was asked for.
    Drain,
    /// An end at once was asked for.
    CutOff,
}

/// Follows runs to their end and shows them. If somebody asks to stop, or a part breaks, the work is stopped; what
/// is left of the process is for the caller to end, once it has printed what there is.
pub(crate) async fn follow(
    process: &mut Process,
    signals: &mut Signals,
    output: &Output,
    live: Live,
    runs: Vec<(RunId, RunWatch)>,
    on_interrupt: OnInterrupt,
) -> Result<Followed, Failure> {
    let mut following = Following::new(live, runs, process);
    let enough = following.watch(process, signals, output, on_interrupt).await;
    if !matches!(enough, Ok(Enough::Ended)) {
        following.is_stopping = true;
        following.look_on_until(stopped(process, signals, output, &enough)).await;
    }
    // What was under way may have come to its end meanwhile, even if that was not waited for.
    let ended = following.finish();
    enough.map(|_| ended.map_or(Followed::Stopped, Followed::Ended))
}

/// Stops the work: in good order, or at once if that was asked for or is asked for now.
async fn stopped(
    process: &mut Process,
    signals: &mut Signals,
    output: &Output,
    enough: &Result<Enough, Failure>,
) {
    if matches!(enough, Ok(Enough::Drain)) {
        let limit = Elapsed(DRAIN);
        output.message(&format!("stopping: calls under way get {limit} to end; Ctrl-C stops at once"));
    }
    let hurry = async {
        if !matches!(enough, Ok(Enough::CutOff)) {
            signals.next().await;
        }
    };
    process.stop(hurry).await;
}

/// A run's next view, and the means to wait for another one.
type NextView = BoxFuture<'static, (RunWatch, Arc<RunView>)>;

/// Runs, and how far they have come.
struct Following {
    live: Live,
    open: BTreeSet<RunId>,
    changes: FuturesUnordered<NextView>,
    updates: broadcast::Receiver<CallUpdate>,
    jobs: Arc<dyn JobQueue>,
    /// True once no worker begins a call any more.
    is_stopping: bool,
    ended: Vec<Arc<RunView>>,
}

impl Following {
    fn new(live: Live, runs: Vec<(RunId, RunWatch)>, process: &Process) -> Self {
        let open = runs.iter().map(|(run, _)| *run).collect();
        let changes = runs.into_iter().map(|(_, watch)| next_view(watch).boxed()).collect();
        let (updates, jobs) = (process.call_updates(), process.jobs());
        Self { live, open, changes, updates, jobs, is_stopping: false, ended: Vec::new() }
    }

    /// Until all have ended, or somebody asks to stop, or a part breaks.
    async fn watch(
        &mut self,
        process: &mut Process,
        signals: &mut Signals,
        output: &Output,
        on_interrupt: OnInterrupt,
    ) -> Result<Enough, Failure> {
        let mut cancelled = false;
        while !self.open.is_empty() {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                failure = process.broken() => return Err(failure),
                () = self.step() => continue,
            };
            match (asked, on_interrupt) {
                (Asked::Interrupt, _) if cancelled => return Ok(Enough::CutOff),
                (Asked::Interrupt, OnInterrupt::Cancel) => {
                    output.message("cancelling the run; Ctrl-C again stops at once");
                    cancelled = true;
                    self.cancel(process).await?;
                }
                (Asked::Interrupt, OnInterrupt::Drain) | (Asked::Drain, _) => return Ok(Enough::Drain),
            }
        }
        Ok(Enough::Ended)
    }

    /// One change of a run or a call, or one frame. Safe to cancel.
    async fn step(&mut self) {
        tokio::select! {
            Some((watch, view)) = self.changes.next() => self.take(watch, view),
            // Updates that were missed are out of date.
            Ok(update) = self.updates.recv() => self.live.note(update),
            () = self.live.frame() => {}
        }
    }

    fn take(&mut self, watch: RunWatch, view: Arc<RunView>) {
        let shown = if self.is_stopping { with_queued(&view, &*self.jobs) } else { Arc::clone(&view) };
        self.live.show(shown);
        if view.summary.status.is_terminal() {
            self.open.remove(&view.summary.run);
            self.ended.push(view);
        } else {
            self.changes.push(next_view(watch).boxed());
        }
    }

    /// Shows what still happens until something else is done.
    async fn look_on_until(&mut self, done: impl Future<Output = ()>) {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                () = &mut done => return,
                () = self.step() => {}
            }
        }
    }

    async fn cancel(&self, process: &Process) -> Result<(), Failure> {
        for run in &self.open {
            process.cancel(*run, "interrupted at the terminal").await?;
        }
        Ok(())
    }

    /// Shows the last of it. What comes back are the runs, if all of them have ended.
    fn finish(mut self) -> Option<Vec<Arc<RunView>>> {
        while let Some(Some((watch, view))) = self.changes.next().now_or_never() {
            self.take(watch, view);
        }
        if self.is_stopping {
            self.live.update(|view| with_queued(view, &*self.jobs));
        }
        self.live.finish();
        self.open.is_empty().then_some(self.ended)
    }
}

/// The next view of a run, and the means to wait for another one. Safe to cancel.
async fn next_view(mut watch: RunWatch) -> (RunWatch, Arc<RunView>) {
    // Nobody shows the run any more only if the driver has ended, and that is noticed elsewhere.
    while watch.changed().await.is_ok() {
        let view = watch.borrow_and_update().clone();
        if let Some(view) = view {
            return (watch, view);
        }
    }
    pending().await
}

/// A view in which calls that no worker has begun are `queued`: their jobs are in the queue, and no worker had them.
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
    // The queue of this process is in memory, so its answer is there at once.
    ids.any(|id| matches!(jobs.waiting(&server, &id).now_or_never(), Some(Ok(Some(_)))))
}
