//! The listener of metrics and health under clients that mean harm: it keeps answering others, and its cost is bounded.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use longshore_tests::longshore::Started;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::port::free_address;
use longshore_tests::scratch::Scratch;
use longshore_tests::wait::until;
use serde_json::json;
use tokio::time::Instant;

/// Connections that the listener keeps at once.
const MOST_CONNECTIONS: usize = 64;

/// Longer than a client may take to send a request, and shorter than anybody's patience.
const HEADER_LIMIT_PASSED: Duration = Duration::from_secs(12);

/// A scheduler that waits for NATS: its listener is there from the start.
fn scheduler(scratch: &Scratch, listen: &str) -> Started {
    let nats = NatsServer::absent().url();
    let arguments = ["scheduler", "--metrics-listen", listen, "--connect-deadline", "5m"];
    scratch.longshore(arguments).env("NATS_URL", &nats).start()
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HEADER_LIMIT_PASSED)).unwrap();
    stream
}

/// Sends a request and returns the answer. What is left of it when the connection is reset, is lost.
fn answer(mut stream: TcpStream, request: &[u8]) -> String {
    let mut answer = Vec::new();
    // A server that refuses a request need not read it to its end.
    let _ = stream.write_all(request);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn is_alive(address: SocketAddr) -> bool {
    let stream = TcpStream::connect(address);
    stream.is_ok_and(|stream| {
        answer(stream, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 200")
    })
}

fn open_files(process: &Started) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count()
}

#[tokio::test]
async fn slow_idle_and_large_requests_are_cut_off_and_keep_nobody_out() {
    let scratch = Scratch::new(&json!({}));
    let address = free_address();
    let process = scheduler(&scratch, &address.to_string());
    until("it answers", || is_alive(address)).await;
    let files_before = open_files(&process);

    // A client that never ends its headers is cut off.
    let began = Instant::now();
    let mut slow = connected(address);
    slow.write_all(b"GET /livez HTTP/1.1\r\nx-").unwrap();
    let mut end = Vec::new();
    slow.read_to_end(&mut end).unwrap();
    assert!(began.elapsed() < HEADER_LIMIT_PASSED, "{:?}", began.elapsed());

    // Headers without end are refused.
    let large = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    assert!(!answer(connected(address), large.as_bytes()).starts_with("HTTP/1.1 200"));

    // A flood of connections that say nothing keeps nobody out, and costs a bounded number of files.
    let idle: Vec<TcpStream> = (0..5 * MOST_CONNECTIONS).map(|_| connected(address)).collect();
    let began = Instant::now();
    assert!(is_alive(address));
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    // The process opens files of its own as well; far fewer than the flood has connections.
    let most = files_before + MOST_CONNECTIONS + 32;
    until("the oldest connections are closed", || open_files(&process) <= most).await;
    let mut oldest = idle.first().unwrap();
    let closed = oldest.read(&mut [0; 1]);
    assert!(matches!(closed, Ok(0)) || closed.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    drop(idle);
    assert!(is_alive(address));
}

#[tokio::test]
async fn who_listens_for_everybody_is_warned_once() {
    const WARNING: &str = "shown to every client that reaches this address";
    let scratch = Scratch::new(&json!({}));
    let (open, closed) = (free_address(), free_address());
    let everywhere = scheduler(&scratch, &format!("0.0.0.0:{}", open.port()));
    let here = scheduler(&scratch, &closed.to_string());
    until("both answer", || is_alive(open) && is_alive(closed)).await;
    assert_eq!(everywhere.stderr().matches(WARNING).count(), 1, "{}", everywhere.stderr());
    assert!(!here.stderr().contains(WARNING), "{}", here.stderr());
}
