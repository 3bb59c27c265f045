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
use super::monitoring::Monitoring;
use super::process::ProcessTasks;
use super::redis_identity::RedisComparison;
use super::report::reported_problems;
use super::tracked::{tracked, tracked_port};
use super::{backend, close, connect, worker_entries};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering::ProcessRole;
use crate::node;
use crate::output::Output;
use crate::servers_file::ServersFile;
use crate::signals::Signals;

/// Time beyond the drain that a shutdown may take: calls are cut off, and results are reported to NATS and Redis.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Time that MCP servers get to close. It is longer than a child process gets to end by itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Runs a worker until a signal.
pub(crate) async fn worker(config: &Config, output: &Output) -> Result<Exit, Failure> {
    // Problems of the servers file are reported before any connection is waited for.
    let servers = ServersFile::find(&config.servers_source(), output)?.required()?;
    let servers = servers.trusted(output, |line| info!("{line}"))?;
    for (name, reasons) in servers.unusable() {
        warn!(server = %name, "server cannot be used by this worker: {}", reasons.join("; "));
    }
    let pool = Arc::new(ServerPool::new(servers.config()).with_launcher(Launcher::this_program()));
    let mut signals = Signals::listen()?;
    let ending = CancellationToken::new();
    let mut monitoring = Monitoring::start(config, ProcessRole::Worker, ending.clone()).await?;
    let id = node::name()?;
    let (nats, redis) = tokio::select! {
        reached = connect::both(config, id.as_str(), ProcessRole::Worker) => reached?,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    let dependencies = monitoring.connected(&nats, &redis);
    let comparing = RedisComparison::start((&nats, &redis), &dependencies, config, ProcessRole::Worker);
    let comparison = tokio::select! {
        started = comparing => started?,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    let mut process = compose(config, id, &pool, (&nats, &redis), &dependencies, ending);
    let stop = process.stage();
    process.start_check("the comparison of Redis", comparison.follow(stop));
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
) -> ProcessTasks {
    let entry = WorkerEntry {
        worker: id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock::now(),
        slots: config.slots.get(),
        servers: pool.servers().map(|(server, _)| server.clone()).collect(),
        problems: Vec::new(),
    };
    let current_entry = {
        let (nats, dependencies) = (nats.clone(), Arc::clone(dependencies));
        Arc::new(move || WorkerEntry { problems: reported_problems(&nats, &dependencies), ..entry.clone() })
    };
    let listed_entry = Arc::clone(&current_entry);
    let presence = WorkerPresence::new(
        tracked_port(redis.catalog(), dependencies),
        id.clone(),
        Box::new(move || listed_entry()),
    );
    let worker_config = WorkerConfig { slots: config.slots, drain: config.drain };
    let backend = tracked(backend(nats, redis), dependencies);
    let worker = Worker::new(backend, Arc::clone(pool), id, worker_config, Some(Arc::new(nats.events())));
    dependencies.observe_jobs(worker.waits());

    let mut process = ProcessTasks::new(ending);
    let stop = process.stage();
    process.start("the worker", worker.run(stop.clone()));
    process.start("the entry in the list of workers", presence.run(stop.clone()));
    process.start("answers to doctor", worker_entries::answer(nats.client(), move || current_entry(), stop));
    process
}
