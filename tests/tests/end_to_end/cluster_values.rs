//! Complete values of runs of a cluster: from messages, and in parts from blobs.

use longshore_tests::cluster::Cluster;
use serde_json::{Value, json};

/// The size of a value that needs several parts.
const BULK_BYTES: usize = 700_000;

#[tokio::test]
async fn large_and_small_values_of_a_run_are_fetched() {
    let cluster = Cluster::start(1, 1, 0).await;
    let workflow = json!({
        "longshore": "v1", "name": "bulky", "inputs": { "bulk": { "required": true } },
        "steps": [
            { "id": "large", "call": "tables/echo", "with": { "bulk": "${{ inputs.bulk }}" }, "retry": 3 },
            { "id": "small", "set": { "size": "${{ size(steps.large.output.bulk) }}", "kept": "${{ size(steps.large.content) }}" } },
            { "id": "never", "call": "tables/echo", "if": "${{ false }}" },
        ],
        "outputs": { "size": "${{ steps.small.output.size }}" },
    });
    cluster.scratch.write("bulky.json", workflow.to_string());
    // A quote takes two bytes in a message.
    let bulk = "\"".repeat(BULK_BYTES / 2);
    cluster.scratch.write("inputs.json", json!({ "bulk": bulk }).to_string());
    let run = cluster.submit(&["bulky.json", "--input-file", "inputs.json"]).await;
    assert_eq!(cluster.ended(&run).await["status"], "succeeded");

    let output = async |more: &[&str]| cluster.client([&["runs", "output"], more].concat()).run().await;
    let large = output(&[&run, "large"]).await.expecting(0).json();
    assert_eq!(large["bulk"].as_str().map(str::len), Some(BULK_BYTES / 2));
    assert_eq!(output(&[&run]).await.expecting(0).json(), json!({ "size": BULK_BYTES / 2 }));
    let file = "content.json";
    output(&[&run, "large", "--content", "-o", file])
        .await
        .expecting(0)
        .saying(&["bytes written to content.json"]);
    let content: Value = serde_json::from_str(&cluster.scratch.read(file)).unwrap();
    assert!(content.is_array(), "{content}");

    output(&[&run, "never"]).await.expecting(5).saying(&["`never`", "was skipped"]);
    output(&[&run, "nowhere"]).await.expecting(5).saying(&["no step `nowhere`", "large, small, never"]);
    output(&["run_00_01kbgq5v8m3n4p5q6r7s8t9v0w"]).await.expecting(5).saying(&["there is no run"]);
    let shown = cluster.client(["runs", "show", &run]).run().await.expecting(0).stdout;
    assert!(shown.contains("which `longshore runs output` prints"), "{shown}");
}
