//! Failures of a partition's leader: taken over again, without an effect on other partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::RunWatchers;
use longshore_ports::{Backend, Error, LogReader, RunLog};
use longshore_proto::{Event, Incarnation, Partition, Retention, Seq};
use longshore_scheduler::Driver;

use super::harness::{Cluster, PARTITIONS};

const TTL: Duration = Duration::from_secs(6);

/// The partition whose log cannot be read.
const FAILING: Partition = Partition(5);

/// A log of which one partition cannot be read while `fails` is true.
struct FailingLog {
    log: Arc<dyn RunLog>,
    fails: AtomicBool,
}

#[async_trait]
impl RunLog for FailingLog {
    async fn incarnation(&self, partition: Partition) -> Result<Incarnation, Error> {
        self.log.incarnation(partition).await
    }

    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error> {
        self.log.append(partition, events).await
    }

    async fn tail(&self, partition: Partition) -> Result<Seq, Error> {
        self.log.tail(partition).await
    }

    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error> {
        if partition == FAILING && self.fails.load(Ordering::Relaxed) {
            return Err(Error::permanent("read the log", "its disk is gone"));
        }
        self.log.read(partition, from).await
    }

    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error> {
        self.log.trim(partition, below).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_partition_affects_no_other_one_and_is_taken_over_again() {
    let mut cluster = Cluster::start().await;
    let log = Arc::new(FailingLog { log: cluster.backend.log.clone(), fails: AtomicBool::new(true) });
    let backend = Backend { log: log.clone(), ..cluster.backend.clone() };
    let mut a = cluster.scheduler_on(backend, "a", TTL);
    let led = a.leads(usize::from(PARTITIONS) - 1).await;
    assert!(!led.contains(&FAILING));
    let runs = cluster.submit(40).await;
    let (stuck, others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.partition() == FAILING);
    cluster.all_succeed(&others).await;
    log.fails.store(false, Ordering::Relaxed);
    a.leads(PARTITIONS.into()).await;
    cluster.all_succeed(&stuck).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stepped_down_and_has_the_lease_leads_again() {
    let mut cluster = Cluster::start().await;
    let mut a = cluster.scheduler("a", TTL);
    a.leads(PARTITIONS.into()).await;
    // A leader without a lease announces itself and ends.
    let stranger = "stranger".parse().expect("a node");
    let updates = Arc::new(RunWatchers::default());
    let driver =
        Driver::take_over(cluster.backend.clone(), Partition(2), stranger, updates, Retention::default())
            .await;
    drop(driver.expect("takes over"));
    a.until(|led| !led.contains(&Partition(2))).await;
    a.leads(PARTITIONS.into()).await;
    let runs = cluster.submit(20).await;
    cluster.all_succeed(&runs).await;
    cluster.end().await;
}
