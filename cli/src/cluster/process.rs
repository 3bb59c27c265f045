//! The parts of a process at work, until a signal ends them in order.
//!
//! Parts stand in stages. At the end the first stage is told to stop and waited for, then the next: whoever brings
//! work in ends before those who do it. A second signal, or the deadline, ends everything at once; nothing is lost by
//! that, because others take over what was not handed back.

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

/// Parts that stop together.
struct Stage {
    stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

/// The parts of a process.
pub(super) struct Process {
    stages: Vec<Stage>,
    /// Cancelled as soon as the process is to end, before anything stops: readiness follows it.
    ending: CancellationToken,
}

impl Process {
    /// A process of no parts yet.
    pub(super) const fn new(ending: CancellationToken) -> Self {
        Self { stages: Vec::new(), ending }
    }

    /// Begins a stage, which stops after those before it.
    pub(super) fn stage(&mut self) -> CancellationToken {
        let stop = CancellationToken::new();
        self.stages.push(Stage { stop: stop.clone(), tasks: JoinSet::new() });
        stop
    }

    /// Starts a part in the last stage. It ends when the stage's token says so, and not before.
    pub(super) fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        if self.stages.is_empty() {
            self.stage();
        }
        if let Some(stage) = self.stages.last_mut() {
            stage.tasks.spawn(async move {
                part.await;
                name
            });
        }
    }

    /// Works until a signal, then ends in order within `limit`, and closes at last. A second signal cuts both short.
    pub(super) async fn run(
        mut self,
        mut signals: Signals,
        limit: Duration,
        closing: impl Future<Output = ()>,
    ) -> Result<Exit, Failure> {
        let broken = tokio::select! {
            biased;
            asked = signals.next() => {
                info!(?asked, "ending in order");
                None
            }
            failure = self.broken() => Some(failure),
        };
        self.ending.cancel();
        let in_order = async {
            if timeout(limit, self.end()).await.is_err() {
                warn!("not ended within {}; what was under way is left to others", Elapsed(limit));
            }
            closing.await;
        };
        let mut in_order = pin!(in_order);
        tokio::select! {
            biased;
            () = &mut in_order => {}
            _ = signals.next() => {
                warn!("asked again: ending at once");
                return Ok(Exit::Interrupted);
            }
        }
        broken.map_or(Ok(Exit::Success), Err)
    }

    /// Returns when a part has ended that nobody told to. Safe to cancel.
    async fn broken(&mut self) -> Failure {
        let stages = self.stages.iter_mut().filter(|stage| !stage.tasks.is_empty());
        let ends: Vec<_> = stages.map(|stage| stage.tasks.join_next().boxed()).collect();
        if ends.is_empty() {
            return Failure::new(Exit::Error, "there is nothing to do");
        }
        let (ended, ..) = select_all(ends).await;
        let message = match ended {
            Some(Ok(name)) => format!("{name} has ended"),
            Some(Err(error)) => bug(&error),
            None => "everything has ended".to_owned(),
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
    format!("a part stopped because of a bug in longshore: {panic}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn stages_end_one_after_the_other() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut process = Process::new(CancellationToken::new());
        for name in ["door", "core", "news"] {
            let (stop, order) = (process.stage(), Arc::clone(&order));
            process.start(name, async move {
                stop.cancelled().await;
                order.lock().expect("no panic").push(name);
            });
        }
        process.end().await;
        assert_eq!(*order.lock().expect("no panic"), ["door", "core", "news"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_process() {
        let mut process = Process::new(CancellationToken::new());
        let stop = process.stage();
        process.start("core", async move { stop.cancelled().await });
        process.start("door", async {});
        let signals = Signals::listen().expect("signals");
        let failure = process.run(signals, Duration::from_secs(5), async {}).await.expect_err("it broke");
        assert_eq!(failure.message, "door has ended");
    }
}
