//! A full disk of NATS: health checks report it, no acknowledged run is lost, and runs continue once there is room and NATS was
//! restarted, as `docs/recovery.md` says.

use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::pause;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The size of the disk: enough for the streams of a cluster, some of which allocate files of 8 MiB in advance.
const DISK_KIBIBYTES: u32 = 256 * 1024;
/// The free space of the full disk: a few submits at most.
const LEFT_KIBIBYTES: u64 = 64;
/// The size of submits that fill the free space.
const TEXT_BYTES: usize = 20_000;

async fn report(cluster: &Cluster) -> (Option<i32>, Value) {
    let ended = cluster.client(["doctor", "--json", "--connect-deadline", "2s"]).run().await;
    (ended.code(), serde_json::from_str(&ended.stdout).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_is_reported_and_no_run_is_lost() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).with_delay_ms(100).entry() }));
    let nats = NatsServer::start_on_disk(DISK_KIBIBYTES).await;
    let mut cluster = Cluster::start_on(nats, scratch, 1, 1).await;
    let scheduler = MonitoredProcess::start(&cluster, "scheduler");
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

    cluster.nats.disk().unwrap().fill_except(LEFT_KIBIBYTES);
    let text = "x".repeat(TEXT_BYTES);
    let refused = loop {
        let submitted = cluster.client(["submit", "echo", "-i", &format!("text={text}")]).run().await;
        if submitted.code() != Some(0) {
            break submitted;
        }
        accepted.push(submitted.stdout.trim().to_owned());
        assert!(accepted.len() < 100, "the disk is full and takes submits");
    };
    // Scheduler and client wait for 10 s each, so either of them may report it first.
    let refused = refused.expecting(6);
    let reports = ["may be accepted nevertheless", "it was not acknowledged within 10s"];
    assert!(reports.iter().any(|words| refused.stderr.contains(words)), "{refused}");
    // The scheduler that met the full disk depends on the partition; doctor asks all of them.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, full) = report(&cluster).await;
        if code != Some(0) && full.to_string().contains("no space left on device") {
            break;
        }
        assert!(Instant::now() < deadline, "{full:#}\n{}", cluster.said());
        pause().await;
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
