//! What was observed, and what it means: the one place where a fault gets its class.
//!
//! `distil` and the connection say what they saw as an [`Observation`]; [`classify`] says, by one table, what kind of
//! fault that is, how far the call can have come, and how long to stay away. Pure.

use std::fmt;
use std::time::Duration;

use longshore_attempt::CallFault;
use longshore_proto::{Fault, FaultClass, Sent, truncate_with_size};

use super::config::Secrets;
use super::oversized::Oversized;

/// What was seen when a call, or the way to it, went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Observation {
    /// The server's process could not be started.
    NotStarted(String),
    /// The server could not be reached: refused, no such host, no route, a TLS handshake that failed.
    NotReached(String),
    /// No usable connection within the time for connecting; where, and what the server said.
    ConnectDeadline(Duration, String),
    /// The server is there, and does not say which tools it has.
    NotListed(Duration),
    /// The request could not be handed over in full.
    NotWritten(String),
    /// The connection ended, and the server had read no byte of the request.
    NotRead(String),
    /// The pool is closing.
    ShuttingDown,
    /// The run was cancelled.
    Cancelled,
    /// No answer before the deadline: the limit that was reached, and what the server printed to its standard error meanwhile.
    Deadline(String, String),
    /// The connection ended before the answer.
    Closed(String),
    /// An HTTP response that is no answer.
    Http { status: u16, retry_after: Option<Duration>, detail: String },
    /// The server does not know the session of this connection any more.
    SessionLost(String),
    /// The process or the session is gone in which earlier calls of the run left something.
    StateLost(String),
    /// A JSON-RPC error, with the beginning of its `data` as JSON, and the protocol versions that it offers.
    JsonRpc { code: i64, message: String, data: String, supported: Vec<String> },
    /// The tool's answer is an error in which a library reports a JSON-RPC error.
    Reported { code: i64, message: String },
    /// A message that is larger than this server may send.
    TooLarge(Oversized),
    /// Something else came where an answer was waited for.
    Unreadable(String),
    /// The answer came, and cannot be read.
    BadAnswer(String),
    /// The tool asks a person for something, and continues with the answer: the question, and why it has no answer.
    InputRequired(String),
    /// The server asked a person during the call, got an error, and continued without an answer: the question, and why it has no
    /// answer.
    AskedPerson(String),
    /// The answer is a task that the call did not ask for.
    Task,
    /// The task of the call ended in a failure: the words of the server.
    TaskFailed(String),
    /// The server took the call as a task, whose result cannot be had any more.
    TaskLost(String),
    /// The server does not list this tool.
    UnknownTool(String),
    /// The arguments do not fit the tool's schema.
    InvalidArguments(String),
}

/// JSON-RPC and MCP error codes that say that a request was turned away before any tool looked at it: parse error,
/// invalid request, method not found, header mismatch, missing capability, unsupported version (MCP 2026-07-28).
const TURNED_AWAY: [i64; 6] = [-32700, -32600, METHOD_NOT_FOUND, -32020, -32021, UNSUPPORTED_VERSION];

/// Characters of the `data` of an error that a fault repeats: a URL to visit, a list of fields.
const DATA_CHARS: usize = 1_000;

/// JSON-RPC: the server has no such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: arguments, or in MCP also the tool's name, are wrong.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// MCP 2026-07-28: the server does not speak the version that was agreed on, so it is not the one it was.
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;

/// The class of a fault, how far the call can have come, and how long the server asks to be left alone.
pub(crate) fn classify(seen: &Observation) -> (FaultClass, Sent, Option<Duration>) {
    use Observation as O;
    let (class, sent) = match seen {
        O::NotStarted(_) | O::NotReached(_) | O::ConnectDeadline(..) | O::NotListed(_) => {
            (FaultClass::Unavailable, Sent::Never)
        }
        O::NotWritten(_) | O::NotRead(_) | O::ShuttingDown | O::SessionLost(_) => {
            (FaultClass::Unavailable, Sent::Never)
        }
        O::StateLost(_) => (FaultClass::StateLost, Sent::Never),
        O::Cancelled => (FaultClass::Cancelled, Sent::Maybe),
        O::Deadline(..) => (FaultClass::Timeout, Sent::Maybe),
        O::Closed(_) => (FaultClass::Unavailable, Sent::Maybe),
        O::Http { status, retry_after, .. } => return http(*status, *retry_after),
        O::JsonRpc { code, message, .. } => json_rpc(*code, message),
        // The tool has answered, whatever it says about the request.
        O::Reported { code, message } => (json_rpc(*code, message).0, Sent::Answered),
        O::TooLarge(Oversized { is_answer: true, .. }) => (FaultClass::ProtocolError, Sent::Answered),
        O::TooLarge(_) | O::Unreadable(_) | O::Task | O::TaskLost(_) => {
            (FaultClass::ProtocolError, Sent::Maybe)
        }
        // As an answer with `isError: true`, which such a task may have as its result.
        O::TaskFailed(_) => (FaultClass::ToolError, Sent::Answered),
        O::BadAnswer(_) | O::InputRequired(_) | O::AskedPerson(_) => {
            (FaultClass::ProtocolError, Sent::Answered)
        }
        O::UnknownTool(_) => (FaultClass::UnknownTool, Sent::Never),
        O::InvalidArguments(_) => (FaultClass::InvalidArguments, Sent::Never),
    };
    (class, sent, None)
}

