//! The listener of metrics and health under hostile clients: it keeps answering others, and its cost is bounded.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use longshore_tests::longshore::StartedCommand;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::port::take_port;
use longshore_tests::scratch::Scratch;
use longshore_tests::wait::until;
use serde_json::json;
use tokio::time::Instant;

/// The number of connections that the listener keeps at once.
const MOST_CONNECTIONS: usize = 64;

/// Longer than the time that a client has to send the headers of a request.
const HEADER_LIMIT_PASSED: Duration = Duration::from_secs(12);

/// Starts a scheduler that waits for a NATS that is not started. Its listener answers from the start.
fn scheduler(scratch: &Scratch, nats: &NatsServer, listen: &str) -> StartedCommand {
    let arguments = ["scheduler", "--metrics-listen", listen, "--connect-deadline", "5m"];
    scratch.longshore(arguments).env("NATS_URL", &nats.url()).start()
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HEADER_LIMIT_PASSED)).unwrap();
    stream
}

/// Sends a request and returns the answer up to the end of the connection.
fn answer(mut stream: TcpStream, request: &[u8]) -> String {
    let mut answer = Vec::new();
    // A server that refuses a request may close the connection before it has read all of it.
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

fn open_files(process: &StartedCommand) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count()
}

#[tokio::test]
async fn slow_idle_and_large_requests_are_cut_off_and_others_are_answered() {
    let scratch = Scratch::new(&json!({}));
    let (nats, port) = (NatsServer::absent(), take_port());
    let address = port.address();
    let process = scheduler(&scratch, &nats, &address.to_string());
    until("it answers", || is_alive(address)).await;
    let files_before = open_files(&process);

    // A client that never ends its headers is cut off.
    let began = Instant::now();
    let mut slow = connected(address);
    slow.write_all(b"GET /livez HTTP/1.1\r\nx-").unwrap();
    let mut end = Vec::new();
    slow.read_to_end(&mut end).unwrap();
    assert!(began.elapsed() < HEADER_LIMIT_PASSED, "{:?}", began.elapsed());

    // Headers of a megabyte are refused.
    let large = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    assert!(!answer(connected(address), large.as_bytes()).starts_with("HTTP/1.1 200"));

    // Other clients are answered during a flood of idle connections, and the flood costs a bounded number of files.
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
async fn listener_on_all_addresses_is_warned_about_once() {
    const WARNING: &str = "shown to every client that reaches this address";
    let scratch = Scratch::new(&json!({}));
    let (nats, public_port, local_port) = (NatsServer::absent(), take_port(), take_port());
    let public = scheduler(&scratch, &nats, &format!("0.0.0.0:{}", public_port.number()));
    let local = scheduler(&scratch, &nats, &local_port.address().to_string());
    until("both answer", || is_alive(public_port.address()) && is_alive(local_port.address())).await;
    // A process has written its whole log when it has ended, and not when its listener answers.
    for process in [&public, &local] {
        process.terminate();
    }
    let (public, local) = (public.end().await, local.end().await);
    assert_eq!(public.stderr.matches(WARNING).count(), 1, "{public}");
    assert!(!local.stderr.contains(WARNING), "{local}");
}
