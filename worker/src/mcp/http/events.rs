//! Streams of server-sent events, whose messages are read before the library sees them.

use futures::{Stream, StreamExt as _};
use reqwest::Response;
use rmcp::model::RequestId;
use rmcp::transport::streamable_http_client::SseError;
use sse_stream::{Sse, SseStream};

use super::super::classify::McpFailure;
use super::super::oversized::OversizedMessage;
use super::super::wire::PendingRequests;

/// The shortest retry time of a stream, even if the server sets a shorter one: otherwise it would get requests all the time.
const SHORTEST_RETRY_MILLIS: u64 = 500;

/// Error of a stream of events.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("an event of more than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

/// Returns the events of a response. `of` is the request that they answer; events of a standalone stream answer several requests.
/// An event of more than `limit` bytes ends the request.
pub(super) fn of(
    response: Response,
    of: Option<RequestId>,
    requests: PendingRequests,
    limit: usize,
) -> impl Stream<Item = Result<Sse, SseError>> + Send + 'static {
    let mut size = EventSize::default();
    let chunks = response.bytes_stream().map(move |chunk| {
        let chunk = chunk?;
        size.add(&chunk);
        if size.bytes > limit { Err(StreamError::TooLarge(limit)) } else { Ok(chunk) }
    });
    SseStream::from_bytes_stream(chunks).flat_map(move |event| {
        let events: Vec<_> = match event {
            Ok(event) => read(event, of.as_ref(), &requests).into_iter().map(Ok).collect(),
            Err(error) => vec![too_large(&error, of.as_ref(), &requests, limit).ok_or(error)],
        };
        futures::stream::iter(events)
    })
}

/// Reads the message of an event. Returns the event with the message for the library, or several events for a batch.
fn read(mut event: Sse, of: Option<&RequestId>, requests: &PendingRequests) -> Vec<Sse> {
    event.retry = event.retry.map(|millis| millis.max(SHORTEST_RETRY_MILLIS));
    let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
    let data = event.data.as_deref().filter(|data| is_message && !data.trim().is_empty());
    let Some(data) = data else { return vec![event] };
    let reading = requests.read(data.as_bytes(), of);
    let messages = reading.messages.iter().filter_map(|message| serde_json::to_string(message).ok());
    let mut events: Vec<Sse> = messages.map(|data| Sse { data: Some(data), ..event.clone() }).collect();
    if events.is_empty() {
        // The id of the event is needed to resume the stream.
        events.push(Sse { data: None, ..event });
    }
    events
}

/// Returns the event that ends a request whose answer is too large.
fn too_large(
    error: &SseError,
    of: Option<&RequestId>,
    requests: &PendingRequests,
    limit: usize,
) -> Option<Sse> {
    let SseError::Body(error) = error else { return None };
    error.downcast_ref::<StreamError>().filter(|error| matches!(error, StreamError::TooLarge(_)))?;
    // The event may have been a notification that came before the answer.
    let failure = McpFailure::TooLarge(OversizedMessage { bytes: None, limit, is_answer: false });
    let message = requests.fault(of?, failure)?;
    Some(Sse::default().data(serde_json::to_string(&message).ok()?))
}

/// The size of the current event so far. An empty line ends an event; a line may end with CR, LF or both.
#[derive(Debug, Default)]
struct EventSize {
    bytes: usize,
    line_bytes: usize,
    after_cr: bool,
}

impl EventSize {
    fn add(&mut self, chunk: &[u8]) {
        for byte in chunk {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' if self.line_bytes == 0 => self.bytes = 0,
                b'\n' | b'\r' => self.line_bytes = 0,
                _ => {
                    self.line_bytes = self.line_bytes.saturating_add(1);
                    self.bytes = self.bytes.saturating_add(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_line_ends_an_event() {
        for (text, wanted) in [
            ("data: a\n\n", 0),
            ("data: a\r\n\r\n", 0),
            ("data: a\r\r", 0),
            ("data: a\ndata: b", 14),
            ("data: a\n\ndata: bc\n", 8),
        ] {
            let mut size = EventSize::default();
            text.as_bytes().chunks(2).for_each(|chunk| size.add(chunk));
            assert_eq!(size.bytes, wanted, "{text:?}");
        }
    }
}
