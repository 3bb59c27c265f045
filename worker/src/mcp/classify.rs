//! Failures of calls, and their classification: the only place that gives a fault its class.
//!
//! The transports and the connection report an [`McpFailure`]. [`classify`] maps it to the class of the fault, how far the
//! request came, and how long the server wants no further request. Pure.

use std::fmt;
use std::time::Duration;

use longshore_attempt::CallFault;
use longshore_proto::{Fault, FaultClass, Sent, truncate_with_size};

use super::config::Secrets;
use super::oversized::OversizedMessage;

/// A failure of a call, or of the connection before it, as it was observed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum McpFailure {
    /// The server's process could not be started.
    NotStarted(String),
    /// The server could not be reached: connection refused, unknown host, no route, or a failed TLS handshake.
    NotReached(String),
    /// There was no usable connection within the time for connecting. Holds the address and the output of the server.
    ConnectDeadline(Duration, String, String),
    /// The server did not list its tools in time.
    NotListed(Duration),
    /// The request could not be written in full.
    NotWritten(String),
    /// The connection ended, and the server had read no byte of the request.
    NotRead(String),
    /// The pool is closing.
    ShuttingDown,
    /// The run was cancelled.
    Cancelled,
    /// There was no answer before the deadline. Holds the limit that was reached, and the output of the server during the call.
    Deadline(String, String),
    /// The connection ended before the answer.
    Closed(String),
    /// The HTTP response is no answer.
    Http { status: u16, retry_after: Option<Duration>, detail: String },
    /// The server does not know the session of this connection any more.
    SessionLost(String),
    /// The process or the session that had the state of earlier calls of the run has ended.
    StateLost(String),
    /// The answer is a JSON-RPC error. `data` is the beginning of its data as JSON, `supported` the protocol versions that it
    /// offers.
    JsonRpc { code: i64, message: String, data: String, supported: Vec<String> },
    /// The tool's answer is an error in which a library reports a JSON-RPC error.
    Reported { code: i64, message: String },
    /// A message was larger than this server may send.
    TooLarge(OversizedMessage),
    /// The server sent something that is no answer.
    Unreadable(String),
    /// The server answered, and the answer cannot be read.
    BadAnswer(String),
    /// The tool needs the answer of a person to continue. Holds the question, and why it has no answer.
    InputRequired(String),
    /// The server asked a person during the call, got an error, and continued without an answer. Holds the question, and why it has
    /// no answer.
    AskedPerson(String),
    /// The answer is a task, which the call did not ask for.
    UnwantedTask,
    /// The task of the call failed. Holds the message of the server.
    TaskFailed(String),
    /// The server performed the call as a task, and its result is not available any more.
    TaskLost(String),
    /// The server does not list this tool.
    UnknownTool(String),
    /// The arguments do not fit the tool's schema.
    InvalidArguments(String),
}

/// JSON-RPC and MCP error codes of requests that were rejected before they reached a tool: parse error, invalid request, method
/// not found, header mismatch, missing capability, unsupported version (MCP 2026-07-28).
const REJECTED_BEFORE_TOOL: [i64; 6] =
    [-32700, -32600, METHOD_NOT_FOUND, -32020, -32021, UNSUPPORTED_VERSION];

/// Characters of the `data` of an error that a fault repeats: enough for a URL to visit, or a list of fields.
const DATA_CHARS: usize = 1_000;

/// JSON-RPC error code: the server has no such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC error code: the arguments, or in MCP also the tool's name, are wrong.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// MCP 2026-07-28 error code: the server does not speak the negotiated version. It was replaced by another server.
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;

