//! A scheduler process among others: decides which partitions it leads, and for how long.
//!
//! ```text
//!   every heartbeat:  attend ──► live schedulers ──► share ──► hold leases ──► take over, lead │ stop, release
//! ```
//!
//! A lease only says which scheduler should try to lead; the log says which one leads, and [`Driver`] obeys it. So two holders
//! of a lease for a moment, or an outdated list of schedulers, cost double work and nothing else. A leader continues while the
//! lease store is unavailable, until the log names another leader; only a takeover needs a fresh lease. Each partition has a
//! task of its own: one that fails is started again, and affects no other partition.

mod assignment;
mod local_partition;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longshore_ports::{Backend, Error, ErrorCause, Lease, RunUpdates, outage};
use longshore_proto::{NodeId, Partition, Retention};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::backpressure::Backpressure;
use crate::driver::{Driver, LeadershipEnd};
use crate::log_follower::DriverError;
use local_partition::LocalPartition;
pub use local_partition::PendingTakeover;

/// Heartbeats within the lifetime of a lease. One that is late or lost changes nothing.
const HEARTBEATS: u32 = 3;

/// Interval in which the node asks for a lease that another scheduler holds. A partition that changes hands in order waits as
/// long.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Time for drivers to write their last checkpoints. Shorter than the lifetime of the leases.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Key of the outage log.
const LIST_SCHEDULERS: &str = "list live schedulers";

/// Settings that all schedulers of a cluster share.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// Number of partitions.
    pub partitions: u16,
    /// Lifetime of a lease, and of a scheduler's entry in the list of live schedulers, unless they are renewed. Both are
    /// renewed three times as often. The partitions of a scheduler that was killed are taken over within this time and a third
    /// more.
    pub ttl: Duration,
    /// Retention of finished runs in all partitions together.
    pub retention: Retention,
}

impl Default for NodeConfig {
    /// Returns the defaults. 8 partitions are enough for 8 schedulers, and mean few streams for a small broker. A time to live of
    /// 6 seconds is longer than a pause of a busy machine, and short for a person who waits for a run.
    fn default() -> Self {
        Self { partitions: 8, ttl: Duration::from_secs(6), retention: Retention::default() }
    }
}

/// The partitions of a scheduler process, and their leaders.
pub struct Node {
    shared: Arc<LeaderContext>,
    lease: Arc<dyn Lease>,
    config: NodeConfig,
    /// The partitions that this node should lead.
    share: BTreeSet<Partition>,
    partitions: BTreeMap<Partition, LocalPartition>,
    tasks: JoinSet<Result<LeadershipEnd, DriverError>>,
    next_heartbeat: Instant,
    /// The lease store answered at the last heartbeat.
    is_store_available: bool,
    takeovers: watch::Sender<PendingTakeovers>,
}

/// The partitions that a scheduler should lead and does not lead.
pub type PendingTakeovers = BTreeMap<Partition, PendingTakeover>;

/// Context that the tasks of all leaders share.
struct LeaderContext {
    backend: Backend,
    id: NodeId,
    updates: Arc<dyn RunUpdates>,
    led: watch::Sender<BTreeSet<Partition>>,
    /// Retention of one partition.
    retention: Retention,
    backpressure: Backpressure,
}

impl Node {
    /// Creates the node `id`. It leads nothing before [`Self::run`].
    pub fn new(
        backend: Backend,
        lease: Arc<dyn Lease>,
        id: NodeId,
        config: NodeConfig,
        updates: Arc<dyn RunUpdates>,
    ) -> Self {
        let led = watch::Sender::default();
        let retention = config.retention.per_partition(config.partitions);
        let backpressure = Backpressure::default();
        Self {
            shared: Arc::new(LeaderContext { backend, id, updates, led, retention, backpressure }),
            lease,
            config,
            share: BTreeSet::new(),
            partitions: (0..config.partitions)
                .map(|number| (Partition(number), LocalPartition::new()))
                .collect(),
            tasks: JoinSet::new(),
            next_heartbeat: Instant::now(),
            is_store_available: false,
            takeovers: watch::Sender::default(),
        }
    }

    /// Returns the backpressure of the partitions that this node leads, for ingest.
    pub fn backpressure(&self) -> Backpressure {
        self.shared.backpressure.clone()
    }

    /// Returns the partitions that this node leads now.
    pub fn led(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.shared.led.subscribe()
    }

    /// Returns the partitions whose lease this node holds without leading them.
    pub fn takeovers(&self) -> watch::Receiver<PendingTakeovers> {
        self.takeovers.subscribe()
    }

