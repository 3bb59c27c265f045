//! Passwords and permissions that change while processes run: the cause is named and counted, and nothing is restarted.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use longshore_tests::guarded_cluster::{GuardedCluster, accounts};
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::redis_users::{self, password};
use longshore_tests::wait::{until, until_true};

const ROLES: [&str; 2] = ["scheduler", "worker"];

/// Starts a cluster and waits until its processes are ready.
async fn start() -> (GuardedCluster, [MonitoredProcess; 2]) {
    let guarded = GuardedCluster::start().await;
    let processes = ROLES.map(|role| {
        MonitoredProcess::start_with(|listen| {
            guarded.longshore(role, &[role, "--metrics-listen", listen]).start()
        })
    });
    for process in &processes {
        process.is_ready("it is ready").await;
    }
    (guarded, processes)
}

/// Sends a command to Redis as the administrator.
fn ask<T: redis::FromRedisValue>(guarded: &GuardedCluster, command: &[&str]) -> T {
    RedisServer::ask_at(&redis_users::url(&guarded.redis, "admin"), command).expect("answers")
}

/// Replaces the password of a Redis user, and closes its connections, as `ACL LOAD` does.
fn set_redis_password(guarded: &GuardedCluster, user: &str, password: &str) {
    let _: String = ask(guarded, &["ACL", "SETUSER", user, "resetpass", &format!(">{password}")]);
    let _: u64 = ask(guarded, &["CLIENT", "KILL", "USER", user]);
}

/// Waits until `longshore doctor` ends with this code and prints these words.
async fn doctor_ends_with(guarded: &GuardedCluster, code: i32, words: &str) {
    until_true(&format!("doctor ends with {code}: {words}"), async || {
        let report = guarded.longshore("operator", &["doctor"]).run().await;
        report.code() == Some(code) && report.stdout.contains(words)
    })
    .await;
}

async fn count_grows(process: &MonitoredProcess, operation: &str, reason: &str) {
    let series = format!(r#"longshore_store_failures_total{{operation="{operation}",reason="{reason}"}}"#);
    let before = process.metric(&series).expect("it is exported");
    until(&series, || process.metric(&series).is_some_and(|count| count > before)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_password_of_redis_is_named_and_tried_again_until_it_is_right() {
    let (guarded, processes) = start().await;
    for role in ROLES {
        set_redis_password(&guarded, role, "another");
    }
    for process in &processes {
        for row in ["redis", "leases", "claims", "checkpoints of partition 00"] {
            process.is_not_ready(row, &[&format!("[-]{row} "), "refuses user or password"]).await;
        }
        assert_eq!(process.metric("longshore_ready"), Some(0.0));
        count_grows(process, "probe_redis", "denied").await;
        let said = process.said();
        assert_eq!(said.matches("Redis refuses the connection of this process").count(), 1, "{said}");
    }
    doctor_ends_with(&guarded, 4, "refuses user or password").await;
    // The worker's entry in Redis has expired.
    doctor_ends_with(&guarded, 4, "one worker not listed in Redis").await;
    for role in ROLES {
        set_redis_password(&guarded, role, &password(role));
    }
    for process in &processes {
        process.is_ready("the password is right").await;
        assert_eq!(process.metric("longshore_ready"), Some(1.0));
    }
    doctor_ends_with(&guarded, 0, "all 2 have a leader").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_password_of_nats_is_named_and_tried_again_until_it_is_right() {
    let (mut guarded, processes) = start().await;
    let [_, worker] = &processes;
    let other = accounts().replace(&password("worker"), "another");
    guarded.nats.configure(|setup| setup.server_settings = other);
    guarded.nats.reload().await;
    for row in ["nats", "queue of jobs", "appends to log 00"] {
        worker.is_not_ready(row, &[&format!("[-]{row} "), "refuses the user of this process"]).await;
    }
    count_grows(worker, "probe_nats", "denied").await;
    doctor_ends_with(&guarded, 4, "refuses the user of this process").await;
    let said = worker.said();
    assert_eq!(said.matches("NATS refuses the user of this process").count(), 1, "{said}");
    guarded.nats.configure(|setup| setup.server_settings = accounts());
    guarded.nats.reload().await;
    worker.is_ready("the password is right").await;
    doctor_ends_with(&guarded, 0, "one worker").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_that_is_away_is_counted_by_processes_without_work() {
    let (mut guarded, processes) = start().await;
    guarded.nats.kill().await;
    for process in &processes {
        count_grows(process, "probe_nats", "unavailable").await;
        process.is_not_ready("NATS is away", &["[-]queue of jobs ", "the connection is lost"]).await;
        assert_eq!(process.metric("longshore_ready"), Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_redis_permission_that_is_taken_away_is_noticed_without_work() {
    let (guarded, processes) = start().await;
    // The commands of a scheduler and of a worker that are taken away at the same time.
    for commands in [["set", "pexpireat"], ["sadd", "lindex"], ["smembers", "zrem"], ["unlink", "eval_ro"]] {
        let each = || processes.iter().zip(ROLES.iter().zip(commands));
        let change = |sign: &str| {
            for (_, (user, command)) in each() {
                let _: String = ask(&guarded, &["ACL", "SETUSER", user, &format!("{sign}{command}")]);
            }
        };
        change("-");
        for (process, (_, command)) in each() {
            count_grows(process, "probe_redis", "denied").await;
            process.is_not_ready(command, &["[-]redis "]).await;
        }
        change("+");
        for (process, (_, command)) in each() {
            process.is_ready(command).await;
        }
    }
}
