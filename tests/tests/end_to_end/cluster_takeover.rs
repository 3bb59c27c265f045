//! The takeover of partitions: when a scheduler is killed, another one soon leads its partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_ports::clock;
use longshore_proto::Partition;
use longshore_tests::cluster::{Cluster, PARTITIONS, chain};
use longshore_tests::cluster_log::ClusterLog;
use longshore_tests::environment::rounds;
use tokio::time::{Instant, sleep};

/// The limit for the takeover of a partition, in milliseconds: a lease of 6 s, a third of it, and a busy machine.
const TAKEOVER_LIMIT_MS: u64 = 20_000;

#[tokio::test]
async fn partitions_of_a_killed_leader_are_soon_led_by_another() {
    let rounds = rounds(2, 6);
    let mut cluster = Cluster::start(2, 1, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    for round in 0..rounds {
        // Each scheduler leads half of the partitions, and one is killed.
        let victim = round % 2;
        let pid = cluster.pid(victim);
        let led = led_by(&cluster, pid).await;
        let killed_at = clock::now().as_millis();
        cluster.kill_member(victim).await;
        let followed = loop {
            let log = ClusterLog::read(cluster.nats.url()).await;
            let followers: BTreeMap<_, _> = log
                .leaders
                .iter()
                .filter(|leader| led.contains(&leader.partition) && leader.at >= killed_at)
                .map(|leader| (leader.partition, leader.at - killed_at))
                .collect();
            if followers.len() == led.len() {
                break followers;
            }
            assert!(clock::now().as_millis() < killed_at + TAKEOVER_LIMIT_MS, "{led:?}: {}", cluster.said());
            sleep(Duration::from_millis(50)).await;
        };
        let (first, last) = (followed.values().min().unwrap(), followed.values().max().unwrap());
        println!("round {round}: {} partitions led again after {first} to {last} ms", led.len());
        // New runs of every partition succeed.
        for _ in 0..4 {
            let run = cluster.submit(&["chain.json"]).await;
            assert_eq!(cluster.ended(&run).await["status"], "succeeded");
        }
        cluster.start_member(victim);
    }
}

/// Waits until a process leads half of the partitions, and returns them.
async fn led_by(cluster: &Cluster, pid: u32) -> BTreeSet<Partition> {
    let is_it = format!("-{pid}-");
    let deadline = Instant::now() + Duration::from_millis(TAKEOVER_LIMIT_MS);
    loop {
        let log = ClusterLog::read(cluster.nats.url()).await;
        let newest: BTreeMap<_, _> =
            log.leaders.iter().map(|leader| (leader.partition, leader.node.as_str())).collect();
        let led: BTreeSet<_> = newest
            .into_iter()
            .filter(|(_, node)| node.contains(&is_it))
            .map(|(partition, _)| partition)
            .collect();
        if led.len() == usize::from(PARTITIONS) / 2 {
            return led;
        }
        assert!(Instant::now() < deadline, "{}", cluster.said());
        sleep(Duration::from_millis(50)).await;
    }
}
