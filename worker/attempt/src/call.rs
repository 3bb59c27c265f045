//! The result of one call: an answer, or a fault.

use longshore_proto::{Fault, Sent};
use serde_json::Value;

/// What a tool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What the next steps see as `output`: the structured content if there is any; else a single text block that is a JSON
    /// object or list, parsed; else the text of all text blocks, joined by newlines; else, of content without text and media,
    /// the content itself.
    pub value: Value,
    /// The content list as it came.
    pub content: Value,
    /// The `_meta` of the result as it came; `null` if there is none.
    pub meta: Value,
    /// Whether the tool says that it failed.
    pub is_error: bool,
    /// The text of the answer, for the message of a fault. Empty unless [`Answer::is_error`].
    pub error_text: String,
}

/// Why a call gave no answer, and how far it had come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallFault {
    /// What went wrong.
    pub fault: Fault,
    /// Whether the tool can have been at work.
    pub sent: Sent,
}
