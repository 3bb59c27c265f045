//! Ids of submits that come close together, and ids whose runs are no longer kept; and how many runs a namespace may have.

use std::sync::Arc;
use std::time::Duration;

use longshore_machine::Retention;
use longshore_proto::ClaimResult;
use longshore_scheduler::{Desk, NodeConfig, Order, Refusal};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, PARTITIONS, PATIENCE, WORKFLOW};

/// A second scheduler's, as far as submits go.
fn second_desk(cluster: &Cluster) -> Desk {
    let (nats, redis) = (&cluster.nats, &cluster.redis);
    let (workflows, letters) = (nats.workflows(), nats.dead_letters());
    Desk::new(cluster.backend.clone(), workflows, redis.catalog(), letters, redis.submit_ids(), PARTITIONS)
}

fn order(namespace: &str, id: Option<&str>, month: u64) -> Order {
    let inputs: Map<String, Value> = [("month".to_owned(), json!(month))].into_iter().collect();
    Order {
        namespace: namespace.parse().expect("a namespace"),
        workflow: "report".parse().expect("a name"),
        version: None,
        id: id.map(str::to_owned),
        inputs,
        trace: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_other_inputs_is_a_conflict_from_the_first_moment_on_every_scheduler() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let second = second_desk(&cluster);
    for round in 0..20 {
        let id = format!("order-{round}");
        // At the same time, through two schedulers: one of them gets the run, and the other one is told.
        let (one, other) = tokio::join!(
            cluster.desk.submit(order("default", Some(&id), 1)),
            second.submit(order("default", Some(&id), 2)),
        );
        let (made, refused, month) = match (one, other) {
            (Ok(made), Err(refused)) => (made, refused, 1),
            (Err(refused), Ok(made)) => (made, refused, 2),
            both => panic!("one of them is refused: {both:?}"),
        };
        assert!(matches!(refused, Refusal::IdTaken { run, .. } if run == made.run), "{refused}");
        // The same again is the same run.
        let again = second.submit(order("default", Some(&id), month)).await.expect("is the same");
        assert!(again.run == made.run && again.existed);
        let view = cluster.desk.get(&"default".parse().expect("a namespace"), made.run).await.expect("shows");
        assert_eq!(view.inputs, json!({ "month": month }));
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_whose_run_is_no_longer_kept_is_a_new_run_with_claims_of_its_own() {
    let retention = Retention { time: Duration::from_millis(1), ..Retention::default() };
    let cluster = Cluster::start_as(NodeConfig { retention, ..NodeConfig::default() }).await;
    cluster.push(WORKFLOW).await;
    let (claims, worker) = (cluster.redis.claims(), "worker".parse().expect("a node"));
    let submit = json!({ "workflow": "report", "id": "order-1", "inputs": { "month": 3 } });
    let mut keys = Vec::new();
    for _ in 0..2 {
        let run = cluster.ask("submit", submit.clone()).await.expect("submits")["run"].clone();
        let job = cluster.job().await;
        assert_eq!(job.job.id.run.to_string(), run, "its own job");
        let key = job.job.claim().expect("it may not be repeated");
        // As a worker does it: the claim is the call's own, and is kept for a day.
        let claimed = claims.claim(&key, &worker, PATIENCE).await.expect("claims");
        assert_eq!(claimed, ClaimResult::Won);
        cluster.settle(job, json!([])).await;
        claims.done(&key, &worker).await.expect("is done");
        keys.push(key);
        // What ends later takes it out.
        let forgotten = async {
            loop {
                let other = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits");
                let job = cluster.job().await;
                cluster.settle(job, json!([])).await;
                if other["run"].to_string().get(..8) == run.to_string().get(..8)
                    && cluster.ask("get", json!({ "run": run })).await.is_err()
                {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, forgotten).await.expect("is forgotten in time");
        let _: i64 =
            cluster.redis_server.ask(&["DEL", &format!("ls:submit:{}", run.as_str().expect("text"))]);
    }
    assert_eq!(keys[0].run, keys[1].run);
    assert_ne!(keys[0], keys[1]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_no_more_runs_than_it_may_and_takes_nothing_from_another() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    cluster.desk.push(&"others".parse().expect("a namespace"), WORKFLOW).await.expect("registers");
    let desk = Arc::new(second_desk(&cluster).with_live_limit(Some(3)));
    for _ in 0..3 {
        desk.submit(order("default", None, 1)).await.expect("there is room");
    }
    let fourth = desk.submit(order("default", None, 1)).await.expect_err("there is no more room");
    assert!(matches!(fourth, Refusal::Quota { limit: 3, .. }), "{fourth}");
    assert_eq!(longshore_scheduler::Denied::from(fourth).code, 429);
    desk.submit(order("others", None, 1)).await.expect("another namespace has room");
    // Once one has ended there is room for one more.
    let job = cluster.job().await;
    cluster.settle(job, json!([])).await;
    let admitted = async {
        while let Err(refused) = desk.submit(order("default", None, 1)).await {
            assert!(matches!(refused, Refusal::Quota { .. }), "{refused}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, admitted).await.expect("in time");
    cluster.end().await;
}
