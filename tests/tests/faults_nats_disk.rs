//! The disk of NATS is full: health checks say so, nothing that was acknowledged is lost, and everything goes on once there
//! is room and NATS was restarted, as `docs/recovery.md` says.

use longshore_tests::asked::Asked;
use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Large enough for the streams of a cluster, some of which keep files of 8 MiB ahead of what they store.
const DISK_KIBIBYTES: u32 = 256 * 1024;
/// Room for a few submits at most when the disk is full.
const LEFT_KIBIBYTES: u64 = 64;
/// Submits of this size fill what is left.
const TEXT_BYTES: usize = 20_000;

async fn report(cluster: &Cluster) -> (Option<i32>, Value) {
    let ended = cluster.client(["doctor", "--json", "--connect-deadline", "2s"]).run().await;
    (ended.code(), serde_json::from_str(&ended.stdout).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_nothing_is_lost() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).slowly(100).entry() }));
    let nats = NatsServer::start_on_disk(DISK_KIBIBYTES).await;
    let mut cluster = Cluster::start_on(nats, scratch, 1, 1).await;
    let scheduler = Asked::start(&cluster, "scheduler");
    scheduler.is_ready("the scheduler is ready").await;
    let echo = json!({
        "longshore": "v1", "name": "echo",
        "inputs": { "text": { "type": "string" } },
        "steps": [{ "id": "a", "call": "tables/echo", "with": { "text": "${{ inputs.text }}" } }],
    });
    cluster.scratch.write("echo.json", echo.to_string());
    cluster.scratch.write("long.json", chain("long", 50));
    cluster.client(["workflows", "push", "echo.json"]).run().await.expecting(0);
    let mut accepted = vec![cluster.submit(&["long.json", "-i", "number=1"]).await];

    cluster.nats.disk().unwrap().fill_but(LEFT_KIBIBYTES);
    let text = "x".repeat(TEXT_BYTES);
    let refused = loop {
        let submitted = cluster.client(["submit", "echo", "-i", &format!("text={text}")]).run().await;
        if submitted.code() != Some(0) {
            break submitted;
        }
        accepted.push(submitted.stdout.trim().to_owned());
        assert!(accepted.len() < 100, "the disk is full and takes submits");
    };
    refused.saying(&["may be accepted nevertheless"]);
    // Which scheduler met the full disk depends on the partition; doctor asks all of them.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, full) = report(&cluster).await;
        if code != Some(0) && full.to_string().contains("no space left on device") {
            break;
        }
        assert!(Instant::now() < deadline, "{full:#}\n{}", cluster.said());
    }

    cluster.nats.disk().unwrap().free();
    cluster.nats.stop().await;
    cluster.nats.start_again().await;
    scheduler.is_ready("the scheduler is ready again").await;
    for run in &accepted {
        assert_eq!(cluster.ended(run).await["status"], "succeeded", "{}", cluster.said());
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, healed) = report(&cluster).await;
        if code == Some(0) {
            break;
        }
        assert!(Instant::now() < deadline, "{healed:#}\n{}", cluster.said());
    }
}
