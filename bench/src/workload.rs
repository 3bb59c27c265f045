//! Runs as clients submit them, and the updates that say that they have ended.
//!
//! A run is submitted by a plain publish that JetStream acknowledges, many at a time, or in an atomic batch with others. Its
//! end is seen by the updates that schedulers publish of every run anyway: a subscription costs the cluster one delivery for
//! each run, while a reader of the logs would cost one for every entry, and polling would cost requests. NATS may drop updates when
//! there are very many at once. So when no more updates arrive, the cluster is asked if runs are in progress, and the last update
//! counts as the end.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client as Connection, Subscriber};
use futures::{StreamExt, TryStreamExt, stream};
use longshore_proto::{Digest, RunId, RunStatus, RunSummary, RunView, WorkflowName, subject};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::api::Api;
use crate::error::{BenchError, BenchErrorKind, failed_to};
use crate::figures::Takeover;
use crate::publish::{PublishMode, WINDOW, publish};
use crate::tool::BenchTool;

/// The time without an update after which the cluster is asked for runs in progress, and the number of times in a row that it
/// must have none: a submit may not have been read yet.
const QUIET: Duration = Duration::from_secs(2);
const QUIET_ROUNDS: u32 = 2;

/// The number of times after a scheduler was killed: runs of partitions without a leader are in no list.
const QUIET_ROUNDS_OF_TAKEOVER: u32 = 15;

/// The limit for the first run: its server may have to be started.
const FIRST: Duration = Duration::from_secs(20);

/// The limit for all runs of a measurement: three times what the slowest took, with every message synced.
const LIMIT: Duration = Duration::from_secs(600);

/// The limit for the first answer of a new cluster, and the pause between requests.
const READY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(100));

/// The steps of a workflow, which follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WorkflowKind {
    /// So many steps that may be repeated.
    Repeatable(u32),
    /// One step that may not be repeated, so its call needs a grant.
    Unrepeatable,
}

impl WorkflowKind {
    pub(crate) const fn steps(self) -> u32 {
        match self {
            Self::Repeatable(steps) => steps,
            Self::Unrepeatable => 1,
        }
    }

    fn name(self, tool: &BenchTool) -> String {
        match self {
            Self::Repeatable(steps) => format!("bench-{}-{steps}", tool.server),
            Self::Unrepeatable => format!("bench-{}-once", tool.server),
        }
    }
}

/// A registered workflow, and the updates of its runs.
pub(crate) struct Workload {
    api: Api,
    context: Context,
    workflow: WorkflowName,
    version: Digest,
    updates: Subscriber,
    subject: String,
}

/// The needed fields of the answer to a submit.
#[derive(Deserialize)]
struct Submitted {
    run: RunId,
}

/// The needed fields of the answer to a registration.
#[derive(Deserialize)]
struct WorkflowVersion {
    digest: Digest,
}

/// The needed fields of a list of runs.
#[derive(Deserialize)]
struct RunList {
    runs: Vec<RunSummary>,
}

impl Workload {
    /// Registers a workflow whose steps call `tool`.
    pub(crate) async fn register(
        api: &Api,
        listener: &Connection,
        tool: &BenchTool,
        kind: WorkflowKind,
    ) -> Result<Self, BenchError> {
        let name = kind.name(tool);
        let text = workflow_text(&name, tool, kind);
        let version = registered(api, &text).await?;
        let workflow: WorkflowName = name.parse().map_err(failed_to("name the workflow"))?;
        let namespace = &api.namespace;
        let updates = format!("{}.evt.{namespace}.{workflow}.*.run", subject::ROOT);
        let subscribing = failed_to("subscribe to the updates of runs");
        let updates = listener.subscribe(updates).await.map_err(subscribing)?;
        listener.flush().await.map_err(failed_to("subscribe to the updates of runs"))?;
        let limit = Duration::from_secs(30);
        let context = ContextBuilder::new().timeout(limit).ack_timeout(limit).max_ack_inflight(WINDOW * 2);
        let context = context.build(api.connection.clone());
        let subject = subject::submit(namespace, &workflow);
        Ok(Self { api: api.clone(), context, workflow, version, updates, subject })
    }

    /// Waits for the end of a first run, which shows that a worker serves the tool. Without one a measurement would wait
    /// until its limit.
    pub(crate) async fn first(&mut self) -> Result<(), BenchError> {
        let Submitted { run } = self.api.ask("submit", &self.body()).await?;
        if let Ok(ended) = timeout(FIRST, next_end(&mut self.updates)).await {
            return ended;
        }
        let view: RunView = self.api.ask("get", &json!({ "run": run })).await?;
        if view.summary.status == RunStatus::Succeeded {
            return Ok(()); // its update was lost
        }
        let cancel = json!({ "run": run, "reason": "the measurement was cancelled" });
        let _: Value = self.api.ask("cancel", &cancel).await?;
        let waits = view.steps.into_iter().find_map(|step| step.waiting_for);
        let why = waits.map(|reason| format!(": it waits for {reason}")).unwrap_or_default();
        let message = format!("a first run has not ended within {FIRST:?}{why}");
        Err(BenchError::other(message).help("`longshore doctor` looks for what is missing"))
    }

    fn body(&self) -> Value {
        json!({ "workflow": self.workflow, "version": self.version, "inputs": {} })
    }

    /// Submits many runs, and returns the time from the first submit to the last end.
    pub(crate) async fn many(&mut self, runs: u32, mode: PublishMode) -> Result<Duration, BenchError> {
        let ends = self.ends(runs, mode, QUIET_ROUNDS).await?;
        Ok(ends.last().copied().unwrap_or_default())
    }

