//! Streams of server-sent events, in which each message is read before the library sees it.

use futures::{Stream, StreamExt as _};
use reqwest::Response;
use rmcp::model::RequestId;
use rmcp::transport::streamable_http_client::SseError;
use sse_stream::{Sse, SseStream};

use super::super::classify::Observation;
use super::super::oversized::Oversized;
use super::super::wire::Requests;

/// A server that asks for less between two streams would be asked all the time.
const SHORTEST_RETRY_MILLIS: u64 = 500;

/// An event of more bytes than it may have.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("an event of more than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

/// The events of a response. `of` is the request that they answer; those of a stream by itself answer several. An event of more
/// than `limit` bytes ends the request.
pub(super) fn of(
    response: Response,
    of: Option<RequestId>,
    requests: Requests,
    limit: usize,
) -> impl Stream<Item = Result<Sse, SseError>> + Send + 'static {
    let mut open = OpenEvent::default();
    let chunks = response.bytes_stream().map(move |chunk| {
        let chunk = chunk?;
        open.add(&chunk);
        if open.bytes > limit { Err(StreamError::TooLarge(limit)) } else { Ok(chunk) }
    });
    SseStream::from_bytes_stream(chunks).flat_map(move |event| {
        let events: Vec<_> = match event {
            Ok(event) => read(event, of.as_ref(), &requests).into_iter().map(Ok).collect(),
            Err(error) => vec![too_large(&error, of.as_ref(), &requests, limit).ok_or(error)],
        };
        futures::stream::iter(events)
    })
}

/// The same event, with the message that the library gets in its place; several, if it holds a batch.
fn read(mut event: Sse, of: Option<&RequestId>, requests: &Requests) -> Vec<Sse> {
    event.retry = event.retry.map(|millis| millis.max(SHORTEST_RETRY_MILLIS));
    let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
    let data = event.data.as_deref().filter(|data| is_message && !data.trim().is_empty());
    let Some(data) = data else { return vec![event] };
    let reading = requests.read(data.as_bytes(), of);
    let messages = reading.messages.iter().filter_map(|message| serde_json::to_string(message).ok());
    let mut events: Vec<Sse> = messages.map(|data| Sse { data: Some(data), ..event.clone() }).collect();
    if events.is_empty() {
        // Its id still counts for going on with a stream that broke.
        events.push(Sse { data: None, ..event });
    }
    events
}

/// The event that ends a request whose answer is too large.
fn too_large(error: &SseError, of: Option<&RequestId>, requests: &Requests, limit: usize) -> Option<Sse> {
    let SseError::Body(error) = error else { return None };
    error.downcast_ref::<StreamError>().filter(|error| matches!(error, StreamError::TooLarge(_)))?;
    // The event may have been a notification that came before the answer.
    let seen = Observation::TooLarge(Oversized { bytes: None, limit, is_answer: false });
    let message = requests.fault(of?, seen)?;
    Some(Sse::default().data(serde_json::to_string(&message).ok()?))
}

/// Counts the bytes of the event that has not ended yet. An empty line ends an event; a line may end with CR, LF or both.
#[derive(Debug, Default)]
struct OpenEvent {
    bytes: usize,
    line_bytes: usize,
    after_cr: bool,
}

impl OpenEvent {
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
    fn an_empty_line_ends_an_event() {
        for (text, wanted) in [
            ("data: a\n\n", 0),
            ("data: a\r\n\r\n", 0),
            ("data: a\r\r", 0),
            ("data: a\ndata: b", 14),
            ("data: a\n\ndata: bc\n", 8),
        ] {
            let mut open = OpenEvent::default();
            text.as_bytes().chunks(2).for_each(|chunk| open.add(chunk));
            assert_eq!(open.bytes, wanted, "{text:?}");
        }
    }
}
