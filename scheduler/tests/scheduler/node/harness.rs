//! Several schedulers in one process, with one data directory, one lease store, and a worker.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::{Access, Embedded, RunWatchers};
use longshore_ports::{Backend, Error, Lease};
use longshore_proto::{NodeId, Partition, RunId, RunStatus};
use longshore_scheduler::{Intake, Node, NodeConfig, SubmitRequest};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::worker::{output, settled};

/// Far longer than any step of a test takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const PARTITIONS: u16 = 8;

const WORKFLOW: &str = "longshore: v1
name: chain
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t }
";

/// Lease store in memory, with a clock that may be paused.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<BTreeMap<Partition, (NodeId, Instant)>>,
    live: Mutex<BTreeMap<NodeId, Instant>>,
    /// The store does not answer.
    pub(crate) is_away: AtomicBool,
}

#[async_trait]
impl Lease for Leases {
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error> {
        self.check_available()?;
        let (mut held, now) = (self.held.lock().expect("no panic"), Instant::now());
        if held.get(&partition).is_some_and(|(other, until)| other != holder && *until > now) {
            return Ok(false);
        }
        held.insert(partition, (holder.clone(), now + ttl));
        Ok(true)
    }

    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error> {
        self.check_available()?;
        self.held.lock().expect("no panic").retain(|at, (other, _)| *at != partition || other != holder);
        Ok(())
    }

    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error> {
        self.check_available()?;
        let (mut live, now) = (self.live.lock().expect("no panic"), Instant::now());
        live.insert(node.clone(), now + ttl);
        live.retain(|_, until| *until > now);
        Ok(live.keys().cloned().collect())
    }

    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error> {
        self.check_available()?;
        self.live.lock().expect("no panic").remove(node);
        Ok(())
    }
}

impl Leases {
    /// Gives a lease to another holder, as a store does that lost the current one.
    pub(crate) fn give(&self, partition: Partition, to: &str, ttl: Duration) {
        let to = to.parse().expect("a node");
        self.held.lock().expect("no panic").insert(partition, (to, Instant::now() + ttl));
    }

    fn check_available(&self) -> Result<(), Error> {
        if self.is_away.load(Ordering::Relaxed) {
            Err(Error::transient("ask for a lease", "away"))
        } else {
            Ok(())
        }
    }

    /// Removes all leases and live schedulers.
    pub(crate) fn clear(&self) {
        self.held.lock().expect("no panic").clear();
        self.live.lock().expect("no panic").clear();
    }

    /// Waits until every lease has a holder.
    pub(crate) async fn all_held(&self) {
        let held = async {
            while self.held().len() < usize::from(PARTITIONS) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, held).await.expect("in time");
    }

    /// Returns the holder of each lease.
    pub(crate) fn held(&self) -> Vec<(Partition, NodeId)> {
        let held = self.held.lock().expect("no panic");
        held.iter().map(|(partition, (node, _))| (*partition, node.clone())).collect()
    }
}

/// A data directory, a lease store, a worker, and any number of schedulers.
pub(crate) struct Cluster {
    _dir: TempDir,
    embedded: Embedded,
    pub(crate) backend: Backend,
    pub(crate) leases: Arc<Leases>,
    intake: Intake,
    tasks: JoinSet<()>,
}

