//! The cost of a run in one process, next to the least that it can cost, on the same machine at the same time.
//!
//! Scheduler and worker run in this process on one data file, as `longshore run` composes them, and call `echo` of the
//! example server over stdio. The floor is the least work of a run with one step: two durable appends to the log, and one
//! call. Both are measured in turns, so their ratio can be compared between machines.
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
use longshore_embedded::{Access, Embedded, RunWatchers};
use longshore_ports::Backend;
use longshore_proto::{Event, Namespace, NodeId, Partition, Retention, RunId, RunStatus, Signal};
use longshore_scheduler::{Driver, Intake, SubmitRequest};
use longshore_tests::tables::Tables;
use longshore_worker::mcp::{ServerPool, ServersConfig, ToolCall};
use longshore_worker::{Worker, WorkerConfig};
use longshore_workflow::Plan;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The number of runs in a round under load.
const RUNS: usize = 5_000;
/// The number of rounds. The first is also the warm-up.
const ROUNDS: usize = 5;
/// The number of runs in progress at one time.
const IN_FLIGHT: usize = 500;
/// The number of runs one at a time.
const IDLE_RUNS: usize = 200;
/// The number of concurrent calls, of Longshore and of the floor alike.
const CONCURRENT_CALLS: usize = 64;
/// The partition that this process leads.
const PARTITION: Partition = Partition(0);

/// A workflow of one call.
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

