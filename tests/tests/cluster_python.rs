//! Submitting and watching with a NATS client in another language, and no Longshore code on its side: what nats-py is
//! told by JetStream, by the news of runs and by the micro service.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::tools::Tools;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

/// The script gives up on its own well before this.
const LIMIT: Duration = Duration::from_secs(180);

/// What the script prints.
async fn story(cluster: &Cluster) -> Value {
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
async fn a_client_that_knows_nothing_but_nats_submits_watches_and_asks() {
    let cluster = Cluster::start(2, 1, 5).await;
    cluster.scratch.write("chain.json", chain("chain", 3));
    cluster.scratch.write("lonely.json", chain("lonely", 1).replace("tables/echo", "payments/charge"));
    cluster.client(["workflows", "push", "chain.json", "lonely.json"]).run().await.expecting(0);
    let story = story(&cluster).await;

    let published = &story["published"];
    assert_eq!((&published["stream"], &published["seq"]), (&json!("LS_SUBMIT"), &json!(1)));
    assert_eq!(published["ended"]["status"], "succeeded", "{published}");
    assert_eq!(published["ended"]["workflow"]["name"], "chain", "{published}");
    let steps: BTreeSet<_> = published["steps"].as_array().unwrap().iter().map(Value::to_string).collect();
    for step in ["s0", "s1", "s2"] {
        assert!(steps.contains(&json!([step, "succeeded"]).to_string()), "{steps:?}");
    }
    assert_eq!(story["shown"]["outputs"], json!({ "number": 6 }));
    assert_eq!(story["same"]["run"], published["ended"]["run"], "the same id is the same run");
    assert_eq!(
        (&story["taken"]["code"], &story["taken"]["reason"]),
        (&json!("409"), &json!("id_taken")),
        "and no other one"
    );

    let verbs: BTreeSet<_> = story["info"]["endpoints"]
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
    assert_eq!(story["info"]["name"], "longshore");

    assert_eq!(story["asked"]["outputs"], json!({ "number": 10 }));
    assert!(story["waiting"].to_string().contains("a worker that serves `payments`"), "{}", story["waiting"]);
    assert_eq!(story["cancelled"]["run"], story["waiting"]["run"]);
    assert_eq!(story["again"]["code"], "409", "what has ended is not cancelled: {}", story["again"]);
    assert_eq!(story["list"]["runs"].as_array().unwrap().len(), 3, "{}", story["list"]);
    let names: BTreeSet<_> =
        story["workflows"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["chain", "lonely"]));
    assert_eq!(
        (&story["unknown"]["code"], &story["unknown"]["reason"]),
        (&json!("404"), &json!("unknown_workflow"))
    );
    assert_eq!(
        (&story["wrong"]["code"], &story["wrong"]["reason"]),
        (&json!("400"), &json!("invalid_inputs"))
    );
}
