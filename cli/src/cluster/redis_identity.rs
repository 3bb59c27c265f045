//! Check that all processes of a cluster use the same Redis.
//!
//! Leases, checkpoints and claims are in Redis. If processes use two of them, or two prefixes of one, partitions have two
//! leaders, which take turns, and calls with a key of their own may be made twice. Schedulers report the identity of the data in
//! their Redis by their service statistics. A process compares it when it starts and while it runs.
//!
//! A Redis that loses its data gets a new identity, which all its processes read within seconds. So a difference counts
//! only if it lasts, and an identity only if it was read recently.

use std::sync::Arc;
use std::time::Duration;

use longshore_nats::Nats;
use longshore_ports::{ErrorCause, outage};
use longshore_redis::Redis;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dependencies::Dependencies;
use super::dependency::ProbeFailure;
use super::statistics;
use crate::config::{Config, SettingKey};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering::ProcessRole;

/// Duration for which a difference must last at the start of a process. It is longer than an identity counts.
const CONFIRMED: Duration = Duration::from_secs(15);

/// Interval of the comparisons while a process runs.
const INTERVAL: Duration = Duration::from_secs(5);

/// Pause between the comparisons of a process that starts and has found a difference.
const PAUSE: Duration = Duration::from_secs(1);

/// Time that schedulers get to answer.
const COLLECTED: Duration = Duration::from_millis(200);

/// Key of the outage log.
const OUTAGE: &str = "same redis";

/// Advice against two different ones.
pub(super) const ADVICE: &str = "give all schedulers and workers the same `redis.url` and `redis.prefix`; to move them to another Redis, end \
     all of them first";

/// The comparison of a process's Redis with those of the running schedulers.
pub(super) struct RedisComparison {
    nats: Nats,
    redis: Redis,
    dependencies: Arc<Dependencies>,
    /// Advice if they differ, with the origin of the setting.
    help: String,
    /// The process may be right if a later comparison finds a difference: it is a scheduler, which schedulers that start
    /// later have to agree with, or a scheduler has agreed with it.
    is_accepted: bool,
}

impl RedisComparison {
    /// Compares before the process begins its work.
    ///
    /// # Errors
    /// If a scheduler uses another Redis, for longer than a Redis that lost its data needs to be known to all.
    pub(super) async fn start(
        (nats, redis): (&Nats, &Redis),
        dependencies: &Arc<Dependencies>,
        config: &Config,
        role: ProcessRole,
    ) -> Result<Self, Failure> {
        let origin = config.origin(SettingKey::RedisUrl);
        let mut comparison = Self {
            nats: nats.clone(),
            redis: redis.clone(),
            dependencies: Arc::clone(dependencies),
            help: format!("{ADVICE}; `{}` comes from: {origin}", SettingKey::RedisUrl.name()),
            is_accepted: role == ProcessRole::Scheduler,
        };
        comparison.require_same().await?;
        Ok(comparison)
    }

    /// Compares until `stop`, and records the results: a difference makes the process unready.
    ///
    /// # Errors
    /// If the process was never accepted, and the first schedulers that answer use another Redis. It must end then.
    pub(super) async fn follow(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let following = async {
            loop {
                ticks.tick().await;
                match self.compare().await {
                    Ok(is_same) => self.record_same(is_same),
                    Err(reason) => {
                        let failure = ProbeFailure::new(ErrorCause::Other, reason.as_str());
                        self.dependencies.same_redis.probe_failed(&failure);
                        if !self.is_accepted {
                            self.require_same().await?;
                        } else if outage::record_failure(OUTAGE) {
                            warn!("{reason}; {ADVICE}");
                        }
                    }
                }
            }
        };
        stop.run_until_cancelled(following).await.unwrap_or(Ok(()))
    }

    /// Compares until there is no difference, and fails if one lasts. Schedulers that are too busy to answer do not end a difference
    /// that was just seen.
    async fn require_same(&mut self) -> Result<(), Failure> {
        let mut differs_since: Option<Instant> = None;
        loop {
            self.dependencies.redis_identity.read(&self.redis).await;
            let reason = match self.compare().await {
                Ok(false) if differs_since.is_some_and(|since| since.elapsed() < CONFIRMED) => {
                    sleep(PAUSE).await;
                    continue;
                }
                Ok(is_same) => {
                    self.record_same(is_same);
                    return Ok(());
                }
                Err(reason) => reason,
            };
            let since = *differs_since.get_or_insert_with(|| {
                warn!("{reason}; comparing again");
                Instant::now()
            });
            if since.elapsed() >= CONFIRMED {
                return Err(Failure::new(Exit::Denied, reason).help(self.help.as_str()));
            }
            sleep(PAUSE).await;
        }
    }

    fn record_same(&mut self, is_same: bool) {
        self.is_accepted |= is_same;
        self.dependencies.same_redis.succeeded();
        if outage::record_success(OUTAGE).is_some() {
            info!("all schedulers that answer use the same Redis as this process again");
        }
    }

    /// Compares with the running schedulers. Returns true if one of them uses the same Redis. The error describes the
    /// difference.
    async fn compare(&self) -> Result<bool, String> {
        // Accounts of an earlier version lack the permission, and each request without it is a warning.
        if self.nats.denies(statistics::SUBJECT) {
            return Ok(false);
        }
        let schedulers = statistics::schedulers(&self.nats.client(), COLLECTED).await;
        let Some(own) = self.dependencies.redis_identity.current() else { return Ok(false) };
        let reported: Vec<_> = schedulers
            .iter()
            .filter_map(|scheduler| Some((&scheduler.node, scheduler.redis.as_ref()?)))
            .collect();
        match reported.iter().find(|(_, redis)| redis.data != own.data) {
            None => Ok(!reported.is_empty()),
            Some((node, other)) => Err(format!(
                "this process uses Redis at {own}, and scheduler {node} uses another one at {other}, so partitions could have two \
                 leaders, and calls with an `idempotency-key` could be made twice"
            )),
        }
    }
}
