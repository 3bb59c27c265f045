//! The HTTP server for metrics and health. All resources that a client can use are bounded.
//!
//! The port has no login, so one client must not be able to block others. A connection serves one request and ends within
//! [`CONNECTION_LIMIT`]. Beyond [`MAX_CONNECTIONS`] the oldest connection is closed for the next one, so that a probe, which
//! is answered in milliseconds, gets through a flood of idle connections.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Maximum number of connections at once. A few collectors and probes need one each for some milliseconds.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Time that a client gets to send its request, which is one packet.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// Maximum duration of a connection, from its acceptance to the last byte of the answer. Collectors give up after ten
/// seconds by default.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);

/// Maximum size of a request, in bytes. This is the smallest limit that hyper allows.
const REQUEST_BYTES: usize = 8 * 1024;

/// Maximum number of headers of a request.
const MAX_HEADERS: usize = 32;

/// Pause after a failed accept. The usual cause is too many open files, and trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves connections for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.add(stream, router.clone()),
                Err(error) if is_client_error(&error) => debug!(%error, "a client left before it was accepted"),
                Err(error) => {
                    warn!(%error, "cannot accept a connection for metrics and health; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.tasks.join_next() => {}
        }
    }
}

/// Returns true if a failed accept is about one client only.
fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The open connections. Dropping this closes them.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// The tasks, oldest first.
    handles: VecDeque<AbortHandle>,
}

impl Connections {
    /// Serves one more connection, and closes the oldest one if there are too many.
    fn add(&mut self, stream: TcpStream, router: Router) {
        self.handles.retain(|handle| !handle.is_finished());
        if self.handles.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.handles.pop_front()
        {
            oldest.abort();
        }
        self.handles.push_back(self.tasks.spawn(connection(stream, router)));
    }
}

/// Answers one request.
async fn connection(stream: TcpStream, router: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).keep_alive(false);
    builder.max_buf_size(REQUEST_BYTES).max_headers(MAX_HEADERS);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_LIMIT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a request for metrics or health was not answered"),
        Err(_elapsed) => {
            debug!("a request for metrics or health was not answered within {CONNECTION_LIMIT:?}")
        }
    }
}
