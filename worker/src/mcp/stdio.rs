//! Transport of the MCP library over the standard streams of a server.
//!
//! Each line is one message. A line that is too long is not kept, and ends the call that it answers. A line that is no message is
//! shown with the server's standard error. The end of the output and its reason are reported at once, long before the library has
//! finished its own shutdown.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::classify::McpFailure;
use super::envelope::{EnvelopeScan, MessageEnvelope};
use super::input::ServerInput;
use super::oversized::OversizedMessage;
use super::process::{OutputTail, ServerStreams};
use super::wire::PendingRequests;

/// The length of a line that ends the connection, because after so many bytes no newline will follow. The bytes are read, but
/// not kept.
const LONGEST_LINE_BYTES: usize = 1 << 30;

/// Bytes that are read at once: the capacity of a pipe.
const READ_BYTES: usize = 64 * 1024;

/// Reason why a server's output ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum OutputEndReason {
    /// The output was closed, in most cases because the server has exited.
    Closed,
    /// The output could not be read.
    Failed(String),
    /// A line was longer than this number of bytes.
    EndlessLine(usize),
}

/// The end of a server's output, for which callers wait while they wait for an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputEnd {
    reason: Arc<OnceLock<OutputEndReason>>,
    reached: CancellationToken,
}

impl OutputEnd {
    fn reach(&self, reason: OutputEndReason) {
        // The first reason counts.
        let _ = self.reason.set(reason);
        self.reached.cancel();
    }

    /// Returns true if the output has ended.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.is_cancelled()
    }

    /// Waits for the end.
    pub(crate) async fn reached(&self) -> OutputEndReason {
        self.reached.cancelled().await;
        self.reason.get().cloned().unwrap_or(OutputEndReason::Closed)
    }
}

/// A transport over a child's streams.
#[derive(Debug)]
pub(crate) struct StdioTransport {
    stdin: Arc<Mutex<Option<ServerInput>>>,
    stdout: BufReader<ChildStdout>,
    lines: LineReader,
    /// Messages of the last line that the library has not taken yet.
    ready: VecDeque<RxJsonRpcMessage<RoleClient>>,
    end: OutputEnd,
}

impl StdioTransport {
    /// Creates a transport that keeps no line of more than `limit` bytes. Lines that are no messages are added to `tail`.
    pub(crate) fn new(
        streams: ServerStreams,
        limit: usize,
        requests: PendingRequests,
        tail: Arc<OutputTail>,
        end: OutputEnd,
    ) -> Self {
        Self {
            stdin: Arc::new(Mutex::new(Some(ServerInput::new(streams.stdin)))),
            stdout: BufReader::with_capacity(READ_BYTES, streams.stdout),
            lines: LineReader { limit, requests, tail, line: Vec::new(), bytes: 0, long: None },
            ready: VecDeque::new(),
            end,
        }
    }
}

impl Transport<RoleClient> for StdioTransport {
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.lines.requests.note_sent(&message);
        let (stdin, requests) = (Arc::clone(&self.stdin), self.lines.requests.clone());
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let mut stdin = stdin.lock().await;
            let Some(stdin) = stdin.as_mut() else { return Err(std::io::ErrorKind::NotConnected.into()) };
            requests.note_start(&message, stdin.written());
            // After an error the newline that ends the request was not written, so no server can have read the request.
            stdin.write(&line).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            if self.end.is_reached() {
                return None;
            }
            match self.stdout.fill_buf().await {
                Ok([]) => self.end.reach(OutputEndReason::Closed),
                Ok(available) => {
                    let taken = self.lines.read(available, &mut self.ready);
                    self.stdout.consume(taken);
                    if self.lines.bytes > LONGEST_LINE_BYTES {
                        self.end.reach(OutputEndReason::EndlessLine(LONGEST_LINE_BYTES));
                    }
                    // Many lines without messages must not keep other tasks from running.
                    tokio::task::consume_budget().await;
                }
                Err(error) => self.end.reach(OutputEndReason::Failed(error.to_string())),
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        // The end of its input asks the server to exit.
        let Some(stdin) = self.stdin.lock().await.take() else { return Ok(()) };
        if self.end.is_reached()
            && let Some(read) = stdin.read_by_ended_server().await
        {
            self.lines.requests.note_read(read);
        }
        Ok(())
    }
}

/// An incremental reader of lines, which reads the messages in them.
#[derive(Debug)]
struct LineReader {
    limit: usize,
    requests: PendingRequests,
    tail: Arc<OutputTail>,
    /// The current line so far, unless it is too long.
    line: Vec<u8>,
    /// Bytes of the current line so far, including its newline.
    bytes: usize,
    /// Scan of a line that is too long to be kept.
    long: Option<EnvelopeScan>,
}

impl LineReader {
    /// Reads bytes up to the end of the first line. Returns the number of bytes that were consumed.
    fn read(&mut self, read: &[u8], ready: &mut VecDeque<RxJsonRpcMessage<RoleClient>>) -> usize {
        let end = read.iter().position(|byte| *byte == b'\n');
        let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
        let taken = part.len().saturating_add(usize::from(end.is_some()));
        self.bytes = self.bytes.saturating_add(taken);
        if self.bytes > self.limit {
            let line = std::mem::take(&mut self.line);
            let scan = self.long.get_or_insert_with(|| {
                let mut scan = EnvelopeScan::default();
                scan.read(&line);
                scan
            });
            scan.read(part);
        } else {
            self.line.extend_from_slice(part);
        }
        if end.is_some() {
            self.finish(ready);
        }
        taken
    }