/// A scheduler of the cluster.
pub(crate) struct Scheduler {
    pub(crate) led: watch::Receiver<BTreeSet<Partition>>,
    pub(crate) stop: CancellationToken,
    task: AbortHandle,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().expect("a folder");
        let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
        let backend = embedded.backend();
        let mut tasks = JoinSet::new();
        tasks.spawn(work(backend.clone()));
        let intake = Intake::new(backend.clone(), PARTITIONS);
        Self { _dir: dir, embedded, backend, leases: Arc::default(), intake, tasks }
    }

    pub(crate) fn scheduler(&mut self, name: &str, ttl: Duration) -> Scheduler {
        self.scheduler_on(self.backend.clone(), name, ttl)
    }

    pub(crate) fn scheduler_on(&mut self, backend: Backend, name: &str, ttl: Duration) -> Scheduler {
        let config = NodeConfig { partitions: PARTITIONS, ttl, ..NodeConfig::default() };
        let id = name.parse().expect("a node");
        let node = Node::new(backend, self.leases.clone(), id, config, Arc::new(RunWatchers::default()));
        let (led, stop) = (node.led(), CancellationToken::new());
        let task = self.tasks.spawn(node.run(stop.clone()));
        Scheduler { led, stop, task }
    }

    /// Submits runs in random partitions.
    pub(crate) async fn submit(&self, count: usize) -> Vec<RunId> {
        let plan = self.intake.register(WORKFLOW).await.expect("registers");
        let mut runs = Vec::new();
        for _ in 0..count {
            let namespace = "default".parse().expect("a namespace");
            let request = SubmitRequest::new(namespace, plan.name.clone(), Map::new());
            runs.push(self.intake.submit(self.intake.draw_id(), &plan, request).await.expect("submits"));
        }
        runs
    }

    /// Waits until all runs have succeeded.
    pub(crate) async fn all_succeed(&self, runs: &[RunId]) {
        for run in runs {
            let succeeded = async {
                loop {
                    let row = self.backend.checkpoints.run(*run).await.expect("reads");
                    match row.map(|row| row.summary.status) {
                        Some(RunStatus::Succeeded) => return,
                        Some(status) if status.is_terminal() => panic!("{run} {status}"),
                        // The next checkpoint is due within 100 ms.
                        _ => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            };
            timeout(LIMIT, succeeded).await.unwrap_or_else(|_| panic!("{run} has not ended"));
        }
    }

    pub(crate) async fn end(mut self) {
        self.tasks.shutdown().await;
        self.embedded.close().await;
    }
}

impl Scheduler {
    /// Waits until the partitions that it leads fit, and returns them.
    pub(crate) async fn until(&mut self, fits: impl Fn(&BTreeSet<Partition>) -> bool) -> BTreeSet<Partition> {
        let led = timeout(LIMIT, self.led.wait_for(|led| fits(led))).await;
        led.expect("in time").expect("the scheduler lives").clone()
    }

    pub(crate) async fn leads(&mut self, count: usize) -> BTreeSet<Partition> {
        self.until(|led| led.len() == count).await
    }

    /// Waits until this scheduler and another one lead half of all partitions each. Before that, each may lead as many as the
    /// other and still not all of them.
    pub(crate) async fn halves(&mut self, other: &mut Self) {
        let shared = async {
            loop {
                let (ours, theirs) =
                    (self.led.borrow_and_update().clone(), other.led.borrow_and_update().clone());
                if ours.len() == theirs.len() && ours.union(&theirs).count() == usize::from(PARTITIONS) {
                    return;
                }
                tokio::select! {
                    changed = self.led.changed() => changed.expect("the scheduler lives"),
                    changed = other.led.changed() => changed.expect("the scheduler lives"),
                }
            }
        };
        timeout(LIMIT, shared).await.expect("in time");
    }

    /// Ends as a killed process does: without a last checkpoint, and without releasing leases.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    /// Stops the scheduler and waits for its end.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        let ended = async {
            while !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, ended).await.expect("in time");
    }
}

/// Runs a worker that settles every job at once.
async fn work(backend: Backend) {
    let server = "s".parse().expect("a server");
    loop {
        let some = NonZeroUsize::new(16).expect("not zero");
        for delivery in backend.jobs.pull(&server, some, LIMIT).await.expect("pulls") {
            let id = delivery.job.id.clone();
            let event = settled(id.clone(), output(json!(1)));
            backend.log.append(id.run.partition(), &[event]).await.expect("appends");
            delivery.receipt.ack().await.expect("acks");
        }
    }
}
