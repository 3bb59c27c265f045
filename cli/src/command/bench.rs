//! `longshore bench`: measures a cluster, and compares it with what its broker can do at best.
//!
//! The crate `longshore-bench` measures; this command starts a cluster or connects to one, and prints the figures.

mod page;

use std::collections::BTreeMap;

use futures::future::{join_all, try_join_all};
use longshore_bench::{
    BenchError, BenchErrorKind, BenchOptions, BenchTool, ClusterOptions, Figures, OWN_CONNECTIONS,
    StartedCluster,
};

use crate::args::{BenchArgs, SyncMode, ToolTarget};
use crate::cluster::Client;
use crate::config::{CommandLineSettings, Config, SettingKey};
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;

/// Schema name of the JSON report.
const SCHEMA: &str = "longshore.bench";

/// Measures a cluster and prints the figures.
pub(super) async fn bench(args: &BenchArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let figures = measure(args, config, output).await?;
    if args.json {
        output.document(SCHEMA, &figures)?;
    } else {
        output.wrapped_lines(page::page(&figures))?;
    }
    Ok(Exit::Success)
}

/// Measures a cluster, with `--start` one that it starts. Ctrl-C ends the measurement and every process that was started.
async fn measure(args: &BenchArgs, config: &Config, output: &Output) -> Result<Figures, Failure> {
    let mut signals = Signals::listen()?;
    if !args.start {
        return measure_at(args, config, None, &mut signals, output).await;
    }
    output.message("starting NATS, Redis, schedulers and workers");
    let options = cluster_options(args)?;
    let mut started = tokio::select! {
        started = StartedCluster::start(&options) => started?,
        _ = signals.next() => return Err(interrupted()),
    };
    let config = client_config(&started)?;
    let measured = measure_at(args, &config, Some(&mut started), &mut signals, output).await;
    let measured = measured.map_err(|failure| {
        let error = started.explain(BenchError {
            kind: BenchErrorKind::Other,
            message: failure.message.clone(),
            help: None,
        });
        Failure { message: error.message, ..failure }
    });
    started.end().await;
    measured
}

/// Connects, measures until the end or a signal, and deletes the streams of the bare loop.
async fn measure_at(
    args: &BenchArgs,
    config: &Config,
    started: Option<&mut StartedCluster>,
    signals: &mut Signals,
    output: &Output,
) -> Result<Figures, Failure> {
    let connections = args.workers.get() + OWN_CONNECTIONS;
    let connecting = (0..connections).map(|_| Client::connect(config, false, output));
    let clients = tokio::select! {
        clients = try_join_all(connecting) => clients?,
        _ = signals.next() => return Err(interrupted()),
    };
    let connections: Vec<_> = clients.iter().map(Client::connection).collect();
    let options = BenchOptions {
        namespace: config.namespace.clone(),
        tools: tools(args),
        runs: args.runs.get(),
        idle_runs: args.lone_runs.get(),
        takeover: args.takeover,
        progress: &|text| output.message(text),
    };
    let measured = tokio::select! {
        measured = Box::pin(longshore_bench::measure(&options, &connections, started)) => measured.map_err(Failure::from),
        _ = signals.next() => Err(interrupted()),
    };
    if let Some(connection) = connections.first() {
        longshore_bench::clear(connection).await;
    }
    join_all(clients.iter().map(Client::close)).await;
    measured
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted before everything was measured")
}

/// Returns the tools to call.
fn tools(args: &BenchArgs) -> Vec<BenchTool> {
    let tool = |ToolTarget { server, tool }: ToolTarget| BenchTool { server, tool };
    let own = |text: &str| text.parse().ok().map(tool);
    match (&args.tool, &args.echo) {
        (Some(target), _) => vec![tool(target.clone())],
        (None, None) => own("noop/echo").into_iter().collect(),
        (None, Some(_)) => ["noop/echo", "stdio/echo"].into_iter().filter_map(own).collect(),
    }
}

/// Returns the options of the cluster to start. Its schedulers and workers are this program.
fn cluster_options(args: &BenchArgs) -> Result<ClusterOptions, Failure> {
    let longshore = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Error, format!("could not find the program itself: {error}")))?;
    Ok(ClusterOptions {
        longshore,
        nats_server: args.nats_server.clone(),
        redis_server: args.redis_server.clone(),
        sync_always: args.sync == SyncMode::Always,
        schedulers: args.schedulers.get(),
        workers: args.workers.get(),
        echo: args.echo.clone(),
        // These variables have precedence over the configuration file of the started cluster, and may name the user's own
        // cluster.
        unset: environment::all().into_keys().filter(|name| is_setting(name)).collect(),
    })
}

/// Returns true if a variable may be a setting of Longshore.
fn is_setting(variable: &str) -> bool {
    ["LONGSHORE_", "NATS_", "REDIS_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Returns the configuration of a client of the started cluster.
fn client_config(started: &StartedCluster) -> Result<Config, Failure> {
    let values = vec![
        (SettingKey::NatsUrl, "--start", started.nats_url()),
        (SettingKey::RedisUrl, "--start", started.redis_url()),
    ];
    Config::load(&CommandLineSettings { file: Some(started.config_file()), values }, &BTreeMap::new())
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let exit = match error.kind {
            BenchErrorKind::Usage => Exit::Usage,
            BenchErrorKind::Unreachable => Exit::Unreachable,
            BenchErrorKind::Other => Exit::Error,
        };
        Self::new(exit, error.message).maybe_help(error.help.map(str::to_owned))
    }
}
