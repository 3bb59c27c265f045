//! Health and metrics of a running process.

use std::sync::{Arc, OnceLock};

use longshore_nats::Nats;
use longshore_redis::Redis;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::dependencies::Dependencies;
use super::probes;
use crate::config::Config;
use crate::failure::Failure;
use crate::health::{HealthServer, Readiness};
use crate::metering::{self, ProcessRole};

/// The connection to NATS, once there is one.
type NatsConnection = Arc<OnceLock<Nats>>;

/// The HTTP server for health and metrics, and the probes of the stores. They run until this is dropped.
pub(super) struct Monitoring {
    connected: NatsConnection,
    dependencies: Arc<Dependencies>,
    tasks: JoinSet<()>,
}

impl Monitoring {
    /// Starts metrics and the HTTP server, if the configuration has an address for them. This happens before NATS and Redis
    /// are connected, so that a process that waits for them is alive and not ready. The process is not ready either once
    /// `ending` is cancelled.
    pub(super) async fn start(
        config: &Config,
        role: ProcessRole,
        ending: CancellationToken,
    ) -> Result<Self, Failure> {
        let (connected, mut tasks) = (NatsConnection::default(), JoinSet::new());
        let dependencies = Arc::new(Dependencies::new(role, config.partitions));
        if let Some(address) = config.metrics_listen {
            let metrics = metering::start(role)?;
            dependencies.export_failures();
            let readiness = readiness(&connected, &dependencies);
            let server = HealthServer::bind(address, readiness, metrics.clone(), ending).await?;
            tasks.spawn(server.run());
            tasks.spawn(metering::upkeep(metrics));
        }
        Ok(Self { connected, dependencies, tasks })
    }

    /// Starts the probes of NATS and Redis, and returns the health of the stores.
    pub(super) fn connected(&mut self, nats: &Nats, redis: &Redis) -> Arc<Dependencies> {
        // The connection is set once; setting it again would change nothing.
        let _ = self.connected.set(nats.clone());
        let dependencies = Arc::clone(&self.dependencies);
        self.tasks.spawn(probes::run(nats.clone(), redis.clone(), dependencies));
        Arc::clone(&self.dependencies)
    }
}

/// Returns the function that answers readiness requests from the recorded health, without requests to the stores.
fn readiness(connected: &NatsConnection, dependencies: &Arc<Dependencies>) -> Readiness {
    let (connected, dependencies) = (Arc::clone(connected), Arc::clone(dependencies));
    Box::new(move || match connected.get() {
        Some(nats) => dependencies.verdicts(nats),
        None => vec![("nats and redis".to_owned(), Err("not connected yet".to_owned()))],
    })
}
