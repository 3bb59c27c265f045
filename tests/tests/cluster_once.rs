//! A call that may not be repeated, when Redis forgets who makes it and its worker is gone: nobody knows whether it
//! happened, so nobody makes it again.

use longshore_tests::cluster::{Cluster, once};
use longshore_tests::wait::until;

/// The workers, behind the one scheduler.
const WORKERS: [usize; 2] = [1, 2];

#[tokio::test]
async fn a_call_whose_claim_was_forgotten_while_its_worker_was_killed_is_not_made_again() {
    // Long enough to be killed in.
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
