//! Several schedulers in one process, on one data directory, with one store of leases; and a worker that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::{Access, Embedded};
use longshore_ports::{Backend, Error, Lease};
use longshore_proto::{
    Attempt, AttemptRecord, Event, NodeId, Outcome, Output, Partition, RunId, RunStatus, Sent, Settlement,
    Timestamp,
};
use longshore_scheduler::{Intake, Node, NodeConfig, Submission, Watchers};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const PARTITIONS: u16 = 8;

const WORKFLOW: &str = "longshore: v1
name: chain
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t }
";

/// Leases kept in memory, with a clock that may be paused.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<BTreeMap<Partition, (NodeId, Instant)>>,
    there: Mutex<BTreeMap<NodeId, Instant>>,
    /// Whether it does not answer.
    pub(crate) away: AtomicBool,
}

#[async_trait]
impl Lease for Leases {
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error> {
        self.answers()?;
        let (mut held, now) = (self.held.lock().expect("unharmed"), Instant::now());
        if held.get(&partition).is_some_and(|(other, until)| other != holder && *until > now) {
            return Ok(false);
        }
        held.insert(partition, (holder.clone(), now + ttl));
        Ok(true)
    }

    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error> {
        self.answers()?;
        self.held.lock().expect("unharmed").retain(|at, (other, _)| *at != partition || other != holder);
        Ok(())
    }

    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error> {
        self.answers()?;
        let (mut there, now) = (self.there.lock().expect("unharmed"), Instant::now());
        there.insert(node.clone(), now + ttl);
        there.retain(|_, until| *until > now);
        Ok(there.keys().cloned().collect())
    }

    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error> {
        self.answers()?;
        self.there.lock().expect("unharmed").remove(node);
        Ok(())
    }
}

impl Leases {
    /// Gives a lease to somebody else, as a store does that has forgotten who has it.
    pub(crate) fn give(&self, partition: Partition, to: &str, ttl: Duration) {
        let to = to.parse().expect("a node");
        self.held.lock().expect("unharmed").insert(partition, (to, Instant::now() + ttl));
    }

    fn answers(&self) -> Result<(), Error> {
        if self.away.load(Ordering::Relaxed) {
            Err(Error::transient("ask for a lease", "away"))
        } else {
            Ok(())
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        self.held.lock().expect("unharmed").clear();
        self.there.lock().expect("unharmed").clear();
    }

    /// Waits until somebody holds each.
    pub(crate) async fn all_held(&self) {
        let held = async {
            while self.held().len() < usize::from(PARTITIONS) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, held).await.expect("in time");
    }

    /// Who holds what.
    pub(crate) fn held(&self) -> Vec<(Partition, NodeId)> {
        let held = self.held.lock().expect("unharmed");
        held.iter().map(|(partition, (node, _))| (*partition, node.clone())).collect()
    }
}

/// A store, leases, a worker, and room for schedulers.
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
        let node = Node::new(backend, self.leases.clone(), id, config, Arc::new(Watchers::default()));
        let (led, stop) = (node.led(), CancellationToken::new());
        let task = self.tasks.spawn(node.run(stop.clone()));
        Scheduler { led, stop, task }
    }

    /// Submits runs, spread over the partitions by chance.
    pub(crate) async fn submit(&self, count: usize) -> Vec<RunId> {
        let plan = self.intake.register(WORKFLOW).await.expect("registers");
        let mut runs = Vec::new();
        for _ in 0..count {
            let (run, namespace) = (self.intake.draw_id(), "default".parse().expect("a namespace"));
            let (plan, inputs) = (Arc::clone(&plan), Map::new());
            let submission = Submission { run, namespace, plan, inputs, trace: None };
            runs.push(self.intake.submit(submission).await.expect("submits"));
        }
        runs
    }

    /// Waits until every one of some runs has succeeded.
    pub(crate) async fn all_succeed(&self, runs: &[RunId]) {
        for run in runs {
            let succeeded = async {
                loop {
                    let row = self.backend.checkpoints.run(*run).await.expect("looks");
                    match row.map(|row| row.summary.status) {
                        Some(RunStatus::Succeeded) => return,
                        Some(status) if status.is_terminal() => panic!("{run} {status}"),
                        // The next checkpoint is a tenth of a second away.
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
    /// Waits until what it leads is as it should be, and returns it.
    pub(crate) async fn until(&mut self, fits: impl Fn(&BTreeSet<Partition>) -> bool) -> BTreeSet<Partition> {
        let led = timeout(LIMIT, self.led.wait_for(|led| fits(led))).await;
        led.expect("in time").expect("the scheduler lives").clone()
    }

    pub(crate) async fn leads(&mut self, count: usize) -> BTreeSet<Partition> {
        self.until(|led| led.len() == count).await
    }

    /// Waits until it and another lead half of all partitions each. On the way there each may lead as many of others.
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

    /// Ends as a killed process does: nothing is written or released any more.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    /// Waits until it has ended in order.
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

/// A worker that carries out every job at once.
async fn work(backend: Backend) {
    let server = "s".parse().expect("a server");
    loop {
        let some = NonZeroUsize::new(16).expect("not zero");
        for delivery in backend.jobs.pull(&server, some, LIMIT).await.expect("pulls") {
            let id = delivery.job.id.clone();
            let attempt = AttemptRecord {
                number: Attempt::FIRST,
                started_at: Timestamp::from_millis(1),
                took: Duration::from_millis(1),
                fault: None,
                sent: Sent::Answered,
                worker: None,
                process: None,
                masked: Vec::new(),
            };
            let output = Output { value: json!(1).into(), content: None };
            let event = Event::Settled {
                settlement: Settlement::Done(Outcome::Output(output)),
                attempts: vec![attempt],
                worker: "worker".parse().expect("a node"),
                job: id.clone(),
                unreported: false,
                unreported_worker: None,
            };
            backend.log.append(id.run.partition(), &[event]).await.expect("appends");
            delivery.receipt.ack().await.expect("acks");
        }
    }
}