    fn finish(&mut self, ready: &mut VecDeque<RxJsonRpcMessage<RoleClient>>) {
        let (line, bytes) = (std::mem::take(&mut self.line), std::mem::take(&mut self.bytes));
        if let Some(scan) = self.long.take() {
            ready.extend(self.too_long(bytes, scan.finish()));
            return;
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        if line.get(..15).is_some_and(|start| start.eq_ignore_ascii_case(b"content-length:")) {
            let why = "the server frames its messages with `Content-Length` headers; over stdio, MCP has one message a line";
            ready.extend(self.requests.fault_all(&McpFailure::Unreadable(why.to_owned())));
            return;
        }
        let reading = self.requests.read(line, None);
        ready.extend(reading.messages);
        if reading.is_unread {
            self.tail.add_unread(line);
        }
    }

    /// Returns the message that ends the call whose answer was too long. Returns `None` if no call waits for this line.
    fn too_long(&self, bytes: usize, envelope: MessageEnvelope) -> Option<RxJsonRpcMessage<RoleClient>> {
        let (server, limit) = (self.tail.server(), self.limit);
        match envelope {
            MessageEnvelope::Response { id } => {
                let oversized = OversizedMessage { bytes: Some(bytes), limit, is_answer: true };
                let id = serde_json::from_str(&id).ok()?;
                self.requests.fault(&id, McpFailure::TooLarge(oversized))
            }
            MessageEnvelope::FromServer => {
                warn!(%server, bytes, limit, "dropped a request or notification that exceeds `max_message_bytes`");
                None
            }
            MessageEnvelope::Unknown => {
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
    use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest, JsonRpcMessage, RequestId};

    use super::super::config::Secrets;
    use super::super::elicitation::Elicitation;
    use super::*;

    fn lines(limit: usize, asked: &[i64]) -> LineReader {
        let requests = PendingRequests::new(Secrets::default(), Elicitation::Refuse);
        for id in asked {
            let call = CallToolRequest::new(CallToolRequestParams::new("t"));
            requests.note_sent(&JsonRpcMessage::request(
                ClientRequest::CallToolRequest(call),
                RequestId::Number(*id),
            ));
        }
        let tail = Arc::new(OutputTail::new("s".parse().expect("a name"), Secrets::default()));
        LineReader { limit, requests, tail, line: Vec::new(), bytes: 0, long: None }
    }

    fn answer(lines: &LineReader, id: i64) -> String {
        match lines.requests.take(&RequestId::Number(id)).map(|answer| answer.result) {
            Some(Ok(result)) => serde_json::Value::Object(result).to_string(),
            Some(Err(failure)) => failure.to_string(),
            None => "nothing".to_owned(),
        }
    }

    #[test]
    fn size_limit_applies_to_each_line_and_only_an_oversized_answer_ends_a_call() {
        let small = "{\"id\":1,\"result\":{}}\n";
        let large = format!("{{\"id\":2,\"result\":\"{}\"}}\n", "x".repeat(50));
        let notice = format!("{{\"method\":\"m\",\"params\":\"{}\"}}\n", "x".repeat(50));
        let noise = format!("{}\n", "x".repeat(100));
        let last = "{\"id\":3,\"result\":{\"a\":1}}\r\n";
        let text = format!("{small}{notice}{noise}{large}\n{last}");
        for size in [1, 10, 64, 1000] {
            let (mut lines, mut ready) = (lines(40, &[1, 2, 3, 4]), VecDeque::new());
            for piece in text.as_bytes().chunks(size) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let taken = lines.read(rest, &mut ready);
                    rest = &rest[taken..];
                }
            }
            assert_eq!(
                (ready.len(), answer(&lines, 1).as_str(), answer(&lines, 3).as_str()),
                (3, "{}", "{\"a\":1}")
            );
            let too_long = format!("the answer has {} bytes, which exceeds", large.len());
            assert!(answer(&lines, 2).starts_with(&too_long), "{size}");
            assert_eq!(answer(&lines, 4), "nothing");
        }
    }

    #[test]
    fn line_that_is_no_message_is_shown_in_faults() {
        let (mut lines, mut ready) = (lines(1000, &[1, 2]), VecDeque::new());
        lines.read(b"Listening on port 3000\n", &mut ready);
        assert_eq!(lines.tail.as_suffix(), "; it said:\nstdout: `Listening on port 3000`");
        lines.read(b"Content-Length: 20\r\n", &mut ready);
        assert_eq!(ready.len(), 2);
        assert!(answer(&lines, 1).contains("`Content-Length` headers"));
    }

    #[test]
    fn endless_line_takes_no_memory() {
        let (mut lines, mut ready) = (lines(40, &[]), VecDeque::new());
        for _ in 0..1000 {
            lines.read(&[b'x'; 1000], &mut ready);
        }
        assert_eq!((lines.bytes, lines.line.capacity()), (1_000_000, 0));
    }
}
