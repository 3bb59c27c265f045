//! Submits, updates and requests with a NATS client in another language, nats-py, without any code of Longshore.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::tools::Tools;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

/// The limit for the script, which gives up earlier by itself.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs the script and returns its output.
async fn answers(cluster: &Cluster) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plain_client.py");
    let line = Tools::find().python_script(&script);
    let mut command = Command::new(&line.command);
    command.args(&line.args).arg(cluster.nats.url()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.unwrap().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{}", cluster.said());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn plain_nats_client_submits_watches_and_asks() {
    let cluster = Cluster::start(2, 1, 5).await;
    cluster.scratch.write("chain.json", chain("chain", 3));
    cluster.scratch.write("lonely.json", chain("lonely", 1).replace("tables/echo", "payments/charge"));
    cluster.client(["workflows", "push", "chain.json", "lonely.json"]).run().await.expecting(0);
    let answers = answers(&cluster).await;

    let published = &answers["published"];
    assert_eq!((&published["stream"], &published["seq"]), (&json!("LS_SUBMIT"), &json!(1)));
    assert_eq!(published["ended"]["status"], "succeeded", "{published}");
    assert_eq!(published["ended"]["workflow"]["name"], "chain", "{published}");
    let steps: BTreeSet<_> = published["steps"].as_array().unwrap().iter().map(Value::to_string).collect();
    for step in ["s0", "s1", "s2"] {
        assert!(steps.contains(&json!([step, "succeeded"]).to_string()), "{steps:?}");
    }
    assert_eq!(answers["shown"]["outputs"], json!({ "number": 6 }));
    assert_eq!(answers["same"]["run"], published["ended"]["run"], "the same id is the same run");
    assert_eq!(
        (&answers["taken"]["code"], &answers["taken"]["reason"]),
        (&json!("409"), &json!("id_taken")),
        "and no other one"
    );

    let verbs: BTreeSet<_> = answers["info"]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        verbs,
        BTreeSet::from([
            "cancel",
            "dlq",
            "dlq-drop",
            "dlq-get",
            "dlq-retry",
            "get",
            "list",
            "output",
            "push",
            "submit",
            "unregister",
            "workflow",
            "workflows",
        ])
    );
    assert_eq!(answers["info"]["name"], "longshore");

    assert_eq!(answers["asked"]["outputs"], json!({ "number": 10 }));
    assert!(
        answers["waiting"].to_string().contains("a worker that serves `payments`"),
        "{}",
        answers["waiting"]
    );
    assert_eq!(answers["cancelled"]["run"], answers["waiting"]["run"]);
    assert_eq!(answers["again"]["code"], "409", "what has ended is not cancelled: {}", answers["again"]);
    assert_eq!(answers["list"]["runs"].as_array().unwrap().len(), 3, "{}", answers["list"]);
    let names: BTreeSet<_> =
        answers["workflows"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["chain", "lonely"]));
    assert_eq!(
        (&answers["unknown"]["code"], &answers["unknown"]["reason"]),
        (&json!("404"), &json!("unknown_workflow"))
    );
    assert_eq!(
        (&answers["wrong"]["code"], &answers["wrong"]["reason"]),
        (&json!("400"), &json!("invalid_inputs"))
    );
}