    /// Submits runs, and returns when the update of each end came, counted from the first submit.
    async fn ends(
        &mut self,
        runs: u32,
        mode: PublishMode,
        most_quiet_rounds: u32,
    ) -> Result<Vec<Duration>, BenchError> {
        let Self { api, context, updates, subject, .. } = self;
        let started = Instant::now();
        let subjects = vec![subject.clone(); runs as usize];
        let submit = async {
            let (size, at_once) = mode.window();
            let submits = stream::iter(subjects.chunks(size));
            let submits = submits.map(|some| publish(context, some, b"{}", false, mode));
            submits.buffer_unordered(at_once).try_collect::<()>().await.map_err(failed_to("submit runs"))
        };
        let listen = async {
            let (mut ends, mut quiet_rounds) = (Vec::new(), 0);
            while ends.len() < runs as usize && quiet_rounds < most_quiet_rounds {
                match timeout(QUIET, next_end(updates)).await {
                    Ok(ended) => {
                        ended?;
                        ends.push(started.elapsed());
                        quiet_rounds = 0;
                    }
                    Err(_) if is_quiet(api).await? => quiet_rounds += 1,
                    Err(_) if started.elapsed() > LIMIT => return Err(no_update(runs)),
                    Err(_) => quiet_rounds = 0,
                }
            }
            if ends.is_empty() { Err(no_update(runs)) } else { Ok(ends) }
        };
        tokio::try_join!(submit, listen).map(|((), ends)| ends)
    }

    /// Measures one run that is submitted by a publish.
    pub(crate) async fn one_published(&mut self) -> Result<Duration, BenchError> {
        self.many(1, PublishMode::OneByOne).await
    }

    /// Measures one run that is submitted by a request with the version, as `longshore submit` does.
    pub(crate) async fn one_requested(&mut self) -> Result<Duration, BenchError> {
        let body = self.body();
        let started = Instant::now();
        let submit = self.api.ask::<Submitted>("submit", &body);
        tokio::try_join!(submit, next_end(&mut self.updates))?;
        Ok(started.elapsed())
    }

    /// Measures the delay of runs that are submitted just after a scheduler was killed.
    pub(crate) async fn takeover(&mut self, runs: u32) -> Result<Takeover, BenchError> {
        let ends = self.ends(runs, PublishMode::OneByOne, QUIET_ROUNDS_OF_TAKEOVER).await?;
        let at = |end: Option<&Duration>| end.map_or(f64::NAN, Duration::as_secs_f64);
        Ok(Takeover { runs, first_seconds: at(ends.first()), last_seconds: at(ends.last()) })
    }
}

/// Waits until a scheduler answers, and registers a workflow.
async fn registered(api: &Api, text: &str) -> Result<Digest, BenchError> {
    let (limit, pause) = READY;
    let deadline = Instant::now() + limit;
    loop {
        match api.ask::<WorkflowVersion>("push", &json!({ "text": text })).await {
            Err(error) if error.kind == BenchErrorKind::Unreachable && Instant::now() < deadline => {
                sleep(pause).await
            }
            pushed => return pushed.map(|registered| registered.digest),
        }
    }
}

/// Waits for the next run that has ended.
async fn next_end(updates: &mut Subscriber) -> Result<(), BenchError> {
    loop {
        let message = updates.next().await.ok_or_else(|| {
            BenchError::other("the connection to NATS was closed while runs were in progress")
        })?;
        let run: RunSummary =
            serde_json::from_slice(&message.payload).map_err(failed_to("read the update of a run"))?;
        match run.status {
            RunStatus::Succeeded => return Ok(()),
            RunStatus::Running => {}
            status => {
                let why = run.error.map(|fault| fault.message).unwrap_or_default();
                let message = format!("run {} is {}: {why}", run.run, status.as_str());
                return Err(BenchError::other(message).help(
                    "the tool gets the argument `text` alone, and has to answer with an object that holds it",
                ));
            }
        }
    }
}

/// Returns true if no run is in progress.
async fn is_quiet(api: &Api) -> Result<bool, BenchError> {
    let query = json!({ "status": [RunStatus::Running], "limit": 1 });
    Ok(api.ask::<RunList>("list", &query).await?.runs.is_empty())
}

fn no_update(runs: u32) -> BenchError {
    BenchError::other(format!("{runs} runs were submitted, and no update said that they have ended"))
}

/// Returns the text of a workflow of consecutive calls, each with the output of the one before.
fn workflow_text(name: &str, tool: &BenchTool, kind: WorkflowKind) -> String {
    let attempts = match kind {
        WorkflowKind::Repeatable(_) => 3,
        WorkflowKind::Unrepeatable => 1,
    };
    let step = |number: u32| {
        let text = match number {
            0 => "hello".to_owned(),
            _ => format!("${{{{ steps.s{}.output.text }}}}", number - 1),
        };
        json!({
            "id": format!("s{number}"),
            "call": tool.to_string(),
            "with": { "text": text },
            "retry": attempts,
        })
    };
    let steps: Vec<Value> = (0..kind.steps()).map(step).collect();
    json!({ "longshore": "v1", "name": name, "steps": steps }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_compile() {
        let tool = BenchTool {
            server: "noop".parse().expect("a server name"),
            tool: "echo".parse().expect("a tool name"),
        };
        for kind in [WorkflowKind::Repeatable(1), WorkflowKind::Repeatable(10), WorkflowKind::Unrepeatable] {
            let text = workflow_text("bench-noop", &tool, kind);
            let plan = longshore_workflow::compile(&text).expect("compiles");
            assert_eq!(plan.steps.len(), kind.steps() as usize);
        }
    }
}