fn http(status: u16, retry_after: Option<Duration>) -> (FaultClass, Sent, Option<Duration>) {
    match status {
        401 | 403 | 407 => (FaultClass::Unauthorised, Sent::Never, None),
        429 => (FaultClass::RateLimited, Sent::Never, retry_after),
        // A server that says when to come back has looked at its load, not at the request.
        503 if retry_after.is_some() => (FaultClass::Unavailable, Sent::Never, retry_after),
        500.. => (FaultClass::Unavailable, Sent::Maybe, retry_after),
        // Redirects are not followed; every other status below 500 turns the request away.
        _ => (FaultClass::ProtocolError, Sent::Never, None),
    }
}

fn json_rpc(code: i64, message: &str) -> (FaultClass, Sent) {
    match code {
        INVALID_PARAMS if names_a_missing_tool(message) => (FaultClass::UnknownTool, Sent::Never),
        INVALID_PARAMS => (FaultClass::InvalidArguments, Sent::Never),
        code if TURNED_AWAY.contains(&code) => (FaultClass::ProtocolError, Sent::Never),
        _ => (FaultClass::ProtocolError, Sent::Answered),
    }
}

/// MCP has one code for wrong arguments and for an unknown tool; the words are those of the official libraries:
/// "Unknown tool: x", "Tool x not found".
fn names_a_missing_tool(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("unknown tool") || (message.contains("tool") && message.contains("not found"))
}

impl Observation {
    /// The fault of a call during which this was seen.
    pub(crate) fn into_fault(self) -> CallFault {
        let (class, sent, retry_after) = classify(&self);
        CallFault { fault: Fault::new(class, self.to_string()).with_retry_after(retry_after), sent }
    }

    /// The fault of a call that this kept from being sent at all.
    pub(crate) fn into_fault_before_call(self) -> CallFault {
        CallFault { sent: Sent::Never, ..self.into_fault() }
    }

