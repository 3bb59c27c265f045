//! What a run costs, next to what it cannot cost less than, on the same machine in the same minute.
//!
//! Scheduler and worker run in this process on one data file, as `longshore run` composes them, and call `echo` of the
//! example server over stdio. The floor is the least that a run of one step needs: two appends to the log, each durable
//! before it counts, and one call. Both are measured here, so their ratio means the same on every machine.
//!
//! ```sh
//! cargo build --release --workspace --bins && cargo bench -p longshore-tests --bench measure [-- --json]
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot be made ends with the place and the reason"
)]
#![expect(clippy::indexing_slicing, reason = "JSON that was put together here")]
#![expect(clippy::print_stdout, reason = "the figures are the result")]

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use longshore_backend::Backend;
use longshore_backend::embedded::{Access, Embedded};
use longshore_proto::{Event, NodeId, Partition, RunId, RunStatus, Signal};
use longshore_scheduler::{Driver, Intake, Submission, Watchers};
use longshore_tests::tables::Tables;
use longshore_worker::mcp::{Pool, ServersConfig, ToolCall};
use longshore_worker::{Worker, WorkerConfig};
use longshore_workflow::Plan;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Runs under load.
const RUNS: usize = 5_000;
/// Of them under way at once.
const IN_FLIGHT: usize = 500;
/// Runs one at a time.
const LONE_RUNS: usize = 200;
/// Before anything is measured.
const WARM_UP: usize = 200;
/// Calls at once, for Longshore and for the bare loop alike.
const CALLS_AT_ONCE: usize = 64;
/// One process leads one partition.
const PARTITION: Partition = Partition(0);

/// One call and its result.
const WORKFLOW: &str = r"
longshore: v1
name: one-step
inputs:
  text: { type: string, default: hello }
steps:
  - id: it
    call: tables/echo
    with: { text: '${{ inputs.text }}' }
    retry: 3
outputs:
  text: ${{ steps.it.output.text }}
";

/// How many in a second, and how long one alone takes.
struct Figures {
    per_second: f64,
    lone: Latency,
}

/// Of many, in milliseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

