//! Answers to refused requests.

use serde_json::json;

use crate::refusal::Refusal;

/// Answer to a request that is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorResponse {
    /// Status code as in HTTP: 400 the request is invalid, 404 its object is unknown, 409 it contradicts an existing object,
    /// 413 it is too large, 429 the namespace is at its limit, 503 the same request may succeed later, 500 the operator has
    /// to fix the cause.
    pub code: u16,
    /// The reason, in one line.
    pub message: String,
    /// The reason as JSON, with all problems: `{"error": …, "problems": […]}`.
    pub body: Vec<u8>,
}

impl From<Refusal> for ErrorResponse {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let body = json!({ "error": text, "reason": refusal.token(), "problems": refusal.problems() });
        // The message is sent in a header, which is one line. The body has all of it.
        let message = text.lines().next().unwrap_or_default().to_owned();
        Self { code: refusal.code(), message, body: body.to_string().into_bytes() }
    }
}
