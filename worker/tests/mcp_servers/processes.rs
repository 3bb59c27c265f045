//! Start and end of server processes: no call hangs, no process is left behind, and ended servers are started again.

use std::time::Duration;

use longshore_proto::{FaultClass, Sent};
use serde_json::json;
use tokio::time::Instant;

use crate::fixture::{
    PATIENCE, call, call_within, entry, fault, file, is_running, kill, lines, pool_of, script, until,
};

#[tokio::test]
async fn fault_names_a_command_that_does_not_exist() {
    let pool = pool_of(json!({"command": "no-such-mcp-server"}));
    let seen = fault(call(&pool, "echo", json!({})).await);
    assert_eq!(seen, (
        FaultClass::Unavailable,
        Sent::Never,
        "the server could not be started: no program `no-such-mcp-server`; is it installed, and in the PATH that \
         the server gets?"
            .to_owned()
    ));
    let pool = pool_of(json!({"command": "/tmp"}));
    let (_, _, message) = fault(call(&pool, "echo", json!({})).await);
    assert!(message.contains("`/tmp` is a folder"), "{message}");
    let pool = pool_of(json!({"command": "python3", "cwd": "/no/such/folder"}));
    let (_, _, message) = fault(call(&pool, "echo", json!({})).await);
    assert!(message.ends_with("its folder `/no/such/folder` does not exist"), "{message}");
}

#[tokio::test]
async fn fault_of_a_server_that_fails_at_start_shows_its_output_without_secrets() {
    let mut entry = entry(&["--fail", "3"], json!({}));
    entry["env"] = json!({"TOKEN": "${LONGSHORE_TEST_SECRET}"});
    let (class, sent, message) = fault(call(&pool_of(entry), "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never));
    assert_eq!(
        message,
        "the server could not be started: the server ended with exit status: 3; it said:\ncannot read the token ***"
    );
}

#[tokio::test]
async fn connecting_to_a_program_that_is_no_mcp_server_ends_in_time() {
    let settings = json!({"connect_timeout_ms": 500});
    for command in [
        json!({"command": "sh", "args": ["-c", "yes garbage"], "longshore": settings}),
        json!({"command": "sleep", "args": ["600"], "longshore": settings}),
        entry(&["--mute"], settings.clone()),
        entry(&["--mute-list"], settings.clone()),
    ] {
        let pool = pool_of(command.clone());
        let started = Instant::now();
        let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
        assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never), "{command}: {message}");
        // Less than the default limit of 15 s for each of two attempts, with room for a machine that is busy with the garbage.
        assert!(started.elapsed() < Duration::from_secs(25), "{command}: {:?}", started.elapsed());
        pool.close().await;
    }
}

#[tokio::test]
async fn server_that_dies_during_a_call_is_a_fault_at_once_and_is_started_again() {
    let pool = pool_of(entry(&[], json!({})));
    let started = Instant::now();
    let (class, sent, message) = fault(call(&pool, "die", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Maybe));
    assert!(message.contains("signal: 9") && message.ends_with("it said:\nabout to die"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn server_that_died_between_calls_is_started_again() {
    let pool = pool_of(entry(&[], json!({})));
    let pid = || async { call(&pool, "pid", json!({})).await };
    let first = pid()
        .await
        .expect("an answer")
        .value
        .as_str()
        .and_then(|pid| pid.parse::<u32>().ok())
        .expect("a pid");
    kill(first);
    until("it is gone", || !is_running(first)).await;
    // The pool may not have noticed yet; then the call was certainly not sent.
    let second = match pid().await {
        Ok(answer) => answer,
        Err(fault) => {
            assert_eq!((fault.fault.class, fault.sent), (FaultClass::Unavailable, Sent::Never), "{fault:?}");
            pid().await.expect("an answer")
        }
    };
    assert_ne!(second.value, json!(first.to_string()));
    pool.close().await;
}

#[tokio::test]
async fn server_that_closes_its_output_and_keeps_running_is_ended() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let pool = pool_of(entry(&["--stay", "--starts", &starts.display().to_string()], json!({})));
    let started = Instant::now();
    let (class, sent, message) = fault(call(&pool, "close_output", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Maybe));
    assert!(message.contains("closed its output"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    let pid = lines(&starts)[0].parse().expect("a pid");
    until("it is gone", || !is_running(pid)).await;
    pool.close().await;
}

#[tokio::test]
async fn closing_kills_a_server_that_ignores_every_signal() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let pool = pool_of(entry(&["--stay", "--starts", &starts.display().to_string()], json!({})));
    call(&pool, "echo", json!({})).await.expect("an answer");
    let pid: u32 = lines(&starts)[0].parse().expect("a pid");
    let started = Instant::now();
    pool.close().await;
    assert!(!is_running(pid));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let (class, sent, _) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never));
}

/// Returns a server that a shell started, which would leave it behind, and its child, for which no process waits.
fn wrapped(dir: &tempfile::TempDir) -> (serde_json::Value, std::path::PathBuf, std::path::PathBuf) {
    let (starts, grandchild) = (file(dir, "starts"), file(dir, "grandchild"));
    let line = format!(
        "python3 {} --stay --starts {} --grandchild {}; true",
        script("stdio_server.py"),
        starts.display(),
        grandchild.display()
    );
    (json!({"command": "sh", "args": ["-c", line]}), starts, grandchild)
}

fn pids(files: [&std::path::Path; 2]) -> Vec<u32> {
    files.iter().flat_map(|path| lines(path)).map(|line| line.parse().expect("a pid")).collect()
}

#[tokio::test]
async fn closing_ends_grandchildren() {
    let dir = tempfile::tempdir().expect("a folder");
    let (entry, starts, grandchild) = wrapped(&dir);
    let pool = pool_of(entry);
    call(&pool, "echo", json!({})).await.expect("an answer");
    let pids = pids([&starts, &grandchild]);
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_running(*pid)));
    pool.close().await;
    until("both are gone", || !pids.iter().any(|pid| is_running(*pid))).await;
}

