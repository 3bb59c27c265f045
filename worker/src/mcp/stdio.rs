//! A server's standard streams as a transport of the MCP library.
//!
//! The library's own line transport does the framing; what it lacks is put around it here: an oversized line ends the
//! connection instead of being dropped (which would leave the call waiting for ever), and the moment and reason of
//! the end are known at once, long before the library has finished its own shutdown.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rmcp::RoleClient;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::process::Streams;

/// Why a server's output ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was closed, most often because the server has gone.
    Closed,
    /// It could not be read.
    Failed(String),
    /// It sent a line of more than so many bytes.
    TooLarge(usize),
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

/// A transport over a child's streams that takes no line of more than `limit` bytes.
pub(crate) fn transport(
    streams: Streams,
    limit: usize,
    end: OutputEnd,
) -> AsyncRwTransport<RoleClient, WatchedOutput, ChildStdin> {
    let output = WatchedOutput { stdout: streams.stdout, line: 0, limit, end };
    // The limit is ours, so that exceeding it is not silent.
    AsyncRwTransport::new_client(output, streams.stdin).with_max_line_length(usize::MAX)
}

/// A child's standard output, with an eye on its end and on the length of its lines.
#[derive(Debug)]
pub(crate) struct WatchedOutput {
    stdout: ChildStdout,
    /// Bytes since the last newline.
    line: usize,
    limit: usize,
    end: OutputEnd,
}

impl AsyncRead for WatchedOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.end.is_reached() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match std::task::ready!(Pin::new(&mut self.stdout).poll_read(cx, buf)) {
            Ok(()) => {}
            Err(error) => {
                self.end.reach(End::Failed(error.to_string()));
                return Poll::Ready(Err(error));
            }
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            self.end.reach(End::Closed);
        } else if let Some(line) = longest_open_line(self.line, read, self.limit) {
            self.line = line;
        } else {
            let limit = self.limit;
            self.end.reach(End::TooLarge(limit));
            // To the library this is the end of the stream: nothing after a cut line means anything.
            buf.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

/// How many bytes stand after the last newline, counted on from `line`; nothing if any line exceeds `limit`.
fn longest_open_line(mut line: usize, read: &[u8], limit: usize) -> Option<usize> {
    for part in read.split_inclusive(|byte| *byte == b'\n') {
        line = line.saturating_add(part.len());
        if line > limit {
            return None;
        }
        if part.ends_with(b"\n") {
            line = 0;
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_line_apart() {
        let cases: [(usize, &[u8], Option<usize>); 6] = [
            (0, b"abc", Some(3)),
            (3, b"de\nf", Some(1)),
            (9, b"\n", Some(0)),
            (9, b"ab", None),
            (0, b"12345\n12345\n12345\n", Some(0)),
            (0, b"1\n12345678901\n", None),
        ];
        for (line, read, wanted) in cases {
            assert_eq!(longest_open_line(line, read, 10), wanted, "{line} {read:?}");
        }
    }
}
