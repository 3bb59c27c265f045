//! A call that may not be repeated, when Redis loses its claim and its worker is killed: its outcome is unknown, so no worker
//! makes it again.

use longshore_tests::cluster::{Cluster, once};
use longshore_tests::wait::until;

/// The workers, after the one scheduler.
const WORKERS: [usize; 2] = [1, 2];

#[tokio::test]
async fn call_is_not_repeated_after_its_claim_and_its_worker_are_lost() {
    // The call takes long enough for the kill.
    let mut cluster = Cluster::start(1, WORKERS.len(), 5_000).await;
    cluster.scratch.write("once.json", once("once"));
    let run = cluster.submit(&["once.json"]).await;
    let journal = cluster.scratch.journal();
    until("the call is being made", || journal.lines() > 0).await;
    cluster.redis.flushall();
    for worker in WORKERS {
        cluster.kill_member(worker).await;
    }
    for worker in WORKERS {
        cluster.start_member(worker);
    }
    let ended = cluster.ended(&run).await;
    assert_eq!(journal.calls().len(), 1, "{ended}\n{}", cluster.said());
    assert_eq!(ended["steps"][0]["status"], "indeterminate", "{ended}");
}
