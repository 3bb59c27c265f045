//! Why a run waits, as far as the run itself cannot know: nobody serves what its steps call.

use std::collections::BTreeSet;

use longshore_backend::Catalog;
use longshore_proto::{RunView, StepStatus, StepView};
use tracing::debug;

/// Says of every call that is out and that no worker serves, that it waits for one.
pub(super) async fn explain(view: &mut RunView, catalog: &dyn Catalog) {
    if !view.steps.iter().any(|step| server(step).is_some()) {
        return;
    }
    let workers = match catalog.workers().await {
        Ok(workers) => workers,
        Err(error) => return debug!(%error, "why a run waits is not known"),
    };
    let served: BTreeSet<&str> =
        workers.iter().flat_map(|worker| &worker.servers).map(|server| server.as_str()).collect();
    for step in &mut view.steps {
        if let Some(server) = server(step).filter(|server| !served.contains(server)) {
            step.waiting_for = Some(format!("a worker that serves `{server}`: none does"));
        }
    }
}

/// The server that a step waits for, if nothing else is known to keep it.
fn server(step: &StepView) -> Option<&str> {
    let is_out = step.status == StepStatus::Running && step.waiting_for.is_none();
    // Only a call does something with a slash in its name: `server/tool`.
    step.does.split_once('/').map(|(server, _)| server).filter(|_| is_out)
}