    /// Leads its share of the partitions until `stop`. Then it writes the last checkpoints and releases the leases, which takes
    /// some seconds at most.
    pub async fn run(mut self, stop: CancellationToken) {
        info!(node = %self.shared.id, partitions = self.config.partitions, "scheduler started");
        loop {
            let wake = self.wake_at();
            tokio::select! { biased;
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => self.note_end_of_task(ended),
                // A stop in between loses nothing: leases that were taken expire.
                () = sleep_until(wake) => drop(stop.run_until_cancelled(self.reconcile()).await),
            }
            self.publish_takeovers();
        }
        self.drain().await;
    }

    fn heartbeat_interval(&self) -> Duration {
        self.config.ttl / HEARTBEATS
    }

    /// Returns the time of the next step: the next heartbeat, or sooner if a partition changes hands.
    fn wake_at(&self) -> Instant {
        let is_unled = |partition| self.partitions.get(partition).is_some_and(|local| !local.is_led());
        let waits = self.share.iter().any(is_unled);
        let releases = self.partitions.iter().any(|(partition, local)| self.is_unused(*partition, local));
        if self.is_store_available && (waits || releases) {
            self.next_heartbeat.min(Instant::now() + ASK_INTERVAL)
        } else {
            self.next_heartbeat
        }
    }

    /// Returns true if the lease of a partition is held although the node neither leads it nor should.
    fn is_unused(&self, partition: Partition, local: &LocalPartition) -> bool {
        local.renewed_at.is_some() && !local.is_led() && !self.share.contains(&partition)
    }

    /// Brings leases and leaders closer to the share of this node.
    async fn reconcile(&mut self) {
        let is_heartbeat = Instant::now() >= self.next_heartbeat;
        if is_heartbeat {
            self.next_heartbeat = Instant::now() + self.heartbeat_interval();
            self.announce_scheduler().await;
        }
        self.hold_leases(is_heartbeat).await;
        self.stop_surplus().await;
        self.take_over_free();
    }

    /// Renews the entry in the list of live schedulers, and computes the share from the list.
    async fn announce_scheduler(&mut self) {
        let LeaderContext { id, .. } = &*self.shared;
        let live =
            within(self.heartbeat_interval(), self.lease.announce_scheduler(id, self.config.ttl)).await;
        let was_available = std::mem::replace(&mut self.is_store_available, live.is_ok());
        match live {
            // Keeps its share: the list may be empty after an outage, until all schedulers are in it again.
            Ok(_) if !was_available && !self.share.is_empty() => {
                outage::record_success(LIST_SCHEDULERS);
                info!("the list of live schedulers is available again; using it from the next heartbeat on");
            }
            Ok(live) => {
                let share = assignment::share(&live, id, self.config.partitions);
                if share != self.share {
                    info!(node = %id, live = live.len(), share = share.len(), "the share of partitions has changed");
                    self.share = share;
                }
            }
            Err(error) if outage::record_failure(LIST_SCHEDULERS) => {
                warn!(%error, "cannot list live schedulers; keeping the current share");
            }
            Err(error) => debug!(%error, "cannot list live schedulers"),
        }
    }

    /// Asks for the leases of the share, and renews held leases at a heartbeat.
    async fn hold_leases(&mut self, is_heartbeat: bool) {
        let is_due = |partition: &Partition, local: &LocalPartition| match local.renewed_at {
            None => self.share.contains(partition),
            Some(_) => is_heartbeat && !self.is_unused(*partition, local),
        };
        let due: Vec<Partition> = self
            .partitions
            .iter()
            .filter(|(partition, local)| is_due(partition, local))
            .map(|(partition, _)| *partition)
            .collect();
        let (lease, id, ttl) = (&self.lease, &self.shared.id, self.config.ttl);
        let limit = self.heartbeat_interval();
        let asked_at = Instant::now();
        let answers =
            join_all(due.iter().map(|partition| within(limit, lease.hold(*partition, id, ttl)))).await;
        for (partition, answer) in due.into_iter().zip(answers) {
            let Some(local) = self.partitions.get_mut(&partition) else { continue };
            match answer {
                Ok(true) => local.renewed_at = Some(asked_at),
                Ok(false) if local.renewed_at.is_some() => {
                    warn!(%partition, "another scheduler holds the lease now; no longer leading");
                    local.note_lost_lease();
                }
                Ok(false) => {}
                Err(error) if local.note_expiry(ttl) => {
                    warn!(%partition, %error, "the lease has expired; leading on until the log names another leader");
                }
                Err(error) => debug!(%partition, %error, "lease not renewed"),
            }
        }
    }

    /// Stops leaders outside of the share, and releases the leases of those that have ended.
    async fn stop_surplus(&mut self) {
        for (partition, local) in &self.partitions {
            if !self.share.contains(partition) {
                local.stop();
            }
        }
        let unused: Vec<Partition> = self
            .partitions
            .iter()
            .filter(|(partition, local)| self.is_unused(**partition, local))
            .map(|(partition, _)| *partition)
            .collect();
        self.release(&unused).await;
    }