    /// The same without any credential: what a server says may repeat one that it was given.
    pub(crate) fn without(mut self, secrets: &Secrets) -> Self {
        match &mut self {
            Self::NotStarted(text)
            | Self::NotReached(text)
            | Self::ConnectDeadline(_, text)
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
            Self::JsonRpc { message, data, .. } => {
                *message = secrets.hide(message).into_owned();
                // Hidden before it is cut, or the first part of a secret would be seen.
                *data = truncate_with_size(&secrets.hide(data), DATA_CHARS).into_owned();
            }
            Self::NotListed(_) | Self::ShuttingDown | Self::Cancelled | Self::TooLarge(_) | Self::Task => {}
        }
        self
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => write!(f, "the server could not be started: {why}"),
            Self::NotReached(why) => write!(f, "the server could not be reached: {why}"),
            Self::ConnectDeadline(after, why) => write!(
                f,
                "the server was not ready within {after:?}{why}; one that needs longer gets the time by \
                 \"longshore\": {{\"connect_timeout_ms\": 60000}} in the servers file (the `timeout` of a step does not count the \
                 start)"
            ),
            Self::NotListed(after) => write!(f, "the server did not list its tools within {after:?}"),
            Self::NotWritten(why) => write!(f, "the request could not be sent: {why}"),
            Self::NotRead(why) => write!(f, "the connection ended before the server read the request: {why}"),
            Self::ShuttingDown => f.write_str("the connections are being closed"),
            Self::Cancelled => f.write_str("the call was cut off before its answer"),
            Self::Deadline(reached, said) => write!(f, "{reached}{said}"),
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
            Self::TooLarge(Oversized { bytes: Some(bytes), limit, .. }) => write!(
                f,
                "the answer has {bytes} bytes, which exceeds `max_message_bytes` of the server ({limit})"
            ),
            Self::TooLarge(Oversized { limit, .. }) => write!(
                f,
                "the server sent a message of more than {limit} bytes, which exceeds `max_message_bytes` of the server"
            ),
            Self::Unreadable(what) => write!(f, "the answer does not follow the protocol: {what}"),
            Self::BadAnswer(what) => write!(f, "the server answered, and the answer cannot be read: {what}"),
            Self::AskedPerson(question) => write!(
                f,
                "the server asked a person during the call: {question}; so the server got an error in the place of the answer"
            ),
            Self::InputRequired(question) => write!(f, "the tool asks a person for input: {question}"),
            Self::Task => f.write_str(
                "the server answered with a task, which the call had not asked for; the task was cancelled",
            ),
            Self::TaskFailed(why) => write!(f, "the task of the call failed{why}"),
            Self::TaskLost(why) => {
                write!(f, "the server took the call as a task, and its result cannot be had: {why}")
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

    fn http(status: u16, retry_after: Option<u64>) -> Observation {
        Observation::Http { status, retry_after: retry_after.map(Duration::from_secs), detail: String::new() }
    }

    fn too_large(is_answer: bool) -> Observation {
        Observation::TooLarge(Oversized { bytes: None, limit: 1, is_answer })
    }

    fn rpc(code: i64, message: &str) -> Observation {
        Observation::JsonRpc { code, message: message.to_owned(), data: String::new(), supported: Vec::new() }
    }

    #[test]
    fn every_observation_has_one_meaning() {
        use Observation as O;
        let text = || "x".to_owned();
        let second = Duration::from_secs(1);
        let cases = [
            (O::NotStarted(text()), Unavailable, Never),
            (O::NotReached(text()), Unavailable, Never),
            (O::ConnectDeadline(second, text()), Unavailable, Never),
            (O::NotListed(second), Unavailable, Never),
            (O::NotWritten(text()), Unavailable, Never),
            (O::NotRead(text()), Unavailable, Never),
            (O::ShuttingDown, Unavailable, Never),
            (O::SessionLost(text()), Unavailable, Never),
            (O::StateLost(text()), StateLost, Never),
            (O::Cancelled, Cancelled, Maybe),
            (O::Deadline(text(), text()), Timeout, Maybe),
            (O::Closed(text()), Unavailable, Maybe),
            (too_large(true), ProtocolError, Answered),
            (too_large(false), ProtocolError, Maybe),
            (O::Unreadable(text()), ProtocolError, Maybe),
            (O::Task, ProtocolError, Maybe),
            (O::TaskLost(text()), ProtocolError, Maybe),
            (O::TaskFailed(text()), ToolError, Answered),
            (O::InputRequired(text()), ProtocolError, Answered),
            (O::BadAnswer(text()), ProtocolError, Answered),
            (O::AskedPerson(text()), ProtocolError, Answered),
            (O::UnknownTool(text()), UnknownTool, Never),
            (O::InvalidArguments(text()), InvalidArguments, Never),
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
            (O::Reported { code: -32602, message: text() }, InvalidArguments, Answered),
            (O::Reported { code: -32602, message: "Tool x not found".to_owned() }, UnknownTool, Answered),
        ];
        for (seen, class, sent) in cases {
            let (found, how_far, _) = classify(&seen);
            assert_eq!((found, how_far), (class, sent), "{seen:?}");
        }
    }

    #[test]
    fn a_server_that_says_when_to_come_back_is_heard() {
        for (status, wanted) in [(429, Some(7)), (503, Some(7)), (401, None), (400, None)] {
            let fault = http(status, Some(7)).into_fault().fault;
            assert_eq!(fault.retry_after, wanted.map(Duration::from_secs), "{status}");
            assert_eq!(fault.message, format!("HTTP {status}; Retry-After: 7 s"));
        }
    }

    #[test]
    fn what_happens_before_the_call_never_counts_as_sent() {
        for seen in [http(500, None), Observation::Closed("x".into()), Observation::Unreadable("x".into())] {
            assert_eq!(seen.clone().into_fault().sent, Maybe, "{seen:?}");
            assert_eq!(seen.into_fault_before_call().sent, Never);
        }
    }

    #[test]
    fn no_word_of_a_server_carries_a_credential_out() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        let said = || "bad token s3cret-token".to_owned();
        for seen in [
            Observation::JsonRpc { code: 1, message: said(), data: said(), supported: Vec::new() },
            Observation::Http { status: 401, retry_after: None, detail: said() },
            Observation::NotStarted(said()),
        ] {
            let message = seen.without(&secrets).into_fault().fault.message;
            assert!(message.contains("bad token ***") && !message.contains("s3cret"), "{message}");
        }
        let data = format!("{}s3cret-token and more", "x".repeat(DATA_CHARS - 6));
        let seen = Observation::JsonRpc { code: 1, message: said(), data, supported: Vec::new() };
        let message = seen.without(&secrets).into_fault().fault.message;
        assert!(message.contains("x***") && message.contains("bytes in all"), "{message}");
        assert!(!message.contains("s3c"), "{message}");
    }
}
