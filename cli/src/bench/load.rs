//! Runs as clients submit them, and the news of their ends.
//!
//! A run is submitted by a plain publish that JetStream acknowledges, many of them on their way, or in an atomic batch
//! with others. Its end is seen by the news that schedulers publish of every run anyway: hearing them costs the cluster
//! one delivery for each, where reading the logs would cost one for every entry, and asking would cost requests. News may
//! be lost when there are very many at once: when no more come, the cluster is asked whether any run is left, and the
//! last news counts as the end.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client as Connection, Subscriber};
use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::RunQuery;
use longshore_proto::{Digest, Namespace, RunStatus, RunSummary, WorkflowName, subject};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::broken;
use super::figures::Takeover;
use super::publish::{WINDOW, Way, publish};
use crate::args::Target;
use crate::cluster::{Client, SubmitBody};
use crate::exit::Exit;
use crate::failure::Failure;

/// How long nothing is heard before the cluster is asked whether any run is left, and how often it must say that there
/// is none: a submit may still be on its way.
const SILENCE: Duration = Duration::from_secs(2);
const SILENCES: u32 = 2;

/// The same when a scheduler was killed: runs of partitions that nobody leads are known to nobody.
const SILENCES_OF_TAKEOVER: u32 = 15;

/// How long the first run may take: its server may have to be started.
const FIRST: Duration = Duration::from_secs(20);

/// Nothing here takes a third of this, even where every message is synced.
const LIMIT: Duration = Duration::from_secs(600);

/// How long a new cluster may take to answer, and how often it is asked.
const READY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(100));

/// A registered workflow, and who hears of its runs.
pub(super) struct Load<'a> {
    client: &'a Client,
    context: Context,
    workflow: WorkflowName,
    version: Digest,
    news: Subscriber,
    subject: String,
}

impl<'a> Load<'a> {
    /// Registers a workflow of so many steps in a row, each a call of `tool`.
    pub(super) async fn register(
        client: &'a Client,
        hearing: &Connection,
        namespace: &Namespace,
        tool: &Target,
        steps: usize,
    ) -> Result<Self, Failure> {
        let name = format!("bench-{}-{steps}", tool.server);
        let text = workflow(&name, tool, steps);
        let version = registered(client, &text).await?;
        let workflow: WorkflowName = name.parse().map_err(broken("name the workflow"))?;
        let news = format!("{}.evt.{namespace}.{workflow}.*.run", subject::ROOT);
        let news = hearing.subscribe(news).await.map_err(broken("listen to the news of runs"))?;
        hearing.flush().await.map_err(broken("listen to the news of runs"))?;
        let limit = Duration::from_secs(30);
        let context = ContextBuilder::new().timeout(limit).ack_timeout(limit).max_ack_inflight(WINDOW * 2);
        let subject = subject::submit(namespace, &workflow);
        Ok(Self { client, context: context.build(client.connection()), workflow, version, news, subject })
    }

    /// Sees a first run through, so that it is known that the tool can be called; a run that nobody serves would be waited
    /// for in silence.
    pub(super) async fn first(&mut self) -> Result<(), Failure> {
        let run = self.client.submit(&self.body()).await?.run;
        if let Ok(ended) = timeout(FIRST, ended(&mut self.news)).await {
            return ended;
        }
        let view = self.client.get(run).await?;
        if view.summary.status == RunStatus::Succeeded {
            return Ok(()); // its news got lost
        }
        self.client.cancel(run, "the measuring was given up").await?;
        let waits = view.steps.into_iter().find_map(|step| step.waiting_for);
        let why = waits.map(|reason| format!(": it waits for {reason}")).unwrap_or_default();
        let message = format!("a first run has not ended within {FIRST:?}{why}");
        Err(Failure::new(Exit::Error, message).help("`longshore doctor` looks for what is missing"))
    }

    fn body(&self) -> SubmitBody {
        SubmitBody {
            workflow: self.workflow.to_string(),
            id: None,
            version: Some(self.version.to_string()),
            inputs: Map::new(),
        }
    }

    /// From the first submit to the last end.
    pub(super) async fn many(&mut self, runs: u32, way: Way) -> Result<Duration, Failure> {
        let ends = self.ends(runs, way, SILENCES).await?;
        Ok(ends.last().copied().unwrap_or_default())
    }

