//! The error that a transport puts in the place of a message that is too large.
//!
//! The MCP library can only drop such a message, and the call would wait for its deadline. So the transport answers the
//! request itself, with an error that [`distil`](super::distil) knows again by its code and data.

use rmcp::model::{ErrorCode, ErrorData};
use serde_json::{Value, json};

/// The code of the error. Outside the range that JSON-RPC reserves.
const CODE: i32 = 1001;

/// The key of the error's data.
const DATA: &str = "dev.longshore/oversized";

/// A message of more than `max_message_bytes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Oversized {
    /// How large it was, where that is known.
    pub(crate) bytes: Option<usize>,
    /// How large it might have been.
    pub(crate) limit: usize,
    /// Whether it was the answer to the request: a stream of events may hold other messages as well.
    pub(crate) is_answer: bool,
}

impl Oversized {
    /// As the error of a response.
    pub(crate) fn error(self) -> ErrorData {
        let Self { bytes, limit, is_answer } = self;
        let data = json!({ DATA: { "bytes": bytes, "limit": limit, "is_answer": is_answer } });
        ErrorData::new(ErrorCode(CODE), "message too large", Some(data))
    }

    /// As a whole line of the protocol over stdio. `id` is JSON text.
    pub(crate) fn response_line(self, id: &str) -> String {
        let error = serde_json::to_string(&self.error()).unwrap_or_default();
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n")
    }

    /// Reads it back. `None` for every other error.
    pub(crate) fn from_error(error: &ErrorData) -> Option<Self> {
        let data = error.data.as_ref().filter(|_| error.code.0 == CODE)?.get(DATA)?;
        let number = |field: &str| usize::try_from(data.get(field)?.as_u64()?).ok();
        let is_answer = data.get("is_answer").and_then(Value::as_bool)?;
        Some(Self { bytes: number("bytes"), limit: number("limit")?, is_answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_message_is_known_again() {
        for bytes in [None, Some(7)] {
            let oversized = Oversized { bytes, limit: 5, is_answer: bytes.is_some() };
            assert_eq!(Oversized::from_error(&oversized.error()), Some(oversized));
        }
        assert_eq!(Oversized::from_error(&ErrorData::new(ErrorCode(CODE), "5", None)), None);
    }
}
