//! The shipped users of Redis on a real server: restarts, and the permissions of each user.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use longshore_ports::ErrorCause;
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Timestamp};
use longshore_redis::{ConnectError, Redis, RedisConfig, Role};
use longshore_tests::checkpoint_commits::{PARTITION, delta, full, rows, run};
use longshore_tests::redis_server::RedisServer;
use longshore_tests::redis_users::{self, users};
use longshore_tests::wait::{until, until_some, until_true};
use longshore_tls::TlsFiles;

const HOUR: Duration = Duration::from_secs(3600);

/// The line that disables the user `default`.
const DEFAULT: &str = "user default off resetpass ~* &* +@all\n";

async fn connect(server: &RedisServer, user: &str) -> Result<Redis, ConnectError> {
    let config = RedisConfig {
        url: redis_users::url(server, user),
        connect_deadline: Duration::from_secs(30),
        prefix: "ls".to_owned(),
        tls: TlsFiles::default(),
    };
    Redis::connect(config).await
}

fn claim_key() -> ClaimKey {
    ClaimKey { run: run(1), submitted_at: Timestamp::default(), step: "pay".parse().expect("a step path") }
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

/// Sends a command as the administrator.
fn ask<T: redis::FromRedisValue>(server: &RedisServer, command: &[&str]) -> T {
    RedisServer::ask_at(&redis_users::url(server, "admin"), command).expect("answers")
}

fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = ask(server, &["KEYS", "*"]);
    keys.sort();
    keys
}

async fn write_as_each_role(server: &RedisServer) {
    let worker = connect(server, "worker").await.expect("connects");
    let claimed = worker.claims().claim(&claim_key(), &node("a"), HOUR).await.expect("answers");
    assert_eq!(claimed, ClaimResult::Won);
    let scheduler = connect(server, "scheduler").await.expect("connects");
    let checkpoints = scheduler.checkpoints();
    checkpoints.commit(PARTITION, full(1, rows(1..10)).into()).await.expect("answers");
    checkpoints.commit(PARTITION, delta(1, 2, rows(5..15)).into()).await.expect("answers");
    scheduler.lease().hold(PARTITION, &node("a"), HOUR).await.expect("answers");
    scheduler.lease().announce_scheduler(&node("a"), HOUR).await.expect("answers");
}

#[tokio::test]
async fn restart_keeps_every_key_that_the_roles_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = redis_users::start(folder.path(), &users(&[])).await;
    write_as_each_role(&server).await;
    let before = keys(&server);
    assert!(before.len() > 8, "{before:?}");
    server.stop().await;
    server.start_again().await;
    assert_eq!(keys(&server), before);
    let log = server.log();
    assert!(!log.contains("AOF-loading-client"), "{log}");
    let worker = connect(&server, "worker").await.expect("connects");
    let claimed = worker.claims().claim(&claim_key(), &node("b"), HOUR).await.expect("answers");
    assert!(matches!(claimed, ClaimResult::Busy { .. }), "{claimed:?}");
}

#[tokio::test]
async fn server_that_drops_transactions_at_a_restart_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let users = users(&[]);
    assert!(users.contains(DEFAULT), "{users}");
    let server = redis_users::start(folder.path(), &users.replace(DEFAULT, "user default off\n")).await;
    for user in ["scheduler", "worker", "operator"] {
        let refused = connect(&server, user).await.expect_err("a refusal");
        assert!(matches!(refused, ConnectError::DroppingTransactions { .. }), "{refused}");
        assert!(refused.to_string().contains(DEFAULT.trim_end()), "{refused}");
    }
    // Without an append-only file there are no transactions to drop.
    let _: String = ask(&server, &["CONFIG", "SET", "appendonly", "no"]);
    connect(&server, "worker").await.expect("connects");
}

/// Runs a line of `docs/recovery.md` for a server with `redis-cli`, and returns its answer.
fn carry_out(server: &RedisServer, documented: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("recovery.md");
    let page = fs::read_to_string(path).expect("a page");
    assert!(page.lines().any(|line| line.starts_with(documented)), "`{documented}` is not documented");
    let address = server.address();
    let (_, port) = address.split_once(':').expect("an address");
    let words = documented.split(' ').skip(1).map(|word| if word == "replica" { "127.0.0.1" } else { word });
    let mut command = Command::new("redis-cli");
    command.args(["-p", port]).args(words).env("REDISCLI_AUTH", redis_users::password("admin"));
    String::from_utf8_lossy(&command.output().expect("redis-cli").stdout).trim().to_owned()
}

fn setting(server: &RedisServer, name: &str) -> String {
    ask::<Vec<String>>(server, &["CONFIG", "GET", name]).pop().expect("a setting")
}

