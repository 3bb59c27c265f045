//! Partitions follow the schedulers that are there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use longshore_proto::Partition;
use tokio::time::Instant;

use crate::harness::{Cluster, PARTITIONS};

/// Short, so that the test is; long enough for a machine that is busy with other tests.
const TTL: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_shared_taken_over_from_the_dead_and_shared_again() {
    let mut cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.scheduler("a", TTL), cluster.scheduler("b", TTL));
    a.halves(&mut b).await;
    let mut runs = cluster.submit(40).await;

    a.kill();
    let killed = Instant::now();
    runs.extend(cluster.submit(40).await);
    b.leads(PARTITIONS.into()).await;
    // The lease's time, a beat, and plenty for a busy machine.
    assert!(killed.elapsed() < TTL + TTL / 3 + Duration::from_secs(15), "{:?}", killed.elapsed());

    let mut c = cluster.scheduler("c", TTL);
    runs.extend(cluster.submit(40).await);
    b.halves(&mut c).await;
    cluster.all_succeed(&runs).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_in_order_leaves_everything_to_the_others_at_once() {
    // So long that nothing here can be the doing of a lease that ran out.
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
async fn a_partition_whose_lease_is_lost_is_let_go_and_taken_back_when_it_is_free() {
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
async fn whoever_leads_goes_on_while_the_store_of_leases_is_away() {
    let mut cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.scheduler("a", TTL), cluster.scheduler("b", TTL));
    a.halves(&mut b).await;
    let (ours, theirs) = (a.led.borrow().clone(), b.led.borrow().clone());
    cluster.leases.away.store(true, Ordering::Relaxed);
    let away = Instant::now();
    let mut runs = Vec::new();
    // Longer than any lease lasts.
    while away.elapsed() < TTL * 2 {
        let more = cluster.submit(8).await;
        cluster.all_succeed(&more).await;
        runs.extend(more);
    }
    assert_eq!((a.led.borrow().clone(), b.led.borrow().clone()), (ours, theirs), "nobody took over");
    cluster.leases.forget();
    cluster.leases.away.store(false, Ordering::Relaxed);
    cluster.leases.all_held().await;
    cluster.all_succeed(&cluster.submit(8).await).await;
    // The store came back empty. Until both are known to it again, the first one may take everything.
    a.halves(&mut b).await;
    cluster.all_succeed(&cluster.submit(8).await).await;
    cluster.end().await;
}
