//! Answers and faults of a server over streamable HTTP.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use longshore_harness::OwnedPort;
use longshore_proto::{FaultClass, Sent};
use longshore_worker::mcp::ServerPool;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{call, call_within, fault, file, lines, pool_of, script};

/// A running HTTP fixture server, which is killed on drop.
struct HttpFixture {
    child: Child,
    port: OwnedPort,
}

impl HttpFixture {
    fn start(options: &[&str]) -> Self {
        let port = OwnedPort::take().expect("a free port");
        Self { child: Self::spawn(&port, options), port }
    }

    /// Starts the process on this port, and waits until it listens.
    fn spawn(port: &OwnedPort, options: &[&str]) -> Child {
        let mut child = Command::new("python3")
            .arg(script("http_server.py"))
            .args(["--port", &port.number().to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its port");
        assert_eq!(line.trim(), port.number().to_string(), "the server listens");
        child
    }

    /// Starts a new process on the same port, which knows no session.
    fn restart(&mut self, options: &[&str]) {
        self.stop();
        self.child = Self::spawn(&self.port, options);
    }

    fn stop(&mut self) {
        // Some tools end the server, so it may have exited.
        let _ = self.child.kill();
        self.child.wait().expect("it ends");
    }

    fn pool(&self, longshore: Value) -> ServerPool {
        pool_of(json!({"url": format!("http://{}/mcp", self.port.address()), "longshore": longshore}))
    }
}

impl Drop for HttpFixture {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test]
async fn tool_answers_in_either_era() {
    for (options, version) in [(&[][..], "2025-11-25"), (&["--modern"][..], "2026-07-28")] {
        let server = HttpFixture::start(options);
        let pool = server.pool(json!({}));
        for tool in ["echo", "stream"] {
            let answer = call(&pool, tool, json!({"text": "hello"})).await.expect("an answer");
            assert_eq!(answer.value, json!({"text": "hello"}), "{version} {tool}");
        }
        let report = pool.check(&"s".parse().unwrap()).await.expect("a report");
        assert_eq!((report.protocol_version.as_str(), report.pid), (version, None));
        pool.close().await;
    }
}

#[tokio::test]
async fn headers_of_the_servers_file_are_sent() {
    let server = HttpFixture::start(&["--token", "s3cret-value"]);
    let url = format!("http://127.0.0.1:{}/mcp", server.port.number());
    let headers = json!({"Authorization": "Bearer ${LONGSHORE_TEST_SECRET}", "X-Team": "docks"});
    let pool = pool_of(json!({"type": "http", "url": url, "headers": headers}));
    let seen = call(&pool, "headers", json!({})).await.expect("an answer").value;
    // The value of the header is masked; `docks` is too short to be a secret.
    assert_eq!((&seen["authorization"], &seen["x-team"]), (&json!("***"), &json!("docks")));
    let (class, sent, message) = fault(call(&pool, "plain_401", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unauthorised, Sent::Never));
    assert!(message.contains("***") && !message.contains("s3cret"), "{message}");
    pool.close().await;
    let (class, sent, _) = fault(call(&server.pool(json!({})), "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unauthorised, Sent::Never), "without a token");
}

#[tokio::test]
async fn fault_of_an_address_without_a_path_names_the_usual_path() {
    let server = HttpFixture::start(&[]);
    for (path, is_hinted) in [("", true), ("/", true), ("/mcp", false)] {
        let url = format!("http://127.0.0.1:{}{path}", server.port.number());
        let pool = pool_of(json!({ "type": "http", "url": url }));
        let seen = call(&pool, "echo", json!({})).await;
        assert_eq!(seen.is_err(), is_hinted, "{path:?}");
        if let Err(seen) = seen {
            assert!(seen.fault.message.contains("most servers answer at /mcp"), "{}", seen.fault.message);
        }
        pool.close().await;
    }
}

#[tokio::test]
async fn each_status_has_its_class() {
    for options in [&[][..], &["--modern"][..]] {
        let server = HttpFixture::start(options);
        let pool = server.pool(json!({}));
        let cases = [
            (429, json!({"Retry-After": "7"}), FaultClass::RateLimited, Sent::Never, Some(7)),
            (429, json!({}), FaultClass::RateLimited, Sent::Never, None),
            (503, json!({"Retry-After": "3"}), FaultClass::Unavailable, Sent::Never, Some(3)),
            (503, json!({}), FaultClass::Unavailable, Sent::Maybe, None),
            (500, json!({}), FaultClass::Unavailable, Sent::Maybe, None),
            (401, json!({"WWW-Authenticate": "Bearer"}), FaultClass::Unauthorised, Sent::Never, None),
            (403, json!({}), FaultClass::Unauthorised, Sent::Never, None),
            (422, json!({}), FaultClass::ProtocolError, Sent::Never, None),
        ];
        for (status, headers, class, sent, after) in cases {
            let arguments = json!({"status": status, "headers": headers});
            let seen = call(&pool, "status", arguments).await.expect_err("a fault");
            assert_eq!((seen.fault.class, seen.sent), (class, sent), "{options:?} {seen:?}");
            assert_eq!(seen.fault.retry_after, after.map(Duration::from_secs), "{options:?} {seen:?}");
        }
        pool.close().await;
    }
}

#[tokio::test]
async fn server_without_tls_is_not_reached_over_https() {
    let server = HttpFixture::start(&[]);
    let pool = pool_of(json!({"url": format!("https://127.0.0.1:{}/mcp", server.port.number())}));
    let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never), "{message}");
    assert!(message.starts_with("the server could not be reached: "), "{message}");
}

#[tokio::test]
async fn redirect_and_html_page_are_not_taken_for_an_answer() {
    let server = HttpFixture::start(&[]);
    let pool = server.pool(json!({}));
    let (class, sent, message) = fault(call(&pool, "moved", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Never), "{message}");
    assert!(message.starts_with("HTTP 307"), "{message}");
    let (class, sent, message) = fault(call(&pool, "html", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Maybe));
    assert!(message.contains("text/html"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn fault_of_a_server_that_never_answers_names_its_origin() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let pool = pool_of(json!({
        "url": format!("http://127.0.0.1:{port}/mcp/s3cret"), "longshore": {"connect_timeout_ms": 200}
    }));
    let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never), "{message}");
    let said =
        format!("the server was not ready within 200ms at http://127.0.0.1:{port}; one that needs longer");
    assert!(message.starts_with(&said), "{message}");
}

#[tokio::test]
async fn call_to_a_stopped_server_counts_as_not_sent() {
    let mut server = HttpFixture::start(&["--modern"]);
    let pool = server.pool(json!({}));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    server.stop();
    // A TCP connection may still be open on the client's side, so this call may count as sent.
    let (class, _, _) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!(class, FaultClass::Unavailable);
    for _ in 0..2 {
        let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
        assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never));
        assert!(message.contains("could not be reached") && message.contains("refused"), "{message}");
        assert!(message.contains(&format!("http://127.0.0.1:{}: ", server.port.number())), "{message}");
        assert!(!message.contains("/mcp"), "a path may hold a credential: {message}");
    }
    server.restart(&["--modern"]);
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

// Two threads, so that the client notices the closed TCP connection while this test restarts the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_session_is_opened_again_and_the_call_is_made_once() {
    for forget in ["400", "404"] {
        let dir = tempfile::tempdir().expect("a folder");
        let calls = file(&dir, "calls");
        let options = ["--forget", forget, "--calls", &calls.display().to_string()];
        let mut server = HttpFixture::start(&options);
        let pool = server.pool(json!({}));
        assert!(call(&pool, "echo", json!({})).await.is_ok());
        server.restart(&options);
        let started = Instant::now();
        let answer = call_within(&pool, "echo", json!({}), Duration::from_secs(10)).await;
        assert!(answer.is_ok(), "{forget}: {answer:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{forget}: {:?}", started.elapsed());
        assert_eq!(lines(&calls).len(), 2, "{forget}");
        pool.close().await;
    }
}