    /// Releases leases. A lease that cannot be released expires.
    async fn release(&mut self, partitions: &[Partition]) {
        let (lease, id, limit) = (&self.lease, &self.shared.id, self.heartbeat_interval());
        let released =
            join_all(partitions.iter().map(|partition| within(limit, lease.release(*partition, id)))).await;
        for (partition, released) in partitions.iter().zip(released) {
            if let Err(error) = released {
                warn!(%partition, %error, "lease not released; it expires");
            }
            if let Some(local) = self.partitions.get_mut(partition) {
                local.renewed_at = None;
            }
        }
    }

    /// Starts leaders for partitions of the share that have none.
    fn take_over_free(&mut self) {
        let ttl = self.config.ttl;
        for partition in &self.share {
            let local = self.partitions.get_mut(partition).filter(|local| local.can_be_taken_over(ttl));
            let Some(local) = local else { continue };
            let stop = CancellationToken::new();
            let task = self.tasks.spawn(lead(Arc::clone(&self.shared), *partition, stop.clone()));
            local.set_leader(task, stop);
        }
    }

    /// Publishes the takeovers that are not complete.
    fn publish_takeovers(&mut self) {
        let led = self.shared.led.borrow().clone();
        let pending = self.partitions.iter_mut().filter_map(|(partition, local)| {
            Some((*partition, local.pending_takeover(led.contains(partition))?))
        });
        let pending: PendingTakeovers = pending.collect();
        self.takeovers.send_if_modified(|published| {
            let is_changed = *published != pending;
            *published = pending;
            is_changed
        });
    }

    /// Notes that the task of a leader has ended.
    fn note_end_of_task(&mut self, ended: Result<(Id, Result<LeadershipEnd, DriverError>), JoinError>) {
        let (id, reason, failure) = match ended {
            Ok((id, Ok(ended))) => (id, format!("{ended:?}"), None),
            Ok((id, Err(error))) => (id, error.to_string(), Some(error)),
            Err(error) => (error.id(), error.to_string(), None),
        };
        let found = self.partitions.iter_mut().find(|(_, local)| local.is_task(id));
        let Some((partition, local)) = found else { return };
        if let Some(error) = failure {
            local.note_failure(&error);
            if error.cause() == ErrorCause::Damaged {
                error!(%partition, %error, "the log is damaged");
            }
        }
        if let Some(pause) = local.note_end_of_leader() {
            warn!(%partition, reason, ?pause, "no longer leading; taking over again after a pause");
        }
    }

    /// Stops all leaders within [`DRAIN_LIMIT`], releases the leases, and leaves the list of live schedulers.
    async fn drain(mut self) {
        self.partitions.values().for_each(LocalPartition::stop);
        let drained = timeout(DRAIN_LIMIT, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!("last checkpoints not written in time; the next leaders replay a little more");
            self.tasks.shutdown().await;
        }
        let held: Vec<Partition> = self
            .partitions
            .iter()
            .filter(|(_, local)| local.renewed_at.is_some())
            .map(|(partition, _)| *partition)
            .collect();
        self.release(&held).await;
        let left = within(self.heartbeat_interval(), self.lease.withdraw_scheduler(&self.shared.id)).await;
        if let Err(error) = left {
            warn!(%error, "cannot leave the list of live schedulers; the entry expires");
        }
        info!(node = %self.shared.id, "scheduler stopped");
    }
}

/// Takes a partition over and leads it.
async fn lead(
    context: Arc<LeaderContext>,
    partition: Partition,
    stop: CancellationToken,
) -> Result<LeadershipEnd, DriverError> {
    let (backend, updates) = (context.backend.clone(), Arc::clone(&context.updates));
    let taking_over = Driver::take_over(backend, partition, context.id.clone(), updates, context.retention);
    let Some(driver) = stop.run_until_cancelled(taking_over).await else {
        return Ok(LeadershipEnd::Stopped);
    };
    let mut driver = driver?;
    driver.report_to(&context.backpressure);
    let _guard = LedGuard::new(&context.led, partition);
    driver.lead(stop).await
}

/// Counts a partition as led until it is dropped, however the task of the leader ends.
struct LedGuard<'a> {
    led: &'a watch::Sender<BTreeSet<Partition>>,
    partition: Partition,
}

impl<'a> LedGuard<'a> {
    fn new(led: &'a watch::Sender<BTreeSet<Partition>>, partition: Partition) -> Self {
        led.send_modify(|led| _ = led.insert(partition));
        Self { led, partition }
    }
}

impl Drop for LedGuard<'_> {
    fn drop(&mut self) {
        self.led.send_modify(|led| _ = led.remove(&self.partition));
    }
}

/// Waits for an answer of the lease store, at most until the next heartbeat.
async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |elapsed| Err(Error::transient("ask for a lease", elapsed));
    timeout(limit, answer).await.unwrap_or_else(late)
}