#[tokio::test]
async fn dropped_pool_leaves_no_process_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let (entry, starts, grandchild) = wrapped(&dir);
    let pool = pool_of(entry);
    call(&pool, "echo", json!({})).await.expect("an answer");
    let pids = pids([&starts, &grandchild]);
    drop(pool);
    until("both are gone", || !pids.iter().any(|pid| is_running(*pid))).await;
}

#[test]
fn ended_runtime_leaves_no_process_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let (entry, starts, grandchild) = wrapped(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let pool = pool_of(entry);
    runtime.block_on(async { call(&pool, "echo", json!({})).await.expect("an answer") });
    let pids = pids([&starts, &grandchild]);
    runtime.shutdown_timeout(Duration::from_secs(5));
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| is_running(*pid)) {
        assert!(Instant::now() < deadline, "{pids:?} are still there");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn abandoned_connection_attempt_leaves_no_process_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let pool = pool_of(entry(&["--mute", "--stay", "--starts", &starts.display().to_string()], json!({})));
    let attempt = call(&pool, "echo", json!({}));
    tokio::select! {
        _ = attempt => panic!("the server never answers"),
        () = until("it has started", || !lines(&starts).is_empty()) => {}
    }
    let pid = lines(&starts)[0].parse().expect("a pid");
    until("it is gone", || !is_running(pid)).await;
}

#[tokio::test]
async fn calls_that_wait_for_a_connection_share_its_failure() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let pool = pool_of(entry(&["--fail", "1", "--starts", &starts.display().to_string()], json!({})));
    let calls = futures::future::join_all((0..20).map(|_| call(&pool, "echo", json!({})))).await;
    assert!(calls.iter().all(Result::is_err));
    // One process for `server/discover`, and one for the handshake.
    assert_eq!(lines(&starts).len(), 2, "one attempt for all waiting calls");
    call(&pool, "echo", json!({})).await.expect_err("still broken");
    assert_eq!(lines(&starts).len(), 4, "another attempt for a later call");
    pool.close().await;
}

#[tokio::test]
async fn idle_server_is_ended_unless_it_is_stateful() {
    let dir = tempfile::tempdir().expect("a folder");
    let start = |name: &str, stateful| {
        let starts = file(&dir, name);
        let settings = json!({"idle_timeout_ms": 50, "stateful": stateful});
        (pool_of(entry(&["--starts", &starts.display().to_string()], settings)), starts)
    };
    let pid = |path: &std::path::Path| lines(path)[0].parse::<u32>().expect("a pid");
    let (stateful, kept) = start("stateful", true);
    call(&stateful, "echo", json!({})).await.expect("an answer");
    let (stateless, starts) = start("stateless", false);
    // A server with a call under way is not idle.
    call_within(&stateless, "slow", json!({"seconds": 0.5}), PATIENCE).await.expect("an answer");
    assert_eq!(lines(&starts).len(), 1);
    until("it is gone", || !is_running(pid(&starts))).await;
    assert!(is_running(pid(&kept)));
    call(&stateless, "echo", json!({})).await.expect("an answer");
    assert_eq!(lines(&starts).len(), 2);
    stateful.close().await;
    stateless.close().await;
}

#[tokio::test]
async fn noop_server_answers_with_its_arguments() {
    let pool = pool_of(json!({"type": "noop"}));
    let answer = call(&pool, "echo", json!({"text": "hello"})).await.expect("an answer");
    assert_eq!(answer.value, json!({"text": "hello"}));
    let (class, sent, _) = fault(call(&pool, "sing", json!({})).await);
    assert_eq!((class, sent), (FaultClass::UnknownTool, Sent::Never));
    pool.close().await;
}