/// Returns the class of a failure, how far the request came, and the time for which the server wants no further request.
pub(crate) fn classify(failure: &McpFailure) -> (FaultClass, Sent, Option<Duration>) {
    use McpFailure as F;
    let (class, sent) = match failure {
        F::NotStarted(_) | F::NotReached(_) | F::ConnectDeadline(..) | F::NotListed(_) => {
            (FaultClass::Unavailable, Sent::Never)
        }
        F::NotWritten(_) | F::NotRead(_) | F::ShuttingDown | F::SessionLost(_) => {
            (FaultClass::Unavailable, Sent::Never)
        }
        F::StateLost(_) => (FaultClass::StateLost, Sent::Never),
        F::Cancelled => (FaultClass::Cancelled, Sent::Maybe),
        F::Deadline(..) => (FaultClass::Timeout, Sent::Maybe),
        F::Closed(_) => (FaultClass::Unavailable, Sent::Maybe),
        F::Http { status, retry_after, .. } => return http(*status, *retry_after),
        F::JsonRpc { code, message, .. } => json_rpc(*code, message),
        // The tool has answered, even if the answer says that the request was rejected.
        F::Reported { code, message } => (json_rpc(*code, message).0, Sent::Answered),
        F::TooLarge(OversizedMessage { is_answer: true, .. }) => (FaultClass::ProtocolError, Sent::Answered),
        F::TooLarge(_) | F::Unreadable(_) | F::UnwantedTask | F::TaskLost(_) => {
            (FaultClass::ProtocolError, Sent::Maybe)
        }
        // The same as for an answer with `isError: true`, which a failed task may have as its result.
        F::TaskFailed(_) => (FaultClass::ToolError, Sent::Answered),
        F::BadAnswer(_) | F::InputRequired(_) | F::AskedPerson(_) => {
            (FaultClass::ProtocolError, Sent::Answered)
        }
        F::UnknownTool(_) => (FaultClass::UnknownTool, Sent::Never),
        F::InvalidArguments(_) => (FaultClass::InvalidArguments, Sent::Never),
    };
    (class, sent, None)
}

fn http(status: u16, retry_after: Option<Duration>) -> (FaultClass, Sent, Option<Duration>) {
    match status {
        401 | 403 | 407 => (FaultClass::Unauthorised, Sent::Never, None),
        429 => (FaultClass::RateLimited, Sent::Never, retry_after),
        // A server that sends `Retry-After` has rejected the request because of its load, without processing it.
        503 if retry_after.is_some() => (FaultClass::Unavailable, Sent::Never, retry_after),
        500.. => (FaultClass::Unavailable, Sent::Maybe, retry_after),
        // Redirects are not followed, and every other status below 500 rejects the request.
        _ => (FaultClass::ProtocolError, Sent::Never, None),
    }
}

fn json_rpc(code: i64, message: &str) -> (FaultClass, Sent) {
    match code {
        INVALID_PARAMS if names_a_missing_tool(message) => (FaultClass::UnknownTool, Sent::Never),
        INVALID_PARAMS => (FaultClass::InvalidArguments, Sent::Never),
        code if REJECTED_BEFORE_TOOL.contains(&code) => (FaultClass::ProtocolError, Sent::Never),
        _ => (FaultClass::ProtocolError, Sent::Answered),
    }
}

/// Returns true if an error with [`INVALID_PARAMS`] means an unknown tool. MCP has one code for wrong arguments and for an unknown
/// tool; the official libraries write "Unknown tool: x" and "Tool x not found".
fn names_a_missing_tool(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("unknown tool") || (message.contains("tool") && message.contains("not found"))
}

impl McpFailure {
    /// Returns the fault of a call with this failure.
    pub(crate) fn into_fault(self) -> CallFault {
        let (class, sent, retry_after) = classify(&self);
        CallFault { fault: Fault::new(class, self.to_string()).with_retry_after(retry_after), sent }
    }

    /// Returns the fault of a call that was not sent because of this failure.
    pub(crate) fn into_fault_before_call(self) -> CallFault {
        CallFault { sent: Sent::Never, ..self.into_fault() }
    }

    /// Returns the failure with secrets hidden: the texts of a server may repeat a credential.
    pub(crate) fn without(mut self, secrets: &Secrets) -> Self {
        match &mut self {
            Self::NotStarted(text)
            | Self::NotReached(text)
            | Self::Deadline(_, text)
            | Self::NotWritten(text)
            | Self::NotRead(text)
            | Self::Closed(text)
            | Self::Http { detail: text, .. }
            | Self::SessionLost(text)
            | Self::StateLost(text)
            | Self::Reported { message: text, .. }
            | Self::Unreadable(text)
            | Self::BadAnswer(text)
            | Self::AskedPerson(text)
            | Self::InputRequired(text)
            | Self::TaskFailed(text)
            | Self::TaskLost(text)
            | Self::UnknownTool(text)
            | Self::InvalidArguments(text) => *text = secrets.hide(text).into_owned(),
            Self::ConnectDeadline(_, place, printed) => {
                *place = secrets.hide(place).into_owned();
                *printed = secrets.hide(printed).into_owned();
            }
            Self::JsonRpc { message, data, .. } => {
                *message = secrets.hide(message).into_owned();
                // Secrets are hidden before the text is cut: the first part of a cut secret would not be found.
                *data = truncate_with_size(&secrets.hide(data), DATA_CHARS).into_owned();
            }
            Self::NotListed(_)
            | Self::ShuttingDown
            | Self::Cancelled
            | Self::TooLarge(_)
            | Self::UnwantedTask => {}
        }
        self
    }
}

