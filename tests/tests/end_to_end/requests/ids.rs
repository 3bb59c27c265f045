//! Ids of concurrent submits, ids of expired runs, and the limit of runs in a namespace.

use std::time::Duration;

use longshore_proto::{ClaimResult, Partition, Retention, Seq};
use longshore_scheduler::{NodeConfig, Refusal, SubmitHandler, SubmitRequest};
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::requests::harness::{Cluster, PARTITIONS, PATIENCE, WORKFLOW};

/// Returns the submit handler of a second scheduler.
fn second_handler(cluster: &Cluster) -> SubmitHandler {
    let (workflows, submit_ids) = (cluster.nats.workflows(), cluster.redis.submit_ids());
    SubmitHandler::new(cluster.backend.clone(), workflows, submit_ids, PARTITIONS)
}

fn request(namespace: &str, id: Option<&str>, month: u64) -> SubmitRequest {
    let inputs: Map<String, Value> = [("month".to_owned(), json!(month))].into_iter().collect();
    let (namespace, workflow) = (namespace.parse().expect("a namespace"), "report".parse().expect("a name"));
    SubmitRequest { id: id.map(str::to_owned), ..SubmitRequest::new(namespace, workflow, inputs) }
}

#[tokio::test(flavor = "multi_thread")]
async fn same_id_with_other_inputs_is_a_conflict_at_once_on_every_scheduler() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let second = second_handler(&cluster);
    for round in 0..20 {
        let id = format!("order-{round}");
        // At the same time with two schedulers: one accepts the run, and the other one reports the conflict.
        let (one, other) = tokio::join!(
            cluster.submits.submit(request("default", Some(&id), 1)),
            second.submit(request("default", Some(&id), 2)),
        );
        let (made, refused, month) = match (one, other) {
            (Ok(made), Err(refused)) => (made, refused, 1),
            (Err(refused), Ok(made)) => (made, refused, 2),
            both => panic!("one of them is refused: {both:?}"),
        };
        assert!(matches!(refused, Refusal::IdTaken { run, .. } if run == made.run), "{refused}");
        // The same submit again is the same run.
        let again = second.submit(request("default", Some(&id), month)).await.expect("is the same");
        assert!(again.run == made.run && again.existed);
        let view =
            cluster.handlers.get(&"default".parse().expect("a namespace"), made.run).await.expect("shows");
        assert_eq!(view.inputs, json!({ "month": month }));
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_with_the_id_of_a_published_submit_is_recognised_without_a_leader() {
    let cluster = Cluster::start_without_leader().await;
    cluster.push(WORKFLOW).await;
    let submit = json!({ "id": "order-1", "inputs": { "month": 3 } });
    let publish = cluster.client.request("longshore.v1.submit.default.report", submit.to_string().into());
    publish.await.expect("is stored");
    let taken_in = async || {
        let logs = [Partition(0), Partition(1)].map(|partition| cluster.backend.log.tail(partition));
        futures::future::join_all(logs).await.into_iter().any(|tail| tail.expect("answers") > Seq::ZERO)
    };
    let wait = async {
        while !taken_in().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("is taken in");
    let same = cluster.submits.submit(request("default", Some("order-1"), 3)).await.expect("is the same");
    assert!(same.existed, "{same:?}");
    let other = cluster.submits.submit(request("default", Some("order-1"), 4)).await.expect_err("is another");
    assert!(matches!(other, Refusal::IdTaken { run, .. } if run == same.run), "{other}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn id_of_an_expired_run_is_a_new_run_with_new_claims() {
    let retention = Retention { time: Duration::from_millis(1), ..Retention::default() };
    let cluster = Cluster::start_as(NodeConfig { retention, ..NodeConfig::default() }).await;
    let keyed = WORKFLOW.replace("call: crm/list,", "call: crm/list, idempotency-key: report,");
    cluster.push(&keyed).await;
    let (claims, worker) = (cluster.redis.claims(), "worker".parse().expect("a node"));
    let submit = json!({ "workflow": "report", "id": "order-1", "inputs": { "month": 3 } });
    let mut keys = Vec::new();
    for _ in 0..2 {
        let run = cluster.ask("submit", submit.clone()).await.expect("submits")["run"].clone();
        let job = cluster.job().await;
        assert_eq!(job.job.id.run.to_string(), run, "its own job");
        let key = job.job.claim().expect("it has a key of its own");
        // Like a worker: the claim belongs to the call, and is kept for a day.
        let claimed = claims.claim(&key, &worker, PATIENCE).await.expect("claims");
        assert_eq!(claimed, ClaimResult::Won);
        cluster.settle(job, json!([])).await;
        claims.done(&key, &worker).await.expect("is done");
        keys.push(key);
        // Runs that end later displace it.
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
async fn limit_of_runs_holds_in_each_namespace_separately() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    cluster.handlers.push(&"others".parse().expect("a namespace"), WORKFLOW).await.expect("registers");
    let submits = second_handler(&cluster).with_live_limit(Some(3));
    for _ in 0..3 {
        submits.submit(request("default", None, 1)).await.expect("there is room");
    }
    let fourth = submits.submit(request("default", None, 1)).await.expect_err("there is no more room");
    assert!(matches!(fourth, Refusal::Quota { limit: 3, .. }), "{fourth}");
    assert_eq!(longshore_scheduler::ErrorResponse::from(fourth).code, 429);
    submits.submit(request("others", None, 1)).await.expect("another namespace has room");
    // Once one has ended there is room for one more.
    let job = cluster.job().await;
    cluster.settle(job, json!([])).await;
    let admitted = async {
        while let Err(refused) = submits.submit(request("default", None, 1)).await {
            assert!(matches!(refused, Refusal::Quota { .. }), "{refused}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, admitted).await.expect("in time");
    cluster.end().await;
}
