//! A server's standard streams as a transport of the MCP library.
//!
//! The library's own line transport does the framing, and drops a line that is too long without a word. What it lacks is
//! put around it here: after an oversized response the reader inserts an error response with the same id, so that the
//! call ends at once and the others go on; and the moment and reason of the end of the output are known at once, long
//! before the library has finished its own shutdown.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use longshore_proto::ServerName;
use rmcp::RoleClient;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncBufRead as _, AsyncRead, BufReader, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::envelope::{Envelope, EnvelopeScan};
use super::oversized::Oversized;
use super::process::Streams;

/// A line that is longer than this ends the connection: a server that sends so much without a newline is not going to
/// send one. Reading it costs time, not memory.
const LONGEST_LINE_BYTES: usize = 1 << 30;

/// What is read of a pipe at once: as much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Why a server's output ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was closed, most often because the server has gone.
    Closed,
    /// It could not be read.
    Failed(String),
    /// It sent a line of more than so many bytes.
    EndlessLine(usize),
}

/// The end of a server's output, which everybody who waits for an answer can wait for too.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputEnd {
    why: Arc<OnceLock<End>>,
    reached: CancellationToken,
}

impl OutputEnd {
    fn reach(&self, why: End) {
        // The first reason counts.
        let _ = self.why.set(why);
        self.reached.cancel();
    }

    /// Whether it has ended.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.is_cancelled()
    }

    /// Waits for the end.
    pub(crate) async fn reached(&self) -> End {
        self.reached.cancelled().await;
        self.why.get().cloned().unwrap_or(End::Closed)
    }
}

/// A transport over a child's streams that delivers no line of more than `limit` bytes.
pub(crate) fn transport(
    streams: Streams,
    server: ServerName,
    limit: usize,
    end: OutputEnd,
) -> AsyncRwTransport<RoleClient, WatchedOutput, ChildStdin> {
    let stdout = BufReader::with_capacity(READ_BYTES, streams.stdout);
    let output = WatchedOutput { stdout, lines: LineWatch::new(server, limit), inserted: Vec::new(), end };
    AsyncRwTransport::new_client(output, streams.stdin).with_max_line_length(limit)
}

/// A child's standard output: its end is noticed, and oversized responses are followed by an error response.
#[derive(Debug)]
pub(crate) struct WatchedOutput {
    stdout: BufReader<ChildStdout>,
    lines: LineWatch,
    /// Bytes that the library reads before more of the output. Empty except after an oversized response.
    inserted: Vec<u8>,
    end: OutputEnd,
}

impl AsyncRead for WatchedOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if !this.inserted.is_empty() {
            let fits = this.inserted.len().min(buf.remaining());
            let now: Vec<u8> = this.inserted.drain(..fits).collect();
            buf.put_slice(&now);
            return Poll::Ready(Ok(()));
        }
        if this.end.is_reached() {
            return Poll::Ready(Ok(()));
        }
        let available = match ready!(Pin::new(&mut this.stdout).poll_fill_buf(cx)) {
            Ok(available) => available,
            Err(error) => {
                this.end.reach(End::Failed(error.to_string()));
                return Poll::Ready(Err(error));
            }
        };
        if available.is_empty() {
            this.end.reach(End::Closed);
            return Poll::Ready(Ok(()));
        }
        let fits = available.get(..available.len().min(buf.remaining())).unwrap_or_default();
        let (taken, inserted) = this.lines.read(fits);
        buf.put_slice(fits.get(..taken).unwrap_or_default());
        Pin::new(&mut this.stdout).consume(taken);
        if let Some(error) = inserted {
            this.inserted = error.into_bytes();
        }
        if this.lines.is_endless() {
            this.end.reach(End::EndlessLine(LONGEST_LINE_BYTES));
        }
        Poll::Ready(Ok(()))
    }
}

/// Counts the bytes of the current line and reads its envelope.
#[derive(Debug)]
struct LineWatch {
    server: ServerName,
    limit: usize,
    /// Bytes of the current line so far, with its newline. The library counts in the same way.
    bytes: usize,
    envelope: EnvelopeScan,
}

impl LineWatch {
    fn new(server: ServerName, limit: usize) -> Self {
        Self { server, limit, bytes: 0, envelope: EnvelopeScan::default() }
    }

    const fn is_endless(&self) -> bool {
        self.bytes > LONGEST_LINE_BYTES
    }

    /// Reads on. Returns how many bytes of `read` may be delivered, which ends with the first oversized response, and
    /// the line to deliver after them.
    fn read(&mut self, read: &[u8]) -> (usize, Option<String>) {
        let mut taken: usize = 0;
        for part in read.split_inclusive(|byte| *byte == b'\n') {
            taken = taken.saturating_add(part.len());
            self.bytes = self.bytes.saturating_add(part.len());
            let Some(last) = part.strip_suffix(b"\n") else {
                self.envelope.read(part);
                continue;
            };
            self.envelope.read(last);
            let (bytes, envelope) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.envelope));
            if bytes > self.limit
                && let Some(error) = self.oversized(bytes, envelope.finish())
            {
                return (taken, Some(error));
            }
        }
        (taken, None)
    }

    /// The line that follows an oversized one. Nothing if no call can be told that its answer was lost.
    fn oversized(&self, bytes: usize, envelope: Envelope) -> Option<String> {
        let Self { server, limit, .. } = self;
        match envelope {
            Envelope::Response { id } => {
                let oversized = Oversized { bytes: Some(bytes), limit: *limit, is_answer: true };
                Some(oversized.response_line(&id))
            }
            Envelope::FromServer => {
                warn!(%server, bytes, limit, "dropped a request or notification that exceeds `max_message_bytes`");
                None
            }
            Envelope::Unknown => {
                warn!(
                    %server, bytes, limit,
                    "dropped a line that exceeds `max_message_bytes` and has no id that can be read; if it was an answer, \
                     its call ends at its deadline"
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(limit: usize) -> LineWatch {
        LineWatch::new("s".parse().expect("a name"), limit)
    }

    #[test]
    fn each_line_counts_apart_and_only_an_oversized_response_is_followed_by_an_error() {
        let small = "{\"id\":1,\"result\":0}\n";
        let large = format!("{{\"id\":2,\"result\":\"{}\"}}\n", "x".repeat(50));
        let notice = format!("{{\"method\":\"m\",\"params\":\"{}\"}}\n", "x".repeat(50));
        let noise = format!("{}\n", "x".repeat(100));
        let text = format!("{small}{notice}{noise}{large}{small}");
        for size in [1, 10, 64, 1000] {
            let (mut watch, mut rest, mut delivered) = (watch(40), text.as_bytes(), String::new());
            while !rest.is_empty() {
                let piece = rest.get(..size.min(rest.len())).expect("a piece");
                let (taken, inserted) = watch.read(piece);
                delivered.push_str(std::str::from_utf8(&piece[..taken]).expect("text"));
                delivered.push_str(inserted.as_deref().unwrap_or_default());
                rest = &rest[taken..];
            }
            let error = Oversized { bytes: Some(large.len()), limit: 40, is_answer: true }.response_line("2");
            assert_eq!(delivered, format!("{small}{notice}{noise}{large}{error}{small}"), "{size}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_noticed() {
        let mut watch = watch(40);
        watch.bytes = LONGEST_LINE_BYTES - 1;
        watch.read(b"x");
        assert!(!watch.is_endless());
        watch.read(b"x");
        assert!(watch.is_endless());
    }
}