/// The throughput under load, and the latency of single runs.
struct RunFigures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// A scheduler and a worker in this process.
struct LocalLongshore {
    store: Embedded,
    backend: Backend,
    pool: Arc<ServerPool>,
    intake: Intake,
    watchers: Arc<RunWatchers>,
    plan: Arc<Plan>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl LocalLongshore {
    async fn start(folder: &std::path::Path) -> Self {
        let store = Embedded::open(&folder.join("data"), Access::ReadWrite).await.unwrap();
        let (backend, watchers) = (store.backend(), Arc::new(RunWatchers::default()));
        let node: NodeId = "measure".parse().unwrap();
        let pool = Arc::new(ServerPool::new(servers(folder)));
        let driver = Driver::take_over(
            backend.clone(),
            PARTITION,
            node.clone(),
            watchers.clone(),
            Retention::default(),
        );
        let driver = driver.await.unwrap();
        let config =
            WorkerConfig { slots: NonZeroUsize::new(CONCURRENT_CALLS).unwrap(), ..WorkerConfig::default() };
        let worker = Worker::new(backend.clone(), Arc::clone(&pool), node, config, None);
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

    /// Submits a run and waits for its end.
    async fn run(&self) {
        let run = self.intake.draw_id();
        let mut watch = self.watchers.watch(run);
        let request = SubmitRequest::new("default".parse().unwrap(), self.plan.name.clone(), Map::new());
        self.intake.submit(run, &self.plan, request).await.unwrap();
        let ended =
            watch.wait_for(|view| view.as_ref().is_some_and(|view| view.summary.status.is_terminal()));
        let status = ended.await.unwrap().as_ref().map(|view| view.summary.status);
        assert_eq!(status, Some(RunStatus::Succeeded), "{run}");
    }

    /// Makes a call through the connection pool alone.
    async fn call(&self) {
        let (server, tool) = ("tables".parse().unwrap(), "echo".parse().unwrap());
        let arguments = Map::from_iter([("text".to_owned(), json!("hello"))]);
        let call = ToolCall {
            server: &server,
            tool: &tool,
            arguments: &arguments,
            timeout: Duration::from_secs(60),
            max_timeout: Duration::from_secs(60),
            idempotency_key: "run/it",
            trace: None,
            job: None,
        };
        let answer = self.pool.call(call, &|_| (), &CancellationToken::new()).await.result.unwrap();
        assert_eq!(answer.value, Value::Object(arguments));
    }

    /// Appends a durable event, which the scheduler ignores because its run does not exist.
    async fn append(&self) {
        let signal = Signal::Cancel { reason: "this run does not exist".to_owned() };
        let run = RunId::new(PARTITION, longshore_ports::clock::now(), 1);
        let event = Event::Signalled { run, namespace: Namespace::default(), signal };
        self.backend.log.append(PARTITION, &[event]).await.unwrap();
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.pool.close().await;
        self.store.close().await;
    }
}

/// Returns the example server over stdio, with as many concurrent calls as the worker has slots.
fn servers(folder: &std::path::Path) -> ServersConfig {
    let mut tables = Tables::without_journal(folder).entry();
    tables["longshore"] = json!({ "max_concurrency": CONCURRENT_CALLS });
    ServersConfig::parse(&json!({ "mcpServers": { "tables": tables } }).to_string(), &|_| None).unwrap()
}

/// Runs `one` [`RUNS`] times, `at_once` concurrently. Returns the number in a second.
async fn rate<F: Future<Output = ()>>(at_once: usize, one: impl Fn() -> F) -> f64 {
    let since = Instant::now();
    stream::iter(0..RUNS).for_each_concurrent(at_once, |_| one()).await;
    RUNS as f64 / since.elapsed().as_secs_f64()
}

/// Returns the duration in milliseconds.
async fn milliseconds(one: impl Future<Output = ()>) -> f64 {
    let since = Instant::now();
    one.await;
    since.elapsed().as_secs_f64() * 1e3
}

impl RunFigures {
    fn new(per_second: f64, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at =
            |share: f64| samples.get((samples.len() as f64 * share) as usize).copied().unwrap_or_default();
        Self { per_second, p50_ms: at(0.50), p99_ms: at(0.99) }
    }

    fn to_json(&self) -> Value {
        json!({ "per_second": self.per_second, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms })
    }

    fn ratio(&self, floor: &Self) -> Self {
        Self {
            per_second: self.per_second / floor.per_second,
            p50_ms: self.p50_ms / floor.p50_ms,
            p99_ms: self.p99_ms / floor.p99_ms,
        }
    }
}

/// Does the least work of a run with one step: an append, a call as soon as a slot is free, and an append.
async fn floor_of_a_run(longshore: &LocalLongshore, slots: &Semaphore) {
    longshore.append().await;
    let slot = slots.acquire().await.unwrap();
    longshore.call().await;
    drop(slot);
    longshore.append().await;
}

/// Measures runs and their floor in turns, so that other work of the machine affects both. The best round of each counts.
async fn measure(longshore: &LocalLongshore) -> Value {
    let slots = Semaphore::new(CONCURRENT_CALLS);
    let (mut runs, mut floor, mut calls, mut appends) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        runs = runs.max(rate(IN_FLIGHT, || longshore.run()).await);
        floor = floor.max(rate(IN_FLIGHT, || floor_of_a_run(longshore, &slots)).await);
        calls = calls.max(rate(CONCURRENT_CALLS, || longshore.call()).await);
        appends = appends.max(rate(IN_FLIGHT, || longshore.append()).await);
    }
    let (mut idle_runs, mut idle_floor) = (Vec::new(), Vec::new());
    for _ in 0..IDLE_RUNS {
        idle_runs.push(milliseconds(longshore.run()).await);
        idle_floor.push(Box::pin(milliseconds(floor_of_a_run(longshore, &slots))).await);
    }
    let (runs, floor) = (RunFigures::new(runs, idle_runs), RunFigures::new(floor, idle_floor));
    json!({
        "runs": runs.to_json(), "floor": floor.to_json(), "ratio": runs.ratio(&floor).to_json(),
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
        &format!("\n{:34}{:10.0}\n", format!("calls, {CONCURRENT_CALLS} at once"), alone("calls_per_second"));
    text + &format!("{:34}{:10.0}\n", format!("appends, {IN_FLIGHT} at once"), alone("appends_per_second"))
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let longshore = LocalLongshore::start(folder.path()).await;
    let figures = Box::pin(measure(&longshore)).await;
    longshore.end().await;
    if std::env::args().any(|argument| argument == "--json") {
        println!("{figures}");
    } else {
        println!("best of {ROUNDS} times {RUNS} runs, {IN_FLIGHT} at once; then {IDLE_RUNS} one at a time\n");
        print!("{}", table(&figures));
    }
}
