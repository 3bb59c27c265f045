//! Commands for many runs of a cluster: listing page by page, filtering, and cancelling.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use async_nats::jetstream;
use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::wait::until_true;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Returns a workflow with a label, whose runs wait for a worker that does not exist.
fn labelled(name: &str, team: &str) -> String {
    let mut workflow: Value = serde_json::from_str(&chain(name, 1)).unwrap();
    workflow["labels"] = json!({ "team": team });
    workflow.to_string()
}

/// Waits until a list has these runs in this order: lists are as of the last checkpoint of each partition.
async fn lists(cluster: &Cluster, options: &[&str], expected: &[String]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = listed(cluster, options).await;
        if list == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{options:?}: {list:?} and not {expected:?}");
    }
}

/// Returns the ids in a list.
async fn listed(cluster: &Cluster, options: &[&str]) -> Vec<String> {
    let list = cluster.client([&["runs", "list", "--json"], options].concat()).run().await.expecting(0);
    list.json_lines().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn runs_are_filtered_and_cancelled_after_the_count_is_confirmed() {
    let cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("sales.json", labelled("sales", "billing"));
    cluster.scratch.write("stock.json", labelled("stock", "depot"));
    let (mut sales, mut stock) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        sales.push(cluster.submit(&["sales.json"]).await);
        stock.push(cluster.submit(&["stock.json"]).await);
    }
    sales.reverse();
    stock.reverse();
    lists(&cluster, &["--workflow", "sales"], &sales).await;
    lists(&cluster, &["--label", "team=depot", "--since", "1h"], &stock).await;
    assert!(listed(&cluster, &["--label", "team=depot", "--workflow", "sales"]).await.is_empty());
    assert!(listed(&cluster, &["--since", "2999-01-01"]).await.is_empty());

    let first =
        cluster.client(["runs", "list", "--workflow", "sales", "--limit", "2"]).run().await.expecting(0);
    let cursor = first.stderr.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(first.stderr.contains("showing the newest "), "{first}");
    assert_eq!(listed(&cluster, &["--workflow", "sales", "--after", &cursor]).await, sales[2..]);

    let cancel = ["runs", "cancel", "--workflow", "sales"];
    let unasked = cluster.client(cancel).run().await.expecting(2);
    unasked.saying(&["this would cancel 3 runs of the namespace `default`", "--yes"]);
    assert_eq!(listed(&cluster, &["--status", "running"]).await.len(), 6, "nothing was cancelled");
    let done = cluster.client(cancel.iter().chain(&["--yes", "--reason", "a wrong price"])).run().await;
    assert_eq!(done.expecting(0).stderr, "cancelling 3 runs\n");
    for run in &sales {
        // Its job is outstanding and no worker will report its outcome, for which the run waits 30 s.
        let shown = cluster.shows(run, "it is cancelled", |run| run["status"] == "cancelling").await;
        assert_eq!(shown["cancel_reason"], "a wrong price");
    }
    lists(&cluster, &["--status", "running"], &stock).await;
    cluster
        .client(["runs", "cancel", "--all", "--yes"])
        .run()
        .await
        .expecting(0)
        .saying(&["cancelling 3 runs"]);
    for run in &stock {
        cluster.shows(run, "it is cancelled", |run| run["status"] == "cancelling").await;
    }
    lists(&cluster, &["--status", "running"], &[]).await;
    let nothing = cluster.client(["runs", "cancel", "--all", "--yes"]).run().await.expecting(0);
    assert_eq!(nothing.stderr, "no such runs\n");
}

