//! Load generation and figures: what a cluster does in a second, next to what its broker could do at best, on the same
//! machine in the same minutes.
//!
//! ```text
//!   StartedCluster ──────┐
//!   a running cluster ───┴─► bare loop ─► for each tool: throughput, idle latency ─► bare loop again ─► takeover
//!                                                          │
//!                                                       Figures
//! ```
//!
//! The bare loop speaks to NATS itself, and the load is that of any NATS client: nothing of Longshore's own client or
//! adapters is between the measurement and the broker.

mod api;
mod bare_loop;
mod cluster;
mod error;
mod figures;
mod idle;
mod publish;
mod tool;
mod workload;

use std::thread::available_parallelism;
use std::time::Duration;

use async_nats::Client;
use longshore_harness::Usage;
use longshore_proto::Namespace;

use self::api::Api;
use self::bare_loop::BareLoop;
use self::publish::PublishMode;
use self::workload::{WorkflowKind, Workload};

pub use cluster::{ClusterOptions, StartedCluster};
pub use error::{BenchError, BenchErrorKind};
pub use figures::{
    Figures, Floor, IdleLatency, Latency, OneAtATime, ProcessFigures, Setting, Takeover, Throughput,
    ToolFigures,
};
pub use tool::BenchTool;

/// The number of runs of each kind before the first that counts: every process has met everything once by then.
const WARM_UP: u32 = 500;

/// The number of rounds, of the bare loop and of runs alike. The best round counts, because other work of the machine only
/// makes a round worse.
const ROUNDS: u32 = 2;

/// The number of steps in a chain.
const CHAIN: u32 = 10;

const ONE_STEP: WorkflowKind = WorkflowKind::Repeatable(1);
const CHAINS: WorkflowKind = WorkflowKind::Repeatable(CHAIN);

/// The number of runs submitted after a scheduler was killed: enough that each of its partitions gets some.
const TAKEOVER_RUNS: u32 = 128;

/// The number of connections that the measurement needs beside one for each worker of the bare loop: one submits, one
/// listens.
pub const OWN_CONNECTIONS: usize = 2;

/// The tools and the size of a measurement.
pub struct BenchOptions<'a> {
    /// The namespace of all runs.
    pub namespace: Namespace,
    /// The tools, each measured by itself.
    pub tools: Vec<BenchTool>,
    /// The number of runs of one step, and of steps in chains of ten.
    pub runs: u32,
    /// The number of runs and steps one at a time.
    pub idle_runs: u32,
    /// A scheduler of the started cluster is killed at the end, and the delay of its runs measured.
    pub takeover: bool,
    /// Called with a line of text when a part of the measurement begins.
    pub progress: &'a (dyn Fn(&str) + Send + Sync),
}

/// Measures through several connections: the first submits, the second listens, the others are workers of the bare loop.
///
/// # Errors
/// A run that did not succeed, a cluster that does not answer, or fewer than three connections.
pub async fn measure(
    options: &BenchOptions<'_>,
    connections: &[Client],
    mut started: Option<&mut StartedCluster>,
) -> Result<Figures, BenchError> {
    let [client, listener, workers @ ..] = connections else {
        return Err(BenchError::other("there are too few connections"));
    };
    let setting = setting(client, started.as_deref(), workers.len());
    let mut bare = BareLoop::new(client, listener, workers);
    let api = Api { connection: client.clone(), namespace: options.namespace.clone() };
    let bench = Bench { options, api, listener };
    for tool in &options.tools {
        bench.warm_up(tool).await?;
    }
    let idle = usage(started.as_deref());
    let mut floor = bench.bare_loop(&mut bare).await?;
    let mut tools = Vec::new();
    let mut processes = Vec::new();
    for tool in &options.tools {
        let before = usage(started.as_deref());
        let one_step = bench.many(tool, ONE_STEP, options.runs, floor.faster()).await?;
        if processes.is_empty() {
            let after = usage(started.as_deref());
            processes = of_processes(&idle, &before, &after, options.runs * ROUNDS);
        }
        let once = bench.many(tool, WorkflowKind::Unrepeatable, options.runs, floor.faster()).await?;
        let chains = bench.many(tool, CHAINS, (options.runs / CHAIN).max(1), floor.faster()).await?;
        let one_at_a_time = bench.one_at_a_time(tool, &mut bare).await?;
        tools.push(ToolFigures { tool: tool.to_string(), one_step, once, chains, one_at_a_time });
    }
    floor = floor.better(bench.bare_loop(&mut bare).await?);
    for tool in &mut tools {
        tool.compare(&floor);
    }
    for (process, (_, usage)) in processes.iter_mut().zip(usage(started.as_deref())) {
        process.most_mib = usage.most_mib;
    }
    let takeover = match started.as_mut().filter(|_| options.takeover) {
        Some(started) => Some(bench.takeover(started).await?),
        None => None,
    };
    Ok(Figures { setting, floor, tools, processes, takeover })
}

