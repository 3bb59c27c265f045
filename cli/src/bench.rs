//! What a cluster does in a second, next to what its broker could do at best, on the same machine in the same minutes.
//!
//! ```text
//!   started (own cluster) ─┐
//!   a cluster that is there ┴─► floor (bare loop) ─► for each tool: load, turns ─► floor again ─► takeover
//!                                                          │
//!                                                 figures ─► page or JSON
//! ```
//!
//! Beside `cluster`, the only place that speaks to NATS itself: the floor has to be free of everything that Longshore
//! puts around it.

mod figures;
mod floor;
mod load;
mod page;
mod process;
mod publish;
mod started;
mod turns;

use std::error::Error;
use std::fmt::Display;
use std::thread::available_parallelism;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use longshore_proto::Namespace;

use self::figures::{Figures, Floor, OfProcess, OfTool, OneAtATime, Rate, Setting, Takeover};
use self::floor::BareLoop;
use self::load::Load;
use self::process::Taken;
use self::publish::Way;
use self::started::Started;
use crate::args::{BenchArgs, Target};
use crate::cluster::Client;
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;

pub(crate) use page::page;

/// What the report is called in JSON.
pub(crate) const SCHEMA: &str = "longshore.bench";

/// Runs of each kind before the first that counts: enough for every process to have met everything once.
const WARM_UP: u32 = 500;

/// How often runs are measured, as often as the bare loop: the best round counts, because a busy machine only ever makes it
/// worse.
const ROUNDS: u32 = 2;

/// Steps in a chain.
const CHAIN: u32 = 10;

/// Runs submitted after a scheduler was killed: enough that each of its partitions gets some.
const TAKEOVER_RUNS: u32 = 128;

/// What a step against NATS itself comes to: the errors of its client are of many types.
type Step<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures, in a cluster of its own if that is asked for. Ctrl-C ends it early, and everything it started.
pub(crate) async fn bench(args: &BenchArgs, config: &Config, output: &Output) -> Result<Figures, Failure> {
    let mut signals = Signals::listen()?;
    if !args.start {
        return measure(args, config, None, &mut signals, output).await;
    }
    output.message("starting NATS, Redis, schedulers and workers");
    let mut started = tokio::select! {
        started = Started::start(args) => started?,
        _ = signals.next() => return Err(interrupted()),
    };
    let config = started.config()?;
    let measured = measure(args, &config, Some(&mut started), &mut signals, output).await;
    let measured = measured.map_err(|failure| started.explain(failure));
    started.end().await;
    measured
}

/// Measures until a signal, and leaves nothing of the bare loop behind.
async fn measure(
    args: &BenchArgs,
    config: &Config,
    started: Option<&mut Started>,
    signals: &mut Signals,
    output: &Output,
) -> Result<Figures, Failure> {
    let connections = args.workers.get() + 2;
    let connecting = (0..connections).map(|_| Client::connect(config, false, output));
    let clients = tokio::select! {
        clients = try_join_all(connecting) => clients?,
        _ = signals.next() => return Err(interrupted()),
    };
    let measured = tokio::select! {
        measured = Box::pin(measure_through(args, &clients, config, started, output)) => measured,
        _ = signals.next() => Err(interrupted()),
    };
    for client in clients.iter().take(1) {
        floor::clear(&client.connection()).await;
    }
    join_all(clients.iter().map(Client::close)).await;
    measured
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted before everything was measured")
}

/// Measures through several connections: one submits, one hears, the others are workers of the bare loop.
async fn measure_through(
    args: &BenchArgs,
    clients: &[Client],
    config: &Config,
    mut started: Option<&mut Started>,
    output: &Output,
) -> Result<Figures, Failure> {
    let [client, hearing, ..] = clients else {
        return Err(Failure::new(Exit::Error, "there are too few connections"));
    };
    let setting = setting(args, client);
    let workers: Vec<_> = clients.iter().skip(2).map(Client::connection).collect();
    let mut bare = BareLoop::new(&client.connection(), &hearing.connection(), &workers);
    let bench = Bench { args, client, hearing, namespace: &config.namespace, output };
    for tool in bench.tools() {
        bench.warm_up(&tool).await?;
    }
    let taken_idle = started.as_ref().map(|started| started.taken()).unwrap_or_default();
    let mut floor = bench.floor(&mut bare).await?;
    let mut tools = Vec::new();
    let mut processes = Vec::new();
    for tool in bench.tools() {
        let before = started.as_ref().map(|started| started.taken()).unwrap_or_default();
        let one_step = bench.many(&tool, 1, args.runs.get(), floor.faster()).await?;
        if processes.is_empty() {
            let after = started.as_ref().map(|started| started.taken()).unwrap_or_default();
            processes = of_processes(&taken_idle, &before, &after, args.runs.get() * ROUNDS);
        }
        let chains = bench.many(&tool, CHAIN, (args.runs.get() / CHAIN).max(1), floor.faster()).await?;
        let one_at_a_time = bench.one_at_a_time(&tool, &mut bare).await?;
        tools.push(OfTool { tool: shown(&tool), one_step, chains, one_at_a_time });
    }
    floor = floor.better(bench.floor(&mut bare).await?);
    for tool in &mut tools {
        tool.compare(&floor);
    }
    if let Some(started) = &started {
        note_most(&mut processes, &started.taken());
    }
    let takeover = match started.as_mut().filter(|_| args.takeover) {
        Some(started) => Some(bench.takeover(started).await?),
        None => None,
    };
    Ok(Figures { setting, floor, tools, processes, takeover })
}

