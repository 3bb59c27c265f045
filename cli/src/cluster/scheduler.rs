//! `longshore scheduler`: accepts submits, leads its share of the partitions, answers requests, and publishes run updates.

use std::sync::Arc;
use std::time::Duration;

use longshore_nats::{self as nats, Nats, ServiceReport};
use longshore_proto::NodeId;
use longshore_redis::Redis;
use longshore_scheduler::{Ingest, Node, NodeConfig, RequestHandlers, SubmitHandler};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::dependencies::Dependencies;
use super::monitoring::Monitoring;
use super::process::ProcessTasks;
use super::redis_identity::RedisComparison;
use super::report::reporter;
use super::tracked::{tracked, tracked_port};
use super::{backend, close, connect, gauges, takeovers};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering::ProcessRole;
use crate::node;
use crate::signals::Signals;

/// Deadline of a shutdown. Accepting submits and requests ends within two seconds and the last checkpoints within five;
/// leases and pending updates take little more.
const END_LIMIT: Duration = Duration::from_secs(15);

/// Runs a scheduler until a signal.
pub(crate) async fn scheduler(config: &Config) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let ending = CancellationToken::new();
    let mut monitoring = Monitoring::start(config, ProcessRole::Scheduler, ending.clone()).await?;
    let id = node::name()?;
    let (nats, redis) = tokio::select! {
        reached = connect::both(config, id.as_str(), ProcessRole::Scheduler) => reached?,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    let dependencies = monitoring.connected(&nats, &redis);
    let comparing = RedisComparison::start((&nats, &redis), &dependencies, config, ProcessRole::Scheduler);
    let comparison = tokio::select! {
        started = comparing => started?,
        _ = signals.next() => return Ok(Exit::Interrupted),
    };
    longshore_scheduler::export_zero_counters();
    longshore_scheduler::export_log_counters(config.partitions);
    let mut process = compose(config, id, (&nats, &redis), &dependencies, ending);
    let stop = process.stage();
    process.start_check("the comparison of Redis", comparison.follow(stop));
    process.run(signals, END_LIMIT, close(&nats)).await
}

/// Starts the tasks of a scheduler. The tasks that accept work end first, then leadership.
fn compose(
    config: &Config,
    id: NodeId,
    (nats, redis): (&Nats, &Redis),
    dependencies: &Arc<Dependencies>,
    ending: CancellationToken,
) -> ProcessTasks {
    let backend = tracked(backend(nats, redis), dependencies);
    let dead_letters = tracked_port(nats.dead_letters(), dependencies);
    let submits =
        SubmitHandler::new(backend.clone(), nats.workflows(), redis.submit_ids(), config.partitions);
    let submits = Arc::new(submits.with_live_limit(config.live_runs));
    let handlers =
        RequestHandlers::new(backend.clone(), Arc::clone(&submits), redis.catalog(), dead_letters.clone());
    let updates = Arc::new(nats.events());
    let node_config =
        NodeConfig { partitions: config.partitions, retention: config.retention, ..NodeConfig::default() };
    let node =
        Node::new(backend, tracked_port(redis.lease(), dependencies), id.clone(), node_config, updates);
    let led = node.led();
    let submissions = tracked_port(nats.submissions(), dependencies);
    let ingest = Ingest::new(submits, submissions, dead_letters, node.backpressure());
    let takeovers = node.takeovers();
    let leadership = (led.clone(), takeovers.clone());
    let report = reporter(nats.clone(), &id, leadership, Arc::clone(dependencies));

    let mut process = ProcessTasks::new(ending);
    let stop = process.stage();
    process.start("the intake of submits", ingest.run(stop.clone()));
    process.start("the request service", serve(nats.client(), Arc::new(handlers), report, stop));
    let stop = process.stage();
    process.start("leadership", node.run(stop.clone()));
    process.start("the count of partitions", gauges::led(config.partitions, led.clone(), stop.clone()));
    let recording = takeovers::record(takeovers, Arc::clone(dependencies), stop.clone());
    process.start("the record of takeovers", recording);
    let measuring = gauges::waiting(nats.clone(), led, Arc::clone(dependencies), stop);
    process.start("the measurement of queues", measuring);
    process
}

async fn serve(
    client: async_nats::Client,
    handlers: Arc<RequestHandlers>,
    report: ServiceReport,
    stop: CancellationToken,
) {
    if let Err(error) = nats::serve(client, handlers, report, stop).await {
        error!(%error, "cannot serve requests");
    }
}
