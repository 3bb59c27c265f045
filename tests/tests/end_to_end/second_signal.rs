//! A process of a cluster ends at once at the second signal.

use std::time::Duration;

use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::wait::until;
use tokio::time::timeout;

/// The limit for the end: far less than the calls here take, and than a drain and the end of servers may take.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn worker_ends_during_a_call_at_the_second_signal() {
    let cluster = Cluster::start(1, 0, 120_000).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    let worker = cluster.client(["worker"]).start();
    cluster.submit(&["chain.json"]).await;
    until("the call has begun", || cluster.scratch.journal().begun().len() == 1).await;
    worker.terminate();
    until("it drains", || worker.stderr().contains("ending in order")).await;
    worker.terminate();
    let ended = timeout(AT_ONCE, worker.end()).await.expect("at once");
    ended.expecting(130).saying(&["ending at once"]);
}