#[tokio::test]
async fn server_killed_during_a_call_is_a_fault_at_once() {
    for options in [&[][..], &["--modern"][..]] {
        let mut server = HttpFixture::start(options);
        let pool = server.pool(json!({}));
        let started = Instant::now();
        for tool in ["break_stream", "die"] {
            let (class, sent, message) = fault(call(&pool, tool, json!({})).await);
            assert_eq!(
                (class, sent),
                (FaultClass::Unavailable, Sent::Maybe),
                "{options:?} {tool}: {message}"
            );
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{options:?}: {:?}", started.elapsed());
        server.restart(options);
        assert!(call(&pool, "echo", json!({})).await.is_ok(), "{options:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn slow_tool_reaches_the_deadline() {
    for options in [&[][..], &["--modern"][..]] {
        let server = HttpFixture::start(options);
        let pool = server.pool(json!({}));
        let seen = call_within(&pool, "wait", json!({"seconds": 20}), Duration::from_millis(300)).await;
        let (class, sent, _) = fault(seen);
        assert_eq!((class, sent), (FaultClass::Timeout, Sent::Maybe), "{options:?}");
        assert!(call(&pool, "echo", json!({})).await.is_ok(), "{options:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn oversized_answer_is_a_fault() {
    for options in [&[][..], &["--modern"][..]] {
        let server = HttpFixture::start(options);
        let pool = server.pool(json!({"max_message_bytes": 1_000_000}));
        for (tool, bytes, reach) in
            [("huge", 20_000_000, Sent::Answered), ("huge_stream", 2_000_000, Sent::Maybe)]
        {
            let (class, sent, message) = fault(call(&pool, tool, json!({"bytes": bytes})).await);
            assert_eq!((class, sent), (FaultClass::ProtocolError, reach), "{options:?} {tool}: {message}");
            assert!(message.contains("exceeds `max_message_bytes`"), "{options:?} {tool}: {message}");
        }
        assert!(call(&pool, "echo", json!({})).await.is_ok(), "{options:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn fifty_concurrent_calls_do_not_wait_for_each_other() {
    for options in [&[][..], &["--modern"][..]] {
        let server = HttpFixture::start(options);
        let pool = server.pool(json!({}));
        call(&pool, "echo", json!({})).await.expect("an answer");
        let started = Instant::now();
        let calls = (0..50).map(|_| call(&pool, "wait", json!({"seconds": 1})));
        for answer in futures::future::join_all(calls).await {
            answer.expect("an answer");
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{options:?}: {:?}", started.elapsed());
        pool.close().await;
    }
}