impl std::error::Error for McpFailure {}

impl fmt::Display for McpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => write!(f, "the server could not be started: {why}"),
            Self::NotReached(why) => write!(f, "the server could not be reached: {why}"),
            Self::ConnectDeadline(after, place, printed) => write!(
                f,
                "the server was not ready within {after:?}{place}; one that needs longer gets the time by \
                 \"longshore\": {{\"connect_timeout_ms\": 60000}} in the servers file (the `timeout` of a step does not count the \
                 start){printed}"
            ),
            Self::NotListed(after) => write!(f, "the server did not list its tools within {after:?}"),
            Self::NotWritten(why) => write!(f, "the request could not be sent: {why}"),
            Self::NotRead(why) => write!(f, "the connection ended before the server read the request: {why}"),
            Self::ShuttingDown => f.write_str("the connections are being closed"),
            Self::Cancelled => f.write_str("the call was cancelled before its answer"),
            Self::Deadline(reached, printed) => write!(f, "{reached}{printed}"),
            Self::Closed(why) => write!(f, "the connection ended before the answer: {why}"),
            Self::Http { status, detail, retry_after } => {
                write!(f, "HTTP {status}")?;
                if !detail.is_empty() {
                    write!(f, ": {detail}")?;
                }
                match retry_after {
                    Some(pause) => write!(f, "; Retry-After: {} s", pause.as_secs()),
                    None => Ok(()),
                }
            }
            Self::SessionLost(why) => write!(f, "the server has forgotten the session: {why}"),
            Self::StateLost(why) => write!(
                f,
                "the server is `stateful`, and what earlier calls of this run left in it is gone: {why}; start the run again"
            ),
            Self::JsonRpc { code, message, data, .. } => {
                f.write_str(message)?;
                if *code != 0 {
                    write!(f, " ({code})")?;
                }
                if data.is_empty() { Ok(()) } else { write!(f, "; data: {data}") }
            }
            Self::Reported { code, message } => write!(f, "{message} ({code})"),
            Self::TooLarge(OversizedMessage { bytes: Some(bytes), limit, .. }) => write!(
                f,
                "the answer has {bytes} bytes, which exceeds `max_message_bytes` of the server ({limit})"
            ),
            Self::TooLarge(OversizedMessage { limit, .. }) => write!(
                f,
                "the server sent a message of more than {limit} bytes, which exceeds `max_message_bytes` of the server"
            ),
            Self::Unreadable(what) => write!(f, "the answer does not follow the protocol: {what}"),
            Self::BadAnswer(what) => write!(f, "the server answered, and the answer cannot be read: {what}"),
            Self::AskedPerson(question) => write!(
                f,
                "the server asked a person during the call: {question}; so the server got an error instead of an answer"
            ),
            Self::InputRequired(question) => write!(f, "the tool asks a person for input: {question}"),
            Self::UnwantedTask => f.write_str(
                "the server answered with a task, which the call had not asked for; the task was cancelled",
            ),
            Self::TaskFailed(why) => write!(f, "the task of the call failed{why}"),
            Self::TaskLost(why) => {
                write!(f, "the server performed the call as a task, and its result is not available: {why}")
            }
            Self::UnknownTool(why) | Self::InvalidArguments(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultClass::{
        Cancelled, InvalidArguments, ProtocolError, RateLimited, StateLost, Timeout, ToolError, Unauthorised,
        Unavailable, UnknownTool,
    };
    use Sent::{Answered, Maybe, Never};

    fn http(status: u16, retry_after: Option<u64>) -> McpFailure {
        McpFailure::Http { status, retry_after: retry_after.map(Duration::from_secs), detail: String::new() }
    }

    fn too_large(is_answer: bool) -> McpFailure {
        McpFailure::TooLarge(OversizedMessage { bytes: None, limit: 1, is_answer })
    }

    fn rpc(code: i64, message: &str) -> McpFailure {
        McpFailure::JsonRpc { code, message: message.to_owned(), data: String::new(), supported: Vec::new() }
    }

    #[test]
    fn every_failure_has_one_class() {
        use McpFailure as F;
        let text = || "x".to_owned();
        let second = Duration::from_secs(1);
        let cases = [
            (F::NotStarted(text()), Unavailable, Never),
            (F::NotReached(text()), Unavailable, Never),
            (F::ConnectDeadline(second, text(), text()), Unavailable, Never),
            (F::NotListed(second), Unavailable, Never),
            (F::NotWritten(text()), Unavailable, Never),
            (F::NotRead(text()), Unavailable, Never),
            (F::ShuttingDown, Unavailable, Never),
            (F::SessionLost(text()), Unavailable, Never),
            (F::StateLost(text()), StateLost, Never),
            (F::Cancelled, Cancelled, Maybe),
            (F::Deadline(text(), text()), Timeout, Maybe),
            (F::Closed(text()), Unavailable, Maybe),
            (too_large(true), ProtocolError, Answered),
            (too_large(false), ProtocolError, Maybe),
            (F::Unreadable(text()), ProtocolError, Maybe),
            (F::UnwantedTask, ProtocolError, Maybe),
            (F::TaskLost(text()), ProtocolError, Maybe),
            (F::TaskFailed(text()), ToolError, Answered),
            (F::InputRequired(text()), ProtocolError, Answered),
            (F::BadAnswer(text()), ProtocolError, Answered),
            (F::AskedPerson(text()), ProtocolError, Answered),
            (F::UnknownTool(text()), UnknownTool, Never),
            (F::InvalidArguments(text()), InvalidArguments, Never),
            (http(302, None), ProtocolError, Never),
            (http(400, None), ProtocolError, Never),
            (http(401, None), Unauthorised, Never),
            (http(403, None), Unauthorised, Never),
            (http(404, None), ProtocolError, Never),
            (http(429, None), RateLimited, Never),
            (http(500, None), Unavailable, Maybe),
            (http(502, None), Unavailable, Maybe),
            (http(503, None), Unavailable, Maybe),
            (http(503, Some(2)), Unavailable, Never),
            (rpc(-32700, "parse error"), ProtocolError, Never),
            (rpc(-32600, "invalid request"), ProtocolError, Never),
            (rpc(-32601, "method not found"), ProtocolError, Never),
            (rpc(-32602, "Unknown tool: x"), UnknownTool, Never),
            (rpc(-32602, "Tool x not found"), UnknownTool, Never),
            (rpc(-32602, "Invalid arguments for tool x"), InvalidArguments, Never),
            (rpc(-32603, "internal error"), ProtocolError, Answered),
            (rpc(-32000, "anything"), ProtocolError, Answered),
            (rpc(-32020, "header mismatch"), ProtocolError, Never),
            (rpc(-32021, "missing capability"), ProtocolError, Never),
            (rpc(-32022, "unsupported version"), ProtocolError, Never),
            (F::Reported { code: -32602, message: text() }, InvalidArguments, Answered),
            (F::Reported { code: -32602, message: "Tool x not found".to_owned() }, UnknownTool, Answered),
        ];
        for (failure, class, sent) in cases {
            let (found, how_far, _) = classify(&failure);
            assert_eq!((found, how_far), (class, sent), "{failure:?}");
        }
    }

    #[test]
    fn retry_after_is_applied_only_to_rate_limits_and_overload() {
        for (status, wanted) in [(429, Some(7)), (503, Some(7)), (401, None), (400, None)] {
            let fault = http(status, Some(7)).into_fault().fault;
            assert_eq!(fault.retry_after, wanted.map(Duration::from_secs), "{status}");
            assert_eq!(fault.message, format!("HTTP {status}; Retry-After: 7 s"));
        }
    }

    #[test]
    fn failure_before_the_call_never_counts_as_sent() {
        for failure in [http(500, None), McpFailure::Closed("x".into()), McpFailure::Unreadable("x".into())] {
            assert_eq!(failure.clone().into_fault().sent, Maybe, "{failure:?}");
            assert_eq!(failure.into_fault_before_call().sent, Never);
        }
    }

    #[test]
    fn credentials_in_texts_of_a_server_are_hidden() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        let said = || "bad token s3cret-token".to_owned();
        for failure in [
            McpFailure::JsonRpc { code: 1, message: said(), data: said(), supported: Vec::new() },
            McpFailure::Http { status: 401, retry_after: None, detail: said() },
            McpFailure::NotStarted(said()),
        ] {
            let message = failure.without(&secrets).into_fault().fault.message;
            assert!(message.contains("bad token ***") && !message.contains("s3cret"), "{message}");
        }
        let data = format!("{}s3cret-token and more", "x".repeat(DATA_CHARS - 6));
        let failure = McpFailure::JsonRpc { code: 1, message: said(), data, supported: Vec::new() };
        let message = failure.without(&secrets).into_fault().fault.message;
        assert!(message.contains("x***") && message.contains("bytes in all"), "{message}");
        assert!(!message.contains("s3c"), "{message}");
    }
}