    /// The moments from now at which runs were heard to have ended, until none is left.
    async fn ends(&mut self, runs: u32, way: Way, most_silences: u32) -> Result<Vec<Duration>, Failure> {
        let Self { client, context, news, subject, .. } = self;
        let started = Instant::now();
        let subjects = vec![subject.clone(); runs as usize];
        let submit = async {
            let (size, at_once) = way.window();
            let submits = stream::iter(subjects.chunks(size));
            let submits = submits.map(|some| publish(context, some, b"{}", false, way));
            submits.buffer_unordered(at_once).try_collect::<()>().await.map_err(broken("submit runs"))
        };
        let hear = async {
            let (mut ends, mut silences) = (Vec::new(), 0);
            while ends.len() < runs as usize && silences < most_silences {
                match timeout(SILENCE, ended(news)).await {
                    Ok(heard) => {
                        heard?;
                        ends.push(started.elapsed());
                        silences = 0;
                    }
                    Err(_) if is_quiet(client).await? => silences += 1,
                    Err(_) if started.elapsed() > LIMIT => return Err(too_long(runs)),
                    Err(_) => silences = 0,
                }
            }
            if ends.is_empty() { Err(too_long(runs)) } else { Ok(ends) }
        };
        tokio::try_join!(submit, hear).map(|((), ends)| ends)
    }

    /// How long a run takes that has the cluster to itself, submitted by a publish.
    pub(super) async fn one_published(&mut self) -> Result<Duration, Failure> {
        self.many(1, Way::Singly).await
    }

    /// The same, submitted by a request with the version, as `longshore submit` does.
    pub(super) async fn one_requested(&mut self) -> Result<Duration, Failure> {
        let body = self.body();
        let started = Instant::now();
        tokio::try_join!(self.client.submit(&body), ended(&mut self.news))?;
        Ok(started.elapsed())
    }

    /// How long runs wait that are submitted now, when a scheduler has just been killed.
    pub(super) async fn takeover(&mut self, runs: u32) -> Result<Takeover, Failure> {
        let ends = self.ends(runs, Way::Singly, SILENCES_OF_TAKEOVER).await?;
        let at = |end: Option<&Duration>| end.map_or(f64::NAN, Duration::as_secs_f64);
        Ok(Takeover { runs, first_seconds: at(ends.first()), last_seconds: at(ends.last()) })
    }
}

/// Waits until a scheduler answers, and registers a workflow.
async fn registered(client: &Client, text: &str) -> Result<Digest, Failure> {
    let (limit, pause) = READY;
    let deadline = Instant::now() + limit;
    loop {
        match client.push(text).await {
            Err(failure)
                if matches!(failure.exit, Exit::Unreachable | Exit::Full) && Instant::now() < deadline =>
            {
                sleep(pause).await;
            }
            pushed => return pushed.map(|registered| registered.digest),
        }
    }
}

/// Waits for the next run that has ended.
async fn ended(news: &mut Subscriber) -> Result<(), Failure> {
    loop {
        let message = news.next().await.ok_or_else(|| {
            Failure::new(Exit::Error, "the connection to NATS was closed while runs were under way")
        })?;
        let run: RunSummary =
            serde_json::from_slice(&message.payload).map_err(broken("read the news of a run"))?;
        match run.status {
            RunStatus::Succeeded => return Ok(()),
            RunStatus::Running => {}
            status => {
                let why = run.error.map(|fault| fault.message).unwrap_or_default();
                let message = format!("run {} is {}: {why}", run.run, status.as_str());
                return Err(Failure::new(Exit::Error, message).help("what is measured are runs that succeed"));
            }
        }
    }
}

/// Whether no run is under way.
async fn is_quiet(client: &Client) -> Result<bool, Failure> {
    let query = RunQuery { statuses: vec![RunStatus::Running], limit: 1, ..RunQuery::default() };
    Ok(client.list(&query).await?.runs.is_empty())
}

fn too_long(runs: u32) -> Failure {
    Failure::new(Exit::Error, format!("{runs} runs were submitted, and their ends were not heard of"))
}

/// Calls in a row, each of which needs what the one before gave. They may be repeated, so none is claimed.
fn workflow(name: &str, tool: &Target, steps: usize) -> String {
    let step = |number: usize| {
        let text = match number {
            0 => "hello".to_owned(),
            _ => format!("${{{{ steps.s{}.output.text }}}}", number - 1),
        };
        json!({
            "id": format!("s{number}"),
            "call": format!("{}/{}", tool.server, tool.tool),
            "with": { "text": text },
            "retry": 3,
        })
    };
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!({ "longshore": "v1", "name": name, "steps": steps }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_a_workflow() {
        let tool = "noop/echo".parse().expect("a tool");
        for steps in [1, 10] {
            let plan = longshore_workflow::compile(&workflow("bench-noop", &tool, steps)).expect("compiles");
            assert_eq!(plan.steps.len(), steps);
        }
    }
}
