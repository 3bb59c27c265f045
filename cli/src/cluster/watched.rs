//! What others may look at while a process runs: its health and its metrics.

use std::sync::{Arc, OnceLock};

use async_nats::jetstream;
use futures::FutureExt;
use futures::future::BoxFuture;
use longshore_backend::nats::Nats;
use longshore_backend::redis::Redis;
use longshore_proto::{Partition, subject};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::failure::Failure;
use crate::health::{Check, HealthServer};
use crate::metering::{self, Role};

/// NATS and Redis, once they are there.
type Reached = Arc<OnceLock<(Nats, Redis)>>;

/// Answers those who look, for as long as it lives.
pub(super) struct Watched {
    reached: Reached,
    _tasks: JoinSet<()>,
}

impl Watched {
    /// Begins to count and to answer, if the configuration says where. This comes before NATS and Redis are there, so
    /// that a process that waits for them is alive and not ready. From `ending` on it is not ready either.
    pub(super) async fn start(
        config: &Config,
        role: Role,
        ending: CancellationToken,
    ) -> Result<Self, Failure> {
        let (reached, mut tasks) = (Reached::default(), JoinSet::new());
        if let Some(address) = config.metrics_listen {
            let metrics = metering::start(role)?;
            let server = HealthServer::bind(address, checks(&reached), metrics.clone(), ending).await?;
            tasks.spawn(server.run());
            tasks.spawn(metering::upkeep(metrics));
        }
        Ok(Self { reached, _tasks: tasks })
    }

    /// From now on, readiness asks these.
    pub(super) fn reached(&self, nats: &Nats, redis: &Redis) {
        // It is told once; a second time would change nothing.
        let _ = self.reached.set((nats.clone(), redis.clone()));
    }
}

fn checks(reached: &Reached) -> Vec<Check> {
    vec![
        check(reached, "nats", |nats, _| {
            async move { nats.check().map_err(|error| error.to_string()) }.boxed()
        }),
        check(reached, "streams", |nats, _| streams(nats).boxed()),
        check(reached, "redis", |_, redis| {
            async move { redis.ping().await.map_err(|error| error.to_string()) }.boxed()
        }),
    ]
}

/// A check that fails until both are there.
fn check(
    reached: &Reached,
    name: &'static str,
    ask: fn(Nats, Redis) -> BoxFuture<'static, Result<(), String>>,
) -> Check {
    let reached = Arc::clone(reached);
    let ask = move || match reached.get() {
        Some((nats, redis)) => ask(nats.clone(), redis.clone()),
        None => async { Err("not connected yet".to_owned()) }.boxed(),
    };
    Check { name, ask: Box::new(ask) }
}

/// Whether the streams that every process needs can be asked: they exist, and have a leader.
async fn streams(nats: Nats) -> Result<(), String> {
    let context = jetstream::new(nats.client());
    for name in [subject::log_stream(Partition(0)), subject::JOBS_STREAM.to_owned()] {
        context.get_stream(&name).await.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}
