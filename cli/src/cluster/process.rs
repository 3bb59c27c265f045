//! The concurrent tasks of a process, until a signal ends them in order.
//!
//! Tasks belong to stages. At the end the first stage is stopped and awaited, then the next: tasks that accept work end
//! before those that process it. A second signal, or the deadline, ends everything at once. Nothing is lost by that, because
//! other processes take over the work.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Elapsed;
use crate::signals::Signals;

/// Tasks that are stopped together.
struct ShutdownStage {
    stop: CancellationToken,
    tasks: JoinSet<Result<&'static str, Failure>>,
}

/// The tasks of a process, in stages.
pub(super) struct ProcessTasks {
    stages: Vec<ShutdownStage>,
    /// Cancelled as soon as the process begins to end, so that readiness fails before anything stops.
    ending: CancellationToken,
}

impl ProcessTasks {
    /// Creates a process without tasks.
    pub(super) const fn new(ending: CancellationToken) -> Self {
        Self { stages: Vec::new(), ending }
    }

    /// Adds a stage, which is stopped after those before it. Returns its stop token.
    pub(super) fn stage(&mut self) -> CancellationToken {
        let stop = CancellationToken::new();
        self.stages.push(ShutdownStage { stop: stop.clone(), tasks: JoinSet::new() });
        stop
    }

    /// Starts a task in the last stage. It must run until the stage's stop token is cancelled.
    pub(super) fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start_check(name, async {
            task.await;
            Ok(())
        });
    }

    /// Starts a task whose failure ends the process.
    pub(super) fn start_check(
        &mut self,
        name: &'static str,
        check: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        if self.stages.is_empty() {
            self.stage();
        }
        if let Some(stage) = self.stages.last_mut() {
            stage.tasks.spawn(async move { check.await.map(|()| name) });
        }
    }

    /// Runs until a signal, then ends the stages in order within `limit`, and then awaits `closing`. A second signal ends
    /// the process at once.
    pub(super) async fn run(
        mut self,
        mut signals: Signals,
        limit: Duration,
        closing: impl Future<Output = ()>,
    ) -> Result<Exit, Failure> {
        let broken = tokio::select! {
            biased;
            request = signals.next() => {
                info!(?request, "ending in order");
                None
            }
            failure = self.broken() => Some(failure),
        };
        self.ending.cancel();
        let in_order = async {
            if timeout(limit, self.end()).await.is_err() {
                warn!("not ended within {}; unfinished work is left to other processes", Elapsed(limit));
            }
            closing.await;
        };
        let mut in_order = pin!(in_order);
        tokio::select! {
            biased;
            () = &mut in_order => {}
            _ = signals.next() => {
                warn!("second signal: ending at once");
                return Ok(Exit::Interrupted);
            }
        }
        broken.map_or(Ok(Exit::Success), Err)
    }

    /// Returns when a task has ended that was not stopped. Safe to cancel.
    async fn broken(&mut self) -> Failure {
        let stages = self.stages.iter_mut().filter(|stage| !stage.tasks.is_empty());
        let ends: Vec<_> = stages.map(|stage| stage.tasks.join_next().boxed()).collect();
        if ends.is_empty() {
            return Failure::new(Exit::Error, "the process has no tasks");
        }
        let (ended, ..) = select_all(ends).await;
        let message = match ended {
            Some(Ok(Ok(name))) => format!("{name} has ended"),
            Some(Ok(Err(failure))) => return failure,
            Some(Err(error)) => bug(&error),
            None => "all tasks have ended".to_owned(),
        };
        Failure::new(Exit::Error, message)
    }

    async fn end(&mut self) {
        for stage in &mut self.stages {
            stage.stop.cancel();
            while let Some(ended) = stage.tasks.join_next().await {
                if let Err(error) = ended {
                    warn!("{}", bug(&error));
                }
            }
        }
    }
}

fn bug(panic: &JoinError) -> String {
    format!("a task stopped because of a bug in longshore: {panic}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn stages_end_in_order() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut process = ProcessTasks::new(CancellationToken::new());
        for name in ["requests", "leadership", "updates"] {
            let (stop, order) = (process.stage(), Arc::clone(&order));
            process.start(name, async move {
                stop.cancelled().await;
                order.lock().expect("no panic").push(name);
            });
        }
        process.end().await;
        assert_eq!(*order.lock().expect("no panic"), ["requests", "leadership", "updates"]);
    }

    #[tokio::test]
    async fn task_that_ends_unexpectedly_ends_the_process() {
        let mut process = ProcessTasks::new(CancellationToken::new());
        let stop = process.stage();
        process.start("leadership", async move { stop.cancelled().await });
        process.start("requests", async {});
        let signals = Signals::listen().expect("signals");
        let failure = process.run(signals, Duration::from_secs(5), async {}).await.expect_err("it broke");
        assert_eq!(failure.message, "requests has ended");
    }
}
