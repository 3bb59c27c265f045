//! `longshore worker`: serves the MCP servers of its servers file.

use std::sync::Arc;
use std::time::Duration;

use longshore_nats::Nats;
use longshore_ports::{WorkerEntry, clock};
use longshore_proto::NodeId;
use longshore_redis::Redis;
use longshore_worker::launcher::Launcher;
use longshore_worker::mcp::ServerPool;
use longshore_worker::{Worker, WorkerConfig, WorkerPresence};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dependencies::Dependencies;
use super::process::Process;
use super::report::reported_problems;
use super::tracked::{tracked, tracked_port};
use super::watched::Watched;
use super::{backend, close, reach};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering::Role;
use crate::node;
use crate::output::Output;
use crate::servers_file::ServersFile;
use crate::signals::Signals;

/// What ending takes beyond the drain: cutting off what is left of it, and telling NATS and Redis.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How long servers may take to close: what a child process gets to end by itself, and some more.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Is a worker until a signal.
pub(crate) async fn worker(config: &Config, output: &Output) -> Result<Exit, Failure> {
    // What is wrong with the servers file is said before anything is waited for.
    let servers = ServersFile::find(&config.servers_source(), output)?.required()?;
    let servers = servers.trusted(output, |line| info!("{line}"))?;
    for (name, reasons) in servers.unusable() {
        warn!(server = %name, "server cannot be used by this worker: {}", reasons.join("; "));
    }
    let pool = Arc::new(ServerPool::new(servers.config()).with_launcher(Launcher::this_program()));
    let mut signals = Signals::listen()?;
    let ending = CancellationToken::new();
    let mut watched = Watched::start(config, Role::Worker, ending.clone()).await?;
    let id = node::name()?;
    let (nats, redis) = tokio::select! {
        reached = reach::both(config, id.as_str(), Role::Worker) => reached?,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    let dependencies = watched.connected(&nats, &redis);
    let process = compose(config, id, &pool, (&nats, &redis), &dependencies, ending);
    let closing = async {
        if timeout(CLOSE_LIMIT, pool.close()).await.is_err() {
            warn!("the MCP servers were not closed in time");
        }
        close(&nats).await;
    };
    process.run(signals, config.drain + END_LIMIT, closing).await
}

fn compose(
    config: &Config,
    id: NodeId,
    pool: &Arc<ServerPool>,
    (nats, redis): (&Nats, &Redis),
    dependencies: &Arc<Dependencies>,
    ending: CancellationToken,
) -> Process {
    let entry = WorkerEntry {
        worker: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock::now(),
        slots: config.slots.get(),
        servers: pool.servers().map(|(server, _)| server.clone()).collect(),
        problems: Vec::new(),
    };
    let problems = {
        let (nats, dependencies) = (nats.clone(), Arc::clone(dependencies));
        Box::new(move || reported_problems(&nats, &dependencies))
    };
    let presence = WorkerPresence::new(tracked_port(redis.catalog(), dependencies), entry, problems);
    let working = WorkerConfig { slots: config.slots, drain: config.drain };
    let backend = tracked(backend(nats, redis), dependencies);
    let worker = Worker::new(backend, Arc::clone(pool), id, working, Some(Arc::new(nats.events())));

    let mut process = Process::new(ending);
    let stop = process.stage();
    process.start("the worker", worker.run(stop.clone()));
    process.start("its presence", presence.run(stop));
    process
}