#[tokio::test]
async fn refused_submit_is_submitted_again_or_removed() {
    let cluster = Cluster::start(1, 0, 0).await;
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let refused = "longshore.v1.submit.default.late";
    // One after the other, because concurrent submits are refused in any order.
    client.publish(refused, r#"{"inputs": {"number": 7}}"#.into()).await.unwrap();
    cluster.dead_letters(1).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("content-type", "application/msgpack");
    let packed = b"\x81\xa6inputs\x81\xa6number\x08".as_slice();
    client.publish_with_headers(refused, headers, packed.into()).await.unwrap();
    cluster.dead_letters(2).await;
    let long = json!({ "inputs": { "text": "x".repeat(9_000) } }).to_string();
    client.publish(refused, long.into()).await.unwrap();
    cluster.dead_letters(3).await;
    client.publish(refused, "{".into()).await.unwrap();
    let mut letters = cluster.dead_letters(4).await;
    letters.sort_by_key(|letter| letter["number"].as_u64());
    assert_eq!(letters[2]["whole"], false);
    let again = cluster.client(["dlq", "retry", "--code", "unknown_workflow"]).run().await.expecting(3);
    again.saying(&["no workflow `late` is registered", "kept in part only", "submitted again: 0 of 3"]);
    assert_eq!(cluster.dead_letters(4).await.len(), 4, "what is refused again stays");

    cluster.scratch.write("late.json", chain("late", 1));
    cluster.client(["workflows", "push", "late.json"]).run().await.expecting(0);
    let numbers = [letters[0]["number"].to_string(), letters[1]["number"].to_string()];
    let done = cluster.client([&["dlq", "retry"][..], &[&numbers[0], &numbers[1]]].concat()).run().await;
    let done = done.expecting(0);
    assert_eq!(done.stderr, "submitted again: 2 of 2\n");
    for (run, number) in done.stdout.lines().zip([7, 8]) {
        assert_eq!(cluster.shown(run).await["inputs"], json!({ "number": number }));
    }
    assert_eq!(done.stdout.lines().count(), 2);
    cluster.client(["dlq", "retry", &numbers[0]]).run().await.expecting(5);
    let incomplete = letters[2]["number"].to_string();
    cluster.client(["dlq", "retry", &incomplete]).run().await.expecting(3).saying(&["where it came from"]);

    let unasked = cluster.client(["dlq", "drop", "--all"]).run().await.expecting(2);
    unasked.saying(&["this would remove 2 refused submits of the namespace `default`"]);
    let others = cluster.client(["dlq", "drop", &incomplete, "--namespace", "others"]).run().await;
    others.expecting(5);
    cluster.client(["dlq", "drop", &incomplete]).run().await.expecting(0);
    cluster.client(["dlq", "drop", "--all", "--yes"]).run().await.expecting(0).saying(&["removed: 1 of 1"]);
    cluster.client(["dlq", "list"]).run().await.expecting(0).saying(&["there are no refused submits"]);
}

#[tokio::test]
async fn deleted_workflow_is_unknown_to_submits_and_its_runs_continue() {
    let cluster = Cluster::start(2, 0, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 2));
    let run = cluster.submit(&["chain.json"]).await;
    let shown = cluster.client(["workflows", "list", "--json"]).run().await.expecting(0).json();
    let version = shown["digest"].as_str().unwrap().to_owned();
    cluster.client(["workflows", "delete", "chain"]).run().await.expecting(0).saying(&["versions: 1"]);
    cluster.client(["workflows", "delete", "chain"]).run().await.expecting(5);
    // Within a second no scheduler accepts it, not even with its version.
    let submit = json!({ "workflow": "chain", "version": version });
    let deadline = Instant::now() + Duration::from_secs(10);
    for _ in 0..6 {
        while cluster.request("submit", &submit).await["reason"] != "unknown_workflow" {
            assert!(Instant::now() < deadline, "it is still known");
        }
    }
    cluster.client(["submit", "chain"]).run().await.expecting(5).saying(&["chain"]);
    assert!(cluster.client(["workflows", "list", "--json"]).run().await.expecting(0).stdout.is_empty());

    let _worker = cluster.client(["worker"]).start();
    assert_eq!(cluster.ended(&run).await["status"], "succeeded", "its plan is kept");
    cluster.submit(&["chain.json"]).await;
    let listed = cluster.client(["workflows", "list", "--json"]).run().await.expecting(0).json_lines();
    assert_eq!(listed.len(), 1, "registering it again works");
}

#[tokio::test]
async fn jobs_of_runs_that_were_ended_leave_the_queue_although_no_worker_serves_them() {
    let cluster = Cluster::start(1, 0, 0).await;
    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let queued = async || context.get_stream("LS_JOBS").await.unwrap().cached_info().state.messages;
    let safe = json!({ "id": "a", "call": "nobody/serves", "retry": 3 });
    let unsafe_to_repeat = json!({ "id": "a", "call": "nobody/serves" });
    for (name, step, options, message) in [
        ("cancelled", unsafe_to_repeat, vec!["runs", "cancel"], "cancelled before the call"),
        // The leader does not know if a worker has the job.
        (
            "terminated",
            safe,
            vec!["runs", "cancel", "--terminate"],
            "the run was terminated; the call may have happened",
        ),
    ] {
        let workflow = json!({ "longshore": "v1", "name": name, "steps": [step] });
        cluster.scratch.write(&format!("{name}.json"), workflow.to_string());
        let run = cluster.submit(&[&format!("{name}.json")]).await;
        until_true(&format!("the job of the {name} run is queued"), || async { queued().await == 1 }).await;
        cluster.client(options.into_iter().chain([run.as_str()])).run().await.expecting(0);
        let ended = cluster.ended(&run).await;
        assert_eq!(ended["steps"][0]["error"]["message"], message, "{ended}");
        until_true(&format!("the job of the {name} run leaves the queue"), || async { queued().await == 0 })
            .await;
    }
}