/// Deletes the streams that the bare loop leaves behind, of a measurement that failed too.
pub async fn clear(connection: &Client) {
    bare_loop::clear(connection).await;
}

/// The connections and options of one measurement.
struct Bench<'a> {
    options: &'a BenchOptions<'a>,
    api: Api,
    listener: &'a Client,
}

impl Bench<'_> {
    fn progress(&self, text: &str) {
        (self.options.progress)(text);
    }

    async fn workload(&self, tool: &BenchTool, kind: WorkflowKind) -> Result<Workload, BenchError> {
        Workload::register(&self.api, self.listener, tool, kind).await
    }

    async fn warm_up(&self, tool: &BenchTool) -> Result<(), BenchError> {
        self.progress(&format!("warming up: {tool}"));
        self.workload(tool, ONE_STEP).await?.first().await?;
        for kind in [ONE_STEP, CHAINS, WorkflowKind::Unrepeatable] {
            self.workload(tool, kind).await?.many(WARM_UP / kind.steps(), PublishMode::OneByOne).await?;
        }
        Ok(())
    }

    async fn bare_loop(&self, bare: &mut BareLoop) -> Result<Floor, BenchError> {
        self.progress("measuring the bare loop");
        bare.measure(self.options.runs).await
    }

    /// Measures runs of so many steps each, all submitted at once.
    async fn many(
        &self,
        tool: &BenchTool,
        kind: WorkflowKind,
        runs: u32,
        mode: PublishMode,
    ) -> Result<Throughput, BenchError> {
        let what = match kind {
            WorkflowKind::Repeatable(1) => "one step".to_owned(),
            WorkflowKind::Repeatable(steps) => format!("{steps} steps"),
            WorkflowKind::Unrepeatable => "one step that may not be repeated".to_owned(),
        };
        self.progress(&format!("measuring {runs} runs of {what}: {tool}"));
        let mut workload = self.workload(tool, kind).await?;
        let mut took = Duration::MAX;
        for _ in 0..ROUNDS {
            took = took.min(workload.many(runs, mode).await?);
        }
        let seconds = took.as_secs_f64();
        Ok(Throughput {
            runs,
            seconds,
            steps_per_second: f64::from(runs * kind.steps()) / seconds,
            of_floor: f64::NAN,
        })
    }

    async fn one_at_a_time(&self, tool: &BenchTool, bare: &mut BareLoop) -> Result<OneAtATime, BenchError> {
        let turns = self.options.idle_runs;
        self.progress(&format!("measuring {turns} steps and runs one at a time: {tool}"));
        idle::measure(bare, &mut self.workload(tool, ONE_STEP).await?, turns).await
    }

    async fn takeover(&self, started: &mut StartedCluster) -> Result<Takeover, BenchError> {
        self.progress("killing a scheduler, and measuring how long its runs wait");
        let tool = self.options.tools.first().ok_or_else(|| BenchError::other("there is no tool to call"))?;
        let mut workload = self.workload(tool, ONE_STEP).await?;
        started.kill_a_scheduler().await?;
        workload.takeover(TAKEOVER_RUNS).await
    }
}

fn setting(client: &Client, started: Option<&StartedCluster>, workers: usize) -> Setting {
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    Setting {
        cores: available_parallelism().map_or(1, usize::from),
        load_before: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        nats: client.server_info().version,
        sync: started.map(StartedCluster::sync),
        schedulers: started.map(StartedCluster::schedulers),
        workers,
    }
}

fn usage(started: Option<&StartedCluster>) -> Vec<(String, Usage)> {
    started.map(StartedCluster::usage).unwrap_or_default()
}

fn of_processes(
    idle: &[(String, Usage)],
    before: &[(String, Usage)],
    after: &[(String, Usage)],
    steps: u32,
) -> Vec<ProcessFigures> {
    let all = idle.iter().zip(before).zip(after);
    all.map(|(((process, idle), (_, before)), (_, after))| {
        let cpu: Duration = after.cpu.saturating_sub(before.cpu);
        ProcessFigures {
            process: process.clone(),
            idle_mib: idle.mib,
            most_mib: after.most_mib,
            cpu_us_per_step: cpu.as_secs_f64() * 1e6 / f64::from(steps),
        }
    })
    .collect()
}