/// The parts, at work in this process.
struct Longshore {
    store: Embedded,
    backend: Backend,
    pool: Arc<Pool>,
    intake: Intake,
    watchers: Arc<Watchers>,
    plan: Arc<Plan>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Longshore {
    async fn start(folder: &std::path::Path) -> Self {
        let store = Embedded::open(&folder.join("data"), Access::ReadWrite).await.unwrap();
        let (backend, watchers) = (store.backend(), Arc::new(Watchers::default()));
        let node: NodeId = "measure".parse().unwrap();
        let pool = Arc::new(Pool::new(servers(folder)));
        let driver = Driver::take_over(backend.clone(), PARTITION, node.clone(), Arc::clone(&watchers));
        let driver = driver.await.unwrap();
        let config =
            WorkerConfig { slots: NonZeroUsize::new(CALLS_AT_ONCE).unwrap(), ..WorkerConfig::default() };
        let worker = Worker::new(backend.clone(), Arc::clone(&pool), node, config);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(worker.run(stop.clone()));
        let stop_driver = stop.clone();
        tasks.spawn(async move {
            driver.lead(stop_driver).await.unwrap();
        });
        let intake = Intake::new(backend.clone(), 1);
        let plan = intake.register(WORKFLOW).await.unwrap();
        Self { store, backend, pool, intake, watchers, plan, stop, tasks }
    }

    /// One run, from its submit to its end.
    async fn run(&self) {
        let run = self.intake.draw_id();
        let mut watch = self.watchers.watch(run);
        let (namespace, plan) = ("default".parse().unwrap(), Arc::clone(&self.plan));
        let submission = Submission { run, namespace, plan, inputs: Map::new(), trace: None };
        self.intake.submit(submission).await.unwrap();
        let ended =
            watch.wait_for(|view| view.as_ref().is_some_and(|view| view.summary.status.is_terminal()));
        let status = ended.await.unwrap().as_ref().map(|view| view.summary.status);
        assert_eq!(status, Some(RunStatus::Succeeded), "{run}");
    }

    /// One call, past everything but the connection.
    async fn call(&self) {
        let (server, tool) = ("tables".parse().unwrap(), "echo".parse().unwrap());
        let arguments = Map::from_iter([("text".to_owned(), json!("hello"))]);
        let call = ToolCall {
            server: &server,
            tool: &tool,
            arguments: &arguments,
            timeout: Duration::from_secs(60),
            idempotency_key: "run/it",
            trace: None,
        };
        let answer = self.pool.call(call, &|| (), &CancellationToken::new()).await.unwrap();
        assert_eq!(answer.value, Value::Object(arguments));
    }

    /// One durable event, which the scheduler reads and passes over: nobody knows the run.
    async fn append(&self) {
        let signal = Signal::Cancel { reason: "nobody knows this run".to_owned() };
        let event =
            Event::Signalled { run: RunId::new(PARTITION, longshore_backend::clock::now(), 1), signal };
        self.backend.log.append(PARTITION, vec![event]).await.unwrap();
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.pool.close().await;
        self.store.close().await;
    }
}

/// The example server over stdio, given as many calls at once as the worker has slots.
fn servers(folder: &std::path::Path) -> ServersConfig {
    let mut tables = Tables::silent(folder).entry();
    tables["longshore"] = json!({ "max_concurrency": CALLS_AT_ONCE });
    ServersConfig::parse(&json!({ "mcpServers": { "tables": tables } }).to_string(), &|_| None).unwrap()
}

/// Does it `times` times, `at_once` at once; returns how many were done in a second.
async fn rate<F: Future<Output = ()>>(times: usize, at_once: usize, one: impl Fn() -> F) -> f64 {
    let since = Instant::now();
    stream::iter(0..times).for_each_concurrent(at_once, |_| one()).await;
    times as f64 / since.elapsed().as_secs_f64()
}

/// Does it again and again, one at a time.
async fn latency<F: Future<Output = ()>>(times: usize, one: impl Fn() -> F) -> Latency {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let since = Instant::now();
        one().await;
        took.push(since.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    Latency { p50: at(0.50), p99: at(0.99) }
}

/// The least that a run of one step needs: an append, a call, an append.
async fn bare(longshore: &Longshore) {
    longshore.append().await;
    longshore.call().await;
    longshore.append().await;
}

async fn measure(longshore: &Longshore) -> Value {
    rate(WARM_UP, IN_FLIGHT, || longshore.run()).await;
    let runs = Figures {
        lone: latency(LONE_RUNS, || longshore.run()).await,
        per_second: rate(RUNS, IN_FLIGHT, || longshore.run()).await,
    };
    let floor = Figures {
        lone: latency(LONE_RUNS, || bare(longshore)).await,
        per_second: rate(RUNS, IN_FLIGHT, || bare(longshore)).await,
    };
    let calls = rate(RUNS, CALLS_AT_ONCE, || longshore.call()).await;
    let appends = rate(RUNS, IN_FLIGHT, || longshore.append()).await;
    let shown = |figures: &Figures| json!({ "per_second": figures.per_second, "p50_ms": figures.lone.p50, "p99_ms": figures.lone.p99 });
    json!({
        "runs": shown(&runs), "floor": shown(&floor),
        "ratio": {
            "per_second": runs.per_second / floor.per_second, "p50_ms": runs.lone.p50 / floor.lone.p50,
            "p99_ms": runs.lone.p99 / floor.lone.p99,
        },
        "calls_per_second": calls, "appends_per_second": appends,
    })
}

fn table(figures: &Value) -> String {
    let mut text = format!("{:34}{:>10}{:>11}{:>11}\n", "", "a second", "p50, ms", "p99, ms");
    let rows =
        [("runs", "runs of one step"), ("floor", "the least: append, call, append"), ("ratio", "ratio")];
    for (key, name) in rows {
        let of = |field: &str| figures[key][field].as_f64().unwrap_or_default();
        let decimals = if key == "ratio" { 2 } else { 0 };
        text += &format!(
            "{name:34}{:10.decimals$}{:11.2}{:11.2}\n",
            of("per_second"),
            of("p50_ms"),
            of("p99_ms")
        );
    }
    let alone = |field: &str| figures[field].as_f64().unwrap_or_default();
    text +=
        &format!("\n{:34}{:10.0}\n", format!("calls, {CALLS_AT_ONCE} at once"), alone("calls_per_second"));
    text + &format!("{:34}{:10.0}\n", format!("appends, {IN_FLIGHT} at once"), alone("appends_per_second"))
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let longshore = Longshore::start(folder.path()).await;
    let figures = measure(&longshore).await;
    longshore.end().await;
    if std::env::args().any(|argument| argument == "--json") {
        println!("{figures}");
    } else {
        println!("{RUNS} runs, {IN_FLIGHT} at once; then {LONE_RUNS} one at a time\n\n{}", table(&figures));
    }
}