#[tokio::test]
async fn administrator_raises_the_limit_stops_the_server_and_reloads_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = redis_users::start(folder.path(), &users(&[])).await;
    write_as_each_role(&server).await;
    let before = keys(&server);
    assert_eq!(carry_out(&server, "redis-cli --user admin ping"), "PONG");
    assert_eq!(carry_out(&server, "redis-cli --user admin config set maxmemory 2gb"), "OK");
    assert_eq!(carry_out(&server, "redis-cli --user admin config rewrite"), "OK");
    assert_eq!(carry_out(&server, "redis-cli --user admin shutdown save"), "");
    server.kill().await;
    server.start_again().await;
    assert_eq!((keys(&server), setting(&server, "maxmemory")), (before, (2_u64 << 30).to_string()));
    let other = users(&[]).replace(&redis_users::password("worker"), "another");
    fs::write(folder.path().join("redis.acl"), other).expect("writes");
    let _: String = ask(&server, &["ACL", "LOAD"]);
    let refused = connect(&server, "worker").await.expect_err("a refusal");
    assert!(matches!(refused, ConnectError::Credentials { .. }), "{refused}");
}

#[tokio::test]
async fn replica_with_the_shipped_users_follows_and_stays_promoted() {
    let folder = tempfile::tempdir().expect("a folder");
    let primary = redis_users::start(folder.path(), &users(&[])).await;
    write_as_each_role(&primary).await;
    let configuration = redis_users::configuration(folder.path(), "replica", &users(&[]));
    let address = primary.address().replace(':', " ");
    let password = redis_users::password("replica");
    let text = fs::read_to_string(&configuration).expect("a configuration");
    let text = format!("{text}replicaof {address}\nmasteruser replica\nmasterauth {password}\n");
    fs::write(&configuration, text).expect("writes");
    let mut replica = RedisServer::start_on(&configuration).await;
    until("the replica follows", || keys(&replica) == keys(&primary)).await;
    for line in ["replicaof no one", "config rewrite"] {
        assert_eq!(carry_out(&replica, &format!("redis-cli -h replica --user admin {line}")), "OK");
    }
    let before = keys(&replica);
    // A server that still writes its first append-only file refuses to stop.
    until("its append-only file is written", || {
        let about: String = ask(&replica, &["INFO", "persistence"]);
        about.contains("aof_rewrite_in_progress:0") && about.contains("aof_rewrite_scheduled:0")
    })
    .await;
    replica.stop().await;
    replica.start_again().await;
    let about: String = ask(&replica, &["INFO", "replication"]);
    assert!(about.contains("role:master"), "{about}");
    assert_eq!(keys(&replica), before);
}

#[tokio::test]
async fn worker_reads_runs_and_may_not_write_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = redis_users::start(folder.path(), &users(&[])).await;
    write_as_each_role(&server).await;
    let worker = connect(&server, "worker").await.expect("connects");
    worker.check_permissions(Role::Worker).await.expect("is allowed everything");
    let checkpoints = worker.checkpoints();
    assert!(checkpoints.run(run(3)).await.expect("answers").is_some());
    assert_eq!(checkpoints.run(run(99)).await.expect("answers"), None);
    let refused = checkpoints.commit(PARTITION, delta(2, 3, rows(1..2)).into()).await.expect_err("a refusal");
    assert_eq!(refused.cause, ErrorCause::Denied, "{refused}");
    for key in ["rows", "live", "done", "redo", "old", "meta", "lease"] {
        let write = ["DEL", &format!("ls:{{p00}}:{key}")];
        let refused = RedisServer::ask_at::<u64>(&redis_users::url(&server, "worker"), &write);
        assert_eq!(refused.expect_err("a refusal").code(), Some("NOPERM"), "{key}");
    }
}

#[tokio::test]
async fn connection_that_was_refused_works_again_once_the_password_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = redis_users::start(folder.path(), &users(&[])).await;
    let worker = connect(&server, "worker").await.expect("connects");
    let set_password = |password: &str| {
        let _: String = ask(&server, &["ACL", "SETUSER", "worker", "resetpass", &format!(">{password}")]);
        let _: u64 = ask(&server, &["CLIENT", "KILL", "USER", "worker"]);
    };
    set_password("another");
    let refused = until_some("the password is refused", async || {
        worker.ping().await.err().filter(|error| error.cause == ErrorCause::Denied)
    });
    let refused = refused.await;
    assert!(refused.retryable && refused.to_string().contains("refuses user or password"), "{refused}");
    set_password(&redis_users::password("worker"));
    until_true("the connection works", async || worker.ping().await.is_ok()).await;
}

#[tokio::test]
async fn command_denied_within_a_script_is_reported_as_denied() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = redis_users::start(folder.path(), &users(&["+hset"])).await;
    let scheduler = connect(&server, "scheduler").await.expect("connects");
    let refused = scheduler.lease().announce_scheduler(&node("a"), HOUR).await.expect_err("a refusal");
    assert_eq!(refused.cause, ErrorCause::Denied, "{refused}");
}

#[tokio::test]
async fn client_that_does_not_log_in_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = redis_users::start(folder.path(), &users(&[])).await;
    for url in [server.url(), server.url().replace("redis://", "redis://default:@")] {
        let refused = RedisServer::ask_at::<String>(&url, &["GET", "ls:claim:any"]).expect_err("a refusal");
        assert!(
            refused.to_string().contains("NOAUTH") || refused.to_string().contains("AuthenticationFailed"),
            "{refused}"
        );
    }
}