/// What every part needs.
struct Bench<'a> {
    args: &'a BenchArgs,
    client: &'a Client,
    hearing: &'a Client,
    namespace: &'a Namespace,
    output: &'a Output,
}

impl Bench<'_> {
    /// The tools to call.
    fn tools(&self) -> Vec<Target> {
        let own = |text: &str| text.parse().ok();
        match (&self.args.tool, &self.args.echo) {
            (Some(tool), _) => vec![tool.clone()],
            (None, None) => own("noop/echo").into_iter().collect(),
            (None, Some(_)) => ["noop/echo", "stdio/echo"].into_iter().filter_map(own).collect(),
        }
    }

    async fn load(&self, tool: &Target, steps: u32) -> Result<Load<'_>, Failure> {
        let hearing = self.hearing.connection();
        let steps = usize::try_from(steps).unwrap_or_default();
        Load::register(self.client, &hearing, self.namespace, tool, steps).await
    }

    async fn warm_up(&self, tool: &Target) -> Result<(), Failure> {
        self.output.message(&format!("warming up: {}", shown(tool)));
        self.load(tool, 1).await?.first().await?;
        for steps in [1, CHAIN] {
            self.load(tool, steps).await?.many(WARM_UP / steps, Way::Singly).await?;
        }
        Ok(())
    }

    async fn floor(&self, bare: &mut BareLoop) -> Result<Floor, Failure> {
        self.output.message("measuring the bare loop");
        bare.measure(self.args.runs.get()).await
    }

    /// Runs of so many steps each, all submitted at once.
    async fn many(&self, tool: &Target, steps: u32, runs: u32, way: Way) -> Result<Rate, Failure> {
        let what = if steps == 1 { "one step".to_owned() } else { format!("{steps} steps") };
        self.output.message(&format!("measuring {runs} runs of {what}: {}", shown(tool)));
        let mut load = self.load(tool, steps).await?;
        let mut took = Duration::MAX;
        for _ in 0..ROUNDS {
            took = took.min(load.many(runs, way).await?);
        }
        let seconds = took.as_secs_f64();
        Ok(Rate { runs, seconds, steps_per_second: f64::from(runs * steps) / seconds, of_floor: f64::NAN })
    }

    async fn one_at_a_time(&self, tool: &Target, bare: &mut BareLoop) -> Result<OneAtATime, Failure> {
        let turns = self.args.lone_runs.get();
        self.output.message(&format!("measuring {turns} steps and runs one at a time: {}", shown(tool)));
        turns::measure(bare, &mut self.load(tool, 1).await?, turns).await
    }

    async fn takeover(&self, started: &mut Started) -> Result<Takeover, Failure> {
        self.output.message("killing a scheduler, and measuring how long its runs wait");
        let tool = self.tools().into_iter().next();
        let tool = tool.ok_or_else(|| Failure::new(Exit::Error, "there is no tool to call"))?;
        let mut load = self.load(&tool, 1).await?;
        started.kill_a_scheduler().await?;
        load.takeover(TAKEOVER_RUNS).await
    }
}

impl OfTool {
    fn compare(&mut self, floor: &Floor) {
        for rate in [&mut self.one_step, &mut self.chains] {
            rate.of_floor = rate.steps_per_second / floor.steps_per_second;
        }
    }
}

fn setting(args: &BenchArgs, client: &Client) -> Setting {
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    Setting {
        cores: available_parallelism().map_or(1, usize::from),
        load_before: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        nats: client.connection().server_info().version,
        sync: args.start.then(|| args.sync.as_str()),
        schedulers: args.start.then(|| args.schedulers.get()),
        workers: args.workers.get(),
    }
}

fn of_processes(
    idle: &[(String, Taken)],
    before: &[(String, Taken)],
    after: &[(String, Taken)],
    steps: u32,
) -> Vec<OfProcess> {
    let all = idle.iter().zip(before).zip(after);
    all.map(|(((process, idle), (_, before)), (_, after))| {
        let cpu: Duration = after.cpu.saturating_sub(before.cpu);
        OfProcess {
            process: process.clone(),
            idle_mib: idle.mib,
            most_mib: after.most_mib,
            cpu_us_per_step: cpu.as_secs_f64() * 1e6 / f64::from(steps),
        }
    })
    .collect()
}

fn note_most(processes: &mut [OfProcess], taken: &[(String, Taken)]) {
    for (process, (_, taken)) in processes.iter_mut().zip(taken) {
        process.most_mib = taken.most_mib;
    }
}

fn shown(tool: &Target) -> String {
    format!("{}/{}", tool.server, tool.tool)
}

/// Turns any error into a failure that says what was being done.
fn broken<E: Display>(doing: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::new(Exit::Error, format!("could not {doing}: {error}"))
}
