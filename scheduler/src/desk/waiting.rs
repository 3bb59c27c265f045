//! Why a run waits, as far as the run itself cannot know: nobody serves what its steps call, or all who do are busy.

use std::collections::BTreeSet;

use longshore_machine::Run;
use longshore_ports::{Catalog, JobQueue};
use longshore_proto::{JobId, RunView, ServerName, StepStatus, StepView};
use tracing::debug;

/// How many steps the queue is asked about. Those behind them wait for the same.
const ASKED: usize = 16;

/// Says of every call that is out what it waits for: a worker that serves it, or one that is free.
pub(super) async fn explain(view: &mut RunView, run: &Run, catalog: &dyn Catalog, queue: &dyn JobQueue) {
    if !view.steps.iter().any(is_out) {
        return;
    }
    let workers = match catalog.workers().await {
        Ok(workers) => workers,
        Err(error) => return debug!(%error, "why a run waits is not known"),
    };
    let served: BTreeSet<&ServerName> = workers.iter().flat_map(|worker| &worker.servers).collect();
    let mut asked = 0;
    for (step, job) in view.steps.iter_mut().zip(run.jobs()) {
        let (Some(server), Some(job)) = (server(step), job) else { continue };
        if !served.contains(&server) {
            step.waiting_for = Some(format!("a worker that serves `{server}`: none does"));
            step.queued = true;
        } else if asked < ASKED {
            asked += 1;
            step.waiting_for = behind(queue, &server, &job).await;
            step.queued = step.waiting_for.is_some();
        }
    }
}

/// How many jobs wait with this one, if it does.
async fn behind(queue: &dyn JobQueue, server: &ServerName, job: &JobId) -> Option<String> {
    let waiting = queue.waiting(server, job).await;
    let waiting = waiting.inspect_err(|error| debug!(%error, "whether a job waits is not known")).ok()??;
    let jobs = if waiting == 1 { "one job is".to_owned() } else { format!("{waiting} jobs are") };
    Some(format!("a free worker that serves `{server}`: {jobs} queued"))
}

/// The server that a step waits for, if nothing else is known to keep it.
fn server(step: &StepView) -> Option<ServerName> {
    // Only a call does something with a slash in its name: `server/tool`.
    step.does.split_once('/').filter(|_| is_out(step)).and_then(|(server, _)| server.parse().ok())
}

fn is_out(step: &StepView) -> bool {
    step.status == StepStatus::Running && step.waiting_for.is_none()
}
