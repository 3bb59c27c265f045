//! `longshore bench` with a cluster of its own: its figures, and a clean end in every case.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use longshore_tests::longshore::Longshore;
use longshore_tests::nats_server::NatsSetup;
use longshore_tests::wait::until;
use serde_json::Value;
use tempfile::TempDir;

/// Returns `longshore bench --start` with this many runs and a folder for its temporary files.
fn bench(folder: &TempDir, runs: &str, more: &[&str]) -> Longshore {
    let nats = NatsSetup::default().program.display().to_string();
    let size = ["--runs", runs, "--lone-runs", "5", "--json"];
    let start = ["bench", "--start", "--nats-server", &nats];
    let arguments = [start.as_slice(), &size, more].concat();
    // The user may have another cluster, whose settings must not be used.
    Longshore::new(folder.path(), arguments)
        .env("TMPDIR", &folder.path().display().to_string())
        .env("NATS_URL", "nats://127.0.0.1:1")
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("LONGSHORE_PARTITIONS", "3")
}

/// Returns the folders of the processes that run in a folder or below, as the system lists them.
fn processes_in(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").expect("there is /proc").flatten();
    let folders = all.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    folders.filter(|at| at.starts_with(folder)).collect()
}

fn is_clean(folder: &TempDir) {
    assert_eq!(processes_in(folder.path()), Vec::<PathBuf>::new(), "processes are left");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "files are left: {left:?}");
}

#[tokio::test]
async fn every_figure_is_reported_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = bench(&folder, "200", &["--takeover"]).run().await.expecting(0).json();
    let number = |path: &str| figures.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    for path in [
        "/floor/pipelined",
        "/floor/batched",
        "/tools/0/one_at_a_time/step/p50_ms",
        "/tools/0/one_step/steps_per_second",
        "/tools/0/one_step/of_floor",
        "/tools/0/once/of_floor",
        "/tools/0/chains/of_floor",
        "/tools/0/one_at_a_time/published/p99_ms",
        "/tools/0/one_at_a_time/published/of_floor",
        "/tools/0/one_at_a_time/requested/of_floor",
        "/processes/0/idle_mib",
        "/processes/5/most_mib",
        "/takeover/last_seconds",
    ] {
        assert!(number(path) > 0.0, "{path} in {figures:#}");
    }
    assert_eq!(figures["tools"][0]["tool"], "noop/echo");
    is_clean(&folder);
}

#[tokio::test]
async fn interrupt_ends_every_started_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = bench(&folder, "1000000", &[]).start();
    until("it measures", || started.stderr().contains("measuring the bare loop")).await;
    assert!(processes_in(folder.path()).len() > 5, "they run in the folder");
    started.interrupt();
    started.end().await.expecting(130);
    is_clean(&folder);
}

#[tokio::test]
async fn server_that_does_not_start_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = bench(&folder, "200", &["--redis-server", "/no/such/redis"]).run().await;
    ended.expecting(1).saying(&["could not start /no/such/redis as redis-server"]);
    assert_eq!(processes_in(folder.path()), Vec::<PathBuf>::new(), "processes are left");
}
