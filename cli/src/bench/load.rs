//! Runs as clients submit them, and the news of their ends.
//!
//! A run is submitted by a plain publish that JetStream acknowledges, many of them on their way. Its end is seen by the
//! news that schedulers publish of every run anyway: hearing them costs the cluster one delivery for each, where
//! reading the logs would cost one for every entry, and asking would cost requests. News may be lost; a loss shows,
//! because every run that was submitted must be told of.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client as Connection, Subscriber};
use futures::{StreamExt, TryStreamExt, stream};
use longshore_proto::{Digest, Namespace, RunStatus, RunSummary, WorkflowName, subject};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::figures::{Latency, Takeover};
use super::{Step, broken};
use crate::args::Target;
use crate::cluster::{Client, SubmitBody};
use crate::exit::Exit;
use crate::failure::Failure;

/// Submits on their way at once.
const WINDOW: usize = 1_000;

/// How long nothing may be heard while runs are under way. Longer than a partition waits when its scheduler dies.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a new cluster may take to answer, and how often it is asked.
const READY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(100));

/// How long the cluster is left alone between two single runs: its checkpoint of the one before is written within it.
const REST: Duration = Duration::from_millis(20);

/// A registered workflow, and who hears of its runs.
pub(super) struct Load<'a> {
    client: &'a Client,
    context: Context,
    namespace: &'a Namespace,
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
        namespace: &'a Namespace,
        tool: &Target,
        steps: usize,
    ) -> Result<Self, Failure> {
        let name = format!("bench-{}-{steps}", tool.server);
        let text = workflow(&name, tool, steps);
        let version = registered(client, namespace, &text).await?;
        let workflow: WorkflowName = name.parse().map_err(broken("name the workflow"))?;
        let news = format!("{}.evt.{namespace}.{workflow}.*.run", subject::ROOT);
        let news = hearing.subscribe(news).await.map_err(broken("listen to the news of runs"))?;
        hearing.flush().await.map_err(broken("listen to the news of runs"))?;
        let limit = Duration::from_secs(30);
        let context = ContextBuilder::new().timeout(limit).ack_timeout(limit).max_ack_inflight(WINDOW * 2);
        let subject = subject::submit(namespace, &workflow);
        Ok(Self {
            client,
            context: context.build(client.connection()),
            namespace,
            workflow,
            version,
            news,
            subject,
        })
    }

    /// From the first submit to the last end.
    pub(super) async fn many(&mut self, runs: u32) -> Result<Duration, Failure> {
        let started = Instant::now();
        self.ends(runs).await?;
        Ok(started.elapsed())
    }

    /// The moments from now at which each of so many runs was heard to have ended.
    async fn ends(&mut self, runs: u32) -> Result<Vec<Duration>, Failure> {
        let Self { context, news, subject, .. } = self;
        let started = Instant::now();
        let submit = async {
            let submits = stream::iter(0..runs).map(|_| submit(context, subject));
            submits.buffer_unordered(WINDOW).try_collect::<()>().await.map_err(broken("submit runs"))
        };
        let hear = async {
            let mut ends = Vec::new();
            for number in 0..runs {
                let missing = || format!("hear the end of {} of {runs} runs", runs - number);
                ended(news).await.map_err(|failure| told(missing(), &failure))?;
                ends.push(started.elapsed());
            }
            Ok::<_, Failure>(ends)
        };
        tokio::try_join!(submit, hear).map(|((), ends)| ends)
    }

    /// How long runs take that have the cluster to themselves, submitted by a publish.
    pub(super) async fn one_by_one(&mut self, runs: u32) -> Result<Latency, Failure> {
        let mut samples = Vec::new();
        for _ in 0..runs {
            samples.push(self.many(1).await?);
            sleep(REST).await;
        }
        Ok(Latency::of(samples))
    }

    /// The same, submitted by a request with the version, as `longshore submit` does.
    pub(super) async fn one_by_one_asked(&mut self, runs: u32) -> Result<Latency, Failure> {
        let mut samples = Vec::new();
        for _ in 0..runs {
            let body = SubmitBody {
                workflow: self.workflow.to_string(),
                namespace: self.namespace.clone(),
                id: None,
                version: Some(self.version.to_string()),
                inputs: Map::new(),
            };
            let started = Instant::now();
            tokio::try_join!(self.client.submit(&body), ended(&mut self.news))?;
            samples.push(started.elapsed());
            sleep(REST).await;
        }
        Ok(Latency::of(samples))
    }

    /// How long runs wait that are submitted now, when a scheduler has just been killed.
    pub(super) async fn takeover(&mut self, runs: u32) -> Result<Takeover, Failure> {
        let ends = self.ends(runs).await?;
        let at = |end: Option<&Duration>| end.map_or(f64::NAN, Duration::as_secs_f64);
        Ok(Takeover { runs, first_seconds: at(ends.first()), last_seconds: at(ends.last()) })
    }
}

/// Waits until a scheduler answers, and registers a workflow.
async fn registered(client: &Client, namespace: &Namespace, text: &str) -> Result<Digest, Failure> {
    let (limit, pause) = READY;
    let deadline = Instant::now() + limit;
    loop {
        match client.push(namespace, text).await {
            Err(failure) if failure.exit == Exit::Unreachable && Instant::now() < deadline => {
                sleep(pause).await;
            }
            pushed => return pushed.map(|registered| registered.digest),
        }
    }
}

async fn submit(context: &Context, subject: &str) -> Step<()> {
    context.publish(subject.to_owned(), "{}".into()).await?.await?;
    Ok(())
}

/// Waits for the next run that has ended.
async fn ended(news: &mut Subscriber) -> Result<(), Failure> {
    loop {
        let heard = timeout(SILENCE, news.next()).await;
        let message = heard.map_err(broken("hear of runs"))?.ok_or_else(|| {
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

fn told(doing: String, failure: &Failure) -> Failure {
    Failure::new(failure.exit, format!("could not {doing}: {}", failure.message))
        .maybe_help(failure.help.clone())
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
