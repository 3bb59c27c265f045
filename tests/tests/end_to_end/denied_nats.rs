//! Processes whose NATS user lacks a permission that they need for their work.

#![expect(clippy::expect_used, reason = "what is not as it was shipped has failed the test")]

use longshore_tests::guarded_cluster::{GuardedCluster, accounts};
use longshore_tests::longshore::StartedCommand;
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::wait::{until, until_true};

/// Returns the shipped accounts without one permission of a role.
fn accounts_without(role: &str, permission: &str) -> String {
    let whole = accounts();
    let start = whole.find(&format!("user: {role}")).expect("the user");
    let (before, users) = whole.split_at(start);
    assert!(users.contains(permission), "{permission}");
    format!("{before}{}", users.replacen(permission, "", 1))
}

/// Starts a cluster whose accounts lack one permission of a role, and submits the workflow.
async fn lacking(role: &str, permission: &str) -> (GuardedCluster, [StartedCommand; 2]) {
    let guarded = GuardedCluster::start_on(accounts_without(role, permission), &[]).await;
    let processes = guarded.processes().await;
    guarded.longshore("a", &["workflows", "push", "guarded.yaml"]).run().await.expecting(0);
    guarded.longshore("a", &["submit", "guarded"]).run().await;
    (guarded, processes)
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_nats_permission_that_a_process_lacks_for_its_work() {
    for (role, permission, named) in [
        ("scheduler", r#""longshore.v1.jobs.>", "#, "longshore.v1.jobs.>"),
        ("scheduler", r#""longshore.v1.log.*.submit", "#, "longshore.v1.log.*.submit"),
        ("scheduler", r#""longshore.v1.log.*.leader", "#, "longshore.v1.log.*.leader"),
        ("worker", r#""longshore.v1.log.*.worker", "#, "longshore.v1.log.*.worker"),
        ("worker", r#""$JS.API.CONSUMER.CREATE.LS_JOBS.>", "#, "$JS.API.CONSUMER.CREATE.LS_JOBS."),
        ("worker", r#""$JS.API.CONSUMER.MSG.NEXT.LS_JOBS.*""#, "$JS.API.CONSUMER.MSG.NEXT.LS_JOBS."),
    ] {
        let (guarded, processes) = lacking(role, permission).await;
        let doctor = || guarded.longshore("operator", &["doctor"]).run();
        until_true(&format!("{named} of {role} is named"), async || {
            let report = doctor().await;
            report.code() == Some(4)
                && report.stdout.contains(named)
                && !report.stdout.contains("restart nats")
        })
        .await;
        drop(processes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_whose_jobs_cannot_be_queued_is_listed_and_ends_when_the_permission_is_given() {
    let (mut guarded, [worker, scheduler]) = lacking("scheduler", r#""longshore.v1.jobs.>", "#).await;
    let listed = async |guarded: &GuardedCluster, status: &str| {
        let listed = guarded.longshore("a", &["runs", "list", "--json"]).run().await;
        listed.json_lines().iter().any(|run| run["status"] == status)
    };
    until_true("the run is listed", async || listed(&guarded, "running").await).await;
    until("the cause is logged", || scheduler.stderr().contains("longshore.v1.jobs.>")).await;
    guarded.nats.configure(|setup| setup.server_settings = accounts());
    guarded.nats.restart().await;
    until_true("the run ends", async || listed(&guarded, "succeeded").await).await;
    drop((worker, scheduler));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_may_not_receive_grants_does_not_start() {
    let denied = accounts_without("worker", r#", "longshore.v1.grant.*""#);
    let guarded = GuardedCluster::start_on(denied, &[]).await;
    let scheduler = guarded.longshore("scheduler", &["scheduler"]).start();
    let ended = guarded.longshore("worker", &["worker"]).run().await;
    ended.expecting(4).saying(&["longshore.v1.grant."]);
    drop(scheduler);
}

#[tokio::test(flavor = "multi_thread")]
async fn permission_that_is_taken_away_makes_the_process_unready_until_it_is_given_back() {
    let mut guarded = GuardedCluster::start().await;
    let start = |role| {
        MonitoredProcess::start_with(|listen| {
            guarded.longshore(role, &[role, "--metrics-listen", listen]).start()
        })
    };
    let (scheduler, worker) = (start("scheduler"), start("worker"));
    scheduler.is_ready("the scheduler is ready").await;
    worker.is_ready("the worker is ready").await;
    guarded.longshore("a", &["workflows", "push", "guarded.yaml"]).run().await.expecting(0);
    for (role, permission, named) in [
        ("worker", r#", "longshore.v1.grant.*""#, "subscribe to longshore.v1.grant.*"),
        ("worker", r#", "_INBOX_worker.>"]"#, "subscribe to _INBOX_worker.>"),
        ("scheduler", r#""longshore.v1.api.>", "#, "subscribe to longshore.v1.api.>"),
        ("scheduler", r#", "longshore.v1.grant.*""#, "publish to longshore.v1.grant.*"),
    ] {
        let process = if role == "worker" { &worker } else { &scheduler };
        let replaced = if permission.ends_with(']') { "]" } else { "" };
        let denied = accounts().replacen(permission, replaced, 1);
        let denied = if replaced.is_empty() { accounts_without(role, permission) } else { denied };
        guarded.nats.configure(|setup| setup.server_settings = denied);
        guarded.nats.reload().await;
        // A call that asks the leader for a grant. Without requests it cannot be submitted.
        let run = guarded.longshore("a", &["submit", "guarded"]).run().await;
        process.is_not_ready(named, &["[-]permissions of NATS", named]).await;
        let series = r#"longshore_store_failures_total{operation="permission",reason="denied"}"#;
        assert!(process.metric(series).is_some_and(|count| count >= 1.0), "{named} is counted");
        until_true("doctor names it", async || {
            let report = guarded.longshore("operator", &["doctor"]).run().await;
            report.code() == Some(4) && (report.stdout.contains(named) || named.contains("api"))
        })
        .await;

        guarded.nats.configure(|setup| setup.server_settings = accounts());
        guarded.nats.reload().await;
        process.is_ready("the permission is given back").await;
        if run.code() == Some(0) {
            let run = run.stdout.trim();
            guarded.longshore("a", &["watch", run, "--exit-status"]).run().await.expecting(0);
        }
        guarded.longshore("a", &["submit", "guarded", "--watch"]).run().await.expecting(0);
    }
}
