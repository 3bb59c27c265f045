//! Reasons why calls wait that the state of a run does not have: no worker serves the server, or all its workers are busy.

use std::collections::BTreeSet;

use longshore_machine::{Run, Step};
use longshore_ports::{Catalog, JobQueue};
use longshore_proto::{JobId, RunView, ServerName, StepStatus, StepView};
use longshore_workflow::StepIndex;
use tracing::debug;

/// Maximum number of steps for which the queue is asked. Further ones wait for the same reason.
const MOST_QUEUE_REQUESTS: usize = 16;

/// Adds to each outstanding call what it waits for: a worker that serves its server, or a free one.
pub(super) async fn explain(view: &mut RunView, run: &Run, catalog: &dyn Catalog, queue: &dyn JobQueue) {
    if !view.steps.iter().any(is_outstanding) {
        return;
    }
    let workers = match catalog.workers().await {
        Ok(workers) => workers,
        Err(error) => return debug!(%error, "cannot list workers; showing no reason why calls wait"),
    };
    let served: BTreeSet<&ServerName> = workers.iter().flat_map(|worker| &worker.servers).collect();
    let mut requests = 0;
    for (index, (step, job)) in view.steps.iter_mut().zip(run.jobs()).enumerate() {
        let (Some(server), Some(job)) = (outstanding_server(step), job) else { continue };
        if !served.contains(&server) {
            // Workers that cannot write to Redis leave the list, and still pull jobs.
            let reason = if workers.is_empty() { "no worker is listed in Redis" } else { "none does" };
            step.waiting_for = Some(format!("a worker that serves `{server}`: {reason}"));
            step.queued = true;
        } else if requests < MOST_QUEUE_REQUESTS {
            requests += 1;
            step.waiting_for = queue_reason(queue, &server, &job).await;
            step.queued = step.waiting_for.is_some();
            if !step.queued && run.step(StepIndex(index)).is_some_and(Step::is_ungranted) {
                step.waiting_for = Some("the grant of its call, which has not been made".to_owned());
            }
        }
    }
}

/// Returns the reason why a queued job waits, with the number of queued jobs of its server. `None` if the job is not queued.
async fn queue_reason(queue: &dyn JobQueue, server: &ServerName, job: &JobId) -> Option<String> {
    let waiting = queue.waiting(server, job).await;
    let waiting = waiting
        .inspect_err(|error| debug!(%error, "cannot look up a job in the queue; showing no reason to wait"))
        .ok()??;
    let jobs = if waiting == 1 { "one job is".to_owned() } else { format!("{waiting} jobs are") };
    Some(format!("a free worker that serves `{server}`: {jobs} queued"))
}

/// Returns the server of a step whose call is outstanding, unless another reason to wait is known.
fn outstanding_server(step: &StepView) -> Option<ServerName> {
    // Only a call has a slash in its description: `server/tool`.
    step.does.split_once('/').filter(|_| is_outstanding(step)).and_then(|(server, _)| server.parse().ok())
}

fn is_outstanding(step: &StepView) -> bool {
    step.status == StepStatus::Running && step.waiting_for.is_none()
}
