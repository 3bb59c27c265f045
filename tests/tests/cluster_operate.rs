//! What operators do with many runs of a cluster at once: list them page by page, find them, and cancel them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use longshore_tests::cluster::{Cluster, chain};
use serde_json::{Value, json};

/// A workflow with a label, whose runs wait for a worker for ever.
fn labelled(name: &str, team: &str) -> String {
    let mut workflow: Value = serde_json::from_str(&chain(name, 1)).unwrap();
    workflow["labels"] = json!({ "team": team });
    workflow.to_string()
}

/// The ids in a list.
async fn listed(cluster: &Cluster, options: &[&str]) -> Vec<String> {
    let list = cluster.client([&["runs", "list", "--json"], options].concat()).run().await.expecting(0);
    list.json_lines().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn runs_are_found_by_what_they_have_in_common_and_cancelled_after_a_count() {
    let cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("sales.json", labelled("sales", "billing"));
    cluster.scratch.write("stock.json", labelled("stock", "depot"));
    let (mut sales, mut stock) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        sales.push(cluster.submit(&["sales.json"]).await);
        stock.push(cluster.submit(&["stock.json"]).await);
    }
    cluster.shows(stock.last().unwrap(), "it is known", |run| run["status"] == "running").await;
    sales.reverse();
    stock.reverse();
    assert_eq!(listed(&cluster, &["--workflow", "sales"]).await, sales);
    assert_eq!(listed(&cluster, &["--label", "team=depot", "--since", "1h"]).await, stock);
    assert!(listed(&cluster, &["--label", "team=depot", "--workflow", "sales"]).await.is_empty());
    assert!(listed(&cluster, &["--since", "2999-01-01"]).await.is_empty());

    let first =
        cluster.client(["runs", "list", "--workflow", "sales", "--limit", "2"]).run().await.expecting(0);
    let cursor = first.stderr.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(first.stderr.contains("there are more runs"), "{first}");
    assert_eq!(listed(&cluster, &["--workflow", "sales", "--after", &cursor]).await, sales[2..]);

    let cancel = ["runs", "cancel", "--workflow", "sales"];
    let unasked = cluster.client(cancel).run().await.expecting(2);
    unasked.saying(&["3 runs of the namespace `default` would be cancelled", "--yes"]);
    assert_eq!(listed(&cluster, &["--status", "running"]).await.len(), 6, "nothing was cancelled");
    let done = cluster.client(cancel.iter().chain(&["--yes", "--reason", "a wrong price"])).run().await;
    assert_eq!(done.expecting(0).stderr, "cancelling 3 runs\n");
    for run in &sales {
        let ended = cluster.ended(run).await;
        assert_eq!(
            (&ended["status"], &ended["cancel_reason"]),
            (&json!("cancelled"), &json!("a wrong price"))
        );
    }
    assert_eq!(listed(&cluster, &["--status", "running"]).await, stock);
    cluster
        .client(["runs", "cancel", "--all", "--yes"])
        .run()
        .await
        .expecting(0)
        .saying(&["cancelling 3 runs"]);
    for run in &stock {
        cluster.ended(run).await;
    }
    let nothing = cluster.client(["runs", "cancel", "--all", "--yes"]).run().await.expecting(0);
    assert_eq!(nothing.stderr, "no such runs\n");
}
