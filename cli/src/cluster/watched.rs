//! What others may look at while a process runs: its health and its metrics.

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
use crate::metering::{self, Role};

/// The connection to NATS, once there is one.
type Connected = Arc<OnceLock<Nats>>;

/// Answers those who look, and asks the stores, for as long as it lives.
pub(super) struct Watched {
    connected: Connected,
    dependencies: Arc<Dependencies>,
    tasks: JoinSet<()>,
}

impl Watched {
    /// Begins to count and to answer, if the configuration says where. This comes before NATS and Redis are there, so
    /// that a process that waits for them is alive and not ready. From `ending` on it is not ready either.
    pub(super) async fn start(
        config: &Config,
        role: Role,
        ending: CancellationToken,
    ) -> Result<Self, Failure> {
        let (connected, mut tasks) = (Connected::default(), JoinSet::new());
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

    /// Begins to ask NATS and Redis, and returns what is known about them.
    pub(super) fn connected(&mut self, nats: &Nats, redis: &Redis) -> Arc<Dependencies> {
        // It is set once; a second time would change nothing.
        let _ = self.connected.set(nats.clone());
        let dependencies = Arc::clone(&self.dependencies);
        self.tasks.spawn(probes::run(nats.clone(), redis.clone(), dependencies));
        Arc::clone(&self.dependencies)
    }
}

/// Says what can be used, from what is known: looking at it asks nothing of the stores.
fn readiness(connected: &Connected, dependencies: &Arc<Dependencies>) -> Readiness {
    let (connected, dependencies) = (Arc::clone(connected), Arc::clone(dependencies));
    Box::new(move || match connected.get() {
        Some(nats) => dependencies.verdicts(nats),
        None => vec![("nats and redis".to_owned(), Err("not connected yet".to_owned()))],
    })
}
