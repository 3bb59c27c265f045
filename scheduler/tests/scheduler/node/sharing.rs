//! Assignment of partitions to live schedulers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use longshore_proto::Partition;
use tokio::time::Instant;

use super::harness::{Cluster, PARTITIONS};

/// Short for a short test, and long enough for a machine that is busy with other tests.
const TTL: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_shared_and_taken_over_from_a_killed_scheduler() {
    let mut cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.scheduler("a", TTL), cluster.scheduler("b", TTL));
    a.halves(&mut b).await;
    let mut runs = cluster.submit(40).await;

    a.kill();
    let killed = Instant::now();
    runs.extend(cluster.submit(40).await);
    b.leads(PARTITIONS.into()).await;
    // The lifetime of the lease, a heartbeat, and 15 s for a busy machine.
    assert!(killed.elapsed() < TTL + TTL / 3 + Duration::from_secs(15), "{:?}", killed.elapsed());

    let mut c = cluster.scheduler("c", TTL);
    runs.extend(cluster.submit(40).await);
    b.halves(&mut c).await;
    cluster.all_succeed(&runs).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_stops_releases_its_leases_at_once() {
    // Longer than the test, so that no lease expires in it.
    let ttl = Duration::from_secs(3 * 60);
    let mut cluster = Cluster::start().await;
    let mut a = cluster.scheduler("a", ttl);
    a.leads(PARTITIONS.into()).await;
    let runs = cluster.submit(10).await;
    a.stopped().await;
    assert_eq!(cluster.leases.held(), []);
    let mut b = cluster.scheduler("b", ttl);
    b.leads(PARTITIONS.into()).await;
    cluster.all_succeed(&runs).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_lease_is_lost_is_released_and_taken_over_when_it_is_free() {
    let mut cluster = Cluster::start().await;
    let mut a = cluster.scheduler("a", TTL);
    a.leads(PARTITIONS.into()).await;
    cluster.leases.give(Partition(3), "stranger", TTL);
    let left = a.until(|led| !led.contains(&Partition(3))).await;
    assert_eq!(left.len(), usize::from(PARTITIONS) - 1, "the others stay");
    a.leads(PARTITIONS.into()).await;
    let runs = cluster.submit(20).await;
    cluster.all_succeed(&runs).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_continue_while_the_lease_store_is_unavailable() {
    let mut cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.scheduler("a", TTL), cluster.scheduler("b", TTL));
    a.halves(&mut b).await;
    let (ours, theirs) = (a.led.borrow().clone(), b.led.borrow().clone());
    cluster.leases.is_away.store(true, Ordering::Relaxed);
    let away = Instant::now();
    let mut runs = Vec::new();
    // Longer than the lifetime of any lease.
    while away.elapsed() < TTL * 2 {
        let more = cluster.submit(8).await;
        cluster.all_succeed(&more).await;
        runs.extend(more);
    }
    assert_eq!(
        (a.led.borrow().clone(), b.led.borrow().clone()),
        (ours, theirs),
        "no partition was taken over"
    );
    cluster.leases.clear();
    cluster.leases.is_away.store(false, Ordering::Relaxed);
    cluster.leases.all_held().await;
    cluster.all_succeed(&cluster.submit(8).await).await;
    // The store is empty after the outage. Until both schedulers are in its list, the first one may take all partitions.
    a.halves(&mut b).await;
    cluster.all_succeed(&cluster.submit(8).await).await;
    cluster.end().await;
}
