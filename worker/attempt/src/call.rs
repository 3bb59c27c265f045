//! The result of one call: an answer or a fault.

use std::time::Duration;

use longshore_proto::{Fault, Payload, Sent, ServerInstance, SpilledPayload, Timestamp};
use serde_json::Value;

/// The answer of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The `output` for later steps: the structured content if there is any; else a single text block that is a JSON
    /// object or list, parsed; else the text of all text blocks, joined by newlines; else, for content without text and media,
    /// the content itself.
    pub value: Value,
    /// The unchanged list of content blocks.
    pub content: Value,
    /// The unchanged `_meta` of the result; `null` if the result has no `_meta`.
    pub meta: Value,
    /// The tool reports that it failed.
    pub is_error: bool,
    /// The text of the answer, for the message of a fault. Empty unless [`Answer::is_error`].
    pub error_text: String,
    /// A number of the answer that 64 bits cannot hold, as the server wrote it. The value or the content has the nearest float.
    pub rounded: Option<String>,
}

/// The answer of a tool as a record holds it: large values are blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct SpilledAnswer {
    /// [`Answer::value`].
    pub value: SpilledPayload,
    /// [`Answer::content`], if the step keeps it.
    pub content: Option<SpilledPayload>,
    /// [`Answer::is_error`].
    pub is_error: bool,
    /// [`Answer::error_text`].
    pub error_text: String,
    /// [`Answer::rounded`].
    pub rounded: Option<String>,
}

impl Answer {
    /// Encodes the answer for a record. Takes long for a large answer.
    pub fn spill(self, keep_content: bool) -> SpilledAnswer {
        let Self { value, content, is_error, error_text, rounded, .. } = self;
        let content = keep_content.then(|| Payload::spill(content));
        SpilledAnswer { value: Payload::spill(value), content, is_error, error_text, rounded }
    }
}

/// The fault of a call that has no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallFault {
    /// The class and the message.
    pub fault: Fault,
    /// Known progress of the request, which shows if the tool may have run.
    pub sent: Sent,
}

/// A call that has ended, with what its [`AttemptRecord`](longshore_proto::AttemptRecord) needs.
#[derive(Debug)]
pub struct FinishedCall {
    /// The server process to which the request was sent.
    pub process: Option<ServerInstance>,
    /// Start of the call.
    pub started_at: Timestamp,
    /// Duration of the call.
    pub took: Duration,
    /// Variables and headers whose values were replaced in the answer.
    pub masked: Vec<String>,
    /// The answer or the fault.
    pub result: Result<SpilledAnswer, CallFault>,
}
